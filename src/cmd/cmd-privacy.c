/* cmd-privacy.c - `hearth privacy log`: every connection that this home opened to the outside, and why; `hearth privacy explain` is in
 * cmd-explain.c. */
#include "base/mem.h"
#include "cmd/cmd-explain.h"
#include "cmd/cmd-options.h"
#include "store/store.h"

#include <time.h>

static void write_json(const hth_egress *list, size_t n, const char *head, hth_buf *out)
{
	hth_buf_appendf(out, "{\"verified\":true,\"head\":\"%s\",\"egress\":[", head);
	for (size_t i = 0; i < n; i++) {
		const hth_egress *e = &list[i];
		hth_buf_appendf(out, "%s{\"at_unix\":%lld,\"kind\":", i > 0 ? "," : "", (long long)e->at_unix);
		hth_json_write_string(e->kind, strlen(e->kind), out);
		hth_buf_append_str(out, ",\"host\":");
		hth_json_write_string(e->host, strlen(e->host), out);
		hth_buf_append_str(out, ",\"reason\":");
		hth_json_write_string(e->reason, strlen(e->reason), out);
		hth_buf_appendf(out, ",\"sent_bytes\":%llu,\"received_bytes\":%llu,\"allowed\":%s,\"class\":\"%s\"}",
		                (unsigned long long)e->sent_bytes, (unsigned long long)e->received_bytes, e->allowed ? "true" : "false",
		                e->privacy);
	}
	hth_buf_append_str(out, "]}");
}

/* What stands in the log came partly from outside. */
static void printable(const char *s, char *out, size_t out_len)
{
	size_t n = 0;
	for (; *s != '\0' && n + 1 < out_len; s++)
		out[n++] = (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s;
	out[n] = '\0';
}

int hth_cmd_privacy(hth_invocation *in)
{
	bool json = false;
	int64_t limit = 100;
	const hth_option options[] = {{"limit", 'n', HTH_OPTION_INT, &limit, "N", "the newest N entries; default 100", 1, 100000, NULL},
	                              HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 1, 2))
		return in->exit_code;
	if (strcmp(in->argv[0], "explain") == 0)
		return hth_cmd_explain(in, in->argc == 2 && strcmp(in->argv[1], "-") != 0 ? in->argv[1] : NULL, json);
	if (strcmp(in->argv[0], "log") != 0 || in->argc != 1)
		return hth_cmd_usage(in, "'%.60s' should be log, or explain and a text", in->argv[in->argc - 1]);
	hth_error err = HTH_ERROR_INIT;
	hth_store *store;
	HTH_AUTO_FREE hth_egress *list = NULL;
	size_t n = 0;
	if (hth_store_open(&store, in->config.home, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	unsigned char hash[32];
	char head[65];
	uint64_t entries = 0;
	hth_status status = hth_store_egress_verify(store, &entries, hash, &err);
	if (status == HTH_OK)
		status = hth_store_egress_list(store, (size_t)limit, &list, &n, &err);
	hth_store_close(store);
	if (status != HTH_OK)
		return hth_cmd_fail(in, &err);
	for (size_t i = 0; i < sizeof hash; i++)
		snprintf(head + 2 * i, 3, "%02x", hash[i]);
	if (json) {
		hth_buf out = HTH_BUF_INIT(256 << 20);
		write_json(list, n, head, &out);
		int code = hth_cmd_print(in, &out);
		hth_buf_finish(&out);
		return code;
	}
	if (n == 0) {
		printf("Nothing has left this house.\n");
		return HTH_EXIT_DONE;
	}
	hth_cmd_table table;
	hth_cmd_table_init(&table, "<<<><<<", (const char *const[]){"when", "what for", "host", "sent", "received", "class", "why"});
	for (size_t i = 0; i < n; i++) {
		char when[32] = "?", sent[32], received[32], host[256], why[300];
		time_t t = (time_t)list[i].at_unix;
		struct tm tm;
		if (localtime_r(&t, &tm) != NULL)
			strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
		printable(list[i].host, host, sizeof host);
		printable(list[i].reason, why, sizeof why);
		hth_cmd_table_row(&table, (const char *const[]){when, list[i].kind, host,
		                                                list[i].allowed ? hth_cmd_bytes(list[i].sent_bytes, sent) : "refused",
		                                                list[i].allowed ? hth_cmd_bytes(list[i].received_bytes, received) : "",
		                                                list[i].privacy, why});
	}
	hth_cmd_table_print(&table, stdout);
	printf(entries == 1 ? "The %llu entry is as it was written; it has the hash %.16s.\n"
	                    : "All %llu entries are as they were written; the newest has the hash %.16s.\n", (unsigned long long)entries,
	                    head);
	return HTH_EXIT_DONE;
}
