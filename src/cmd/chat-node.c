/* chat-node.c - an answer through the node: POST /v1/chat/completions (or /v1/completions for raw text), streamed.
 *
 * The node may be older, newer, or somebody else's server of the same API: every field of a chunk is taken as a wish that it be there.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/chat.h"

#include <string.h>

typedef struct node_chat {
	hth_client *client;
	char model[HTH_CATALOG_NAME_MAX + 1];
	/* The answer that runs. */
	hth_chat_text_fn fn;
	void *ctx;
	hth_chat_stats *stats;
	uint64_t asked_ns, first_ns, last_ns;
	uint32_t pieces;
	bool whole; /* [DONE] came */
	hth_error error; /* sent inside the stream */
} node_chat;

static void give(node_chat *chat, const json_t *text, bool thinking)
{
	size_t len = json_string_length(text);
	if (len == 0)
		return;
	chat->last_ns = hth_clock_ns();
	if (chat->pieces++ == 0)
		chat->first_ns = chat->last_ns;
	chat->fn(chat->ctx, json_string_value(text), len, thinking);
}

static void take_usage(node_chat *chat, const json_t *usage)
{
	if (!json_is_object(usage))
		return;
	chat->stats->prompt_tokens = (uint32_t)json_integer_value(json_object_get(usage, "prompt_tokens"));
	chat->stats->answer_tokens = (uint32_t)json_integer_value(json_object_get(usage, "completion_tokens"));
	const json_t *details = json_object_get(usage, "prompt_tokens_details");
	chat->stats->cached_tokens = (uint32_t)json_integer_value(json_object_get(details, "cached_tokens"));
}

static bool take_line(void *ctx, const char *line, size_t len)
{
	node_chat *chat = ctx;
	const char *data;
	size_t data_len;
	if (!hth_sse_data(line, len, &data, &data_len))
		return true;
	if (data_len == 6 && memcmp(data, "[DONE]", 6) == 0) {
		chat->whole = true;
		return true;
	}
	HTH_AUTO_JSON json_t *chunk = NULL;
	hth_error why = HTH_ERROR_INIT;
	if (hth_json_parse(&chunk, data, data_len, &why) != HTH_OK) {
		hth_fail(&chat->error, HTH_BAD_FORMAT, "the node sent a chunk that is no JSON (%s)", why.message);
		return false;
	}
	const json_t *error = json_object_get(chunk, "error");
	if (json_is_object(error)) {
		const char *message = json_string_value(json_object_get(error, "message"));
		hth_fail(&chat->error, HTH_GONE, "%s", message != NULL ? message : "the node broke the answer off without saying why");
		return false;
	}
	const json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0);
	const json_t *delta = json_object_get(choice, "delta");
	const json_t *reasoning = json_object_get(delta, "reasoning_content");
	give(chat, reasoning != NULL ? reasoning : json_object_get(delta, "reasoning"), true);
	give(chat, delta != NULL ? json_object_get(delta, "content") : json_object_get(choice, "text"), false);
	const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
	if (finish != NULL && strcmp(finish, "length") == 0)
		chat->stats->cut = true;
	take_usage(chat, json_object_get(chunk, "usage"));
	return true;
}

static json_t *body_of(const node_chat *chat, const json_t *messages, const hth_chat_params *p)
{
	json_t *body = json_pack("{s:s,s:b,s:{s:b}}", "model", chat->model, "stream", 1, "stream_options", "include_usage", 1);
	if (body == NULL)
		return NULL;
	json_object_set(body, p->raw ? "prompt" : "messages", (json_t *)messages);
	json_object_set_new(body, "max_tokens", p->max_tokens >= 0 ? json_integer(p->max_tokens) : p->raw ? json_integer(-1) : json_null());
	if (p->temperature_given)
		json_object_set_new(body, "temperature", json_real(p->temperature));
	if (p->top_p_given)
		json_object_set_new(body, "top_p", json_real(p->top_p));
	if (p->min_p_given)
		json_object_set_new(body, "min_p", json_real(p->min_p));
	if (p->top_k_given)
		json_object_set_new(body, "top_k", json_integer(p->top_k));
	if (p->repeat_given)
		json_object_set_new(body, "repeat_penalty", json_real(p->repeat_penalty));
	if (p->seed_given)
		json_object_set_new(body, "seed", json_integer(p->seed));
	return body;
}

static hth_status ask(void *state, const json_t *messages, const hth_chat_params *params, hth_chat_text_fn fn, void *ctx,
                      hth_chat_stats *stats, hth_error *err)
{
	node_chat *chat = state;
	HTH_AUTO_JSON json_t *body = body_of(chat, messages, params);
	if (body == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a request");
	chat->fn = fn;
	chat->ctx = ctx;
	chat->stats = stats;
	chat->pieces = 0;
	chat->whole = false;
	chat->error = HTH_ERROR_INIT;
	chat->asked_ns = hth_clock_ns();
	hth_status status = hth_client_stream(chat->client, "POST", params->raw ? "/v1/completions" : "/v1/chat/completions", body,
	                                      take_line, chat, err);
	if (chat->pieces > 0) {
		stats->first_s = (double)(chat->first_ns - chat->asked_ns) * 1e-9;
		stats->answer_s = (double)(chat->last_ns - chat->first_ns) * 1e-9;
	}
	if (chat->error.status != HTH_OK)
		return hth_fail(err, chat->error.status, "%s", chat->error.message);
	if (status == HTH_OK && !chat->whole)
		return hth_fail(err, HTH_GONE, "the node's answer broke off before its end");
	return status;
}

static void close_chat(void *state)
{
	node_chat *chat = state;
	hth_client_destroy(chat->client);
	free(chat);
}

static const hth_chat_way way = {close_chat, ask};

hth_status hth_chat_node_open(const hth_invocation *in, const char *model, const volatile sig_atomic_t *cancel,
                              const hth_chat_way **ret_way, void **ret_state, hth_error *err)
{
	hth_client *client;
	HTH_AUTO_JSON json_t *models = NULL;
	HTH_TRY(hth_cmd_client(in, cancel, &client, err));
	hth_status status = hth_client_json(client, "GET", "/v1/models", NULL, 10000, &models, err);
	if (status == HTH_OK) {
		status = hth_fail(err, HTH_NOT_FOUND, "the node has no model '%s'", model);
		size_t i;
		json_t *row;
		json_array_foreach(json_object_get(models, "data"), i, row) {
			const char *id = json_string_value(json_object_get(row, "id"));
			hth_catalog_model named = {.name = (char *)(id != NULL ? id : "")};
			if (id != NULL && hth_catalog_find(&(hth_catalog){.models = &named, .n = 1}, model) != NULL)
				status = HTH_OK;
		}
	}
	node_chat *chat = status == HTH_OK ? hth_alloc_array(1, sizeof *chat) : NULL;
	if (chat == NULL) {
		hth_client_destroy(client);
		return status != HTH_OK ? status : hth_fail(err, HTH_NO_MEMORY, "no memory for a chat");
	}
	chat->client = client;
	snprintf(chat->model, sizeof chat->model, "%s", model);
	*ret_way = &way;
	*ret_state = chat;
	return HTH_OK;
}
