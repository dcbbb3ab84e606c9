/* jinja-expr.c - expressions, by recursive descent with a bound on its depth.
 *
 * The order of precedence is Jinja's, which is not quite Python's: inline if, or, and, not, comparisons, + and -, ~, * and /, **,
 * unary minus, then subscripts and calls, then filters and tests (which bind to the operand: -1|abs is -(1)|abs applied to -1).
 */
#include "engine/jinja/jinja-ast.h"
#include "engine/jinja/jinja-builtin.h"

#include "base/mem.h"

static jj_node *parse_or(jj_parser *p);

static jj_node *node_here(jj_parser *p, jj_node_type type)
{
	return hth_jj_node(p, type, p->token.line, p->token.column);
}

/* The list's items become the node's. */
static void take_items(jj_node *node, const jj_node_list *list)
{
	node->items = list->items;
	node->n = list->n;
}

static bool at_comma(const jj_parser *p) { return hth_jj_at_op(p, ','); }

/* --- literals and names --- */

static jj_node *parse_string(jj_parser *p)
{
	jj_node *node = node_here(p, JJ_N_CONST);
	if (node == NULL)
		return NULL;
	node->value = hth_jj_token_str(p, &p->token);
	if (node->value == NULL || !hth_jj_advance(p))
		return NULL;
	while (p->token.kind == JJ_T_STRING) {
		jv *more = hth_jj_token_str(p, &p->token);
		node->value = more ? hth_jj_concat(p->tmpl->arena, node->value, more) : NULL;
		if (node->value == NULL || !hth_jj_advance(p))
			return NULL;
	}
	return node;
}

static bool name_is(const jj_token *t, const char *a, const char *b)
{
	return (t->len == strlen(a) && memcmp(t->text, a, t->len) == 0) ||
	       (t->len == strlen(b) && memcmp(t->text, b, t->len) == 0);
}

static jj_node *parse_name(jj_parser *p)
{
	jj_token *t = &p->token;
	jj_node *node = node_here(p, JJ_N_CONST);
	if (node == NULL)
		return NULL;
	if (name_is(t, "true", "True")) {
		node->value = hth_jinja_bool(p->tmpl->arena, true);
	} else if (name_is(t, "false", "False")) {
		node->value = hth_jinja_bool(p->tmpl->arena, false);
	} else if (name_is(t, "none", "None")) {
		node->value = hth_jinja_none(p->tmpl->arena);
	} else {
		node->type = JJ_N_NAME;
		if (!hth_jj_name_id(p, t->text, t->len, &node->id))
			return NULL;
		p->uses_loop |= node->id == p->tmpl->id_loop;
		p->uses_caller |= node->id == p->tmpl->id_caller;
		p->uses_varargs |= node->id == p->tmpl->id_varargs;
		p->uses_kwargs |= node->id == p->tmpl->id_kwargs;
	}
	return hth_jj_advance(p) ? node : NULL;
}

static jj_node *parse_list(jj_parser *p)
{
	jj_node *node = node_here(p, JJ_N_LIST);
	jj_node_list list = {0};
	if (node == NULL || !hth_jj_advance(p))
		return NULL;
	while (!hth_jj_at_op(p, ']')) {
		if (list.n > 0 && !hth_jj_expect_op(p, ',', ","))
			return NULL;
		if (hth_jj_at_op(p, ']'))
			break;
		if (!hth_jj_list_add(p, &list, hth_jj_parse_expr(p, true)))
			return NULL;
	}
	take_items(node, &list);
	return hth_jj_advance(p) ? node : NULL;
}

