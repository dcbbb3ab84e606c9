/* segment-write.c - writes a segment front to back: postings as terms come, then the tables that were gathered
 * meanwhile, then the header at the beginning. The file is whole on the disk before anybody names it. Thread: the
 * index's writing one.
 */
#include "base/mem.h"
#include "index/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { FLUSH_BYTES = 1 << 20 };

struct segment_writer {
	const disk *disk;
	char path[4200];
	int fd;
	uint64_t at; /* bytes written or waiting */
	hth_buf waiting;
	hth_buf terms, strings;
	const uint64_t *ids;
	const uint16_t *lengths;
	segment_header header;
	float k_flat, k_len;
	bool finished;
};

static hth_status flush(segment_writer *w, hth_error *err)
{
	HTH_TRY(disk_write(w->disk, w->fd, w->path, w->waiting.data, w->waiting.len, err));
	hth_buf_clear(&w->waiting);
	return HTH_OK;
}

static hth_status put(segment_writer *w, const void *bytes, size_t len, hth_error *err)
{
	const char *from = bytes;
	while (len > 0) {
		size_t n = HTH_MIN(len, (size_t)FLUSH_BYTES);
		if (!hth_buf_append(&w->waiting, from, n))
			return hth_fail(err, HTH_NO_MEMORY, "no memory to write the word index");
		w->at += n;
		from += n;
		len -= n;
		if (w->waiting.len >= FLUSH_BYTES)
			HTH_TRY(flush(w, err));
	}
	return HTH_OK;
}

static hth_status align(segment_writer *w, hth_error *err)
{
	static const char zeros[8];
	return put(w, zeros, (8 - w->at % 8) % 8, err);
}

