/* jinja-filters.c - the filters on text and single values, and the table of all filters.
 *
 * Meanings are Jinja 3.1's, except tojson, which is Hugging Face's (no HTML escapes). Not there, because no chat template could
 * use them sensibly: random, urlize, wordwrap, xmlattr, striptags.
 */
#include "engine/jinja/jinja-filters.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "engine/jinja/jinja-unicode.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

static jv *f_upper(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v);
	return s ? hth_jj_case(r, s, JJ_UPPER) : NULL;
}

static jv *f_lower(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v);
	return s ? hth_jj_case(r, s, JJ_LOWER) : NULL;
}

static jv *f_capitalize(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v);
	return s ? hth_jj_case(r, s, JJ_CAPITALIZE) : NULL;
}

static jv *f_title(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v);
	return s ? hth_jj_case(r, s, JJ_JINJA_TITLE) : NULL;
}

static jv *f_trim(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v), *chars = NULL;
	if (s == NULL || (p[0] != NULL && p[0]->kind != JJ_NONE && !hth_jj_arg_str(r, p[0], "chars", &chars)))
		return NULL;
	return hth_jj_strip(r, s, chars, 3);
}

static jv *f_string(jj_run *r, jv *v, jv **p, const jj_args *a) { return hth_jj_to_str(r, v); }

static jv *with_markup(jj_run *r, jv *s, bool markup)
{
	if (s == NULL || s->markup == markup)
		return s;
	hth_jinja_value *copy = hth_jj_new(r->arena, JJ_STRING);
	if (copy == NULL)
		return NULL;
	*copy = *s;
	copy->markup = markup;
	return copy;
}

static jv *f_safe(jj_run *r, jv *v, jv **p, const jj_args *a) { return with_markup(r, hth_jj_to_str(r, v), true); }

static jv *f_escape(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v);
	return s ? hth_jj_escape(r, s) : NULL;
}

static jv *f_forceescape(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = with_markup(r, hth_jj_to_str(r, v), false);
	return s ? hth_jj_escape(r, s) : NULL;
}

static jv *f_replace(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	int64_t count = -1;
	jv *s = with_markup(r, hth_jj_to_str(r, v), false), *old = s ? hth_jj_to_str(r, p[0]) : NULL;
	jv *with = old ? hth_jj_to_str(r, p[1]) : NULL;
	if (with == NULL || !hth_jj_arg_int(r, p[2], "count", &count))
		return NULL;
	return hth_jj_replace(r, s, old, with, count);
}

static jv *f_center(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	int64_t width = 80;
	jv *s = hth_jj_to_str(r, v), *space = hth_jj_str(r->arena, " ");
	if (s == NULL || space == NULL || !hth_jj_arg_int(r, p[0], "width", &width))
		return NULL;
	return hth_jj_pad(r, s, width, space, 0);
}

static jv *f_indent(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	int64_t width = 4;
	bool first = p[1] != NULL && hth_jj_truth(p[1]), blank = p[2] != NULL && hth_jj_truth(p[2]);
	jv *by = NULL, *s = hth_jj_need_str(r, v, "s");
	if (s == NULL)
		return NULL;
	if (p[0] != NULL && p[0]->kind == JJ_STRING) {
		by = p[0];
	} else {
		jv *space = hth_jj_str(r->arena, " ");
		if (space == NULL || !hth_jj_arg_int(r, p[0], "width", &width))
			return NULL;
		by = hth_jj_repeat(r, space, width);
	}
	if (s == NULL || by == NULL)
		return NULL;
	/* A newline at the end counts as a last, empty line, as it does in Jinja. */
	jv *end = hth_jj_str(r->arena, "\n"), *padded = end ? hth_jj_concat(r->arena, s, end) : NULL;
	hth_jinja_value *lines = padded ? hth_jj_splitlines(r, padded, false) : NULL;
	jj_builder b = hth_jj_builder(r->arena);
	for (uint32_t i = 0; lines != NULL && i < lines->list.n; i++) {
		jv *line = lines->list.items[i];
		if (i > 0)
			hth_jj_put_cstr(&b, "\n");
		if (i == 0 ? first : blank || line->s.len > 0)
			hth_jj_put_str(&b, by);
		if (!hth_jj_put_str(&b, line))
			return NULL;
	}
	return lines ? hth_jj_done(&b) : NULL;
}

