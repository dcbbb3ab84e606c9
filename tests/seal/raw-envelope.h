/* raw-envelope.h - the construction of seal/envelope.h a second time, written from its description: what a hostile home can make and
 * see. */
#ifndef TESTS_RAW_ENVELOPE_H
#define TESTS_RAW_ENVELOPE_H

#include "seal/envelope.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { RAW_HEAD = 33, RAW_TAG = 16 };

static void raw_key(unsigned char key[56], const unsigned char shared[32], const unsigned char ephemeral[32],
                    const unsigned char theirs[32])
{
	crypto_generichash_state state;
	crypto_generichash_init(&state, NULL, 0, 56);
	crypto_generichash_update(&state, (const unsigned char *)"hearth envelope 1", 17);
	crypto_generichash_update(&state, shared, 32);
	crypto_generichash_update(&state, ephemeral, 32);
	crypto_generichash_update(&state, theirs, 32);
	crypto_generichash_final(&state, key, 56);
}

/* The head that every raw envelope has: its ephemeral key is always the same. */
__attribute__((unused)) static void raw_head(unsigned char head[RAW_HEAD])
{
	unsigned char secret[32];
	memset(secret, 7, sizeof secret);
	head[0] = 1;
	crypto_scalarmult_base(head + 1, secret);
}

/* Seals contents (signature included, or whatever stands in its place) to a card; returns the envelope's size. */
__attribute__((unused)) static size_t raw_seal(const hth_card *to, const void *contents, size_t len, unsigned char *out)
{
	unsigned char secret[32], shared[32], key[56];
	memset(secret, 7, sizeof secret);
	raw_head(out);
	if (crypto_scalarmult(shared, secret, to->box_key) != 0)
		abort();
	raw_key(key, shared, out + 1, to->box_key);
	size_t step = len + 1 > 8192 ? 4096 : 512, padded = (len + step) / step * step;
	unsigned char *plain = calloc(1, padded);
	memcpy(plain, contents, len);
	plain[len] = 0x80;
	crypto_aead_xchacha20poly1305_ietf_encrypt(out + RAW_HEAD, NULL, plain, padded, out, RAW_HEAD, NULL, key + 32, key);
	free(plain);
	return RAW_HEAD + padded + RAW_TAG;
}

/* The contents of an envelope that this home was sent, without padding; 0 when it cannot. */
__attribute__((unused)) static size_t raw_open(const hth_identity *me, const void *bytes, size_t len, unsigned char *out)
{
	const unsigned char *e = bytes;
	unsigned char shared[32], key[56];
	unsigned long long n;
	size_t contents;
	if (!hth_identity_agree(me, e + 1, shared))
		return 0;
	raw_key(key, shared, e + 1, hth_identity_card(me)->box_key);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, &n, NULL, e + RAW_HEAD, len - RAW_HEAD, e, RAW_HEAD, key + 32, key) != 0 ||
	    sodium_unpad(&contents, out, n, n) != 0)
		return 0;
	return contents;
}

#endif
