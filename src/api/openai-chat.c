/* openai-chat.c - POST /v1/chat/completions.
 *
 * Format: OpenAI's API reference, "Chat completions", as its official clients check it: one id and one time for a whole stream,
 * the role in each answer's first chunk, the finish reason in a chunk of its own, usage in one last chunk and only when
 * asked for, then [DONE]. n answers are n requests over one prompt. Thread: the loop's.
 */
#include "api/binding.h"
#include "api/choices.h"
#include "api/families.h"
#include "api/fields.h"
#include "api/messages.h"
#include "api/wire.h"

typedef struct chat_state {
	bool include_usage, logprobs;
	hth_wire_answer *answers; /* one per request; only when not streamed */
	size_t n;
	bool *called;        /* per request: it has called a tool */
} chat_state;

static void free_state(hth_api_job *job)
{
	chat_state *state = job->state;
	for (size_t i = 0; i < state->n; i++)
		hth_wire_answer_finish(&state->answers[i]);
	free(state->answers);
	free(state->called);
	free(state);
}

/* --- in --- */

static hth_status read_template_variables(const json_t *body, hth_request_input *input, hth_error *err)
{
	const json_t *given = json_object_get(body, "chat_template_kwargs");
	const char *effort = NULL;
	HTH_TRY(hth_json_get_string(body, "reasoning_effort", &effort, err));
	if (given != NULL && !json_is_null(given) && !json_is_object(given))
		return hth_fail_param(err, HTH_INVALID, "chat_template_kwargs", "chat_template_kwargs is %s; it must be an object",
		                      hth_json_type_name(given));
	if (effort == NULL && !json_is_object(given))
		return HTH_OK;
	HTH_AUTO_JSON json_t *all = json_is_object(given) ? json_copy((json_t *)given) : json_object();
	hth_choices_effort(all, effort);
	return hth_fields_dump(all, &input->template_json, err);
}

static hth_status read_shape(hth_api_job *job, const json_t *body, hth_request *request, hth_error *err)
{
	hth_request_input *input = &request->input;
	const json_t *tools = json_object_get(body, "tools");
	bool parallel = true;
	if (tools != NULL && !json_is_null(tools))
		HTH_TRY(hth_messages_check_tools(tools, err));
	static const char *const refused[] = {"audio", "web_search_options"};
	if (json_array_size(json_object_get(body, "functions")) > 0)
		return hth_fail_param(err, HTH_UNSUPPORTED, "functions",
		                      "functions is the old form of tools, and not supported; send tools");
	HTH_TRY(hth_fields_refuse(body, refused, HTH_COUNT(refused), err));
	HTH_TRY(hth_choices_tools(tools, json_object_get(body, "tool_choice"), input, err));
	HTH_TRY(hth_json_get_bool(body, "parallel_tool_calls", &parallel, err));
	input->one_call = !parallel;
	HTH_TRY(hth_choices_format(json_object_get(body, "response_format"), "response_format", input, err));
	HTH_TRY(hth_choices_grammar(body, request, err));
	return hth_binding_check(input, "response_format", ".function.parameters", job->host->bindings, err);
}

static hth_status read_logprobs(const json_t *body, chat_state *state, hth_request_params *params, hth_error *err)
{
	int64_t top = -1;
	HTH_TRY(hth_json_get_bool(body, "logprobs", &state->logprobs, err));
	HTH_TRY(hth_json_get_int(body, "top_logprobs", 0, HTH_TOP_LOGPROBS_MAX, &top, err));
	if (top > 0 && !state->logprobs)
		return hth_fail_param(err, HTH_INVALID, "top_logprobs", "top_logprobs needs logprobs to be true");
	if (state->logprobs)
		params->top_logprobs = top < 0 ? 0 : (int32_t)top;
	return HTH_OK;
}

