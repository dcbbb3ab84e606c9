/* jinja-value.h - private to the template languages (jinja, gotemplate): what a value is, where it lives, and how strings carry their
 * marks.
 *
 * Values are immutable once another value can see them, except namespaces, iterators, cyclers and joiners, which templates
 * change on purpose. All live in the arena of one rendering (constants: in the template's own). A function that makes a value
 * returns NULL when the arena is full; nothing else about a full arena needs to be reported, hth_jinja_render does.
 */
#ifndef HTH_ENGINE_JINJA_JINJA_VALUE_H
#define HTH_ENGINE_JINJA_JINJA_VALUE_H

#include "engine/jinja/jinja.h"

#include <string.h>

typedef const hth_jinja_value jv;

typedef enum jj_kind {
	JJ_UNDEFINED,
	JJ_NONE,
	JJ_BOOL,
	JJ_INT,
	JJ_FLOAT,
	JJ_STRING,
	JJ_LIST,
	JJ_TUPLE,
	JJ_DICT,
	JJ_NAMESPACE,
	JJ_RANGE,
	JJ_ITER,     /* a generator: one pass */
	JJ_VIEW,     /* dict.keys(), .values(), .items() */
	JJ_FUNCTION, /* range, dict, namespace ... */
	JJ_METHOD,   /* a method bound to its object */
	JJ_MACRO,
	JJ_LOOP,
	JJ_CYCLER,
	JJ_JOINER,
	JJ_KIND_COUNT
} jj_kind;

typedef enum jj_taint { JJ_TRUSTED, JJ_INPUT, JJ_MIXED } jj_taint;

/* Bytes [begin, end) of a string came from input. Sorted, not touching each other. */
typedef struct jj_mark {
	uint32_t begin, end;
} jj_mark;

/* Room behind a string that was made by concatenation: the next concatenation to it may grow in place, so that
 * `ns.text = ns.text + piece` in a loop costs the length of the pieces and not its square. */
typedef struct jj_tail {
	char *data;
	uint32_t used, cap;
} jj_tail;

typedef struct jj_entry {
	jv *key, *value; /* key NULL: removed (dict literals never remove) */
	uint64_t hash;
} jj_entry;

typedef struct jj_dict {
	jj_entry *entries; /* insertion order */
	uint32_t n, cap;
	uint32_t *index; /* open addressing over entry numbers + 1; NULL while small */
	uint32_t index_cap;
} jj_dict;

struct jj_builtin;
struct jj_macro;
struct jj_loop;

struct hth_jinja_value {
	uint8_t kind;  /* jj_kind */
	uint8_t taint; /* strings: jj_taint */
	bool markup;   /* strings: went through `safe` or `escape`, so `+` escapes its other side, as markupsafe does */
	bool flag;     /* bools: the value; tuples: (grouper, list) of groupby; joiners: called before */
	union {
		int64_t i;
		double f;
		struct {
			const char *data; /* no NUL at the end is promised */
			uint32_t len, chars;
			uint32_t n_marks;
			const jj_mark *marks; /* only when JJ_MIXED */
			jj_tail *tail;
		} s;
		struct {
			jv **items;
			uint32_t n, cap;
			uint32_t at;      /* iterators and cyclers: the next item */
			const char *what; /* iterators: what Python would call it */
		} list;
		jj_dict *dict; /* dicts and namespaces */
		struct {
			int64_t start, stop, step;
		} range;
		struct {
			jv *dict;
			char what; /* 'k', 'v' or 'i' */
		} view;
		struct {
			const struct jj_builtin *fn;
			jv *self;
		} fn;
		struct jj_macro *macro;
		struct jj_loop *loop;
		jv *text; /* undefined: the message; joiner: the separator */
	};
};

/* --- arena --- */
void *hth_jj_alloc(hth_jinja_arena *arena, size_t size); /* zeroed, 16-byte aligned */
bool hth_jj_arena_full(const hth_jinja_arena *arena);

/* --- making values --- */
hth_jinja_value *hth_jj_new(hth_jinja_arena *arena, jj_kind kind);
jv *hth_jj_str(hth_jinja_arena *arena, const char *cstr); /* trusted; the bytes are not copied */
/* Borrows data, which must live as long as the arena. */
jv *hth_jj_str_borrow(hth_jinja_arena *arena, const char *data, size_t len, jj_taint taint);
hth_jinja_value *hth_jj_seq(hth_jinja_arena *arena, jj_kind kind, size_t n); /* list, tuple or iterator of n NULL items */
bool hth_jj_append(hth_jinja_arena *arena, hth_jinja_value *list, jv *item);

/* --- dicts: keys are strings, numbers, none, bools or tuples of these --- */
bool hth_jj_hashable(jv *key);
bool hth_jj_key_eq(jv *a, jv *b);
bool hth_jj_dict_put(hth_jinja_arena *arena, jj_dict *dict, jv *key, jv *value);
jv *hth_jj_dict_get(const hth_jinja_arena *arena, const jj_dict *dict, jv *key);
jv *hth_jj_dict_get_str(const hth_jinja_arena *arena, const jj_dict *dict, const char *key, size_t len);

/* --- strings --- */
static inline bool hth_jj_is_str(jv *v, const char *s)
{
	return v->kind == JJ_STRING && v->s.len == strlen(s) && memcmp(v->s.data, s, v->s.len) == 0;
}
size_t hth_jj_count_chars(const char *data, size_t len);
/* Byte offset of the character numbered `index` (0 to chars). */
size_t hth_jj_char_at(jv *s, size_t index);
/* Bytes [begin, end) with their marks; shares the bytes. */
jv *hth_jj_slice(hth_jinja_arena *arena, jv *s, size_t begin, size_t end);
jv *hth_jj_concat(hth_jinja_arena *arena, jv *a, jv *b);
int hth_jj_str_cmp(jv *a, jv *b); /* by code point, which in UTF-8 is by byte */
/* Offset of needle in s at or after from, SIZE_MAX when absent. */
size_t hth_jj_find(jv *s, jv *needle, size_t from);
size_t hth_jj_rfind(jv *s, jv *needle, size_t end);

/* A string in the making. A failed builder stays failed; hth_jj_done then gives NULL. */
typedef struct jj_builder {
	hth_jinja_arena *arena;
	char *data;
	jj_mark *marks;
	uint32_t len, cap, n_marks, cap_marks;
	size_t max;    /* 0: only the arena's limit */
	bool failed;   /* no room in the arena */
	bool too_long; /* over max */
} jj_builder;

jj_builder hth_jj_builder(hth_jinja_arena *arena);
bool hth_jj_put(jj_builder *b, const char *data, size_t len, bool input);
bool hth_jj_put_cstr(jj_builder *b, const char *s); /* trusted */
bool hth_jj_put_slice(jj_builder *b, jv *s, size_t begin, size_t end);
bool hth_jj_put_str(jj_builder *b, jv *s);
bool hth_jj_put_cp(jj_builder *b, uint32_t cp, bool input);
/* Marks every byte as input. */
void hth_jj_mark_all(jj_builder *b);
jv *hth_jj_done(jj_builder *b);
/* Its text and marks as a rendering's output, copied. */
HTH_MUST_USE hth_status hth_jj_give_output(const jj_builder *b, hth_jinja_output *ret_output, hth_error *err);
/* True when any of bytes [begin, end) of s is input. */
bool hth_jj_is_input(jv *s, size_t begin, size_t end);

#endif
