/* cmd-rm.c - `hearth rm MODEL`: removes a model from this disk; a node that has it loaded is told to let it go first. */
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "pull/pull.h"

/* Best effort: no node, or a node that has not loaded it, is as good. */
static void unload(const hth_invocation *in, const char *name)
{
	hth_client *client;
	HTH_AUTO_JSON json_t *body = json_pack("{s:s}", "model", name), *answer = NULL;
	if (body == NULL || hth_cmd_client(in, NULL, &client, NULL) != HTH_OK)
		return;
	(void)!hth_client_json(client, "POST", "/hearth/stop", body, 3000, &answer, NULL);
	hth_client_destroy(client);
}

int hth_cmd_rm(hth_invocation *in)
{
	bool json = false;
	const hth_option options[] = {HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 1))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	uint64_t freed = 0;
	unload(in, in->argv[0]);
	if (hth_pull_remove(in->config.home, in->argv[0], &freed, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	char size[32];
	if (json)
		printf("{\"removed\":true,\"bytes\":%llu}\n", (unsigned long long)freed);
	else
		printf("%s is removed; %s are free again.\n", in->argv[0], hth_cmd_bytes(freed, size));
	hth_cmd_note_other_home(in);
	return HTH_EXIT_DONE;
}
