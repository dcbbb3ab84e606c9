/* charset.c - which encoding a text is in, and its conversion. See charset.h. Child only; iconv's modules are loaded before the sandbox. */
#include "extract/charset.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <strings.h>

/* 0x80 to 0x9F of Windows-1252; the rest is Latin-1. Undefined places are control characters there, which text has no use for. */
static const uint16_t cp1252[32] = {0x20AC, 0xFFFD, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
                                    0x2039, 0x0152, 0xFFFD, 0x017D, 0xFFFD, 0xFFFD, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
                                    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0xFFFD, 0x017E, 0x0178};

static void put(hth_buf *out, uint32_t cp)
{
	char utf8[4];
	hth_buf_append(out, utf8, hth_utf8_encode(cp, utf8));
}

static void decode_1252(hth_buf *out, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c < 0x80)
			hth_buf_append_char(out, (char)c);
		else
			put(out, c < 0xA0 ? cp1252[c - 0x80] : c);
	}
}

static void decode_utf8(hth_buf *out, const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t good = hth_utf8_valid_prefix(bytes + at, len - at);
		hth_buf_append(out, bytes + at, good);
		at += good;
		if (at < len) {
			put(out, 0xFFFD);
			at++;
		}
		if (out->failed)
			return;
	}
}

static void decode_utf16(hth_buf *out, const char *bytes, size_t len, bool big)
{
	const unsigned char *p = (const unsigned char *)bytes;
	for (size_t at = 0; at + 1 < len && !out->failed; at += 2) {
		uint32_t u = big ? (uint32_t)p[at] << 8 | p[at + 1] : (uint32_t)p[at + 1] << 8 | p[at];
		if (u >= 0xD800 && u < 0xDC00 && at + 3 < len) {
			uint32_t low = big ? (uint32_t)p[at + 2] << 8 | p[at + 3] : (uint32_t)p[at + 3] << 8 | p[at + 2];
			if (low >= 0xDC00 && low < 0xE000) {
				u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
				at += 2;
			}
		}
		put(out, u);
	}
}

static void decode_utf32(hth_buf *out, const char *bytes, size_t len, bool big)
{
	const unsigned char *p = (const unsigned char *)bytes;
	for (size_t at = 0; at + 3 < len && !out->failed; at += 4) {
		uint32_t a = p[at], b = p[at + 1], c = p[at + 2], d = p[at + 3];
		put(out, big ? a << 24 | b << 16 | c << 8 | d : d << 24 | c << 16 | b << 8 | a);
	}
}

static bool decode_iconv(hth_buf *out, const char *bytes, size_t len, const char *charset)
{
	iconv_t cd = iconv_open("UTF-8", charset);
	if (cd == (iconv_t)-1)
		return false;
	char *in = (char *)(uintptr_t)bytes; /* iconv's prototype lacks the const */
	size_t left = len;
	while (left > 0 && !out->failed) {
		char part[4096], *to = part;
		size_t room = sizeof part;
		size_t rc = iconv(cd, &in, &left, &to, &room);
		/* iconv knows U+FFFF and its like; hth_utf8_valid_prefix too. Surrogates it does not make. */
		hth_buf_append(out, part, sizeof part - room);
		if (rc == (size_t)-1 && errno != E2BIG && left > 0) {
			put(out, 0xFFFD);
			in++;
			left--;
			iconv(cd, NULL, NULL, NULL, NULL);
		}
	}
	iconv_close(cd);
	return true;
}

