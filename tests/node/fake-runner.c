/* fake-runner.c - see fake-runner.h. Answers are "word0 word1 ...", one piece per token, on the loop's timers. */
#include "fake-runner.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fake_settings fake;
unsigned fake_started, fake_destroyed, fake_stopped;
uint64_t fake_last_memory;

typedef struct fake_job {
	hth_runner *runner;
	hth_request *request;
	unsigned at;
	struct fake_job *next;
} fake_job;

struct hth_runner {
	hth_loop *loop;
	hth_runner_events events;
	void *ctx;
	hth_runner_info info;
	char name[256];
	hth_timer *timer; /* loading, then pieces */
	unsigned load_step; /* of LOAD_STEPS */
	hth_timer *exit_timer;
	hth_error reason;
	fake_job *jobs;
	size_t n_jobs;
	bool ready, exited;
	struct hth_runner *next;
};
enum { LOAD_STEPS = 20 };
static hth_runner *all;

static void drop(fake_job *job)
{
	hth_runner *r = job->runner;
	fake_job **at = &r->jobs;
	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	r->n_jobs--;
	hth_request_unref(job->request);
	free(job);
	if (r->n_jobs == 0 && !r->exited && r->events.idle != NULL)
		r->events.idle(r->ctx, r);
}

static void on_cancel(void *ctx, hth_request *request) { drop(ctx); }

static void step(fake_job *job)
{
	hth_request *q = job->request;
	char word[32];
	long limit = q->params.max_tokens >= 0 ? q->params.max_tokens : (long)fake.n_pieces;
	if (q->kind == HTH_EMBEDDING) {
		hth_request_embedding(q, (float[]){0.6f, 0.8f, 0, 0}, 4);
		hth_request_done(q, HTH_FINISH_STOP, &(hth_usage){.prompt_tokens = 3});
		return;
	}
	if (q->kind == HTH_TOKENIZE) {
		hth_request_tokens(q, (int32_t[]){1, 2, 3}, 3);
		hth_request_done(q, HTH_FINISH_STOP, NULL);
		return;
	}
	if (fake.text != NULL && q->kind == HTH_CHAT) {
		bool told = strstr(q->input.messages_json, "\"role\":\"tool\"") != NULL;
		const char *text = told ? "I have read it." : fake.text;
		/* In two pieces, as models come. */
		size_t half = strlen(text) / 2;
		hth_request_ref(q);
		hth_request_piece(q, &(hth_answer_piece){.text = text, .len = half, .n_tokens = 1});
		if (!hth_request_has_ended(q))
			hth_request_piece(q, &(hth_answer_piece){.text = text + half, .len = strlen(text) - half, .n_tokens = 1});
		hth_request_done(q, HTH_FINISH_STOP, &(hth_usage){.prompt_tokens = 7, .answer_tokens = 2});
		hth_request_unref(q);
		return;
	}
	if ((long)job->at < limit) {
		snprintf(word, sizeof word, "word%u ", job->at++);
		hth_request_piece(q, &(hth_answer_piece){.text = word, .len = strlen(word), .n_tokens = 1});
		return;
	}
	hth_usage usage = {.prompt_tokens = 5, .answer_tokens = job->at};
	hth_request_done(q, q->params.max_tokens >= 0 ? HTH_FINISH_LENGTH : HTH_FINISH_STOP, &usage);
}

static void on_timer(void *ctx)
{
	hth_runner *r = ctx;
	if (!r->ready && fake.load_ms >= 500 && ++r->load_step < LOAD_STEPS) {
		r->events.progress(r->ctx, r, (float)r->load_step / LOAD_STEPS);
		return;
	}
	if (!r->ready) {
		if (fake.load_fails) {
			r->exited = true;
			hth_fail(&r->reason, fake.load_status, "the file is bad at byte 7");
			hth_timer_stop(r->timer);
			r->events.exited(r->ctx, r, &r->reason);
			return;
		}
		r->ready = true;
		hth_timer_start(r->timer, fake.piece_ms, fake.piece_ms ? fake.piece_ms : 1);
		r->events.ready(r->ctx, r);
		return;
	}
	/* Slots: the first n jobs make progress. A step may end its job and others. */
	for (unsigned i = 0; i < r->info.n_slots; i++) {
		fake_job *job = r->jobs;
		for (unsigned k = 0; k < i && job != NULL; k++)
			job = job->next;
		if (job == NULL)
			return;
		hth_request_ref(job->request);
		hth_request *q = job->request;
		bool ended_before = hth_request_has_ended(q);
		if (!ended_before)
			step(job);
		/* Cancelling inside the step has dropped the job already. */
		if (q->state == HTH_REQUEST_DONE || q->state == HTH_REQUEST_FAILED) {
			drop(job);
			i--;
		}
		hth_request_unref(q);
		if (r->exited)
			return;
	}
}

