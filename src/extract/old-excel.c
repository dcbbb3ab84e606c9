/* old-excel.c - the text of Excel 5 to 2003 workbooks. Child only, and fuzzed. See old-office.h.
 *
 * The stream is records of at most 8 KiB: first what is common (names of sheets, the table of strings, formats), then
 * each sheet. A row is told as its cells with tabs between, numbers as numbers and dates as dates, a formula as its
 * result. Comments and text boxes follow their sheet's rows as they lie in the file.
 */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/old-office.h"

#include <math.h>

enum {
	SHEETS_MAX = 4096,
	STRINGS_MAX = 4 << 20,
	FORMATS_MAX = 4096,
	STYLES_MAX = 65536,
	ROW_MAX = 1 << 20,
	TEXTS_MAX = 512 << 20,
	R_FORMULA = 0x06,
	R_EOF = 0x0A,
	R_1904 = 0x22,
	R_FILEPASS = 0x2F,
	R_CONTINUE = 0x3C,
	R_CODEPAGE = 0x42,
	R_SHEET = 0x85,
	R_MULRK = 0xBD,
	R_RSTRING = 0xD6,
	R_XF = 0xE0,
	R_SST = 0xFC,
	R_LABELSST = 0xFD,
	R_TXO = 0x1B6,
	R_NUMBER = 0x203,
	R_LABEL = 0x204,
	R_BOOLERR = 0x205,
	R_STRING = 0x207,
	R_RK = 0x27E,
	R_FORMAT = 0x41E,
	R_BOF = 0x809,
	OLD_BOF_4 = 0x409,
	OLD_BOF_3 = 0x209,
	OLD_BOF_2 = 0x009,
};

typedef struct excel {
	const hth_buf *book;
	size_t at; /* of the next record */
	unsigned type;
	const char *body;
	size_t len;
	bool is_8; /* Excel 97 and later */
	bool since_1904;
	int page_of_text; /* code page of 8-bit text before 97 */
	const hth_old_events *events;
	void *ctx;
	hth_buf strings; /* each with its zero */
	uint32_t *begin; /* of each string in them */
	size_t n_strings, cap_strings;
	bool date_format[FORMATS_MAX], date_style[STYLES_MAX];
	size_t n_styles;
	struct {
		uint32_t place;
		char name[128];
	} sheets[SHEETS_MAX];
	size_t n_sheets;
	uint32_t page;
	uint32_t row, formula_row;
	hth_buf line, text;
	bool in_row, stopped, broken, awaits_string;
} excel;

static bool next_record(excel *e)
{
	if (e->at + 4 > e->book->len)
		return false;
	const char *p = e->book->data + e->at;
	e->type = hth_le16(p);
	e->len = hth_le16(p + 2);
	e->body = p + 4;
	if (e->len > e->book->len - e->at - 4) {
		e->broken = true;
		e->len = e->book->len - e->at - 4;
	}
	e->at += 4 + e->len;
	return true;
}

/* ---- strings that go on in the next record ---- */

static bool go_on(excel *e)
{
	if (e->at + 4 > e->book->len || hth_le16(e->book->data + e->at) != R_CONTINUE)
		return false;
	return next_record(e);
}

/* n bytes of what is common to a string and its continuations; less where they end. */
static size_t take(excel *e, char *out, size_t n)
{
	size_t got = 0;
	while (got < n) {
		if (e->len == 0 && !go_on(e))
			break;
		size_t k = HTH_MIN(n - got, e->len);
		if (out != NULL)
			memcpy(out + got, e->body, k);
		e->body += k;
		e->len -= k;
		got += k;
	}
	return got;
}

/* Characters of 8 or 16 bits. Where a record ends among them, the next begins with how wide the rest are. False: cut.
 */
static bool take_chars(excel *e, size_t n, bool wide, hth_buf *out)
{
	while (n > 0) {
		if (e->len == 0 || (wide && e->len == 1)) {
			if (!go_on(e) || e->len == 0)
				return false;
			wide = (e->body[0] & 1) != 0;
			e->body++;
			e->len--;
			continue;
		}
		size_t k = HTH_MIN(n, wide ? e->len / 2 : e->len);
		if (wide) {
			hth_utf16_append(out, e->body, k);
		} else {
			for (size_t i = 0; i < k; i++) { /* the low bytes of UTF-16 */
				char pair[2] = {e->body[i], 0};
				hth_utf16_append(out, pair, 1);
			}
		}
		e->body += wide ? 2 * k : k;
		e->len -= wide ? 2 * k : k;
		n -= k;
	}
	return true;
}

