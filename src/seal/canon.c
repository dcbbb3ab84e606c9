/* canon.c - canonical bytes; see canon.h. Pure, any thread. */
#include "seal/canon.h"

#include "base/mem.h"
#include "base/utf8.h"

static void put_number(hth_buf *out, uint64_t value, size_t width)
{
	unsigned char bytes[8];
	for (size_t i = 0; i < width; i++)
		bytes[i] = (unsigned char)(value >> (8 * i));
	hth_buf_append(out, bytes, width);
}

void hth_canon_put_u8(hth_buf *out, uint8_t value) { put_number(out, value, 1); }
void hth_canon_put_bool(hth_buf *out, bool value) { put_number(out, value, 1); }
void hth_canon_put_u16(hth_buf *out, uint16_t value) { put_number(out, value, 2); }
void hth_canon_put_u32(hth_buf *out, uint32_t value) { put_number(out, value, 4); }
void hth_canon_put_u64(hth_buf *out, uint64_t value) { put_number(out, value, 8); }
void hth_canon_put_bytes(hth_buf *out, const void *bytes, size_t n) { hth_buf_append(out, bytes, n); }

void hth_canon_put_blob(hth_buf *out, const void *bytes, size_t n)
{
	if (n > UINT32_MAX) {
		out->failed = true;
		return;
	}
	hth_canon_put_u32(out, (uint32_t)n);
	hth_buf_append(out, bytes, n);
}

void hth_canon_put_text(hth_buf *out, const char *text)
{
	size_t n = strlen(text);
	if (!hth_canon_is_text(text, n, n + 1))
		out->failed = true; /* no reader would take it */
	hth_canon_put_blob(out, text, n);
}

hth_canon_reader hth_canon_read(const void *bytes, size_t len)
{
	return (hth_canon_reader){.at = bytes, .end = len > 0 ? (const unsigned char *)bytes + len : bytes};
}

static const unsigned char *take(hth_canon_reader *reader, size_t n)
{
	if (reader->failed || n > (size_t)(reader->end - reader->at)) {
		reader->failed = true;
		return NULL;
	}
	const unsigned char *at = reader->at;
	reader->at += n;
	return at;
}

static uint64_t get_number(hth_canon_reader *reader, size_t width)
{
	const unsigned char *at = take(reader, width);
	uint64_t value = 0;
	for (size_t i = 0; at != NULL && i < width; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

uint8_t hth_canon_get_u8(hth_canon_reader *reader) { return (uint8_t)get_number(reader, 1); }
uint16_t hth_canon_get_u16(hth_canon_reader *reader) { return (uint16_t)get_number(reader, 2); }
uint32_t hth_canon_get_u32(hth_canon_reader *reader) { return (uint32_t)get_number(reader, 4); }
uint64_t hth_canon_get_u64(hth_canon_reader *reader) { return get_number(reader, 8); }

bool hth_canon_get_bool(hth_canon_reader *reader)
{
	uint64_t value = get_number(reader, 1);
	if (value > 1)
		reader->failed = true;
	return value == 1;
}

void hth_canon_get_bytes(hth_canon_reader *reader, void *to, size_t n)
{
	const unsigned char *at = take(reader, n);
	if (at != NULL && n > 0)
		memcpy(to, at, n);
	else
		memset(to, 0, n);
}

const unsigned char *hth_canon_get_blob(hth_canon_reader *reader, size_t max, size_t *ret_len)
{
	size_t n = hth_canon_get_u32(reader);
	if (n > max)
		reader->failed = true;
	const unsigned char *at = take(reader, n);
	*ret_len = at != NULL ? n : 0;
	return at;
}

void hth_canon_get_text(hth_canon_reader *reader, char *to, size_t size)
{
	size_t n;
	const unsigned char *at = hth_canon_get_blob(reader, size - 1, &n);
	to[0] = '\0';
	if (at == NULL || !hth_canon_is_text((const char *)at, n, size)) {
		reader->failed = true;
		return;
	}
	memcpy(to, at, n);
	to[n] = '\0';
}

bool hth_canon_end(const hth_canon_reader *reader) { return !reader->failed && reader->at == reader->end; }

bool hth_canon_is_text(const char *text, size_t len, size_t size)
{
	if (len >= size || hth_utf8_valid_prefix(text, len) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0)) /* valid: a C2 has a next byte */
			return false;
	}
	return true;
}
