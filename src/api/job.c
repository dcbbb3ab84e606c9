/* job.c - one HTTP call in progress: from its body through its endpoint's parser, and its requests' results through its writer.
 *
 * Owns the order of things: headers before bytes, nothing after the end, one failure for the whole call. Refuses bodies that are
 * not a JSON object and methods that a path does not have. Thread: the loop's.
 */
#include "api/answer-reader.h"
#include "api/families.h"
#include "api/own-tool.h"

#include "base/clock.h"

#include <stdio.h>

static const hth_api_family *const families[] = {&hth_api_openai_chat, &hth_api_openai_completions,
                                                 &hth_api_openai_embeddings, &hth_api_openai_models, &hth_api_tokenize,
                                                 &hth_api_ollama_chat,       &hth_api_ollama_embed,  &hth_api_ollama_models,
                                                 &hth_api_ollama_create,
                                                 &hth_api_anthropic,         &hth_api_responses};

static bool path_matches(const char *pattern, const char *path)
{
	size_t n = strlen(pattern);
	if (n > 0 && pattern[n - 1] == '*')
		return strncmp(pattern, path, n - 1) == 0 && path[n - 1] != '\0';
	return strcmp(pattern, path) == 0;
}

const hth_api_endpoint *hth_api_find(const char *method, const char *path, const char **ret_allow)
{
	static const char *const allow_names[] = {NULL,     "GET, HEAD",         "POST",         "GET, HEAD, POST",
	                                          "DELETE", "GET, HEAD, DELETE", "POST, DELETE", "GET, HEAD, POST, DELETE"};
	unsigned allow = 0;
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (size_t f = 0; f < HTH_COUNT(families); f++) {
		for (size_t i = 0; i < families[f]->n; i++) {
			const hth_api_endpoint *e = &families[f]->endpoints[i];
			if (!path_matches(e->path, path))
				continue;
			if (strcmp(e->method, method) == 0)
				return e;
			allow |= strcmp(e->method, "GET") == 0 ? 1u : strcmp(e->method, "POST") == 0 ? 2u : 4u;
		}
	}
	*ret_allow = allow_names[allow];
	return NULL;
}

