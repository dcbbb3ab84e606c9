/* view.h - one place of a document as a person wants to see it: its passages with what was asked for marked, and the file, opened, for
 * whoever draws its pages. What GET /documents/... of the node shows (node/document-pages.c).
 *
 * A document is named by its content (hth_index_hit.document), so such a link holds as long as the content does, whatever the file is
 * called, and says nothing of the house's folders. Any thread; reads the record through a connection of its own.
 */
#ifndef HTH_INDEX_VIEW_H
#define HTH_INDEX_VIEW_H

#include "index/index.h"

enum { HTH_VIEW_PASSAGES_MAX = 60, HTH_VIEW_MARKS_MAX = 100 };

typedef struct hth_view_ask {
	const char *document;
	uint32_t part, page; /* page 0: what is without a page, or the whole document where it has no pages */
	uint64_t passage;    /* the hit; 0: none */
	const char *query;   /* as it was searched for; NULL: nothing is marked */
} hth_view_ask;

typedef struct hth_view_passage {
	uint64_t id;
	bool has_box;
	float box[4]; /* as in extract.h */
	char *text;
	uint32_t (*marks)[2]; /* bytes of the text, [begin, end), ascending */
	size_t n_marks;
	float (*places)[4]; /* boxes of the blocks that have something marked */
	size_t n_places;
	unsigned char *blocks; /* of the reader's own */
	size_t n_blocks;
} hth_view_passage;

typedef struct hth_view {
	char *file, *part, *title, *author; /* file: its path now; part: the attachment's or member's name, "" the file itself */
	const char *type;                   /* static: extract/'s kinds */
	int64_t date;
	uint32_t page, pages; /* pages: of the whole document, 0: not known */
	uint32_t part_number;
	bool before, after; /* there is more text than passages has */
	hth_view_passage *passages;
	size_t n;
	int fd; /* the file, whose size and time are those that were read; -1 where nothing is drawn */
} hth_view;

/* Kinds whose pages can be drawn. */
bool hth_index_view_is_drawn(const char *type);
/* open_file: to draw from it. HTH_NOT_FOUND: no such document or part, or its files are gone; HTH_CONFLICT: they have changed since. */
HTH_MUST_USE hth_status hth_index_view_read(const char *home, const hth_view_ask *ask, bool open_file, hth_view *ret_view, hth_error *err);
void hth_index_view_finish(hth_view *view);
/* The words that are marked, as they stand there, each once and ended by a line end, for the extractor's marks. */
void hth_index_view_words(const hth_view *view, char *out, size_t cap);

#endif
