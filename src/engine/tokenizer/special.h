/* special.h - the tokens that are not text: which ids they have, which end an answer, and where a text spells one. */
#ifndef HTH_ENGINE_TOKENIZER_SPECIAL_H
#define HTH_ENGINE_TOKENIZER_SPECIAL_H

#include "engine/tokenizer/vocab.h"

/* tokenizer.ggml.*_token_id over the defaults in ids; an id past the vocabulary is HTH_BAD_FORMAT, a default past it
 * -1. */
HTH_MUST_USE hth_status hth_special_read_ids(hth_vocab *vocab, const hth_gguf *gguf, hth_special_ids *ids,
                                             hth_error *err);
/* Finds end-of-turn by its spelling where the file names none, and gives ATTR_END and ATTR_CONTROL to every token that
 * ends a generation. Before hth_vocab_index. */
void hth_special_detect(hth_vocab *vocab, hth_special_ids *ids);
/* Which special tokens take white space along; files do not say, models are known by name. */
HTH_MUST_USE hth_status hth_special_strip_rules(hth_vocab *vocab, const hth_gguf *gguf, const char *pre,
                                                hth_error *err);

/* A walk over a text's special tokens: leftmost first, the longest at a place. */
typedef struct hth_special_scan {
	const hth_vocab *vocab;
	const char *text;
	size_t len;
	const hth_span *plain; /* no control token, and no user-defined one that looks like markup, may touch these */
	size_t n_plain, next_plain;
	bool parse; /* control tokens count at all */
} hth_special_scan;
/* From `from` on; false when there is none. */
bool hth_special_next(hth_special_scan *scan, size_t from, size_t *ret_begin, size_t *ret_end, int32_t *ret_id);

#endif
