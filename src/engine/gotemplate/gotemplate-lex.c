/* gotemplate-lex.c - the source of a Go template as tokens: text between actions, words within them.
 *
 * White space inside an action counts (".A .B" are two words, ".A.B" is one), so it is a token. A trim marker belongs to the text beside
 * it: the text's end is known when the next action is seen, its beginning when the last one closed. Keeps no state but the place; refuses
 * what Go's scanner refuses. Source: https://pkg.go.dev/text/template, https://go.dev/ref/spec for strings and numbers.
 */
#include "engine/gotemplate/gotemplate-ast.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char white[] = " \t\r\n";

void *hth_gt_syntax(hth_error *err, uint32_t line, const char *fmt, ...)
{
	char what[HTH_ERROR_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	hth_fail(err, HTH_INVALID, "line %u: %s", line, what);
	return NULL;
}

static bool full(gt_lexer *lx)
{
	hth_fail(lx->err, HTH_TOO_LARGE, "line %u: the template is too large", lx->line);
	return false;
}

static bool starts(const gt_lexer *lx, size_t at, const char *with)
{
	size_t n = strlen(with);
	return lx->len - at >= n && memcmp(lx->text + at, with, n) == 0;
}

static bool is_white(char c) { return c != '\0' && strchr(white, c) != NULL; }

static void pass(gt_lexer *lx, size_t to)
{
	for (; lx->at < to; lx->at++)
		lx->line += lx->text[lx->at] == '\n';
}

static void take(gt_lexer *lx, gt_token *t, gt_token_kind kind, size_t len)
{
	*t = (gt_token){.kind = kind, .line = lx->line, .at = lx->text + lx->at, .len = len};
	pass(lx, lx->at + len);
}

/* Whether "-" at this place is a trim marker, that is with white space on its inner side. */
static bool trims_before(const gt_lexer *lx, size_t at) { return at + 1 < lx->len && lx->text[at] == '-' && is_white(lx->text[at + 1]); }
static bool trims_after(const gt_lexer *lx, size_t at) { return at < lx->len && is_white(lx->text[at]) && starts(lx, at + 1, "-}}"); }

/* After "{{" (and its marker): past the comment's "}}". */
static bool skip_comment(gt_lexer *lx)
{
	const char *end = memmem(lx->text + lx->at, lx->len - lx->at, "*/", 2);
	if (end == NULL)
		return hth_gt_syntax(lx->err, lx->line, "a comment is not closed") != NULL;
	pass(lx, (size_t)(end - lx->text) + 2);
	lx->trim_left = trims_after(lx, lx->at);
	if (lx->trim_left)
		pass(lx, lx->at + 2);
	if (!starts(lx, lx->at, "}}"))
		return hth_gt_syntax(lx->err, lx->line, "a comment must be all that is between {{ and }}") != NULL;
	pass(lx, lx->at + 2);
	return true;
}

/* Text up to the next action; none of it: the action's beginning. */
static bool lex_text(gt_lexer *lx, gt_token *t)
{
	for (;;) {
		if (lx->trim_left)
			pass(lx, lx->at + strspn(lx->text + lx->at, white));
		lx->trim_left = false;
		const char *left = memmem(lx->text + lx->at, lx->len - lx->at, "{{", 2);
		size_t to = left != NULL ? (size_t)(left - lx->text) : lx->len, end = to;
		if (left != NULL && trims_before(lx, to + 2))
			while (end > lx->at && is_white(lx->text[end - 1]))
				end--;
		if (end > lx->at) {
			take(lx, t, GT_TEXT, end - lx->at);
			return true;
		}
		pass(lx, to);
		if (left == NULL) {
			take(lx, t, GT_END, 0);
			return true;
		}
		size_t inner = to + 2 + (trims_before(lx, to + 2) ? 2 : 0);
		if (!starts(lx, inner, "/*")) {
			take(lx, t, GT_LEFT, inner - to);
			lx->inside = true;
			lx->parens = 0;
			return true;
		}
		pass(lx, inner);
		if (!skip_comment(lx))
			return false;
	}
}

static bool is_name(char c) { return c == '_' || isalnum((unsigned char)c) || (unsigned char)c >= 0x80; }

static size_t name_len(const gt_lexer *lx, size_t at)
{
	size_t n = 0;
	while (at + n < lx->len && is_name(lx->text[at + n]))
		n++;
	return n;
}

/* A name ends where something else begins that may follow one. */
static bool ends_well(gt_lexer *lx, const gt_token *t)
{
	char c = lx->at < lx->len ? lx->text[lx->at] : ' ';
	if (is_white(c) || strchr(".,|:=()", c) != NULL || starts(lx, lx->at, "}}"))
		return true;
	return hth_gt_syntax(lx->err, t->line, "there is a strange character after %.*s", (int)HTH_MIN(t->len, (size_t)60), t->at) != NULL;
}

static int hex_digits(const char *s, size_t n, uint32_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isxdigit((unsigned char)s[i]))
			return 0;
		*ret = *ret * 16 + (uint32_t)(isdigit((unsigned char)s[i]) ? s[i] - '0' : tolower((unsigned char)s[i]) - 'a' + 10);
	}
	return 1;
}

