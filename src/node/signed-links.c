/* signed-links.c - where a node asks for keys, a browser cannot follow a citation: it has none. So whoever holds the scope `documents` is
 * given links that carry a signature: HMAC-SHA512-256 (libsodium's crypto_auth) of the document's id and the second at which it ends, with
 * a key that the node makes when it starts and keeps in memory. A link opens one document, all of its pages, for reading; it can neither be
 * made longer nor turned to another document, and ends with the node. Any thread.
 */
#include "node/signed-links.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HTH_LINK_KEY_BYTES == crypto_auth_KEYBYTES, "the key is crypto_auth's");
enum { TEXT_MAX = 160, DIGITS_MAX = 18 };

static void sign(const unsigned char key[HTH_LINK_KEY_BYTES], const char *document, int64_t expires, char out[2 * crypto_auth_BYTES + 1])
{
	char text[TEXT_MAX];
	unsigned char mac[crypto_auth_BYTES];
	int n = snprintf(text, sizeof text, "hearth document %.100s until %lld", document, (long long)expires);
	crypto_auth(mac, (const unsigned char *)text, (unsigned long long)n, key);
	sodium_bin2hex(out, 2 * crypto_auth_BYTES + 1, mac, sizeof mac);
}

void hth_link_sign(const unsigned char key[HTH_LINK_KEY_BYTES], const char *document, int64_t expires_unix, hth_buf *out)
{
	char signature[2 * crypto_auth_BYTES + 1];
	sign(key, document, expires_unix, signature);
	hth_buf_appendf(out, "&expires=%lld&signature=%s", (long long)expires_unix, signature);
}

bool hth_link_is_good(const unsigned char key[HTH_LINK_KEY_BYTES], const char *document, const char *expires, const char *signature,
                      int64_t now_unix)
{
	char right[2 * crypto_auth_BYTES + 1];
	if (expires == NULL || signature == NULL || strlen(signature) != sizeof right - 1 || expires[0] == '\0' ||
	    strlen(expires) > DIGITS_MAX || strspn(expires, "0123456789") != strlen(expires))
		return false;
	int64_t until = strtoll(expires, NULL, 10);
	sign(key, document, until, right);
	return sodium_memcmp(right, signature, sizeof right - 1) == 0 && now_unix < until;
}
