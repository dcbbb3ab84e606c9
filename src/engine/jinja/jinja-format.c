/* jinja-format.c - 'x %s' % y, 'x {}'.format(y), and the format specifications between.
 *
 * Python's conversions for text and 64-bit numbers. What it refuses says so: unknown conversions, nested specifications,
 * widths past a bound.
 */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

enum { WIDTH_MAX = 10000, PRECISION_MAX = 300 };

typedef struct spec {
	char fill[5];
	size_t fill_len;
	char align; /* '<', '>', '^', '=', or 0 */
	char sign;  /* '+', '-', ' ' or 0 */
	bool alt, zero, comma;
	char group;
	int width, precision; /* -1: none */
	char type;            /* 0: none */
} spec;

static void put_fill(jj_builder *b, const spec *s, int n)
{
	for (int i = 0; i < n; i++)
		hth_jj_put(b, s->fill, s->fill_len, false);
}

/* Text in a field: prefix (sign, 0x) stays before zeros. */
static bool put_field(jj_builder *b, const spec *s, const char *prefix, jv *text, char default_align)
{
	int have = (int)strlen(prefix) + (int)text->s.chars;
	int pad = s->width > have ? s->width - have : 0;
	char align = s->align ? s->align : default_align;
	int before = align == '>' ? pad : align == '^' ? pad / 2 : 0;
	put_fill(b, s, before);
	hth_jj_put_cstr(b, prefix);
	if (align == '=')
		put_fill(b, s, pad);
	hth_jj_put_str(b, text);
	if (align == '<' || align == '^')
		put_fill(b, s, pad - before);
	return !b->failed;
}

static void add_commas(char *digits, size_t cap, char comma)
{
	size_t n = strspn(digits, "0123456789"), rest = strlen(digits) - n;
	size_t commas = n > 0 ? (n - 1) / 3 : 0;
	if (n + commas + rest + 1 > cap)
		return;
	memmove(digits + n + commas, digits + n, rest + 1);
	for (size_t i = 0, from = n, to = n + commas; i < n; i++) {
		if (i > 0 && i % 3 == 0)
			digits[--to] = comma;
		digits[--to] = digits[--from];
	}
}

static jv *borrowed(jj_run *r, const char *text) { return hth_jinja_trusted_string(r->arena, text, strlen(text)); }

static bool put_int(jj_run *r, jj_builder *b, const spec *s, int64_t v)
{
	char digits[120], prefix[4] = "";
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t n = 0;
	if (v < 0)
		prefix[n++] = '-';
	else if (s->sign == '+' || s->sign == ' ')
		prefix[n++] = s->sign;
	if (s->alt && strchr("xXob", s->type ? s->type : 'd') != NULL && s->type) {
		prefix[n++] = '0';
		prefix[n++] = s->type;
	}
	prefix[n] = '\0';
	if (s->type == 'b') {
		size_t k = 0;
		for (int bit = 63; bit >= 0; bit--)
			if (k > 0 || (u >> bit & 1) || bit == 0)
				digits[k++] = (char)('0' + (u >> bit & 1));
		digits[k] = '\0';
	} else if (s->type == 'c') {
		char bytes[5] = {0};
		hth_utf8_encode((uint32_t)u, bytes);
		snprintf(digits, sizeof digits, "%s", bytes);
		prefix[0] = '\0';
	} else {
		snprintf(digits, sizeof digits, s->type == 'x' ? "%llx" : s->type == 'X' ? "%llX" : s->type == 'o' ? "%llo" : "%llu",
			 (unsigned long long)u);
	}
	if (s->group)
		add_commas(digits, sizeof digits, s->group);
	jv *text = borrowed(r, digits);
	return text != NULL && put_field(b, s, prefix, text, '>');
}

static bool put_float(jj_run *r, jj_builder *b, const spec *s, double f)
{
	char digits[800], prefix[2] = "", fmt[16];
	bool percent = s->type == '%';
	char type = s->type == 'F' ? 'f' : percent ? 'f' : s->type ? s->type : 'g';
	double v = fabs(percent ? f * 100 : f);
	if (signbit(f) && !isnan(f))
		prefix[0] = '-';
	else if (s->sign == '+' || s->sign == ' ')
		prefix[0] = s->sign;
	if (isnan(v) || isinf(v)) {
		snprintf(digits, sizeof digits, "%s", isnan(v) ? "nan" : "inf");
	} else if (s->type == 0 && s->precision < 0) {
		hth_jj_float_text(v, digits);
		digits[hth_jj_float_text(v, digits)] = '\0';
	} else {
		int precision = s->precision < 0 ? 6 : s->precision;
		snprintf(fmt, sizeof fmt, s->alt ? "%%#.%d%c" : "%%.%d%c", precision, type);
		snprintf(digits, sizeof digits, fmt, v);
	}
	if (percent)
		strcat(digits, "%");
	if (s->group)
		add_commas(digits, sizeof digits, s->group);
	jv *text = borrowed(r, digits);
	return text != NULL && put_field(b, s, prefix, text, '>');
}

