/* plan.c - see plan.h. */
#include "runner/plan.h"

#include "base/mem.h"

#include <sys/sysinfo.h>

enum {
	PAGE = 32,
	BATCH = 512,
	SLICE = 256,           /* rows of a batch computed in slices */
	SLOTS_MAX = 64,
	SLOTS_CHOSEN_MAX = 8,
	SLOT_TOKENS_MIN = 1024,
	KEPT = 32,             /* sequences for ended answers, beside the slots' own */
	ROWS_WANTED = 1 + 8,   /* logits that one slot asks for in a step, guesses included */
	OUTPUTS_LEAST = 32,    /* rows with logits of a step: a prompt that is given back with logprobs is computed in chunks of so many */
	CTX_MIN = 32,
};
#define KV_CHOSEN_MIN ((uint64_t)2 << 30)

static uint64_t machine_bytes(void)
{
	struct sysinfo info;
	return sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : (uint64_t)4 << 30;
}

static unsigned long long mib(uint64_t bytes) { return (unsigned long long)((bytes + (1 << 20) - 1) >> 20); }

/* An encoder reads one whole text at a time and keeps nothing. */
static hth_status plan_encoder(hth_plan *ret, const hth_model *model, const hth_plan_wish *wish, uint64_t room, hth_error *err)
{
	const hth_model_info *info = hth_model_get_info(model);
	uint32_t n_ctx = wish->n_ctx > 0 ? HTH_MIN(wish->n_ctx, info->n_ctx_train) : info->n_ctx_train;
	hth_plan plan = {.n_slots = 1};
	for (;; n_ctx /= 2) {
		plan.n_ctx = n_ctx;
		plan.options = (hth_session_options){.n_seq = 2, .n_ctx = n_ctx, .n_batch = n_ctx, .n_outputs = 1};
		plan.session_bytes = hth_session_plan_bytes(model, &plan.options);
		if (plan.session_bytes <= room) {
			*ret = plan;
			return HTH_OK;
		}
		if (wish->n_ctx > 0 || n_ctx / 2 < CTX_MIN)
			return hth_fail(err, HTH_NO_MEMORY,
			                "texts of %u tokens need %llu MiB beside the weights' %llu MiB; %llu MiB are left for it", n_ctx,
			                mib(plan.session_bytes), mib(info->weight_bytes), mib(room));
	}
}

static hth_session_options options_for(uint32_t n_slots, uint32_t n_ctx, uint32_t n_batch, uint32_t n_kv)
{
	return (hth_session_options){.n_seq = n_slots + KEPT,
	                             .n_ctx = n_ctx,
	                             .n_kv = n_kv,
	                             .n_batch = n_batch,
	                             .n_slice = HTH_MIN(n_batch, (uint32_t)SLICE),
	                             .n_outputs = HTH_MIN(HTH_MAX(n_slots * ROWS_WANTED, (uint32_t)OUTPUTS_LEAST), n_batch),
	                             .kv_type = HTH_KV_F16};
}

/* The most KV tokens that fit into room bytes beside the scratch; 0: not even a page. */
static uint32_t fit_kv(const hth_model *model, uint32_t n_slots, uint32_t n_ctx, uint32_t n_batch, uint64_t room)
{
	hth_session_options one = options_for(n_slots, n_ctx, n_batch, PAGE), many = options_for(n_slots, n_ctx, n_batch, 33 * PAGE);
	uint64_t fixed = hth_session_plan_bytes(model, &one), more = hth_session_plan_bytes(model, &many);
	if (fixed == UINT64_MAX || more == UINT64_MAX || more <= fixed || fixed > room)
		return 0;
	uint64_t pages = 1 + (room - fixed) / ((more - fixed) / 32);
	return (uint32_t)HTH_MIN(pages * PAGE, (uint64_t)1 << 28);
}

hth_status hth_plan_choose(hth_plan *ret_plan, const hth_model *model, const hth_plan_wish *wish, hth_error *err)
{
	const hth_model_info *info = hth_model_get_info(model);
	uint64_t memory = wish->memory_bytes > 0 ? wish->memory_bytes : machine_bytes() / 5 * 4;
	if (memory <= info->weight_bytes)
		return hth_fail(err, HTH_NO_MEMORY,
		                "the weights take %llu MiB and the memory for models is %llu MiB; choose a smaller model or "
		                                    "raise `memory`", mib(info->weight_bytes), mib(memory));
	uint64_t room = memory - info->weight_bytes;
	if (info->embedding)
		return plan_encoder(ret_plan, model, wish, room, err);
	if (wish->n_slots > SLOTS_MAX)
		return hth_fail(err, HTH_INVALID, "%u requests at once; at most %d", wish->n_slots, SLOTS_MAX);

	uint32_t n_ctx = wish->n_ctx > 0 ? wish->n_ctx : HTH_MAX(info->n_ctx_train, 1u);
	uint64_t chosen_room = HTH_MIN(room, HTH_MAX(info->weight_bytes, KV_CHOSEN_MIN));
	for (uint32_t n_batch = BATCH; n_batch >= 64; n_batch /= 2) {
		uint32_t most_slots = wish->n_slots > 0 ? wish->n_slots : SLOTS_CHOSEN_MAX;
		uint32_t n_kv = fit_kv(model, most_slots, n_ctx, n_batch, wish->n_ctx > 0 ? room : chosen_room);
		if (wish->n_ctx == 0) {
			if (n_kv < HTH_MIN(n_ctx, (uint32_t)SLOT_TOKENS_MIN))
				n_kv = fit_kv(model, most_slots, n_ctx, n_batch, room);
			if (n_kv < CTX_MIN + PAGE)
				continue; /* smaller batches leave more */
			n_ctx = HTH_MIN(n_ctx, n_kv - PAGE);
		} else if (n_kv < n_ctx + PAGE) {
			continue;
		}
		uint32_t n_slots = wish->n_slots > 0 ? wish->n_slots
		                                     : HTH_MIN(HTH_MAX(n_kv / HTH_MIN(n_ctx, (uint32_t)SLOT_TOKENS_MIN), 1u), most_slots);
		/* Every slot full, and once more that for what is kept of ended answers: more would never be used. */
		uint64_t useful = ((uint64_t)n_slots * 2 + 1) * hth_round_up(n_ctx, PAGE);
		if (wish->n_ctx > 0) /* asked for a length: whatever is kept takes no more than a choice of ours would have */
			useful = HTH_MAX(HTH_MIN(useful, (uint64_t)fit_kv(model, n_slots, n_ctx, n_batch, chosen_room)),
			                 (uint64_t)hth_round_up(n_ctx, PAGE) + PAGE);
		n_kv = (uint32_t)HTH_MIN((uint64_t)n_kv, useful);
		hth_plan plan = {.n_slots = n_slots, .n_ctx = n_ctx, .options = options_for(n_slots, n_ctx, n_batch, n_kv)};
		plan.session_bytes = hth_session_plan_bytes(model, &plan.options);
		if (plan.session_bytes <= room) {
			*ret_plan = plan;
			return HTH_OK;
		}
	}
	hth_session_options least = options_for(1, n_ctx, 64, (uint32_t)hth_round_up(n_ctx, PAGE) + PAGE);
	return hth_fail(err, HTH_NO_MEMORY,
	                "a context of %u tokens needs %llu MiB beside the weights' %llu MiB, but the memory for models is "
	                                    "%llu MiB; ask for a shorter context or raise `memory`",
	                n_ctx, mib(hth_session_plan_bytes(model, &least)), mib(info->weight_bytes), mib(memory));
}
