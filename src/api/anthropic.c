/* anthropic.c - POST /v1/messages and POST /v1/messages/count_tokens.
 *
 * Format: Anthropic's API reference, "Messages", and its official clients. A conversation is turned into the shape of the other
 * chat APIs (tool results become messages of their own); a last message of the assistant is the beginning of the answer. The
 * answer is a row of blocks: thinking, text, tool_use; streamed as message_start, for each block start, deltas and stop,
 * then message_delta and message_stop. message_start has all of the prompt's tokens, message_delta says how many of them were
 * cached. Thread: the loop's.
 */
#include "api/binding.h"
#include "api/choices.h"
#include "api/families.h"
#include "api/fields.h"
#include "api/messages.h"
#include "api/wire.h"

#include <stdio.h>

typedef struct anthropic_state {
	hth_wire_answer answer;     /* when not streamed */
	bool block_open;
	hth_api_event_kind kind;    /* of the open block */
	size_t index;               /* of the open block, or the next one */
	bool called;                /* a tool was called */
	uint64_t n_tokens;          /* count_tokens */
} anthropic_state;

static void free_state(hth_api_job *job)
{
	anthropic_state *state = job->state;
	hth_wire_answer_finish(&state->answer);
	free(state);
}

/* --- in --- */

static hth_status bad(hth_error *err, hth_status status, size_t i, const char *what)
{
	char place[64];
	snprintf(place, sizeof place, "messages[%zu].content", i);
	return hth_fail_param(err, status, place, "%s %s", place, what);
}

/* A string, or an array of text blocks, as one string (a new reference). */
static hth_status join_text(const json_t *content, size_t i, json_t **ret_text, hth_error *err)
{
	if (json_is_string(content)) {
		*ret_text = json_incref((json_t *)content);
		return HTH_OK;
	}
	if (content != NULL && !json_is_null(content) && !json_is_array(content))
		return bad(err, HTH_INVALID, i, "must be a string or an array of blocks");
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT((size_t)256 << 20);
	size_t k;
	json_t *block;
	json_array_foreach ((json_t *)content, k, block) {
		const char *type = json_string_value(json_object_get(block, "type"));
		const json_t *words = json_object_get(block, "text");
		if (type == NULL || strcmp(type, "text") != 0)
			return bad(err, type == NULL ? HTH_INVALID : HTH_UNSUPPORTED, i,
			           "has a block that is not text; pictures and files are not supported");
		if (!json_is_string(words))
			return bad(err, HTH_INVALID, i, "has a text block without text");
		hth_buf_append(&text, json_string_value(words), json_string_length(words));
	}
	*ret_text = json_stringn(text.data != NULL ? text.data : "", text.len);
	return *ret_text != NULL && !text.failed ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
}

static hth_status append_new(json_t *messages, json_t *message, hth_error *err)
{
	if (message == NULL || json_array_append_new(messages, message) != 0)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
	return HTH_OK;
}

/* One message's blocks, told apart. */
typedef struct parts {
	hth_buf text, thinking;
	json_t *calls;
} parts;
static void finish_parts(parts *p)
{
	hth_buf_finish(&p->text);
	hth_buf_finish(&p->thinking);
	json_decref(p->calls);
}

