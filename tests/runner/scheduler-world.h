/* scheduler-world.h - a scheduler over the fake engine with a memory of what it told: the ground of test-scheduler.c. */
#ifndef HTH_TESTS_SCHEDULER_WORLD_H
#define HTH_TESTS_SCHEDULER_WORLD_H

#include "base/rng.h"
#include "fake-engine.h"
#include "runner/pace.h"
#include "runner/scheduler.h"
#include "runner/speculation.h"
#include "runner/spill.h"
#include "harness.h"

/* ---- a scheduler over a fake engine, and what it told about each job ---- */

enum { JOBS = 64, ANSWER = 1 << 14 };
typedef struct told {
	char text[ANSWER];
	size_t len, pieces;
	int32_t ids[ANSWER / 4];
	uint32_t n_ids;
	uint32_t n_logprobs, n_top;
	/* of the fake clock: first piece, last piece, longest pause per token between pieces */
	uint64_t first_ns, last_ns, widest_token_ns;
	uint64_t ended_ns;
	bool ended, cancelled, failed;
	hth_done done;
	hth_error error;
	float embedding[2];
} told;
typedef struct world {
	hth_gguf *gguf;
	hth_tokenizer *tokenizer;
	fake_engine *fake;
	hth_compute compute;
	hth_scheduler *scheduler;
	hth_grammar_cache *grammars;
	told told[JOBS];
	uint32_t end_id;
} world;

static void on_piece(void *ctx, hth_job *job, const hth_answer_piece *piece)
{
	world *w = ctx;
	told *t = &w->told[job->id];
	if (t->len + piece->len < ANSWER)
		memcpy(t->text + t->len, piece->text, piece->len);
	t->len += piece->len;
	if (t->pieces++ == 0)
		t->first_ns = w->fake->now;
	else
		t->widest_token_ns = HTH_MAX(t->widest_token_ns, (w->fake->now - t->last_ns) / HTH_MAX(piece->n_tokens, 1u));
	t->last_ns = w->fake->now;
	t->n_logprobs += (uint32_t)piece->n_logprobs;
	t->n_top += (uint32_t)(piece->n_logprobs * piece->n_top);
}
static void on_embedding(void *ctx, hth_job *job, const float *values, size_t n)
{
	world *w = ctx;
	memcpy(w->told[job->id].embedding, values, HTH_MIN(n, (size_t)2) * sizeof *values);
}
static void on_ended(void *ctx, hth_job *job, const hth_done *done, const hth_error *error)
{
	world *w = ctx;
	told *t = &w->told[job->id];
	CHECK(!t->ended); /* exactly once */
	t->ended = true;
	t->ended_ns = w->fake->now;
	t->cancelled = done == NULL && error == NULL;
	t->failed = error != NULL;
	if (done != NULL)
		t->done = *done;
	if (error != NULL)
		t->error = *error;
	t->n_ids = job->n_tokens - job->n_prompt;
	memcpy(t->ids, job->tokens + job->n_prompt, HTH_MIN(t->n_ids, HTH_COUNT(t->ids)) * sizeof *t->ids);
	hth_job_destroy(job);
}

static void world_finish(world *w)
{
	hth_scheduler_destroy(w->scheduler);
	if (w->fake != NULL) {
		fake_destroy(w->fake);
		hth_grammar_cache_destroy(w->grammars);
		hth_tokenizer_destroy(w->tokenizer);
		hth_gguf_close(w->gguf);
	}
	free(w);
}
static void world_finish_p(world **w) { world_finish(*w); }
#define WORLD(name, slots, n_seq, n_ctx, n_kv)                                          \
	__attribute__((cleanup(world_finish_p))) world *name = calloc(1, sizeof *name); \
	world_open(name, slots, n_seq, n_ctx, n_kv);                                    \
	if (name->scheduler == NULL)                                                    \
	return

