/* ollama-chat.c - POST /api/chat and POST /api/generate.
 *
 * Format: Ollama's API reference (docs/api.md). One JSON object per line, streamed unless "stream" is false; times in
 * nanoseconds; a call's arguments as an object. An empty conversation (or prompt) only loads the model, or with keep_alive 0
 * unloads it. generate goes through the chat template as one message, unless "raw". Thread: the loop's.
 */
#include "api/binding.h"
#include "api/choices.h"
#include "api/families.h"
#include "api/fields.h"
#include "api/messages.h"
#include "api/ollama.h"
#include "api/wire.h"

typedef struct ollama_state {
	char *model; /* as asked: Ollama's answers repeat it */
	bool generate, only_load;
	const char *load_reason;
	hth_wire_answer answer; /* all of it when not streamed; else the tool call that is coming */
	size_t n_sent_calls;
} ollama_state;

static void free_state(hth_api_job *job)
{
	ollama_state *state = job->state;
	hth_wire_answer_finish(&state->answer);
	free(state->model);
	free(state);
}

/* --- in --- */

/* "think": true, false or a level; templates know them as enable_thinking and reasoning_effort. suffix: what stands behind the answer; NULL
 * or "": nothing. */
static hth_status read_think(const json_t *body, const char *suffix, hth_request_input *input, hth_error *err)
{
	const json_t *think = json_object_get(body, "think");
	bool given = think != NULL && !json_is_null(think);
	if (given && !json_is_boolean(think) && !json_is_string(think))
		return hth_fail_param(err, HTH_INVALID, "think", "think is %s; it must be true, false or a level",
		                      hth_json_type_name(think));
	HTH_AUTO_JSON json_t *variables = json_object();
	if (given)
		json_object_set_new(variables, "enable_thinking", json_boolean(!json_is_false(think)));
	if (given && json_is_string(think))
		json_object_set(variables, "reasoning_effort", (json_t *)think);
	if (suffix != NULL && suffix[0] != '\0')
		json_object_set_new(variables, "suffix", json_string(suffix));
	return json_object_size(variables) > 0 ? hth_fields_dump(variables, &input->template_json, err) : HTH_OK;
}

/* A template for this one request, over the model's. */
static hth_status own_template(const char *template, hth_request_input *input, hth_error *err)
{
	HTH_AUTO_JSON json_t *settings = NULL;
	if (template == NULL || template[0] == '\0')
		return HTH_OK;
	if (input->settings_json != NULL)
		HTH_TRY(hth_json_parse(&settings, input->settings_json, strlen(input->settings_json), err));
	else
		settings = json_object();
	if (json_object_set_new(settings, "template", json_string(template)) != 0)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a template");
	free(input->settings_json);
	input->settings_json = NULL;
	return hth_fields_dump(settings, &input->settings_json, err);
}

static hth_status refuse_images(const json_t *object, hth_error *err)
{
	const json_t *images = json_object_get(object, "images");
	if (json_is_array(images) && json_array_size(images) > 0)
		return hth_fail_param(err, HTH_UNSUPPORTED, "images", "pictures are not supported");
	return HTH_OK;
}

