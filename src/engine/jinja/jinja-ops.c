/* jinja-ops.c - what values are and how they compare, add, contain and hold: Python's rules for the types templates have.
 *
 * Integers are 64 bits; where Python would go on to a larger one this reports an error. Comparing and searching charge steps for
 * what they look at, so no template can hide work in them.
 */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"

#include <math.h>

const char *hth_jj_type_name(jv *v)
{
	static const char *const names[JJ_KIND_COUNT] = {
	    "Undefined", "NoneType", "bool",      "int",      "float",    "str",
	    "list",      "tuple",    "dict",      "Namespace", "range",   "generator",
	    "dict_items", "function", "builtin_function_or_method", "Macro", "LoopContext", "Cycler", "Joiner"};
	if (v->kind == JJ_VIEW)
		return v->view.what == 'k' ? "dict_keys" : v->view.what == 'v' ? "dict_values" : "dict_items";
	if (v->kind == JJ_ITER)
		return v->list.what;
	if (v->kind == JJ_STRING && v->markup)
		return "Markup";
	return names[v->kind];
}

static int64_t range_len(jv *v)
{
	int64_t start = v->range.start, stop = v->range.stop, step = v->range.step;
	if (step > 0)
		return start < stop ? (int64_t)(((uint64_t)stop - (uint64_t)start - 1) / (uint64_t)step) + 1 : 0;
	return start > stop ? (int64_t)(((uint64_t)start - (uint64_t)stop - 1) / (0 - (uint64_t)step)) + 1 : 0;
}

bool hth_jj_length(jv *v, size_t *ret)
{
	switch (v->kind) {
	case JJ_UNDEFINED:
		*ret = 0;
		return true;
	case JJ_STRING:
		*ret = v->s.chars;
		return true;
	case JJ_LIST:
	case JJ_TUPLE:
		*ret = v->list.n;
		return true;
	case JJ_DICT:
		*ret = v->dict->n;
		return true;
	case JJ_VIEW:
		*ret = v->view.dict->dict->n;
		return true;
	case JJ_RANGE:
		*ret = (size_t)range_len(v);
		return true;
	case JJ_LOOP:
		*ret = v->loop->n;
		return true;
	default:
		return false;
	}
}

bool hth_jj_truth(jv *v)
{
	size_t n;
	switch (v->kind) {
	case JJ_NONE:
		return false;
	case JJ_BOOL:
		return v->flag;
	case JJ_INT:
		return v->i != 0;
	case JJ_FLOAT:
		return v->f != 0;
	default:
		return !hth_jj_length(v, &n) || n > 0;
	}
}

bool hth_jj_as_int(jv *v, int64_t *ret)
{
	if (v->kind != JJ_INT && v->kind != JJ_BOOL)
		return false;
	*ret = v->kind == JJ_INT ? v->i : v->flag;
	return true;
}

bool hth_jj_is_number(jv *v) { return v->kind >= JJ_BOOL && v->kind <= JJ_FLOAT; }

double hth_jj_as_double(jv *v) { return v->kind == JJ_FLOAT ? v->f : v->kind == JJ_INT ? (double)v->i : v->flag; }

static bool equal_dicts(jj_run *r, const jj_dict *a, const jj_dict *b, bool *ret)
{
	*ret = a->n == b->n;
	for (uint32_t i = 0; *ret && i < a->n; i++) {
		jv *other = hth_jj_dict_get(r->arena, b, a->entries[i].key);
		*ret = other != NULL;
		if (other != NULL && !hth_jj_equal(r, a->entries[i].value, other, ret))
			return false;
	}
	return true;
}

