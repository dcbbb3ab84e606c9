/* plan.h - how many requests at once and how long each: chosen from the memory there is when a model opens, and said. */
#ifndef HTH_RUNNER_PLAN_H
#define HTH_RUNNER_PLAN_H

#include "engine/engine.h"

typedef struct hth_plan_wish {
	uint32_t n_slots, n_ctx; /* 0: choose */
	uint64_t memory_bytes;   /* for weights, KV cache and scratch; 0: 80% of the machine's */
} hth_plan_wish;
typedef struct hth_plan {
	uint32_t n_slots, n_ctx;
	hth_session_options options;
	uint64_t session_bytes; /* what the session will allocate */
} hth_plan;

/* KV cache is one pool of pages that all slots share, so more slots may be promised than can all be full (scheduler.h).
 *  - A length that was asked for must fit, or this fails with HTH_NO_MEMORY and the numbers.
 *  - Left to choose, the context is the model's own as far as a KV cache of the weights' size (but at least 2 GiB) and of the
 *    memory left by them holds it: a long context should not take a home's memory before anybody needs it.
 *  - Slots: up to 8, each with 1024 tokens of the pool at least. */
HTH_MUST_USE hth_status hth_plan_choose(hth_plan *ret_plan, const hth_model *model, const hth_plan_wish *wish, hth_error *err);

#endif
