/* gotemplate-printf.c - Go's printf and %v. A verb that does not fit its value is not an error: the text says so ("%!d(string=hi)"), as
 * Go's does. Padding counts characters. What came from input stays marked through %s, %v and padding; %q, %x and the like mark all they
 * write. Not there: %p, hexadecimal floats, argument numbers ("%[1]d"). Source: https://pkg.go.dev/fmt
 */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <ctype.h>
#include <stdio.h>

enum { WIDTH_MAX = 1000 };

typedef struct spec {
	bool minus, plus, sharp, space, zero;
	int width, precision; /* precision -1: none */
	char verb;
	uint32_t verb_cp;
} spec;

static bool put_verb(gt_run *r, jj_builder *b, const spec *s, gt_value v);

/* Inside a list or a map nil has no verb. */
static bool put_item(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	return hth_gt_is_nil(v) ? hth_jj_put_cstr(b, "<nil>") : put_verb(r, b, s, v);
}

/* text within the width; number: zeros go between its sign and its digits. */
static bool put_padded(jj_builder *b, const spec *s, jv *text, bool number)
{
	if (text == NULL)
		return false;
	int missing = s->width - (int)HTH_MIN(text->s.chars, (uint32_t)WIDTH_MAX);
	size_t sign = 0;
	bool zeros = s->zero && !s->minus && number;
	if (zeros && text->s.len > 0 && strchr("+- ", text->s.data[0]) != NULL)
		sign = 1;
	bool ok = hth_jj_put_slice(b, text, 0, sign);
	for (int i = 0; ok && i < missing && !s->minus; i++)
		ok = hth_jj_put(b, zeros ? "0" : " ", 1, false);
	ok = ok && hth_jj_put_slice(b, text, sign, text->s.len);
	for (int i = 0; ok && i < missing && s->minus; i++)
		ok = hth_jj_put(b, " ", 1, false);
	return ok;
}

static bool put_number(gt_run *r, jj_builder *b, const spec *s, const char *sign, const char *digits)
{
	jj_builder text = hth_jj_builder(r->arena);
	return hth_jj_put_cstr(&text, sign) && hth_jj_put_cstr(&text, digits) && put_padded(b, s, hth_jj_done(&text), true);
}

/* "%!d(string=hi)" */
static bool put_bad(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	bool ok = hth_jj_put_cstr(b, "%!") && hth_jj_put_cp(b, s->verb_cp, false) && hth_jj_put_cstr(b, "(");
	if (hth_gt_is_nil(v))
		return ok && hth_jj_put_cstr(b, "<nil>)");
	return ok && hth_jj_put_cstr(b, hth_gt_type_name(v)) && hth_jj_put_cstr(b, "=") && hth_gt_put_plain(r, b, v) &&
	    hth_jj_put_cstr(b, ")");
}

static void write_base(uint64_t u, unsigned base, bool upper, char out[72])
{
	char reversed[72];
	size_t n = 0;
	do {
		reversed[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
		u /= base;
	} while (u != 0);
	for (size_t i = 0; i < n; i++)
		out[i] = reversed[n - 1 - i];
	out[n] = '\0';
}

static bool put_quoted(gt_run *r, jj_builder *b, const spec *s, jv *text, char quote)
{
	static const char names[] = "\a\b\f\n\r\t\v\\", letters[] = "abfnrtv\\";
	jj_builder out = hth_jj_builder(r->arena);
	bool raw = s->sharp && quote == '"' && memchr(text->s.data, '`', text->s.len) == NULL &&
	    memchr(text->s.data, '\n', text->s.len) == NULL;
	if (!hth_gt_charge_bytes(r, text->s.len))
		return false;
	hth_jj_put(&out, raw ? "`" : &quote, 1, false);
	for (size_t i = 0; i < text->s.len;) {
		uint32_t cp = 0;
		size_t n = hth_utf8_decode(text->s.data + i, text->s.len - i, &cp);
		bool input = hth_jj_is_input(text, i, i + (n ? n : 1));
		const char *known = n > 0 && cp > 0 && cp < 0x80 ? strchr(names, (int)cp) : NULL;
		char escape[12] = "";
		if (raw)
			;
		else if (n == 0)
			snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)text->s.data[i]);
		else if (cp == (uint32_t)quote)
			snprintf(escape, sizeof escape, "\\%c", quote);
		else if (known != NULL)
			snprintf(escape, sizeof escape, "\\%c", letters[known - names]);
		else if (cp < ' ' || cp == 0x7F)
			snprintf(escape, sizeof escape, "\\x%02x", cp);
		if (escape[0] != '\0')
			hth_jj_put(&out, escape, strlen(escape), input);
		else
			hth_jj_put(&out, text->s.data + i, n ? n : 1, input);
		i += n ? n : 1;
	}
	hth_jj_put(&out, raw ? "`" : &quote, 1, false);
	return put_padded(b, s, hth_jj_done(&out), false);
}

