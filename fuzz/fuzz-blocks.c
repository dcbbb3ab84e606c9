/* fuzz-blocks.c - whatever a member sends about model files: messages that are understood have one encoding, and a home that asks and gives
 * stores no wrong chunk, stays within its limits and can be destroyed. The input is a row of messages, each after its length in two bytes;
 * what comes between is time. */
#include "base/mem.h"
#include "blocks/model-blocks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES = HTH_CHUNK_BYTES + 100 };
static hth_chunk_list *list;
static hth_blocks *blocks;
static bool over;
static uint64_t reads[8];
static size_t n_reads;

static bool on_send(void *ctx, const hth_home_id *to, const void *bytes, size_t len)
{
	(void)ctx, (void)to, (void)bytes, (void)len;
	return true;
}
static void on_offer(void *ctx, const hth_home_id *from, const hth_blocks_message *query, hth_blocks_offer *offer)
{
	(void)ctx, (void)from;
	if (query->by_hash && memcmp(query->sha256, list->sha256, HTH_SHA256_BYTES) != 0)
		return;
	*offer = (hth_blocks_offer){.n_files = 1};
	offer->files[0] = (hth_blocks_file){.bytes = list->bytes, .ready = true};
}
static void on_read(void *ctx, uint64_t read, const hth_home_id *to, const unsigned char *sha256, hth_blocks_part part, uint32_t index)
{
	(void)ctx, (void)to, (void)sha256, (void)part, (void)index;
	if (n_reads == HTH_COUNT(reads))
		abort(); /* more than it may have under way */
	reads[n_reads++] = read;
}
static void on_found(void *ctx, uint64_t find, const hth_home_id *from, const hth_blocks_offer *offer)
{
	(void)ctx, (void)find, (void)from, (void)offer;
}
static void on_find_ended(void *ctx, uint64_t find) { (void)ctx, (void)find; }
static void on_store(void *ctx, uint64_t fetch, uint32_t index, const void *bytes, size_t len)
{
	unsigned char hash[HTH_HASH_BYTES];
	(void)ctx, (void)fetch;
	hth_chunk_hash(bytes, len, hash);
	const hth_chunk_list *known = hth_blocks_list(blocks, fetch);
	if (len != hth_chunk_size(FILE_BYTES, index) || (known != NULL && memcmp(hash, known->chunks[index], sizeof hash) != 0))
		abort();
}
static void on_check(void *ctx, uint64_t fetch) { (void)ctx, (void)fetch; }
static void on_ended(void *ctx, uint64_t fetch, hth_blocks_end end, uint32_t prefix)
{
	(void)ctx, (void)fetch, (void)prefix;
	if (over || end == HTH_BLOCKS_WHOLE) /* nobody said that it was whole */
		abort();
	over = true;
}
static void on_lied(void *ctx, const hth_home_id *from) { (void)ctx, (void)from; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static hth_blocks_message *m;
	hth_error err;
	if (list == NULL) {
		unsigned char sha256[HTH_SHA256_BYTES] = {1, 2, 3}, *file = calloc(1, FILE_BYTES);
		m = malloc(sizeof *m);
		if (m == NULL || file == NULL || hth_chunk_list_create(&list, FILE_BYTES, sha256, &err) != HTH_OK)
			abort();
		for (uint32_t i = 0; i < list->n_chunks; i++)
			hth_chunk_hash(file, hth_chunk_size(FILE_BYTES, i), list->chunks[i]);
		hth_chunk_list_seal(list);
		free(file);
	}
	const hth_blocks_ops ops = {NULL, on_send, on_offer, on_read, on_found, on_find_ended, on_store, on_check, on_ended, on_lied};
	const hth_home_id anna = {{1}}, ben = {{2}};
	uint64_t now = 1800000000000u;
	over = false;
	n_reads = 0;
	if (hth_blocks_create(&blocks, &ops, &err) != HTH_OK)
		abort();
	hth_blocks_set_peers(blocks, (hth_home_id[]){anna, ben}, 2, now);
	if (hth_blocks_find(blocks, 1, "a", "a", now, &err) != HTH_OK ||
	    hth_blocks_fetch(blocks, 2, FILE_BYTES, list->sha256, NULL, 0, now, &err) != HTH_OK)
		abort();
	for (size_t at = 0; at + 2 <= size;) {
		size_t n = HTH_MIN((size_t)(data[at] | (data[at + 1] & 0x1f) << 8), size - at - 2);
		now += data[at + 1] >> 6 == 3 ? 3000 : data[at + 1] >> 6;
		bool first = data[at + 1] & 0x20;
		at += 2;
		if (hth_blocks_message_decode(m, data + at, n, &err) == HTH_OK) {
			hth_buf again = HTH_BUF_INIT(HTH_BLOCKS_MESSAGE_MAX);
			hth_blocks_message_encode(m, &again);
			if (again.failed || again.len != n || memcmp(again.data, data + at, n) != 0)
				abort();
			hth_buf_finish(&again);
		}
		hth_blocks_receive(blocks, first ? &anna : &ben, data + at, n, now);
		hth_blocks_tick(blocks, now);
		if (n_reads > 0 && n % 3 == 0)
			hth_blocks_read_done(blocks, reads[--n_reads], n % 2 ? "some bytes" : NULL, n % 2 ? 10 : 0, now);
		at += n;
	}
	hth_blocks_destroy(blocks);
	return 0;
}
