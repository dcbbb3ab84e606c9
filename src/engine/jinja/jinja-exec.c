/* jinja-exec.c - statements: what a template prints, and where the names it sets are visible.
 *
 * Scopes follow Jinja: a loop's body, a macro, a with, a set block and a filter block have names of their own; an if has not.
 * What a loop sets is forgotten at the next item (that is what namespace() is for). Output goes to r->out; blocks that are
 * captured swap it for a while.
 */
#include "engine/jinja/jinja-run.h"

#include "base/mem.h"

bool hth_jj_bind(jj_run *r, jj_scope *scope, uint32_t id, jv *value)
{
	for (uint32_t i = 0; i < scope->n; i++)
		if (scope->vars[i].id == id) {
			scope->vars[i].value = value;
			return true;
		}
	if (scope->n == scope->cap) {
		uint32_t cap = scope->cap ? scope->cap * 2 : 4;
		jj_binding *vars = hth_jj_alloc(r->arena, cap * sizeof *vars);
		if (vars == NULL)
			return false;
		if (scope->n > 0)
			memcpy(vars, scope->vars, scope->n * sizeof *vars);
		scope->vars = vars;
		scope->cap = cap;
	}
	scope->vars[scope->n++] = (jj_binding){id, value};
	return true;
}

static jj_scope *push_scope(jj_run *r, jj_scope *parent)
{
	jj_scope *s = hth_jj_alloc(r->arena, sizeof *s);
	if (s != NULL)
		s->parent = parent;
	return s;
}

bool hth_jj_assign(jj_run *r, const jj_node *target, jv *value)
{
	if (target->type == JJ_N_NAME)
		return hth_jj_bind(r, r->scope, target->id, value);
	r->at = target;
	if (target->type == JJ_N_NSREF) {
		jv *ns = hth_jj_lookup(r, target->id);
		if (ns == NULL)
			return false;
		if (ns->kind != JJ_NAMESPACE)
			return hth_jj_fail(r, "cannot assign attribute on non-namespace object");
		return hth_jj_dict_put(r->arena, ns->dict, target->value, value);
	}
	jv **items;
	uint32_t n;
	if (value->kind != JJ_UNDEFINED && (value->kind <= JJ_FLOAT || value->kind == JJ_MACRO))
		return hth_jj_fail(r, "cannot unpack non-iterable %s object", hth_jj_type_name(value));
	if (!hth_jj_items(r, value, &items, &n))
		return false;
	if (n < target->n)
		return hth_jj_fail(r, "not enough values to unpack (expected %u, got %u)", target->n, n);
	if (n > target->n)
		return hth_jj_fail(r, "too many values to unpack (expected %u)", target->n);
	for (uint32_t i = 0; i < n; i++)
		if (!hth_jj_assign(r, target->items[i], items[i]))
			return false;
	return true;
}

static jj_flow exec_all(jj_run *r, const jj_node *body)
{
	for (uint32_t i = 0; i < body->n; i++) {
		jj_flow flow = hth_jj_exec(r, body->items[i]);
		if (flow != JJ_NEXT)
			return flow;
	}
	return JJ_NEXT;
}

static jj_flow exec_scoped(jj_run *r, const jj_node *body)
{
	jj_scope *outer = r->scope;
	r->scope = push_scope(r, outer);
	jj_flow flow = r->scope != NULL ? exec_all(r, body) : JJ_FAILED;
	r->scope = outer;
	return flow;
}

/* Runs a body with its output caught in *ret_text. A break or continue inside discards the text, as in Jinja. */
static jj_flow capture(jj_run *r, const jj_node *body, jv **ret_text)
{
	jj_builder b = hth_jj_builder(r->arena), *outer = r->out;
	r->out = &b;
	jj_flow flow = hth_jj_exec(r, body);
	r->out = outer;
	if (flow != JJ_NEXT)
		return flow;
	*ret_text = hth_jj_done(&b);
	return *ret_text ? JJ_NEXT : JJ_FAILED;
}

