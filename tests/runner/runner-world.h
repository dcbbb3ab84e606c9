/* runner-world.h - a loop, a runner and requests with a memory of what was answered: the ground of tests/runner's programs.
 * The program itself is the child when it is called with __runner: hth_runner_main, or a liar of the test's own. */
#ifndef HTH_TESTS_RUNNER_WORLD_H
#define HTH_TESTS_RUNNER_WORLD_H

#include "base/clock.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "runner/runner.h"
#include "sandbox/sandbox.h"
#include "harness.h"

#include <signal.h>
#include <unistd.h>

typedef struct told {
	hth_request *request; /* a reference */
	char *text;
	size_t len;
	unsigned pieces, n_tokens, n_logprobs, n_top;
	double worst_logprob;
	int32_t *ids;
	size_t n_ids;
	float *embedding;
	size_t n_embedding;
	bool started, ended;
	uint64_t submitted_ns, first_ns, ended_ns;
	char tail[HTH_PROMPT_TAIL_MAX]; /* the prompt's, as it was known at the start */
	char pieces_text[512]; /* pieces with '|' between */
	void (*on_piece)(struct told *told);
	void *ctx;
} told;

typedef struct world {
	hth_loop *loop;
	hth_runner *runner;
	unsigned n_ready, n_exited, n_idle;
	float progress;
	size_t n_progress; /* times that it grew; it never falls */
	bool destroy_on_exit;
	hth_error reason;
	hth_timer *timer;
	bool late;
} world;

static inline void world_late(void *ctx) { ((world *)ctx)->late = true; }
static inline void world_ready(void *ctx, hth_runner *runner)
{
	(void)runner;
	((world *)ctx)->n_ready++;
}
static inline void world_progress(void *ctx, hth_runner *runner, float fraction)
{
	(void)runner;
	CHECK(fraction >= ((world *)ctx)->progress);
	((world *)ctx)->n_progress += fraction > ((world *)ctx)->progress;
	((world *)ctx)->progress = fraction;
}
static inline void world_exited(void *ctx, hth_runner *runner, const hth_error *reason)
{
	world *w = ctx;
	w->n_exited++;
	w->progress = 0; /* the next runner's begins anew */
	w->reason = *reason;
	if (w->destroy_on_exit) {
		hth_runner_destroy(runner);
		w->runner = NULL;
	}
}
static inline void world_idle(void *ctx, hth_runner *runner)
{
	(void)runner;
	((world *)ctx)->n_idle++;
}

static inline const char *starter_path(void)
{
	static char path[4096];
	const char *source = getenv("HEARTH_SOURCE");
	snprintf(path, sizeof path, "%s/models/starter.gguf", source ? source : ".");
	return path;
}

/* Turns the loop until a condition holds, at most this long on an idle machine: it bounds what hangs, and measures nothing, so a loaded
 * machine (or a sanitizer) is given ten times as much. */
