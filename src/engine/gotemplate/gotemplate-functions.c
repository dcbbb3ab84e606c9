/* gotemplate-functions.c - the functions that a template may call: Go's, as far as chat templates are about text, and Ollama's own.
 * Comparing values of different kinds is an error, as Go has it; a number of the data is a float64 there, an index or a length an int.
 * Source: https://pkg.go.dev/text/template#hdr-Functions
 */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"

#include <stdio.h>
#include <time.h>

static gt_value fail_of(void *null)
{
	(void)null;
	return hth_gt_none();
}

/* --- comparing --- */

static bool is_basic(gt_class c) { return c == GT_C_STRING || c == GT_C_BOOL || c == GT_C_INT || c == GT_C_FLOAT; }

static bool comparable(gt_run *r, gt_value a, gt_value b, const char *fn)
{
	gt_class x = hth_gt_class_of(a), y = hth_gt_class_of(b);
	for (int side = 0; side < 2; side++) {
		gt_value v = side == 0 ? a : b;
		gt_class c = side == 0 ? x : y;
		if (!is_basic(c) && c != GT_C_ANY)
			return hth_gt_fail(r, "%s: %s cannot be compared", fn, hth_gt_type_name(v)) != NULL;
	}
	if (x != y && x != GT_C_ANY && y != GT_C_ANY)
		return hth_gt_fail(r, "%s: incompatible types for comparison: %s and %s", fn, hth_gt_type_name(a),
		                   hth_gt_type_name(b)) != NULL;
	return true;
}

static double number(gt_value v) { return v.v->kind == JJ_INT ? (double)v.v->i : v.v->f; }

static int order(gt_value a, gt_value b)
{
	switch (hth_gt_class_of(a)) {
	case GT_C_STRING:
		return hth_jj_str_cmp(a.v, b.v);
	case GT_C_BOOL:
		return (int)a.v->flag - (int)b.v->flag;
	default:
		if (a.v->kind == JJ_INT && b.v->kind == JJ_INT)
			return (a.v->i > b.v->i) - (a.v->i < b.v->i);
		return (number(a) > number(b)) - (number(a) < number(b));
	}
}

static bool equal(gt_value a, gt_value b)
{
	gt_class x = hth_gt_class_of(a), y = hth_gt_class_of(b);
	return x == y && (x == GT_C_ANY || order(a, b) == 0);
}

static gt_value fn_eq(gt_run *r, const gt_value *a, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		if (!comparable(r, a[0], a[i], "eq"))
			return hth_gt_none();
		if (equal(a[0], a[i]))
			return hth_gt_truth_value(r, true);
	}
	return hth_gt_truth_value(r, false);
}

static gt_value fn_ne(gt_run *r, const gt_value *a, uint32_t n)
{
	(void)n;
	return comparable(r, a[0], a[1], "ne") ? hth_gt_truth_value(r, !equal(a[0], a[1])) : hth_gt_none();
}

static bool ordered(gt_run *r, const gt_value *a, const char *fn, int *ret)
{
	gt_class x = hth_gt_class_of(a[0]), y = hth_gt_class_of(a[1]);
	if (x == GT_C_BOOL || y == GT_C_BOOL || !is_basic(x) || !is_basic(y))
		return hth_gt_fail(r, "%s: %s cannot be ordered", fn,
		                   hth_gt_type_name(is_basic(x) && x != GT_C_BOOL ? a[1] : a[0])) != NULL;
	if (!comparable(r, a[0], a[1], fn))
		return false;
	*ret = order(a[0], a[1]);
	return true;
}