/* The chain of filters applied to text: the innermost has no operand of its own. */
static jv *apply_chain(jj_run *r, const jj_node *chain, jv *text)
{
	if (chain == NULL)
		return text;
	if (!hth_jj_deeper(r))
		return NULL;
	jv *self = apply_chain(r, chain->a, text);
	r->level--;
	jj_args args;
	if (self == NULL || !hth_jj_eval_args(r, chain->call, &args))
		return NULL;
	r->at = chain;
	if (chain->fn == NULL)
		return hth_jj_fail(r, "No filter named '%.*s' found.", (int)HTH_MIN(chain->value->s.len, 60u),
				   chain->value->s.data);
	return hth_jj_call_builtin(r, chain->fn, self, &args);
}

static jj_flow exec_if(jj_run *r, const jj_node *node)
{
	for (uint32_t i = 0; i < node->n; i += 2) {
		jv *test = hth_jj_eval(r, node->items[i]);
		if (test == NULL)
			return JJ_FAILED;
		if (hth_jj_truth(test))
			return hth_jj_exec(r, node->items[i + 1]);
	}
	return node->b ? hth_jj_exec(r, node->b) : JJ_NEXT;
}

/* Does item pass the loop's filter? Evaluated with only the loop's target bound. 1, 0, or -1 after an error. */
static int passes(jj_run *r, const jj_node *node, jj_scope *outer, jv *item)
{
	jj_scope *saved = r->scope;
	r->scope = push_scope(r, outer);
	jv *v = r->scope != NULL && hth_jj_assign(r, node->a, item) ? hth_jj_eval(r, node->c) : NULL;
	r->scope = saved;
	return v == NULL ? -1 : hth_jj_truth(v);
}

/* Runs the loop over items. Without `loop` in its body a filter is asked item by item, so it sees what earlier rounds changed. */
static jj_flow run_loop(jj_run *r, const jj_node *node, jj_scope *outer, jv **items, uint32_t n, uint32_t depth)
{
	bool uses_loop = node->flags & JJ_FOR_USES_LOOP;
	if (node->c != NULL && uses_loop) {
		jv **kept = hth_jj_alloc(r->arena, (n ? n : 1) * sizeof *kept);
		uint32_t k = 0;
		if (kept == NULL)
			return JJ_FAILED;
		for (uint32_t i = 0; i < n; i++) {
			int pass = passes(r, node, outer, items[i]);
			if (pass < 0)
				return JJ_FAILED;
			if (pass)
				kept[k++] = items[i];
		}
		items = kept;
		n = k;
	}
	jj_loop *loop = NULL;
	hth_jinja_value *loop_value = NULL;
	if (uses_loop) {
		loop = hth_jj_alloc(r->arena, sizeof *loop);
		loop_value = hth_jj_new(r->arena, JJ_LOOP);
		if (loop == NULL || loop_value == NULL)
			return JJ_FAILED;
		*loop = (jj_loop){.node = node, .outer = outer, .items = items, .n = n, .depth = depth};
		loop_value->loop = loop;
	}
	jj_scope *saved = r->scope, *scope = NULL;
	jj_flow flow = JJ_NEXT;
	uint32_t rounds = 0;
	for (uint32_t i = 0; i < n && flow == JJ_NEXT; i++) {
		if (node->c != NULL && !uses_loop) {
			int pass = passes(r, node, outer, items[i]);
			if (pass < 0)
				flow = JJ_FAILED;
			if (pass <= 0)
				continue;
		}
		rounds++;
		if (scope == NULL || scope->captured)
			scope = push_scope(r, outer);
		if (scope == NULL) {
			flow = JJ_FAILED;
			break;
		}
		scope->n = 0;
		r->scope = scope;
		if (loop != NULL)
			loop->at = i;
		if ((loop != NULL && !hth_jj_bind(r, scope, r->tmpl->id_loop, loop_value)) ||
		    !hth_jj_assign(r, node->a, items[i]) || !hth_jj_charge(r, 1))
			flow = JJ_FAILED;
		else
			flow = hth_jj_exec(r, node->items[0]);
		if (flow == JJ_CONTINUE)
			flow = JJ_NEXT;
	}
	r->scope = saved;
	if (flow == JJ_BREAK)
		return JJ_NEXT;
	if (flow == JJ_NEXT && rounds == 0 && node->items[1] != NULL)
		return hth_jj_exec(r, node->items[1]);
	return flow;
}

