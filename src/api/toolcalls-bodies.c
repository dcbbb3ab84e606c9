/* toolcalls-bodies.c - calls whose arguments are JSON, and the two notations that are read whole.
 *
 * A call begins to the outside as soon as its name is known and its arguments have begun; from then on their bytes pass through.
 * Until then everything since the opening mark can still be given back as content.
 */
#include "api/toolcalls-internal.h"

#include "base/mem.h"

#include <string.h>

/* --- {"name": ..., "arguments": {...}}, alone or in a list --- */

bool hth_tc_step_json_next(tcp *p)
{
	for (;;) {
		if (!hth_tc_skip_space(p)) {
			if (!p->ended)
				return false;
			return p->in_section > 0 ? hth_tc_close(p, NULL, HTH_TC_CONTENT) : hth_tc_fall_back(p, p->at);
		}
		char c = p->text.data[p->at];
		bool separator = (c == ',' || c == ';') && p->in_section > 0 && (p->in_list || c == ';');
		if (c == '{') {
			p->object = (hth_call_object){0};
			p->object_at = p->at;
			p->sent = 0;
			p->started = false;
			if (p->in_section > 0)
				p->mark = p->at;
			p->state = HTH_TC_JSON_OBJECT;
			return true;
		}
		if (c == '[' && !p->in_list && p->in_section == 0) {
			p->in_list = true;
		} else if (c == ']' && p->in_list && (p->in_section > 0 || !p->bare)) {
			p->at++;
			return hth_tc_close(p, p->closers, HTH_TC_CONTENT);
		} else if (!separator) {
			return p->in_section > 0 ? hth_tc_close(p, p->closers, HTH_TC_CONTENT) : hth_tc_fall_back(p, p->at);
		}
		p->at++;
	}
}

/* The decoded text of the JSON string at [from, to); false when it is none. Caller finishes out. */
static bool decode_string(const char *text, size_t from, size_t to, hth_buf *out)
{
	json_t *s = NULL;
	hth_error err = HTH_ERROR_INIT;
	bool ok = to > from && hth_json_parse(&s, text + from, to - from, &err) == HTH_OK && json_is_string(s) &&
		  hth_buf_append(out, json_string_value(s), json_string_length(s));
	json_decref(s);
	return ok;
}

static bool begin_named(tcp *p, const char *text, size_t from, size_t to)
{
	hth_buf name = HTH_BUF_INIT(256);
	bool ok = decode_string(text, from, to, &name) && name.len > 0 &&
		  (!p->bare || hth_tc_known_tool(p, name.data, name.len)) && hth_tc_begin(p, name.data, name.len, NULL, 0);
	hth_buf_finish(&name);
	return ok;
}

static bool is_json_object(const char *text, size_t len)
{
	json_t *o = NULL;
	hth_error err = HTH_ERROR_INIT;
	bool ok = hth_json_parse(&o, text, len, &err) == HTH_OK && json_is_object(o);
	json_decref(o);
	return ok;
}

/* The arguments at [from, to): an object, an object in a string, null, or nothing. *ret_text (to be finished) holds them. */
static bool whole_args(const char *text, size_t from, size_t to, hth_buf *ret_text)
{
	if (to == 0 || to - from == 4)
		return (to == 0 || memcmp(text + from, "null", 4) == 0) && hth_buf_append_str(ret_text, "{}");
	if (text[from] != '"')
		return is_json_object(text + from, to - from) && hth_buf_append(ret_text, text + from, to - from);
	return decode_string(text, from, to, ret_text) &&
	       (ret_text->len == 0 ? hth_buf_append_str(ret_text, "{}") : is_json_object(ret_text->data, ret_text->len));
}

