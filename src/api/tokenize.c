/* tokenize.c - POST /tokenize and POST /detokenize, as llama.cpp's server and vLLM have them.
 *
 * tokenize takes {"content" | "prompt" | "text": string} or {"messages": [...]} (what a chat would take), with "add_special" (false for
 * text), "parse_special" (true) and "with_pieces", and answers {"tokens":[...],"count":n}. detokenize takes {"tokens":[...]} and
 * answers {"content":"..."}. Thread: the loop's.
 */
#include "api/wire.h"
#include "api/families.h"
#include "api/fields.h"
#include "api/messages.h"

typedef struct tokens_state {
	bool with_pieces;
	int32_t *ids;
	size_t n;
	hth_wire_answer pieces; /* detokenize: content; tokenize with pieces: one event per token */
	size_t *piece_ends;
	size_t n_pieces;
	bool failed;
} tokens_state;

static void free_state(hth_api_job *job)
{
	tokens_state *state = job->state;
	free(state->ids);
	free(state->piece_ends);
	hth_wire_answer_finish(&state->pieces);
	free(state);
}

static hth_status new_state(hth_api_job *job, hth_error *err)
{
	tokens_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	hth_wire_answer_init(&state->pieces);
	job->state = state;
	job->free_state = free_state;
	return HTH_OK;
}

static hth_status parse_tokenize(hth_api_job *job, const json_t *body, hth_error *err)
{
	static const char *const text_keys[] = {"content", "prompt", "text"};
	HTH_TRY(new_state(job, err));
	tokens_state *state = job->state;
	const char *model = NULL;
	hth_request *r;
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	HTH_TRY(hth_api_add_request(job, HTH_TOKENIZE, model, &r, err));
	const json_t *messages = json_object_get(body, "messages"), *tools = json_object_get(body, "tools");
	if (messages != NULL && !json_is_null(messages)) {
		HTH_AUTO_JSON json_t *checked = NULL;
		HTH_TRY(hth_messages_from_openai(messages, &checked, err));
		HTH_TRY(hth_fields_dump(checked, &r->input.messages_json, err));
		if (tools != NULL && !json_is_null(tools)) {
			HTH_TRY(hth_messages_check_tools(tools, err));
			HTH_TRY(hth_fields_dump(tools, &r->input.tools_json, err));
		}
	} else {
		const json_t *text = NULL;
		for (size_t i = 0; i < HTH_COUNT(text_keys) && text == NULL; i++)
			text = json_object_get(body, text_keys[i]);
		if (text == NULL)
			return hth_fail_param(err, HTH_INVALID, "content", "content (or messages) is missing");
		HTH_TRY(hth_fields_text(text, "content", &r->input, err));
	}
	r->input.add_special = false;
	r->input.parse_special = true;
	HTH_TRY(hth_json_get_bool(body, "add_special", &r->input.add_special, err));
	HTH_TRY(hth_json_get_bool(body, "add_special_tokens", &r->input.add_special, err));
	HTH_TRY(hth_json_get_bool(body, "parse_special", &r->input.parse_special, err));
	HTH_TRY(hth_json_get_bool(body, "with_pieces", &state->with_pieces, err));
	r->input.with_pieces = state->with_pieces;
	return HTH_OK;
}

static hth_status parse_detokenize(hth_api_job *job, const json_t *body, hth_error *err)
{
	HTH_TRY(new_state(job, err));
	const char *model = NULL;
	hth_request *r;
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	HTH_TRY(hth_api_add_request(job, HTH_DETOKENIZE, model, &r, err));
	return hth_fields_tokens(json_object_get(body, "tokens"), "tokens", &r->input, err);
}

static void on_tokens(hth_api_job *job, size_t i, const int32_t *ids, size_t n)
{
	(void)i;
	tokens_state *state = job->state;
	int32_t *grown = realloc(state->ids, (state->n + n + 1) * sizeof *grown);
	if (grown == NULL) {
		state->failed = true;
		return;
	}
	state->ids = grown;
	memcpy(grown + state->n, ids, n * sizeof *ids);
	state->n += n;
}

static void on_event(hth_api_job *job, size_t i, const hth_api_event *event)
{
	(void)i;
	tokens_state *state = job->state;
	hth_wire_answer_add(&state->pieces, event);
	if (!state->with_pieces)
		return;
	size_t *grown = realloc(state->piece_ends, (state->n_pieces + 1) * sizeof *grown);
	if (grown == NULL) {
		state->failed = true;
		return;
	}
	state->piece_ends = grown;
	grown[state->n_pieces++] = state->pieces.content.len;
}

static void tokenize_finished(hth_api_job *job)
{
	tokens_state *state = job->state;
	hth_buf *out = &job->scratch;
	const char *text = state->pieces.content.data != NULL ? state->pieces.content.data : "";
	size_t from = 0;
	hth_buf_clear(out);
	out->failed = state->failed || state->pieces.failed;
	hth_buf_append_str(out, "{\"tokens\":[");
	for (size_t k = 0; k < state->n; k++) {
		hth_buf_append_str(out, k > 0 ? "," : "");
		if (!state->with_pieces) {
			hth_buf_appendf(out, "%d", state->ids[k]);
			continue;
		}
		size_t to = k < state->n_pieces ? state->piece_ends[k] : from;
		hth_buf_appendf(out, "{\"id\":%d,\"piece\":", state->ids[k]);
		hth_json_write_string(text + from, to - from, out);
		hth_buf_append_char(out, '}');
		from = to;
	}
	hth_buf_appendf(out, "],\"count\":%zu}", state->n);
	hth_api_reply(job, "application/json", out);
}

static void detokenize_finished(hth_api_job *job)
{
	tokens_state *state = job->state;
	hth_buf *out = &job->scratch;
	hth_buf_clear(out);
	out->failed = state->failed || state->pieces.failed;
	hth_buf_append_str(out, "{\"content\":");
	hth_json_write_string(state->pieces.content.data != NULL ? state->pieces.content.data : "", state->pieces.content.len, out);
	hth_buf_append_char(out, '}');
	hth_api_reply(job, "application/json", out);
}

static const hth_api_writer tokenize_writer = {.tokens = on_tokens, .event = on_event, .finished = tokenize_finished};
static const hth_api_writer detokenize_writer = {.event = on_event, .finished = detokenize_finished};

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/tokenize", .parse = parse_tokenize, .writer = &tokenize_writer},
    {.method = "POST", .path = "/detokenize", .parse = parse_detokenize, .writer = &detokenize_writer},
};
const hth_api_family hth_api_tokenize = {endpoints, HTH_COUNT(endpoints)};
