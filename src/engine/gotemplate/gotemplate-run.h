/* gotemplate-run.h - private to gotemplate: one rendering in progress, its typed values, and what may fail or cost.
 *
 * A value is JSON-like data (jinja-value.h) seen through a Go type: the type gives members their Go names (.Function.Name for
 * function.name), says what a missing one is, and how it prints. Functions that return bool or a value without v have reported their error.
 */
#ifndef HTH_ENGINE_GOTEMPLATE_GOTEMPLATE_RUN_H
#define HTH_ENGINE_GOTEMPLATE_GOTEMPLATE_RUN_H

#include "engine/gotemplate/gotemplate-ast.h"

typedef enum gt_class { GT_C_ANY, GT_C_STRING, GT_C_BOOL, GT_C_INT, GT_C_FLOAT, GT_C_LIST, GT_C_MAP, GT_C_STRUCT, GT_C_WORDS } gt_class;

typedef struct gt_type {
	gt_class class;
	const char *name;            /* Go's, for messages and %T */
	const struct gt_type *item;  /* of lists and maps */
	const struct gt_field *fields;
	uint32_t n_fields;
	bool prints_json;            /* has Go's String() that marshals */
	bool open;                   /* structs: members without a field are part of its JSON; for the root: an unknown name is no error */
} gt_type;

typedef struct gt_field {
	const char *name;         /* Go's */
	const char *key, *key2;   /* of the data; key2 or NULL */
	const gt_type *type;
	bool always;              /* in its JSON even when the data has none */
} gt_field;

/* v is never NULL but for failure. JJ_NONE is Go's nil (only where type is any). */
typedef struct gt_value {
	const gt_type *type;
	jv *v;
} gt_value;

extern const gt_type hth_gt_any, hth_gt_string, hth_gt_bool, hth_gt_int, hth_gt_float, hth_gt_root;

typedef struct gt_variable {
	uint32_t name;
	gt_value value;
} gt_variable;

typedef struct gt_run {
	const hth_gotemplate *tmpl;
	hth_jinja_arena *arena;
	jj_builder *out;
	hth_error *err;
	bool failed;
	uint32_t line; /* for errors */
	uint64_t steps, max_steps;
	unsigned level, max_level, calls, max_calls;
	int64_t now;
	gt_variable *variables;
	uint32_t n_variables, cap_variables;
	uint32_t cut; /* nodes after this one are not there; UINT32_MAX: all are */
} gt_run;

/* --- failing and counting: as jinja-run.h --- */
void *hth_gt_fail(gt_run *r, const char *fmt, ...) HTH_PRINTF(2, 3);
bool hth_gt_charge(gt_run *r, uint64_t cost);
bool hth_gt_charge_bytes(gt_run *r, uint64_t bytes);
bool hth_gt_deeper(gt_run *r); /* pair with r->level-- */

/* --- values --- */
static inline gt_value hth_gt_none(void) { return (gt_value){NULL, NULL}; }
gt_value hth_gt_see(const gt_type *type, jv *v); /* data through a type: what does not fit is the type's zero value */
gt_value hth_gt_nil(gt_run *r);
gt_value hth_gt_truth_value(gt_run *r, bool b);
gt_value hth_gt_int_value(gt_run *r, int64_t i);
gt_value hth_gt_string_value(jv *s);
bool hth_gt_truth(gt_value v);
/* ANY resolved to what the data is: numbers of data are Go's float64. */
gt_class hth_gt_class_of(gt_value v);
bool hth_gt_is_nil(gt_value v);
const char *hth_gt_type_name(gt_value v);
gt_value hth_gt_field_of(gt_run *r, gt_value v, gt_name name);
gt_value hth_gt_item_of(gt_value list, uint32_t i);
/* A map's entries in the order of their keys. */
bool hth_gt_sorted(gt_run *r, jv *dict, const jj_entry **ret_entries, uint32_t *ret_n);
const char *hth_gt_typescript(gt_run *r, gt_value property); /* NULL: failed */

/* --- text --- */
bool hth_gt_put_json(gt_run *r, jj_builder *b, gt_value v);
bool hth_gt_put_plain(gt_run *r, jj_builder *b, gt_value v); /* %v */
jv *hth_gt_printf(gt_run *r, jv *format, const gt_value *args, uint32_t n);
enum { GT_FLOAT_TEXT = 400 };
size_t hth_gt_float_text(double f, char verb, int precision, char out[GT_FLOAT_TEXT]); /* precision -1: as short as is exact */

/* --- functions --- */
typedef struct gt_function {
	const char *name;
	uint32_t min, max; /* arguments */
	gt_value (*fn)(gt_run *r, const gt_value *args, uint32_t n); /* NULL: and, or, which do not evaluate all */
} gt_function;
const gt_function *hth_gt_find_function(const char *name, size_t len);
/* "and", "or" */
bool hth_gt_is_or(const gt_function *fn);

/* --- running --- */
bool hth_gt_execute(gt_run *r, const gt_node *body, gt_value data);
/* As Ollama renders a conversation (vars has messages). */
bool hth_gt_converse(gt_run *r, jv *vars);

#endif
