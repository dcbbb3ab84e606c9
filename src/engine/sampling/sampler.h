/* sampler.h - from logits to the next token. Deterministic for a seed on one machine.
 *
 * Order: mask, logit bias, penalties, then greedy (temperature 0), or mirostat, or top-k, typical, top-p, min-p,
 * temperature, draw (the order llama.cpp's users know). One sampler per sequence; no allocation after create. */
#ifndef HTH_ENGINE_SAMPLER_H
#define HTH_ENGINE_SAMPLER_H

#include "base/sampling.h"

typedef struct hth_sampler hth_sampler;

/* Copies params (logit_bias included); ids out of the vocabulary are HTH_INVALID. */
HTH_MUST_USE hth_status hth_sampler_create(hth_sampler **ret_sampler, const hth_sampling *params, size_t n_vocab,
                                           hth_error *err);
void hth_sampler_destroy(hth_sampler *sampler);
/* A token that entered the sequence (prompt or answer): penalties look back over these. */
void hth_sampler_accept(hth_sampler *sampler, int32_t token);
/* Picks a token. logits: n_vocab floats, changed in place. allowed: NULL, or a bit per token (bit id % 32 of word id /
 * 32) of those a grammar allows, at least one. NaN logits count as minus infinity. */
int32_t hth_sampler_sample(hth_sampler *sampler, float *logits, const uint32_t *allowed);
/* The next draw is that of this place in the answer: a seed and a place give one number, whatever was drawn before. So an answer can be
 * gone on with from its tokens alone (but for mirostat, which remembers how surprising they were). */
void hth_sampler_seek(hth_sampler *sampler, uint64_t place);
/* As sample; and how far `token` was from being picked, 0 (it was) to 1: by how much less likely than the likeliest it is (greedy), or how
 * far the draw is from the part of [0, 1) that is its and its near rivals'; 1 where it was cut or not allowed. */
int32_t hth_sampler_weigh(hth_sampler *sampler, float *logits, const uint32_t *allowed, int32_t token, float *ret_miss);

typedef struct hth_logprob {
	int32_t token;
	float logprob; /* natural log of the softmax of the raw logits */
} hth_logprob;
/* The logprob of `token` and the n_top most likely tokens, most likely first, from raw logits (not changed). */
void hth_logprobs(const float *logits, size_t n_vocab, int32_t token, float *ret_logprob, hth_logprob *top,
                  size_t n_top);

#endif
