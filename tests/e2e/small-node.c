/* small-node.c - the node and its runners without the command line: what tests/e2e run when the whole program is not wanted.
 * Takes the settings' flags of `hearth serve`. */
#include "config/config.h"
#include "node/node.h"
#include "runner/runner.h"

#include <stdio.h>
#include <string.h>

static void on_ready(void *ctx, const char *address)
{
	printf("ready %s\n", address);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static hth_config config;
	hth_error err = HTH_ERROR_INIT;
	if (argc > 1 && strcmp(argv[1], "__runner") == 0)
		return hth_runner_main(argc, argv);
	if (hth_config_load(&config, &argc, argv, &err) == HTH_OK &&
	    hth_node_run(&config, &(hth_node_callbacks){.ready = on_ready}, &err) == HTH_OK)
		return 0;
	fprintf(stderr, "small-node: %s\n", err.message);
	return 1;
}
