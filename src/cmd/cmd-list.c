/* cmd-list.c - `hearth list`: the models on this disk. Looks at files' names and sizes only; `hearth show` reads inside. */
#include "base/mem.h"
#include "catalog/record.h"
#include "cmd/cmd-options.h"

#include <time.h>

static void day_of(int64_t unix_time, char out[32])
{
	time_t t = (time_t)unix_time;
	struct tm tm;
	if (localtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d", &tm) == 0)
		snprintf(out, 32, "?");
}

static const char *const origins[] = {"from", "source"}; /* of its record (catalog/record.h) */

static void count_one(void *ctx, const char *file, const hth_error *why)
{
	(void)file;
	(void)why;
	++*(size_t *)ctx;
}

int hth_cmd_list(hth_invocation *in)
{
	bool json = false;
	const hth_option options[] = {HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 0))
		return in->exit_code;
	hth_catalog catalog;
	hth_error err = HTH_ERROR_INIT;
	if (hth_catalog_load(&catalog, in->config.home, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	int code = HTH_EXIT_DONE;
	if (json) {
		hth_buf out = HTH_BUF_INIT(16 << 20);
		hth_buf_append_str(&out, "{\"models\":[");
		for (size_t i = 0; i < catalog.n; i++) {
			const hth_catalog_model *m = &catalog.models[i];
			HTH_AUTO_JSON json_t *record = hth_record_of(in->config.home, m);
			hth_buf_append_str(&out, i > 0 ? ",{\"name\":" : "{\"name\":");
			hth_json_write_string(m->name, strlen(m->name), &out);
			hth_buf_appendf(&out, ",\"bytes\":%llu,\"modified_unix\":%lld,\"built_in\":%s,\"files\":[",
			                (unsigned long long)m->bytes, (long long)m->modified_unix, m->built_in ? "true" : "false");
			for (size_t k = 0; k < m->n_files; k++) {
				hth_buf_append_str(&out, k > 0 ? "," : "");
				hth_json_write_string(m->files[k], strlen(m->files[k]), &out);
			}
			hth_buf_append_char(&out, ']');
			for (size_t k = 0; k < HTH_COUNT(origins); k++) {
				const char *text = json_string_value(json_object_get(record, origins[k]));
				hth_buf_appendf(&out, ",\"%s\":", origins[k]);
				if (text != NULL)
					hth_json_write_string(text, strlen(text), &out);
				else
					hth_buf_append_str(&out, "null");
			}
			hth_buf_append_char(&out, '}');
		}
		hth_buf_append_str(&out, "]}");
		code = hth_cmd_print(in, &out);
		hth_buf_finish(&out);
	} else if (catalog.n == 0) {
		printf("There is no model yet. Put a .gguf file into %s/models.\n", in->config.home);
	} else {
		hth_cmd_table table;
		hth_cmd_table_init(&table, "<><<", (const char *const[]){"name", "size", "since", ""});
		for (size_t i = 0; i < catalog.n; i++) {
			const hth_catalog_model *m = &catalog.models[i];
			char size[32], day[32], origin[128] = "";
			HTH_AUTO_JSON json_t *record = hth_record_of(in->config.home, m);
			const char *from = json_string_value(json_object_get(record, "from")),
			    *source = json_string_value(json_object_get(record, "source"));
			if (from != NULL || source != NULL)
				snprintf(origin, sizeof origin, "%s %.100s", from != NULL ? "made of" : "from",
				         from != NULL ? from : source);
			day_of(m->modified_unix, day);
			hth_cmd_table_row(&table, (const char *const[]){m->name, hth_cmd_bytes(m->bytes, size), day,
			                                                m->built_in ? "came with hearth" : origin});
		}
		hth_cmd_table_print(&table, stdout);
	}
	size_t n_left_out = 0;
	hth_catalog_left_out(in->config.home, count_one, &n_left_out);
	if (n_left_out > 0 && !json)
		fprintf(stderr, "%zu file%s of %s/models cannot be listed; `hearth doctor` says why\n", n_left_out,
		        n_left_out == 1 ? "" : "s", in->config.home);
	hth_catalog_finish(&catalog);
	return code;
}
