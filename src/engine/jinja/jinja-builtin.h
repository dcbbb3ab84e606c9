/* jinja-builtin.h - private to jinja: how filters, tests, methods and global functions are declared and found. */
#ifndef HTH_ENGINE_JINJA_JINJA_BUILTIN_H
#define HTH_ENGINE_JINJA_JINJA_BUILTIN_H

#include "engine/jinja/jinja-value.h"

struct jj_run;

enum { JJ_PARAMS_MAX = 8 };

/* The arguments of one call after they were evaluated. */
typedef struct jj_args {
	jv **pos;
	jv **kw_names, **kw;
	uint32_t n_pos, n_kw;
} jj_args;

typedef struct jj_builtin {
	const char *name;
	/* Parameters by name, "a,b,c?" where ? is optional. "*": the function reads args itself. */
	const char *params;
	/* self is what a filter or test applies to, or a method's object. p holds one value or NULL for each parameter.
	 * Returns NULL on an error that it has reported, or when the arena is full. */
	jv *(*fn)(struct jj_run *r, jv *self, jv **p, const jj_args *args);
} jj_builtin;

const jj_builtin *hth_jj_find_filter(const char *name, size_t len);
const jj_builtin *hth_jj_find_test(const char *name, size_t len);
/* A method of a value of this kind, NULL when it has none of that name. */
const jj_builtin *hth_jj_find_method(jj_kind kind, const char *name, size_t len);
const jj_builtin *hth_jj_find_str_method(const char *name, size_t len);
const jj_builtin *hth_jj_find_global(const char *name, size_t len);
/* True for methods that Python's objects have and that would change them. */
bool hth_jj_is_mutator(jj_kind kind, const char *name, size_t len);

const jj_builtin *hth_jj_search(const jj_builtin *table, size_t n, const char *name, size_t len);
#define JJ_SEARCH(table, name, len) hth_jj_search(table, sizeof(table) / sizeof((table)[0]), name, len)

/* --- what methods and filters share (jinja-methods.c) --- */
/* chars NULL: whitespace. sides: 1 left, 2 right, 3 both. */
jv *hth_jj_strip(struct jj_run *r, jv *s, jv *chars, int sides);
jv *hth_jj_replace(struct jj_run *r, jv *s, jv *old, jv *with, int64_t count); /* count < 0: all */
typedef enum jj_case { JJ_UPPER, JJ_LOWER, JJ_CAPITALIZE, JJ_TITLE, JJ_SWAP, JJ_JINJA_TITLE } jj_case;
jv *hth_jj_case(struct jj_run *r, jv *s, jj_case to);
/* Splits at line ends; keep: with them. A list. */
hth_jinja_value *hth_jj_splitlines(struct jj_run *r, jv *s, bool keep);
jv *hth_jj_rsplit(struct jj_run *r, jv *s, jv *sep, int64_t max);
jv *hth_jj_pad(struct jj_run *r, jv *s, int64_t width, jv *fill, int align); /* align: -1 left, 0 centre, 1 right */
jv *hth_jj_join(struct jj_run *r, jv *sep, jv *const *items, uint32_t n, bool any_type);

/* --- reading arguments: *ret keeps its value when v is NULL; `what` names the argument in the error --- */
bool hth_jj_arg_int(struct jj_run *r, jv *v, const char *what, int64_t *ret);
bool hth_jj_arg_str(struct jj_run *r, jv *v, const char *what, jv **ret);
jv *hth_jj_need_str(struct jj_run *r, jv *v, const char *what); /* v itself, which is there; NULL: no string */

#endif
