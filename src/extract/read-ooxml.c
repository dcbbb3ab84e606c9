/* read-ooxml.c - docx, xlsx and pptx: the members that hold words, read as streams of XML (ECMA-376). Child only.
 *
 * Word and PowerPoint share the shape of their text: paragraphs (p) of runs (t), tables of rows (tr) of cells (tc). What a reader would not
 * see is left out: deleted text, field instructions, fallbacks of drawings. Excel's cells refer to a table of strings; numbers whose style
 * is a date become dates.
 */
#include "base/mem.h"
#include "extract/markup.h"
#include "extract/old-office.h"
#include "extract/readers.h"
#include "extract/zip.h"

#include <stdio.h>

enum { TEXT_MAX = 4 << 20, STRINGS_MAX = 4 << 20, STYLES_MAX = 65536, COLUMNS_MAX = 16384 };

static bool is_named(const char *name, const char *begin, const char *end)
{
	size_t n = strlen(name), b = strlen(begin), e = strlen(end);
	return n >= b + e && strncmp(name, begin, b) == 0 && strcmp(name + n - e, end) == 0 && strchr(name + b, '/') == NULL;
}

static bool want(const char *name)
{
	static const char *const exact[] = {"docProps/core.xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml",
	                                    "xl/styles.xml"};
	static const char *const begins[] = {"word/document", "word/footnotes", "word/endnotes", "word/comments", "word/header",
	                                     "word/footer",
	                                     "xl/worksheets/", "xl/comments", "xl/threadedComments/", "ppt/comments/", "ppt/slides/slide",
	                                     "ppt/notesSlides/notesSlide"};
	while (*name == '/')
		name++;
	for (size_t i = 0; i < HTH_COUNT(exact); i++)
		if (strcmp(name, exact[i]) == 0)
			return true;
	for (size_t i = 0; i < HTH_COUNT(begins); i++)
		if (is_named(name, begins[i], ".xml"))
			return true;
	return false;
}

/* ---- Word and PowerPoint ---- */

typedef struct words {
	hth_tell *tell;
	uint32_t page;
	hth_buf text; /* of the paragraph, or the row that is open */
	int rows;     /* how many rows are open: tables in cells */
	int skip;     /* elements that are open within one that is not shown; 0: shown */
	bool in_text, heading, title_shape;
} words;

static bool is_hidden(const char *name)
{
	static const char *const hidden[] = {"delText", "instrText", "Fallback", "del", "moveFrom", "rPrChange", "pPrChange"};
	for (size_t i = 0; i < HTH_COUNT(hidden); i++)
		if (strcmp(name, hidden[i]) == 0)
			return true;
	return false;
}

static void flush_words(words *w, hth_extract_role role, hth_markup *markup)
{
	if (w->text.len > 0 && !hth_tell_text(w->tell, w->page, role, NULL, w->text.data, w->text.len) && markup != NULL)
		hth_markup_stop(markup);
	hth_buf_clear(&w->text);
}

static void words_open(void *ctx, hth_markup *markup, const char *name)
{
	words *w = ctx;
	if (w->skip > 0 || is_hidden(name)) {
		w->skip++;
		return;
	}
	if (w->tell->full)
		hth_markup_stop(markup);
	if (strcmp(name, "t") == 0 || strcmp(name, "text") == 0) { /* text: of comments */
		w->in_text = true;
	} else if (strcmp(name, "tab") == 0 && w->text.len > 0) {
		hth_buf_append_char(&w->text, '\t');
	} else if (strcmp(name, "br") == 0 || strcmp(name, "cr") == 0) {
		hth_buf_append_char(&w->text, w->rows > 0 ? ' ' : '\n');
	} else if (strcmp(name, "noBreakHyphen") == 0) {
		hth_buf_append_char(&w->text, '-');
	} else if (strcmp(name, "tr") == 0) {
		if (w->rows++ == 0)
			flush_words(w, HTH_ROLE_BODY, markup);
	} else if (strcmp(name, "pStyle") == 0) {
		const char *style = hth_markup_attribute(markup, "val");
		w->heading = style != NULL && (strncasecmp(style, "heading", 7) == 0 || strcasecmp(style, "title") == 0 ||
		                               strncasecmp(style, "berschrift", 10) == 0 ||
		                               strncasecmp(style, "\xC3\xBC" "berschrift", 12) == 0);
	} else if (strcmp(name, "ph") == 0) {
		const char *type = hth_markup_attribute(markup, "type");
		w->title_shape = type != NULL && (strcmp(type, "title") == 0 || strcmp(type, "ctrTitle") == 0);
	} else if (strcmp(name, "sp") == 0) {
		w->title_shape = false;
	}
}

