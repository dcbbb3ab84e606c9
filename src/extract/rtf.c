/* rtf.c - RTF: control words, groups, code pages by font. See rtf.h. No library, no state outside the reader. */
#include "extract/rtf.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "extract/charset.h"

#include <stdint.h>
#include <stdio.h>

enum { DEPTH_MAX = 256, FONTS_MAX = 256, PARAGRAPH_MAX = 1 << 20, RUN_MAX = 4096, WORD_MAX = 32 };

typedef enum destination { SHOWN, SKIPPED, FONT_TABLE, INFO, INFO_TITLE, INFO_AUTHOR } destination;
typedef struct group {
	destination where;
	int unicode_skip; /* \uc: how many characters follow a \u for old readers */
	int code_page;
} group;

typedef struct reader {
	const char *at, *end;
	const hth_rtf_events *events;
	void *ctx;
	group stack[DEPTH_MAX];
	size_t depth; /* groups that are open; the deepest is stack[depth-1] */
	size_t too_deep;
	int ansi_page, fonts[FONTS_MAX], font;
	hth_buf text, run; /* run: bytes of one code page, not yet decoded */
	int run_page, skip;
	uint32_t high; /* the first half of a surrogate pair */
	bool star, row, stop;
} reader;

static int page_of_charset(int charset, int ansi)
{
	static const struct {
		int charset, page;
	} rows[] = {{128, 932}, {129, 949}, {130, 1361}, {134, 936}, {136, 950}, {161, 1253}, {162, 1254}, {163, 1258}, {177, 1255},
	            {178, 1256}, {186, 1257}, {204, 1251}, {222, 874}, {238, 1250}, {77, 10000}, {255, 437}};
	for (size_t i = 0; i < HTH_COUNT(rows); i++)
		if (rows[i].charset == charset)
			return rows[i].page;
	return ansi;
}

static void flush_run(reader *r)
{
	if (r->run.len == 0)
		return;
	hth_charset_decode_page(&r->text, r->run.data, r->run.len, r->run_page);
	hth_buf_clear(&r->run);
}

static destination here(const reader *r) { return r->depth > 0 ? r->stack[r->depth - 1].where : SHOWN; }
static bool takes_text(const reader *r) { return here(r) == SHOWN || here(r) == INFO_TITLE || here(r) == INFO_AUTHOR; }

static void put_code(reader *r, uint32_t cp)
{
	char utf8[4];
	flush_run(r);
	if (takes_text(r) && r->text.len < PARAGRAPH_MAX - 8)
		hth_buf_append(&r->text, utf8, hth_utf8_encode(cp, utf8));
}

static void put_byte(reader *r, char c)
{
	if (r->skip > 0) {
		r->skip--;
		return;
	}
	if (!takes_text(r))
		return;
	int page = r->depth > 0 ? r->stack[r->depth - 1].code_page : 1252;
	if (r->run.len > 0 && (r->run_page != page || r->run.len >= RUN_MAX))
		flush_run(r);
	r->run_page = page;
	hth_buf_append_char(&r->run, c);
}

static void end_paragraph(reader *r, bool row)
{
	flush_run(r);
	if (here(r) == SHOWN && r->text.len > 0 && !r->events->paragraph(r->ctx, row, r->text.data, r->text.len))
		r->stop = true;
	hth_buf_clear(&r->text);
}

static void open_group(reader *r)
{
	if (r->depth == DEPTH_MAX) {
		r->too_deep++;
		return;
	}
	group g = r->depth > 0 ? r->stack[r->depth - 1] : (group){.where = SHOWN, .unicode_skip = 1, .code_page = r->ansi_page};
	flush_run(r);
	r->stack[r->depth++] = g;
	r->star = false;
	r->skip = 0;
}

static void close_group(reader *r)
{
	if (r->too_deep > 0) {
		r->too_deep--;
		return;
	}
	flush_run(r);
	destination was = here(r);
	if (was == INFO_TITLE || was == INFO_AUTHOR) {
		if (r->text.len > 0 && r->events->fact != NULL)
			r->events->fact(r->ctx, was == INFO_TITLE ? "title" : "author", r->text.data);
		hth_buf_clear(&r->text);
	}
	r->depth -= r->depth > 0;
	r->skip = 0;
	r->star = false;
}

