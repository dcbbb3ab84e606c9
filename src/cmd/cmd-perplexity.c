/* cmd-perplexity.c - `hearth perplexity`: how well a model predicts a text, and the numbers that another engine can be compared by.
 *
 * The text is tokenised with the special tokens that the vocabulary asks for (usually one at the start). The arithmetic is the
 * engine's (model/perplexity.h); the cache is kept in F32, since this command is what others measure themselves against.
 */
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"
#include "engine/model/perplexity.h"

static void show_progress(void *ctx, size_t done, size_t total)
{
	fprintf(stderr, done < total ? "\r\033[K%zu of %zu tokens" : "\r\033[K", done, total);
}

static void write_json(const hth_tokens *tokens, const hth_perplexity *p, size_t n_vocab, hth_buf *out)
{
	hth_buf_append_str(out, "{\"tokens\":[");
	for (size_t i = 0; i < tokens->len; i++)
		hth_buf_appendf(out, "%s%d", i > 0 ? "," : "", tokens->ids[i]);
	hth_buf_append_str(out, "],\"argmax\":[");
	for (size_t i = 0; i < p->n; i++)
		hth_buf_appendf(out, "%s%d", i > 0 ? "," : "", p->argmax[i]);
	hth_buf_append_str(out, "],\"logprob_next\":");
	hth_cmd_json_floats(out, p->logprob_next, p->n - 1);
	hth_buf_append_str(out, ",\"perplexity\":");
	hth_cmd_json_float(out, p->perplexity);
	hth_buf_append_str(out, ",\"last_logits\":");
	hth_cmd_json_floats(out, p->last_logits, n_vocab);
	hth_buf_append_char(out, '}');
}

/* Everything after the files are open and the process is locked in. */
static hth_status score_text(const hth_invocation *in, const hth_local_model *local, const char *text, size_t len, size_t limit, bool json,
                             hth_buf *out, hth_error *err)
{
	hth_threads *threads = NULL;
	hth_model *model = NULL;
	hth_tokens tokens = HTH_TOKENS_INIT(HTH_LOCAL_TOKENS_MAX);
	hth_perplexity result = {0};
	hth_perplexity_options options = {.kv_type = HTH_KV_F32, .n_ctx = in->config.context,
	                                  .progress = hth_cmd_is_terminal(2) ? show_progress : NULL};
	hth_status status = hth_threads_create(&threads, in->config.threads, err);
	if (status == HTH_OK)
		status = hth_local_load(local, &model, err);
	if (status == HTH_OK && hth_model_get_info(model)->embedding)
		status = hth_fail(err, HTH_UNSUPPORTED, "%s is an embedding model: it predicts no text; try `hearth embed`",
		                  local->files.name);
	if (status == HTH_OK)
		status = hth_tokenizer_encode(hth_model_tokenizer(model), text, len, HTH_TOK_ADD_SPECIAL, NULL, 0, &tokens, err);
	if (status == HTH_OK && limit > 0 && tokens.len > limit)
		tokens.len = limit;
	if (status == HTH_OK && tokens.len < 2)
		status = hth_fail(err, HTH_INVALID, "the text has %zu tokens; a perplexity needs at least 2", tokens.len);
	if (status == HTH_OK)
		status = hth_perplexity_run(&result, model, threads, tokens.ids, tokens.len, &options, err);
	if (status == HTH_OK && json)
		write_json(&tokens, &result, hth_model_get_info(model)->n_vocab, out);
	else if (status == HTH_OK)
		hth_buf_appendf(out, "perplexity %.4f over %zu tokens", result.perplexity, tokens.len);
	hth_perplexity_finish(&result);
	hth_tokens_finish(&tokens);
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
		status = score_text(in, &local, text, len, (size_t)limit, json, &out, &err);
	int code = status == HTH_OK ? hth_cmd_print(in, &out) : hth_cmd_fail(in, &err);
	hth_buf_finish(&out);
	hth_local_close(&local);
	return code;
}
