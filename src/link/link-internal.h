/* link-internal.h - what the files of a connection share; nobody else includes it. */
#ifndef HTH_LINK_LINK_INTERNAL_H
#define HTH_LINK_LINK_INTERNAL_H

#include "link/link.h"
#include "link/nats-wire.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

enum { LINK_ADDRESSES_MAX = 8 };

typedef struct link_address {
	struct sockaddr_storage name;
	socklen_t len;
} link_address;

/* resolve.c: what a host's name stands for. One question at a time. */
typedef struct link_resolver link_resolver;
/* n 0: why says why not. */
typedef void (*link_resolved_fn)(void *ctx, const link_address *list, size_t n, const hth_error *why);
hth_status link_resolver_open(link_resolver **ret_resolver, hth_loop *loop, link_resolved_fn fn, void *ctx, hth_error *err);
void link_resolver_close(link_resolver *resolver); /* may wait for the system's resolver */
void link_resolver_ask(link_resolver *resolver, const char *host, const char *port); /* an earlier question's answer is dropped */
void link_resolver_forget(link_resolver *resolver);

/* tls.c: TLS whose other side is known by its certificate's fingerprint, and by nothing else. */
typedef struct link_tls link_tls;
hth_status link_tls_open(link_tls **ret_tls, int fd, const unsigned char fingerprint[HTH_FINGERPRINT_BYTES], hth_error *err);
void link_tls_close(link_tls *tls);
typedef enum link_io { LINK_IO_DONE, LINK_IO_READ, LINK_IO_WRITE, LINK_IO_ENDED } link_io; /* READ, WRITE: when the socket can */
link_io link_tls_handshake(link_tls *tls, hth_error *err);
link_io link_tls_read(link_tls *tls, void *to, size_t size, size_t *ret_n, hth_error *err);
link_io link_tls_write(link_tls *tls, const void *from, size_t n, size_t *ret_n, hth_error *err);

#endif