static jv *f_truncate(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	int64_t length = 255, leeway = 5;
	jv *end = hth_jj_str(r->arena, "..."), *s = v->kind == JJ_UNDEFINED ? v : hth_jj_to_str(r, v);
	if (end == NULL || s == NULL || !hth_jj_arg_int(r, p[0], "length", &length) || !hth_jj_arg_str(r, p[2], "end", &end) ||
	    !hth_jj_arg_int(r, p[3], "leeway", &leeway))
		return NULL;
	if (length < end->s.chars)
		return hth_jj_fail(r, "expected length >= %u, got %lld", end->s.chars, (long long)length);
	if (leeway < 0)
		return hth_jj_fail(r, "expected leeway >= 0, got %lld", (long long)leeway);
	if (v->kind == JJ_UNDEFINED)
		return v;
	if ((int64_t)s->s.chars <= length || (int64_t)s->s.chars - length <= leeway)
		return s;
	jv *cut = hth_jj_slice(r->arena, s, 0, hth_jj_char_at(s, (size_t)(length - end->s.chars)));
	if (cut != NULL && !(p[1] != NULL && hth_jj_truth(p[1]))) {
		jv *space = hth_jj_str(r->arena, " ");
		size_t at = space ? hth_jj_rfind(cut, space, cut->s.len) : SIZE_MAX;
		if (at != SIZE_MAX)
			cut = hth_jj_slice(r->arena, cut, 0, at);
	}
	return cut ? hth_jj_concat(r->arena, cut, end) : NULL;
}

static jv *f_wordcount(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v);
	int64_t n = 0;
	bool word = false;
	if (s == NULL || !hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
		return NULL;
	for (size_t i = 0; i < s->s.len;) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		bool in_word = cp == '_' || hth_uni_is(cp, HTH_UNI_ALNUM);
		n += in_word && !word;
		word = in_word;
	}
	return hth_jinja_int(r->arena, n);
}

static jv *f_format(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *s = hth_jj_to_str(r, v);
	if (s == NULL)
		return NULL;
	if (a->n_kw > 0 && a->n_pos > 0)
		return hth_jj_fail(r, "can't handle positional and keyword arguments at the same time");
	if (a->n_kw > 0) {
		hth_jinja_value *d = hth_jinja_dict(r->arena);
		for (uint32_t i = 0; d != NULL && i < a->n_kw; i++)
			if (!hth_jj_dict_put(r->arena, d->dict, a->kw_names[i], a->kw[i]))
				return NULL;
		return d ? hth_jj_percent_format(r, s, d) : NULL;
	}
	hth_jinja_value *t = hth_jj_seq(r->arena, JJ_TUPLE, a->n_pos);
	for (uint32_t i = 0; t != NULL && i < a->n_pos; i++)
		t->list.items[i] = a->pos[i];
	return t ? hth_jj_percent_format(r, s, t) : NULL;
}

static void put_url(jj_builder *b, jv *s, bool for_query)
{
	for (size_t i = 0; i < s->s.len; i++) {
		unsigned char c = (unsigned char)s->s.data[i];
		char text[4];
		if (isalnum(c) ? c < 0x80 : c != '\0' && strchr("_.-~", c) != NULL) {
			hth_jj_put_slice(b, s, i, i + 1);
			continue;
		}
		if (c == '/' && !for_query)
			snprintf(text, sizeof text, "/");
		else if (c == ' ' && for_query)
			snprintf(text, sizeof text, "+");
		else
			snprintf(text, sizeof text, "%%%02X", c);
		hth_jj_put(b, text, strlen(text), hth_jj_is_input(s, i, i + 1));
	}
}

