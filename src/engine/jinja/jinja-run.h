/* jinja-run.h - private to jinja: one rendering in progress, and the operations on values that may fail, cost or recurse.
 *
 * Every function here that returns jv * returns NULL on failure, with the error already reported (or the arena full).
 */
#ifndef HTH_ENGINE_JINJA_JINJA_RUN_H
#define HTH_ENGINE_JINJA_JINJA_RUN_H

#include "engine/jinja/jinja-ast.h"
#include "engine/jinja/jinja-builtin.h"

enum {
	JJ_RANGE_MAX = 100000,   /* as Jinja's sandbox */
	JJ_PER_CHAR = 32,        /* what a step on a character costs, in bytes copied */
	JJ_LEVELS_PER_CALL = 16, /* recursion of the interpreter itself, per call that max_depth allows */
};

typedef struct jj_binding {
	uint32_t id;
	jv *value;
} jj_binding;

/* Names that a loop's body, a macro, a with or a block sets. A macro keeps the scope it was defined in. */
typedef struct jj_scope {
	struct jj_scope *parent;
	jj_binding *vars;
	uint32_t n, cap;
	bool captured;
} jj_scope;

struct jj_macro {
	const jj_macro_def *def;
	jj_scope *scope;
};

typedef struct jj_loop {
	const jj_node *node;
	jj_scope *outer;
	jv **items;
	uint32_t n, at, depth; /* depth from 0 */
	jv *changed;           /* the last arguments of loop.changed */
} jj_loop;

typedef struct jj_run {
	hth_jinja_arena *arena;
	const hth_jinja_template *tmpl;
	jv *vars;
	jv **globals; /* by name id: found in vars or among the built-in functions */
	jj_scope *scope;
	jj_builder *out;
	const jj_node *at; /* for errors */
	hth_error *err;
	bool failed;
	uint64_t steps, max_steps;
	unsigned calls, max_calls, level, max_level;
	int64_t now;
} jj_run;

/* --- failing and counting --- */
/* HTH_INVALID "line L: ...". Only the first error of a rendering counts. */
void hth_jj_note(jj_run *r, const char *fmt, ...) HTH_PRINTF(2, 3);
void hth_jj_note_plain(jj_run *r, hth_status status, const char *fmt, ...) HTH_PRINTF(3, 4);
/* The same as what a function returns, NULL or false. Macros, so that whoever reads one file at a time knows that it is. */
#define hth_jj_fail(...) (hth_jj_note(__VA_ARGS__), (void *)NULL)
#define hth_jj_fail_plain(...) (hth_jj_note_plain(__VA_ARGS__), (void *)NULL)
#define hth_jj_fail_undefined(r, v) (hth_jj_note_undefined((r), (v)), (void *)NULL)
void hth_jj_note_undefined(jj_run *r, jv *undefined); /* what jinja-value.h's text of it says */
/* Charges `cost` steps; false when they are used up. */
bool hth_jj_charge(jj_run *r, uint64_t cost);
/* Charges for copying or searching that many bytes; callers that work on each byte say many times as many. */
bool hth_jj_charge_bytes(jj_run *r, uint64_t bytes);
/* Into a deeper level of recursion; pair with r->level--. */
bool hth_jj_deeper(jj_run *r);

/* --- what values are --- */
const char *hth_jj_type_name(jv *v);                 /* 'str', 'NoneType', as Python's messages have it */
bool hth_jj_truth(jv *v);
bool hth_jj_as_int(jv *v, int64_t *ret);             /* ints and bools */
bool hth_jj_is_number(jv *v);                        /* ints, bools, floats */
double hth_jj_as_double(jv *v);
bool hth_jj_equal(jj_run *r, jv *a, jv *b, bool *ret);
/* -1, 0, 1 as Python orders them; false and an error that names op where it does not. */
bool hth_jj_order(jj_run *r, jv *a, jv *b, const char *op, int *ret);
bool hth_jj_contains(jj_run *r, jv *container, jv *item, bool *ret);
/* Number of items; false when v has none (no error is reported). */
bool hth_jj_length(jv *v, size_t *ret);
jv *hth_jj_undefined(jj_run *r, const char *fmt, ...) HTH_PRINTF(2, 3);