static void on_exit_timer(void *ctx)
{
	hth_runner *r = ctx;
	if (r->exited)
		return;
	r->exited = true;
	hth_timer_stop(r->timer);
	r->events.exited(r->ctx, r, &r->reason);
}

hth_status hth_runner_start(hth_runner **ret_runner, hth_loop *loop, const hth_runner_options *o,
                            const hth_runner_events *events, void *ctx, hth_error *err)
{
	if (fake.start_fails)
		return hth_fail(err, HTH_IO, "no process can be started");
	hth_runner *r = calloc(1, sizeof *r);
	r->loop = loop;
	r->events = *events;
	r->ctx = ctx;
	snprintf(r->name, sizeof r->name, "%s", o->name);
	r->info = (hth_runner_info){.n_slots = o->n_slots ? o->n_slots : fake.n_slots ? fake.n_slots : 2,
	                            .n_ctx = 100,
	                            .weight_bytes = fake.weight_bytes,
	                            .plan_bytes = fake.plan_bytes,
	                            .architecture = "llama",
	                            .type = "Q8_0"};
	fake_last_memory = o->memory_bytes;
	fake_started++;
	if (hth_timer_open(&r->timer, loop, on_timer, r, err) != HTH_OK ||
	    hth_timer_open(&r->exit_timer, loop, on_exit_timer, r, err) != HTH_OK)
		abort();
	if (fake.load_ms >= 500) /* long enough to be watched */
		hth_timer_start(r->timer, fake.load_ms / LOAD_STEPS, fake.load_ms / LOAD_STEPS);
	else
		hth_timer_start(r->timer, fake.load_ms, 0);
	r->next = all;
	all = r;
	*ret_runner = r;
	return HTH_OK;
}

hth_status hth_runner_submit(hth_runner *r, hth_request *request, hth_error *err)
{
	if (r->exited)
		return hth_fail(err, HTH_GONE, "the runner is gone");
	HTH_TRY(hth_request_run(request, err));
	fake_job *job = calloc(1, sizeof *job);
	job->runner = r;
	job->request = hth_request_ref(request);
	request->cancel = on_cancel;
	request->cancel_ctx = job;
	fake_job **at = &r->jobs;
	while (*at != NULL)
		at = &(*at)->next;
	*at = job;
	r->n_jobs++;
	return HTH_OK;
}

const hth_runner_info *hth_runner_get_info(const hth_runner *r) { return r->ready ? &r->info : NULL; }
const char *hth_runner_name(const hth_runner *r) { return r->name; }
pid_t hth_runner_pid(const hth_runner *r) { return 12345; }
size_t hth_runner_active(const hth_runner *r) { return r->n_jobs; }
uint64_t hth_runner_memory_bytes(const hth_runner *r) { return r->exited ? 0 : 1 << 20; }

static void end_jobs(hth_runner *r, bool cancel)
{
	while (r->jobs != NULL) {
		fake_job *job = r->jobs;
		hth_request *q = hth_request_ref(job->request);
		if (cancel) {
			hth_request_cancel(q); /* drops the job */
		} else {
			hth_request_fail(q, &r->reason);
			drop(job);
		}
		hth_request_unref(q);
	}
}

void hth_runner_stop(hth_runner *r)
{
	fake_stopped++;
	end_jobs(r, true);
	hth_fail(&r->reason, HTH_CANCELLED, "stopped");
	hth_timer_start(r->exit_timer, 3, 0);
}

void fake_kill(hth_runner *r)
{
	hth_fail(&r->reason, HTH_GONE, "the runner died (signal 9)");
	r->exited = true;
	hth_timer_stop(r->timer);
	end_jobs(r, false);
	r->events.exited(r->ctx, r, &r->reason);
}

void hth_runner_destroy(hth_runner *r)
{
	if (r == NULL)
		return;
	r->exited = true;
	hth_fail(&r->reason, HTH_GONE, "the runner was destroyed");
	end_jobs(r, false);
	hth_timer_close(r->timer);
	hth_timer_close(r->exit_timer);
	hth_runner **at = &all;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	fake_destroyed++;
	free(r);
}

hth_runner *fake_find(const char *name)
{
	for (hth_runner *r = all; r != NULL; r = r->next) {
		if (strcmp(r->name, name) == 0 && !r->exited)
			return r;
	}
	return NULL;
}
