/* exchange.c - one request and its response: receiving, handing over, answering whole or as a stream, and noticing that
 * the client has left.
 *
 * libmicrohttpd calls hth_exchange_access several times per request: with the headers, with each part of the body, and last
 * with nothing, which is when the request is whole. A connection without an answer yet is suspended; resuming it makes
 * libmicrohttpd ask again. A response to a body that is still coming can only be queued at the headers (the length is known) or after
 * the last byte, so a chunked body over its limit is read and dropped up to a bound.
 * Thread: the loop's.
 */
#include "http/http-internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum { STREAM_BLOCK = 16384, DISCARD_FACTOR = 4 };

static void wipe_body(hth_exchange *ex)
{
	ex->http->buffered -= ex->body.len;
	if (ex->body.data != NULL)
		explicit_bzero(ex->body.data, ex->body.cap);
	hth_buf_finish(&ex->body);
}

static void unwatch(hth_exchange *ex)
{
	hth_watch_close(ex->watch);
	ex->watch = NULL;
}

static void free_exchange(hth_exchange *ex)
{
	unwatch(ex);
	wipe_body(ex);
	if (ex->response != NULL)
		MHD_destroy_response(ex->response);
	for (size_t i = 0; i < ex->n_headers; i++) {
		free(ex->headers[i].name);
		free(ex->headers[i].value);
	}
	if (ex->out.data != NULL)
		explicit_bzero(ex->out.data, ex->out.cap);
	hth_buf_finish(&ex->out);
	free(ex->method);
	free(ex->path);
	free(ex);
}

static void resume(hth_exchange *ex)
{
	if (ex->suspended) {
		ex->suspended = false;
		MHD_resume_connection(ex->conn->mhd);
	}
	hth_http_run_soon(ex->http);
}

void hth_exchange_abandon(hth_exchange *ex)
{
	if (ex->state != HTH_EX_HANDLED && ex->state != HTH_EX_BEGUN)
		return;
	ex->state = HTH_EX_DEAD;
	unwatch(ex);
	ex->http->handler.gone(ex->http->ctx, ex);
	ex->user = NULL;
	hth_conn_shut(ex->conn);
	resume(ex);
}

static void on_hangup(void *ctx, unsigned events)
{
	if (events & HTH_HANGUP)
		hth_exchange_abandon(ctx);
}

static void watch_client(hth_exchange *ex)
{
	/* Without memory for the watch the client's leaving is noticed at the next write. */
	if (ex->watch == NULL && hth_watch_open(&ex->watch, ex->http->loop, ex->conn->fd, HTH_HANGUP, on_hangup, ex, NULL) != HTH_OK)
		ex->watch = NULL;
}

/* --- receiving --- */

typedef struct header_sum {
	size_t bytes;
	unsigned lengths, codings; /* Content-Length, Transfer-Encoding */
} header_sum;

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_len, const char *value,
                                  size_t value_len)
{
	header_sum *sum = cls;
	(void)value;
	sum->bytes += key_len + value_len + 4;
	sum->lengths += kind == MHD_HEADER_KIND && strcasecmp(key, "Content-Length") == 0;
	sum->codings += kind == MHD_HEADER_KIND && strcasecmp(key, "Transfer-Encoding") == 0;
	return MHD_YES;
}

/* "http://127.0.0.1:4327/v1//chat/completions/" is what a base address with a slash too many, or a client that believes in a proxy, makes
 * of /v1/chat/completions. There is one form of a path, and everything that looks at one sees that. */
static void make_plain(char *path)
{
	if (strncasecmp(path, "http://", 7) == 0) {
		const char *rest = strchr(path + 7, '/');
		memmove(path, rest != NULL ? rest : "/", rest != NULL ? strlen(rest) + 1 : 2);
	}
	size_t n = 0;
	for (const char *c = path; *c != '\0'; c++)
		if (*c != '/' || n == 0 || path[n - 1] != '/')
			path[n++] = *c;
	path[n > 1 && path[n - 1] == '/' ? n - 1 : n] = '\0';
}

