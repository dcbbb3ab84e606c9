/* wordpiece.c - one pass over the text: each character is normalised, and words are matched as they end.
 * Source: the BERT paper's reference tokenizer (basic tokenizer, then WordPiece). Accents are stripped by canonical
 * decomposition without nonspacing marks; Chinese characters and punctuation are words of their own. */
#include "engine/tokenizer/wordpiece.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "engine/tokenizer/merge.h"
#include "engine/tokenizer/unicode.h"

enum { MAX_WORD = 1 << 16 }; /* bytes; longer words are unknown */

hth_status hth_vocab_match_tree(const hth_vocab *v, hth_trie *ret_trie, hth_error *err)
{
	HTH_AUTO_FREE hth_trie_entry *entries = hth_alloc_array(v->n, sizeof *entries);
	if (entries == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the index of %zu tokens", v->n);
	size_t n = 0;
	for (size_t i = 0; i < v->n; i++)
		if (!(v->attr[i] & (ATTR_NO_TEXT | ATTR_BYTE)))
			entries[n++] = (hth_trie_entry){hth_vocab_bytes(v, (int32_t)i), (int32_t)i};
	return hth_trie_build(ret_trie, entries, n, err);
}

hth_status hth_wordpiece_create(hth_wordpiece *w, const hth_vocab *vocab, hth_error *err)
{
	w->vocab = vocab;
	return hth_vocab_match_tree(vocab, &w->trie, err);
}

void hth_wordpiece_finish(hth_wordpiece *w)
{
	hth_trie_finish(&w->trie);
}

/* BERT's CJK ranges, with the slip (2B920 for 2B820) that the reference implementation and its models have. */
static bool is_chinese(uint32_t cp)
{
	return cp >= 0x3400 &&
	       ((cp >= 0x4E00 && cp <= 0x9FFF) || (cp <= 0x4DBF) || (cp >= 0x20000 && cp <= 0x2A6DF) ||
	        (cp >= 0x2A700 && cp <= 0x2B73F) || (cp >= 0x2B740 && cp <= 0x2B81F) ||
	        (cp >= 0x2B920 && cp <= 0x2CEAF) || (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F));
}

static bool is_ascii_symbol(uint32_t cp)
{
	return cp < 0x80 && cp > 0x20 && cp != 0x7F &&
	       !((cp >= '0' && cp <= '9') || ((cp | 32) >= 'a' && (cp | 32) <= 'z'));
}

/* Ends the word in `word` (which begins with the space that stands for "a word begins"): its tokens, or one unknown. */
static hth_status end_word(const hth_wordpiece *w, hth_buf *word, hth_tokens *tokens, hth_error *err)
{
	if (word->len <= 1 && !word->failed)
		return HTH_OK;
	size_t first = tokens->len;
	bool known = !word->failed && w->trie.nodes != NULL;
	for (size_t i = 0; known && i < word->len;) {
		uint32_t node = 0;
		int32_t best = -1;
		size_t best_end = i;
		for (size_t j = i; j < word->len && (node = hth_trie_step(&w->trie, node, (uint8_t)word->data[j])) != 0;
		     j++)
			if (w->trie.nodes[node].value >= 0) {
				best = w->trie.nodes[node].value;
				best_end = j + 1;
			}
		known = best >= 0;
		if (known)
			HTH_TRY(hth_tokens_add(tokens, best, err));
		i = best_end;
	}
	if (!known) {
		tokens->len = first;
		if (w->unknown >= 0)
			HTH_TRY(hth_tokens_add(tokens, w->unknown, err));
	}
	hth_buf_clear(word);
	hth_buf_append_char(word, ' ');
	return HTH_OK;
}

static hth_status add_char(const hth_wordpiece *w, uint32_t cp, hth_buf *word, hth_tokens *tokens, hth_error *err)
{
	char utf8[4];
	size_t n = hth_utf8_encode(w->lower ? hth_unicode_lower(cp) : cp, utf8);
	bool alone = hth_unicode_is_punctuation(cp) || is_ascii_symbol(cp) || is_chinese(cp);
	if (alone)
		HTH_TRY(end_word(w, word, tokens, err));
	hth_buf_append(word, utf8, n);
	return alone ? end_word(w, word, tokens, err) : HTH_OK;
}

hth_status hth_wordpiece_encode(const hth_wordpiece *w, const char *text, size_t len, hth_tokens *tokens,
                                hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf word = HTH_BUF_INIT(MAX_WORD);
	hth_buf_append_char(&word, ' ');
	for (size_t i = 0; i < len;) {
		uint32_t cp, bases[3];
		i += hth_utf8_decode_lossy(text + i, len - i, &cp);
		if (hth_unicode_is_space(cp)) {
			HTH_TRY(end_word(w, &word, tokens, err));
			continue;
		}
		if (cp == 0xFFFD || hth_unicode_is_control(cp))
			continue;
		size_t n = 1;
		bases[0] = cp;
		if (w->strip_accents)
			n = hth_unicode_bases(cp, bases);
		for (size_t k = 0; k < n; k++)
			HTH_TRY(add_char(w, bases[k], &word, tokens, err));
	}
	return end_word(w, &word, tokens, err);
}
