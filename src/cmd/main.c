/* main.c - the program's start: finds the command, reads the settings, runs it.
 *
 * The table below is the command line: help, completions and the manual are checked against it (tests/cmd). `hearth __runner` is
 * how the node starts the process that holds a model; it is no command for people and reads no settings.
 */
#include "base/log.h"
#include "base/mem.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"
#include "link/hub.h"
#include "runner/runner.h"

#include <errno.h>
#include <string.h>

const hth_command hth_commands[] = {
    {"serve", "[--SETTING VALUE]...", "run the node in the foreground",
     "Listens on 127.0.0.1:4327 until it is interrupted. Clients of the OpenAI API use http://127.0.0.1:4327/v1.", hth_cmd_serve},
    {"run", "[MODEL] [PROMPT] [-]", "chat with a model; with PROMPT or a pipe, one answer on stdout",
     "Asks the node when it runs, else starts the model itself. A single word that is no model is taken as the prompt.\n"
     "A last word of - is standard input, after the prompt: cat letter.txt | hearth run mymodel \"Shorter, please:\" -\n"
     "In a chat, /help lists what can be typed; Ctrl-C stops an answer, Ctrl-D leaves.",
     hth_cmd_run},
    {"list", "", "models on this disk", NULL, hth_cmd_list},
    {"show", "MODEL", "what a model is, and whether it fits here",
     "A URL or hf.co/OWNER/REPO is looked at without pulling it: only its beginning is fetched.", hth_cmd_show},
    {"pull", "NAME|URL|FILE", "bring a model home",
     "NAME is hf.co/OWNER/REPO[:QUANT] of Hugging Face, or NAME[:TAG] of a registry. What was cut is gone on with.", hth_cmd_pull},
    {"rm", "MODEL", "remove a model from this disk", NULL, hth_cmd_rm},
    {"ps", "", "models that the node has loaded", NULL, hth_cmd_ps},
    {"stop", "MODEL", "unload a model from the node", "Running answers end first, unless --now.", hth_cmd_stop},
    {"status", "", "how the node is doing", NULL, hth_cmd_status},
    {"doctor", "", "look at what Hearth stands on here, and what to do about it",
     "Tries the sandbox, reads every model's file, looks at memory, disk, settings and the node. Changes nothing.", hth_cmd_doctor},
    {"index", "add DIR|rm DIR|status", "which folders are searched, and how far they are read",
     "The node reads and watches them while it runs. DIR may be a single file, such as an mbox.", hth_cmd_index},
    {"search", "QUERY", "what the household's documents say, with file and page",
     "QUERY is words, \"phrases\", +words that must and -words that must not be there.", hth_cmd_search},
    {"ask", "QUESTION", "an answer from the documents, with the pages that it is from",
     "Without a node, or with a model of few parameters, the best passages are the answer.", hth_cmd_ask},
    {"key", "add NAME|list|rm NAME", "who may ask the node",
     "A key is shown once, when it is made. As soon as there is one, the node asks for one.", hth_cmd_key},
    {"privacy", "log|explain TEXT", "what left this house, and what keeps a text in it",
     "explain shows what in a text speaks against letting others read it; without TEXT, or with -, the text is standard input.",
     hth_cmd_privacy},
    {"ledger", "[verify]", "what homes did for each other, and who owes whom",
     "given and taken count receipts; the balance is in tokens, what the other home owes (+) or this one (-). All are verified on the way.",
     hth_cmd_ledger},
    {"pool", "create NAME|invite|join LINE|status|...", "the neighbourhood: homes that lend each other capacity",
     "create NAME [--listen HOST:PORT]   makes one, and hosts its hub there        hub [--listen HOST:PORT|--off]   hosts a (second) hub, "
     "or none\ninvite [--expires TIME], revoke    lets one home in; takes lines back        join LINE (or -)                 takes up an "
     "invitation\nstatus, leave                      who is there; leaves                      trust|distrust MEMBER            who may "
     "see more than public requests\nremove|keeper|unkeeper MEMBER      changes the charter, as a keeper          approve [CHANGE]         "
     "        signs a change that waits", hth_cmd_pool},
    {"config", "", "every setting, its value, and where it came from", NULL, hth_cmd_config},
    {"bench", "[MODEL]", "measure speeds, and the machine's limits in the same run",
     "Prints tokens a second, the read bandwidth and multiply-add peak measured here, and the shares of them.", hth_cmd_bench},
    {"quantize", "IN.gguf OUT.gguf TYPE", "store a model's weights in fewer bits",
     "TYPE is a format (Q8_0, Q4_0, ...) or a mix (Q4_K_M, Q5_K_M, ...); --list shows them all.", hth_cmd_quantize},
    {"tokenize", "MODEL [TEXT]", "text to token ids",
     "Without TEXT or --file the text is standard input. By default no special token is added, and text that spells one stays text.",
     hth_cmd_tokenize},
    {"perplexity", "MODEL FILE", "how well a model predicts a text", NULL, hth_cmd_perplexity},
    {"embed", "MODEL TEXT", "a text's embedding, scaled to unit length", NULL, hth_cmd_embed},
    {"extract", "FILE...", "what a document says: its text, or a page as a picture",
     "PDF, office files, mail, archives, pictures and plain text, read in a locked-in process as the index reads them.\n"
     "--json prints one object a file, with pages and boxes.", hth_cmd_extract},
    {"render", "TEMPLATE CASE.json", "a chat template, rendered",
     "CASE is an object: messages, tools, add_generation_prompt, bos_token, eos_token, now (the clock, as 2026-01-02T03:04:05), and\n"
     "whatever else the template reads. In a file of several named cases, --case picks one.",
     hth_cmd_render},
    {NULL, NULL, NULL, NULL, NULL},
};

