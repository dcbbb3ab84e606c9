/* accepts.c - values against schemas, by the same reading: which members of an enum remain under the keywords beside
 * it, and whether the branches of a oneOf can be told apart. */
#include "schema/reading.h"

#include "base/utf8.h"
#include "schema/schema.h"

#include <math.h>

static size_t characters(const char *s, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; n++) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(s + i, len - i, &cp);
	}
	return n;
}

static bool number_accepts(const alternative *a, const json_t *value)
{
	double v = json_number_value(value);
	if (v < a->min || (v == a->min && a->above_min) || v > a->max || (v == a->max && a->below_max))
		return false;
	for (size_t i = 0; i < a->n_multiple; i++) {
		double q = v / json_number_value(a->multiple[i]);
		if (fabs(q - nearbyint(q)) > 1e-9 * fmax(1.0, fabs(q)))
			return false;
	}
	return true;
}

static hth_status string_accepts(reader *r, const alternative *a, const json_t *value, bool *ret)
{
	size_t len = json_string_length(value), n = characters(json_string_value(value), len);
	*ret = n >= (size_t)a->min_length && n <= (size_t)a->max_length;
	size_t n_is = a->n_patterns + a->n_formats;
	for (size_t i = 0; i < n_is + a->n_not_patterns && *ret; i++) {
		hth_lang l = {0};
		const char *pattern = i < a->n_patterns ? a->patterns[i]
		                      : i < n_is        ? a->formats[i - a->n_patterns]
		                                        : a->not_patterns[i - n_is];
		HTH_TRY(hth_schema_pattern_lang(r, pattern, &l));
		*ret = hth_lang_matches(&l, json_string_value(value), len) == (i < n_is);
		hth_lang_finish(&l);
	}
	return HTH_OK;
}

static hth_status array_accepts(reader *r, const alternative *a, const json_t *value, bool *ret)
{
	size_t n = json_array_size(value);
	*ret = n >= (size_t)a->min_items && n <= (size_t)a->max_items;
	for (size_t i = 0; i < n && *ret; i++) {
		conj c = {0};
		hth_status status = hth_schema_item_conj(r, a, i, &c);
		if (status == HTH_OK)
			status = hth_schema_conj_accepts(r, &c, json_array_get(value, i), ret);
		hth_schema_conj_finish(&c);
		HTH_TRY(status);
	}
	return HTH_OK;
}

static hth_status object_accepts(reader *r, const alternative *a, const json_t *value, bool *ret)
{
	const char *key;
	json_t *member, *name;
	size_t n = json_object_size(value), i;
	*ret = n >= (size_t)a->min_properties && n <= (size_t)a->max_properties;
	for (size_t g = 0; g < a->n_required; g++)
		json_array_foreach((json_t *)a->required[g], i,
		                   name) if (json_object_get(value, json_string_value(name)) == NULL) *ret = false;
	json_object_foreach((json_t *)value, key, member)
	{
		conj c = {0};
		if (!*ret)
			break;
		hth_status status = hth_schema_property_conj(r, a, key, &c);
		if (status == HTH_OK)
			status = hth_schema_conj_accepts(r, &c, member, ret);
		hth_schema_conj_finish(&c);
		HTH_TRY(status);
	}
	return HTH_OK;
}

hth_status hth_schema_alternative_accepts(reader *r, const alternative *a, const json_t *value, bool *ret)
{
	*ret = (a->types & hth_schema_type_of(value)) != 0 && !hth_schema_is_excluded(a, value);
	if (*ret && a->values != NULL) {
		*ret = false;
		for (size_t i = 0; i < a->n_values; i++)
			*ret |= hth_schema_same_value(a->values[i], value);
	}
	if (!*ret)
		return HTH_OK;
	if (json_is_number(value))
		*ret = number_accepts(a, value);
	else if (json_is_string(value))
		return string_accepts(r, a, value, ret);
	else if (json_is_array(value))
		return array_accepts(r, a, value, ret);
	else if (json_is_object(value))
		return object_accepts(r, a, value, ret);
	return HTH_OK;
}

hth_status hth_schema_conj_accepts(reader *r, const conj *c, const json_t *value, bool *ret)
{
	alternatives all = {0};
	HTH_TRY(hth_schema_read_conj(r, c, &all));
	hth_status status = HTH_OK;
	*ret = false;
	for (size_t i = 0; i < all.n && status == HTH_OK && !*ret; i++)
		status = hth_schema_alternative_accepts(r, &all.list[i], value, ret);
	hth_schema_alternatives_finish(&all);
	return status;
}

static bool requires(const alternative *a, const char *name)
{
	for (size_t g = 0; g < a->n_required; g++)
		for (size_t i = 0; i < json_array_size(a->required[g]); i++)
			if (strcmp(json_string_value(json_array_get(a->required[g], i)), name) == 0)
				return true;
	return false;
}

static hth_status conjs_disjoint(reader *r, const conj *a, const conj *b, bool *ret)
{
	alternatives x = {0}, y = {0};
	hth_status status = hth_schema_read_conj(r, a, &x);
	if (status == HTH_OK)
		status = hth_schema_read_conj(r, b, &y);
	if (status == HTH_OK)
		status = hth_schema_alternatives_disjoint(r, &x, &y, ret);
	hth_schema_alternatives_finish(&x);
	hth_schema_alternatives_finish(&y);
	return status;
}

