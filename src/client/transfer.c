/* transfer.c - one exchange, hop by hop, over libcurl's multi interface (so that `cancelled` is looked at while we wait).
 *
 * Redirects are not libcurl's: each is a new exchange here, which is how every host is asked about and recorded. The address
 * check happens where the socket is made, after the name was looked up, so a name cannot mean one address to the check and another to
 * the connection. Nothing here logs or prints; secrets appear in no message.
 */
#include "client/transfer.h"

#include "base/buf.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

typedef struct exchange {
	char tls_error[CURL_ERROR_SIZE];
	const hth_transfer *t;
	CURL *easy;
	hth_transfer_head head;
	char location[HTH_TRANSFER_URL_MAX];
	uint64_t received;
	bool follows;       /* this answer is a redirect that we will follow */
	bool head_told, stopped, too_large, bad_address;
	char refused[64];   /* the address that was */
} exchange;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static bool curl_ready;
static char trusted[4096]; /* hth_transfer_trust */
static void start_curl(void) { curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; }

/* ---- addresses and URLs ---- */

static bool v4_is_public(uint32_t a)
{
	static const struct {
		uint32_t net;
		int bits;
	} special[] = {{0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16}, {0xac100000, 12},
	               {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16}, {0xc6120000, 15}, {0xc6336400, 24},
	               {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4}};
	for (size_t i = 0; i < HTH_COUNT(special); i++)
		if ((a ^ special[i].net) >> (32 - special[i].bits) == 0)
			return false;
	return true;
}

static uint32_t v4_at(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool hth_address_is_public(const char *address)
{
	struct in_addr four;
	struct in6_addr six;
	char plain[INET6_ADDRSTRLEN];
	snprintf(plain, sizeof plain, "%.*s", (int)strcspn(address, "%"), address); /* without a zone */
	if (inet_pton(AF_INET, plain, &four) == 1)
		return v4_is_public(ntohl(four.s_addr));
	if (inet_pton(AF_INET6, plain, &six) != 1)
		return false;
	const unsigned char *a = six.s6_addr;
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0, 0x64, 0xff, 0x9b};
	if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
		return v4_is_public(v4_at(a + 12));
	if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
		return v4_is_public(v4_at(a + 2));
	/* Global unicast is 2000::/3; of it, 2001::/23 is for protocols (Teredo, ORCHID), 2001:db8:: and 3fff::/20 for documents. */
	if ((a[0] & 0xe0) != 0x20 || (a[0] == 0x20 && a[1] == 0x01 && a[2] < 2) || (a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10))
		return false;
	return !(a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8);
}

static bool split(CURLU *u, char scheme[8], char host[HTH_TRANSFER_HOST_MAX], unsigned *port)
{
	char *s = NULL, *h = NULL, *p = NULL;
	bool ok = curl_url_get(u, CURLUPART_SCHEME, &s, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_HOST, &h, 0) == CURLUE_OK &&
	          curl_url_get(u, CURLUPART_PORT, &p, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	          (strcasecmp(s, "http") == 0 || strcasecmp(s, "https") == 0) && *h != '\0' && strlen(h) < HTH_TRANSFER_HOST_MAX;
	if (ok) {
		size_t len = strlen(h);
		bool six = h[0] == '[' && h[len - 1] == ']';
		snprintf(host, HTH_TRANSFER_HOST_MAX, "%.*s", (int)(len - (six ? 2 : 0)), h + six);
		for (char *c = host; *c != '\0'; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
		snprintf(scheme, 8, "%s", strcasecmp(s, "https") == 0 ? "https" : "http");
		*port = (unsigned)strtoul(p, NULL, 10);
	}
	curl_free(s);
	curl_free(h);
	curl_free(p);
	return ok;
}

bool hth_url_split(const char *url, char ret_scheme[8], char ret_host[HTH_TRANSFER_HOST_MAX], unsigned *ret_port)
{
	char scheme[8], host[HTH_TRANSFER_HOST_MAX];
	unsigned port;
	CURLU *u = strlen(url) < HTH_TRANSFER_URL_MAX ? curl_url() : NULL;
	if (u == NULL)
		return false;
	bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && split(u, scheme, host, &port);
	curl_url_cleanup(u);
	if (ok && ret_scheme != NULL)
		memcpy(ret_scheme, scheme, sizeof scheme);
	if (ok && ret_host != NULL)
		memcpy(ret_host, host, sizeof host);
	if (ok && ret_port != NULL)
		*ret_port = port;
	return ok;
}

char *hth_url_resolve(const char *base, const char *reference)
{
	CURLU *u = curl_url();
	char *url = NULL, *copy = NULL, scheme[8], host[HTH_TRANSFER_HOST_MAX];
	unsigned port;
	if (u != NULL && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
	    curl_url_set(u, CURLUPART_URL, reference, CURLU_URLENCODE) == CURLUE_OK && split(u, scheme, host, &port) &&
	    curl_url_get(u, CURLUPART_URL, &url, 0) == CURLUE_OK)
		copy = strdup(url);
	curl_free(url);
	curl_url_cleanup(u);
	return copy;
}

char *hth_url_escape_path(const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = malloc(strlen(s) * 3 + 1), *o = out;
	if (out == NULL)
		return NULL;
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~/", c) != NULL) {
			*o++ = (char)c;
		} else {
			*o++ = '%';
			*o++ = hex[c >> 4];
			*o++ = hex[c & 15];
		}
	}
	*o = '\0';
	return out;
}

