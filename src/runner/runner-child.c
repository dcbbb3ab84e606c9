/* runner-child.c - the main of a runner: lock in, open the model, answer until told to stop.
 *
 * The order is the point: arguments (from the daemon, trusted) -> what needs the outside (time zone, randomness) -> sandbox -> reader
 * thread -> model. Not a byte of the model is read before the sandbox is on, and from then on whatever the model makes
 * this process do, it can only write frames.
 * Owns the scheduler's loop. Never prints; failures go to the daemon as a `broken` frame.
 */
#include "runner/runner-child.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/kernels/kernels.h"
#include "json/json.h"
#include "runner/read-in.h"
#include "runner/runner-draft.h"
#include "runner/runner-engine.h"
#include "runner/spill.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

/* Address space beside weights, KV cache and scratch: the program, its libraries and stacks, requests on their way. */
#define BESIDE_BYTES ((uint64_t)1 << 30)
#define PER_THREAD_BYTES ((uint64_t)9 << 20)

static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || v > max)
		return false;
	*ret = v;
	return true;
}

/* __runner FRAMES-VERSION N-FILES N-SLOTS N-CTX N-THREADS MEMORY-BYTES SPILL-BYTES N-DRAFT-FILES NAME */
static bool parse_arguments(hth_runner_child *child, int argc, char **argv)
{
	int at = 1;
	while (at < argc && strcmp(argv[at], "__runner") != 0)
		at++;
	uint64_t v[8];
	static const uint64_t max[8] = {HTH_FRAME_VERSION, HTH_RUNNER_FILES_MAX, UINT32_MAX, UINT32_MAX, 512, UINT64_MAX, INT64_MAX,
	                                HTH_RUNNER_FILES_MAX};
	if (argc - at != 10)
		return false;
	for (int i = 0; i < 8; i++)
		if (!parse_number(argv[at + 1 + i], max[i], &v[i]))
			return false;
	if (v[0] != HTH_FRAME_VERSION || v[1] == 0 || v[1] + v[7] > HTH_RUNNER_FILES_MAX)
		return false;
	child->n_files = (size_t)v[1];
	child->wish = (hth_plan_wish){.n_slots = (uint32_t)v[2], .n_ctx = (uint32_t)v[3], .memory_bytes = v[5]};
	child->n_threads = (uint32_t)v[4];
	child->spill_bytes = v[6];
	child->n_draft_files = (size_t)v[7];
	snprintf(child->name, sizeof child->name, "%s", argv[at + 9]);
	return true;
}

/* What will not be possible inside. */
static void before_sandbox(void)
{
	/* The daemon decides when this ends: by a frame, or by closing its end of the socket. A Ctrl-C at the terminal, or
	 * a service manager that signals the whole group, must not cut the answers that the daemon is finishing. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* When memory runs out, this process goes before the daemon does. */
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "300", 3);
		close(fd);
	}
	/* Templates show the date: with a named zone, libc does not look for the file again. */
	setenv("TZ", ":/etc/localtime", 0);
	tzset();
	json_object_seed(0);
	mallopt(M_ARENA_MAX, 2); /* arenas reserve address space, and the limit counts it */
}

/* ---- frames of loading ---- */

static bool put_progress(hth_buf *out, void *arg) { return hth_message_put_progress(out, *(float *)arg); }
static void tell_progress(hth_runner_child *child, float fraction)
{
	hth_outbox_put(&child->outbox, put_progress, &fraction);
	hth_outbox_flush(&child->outbox);
}
static bool put_broken(hth_buf *out, void *arg) { return hth_message_put_error(out, HTH_FRAME_BROKEN, 0, arg); }
static bool put_ready(hth_buf *out, void *arg) { return hth_message_put_ready(out, arg); }

/* The beginning of a template that is too long is better than nothing: marks show early. */
static void copy_template(char *out, size_t cap, hth_chat_template tmpl)
{
	size_t len;
	const char *source = hth_chat_template_source(tmpl, &len);
	const char *end = memchr(source, '\0', len);
	len = end != NULL ? (size_t)(end - source) : len;
	if (len > cap - 1)
		len = cap - 1 - hth_utf8_incomplete_suffix(source, cap - 1);
	memcpy(out, source, len);
	out[len] = '\0';
}