bool hth_jj_equal(jj_run *r, jv *a, jv *b, bool *ret)
{
	*ret = true;
	if (a == b && a->kind != JJ_FLOAT)
		return true;
	if (!hth_jj_charge(r, 1))
		return false;
	if (a->kind == JJ_STRING && b->kind == JJ_STRING && a->s.len == b->s.len && !hth_jj_charge_bytes(r, a->s.len))
		return false;
	if (hth_jj_is_number(a) && hth_jj_is_number(b)) {
		*ret = hth_jj_key_eq(a, b);
		return true;
	}
	*ret = false;
	if (a->kind != b->kind)
		return true;
	bool ok = true;
	switch (a->kind) {
	case JJ_UNDEFINED:
	case JJ_NONE:
		*ret = true;
		return true;
	case JJ_STRING:
		*ret = hth_jj_key_eq(a, b);
		return true;
	case JJ_LIST:
	case JJ_TUPLE:
		*ret = a->list.n == b->list.n;
		if (!hth_jj_deeper(r))
			return false;
		for (uint32_t i = 0; ok && *ret && i < a->list.n; i++)
			ok = hth_jj_equal(r, a->list.items[i], b->list.items[i], ret);
		r->level--;
		return ok;
	case JJ_DICT:
		if (!hth_jj_deeper(r))
			return false;
		ok = equal_dicts(r, a->dict, b->dict, ret);
		r->level--;
		return ok;
	case JJ_RANGE:
		*ret = range_len(a) == range_len(b) && (range_len(a) == 0 || (a->range.start == b->range.start &&
							(range_len(a) == 1 || a->range.step == b->range.step)));
		return true;
	case JJ_METHOD:
		*ret = a->fn.fn == b->fn.fn && a->fn.self == b->fn.self;
		return true;
	case JJ_FUNCTION:
		*ret = a->fn.fn == b->fn.fn;
		return true;
	default:
		return true; /* the same object or not equal */
	}
}

bool hth_jj_order(jj_run *r, jv *a, jv *b, const char *op, int *ret)
{
	if (a->kind == JJ_UNDEFINED || b->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, a->kind == JJ_UNDEFINED ? a : b);
	if (hth_jj_is_number(a) && hth_jj_is_number(b)) {
		if (a->kind != JJ_FLOAT && b->kind != JJ_FLOAT) {
			int64_t x = 0, y = 0;
			hth_jj_as_int(a, &x);
			hth_jj_as_int(b, &y);
			*ret = (x > y) - (x < y);
		} else {
			double x = hth_jj_as_double(a), y = hth_jj_as_double(b);
			*ret = isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
		}
		return true;
	}
	if (a->kind == JJ_STRING && b->kind == JJ_STRING) {
		int c = hth_jj_str_cmp(a, b);
		*ret = (c > 0) - (c < 0);
		return hth_jj_charge_bytes(r, HTH_MIN(a->s.len, b->s.len));
	}
	if (a->kind != b->kind || (a->kind != JJ_LIST && a->kind != JJ_TUPLE))
		return hth_jj_fail(r, "'%s' not supported between instances of '%s' and '%s'", op, hth_jj_type_name(a),
				   hth_jj_type_name(b));
	if (!hth_jj_deeper(r))
		return false;
	uint32_t n = HTH_MIN(a->list.n, b->list.n);
	bool ok = true;
	for (uint32_t i = 0; i < n; i++) {
		bool same = false;
		ok = hth_jj_equal(r, a->list.items[i], b->list.items[i], &same);
		if (ok && same)
			continue;
		ok = ok && hth_jj_order(r, a->list.items[i], b->list.items[i], op, ret);
		r->level--;
		return ok;
	}
	r->level--;
	*ret = (a->list.n > b->list.n) - (a->list.n < b->list.n);
	return ok;
}

bool hth_jj_contains(jj_run *r, jv *container, jv *item, bool *ret)
{
	*ret = false;
	switch (container->kind) {
	case JJ_STRING:
		if (item->kind != JJ_STRING)
			return hth_jj_fail(r, "'in <string>' requires string as left operand, not %s", hth_jj_type_name(item));
		*ret = hth_jj_find(container, item, 0) != SIZE_MAX;
		return hth_jj_charge_bytes(r, container->s.len);
	case JJ_DICT:
		if (!hth_jj_hashable(item))
			return hth_jj_fail(r, "unhashable type: '%s'", hth_jj_type_name(item));
		if (item->kind == JJ_STRING && !hth_jj_charge_bytes(r, item->s.len))
			return false;
		*ret = hth_jj_dict_get(r->arena, container->dict, item) != NULL;
		return true;
	case JJ_VIEW:
		if (container->view.what == 'k' && hth_jj_hashable(item)) {
			*ret = hth_jj_dict_get(r->arena, container->view.dict->dict, item) != NULL;
			return true;
		}
		break;
	case JJ_NONE:
	case JJ_BOOL:
	case JJ_INT:
	case JJ_FLOAT:
	case JJ_NAMESPACE:
	case JJ_FUNCTION:
	case JJ_METHOD:
	case JJ_MACRO:
	case JJ_CYCLER:
	case JJ_JOINER:
		return hth_jj_fail(r, "argument of type '%s' is not iterable", hth_jj_type_name(container));
	default:
		break;
	}
	jv **items;
	uint32_t n;
	if (!hth_jj_items(r, container, &items, &n))
		return false;
	for (uint32_t i = 0; i < n && !*ret; i++)
		if (!hth_jj_equal(r, items[i], item, ret))
			return false;
	return true;
}

