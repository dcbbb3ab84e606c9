/* vector-file.c - segments of vectors: what becomes of a vector, how a segment is written, how it is mapped. */
#include "index/vector-file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, KEEP_GOING_EVERY = 4096 };

/* --- vectors --- */

bool vector_quantise(const float *values, size_t n, int8_t *row, float *ret_scale)
{
	double sum = 0;
	float most = 0;
	for (size_t i = 0; i < n; i++) {
		sum += (double)values[i] * (double)values[i];
		most = fmaxf(most, fabsf(values[i]));
		if (!isfinite(values[i]))
			return false;
	}
	if (!(sum > 1e-30) || !isfinite(sum))
		return false;
	memset(row, 0, vector_row_bytes(n));
	float per_step = 127.0f / most;
	for (size_t i = 0; i < n; i++)
		row[i] = (int8_t)lrintf(values[i] * per_step);
	*ret_scale = (float)((double)most / 127.0 / sqrt(sum));
	return true;
}

void vector_signs(const int8_t *row, float scale, const float *center, uint32_t dims, uint64_t *ret_signs)
{
	memset(ret_signs, 0, (dims + 63) / 64 * 8);
	for (uint32_t i = 0; i < dims; i++)
		if ((float)row[i] * scale > center[i])
			ret_signs[i / 64] |= UINT64_C(1) << (i % 64);
}

/* --- writing --- */

typedef struct output {
	const disk *d;
	const char *path;
	int fd;
	uint64_t at;
	size_t n;
	uint8_t *chunk;
} output;

static hth_status put(output *o, const void *bytes, size_t len, hth_error *err)
{
	o->at += len;
	for (const uint8_t *from = bytes; len > 0;) {
		size_t part = HTH_MIN(len, (size_t)CHUNK - o->n);
		memcpy(o->chunk + o->n, from, part);
		o->n += part;
		from += part;
		len -= part;
		if (o->n == CHUNK) {
			HTH_TRY(disk_write(o->d, o->fd, o->path, o->chunk, o->n, err));
			o->n = 0;
		}
	}
	return HTH_OK;
}

static hth_status pad(output *o, hth_error *err)
{
	static const uint8_t zeros[64];
	return put(o, zeros, (64 - o->at % 64) % 64, err);
}

static vectors_header lay_out(const vrows *r)
{
	vectors_header h = {.magic = "HTHVECTS", .format = VECTORS_FORMAT, .dims = r->dims, .n = r->n, .row_bytes = r->row_bytes,
	                    .first_id = r->ids[0]};
	h.n_words = r->n >= SIGNS_LEAST ? (r->dims + 63) / 64 : 0;
	uint64_t at = sizeof h;
	h.ids_at = at;
	at = hth_round_up(at + (uint64_t)r->n * 4, 64);
	h.scales_at = at;
	at = hth_round_up(at + (uint64_t)r->n * 4, 64);
	h.center_at = at;
	at = hth_round_up(at + (uint64_t)r->dims * 4, 64);
	h.signs_at = at;
	at = hth_round_up(at + (uint64_t)r->n * h.n_words * 8, 64);
	h.rows_at = at;
	h.file_len = at + (uint64_t)r->n * r->row_bytes;
	h.checksum = disk_checksum(&h, offsetof(vectors_header, checksum));
	return h;
}

static bool goes_on(const vrows *r, uint32_t i)
{
	return r->keep_going == NULL || i % KEEP_GOING_EVERY != 0 || r->keep_going(r->keep_going_ctx);
}

static hth_status find_center(const vrows *r, float *center, hth_error *err)
{
	HTH_AUTO_FREE double *sums = hth_alloc_array(r->dims, sizeof *sums);
	if (sums == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	for (uint32_t i = 0; i < r->n; i++) {
		const int8_t *row;
		float scale;
		if (!goes_on(r, i))
			return hth_fail(err, HTH_CANCELLED, "the merge was put off");
		r->row(r->ctx, i, &row, &scale);
		for (uint32_t k = 0; k < r->dims; k++)
			sums[k] += (double)((float)row[k] * scale);
	}
	for (uint32_t k = 0; k < r->dims; k++)
		center[k] = (float)(sums[k] / r->n);
	return HTH_OK;
}

static hth_status write_sections(output *o, const vrows *r, const vectors_header *h, const float *center, hth_error *err)
{
	const int8_t *row;
	float scale;
	HTH_TRY(put(o, h, sizeof *h, err));
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t id = (uint32_t)(r->ids[i] - h->first_id);
		HTH_TRY(put(o, &id, sizeof id, err));
	}
	HTH_TRY(pad(o, err));
	for (uint32_t i = 0; i < r->n; i++) {
		r->row(r->ctx, i, &row, &scale);
		HTH_TRY(put(o, &scale, sizeof scale, err));
	}
	HTH_TRY(pad(o, err));
	HTH_TRY(put(o, center, r->dims * sizeof *center, err));
	HTH_TRY(pad(o, err));
	for (uint32_t i = 0; h->n_words > 0 && i < r->n; i++) {
		uint64_t signs[HTH_VECTORS_DIMS_MAX / 64];
		if (!goes_on(r, i))
			return hth_fail(err, HTH_CANCELLED, "the merge was put off");
		r->row(r->ctx, i, &row, &scale);
		vector_signs(row, scale, center, r->dims, signs);
		HTH_TRY(put(o, signs, h->n_words * sizeof *signs, err));
	}
	HTH_TRY(pad(o, err));
	for (uint32_t i = 0; i < r->n; i++) {
		if (!goes_on(r, i))
			return hth_fail(err, HTH_CANCELLED, "the merge was put off");
		r->row(r->ctx, i, &row, &scale);
		HTH_TRY(put(o, row, r->row_bytes, err));
	}
	HTH_TRY(disk_write(o->d, o->fd, o->path, o->chunk, o->n, err));
	return disk_sync(o->d, o->fd, o->path, err);
}

