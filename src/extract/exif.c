/* exif.c - EXIF, by a small reader of ours: Debian's libexif would be one more library for six fields. See exif.h. Every offset is checked
 * against the structure; directories are visited at most a few times. */
#include "extract/exif.h"

#include "base/mem.h"

#include <stdio.h>
#include <time.h>

enum { ENTRIES_MAX = 512, TAG_DESCRIPTION = 0x10E, TAG_ORIENTATION = 0x112, TAG_DATE = 0x132, TAG_ARTIST = 0x13B, TAG_EXIF = 0x8769,
       TAG_GPS = 0x8825, TAG_TAKEN = 0x9003, TAG_OFFSET = 0x9010, TAG_OFFSET_TAKEN = 0x9011 };

typedef struct reader {
	const unsigned char *p;
	size_t len;
	bool big;
	char date[32], taken[32], offset[16];
	double gps[2][3];
	bool has_gps[2], negative[2];
	hth_exif *out;
} reader;

static uint32_t u16(const reader *r, size_t at)
{
	if (at + 2 > r->len)
		return 0;
	return r->big ? (uint32_t)(r->p[at] << 8 | r->p[at + 1]) : (uint32_t)(r->p[at + 1] << 8 | r->p[at]);
}

static uint32_t u32(const reader *r, size_t at)
{
	if (at + 4 > r->len)
		return 0;
	return r->big ? u16(r, at) << 16 | u16(r, at + 2) : u16(r, at + 2) << 16 | u16(r, at);
}

/* Where the value of the entry lies, and that `size` bytes of it are there; 0: they are not. */
static size_t value_at(const reader *r, size_t entry, size_t size)
{
	size_t at = size <= 4 ? entry + 8 : u32(r, entry + 8);
	return at <= r->len && size <= r->len - at ? at : 0;
}

static void get_text(const reader *r, size_t entry, char *out, size_t cap)
{
	size_t n = u32(r, entry + 4);
	if (u16(r, entry + 2) != 2 || n == 0 || n > 1 << 16)
		return;
	size_t at = value_at(r, entry, n);
	if (at == 0)
		return;
	n = HTH_MIN(n, cap - 1);
	memcpy(out, r->p + at, n);
	out[n] = '\0';
}

/* Degrees, minutes, seconds as three fractions. */
static bool get_degrees(const reader *r, size_t entry, double out[3])
{
	if (u16(r, entry + 2) != 5 || u32(r, entry + 4) != 3)
		return false;
	size_t at = value_at(r, entry, 24);
	if (at == 0)
		return false;
	for (int i = 0; i < 3; i++) {
		uint32_t over = u32(r, at + (size_t)i * 8), under = u32(r, at + (size_t)i * 8 + 4);
		out[i] = under != 0 ? (double)over / under : 0;
	}
	return true;
}

static void read_gps(reader *r, size_t at)
{
	size_t n = HTH_MIN(u16(r, at), (uint32_t)ENTRIES_MAX);
	for (size_t i = 0, e = at + 2; i < n && e + 12 <= r->len; i++, e += 12) {
		unsigned tag = u16(r, e);
		char ref[4] = "";
		if (tag == 1 || tag == 3) {
			get_text(r, e, ref, sizeof ref);
			r->negative[tag / 2] = ref[0] == 'S' || ref[0] == 'W';
		} else if (tag == 2 || tag == 4) {
			r->has_gps[tag / 2 - 1] = get_degrees(r, e, r->gps[tag / 2 - 1]);
		}
	}
}

static void read_directory(reader *r, size_t at, int depth)
{
	size_t n = HTH_MIN(u16(r, at), (uint32_t)ENTRIES_MAX);
	for (size_t i = 0, e = at + 2; i < n && e + 12 <= r->len; i++, e += 12) {
		switch (u16(r, e)) {
		case TAG_DESCRIPTION: get_text(r, e, r->out->description, sizeof r->out->description); break;
		case TAG_ARTIST: get_text(r, e, r->out->artist, sizeof r->out->artist); break;
		case TAG_DATE: get_text(r, e, r->date, sizeof r->date); break;
		case TAG_TAKEN: get_text(r, e, r->taken, sizeof r->taken); break;
		case TAG_OFFSET: case TAG_OFFSET_TAKEN: get_text(r, e, r->offset, sizeof r->offset); break;
		case TAG_ORIENTATION:
			if (u16(r, e + 2) == 3 && u16(r, e + 8) >= 1 && u16(r, e + 8) <= 8)
				r->out->orientation = u16(r, e + 8);
			break;
		case TAG_EXIF:
			if (depth == 0 && u32(r, e + 8) < r->len)
				read_directory(r, u32(r, e + 8), 1);
			break;
		case TAG_GPS:
			if (depth == 0 && u32(r, e + 8) < r->len)
				read_gps(r, u32(r, e + 8));
			break;
		default: break;
		}
	}
}

