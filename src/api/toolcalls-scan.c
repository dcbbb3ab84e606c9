/* toolcalls-scan.c - the notations inside a tool call: JSON as it arrives, Python calls, Gemma's own.
 *
 * Nothing here keeps text: the scanners remember offsets and a few bits, so that what streams in may be passed on at once.
 */
#include "api/toolcalls-scan.h"

#include <ctype.h>
#include <string.h>

enum { S_VALUE, S_FIRST_ITEM, S_KEY_OR_END, S_KEY, S_COLON, S_AFTER, S_STRING, S_ESCAPE, S_HEX, S_NUMBER, S_WORD, S_ENDED };
enum { IN_KEY = 0x80, DEPTH_MAX = 60 };

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* A value has ended: at depth 0 the whole one. */
static hth_step_result ended(hth_json_step *s, hth_step_result outermost)
{
	s->state = s->depth == 0 ? S_ENDED : S_AFTER;
	return s->depth == 0 ? outermost : HTH_STEP_MORE;
}

static hth_step_result begin_value(hth_json_step *s, char c)
{
	if (c == '{' || c == '[') {
		if (s->depth >= DEPTH_MAX)
			return HTH_STEP_BAD;
		s->objects = (s->objects & ~(UINT64_C(1) << s->depth)) | (uint64_t)(c == '{') << s->depth;
		s->depth++;
		s->state = c == '{' ? S_KEY_OR_END : S_FIRST_ITEM;
	} else if (c == '"') {
		s->state = S_STRING;
	} else if (c == '-' || (c >= '0' && c <= '9')) {
		s->state = S_NUMBER;
		s->number = c;
	} else if (c == 't' || c == 'f' || c == 'n') {
		s->state = S_WORD;
		s->word = c == 't' ? "rue" : c == 'f' ? "alse" : "ull";
	} else {
		return HTH_STEP_BAD;
	}
	return HTH_STEP_MORE;
}

static hth_step_result close_bracket(hth_json_step *s, char c)
{
	bool object = s->objects >> (s->depth - 1) & 1;
	if (c != (object ? '}' : ']'))
		return HTH_STEP_BAD;
	s->depth--;
	return ended(s, HTH_STEP_DONE);
}

static hth_step_result after_value(hth_json_step *s, char c)
{
	if (is_space(c))
		return HTH_STEP_MORE;
	if (c == ',') {
		s->state = s->objects >> (s->depth - 1) & 1 ? S_KEY : S_VALUE;
		return HTH_STEP_MORE;
	}
	return close_bracket(s, c);
}

static hth_step_result in_string(hth_json_step *s, char c)
{
	bool key = s->state & IN_KEY;
	if (c == '\\') {
		s->state = (uint8_t)(S_ESCAPE | (key ? IN_KEY : 0));
		return HTH_STEP_MORE;
	}
	if (c != '"')
		return (unsigned char)c < 0x20 ? HTH_STEP_BAD : HTH_STEP_MORE;
	if (key) {
		s->state = S_COLON;
		return HTH_STEP_MORE;
	}
	return ended(s, HTH_STEP_DONE);
}

hth_step_result hth_json_step_byte(hth_json_step *s, char c)
{
	uint8_t key = s->state & IN_KEY;
	switch (s->state & ~IN_KEY) {
	case S_VALUE:
		return is_space(c) ? HTH_STEP_MORE : begin_value(s, c);
	case S_FIRST_ITEM:
		if (is_space(c))
			return HTH_STEP_MORE;
		return c == ']' ? close_bracket(s, c) : begin_value(s, c);
	case S_KEY_OR_END:
		if (c == '}')
			return close_bracket(s, c);
		/* fall through */
	case S_KEY:
		if (c == '"')
			s->state = S_STRING | IN_KEY;
		return c == '"' || is_space(c) ? HTH_STEP_MORE : HTH_STEP_BAD;
	case S_COLON:
		if (c == ':')
			s->state = S_VALUE;
		return c == ':' || is_space(c) ? HTH_STEP_MORE : HTH_STEP_BAD;
	case S_AFTER:
		return after_value(s, c);
	case S_STRING:
		return in_string(s, c);
	case S_ESCAPE:
		s->hex = 0;
		s->state = (uint8_t)((c == 'u' ? S_HEX : S_STRING) | key);
		return c != '\0' && strchr("\"\\/bfnrtu", c) != NULL ? HTH_STEP_MORE : HTH_STEP_BAD;
	case S_HEX:
		if (++s->hex == 4)
			s->state = (uint8_t)(S_STRING | key);
		return isxdigit((unsigned char)c) ? HTH_STEP_MORE : HTH_STEP_BAD;
	case S_NUMBER:
		if (c != '\0' && strchr("0123456789.eE+-", c) != NULL) {
			s->number = c;
			return HTH_STEP_MORE;
		}
		if (s->number < '0' || s->number > '9')
			return HTH_STEP_BAD;
		if (ended(s, HTH_STEP_BEFORE) == HTH_STEP_BEFORE)
			return HTH_STEP_BEFORE;
		return after_value(s, c);
	case S_WORD:
		if (c != *s->word)
			return HTH_STEP_BAD;
		s->word++;
		return *s->word == '\0' ? ended(s, HTH_STEP_DONE) : HTH_STEP_MORE;
	default:
		return HTH_STEP_BAD;
	}
}

