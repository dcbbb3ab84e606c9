/* scheduler-resume.c - an answer that began elsewhere: its tokens are taken in as if they had just been chosen here.
 *
 * Everything that remembers tokens is told of them one by one: the sampler's penalties, the text (characters that tokens cut, what may
 * become a stop string), the grammar. Draws need no memory: each is that of its place in the answer (hth_sampler_seek). Three things depend
 * on more than the tokens: mirostat, which adds up how surprising they were; the end of a bound answer, which may have been hurried; and,
 * where kernels round a batch otherwise than a single token, the last bits of the KV cache. There the steps go through the logits of each
 * place once more (scheduler-step.c), in batches as large as round alike, and take the token that is known whatever they say. Of the third
 * only answers that are expected to repeat themselves (greedy, or with a seed) need that, and only of a length that is soon caught up with.
 * Thread: the scheduler's.
 */
#include "runner/scheduler-internal.h"

/* What an unfinished character may have become when its answer ended: a replacement for each byte. */
enum { REPLACED_MAX = 4 * 3 };
/* Steps that a repeated answer is worth. */
enum { STEPS_MAX = 256 };

/* Takes one in. *ret_whole: nothing can follow it. */
static hth_status take(hth_job *job, int32_t token, bool *ret_whole, int *ret_stop, hth_error *err)
{
	if (job->matcher != NULL && !hth_grammar_accept(job->matcher, token))
		return hth_fail(err, HTH_INVALID, "token %u of the answer so far is none that the grammar which binds it allows",
		                job->n_answer);
	*ret_whole = job->matcher != NULL && !hth_grammar_matcher_waits(job->matcher) && hth_grammar_must_end(job->matcher);
	hth_sampler_accept(job->sampler, token);
	job->tokens[job->n_tokens++] = token;
	job->n_answer++;
	*ret_stop = hth_answer_replay(&job->answer, token);
	return HTH_OK;
}

hth_status hth_scheduler_check_given(const hth_job *job, hth_error *err)
{
	uint64_t given = job->ask.input.resume_bytes;
	if (hth_answer_bytes(&job->answer) + REPLACED_MAX >= given)
		return HTH_OK;
	return hth_fail(err, HTH_INVALID, "the answer so far has %llu bytes, more than its %u tokens make", (unsigned long long)given,
	                job->n_forced);
}

hth_status hth_scheduler_replay(hth_scheduler *s, hth_job *job, bool *ret_over, hth_done *ret_done, hth_error *err)
{
	const hth_request_input *input = &job->ask.input;
	const hth_sampling *sampling = &job->ask.params.sampling;
	bool repeats = (sampling->seed_given || sampling->temperature == 0) && job->n_forced / s->compute.exact_rows <= STEPS_MAX;
	bool whole = false, by_logits = input->weigh || sampling->mirostat != 0 || (repeats && s->compute.exact_rows != UINT32_MAX);
	int stop = -1;
	*ret_over = false;
	job->answer.skip = input->resume_bytes;
	while (job->n_answer < job->n_forced && !by_logits && !whole && stop < 0) {
		if (job->matcher != NULL && hth_scheduler_is_near_end(job, 0))
			by_logits = true;
		else
			HTH_TRY(take(job, input->resume[job->n_answer], &whole, &stop, err));
	}
	bool over = whole || stop >= 0 || (job->n_forced > 0 && job->n_answer >= job->max_answer);
	if (over && stop < 0)
		stop = hth_answer_flush(&job->answer);
	if (!by_logits && stop < 0)
		HTH_TRY(hth_scheduler_check_given(job, err));
	if (!over)
		return HTH_OK;
	*ret_over = true;
	*ret_done = (hth_done){.reason = whole || stop >= 0 ? HTH_FINISH_STOP : HTH_FINISH_LENGTH, .stop = stop,
	                       .usage = hth_scheduler_usage(s, job)};
	return HTH_OK;
}
