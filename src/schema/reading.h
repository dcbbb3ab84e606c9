/* reading.h - a schema as it is read: a list of alternatives, each with every keyword of one kind merged into one.
 *
 * A place in a document is bound by all of several schemas at once (allOf, $ref beside other keywords, a property
 * declared twice): a `conj`, a set of schema nodes. Reading a conj gives its alternatives (anyOf and oneOf multiplied
 * out); sets are numbered, so that recursion in a schema becomes recursion between numbered rules.
 */
#ifndef HTH_SCHEMA_READING_H
#define HTH_SCHEMA_READING_H

#include "base/buf.h"
#include "json/json.h"
#include "schema/lang.h"

enum {
	TYPE_NULL = 1,
	TYPE_BOOL = 2,
	TYPE_INTEGER = 4,
	TYPE_NUMBER = 8, /* numbers that are no integers; a schema's "number" is both */
	TYPE_STRING = 16,
	TYPE_ARRAY = 32,
	TYPE_OBJECT = 64,
	TYPE_ANY = 127,
};

enum {
	ALTERNATIVES_MAX = 512,
	MEMBERS_MAX = 64, /* schemas that bind one place */
	READ_DEPTH_MAX = 64,
	COMPARE_DEPTH_MAX = 6, /* how deep branches of a oneOf are compared */
	CONJS_MAX = 20000,
	GROUPS_MAX = 32,
	PATTERNS_MAX = 8,
	NO_LIMIT = INT32_MAX,
};

/* Schemas that all hold, sorted by address, each once. */
typedef struct conj {
	const json_t **members;
	size_t n;
} conj;

/* What one schema says about objects: additional counts for keys that are not in its own properties. */
typedef struct object_rules {
	const json_t *properties, *pattern_properties, *additional, *names; /* NULL: not there */
} object_rules;
typedef struct array_rules {
	const json_t *prefix, *items; /* NULL: not there */
} array_rules;

typedef struct alternative {
	unsigned types;
	json_t **values; /* owned list of references: enum or const; NULL: any */
	size_t n_values;
	double min, max;           /* -HUGE_VAL, HUGE_VAL: none */
	bool above_min, below_max; /* exclusive */
	const json_t *multiple[PATTERNS_MAX];
	size_t n_multiple;
	int32_t min_length, max_length, min_items, max_items, min_properties, max_properties;
	const char *patterns[PATTERNS_MAX], *formats[PATTERNS_MAX], *not_patterns[PATTERNS_MAX];
	size_t n_patterns, n_formats, n_not_patterns;
	const json_t *excluded[GROUPS_MAX]; /* lists of values */
	size_t n_excluded;
	array_rules arrays[GROUPS_MAX];
	size_t n_arrays;
	object_rules objects[GROUPS_MAX];
	size_t n_objects;
	const json_t *required[GROUPS_MAX]; /* lists of names */
	size_t n_required;
} alternative;

typedef struct alternatives {
	alternative *list;
	size_t n;
} alternatives;

typedef struct reader {
	const json_t **roots; /* documents that $ref looks into */
	size_t n_roots;
	enum { IDS_UNKNOWN, IDS_NONE, IDS_SOME } ids; /* whether schemas inside the only document have URIs of their own */
	json_t *yes, *no; /* the schemas true and false */
	json_t *made;     /* a list of schemas that were made here */
	unsigned depth, comparing;
	size_t work; /* members read so far: bounds what a hostile schema can cost */
	hth_error *err;
} reader;

HTH_MUST_USE hth_status hth_schema_reader_init(reader *r, hth_error *err);
void hth_schema_reader_finish(reader *r);

HTH_MUST_USE hth_status hth_schema_conj_add(reader *r, conj *c, const json_t *schema);
void hth_schema_conj_finish(conj *c);

/* All alternatives of a conj; those that nothing can satisfy are left out. */
HTH_MUST_USE hth_status hth_schema_read_conj(reader *r, const conj *c, alternatives *ret);
void hth_schema_alternatives_finish(alternatives *a);

/* The schemas that bind a property of this name, or an item at this index, in one alternative. */
HTH_MUST_USE hth_status hth_schema_property_conj(reader *r, const alternative *a, const char *name, conj *ret);
HTH_MUST_USE hth_status hth_schema_item_conj(reader *r, const alternative *a, size_t index, conj *ret);
/* Those of keys that no schema of the alternative declares and that match exactly the patterns whose bit is set,
 * patterns numbered as pattern_at gives them. */
HTH_MUST_USE hth_status hth_schema_additional_conj(reader *r, const alternative *a, unsigned matched, conj *ret);
/* The i-th patternProperties pattern of an alternative, NULL past the last. */
const char *hth_schema_pattern_at(const alternative *a, size_t i);
size_t hth_schema_prefix_length(const alternative *a);

/* What s does not allow, as a schema that lives as long as the reader. HTH_UNSUPPORTED names what has no simple
 * opposite. */
HTH_MUST_USE hth_status hth_schema_negate(reader *r, const json_t *s, const json_t **ret);
HTH_MUST_USE hth_status hth_schema_resolve_reference(reader *r, const json_t *s, const json_t **ret);
/* A keyword that constrains nothing: an annotation, an unknown word, or one of ours with a value that allows
 * everything. */
bool hth_schema_is_idle_keyword(const json_t *schema, const char *key, const json_t *value);

/* Whether a value is in one of the alternative's lists of excluded values. */
bool hth_schema_is_excluded(const alternative *a, const json_t *value);
/* The language of an alternative's strings (length, patterns, formats); *ret_any when nothing binds them. */
HTH_MUST_USE hth_status hth_schema_string_lang(reader *r, const alternative *a, bool *ret_any, hth_lang *ret);
HTH_MUST_USE hth_status hth_schema_pattern_lang(reader *r, const char *pattern, hth_lang *ret);

/* Whether an alternative, or a conj, allows a value. */
HTH_MUST_USE hth_status hth_schema_alternative_accepts(reader *r, const alternative *a, const json_t *value, bool *ret);
HTH_MUST_USE hth_status hth_schema_conj_accepts(reader *r, const conj *c, const json_t *value, bool *ret);
/* Whether no value is in both; false where that is not seen. */
HTH_MUST_USE hth_status hth_schema_alternatives_disjoint(reader *r, const alternatives *a, const alternatives *b,
                                                         bool *ret);

unsigned hth_schema_type_of(const json_t *value); /* one bit */
/* As JSON Schema compares: 1 and 1.0 are one number, objects have no order. */
bool hth_schema_same_value(const json_t *a, const json_t *b);

/* "#/properties/a": where a node stands, for messages. */
const char *hth_schema_place_of(const reader *r, const json_t *node, char out[256]);

/* numbers.c: the pattern (whole-text) of numbers within an alternative's bounds; integers only, or all. Nothing when
 * none. */
HTH_MUST_USE hth_status hth_schema_number_pattern(const alternative *a, bool integers, hth_buf *out, hth_error *err);

static inline bool is_yes(const json_t *s)
{
	return json_is_true(s) || (json_is_object(s) && json_object_size(s) == 0);
}

#endif
