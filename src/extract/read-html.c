/* read-html.c - HTML by libxml2's forgiving parser: blocks, headings, rows of tables; no scripts, styles or hidden parts. Also XML of no
 * known kind, as its text. Child only. */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/markup.h"
#include "extract/readers.h"

#include <libxml/HTMLparser.h>
#include <strings.h>

enum { TEXT_MAX = 4 << 20, HTML_MAX = 64 << 20, META_LOOK = 4096, XML_BLOCK = 400 };

typedef struct page {
	hth_tell *tell;
	uint32_t number;
	hth_buf text;
	int rows;
	bool pre;
} page;

static bool is_one_of(const char *name, const char *list)
{
	size_t n = strlen(name);
	for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
		if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	return false;
}

static bool flush(page *p, hth_extract_role role)
{
	bool ok = p->text.len == 0 || hth_tell_text(p->tell, p->number, role, NULL, p->text.data, p->text.len);
	hth_buf_clear(&p->text);
	return ok;
}

/* Spaces and line ends of the source are one space, unless preformatted. */
static void put_text(page *p, const char *s)
{
	for (; *s != '\0'; s++) {
		bool blank = *s == ' ' || *s == '\n' || *s == '\t' || *s == '\r';
		if (!blank || p->pre)
			hth_buf_append_char(&p->text, *s);
		else if (p->text.len > 0 && p->text.data[p->text.len - 1] != ' ' && p->text.data[p->text.len - 1] != '\n' &&
		         p->text.data[p->text.len - 1] != '\t')
			hth_buf_append_char(&p->text, ' ');
	}
}

static bool is_hidden(const xmlNode *node)
{
	for (const xmlAttr *a = node->properties; a != NULL; a = a->next) {
		const char *name = (const char *)a->name, *value = a->children != NULL ? (const char *)a->children->content : NULL;
		if (strcasecmp(name, "hidden") == 0)
			return true;
		if (value != NULL && strcasecmp(name, "style") == 0 &&
		    (strstr(value, "display:none") != NULL || strstr(value, "display: none") != NULL))
			return true;
	}
	return false;
}

static const char *attribute(const xmlNode *node, const char *name)
{
	for (const xmlAttr *a = node->properties; a != NULL; a = a->next)
		if (strcasecmp((const char *)a->name, name) == 0)
			return a->children != NULL ? (const char *)a->children->content : NULL;
	return NULL;
}

/* Depth is libxml2's own limit of 256. */
static bool walk(page *p, const xmlNode *node)
{
	for (; node != NULL; node = node->next) {
		if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
			if (node->content != NULL)
				put_text(p, (const char *)node->content);
			continue;
		}
		if (node->type != XML_ELEMENT_NODE || is_one_of((const char *)node->name,
		                                                "script style noscript template head svg math object applet canvas") ||
		    is_hidden(node))
			continue;
		const char *name = (const char *)node->name;
		bool heading = name[0] == 'h' && name[1] >= '1' && name[1] <= '6' && name[2] == '\0', row = strcmp(name, "tr") == 0;
		bool block = heading ||
		    is_one_of(name, "p div section article header footer main aside nav ul ol li dl dt dd table thead tbody tfoot caption "
		                                        "blockquote pre form fieldset figure figcaption address hr body center option "
		                                        "details summary");
		if (strcmp(name, "br") == 0)
			hth_buf_append_char(&p->text, p->rows > 0 ? ' ' : '\n');
		if (strcmp(name, "img") == 0 && attribute(node, "alt") != NULL)
			put_text(p, attribute(node, "alt"));
		if (((block || row) && p->rows == 0 && !flush(p, HTH_ROLE_BODY)))
			return false;
		if (block && p->rows > 0)
			put_text(p, " ");
		p->rows += row;
		bool was_pre = p->pre;
		p->pre = p->pre || strcmp(name, "pre") == 0;
		if (!walk(p, node->children))
			return false;
		p->pre = was_pre;
		p->rows -= row;
		if ((strcmp(name, "td") == 0 || strcmp(name, "th") == 0) && p->text.len > 0)
			hth_buf_append_char(&p->text, '\t');
		if (row && p->rows == 0 && !flush(p, HTH_ROLE_ROW))
			return false;
		if (block && p->rows == 0 && !flush(p, heading ? HTH_ROLE_HEADING : HTH_ROLE_BODY))
			return false;
		if (block && p->rows > 0)
			put_text(p, " ");
	}
	return true;
}

static const xmlNode *find(const xmlNode *node, const char *name, int depth)
{
	for (; node != NULL && depth < 4; node = node->next) {
		if (node->type != XML_ELEMENT_NODE)
			continue;
		if (strcmp((const char *)node->name, name) == 0)
			return node;
		const xmlNode *inner = find(node->children, name, depth + 1);
		if (inner != NULL)
			return inner;
	}
	return NULL;
}

