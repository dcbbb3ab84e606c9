/* cmd-run.c - `hearth run`: one answer on stdout, or (chat-session.c) a conversation on a terminal. */
#include "base/mem.h"
#include "cmd/chat-session.h"
#include "cmd/cmd-options.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int answer_once(hth_invocation *in, hth_chat *chat, const char *system, const char *prompt, const hth_chat_params *params,
                       bool verbose)
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
					model = model || strcmp(in->argv[0],
					                        json_string_value(json_object_get(row, "id"))
					                        ? json_string_value(json_object_get(row, "id")) : "") == 0;
			hth_client_destroy(client);
		}
	}
	size_t len = strlen(in->argv[0]);
	if (model || (len > 5 && strcmp(in->argv[0] + len - 5, ".gguf") == 0))
		return in->argv[0];
	*ret_prompt = in->argv[0];
	return NULL;
}

/* Somebody has piped or redirected words in, which are there to be read. */
static bool has_piped_words(void)
{
	struct stat st;
	int n = 0;
	if (fstat(0, &st) != 0)
		return false;
	return S_ISREG(st.st_mode) ? lseek(0, 0, SEEK_CUR) < st.st_size : S_ISFIFO(st.st_mode) && ioctl(0, FIONREAD, &n) == 0 && n > 0;
}

/* Standard input as text; NULL: told why not, in *ret_code. Caller frees. */
static char *read_piped(hth_invocation *in, bool raw, int *ret_code)
{
	hth_error err = HTH_ERROR_INIT;
	char *piped = NULL;
	size_t len = 0;
	if (hth_cmd_read_file("-", HTH_CLIENT_BODY_MAX, &piped, &len, &err) != HTH_OK) {
		*ret_code = hth_cmd_fail(in, &err);
		return NULL;
	}
	if (strlen(piped) != len) {
		*ret_code = hth_cmd_usage(in, "the prompt on standard input is no text (it holds a NUL byte)");
		free(piped);
		return NULL;
	}
	while (!raw && len > 0 && (piped[len - 1] == '\n' || piped[len - 1] == '\r'))
		piped[--len] = '\0';
	return piped;
}

int hth_cmd_run(hth_invocation *in)
{
	hth_chat_params p = {.max_tokens = -1};
	const char *system = NULL;
	bool verbose = false, own = false;
	const hth_option options[] = {
	    {"max-tokens", 'n', HTH_OPTION_INT, &p.max_tokens, "N", "at most N tokens of answer", 0, 1 << 30, NULL},
	    {"temp", 't', HTH_OPTION_NUMBER, &p.temperature, "T", "temperature: 0 always takes the likeliest token", 0, 100,
	     &p.temperature_given},
	    {"seed", 's', HTH_OPTION_INT, &p.seed, "S", "the same seed gives the same answer", 0, 9007199254740992.0, &p.seed_given},
	    {"top-k", 0, HTH_OPTION_INT, &p.top_k, "K", "draw from the K likeliest tokens only", 0, 1 << 30, &p.top_k_given},
	    {"top-p", 0, HTH_OPTION_NUMBER, &p.top_p, "P", "draw from the likeliest that make up P", 0, 1, &p.top_p_given},
	    {"min-p", 0, HTH_OPTION_NUMBER, &p.min_p, "P", "draw from those at least P times as likely as the likeliest", 0, 1,
	     &p.min_p_given},
	    {"repeat-penalty", 0, HTH_OPTION_NUMBER, &p.repeat_penalty, "R", "above 1: repeat less", 0.01, 100, &p.repeat_given},
	    {"system", 0, HTH_OPTION_TEXT, &system, "TEXT", "the system message", 0, 0, NULL},
	    {"raw", 0, HTH_OPTION_FLAG, &p.raw, NULL, "continue the text as it stands, without the chat template", 0, 0, NULL},
	    {"own", 0, HTH_OPTION_FLAG, &own, NULL, "start the model here even when a node runs", 0, 0, NULL},
	    {"verbose", 'v', HTH_OPTION_FLAG, &verbose, NULL, "say how fast it was, on stderr", 0, 0, NULL},
	};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 3))
		return in->exit_code;
	/* A last word of '-' is standard input, after the prompt where there is one. */
	bool dash = in->argc > 0 && strcmp(in->argv[in->argc - 1], "-") == 0;
	in->argc -= dash;
	if (in->argc > 2)
		return hth_cmd_usage(in, "'%.60s' is one word too many (quote texts)", in->argv[2]);
	const char *prompt, *model = split_words(in, &prompt);
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE char *piped = NULL, *joined = NULL;
	int code = HTH_EXIT_DONE;
	if ((dash || (prompt == NULL && !hth_cmd_is_terminal(0))) && (piped = read_piped(in, p.raw, &code)) == NULL)
		return code;
	if (piped != NULL && prompt != NULL) {
		if (asprintf(&joined, "%s\n\n%s", prompt, piped) < 0)
			joined = NULL;
		if (joined == NULL)
			return hth_cmd_fail(in, (hth_fail(&err, HTH_NO_MEMORY, "no memory for the prompt"), &err));
		prompt = joined;
	} else if (piped != NULL) {
		prompt = piped;
	} else if (prompt != NULL && !hth_cmd_is_terminal(0) && has_piped_words()) {
		/* A mistyped model's name would be answered as if it were the question. */
		if (in->argc == 1 && strpbrk(prompt, " \t\n?!.,") == NULL) {
			hth_fail(&err, HTH_NOT_FOUND, "there is no model '%.200s'; `hearth list` shows what there is", prompt);
			return hth_cmd_fail(in, &err);
		}
		fprintf(stderr, "hearth run: standard input is not read; a last word of '-' puts it after the prompt\n");
	}
	if (prompt != NULL && *prompt == '\0')
		return hth_cmd_usage(in, "the prompt is empty");

	/* No SA_RESTART: a wait for the node must notice at once. */
	sigaction(SIGINT, &(struct sigaction){.sa_handler = on_interrupt}, NULL);
	signal(SIGPIPE, SIG_IGN);
	hth_chat *chat;
	if (hth_chat_open(&chat, in, model, own, &interrupted, &err) != HTH_OK)
		return err.status == HTH_CANCELLED ? 128 + SIGINT : hth_cmd_fail(in, &err);
	code = prompt != NULL ? answer_once(in, chat, system, prompt, &p, verbose) : hth_chat_session(in, chat, system, &p, &interrupted);
	hth_chat_close(chat);
	return code;
}
