/* jinja-eval.c - expressions to values.
 *
 * A tree walk. Every node is a step; the depth of the walk is counted, so neither a loop nor a chain of operators can
 * take the process down. Undefined values flow until something is asked of them, as in Jinja.
 */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"

jv *hth_jj_lookup(jj_run *r, uint32_t id)
{
	for (const jj_scope *s = r->scope; s != NULL; s = s->parent)
		for (uint32_t i = s->n; i-- > 0;)
			if (s->vars[i].id == id)
				return s->vars[i].value;
	if (r->globals[id] == NULL) {
		jv *name = r->tmpl->names[id];
		jv *found = hth_jj_dict_get(r->arena, r->vars->dict, name);
		if (found == NULL) {
			const jj_builtin *fn = hth_jj_find_global(name->s.data, name->s.len);
			if (fn != NULL) {
				hth_jinja_value *v = hth_jj_new(r->arena, JJ_FUNCTION);
				if (v == NULL)
					return NULL;
				v->fn.fn = fn;
				found = v;
			} else {
				found = hth_jj_undefined(r, "'%.*s' is undefined", (int)name->s.len, name->s.data);
			}
		}
		r->globals[id] = found;
	}
	return r->globals[id];
}

static bool eval_list(jj_run *r, jj_node *const *nodes, uint32_t n, jv **out)
{
	for (uint32_t i = 0; i < n; i++)
		if ((out[i] = hth_jj_eval(r, nodes[i])) == NULL)
			return false;
	return true;
}

static jv *eval_sequence(jj_run *r, const jj_node *node)
{
	hth_jinja_value *v = hth_jj_seq(r->arena, node->type == JJ_N_LIST ? JJ_LIST : JJ_TUPLE, node->n);
	return v != NULL && eval_list(r, node->items, node->n, v->list.items) ? v : NULL;
}

static jv *eval_dict(jj_run *r, const jj_node *node)
{
	hth_jinja_value *v = hth_jinja_dict(r->arena);
	for (uint32_t i = 0; v != NULL && i < node->n; i += 2) {
		jv *key = hth_jj_eval(r, node->items[i]);
		jv *value = key ? hth_jj_eval(r, node->items[i + 1]) : NULL;
		if (value == NULL)
			return NULL;
		r->at = node;
		if (!hth_jj_hashable(key))
			return hth_jj_fail(r, "unhashable type: '%s'", hth_jj_type_name(key));
		if (key->kind == JJ_STRING && !hth_jj_charge_bytes(r, key->s.len))
			return NULL;
		if (!hth_jj_dict_put(r->arena, v->dict, key, value))
			return NULL;
	}
	return v;
}

static jv *eval_unary(jj_run *r, const jj_node *node)
{
	jv *a = hth_jj_eval(r, node->a);
	if (a == NULL)
		return NULL;
	r->at = node;
	if (node->type == JJ_N_NOT)
		return hth_jinja_bool(r->arena, !hth_jj_truth(a));
	if (a->kind == JJ_UNDEFINED)
		return hth_jj_fail_undefined(r, a);
	int64_t i;
	if (hth_jj_as_int(a, &i)) {
		if (node->type == JJ_N_NEG && __builtin_sub_overflow(0, i, &i))
			return hth_jj_fail(r, "an integer does not fit 64 bits");
		return hth_jinja_int(r->arena, i);
	}
	if (a->kind == JJ_FLOAT)
		return hth_jinja_float(r->arena, node->type == JJ_N_NEG ? -a->f : a->f);
	return hth_jj_fail(r, "bad operand type for unary %c: '%s'", node->type == JJ_N_NEG ? '-' : '+',
			   hth_jj_type_name(a));
}

static bool compare(jj_run *r, int op, jv *a, jv *b, bool *ret)
{
	int order = 0;
	bool yes = false;
	switch (op) {
	case JJ_OP2('=', '='):
		return hth_jj_equal(r, a, b, ret);
	case JJ_OP2('!', '='):
		if (!hth_jj_equal(r, a, b, &yes))
			return false;
		*ret = !yes;
		return true;
	case 'i':
		return hth_jj_contains(r, b, a, ret);
	case 'n':
		if (!hth_jj_contains(r, b, a, &yes))
			return false;
		*ret = !yes;
		return true;
	case '<':
		if (!hth_jj_order(r, a, b, "<", &order))
			return false;
		*ret = order == -1;
		return true;
	case '>':
		if (!hth_jj_order(r, a, b, ">", &order))
			return false;
		*ret = order == 1;
		return true;
	case JJ_OP2('<', '='):
		if (!hth_jj_order(r, a, b, "<=", &order))
			return false;
		*ret = order == -1 || order == 0;
		return true;
	default:
		if (!hth_jj_order(r, a, b, ">=", &order))
			return false;
		*ret = order == 1 || order == 0;
		return true;
	}
}

