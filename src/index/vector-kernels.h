/* vector-kernels.h - the two loops of a vector search, one row per instruction set; the C row is the reference. Only this folder and its
 * tests include it. */
#ifndef HTH_INDEX_VECTOR_KERNELS_H
#define HTH_INDEX_VECTOR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VECTOR_ROW_ALIGN = 64, VECTOR_WORDS_MAX = 64 };

typedef struct vector_kernels {
	const char *name;
	bool (*works)(void); /* on this machine */
	/* ret[i]: how many bits of rows[i] (n_words each, one behind the other) are not the query's. n_words: 1 to VECTOR_WORDS_MAX. */
	void (*hamming)(const uint64_t *query, const uint64_t *rows, size_t n_words, size_t n, uint16_t *ret);
	/* The sum of products of n bytes, -127 to 127 each; n: a multiple of VECTOR_ROW_ALIGN. */
	int32_t (*dot)(const int8_t *a, const int8_t *b, size_t n);
} vector_kernels;

/* All that this program has, the reference first, better ones later. */
const vector_kernels *const *vector_kernels_all(size_t *ret_n);
const vector_kernels *vector_kernels_best(void);

#endif
