/* document-pages.c - a place of a document as a page for people: its text with what was asked for marked, and its pages drawn.
 *
 *   GET /documents/{id}?part=&passage=&q=            what has no pages: its text around the passage (HTML)
 *   GET /documents/{id}/page/{n}?part=&passage=&q=   a page: its picture where its kind has one, and its text (HTML)
 *   GET /documents/{id}/page/{n}.png?...[&dpi=]      the picture alone: PDF and images
 *
 * {id} is of the content (index/view.h), so no path of the house is in a URL; hits carry these links. The record is read by a thread of the
 * call's own, a page is drawn by an extractor of the node's own (a sandboxed child that ends when nobody looks at pages), which does not
 * wait for the files that the index reads. Only the household may look: the answers are private to their reader's cache, no other site's
 * page may embed them, nothing in them is fetched from elsewhere and nothing runs. Except for those threads, all on the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "extract/extract.h"
#include "index/index-json.h"
#include "index/view.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

enum { AT_ONCE = 16, HTML_MAX = 4 << 20, DPI = 110 };

typedef struct page_call {
	hth_holder holder; /* first: it is the exchange's user */
	hth_document_pages *all;
	hth_exchange *exchange; /* NULL: the client has left */
	char id[HTH_INDEX_ID_LEN + 1], *query;
	char *expires, *signature; /* of a link that was signed (signed-links.h); NULL: it was not */
	hth_view_ask ask;
	bool picture;
	uint32_t dpi;
	pthread_t thread;
	bool reading; /* the thread runs, or its end is not known yet */
	hth_status status;
	hth_error error;
	hth_view view;
	hth_extract_job *job;
	bool drawn; /* the PNG came */
	struct page_call *prev, *next;
} page_call;

struct hth_document_pages {
	hth_node *node;
	hth_mailbox *mailbox;
	hth_extractor *extractor; /* NULL: nobody has looked at a page yet */
	page_call *calls;
	size_t n;
};

static void free_call(page_call *c)
{
	hth_document_pages *all = c->all;
	*(c->prev != NULL ? &c->prev->next : &all->calls) = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	all->n--;
	hth_index_view_finish(&c->view);
	free(c->query);
	free(c->expires);
	free(c->signature);
	free(c);
}

/* --- answers --- */

static void add_headers(hth_exchange *exchange)
{
	hth_exchange_add_header(exchange, "Cache-Control", "private, max-age=600");
	hth_exchange_add_header(exchange, "Cross-Origin-Resource-Policy", "same-origin");
	hth_exchange_add_header(exchange, "X-Content-Type-Options", "nosniff");
	hth_exchange_add_header(exchange, "Referrer-Policy", "no-referrer"); /* the address has what was asked for */
	hth_exchange_add_header(
	    exchange, "Content-Security-Policy",
	    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	hth_exchange_add_header(exchange, "X-Frame-Options", "DENY");
}

static void answer_error(page_call *c, const hth_error *err)
{
	if (c->exchange == NULL)
		return;
	hth_exchange_set_user(c->exchange, NULL);
	hth_pages_error(c->exchange, NULL, err);
	c->exchange = NULL;
}

static void answer(page_call *c, const char *type, const void *bytes, size_t len)
{
	if (c->exchange == NULL)
		return;
	add_headers(c->exchange);
	hth_exchange_set_user(c->exchange, NULL);
	hth_exchange_reply(c->exchange, 200, type, bytes, len);
	c->exchange = NULL;
}

/* --- HTML --- */

static void put_text(hth_buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
			hth_buf_appendf(out, "&#%u;", c);
		else if (c >= 0x20 || c == '\n' || c == '\t')
			hth_buf_append_char(out, (char)c);
	}
}
static void put_string(hth_buf *out, const char *text)
{
	put_text(out, text, strlen(text));
}

static void put_passage(hth_buf *out, const hth_view_passage *p, bool is_hit)
{
	size_t len = strlen(p->text), at = 0;
	hth_buf_appendf(out, "<p%s>", is_hit ? " id=\"hit\" class=\"hit\"" : "");
	for (size_t i = 0; i < p->n_marks; i++) {
		put_text(out, p->text + at, p->marks[i][0] - at);
		hth_buf_append_str(out, "<mark>");
		put_text(out, p->text + p->marks[i][0], p->marks[i][1] - p->marks[i][0]);
		hth_buf_append_str(out, "</mark>");
		at = p->marks[i][1];
	}
	put_text(out, p->text + at, len - at);
	hth_buf_append_str(out, "</p>\n");
}

