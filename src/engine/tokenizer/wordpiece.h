/* wordpiece.h - BERT's tokenizer: words in a normal form, each cut greedily into the longest pieces of the vocabulary.
 * In a GGUF file a piece that begins a word is spelled "▁word" and one that goes on is spelled without its "##". */
#ifndef HTH_ENGINE_TOKENIZER_WORDPIECE_H
#define HTH_ENGINE_TOKENIZER_WORDPIECE_H

#include "engine/tokenizer/vocab.h"

typedef struct hth_wordpiece {
	const hth_vocab *vocab;
	hth_trie trie; /* the bytes of every token that a text can match */
	int32_t unknown;
	bool lower, strip_accents;
} hth_wordpiece;

HTH_MUST_USE hth_status hth_wordpiece_create(hth_wordpiece *ret_wordpiece, const hth_vocab *vocab, hth_error *err);
void hth_wordpiece_finish(hth_wordpiece *wordpiece);
HTH_MUST_USE hth_status hth_wordpiece_encode(const hth_wordpiece *wordpiece, const char *text, size_t len,
                                             hth_tokens *tokens, hth_error *err);

/* The tree of every token that a text can match; unigram.c uses it too. */
HTH_MUST_USE hth_status hth_vocab_match_tree(const hth_vocab *vocab, hth_trie *ret_trie, hth_error *err);

#endif
