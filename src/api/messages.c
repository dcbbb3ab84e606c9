/* messages.c - OpenAI's conversation format, checked member by member.
 *
 * Templates are the models' own programs and trust their input's shape, so the shape is made sure of here: unknown members are
 * dropped, parts are joined, arguments become objects. Refuses parts that Hearth cannot pass on (pictures, sound) by name,
 * since leaving them out would answer another question. Thread: any.
 */
#include "api/messages.h"
#include "api/fields.h"

#include <stdio.h>

enum { TOOL_NAME_MAX = 127 };

static hth_status bad(hth_error *err, hth_status status, size_t i, const char *member, const char *what)
{
	char place[64];
	snprintf(place, sizeof place, "messages[%zu]%s%s", i, member[0] != '\0' ? "." : "", member);
	return hth_fail_param(err, status, place, "%s %s", place, what);
}

/* Joins text parts. Templates that take parts themselves put nothing between them, and so does this. */
static hth_status join_parts(const json_t *parts, size_t i, json_t **ret_string, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT((size_t)256 << 20);
	size_t k;
	json_t *part;
	json_array_foreach ((json_t *)parts, k, part) {
		const char *type = json_string_value(json_object_get(part, "type"));
		const json_t *words = json_object_get(part, "text");
		if (json_is_string(part)) {
			words = part;
			type = "text";
		}
		if (type == NULL)
			return bad(err, HTH_INVALID, i, "content", "has a part without a type");
		if (strcmp(type, "refusal") == 0)
			words = json_object_get(part, "refusal");
		else if (strcmp(type, "text") != 0 && strcmp(type, "input_text") != 0 && strcmp(type, "output_text") != 0)
			return bad(err, HTH_UNSUPPORTED, i, "content",
			           "has a part that is not text; pictures, sound and files are not supported");
		if (!json_is_string(words))
			return bad(err, HTH_INVALID, i, "content", "has a text part whose text is not a string");
		hth_buf_append(&text, json_string_value(words), json_string_length(words));
	}
	if (text.failed)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
	*ret_string = json_stringn(text.data != NULL ? text.data : "", text.len);
	return HTH_OK;
}

