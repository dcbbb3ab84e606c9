/* cmd-search.c - `hearth search QUERY`: what the household's documents say. The node is asked when it runs; else this process reads the
 * index itself. cmd-search.h shares the search and how hits look with `hearth ask`. */
#include "base/mem.h"
#include "cmd/cmd-options.h"
#include "cmd/cmd-search.h"
#include "index/index-json.h"

#include <ctype.h>
#include <time.h>

static void put_parameter(hth_buf *out, const char *name, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	hth_buf_appendf(out, "%c%s=", strchr(out->data, '?') != NULL ? '&' : '?', name);
	for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++)
		if (isalnum(*c) || strchr("-._~", *c) != NULL)
			hth_buf_append_char(out, (char)*c);
		else
			hth_buf_appendf(out, "%%%02X", *c);
}

static void put_number(hth_buf *out, const char *name, int64_t value)
{
	char text[32];
	snprintf(text, sizeof text, "%lld", (long long)value);
	put_parameter(out, name, value != 0 ? text : NULL);
}

static hth_status ask_node(hth_client *client, const hth_search_ask *a, json_t **ret_json, hth_error *err)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf path = HTH_BUF_INIT(64 << 10);
	hth_buf_append_str(&path, "/search");
	put_parameter(&path, "q", a->query);
	put_number(&path, "k", a->k);
	put_parameter(&path, "folder", a->folder);
	put_parameter(&path, "type", a->type);
	put_parameter(&path, "from", a->from);
	put_number(&path, "after", a->after);
	put_number(&path, "before", a->before);
	put_number(&path, "least", a->least);
	put_parameter(&path, "text", a->with_text ? "1" : NULL);
	HTH_TRY(hth_buf_check(&path, "the query", err));
	return hth_client_json(client, "GET", path.data, NULL, 60000, ret_json, err);
}

static hth_status search_here(const hth_invocation *in, const hth_search_ask *a, json_t **ret_json, hth_error *err)
{
	hth_index_reader *reader;
	hth_index_hits hits = {0};
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(16 << 20);
	HTH_TRY(hth_index_reader_open(&reader, in->config.home, err));
	const hth_index_query q = {.text = a->query, .k = (size_t)a->k, .folder = a->folder, .type = a->type, .from = a->from,
	                           .after = a->after, .before = a->before, .least_share = (double)a->least / 100};
	hth_status status = hth_index_search(reader, &q, &hits, err);
	hth_index_reader_close(reader);
	if (status != HTH_OK)
		return status;
	hth_index_write_hits(&hits, a->query, a->with_text, NULL, &out);
	hth_index_hits_finish(&hits);
	HTH_TRY(hth_buf_check(&out, "the answer", err));
	return hth_json_parse(ret_json, out.data, out.len, err);
}

hth_status hth_search_run(const hth_invocation *in, const hth_search_ask *a, json_t **ret_json, hth_client **ret_client, hth_error *err)
{
	hth_client *client;
	*ret_client = NULL;
	HTH_TRY(hth_cmd_client(in, NULL, &client, err));
	hth_status status = ask_node(client, a, ret_json, err);
	if (hth_client_reached(client)) {
		if (status == HTH_OK)
			*ret_client = client;
		else
			hth_client_destroy(client);
		return status;
	}
	hth_client_destroy(client);
	return search_here(in, a, ret_json, err);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	return value != NULL ? value : "";
}

void hth_search_print_plain(const char *s)
{
	for (; *s != '\0'; s++)
		putchar(((unsigned char)*s < 0x20 && *s != '\n') || *s == 0x7f ? ' ' : *s);
}

