/* kv-pages.c - page tables, reference counts, copy on write, and the write of one token's row.
 *
 * All memory is taken at init. The page pool is the large part and is not touched before a page is used, so the
 * operating system backs only what sequences really fill. One thread changes tables; during a pass workers write rows
 * of different tokens and read any.
 */
#include "engine/model/kv-pages.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/model/model-params.h"

enum { Q8_BLOCK = 32, SLACK = 64 }; /* attention reads up to 31 halves past a tile (attend.h) */

size_t hth_kv_tile_bytes(hth_kv_type type, uint32_t head_dim)
{
	switch (type) {
	case HTH_KV_F32:
		return HTH_KV_PAGE * head_dim * sizeof(float);
	case HTH_KV_F16:
		return HTH_KV_PAGE * head_dim * sizeof(uint16_t);
	case HTH_KV_Q8_0:
		return head_dim % Q8_BLOCK == 0 ? HTH_KV_PAGE * (head_dim + head_dim / Q8_BLOCK * sizeof(uint16_t)) : 0;
	}
	return 0;
}

static bool measure(const hth_kv_shape *s, uint64_t *ret_page, uint64_t *ret_all)
{
	uint64_t page = hth_kv_tile_bytes(s->type, s->head_dim), pool;
	if (hth_mul_overflows(page, (uint64_t)s->n_head * 2 * s->n_layer, &page) ||
	    hth_mul_overflows(page, s->n_pages, &pool) || hth_add_overflows(pool, SLACK, &pool))
		return false;
	uint64_t seq_pages = (s->n_ctx + (uint64_t)HTH_KV_PAGE - 1) / HTH_KV_PAGE;
	uint64_t index;
	if (hth_mul_overflows(seq_pages + 2, (uint64_t)s->n_seq * 4, &index) || hth_add_overflows(pool, index, &pool) ||
	    hth_add_overflows(pool, (uint64_t)s->n_pages * 8, &pool))
		return false;
	*ret_page = page;
	*ret_all = pool;
	return true;
}

uint64_t hth_kv_plan(const hth_kv_shape *shape)
{
	uint64_t page, all;
	return measure(shape, &page, &all) ? all : UINT64_MAX;
}

hth_status hth_kv_init(hth_kv *kv, const hth_kv_shape *shape, hth_error *err)
{
	uint64_t page, all;
	*kv = (hth_kv){.shape = *shape};
	if (hth_kv_tile_bytes(shape->type, shape->head_dim) == 0)
		return hth_fail(err, HTH_UNSUPPORTED,
		                "heads of %u values do not fill blocks of the Q8_0 KV cache; use F16", shape->head_dim);
	if (!measure(shape, &page, &all) || all > SIZE_MAX / 2)
		return hth_fail(err, HTH_NO_MEMORY, "a KV cache of %u tokens is beyond any memory",
		                shape->n_pages * HTH_KV_PAGE);
	kv->tile_bytes = hth_kv_tile_bytes(shape->type, shape->head_dim);
	kv->page_bytes = page;
	kv->seq_pages = (uint32_t)((shape->n_ctx + (uint64_t)HTH_KV_PAGE - 1) / HTH_KV_PAGE);
	kv->data = hth_alloc_large(page * shape->n_pages + SLACK);
	kv->free_pages = hth_alloc_array(shape->n_pages, sizeof *kv->free_pages);
	kv->refs = hth_alloc_array(shape->n_pages, sizeof *kv->refs);
	kv->tables = hth_alloc_array((size_t)shape->n_seq * kv->seq_pages, sizeof *kv->tables);
	kv->held = hth_alloc_array(shape->n_seq, sizeof *kv->held);
	kv->lengths = hth_alloc_array(shape->n_seq, sizeof *kv->lengths);
	if (!kv->data || !kv->free_pages || !kv->refs || !kv->tables || !kv->held || !kv->lengths) {
		hth_kv_finish(kv);
		return hth_fail(err, HTH_NO_MEMORY,
		                "the KV cache of %llu tokens needs %llu MiB, which could not be allocated; use a "
		                "smaller context or Q8_0",
		                (unsigned long long)shape->n_pages * HTH_KV_PAGE, (unsigned long long)(all >> 20));
	}
	for (uint32_t i = 0; i < shape->n_pages; i++)
		kv->free_pages[i] = shape->n_pages - 1 - i; /* low pages go first */
	kv->n_free = shape->n_pages;
	return HTH_OK;
}

void hth_kv_finish(hth_kv *kv)
{
	free(kv->data);
	free(kv->free_pages);
	free(kv->refs);
	free(kv->tables);
	free(kv->held);
	free(kv->lengths);
	*kv = (hth_kv){0};
}

static uint32_t *table(hth_kv *kv, uint32_t seq)
{
	return kv->tables + (size_t)seq * kv->seq_pages;
}

static uint32_t pages_for(uint32_t tokens)
{
	return tokens / HTH_KV_PAGE + (tokens % HTH_KV_PAGE != 0);
}

static uint32_t take(hth_kv *kv)
{
	uint32_t page = kv->free_pages[--kv->n_free];
	kv->refs[page] = 1;
	return page;
}

static void release(hth_kv *kv, uint32_t page)
{
	if (--kv->refs[page] == 0)
		kv->free_pages[kv->n_free++] = page;
}

/* The page that seq's next token goes into is half full and somebody else holds it too. */
static bool must_copy(const hth_kv *kv, uint32_t seq)
{
	uint32_t length = kv->lengths[seq];
	return length % HTH_KV_PAGE != 0 && kv->refs[hth_kv_page(kv, seq, length)] > 1;
}