static void put_link(hth_buf *out, const page_call *c, uint32_t page, bool picture)
{
	/* A hit of that page, as far as a link tells. */
	hth_index_hit hit = {
	    .type = c->view.type, .page = page, .part_number = c->ask.part, .passage = page == c->ask.page ? c->ask.passage : 0};
	snprintf(hit.document, sizeof hit.document, "%s", c->id);
	HTH_CLEANUP(hth_buf_finish) hth_buf link = HTH_BUF_INIT(16 << 10);
	if (!hth_index_write_link(&hit, c->query, picture, &link))
		return;
	if (c->expires != NULL) /* good as long as the page that has it, and no longer */
		hth_buf_appendf(&link, "&expires=%s&signature=%s", c->expires, c->signature);
	else
		hth_guard_sign_link(c->all->node, c->id, &link);
	if (!link.failed)
		put_string(out, link.data);
}

static void put_facts(hth_buf *out, const page_call *c)
{
	const hth_view *v = &c->view;
	const char *slash = strrchr(v->file, '/'), *name = v->part[0] != '\0' ? v->part : slash != NULL ? slash + 1 : v->file;
	char day[32] = "";
	struct tm tm;
	time_t date = (time_t)v->date;
	hth_buf_append_str(out, "<title>");
	put_string(out, name);
	hth_buf_append_str(out, "</title><h1>");
	put_string(out, v->title[0] != '\0' ? v->title : name);
	hth_buf_append_str(out, "</h1><p class=\"facts\">");
	put_string(out, v->file);
	if (v->part[0] != '\0') {
		hth_buf_append_str(out, "<br>");
		put_string(out, v->part);
	}
	if (v->author[0] != '\0') {
		hth_buf_append_str(out, "<br>");
		put_string(out, v->author);
	}
	if (v->date != 0 && localtime_r(&date, &tm) != NULL && strftime(day, sizeof day, "%Y-%m-%d", &tm) > 0)
		hth_buf_appendf(out, "<br>%s", day);
	hth_buf_append_str(out, "</p>\n");
}

static void put_neighbours(hth_buf *out, const page_call *c)
{
	uint32_t page = c->ask.page;
	if (page == 0)
		return;
	hth_buf_append_str(out, "<nav>");
	if (page > 1) {
		hth_buf_append_str(out, "<a href=\"");
		put_link(out, c, page - 1, false);
		hth_buf_appendf(out, "\">page %u</a> ", page - 1);
	}
	hth_buf_appendf(out, "<b>page %u</b>", page);
	if (page < c->view.pages) {
		hth_buf_append_str(out, " <a href=\"");
		put_link(out, c, page + 1, false);
		hth_buf_appendf(out, "\">page %u</a>", page + 1);
	}
	hth_buf_append_str(out, "</nav>\n");
}

static void write_html(const page_call *c, hth_buf *out)
{
	const hth_view *v = &c->view;
	hth_buf_append_str(
	    out,
	    "<!doctype html><html><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><style>"
	    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem}img{max-width:100%;"
	    "border:1px solid #8888}p{white-space:pre-wrap;overflow-wrap:anywhere}.facts{color:#777}.hit{border-left:4px solid #e08000;"
	    "padding-left:.7em}h1{font-size:1.3em}:root{color-scheme:light dark}mark{background:#ffd94a;color:#000}</style>");
	put_facts(out, c);
	put_neighbours(out, c);
	if (c->ask.page > 0 && hth_index_view_is_drawn(v->type)) {
		hth_buf_append_str(out, "<img alt=\"the page\" src=\"");
		put_link(out, c, c->ask.page, true);
		hth_buf_append_str(out, "\">\n");
	}
	if (v->before)
		hth_buf_append_str(out, "<p>…</p>\n");
	for (size_t i = 0; i < v->n; i++)
		put_passage(out, &v->passages[i], v->passages[i].id == c->ask.passage);
	if (v->after)
		hth_buf_append_str(out, "<p>…</p>\n");
	if (v->n == 0)
		hth_buf_append_str(out, "<p class=\"facts\">No text of this page is known.</p>\n");
}

/* --- drawing --- */

static void on_png(void *ctx, const void *bytes, size_t len)
{
	page_call *c = ctx;
	c->drawn = true;
	answer(c, "image/png", bytes, len);
}

static void on_drawn(void *ctx, const hth_extract_result *result)
{
	page_call *c = ctx;
	hth_error err = HTH_ERROR_INIT;
	c->job = NULL;
	if (!c->drawn) {
		if (result->cancelled)
			hth_fail(&err, HTH_BUSY, "the node is stopping");
		else if (result->changed)
			hth_fail(&err, HTH_CONFLICT, "the file has changed since it was read; search again in a moment");
		else
			hth_fail(&err, HTH_NOT_FOUND, "page %u cannot be drawn: %s", c->ask.page,
			         result->reason[0] != '\0' ? result->reason : "it is not there");
		answer_error(c, &err);
	}
	free_call(c);
}