/* {"id","type":"function","function":{"name","arguments"}}: the arguments' text becomes an object where it is one. */
static hth_status read_tool_calls(const json_t *calls, size_t i, json_t **ret_calls, hth_error *err)
{
	if (!json_is_array(calls))
		return bad(err, HTH_INVALID, i, "tool_calls", "must be an array");
	HTH_AUTO_JSON json_t *out = json_array();
	size_t k;
	json_t *call;
	json_array_foreach ((json_t *)calls, k, call) {
		const json_t *function = json_object_get(call, "function");
		const char *name = json_string_value(json_object_get(function, "name"));
		json_t *arguments = json_object_get(function, "arguments");
		if (name == NULL)
			return bad(err, HTH_INVALID, i, "tool_calls", "has a call without function.name");
		HTH_AUTO_JSON json_t *parsed = NULL;
		if (json_is_string(arguments) &&
		    hth_json_parse(&parsed, json_string_value(arguments), json_string_length(arguments), NULL) == HTH_OK &&
		    json_is_object(parsed))
			arguments = parsed;
		HTH_AUTO_JSON json_t *f = json_pack("{s:s, s:O?}", "name", name, "arguments", arguments);
		const char *id = json_string_value(json_object_get(call, "id"));
		if (f == NULL || json_array_append_new(out, json_pack("{s:s*, s:s, s:O}", "id", id, "type", "function", "function",
		                                                      f)) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
	}
	*ret_calls = json_incref(out);
	return HTH_OK;
}

static hth_status copy_string(const json_t *from, const char *key, const char *to_key, json_t *to, size_t i, hth_error *err)
{
	json_t *value = json_object_get(from, key);
	if (value == NULL || json_is_null(value))
		return HTH_OK;
	if (!json_is_string(value))
		return bad(err, HTH_INVALID, i, key, "must be a string");
	if (json_object_set(to, to_key, value) != 0)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
	return HTH_OK;
}

static hth_status read_message(const json_t *message, size_t i, json_t *out, hth_error *err)
{
	static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function"};
	const char *role = json_string_value(json_object_get(message, "role"));
	if (!json_is_object(message))
		return bad(err, HTH_INVALID, i, "", "must be an object with role and content");
	size_t r;
	for (r = 0; r < HTH_COUNT(roles); r++) {
		if (role != NULL && strcmp(role, roles[r]) == 0)
			break;
	}
	if (r == HTH_COUNT(roles))
		return bad(err, HTH_INVALID, i, "role", "must be system, developer, user, assistant or tool");
	/* Newer names of the same thing, which templates do not know. */
	role = r == 1 ? "system" : r == 5 ? "tool" : roles[r];
	json_object_set_new(out, "role", json_string(role));

	json_t *content = json_object_get(message, "content");
	const json_t *calls = json_object_get(message, "tool_calls");
	bool has_calls = calls != NULL && !json_is_null(calls);
	json_t *text = NULL;
	if (json_is_array(content)) {
		HTH_TRY(join_parts(content, i, &text, err));
	} else if (json_is_string(content)) {
		text = json_incref(content);
	} else if (content == NULL || json_is_null(content)) {
		if (strcmp(role, "assistant") != 0)
			return bad(err, HTH_INVALID, i, "content", "is missing");
		text = json_string("");
	} else {
		return bad(err, HTH_INVALID, i, "content", "must be a string or an array of parts");
	}
	if (text == NULL || json_object_set_new(out, "content", text) != 0)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");

	HTH_TRY(copy_string(message, "name", "name", out, i, err));
	HTH_TRY(copy_string(message, "tool_call_id", "tool_call_id", out, i, err));
	HTH_TRY(copy_string(message, "reasoning", "reasoning_content", out, i, err));
	HTH_TRY(copy_string(message, "reasoning_content", "reasoning_content", out, i, err));
	if (has_calls) {
		json_t *read = NULL;
		HTH_TRY(read_tool_calls(calls, i, &read, err));
		json_object_set_new(out, "tool_calls", read);
	}
	return HTH_OK;
}

hth_status hth_messages_from_openai(const json_t *messages, json_t **ret_messages, hth_error *err)
{
	if (!json_is_array(messages))
		return hth_fail_param(err, HTH_INVALID, "messages", "messages is %s; it must be an array", hth_json_type_name(messages));
	size_t n = json_array_size(messages);
	if (n == 0)
		return hth_fail_param(err, HTH_INVALID, "messages", "messages is empty; at least one message is needed");
	if (n > HTH_API_MESSAGES_MAX)
		return hth_fail_param(err, HTH_INVALID, "messages", "there are %zu messages; at most %d are taken", n,
		                      HTH_API_MESSAGES_MAX);
	HTH_AUTO_JSON json_t *out = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *message = json_object();
		if (message == NULL || json_array_append_new(out, message) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages");
		HTH_TRY(read_message(json_array_get(messages, i), i, message, err));
	}
	*ret_messages = json_incref(out);
	return HTH_OK;
}

hth_status hth_messages_check_tools(const json_t *tools, hth_error *err)
{
	if (!json_is_array(tools))
		return hth_fail_param(err, HTH_INVALID, "tools", "tools is %s; it must be an array", hth_json_type_name(tools));
	if (json_array_size(tools) > 256)
		return hth_fail_param(err, HTH_INVALID, "tools", "there are %zu tools; at most 256 are taken", json_array_size(tools));
	size_t i;
	json_t *tool;
	json_array_foreach ((json_t *)tools, i, tool) {
		const char *type = json_string_value(json_object_get(tool, "type"));
		const json_t *function = json_object_get(tool, "function");
		if (type != NULL && strcmp(type, "function") != 0)
			return hth_fail_param(err, HTH_UNSUPPORTED, "tools", "tools[%zu] is not a function; only functions are supported",
			                      i);
		const char *name = json_string_value(json_object_get(function, "name"));
		if (name == NULL || name[0] == '\0')
			return hth_fail_param(err, HTH_INVALID, "tools", "tools[%zu].function.name is missing", i);
		/* Names stand as they are in the marks of every notation. */
		bool fits = strlen(name) <= TOOL_NAME_MAX && strpbrk(name, "\"\\'`<>{}[]()|,\x7F") == NULL;
		for (const char *c = name; *c != '\0'; c++)
			fits = fits && (unsigned char)*c > ' ';
		if (!fits)
			return hth_fail_param(err, HTH_INVALID, "tools",
			                      "tools[%zu].function.name must have at most %d bytes, and no space, quote or bracket", i,
			                      TOOL_NAME_MAX);
		const json_t *parameters = json_object_get(function, "parameters");
		if (parameters != NULL && !json_is_null(parameters) && !json_is_object(parameters))
			return hth_fail_param(err, HTH_INVALID, "tools", "tools[%zu].function.parameters must be a JSON schema", i);
	}
	return HTH_OK;
}
