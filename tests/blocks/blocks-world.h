/* blocks-world.h - a few homes and a link that is not kind: letters are lost, doubled, overtaken; homes vanish, lie, restart. All from a
 * seed.
 *
 * Home 0 asks. Its disk is `disk`, which outlives its machine. A file is `truth`; who has it gives its chunks after a moment, as a disk
 * would.
 */
#ifndef TESTS_BLOCKS_WORLD_H
#define TESTS_BLOCKS_WORLD_H

#include "base/mem.h"
#include "base/rng.h"
#include "blocks/model-blocks.h"
#include "harness.h"

enum { HOMES = 6, LETTERS_MAX = 4096 };
typedef enum lie { HONEST, FLIPS_BITS, OTHER_FILE, SHORT_CHUNKS, SAYS_GONE, SAYS_BUSY, NEVER_READY } lie;

typedef struct letter {
	uint64_t at, order;
	int to, from;
	bool is_read; /* not a letter: a read that is done */
	uint64_t read;
	unsigned char *bytes;
	size_t len;
} letter;

typedef struct world_home {
	hth_home_id id;
	hth_blocks *blocks;
	bool has, up;
	lie lie;
	uint64_t chunks_given, ready_ms; /* ready: from then on its list is made */
} world_home;

typedef struct world {
	uint64_t now, order;
	hth_rng rng;
	double loss, twice;
	uint64_t delay_ms, jitter_ms;
	world_home homes[HOMES];
	letter letters[LETTERS_MAX];
	size_t n_letters;
	unsigned char *truth, *other;
	size_t bytes;
	unsigned char sha256[HTH_SHA256_BYTES];
	hth_chunk_list *list, *other_list;
	/* home 0 */
	unsigned char *disk;
	unsigned char (*found)[HTH_HASH_BYTES]; /* what is on the disk, hashed when it was written */
	uint32_t prefix;
	int ended, found_n, find_ended, lied[HOMES];
	uint64_t ended_ms, stored;
	hth_blocks_end end;
	size_t checks;
} world;

static world *w;

static int index_of(const hth_home_id *id) { return id->bytes[0]; }
static void add_letter(letter l)
{
	if (w->n_letters == LETTERS_MAX) {
		free(l.bytes);
		return;
	}
	l.order = w->order++;
	w->letters[w->n_letters++] = l;
}

static bool on_send(void *ctx, const hth_home_id *to, const void *bytes, size_t len)
{
	world_home *h = ctx;
	int copies = hth_rng_unit(&w->rng) < w->loss ? 0 : hth_rng_unit(&w->rng) < w->twice ? 2 : 1;
	for (; copies > 0; copies--) {
		letter l = {.at = w->now + w->delay_ms + (w->jitter_ms ? hth_rng_next(&w->rng) % w->jitter_ms : 0), .to = index_of(to),
		            .from = index_of(&h->id),
		            .bytes = malloc(len), .len = len};
		memcpy(l.bytes, bytes, len);
		add_letter(l);
	}
	return true;
}

static void on_offer(void *ctx, const hth_home_id *from, const hth_blocks_message *query, hth_blocks_offer *offer)
{
	world_home *h = ctx;
	(void)from;
	if (!h->has || (query->by_hash ? memcmp(query->sha256, w->sha256, HTH_SHA256_BYTES) != 0
	                               : strcmp(query->reference, "the-model") != 0))
		return;
	*offer = (hth_blocks_offer){.n_files = 1, .extras = "{}", .extras_len = 2};
	offer->files[0].bytes = w->bytes;
	memcpy(offer->files[0].sha256, w->sha256, HTH_SHA256_BYTES);
	offer->files[0].ready = w->now >= h->ready_ms && h->lie != NEVER_READY;
	if (offer->files[0].ready)
		memcpy(offer->files[0].root, h->lie == OTHER_FILE ? w->other_list->root : w->list->root, HTH_HASH_BYTES);
}

