/* jinja-tests.c - what `is` can ask. */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"


#define TEST_OF(name, expression)                                                       \
	static jv *name(jj_run *r, jv *v, jv **p, const jj_args *a)                     \
	{                                                                               \
		return hth_jinja_bool(r->arena, expression);                            \
	}

TEST_OF(t_defined, v->kind != JJ_UNDEFINED)
TEST_OF(t_undefined, v->kind == JJ_UNDEFINED)
TEST_OF(t_none, v->kind == JJ_NONE)
TEST_OF(t_boolean, v->kind == JJ_BOOL)
TEST_OF(t_true, v->kind == JJ_BOOL && v->flag)
TEST_OF(t_false, v->kind == JJ_BOOL && !v->flag)
TEST_OF(t_integer, v->kind == JJ_INT)
TEST_OF(t_float, v->kind == JJ_FLOAT)
TEST_OF(t_number, hth_jj_is_number(v))
TEST_OF(t_string, v->kind == JJ_STRING)
TEST_OF(t_mapping, v->kind == JJ_DICT)
TEST_OF(t_escaped, v->kind == JJ_STRING && v->markup)
TEST_OF(t_sequence, v->kind == JJ_STRING || v->kind == JJ_LIST || v->kind == JJ_TUPLE || v->kind == JJ_DICT ||
			v->kind == JJ_RANGE || v->kind == JJ_UNDEFINED)
TEST_OF(t_iterable, v->kind == JJ_STRING || v->kind == JJ_LIST || v->kind == JJ_TUPLE || v->kind == JJ_DICT ||
			v->kind == JJ_RANGE || v->kind == JJ_UNDEFINED || v->kind == JJ_ITER || v->kind == JJ_VIEW ||
			v->kind == JJ_LOOP)
TEST_OF(t_callable, v->kind == JJ_FUNCTION || v->kind == JJ_METHOD || v->kind == JJ_MACRO || v->kind == JJ_JOINER ||
			v->kind == JJ_UNDEFINED || v->kind == JJ_LOOP)
TEST_OF(t_sameas, v == p[0] || (v->kind == p[0]->kind && (v->kind == JJ_NONE || (v->kind == JJ_BOOL && v->flag == p[0]->flag) ||
							 (v->kind == JJ_INT && v->i == p[0]->i))))
TEST_OF(t_filter, v->kind == JJ_STRING && hth_jj_find_filter(v->s.data, v->s.len) != NULL)
TEST_OF(t_test, v->kind == JJ_STRING && hth_jj_find_test(v->s.data, v->s.len) != NULL)

static jv *str_method(jj_run *r, jv *v, const char *name)
{
	jv *s = hth_jj_to_str(r, v);
	return s ? hth_jj_call_builtin(r, hth_jj_find_str_method(name, strlen(name)), s, NULL) : NULL;
}
static jv *t_lower(jj_run *r, jv *v, jv **p, const jj_args *a) { return str_method(r, v, "islower"); }
static jv *t_upper(jj_run *r, jv *v, jv **p, const jj_args *a) { return str_method(r, v, "isupper"); }

/* v % by == rest */
static jv *remainder_is(jj_run *r, jv *v, int64_t by, int64_t rest)
{
	jv *n = hth_jinja_int(r->arena, by), *left = n ? hth_jj_binary(r, '%', v, n) : NULL;
	if (left == NULL)
		return NULL;
	return hth_jinja_bool(r->arena, hth_jj_is_number(left) && hth_jj_as_double(left) == (double)rest);
}
static jv *t_odd(jj_run *r, jv *v, jv **p, const jj_args *a) { return remainder_is(r, v, 2, 1); }
static jv *t_even(jj_run *r, jv *v, jv **p, const jj_args *a) { return remainder_is(r, v, 2, 0); }

static jv *t_divisibleby(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	jv *left = hth_jj_binary(r, '%', v, p[0]);
	return left ? hth_jinja_bool(r->arena, hth_jj_is_number(left) && hth_jj_as_double(left) == 0) : NULL;
}

static jv *t_eq(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	bool same;
	return hth_jj_equal(r, v, p[0], &same) ? hth_jinja_bool(r->arena, same) : NULL;
}

static jv *t_ne(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	bool same;
	return hth_jj_equal(r, v, p[0], &same) ? hth_jinja_bool(r->arena, !same) : NULL;
}

static jv *ordered(jj_run *r, jv *v, jv *w, const char *op)
{
	int order = 0;
	if (!hth_jj_order(r, v, w, op, &order))
		return NULL;
	bool yes = (op[1] == '=' && order == 0) || order == (op[0] == '<' ? -1 : 1);
	return hth_jinja_bool(r->arena, yes);
}
static jv *t_lt(jj_run *r, jv *v, jv **p, const jj_args *a) { return ordered(r, v, p[0], "<"); }
static jv *t_le(jj_run *r, jv *v, jv **p, const jj_args *a) { return ordered(r, v, p[0], "<="); }
static jv *t_gt(jj_run *r, jv *v, jv **p, const jj_args *a) { return ordered(r, v, p[0], ">"); }
static jv *t_ge(jj_run *r, jv *v, jv **p, const jj_args *a) { return ordered(r, v, p[0], ">="); }

static jv *t_in(jj_run *r, jv *v, jv **p, const jj_args *a)
{
	bool yes;
	return hth_jj_contains(r, p[0], v, &yes) ? hth_jinja_bool(r->arena, yes) : NULL;
}

static const jj_builtin tests[] = {
    {"!=", "other", t_ne},
    {"<", "other", t_lt},
    {"<=", "other", t_le},
    {"==", "other", t_eq},
    {">", "other", t_gt},
    {">=", "other", t_ge},
    {"boolean", "", t_boolean},
    {"callable", "", t_callable},
    {"defined", "", t_defined},
    {"divisibleby", "num", t_divisibleby},
    {"eq", "other", t_eq},
    {"equalto", "other", t_eq},
    {"escaped", "", t_escaped},
    {"even", "", t_even},
    {"false", "", t_false},
    {"filter", "", t_filter},
    {"float", "", t_float},
    {"ge", "other", t_ge},
    {"greaterthan", "other", t_gt},
    {"gt", "other", t_gt},
    {"in", "seq", t_in},
    {"integer", "", t_integer},
    {"iterable", "", t_iterable},
    {"le", "other", t_le},
    {"lessthan", "other", t_lt},
    {"lower", "", t_lower},
    {"lt", "other", t_lt},
    {"mapping", "", t_mapping},
    {"ne", "other", t_ne},
    {"none", "", t_none},
    {"number", "", t_number},
    {"odd", "", t_odd},
    {"sameas", "other", t_sameas},
    {"sequence", "", t_sequence},
    {"string", "", t_string},
    {"test", "", t_test},
    {"true", "", t_true},
    {"undefined", "", t_undefined},
    {"upper", "", t_upper},
};

const jj_builtin *hth_jj_find_test(const char *name, size_t len) { return JJ_SEARCH(tests, name, len); }
