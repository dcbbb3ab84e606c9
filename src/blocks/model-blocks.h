/* model-blocks.h - model files from next door: one home that asks its neighbours for a model's chunks, and gives them of its own.
 *
 * Pure: it is given the time and messages, and tells what it wants through hth_blocks_ops. The daemon runs it over sealed letters
 * (node/next-door.c), the tests over a simulated link that loses, doubles, reorders and alters them.
 *
 * What is believed. A file is meant by its size and SHA-256, which the caller knows from the model's source, or from neighbours that it
 * believes; whether what came is that file is checked by the caller over the whole, before anybody can use it (hth_blocks_checked). On the
 * way there each source names a root (chunk-list.h), and every page and chunk is checked against the root that most sources name. A source
 * that sends what its root does not say is left for good. If the whole is wrong though every chunk was right, the root was a lie: all who
 * named it are left, and what came goes on under the next root as far as its hashes agree.
 *
 * Asking: every source has a window of chunks under way, which grows while it answers promptly and shrinks when answers become slow
 * (somebody else needs the line) or are lost; a silent source is asked again ever more rarely, and its chunks go to others. The last chunks
 * are asked of two. Every source has the whole file, so chunks are taken in order: what has come is a beginning, from where a download can
 * go on. Serving: neighbours take turns, at most HTH_BLOCKS_PER_PEER wait each; at the owner's pace (hth_blocks_set_pace), and slowly while
 * answers are computed.
 *
 * Callbacks come from inside the calls below and may not call back, but for hth_blocks_read_done from `read`.
 */
#ifndef HTH_BLOCKS_MODEL_BLOCKS_H
#define HTH_BLOCKS_MODEL_BLOCKS_H

#include "blocks/blocks-messages.h"

enum {
	HTH_BLOCKS_SOURCES_MAX = 64, HTH_BLOCKS_FETCHES_MAX = 8, HTH_BLOCKS_FINDS_MAX = 8, HTH_BLOCKS_PER_PEER = 32,
	    HTH_BLOCKS_QUEUE_MAX = 256,
	HTH_BLOCKS_WINDOW_MAX = 16, HTH_BLOCKS_FIND_MS = 3000, HTH_BLOCKS_PATIENCE_MS = 12000,
};

typedef struct hth_blocks hth_blocks;

/* What a home has of a model. */
typedef struct hth_blocks_offer {
	uint8_t n_files;
	hth_blocks_file files[HTH_BLOCKS_FILES_MAX];
	const void *extras; /* borrowed: JSON */
	size_t extras_len;
} hth_blocks_offer;

typedef enum hth_blocks_end {
	HTH_BLOCKS_WHOLE, /* and hth_blocks_checked said so */
	HTH_BLOCKS_NOBODY, /* nobody (any more) has it; what has come is right as far as is known */
} hth_blocks_end;

typedef struct hth_blocks_ops {
	void *ctx;
	/* False: it cannot be sent now. */
	bool (*send)(void *ctx, const hth_home_id *to, const void *bytes, size_t len);

	/* Serving. Fills *offer (n_files 0: nothing for this reader). A file that is not ready is being made ready from now on. */
	void (*offer)(void *ctx, const hth_home_id *from, const hth_blocks_message *query, hth_blocks_offer *offer);
	/* Read a part of a file for this reader and say hth_blocks_read_done(read). */
	void (*read)(void *ctx, uint64_t read, const hth_home_id *to, const unsigned char sha256[HTH_SHA256_BYTES], hth_blocks_part part,
	             uint32_t index);

	/* Asking. One home's answer to a find; then the end of it. */
	void (*found)(void *ctx, uint64_t find, const hth_home_id *from, const hth_blocks_offer *offer);
	void (*find_ended)(void *ctx, uint64_t find);
	/* A chunk that is right: to be written; say hth_blocks_stored(fetch) once it is. */
	void (*store)(void *ctx, uint64_t fetch, uint32_t index, const void *bytes, size_t len);
	/* All chunks are stored: is it the file? Say hth_blocks_checked. */
	void (*check)(void *ctx, uint64_t fetch);
	/* The fetch is over; its number is free. prefix: chunks without a gap from the beginning (some may not be stored yet). */
	void (*ended)(void *ctx, uint64_t fetch, hth_blocks_end end, uint32_t prefix);
	/* A source is left for good: it sent something else than it had said. */
	void (*lied)(void *ctx, const hth_home_id *from);
} hth_blocks_ops;