/* An answer that this folder gives by itself, in the shape most clients know. */
static void refuse(hth_exchange *ex, int status)
{
	const char *why = "the request could not be taken", *code = "bad_request", *type = "invalid_request_error";
	char text[160];
	if (status == 413) {
		snprintf(text, sizeof text, "the body is over this server's limit of %zu bytes", ex->http->options.max_body);
		why = text;
		code = "request_too_large";
	} else if (status == 431) {
		snprintf(text, sizeof text, "the headers are over this server's limit of %zu bytes", ex->http->options.max_header);
		why = text;
		code = "headers_too_large";
	} else if (status == 400) {
		why = "the headers give the body's length more than once";
		hth_exchange_add_header(ex, "Connection", "close");
	} else if (status == 503) {
		why = "too many large requests at once; try again in a moment";
		code = "overloaded";
		type = "overloaded_error";
		hth_exchange_add_header(ex, "Retry-After", "1");
	}
	hth_buf body = HTH_BUF_INIT(1024);
	hth_buf_appendf(&body, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}", why, type, code);
	ex->state = HTH_EX_HANDLED;
	hth_exchange_reply(ex, status, "application/json", body.data, body.len);
	hth_buf_finish(&body);
}

static enum MHD_Result queue(hth_exchange *ex, struct MHD_Connection *mhd)
{
	enum MHD_Result ret = MHD_queue_response(mhd, (unsigned)ex->status, ex->response);
	MHD_destroy_response(ex->response);
	ex->response = NULL;
	return ret;
}

/* The headers are here: makes the exchange, and refuses early what can be refused early. */
static enum MHD_Result on_headers(hth_http *http, struct MHD_Connection *mhd, const char *url, const char *method,
                                  void **con_cls)
{
	hth_http_conn *conn = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	hth_exchange *ex = conn == NULL || conn->doomed ? NULL : calloc(1, sizeof *ex);
	if (ex == NULL)
		return MHD_NO;
	ex->http = http;
	ex->conn = conn;
	ex->body = HTH_BUF_INIT(http->options.max_body);
	ex->out = HTH_BUF_INIT(http->options.max_unsent + (64u << 10));
	ex->method = strdup(method);
	ex->path = strdup(url);
	*con_cls = ex;
	conn->exchange = ex;
	conn->receiving = true;
	if (ex->method == NULL || ex->path == NULL)
		return MHD_NO;
	make_plain(ex->path);
	header_sum sum = {.bytes = strlen(url) + strlen(method)};
	MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, add_header, &sum);
	MHD_get_connection_values_n(mhd, MHD_GET_ARGUMENT_KIND, add_header, &sum);
	int status = 0;
	if (sum.bytes > http->options.max_header)
		status = 431;
	else if (sum.lengths + sum.codings > 1)
		status =
		    400; /* where a body ends must not be a matter of who reads it: a proxy in front may think otherwise (RFC 9112, 6.3) */
	const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");
	bool body = length != NULL || MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Transfer-Encoding") != NULL;
	if (status == 0 && body && http->handler.headers != NULL) {
		ex->state = HTH_EX_HANDLED; /* it may answer */
		http->handler.headers(http->ctx, ex);
		if (ex->response != NULL) {
			hth_http_linger(http, conn->fd);
			return queue(ex, mhd);
		}
		ex->state = HTH_EX_RECEIVING;
	}
	if (ex->sink != NULL)
		return MHD_YES;
	if (status == 0 && length != NULL) {
		errno = 0;
		unsigned long long n = strtoull(length, NULL, 10);
		if (errno != 0 || n > http->options.max_body)
			status = 413;
		else if (n > http->options.max_buffered - HTH_MIN(http->buffered, http->options.max_buffered))
			status = 503;
	}
	if (status == 0)
		return MHD_YES;
	refuse(ex, status);
	/* The body may be on its way whatever we answer. */
	if (body)
		hth_http_linger(http, conn->fd);
	return queue(ex, mhd);
}

