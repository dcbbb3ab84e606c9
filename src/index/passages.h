/* passages.h - one document while the extractor tells it: its parts, and its text cut into passages. Only this folder
 * includes it.
 *
 * A passage is about 1200 bytes of one part and one page: whole blocks while they fit, cut at a sentence or a space
 * where one block is longer; a heading begins a new one. The first passage of a part begins with its title, sender and
 * receivers, so that these are found too.
 */
#ifndef HTH_INDEX_PASSAGES_H
#define HTH_INDEX_PASSAGES_H

#include "base/buf.h"
#include "extract/extract.h"

enum { PASSAGE_GOAL = 1200, PASSAGE_MAX = 2000 };

typedef struct reading_part {
	uint32_t number, parent, pages;
	int kind;                                 /* hth_extract_kind */
	int64_t date;                             /* 0: not known */
	char *name, *title, *author, *recipients; /* "" when not known */
	size_t first, last;                       /* places among passages; first > last: none */
	bool named;                               /* its first passage has begun */
	bool says;                                /* it has text of its own */
} reading_part;

typedef struct reading_passage {
	uint32_t part, page;
	int64_t box;    /* reading_pack_box; -1: none */
	size_t at, len; /* in text */
	size_t places_at, places_len; /* in places */
} reading_passage;

typedef struct reading {
	hth_buf text;
	hth_buf places; /* where each block of a passage is on its page: PLACE_BYTES each, of blocks that have a box */
	reading_passage *passages;
	size_t n_passages, cap_passages;
	reading_part *parts;
	size_t n_parts, cap_parts;
	uint32_t pages;
	bool no_memory;
	/* the passage that grows */
	reading_passage now;
	bool open, has_box;
	float box[4];
} reading;

void reading_begin(reading *r); /* forgets what was told */
void reading_finish(reading *r);
void reading_add_part(reading *r, const hth_extract_part *part);
void reading_add_meta(reading *r, const hth_extract_meta *meta);
void reading_add_block(reading *r, const hth_extract_block *block);
void reading_end(reading *r);
/* Fractions of a page in 16 bits each; -1 for none. */
int64_t reading_pack_box(const float box[4]);
/* A place: u16 where the block begins in its passage's text, then its box as packed, 8 bytes; little end first. */
enum { PLACE_BYTES = 10 };
void reading_get_place(const unsigned char place[PLACE_BYTES], uint32_t *ret_at, float ret_box[4]);
bool reading_unpack_box(int64_t packed, float ret_box[4]);

#endif
