/* trie.h - byte strings in a tree, for longest and all-prefix matches. Nodes of one level stand together and a node's
 * children side by side, so that a step reads one or two cache lines. Immutable after creation. */
#ifndef HTH_ENGINE_TOKENIZER_TRIE_H
#define HTH_ENGINE_TOKENIZER_TRIE_H

#include "engine/gguf/gguf.h"

typedef struct hth_trie_node {
	uint32_t children;   /* index of the first child */
	int32_t value;       /* -1: no string ends here */
	uint16_t n_children; /* 0 to 256 */
	uint8_t label;       /* the byte that leads here */
} hth_trie_node;

typedef struct hth_trie {
	hth_trie_node *nodes; /* nodes[0] is the root; NULL when the trie is empty */
	size_t n_nodes;
} hth_trie;

typedef struct hth_trie_entry {
	hth_view key; /* borrowed during build only */
	int32_t value;
} hth_trie_entry;

/* Sorts entries in place. Empty keys are left out; of equal keys the smallest value counts. */
HTH_MUST_USE hth_status hth_trie_build(hth_trie *ret_trie, hth_trie_entry *entries, size_t n, hth_error *err);
void hth_trie_finish(hth_trie *trie);

/* The child of node over byte, or 0 when there is none (the root is nobody's child). */
static inline uint32_t hth_trie_step(const hth_trie *trie, uint32_t node, uint8_t byte)
{
	const hth_trie_node *n = &trie->nodes[node];
	uint32_t lo = n->children, hi = lo + n->n_children;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		if (trie->nodes[mid].label < byte)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n->children + n->n_children && trie->nodes[lo].label == byte ? lo : 0;
}

#endif
