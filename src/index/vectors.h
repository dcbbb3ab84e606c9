/* vectors.h - the vectors of passages, as an embedding model gives them, kept in mapped files that never change; and the nearest to a
 * query's.
 *
 * It keeps the promises of the word index (words.h): a segment is written, synced and only then named by the manifest, which is replaced by
 * one rename and carries the caller's `mark`; what a crash loses is embedded again. Removed vectors are ranges in the manifest until a
 * merge with `purge` has written their segments anew without them. All vectors are of one model: its key is in the manifest, and with
 * another key all of them go.
 *
 * A vector x of unit length is kept twice: as bytes q = round(x / s) with s = max|x_i| / 127 (d bytes, d rounded up to 64, and a float),
 * and in segments of SIGNS_LEAST vectors or more as a signature of d bits, bit i set where x_i > c_i, with c the segment's mean: embeddings
 * of texts lie in a narrow cone, and signs around zero would tell few of them apart. A search counts the bits that differ (Charikar,
 * "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002), takes the best few hundred of each segment and orders them by
 * the product of their bytes.
 *
 * Threads: as with words.h: one that writes, any number that search.
 */
#ifndef HTH_INDEX_VECTORS_H
#define HTH_INDEX_VECTORS_H

#include "index/words.h"

typedef struct hth_vectors hth_vectors;

enum { HTH_VECTORS_DIMS_MAX = 4096, HTH_VECTORS_KEY_BYTES = 32, HTH_VECTORS_MODEL_MAX = 256, HTH_VECTORS_K_MAX = 4000 };

typedef struct hth_vectors_options {
	bool write;             /* false: only search */
	hth_words_step_fn step; /* NULL */
	void *step_ctx;
} hth_vectors_options;

/* As hth_words_open, in a folder of its own. */
HTH_MUST_USE hth_status hth_vectors_open(hth_vectors **ret_vectors, const char *folder, const hth_vectors_options *options, hth_error *err);
void hth_vectors_close(hth_vectors *vectors);
HTH_MUST_USE hth_status hth_vectors_erase(const char *folder, hth_error *err);

/* Of which model the next vectors are. Another key than theirs: those that are there go, durably with the next commit, the mark is 0,
 * and true is returned: begin again. */
bool hth_vectors_set_model(hth_vectors *vectors, const char *model, const uint8_t key[HTH_VECTORS_KEY_BYTES]);
/* id must be greater than every id before; all have the same n (1 to HTH_VECTORS_DIMS_MAX). Any length but 0; it is scaled. HTH_INVALID:
 * not finite, or of another n; HTH_BUSY: commit, and add again. */
HTH_MUST_USE hth_status hth_vectors_add(hth_vectors *vectors, uint64_t id, const float *values, size_t n, hth_error *err);
/* Removes ids first..last (inclusive), committed or not. */
HTH_MUST_USE hth_status hth_vectors_remove(hth_vectors *vectors, uint64_t first, uint64_t last, hth_error *err);
/* After a failure nothing has changed, and it may be tried again. */
HTH_MUST_USE hth_status hth_vectors_commit(hth_vectors *vectors, uint64_t mark, hth_error *err);
uint64_t hth_vectors_mark(const hth_vectors *vectors);    /* of the last commit; 0 once another model is set */
size_t hth_vectors_pending(const hth_vectors *vectors); /* vectors that wait for a commit */
HTH_MUST_USE hth_status hth_vectors_merge(hth_vectors *vectors, bool purge, bool (*keep_going)(void *ctx), void *ctx, bool *ret_did,
                                          hth_error *err);
HTH_MUST_USE hth_status hth_vectors_refresh(hth_vectors *vectors, hth_error *err);

typedef struct hth_vectors_info {
	uint64_t vectors, removed; /* committed; removed are not among vectors, and still in the files */
	uint64_t bytes, mark;
	uint32_t segments, dims; /* dims 0: none yet */
	uint8_t key[HTH_VECTORS_KEY_BYTES];
	char model[HTH_VECTORS_MODEL_MAX]; /* "": none yet */
} hth_vectors_info;
void hth_vectors_get_info(hth_vectors *vectors, hth_vectors_info *ret_info);

/* --- Searching --- */

typedef struct hth_vectors_query {
	const float *values; /* any length but 0 */
	size_t n;
	const hth_words_set *only; /* as in hth_words_query */
} hth_vectors_query;
typedef struct hth_vectors_hit {
	uint64_t id;
	float cosine;
} hth_vectors_hit;

/* The k nearest (at most HTH_VECTORS_K_MAX), nearest first, equal ones by id. HTH_INVALID: the query is of another n. */
HTH_MUST_USE hth_status hth_vectors_search(hth_vectors *vectors, const hth_vectors_query *query, size_t k, hth_vectors_hit *hits,
                                           size_t *ret_n, hth_error *err);
/* The cosine above which a passage stands out among all for this query: what the nearest of as many passages that have nothing to do with
 * it would seldom reach, judged by a sample of them. 2 where there is too little to tell. */
HTH_MUST_USE hth_status hth_vectors_outstanding(hth_vectors *vectors, const hth_vectors_query *query, double *ret_cosine, hth_error *err);

#endif