HTH_MUST_USE hth_status hth_blocks_create(hth_blocks **ret_blocks, const hth_blocks_ops *ops, hth_error *err);
void hth_blocks_destroy(hth_blocks *blocks);
/* Who can be asked from now on (members that answer; at most HTH_BLOCKS_SOURCES_MAX are dealt with). What is under way with others is
 * left. */
void hth_blocks_set_peers(hth_blocks *blocks, const hth_home_id *ids, size_t n, uint64_t now_ms);
/* bytes_s: chunks that leave, and chunks that are asked for, each; 0: no limit. busy: this home computes an answer, or waits for one; a
 * chunk now and then. */
void hth_blocks_set_pace(hth_blocks *blocks, uint64_t bytes_s, bool busy, uint64_t now_ms);
void hth_blocks_receive(hth_blocks *blocks, const hth_home_id *from, const void *bytes, size_t len, uint64_t now_ms);
/* Does what is due. Returns when it wants to be called next: UINT64_MAX: not before something happens. */
uint64_t hth_blocks_tick(hth_blocks *blocks, uint64_t now_ms);
uint64_t hth_blocks_next_ms(const hth_blocks *blocks);

/* ---- serving ---- */
/* bytes NULL: it is not there (any more). */
void hth_blocks_read_done(hth_blocks *blocks, uint64_t read, const void *bytes, size_t len, uint64_t now_ms);

/* ---- asking; find and fetch are the caller's numbers, unique among those that run ---- */
/* Who has the model of this reference, or of this name? Ends after HTH_BLOCKS_FIND_MS, or when all have answered. HTH_BUSY: too many run;
 * HTH_NOT_FOUND: nobody to ask. */
HTH_MUST_USE hth_status hth_blocks_find(hth_blocks *blocks, uint64_t find, const char *reference, const char *name, uint64_t now_ms,
                                        hth_error *err);
void hth_blocks_find_cancel(hth_blocks *blocks, uint64_t find);
/* found: hashes of the n_found chunks that an earlier try left (hth_chunk_hash; zeros where it left none): taken over where they are
 * right. */
HTH_MUST_USE hth_status hth_blocks_fetch(hth_blocks *blocks, uint64_t fetch, uint64_t bytes, const unsigned char sha256[HTH_SHA256_BYTES],
                                         const unsigned char (*found)[HTH_HASH_BYTES], uint32_t n_found, uint64_t now_ms, hth_error *err);
void hth_blocks_cancel(hth_blocks *blocks, uint64_t fetch); /* no callback comes any more */
void hth_blocks_stored(hth_blocks *blocks, uint64_t fetch, uint64_t now_ms);
void hth_blocks_checked(hth_blocks *blocks, uint64_t fetch, bool good, uint64_t now_ms);

typedef struct hth_blocks_progress {
	uint64_t bytes, had; /* that are stored; of those, from an earlier try */
	uint32_t prefix;     /* chunks without a gap from the beginning */
	size_t sources;      /* that gave something in the last few seconds */
	hth_home_id from[HTH_BLOCKS_SOURCES_MAX]; /* they */
} hth_blocks_progress;
bool hth_blocks_get_progress(const hth_blocks *blocks, uint64_t fetch, uint64_t now_ms, hth_blocks_progress *ret_progress);
/* The checked list of a fetch's file; NULL: not known yet. Borrowed until the next call. */
const hth_chunk_list *hth_blocks_list(const hth_blocks *blocks, uint64_t fetch);

typedef struct hth_blocks_counts {
	uint64_t bad_messages, wrong_parts, timeouts, again, refused, served, served_bytes, fetched_bytes;
} hth_blocks_counts;
const hth_blocks_counts *hth_blocks_get_counts(const hth_blocks *blocks);

#endif