static jv *f_urlencode(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jj_builder b = hth_jj_builder(r->arena);
	jv **items, **pair;
	uint32_t n, two;
	if (v->kind == JJ_STRING || v->kind <= JJ_FLOAT) {
		jv *s = hth_jj_to_str(r, v);
		if (s == NULL || !hth_jj_charge_bytes(r, (uint64_t)s->s.len * JJ_PER_CHAR))
			return NULL;
		put_url(&b, s, false);
		return hth_jj_done(&b);
	}
	if (v->kind == JJ_DICT)
		v = hth_jj_call_builtin(r, hth_jj_find_method(JJ_DICT, "items", 5), v, NULL);
	if (v == NULL || !hth_jj_items(r, v, &items, &n))
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		if (!hth_jj_items(r, items[i], &pair, &two))
			return NULL;
		if (two != 2)
			return hth_jj_fail(r, "urlencode needs pairs of a key and a value");
		jv *key = hth_jj_to_str(r, pair[0]), *value = key ? hth_jj_to_str(r, pair[1]) : NULL;
		if (value == NULL || !hth_jj_charge_bytes(r, ((uint64_t)key->s.len + value->s.len) * JJ_PER_CHAR))
			return NULL;
		if (i > 0)
			hth_jj_put_cstr(&b, "&");
		put_url(&b, key, true);
		hth_jj_put_cstr(&b, "=");
		put_url(&b, value, true);
	}
	return hth_jj_done(&b);
}

enum { INDENT_MAX = 64 };

static jv *f_tojson(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jj_json_style style = {.indent = -1, .ascii = p[0] != NULL && hth_jj_truth(p[0])};
	jv *indent = p[1], *separators = p[2];
	int64_t width = 0;
	style.sort_keys = p[3] != NULL && hth_jj_truth(p[3]);
	if (indent != NULL && indent->kind == JJ_STRING) {
		style.indent_text = indent;
		style.indent = 0;
	} else if (indent != NULL && indent->kind != JJ_NONE) {
		if (!hth_jj_arg_int(r, indent, "indent", &width))
			return NULL;
		if (width > INDENT_MAX)
			return hth_jj_fail(r, "an indent of %lld is over the limit of %d", (long long)width, INDENT_MAX);
		style.indent = (int)HTH_MAX(width, 0);
	}
	style.item_separator = style.indent < 0 ? ", " : ",";
	style.key_separator = ": ";
	style.item_separator_len = strlen(style.item_separator);
	style.key_separator_len = 2;
	if (separators != NULL && separators->kind != JJ_NONE) {
		if ((separators->kind != JJ_TUPLE && separators->kind != JJ_LIST) || separators->list.n != 2)
			return hth_jj_fail(r, "'separators' must be a pair of strings");
		jv *item = hth_jj_need_str(r, separators->list.items[0], "separators");
		jv *key = hth_jj_need_str(r, separators->list.items[1], "separators");
		if (item == NULL || key == NULL)
			return NULL;
		style.item_separator = item->s.data;
		style.item_separator_len = item->s.len;
		style.key_separator = key->s.data;
		style.key_separator_len = key->s.len;
	}
	return hth_jj_json(r, v, &style);
}

static jv *f_pprint(jj_run *r, jv *v, jv **p, const jj_args *a) { return hth_jj_repr(r, v); }

/* --- numbers --- */

/* A number as Python's int() and float() read it, or false. Underscores between digits are dropped. */
static bool read_number(jv *s, char out[128])
{
	const char *t = s->s.data;
	size_t from = 0, to = s->s.len, n = 0;
	while (from < to && isspace((unsigned char)t[from]))
		from++;
	while (to > from && isspace((unsigned char)t[to - 1]))
		to--;
	if (to == from || to - from > 120)
		return false;
	for (size_t i = from; i < to; i++) {
		if (t[i] == '_' && i > from && i + 1 < to && isalnum((unsigned char)t[i - 1]) && isalnum((unsigned char)t[i + 1]))
			continue;
		if (t[i] == '\0')
			return false;
		out[n++] = t[i];
	}
	out[n] = '\0';
	return true;
}

static bool read_int(const char *text, int base, int64_t *ret)
{
	bool negative = *text == '-';
	const char *p = text + (*text == '-' || *text == '+');
	char kind = p[0] == '0' ? (char)(p[1] | 32) : '\0';
	int prefix = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
	if (prefix != 0 && (base == prefix || base == 0)) {
		p += 2;
		base = prefix;
	} else if (base == 0) {
		base = 10;
	}
	if (!isalnum((unsigned char)*p))
		return false;
	char *end;
	errno = 0;
	uint64_t u = strtoull(p, &end, base);
	if (*end != '\0' || errno != 0 || u > (uint64_t)INT64_MAX + negative)
		return false;
	*ret = (int64_t)(negative ? 0 - u : u);
	return true;
}