/* ---- one hop ---- */

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	exchange *x = user;
	char text[INET6_ADDRSTRLEN] = "";
	if (address->family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&address->addr)->sin_addr, text, sizeof text);
	else if (address->family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&address->addr)->sin6_addr, text, sizeof text);
	if (purpose != CURLSOCKTYPE_IPCXN || (x->t->address_ok != NULL && !x->t->address_ok(x->t->ctx, text))) {
		x->bad_address = true;
		snprintf(x->refused, sizeof x->refused, "%s", text);
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool header_is(const char *line, size_t len, const char *name, const char **ret_value, size_t *ret_len)
{
	size_t n = strlen(name);
	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	const char *v = line + n + 1, *end = line + len;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
		end--;
	*ret_value = v;
	*ret_len = (size_t)(end - v);
	return true;
}

static void copy(char *to, size_t size, const char *v, size_t len)
{
	if (len >= size) /* half a value is worse than none */
		len = 0;
	memcpy(to, v, len);
	to[len] = '\0';
}

static int64_t number(const char *v, size_t len)
{
	int64_t n = 0;
	if (len == 0 || len > 18)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9')
			return -1;
		n = n * 10 + (v[i] - '0');
	}
	return n;
}

/* "bytes 5-9/10", "bytes 5-9/" "*", "bytes " "*" "/10" (RFC 9110, 14.4) */
static void read_range(hth_transfer_head *head, const char *v, size_t len)
{
	if (len < 6 || strncasecmp(v, "bytes ", 6) != 0)
		return;
	const char *dash = memchr(v + 6, '-', len - 6), *slash = memchr(v + 6, '/', len - 6);
	if (dash != NULL)
		head->range_from = number(v + 6, (size_t)(dash - v - 6));
	if (slash != NULL)
		head->range_total = number(slash + 1, (size_t)(v + len - slash - 1));
}

static void read_link(hth_transfer_head *head, const char *v, size_t len)
{
	const char *open = memchr(v, '<', len), *close = open != NULL ? memchr(open, '>', len - (size_t)(open - v)) : NULL;
	if (close != NULL && memmem(close, len - (size_t)(close - v), "rel=\"next\"", 10) != NULL)
		copy(head->next, sizeof head->next, open + 1, (size_t)(close - open - 1));
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
	exchange *x = user;
	hth_transfer_head *h = &x->head;
	size_t len = size * count, n;
	const char *v;
	if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {
		char host[sizeof h->host];
		memcpy(host, h->host, sizeof host);
		*h = (hth_transfer_head){.length = -1, .range_from = -1, .range_total = -1, .retry_after_s = -1};
		memcpy(h->host, host, sizeof host);
		x->location[0] = '\0';
		const char *space = memchr(line, ' ', len);
		h->code = space != NULL && line + len - space >= 4 ? (int)number(space + 1, 3) : 0;
	} else if (header_is(line, len, "Content-Length", &v, &n))
		h->length = number(v, n);
	else if (header_is(line, len, "Content-Range", &v, &n))
		read_range(h, v, n);
	else if (header_is(line, len, "Retry-After", &v, &n))
		h->retry_after_s = number(v, n);
	else if (header_is(line, len, "ETag", &v, &n))
		copy(h->etag, sizeof h->etag, v, n);
	else if (header_is(line, len, "Last-Modified", &v, &n))
		copy(h->last_modified, sizeof h->last_modified, v, n);
	else if (header_is(line, len, "Content-Type", &v, &n))
		copy(h->type, sizeof h->type, v, n);
	else if (header_is(line, len, "WWW-Authenticate", &v, &n))
		copy(h->challenge, sizeof h->challenge, v, n);
	else if (header_is(line, len, "Link", &v, &n))
		read_link(h, v, n);
	else if (header_is(line, len, "Location", &v, &n))
		copy(x->location, sizeof x->location, v, n);
	return len;
}

