/* http-internal.h - what http.c (server, connections, limits) and exchange.c (one request and its response) share.
 * Everything is on the loop's thread. libmicrohttpd's types stay in this folder. */
#ifndef HTH_HTTP_HTTP_INTERNAL_H
#define HTH_HTTP_HTTP_INTERNAL_H

#include "http/http.h"

#include <microhttpd.h>
#include <netinet/in.h>

enum { HTH_LINGER_MAX = 16, HTH_RESPONSE_HEADERS_MAX = 16 };

/* One TCP connection, from accept to close: libmicrohttpd's socket context. */
typedef struct hth_http_conn {
	struct hth_http *http;
	struct MHD_Connection *mhd;
	int fd;
	char client[INET6_ADDRSTRLEN];
	uint64_t since_ms;      /* accepted, or its last response was complete, or its current request's first line came */
	bool fresh;             /* has brought no request yet */
	bool receiving;         /* the first line of a request has come, the rest not yet */
	bool doomed;            /* its socket is shut down; libmicrohttpd will notice */
	hth_exchange *exchange; /* NULL between requests */
	struct hth_http_conn *prev, *next; /* in order of accepting */
} hth_http_conn;

/* A refused client's socket, kept a little longer. */
typedef struct hth_linger {
	struct hth_http *http;
	int fd; /* -1: free */
	hth_watch *watch;
	uint64_t until_ms;
} hth_linger;

struct hth_http {
	hth_loop *loop;
	hth_http_options options;
	hth_http_handler handler;
	void *ctx;
	struct MHD_Daemon *mhd;
	uint16_t port;
	hth_watch *epoll_watch;
	hth_timer *run_timer;  /* libmicrohttpd's own timeouts, and "run soon" */
	hth_timer *tick_timer; /* once a second while there are connections: our deadlines */
	hth_http_conn *first, *last;
	size_t n_conns;
	size_t buffered; /* bytes of all bodies */
	hth_linger linger[HTH_LINGER_MAX];
	bool ticking, in_run, again, accepting, destroying, overflowed;
};

typedef enum hth_exchange_state {
	HTH_EX_RECEIVING, /* body not whole yet */
	HTH_EX_HANDLED,   /* with the handler, no answer yet */
	HTH_EX_BEGUN,     /* streaming */
	HTH_EX_FINISHED,  /* everything is with us; libmicrohttpd is sending it */
	HTH_EX_DEAD       /* gone was called; waits for libmicrohttpd to let go */
} hth_exchange_state;

struct hth_exchange {
	hth_http *http;
	hth_http_conn *conn;
	hth_exchange_state state;
	char *method, *path;
	hth_buf body;
	hth_http_sink sink; /* NULL: body is buffered */
	void *sink_ctx;
	size_t discarded;  /* bytes of a refused body */
	int refuse_status; /* not 0: answer this once the body is through */
	struct {
		char *name, *value;
	} headers[HTH_RESPONSE_HEADERS_MAX];
	size_t n_headers;
	struct MHD_Response *response; /* made, not yet queued */
	int status;
	hth_buf out;   /* streamed bytes that libmicrohttpd has not taken */
	size_t out_at; /* of which these are taken */
	bool suspended, overflow;
	hth_watch *watch; /* for hang-up */
	void *user;
};

/* http.c */
void hth_http_run_soon(hth_http *http);
void hth_http_linger(hth_http *http, int fd);
void hth_conn_shut(hth_http_conn *conn);

/* exchange.c: libmicrohttpd's callbacks, and the end by hang-up. */
enum MHD_Result hth_exchange_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                    const char *version, const char *upload, size_t *upload_size, void **con_cls);
void hth_exchange_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                            enum MHD_RequestTerminationCode code);
void hth_exchange_abandon(hth_exchange *exchange);

#endif
