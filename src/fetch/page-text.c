/* page-text.c - see page-text.h. Pure; any thread. */
#include "fetch/page-text.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

typedef enum tag_kind {
	TAG_INLINE, /* no break */
	TAG_BLOCK,  /* an empty line before and after */
	TAG_LINE,   /* begins and ends a line */
	TAG_BREAK,
	TAG_ITEM,
	TAG_CELL,
	TAG_HEADING,
	TAG_PRE,
	TAG_SKIP, /* with all that is in it, up to its end */
	TAG_RAW,  /* its text is no HTML, and is left out */
	TAG_TITLE,
	TAG_LINK,
	TAG_BASE
} tag_kind;

static const struct {
	const char *name;
	tag_kind kind;
} tags[] = {{"p", TAG_BLOCK},        {"div", TAG_LINE},         {"section", TAG_BLOCK}, {"article", TAG_BLOCK},
            {"main", TAG_BLOCK},     {"header", TAG_BLOCK},     {"footer", TAG_BLOCK},  {"nav", TAG_BLOCK},
            {"aside", TAG_BLOCK},    {"ul", TAG_BLOCK},         {"ol", TAG_BLOCK},      {"dl", TAG_BLOCK},
            {"table", TAG_BLOCK},    {"blockquote", TAG_BLOCK}, {"form", TAG_BLOCK},    {"figure", TAG_BLOCK},
            {"fieldset", TAG_BLOCK}, {"hr", TAG_BLOCK},         {"details", TAG_BLOCK}, {"address", TAG_BLOCK},
            {"tr", TAG_LINE},        {"dt", TAG_LINE},          {"dd", TAG_LINE},       {"option", TAG_LINE},
            {"summary", TAG_LINE},   {"figcaption", TAG_LINE},  {"caption", TAG_LINE},  {"legend", TAG_LINE},
            {"body", TAG_BLOCK},     {"br", TAG_BREAK},         {"li", TAG_ITEM},       {"td", TAG_CELL},
            {"th", TAG_CELL},        {"h1", TAG_HEADING},       {"h2", TAG_HEADING},    {"h3", TAG_HEADING},
            {"h4", TAG_HEADING},     {"h5", TAG_HEADING},       {"h6", TAG_HEADING},    {"pre", TAG_PRE},
            {"textarea", TAG_SKIP},  {"template", TAG_SKIP},    {"svg", TAG_SKIP},      {"math", TAG_SKIP},
            {"canvas", TAG_SKIP},    {"object", TAG_SKIP},      {"audio", TAG_SKIP},    {"video", TAG_SKIP},
            {"script", TAG_RAW},     {"style", TAG_RAW},        {"noscript", TAG_SKIP}, {"iframe", TAG_RAW},
            {"noembed", TAG_RAW},    {"noframes", TAG_RAW},     {"title", TAG_TITLE},   {"a", TAG_LINK},
            {"base", TAG_BASE}};

