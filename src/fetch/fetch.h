/* fetch.h - one page of the outside for a model that asked for it (the tool web_fetch): off unless the owner lists hosts.
 *
 * Blocking; any thread. What may be fetched: http and https, GET, from hosts on the list, at addresses of the public Internet (looked at
 * where the socket is made, so a name cannot mean one address to the check and another to the connection), redirects by the same rules,
 * text of any kind, up to max_bytes, within total_ms. HTML becomes plain text with its title and links. Every connection, and every one
 * that was refused, is in the egress log with its reason. No cookie, key or referrer is sent.
 */
#ifndef HTH_FETCH_FETCH_H
#define HTH_FETCH_FETCH_H

#include "base/status.h"

#include <stdint.h>

enum { HTH_FETCH_BYTES_MAX = 16 << 20 };

typedef struct hth_fetch_options {
	const char *home;      /* of the egress log */
	const char *hosts;     /* comma-separated: "example.org", ".example.org" (names below it too), "example.org:8080"; "": nothing */
	uint64_t max_bytes;    /* more is cut off; 0: 1 MiB; at most HTH_FETCH_BYTES_MAX */
	unsigned total_ms;     /* 0: 10000 */
	const char *reason;    /* for the log: "web_fetch for req-..."; never words of a prompt */
	bool (*address_ok)(void *ctx, const char *address); /* NULL: public addresses only */
	bool (*cancelled)(void *ctx);                       /* may be NULL */
	void *ctx;
} hth_fetch_options;

typedef struct hth_fetch_link {
	char *url, *text; /* owned */
} hth_fetch_link;

typedef struct hth_fetch_result {
	int code;        /* of HTTP */
	char type[128];  /* "text/html; charset=utf-8" */
	char *text;      /* owned; valid UTF-8 (what is not becomes U+FFFD), NUL after its end; of HTML, its plain text (page-text.h) */
	size_t len;
	bool cut;        /* there was more */
	char *url;       /* owned; where it was found in the end, after redirects */
	char *title;     /* owned; of HTML; NULL: none */
	hth_fetch_link *links; /* owned; of HTML: absolute http and https ones, in their order */
	size_t n_links;
} hth_fetch_result;

/* HTH_DENIED: not on the list, or not a public address, or fetching is off; HTH_UNSUPPORTED: no text; HTH_GONE, HTH_TIMEOUT,
 * HTH_CANCELLED. */
HTH_MUST_USE hth_status hth_fetch(const char *url, const hth_fetch_options *options, hth_fetch_result *ret_result, hth_error *err);
void hth_fetch_result_finish(hth_fetch_result *result);
/* Whether the list allows this host and port. */
bool hth_fetch_allows(const char *hosts, const char *scheme, const char *host, unsigned port);

#endif
