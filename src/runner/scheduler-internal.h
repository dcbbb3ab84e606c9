/* scheduler-internal.h - what the two halves of the scheduler share: scheduler.c (who runs) and scheduler-step.c (what one
 * step computes). */
#ifndef HTH_RUNNER_SCHEDULER_INTERNAL_H
#define HTH_RUNNER_SCHEDULER_INTERNAL_H

#include "runner/drafter.h"
#include "runner/pace.h"
#include "runner/scheduler.h"
#include "runner/sequences.h"

#include <pthread.h>

enum { HTH_DRAFT_MAX = 8 };

/* A job's part of a batch. */
typedef struct step_member {
	hth_job *job;
	uint32_t n_rows;     /* tokens computed for it */
	uint32_t n_drafts;   /* of those, guesses at the end */
	uint32_t first_want; /* number of its first logits, where n_wants > 0 */
	uint32_t n_wants;
	int32_t drafts[HTH_DRAFT_MAX];
	/* What the logits said, in order; all but the last are drafts that were right. */
	int32_t chosen[HTH_DRAFT_MAX + 1];
	uint32_t n_chosen;
	bool ended; /* by a token that ends answers, which is not among chosen */
	bool stuck; /* its grammar has no way to go on */
	bool tight; /* the rest of its tokens may be just enough for its grammar */
	float logprob;
	hth_logprob top[HTH_TOP_LOGPROBS_MAX];
} step_member;

/* A batch: whose rows it has, and the rows. */
typedef struct step_batch {
	step_member *members; /* n_slots */
	uint32_t n_members;
	hth_batch_token *tokens;
	size_t n; /* rows; of the batch in slices: 0 when there is none */
} step_batch;

struct hth_scheduler {
	hth_compute compute;
	hth_scheduler_events events;
	uint32_t n_slots;
	hth_sequences *sequences;
	hth_pace pace;
	hth_drafter *drafter; /* NULL: none */
	hth_job *waiting, **waiting_end;
	hth_job **running; /* n_running, in order of admission */
	uint32_t n_running;
	uint64_t serial;
	step_batch batch;       /* of this step; room for compute.n_batch rows */
	step_batch slice;       /* a chunk of prompts that is computed in slices; room for compute.n_slice */
	uint64_t slice_ns;      /* that its slices took so far */
	bool slice_turn;        /* the next step is a slice, the last one was for answers */
	step_batch *chosen;     /* whose logits are being read */
	hth_job **jobs;         /* members' jobs */
	bool broke_off;         /* the last step: the next one runs to its end */
	float *embedding;       /* compute.n_embd */
	int32_t *end_ids;       /* tokens that end an answer: masked for those who ignore them */
	size_t n_end_ids;
	hth_scheduler_stats stats;

	/* What is being computed, for cancel. */
	pthread_mutex_t lock; /* guards the fields below */
	atomic_bool break_off;
	hth_job **computing;
	uint32_t n_computing;
	bool may_break; /* long enough to be worth breaking off for one of several */
};

static inline size_t hth_scheduler_mask_words(const hth_scheduler *s) { return (s->compute.n_vocab + 31) / 32; }
/* Ends a running job: its sequence is kept for later, its slot is free. */
void hth_scheduler_end_running(hth_scheduler *s, hth_job *job, const hth_done *done, const hth_error *error);
/* The running job that came last goes back to the head of the queue. False: there is no other than `but`. */
bool hth_scheduler_give_way(hth_scheduler *s);
/* Says what is computed from now on, for whom; false when one of them was cancelled already, and then nothing is. */
bool hth_scheduler_begin_compute(hth_scheduler *s, hth_job *const *jobs, uint32_t n, bool may_break);
void hth_scheduler_finish_compute(hth_scheduler *s);
/* The batch in slices is given up, if there is one: its jobs' chunks are computed again. */
void hth_scheduler_drop_slice(hth_scheduler *s);
/* Computes one batch, or a slice of one, for the running jobs. False: none of them has anything to compute. */
bool hth_scheduler_run_batch(hth_scheduler *s);

#endif