static bool put_int(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	char digits[80], character[4];
	int64_t i = v.v->i;
	uint64_t size = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	const char *sign = i < 0 ? "-" : s->plus && s->verb != 'v' ? "+" : s->space ? " " : "";
	const char *prefix = "";
	unsigned base = 10;
	switch (s->verb) {
	case 'v':
	case 'd':
		break;
	case 'b':
		base = 2;
		prefix = s->sharp ? "0b" : "";
		break;
	case 'o':
	case 'O':
		base = 8;
		prefix = s->verb == 'O' ? "0o" : s->sharp ? "0" : "";
		break;
	case 'x':
	case 'X':
		base = 16;
		prefix = !s->sharp ? "" : s->verb == 'x' ? "0x" : "0X";
		break;
	case 'c':
	case 'q': {
		size_t n = hth_utf8_encode(i >= 0 && i <= 0x10FFFF && (i < 0xD800 || i > 0xDFFF) ? (uint32_t)i : 0xFFFD, character);
		hth_jinja_value *one = (hth_jinja_value *)hth_jinja_trusted_string(r->arena, character, n);
		if (one == NULL)
			return false;
		return s->verb == 'c' ? put_padded(b, s, one, false) : put_quoted(r, b, s, one, '\'');
	}
	case 'U':
		snprintf(digits, sizeof digits, "U+%04llX", (unsigned long long)size);
		return put_number(r, b, s, "", digits);
	default:
		return put_bad(r, b, s, v);
	}
	char plain[72], padded[WIDTH_MAX + 80];
	write_base(size, base, s->verb == 'X', plain);
	int zeros = HTH_MIN(s->precision, WIDTH_MAX) - (int)strlen(plain);
	size_t n = (size_t)snprintf(padded, sizeof padded, "%s%s", sign, prefix);
	for (; zeros > 0; zeros--)
		padded[n++] = '0';
	snprintf(padded + n, sizeof padded - n, "%s", plain);
	spec own = *s;
	own.zero = s->zero && s->precision < 0;
	return put_number(r, b, &own, "", padded);
}

static bool put_float(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	char text[GT_FLOAT_TEXT];
	double f = v.v->kind == JJ_INT ? (double)v.v->i : v.v->f;
	char verb = s->verb == 'v' ? 'g' : s->verb == 'F' ? 'f' : s->verb;
	if (verb == '\0' || strchr("eEfgG", verb) == NULL)
		return put_bad(r, b, s, v);
	int precision = s->precision >= 0 ? s->precision : verb == 'g' || verb == 'G' ? -1 : 6;
	hth_gt_float_text(f, precision < 0 ? 'g' : verb, precision, text);
	if (precision < 0 && verb == 'G')
		for (char *c = text; *c != '\0'; c++)
			*c = (char)toupper((unsigned char)*c);
	return put_number(r, b, s, text[0] == '-' || text[0] == '+' ? "" : s->plus && s->verb != 'v' ? "+" : s->space ? " " : "", text);
}

