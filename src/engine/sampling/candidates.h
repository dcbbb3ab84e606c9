/* candidates.h - the tokens still in the running for one draw, and the cuts that thin them out. Arrays belong to the
 * caller; nothing here allocates. Order among equal logits is by id, so that a seed always gives the same token. */
#ifndef HTH_ENGINE_SAMPLING_CANDIDATES_H
#define HTH_ENGINE_SAMPLING_CANDIDATES_H

#include <stddef.h>
#include <stdint.h>

typedef struct hth_candidate {
	float logit;
	float key; /* scratch of a cut: smaller leaves first */
	int32_t id;
} hth_candidate;

/* Tokens with a logit above minus infinity (NaN is not), in id order; plus infinity becomes the largest float. */
size_t hth_candidates_all(hth_candidate *out, const float *logits, size_t n_vocab);
/* The k with the highest logits, highest first. */
size_t hth_candidates_top_k(hth_candidate *out, const float *logits, size_t n_vocab, size_t k);
/* Locally typical sampling (arXiv 2202.00666): those whose surprise is nearest to the expected one, until their
 * probability passes p. Nearest first. */
size_t hth_candidates_typical(hth_candidate *c, size_t n, float p);
/* Nucleus (arXiv 1904.09751): the fewest most likely ones whose probability reaches p. Most likely first. */
size_t hth_candidates_top_p(hth_candidate *c, size_t n, float p);
/* Those at least p times as likely as the most likely one (arXiv 2407.01082). Keeps their order. */
size_t hth_candidates_min_p(hth_candidate *c, size_t n, float p);
/* Draws one by softmax(logit / temperature); unit is uniform in [0, 1). n > 0. *ret_p: its probability. Returns its
 * index. */
size_t hth_candidates_draw(hth_candidate *c, size_t n, float temperature, double unit, double *ret_p);
float hth_candidates_max(const hth_candidate *c, size_t n);

#endif
