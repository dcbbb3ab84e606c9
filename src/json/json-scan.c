/* json-scan.c - is this JSON, and if not, where does it stop being JSON?
 *
 * jansson recurses to a fixed depth of 2048 and its messages quote the text near the error, which here may be somebody's
 * private words. So every text passes this scanner first: one loop, no recursion, a bit per open bracket, messages that
 * give a place and never a quote. It owns the grammar (RFC 8259), UTF-8 validity and the depth limit; it keeps nothing.
 * Runs on whichever thread parses.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "json/scan.h"

#include <stdint.h>
#include <stdio.h>

typedef struct scanner {
	const char *text;
	size_t len, at;
	size_t big_ints;
	hth_error *err;
} scanner;

void hth_json_place(const char *text, size_t at, size_t *ret_line, size_t *ret_column)
{
	size_t line = 1, column = 1;
	for (size_t i = 0; i < at; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '\n') {
			line++;
			column = 1;
		} else if ((c & 0xC0) != 0x80) {
			column++;
		}
	}
	*ret_line = line;
	*ret_column = column;
}

static hth_status fail_at(scanner *s, hth_status status, size_t at, const char *what)
{
	size_t line, column;
	hth_json_place(s->text, at, &line, &column);
	return hth_fail(s->err, status, "line %zu, column %zu: %s", line, column, what);
}

static hth_status fail(scanner *s, const char *what)
{
	return fail_at(s, HTH_INVALID, s->at, s->at >= s->len ? "the JSON text ends too early" : what);
}

static hth_status fail_deep(scanner *s, unsigned max_depth)
{
	char what[64];
	snprintf(what, sizeof what, "nested deeper than %u levels", max_depth);
	return fail_at(s, HTH_INVALID, s->at, what);
}

static void skip_space(scanner *s)
{
	while (s->at < s->len) {
		char c = s->text[s->at];
		if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
			break;
		s->at++;
	}
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool hex4(const char *p, uint32_t *ret)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		if (is_digit(c))
			v = v << 4 | (uint32_t)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v << 4 | (uint32_t)((c | 32) - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

static hth_status scan_escape(scanner *s)
{
	size_t start = s->at++;
	if (s->at >= s->len)
		return fail(s, "");
	char c = s->text[s->at++];
	if (c != 'u') {
		if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
			return fail_at(s, HTH_INVALID, start, "unknown escape in a string");
		return HTH_OK;
	}
	uint32_t high, low;
	if (s->len - s->at < 4) {
		s->at = s->len;
		return fail(s, "");
	}
	if (!hex4(s->text + s->at, &high))
		return fail_at(s, HTH_INVALID, start, "\\u needs four hexadecimal digits");
	s->at += 4;
	if (high == 0)
		return fail_at(s, HTH_INVALID, start, "the character U+0000 is not allowed in a string");
	if (high >= 0xD800 && high <= 0xDFFF) {
		bool pair = high < 0xDC00 && s->len - s->at >= 6 && s->text[s->at] == '\\' && s->text[s->at + 1] == 'u' &&
			    hex4(s->text + s->at + 2, &low) && low >= 0xDC00 && low <= 0xDFFF;
		if (!pair)
			return fail_at(s, HTH_INVALID, start, "half of a UTF-16 surrogate pair in a string");
		s->at += 6;
	}
	return HTH_OK;
}

static hth_status scan_string(scanner *s)
{
	s->at++;
	while (s->at < s->len) {
		unsigned char c = (unsigned char)s->text[s->at];
		if (c == '"') {
			s->at++;
			return HTH_OK;
		}
		if (c == '\\') {
			HTH_TRY(scan_escape(s));
		} else if (c < 0x20) {
			return fail(s, "a control character in a string must be escaped");
		} else if (c < 0x80) {
			s->at++;
		} else {
			uint32_t cp;
			size_t n = hth_utf8_decode(s->text + s->at, s->len - s->at, &cp);
			if (n == 0)
				return fail_at(s, HTH_INVALID, s->at, "invalid UTF-8 in a string");
			s->at += n;
		}
	}
	return fail(s, "");
}

size_t hth_json_number_len(const char *text, size_t len)
{
	size_t i = 0;
	while (i < len && (is_digit(text[i]) || text[i] == '-' || text[i] == '+' || text[i] == '.' ||
			   (text[i] | 32) == 'e'))
		i++;
	return i;
}

bool hth_json_is_big_int(const char *text, size_t len)
{
	bool negative = len > 0 && text[0] == '-';
	uint64_t limit = (uint64_t)INT64_MAX + negative, v = 0;
	for (size_t i = negative; i < len; i++) {
		if (!is_digit(text[i]))
			return false;
		uint64_t digit = (uint64_t)(text[i] - '0');
		if (v > (limit - digit) / 10) {
			/* Too large unless a fraction or an exponent follows and makes it a real. */
			while (i < len && is_digit(text[i]))
				i++;
			return i == len;
		}
		v = v * 10 + digit;
	}
	return false;
}