static jj_node *parse_dict(jj_parser *p)
{
	jj_node *node = node_here(p, JJ_N_DICT);
	jj_node_list list = {0};
	if (node == NULL || !hth_jj_advance(p))
		return NULL;
	while (!hth_jj_at_op(p, '}')) {
		if (list.n > 0 && !hth_jj_expect_op(p, ',', ","))
			return NULL;
		if (hth_jj_at_op(p, '}'))
			break;
		if (!hth_jj_list_add(p, &list, hth_jj_parse_expr(p, true)) || !hth_jj_expect_op(p, ':', ":") ||
		    !hth_jj_list_add(p, &list, hth_jj_parse_expr(p, true)))
			return NULL;
	}
	take_items(node, &list);
	return hth_jj_advance(p) ? node : NULL;
}

static jj_node *parse_primary(jj_parser *p)
{
	jj_token *t = &p->token;
	jj_node *node;
	switch (t->kind) {
	case JJ_T_NAME:
		return parse_name(p);
	case JJ_T_STRING:
		return parse_string(p);
	case JJ_T_INT:
	case JJ_T_FLOAT:
		node = node_here(p, JJ_N_CONST);
		if (node == NULL)
			return NULL;
		node->value = t->kind == JJ_T_INT ? hth_jinja_int(p->tmpl->arena, t->i) : hth_jinja_float(p->tmpl->arena, t->f);
		return node->value != NULL && hth_jj_advance(p) ? node : NULL;
	case JJ_T_OP:
		if (t->op == '(') {
			if (!hth_jj_advance(p))
				return NULL;
			node = hth_jj_parse_tuple(p, true, NULL, true);
			return node != NULL && hth_jj_expect_op(p, ')', ")") ? node : NULL;
		}
		if (t->op == '[')
			return parse_list(p);
		if (t->op == '{')
			return parse_dict(p);
		break;
	default:
		break;
	}
	char name[48];
	return hth_jj_parse_fail(p, "expected an expression, found %s", hth_jj_token_name(t, name));
}

static bool at_tuple_end(const jj_parser *p, const char *end_name)
{
	return p->token.kind == JJ_T_PRINT_END || p->token.kind == JJ_T_BLOCK_END || hth_jj_at_op(p, ')') ||
	       (end_name != NULL && hth_jj_at_name(p, end_name));
}

jj_node *hth_jj_parse_tuple(jj_parser *p, bool with_cond, const char *end_name, bool parenthesised)
{
	uint32_t line = p->token.line, column = p->token.column;
	jj_node_list list = {0};
	bool is_tuple = false;
	while (!at_tuple_end(p, end_name)) {
		if (!hth_jj_list_add(p, &list, hth_jj_parse_expr(p, with_cond)))
			return NULL;
		if (!at_comma(p))
			break;
		is_tuple = true;
		if (!hth_jj_advance(p))
			return NULL;
	}
	if (!is_tuple && list.n == 1)
		return list.items[0];
	if (!is_tuple && !parenthesised) {
		char name[48];
		return hth_jj_parse_fail(p, "expected an expression, found %s", hth_jj_token_name(&p->token, name));
	}
	jj_node *node = hth_jj_node(p, JJ_N_TUPLE, line, column);
	if (node != NULL)
		take_items(node, &list);
	return node;
}

/* --- calls, subscripts, filters, tests --- */