hth_status segment_writer_open(segment_writer **ret_writer, const disk *d, const char *path, const uint64_t *ids, const uint16_t *lengths,
                               uint32_t n_texts, uint64_t terms_total, uint32_t languages, hth_error *err)
{
	segment_writer *w = calloc(1, sizeof *w);
	if (w == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to write the word index");
	w->disk = d;
	w->ids = ids;
	w->lengths = lengths;
	snprintf(w->path, sizeof w->path, "%s", path);
	w->waiting = HTH_BUF_INIT((size_t)4 * FLUSH_BYTES);
	w->terms = w->strings = HTH_BUF_INIT((size_t)UINT32_MAX);
	w->header = (segment_header){.magic = "HTHWORDS",
	                             .format = SEGMENT_FORMAT,
	                             .languages = languages,
	                             .n_texts = n_texts,
	                             .first_id = n_texts > 0 ? ids[0] : 0,
	                             .terms_total = terms_total,
	                             .postings_at = sizeof(segment_header)};
	w->header.average = n_texts > 0 && terms_total > 0 ? (float)((double)terms_total / n_texts) : 1.0f;
	w->k_flat = BM25_K1 * (1 - BM25_B);
	w->k_len = BM25_K1 * BM25_B / w->header.average;
	hth_status status = HTH_OK;
	w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (w->fd < 0)
		status = hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	if (status == HTH_OK)
		status = put(w, &w->header, sizeof w->header, err); /* its place; written again at the end */
	if (status != HTH_OK) {
		segment_writer_close(w);
		return status;
	}
	*ret_writer = w;
	return HTH_OK;
}

static unsigned bits_of(uint32_t v)
{
	return v == 0 ? 0 : 32 - (unsigned)__builtin_clz(v);
}

/* Appends n values of `bits` bits, low bits first, padded to a byte. */
static size_t pack(uint8_t *out, const uint32_t *values, size_t n, unsigned bits)
{
	uint64_t acc = 0;
	unsigned have = 0;
	uint8_t *p = out;
	if (bits == 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		acc |= (uint64_t)values[i] << have;
		for (have += bits; have >= 8; have -= 8) {
			*p++ = (uint8_t)acc;
			acc >>= 8;
		}
	}
	if (have > 0)
		*p++ = (uint8_t)acc;
	return (size_t)(p - out);
}

static uint16_t bound_of(const segment_writer *w, uint32_t doc, uint32_t tf)
{
	double f = tf, s = f / (f + (double)w->k_flat + (double)w->k_len * w->lengths[doc]);
	uint32_t up = (uint32_t)(s * 65535) + 1;
	return (uint16_t)HTH_MIN(up, 65535u);
}

hth_status segment_writer_term(segment_writer *w, const char *term, size_t len, const uint32_t *docs, const uint32_t *tfs, uint32_t df,
                               hth_error *err)
{
	segment_term t = {.string = (uint32_t)w->strings.len, .df = df, .len = (uint8_t)len};
	if (df == 1) {
		t.at = (uint64_t)tfs[0] << 32 | docs[0];
		t.bound = bound_of(w, docs[0], tfs[0]);
	} else {
		uint32_t n_blocks = (df + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK;
		HTH_AUTO_FREE segment_block *blocks = hth_alloc_array(n_blocks, sizeof *blocks);
		HTH_CLEANUP(hth_buf_finish) hth_buf payload = HTH_BUF_INIT((size_t)UINT32_MAX);
		if (blocks == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory to write the word index");
		uint32_t next = 0; /* the least number that may come */
		for (uint32_t b = 0; b < n_blocks; b++) {
			uint32_t first = b * SEGMENT_BLOCK, n = HTH_MIN(df - first, (uint32_t)SEGMENT_BLOCK);
			uint32_t gaps[SEGMENT_BLOCK], less[SEGMENT_BLOCK], gap_or = 0, less_or = 0;
			segment_block *k = &blocks[b];
			for (uint32_t i = 0; i < n; i++) {
				uint32_t doc = docs[first + i], tf = tfs[first + i];
				gap_or |= gaps[i] = doc - next;
				less_or |= less[i] = tf - 1;
				next = doc + 1;
				k->bound = HTH_MAX(k->bound, bound_of(w, doc, tf));
			}
			k->last = docs[first + n - 1];
			k->payload = (uint32_t)payload.len;
			k->doc_bits = (uint8_t)bits_of(gap_or);
			k->tf_bits = (uint8_t)bits_of(less_or);
			t.bound = HTH_MAX(t.bound, k->bound);
			uint8_t *room = (uint8_t *)hth_buf_reserve(&payload, 2 * 4 * SEGMENT_BLOCK + 16);
			if (room == NULL)
				return hth_fail(err, HTH_NO_MEMORY, "no memory to write the word index");
			size_t used = pack(room, gaps, n, k->doc_bits);
			used += pack(room + used, less, n, k->tf_bits);
			payload.len += used;
		}
		while (w->at % 4 != 0)
			HTH_TRY(put(w, "", 1, err));
		t.at = w->at;
		HTH_TRY(put(w, blocks, n_blocks * sizeof *blocks, err));
		HTH_TRY(put(w, payload.data, payload.len, err));
	}
	if (!hth_buf_append(&w->terms, &t, sizeof t) || !hth_buf_append(&w->strings, term, len))
		return hth_fail(err, HTH_NO_MEMORY, "no memory to write the word index");
	w->header.n_terms++;
	return HTH_OK;
}

static hth_status put_ids(segment_writer *w, hth_error *err)
{
	uint32_t some[1024];
	for (uint32_t i = 0; i < w->header.n_texts;) {
		uint32_t n = 0;
		for (; n < HTH_COUNT(some) && i < w->header.n_texts; n++, i++) {
			uint64_t distance = w->ids[i] - w->header.first_id;
			if (distance > UINT32_MAX)
				return hth_fail(err, HTH_TOO_LARGE, "a segment of the word index would span too many ids");
			some[n] = (uint32_t)distance;
		}
		HTH_TRY(put(w, some, n * sizeof *some, err));
	}
	return HTH_OK;
}

hth_status segment_writer_finish(segment_writer *w, hth_error *err)
{
	/* Reading a packed value may touch the seven bytes behind it: there are tables behind the last. */
	segment_header *h = &w->header;
	HTH_TRY(align(w, err));
	h->terms_at = w->at;
	HTH_TRY(put(w, w->terms.data, w->terms.len, err));
	h->strings_at = w->at;
	HTH_TRY(put(w, w->strings.data, w->strings.len, err));
	HTH_TRY(align(w, err));
	h->ids_at = w->at;
	HTH_TRY(put_ids(w, err));
	HTH_TRY(align(w, err));
	h->lengths_at = w->at;
	HTH_TRY(put(w, w->lengths, h->n_texts * sizeof *w->lengths, err));
	HTH_TRY(align(w, err));
	HTH_TRY(put(w, "\0\0\0\0\0\0\0", 8, err));
	h->file_len = w->at;
	HTH_TRY(flush(w, err));
	h->checksum = disk_checksum(h, offsetof(segment_header, checksum));
	if (lseek(w->fd, 0, SEEK_SET) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot write %s", w->path);
	HTH_TRY(disk_write(w->disk, w->fd, w->path, h, sizeof *h, err));
	HTH_TRY(disk_sync(w->disk, w->fd, w->path, err));
	w->finished = true;
	return HTH_OK;
}

void segment_writer_close(segment_writer *w)
{
	if (w == NULL)
		return;
	if (w->fd >= 0)
		close(w->fd);
	if (!w->finished && w->fd >= 0)
		disk_remove(w->disk, w->path);
	hth_buf_finish(&w->waiting);
	hth_buf_finish(&w->terms);
	hth_buf_finish(&w->strings);
	free(w);
}