static void tell_ready(hth_runner_child *child, const hth_model *model, const hth_plan *plan)
{
	const hth_model_info *m = hth_model_get_info(model);
	const hth_jinja_caps *caps = hth_preparer_caps(child->preparer);
	hth_runner_info info = {.n_params = m->n_params,
	                        .weight_bytes = m->weight_bytes,
	                        .plan_bytes = plan->session_bytes,
	                        .n_ctx = plan->n_ctx,
	                        .n_ctx_train = m->n_ctx_train,
	                        .n_slots = plan->n_slots,
	                        .n_embd = m->n_embd,
	                        .n_vocab = m->n_vocab,
	                        .n_layer = m->n_layer,
	                        .embedding = m->embedding,
	                        .has_template = m->has_template,
	                        .tools = m->has_template && caps->tools,
	                        .thinking = m->has_template && caps->thinking,
	                        .landlock_abi = child->landlock_abi};
	snprintf(info.name, sizeof info.name, "%s", m->name);
	snprintf(info.architecture, sizeof info.architecture, "%s", m->architecture);
	snprintf(info.type, sizeof info.type, "%s", m->type);
	snprintf(info.license, sizeof info.license, "%s", m->license);
	snprintf(info.kernels, sizeof info.kernels, "%s", hth_kernels_name());
	if (m->has_template && !hth_chat_template_is_none(hth_preparer_template(child->preparer)))
		copy_template(info.chat_template, sizeof info.chat_template, hth_preparer_template(child->preparer));
	hth_outbox_put(&child->outbox, put_ready, &info);
	hth_outbox_flush(&child->outbox);
}

/* ---- what the scheduler tells ---- */

typedef struct event {
	uint32_t id;
	const void *what;
	size_t n;
} event;
static bool put_piece(hth_buf *out, void *arg) { return hth_message_put_piece(out, ((event *)arg)->id, ((event *)arg)->what); }
static bool put_embedding(hth_buf *out, void *arg)
{
	const event *e = arg;
	return hth_message_put_embedding(out, e->id, e->what, e->n);
}
static bool put_done(hth_buf *out, void *arg) { return hth_message_put_done(out, ((event *)arg)->id, ((event *)arg)->what); }
static bool put_fail(hth_buf *out, void *arg)
{
	return hth_message_put_error(out, HTH_FRAME_FAIL, ((event *)arg)->id, ((event *)arg)->what);
}

static void on_piece(void *ctx, hth_job *job, const hth_answer_piece *piece)
{
	hth_outbox_put(&((hth_runner_child *)ctx)->outbox, put_piece, &(event){job->id, piece, 0});
}
static void on_embedding(void *ctx, hth_job *job, const float *values, size_t n)
{
	hth_outbox_put(&((hth_runner_child *)ctx)->outbox, put_embedding, &(event){job->id, values, n});
}
static void on_ended(void *ctx, hth_job *job, const hth_done *done, const hth_error *error)
{
	hth_runner_child *child = ctx;
	if (done != NULL) {
		hth_done said = *done;
		if (said.stop >= (int)job->n_stop_asked)
			said.stop = -1; /* the template's need, not the request's */
		hth_outbox_put(&child->outbox, put_done, &(event){job->id, &said, 0});
	} else if (error != NULL) {
		hth_outbox_put(&child->outbox, put_fail, &(event){job->id, error, 0});
	}
	hth_child_free_job(child, job);
}

/* ---- life ---- */

static hth_status start_thread(void *(*fn)(void *), hth_runner_child *child, hth_error *err)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, fn, child);
	if (rc != 0)
		return hth_fail_errno(err, HTH_NO_MEMORY, rc, "cannot start a thread");
	pthread_detach(thread);
	return HTH_OK;
}