jj_call_args *hth_jj_parse_call_args(jj_parser *p)
{
	jj_call_args *args = hth_jj_alloc(p->tmpl->arena, sizeof *args);
	if (args == NULL || !hth_jj_expect_op(p, '(', "("))
		return NULL;
	jj_node_list pos = {0}, kw = {0};
	hth_jinja_value *names = hth_jj_seq(p->tmpl->arena, JJ_LIST, 0);
	for (bool first = true; !hth_jj_at_op(p, ')'); first = false) {
		if (!first && !hth_jj_expect_op(p, ',', ","))
			return NULL;
		if (hth_jj_at_op(p, ')'))
			break;
		jj_token next = {0};
		if (p->token.kind == JJ_T_NAME && !hth_jj_peek(p, &next))
			return NULL;
		bool star = hth_jj_at_op(p, '*'), stars = hth_jj_at_op(p, JJ_OP2('*', '*'));
		if (star || stars) {
			if (args->dyn_kwargs != NULL || (star && args->dyn_args != NULL))
				return hth_jj_parse_fail(p, "invalid syntax for a call");
			if (!hth_jj_advance(p))
				return NULL;
			jj_node *value = hth_jj_parse_expr(p, true);
			if (value == NULL)
				return NULL;
			*(star ? &args->dyn_args : &args->dyn_kwargs) = value;
		} else if (next.kind == JJ_T_OP && next.op == '=') {
			if (args->dyn_kwargs != NULL)
				return hth_jj_parse_fail(p, "invalid syntax for a call");
			jv *name = hth_jj_token_str(p, &p->token);
			if (name == NULL || names == NULL || !hth_jj_append(p->tmpl->arena, names, name))
				return NULL;
			if (!hth_jj_advance(p) || !hth_jj_advance(p) ||
			    !hth_jj_list_add(p, &kw, hth_jj_parse_expr(p, true)))
				return NULL;
		} else {
			if (args->dyn_args != NULL || args->dyn_kwargs != NULL || kw.n > 0)
				return hth_jj_parse_fail(p, "a positional argument follows a named one");
			if (!hth_jj_list_add(p, &pos, hth_jj_parse_expr(p, true)))
				return NULL;
		}
	}
	args->pos = pos.items;
	args->n_pos = pos.n;
	args->kw = kw.items;
	args->n_kw = kw.n;
	args->kw_names = names ? names->list.items : NULL;
	return hth_jj_advance(p) ? args : NULL;
}

/* One part between the colons of a slice, NULL in *ret when it is left out. */
static bool slice_part(jj_parser *p, jj_node **ret)
{
	*ret = NULL;
	if (hth_jj_at_op(p, ':') || hth_jj_at_op(p, ']') || at_comma(p))
		return true;
	*ret = hth_jj_parse_expr(p, true);
	return *ret != NULL;
}

static jj_node *parse_subscribed(jj_parser *p)
{
	jj_node *slice = node_here(p, JJ_N_SLICE);
	if (slice == NULL)
		return NULL;
	if (!hth_jj_at_op(p, ':')) {
		slice->a = hth_jj_parse_expr(p, true);
		if (slice->a == NULL || !hth_jj_at_op(p, ':'))
			return slice->a;
	}
	if (!hth_jj_advance(p) || !slice_part(p, &slice->b))
		return NULL;
	if (hth_jj_at_op(p, ':') && (!hth_jj_advance(p) || !slice_part(p, &slice->c)))
		return NULL;
	return slice;
}

static jj_node *parse_subscript(jj_parser *p, jj_node *of)
{
	jj_node *node = node_here(p, JJ_N_ITEM);
	bool dot = hth_jj_at_op(p, '.');
	if (node == NULL || !hth_jj_advance(p))
		return NULL;
	node->a = of;
	if (dot) {
		if (p->token.kind == JJ_T_NAME) {
			node->type = JJ_N_ATTR;
			node->value = hth_jj_token_str(p, &p->token);
			return node->value != NULL && hth_jj_advance(p) ? node : NULL;
		}
		if (p->token.kind != JJ_T_INT)
			return hth_jj_parse_fail(p, "expected a name or number after '.'");
		node->b = parse_primary(p);
		return node->b ? node : NULL;
	}
	jj_node_list list = {0};
	while (!hth_jj_at_op(p, ']')) {
		if (list.n > 0 && !hth_jj_expect_op(p, ',', ","))
			return NULL;
		if (!hth_jj_list_add(p, &list, parse_subscribed(p)))
			return NULL;
	}
	if (list.n == 1) {
		node->b = list.items[0];
	} else {
		for (uint32_t i = 0; i < list.n; i++)
			if (list.items[i]->type == JJ_N_SLICE)
				return hth_jj_parse_fail(p, "a slice cannot be one of several subscripts");
		node->b = node_here(p, JJ_N_TUPLE);
		if (node->b == NULL)
			return NULL;
		take_items(node->b, &list);
	}
	return hth_jj_advance(p) ? node : NULL;
}