static hth_status scan_number(scanner *s)
{
	size_t start = s->at;
	const char *t = s->text;
	if (t[s->at] == '-')
		s->at++;
	if (s->at >= s->len || !is_digit(t[s->at]))
		return fail(s, "a number needs a digit here");
	if (t[s->at] == '0' && s->at + 1 < s->len && is_digit(t[s->at + 1]))
		return fail_at(s, HTH_INVALID, start, "a number may not begin with 0");
	while (s->at < s->len && is_digit(t[s->at]))
		s->at++;
	if (s->at < s->len && t[s->at] == '.') {
		s->at++;
		if (s->at >= s->len || !is_digit(t[s->at]))
			return fail(s, "a number needs a digit here");
		while (s->at < s->len && is_digit(t[s->at]))
			s->at++;
	}
	if (s->at < s->len && (t[s->at] | 32) == 'e') {
		s->at++;
		if (s->at < s->len && (t[s->at] == '+' || t[s->at] == '-'))
			s->at++;
		if (s->at >= s->len || !is_digit(t[s->at]))
			return fail(s, "a number needs a digit here");
		while (s->at < s->len && is_digit(t[s->at]))
			s->at++;
	}
	s->big_ints += hth_json_is_big_int(t + start, s->at - start);
	return HTH_OK;
}

static hth_status scan_word(scanner *s, const char *word)
{
	size_t n = strlen(word);
	if (s->len - s->at < n || memcmp(s->text + s->at, word, n) != 0)
		return fail(s, "expected a JSON value");
	s->at += n;
	return HTH_OK;
}

/* A value that holds no other. */
static hth_status scan_scalar(scanner *s)
{
	switch (s->at < s->len ? s->text[s->at] : '\0') {
	case '"':
		return scan_string(s);
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	case 'n':
		return scan_word(s, "null");
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		return scan_number(s);
	default:
		return fail(s, "expected a JSON value");
	}
}

static hth_status scan_key(scanner *s)
{
	if (s->at >= s->len || s->text[s->at] != '"')
		return fail(s, "expected a key in double quotes");
	HTH_TRY(scan_string(s));
	skip_space(s);
	if (s->at >= s->len || s->text[s->at] != ':')
		return fail(s, "expected ':' after a key");
	s->at++;
	skip_space(s);
	return HTH_OK;
}

hth_status hth_json_scan(const char *text, size_t len, unsigned max_depth, size_t *ret_big_ints, hth_error *err)
{
	scanner s = {.text = text, .len = len, .err = err};
	uint64_t is_object = 0; /* bit d: the bracket at depth d is '{'; so max_depth is at most 64 */
	unsigned depth = 0;
	skip_space(&s);
	for (;;) {
		/* Here a value begins. */
		char c = s.at < len ? text[s.at] : '\0';
		if (c == '{' || c == '[') {
			if (depth == max_depth)
				return fail_deep(&s, max_depth);
			is_object = (is_object & ~(UINT64_C(1) << depth)) | (uint64_t)(c == '{') << depth;
			depth++;
			s.at++;
			skip_space(&s);
			bool closes = s.at < len && text[s.at] == (c == '{' ? '}' : ']');
			if (!closes) {
				if (c == '{')
					HTH_TRY(scan_key(&s));
				continue;
			}
			s.at++;
			depth--;
		} else {
			HTH_TRY(scan_scalar(&s));
		}
		/* Here a value has ended: close brackets, or go on to the next member. */
		for (;;) {
			skip_space(&s);
			if (depth == 0) {
				if (s.at < len)
					return fail(&s, "there is more after the end of the JSON value");
				*ret_big_ints = s.big_ints;
				return HTH_OK;
			}
			bool object = is_object >> (depth - 1) & 1;
			char d = s.at < len ? text[s.at] : '\0';
			if (d == ',') {
				s.at++;
				skip_space(&s);
				if (object)
					HTH_TRY(scan_key(&s));
				break;
			}
			if (d != (object ? '}' : ']'))
				return fail(&s, object ? "expected ',' or '}'" : "expected ',' or ']'");
			s.at++;
			depth--;
		}
	}
}