/* The references that pages use; the rest are numbers in practice. */
static const struct {
	const char *name;
	uint32_t cp;
} references[] = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},        {"quot", '"'},      {"apos", '\''},    {"nbsp", ' '},
    {"copy", 0xA9},    {"reg", 0xAE},     {"trade", 0x2122},  {"hellip", 0x2026}, {"mdash", 0x2014}, {"ndash", 0x2013},
    {"lsquo", 0x2018}, {"rsquo", 0x2019}, {"ldquo", 0x201C},  {"rdquo", 0x201D},  {"sbquo", 0x201A}, {"bdquo", 0x201E},
    {"laquo", 0xAB},   {"raquo", 0xBB},   {"lsaquo", 0x2039}, {"rsaquo", 0x203A}, {"bull", 0x2022},  {"middot", 0xB7},
    {"euro", 0x20AC},  {"pound", 0xA3},   {"yen", 0xA5},      {"cent", 0xA2},     {"sect", 0xA7},    {"para", 0xB6},
    {"deg", 0xB0},     {"plusmn", 0xB1},  {"times", 0xD7},    {"divide", 0xF7},   {"minus", 0x2212}, {"frac12", 0xBD},
    {"frac14", 0xBC},  {"frac34", 0xBE},  {"sup2", 0xB2},     {"sup3", 0xB3},     {"micro", 0xB5},   {"larr", 0x2190},
    {"uarr", 0x2191},  {"rarr", 0x2192},  {"darr", 0x2193},   {"iexcl", 0xA1},    {"iquest", 0xBF},  {"szlig", 0xDF},
    {"agrave", 0xE0},  {"aacute", 0xE1},  {"acirc", 0xE2},    {"atilde", 0xE3},   {"auml", 0xE4},    {"aring", 0xE5},
    {"aelig", 0xE6},   {"ccedil", 0xE7},  {"egrave", 0xE8},   {"eacute", 0xE9},   {"ecirc", 0xEA},   {"euml", 0xEB},
    {"igrave", 0xEC},  {"iacute", 0xED},  {"icirc", 0xEE},    {"iuml", 0xEF},     {"ntilde", 0xF1},  {"ograve", 0xF2},
    {"oacute", 0xF3},  {"ocirc", 0xF4},   {"otilde", 0xF5},   {"ouml", 0xF6},     {"oslash", 0xF8},  {"ugrave", 0xF9},
    {"uacute", 0xFA},  {"ucirc", 0xFB},   {"uuml", 0xFC},     {"yacute", 0xFD},   {"yuml", 0xFF},    {"Agrave", 0xC0},
    {"Aacute", 0xC1},  {"Acirc", 0xC2},   {"Auml", 0xC4},     {"Aring", 0xC5},    {"AElig", 0xC6},   {"Ccedil", 0xC7},
    {"Egrave", 0xC8},  {"Eacute", 0xC9},  {"Ecirc", 0xCA},    {"Ouml", 0xD6},     {"Oslash", 0xD8},  {"Uuml", 0xDC},
    {"Ntilde", 0xD1},  {"Iacute", 0xCD},  {"Oacute", 0xD3},   {"Uacute", 0xDA},   {"oelig", 0x153},  {"OElig", 0x152},
    {"thinsp", ' '},   {"ensp", ' '},     {"emsp", ' '},      {"zwnj", 0x200C},   {"zwj", 0x200D},   {"shy", 0xAD},
    {"check", 0x2713}, {"star", 0x2606}};

typedef struct reader {
	hth_page *page;
	const char *at, *end;
	/* Of the text that is being written. */
	unsigned newlines;  /* that must stand before the next word */
	bool space;         /* a space must, if nothing else does */
	bool begun;         /* something is on this line */
	unsigned pre;       /* depth of <pre> */
	const char *prefix; /* before the next word: "- ", "## " */
	/* The link that is open. */
	char *href;
	size_t link_from; /* its text begins here in page->text; SIZE_MAX: no word of it has come */
} reader;

/* ---- writing ---- */

static void want_newlines(reader *r, unsigned n)
{
	if (r->page->text.len > 0)
		r->newlines = HTH_MAX(r->newlines, n);
	r->space = false;
	r->begun = false;
}

/* White space that was due, then the bytes of a word. */
static void put_word(reader *r, const char *bytes, size_t len)
{
	hth_buf *out = &r->page->text;
	if (r->newlines > 0)
		hth_buf_append(out, "\n\n", r->newlines);
	else if (r->space && out->len > 0)
		hth_buf_append_char(out, ' ');
	if (r->prefix != NULL)
		hth_buf_append_str(out, r->prefix);
	if (r->href != NULL && r->link_from == SIZE_MAX)
		r->link_from = out->len;
	r->prefix = NULL;
	r->newlines = 0;
	r->space = false;
	r->begun = true;
	hth_buf_append(out, bytes, len);
}

/* A run of text as the page has it, references resolved already. */
static void put_char(reader *r, const char *c, size_t len)
{
	bool white = len == 1 && strchr(" \t\r\n\f", *c) != NULL;
	if (!white && len == 1 && (unsigned char)*c < 0x20)
		return;
	if (!white) {
		put_word(r, c, len);
	} else if (r->pre > 0) {
		if (*c == '\n')
			r->newlines = HTH_MIN(r->newlines + 1, 2u);
		else if (*c != '\r')
			put_word(r, *c == '\t' ? "\t" : " ", 1);
	} else if (r->begun) {
		r->space = true;
	}
}

