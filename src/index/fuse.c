/* fuse.c - reciprocal rank fusion. */
#include "index/fuse.h"

#include "base/mem.h"

enum { RRF_K = 60 };

static int by_id(const void *a, const void *b)
{
	const fused_hit *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int best_first(const void *a, const void *b)
{
	const fused_hit *x = a, *y = b;
	return x->score != y->score ? (x->score > y->score ? -1 : 1) : by_id(a, b);
}

size_t fuse_ranks(const hth_words_hit *words, size_t n_words, const hth_vectors_hit *vectors, size_t n_vectors, fused_hit *out)
{
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < n_words; i++)
		out[n++] = (fused_hit){.id = words[i].id, .score = 1.0 / (double)(RRF_K + 1 + i), .by_words = true};
	for (size_t i = 0; i < n_vectors; i++)
		out[n++] = (fused_hit){.id = vectors[i].id, .score = 1.0 / (double)(RRF_K + 1 + i), .cosine = vectors[i].cosine};
	qsort(out, n, sizeof *out, by_id);
	for (size_t i = 0; i < n; i++) {
		if (kept == 0 || out[kept - 1].id != out[i].id) {
			out[kept++] = out[i];
			continue;
		}
		fused_hit *h = &out[kept - 1];
		h->score += out[i].score;
		h->cosine = h->cosine != 0 ? h->cosine : out[i].cosine;
		h->by_words |= out[i].by_words;
	}
	qsort(out, kept, sizeof *out, best_first);
	return kept;
}
