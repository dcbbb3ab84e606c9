/* prefix-tree.h - a radix tree over tokens: which sequence holds the longest beginning of a prompt.
 *
 *   root ─ "You are a helpful ..." ─┬─ "What is ..."   (sequences 1 and 4 hold it; 4 ends here)
 *          (1, 2, 4 hold it)        │        └─ "Paris ..."  (1)
 *                                   └─ "Write a ..."   (2)
 *
 * A node is a run of tokens that all sequences through it share; it is stored once, however many hold it. Every sequence
 * ends at the end of some node. A node lives while a sequence holds it: what the engine's pages count, the tree counts too.
 * Looking up costs the length of the match, whatever the number of sequences.
 */
#ifndef HTH_RUNNER_PREFIX_TREE_H
#define HTH_RUNNER_PREFIX_TREE_H

#include "base/status.h"

#include <stdint.h>

typedef struct hth_prefix_tree hth_prefix_tree;
HTH_MUST_USE hth_status hth_prefix_tree_create(hth_prefix_tree **ret_tree, uint32_t n_seq, hth_error *err);
void hth_prefix_tree_destroy(hth_prefix_tree *tree); /* wipes */

/* The sequence now holds tokens[0, n), of which it held the first hth_prefix_tree_length before. False without memory: it then
 * holds as many as it is said to. */
bool hth_prefix_tree_extend(hth_prefix_tree *tree, uint32_t seq, const int32_t *tokens, uint32_t n);
/* The sequence now holds only its first n tokens; 0: it is out of the tree. */
void hth_prefix_tree_cut(hth_prefix_tree *tree, uint32_t seq, uint32_t n);
uint32_t hth_prefix_tree_length(const hth_prefix_tree *tree, uint32_t seq);
/* All that the sequence holds, hth_prefix_tree_length tokens. */
void hth_prefix_tree_copy(const hth_prefix_tree *tree, uint32_t seq, int32_t *ret_tokens);

/* How many of the first tokens some sequence holds; *ret_seq: one of those. 0: none, *ret_seq untouched. */
uint32_t hth_prefix_tree_find(const hth_prefix_tree *tree, const int32_t *tokens, uint32_t n, uint32_t *ret_seq);
/* Whether another sequence holds everything that this one does. */
bool hth_prefix_tree_covered(const hth_prefix_tree *tree, uint32_t seq);
/* Whether `longer` holds everything that `seq` does. */
bool hth_prefix_tree_covers(const hth_prefix_tree *tree, uint32_t longer, uint32_t seq);

/* For tests: nodes below the root, and whether every count and link is as it must be. */
uint32_t hth_prefix_tree_nodes(const hth_prefix_tree *tree);
bool hth_prefix_tree_check(const hth_prefix_tree *tree);

#endif
