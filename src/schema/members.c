/* members.c - what binds the parts of a value under one alternative: a property, an item, a key, the characters of a
 * string. */
#include "schema/reading.h"

static hth_status no_memory(const reader *r)
{
	return hth_fail(r->err, HTH_NO_MEMORY, "no memory to read a schema");
}

size_t hth_schema_prefix_length(const alternative *a)
{
	size_t n = 0;
	for (size_t i = 0; i < a->n_arrays; i++)
		n = HTH_MAX(n, json_array_size(a->arrays[i].prefix));
	return n;
}

hth_status hth_schema_item_conj(reader *r, const alternative *a, size_t index, conj *ret)
{
	for (size_t i = 0; i < a->n_arrays; i++) {
		const json_t *s = index < json_array_size(a->arrays[i].prefix)
		                      ? json_array_get(a->arrays[i].prefix, index)
		                      : a->arrays[i].items;
		if (s != NULL)
			HTH_TRY(hth_schema_conj_add(r, ret, s));
	}
	return HTH_OK;
}

hth_status hth_schema_pattern_lang(reader *r, const char *pattern, hth_lang *ret)
{
	hth_error inner = HTH_ERROR_INIT;
	hth_status status = hth_lang_pattern(ret, pattern, strlen(pattern), &inner);
	if (status != HTH_OK)
		return hth_fail(r->err, status, "schema: %s (in \"%.120s\")", inner.message, pattern);
	return HTH_OK;
}

static hth_status pattern_matches(reader *r, const char *pattern, const char *text, bool *ret)
{
	hth_lang l = {0};
	HTH_TRY(hth_schema_pattern_lang(r, pattern, &l));
	*ret = hth_lang_matches(&l, text, strlen(text));
	hth_lang_finish(&l);
	return HTH_OK;
}

const char *hth_schema_pattern_at(const alternative *a, size_t i)
{
	for (size_t g = 0; g < a->n_objects; g++) {
		void *at = json_object_iter((json_t *)a->objects[g].pattern_properties);
		for (; at != NULL; at = json_object_iter_next((json_t *)a->objects[g].pattern_properties, at))
			if (i-- == 0)
				return json_object_iter_key(at);
	}
	return NULL;
}

hth_status hth_schema_property_conj(reader *r, const alternative *a, const char *name, conj *ret)
{
	for (size_t g = 0; g < a->n_objects; g++) {
		const object_rules *o = &a->objects[g];
		const json_t *own = json_object_get(o->properties, name);
		bool known = own != NULL;
		if (own != NULL)
			HTH_TRY(hth_schema_conj_add(r, ret, own));
		const char *pattern;
		json_t *schema;
		json_object_foreach((json_t *)o->pattern_properties, pattern, schema)
		{
			bool matches;
			HTH_TRY(pattern_matches(r, pattern, name, &matches));
			if (matches)
				HTH_TRY(hth_schema_conj_add(r, ret, schema));
			known |= matches;
		}
		if (!known && o->additional != NULL)
			HTH_TRY(hth_schema_conj_add(r, ret, o->additional));
		if (o->names != NULL) {
			bool allowed;
			conj names = {0};
			json_t *key = json_string(name);
			hth_status status = hth_schema_conj_add(r, &names, o->names);
			if (status == HTH_OK)
				status = hth_schema_conj_accepts(r, &names, key, &allowed);
			json_decref(key);
			hth_schema_conj_finish(&names);
			HTH_TRY(status);
			if (!allowed)
				HTH_TRY(hth_schema_conj_add(r, ret, r->no));
		}
	}
	return HTH_OK;
}

