/* binding.c - see binding.h. Owns the order of an answer's parts: reasoning where the model may think, then calls or the bound text.
 * Refuses schemas, by name. Thread: the loop's.
 *
 * Reasoning: where the prompt has opened it, the grammar waits for its end (a trigger that counts for such prompts only); where the model
 * may open it itself, the grammar begins with it.
 */
#include "api/binding.h"

#include "api/call-grammar.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* Over this, tools that the model need not call are not worth a grammar. */
enum { AUTO_GRAMMAR_MAX = 256 << 10, GRAMMAR_MAX = 8 << 20, KEY_MAX = 256 << 20 };

typedef struct tool_list {
	json_t *json; /* owns what tools point to */
	hth_call_tool *tools;
	size_t *numbers; /* in the request's list */
	bool *strict;
	size_t n;
} tool_list;

static void finish_tools(tool_list *list)
{
	json_decref(list->json);
	free(list->tools);
	free(list->numbers);
	free(list->strict);
}

/* The tools that may be called. */
static hth_status read_tools(const hth_request_input *input, tool_list *list, hth_error *err)
{
	if (input->tools_json == NULL)
		return HTH_OK;
	HTH_TRY(hth_json_parse(&list->json, input->tools_json, strlen(input->tools_json), err));
	size_t n = json_array_size(list->json);
	list->tools = hth_alloc_array(n, sizeof *list->tools);
	list->numbers = hth_alloc_array(n, sizeof *list->numbers);
	list->strict = hth_alloc_array(n, sizeof *list->strict);
	if (list->tools == NULL || list->numbers == NULL || list->strict == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the tools");
	for (size_t i = 0; i < n; i++) {
		const json_t *function = json_object_get(json_array_get(list->json, i), "function");
		const json_t *schema = json_object_get(function, "parameters"), *strict = json_object_get(function, "strict");
		const char *name = json_string_value(json_object_get(function, "name"));
		if (input->must_call_name != NULL && strcmp(input->must_call_name, name) != 0)
			continue;
		bool bound = json_is_object(schema) && json_object_size(schema) > 0 && !json_is_false(strict);
		list->tools[list->n] = (hth_call_tool){name, bound ? schema : NULL};
		list->numbers[list->n] = i;
		list->strict[list->n++] = json_is_true(strict);
	}
	return HTH_OK;
}

/* A schema alone: whether a grammar can carry it. */
static hth_status try_schema(const json_t *schema, hth_error *err)
{
	hth_buf out = HTH_BUF_INIT(GRAMMAR_MAX);
	hth_status status = hth_schema_grammar(schema, &out, err);
	hth_buf_finish(&out);
	return status;
}

static void destroy_set(hth_schema_set **set) { hth_schema_set_destroy(*set); }

/* Everything that a binding depends on. kind: of the entry; source: NULL before the model is known. Wiped by the caller. */
static void write_key(const hth_request_input *input, const char *kind, const char *source, hth_buf *key)
{
	const char *const texts[] = {kind, input->tools_json, input->format_json, input->must_call_name, input->template_json, source};
	for (size_t i = 0; i < HTH_COUNT(texts); i++) {
		hth_buf_append_str(key, texts[i] != NULL ? texts[i] : "");
		hth_buf_append_char(key, '\0');
	}
	hth_buf_append_char(key, (char)('0' + input->must_call + 2 * input->one_call));
}

static void finish_key(hth_buf *key)
{
	if (key->data != NULL)
		explicit_bzero(key->data, key->cap);
	hth_buf_finish(key);
}

static hth_status check(const hth_request_input *input, const char *format_param, const char *tool_member, hth_error *err)
{
	HTH_CLEANUP(finish_tools) tool_list list = {0};
	if (input->format_json != NULL) {
		HTH_AUTO_JSON json_t *schema = NULL;
		HTH_TRY(hth_json_parse(&schema, input->format_json, strlen(input->format_json), err));
		if (try_schema(schema, err) != HTH_OK) {
			snprintf(err->param, sizeof err->param, "%s", format_param);
			return hth_fail_prefix(err, "%s", format_param);
		}
	}
	HTH_TRY(read_tools(input, &list, err));
	if (input->must_call && list.n == 0 && input->must_call_name != NULL)
		return hth_fail_param(err, HTH_INVALID, "tool_choice", "tool_choice names %.100s, which is not one of the tools",
		                      input->must_call_name);
	if (input->must_call && list.n == 0)
		return hth_fail_param(err, HTH_INVALID, "tool_choice", "tool_choice asks for a call, and there are no tools");
	/* Together first: what tools have in common is worked out once. Alone, where that fails: what is too much together may be fine. */
	HTH_CLEANUP(destroy_set) hth_schema_set *set = NULL;
	char rule[32];
	HTH_TRY(hth_schema_set_create(&set, err));
	for (size_t i = 0; i < list.n; i++) {
		if (list.tools[i].schema == NULL || !(input->must_call || list.strict[i]) ||
		    hth_schema_set_add(set, list.tools[i].schema, rule, err) == HTH_OK || try_schema(list.tools[i].schema, err) == HTH_OK)
			continue;
		snprintf(err->param, sizeof err->param, "tools[%zu]%s", list.numbers[i], tool_member);
		return hth_fail_prefix(err, "tools[%zu]%s", list.numbers[i], tool_member);
	}
	return HTH_OK;
}

hth_status hth_binding_check(const hth_request_input *input, const char *format_param, const char *tool_member, hth_binding_cache *cache,
                             hth_error *err)
{
	if (input->tools_json == NULL && input->format_json == NULL && !input->must_call)
		return HTH_OK;
	HTH_CLEANUP(finish_key) hth_buf key = HTH_BUF_INIT(KEY_MAX);
	write_key(input, "fine", NULL, &key);
	if (hth_binding_cache_find(cache, &key) != NULL)
		return HTH_OK;
	HTH_TRY(check(input, format_param, tool_member, err));
	hth_binding_cache_put(cache, &key, &(hth_binding){0});
	return HTH_OK;
}

/* --- the grammar --- */

/* False where the request's template variables say that the model shall not think. */
static bool wants_thinking(const hth_request_input *input)
{
	HTH_AUTO_JSON json_t *variables = NULL;
	const char *text = input->template_json;
	return text == NULL || hth_json_parse(&variables, text, strlen(text), NULL) != HTH_OK ||
	    !json_is_false(json_object_get(variables, "enable_thinking"));
}

/* Appends the rule `thinking`; false: this model does not think. */
static bool write_thinking(const hth_request *request, const hth_toolcalls_style *style, const char *source, hth_buf *out)
{
	if (style->think_open == NULL || (strstr(source, style->think_open) == NULL && strstr(source, style->think_close) == NULL) ||
	    !wants_thinking(&request->input))
		return false;
	hth_buf_append_str(out, "thinking ::= ");
	hth_schema_literal(style->think_open, strlen(style->think_open), out);
	hth_buf_append_str(out, " thought\n");
	hth_call_grammar_until("thought", style->think_close, out);
	return true;
}

static hth_status copy(const char *text, char **ret, hth_error *err)
{
	*ret = strdup(text);
	return *ret != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a grammar");
}

/* gpt-oss: channels instead of marks; the prompt ends with <|start|>assistant. */
static void write_harmony(bool calls, bool text, hth_buf *out)
{
	hth_buf_append_str(out, "root ::= (\"<|channel|>analysis<|message|>\" analysis \"<|start|>assistant\"){0,4} (");
	if (calls)
		hth_buf_append_str(out, "\"<|channel|>\" calls");
	if (text)
		hth_buf_appendf(out, "%s\"<|channel|>final\" (\" \"? \"<|constrain|>json\" | \" json\")? \"<|message|>\" text",
		                calls ? " | " : "");
	hth_buf_append_str(out, ")\n");
	hth_call_grammar_until("analysis", "<|end|>", out);
}

/* The answer is calls, or the bound text, or one of the two. */
static hth_status write_bound(hth_request *request, const hth_toolcalls_style *style, const char *source, bool calls, bool text,
                              hth_buf *out, hth_error *err)
{
	const char *what = calls && text ? "(calls | text)" : calls ? "calls" : "text";
	if (style->format == HTH_TOOLCALLS_HARMONY) {
		write_harmony(calls, text, out);
		return HTH_OK;
	}
	/* functionary's prompt ends inside a mark, and text has a name too */
	if (style->format == HTH_TOOLCALLS_FUNCTIONARY && text)
		what = calls ? "(calls | \"all\\n\" text)" : "\"all\\n\" text";
	if (!write_thinking(request, style, source, out)) {
		hth_buf_appendf(out, "root ::= %s\n", what);
		return HTH_OK;
	}
	hth_buf_appendf(out, "root ::= thinking? [ \\n]{0,2} %s\n", what);
	HTH_TRY(copy(style->think_close, &request->params.grammar_trigger, err));
	return copy(style->think_open, &request->params.grammar_trigger_if, err);
}

/* Where the model may choose, a schema that no grammar carries promised nothing. */
static void loosen(tool_list *list)
{
	hth_error err;
	for (size_t i = 0; i < list->n; i++)
		if (list->tools[i].schema != NULL && try_schema(list->tools[i].schema, &err) != HTH_OK)
			list->tools[i].schema = NULL;
}

static hth_status build(hth_request *request, hth_toolcalls_style *style, const char *source, tool_list *list, hth_schema_set *set,
                        hth_buf *out, hth_error *err)
{
	const hth_request_input *input = &request->input;
	HTH_AUTO_JSON json_t *schema = NULL; /* the set looks at it until it is written */
	hth_toolcalls_style own = *style;
	bool calls = list->n > 0, text = input->format_json != NULL && !input->must_call;
	const char *open = NULL;
	char rule[32];
	if (calls) {
		/* Which calls a model may make is bound by its notation; the generic one only where a call is asked for. */
		HTH_TRY(hth_call_grammar(&own, source, list->tools, list->n, input->one_call || input->must_call_name != NULL, set, out,
		                         &open, err));
	}
	if (text) {
		HTH_TRY(hth_json_parse(&schema, input->format_json, strlen(input->format_json), err));
		HTH_TRY(hth_schema_set_add(set, schema, rule, err));
		hth_buf_appendf(out, "text ::= %s\n", rule);
	}
	if (text || input->must_call) {
		HTH_TRY(write_bound(request, &own, source, calls, text, out, err));
		*style = own;
	} else if (open != NULL) {
		hth_buf_append_str(out, "root ::= rest\n");
		HTH_TRY(copy(open, &request->params.grammar_trigger, err));
	} else {
		hth_buf_clear(out);
		return HTH_OK;
	}
	HTH_TRY(hth_schema_set_write(set, out, err));
	if (!text && !input->must_call && out->len > AUTO_GRAMMAR_MAX) {
		hth_buf_clear(out);
		free(request->params.grammar_trigger);
		request->params.grammar_trigger = NULL;
	}
	return HTH_OK;
}

static hth_status attempt(hth_request *request, hth_toolcalls_style *style, const char *source, tool_list *list, hth_buf *out,
                          hth_error *err)
{
	HTH_CLEANUP(destroy_set) hth_schema_set *set = NULL;
	HTH_TRY(hth_schema_set_create(&set, err));
	return build(request, style, source, list, set, out, err);
}

static hth_status make(hth_request *request, hth_toolcalls_style *style, const char *source, hth_error *err)
{
	HTH_CLEANUP(finish_tools) tool_list list = {0};
	HTH_TRY(read_tools(&request->input, &list, err));
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(GRAMMAR_MAX);
	hth_status status = attempt(request, style, source, &list, &out, err);
	if (status != HTH_OK && list.n > 0 && !request->input.must_call) {
		/* Most schemas can be carried: which cannot is looked for only when some cannot. */
		hth_request_params *params = &request->params;
		free(params->grammar_trigger);
		free(params->grammar_trigger_if);
		params->grammar_trigger = params->grammar_trigger_if = NULL;
		hth_buf_clear(&out);
		loosen(&list);
		status = attempt(request, style, source, &list, &out, err);
	}
	HTH_TRY(status);
	HTH_TRY(hth_buf_check(&out, "a grammar", err));
	if (out.len > 0)
		request->params.grammar = hth_buf_steal(&out, NULL);
	return HTH_OK;
}

/* A grammar that the body brought binds the answer, which begins after the reasoning that the prompt opened. */
static hth_status wait_for_thought(hth_request *request, const hth_toolcalls_style *style, hth_error *err)
{
	if (style->think_open == NULL)
		return HTH_OK;
	HTH_TRY(copy(style->think_close, &request->params.grammar_trigger, err));
	return copy(style->think_open, &request->params.grammar_trigger_if, err);
}

hth_status hth_binding_apply(hth_request *request, hth_toolcalls_style *style, const char *source, hth_binding_cache *cache, hth_error *err)
{
	const hth_request_input *input = &request->input;
	hth_request_params *params = &request->params;
	if (params->grammar != NULL)
		return wait_for_thought(request, style, err);
	if (input->tools_json == NULL && input->format_json == NULL)
		return HTH_OK;
	params->grammar_made = true;
	HTH_CLEANUP(finish_key) hth_buf key = HTH_BUF_INIT(KEY_MAX);
	write_key(input, hth_toolcalls_format_name(style->format), source, &key);
	const hth_binding *known = hth_binding_cache_find(cache, &key);
	if (known == NULL) {
		HTH_TRY(make(request, style, source, err));
		hth_binding_cache_put(cache, &key, &(hth_binding){params->grammar, params->grammar_trigger, params->grammar_trigger_if,
		                                                  (int)style->format});
		return HTH_OK;
	}
	style->format = (hth_toolcalls_format)known->format;
	if (known->grammar != NULL)
		HTH_TRY(copy(known->grammar, &params->grammar, err));
	if (known->trigger != NULL)
		HTH_TRY(copy(known->trigger, &params->grammar_trigger, err));
	return known->trigger_if != NULL ? copy(known->trigger_if, &params->grammar_trigger_if, err) : HTH_OK;
}

hth_status hth_binding_plain(hth_request *request, hth_error *err)
{
	HTH_AUTO_JSON json_t *schema = NULL;
	HTH_TRY(hth_json_parse(&schema, request->input.format_json, strlen(request->input.format_json), err));
	hth_buf out = HTH_BUF_INIT(GRAMMAR_MAX);
	hth_status status = hth_schema_grammar(schema, &out, err);
	if (status == HTH_OK)
		request->params.grammar = hth_buf_steal(&out, NULL);
	hth_buf_finish(&out);
	return status;
}