/* ISO-8859-1, US-ASCII and nameless bytes are Windows-1252 in practice. */
static bool is_western(const char *name)
{
	static const char *const names[] = {"iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "us-ascii", "ascii", "ansi",
	                                    "windows-1252", "cp1252", "x-cp1252", "iso-ir-100", "unknown-8bit", "x-unknown"};
	for (size_t i = 0; i < HTH_COUNT(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static bool is_unicode_name(const char *name)
{
	return strncasecmp(name, "utf", 3) == 0 || strncasecmp(name, "ucs", 3) == 0 || strncasecmp(name, "unicode", 7) == 0;
}

/* Of the first bytes: how many zeros at even and odd places. Western UTF-16 has nearly all of one and none of the other. */
static int utf16_by_zeros(const char *bytes, size_t len)
{
	size_t n = HTH_MIN(len, (size_t)4096) & ~(size_t)1, even = 0, odd = 0;
	for (size_t i = 0; i < n; i += 2) {
		even += bytes[i] == 0;
		odd += bytes[i + 1] == 0;
	}
	if (n < 4)
		return 0;
	if (odd > n / 2 * 6 / 10 && even < n / 2 / 20 + 1)
		return 1; /* little-endian */
	if (even > n / 2 * 6 / 10 && odd < n / 2 / 20 + 1)
		return 2;
	return 0;
}

const char *hth_charset_decode(hth_buf *out, const char *bytes, size_t len, const char *declared)
{
	const unsigned char *p = (const unsigned char *)bytes;
	if (len >= 3 && p[0] == 0xEF && p[1] == 0xBB && p[2] == 0xBF) {
		decode_utf8(out, bytes + 3, len - 3);
		return "UTF-8";
	}
	if (len >= 4 && ((p[0] == 0xFF && p[1] == 0xFE && p[2] == 0 && p[3] == 0) ||
	                 (p[0] == 0 && p[1] == 0 && p[2] == 0xFE && p[3] == 0xFF))) {
		decode_utf32(out, bytes + 4, len - 4, p[0] == 0);
		return "UTF-32";
	}
	if (len >= 2 && ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF))) {
		decode_utf16(out, bytes + 2, len - 2, p[0] == 0xFE);
		return "UTF-16";
	}
	int wide = utf16_by_zeros(bytes, len);
	if (wide != 0) {
		decode_utf16(out, bytes, len, wide == 2);
		return "UTF-16";
	}
	size_t good = hth_utf8_valid_prefix(bytes, len);
	bool seven_bit_states = declared != NULL && (strncasecmp(declared, "iso-2022", 8) == 0 || strncasecmp(declared, "utf-7", 5) == 0 ||
	                                             strncasecmp(declared, "hz-", 3) == 0);
	/* A text that was cut ends within a character. */
	if (!seven_bit_states && (good == len || (len > 64 && len - good < 4 && good + hth_utf8_incomplete_suffix(bytes, len) == len))) {
		decode_utf8(out, bytes, len);
		return "UTF-8";
	}
	if (declared != NULL && *declared != '\0' && !is_western(declared) && (!is_unicode_name(declared) || seven_bit_states) &&
	    decode_iconv(out, bytes, len, declared))
		return declared;
	/* Mostly UTF-8 with a few broken bytes: at least 16 good characters of several bytes to each bad byte. */
	size_t multi = 0, bad = 0;
	for (size_t at = 0; at < len && bad * 16 <= multi + 16;) {
		uint32_t cp;
		size_t n = hth_utf8_decode(bytes + at, len - at, &cp);
		multi += n > 1;
		bad += n == 0;
		at += n > 0 ? n : 1;
	}
	if (bad * 16 <= multi) {
		decode_utf8(out, bytes, len);
		return "UTF-8";
	}
	decode_1252(out, bytes, len);
	return "windows-1252";
}

void hth_charset_decode_as(hth_buf *out, const char *bytes, size_t len, const char *charset)
{
	if (is_western(charset) || !decode_iconv(out, bytes, len, charset))
		decode_1252(out, bytes, len);
}

void hth_charset_decode_page(hth_buf *out, const char *bytes, size_t len, int page)
{
	char name[24];
	switch (page) {
	case 65001: hth_charset_decode(out, bytes, len, NULL); return;
	case 1200: decode_utf16(out, bytes, len, false); return;
	case 936: snprintf(name, sizeof name, "GBK"); break;
	case 950: snprintf(name, sizeof name, "BIG5"); break;
	case 949: case 932: case 437: case 850: case 852: case 866: case 874: snprintf(name, sizeof name, "CP%d", page); break;
	case 1361: snprintf(name, sizeof name, "JOHAB"); break;
	case 10000: snprintf(name, sizeof name, "MACINTOSH"); break;
	case 20866: snprintf(name, sizeof name, "KOI8-R"); break;
	case 21866: snprintf(name, sizeof name, "KOI8-U"); break;
	case 50220: case 50221: case 50222: snprintf(name, sizeof name, "ISO-2022-JP"); break;
	default: snprintf(name, sizeof name, page >= 28591 && page <= 28606 ? "ISO-8859-%d" : "WINDOWS-%d", page >= 28591 &&
	                  page <= 28606 ? page - 28590 : page);
	}
	hth_charset_decode_as(out, bytes, len, name);
}

bool hth_charset_is_text(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	len = HTH_MIN(len, (size_t)65536);
	if (len >= 2 && ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF)))
		return true;
	if (utf16_by_zeros(bytes, len) != 0)
		return true;
	size_t odd = 0, zeros = 0;
	while (len > 0 && p[len - 1] == 0) /* some programs fill up */
		len--;
	for (size_t i = 0; i < len; i++) {
		zeros += p[i] == 0;
		odd += p[i] < ' ' && p[i] != '\t' && p[i] != '\n' && p[i] != '\r' && p[i] != '\f' && p[i] != 0x1B && p[i] != '\b' &&
		    p[i] != 0x1A;
	}
	return zeros <= len / 1000 && odd <= len / 50;
}

void hth_charset_preload(void)
{
	static const char *const names[] = {
	    "ISO-8859-1", "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5", "ISO-8859-6", "ISO-8859-7", "ISO-8859-8", "ISO-8859-9",
	    "ISO-8859-10", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15", "ISO-8859-16", "WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1252",
	    "WINDOWS-1253", "WINDOWS-1254", "WINDOWS-1255", "WINDOWS-1256", "WINDOWS-1257", "WINDOWS-1258", "KOI8-R", "KOI8-U", "MACINTOSH",
	    "CP437", "CP850", "CP852", "CP866", "CP874", "TIS-620", "SHIFT_JIS", "CP932", "EUC-JP", "ISO-2022-JP", "ISO-2022-KR", "EUC-KR",
	    "CP949", "GB2312", "GBK", "GB18030", "BIG5", "BIG5-HKSCS", "UTF-7", "UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32", "UCS-2",
	    "ARMSCII-8", "GEORGIAN-PS", "VISCII", "JOHAB"};
	for (size_t i = 0; i < HTH_COUNT(names); i++) {
		/* Never closed: libc keeps a module while a converter is open. Both ways, because mail libraries also encode. */
		(void)!iconv_open("UTF-8", names[i]);
		(void)!iconv_open(names[i], "UTF-8");
	}
}