/* --- {"name": ..., "arguments": ...} --- */

static bool key_is(const hth_call_object *o, const char *text, const char *const *names)
{
	size_t n = o->key_end - o->key - 2;
	for (; *names != NULL; names++)
		if (strlen(*names) == n && memcmp(text + o->key + 1, *names, n) == 0)
			return true;
	return false;
}

static const char *const name_keys[] = {"name", "tool_name", "function", "tool", NULL};
static const char *const args_keys[] = {"arguments", "parameters", "args", "input", NULL};
static const char *const inner_keys[] = {"function", "tool_call", NULL};

static void value_begins(hth_call_object *o, const char *text)
{
	char c = text[o->value];
	if (key_is(o, text, args_keys) && o->args == 0)
		o->args = o->value;
	else if (key_is(o, text, inner_keys) && c == '{' && o->inner == 0)
		o->inner = o->value;
}

static void value_ends(hth_call_object *o, const char *text, size_t end)
{
	if (o->args == o->value && o->args_end == 0)
		o->args_end = end;
	else if (key_is(o, text, name_keys) && text[o->value] == '"' && o->name_end == 0) {
		o->name = o->value;
		o->name_end = end;
	}
	if (o->members == 0) {
		o->first_key = o->key;
		o->first_key_end = o->key_end;
	}
	o->members++;
	o->phase = HTH_CALL_AFTER;
}

void hth_call_object_scan(hth_call_object *o, const char *text, size_t len)
{
	while (o->at < len && o->phase != HTH_CALL_DONE && o->phase != HTH_CALL_BAD) {
		char c = text[o->at];
		switch (o->phase) {
		case HTH_CALL_START:
			o->phase = c == '{' ? HTH_CALL_KEY : HTH_CALL_BAD;
			break;
		case HTH_CALL_KEY:
			if (c == '"') {
				o->key = o->at;
				o->step = (hth_json_step){0};
				hth_json_step_byte(&o->step, c);
				o->phase = HTH_CALL_IN_KEY;
			} else if (c == '}' && o->members == 0) {
				o->phase = HTH_CALL_DONE;
			} else if (!is_space(c)) {
				o->phase = HTH_CALL_BAD;
			}
			break;
		case HTH_CALL_IN_KEY: {
			hth_step_result result = hth_json_step_byte(&o->step, c);
			if (result == HTH_STEP_DONE) {
				o->key_end = o->at + 1;
				o->phase = HTH_CALL_COLON;
			} else if (result == HTH_STEP_BAD) {
				o->phase = HTH_CALL_BAD;
			}
			break;
		}
		case HTH_CALL_COLON:
			if (c == ':') {
				o->phase = HTH_CALL_VALUE;
				o->value = 0;
				o->step = (hth_json_step){0};
			} else if (!is_space(c)) {
				o->phase = HTH_CALL_BAD;
			}
			break;
		case HTH_CALL_VALUE: {
			if (o->value == 0) {
				if (is_space(c))
					break;
				o->value = o->at;
				value_begins(o, text);
			}
			hth_step_result result = hth_json_step_byte(&o->step, c);
			if (result == HTH_STEP_DONE)
				value_ends(o, text, o->at + 1);
			else if (result == HTH_STEP_BEFORE)
				value_ends(o, text, o->at--); /* read this byte again, after the value */
			else if (result == HTH_STEP_BAD)
				o->phase = HTH_CALL_BAD;
			break;
		}
		case HTH_CALL_AFTER:
			if (c == ',')
				o->phase = HTH_CALL_KEY;
			else if (c == '}')
				o->phase = HTH_CALL_DONE;
			else if (!is_space(c))
				o->phase = HTH_CALL_BAD;
			break;
		default:
			return;
		}
		if (o->phase != HTH_CALL_BAD)
			o->at++;
	}
}

