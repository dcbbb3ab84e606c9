/* vector-manifest.c - the vectors as of one commit, and the files that say so beside the segments.
 *
 *   MANIFEST            manifest_header, numbers of segments, removed ranges, then a checksum of all before it
 *   NNNNNNNN.vectors    a segment (vector-file.h)
 *   lock                held (flock) by the process that writes
 */
#include "base/mem.h"
#include "index/vector-file.h"

#include <stdio.h>
#include <unistd.h>

enum { PARTS_MAX = 4096, MANIFEST_MAX = 32 << 20 };

typedef struct manifest_header {
	char magic[8]; /* "HTHVMANI" */
	uint32_t format, n, next_number, dims;
	uint64_t mark, last_id, n_removed;
	uint8_t key[HTH_VECTORS_KEY_BYTES];
	char model[HTH_VECTORS_MODEL_MAX];
} manifest_header;

/* --- views --- */

vview *vview_create(size_t n_parts)
{
	vview *v = calloc(1, sizeof *v + n_parts * sizeof *v->parts);
	if (v == NULL)
		return NULL;
	atomic_init(&v->refs, 1);
	v->next_number = 1;
	return v;
}

void vview_release(vview *v)
{
	if (v == NULL || atomic_fetch_sub(&v->refs, 1) > 1)
		return;
	for (size_t i = 0; i < v->n; i++) {
		vsegment_release(v->parts[i].s);
		free(v->parts[i].gone);
	}
	free(v->removed);
	free(v);
}

vview *vview_take(hth_vectors *vectors)
{
	pthread_mutex_lock(&vectors->mutex);
	vview *v = vectors->view;
	atomic_fetch_add(&v->refs, 1);
	pthread_mutex_unlock(&vectors->mutex);
	return v;
}

void vview_set(hth_vectors *vectors, vview *next)
{
	pthread_mutex_lock(&vectors->mutex);
	vview *old = vectors->view;
	vectors->view = next;
	pthread_mutex_unlock(&vectors->mutex);
	vview_release(old);
}

void vview_keep(vview *v, const vpart *p)
{
	atomic_fetch_add(&p->s->refs, 1);
	v->parts[v->n++] = (vpart){.s = p->s};
}

/* Which rows the removed ranges are. Ranges that no part has are dropped. */
hth_status vview_mark_gone(vview *v, hth_error *err)
{
	size_t kept = 0;
	for (size_t r = 0; r < v->n_removed; r++) {
		bool any = false;
		for (size_t i = 0; i < v->n; i++) {
			vpart *p = &v->parts[i];
			uint32_t from = vsegment_row_of(p->s, v->removed[2 * r]), to = vsegment_row_of(p->s, v->removed[2 * r + 1] + 1);
			if (from >= to)
				continue;
			any = true;
			if (p->gone == NULL && (p->gone = calloc(((size_t)p->s->header->n + 63) / 64, 8)) == NULL)
				return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
			for (uint32_t row = from; row < to; row++)
				p->gone[row / 64] |= UINT64_C(1) << (row % 64);
			p->n_gone += to - from;
		}
		if (any) {
			v->removed[2 * kept] = v->removed[2 * r];
			v->removed[2 * kept++ + 1] = v->removed[2 * r + 1];
		}
	}
	v->n_removed = kept;
	return HTH_OK;
}

/* --- the manifest --- */

void vsegment_path(const hth_vectors *vectors, uint32_t number, char out[VECTORS_PATH])
{
	snprintf(out, VECTORS_PATH, "%s/%08u.vectors", vectors->folder, number);
}

hth_status vmanifest_write(hth_vectors *vectors, const vview *v, hth_error *err)
{
	manifest_header h = {.magic = "HTHVMANI", .format = VECTORS_FORMAT, .n = (uint32_t)v->n, .next_number = v->next_number,
	                     .dims = v->dims,
	                     .mark = v->mark, .last_id = v->last_id, .n_removed = v->n_removed};
	memcpy(h.key, v->key, sizeof h.key);
	memcpy(h.model, v->model, sizeof h.model);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(MANIFEST_MAX);
	hth_buf_append(&bytes, &h, sizeof h);
	for (size_t i = 0; i < v->n; i++)
		hth_buf_append(&bytes, &v->parts[i].s->number, sizeof(uint32_t));
	if (v->n_removed > 0)
		hth_buf_append(&bytes, v->removed, v->n_removed * 16);
	return disk_put_manifest(&vectors->disk, vectors->folder, &bytes, err);
}