static jj_flow exec_for(jj_run *r, const jj_node *node)
{
	jv **items;
	uint32_t n;
	jv *over = hth_jj_eval(r, node->b);
	if (over == NULL)
		return JJ_FAILED;
	r->at = node;
	if (!hth_jj_items(r, over, &items, &n))
		return JJ_FAILED;
	return run_loop(r, node, r->scope, items, n, 0);
}

jv *hth_jj_loop_call(jj_run *r, jv *value, const jj_args *args)
{
	jj_loop *loop = value->loop;
	jv **items;
	uint32_t n;
	if (!(loop->node->flags & JJ_FOR_RECURSIVE))
		return hth_jj_fail(r, "The loop must have the 'recursive' marker to be called recursively.");
	if (args->n_pos != 1 || args->n_kw != 0)
		return hth_jj_fail(r, "loop() takes one argument: what to loop over");
	if (r->calls >= r->max_calls)
		return hth_jj_fail_plain(r, HTH_TOO_LARGE, "line %u: the template's calls are nested deeper than %u",
					 loop->node->line, r->max_calls);
	if (!hth_jj_items(r, args->pos[0], &items, &n))
		return NULL;
	jj_builder b = hth_jj_builder(r->arena), *out = r->out;
	jj_scope *scope = r->scope;
	r->calls++;
	r->out = &b;
	r->scope = loop->outer;
	jj_flow flow = run_loop(r, loop->node, loop->outer, items, n, loop->depth + 1);
	r->scope = scope;
	r->out = out;
	r->calls--;
	return flow == JJ_FAILED ? NULL : hth_jj_done(&b);
}

/* --- macros --- */

static hth_jinja_value *make_macro(jj_run *r, const jj_macro_def *def)
{
	hth_jinja_value *v = hth_jj_new(r->arena, JJ_MACRO);
	if (v == NULL || (v->macro = hth_jj_alloc(r->arena, sizeof *v->macro)) == NULL)
		return NULL;
	v->macro->def = def;
	v->macro->scope = r->scope;
	for (jj_scope *s = r->scope; s != NULL; s = s->parent)
		s->captured = true;
	return v;
}

static bool bind_special(jj_run *r, jj_scope *scope, const jj_macro_def *def, const jj_args *args, const bool *used)
{
	jv *caller = NULL;
	hth_jinja_value *kwargs = def->uses_kwargs ? hth_jinja_dict(r->arena) : NULL;
	if (def->uses_kwargs && kwargs == NULL)
		return false;
	for (uint32_t i = 0; i < args->n_kw; i++) {
		if (used[i])
			continue;
		jv *name = args->kw_names[i];
		if (def->uses_caller && hth_jj_is_str(name, "caller"))
			caller = args->kw[i];
		else if (kwargs != NULL && !hth_jj_dict_put(r->arena, kwargs->dict, name, args->kw[i]))
			return false;
		else if (kwargs == NULL)
			return hth_jj_fail(r, "macro '%.*s' takes no keyword argument '%.*s'", (int)def->name->s.len,
					   def->name->s.data, (int)HTH_MIN(name->s.len, 60u), name->s.data);
	}
	if (def->uses_caller) {
		if (caller == NULL)
			caller = hth_jj_undefined(r, "No caller defined");
		if (caller == NULL || !hth_jj_bind(r, scope, r->tmpl->id_caller, caller))
			return false;
	}
	if (kwargs != NULL && !hth_jj_bind(r, scope, r->tmpl->id_kwargs, kwargs))
		return false;
	if (def->uses_varargs) {
		uint32_t extra = args->n_pos > def->n ? args->n_pos - def->n : 0;
		hth_jinja_value *rest = hth_jj_seq(r->arena, JJ_TUPLE, extra);
		if (rest == NULL)
			return false;
		for (uint32_t i = 0; i < extra; i++)
			rest->list.items[i] = args->pos[def->n + i];
		return hth_jj_bind(r, scope, r->tmpl->id_varargs, rest);
	}
	if (args->n_pos > def->n)
		return hth_jj_fail(r, "macro '%.*s' takes not more than %u argument(s)", (int)def->name->s.len,
				   def->name->s.data, def->n);
	return true;
}

