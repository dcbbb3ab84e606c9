/* old-word.c - the text of Word 6 to 2003 documents. Child only, and fuzzed. See old-office.h.
 *
 * The file information block at the head of the main stream says where the piece table is; each piece is a run of 8-bit
 * or UTF-16 characters somewhere in the stream, and together they are the body, then footnotes, headers, comments,
 * endnotes and text boxes. Word 6 and 95 without fast saves have their text in one run.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "extract/charset.h"
#include "extract/old-office.h"

enum { PARAGRAPH_MAX = 4 << 20, FIELDS_MAX = 32, CLX_97 = 0x1A2, CLX_6 = 0x160 };

typedef struct writer {
	const hth_old_events *events;
	void *ctx;
	hth_buf text;
	int page; /* code page of 8-bit text */
	bool in_row, after_cell, stopped;
	unsigned depth;               /* of fields */
	bool in_code[FIELDS_MAX + 1]; /* before a field's separator: its code, not its result */
} writer;

static void end_paragraph(writer *w)
{
	while (w->text.len > 0 && strchr(" \t\n", w->text.data[w->text.len - 1]) != NULL)
		w->text.data[--w->text.len] = '\0';
	if (w->text.len > 0 && !w->stopped)
		w->stopped =
		    !w->events->text(w->ctx, 0, w->in_row ? HTH_OLD_ROW : HTH_OLD_BODY, w->text.data, w->text.len);
	hth_buf_clear(&w->text);
	w->in_row = w->after_cell = false;
}

/* A cell ends, and a row with one more such mark: an empty cell looks the same, and is then a row's end. */
static void end_cell(writer *w)
{
	if (w->after_cell) {
		end_paragraph(w);
		return;
	}
	hth_buf_append_char(&w->text, '\t');
	w->in_row = w->after_cell = true;
}

static void put_char(writer *w, uint32_t c)
{
	char utf8[4];
	if (c == 0x13) {
		w->depth += w->depth < FIELDS_MAX;
		w->in_code[w->depth] = true;
		return;
	}
	if (c == 0x14 || c == 0x15) {
		w->in_code[w->depth] = false;
		w->depth -= c == 0x15 && w->depth > 0;
		return;
	}
	for (unsigned i = 1; i <= w->depth; i++)
		if (w->in_code[i])
			return;
	if (c == 0x07) {
		end_cell(w);
		return;
	}
	if (c == 0x0D && w->in_row && !w->after_cell) { /* a paragraph within a cell */
		hth_buf_append_char(&w->text, ' ');
		return;
	}
	w->after_cell = false;
	if (c == 0x0D || c == 0x0C || c == 0x0E)
		end_paragraph(w);
	else if (c == 0x0B)
		hth_buf_append_char(&w->text, '\n');
	else if (c == 0x1E)
		hth_buf_append_char(&w->text, '-');
	else if (c == '\t' || c == 0xA0)
		hth_buf_append_char(&w->text, c == '\t' ? '\t' : ' ');
	else if (c >= 0x20 && c != 0xFFFF)
		hth_buf_append(&w->text, utf8, hth_utf8_encode(c, utf8));
	if (w->text.len > PARAGRAPH_MAX)
		end_paragraph(w);
}

static void put_8bit(writer *w, const char *p, size_t n)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf utf8 = HTH_BUF_INIT(n * 3 + 1);
	hth_charset_decode_page(&utf8, p, n, w->page);
	for (size_t at = 0; at < utf8.len && !w->stopped;) {
		uint32_t c;
		at += hth_utf8_decode_lossy(utf8.data + at, utf8.len - at, &c);
		put_char(w, c);
	}
}

static void put_utf16(writer *w, const char *p, size_t n)
{
	for (size_t i = 0; i < n && !w->stopped; i++) {
		uint32_t c = hth_le16(p + 2 * i), low = i + 1 < n ? hth_le16(p + 2 * i + 2) : 0;
		if (c >= 0xD800 && c < 0xDC00 && low >= 0xDC00 && low < 0xE000) {
			c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
			i++;
		}
		put_char(w, c);
	}
}

/* plc: n + 1 character positions, then n descriptions of 8 bytes. ret_bytes: of text. False: a piece lies outside the
 * stream. */
