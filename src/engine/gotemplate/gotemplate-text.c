/* gotemplate-text.c - values as text: what Go's json.Marshal writes and what %v prints, with the marks of what came from input.
 *
 * In JSON the strings and keys of data are input, its punctuation is not. Maps are written in the order of their keys, as Go does. Numbers
 * of data keep all their digits in JSON (Go would go through a float64).
 */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>

/* --- numbers --- */

/* The fewest digits that read back as f: "d.ddde+XX". */
static int shortest(double f, char out[40])
{
	for (int precision = 0; precision < 17; precision++) {
		snprintf(out, 40, "%.*e", precision, f);
		if (strtod(out, NULL) == f)
			return precision;
	}
	return 16;
}

size_t hth_gt_float_text(double f, char verb, int precision, char out[GT_FLOAT_TEXT])
{
	char digits[40];
	if (isnan(f) || isinf(f))
		return (size_t)snprintf(out, GT_FLOAT_TEXT, "%s", isnan(f) ? "NaN" : f > 0 ? "+Inf" : "-Inf");
	if (precision >= 0) {
		char format[] = {'%', '.', '*', verb, '\0'};
		int n = snprintf(out, GT_FLOAT_TEXT, format, HTH_MIN(precision, 60), f);
		return (size_t)HTH_MIN(n, GT_FLOAT_TEXT - 1);
	}
	int p = shortest(f, digits), exponent = atoi(strchr(digits, 'e') + 1);
	bool with_exponent = verb == 'e' || (verb == 'g' && (exponent < -4 || exponent >= 6));
	if (verb == 'g' && f == 0)
		with_exponent = false;
	int n = with_exponent ? snprintf(out, GT_FLOAT_TEXT, "%s", digits)
	                      : snprintf(out, GT_FLOAT_TEXT, "%.*f", HTH_MAX(p - exponent, 0), f);
	return (size_t)HTH_MIN(n, GT_FLOAT_TEXT - 1);
}

/* encoding/json: as short as is exact, with an exponent where it is far from 1, "e-9" and not "e-09". */
static bool put_json_float(jj_builder *b, double f)
{
	char text[GT_FLOAT_TEXT];
	double size = fabs(f);
	bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
	size_t n = hth_gt_float_text(f, exponent ? 'e' : 'f', -1, text);
	if (exponent && n >= 4 && text[n - 4] == 'e' && text[n - 3] == '-' && text[n - 2] == '0') {
		text[n - 2] = text[n - 1];
		n--;
	}
	return hth_jj_put(b, text, n, false);
}

/* --- JSON --- */

/* As json.Marshal: <, > and & are escaped too, and what is no UTF-8 becomes U+FFFD. */
static bool put_json_string(gt_run *r, jj_builder *b, jv *s)
{
	if (!hth_gt_charge_bytes(r, s->s.len) || !hth_jj_put_cstr(b, "\""))
		return false;
	for (size_t i = 0, begin = 0; i <= s->s.len;) {
		uint32_t cp = 0;
		size_t n = i < s->s.len ? hth_utf8_decode(s->s.data + i, s->s.len - i, &cp) : 1;
		const char *names = "\"\\\n\r\t\b\f", *letters = "\"\\nrtbf", *known = NULL;
		bool plain = i < s->s.len && n > 0 && cp >= ' ' && cp != '"' && cp != '\\' && cp != '<' && cp != '>' && cp != '&' &&
		    cp != 0x2028 && cp != 0x2029;
		if (plain) {
			i += n;
			continue;
		}
		if (!hth_jj_put_slice(b, s, begin, i))
			return false;
		if (i == s->s.len)
			break;
		char escape[8];
		if (n > 0 && cp < 0x80 && cp != 0 && (known = strchr(names, (int)cp)) != NULL)
			snprintf(escape, sizeof escape, "\\%c", letters[known - names]);
		else
			snprintf(escape, sizeof escape, "\\u%04x", n > 0 ? cp : 0xFFFDu);
		if (!hth_jj_put(b, escape, strlen(escape), s->taint != JJ_TRUSTED))
			return false;
		i += n > 0 ? n : 1;
		begin = i;
	}
	return hth_jj_put_cstr(b, "\"");
}