static void on_read(void *ctx, uint64_t read, const hth_home_id *to, const unsigned char sha256[HTH_SHA256_BYTES], hth_blocks_part part,
                    uint32_t index)
{
	world_home *h = ctx;
	(void)to;
	bool have = h->has && h->lie != SAYS_GONE && memcmp(sha256, w->sha256, HTH_SHA256_BYTES) == 0;
	const hth_chunk_list *list = h->lie == OTHER_FILE ? w->other_list : w->list;
	const unsigned char *from = NULL;
	size_t len = 0;
	if (have && part == HTH_PART_TOP) {
		from = list->pages[0];
		len = (size_t)list->n_pages * HTH_HASH_BYTES;
	} else if (have && part == HTH_PART_PAGE && index < list->n_pages) {
		from = hth_chunk_list_page(list, index, &len);
	} else if (have && part == HTH_PART_CHUNK && index < list->n_chunks) {
		from = (h->lie == OTHER_FILE ? w->other : w->truth) + (size_t)index * HTH_CHUNK_BYTES;
		len = hth_chunk_size(w->bytes, index);
		h->chunks_given++;
	}
	letter l = {.at = w->now + 1 + hth_rng_next(&w->rng) % 4, .to = index_of(&h->id), .is_read = true, .read = read};
	if (from != NULL) {
		l.bytes = malloc(len);
		memcpy(l.bytes, from, len);
		l.len = h->lie == SHORT_CHUNKS && part == HTH_PART_CHUNK ? len - 1 : len;
		if (h->lie == FLIPS_BITS && part == HTH_PART_CHUNK && hth_rng_next(&w->rng) % 3 == 0)
			l.bytes[hth_rng_next(&w->rng) % len] ^= 1;
	}
	add_letter(l);
}

static void on_found(void *ctx, uint64_t find, const hth_home_id *from, const hth_blocks_offer *offer)
{
	(void)ctx, (void)from;
	CHECK(find == 7 && offer->n_files == 1 && offer->files[0].bytes == w->bytes && offer->extras_len == 2);
	w->found_n++;
}
static void on_find_ended(void *ctx, uint64_t find)
{
	(void)ctx;
	CHECK(find == 7);
	w->find_ended++;
}
static void on_store(void *ctx, uint64_t fetch, uint32_t index, const void *bytes, size_t len)
{
	(void)ctx;
	CHECK(fetch == 1 && len == hth_chunk_size(w->bytes, index));
	memcpy(w->disk + (size_t)index * HTH_CHUNK_BYTES, bytes, len);
	hth_chunk_hash(bytes, len, w->found[index]);
	w->stored++;
	add_letter((letter){.at = w->now + 1, .to = 0, .is_read = true, .read = UINT64_MAX}); /* written, a moment later */
}
static void on_check(void *ctx, uint64_t fetch)
{
	(void)ctx, (void)fetch;
	w->checks++;
	add_letter((letter){.at = w->now + 20, .to = 0, .is_read = true, .read = UINT64_MAX - 1});
}
static void on_ended(void *ctx, uint64_t fetch, hth_blocks_end end, uint32_t prefix)
{
	(void)ctx, (void)fetch;
	w->prefix = prefix;
	w->ended++;
	w->end = end;
	w->ended_ms = w->now;
}
static void on_lied(void *ctx, const hth_home_id *from)
{
	(void)ctx;
	w->lied[index_of(from)]++;
}

static void start_home(int i)
{
	world_home *h = &w->homes[i];
	hth_blocks_ops ops = {h, on_send, on_offer, on_read, on_found, on_find_ended, on_store, on_check, on_ended, on_lied};
	hth_home_id peers[HOMES];
	size_t n = 0;
	if (hth_blocks_create(&h->blocks, &ops, NULL) != HTH_OK)
		abort();
	for (int k = 0; k < HOMES; k++)
		if (k != i)
			peers[n++] = w->homes[k].id;
	hth_blocks_set_peers(h->blocks, peers, n, w->now);
	h->up = true;
}

static void stop_home(int i)
{
	world_home *h = &w->homes[i];
	hth_blocks_destroy(h->blocks);
	h->blocks = NULL;
	h->up = false;
	for (size_t k = w->n_letters; k-- > 0;) /* reads that it had begun */
		if (w->letters[k].is_read && w->letters[k].to == i) {
			free(w->letters[k].bytes);
			w->letters[k] = w->letters[--w->n_letters];
		}
}