hth_status hth_schema_additional_conj(reader *r, const alternative *a, unsigned matched, conj *ret)
{
	unsigned bit = 0;
	for (size_t g = 0; g < a->n_objects; g++) {
		const object_rules *o = &a->objects[g];
		bool known = false;
		const char *pattern;
		json_t *schema;
		json_object_foreach((json_t *)o->pattern_properties, pattern, schema)
		{
			if (matched >> bit & 1) {
				HTH_TRY(hth_schema_conj_add(r, ret, schema));
				known = true;
			}
			bit++;
		}
		if (!known && o->additional != NULL)
			HTH_TRY(hth_schema_conj_add(r, ret, o->additional));
	}
	return HTH_OK;
}

bool hth_schema_is_excluded(const alternative *a, const json_t *value)
{
	for (size_t i = 0; i < a->n_excluded; i++)
		for (size_t k = 0; k < json_array_size(a->excluded[i]); k++)
			if (hth_schema_same_value(json_array_get(a->excluded[i], k), value))
				return true;
	return false;
}

/* *to becomes what it and l (negated: and not l) have in common; l is used up. */
static hth_status intersect(reader *r, hth_lang *to, bool *any, hth_lang l, bool negated)
{
	hth_lang both = {0};
	hth_status status = HTH_OK;
	if (*any && !negated) {
		*to = l;
		*any = false;
		return HTH_OK;
	}
	if (*any)
		status = hth_lang_all(to, r->err);
	*any = false;
	if (status == HTH_OK)
		status = hth_lang_both(&both, to, &l, negated, r->err);
	hth_lang_finish(&l);
	HTH_TRY(status);
	hth_lang_finish(to);
	*to = both;
	return HTH_OK;
}

static hth_status intersect_pattern(reader *r, hth_lang *to, bool *any, const char *pattern, bool negated)
{
	hth_lang l = {0};
	HTH_TRY(hth_schema_pattern_lang(r, pattern, &l));
	return intersect(r, to, any, l, negated);
}

static hth_status take_out_strings(reader *r, const alternative *a, hth_lang *to, bool *any)
{
	for (size_t i = 0; i < a->n_excluded; i++) {
		size_t n = json_array_size(a->excluded[i]), count = 0;
		HTH_AUTO_FREE const char **list = hth_alloc_array(n, sizeof(char *));
		hth_lang l = {0};
		if (list == NULL)
			return no_memory(r);
		for (size_t k = 0; k < n; k++)
			if (json_is_string(json_array_get(a->excluded[i], k)))
				list[count++] = json_string_value(json_array_get(a->excluded[i], k));
		if (count == 0)
			continue;
		HTH_TRY(hth_lang_strings(&l, list, count, r->err));
		HTH_TRY(intersect(r, to, any, l, true));
	}
	return HTH_OK;
}

hth_status hth_schema_string_lang(reader *r, const alternative *a, bool *ret_any, hth_lang *ret)
{
	hth_lang l = {0};
	bool any = true;
	hth_status status = HTH_OK;
	for (size_t i = 0; i < a->n_patterns && status == HTH_OK; i++)
		status = intersect_pattern(r, &l, &any, a->patterns[i], false);
	for (size_t i = 0; i < a->n_formats && status == HTH_OK; i++)
		status = intersect_pattern(r, &l, &any, a->formats[i], false);
	for (size_t i = 0; i < a->n_not_patterns && status == HTH_OK; i++)
		status = intersect_pattern(r, &l, &any, a->not_patterns[i], true);
	if (status == HTH_OK)
		status = take_out_strings(r, a, &l, &any);
	if (status == HTH_OK && !any && (a->min_length > 0 || a->max_length != NO_LIMIT)) {
		hth_lang bounded = {0};
		status = hth_lang_bounded(&bounded, &l, a->min_length,
		                          a->max_length == NO_LIMIT ? HTH_LANG_FOREVER : a->max_length, r->err);
		hth_lang_finish(&l);
		l = bounded;
	}
	if (status != HTH_OK) {
		hth_lang_finish(&l);
		return status;
	}
	*ret_any = any;
	*ret = l;
	return HTH_OK;
}
