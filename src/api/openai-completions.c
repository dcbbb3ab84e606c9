/* openai-completions.c - POST /v1/completions: text in, its continuation out.
 *
 * Format: OpenAI's API reference, "Completions (legacy)". A prompt is a string, an array of strings, an array of token ids or
 * an array of those; answer number p * n + k is the k-th continuation of prompt p. As in other servers for one's own
 * machine, an absent max_tokens means no limit rather than 16. Thread: the loop's.
 */
#include "api/choices.h"
#include "api/families.h"
#include "api/fields.h"
#include "api/wire.h"

#include <math.h>

typedef struct completion {
	hth_buf text, tokens, token_logprobs, top_logprobs, offsets; /* the last four: JSON values, comma-separated */
	size_t offset;                                               /* characters of text so far */
	/* the next row is an echoed prompt's first token: nothing stands before it */
	bool first;
	bool failed;
} completion;

typedef struct completions_state {
	bool include_usage, logprobs, echo;
	int64_t n_per_prompt;
	completion *answers;
	size_t n;
} completions_state;

static void free_completion(completion *c)
{
	hth_buf *all[] = {&c->text, &c->tokens, &c->token_logprobs, &c->top_logprobs, &c->offsets};
	for (size_t i = 0; i < HTH_COUNT(all); i++) {
		if (all[i]->data != NULL)
			explicit_bzero(all[i]->data, all[i]->cap);
		hth_buf_finish(all[i]);
	}
}

static void free_state(hth_api_job *job)
{
	completions_state *state = job->state;
	for (size_t i = 0; i < state->n; i++)
		free_completion(&state->answers[i]);
	free(state->answers);
	free(state);
}

/* --- in --- */


static hth_status add_prompt(hth_api_job *job, const json_t *body, const json_t *prompt, const char *model, hth_error *err)
{
	static const char *const max_keys[] = {"max_tokens", "max_completion_tokens", "n_predict"};
	completions_state *state = job->state;
	size_t first = job->n_requests;
	for (int64_t k = 0; k < state->n_per_prompt; k++) {
		hth_request *r;
		HTH_TRY(hth_api_add_request(job, HTH_COMPLETION, model, &r, err));
		if (json_is_string(prompt))
			HTH_TRY(hth_fields_text(prompt, "prompt", &r->input, err));
		else
			HTH_TRY(hth_fields_tokens(prompt, "prompt", &r->input, err));
		r->input.echo = state->echo;
		if (job->n_requests > 1) {
			uint64_t seed_step = (uint64_t)(job->n_requests - 1 - first);
			HTH_TRY(hth_fields_copy_params(&r->params, &job->requests[0]->params, seed_step, err));
			continue;
		}
		int64_t top = -1;
		HTH_TRY(hth_fields_sampling(body, &r->params, err));
		HTH_TRY(hth_fields_stop(body, "stop", &r->params, err));
		HTH_TRY(hth_fields_max_tokens(body, max_keys, HTH_COUNT(max_keys), &r->params, err));
		HTH_TRY(hth_fields_keep_alive(body, &r->params.keep_alive_s, err));
		HTH_TRY(hth_choices_grammar(body, r, err));
		if (json_is_boolean(json_object_get(body, "logprobs"))) {
			/* Some clients send chat's form. */
			top = json_is_true(json_object_get(body, "logprobs")) ? 0 : -1;
		} else {
			HTH_TRY(hth_json_get_int(body, "logprobs", 0, HTH_TOP_LOGPROBS_MAX, &top, err));
		}
		r->params.top_logprobs = (int32_t)top;
		state->logprobs = top >= 0;
	}
	return HTH_OK;
}

static hth_status read_prompts(hth_api_job *job, const json_t *body, const char *model, hth_error *err)
{
	const json_t *prompt = json_object_get(body, "prompt");
	if (json_is_string(prompt))
		return add_prompt(job, body, prompt, model, err);
	if (!json_is_array(prompt))
		return hth_fail_param(err, HTH_INVALID, "prompt", "prompt is %s; it must be a string or an array of strings or token ids",
		                      hth_json_type_name(prompt));
	if (json_array_size(prompt) == 0)
		return hth_fail_param(err, HTH_INVALID, "prompt", "prompt is an empty array");
	if (json_is_integer(json_array_get(prompt, 0)))
		return add_prompt(job, body, prompt, model, err);
	for (size_t i = 0; i < json_array_size(prompt); i++) {
		const json_t *one = json_array_get(prompt, i);
		if (!json_is_string(one) && !json_is_array(one))
			return hth_fail_param(err, HTH_INVALID, "prompt", "prompt[%zu] is %s; it must be a string or an array of token ids",
			                      i, hth_json_type_name(one));
		HTH_TRY(add_prompt(job, body, one, model, err));
	}
	return HTH_OK;
}