/* --- Python: f(a=1, b="x", c=[True, None]) --- */

typedef struct reader {
	const char *s;
	size_t len, at;
	unsigned depth;
} reader;

static void skip_space(reader *r)
{
	while (r->at < r->len && is_space(r->s[r->at]))
		r->at++;
}

static bool take(reader *r, char c)
{
	skip_space(r);
	if (r->at >= r->len || r->s[r->at] != c)
		return false;
	r->at++;
	return true;
}

static size_t identifier(const reader *r, bool dots)
{
	size_t n = 0;
	while (r->at + n < r->len && (isalnum((unsigned char)r->s[r->at + n]) || r->s[r->at + n] == '_' || r->s[r->at + n] == '-' ||
				      (dots && r->s[r->at + n] == '.') || (unsigned char)r->s[r->at + n] >= 0x80))
		n++;
	return n;
}

static bool python_string(reader *r, hth_buf *out)
{
	char quote = r->s[r->at++];
	hth_buf text = HTH_BUF_INIT(out->max);
	bool closed = false;
	while (r->at < r->len && !closed) {
		char c = r->s[r->at++];
		if (c == quote) {
			closed = true;
		} else if (c == '\\' && r->at < r->len) {
			char e = r->s[r->at++];
			const char *known = strchr("ntr0", e);
			hth_buf_append_char(&text, e == '\n' ? ' ' : known && e ? "\n\t\r\0"[known - "ntr0"] : e);
		} else {
			hth_buf_append_char(&text, c);
		}
	}
	if (closed)
		hth_json_write_string(text.data ? text.data : "", text.len, out);
	hth_buf_finish(&text);
	return closed;
}

static bool word_is(const reader *r, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(r->s + r->at, word, n) == 0;
}

static bool scalar(reader *r, hth_buf *out)
{
	size_t n = 0;
	while (r->at + n < r->len && (isalnum((unsigned char)r->s[r->at + n]) || strchr("+-._", r->s[r->at + n]) != NULL) &&
	       r->s[r->at + n] != '\0')
		n++;
	const char *as = NULL;
	if (word_is(r, n, "True") || word_is(r, n, "true"))
		as = "true";
	else if (word_is(r, n, "False") || word_is(r, n, "false"))
		as = "false";
	else if (word_is(r, n, "None") || word_is(r, n, "null"))
		as = "null";
	if (as != NULL) {
		hth_buf_append_str(out, as);
	} else {
		json_t *number = NULL;
		hth_error err = HTH_ERROR_INIT;
		bool ok = n > 0 && hth_json_parse(&number, r->s + r->at, n, &err) == HTH_OK && json_is_number(number);
		json_decref(number);
		if (!ok)
			return false;
		hth_buf_append(out, r->s + r->at, n);
	}
	r->at += n;
	return true;
}

static bool python_value(reader *r, hth_buf *out)
{
	skip_space(r);
	if (r->at >= r->len)
		return false;
	char c = r->s[r->at];
	if (c == '"' || c == '\'')
		return python_string(r, out);
	if (c != '[' && c != '{' && c != '(')
		return scalar(r, out);
	char close = c == '{' ? '}' : c == '[' ? ']' : ')';
	if (++r->depth > DEPTH_MAX)
		return false;
	r->at++;
	hth_buf_append_char(out, c == '{' ? '{' : '[');
	for (bool first = true; !take(r, close); first = false) {
		if (!first && !take(r, ','))
			return false;
		if (!first) {
			if (take(r, close))
				break;
			hth_buf_append_str(out, ", ");
		}
		if (!python_value(r, out))
			return false;
		if (c == '{') {
			hth_buf_append_str(out, ": ");
			if (!take(r, ':') || !python_value(r, out))
				return false;
		}
	}
	r->depth--;
	return hth_buf_append_char(out, c == '{' ? '}' : ']');
}

