/* chunk-list.h - a file cut into chunks, and the hashes that say of each of them whether it is right.
 *
 * A chunk is HTH_CHUNK_BYTES long (the last one what is left). The hashes of HTH_CHUNK_PAGE chunks are a page; the hashes of all pages are
 * the top; the hash of size, SHA-256 and top is the root, 32 bytes that stand for all of it. Whoever has a root can check top, pages and
 * chunks as they come, each by itself and from anybody. A root says nothing of whether the file is the one that was wanted: its SHA-256
 * does, over the whole, at the end. BLAKE2b-256 with a label each (seal/identity.h), so that no chunk can pass for a page. Pure.
 */
#ifndef HTH_BLOCKS_CHUNK_LIST_H
#define HTH_BLOCKS_CHUNK_LIST_H

#include "seal/identity.h"

enum { HTH_CHUNK_BYTES = 256 << 10, HTH_CHUNK_PAGE = 4096, HTH_CHUNK_PAGES_MAX = 512, HTH_SHA256_BYTES = 32 };
#define HTH_BLOCKS_FILE_MAX ((uint64_t)HTH_CHUNK_BYTES * HTH_CHUNK_PAGE * HTH_CHUNK_PAGES_MAX) /* 512 GiB */

typedef struct hth_chunk_list {
	uint64_t bytes;
	unsigned char sha256[HTH_SHA256_BYTES];
	unsigned char root[HTH_HASH_BYTES];
	uint32_t n_chunks, n_pages;
	unsigned char (*pages)[HTH_HASH_BYTES];  /* the top */
	unsigned char (*chunks)[HTH_HASH_BYTES];
} hth_chunk_list;

uint32_t hth_chunk_count(uint64_t bytes);
/* Bytes of the i-th of them. */
size_t hth_chunk_size(uint64_t bytes, uint32_t i);
void hth_chunk_hash(const void *bytes, size_t len, unsigned char ret_hash[HTH_HASH_BYTES]);

/* All hashes zero. HTH_TOO_LARGE; HTH_INVALID: a file of no bytes. */
HTH_MUST_USE hth_status hth_chunk_list_create(hth_chunk_list **ret_list, uint64_t bytes, const unsigned char sha256[HTH_SHA256_BYTES],
                                              hth_error *err);
void hth_chunk_list_destroy(hth_chunk_list *list);
/* Once every chunk's hash is in `chunks`: pages and root. */
void hth_chunk_list_seal(hth_chunk_list *list);

/* A page's hashes, as they travel: borrowed from list. */
const void *hth_chunk_list_page(const hth_chunk_list *list, uint32_t page, size_t *ret_len);
/* What came from outside: false, and nothing is taken, unless it is what the root (of the top), the top (of a page) says. */
bool hth_chunk_list_take_top(hth_chunk_list *list, const unsigned char root[HTH_HASH_BYTES], const void *bytes, size_t len);
bool hth_chunk_list_take_page(hth_chunk_list *list, uint32_t page, const void *bytes, size_t len);

#endif
