/* fetch.c - the rules of web_fetch around one transfer. Thread: the caller's. It keeps nothing and prints nothing. */
#include "fetch/fetch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "client/transfer.h"
#include "fetch/page-text.h"
#include "store/store.h"

#include <stdio.h>
#include <strings.h>

enum { USUAL_BYTES = 1 << 20, USUAL_MS = 10000, REDIRECTS = 5 };

typedef struct fetching {
	const hth_fetch_options *options;
	hth_store *store;
	hth_buf body;
	hth_transfer_head head;
	bool no_text, cut, unlogged;
	char *url; /* owned; of the last answer */
} fetching;

/* "example.org" with the usual port, ".example.org" also below, ":8080" that port and no other. */
static bool entry_allows(const char *entry, size_t len, const char *scheme, const char *host, unsigned port)
{
	unsigned wanted = strcmp(scheme, "https") == 0 ? 443 : 80;
	const char *colon = memchr(entry, ':', len);
	if (colon != NULL && memchr(colon + 1, ':', (size_t)(entry + len - colon) - 1) == NULL) { /* not an IPv6 address */
		char *end;
		wanted = (unsigned)strtoul(colon + 1, &end, 10);
		if (end != entry + len)
			return false;
		len = (size_t)(colon - entry);
	}
	size_t n = strlen(host);
	if (port != wanted || len == 0)
		return false;
	if (entry[0] == '.' && n > 0 && host[n - 1] >= '0' && host[n - 1] <= '9')
		return false; /* an address has nothing below it */
	if (entry[0] == '.')
		return (n == len - 1 && strncasecmp(host, entry + 1, n) == 0) || (n > len && strncasecmp(host + n - len, entry, len) == 0);
	return n == len && strncasecmp(host, entry, n) == 0;
}

bool hth_fetch_allows(const char *hosts, const char *scheme, const char *host, unsigned port)
{
	char plain[HTH_TRANSFER_HOST_MAX];
	size_t n = strlen(host);
	if (n > 1 && host[n - 1] == '.') /* a root's dot names the same host */
		n--;
	snprintf(plain, sizeof plain, "%.*s", (int)n, host);
	while (*hosts != '\0') {
		hosts += strspn(hosts, ", \t");
		size_t len = strcspn(hosts, ", \t");
		if (len > 0 && entry_allows(hosts, len, scheme, plain, port))
			return true;
		hosts += len;
	}
	return false;
}

static bool allow(void *ctx, const char *scheme, const char *host, unsigned port, hth_error *err)
{
	const fetching *f = ctx;
	if (hth_fetch_allows(f->options->hosts, scheme, host, port))
		return true;
	hth_fail(err, HTH_DENIED, "%s is not among the hosts that may be fetched from (the setting fetch_hosts)", host);
	return false;
}

static bool address_ok(void *ctx, const char *address)
{
	const fetching *f = ctx;
	return f->options->address_ok != NULL ? f->options->address_ok(f->options->ctx, address) : hth_address_is_public(address);
}

static bool is_text(const char *type)
{
	static const char *const kinds[] = {"text/", "application/json", "application/xml", "application/xhtml", "application/ld+json",
	                                    "application/rss",
	                                    "application/atom", "application/javascript", "application/yaml", "application/toml"};
	for (size_t i = 0; i < HTH_COUNT(kinds); i++)
		if (strncasecmp(type, kinds[i], strlen(kinds[i])) == 0)
			return true;
	return *type == '\0' || strcasestr(type, "+json") != NULL || strcasestr(type, "+xml") != NULL;
}

static bool on_head(void *ctx, const hth_transfer_head *head)
{
	fetching *f = ctx;
	f->head = *head;
	f->no_text = !is_text(head->type);
	return !f->no_text;
}

static bool on_data(void *ctx, const void *data, size_t len)
{
	fetching *f = ctx;
	size_t room = f->body.max - f->body.len;
	f->cut = len > room;
	return hth_buf_append(&f->body, data, HTH_MIN(len, room)) && !f->cut;
}

