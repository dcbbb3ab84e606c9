/* canon.h - the one way in which anything that homes sign or send each other is written as bytes.
 *
 * Fields stand in a fixed order without names: integers little-endian at full width, fixed byte strings as they are, variable ones after
 * a u32 length, truth as one byte that is 0 or 1, text as UTF-8 without control characters. There is exactly one encoding of every
 * value, so that a hash or a signature over the bytes is one over the value; a decoder that ends with hth_canon_end has
 * refused everything else. Reading is bounded: nothing is allocated here, and a length is believed only up to the reader's own limit.
 */
#ifndef HTH_SEAL_CANON_H
#define HTH_SEAL_CANON_H

#include "base/buf.h"

#include <stdint.h>

/* ---- writing: appends to out, whose cap and `failed` say whether all went in ---- */
void hth_canon_put_u8(hth_buf *out, uint8_t value);
void hth_canon_put_bool(hth_buf *out, bool value);
void hth_canon_put_u16(hth_buf *out, uint16_t value);
void hth_canon_put_u32(hth_buf *out, uint32_t value);
void hth_canon_put_u64(hth_buf *out, uint64_t value);
void hth_canon_put_bytes(hth_buf *out, const void *bytes, size_t n); /* fixed size: no length is written */
void hth_canon_put_blob(hth_buf *out, const void *bytes, size_t n);
void hth_canon_put_text(hth_buf *out, const char *text);

/* ---- reading: after the first field that is not there or not canonical, everything reads as zero and `failed` stays ---- */
typedef struct hth_canon_reader {
	const unsigned char *at, *end;
	bool failed;
} hth_canon_reader;
hth_canon_reader hth_canon_read(const void *bytes, size_t len);
uint8_t hth_canon_get_u8(hth_canon_reader *reader);
bool hth_canon_get_bool(hth_canon_reader *reader);
uint16_t hth_canon_get_u16(hth_canon_reader *reader);
uint32_t hth_canon_get_u32(hth_canon_reader *reader);
uint64_t hth_canon_get_u64(hth_canon_reader *reader);
void hth_canon_get_bytes(hth_canon_reader *reader, void *to, size_t n);
/* Borrowed from what is read; NULL and 0 on failure (and where it is empty, NULL may be returned). */
const unsigned char *hth_canon_get_blob(hth_canon_reader *reader, size_t max, size_t *ret_len);
/* At most size - 1 bytes of UTF-8 without control characters; `to` is "" on failure. */
void hth_canon_get_text(hth_canon_reader *reader, char *to, size_t size);
/* True when every field was there and nothing is left. */
bool hth_canon_end(const hth_canon_reader *reader);

/* Whether text could be written: UTF-8, no control characters (C0, DEL, C1), not longer than size - 1. */
bool hth_canon_is_text(const char *text, size_t len, size_t size);

#endif