hth_status hth_api_parse(hth_api_job **ret_job, const hth_api_endpoint *endpoint, const hth_api_host *host,
                         const hth_api_out *out, const char *path, const char *body, size_t len, hth_error *err)
{
	HTH_AUTO_JSON json_t *json = NULL;
	if (endpoint->parse == NULL)
		return hth_fail(err, HTH_INTERNAL, "%s is answered elsewhere", endpoint->path);
	bool takes_body = strcmp(endpoint->method, "GET") != 0 && !endpoint->no_body;
	if (takes_body && len == 0)
		return hth_fail(err, HTH_INVALID, "the body is empty; %s takes a JSON object", endpoint->path);
	if (takes_body) {
		hth_status status = hth_json_parse(&json, body, len, err);
		if (status != HTH_OK)
			return hth_fail_prefix(err, "the body cannot be read as JSON");
		if (!json_is_object(json))
			return hth_fail(err, HTH_INVALID, "the body is %s; it must be a JSON object", hth_json_type_name(json));
	}
	hth_api_job *job = calloc(1, sizeof *job);
	if (job == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	job->endpoint = endpoint;
	job->host = host;
	job->out = *out;
	job->created_unix = hth_clock_unix();
	job->scratch = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	size_t n = strlen(endpoint->path);
	job->path_rest = n > 0 && endpoint->path[n - 1] == '*' ? path + n - 1 : "";
	hth_status status = endpoint->parse(job, json, err);
	if (status == HTH_OK && job->n_requests == 0 && !job->finished)
		status = hth_fail(err, HTH_INVALID, "there is nothing to do in this request");
	if (status != HTH_OK) {
		hth_api_job_destroy(job);
		return status;
	}
	job->path_rest = "";
	*ret_job = job;
	return HTH_OK;
}

void hth_api_job_destroy(hth_api_job *job)
{
	if (job == NULL)
		return;
	if (job->free_state != NULL)
		job->free_state(job);
	for (size_t i = 0; i < job->n_requests; i++) {
		if (job->readers != NULL)
			hth_answer_reader_destroy(job->readers[i]);
		hth_request_unref(job->requests[i]);
	}
	hth_own_tool_destroy(job->own_tool);
	for (size_t i = 0; job->citers != NULL && i < job->n_requests; i++)
		hth_citer_destroy(job->citers[i]);
	free(job->citers);
	hth_context_destroy(job->context);
	if (job->plain_messages != NULL)
		explicit_bzero(job->plain_messages, strlen(job->plain_messages));
	free(job->plain_messages);
	free(job->readers);
	free(job->requests);
	hth_buf_finish(&job->scratch);
	free(job);
}

hth_status hth_api_add_request(hth_api_job *job, hth_request_kind kind, const char *model, hth_request **ret_request,
                               hth_error *err)
{
	if (job->n_requests == HTH_API_REQUESTS_MAX)
		return hth_fail(err, HTH_INVALID, "one call may ask for at most %d answers", HTH_API_REQUESTS_MAX);
	/* Room grows by doubling at the powers of two. */
	if ((job->n_requests & (job->n_requests - 1)) == 0) {
		size_t room = job->n_requests == 0 ? 1 : job->n_requests * 2;
		hth_request **grown = realloc(job->requests, room * sizeof *grown);
		if (grown == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
		job->requests = grown;
	}
	if (model == NULL || model[0] == '\0')
		model = job->host->default_model;
	if (strlen(model) >= HTH_MODEL_NAME_MAX)
		return hth_fail_param(err, HTH_INVALID, "model", "the model's name has more than %d bytes", HTH_MODEL_NAME_MAX - 1);
	hth_request *request;
	HTH_TRY(hth_request_create(&request, kind, err));
	snprintf(request->model, sizeof request->model, "%s", model);
	if (job->host->prepare_request != NULL)
		job->host->prepare_request(job->host->ctx, request);
	job->requests[job->n_requests++] = request;
	*ret_request = request;
	return HTH_OK;
}

/* --- bytes out --- */

static void add_hearth_headers(hth_api_job *job)
{
	if (job->n_requests == 0)
		return;
	job->out.header(job->out.ctx, "Hearth-Request-Id", job->requests[0]->id);
	if (job->requests[0]->served_by[0] != '\0')
		job->out.header(job->out.ctx, "Hearth-Served-By", job->requests[0]->served_by);
	if (job->context != NULL) {
		char passages[16];
		snprintf(passages, sizeof passages, "%zu", hth_context_count(job->context));
		job->out.header(job->out.ctx, "Hearth-Passages", passages);
	}
}

void hth_api_begin(hth_api_job *job, const char *content_type)
{
	if (job->begun || job->finished)
		return;
	job->begun = true;
	add_hearth_headers(job);
	job->out.header(job->out.ctx, "Cache-Control", "no-cache");
	/* Proxies such as nginx would hold tokens back otherwise. */
	job->out.header(job->out.ctx, "X-Accel-Buffering", "no");
	job->out.begin(job->out.ctx, 200, content_type);
}

void hth_api_send(hth_api_job *job, hth_buf *chunk)
{
	if (job->begun && !job->finished && !chunk->failed && chunk->len > 0)
		job->out.send(job->out.ctx, chunk->data, chunk->len);
	hth_buf_clear(chunk);
}

void hth_api_finish(hth_api_job *job)
{
	if (job->finished)
		return;
	job->finished = true;
	if (job->begun)
		job->out.finish(job->out.ctx);
}

void hth_api_reply(hth_api_job *job, const char *content_type, const hth_buf *body)
{
	if (job->finished || job->begun)
		return;
	hth_error err;
	if (hth_buf_check(body, "the answer", &err) != HTH_OK) {
		hth_api_fail(job, &err);
		return;
	}
	job->finished = true;
	add_hearth_headers(job);
	job->out.reply(job->out.ctx, 200, content_type, body->data != NULL ? body->data : "", body->len);
}

/* --- results in --- */

void hth_api_started(hth_api_job *job, size_t i)
{
	bool goes_on = job->own_tool != NULL && hth_own_tool_rounds(job->own_tool) > 0;
	if (!job->finished && !goes_on && job->endpoint->writer->started != NULL)
		job->endpoint->writer->started(job, i);
}

/* Content passes the citer. What it holds back comes with a later event, or at the end. */
static void write_event(hth_api_job *job, size_t i, const hth_api_event *event)
{
	if (job->citers == NULL || job->citers[i] == NULL || event->kind != HTH_EVENT_CONTENT) {
		job->endpoint->writer->event(job, i, event);
		return;
	}
	hth_api_event cited = *event;
	hth_buf text = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	hth_citer_feed(job->citers[i], event->text, event->len, &text);
	cited.text = text.data != NULL ? text.data : "";
	cited.len = text.len;
	job->endpoint->writer->event(job, i, &cited);
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	hth_buf_finish(&text);
}

/* What was held back, and the list of what was cited. */
static void end_citations(hth_api_job *job, size_t i)
{
	if (job->citers == NULL || job->citers[i] == NULL || job->endpoint->writer->event == NULL)
		return;
	hth_buf text = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	hth_citer_finish(job->citers[i], &text);
	hth_citer_write_sources(job->citers[i], &text);
	const hth_api_event event = {.kind = HTH_EVENT_CONTENT, .text = text.data, .len = text.len};
	if (text.len > 0)
		job->endpoint->writer->event(job, i, &event);
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	hth_buf_finish(&text);
}

static void give_event(void *ctx, size_t i, const hth_api_event *event)
{
	hth_api_job *job = ctx;
	hth_api_event shown = *event;
	if (job->own_tool != NULL && hth_own_tool_take(job->own_tool, &shown))
		return;
	if (!job->finished && job->endpoint->writer->event != NULL)
		write_event(job, i, &shown);
}

hth_status hth_api_placed(hth_api_job *job, size_t i, const hth_runner_info *info, hth_error *err)
{
	hth_request *request = job->requests[i];
	if (request->kind != HTH_CHAT)
		return HTH_OK;
	if (job->readers == NULL)
		job->readers = calloc(job->n_requests, sizeof(hth_answer_reader *));
	if (job->readers == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read an answer");
	hth_answer_reader_destroy(job->readers[i]);
	job->readers[i] = NULL;
	return hth_answer_reader_create(&job->readers[i], request, i, info, job->host->bindings, give_event, job, err);
}

uint32_t hth_api_reasoning_tokens(const hth_api_job *job, size_t i)
{
	return job->readers != NULL && job->readers[i] != NULL ? hth_answer_reader_reasoning_tokens(job->readers[i]) : 0;
}

void hth_api_piece(hth_api_job *job, size_t i, const hth_answer_piece *piece)
{
	static const hth_api_event_kind kinds[] = {[HTH_PIECE_TEXT] = HTH_EVENT_CONTENT,
	                                           [HTH_PIECE_REASONING] = HTH_EVENT_REASONING,
	                                           [HTH_PIECE_TOOL_CALL] = HTH_EVENT_TOOL_CALL,
	                                           [HTH_PIECE_TOOL_ARGUMENTS] = HTH_EVENT_TOOL_ARGUMENTS};
	hth_error err;
	if (job->readers != NULL && job->readers[i] != NULL) {
		if (!job->finished && hth_answer_reader_piece(job->readers[i], piece, &err) != HTH_OK)
			hth_api_fail(job, &err);
		return;
	}
	const hth_api_event event = {.kind = kinds[piece->kind],
	                             .text = piece->text,
	                             .len = piece->len,
	                             .tool_index = piece->tool_index,
	                             .tool_id = piece->tool_id,
	                             .tool_name = piece->tool_name,
	                             .piece = piece->kind == HTH_PIECE_TEXT ? piece : NULL};
	give_event(job, i, &event);
}

void hth_api_tokens(hth_api_job *job, size_t i, const int32_t *ids, size_t n)
{
	if (!job->finished && job->endpoint->writer->tokens != NULL)
		job->endpoint->writer->tokens(job, i, ids, n);
}

void hth_api_embedding(hth_api_job *job, size_t i, const float *values, size_t n)
{
	if (!job->finished && job->endpoint->writer->embedding != NULL)
		job->endpoint->writer->embedding(job, i, values, n);
}

void hth_api_done(hth_api_job *job, size_t i)
{
	hth_request *request = job->requests[i];
	if (job->finished) {
		job->n_ended++;
		return;
	}
	/* A stop string may have cut a call off. */
	if (job->readers != NULL && job->readers[i] != NULL)
		hth_answer_reader_end(job->readers[i], request->finish_reason == HTH_FINISH_STOP && request->stop_hit == NULL);
	if (hth_api_waits_for_page(job))
		return;
	if (job->own_tool != NULL)
		hth_own_tool_add_usage(job->own_tool, &request->usage);
	if (!job->finished)
		end_citations(job, i);
	job->n_ended++;
	if (job->finished)
		return;
	if (job->endpoint->writer->ended != NULL)
		job->endpoint->writer->ended(job, i);
	if (job->n_ended == job->n_requests && !job->finished)
		job->endpoint->writer->finished(job);
}

/* --- a page for the model --- */

hth_status hth_api_offer_tool(hth_api_job *job, hth_own_tool_kind kind, const char *detail, hth_error *err)
{
	if (job->n_requests != 1)
		return hth_fail_param(err, HTH_INVALID, "Hearth-Tools",
		                      "the node's own tools are for calls that ask a model for one answer");
	return hth_own_tool_offer(&job->own_tool, kind, job->requests[0], detail, err);
}

bool hth_api_waits_for_page(const hth_api_job *job) { return job->own_tool != NULL && !job->finished && hth_own_tool_waits(job->own_tool); }

hth_own_tool_kind hth_api_own_tool(const hth_api_job *job) { return hth_own_tool_which(job->own_tool); }

hth_status hth_api_page_url(hth_api_job *job, const char **ret_url, hth_error *err)
{
	return hth_own_tool_url(job->own_tool, ret_url, err);
}

hth_status hth_api_give_page(hth_api_job *job, const char *text, size_t len, hth_error *err)
{
	hth_request *next;
	HTH_TRY(hth_own_tool_next(job->own_tool, job->requests[0], text, len, &next, err));
	if (job->readers != NULL) {
		hth_answer_reader_destroy(job->readers[0]);
		job->readers[0] = NULL;
	}
	hth_request_unref(job->requests[0]);
	job->requests[0] = next;
	return HTH_OK;
}

void hth_api_fail(hth_api_job *job, const hth_error *error)
{
	if (job->finished)
		return;
	if (job->begun) {
		if (job->endpoint->writer->broken != NULL)
			job->endpoint->writer->broken(job, error);
		hth_api_finish(job);
		return;
	}
	hth_buf body = HTH_BUF_INIT(64 << 10);
	unsigned retry_s = 0;
	int status = hth_api_write_error(job->endpoint, error, &body, &retry_s);
	job->finished = true;
	add_hearth_headers(job);
	if (retry_s > 0) {
		char text[16];
		snprintf(text, sizeof text, "%u", retry_s);
		job->out.header(job->out.ctx, "Retry-After", text);
	}
	job->out.reply(job->out.ctx, status, "application/json", body.data != NULL ? body.data : "", body.len);
	hth_buf_finish(&body);
}

/* --- errors --- */

static void write_openai_error(hth_buf *out, int http_status, const char *type, const char *code, const hth_error *error)
{
	(void)http_status;
	hth_buf_append_str(out, "{\"error\":{\"message\":");
	hth_json_write_string(error->message, strlen(error->message), out);
	hth_buf_appendf(out, ",\"type\":\"%s\",\"param\":", type);
	if (error->param[0] != '\0')
		hth_json_write_string(error->param, strlen(error->param), out);
	else
		hth_buf_append_str(out, "null");
	if (code != NULL)
		hth_buf_appendf(out, ",\"code\":\"%s\"}}", code);
	else
		hth_buf_append_str(out, ",\"code\":null}}");
}

int hth_api_write_error(const hth_api_endpoint *endpoint, const hth_error *error, hth_buf *out, unsigned *ret_retry_s)
{
	int http = hth_status_http(error->status);
	const char *type = hth_status_api_type(error->status), *code = NULL;
	switch (error->status) {
	case HTH_TOO_LARGE:
		/* Of a request that was read whole, what is too large is its prompt. */
		http = 400;
		code = "context_length_exceeded";
		break;
	case HTH_NOT_FOUND:
		code = strcmp(error->param, "model") == 0 ? "model_not_found" : "not_found";
		break;
	case HTH_UNAUTHORIZED:
		code = "invalid_api_key";
		break;
	case HTH_UNSUPPORTED:
		code = "unsupported";
		break;
	case HTH_BUSY:
	case HTH_NO_MEMORY:
		code = "overloaded";
		break;
	case HTH_GONE:
		code = "runner_died";
		break;
	default:
		break;
	}
	/* What cannot fit will not fit later either. */
	*ret_retry_s = error->status != HTH_BUSY ? 0 : error->retry_s > 0 ? error->retry_s : 1;
	(endpoint != NULL && endpoint->write_error != NULL ? endpoint->write_error : write_openai_error)(out, http, type, code, error);
	return http;
}
