/* nonces.h - which messages were seen already, in bounded memory.
 *
 * Every sender has its own two sets: the one being filled and the one before it. A set is filled for `keep_ms` or until it is thrown away
 * by the next turn, so whatever was noted is remembered for at least keep_ms: as long as the receiver would still believe the message's
 * dates. A sender that fills its set (HTH_NONCES_MAX within keep_ms: a thousand a second in an envelope's life) is refused until the turn,
 * and pushes out nobody else's memory. What senders have beyond 2,048 each is bounded together (128 MiB). Pure; no clock inside.
 */
#ifndef HTH_SEAL_NONCES_H
#define HTH_SEAL_NONCES_H

#include "seal/identity.h"

enum { HTH_NONCE_BYTES = 16, HTH_NONCES_MAX = 1 << 17, HTH_NONCE_SENDERS_MAX = 1024 };

typedef struct hth_nonces hth_nonces;
HTH_MUST_USE hth_status hth_nonces_create(hth_nonces **ret_nonces, uint64_t keep_ms, hth_error *err);
void hth_nonces_destroy(hth_nonces *nonces);
/* HTH_CONFLICT: this sender's nonce was noted before. HTH_BUSY: too many of this sender's within keep_ms, or too many senders. */
HTH_MUST_USE hth_status hth_nonces_note(hth_nonces *nonces, const hth_home_id *sender, const unsigned char nonce[HTH_NONCE_BYTES],
                                        uint64_t now_ms, hth_error *err);

#endif
