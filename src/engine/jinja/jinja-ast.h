/* jinja-ast.h - private to jinja: tokens, the tree a template is compiled to, and who makes them.
 *
 * The tree is immutable once compiled and lives in the template's own arena; any number of renderings may read it at once.
 */
#ifndef HTH_ENGINE_JINJA_JINJA_AST_H
#define HTH_ENGINE_JINJA_JINJA_AST_H

#include "engine/jinja/jinja-value.h"

enum {
	JJ_SOURCE_MAX = 1024 * 1024, /* bytes of template text */
	JJ_TREE_MAX = 96 * 1024 * 1024,
	JJ_PARSE_DEPTH = 150 /* brackets, operators before operands and tags inside each other */
};

/* --- tokens --- */
typedef enum jj_token_kind {
	JJ_T_EOF,
	JJ_T_DATA,
	JJ_T_PRINT_BEGIN,
	JJ_T_PRINT_END,
	JJ_T_BLOCK_BEGIN,
	JJ_T_BLOCK_END,
	JJ_T_NAME,
	JJ_T_STRING,
	JJ_T_INT,
	JJ_T_FLOAT,
	JJ_T_OP
} jj_token_kind;

/* Operators are their characters: '+', OP2('=', '=') ... */
#define JJ_OP2(a, b) ((a) | (b) << 8)

typedef struct jj_token {
	jj_token_kind kind;
	uint32_t line, column;
	int op;
	const char *text; /* data, names: in the source; strings: unescaped, in the arena */
	size_t len;
	int64_t i;
	double f;
} jj_token;

typedef struct jj_lexer {
	hth_jinja_arena *arena;
	const char *text;
	size_t len, at;
	enum { JJ_IN_DATA, JJ_IN_PRINT, JJ_IN_BLOCK } mode;
	bool line_starting;        /* only whitespace can precede `at` on its line */
	jj_token_kind pending;     /* the begin token that follows a piece of data */
	unsigned open;             /* brackets open inside a tag */
	char brackets[JJ_PARSE_DEPTH];
	size_t line_at, line_no;   /* where the last place was counted to */
	size_t column;
	hth_error *err;
} jj_lexer;

/* Copies the source with its line ends made \n and the last one removed. */
HTH_MUST_USE hth_status hth_jj_lexer_init(jj_lexer *lx, hth_jinja_arena *arena, const char *source, size_t len,
					  hth_error *err);
HTH_MUST_USE hth_status hth_jj_lex(jj_lexer *lx, jj_token *ret_token);
/* HTH_INVALID with "line L, column C: ..." */
hth_status hth_jj_lex_fail(jj_lexer *lx, uint32_t line, uint32_t column, const char *fmt, ...) HTH_PRINTF(4, 5);

/* --- tree --- */
typedef enum jj_node_type {
	/* expressions */
	JJ_N_CONST,   /* value */
	JJ_N_NAME,    /* id */
	JJ_N_LIST,    /* items */
	JJ_N_TUPLE,   /* items */
	JJ_N_DICT,    /* items: key, value, key, value ... */
	JJ_N_NOT,     /* a */
	JJ_N_NEG,     /* a */
	JJ_N_POS,     /* a */
	JJ_N_BINARY,  /* a op b */
	JJ_N_AND,     /* a, b */
	JJ_N_OR,      /* a, b */
	JJ_N_COMPARE, /* a, then items with ops: a < b <= c */
	JJ_N_CONCAT,  /* items */
	JJ_N_COND,    /* a if b else c (c may be NULL) */
	JJ_N_ATTR,    /* a.value */
	JJ_N_ITEM,    /* a[b] */
	JJ_N_SLICE,   /* only as b of JJ_N_ITEM: a:b:c, each may be NULL */
	JJ_N_CALL,    /* a(call) */
	JJ_N_FILTER,  /* a | fn(call); a NULL: the text of a filter block */
	JJ_N_TEST,    /* a is fn(call) */
	/* statements */
	JJ_N_DATA,       /* value */
	JJ_N_PRINT,      /* a */
	JJ_N_BODY,       /* items */
	JJ_N_SCOPE,      /* items, names set inside stay inside */
	JJ_N_IF,         /* items: test, body, test, body ...; b: else body or NULL */
	JJ_N_FOR,        /* a: target, b: iterable, c: filter or NULL, items[0]: body, items[1]: else body or NULL; flags */
	JJ_N_SET,        /* a: target, b: value */
	JJ_N_SET_BLOCK,  /* a: target, b: filter chain over a NULL or NULL, items: body */
	JJ_N_MACRO,      /* macro */
	JJ_N_CALL_BLOCK, /* macro: the body as caller, a: the call */
	JJ_N_FILTER_BLOCK, /* b: filter chain, items: body */
	JJ_N_WITH,       /* items: target, value, target, value ...; b: body */
	JJ_N_BREAK,
	JJ_N_CONTINUE,
	/* targets */
	JJ_N_NSREF, /* id, value: attribute name */
} jj_node_type;

