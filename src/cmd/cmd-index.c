/* cmd-index.c - `hearth index add DIR | rm DIR | status`: which folders the home's index reads, and how far it is.
 *
 * The node keeps the index while it runs, so it is asked first. Without one, folders are named in the record, for the next node to read;
 * with --wait they are read here and now, by this process.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "cmd/cmd-search.h"
#include "index/index-json.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum { POLL_MS = 150 };

static volatile sig_atomic_t interrupted;
static void on_interrupt(int signum)
{
	(void)signum;
	interrupted = 1;
}

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	return json_is_number(v) && json_number_value(v) > 0 ? (uint64_t)json_number_value(v) : 0;
}

static void print_files(const json_t *status)
{
	static const struct {
		const char *key, *says;
	} rows[] = {{"indexed", "indexed"}, {"waiting", "waiting to be read"},
	            {"waiting_ocr", "text indexed, pictures waiting to be read (OCR)"},
	            {"unreadable", "unreadable"}, {"excluded", "excluded: too large, or of a kind without text"},
	            {"unchanged", "found unchanged by the last look"},
	            {"skipped", "hidden or ignored"}};
	const json_t *files = json_object_get(status, "files");
	for (size_t i = 0; i < HTH_COUNT(rows); i++)
		if (i == 0 || number(files, rows[i].key) > 0)
			printf("%10llu  %s\n", (unsigned long long)number(files, rows[i].key), rows[i].says);
}

/* What programs sent is not the household's, and told apart. */
static void print_store_files(const json_t *status)
{
	const json_t *files = json_object_get(status, "store_files");
	uint64_t waiting = number(files, "waiting") + number(files, "waiting_ocr"), unreadable = number(files, "unreadable"),
	    excluded = number(files, "excluded"),
	         all = number(files, "indexed") + waiting + unreadable + excluded;
	if (all == 0)
		return;
	printf("%10llu  in vector stores", (unsigned long long)all);
	if (waiting > 0)
		printf(", %llu waiting", (unsigned long long)waiting);
	if (unreadable > 0)
		printf(", %llu unreadable", (unsigned long long)unreadable);
	if (excluded > 0)
		printf(", %llu excluded", (unsigned long long)excluded);
	printf("\n");
}

static void print_vectors(const json_t *status)
{
	char a[32];
	const char *whose = json_string_value(json_object_get(status, "vector_model")),
	    *now = json_string_value(json_object_get(status, "embed_model"));
	bool any = number(status, "vectors") > 0, goes_on = now != NULL && *now != '\0';
	if (!any && !goes_on)
		return;
	printf("%s of %s passages have a vector of %s (%s)%s\n", hth_cmd_count(number(status, "vectors"), a),
	       hth_cmd_count(number(status, "passages"), (char[32]){0}), any ? whose : now,
	       hth_cmd_bytes(number(status, "vector_bytes"), (char[32]){0}),
	       json_is_true(json_object_get(status, "kept")) && !goes_on ? "; no embedding model is in use now" : "");
}

/* Money as it is worth: small sums with more digits. */
static const char *money(double sum, char out[32])
{
	snprintf(out, 32, sum >= 10 ? "%.0f" : sum >= 0.1 ? "%.2f" : "%.4f", sum);
	return out;
}

static void print_unreadable(const json_t *status)
{
	enum { SHOWN = 10 };
	const json_t *list = json_object_get(status, "unreadable"), *file;
	size_t i;
	json_array_foreach (list, i, file) {
		if (i == SHOWN) {
			printf("  ... `hearth index status --json` lists more\n");
			break;
		}
		if (i == 0)
			printf("Unreadable:\n");
		printf("  ");
		hth_search_print_name(json_string_value(json_object_get(file, "file")));
		printf(": ");
		hth_search_print_name(json_string_value(json_object_get(file, "reason")));
		printf("\n");
	}
}

static void print_cost(const json_t *status)
{
	const json_t *cost = json_object_get(status, "cost"), *prices = json_object_get(cost, "prices"),
	    *page = json_object_get(prices, "page_1000");
	const char *currency = json_string_value(json_object_get(cost, "currency")),
	    *error = json_string_value(json_object_get(cost, "error"));
	char a[32], b[32], c[32];
	if (error != NULL)
		printf("What it costs is not known: %s\n", error);
	if (currency == NULL)
		return;
	printf("%.*f Wh spent (by %s), %s %s of electricity; in a cloud the %s pages would have been %s %s (%s %s for 1,000, %.10s)\n",
	       json_number_value(json_object_get(cost, "watt_hours")) >= 10 ? 0 : 2, json_number_value(json_object_get(cost, "watt_hours")),
	       json_string_value(json_object_get(cost, "measured_by")), money(json_number_value(json_object_get(cost, "energy")), a),
	       currency,
	       hth_cmd_count(number(cost, "pages_read"), c), money(json_number_value(json_object_get(cost, "cloud")), b), currency,
	       money(json_number_value(json_object_get(page, "value")), (char[32]){0}), currency,
	       json_string_value(json_object_get(page, "date")));
}

