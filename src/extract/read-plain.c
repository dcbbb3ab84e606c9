/* read-plain.c - plain text, Markdown and tables with separators, in any encoding. Paragraphs are blocks; so are rows of tables. */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/readers.h"

#include <strings.h>

enum { TEXT_MAX = HTH_EXTRACT_TEXT_MAX, PARAGRAPH_MAX = HTH_EXTRACT_BLOCK_MAX / 2 };

static size_t line_length(const char *s, size_t len)
{
	const char *nl = memchr(s, '\n', len);
	return nl != NULL ? (size_t)(nl - s) + 1 : len;
}

static bool is_blank(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r' && s[i] != '\n' && s[i] != '\f')
			return false;
	return true;
}

/* "## Title ##": the level's marks are no words. Returns the number of marks, 0: no heading. */
static size_t heading_marks(const char *s, size_t len)
{
	size_t n = 0;
	while (n < len && s[n] == '#')
		n++;
	return n <= 6 && n < len && s[n] == ' ' ? n : 0;
}

/* The separator that a first line has most of. */
static char find_separator(const char *s, size_t len)
{
	size_t best = 0, n = line_length(s, len);
	char separator = ',';
	for (const char *c = ",;\t|"; *c != '\0'; c++) {
		size_t count = 0;
		for (size_t i = 0; i < n; i++)
			count += s[i] == *c;
		if (count > best) {
			best = count;
			separator = *c;
		}
	}
	return separator;
}

/* RFC 4180: fields in quotes may hold separators, quotes (doubled) and line ends. One row a block, tabs between fields. */
static void tell_rows(hth_tell *tell, const char *s, size_t len)
{
	char separator = find_separator(s, len);
	hth_buf row = HTH_BUF_INIT(1 << 20);
	bool quoted = false, at_start = true;
	for (size_t i = 0; i <= len; i++) {
		char c = i < len ? s[i] : '\n';
		if (quoted && i < len && row.len < PARAGRAPH_MAX) {
			if (c == '"' && i + 1 < len && s[i + 1] == '"') {
				hth_buf_append_char(&row, '"');
				i++;
			} else if (c == '"') {
				quoted = false;
			} else {
				hth_buf_append_char(&row, c == '\n' || c == '\r' ? ' ' : c);
			}
			continue;
		}
		if (c == '"' && at_start) {
			quoted = true;
			at_start = false;
		} else if (c == separator) {
			hth_buf_append_char(&row, '\t');
			at_start = true;
		} else if (c == '\n') {
			if (row.len > 0 && !hth_tell_text(tell, 0, HTH_ROLE_ROW, NULL, row.data, row.len))
				break;
			hth_buf_clear(&row);
			quoted = false;
			at_start = true;
		} else if (c != '\r') {
			hth_buf_append_char(&row, c);
			at_start = at_start && c == ' ';
		}
	}
	hth_buf_finish(&row);
}

static void tell_paragraphs(hth_tell *tell, const char *s, size_t len, bool markdown)
{
	size_t begin = 0, at = 0;
	while (at < len) {
		size_t n = line_length(s + at, len - at);
		size_t marks = markdown ? heading_marks(s + at, n) : 0;
		bool ends = is_blank(s + at, n) || marks > 0 || at + n - begin > PARAGRAPH_MAX;
		if (ends && at > begin) {
			if (!hth_tell_text(tell, 0, HTH_ROLE_BODY, NULL, s + begin, at - begin))
				return;
			begin = at;
		}
		if (marks > 0) {
			size_t end = n;
			while (end > marks && (s[at + end - 1] == '#' || s[at + end - 1] == '\n' || s[at + end - 1] == '\r' ||
			                       s[at + end - 1] == ' '))
				end--;
			if (!hth_tell_text(tell, 0, HTH_ROLE_HEADING, NULL, s + at + marks, end - marks))
				return;
			begin = at + n;
		}
		at += n;
	}
	if (at > begin)
		hth_tell_text(tell, 0, HTH_ROLE_BODY, NULL, s + begin, at - begin);
}

static void read_bytes(hth_tell *tell, const char *bytes, size_t len, const char *charset, hth_extract_kind kind, hth_verdict *verdict)
{
	hth_buf text = HTH_BUF_INIT(TEXT_MAX);
	hth_charset_decode(&text, bytes, len, charset);
	if (text.failed)
		hth_verdict_partial(verdict, "only the first %d MiB of its text were read", TEXT_MAX >> 20);
	if (text.len > 0 && kind == HTH_KIND_CSV)
		tell_rows(tell, text.data, text.len);
	else if (text.len > 0)
		tell_paragraphs(tell, text.data, text.len, kind == HTH_KIND_MARKDOWN);
	hth_buf_finish(&text);
}

void hth_read_plain_bytes(hth_tell *tell, const char *bytes, size_t len, const char *charset, hth_verdict *verdict)
{
	read_bytes(tell, bytes, len, charset, HTH_KIND_PLAIN, verdict);
}

void hth_read_plain(hth_tell *tell, hth_source *source, hth_extract_kind kind, hth_verdict *verdict)
{
	hth_tell_meta(tell, &(hth_extract_meta){.kind = kind});
	if (hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) && hth_source_load(source, verdict))
		read_bytes(tell, source->bytes, (size_t)source->len, NULL, kind, verdict);
}