size_t hth_python_call(const char *text, size_t len, hth_buf *name, hth_buf *args)
{
	reader r = {.s = text, .len = len};
	skip_space(&r);
	size_t n = identifier(&r, true);
	if (n == 0)
		return 0;
	hth_buf_append(name, text + r.at, n);
	r.at += n;
	if (!take(&r, '('))
		return 0;
	hth_buf_append_char(args, '{');
	for (bool first = true; !take(&r, ')'); first = false) {
		if (!first && !take(&r, ','))
			return 0;
		skip_space(&r);
		n = identifier(&r, false);
		if (n == 0)
			return 0;
		if (!first)
			hth_buf_append_str(args, ", ");
		hth_json_write_string(text + r.at, n, args);
		hth_buf_append_str(args, ": ");
		r.at += n;
		if (!take(&r, '=') || !python_value(&r, args))
			return 0;
	}
	hth_buf_append_char(args, '}');
	return args->failed || name->failed ? 0 : r.at;
}

/* --- Gemma 4: call:f{k:<|"|>text<|"|>,n:[1,2],o:{a:true}} --- */

static const char gemma_quote[] = "<|\"|>";

static bool gemma_object(reader *r, hth_buf *out);

static bool gemma_value(reader *r, hth_buf *out)
{
	size_t q = sizeof gemma_quote - 1;
	skip_space(r);
	if (r->at >= r->len)
		return false;
	if (r->len - r->at >= q && memcmp(r->s + r->at, gemma_quote, q) == 0) {
		const char *from = r->s + r->at + q;
		const char *to = memmem(from, r->len - r->at - q, gemma_quote, q);
		if (to == NULL)
			return false;
		r->at = (size_t)(to - r->s) + q;
		return hth_json_write_string(from, (size_t)(to - from), out);
	}
	if (r->s[r->at] == '{')
		return gemma_object(r, out);
	if (r->s[r->at] == '"')
		return python_string(r, out);
	if (r->s[r->at] != '[')
		return scalar(r, out);
	if (++r->depth > DEPTH_MAX)
		return false;
	r->at++;
	hth_buf_append_char(out, '[');
	for (bool first = true; !take(r, ']'); first = false) {
		if (!first && !take(r, ','))
			return false;
		if (!first)
			hth_buf_append_str(out, ", ");
		if (!gemma_value(r, out))
			return false;
	}
	r->depth--;
	return hth_buf_append_char(out, ']');
}

static bool gemma_object(reader *r, hth_buf *out)
{
	size_t q = sizeof gemma_quote - 1;
	if (!take(r, '{') || ++r->depth > DEPTH_MAX)
		return false;
	hth_buf_append_char(out, '{');
	for (bool first = true; !take(r, '}'); first = false) {
		if (!first && !take(r, ','))
			return false;
		if (!first)
			hth_buf_append_str(out, ", ");
		skip_space(r);
		if (r->len - r->at >= q && memcmp(r->s + r->at, gemma_quote, q) == 0) {
			if (!gemma_value(r, out))
				return false;
		} else {
			size_t n = identifier(r, true);
			if (n == 0)
				return false;
			hth_json_write_string(r->s + r->at, n, out);
			r->at += n;
		}
		hth_buf_append_str(out, ": ");
		if (!take(r, ':') || !gemma_value(r, out))
			return false;
	}
	r->depth--;
	return hth_buf_append_char(out, '}');
}

size_t hth_gemma_call(const char *text, size_t len, hth_buf *name, hth_buf *args)
{
	reader r = {.s = text, .len = len};
	skip_space(&r);
	if (len - r.at < 5 || memcmp(text + r.at, "call:", 5) != 0)
		return 0;
	r.at += 5;
	size_t n = identifier(&r, true);
	if (n == 0)
		return 0;
	hth_buf_append(name, text + r.at, n);
	r.at += n;
	return gemma_object(&r, args) && !args->failed && !name->failed ? r.at : 0;
}
