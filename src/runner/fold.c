/* fold.c - see fold.h. Owns nothing; the words are those that the models of the Hermes family were taught, which others follow best, and
 * every family that has no list of tools in its template is read with their marks too (api/toolcalls-formats.c). Thread: the preparer's. */
#include "runner/fold.h"

#include <string.h>

static const char tools_before[] = "You may call one or more of these functions to answer:\n<tools>\n";
static const char tools_after[] = "</tools>\nTo call one, write its name and its arguments as JSON between these marks:\n"
                                  "<tool_call>\n{\"name\": \"the function's name\", \"arguments\": {}}\n</tool_call>";

enum { TEXT_BYTES_MAX = 256 << 20 };

static hth_status no_memory(hth_error *err) { return hth_fail(err, HTH_NO_MEMORY, "no memory for the messages"); }

static bool has_role(const json_t *message, const char *role)
{
	const char *is = json_string_value(json_object_get(message, "role"));
	return is != NULL && strcmp(is, role) == 0;
}

static const char *content_of(const json_t *message)
{
	const char *content = json_string_value(json_object_get(message, "content"));
	return content != NULL ? content : "";
}

/* content = a, and b behind it with an empty line between. */
static bool set_joined(json_t *message, const char *a, const char *b)
{
	hth_buf text = HTH_BUF_INIT(TEXT_BYTES_MAX);
	hth_buf_append_str(&text, a);
	if (a[0] != '\0' && b[0] != '\0')
		hth_buf_append_str(&text, "\n\n");
	hth_buf_append_str(&text, b);
	bool ok = !text.failed && json_object_set_new(message, "content", json_stringn(text.data != NULL ? text.data : "", text.len)) == 0;
	if (text.data != NULL)
		explicit_bzero(text.data, text.cap);
	hth_buf_finish(&text);
	return ok;
}

/* --- tools --- */

hth_status hth_fold_tools(const json_t *tools, hth_buf *out, hth_error *err)
{
	size_t i;
	json_t *tool;
	hth_buf_append_str(out, tools_before);
	json_array_foreach ((json_t *)tools, i, tool) {
		hth_json_write(tool, out);
		hth_buf_append_char(out, '\n');
	}
	hth_buf_append_str(out, tools_after);
	return hth_buf_check(out, "the tools' description", err);
}

static bool tell(json_t *messages, const char *words)
{
	json_t *first = json_array_get(messages, 0);
	if (has_role(first, "system"))
		return set_joined(first, content_of(first), words);
	return json_array_insert_new(messages, 0, json_pack("{s:s, s:s}", "role", "system", "content", words)) == 0;
}

/* {"function": {"name", "arguments"}} in the marks, behind what was said. */
static bool write_calls(json_t *message)
{
	json_t *calls = json_object_get(message, "tool_calls"), *call;
	if (json_array_size(calls) == 0)
		return true;
	hth_buf text = HTH_BUF_INIT(TEXT_BYTES_MAX);
	size_t i;
	json_array_foreach (calls, i, call) {
		const json_t *function = json_object_get(call, "function");
		HTH_AUTO_JSON json_t *plain = json_pack("{s:O*, s:O*}", "name", json_object_get(function, "name"), "arguments",
		                                        json_object_get(function, "arguments"));
		hth_buf_append_str(&text, i > 0 ? "\n<tool_call>\n" : "<tool_call>\n");
		hth_json_write(plain, &text);
		hth_buf_append_str(&text, "\n</tool_call>");
	}
	bool ok = !text.failed && set_joined(message, content_of(message), text.data);
	json_object_del(message, "tool_calls");
	hth_buf_finish(&text);
	return ok;
}

static bool write_result(json_t *message)
{
	hth_buf text = HTH_BUF_INIT(TEXT_BYTES_MAX);
	hth_buf_append_str(&text, "<tool_response>\n");
	hth_buf_append_str(&text, content_of(message));
	hth_buf_append_str(&text, "\n</tool_response>");
	bool ok = !text.failed && json_object_set_new(message, "role", json_string("user")) == 0 &&
	          json_object_set_new(message, "content", json_stringn(text.data, text.len)) == 0;
	json_object_del(message, "tool_call_id");
	json_object_del(message, "name");
	hth_buf_finish(&text);
	return ok;
}

/* --- the whole --- */

/* Message i joins the next one when both are the user's: many templates insist that the two sides alternate. */
static bool join_users(json_t *messages)
{
	for (size_t i = 0; i + 1 < json_array_size(messages);) {
		json_t *a = json_array_get(messages, i), *b = json_array_get(messages, i + 1);
		if (!has_role(a, "user") || !has_role(b, "user")) {
			i++;
			continue;
		}
		if (!set_joined(b, content_of(a), content_of(b)) || json_array_remove(messages, i) != 0)
			return false;
	}
	return true;
}

hth_status hth_fold_messages(json_t *messages, const char *words, const hth_jinja_caps *caps, hth_error *err)
{
	bool changed = false;
	size_t i;
	json_t *message;
	if (words != NULL) {
		if (!tell(messages, words))
			return no_memory(err);
		changed = true;
	}
	json_array_foreach (messages, i, message) {
		bool of_tools = has_role(message, "tool") || json_array_size(json_object_get(message, "tool_calls")) > 0;
		/* some templates show calls, and leave it to others to tell of tools */
		if (of_tools && !caps->tools && !caps->parallel_tool_calls) {
			if (!(has_role(message, "tool") ? write_result(message) : write_calls(message)))
				return no_memory(err);
			changed = true;
		}
		if (has_role(message, "system") && !caps->system_role) {
			if (json_object_set_new(message, "role", json_string("user")) != 0)
				return no_memory(err);
			changed = true;
		}
	}
	return !changed || join_users(messages) ? HTH_OK : no_memory(err);
}
