/* merge.h - byte-pair merging, the part that SPM and BPE share: cut a text into characters (or bytes), join the best
 * pair of neighbours until none joins, write down the tokens.
 *
 * What "best" is differs: BPE looks a pair up in the file's merges (lower rank first), SPM looks the joined text up in
 * the vocabulary (higher score first); among equals the leftmost. Short texts are merged by scanning, long ones with a
 * heap, so the work is n log n at worst. One merger serves one encode call; its memory is kept between texts.
 */
#ifndef HTH_ENGINE_TOKENIZER_MERGE_H
#define HTH_ENGINE_TOKENIZER_MERGE_H

#include "engine/tokenizer/vocab.h"

/* The merges of a file: (left id, right id) -> rank and joined id. Immutable after load. */
typedef struct hth_merges {
	struct hth_merge_slot {
		int32_t left, right; /* left -1: free */
		uint32_t rank;
		int32_t joined;
	} * slots;
	size_t n_slots, n;
	uint64_t seed;
} hth_merges;

/* Reads tokenizer.ggml.merges; strings that have no token are interned in vocab. */
HTH_MUST_USE hth_status hth_merges_load(hth_merges *ret_merges, hth_vocab *vocab, const hth_gguf *gguf, hth_error *err);
void hth_merges_finish(hth_merges *merges);

typedef struct hth_merge_symbol {
	uint32_t begin, len; /* bytes of the text; len 0: joined to the one before */
	int32_t id;          /* of these bytes in the vocabulary, -1: none */
	int32_t prev, next;
} hth_merge_symbol;
typedef struct hth_merge_candidate {
	uint64_t order; /* priority, then place: the smallest goes first */
	uint32_t right, len;
	int32_t id;
} hth_merge_candidate;

typedef struct hth_merger {
	const hth_vocab *vocab;
	const hth_merges *merges; /* NULL: by score */
	int32_t unknown;          /* for a byte without a token; -1: leave it out, as the reference tokenizers do */
	hth_merge_symbol *symbols;
	size_t symbol_cap;
	hth_merge_candidate *heap;
	size_t heap_len;
} hth_merger;

/* Appends the tokens of a text. Text longer than MERGE_MAX_RUN bytes without a place where no token can cross is cut
 * there. */
enum { MERGE_MAX_RUN = 1 << 18 };
HTH_MUST_USE hth_status hth_merger_encode(hth_merger *merger, const char *text, size_t len, hth_tokens *tokens,
                                          hth_error *err);
void hth_merger_finish(hth_merger *merger);

/* tokens, or HTH_TOO_LARGE / HTH_NO_MEMORY with a message. */
HTH_MUST_USE hth_status hth_tokens_add(hth_tokens *tokens, int32_t id, hth_error *err);

#endif
