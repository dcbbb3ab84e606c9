/* index-json.c - hits and status written as JSON (index-json.h has their shapes). */
#include "index/index-json.h"

#include "base/clock.h"
#include "base/mem.h"
#include "index/cost.h"
#include "index/view.h"
#include "json/json.h"

enum { UNREADABLE_SHOWN = 100 };

static void put(hth_buf *out, const char *key, const char *value)
{
	hth_buf_appendf(out, ",\"%s\":", key);
	hth_json_write_string(value, strlen(value), out);
}

static void put_escaped(hth_buf *out, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
		if ((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || strchr("-._~", *c) != NULL)
			hth_buf_append_char(out, (char)*c);
		else
			hth_buf_appendf(out, "%%%02X", *c);
}

bool hth_index_write_link(const hth_index_hit *h, const char *query, bool image, hth_buf *out)
{
	if (h->document[0] == '\0' || (image && (h->page == 0 || !hth_index_view_is_drawn(h->type))))
		return false;
	hth_buf_appendf(out, "/documents/%s", h->document);
	if (h->page > 0)
		hth_buf_appendf(out, "/page/%u%s", h->page, image ? ".png" : "");
	hth_buf_appendf(out, "?part=%u&passage=%llu", h->part_number, (unsigned long long)h->passage);
	if (query != NULL && *query != '\0') {
		hth_buf_append_str(out, "&q=");
		put_escaped(out, query);
	}
	return true;
}

static void put_link(hth_buf *out, const char *key, const hth_index_hit *h, const char *query, bool image, const hth_index_signer *signer)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf link = HTH_BUF_INIT(16 << 10);
	if (!hth_index_write_link(h, query, image, &link))
		return;
	if (signer != NULL)
		signer->sign(signer->ctx, h->document, &link);
	if (!link.failed)
		put(out, key, link.data);
}

void hth_index_write_hits(const hth_index_hits *hits, const char *query, bool with_text, const hth_index_signer *signer, hth_buf *out)
{
	hth_buf_append_str(out, "{\"hits\":[");
	for (size_t i = 0; i < hits->n; i++) {
		const hth_index_hit *h = &hits->list[i];
		hth_buf_append_str(out, i > 0 ? ",{\"file\":" : "{\"file\":");
		hth_json_write_string(h->file, strlen(h->file), out);
		hth_buf_appendf(out, h->page > 0 ? ",\"page\":%u" : ",\"page\":null", h->page);
		hth_buf_appendf(out, hits->by_vectors ? ",\"score\":%.6f,\"share\":%.3f" : ",\"score\":%.4f,\"share\":%.3f", h->score,
		                h->share);
		put(out, "snippet", h->snippet);
		hth_buf_append_str(out, ",\"highlights\":[");
		for (size_t k = 0; k < h->n_marks; k++)
			hth_buf_appendf(out, "%s[%u,%u]", k > 0 ? "," : "", h->marks[k][0], h->marks[k][1]);
		hth_buf_appendf(out, "],\"type\":\"%s\"", h->type);
		if (h->part[0] != '\0')
			put(out, "part", h->part);
		if (h->title[0] != '\0')
			put(out, "title", h->title);
		if (h->author[0] != '\0')
			put(out, "author", h->author);
		if (h->date != 0)
			hth_buf_appendf(out, ",\"date\":%lld", (long long)h->date);
		if (h->has_box)
			hth_buf_appendf(out, ",\"box\":[%.4f,%.4f,%.4f,%.4f]", (double)h->box[0], (double)h->box[1], (double)h->box[2],
			                (double)h->box[3]);
		if (hits->by_vectors)
			hth_buf_appendf(out, ",\"similarity\":%.4f", h->similarity);
		hth_buf_appendf(out, ",\"copies\":%zu", h->n_copies);
		put_link(out, "link", h, query, false, signer);
		put_link(out, "image", h, query, true, signer);
		if (with_text)
			put(out, "text", h->text);
		hth_buf_append_char(out, '}');
	}
	hth_buf_append_str(out, hits->by_vectors ? "],\"ranked_by\":[\"words\",\"vectors\"]}" : "],\"ranked_by\":[\"words\"]}");
}

typedef struct folder_list {
	hth_buf *out;
	bool any;
} folder_list;

static void put_folder(void *ctx, const char *path, bool shared, bool missing, uint64_t files, uint64_t away)
{
	folder_list *l = ctx;
	hth_buf_append_str(l->out, l->any ? ",{\"path\":" : "{\"path\":");
	l->any = true;
	hth_json_write_string(path, strlen(path), l->out);
	hth_buf_appendf(l->out, ",\"shared\":%s,\"missing\":%s,\"files\":%llu,\"away\":%llu}", shared ? "true" : "false",
	                missing ? "true" : "false", (unsigned long long)files, (unsigned long long)away);
}

