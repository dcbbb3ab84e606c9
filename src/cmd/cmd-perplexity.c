/* cmd-perplexity.c - `hearth perplexity`: how well a model predicts a text, and the numbers that another engine can be compared by.
 *
 * The text is tokenised with the special tokens that the vocabulary asks for (usually one at the start), computed as one sequence,
 * and scored: logprob_next[i] is the natural log probability of token i + 1 given those before it; the perplexity is
 * exp(-mean(logprob_next)). A text longer than the model's context is refused with both numbers; --limit cuts it.
 */
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"

#include "engine/sampling/sampler.h"

#include <math.h>

enum { CHUNK = 64 }; /* tokens computed at once: each wants its logits, a row of the vocabulary's size */

typedef struct scores {
	int32_t *argmax;      /* n */
	float *logprob_next;  /* n - 1 */
	float *last_logits;   /* n_vocab */
} scores;

static int32_t largest(const float *logits, size_t n)
{
	size_t best = 0;
	for (size_t i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return (int32_t)best;
}

static hth_status compute(hth_session *session, const hth_tokens *tokens, size_t n_vocab, scores *s, bool progress, hth_error *err)
{
	hth_batch_token batch[CHUNK];
	size_t chunk = HTH_MIN((size_t)CHUNK, hth_session_n_batch(session));
	for (size_t at = 0; at < tokens->len; at += chunk) {
		size_t n = HTH_MIN(chunk, tokens->len - at);
		for (size_t i = 0; i < n; i++)
			batch[i] = (hth_batch_token){.token = tokens->ids[at + i], .want_logits = true};
		HTH_TRY(hth_session_decode(session, batch, n, NULL, err));
		for (size_t i = 0; i < n; i++) {
			const float *logits = hth_session_logits(session, i);
			s->argmax[at + i] = largest(logits, n_vocab);
			if (at + i + 1 < tokens->len)
				hth_logprobs(logits, n_vocab, tokens->ids[at + i + 1], &s->logprob_next[at + i], NULL, 0);
			else
				memcpy(s->last_logits, logits, n_vocab * sizeof(float));
		}
		if (progress)
			fprintf(stderr, "\r%zu of %zu tokens", at + n, tokens->len);
	}
	if (progress)
		fprintf(stderr, "\r\033[K");
	return HTH_OK;
}

static double perplexity_of(const float *logprob_next, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)logprob_next[i];
	return n > 0 ? exp(-sum / (double)n) : 1.0;
}

static void write_json(const hth_tokens *tokens, const scores *s, size_t n_vocab, hth_buf *out)
{
	hth_buf_append_str(out, "{\"tokens\":[");
	for (size_t i = 0; i < tokens->len; i++)
		hth_buf_appendf(out, "%s%d", i > 0 ? "," : "", tokens->ids[i]);
	hth_buf_append_str(out, "],\"argmax\":[");
	for (size_t i = 0; i < tokens->len; i++)
		hth_buf_appendf(out, "%s%d", i > 0 ? "," : "", s->argmax[i]);
	hth_buf_append_str(out, "],\"logprob_next\":");
	hth_cmd_json_floats(out, s->logprob_next, tokens->len - 1);
	hth_buf_append_str(out, ",\"perplexity\":");
	hth_cmd_json_float(out, perplexity_of(s->logprob_next, tokens->len - 1));
	hth_buf_append_str(out, ",\"last_logits\":");
	hth_cmd_json_floats(out, s->last_logits, n_vocab);
	hth_buf_append_char(out, '}');
}

/* Everything after the files are open and the process is locked in. */
static hth_status score_text(const hth_local_model *local, unsigned n_threads, const char *text, size_t len, size_t limit, bool json, hth_buf *out,
                             hth_error *err)
{
	hth_threads *threads = NULL;
	hth_model *model = NULL;
	hth_session *session = NULL;
	hth_tokens tokens = HTH_TOKENS_INIT(HTH_LOCAL_TOKENS_MAX);
	scores s = {NULL};
	hth_status status = hth_threads_create(&threads, n_threads, err);
	if (status == HTH_OK)
		status = hth_local_load(local, &model, err);
	if (status == HTH_OK && hth_model_get_info(model)->embedding)
		status = hth_fail(err, HTH_UNSUPPORTED, "%s is an embedding model: it predicts no text; try `hearth embed`", local->files.name);
	if (status == HTH_OK)
		status = hth_tokenizer_encode(hth_model_tokenizer(model), text, len, HTH_TOK_ADD_SPECIAL, NULL, 0, &tokens, err);
	if (status == HTH_OK && limit > 0 && tokens.len > limit)
		tokens.len = limit;
	if (status == HTH_OK && tokens.len < 2)
		status = hth_fail(err, HTH_INVALID, "the text has %zu tokens; a perplexity needs at least 2", tokens.len);
	if (status == HTH_OK)
		status = hth_local_session(model, threads, tokens.len, CHUNK, &session, err);
	size_t n_vocab = status == HTH_OK ? hth_model_get_info(model)->n_vocab : 0;
	if (status == HTH_OK) {
		s = (scores){hth_alloc_array(tokens.len, sizeof(int32_t)), hth_alloc_array(tokens.len, sizeof(float)), hth_alloc_array(n_vocab, sizeof(float))};
		if (s.argmax == NULL || s.logprob_next == NULL || s.last_logits == NULL)
			status = hth_fail(err, HTH_NO_MEMORY, "no memory for the scores of %zu tokens", tokens.len);
	}
	if (status == HTH_OK)
		status = compute(session, &tokens, n_vocab, &s, hth_cmd_is_terminal(2), err);
	if (status == HTH_OK && json)
		write_json(&tokens, &s, n_vocab, out);
	else if (status == HTH_OK)
		hth_buf_appendf(out, "perplexity %.4f over %zu tokens", perplexity_of(s.logprob_next, tokens.len - 1), tokens.len);
	free(s.argmax);
	free(s.logprob_next);
	free(s.last_logits);
	hth_tokens_finish(&tokens);
	hth_session_destroy(session);
	hth_model_close(model);
	hth_threads_destroy(threads);
	return status;
}

int hth_cmd_perplexity(hth_invocation *in)
{
	int64_t limit = 0;
	bool json = false;
	const hth_option options[] = {{"limit", 'l', HTH_OPTION_INT, &limit, "N", "only the first N tokens", 2, HTH_LOCAL_TOKENS_MAX, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 2, 2))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE char *text = NULL;
	size_t len = 0;
	hth_local_model local = {.n_fds = 0};
	hth_buf out = HTH_BUF_INIT((size_t)1 << 30);
	hth_status status = hth_cmd_read_file(in->argv[1], HTH_LOCAL_TEXT_MAX, &text, &len, &err);
	if (status == HTH_OK)
		status = hth_local_open(in, in->argv[0], &local, &err);
	if (status == HTH_OK)
		status = hth_local_lock_in(&local, -1, &err);
	if (status == HTH_OK)
		status = score_text(&local, in->config.threads, text, len, (size_t)limit, json, &out, &err);
	int code = status == HTH_OK ? hth_cmd_print(in, &out) : hth_cmd_fail(in, &err);
	hth_buf_finish(&out);
	hth_local_close(&local);
	return code;
}
