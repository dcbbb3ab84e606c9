/* chunk-list.c - see chunk-list.h. Pure. */
#include "blocks/chunk-list.h"

#include "base/mem.h"

uint32_t hth_chunk_count(uint64_t bytes) { return (uint32_t)((bytes + HTH_CHUNK_BYTES - 1) / HTH_CHUNK_BYTES); }

size_t hth_chunk_size(uint64_t bytes, uint32_t i)
{
	uint64_t left = bytes - (uint64_t)i * HTH_CHUNK_BYTES;
	return left < HTH_CHUNK_BYTES ? (size_t)left : (size_t)HTH_CHUNK_BYTES;
}

void hth_chunk_hash(const void *bytes, size_t len, unsigned char ret_hash[HTH_HASH_BYTES])
{
	hth_seal_hash("hearth chunk", bytes, len, ret_hash);
}

hth_status hth_chunk_list_create(hth_chunk_list **ret_list, uint64_t bytes, const unsigned char sha256[HTH_SHA256_BYTES], hth_error *err)
{
	if (bytes == 0)
		return hth_fail(err, HTH_INVALID, "a file of no bytes has no chunks");
	if (bytes > HTH_BLOCKS_FILE_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a file of %llu bytes is over the limit of %llu", (unsigned long long)bytes,
		                (unsigned long long)HTH_BLOCKS_FILE_MAX);
	hth_chunk_list *list = calloc(1, sizeof *list);
	if (list == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a list of chunks");
	list->bytes = bytes;
	memcpy(list->sha256, sha256, HTH_SHA256_BYTES);
	list->n_chunks = hth_chunk_count(bytes);
	list->n_pages = (list->n_chunks + HTH_CHUNK_PAGE - 1) / HTH_CHUNK_PAGE;
	list->chunks = calloc(list->n_chunks, sizeof *list->chunks);
	list->pages = calloc(list->n_pages, sizeof *list->pages);
	if (list->chunks == NULL || list->pages == NULL) {
		hth_chunk_list_destroy(list);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a list of chunks");
	}
	*ret_list = list;
	return HTH_OK;
}

void hth_chunk_list_destroy(hth_chunk_list *list)
{
	if (list == NULL)
		return;
	free(list->chunks);
	free(list->pages);
	free(list);
}

const void *hth_chunk_list_page(const hth_chunk_list *list, uint32_t page, size_t *ret_len)
{
	uint32_t first = page * HTH_CHUNK_PAGE;
	*ret_len = (size_t)HTH_MIN(list->n_chunks - first, (uint32_t)HTH_CHUNK_PAGE) * HTH_HASH_BYTES;
	return list->chunks[first];
}

static void hash_root(const hth_chunk_list *list, const void *top, unsigned char ret_root[HTH_HASH_BYTES])
{
	unsigned char text[8 + HTH_SHA256_BYTES + HTH_HASH_BYTES];
	for (int i = 0; i < 8; i++)
		text[i] = (unsigned char)(list->bytes >> 8 * i);
	memcpy(text + 8, list->sha256, HTH_SHA256_BYTES);
	hth_seal_hash("hearth chunk top", top, (size_t)list->n_pages * HTH_HASH_BYTES, text + 8 + HTH_SHA256_BYTES);
	hth_seal_hash("hearth chunk root", text, sizeof text, ret_root);
}

void hth_chunk_list_seal(hth_chunk_list *list)
{
	for (uint32_t p = 0; p < list->n_pages; p++) {
		size_t len;
		const void *page = hth_chunk_list_page(list, p, &len);
		hth_seal_hash("hearth chunk page", page, len, list->pages[p]);
	}
	hash_root(list, list->pages, list->root);
}

bool hth_chunk_list_take_top(hth_chunk_list *list, const unsigned char root[HTH_HASH_BYTES], const void *bytes, size_t len)
{
	unsigned char have[HTH_HASH_BYTES];
	if (len != (size_t)list->n_pages * HTH_HASH_BYTES)
		return false;
	hash_root(list, bytes, have);
	if (memcmp(have, root, sizeof have) != 0)
		return false;
	memcpy(list->pages, bytes, len);
	memcpy(list->root, root, HTH_HASH_BYTES);
	return true;
}

bool hth_chunk_list_take_page(hth_chunk_list *list, uint32_t page, const void *bytes, size_t len)
{
	unsigned char have[HTH_HASH_BYTES];
	size_t want;
	if (page >= list->n_pages)
		return false;
	hth_chunk_list_page(list, page, &want);
	if (len != want)
		return false;
	hth_seal_hash("hearth chunk page", bytes, len, have);
	if (memcmp(have, list->pages[page], sizeof have) != 0)
		return false;
	memcpy(list->chunks[(size_t)page * HTH_CHUNK_PAGE], bytes, len);
	return true;
}
