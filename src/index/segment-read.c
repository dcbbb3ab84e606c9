/* segment-read.c - a segment mapped: checked when it opens, its postings unpacked a block at a time. Any number of
 * threads. */
#include "base/mem.h"
#include "index/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool section_fits(uint64_t at, uint64_t count, uint64_t size, uint64_t end)
{
	uint64_t bytes, to;
	return at % 8 == 0 && !hth_mul_overflows(count, size, &bytes) && !hth_add_overflows(at, bytes, &to) && to <= end;
}

static const char *check(const segment_header *h, uint64_t len)
{
	if (memcmp(h->magic, "HTHWORDS", 8) != 0)
		return "is no segment";
	if (h->format != SEGMENT_FORMAT)
		return "is of another version";
	if (h->checksum != disk_checksum(h, offsetof(segment_header, checksum)) || h->file_len != len)
		return "is damaged";
	if (h->postings_at > h->terms_at || !section_fits(h->terms_at, h->n_terms, sizeof(segment_term), h->strings_at) ||
	    h->strings_at > h->ids_at || !section_fits(h->ids_at, h->n_texts, sizeof(uint32_t), h->lengths_at) ||
	    !section_fits(h->lengths_at, h->n_texts, sizeof(uint16_t), len) || h->file_len < 8 || !(h->average > 0))
		return "is damaged";
	return NULL;
}

hth_status segment_open(segment **ret_segment, const char *path, uint32_t number, hth_error *err)
{
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return hth_fail_errno(err, errno == ENOENT ? HTH_NOT_FOUND : HTH_IO, errno, "cannot open %s", path);
	if ((size_t)st.st_size < sizeof(segment_header))
		return hth_fail(err, HTH_BAD_FORMAT, "%s is cut short", path);
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return hth_fail_errno(err, HTH_NO_MEMORY, errno, "cannot map %s", path);
	const segment_header *h = map;
	const char *wrong = check(h, (uint64_t)st.st_size);
	segment *s = wrong == NULL ? calloc(1, sizeof *s) : NULL;
	if (s == NULL) {
		munmap(map, (size_t)st.st_size);
		return wrong != NULL ? hth_fail(err, HTH_BAD_FORMAT, "%s %s", path, wrong)
		                     : hth_fail(err, HTH_NO_MEMORY, "no memory for the word index");
	}
	atomic_init(&s->refs, 1);
	atomic_init(&s->damaged, false);
	s->number = number;
	s->map = map;
	s->map_len = (size_t)st.st_size;
	s->header = h;
	s->terms = (const segment_term *)(s->map + h->terms_at);
	s->strings = (const char *)(s->map + h->strings_at);
	s->ids = (const uint32_t *)(s->map + h->ids_at);
	s->lengths = (const uint16_t *)(s->map + h->lengths_at);
	*ret_segment = s;
	return HTH_OK;
}

void segment_release(segment *s)
{
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	munmap((void *)(uintptr_t)s->map, s->map_len);
	free(s);
}

const char *segment_string(const segment *s, const segment_term *t)
{
	uint64_t room = s->header->ids_at - s->header->strings_at;
	if ((uint64_t)t->string + t->len > room) {
		atomic_store(&((segment *)(uintptr_t)s)->damaged, true);
		return NULL;
	}
	return s->strings + t->string;
}