static void put_file(void *ctx, const char *path, const char *reason)
{
	folder_list *l = ctx;
	hth_buf_append_str(l->out, l->any ? ",{\"file\":" : "{\"file\":");
	l->any = true;
	hth_json_write_string(path, strlen(path), l->out);
	put(l->out, "reason", reason);
	hth_buf_append_char(l->out, '}');
}

static void write_cost(const char *home, const hth_index_status *s, hth_buf *out)
{
	hth_prices p;
	hth_index_cost c;
	hth_error err = HTH_ERROR_INIT;
	hth_buf_append_str(out, ",\"cost\":{");
	if (hth_prices_load(&p, NULL, home, &err) != HTH_OK) {
		hth_buf_append_str(out, "\"error\":");
		hth_json_write_string(err.message, strlen(err.message), out);
		hth_buf_append_char(out, '}');
		return;
	}
	hth_index_count_cost(s, &p, hth_clock_unix(), &c);
	hth_buf_appendf(out, "\"watt_hours\":%.4f,\"measured_by\":\"%s\",\"currency\":", c.watt_hours, c.measured_by);
	hth_json_write_string(p.currency, strlen(p.currency), out);
	hth_buf_appendf(out, ",\"energy\":%.6f,\"pages_read\":%llu,\"cloud_pages\":%.6f,\"cloud_storage\":%.6f,\"cloud\":%.6f,\"prices\":{",
	                c.energy, (unsigned long long)s->pages_read, c.cloud_pages, c.cloud_storage, c.cloud_pages + c.cloud_storage);
	for (unsigned i = 0; i < HTH_PRICE_COUNT; i++) {
		hth_buf_appendf(out, "%s\"%s\":{\"value\":%.6g", i > 0 ? "," : "", hth_price_names[i], p.list[i].value);
		put(out, "date", p.list[i].date);
		put(out, "source", p.list[i].source);
		hth_buf_append_char(out, '}');
	}
	hth_buf_append_str(out, "}}");
}

hth_status hth_index_write_status(const char *home, hth_index *index, hth_buf *out, hth_error *err)
{
	hth_index_status s;
	bool idle = index != NULL && hth_index_is_idle(index); /* asked first: what it says is then among the numbers */
	HTH_TRY(hth_index_get_status(home, index, &s, err));
	hth_buf_append_str(out, "{\"files\":{");
	for (int i = 0; i < HTH_INDEX_STATE_COUNT; i++)
		hth_buf_appendf(out, "\"%s\":%llu,", hth_index_state_name((hth_index_state)i), (unsigned long long)s.files[i]);
	hth_buf_appendf(out, "\"unchanged\":%llu,\"skipped\":%llu},\"store_files\":{", (unsigned long long)s.unchanged,
	                (unsigned long long)s.skipped);
	for (int i = 0; i < HTH_INDEX_STATE_COUNT; i++)
		hth_buf_appendf(out, "%s\"%s\":%llu", i > 0 ? "," : "", hth_index_state_name((hth_index_state)i),
		                (unsigned long long)s.store_files[i]);
	hth_buf_append_char(out, '}');
	hth_buf_appendf(out,
	                ",\"documents\":%llu,\"passages\":%llu,\"pages\":%llu,\"text_bytes\":%llu,\"word_bytes\":%llu,\"cpu_seconds\":%.3f",
	                (unsigned long long)s.documents, (unsigned long long)s.passages, (unsigned long long)s.pages,
	                (unsigned long long)s.text_bytes, (unsigned long long)s.word_bytes, s.cpu_seconds);
	hth_buf_appendf(out, ",\"opened\":%llu,\"extracted\":%llu", (unsigned long long)s.opened, (unsigned long long)s.extracted);
	hth_buf_appendf(out, ",\"vectors\":%llu,\"vector_bytes\":%llu", (unsigned long long)s.vectors, (unsigned long long)s.vector_bytes);
	put(out, "vector_model", s.vector_model);
	put(out, "embed_model", s.embedder);
	put(out, "trouble", s.trouble);
	hth_buf_appendf(out, ",\"kept\":%s,\"idle\":%s,\"paused\":%s,\"files_per_s\":%.2f,\"ocr_files_per_s\":%.3f",
	                s.kept ? "true" : "false", idle ? "true" : "false", s.paused ? "true" : "false", s.files_per_s, s.ocr_files_per_s);
	if (s.seconds_left > 0)
		hth_buf_appendf(out, ",\"seconds_left\":%llu", (unsigned long long)s.seconds_left);
	else
		hth_buf_append_str(out, ",\"seconds_left\":null");
	write_cost(home, &s, out);
	hth_buf_append_str(out, ",\"unreadable\":[");
	folder_list files = {out, false};
	HTH_TRY(hth_index_each_file(home, HTH_INDEX_UNREADABLE, UNREADABLE_SHOWN, put_file, &files, err));
	hth_buf_append_char(out, ']');
	hth_buf_append_str(out, ",\"folders\":[");
	folder_list list = {out, false};
	HTH_TRY(hth_index_each_folder(home, put_folder, &list, err));
	hth_buf_append_str(out, "]}");
	return hth_buf_check(out, "the index's status", err);
}
