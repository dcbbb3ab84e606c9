/* read-epub.c - EPUB: container.xml names the package, its spine the chapters' order, chapters are XHTML. A chapter is a page. Child
 * only. */
#include "base/mem.h"
#include "extract/markup.h"
#include "extract/readers.h"
#include "extract/zip.h"

#include <stdio.h>
#include <strings.h>

enum { ITEMS_MAX = 4096 };

typedef struct item {
	char *id, *href;
} item;
typedef struct package {
	item items[ITEMS_MAX];
	size_t n_items, spine[ITEMS_MAX], n_spine;
} package;

static bool want(const char *name)
{
	char ending[16];
	hth_name_ending(name, ending);
	return strcmp(name, "META-INF/container.xml") == 0 || strcmp(name, "META-INF/encryption.xml") == 0 || strcmp(ending, "opf") == 0 ||
	       strcmp(ending, "xhtml") == 0 || strcmp(ending, "html") == 0 || strcmp(ending, "htm") == 0 || strcmp(ending, "xml") == 0;
}

static void container_open(void *ctx, hth_markup *markup, const char *name)
{
	char **path = ctx;
	if (strcmp(name, "rootfile") == 0 && *path == NULL) {
		const char *v = hth_markup_attribute(markup, "full-path");
		*path = v != NULL ? strdup(v) : NULL;
	}
}

static void package_open(void *ctx, hth_markup *markup, const char *name)
{
	package *p = ctx;
	if (strcmp(name, "item") == 0 && p->n_items < ITEMS_MAX) {
		item *it = &p->items[p->n_items++];
		const char *v = hth_markup_attribute(markup, "id");
		it->id = strdup(v != NULL ? v : "");
		v = hth_markup_attribute(markup, "href");
		it->href = strdup(v != NULL ? v : "");
	} else if (strcmp(name, "itemref") == 0 && p->n_spine < ITEMS_MAX) {
		const char *v = hth_markup_attribute(markup, "idref");
		for (size_t i = 0; v != NULL && i < p->n_items; i++)
			if (p->items[i].id != NULL && strcmp(p->items[i].id, v) == 0) {
				p->spine[p->n_spine++] = i;
				break;
			}
	}
}

static void no_close(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
}
static void no_text(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	(void)text;
	(void)len;
}

/* "OEBPS/content.opf" and "text/a%20b.xhtml#x": OEBPS/text/a b.xhtml */
static const hth_member *find_chapter(const hth_members *members, const char *package_path, const char *href)
{
	char path[1024];
	const char *slash = strrchr(package_path, '/');
	int n = slash != NULL ? (int)(slash - package_path + 1) : 0;
	size_t at = (size_t)snprintf(path, sizeof path, "%.*s", HTH_MIN(n, 500), package_path);
	for (; *href != '\0' && *href != '#' && at < sizeof path - 1; href++) {
		unsigned code;
		if (*href == '%' && sscanf(href + 1, "%2x", &code) == 1 && code >= ' ') {
			path[at++] = (char)code;
			href += 2;
		} else {
			path[at++] = *href;
		}
	}
	path[at] = '\0';
	return hth_members_find(members, path);
}

void hth_read_epub(hth_tell *tell, hth_source *source, hth_verdict *verdict)
{
	hth_members members;
	if (!hth_tell_wants(tell, HTH_EXTRACT_MODE_TEXT) || !hth_members_load(&members, tell, source, want, verdict)) {
		hth_tell_meta(tell, &(hth_extract_meta){.kind = HTH_KIND_EPUB});
		return;
	}
	static const hth_markup_events container_events = {container_open, no_close, no_text},
	    package_events = {package_open, no_close, no_text};
	char *path = NULL;
	hth_facts facts = {0};
	package *p = calloc(1, sizeof *p);
	const hth_member *container = hth_members_find(&members, "META-INF/container.xml");
	if (container != NULL)
		(void)!hth_markup_read(container->bytes, container->len, &container_events, &path);
	const hth_member *opf = path != NULL ? hth_members_find(&members, path) : NULL;
	if (opf != NULL && p != NULL) {
		(void)!hth_markup_read(opf->bytes, opf->len, &package_events, p);
		hth_facts_read(&facts, opf->bytes, opf->len);
	}
	hth_facts_tell(tell, &facts, HTH_KIND_EPUB, p != NULL ? (uint32_t)p->n_spine : 0);
	bool go_on = true, locked = members.encrypted || hth_members_find(&members, "META-INF/encryption.xml") != NULL;
	size_t lost = 0;
	uint64_t before = tell->n_blocks;
	for (size_t i = 0; p != NULL && i < p->n_spine && go_on; i++) {
		const hth_member *chapter = find_chapter(&members, path, p->items[p->spine[i]].href);
		lost += chapter == NULL;
		if (chapter != NULL)
			go_on = hth_read_html_bytes(tell, (uint32_t)i + 1, chapter->bytes, chapter->len, NULL, false, verdict);
	}
	if (opf == NULL || p == NULL)
		hth_verdict_unreadable(verdict, "damaged: an EPUB without its list of chapters");
	else if (tell->n_blocks == before && locked)
		hth_verdict_unreadable(verdict, "encrypted: protected against copying");
	else if (lost > 0)
		hth_verdict_partial(verdict, "damaged: %zu of its %zu chapters cannot be read", lost, p->n_spine);
	for (size_t i = 0; p != NULL && i < p->n_items; i++) {
		free(p->items[i].id);
		free(p->items[i].href);
	}
	free(p);
	free(path);
	hth_members_finish(&members);
}