static bool bind_params(jj_run *r, jj_scope *scope, const jj_macro_def *def, const jj_args *args)
{
	bool *used = hth_jj_alloc(r->arena, args->n_kw + 1);
	jv **given = hth_jj_alloc(r->arena, (def->n + 1) * sizeof *given);
	if (used == NULL || given == NULL)
		return false;
	for (uint32_t i = 0; i < def->n; i++) {
		given[i] = i < args->n_pos ? args->pos[i] : NULL;
		for (uint32_t k = 0; k < args->n_kw; k++) {
			if (used[k] || !hth_jj_key_eq(args->kw_names[k], def->names[i]))
				continue;
			if (given[i] == NULL) {
				given[i] = args->kw[k];
				used[k] = true;
			}
		}
	}
	if (!bind_special(r, scope, def, args, used))
		return false;
	/* Defaults see the macro's own parameters, those before them too. */
	for (uint32_t i = 0; i < def->n; i++) {
		jv *v = given[i];
		if (v == NULL && def->defaults[i] != NULL)
			v = hth_jj_eval(r, def->defaults[i]);
		else if (v == NULL)
			v = hth_jj_undefined(r, "parameter '%.*s' was not provided", (int)def->names[i]->s.len,
					     def->names[i]->s.data);
		if (v == NULL || !hth_jj_bind(r, scope, def->ids[i], v))
			return false;
	}
	return true;
}

jv *hth_jj_macro_call(jj_run *r, jv *macro, const jj_args *args)
{
	const jj_macro_def *def = macro->macro->def;
	const jj_node *at = r->at;
	if (r->calls >= r->max_calls)
		return hth_jj_fail_plain(r, HTH_TOO_LARGE, "line %u: the template's calls are nested deeper than %u", at->line,
					 r->max_calls);
	jj_builder b = hth_jj_builder(r->arena), *out = r->out;
	jj_scope *scope = r->scope, *inner = push_scope(r, macro->macro->scope);
	if (inner == NULL)
		return NULL;
	r->calls++;
	r->scope = inner;
	r->out = &b;
	bool ok = bind_params(r, inner, def, args) && hth_jj_exec(r, def->body) == JJ_NEXT;
	r->out = out;
	r->scope = scope;
	r->calls--;
	r->at = at;
	return ok ? hth_jj_done(&b) : NULL;
}

static jj_flow exec_call_block(jj_run *r, const jj_node *node)
{
	jv *caller = make_macro(r, node->macro), *callee = caller ? hth_jj_eval(r, node->a->a) : NULL;
	jj_args args;
	if (callee == NULL || !hth_jj_eval_args(r, node->a->call, &args))
		return JJ_FAILED;
	jv **names = hth_jj_alloc(r->arena, (args.n_kw + 1) * sizeof *names);
	jv **values = hth_jj_alloc(r->arena, (args.n_kw + 1) * sizeof *values);
	jv *name = hth_jj_str(r->arena, "caller");
	if (names == NULL || values == NULL || name == NULL)
		return JJ_FAILED;
	for (uint32_t i = 0; i < args.n_kw; i++) {
		names[i] = args.kw_names[i];
		values[i] = args.kw[i];
	}
	names[args.n_kw] = name;
	values[args.n_kw++] = caller;
	args.kw_names = names;
	args.kw = values;
	r->at = node->a;
	jv *result = hth_jj_call(r, callee, &args);
	return result != NULL && hth_jj_put_text(r, r->out, result) ? JJ_NEXT : JJ_FAILED;
}