/* A string of the table: its length, how wide, and what formats follow its characters. */
static bool take_string(excel *e, hth_buf *out)
{
	char head[3], more[4];
	if (take(e, head, 3) < 3)
		return false;
	size_t n = hth_le16(head), runs = 0, extra = 0;
	unsigned flags = (unsigned char)head[2];
	if ((flags & 8) != 0 && take(e, more, 2) == 2)
		runs = hth_le16(more);
	if ((flags & 4) != 0 && take(e, more, 4) == 4)
		extra = hth_le32(more);
	bool whole = take_chars(e, n, (flags & 1) != 0, out);
	return whole && take(e, NULL, runs * 4 + extra) == runs * 4 + extra;
}

static void read_strings(excel *e)
{
	char head[8];
	if (take(e, head, 8) < 8)
		return;
	size_t n = HTH_MIN(hth_le32(head + 4), (uint32_t)STRINGS_MAX);
	while (e->n_strings < n) {
		if (e->n_strings == e->cap_strings) {
			size_t cap = HTH_MAX((size_t)1024, e->cap_strings * 2);
			uint32_t *more = realloc(e->begin, cap * sizeof *more);
			if (more == NULL)
				return;
			e->begin = more;
			e->cap_strings = cap;
		}
		uint32_t begin = (uint32_t)e->strings.len;
		if (!take_string(e, &e->strings)) {
			e->broken = true;
			return;
		}
		hth_buf_append_char(&e->strings, '\0');
		if (e->strings.failed)
			return;
		e->begin[e->n_strings++] = begin;
	}
}

/* A string within one record, by the version's habit: 97 has a byte for the width after the length. wide_length: two
 * bytes of length. */
static void short_string(excel *e, size_t at, bool wide_length, hth_buf *out)
{
	size_t head = wide_length ? 2 : 1;
	if (e->len < at + head)
		return;
	size_t n = wide_length ? hth_le16(e->body + at) : (unsigned char)e->body[at];
	at += head;
	if (e->is_8 && e->len > at) {
		unsigned flags = (unsigned char)e->body[at++];
		at += (flags & 8) != 0 ? 2 : 0;
		at += (flags & 4) != 0 ? 4 : 0;
		if (at > e->len)
			return;
		e->body += at;
		e->len -= at;
		(void)!take_chars(e, n, (flags & 1) != 0, out);
	} else if (!e->is_8) {
		hth_charset_decode_page(out, e->body + at, HTH_MIN(n, e->len - at), e->page_of_text);
	}
}

/* ---- cells ---- */

static void end_row(excel *e)
{
	size_t len = e->line.len;
	while (len > 0 && (e->line.data[len - 1] == '\t' || e->line.data[len - 1] == ' '))
		len--;
	if (len > 0 && !e->stopped) {
		e->line.data[len] = '\0';
		e->stopped = !e->events->text(e->ctx, e->page, HTH_OLD_ROW, e->line.data, len);
	}
	hth_buf_clear(&e->line);
	e->in_row = false;
}

/* Where a cell's text goes; a gap is one tab, however wide. */
static hth_buf *begin_cell(excel *e, uint32_t row)
{
	if (e->in_row && (row != e->row || e->line.len > ROW_MAX / 2))
		end_row(e);
	if (e->line.len > 0)
		hth_buf_append_char(&e->line, '\t');
	e->in_row = true;
	e->row = row;
	return &e->line;
}

static void put_number(excel *e, uint32_t row, unsigned style, double value)
{
	if (!isfinite(value))
		return;
	hth_buf *out = begin_cell(e, row);
	if (style < e->n_styles && e->date_style[style] && hth_sheet_put_date(out, value, e->since_1904))
		return;
	/* Whole numbers as they are written: of an account, of a telephone. */
	hth_buf_appendf(out, fabs(value) < 1e17 && value == floor(value) ? "%.0f" : "%.15g", value);
}

