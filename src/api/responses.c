/* responses.c - POST /v1/responses, and GET and DELETE of a stored one.
 *
 * Format: OpenAI's API reference, "Responses". The input's items become the chat's messages: function calls join the assistant's
 * message before them, their outputs are messages of their own. With previous_response_id the stored conversation comes before
 * the input; instructions are never carried over, as the API has it. Thread: the loop's.
 */
#include "api/responses.h"
#include "api/binding.h"
#include "api/choices.h"
#include "api/families.h"
#include "api/fields.h"
#include "api/messages.h"
#include "api/response-store.h"
#include "api/wire.h"

#include <stdio.h>

static void free_state(hth_api_job *job)
{
	hth_response_state *state = job->state;
	for (size_t i = 0; i < state->n_items; i++) {
		hth_response_item *item = &state->items[i];
		if (item->text.data != NULL)
			explicit_bzero(item->text.data, item->text.cap);
		if (item->logprobs.data != NULL)
			explicit_bzero(item->logprobs.data, item->logprobs.cap);
		hth_buf_finish(&item->text);
		hth_buf_finish(&item->logprobs);
		free(item->name);
		free(item->call_id);
	}
	hth_file_search_finish(state);
	free(state->items);
	free(state->previous_id);
	free(state->echo);
	free(state);
}

static hth_status no_memory(hth_error *err) { return hth_fail(err, HTH_NO_MEMORY, "no memory for the request"); }

static hth_status bad(hth_error *err, hth_status status, size_t i, const char *what)
{
	char place[32];
	snprintf(place, sizeof place, "input[%zu]", i);
	return hth_fail_param(err, status, place, "%s %s", place, what);
}

/* A function call joins the assistant's message before it, so that parallel calls stand together. */
static hth_status read_call(const json_t *item, size_t i, json_t *messages, hth_error *err)
{
	const char *call_id = json_string_value(json_object_get(item, "call_id")), *name = json_string_value(json_object_get(item, "name"));
	const json_t *arguments = json_object_get(item, "arguments");
	if (call_id == NULL || name == NULL || !json_is_string(arguments))
		return bad(err, HTH_INVALID, i, "is a function_call without call_id, name and arguments");
	json_t *last = json_array_get(messages, json_array_size(messages) - 1), *calls = NULL;
	const char *role = json_string_value(json_object_get(last, "role")); /* an unchecked item's may be missing */
	if (role != NULL && strcmp(role, "assistant") == 0)
		calls = json_object_get(last, "tool_calls");
	else
		last = NULL;
	if (last == NULL) {
		last = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
		if (last == NULL || json_array_append_new(messages, last) != 0)
			return no_memory(err);
	}
	if (calls == NULL) {
		calls = json_array();
		if (json_object_set_new(last, "tool_calls", calls) != 0)
			return no_memory(err);
	}
	json_t *call = json_pack("{s:s, s:s, s:{s:s, s:O}}", "id", call_id, "type", "function", "function", "name", name, "arguments",
	                         arguments);
	return call != NULL && json_array_append_new(calls, call) == 0 ? HTH_OK : no_memory(err);
}

static hth_status read_item(const json_t *item, size_t i, json_t *messages, hth_error *err)
{
	const char *type = json_string_value(json_object_get(item, "type"));
	if (!json_is_object(item))
		return bad(err, HTH_INVALID, i, "must be an object");
	if (type == NULL || strcmp(type, "message") == 0) {
		json_t *copy = json_pack("{s:O*, s:O*}", "role", json_object_get(item, "role"), "content",
		                         json_object_get(item, "content"));
		return copy != NULL && json_array_append_new(messages, copy) == 0 ? HTH_OK : no_memory(err);
	}
	if (strcmp(type, "function_call") == 0)
		return read_call(item, i, messages, err);
	if (strcmp(type, "function_call_output") == 0) {
		json_t *output = json_object_get(item, "output");
		const char *call_id = json_string_value(json_object_get(item, "call_id"));
		if (call_id == NULL || (!json_is_string(output) && !json_is_array(output)))
			return bad(err, HTH_INVALID, i, "is a function_call_output without call_id and output");
		json_t *message = json_pack("{s:s, s:s, s:O}", "role", "tool", "tool_call_id", call_id, "content", output);
		return message != NULL && json_array_append_new(messages, message) == 0 ? HTH_OK : no_memory(err);
	}
	if (strcmp(type, "reasoning") == 0 || strcmp(type, "file_search_call") == 0)
		return HTH_OK; /* what was thought, or looked for, before is not shown to the model again */
	return bad(err, HTH_UNSUPPORTED, i,
	           "is of a type that is not supported (only message, function_call, function_call_output, file_search_call and reasoning "
	           "are)");
}

