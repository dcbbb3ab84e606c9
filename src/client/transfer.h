/* transfer.h - one HTTP exchange with a server of the outside, with everything that a download, an upstream or a fetch needs to say.
 *
 * Blocking; any thread, each call for itself. The answer goes to callbacks as it comes. Redirects are followed one by one so that
 * each hop can be allowed and recorded: never from https to http, never more than max_redirects, and `secret` stays with the
 * scheme, host and port that it was given for. No proxy is used: what is recorded is who was really spoken to.
 */
#ifndef HTH_CLIENT_TRANSFER_H
#define HTH_CLIENT_TRANSFER_H

#include "base/status.h"

#include <stdint.h>

enum { HTH_TRANSFER_URL_MAX = 8192, HTH_TRANSFER_HOST_MAX = 256 };

/* The head of the last answer (not of redirects). Texts are "" and numbers -1 where the server did not say. */
typedef struct hth_transfer_head {
	int code;
	int64_t length;                 /* of this answer's body */
	int64_t range_from, range_total; /* of a 206 (or 416: total) */
	int64_t retry_after_s;
	char etag[256], last_modified[64], type[128];
	char challenge[1024];           /* WWW-Authenticate */
	char next[2048];                /* Link: <...>; rel="next" */
	char host[HTH_TRANSFER_HOST_MAX]; /* who answered */
} hth_transfer_head;

/* One connection that was made or refused: host without port. */
typedef struct hth_transfer_hop {
	const char *host;
	uint64_t sent_bytes, received_bytes;
	bool allowed;
	const char *url; /* borrowed; NULL where it was refused before it was asked */
} hth_transfer_hop;

typedef struct hth_transfer {
	const char *method;         /* NULL: GET, or POST with a body */
	const char *url;            /* http or https */
	const char *const *headers; /* "Name: value" */
	size_t n_headers;
	const char *secret;         /* a whole header such as "Authorization: Bearer ..."; NULL: none */
	const void *body;           /* NULL: none */
	size_t body_len;
	const char *type;           /* of the body; NULL: application/json */
	uint64_t max_bytes;         /* of the answer's body; 0: no limit. HTH_TOO_LARGE */
	unsigned connect_ms;        /* 0: 15000 */
	unsigned stall_s;           /* gives up (HTH_TIMEOUT) when nothing came for so long; 0: never */
	unsigned total_ms;          /* 0: as long as it takes */
	unsigned max_redirects;     /* 0: a redirect is an answer like others */
	/* All may be NULL. allow is asked before each hop; on false it has filled err. address_ok is asked about each numeric address
	 * before it is connected to, so what was looked up is what is checked. */
	bool (*allow)(void *ctx, const char *scheme, const char *host, unsigned port, hth_error *err);
	bool (*address_ok)(void *ctx, const char *address);
	bool (*head)(void *ctx, const hth_transfer_head *head);     /* false stops: HTH_CANCELLED */
	bool (*data)(void *ctx, const void *data, size_t len);      /* the same */
	void (*hop)(void *ctx, const hth_transfer_hop *hop);
	bool (*cancelled)(void *ctx);                               /* looked at ten times a second and whenever bytes come */
	void *ctx;
} hth_transfer;

/* CAs (a file of PEM certificates) to trust beside the system's, in every transfer from now on; "" or NULL: none. Before any thread begins
 * one. */
void hth_transfer_trust(const char *ca_file);

/* HTH_OK when an answer came whole, whatever its code. Else: HTH_GONE (nobody there, or cut), HTH_TIMEOUT, HTH_TOO_LARGE, HTH_DENIED (a
 * redirect or an address that is not allowed), HTH_CANCELLED, HTH_INVALID (no http URL). *ret_head is filled as far as known. */
HTH_MUST_USE hth_status hth_transfer_run(const hth_transfer *transfer, hth_transfer_head *ret_head, hth_error *err);

/* The same, the whole body in memory (NUL after its end, caller frees); at most max_bytes, which must be set. data is ignored. */
HTH_MUST_USE hth_status hth_transfer_get(const hth_transfer *transfer, hth_transfer_head *ret_head, char **ret_body, size_t *ret_len,
                                         hth_error *err);

/* Whether a numeric address is one of the public Internet: not this machine, not this house, nothing reserved (IANA's special-purpose
 * registries), nor an IPv6 address that carries such an IPv4 one. */
bool hth_address_is_public(const char *address);

/* A URL's parts; false when it is no http or https URL with a host. Any ret_ may be NULL. */
bool hth_url_split(const char *url, char ret_scheme[8], char ret_host[HTH_TRANSFER_HOST_MAX], unsigned *ret_port);
/* A reference (absolute or relative) as an absolute http or https URL, seen from base. Caller frees; NULL: it is none, or no memory. */
char *hth_url_resolve(const char *base, const char *reference);
/* s with everything but letters, digits and -._~/ percent-encoded. Caller frees; NULL: no memory. */
char *hth_url_escape_path(const char *s);

#endif