/* A whole object that did not stream: arguments first, in a string, missing, or inside another object. */
static bool whole_call(tcp *p, const char *text, const hth_call_object *o, unsigned depth)
{
	hth_buf args = HTH_BUF_INIT(HTH_TOOLCALLS_HELD_MAX);
	bool ok = false;
	if (o->name_end != 0 && (o->args != 0 || !p->bare)) {
		ok = whole_args(text, o->args, o->args_end, &args) && begin_named(p, text, o->name, o->name_end);
		if (ok)
			hth_tc_args(p, args.data, args.len);
	} else if (o->inner != 0 && depth == 0) {
		hth_call_object inner = {0};
		hth_call_object_scan(&inner, text + o->inner, p->object.at - o->inner);
		ok = inner.phase == HTH_CALL_DONE && whole_call(p, text + o->inner, &inner, 1);
	} else if (o->name_end == 0 && o->members == 1 && !p->bare && text[o->value] == '{') {
		/* {"tool": {...}} */
		size_t end = o->value;
		hth_json_step step = {0};
		while (end < p->object.at && hth_json_step_byte(&step, text[end]) == HTH_STEP_MORE)
			end++;
		ok = is_json_object(text + o->value, end + 1 - o->value) && begin_named(p, text, o->first_key, o->first_key_end);
		if (ok)
			hth_tc_args(p, text + o->value, end + 1 - o->value);
	}
	hth_buf_finish(&args);
	return ok;
}

bool hth_tc_step_json_object(tcp *p)
{
	hth_call_object *o = &p->object;
	const char *text = p->text.data + p->object_at;
	size_t len = p->text.len - p->object_at;
	hth_call_object_scan(o, text, len);
	bool failed = o->phase == HTH_CALL_BAD;
	if (!p->started && !failed && o->name_end != 0 && o->args != 0 && text[o->args] == '{') {
		failed = !begin_named(p, text, o->name, o->name_end);
		p->sent = o->args;
	} else if (!p->started && p->bare && o->name_end != 0) {
		/* Somebody's own JSON that happens to have a name need not be held back to its end. */
		hth_buf name = HTH_BUF_INIT(256);
		failed = failed || !decode_string(text, o->name, o->name_end, &name) || !hth_tc_known_tool(p, name.data, name.len);
		hth_buf_finish(&name);
	}
	if (p->started) {
		size_t to = o->args_end != 0 ? o->args_end : o->at;
		if (to > p->sent) {
			hth_tc_args(p, text + p->sent, to - p->sent);
			p->sent = to;
		}
	}
	if (!failed && o->phase == HTH_CALL_DONE) {
		failed = !p->started && !whole_call(p, text, o, 0);
		if (!failed) {
			p->at = p->mark = p->object_at + o->at;
			p->started = false;
			p->state = HTH_TC_JSON_NEXT;
			return true;
		}
	}
	if (failed || p->ended) {
		if (p->started) {
			/* What follows the arguments (a missing brace) is lost on nobody; a broken argument's rest is content. */
			bool args_whole = o->args_end != 0;
			p->mark = p->object_at + (args_whole ? o->at : p->sent);
			if (p->ended && !failed) {
				p->at = p->mark = p->text.len;
				return hth_tc_close(p, NULL, HTH_TC_CONTENT);
			}
		}
		return hth_tc_fall_back(p, p->object_at + o->at);
	}
	return false;
}

/* --- one JSON object, the arguments of a call that has begun --- */

void hth_tc_stream_args(tcp *p, const char *const *closers, hth_tc_state next)
{
	p->mark = p->at;
	p->closers = closers;
	p->after_closing = next;
	p->step = (hth_json_step){0};
	p->args_begun = false;
	p->state = HTH_TC_ARGS;
}

