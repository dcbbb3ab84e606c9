/* rtf.h - Rich Text Format 1.9.1 to text, by a reader of ours: Debian has no library that only reads. Pictures, objects and fields' codes
 * are skipped; nothing is executed. Groups nest up to 256; any bytes are fine. */
#ifndef HTH_EXTRACT_RTF_H
#define HTH_EXTRACT_RTF_H

#include <stdbool.h>
#include <stddef.h>

typedef struct hth_rtf_events {
	/* A paragraph, or a row of a table with tabs between its cells. False: stop. */
	bool (*paragraph)(void *ctx, bool row, const char *text, size_t len);
	void (*fact)(void *ctx, const char *name, const char *text); /* "title", "author"; before the first paragraph in real files */
} hth_rtf_events;
/* False: it ends within a group (cut), or began as no RTF at all; what came was told. */
bool hth_rtf_read(const char *bytes, size_t len, const hth_rtf_events *events, void *ctx);

#endif
