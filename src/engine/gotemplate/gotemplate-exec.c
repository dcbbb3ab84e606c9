/* gotemplate-exec.c - walks the tree of a Go template over data: values of pipelines, branches, loops, templates inside templates. Every
 * node and every level of recursion is counted. One rendering runs on one thread and owns nothing but arena memory.
 */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"

typedef enum flow { NEXT, BREAK, CONTINUE, FAILED } flow;

static flow exec(gt_run *r, const gt_node *list, gt_value dot);
static gt_value eval_pipe(gt_run *r, const gt_pipe *pipe, gt_value dot);

/* --- variables --- */

static bool push(gt_run *r, uint32_t name, gt_value value)
{
	if (r->n_variables == r->cap_variables) {
		uint32_t cap = r->cap_variables ? r->cap_variables * 2 : 16;
		gt_variable *more = hth_jj_alloc(r->arena, cap * sizeof *more);
		if (more == NULL)
			return false;
		if (r->n_variables > 0)
			memcpy(more, r->variables, r->n_variables * sizeof *more);
		r->variables = more;
		r->cap_variables = cap;
	}
	r->variables[r->n_variables++] = (gt_variable){name, value};
	return true;
}

/* Those of the template that called this one are below its "$", which is number 0. */
static gt_variable *find(gt_run *r, uint32_t name)
{
	for (uint32_t i = r->n_variables; i-- > 0;) {
		if (r->variables[i].name == name)
			return &r->variables[i];
		if (r->variables[i].name == 0)
			break;
	}
	return hth_gt_fail(r, "a variable is used where it was not set");
}

static bool assign(gt_run *r, const gt_pipe *pipe, unsigned which, gt_value value)
{
	if (!pipe->assigns)
		return push(r, pipe->variables[which], value);
	gt_variable *v = find(r, pipe->variables[which]);
	if (v != NULL)
		v->value = value;
	return v != NULL;
}

/* --- values --- */

static gt_value eval_operand(gt_run *r, const gt_operand *o, gt_value dot)
{
	gt_value v = dot;
	gt_variable *variable;
	switch (o->kind) {
	case GT_O_NIL:
		v = hth_gt_nil(r);
		break;
	case GT_O_CONSTANT:
		v = (gt_value){o->constant->kind == JJ_STRING ? &hth_gt_string
			       : o->constant->kind == JJ_BOOL ? &hth_gt_bool
			       : o->constant->kind == JJ_INT  ? &hth_gt_int
							      : &hth_gt_float,
			       o->constant};
		break;
	case GT_O_VARIABLE:
		variable = find(r, o->variable);
		v = variable != NULL ? variable->value : hth_gt_none();
		break;
	case GT_O_PIPE:
		v = eval_pipe(r, o->pipe, dot);
		break;
	default: /* the dot, and fields of it */
		break;
	}
	for (uint32_t i = 0; i < o->n_fields && v.v != NULL; i++)
		v = hth_gt_field_of(r, v, o->fields[i]);
	return v;
}

static gt_value eval_word(gt_run *r, const gt_operand *o, gt_value dot);

/* The first that decides; the others are not evaluated. */
static gt_value eval_and_or(gt_run *r, const gt_command *c, gt_value dot, const gt_value *last)
{
	bool or = hth_gt_is_or(c->words[0].function);
	gt_value v = hth_gt_none();
	for (uint32_t i = 1; i < c->n; i++) {
		v = eval_word(r, &c->words[i], dot);
		if (v.v == NULL || hth_gt_truth(v) == or)
			return v;
	}
	return last != NULL ? *last : v;
}

static gt_value eval_call(gt_run *r, const gt_command *c, gt_value dot, const gt_value *last)
{
	const gt_function *fn = c->words[0].function;
	gt_value args[65];
	uint32_t n = c->n - 1 + (last != NULL), given = 0;
	if (n < fn->min || n > fn->max) {
		hth_gt_fail(r, "%s takes %s%u arguments and got %u", fn->name, fn->max > fn->min ? "at least " : "", fn->min, n);
		return hth_gt_none();
	}
	if (fn->fn == NULL)
		return eval_and_or(r, c, dot, last);
	for (uint32_t i = 1; i < c->n; i++) {
		args[given] = eval_word(r, &c->words[i], dot);
		if (args[given++].v == NULL)
			return hth_gt_none();
	}
	if (last != NULL)
		args[given++] = *last;
	return fn->fn(r, args, given);
}

