/* gotemplate-parse.c - tokens to a tree, with the checks that Go makes while parsing: variables and functions must be known, break needs a
 * loop, a constant cannot take a piped value. Also finds what Ollama looks at to choose how to render: whether .Messages or .Response is
 * named, and where .Response first stands.
 */
#include "engine/gotemplate/gotemplate-run.h"

#include "base/mem.h"

typedef struct parser {
	hth_gotemplate *tmpl;
	gt_lexer lx;
	gt_token token; /* the one to look at */
	gt_name variables[GT_VARIABLES_MAX]; /* in scope; '$' first */
	uint32_t n_variables;
	gt_name names[GT_VARIABLES_MAX]; /* every name that a variable has: a variable is its number here */
	uint32_t n_names;
	uint32_t order;
	unsigned nest, loops;
	hth_error *err;
} parser;

static gt_node *parse_list(parser *p, bool top, const char **ret_end);

static void *syntax(parser *p, const char *what) { return hth_gt_syntax(p->err, p->token.line, "%s", what); }

static void *alloc(parser *p, size_t size)
{
	void *m = hth_jj_alloc(p->tmpl->arena, size);
	if (m == NULL)
		hth_fail(p->err, HTH_TOO_LARGE, "line %u: the template is too large to compile", p->token.line);
	return m;
}

static bool advance(parser *p) { return hth_gt_lex(&p->lx, &p->token); }

static bool skip_space(parser *p) { return p->token.kind != GT_SPACE || advance(p); }

static bool is_word(const parser *p, const char *word)
{
	return p->token.kind == GT_WORD && p->token.len == strlen(word) && memcmp(p->token.at, word, p->token.len) == 0;
}

static bool same(gt_name a, gt_name b) { return a.len == b.len && memcmp(a.data, b.data, a.len) == 0; }

static gt_name token_name(const parser *p) { return (gt_name){p->token.at, (uint32_t)p->token.len}; }

static bool same_case(gt_name a, const char *b) { return a.len == strlen(b) && strncasecmp(a.data, b, a.len) == 0; }

static bool deeper(parser *p)
{
	if (++p->nest <= GT_NEST_MAX)
		return true;
	hth_fail(p->err, HTH_TOO_LARGE, "line %u: blocks and parentheses are nested deeper than %d", p->token.line, GT_NEST_MAX);
	return false;
}

/* --- operands --- */

static bool number_of(parser *p, gt_name name, uint32_t *ret)
{
	for (*ret = 0; *ret < p->n_names; ++*ret)
		if (same(p->names[*ret], name))
			return true;
	if (p->n_names == GT_VARIABLES_MAX)
		return syntax(p, "there are too many variables") != NULL;
	p->names[p->n_names++] = name;
	return true;
}

static bool declare(parser *p, gt_name name, uint32_t *ret)
{
	if (p->n_variables == GT_VARIABLES_MAX)
		return syntax(p, "there are too many variables") != NULL;
	p->variables[p->n_variables++] = name;
	return number_of(p, name, ret);
}

static bool use(parser *p, gt_name name, uint32_t *ret)
{
	for (uint32_t i = p->n_variables; i-- > 0;)
		if (same(p->variables[i], name))
			return number_of(p, name, ret);
	return hth_gt_syntax(p->err, p->token.line, "undefined variable %.*s", (int)HTH_MIN(name.len, 60u), name.data) != NULL;
}

/* What Ollama calls a template's variables: names of fields and variables anywhere. */
static void note(parser *p, gt_name name)
{
	p->tmpl->names_messages |= same_case(name, "messages");
	p->tmpl->names_response |= same_case(name, "response");
	p->tmpl->names_suffix |= same_case(name, "suffix");
}

