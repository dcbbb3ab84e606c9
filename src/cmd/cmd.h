/* cmd.h - the command line: what main.c, the commands (one file each) and their shared helpers know of each other.
 *
 * A command is a row of the table in main.c and a function that parses its own options (cmd-options.h), does its work and returns the
 * exit code: 0 done, 1 failed, 2 wrong usage. Results go to stdout, everything else to stderr. Errors say what was wrong, with what,
 * and what to do next.
 */
#ifndef HTH_CMD_CMD_H
#define HTH_CMD_CMD_H

#include "base/buf.h"
#include "client/client.h"
#include "config/config.h"

#include <signal.h>
#include <stdio.h>

enum { HTH_EXIT_DONE = 0, HTH_EXIT_FAILED = 1, HTH_EXIT_USAGE = 2 };

typedef struct hth_invocation hth_invocation;
typedef struct hth_command {
	const char *name;
	const char *args;    /* "MODEL [TEXT]" */
	const char *help;    /* one line, for the list */
	const char *details; /* further lines of --help; may be NULL */
	int (*run)(hth_invocation *in);
} hth_command;

/* One call of the program. */
struct hth_invocation {
	const hth_command *command;
	hth_config config; /* defaults only while help is asked for */
	int argc;          /* what follows the command, settings' flags taken out; hth_options_take leaves the positional ones */
	char **argv;
	bool wants_help;
	int exit_code;     /* set when hth_options_take returns false */
};

/* The table, in the order of the listing; ends with a NULL name. */
extern const hth_command hth_commands[];

/* Prints "hearth COMMAND: message" on stderr and returns the exit code that fits the status. */
int hth_cmd_fail(const hth_invocation *in, const hth_error *err);
/* The same for wrong usage: always 2, with where to read more. */
int hth_cmd_usage(const hth_invocation *in, const char *fmt, ...) HTH_PRINTF(2, 3);

/* stdout (1) or stderr (2) is a terminal; and whether colours may go there (NO_COLOR and TERM=dumb say no). */
bool hth_cmd_is_terminal(int fd);
bool hth_cmd_colors(int fd);

/* "4.9 MB", "1.2 GB" (decimal, as files are sold), "638 MiB" (binary, as memory is), "4.7 M", "1h 5m": in out, returned. */
const char *hth_cmd_bytes(uint64_t n, char out[32]);
const char *hth_cmd_memory(uint64_t n, char out[32]);
const char *hth_cmd_count(uint64_t n, char out[32]);
const char *hth_cmd_seconds(uint64_t s, char out[32]);

/* A whole file or, for "-", standard input, at most max bytes; NUL after the end. Caller frees. */
HTH_MUST_USE hth_status hth_cmd_read_file(const char *path, size_t max, char **ret_data, size_t *ret_len, hth_error *err);

/* Writes the buffer to stdout and a line's end; 0, or 1 with a message when it cannot be written. */
int hth_cmd_print(const hth_invocation *in, const hth_buf *text);
/* JSON pieces appended to a buffer: a number with enough digits for a float (null when it is none), a string of any bytes. */
void hth_cmd_json_floats(hth_buf *out, const float *values, size_t n);
void hth_cmd_json_float(hth_buf *out, double value);

/* A client for the node that the settings name. */
HTH_MUST_USE hth_status hth_cmd_client(const hth_invocation *in, const volatile sig_atomic_t *cancel, hth_client **ret_client,
                                       hth_error *err);

/* After a change to this home: where the node that answers keeps another one (that of a system's service, say), tells so on stderr. */
void hth_cmd_note_other_home(const hth_invocation *in);

/* A table for people: cells are copied; columns are as wide as their widest cell. */
typedef struct hth_cmd_table {
	const char *align; /* '<' or '>' per column: the table's width */
	char **cells;      /* row after row, titles first */
	size_t n_rows, n_columns;
} hth_cmd_table;
void hth_cmd_table_init(hth_cmd_table *table, const char *align, const char *const *titles);
void hth_cmd_table_row(hth_cmd_table *table, const char *const *cells); /* n_columns strings */
void hth_cmd_table_print(hth_cmd_table *table, FILE *out);              /* and frees it */

/* The commands. */
int hth_cmd_serve(hth_invocation *in);
int hth_cmd_run(hth_invocation *in);
int hth_cmd_show(hth_invocation *in);
int hth_cmd_pull(hth_invocation *in);
int hth_cmd_rm(hth_invocation *in);
int hth_cmd_key(hth_invocation *in);
int hth_cmd_privacy(hth_invocation *in);
int hth_cmd_ledger(hth_invocation *in);
int hth_cmd_pool(hth_invocation *in);
int hth_cmd_index(hth_invocation *in);
int hth_cmd_search(hth_invocation *in);
int hth_cmd_ask(hth_invocation *in);
int hth_cmd_list(hth_invocation *in);
int hth_cmd_ps(hth_invocation *in);
int hth_cmd_stop(hth_invocation *in);
int hth_cmd_quantize(hth_invocation *in);
int hth_cmd_tokenize(hth_invocation *in);
int hth_cmd_perplexity(hth_invocation *in);
int hth_cmd_extract(hth_invocation *in);
int hth_cmd_embed(hth_invocation *in);
int hth_cmd_render(hth_invocation *in);
int hth_cmd_bench(hth_invocation *in);
int hth_cmd_status(hth_invocation *in);
int hth_cmd_doctor(hth_invocation *in);
int hth_cmd_config(hth_invocation *in);

#endif