static bool read_float(const char *text, double *ret)
{
	const char *p = text + (*text == '-' || *text == '+');
	char *end;
	if (strncasecmp(p, "inf", 3) != 0 && strncasecmp(p, "nan", 3) != 0 && strspn(p, "0123456789.eE+-") != strlen(p))
		return false;
	if (strchr(p, '(') != NULL)
		return false;
	*ret = strtod(text, &end);
	return end != text && *end == '\0';
}

static bool float_to_int(double f, int64_t *ret)
{
	if (!(f > -9223372036854775808.0 && f < 9223372036854775808.0))
		return false;
	*ret = (int64_t)f;
	return true;
}

static jv *f_int(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	int64_t i = 0, base = 10;
	double f;
	char text[128];
	if (!hth_jj_arg_int(r, p[1], "base", &base))
		return NULL;
	if (base != 0 && (base < 2 || base > 36))
		return hth_jj_fail(r, "int() base must be >= 2 and <= 36, or 0");
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	bool ok = hth_jj_as_int(v, &i) || (v->kind == JJ_FLOAT && float_to_int(v->f, &i));
	if (!ok && v->kind == JJ_STRING && read_number(v, text))
		ok = read_int(text, (int)base, &i) || (read_float(text, &f) && float_to_int(f, &i));
	if (!ok)
		return p[0] ? p[0] : hth_jinja_int(r->arena, 0);
	return hth_jinja_int(r->arena, i);
}

static jv *f_float(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	double f = 0;
	char text[128];
	if (hth_jj_is_number(v))
		return hth_jinja_float(r->arena, hth_jj_as_double(v));
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (v->kind == JJ_STRING && read_number(v, text) && read_float(text, &f))
		return hth_jinja_float(r->arena, f);
	return p[0] ? p[0] : hth_jinja_float(r->arena, 0);
}

static jv *f_abs(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	int64_t i;
	if (v->kind == JJ_FLOAT)
		return hth_jinja_float(r->arena, fabs(v->f));
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (!hth_jj_as_int(v, &i))
		return hth_jj_fail(r, "bad operand type for abs(): '%s'", hth_jj_type_name(v));
	if (i == INT64_MIN)
		return hth_jj_fail(r, "the result does not fit a 64-bit integer");
	return hth_jinja_int(r->arena, i < 0 ? -i : i);
}

static jv *f_round(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	int64_t precision = 0, i;
	jv *method = NULL;
	char text[400];
	if (!hth_jj_arg_int(r, p[0], "precision", &precision) || !hth_jj_arg_str(r, p[1], "method", &method))
		return NULL;
	bool common = method == NULL || hth_jj_is_str(method, "common"), ceiling = method && hth_jj_is_str(method, "ceil");
	if (!common && !ceiling && !hth_jj_is_str(method, "floor"))
		return hth_jj_fail(r, "method must be common, ceil or floor");
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (!hth_jj_is_number(v))
		return hth_jj_fail(r, "type %s doesn't define __round__ method", hth_jj_type_name(v));
	if (precision > 30 || precision < -30)
		return hth_jj_fail(r, "a precision of %lld is out of range", (long long)precision);
	double f = hth_jj_as_double(v), scale = pow(10, (double)precision);
	if (!common)
		return hth_jinja_float(r->arena, (ceiling ? ceil(f * scale) : floor(f * scale)) / scale);
	if (hth_jj_as_int(v, &i) && precision >= 0)
		return hth_jinja_int(r->arena, i);
	if (isnan(f) || isinf(f))
		return v;
	if (precision >= 0) {
		/* printf rounds the exact binary value, half to even, as Python does. */
		snprintf(text, sizeof text, "%.*f", (int)precision, f);
		f = strtod(text, NULL);
	} else {
		f = rint(f * scale) / scale;
	}
	return v->kind == JJ_FLOAT ? hth_jinja_float(r->arena, f)
				   : hth_jinja_int(r->arena, float_to_int(f, &i) ? i : 0);
}

