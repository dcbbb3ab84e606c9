/* jinja-access.c - attributes, subscripts and slices, as Jinja's immutable sandbox resolves them.
 *
 * `a.b` asks the object for a method first and then for a key, `a['b']` the other way round; what is not there is undefined and
 * says so only when it is used. Methods that would change a list or dict are refused, as are names with double underscores.
 */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"

#include <stdio.h>

static const char *object_name(jv *v)
{
	switch (v->kind) {
	case JJ_NONE:
		return "None";
	case JJ_NAMESPACE:
		return "jinja2.utils.Namespace object";
	case JJ_MACRO:
		return "jinja2.runtime.Macro object";
	case JJ_LOOP:
		return "jinja2.runtime.LoopContext object";
	default:
		return NULL;
	}
}

static jv *missing_attr(jj_run *r, jv *v, jv *name)
{
	const char *object = object_name(v);
	return hth_jj_undefined(r, "'%s%s' has no attribute '%.*s'", object ? object : hth_jj_type_name(v),
				object ? "" : " object", (int)HTH_MIN(name->s.len, 80u), name->s.data);
}

static jv *missing_item(jj_run *r, jv *v, jv *key)
{
	if (key->kind == JJ_STRING)
		return missing_attr(r, v, key);
	const char *object = object_name(v);
	jv *text = hth_jj_repr(r, key);
	if (text == NULL)
		return NULL;
	return hth_jj_undefined(r, "%s%s has no element %.*s", object ? object : hth_jj_type_name(v),
				object ? "" : " object", (int)HTH_MIN(text->s.len, 80u), text->s.data);
}

jv *hth_jj_method(jj_run *r, jv *self, const jj_builtin *fn)
{
	hth_jinja_value *m = hth_jj_new(r->arena, JJ_METHOD);
	if (m != NULL) {
		m->fn.fn = fn;
		m->fn.self = self;
	}
	return m;
}

static jv *macro_attr(jj_run *r, jv *v, jv *name)
{
	const jj_macro_def *def = v->macro->def;
	if (hth_jj_is_str(name, "name"))
		return def->name;
	if (hth_jj_is_str(name, "catch_kwargs"))
		return hth_jinja_bool(r->arena, def->uses_kwargs);
	if (hth_jj_is_str(name, "catch_varargs"))
		return hth_jinja_bool(r->arena, def->uses_varargs);
	if (hth_jj_is_str(name, "caller"))
		return hth_jinja_bool(r->arena, def->uses_caller);
	if (!hth_jj_is_str(name, "arguments"))
		return NULL;
	hth_jinja_value *list = hth_jj_seq(r->arena, JJ_TUPLE, def->n);
	for (uint32_t i = 0; list != NULL && i < def->n; i++)
		list->list.items[i] = def->names[i];
	return list;
}

/* What the object itself has by that name (not its keys). NULL without an error: nothing. */
static jv *own_attr(jj_run *r, jv *v, jv *name)
{
	const char *s = name->s.data;
	size_t n = name->s.len;
	if ((n > 4 && memcmp(s, "__", 2) == 0 && memcmp(s + n - 2, "__", 2) == 0) ||
	    hth_jj_is_mutator((jj_kind)v->kind, s, n)) {
		/* Undefined and not an error yet: `x.pop is defined` may be asked. */
		return hth_jj_undefined(r, "access to attribute '%.*s' of '%s' object is unsafe.", (int)HTH_MIN(n, (size_t)80), s,
					hth_jj_type_name(v));
	}
	const jj_builtin *method = hth_jj_find_method((jj_kind)v->kind, s, n);
	if (method != NULL)
		return hth_jj_method(r, v, method);
	switch (v->kind) {
	case JJ_LOOP:
		return hth_jj_loop_attr(r, v, name);
	case JJ_MACRO:
		return macro_attr(r, v, name);
	case JJ_NAMESPACE:
		return hth_jj_dict_get(r->arena, v->dict, name);
	case JJ_CYCLER:
		if (hth_jj_is_str(name, "current") && v->list.n > 0)
			return v->list.items[v->list.at % v->list.n];
		return NULL;
	case JJ_RANGE:
		if (hth_jj_is_str(name, "start"))
			return hth_jinja_int(r->arena, v->range.start);
		if (hth_jj_is_str(name, "stop"))
			return hth_jinja_int(r->arena, v->range.stop);
		if (hth_jj_is_str(name, "step"))
			return hth_jinja_int(r->arena, v->range.step);
		return NULL;
	case JJ_TUPLE:
		if (v->flag && hth_jj_is_str(name, "grouper"))
			return v->list.items[0];
		if (v->flag && hth_jj_is_str(name, "list"))
			return v->list.items[1];
		return NULL;
	default:
		return NULL;
	}
}

jv *hth_jj_attr(jj_run *r, jv *v, jv *name)
{
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	jv *found = own_attr(r, v, name);
	if (found != NULL || r->failed || hth_jj_arena_full(r->arena))
		return found;
	if (v->kind == JJ_DICT && (found = hth_jj_dict_get(r->arena, v->dict, name)) != NULL)
		return found;
	return missing_attr(r, v, name);
}

