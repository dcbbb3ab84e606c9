/* cmd-serve.c - `hearth serve`: the node in the foreground. The work is src/node; here is only what a person sees of its start. */
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "node/node.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Tells a supervisor that we are ready (sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names; '@' means abstract). */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (path == NULL || (*path != '/' && *path != '@') || strlen(path) >= sizeof to.sun_path)
		return;
	memcpy(to.sun_path, path, strlen(path));
	if (*path == '@')
		to.sun_path[0] = '\0';
	HTH_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
		              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

static void ready(void *ctx, const char *address)
{
	const hth_invocation *in = ctx;
	printf("hearth: answering at http://%s (OpenAI clients: http://%s/v1), model %s, home %s\n", address, address, in->config.model,
	       in->config.home);
	fflush(stdout);
	notify("READY=1");
}

int hth_cmd_serve(hth_invocation *in)
{
	if (!hth_options_take(in, NULL, 0, 0, 0))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	hth_node_callbacks callbacks = {.ready = ready, .ctx = in};
	hth_status status = hth_node_run(&in->config, &callbacks, &err);
	return status == HTH_OK ? HTH_EXIT_DONE : hth_cmd_fail(in, &err);
}
