/* perplexity.c - streams a text through a session and keeps three numbers per token. Sums are in double precision. */
#include "engine/model/perplexity.h"

#include "base/mem.h"

#include <math.h>

enum { DEFAULT_BATCH = 128 };

void hth_perplexity_finish(hth_perplexity *p)
{
	free(p->argmax);
	free(p->logprob_next);
	free(p->last_logits);
	*p = (hth_perplexity){0};
}

/* Natural log of the softmax's denominator, and the largest logit's index. */
static double log_sum_exp(const float *logits, size_t n, int32_t *ret_best)
{
	size_t best = 0;
	for (size_t i = 1; i < n; i++)
		best = logits[i] > logits[best] ? i : best;
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += exp((double)logits[i] - logits[best]);
	*ret_best = (int32_t)best;
	return logits[best] + log(sum);
}

static hth_status run(hth_perplexity *p, const hth_model *model, hth_session *session, const int32_t *tokens, size_t n,
                      const hth_perplexity_options *o, hth_error *err)
{
	size_t n_vocab = hth_model_get_info(model)->n_vocab, step = hth_session_n_batch(session);
	const hth_special_ids *special = hth_tokenizer_special(hth_model_tokenizer(model));
	HTH_AUTO_FREE hth_batch_token *batch = hth_alloc_array(step, sizeof *batch);
	if (batch == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a batch of %zu", step);
	double sum = 0;
	for (size_t at = 0; at < n;) {
		uint32_t room = hth_session_n_ctx(session) - hth_session_length(session, 0);
		if (room == 0) {
			hth_session_truncate(session, 0, 0);
			room = hth_session_n_ctx(session);
			if (special->add_bos && special->bos >= 0 && room > 1) {
				HTH_TRY(hth_session_decode(session, &(hth_batch_token){.token = special->bos}, 1,
				                           o->cancel, err));
				room--;
			}
		}
		size_t len = HTH_MIN(HTH_MIN(step, n - at), (size_t)room);
		for (size_t i = 0; i < len; i++)
			batch[i] = (hth_batch_token){.token = tokens[at + i], .want_logits = true};
		HTH_TRY(hth_session_decode(session, batch, len, o->cancel, err));
		for (size_t i = 0; i < len; i++, at++) {
			const float *logits = hth_session_logits(session, i);
			double all = log_sum_exp(logits, n_vocab, &p->argmax[at]);
			if (at + 1 < n) {
				p->logprob_next[at] = (float)(logits[tokens[at + 1]] - all);
				sum += logits[tokens[at + 1]] - all;
			} else {
				memcpy(p->last_logits, logits, n_vocab * sizeof *logits);
			}
		}
		if (o->progress != NULL)
			o->progress(o->progress_ctx, at, n);
	}
	p->perplexity = n > 1 ? exp(-sum / (double)(n - 1)) : 0;
	return HTH_OK;
}

hth_status hth_perplexity_run(hth_perplexity *ret, const hth_model *model, hth_threads *threads, const int32_t *tokens,
                              size_t n, const hth_perplexity_options *options, hth_error *err)
{
	hth_perplexity_options o = options ? *options : (hth_perplexity_options){0};
	const hth_model_info *info = hth_model_get_info(model);
	if (n == 0)
		return hth_fail(err, HTH_INVALID, "there is no text");
	for (size_t i = 0; i < n; i++)
		if (tokens[i] < 0 || (uint32_t)tokens[i] >= info->n_vocab)
			return hth_fail(err, HTH_INVALID, "token %d is not in the vocabulary of %u", tokens[i],
			                info->n_vocab);
	/* No more context than the text fills: it costs memory, and decides which rope factors a longrope model uses.
	 */
	uint32_t n_ctx = (uint32_t)HTH_MIN((size_t)(o.n_ctx ? o.n_ctx : info->n_ctx_train), n);
	hth_session_options so = {
	    .n_ctx = n_ctx, .n_batch = HTH_MIN(o.n_batch ? o.n_batch : DEFAULT_BATCH, n_ctx), .kv_type = o.kv_type};
	hth_session *session;
	HTH_TRY(hth_session_create(&session, model, threads, &so, err));
	hth_perplexity p = {.n = n,
	                    .argmax = hth_alloc_array(n, sizeof *p.argmax),
	                    .logprob_next = hth_alloc_array(n, sizeof *p.logprob_next),
	                    .last_logits = hth_alloc_array(info->n_vocab, sizeof *p.last_logits)};
	hth_status status;
	if (p.argmax == NULL || p.logprob_next == NULL || p.last_logits == NULL)
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for the results of %zu tokens", n);
	else
		status = run(&p, model, session, tokens, n, &o, err);
	hth_session_destroy(session);
	if (status == HTH_OK)
		*ret = p;
	else
		hth_perplexity_finish(&p);
	return status;
}