static hth_status read_block(const json_t *block, size_t i, json_t *messages, parts *p, hth_error *err)
{
	const char *type = json_string_value(json_object_get(block, "type"));
	const json_t *words = json_object_get(block, "text");
	if (type == NULL)
		return bad(err, HTH_INVALID, i, "has a block without a type");
	if (strcmp(type, "text") == 0) {
		if (!json_is_string(words))
			return bad(err, HTH_INVALID, i, "has a text block without text");
		hth_buf_append(&p->text, json_string_value(words), json_string_length(words));
		return HTH_OK;
	}
	if (strcmp(type, "thinking") == 0) {
		const char *thought = json_string_value(json_object_get(block, "thinking"));
		hth_buf_append_str(&p->thinking, thought != NULL ? thought : "");
		return HTH_OK;
	}
	if (strcmp(type, "redacted_thinking") == 0)
		return HTH_OK;
	const char *id = json_string_value(json_object_get(block, "id")), *name = json_string_value(json_object_get(block, "name"));
	if (strcmp(type, "tool_use") == 0) {
		json_t *input = json_object_get(block, "input");
		if (id == NULL || name == NULL || !json_is_object(input))
			return bad(err, HTH_INVALID, i, "has a tool_use block without id, name and input");
		return append_new(p->calls, json_pack("{s:s, s:s, s:{s:s, s:O}}", "id", id, "type", "function", "function", "name", name,
		                                      "arguments", input), err);
	}
	if (strcmp(type, "tool_result") == 0) {
		const char *of = json_string_value(json_object_get(block, "tool_use_id"));
		json_t *text = NULL;
		if (of == NULL)
			return bad(err, HTH_INVALID, i, "has a tool_result block without tool_use_id");
		HTH_TRY(join_text(json_object_get(block, "content"), i, &text, err));
		return append_new(messages, json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", of, "content", text), err);
	}
	return bad(err, HTH_UNSUPPORTED, i,
	           "has a block of a type that is not supported (only text, thinking, tool_use and tool_result are)");
}

static hth_status read_message(const json_t *message, size_t i, json_t *messages, hth_error *err)
{
	const char *role = json_string_value(json_object_get(message, "role"));
	const json_t *content = json_object_get(message, "content");
	if (role == NULL || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0 && strcmp(role, "system") != 0)) {
		char place[64];
		snprintf(place, sizeof place, "messages[%zu].role", i);
		return hth_fail_param(err, HTH_INVALID, place, "%s must be user or assistant", place);
	}
	if (json_is_string(content))
		return append_new(messages, json_pack("{s:s, s:O}", "role", role, "content", content), err);
	if (!json_is_array(content))
		return bad(err, HTH_INVALID, i, "must be a string or an array of blocks");
	HTH_CLEANUP(finish_parts) parts p = {.text = HTH_BUF_INIT((size_t)256 << 20), .thinking = HTH_BUF_INIT((size_t)256 << 20),
	                                     .calls = json_array()};
	size_t k;
	json_t *block;
	/* Results come before the words that follow them, as templates expect. */
	json_array_foreach ((json_t *)content, k, block)
		HTH_TRY(read_block(block, i, messages, &p, err));
	if (p.text.failed || p.thinking.failed)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
	if (p.text.len == 0 && json_array_size(p.calls) == 0 && strcmp(role, "assistant") != 0 && json_array_size(content) > 0)
		return HTH_OK; /* only tool results */
	json_t *out = json_pack("{s:s, s:s%}", "role", role, "content", p.text.data != NULL ? p.text.data : "", p.text.len);
	if (out != NULL && p.thinking.len > 0)
		json_object_set_new(out, "reasoning_content", json_stringn(p.thinking.data, p.thinking.len));
	if (out != NULL && json_array_size(p.calls) > 0)
		json_object_set(out, "tool_calls", p.calls);
	return append_new(messages, out, err);
}

static hth_status read_conversation(const json_t *body, hth_request_input *input, hth_error *err)
{
	HTH_AUTO_JSON json_t *messages = json_array();
	const json_t *system = json_object_get(body, "system"), *given = json_object_get(body, "messages");
	if (system != NULL && !json_is_null(system)) {
		json_t *text = NULL;
		if (join_text(system, 0, &text, err) != HTH_OK)
			return hth_fail_param(err, err->status, "system", "system must be a string or an array of text blocks");
		HTH_TRY(append_new(messages, json_pack("{s:s, s:o}", "role", "system", "content", text), err));
	}
	if (!json_is_array(given) || json_array_size(given) == 0)
		return hth_fail_param(err, HTH_INVALID, "messages", "messages must be an array with at least one message");
	if (json_array_size(given) > HTH_API_MESSAGES_MAX)
		return hth_fail_param(err, HTH_INVALID, "messages", "there are %zu messages; at most %d are taken", json_array_size(given),
		                      HTH_API_MESSAGES_MAX);
	for (size_t i = 0; i < json_array_size(given); i++)
		HTH_TRY(read_message(json_array_get(given, i), i, messages, err));
	const char *last = json_string_value(json_object_get(json_array_get(messages, json_array_size(messages) - 1), "role"));
	input->continue_last = last != NULL && strcmp(last, "assistant") == 0;
	return hth_fields_dump(messages, &input->messages_json, err);
}