static bool add_field(parser *p, gt_operand *o)
{
	if ((o->n_fields & (o->n_fields - 1)) == 0) { /* at 0, 1, 2, 4, ...: double */
		gt_name *more = alloc(p, (o->n_fields ? 2 * o->n_fields : 1) * sizeof *more);
		if (more == NULL)
			return false;
		if (o->n_fields > 0)
			memcpy(more, o->fields, o->n_fields * sizeof *more);
		o->fields = more;
	}
	gt_name name = token_name(p);
	o->fields[o->n_fields++] = name;
	if (o->kind == GT_O_FIELD || o->kind == GT_O_VARIABLE)
		note(p, name);
	if (o->kind == GT_O_FIELD && name.len == 8 && memcmp(name.data, "Response", 8) == 0 && p->tmpl->cut == UINT32_MAX)
		p->tmpl->cut = p->order;
	return advance(p);
}

static gt_pipe *parse_pipe(parser *p, const char *what, gt_token_kind end);

static bool parse_word(parser *p, gt_operand *o)
{
	gt_name name = token_name(p);
	o->kind = GT_O_CONSTANT;
	if (is_word(p, "true") || is_word(p, "false"))
		o->constant = hth_jinja_bool(p->tmpl->arena, p->token.at[0] == 't');
	else if (is_word(p, "nil"))
		o->kind = GT_O_NIL;
	else if ((o->function = hth_gt_find_function(name.data, name.len)) != NULL)
		o->kind = GT_O_FUNCTION;
	else
		return hth_gt_syntax(p->err, p->token.line, "function %.*s is not defined", (int)HTH_MIN(name.len, 60u), name.data) != NULL;
	return advance(p);
}

/* One word of a command and the fields behind it. */
static bool parse_operand(parser *p, gt_operand *o)
{
	*o = (gt_operand){.kind = GT_O_DOT};
	switch (p->token.kind) {
	case GT_WORD:
		if (!parse_word(p, o))
			return false;
		break;
	case GT_DOT:
		if (!advance(p))
			return false;
		break;
	case GT_VARIABLE:
		o->kind = GT_O_VARIABLE;
		note(p, token_name(p));
		if (!use(p, token_name(p), &o->variable) || !advance(p))
			return false;
		break;
	case GT_FIELD:
		o->kind = GT_O_FIELD;
		if (!add_field(p, o))
			return false;
		break;
	case GT_STRING:
	case GT_INT:
	case GT_FLOAT:
		o->kind = GT_O_CONSTANT;
		o->constant = p->token.value;
		if (!advance(p))
			return false;
		break;
	case GT_OPEN:
		o->kind = GT_O_PIPE;
		if (!deeper(p) || !advance(p) || (o->pipe = parse_pipe(p, "parentheses", GT_CLOSE)) == NULL)
			return false;
		p->nest--;
		break;
	default:
		return syntax(p, "a value is expected") != NULL;
	}
	if (p->token.kind == GT_FIELD && (o->kind == GT_O_DOT || o->kind == GT_O_NIL || o->kind == GT_O_CONSTANT))
		return syntax(p, "unexpected . after a constant") != NULL;
	while (p->token.kind == GT_FIELD)
		if (!add_field(p, o))
			return false;
	return true;
}

static gt_command *parse_command(parser *p, gt_token_kind end)
{
	gt_command *c = alloc(p, sizeof *c);
	uint32_t cap = 0;
	for (;;) {
		if (c == NULL || !skip_space(p))
			return NULL;
		if (p->token.kind == end || p->token.kind == GT_PIPE)
			return c;
		if (c->n == cap) {
			gt_operand *more = alloc(p, (cap ? cap * 2 : 2) * sizeof *more);
			if (more == NULL)
				return NULL;
			if (cap > 0)
				memcpy(more, c->words, c->n * sizeof *more);
			c->words = more;
			cap = cap ? cap * 2 : 2;
		}
		if (!parse_operand(p, &c->words[c->n++]))
			return NULL;
		if (p->token.kind != GT_SPACE && p->token.kind != end && p->token.kind != GT_PIPE)
			return syntax(p, "unexpected mark after a value: words of a command stand apart");
	}
}