bool hth_tc_step_args(tcp *p)
{
	if (!p->args_begun) {
		bool more = hth_tc_skip_space(p);
		if (!more && !p->ended)
			return false;
		if (!more || p->text.data[p->at] != '{') {
			size_t from = p->at;
			for (size_t i = 0; more && i < HTH_TC_CLOSERS_MAX && p->closers[i] != NULL; i++) {
				if (hth_tc_take(p, p->closers[i]) < 0 && !p->ended)
					return false;
				p->at = from;
			}
			hth_tc_args(p, "{}", 2); /* a call without arguments; what is here instead comes out by itself */
			p->mark = p->at;
			return hth_tc_close(p, p->closers, p->after_closing);
		}
		p->args_begun = true;
	}
	size_t from = p->at;
	hth_step_result result = HTH_STEP_MORE;
	while (p->at < p->text.len && result == HTH_STEP_MORE) {
		result = hth_json_step_byte(&p->step, p->text.data[p->at]);
		if (result != HTH_STEP_BAD)
			p->at++;
	}
	hth_tc_args(p, p->text.data + from, p->at - from);
	p->mark = p->at;
	if (result == HTH_STEP_DONE)
		return hth_tc_close(p, p->closers, p->after_closing);
	if (result == HTH_STEP_BAD)
		return hth_tc_fall_back(p, p->at);
	return false;
}

/* --- [TOOL_CALLS]name[CALL_ID]id[ARGS]{...} --- */

bool hth_tc_step_mistral(tcp *p)
{
	static const char *const none[] = {NULL};
	enum { HEAD_MAX = 300 };
	if (!hth_tc_skip_space(p))
		return false;
	char c = p->text.data[p->at];
	if (c == '[' || c == '{') {
		p->state = HTH_TC_JSON_NEXT;
		return true;
	}
	size_t args = hth_tc_find(p, p->at, "[ARGS]"), brace = hth_tc_find(p, p->at, "{");
	size_t end = HTH_MIN(args, brace);
	if (end == SIZE_MAX) {
		if (p->text.len - p->at > HEAD_MAX)
			return hth_tc_fall_back(p, p->text.len);
		return false;
	}
	size_t id = hth_tc_find(p, p->at, "[CALL_ID]"), name_end = id < end ? id : end;
	size_t id_from = id < end ? id + strlen("[CALL_ID]") : end;
	if (memchr(p->text.data + p->at, '\n', name_end - p->at) != NULL ||
	    !hth_tc_begin(p, p->text.data + p->at, name_end - p->at, p->text.data + id_from, end - id_from))
		return hth_tc_fall_back(p, end);
	p->at = args == end ? end + strlen("[ARGS]") : end;
	hth_tc_stream_args(p, none, HTH_TC_CONTENT);
	return true;
}

/* --- <｜tool▁call▁begin｜>function<｜tool▁sep｜>name\n```json\n{...}\n```<｜tool▁call▁end｜>, or name<｜tool▁sep｜>{...} --- */

bool hth_tc_step_deepseek(tcp *p)
{
	static const char *const ends[] = {"```", "<｜tool▁call▁end｜>", "<｜tool_call_end｜>", NULL};
	static const char *const all_end[] = {"<｜tool▁calls▁end｜>", "<｜tool_calls_end｜>", NULL};
	static const char *const begins[] = {"<｜tool▁call▁begin｜>", "<｜tool_call_begin｜>"};
	if (!hth_tc_skip_space(p))
		return p->ended && p->in_section > 0 ? hth_tc_close(p, NULL, HTH_TC_CONTENT) : false;
	size_t start = p->at;
	int taken = hth_tc_take(p, begins[0]);
	if (taken == 0)
		taken = hth_tc_take(p, begins[1]);
	if (taken < 0)
		return false;
	if (taken == 0)
		return p->in_section > 0 ? hth_tc_close(p, all_end, HTH_TC_CONTENT) : hth_tc_fall_back(p, p->at);
	size_t after = p->at;
	if (p->in_section > 0)
		p->mark = start;
	p->at = start; /* until the head is whole */
	size_t sep = hth_tc_find(p, after, "<｜tool▁sep｜>"), sep_len = strlen("<｜tool▁sep｜>");
	if (sep == SIZE_MAX) {
		sep = hth_tc_find(p, after, "<｜tool_sep｜>");
		sep_len = strlen("<｜tool_sep｜>");
	}
	if (sep == SIZE_MAX)
		return false;
	const char *name = p->text.data + after;
	size_t name_len = sep - after, at = sep + sep_len;
	if (name_len == 8 && memcmp(name, "function", 8) == 0) {
		size_t line = hth_tc_find(p, at, "\n");
		if (line == SIZE_MAX)
			return false;
		name = p->text.data + at;
		name_len = line - at;
		at = line + 1;
		size_t fence = hth_tc_find(p, at, "{");
		if (fence == SIZE_MAX)
			return false;
		at = fence;
	}
	if (!hth_tc_begin(p, name, name_len, NULL, 0))
		return hth_tc_fall_back(p, at);
	p->at = at;
	hth_tc_stream_args(p, ends, HTH_TC_DEEPSEEK);
	return true;
}

