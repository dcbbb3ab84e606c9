/* markup.c - libxml2's reader behind three callbacks. See markup.h.
 * Entities are not replaced (a billion laughs stay three letters), nothing external is loaded, and depth is libxml2's own limit. */
#include "extract/markup.h"

#include "base/mem.h"

#include <libxml/xmlreader.h>
#include <stdio.h>
#include <time.h>

enum { BYTES_MAX = INT32_MAX };

struct hth_markup {
	xmlTextReaderPtr reader;
	xmlChar *value;
	bool stop;
};

static void be_silent(void *ctx, const char *format, ...)
{
	(void)ctx;
	(void)format;
}

void hth_markup_load(void)
{
	xmlInitParser();
	xmlSetGenericErrorFunc(NULL, be_silent);
}

const char *hth_markup_attribute(hth_markup *m, const char *name)
{
	xmlFree(m->value);
	m->value = NULL;
	if (xmlTextReaderMoveToFirstAttribute(m->reader) != 1)
		return NULL;
	do {
		const xmlChar *local = xmlTextReaderConstLocalName(m->reader);
		if (local != NULL && strcmp((const char *)local, name) == 0) {
			m->value = xmlTextReaderValue(m->reader);
			break;
		}
	} while (xmlTextReaderMoveToNextAttribute(m->reader) == 1);
	xmlTextReaderMoveToElement(m->reader);
	return (const char *)m->value;
}

void hth_markup_stop(hth_markup *m) { m->stop = true; }

bool hth_markup_read(const char *bytes, size_t len, const hth_markup_events *events, void *ctx)
{
	if (len == 0 || len > BYTES_MAX)
		return false;
	xmlTextReaderPtr reader = xmlReaderForMemory(bytes, (int)len, NULL, NULL,
	                                             XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_RECOVER);
	if (reader == NULL)
		return false;
	hth_markup m = {.reader = reader};
	int rc;
	while (!m.stop && (rc = xmlTextReaderRead(reader)) == 1) {
		int type = xmlTextReaderNodeType(reader);
		const char *name = (const char *)xmlTextReaderConstLocalName(reader);
		if (type == XML_READER_TYPE_ELEMENT) {
			bool empty = xmlTextReaderIsEmptyElement(reader) == 1;
			char kept[128];
			snprintf(kept, sizeof kept, "%s", name != NULL ? name : "");
			events->open(ctx, &m, kept);
			if (empty && !m.stop)
				events->close(ctx, kept);
		} else if (type == XML_READER_TYPE_END_ELEMENT) {
			events->close(ctx, name != NULL ? name : "");
		} else if (type == XML_READER_TYPE_TEXT || type == XML_READER_TYPE_CDATA ||
		           type == XML_READER_TYPE_SIGNIFICANT_WHITESPACE) {
			const char *text = (const char *)xmlTextReaderConstValue(reader);
			if (text != NULL)
				events->text(ctx, text, strlen(text));
		}
	}
	bool ok = m.stop || rc == 0;
	xmlFree(m.value);
	xmlFreeTextReader(reader);
	return ok;
}

/* ---- facts ---- */

bool hth_parse_iso_date(const char *text, int64_t *ret)
{
	struct tm t = {0};
	int n = sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec);
	if (n < 3 || t.tm_year < 1000 || t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 || t.tm_mday > 31 || t.tm_hour < 0 ||
	    t.tm_hour > 24 || t.tm_min < 0 || t.tm_min > 59 || t.tm_sec < 0 || t.tm_sec > 60)
		return false;
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	*ret = (int64_t)timegm(&t);
	return true;
}

typedef struct facts_reader {
	hth_facts *facts;
	char element[64];
	hth_buf value;
} facts_reader;

static void facts_open(void *ctx, hth_markup *markup, const char *name)
{
	(void)markup;
	facts_reader *r = ctx;
	snprintf(r->element, sizeof r->element, "%.63s", name);
	hth_buf_clear(&r->value);
}

static void facts_text(void *ctx, const char *text, size_t len) { hth_buf_append(&((facts_reader *)ctx)->value, text, len); }

static void facts_close(void *ctx, const char *name)
{
	facts_reader *r = ctx;
	hth_facts *f = r->facts;
	const char *v = r->value.data != NULL && !r->value.failed ? r->value.data : "";
	if (strcmp(name, r->element) != 0 || *v == '\0')
		return;
	int64_t date;
	if (strcmp(name, "title") == 0 && f->title[0] == '\0')
		snprintf(f->title, sizeof f->title, "%.1023s", v);
	else if (strcmp(name, "creator") == 0 && f->author[0] == '\0')
		snprintf(f->author, sizeof f->author, "%.511s", v);
	else if (strcmp(name, "language") == 0 && f->language[0] == '\0')
		snprintf(f->language, sizeof f->language, "%.63s", v);
	else if ((strcmp(name, "created") == 0 || strcmp(name, "creation-date") == 0 || strcmp(name, "date") == 0) && !f->has_date &&
	         hth_parse_iso_date(v, &date)) {
		f->has_date = true;
		f->date = date;
	}
	hth_buf_clear(&r->value);
}

void hth_facts_read(hth_facts *facts, const char *bytes, size_t len)
{
	facts_reader r = {.facts = facts, .value = HTH_BUF_INIT(4096)};
	static const hth_markup_events events = {facts_open, facts_close, facts_text};
	(void)!hth_markup_read(bytes, len, &events, &r);
	hth_buf_finish(&r.value);
}

void hth_facts_tell(hth_tell *tell, const hth_facts *facts, hth_extract_kind kind, uint32_t pages)
{
	hth_tell_meta(tell, &(hth_extract_meta){.kind = kind,
	                                        .pages = pages,
	                                        .has_date = facts->has_date,
	                                        .date = facts->date,
	                                        .title = facts->title,
	                                        .author = facts->author,
	                                        .language = facts->language});
}
