/* kv-pages.h - the paged KV cache: keys and values of all sequences in pages of 32 tokens.
 *
 * One pool of pages serves every sequence. A sequence is a table of page numbers and a length; a page that several
 * sequences share (a common prefix) is counted, and copied when one of them is about to write into it. So sharing is
 * free and a sequence's cost is its own pages.
 *
 *   page: [layer][K, V][kv head] tiles of 32 x head_dim numbers
 *   tile of keys, F32 or F16:   [head_dim][32 tokens]       a token is a column: attention reads 32 tokens' element at
 * once tile of values, F32 or F16: [32 tokens][head_dim] Q8_0: the same of bytes, then one F16 scale per 32 elements of
 * a token: [head_dim / 32][32 tokens] after keys, [32 tokens][head_dim / 32] after values
 *
 * Growing is split in two so that a batch is all or nothing: hth_kv_prepare takes the pages of all sequences of a batch
 * or none; after the pass hth_kv_commit moves the lengths, or hth_kv_abandon gives the pages back.
 */
#ifndef HTH_ENGINE_MODEL_KV_PAGES_H
#define HTH_ENGINE_MODEL_KV_PAGES_H

#include "engine/engine.h"

enum { HTH_KV_PAGE = 32 }; /* tokens */

typedef struct hth_kv_shape {
	hth_kv_type type;
	uint32_t n_layer, n_head, head_dim; /* n_head: KV heads */
	uint32_t n_pages;
	uint32_t n_seq, n_ctx; /* n_ctx: most tokens of one sequence */
} hth_kv_shape;

typedef struct hth_kv {
	hth_kv_shape shape;
	size_t tile_bytes, page_bytes;
	unsigned char *data;
	uint32_t n_free;
	uint32_t *free_pages; /* a stack */
	uint32_t *refs;       /* sequences that hold each page */
	uint32_t seq_pages;   /* entries of one table */
	uint32_t *tables;     /* n_seq x seq_pages */
	uint32_t *held;       /* pages in each sequence's table */
	uint32_t *lengths;    /* tokens in each sequence */
} hth_kv;

/* Bytes of one tile; 0 when head_dim does not fill the type's blocks. */
size_t hth_kv_tile_bytes(hth_kv_type type, uint32_t head_dim);
/* Bytes that init allocates; UINT64_MAX when that does not fit in 64 bits. */
uint64_t hth_kv_plan(const hth_kv_shape *shape);
HTH_MUST_USE hth_status hth_kv_init(hth_kv *kv, const hth_kv_shape *shape, hth_error *err);
void hth_kv_finish(hth_kv *kv);

/* Makes room for seq to grow by n tokens, in pages that it alone holds. False: not enough free pages; nothing changed.
 */
HTH_MUST_USE bool hth_kv_prepare(hth_kv *kv, uint32_t seq, uint32_t n);
/* Pages that prepare would take. */
uint32_t hth_kv_pages_needed(const hth_kv *kv, uint32_t seq, uint32_t n);
void hth_kv_commit(hth_kv *kv, uint32_t seq, uint32_t n);
void hth_kv_abandon(hth_kv *kv, uint32_t seq);
void hth_kv_truncate(hth_kv *kv, uint32_t seq, uint32_t length);
void hth_kv_share(hth_kv *kv, uint32_t dst, uint32_t src, uint32_t length);

/* The tile of one head; value: 0 keys, 1 values. */
static inline unsigned char *hth_kv_tile(const hth_kv *kv, uint32_t page, uint32_t layer, unsigned value, uint32_t head)
{
	size_t tile = ((size_t)layer * 2 + value) * kv->shape.n_head + head;
	return kv->data + page * kv->page_bytes + tile * kv->tile_bytes;
}
static inline uint32_t hth_kv_page(const hth_kv *kv, uint32_t seq, uint32_t position)
{
	return kv->tables[(size_t)seq * kv->seq_pages + position / HTH_KV_PAGE];
}
/* Writes one token's keys and values of one head (head_dim floats each) at a position that was prepared. */
void hth_kv_write(hth_kv *kv, uint32_t seq, uint32_t position, uint32_t layer, uint32_t head, const float *k, const float *v);

#endif
