/* jinja-sequences.c - the filters on lists and other iterables.
 *
 * Filters that are generators in Jinja give a one-pass iterator here too (it cannot be indexed, counted or made JSON), but
 * are computed at once. Sorting is stable and compares as Python does, with its errors.
 */
#include "engine/jinja/jinja-filters.h"

#include "base/mem.h"

/* --- attributes of items: "a.b.0", a number, or nothing (the item itself) --- */

static jv *get_path(jj_run *r, jv *item, jv *path, size_t from, size_t to, jv *fallback)
{
	const char *s = path->s.data;
	for (size_t at = from; item != NULL;) {
		size_t dot = at;
		bool digits = true;
		while (dot < to && s[dot] != '.')
			digits &= s[dot] >= '0' && s[dot] <= '9', dot++;
		jv *key = digits && dot > at && dot - at < 10 ? hth_jinja_int(r->arena, strtol(s + at, NULL, 10))
							      : hth_jj_slice(r->arena, path, at, dot);
		item = key ? hth_jj_item(r, item, key) : NULL;
		if (item != NULL && item->kind == JJ_UNDEFINED && fallback != NULL)
			item = fallback;
		if (dot >= to)
			return item;
		at = dot + 1;
	}
	return NULL;
}

static jv *get_attribute(jj_run *r, jv *item, jv *attribute, jv *fallback)
{
	if (attribute == NULL || attribute->kind == JJ_NONE)
		return item;
	if (attribute->kind == JJ_STRING)
		return get_path(r, item, attribute, 0, attribute->s.len, fallback);
	item = hth_jj_item(r, item, attribute);
	return item != NULL && item->kind == JJ_UNDEFINED && fallback != NULL ? fallback : item;
}

static jv *fold_case(jj_run *r, jv *v, bool case_sensitive)
{
	return v != NULL && !case_sensitive && v->kind == JJ_STRING ? hth_jj_case(r, v, JJ_LOWER) : v;
}

static bool is_true(jv *v) { return v != NULL && hth_jj_truth(v); }

/* --- sorting --- */

typedef struct keyed {
	jv *key, *value;
} keyed;

/* Merge sort: stable, and an error in a comparison ends it. AS_LISTS: keys are compared as lists of one would be, where equal
 * ones (undefined, none) need no order. */
enum { DESCENDING = 1, AS_LISTS = 2 };
static bool sort(jj_run *r, keyed *a, keyed *tmp, uint32_t n, int how)
{
	if (n < 2)
		return true;
	uint32_t half = n / 2, i = 0, j = half, k = 0;
	if (!sort(r, a, tmp, half, how) || !sort(r, a + half, tmp, n - half, how))
		return false;
	memcpy(tmp, a, n * sizeof *a);
	while (i < half && j < n) {
		int order = 0;
		bool same = false;
		if (!hth_jj_charge(r, 1) || ((how & AS_LISTS) && !hth_jj_equal(r, tmp[j].key, tmp[i].key, &same)) ||
		    (!same && !hth_jj_order(r, tmp[j].key, tmp[i].key, "<", &order)))
			return false;
		bool right = how & DESCENDING ? order == 1 : order == -1;
		a[k++] = right ? tmp[j++] : tmp[i++];
	}
	while (i < half)
		a[k++] = tmp[i++];
	while (j < n)
		a[k++] = tmp[j++];
	return true;
}

static keyed *make_keyed(jj_run *r, uint32_t n) { return hth_jj_alloc(r->arena, (n + 1) * sizeof(keyed)); }

static jv *sorted(jj_run *r, keyed *items, uint32_t n, int how)
{
	keyed *tmp = make_keyed(r, n);
	hth_jinja_value *list = hth_jj_seq(r->arena, JJ_LIST, n);
	if (tmp == NULL || list == NULL || !sort(r, items, tmp, n, how))
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		list->list.items[i] = items[i].value;
	return list;
}