void hth_search_print_name(const char *s)
{
	for (; *s != '\0'; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void print_snippet(const json_t *hit, bool colors)
{
	const json_t *marks = json_object_get(hit, "highlights");
	size_t next = 0;
	json_int_t at = 0;
	bool on = false;
	for (const char *s = text_of(hit, "snippet"); *s != '\0'; s++) {
		if (((unsigned char)*s & 0xc0) != 0x80) {
			const json_t *mark = json_array_get(marks, next);
			if (colors && on && at >= json_integer_value(json_array_get(mark, 1))) {
				fputs("\033[0m", stdout);
				on = false;
				mark = json_array_get(marks, ++next);
			}
			if (colors && !on && mark != NULL && at == json_integer_value(json_array_get(mark, 0))) {
				fputs("\033[1m", stdout);
				on = true;
			}
			at++;
		}
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
	}
	if (on)
		fputs("\033[0m", stdout);
	putchar('\n');
}

void hth_search_print_place(const json_t *hit)
{
	hth_search_print_name(text_of(hit, "file"));
	if (*text_of(hit, "part") != '\0') {
		printf(" (");
		hth_search_print_name(text_of(hit, "part"));
		printf(")");
	}
	if (json_is_integer(json_object_get(hit, "page")))
		printf(", page %lld", (long long)json_integer_value(json_object_get(hit, "page")));
}

void hth_search_print_hits(const json_t *hits)
{
	bool colors = hth_cmd_colors(1);
	const json_t *hit;
	size_t i;
	json_array_foreach(hits, i, hit) {
		json_int_t copies = json_integer_value(json_object_get(hit, "copies"));
		hth_search_print_place(hit);
		if (copies > 0)
			printf(" (and %lld %s)", (long long)copies, copies == 1 ? "copy" : "copies");
		printf("\n  ");
		print_snippet(hit, colors);
	}
}

/* "2024-03-01", local time; also seconds since 1970. */
static bool read_day(const char *text, int64_t *ret_unix)
{
	struct tm tm = {.tm_isdst = -1};
	char *end = text != NULL ? strptime(text, "%Y-%m-%d", &tm) : NULL;
	if (text == NULL)
		return true;
	if (end == NULL || *end != '\0')
		return false;
	*ret_unix = (int64_t)mktime(&tm);
	return true;
}

int hth_search_print_json(const hth_invocation *in, const json_t *json)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	hth_json_write(json, &out);
	return hth_cmd_print(in, &out);
}

int hth_cmd_search(hth_invocation *in)
{
	bool json = false;
	hth_search_ask a = {.k = 10};
	const char *after = NULL, *before = NULL;
	const hth_option options[] = {{"k", 'k', HTH_OPTION_INT, &a.k, "N", "at most N hits; default 10", 1, HTH_INDEX_K_MAX, NULL},
	                              {"folder", 0, HTH_OPTION_TEXT, &a.folder, "DIR", "only files within it", 0, 0, NULL},
	                              {"type", 0, HTH_OPTION_TEXT, &a.type, "KIND", "only of this kind: pdf, docx, mail, image, plain, ...",
	                               0, 0, NULL},
	                              {"from", 0, HTH_OPTION_TEXT, &a.from, "WHO", "only of authors and senders whose name has this", 0, 0,
	                               NULL},
	                              {"after", 0, HTH_OPTION_TEXT, &after, "DAY", "only of this day (2024-03-01) or later", 0, 0, NULL},
	                              {"before", 0, HTH_OPTION_TEXT, &before, "DAY", "only of days before this one", 0, 0, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 1))
		return in->exit_code;
	if (!read_day(after, &a.after) || !read_day(before, &a.before))
		return hth_cmd_usage(in, "a day should be written as 2024-03-01");
	a.query = in->argv[0];
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *answer = NULL;
	hth_client *client;
	if (hth_search_run(in, &a, &answer, &client, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	hth_client_destroy(client);
	if (json)
		return hth_search_print_json(in, answer);
	const json_t *hits = json_object_get(answer, "hits");
	if (json_array_size(hits) == 0)
		printf("Nothing was found.\n");
	hth_search_print_hits(hits);
	return HTH_EXIT_DONE;
}
