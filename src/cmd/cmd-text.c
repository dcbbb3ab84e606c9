/* cmd-text.c - what commands share when they speak: errors, sizes, tables, JSON numbers, files in. Main thread. */
#include "cmd/cmd.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "store/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

int hth_cmd_fail(const hth_invocation *in, const hth_error *err)
{
	fflush(stdout);
	fprintf(stderr, "hearth %s: %s\n", in->command->name, err->message);
	return HTH_EXIT_FAILED;
}

int hth_cmd_usage(const hth_invocation *in, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fprintf(stderr, "hearth %s: ", in->command->name);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\nusage: hearth %s%s%s; more with `hearth %s --help`\n", in->command->name, *in->command->args ? " " : "",
	        in->command->args, in->command->name);
	return HTH_EXIT_USAGE;
}

/* Asked once, early (main does): a process that has locked itself in may not ask any more. */
bool hth_cmd_is_terminal(int fd)
{
	static signed char known[3] = {-1, -1, -1};
	if (fd < 0 || fd > 2)
		return false;
	if (known[fd] < 0)
		known[fd] = isatty(fd) == 1;
	return known[fd] == 1;
}

bool hth_cmd_colors(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	return hth_cmd_is_terminal(fd) && (no == NULL || *no == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

static const char *scaled(uint64_t n, double step, const char *const *units, char out[32])
{
	double v = (double)n;
	size_t i = 0;
	while (v >= 999.5 && units[i + 1] != NULL) {
		v /= step;
		i++;
	}
	snprintf(out, 32, i == 0 || v >= 99.5 ? "%.0f%s" : "%.1f%s", v, units[i]);
	return out;
}
const char *hth_cmd_bytes(uint64_t n, char out[32])
{
	return scaled(n, 1000, (const char *const[]){" B", " kB", " MB", " GB", " TB", NULL}, out);
}
const char *hth_cmd_memory(uint64_t n, char out[32])
{
	return scaled(n, 1024, (const char *const[]){" B", " KiB", " MiB", " GiB", " TiB", NULL}, out);
}
const char *hth_cmd_count(uint64_t n, char out[32])
{
	return scaled(n, 1000, (const char *const[]){"", " k", " M", " B", " T", NULL}, out);
}
const char *hth_cmd_seconds(uint64_t s, char out[32])
{
	if (s < 60)
		snprintf(out, 32, "%us", (unsigned)s);
	else if (s < 3600)
		snprintf(out, 32, "%um %us", (unsigned)(s / 60), (unsigned)(s % 60));
	else if (s < 86400)
		snprintf(out, 32, "%uh %um", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
	else
		snprintf(out, 32, "%ud %uh", (unsigned)(s / 86400), (unsigned)(s / 3600 % 24));
	return out;
}

hth_status hth_cmd_read_file(const char *path, size_t max, char **ret_data, size_t *ret_len, hth_error *err)
{
	bool input = strcmp(path, "-") == 0;
	const char *what = input ? "standard input" : path;
	HTH_AUTO_CLOSE int opened = input ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (!input && opened < 0)
		return hth_fail_errno(err, errno == ENOENT ? HTH_NOT_FOUND : HTH_IO, errno, "cannot open %s", path);
	hth_buf data = HTH_BUF_INIT(max);
	hth_status status = HTH_OK;
	for (;;) {
		size_t room = data.len < max ? HTH_MIN(max - data.len, 64 * 1024) : 1;
		char spill, *to = data.len < max ? hth_buf_reserve(&data, room) : &spill;
		ssize_t n = to != NULL ? read(input ? 0 : opened, to, room) : 0;
		if (to == NULL)
			status = hth_fail(err, HTH_NO_MEMORY, "no memory to read %s", what);
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0)
			status = hth_fail_errno(err, HTH_IO, errno, "cannot read %s", what);
		else if (n > 0 && to == &spill)
			status = hth_fail(err, HTH_TOO_LARGE, "%s is over %zu bytes", what, max);
		if (status != HTH_OK || n == 0)
			break;
		data.len += (size_t)n;
		data.data[data.len] = '\0';
	}
	if (status == HTH_OK && data.len == 0 && !hth_buf_append_str(&data, ""))
		status = hth_fail(err, HTH_NO_MEMORY, "no memory to read %s", what);
	if (status == HTH_OK)
		*ret_data = hth_buf_steal(&data, ret_len);
	hth_buf_finish(&data);
	return status;
}

int hth_cmd_print(const hth_invocation *in, const hth_buf *text)
{
	hth_error err = HTH_ERROR_INIT;
	if (hth_buf_check(text, "the answer", &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (fwrite(text->data, 1, text->len, stdout) != text->len || putchar('\n') == EOF || fflush(stdout) != 0) {
		hth_fail_errno(&err, HTH_IO, errno, "cannot write the answer");
		return hth_cmd_fail(in, &err);
	}
	return HTH_EXIT_DONE;
}

void hth_cmd_json_float(hth_buf *out, double value)
{
	if (isfinite(value))
		hth_buf_appendf(out, "%.9g", value);
	else
		hth_buf_append_str(out, "null");
}

void hth_cmd_json_floats(hth_buf *out, const float *values, size_t n)
{
	hth_buf_append_char(out, '[');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			hth_buf_append_char(out, ',');
		hth_cmd_json_float(out, (double)values[i]);
	}
	hth_buf_append_char(out, ']');
}

hth_status hth_cmd_client(const hth_invocation *in, const volatile sig_atomic_t *cancel, hth_client **ret_client, hth_error *err)
{
	char url[128], owner[HTH_OWNER_KEY_MAX] = "";
	hth_config_url(&in->config, url, sizeof url);
	/* This home's own node knows its owner, and only a node on this machine is that. */
	if (in->config.api_key[0] == '\0' && (strncmp(url, "http://127.", 11) == 0 || strncmp(url, "http://[::1]:", 13) == 0))
		hth_owner_key(in->config.home, in->config.listen_port, owner);
	const hth_client_options options = {.base_url = url, .api_key = owner[0] != '\0' ? owner : in->config.api_key, .cancel = cancel};
	return hth_client_create(ret_client, &options, err);
}

void hth_cmd_note_other_home(const hth_invocation *in)
{
	char key[HTH_OWNER_KEY_MAX], url[128];
	hth_client *client;
	HTH_AUTO_JSON json_t *status = NULL;
	hth_error err = HTH_ERROR_INIT;
	hth_owner_key(in->config.home, in->config.listen_port, key);
	if (*key != '\0' || hth_cmd_client(in, NULL, &client, &err) != HTH_OK)
		return; /* the node that runs is this home's */
	hth_status asked = hth_client_json(client, "GET", "/hearth/status", NULL, 1000, &status, &err);
	bool there = hth_client_reached(client);
	hth_client_destroy(client);
	const char *home = json_string_value(json_object_get(status, "home"));
	struct stat theirs, ours;
	if (!there || (asked != HTH_OK && asked != HTH_UNAUTHORIZED) || (asked == HTH_OK && home == NULL))
		return;
	if (home != NULL && (strcmp(home, in->config.home) == 0 ||
	                     (stat(home, &theirs) == 0 && stat(in->config.home, &ours) == 0 && theirs.st_ino == ours.st_ino &&
	                      theirs.st_dev == ours.st_dev)))
		return;
	hth_config_url(&in->config, url, sizeof url);
	fprintf(stderr, "hearth %s: the node at %s keeps another home%s%.300s; this was done in %s. For the node's, set HEARTH_HOME to it, "
	                "with the right to write there\n",
	        in->command->name, url, home != NULL ? ", " : "", home != NULL ? home : "", in->config.home);
}

/* Columns on a terminal: characters, counting none for combining ones is more than names here need. */
static int width(const char *s)
{
	int n = 0;
	size_t len = s != NULL ? strlen(s) : 0;
	for (size_t i = 0; i < len; n++) {
		uint32_t cp;
		i += hth_utf8_decode_lossy(s + i, len - i, &cp);
	}
	return n;
}

void hth_cmd_table_init(hth_cmd_table *table, const char *align, const char *const *titles)
{
	*table = (hth_cmd_table){.align = align, .n_columns = strlen(align)};
	hth_cmd_table_row(table, titles);
}

void hth_cmd_table_row(hth_cmd_table *table, const char *const *cells)
{
	size_t n = table->n_rows * table->n_columns;
	char **grown = realloc(table->cells, (n + table->n_columns) * sizeof *grown);
	if (grown == NULL)
		return;
	table->cells = grown;
	for (size_t c = 0; c < table->n_columns; c++)
		grown[n + c] = strdup(cells[c]);
	table->n_rows++;
}

void hth_cmd_table_print(hth_cmd_table *table, FILE *out)
{
	bool colors = hth_cmd_colors(fileno(out));
	size_t columns = table->n_columns;
	for (size_t r = 0; r < table->n_rows; r++) {
		fputs(r == 0 && colors ? "\033[1m" : "", out);
		for (size_t c = 0; c < columns; c++) {
			int widest = 0;
			for (size_t k = 0; k < table->n_rows; k++)
				widest = HTH_MAX(widest, width(table->cells[k * columns + c]));
			const char *cell = table->cells[r * columns + c];
			int pad = widest - width(cell);
			bool right = table->align[c] == '>', last = c + 1 == columns;
			fprintf(out, "%*s%s%*s%s", right ? pad : 0, "", cell != NULL ? cell : "", right || last ? 0 : pad, "",
			        last ? "" : "  ");
		}
		fputs(r == 0 && colors ? "\033[0m\n" : "\n", out);
	}
	for (size_t i = 0; i < table->n_rows * columns; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (hth_cmd_table){0};
}
