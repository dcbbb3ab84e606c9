/* client.h - asks an HTTP server: how the command line talks to the node (libcurl hidden).
 *
 * Blocking, one call at a time per client, any one thread. Every answer is bounded. A server's own error ({"error":{"message"}} or
 * {"error":"..."}) comes back as its message, with the status that its HTTP code stands for. While a call waits, `cancel` is
 * looked at ten times a second (and at once when a signal arrives): when it is true the call returns HTH_CANCELLED and the
 * connection is closed, which tells the node to stop.
 */
#ifndef HTH_CLIENT_CLIENT_H
#define HTH_CLIENT_CLIENT_H

#include "json/json.h"

#include <signal.h>

enum { HTH_CLIENT_BODY_MAX = 64 << 20, HTH_CLIENT_LINE_MAX = 4 << 20 };

typedef struct hth_client hth_client;

typedef struct hth_client_options {
	const char *base_url;     /* "http://127.0.0.1:4327": http or https, no path */
	const char *api_key;      /* NULL or "": none */
	unsigned connect_ms;      /* 0: 5000 */
	const volatile sig_atomic_t *cancel; /* NULL: cannot be cancelled; borrowed for the client's life */
} hth_client_options;
HTH_MUST_USE hth_status hth_client_create(hth_client **ret_client, const hth_client_options *options, hth_error *err);
void hth_client_destroy(hth_client *client);

/* One request, one JSON answer (caller decrefs). body NULL: no body. timeout_ms 0: as long as it takes. HTH_GONE when nobody
 * answers at the address or the connection breaks (hth_client_reached tells which), HTH_BAD_FORMAT when the answer is no JSON. */
HTH_MUST_USE hth_status hth_client_json(hth_client *client, const char *method, const char *path, const json_t *body,
                                        unsigned timeout_ms, json_t **ret_json, hth_error *err);

/* One request, its answer line by line as it comes (without the line's end; a last line without one counts). The line function
 * returns false to stop: the call then returns HTH_CANCELLED. Lines are those of a 2xx answer only. */
typedef bool (*hth_client_line_fn)(void *ctx, const char *line, size_t len);
HTH_MUST_USE hth_status hth_client_stream(hth_client *client, const char *method, const char *path, const json_t *body,
                                          hth_client_line_fn fn, void *ctx, hth_error *err);

/* Sent with every call from now on: "Name: value", the last one NULL. Borrowed. */
void hth_client_set_headers(hth_client *client, const char *const *headers);

/* Whether the last call got a connection at all. */
bool hth_client_reached(const hth_client *client);

/* Server-sent events: true when the line is a `data:` field; *ret_data points into it. */
bool hth_sse_data(const char *line, size_t len, const char **ret_data, size_t *ret_len);

#endif