/* {"name","description","input_schema"} becomes the function that the other APIs have. */
static hth_status read_tools(const json_t *body, hth_request_input *input, hth_error *err)
{
	const json_t *tools = json_object_get(body, "tools"), *choice = json_object_get(body, "tool_choice");
	const char *how = json_string_value(json_object_get(choice, "type")), *name = NULL;
	bool one = false;
	if (tools != NULL && !json_is_null(tools) && !json_is_array(tools))
		return hth_fail_param(err, HTH_INVALID, "tools", "tools is %s; it must be an array", hth_json_type_name(tools));
	if (choice != NULL && !json_is_null(choice) && how == NULL)
		return hth_fail_param(err, HTH_INVALID, "tool_choice", "tool_choice must be an object with a type");
	if (how != NULL && strcmp(how, "none") == 0)
		return HTH_OK;
	if (how != NULL) {
		HTH_TRY(hth_json_get_bool(choice, "disable_parallel_tool_use", &one, err));
		HTH_TRY(hth_json_get_string(choice, "name", &name, err));
		input->one_call = one;
		input->must_call = strcmp(how, "any") == 0 || strcmp(how, "tool") == 0;
		if ((!input->must_call && strcmp(how, "auto") != 0) || (strcmp(how, "tool") == 0 && name == NULL))
			return hth_fail_param(err, HTH_INVALID, "tool_choice",
			                      "tool_choice must be of type auto, any, none, or tool with a name");
		if (strcmp(how, "tool") == 0)
			HTH_TRY(hth_fields_copy(name, &input->must_call_name, err));
	}
	if (json_array_size(tools) == 0)
		return HTH_OK;
	HTH_AUTO_JSON json_t *out = json_array();
	size_t i;
	json_t *tool;
	json_array_foreach ((json_t *)tools, i, tool) {
		const char *type = json_string_value(json_object_get(tool, "type"));
		name = json_string_value(json_object_get(tool, "name"));
		if (type != NULL && strcmp(type, "custom") != 0)
			return hth_fail_param(err, HTH_UNSUPPORTED, "tools",
			                      "tools[%zu] is a tool of Anthropic's own; only custom tools are supported", i);
		json_t *schema = json_object_get(tool, "input_schema"), *description = json_object_get(tool, "description");
		if (name == NULL || !json_is_object(schema))
			return hth_fail_param(err, HTH_INVALID, "tools", "tools[%zu] needs a name and an input_schema", i);
		HTH_TRY(append_new(out, json_pack("{s:s, s:{s:s, s:O*, s:O, s:O*}}", "type", "function", "function", "name", name,
		                                  "description", json_is_string(description) ? description : NULL, "parameters", schema,
		                                  "strict", json_object_get(tool, "strict")), err));
	}
	HTH_TRY(hth_messages_check_tools(out, err));
	return hth_fields_dump(out, &input->tools_json, err);
}

/* output_config.format, or output_format as its first clients sent it. */
static hth_status read_output(const json_t *body, hth_request_input *input, hth_error *err)
{
	const json_t *format = json_object_get(json_object_get(body, "output_config"), "format");
	if (format == NULL || json_is_null(format))
		format = json_object_get(body, "output_format");
	return hth_choices_format(format, "output_config.format", input, err);
}

/* thinking, and output_config.effort, as the variables that templates know. */
static hth_status read_thinking(const json_t *body, hth_request_input *input, hth_error *err)
{
	const json_t *thinking = json_object_get(body, "thinking"), *config = NULL;
	const char *type = json_string_value(json_object_get(thinking, "type")), *effort = NULL;
	bool says = thinking != NULL && !json_is_null(thinking);
	if (says && type == NULL)
		return hth_fail_param(err, HTH_INVALID, "thinking", "thinking must be an object with a type");
	HTH_TRY(hth_json_get_object(body, "output_config", &config, err));
	if (config != NULL)
		HTH_TRY(hth_json_get_string(config, "effort", &effort, err));
	if (!says && effort == NULL)
		return HTH_OK;
	HTH_AUTO_JSON json_t *variables = json_object();
	if (says)
		json_object_set_new(variables, "enable_thinking", json_boolean(strcmp(type, "disabled") != 0));
	hth_choices_effort(variables, effort);
	return hth_fields_dump(variables, &input->template_json, err);
}