static void on_hop(void *ctx, const hth_transfer_hop *hop)
{
	fetching *f = ctx;
	if (hop->url != NULL) {
		free(f->url);
		f->url = strdup(hop->url);
	}
	hth_egress e = {.at_unix = hth_clock_unix(), .kind = "fetch", .sent_bytes = hop->sent_bytes, .received_bytes = hop->received_bytes,
	                .allowed = hop->allowed};
	snprintf(e.host, sizeof e.host, "%s", hop->host);
	snprintf(e.reason, sizeof e.reason, "%s", f->options->reason != NULL ? f->options->reason : "web_fetch");
	if (hth_store_egress_add(f->store, &e, NULL) != HTH_OK)
		f->unlogged = true;
}

static bool is_cancelled(void *ctx)
{
	const fetching *f = ctx;
	return f->options->cancelled != NULL && f->options->cancelled(f->options->ctx);
}

/* ---- bytes to text ---- */

static bool says_latin(const char *text, size_t len)
{
	static const char *const names[] = {"iso-8859-1", "iso8859-1", "latin1", "windows-1252", "cp1252"};
	for (const char *at = text; (at = memmem(at, (size_t)(text + len - at), "charset=", 8)) != NULL; at++) {
		const char *value = at + 8 + (at + 8 < text + len && (at[8] == '"' || at[8] == '\''));
		for (size_t i = 0; i < HTH_COUNT(names); i++)
			if ((size_t)(text + len - value) >= strlen(names[i]) && strncasecmp(value, names[i], strlen(names[i])) == 0)
				return true;
	}
	return false;
}

/* The one other encoding that is still met: every byte a character. The server's word counts, then the page's own. */
static bool is_latin(const fetching *f)
{
	if (strcasestr(f->head.type, "charset=") != NULL)
		return says_latin(f->head.type, strlen(f->head.type));
	return f->body.data != NULL && says_latin(f->body.data, HTH_MIN(f->body.len, (size_t)1024)) &&
	    hth_utf8_valid_prefix(f->body.data, f->body.len) != f->body.len;
}

/* As text that may go into JSON and a prompt: bytes that are no UTF-8, and NULs, become U+FFFD. */
static hth_status to_text(const hth_buf *body, bool latin, hth_fetch_result *result, hth_error *err)
{
	/* Windows-1252 between 0x80 and 0x9F; the rest of it are the code points themselves. */
	static const uint16_t windows[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039,
	                                     0x152, 0x8D,   0x17D, 0x8F, 0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
	                                     0x2DC, 0x2122, 0x161, 0x203A, 0x153, 0x9D,   0x17E, 0x178};
	hth_buf out = HTH_BUF_INIT(body->len * 3 + 1);
	for (size_t at = 0; at < body->len && !out.failed;) {
		size_t good = latin ? 0 : hth_utf8_valid_prefix(body->data + at, body->len - at);
		unsigned char byte = (unsigned char)body->data[at];
		if (latin) {
			char c[4];
			hth_buf_append(&out, c, hth_utf8_encode(byte == 0 ? 0xFFFD : byte >= 0x80 &&
			                                        byte < 0xA0 ? windows[byte - 0x80] : byte, c));
			at++;
			continue;
		}
		const char *nul = good > 0 ? memchr(body->data + at, '\0', good) : NULL;
		if (nul != NULL)
			good = (size_t)(nul - body->data) - at;
		hth_buf_append(&out, body->data + at, good);
		at += good;
		if (at < body->len) {
			hth_buf_append_str(&out, "\xef\xbf\xbd");
			at++;
		}
	}
	result->text = hth_buf_steal(&out, &result->len);
	bool failed = result->text == NULL || out.failed;
	hth_buf_finish(&out);
	return failed ? hth_fail(err, HTH_NO_MEMORY, "no memory for a page") : HTH_OK;
}

/* Also where the server does not say, which old ones do not. */
static bool is_html(const char *type, const char *text)
{
	if (strncasecmp(type, "text/html", 9) == 0 || strncasecmp(type, "application/xhtml", 17) == 0)
		return true;
	return *type == '\0' && (strncasecmp(text, "<!doctype html", 14) == 0 || strncasecmp(text, "<html", 5) == 0);
}