/* A word among a function's arguments: a function there is called without any. */
static gt_value eval_word(gt_run *r, const gt_operand *o, gt_value dot)
{
	if (o->kind != GT_O_FUNCTION)
		return eval_operand(r, o, dot);
	const gt_command alone = {.n = 1, .words = (gt_operand *)o};
	gt_value v = eval_call(r, &alone, dot, NULL);
	for (uint32_t i = 0; i < o->n_fields && v.v != NULL; i++)
		v = hth_gt_field_of(r, v, o->fields[i]);
	return v;
}

static gt_value eval_command(gt_run *r, const gt_command *c, gt_value dot, const gt_value *last)
{
	if (!hth_gt_charge(r, c->n))
		return hth_gt_none();
	if (c->words[0].kind == GT_O_FUNCTION && c->words[0].n_fields == 0)
		return eval_call(r, c, dot, last);
	if (c->n > 1 || last != NULL) {
		hth_gt_fail(r, "arguments are given to something that is no function");
		return hth_gt_none();
	}
	if (c->words[0].kind == GT_O_NIL) {
		hth_gt_fail(r, "nil is not a command");
		return hth_gt_none();
	}
	return eval_word(r, &c->words[0], dot);
}

static gt_value eval_pipe(gt_run *r, const gt_pipe *pipe, gt_value dot)
{
	gt_value v = hth_gt_none(), last;
	r->line = pipe->line;
	if (!hth_gt_deeper(r))
		return v;
	bool ok = true;
	for (const gt_command *c = pipe->commands; ok && c != NULL; c = c->next) {
		last = v;
		v = eval_command(r, c, dot, c == pipe->commands ? NULL : &last);
		ok = v.v != NULL;
	}
	for (unsigned i = 0; ok && i < pipe->n_variables; i++)
		ok = assign(r, pipe, i, v);
	r->level--;
	return ok ? v : hth_gt_none();
}

/* --- nodes --- */

static bool put_action(gt_run *r, const gt_node *node, gt_value dot)
{
	gt_value v = eval_pipe(r, node->pipe, dot);
	if (v.v == NULL)
		return false;
	if (node->pipe->n_variables > 0)
		return true;
	if (hth_gt_is_nil(v))
		return hth_jj_put_cstr(r->out, "<no value>");
	return (v.v->kind != JJ_STRING || hth_gt_charge_bytes(r, v.v->s.len)) && hth_gt_put_plain(r, r->out, v);
}

static flow exec_if(gt_run *r, const gt_node *node, gt_value dot)
{
	gt_value v = eval_pipe(r, node->pipe, dot);
	if (v.v == NULL)
		return FAILED;
	bool truth = hth_gt_truth(v);
	return exec(r, truth ? node->list : node->otherwise, truth && node->kind == GT_N_WITH ? v : dot);
}

/* One round of a loop; false ends it, with *ret_flow BREAK (done) or FAILED. */
static bool round_of(gt_run *r, const gt_node *node, gt_value index, gt_value item, flow *ret_flow)
{
	const gt_pipe *p = node->pipe;
	uint32_t scope = r->n_variables;
	bool ok = index.v != NULL && item.v != NULL && hth_gt_charge(r, 1);
	if (p->n_variables == 1)
		ok = ok && assign(r, p, 0, item);
	if (p->n_variables == 2)
		ok = ok && assign(r, p, 0, index) && assign(r, p, 1, item);
	*ret_flow = ok ? exec(r, node->list, item) : FAILED;
	r->n_variables = scope;
	return *ret_flow == NEXT || *ret_flow == CONTINUE;
}

