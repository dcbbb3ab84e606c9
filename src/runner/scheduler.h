/* scheduler.h - continuous batching: requests join and leave a batch that runs on.
 *
 *   add ─> waiting ─> a slot: held? ─> prefill ─> decode ─> ended
 *                 ^                                │
 *                 └──── gave way (memory short) ───┘
 *
 * Every step computes one batch: for each job that decodes, its last token (and guesses at the next ones, when they pay),
 * and with the room that is left, chunks of the prompts that others bring; or between two such steps a few layers of a larger
 * chunk (pace.h decides which). So a long prompt never stops the answers of others, and a short answer never waits for a long
 * one.
 *
 * A job's beginning is taken from what any other job has computed (sequences.h). When a running job is about to compute a
 * beginning that a newcomer shares, the newcomer is held until it is there: it is computed once.
 *
 * Jobs are taken in order. Memory for KV pages may be promised to more slots than can all be full: when it runs out, what is
 * kept of ended jobs goes first, then the job that came last gives way and computes its tokens again later; its client
 * notices only the pause.
 *
 * One thread calls add and step. hth_scheduler_cancel may be called from another while the job exists.
 */
#ifndef HTH_RUNNER_SCHEDULER_H
#define HTH_RUNNER_SCHEDULER_H

#include "runner/compute.h"
#include "runner/runner-job.h"

typedef struct hth_scheduler hth_scheduler;

/* Called inside step. After `ended` the job is the receiver's again. */
typedef struct hth_scheduler_events {
	void *ctx;
	void (*piece)(void *ctx, hth_job *job, const hth_answer_piece *piece);
	void (*embedding)(void *ctx, hth_job *job, const float *values, size_t n);
	/* One of: done (finished well), error (failed), or neither (was cancelled). */
	void (*ended)(void *ctx, hth_job *job, const hth_done *done, const hth_error *error);
} hth_scheduler_events;

/* n_slots: jobs that run at once; compute->n_seq must be more. Both structs are copied. */
HTH_MUST_USE hth_status hth_scheduler_create(hth_scheduler **ret_scheduler, const hth_compute *compute, uint32_t n_slots,
                                             const hth_scheduler_events *events, hth_error *err);
/* Jobs it still has are ended as cancelled. */
void hth_scheduler_destroy(hth_scheduler *scheduler);
/* Takes a prepared job: 1 <= n_prompt <= n_ctx, cap_tokens >= n_prompt + max_answer. */
void hth_scheduler_add(hth_scheduler *scheduler, hth_job *job);
/* One step. False: there was nothing to do, and will be nothing until the next add. */
bool hth_scheduler_step(hth_scheduler *scheduler);
/* From any thread: the job ends soon (a step that is computing for it alone, or takes long, is broken off between layers). */
void hth_scheduler_cancel(hth_scheduler *scheduler, hth_job *job);

/* For tests and figures. */
typedef struct hth_scheduler_stats {
	uint64_t steps, rows, aborted, gave_way, drafted, drafts_taken;
	uint32_t waiting, running;
} hth_scheduler_stats;
hth_scheduler_stats hth_scheduler_get_stats(const hth_scheduler *scheduler);

#endif
