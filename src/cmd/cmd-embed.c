/* cmd-embed.c - `hearth embed`: one text's embedding, of unit length. */
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"

static hth_status embed_text(const hth_local_model *local, unsigned n_threads, const char *text, size_t len, float **ret_values,
                             size_t *ret_n, hth_error *err)
{
	hth_threads *threads = NULL;
	hth_model *model = NULL;
	hth_session *session = NULL;
	hth_tokens tokens = HTH_TOKENS_INIT(HTH_LOCAL_TOKENS_MAX);
	float *values = NULL;
	hth_status status = hth_threads_create(&threads, n_threads, err);
	if (status == HTH_OK)
		status = hth_local_load(local, &model, err);
	if (status == HTH_OK)
		status = hth_tokenizer_encode(hth_model_tokenizer(model), text, len, HTH_TOK_ADD_SPECIAL, NULL, 0, &tokens, err);
	if (status == HTH_OK && tokens.len == 0)
		status = hth_fail(err, HTH_INVALID, "the text is empty");
	if (status == HTH_OK && tokens.len > hth_model_get_info(model)->n_ctx_train)
		status = hth_fail(err, HTH_TOO_LARGE, "the text is %zu tokens and the model takes %u at once", tokens.len,
		                  hth_model_get_info(model)->n_ctx_train);
	/* An encoder attends both ways, so its whole text is one batch. */
	if (status == HTH_OK)
		status = hth_session_create(&session, model, threads,
		                            &(hth_session_options){.n_ctx = (uint32_t)tokens.len, .n_batch = (uint32_t)tokens.len,
		                                                   .n_outputs = 1}, err);
	if (status == HTH_OK && (values = hth_alloc_array(hth_model_get_info(model)->n_embd, sizeof(float))) == NULL)
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for the embedding");
	if (status == HTH_OK)
		status = hth_session_embed(session, tokens.ids, tokens.len, values, NULL, err);
	if (status == HTH_OK) {
		*ret_n = hth_model_get_info(model)->n_embd;
		*ret_values = values;
		values = NULL;
	}
	free(values);
	hth_tokens_finish(&tokens);
	hth_session_destroy(session);
	hth_model_close(model);
	hth_threads_destroy(threads);
	return status;
}

int hth_cmd_embed(hth_invocation *in)
{
	const char *file = NULL;
	bool json = false;
	const hth_option options[] = {{"file", 'f', HTH_OPTION_TEXT, &file, "FILE", "take the text from a file (- for standard input)", 0,
	                               0, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 2))
		return in->exit_code;
	if ((in->argc == 2) == (file != NULL))
		return hth_cmd_usage(in, "give a text, or --file");
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE char *read = NULL;
	HTH_AUTO_FREE float *values = NULL;
	const char *text = in->argc == 2 ? in->argv[1] : "";
	size_t len = strlen(text), n = 0;
	hth_local_model local = {.n_fds = 0};
	hth_status status = HTH_OK;
	if (file != NULL && (status = hth_cmd_read_file(file, HTH_LOCAL_TEXT_MAX, &read, &len, &err)) == HTH_OK)
		text = read;
	if (status == HTH_OK)
		status = hth_local_open(in, in->argv[0], &local, &err);
	if (status == HTH_OK)
		status = hth_local_lock_in(&local, -1, &err);
	if (status == HTH_OK)
		status = embed_text(&local, in->config.threads, text, len, &values, &n, &err);
	int code;
	if (status == HTH_OK) {
		hth_buf out = HTH_BUF_INIT(64 << 20);
		if (json)
			hth_buf_append_str(&out, "{\"embedding\":");
		hth_cmd_json_floats(&out, values, n);
		if (json)
			hth_buf_append_char(&out, '}');
		code = hth_cmd_print(in, &out);
		hth_buf_finish(&out);
	} else {
		code = hth_cmd_fail(in, &err);
	}
	hth_local_close(&local);
	return code;
}
