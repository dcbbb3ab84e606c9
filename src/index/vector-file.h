/* vector-file.h - a segment of vectors: its layout, writing one, reading one; and what the files of vectors share. Only this folder includes it.
 *
 *   header     128 bytes
 *   ids        u32 a vector, behind first_id, ascending
 *   scales     float a vector
 *   center     float a dimension
 *   signs      n_words u64 a vector; none in a segment of less than SIGNS_LEAST
 *   rows       row_bytes a vector
 *
 * Each section begins at a multiple of 64. The header and the sections' places are checked when a segment opens; any bytes within them are vectors.
 */
#ifndef HTH_INDEX_VECTOR_FILE_H
#define HTH_INDEX_VECTOR_FILE_H

#include "index/segment.h"
#include "index/vectors.h"

#include <pthread.h>

enum { VECTORS_FORMAT = 1, SIGNS_LEAST = 1024 };

typedef struct vectors_header {
	char magic[8]; /* "HTHVECTS" */
	uint32_t format, dims, n, n_words, row_bytes, unused;
	uint64_t first_id, ids_at, scales_at, center_at, signs_at, rows_at, file_len;
	uint64_t unused2[4];
	uint64_t checksum; /* of the bytes before it */
} vectors_header;
_Static_assert(sizeof(vectors_header) == 128, "the header is 128 bytes");

typedef struct vsegment {
	atomic_int refs;
	uint32_t number;
	const uint8_t *map;
	size_t map_len;
	const vectors_header *header;
	const uint32_t *ids;
	const float *scales, *center;
	const uint64_t *signs; /* NULL: none */
	const int8_t *rows;
} vsegment;
HTH_MUST_USE hth_status vsegment_open(vsegment **ret_segment, const char *path, uint32_t number, hth_error *err);
void vsegment_release(vsegment *s);
/* The first row with at least this id; n where there is none. */
uint32_t vsegment_row_of(const vsegment *s, uint64_t id);

/* The rows of a segment that is written: `row` gives row i. */
typedef struct vrows {
	uint32_t n, dims, row_bytes;
	const uint64_t *ids;
	void *ctx;
	void (*row)(void *ctx, uint32_t i, const int8_t **ret_row, float *ret_scale);
	bool (*keep_going)(void *ctx); /* NULL */
	void *keep_going_ctx;
} vrows;
HTH_MUST_USE hth_status vsegment_write(const vrows *rows, const disk *d, const char *path, hth_error *err);

static inline uint32_t vector_row_bytes(size_t dims)
{
	return (uint32_t)((dims + 63) / 64 * 64);
}
/* Scales to unit length, then to bytes (row_bytes of them, zeros behind the last). False: not finite, or all zero. */
bool vector_quantise(const float *values, size_t n, int8_t *row, float *ret_scale);
void vector_signs(const int8_t *row, float scale, const float *center, uint32_t dims, uint64_t *ret_signs);

/* --- the index as of one commit --- */

typedef struct vpart {
	vsegment *s;
	uint64_t *gone; /* owned; bits of removed rows; NULL: none */
	uint32_t n_gone;
} vpart;
typedef struct vview {
	atomic_int refs;
	uint64_t mark, last_id, checksum; /* checksum: of the manifest it came from; 0: none */
	uint32_t next_number, dims;
	uint8_t key[HTH_VECTORS_KEY_BYTES];
	char model[HTH_VECTORS_MODEL_MAX];
	uint64_t *removed; /* owned; pairs of first and last, ascending and apart */
	size_t n_removed;
	size_t n;
	vpart parts[];
} vview;
vview *vview_take(hth_vectors *vectors); /* the newest, to be released */
void vview_release(vview *v);
static inline void vview_release_p(vview **v)
{
	vview_release(*v);
}

#endif
