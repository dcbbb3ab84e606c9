/* choices.c - see choices.h. Refuses what cannot be meant: a forced call without tools, two shapes for one answer. Thread: any. */
#include "api/choices.h"

#include "api/binding.h"
#include "api/fields.h"

#include <string.h>

enum { GRAMMAR_BYTES_MAX = 1 << 20 };

/* {"name"} inside "function" (chat) or beside the type (Responses). */
static const char *name_of(const json_t *choice)
{
	const char *name = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
	return name != NULL ? name : json_string_value(json_object_get(choice, "name"));
}

static hth_status wrong_choice(hth_error *err)
{
	return hth_fail_param(err, HTH_INVALID, "tool_choice",
	                      "tool_choice must be \"none\", \"auto\", \"required\", a function by its name, or allowed_tools");
}

/* "allowed_tools": the tools that are left. */
static hth_status keep_allowed(const json_t *tools, const json_t *choice, hth_request_input *input, hth_error *err)
{
	const json_t *inner = json_object_get(choice, "allowed_tools");
	const json_t *holder = inner != NULL ? inner : choice, *allowed = json_object_get(holder, "tools");
	const char *mode = json_string_value(json_object_get(holder, "mode"));
	HTH_AUTO_JSON json_t *kept = json_array();
	size_t i, k;
	json_t *tool, *one;
	if (!json_is_array(allowed) || mode == NULL || (strcmp(mode, "auto") != 0 && strcmp(mode, "required") != 0))
		return wrong_choice(err);
	json_array_foreach ((json_t *)tools, i, tool) {
		const char *name = name_of(tool);
		json_array_foreach ((json_t *)allowed, k, one)
			if (name_of(one) != NULL && strcmp(name_of(one), name) == 0) {
				json_array_append(kept, tool);
				break;
			}
	}
	if (json_array_size(kept) == 0)
		return hth_fail_param(err, HTH_INVALID, "tool_choice", "tool_choice allows none of the tools");
	input->must_call = strcmp(mode, "required") == 0;
	return hth_fields_dump(kept, &input->tools_json, err);
}

hth_status hth_choices_tools(const json_t *tools, const json_t *choice, hth_request_input *input, hth_error *err)
{
	bool any = json_array_size(tools) > 0;
	if (json_is_string(choice)) {
		const char *word = json_string_value(choice);
		if (strcmp(word, "none") == 0)
			return HTH_OK;
		input->must_call = strcmp(word, "required") == 0;
		if (!input->must_call && strcmp(word, "auto") != 0)
			return wrong_choice(err);
	} else if (json_is_object(choice)) {
		const char *type = json_string_value(json_object_get(choice, "type"));
		if (type != NULL && strcmp(type, "allowed_tools") == 0)
			return keep_allowed(tools, choice, input, err);
		if (type != NULL && strcmp(type, "function") != 0)
			return hth_fail_param(err, HTH_UNSUPPORTED, "tool_choice",
			                      "tool_choice of type %.40s is not supported; only functions are", type);
		if (name_of(choice) == NULL)
			return wrong_choice(err);
		input->must_call = true;
		HTH_TRY(hth_fields_copy(name_of(choice), &input->must_call_name, err));
	} else if (choice != NULL && !json_is_null(choice)) {
		return wrong_choice(err);
	}
	if (!any && input->must_call)
		return hth_fail_param(err, HTH_INVALID, "tool_choice", "tool_choice asks for a call, and there are no tools");
	return any ? hth_fields_dump(tools, &input->tools_json, err) : HTH_OK;
}

hth_status hth_choices_schema(const json_t *schema, const char *param, hth_request_input *input, hth_error *err)
{
	if (json_is_string(schema) && strcmp(json_string_value(schema), "json") == 0)
		return hth_fields_copy("{\"type\":\"object\"}", &input->format_json, err);
	if (!json_is_object(schema))
		return hth_fail_param(err, HTH_INVALID, param, "%s is %s; it must be a JSON schema", param, hth_json_type_name(schema));
	return hth_fields_dump(schema, &input->format_json, err);
}

hth_status hth_choices_format(const json_t *format, const char *param, hth_request_input *input, hth_error *err)
{
	if (format == NULL || json_is_null(format))
		return HTH_OK;
	const char *type = json_string_value(json_object_get(format, "type"));
	const json_t *nested = json_object_get(format, "json_schema"),
	    *schema = json_object_get(nested != NULL ? nested : format, "schema");
	if (type == NULL)
		return hth_fail_param(err, HTH_INVALID, param, "%s must be an object with a type", param);
	if (strcmp(type, "text") == 0)
		return HTH_OK;
	if (strcmp(type, "json_object") == 0 && (schema == NULL || json_is_null(schema)))
		return hth_fields_copy("{\"type\":\"object\"}", &input->format_json, err);
	if (strcmp(type, "json_schema") != 0 && strcmp(type, "json_object") != 0)
		return hth_fail_param(err, HTH_UNSUPPORTED, param,
		                      "%s of type %.40s is not supported; text, json_object and json_schema are", param, type);
	if (!json_is_object(schema))
		return hth_fail_param(err, HTH_INVALID, param, "%s has no schema; json_schema needs one", param);
	return hth_choices_schema(schema, param, input, err);
}

void hth_choices_effort(json_t *variables, const char *effort)
{
	if (effort == NULL)
		return;
	if (strcmp(effort, "none") == 0) {
		if (json_object_get(variables, "enable_thinking") == NULL)
			json_object_set_new(variables, "enable_thinking", json_false());
	} else if (json_object_get(variables, "reasoning_effort") == NULL) {
		json_object_set_new(variables, "reasoning_effort", json_string(effort));
	}
}

hth_status hth_choices_grammar(const json_t *body, hth_request *request, hth_error *err)
{
	const json_t *schema = json_object_get(body, "json_schema");
	const char *grammar = NULL;
	hth_request_input *input = &request->input;
	HTH_TRY(hth_json_get_string(body, "grammar", &grammar, err));
	bool has_grammar = grammar != NULL && grammar[0] != '\0', has_schema = json_is_object(schema);
	if (has_grammar && strlen(grammar) > GRAMMAR_BYTES_MAX)
		return hth_fail_param(err, HTH_INVALID, "grammar", "grammar has more than %d bytes", GRAMMAR_BYTES_MAX);
	if ((has_grammar && (has_schema || input->format_json != NULL || input->must_call)) || (has_schema && input->format_json != NULL))
		return hth_fail_param(err, HTH_INVALID, has_grammar ? "grammar" : "json_schema",
		                      "the answer's shape is asked for twice; grammar, json_schema, response_format and a forced tool call "
		                      "exclude each other");
	if (has_grammar)
		return hth_fields_copy(grammar, &request->params.grammar, err);
	if (!has_schema)
		return HTH_OK;
	HTH_TRY(hth_choices_schema(schema, "json_schema", input, err));
	if (request->kind == HTH_CHAT)
		return HTH_OK;
	HTH_TRY(hth_binding_check(input, "json_schema", "", NULL, err));
	return hth_binding_plain(request, err);
}
