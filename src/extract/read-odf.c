/* read-odf.c - odt, ods and odp: content.xml of an OpenDocument zip (ISO/IEC 26300). Child only. */
#include "base/mem.h"
#include "extract/markup.h"
#include "extract/readers.h"
#include "extract/zip.h"

enum { TEXT_MAX = 4 << 20 };

typedef struct odf {
	hth_tell *tell;
	hth_extract_kind kind;
	uint32_t page;
	hth_buf text;
	int rows, paragraphs, skip;
	bool heading;
} odf;

static void flush(odf *o, hth_extract_role role)
{
	if (o->text.len > 0)
		(void)hth_tell_text(o->tell, o->page, role, NULL, o->text.data, o->text.len);
	hth_buf_clear(&o->text);
}

static bool is_hidden(const char *name)
{
	static const char *const hidden[] = {"tracked-changes", "styles", "font-face-decls", "automatic-styles", "settings", "scripts",
	                                     "forms",
	                                     "sequence-decls", "object-ole", "binary-data"};
	for (size_t i = 0; i < HTH_COUNT(hidden); i++)
		if (strcmp(name, hidden[i]) == 0)
			return true;
	return false;
}

static void odf_open(void *ctx, hth_markup *markup, const char *name)
{
	odf *o = ctx;
	if (o->tell->full)
		hth_markup_stop(markup);
	if (o->skip > 0 || is_hidden(name)) {
		o->skip++;
		return;
	}
	if (strcmp(name, "p") == 0 || strcmp(name, "h") == 0) {
		if (o->paragraphs++ > 0 && o->text.len > 0) /* a text box within a paragraph */
			hth_buf_append_char(&o->text, '\n');
		o->heading = name[0] == 'h';
	} else if (strcmp(name, "tab") == 0) {
		hth_buf_append_char(&o->text, '\t');
	} else if (strcmp(name, "s") == 0) {
		hth_buf_append_char(&o->text, ' ');
	} else if (strcmp(name, "line-break") == 0) {
		hth_buf_append_char(&o->text, o->rows > 0 ? ' ' : '\n');
	} else if (strcmp(name, "table-row") == 0) {
		if (o->rows++ == 0)
			flush(o, HTH_ROLE_BODY);
	} else if (strcmp(name, "table") == 0 && o->kind == HTH_KIND_ODS && o->rows == 0) {
		const char *title = hth_markup_attribute(markup, "name");
		o->page++;
		if (title != NULL)
			(void)hth_tell_text(o->tell, o->page, HTH_ROLE_HEADING, NULL, title, strlen(title));
	} else if (strcmp(name, "page") == 0 && o->kind == HTH_KIND_ODP) {
		o->page++;
	}
}

static void odf_close(void *ctx, const char *name)
{
	odf *o = ctx;
	if (o->skip > 0) {
		o->skip--;
		return;
	}
	if (strcmp(name, "p") == 0 || strcmp(name, "h") == 0) {
		o->paragraphs -= o->paragraphs > 0;
		if (o->rows > 0)
			hth_buf_append_char(&o->text, ' ');
		else if (o->paragraphs == 0)
			flush(o, o->heading ? HTH_ROLE_HEADING : HTH_ROLE_BODY);
	} else if (strcmp(name, "table-cell") == 0 || strcmp(name, "covered-table-cell") == 0) {
		if (o->text.len > 0)
			hth_buf_append_char(&o->text, '\t');
	} else if (strcmp(name, "table-row") == 0 && o->rows > 0 && --o->rows == 0) {
		flush(o, HTH_ROLE_ROW);
	}
}

static void odf_text(void *ctx, const char *text, size_t len)
{
	odf *o = ctx;
	if (o->skip > 0 || o->paragraphs == 0)
		return;
	hth_buf_append(&o->text, text, len);
}

/* ---- how many pages it has, before they are told ---- */

typedef struct counter {
	const char *element;
	uint32_t n;
} counter;
static void count_open(void *ctx, hth_markup *markup, const char *name)
{
	(void)markup;
	counter *c = ctx;
	c->n += strcmp(name, c->element) == 0;
}
static void count_close(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
}
static void count_text(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	(void)text;
	(void)len;
}

static bool want(const char *name)
{
	return strcmp(name, "content.xml") == 0 || strcmp(name, "meta.xml") == 0 || strcmp(name, "META-INF/manifest.xml") == 0;
}

void hth_read_odf(hth_tell *tell, hth_source *source, hth_extract_kind kind, hth_verdict *verdict)
{
	hth_members members;
	if (!hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) || !hth_members_load(&members, tell, source, want, verdict)) {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = kind});
		return;
	}
	hth_facts facts = {0};
	const hth_member *meta = hth_members_find(&members, "meta.xml"), *content = hth_members_find(&members, "content.xml");
	const hth_member *manifest = hth_members_find(&members, "META-INF/manifest.xml");
	bool locked = members.encrypted || (manifest != NULL && strstr(manifest->bytes, "encryption-data") != NULL);
	if (meta != NULL && !locked)
		hth_facts_read(&facts, meta->bytes, meta->len);
	counter count = {.element = kind == HTH_KIND_ODS ? "table" : "page"};
	static const hth_markup_events count_events = {count_open, count_close, count_text};
	if (content != NULL && !locked && kind != HTH_KIND_ODT)
		(void)!hth_markup_read(content->bytes, content->len, &count_events, &count);
	hth_facts_tell(tell, &facts, kind, count.n);
	if (locked) {
		hth_verdict_unreadable(verdict, "encrypted: needs a password");
	} else if (content == NULL) {
		hth_verdict_unreadable(verdict, "damaged: its content is missing");
	} else {
		static const hth_markup_events events = {odf_open, odf_close, odf_text};
		odf o = {.tell = tell, .kind = kind, .text = HTH_BUF_INIT(TEXT_MAX)};
		uint64_t before = tell->n_blocks;
		bool ok = hth_markup_read(content->bytes, content->len, &events, &o) && !members.damaged;
		flush(&o, HTH_ROLE_BODY);
		hth_buf_finish(&o.text);
		if (!ok && tell->n_blocks == before)
			hth_verdict_unreadable(verdict, "damaged: its XML cannot be read");
		else if (!ok)
			hth_verdict_partial(verdict, "damaged: only a part of it can be read");
	}
	hth_members_finish(&members);
}
