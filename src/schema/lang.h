/* lang.h - regular languages over characters as deterministic automata: patterns, lists of strings, lengths, and what
 * they have in common. schema turns every lexical keyword into one of these, so that any of them can be combined. */
#ifndef HTH_SCHEMA_LANG_H
#define HTH_SCHEMA_LANG_H

#include "base/buf.h"

#include <stdint.h>

enum { HTH_LANG_STATES_MAX = 50000, HTH_LANG_FOREVER = INT32_MAX };

typedef struct hth_lang_step {
	uint32_t lo, hi, to; /* characters lo to hi lead to state `to` */
} hth_lang_step;
typedef struct hth_lang_state {
	uint32_t first, n; /* in steps: sorted, apart from each other */
	bool accepts;
} hth_lang_state;
/* State 0 is the beginning. Every state leads to an accepting one, except state 0 of the empty language. */
typedef struct hth_lang {
	hth_lang_state *states;
	hth_lang_step *steps;
	size_t n_states, n_steps, state_cap, step_cap;
} hth_lang;

void hth_lang_finish(hth_lang *lang);
bool hth_lang_is_empty(const hth_lang *lang);
bool hth_lang_matches(const hth_lang *lang, const char *text, size_t len);

/* Every ret_lang is a new language; HTH_TOO_LARGE past HTH_LANG_STATES_MAX. */
/* ECMA-262 regular expression, found anywhere in the text unless anchored, as JSON Schema has it. HTH_UNSUPPORTED names
 * what is not regular or not done (look-around, back references, \b, \p); HTH_INVALID what is no pattern. */
HTH_MUST_USE hth_status hth_lang_pattern(hth_lang *ret_lang, const char *pattern, size_t len, hth_error *err);
HTH_MUST_USE hth_status hth_lang_strings(hth_lang *ret_lang, const char *const *strings, size_t n, hth_error *err);
/* Texts of min to max characters (HTH_LANG_FOREVER: no limit) of lang. */
HTH_MUST_USE hth_status hth_lang_bounded(hth_lang *ret_lang, const hth_lang *lang, int32_t min, int32_t max,
                                         hth_error *err);
HTH_MUST_USE hth_status hth_lang_all(hth_lang *ret_lang, hth_error *err);
/* In a and (negate_b: not) in b. */
HTH_MUST_USE hth_status hth_lang_both(hth_lang *ret_lang, const hth_lang *a, const hth_lang *b, bool negate_b,
                                      hth_error *err);
/* Decimal integers without sign or leading zeros that k divides (k > 0), and "0". */
HTH_MUST_USE hth_status hth_lang_multiples(hth_lang *ret_lang, uint32_t k, hth_error *err);

/* The name of the rule for "any character that JSON must escape", which whoever uses emit_string defines. */
#define HTH_LANG_ESCAPE "escaped"
/* GBNF rules `prefix0`, `prefix1` ...: as the inside of a JSON string with its closing quote (characters escaped as
 * JSON wants them, in one way each), or as they are. */
void hth_lang_emit_string(const hth_lang *lang, const char *prefix, hth_buf *out);
void hth_lang_emit_raw(const hth_lang *lang, const char *prefix, hth_buf *out);

/* For builders in this folder: adds a state; adds a step to the state added last (in order). False: no room. */
bool hth_lang_add_state(hth_lang *lang, bool accepts);
bool hth_lang_add_step(hth_lang *lang, uint32_t lo, uint32_t hi, uint32_t to);
/* Drops states that cannot be reached or lead nowhere; the last act of every builder. */
HTH_MUST_USE hth_status hth_lang_trim(hth_lang *lang, hth_error *err);
HTH_MUST_USE hth_status hth_lang_too_large(hth_error *err);

#endif
