/* grammar-cache.h - a runner's compiled grammars: one vocabulary for all, the texts used lately kept with everything learned while they
 * ran, so that the next request with the same schema or tools finds its masks made.
 *
 * Compiling happens on the thread that borrows (the preparer), running on the scheduler's: whoever has borrowed a grammar may
 * not touch it but on that one thread. Borrowing and giving back may be done by any thread, and giving back never waits for
 * a compilation. What is kept and what is in use is bounded in bytes.
 */
#ifndef HTH_RUNNER_GRAMMAR_CACHE_H
#define HTH_RUNNER_GRAMMAR_CACHE_H

#include "engine/grammar/grammar.h"

typedef struct hth_grammar_cache hth_grammar_cache;
/* tokenizer is borrowed. The vocabulary is made with the first grammar. */
HTH_MUST_USE hth_status hth_grammar_cache_create(hth_grammar_cache **ret_cache, const hth_tokenizer *tokenizer, hth_error *err);
void hth_grammar_cache_destroy(hth_grammar_cache *cache); /* when everything was given back; NULL is fine */

/* special: hth_grammar_use_special. HTH_INVALID, HTH_TOO_LARGE: what is wrong with the text (hth_grammar_compile); HTH_BUSY: grammars
 * in use hold all the memory that they may. */
HTH_MUST_USE hth_status hth_grammar_cache_borrow(hth_grammar_cache *cache, const char *gbnf, bool special, hth_grammar **ret_grammar,
                                                 hth_error *err);
/* After its matchers were destroyed. */
void hth_grammar_cache_give_back(hth_grammar_cache *cache, hth_grammar *grammar);

/* For tests. */
typedef struct hth_grammar_cache_stats {
	size_t kept, in_use, bytes;
	uint64_t compiled, found;
} hth_grammar_cache_stats;
hth_grammar_cache_stats hth_grammar_cache_get_stats(hth_grammar_cache *cache);

#endif