/* --- arithmetic --- */

static jv *overflow(jj_run *r) { return hth_jj_fail(r, "the result does not fit a 64-bit integer"); }

static jv *int_binary(jj_run *r, int op, int64_t a, int64_t b)
{
	int64_t v = 0;
	switch (op) {
	case '+':
		return __builtin_add_overflow(a, b, &v) ? overflow(r) : hth_jinja_int(r->arena, v);
	case '-':
		return __builtin_sub_overflow(a, b, &v) ? overflow(r) : hth_jinja_int(r->arena, v);
	case '*':
		return __builtin_mul_overflow(a, b, &v) ? overflow(r) : hth_jinja_int(r->arena, v);
	case '/':
		if (b == 0)
			return hth_jj_fail(r, "division by zero");
		return hth_jinja_float(r->arena, (double)a / (double)b);
	case '%':
	case JJ_OP2('/', '/'):
		if (b == 0)
			return hth_jj_fail(r, "integer division or modulo by zero");
		if (b == -1) {
			if (op == '%')
				return hth_jinja_int(r->arena, 0);
			return __builtin_sub_overflow(0, a, &v) ? overflow(r) : hth_jinja_int(r->arena, v);
		}
		if (op == '%') {
			v = a % b;
			return hth_jinja_int(r->arena, v != 0 && (v < 0) != (b < 0) ? v + b : v);
		}
		v = a / b;
		return hth_jinja_int(r->arena, a % b != 0 && (a < 0) != (b < 0) ? v - 1 : v);
	default:
		if (b < 0) {
			if (a == 0)
				return hth_jj_fail(r, "0.0 cannot be raised to a negative power");
			return hth_jinja_float(r->arena, pow((double)a, (double)b));
		}
		v = 1;
		for (int64_t base = a; b > 0; b >>= 1) {
			if ((b & 1) && __builtin_mul_overflow(v, base, &v))
				return overflow(r);
			if (b > 1 && __builtin_mul_overflow(base, base, &base)) {
				return overflow(r);
			}
		}
		return hth_jinja_int(r->arena, v);
	}
}

static jv *float_binary(jj_run *r, int op, double a, double b)
{
	switch (op) {
	case '+':
		return hth_jinja_float(r->arena, a + b);
	case '-':
		return hth_jinja_float(r->arena, a - b);
	case '*':
		return hth_jinja_float(r->arena, a * b);
	case '/':
		return b == 0 ? hth_jj_fail(r, "float division by zero") : hth_jinja_float(r->arena, a / b);
	case '%':
	case JJ_OP2('/', '/'): {
		if (b == 0)
			return hth_jj_fail(r, "float floor division by zero");
		double m = fmod(a, b);
		if (m != 0 && (m < 0) != (b < 0))
			m += b;
		else if (m == 0)
			m = copysign(0, b);
		if (op == '%')
			return hth_jinja_float(r->arena, m);
		double q = (a - m) / b;
		return hth_jinja_float(r->arena, q == 0 ? copysign(0, a / b) : floor(q) + (q - floor(q) > 0.5));
	}
	default:
		if (a == 0 && b < 0)
			return hth_jj_fail(r, "0.0 cannot be raised to a negative power");
		if (a < 0 && b != floor(b))
			return hth_jj_fail(r, "a negative number cannot be raised to a fractional power");
		return hth_jinja_float(r->arena, pow(a, b));
	}
}