static void words_close(void *ctx, const char *name)
{
	words *w = ctx;
	if (w->skip > 0) {
		w->skip--;
		return;
	}
	if (strcmp(name, "t") == 0 || strcmp(name, "text") == 0) {
		w->in_text = false;
	} else if (strcmp(name, "p") == 0) {
		if (w->rows > 0)
			hth_buf_append_char(&w->text, ' ');
		else
			flush_words(w, w->heading || w->title_shape ? HTH_ROLE_HEADING : HTH_ROLE_BODY, NULL);
		w->heading = false;
	/* without paragraphs */
	} else if (strcmp(name, "comment") == 0 || strcmp(name, "cm") == 0 || strcmp(name, "threadedComment") == 0) {
		flush_words(w, HTH_ROLE_BODY, NULL);
	} else if (strcmp(name, "tc") == 0) {
		hth_buf_append_char(&w->text, '\t');
	} else if (strcmp(name, "tr") == 0 && w->rows > 0 && --w->rows == 0) {
		flush_words(w, HTH_ROLE_ROW, NULL);
	}
}

static void words_text(void *ctx, const char *text, size_t len)
{
	words *w = ctx;
	if (w->in_text && w->skip == 0)
		hth_buf_append(&w->text, text, len);
}

static bool read_words(hth_tell *tell, const hth_member *m, uint32_t page)
{
	static const hth_markup_events events = {words_open, words_close, words_text};
	words w = {.tell = tell, .page = page, .text = HTH_BUF_INIT(TEXT_MAX)};
	bool ok = hth_markup_read(m->bytes, m->len, &events, &w);
	flush_words(&w, HTH_ROLE_BODY, NULL);
	hth_buf_finish(&w.text);
	return ok;
}

/* ---- Excel ---- */

typedef struct strings {
	hth_buf bytes;   /* one after the other, each ended by a NUL */
	uint32_t *begin; /* where each begins */
	size_t n, cap;
	bool in_text, phonetic;
} strings;

static void strings_open(void *ctx, hth_markup *markup, const char *name)
{
	strings *s = ctx;
	if (strcmp(name, "si") == 0) {
		if (s->n == s->cap) {
			size_t cap = s->cap ? s->cap * 2 : 1024;
			uint32_t *grown = cap <= STRINGS_MAX ? realloc(s->begin, cap * sizeof *grown) : NULL;
			if (grown == NULL) {
				hth_markup_stop(markup);
				return;
			}
			s->begin = grown;
			s->cap = cap;
		}
		s->begin[s->n++] = (uint32_t)s->bytes.len;
	}
	s->phonetic = s->phonetic || strcmp(name, "rPh") == 0;
	s->in_text = strcmp(name, "t") == 0 && !s->phonetic;
}

static void strings_close(void *ctx, const char *name)
{
	strings *s = ctx;
	s->in_text = false;
	if (strcmp(name, "rPh") == 0)
		s->phonetic = false;
	if (strcmp(name, "si") == 0)
		hth_buf_append(&s->bytes, "", 1);
}