hth_status vsegment_write(const vrows *r, const disk *d, const char *path, hth_error *err)
{
	HTH_AUTO_FREE float *center = hth_alloc_array(r->dims, sizeof *center);
	HTH_AUTO_FREE uint8_t *chunk = malloc(CHUNK);
	if (center == NULL || chunk == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	const vectors_header h = lay_out(r);
	if (h.n_words > 0)
		HTH_TRY(find_center(r, center, err));
	HTH_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	output o = {.d = d, .path = path, .fd = fd, .chunk = chunk};
	hth_status status = write_sections(&o, r, &h, center, err);
	if (status != HTH_OK)
		disk_remove(d, path);
	return status;
}

/* --- reading --- */

static bool is_sound(const vectors_header *h, uint64_t file_len)
{
	if (memcmp(h->magic, "HTHVECTS", 8) != 0 || h->format != VECTORS_FORMAT ||
	    h->checksum != disk_checksum(h, offsetof(vectors_header, checksum)) || h->n == 0 || h->dims == 0 ||
	    h->dims > HTH_VECTORS_DIMS_MAX || h->row_bytes != vector_row_bytes(h->dims) || h->file_len != file_len ||
	    (h->n_words != 0 && h->n_words != (h->dims + 63) / 64))
		return false;
	const uint64_t at[6] = {h->ids_at, h->scales_at, h->center_at, h->signs_at, h->rows_at, h->file_len};
	const uint64_t len[5] = {(uint64_t)h->n * 4, (uint64_t)h->n * 4, (uint64_t)h->dims * 4, (uint64_t)h->n * h->n_words * 8,
	                         (uint64_t)h->n * h->row_bytes};
	for (size_t i = 0; i < 5; i++)
		if (at[i] % 64 != 0 || at[i] < sizeof *h || at[i] > file_len || len[i] > file_len - at[i] || at[i] + len[i] > at[i + 1])
			return false;
	return true;
}

hth_status vsegment_open(vsegment **ret_segment, const char *path, uint32_t number, hth_error *err)
{
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return hth_fail_errno(err, errno == ENOENT ? HTH_NOT_FOUND : HTH_IO, errno, "cannot open %s", path);
	if ((uint64_t)st.st_size < sizeof(vectors_header))
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged", path);
	vsegment *s = calloc(1, sizeof *s);
	void *map = s != NULL ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (map == MAP_FAILED) {
		free(s);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to open %s", path);
	}
	atomic_init(&s->refs, 1);
	s->number = number;
	s->map = map;
	s->map_len = (size_t)st.st_size;
	s->header = map;
	if (!is_sound(s->header, s->map_len)) {
		vsegment_release(s);
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged, or of another version", path);
	}
	const vectors_header *h = s->header;
	s->ids = (const void *)(s->map + h->ids_at);
	s->scales = (const void *)(s->map + h->scales_at);
	s->center = (const void *)(s->map + h->center_at);
	s->signs = h->n_words > 0 ? (const void *)(s->map + h->signs_at) : NULL;
	s->rows = (const void *)(s->map + h->rows_at);
	*ret_segment = s;
	return HTH_OK;
}

void vsegment_release(vsegment *s)
{
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	munmap((void *)(uintptr_t)s->map, s->map_len);
	free(s);
}

uint32_t vsegment_row_of(const vsegment *s, uint64_t id)
{
	uint32_t from = 0, to = s->header->n;
	while (from < to) {
		uint32_t middle = from + (to - from) / 2;
		if (s->header->first_id + s->ids[middle] < id)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}
