/* segment.h - one immutable file of the word index: its layout, its writer, and reading it mapped. Only this folder
 * includes it.
 *
 *   header     struct segment_header, 128 bytes, with its own checksum
 *   postings   per term with df > 1: blocks[ceil(df / 128)] of struct segment_block, then their payloads: for each block the
 *              numbers of its texts (the distance from the one before, less one) in doc_bits each, padded to a byte, then
 *              frequencies less one in tf_bits
 *   terms      n_terms of struct segment_term, ascending by their bytes
 *   strings    the terms' bytes, one after the other
 *   ids        n_texts of uint32: id - first_id, ascending
 *   lengths    n_texts of uint16: terms of the text (65535: that or more)
 *
 * All little endian and 8-byte aligned. A text's number in a segment is its place among ids.
 *
 * Block maxima: `bound` is the largest f / (f + K) in the block, with K of the average length when the segment was
 * written, rounded up to 1/65535. When the average has grown since, K shrinks by at most the ratio r = then/now, and 1
 * / (1 + r * (1/bound - 1)) is a bound.
 *
 * The header and sections are checked when a segment opens, postings as they are read: a damaged file ends a list early
 * and is told by segment_damaged, never read beyond.
 */
#ifndef HTH_INDEX_SEGMENT_H
#define HTH_INDEX_SEGMENT_H

#include "base/buf.h"
#include "index/disk.h"
#include "index/words.h"

#include <stdatomic.h>

enum { SEGMENT_BLOCK = 128, SEGMENT_FORMAT = 1 };
#define BM25_K1 1.2f
#define BM25_B 0.75f

typedef struct segment_header {
	char magic[8]; /* "HTHWORDS" */
	uint32_t format, languages;
	uint32_t n_texts, n_terms;
	uint64_t first_id, terms_total;
	uint64_t postings_at, terms_at, strings_at, ids_at, lengths_at, file_len;
	float average;
	uint32_t unused[7];
	uint64_t checksum; /* of the bytes before it */
} segment_header;
_Static_assert(sizeof(segment_header) == 128, "the header is 128 bytes");

typedef struct segment_term {
	uint64_t at; /* df > 1: offset of its blocks in the file; df == 1: frequency << 32 | number of the text */
	uint32_t string, df;
	uint16_t bound;
	uint8_t len, unused[5];
} segment_term;
_Static_assert(sizeof(segment_term) == 24, "a term is 24 bytes");

typedef struct segment_block {
	uint32_t last;    /* number of its last text */
	uint32_t payload; /* offset behind the term's blocks */
	uint16_t bound;
	uint8_t doc_bits, tf_bits;
} segment_block;
_Static_assert(sizeof(segment_block) == 12, "a block is 12 bytes");

/* --- writing --- */

typedef struct segment_writer segment_writer;
/* ids (ascending) and lengths are borrowed until finish. */
HTH_MUST_USE hth_status segment_writer_open(segment_writer **ret_writer, const disk *d, const char *path, const uint64_t *ids,
                                            const uint16_t *lengths, uint32_t n_texts, uint64_t terms_total, uint32_t languages,
                                            hth_error *err);
/* Terms come ascending; docs are numbers of texts, ascending; df > 0. */
HTH_MUST_USE hth_status segment_writer_term(segment_writer *writer, const char *term, size_t len, const uint32_t *docs, const uint32_t *tfs,
                                            uint32_t df, hth_error *err);
/* The file is whole and synced when this succeeds. */
HTH_MUST_USE hth_status segment_writer_finish(segment_writer *writer, hth_error *err);
void segment_writer_close(segment_writer *writer); /* removes the file unless it was finished */
static inline void segment_writer_close_p(segment_writer **w)
{
	segment_writer_close(*w);
}

/* --- reading --- */

typedef struct segment {
	atomic_int refs;
	uint32_t number;
	const uint8_t *map;
	size_t map_len;
	const segment_header *header;
	const segment_term *terms;
	const char *strings;
	const uint32_t *ids;
	const uint16_t *lengths;
	atomic_bool damaged;
} segment;
HTH_MUST_USE hth_status segment_open(segment **ret_segment, const char *path, uint32_t number, hth_error *err);
void segment_release(segment *s);
const segment_term *segment_find(const segment *s, const char *term, size_t len);
const char *segment_string(const segment *s, const segment_term *term); /* "" with a damaged offset: check the length */
/* The number of the first text with at least this id; n_texts when there is none. */
uint32_t segment_number_of(const segment *s, uint64_t id);

/* A list of postings, read block by block, ascending. */
typedef struct cursor {
	segment *s;
	const segment_block *blocks;
	const uint8_t *payload, *end;
	uint32_t df, n_blocks;
	uint32_t shallow; /* first block that may hold what is looked for next */
	uint32_t decoded; /* the block that docs and tfs hold; UINT32_MAX: none */
	uint32_t n, pos;
	uint16_t bound;
	bool has_tfs;
	uint32_t docs[SEGMENT_BLOCK], tfs[SEGMENT_BLOCK];
} cursor;
void cursor_open(cursor *c, segment *s, const segment_term *term);
/* Reads block b; false at a damaged one. */
bool cursor_decode(cursor *c, uint32_t b);
/* The frequencies of the decoded block, less one. */
const uint32_t *cursor_tfs(cursor *c);
/* Goes to the first text that is not before doc (which never goes back); false when there is none. */
bool cursor_seek(cursor *c, uint32_t doc);

#endif