/* "$x :=", "$x =" and in a range "$i, $x :=" before a pipeline. */
static bool parse_declaration(parser *p, gt_pipe *pipe, bool range)
{
	for (;;) {
		if (p->token.kind != GT_VARIABLE)
			return pipe->n_variables == 0 || syntax(p, "a range can have two variables") != NULL;
		gt_lexer save = p->lx;
		gt_token variable = p->token;
		if (!advance(p) || !skip_space(p))
			return false;
		bool comma = range && p->token.kind == GT_COMMA && pipe->n_variables == 0;
		if (p->token.kind != GT_DECLARE && p->token.kind != GT_SET && !comma) {
			if (pipe->n_variables > 0)
				return syntax(p, "a range's variables need := or =") != NULL;
			p->lx = save;
			p->token = variable;
			return true;
		}
		gt_name name = {variable.at, (uint32_t)variable.len};
		pipe->assigns = p->token.kind == GT_SET;
		bool known = p->token.kind == GT_DECLARE || comma ? declare(p, name, &pipe->variables[pipe->n_variables])
								  : use(p, name, &pipe->variables[pipe->n_variables]);
		pipe->n_variables++;
		if (!known || !advance(p) || !skip_space(p))
			return false;
		if (!comma)
			return true;
	}
}

static gt_pipe *parse_pipe(parser *p, const char *what, gt_token_kind end)
{
	gt_pipe *pipe = alloc(p, sizeof *pipe);
	if (pipe == NULL || !skip_space(p))
		return NULL;
	pipe->line = p->token.line;
	if (!parse_declaration(p, pipe, strcmp(what, "range") == 0))
		return NULL;
	gt_command **tail = &pipe->commands;
	for (;;) {
		gt_command *c = parse_command(p, end);
		if (c == NULL)
			return NULL;
		if (c->n == 0)
			return hth_gt_syntax(p->err, p->token.line, "%s needs a value", what);
		const gt_operand *first = &c->words[0];
		if (tail != &pipe->commands && (first->kind == GT_O_DOT || first->kind == GT_O_NIL || first->kind == GT_O_CONSTANT))
			return syntax(p, "a constant cannot take a piped value");
		*tail = c;
		tail = &c->next;
		bool more = p->token.kind == GT_PIPE;
		if (!advance(p))
			return NULL;
		if (!more)
			return pipe;
	}
}

/* --- nodes --- */

static gt_node *new_node(parser *p, gt_node_kind kind)
{
	gt_node *n = alloc(p, sizeof *n);
	if (n == NULL)
		return NULL;
	n->kind = kind;
	n->line = p->token.line;
	n->order = ++p->order;
	return n;
}

/* The end of a keyword's action. */
static bool close_action(parser *p)
{
	if (!skip_space(p))
		return false;
	return p->token.kind == GT_RIGHT ? advance(p) : syntax(p, "unexpected words before }}") != NULL;
}

/* if, with, range: behind the keyword, up to its end. */
static gt_node *parse_branch(parser *p, gt_node_kind kind, const char *what)
{
	gt_node *n = new_node(p, kind);
	uint32_t scope = p->n_variables;
	const char *end = NULL;
	/* A .Response in a condition is not where the answer begins. */
	uint32_t cut = p->tmpl->cut;
	if (n == NULL || !deeper(p) || (n->pipe = parse_pipe(p, what, GT_RIGHT)) == NULL)
		return NULL;
	p->tmpl->cut = cut;
	p->loops += kind == GT_N_RANGE;
	n->list = parse_list(p, false, &end);
	p->loops -= kind == GT_N_RANGE;
	if (end != NULL && strcmp(end, "else") == 0) {
		if (!skip_space(p))
			return NULL;
		bool also_if = is_word(p, "if") && kind == GT_N_IF, also_with = is_word(p, "with") && kind == GT_N_WITH;
		if (also_if || also_with) {
			if (!advance(p))
				return NULL;
			n->otherwise = parse_branch(p, kind, what);
			end = n->otherwise != NULL ? "end" : NULL;
		} else if (close_action(p)) {
			n->otherwise = parse_list(p, false, &end);
			if (end != NULL && strcmp(end, "else") == 0)
				return hth_gt_syntax(p->err, p->token.line, "there is a second else");
			if (end != NULL && !close_action(p))
				return NULL;
		} else {
			return NULL;
		}
	} else if (end != NULL && !close_action(p)) {
		return NULL;
	}
	p->n_variables = scope;
	p->nest--;
	return end != NULL ? n : NULL;
}