static double double_at(const char *p)
{
	uint64_t bits = hth_le64(p);
	double value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* 30 bits of an integer or of a double's upper half, perhaps a hundredth of it. */
static double number_of(uint32_t rk)
{
	double value;
	if ((rk & 2) != 0) {
		value = (double)((int32_t)rk >> 2);
	} else {
		uint64_t bits = (uint64_t)(rk & ~UINT32_C(3)) << 32;
		memcpy(&value, &bits, sizeof value);
	}
	return (rk & 1) != 0 ? value / 100 : value;
}

static void put_text(excel *e, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hth_buf_append_char(&e->line, text[i] == '\r' || text[i] == '\n' || text[i] == '\t' ? ' ' : text[i]);
}

static void read_formula(excel *e, uint32_t row, unsigned style)
{
	if (e->len < 14)
		return;
	e->awaits_string = false;
	if (hth_le16(e->body + 12) != 0xFFFF) {
		put_number(e, row, style, double_at(e->body + 6));
	} else if (e->body[6] == 0) { /* its text comes in a record of its own */
		e->awaits_string = true;
		e->formula_row = row;
	} else if (e->body[6] == 1) {
		hth_buf_append_str(begin_cell(e, row), e->body[8] != 0 ? "TRUE" : "FALSE");
	}
}

static void read_cell(excel *e)
{
	uint32_t row = e->len >= 6 ? hth_le16(e->body) : 0;
	unsigned style = e->len >= 6 ? hth_le16(e->body + 4) : 0;
	if (e->len < 6)
		return;
	switch (e->type) {
	case R_LABELSST:
		if (e->len >= 10 && hth_le32(e->body + 6) < e->n_strings) {
			const char *text = e->strings.data + e->begin[hth_le32(e->body + 6)];
			(void)begin_cell(e, row);
			put_text(e, text, strlen(text));
		}
		break;
	case R_LABEL:
	case R_RSTRING:
		hth_buf_clear(&e->text);
		short_string(e, 6, true, &e->text);
		(void)begin_cell(e, row);
		put_text(e, e->text.data, e->text.len);
		break;
	case R_NUMBER:
		if (e->len >= 14)
			put_number(e, row, style, double_at(e->body + 6));
		break;
	case R_RK:
		if (e->len >= 10)
			put_number(e, row, style, number_of(hth_le32(e->body + 6)));
		break;
	case R_MULRK:
		for (size_t at = 4; at + 8 <= e->len; at += 6)
			put_number(e, row, hth_le16(e->body + at), number_of(hth_le32(e->body + at + 2)));
		break;
	case R_BOOLERR:
		if (e->len >= 8 && e->body[7] == 0)
			hth_buf_append_str(begin_cell(e, row), e->body[6] != 0 ? "TRUE" : "FALSE");
		break;
	default:
		read_formula(e, row, style);
		break;
	}
}

/* A comment or text box: its characters are in the record after it. */
static void read_box(excel *e)
{
	size_t n = e->len >= 12 ? hth_le16(e->body + 10) : 0;
	e->len = 0;
	if (n == 0 || !go_on(e) || e->len == 0)
		return;
	bool wide = (e->body[0] & 1) != 0;
	e->body++;
	e->len--;
	end_row(e);
	hth_buf_clear(&e->text);
	(void)!take_chars(e, n, wide, &e->text);
	if (e->text.len > 0 && !e->stopped)
		e->stopped = !e->events->text(e->ctx, e->page, HTH_OLD_BODY, e->text.data, e->text.len);
}

/* ---- the stream ---- */

static void read_sheet(excel *e)
{
	for (unsigned depth = 1; depth > 0 && !e->stopped && next_record(e);) {
		switch (e->type) {
		case R_BOF:
			depth++;
			break; /* a chart within the sheet */
		case R_EOF:
			depth--;
			break;
		case R_LABELSST:
		case R_LABEL:
		case R_RSTRING:
		case R_NUMBER:
		case R_RK:
		case R_MULRK:
		case R_BOOLERR:
		case R_FORMULA:
			read_cell(e);
			break;
		case R_STRING:
			if (e->awaits_string) {
				hth_buf_clear(&e->text);
				short_string(e, 0, true, &e->text);
				(void)begin_cell(e, e->formula_row);
				put_text(e, e->text.data, e->text.len);
			}
			e->awaits_string = false;
			break;
		case R_TXO:
			read_box(e);
			break;
		default:
			break;
		}
	}
	end_row(e);
}

static void note_format(excel *e)
{
	hth_buf_clear(&e->text);
	unsigned id = hth_le16(e->body);
	short_string(e, 2, e->is_8, &e->text);
	if (id < FORMATS_MAX && e->text.len > 0)
		e->date_format[id] = hth_sheet_is_date_code(e->text.data);
}

static void note_sheet(excel *e)
{
	if (e->n_sheets == SHEETS_MAX || e->len < 8)
		return;
	hth_buf_clear(&e->text);
	e->sheets[e->n_sheets].place = hth_le32(e->body);
	short_string(e, 6, false, &e->text);
	size_t n = HTH_MIN(e->text.len, sizeof e->sheets[0].name - 1);
	if (n > 0)
		memcpy(e->sheets[e->n_sheets].name, e->text.data, n);
	e->n_sheets++;
}

static hth_old_end read_common(excel *e)
{
	while (next_record(e) && e->type != R_EOF) {
		switch (e->type) {
		case R_FILEPASS:
			return HTH_OLD_ENCRYPTED;
		case R_1904:
			e->since_1904 = e->len >= 2 && hth_le16(e->body) != 0;
			break;
		case R_CODEPAGE:
			e->page_of_text = e->len >= 2 ? (int)hth_le16(e->body) : 0;
			break;
		case R_SHEET:
			note_sheet(e);
			break;
		case R_SST:
			read_strings(e);
			break;
		case R_FORMAT:
			if (e->len > 4)
				note_format(e);
			break;
		case R_XF:
			if (e->len >= 4 && e->n_styles < STYLES_MAX) {
				unsigned id = hth_le16(e->body + 2);
				e->date_style[e->n_styles++] =
				    (id >= 14 && id <= 17) || id == 22 || (id < FORMATS_MAX && e->date_format[id]);
			}
			break;
		default:
			break;
		}
	}
	return HTH_OLD_DONE;
}

static hth_old_end read_book(excel *e)
{
	if (!next_record(e))
		return HTH_OLD_DAMAGED;
	if (e->type == OLD_BOF_2 || e->type == OLD_BOF_3 || e->type == OLD_BOF_4)
		return HTH_OLD_TOO_OLD;
	if (e->type != R_BOF || e->len < 4)
		return HTH_OLD_DAMAGED;
	e->is_8 = hth_le16(e->body) >= 0x0600;
	hth_old_end end = read_common(e);
	for (size_t i = 0; end == HTH_OLD_DONE && i < e->n_sheets && !e->stopped; i++) {
		e->page = (uint32_t)i + 1;
		e->at = e->sheets[i].place;
		if (e->at >= e->book->len || !next_record(e) || e->type != R_BOF) {
			e->broken = true;
			continue;
		}
		if (e->sheets[i].name[0] != '\0')
			e->stopped = !e->events->text(e->ctx, e->page, HTH_OLD_HEADING, e->sheets[i].name,
			                              strlen(e->sheets[i].name));
		read_sheet(e);
	}
	return end != HTH_OLD_DONE ? end
	       : e->n_sheets == 0  ? HTH_OLD_DAMAGED
	       : e->broken         ? HTH_OLD_PARTIAL
	                           : HTH_OLD_DONE;
}

hth_old_end hth_excel_read(const hth_buf *book, const hth_old_events *events, void *ctx, uint32_t *ret_sheets)
{
	excel *e = calloc(1, sizeof *e);
	*ret_sheets = 0;
	if (e == NULL)
		return HTH_OLD_DAMAGED;
	e->book = book;
	e->events = events;
	e->ctx = ctx;
	e->strings = HTH_BUF_INIT(TEXTS_MAX);
	e->line = HTH_BUF_INIT(ROW_MAX);
	e->text = HTH_BUF_INIT(ROW_MAX);
	hth_old_end end = read_book(e);
	*ret_sheets = (uint32_t)e->n_sheets;
	hth_buf_finish(&e->strings);
	hth_buf_finish(&e->line);
	hth_buf_finish(&e->text);
	free(e->begin);
	free(e);
	return end;
}
