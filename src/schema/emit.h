/* emit.h - what the writers of rules share: emit.c (everything but objects) and emit-objects.c; nobody else includes it. */
#ifndef HTH_SCHEMA_EMIT_H
#define HTH_SCHEMA_EMIT_H

#include "schema/schema.h"

#include "schema/reading.h"

enum { RULES_MAX = 200000, GRAMMAR_TEXT_MAX = 8 << 20, PLACES_MAX = 2000 /* properties of an object, places of a list */ };

struct hth_schema_set {
	reader r;
	conj *conjs;          /* by number: rule v<number> */
	unsigned char *state; /* by number */
	size_t n_conjs, conj_cap;
	size_t done; /* conjs whose rules are written */
	size_t n_helpers;
	hth_buf out;
};

/* Rules are written to a buffer of their own while the rule that names them is under way. */
struct body {
	hth_schema_set *s;
	hth_buf text;    /* the alternatives of the conj's own rule */
	hth_buf helpers; /* whole rules */
	bool any;        /* an alternative was written */
};

static inline void begin_alternative(struct body *b)
{
	if (b->any)
		hth_buf_append_str(&b->text, " | ");
	b->any = true;
}

/* The number of a rule h<number>, or of rules h<number>-... */
static inline size_t new_helper(struct body *b) { return b->s->n_helpers++; }

/* What is left of a count (NO_LIMIT stays), never below 0. */
static inline int32_t less(int32_t n, size_t by) { return n == NO_LIMIT ? n : (size_t)n > by ? n - (int32_t)by : 0; }

/* The rule v<*ret_number> of a conj, which is consumed, also on failure. *ret_possible: whether any value satisfies it. */
HTH_MUST_USE hth_status hth_schema_rule_of(struct body *b, conj *c, size_t *ret_number, bool *ret_possible);
/* A string value as a GBNF literal of its JSON text. */
void hth_schema_json_literal(const char *s, size_t len, hth_buf *out);
/* Counted repetition of `, RULE<number>`; max NO_LIMIT: any number. */
void hth_schema_repeat(hth_buf *out, const char *rule, size_t number, int32_t min, int32_t max);
/* Writes the objects that an alternative allows as one more alternative of the body; none, where none are. */
HTH_MUST_USE hth_status hth_schema_emit_objects(struct body *b, const alternative *a);

#endif