static jv *f_filesizeformat(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	static const char *const units[2][8] = {{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
						{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
	char text[64];
	bool binary = p[0] != NULL && hth_jj_truth(p[0]);
	double base = binary ? 1024 : 1000, unit = base, bytes = 0;
	char number[128];
	if (hth_jj_is_number(v))
		bytes = hth_jj_as_double(v);
	else if (v->kind != JJ_STRING || !read_number(v, number) || !read_float(number, &bytes))
		return hth_jj_fail(r, "filesizeformat needs a number, not '%s'", hth_jj_type_name(v));
	if (bytes == 1) {
		snprintf(text, sizeof text, "1 Byte");
	} else if (bytes < base) {
		snprintf(text, sizeof text, "%lld Bytes", (long long)bytes);
	} else {
		int i = 0;
		while (i < 7 && bytes >= unit * base) {
			unit *= base;
			i++;
		}
		snprintf(text, sizeof text, "%.1f %s", bytes / unit, units[binary][i]);
	}
	return hth_jinja_trusted_string(r->arena, text, strlen(text));
}

/* --- any value --- */

static jv *f_default(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	bool falsy = p[1] != NULL && hth_jj_truth(p[1]);
	if (v->kind != JJ_UNDEFINED && !(falsy && !hth_jj_truth(v)))
		return v;
	return p[0] ? p[0] : hth_jj_str(r->arena, "");
}

static jv *f_attr(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *name = hth_jj_need_str(r, p[0], "name");
	if (name == NULL)
		return NULL;
	if (v->kind != JJ_DICT)
		return hth_jj_attr(r, v, name);
	/* The filter looks at attributes only, never at keys. */
	const jj_builtin *method = hth_jj_find_method(JJ_DICT, name->s.data, name->s.len);
	if (method != NULL)
		return hth_jj_method(r, v, method);
	return hth_jj_undefined(r, "'dict object' has no attribute '%.*s'", (int)HTH_MIN(name->s.len, 80u), name->s.data);
}

static const jj_builtin filters[] = {
    {"abs", "", f_abs},
    {"attr", "name", f_attr},
    {"batch", "linecount,fill_with?", hth_jj_f_batch},
    {"capitalize", "", f_capitalize},
    {"center", "width?", f_center},
    {"count", "", hth_jj_f_length},
    {"d", "default_value?,boolean?", f_default},
    {"default", "default_value?,boolean?", f_default},
    {"dictsort", "case_sensitive?,by?,reverse?", hth_jj_f_dictsort},
    {"e", "", f_escape},
    {"escape", "", f_escape},
    {"filesizeformat", "binary?", f_filesizeformat},
    {"first", "", hth_jj_f_first},
    {"float", "default?", f_float},
    {"forceescape", "", f_forceescape},
    {"format", "*", f_format},
    {"groupby", "attribute,default?,case_sensitive?", hth_jj_f_groupby},
    {"indent", "width?,first?,blank?", f_indent},
    {"int", "default?,base?", f_int},
    {"items", "", hth_jj_f_items},
    {"join", "d?,attribute?", hth_jj_f_join},
    {"last", "", hth_jj_f_last},
    {"length", "", hth_jj_f_length},
    {"list", "", hth_jj_f_list},
    {"lower", "", f_lower},
    {"map", "*", hth_jj_f_map},
    {"max", "case_sensitive?,attribute?", hth_jj_f_max},
    {"min", "case_sensitive?,attribute?", hth_jj_f_min},
    {"pprint", "", f_pprint},
    {"reject", "*", hth_jj_f_reject},
    {"rejectattr", "*", hth_jj_f_rejectattr},
    {"replace", "old,new,count?", f_replace},
    {"reverse", "", hth_jj_f_reverse},
    {"round", "precision?,method?", f_round},
    {"safe", "", f_safe},
    {"select", "*", hth_jj_f_select},
    {"selectattr", "*", hth_jj_f_selectattr},
    {"slice", "slices,fill_with?", hth_jj_f_slice},
    {"sort", "reverse?,case_sensitive?,attribute?", hth_jj_f_sort},
    {"string", "", f_string},
    {"sum", "attribute?,start?", hth_jj_f_sum},
    {"title", "", f_title},
    {"tojson", "ensure_ascii?,indent?,separators?,sort_keys?", f_tojson},
    {"trim", "chars?", f_trim},
    {"truncate", "length?,killwords?,end?,leeway?", f_truncate},
    {"unique", "case_sensitive?,attribute?", hth_jj_f_unique},
    {"upper", "", f_upper},
    {"urlencode", "", f_urlencode},
    {"wordcount", "", f_wordcount},
};

const jj_builtin *hth_jj_find_filter(const char *name, size_t len) { return JJ_SEARCH(filters, name, len); }