/* One key for an item: the attribute, or a list of them for "a,b". */
static jv *sort_key(jj_run *r, jv *item, jv *attribute, bool case_sensitive)
{
	if (attribute == NULL || attribute->kind != JJ_STRING || memchr(attribute->s.data, ',', attribute->s.len) == NULL)
		return fold_case(r, get_attribute(r, item, attribute, NULL), case_sensitive);
	hth_jinja_value *keys = hth_jinja_list(r->arena);
	for (size_t at = 0; keys != NULL && at <= attribute->s.len;) {
		size_t comma = at;
		while (comma < attribute->s.len && attribute->s.data[comma] != ',')
			comma++;
		jv *key = fold_case(r, get_path(r, item, attribute, at, comma, NULL), case_sensitive);
		if (!hth_jj_append(r->arena, keys, key))
			return NULL;
		at = comma + 1;
	}
	return keys;
}

JJ_FILTER(sort)
{
	jv **items;
	uint32_t n;
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	keyed *k = make_keyed(r, n);
	for (uint32_t i = 0; k != NULL && i < n; i++) {
		k[i].value = items[i];
		if ((k[i].key = sort_key(r, items[i], p[2], is_true(p[1]))) == NULL)
			return NULL;
	}
	return k ? sorted(r, k, n, AS_LISTS | (is_true(p[0]) ? DESCENDING : 0)) : NULL;
}

JJ_FILTER(dictsort)
{
	bool by_value = p[1] != NULL && hth_jj_is_str(p[1], "value");
	if (p[1] != NULL && !by_value && !hth_jj_is_str(p[1], "key"))
		return hth_jj_fail(r, "You can only sort by either \"key\" or \"value\"");
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (v->kind != JJ_DICT)
		return hth_jj_fail(r, "dictsort needs a mapping, not '%s'", hth_jj_type_name(v));
	uint32_t n = v->dict->n;
	keyed *k = make_keyed(r, n);
	for (uint32_t i = 0; k != NULL && i < n; i++) {
		const jj_entry *e = &v->dict->entries[i];
		k[i].value = hth_jj_tuple2(r, e->key, e->value);
		k[i].key = fold_case(r, by_value ? e->value : e->key, is_true(p[0]));
		if (k[i].value == NULL || k[i].key == NULL)
			return NULL;
	}
	return k ? sorted(r, k, n, is_true(p[2]) ? DESCENDING : 0) : NULL;
}

JJ_FILTER(groupby)
{
	jv **items;
	uint32_t n;
	bool case_sensitive = is_true(p[2]);
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	keyed *k = make_keyed(r, n), *tmp = make_keyed(r, n);
	for (uint32_t i = 0; k != NULL && i < n; i++) {
		k[i].value = items[i];
		if ((k[i].key = fold_case(r, get_attribute(r, items[i], p[0], p[1]), case_sensitive)) == NULL)
			return NULL;
	}
	hth_jinja_value *groups = hth_jinja_list(r->arena), *group = NULL;
	if (k == NULL || tmp == NULL || groups == NULL || !sort(r, k, tmp, n, 0))
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		bool same = false;
		if (i > 0 && !hth_jj_equal(r, k[i - 1].key, k[i].key, &same))
			return NULL;
		if (!same) {
			/* The group goes by its first item's own spelling. */
			jv *name = get_attribute(r, k[i].value, p[0], p[1]);
			group = hth_jinja_list(r->arena);
			hth_jinja_value *pair = name && group ? hth_jj_tuple2(r, name, group) : NULL;
			if (pair == NULL || !hth_jj_append(r->arena, groups, pair))
				return NULL;
			pair->flag = true;
		}
		if (!hth_jj_append(r->arena, group, k[i].value))
			return NULL;
	}
	return groups;
}