static void print_status(const json_t *status)
{
	const json_t *folders = json_object_get(status, "folders"), *folder;
	char a[32], b[32], c[32];
	size_t i;
	if (json_array_size(folders) == 0) {
		printf("No folder is indexed; `hearth index add DIR` begins.\n");
		print_store_files(status);
		return;
	}
	json_array_foreach(folders, i, folder) {
		hth_search_print_name(json_string_value(json_object_get(folder, "path")));
		printf(": %llu files%s%s", (unsigned long long)number(folder, "files"),
		       json_is_true(json_object_get(folder, "shared")) ? ", may be lent to neighbours" : "",
		       json_is_true(json_object_get(folder, "missing")) ? "; not there now, what it said is kept" : "");
		if (number(folder, "away") > 0)
			printf("; %llu of them on a disk that is not there now, what they said is kept",
			       (unsigned long long)number(folder, "away"));
		printf("\n");
	}
	printf("\n");
	print_files(status);
	print_store_files(status);
	printf("\n%s documents, %s of text in %s passages; the word index has %s; %s of computing spent\n",
	       hth_cmd_count(number(status, "documents"), a), hth_cmd_bytes(number(status, "text_bytes"), b),
	       hth_cmd_count(number(status, "passages"), c), hth_cmd_bytes(number(status, "word_bytes"), (char[32]){0}),
	       hth_cmd_seconds(number(status, "cpu_seconds"), (char[32]){0}));
	print_vectors(status);
	print_unreadable(status);
	print_cost(status);
	const json_t *left = json_object_get(status, "seconds_left");
	const char *trouble = json_string_value(json_object_get(status, "trouble"));
	if (trouble != NULL && *trouble != '\0')
		printf("It cannot go on: %s; it is tried again every few seconds.\n", trouble);
	else if (json_is_number(left))
		printf("%.1f files a second, %.2f with OCR; about %s left\n", json_number_value(json_object_get(status, "files_per_s")),
		       json_number_value(json_object_get(status, "ocr_files_per_s")),
		       hth_cmd_seconds((uint64_t)json_number_value(left), a));
	if (json_is_true(json_object_get(status, "paused")))
		printf("It rests while the node answers somebody.\n");
	if (!json_is_true(json_object_get(status, "kept")))
		printf("No node runs, so nothing is read now: `hearth serve`, or `hearth index add DIR --wait`.\n");
}

/* One line on a terminal that is written over. */
static void show_progress(const json_t *status, bool last)
{
	if (!hth_cmd_is_terminal(2))
		return;
	const json_t *files = json_object_get(status, "files"), *left = json_object_get(status, "seconds_left");
	char text[32];
	fprintf(stderr, "\r\033[K%llu indexed, %llu waiting, %llu waiting for OCR, %llu unreadable",
	        (unsigned long long)number(files, "indexed"), (unsigned long long)number(files, "waiting"),
	        (unsigned long long)number(files, "waiting_ocr"), (unsigned long long)number(files, "unreadable"));
	const char *trouble = json_string_value(json_object_get(status, "trouble"));
	if (trouble != NULL && *trouble != '\0')
		fprintf(stderr, "; it cannot go on: %s", trouble);
	else if (json_is_true(json_object_get(status, "paused")))
		fprintf(stderr, "; resting while the node answers");
	else if (json_is_number(left))
		fprintf(stderr, "; %s left", hth_cmd_seconds((uint64_t)json_number_value(left), text));
	fprintf(stderr, last ? "\n" : "");
	fflush(stderr);
}

/* --- with the node --- */

static hth_status wait_for_node(hth_client *client, json_t **ret_status, hth_error *err)
{
	for (;;) {
		json_t *status;
		usleep(POLL_MS * 1000);
		if (interrupted)
			return hth_fail(err, HTH_CANCELLED, "interrupted; the node goes on reading");
		HTH_TRY(hth_client_json(client, "GET", "/hearth/index", NULL, 30000, &status, err));
		bool idle = json_is_true(json_object_get(status, "idle")), kept = json_is_true(json_object_get(status, "kept"));
		show_progress(status, idle);
		if (idle) {
			*ret_status = status;
			return HTH_OK;
		}
		json_decref(status);
		if (!kept)
			return hth_fail(err, HTH_BUSY, "the node does not read documents; its log says why");
	}
}

/* --- without --- */

static hth_status own_status(const hth_invocation *in, hth_index *index, json_t **ret_status, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(16 << 20);
	HTH_TRY(hth_index_write_status(in->config.home, index, &out, err));
	return hth_json_parse(ret_status, out.data, out.len, err);
}

