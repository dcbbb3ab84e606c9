/* old-facts.c - title, author and date of a compound file's document, from its stream of properties. Child only, and
 * fuzzed. */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/old-office.h"

#include <stdio.h>

enum {
	P_CODEPAGE = 1,
	P_TITLE = 2,
	P_AUTHOR = 4,
	P_MADE = 12,
	P_SAVED = 13,
	VT_I2 = 2,
	VT_TEXT = 30,
	VT_WIDE = 31,
	VT_TIME = 64,
	PROPERTIES_MAX = 256
};

int64_t hth_old_time(uint64_t filetime)
{
	/* 100 ns since 1601. What is before 1971 is a length of time or nothing (editing times are told the same way).
	 */
	int64_t t = (int64_t)(filetime / 10000000) - INT64_C(11644473600);
	return filetime != 0 && t > 31536000 && t < INT64_C(4102444800) ? t : 0;
}

static void take_text(const char *p, size_t len, bool wide, int page, char *out, size_t cap)
{
	hth_buf text = HTH_BUF_INIT(4096);
	size_t n = len >= 4 ? HTH_MIN((size_t)hth_le32(p), (len - 4) / (wide ? 2 : 1)) : 0;
	if (wide)
		hth_utf16_append(&text, p + 4, HTH_MIN(n, (size_t)1000));
	else if (n > 0)
		hth_charset_decode_page(&text, p + 4, HTH_MIN(page == 1200 ? n : strnlen(p + 4, n), (size_t)1000),
		                        page);
	snprintf(out, cap, "%s", text.data != NULL ? text.data : "");
	hth_buf_finish(&text);
}

void hth_old_facts_read(const hth_buf *summary, hth_old_facts *ret)
{
	*ret = (hth_old_facts){0};
	if (summary->len < 48 || hth_le16(summary->data) != 0xFFFE)
		return;
	size_t at = hth_le32(summary->data + 44);
	if (at + 8 > summary->len)
		return;
	const char *section = summary->data + at;
	size_t len = summary->len - at, n = HTH_MIN(hth_le32(section + 4), (uint32_t)PROPERTIES_MAX);
	int page = 1252;
	int64_t made = 0;
	for (int pass = 0; pass < 2; pass++) /* the code page first */
		for (size_t i = 0; i < n && 8 + 8 * i + 8 <= len; i++) {
			uint32_t id = hth_le32(section + 8 + 8 * i), place = hth_le32(section + 12 + 8 * i);
			if (place > len || len - place < 8)
				continue;
			const char *p = section + place;
			uint32_t type = hth_le32(p);
			size_t left = len - place - 4;
			p += 4;
			if (pass == 0 && id == P_CODEPAGE && (type & 0xFFFF) == VT_I2)
				page = (int)hth_le16(p);
			else if (pass == 1 && (id == P_TITLE || id == P_AUTHOR) && (type == VT_TEXT || type == VT_WIDE))
				take_text(p, left, type == VT_WIDE, page, id == P_TITLE ? ret->title : ret->author,
				          id == P_TITLE ? sizeof ret->title : sizeof ret->author);
			else if (pass == 1 && id == P_MADE && type == VT_TIME && left >= 8)
				made = hth_old_time(hth_le64(p));
			else if (pass == 1 && id == P_SAVED && type == VT_TIME && left >= 8)
				ret->date = hth_old_time(hth_le64(p));
		}
	if (ret->date == 0)
		ret->date = made;
}