static jv *extreme(jj_run *r, jv *v, jv **p, bool largest)
{
	jv **items, *best = NULL, *best_key = NULL;
	uint32_t n;
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		int order = 0;
		jv *key = fold_case(r, get_attribute(r, items[i], p[1], NULL), is_true(p[0]));
		if (key == NULL || !hth_jj_charge(r, 1) ||
		    (best != NULL && !hth_jj_order(r, key, best_key, largest ? ">" : "<", &order)))
			return NULL;
		if (best == NULL || (largest ? order == 1 : order == -1)) {
			best = items[i];
			best_key = key;
		}
	}
	return best ? best : hth_jj_undefined(r, "No aggregated item, sequence was empty.");
}
JJ_FILTER(min) { return extreme(r, v, p, false); }
JJ_FILTER(max) { return extreme(r, v, p, true); }

JJ_FILTER(unique)
{
	jv **items;
	uint32_t n;
	hth_jinja_value *out = hth_jj_iter(r, "generator"), *seen = hth_jinja_dict(r->arena);
	if (out == NULL || seen == NULL || !hth_jj_items(r, v, &items, &n))
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		jv *key = fold_case(r, get_attribute(r, items[i], p[1], NULL), is_true(p[0]));
		if (key == NULL || !hth_jj_charge(r, 1))
			return NULL;
		if (!hth_jj_hashable(key))
			return hth_jj_fail(r, "unhashable type: '%s'", hth_jj_type_name(key));
		if (hth_jj_dict_get(r->arena, seen->dict, key) != NULL)
			continue;
		if (!hth_jj_dict_put(r->arena, seen->dict, key, key) || !hth_jj_append(r->arena, out, items[i]))
			return NULL;
	}
	return out;
}

/* --- taking and shaping --- */

JJ_FILTER(length)
{
	size_t n;
	if (v->kind == JJ_LOOP || !hth_jj_length(v, &n))
		return hth_jj_fail(r, "object of type '%s' has no len()", hth_jj_type_name(v));
	return hth_jinja_int(r->arena, (int64_t)n);
}

JJ_FILTER(first)
{
	jv **items;
	uint32_t n;
	if (v->kind == JJ_ITER) { /* takes one and leaves the rest */
		hth_jinja_value *it = (hth_jinja_value *)v;
		if (it->list.at < it->list.n)
			return it->list.items[it->list.at++];
	}
	if (v->kind == JJ_STRING && v->s.len > 0)
		return hth_jj_slice(r->arena, v, 0, hth_jj_char_at(v, 1));
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	return n > 0 ? items[0] : hth_jj_undefined(r, "No first item, sequence was empty.");
}

JJ_FILTER(last)
{
	jv **items;
	uint32_t n;
	if (v->kind == JJ_ITER)
		return hth_jj_fail(r, "'%s' object is not reversible", hth_jj_type_name(v));
	if (v->kind == JJ_STRING && v->s.len > 0)
		return hth_jj_slice(r->arena, v, hth_jj_char_at(v, v->s.chars - 1), v->s.len);
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	return n > 0 ? items[n - 1] : hth_jj_undefined(r, "No last item, sequence was empty.");
}

static hth_jinja_value *copy_list(jj_run *r, jv *const *items, uint32_t n, jj_kind kind)
{
	hth_jinja_value *list = hth_jj_seq(r->arena, kind, n);
	if (list != NULL && n > 0)
		memcpy(list->list.items, items, n * sizeof *items);
	return list;
}

JJ_FILTER(list)
{
	jv **items;
	uint32_t n;
	if (v->kind == JJ_LIST)
		return v;
	return hth_jj_items(r, v, &items, &n) ? copy_list(r, items, n, JJ_LIST) : NULL;
}

JJ_FILTER(reverse)
{
	jv **items;
	uint32_t n;
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	if (v->kind == JJ_STRING) {
		jj_builder b = hth_jj_builder(r->arena);
		for (uint32_t i = n; i-- > 0;)
			hth_jj_put_str(&b, items[i]);
		return hth_jj_done(&b);
	}
	hth_jinja_value *out = v->kind == JJ_ITER ? hth_jinja_list(r->arena) : hth_jj_iter(r, "list_reverseiterator");
	for (uint32_t i = n; out != NULL && i-- > 0;)
		if (!hth_jj_append(r->arena, out, items[i]))
			return NULL;
	return out;
}