static hth_status wait_here(const hth_invocation *in, json_t **ret_status, hth_error *err)
{
	hth_index *index;
	HTH_TRY(hth_index_start(&index, &(hth_index_options){.home = in->config.home}, err));
	hth_status status = HTH_OK;
	uint64_t told = 0;
	while (status == HTH_OK && !hth_index_is_idle(index)) {
		usleep(POLL_MS * 1000 / 5);
		if (interrupted)
			status = hth_fail(err, HTH_CANCELLED,
			                  "interrupted; what was read is kept, the rest is read by the next node or --wait");
		if (hth_clock_ms() - told > 500 && hth_cmd_is_terminal(2)) {
			json_t *now;
			told = hth_clock_ms();
			if (own_status(in, index, &now, NULL) == HTH_OK) {
				show_progress(now, false);
				json_decref(now);
			}
		}
	}
	if (status == HTH_OK)
		status = own_status(in, index, ret_status, err);
	if (status == HTH_OK)
		show_progress(*ret_status, true);
	hth_index_stop(index);
	return status;
}

static hth_status change(const hth_invocation *in, bool is_add, const char *path, bool shared, bool wait, json_t **ret_status,
                         hth_error *err)
{
	hth_client *client;
	HTH_AUTO_JSON json_t *body = is_add ? json_pack("{s:s,s:b}", "add", path, "shared", shared) : json_pack("{s:s}", "remove", path);
	HTH_AUTO_JSON json_t *answer = NULL;
	if (body == NULL)
		return hth_fail(err, HTH_INVALID, "a folder's path must be UTF-8 text to be asked of a node");
	HTH_TRY(hth_cmd_client(in, NULL, &client, err));
	hth_status status = hth_client_json(client, "POST", "/hearth/index", body, 60000, &answer, err);
	bool reached = hth_client_reached(client);
	if (status == HTH_OK && wait)
		status = wait_for_node(client, ret_status, err);
	hth_client_destroy(client);
	if (reached)
		return status;
	HTH_TRY(is_add ? hth_index_folder_add(in->config.home, path, shared, err) : hth_index_folder_remove(in->config.home, path, err));
	return wait ? wait_here(in, ret_status, err) : HTH_OK;
}

static int show_status(const hth_invocation *in, bool json)
{
	hth_error err = HTH_ERROR_INIT;
	hth_client *client;
	HTH_AUTO_JSON json_t *status = NULL;
	if (hth_cmd_client(in, NULL, &client, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	hth_status asked = hth_client_json(client, "GET", "/hearth/index", NULL, 60000, &status, &err);
	if (!hth_client_reached(client))
		asked = own_status(in, NULL, &status, &err);
	hth_client_destroy(client);
	if (asked != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (!json) {
		print_status(status);
		return HTH_EXIT_DONE;
	}
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	hth_json_write(status, &out);
	return hth_cmd_print(in, &out);
}

int hth_cmd_index(hth_invocation *in)
{
	bool json = false, wait = false, shared = false;
	const hth_option options[] = {{"wait", 0, HTH_OPTION_FLAG, &wait, NULL, "until all of it is read", 0, 0, NULL},
	                              {"shared", 0, HTH_OPTION_FLAG, &shared, NULL, "neighbours may be shown what it says", 0, 0, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 2))
		return in->exit_code;
	const char *what = in->argv[0], *path = in->argc > 1 ? in->argv[1] : NULL;
	bool is_add = strcmp(what, "add") == 0, is_rm = strcmp(what, "rm") == 0;
	if (!is_add && !is_rm && strcmp(what, "status") != 0)
		return hth_cmd_usage(in, "'%.60s' should be add, rm or status", what);
	if ((path != NULL) != (is_add || is_rm))
		return hth_cmd_usage(in, path != NULL ? "status takes no folder" : "%s takes a folder", what);
	if (path == NULL)
		return show_status(in, json);
	char whole[PATH_MAX];
	hth_error err = HTH_ERROR_INIT;
	if (realpath(path, whole) == NULL) {
		if (is_add || path[0] != '/') {
			hth_fail_errno(&err, HTH_NOT_FOUND, errno, "cannot index %s", path);
			return hth_cmd_fail(in, &err);
		}
		snprintf(whole, sizeof whole, "%s", path); /* gone from the disk: removed by its name */
	}
	if (wait)
		signal(SIGINT, on_interrupt);
	HTH_AUTO_JSON json_t *status = NULL;
	if (change(in, is_add, whole, shared, wait, &status, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	if (json && status != NULL) {
		HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
		hth_json_write(status, &out);
		return hth_cmd_print(in, &out);
	}
	if (json)
		printf(is_add ? "{\"added\":true}\n" : "{\"removed\":true}\n");
	else if (status != NULL)
		print_files(status);
	else
		printf(is_add ? "%s is indexed while the node runs; `hearth index status` tells how far it is.\n"
		              : "Nothing in %s is found any more; its traces go while the node runs.\n", whole);
	return HTH_EXIT_DONE;
}
