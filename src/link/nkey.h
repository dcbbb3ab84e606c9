/* nkey.h - an Ed25519 public key as NATS writes it: base32 of a prefix byte, the key, and a checksum; 56 letters, 'U' first for a user.
 * Source: NATS's ADR-14 (nkeys): prefix 20 << 3, CRC-16/XMODEM little-endian, RFC 4648 base32 without padding. */
#ifndef HTH_LINK_NKEY_H
#define HTH_LINK_NKEY_H

enum { HTH_NKEY_TEXT = 57 };

void hth_nkey_text(const unsigned char key[32], char ret_text[HTH_NKEY_TEXT]);

#endif