jv *hth_jj_repeat(jj_run *r, jv *v, int64_t times)
{
	size_t n = times > 0 ? (size_t)times : 0;
	if (v->kind == JJ_STRING) {
		if (n == 1)
			return v;
		jj_builder b = hth_jj_builder(r->arena);
		if (v->s.len > 0 && n > (size_t)INT32_MAX / v->s.len)
			b.failed = true;
		for (size_t i = 0; i < n && v->s.len > 0 && !b.failed; i++)
			if (!hth_jj_charge(r, 1) || !hth_jj_put_str(&b, v))
				return NULL;
		if (b.failed)
			return hth_jj_fail_plain(r, HTH_TOO_LARGE, "line %u: the template needs more memory than it may use",
						 r->at->line);
		hth_jinja_value *s = (hth_jinja_value *)hth_jj_done(&b);
		if (s != NULL)
			s->markup = v->markup;
		return s;
	}
	if (v->list.n > 0 && n > (size_t)INT32_MAX / v->list.n)
		return hth_jj_fail_plain(r, HTH_TOO_LARGE, "line %u: the template needs more memory than it may use",
					 r->at->line);
	hth_jinja_value *list = hth_jj_seq(r->arena, (jj_kind)v->kind, n * v->list.n);
	for (size_t i = 0; list != NULL && v->list.n > 0 && i < n; i++) {
		if (!hth_jj_charge(r, v->list.n))
			return NULL;
		memcpy(list->list.items + i * v->list.n, v->list.items, v->list.n * sizeof *v->list.items);
	}
	return list;
}

static jv *add(jj_run *r, jv *a, jv *b)
{
	if (a->kind == JJ_STRING && b->kind == JJ_STRING) {
		if (a->markup && !b->markup)
			b = hth_jj_escape(r, b);
		else if (b->markup && !a->markup)
			a = hth_jj_escape(r, a);
		if (a == NULL || b == NULL || !hth_jj_charge_bytes(r, b->s.len))
			return NULL;
		jv *sum = hth_jj_concat(r->arena, a, b);
		if (sum != NULL && sum->markup != a->markup) {
			hth_jinja_value *copy = hth_jj_new(r->arena, JJ_STRING);
			if (copy == NULL)
				return NULL;
			*copy = *sum;
			copy->markup = a->markup;
			return copy;
		}
		return sum;
	}
	if ((a->kind == JJ_LIST || a->kind == JJ_TUPLE) && a->kind == b->kind) {
		if (!hth_jj_charge(r, (a->list.n + b->list.n) / 16))
			return NULL;
		hth_jinja_value *list = hth_jj_seq(r->arena, (jj_kind)a->kind, (size_t)a->list.n + b->list.n);
		if (list == NULL)
			return NULL;
		if (a->list.n > 0)
			memcpy(list->list.items, a->list.items, a->list.n * sizeof *a->list.items);
		if (b->list.n > 0)
			memcpy(list->list.items + a->list.n, b->list.items, b->list.n * sizeof *b->list.items);
		return list;
	}
	if (a->kind == JJ_STRING || a->kind == JJ_LIST || a->kind == JJ_TUPLE)
		return hth_jj_fail(r, "can only concatenate %s (not \"%s\") to %s", hth_jj_type_name(a), hth_jj_type_name(b),
				   hth_jj_type_name(a));
	return hth_jj_fail(r, "unsupported operand type(s) for +: '%s' and '%s'", hth_jj_type_name(a), hth_jj_type_name(b));
}

jv *hth_jj_binary(jj_run *r, int op, jv *a, jv *b)
{
	int64_t x, y;
	if (op == '%' && a->kind == JJ_STRING)
		return hth_jj_percent_format(r, a, b);
	if (a->kind == JJ_UNDEFINED || b->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, a->kind == JJ_UNDEFINED ? a : b);
	if (hth_jj_as_int(a, &x) && hth_jj_as_int(b, &y))
		return int_binary(r, op, x, y);
	if (hth_jj_is_number(a) && hth_jj_is_number(b))
		return float_binary(r, op, hth_jj_as_double(a), hth_jj_as_double(b));
	if (op == '+')
		return add(r, a, b);
	if (op == '*') {
		bool seq_a = a->kind == JJ_STRING || a->kind == JJ_LIST || a->kind == JJ_TUPLE;
		bool seq_b = b->kind == JJ_STRING || b->kind == JJ_LIST || b->kind == JJ_TUPLE;
		if (seq_a && hth_jj_as_int(b, &y))
			return hth_jj_repeat(r, a, y);
		if (seq_b && hth_jj_as_int(a, &x))
			return hth_jj_repeat(r, b, x);
		if (seq_a || seq_b)
			return hth_jj_fail(r, "can't multiply sequence by non-int of type '%s'", hth_jj_type_name(seq_a ? b : a));
	}
	char spelled[3] = {(char)(op & 255), (char)(op >> 8), '\0'};
	return hth_jj_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'",
			   op == JJ_OP2('*', '*') ? "** or pow()" : spelled, hth_jj_type_name(a), hth_jj_type_name(b));
}