static bool put_string(gt_run *r, jj_builder *b, const spec *s, gt_value v, jv *text)
{
	if (s->precision >= 0 && (uint32_t)s->precision < text->s.chars && strchr("vsqxX", s->verb) != NULL)
		text = hth_jj_slice(r->arena, text, 0, hth_jj_char_at(text, (size_t)s->precision));
	if (text == NULL)
		return false;
	if (s->verb == 's' || (s->verb == 'v' && !s->sharp))
		return put_padded(b, s, text, false);
	if (s->verb == 'q' || s->verb == 'v')
		return put_quoted(r, b, s, text, '"');
	if (s->verb != 'x' && s->verb != 'X')
		return put_bad(r, b, s, v);
	jj_builder out = hth_jj_builder(r->arena);
	if (!hth_gt_charge_bytes(r, 2 * (uint64_t)text->s.len))
		return false;
	for (size_t i = 0; i < text->s.len; i++) {
		char two[8];
		snprintf(two, sizeof two, s->verb == 'x' ? "%s%02x" : "%s%02X", i > 0 && s->space ? " " : "",
		         (unsigned char)text->s.data[i]);
		if (!hth_jj_put(&out, two, strlen(two), text->taint != JJ_TRUSTED))
			return false;
	}
	return put_padded(b, s, hth_jj_done(&out), false);
}

static bool put_list(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	bool ok = hth_jj_put_cstr(b, "[");
	for (uint32_t i = 0; ok && i < v.v->list.n; i++)
		ok = hth_jj_put_cstr(b, i > 0 ? " " : "") && put_item(r, b, s, hth_gt_item_of(v, i));
	return ok && hth_jj_put_cstr(b, "]");
}

static bool put_map(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	const jj_entry *entries;
	uint32_t n;
	bool ok = hth_gt_sorted(r, v.v, &entries, &n) && hth_jj_put_cstr(b, "map[");
	for (uint32_t i = 0; ok && i < n; i++)
		ok = hth_jj_put_cstr(b, i > 0 ? " " : "") && put_verb(r, b, s, hth_gt_string_value(entries[i].key)) &&
		    hth_jj_put_cstr(b, ":") &&
		     put_item(r, b, s, hth_gt_see(v.type->item, entries[i].value));
	return ok && hth_jj_put_cstr(b, "]");
}

static bool put_value(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	if (s->verb == 'T')
		return put_padded(b, s, hth_jj_str(r->arena, hth_gt_type_name(v)), false);
	gt_class class = hth_gt_class_of(v);
	if (v.type->prints_json && (class == GT_C_LIST || class == GT_C_MAP || class == GT_C_STRUCT)) {
		jj_builder json = hth_jj_builder(r->arena);
		jv *text = hth_gt_put_json(r, &json, v) ? hth_jj_done(&json) : NULL;
		return text != NULL && put_string(r, b, s, v, text);
	}
	switch (class) {
	case GT_C_STRING:
		return put_string(r, b, s, v, v.v);
	case GT_C_BOOL:
		if (s->verb != 'v' && s->verb != 't')
			return put_bad(r, b, s, v);
		return put_padded(b, s, hth_jj_str(r->arena, v.v->flag ? "true" : "false"), false);
	case GT_C_INT:
		return put_int(r, b, s, v);
	case GT_C_FLOAT:
		return put_float(r, b, s, v);
	case GT_C_LIST:
		return put_list(r, b, s, v);
	case GT_C_MAP:
		return put_map(r, b, s, v);
	default:
		return s->verb == 'v' ? put_padded(b, s, hth_jj_str(r->arena, "<nil>"), false) : put_bad(r, b, s, v);
	}
}

static bool put_verb(gt_run *r, jj_builder *b, const spec *s, gt_value v)
{
	if (!hth_gt_charge(r, 1) || !hth_gt_deeper(r))
		return false;
	bool ok = put_value(r, b, s, v);
	r->level--;
	return ok;
}

bool hth_gt_put_plain(gt_run *r, jj_builder *b, gt_value v)
{
	static const spec plain = {.precision = -1, .verb = 'v', .verb_cp = 'v'};
	return put_verb(r, b, &plain, v);
}

/* --- the format --- */

typedef struct arguments {
	const gt_value *values;
	uint32_t n, at;
} arguments;