/* ---- character references ---- */

static uint32_t legal(uint32_t cp)
{
	/* What pages mean by the C1 range is Windows' (the standard's table). */
	static const uint16_t windows[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
	                                     0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
	                                     0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
	                                     0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};
	if (cp >= 0x80 && cp < 0xA0)
		return windows[cp - 0x80];
	if (cp == 0xA0 || cp == '\t' || cp == '\n' || cp == '\r')
		return ' ';
	return cp < 0x20 || cp == 0x7F || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000) ? 0xFFFD : cp;
}

/* At '&'. Returns how many bytes the reference takes (0: it is none) and its character. */
static size_t reference_at(const char *at, const char *end, uint32_t *ret_cp)
{
	size_t room = HTH_MIN((size_t)(end - at), (size_t)32), n = 1;
	if (room > 2 && at[1] == '#') {
		bool hex = at[2] == 'x' || at[2] == 'X';
		uint32_t cp = 0;
		size_t first = n = hex ? 3 : 2;
		for (; n < room && (hex ? isxdigit((unsigned char)at[n]) : isdigit((unsigned char)at[n])); n++) {
			unsigned digit = isdigit((unsigned char)at[n])
			                     ? (unsigned)(at[n] - '0')
			                     : (unsigned)(tolower((unsigned char)at[n]) - 'a' + 10);
			cp = cp > 0x110000 ? cp : cp * (hex ? 16 : 10) + digit;
		}
		if (n == first)
			return 0;
		*ret_cp = legal(cp);
		return n < room && at[n] == ';' ? n + 1 : n;
	}
	while (n < room && isalnum((unsigned char)at[n]))
		n++;
	for (size_t i = 0; n > 1 && n < room && at[n] == ';' && i < HTH_COUNT(references); i++)
		if (strlen(references[i].name) == n - 1 && memcmp(references[i].name, at + 1, n - 1) == 0) {
			*ret_cp = references[i].cp;
			return n + 1;
		}
	return 0;
}

/* One character of text or of an attribute; returns its length in the page. */
static size_t char_at(const char *at, const char *end, char out[4], size_t *ret_len)
{
	uint32_t cp;
	size_t n = *at == '&' ? reference_at(at, end, &cp) : 0;
	if (n > 0) {
		*ret_len = hth_utf8_encode(cp, out);
		return n;
	}
	n = hth_utf8_decode_lossy(at, (size_t)(end - at), &cp);
	*ret_len = hth_utf8_encode(cp, out);
	return n;
}

/* ---- tags ---- */

typedef struct tag {
	char name[16];
	bool closing;
	const char *href, *href_end; /* the attribute's bytes on the page; NULL: none */
} tag;

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* At '<' of a tag; leaves r->at behind its '>'. */
static void take_tag(reader *r, tag *ret)
{
	const char *at = r->at + 1;
	size_t n = 0;
	*ret = (tag){.closing = at < r->end && *at == '/'};
	at += ret->closing;
	for (; at < r->end && !is_space(*at) && *at != '>' && *at != '/'; at++)
		if (n + 1 < sizeof ret->name)
			ret->name[n++] = (char)tolower((unsigned char)*at);
	while (at < r->end && *at != '>') {
		while (at < r->end && (is_space(*at) || *at == '/'))
			at++;
		const char *key = at;
		while (at < r->end && !is_space(*at) && *at != '=' && *at != '>' && *at != '/')
			at++;
		size_t key_len = (size_t)(at - key);
		while (at < r->end && is_space(*at))
			at++;
		if (at == r->end || *at != '=') {
			if (at < r->end && key_len == 0 && *at != '>')
				at++;
			continue;
		}
		at++;
		while (at < r->end && is_space(*at))
			at++;
		const char *value = at, *value_end;
		if (at < r->end && (*at == '"' || *at == '\'')) {
			const char *quote = memchr(at + 1, *at, (size_t)(r->end - at - 1));
			value = at + 1;
			value_end = quote != NULL ? quote : r->end;
			at = quote != NULL ? quote + 1 : r->end;
		} else {
			while (at < r->end && !is_space(*at) && *at != '>')
				at++;
			value_end = at;
		}
		if (key_len == 4 && strncasecmp(key, "href", 4) == 0 && ret->href == NULL) {
			ret->href = value;
			ret->href_end = value_end;
		}
	}
	r->at = at < r->end ? at + 1 : r->end;
}