/* --- items --- */

hth_jinja_value *hth_jj_tuple2(jj_run *r, jv *a, jv *b)
{
	hth_jinja_value *t = hth_jj_seq(r->arena, JJ_TUPLE, 2);
	if (t == NULL || a == NULL || b == NULL)
		return NULL;
	t->list.items[0] = a;
	t->list.items[1] = b;
	return t;
}

hth_jinja_value *hth_jj_iter(jj_run *r, const char *what)
{
	hth_jinja_value *v = hth_jj_seq(r->arena, JJ_ITER, 0);
	if (v != NULL)
		v->list.what = what;
	return v;
}

/* Room for n pointers, charged for. */
static jv **item_room(jj_run *r, size_t n)
{
	return hth_jj_charge(r, n / 4) ? hth_jj_alloc(r->arena, (n ? n : 1) * sizeof(jv *)) : NULL;
}

static jv **view_items(jj_run *r, jv *dict, char what)
{
	uint32_t n = dict->dict->n;
	jv **out = item_room(r, n);
	for (uint32_t i = 0; out != NULL && i < n; i++) {
		const jj_entry *e = &dict->dict->entries[i];
		out[i] = what == 'k' ? e->key : what == 'v' ? e->value : hth_jj_tuple2(r, e->key, e->value);
		if (out[i] == NULL)
			return NULL;
	}
	return out;
}

static jv **char_items(jj_run *r, jv *s)
{
	jv **out = item_room(r, s->s.chars);
	uint32_t i = 0;
	for (size_t at = 0; out != NULL && at < s->s.len && i < s->s.chars; i++) {
		size_t next = at + (hth_jj_char_at(&(hth_jinja_value){.kind = JJ_STRING,
								     .s = {.data = s->s.data + at,
									   .len = (uint32_t)(s->s.len - at),
									   .chars = 0x7FFFFFFF}},
						   1));
		jv *c = hth_jj_slice(r->arena, s, at, next);
		if (c == NULL)
			return NULL;
		if (c->markup) { /* Python iterates over plain characters */
			hth_jinja_value *plain = hth_jj_new(r->arena, JJ_STRING);
			if (plain == NULL)
				return NULL;
			*plain = *c;
			plain->markup = false;
			c = plain;
		}
		out[i] = c;
		at = next;
	}
	return out;
}

bool hth_jj_items(jj_run *r, jv *v, jv ***ret_items, uint32_t *ret_n)
{
	size_t n = 0;
	jv **items = NULL;
	hth_jj_length(v, &n);
	switch (v->kind) {
	case JJ_UNDEFINED:
		items = item_room(r, 0);
		break;
	case JJ_LIST:
	case JJ_TUPLE:
		items = v->list.items ? v->list.items : item_room(r, 0);
		break;
	case JJ_ITER: {
		hth_jinja_value *it = (hth_jinja_value *)v; /* one pass: what is read is gone */
		items = it->list.n > it->list.at ? it->list.items + it->list.at : item_room(r, 0);
		n = it->list.n - it->list.at;
		it->list.at = it->list.n;
		break;
	}
	case JJ_DICT:
		items = view_items(r, v, 'k');
		break;
	case JJ_VIEW:
		items = view_items(r, v->view.dict, v->view.what);
		break;
	case JJ_STRING:
		items = char_items(r, v);
		break;
	case JJ_RANGE:
		items = item_room(r, n);
		for (size_t i = 0; items != NULL && i < n; i++)
			if ((items[i] = hth_jinja_int(r->arena, v->range.start + (int64_t)i * v->range.step)) == NULL)
				return false;
		break;
	default:
		return hth_jj_fail(r, "'%s' object is not iterable", hth_jj_type_name(v));
	}
	*ret_items = items;
	*ret_n = (uint32_t)n;
	return items != NULL;
}