JJ_FILTER(items)
{
	hth_jinja_value *out = hth_jj_iter(r, "generator");
	if (out == NULL || v->kind == JJ_UNDEFINED)
		return out;
	if (v->kind != JJ_DICT)
		return hth_jj_fail(r, "Can only get item pairs from a mapping.");
	for (uint32_t i = 0; i < v->dict->n; i++)
		if (!hth_jj_append(r->arena, out, hth_jj_tuple2(r, v->dict->entries[i].key, v->dict->entries[i].value)))
			return NULL;
	return out;
}

JJ_FILTER(join)
{
	jv **items, *sep = p[0] ? hth_jj_to_str(r, p[0]) : hth_jj_str(r->arena, "");
	uint32_t n;
	if (sep == NULL || !hth_jj_items(r, v, &items, &n))
		return NULL;
	if (p[1] != NULL && p[1]->kind != JJ_NONE) {
		jv **attrs = hth_jj_alloc(r->arena, (n + 1) * sizeof *attrs);
		for (uint32_t i = 0; attrs != NULL && i < n; i++)
			if ((attrs[i] = get_attribute(r, items[i], p[1], NULL)) == NULL)
				return NULL;
		items = attrs;
	}
	return items ? hth_jj_join(r, sep, items, n, true) : NULL;
}

JJ_FILTER(batch)
{
	jv **items;
	uint32_t n;
	int64_t size = 0;
	if (!hth_jj_items(r, v, &items, &n) || !hth_jj_arg_int(r, p[0], "linecount", &size))
		return NULL;
	hth_jinja_value *out = hth_jj_iter(r, "generator"), *row = NULL;
	for (uint32_t i = 0; out != NULL && i < n; i++) {
		if (row == NULL || (int64_t)row->list.n == size) {
			row = hth_jinja_list(r->arena);
			if (row == NULL || !hth_jj_append(r->arena, out, row))
				return NULL;
		}
		if (!hth_jj_append(r->arena, row, items[i]))
			return NULL;
	}
	while (row != NULL && p[1] != NULL && p[1]->kind != JJ_NONE && (int64_t)row->list.n < size)
		if (!hth_jj_charge(r, 1) || !hth_jj_append(r->arena, row, p[1]))
			return NULL;
	return out;
}

JJ_FILTER(slice)
{
	jv **items;
	uint32_t n;
	int64_t slices = 0;
	if (!hth_jj_items(r, v, &items, &n) || !hth_jj_arg_int(r, p[0], "slices", &slices))
		return NULL;
	if (slices <= 0 || slices > JJ_RANGE_MAX)
		return hth_jj_fail(r, "cannot cut into %lld slices", (long long)slices);
	uint32_t per = n / (uint32_t)slices, extra = n % (uint32_t)slices, at = 0;
	hth_jinja_value *out = hth_jj_iter(r, "generator");
	for (uint32_t i = 0; out != NULL && i < (uint32_t)slices; i++) {
		uint32_t len = per + (i < extra);
		hth_jinja_value *row = copy_list(r, items + at, len, JJ_LIST);
		at += len;
		bool fill = p[1] != NULL && p[1]->kind != JJ_NONE && i >= extra;
		if (row == NULL || !hth_jj_charge(r, 1) || (fill && !hth_jj_append(r->arena, row, p[1])) ||
		    !hth_jj_append(r->arena, out, row))
			return NULL;
	}
	return out;
}

JJ_FILTER(sum)
{
	jv **items, *total = p[1] ? p[1] : hth_jinja_int(r->arena, 0);
	uint32_t n;
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	if (total != NULL && total->kind == JJ_STRING)
		return hth_jj_fail(r, "sum() can't sum strings [use ''.join(seq) instead]");
	for (uint32_t i = 0; total != NULL && i < n; i++) {
		jv *item = get_attribute(r, items[i], p[0], NULL);
		total = item && hth_jj_charge(r, 1) ? hth_jj_binary(r, '+', total, item) : NULL;
	}
	return total;
}

/* --- map and select --- */