static bool is_skipped_destination(const char *word)
{
	static const char *const words[] = {"colortbl", "stylesheet", "pict", "object", "objdata", "fldinst", "themedata", "datastore",
	                                    "listtable",
	                                    "listoverridetable", "rsidtbl", "generator", "xmlnstbl", "filetbl", "revtbl", "bkmkstart",
	                                    "bkmkend", "nonshppict",
	                                    "datafield", "private", "latentstyles", "colorschememapping", "pntext", "blipuid", "tc", "xe",
	                                    "deleted"};
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

static void set_destination(reader *r, destination where)
{
	flush_run(r);
	if (r->depth > 0)
		r->stack[r->depth - 1].where = where;
}

static void on_unicode(reader *r, int value)
{
	uint32_t u = (uint32_t)(value < 0 ? value + 65536 : value) & 0xFFFF;
	if (u >= 0xD800 && u < 0xDC00) {
		r->high = u;
	} else if (u >= 0xDC00 && u < 0xE000) {
		if (r->high != 0)
			put_code(r, 0x10000 + ((r->high - 0xD800) << 10) + (u - 0xDC00));
		r->high = 0;
	} else {
		put_code(r, u);
		r->high = 0;
	}
	r->skip = r->depth > 0 ? r->stack[r->depth - 1].unicode_skip : 1;
}

static uint32_t symbol_of(const char *word)
{
	static const struct {
		const char *word;
		uint32_t cp;
	} rows[] = {{"emdash", 0x2014}, {"endash", 0x2013}, {"lquote", 0x2018}, {"rquote", 0x2019}, {"ldblquote", 0x201C},
	            {"rdblquote", 0x201D},
	            {"bullet", 0x2022}, {"emspace", ' '}, {"enspace", ' '}, {"qmspace", ' '}, {"tab", '\t'}, {"line", '\n'},
	            {"softline", '\n'}};
	for (size_t i = 0; i < HTH_COUNT(rows); i++)
		if (strcmp(word, rows[i].word) == 0)
			return rows[i].cp;
	return 0;
}

static void on_word(reader *r, const char *word, bool has_value, int value)
{
	group *g = r->depth > 0 ? &r->stack[r->depth - 1] : NULL;
	uint32_t symbol;
	if (g == NULL || g->where == SKIPPED) {
		if (strcmp(word, "bin") == 0 && value > 0)
			r->at += HTH_MIN((ptrdiff_t)value, r->end - r->at);
		return;
	}
	if (strcmp(word, "u") == 0 && has_value) {
		on_unicode(r, value);
	} else if (strcmp(word, "uc") == 0 && has_value) {
		g->unicode_skip = HTH_MAX(0, HTH_MIN(value, 16));
	} else if (strcmp(word, "par") == 0 || strcmp(word, "page") == 0 || strcmp(word, "sect") == 0) {
		if (r->row)
			put_code(r, ' ');
		else
			end_paragraph(r, false);
	} else if (strcmp(word, "intbl") == 0 || strcmp(word, "trowd") == 0) {
		if (!r->row && strcmp(word, "trowd") == 0)
			end_paragraph(r, false);
		r->row = true;
	} else if (strcmp(word, "pard") == 0) {
		if (r->text.len == 0 && r->run.len == 0)
			r->row = false;
	} else if (strcmp(word, "cell") == 0 || strcmp(word, "nestcell") == 0) {
		put_code(r, '\t');
	} else if (strcmp(word, "row") == 0 || strcmp(word, "nestrow") == 0) {
		end_paragraph(r, true);
		r->row = false;
	} else if ((symbol = symbol_of(word)) != 0) {
		put_code(r, symbol);
	} else if (strcmp(word, "ansicpg") == 0 && has_value) {
		r->ansi_page = g->code_page = value;
	} else if (strcmp(word, "mac") == 0) {
		r->ansi_page = g->code_page = 10000;
	} else if (strcmp(word, "pc") == 0 || strcmp(word, "pca") == 0) {
		r->ansi_page = g->code_page = strcmp(word, "pc") == 0 ? 437 : 850;
	} else if (strcmp(word, "f") == 0 && has_value && value >= 0 && value < FONTS_MAX) {
		if (g->where == FONT_TABLE)
			r->font = value;
		else
			g->code_page = r->fonts[value] != 0 ? r->fonts[value] : r->ansi_page;
	} else if (strcmp(word, "fcharset") == 0 && g->where == FONT_TABLE && has_value) {
		r->fonts[r->font] = page_of_charset(value, r->ansi_page);
	} else if (strcmp(word, "fonttbl") == 0) {
		set_destination(r, FONT_TABLE);
	} else if (strcmp(word, "info") == 0) {
		set_destination(r, INFO);
	} else if (g->where == INFO) {
		set_destination(r, strcmp(word, "title") == 0 ? INFO_TITLE : strcmp(word, "author") == 0 ? INFO_AUTHOR : SKIPPED);
	} else if (is_skipped_destination(word) || (r->star && strcmp(word, "shppict") != 0 && strcmp(word, "shpinst") != 0 &&
	                                            strcmp(word, "shptxt") != 0)) {
		set_destination(r, SKIPPED);
	} else if (strcmp(word, "bin") == 0 && value > 0) {
		r->at += HTH_MIN((ptrdiff_t)value, r->end - r->at);
	}
	r->star = false;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* After a backslash. */
static void read_control(reader *r)
{
	if (r->at == r->end)
		return;
	char c = *r->at++;
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
		char word[WORD_MAX + 1] = {c};
		size_t n = 1;
		while (r->at < r->end && ((*r->at >= 'a' && *r->at <= 'z') || (*r->at >= 'A' && *r->at <= 'Z')) && n < WORD_MAX)
			word[n++] = *r->at++;
		bool negative = r->at < r->end && *r->at == '-', has_value = false;
		r->at += negative;
		long value = 0;
		while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
			value = value < 100000000 ? value * 10 + (*r->at - '0') : value;
			has_value = true;
			r->at++;
		}
		if (r->at < r->end && *r->at == ' ')
			r->at++;
		if (r->too_deep == 0)
			on_word(r, word, has_value, (int)(negative ? -value : value));
		return;
	}
	if (c == '\'' && r->end - r->at >= 2) {
		int high = hex(r->at[0]), low = hex(r->at[1]);
		r->at += 2;
		if (high >= 0 && low >= 0 && r->too_deep == 0)
			put_byte(r, (char)(high << 4 | low));
	} else if (c == '*') {
		r->star = true;
	} else if (c == '~') {
		put_code(r, ' ');
	} else if (c == '_') {
		put_code(r, '-');
	} else if (c == '\n' || c == '\r') {
		on_word(r, "par", false, 0);
	} else if (c == '\\' || c == '{' || c == '}') {
		put_byte(r, c);
	}
}

