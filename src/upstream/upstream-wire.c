/* upstream-wire.c - a request as the OpenAI API writes it, and its answer read as it comes. Pure: no thread, no socket.
 *
 * What another server cannot be asked in its API (a grammar, an echo, log probabilities of the old completions) is refused by name. A bias
 * is on token ids of its own tokenizer, which is what a client that names its model means. What an upstream sends is untrusted: lines,
 * texts and lists are bounded and of the right type, or it has failed.
 */
#include "upstream/upstream-internal.h"

#include <math.h>
#include <stdio.h>

enum { LINE_MAX = 4 << 20, ROWS_MAX = 4096, EMBEDDING_MAX = 1 << 16, TOOL_CALLS_MAX = 128 };

void hth_up_event_free(hth_up_event *event)
{
	if (event == NULL)
		return;
	free(event->text);
	free(event->tool_id);
	free(event->tool_name);
	free(event->rows);
	free(event->top);
	free(event->row_bytes);
	free(event->values);
	json_decref(event->models);
	free(event);
}

/* ---- asking ---- */

/* Templates want a call's arguments as an object, the API as JSON text. */
static void arguments_to_text(json_t *messages)
{
	size_t i, k;
	json_t *message, *call;
	json_array_foreach(messages, i, message)
		json_array_foreach(json_object_get(message, "tool_calls"), k, call) {
			json_t *fn = json_object_get(call, "function"), *arguments = json_object_get(fn, "arguments");
			hth_buf text = HTH_BUF_INIT(LINE_MAX);
			if (arguments != NULL && !json_is_string(arguments) && hth_json_write(arguments, &text))
				json_object_set_new(fn, "arguments", json_stringn(text.data, text.len));
			hth_buf_finish(&text);
		}
}

static hth_status add_parsed(json_t *body, const char *key, const char *text, hth_error *err)
{
	json_t *value = NULL;
	HTH_TRY(hth_json_parse(&value, text, strlen(text), err));
	if (strcmp(key, "messages") == 0)
		arguments_to_text(value);
	json_object_set_new(body, key, value);
	return HTH_OK;
}

static void add_input(json_t *body, const char *key, const hth_request_input *in)
{
	if (in->tokens == NULL) {
		json_object_set_new(body, key, json_stringn(in->text != NULL ? in->text : "", in->text_len));
		return;
	}
	json_t *ids = json_array();
	for (size_t i = 0; i < in->n_tokens; i++)
		json_array_append_new(ids, json_integer(in->tokens[i]));
	json_object_set_new(body, key, ids);
}

/* A float as its shortest decimal: 0.8f is 0.8, not 0.800000011920929. */
static json_t *real(float f)
{
	char text[32];
	snprintf(text, sizeof text, "%.7g", (double)f);
	return json_real(strtod(text, NULL));
}

static void add_sampling(json_t *body, const hth_request_params *p)
{
	const hth_sampling *s = &p->sampling;
	const hth_sampling usual = hth_sampling_defaults();
	json_object_set_new(body, "temperature", real(s->temperature));
	json_object_set_new(body, "top_p", real(s->top_p));
	if (s->top_k != usual.top_k)
		json_object_set_new(body, "top_k", json_integer(s->top_k));
	if (s->min_p != usual.min_p)
		json_object_set_new(body, "min_p", real(s->min_p));
	if (s->repeat_penalty != usual.repeat_penalty)
		json_object_set_new(body, "repeat_penalty", real(s->repeat_penalty));
	if (s->presence_penalty != 0)
		json_object_set_new(body, "presence_penalty", real(s->presence_penalty));
	if (s->frequency_penalty != 0)
		json_object_set_new(body, "frequency_penalty", real(s->frequency_penalty));
	if (s->seed_given)
		json_object_set_new(body, "seed", json_integer((json_int_t)(s->seed & INT64_MAX)));
	if (p->max_tokens >= 0)
		json_object_set_new(body, "max_tokens", json_integer(p->max_tokens));
	if (p->ignore_eos)
		json_object_set_new(body, "ignore_eos", json_true());
	if (s->n_logit_bias > 0) {
		json_t *bias = json_object();
		char id[16];
		for (size_t i = 0; i < s->n_logit_bias; i++) {
			snprintf(id, sizeof id, "%d", s->logit_bias[i].token);
			json_object_set_new(bias, id, real(s->logit_bias[i].bias));
		}
		json_object_set_new(body, "logit_bias", bias);
	}
	if (p->top_logprobs >= 0) {
		json_object_set_new(body, "logprobs", json_true());
		if (p->top_logprobs > 0)
			json_object_set_new(body, "top_logprobs", json_integer(p->top_logprobs));
	}
	if (p->n_stop > 0) {
		json_t *stop = json_array();
		for (size_t i = 0; i < p->n_stop; i++)
			json_array_append_new(stop, json_string(p->stop[i]));
		json_object_set_new(body, "stop", stop);
	}
}

