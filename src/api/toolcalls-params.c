/* toolcalls-params.c - calls whose parameters are written one by one between tags; they become one JSON object.
 *
 * A parameter of declared type string streams as it comes. Any other is read to its end: JSON where it is JSON, else text.
 */
#include "api/toolcalls-internal.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static void finish_params(tcp *p) { hth_tc_args(p, p->any_param ? "}" : "{}", p->any_param ? 1 : 2); }

/* The call had begun and something else came: its arguments end here, the rest is content. */
static bool break_off(tcp *p)
{
	finish_params(p);
	p->mark = p->at;
	return hth_tc_fall_back(p, p->at);
}

static void begin_value(tcp *p, const char *key, size_t key_len, const char *close, bool trim, int as_text, hth_tc_state after)
{
	snprintf(p->key, sizeof p->key, "%.*s", (int)key_len, key);
	p->value_close = close;
	p->trim_newlines = trim;
	p->value_begun = p->value_open = false;
	p->as_text = as_text >= 0 ? as_text : hth_tc_param_is_text(p, p->tool, p->key);
	p->after_value = after;
	p->state = HTH_TC_VALUE;
	p->mark = p->at;
}

static void emit_key(tcp *p)
{
	hth_buf b = HTH_BUF_INIT(4096);
	hth_buf_append_str(&b, p->any_param ? ", " : "{");
	hth_json_write_string(p->key, strlen(p->key), &b);
	hth_buf_append_str(&b, ": ");
	hth_tc_args(p, b.data, b.len);
	hth_buf_finish(&b);
	p->any_param = true;
}

/* Text as the inside of a JSON string. */
static void emit_escaped(tcp *p, const char *text, size_t len)
{
	hth_buf b = HTH_BUF_INIT(8 * len + 16);
	if (len > 0 && hth_json_write_string(text, len, &b))
		hth_tc_args(p, b.data + 1, b.len - 2);
	hth_buf_finish(&b);
}

static void emit_whole_value(tcp *p, const char *text, size_t len)
{
	static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
	json_t *json = NULL;
	hth_error err = HTH_ERROR_INIT;
	emit_key(p);
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		if (strlen(words[i][0]) == len && memcmp(text, words[i][0], len) == 0) {
			hth_tc_args(p, words[i][1], strlen(words[i][1]));
			return;
		}
	bool is_json = hth_json_parse(&json, text, len, &err) == HTH_OK && (p->as_text == 0 || !json_is_string(json));
	json_decref(json);
	if (is_json) {
		hth_tc_args(p, text, len);
	} else {
		hth_tc_args(p, "\"", 1);
		emit_escaped(p, text, len);
		hth_tc_args(p, "\"", 1);
	}
}

/* How much of [p->at, end of text) may go out while the closing tag has not come. */
static size_t safe_end(const tcp *p)
{
	size_t len;
	const char *rest = hth_tc_rest(p, &len);
	size_t held = hth_tc_partial(rest, len, p->value_close);
	if (p->trim_newlines && len > held && rest[len - held - 1] == '\n')
		held++;
	held += hth_utf8_incomplete_suffix(rest, len - held);
	return p->text.len - held;
}

bool hth_tc_step_value(tcp *p)
{
	if (p->at >= p->text.len && !p->ended)
		return false;
	if (!p->value_begun) {
		if (p->trim_newlines && p->at < p->text.len && p->text.data[p->at] == '\n')
			p->at++;
		p->value_begun = true;
	}
	size_t close = hth_tc_find(p, p->at, p->value_close);
	bool closed = close != SIZE_MAX;
	size_t end = closed ? close : p->ended ? p->text.len : safe_end(p);
	if (closed && p->trim_newlines && end > p->at && p->text.data[end - 1] == '\n')
		end--;
	const char *text = p->text.data ? p->text.data + p->at : "";
	if (p->as_text == 1 || (p->ended && !closed && !p->complete)) {
		if (!p->value_open && (end > p->at || closed || p->ended)) {
			emit_key(p);
			hth_tc_args(p, "\"", 1);
			p->value_open = true;
		}
		emit_escaped(p, text, end - p->at);
		p->at = p->mark = end;
		if (closed || (p->ended && p->complete))
			hth_tc_args(p, "\"", 1);
	} else if (closed || p->ended) {
		emit_whole_value(p, text, end - p->at);
	}
	if (closed) {
		p->at = p->mark = close + strlen(p->value_close);
		p->state = p->after_value;
		return true;
	}
	if (p->ended) {
		if (p->complete)
			finish_params(p);
		p->at = p->mark = p->text.len;
		return hth_tc_close(p, NULL, HTH_TC_CONTENT);
	}
	return false;
}

/* --- <function=name> --- */

