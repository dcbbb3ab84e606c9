/* perplexity.h - how well a model predicts a text: the most likely token and the next one's probability at each place.
 *
 * Works on any number of tokens: they go through a session of its own in chunks; a text longer than the context starts
 * afresh (with BOS where the vocabulary asks for one) each time the context is full.
 */
#ifndef HTH_ENGINE_MODEL_PERPLEXITY_H
#define HTH_ENGINE_MODEL_PERPLEXITY_H

#include "engine/engine.h"

typedef struct hth_perplexity {
	size_t n;            /* tokens */
	int32_t *argmax;     /* n: the most likely token after each */
	float *logprob_next; /* n - 1: natural log probability of the token that follows each */
	float *last_logits;  /* n_vocab: after the last token */
	double perplexity;   /* exp(-mean logprob_next); 0 when n < 2 */
} hth_perplexity;

typedef struct hth_perplexity_options {
	hth_kv_type kv_type;
	uint32_t n_ctx;   /* 0: the model's */
	uint32_t n_batch; /* 0: 128; each token of a batch costs n_vocab floats of memory */
	const atomic_bool *cancel;
	void (*progress)(void *ctx, size_t done, size_t total); /* after each chunk; may be NULL */
	void *progress_ctx;
} hth_perplexity_options;

/* n >= 1. options may be NULL. The result is the caller's: hth_perplexity_finish. */
HTH_MUST_USE hth_status hth_perplexity_run(hth_perplexity *ret, const hth_model *model, hth_threads *threads,
                                           const int32_t *tokens, size_t n, const hth_perplexity_options *options,
                                           hth_error *err);
void hth_perplexity_finish(hth_perplexity *perplexity);

#endif
