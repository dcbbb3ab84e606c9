/* hub-internal.h - what the files of a hub share; nobody else includes it. */
#ifndef HTH_LINK_HUB_INTERNAL_H
#define HTH_LINK_HUB_INTERNAL_H

#include "base/buf.h"
#include "link/hub.h"

typedef struct hub_certificate {
	unsigned char der[HTH_HUB_CERTIFICATE_MAX], fingerprint[HTH_FINGERPRINT_BYTES];
	size_t len;
} hub_certificate;

/* Reads folder's, or makes one where there is none for host. */
hth_status hub_certificate_load(hub_certificate *ret, const char *folder, const char *host, hth_error *err);
/* A certificate of somebody else's as PEM; false: it is none. */
bool hub_certificate_pem(const unsigned char *der, size_t len, hth_buf *out);
/* The whole file at once or not at all, durable, mode 0600. */
hth_status hub_write_file(const char *folder, const char *name, const void *bytes, size_t len, hth_error *err);

#endif