static jj_node *parse_call(jj_parser *p, jj_node *of)
{
	jj_node *node = node_here(p, JJ_N_CALL);
	if (node == NULL)
		return NULL;
	node->a = of;
	node->call = hth_jj_parse_call_args(p);
	return node->call ? node : NULL;
}

static jj_node *parse_postfix(jj_parser *p, jj_node *node)
{
	while (node != NULL) {
		if (hth_jj_at_op(p, '.') || hth_jj_at_op(p, '['))
			node = parse_subscript(p, node);
		else if (hth_jj_at_op(p, '('))
			node = parse_call(p, node);
		else
			break;
	}
	return node;
}

/* The name of a filter or test, which may have dots; NULL-terminated in the arena through value. */
static jv *parse_dotted(jj_parser *p)
{
	if (p->token.kind != JJ_T_NAME) {
		char name[48];
		return hth_jj_parse_fail(p, "expected a name, found %s", hth_jj_token_name(&p->token, name));
	}
	jv *name = hth_jj_token_str(p, &p->token);
	if (name == NULL || !hth_jj_advance(p))
		return NULL;
	while (hth_jj_at_op(p, '.')) {
		if (!hth_jj_advance(p))
			return NULL;
		if (p->token.kind != JJ_T_NAME)
			return hth_jj_parse_fail(p, "expected a name after '.'");
		jv *dot = hth_jj_str(p->tmpl->arena, "."), *more = hth_jj_token_str(p, &p->token);
		name = dot && more ? hth_jj_concat(p->tmpl->arena, name, dot) : NULL;
		name = name ? hth_jj_concat(p->tmpl->arena, name, more) : NULL;
		if (name == NULL || !hth_jj_advance(p))
			return NULL;
	}
	return name;
}

static jj_node *parse_filter(jj_parser *p, jj_node *of)
{
	jj_node *node = node_here(p, JJ_N_FILTER);
	if (node == NULL || (node->value = parse_dotted(p)) == NULL)
		return NULL;
	node->a = of;
	node->fn = hth_jj_find_filter(node->value->s.data, node->value->s.len);
	if (node->fn == NULL && !p->soft && p->unknown == NULL)
		p->unknown = node;
	if (hth_jj_at_op(p, '(') && (node->call = hth_jj_parse_call_args(p)) == NULL)
		return NULL;
	return node;
}

jj_node *hth_jj_parse_filters(jj_parser *p, jj_node *first, bool inline_first)
{
	jj_node *node = first;
	while (inline_first || hth_jj_at_op(p, '|')) {
		if (!inline_first && !hth_jj_advance(p))
			return NULL;
		inline_first = false;
		node = parse_filter(p, node);
		if (node == NULL)
			return NULL;
	}
	return node;
}

static jj_node *parse_test(jj_parser *p, jj_node *of)
{
	jj_node *node = node_here(p, JJ_N_TEST);
	if (node == NULL || !hth_jj_advance(p))
		return NULL;
	bool negated = hth_jj_at_name(p, "not");
	if (negated && !hth_jj_advance(p))
		return NULL;
	node->value = parse_dotted(p);
	if (node->value == NULL)
		return NULL;
	node->a = of;
	node->fn = hth_jj_find_test(node->value->s.data, node->value->s.len);
	if (node->fn == NULL && !p->soft && p->unknown == NULL)
		p->unknown = node;
	jj_token_kind k = p->token.kind;
	if (hth_jj_at_op(p, '(')) {
		if ((node->call = hth_jj_parse_call_args(p)) == NULL)
			return NULL;
	} else if ((k == JJ_T_NAME || k == JJ_T_STRING || k == JJ_T_INT || k == JJ_T_FLOAT || hth_jj_at_op(p, '[') ||
		    hth_jj_at_op(p, '{')) &&
		   !hth_jj_at_name(p, "else") && !hth_jj_at_name(p, "or") && !hth_jj_at_name(p, "and")) {
		if (hth_jj_at_name(p, "is"))
			return hth_jj_parse_fail(p, "tests cannot be chained with another 'is'");
		node->call = hth_jj_alloc(p->tmpl->arena, sizeof *node->call);
		jj_node_list list = {0};
		if (node->call == NULL || !hth_jj_list_add(p, &list, parse_postfix(p, parse_primary(p))))
			return NULL;
		node->call->pos = list.items;
		node->call->n_pos = 1;
	}
	if (!negated)
		return node;
	jj_node *not_node = hth_jj_node(p, JJ_N_NOT, node->line, node->column);
	if (not_node != NULL)
		not_node->a = node;
	return not_node;
}

