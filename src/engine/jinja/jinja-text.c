/* jinja-text.c - the text of values: Python's str() and repr(), JSON as Hugging Face's tojson writes it, HTML escaping.
 *
 * The text of a list or dict counts as input as soon as one string in it does: brackets and quotes marked too much are harmless.
 */
#include "engine/jinja/jinja-run.h"
#include "engine/jinja/jinja-unicode.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>

size_t hth_jj_float_text(double f, char out[40])
{
	if (isnan(f) || isinf(f))
		return (size_t)snprintf(out, 40, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
	/* The fewest digits that read back as the same number. */
	char e[40];
	for (int digits = fabs(f) < 1e-300 ? 1 : 15; digits <= 17; digits++) {
		snprintf(e, sizeof e, "%.*e", digits - 1, f);
		if (strtod(e, NULL) == f)
			break;
	}
	char digits[24] = "0";
	size_t n = 0;
	const char *p = e;
	bool negative = *p == '-';
	for (p += negative; *p != 'e'; p++)
		if (*p >= '0' && *p <= '9')
			digits[n++] = *p;
	int exponent = atoi(p + 1);
	while (n > 1 && digits[n - 1] == '0')
		n--;
	char *o = out;
	if (negative)
		*o++ = '-';
	if (exponent < -4 || exponent >= 16) {
		*o++ = digits[0];
		if (n > 1) {
			*o++ = '.';
			memcpy(o, digits + 1, n - 1);
			o += n - 1;
		}
		o += snprintf(o, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		return (size_t)(o - out);
	}
	if (exponent < 0) {
		*o++ = '0';
		*o++ = '.';
		for (int i = -1; i > exponent; i--)
			*o++ = '0';
	}
	for (int i = 0; i < (int)n || i <= exponent; i++) {
		*o++ = i < (int)n ? digits[i] : '0';
		if (i == exponent)
			*o++ = '.';
	}
	if (o[-1] == '.')
		*o++ = '0';
	*o = '\0';
	return (size_t)(o - out);
}

/* A string in quotes as repr() shows it. */
static bool put_quoted(jj_builder *b, jv *s)
{
	bool single = memchr(s->s.data, '\'', s->s.len) != NULL && s->s.len > 0;
	bool twice = s->s.len > 0 && memchr(s->s.data, '"', s->s.len) != NULL;
	char quote = single && !twice ? '"' : '\'';
	hth_jj_put(b, &quote, 1, false);
	for (size_t i = 0; i < s->s.len && !b->failed;) {
		uint32_t cp;
		size_t n = hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		char text[16] = "";
		if (cp == '\\' || cp == (uint32_t)quote)
			snprintf(text, sizeof text, "\\%c", (char)cp);
		else if (cp == '\n' || cp == '\r' || cp == '\t')
			snprintf(text, sizeof text, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
		else if (!hth_uni_is(cp, HTH_UNI_PRINTABLE))
			snprintf(text, sizeof text, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
		if (text[0] != '\0')
			hth_jj_put_cstr(b, text);
		else
			hth_jj_put(b, s->s.data + i, n, false);
		i += n;
	}
	return hth_jj_put(b, &quote, 1, false);
}

static bool put_repr(jj_run *r, jj_builder *b, jv *v, bool *input);

static bool put_items(jj_run *r, jj_builder *b, jv *const *items, uint32_t n, bool *input)
{
	for (uint32_t i = 0; i < n; i++)
		if ((i > 0 && !hth_jj_put_cstr(b, ", ")) || !put_repr(r, b, items[i], input))
			return false;
	return true;
}

static bool put_dict(jj_run *r, jj_builder *b, const jj_dict *d, bool *input)
{
	hth_jj_put_cstr(b, "{");
	for (uint32_t i = 0; i < d->n; i++) {
		if (i > 0)
			hth_jj_put_cstr(b, ", ");
		if (!put_repr(r, b, d->entries[i].key, input) || !hth_jj_put_cstr(b, ": ") ||
		    !put_repr(r, b, d->entries[i].value, input))
			return false;
	}
	return hth_jj_put_cstr(b, "}");
}

/* Values that have no readable form in Python show their type; the address Python prints is left out. */
static bool put_opaque(jj_builder *b, jv *v)
{
	char text[160];
	switch (v->kind) {
	case JJ_FUNCTION:
		snprintf(text, sizeof text, "<function %s>", v->fn.fn->name);
		break;
	case JJ_METHOD:
		snprintf(text, sizeof text, "<built-in method %s of %s object>", v->fn.fn->name, hth_jj_type_name(v->fn.self));
		break;
	case JJ_MACRO:
		snprintf(text, sizeof text, "<Macro '%.*s'>", (int)HTH_MIN(v->macro->def->name->s.len, 80u),
			 v->macro->def->name->s.data);
		break;
	case JJ_LOOP:
		snprintf(text, sizeof text, "<LoopContext %u/%u>", v->loop->at + 1, v->loop->n);
		break;
	default:
		snprintf(text, sizeof text, "<%s object>", hth_jj_type_name(v));
		break;
	}
	return hth_jj_put_cstr(b, text);
}

static bool put_repr_node(jj_run *r, jj_builder *b, jv *v, bool *input)
{
	char text[80];
	switch (v->kind) {
	case JJ_UNDEFINED:
		return hth_jj_put_cstr(b, "Undefined");
	case JJ_NONE:
		return hth_jj_put_cstr(b, "None");
	case JJ_BOOL:
		return hth_jj_put_cstr(b, v->flag ? "True" : "False");
	case JJ_INT:
		snprintf(text, sizeof text, "%lld", (long long)v->i);
		return hth_jj_put_cstr(b, text);
	case JJ_FLOAT:
		return hth_jj_put(b, text, hth_jj_float_text(v->f, text), false);
	case JJ_STRING:
		*input |= v->taint != JJ_TRUSTED;
		if (!hth_jj_charge_bytes(r, (uint64_t)v->s.len * JJ_PER_CHAR))
			return false;
		if (v->markup)
			return hth_jj_put_cstr(b, "Markup(") && put_quoted(b, v) && hth_jj_put_cstr(b, ")");
		return put_quoted(b, v);
	case JJ_LIST:
		return hth_jj_put_cstr(b, "[") && put_items(r, b, v->list.items, v->list.n, input) && hth_jj_put_cstr(b, "]");
	case JJ_TUPLE:
		return hth_jj_put_cstr(b, "(") && put_items(r, b, v->list.items, v->list.n, input) &&
		       hth_jj_put_cstr(b, v->list.n == 1 ? ",)" : ")");
	case JJ_DICT:
		return put_dict(r, b, v->dict, input);
	case JJ_NAMESPACE:
		return hth_jj_put_cstr(b, "<Namespace ") && put_dict(r, b, v->dict, input) && hth_jj_put_cstr(b, ">");
	case JJ_RANGE:
		snprintf(text, sizeof text, v->range.step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
			 (long long)v->range.start, (long long)v->range.stop, (long long)v->range.step);
		return hth_jj_put_cstr(b, text);
	case JJ_VIEW: {
		jv **items;
		uint32_t n;
		return hth_jj_put_cstr(b, hth_jj_type_name(v)) && hth_jj_put_cstr(b, "([") &&
		       hth_jj_items(r, v, &items, &n) && put_items(r, b, items, n, input) && hth_jj_put_cstr(b, "])");
	}
	default:
		return put_opaque(b, v);
	}
}

static bool put_repr(jj_run *r, jj_builder *b, jv *v, bool *input)
{
	if (!hth_jj_charge(r, 1) || !hth_jj_deeper(r))
		return false;
	bool ok = put_repr_node(r, b, v, input);
	r->level--;
	return ok && !b->failed && !b->too_long;
}

jv *hth_jj_repr(jj_run *r, jv *v)
{
	jj_builder b = hth_jj_builder(r->arena);
	bool input = false;
	if (!put_repr(r, &b, v, &input))
		return NULL;
	if (input)
		hth_jj_mark_all(&b);
	return hth_jj_done(&b);
}

jv *hth_jj_to_str(jj_run *r, jv *v)
{
	if (v->kind == JJ_STRING)
		return v;
	if (v->kind != JJ_UNDEFINED)
		return hth_jj_repr(r, v);
	return hth_jj_str(r->arena, "");
}

bool hth_jj_put_text(jj_run *r, jj_builder *b, jv *v)
{
	jv *s = hth_jj_to_str(r, v);
	return s != NULL && hth_jj_charge_bytes(r, s->s.len) && hth_jj_put_str(b, s);
}

jv *hth_jj_escape(jj_run *r, jv *s)
{
	if (s->markup)
		return s;
	jj_builder b = hth_jj_builder(r->arena);
	if (!hth_jj_charge_bytes(r, s->s.len * 8ull))
		return NULL;
	size_t from = 0;
	for (size_t i = 0; i < s->s.len; i++) {
		const char *to = NULL;
		switch (s->s.data[i]) {
		case '&':
			to = "&amp;";
			break;
		case '<':
			to = "&lt;";
			break;
		case '>':
			to = "&gt;";
			break;
		case '"':
			to = "&#34;";
			break;
		case '\'':
			to = "&#39;";
			break;
		default:
			continue;
		}
		hth_jj_put_slice(&b, s, from, i);
		hth_jj_put(&b, to, strlen(to), hth_jj_is_input(s, i, i + 1));
		from = i + 1;
	}
	hth_jj_put_slice(&b, s, from, s->s.len);
	hth_jinja_value *v = (hth_jinja_value *)hth_jj_done(&b);
	if (v != NULL)
		v->markup = true;
	return v;
}

/* --- JSON --- */

static bool json_string(jj_builder *b, jv *s, bool ascii, bool *input)
{
	*input |= s->taint != JJ_TRUSTED;
	hth_jj_put_cstr(b, "\"");
	size_t from = 0;
	for (size_t i = 0; i < s->s.len;) {
		unsigned char c = (unsigned char)s->s.data[i];
		uint32_t cp = c;
		size_t n = c < 0x80 ? 1 : hth_utf8_decode_lossy(s->s.data + i, s->s.len - i, &cp);
		bool plain = c >= 0x20 && c != '"' && c != '\\' && (c < 0x80 || !ascii);
		if (!plain) {
			char text[16];
			static const char from_c[] = "\"\\\n\r\t\b\f", to_c[] = "\"\\nrtbf";
			const char *known = c < 0x80 ? strchr(from_c, c) : NULL;
			if (known != NULL && c != '\0')
				snprintf(text, sizeof text, "\\%c", to_c[known - from_c]);
			else if (cp >= 0x10000)
				snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + ((cp - 0x10000) >> 10),
					 0xDC00 + ((cp - 0x10000) & 0x3FF));
			else
				snprintf(text, sizeof text, "\\u%04x", cp);
			hth_jj_put(b, s->s.data + from, i - from, false);
			hth_jj_put_cstr(b, text);
			from = i + n;
		}
		i += n;
	}
	hth_jj_put(b, s->s.data + from, s->s.len - from, false);
	return hth_jj_put_cstr(b, "\"");
}

static bool json_break(jj_builder *b, const jj_json_style *style, unsigned depth)
{
	if (style->indent < 0)
		return true;
	hth_jj_put_cstr(b, "\n");
	for (unsigned i = 0; i < depth && !b->failed; i++) {
		if (style->indent_text != NULL)
			hth_jj_put_str(b, style->indent_text);
		for (int k = 0; style->indent_text == NULL && k < style->indent; k++)
			hth_jj_put_cstr(b, " ");
	}
	return !b->failed;
}

static bool json_value(jj_run *r, jj_builder *b, jv *v, const jj_json_style *style, unsigned depth, bool *input);

/* An object's key: numbers, booleans and none become strings, as Python's json does. */
static bool json_key(jj_run *r, jj_builder *b, jv *key, const jj_json_style *style, bool *input)
{
	char text[40];
	if (key->kind == JJ_STRING)
		return json_string(b, key, style->ascii, input);
	if (key->kind > JJ_FLOAT || key->kind == JJ_UNDEFINED)
		return hth_jj_fail(r, "keys must be str, int, float, bool or None, not %s", hth_jj_type_name(key));
	if (key->kind == JJ_NONE)
		return hth_jj_put_cstr(b, "\"null\"");
	if (key->kind == JJ_BOOL)
		return hth_jj_put_cstr(b, key->flag ? "\"true\"" : "\"false\"");
	if (key->kind == JJ_INT)
		snprintf(text, sizeof text, "%lld", (long long)key->i);
	else
		hth_jj_float_text(key->f, text);
	return hth_jj_put_cstr(b, "\"") && hth_jj_put_cstr(b, text) && hth_jj_put_cstr(b, "\"");
}

static int compare_keys(const void *a, const void *b)
{
	const jj_entry *x = a, *y = b;
	return hth_jj_str_cmp(x->key, y->key);
}

static bool json_dict(jj_run *r, jj_builder *b, const jj_dict *d, const jj_json_style *style, unsigned depth, bool *input)
{
	const jj_entry *entries = d->entries;
	if (d->n == 0)
		return hth_jj_put_cstr(b, "{}");
	if (style->sort_keys) {
		jj_entry *sorted = hth_jj_alloc(r->arena, d->n * sizeof *sorted);
		if (sorted == NULL)
			return false;
		for (uint32_t i = 0; i < d->n; i++) {
			sorted[i] = d->entries[i];
			if (sorted[i].key->kind != JJ_STRING)
				return hth_jj_fail(r, "only string keys can be sorted");
		}
		qsort(sorted, d->n, sizeof *sorted, compare_keys);
		entries = sorted;
	}
	hth_jj_put_cstr(b, "{");
	for (uint32_t i = 0; i < d->n; i++) {
		if (i > 0)
			hth_jj_put(b, style->item_separator, style->item_separator_len, false);
		if (!json_break(b, style, depth + 1) || !json_key(r, b, entries[i].key, style, input) ||
		    !hth_jj_put(b, style->key_separator, style->key_separator_len, false) ||
		    !json_value(r, b, entries[i].value, style, depth + 1, input))
			return false;
	}
	return json_break(b, style, depth) && hth_jj_put_cstr(b, "}");
}

static bool json_list(jj_run *r, jj_builder *b, jv *v, const jj_json_style *style, unsigned depth, bool *input)
{
	if (v->list.n == 0)
		return hth_jj_put_cstr(b, "[]");
	hth_jj_put_cstr(b, "[");
	for (uint32_t i = 0; i < v->list.n; i++) {
		if (i > 0)
			hth_jj_put(b, style->item_separator, style->item_separator_len, false);
		if (!json_break(b, style, depth + 1) || !json_value(r, b, v->list.items[i], style, depth + 1, input))
			return false;
	}
	return json_break(b, style, depth) && hth_jj_put_cstr(b, "]");
}

static bool json_value(jj_run *r, jj_builder *b, jv *v, const jj_json_style *style, unsigned depth, bool *input)
{
	char text[40];
	if (!hth_jj_charge(r, 1))
		return false;
	switch (v->kind) {
	case JJ_NONE:
		return hth_jj_put_cstr(b, "null");
	case JJ_BOOL:
		return hth_jj_put_cstr(b, v->flag ? "true" : "false");
	case JJ_INT:
		snprintf(text, sizeof text, "%lld", (long long)v->i);
		return hth_jj_put_cstr(b, text);
	case JJ_FLOAT:
		if (isnan(v->f) || isinf(v->f))
			return hth_jj_put_cstr(b, isnan(v->f) ? "NaN" : v->f > 0 ? "Infinity" : "-Infinity");
		return hth_jj_put(b, text, hth_jj_float_text(v->f, text), false);
	case JJ_STRING:
		return hth_jj_charge_bytes(r, v->s.len * 8ull) && json_string(b, v, style->ascii, input);
	case JJ_LIST:
	case JJ_TUPLE:
	case JJ_DICT: {
		if (!hth_jj_deeper(r))
			return false;
		bool ok = v->kind == JJ_DICT ? json_dict(r, b, v->dict, style, depth, input)
					     : json_list(r, b, v, style, depth, input);
		r->level--;
		return ok && !b->failed;
	}
	default:
		return hth_jj_fail(r, "Object of type %s is not JSON serializable", hth_jj_type_name(v));
	}
}

jv *hth_jj_json(jj_run *r, jv *v, const jj_json_style *style)
{
	jj_builder b = hth_jj_builder(r->arena);
	bool input = false;
	if (!json_value(r, &b, v, style, 0, &input))
		return NULL;
	if (input)
		hth_jj_mark_all(&b);
	return hth_jj_done(&b);
}
