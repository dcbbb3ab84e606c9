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
	uint32_t first_want; /* number of its first logits, where n_echo or n_wants > 0 */
	uint32_t n_echo;     /* of its rows, the first whose logits are for the prompt's next tokens (scheduler-echo.c) */
	uint32_t n_wants;    /* for the answer; behind those */
	int32_t drafts[HTH_DRAFT_MAX];
	/* What the logits said, in order; all but the last are drafts that were right. */
	int32_t chosen[HTH_DRAFT_MAX + 1];
	uint32_t n_chosen;
	int32_t drawn; /* the sampler's word on the first, where that is known already */
	bool ended; /* by a token that ends answers, which is not among chosen */
	bool stuck; /* its grammar has no way to go on */
	bool tight; /* the rest of its tokens may be just enough for its grammar */
	float logprob;
	hth_logprob top[HTH_TOP_LOGPROBS_MAX];
	hth_token_evidence evidence[HTH_DRAFT_MAX + 1]; /* of chosen, where a job weighs */
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
	uint32_t n_foreground; /* jobs, waiting or running, that others rest for; as of this step */
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
/* A background job gives its slot and its memory back; false: there is none. */
bool hth_scheduler_take_from_background(hth_scheduler *s);
/* A background job does nothing while there is another. */
static inline bool hth_scheduler_rests(const hth_scheduler *s, const hth_job *job)
{
	return job->ask.input.background && s->n_foreground > 0;
}
/* A bound answer that may have to be led to its end: its next tokens depend on more than the tokens before. */
bool hth_scheduler_is_near_end(const hth_job *job, size_t tokens);
/* Takes in the tokens that the answer has already, as if they had just been chosen; those that need logits for it are left to the steps.
 * *ret_over: that was all of the answer, and *ret_done says how it ended. */
HTH_MUST_USE hth_status hth_scheduler_replay(hth_scheduler *s, hth_job *job, bool *ret_over, hth_done *ret_done, hth_error *err);
/* A prompt that is given back with logprobs. The most rows that the job may have in a step (UINT32_MAX: any number); what is kept for it,
 * with the first token given out; reading a member's rows (a worker's), then giving them out, before n_computed changes. */
typedef struct hth_echo hth_echo;
bool hth_scheduler_echoes_rows(const hth_job *job);
uint32_t hth_scheduler_echo_most(const hth_scheduler *s, const hth_job *job);
HTH_MUST_USE hth_status hth_scheduler_echo_start(hth_scheduler *s, hth_job *job, hth_answer_fn fn, hth_error *err);
void hth_scheduler_echo_read(hth_scheduler *s, step_member *m);
void hth_scheduler_echo_tell(const step_member *m);
/* HTH_INVALID: more text was given out than the tokens that are there make. Only once all of them were taken in. */
HTH_MUST_USE hth_status hth_scheduler_check_given(const hth_job *job, hth_error *err);
/* Usage so far. */
hth_usage hth_scheduler_usage(const hth_scheduler *s, const hth_job *job);
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
