/* pretokenize.h - how BPE vocabularies cut a text into words before merging: one table of the names that
 * tokenizer.ggml.pre carries, each with the patterns that its models were trained with.
 *
 * A name stands for a list of steps; each step cuts every piece of the step before it into its matches and what lies
 * between them. Patterns are matched by PCRE2 (JIT where the process may make code, its interpreter otherwise), with
 * match limits.
 */
#ifndef HTH_ENGINE_TOKENIZER_PRETOKENIZE_H
#define HTH_ENGINE_TOKENIZER_PRETOKENIZE_H

#include "base/status.h"

enum {                        /* what else a name says about its vocabulary */
       PRE_IGNORE_MERGES = 1, /* a word that is a token is that token, whatever its merges say */
       PRE_ADD_BOS = 2,       /* unless the file says otherwise */
       PRE_TEXT = 4,          /* merges work on UTF-8 text with ▁ for a space, not on GPT-2's byte alphabet */
       PRE_FORCE_BOS = 8,     /* whatever the file says */
       PRE_LINES_WHOLE = 16,  /* a run of newlines that is a token is that token */
};

typedef struct hth_pretokenizer hth_pretokenizer; /* immutable, shareable */

/* HTH_UNSUPPORTED names the unknown name. */
HTH_MUST_USE hth_status hth_pretokenizer_create(hth_pretokenizer **ret_pre, const char *name, size_t name_len,
                                                hth_error *err);
void hth_pretokenizer_destroy(hth_pretokenizer *pre);
unsigned hth_pretokenizer_flags(const hth_pretokenizer *pre);
/* The i-th name of the table; false past its end. */
bool hth_pretokenizer_name(size_t i, char out[64]);

/* Gives the pieces of text in order; a status other than HTH_OK from `piece` ends the walk and is returned. Bytes that
 * are not UTF-8 become pieces of their own. */
typedef hth_status hth_piece_fn(void *user, const char *piece, size_t len, hth_error *err);
HTH_MUST_USE hth_status hth_pretokenizer_split(const hth_pretokenizer *pre, const char *text, size_t len,
                                               hth_piece_fn *piece, void *user, hth_error *err);

#endif