/* Does the text at `at` begin with one of these (NULL-terminated)? 1, 0, or -1 while it may still. White space before is passed. */
static int begins_with(const tcp *p, size_t at, const char *const *words)
{
	while (at < p->text.len && strchr(" \n\t\r", p->text.data[at]) != NULL)
		at++;
	size_t len = p->text.len - at;
	int best = len == 0 ? -1 : 0;
	for (; *words != NULL; words++) {
		size_t n = strlen(*words);
		if (memcmp(p->text.data + at, *words, HTH_MIN(n, len)) == 0)
			best = len >= n ? 1 : best == 1 ? 1 : -1;
	}
	return best;
}

bool hth_tc_step_function(tcp *p)
{
	static const char *const inside[] = {"{", "<parameter=", "</function>", NULL};
	static const char *const ends[] = {"</function>", "</tool_call>", "</seed:tool_call>", NULL};
	if (!hth_tc_skip_space(p))
		return false;
	size_t start = p->at;
	if (p->text.data[p->at] == '{' && p->in_section == 0) {
		p->state = HTH_TC_JSON_NEXT;
		return true;
	}
	int taken = hth_tc_take(p, "<function=");
	if (taken < 0)
		return false;
	if (taken == 0)
		return p->in_section > 0 ? hth_tc_close(p, p->closers, HTH_TC_CONTENT) : hth_tc_fall_back(p, p->at);
	size_t name = p->at, end = hth_tc_find(p, name, ">");
	p->at = start;
	if (p->in_section > 0)
		p->mark = start;
	if (end == SIZE_MAX)
		return p->text.len - name > 200 ? hth_tc_fall_back(p, p->text.len) : false;
	int known = begins_with(p, end + 1, inside);
	if (known < 0 && !p->ended)
		return false;
	const char *s = p->text.data;
	size_t name_end = end;
	if (name_end - name >= 2 && (s[name] == '"' || s[name] == '\'') && s[name_end - 1] == s[name]) {
		name++;
		name_end--;
	}
	if (known != 1 || memchr(s + name, '\n', name_end - name) != NULL || !hth_tc_begin(p, s + name, name_end - name, NULL, 0))
		return hth_tc_fall_back(p, end + 1);
	p->at = p->mark = end + 1;
	hth_tc_skip_space(p);
	if (p->text.data[p->at] == '{')
		hth_tc_stream_args(p, ends, HTH_TC_CONTENT);
	else
		p->state = HTH_TC_FUNCTION_BODY;
	return true;
}

bool hth_tc_step_function_body(tcp *p)
{
	static const char *const ends[] = {"</tool_call>", "</seed:tool_call>", NULL};
	size_t start = p->at;
	if (!hth_tc_skip_space(p)) {
		if (p->ended && p->complete) {
			finish_params(p);
			return hth_tc_close(p, NULL, HTH_TC_CONTENT);
		}
		return p->ended ? hth_tc_close(p, NULL, HTH_TC_CONTENT) : false;
	}
	int taken = hth_tc_take(p, "</function>");
	if (taken == 1) {
		finish_params(p);
		p->mark = p->at;
		return hth_tc_close(p, ends, HTH_TC_CONTENT);
	}
	int param = hth_tc_take(p, "<parameter=");
	if (param == 1) {
		size_t key = p->at, end = hth_tc_find(p, key, ">");
		if (end == SIZE_MAX || end - key >= sizeof p->key) {
			p->at = start;
			return end == SIZE_MAX && !p->ended && p->text.len - key < sizeof p->key ? false : break_off(p);
		}
		p->at = end + 1;
		begin_value(p, p->text.data + key, end - key, "</parameter>", true, -1, HTH_TC_FUNCTION_BODY);
		return true;
	}
	if ((taken < 0 || param < 0) && !p->ended) {
		p->at = start;
		return false;
	}
	return break_off(p);
}

/* --- GLM: name, then <arg_key>k</arg_key><arg_value>v</arg_value> ... --- */

bool hth_tc_step_glm_name(tcp *p)
{
	static const char *const inside[] = {"<arg_key>", "</tool_call>", NULL};
	if (!hth_tc_skip_space(p))
		return false;
	if (p->text.data[p->at] == '{') {
		p->state = HTH_TC_JSON_NEXT;
		return true;
	}
	size_t end = p->at;
	while (end < p->text.len && p->text.data[end] != '\n' && p->text.data[end] != '<')
		end++;
	if (end == p->text.len)
		return end - p->at > 200 ? hth_tc_fall_back(p, end) : false;
	int known = begins_with(p, end, inside);
	if (known < 0 && !p->ended)
		return false;
	if (known != 1 || !hth_tc_begin(p, p->text.data + p->at, end - p->at, NULL, 0))
		return hth_tc_fall_back(p, end);
	p->at = p->mark = end;
	p->state = HTH_TC_GLM_NEXT;
	return true;
}