static gt_definition *definition_of(parser *p, gt_name name)
{
	hth_gotemplate *t = p->tmpl;
	for (uint32_t i = 1; i < t->n_definitions; i++)
		if (same(t->definitions[i].name, name))
			return &t->definitions[i];
	if (t->n_definitions == GT_TEMPLATES_MAX)
		return hth_gt_syntax(p->err, p->token.line, "more than %d templates are defined", GT_TEMPLATES_MAX);
	t->definitions[t->n_definitions].name = name;
	return &t->definitions[t->n_definitions++];
}

static bool parse_name(parser *p, gt_name *ret)
{
	if (!skip_space(p))
		return false;
	if (p->token.kind != GT_STRING)
		return syntax(p, "a template's name must be a quoted string") != NULL;
	*ret = (gt_name){p->token.value->s.data, p->token.value->s.len};
	return advance(p) && skip_space(p);
}

/* The body of define and block, in a scope of its own. */
static bool parse_body(parser *p, gt_name name)
{
	gt_definition *d = definition_of(p, name);
	uint32_t n = p->n_variables, cut = p->tmpl->cut;
	gt_name *outer = hth_alloc_array(n, sizeof *outer);
	const char *end = NULL;
	unsigned loops = p->loops;
	if (d == NULL || outer == NULL) {
		free(outer);
		return false;
	}
	memcpy(outer, p->variables, n * sizeof *outer);
	p->n_variables = 1;
	p->loops = 0;
	gt_node *body = deeper(p) ? parse_list(p, false, &end) : NULL;
	p->nest--;
	p->loops = loops;
	memcpy(p->variables, outer, n * sizeof *outer);
	p->n_variables = n;
	p->tmpl->cut = cut; /* only the template's own text is cut */
	free(outer);
	if (end == NULL)
		return false;
	if (strcmp(end, "end") != 0)
		return syntax(p, "unexpected else in a template's definition") != NULL;
	if (d->defined)
		return hth_gt_syntax(p->err, p->token.line, "template \"%.*s\" is defined twice", (int)HTH_MIN(name.len, 60u),
		                     name.data) != NULL;
	d->body = body;
	d->defined = true;
	return close_action(p);
}

static gt_node *parse_template(parser *p, bool block)
{
	gt_node *n = new_node(p, GT_N_TEMPLATE);
	uint32_t cut = p->tmpl->cut;
	if (n == NULL || !parse_name(p, &n->name))
		return NULL;
	if (p->token.kind == GT_RIGHT && !block) {
		if (!advance(p))
			return NULL;
	} else if ((n->pipe = parse_pipe(p, block ? "block" : "template", GT_RIGHT)) == NULL) {
		return NULL;
	}
	p->tmpl->cut = cut;
	return !block || parse_body(p, n->name) ? n : NULL;
}

static gt_node *parse_jump(parser *p, gt_node_kind kind)
{
	gt_node *n = new_node(p, kind);
	if (p->loops == 0)
		return syntax(p, kind == GT_N_BREAK ? "break stands outside of range" : "continue stands outside of range");
	return n != NULL && close_action(p) ? n : NULL;
}