static jj_node *parse_filters_and_tests(jj_parser *p, jj_node *node)
{
	while (node != NULL) {
		if (hth_jj_at_op(p, '|'))
			node = hth_jj_parse_filters(p, node, false);
		else if (hth_jj_at_name(p, "is"))
			node = parse_test(p, node);
		else if (hth_jj_at_op(p, '('))
			node = parse_call(p, node);
		else
			break;
	}
	return node;
}

/* --- operators --- */

jj_node *hth_jj_parse_unary(jj_parser *p, bool with_filter)
{
	if (!hth_jj_enter(p))
		return NULL;
	jj_node *node;
	if (hth_jj_at_op(p, '-') || hth_jj_at_op(p, '+')) {
		node = node_here(p, hth_jj_at_op(p, '-') ? JJ_N_NEG : JJ_N_POS);
		if (node == NULL || !hth_jj_advance(p) || (node->a = hth_jj_parse_unary(p, false)) == NULL)
			return NULL;
	} else {
		node = parse_primary(p);
	}
	node = parse_postfix(p, node);
	if (with_filter)
		node = parse_filters_and_tests(p, node);
	p->depth--;
	return node;
}

/* One level of left-associative binary operators. */
static jj_node *parse_binary(jj_parser *p, const int *ops, size_t n_ops, jj_node *(*operand)(jj_parser *))
{
	jj_node *left = operand(p);
	while (left != NULL && p->token.kind == JJ_T_OP) {
		bool ours = false;
		for (size_t i = 0; i < n_ops; i++)
			ours |= p->token.op == ops[i];
		if (!ours)
			break;
		jj_node *node = node_here(p, JJ_N_BINARY);
		if (node == NULL)
			return NULL;
		node->op = p->token.op;
		node->a = left;
		if (!hth_jj_advance(p) || (node->b = operand(p)) == NULL)
			return NULL;
		left = node;
	}
	return left;
}

static jj_node *operand_unary(jj_parser *p) { return hth_jj_parse_unary(p, true); }
static jj_node *parse_pow(jj_parser *p)
{
	static const int ops[] = {JJ_OP2('*', '*')};
	return parse_binary(p, ops, HTH_COUNT(ops), operand_unary);
}
static jj_node *parse_product(jj_parser *p)
{
	static const int ops[] = {'*', '/', '%', JJ_OP2('/', '/')};
	return parse_binary(p, ops, HTH_COUNT(ops), parse_pow);
}

static jj_node *parse_concat(jj_parser *p)
{
	uint32_t line = p->token.line, column = p->token.column;
	jj_node *first = parse_product(p);
	if (first == NULL || !hth_jj_at_op(p, '~'))
		return first;
	jj_node_list list = {0};
	if (!hth_jj_list_add(p, &list, first))
		return NULL;
	while (hth_jj_at_op(p, '~'))
		if (!hth_jj_advance(p) || !hth_jj_list_add(p, &list, parse_product(p)))
			return NULL;
	jj_node *node = hth_jj_node(p, JJ_N_CONCAT, line, column);
	if (node != NULL)
		take_items(node, &list);
	return node;
}