bool hth_tc_step_glm_next(tcp *p)
{
	size_t start = p->at;
	if (!hth_tc_skip_space(p)) {
		if (p->ended && p->complete)
			finish_params(p);
		return p->ended ? hth_tc_close(p, NULL, HTH_TC_CONTENT) : false;
	}
	int taken = hth_tc_take(p, "</tool_call>");
	if (taken == 1) {
		finish_params(p);
		p->mark = p->at;
		return hth_tc_close(p, NULL, HTH_TC_CONTENT);
	}
	int param = hth_tc_take(p, "<arg_key>");
	if (param == 1) {
		size_t key = p->at, end = hth_tc_find(p, key, "</arg_key>");
		if (end != SIZE_MAX && end - key < sizeof p->key) {
			p->at = end + strlen("</arg_key>");
			hth_tc_skip_space(p);
			int value = hth_tc_take(p, "<arg_value>");
			if (value == 1) {
				begin_value(p, p->text.data + key, end - key, "</arg_value>", false, -1, HTH_TC_GLM_NEXT);
				return true;
			}
			param = p->at < p->text.len ? value : -1;
		} else {
			param = end == SIZE_MAX && p->text.len - key < sizeof p->key ? -1 : 0;
		}
	}
	p->at = start;
	if ((taken < 0 || param < 0) && !p->ended)
		return false;
	return break_off(p);
}

/* --- <invoke name="f"><parameter name="k">v</parameter></invoke>, with or without DeepSeek's prefix --- */

static const char *tag(char *out, size_t size, const tcp *p, const char *before, const char *after)
{
	snprintf(out, size, "%s%s%s", before, p->invoke_prefix, after);
	return out;
}

bool hth_tc_step_invoke_next(tcp *p)
{
	char open[64];
	if (!hth_tc_skip_space(p))
		return p->ended && p->in_section > 0 ? hth_tc_close(p, NULL, HTH_TC_CONTENT) : false;
	size_t start = p->at;
	int taken = hth_tc_take(p, tag(open, sizeof open, p, "<", "invoke name=\""));
	if (taken < 0 && !p->ended)
		return false;
	if (taken != 1)
		return p->in_section > 0 ? hth_tc_close(p, p->closers, HTH_TC_CONTENT) : hth_tc_fall_back(p, p->at);
	size_t name = p->at, quote = hth_tc_find(p, name, "\""), end = hth_tc_find(p, name, ">");
	p->at = start;
	if (p->in_section > 0)
		p->mark = start;
	if (quote == SIZE_MAX || end == SIZE_MAX)
		return p->text.len - name > 300 ? hth_tc_fall_back(p, p->text.len) : false;
	if (quote > end || !hth_tc_begin(p, p->text.data + name, quote - name, NULL, 0))
		return hth_tc_fall_back(p, end + 1);
	p->at = p->mark = end + 1;
	p->state = HTH_TC_INVOKE_BODY;
	return true;
}

bool hth_tc_step_invoke_body(tcp *p)
{
	char close[64], open[64];
	size_t start = p->at;
	if (!hth_tc_skip_space(p)) {
		if (p->ended && p->complete)
			finish_params(p);
		return p->ended ? hth_tc_close(p, NULL, HTH_TC_CONTENT) : false;
	}
	int taken = hth_tc_take(p, tag(close, sizeof close, p, "</", "invoke>"));
	if (taken == 1) {
		finish_params(p);
		p->mark = p->at;
		p->started = false;
		p->state = HTH_TC_INVOKE_NEXT;
		return true;
	}
	int param = hth_tc_take(p, tag(open, sizeof open, p, "<", "parameter name=\""));
	if (param == 1) {
		size_t key = p->at, quote = hth_tc_find(p, key, "\""), end = hth_tc_find(p, key, ">");
		if (quote < end && end != SIZE_MAX && quote - key < sizeof p->key) {
			const char *s = p->text.data;
			size_t yes = hth_tc_find(p, quote, "string=\"true\""), no = hth_tc_find(p, quote, "string=\"false\"");
			int as_text = yes < end ? 1 : no < end ? 0 : -1;
			p->at = end + 1;
			begin_value(p, s + key, quote - key, p->invoke_prefix[0] ? "</｜DSML｜parameter>" : "</parameter>", false,
				    as_text, HTH_TC_INVOKE_BODY);
			return true;
		}
		param = end == SIZE_MAX && p->text.len - key < 400 ? -1 : 0;
	}
	p->at = start;
	if ((taken < 0 || param < 0) && !p->ended)
		return false;
	return break_off(p);
}