static hth_status parse_completions(hth_api_job *job, const json_t *body, hth_error *err)
{
	completions_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	job->state = state;
	job->free_state = free_state;
	state->n_per_prompt = 1;
	const char *model = NULL, *suffix = NULL;
	int64_t best_of = 0;
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	HTH_TRY(hth_json_get_string(body, "suffix", &suffix, err));
	if (suffix != NULL && suffix[0] != '\0')
		return hth_fail_param(err, HTH_UNSUPPORTED, "suffix", "suffix (filling in the middle) is not supported");
	HTH_TRY(hth_json_get_bool(body, "stream", &job->stream, err));
	HTH_TRY(hth_json_get_bool(body, "echo", &state->echo, err));
	HTH_TRY(hth_json_get_int(body, "n", 1, 128, &state->n_per_prompt, err));
	HTH_TRY(hth_json_get_int(body, "best_of", 1, 128, &best_of, err));
	if (best_of > state->n_per_prompt)
		return hth_fail_param(err, HTH_UNSUPPORTED, "best_of", "best_of over n is not supported");
	const json_t *options = NULL;
	HTH_TRY(hth_json_get_object(body, "stream_options", &options, err));
	if (options != NULL)
		HTH_TRY(hth_json_get_bool(options, "include_usage", &state->include_usage, err));
	HTH_TRY(read_prompts(job, body, model, err));
	state->answers = hth_alloc_array(job->n_requests, sizeof *state->answers);
	if (state->answers == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	for (; state->n < job->n_requests; state->n++) {
		hth_buf empty = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
		state->answers[state->n] = (completion){.text = empty, .tokens = empty, .token_logprobs = empty,
		                                        .top_logprobs = empty, .offsets = empty, .first = state->echo};
	}
	hth_wire_make_id(job, "cmpl-");
	return HTH_OK;
}

/* --- out --- */

static void add_top(completion *c, const char *comma, const hth_token_logprob *top, size_t n)
{
	hth_buf_appendf(&c->top_logprobs, "%s{", comma);
	for (size_t k = 0; top != NULL && k < n; k++) {
		hth_buf_append_str(&c->top_logprobs, k > 0 ? "," : "");
		hth_json_write_string(top[k].bytes, top[k].n_bytes, &c->top_logprobs);
		hth_buf_appendf(&c->top_logprobs, ":%.7g", isfinite(top[k].logprob) ? (double)top[k].logprob : -9999.0);
	}
	hth_buf_append_char(&c->top_logprobs, '}');
}

static size_t count_characters(const char *text, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)text[i] & 0xC0) != 0x80;
	return n;
}

/* How much of the text at its beginning is this token's: a special token has none, and a space before the first word is not shown. */
static size_t text_of(const hth_token_logprob *t, const char *text, size_t len, bool first)
{
	if (t->n_bytes <= len && memcmp(t->bytes, text, t->n_bytes) == 0)
		return t->n_bytes;
	if (first && t->n_bytes > 1 && t->bytes[0] == ' ' && t->n_bytes - 1 <= len && memcmp(t->bytes + 1, text, t->n_bytes - 1) == 0)
		return t->n_bytes - 1;
	return 0;
}

/* Appends a piece's log probabilities to the four parallel arrays. Its text comes with it: len bytes behind what c->offset counts. */
static void add_logprobs(completion *c, const hth_answer_piece *piece, const char *text, size_t len)
{
	size_t at = 0;
	for (size_t i = 0; i < piece->n_logprobs; i++) {
		const hth_token_logprob *t = &piece->logprobs[i];
		const char *comma = c->tokens.len > 0 ? "," : "";
		hth_buf_append_str(&c->tokens, comma);
		hth_json_write_string(t->bytes, t->n_bytes, &c->tokens);
		size_t before = c->offset + count_characters(text, at);
		hth_buf_appendf(&c->offsets, "%s%zu", comma, before);
		at += text_of(t, text + at, len - at, before == 0);
		if (c->first) {
			hth_buf_appendf(&c->token_logprobs, "%snull", comma);
			hth_buf_appendf(&c->top_logprobs, "%snull", comma);
		} else {
			hth_buf_appendf(&c->token_logprobs, "%s%.7g", comma, isfinite(t->logprob) ? (double)t->logprob : -9999.0);
			add_top(c, comma, piece->top != NULL ? piece->top + i * piece->n_top : NULL, piece->n_top);
		}
		c->first = false;
	}
	c->offset += count_characters(text, len);
	c->failed |= c->tokens.failed || c->token_logprobs.failed || c->offsets.failed || c->top_logprobs.failed;
}