static hth_status read_previous(hth_api_job *job, const char *id, json_t *messages, hth_error *err)
{
	hth_response_state *state = job->state;
	const char *text = job->host->responses != NULL ? hth_response_store_messages(job->host->responses, id) : NULL;
	HTH_AUTO_JSON json_t *before = NULL;
	if (text == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, "previous_response_id",
		                      "there is no response %.60s here: it was not stored, or too long ago; send the conversation instead",
		                      id);
	HTH_TRY(hth_json_parse(&before, text, strlen(text), err));
	HTH_TRY(hth_fields_copy(id, &state->previous_id, err));
	return json_array_extend(messages, before) == 0 ? HTH_OK : no_memory(err);
}

/* Everything before the answer, checked: what the model sees without the instructions. */
static hth_status read_conversation(hth_api_job *job, const json_t *body, json_t **ret_messages, hth_error *err)
{
	const json_t *input = json_object_get(body, "input");
	const char *previous = NULL;
	HTH_AUTO_JSON json_t *messages = json_array();
	HTH_TRY(hth_json_get_string(body, "previous_response_id", &previous, err));
	if (previous != NULL)
		HTH_TRY(read_previous(job, previous, messages, err));
	if (json_is_string(input)) {
		json_t *message = json_pack("{s:s, s:O}", "role", "user", "content", input);
		if (message == NULL || json_array_append_new(messages, message) != 0)
			return no_memory(err);
	} else if (json_is_array(input)) {
		for (size_t i = 0; i < json_array_size(input); i++)
			HTH_TRY(read_item(json_array_get(input, i), i, messages, err));
	} else {
		return hth_fail_param(err, HTH_INVALID, "input", "input is %s; it must be a string or an array of items",
		                      hth_json_type_name(input));
	}
	if (json_array_size(messages) == 0)
		return hth_fail_param(err, HTH_INVALID, "input", "input is an empty array");
	hth_status status = hth_messages_from_openai(messages, ret_messages, err);
	/* To the client these are items of its input. */
	if (status != HTH_OK && strncmp(err->param, "messages", 8) == 0)
		snprintf(err->param, sizeof err->param, "input");
	return status;
}

static bool is_of_type(const json_t *tool, const char *wanted)
{
	const char *type = json_string_value(json_object_get(tool, "type"));
	return type != NULL && strcmp(type, wanted) == 0;
}

static bool is_supported(const json_t *tool)
{
	return is_of_type(tool, "function") || is_of_type(tool, "file_search");
}

/* The functions among the tools, and file_search. Programs that write code send a search, a picture's making and what else their maker's
 * server can do beside their own functions, for the model to choose from: it is not told of those. Asked for nothing else, that is refused.
 * A new array. */
static json_t *supported_of(const json_t *tools)
{
	json_t *out = json_array(), *tool;
	size_t i;
	json_array_foreach ((json_t *)tools, i, tool)
		if (is_supported(tool))
			json_array_append(out, tool);
	return out;
}