/* --- the rest --- */

static jj_flow exec_with(jj_run *r, const jj_node *node)
{
	jj_scope *outer = r->scope, *inner = push_scope(r, outer);
	if (inner == NULL)
		return JJ_FAILED;
	jj_flow flow = JJ_NEXT;
	for (uint32_t i = 0; i < node->n && flow == JJ_NEXT; i += 2) {
		jv *v = hth_jj_eval(r, node->items[i + 1]); /* values see the outer names */
		r->scope = inner;
		if (v == NULL || !hth_jj_assign(r, node->items[i], v))
			flow = JJ_FAILED;
		r->scope = outer;
	}
	r->scope = inner;
	if (flow == JJ_NEXT)
		flow = hth_jj_exec(r, node->b);
	r->scope = outer;
	return flow;
}

static jj_flow exec_captured(jj_run *r, const jj_node *node)
{
	jv *text;
	jj_flow flow = capture(r, node->c, &text);
	if (flow != JJ_NEXT)
		return flow;
	text = apply_chain(r, node->b, text);
	if (text == NULL)
		return JJ_FAILED;
	if (node->type == JJ_N_SET_BLOCK)
		return hth_jj_assign(r, node->a, text) ? JJ_NEXT : JJ_FAILED;
	return hth_jj_put_text(r, r->out, text) ? JJ_NEXT : JJ_FAILED;
}

static jj_flow exec_node(jj_run *r, const jj_node *node)
{
	jv *v;
	switch ((jj_node_type)node->type) {
	case JJ_N_DATA:
		return hth_jj_put_str(r->out, node->value) ? JJ_NEXT : JJ_FAILED;
	case JJ_N_PRINT:
		v = hth_jj_eval(r, node->a);
		r->at = node;
		return v != NULL && hth_jj_put_text(r, r->out, v) ? JJ_NEXT : JJ_FAILED;
	case JJ_N_BODY:
		return exec_all(r, node);
	case JJ_N_SCOPE:
		return exec_scoped(r, node);
	case JJ_N_IF:
		return exec_if(r, node);
	case JJ_N_FOR:
		return exec_for(r, node);
	case JJ_N_SET:
		v = hth_jj_eval(r, node->b);
		return v != NULL && hth_jj_assign(r, node->a, v) ? JJ_NEXT : JJ_FAILED;
	case JJ_N_SET_BLOCK:
	case JJ_N_FILTER_BLOCK:
		return exec_captured(r, node);
	case JJ_N_MACRO:
		v = make_macro(r, node->macro);
		return v != NULL && hth_jj_bind(r, r->scope, node->id, v) ? JJ_NEXT : JJ_FAILED;
	case JJ_N_CALL_BLOCK:
		return exec_call_block(r, node);
	case JJ_N_WITH:
		return exec_with(r, node);
	case JJ_N_BREAK:
		return JJ_BREAK;
	case JJ_N_CONTINUE:
		return JJ_CONTINUE;
	default:
		hth_jj_note(r, "an expression where a statement belongs");
		return JJ_FAILED;
	}
}

jj_flow hth_jj_exec(jj_run *r, const jj_node *node)
{
	if (!hth_jj_charge(r, 1) || !hth_jj_deeper(r))
		return JJ_FAILED;
	r->at = node;
	jj_flow flow = exec_node(r, node);
	r->level--;
	return flow;
}