#define ORDERED(name, op)                                                                               \
	static gt_value fn_##name(gt_run *r, const gt_value *a, uint32_t n)                             \
	{                                                                                               \
		int c = 0;                                                                              \
		(void)n;                                                                                \
		return ordered(r, a, #name, &c) ? hth_gt_truth_value(r, c op 0) : hth_gt_none();        \
	}
ORDERED(lt, <)
ORDERED(le, <=)
ORDERED(gt, >)
ORDERED(ge, >=)

static gt_value fn_not(gt_run *r, const gt_value *a, uint32_t n)
{
	(void)n;
	return hth_gt_truth_value(r, !hth_gt_truth(a[0]));
}

/* --- parts --- */

static gt_value fn_len(gt_run *r, const gt_value *a, uint32_t n)
{
	(void)n;
	switch (hth_gt_class_of(a[0])) {
	case GT_C_STRING:
		return hth_gt_int_value(r, a[0].v->s.len);
	case GT_C_LIST:
		return hth_gt_int_value(r, a[0].v->list.n);
	case GT_C_MAP:
		return hth_gt_int_value(r, a[0].v->dict->n);
	case GT_C_ANY:
		return fail_of(hth_gt_fail(r, "len of nil"));
	default:
		return fail_of(hth_gt_fail(r, "len of type %s", hth_gt_type_name(a[0])));
	}
}

static bool place(gt_run *r, gt_value index, uint32_t most, const char *fn, uint32_t *ret)
{
	if (hth_gt_class_of(index) != GT_C_INT)
		return hth_gt_fail(r, "%s: cannot index with type %s", fn, hth_gt_type_name(index)) != NULL;
	if (index.v->i < 0 || index.v->i > (int64_t)most)
		return hth_gt_fail(r, "%s: index out of range: %lld", fn, (long long)index.v->i) != NULL;
	*ret = (uint32_t)index.v->i;
	return true;
}

static gt_value fn_index(gt_run *r, const gt_value *a, uint32_t n)
{
	gt_value v = a[0];
	for (uint32_t i = 1; i < n && v.v != NULL; i++) {
		uint32_t at = 0;
		gt_class class = hth_gt_class_of(v);
		uint32_t len = class == GT_C_LIST ? v.v->list.n : class == GT_C_STRING ? v.v->s.len : 0;
		if (class == GT_C_MAP && hth_gt_class_of(a[i]) == GT_C_STRING) {
			v = hth_gt_see(v.type->item, hth_jj_dict_get(r->arena, v.v->dict, a[i].v));
			continue;
		}
		if (class == GT_C_MAP)
			return fail_of(hth_gt_fail(r, "index: a map's keys are strings, not %s", hth_gt_type_name(a[i])));
		if (class != GT_C_LIST && class != GT_C_STRING)
			return fail_of(hth_gt_fail(r, class == GT_C_ANY ? "index of nil" : "index: can't index item of type %s",
			                           hth_gt_type_name(v)));
		if (!place(r, a[i], len, "index", &at))
			return hth_gt_none();
		if (at == len)
			return fail_of(hth_gt_fail(r, "index: index out of range: %u", at));
		v = class == GT_C_LIST ? hth_gt_item_of(v, at) : hth_gt_int_value(r, (unsigned char)v.v->s.data[at]);
	}
	return v;
}

/* slice x a b is x[a:b]; of a string by bytes. */
static gt_value fn_slice(gt_run *r, const gt_value *a, uint32_t n)
{
	gt_class class = hth_gt_class_of(a[0]);
	uint32_t from = 0, to = class == GT_C_LIST ? a[0].v->list.n : class == GT_C_STRING ? a[0].v->s.len : 0, cap = to;
	if (class != GT_C_LIST && class != GT_C_STRING)
		return fail_of(hth_gt_fail(r, class == GT_C_ANY ? "slice of nil" : "slice: can't slice item of type %s",
		                           hth_gt_type_name(a[0])));
	if (n == 4 && class == GT_C_STRING)
		return fail_of(hth_gt_fail(r, "slice: cannot 3-index slice a string"));
	if ((n > 1 && !place(r, a[1], to, "slice", &from)) || (n > 2 && !place(r, a[2], to, "slice", &to)) ||
	    (n > 3 && !place(r, a[3], cap, "slice", &cap)))
		return hth_gt_none();
	if (from > to || to > cap)
		return fail_of(hth_gt_fail(r, "slice: invalid slice index: %u > %u", from > to ? from : to, from > to ? to : cap));
	if (class == GT_C_STRING)
		return hth_gt_string_value(hth_jj_slice(r->arena, a[0].v, from, to));
	hth_jinja_value *part = hth_jj_new(r->arena, JJ_LIST);
	if (part == NULL)
		return hth_gt_none();
	/* Nothing appends to a list here, so the items are shared. */
	part->list.items = a[0].v->list.items != NULL ? a[0].v->list.items + from : NULL;
	part->list.n = part->list.cap = to - from;
	return (gt_value){a[0].type, part};
}

/* --- text --- */

/* fmt.Sprint: a space between operands when neither is a string; Sprintln: always, and a line's end. */
static gt_value print(gt_run *r, const gt_value *a, uint32_t n, bool line)
{
	jj_builder b = hth_jj_builder(r->arena);
	bool ok = true;
	for (uint32_t i = 0; ok && i < n; i++) {
		bool apart = i > 0 && (line || (a[i].type->class != GT_C_STRING && a[i - 1].type->class != GT_C_STRING &&
						hth_gt_class_of(a[i]) != GT_C_STRING && hth_gt_class_of(a[i - 1]) != GT_C_STRING));
		ok = hth_jj_put_cstr(&b, apart ? " " : "") && hth_gt_put_plain(r, &b, a[i]);
	}
	ok = ok && hth_jj_put_cstr(&b, line ? "\n" : "");
	return ok ? hth_gt_string_value(hth_jj_done(&b)) : hth_gt_none();
}

static gt_value fn_print(gt_run *r, const gt_value *a, uint32_t n) { return print(r, a, n, false); }
static gt_value fn_println(gt_run *r, const gt_value *a, uint32_t n) { return print(r, a, n, true); }

static gt_value fn_printf(gt_run *r, const gt_value *a, uint32_t n)
{
	if (hth_gt_class_of(a[0]) != GT_C_STRING)
		return fail_of(hth_gt_fail(r, "printf: the format must be a string, not %s", hth_gt_type_name(a[0])));
	return hth_gt_string_value(hth_gt_printf(r, a[0].v, a + 1, n - 1));
}

static gt_value fn_json(gt_run *r, const gt_value *a, uint32_t n)
{
	(void)n;
	jj_builder b = hth_jj_builder(r->arena);
	return hth_gt_put_json(r, &b, a[0]) ? hth_gt_string_value(hth_jj_done(&b)) : hth_gt_none();
}

static gt_value date(gt_run *r, int64_t seconds)
{
	char text[64];
	struct tm tm = {0};
	time_t t = (time_t)seconds;
	if (gmtime_r(&t, &tm) == NULL || tm.tm_year > 8000)
		return fail_of(hth_gt_fail(r, "the clock shows no date"));
	snprintf(text, sizeof text, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	return hth_gt_string_value(hth_jinja_trusted_string(r->arena, text, strlen(text)));
}

static gt_value fn_current_date(gt_run *r, const gt_value *a, uint32_t n)
{
	(void)a;
	(void)n;
	return date(r, r->now);
}

static gt_value fn_yesterday(gt_run *r, const gt_value *a, uint32_t n)
{
	(void)a;
	(void)n;
	return date(r, r->now - 24 * 60 * 60);
}

static gt_value fn_typescript(gt_run *r, const gt_value *a, uint32_t n)
{
	(void)n;
	const char *text = hth_gt_typescript(r, a[0]);
	return text != NULL ? hth_gt_string_value(hth_jj_str(r->arena, text)) : hth_gt_none();
}

enum { ANY_NUMBER = 64 };
static const gt_function functions[] = {
    {"and", 1, ANY_NUMBER, NULL},
    {"or", 1, ANY_NUMBER, NULL},
    {"not", 1, 1, fn_not},
    {"eq", 2, ANY_NUMBER, fn_eq},
    {"ne", 2, 2, fn_ne},
    {"lt", 2, 2, fn_lt},
    {"le", 2, 2, fn_le},
    {"gt", 2, 2, fn_gt},
    {"ge", 2, 2, fn_ge},
    {"len", 1, 1, fn_len},
    {"index", 1, ANY_NUMBER, fn_index},
    {"slice", 1, 4, fn_slice},
    {"print", 0, ANY_NUMBER, fn_print},
    {"println", 0, ANY_NUMBER, fn_println},
    {"printf", 1, ANY_NUMBER, fn_printf},
    {"json", 1, 1, fn_json},
    {"currentDate", 0, ANY_NUMBER, fn_current_date},
    {"yesterdayDate", 0, ANY_NUMBER, fn_yesterday},
    {"toTypeScriptType", 1, 1, fn_typescript},
};

const gt_function *hth_gt_find_function(const char *name, size_t len)
{
	for (size_t i = 0; i < HTH_COUNT(functions); i++)
		if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0)
			return &functions[i];
	return NULL;
}

bool hth_gt_is_or(const gt_function *fn) { return fn == &functions[1]; }