static bool put_member(gt_run *r, jj_builder *b, bool *first, jv *key, const char *name, gt_value v)
{
	bool ok = hth_jj_put_cstr(b, *first ? "" : ",");
	*first = false;
	if (key != NULL)
		ok = ok && put_json_string(r, b, key);
	else
		ok = ok && hth_jj_put_cstr(b, "\"") && hth_jj_put_cstr(b, name) && hth_jj_put_cstr(b, "\"");
	return ok && hth_jj_put_cstr(b, ":") && hth_gt_put_json(r, b, v);
}

static bool put_json_map(gt_run *r, jj_builder *b, gt_value v)
{
	const jj_entry *entries;
	uint32_t n;
	bool first = true, ok = hth_gt_sorted(r, v.v, &entries, &n) && hth_jj_put_cstr(b, "{");
	for (uint32_t i = 0; ok && i < n; i++)
		ok = put_member(r, b, &first, entries[i].key, NULL, hth_gt_see(v.type->item, entries[i].value));
	return ok && hth_jj_put_cstr(b, "}");
}

static bool has_field(const gt_type *type, jv *key)
{
	for (uint32_t i = 0; i < type->n_fields; i++)
		if (hth_jj_is_str(key, type->fields[i].key))
			return true;
	return false;
}

static bool put_json_struct(gt_run *r, jj_builder *b, gt_value v)
{
	bool first = true, ok = hth_jj_put_cstr(b, "{");
	for (uint32_t i = 0; ok && i < v.type->n_fields; i++) {
		const gt_field *f = &v.type->fields[i];
		jv *member = hth_jj_dict_get_str(r->arena, v.v->dict, f->key, strlen(f->key));
		bool there = member != NULL && member->kind != JJ_NONE;
		if (there || f->always)
			ok = put_member(r, b, &first, NULL, f->key, hth_gt_see(f->type, member));
	}
	/* Go drops what its types do not know. A schema's other keywords ("minimum", "default") tell the model something: they stay. */
	for (uint32_t i = 0; ok && v.type->open && i < v.v->dict->n; i++) {
		const jj_entry *e = &v.v->dict->entries[i];
		if (e->key != NULL && e->key->kind == JJ_STRING && !has_field(v.type, e->key))
			ok = put_member(r, b, &first, e->key, NULL, hth_gt_see(&hth_gt_any, e->value));
	}
	return ok && hth_jj_put_cstr(b, "}");
}

static bool put_json(gt_run *r, jj_builder *b, gt_value v)
{
	char text[32];
	switch (hth_gt_class_of(v)) {
	case GT_C_BOOL:
		return hth_jj_put_cstr(b, v.v->flag ? "true" : "false");
	case GT_C_INT:
	case GT_C_FLOAT:
		if (v.v->kind == JJ_FLOAT)
			return put_json_float(b, v.v->f);
		snprintf(text, sizeof text, "%lld", (long long)v.v->i);
		return hth_jj_put_cstr(b, text);
	case GT_C_STRING:
		return put_json_string(r, b, v.v);
	case GT_C_LIST: {
		bool ok = hth_jj_put_cstr(b, "[");
		for (uint32_t i = 0; ok && i < v.v->list.n; i++)
			ok = hth_jj_put_cstr(b, i > 0 ? "," : "") && hth_gt_put_json(r, b, hth_gt_item_of(v, i));
		return ok && hth_jj_put_cstr(b, "]");
	}
	case GT_C_MAP:
		return put_json_map(r, b, v);
	case GT_C_STRUCT:
		return put_json_struct(r, b, v);
	default:
		return hth_jj_put_cstr(b, "null");
	}
}

bool hth_gt_put_json(gt_run *r, jj_builder *b, gt_value v)
{
	if (!hth_gt_charge(r, 1) || !hth_gt_deeper(r))
		return false;
	bool ok = put_json(r, b, v);
	r->level--;
	return ok;
}