/* Behind {{. A node; NULL with *ret_end set for else and end (the caller reads on); NULL with *ret_nothing for define. */
static gt_node *parse_action(parser *p, bool top, const char **ret_end, bool *ret_nothing)
{
	static const struct {
		const char *word;
		gt_node_kind kind;
	} branches[] = {{"if", GT_N_IF}, {"with", GT_N_WITH}, {"range", GT_N_RANGE}};
	if (!skip_space(p))
		return NULL;
	for (size_t i = 0; i < HTH_COUNT(branches); i++)
		if (is_word(p, branches[i].word))
			return advance(p) ? parse_branch(p, branches[i].kind, branches[i].word) : NULL;
	bool is_else = is_word(p, "else");
	if (is_else || is_word(p, "end")) {
		if (top)
			return syntax(p, is_else ? "there is an else without its if" : "there is an end without its beginning");
		if (advance(p))
			*ret_end = is_else ? "else" : "end";
		return NULL;
	}
	if (is_word(p, "break") || is_word(p, "continue")) {
		gt_node_kind kind = p->token.at[0] == 'b' ? GT_N_BREAK : GT_N_CONTINUE;
		return advance(p) ? parse_jump(p, kind) : NULL;
	}
	if (is_word(p, "template") || is_word(p, "block")) {
		bool block = p->token.at[0] == 'b';
		return advance(p) ? parse_template(p, block) : NULL;
	}
	if (is_word(p, "define")) {
		gt_name name = {"", 0};
		if (!top)
			return syntax(p, "define stands inside another block");
		*ret_nothing = advance(p) && parse_name(p, &name) && close_action(p) && parse_body(p, name);
		return NULL;
	}
	gt_node *n = new_node(p, GT_N_ACTION);
	if (n != NULL)
		n->pipe = parse_pipe(p, "an action", GT_RIGHT);
	return n != NULL && n->pipe != NULL ? n : NULL;
}

/* Nodes up to the source's end (top) or an else or end, which *ret_end names; NULL there: an error. */
static gt_node *parse_list(parser *p, bool top, const char **ret_end)
{
	gt_node *first = NULL, **tail = &first;
	*ret_end = NULL;
	for (;;) {
		gt_node *n = NULL;
		bool nothing = false;
		const char *end = NULL;
		if (p->token.kind == GT_END) {
			if (top)
				*ret_end = "end";
			else
				syntax(p, "the template ends inside a block: an end is missing");
			return first;
		}
		if (p->token.kind == GT_TEXT) {
			n = new_node(p, GT_N_TEXT);
			if (n == NULL || (n->text = hth_jj_str_borrow(p->tmpl->arena, p->token.at, p->token.len, JJ_TRUSTED)) == NULL ||
			    !advance(p))
				return NULL;
		} else {
			if (!advance(p)) /* {{ */
				return NULL;
			n = parse_action(p, top, &end, &nothing);
			if (end != NULL) {
				*ret_end = end;
				return first;
			}
			if (nothing)
				continue;
		}
		if (n == NULL)
			return NULL;
		*tail = n;
		tail = &n->next;
	}
}

static bool parse(parser *p)
{
	hth_gotemplate *t = p->tmpl;
	const char *end = NULL;
	uint32_t dollar;
	p->lx = (gt_lexer){.arena = t->arena, .text = t->source, .len = t->source_len, .line = 1, .err = p->err};
	t->definitions = alloc(p, GT_TEMPLATES_MAX * sizeof *t->definitions);
	t->cut = UINT32_MAX;
	if (t->definitions == NULL || !declare(p, (gt_name){"$", 1}, &dollar) || !advance(p))
		return false;
	t->n_definitions = 1;
	t->definitions[0] = (gt_definition){.name = {"", 0}, .defined = true};
	t->definitions[0].body = parse_list(p, true, &end);
	if (end == NULL)
		return false;
	t->end = p->order;
	if (t->names_messages || t->names_response)
		return true;
	/* A template that has no place for the answer has it at its end. */
	gt_node **tail = &t->definitions[0].body;
	while (*tail != NULL)
		tail = &(*tail)->next;
	p->lx = (gt_lexer){.arena = t->arena, .text = "{{ .Response }}", .len = 15, .line = 1, .err = p->err};
	if (!advance(p))
		return false;
	*tail = parse_list(p, true, &end);
	return end != NULL;
}

bool hth_gt_parse(hth_gotemplate *tmpl, hth_error *err)
{
	parser *p = calloc(1, sizeof *p);
	if (p == NULL) {
		hth_fail(err, HTH_NO_MEMORY, "no memory to compile a template");
		return false;
	}
	p->tmpl = tmpl;
	p->err = err;
	bool ok = parse(p);
	if (!ok && err->status == HTH_OK)
		hth_fail(err, HTH_TOO_LARGE, "line %u: the template is too large to compile", p->token.line);
	free(p);
	return ok;
}
