/* cmd-tokenize.c - `hearth tokenize`: text to token ids, as the model's own vocabulary has it. Needs no weights. */
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"

/* Ids, and for each the text that it stands for (a token may be part of a character: that shows as U+FFFD). */
static void write_json(const hth_tokenizer *tokenizer, const hth_tokens *tokens, hth_buf *out)
{
	hth_buf_append_str(out, "{\"tokens\":[");
	for (size_t i = 0; i < tokens->len; i++)
		hth_buf_appendf(out, "%s%d", i > 0 ? "," : "", tokens->ids[i]);
	hth_buf_append_str(out, "],\"pieces\":[");
	hth_buf piece = HTH_BUF_INIT(1 << 16);
	for (size_t i = 0; i < tokens->len; i++) {
		hth_buf_clear(&piece);
		hth_tokenizer_bytes(tokenizer, tokens->ids[i], true, &piece);
		hth_buf_append_str(out, i > 0 ? "," : "");
		hth_json_write_string(piece.data != NULL ? piece.data : "", piece.len, out);
	}
	hth_buf_finish(&piece);
	hth_buf_append_str(out, "]}");
}

static void write_lines(const hth_tokenizer *tokenizer, const hth_tokens *tokens, hth_buf *out)
{
	hth_buf piece = HTH_BUF_INIT(1 << 16);
	for (size_t i = 0; i < tokens->len; i++) {
		hth_buf_clear(&piece);
		hth_tokenizer_bytes(tokenizer, tokens->ids[i], true, &piece);
		hth_buf_appendf(out, "%s%7d  ", i > 0 ? "\n" : "", tokens->ids[i]);
		hth_json_write_string(piece.data != NULL ? piece.data : "", piece.len, out);
	}
	hth_buf_finish(&piece);
}

int hth_cmd_tokenize(hth_invocation *in)
{
	const char *file = NULL;
	bool special = false, json = false;
	const hth_option options[] = {
	    {"file", 'f', HTH_OPTION_TEXT, &file, "FILE", "take the text from a file (- for standard input)", 0, 0, NULL},
	    {"special", 's', HTH_OPTION_FLAG, &special, NULL, "add the special tokens the model wants, and read those that the text spells",
	     0, 0, NULL},
	    HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 2))
		return in->exit_code;
	if (in->argc == 2 && file != NULL)
		return hth_cmd_usage(in, "give either a text or --file, not both");

	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE char *read = NULL;
	const char *text = in->argc == 2 ? in->argv[1] : NULL;
	size_t len = text != NULL ? strlen(text) : 0;
	if (text == NULL) {
		if (file == NULL && hth_cmd_is_terminal(0))
			fprintf(stderr, "Reading the text from here; end it with Ctrl-D.\n");
		if (hth_cmd_read_file(file != NULL ? file : "-", HTH_LOCAL_TEXT_MAX, &read, &len, &err) != HTH_OK)
			return hth_cmd_fail(in, &err);
		text = read;
	}
	hth_local_model local = {.n_fds = 0};
	hth_gguf *gguf = NULL;
	hth_tokenizer *tokenizer = NULL;
	hth_tokens tokens = HTH_TOKENS_INIT(HTH_LOCAL_TOKENS_MAX);
	hth_buf out = HTH_BUF_INIT((size_t)1 << 30);
	hth_status status = hth_local_open(in, in->argv[0], &local, &err);
	if (status == HTH_OK)
		status = hth_local_lock_in(&local, -1, &err);
	if (status == HTH_OK)
		status = hth_local_load_vocabulary(&local, &gguf, &tokenizer, &err);
	if (status == HTH_OK)
		status = hth_tokenizer_encode(tokenizer, text, len, special ? HTH_TOK_ADD_SPECIAL | HTH_TOK_PARSE_SPECIAL : 0, NULL, 0,
		                              &tokens, &err);
	int code;
	if (status == HTH_OK) {
		(json ? write_json : write_lines)(tokenizer, &tokens, &out);
		code = hth_cmd_print(in, &out);
	} else {
		code = hth_cmd_fail(in, &err);
	}
	hth_buf_finish(&out);
	hth_tokens_finish(&tokens);
	hth_tokenizer_destroy(tokenizer);
	hth_gguf_close(gguf);
	hth_local_close(&local);
	return code;
}
