/* jinja-parse.c - statements, and the parser's own tools: tokens with one of lookahead, names, errors.
 *
 * What it refuses, by name: include, import, from and extends (a chat template is one file), autoescape, and the tags Jinja does
 * not know. Nesting is bounded; the tree's size is bounded by its arena.
 */
#include "engine/jinja/jinja-ast.h"
#include "engine/jinja/jinja-builtin.h"

#include "base/mem.h"

#include <stdio.h>

void *hth_jj_parse_fail_at(jj_parser *p, uint32_t line, uint32_t column, const char *fmt, ...)
{
	char what[HTH_ERROR_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	hth_jj_lex_fail(&p->lx, line, column, "%s", what);
	return NULL;
}

void *hth_jj_parse_fail(jj_parser *p, const char *fmt, ...)
{
	char what[HTH_ERROR_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	return hth_jj_parse_fail_at(p, p->token.line, p->token.column, "%s", what);
}

const char *hth_jj_token_name(const jj_token *t, char out[48])
{
	static const char *names[] = {"the end of the template", "text", "'{{'", "'}}'", "'{%'", "'%}'"};
	if (t->kind <= JJ_T_BLOCK_END)
		return names[t->kind];
	if (t->kind == JJ_T_OP)
		snprintf(out, 48, "'%c%c'", t->op & 255, t->op >> 8 ? t->op >> 8 : '\'');
	else if (t->kind == JJ_T_NAME)
		snprintf(out, 48, "'%.*s'", (int)HTH_MIN(t->len, (size_t)40), t->text);
	else
		snprintf(out, 48, "%s", t->kind == JJ_T_STRING ? "a string" : "a number");
	if (t->kind == JJ_T_OP && !(t->op >> 8))
		out[3] = '\0';
	return out;
}

bool hth_jj_advance(jj_parser *p)
{
	if (p->has_next) {
		p->token = p->next;
		p->has_next = false;
		return true;
	}
	return hth_jj_lex(&p->lx, &p->token) == HTH_OK;
}

bool hth_jj_peek(jj_parser *p, jj_token *ret_token)
{
	if (!p->has_next && hth_jj_lex(&p->lx, &p->next) != HTH_OK)
		return false;
	p->has_next = true;
	*ret_token = p->next;
	return true;
}

jj_node *hth_jj_node(jj_parser *p, jj_node_type type, uint32_t line, uint32_t column)
{
	jj_node *node = hth_jj_alloc(p->tmpl->arena, sizeof *node);
	if (node != NULL) {
		node->type = (uint8_t)type;
		node->line = line;
		node->column = (uint16_t)column;
	}
	return node;
}

bool hth_jj_list_add(jj_parser *p, jj_node_list *list, jj_node *node)
{
	if (node == NULL)
		return false;
	if (list->n == list->cap) {
		uint32_t cap = list->cap ? list->cap * 2 : 4;
		jj_node **items = hth_jj_alloc(p->tmpl->arena, cap * sizeof *items);
		if (items == NULL)
			return false;
		if (list->n > 0)
			memcpy(items, list->items, list->n * sizeof *items);
		list->items = items;
		list->cap = cap;
	}
	list->items[list->n++] = node;
	return true;
}

bool hth_jj_enter(jj_parser *p)
{
	if (p->depth >= JJ_PARSE_DEPTH) {
		hth_jj_parse_fail(p, "nested deeper than %d levels", JJ_PARSE_DEPTH);
		return false;
	}
	p->depth++;
	return true;
}

bool hth_jj_at_op(const jj_parser *p, int op) { return p->token.kind == JJ_T_OP && p->token.op == op; }

bool hth_jj_at_name(const jj_parser *p, const char *name)
{
	size_t n = strlen(name);
	return p->token.kind == JJ_T_NAME && p->token.len == n && memcmp(p->token.text, name, n) == 0;
}

bool hth_jj_expect_op(jj_parser *p, int op, const char *spelled)
{
	if (!hth_jj_at_op(p, op)) {
		char name[48];
		hth_jj_parse_fail(p, "expected '%s', found %s", spelled, hth_jj_token_name(&p->token, name));
		return false;
	}
	return hth_jj_advance(p);
}

bool hth_jj_name_id(jj_parser *p, const char *name, size_t len, uint32_t *ret_id)
{
	jv *known = hth_jj_dict_get_str(p->tmpl->arena, p->names->dict, name, len);
	if (known == NULL) {
		jv *key = hth_jj_str_borrow(p->tmpl->arena, name, len, JJ_TRUSTED);
		known = hth_jinja_int(p->tmpl->arena, p->names->dict->n);
		if (key == NULL || known == NULL || !hth_jj_dict_put(p->tmpl->arena, p->names->dict, key, known))
			return false;
	}
	*ret_id = (uint32_t)known->i;
	return true;
}

jv *hth_jj_token_str(jj_parser *p, const jj_token *t)
{
	return hth_jj_str_borrow(p->tmpl->arena, t->text, t->len, JJ_TRUSTED);
}

/* --- statements --- */

static bool expect_end(jj_parser *p, jj_token_kind kind)
{
	if (p->token.kind == kind)
		return hth_jj_advance(p);
	char name[48];
	hth_jj_parse_fail(p, "expected '%s', found %s", kind == JJ_T_BLOCK_END ? "%}" : "}}",
			  hth_jj_token_name(&p->token, name));
	return false;
}

static bool check_unknown(jj_parser *p)
{
	if (p->unknown == NULL)
		return true;
	const jj_node *n = p->unknown;
	hth_jj_parse_fail_at(p, n->line, n->column, "No %s named '%.*s'.", n->type == JJ_N_FILTER ? "filter" : "test",
			     (int)HTH_MIN(n->value->s.len, 60u), n->value->s.data);
	return false;
}

static jj_node *parse_statement(jj_parser *p);

/* Statements up to a tag named in ends (NULL-terminated; none: the end of the template). Leaves that tag's name current. */
static jj_node *parse_body(jj_parser *p, jj_node_type type, const char *const *ends)
{
	jj_node *body = hth_jj_node(p, type, p->token.line, p->token.column);
	jj_node_list list = {0};
	uint32_t line = p->tag_line, column = p->tag_column;
	if (body == NULL || !hth_jj_enter(p))
		return NULL;
	p->ends[p->n_ends++] = ends[0];
	for (;;) {
		jj_token_kind kind = p->token.kind;
		jj_node *node;
		if (kind == JJ_T_EOF) {
			if (ends[0] != NULL)
				return hth_jj_parse_fail_at(p, line, column,
							    "the block that begins here is never closed with {%% %s %%}",
							    ends[0]);
			break;
		}
		if (kind == JJ_T_DATA) {
			node = hth_jj_node(p, JJ_N_DATA, p->token.line, p->token.column);
			if (node == NULL || (node->value = hth_jj_token_str(p, &p->token)) == NULL || !hth_jj_advance(p))
				return NULL;
		} else if (kind == JJ_T_PRINT_BEGIN) {
			node = hth_jj_node(p, JJ_N_PRINT, p->token.line, p->token.column);
			if (node == NULL || !hth_jj_advance(p) ||
			    (node->a = hth_jj_parse_tuple(p, true, NULL, false)) == NULL ||
			    !expect_end(p, JJ_T_PRINT_END) || !check_unknown(p))
				return NULL;
		} else {
			if (!hth_jj_advance(p))
				return NULL;
			p->tag_line = p->token.line;
			p->tag_column = p->token.column;
			bool ended = false;
			for (const char *const *e = ends; *e != NULL; e++)
				ended |= hth_jj_at_name(p, *e);
			if (ended)
				break;
			node = parse_statement(p);
			if (node == NULL || !expect_end(p, JJ_T_BLOCK_END) || !check_unknown(p))
				return NULL;
		}
		if (!hth_jj_list_add(p, &list, node))
			return NULL;
	}
	p->n_ends--;
	p->depth--;
	body->items = list.items;
	body->n = list.n;
	return body;
}

/* As parse_body in a frame of its own, where unknown filters are an error again, up to {% end %}; leaves '%}' current. */
static jj_node *parse_inner(jj_parser *p, jj_node_type type, const char *end)
{
	const char *ends[] = {end, NULL};
	bool soft = p->soft;
	p->soft = false;
	if (!expect_end(p, JJ_T_BLOCK_END) || !check_unknown(p))
		return NULL;
	jj_node *body = parse_body(p, type, ends);
	p->soft = soft;
	return body != NULL && hth_jj_advance(p) ? body : NULL;
}

static jj_node *target_name(jj_parser *p, bool with_namespace)
{
	jj_node *node = hth_jj_node(p, JJ_N_NAME, p->token.line, p->token.column);
	if (node == NULL)
		return NULL;
	if (p->token.kind != JJ_T_NAME) {
		char name[48];
		return hth_jj_parse_fail(p, "expected a name to assign to, found %s", hth_jj_token_name(&p->token, name));
	}
	static const char *reserved[] = {"true", "false", "none", "True", "False", "None"};
	for (size_t i = 0; i < HTH_COUNT(reserved); i++)
		if (hth_jj_at_name(p, reserved[i]))
			return hth_jj_parse_fail(p, "cannot assign to '%s'", reserved[i]);
	if (!hth_jj_name_id(p, p->token.text, p->token.len, &node->id) || !hth_jj_advance(p))
		return NULL;
	if (with_namespace && hth_jj_at_op(p, '.')) {
		if (!hth_jj_advance(p))
			return NULL;
		if (p->token.kind != JJ_T_NAME)
			return hth_jj_parse_fail(p, "expected an attribute's name after '.'");
		node->type = JJ_N_NSREF;
		node->value = hth_jj_token_str(p, &p->token);
		if (node->value == NULL || !hth_jj_advance(p))
			return NULL;
	}
	return node;
}

jj_node *hth_jj_parse_target(jj_parser *p, bool with_tuple, bool with_namespace)
{
	uint32_t line = p->token.line, column = p->token.column;
	jj_node_list list = {0};
	bool is_tuple = false;
	do {
		if (is_tuple && hth_jj_at_op(p, ')'))
			break;
		jj_node *node;
		if (hth_jj_at_op(p, '(')) {
			if (!hth_jj_enter(p) || !hth_jj_advance(p))
				return NULL;
			node = hth_jj_parse_target(p, true, with_namespace);
			p->depth--;
			if (node == NULL || !hth_jj_expect_op(p, ')', ")"))
				return NULL;
		} else {
			node = target_name(p, with_namespace);
		}
		if (!hth_jj_list_add(p, &list, node))
			return NULL;
		if (!with_tuple || !hth_jj_at_op(p, ','))
			break;
		is_tuple = true;
	} while (hth_jj_advance(p));
	if (list.n == 0)
		return NULL;
	if (!is_tuple)
		return list.items[0];
	jj_node *tuple = hth_jj_node(p, JJ_N_TUPLE, line, column);
	if (tuple != NULL) {
		tuple->items = list.items;
		tuple->n = list.n;
	}
	return tuple;
}

static jj_node *parse_if(jj_parser *p, jj_node *node)
{
	static const char *const ends[] = {"endif", "elif", "else", NULL};
	static const char *const end_only[] = {"endif", NULL};
	jj_node_list list = {0};
	bool soft = p->soft;
	p->soft = true;
	for (;;) {
		jj_node *test = hth_jj_parse_tuple(p, false, NULL, false);
		if (!hth_jj_list_add(p, &list, test) || !expect_end(p, JJ_T_BLOCK_END) ||
		    !hth_jj_list_add(p, &list, parse_body(p, JJ_N_BODY, ends)))
			return NULL;
		if (!hth_jj_at_name(p, "elif"))
			break;
		if (!hth_jj_advance(p))
			return NULL;
	}
	if (hth_jj_at_name(p, "else")) {
		if (!hth_jj_advance(p) || !expect_end(p, JJ_T_BLOCK_END) ||
		    (node->b = parse_body(p, JJ_N_BODY, end_only)) == NULL)
			return NULL;
	}
	p->soft = soft;
	node->type = JJ_N_IF;
	node->items = list.items;
	node->n = list.n;
	return hth_jj_advance(p) ? node : NULL;
}

static jj_node *parse_for(jj_parser *p, jj_node *node)
{
	static const char *const ends[] = {"endfor", "else", NULL};
	static const char *const end_only[] = {"endfor", NULL};
	node->type = JJ_N_FOR;
	node->a = hth_jj_parse_target(p, true, false);
	if (node->a == NULL)
		return NULL;
	if (!hth_jj_at_name(p, "in"))
		return hth_jj_parse_fail(p, "expected 'in' after the loop's variable");
	if (!hth_jj_advance(p) || (node->b = hth_jj_parse_tuple(p, false, "recursive", false)) == NULL)
		return NULL;
	bool used_loop = p->uses_loop;
	p->uses_loop = false;
	if (hth_jj_at_name(p, "if") && (!hth_jj_advance(p) || (node->c = hth_jj_parse_expr(p, true)) == NULL))
		return NULL;
	if (hth_jj_at_name(p, "recursive")) {
		node->flags |= JJ_FOR_RECURSIVE;
		if (!hth_jj_advance(p))
			return NULL;
	}
	bool soft = p->soft;
	p->soft = false;
	node->n = 2;
	node->items = hth_jj_alloc(p->tmpl->arena, 2 * sizeof *node->items);
	if (node->items == NULL || !expect_end(p, JJ_T_BLOCK_END) || !check_unknown(p))
		return NULL;
	p->loops++;
	node->items[0] = parse_body(p, JJ_N_BODY, ends);
	p->loops--;
	if (node->items[0] == NULL)
		return NULL;
	if (hth_jj_at_name(p, "else")) {
		if (!hth_jj_advance(p) || !expect_end(p, JJ_T_BLOCK_END) ||
		    (node->items[1] = parse_body(p, JJ_N_SCOPE, end_only)) == NULL)
			return NULL;
	}
	p->soft = soft;
	if (p->uses_loop)
		node->flags |= JJ_FOR_USES_LOOP;
	p->uses_loop |= used_loop;
	return hth_jj_advance(p) ? node : NULL;
}

static jj_node *parse_set(jj_parser *p, jj_node *node)
{
	node->a = hth_jj_parse_target(p, true, true);
	if (node->a == NULL)
		return NULL;
	if (hth_jj_at_op(p, '=')) {
		node->type = JJ_N_SET;
		if (!hth_jj_advance(p) || (node->b = hth_jj_parse_tuple(p, true, NULL, false)) == NULL)
			return NULL;
		return node;
	}
	node->type = JJ_N_SET_BLOCK;
	if (hth_jj_at_op(p, '|') && (node->b = hth_jj_parse_filters(p, NULL, false)) == NULL)
		return NULL;
	node->c = parse_inner(p, JJ_N_SCOPE, "endset");
	return node->c ? node : NULL;
}

/* "(a, b=1)" and the body up to {% end %}. */
static jj_node *parse_macro_rest(jj_parser *p, jj_node *node, jv *name, const char *end)
{
	jj_macro_def *m = hth_jj_alloc(p->tmpl->arena, sizeof *m);
	if (m == NULL)
		return NULL;
	node->macro = m;
	m->name = name;
	jj_node_list names = {0}, defaults = {0};
	uint32_t first_default = UINT32_MAX;
	if (hth_jj_at_op(p, '(')) {
		if (!hth_jj_advance(p))
			return NULL;
		while (!hth_jj_at_op(p, ')')) {
			if (names.n > 0 && !hth_jj_expect_op(p, ',', ","))
				return NULL;
			if (hth_jj_at_op(p, ')'))
				break;
			jj_token t = p->token;
			jj_node *param = target_name(p, false);
			if (param == NULL || (param->value = hth_jj_token_str(p, &t)) == NULL)
				return NULL;
			if (hth_jj_at_op(p, '=')) {
				first_default = HTH_MIN(first_default, names.n);
				if (!hth_jj_advance(p) || (param->a = hth_jj_parse_expr(p, true)) == NULL)
					return NULL;
			} else if (first_default != UINT32_MAX) {
				return hth_jj_parse_fail(p, "a parameter without a default follows one with");
			}
			if (!hth_jj_list_add(p, &names, param) || !hth_jj_list_add(p, &defaults, param))
				return NULL;
		}
		if (!hth_jj_advance(p))
			return NULL;
	}
	m->n = names.n;
	m->ids = hth_jj_alloc(p->tmpl->arena, (names.n + 1) * sizeof *m->ids);
	m->names = hth_jj_alloc(p->tmpl->arena, (names.n + 1) * sizeof *m->names);
	m->defaults = hth_jj_alloc(p->tmpl->arena, (names.n + 1) * sizeof *m->defaults);
	if (m->ids == NULL || m->names == NULL || m->defaults == NULL)
		return NULL;
	for (uint32_t i = 0; i < names.n; i++) {
		m->ids[i] = names.items[i]->id;
		m->names[i] = names.items[i]->value;
		m->defaults[i] = names.items[i]->a;
	}
	if (node->type == JJ_N_CALL_BLOCK) {
		node->a = hth_jj_parse_expr(p, true);
		if (node->a == NULL)
			return NULL;
		if (node->a->type != JJ_N_CALL)
			return hth_jj_parse_fail(p, "expected a call in {%% call %%}");
	}
	unsigned loops = p->loops;
	bool caller = p->uses_caller, varargs = p->uses_varargs, kwargs = p->uses_kwargs;
	p->loops = 0;
	p->uses_caller = p->uses_varargs = p->uses_kwargs = false;
	m->body = parse_inner(p, JJ_N_BODY, end);
	m->uses_caller = p->uses_caller;
	m->uses_varargs = p->uses_varargs;
	m->uses_kwargs = p->uses_kwargs;
	p->uses_caller |= caller;
	p->uses_varargs |= varargs;
	p->uses_kwargs |= kwargs;
	p->loops = loops;
	return m->body ? node : NULL;
}

static jj_node *parse_macro(jj_parser *p, jj_node *node)
{
	jj_token t = p->token;
	jj_node *name = target_name(p, false);
	if (name == NULL)
		return NULL;
	node->type = JJ_N_MACRO;
	node->id = name->id;
	if (!hth_jj_at_op(p, '(')) {
		char found[48];
		return hth_jj_parse_fail(p, "expected '(' after a macro's name, found %s",
					 hth_jj_token_name(&p->token, found));
	}
	jv *text = hth_jj_token_str(p, &t);
	return text ? parse_macro_rest(p, node, text, "endmacro") : NULL;
}

static jj_node *parse_with(jj_parser *p, jj_node *node)
{
	jj_node_list list = {0};
	node->type = JJ_N_WITH;
	while (p->token.kind != JJ_T_BLOCK_END) {
		if (list.n > 0 && !hth_jj_expect_op(p, ',', ","))
			return NULL;
		if (!hth_jj_list_add(p, &list, hth_jj_parse_target(p, false, false)) ||
		    !hth_jj_expect_op(p, '=', "=") || !hth_jj_list_add(p, &list, hth_jj_parse_expr(p, true)))
			return NULL;
	}
	node->items = list.items;
	node->n = list.n;
	node->b = parse_inner(p, JJ_N_BODY, "endwith");
	return node->b ? node : NULL;
}

static jj_node *parse_statement(jj_parser *p)
{
	jj_token t = p->token;
	if (t.kind != JJ_T_NAME)
		return hth_jj_parse_fail(p, "expected a tag's name after '{%%'");
	jj_node *node = hth_jj_node(p, JJ_N_BODY, t.line, t.column);
	if (node == NULL || !hth_jj_advance(p))
		return NULL;
	char tag[32];
	snprintf(tag, sizeof tag, "%.*s", (int)HTH_MIN(t.len, sizeof tag - 1), t.text);
	if (strcmp(tag, "if") == 0)
		return parse_if(p, node);
	if (strcmp(tag, "for") == 0)
		return parse_for(p, node);
	if (strcmp(tag, "set") == 0)
		return parse_set(p, node);
	if (strcmp(tag, "macro") == 0)
		return parse_macro(p, node);
	if (strcmp(tag, "with") == 0)
		return parse_with(p, node);
	if (strcmp(tag, "call") == 0) {
		node->type = JJ_N_CALL_BLOCK;
		jv *caller = hth_jj_str(p->tmpl->arena, "caller");
		return caller ? parse_macro_rest(p, node, caller, "endcall") : NULL;
	}
	if (strcmp(tag, "filter") == 0) {
		node->type = JJ_N_FILTER_BLOCK;
		if ((node->b = hth_jj_parse_filters(p, NULL, true)) == NULL)
			return NULL;
		node->c = parse_inner(p, JJ_N_SCOPE, "endfilter");
		return node->c ? node : NULL;
	}
	if (strcmp(tag, "generation") == 0) /* marks an assistant's words for training; printed as they are */
		return parse_inner(p, JJ_N_SCOPE, "endgeneration");
	if (strcmp(tag, "block") == 0) {
		if (p->token.kind != JJ_T_NAME)
			return hth_jj_parse_fail(p, "expected the block's name");
		if (!hth_jj_advance(p))
			return NULL;
		jj_node *body = parse_inner(p, JJ_N_SCOPE, "endblock");
		if (body != NULL && p->token.kind == JJ_T_NAME && !hth_jj_advance(p))
			return NULL;
		return body;
	}
	if (strcmp(tag, "print") == 0) {
		node->type = JJ_N_PRINT;
		return (node->a = hth_jj_parse_tuple(p, true, NULL, false)) ? node : NULL;
	}
	if (strcmp(tag, "break") == 0 || strcmp(tag, "continue") == 0) {
		if (p->loops == 0)
			return hth_jj_parse_fail_at(p, t.line, t.column, "'%s' outside of a loop", tag);
		node->type = tag[0] == 'b' ? JJ_N_BREAK : JJ_N_CONTINUE;
		return node;
	}
	static const char *refused[] = {"include", "import", "from", "extends", "autoescape"};
	for (size_t i = 0; i < HTH_COUNT(refused); i++)
		if (strcmp(tag, refused[i]) == 0)
			return hth_jj_parse_fail_at(p, t.line, t.column,
						    "{%% %s %%} is not supported in a chat template", tag);
	const char *waiting = p->n_ends > 0 ? p->ends[p->n_ends - 1] : NULL;
	return hth_jj_parse_fail_at(p, t.line, t.column, "Encountered unknown tag '%s'.%s%s%s", tag,
				    waiting ? " The innermost open block is closed with '" : "", waiting ? waiting : "",
				    waiting ? "'." : "");
}

jj_node *hth_jj_parse_template(jj_parser *p)
{
	static const char *const none[] = {NULL};
	return hth_jj_advance(p) ? parse_body(p, JJ_N_BODY, none) : NULL;
}