const segment_term *segment_find(const segment *s, const char *term, size_t len)
{
	uint32_t low = 0, high = s->header->n_terms;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const segment_term *t = &s->terms[mid];
		const char *string = segment_string(s, t);
		if (string == NULL)
			return NULL;
		int order = memcmp(string, term, HTH_MIN((size_t)t->len, len));
		if (order == 0 && t->len == len)
			return t;
		if (order < 0 || (order == 0 && t->len < len))
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

uint32_t segment_number_of(const segment *s, uint64_t id)
{
	uint32_t low = 0, high = s->header->n_texts;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (s->header->first_id + s->ids[mid] < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* --- postings --- */

static void end_damaged(cursor *c)
{
	atomic_store(&c->s->damaged, true);
	c->n_blocks = c->shallow = 0;
	c->n = c->pos = 0;
	c->decoded = UINT32_MAX;
}

void cursor_open(cursor *c, segment *s, const segment_term *t)
{
	*c = (cursor){.s = s, .df = t->df, .bound = t->bound, .decoded = UINT32_MAX};
	if (t->df == 1) {
		uint32_t doc = (uint32_t)t->at, tf = (uint32_t)(t->at >> 32);
		if (doc >= s->header->n_texts || tf == 0) {
			end_damaged(c);
			return;
		}
		/* One block that is always decoded. */
		c->docs[0] = doc;
		c->tfs[0] = tf - 1;
		c->n = c->n_blocks = 1;
		c->decoded = 0;
		c->has_tfs = true;
		return;
	}
	uint64_t n_blocks = ((uint64_t)t->df + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK, end = s->header->terms_at;
	if (t->df == 0 || t->df > s->header->n_texts || t->at % 4 != 0 || t->at < s->header->postings_at || t->at > end ||
	    n_blocks * sizeof(segment_block) > end - t->at) {
		end_damaged(c);
		return;
	}
	c->blocks = (const segment_block *)(s->map + t->at);
	c->n_blocks = (uint32_t)n_blocks;
	c->payload = s->map + t->at + n_blocks * sizeof(segment_block);
	c->end = s->map + end;
}

/* Values of `bits` (at most 32) bits: an unaligned load of eight bytes holds any of them whole. */
static void unpack(uint32_t *out, const uint8_t *from, uint32_t n, unsigned bits)
{
	uint64_t mask = (1ull << bits) - 1;
	size_t at = 0;
	for (uint32_t i = 0; i < n; i++, at += bits) {
		uint64_t word;
		memcpy(&word, from + at / 8, sizeof word);
		out[i] = (uint32_t)(word >> (at % 8) & mask);
	}
}

static uint32_t block_size(const cursor *c, uint32_t b)
{
	return b + 1 < c->n_blocks ? SEGMENT_BLOCK : c->df - b * SEGMENT_BLOCK;
}

bool cursor_decode(cursor *c, uint32_t b)
{
	if (c->decoded == b)
		return true;
	const segment_block *k = &c->blocks[b];
	uint32_t n = block_size(c, b), next = b > 0 ? c->blocks[b - 1].last + 1 : 0;
	uint64_t bytes = ((uint64_t)n * k->doc_bits + 7) / 8 + ((uint64_t)n * k->tf_bits + 7) / 8;
	if (k->doc_bits > 32 || k->tf_bits > 32 || (uint64_t)k->payload + bytes > (uint64_t)(c->end - c->payload) ||
	    k->last >= c->s->header->n_texts) {
		end_damaged(c);
		return false;
	}
	unpack(c->docs, c->payload + k->payload, n, k->doc_bits);
	for (uint32_t i = 0; i < n; i++) {
		next += c->docs[i];
		c->docs[i] = next++;
	}
	/* Distances add up to the last one, or wrapped on the way: then this comparison, or the order within the block,
	 * tells. */
	bool fine = c->docs[n - 1] == k->last;
	for (uint32_t i = 1; i < n; i++)
		fine &= c->docs[i] > c->docs[i - 1];
	if (!fine) {
		end_damaged(c);
		return false;
	}
	c->decoded = b;
	c->n = n;
	c->pos = 0;
	c->has_tfs = false;
	return true;
}

const uint32_t *cursor_tfs(cursor *c)
{
	if (!c->has_tfs) {
		const segment_block *k = &c->blocks[c->decoded];
		unpack(c->tfs, c->payload + k->payload + ((size_t)c->n * k->doc_bits + 7) / 8, c->n, k->tf_bits);
		c->has_tfs = true;
	}
	return c->tfs;
}

bool cursor_seek(cursor *c, uint32_t doc)
{
	if (c->blocks == NULL) {
		c->pos = c->n > 0 && c->docs[0] < doc ? 1 : 0;
		return c->pos < c->n;
	}
	while (c->shallow < c->n_blocks && c->blocks[c->shallow].last < doc)
		c->shallow++;
	if (c->shallow >= c->n_blocks || !cursor_decode(c, c->shallow))
		return false;
	while (c->pos < c->n && c->docs[c->pos] < doc)
		c->pos++;
	return c->pos < c->n;
}
