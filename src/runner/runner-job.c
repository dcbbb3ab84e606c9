/* runner-job.c - making and wiping jobs; see runner-job.h. */
#include "runner/runner-job.h"

#include "base/mem.h"

hth_job *hth_job_create(uint32_t id, hth_ask *ask, uint64_t now_ns)
{
	hth_job *job = calloc(1, sizeof *job);
	if (job == NULL)
		return NULL;
	job->id = id;
	job->ask = *ask;
	*ask = (hth_ask){0};
	job->received_ns = now_ns;
	job->seq = -1;
	return job;
}

void hth_job_destroy(hth_job *job)
{
	if (job == NULL)
		return;
	if (job->started) {
		hth_answer_finish(&job->answer);
		hth_sampler_destroy(job->sampler);
	}
	hth_grammar_matcher_destroy(job->matcher);
	if (job->grammar != NULL)
		hth_grammar_cache_give_back(job->grammars, job->grammar);
	free(job->allowed);
	free(job->spare);
	if (job->tokens != NULL)
		explicit_bzero(job->tokens, job->n_tokens * sizeof *job->tokens);
	if (job->echo != NULL)
		explicit_bzero(job->echo, job->echo_len);
	free(job->tokens);
	free(job->echo);
	free(job->raw);
	hth_echo_destroy(job->echo_rows);
	free(job->speculation);
	hth_ask_finish(&job->ask);
	explicit_bzero(job->prompt_tail, sizeof job->prompt_tail);
	free(job);
}
