/* http.h - an HTTP/1.1 server on the loop (libmicrohttpd hidden).
 *
 * libmicrohttpd runs without threads of its own: its epoll descriptor is watched by the loop. An exchange is one request and its
 * response. Requests arrive whole (headers and body within the limits) at `handle`; the handler answers at once or
 * later, with a whole body or a stream. While an exchange waits or streams, the socket is watched for hang-up (which
 * libmicrohttpd does not do for a suspended connection), and `gone` is called when the client leaves.
 *
 * A client that closes only its writing side (shutdown(SHUT_WR)) while its answer is pending looks the same on the wire as one that has
 * left, and counts as gone, as it does for nginx and Go's net/http: otherwise nobody could notice a leaving client before the
 * next write. An answer given inside `handle` still reaches such a client.
 *
 * When there is no room for a connection, the oldest one that has not yet brought a whole request gives way to it (one from the same
 * address when it is that address's share that is used up), so slow clients can only crowd out each other. Connections that wait for or
 * receive an answer are never closed for room; when all are such, the new one is refused.
 */
#ifndef HTH_HTTP_HTTP_H
#define HTH_HTTP_HTTP_H

#include "base/buf.h"
#include "loop/loop.h"

#include <stdint.h>

typedef struct hth_http hth_http;
typedef struct hth_exchange hth_exchange;

typedef struct hth_http_options {
	const char *address;      /* "127.0.0.1", "::1", "0.0.0.0" */
	uint16_t port;            /* 0: any */
	size_t max_body;          /* bytes; 0: 32 MiB. Over it: 413 */
	size_t max_header;        /* bytes; 0: 16 KiB. Over it: 431 */
	size_t max_buffered;      /* bytes of all bodies being received at once; 0: 128 MiB. Over it: 503 */
	unsigned max_connections; /* 0: 256 */
	unsigned max_per_client;  /* connections of one address; 0: 128 */
	unsigned idle_s;          /* a silent connection is closed after this; 0: 30 */
	unsigned receive_s;       /* a request must be whole within this of its first line (or of connecting); 0: 30 */
	size_t max_unsent;        /* bytes a streaming client may lag behind before it counts as gone; 0: 8 MiB */
} hth_http_options;

/* Takes a body as it comes, instead of a buffer. False: it cannot (a full disk); the connection is closed. */
typedef bool (*hth_http_sink)(void *ctx, const void *data, size_t len);

typedef struct hth_http_handler {
	/* The request is whole. Must answer now or keep the exchange and answer later. */
	void (*handle)(void *ctx, hth_exchange *exchange);
	/* The client left (or fell too far behind) before the response was complete, or the server is stopping. The exchange is freed after
	 * this returns; nothing may be sent to it. Not called once the response is complete. */
	void (*gone)(void *ctx, hth_exchange *exchange);
	/* The headers of a request with a body are here. May answer at once (the body is not wanted then), or give it to a sink; such a
	 * body has no limit of size and of time but that it keeps coming, and `gone` is called also when it breaks off. May be NULL. */
	void (*headers)(void *ctx, hth_exchange *exchange);
} hth_http_handler;

HTH_MUST_USE hth_status hth_http_start(hth_http **ret_http, hth_loop *loop, const hth_http_options *options,
                                       const hth_http_handler *handler, void *ctx, hth_error *err);
uint16_t hth_http_port(const hth_http *http);
void hth_http_stop_accepting(hth_http *http);
void hth_http_destroy(hth_http *http); /* every open exchange gets `gone` */
size_t hth_http_connections(const hth_http *http);

const char *hth_exchange_method(const hth_exchange *exchange);
const char *hth_exchange_path(const hth_exchange *exchange); /* decoded, without query */
const char *hth_exchange_query(const hth_exchange *exchange, const char *name);  /* NULL: absent */
const char *hth_exchange_header(const hth_exchange *exchange, const char *name); /* NULL: absent; case-insensitive */
const char *hth_exchange_body(const hth_exchange *exchange, size_t *ret_len); /* NUL-terminated; never NULL */
/* In `headers` only. */
void hth_exchange_set_sink(hth_exchange *exchange, hth_http_sink sink, void *ctx);
/* Wipes and frees the body once it has been read: answers may take long, and max_buffered counts bodies until then. */
void hth_exchange_drop_body(hth_exchange *exchange);
const char *hth_exchange_client(const hth_exchange *exchange); /* "127.0.0.1" */
void hth_exchange_set_user(hth_exchange *exchange, void *user);
void *hth_exchange_user(const hth_exchange *exchange);

/* Response headers, before reply or begin. Copied. At most 16; a value with control characters is left out. */
void hth_exchange_add_header(hth_exchange *exchange, const char *name, const char *value);
/* A whole response. body is copied. The exchange is freed by the server when sent. */
void hth_exchange_reply(hth_exchange *exchange, int status, const char *content_type, const void *body, size_t len);
/* A streamed response: begin, any number of sends, finish. Sends are copied and go out at once. */
void hth_exchange_begin(hth_exchange *exchange, int status, const char *content_type);
void hth_exchange_send(hth_exchange *exchange, const void *data, size_t len);
void hth_exchange_finish(hth_exchange *exchange);
bool hth_exchange_begun(const hth_exchange *exchange);
/* Bytes that the client has not taken yet of what was sent. */
size_t hth_exchange_unsent(const hth_exchange *exchange);

#endif
