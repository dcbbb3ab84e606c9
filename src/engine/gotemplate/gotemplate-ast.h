/* gotemplate-ast.h - private to gotemplate: tokens, and the tree that a template is compiled to.
 *
 * The tree is immutable once compiled and lives in the template's own arena; any number of renderings may read it at once.
 */
#ifndef HTH_ENGINE_GOTEMPLATE_GOTEMPLATE_AST_H
#define HTH_ENGINE_GOTEMPLATE_GOTEMPLATE_AST_H

#include "engine/gotemplate/gotemplate.h"
#include "engine/jinja/jinja-value.h"

enum {
	GT_NEST_MAX = 200,     /* blocks and parentheses inside each other, while parsing */
	GT_TEMPLATES_MAX = 256, /* defined by one source */
	GT_VARIABLES_MAX = 4096,
};

typedef enum gt_token_kind {
	GT_END, GT_TEXT, GT_LEFT, GT_RIGHT, GT_SPACE, GT_WORD, GT_FIELD, GT_DOT, GT_VARIABLE, GT_STRING, GT_INT, GT_FLOAT, GT_PIPE, GT_OPEN,
	GT_CLOSE, GT_COMMA, GT_SET, GT_DECLARE
} gt_token_kind;

typedef struct gt_token {
	gt_token_kind kind;
	uint32_t line;
	const char *at; /* in the source; text, names ('$' included, a field's '.' not) */
	size_t len;
	jv *value;      /* GT_STRING decoded, GT_INT, GT_FLOAT */
} gt_token;

/* A plain scanner: copy it to look ahead. */
typedef struct gt_lexer {
	hth_jinja_arena *arena;
	const char *text;
	size_t len, at;
	uint32_t line;
	unsigned parens;
	bool inside;    /* an action */
	bool trim_left; /* the text that follows begins after its white space */
	hth_error *err;
} gt_lexer;

/* False with err set ("line L: ..."). */
HTH_MUST_USE bool hth_gt_lex(gt_lexer *lx, gt_token *ret_token);
void *hth_gt_syntax(hth_error *err, uint32_t line, const char *fmt, ...) HTH_PRINTF(3, 4);

struct gt_pipe;
struct gt_function;

typedef struct gt_name {
	const char *data;
	uint32_t len;
} gt_name;

typedef enum gt_operand_kind {
	GT_O_DOT, GT_O_NIL, GT_O_CONSTANT, GT_O_FIELD, GT_O_VARIABLE, GT_O_FUNCTION, GT_O_PIPE
} gt_operand_kind;

/* One word of a command, with the fields that follow it (.A.B, $x.A.B, (pipe).A.B). */
typedef struct gt_operand {
	gt_operand_kind kind;
	jv *constant; /* a string, number or bool */
	const struct gt_function *function;
	const struct gt_pipe *pipe;
	uint32_t variable; /* a number in the template's names */
	uint32_t n_fields;
	gt_name *fields;
} gt_operand;

typedef struct gt_command {
	struct gt_command *next;
	uint32_t n;
	gt_operand *words;
} gt_command;

typedef struct gt_pipe {
	uint32_t line, n_variables;
	uint32_t variables[2];
	bool assigns; /* = and not := */
	gt_command *commands;
} gt_pipe;

typedef enum gt_node_kind { GT_N_TEXT, GT_N_ACTION, GT_N_IF, GT_N_WITH, GT_N_RANGE, GT_N_TEMPLATE, GT_N_BREAK, GT_N_CONTINUE } gt_node_kind;

typedef struct gt_node {
	gt_node_kind kind;
	uint32_t line;
	uint32_t order; /* place in the source, for rendering up to .Response */
	struct gt_node *next;
	jv *text;       /* GT_N_TEXT: trusted */
	gt_name name;   /* GT_N_TEMPLATE */
	gt_pipe *pipe;  /* NULL: {{template "x"}} alone */
	struct gt_node *list, *otherwise;
} gt_node;

typedef struct gt_definition {
	gt_name name;
	gt_node *body;
	bool defined;
} gt_definition;

struct hth_gotemplate {
	hth_jinja_arena *arena;
	const char *source;
	size_t source_len;
	gt_definition *definitions; /* the first is the source's own */
	uint32_t n_definitions;
	bool names_messages, names_response, names_suffix;
	uint32_t cut; /* order of the first action with .Response */
	uint32_t end; /* order of the last node of the source: behind it is only the .Response that it lacks */
};

/* Fills the template's definitions. False with err set. */
HTH_MUST_USE bool hth_gt_parse(hth_gotemplate *tmpl, hth_error *err);

#endif