/* A property that one requires and with which the other cannot agree. */
static hth_status objects_disjoint(reader *r, const alternative *a, const alternative *b, bool *ret)
{
	for (int turn = 0; turn < 2 && !*ret; turn++) {
		const alternative *x = turn ? b : a, *y = turn ? a : b;
		for (size_t g = 0; g < x->n_required && !*ret; g++)
			for (size_t i = 0; i < json_array_size(x->required[g]) && !*ret; i++) {
				const char *name = json_string_value(json_array_get(x->required[g], i));
				conj in_x = {0}, in_y = {0};
				bool apart = false;
				hth_status status = hth_schema_property_conj(r, x, name, &in_x);
				if (status == HTH_OK)
					status = hth_schema_property_conj(r, y, name, &in_y);
				alternatives none = {0};
				if (status == HTH_OK)
					status = hth_schema_read_conj(r, &in_y, &none);
				/* y forbids it, or both have it and never the same value. */
				if (status == HTH_OK && none.n == 0)
					*ret = true;
				else if (status == HTH_OK && requires(y, name))
					status = conjs_disjoint(r, &in_x, &in_y, &apart);
				*ret |= apart;
				hth_schema_alternatives_finish(&none);
				hth_schema_conj_finish(&in_x);
				hth_schema_conj_finish(&in_y);
				HTH_TRY(status);
			}
	}
	return HTH_OK;
}

static hth_status strings_disjoint(reader *r, const alternative *a, const alternative *b, bool *ret)
{
	hth_lang x = {0}, y = {0}, both = {0};
	bool any_x, any_y;
	*ret = a->min_length > b->max_length || b->min_length > a->max_length;
	if (*ret)
		return HTH_OK;
	hth_status status = hth_schema_string_lang(r, a, &any_x, &x);
	if (status == HTH_OK)
		status = hth_schema_string_lang(r, b, &any_y, &y);
	if (status == HTH_OK && !any_x && !any_y) {
		status = hth_lang_both(&both, &x, &y, false, r->err);
		*ret = status == HTH_OK && hth_lang_is_empty(&both);
	}
	hth_lang_finish(&x);
	hth_lang_finish(&y);
	hth_lang_finish(&both);
	return status;
}

static hth_status pair_disjoint(reader *r, const alternative *a, const alternative *b, bool *ret)
{
	unsigned common = a->types & b->types;
	*ret = true;
	for (int turn = 0; turn < 2; turn++) {
		const alternative *x = turn ? b : a, *y = turn ? a : b;
		if (x->values == NULL)
			continue;
		for (size_t i = 0; i < x->n_values && *ret; i++) {
			bool in_x, in_y;
			HTH_TRY(hth_schema_alternative_accepts(r, x, x->values[i], &in_x));
			HTH_TRY(hth_schema_alternative_accepts(r, y, x->values[i], &in_y));
			*ret = !(in_x && in_y);
		}
		return HTH_OK;
	}
	if (common & (TYPE_NULL | TYPE_BOOL)) {
		*ret = false;
		return HTH_OK;
	}
	if (common & (TYPE_INTEGER | TYPE_NUMBER))
		*ret = a->min > b->max || b->min > a->max || (a->min == b->max && (a->above_min || b->below_max)) ||
		       (b->min == a->max && (b->above_min || a->below_max));
	if (*ret && (common & TYPE_STRING))
		HTH_TRY(strings_disjoint(r, a, b, ret));
	if (*ret && (common & TYPE_ARRAY))
		*ret = a->min_items > b->max_items || b->min_items > a->max_items;
	if (*ret && (common & TYPE_OBJECT)) {
		*ret = a->min_properties > b->max_properties || b->min_properties > a->max_properties;
		if (!*ret)
			HTH_TRY(objects_disjoint(r, a, b, ret));
	}
	return HTH_OK;
}

hth_status hth_schema_alternatives_disjoint(reader *r, const alternatives *a, const alternatives *b, bool *ret)
{
	*ret = true;
	if (r->comparing >= COMPARE_DEPTH_MAX) {
		*ret = false;
		return HTH_OK;
	}
	r->comparing++;
	hth_status status = HTH_OK;
	for (size_t i = 0; i < a->n && *ret && status == HTH_OK; i++)
		for (size_t k = 0; k < b->n && *ret && status == HTH_OK; k++)
			status = pair_disjoint(r, &a->list[i], &b->list[k], ret);
	r->comparing--;
	return status;
}

hth_status hth_schema_accepts(const json_t *schema, const json_t *value, bool *ret_accepts, hth_error *err)
{
	reader r;
	conj c = {0};
	HTH_TRY(hth_schema_reader_init(&r, err));
	r.roots = hth_alloc_array(1, sizeof(const json_t *));
	if (r.roots == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read a schema");
	r.roots[r.n_roots++] = schema;
	hth_status status = hth_schema_conj_add(&r, &c, schema);
	if (status == HTH_OK)
		status = hth_schema_conj_accepts(&r, &c, value, ret_accepts);
	hth_schema_conj_finish(&c);
	hth_schema_reader_finish(&r);
	return status;
}
