#include "base/utf8.h"

/* Length that the lead byte promises, and the range its second byte must be in (RFC 3629, section 4). */
static size_t lead(unsigned char c, unsigned char *ret_lo, unsigned char *ret_hi)
{
	*ret_lo = 0x80;
	*ret_hi = 0xBF;
	if (c < 0x80)
		return 1;
	if (c < 0xC2)
		return 0;
	if (c < 0xE0)
		return 2;
	if (c < 0xF0) {
		if (c == 0xE0)
			*ret_lo = 0xA0;
		if (c == 0xED)
			*ret_hi = 0x9F;
		return 3;
	}
	if (c < 0xF5) {
		if (c == 0xF0)
			*ret_lo = 0x90;
		if (c == 0xF4)
			*ret_hi = 0x8F;
		return 4;
	}
	return 0;
}

size_t hth_utf8_decode(const char *s, size_t len, uint32_t *ret_cp)
{
	unsigned char lo, hi;
	unsigned char c = (unsigned char)s[0];
	size_t n = lead(c, &lo, &hi);
	if (n == 0 || n > len)
		return 0;
	if (n == 1) {
		*ret_cp = c;
		return 1;
	}
	uint32_t cp = c & (0x7Fu >> n);
	for (size_t i = 1; i < n; i++) {
		unsigned char b = (unsigned char)s[i];
		if (b < lo || b > hi)
			return 0;
		cp = cp << 6 | (b & 0x3F);
		lo = 0x80;
		hi = 0xBF;
	}
	*ret_cp = cp;
	return n;
}

size_t hth_utf8_decode_lossy(const char *s, size_t len, uint32_t *ret_cp)
{
	size_t n = hth_utf8_decode(s, len, ret_cp);
	if (n > 0)
		return n;
	*ret_cp = 0xFFFD;
	return 1;
}

size_t hth_utf8_encode(uint32_t cp, char out[4])
{
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
		cp = 0xFFFD;
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xC0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3F));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xE0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
		out[2] = (char)(0x80 | (cp & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
	out[3] = (char)(0x80 | (cp & 0x3F));
	return 4;
}

size_t hth_utf8_valid_prefix(const char *s, size_t len)
{
	size_t i = 0;
	while (i < len) {
		uint32_t cp;
		size_t n = hth_utf8_decode(s + i, len - i, &cp);
		if (n == 0)
			break;
		i += n;
	}
	return i;
}

size_t hth_utf8_incomplete_suffix(const char *s, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char lo, hi;
		unsigned char c = (unsigned char)s[len - back];
		if ((c & 0xC0) == 0x80)
			continue;
		size_t n = lead(c, &lo, &hi);
		if (n <= back)
			return 0;
		if (back > 1) {
			unsigned char second = (unsigned char)s[len - back + 1];
			if (second < lo || second > hi)
				return 0;
		}
		return back;
	}
	return 0;
}