#define WORLD_UNTIL(w, condition, ms)                                          \
	do {                                                                   \
		(w)->late = false;                                             \
		hth_timer_start((w)->timer, 10 * (ms), 0);                          \
		while (!(condition) && !(w)->late)                             \
			hth_loop_run_once((w)->loop, true);                    \
		hth_timer_stop((w)->timer);                                    \
		if (!(condition))                                              \
			test_fail(__FILE__, __LINE__, "not in time: %s", #condition); \
	} while (0)

static inline hth_status world_start(world *w, const char *name, const char *file, hth_runner_options options, hth_error *err)
{
	const char *files[] = {file};
	options.program = "/proc/self/exe";
	options.name = name;
	options.files = files;
	options.n_files = 1;
	if (options.n_threads == 0)
		options.n_threads = 2;
	const hth_runner_events events = {
	    .ready = world_ready, .progress = world_progress, .exited = world_exited, .idle = world_idle};
	if (w->loop == NULL) {
		HTH_TRY(hth_loop_create(&w->loop, err));
		HTH_TRY(hth_timer_open(&w->timer, w->loop, world_late, w, err));
	}
	w->n_ready = w->n_exited = 0;
	w->reason = HTH_ERROR_INIT;
	return hth_runner_start(&w->runner, w->loop, &options, &events, w, err);
}

static inline void world_finish(world *w)
{
	hth_runner_destroy(w->runner);
	hth_timer_close(w->timer);
	CHECK(hth_loop_destroy(w->loop)); /* nothing was left open */
	*w = (world){0};
}

#define WORLD(w, ...)                                                                             \
	world w = {0};                                                                            \
	{                                                                                         \
		hth_error err = HTH_ERROR_INIT;                                                   \
		REQUIRE_OK(world_start(&w, "starter", starter_path(), (hth_runner_options)__VA_ARGS__, &err)); \
		WORLD_UNTIL(&w, w.n_ready > 0 || w.n_exited > 0, 20000);                          \
		if (w.n_ready == 0) {                                                             \
			test_fail(__FILE__, __LINE__, "did not load: %s", w.reason.message);      \
			world_finish(&w);                                                         \
			return;                                                                   \
		}                                                                                 \
	}

static inline void sink_started(void *ctx, hth_request *request)
{
	told *t = ctx;
	memcpy(t->tail, request->prompt_tail, sizeof t->tail);
	CHECK(!t->started && !t->ended);
	t->started = true;
	t->first_ns = hth_clock_ns();
}
static inline void sink_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	told *t = ctx;
	(void)request;
	CHECK(t->started && !t->ended);
	if (t->len < 1 << 20) { /* a flood is counted, not kept */
		t->text = realloc(t->text, t->len + piece->len + 1);
		memcpy(t->text + t->len, piece->text, piece->len);
		t->text[t->len += piece->len] = '\0';
	}
	t->pieces++;
	t->n_tokens += piece->n_tokens;
	t->n_logprobs += (unsigned)piece->n_logprobs;
	t->n_top += (unsigned)(piece->n_logprobs * piece->n_top);
	for (size_t i = 0; i < piece->n_logprobs; i++)
		t->worst_logprob = HTH_MIN(t->worst_logprob, (double)piece->logprobs[i].logprob);
	size_t at = strlen(t->pieces_text);
	snprintf(t->pieces_text + at, sizeof t->pieces_text - at, "%s%.*s", at ? "|" : "", (int)piece->len, piece->text);
	if (t->on_piece != NULL)
		t->on_piece(t);
}
static inline void sink_tokens(void *ctx, hth_request *request, const int32_t *ids, size_t n)
{
	told *t = ctx;
	(void)request;
	CHECK(t->ids == NULL);
	t->ids = malloc((n ? n : 1) * sizeof *ids);
	if (n > 0)
		memcpy(t->ids, ids, n * sizeof *ids);
	t->n_ids = n;
}
static inline void sink_embedding(void *ctx, hth_request *request, const float *values, size_t n)
{
	told *t = ctx;
	(void)request;
	t->embedding = malloc(n * sizeof *values);
	memcpy(t->embedding, values, n * sizeof *values);
	t->n_embedding = n;
}
static inline void sink_ended(void *ctx, hth_request *request)
{
	told *t = ctx;
	CHECK(!t->ended);
	CHECK(hth_request_has_ended(request));
	t->ended = true;
	t->ended_ns = hth_clock_ns();
}
static const hth_request_sink world_sink = {sink_started, sink_piece, sink_tokens, sink_embedding, sink_ended};

/* A request that is routed and waits to be submitted: fill request->input and ->params. */
static inline hth_request *new_request(told *t, hth_request_kind kind)
{
	hth_error err = HTH_ERROR_INIT;
	hth_request *request = NULL;
	CHECK_OK(hth_request_create(&request, kind, &err));
	request->sink = &world_sink;
	request->sink_ctx = t;
	CHECK_OK(hth_request_admit(request, &err));
	CHECK_OK(hth_request_classify(request, HTH_PRIVATE, &err));
	CHECK_OK(hth_request_route(request, "here", "test", &err));
	t->request = request;
	return request;
}
static inline hth_request *new_chat(told *t, const char *words, int max_tokens)
{
	hth_request *request = new_request(t, HTH_CHAT);
	char json[8192];
	snprintf(json, sizeof json, "[{\"role\":\"user\",\"content\":\"%s\"}]", words);
	request->input.messages_json = strdup(json);
	request->params.max_tokens = max_tokens;
	request->params.sampling.seed = 11;
	request->params.sampling.seed_given = true;
	return request;
}
static inline hth_request *new_completion(told *t, const char *text, int max_tokens)
{
	hth_request *request = new_request(t, HTH_COMPLETION);
	request->input.text = strdup(text);
	request->input.text_len = strlen(text);
	request->params.max_tokens = max_tokens;
	request->params.sampling.seed = 11;
	request->params.sampling.seed_given = true;
	return request;
}
static inline void submit(world *w, told *t)
{
	hth_error err = HTH_ERROR_INIT;
	t->submitted_ns = hth_clock_ns();
	CHECK_OK(hth_runner_submit(w->runner, t->request, &err));
}
static inline void told_finish(told *t)
{
	hth_request_unref(t->request);
	free(t->text);
	free(t->ids);
	free(t->embedding);
	*t = (told){0};
}
static inline void run_one(world *w, told *t)
{
	submit(w, t);
	WORLD_UNTIL(w, t->ended, 30000);
}

#endif