/* <meta charset=x> or <meta http-equiv content="text/html; charset=x">, or XML's encoding="x"; "" none. */
static void declared_charset(const char *bytes, size_t len, char ret[64])
{
	char look[META_LOOK + 1];
	size_t n = HTH_MIN(len, (size_t)META_LOOK);
	for (size_t i = 0; i < n; i++)
		look[i] = bytes[i] != '\0' ? bytes[i] : ' ';
	look[n] = '\0';
	ret[0] = '\0';
	const char *at = strcasestr(look, "charset=");
	at = at != NULL ? at + 8 : strcasestr(look, "encoding=");
	if (at == NULL)
		return;
	at += strncasecmp(at, "encoding=", 9) == 0 ? 9 : 0;
	at += strspn(at, "\"' ");
	size_t m = strcspn(at, "\"' />;?\r\n\t");
	if (m < 64) {
		memcpy(ret, at, m);
		ret[m] = '\0';
	}
}

bool hth_read_html_bytes(hth_tell *tell, uint32_t number, const char *bytes, size_t len, const char *charset, bool meta,
                         hth_verdict *verdict)
{
	char declared[64];
	if (charset == NULL || charset[0] == '\0') {
		declared_charset(bytes, len, declared);
		charset = declared;
	}
	hth_buf utf8 = HTH_BUF_INIT(HTML_MAX);
	hth_charset_decode(&utf8, bytes, len, charset);
	if (utf8.failed)
		hth_verdict_partial(verdict, "only its first %d MiB were read", HTML_MAX >> 20);
	/* Zeros would end it early for libxml2. */
	for (size_t i = 0; i < utf8.len; i++)
		if (utf8.data[i] == '\0')
			utf8.data[i] = ' ';
	htmlDocPtr doc = utf8.len == 0 ? NULL
	                               : htmlReadMemory(utf8.data, (int)utf8.len, NULL, "UTF-8",
	                                                HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET);
	hth_buf_finish(&utf8);
	bool go_on = true;
	const xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
	if (meta) {
		const xmlNode *html = root != NULL ? find(root, "html", 0) : NULL, *title = root != NULL ? find(root, "title", 0) : NULL;
		xmlChar *text = title != NULL ? xmlNodeGetContent((xmlNodePtr)(uintptr_t)title) : NULL;
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_HTML,
		                                        .title = (const char *)text,
		                                        .language = html != NULL ? attribute(html, "lang") : NULL});
		xmlFree(text);
	}
	if (root != NULL) {
		page p = {.tell = tell, .number = number, .text = HTH_BUF_INIT(TEXT_MAX)};
		go_on = walk(&p, root);
		flush(&p, HTH_ROLE_BODY);
		hth_buf_finish(&p.text);
	}
	if (doc != NULL)
		xmlFreeDoc(doc);
	return go_on;
}

void hth_read_html(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	if (!hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) || !hth_source_load(source, verdict)) {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_HTML});
		return;
	}
	hth_read_html_bytes(tell, 0, source->bytes, (size_t)source->len, NULL, true, verdict);
}

/* ---- XML ---- */

typedef struct xml {
	hth_tell *tell;
	hth_buf text;
} xml;

static void xml_open(void *ctx, hth_markup *markup, const char *name)
{
	(void)name;
	if (((xml *)ctx)->tell->full)
		hth_markup_stop(markup);
}

static void xml_close(void *ctx, const char *name)
{
	(void)name;
	xml *x = ctx;
	if (x->text.len > XML_BLOCK) {
		hth_tell_text(x->tell, 0, HTH_ROLE_BODY, NULL, x->text.data, x->text.len);
		hth_buf_clear(&x->text);
	} else if (x->text.len > 0 && x->text.data[x->text.len - 1] != '\n') {
		hth_buf_append_char(&x->text, '\n');
	}
}

static void xml_text(void *ctx, const char *text, size_t len) { hth_buf_append(&((xml *)ctx)->text, text, len); }

void hth_read_xml(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_XML});
	if (!hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) || !hth_source_load(source, verdict))
		return;
	static const hth_markup_events events = {xml_open, xml_close, xml_text};
	xml x = {.tell = tell, .text = HTH_BUF_INIT(TEXT_MAX)};
	uint64_t before = tell->n_blocks;
	bool ok = hth_markup_read(source->bytes, (size_t)source->len, &events, &x);
	if (x.text.len > 0)
		hth_tell_text(tell, 0, HTH_ROLE_BODY, NULL, x.text.data, x.text.len);
	hth_buf_finish(&x.text);
	if (!ok && tell->n_blocks == before) /* not XML after all: as it stands */
		hth_read_plain(tell, source, HTH_KIND_XML, verdict);
	else if (!ok)
		hth_verdict_partial(verdict, "damaged: its XML ends early or breaks the rules");
}
