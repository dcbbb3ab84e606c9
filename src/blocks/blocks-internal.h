/* blocks-internal.h - what the files of blocks/ share; nobody else includes it. */
#ifndef HTH_BLOCKS_BLOCKS_INTERNAL_H
#define HTH_BLOCKS_BLOCKS_INTERNAL_H

#include "blocks/model-blocks.h"

enum { BLOCKS_READS_MAX = 4, BLOCKS_ASKED_MAX = 256, BLOCKS_UNSTORED_MAX = 64 };

/* ---- asking ---- */
typedef struct block_source {
	hth_home_id id;
	bool offered, ready, left, away; /* left: it lied, or says that it has it no more; away: not among the peers just now */
	unsigned char root[HTH_HASH_BYTES];
	uint64_t asked_ms, ask_every_ms; /* the question, asked again while it is not ready */
	double window, best_ms, smooth_ms; /* best, smooth: from a GET to its DATA; 0: not measured */
	uint32_t out, silent;              /* under way; lost in a row */
	uint64_t back_ms, gave_ms;         /* not asked before; last DATA */
} block_source;

typedef struct block_asked { /* a GET under way */
	uint32_t source, index;
	hth_blocks_part part;
	uint64_t at_ms;
} block_asked;

typedef enum block_state { BLOCK_MISSING, BLOCK_ASKED, BLOCK_HERE } block_state;

typedef struct block_fetch {
	uint64_t number, query;
	uint64_t begun_ms, heard_ms; /* heard: something that was of use */
	hth_chunk_list *list;
	bool rooted, topped, checking; /* a root was chosen; the top is there; the whole is being looked at */
	unsigned char root[HTH_HASH_BYTES];
	uint32_t pages;                /* that are there */
	unsigned char *page_state, *chunk_state; /* block_state */
	unsigned char (*found)[HTH_HASH_BYTES];
	uint32_t n_found, here, unstored, cursor, prefix; /* cursor: no missing chunk before it */
	uint64_t had_bytes, bytes;
	block_source *sources;
	size_t n_sources;
	block_asked asked[BLOCKS_ASKED_MAX];
	size_t n_asked;
	size_t turn; /* of the sources */
} block_fetch;

typedef struct block_find {
	uint64_t number, query, begun_ms, asked_ms;
	char reference[HTH_BLOCKS_REFERENCE_MAX], name[HTH_BLOCKS_NAME_MAX];
	hth_home_id *waiting; /* who has not answered */
	size_t n_waiting;
} block_find;

/* ---- serving ---- */
typedef struct block_order {
	hth_home_id to;
	unsigned char sha256[HTH_SHA256_BYTES];
	hth_blocks_part part;
	uint32_t index;
	uint64_t read; /* number of the read that is under way; 0: it waits */
	uint64_t since_ms;
} block_order;

/* Bytes that may pass: a bucket that fills with time. */
typedef struct block_pace {
	double room;
	uint64_t at_ms;
} block_pace;

struct hth_blocks {
	hth_blocks_ops ops;
	hth_home_id peers[HTH_BLOCKS_SOURCES_MAX];
	size_t n_peers;
	block_fetch *fetches[HTH_BLOCKS_FETCHES_MAX];
	size_t n_fetches;
	block_find *finds[HTH_BLOCKS_FINDS_MAX];
	size_t n_finds;
	uint64_t next_query, next_read;
	block_order orders[HTH_BLOCKS_QUEUE_MAX];
	size_t n_orders, n_reads;
	hth_home_id served_last;
	uint64_t serve_after_ms;
	uint64_t bytes_s;
	bool busy;
	block_pace out, in;
	uint64_t next_ms;
	hth_blocks_counts counts;
	hth_buf text;
	hth_blocks_message message; /* the one that is being read: too large for a stack */
};

bool blocks_send(hth_blocks *blocks, const hth_home_id *to, const hth_blocks_message *message);
bool blocks_is_peer(const hth_blocks *blocks, const hth_home_id *id);
void blocks_wake(hth_blocks *blocks, uint64_t at_ms);
/* Whether a chunk may pass; it is counted then. Else it wakes when it may. */
bool blocks_may_pass(hth_blocks *blocks, block_pace *pace, uint64_t now_ms);

/* blocks-fetch.c */
void blocks_fetch_free(block_fetch *fetch);
void blocks_fetch_offer(hth_blocks *blocks, const hth_home_id *from, const hth_blocks_message *m, uint64_t now_ms);
void blocks_fetch_data(hth_blocks *blocks, const hth_home_id *from, const hth_blocks_message *m, uint64_t now_ms);
void blocks_fetch_peers(hth_blocks *blocks, uint64_t now_ms);
void blocks_fetch_tick(hth_blocks *blocks, uint64_t now_ms);
/* blocks-find.c */
void blocks_find_free(block_find *find);
void blocks_find_offer(hth_blocks *blocks, const hth_home_id *from, const hth_blocks_message *m);
void blocks_find_tick(hth_blocks *blocks, uint64_t now_ms);
/* blocks-serve.c */
void blocks_serve_query(hth_blocks *blocks, const hth_home_id *from, const hth_blocks_message *m);
void blocks_serve_get(hth_blocks *blocks, const hth_home_id *from, const hth_blocks_message *m, uint64_t now_ms);
void blocks_serve_peers(hth_blocks *blocks);
void blocks_serve_tick(hth_blocks *blocks, uint64_t now_ms);

#endif