/* What binds the answer: a call of a tool, a schema. */
static hth_status add_shape(json_t *body, const hth_request_input *input, hth_error *err)
{
	json_t *choice = NULL;
	if (input->must_call_name != NULL)
		choice = json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", input->must_call_name);
	else if (input->must_call)
		choice = json_string("required");
	if (choice != NULL)
		json_object_set_new(body, "tool_choice", choice);
	if (input->one_call && input->tools_json != NULL)
		json_object_set_new(body, "parallel_tool_calls", json_false());
	if (input->format_json == NULL)
		return HTH_OK;
	HTH_AUTO_JSON json_t *schema = NULL;
	HTH_AUTO_JSON json_t *any = json_pack("{s:s}", "type", "object");
	HTH_TRY(hth_json_parse(&schema, input->format_json, strlen(input->format_json), err));
	json_t *format = json_equal(schema, any) ? json_pack("{s:s}", "type", "json_object")
	                                         : json_pack("{s:s, s:{s:s, s:O, s:b}}", "type", "json_schema", "json_schema", "name",
	                                                     "answer", "schema", schema, "strict", 1);
	if (format == NULL || json_object_set_new(body, "response_format", format) != 0)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	return HTH_OK;
}

static hth_status refuse(const char *param, const char *what, hth_error *err)
{
	return hth_fail_param(err, HTH_UNSUPPORTED, param, "%s cannot be asked of an upstream's model; use a model of this home for it",
	                      what);
}