static jj_node *parse_sum(jj_parser *p)
{
	static const int ops[] = {'+', '-'};
	return parse_binary(p, ops, HTH_COUNT(ops), parse_concat);
}

/* 'i': in, 'n': not in; 0: no comparison here. */
static int compare_op(jj_parser *p)
{
	static const int ops[] = {'<', '>', JJ_OP2('=', '='), JJ_OP2('!', '='), JJ_OP2('<', '='), JJ_OP2('>', '=')};
	for (size_t i = 0; i < HTH_COUNT(ops); i++)
		if (hth_jj_at_op(p, ops[i]))
			return ops[i];
	if (hth_jj_at_name(p, "in"))
		return 'i';
	jj_token next;
	if (hth_jj_at_name(p, "not") && hth_jj_peek(p, &next) && next.kind == JJ_T_NAME && name_is(&next, "in", "in"))
		return 'n';
	return 0;
}

static jj_node *parse_compare(jj_parser *p)
{
	jj_node *first = parse_sum(p);
	int op = first ? compare_op(p) : 0;
	if (op == 0)
		return first;
	jj_node *node = node_here(p, JJ_N_COMPARE);
	jj_node_list list = {0};
	if (node == NULL)
		return NULL;
	node->a = first;
	int *ops = NULL;
	for (uint32_t cap = 0; op != 0; op = compare_op(p)) {
		if (list.n == cap) {
			cap = cap ? cap * 2 : 2;
			int *more = hth_jj_alloc(p->tmpl->arena, cap * sizeof *ops);
			if (more == NULL)
				return NULL;
			if (list.n > 0)
				memcpy(more, ops, list.n * sizeof *ops);
			ops = more;
		}
		ops[list.n] = op;
		if (!hth_jj_advance(p) || (op == 'n' && !hth_jj_advance(p)) || !hth_jj_list_add(p, &list, parse_sum(p)))
			return NULL;
	}
	take_items(node, &list);
	node->ops = ops;
	return node;
}

static jj_node *parse_not(jj_parser *p)
{
	if (!hth_jj_at_name(p, "not"))
		return parse_compare(p);
	jj_node *node = node_here(p, JJ_N_NOT);
	if (node == NULL || !hth_jj_enter(p) || !hth_jj_advance(p))
		return NULL;
	node->a = parse_not(p);
	p->depth--;
	return node->a ? node : NULL;
}

static jj_node *parse_logic(jj_parser *p, const char *word, jj_node_type type, jj_node *(*operand)(jj_parser *))
{
	jj_node *left = operand(p);
	while (left != NULL && hth_jj_at_name(p, word)) {
		jj_node *node = node_here(p, type);
		if (node == NULL)
			return NULL;
		node->a = left;
		if (!hth_jj_advance(p) || (node->b = operand(p)) == NULL)
			return NULL;
		left = node;
	}
	return left;
}

static jj_node *parse_and(jj_parser *p) { return parse_logic(p, "and", JJ_N_AND, parse_not); }
static jj_node *parse_or(jj_parser *p) { return parse_logic(p, "or", JJ_N_OR, parse_and); }

jj_node *hth_jj_parse_expr(jj_parser *p, bool with_cond)
{
	if (!hth_jj_enter(p))
		return NULL;
	const jj_node *unknown_before = p->unknown;
	bool soft = p->soft;
	jj_node *node = parse_or(p);
	while (node != NULL && with_cond && hth_jj_at_name(p, "if")) {
		jj_node *cond = node_here(p, JJ_N_COND);
		p->unknown = unknown_before;
		p->soft = true;
		if (cond == NULL || !hth_jj_advance(p))
			return NULL;
		cond->a = node;
		if ((cond->b = parse_or(p)) == NULL)
			return NULL;
		if (hth_jj_at_name(p, "else")) {
			if (!hth_jj_advance(p) || (cond->c = hth_jj_parse_expr(p, true)) == NULL)
				return NULL;
		}
		node = cond;
	}
	p->soft = soft;
	p->depth--;
	return node;
}
