/* tell.h - the child's side: how readers tell what they find, and what a reader is.
 *
 * A reader turns the bytes of one kind of file into calls of hth_tell_*; it ends with a verdict. Text goes through hth_tell_text, which
 * cleans it (UTF-8, no control characters), cuts it into blocks and counts it against the limits of extract.h: when that returns false,
 * the reader stops. Containers open a part for each member and read it with hth_read_source. Nothing here prints or opens anything.
 */
#ifndef HTH_EXTRACT_TELL_H
#define HTH_EXTRACT_TELL_H

#include "extract/extract-frames.h"

/* Bytes that a reader may take into memory at once; larger members and files that must be whole are too large. */
enum { HTH_SOURCE_LOAD_MAX = 192 << 20 };

/* Where bytes come from: a descriptor (read with pread or from its beginning) or memory. */
typedef struct hth_source {
	int fd; /* -1: bytes */
	const char *bytes;
	uint64_t len;
	const char *name; /* file or member name; "" */
	char *owned;      /* what hth_source_load allocated */
} hth_source;
/* Makes bytes valid. False: too large or no memory or not readable, which the verdict says. */
typedef struct hth_verdict {
	hth_extract_state state;
	bool partial;
	char reason[HTH_EXTRACT_REASON_MAX];
} hth_verdict;
bool hth_source_load(hth_source *source, hth_verdict *verdict);
void hth_source_unload(hth_source *source);
/* Up to len bytes at the offset; how many there were. */
size_t hth_source_peek(const hth_source *source, uint64_t at, void *bytes, size_t len);

void hth_verdict_unreadable(hth_verdict *verdict, const char *fmt, ...) HTH_PRINTF(2, 3);
void hth_verdict_excluded(hth_verdict *verdict, const char *fmt, ...) HTH_PRINTF(2, 3);
/* Keeps the first reason; the state stays. */
void hth_verdict_partial(hth_verdict *verdict, const char *fmt, ...) HTH_PRINTF(2, 3);

typedef struct hth_tell_level {
	uint32_t part;
	uint32_t *ocr_pages;
	size_t n_ocr_pages, cap_ocr_pages;
	bool meta_told;
} hth_tell_level;
typedef struct hth_tell {
	int fd;
	hth_buf out;
	uint32_t job;
	hth_extract_order order;
	uint32_t next_part;
	hth_tell_level levels[HTH_EXTRACT_DEPTH_MAX + 2];
	size_t depth;
	uint64_t n_blocks, text_bytes;
	uint64_t expanded; /* bytes that members of archives grew to, all together: against bombs */
	bool full; /* a limit was reached */
	bool rendered, took_fd; /* took_fd: a library has taken, and closed, the file's descriptor */
	hth_buf text;
} hth_tell;
void hth_tell_init(hth_tell *tell, int fd);
void hth_tell_begin(hth_tell *tell, uint32_t job, const hth_extract_order *order);
void hth_tell_flush(hth_tell *tell);

/* False: too deep or too many; the verdict says so and there is nothing to end. */
bool hth_tell_part_begin(hth_tell *tell, const char *name, hth_verdict *verdict);
void hth_tell_part_end(hth_tell *tell, hth_verdict *verdict);
void hth_tell_end(hth_tell *tell, hth_verdict *verdict, bool retire);
/* The open part's; later calls for the same part are ignored. Strings need not be clean. */
void hth_tell_meta(hth_tell *tell, const hth_extract_meta *meta);
/* box: as in extract.h, or NULL. On pages, words that a line's end has cut are joined. False: stop, the limits are reached. */
bool hth_tell_text(hth_tell *tell, uint32_t page, hth_extract_role role, const float *box, const char *text, size_t len);
void hth_tell_needs_ocr(hth_tell *tell, uint32_t page);
void hth_tell_page(hth_tell *tell, uint32_t page);
void hth_tell_png(hth_tell *tell, const void *bytes, size_t len);
static inline bool hth_tell_wants(const hth_tell *tell, hth_extract_mode mode) { return tell->order.mode == mode; }
/* RENDER, and the open part is the one to render. */
bool hth_tell_renders_here(const hth_tell *tell);

/* Reads a source of any kind as the open part: finds out what it is and calls its reader. */
void hth_read_source(hth_tell *tell, hth_source *source, hth_verdict *verdict);

#endif