static void strings_text(void *ctx, const char *text, size_t len)
{
	strings *s = ctx;
	if (s->in_text)
		hth_buf_append(&s->bytes, text, len);
}

typedef struct styles {
	bool is_date[STYLES_MAX]; /* by place in cellXfs */
	size_t n;
	bool custom_date[2048]; /* by number of format */
	bool in_cells;
} styles;

static void styles_open(void *ctx, hth_markup *markup, const char *name)
{
	styles *s = ctx;
	if (strcmp(name, "numFmt") == 0) {
		const char *id = hth_markup_attribute(markup, "numFmtId");
		unsigned long number = id != NULL ? strtoul(id, NULL, 10) : 0;
		const char *code = hth_markup_attribute(markup, "formatCode");
		if (number < HTH_COUNT(s->custom_date) && code != NULL)
			s->custom_date[number] = hth_sheet_is_date_code(code);
	} else if (strcmp(name, "cellXfs") == 0) {
		s->in_cells = true;
	} else if (strcmp(name, "xf") == 0 && s->in_cells && s->n < STYLES_MAX) {
		const char *id = hth_markup_attribute(markup, "numFmtId");
		unsigned long number = id != NULL ? strtoul(id, NULL, 10) : 0;
		s->is_date[s->n++] = (number >= 14 && number <= 17) || number == 22 ||
		    (number < HTH_COUNT(s->custom_date) && s->custom_date[number]);
	}
}

static void styles_close(void *ctx, const char *name)
{
	if (strcmp(name, "cellXfs") == 0)
		((styles *)ctx)->in_cells = false;
}

static void no_text(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	(void)text;
	(void)len;
}

typedef struct sheet {
	hth_tell *tell;
	const strings *strings;
	const styles *styles;
	uint32_t page;
	hth_buf row, value;
	char type[16];
	size_t style, column;
	bool in_value;
} sheet;

/* "AB12": column 27, from 0. */
static size_t column_of(const char *ref)
{
	size_t n = 0;
	for (; *ref >= 'A' && *ref <= 'Z' && n < COLUMNS_MAX; ref++)
		n = n * 26 + (size_t)(*ref - 'A') + 1;
	return n > 0 ? n - 1 : 0;
}

static void sheet_open(void *ctx, hth_markup *markup, const char *name)
{
	sheet *s = ctx;
	if (s->tell->full)
		hth_markup_stop(markup);
	if (strcmp(name, "c") == 0) {
		const char *v = hth_markup_attribute(markup, "t");
		snprintf(s->type, sizeof s->type, "%.15s", v != NULL ? v : "");
		v = hth_markup_attribute(markup, "s");
		s->style = v != NULL ? strtoul(v, NULL, 10) : 0;
		v = hth_markup_attribute(markup, "r");
		size_t column = v != NULL ? column_of(v) : s->column + 1;
		hth_buf_clear(&s->value);
		/* A gap is one tab, however wide: words count, not the picture. */
		if (s->row.len > 0)
			hth_buf_append_char(&s->row, '\t');
		s->column = column;
	} else if (strcmp(name, "v") == 0 || strcmp(name, "t") == 0) {
		s->in_value = true;
	}
}

static void put_value(sheet *s, const char *v, size_t len)
{
	char *end;
	double number = strtod(v, &end);
	if (strcmp(s->type, "s") == 0) {
		unsigned long i = strtoul(v, NULL, 10);
		if (i < s->strings->n && s->strings->begin[i] < s->strings->bytes.len)
			hth_buf_append_str(&s->row, s->strings->bytes.data + s->strings->begin[i]);
	} else if (s->type[0] == '\0' && end != v && s->style < s->styles->n && s->styles->is_date[s->style] &&
	           hth_sheet_put_date(&s->row, number, false)) {
		/* told as a date */
	} else if (strcmp(s->type, "e") != 0) {
		hth_buf_append(&s->row, v, len);
	}
}

