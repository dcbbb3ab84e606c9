/* vectors.c - the vectors as a whole: opening them, what waits for a commit, commits, removals and merges.
 *
 * Segments are merged when those behind one have as many vectors together as it has: so sizes fall at least by half from one to the next,
 * and a vector is rewritten as often as the logarithm of what there is.
 */
#include "base/mem.h"
#include "index/vector-file.h"
#include "index/writer-lock.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { PENDING_MAX = 4096 };

/* --- life --- */

static void take_model(hth_vectors *vectors, const vview *v)
{
	memcpy(vectors->model, v->model, sizeof vectors->model);
	memcpy(vectors->key, v->key, sizeof vectors->key);
	vectors->dims = v->dims;
}

hth_status hth_vectors_open(hth_vectors **ret_vectors, const char *folder, const hth_vectors_options *options, hth_error *err)
{
	hth_vectors *vectors = calloc(1, sizeof *vectors);
	if (vectors == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	pthread_mutex_init(&vectors->mutex, NULL);
	vectors->lock_fd = -1;
	vectors->write = options->write;
	vectors->disk = (disk){options->step, options->step_ctx};
	hth_status status = HTH_OK;
	if ((size_t)snprintf(vectors->folder, sizeof vectors->folder, "%s", folder) >= sizeof vectors->folder)
		status = hth_fail(err, HTH_INVALID, "the path of the vectors is too long");
	if (status == HTH_OK && vectors->write)
		status = writer_lock(&vectors->lock_fd, vectors->folder, "vectors", err);
	if (status == HTH_OK) {
		status = vmanifest_read(vectors, &vectors->view, err);
		if (status == HTH_NOT_FOUND && vectors->write)
			status = (vectors->view = vview_create(0)) != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	}
	if (status != HTH_OK) {
		hth_vectors_close(vectors);
		return status;
	}
	vectors->last_id = vectors->view->last_id;
	vectors->number = vectors->view->next_number;
	take_model(vectors, vectors->view);
	if (vectors->write)
		vectors_remove_leftovers(vectors, vectors->view);
	*ret_vectors = vectors;
	return HTH_OK;
}

static void drop_pending(hth_vectors *vectors)
{
	free(vectors->ids);
	free(vectors->scales);
	free(vectors->rows);
	vectors->ids = NULL;
	vectors->scales = NULL;
	vectors->rows = NULL;
	vectors->n = 0;
}

void hth_vectors_close(hth_vectors *vectors)
{
	if (vectors == NULL)
		return;
	drop_pending(vectors);
	vview_release(vectors->view);
	free(vectors->removed);
	if (vectors->lock_fd >= 0)
		close(vectors->lock_fd);
	pthread_mutex_destroy(&vectors->mutex);
	free(vectors);
}

hth_status hth_vectors_refresh(hth_vectors *vectors, hth_error *err)
{
	vview *next;
	HTH_TRY(vmanifest_read(vectors, &next, err));
	if (next != NULL)
		vview_set(vectors, next);
	return HTH_OK;
}

/* --- changes --- */

bool hth_vectors_set_model(hth_vectors *vectors, const char *model, const uint8_t key[HTH_VECTORS_KEY_BYTES])
{
	if (vectors->model[0] != '\0' && memcmp(vectors->key, key, sizeof vectors->key) == 0)
		return false;
	drop_pending(vectors);
	vectors->fresh_model = vectors->view->n > 0 || vectors->view->mark > 0;
	vectors->dims = 0;
	vectors->last_id = 0;
	memset(vectors->model, 0, sizeof vectors->model);
	snprintf(vectors->model, sizeof vectors->model, "%s", model);
	memcpy(vectors->key, key, sizeof vectors->key);
	return true;
}

hth_status hth_vectors_add(hth_vectors *vectors, uint64_t id, const float *values, size_t n, hth_error *err)
{
	if (!vectors->write || id <= vectors->last_id)
		return hth_fail(err, HTH_CONFLICT, "vector %llu is not after vector %llu", (unsigned long long)id,
		                (unsigned long long)vectors->last_id);
	if (n == 0 || n > HTH_VECTORS_DIMS_MAX || (vectors->dims != 0 && n != vectors->dims))
		return hth_fail(err, HTH_INVALID, "a vector of %zu numbers among those of %u", n, vectors->dims);
	if (vectors->n == PENDING_MAX || (vectors->n > 0 && id - vectors->ids[0] > UINT32_MAX))
		return hth_fail(err, HTH_BUSY, "%u vectors wait to be committed", vectors->n);
	uint32_t row_bytes = vector_row_bytes(n);
	if (vectors->ids == NULL) {
		vectors->ids = hth_alloc_array(PENDING_MAX, sizeof *vectors->ids);
		vectors->scales = hth_alloc_array(PENDING_MAX, sizeof *vectors->scales);
		vectors->rows = hth_alloc_array(PENDING_MAX, row_bytes);
		if (vectors->ids == NULL || vectors->scales == NULL || vectors->rows == NULL) {
			drop_pending(vectors);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
		}
	}
	if (!vector_quantise(values, n, vectors->rows + (size_t)vectors->n * row_bytes, &vectors->scales[vectors->n]))
		return hth_fail(err, HTH_INVALID, "a vector is zero, or not finite");
	vectors->dims = (uint32_t)n;
	vectors->ids[vectors->n++] = id;
	vectors->last_id = id;
	return HTH_OK;
}

static void remove_pending(hth_vectors *vectors, uint64_t first, uint64_t last)
{
	uint32_t kept = 0, row_bytes = vector_row_bytes(vectors->dims);
	for (uint32_t i = 0; i < vectors->n; i++) {
		if (vectors->ids[i] >= first && vectors->ids[i] <= last)
			continue;
		if (kept != i) {
			vectors->ids[kept] = vectors->ids[i];
			vectors->scales[kept] = vectors->scales[i];
			memcpy(vectors->rows + (size_t)kept * row_bytes, vectors->rows + (size_t)i * row_bytes, row_bytes);
		}
		kept++;
	}
	vectors->n = kept;
}

hth_status hth_vectors_remove(hth_vectors *vectors, uint64_t first, uint64_t last, hth_error *err)
{
	if (first > last || last == UINT64_MAX)
		return first > last ? HTH_OK : hth_fail(err, HTH_INVALID, "no vector has that number");
	remove_pending(vectors, first, last);
	if (vectors->n_removed + 1 > vectors->cap_removed) {
		size_t cap = vectors->cap_removed > 0 ? vectors->cap_removed * 2 : 64;
		uint64_t *more = realloc(vectors->removed, cap * 16);
		if (more == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
		vectors->removed = more;
		vectors->cap_removed = cap;
	}
	vectors->removed[2 * vectors->n_removed] = first;
	vectors->removed[2 * vectors->n_removed++ + 1] = last;
	return HTH_OK;
}

static int by_first(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return x[0] < y[0] ? -1 : x[0] > y[0];
}

/* The ranges that were removed before and now, in order, joined. */
static hth_status join_removed(const hth_vectors *vectors, const vview *now, vview *next, hth_error *err)
{
	size_t n = now->n_removed + vectors->n_removed, kept = 0;
	next->removed = hth_alloc_array(n, 16);
	if (next->removed == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	if (now->n_removed > 0)
		memcpy(next->removed, now->removed, now->n_removed * 16);
	if (vectors->n_removed > 0)
		memcpy(next->removed + 2 * now->n_removed, vectors->removed, vectors->n_removed * 16);
	qsort(next->removed, n, 16, by_first);
	for (size_t i = 0; i < n; i++) {
		const uint64_t *r = next->removed + 2 * i;
		if (kept > 0 && r[0] <= next->removed[2 * kept - 1] + 1) {
			next->removed[2 * kept - 1] = HTH_MAX(next->removed[2 * kept - 1], r[1]);
			continue;
		}
		memmove(next->removed + 2 * kept++, r, 16);
	}
	next->n_removed = kept;
	return HTH_OK;
}

/* Commits `next`: the manifest, then the files that nobody names any more, then what is searched. */
static hth_status publish(hth_vectors *vectors, vview *next, hth_error *err)
{
	next->next_number = vectors->number;
	HTH_TRY(vview_mark_gone(next, err));
	if (next->n_removed > VECTORS_RANGES_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "too many vectors were removed one by one");
	HTH_TRY(vmanifest_write(vectors, next, err));
	vectors_remove_leftovers(vectors, next);
	vview_set(vectors, next);
	return HTH_OK;
}

static void pending_row(void *ctx, uint32_t i, const int8_t **ret_row, float *ret_scale)
{
	const hth_vectors *v = ctx;
	*ret_row = v->rows + (size_t)i * vector_row_bytes(v->dims);
	*ret_scale = v->scales[i];
}

/* Opens what was just written. */
static hth_status take_segment(hth_vectors *vectors, const vrows *rows, vview *next, hth_error *err)
{
	char path[VECTORS_PATH];
	vpart p = {0};
	uint32_t number = vectors->number++;
	vsegment_path(vectors, number, path);
	HTH_TRY(vsegment_write(rows, &vectors->disk, path, err));
	HTH_TRY(vsegment_open(&p.s, path, number, err));
	next->parts[next->n++] = p;
	return HTH_OK;
}

hth_status hth_vectors_commit(hth_vectors *vectors, uint64_t mark, hth_error *err)
{
	const vview *now = vectors->view;
	if (!vectors->write)
		return hth_fail(err, HTH_CONFLICT, "the vectors were opened for searching");
	if (!vectors->fresh_model && vectors->n == 0 && (vectors->n_removed == 0 || now->n == 0) && mark == now->mark) {
		vectors->n_removed = 0;
		return HTH_OK;
	}
	HTH_CLEANUP(vview_release_p) vview *next = vview_create(now->n + 1);
	if (next == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	for (size_t i = 0; !vectors->fresh_model && i < now->n; i++)
		vview_keep(next, &now->parts[i]);
	next->mark = mark;
	next->last_id = vectors->last_id;
	next->dims = vectors->dims;
	memcpy(next->key, vectors->key, sizeof next->key);
	memcpy(next->model, vectors->model, sizeof next->model);
	HTH_TRY(join_removed(vectors, now, next, err));
	if (vectors->n > 0) {
		const vrows rows = {.n = vectors->n, .dims = vectors->dims, .row_bytes = vector_row_bytes(vectors->dims),
		                    .ids = vectors->ids,
		                    .ctx = vectors, .row = pending_row};
		HTH_TRY(take_segment(vectors, &rows, next, err));
	}
	HTH_TRY(publish(vectors, next, err));
	next = NULL;
	vectors->fresh_model = false;
	vectors->n_removed = 0;
	drop_pending(vectors);
	return HTH_OK;
}

uint64_t hth_vectors_mark(const hth_vectors *vectors)
{
	return vectors->fresh_model ? 0 : vectors->view->mark;
}

size_t hth_vectors_pending(const hth_vectors *vectors)
{
	return vectors->n;
}

/* --- merges --- */

typedef struct merging {
	const vview *now;
	uint64_t *ids;
	uint32_t *parts, *rows; /* where row i of the new one is */
	uint32_t n;
} merging;

static void merging_finish(merging *m)
{
	free(m->ids);
	free(m->parts);
	free(m->rows);
}

static void merged_row(void *ctx, uint32_t i, const int8_t **ret_row, float *ret_scale)
{
	const merging *m = ctx;
	const vsegment *s = m->now->parts[m->parts[i]].s;
	*ret_row = s->rows + (size_t)m->rows[i] * s->header->row_bytes;
	*ret_scale = s->scales[m->rows[i]];
}

static bool choose(const vview *v, bool purge, size_t *ret_first, size_t *ret_n)
{
	uint64_t behind = 0;
	size_t first = v->n;
	for (size_t i = v->n; i-- > 0;) {
		if (behind >= v->parts[i].s->header->n)
			first = i;
		behind += v->parts[i].s->header->n;
	}
	if (first < v->n) {
		*ret_first = first;
		*ret_n = v->n - first;
		return true;
	}
	for (size_t i = 0; purge && i < v->n; i++) {
		if (v->parts[i].n_gone == 0)
			continue;
		*ret_first = i;
		*ret_n = 1;
		return true;
	}
	return false;
}

static hth_status list_rows(merging *m, size_t first, size_t n, hth_error *err)
{
	uint64_t most = 0;
	for (size_t i = first; i < first + n; i++)
		most += m->now->parts[i].s->header->n;
	m->ids = hth_alloc_array(most, sizeof *m->ids);
	m->parts = hth_alloc_array(most, sizeof *m->parts);
	m->rows = hth_alloc_array(most, sizeof *m->rows);
	if (most > UINT32_MAX || m->ids == NULL || m->parts == NULL || m->rows == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to merge vectors");
	for (size_t i = first; i < first + n; i++) {
		const vpart *p = &m->now->parts[i];
		for (uint32_t row = 0; row < p->s->header->n; row++) {
			if (p->gone != NULL && (p->gone[row / 64] >> (row % 64) & 1) != 0)
				continue;
			m->ids[m->n] = p->s->header->first_id + p->s->ids[row];
			m->parts[m->n] = (uint32_t)i;
			m->rows[m->n++] = row;
		}
	}
	return HTH_OK;
}

hth_status hth_vectors_merge(hth_vectors *vectors, bool purge, bool (*keep_going)(void *ctx), void *ctx, bool *ret_did, hth_error *err)
{
	const vview *now = vectors->view;
	size_t first, n;
	*ret_did = false;
	if (!vectors->write || vectors->fresh_model || !choose(now, purge, &first, &n))
		return HTH_OK;
	HTH_CLEANUP(vview_release_p) vview *next = vview_create(now->n + 1);
	HTH_CLEANUP(merging_finish) merging m = {.now = now};
	if (next == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to merge vectors");
	HTH_TRY(list_rows(&m, first, n, err));
	if (m.n > 0 && m.ids[m.n - 1] - m.ids[0] > UINT32_MAX)
		return HTH_OK;
	for (size_t i = 0; i < first; i++)
		vview_keep(next, &now->parts[i]);
	if (m.n > 0) {
		const vrows rows = {m.n, now->dims, vector_row_bytes(now->dims), m.ids, &m, merged_row, keep_going, ctx};
		HTH_TRY(take_segment(vectors, &rows, next, err));
	}
	for (size_t i = first + n; i < now->n; i++)
		vview_keep(next, &now->parts[i]);
	next->mark = now->mark;
	next->last_id = now->last_id;
	next->dims = now->dims;
	memcpy(next->key, now->key, sizeof next->key);
	memcpy(next->model, now->model, sizeof next->model);
	const hth_vectors nothing_new = {.n_removed = 0};
	HTH_TRY(join_removed(&nothing_new, now, next, err));
	HTH_TRY(publish(vectors, next, err));
	next = NULL;
	*ret_did = true;
	return HTH_OK;
}

void hth_vectors_get_info(hth_vectors *vectors, hth_vectors_info *ret_info)
{
	vview *v = vview_take(vectors);
	*ret_info = (hth_vectors_info){.mark = v->mark, .segments = (uint32_t)v->n, .dims = v->dims};
	for (size_t i = 0; i < v->n; i++) {
		ret_info->bytes += v->parts[i].s->header->file_len;
		ret_info->vectors += v->parts[i].s->header->n - v->parts[i].n_gone;
		ret_info->removed += v->parts[i].n_gone;
	}
	memcpy(ret_info->key, v->key, sizeof ret_info->key);
	memcpy(ret_info->model, v->model, sizeof ret_info->model);
	vview_release(v);
}
