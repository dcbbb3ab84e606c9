/* signed-links.h - links to documents that a browser can open without a key, for some hours. */
#ifndef HTH_NODE_SIGNED_LINKS_H
#define HTH_NODE_SIGNED_LINKS_H

#include "base/buf.h"

#include <stdint.h>

enum { HTH_LINK_KEY_BYTES = 32, HTH_LINK_S = 12 * 3600 };

/* Appends "&expires=UNIX&signature=HEX" to a link of this document (index/view.h has what its id is), good before expires_unix. Any
 * thread. */
void hth_link_sign(const unsigned char key[HTH_LINK_KEY_BYTES], const char *document, int64_t expires_unix, hth_buf *out);
/* Whether what came with a link was written by hth_link_sign for this document, and its time is not over; compared in constant time.
 * expires and signature may be NULL. */
bool hth_link_is_good(const unsigned char key[HTH_LINK_KEY_BYTES], const char *document, const char *expires, const char *signature,
                      int64_t now_unix);

#endif
