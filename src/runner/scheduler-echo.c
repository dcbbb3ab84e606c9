/* scheduler-echo.c - a prompt that is given back with its tokens' log probabilities (echo together with logprobs).
 *
 * Each token needs the logits behind the one before it, so the whole prompt is computed for such a job, in chunks of as many rows as have
 * logits, and nothing is taken from what others have computed. The first token has nothing before it: its row says probability 1, which
 * whoever writes the answer shows as none. Thread: the scheduler's; hth_scheduler_echo_read a worker's.
 */
#include "runner/scheduler-internal.h"

#include "base/mem.h"

typedef struct echo_row {
	float logprob;
	hth_logprob top[HTH_TOP_LOGPROBS_MAX];
} echo_row;

struct hth_echo {
	hth_request_params params; /* of the prompt's text: no stop strings */
	hth_answer text;
	uint32_t told; /* the last token of the prompt whose row was given out */
	echo_row rows[];
};

bool hth_scheduler_echoes_rows(const hth_job *job) { return job->ask.input.echo && job->ask.params.top_logprobs >= 0; }

/* Each slot's part of the rows that may have logits: so nobody's are short, whoever else runs. */
uint32_t hth_scheduler_echo_most(const hth_scheduler *s, const hth_job *job)
{
	uint32_t outputs = s->compute.n_outputs > 0 ? s->compute.n_outputs : s->compute.n_batch;
	return hth_scheduler_echoes_rows(job) ? HTH_MAX(outputs / HTH_MAX(s->n_running, 1u), 1u) : UINT32_MAX;
}

hth_status hth_scheduler_echo_start(hth_scheduler *s, hth_job *job, hth_answer_fn fn, hth_error *err)
{
	uint32_t outputs = s->compute.n_outputs > 0 ? s->compute.n_outputs : s->compute.n_batch;
	const hth_logprob itself = {job->tokens[0], 0};
	hth_logprob top[HTH_TOP_LOGPROBS_MAX];
	hth_echo *e = calloc(1, sizeof *e + outputs * sizeof *e->rows);
	if (e == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for logprobs");
	e->params = (hth_request_params){.top_logprobs = job->ask.params.top_logprobs, .special_text = job->ask.input.parse_special};
	hth_status status = hth_answer_init(&e->text, s->compute.tokenizer, true, &e->params, fn, job, err);
	if (status != HTH_OK) {
		free(e);
		return status;
	}
	e->text.of_prompt = true;
	job->echo_rows = e;
	for (size_t i = 0; i < HTH_TOP_LOGPROBS_MAX; i++)
		top[i] = itself;
	hth_answer_push(&e->text, job->tokens[0], 0, top);
	if (job->n_prompt == 1)
		hth_answer_flush(&e->text);
	return HTH_OK;
}

void hth_scheduler_echo_read(hth_scheduler *s, step_member *m)
{
	const hth_job *job = m->job;
	for (uint32_t i = 0; i < m->n_echo; i++) {
		echo_row *row = &job->echo_rows->rows[i];
		hth_logprobs(s->compute.logits(s->compute.ctx, m->first_want + i), s->compute.n_vocab, job->tokens[job->n_computed + i + 1],
		             &row->logprob, row->top, job->echo_rows->text.n_top);
	}
}

void hth_scheduler_echo_tell(const step_member *m)
{
	const hth_job *job = m->job;
	hth_echo *e = job->echo_rows;
	for (uint32_t i = 0; i < m->n_echo; i++) {
		uint32_t at = job->n_computed + i + 1;
		if (at <= e->told) /* it gave way meanwhile, and computes its prompt again */
			continue;
		e->told = at;
		hth_answer_push(&e->text, job->tokens[at], e->rows[i].logprob, e->rows[i].top);
		if (at + 1 == job->n_prompt)
			hth_answer_flush(&e->text);
	}
}

void hth_echo_destroy(hth_echo *echo)
{
	if (echo != NULL)
		hth_answer_finish(&echo->text);
	free(echo);
}