/* {"type":"function","name",...} becomes the nested form of the chat API. */
static hth_status read_shape(hth_api_job *job, const json_t *body, hth_request_input *input, hth_error *err)
{
	const json_t *tools = json_object_get(body, "tools"), *choice = json_object_get(body, "tool_choice"), *text = NULL;
	bool parallel = true;
	if (tools != NULL && !json_is_null(tools) && !json_is_array(tools))
		return hth_fail_param(err, HTH_INVALID, "tools", "tools is %s; it must be an array", hth_json_type_name(tools));
	HTH_TRY(hth_json_get_bool(body, "parallel_tool_calls", &parallel, err));
	input->one_call = !parallel;
	HTH_AUTO_JSON json_t *out = json_array(), *supported = supported_of(tools);
	size_t i;
	json_t *tool;
	json_array_foreach ((json_t *)tools, i, tool) {
		if (!is_supported(tool) && json_string_value(json_object_get(tool, "type")) != NULL && json_array_size(supported) > 0)
			continue;
		if (is_of_type(tool, "file_search")) {
			HTH_TRY(hth_file_search_take(job->state, tool, i, err));
			continue;
		}
		if (!is_supported(tool))
			return hth_fail_param(err, HTH_UNSUPPORTED, "tools",
			                      "tools[%zu] is neither a function nor file_search; only these are supported", i);
		json_t *one = json_pack("{s:s, s:{s:O*, s:O*, s:O*, s:O*}}", "type", "function", "function", "name",
		                        json_object_get(tool, "name"), "description", json_object_get(tool, "description"), "parameters",
		                        json_object_get(tool, "parameters"), "strict", json_object_get(tool, "strict"));
		if (one == NULL || json_array_append_new(out, one) != 0)
			return no_memory(err);
	}
	HTH_TRY(hth_messages_check_tools(out, err));
	HTH_TRY(hth_choices_tools(out, hth_file_search_choice(job->state, choice, json_array_size(out)), input, err));
	HTH_TRY(hth_json_get_object(body, "text", &text, err));
	HTH_TRY(hth_choices_format(json_object_get(text, "format"), "text.format", input, err));
	return hth_binding_check(input, "text.format", ".parameters", job->host->bindings, err);
}

/* What the response repeats of its request, with the defaults that clients expect to find. */
static hth_status write_echo(const json_t *body, const hth_request *r, char **ret_echo, hth_error *err)
{
	static const struct {
		const char *key, *otherwise;
	} members[] = {{"instructions", "null"},   {"max_output_tokens", "null"}, {"max_tool_calls", "null"}, {"metadata", "{}"},
	               {"parallel_tool_calls", "true"}, {"tool_choice", "\"auto\""}, {"tools", "[]"},
	               {"text", "{\"format\":{\"type\":\"text\"}}"},
	               {"truncation", "\"disabled\""}, {"user", "null"},           {"top_logprobs", "0"},
	               {"reasoning", "{\"effort\":null,\"summary\":null}"}};
	hth_buf out = HTH_BUF_INIT((size_t)64 << 20);
	HTH_AUTO_JSON json_t *supported = supported_of(json_object_get(body, "tools"));
	for (size_t i = 0; i < HTH_COUNT(members); i++) {
		const json_t *value = strcmp(members[i].key, "tools") == 0 ? supported : json_object_get(body, members[i].key);
		hth_buf_appendf(&out, "\"%s\":", members[i].key);
		if (value != NULL && !json_is_null(value))
			hth_json_write(value, &out);
		else
			hth_buf_append_str(&out, members[i].otherwise);
		hth_buf_append_char(&out, ',');
	}
	hth_buf_appendf(&out, "\"temperature\":%g,\"top_p\":%g,\"service_tier\":\"default\",\"background\":false",
	                (double)r->params.sampling.temperature, (double)r->params.sampling.top_p);
	if (out.failed) {
		hth_buf_finish(&out);
		return no_memory(err);
	}
	*ret_echo = hth_buf_steal(&out, NULL);
	return HTH_OK;
}