hth_status hth_up_write(const hth_request *r, const char *model, hth_buf *ret_body, const char **ret_path, hth_error *err)
{
	const hth_request_params *p = &r->params;
	if (p->grammar != NULL)
		return refuse("grammar", "an answer bound to a grammar", err);
	if (p->top_logprobs >= 0 && r->kind == HTH_COMPLETION)
		return refuse("logprobs", "log probabilities of a plain completion", err);
	if (r->input.echo)
		return refuse("echo", "an echo of the prompt", err);
	HTH_AUTO_JSON json_t *body = json_object();
	if (body == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	json_object_set_new(body, "model", json_string(model));
	switch (r->kind) {
	case HTH_CHAT:
		*ret_path = "/chat/completions";
		HTH_TRY(add_parsed(body, "messages", r->input.messages_json, err));
		if (r->input.tools_json != NULL)
			HTH_TRY(add_parsed(body, "tools", r->input.tools_json, err));
		if (r->input.settings_json != NULL)
			return refuse("template", "a template of one's own", err);
		if (r->input.template_json != NULL && strstr(r->input.template_json, "\"suffix\"") != NULL)
			return refuse("suffix", "filling in the middle", err);
		if (r->input.template_json != NULL)
			HTH_TRY(add_parsed(body, "chat_template_kwargs", r->input.template_json, err));
		HTH_TRY(add_shape(body, &r->input, err));
		break;
	case HTH_COMPLETION:
		*ret_path = "/completions";
		add_input(body, "prompt", &r->input);
		break;
	case HTH_EMBEDDING:
		*ret_path = "/embeddings";
		add_input(body, "input", &r->input);
		json_object_set_new(body, "encoding_format", json_string("float"));
		break;
	default:
		return refuse("model", "its tokens", err);
	}
	if (r->kind != HTH_EMBEDDING) {
		add_sampling(body, p);
		json_object_set_new(body, "stream", json_true());
		json_object_set_new(body, "stream_options", json_pack("{s:b}", "include_usage", 1));
	}
	return hth_json_write(body, ret_body) ? HTH_OK : hth_fail(err, HTH_TOO_LARGE, "the request is over %zu bytes", ret_body->max);
}

/* ---- reading ---- */

void hth_up_reader_init(hth_up_reader *reader, hth_request_kind kind, bool (*emit)(void *ctx, hth_up_event *event), void *ctx)
{
	*reader = (hth_up_reader){.kind = kind, .emit = emit, .ctx = ctx, .line = HTH_BUF_INIT(LINE_MAX), .finish = HTH_FINISH_STOP};
}

void hth_up_reader_finish(hth_up_reader *reader) { hth_buf_finish(&reader->line); }

static bool bad(hth_up_reader *reader, const char *what)
{
	hth_fail(&reader->error, HTH_GONE, "what it answers is not of the OpenAI API: %s", what);
	reader->failed = true;
	return false;
}

/* A token as the API spells it: its bytes where it gives them, else its text. Its id is not told. */
static void read_row(const json_t *from, hth_token_logprob *row, hth_buf *bytes)
{
	const json_t *list = json_object_get(from, "bytes"), *text = json_object_get(from, "token");
	double logprob = json_number_value(json_object_get(from, "logprob"));
	size_t begin = bytes->len;
	for (size_t i = 0; i < json_array_size(list) && i < 256; i++)
		hth_buf_append_char(bytes, (char)(unsigned char)json_integer_value(json_array_get(list, i)));
	if (json_array_size(list) == 0 && json_is_string(text))
		hth_buf_append(bytes, json_string_value(text), HTH_MIN(json_string_length(text), (size_t)256));
	*row = (hth_token_logprob){.token = -1, .logprob = logprob > -9999 && logprob < 9999 ? (float)logprob : -9999,
	                           .n_bytes = bytes->len - begin};
}

/* {"content":[{"token","logprob","bytes","top_logprobs":[...]}]}; what is not of that form is left out. False: no memory. */
static bool read_logprobs(const json_t *logprobs, hth_up_event *e)
{
	const json_t *content = json_object_get(logprobs, "content");
	size_t n = HTH_MIN(json_array_size(content), (size_t)ROWS_MAX), n_top = HTH_TOP_LOGPROBS_MAX;
	if (n == 0)
		return true;
	/* As many rivals as every row has. */
	for (size_t i = 0; i < n; i++)
		n_top = HTH_MIN(n_top, json_array_size(json_object_get(json_array_get(content, i), "top_logprobs")));
	hth_buf bytes = HTH_BUF_INIT((size_t)ROWS_MAX * (1 + HTH_TOP_LOGPROBS_MAX) * 256);
	e->rows = calloc(n, sizeof *e->rows);
	e->top = calloc(n * n_top + 1, sizeof *e->top);
	if (e->rows == NULL || e->top == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *row = json_array_get(content, i);
		read_row(row, &e->rows[i], &bytes);
		for (size_t k = 0; k < n_top; k++)
			read_row(json_array_get(json_object_get(row, "top_logprobs"), k), &e->top[i * n_top + k], &bytes);
	}
	if (bytes.failed || (e->row_bytes = hth_buf_steal(&bytes, NULL)) == NULL) {
		hth_buf_finish(&bytes);
		return false;
	}
	/* The bytes lie in the order in which they were read. */
	const char *at = e->row_bytes;
	for (size_t i = 0; i < n; i++) {
		e->rows[i].bytes = at;
		at += e->rows[i].n_bytes;
		for (size_t k = 0; k < n_top; k++) {
			e->top[i * n_top + k].bytes = at;
			at += e->top[i * n_top + k].n_bytes;
		}
	}
	e->n_rows = n;
	e->n_top = n_top;
	return true;
}

static bool emit_piece(hth_up_reader *reader, hth_piece_kind kind, size_t tool, const char *id, const char *name, const char *text,
                       const json_t *logprobs)
{
	hth_up_event *e = calloc(1, sizeof *e);
	bool ok = e != NULL;
	if (ok) {
		*e = (hth_up_event){.kind = HTH_UP_PIECE, .piece = kind, .tool_index = tool};
		e->len = text != NULL ? strlen(text) : 0;
		e->text = strdup(text != NULL ? text : "");
		e->tool_id = id != NULL ? strdup(id) : NULL;
		e->tool_name = name != NULL ? strdup(name) : NULL;
		ok = read_logprobs(logprobs, e) && e->text != NULL && (id == NULL || e->tool_id != NULL) &&
		    (name == NULL || e->tool_name != NULL);
	}
	if (ok)
		return reader->emit(reader->ctx, e);
	hth_up_event_free(e);
	reader->failed = true;
	hth_fail(&reader->error, HTH_NO_MEMORY, "no memory for an answer");
	return false;
}

static bool text_of(hth_up_reader *reader, const json_t *delta, const char *key, hth_piece_kind kind, const json_t *logprobs)
{
	const char *text = json_string_value(json_object_get(delta, key));
	return text == NULL || *text == '\0' || emit_piece(reader, kind, 0, NULL, NULL, text, logprobs);
}

static bool tool_calls(hth_up_reader *reader, const json_t *calls)
{
	size_t i;
	json_t *call;
	json_array_foreach(calls, i, call) {
		const json_t *fn = json_object_get(call, "function"), *at = json_object_get(call, "index");
		const char *id = json_string_value(json_object_get(call, "id")), *name = json_string_value(json_object_get(fn, "name")),
		           *arguments = json_string_value(json_object_get(fn, "arguments"));
		json_int_t index = json_is_integer(at) ? json_integer_value(at) : (json_int_t)i;
		if (index < 0 || index >= TOOL_CALLS_MAX)
			return bad(reader, "a tool call without a place");
		if (name != NULL && *name != '\0' && !emit_piece(reader, HTH_PIECE_TOOL_CALL, (size_t)index, id != NULL ? id : "", name,
		                                                 NULL, NULL))
			return false;
		if (arguments != NULL && *arguments != '\0' && !emit_piece(reader, HTH_PIECE_TOOL_ARGUMENTS, (size_t)index, NULL, NULL,
		                                                           arguments, NULL))
			return false;
	}
	return true;
}

static uint32_t count(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));
	return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void read_usage(hth_up_reader *reader, const json_t *usage)
{
	if (!json_is_object(usage))
		return;
	reader->usage.prompt_tokens = count(usage, "prompt_tokens");
	reader->usage.answer_tokens = count(usage, "completion_tokens");
	reader->usage.cached_tokens = count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
}

