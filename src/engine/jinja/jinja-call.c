/* jinja-call.c - calling things: built-in functions with named parameters, methods, macros, loops. */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"

#include <stdio.h>

const jj_builtin *hth_jj_search(const jj_builtin *table, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
			return &table[i];
	return NULL;
}

static bool is_param(const char *params, jv *name)
{
	while (*params != '\0') {
		size_t len = strcspn(params, ",");
		size_t name_len = len - (params[len - 1] == '?');
		if (name->s.len == name_len && memcmp(name->s.data, params, name_len) == 0)
			return true;
		params += len + (params[len] == ',');
	}
	return false;
}

/* Splits "a,b,c?" into p by position and name. */
static bool bind_builtin(jj_run *r, const jj_builtin *fn, const jj_args *args, jv **p)
{
	const char *s = fn->params;
	uint32_t n = 0, named = 0;
	while (*s != '\0') {
		size_t len = strcspn(s, ",");
		bool optional = s[len - 1] == '?';
		size_t name_len = len - optional;
		if (n < args->n_pos)
			p[n] = args->pos[n];
		for (uint32_t k = 0; k < args->n_kw; k++) {
			jv *name = args->kw_names[k];
			if (name->s.len != name_len || memcmp(name->s.data, s, name_len) != 0)
				continue;
			if (p[n] != NULL)
				return hth_jj_fail(r, "%s() got multiple values for argument '%.*s'", fn->name, (int)name_len, s);
			p[n] = args->kw[k];
			named++;
		}
		if (p[n] == NULL && !optional)
			return hth_jj_fail(r, "%s() missing required argument '%.*s'", fn->name, (int)name_len, s);
		n++;
		s += len + (s[len] == ',');
	}
	if (args->n_pos > n)
		return hth_jj_fail(r, "%s() takes at most %u argument%s (%u given)", fn->name, n, n == 1 ? "" : "s", args->n_pos);
	for (uint32_t k = 0; named < args->n_kw && k < args->n_kw; k++)
		if (!is_param(fn->params, args->kw_names[k]))
			return hth_jj_fail(r, "%s() got an unexpected keyword argument '%.*s'", fn->name,
					   (int)HTH_MIN(args->kw_names[k]->s.len, 60u), args->kw_names[k]->s.data);
	return true;
}

jv *hth_jj_call_builtin(jj_run *r, const jj_builtin *fn, jv *self, const jj_args *args)
{
	static const jj_args none = {0};
	jv *p[JJ_PARAMS_MAX] = {NULL};
	if (args == NULL)
		args = &none;
	if (!hth_jj_charge(r, 1))
		return NULL;
	if (strcmp(fn->params, "*") != 0 && !bind_builtin(r, fn, args, p))
		return NULL;
	const jj_node *at = r->at;
	jv *v = fn->fn(r, self, p, args);
	r->at = at;
	return v;
}

jv *hth_jj_call(jj_run *r, jv *callee, const jj_args *args)
{
	if (!hth_jj_deeper(r))
		return NULL;
	jv *v = NULL;
	switch (callee->kind) {
	case JJ_FUNCTION:
		v = hth_jj_call_builtin(r, callee->fn.fn, callee, args);
		break;
	case JJ_METHOD:
		v = hth_jj_call_builtin(r, callee->fn.fn, callee->fn.self, args);
		break;
	case JJ_MACRO:
		v = hth_jj_macro_call(r, callee, args);
		break;
	case JJ_LOOP:
		v = hth_jj_loop_call(r, callee, args);
		break;
	case JJ_JOINER: {
		hth_jinja_value *joiner = (hth_jinja_value *)callee;
		v = joiner->flag ? callee->text : hth_jj_str(r->arena, "");
		joiner->flag = true;
		break;
	}
	case JJ_UNDEFINED:
		hth_jj_note_undefined(r, callee);
		break;
	default:
		hth_jj_note(r, "'%s' object is not callable", hth_jj_type_name(callee));
	}
	r->level--;
	return v;
}

static jv *apply(jj_run *r, const jj_builtin *fn, const char *what, jv *name, jv *self, const jj_args *args)
{
	if (fn == NULL)
		return hth_jj_fail(r, "No %s named '%.*s'.", what, (int)HTH_MIN(name->s.len, 60u), name->s.data);
	if (!hth_jj_deeper(r))
		return NULL;
	jv *v = hth_jj_call_builtin(r, fn, self, args);
	r->level--;
	return v;
}

jv *hth_jj_apply_filter(jj_run *r, jv *name, jv *self, const jj_args *args)
{
	return apply(r, hth_jj_find_filter(name->s.data, name->s.len), "filter", name, self, args);
}

jv *hth_jj_apply_test(jj_run *r, jv *name, jv *self, const jj_args *args)
{
	return apply(r, hth_jj_find_test(name->s.data, name->s.len), "test", name, self, args);
}
