/* hub.h - a nats-server that carries a neighbourhood's letters: its certificate, its configuration, and the process itself.
 *
 * In `folder` (mode 0700): hub.key and hub.crt (made once for an address; neighbours know the certificate by its SHA-256), nats.conf, and
 * users.conf with who may log in and what each may say and hear. Only lists of what is allowed (nats-server 2.9 lets a queue subscription
 * pass a denial), no user without a key, no accounts but the one, no monitoring, leaf, WebSocket, MQTT or JetStream. A hub is not trusted
 * with more: letters are sealed from home to home.
 *
 * The process is a child that may read its folder and the system's files and no other (Landlock), dies with this one (the kernel sees to
 * it), is started again with a growing pause when it ends, and reads its users again on a signal, when it cuts off whoever is not among
 * them any more. Thread: the loop's.
 */
#ifndef HTH_LINK_HUB_H
#define HTH_LINK_HUB_H

#include "link/link.h"

enum { HTH_HUB_RULES_MAX = 4, HTH_HUB_CERTIFICATE_MAX = 2048 };

/* One who may log in, by Ed25519 key; subjects may end in a wildcard token. Borrowed for the call. */
typedef struct hth_hub_user {
	unsigned char key[32];
	char publish[HTH_HUB_RULES_MAX][200], subscribe[HTH_HUB_RULES_MAX][200];
	size_t n_publish, n_subscribe; /* at least 1 each */
} hth_hub_user;

/* The other hub of a cluster. */
typedef struct hth_hub_peer {
	char route[HTH_LINK_ADDRESS_MAX];                   /* HOST:PORT of its cluster port */
	unsigned char certificate[HTH_HUB_CERTIFICATE_MAX]; /* DER */
	size_t certificate_len;
	char password[65];                                  /* both have the same; letters and digits */
} hth_hub_peer;

typedef struct hth_hub_options {
	const char *folder;  /* made when it is not there */
	/* HOST:PORT as others reach it; the port is listened to on HOST if that is this machine's, else on all addresses */
	const char *address;
	const char *name;    /* of the server, letters and digits */
	const char *program; /* the binary that has `__hub` as its first argument (hth_hub_main); NULL: /proc/self/exe */
	bool external;       /* only write users.conf: the owner runs the server */
	/* What the server says; a warning or worse. NULL: nobody listens. */
	void (*says)(void *ctx, bool bad, const char *line);
	void (*ready)(void *ctx); /* it takes connections, also with the users that were set last. May be NULL */
	void *ctx;
} hth_hub_options;

typedef struct hth_hub hth_hub;
/* Makes key and certificate where there are none for this address, and nothing else yet: the first hth_hub_set_users starts the server.
 * HTH_CONFLICT: the port is taken; HTH_NOT_FOUND: there is no nats-server on this machine. */
HTH_MUST_USE hth_status hth_hub_open(hth_hub **ret_hub, hth_loop *loop, const hth_hub_options *options, hth_error *err);
void hth_hub_close(hth_hub *hub); /* ends the server */
const unsigned char *hth_hub_fingerprint(const hth_hub *hub);
const unsigned char *hth_hub_certificate(const hth_hub *hub, size_t *ret_len); /* DER */
/* Where this machine's own connection goes: loopback, if the server listens there. */
const char *hth_hub_near(const hth_hub *hub);
HTH_MUST_USE hth_status hth_hub_set_users(hth_hub *hub, const hth_hub_user *users, size_t n, hth_error *err);
/* A cluster of two; NULL: alone. The cluster's port is the hub's port and one. Restarts the server when it changes. */
void hth_hub_set_peer(hth_hub *hub, const hth_hub_peer *peer);
bool hth_hub_is_running(const hth_hub *hub);
pid_t hth_hub_pid(const hth_hub *hub);           /* 0: it does not run */
const char *hth_hub_trouble(const hth_hub *hub); /* why it does not; "" */

/* `hearth __hub FILE`: becomes nats-server, tied to its parent's life. Does not return but on failure. */
int hth_hub_main(int argc, char **argv);
/* The nats-server that would run, and its version ("2.9.10"); HTH_NOT_FOUND. */
HTH_MUST_USE hth_status hth_hub_find_server(char *ret_path, size_t path_size, hth_error *err);
HTH_MUST_USE hth_status hth_hub_version(char ret_version[32], hth_error *err);

#endif