static hth_status parse_responses(hth_api_job *job, const json_t *body, hth_error *err)
{
	static const char *const max_keys[] = {"max_output_tokens"}, *const refused[] = {"conversation", "prompt", "background"};
	const char *model = NULL, *instructions = NULL, *effort = NULL;
	hth_response_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return no_memory(err);
	job->state = state;
	job->free_state = free_state;
	state->store = true;
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	HTH_TRY(hth_json_get_bool(body, "stream", &job->stream, err));
	HTH_TRY(hth_json_get_bool(body, "store", &state->store, err));
	HTH_TRY(hth_json_get_string(body, "instructions", &instructions, err));
	HTH_TRY(hth_fields_refuse(body, refused, HTH_COUNT(refused), err));
	hth_request *r;
	HTH_TRY(hth_api_add_request(job, HTH_CHAT, model, &r, err));
	HTH_AUTO_JSON json_t *messages = NULL;
	HTH_TRY(read_conversation(job, body, &messages, err));
	if (instructions != NULL && instructions[0] != '\0') {
		state->instructed = true;
		json_t *system = json_pack("{s:s, s:s}", "role", "system", "content", instructions);
		if (system == NULL || json_array_insert_new(messages, 0, system) != 0)
			return no_memory(err);
	}
	HTH_TRY(hth_fields_dump(messages, &r->input.messages_json, err));
	HTH_TRY(read_shape(job, body, &r->input, err));
	const json_t *reasoning = NULL, *include = NULL;
	HTH_TRY(hth_json_get_object(body, "reasoning", &reasoning, err));
	if (reasoning != NULL)
		HTH_TRY(hth_json_get_string(reasoning, "effort", &effort, err));
	if (effort != NULL) {
		HTH_AUTO_JSON json_t *variables = json_object();
		hth_choices_effort(variables, effort);
		HTH_TRY(hth_fields_dump(variables, &r->input.template_json, err));
	}
	HTH_TRY(hth_fields_sampling(body, &r->params, err));
	HTH_TRY(hth_fields_max_tokens(body, max_keys, HTH_COUNT(max_keys), &r->params, err));
	HTH_TRY(hth_fields_keep_alive(body, &r->params.keep_alive_s, err));
	int64_t top = -1;
	HTH_TRY(hth_json_get_int(body, "top_logprobs", 0, HTH_TOP_LOGPROBS_MAX, &top, err));
	HTH_TRY(hth_json_get_array(body, "include", &include, err));
	for (size_t i = 0; i < json_array_size(include); i++) {
		const char *what = json_string_value(json_array_get(include, i));
		state->logprobs |= what != NULL && strcmp(what, "message.output_text.logprobs") == 0;
		state->show_results |= what != NULL && strcmp(what, "file_search_call.results") == 0;
	}
	if (state->logprobs)
		r->params.top_logprobs = top < 0 ? 0 : (int32_t)top;
	hth_wire_make_id(job, "resp_");
	return write_echo(body, r, &state->echo, err);
}

/* --- stored ones --- */

static hth_status missing(hth_api_job *job, hth_error *err)
{
	return hth_fail_param(err, HTH_NOT_FOUND, "response_id", "there is no response %.60s here", job->path_rest);
}

static hth_status get_response(hth_api_job *job, const json_t *body, hth_error *err)
{
	(void)body;
	const char *text = job->host->responses != NULL ? hth_response_store_response(job->host->responses, job->path_rest) : NULL;
	if (text == NULL)
		return missing(job, err);
	hth_buf_append_str(&job->scratch, text);
	hth_api_reply(job, "application/json", &job->scratch);
	return HTH_OK;
}

static hth_status delete_response(hth_api_job *job, const json_t *body, hth_error *err)
{
	(void)body;
	if (job->host->responses == NULL || !hth_response_store_delete(job->host->responses, job->path_rest))
		return missing(job, err);
	hth_buf_append_str(&job->scratch, "{\"id\":");
	hth_wire_string(&job->scratch, job->path_rest);
	hth_buf_append_str(&job->scratch, ",\"object\":\"response\",\"deleted\":true}");
	hth_api_reply(job, "application/json", &job->scratch);
	return HTH_OK;
}

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/v1/responses", .parse = parse_responses, .writer = &hth_responses_writer},
    {.method = "GET", .path = "/v1/responses/*", .parse = get_response},
    {.method = "DELETE", .path = "/v1/responses/*", .parse = delete_response, .no_body = true},
};
const hth_api_family hth_api_responses = {endpoints, HTH_COUNT(endpoints)};
