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
	uint32_t n_slice; /* rows of a batch in slices */
	uint32_t n_outputs; /* rows of one step that may have logits; 0: all */
	uint32_t n_layer;
	uint32_t n_vocab, n_embd;
	bool embedding; /* an encoder: embed works, decode does not */
	/* A token's logits are the same to the last bit in any batch of up to so many rows; UINT32_MAX: in any. Beyond it the scheduler
	 * keeps what is measured (guesses, chunks) from deciding how an answer that is expected to repeat itself is rounded. */
	uint32_t exact_rows;
	const hth_tokenizer *tokenizer;
	const struct hth_compute *draft; /* the engine of a smaller model that guesses ahead (drafter.h); NULL: there is none */
	uint64_t (*now_ns)(void *ctx);
	/* What its workers have computed so far, each on average: the cost of a step is learned from this, because on a clock's time
	 * it is also whatever else the machine does. */
	uint64_t (*busy_ns)(void *ctx);
	hth_status (*decode)(void *ctx, const hth_batch_token *tokens, size_t n, const atomic_bool *cancel, hth_error *err);
	/* As hth_session_slice_begin, _run, _drop. */
	hth_status (*slice_begin)(void *ctx, const hth_batch_token *tokens, size_t n, hth_error *err);
	hth_status (*slice_run)(void *ctx, uint32_t n_layers, const atomic_bool *cancel, bool *ret_done, hth_error *err);
	void (*slice_drop)(void *ctx);
	float *(*logits)(void *ctx, size_t i);
	void (*truncate)(void *ctx, uint32_t seq, uint32_t length);
	void (*share)(void *ctx, uint32_t dst, uint32_t src, uint32_t length);
	uint32_t (*free_tokens)(void *ctx);
	/* As hth_session_page and _page_append; page_bytes each. */
	const void *(*page)(void *ctx, uint32_t seq, uint32_t i);
	void *(*page_append)(void *ctx, uint32_t seq);
	size_t page_bytes;
	/* Where pages go when memory is short; NULL: nowhere. */
	struct hth_spill *spill;
	hth_status (*embed)(void *ctx, const int32_t *tokens, size_t n, float *ret_embedding, const atomic_bool *cancel,
	                    hth_error *err);
	/* Runs fn for every task on the engine's workers. */
	void (*parallel)(void *ctx, size_t n_tasks, void (*fn)(void *fn_ctx, size_t task, unsigned worker), void *fn_ctx);
} hth_compute;

#endif
