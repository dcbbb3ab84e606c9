/* cmd-run.c - `hearth run`: one answer on stdout, or (chat-session.c) a conversation on a terminal. */
#include "base/mem.h"
#include "cmd/chat-session.h"
#include "cmd/cmd-options.h"

#include <signal.h>

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signum)
{
	interrupted = 1;
}

typedef struct sink {
	bool terminal, thinking, any;
	char last; /* what was written last */
	FILE *out;
} sink;

/* One answer: the model's words only. Reasoning is not the answer; on a terminal it is shown, elsewhere left out. */
static void take_text(void *ctx, const char *text, size_t len, bool thinking)
{
	sink *s = ctx;
	if (thinking && !s->terminal)
		return;
	if (s->terminal)
		hth_chat_print(text, len, thinking, &s->thinking);
	else
		fwrite(text, 1, len, s->out);
	s->last = text[len - 1];
	s->any = true;
	fflush(s->out);
}

static int answer_once(hth_invocation *in, hth_chat *chat, const char *system, const char *prompt, const hth_chat_params *params, bool verbose)
{
	sink s = {.terminal = hth_cmd_is_terminal(1), .out = stdout};
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *messages = params->raw ? json_string(prompt) : json_array();
	if (!params->raw && system != NULL)
		json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "system", "content", system));
	if (!params->raw)
		json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "user", "content", prompt));
	if (messages == NULL || (!params->raw && json_array_size(messages) != 1 + (size_t)(system != NULL)))
		return hth_cmd_usage(in, "the prompt is not UTF-8 text");
	hth_chat_stats stats;
	hth_status status = hth_chat_ask(chat, messages, params, take_text, &s, &stats, &err);
	if (s.terminal)
		hth_chat_print("", 0, false, &s.thinking);
	if (s.any && s.last != '\n')
		putchar('\n');
	if (fflush(stdout) != 0 && status == HTH_OK)
		status = hth_fail(&err, HTH_IO, "the answer cannot be written");
	if (status == HTH_OK && (verbose || (s.terminal && hth_cmd_is_terminal(2))))
		hth_chat_print_stats(&stats);
	if (status == HTH_CANCELLED)
		return 128 + SIGINT; /* as a shell expects of what was interrupted */
	return status == HTH_OK ? HTH_EXIT_DONE : hth_cmd_fail(in, &err);
}

/* [MODEL] [PROMPT]: one word is a model when there is one of that name. */
static const char *split_words(const hth_invocation *in, const char **ret_prompt)
{
	*ret_prompt = NULL;
	if (in->argc == 2) {
		*ret_prompt = in->argv[1];
		return in->argv[0];
	}
	if (in->argc == 0)
		return NULL;
	hth_catalog catalog;
	hth_catalog_model found;
	bool model = false;
	if (hth_catalog_load(&catalog, in->config.home, NULL) == HTH_OK) {
		model = hth_catalog_resolve(&catalog, in->argv[0], &found, NULL) == HTH_OK;
		if (model)
			hth_catalog_model_finish(&found);
		hth_catalog_finish(&catalog);
	}
	if (!model) { /* the node's home may be another one */
		hth_client *client;
		HTH_AUTO_JSON json_t *models = NULL;
		if (hth_cmd_client(in, NULL, &client, NULL) == HTH_OK) {
			size_t i;
			json_t *row;
			if (hth_client_json(client, "GET", "/v1/models", NULL, 3000, &models, NULL) == HTH_OK)
				json_array_foreach(json_object_get(models, "data"), i, row)
					model = model || strcmp(in->argv[0], json_string_value(json_object_get(row, "id")) ? json_string_value(json_object_get(row, "id")) : "") == 0;
			hth_client_destroy(client);
		}
	}
	size_t len = strlen(in->argv[0]);
	if (model || (len > 5 && strcmp(in->argv[0] + len - 5, ".gguf") == 0))
		return in->argv[0];
	*ret_prompt = in->argv[0];
	return NULL;
}

int hth_cmd_run(hth_invocation *in)
{
	hth_chat_params p = {.max_tokens = -1};
	const char *system = NULL;
	bool verbose = false, own = false;
	const hth_option options[] = {
	    {"max-tokens", 'n', HTH_OPTION_INT, &p.max_tokens, "N", "at most N tokens of answer", 0, 1 << 30, NULL},
	    {"temp", 't', HTH_OPTION_NUMBER, &p.temperature, "T", "temperature: 0 always takes the likeliest token", 0, 100, &p.temperature_given},
	    {"seed", 's', HTH_OPTION_INT, &p.seed, "S", "the same seed gives the same answer", 0, 9007199254740992.0, &p.seed_given},
	    {"top-k", 0, HTH_OPTION_INT, &p.top_k, "K", "draw from the K likeliest tokens only", 0, 1 << 30, &p.top_k_given},
	    {"top-p", 0, HTH_OPTION_NUMBER, &p.top_p, "P", "draw from the likeliest that make up P", 0, 1, &p.top_p_given},
	    {"min-p", 0, HTH_OPTION_NUMBER, &p.min_p, "P", "draw from those at least P times as likely as the likeliest", 0, 1, &p.min_p_given},
	    {"repeat-penalty", 0, HTH_OPTION_NUMBER, &p.repeat_penalty, "R", "above 1: repeat less", 0.01, 100, &p.repeat_given},
	    {"system", 0, HTH_OPTION_TEXT, &system, "TEXT", "the system message", 0, 0, NULL},
	    {"raw", 0, HTH_OPTION_FLAG, &p.raw, NULL, "continue the text as it stands, without the chat template", 0, 0, NULL},
	    {"own", 0, HTH_OPTION_FLAG, &own, NULL, "start the model here even when a node runs", 0, 0, NULL},
	    {"verbose", 'v', HTH_OPTION_FLAG, &verbose, NULL, "say how fast it was, on stderr", 0, 0, NULL},
	};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 2))
		return in->exit_code;
	const char *prompt, *model = split_words(in, &prompt);
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE char *piped = NULL;
	size_t piped_len = 0;
	if (prompt == NULL && !hth_cmd_is_terminal(0)) {
		if (hth_cmd_read_file("-", HTH_CLIENT_BODY_MAX, &piped, &piped_len, &err) != HTH_OK)
			return hth_cmd_fail(in, &err);
		if (strlen(piped) != piped_len)
			return hth_cmd_usage(in, "the prompt on standard input is no text (it holds a NUL byte)");
		while (!p.raw && piped_len > 0 && (piped[piped_len - 1] == '\n' || piped[piped_len - 1] == '\r'))
			piped[--piped_len] = '\0';
		prompt = piped;
	}
	if (prompt != NULL && *prompt == '\0')
		return hth_cmd_usage(in, "the prompt is empty");

	/* No SA_RESTART: a wait for the node must notice at once. */
	sigaction(SIGINT, &(struct sigaction){.sa_handler = on_interrupt}, NULL);
	signal(SIGPIPE, SIG_IGN);
	hth_chat *chat;
	if (hth_chat_open(&chat, in, model, own, &interrupted, &err) != HTH_OK)
		return err.status == HTH_CANCELLED ? 128 + SIGINT : hth_cmd_fail(in, &err);
	int code = prompt != NULL ? answer_once(in, chat, system, prompt, &p, verbose) : hth_chat_session(in, chat, system, &p, &interrupted);
	hth_chat_close(chat);
	return code;
}