static bool is_redirect(const exchange *x)
{
	int c = x->head.code;
	return x->t->max_redirects > 0 && x->location[0] != '\0' && (c == 301 || c == 302 || c == 303 || c == 307 || c == 308);
}

/* Once the final answer's head is whole: the caller's say. */
static bool tell_head(exchange *x)
{
	if (x->head_told)
		return true;
	x->head_told = true;
	x->follows = is_redirect(x);
	if (!x->follows && x->t->head != NULL && !x->t->head(x->t->ctx, &x->head)) {
		x->stopped = true;
		return false;
	}
	return true;
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	exchange *x = user;
	size_t len = size * count;
	if (!tell_head(x))
		return 0;
	x->received += len;
	if (x->follows) /* a redirect's page is nobody's; a long one is not worth the wait */
		return x->received < 64 << 10 ? len : 0;
	if (x->t->max_bytes > 0 && x->received > x->t->max_bytes) {
		x->too_large = true;
		return 0;
	}
	if (x->t->data != NULL && !x->t->data(x->t->ctx, data, len)) {
		x->stopped = true;
		return 0;
	}
	return len;
}

static bool cancelled(const hth_transfer *t) { return t->cancelled != NULL && t->cancelled(t->ctx); }

static hth_status perform(exchange *x, const char *host, hth_error *err)
{
	CURLM *multi = curl_multi_init();
	if (multi == NULL || curl_multi_add_handle(multi, x->easy) != CURLM_OK) {
		curl_multi_cleanup(multi);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a transfer");
	}
	CURLcode result = CURLE_RECV_ERROR;
	bool ended = false, aborted = false;
	while (!ended && !aborted) {
		int running = 0, left;
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			break;
		for (CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;)
			if (m->msg == CURLMSG_DONE) {
				result = m->data.result;
				ended = true;
			}
		aborted = !ended && cancelled(x->t);
		if (!ended && !aborted && curl_multi_poll(multi, NULL, 0, 100, NULL) != CURLM_OK)
			break;
	}
	curl_off_t down = 0, up = 0;
	long header = 0, request = 0;
	curl_easy_getinfo(x->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(x->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(x->easy, CURLINFO_HEADER_SIZE, &header);
	curl_easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &request);
	char name[HTH_TRANSFER_HOST_MAX], *url = NULL;
	snprintf(name, sizeof name, "%s", host);
	curl_easy_getinfo(x->easy, CURLINFO_EFFECTIVE_URL, &url);
	const hth_transfer_hop hop = {name, (uint64_t)request + (uint64_t)up, (uint64_t)header + (uint64_t)down, !x->bad_address ||
	                              x->head.code != 0, url};
	curl_multi_remove_handle(multi, x->easy);
	curl_multi_cleanup(multi);
	if (x->t->hop != NULL)
		x->t->hop(x->t->ctx, &hop);
	if (aborted || x->stopped)
		return hth_fail(err, HTH_CANCELLED, "stopped");
	if (x->too_large)
		return hth_fail(err, HTH_TOO_LARGE, "the answer of %s is over %llu bytes", host, (unsigned long long)x->t->max_bytes);
	if (x->bad_address && x->head.code == 0 && result != CURLE_OK)
		return hth_fail(err, HTH_DENIED, "%s is at the address %s, which is not one of the public Internet", host, x->refused);
	if (ended && result == CURLE_OK) {
		if (!tell_head(x))
			return hth_fail(err, HTH_CANCELLED, "stopped");
		return HTH_OK;
	}
	if (x->follows)
		return HTH_OK; /* its page was too long to read; its head is all we need */
	if (result == CURLE_OPERATION_TIMEDOUT)
		return hth_fail(err, HTH_TIMEOUT, "%s did not answer, or stopped sending, in time", host);
	if (result == CURLE_SSL_CACERT_BADFILE)
		return hth_fail(err, HTH_INVALID, "the setting ca_file names %s, which cannot be read as PEM certificates", trusted);
	if (result == CURLE_PEER_FAILED_VERIFICATION)
		return hth_fail(err, HTH_DENIED, "%s does not show a certificate that this machine trusts (%s); for a server of your own, "
		                                 "name its CA's certificate in the setting ca_file",
		                host, x->tls_error[0] != '\0' ? x->tls_error : curl_easy_strerror(result));
	if (result == CURLE_SSL_CONNECT_ERROR)
		return hth_fail(err, HTH_GONE, "%s does not speak TLS as it should (%s)", host,
		                x->tls_error[0] != '\0' ? x->tls_error : curl_easy_strerror(result));
	return hth_fail(err, HTH_GONE, x->head.code != 0 ? "the connection to %s broke (%s)" : "cannot reach %s (%s)", host,
	                curl_easy_strerror(result));
}

static hth_status run_hop(exchange *x, const char *url, const char *host, bool with_secret, hth_error *err)
{
	const hth_transfer *t = x->t;
	CURL *easy = x->easy;
	struct curl_slist *headers = NULL;
	curl_easy_reset(easy);
	x->tls_error[0] = '\0';
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->tls_error);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "hearth/" HEARTH_VERSION);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(t->connect_ms != 0 ? t->connect_ms : 15000));
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)t->total_ms);
	if (t->stall_s > 0) {
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)t->stall_s);
	}
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, x);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	/* Debian's curl trusts the folder of the system's CAs as well as a file, so that a file of our own is one more. */
	if (trusted[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_CAINFO, trusted);
	headers = curl_slist_append(headers, "Expect:");
	for (size_t i = 0; i < t->n_headers; i++)
		headers = curl_slist_append(headers, t->headers[i]);
	if (with_secret && t->secret != NULL)
		headers = curl_slist_append(headers, t->secret);
	if (t->body != NULL) {
		char type[160];
		snprintf(type, sizeof type, "Content-Type: %s", t->type != NULL ? t->type : "application/json");
		headers = curl_slist_append(headers, type);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_len);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, t->body);
	}
	if (t->method != NULL && strcmp(t->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (t->method != NULL)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, t->method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	x->head = (hth_transfer_head){.length = -1, .range_from = -1, .range_total = -1, .retry_after_s = -1};
	snprintf(x->head.host, sizeof x->head.host, "%s", host);
	x->received = 0;
	x->head_told = x->follows = x->bad_address = false;
	hth_status status = perform(x, host, err);
	curl_slist_free_all(headers);
	return status;
}

static hth_status hops(exchange *x, CURLU *u, hth_error *err)
{
	const hth_transfer *t = x->t;
	char first_scheme[8] = "", first_host[HTH_TRANSFER_HOST_MAX] = "", scheme[8], host[HTH_TRANSFER_HOST_MAX];
	unsigned first_port = 0, port;
	for (unsigned hop = 0;; hop++) {
		if (!split(u, scheme, host, &port))
			return hth_fail(err, HTH_INVALID, hop == 0 ? "'%.200s' is no http:// or https:// address"
			                                           : "%.200s sends on to what is no http:// or https:// address",
			                hop == 0 ? t->url : x->head.host);
		if (hop == 0) {
			memcpy(first_scheme, scheme, sizeof scheme);
			memcpy(first_host, host, sizeof host);
			first_port = port;
		}
		if (t->allow != NULL && !t->allow(t->ctx, scheme, host, port, err)) {
			if (t->hop != NULL)
				t->hop(t->ctx, &(hth_transfer_hop){.host = host});
			return err != NULL && err->status != HTH_OK ? err->status : HTH_DENIED;
		}
		char *url = NULL;
		if (curl_url_get(u, CURLUPART_URL, &url, 0) != CURLUE_OK)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a transfer");
		bool own = strcmp(scheme, first_scheme) == 0 && strcmp(host, first_host) == 0 && port == first_port;
		hth_status status = run_hop(x, url, host, own, err);
		curl_free(url);
		if (status != HTH_OK || !x->follows)
			return status;
		if (hop >= t->max_redirects)
			return hth_fail(err, HTH_DENIED, "%s sends on more than %u times", first_host, t->max_redirects);
		bool secure = strcmp(scheme, "https") == 0;
		if (curl_url_set(u, CURLUPART_URL, x->location, 0) != CURLUE_OK || !split(u, scheme, host, &port))
			return hth_fail(err, HTH_DENIED, "%s sends on to what is no http:// or https:// address", x->head.host);
		if (secure && strcmp(scheme, "https") != 0)
			return hth_fail(err, HTH_DENIED, "%s sends on from https to http://%s, which is not followed", x->head.host, host);
	}
}

void hth_transfer_trust(const char *ca_file) { snprintf(trusted, sizeof trusted, "%s", ca_file != NULL ? ca_file : ""); }

hth_status hth_transfer_run(const hth_transfer *transfer, hth_transfer_head *ret_head, hth_error *err)
{
	hth_error own = HTH_ERROR_INIT;
	if (err == NULL)
		err = &own;
	pthread_once(&curl_once, start_curl);
	if (!curl_ready)
		return hth_fail(err, HTH_INTERNAL, "libcurl does not start");
	HTH_AUTO_FREE exchange *x = hth_alloc_array(1, sizeof *x);
	CURLU *u = curl_url();
	hth_status status = HTH_OK;
	if (x == NULL || u == NULL || (x->easy = curl_easy_init()) == NULL)
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for a transfer");
	else if (strlen(transfer->url) >= HTH_TRANSFER_URL_MAX || curl_url_set(u, CURLUPART_URL, transfer->url, 0) != CURLUE_OK)
		status = hth_fail(err, HTH_INVALID, "'%.200s' is no http:// or https:// address", transfer->url);
	if (status == HTH_OK) {
		x->t = transfer;
		status = hops(x, u, err);
		if (ret_head != NULL)
			*ret_head = x->head;
	}
	if (x != NULL && x->easy != NULL)
		curl_easy_cleanup(x->easy);
	curl_url_cleanup(u);
	return status;
}

typedef struct collected {
	const hth_transfer *inner;
	hth_buf body;
} collected;
static bool collect(void *ctx, const void *data, size_t len) { return hth_buf_append(&((collected *)ctx)->body, data, len); }
static bool c_allow(void *ctx, const char *scheme, const char *host, unsigned port, hth_error *err)
{
	const hth_transfer *t = ((collected *)ctx)->inner;
	return t->allow == NULL || t->allow(t->ctx, scheme, host, port, err);
}
static bool c_address(void *ctx, const char *address)
{
	const hth_transfer *t = ((collected *)ctx)->inner;
	return t->address_ok == NULL || t->address_ok(t->ctx, address);
}
static bool c_head(void *ctx, const hth_transfer_head *head)
{
	collected *c = ctx;
	hth_buf_clear(&c->body);
	return c->inner->head == NULL || c->inner->head(c->inner->ctx, head);
}
static void c_hop(void *ctx, const hth_transfer_hop *hop)
{
	const hth_transfer *t = ((collected *)ctx)->inner;
	if (t->hop != NULL)
		t->hop(t->ctx, hop);
}
static bool c_cancelled(void *ctx) { return cancelled(((collected *)ctx)->inner); }

hth_status hth_transfer_get(const hth_transfer *transfer, hth_transfer_head *ret_head, char **ret_body, size_t *ret_len, hth_error *err)
{
	collected c = {transfer, HTH_BUF_INIT(transfer->max_bytes)};
	hth_transfer t = *transfer;
	t.allow = c_allow;
	t.address_ok = c_address;
	t.head = c_head;
	t.data = collect;
	t.hop = c_hop;
	t.cancelled = c_cancelled;
	t.ctx = &c;
	hth_status status = hth_transfer_run(&t, ret_head, err);
	if (status == HTH_OK && c.body.data == NULL && !hth_buf_append(&c.body, "", 0))
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for an answer");
	if (status == HTH_OK) {
		*ret_body = hth_buf_steal(&c.body, ret_len);
		if (*ret_body == NULL)
			status = hth_fail(err, HTH_NO_MEMORY, "no memory for an answer");
	}
	hth_buf_finish(&c.body);
	return status;
}