static hth_status open_parts(hth_vectors *vectors, const uint8_t *numbers, uint32_t n, vview *v, hth_error *err)
{
	HTH_CLEANUP(vview_release_p) vview *old = vectors->view != NULL ? vview_take(vectors) : NULL;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t number;
		memcpy(&number, numbers + i * sizeof number, sizeof number);
		const vpart *same = NULL;
		for (size_t k = 0; old != NULL && k < old->n && same == NULL; k++)
			same = old->parts[k].s->number == number ? &old->parts[k] : NULL;
		if (same != NULL) {
			vview_keep(v, same);
			continue;
		}
		char path[VECTORS_PATH];
		vpart p = {0};
		vsegment_path(vectors, number, path);
		HTH_TRY(vsegment_open(&p.s, path, number, err));
		v->parts[v->n++] = p;
		if (p.s->header->dims != v->dims)
			return hth_fail(err, HTH_BAD_FORMAT, "%s is of another model", path);
	}
	return HTH_OK;
}

/* *ret_view NULL: the newest is known already. */
static hth_status read_manifest(hth_vectors *vectors, vview **ret_view, hth_error *err)
{
	char path[VECTORS_PATH];
	snprintf(path, sizeof path, "%s/MANIFEST", vectors->folder);
	HTH_CLEANUP(hth_buf_finish) hth_buf bytes = HTH_BUF_INIT(MANIFEST_MAX);
	uint64_t sum;
	HTH_TRY(disk_get(path, &bytes, &sum, err));
	manifest_header h;
	if (bytes.len < sizeof h)
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged", path);
	memcpy(&h, bytes.data, sizeof h);
	if (memcmp(h.magic, "HTHVMANI", 8) != 0 || h.format != VECTORS_FORMAT || h.n > PARTS_MAX ||
	    h.n_removed > VECTORS_RANGES_MAX || h.dims > HTH_VECTORS_DIMS_MAX || bytes.len != sizeof h + h.n * 4u + h.n_removed * 16)
		return hth_fail(err, HTH_BAD_FORMAT, "%s is of another version", path);
	*ret_view = NULL;
	if (vectors->view != NULL && vectors->view->checksum == sum)
		return HTH_OK;
	HTH_CLEANUP(vview_release_p) vview *v = vview_create(h.n);
	if (v == NULL || (v->removed = hth_alloc_array(h.n_removed, 16)) == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	v->mark = h.mark;
	v->last_id = h.last_id;
	v->checksum = sum;
	v->next_number = h.next_number;
	v->dims = h.dims;
	memcpy(v->key, h.key, sizeof v->key);
	memcpy(v->model, h.model, sizeof v->model);
	v->model[sizeof v->model - 1] = '\0';
	v->n_removed = h.n_removed;
	memcpy(v->removed, bytes.data + sizeof h + h.n * 4u, h.n_removed * 16);
	HTH_TRY(open_parts(vectors, (const uint8_t *)bytes.data + sizeof h, h.n, v, err));
	HTH_TRY(vview_mark_gone(v, err));
	*ret_view = v;
	v = NULL;
	return HTH_OK;
}

/* A writer may remove a segment between our reading of the manifest and of it. */
hth_status vmanifest_read(hth_vectors *vectors, vview **ret_view, hth_error *err)
{
	char manifest[VECTORS_PATH];
	snprintf(manifest, sizeof manifest, "%s/MANIFEST", vectors->folder);
	for (int i = 0; i < 10; i++) {
		hth_status status = read_manifest(vectors, ret_view, err);
		if (status != HTH_NOT_FOUND || access(manifest, F_OK) != 0)
			return status;
	}
	return hth_fail(err, HTH_BAD_FORMAT, "a part of the vectors in %s is missing", vectors->folder);
}

static bool is_left_over(const void *ctx, const char *name)
{
	const vview *v = ctx;
	unsigned number;
	int used = 0;
	if (sscanf(name, "%8u.vectors%n", &number, &used) != 1 || used == 0 || name[used] != '\0')
		return strcmp(name, "MANIFEST.new") == 0; /* what is not ours stays */
	for (size_t i = 0; i < v->n; i++)
		if (v->parts[i].s->number == number)
			return false;
	return true;
}

void vectors_remove_leftovers(hth_vectors *vectors, const vview *v)
{
	(void)disk_sweep(&vectors->disk, vectors->folder, is_left_over, v, NULL);
}

static bool is_ours(const void *ctx, const char *name)
{
	size_t n = strlen(name);
	return strncmp(name, "MANIFEST", 8) == 0 || (n > 8 && strcmp(name + n - 8, ".vectors") == 0);
}

hth_status hth_vectors_erase(const char *folder, hth_error *err) { return disk_sweep(&(disk){0}, folder, is_ours, NULL, err); }