static bool put_string(jj_run *r, jj_builder *b, const spec *s, jv *text, char align)
{
	if (s->precision >= 0 && (uint32_t)s->precision < text->s.chars)
		text = hth_jj_slice(r->arena, text, 0, hth_jj_char_at(text, (size_t)s->precision));
	return text != NULL && put_field(b, s, "", text, align);
}

static bool parse_int(const char **p, const char *end, int max, int *ret)
{
	int v = 0;
	while (*p < end && isdigit((unsigned char)**p)) {
		v = v * 10 + (*(*p)++ - '0');
		if (v > max)
			return false;
	}
	*ret = v;
	return true;
}

/* --- the specification of str.format --- */

static bool parse_spec(const char *p, size_t len, spec *s)
{
	const char *end = p + len;
	*s = (spec){.fill = " ", .fill_len = 1, .width = 0, .precision = -1};
	uint32_t cp;
	size_t first = p < end ? hth_utf8_decode_lossy(p, (size_t)(end - p), &cp) : 0;
	if (first > 0 && p + first < end && strchr("<>^=", p[first]) != NULL) {
		memcpy(s->fill, p, first);
		s->fill_len = first;
		s->align = p[first];
		p += first + 1;
	} else if (p < end && strchr("<>^=", *p) != NULL) {
		s->align = *p++;
	}
	if (p < end && strchr("+- ", *p) != NULL)
		s->sign = *p++;
	if (p < end && *p == '#') {
		s->alt = true;
		p++;
	}
	if (p < end && *p == '0') {
		p++;
		if (s->align == 0) {
			s->zero = true;
			s->fill[0] = '0';
			s->fill_len = 1;
		}
	}
	if (!parse_int(&p, end, WIDTH_MAX, &s->width))
		return false;
	if (p < end && (*p == ',' || *p == '_'))
		s->group = *p++;
	if (p < end && *p == '.') {
		p++;
		if (p == end || !isdigit((unsigned char)*p) || !parse_int(&p, end, PRECISION_MAX, &s->precision))
			return false;
	}
	if (p < end)
		s->type = *p++;
	return p == end && (s->type == 0 || strchr("sdxXobceEfFgGn%", s->type) != NULL);
}

jv *hth_jj_format_spec(jj_run *r, jv *value, const char *text, size_t len)
{
	spec s;
	if (len == 0)
		return hth_jj_to_str(r, value);
	if (!parse_spec(text, len, &s))
		return hth_jj_fail(r, "Invalid format specifier '%.*s'", (int)HTH_MIN(len, (size_t)60), text);
	jj_builder b = hth_jj_builder(r->arena);
	int64_t i;
	bool is_int = hth_jj_as_int(value, &i);
	bool float_type = s.type != 0 && strchr("eEfFgG%", s.type) != NULL;
	bool ok;
	if (s.zero && hth_jj_is_number(value))
		s.align = '=';
	if (value->kind == JJ_FLOAT ? s.type == 0 || float_type || s.type == 'n' : is_int && float_type) {
		if (s.type == 'n')
			s.type = 'g';
		ok = put_float(r, &b, &s, hth_jj_as_double(value));
	} else if (is_int && s.type != 's' && !(value->kind == JJ_BOOL && s.type == 0)) {
		if (s.precision >= 0)
			return hth_jj_fail(r, "Precision not allowed in integer format specifier");
		ok = put_int(r, &b, &s, i);
	} else if (value->kind == JJ_STRING || value->kind == JJ_BOOL) {
		if (s.type != 0 && s.type != 's')
			return hth_jj_fail(r, "Unknown format code '%c' for object of type '%s'", s.type, hth_jj_type_name(value));
		jv *str = hth_jj_to_str(r, value);
		ok = str != NULL && put_string(r, &b, &s, str, '<');
	} else if (value->kind == JJ_UNDEFINED) {
		return hth_jj_fail_undefined(r, value);
	} else if (value->kind == JJ_FLOAT || is_int) {
		return hth_jj_fail(r, "Unknown format code '%c' for object of type '%s'", s.type, hth_jj_type_name(value));
	} else {
		return hth_jj_fail(r, "unsupported format string passed to %s.__format__", hth_jj_type_name(value));
	}
	return ok ? hth_jj_done(&b) : NULL;
}

/* --- str.format --- */