/* One character of a quoted string at s, after its backslash. Bytes read, 0: bad. byte: it stands for a byte and not for a character. */
static size_t read_escape(const char *s, size_t len, char quote, uint32_t *ret, bool *byte)
{
	static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	*byte = false;
	if (len == 0)
		return 0;
	const char *known = s[0] != '\0' ? strchr(names, s[0]) : NULL;
	if (known != NULL || s[0] == quote) {
		*ret = known != NULL ? (unsigned char)values[known - names] : (unsigned char)quote;
		return 1;
	}
	size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
	if (digits > 0) {
		*byte = digits == 2;
		return len > digits && hex_digits(s + 1, digits, ret) &&
		    (*byte || (*ret <= 0x10FFFF && (*ret < 0xD800 || *ret > 0xDFFF))) ? digits + 1 : 0;
	}
	*byte = true;
	*ret = 0;
	for (size_t i = 0; i < 3; i++) {
		if (i >= len || s[i] < '0' || s[i] > '7')
			return 0;
		*ret = *ret * 8 + (uint32_t)(s[i] - '0');
	}
	return *ret <= 255 ? 3 : 0;
}

static bool lex_quoted(gt_lexer *lx, gt_token *t)
{
	const char *s = lx->text + lx->at + 1;
	size_t len = lx->len - lx->at - 1, i = 0;
	jj_builder b = hth_jj_builder(lx->arena);
	while (i < len && s[i] != '"' && s[i] != '\n') {
		if (s[i] != '\\') {
			hth_jj_put(&b, s + i++, 1, false);
			continue;
		}
		uint32_t cp;
		bool byte;
		size_t n = read_escape(s + i + 1, len - i - 1, '"', &cp, &byte);
		if (n == 0)
			return hth_gt_syntax(lx->err, lx->line, "a string has an escape that Go does not know") != NULL;
		if (byte)
			hth_jj_put(&b, &(char){(char)cp}, 1, false);
		else
			hth_jj_put_cp(&b, cp, false);
		i += n + 1;
	}
	if (i >= len || s[i] != '"')
		return hth_gt_syntax(lx->err, lx->line, "a quoted string is not closed on its line") != NULL;
	jv *value = hth_jj_done(&b);
	take(lx, t, GT_STRING, i + 2);
	t->value = value;
	return value != NULL || full(lx);
}

static bool lex_raw(gt_lexer *lx, gt_token *t)
{
	const char *s = lx->text + lx->at + 1, *end = memchr(s, '`', lx->len - lx->at - 1);
	if (end == NULL)
		return hth_gt_syntax(lx->err, lx->line, "a raw string (in backquotes) is not closed") != NULL;
	jj_builder b = hth_jj_builder(lx->arena);
	for (const char *p = s; p < end; p++)
		if (*p != '\r') /* as Go has it */
			hth_jj_put(&b, p, 1, false);
	take(lx, t, GT_STRING, (size_t)(end - s) + 2);
	t->value = hth_jj_done(&b);
	return t->value != NULL || full(lx);
}

static bool lex_character(gt_lexer *lx, gt_token *t)
{
	const char *s = lx->text + lx->at + 1;
	size_t len = lx->len - lx->at - 1, n;
	uint32_t cp = 0;
	bool byte;
	if (len > 0 && s[0] == '\\') {
		n = read_escape(s + 1, len - 1, '\'', &cp, &byte);
		n += n > 0;
	} else {
		n = len > 0 && s[0] != '\'' && s[0] != '\n' ? hth_utf8_decode(s, len, &cp) : 0;
	}
	if (n == 0 || n >= len || s[n] != '\'')
		return hth_gt_syntax(lx->err, lx->line, "a character constant must be one character in single quotes") != NULL;
	take(lx, t, GT_INT, n + 2);
	t->value = hth_jinja_int(lx->arena, cp);
	return t->value != NULL || full(lx);
}