static jv *eval_compare(jj_run *r, const jj_node *node)
{
	jv *left = hth_jj_eval(r, node->a);
	bool yes = true;
	for (uint32_t i = 0; left != NULL && yes && i < node->n; i++) {
		jv *right = hth_jj_eval(r, node->items[i]);
		if (right == NULL)
			return NULL;
		r->at = node;
		if (!compare(r, node->ops[i], left, right, &yes))
			return NULL;
		left = right;
	}
	return left ? hth_jinja_bool(r->arena, yes) : NULL;
}

static jv *eval_concat(jj_run *r, const jj_node *node)
{
	jv *text = NULL;
	for (uint32_t i = 0; i < node->n; i++) {
		jv *part = hth_jj_eval(r, node->items[i]);
		if (part == NULL)
			return NULL;
		r->at = node;
		part = hth_jj_to_str(r, part);
		if (part == NULL || !hth_jj_charge_bytes(r, part->s.len))
			return NULL;
		text = text == NULL ? part : hth_jj_concat(r->arena, text, part);
		if (text == NULL)
			return NULL;
	}
	if (text != NULL && text->markup) {
		hth_jinja_value *plain = hth_jj_new(r->arena, JJ_STRING);
		if (plain == NULL)
			return NULL;
		*plain = *text;
		plain->markup = false;
		return plain;
	}
	return text;
}

static jv *eval_item(jj_run *r, const jj_node *node)
{
	jv *of = hth_jj_eval(r, node->a);
	if (of == NULL)
		return NULL;
	if (node->b->type != JJ_N_SLICE) {
		jv *key = hth_jj_eval(r, node->b);
		r->at = node;
		return key ? hth_jj_item(r, of, key) : NULL;
	}
	const jj_node *parts[3] = {node->b->a, node->b->b, node->b->c};
	jv *bounds[3] = {NULL};
	for (int i = 0; i < 3; i++)
		if (parts[i] != NULL && (bounds[i] = hth_jj_eval(r, parts[i])) == NULL)
			return NULL;
	r->at = node;
	return hth_jj_slice_value(r, of, bounds[0], bounds[1], bounds[2]);
}

bool hth_jj_eval_args(jj_run *r, const jj_call_args *call, jj_args *ret_args)
{
	*ret_args = (jj_args){0};
	if (call == NULL)
		return true;
	jv **extra = NULL;
	uint32_t n_extra = 0;
	jj_args a = {.n_pos = call->n_pos, .n_kw = call->n_kw, .kw_names = call->kw_names};
	if (call->n_pos > 0) {
		a.pos = hth_jj_alloc(r->arena, call->n_pos * sizeof *a.pos);
		if (a.pos == NULL || !eval_list(r, call->pos, call->n_pos, a.pos))
			return false;
	}
	if (call->n_kw > 0) {
		a.kw = hth_jj_alloc(r->arena, call->n_kw * sizeof *a.kw);
		if (a.kw == NULL || !eval_list(r, call->kw, call->n_kw, a.kw))
			return false;
	}
	if (call->dyn_args != NULL) {
		jv *more = hth_jj_eval(r, call->dyn_args);
		if (more == NULL || !hth_jj_items(r, more, &extra, &n_extra))
			return false;
		jv **pos = hth_jj_alloc(r->arena, ((size_t)a.n_pos + n_extra) * sizeof *pos);
		if (pos == NULL)
			return false;
		if (a.n_pos > 0)
			memcpy(pos, a.pos, a.n_pos * sizeof *pos);
		if (n_extra > 0)
			memcpy(pos + a.n_pos, extra, n_extra * sizeof *pos);
		a.pos = pos;
		a.n_pos += n_extra;
	}
	if (call->dyn_kwargs != NULL) {
		jv *more = hth_jj_eval(r, call->dyn_kwargs);
		if (more == NULL)
			return false;
		if (more->kind != JJ_DICT)
			return hth_jj_fail(r, "argument after ** must be a mapping, not %s", hth_jj_type_name(more));
		size_t n = (size_t)a.n_kw + more->dict->n;
		jv **names = hth_jj_alloc(r->arena, n * sizeof *names), **values = hth_jj_alloc(r->arena, n * sizeof *values);
		if (names == NULL || values == NULL)
			return false;
		for (uint32_t i = 0; i < a.n_kw; i++) {
			names[i] = a.kw_names[i];
			values[i] = a.kw[i];
		}
		for (uint32_t i = 0; i < more->dict->n; i++) {
			if (more->dict->entries[i].key->kind != JJ_STRING)
				return hth_jj_fail(r, "keywords must be strings");
			names[a.n_kw + i] = more->dict->entries[i].key;
			values[a.n_kw + i] = more->dict->entries[i].value;
		}
		a.kw_names = names;
		a.kw = values;
		a.n_kw = (uint32_t)n;
	}
	*ret_args = a;
	return true;
}