static jv *args_keyword(const jj_args *args, const char *name, size_t len)
{
	for (uint32_t i = 0; i < args->n_kw; i++)
		if (args->kw_names[i]->s.len == len && memcmp(args->kw_names[i]->s.data, name, len) == 0)
			return args->kw[i];
	return NULL;
}

static bool all_digits(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)s[i]))
			return false;
	return len > 0 && len < 10;
}

/* "name", "0", "name.attr[key]" ... */
static jv *format_field(jj_run *r, const char *f, size_t len, const jj_args *args, int *next)
{
	size_t n = 0;
	while (n < len && f[n] != '.' && f[n] != '[')
		n++;
	jv *v = NULL;
	if (n == 0 || all_digits(f, n)) {
		if ((n == 0 && *next < 0) || (n > 0 && *next > 0))
			return hth_jj_fail(r, "cannot mix automatic and manual field numbering");
		int64_t at = n == 0 ? (*next)++ : strtoll(f, NULL, 10);
		if (n > 0)
			*next = -1;
		if (at >= args->n_pos)
			return hth_jj_fail(r, "Replacement index %lld out of range for positional args tuple", (long long)at);
		v = args->pos[at];
	} else {
		v = args_keyword(args, f, n);
		if (v == NULL)
			return hth_jj_fail(r, "format() has no argument '%.*s'", (int)HTH_MIN(n, (size_t)60), f);
	}
	while (v != NULL && n < len) {
		bool attr = f[n] == '.';
		size_t from = ++n;
		while (n < len && (attr ? f[n] != '.' && f[n] != '[' : f[n] != ']'))
			n++;
		jv *key = all_digits(f + from, n - from) && !attr
			      ? hth_jinja_int(r->arena, strtoll(f + from, NULL, 10))
			      : hth_jinja_trusted_string(r->arena, f + from, n - from);
		if (key == NULL)
			return NULL;
		v = attr ? hth_jj_attr(r, v, key) : hth_jj_item(r, v, key);
		if (!attr) {
			if (n >= len)
				return hth_jj_fail(r, "Missing ']' in format string");
			n++;
		}
	}
	return v;
}

