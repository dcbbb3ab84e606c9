/* token-tree.h - a vocabulary as a tree over its tokens' bytes, walked from left to right with everything below a
 * refused byte skipped; and, for a character class, what the whole vocabulary looks like seen through it. */
#ifndef HTH_ENGINE_GRAMMAR_TOKEN_TREE_H
#define HTH_ENGINE_GRAMMAR_TOKEN_TREE_H

#include "engine/grammar/grammar.h"
#include "engine/grammar/network.h"

enum {
	TOKEN_DEPTH_MAX = 512, /* bytes; longer tokens are never allowed */
	CLASSES_MAX = 24,      /* whose info is kept; of a large vocabulary a megabyte each */
};

typedef struct hth_token_node {
	uint32_t end;   /* the first node that is not below this one */
	int32_t token;  /* ends here; -1: none */
	uint16_t depth; /* of the root 0 */
	uint8_t byte;
} hth_token_node;

/* All tokens that begin with characters of one class. */
typedef struct hth_class_info {
	uint64_t hash;
	hth_net_range *ranges;
	size_t n_ranges;
	uint32_t *inside;   /* tokens that are all of the class (a character may be cut short at the end): a bit each */
	int32_t *by_length; /* those tokens, the ones with the most characters first */
	size_t n_inside;
	uint8_t *length; /* by token: characters, the one cut short included */
	unsigned longest;
	struct hth_class_exit {
		uint32_t node;  /* the first byte that leaves the class, at a character's beginning */
		uint16_t chars; /* of the class before it */
		uint8_t first;  /* the byte with which the tokens below begin */
	} * exits;              /* those of one byte together */
	uint32_t exits_of[257]; /* where a byte's begin */
	uint64_t last_use;
	size_t n_exits;
} hth_class_info;

struct hth_grammar_vocab {
	const hth_tokenizer *tokenizer;
	size_t n, n_words;
	char *bytes;           /* of all tokens; of control and end tokens their spelling */
	uint32_t *at;          /* n + 1 */
	hth_token_node *nodes; /* in order: parent, then its children with all below them */
	size_t n_nodes;
	int32_t *twin;  /* another token of the same bytes; -1: none */
	uint32_t *ends; /* tokens that end a generation: a bit each */
	uint32_t *all;  /* a bit for every token there is */
	uint32_t *special_bits; /* control and end tokens: not in the tree */
	int32_t *special;       /* those that a literal may spell, in the order of their bytes */
	size_t n_special;
	hth_class_info *classes[CLASSES_MAX];
	size_t n_classes;
	uint64_t uses;
	uint32_t depth_state[TOKEN_DEPTH_MAX + 1]; /* scratch of a walk */
};

static inline hth_view hth_token_bytes(const hth_grammar_vocab *v, int32_t token)
{
	if (token < 0 || (size_t)token >= v->n)
		return (hth_view){"", 0};
	return (hth_view){v->bytes + v->at[token], v->at[token + 1] - v->at[token]};
}
static inline bool hth_token_bit(const uint32_t *bits, int32_t token) { return bits[token / 32] >> (token % 32) & 1; }
/* How many first bytes two tokens share. */
size_t hth_token_common(const hth_grammar_vocab *vocab, int32_t a, int32_t b);
/* The class's info, good until the next call: made at the first asking, and again when others took its place meanwhile.
 * NULL: no memory. */
const hth_class_info *hth_class_info_get(hth_grammar_vocab *vocab, const hth_network *net, const hth_net_class *cls);

#endif
