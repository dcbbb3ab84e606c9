/* runner-draft.c - see runner-draft.h. The engine lives as long as the process. Thread: the runner's main, before it is ready. */
#include "runner/runner-draft.h"

#include "base/mem.h"

enum { BATCH = 64, KV_MIN = 256 /* tokens: less follows nobody far */ };
#define KV_MOST ((uint64_t)256 << 20)

hth_status hth_runner_draft_open(hth_runner_engine *draft, const hth_model *model, const int *fds, size_t n_fds, hth_error *err)
{
	hth_model *small = NULL;
	hth_status status = hth_model_open(&small, fds, n_fds, "draft", err);
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	if (status != HTH_OK)
		return hth_fail_prefix(err, "the draft model"), status;
	draft->model = small;
	const hth_tokenizer *a = hth_model_tokenizer(model), *b = hth_model_tokenizer(small);
	uint32_t n = hth_model_get_info(model)->n_vocab;
	if (hth_model_get_info(small)->embedding)
		return hth_fail(err, HTH_INVALID, "the draft model is an embedding model, which writes nothing");
	if (hth_model_get_info(small)->n_vocab != n)
		return hth_fail(err, HTH_INVALID, "the draft model has %u tokens and the model %u; a draft must have the same vocabulary",
		                hth_model_get_info(small)->n_vocab, n);
	for (uint32_t i = 0; i < n; i++) {
		hth_view x = hth_tokenizer_piece(a, (int32_t)i), y = hth_tokenizer_piece(b, (int32_t)i);
		if (x.len != y.len || memcmp(x.data, y.data, x.len) != 0)
			return hth_fail(err, HTH_INVALID,
			                "token %u of the draft model is not the model's; a draft must have the same vocabulary", i);
	}
	return HTH_OK;
}

uint64_t hth_runner_draft_room(const hth_runner_engine *draft, const hth_model *model, uint64_t memory_bytes)
{
	uint64_t small = hth_model_get_info(draft->model)->weight_bytes, both = small + hth_model_get_info(model)->weight_bytes;
	return small + (memory_bytes > both ? HTH_MIN((memory_bytes - both) / 8, KV_MOST) : 0);
}

hth_status hth_runner_draft_start(hth_runner_engine *draft, hth_threads *threads, const hth_plan *plan, uint64_t room, hth_error *err)
{
	uint64_t all = (uint64_t)plan->n_slots * hth_round_up(plan->n_ctx, KV_MIN);
	hth_session_options o = {.n_seq = plan->n_slots, .n_ctx = plan->n_ctx, .n_batch = HTH_MIN((uint32_t)BATCH, plan->n_ctx),
	                         .n_outputs = 1,
	                         .n_kv = (uint32_t)HTH_MIN(all, (uint64_t)1 << 20)};
	while (room > 0 && o.n_kv > KV_MIN && hth_session_plan_bytes(draft->model, &o) > room)
		o.n_kv /= 2;
	if (room > 0 && hth_session_plan_bytes(draft->model, &o) > room)
		return hth_fail(err, HTH_NO_MEMORY,
		                "there is no memory for a draft model beside this one; raise `memory`, or remove its draft. line");
	draft->threads = threads;
	return hth_session_create(&draft->session, draft->model, threads, &o, err);
}
