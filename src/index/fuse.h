/* fuse.h - two ranked lists made one: reciprocal rank fusion (Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
 * individual Rank Learning Methods", SIGIR 2009). A passage's score is the sum over the lists that have it of 1 / (60 + its rank there).
 * Only this folder and its tests include it. */
#ifndef HTH_INDEX_FUSE_H
#define HTH_INDEX_FUSE_H

#include "index/vectors.h"

typedef struct fused_hit {
	uint64_t id;
	double score;
	float cosine;  /* 0: not among the vectors' */
	bool by_words; /* the words' list has it */
} fused_hit;

/* Best first, equal ones by id. out has room for n_words + n_vectors; how many there are is returned. An id is at most once in each
 * list. */
size_t fuse_ranks(const hth_words_hit *words, size_t n_words, const hth_vectors_hit *vectors, size_t n_vectors, fused_hit *out);

#endif