/* Appends "logprobs":value for what has been added, and empties it. */
static void write_logprobs(hth_buf *out, completion *c, bool wanted)
{
	if (!wanted) {
		hth_buf_append_str(out, ",\"logprobs\":null");
		return;
	}
	const struct {
		const char *name;
		hth_buf *values;
	} parts[] = {{",\"logprobs\":{\"tokens\":[", &c->tokens}, {"],\"token_logprobs\":[", &c->token_logprobs},
	             {"],\"top_logprobs\":[", &c->top_logprobs}, {"],\"text_offset\":[", &c->offsets}};
	for (size_t i = 0; i < HTH_COUNT(parts); i++) {
		hth_buf_append_str(out, parts[i].name);
		hth_buf_append(out, parts[i].values->data != NULL ? parts[i].values->data : "", parts[i].values->len);
		hth_buf_clear(parts[i].values);
	}
	hth_buf_append_str(out, "]}");
}

static void open_object(hth_api_job *job, const char *start)
{
	hth_buf *out = &job->scratch;
	hth_buf_clear(out);
	hth_buf_appendf(out, "%s{\"id\":\"%s\",\"object\":\"text_completion\",\"created\":%lld,\"model\":", start, job->id,
	                (long long)job->created_unix);
	hth_wire_string(out, job->requests[0]->model);
	hth_buf_append_str(out, ",\"system_fingerprint\":\"" HTH_WIRE_FINGERPRINT "\",\"choices\":[");
}

static void send_chunk(hth_api_job *job, size_t i, const char *text, size_t len, const char *finish_reason)
{
	completions_state *state = job->state;
	hth_buf *out = &job->scratch;
	open_object(job, "data: ");
	hth_buf_appendf(out, "{\"index\":%zu,\"text\":", i);
	hth_json_write_string(text, len, out);
	write_logprobs(out, &state->answers[i], state->logprobs && state->answers[i].tokens.len > 0);
	if (finish_reason != NULL)
		hth_buf_appendf(out, ",\"finish_reason\":\"%s\"}]}\n\n", finish_reason);
	else
		hth_buf_append_str(out, ",\"finish_reason\":null}]}\n\n");
	hth_api_send(job, out);
}

static void add_text(hth_api_job *job, size_t i, const char *text, size_t len)
{
	completions_state *state = job->state;
	if (!job->stream)
		state->answers[i].failed |= !hth_buf_append(&state->answers[i].text, text, len);
	else if (len > 0 || state->answers[i].tokens.len > 0)
		send_chunk(job, i, text, len, NULL);
}

static void completion_started(hth_api_job *job, size_t i)
{
	(void)i;
	if (job->stream)
		hth_api_begin(job, "text/event-stream");
}

static void completion_event(hth_api_job *job, size_t i, const hth_api_event *event)
{
	completions_state *state = job->state;
	if (state->logprobs && event->piece != NULL)
		add_logprobs(&state->answers[i], event->piece, event->text, event->len);
	add_text(job, i, event->text, event->len);
}

static void completion_ended(hth_api_job *job, size_t i)
{
	if (job->stream)
		send_chunk(job, i, "", 0, hth_wire_finish_reason(job->requests[i]));
}

static void completions_finished(hth_api_job *job)
{
	completions_state *state = job->state;
	hth_buf *out = &job->scratch;
	if (job->stream) {
		if (state->include_usage) {
			open_object(job, "data: ");
			hth_buf_append_str(out, "],\"usage\":");
			hth_wire_openai_usage(out, job, (size_t)state->n_per_prompt);
			hth_buf_append_str(out, "}\n\n");
			hth_api_send(job, out);
		}
		hth_buf_append_str(out, "data: [DONE]\n\n");
		hth_api_send(job, out);
		hth_api_finish(job);
		return;
	}
	open_object(job, "");
	for (size_t i = 0; i < job->n_requests; i++) {
		completion *c = &state->answers[i];
		if (c->failed)
			out->failed = true;
		hth_buf_appendf(out, "%s{\"index\":%zu,\"text\":", i > 0 ? "," : "", i);
		hth_json_write_string(c->text.data != NULL ? c->text.data : "", c->text.len, out);
		write_logprobs(out, c, state->logprobs);
		hth_buf_appendf(out, ",\"finish_reason\":\"%s\"}", hth_wire_finish_reason(job->requests[i]));
	}
	hth_buf_append_str(out, "],\"usage\":");
	hth_wire_openai_usage(out, job, (size_t)state->n_per_prompt);
	hth_buf_append_char(out, '}');
	hth_api_reply(job, "application/json", out);
}

static const hth_api_writer writer = {.started = completion_started,
                                      .event = completion_event,
                                      .ended = completion_ended,
                                      .finished = completions_finished,
                                      .broken = hth_wire_openai_broken};

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/v1/completions", .parse = parse_completions, .writer = &writer},
    {.method = "POST", .path = "/completions", .parse = parse_completions, .writer = &writer},
};
const hth_api_family hth_api_openai_completions = {endpoints, HTH_COUNT(endpoints)};
