/* vector-file.h - a segment of vectors: its layout, writing one, reading one; and what the files of vectors share. Only this folder
 * includes it.
 *
 *   header     128 bytes
 *   ids        u32 a vector, behind first_id, ascending
 *   scales     float a vector
 *   center     float a dimension
 *   signs      n_words u64 a vector; none in a segment of less than SIGNS_LEAST
 *   rows       row_bytes a vector
 *
 * Each section begins at a multiple of 64. The header and the sections' places are checked when a segment opens; any bytes within them are
 * vectors.
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
vview *vview_create(size_t n_parts); /* with room for so many, and none yet; NULL: no memory */
vview *vview_take(hth_vectors *vectors); /* the newest, to be released */
void vview_release(vview *v);
static inline void vview_release_p(vview **v)
{
	vview_release(*v);
}
void vview_set(hth_vectors *vectors, vview *next); /* makes it what is searched; takes it over */
void vview_keep(vview *v, const vpart *p);         /* appends a part of another view, without its removals */
/* Which rows the removed ranges are. Ranges that no part has are dropped. */
HTH_MUST_USE hth_status vview_mark_gone(vview *v, hth_error *err);

enum { VECTORS_PATH = 4200, VECTORS_RANGES_MAX = 1 << 20 };
struct hth_vectors {
	char folder[4000];
	bool write;
	disk disk;
	int lock_fd;
	uint64_t last_id;
	uint32_t number; /* of the next file: none is used twice, not even after a commit that failed */
	/* What waits for a commit. */
	bool fresh_model; /* what is committed goes */
	char model[HTH_VECTORS_MODEL_MAX];
	uint8_t key[HTH_VECTORS_KEY_BYTES];
	uint32_t dims;
	uint64_t *ids; /* PENDING_MAX */
	float *scales;
	int8_t *rows;
	uint32_t n;
	uint64_t *removed; /* pairs */
	size_t n_removed, cap_removed;
	pthread_mutex_t mutex; /* guards the pointer below */
	vview *view;
};
void vsegment_path(const hth_vectors *vectors, uint32_t number, char out[VECTORS_PATH]);
/* Names the view's parts: the moment of a commit. */
HTH_MUST_USE hth_status vmanifest_write(hth_vectors *vectors, const vview *v, hth_error *err);
/* *ret_view NULL: the newest is known already. */
HTH_MUST_USE hth_status vmanifest_read(hth_vectors *vectors, vview **ret_view, hth_error *err);
void vectors_remove_leftovers(hth_vectors *vectors, const vview *v); /* files that the view does not name */

#endif