bool hth_rtf_read(const char *bytes, size_t len, const hth_rtf_events *events, void *ctx)
{
	if (len < 5 || memcmp(bytes, "{\\rtf", 5) != 0)
		return false;
	reader *r = calloc(1, sizeof *r);
	if (r == NULL)
		return false;
	*r = (reader){.at = bytes, .end = bytes + len, .events = events, .ctx = ctx, .ansi_page = 1252, .text = HTH_BUF_INIT(PARAGRAPH_MAX),
	              .run = HTH_BUF_INIT(RUN_MAX + 16)};
	bool closed = false;
	while (r->at < r->end && !r->stop && !closed) {
		char c = *r->at++;
		switch (c) {
		case '{': open_group(r); break;
		case '}':
			close_group(r);
			closed = r->depth == 0;
			break;
		case '\\': read_control(r); break;
		case '\r': case '\n': case '\0': break;
		default:
			if (r->too_deep == 0)
				put_byte(r, c);
			break;
		}
	}
	r->depth = HTH_MIN(r->depth, (size_t)1);
	if (r->depth == 1)
		r->stack[0].where = r->stack[0].where == SHOWN ? SHOWN : SKIPPED;
	if (!r->stop)
		end_paragraph(r, r->row);
	bool ok = closed || r->stop;
	hth_buf_finish(&r->text);
	hth_buf_finish(&r->run);
	free(r);
	return ok;
}