enum { JJ_FOR_RECURSIVE = 1, JJ_FOR_USES_LOOP = 2 };

typedef struct jj_node jj_node;

typedef struct jj_call_args {
	jj_node **pos;
	jj_node **kw;
	jv **kw_names;
	jj_node *dyn_args, *dyn_kwargs;
	uint32_t n_pos, n_kw;
} jj_call_args;

typedef struct jj_macro_def {
	jv *name;
	uint32_t *ids;     /* parameters */
	jv **names;
	jj_node **defaults; /* NULL where a parameter has none */
	uint32_t n;
	bool uses_caller, uses_varargs, uses_kwargs;
	jj_node *body;
} jj_macro_def;

struct jj_node {
	uint8_t type, flags;
	uint16_t column;
	uint32_t line;
	uint32_t id;
	uint32_t n;
	int op;
	jv *value;
	jj_node *a, *b, *c;
	jj_node **items;
	int *ops;
	union {
		jj_call_args *call;
		jj_macro_def *macro;
	};
	const struct jj_builtin *fn; /* NULL: a filter or test that does not exist, found out when it is reached */
};

struct hth_jinja_template {
	hth_jinja_arena *arena;
	jj_node *body;
	jv **names; /* by id */
	uint32_t n_names;
	uint32_t id_loop, id_caller, id_varargs, id_kwargs;
	const char *source; /* normalised, for the probe */
	size_t source_len;
};

/* --- parser --- */
typedef struct jj_parser {
	jj_lexer lx;
	jj_token token, next; /* next is valid when has_next */
	bool has_next;
	hth_jinja_template *tmpl;
	hth_jinja_value *names; /* dict: name -> id */
	hth_error *err;
	unsigned depth, loops;
	/* An unknown filter is an error of the template, except where a condition guards it: then only when it is reached. */
	bool soft;
	const jj_node *unknown;
	bool uses_loop, uses_caller, uses_varargs, uses_kwargs;
	const char *ends[JJ_PARSE_DEPTH]; /* what each open tag waits for, for messages */
	unsigned n_ends;
	uint32_t tag_line, tag_column; /* of the last block tag seen */
} jj_parser;

/* All parse functions return NULL after filling the error. */
bool hth_jj_advance(jj_parser *p);
bool hth_jj_peek(jj_parser *p, jj_token *ret_token);
jj_node *hth_jj_node(jj_parser *p, jj_node_type type, uint32_t line, uint32_t column);
bool hth_jj_enter(jj_parser *p);
void *hth_jj_parse_fail(jj_parser *p, const char *fmt, ...) HTH_PRINTF(2, 3);
void *hth_jj_parse_fail_at(jj_parser *p, uint32_t line, uint32_t column, const char *fmt, ...) HTH_PRINTF(4, 5);
const char *hth_jj_token_name(const jj_token *t, char out[48]);
bool hth_jj_at_op(const jj_parser *p, int op);
bool hth_jj_at_name(const jj_parser *p, const char *name);
bool hth_jj_expect_op(jj_parser *p, int op, const char *spelled);
bool hth_jj_name_id(jj_parser *p, const char *name, size_t len, uint32_t *ret_id);
jv *hth_jj_token_str(jj_parser *p, const jj_token *t);
/* Growing list of nodes in the arena. */
typedef struct jj_node_list {
	jj_node **items;
	uint32_t n, cap;
} jj_node_list;
bool hth_jj_list_add(jj_parser *p, jj_node_list *list, jj_node *node);

jj_node *hth_jj_parse_expr(jj_parser *p, bool with_cond);
/* end_name: a name that ends the tuple besides the usual tokens, or NULL. */
jj_node *hth_jj_parse_tuple(jj_parser *p, bool with_cond, const char *end_name, bool parenthesised);
jj_node *hth_jj_parse_filters(jj_parser *p, jj_node *first, bool inline_first);
jj_node *hth_jj_parse_unary(jj_parser *p, bool with_filter);
jj_node *hth_jj_parse_target(jj_parser *p, bool with_tuple, bool with_namespace);
jj_call_args *hth_jj_parse_call_args(jj_parser *p);
jj_node *hth_jj_parse_template(jj_parser *p);

#endif
