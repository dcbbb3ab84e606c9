/* cmd-options.h - the options of one command: a small table, parsed into the command's own variables.
 *
 *   bool json = false;
 *   int64_t n = 128;
 *   const hth_option options[] = {HTH_OPTION_JSON(&json), {"tokens", 'n', HTH_OPTION_INT, &n, "N", "at most N tokens", 1, 1e6}};
 *   if (!hth_options_take(in, options, HTH_COUNT(options), 1, 2))
 *           return in->exit_code;
 *
 * Options may stand anywhere; "--" ends them; --name VALUE, --name=VALUE, -n VALUE and -nVALUE are the same.
 */
#ifndef HTH_CMD_OPTIONS_H
#define HTH_CMD_OPTIONS_H

#include "cmd/cmd.h"

typedef enum hth_option_kind {
	HTH_OPTION_FLAG,   /* bool *: becomes true */
	HTH_OPTION_TEXT,   /* const char ** */
	HTH_OPTION_INT,    /* int64_t * */
	HTH_OPTION_NUMBER, /* double * */
} hth_option_kind;

typedef struct hth_option {
	const char *name; /* without "--" */
	char letter;      /* 0: none */
	hth_option_kind kind;
	void *value;
	const char *value_name; /* "N", "FILE" */
	const char *help;
	double min, max; /* of numbers */
	bool *given;     /* set when it was given; may be NULL */
} hth_option;

#define HTH_OPTION_JSON(where) {"json", 0, HTH_OPTION_FLAG, (where), NULL, "answer in JSON", 0, 0, NULL}

/* Takes the options out of in->argv, leaving min_args to max_args positional ones. False: help was printed or the usage was wrong
 * (said on stderr); return in->exit_code. */
HTH_MUST_USE bool hth_options_take(hth_invocation *in, const hth_option *options, size_t n_options, int min_args, int max_args);

/* The name in `names` (NULL-terminated list) that is nearest to `word`, or NULL when none is near enough to be meant. */
const char *hth_options_nearest(const char *word, const char *const *names);

#endif