/* A number or "*"; *ret stays where there is none. bad: "*" without a number to take. */
static size_t read_size(const char *f, size_t len, arguments *args, int *ret, bool *bad)
{
	if (len > 0 && f[0] == '*') {
		gt_value v = args->at < args->n ? args->values[args->at++] : (gt_value){0};
		*bad = v.v == NULL || hth_gt_class_of(v) != GT_C_INT || v.v->i > WIDTH_MAX || v.v->i < -WIDTH_MAX;
		if (!*bad)
			*ret = (int)v.v->i;
		return 1;
	}
	size_t n = 0;
	for (int value = 0; n < len && isdigit((unsigned char)f[n]); n++) {
		value = HTH_MIN(value * 10 + (f[n] - '0'), WIDTH_MAX);
		*ret = value;
	}
	return n;
}

/* One "%..." at f (behind the '%'); bytes read. */
static size_t put_one(gt_run *r, jj_builder *b, const char *f, size_t len, arguments *args, bool *ok)
{
	spec s = {.precision = -1};
	size_t i = 0;
	bool bad_width = false, bad_precision = false;
	for (; i < len && strchr("-+# 0", f[i]) != NULL && f[i] != '\0'; i++) {
		s.minus |= f[i] == '-';
		s.plus |= f[i] == '+';
		s.sharp |= f[i] == '#';
		s.space |= f[i] == ' ';
		s.zero |= f[i] == '0';
	}
	i += read_size(f + i, len - i, args, &s.width, &bad_width);
	if (s.width < 0) {
		s.minus = true;
		s.width = -s.width;
	}
	if (i < len && f[i] == '.') {
		s.precision = 0;
		i++;
		i += read_size(f + i, len - i, args, &s.precision, &bad_precision);
		if (s.precision < 0) {
			s.precision = -1;
			bad_precision = true;
		}
	}
	if (bad_width)
		*ok = *ok && hth_jj_put_cstr(b, "%!(BADWIDTH)");
	if (bad_precision)
		*ok = *ok && hth_jj_put_cstr(b, "%!(BADPREC)");
	if (i >= len) {
		*ok = *ok && hth_jj_put_cstr(b, "%!(NOVERB)");
		return i;
	}
	i += hth_utf8_decode_lossy(f + i, len - i, &s.verb_cp);
	s.verb = s.verb_cp > 0 && s.verb_cp < 0x80 ? (char)s.verb_cp : '?';
	if (s.verb == '%')
		*ok = *ok && hth_jj_put_cstr(b, "%");
	else if (args->at >= args->n)
		*ok = *ok && hth_jj_put_cstr(b, "%!") && hth_jj_put_cp(b, s.verb_cp, false) && hth_jj_put_cstr(b, "(MISSING)");
	else
		*ok = *ok && put_verb(r, b, &s, args->values[args->at++]);
	return i;
}

jv *hth_gt_printf(gt_run *r, jv *format, const gt_value *values, uint32_t n)
{
	jj_builder b = hth_jj_builder(r->arena);
	arguments args = {values, n, 0};
	const char *f = format->s.data;
	bool ok = hth_gt_charge_bytes(r, format->s.len);
	for (size_t i = 0; ok && i < format->s.len;) {
		const char *percent = memchr(f + i, '%', format->s.len - i);
		size_t to = percent != NULL ? (size_t)(percent - f) : format->s.len;
		ok = hth_jj_put_slice(&b, format, i, to);
		i = to;
		if (percent != NULL)
			i += 1 + put_one(r, &b, f + i + 1, format->s.len - i - 1, &args, &ok);
	}
	if (ok && args.at < n) {
		ok = hth_jj_put_cstr(&b, "%!(EXTRA ");
		for (uint32_t k = args.at; ok && k < n; k++) {
			ok = hth_jj_put_cstr(&b, k > args.at ? ", " : "");
			if (ok && hth_gt_is_nil(values[k]))
				ok = hth_jj_put_cstr(&b, "<nil>");
			else
				ok = ok && hth_jj_put_cstr(&b, hth_gt_type_name(values[k])) && hth_jj_put_cstr(&b, "=") &&
				    hth_gt_put_plain(r, &b, values[k]);
		}
		ok = ok && hth_jj_put_cstr(&b, ")");
	}
	return ok ? hth_jj_done(&b) : NULL;
}