/* The hit's blocks that have what was asked for, else its box; without a hit those of all passages that have any of it. */
static size_t choose_boxes(const page_call *c, float boxes[HTH_EXTRACT_MARKS_MAX][4])
{
	size_t n = 0;
	for (int of_hit = 1; of_hit >= 0 && n == 0; of_hit--)
		for (size_t i = 0; i < c->view.n; i++) {
			const hth_view_passage *p = &c->view.passages[i];
			if (!(of_hit ? p->id == c->ask.passage : p->n_marks > 0))
				continue;
			for (size_t k = 0; k < p->n_places && n < HTH_EXTRACT_MARKS_MAX; k++)
				memcpy(boxes[n++], p->places[k], sizeof p->places[k]);
			if (p->n_places == 0 && p->has_box && n < HTH_EXTRACT_MARKS_MAX)
				memcpy(boxes[n++], p->box, sizeof p->box);
		}
	return n;
}

static hth_status draw(page_call *c, hth_error *err)
{
	static const hth_extract_sink sink = {.png = on_png, .end = on_drawn};
	hth_document_pages *all = c->all;
	float boxes[HTH_EXTRACT_MARKS_MAX][4];
	char words[HTH_EXTRACT_WORDS_MAX + 1];
	if (c->view.fd < 0)
		return hth_fail(err, HTH_NOT_FOUND, "a document of the kind %s is not drawn; the same address without .png shows its text",
		                c->view.type);
	if (all->extractor == NULL)
		HTH_TRY(hth_extractor_create(&all->extractor, all->node->loop, &(hth_extractor_options){.n_workers = 1, .foreground = true},
		                             err));
	hth_index_view_words(&c->view, words, sizeof words);
	const char *slash = strrchr(c->view.file, '/');
	const hth_extract_ask ask = {.mode = HTH_EXTRACT_MODE_RENDER,
	                             .name = slash != NULL ? slash + 1 : c->view.file,
	                             .part = c->ask.part,
	                             .page = c->ask.page,
	                             .dpi = c->dpi,
	                             .marks = (const float(*)[4])boxes,
	                             .n_marks = choose_boxes(c, boxes),
	                             .words = words};
	int fd = c->view.fd;
	c->view.fd = -1;
	return hth_extractor_submit(all->extractor, fd, &ask, &sink, c, &c->job, err);
}

/* --- the call --- */

static void *read_main(void *ctx)
{
	page_call *c = ctx;
	c->status = hth_index_view_read(c->all->node->config->home, &c->ask, c->picture, &c->view, &c->error);
	(void)!hth_mailbox_post(c->all->mailbox, c);
	return NULL;
}

static void on_read(void *ctx, void *mail)
{
	(void)ctx;
	page_call *c = mail;
	hth_error err = HTH_ERROR_INIT;
	pthread_join(c->thread, NULL);
	c->reading = false;
	hth_log(HTH_LOG_DEBUG, "GET /documents %s", hth_status_name(c->status));
	if (c->exchange == NULL) {
		free_call(c);
	} else if (c->status != HTH_OK) {
		answer_error(c, &c->error);
		free_call(c);
	} else if (c->picture) {
		if (draw(c, &err) == HTH_OK)
			return;
		answer_error(c, &err);
		free_call(c);
	} else {
		HTH_CLEANUP(hth_buf_finish) hth_buf html = HTH_BUF_INIT(HTML_MAX);
		write_html(c, &html);
		if (hth_buf_check(&html, "the page", &err) == HTH_OK)
			answer(c, "text/html; charset=utf-8", html.data, html.len);
		else
			answer_error(c, &err);
		free_call(c);
	}
}

static void on_gone(hth_holder *holder)
{
	page_call *c = (page_call *)holder;
	c->exchange = NULL;
	if (c->job == NULL)
		return; /* its thread ends, and frees it */
	hth_extractor_cancel(c->all->extractor, c->job);
	free_call(c);
}

static hth_status read_number(hth_exchange *exchange, const char *name, uint64_t min, uint64_t max, uint64_t *value, hth_error *err)
{
	const char *text = hth_exchange_query(exchange, name);
	if (text == NULL || *text == '\0')
		return HTH_OK;
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || v < min || v > max)
		return hth_fail_param(err, HTH_INVALID, name, "%s must be a number from %llu to %llu", name, (unsigned long long)min,
		                      (unsigned long long)max);
	*value = v;
	return HTH_OK;
}