static bool put_pieces(writer *w, const hth_buf *doc, const char *plc, size_t len, uint64_t *ret_bytes)
{
	size_t n = len >= 4 ? (len - 4) / 12 : 0;
	bool whole = n > 0;
	for (size_t i = 0; i < n && !w->stopped; i++) {
		uint32_t begin = hth_le32(plc + 4 * i), end = hth_le32(plc + 4 * i + 4),
		         fc = hth_le32(plc + 4 * (n + 1) + 8 * i + 2);
		if (end <= begin) {
			whole = whole && end == begin;
			continue;
		}
		bool compressed = (fc & 0x40000000) != 0;
		uint64_t at = compressed ? (fc & 0x3FFFFFFF) / 2 : fc & 0x3FFFFFFF,
		         size = (uint64_t)(end - begin) * (compressed ? 1 : 2);
		if (at >= doc->len) {
			whole = false;
			continue;
		}
		if (at + size > doc->len) {
			whole = false;
			size = doc->len - at;
		}
		/* Pieces that overlap could make a small file endless. */
		if ((*ret_bytes += size) > 4 * (uint64_t)doc->len)
			return false;
		if (compressed)
			put_8bit(w, doc->data + at, (size_t)size);
		else
			put_utf16(w, doc->data + at, (size_t)size / 2);
	}
	return whole;
}

/* The piece table follows descriptions of formatting, each with its length. NULL: there is none. */
static const char *find_pieces(const char *clx, size_t len, size_t *ret_len)
{
	for (size_t at = 0; at + 5 <= len;) {
		if (clx[at] == 1) {
			at += 3 + hth_le16(clx + at + 1);
		} else if (clx[at] == 2) {
			*ret_len = HTH_MIN((size_t)hth_le32(clx + at + 1), len - at - 5);
			return clx + at + 5;
		} else {
			return NULL;
		}
	}
	return NULL;
}

/* Word 6 and 95 write in the code page of the language that they were made for. */
static int page_of_language(unsigned lid)
{
	switch (lid & 0x3FF) {
	case 0x02:
	case 0x19:
	case 0x22:
	case 0x23:
	case 0x2F:
		return 1251;
	case 0x05:
	case 0x0E:
	case 0x15:
	case 0x18:
	case 0x1A:
	case 0x1B:
	case 0x1C:
	case 0x24:
		return 1250;
	case 0x08:
		return 1253;
	case 0x1F:
		return 1254;
	case 0x0D:
		return 1255;
	case 0x01:
	case 0x29:
		return 1256;
	case 0x25:
	case 0x26:
	case 0x27:
		return 1257;
	case 0x2A:
		return 1258;
	case 0x1E:
		return 874;
	case 0x11:
		return 932;
	case 0x12:
		return 949;
	case 0x04:
		return lid == 0x0404 || lid == 0x0C04 ? 950 : 936;
	default:
		return 1252;
	}
}

hth_old_end hth_word_read(const hth_buf *doc, const hth_buf *table0, const hth_buf *table1,
                          const hth_old_events *events, void *ctx)
{
	if (doc->len < 0x200)
		return HTH_OLD_DAMAGED;
	unsigned magic = hth_le16(doc->data), version = hth_le16(doc->data + 2), flags = hth_le16(doc->data + 0x0A);
	if (magic != 0xA5EC && magic != 0xA5DC)
		return magic == 0xA59B || magic == 0xA5DB ? HTH_OLD_TOO_OLD : HTH_OLD_DAMAGED;
	if ((flags & 0x0100) != 0)
		return HTH_OLD_ENCRYPTED;
	bool is_97 = version >= 0xC1;
	const hth_buf *table = !is_97 ? doc : (flags & 0x0200) != 0 ? table1 : table0;
	uint32_t clx = hth_le32(doc->data + (is_97 ? CLX_97 : CLX_6)),
	         clx_len = hth_le32(doc->data + (is_97 ? CLX_97 : CLX_6) + 4);
	writer w = {.events = events,
	            .ctx = ctx,
	            .page = is_97 ? 1252 : page_of_language(hth_le16(doc->data + 6)),
	            .text = HTH_BUF_INIT(PARAGRAPH_MAX + 64)};
	size_t plc_len = 0;
	const char *plc = (is_97 || (flags & 0x0004) != 0) && clx < table->len
	                      ? find_pieces(table->data + clx, HTH_MIN((size_t)clx_len, table->len - clx), &plc_len)
	                      : NULL;
	bool whole = true;
	uint64_t told = 0;
	if (plc != NULL) {
		whole = put_pieces(&w, doc, plc, plc_len, &told);
		if (told == 0 && is_97 && hth_le32(doc->data + 0x4C) > 1) {
			hth_buf_finish(&w.text);
			return HTH_OLD_DAMAGED;
		}
	} else { /* one run; of a Word 97 file whose table is lost, what can be guessed */
		uint32_t begin = hth_le32(doc->data + 0x18), end = hth_le32(doc->data + 0x1C);
		whole = !is_97 && (flags & 0x0004) == 0 && begin <= end && end <= doc->len;
		if (begin >= doc->len || end <= begin) {
			hth_buf_finish(&w.text);
			return HTH_OLD_DAMAGED;
		}
		put_8bit(&w, doc->data + begin, HTH_MIN(end, doc->len) - begin);
	}
	end_paragraph(&w);
	hth_buf_finish(&w.text);
	return whole ? HTH_OLD_DONE : HTH_OLD_PARTIAL;
}
