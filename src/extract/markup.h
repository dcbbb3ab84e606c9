/* markup.h - XML for the readers of office files: a stream of events from libxml2 with its entities left alone, and text gathered into
 * blocks. Child only. */
#ifndef HTH_EXTRACT_MARKUP_H
#define HTH_EXTRACT_MARKUP_H

#include "extract/tell.h"

typedef struct hth_markup hth_markup;
/* name and attributes are local names, without prefix; borrowed for the call. depth: of the element, the root has 0. */
typedef struct hth_markup_events {
	void (*open)(void *ctx, hth_markup *markup, const char *name);
	void (*close)(void *ctx, const char *name);
	void (*text)(void *ctx, const char *text, size_t len);
} hth_markup_events;
/* False: it is not XML from its first element on, or cut: what came before was told. */
bool hth_markup_read(const char *bytes, size_t len, const hth_markup_events *events, void *ctx);
/* Within `open`: an attribute of the element by its local name, or NULL. Valid until the next call. */
const char *hth_markup_attribute(hth_markup *markup, const char *name);
void hth_markup_stop(hth_markup *markup); /* no further event */
/* Before the sandbox. */
void hth_markup_load(void);

/* ---- dates and facts that office formats share ---- */

/* "2024-05-17T13:45:10Z", "2024-05-17": seconds since 1970. False: none. */
bool hth_parse_iso_date(const char *text, int64_t *ret);
typedef struct hth_facts {
	char title[1024], author[512], language[64];
	bool has_date;
	int64_t date;
} hth_facts;
/* Dublin Core by local names: title, creator, language, created, creation-date, date. */
void hth_facts_read(hth_facts *facts, const char *bytes, size_t len);
void hth_facts_tell(hth_tell *tell, const hth_facts *facts, hth_extract_kind kind, uint32_t pages);

#endif