static enum MHD_Result on_body(hth_exchange *ex, const char *data, size_t *len)
{
	hth_http *http = ex->http;
	size_t n = *len;
	*len = 0;
	if (ex->sink != NULL) {
		ex->conn->since_ms = hth_clock_ms(); /* as long as it comes */
		return ex->sink(ex->sink_ctx, data, n) ? MHD_YES : MHD_NO;
	}
	if (ex->refuse_status == 0) {
		if (n > http->options.max_body - ex->body.len)
			ex->refuse_status = 413;
		else if (n > http->options.max_buffered - HTH_MIN(http->buffered, http->options.max_buffered) ||
		         !hth_buf_append(&ex->body, data, n))
			ex->refuse_status = 503;
		else
			http->buffered += n;
		if (ex->refuse_status != 0) {
			ex->body.failed = false;
			wipe_body(ex);
		}
	}
	if (ex->refuse_status != 0) {
		ex->discarded += n;
		if (ex->discarded / DISCARD_FACTOR > http->options.max_body)
			return MHD_NO;
	}
	return MHD_YES;
}

enum MHD_Result hth_exchange_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                    const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	(void)version;
	hth_exchange *ex = *con_cls;
	if (ex == NULL)
		return on_headers(cls, mhd, url, method, con_cls);
	if (*upload_size > 0)
		return on_body(ex, upload, upload_size);
	if (ex->state == HTH_EX_RECEIVING) {
		ex->conn->receiving = false;
		ex->conn->fresh = false;
		if (ex->refuse_status != 0) {
			refuse(ex, ex->refuse_status);
		} else if (ex->http->destroying) {
			return MHD_NO;
		} else {
			ex->state = HTH_EX_HANDLED;
			ex->http->handler.handle(ex->http->ctx, ex);
		}
	}
	if (ex->state == HTH_EX_DEAD)
		return MHD_NO;
	if (ex->response != NULL)
		return queue(ex, mhd);
	ex->suspended = true;
	MHD_suspend_connection(mhd);
	watch_client(ex);
	return MHD_YES;
}

void hth_exchange_completed(void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode code)
{
	(void)cls;
	(void)mhd;
	(void)code;
	hth_exchange *ex = *con_cls;
	if (ex == NULL)
		return;
	*con_cls = NULL;
	unwatch(ex);
	bool broke_off = ex->state == HTH_EX_RECEIVING && ex->sink != NULL;
	if (broke_off || ex->state == HTH_EX_HANDLED || ex->state == HTH_EX_BEGUN) {
		ex->state = HTH_EX_DEAD;
		ex->http->handler.gone(ex->http->ctx, ex);
	}
	ex->conn->exchange = NULL;
	ex->conn->receiving = false;
	ex->conn->since_ms = hth_clock_ms();
	free_exchange(ex);
}

/* --- the request as the handler sees it --- */

void hth_exchange_set_sink(hth_exchange *ex, hth_http_sink sink, void *ctx)
{
	ex->sink = sink;
	ex->sink_ctx = ctx;
}

const char *hth_exchange_method(const hth_exchange *ex) { return ex->method; }
const char *hth_exchange_path(const hth_exchange *ex) { return ex->path; }
const char *hth_exchange_query(const hth_exchange *ex, const char *name)
{
	return MHD_lookup_connection_value(ex->conn->mhd, MHD_GET_ARGUMENT_KIND, name);
}
const char *hth_exchange_header(const hth_exchange *ex, const char *name)
{
	return MHD_lookup_connection_value(ex->conn->mhd, MHD_HEADER_KIND, name);
}
const char *hth_exchange_body(const hth_exchange *ex, size_t *ret_len)
{
	*ret_len = ex->body.len;
	return ex->body.data != NULL ? ex->body.data : "";
}
void hth_exchange_drop_body(hth_exchange *ex) { wipe_body(ex); }
const char *hth_exchange_client(const hth_exchange *ex) { return ex->conn->client; }
void hth_exchange_set_user(hth_exchange *ex, void *user) { ex->user = user; }
void *hth_exchange_user(const hth_exchange *ex) { return ex->user; }

/* --- answering --- */