jv *hth_jj_item(jj_run *r, jv *v, jv *key)
{
	int64_t i;
	jv *found = NULL;
	size_t n = 0;
	switch (v->kind) {
	case JJ_UNDEFINED:
		return hth_jj_fail_undefined(r, v);
	case JJ_DICT:
		if (key->kind == JJ_STRING && !hth_jj_charge_bytes(r, key->s.len))
			return NULL;
		if (hth_jj_hashable(key))
			found = hth_jj_dict_get(r->arena, v->dict, key);
		break;
	case JJ_STRING:
	case JJ_LIST:
	case JJ_TUPLE:
	case JJ_RANGE:
		if (!hth_jj_as_int(key, &i))
			break;
		hth_jj_length(v, &n);
		if (i < 0)
			i += (int64_t)n;
		if (i < 0 || (size_t)i >= n)
			break;
		if (v->kind == JJ_RANGE)
			return hth_jinja_int(r->arena, v->range.start + i * v->range.step);
		if (v->kind != JJ_STRING)
			return v->list.items[i];
		if (v->s.chars != v->s.len && !hth_jj_charge_bytes(r, (uint64_t)i * 8))
			return NULL;
		size_t from = hth_jj_char_at(v, (size_t)i);
		hth_jinja_value rest = {.kind = JJ_STRING,
					.s = {.data = v->s.data + from, .len = v->s.len - (uint32_t)from}};
		rest.s.chars = v->s.chars == v->s.len ? rest.s.len : 0x7FFFFFFF;
		return hth_jj_slice(r->arena, v, from, from + hth_jj_char_at(&rest, 1));
	default:
		break;
	}
	if (found == NULL && key->kind == JJ_STRING) {
		found = own_attr(r, v, key);
		if (r->failed || hth_jj_arena_full(r->arena))
			return NULL;
	}
	return found ? found : missing_item(r, v, key);
}

/* Python's rules for one bound: negative counts from the end, and it is kept within [low, high]. */
static bool slice_bound(jj_run *r, jv *v, int64_t n, int64_t low, int64_t high, int64_t left_out, int64_t *ret)
{
	if (v == NULL || v->kind == JJ_NONE) {
		*ret = left_out;
		return true;
	}
	int64_t i;
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (!hth_jj_as_int(v, &i))
		return hth_jj_fail(r, "slice indices must be integers or None or have an __index__ method");
	if (i < 0)
		i = i < -n ? low : i + n;
	*ret = i < low ? low : i > high ? high : i;
	return true;
}

jv *hth_jj_slice_value(jj_run *r, jv *v, jv *start, jv *stop, jv *step)
{
	size_t len = 0;
	if (v->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, v);
	if (v->kind == JJ_DICT)
		return hth_jj_fail(r, "unhashable type: 'slice'");
	if (v->kind != JJ_STRING && v->kind != JJ_LIST && v->kind != JJ_TUPLE && v->kind != JJ_RANGE)
		return hth_jj_fail(r, "'%s' object is not subscriptable", hth_jj_type_name(v));
	hth_jj_length(v, &len);
	int64_t n = (int64_t)len, by = 1, from, to;
	if (step != NULL && step->kind != JJ_NONE && !hth_jj_as_int(step, &by))
		return hth_jj_fail(r, "slice indices must be integers or None or have an __index__ method");
	by = by < -n - 1 ? -n - 1 : by > n + 1 ? n + 1 : by;
	if (by == 0)
		return hth_jj_fail(r, "slice step cannot be zero");
	bool back = by < 0;
	if (!slice_bound(r, start, n, back ? -1 : 0, back ? n - 1 : n, back ? n - 1 : 0, &from) ||
	    !slice_bound(r, stop, n, back ? -1 : 0, back ? n - 1 : n, back ? -1 : n, &to))
		return NULL;
	int64_t count = back ? (from > to ? (from - to - 1) / -by + 1 : 0) : (from < to ? (to - from - 1) / by + 1 : 0);
	if (!hth_jj_charge(r, (uint64_t)count / 16))
		return NULL;
	if (v->kind == JJ_STRING) {
		if (count == 0)
			return hth_jj_slice(r->arena, v, 0, 0);
		if (by == 1) {
			if (v->s.chars != v->s.len && !hth_jj_charge_bytes(r, v->s.len * 8ull))
				return NULL;
			size_t begin = hth_jj_char_at(v, (size_t)from), end = hth_jj_char_at(v, (size_t)to);
			return hth_jj_slice(r->arena, v, begin, end);
		}
		jv **chars;
		uint32_t n_chars;
		jj_builder b = hth_jj_builder(r->arena);
		if (!hth_jj_items(r, v, &chars, &n_chars))
			return NULL;
		for (int64_t i = 0; i < count; i++)
			hth_jj_put_str(&b, chars[from + i * by]);
		return hth_jj_done(&b);
	}
	if (v->kind == JJ_RANGE) {
		hth_jinja_value *range = hth_jj_new(r->arena, JJ_RANGE);
		if (range != NULL) {
			range->range.start = v->range.start + from * v->range.step;
			range->range.step = v->range.step * by;
			range->range.stop = v->range.start + to * v->range.step;
		}
		return range;
	}
	hth_jinja_value *list = hth_jj_seq(r->arena, (jj_kind)v->kind, (size_t)count);
	for (int64_t i = 0; list != NULL && i < count; i++)
		list->list.items[i] = v->list.items[from + i * by];
	return list;
}