static void world_open(world *w, uint32_t slots, uint32_t n_seq, uint32_t n_ctx, uint32_t n_kv)
{
	hth_error err = HTH_ERROR_INIT;
	char path[4096];
	snprintf(path, sizeof path, "%s/models/starter.gguf", getenv("HEARTH_SOURCE") ? getenv("HEARTH_SOURCE") : ".");
	FILE *file = fopen(path, "rb");
	REQUIRE(file != NULL);
	int fd = fileno(file);
	hth_status status = hth_gguf_open(&w->gguf, &fd, 1, "starter", &err);
	fclose(file);
	REQUIRE_OK(status);
	REQUIRE_OK(hth_tokenizer_create(&w->tokenizer, w->gguf, &err));
	REQUIRE_OK(hth_grammar_cache_create(&w->grammars, w->tokenizer, &err));
	w->fake = fake_create(w->tokenizer, n_seq, n_ctx, n_kv, &w->compute);
	hth_scheduler_events events = {.ctx = w, .piece = on_piece, .embedding = on_embedding, .ended = on_ended};
	CHECK_OK(hth_scheduler_create(&w->scheduler, &w->compute, slots, &events, &err));
	for (uint32_t i = 0; i < w->fake->n_vocab; i++)
		if (hth_tokenizer_is_end(w->tokenizer, (int32_t)i))
			w->end_id = i;
}

typedef struct wish_t {
	uint32_t max_answer;
	const char *stop;
	int32_t top_logprobs;
	bool no_eos, greedy, embedding;
	uint64_t seed;
	const char *grammar, *trigger;
} wish_t;

static hth_job *make_job(world *w, uint32_t id, const int32_t *prompt, uint32_t n_prompt, wish_t wish)
{
	hth_ask ask = {.kind = wish.embedding ? HTH_EMBEDDING : HTH_COMPLETION};
	ask.params.sampling = hth_sampling_defaults();
	ask.params.sampling.seed = wish.seed;
	ask.params.sampling.seed_given = true;
	if (wish.greedy)
		ask.params.sampling.temperature = 0;
	ask.params.ignore_eos = wish.no_eos;
	ask.params.top_logprobs = wish.top_logprobs > 0 ? wish.top_logprobs - 1 : -1;
	ask.params.max_tokens = wish.max_answer;
	if (wish.stop != NULL)
		ask.params.stop[ask.params.n_stop++] = strdup(wish.stop);
	hth_job *job = hth_job_create(id, &ask, w->fake->now);
	job->cap_tokens = n_prompt + wish.max_answer;
	job->tokens = calloc(job->cap_tokens, sizeof *job->tokens);
	memcpy(job->tokens, prompt, n_prompt * sizeof *prompt);
	job->n_tokens = job->n_prompt = n_prompt;
	job->max_answer = wish.max_answer;
	if (wish.grammar != NULL) {
		hth_error err = HTH_ERROR_INIT;
		job->grammars = w->grammars;
		CHECK_OK(hth_grammar_cache_borrow(w->grammars, wish.grammar, false, &job->grammar, &err));
		job->ask.params.grammar_trigger = wish.trigger != NULL ? strdup(wish.trigger) : NULL;
	}
	return job;
}

static void run_all(world *w)
{
	int steps = 0;
	while (hth_scheduler_step(w->scheduler))
		if (++steps > 20000) {
			CHECK_INT(steps, 0);
			return;
		}
}

/* A prompt of ordinary tokens: `shared` of them are the same for every seed. */
static void make_prompt(const world *w, int32_t *out, uint32_t n, uint32_t shared, uint64_t seed)
{
	hth_rng common, own;
	hth_rng_seed(&common, 1);
	hth_rng_seed(&own, seed + 1000);
	for (uint32_t i = 0; i < n; i++)
		out[i] = (int32_t)(300 + hth_rng_next(i < shared ? &common : &own) % (w->fake->n_vocab - 300));
}

static void same_answer(const told *a, const told *b)
{
	CHECK(a->ended && !a->failed && !a->cancelled);
	CHECK_INT(a->n_ids, b->n_ids);
	CHECK(memcmp(a->ids, b->ids, HTH_MIN(a->n_ids, HTH_COUNT(a->ids)) * 4) == 0);
	CHECK_STR(a->text, b->text);
	CHECK_INT(a->done.reason, b->done.reason);
}

#endif
