/* identity.h - who a home is: keys made at its first start, in $HEARTH_HOME/identity.key.
 *
 * The file holds one random 32-byte seed. Two keys are derived from it and used for one purpose each (key separation): an Ed25519 key
 * that signs, whose public half is the home's name to others (hth_home_id), and an X25519 key that envelopes are sealed to. A *card* is
 * what others need to know of a home: both public keys, and a signature by the first that the second belongs to it.
 *
 * Every signature is over a label that says what is signed, so that no signature can be taken for one of another kind.
 * Sources: RFC 8032 (Ed25519), RFC 7748 (X25519), both as in libsodium; crypto_kdf (BLAKE2b with subkey number and context) derives.
 */
#ifndef HTH_SEAL_IDENTITY_H
#define HTH_SEAL_IDENTITY_H

#include "base/buf.h"
#include "seal/canon.h"

#include <stdint.h>
#include <string.h>

enum { HTH_SIGNATURE_BYTES = 64, HTH_SEED_BYTES = 32, HTH_HASH_BYTES = 32, HTH_HOME_ID_TEXT = 65 };

typedef struct hth_home_id {
	unsigned char bytes[32]; /* an Ed25519 public key */
} hth_home_id;

typedef struct hth_card {
	hth_home_id id;
	unsigned char box_key[32]; /* X25519 public key */
	unsigned char signature[HTH_SIGNATURE_BYTES];
} hth_card;

typedef struct hth_identity hth_identity; /* secrets in guarded memory, wiped when destroyed */

/* Reads home's identity, making it (0600, durable) where there is none. HTH_DENIED: others may read the file, or it is not this user's. */
HTH_MUST_USE hth_status hth_identity_load(hth_identity **ret_identity, const char *home, hth_error *err);
/* From a seed that the caller keeps secret: tests and simulations. */
HTH_MUST_USE hth_status hth_identity_from_seed(hth_identity **ret_identity, const unsigned char seed[HTH_SEED_BYTES], hth_error *err);
void hth_identity_destroy(hth_identity *identity);
const hth_card *hth_identity_card(const hth_identity *identity); /* borrowed from identity */

/* label: what kind of thing is signed, 1 to 32 characters, a constant of the program. Signing is deterministic. */
void hth_identity_sign(const hth_identity *identity, const char *label, const void *bytes, size_t len,
                       unsigned char ret_signature[HTH_SIGNATURE_BYTES]);
/* Logs in with what somebody else chose: a plain Ed25519 signature over a nonce of 8 to 48 bytes. False: it has another length. Everything
 * else that homes sign is a hash of exactly 64 bytes, so no nonce can be one of those, whoever chooses it. */
HTH_MUST_USE bool hth_identity_sign_nonce(const hth_identity *identity, const void *nonce, size_t len,
                                          unsigned char ret_signature[HTH_SIGNATURE_BYTES]);
bool hth_home_verify(const hth_home_id *id, const char *label, const void *bytes, size_t len,
                     const unsigned char signature[HTH_SIGNATURE_BYTES]);
/* X25519 with this home's sealing key; false when theirs is one of the few points that give a known secret. */
bool hth_identity_agree(const hth_identity *identity, const unsigned char theirs[32], unsigned char ret_shared[32]);

bool hth_card_is_valid(const hth_card *card);
void hth_card_put(hth_buf *out, const hth_card *card);
void hth_card_get(hth_canon_reader *reader, hth_card *ret_card); /* fails the reader when the card is not valid */

static inline bool hth_home_id_equal(const hth_home_id *a, const hth_home_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
int hth_home_id_compare(const hth_home_id *a, const hth_home_id *b); /* order of the bytes */
void hth_home_id_text(const hth_home_id *id, char ret_text[HTH_HOME_ID_TEXT]); /* hexadecimal */

/* BLAKE2b-256 over the label and the bytes: the one hash that chains and charters use. */
void hth_seal_hash(const char *label, const void *bytes, size_t len, unsigned char ret_hash[HTH_HASH_BYTES]);
/* Random bytes from the kernel. */
void hth_seal_random(void *to, size_t n);

#endif
