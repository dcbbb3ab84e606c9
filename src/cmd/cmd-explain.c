/* cmd-explain.c - `hearth privacy explain`: what the classifier sees in a text, and how far the text may go. Asks nobody, keeps nothing. */
#include "base/mem.h"
#include "cmd/cmd-explain.h"
#include "cmd/cmd-options.h"
#include "privacy/classifier.h"
#include "privacy/privacy.h"

static void write_json(const hth_findings *f, hth_buf *out)
{
	char why[256];
	hth_findings_explain(f, why, sizeof why);
	hth_buf_appendf(out, "{\"class\":\"%s\",\"why\":", hth_privacy_name(f->limit));
	hth_json_write_string(why, strlen(why), out);
	hth_buf_append_str(out, ",\"findings\":[");
	size_t all = 0;
	for (size_t i = 0; i < f->n; i++) {
		const hth_finding *x = &f->items[i];
		hth_buf_appendf(out, "%s{\"kind\":\"%s\",\"what\":", i > 0 ? "," : "", hth_finding_name(x->kind));
		hth_json_write_string(x->what, strlen(x->what), out);
		hth_buf_appendf(out, ",\"offset\":%zu,\"length\":%zu}", x->offset, x->len);
	}
	for (unsigned kind = 0; kind < HTH_FINDING_KINDS; kind++)
		all += f->counts[kind];
	hth_buf_appendf(out, "],\"more\":%s}", all > f->n ? "true" : "false");
}

/* The text is its owner's, on the owner's terminal; only what could steer the terminal is taken out. */
static void excerpt(const char *text, const hth_finding *x, char *out, size_t size)
{
	size_t n = 0, len = HTH_MIN(x->len, (size_t)60);
	for (size_t i = 0; i < len && n + 4 < size; i++) {
		unsigned char c = (unsigned char)text[x->offset + i];
		out[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
	}
	while (x->len > len && n > 0 && ((unsigned char)out[n - 1] & 0xC0) == 0x80) /* no character is cut */
		n--;
	snprintf(out + n, size - n, "%s", x->len > len ? "..." : "");
}

static void write_text(const char *text, const hth_findings *f)
{
	char why[256], cut[80];
	hth_findings_explain(f, why, sizeof why);
	printf("%s.\n", why);
	if (f->limit == HTH_PUBLIC)
		printf("It goes no further than you say: without the header Hearth-Privacy, or a key's default, every request is "
		       "private.\n");
	if (f->n == 0 || f->items[0].kind == HTH_FINDING_UNREADABLE)
		return;
	hth_cmd_table table;
	hth_cmd_table_init(&table, "<<>", (const char *const[]){"found", "in the text", "at byte"});
	for (size_t i = 0; i < f->n; i++) {
		char at[32];
		snprintf(at, sizeof at, "%zu", f->items[i].offset);
		excerpt(text, &f->items[i], cut, sizeof cut);
		hth_cmd_table_row(&table, (const char *const[]){f->items[i].what[0] == 'w' ? hth_finding_words(f->items[i].kind)
		                                                                           : f->items[i].what, cut, at});
	}
	hth_cmd_table_print(&table, stdout);
}

int hth_cmd_explain(hth_invocation *in, const char *text, bool json)
{
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_FREE char *read = NULL;
	size_t len = text != NULL ? strlen(text) : 0;
	if (text == NULL) {
		if (hth_cmd_read_file("-", (size_t)HTH_CLASSIFIER_TEXT_MAX + 1, &read, &len, &err) != HTH_OK)
			return hth_cmd_fail(in, &err);
		text = read;
	}
	hth_findings findings;
	hth_classifier_scan(text, len, &findings);
	if (!json) {
		write_text(text, &findings);
		return HTH_EXIT_DONE;
	}
	hth_buf out = HTH_BUF_INIT(1 << 20);
	write_json(&findings, &out);
	int code = hth_cmd_print(in, &out);
	hth_buf_finish(&out);
	return code;
}