static hth_status read_page(hth_fetch_result *result, hth_error *err)
{
	HTH_AUTO_FREE hth_page *page = calloc(1, sizeof *page);
	if (page == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a page");
	hth_status status = hth_page_read(page, result->text, result->len, err);
	char *text = status == HTH_OK ? hth_buf_steal(&page->text, &result->len) : NULL;
	if (text != NULL) {
		free(result->text);
		result->text = text;
		result->title = page->title[0] != '\0' ? strdup(page->title) : NULL;
		result->links = hth_alloc_array(page->n_links, sizeof *result->links);
		HTH_AUTO_FREE char *base = page->base[0] != '\0' && result->url != NULL ? hth_url_resolve(result->url, page->base) : NULL;
		const char *from = base != NULL ? base : result->url;
		for (size_t i = 0; from != NULL && result->links != NULL && i < page->n_links; i++) {
			char *url = hth_url_resolve(from, page->links[i].url);
			if (url == NULL)
				continue; /* mail, scripts, nonsense */
			result->links[result->n_links++] = (hth_fetch_link){.url = url, .text = page->links[i].text};
			page->links[i].text = NULL;
		}
	}
	hth_page_finish(page);
	return status;
}

hth_status hth_fetch(const char *url, const hth_fetch_options *options, hth_fetch_result *ret_result, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	if (err == NULL)
		err = &own;
	if (options->hosts == NULL || options->hosts[strspn(options->hosts, ", \t")] == '\0')
		return hth_fail(err, HTH_DENIED,
		                "fetching from the web is off; the setting fetch_hosts lists the hosts that may be fetched from");
	uint64_t max = options->max_bytes != 0 ? HTH_MIN(options->max_bytes, (uint64_t)HTH_FETCH_BYTES_MAX) : USUAL_BYTES;
	fetching f = {.options = options, .body = HTH_BUF_INIT(max)};
	HTH_TRY(hth_store_open(&f.store, options->home, err));
	static const char *const headers[] = {"Accept: text/*, application/json, application/xml;q=0.9"};
	const hth_transfer t = {.url = url, .headers = headers, .n_headers = 1, .connect_ms = 5000,
	                        .total_ms = options->total_ms != 0 ? options->total_ms : USUAL_MS,
	                        .max_redirects = REDIRECTS, .allow = allow, .address_ok = address_ok, .head = on_head, .data = on_data,
	                        .hop = on_hop,
	                        .cancelled = is_cancelled, .ctx = &f};
	hth_status status = hth_transfer_run(&t, NULL, err);
	if (f.cut || f.no_text)
		status = HTH_OK; /* we stopped it */
	if (status == HTH_OK && f.no_text)
		status = hth_fail(err, HTH_UNSUPPORTED, "%s has no text there: its type is %.60s", f.head.host, f.head.type);
	if (status == HTH_OK && f.unlogged)
		status = hth_fail(err, HTH_IO, "the egress log cannot be written, so nothing is fetched");
	hth_fetch_result result = {.code = f.head.code, .cut = f.cut, .url = f.url};
	memcpy(result.type, f.head.type, sizeof result.type);
	if (status == HTH_OK)
		status = to_text(&f.body, is_latin(&f), &result, err);
	if (status == HTH_OK && is_html(f.head.type, result.text))
		status = read_page(&result, err);
	hth_buf_finish(&f.body);
	hth_store_close(f.store);
	if (status == HTH_OK)
		*ret_result = result;
	else
		hth_fetch_result_finish(&result);
	return status;
}

void hth_fetch_result_finish(hth_fetch_result *result)
{
	free(result->text);
	free(result->url);
	free(result->title);
	for (size_t i = 0; i < result->n_links; i++) {
		free(result->links[i].url);
		free(result->links[i].text);
	}
	free(result->links);
	*result = (hth_fetch_result){.code = result->code};
}
