/* compute.h - what the scheduler needs of an engine's session, as a table of functions: the seam at which tests put a
 * deterministic engine of their own. The real one (runner-engine.c) passes straight on to engine.h, whose rules hold. */
#ifndef HTH_RUNNER_COMPUTE_H
#define HTH_RUNNER_COMPUTE_H

#include "engine/engine.h"

typedef struct hth_compute {
	void *ctx;
	uint32_t n_seq;   /* sequences: slots, and beyond them what is kept of ended answers */
	uint32_t n_ctx;   /* tokens of one sequence */
	uint32_t n_batch; /* rows of one step */
	uint32_t n_vocab, n_embd;
	bool embedding; /* an encoder: embed works, decode does not */
	/* A token's logits are the same to the last bit whatever else is in the batch. Where kernels for one row and for
	 * several round differently, the scheduler keeps what is measured (guesses, chunks) from deciding between the two
	 * where an answer is expected to repeat itself. */
	bool exact_rows;
	const hth_tokenizer *tokenizer;
	uint64_t (*now_ns)(void *ctx);
	hth_status (*decode)(void *ctx, const hth_batch_token *tokens, size_t n, const atomic_bool *cancel, hth_error *err);
	float *(*logits)(void *ctx, size_t i);
	void (*truncate)(void *ctx, uint32_t seq, uint32_t length);
	void (*share)(void *ctx, uint32_t dst, uint32_t src, uint32_t length);
	uint32_t (*free_tokens)(void *ctx);
	hth_status (*embed)(void *ctx, const int32_t *tokens, size_t n, float *ret_embedding, const atomic_bool *cancel,
	                    hth_error *err);
	/* Runs fn for every task on the engine's workers. */
	void (*parallel)(void *ctx, size_t n_tasks, void (*fn)(void *fn_ctx, size_t task, unsigned worker), void *fn_ctx);
} hth_compute;

#endif