static void sheet_close(void *ctx, const char *name)
{
	sheet *s = ctx;
	if (strcmp(name, "v") == 0 || strcmp(name, "t") == 0) {
		s->in_value = false;
	} else if (strcmp(name, "c") == 0) {
		if (s->value.len > 0)
			put_value(s, s->value.data, s->value.len);
	} else if (strcmp(name, "row") == 0) {
		if (s->row.len > 0)
			hth_tell_text(s->tell, s->page, HTH_ROLE_ROW, NULL, s->row.data, s->row.len);
		hth_buf_clear(&s->row);
		s->column = 0;
	}
}

static void sheet_text(void *ctx, const char *text, size_t len)
{
	sheet *s = ctx;
	if (s->in_value)
		hth_buf_append(&s->value, text, len);
}

/* The workbook's sheets in their order; their files by relation. */
typedef struct book {
	hth_tell *tell;
	struct {
		char name[128], id[64], file[160];
	} sheets[1024];
	size_t n;
} book;

static void book_open(void *ctx, hth_markup *markup, const char *name)
{
	book *b = ctx;
	if (strcmp(name, "sheet") == 0 && b->n < HTH_COUNT(b->sheets)) {
		const char *v = hth_markup_attribute(markup, "name");
		snprintf(b->sheets[b->n].name, sizeof b->sheets[0].name, "%.127s", v != NULL ? v : "");
		v = hth_markup_attribute(markup, "id"); /* r:id; sheetId has another local name */
		snprintf(b->sheets[b->n].id, sizeof b->sheets[0].id, "%.63s", v != NULL ? v : "");
		b->n++;
	} else if (strcmp(name, "Relationship") == 0) {
		char id[64];
		const char *v = hth_markup_attribute(markup, "Id");
		snprintf(id, sizeof id, "%.63s", v != NULL ? v : "");
		v = hth_markup_attribute(markup, "Target");
		for (size_t i = 0; v != NULL && i < b->n; i++)
			if (strcmp(b->sheets[i].id, id) == 0)
				snprintf(b->sheets[i].file, sizeof b->sheets[0].file, "%s%.150s", v[0] == '/' ? "" : "xl/",
				         v[0] == '/' ? v + 1 : v);
	}
}

static void ignore_close(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
}

static bool read_book(hth_tell *tell, const hth_members *members, hth_facts *facts)
{
	static const hth_markup_events book_events = {book_open, ignore_close, no_text},
	    string_events = {strings_open, strings_close, strings_text},
	                               style_events = {styles_open, styles_close, no_text},
	                               sheet_events = {sheet_open, sheet_close, sheet_text};
	book *b = calloc(1, sizeof *b);
	styles *st = calloc(1, sizeof *st);
	strings str = {.bytes = HTH_BUF_INIT(HTH_MEMBER_MAX)};
	const hth_member *m = hth_members_find(members, "xl/workbook.xml");
	bool ok = b != NULL && st != NULL && m != NULL;
	if (ok)
		ok = hth_markup_read(m->bytes, m->len, &book_events, b);
	if (b != NULL && (m = hth_members_find(members, "xl/_rels/workbook.xml.rels")) != NULL)
		(void)!hth_markup_read(m->bytes, m->len, &book_events, b);
	if ((m = hth_members_find(members, "xl/sharedStrings.xml")) != NULL)
		ok = hth_markup_read(m->bytes, m->len, &string_events, &str) && ok;
	if (st != NULL && (m = hth_members_find(members, "xl/styles.xml")) != NULL)
		(void)!hth_markup_read(m->bytes, m->len, &style_events, st);
	hth_facts_tell(tell, facts, HTH_KIND_XLSX, b != NULL ? (uint32_t)b->n : 0);
	for (size_t i = 0; b != NULL && st != NULL && i < b->n && !tell->full; i++) {
		hth_tell_text(tell, (uint32_t)i + 1, HTH_ROLE_HEADING, NULL, b->sheets[i].name, strlen(b->sheets[i].name));
		if ((m = hth_members_find(members, b->sheets[i].file)) == NULL)
			continue; /* a chart, or lost */
		sheet s = {.tell = tell, .strings = &str, .styles = st, .page = (uint32_t)i + 1, .row = HTH_BUF_INIT(TEXT_MAX),
		           .value = HTH_BUF_INIT(TEXT_MAX)};
		ok = hth_markup_read(m->bytes, m->len, &sheet_events, &s) && ok;
		hth_buf_finish(&s.row);
		hth_buf_finish(&s.value);
	}
	free(b);
	free(st);
	free(str.begin);
	hth_buf_finish(&str.bytes);
	return ok;
}

