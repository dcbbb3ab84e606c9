/* utf8.h - UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef HTH_BASE_UTF8_H
#define HTH_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes one character at s (len bytes available, len > 0). Returns its length in bytes (1 to 4) and sets
 * *ret_cp, or returns 0 when the bytes there are not (yet) a whole valid character. */
size_t hth_utf8_decode(const char *s, size_t len, uint32_t *ret_cp);
/* As above, but bytes that are no character count as one U+FFFD of length 1. Never returns 0. */
size_t hth_utf8_decode_lossy(const char *s, size_t len, uint32_t *ret_cp);
/* Writes cp (a valid scalar value; anything else becomes U+FFFD) to out[4]; returns 1 to 4. */
size_t hth_utf8_encode(uint32_t cp, char out[4]);
/* Returns len when all of s is valid, else the offset of the first byte that is not. */
size_t hth_utf8_valid_prefix(const char *s, size_t len);
/* How many bytes at the end of s are the beginning of a character that more bytes may complete (0 to 3). */
size_t hth_utf8_incomplete_suffix(const char *s, size_t len);

#endif