static jv *keyword(const jj_args *a, const char *name)
{
	for (uint32_t i = 0; i < a->n_kw; i++)
		if (hth_jj_is_str(a->kw_names[i], name))
			return a->kw[i];
	return NULL;
}

static jj_args args_from(const jj_args *a, uint32_t skip)
{
	return (jj_args){.pos = a->pos + skip, .n_pos = a->n_pos - skip, .kw = a->kw, .kw_names = a->kw_names, .n_kw = a->n_kw};
}

JJ_FILTER(map)
{
	jv **items, *attribute = a->n_pos == 0 ? keyword(a, "attribute") : NULL, *fallback = keyword(a, "default");
	uint32_t n;
	if (!hth_jj_truth(v)) /* none too: Jinja looks no further */
		return hth_jj_iter(r, "generator");
	if (attribute == NULL && a->n_pos == 0)
		return hth_jj_fail(r, "map requires a filter argument");
	if (attribute != NULL && a->n_kw > 1 + (fallback != NULL))
		return hth_jj_fail(r, "map(attribute=...) takes only 'default' besides");
	if (attribute == NULL && a->pos[0]->kind != JJ_STRING)
		return hth_jj_fail(r, "map needs a filter's name");
	if (attribute == NULL && hth_jj_find_filter(a->pos[0]->s.data, a->pos[0]->s.len) == NULL)
		return hth_jj_fail(r, "No filter named '%.*s'.", (int)HTH_MIN(a->pos[0]->s.len, 60u), a->pos[0]->s.data);
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	hth_jinja_value *out = hth_jj_iter(r, "generator");
	jj_args rest = a->n_pos > 0 ? args_from(a, 1) : (jj_args){0};
	for (uint32_t i = 0; out != NULL && i < n; i++) {
		jv *item = attribute ? get_attribute(r, items[i], attribute, fallback)
				     : hth_jj_apply_filter(r, a->pos[0], items[i], &rest);
		if (!hth_jj_charge(r, 1) || !hth_jj_append(r->arena, out, item))
			return NULL;
	}
	return out;
}

/* select, reject, selectattr, rejectattr: items for which a test (or their truth) is `keep`. */
static jv *select_items(jj_run *r, jv *v, const jj_args *a, bool by_attr, bool keep)
{
	jv **items, *attribute = NULL;
	uint32_t n, test = by_attr ? 1 : 0;
	if (!hth_jj_truth(v))
		return hth_jj_iter(r, "generator");
	if (by_attr && a->n_pos == 0)
		return hth_jj_fail(r, "Missing parameter for attribute name");
	if (by_attr)
		attribute = a->pos[0];
	bool has_test = a->n_pos > test;
	if (has_test && a->pos[test]->kind != JJ_STRING)
		return hth_jj_fail(r, "expected a test's name");
	if (has_test && hth_jj_find_test(a->pos[test]->s.data, a->pos[test]->s.len) == NULL)
		return hth_jj_fail(r, "No test named '%.*s'.", (int)HTH_MIN(a->pos[test]->s.len, 60u), a->pos[test]->s.data);
	if (!hth_jj_items(r, v, &items, &n))
		return NULL;
	jj_args rest = has_test ? args_from(a, test + 1) : (jj_args){0};
	hth_jinja_value *out = hth_jj_iter(r, "generator");
	for (uint32_t i = 0; out != NULL && i < n; i++) {
		jv *x = get_attribute(r, items[i], attribute, NULL);
		if (x != NULL && has_test)
			x = hth_jj_apply_test(r, a->pos[test], x, &rest);
		if (x == NULL || !hth_jj_charge(r, 1))
			return NULL;
		if (hth_jj_truth(x) == keep && !hth_jj_append(r->arena, out, items[i]))
			return NULL;
	}
	return out;
}
JJ_FILTER(select) { return select_items(r, v, a, false, true); }
JJ_FILTER(reject) { return select_items(r, v, a, false, false); }
JJ_FILTER(selectattr) { return select_items(r, v, a, true, true); }
JJ_FILTER(rejectattr) { return select_items(r, v, a, true, false); }