static bool read_error(hth_up_reader *reader, const json_t *error)
{
	const char *message = json_string_value(json_is_object(error) ? json_object_get(error, "message") : error);
	hth_fail(&reader->error, HTH_GONE, "%.300s", message != NULL ? message : "it failed without a word");
	reader->failed = true;
	return false;
}

static bool read_data(hth_up_reader *reader, const char *data, size_t len)
{
	if (len == 6 && memcmp(data, "[DONE]", 6) == 0) {
		reader->done = true;
		return true;
	}
	HTH_AUTO_JSON json_t *chunk = NULL;
	if (hth_json_parse(&chunk, data, len, NULL) != HTH_OK || !json_is_object(chunk))
		return bad(reader, "a line of its stream is no JSON object");
	const json_t *error = json_object_get(chunk, "error");
	if (error != NULL && !json_is_null(error))
		return read_error(reader, error);
	read_usage(reader, json_object_get(chunk, "usage"));
	const json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0), *delta = json_object_get(choice, "delta");
	if (choice == NULL)
		return true; /* the chunk of usage */
	if (!text_of(reader, delta, "reasoning_content", HTH_PIECE_REASONING, NULL) ||
	    (json_object_get(delta, "reasoning_content") == NULL && !text_of(reader, delta, "reasoning", HTH_PIECE_REASONING, NULL)) ||
	    !text_of(reader, delta, "content", HTH_PIECE_TEXT, json_object_get(choice, "logprobs")) ||
	    !text_of(reader, choice, "text", HTH_PIECE_TEXT, NULL) ||
	    !tool_calls(reader, json_object_get(delta, "tool_calls")))
		return false;
	const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
	if (finish != NULL) {
		reader->finish = strcmp(finish, "length") == 0 ? HTH_FINISH_LENGTH : HTH_FINISH_STOP;
		reader->done = true;
	}
	return true;
}