/* "{id}", "{id}/page/{n}", "{id}/page/{n}.png" */
static hth_status read_path(page_call *c, const char *path, hth_error *err)
{
	size_t n = strcspn(path, "/");
	const char *rest = path + n;
	snprintf(c->id, sizeof c->id, "%.*s", (int)HTH_MIN(n, sizeof c->id - 1), path);
	if (n != HTH_INDEX_ID_LEN)
		return hth_fail(err, HTH_NOT_FOUND, "there is no such document here");
	if (*rest == '\0')
		return HTH_OK;
	char *end = NULL;
	unsigned long page = strncmp(rest, "/page/", 6) == 0 && rest[6] >= '1' && rest[6] <= '9' ? strtoul(rest + 6, &end, 10) : 0;
	if (end == NULL || page > HTH_EXTRACT_PAGES_MAX || (*end != '\0' && strcmp(end, ".png") != 0))
		return hth_fail(err, HTH_NOT_FOUND,
		                "a document has pages /documents/ID/page/N and /documents/ID/page/N.png, and no others");
	c->ask.page = (uint32_t)page;
	c->picture = *end != '\0';
	return HTH_OK;
}

static hth_status read_call(page_call *c, hth_exchange *exchange, hth_error *err)
{
	uint64_t part = 0, dpi = DPI;
	const char *query = hth_exchange_query(exchange, "q");
	HTH_TRY(read_path(c, hth_exchange_path(exchange) + strlen("/documents/"), err));
	HTH_TRY(read_number(exchange, "part", 0, UINT32_MAX, &part, err));
	HTH_TRY(read_number(exchange, "passage", 0, INT64_MAX, &c->ask.passage, err));
	HTH_TRY(read_number(exchange, "dpi", 36, 300, &dpi, err));
	const char *expires = hth_exchange_query(exchange, "expires"), *signature = hth_exchange_query(exchange, "signature");
	c->query = strdup(query != NULL ? query : "");
	if (hth_link_is_good(c->all->node->link_key, c->id, expires, signature, hth_clock_unix())) {
		c->expires = strdup(expires);
		c->signature = strdup(signature);
	}
	if (c->query == NULL || (c->expires == NULL) != (c->signature == NULL))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	c->ask.document = c->id;
	c->ask.part = (uint32_t)part;
	c->ask.query = c->query;
	c->dpi = (uint32_t)dpi;
	return HTH_OK;
}

static hth_status begin(page_call *c, hth_exchange *exchange, hth_error *err)
{
	if (c->all->n > AT_ONCE)
		return hth_fail(err, HTH_BUSY, "%d pages are being looked at already; try again in a moment", AT_ONCE);
	HTH_TRY(read_call(c, exchange, err));
	sigset_t every, before;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	int e = pthread_create(&c->thread, NULL, read_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e != 0)
		return hth_fail_errno(err, HTH_NO_MEMORY, e, "cannot start a thread");
	c->reading = true;
	c->exchange = exchange;
	hth_exchange_set_user(exchange, &c->holder);
	return HTH_OK;
}

bool hth_document_pages_handle(hth_node *node, hth_exchange *exchange)
{
	hth_document_pages *all = node->document_pages;
	const char *method = hth_exchange_method(exchange);
	if (strncmp(hth_exchange_path(exchange), "/documents/", strlen("/documents/")) != 0)
		return false;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		hth_pages_wrong_method(exchange, "GET");
		return true;
	}
	hth_error err = HTH_ERROR_INIT;
	page_call *c = calloc(1, sizeof *c);
	if (c == NULL) {
		hth_fail(&err, HTH_NO_MEMORY, "no memory for the request");
		hth_pages_error(exchange, NULL, &err);
		return true;
	}
	*c = (page_call){.holder.gone = on_gone, .all = all, .view.fd = -1, .next = all->calls};
	if (c->next != NULL)
		c->next->prev = c;
	all->calls = c;
	all->n++;
	if (begin(c, exchange, &err) != HTH_OK) {
		hth_pages_error(exchange, NULL, &err);
		free_call(c);
	}
	return true;
}

hth_status hth_document_pages_create(hth_document_pages **ret_pages, hth_node *node, hth_error *err)
{
	hth_document_pages *all = calloc(1, sizeof *all);
	if (all == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	all->node = node;
	hth_status status = hth_mailbox_open(&all->mailbox, node->loop, on_read, all, err);
	if (status != HTH_OK) {
		free(all);
		return status;
	}
	*ret_pages = all;
	return HTH_OK;
}

void hth_document_pages_destroy(hth_document_pages *all)
{
	if (all == NULL)
		return;
	hth_extractor_destroy(all->extractor); /* ends, and so frees, what is being drawn */
	while (all->calls != NULL) {
		if (all->calls->reading)
			pthread_join(all->calls->thread, NULL);
		free_call(all->calls);
	}
	hth_mailbox_close(all->mailbox);
	free(all);
}