static hth_status new_request(hth_api_job *job, const json_t *body, hth_request_kind kind, hth_request **ret_request, hth_error *err)
{
	/* context_management, which clients send with every call, asks for old results to be left out: nothing ever is, and what does not
	 * fit is refused. */
	static const char *const refused[] = {"container", "mcp_servers"};
	anthropic_state *state = calloc(1, sizeof *state);
	const char *model = NULL;
	if (state == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	hth_wire_answer_init(&state->answer);
	job->state = state;
	job->free_state = free_state;
	/* Its newest clients keep conversations here, unless they are told otherwise (write_error), and then send them whole. */
	if (json_is_object(json_object_get(body, "thread")))
		return hth_fail_param(err, HTH_UNSUPPORTED, "thread", "conversations are not kept here; send the messages without thread");
	HTH_TRY(hth_fields_refuse(body, refused, HTH_COUNT(refused), err));
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	HTH_TRY(hth_api_add_request(job, kind, model, ret_request, err));
	HTH_TRY(read_conversation(body, &(*ret_request)->input, err));
	HTH_TRY(read_tools(body, &(*ret_request)->input, err));
	HTH_TRY(read_output(body, &(*ret_request)->input, err));
	HTH_TRY(hth_binding_check(&(*ret_request)->input, "output_config.format", ".input_schema", job->host->bindings, err));
	return read_thinking(body, &(*ret_request)->input, err);
}

static hth_status parse_messages(hth_api_job *job, const json_t *body, hth_error *err)
{
	hth_request *r;
	int64_t max_tokens = 0;
	HTH_TRY(new_request(job, body, HTH_CHAT, &r, err));
	HTH_TRY(hth_json_get_int(body, "max_tokens", 1, INT32_MAX, &max_tokens, err));
	if (max_tokens == 0)
		return hth_fail_param(err, HTH_INVALID, "max_tokens", "max_tokens is required");
	r->params.max_tokens = max_tokens;
	HTH_TRY(hth_json_get_bool(body, "stream", &job->stream, err));
	HTH_TRY(hth_fields_sampling(body, &r->params, err));
	HTH_TRY(hth_fields_stop(body, "stop_sequences", &r->params, err));
	HTH_TRY(hth_fields_keep_alive(body, &r->params.keep_alive_s, err));
	hth_wire_make_id(job, "msg_");
	return HTH_OK;
}

static hth_status parse_count(hth_api_job *job, const json_t *body, hth_error *err)
{
	hth_request *r;
	return new_request(job, body, HTH_TOKENIZE, &r, err);
}

/* --- out --- */

static void write_usage(hth_buf *out, const hth_api_job *job)
{
	const hth_request *r = job->requests[0];
	hth_buf_appendf(out,
	                "{\"input_tokens\":%u,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":%u,\"output_tokens\":%u,"
	                "\"output_tokens_details\":{\"thinking_tokens\":%u}}",
	                r->usage.prompt_tokens - HTH_MIN(r->usage.cached_tokens, r->usage.prompt_tokens), r->usage.cached_tokens,
	                r->usage.answer_tokens,
	                hth_api_reasoning_tokens(job, 0));
}

static void open_message(hth_buf *out, const hth_api_job *job)
{
	hth_buf_appendf(out, "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", job->id);
	hth_wire_string(out, job->requests[0]->model);
	hth_buf_append_str(out, ",\"content\":[");
}

static void write_stop(hth_buf *out, const hth_api_job *job)
{
	const anthropic_state *state = job->state;
	const hth_request *r = job->requests[0];
	const char *reason = r->finish_reason == HTH_FINISH_LENGTH ? "max_tokens"
	                     : r->stop_hit != NULL                  ? "stop_sequence"
	                     : state->called                        ? "tool_use"
	                                                            : "end_turn";
	hth_buf_appendf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", reason);
	if (r->stop_hit != NULL)
		hth_wire_string(out, r->stop_hit);
	else
		hth_buf_append_str(out, "null");
}

static hth_buf *open_event(hth_api_job *job, const char *name)
{
	hth_buf *out = &job->scratch;
	hth_buf_clear(out);
	hth_buf_appendf(out, "event: %s\ndata: {\"type\":\"%s\"", name, name);
	return out;
}

static void close_event(hth_api_job *job)
{
	hth_buf_append_str(&job->scratch, "}\n\n");
	hth_api_send(job, &job->scratch);
}

static void message_started(hth_api_job *job, size_t i)
{
	(void)i;
	if (!job->stream)
		return;
	hth_api_begin(job, "text/event-stream");
	hth_buf *out = open_event(job, "message_start");
	hth_buf_append_str(out, ",\"message\":");
	open_message(out, job);
	hth_buf_append_str(out, "],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
	write_usage(out, job);
	hth_buf_append_char(out, '}');
	close_event(job);
}

static void close_block(hth_api_job *job)
{
	anthropic_state *state = job->state;
	if (!state->block_open)
		return;
	hth_buf_appendf(open_event(job, "content_block_stop"), ",\"index\":%zu", state->index++);
	close_event(job);
	state->block_open = false;
}

static void open_block(hth_api_job *job, const hth_api_event *event)
{
	anthropic_state *state = job->state;
	close_block(job);
	state->block_open = true;
	state->kind = event->kind;
	hth_buf *out = open_event(job, "content_block_start");
	hth_buf_appendf(out, ",\"index\":%zu,\"content_block\":", state->index);
	if (event->kind == HTH_EVENT_TOOL_CALL) {
		hth_buf_append_str(out, "{\"type\":\"tool_use\",\"id\":");
		hth_wire_string(out, event->tool_id);
		hth_buf_append_str(out, ",\"name\":");
		hth_wire_string(out, event->tool_name);
		hth_buf_append_str(out, ",\"input\":{}}");
	} else if (event->kind == HTH_EVENT_REASONING) {
		hth_buf_append_str(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
	} else {
		hth_buf_append_str(out, "{\"type\":\"text\",\"text\":\"\"}");
	}
	close_event(job);
}

static void message_event(hth_api_job *job, size_t i, const hth_api_event *event)
{
	(void)i;
	anthropic_state *state = job->state;
	state->called |= event->kind == HTH_EVENT_TOOL_CALL;
	if (!job->stream) {
		hth_wire_answer_add(&state->answer, event);
		return;
	}
	if (event->kind == HTH_EVENT_TOOL_CALL) {
		open_block(job, event);
		return;
	}
	if (event->len == 0)
		return;
	if (event->kind != HTH_EVENT_TOOL_ARGUMENTS && (!state->block_open || state->kind != event->kind))
		open_block(job, event);
	hth_buf *out = open_event(job, "content_block_delta");
	hth_buf_appendf(out, ",\"index\":%zu,\"delta\":{\"type\":", state->index);
	hth_buf_append_str(out, event->kind == HTH_EVENT_CONTENT     ? "\"text_delta\",\"text\":"
	                        : event->kind == HTH_EVENT_REASONING ? "\"thinking_delta\",\"thinking\":"
	                                                             : "\"input_json_delta\",\"partial_json\":");
	hth_json_write_string(event->text, event->len, out);
	hth_buf_append_char(out, '}');
	close_event(job);
}

static void write_blocks(hth_buf *out, const hth_api_job *job, const hth_wire_answer *a)
{
	const char *comma = "";
	if (a->reasoning.len > 0) {
		hth_buf_append_str(out, "{\"type\":\"thinking\",\"thinking\":");
		hth_json_write_string(a->reasoning.data, a->reasoning.len, out);
		hth_buf_append_str(out, ",\"signature\":\"\"}");
		comma = ",";
	}
	if (a->content.len > 0 || a->n_tool_calls == 0) {
		hth_buf_appendf(out, "%s{\"type\":\"text\",\"text\":", comma);
		hth_json_write_string(a->content.data != NULL ? a->content.data : "", a->content.len, out);
		(void)hth_api_write_citations(job, 0, "citations", HTH_CITE_ANTHROPIC, out);
		hth_buf_append_char(out, '}');
		comma = ",";
	}
	for (size_t k = 0; k < a->n_tool_calls; k++, comma = ",") {
		const hth_wire_tool_call *call = &a->tool_calls[k];
		HTH_AUTO_JSON json_t *input = NULL;
		hth_buf_appendf(out, "%s{\"type\":\"tool_use\",\"id\":", comma);
		hth_wire_string(out, call->id);
		hth_buf_append_str(out, ",\"name\":");
		hth_wire_string(out, call->name);
		hth_buf_append_str(out, ",\"input\":");
		if (call->arguments.len > 0 && hth_json_parse(&input, call->arguments.data, call->arguments.len, NULL) == HTH_OK &&
		    json_is_object(input))
			hth_buf_append(out, call->arguments.data, call->arguments.len);
		else
			hth_buf_append_str(out, "{}");
		hth_buf_append_char(out, '}');
	}
}

/* After the text that has them: one delta each, as the official client collects them. */
static void send_citations(hth_api_job *job)
{
	anthropic_state *state = job->state;
	HTH_CLEANUP(hth_buf_finish) hth_buf all = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	HTH_AUTO_JSON json_t *list = NULL;
	const json_t *citation;
	size_t k;
	if (!state->block_open || state->kind != HTH_EVENT_CONTENT || !hth_api_write_citations(job, 0, "c", HTH_CITE_ANTHROPIC, &all))
		return;
	if (hth_json_parse(&list, all.data + strlen(",\"c\":"), all.len - strlen(",\"c\":"), NULL) != HTH_OK)
		return;
	json_array_foreach (list, k, citation) {
		hth_buf *out = open_event(job, "content_block_delta");
		hth_buf_appendf(out, ",\"index\":%zu,\"delta\":{\"type\":\"citations_delta\",\"citation\":", state->index);
		hth_json_write(citation, out);
		hth_buf_append_char(out, '}');
		close_event(job);
	}
}

static void message_finished(hth_api_job *job)
{
	anthropic_state *state = job->state;
	hth_buf *out = &job->scratch;
	if (job->stream) {
		send_citations(job);
		close_block(job);
		open_event(job, "message_delta");
		hth_buf_append_str(out, ",\"delta\":{");
		write_stop(out, job);
		hth_buf_append_str(out, "},\"usage\":");
		write_usage(out, job);
		close_event(job);
		open_event(job, "message_stop");
		close_event(job);
		hth_api_finish(job);
		return;
	}
	hth_buf_clear(out);
	out->failed = state->answer.failed;
	open_message(out, job);
	write_blocks(out, job, &state->answer);
	hth_buf_append_str(out, "],");
	write_stop(out, job);
	hth_buf_append_str(out, ",\"usage\":");
	write_usage(out, job);
	hth_buf_append_char(out, '}');
	hth_api_reply(job, "application/json", out);
}

static void write_error(hth_buf *out, int http_status, const char *type, const char *code, const hth_error *error)
{
	(void)http_status;
	hth_buf_appendf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", type);
	char message[HTH_ERROR_MAX + 32];
	/* By these words its clients know that they should shorten the conversation. */
	bool long_prompt = code != NULL && strcmp(code, "context_length_exceeded") == 0;
	snprintf(message, sizeof message, "%s%s", long_prompt ? "prompt is too long: " : "", error->message);
	hth_wire_string(out, message);
	if (strcmp(error->param, "thread") == 0)
		hth_buf_append_str(out, ",\"details\":{\"error_code\":\"thread_unsupported_request\",\"unsupported\":[\"thread\"]}");
	hth_buf_append_str(out, "}}");
}

static void message_broken(hth_api_job *job, const hth_error *error)
{
	unsigned retry_s;
	hth_buf_clear(&job->scratch);
	hth_buf_append_str(&job->scratch, "event: error\ndata: ");
	hth_api_write_error(job->endpoint, error, &job->scratch, &retry_s);
	hth_buf_append_str(&job->scratch, "\n\n");
	hth_api_send(job, &job->scratch);
}

static void count_tokens(hth_api_job *job, size_t i, const int32_t *ids, size_t n)
{
	(void)i;
	(void)ids;
	((anthropic_state *)job->state)->n_tokens += n;
}

static void count_finished(hth_api_job *job)
{
	hth_buf_clear(&job->scratch);
	hth_buf_appendf(&job->scratch, "{\"input_tokens\":%llu}", (unsigned long long)((anthropic_state *)job->state)->n_tokens);
	hth_api_reply(job, "application/json", &job->scratch);
}

static const hth_api_writer message_writer = {
    .started = message_started, .event = message_event, .finished = message_finished, .broken = message_broken};
static const hth_api_writer count_writer = {.tokens = count_tokens, .finished = count_finished};

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/v1/messages", .parse = parse_messages, .writer = &message_writer, .write_error = write_error},
    {.method = "POST", .path = "/v1/messages/count_tokens", .parse = parse_count, .writer = &count_writer, .write_error = write_error},
};
const hth_api_family hth_api_anthropic = {endpoints, HTH_COUNT(endpoints)};
