/* chat.c - chooses who answers: the node at the configured address if there is one that has the model, else a runner of our own. */
#include "cmd/chat.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

struct hth_chat {
	const hth_chat_way *way;
	void *state;
	char model[sizeof ((hth_config *)NULL)->model];
	char where[128];
};

/* A path is this person's file: the node's user may not be able to read it, and nobody but its owner may tell it to. */
static bool is_path(const char *model)
{
	size_t len = strlen(model);
	return strchr(model, '/') != NULL && len > 5 && strcasecmp(model + len - 5, ".gguf") == 0;
}

hth_status hth_chat_open(hth_chat **ret_chat, const hth_invocation *in, const char *model, bool own, const volatile sig_atomic_t *cancel,
                         hth_error *err)
{
	if (model == NULL)
		model = in->config.model;
	if (strlen(model) >= sizeof in->config.model)
		return hth_fail(err, HTH_INVALID, "the model's name is too long");
	hth_chat *chat = hth_alloc_array(1, sizeof *chat);
	if (chat == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a chat");
	hth_status status = HTH_GONE;
	if (!own && !is_path(model)) {
		status = hth_chat_node_open(in, model, cancel, &chat->way, &chat->state, err);
		snprintf(chat->model, sizeof chat->model, "%s", model);
		hth_config_url(&in->config, chat->where, sizeof chat->where);
	}
	if (status == HTH_GONE || status == HTH_NOT_FOUND) {
		bool elsewhere = status == HTH_NOT_FOUND && strchr(model, '/') != NULL; /* UPSTREAM/MODEL, perhaps */
		hth_catalog catalog;
		hth_catalog_model found;
		status = hth_catalog_load(&catalog, in->config.home, err);
		if (status == HTH_OK) {
			status = hth_catalog_resolve(&catalog, model, &found, err);
			hth_catalog_finish(&catalog);
		}
		if (status == HTH_NOT_FOUND && elsewhere)
			hth_fail(err, status, "the node has no model '%.200s'; `hearth list` shows this home's, and `hearth status` "
			                      "whether its upstreams answer", model);
		if (status == HTH_OK) {
			snprintf(chat->model, sizeof chat->model, "%s", found.name);
			snprintf(chat->where, sizeof chat->where, "here");
			status = hth_chat_own_open(in, &found, cancel, &chat->way, &chat->state, err);
			hth_catalog_model_finish(&found);
		}
	}
	if (status != HTH_OK) {
		free(chat);
		return status;
	}
	*ret_chat = chat;
	return HTH_OK;
}

void hth_chat_close(hth_chat *chat)
{
	if (chat == NULL)
		return;
	chat->way->close(chat->state);
	free(chat);
}

const char *hth_chat_model(const hth_chat *chat) { return chat->model; }
const char *hth_chat_where(const hth_chat *chat) { return chat->where; }

hth_status hth_chat_ask(hth_chat *chat, const json_t *messages, const hth_chat_params *params, hth_chat_text_fn fn, void *ctx,
                        hth_chat_stats *ret_stats, hth_error *err)
{
	*ret_stats = (hth_chat_stats){0};
	return chat->way->ask(chat->state, messages, params, fn, ctx, ret_stats, err);
}