/* Go's constants: decimal, 0x, 0o, 0b, _ between digits, fractions, exponents. */
static bool lex_number(gt_lexer *lx, gt_token *t)
{
	char digits[80];
	size_t at = lx->at, n = 0, len = 0;
	bool is_float = false, negative = lx->text[at] == '-';
	if (lx->text[at] == '-' || lx->text[at] == '+')
		len++;
	int base = 10;
	if (at + len + 1 < lx->len && lx->text[at + len] == '0') {
		char p = (char)tolower((unsigned char)lx->text[at + len + 1]);
		base = p == 'x' ? 16 : p == 'o' ? 8 : p == 'b' ? 2 : isdigit((unsigned char)p) ? 8 : 10;
		len += p == 'x' || p == 'o' || p == 'b' ? 2 : 0;
	}
	for (; at + len < lx->len; len++) {
		char c = lx->text[at + len];
		bool exponent = base != 16 && (c == 'e' || c == 'E'), after_exponent = n > 0 &&
		    (digits[n - 1] == 'e' || digits[n - 1] == 'E') && base != 16;
		if (c == '_')
			continue;
		if (!isalnum((unsigned char)c) && c != '.' && !(after_exponent && (c == '-' || c == '+')))
			break;
		is_float |= c == '.' || exponent;
		if (n == sizeof digits - 1)
			break;
		digits[n++] = c;
	}
	digits[n] = '\0';
	char *end = digits;
	errno = 0;
	jv *value = NULL;
	if (is_float && base != 16 && base != 2) {
		double f = strtod(digits, &end);
		value = hth_jinja_float(lx->arena, negative ? -f : f);
	} else if (n > 0) {
		unsigned long long i = strtoull(digits, &end, base);
		if (i > (unsigned long long)INT64_MAX)
			errno = ERANGE;
		value = hth_jinja_int(lx->arena, negative ? -(int64_t)(i & INT64_MAX) : (int64_t)(i & INT64_MAX));
	}
	if (n == 0 || *end != '\0' || (errno == ERANGE && !is_float))
		return hth_gt_syntax(lx->err, lx->line, "bad number: %.*s", (int)HTH_MIN(len, (size_t)60), lx->text + at) != NULL;
	take(lx, t, is_float ? GT_FLOAT : GT_INT, len);
	t->value = value;
	return value != NULL || full(lx);
}

static bool lex_mark(gt_lexer *lx, gt_token *t)
{
	static const struct {
		const char *text;
		gt_token_kind kind;
	} marks[] = {{":=", GT_DECLARE}, {"=", GT_SET}, {"|", GT_PIPE}, {",", GT_COMMA}, {"(", GT_OPEN}, {")", GT_CLOSE}};
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		if (!starts(lx, lx->at, marks[i].text))
			continue;
		if (marks[i].kind == GT_CLOSE && lx->parens == 0)
			return hth_gt_syntax(lx->err, lx->line, "there is a ) without its (") != NULL;
		lx->parens += marks[i].kind == GT_OPEN;
		lx->parens -= marks[i].kind == GT_CLOSE;
		take(lx, t, marks[i].kind, strlen(marks[i].text));
		return true;
	}
	unsigned char c = (unsigned char)lx->text[lx->at];
	if (c >= ' ' && c < 0x7F)
		return hth_gt_syntax(lx->err, lx->line, "unexpected character '%c' between {{ and }}", c) != NULL;
	return hth_gt_syntax(lx->err, lx->line, "unexpected byte 0x%02X between {{ and }}", c) != NULL;
}

static bool lex_inside(gt_lexer *lx, gt_token *t)
{
	bool trims = trims_after(lx, lx->at);
	if (trims || starts(lx, lx->at, "}}")) {
		if (lx->parens > 0)
			return hth_gt_syntax(lx->err, lx->line, "there is a ( without its )") != NULL;
		take(lx, t, GT_RIGHT, trims ? 4 : 2);
		lx->inside = false;
		lx->trim_left = trims;
		return true;
	}
	if (lx->at >= lx->len)
		return hth_gt_syntax(lx->err, lx->line, "an action is not closed with }}") != NULL;
	const char *s = lx->text + lx->at;
	char c = s[0], after = lx->at + 1 < lx->len ? s[1] : '\0';
	if (is_white(c)) {
		size_t n = 1;
		while (lx->at + n < lx->len && is_white(s[n]) && !trims_after(lx, lx->at + n))
			n++;
		take(lx, t, GT_SPACE, n);
		return true;
	}
	if (c == '"')
		return lex_quoted(lx, t);
	if (c == '`')
		return lex_raw(lx, t);
	if (c == '\'')
		return lex_character(lx, t);
	if (isdigit((unsigned char)c) || ((c == '-' || c == '+') && (isdigit((unsigned char)after) || after == '.')) ||
	    (c == '.' && isdigit((unsigned char)after)))
		return lex_number(lx, t);
	if (c == '.' && is_name(after)) {
		take(lx, t, GT_FIELD, 1 + name_len(lx, lx->at + 1));
		t->at++;
		t->len--;
		return ends_well(lx, t);
	}
	if (c == '.') {
		take(lx, t, GT_DOT, 1);
		return true;
	}
	if (c == '$') {
		take(lx, t, GT_VARIABLE, 1 + name_len(lx, lx->at + 1));
		return ends_well(lx, t);
	}
	if (is_name(c)) {
		take(lx, t, GT_WORD, name_len(lx, lx->at));
		return ends_well(lx, t);
	}
	return lex_mark(lx, t);
}

bool hth_gt_lex(gt_lexer *lx, gt_token *ret_token) { return lx->inside ? lex_inside(lx, ret_token) : lex_text(lx, ret_token); }
