/* fuzz-api.c - bodies of every endpoint that takes one. The first byte picks the endpoint; the rest is the body. What parses is
 * then answered, streamed or not, by a fixed little story of results. */
#include "api/api.h"
#include "api/modelfile.h"
#include "api/ollama-create.h"
#include "api/response-store.h"
#include "engine/grammar/grammar.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const paths[] = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize", "/api/chat",
                                    "/api/generate", "/api/embed", "/api/embeddings", "/api/show", "/v1/messages",
                                    "/v1/messages/count_tokens", "/v1/responses", "/api/create", "/api/copy"};

static size_t out_bytes;
static void out_header(void *ctx, const char *name, const char *value) { out_bytes += strlen(value); }
static void out_reply(void *ctx, int status, const char *type, const void *body, size_t len)
{
	/* What goes out whole must be JSON, whatever came in, or lines of it. */
	bool lines = type != NULL && strstr(type, "ndjson") != NULL;
	const char *at = body, *end = at + len;
	while (at < end) {
		const char *stop = lines ? memchr(at, '\n', (size_t)(end - at)) : end;
		json_t *json = NULL;
		hth_error err;
		if (stop == NULL || hth_json_parse(&json, at, (size_t)(stop - at), &err) != HTH_OK)
			abort();
		json_decref(json);
		at = stop + lines;
	}
}
static void out_begin(void *ctx, int status, const char *type) {}
static void out_send(void *ctx, const void *data, size_t len) { out_bytes += len; }
static void out_finish(void *ctx) {}
static hth_status find_model(void *ctx, const char *name, hth_api_model_fn fn, void *fn_ctx, hth_error *err)
{
	return hth_fail_param(err, HTH_NOT_FOUND, "model", "no %.50s", name);
}
static hth_status copy_model(void *ctx, const char *from, const char *to, hth_error *err) { return HTH_OK; }
/* What reaches the node was checked: it reads again as it is. */
static void create(const char *data, size_t size)
{
	json_t *body = NULL;
	hth_create_wish wish = {0};
	hth_error err = HTH_ERROR_INIT;
	if (hth_json_parse(&body, data, size, &err) == HTH_OK && json_is_object(body)) {
		if (hth_create_wish_read(body, &wish, &err) != HTH_OK ? err.message[0] == '\0'
								      : hth_modelfile_check(wish.settings, &err) != HTH_OK ||
								      wish.model[0] == '\0' ||
									    (wish.from == NULL) == (wish.n_files == 0))
			abort();
		hth_create_wish_finish(&wish);
	}
	json_decref(body);
}
static hth_status each_model(void *ctx, hth_api_model_fn fn, void *fn_ctx, hth_error *err) { return HTH_OK; }

/* The families whose marks differ most. */
static const char *const templates[] = {"", "<tool_call><think>", "<function=<parameter=", "[TOOL_CALLS][ARGS]", "<|channel|><|message|>",
                                        "<|tool_call><tool_call|>", "<arg_key>", ">>>all"};

/* Whatever was asked for, the grammar made of it is one. */
static void place(hth_api_job *job, size_t i, size_t size)
{
	static hth_runner_info info;
	hth_request *r = job->requests[i];
	hth_error err;
	bool own = r->params.grammar != NULL;
	snprintf(info.chat_template, sizeof info.chat_template, "%s", templates[size % HTH_COUNT(templates)]);
	if (hth_api_placed(job, i, &info, &err) != HTH_OK || own || r->params.grammar == NULL || strlen(r->params.grammar) > 100000)
		return;
	hth_grammar *grammar = NULL;
	hth_status status = hth_grammar_compile(&grammar, NULL, r->params.grammar, strlen(r->params.grammar), &err);
	if (status == HTH_INVALID)
		abort();
	hth_grammar_destroy(grammar);
}

static void one(hth_api_job *job, size_t i, size_t size);

/* The node's own tool: its calls are answered, with a page or with what was wrong, until the model has had enough. */
static void fetch(hth_api_job *job, size_t size)
{
	hth_error err;
	for (int rounds = 0; hth_api_waits_for_page(job) && rounds < 8; rounds++) {
		const char *url, *text = size % 2 == 0 ? "<p>\xc3\xa4\"\\n" : "cut \xc3";
		if (hth_api_page_url(job, &url, &err) != HTH_OK)
			text = err.message;
		if (hth_api_give_page(job, text, strlen(text), &err) != HTH_OK)
			abort();
		one(job, 0, rounds < 7 ? size : 0);
	}
}

static void one(hth_api_job *job, size_t i, size_t size)
{
	hth_request *r = job->requests[i];
	static const hth_token_logprob row = {.token = 1, .logprob = -1, .bytes = "\xc3", .n_bytes = 1};
	hth_answer_piece piece = {.text = "a\"\n", .len = 3, .n_tokens = 1};
	if (r->params.top_logprobs >= 0) {
		piece.logprobs = &row;
		piece.n_logprobs = 1;
	}
	if (size % 3 != 0)
		place(job, i, size);
	hth_api_started(job, i);
	if (r->kind == HTH_EMBEDDING)
		hth_api_embedding(job, i, (float[]){0.5f, 0.5f, 0.1f}, 3);
	else if (r->kind == HTH_TOKENIZE)
		hth_api_tokens(job, i, (int32_t[]){1, 2}, 2);
	if (r->kind != HTH_EMBEDDING)
		hth_api_piece(job, i, &piece);
	piece = (hth_answer_piece){.text = size % 5 == 0
	                           ? "<tool_call>{\"name\": \"web_fetch\", \"arguments\": {\"url\": \"u\"}}</tool_call>"
	                                                 : "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"};
	piece.len = strlen(piece.text);
	if (r->kind == HTH_CHAT)
		hth_api_piece(job, i, &piece);
	hth_api_done(job, i);
}

static void play(hth_api_job *job, size_t size)
{
	for (size_t i = 0; i < job->n_requests && i < 20; i++)
		one(job, i, size);
	fetch(job, size);
	hth_error err;
	hth_fail(&err, HTH_GONE, "the end");
	hth_api_fail(job, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static hth_response_store *store; /* one for all: what one input stores another may go on with */
	if (store == NULL && hth_response_store_create(&store, NULL) != HTH_OK)
		return 0;
	const hth_api_host host = {.default_model = "m", .each_model = each_model, .find_model = find_model, .responses = store,
	                           .copy_model = copy_model};
	const hth_api_out out = {NULL, out_header, out_reply, out_begin, out_send, out_finish};
	const char *allow = NULL;
	if (size == 0)
		return 0;
	const char *path = paths[data[0] % HTH_COUNT(paths)];
	if (strcmp(path, "/api/create") == 0) {
		create((const char *)data + 1, size - 1);
		return 0;
	}
	const hth_api_endpoint *endpoint = hth_api_find("POST", path, &allow);
	hth_api_job *job = NULL;
	hth_error err = HTH_ERROR_INIT;
	if (hth_api_parse(&job, endpoint, &host, &out, path, (const char *)data + 1, size - 1, &err) == HTH_OK) {
		if (size % 5 == 0 && !job->finished)
			(void)!hth_api_offer_tool(job, HTH_OWN_TOOL_FETCH, "example.org", &err);
		play(job, size);
		hth_api_job_destroy(job);
	} else {
		hth_buf body = HTH_BUF_INIT(1 << 16);
		unsigned retry_s;
		hth_api_write_error(endpoint, &err, &body, &retry_s);
		out_reply(NULL, 400, "", body.data, body.len);
		hth_buf_finish(&body);
	}
	return 0;
}