void hth_exchange_add_header(hth_exchange *ex, const char *name, const char *value)
{
	if (ex->n_headers == HTH_RESPONSE_HEADERS_MAX)
		return;
	for (const char *s = value; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7F)
			return;
	}
	char *n = strdup(name), *v = strdup(value);
	if (n == NULL || v == NULL) {
		free(n);
		free(v);
		return;
	}
	ex->headers[ex->n_headers].name = n;
	ex->headers[ex->n_headers++].value = v;
}

static void add_headers(hth_exchange *ex, const char *content_type)
{
	if (content_type != NULL)
		MHD_add_response_header(ex->response, "Content-Type", content_type);
	for (size_t i = 0; i < ex->n_headers; i++)
		MHD_add_response_header(ex->response, ex->headers[i].name, ex->headers[i].value);
}

void hth_exchange_reply(hth_exchange *ex, int status, const char *content_type, const void *body, size_t len)
{
	if (ex->state != HTH_EX_HANDLED)
		return;
	unwatch(ex);
	ex->response = MHD_create_response_from_buffer(len, len > 0 ? (void *)(uintptr_t)body : (void *)(uintptr_t) "",
	                                               MHD_RESPMEM_MUST_COPY);
	if (ex->response == NULL) {
		/* No memory for the answer: the client sees its connection closed. */
		ex->state = HTH_EX_DEAD;
		hth_conn_shut(ex->conn);
		resume(ex);
		return;
	}
	add_headers(ex, content_type);
	ex->status = status;
	ex->state = HTH_EX_FINISHED;
	ex->conn->since_ms = hth_clock_ms();
	resume(ex);
}

/* libmicrohttpd asks for more of a stream. */
static ssize_t read_stream(void *cls, uint64_t pos, char *out, size_t max)
{
	(void)pos;
	hth_exchange *ex = cls;
	size_t n = HTH_MIN(max, ex->out.len - ex->out_at);
	if (ex->state == HTH_EX_DEAD)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n > 0) {
		memcpy(out, ex->out.data + ex->out_at, n);
		ex->out_at += n;
		if (ex->out_at == ex->out.len) {
			hth_buf_clear(&ex->out);
			ex->out_at = 0;
		}
		return (ssize_t)n;
	}
	if (ex->state == HTH_EX_FINISHED)
		return MHD_CONTENT_READER_END_OF_STREAM;
	ex->suspended = true;
	MHD_suspend_connection(ex->conn->mhd);
	return 0;
}

void hth_exchange_begin(hth_exchange *ex, int status, const char *content_type)
{
	if (ex->state != HTH_EX_HANDLED)
		return;
	ex->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, ex, NULL);
	if (ex->response == NULL) {
		/* The handler goes on to send; it hears of the end soon, and not inside this call. */
		ex->state = HTH_EX_BEGUN;
		ex->overflow = ex->http->overflowed = true;
		hth_http_run_soon(ex->http);
		return;
	}
	add_headers(ex, content_type);
	ex->status = status;
	ex->state = HTH_EX_BEGUN;
	watch_client(ex);
	resume(ex);
}

void hth_exchange_send(hth_exchange *ex, const void *data, size_t len)
{
	if (ex->state != HTH_EX_BEGUN || len == 0 || ex->overflow)
		return;
	if (ex->out_at > ex->out.len / 2) {
		hth_buf_consume(&ex->out, ex->out_at);
		ex->out_at = 0;
	}
	if (!hth_buf_append(&ex->out, data, len) || ex->out.len - ex->out_at > ex->http->options.max_unsent) {
		ex->overflow = ex->http->overflowed = true;
		hth_http_run_soon(ex->http);
		return;
	}
	resume(ex);
}

void hth_exchange_finish(hth_exchange *ex)
{
	if (ex->state != HTH_EX_BEGUN || ex->overflow)
		return;
	ex->state = HTH_EX_FINISHED;
	ex->conn->since_ms = hth_clock_ms();
	unwatch(ex);
	resume(ex);
}

bool hth_exchange_begun(const hth_exchange *ex) { return ex->state == HTH_EX_BEGUN || ex->state == HTH_EX_FINISHED; }
size_t hth_exchange_unsent(const hth_exchange *ex) { return ex->out.len - ex->out_at; }