static hth_status parse_chat(hth_api_job *job, const json_t *body, hth_error *err)
{
	static const char *const max_keys[] = {"max_completion_tokens", "max_tokens", "n_predict"};
	const char *model = NULL;
	int64_t n = 1;
	chat_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	job->state = state;
	job->free_state = free_state;
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	HTH_TRY(hth_json_get_bool(body, "stream", &job->stream, err));
	HTH_TRY(hth_json_get_int(body, "n", 1, 128, &n, err));
	const json_t *options = NULL;
	HTH_TRY(hth_json_get_object(body, "stream_options", &options, err));
	if (options != NULL)
		HTH_TRY(hth_json_get_bool(options, "include_usage", &state->include_usage, err));
	hth_request *first;
	HTH_TRY(hth_api_add_request(job, HTH_CHAT, model, &first, err));
	HTH_AUTO_JSON json_t *messages = NULL;
	HTH_TRY(hth_messages_from_openai(json_object_get(body, "messages"), &messages, err));
	HTH_TRY(hth_fields_dump(messages, &first->input.messages_json, err));
	HTH_TRY(read_template_variables(body, &first->input, err));
	HTH_TRY(hth_json_get_bool(body, "continue_final_message", &first->input.continue_last, err));
	HTH_TRY(hth_fields_sampling(body, &first->params, err));
	HTH_TRY(hth_fields_stop(body, "stop", &first->params, err));
	HTH_TRY(hth_fields_max_tokens(body, max_keys, HTH_COUNT(max_keys), &first->params, err));
	HTH_TRY(hth_fields_keep_alive(body, &first->params.keep_alive_s, err));
	HTH_TRY(read_shape(job, body, first, err));
	HTH_TRY(read_logprobs(body, state, &first->params, err));
	for (int64_t k = 1; k < n; k++) {
		hth_request *more;
		HTH_TRY(hth_api_add_request(job, HTH_CHAT, model, &more, err));
		HTH_TRY(hth_fields_copy_chat(&more->input, &first->input, err));
		HTH_TRY(hth_fields_copy_params(&more->params, &first->params, (uint64_t)k, err));
	}
	state->called = hth_alloc_array(job->n_requests, sizeof *state->called);
	if (state->called == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	if (!job->stream) {
		state->answers = hth_alloc_array(job->n_requests, sizeof *state->answers);
		if (state->answers == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
		for (; state->n < job->n_requests; state->n++)
			hth_wire_answer_init(&state->answers[state->n]);
	}
	hth_wire_make_id(job, "chatcmpl-");
	return HTH_OK;
}

/* --- out --- */

static hth_buf *open_chunk(hth_api_job *job)
{
	hth_buf *out = &job->scratch;
	hth_buf_clear(out);
	hth_buf_appendf(out, "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%lld,\"model\":", job->id,
	                (long long)job->created_unix);
	hth_wire_string(out, job->requests[0]->model);
	hth_buf_append_str(out, ",\"system_fingerprint\":\"" HTH_WIRE_FINGERPRINT "\",\"choices\":[");
	return out;
}

static void close_chunk(hth_api_job *job)
{
	hth_buf_append_str(&job->scratch, "}\n\n");
	hth_api_send(job, &job->scratch);
}

static void chat_started(hth_api_job *job, size_t i)
{
	if (!job->stream)
		return;
	hth_api_begin(job, "text/event-stream");
	hth_buf *out = open_chunk(job);
	hth_buf_appendf(out,
	                "{\"index\":%zu,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]", i);
	close_chunk(job);
}

static void write_delta(hth_buf *out, const hth_api_event *event)
{
	switch (event->kind) {
	case HTH_EVENT_CONTENT:
		hth_buf_append_str(out, "\"content\":");
		hth_json_write_string(event->text, event->len, out);
		break;
	case HTH_EVENT_REASONING:
		hth_buf_append_str(out, "\"reasoning_content\":");
		hth_json_write_string(event->text, event->len, out);
		break;
	case HTH_EVENT_TOOL_CALL:
		hth_buf_appendf(out, "\"tool_calls\":[{\"index\":%zu,\"id\":", event->tool_index);
		hth_wire_string(out, event->tool_id);
		hth_buf_append_str(out, ",\"type\":\"function\",\"function\":{\"name\":");
		hth_wire_string(out, event->tool_name);
		hth_buf_append_str(out, ",\"arguments\":\"\"}}]");
		break;
	case HTH_EVENT_TOOL_ARGUMENTS:
		hth_buf_appendf(out, "\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", event->tool_index);
		hth_json_write_string(event->text, event->len, out);
		hth_buf_append_str(out, "}}]");
		break;
	}
}

static void chat_event(hth_api_job *job, size_t i, const hth_api_event *event)
{
	chat_state *state = job->state;
	bool has_logprobs = state->logprobs && event->piece != NULL && event->piece->n_logprobs > 0;
	if (event->kind == HTH_EVENT_TOOL_CALL)
		state->called[i] = true;
	if (!job->stream) {
		hth_wire_answer_add(&state->answers[i], event);
		return;
	}
	if (event->len == 0 && event->kind != HTH_EVENT_TOOL_CALL && !has_logprobs)
		return;
	hth_buf *out = open_chunk(job);
	hth_buf_appendf(out, "{\"index\":%zu,\"delta\":{", i);
	write_delta(out, event);
	hth_buf_append_str(out, "},\"logprobs\":");
	if (has_logprobs) {
		hth_buf_append_str(out, "{\"content\":[");
		hth_wire_logprobs(out, event->piece);
		hth_buf_append_str(out, "],\"refusal\":null}");
	} else {
		hth_buf_append_str(out, "null");
	}
	hth_buf_append_str(out, ",\"finish_reason\":null}]");
	close_chunk(job);
}

static const char *finish_reason(const hth_api_job *job, size_t i)
{
	const chat_state *state = job->state;
	if (state->called[i] && job->requests[i]->finish_reason == HTH_FINISH_STOP)
		return "tool_calls";
	return hth_wire_finish_reason(job->requests[i]);
}

static void chat_ended(hth_api_job *job, size_t i)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf citations = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	if (!job->stream)
		return;
	hth_buf *out = open_chunk(job);
	hth_buf_appendf(out, "{\"index\":%zu,\"delta\":{", i);
	if (hth_api_write_citations(job, i, "annotations", HTH_CITE_OPENAI, &citations))
		hth_buf_append(out, citations.data + 1, citations.len - 1); /* without the comma */
	hth_buf_appendf(out, "},\"logprobs\":null,\"finish_reason\":\"%s\"}]", finish_reason(job, i));
	close_chunk(job);
}

static void write_choice(hth_buf *out, const hth_api_job *job, size_t i)
{
	const chat_state *state = job->state;
	const hth_wire_answer *answer = &state->answers[i];
	hth_buf_appendf(out, "{\"index\":%zu,\"message\":{\"role\":\"assistant\",\"content\":", i);
	if (answer->content.len == 0 && answer->n_tool_calls > 0)
		hth_buf_append_str(out, "null");
	else
		hth_json_write_string(answer->content.data != NULL ? answer->content.data : "", answer->content.len, out);
	hth_buf_append_str(out, ",\"refusal\":null");
	(void)hth_api_write_citations(job, i, "annotations", HTH_CITE_OPENAI, out);
	if (answer->reasoning.len > 0) {
		hth_buf_append_str(out, ",\"reasoning_content\":");
		hth_json_write_string(answer->reasoning.data, answer->reasoning.len, out);
	}
	for (size_t k = 0; k < answer->n_tool_calls; k++) {
		const hth_wire_tool_call *call = &answer->tool_calls[k];
		hth_buf_append_str(out, k == 0 ? ",\"tool_calls\":[{\"id\":" : ",{\"id\":");
		hth_wire_string(out, call->id);
		hth_buf_append_str(out, ",\"type\":\"function\",\"function\":{\"name\":");
		hth_wire_string(out, call->name);
		hth_buf_append_str(out, ",\"arguments\":");
		hth_json_write_string(call->arguments.data != NULL ? call->arguments.data : "", call->arguments.len, out);
		hth_buf_append_str(out, k + 1 == answer->n_tool_calls ? "}}]" : "}}");
	}
	hth_buf_append_str(out, "},\"logprobs\":");
	if (state->logprobs) {
		hth_buf_append_str(out, "{\"content\":[");
		hth_buf_append(out, answer->logprobs.data != NULL ? answer->logprobs.data : "", answer->logprobs.len);
		hth_buf_append_str(out, "],\"refusal\":null}");
	} else {
		hth_buf_append_str(out, "null");
	}
	hth_buf_appendf(out, ",\"finish_reason\":\"%s\"}", finish_reason(job, i));
}

static void chat_finished(hth_api_job *job)
{
	chat_state *state = job->state;
	hth_buf *out = &job->scratch;
	if (job->stream) {
		if (state->include_usage) {
			open_chunk(job);
			hth_buf_append_str(out, "],\"usage\":");
			hth_wire_openai_usage(out, job, job->n_requests);
			close_chunk(job);
		}
		hth_buf_append_str(out, "data: [DONE]\n\n");
		hth_api_send(job, out);
		hth_api_finish(job);
		return;
	}
	hth_buf_clear(out);
	hth_buf_appendf(out, "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":%lld,\"model\":", job->id,
	                (long long)job->created_unix);
	hth_wire_string(out, job->requests[0]->model);
	hth_buf_append_str(out, ",\"system_fingerprint\":\"" HTH_WIRE_FINGERPRINT "\",\"choices\":[");
	for (size_t i = 0; i < job->n_requests; i++) {
		if (state->answers[i].failed)
			out->failed = true;
		if (i > 0)
			hth_buf_append_char(out, ',');
		write_choice(out, job, i);
	}
	hth_buf_append_str(out, "],\"usage\":");
	hth_wire_openai_usage(out, job, job->n_requests);
	hth_buf_append_char(out, '}');
	hth_api_reply(job, "application/json", out);
}

static const hth_api_writer chat_writer = {
    .started = chat_started, .event = chat_event, .ended = chat_ended, .finished = chat_finished, .broken = hth_wire_openai_broken};

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/v1/chat/completions", .parse = parse_chat, .writer = &chat_writer},
    {.method = "POST", .path = "/chat/completions", .parse = parse_chat, .writer = &chat_writer},
};
const hth_api_family hth_api_openai_chat = {endpoints, HTH_COUNT(endpoints)};