static jv *eval_call(jj_run *r, const jj_node *node)
{
	jv *callee = hth_jj_eval(r, node->a);
	jj_args args;
	if (callee == NULL || !hth_jj_eval_args(r, node->call, &args))
		return NULL;
	r->at = node;
	return hth_jj_call(r, callee, &args);
}

static jv *eval_filter_or_test(jj_run *r, const jj_node *node)
{
	jv *self = hth_jj_eval(r, node->a);
	jj_args args;
	bool filter = node->type == JJ_N_FILTER;
	if (self == NULL || !hth_jj_eval_args(r, node->call, &args))
		return NULL;
	r->at = node;
	if (node->fn == NULL)
		return hth_jj_fail(r, "No %s named '%.*s' found.", filter ? "filter" : "test",
				   (int)HTH_MIN(node->value->s.len, 60u), node->value->s.data);
	return hth_jj_call_builtin(r, node->fn, self, &args);
}

static jv *eval_node(jj_run *r, const jj_node *node)
{
	jv *a;
	switch ((jj_node_type)node->type) {
	case JJ_N_CONST:
		return node->value;
	case JJ_N_NAME:
		return hth_jj_lookup(r, node->id);
	case JJ_N_LIST:
	case JJ_N_TUPLE:
		return eval_sequence(r, node);
	case JJ_N_DICT:
		return eval_dict(r, node);
	case JJ_N_NOT:
	case JJ_N_NEG:
	case JJ_N_POS:
		return eval_unary(r, node);
	case JJ_N_BINARY: {
		a = hth_jj_eval(r, node->a);
		jv *b = a ? hth_jj_eval(r, node->b) : NULL;
		r->at = node;
		return b ? hth_jj_binary(r, node->op, a, b) : NULL;
	}
	case JJ_N_AND:
		a = hth_jj_eval(r, node->a);
		return a != NULL && hth_jj_truth(a) ? hth_jj_eval(r, node->b) : a;
	case JJ_N_OR:
		a = hth_jj_eval(r, node->a);
		return a != NULL && !hth_jj_truth(a) ? hth_jj_eval(r, node->b) : a;
	case JJ_N_COMPARE:
		return eval_compare(r, node);
	case JJ_N_CONCAT:
		return eval_concat(r, node);
	case JJ_N_COND:
		a = hth_jj_eval(r, node->b);
		if (a == NULL)
			return NULL;
		if (hth_jj_truth(a))
			return hth_jj_eval(r, node->a);
		if (node->c != NULL)
			return hth_jj_eval(r, node->c);
		return hth_jj_undefined(r, "the inline if-expression on line %u evaluated to false and no else section "
					   "was defined.", node->line);
	case JJ_N_ATTR:
		a = hth_jj_eval(r, node->a);
		r->at = node;
		return a ? hth_jj_attr(r, a, node->value) : NULL;
	case JJ_N_ITEM:
		return eval_item(r, node);
	case JJ_N_CALL:
		return eval_call(r, node);
	case JJ_N_FILTER:
	case JJ_N_TEST:
		return eval_filter_or_test(r, node);
	default:
		return hth_jj_fail(r, "a statement where an expression belongs");
	}
}

jv *hth_jj_eval(jj_run *r, const jj_node *node)
{
	if (!hth_jj_charge(r, 1) || !hth_jj_deeper(r))
		return NULL;
	r->at = node;
	jv *v = eval_node(r, node);
	r->level--;
	return v;
}
