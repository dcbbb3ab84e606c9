/* runner-job.h - one request inside the runner: what was asked, and how far it has come.
 *
 * A job has one owner at a time and wanders: the reader makes it, the preparer turns words into tokens, the scheduler
 * computes the answer, and whoever ends it frees it. Only `cancelled` is touched by another thread (the reader) meanwhile.
 */
#ifndef HTH_RUNNER_JOB_H
#define HTH_RUNNER_JOB_H

#include "runner/answer.h"
#include "runner/grammar-cache.h"
#include "runner/runner-messages.h"

#include <stdatomic.h>

typedef enum hth_job_state {
	HTH_JOB_WAITING, /* for a slot */
	HTH_JOB_HELD,    /* has a slot; another job is computing a prefix that both share */
	HTH_JOB_PREFILL, /* tokens that are known wait to be computed */
	HTH_JOB_DECODE   /* only the last token, just chosen, waits */
} hth_job_state;

typedef struct hth_job {
	struct hth_job *next; /* in its owner's queue */
	uint32_t id;          /* the daemon's number */
	hth_ask ask;
	uint64_t received_ns;
	atomic_bool cancelled;

	/* Made by the preparer. tokens has room for the prompt and the longest answer: nothing grows while decoding. */
	int32_t *tokens; /* the prompt, then the answer */
	uint32_t n_tokens, cap_tokens, n_prompt;
	uint32_t max_answer; /* tokens */
	uint32_t n_forced;   /* of the answer, the first so many are ask.input.resume's */
	size_t n_stop_asked; /* stop strings of the request; those behind them are the template's need */
	char prompt_tail[HTH_PROMPT_TAIL_MAX]; /* of a chat: how the prompt ends */
	bool at_start;       /* the answer begins a text rather than going on with one */
	char *echo;          /* the prompt's text, when it is to be given back first */
	size_t echo_len;
	hth_grammar *grammar; /* borrowed from grammars: what binds the answer; NULL: nothing */
	hth_grammar_cache *grammars;

	/* The scheduler's. */
	hth_job_state state;
	int seq;             /* -1: none */
	uint32_t n_computed; /* tokens in the sequence */
	bool in_slice;       /* PREFILL: the next ones are being computed in slices */
	uint32_t n_cached;   /* of the prompt, that were there already */
	uint64_t serial;     /* order of admission; the highest gives way when memory is short */
	struct hth_job *leader; /* HELD: who computes the shared prefix ... */
	uint32_t leader_tokens; /* ... of so many tokens */
	struct hth_scheduler *scheduler;
	hth_sampler *sampler;
	hth_answer answer;
	bool started; /* sampler and answer exist */
	hth_grammar_matcher *matcher; /* where the answer stands in the grammar */
	uint32_t *allowed;            /* masks: for the next token, and behind guesses at it and what follows (HTH_DRAFT_MAX) */
	float *spare;                 /* logits, while it may be that a token must be chosen once more to end in time; NULL until then */
	bool hurried;                 /* a token was chosen to end in time */
	struct hth_echo *echo_rows; /* the prompt's tokens are given back with their logprobs (scheduler-echo.c); NULL: not */
	float *raw;   /* logits before the sampler changes them; only with logprobs */
	uint64_t admitted_ns, first_ns;
	uint32_t n_answer;
	struct hth_speculation *speculation; /* NULL: none */
	int follower;                        /* 1 + its sequence of the smaller model; 0: none */
} hth_job;

void hth_echo_destroy(struct hth_echo *echo);

/* NULL: no memory. Takes over what ask holds. */
hth_job *hth_job_create(uint32_t id, hth_ask *ask, uint64_t now_ns);
/* Wipes and frees; NULL does nothing. */
void hth_job_destroy(hth_job *job);

#endif