static void print_commands(FILE *out)
{
	fprintf(out, "hearth %s - the AI of a home\n\n", HEARTH_VERSION);
	for (const hth_command *c = hth_commands; c->name != NULL; c++) {
		char left[64];
		snprintf(left, sizeof left, "%s%s%s", c->name, *c->args ? " " : "", c->args);
		fprintf(out, "  hearth %-34s %s\n", left, c->help);
	}
	fprintf(out, "\n`hearth COMMAND --help` tells more. First steps: `hearth serve`, then `hearth run` elsewhere.\n");
}

static const hth_command *find_command(const char *name)
{
	for (const hth_command *c = hth_commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *names[32];
	size_t n = 0;
	for (const hth_command *c = hth_commands; c->name != NULL; c++)
		names[n++] = c->name;
	names[n] = NULL;
	if (name[0] == '-') {
		fprintf(stderr, "hearth: the command comes first, then its options: hearth COMMAND %.60s\n", name);
		return HTH_EXIT_USAGE;
	}
	/* What other programs call it. */
	static const char *const synonyms[][2] = {{"chat", "run"},    {"start", "serve"}, {"ls", "list"},       {"models", "list"},
	                                          {"delete", "rm"},
	                                          {"remove", "rm"},   {"info", "show"},   {"download", "pull"}, {"get", "pull"},
	                                          {"unload", "stop"},
	                                          {"ocr", "extract"}, {"find", "search"}, {"settings", "config"}};
	const char *near = NULL;
	for (size_t i = 0; i < HTH_COUNT(synonyms) && near == NULL; i++)
		if (strcmp(name, synonyms[i][0]) == 0)
			near = synonyms[i][1];
	if (near == NULL)
		near = hth_options_nearest(name, names);
	fprintf(stderr, "hearth: there is no command '%.60s'", name);
	if (near != NULL)
		fprintf(stderr, "; did you mean `hearth %s`?\n", near);
	else
		fprintf(stderr, "; `hearth --help` lists them\n");
	return HTH_EXIT_USAGE;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* `hearth pool --listen` is where the hub listens, not the node: the settings must not take it. from, to: the flag's first character. */
static void hide_listen(char **argv, int argc, char from, char to)
{
	for (int i = 0; i < argc; i++)
		if (argv[i][0] == from && strncmp(argv[i] + 1, "-listen", 7) == 0 && (argv[i][8] == '\0' || argv[i][8] == '='))
			argv[i][0] = to;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "__runner") == 0)
		return hth_runner_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "__hub") == 0)
		return hth_hub_main(argc, argv);
	if (argc < 2) {
		print_commands(stderr);
		return HTH_EXIT_USAGE;
	}
	const char *name = argv[1];
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (strcmp(name, "help") == 0 && argc == 2)) {
		print_commands(stdout);
		return HTH_EXIT_DONE;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
		printf("hearth %s\n", HEARTH_VERSION);
		return HTH_EXIT_DONE;
	}
	bool help = strcmp(name, "help") == 0;
	if (help)
		name = argv[2];
	const hth_command *command = find_command(name);
	if (command == NULL)
		return unknown_command(name);

	static hth_invocation in; /* static: it holds paths of several KiB, and there is one */
	in.command = command;
	in.wants_help = help || asks_for_help(argc - 2, argv + 2);
	int rest = argc - 1;
	hth_error err = HTH_ERROR_INIT;
	if (command->run == hth_cmd_pool)
		hide_listen(argv + 2, argc - 2, '-', '+');
	if (!in.wants_help && hth_config_load(&in.config, &rest, argv + 1, &err) != HTH_OK) {
		if (err.param[0] != '\0') /* a flag: wrong usage */
			return hth_cmd_usage(&in, "%s", err.message);
		return hth_cmd_fail(&in, &err);
	}
	for (int fd = 0; fd < 3; fd++)
		(void)hth_cmd_is_terminal(fd);
	hth_log_set_level((hth_log_level)in.config.log_level);
	in.argc = rest - 1;
	in.argv = argv + 2;
	if (command->run == hth_cmd_pool)
		hide_listen(in.argv, in.argc, '+', '-');
	int code = command->run(&in);
	if (code == HTH_EXIT_DONE && (fflush(stdout) != 0 || ferror(stdout))) { /* a full disk must not look like an empty list */
		fprintf(stderr, "hearth %s: cannot write the answer: %s\n", command->name, strerror(errno));
		code = HTH_EXIT_FAILED;
	}
	if (hth_local_is_locked_in()) { /* what runs at a normal exit may ask for more than the sandbox gives */
		fflush(NULL);
		_exit(code);
	}
	return code;
}
