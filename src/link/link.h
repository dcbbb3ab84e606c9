/* link.h - one connection to a neighbourhood's hub: TLS to a certificate known by its fingerprint, an Ed25519 key as login, subjects and
 * bytes.
 *
 * It dials out (no port is opened here), tries the hubs in turn and for ever with a jittered back-off. A hub that said nothing for 5 s is
 * asked for a sign of life (PING), and is lost when it gives none within 5 s more; while somebody waits for it (hth_link_urgent), 0.6 s and
 * 0.9 s. What is sent may be lost; what arrives is whatever the hub says: the caller opens envelopes and believes nothing else. Queues are
 * bounded both ways: what waits to be sent by HTH_LINK_QUEUE_MAX (then HTH_BUSY), what arrives by taking a slice at a time from the socket,
 * so that a hub that sends without end slows itself down and not this loop.
 *
 * Why not libnats: Debian 12's 3.4.1 has no way to pin a certificate, loses one signed login in 256 (a signature that begins with a zero
 * byte), and hands everything over from threads of its own. The client's half of the protocol is six verbs (nats-wire.h).
 *
 * All on the loop's thread, except that names are resolved on one of their own.
 */
#ifndef HTH_LINK_LINK_H
#define HTH_LINK_LINK_H

#include "loop/loop.h"

enum { HTH_LINK_HUBS_MAX = 8, HTH_LINK_SUBJECTS_MAX = 4, HTH_LINK_ADDRESS_MAX = 128, HTH_LINK_QUEUE_MAX = 8 << 20,
       HTH_FINGERPRINT_BYTES = 32 };

typedef struct hth_link_hub {
	char address[HTH_LINK_ADDRESS_MAX]; /* HOST:PORT, [V6]:PORT */
	unsigned char fingerprint[HTH_FINGERPRINT_BYTES]; /* SHA-256 of its certificate */
} hth_link_hub;

/* Who logs in. sign: an Ed25519 signature over the hub's nonce with `key`'s secret half; false: it will not sign this. */
typedef struct hth_link_login {
	unsigned char key[32];
	bool (*sign)(void *ctx, const void *nonce, size_t len, unsigned char ret_signature[64]);
	void *ctx;
} hth_link_login;

/* Called from the loop, never from inside a function below. */
typedef struct hth_link_events {
	void *ctx;
	void (*up)(void *ctx, const hth_link_hub *hub);
	/* The connection was lost, or an attempt failed; it goes on trying. HTH_DENIED: the hub does not know this key (any more);
	 * HTH_UNAUTHORIZED: another certificate than the one that was pinned. */
	void (*down)(void *ctx, const hth_link_hub *hub, bool was_up, const hth_error *why);
	void (*message)(void *ctx, const char *subject, const void *bytes, size_t len);
} hth_link_events;

typedef struct hth_link hth_link;
HTH_MUST_USE hth_status hth_link_open(hth_link **ret_link, hth_loop *loop, const hth_link_login *login, const hth_link_events *events,
                                      hth_error *err);
void hth_link_close(hth_link *link); /* not from inside an event */
/* The hubs, the one to try first first. A connection to a hub that is not among them any more is dropped. */
void hth_link_set_hubs(hth_link *link, const hth_link_hub *hubs, size_t n);
/* Before the first connection, and kept over reconnects. */
HTH_MUST_USE hth_status hth_link_subscribe(hth_link *link, const char *subject, hth_error *err);
/* HTH_BUSY: there is no connection, or too much waits already. HTH_OK: it is on its way to the hub, no more. */
HTH_MUST_USE hth_status hth_link_send(hth_link *link, const char *subject, const void *bytes, size_t len, hth_error *err);
bool hth_link_is_up(const hth_link *link);
size_t hth_link_waiting(const hth_link *link); /* bytes that are not on the wire yet */
const hth_link_hub *hth_link_current(const hth_link *link); /* NULL: not connected */
/* Somebody waits for what should come over it: silence is looked into at once, and another hub is tried 1.5 s after the last sign of
 * life. */
void hth_link_urgent(hth_link *link, bool urgent);
/* The first of the hubs is there now: it is tried at once rather than at the end of the pause, and what is at another one moves to it. */
void hth_link_retry(hth_link *link);

typedef struct hth_link_counts {
	uint64_t sent_bytes, received_bytes; /* on the wire inside TLS, since it was opened */
	uint64_t connects, failures;
} hth_link_counts;
hth_link_counts hth_link_count(const hth_link *link);

/* "HOST:PORT" or "[V6]:PORT" taken apart; false: it is neither. */
bool hth_link_split(const char *address, char ret_host[HTH_LINK_ADDRESS_MAX], char ret_port[6]);

#endif