static tag_kind kind_of(const char *name)
{
	for (size_t i = 0; i < HTH_COUNT(tags); i++)
		if (strcmp(tags[i].name, name) == 0)
			return tags[i].kind;
	return TAG_INLINE;
}

/* Behind the end tag of that name, or the page's end. */
static const char *behind_end(const reader *r, const char *name, const char **ret_before)
{
	size_t n = strlen(name);
	for (const char *at = r->at; (at = memchr(at, '<', (size_t)(r->end - at))) != NULL; at++) {
		if ((size_t)(r->end - at) > n + 2 && at[1] == '/' && strncasecmp(at + 2, name, n) == 0 &&
		    (is_space(at[2 + n]) || at[2 + n] == '>' || at[2 + n] == '/')) {
			*ret_before = at;
			const char *end = memchr(at, '>', (size_t)(r->end - at));
			return end != NULL ? end + 1 : r->end;
		}
	}
	*ret_before = r->end;
	return r->end;
}

/* Text with its white space folded, cut to what fits. */
static void fold(const char *from, const char *end, char *out, size_t room)
{
	size_t n = 0;
	bool space = false;
	while (from < end) {
		char c[4];
		size_t len, took = char_at(from, end, c, &len);
		from += took;
		if (len == 1 && is_space(c[0])) {
			space = n > 0;
			continue;
		}
		if (n + len + space >= room)
			break;
		if (space)
			out[n++] = ' ';
		space = false;
		memcpy(out + n, c, len);
		n += len;
	}
	out[n] = '\0';
}

/* ---- links ---- */

static char *attribute(const char *from, const char *end)
{
	if ((size_t)(end - from) >= HTH_PAGE_URL_MAX)
		return NULL;
	char *out = malloc((size_t)(end - from) * 4 + 1);
	size_t n = 0;
	while (out != NULL && from < end) {
		char c[4];
		size_t len;
		from += char_at(from, end, c, &len);
		if (len == 1 && (unsigned char)c[0] <= 0x20) {
			if (n == 0 || c[0] != ' ')
				continue; /* white space around an address, and line ends in it, are nothing */
			memcpy(out + n, "%20", 3);
			n += 3;
			continue;
		}
		memcpy(out + n, c, len);
		n += len;
	}
	if (out != NULL) {
		while (n >= 3 && memcmp(out + n - 3, "%20", 3) == 0)
			n -= 3;
		out[n] = '\0';
	}
	if (n >= HTH_PAGE_URL_MAX) {
		free(out);
		return NULL;
	}
	return out;
}

static void close_link(reader *r)
{
	hth_page *p = r->page;
	char text[HTH_PAGE_LINK_TEXT_MAX] = "";
	if (r->href == NULL)
		return;
	if (r->link_from != SIZE_MAX && r->link_from < p->text.len)
		fold(p->text.data + r->link_from, p->text.data + p->text.len, text, sizeof text);
	bool again = p->n_links > 0 && strcmp(p->links[p->n_links - 1].url, r->href) == 0;
	if (r->href[0] != '\0' && r->href[0] != '#' && p->n_links < HTH_PAGE_LINKS_MAX && !again) {
		char *copy = strdup(text);
		if (copy != NULL) {
			p->links[p->n_links++] = (hth_page_link){.url = r->href, .text = copy};
			r->href = NULL;
		}
	}
	free(r->href);
	r->href = NULL;
}

static void open_link(reader *r, const tag *t)
{
	close_link(r);
	if (t->href == NULL)
		return;
	r->href = attribute(t->href, t->href_end);
	r->link_from = SIZE_MAX;
}