/* --- <|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{...}<|tool_call_end|> --- */

bool hth_tc_step_kimi(tcp *p)
{
	static const char *const ends[] = {"<|tool_call_end|>", NULL};
	static const char *const all_end[] = {"<|tool_calls_section_end|>", NULL};
	static const char args_mark[] = "<|tool_call_argument_begin|>";
	if (!hth_tc_skip_space(p))
		return p->ended && p->in_section > 0 ? hth_tc_close(p, NULL, HTH_TC_CONTENT) : false;
	size_t start = p->at;
	int taken = hth_tc_take(p, "<|tool_call_begin|>");
	if (taken < 0)
		return false;
	if (taken == 0)
		return p->in_section > 0 ? hth_tc_close(p, all_end, HTH_TC_CONTENT) : hth_tc_fall_back(p, p->at);
	size_t id = p->at;
	if (p->in_section > 0)
		p->mark = start;
	p->at = start;
	size_t end = hth_tc_find(p, id, args_mark);
	if (end == SIZE_MAX)
		return false;
	const char *s = p->text.data;
	size_t at = end + strlen(args_mark);
	while (id < end && s[id] == ' ')
		id++;
	while (end > id && (s[end - 1] == ' ' || s[end - 1] == '\n'))
		end--;
	size_t name = id, name_end = end;
	if (end - id > 10 && memcmp(s + id, "functions.", 10) == 0)
		name = id + 10;
	while (name_end > name && s[name_end - 1] >= '0' && s[name_end - 1] <= '9')
		name_end--;
	name_end = name_end > name && s[name_end - 1] == ':' ? name_end - 1 : end;
	if (!hth_tc_begin(p, s + name, name_end - name, s + id, end - id > 60 ? 0 : end - id))
		return hth_tc_fall_back(p, at);
	p->at = at;
	hth_tc_stream_args(p, ends, HTH_TC_KIMI);
	return true;
}

/* --- read whole: Gemma's and Python's --- */

static bool emit_call(tcp *p, const hth_buf *name, const hth_buf *args)
{
	if (!hth_tc_begin(p, name->data, name->len, NULL, 0))
		return false;
	hth_tc_args(p, args->data, args->len);
	return true;
}

/* Emits the calls in text; false when it is not wholly calls (nothing was emitted then). */
static bool whole_calls(tcp *p, const char *text, size_t len, bool gemma)
{
	bool ok = true;
	for (int pass = 0; pass < 2 && ok; pass++) { /* first look, then emit */
		size_t at = 0;
		while (at < len && strchr(" \n\t[", text[at]) != NULL && !gemma)
			at++;
		do {
			hth_buf name = HTH_BUF_INIT(256), args = HTH_BUF_INIT(HTH_TOOLCALLS_HELD_MAX);
			size_t n = gemma ? hth_gemma_call(text + at, len - at, &name, &args)
					 : hth_python_call(text + at, len - at, &name, &args);
			ok = n > 0 && (pass == 0 || emit_call(p, &name, &args));
			at += n;
			hth_buf_finish(&name);
			hth_buf_finish(&args);
			while (at < len && (text[at] == ' ' || text[at] == '\n'))
				at++;
		} while (ok && at < len && text[at] == ',' && ++at);
		while (at < len && strchr(" \n]", text[at]) != NULL)
			at++;
		ok = ok && at == len;
	}
	return ok;
}