/* ---- all three ---- */

static int compare_members(const void *a, const void *b)
{
	return strverscmp(((const hth_member *)a)->name, ((const hth_member *)b)->name);
}

/* Members with such a name, slide2 before slide10, each as a page when numbered. */
static bool read_numbered(hth_tell *tell, const hth_members *members, const char *begin, bool paged)
{
	hth_member *list = hth_alloc_array(members->n, sizeof *list);
	size_t n = 0;
	bool ok = list != NULL;
	for (size_t i = 0; ok && i < members->n; i++)
		if (members->list[i].bytes != NULL && is_named(members->list[i].name, begin, ".xml"))
			list[n++] = members->list[i]; /* borrowed */
	if (n > 0)
		qsort(list, n, sizeof *list, compare_members);
	for (size_t i = 0; i < n && !tell->full; i++)
		ok = read_words(tell, &list[i], paged ? (uint32_t)strtoul(list[i].name + strlen(begin), NULL, 10) : 0) && ok;
	free(list);
	return ok;
}

static uint32_t count_named(const hth_members *members, const char *begin)
{
	uint32_t n = 0;
	for (size_t i = 0; i < members->n; i++)
		n += is_named(members->list[i].name, begin, ".xml");
	return n;
}

void hth_read_ooxml(hth_tell *tell, hth_source *source, hth_extract_kind kind, hth_verdict *verdict)
{
	hth_members members;
	if (!hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) || !hth_members_load(&members, tell, source, want, verdict)) {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = kind});
		return;
	}
	hth_facts facts = {0};
	const hth_member *core = hth_members_find(&members, "docProps/core.xml");
	if (core != NULL)
		hth_facts_read(&facts, core->bytes, core->len);
	bool ok = true;
	uint64_t before = tell->n_blocks;
	if (kind == HTH_KIND_XLSX) {
		ok = read_book(tell, &members, &facts);
		ok = read_numbered(tell, &members, "xl/comments", false) && ok;
		ok = read_numbered(tell, &members, "xl/threadedComments/", false) && ok;
	} else if (kind == HTH_KIND_DOCX) {
		static const char *const parts[] = {"word/document", "word/footnotes", "word/endnotes", "word/comments", "word/header",
		                                    "word/footer"};
		hth_facts_tell(tell, &facts, kind, 0);
		for (size_t i = 0; i < HTH_COUNT(parts); i++)
			ok = read_numbered(tell, &members, parts[i], false) && ok;
	} else {
		hth_facts_tell(tell, &facts, kind, count_named(&members, "ppt/slides/slide"));
		ok = read_numbered(tell, &members, "ppt/slides/slide", true);
		ok = read_numbered(tell, &members, "ppt/notesSlides/notesSlide", true) && ok;
		ok = read_numbered(tell, &members, "ppt/comments/", false) && ok;
	}
	ok = ok && !members.damaged;
	if (members.encrypted)
		hth_verdict_unreadable(verdict, "encrypted: needs a password");
	else if (!ok && tell->n_blocks == before)
		hth_verdict_unreadable(verdict, "damaged: its XML cannot be read");
	else if (!ok)
		hth_verdict_partial(verdict, "damaged: only a part of it can be read");
	hth_members_finish(&members);
}