/* ---- the page ---- */

static void on_tag(reader *r)
{
	static const char *const marks[] = {"# ", "## ", "### ", "#### ", "##### ", "###### "};
	tag t;
	const char *before;
	take_tag(r, &t);
	switch (kind_of(t.name)) {
	case TAG_BLOCK:
		want_newlines(r, 2);
		break;
	case TAG_LINE:
		want_newlines(r, 1);
		break;
	case TAG_BREAK:
		r->newlines = r->page->text.len > 0 ? HTH_MIN(r->newlines + 1, 2u) : 0;
		r->space = false;
		break;
	case TAG_ITEM:
		want_newlines(r, 1);
		r->prefix = t.closing ? NULL : "- ";
		break;
	case TAG_CELL:
		if (!t.closing && r->begun)
			put_word(r, "\t", 1);
		break;
	case TAG_HEADING: {
		size_t level = (size_t)t.name[1] - '1';
		want_newlines(r, 2);
		r->prefix = t.closing || level >= HTH_COUNT(marks) ? NULL : marks[level];
		break;
	}
	case TAG_PRE:
		want_newlines(r, 2);
		if (!t.closing)
			r->pre++;
		else if (r->pre > 0)
			r->pre--;
		break;
	case TAG_SKIP:
	case TAG_RAW:
		if (!t.closing)
			r->at = behind_end(r, t.name, &before);
		break;
	case TAG_TITLE:
		if (!t.closing) {
			const char *from = r->at;
			r->at = behind_end(r, t.name, &before);
			if (r->page->title[0] == '\0')
				fold(from, before, r->page->title, sizeof r->page->title);
		}
		break;
	case TAG_LINK:
		if (t.closing)
			close_link(r);
		else
			open_link(r, &t);
		break;
	case TAG_BASE:
		if (t.href != NULL && r->page->base[0] == '\0') {
			HTH_AUTO_FREE char *href = attribute(t.href, t.href_end);
			if (href != NULL)
				snprintf(r->page->base, sizeof r->page->base, "%s", href);
		}
		break;
	default:
		break;
	}
}

/* <!-- -->, <!doctype>, <![CDATA[ ]]>, <?xml ?> */
static void on_declaration(reader *r)
{
	size_t left = (size_t)(r->end - r->at);
	const char *end;
	if (left >= 4 && memcmp(r->at, "<!--", 4) == 0) {
		end = memmem(r->at + 2, left - 2, "-->", 3); /* "<!-->" is whole, says the standard */
		r->at = end != NULL ? end + 3 : r->end;
		return;
	}
	end = memchr(r->at, '>', left);
	r->at = end != NULL ? end + 1 : r->end;
}

hth_status hth_page_read(hth_page *page, const char *html, size_t len, hth_error *err)
{
	/* A tag may stand for more bytes than it has: "<h6>" for two line ends and seven of its mark. */
	page->text = HTH_BUF_INIT(len * 3 + 64);
	reader r = {.page = page, .at = html, .end = html + len, .link_from = SIZE_MAX};
	while (r.at < r.end && !page->text.failed) {
		bool more = r.end - r.at > 1;
		if (*r.at == '<' && more &&
		    (isalpha((unsigned char)r.at[1]) ||
		     (r.at[1] == '/' && r.end - r.at > 2 && isalpha((unsigned char)r.at[2])))) {
			on_tag(&r);
		} else if (*r.at == '<' && more && (r.at[1] == '!' || r.at[1] == '?' || r.at[1] == '/')) {
			on_declaration(&r);
		} else {
			char c[4];
			size_t n;
			r.at += char_at(r.at, r.end, c, &n);
			put_char(&r, c, n);
		}
	}
	close_link(&r);
	free(r.href);
	return hth_buf_check(&page->text, "the page's text", err);
}

void hth_page_finish(hth_page *page)
{
	hth_buf_finish(&page->text);
	for (size_t i = 0; i < page->n_links; i++) {
		free(page->links[i].url);
		free(page->links[i].text);
	}
	page->n_links = 0;
}