/* "2024:05:17 13:45:10" and "+02:00" */
static bool parse_date(const char *text, const char *offset, int64_t *ret)
{
	struct tm t = {0};
	if (sscanf(text, "%4d:%2d:%2d %2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec) != 6 ||
	    t.tm_year < 1970 || t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 || t.tm_mday > 31 || t.tm_hour > 23 || t.tm_min > 59 ||
	    t.tm_sec > 60 || t.tm_hour < 0 || t.tm_min < 0 || t.tm_sec < 0)
		return false;
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	int64_t v = (int64_t)timegm(&t);
	char sign;
	int hours, minutes;
	if (sscanf(offset, "%c%2d:%2d", &sign, &hours, &minutes) == 3 && (sign == '+' || sign == '-') && hours >= 0 && hours <= 14 &&
	    minutes >= 0 && minutes < 60)
		v -= (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	*ret = v;
	return true;
}

void hth_exif_read(hth_exif *exif, const unsigned char *tiff, size_t len)
{
	if (len < 8 || len > UINT32_MAX || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
		return;
	reader r = {.p = tiff, .len = len, .big = tiff[0] == 'M', .out = exif};
	size_t at = u32(&r, 4);
	if (at >= len)
		return;
	read_directory(&r, at, 0);
	exif->has_date = parse_date(r.taken[0] != '\0' ? r.taken : r.date, r.offset, &exif->date) || exif->has_date;
	if (r.has_gps[0] && r.has_gps[1]) {
		double v[2];
		for (int i = 0; i < 2; i++)
			v[i] = (r.negative[i] ? -1 : 1) * (r.gps[i][0] + r.gps[i][1] / 60 + r.gps[i][2] / 3600);
		/* 0, 0 is what cameras write that do not know. */
		if (v[0] >= -90 && v[0] <= 90 && v[1] >= -180 && v[1] <= 180 && (v[0] != 0 || v[1] != 0)) {
			exif->has_place = true;
			exif->latitude = v[0];
			exif->longitude = v[1];
		}
	}
}

static void find_in_jpeg(hth_exif *exif, const unsigned char *p, size_t len)
{
	for (size_t at = 2; at + 4 <= len && p[at] == 0xFF;) {
		unsigned marker = p[at + 1];
		size_t size = (size_t)p[at + 2] << 8 | p[at + 3];
		if (marker == 0xFF) { /* fill byte */
			at++;
			continue;
		}
		if (marker == 0xDA || size < 2 || at + 2 + size > len)
			return;
		if (marker == 0xE1 && size >= 8 && memcmp(p + at + 4, "Exif\0\0", 6) == 0) {
			hth_exif_read(exif, p + at + 10, size - 8);
			return;
		}
		at += 2 + size;
	}
}

/* PNG's eXIf, WebP's EXIF: chunks with a length and four letters. */
static void find_in_chunks(hth_exif *exif, const unsigned char *p, size_t len, bool png)
{
	for (size_t at = png ? 8 : 12; at + 8 <= len;) {
		const unsigned char *l = p + at + (png ? 0 : 4), *name = p + at + (png ? 4 : 0);
		size_t size = png ? (size_t)l[0] << 24 | (size_t)l[1] << 16 | (size_t)l[2] << 8 | l[3]
		                  : (size_t)l[3] << 24 | (size_t)l[2] << 16 | (size_t)l[1] << 8 | l[0];
		if (size > len - at - 8)
			return;
		if (memcmp(name, png ? "eXIf" : "EXIF", 4) == 0) {
			size_t skip = size > 6 && memcmp(p + at + 8, "Exif\0\0", 6) == 0 ? 6 : 0;
			hth_exif_read(exif, p + at + 8 + skip, size - skip);
			return;
		}
		at += 8 + size + (png ? 4 : size & 1);
	}
}

void hth_exif_find(hth_exif *exif, const unsigned char *p, size_t len)
{
	if (len < 16)
		return;
	if (p[0] == 0xFF && p[1] == 0xD8)
		find_in_jpeg(exif, p, len);
	else if (memcmp(p, "\x89PNG", 4) == 0)
		find_in_chunks(exif, p, len, true);
	else if (memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0)
		find_in_chunks(exif, p, len, false);
	else
		hth_exif_read(exif, p, len);
}
