/* jinja-lex.c - template text to tokens, with Jinja's rules for the whitespace around tags.
 *
 * Settings are those chat templates are rendered with: trim_blocks (the newline after a block tag goes), lstrip_blocks (the
 * spaces before a block tag alone on its line go), no trailing newline kept. `-` at a tag's edge strips all whitespace there,
 * `+` turns the automatic stripping off. Comments and raw sections never leave this file. The source is bounded, and tokens
 * refer into one copy of it.
 */
#include "engine/jinja/jinja-ast.h"
#include "engine/jinja/jinja-unicode.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>

hth_status hth_jj_lexer_init(jj_lexer *lx, hth_jinja_arena *arena, const char *source, size_t len, hth_error *err)
{
	*lx = (jj_lexer){.arena = arena, .line_starting = true, .line_no = 1, .err = err};
	if (len > JJ_SOURCE_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the template has %zu bytes; the limit is %d", len, JJ_SOURCE_MAX);
	size_t valid = hth_utf8_valid_prefix(source, len);
	if (valid < len)
		return hth_fail(err, HTH_INVALID, "the template is not valid UTF-8 at byte %zu", valid);
	char *copy = hth_jj_alloc(arena, len + 1);
	if (copy == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a template of %zu bytes", len);
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (source[i] == '\r') {
			copy[n++] = '\n';
			i += i + 1 < len && source[i + 1] == '\n';
		} else {
			copy[n++] = source[i];
		}
	}
	if (n > 0 && copy[n - 1] == '\n')
		n--;
	copy[n] = '\0';
	lx->text = copy;
	lx->len = n;
	return HTH_OK;
}

hth_status hth_jj_lex_fail(jj_lexer *lx, uint32_t line, uint32_t column, const char *fmt, ...)
{
	char what[HTH_ERROR_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	return hth_fail(lx->err, HTH_INVALID, "line %u, column %u: %s", line, column, what);
}

/* Places are asked for in rising order, so counting continues from the last one. */
static void place(jj_lexer *lx, size_t at, jj_token *t)
{
	while (lx->line_at < at) {
		char c = lx->text[lx->line_at++];
		if (c == '\n') {
			lx->line_no++;
			lx->column = 0;
		} else if (((unsigned char)c & 0xC0) != 0x80) {
			lx->column++;
		}
	}
	t->line = (uint32_t)lx->line_no;
	t->column = (uint32_t)HTH_MIN(lx->column + 1, (size_t)UINT16_MAX);
}

static hth_status fail_at(jj_lexer *lx, size_t at, const char *what)
{
	jj_token t;
	if (at < lx->line_at) {
		lx->line_at = lx->column = 0;
		lx->line_no = 1;
	}
	place(lx, at, &t);
	return hth_jj_lex_fail(lx, t.line, t.column, "%s", what);
}

static size_t skip_space(const jj_lexer *lx, size_t at)
{
	while (at < lx->len) {
		uint32_t cp;
		size_t n = hth_utf8_decode_lossy(lx->text + at, lx->len - at, &cp);
		if (!hth_uni_is(cp, HTH_UNI_SPACE))
			break;
		at += n;
	}
	return at;
}

/* The end of [from, to) without the whitespace at its end. */
static size_t strip_end(const jj_lexer *lx, size_t from, size_t to)
{
	while (to > from) {
		size_t start = to - 1;
		uint32_t cp;
		while (start > from && ((unsigned char)lx->text[start] & 0xC0) == 0x80)
			start--;
		hth_utf8_decode_lossy(lx->text + start, to - start, &cp);
		if (!hth_uni_is(cp, HTH_UNI_SPACE))
			break;
		to = start;
	}
	return to;
}

/* The end of the text [from, to) before a tag with this sign: stripped as the sign and lstrip_blocks ask. */
static size_t text_before(const jj_lexer *lx, size_t from, size_t to, char sign, bool is_print)
{
	if (sign == '-')
		return strip_end(lx, from, to);
	if (sign == '+' || is_print)
		return to;
	size_t line = to;
	while (line > from && lx->text[line - 1] != '\n')
		line--;
	if ((line > from || lx->line_starting) && strip_end(lx, line, to) == line)
		return line;
	return to;
}

static bool starts(const jj_lexer *lx, size_t at, const char *s)
{
	size_t n = strlen(s);
	return lx->len - at >= n && memcmp(lx->text + at, s, n) == 0;
}

/* When a tag's end "X}" (X is % or #) with its sign is at `at`: the offset after it and what it trims. 0: not there. */
static size_t tag_end(const jj_lexer *lx, size_t at, char x, bool trim_newline)
{
	char sign = at < lx->len ? lx->text[at] : '\0';
	bool signed_end = sign == '-' || (sign == '+' && trim_newline);
	size_t close = at + signed_end;
	if (close + 1 >= lx->len || lx->text[close] != x || lx->text[close + 1] != '}')
		return 0;
	size_t after = close + 2;
	if (sign == '-')
		return skip_space(lx, after);
	if (!signed_end && trim_newline && after < lx->len && lx->text[after] == '\n')
		return after + 1;
	return after;
}

/* At "{%": is this {% word %}? Returns the offset after the tag, 0 when it is not. */
static size_t word_tag(const jj_lexer *lx, size_t at, const char *word, bool trim_newline)
{
	size_t i = at + 2;
	if (i < lx->len && (lx->text[i] == '-' || lx->text[i] == '+'))
		i++;
	i = skip_space(lx, i);
	if (!starts(lx, i, word))
		return 0;
	return tag_end(lx, skip_space(lx, i + strlen(word)), '%', trim_newline);
}

static char sign_at(const jj_lexer *lx, size_t at)
{
	char c = at < lx->len ? lx->text[at] : '\0';
	return c == '-' || c == '+' ? c : '\0';
}

static void set_data(jj_lexer *lx, jj_token *t, size_t from, size_t to)
{
	t->kind = JJ_T_DATA;
	place(lx, from, t);
	t->text = lx->text + from;
	t->len = to - from;
}

static void after_tag(jj_lexer *lx, size_t at)
{
	lx->at = at;
	lx->line_starting = at > 0 && lx->text[at - 1] == '\n';
}

/* {% raw %} begins at `tag` and its content at `from`; gives the content as data. */
static hth_status lex_raw(jj_lexer *lx, jj_token *t, size_t tag, size_t from)
{
	after_tag(lx, from);
	if (from == lx->len) { /* at the very end Jinja lets it pass */
		set_data(lx, t, from, from);
		t->kind = JJ_T_EOF;
		return HTH_OK;
	}
	for (size_t i = from; i < lx->len; i++) {
		if (!starts(lx, i, "{%"))
			continue;
		size_t after = word_tag(lx, i, "endraw", true);
		if (after == 0)
			continue;
		set_data(lx, t, from, text_before(lx, from, i, sign_at(lx, i + 2), false));
		after_tag(lx, after);
		return HTH_OK;
	}
	return fail_at(lx, tag, "{% raw %} is never closed with {% endraw %}");
}

/* Text up to the next tag. Comments are skipped, so one piece of text may come as several tokens; empty ones are dropped. */
static hth_status lex_data(jj_lexer *lx, jj_token *t)
{
	for (;;) {
		size_t from = lx->at, to = from;
		while (to + 1 < lx->len && !(lx->text[to] == '{' && strchr("{%#", lx->text[to + 1]) != NULL &&
					     lx->text[to + 1] != '\0'))
			to++;
		if (to + 1 >= lx->len) {
			set_data(lx, t, from, lx->len);
			lx->at = lx->len;
			if (t->len == 0)
				t->kind = JJ_T_EOF;
			return HTH_OK;
		}
		char x = lx->text[to + 1], sign = sign_at(lx, to + 2);
		size_t end = text_before(lx, from, to, sign, x == '{');
		size_t inside = to + 2 + (sign != '\0');
		if (x == '#') {
			size_t close = inside, after = 0;
			while (close < lx->len && (after = tag_end(lx, close, '#', true)) == 0)
				close++;
			if (after == 0)
				return fail_at(lx, to, "the comment {# is never closed with #}");
			set_data(lx, t, from, end);
			after_tag(lx, after);
			if (t->len == 0)
				continue;
			return HTH_OK;
		}
		size_t raw = x == '%' ? word_tag(lx, to, "raw", false) : 0;
		if (raw != 0) {
			if (end > from) {
				set_data(lx, t, from, end);
				lx->at = to; /* come back for the raw tag, with no text before it */
				lx->line_starting = false;
				return HTH_OK;
			}
			HTH_TRY(lex_raw(lx, t, to, raw));
			if (t->kind == JJ_T_DATA && t->len == 0)
				continue;
			return HTH_OK;
		}
		jj_token begin = {.kind = x == '{' ? JJ_T_PRINT_BEGIN : JJ_T_BLOCK_BEGIN};
		if (end > from) {
			set_data(lx, t, from, end);
			lx->pending = begin.kind;
			lx->at = to;
			return HTH_OK;
		}
		lx->at = to;
		lx->pending = begin.kind;
		t->kind = JJ_T_DATA;
		t->len = 0;
		return HTH_OK;
	}
}

static void lex_begin(jj_lexer *lx, jj_token *t)
{
	t->kind = lx->pending;
	place(lx, lx->at, t);
	lx->at += 2 + (sign_at(lx, lx->at + 2) != '\0');
	lx->mode = t->kind == JJ_T_PRINT_BEGIN ? JJ_IN_PRINT : JJ_IN_BLOCK;
	lx->pending = JJ_T_EOF;
	lx->open = 0;
}

/* --- inside tags --- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 32);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Python's escapes. An unknown one stays as it is written. Returns bytes read after the backslash. */
static size_t unescape(const char *s, size_t len, hth_buf *out, uint32_t *high)
{
	static const char from[] = "ntrabfv\\'\"", to[] = "\n\t\r\a\b\f\v\\'\"";
	const char *known = s[0] ? strchr(from, s[0]) : NULL;
	char bytes[4];
	if (known != NULL) {
		hth_buf_append_char(out, to[known - from]);
		return 1;
	}
	if (s[0] == '\n')
		return 1;
	size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
	if (digits > 0 && len > digits) {
		uint32_t cp = 0;
		size_t i = 0;
		while (i < digits && hex_value(s[1 + i]) >= 0)
			cp = cp << 4 | (uint32_t)hex_value(s[1 + i++]);
		if (i == digits) {
			/* A pair of \u halves is one character; a half alone becomes U+FFFD. */
			if (cp >= 0xD800 && cp < 0xDC00 && *high == 0 && len >= 7 && s[5] == '\\' && s[6] == 'u') {
				*high = cp;
				return 1 + digits;
			}
			if (*high != 0 && cp >= 0xDC00 && cp < 0xE000)
				cp = 0x10000 + ((*high - 0xD800) << 10) + (cp - 0xDC00);
			*high = 0;
			hth_buf_append(out, bytes, hth_utf8_encode(cp, bytes));
			return 1 + digits;
		}
	}
	if (s[0] >= '0' && s[0] <= '7') {
		uint32_t cp = 0;
		size_t i = 0;
		while (i < 3 && i < len && s[i] >= '0' && s[i] <= '7')
			cp = cp * 8 + (uint32_t)(s[i++] - '0');
		hth_buf_append(out, bytes, hth_utf8_encode(cp, bytes));
		return i;
	}
	hth_buf_append_char(out, '\\');
	return 0;
}

static hth_status lex_string(jj_lexer *lx, jj_token *t)
{
	char quote = lx->text[lx->at];
	size_t from = lx->at + 1, end = from;
	bool escapes = false;
	while (end < lx->len && lx->text[end] != quote) {
		if (lx->text[end] == '\\') {
			escapes = true;
			end++;
		}
		end++;
	}
	if (end >= lx->len)
		return hth_jj_lex_fail(lx, t->line, t->column, "a string is never closed");
	t->kind = JJ_T_STRING;
	t->text = lx->text + from;
	t->len = end - from;
	lx->at = end + 1;
	if (!escapes)
		return HTH_OK;
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(4 * t->len + 8);
	uint32_t high = 0;
	for (size_t i = from; i < end;) {
		if (lx->text[i] == '\\' && i + 1 < end) {
			i++;
			i += unescape(lx->text + i, end - i, &out, &high);
		} else {
			hth_buf_append_char(&out, lx->text[i++]);
		}
	}
	char *copy = hth_jj_alloc(lx->arena, out.len);
	if (out.failed || copy == NULL)
		return hth_fail(lx->err, HTH_NO_MEMORY, "no memory to compile the template");
	if (out.len > 0)
		memcpy(copy, out.data, out.len);
	t->text = copy;
	t->len = out.len;
	return HTH_OK;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits with single underscores between them, copied without these. Returns the end. */
static size_t digits(const jj_lexer *lx, size_t at, hth_buf *out)
{
	while (at < lx->len && (is_digit(lx->text[at]) || (lx->text[at] == '_' && at + 1 < lx->len &&
							   is_digit(lx->text[at + 1]) && is_digit(lx->text[at - 1])))) {
		if (lx->text[at] != '_')
			hth_buf_append_char(out, lx->text[at]);
		at++;
	}
	return at;
}

static hth_status lex_number(jj_lexer *lx, jj_token *t)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(400);
	size_t at = lx->at;
	int base = 10;
	char second = at + 1 < lx->len ? (char)(lx->text[at + 1] | 32) : '\0';
	if (lx->text[at] == '0' && (second == 'x' || second == 'o' || second == 'b')) {
		base = second == 'x' ? 16 : second == 'o' ? 8 : 2;
		size_t i = at + 2;
		while (i < lx->len && ((hex_value(lx->text[i]) >= 0 && hex_value(lx->text[i]) < base) ||
				       (lx->text[i] == '_' && i + 1 < lx->len && hex_value(lx->text[i + 1]) >= 0))) {
			if (lx->text[i] != '_')
				hth_buf_append_char(&out, lx->text[i]);
			i++;
		}
		if (out.len == 0) {
			base = 10;
			hth_buf_append_char(&out, '0');
			i = at + 1;
		}
		at = i;
		t->kind = JJ_T_INT;
	} else {
		at = digits(lx, at, &out);
		t->kind = JJ_T_INT;
		bool after_dot = lx->at > 0 && lx->text[lx->at - 1] == '.';
		if (!after_dot && at + 1 < lx->len && lx->text[at] == '.' && is_digit(lx->text[at + 1])) {
			hth_buf_append_char(&out, '.');
			at = digits(lx, at + 1, &out);
			t->kind = JJ_T_FLOAT;
		}
		size_t e = at + 1;
		if (!after_dot && at < lx->len && (lx->text[at] | 32) == 'e') {
			e += e < lx->len && (lx->text[e] == '+' || lx->text[e] == '-');
			if (e < lx->len && is_digit(lx->text[e])) {
				hth_buf_append(&out, lx->text + at, e - at);
				at = digits(lx, e, &out);
				t->kind = JJ_T_FLOAT;
			}
		}
	}
	if (hth_buf_check(&out, "a number", NULL) != HTH_OK)
		return hth_jj_lex_fail(lx, t->line, t->column, "a number has too many digits");
	lx->at = at;
	errno = 0;
	if (t->kind == JJ_T_FLOAT)
		t->f = strtod(out.data, NULL);
	else
		t->i = strtoll(out.data, NULL, base);
	if (errno == ERANGE && t->kind == JJ_T_INT)
		return hth_jj_lex_fail(lx, t->line, t->column, "an integer does not fit 64 bits");
	return HTH_OK;
}

static bool is_name_char(const jj_lexer *lx, size_t at, size_t *ret_len)
{
	uint32_t cp;
	*ret_len = hth_utf8_decode_lossy(lx->text + at, lx->len - at, &cp);
	return cp == '_' || hth_uni_is(cp, HTH_UNI_ALNUM);
}

static hth_status lex_operator(jj_lexer *lx, jj_token *t)
{
	static const char twos[][3] = {"//", "**", "==", "!=", ">=", "<="};
	char c = lx->text[lx->at];
	t->kind = JJ_T_OP;
	for (size_t i = 0; i < HTH_COUNT(twos); i++)
		if (starts(lx, lx->at, twos[i])) {
			t->op = JJ_OP2(twos[i][0], twos[i][1]);
			lx->at += 2;
			return HTH_OK;
		}
	if (c == '\0' || strchr("+-*/%~[](){}<>=.:|,", c) == NULL)
		return hth_jj_lex_fail(lx, t->line, t->column, "a character that has no meaning here");
	if (strchr("([{", c) != NULL) {
		if (lx->open == JJ_PARSE_DEPTH)
			return hth_jj_lex_fail(lx, t->line, t->column, "brackets are nested deeper than %d",
					       JJ_PARSE_DEPTH);
		lx->brackets[lx->open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
	} else if (strchr(")]}", c) != NULL) {
		if (lx->open == 0)
			return hth_jj_lex_fail(lx, t->line, t->column, "'%c' closes nothing", c);
		if (lx->brackets[--lx->open] != c)
			return hth_jj_lex_fail(lx, t->line, t->column, "found '%c' where '%c' was expected", c,
					       lx->brackets[lx->open]);
	}
	t->op = (unsigned char)c;
	lx->at++;
	return HTH_OK;
}

static hth_status lex_tag(jj_lexer *lx, jj_token *t)
{
	lx->at = skip_space(lx, lx->at);
	place(lx, lx->at, t);
	if (lx->at >= lx->len) {
		t->kind = JJ_T_EOF;
		return HTH_OK;
	}
	if (lx->open == 0) {
		size_t after = 0;
		if (lx->mode == JJ_IN_BLOCK)
			after = tag_end(lx, lx->at, '%', true);
		else if (starts(lx, lx->at, "-}}"))
			after = skip_space(lx, lx->at + 3);
		else if (starts(lx, lx->at, "}}"))
			after = lx->at + 2;
		if (after != 0) {
			t->kind = lx->mode == JJ_IN_BLOCK ? JJ_T_BLOCK_END : JJ_T_PRINT_END;
			lx->mode = JJ_IN_DATA;
			after_tag(lx, after);
			return HTH_OK;
		}
	}
	char c = lx->text[lx->at];
	if (c == '\'' || c == '"')
		return lex_string(lx, t);
	if (is_digit(c))
		return lex_number(lx, t);
	size_t n, from = lx->at;
	while (lx->at < lx->len && is_name_char(lx, lx->at, &n))
		lx->at += n;
	if (lx->at == from)
		return lex_operator(lx, t);
	t->kind = JJ_T_NAME;
	t->text = lx->text + from;
	t->len = lx->at - from;
	return HTH_OK;
}

hth_status hth_jj_lex(jj_lexer *lx, jj_token *ret_token)
{
	*ret_token = (jj_token){0};
	if (lx->mode != JJ_IN_DATA)
		return lex_tag(lx, ret_token);
	if (lx->pending == JJ_T_EOF) {
		HTH_TRY(lex_data(lx, ret_token));
		if (ret_token->kind != JJ_T_DATA || ret_token->len > 0)
			return HTH_OK;
	}
	lex_begin(lx, ret_token);
	return HTH_OK;
}