static flow exec_range(gt_run *r, const gt_node *node, gt_value dot)
{
	/* Its variables are set for each item; the pipeline itself sets none. */
	gt_pipe plain = *node->pipe;
	plain.n_variables = 0;
	gt_value v = eval_pipe(r, &plain, dot);
	if (v.v == NULL)
		return FAILED;
	flow how = NEXT;
	const jj_entry *entries;
	uint32_t n;
	switch (hth_gt_class_of(v)) {
	case GT_C_LIST:
		n = v.v->list.n;
		for (uint32_t i = 0; i < n && round_of(r, node, hth_gt_int_value(r, i), hth_gt_item_of(v, i), &how); i++)
			;
		break;
	case GT_C_MAP:
		if (!hth_gt_sorted(r, v.v, &entries, &n))
			return FAILED;
		for (uint32_t i = 0; i < n && round_of(r, node, hth_gt_string_value(entries[i].key),
		                                       hth_gt_see(v.type->item, entries[i].value), &how); i++)
			;
		break;
	case GT_C_INT:
		n = v.v->i > 0;
		for (int64_t i = 0; i < v.v->i; i++) {
			gt_value number = hth_gt_int_value(r, i);
			if (!round_of(r, node, number, number, &how))
				break;
		}
		break;
	case GT_C_ANY:
		n = 0;
		break;
	default:
		hth_gt_fail(r, "range can't iterate over %s", hth_gt_type_name(v));
		return FAILED;
	}
	if (how == FAILED)
		return FAILED;
	return n == 0 ? exec(r, node->otherwise, dot) : NEXT;
}

static flow exec_template(gt_run *r, const gt_node *node, gt_value dot)
{
	gt_value v = node->pipe != NULL ? eval_pipe(r, node->pipe, dot) : hth_gt_nil(r);
	const hth_gotemplate *t = r->tmpl;
	const gt_definition *d = NULL;
	if (v.v == NULL)
		return FAILED;
	for (uint32_t i = 1; i < t->n_definitions && d == NULL; i++)
		if (t->definitions[i].defined && t->definitions[i].name.len == node->name.len &&
		    memcmp(t->definitions[i].name.data, node->name.data, node->name.len) == 0)
			d = &t->definitions[i];
	if (d == NULL) {
		hth_gt_fail(r, "template \"%.*s\" is not defined", (int)HTH_MIN(node->name.len, 60u), node->name.data);
		return FAILED;
	}
	if (++r->calls > r->max_calls) {
		hth_gt_fail(r, "templates call each other more than %u deep", r->max_calls);
		return FAILED;
	}
	uint32_t scope = r->n_variables, cut = r->cut;
	r->cut = UINT32_MAX;
	flow how = push(r, 0, v) ? exec(r, d->body, v) : FAILED;
	r->n_variables = scope;
	r->cut = cut;
	r->calls--;
	return how;
}

static flow exec_node(gt_run *r, const gt_node *node, gt_value dot)
{
	uint32_t scope = r->n_variables;
	flow how = NEXT;
	switch (node->kind) {
	case GT_N_TEXT:
		return hth_gt_charge_bytes(r, node->text->s.len) && hth_jj_put_str(r->out, node->text) ? NEXT : FAILED;
	case GT_N_ACTION: /* what it declares lives on in its list */
		return put_action(r, node, dot) ? NEXT : FAILED;
	case GT_N_IF:
	case GT_N_WITH:
		how = exec_if(r, node, dot);
		break;
	case GT_N_RANGE:
		how = exec_range(r, node, dot);
		break;
	case GT_N_TEMPLATE:
		how = exec_template(r, node, dot);
		break;
	case GT_N_BREAK:
		return BREAK;
	case GT_N_CONTINUE:
		return CONTINUE;
	}
	r->n_variables = scope;
	return how;
}

static flow exec(gt_run *r, const gt_node *list, gt_value dot)
{
	if (!hth_gt_deeper(r))
		return FAILED;
	flow how = NEXT;
	for (const gt_node *n = list; n != NULL && how == NEXT && n->order <= r->cut; n = n->next) {
		r->line = n->line;
		how = hth_gt_charge(r, 1) ? exec_node(r, n, dot) : FAILED;
	}
	r->level--;
	return how;
}

bool hth_gt_execute(gt_run *r, const gt_node *body, gt_value data)
{
	r->n_variables = 0;
	return push(r, 0, data) && exec(r, body, data) != FAILED;
}