jv *hth_jj_str_format(jj_run *r, jv *format, const jj_args *args)
{
	jj_builder b = hth_jj_builder(r->arena);
	const char *s = format->s.data;
	size_t len = format->s.len;
	int next = 0;
	if (!hth_jj_charge_bytes(r, (uint64_t)len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; i < len;) {
		if (s[i] != '{' && s[i] != '}') {
			size_t from = i;
			while (i < len && s[i] != '{' && s[i] != '}')
				i++;
			if (!hth_jj_put_slice(&b, format, from, i))
				return NULL;
			continue;
		}
		if (i + 1 < len && s[i + 1] == s[i]) {
			hth_jj_put_slice(&b, format, i, i + 1);
			i += 2;
			continue;
		}
		if (s[i] == '}')
			return hth_jj_fail(r, "Single '}' encountered in format string");
		size_t from = ++i;
		while (i < len && s[i] != '}' && s[i] != '!' && s[i] != ':' && s[i] != '{')
			i++;
		if (i >= len || s[i] == '{')
			return hth_jj_fail(r, "Single '{' encountered in format string");
		if (!hth_jj_charge(r, 1))
			return NULL;
		jv *v = format_field(r, s + from, i - from, args, &next);
		if (v != NULL && s[i] == '!') {
			char conversion = i + 1 < len ? s[i + 1] : '\0';
			i += 2;
			if (conversion != 's' && conversion != 'r' && conversion != 'a')
				return hth_jj_fail(r, "Unknown conversion specifier '%c'", conversion);
			v = conversion == 's' ? hth_jj_to_str(r, v) : hth_jj_repr(r, v);
		}
		size_t spec_from = i;
		if (v != NULL && i < len && s[i] == ':') {
			spec_from = ++i;
			while (i < len && s[i] != '}') {
				if (s[i] == '{')
					return hth_jj_fail(r, "nested replacement fields are not supported in a format string");
				i++;
			}
		}
		if (v == NULL)
			return NULL;
		if (i >= len || s[i] != '}')
			return hth_jj_fail(r, "expected '}' before end of string");
		jv *text = hth_jj_format_spec(r, v, s + spec_from, i - spec_from);
		if (text == NULL || !hth_jj_put_str(&b, text))
			return NULL;
		i++;
	}
	return hth_jj_done(&b);
}

/* --- % --- */

/* The next value of a tuple (or the only one), or by (name) from a dict. */
static jv *percent_value(jj_run *r, jv *args, uint32_t *used)
{
	bool tuple = args->kind == JJ_TUPLE;
	if (*used >= (tuple ? args->list.n : 1))
		return hth_jj_fail(r, "not enough arguments for format string");
	return tuple ? args->list.items[(*used)++] : ((*used)++, args);
}

static bool percent_one(jj_run *r, jj_builder *b, spec *s, jv *v)
{
	int64_t i;
	jv *text;
	switch (s->type) {
	case 's':
	case 'r':
	case 'a':
		text = s->type == 's' ? hth_jj_to_str(r, v) : hth_jj_repr(r, v);
		return text != NULL && put_string(r, b, s, text, '>');
	case 'c':
		if (v->kind == JJ_STRING && v->s.chars == 1)
			return put_string(r, b, s, v, '>');
		break;
	default:
		break;
	}
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (!hth_jj_is_number(v))
		return hth_jj_fail(r, "%%%c format: a real number is required, not %s", s->type, hth_jj_type_name(v));
	if (strchr("eEfFgG", s->type) != NULL)
		return put_float(r, b, s, hth_jj_as_double(v));
	if (v->kind == JJ_FLOAT) {
		if (s->type != 'd')
			return hth_jj_fail(r, "%%%c format: an integer is required, not float", s->type);
		if (!(fabs(v->f) < 9.2e18))
			return hth_jj_fail(r, "cannot convert float to integer");
		i = (int64_t)v->f;
	} else {
		hth_jj_as_int(v, &i);
	}
	s->precision = -1;
	return put_int(r, b, s, i);
}

jv *hth_jj_percent_format(jj_run *r, jv *format, jv *args)
{
	jj_builder b = hth_jj_builder(r->arena);
	const char *s = format->s.data, *end = s + format->s.len;
	uint32_t used = 0;
	bool named = false;
	if (!hth_jj_charge_bytes(r, format->s.len))
		return NULL;
	for (const char *p = s; p < end;) {
		const char *percent = memchr(p, '%', (size_t)(end - p));
		if (!hth_jj_put_slice(&b, format, (size_t)(p - s), (size_t)((percent ? percent : end) - s)))
			return NULL;
		if (percent == NULL)
			break;
		p = percent + 1;
		spec f = {.fill = " ", .fill_len = 1, .precision = -1};
		jv *v = NULL;
		if (p < end && *p == '(') {
			const char *close = memchr(p, ')', (size_t)(end - p));
			if (close == NULL)
				return hth_jj_fail(r, "incomplete format key");
			if (args->kind != JJ_DICT)
				return hth_jj_fail(r, "format requires a mapping");
			v = hth_jj_dict_get_str(r->arena, args->dict, p + 1, (size_t)(close - p - 1));
			if (v == NULL)
				return hth_jj_fail(r, "the format's mapping has no '%.*s'",
						   (int)HTH_MIN(close - p - 1, (ptrdiff_t)60), p + 1);
			named = true;
			p = close + 1;
		}
		for (; p < end && strchr("#0- +", *p) != NULL && *p != '\0'; p++) {
			if (*p == '#')
				f.alt = true;
			else if (*p == '0')
				f.zero = true;
			else if (*p == '-')
				f.align = '<';
			else if (f.sign != '+')
				f.sign = *p;
		}
		if (!parse_int(&p, end, WIDTH_MAX, &f.width))
			return hth_jj_fail(r, "a width in a format string is over %d", WIDTH_MAX);
		if (p < end && *p == '.') {
			p++;
			if (!parse_int(&p, end, PRECISION_MAX, &f.precision))
				return hth_jj_fail(r, "a precision in a format string is over %d", PRECISION_MAX);
		}
		if (p >= end)
			return hth_jj_fail(r, "incomplete format");
		f.type = *p++;
		if (f.type == 'i' || f.type == 'u')
			f.type = 'd';
		if (f.type == '%') {
			hth_jj_put_cstr(&b, "%");
			continue;
		}
		if (strchr("srcadxXoeEfFgG", f.type) == NULL)
			return hth_jj_fail(r, "unsupported format character '%c'", f.type >= 32 ? f.type : '?');
		if (f.zero && f.align == 0 && strchr("dxXoeEfFgG", f.type) != NULL) {
			f.align = '=';
			f.fill[0] = '0';
		}
		if (!hth_jj_charge(r, 1))
			return NULL;
		if (v == NULL)
			v = percent_value(r, args, &used);
		if (v == NULL || !percent_one(r, &b, &f, v))
			return NULL;
	}
	if (!named && args->kind == JJ_TUPLE && used < args->list.n)
		return hth_jj_fail(r, "not all arguments converted during string formatting");
	if (!named && used == 0 && args->kind != JJ_TUPLE && args->kind != JJ_DICT && args->kind != JJ_LIST &&
	    args->kind != JJ_RANGE && args->kind != JJ_UNDEFINED)
		return hth_jj_fail(r, "not all arguments converted during string formatting");
	return hth_jj_done(&b);
}
