/* fake-node.c - the real node over fake runners, as a program: what the HTTP side does is then tested without a model.
 * Takes the settings' flags of `hearth serve`. FAKE_LOAD_MS, FAKE_PIECE_MS, FAKE_PIECES, FAKE_SLOTS in the environment.
*/
#include "fake-runner.h"

#include "config/config.h"
#include "node/node.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned env(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);
	return s != NULL ? (unsigned)atoi(s) : otherwise;
}

static void on_ready(void *ctx, const char *address)
{
	printf("ready %s\n", address);
	fflush(stdout);
}

/* The pages of tests are on this machine. */
static bool any_address(void *ctx, const char *address)
{
	(void)ctx;
	return strncmp(address, "127.", 4) == 0;
}

int main(int argc, char **argv)
{
	static hth_config config;
	hth_error err = HTH_ERROR_INIT;
	if (argc > 1 && strcmp(argv[1], "show") == 0)
		return 1; /* there is nothing in fake models */
	fake = (fake_settings){.load_ms = env("FAKE_LOAD_MS", 20), .piece_ms = env("FAKE_PIECE_MS", 2), .n_pieces = env("FAKE_PIECES", 5),
	                       .n_slots = env("FAKE_SLOTS", 2), .text = getenv("FAKE_TEXT"), .weight_bytes = 1 << 20,
	                       .plan_bytes = 1 << 20};
	if (hth_config_load(&config, &argc, argv, &err) == HTH_OK &&
	    hth_node_run(&config, &(hth_node_callbacks){.ready = on_ready,
	                                                .fetch_address_ok = getenv("FAKE_FETCH_LOCAL") != NULL ? any_address : NULL},
	                 &err) == HTH_OK)
		return 0;
	fprintf(stderr, "fake-node: %s\n", err.message);
	return 1;
}
