/* runner-engine.c - see runner-engine.h: every function passes straight on. */
#include "runner/runner-engine.h"

#include "base/clock.h"

#include <time.h>

static hth_status decode(void *ctx, const hth_batch_token *tokens, size_t n, const atomic_bool *cancel, hth_error *err)
{
	return hth_session_decode(((hth_runner_engine *)ctx)->session, tokens, n, cancel, err);
}
static hth_status slice_begin(void *ctx, const hth_batch_token *tokens, size_t n, hth_error *err)
{
	return hth_session_slice_begin(((hth_runner_engine *)ctx)->session, tokens, n, err);
}
static hth_status slice_run(void *ctx, uint32_t n_layers, const atomic_bool *cancel, bool *ret_done, hth_error *err)
{
	return hth_session_slice_run(((hth_runner_engine *)ctx)->session, n_layers, cancel, ret_done, err);
}
static void slice_drop(void *ctx) { hth_session_slice_drop(((hth_runner_engine *)ctx)->session); }
static float *logits(void *ctx, size_t i) { return hth_session_logits(((hth_runner_engine *)ctx)->session, i); }
static void truncate_to(void *ctx, uint32_t seq, uint32_t length)
{
	hth_session_truncate(((hth_runner_engine *)ctx)->session, seq, length);
}
static void share(void *ctx, uint32_t dst, uint32_t src, uint32_t length)
{
	hth_session_share(((hth_runner_engine *)ctx)->session, dst, src, length);
}
static uint32_t free_tokens(void *ctx) { return hth_session_free_tokens(((hth_runner_engine *)ctx)->session); }
static const void *page(void *ctx, uint32_t seq, uint32_t i) { return hth_session_page(((hth_runner_engine *)ctx)->session, seq, i); }
static void *page_append(void *ctx, uint32_t seq) { return hth_session_page_append(((hth_runner_engine *)ctx)->session, seq); }
static hth_status embed(void *ctx, const int32_t *tokens, size_t n, float *ret, const atomic_bool *cancel, hth_error *err)
{
	return hth_session_embed(((hth_runner_engine *)ctx)->session, tokens, n, ret, cancel, err);
}
static uint64_t now_ns(void *ctx)
{
	(void)ctx;
	return hth_clock_ns();
}
static uint64_t busy_ns(void *ctx)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec) / hth_threads_count(((hth_runner_engine *)ctx)->threads);
}
static void parallel(void *ctx, size_t n_tasks, void (*fn)(void *fn_ctx, size_t task, unsigned worker), void *fn_ctx)
{
	hth_threads_run(((hth_runner_engine *)ctx)->threads, n_tasks, fn, fn_ctx);
}

hth_compute hth_runner_engine_compute(hth_runner_engine *engine)
{
	const hth_model_info *info = hth_model_get_info(engine->model);
	return (hth_compute){.ctx = engine,
	                     .n_seq = hth_session_n_seq(engine->session),
	                     .n_ctx = hth_session_n_ctx(engine->session),
	                     .n_batch = hth_session_n_batch(engine->session),
	                     .n_slice = hth_session_n_slice(engine->session),
	                     .n_outputs = hth_session_n_outputs(engine->session),
	                     .n_layer = info->n_layer,
	                     .n_vocab = info->n_vocab,
	                     .n_embd = info->n_embd,
	                     .embedding = info->embedding,
	                     .exact_rows = hth_session_exact_rows(engine->session),
	                     .tokenizer = hth_model_tokenizer(engine->model),
	                     .now_ns = now_ns,
	                     .busy_ns = busy_ns,
	                     .decode = decode,
	                     .slice_begin = slice_begin,
	                     .slice_run = slice_run,
	                     .slice_drop = slice_drop,
	                     .logits = logits,
	                     .truncate = truncate_to,
	                     .share = share,
	                     .free_tokens = free_tokens,
	                     .page = page,
	                     .page_append = page_append,
	                     .page_bytes = hth_session_page_bytes(engine->session),
	                     .spill = engine->spill,
	                     .embed = embed,
	                     .parallel = parallel};
}
