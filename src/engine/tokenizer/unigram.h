/* unigram.h - SentencePiece's unigram language model (T5, XLM-R): of all ways to cut a text into tokens, the likeliest.
 * Normalisation follows the character map that the file carries (tokenizer.ggml.precompiled_charsmap). */
#ifndef HTH_ENGINE_TOKENIZER_UNIGRAM_H
#define HTH_ENGINE_TOKENIZER_UNIGRAM_H

#include "engine/tokenizer/vocab.h"

typedef struct hth_unigram {
	const hth_vocab *vocab;
	hth_trie trie;       /* the bytes of every token that a text can match */
	float unknown_score; /* ten below the lowest score of a normal token */
	int32_t unknown;
	bool add_space_prefix, remove_extra_spaces;
	bool space_inside; /* some token has a space after another character: words are not independent */
	uint32_t *units;   /* the character map's double array (see unigram.c); NULL when there is none */
	size_t n_units;
	char *replacements; /* NUL-terminated strings, one after the other; the last byte is NUL */
	size_t replacements_len;
} hth_unigram;

HTH_MUST_USE hth_status hth_unigram_create(hth_unigram *ret_unigram, const hth_vocab *vocab, const hth_gguf *gguf,
                                           hth_error *err);
void hth_unigram_finish(hth_unigram *unigram);
HTH_MUST_USE hth_status hth_unigram_encode(const hth_unigram *unigram, const char *text, size_t len, hth_tokens *tokens,
                                           hth_error *err);

#endif