static hth_status enter_sandbox(hth_runner_child *child, hth_error *err)
{
	int keep[2 + HTH_RUNNER_FILES_MAX] = {HTH_RUNNER_SOCKET};
	size_t n_keep = 1;
	for (size_t i = 0; i < child->n_files + child->n_draft_files + (child->spill_bytes > 0); i++)
		keep[n_keep++] = HTH_RUNNER_FIRST_FILE + (int)i;
	if (child->spill_bytes > 0) { /* whatever a model makes of this process, it fills no disk */
		struct rlimit file = {child->spill_bytes, child->spill_bytes};
		if (setrlimit(RLIMIT_FSIZE, &file) != 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot limit the size of files");
	}
	uint64_t beside = BESIDE_BYTES + PER_THREAD_BYTES * (child->n_threads + 4u);
	uint64_t memory = child->wish.memory_bytes;
	hth_sandbox_options options = {.memory_bytes = memory > 0 && memory <= UINT64_MAX - beside ? memory + beside : 0,
	                               .keep_fds = keep,
	                               .n_keep_fds = n_keep,
	                               .write_files = child->spill_bytes > 0};
	hth_sandbox_report report;
	HTH_TRY(hth_sandbox_enter(&options, &report, err));
	child->landlock_abi = report.landlock_abi;
	return HTH_OK;
}

/* Opening is the first hundredth of loading, what is made for requests the last. */
static void on_read_in(void *ctx, uint64_t done, uint64_t all) { tell_progress(ctx, 0.01f + 0.98f * (float)((double)done / (double)all)); }

/* Everything up to the first request that could be answered. */
static hth_status open_model(hth_runner_child *child, hth_runner_engine *engine, hth_compute *ret_compute, hth_plan *ret_plan,
                             hth_error *err)
{
	static hth_runner_engine draft; /* lives as long as the process */
	static hth_compute draft_compute;
	int fds[HTH_RUNNER_FILES_MAX];
	size_t n_fds = child->n_files + child->n_draft_files;
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = HTH_RUNNER_FIRST_FILE + (int)i;
	hth_model *model = NULL;
	HTH_TRY(hth_model_open(&model, fds, child->n_files, child->name, err));
	engine->model = model; /* stays until the process ends, like all of this */
	for (size_t i = 0; i < child->n_files; i++)
		close(HTH_RUNNER_FIRST_FILE + (int)i);
	tell_progress(child, 0.01f);
	HTH_TRY(hth_threads_create(&engine->threads, child->n_threads, err));
	hth_plan_wish wish = child->wish;
	uint64_t draft_room = 0;
	if (child->n_draft_files > 0) {
		HTH_TRY(hth_runner_draft_open(&draft, model, fds + child->n_files, child->n_draft_files, err));
		draft_room = hth_runner_draft_room(&draft, model, wish.memory_bytes);
		wish.memory_bytes -= HTH_MIN(wish.memory_bytes, draft_room);
	}
	HTH_TRY(hth_plan_choose(ret_plan, model, &wish, err));
	HTH_TRY(hth_read_in(hth_model_gguf(model), engine->threads, on_read_in, child, err));
	HTH_TRY(hth_session_create(&engine->session, model, engine->threads, &ret_plan->options, err));
	hth_error none;
	/* A file too small for one page is as good as none. */
	if (child->spill_bytes > 0 && hth_spill_create(&engine->spill, HTH_RUNNER_FIRST_FILE + (int)n_fds, child->spill_bytes,
	                                               hth_session_page_bytes(engine->session), &none) != HTH_OK)
		engine->spill = NULL;
	*ret_compute = hth_runner_engine_compute(engine);
	if (child->n_draft_files > 0) {
		uint64_t weights = hth_model_get_info(draft.model)->weight_bytes;
		HTH_TRY(hth_runner_draft_start(&draft, engine->threads, ret_plan, child->wish.memory_bytes > 0 ? draft_room - weights : 0,
		                               err));
		draft_compute = hth_runner_engine_compute(&draft);
		ret_compute->draft = &draft_compute;
		ret_plan->session_bytes += draft_room;
	}
	HTH_TRY(hth_preparer_create(&child->preparer, model, ret_plan->n_ctx, child->name, err));
	tell_progress(child, 1);
	return HTH_OK;
}

static hth_status start(hth_runner_child *child, hth_runner_engine *engine, hth_error *err)
{
	HTH_TRY(enter_sandbox(child, err));
	HTH_TRY(start_thread(hth_child_reader, child, err));
	tell_progress(child, 0);
	hth_compute compute;
	hth_plan plan;
	HTH_TRY(open_model(child, engine, &compute, &plan, err));
	hth_scheduler_events events = {.ctx = child, .piece = on_piece, .embedding = on_embedding, .ended = on_ended};
	hth_scheduler *scheduler;
	HTH_TRY(hth_scheduler_create(&scheduler, &compute, plan.n_slots, &events, err));
	pthread_mutex_lock(&child->lock);
	child->scheduler = scheduler;
	pthread_mutex_unlock(&child->lock);
	HTH_TRY(start_thread(hth_child_preparer, child, err));
	tell_ready(child, engine->model, &plan);
	return HTH_OK;
}

int hth_runner_main(int argc, char **argv)
{
	static hth_runner_child child; /* large, and lives as long as the process */
	static hth_runner_engine engine;
	struct stat st;
	if (!parse_arguments(&child, argc, argv) || fstat(HTH_RUNNER_SOCKET, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "hearth: __runner is started by `hearth serve`, not by hand\n");
		return 2;
	}
	pthread_mutex_init(&child.lock, NULL);
	hth_outbox_init(&child.outbox, HTH_RUNNER_SOCKET);
	hth_job_queue_init(&child.asked);
	hth_job_queue_init(&child.ready);
	before_sandbox();
	/* Tests have answers last as long as those of large models do. */
	const char *pause = getenv("HEARTH_TEST_STEP_MS");
	int step_ms = pause != NULL ? atoi(pause) : 0;
	hth_error err = HTH_ERROR_INIT;
	if (start(&child, &engine, &err) != HTH_OK) {
		hth_outbox_put(&child.outbox, put_broken, &err);
		hth_outbox_flush(&child.outbox);
		hth_child_exit(1);
	}
	bool busy = false;
	for (;;) {
		if (busy && step_ms > 0)
			poll(NULL, 0, step_ms);
		hth_job *job = hth_job_queue_take(&child.ready, !busy);
		while (job != NULL) {
			hth_job *next = job->next;
			hth_scheduler_add(child.scheduler, job);
			job = next;
		}
		busy = hth_scheduler_step(child.scheduler);
		hth_outbox_flush(&child.outbox);
	}
}