static void make_world(uint64_t seed, size_t bytes)
{
	w = calloc(1, sizeof *w);
	*w = (world){.now = 1000000, .bytes = bytes, .delay_ms = 5, .jitter_ms = 20, .loss = 0, .twice = 0};
	hth_rng_seed(&w->rng, seed);
	w->truth = malloc(bytes);
	w->other = malloc(bytes);
	w->disk = calloc(1, bytes);
	for (size_t i = 0; i < bytes; i++)
		w->truth[i] = (unsigned char)hth_rng_next(&w->rng);
	memcpy(w->other, w->truth, bytes);
	w->other[bytes / 2] ^= 0x55; /* a model with another weight */
	memset(w->sha256, 0xA5, sizeof w->sha256); /* the whole is compared with the truth: any name will do */
	for (int which = 0; which < 2; which++) {
		hth_chunk_list *list = NULL;
		if (hth_chunk_list_create(&list, bytes, w->sha256, NULL) != HTH_OK)
			abort();
		for (uint32_t i = 0; i < list->n_chunks; i++)
			hth_chunk_hash((which ? w->other : w->truth) + (size_t)i * HTH_CHUNK_BYTES, hth_chunk_size(bytes, i),
			               list->chunks[i]);
		hth_chunk_list_seal(list);
		*(which ? &w->other_list : &w->list) = list;
	}
	w->found = calloc(w->list->n_chunks, sizeof *w->found);
	for (int i = 0; i < HOMES; i++)
		w->homes[i].id.bytes[0] = (unsigned char)i;
	for (int i = 0; i < HOMES; i++)
		start_home(i);
}

static void free_world(void)
{
	for (int i = 0; i < HOMES; i++)
		if (w->homes[i].blocks != NULL)
			stop_home(i);
	for (size_t i = 0; i < w->n_letters; i++)
		free(w->letters[i].bytes);
	hth_chunk_list_destroy(w->list);
	hth_chunk_list_destroy(w->other_list);
	free(w->truth);
	free(w->other);
	free(w->disk);
	free(w->found);
	free(w);
}

static void fetch(void)
{
	hth_error err = HTH_ERROR_INIT;
	hth_status status = hth_blocks_fetch(w->homes[0].blocks, 1, w->bytes, w->sha256, (const unsigned char (*)[HTH_HASH_BYTES])w->found,
	                                     w->list->n_chunks, w->now, &err);
	if (status != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
}

static void deliver(letter l)
{
	world_home *h = &w->homes[l.to];
	if (h->up && l.is_read && l.read == UINT64_MAX)
		hth_blocks_stored(h->blocks, 1, w->now);
	else if (h->up && l.is_read && l.read == UINT64_MAX - 1)
		hth_blocks_checked(h->blocks, 1, memcmp(w->disk, w->truth, w->bytes) == 0, w->now);
	else if (h->up && l.is_read)
		hth_blocks_read_done(h->blocks, l.read, l.bytes, l.len, w->now);
	else if (h->up)
		hth_blocks_receive(h->blocks, &w->homes[l.from].id, l.bytes, l.len, w->now);
	free(l.bytes);
}

/* One thing that happens. False: nothing is left to happen before `until`. */
static bool step(uint64_t until)
{
	size_t first = SIZE_MAX;
	uint64_t at = until;
	int who = -1;
	for (size_t i = 0; i < w->n_letters; i++)
		if (w->letters[i].at < at || (first != SIZE_MAX && w->letters[i].at == at &&
		                              w->letters[i].order < w->letters[first].order)) {
			at = w->letters[i].at;
			first = i;
		}
	for (int i = 0; i < HOMES; i++)
		if (w->homes[i].up && hth_blocks_next_ms(w->homes[i].blocks) < at) {
			at = HTH_MAX(hth_blocks_next_ms(w->homes[i].blocks), w->now);
			who = i;
		}
	if (at >= until)
		return false;
	w->now = HTH_MAX(at, w->now);
	if (who >= 0) {
		uint64_t next = hth_blocks_tick(w->homes[who].blocks, w->now);
		CHECK(next > w->now || next == UINT64_MAX || next == w->now); /* time does not go back */
		if (next <= w->now)
			w->now++; /* a machine that wants to be called again at once gets another millisecond */
	} else if (first != SIZE_MAX) {
		letter l = w->letters[first];
		w->letters[first] = w->letters[--w->n_letters];
		deliver(l);
	}
	return true;
}

static void run_for(uint64_t ms)
{
	uint64_t until = w->now + ms;
	while (w->ended == 0 && step(until))
		;
	if (w->ended == 0)
		w->now = until;
}

#endif