/* --- text of values --- */
jv *hth_jj_to_str(jj_run *r, jv *v);  /* Python's str(); strings as they are */
jv *hth_jj_repr(jj_run *r, jv *v);
bool hth_jj_put_text(jj_run *r, jj_builder *b, jv *v); /* appends str(v) */
size_t hth_jj_float_text(double f, char out[40]);
typedef struct jj_json_style {
	int indent;        /* -1: one line */
	jv *indent_text;   /* instead of spaces, or NULL */
	const char *item_separator, *key_separator;
	size_t item_separator_len, key_separator_len;
	bool ascii, sort_keys;
} jj_json_style;
jv *hth_jj_json(jj_run *r, jv *v, const jj_json_style *style);
jv *hth_jj_escape(jj_run *r, jv *str); /* HTML; the result is markup */

/* --- operators --- */
jv *hth_jj_binary(jj_run *r, int op, jv *a, jv *b);
jv *hth_jj_percent_format(jj_run *r, jv *format, jv *args);
jv *hth_jj_str_format(jj_run *r, jv *format, const jj_args *args);
jv *hth_jj_format_spec(jj_run *r, jv *value, const char *spec, size_t len);
jv *hth_jj_repeat(jj_run *r, jv *v, int64_t times);

/* --- items and attributes --- */
/* The items of anything iterable, shared with v where it has them; an iterator is used up. Error when not iterable. */
bool hth_jj_items(jj_run *r, jv *v, jv ***ret_items, uint32_t *ret_n);
jv *hth_jj_attr(jj_run *r, jv *v, jv *name);     /* v.name */
jv *hth_jj_item(jj_run *r, jv *v, jv *key);      /* v[key] */
jv *hth_jj_slice_value(jj_run *r, jv *v, jv *start, jv *stop, jv *step); /* NULL pointers: left out */
jv *hth_jj_method(jj_run *r, jv *self, const jj_builtin *fn);
hth_jinja_value *hth_jj_tuple2(jj_run *r, jv *a, jv *b);
hth_jinja_value *hth_jj_iter(jj_run *r, const char *what); /* an empty generator to append to */

/* --- calling --- */
jv *hth_jj_call(jj_run *r, jv *callee, const jj_args *args);
jv *hth_jj_call_builtin(jj_run *r, const jj_builtin *fn, jv *self, const jj_args *args);
/* Applies the filter or test of that name, as map and select do. */
jv *hth_jj_apply_filter(jj_run *r, jv *name, jv *self, const jj_args *args);
jv *hth_jj_apply_test(jj_run *r, jv *name, jv *self, const jj_args *args);
jv *hth_jj_loop_attr(jj_run *r, jv *loop, jv *name); /* NULL without an error when a loop has no such attribute */
jv *hth_jj_macro_call(jj_run *r, jv *macro, const jj_args *args);
jv *hth_jj_loop_call(jj_run *r, jv *loop, const jj_args *args);
jv *hth_jj_strftime(jj_run *r, jv *format);

/* --- running --- */
jv *hth_jj_eval(jj_run *r, const jj_node *node);
typedef enum jj_flow { JJ_NEXT, JJ_BREAK, JJ_CONTINUE, JJ_FAILED } jj_flow;
jj_flow hth_jj_exec(jj_run *r, const jj_node *node);
bool hth_jj_assign(jj_run *r, const jj_node *target, jv *value);
bool hth_jj_bind(jj_run *r, jj_scope *scope, uint32_t id, jv *value);
jv *hth_jj_lookup(jj_run *r, uint32_t id);
/* Evaluates a call's arguments; the first n_before positional ones are left free. */
bool hth_jj_eval_args(jj_run *r, const jj_call_args *call, jj_args *ret_args);

#endif