bool hth_tc_step_whole(tcp *p)
{
	size_t from = p->at, end = hth_tc_find(p, from, p->closers[0]);
	bool closed = end != SIZE_MAX;
	if (!closed && !(p->ended && p->complete))
		return false;
	if (!closed)
		end = p->text.len;
	size_t after = closed ? end + strlen(p->closers[0]) : end;
	if (!whole_calls(p, p->text.data + from, end - from, p->style.format == HTH_TOOLCALLS_GEMMA))
		return hth_tc_fall_back(p, after);
	p->at = p->mark = after;
	return hth_tc_close(p, NULL, HTH_TC_CONTENT);
}

/* <|python_tag|>: JSON, name.call(k="v"), or a program for the interpreter, which only the answer's end ends. */
bool hth_tc_step_python_tag(tcp *p)
{
	static const char *const interpreters[] = {"python", "code_interpreter", "ipython"};
	if (!hth_tc_skip_space(p))
		return false;
	if (p->text.data[p->at] == '{') {
		p->state = HTH_TC_JSON_NEXT;
		return true;
	}
	if (!p->ended)
		return false;
	const char *code = p->text.data + p->at;
	size_t len = p->text.len - p->at;
	hth_buf name = HTH_BUF_INIT(256), args = HTH_BUF_INIT(HTH_TOOLCALLS_HELD_MAX);
	bool done = false;
	size_t n = hth_python_call(code, len, &name, &args);
	if (n == len && name.len > 5 && memcmp(name.data + name.len - 5, ".call", 5) == 0) {
		name.len -= 5;
		done = emit_call(p, &name, &args);
	}
	for (size_t i = 0; !done && p->options.tools != NULL && i < HTH_COUNT(interpreters); i++) {
		if (!hth_tc_known_tool(p, interpreters[i], strlen(interpreters[i])))
			continue;
		hth_buf_clear(&args);
		hth_buf_append_str(&args, "{\"code\": ");
		hth_json_write_string(code, len, &args);
		hth_buf_append_str(&args, "}");
		done = hth_tc_begin(p, interpreters[i], strlen(interpreters[i]), NULL, 0);
		if (done)
			hth_tc_args(p, args.data, args.len);
	}
	hth_buf_finish(&name);
	hth_buf_finish(&args);
	if (!done)
		return hth_tc_fall_back(p, p->text.len);
	p->at = p->mark = p->text.len;
	return hth_tc_close(p, NULL, HTH_TC_CONTENT);
}

/* --- functionary 3.2: name or "all", a line end, then arguments or content, up to the next >>> --- */

bool hth_tc_step_functionary_head(tcp *p)
{
	static const char *const none[] = {NULL};
	enum { NAME_MAX_BYTES = 100 };
	size_t line = hth_tc_find(p, p->at, "\n"), len;
	const char *rest = hth_tc_rest(p, &len);
	if (line == SIZE_MAX && len < NAME_MAX_BYTES && !p->ended)
		return false;
	if (len == 0)
		return false;
	if (line == SIZE_MAX || line - p->at >= NAME_MAX_BYTES)
		return hth_tc_fall_back(p, p->text.len);
	size_t n = line - p->at;
	if (n == 3 && memcmp(rest, "all", 3) == 0) {
		p->at = p->mark = line + 1;
		p->state = HTH_TC_CONTENT;
		return true;
	}
	bool name = n > 0 && p->options.calls && hth_tc_known_tool(p, rest, n);
	if (!name || !hth_tc_begin(p, rest, n, NULL, 0))
		return hth_tc_fall_back(p, line + 1);
	p->at = line + 1;
	hth_tc_stream_args(p, none, HTH_TC_CONTENT);
	return true;
}
