/* invitation.h - one line of text that lets one home in, once.
 *
 *   hearth1.BASE64URL   of the canonical bytes below and the first 8 bytes of their hash, which catch a slip of the pen
 *   hub text | certificate's fingerprint (SHA-256) 32 | secret 16 | inviter's id 32 | inviter's sealing key 32 | neighbourhood's id 32 |
 *   neighbourhood's name text | expires u64 (Unix ms)
 *
 * Whoever has the line can join in its bearer's place: it is to be handed over like a key. What protects the bearer: the fingerprint (no
 * other hub can pass for this one) and the sealing key (nobody but the inviter can read the application, which carries the secret). The
 * inviter keeps only a hash of the secret, in a *book*: each entry lets in one home. Pure; times are given.
 */
#ifndef HTH_CHARTER_INVITATION_H
#define HTH_CHARTER_INVITATION_H

#include "seal/identity.h"

enum { HTH_HUB_MAX = 128, HTH_SECRET_BYTES = 16, HTH_INVITATION_LINE_MAX = 640, HTH_INVITATIONS_MAX = 64 };

typedef struct hth_invitation {
	char hub[HTH_HUB_MAX]; /* HOST:PORT */
	unsigned char fingerprint[32], secret[HTH_SECRET_BYTES];
	hth_card inviter; /* its signature is zeros: the line vouches for it */
	unsigned char pool_id[HTH_HASH_BYTES];
	char pool_name[64];
	uint64_t expires_ms;
} hth_invitation;

HTH_MUST_USE hth_status hth_invitation_write(const hth_invitation *invitation, char ret_line[HTH_INVITATION_LINE_MAX], hth_error *err);
/* Blanks and line ends around it are forgiven. HTH_BAD_FORMAT: not an invitation, or altered; HTH_TIMEOUT: expired at now_ms. */
HTH_MUST_USE hth_status hth_invitation_read(hth_invitation *ret_invitation, const char *line, uint64_t now_ms, hth_error *err);

typedef struct hth_invitation_book hth_invitation_book;
HTH_MUST_USE hth_status hth_invitation_book_create(hth_invitation_book **ret_book, hth_error *err);
void hth_invitation_book_destroy(hth_invitation_book *book);
/* HTH_BUSY: HTH_INVITATIONS_MAX are open. */
HTH_MUST_USE hth_status hth_invitation_book_add(hth_invitation_book *book, const unsigned char secret[HTH_SECRET_BYTES],
                                                uint64_t expires_ms, uint64_t now_ms, hth_error *err);
/* Lets `guest` in: HTH_OK. HTH_DENIED: there is no such invitation, or somebody else used it; HTH_TIMEOUT: it has expired. The same guest
 * may ask again until it expires (the answer may have been lost). */
HTH_MUST_USE hth_status hth_invitation_book_redeem(hth_invitation_book *book, const unsigned char secret[HTH_SECRET_BYTES],
                                                   const hth_home_id *guest, uint64_t now_ms, hth_error *err);
/* This guest has been in and is out again: what it came with lets it in no more. True: there was something. */
bool hth_invitation_book_spend(hth_invitation_book *book, const hth_home_id *guest);
size_t hth_invitation_book_open(const hth_invitation_book *book, uint64_t now_ms); /* neither used nor expired */
void hth_invitation_book_revoke(hth_invitation_book *book); /* all of them */
/* For the disk. A redemption must be written before the guest is told. */
void hth_invitation_book_encode(const hth_invitation_book *book, hth_buf *out);
HTH_MUST_USE hth_status hth_invitation_book_decode(hth_invitation_book **ret_book, const void *bytes, size_t len, hth_error *err);

#endif