uint32_t hth_kv_pages_needed(const hth_kv *kv, uint32_t seq, uint32_t n)
{
	if (n == 0)
		return 0;
	return pages_for(kv->lengths[seq] + n) - pages_for(kv->lengths[seq]) + must_copy(kv, seq);
}

bool hth_kv_prepare(hth_kv *kv, uint32_t seq, uint32_t n)
{
	if (hth_kv_pages_needed(kv, seq, n) > kv->n_free)
		return false;
	uint32_t *t = table(kv, seq), want = pages_for(kv->lengths[seq] + n);
	if (n > 0 && must_copy(kv, seq)) {
		uint32_t i = kv->lengths[seq] / HTH_KV_PAGE, copy = take(kv);
		memcpy(kv->data + copy * kv->page_bytes, kv->data + t[i] * kv->page_bytes, kv->page_bytes);
		release(kv, t[i]);
		t[i] = copy;
	}
	while (kv->held[seq] < want)
		t[kv->held[seq]++] = take(kv);
	return true;
}

void hth_kv_commit(hth_kv *kv, uint32_t seq, uint32_t n)
{
	kv->lengths[seq] += n;
}

void hth_kv_abandon(hth_kv *kv, uint32_t seq)
{
	uint32_t keep = pages_for(kv->lengths[seq]), *t = table(kv, seq);
	while (kv->held[seq] > keep)
		release(kv, t[--kv->held[seq]]);
}

void hth_kv_truncate(hth_kv *kv, uint32_t seq, uint32_t length)
{
	if (length >= kv->lengths[seq])
		return;
	kv->lengths[seq] = length;
	hth_kv_abandon(kv, seq);
}

void hth_kv_share(hth_kv *kv, uint32_t dst, uint32_t src, uint32_t length)
{
	if (dst == src) {
		hth_kv_truncate(kv, dst, length);
		return;
	}
	hth_kv_truncate(kv, dst, 0);
	length = HTH_MIN(length, kv->lengths[src]);
	uint32_t n = pages_for(length), *to = table(kv, dst);
	const uint32_t *from = table(kv, src);
	for (uint32_t i = 0; i < n; i++) {
		to[i] = from[i];
		kv->refs[from[i]]++;
	}
	kv->held[dst] = n;
	kv->lengths[dst] = length;
}

/* Eight bits a number with one scale per block of 32, in the tile's order: Q8_0's arithmetic, another arrangement. */
static void write_q8(unsigned char *tile, const float *x, size_t dim, size_t at, size_t number_step, size_t token_step,
                     size_t scale_step, size_t scale_token_step)
{
	const hth_type_traits *q8 = hth_type_get(HTH_Q8_0);
	int8_t *codes = (int8_t *)tile;
	uint16_t *scales = (uint16_t *)(void *)(tile + HTH_KV_PAGE * dim);
	for (size_t b = 0; b < dim / Q8_BLOCK; b++) {
		unsigned char block[2 + Q8_BLOCK]; /* an F16 scale, then 32 codes */
		q8->quantize_row(x + b * Q8_BLOCK, block, Q8_BLOCK, NULL);
		memcpy(&scales[b * scale_step + at * scale_token_step], block, sizeof *scales);
		for (size_t i = 0; i < Q8_BLOCK; i++)
			codes[(b * Q8_BLOCK + i) * number_step + at * token_step] = (int8_t)block[2 + i];
	}
}

static void write_key(hth_kv_type type, unsigned char *tile, const float *x, size_t dim, size_t at)
{
	float *f32 = (float *)(void *)tile;
	uint16_t *f16 = (uint16_t *)(void *)tile, half[HTH_MAX_HEAD_DIM];
	switch (type) {
	case HTH_KV_F32:
		for (size_t i = 0; i < dim; i++)
			f32[i * HTH_KV_PAGE + at] = x[i];
		break;
	case HTH_KV_F16:
		hth_vec()->f32_to_f16(half, x, dim);
		for (size_t i = 0; i < dim; i++)
			f16[i * HTH_KV_PAGE + at] = half[i];
		break;
	case HTH_KV_Q8_0:
		write_q8(tile, x, dim, at, HTH_KV_PAGE, 1, HTH_KV_PAGE, 1);
		break;
	}
}

static void write_value(hth_kv_type type, unsigned char *tile, const float *x, size_t dim, size_t at)
{
	switch (type) {
	case HTH_KV_F32:
		memcpy(tile + at * dim * sizeof *x, x, dim * sizeof *x);
		break;
	case HTH_KV_F16:
		hth_vec()->f32_to_f16((uint16_t *)(void *)tile + at * dim, x, dim);
		break;
	case HTH_KV_Q8_0:
		write_q8(tile, x, dim, at, 1, dim, 1, dim / Q8_BLOCK);
		break;
	}
}

void hth_kv_write(hth_kv *kv, uint32_t seq, uint32_t position, uint32_t layer, uint32_t head, const float *k, const float *v)
{
	uint32_t page = hth_kv_page(kv, seq, position);
	size_t at = position % HTH_KV_PAGE, dim = kv->shape.head_dim;
	write_key(kv->shape.type, hth_kv_tile(kv, page, layer, 0, head), k, dim, at);
	write_value(kv->shape.type, hth_kv_tile(kv, page, layer, 1, head), v, dim, at);
}
