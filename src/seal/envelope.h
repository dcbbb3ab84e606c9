/* envelope.h - everything that travels between homes: sealed, signed, dated, and opened once.
 *
 * The transport is untrusted (DESIGN, section 4, NATS rule 3). Whoever carries an envelope sees its size (rounded up: the lengths of
 * single tokens would tell the words, Weiss et al. 2024, "What Was Your Prompt?") and who it is handed to, nothing else.
 *
 *    0         1                33
 *   +---------+----------------+----------------------------------------------+
 *   | version | ephemeral key  | XChaCha20-Poly1305 (contents, padded) + tag  |
 *   | u8 = 1  | X25519, 32     |                                              |
 *   +---------+----------------+----------------------------------------------+
 *   contents (canon.h): sender's id 32 | audience's id 32 | issued u64 | expires u64 | session u64 | nonce 16 | subject text |
 *             payload blob | Ed25519 signature 64; then 0x80 and zeros up to the padded size (ISO/IEC 7816-4, libsodium's sodium_pad)
 *
 *   secret, nonce of the cipher = BLAKE2b-448("hearth envelope 1" | X25519(ephemeral, audience's sealing key) | ephemeral key | audience's
 *   key), its first 32 and last 24 bytes; both are good for this one message, because the ephemeral key is. Hashing both public keys with
 *   the shared point is what libsodium's crypto_kx and crypto_box_seal do, and why (the point alone does not bind them). The version byte
 *   and the ephemeral key are the associated data.
 *   The signature (label "hearth envelope 1") is over the version, ephemeral key, audience's sealing key and all contents before it: nobody
 *   who opened an envelope can seal its contents again for somebody else, nor put another signer's name on them. It is inside, so the
 *   carrier does not learn the sender and cannot test guesses of the contents against it.
 *
 * What this gives: contents secret from all but the audience; sender certain; each envelope believed at most once, within its
 * dates, on its subject. The sender's later loss of its keys reveals nothing it sent; the audience's does reveal what was sent to it.
 *
 * Restarts: a receiver forgets nonces when it stops. So every envelope names the receiver's *session*, a number that a receiver
 * draws at each start; an old envelope names an old one. Who does not know it yet writes 0, and the receiver says so
 * (`no_session`): such a message may only be acted on where doing it twice does no harm (hello, join).
 */
#ifndef HTH_SEAL_ENVELOPE_H
#define HTH_SEAL_ENVELOPE_H

#include "seal/identity.h"

enum {
	HTH_ENVELOPE_MAX = (512 << 10) - 1, /* NATS rule 5: under 512 KiB */
	HTH_LETTER_PAYLOAD_MAX = 500 << 10,
	HTH_SUBJECT_MAX = 160,              /* with its NUL */
	HTH_ENVELOPE_LIFE_MAX_MS = 60000,   /* expires - issued */
	HTH_ENVELOPE_SKEW_MS = 30000,       /* how far two homes' clocks may be apart */
};

typedef struct hth_letter {
	const char *subject;
	uint64_t issued_ms, expires_ms; /* Unix time in milliseconds */
	uint64_t session;               /* the receiver's, 0: not known */
	const void *payload;            /* borrowed */
	size_t len;
} hth_letter;

/* Appends one envelope to out (which must have room for it: at most HTH_ENVELOPE_MAX). HTH_TOO_LARGE, HTH_INVALID: the letter cannot be
 * sent. */
HTH_MUST_USE hth_status hth_envelope_seal(hth_buf *out, const hth_identity *from, const hth_card *to, const hth_letter *letter,
                                          hth_error *err);

/* Where envelopes arrive. Belongs to one thread. */
typedef struct hth_inbox hth_inbox;
/* knows: whether letters of this home are read at all (a member of the neighbourhood, somebody with an invitation). identity is borrowed as
 * long as the inbox lives. session: random, not 0. */
HTH_MUST_USE hth_status hth_inbox_create(hth_inbox **ret_inbox, const hth_identity *identity, uint64_t session,
                                         bool (*knows)(void *ctx, const hth_home_id *sender), void *ctx, hth_error *err);
void hth_inbox_destroy(hth_inbox *inbox);
uint64_t hth_inbox_session(const hth_inbox *inbox);

typedef struct hth_opened {
	hth_home_id sender;
	uint64_t issued_ms;
	bool no_session;              /* its sender did not know this session: it may be a replay from before the start */
	const unsigned char *payload; /* borrowed from the inbox until its next call */
	size_t len;
} hth_opened;
/* Opens what arrived on `subject`. HTH_BAD_FORMAT: not an envelope for this home, altered or forged; HTH_TOO_LARGE; HTH_DENIED: unknown
 * sender, another subject or audience; HTH_TIMEOUT: expired, or from the future; HTH_GONE: it names an earlier session; HTH_CONFLICT: seen
 * before; HTH_BUSY: flooding. Nothing of it is handed out unless all is well. */
HTH_MUST_USE hth_status hth_inbox_open(hth_inbox *inbox, const char *subject, const void *bytes, size_t len, uint64_t now_ms,
                                       hth_opened *ret_opened, hth_error *err);

#endif