bool hth_up_reader_feed(hth_up_reader *reader, const char *data, size_t len)
{
	hth_buf *b = &reader->line;
	if (!hth_buf_append(b, data, len))
		return bad(reader, "a line of its stream is over 4 MiB");
	size_t from = 0;
	bool go_on = true;
	for (char *end; go_on && (end = memchr(b->data + from, '\n', b->len - from)) != NULL;) {
		char *line = b->data + from;
		size_t n = (size_t)(end - line);
		from += n + 1;
		if (n > 0 && line[n - 1] == '\r')
			n--;
		if (n < 5 || memcmp(line, "data:", 5) != 0)
			continue;
		size_t skip = n > 5 && line[5] == ' ' ? 6 : 5;
		go_on = read_data(reader, line + skip, n - skip);
	}
	hth_buf_consume(b, from);
	return go_on;
}

bool hth_up_reader_whole(hth_up_reader *reader, const char *data, size_t len)
{
	HTH_AUTO_JSON json_t *answer = NULL;
	if (hth_json_parse(&answer, data, len, NULL) != HTH_OK)
		return bad(reader, "its answer is no JSON");
	const json_t *values = json_object_get(json_array_get(json_object_get(answer, "data"), 0), "embedding");
	size_t n = json_array_size(values);
	if (n == 0 || n > EMBEDDING_MAX)
		return bad(reader, "there is no embedding in its answer");
	hth_up_event *e = calloc(1, sizeof *e);
	if (e == NULL || (e->values = calloc(n, sizeof *e->values)) == NULL) {
		free(e);
		reader->failed = true;
		hth_fail(&reader->error, HTH_NO_MEMORY, "no memory for an answer");
		return false;
	}
	e->kind = HTH_UP_EMBEDDING;
	e->len = n;
	for (size_t i = 0; i < n; i++) {
		e->values[i] = (float)json_number_value(json_array_get(values, i));
		if (!isfinite(e->values[i]))
			e->values[i] = 0;
	}
	read_usage(reader, json_object_get(answer, "usage"));
	reader->done = true;
	return reader->emit(reader->ctx, e);
}

hth_status hth_up_http_error(const char *upstream, const hth_transfer_head *head, const char *body, size_t len, hth_error *err)
{
	HTH_AUTO_JSON json_t *json = NULL;
	const char *message = NULL, *kind = NULL;
	if (len > 0 && hth_json_parse(&json, body, len, NULL) == HTH_OK && json_is_object(json)) {
		const json_t *error = json_object_get(json, "error");
		message = json_string_value(json_is_object(error) ? json_object_get(error, "message") : error);
		if (message == NULL)
			message = json_string_value(json_object_get(json, "message"));
		for (size_t i = 0; json_is_object(error) && kind == NULL && i < 2; i++) {
			kind = json_string_value(json_object_get(error, i == 0 ? "code" : "type")); /* the latter is llama-server's */
			if (kind != NULL && strcmp(kind, "context_length_exceeded") != 0 && strcmp(kind, "exceed_context_size_error") != 0)
				kind = NULL;
		}
	}
	if (message == NULL)
		message = "it does not say why";
	int code = head->code;
	if (code == 401 || code == 403) /* our key, not the client's */
		return hth_fail(err, HTH_GONE, "the upstream %s does not take the key that hearth.conf has for it (HTTP status %d)",
		                upstream, code);
	hth_status status = code == 404 ? HTH_NOT_FOUND : code == 429 || code == 503 ? HTH_BUSY : code == 413 ||
	    kind != NULL ? HTH_TOO_LARGE
	                    : code >= 400 && code < 500 ? HTH_INVALID : HTH_GONE;
	return hth_fail(err, status, "the upstream %s: %.300s (HTTP status %d)", upstream, message, code);
}