/* Ollama's messages differ from OpenAI's in three members' names. */
static hth_status read_messages(const json_t *messages, hth_request_input *input, hth_error *err)
{
	if (!json_is_array(messages))
		return hth_fail_param(err, HTH_INVALID, "messages", "messages is %s; it must be an array", hth_json_type_name(messages));
	HTH_AUTO_JSON json_t *renamed = json_array();
	size_t i;
	json_t *message;
	json_array_foreach ((json_t *)messages, i, message) {
		HTH_TRY(refuse_images(message, err));
		json_t *copy = json_is_object(message) ? json_copy(message) : json_incref(message);
		if (copy == NULL || json_array_append_new(renamed, copy) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
		if (!json_is_object(message))
			continue;
		json_t *name = json_object_get(message, "tool_name"), *thinking = json_object_get(message, "thinking");
		if (name != NULL)
			json_object_set(copy, "name", name);
		if (thinking != NULL)
			json_object_set(copy, "reasoning_content", thinking);
		if (json_is_null(json_object_get(message, "content")))
			json_object_set_new(copy, "content", json_string(""));
	}
	HTH_AUTO_JSON json_t *checked = NULL;
	HTH_TRY(hth_messages_from_openai(renamed, &checked, err));
	return hth_fields_dump(checked, &input->messages_json, err);
}

hth_status hth_ollama_options(const json_t *body, hth_request_params *params, hth_error *err)
{
	static const char *const max_keys[] = {"num_predict"};
	const json_t *options = json_object_get(body, "options");
	HTH_TRY(hth_fields_keep_alive(body, &params->keep_alive_s, err));
	if (options == NULL || json_is_null(options))
		return HTH_OK;
	if (!json_is_object(options))
		return hth_fail_param(err, HTH_INVALID, "options", "options is %s; it must be an object", hth_json_type_name(options));
	HTH_TRY(hth_fields_sampling(options, params, err));
	HTH_TRY(hth_fields_stop(options, "stop", params, err));
	return hth_fields_max_tokens(options, max_keys, HTH_COUNT(max_keys), params, err);
}

hth_status hth_ollama_model(const json_t *body, const char **ret_model, hth_error *err)
{
	const char *model = NULL;
	/* "name" is what older clients send. */
	HTH_TRY(hth_json_get_string(body, "name", &model, err));
	HTH_TRY(hth_json_get_string(body, "model", &model, err));
	if (model == NULL || model[0] == '\0')
		return hth_fail_param(err, HTH_INVALID, "model", "model is required");
	*ret_model = model;
	return HTH_OK;
}

/* "json" or a schema; for a raw prompt the grammar at once. */
static hth_status read_format(hth_api_job *job, const json_t *body, hth_request *request, hth_error *err)
{
	const json_t *format = json_object_get(body, "format");
	if (format != NULL && !json_is_null(format) && !(json_is_string(format) && json_string_length(format) == 0))
		HTH_TRY(hth_choices_schema(format, "format", &request->input, err));
	HTH_TRY(hth_binding_check(&request->input, "format", ".function.parameters", job->host->bindings, err));
	return request->kind == HTH_CHAT || request->input.format_json == NULL ? HTH_OK : hth_binding_plain(request, err);
}

static hth_status new_state(hth_api_job *job, const json_t *body, const char **ret_model, hth_error *err)
{
	ollama_state *state = calloc(1, sizeof *state);
	if (state == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	hth_wire_answer_init(&state->answer);
	job->state = state;
	job->free_state = free_state;
	job->stream = true;
	HTH_TRY(hth_ollama_model(body, ret_model, err));
	HTH_TRY(hth_fields_copy(*ret_model, &state->model, err));
	return hth_json_get_bool(body, "stream", &job->stream, err);
}

/* A request that computes nothing: it is there when its model is loaded. */
static hth_status only_load(hth_api_job *job, const json_t *body, const char *model, hth_error *err)
{
	ollama_state *state = job->state;
	hth_request *r;
	HTH_TRY(hth_api_add_request(job, HTH_TOKENIZE, model, &r, err));
	HTH_TRY(hth_ollama_options(body, &r->params, err));
	HTH_TRY(hth_fields_copy("", &r->input.text, err));
	state->only_load = true;
	state->load_reason = r->params.keep_alive_s == 0 ? "unload" : "load";
	job->stream = false;
	return HTH_OK;
}

static hth_status parse_chat(hth_api_job *job, const json_t *body, hth_error *err)
{
	const char *model;
	HTH_TRY(new_state(job, body, &model, err));
	const json_t *messages = json_object_get(body, "messages"), *tools = json_object_get(body, "tools");
	if (messages == NULL || json_is_null(messages) || (json_is_array(messages) && json_array_size(messages) == 0))
		return only_load(job, body, model, err);
	hth_request *r;
	HTH_TRY(hth_api_add_request(job, HTH_CHAT, model, &r, err));
	HTH_TRY(read_messages(messages, &r->input, err));
	if (tools != NULL && !json_is_null(tools) && !(json_is_array(tools) && json_array_size(tools) == 0)) {
		HTH_TRY(hth_messages_check_tools(tools, err));
		HTH_TRY(hth_fields_dump(tools, &r->input.tools_json, err));
	}
	HTH_TRY(read_think(body, NULL, &r->input, err));
	HTH_TRY(read_format(job, body, r, err));
	return hth_ollama_options(body, &r->params, err);
}

static hth_status parse_generate(hth_api_job *job, const json_t *body, hth_error *err)
{
	const char *model, *prompt = NULL, *system = NULL, *suffix = NULL, *template = NULL;
	bool raw = false;
	HTH_TRY(new_state(job, body, &model, err));
	((ollama_state *)job->state)->generate = true;
	HTH_TRY(hth_json_get_string(body, "prompt", &prompt, err));
	HTH_TRY(hth_json_get_string(body, "system", &system, err));
	HTH_TRY(hth_json_get_string(body, "suffix", &suffix, err));
	HTH_TRY(hth_json_get_string(body, "template", &template, err));
	HTH_TRY(hth_json_get_bool(body, "raw", &raw, err));
	HTH_TRY(refuse_images(body, err));
	if (raw && suffix != NULL && suffix[0] != '\0')
		return hth_fail_param(err, HTH_INVALID, "suffix", "suffix needs the model's template, and raw goes without");
	if (prompt == NULL || prompt[0] == '\0')
		return only_load(job, body, model, err);
	hth_request *r;
	HTH_TRY(hth_api_add_request(job, raw ? HTH_COMPLETION : HTH_CHAT, model, &r, err));
	if (raw) {
		HTH_TRY(hth_fields_text(json_object_get(body, "prompt"), "prompt", &r->input, err));
		/* Raw means raw: what the prompt says, special tokens included. */
		r->input.parse_special = true;
	} else {
		HTH_AUTO_JSON json_t *messages = json_array();
		if (system != NULL && system[0] != '\0')
			json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
		json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content", prompt));
		HTH_TRY(hth_fields_dump(messages, &r->input.messages_json, err));
		HTH_TRY(read_think(body, suffix, &r->input, err));
		HTH_TRY(own_template(template, &r->input, err));
	}
	HTH_TRY(read_format(job, body, r, err));
	return hth_ollama_options(body, &r->params, err);
}

/* --- out --- */

static void open_object(hth_api_job *job)
{
	ollama_state *state = job->state;
	hth_buf *out = &job->scratch;
	hth_buf_clear(out);
	hth_buf_append_str(out, "{\"model\":");
	hth_wire_string(out, state->model);
	hth_buf_append_str(out, ",\"created_at\":");
	hth_wire_now(out);
}

/* The words of a chunk, or of the whole answer. */
static void write_words(hth_api_job *job, const char *text, size_t len, const char *thinking, size_t thinking_len)
{
	ollama_state *state = job->state;
	hth_buf *out = &job->scratch;
	hth_buf_append_str(out, state->generate ? ",\"response\":" : ",\"message\":{\"role\":\"assistant\",\"content\":");
	hth_json_write_string(text, len, out);
	if (thinking_len > 0) {
		hth_buf_append_str(out, ",\"thinking\":");
		hth_json_write_string(thinking, thinking_len, out);
	}
}

/* Calls from number `from` on: their arguments as objects. A call that broke off is none: here its arguments could not show it. */
static void write_calls(hth_buf *out, const hth_wire_answer *answer, size_t from)
{
	bool any = false;
	for (size_t k = from; k < answer->n_tool_calls; k++) {
		const hth_wire_tool_call *call = &answer->tool_calls[k];
		HTH_AUTO_JSON json_t *parsed = NULL;
		if (call->arguments.len == 0 || hth_json_parse(&parsed, call->arguments.data, call->arguments.len, NULL) != HTH_OK ||
		    !json_is_object(parsed))
			continue;
		hth_buf_append_str(out, any ? ",{\"function\":{\"index\":" : ",\"tool_calls\":[{\"function\":{\"index\":");
		hth_buf_appendf(out, "%zu,\"name\":", k);
		hth_wire_string(out, call->name);
		hth_buf_append_str(out, ",\"arguments\":");
		hth_buf_append(out, call->arguments.data, call->arguments.len);
		hth_buf_append_str(out, "}}");
		any = true;
	}
	hth_buf_append_str(out, any ? "]" : "");
}

static void close_words(hth_api_job *job)
{
	if (!((ollama_state *)job->state)->generate)
		hth_buf_append_char(&job->scratch, '}');
}

static void send_line(hth_api_job *job)
{
	hth_buf_append_str(&job->scratch, "}\n");
	hth_api_send(job, &job->scratch);
}

/* Ollama sends a call when it is whole. */
static void send_whole_calls(hth_api_job *job)
{
	ollama_state *state = job->state;
	if (state->n_sent_calls == state->answer.n_tool_calls)
		return;
	open_object(job);
	write_words(job, "", 0, "", 0);
	write_calls(&job->scratch, &state->answer, state->n_sent_calls);
	close_words(job);
	hth_buf_append_str(&job->scratch, ",\"done\":false");
	send_line(job);
	state->n_sent_calls = state->answer.n_tool_calls;
}

static void on_started(hth_api_job *job, size_t i)
{
	(void)i;
	if (job->stream)
		hth_api_begin(job, "application/x-ndjson");
}

static void on_event(hth_api_job *job, size_t i, const hth_api_event *event)
{
	(void)i;
	ollama_state *state = job->state;
	if (!job->stream || event->kind == HTH_EVENT_TOOL_ARGUMENTS) {
		hth_wire_answer_add(&state->answer, event);
		return;
	}
	send_whole_calls(job);
	if (event->kind == HTH_EVENT_TOOL_CALL) {
		hth_wire_answer_add(&state->answer, event);
		return;
	}
	if (event->len == 0)
		return;
	bool thinking = event->kind == HTH_EVENT_REASONING;
	open_object(job);
	write_words(job, thinking ? "" : event->text, thinking ? 0 : event->len, event->text, thinking ? event->len : 0);
	close_words(job);
	hth_buf_append_str(&job->scratch, ",\"done\":false");
	send_line(job);
}

static void write_end(hth_api_job *job, const char *reason)
{
	ollama_state *state = job->state;
	const hth_request *r = job->requests[0];
	hth_buf_appendf(&job->scratch, ",\"done\":true,\"done_reason\":\"%s\"", reason);
	hth_ollama_write_times(&job->scratch, r);
	if (!state->only_load)
		hth_buf_appendf(&job->scratch,
		                ",\"prompt_eval_count\":%u,\"prompt_eval_duration\":%llu,\"eval_count\":%u,\"eval_duration\":%llu",
		                r->usage.prompt_tokens, (unsigned long long)r->usage.prefill_ns, r->usage.answer_tokens,
		                (unsigned long long)r->usage.decode_ns);
	(void)hth_api_write_citations(job, 0, "citations", HTH_CITE_PLAIN, &job->scratch);
}

static void on_finished(hth_api_job *job)
{
	ollama_state *state = job->state;
	const hth_wire_answer *a = &state->answer;
	if (job->stream) {
		send_whole_calls(job);
		open_object(job);
		write_words(job, "", 0, "", 0);
		close_words(job);
		write_end(job, hth_wire_finish_reason(job->requests[0]));
		send_line(job);
		hth_api_finish(job);
		return;
	}
	open_object(job);
	job->scratch.failed |= a->failed;
	write_words(job, a->content.data != NULL ? a->content.data : "", a->content.len, a->reasoning.data, a->reasoning.len);
	write_calls(&job->scratch, a, 0);
	close_words(job);
	write_end(job, state->only_load ? state->load_reason : hth_wire_finish_reason(job->requests[0]));
	hth_buf_append_char(&job->scratch, '}');
	hth_api_reply(job, "application/json; charset=utf-8", &job->scratch);
}

static void on_broken(hth_api_job *job, const hth_error *error)
{
	hth_buf_clear(&job->scratch);
	hth_ollama_write_error(&job->scratch, 0, "", NULL, error);
	hth_buf_append_char(&job->scratch, '\n');
	hth_api_send(job, &job->scratch);
}

static const hth_api_writer writer = {.started = on_started, .event = on_event, .finished = on_finished, .broken = on_broken};

static const hth_api_endpoint endpoints[] = {
    {.method = "POST", .path = "/api/chat", .parse = parse_chat, .writer = &writer, .write_error = hth_ollama_write_error},
    {.method = "POST", .path = "/api/generate", .parse = parse_generate, .writer = &writer, .write_error = hth_ollama_write_error},
};
const hth_api_family hth_api_ollama_chat = {endpoints, HTH_COUNT(endpoints)};
