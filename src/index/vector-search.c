/* vector-search.c - the nearest vectors: signatures counted row by row, the best few hundred of each segment by their bytes. Any thread. */
#include "base/mem.h"
#include "index/vector-file.h"
#include "index/vector-kernels.h"

#include <math.h>

enum { CANDIDATES_LEAST = 500, SAMPLE = 4096, SAMPLE_LEAST = 8 };

typedef struct searching {
	const vector_kernels *kernels;
	const hth_vectors_query *query;
	uint32_t dims;
	size_t candidates; /* of each segment */
	float scale;       /* of the query's bytes */
	int8_t row[HTH_VECTORS_DIMS_MAX] __attribute__((aligned(64)));
	hth_vectors_hit *hits;
	size_t n, cap;
} searching;

static hth_status prepare(const vview *v, const hth_vectors_query *q, searching *s, hth_error *err)
{
	if (q->n != v->dims || !vector_quantise(q->values, q->n, s->row, &s->scale))
		return hth_fail(err, HTH_INVALID, "the query's vector has %zu numbers (or is none), the passages' have %u", q->n, v->dims);
	s->kernels = vector_kernels_best();
	s->query = q;
	s->dims = v->dims;
	return HTH_OK;
}

static float cosine_of(const searching *s, const vsegment *of, uint32_t row)
{
	size_t bytes = of->header->row_bytes;
	return (float)s->kernels->dot(s->row, of->rows + row * bytes, bytes) * s->scale * of->scales[row];
}

static bool take(searching *s, const vsegment *of, uint32_t row)
{
	if (s->n == s->cap) {
		size_t cap = s->cap > 0 ? s->cap * 2 : 4096;
		hth_vectors_hit *more = realloc(s->hits, cap * sizeof *more);
		if (more == NULL)
			return false;
		s->hits = more;
		s->cap = cap;
	}
	s->hits[s->n++] = (hth_vectors_hit){of->header->first_id + of->ids[row], cosine_of(s, of, row)};
	return true;
}

static bool is_gone_row(const vpart *p, uint32_t row)
{
	return p->gone != NULL && (p->gone[row / 64] >> (row % 64) & 1) != 0;
}

static bool is_wanted(const searching *s, const vpart *p, uint32_t row)
{
	return !is_gone_row(p, row) && (s->query->only == NULL || hth_words_set_has(s->query->only,
	                                                                            p->s->header->first_id + p->s->ids[row]));
}

/* Every row by its bytes: small segments, and filters that leave few. */
static bool scan_bytes(searching *s, const vpart *p)
{
	const vsegment *g = p->s;
	for (uint32_t row = 0; row < g->header->n; row++) {
		/* A filter's wanted ids are seldom many in a row: 64 of another kind are passed by at once. */
		if (s->query->only != NULL && row % 64 == 0 && row + 64 <= g->header->n &&
		    hth_words_set_count(s->query->only, g->header->first_id + g->ids[row], g->header->first_id + g->ids[row + 63],
		                        1) == 0) {
			row += 63;
			continue;
		}
		if (is_wanted(s, p, row) && !take(s, g, row))
			return false;
	}
	return true;
}

/* The candidates are those within the distance that lets through enough of them; of those right at it, the first. */
static bool scan_signs(searching *s, const vpart *p)
{
	const vsegment *g = p->s;
	uint32_t n_words = g->header->n_words, n = g->header->n, histogram[HTH_VECTORS_DIMS_MAX + 1] = {0};
	uint64_t signs[VECTOR_WORDS_MAX] = {0};
	HTH_AUTO_FREE uint16_t *distances = malloc((size_t)n * sizeof *distances);
	if (distances == NULL)
		return false;
	vector_signs(s->row, s->scale, g->center, s->dims, signs);
	s->kernels->hamming(signs, g->signs, n_words, n, distances);
	for (uint32_t row = 0; row < n; row++)
		if (is_wanted(s, p, row))
			histogram[distances[row]]++;
	uint32_t limit = 0;
	size_t below = 0; /* nearer than the limit */
	while (limit < s->dims && below + histogram[limit] < s->candidates)
		below += histogram[limit++];
	size_t at_limit = s->candidates - below;
	for (uint32_t row = 0; row < n; row++) {
		if (distances[row] > limit || (distances[row] == limit && at_limit == 0) || !is_wanted(s, p, row))
			continue;
		at_limit -= distances[row] == limit;
		if (!take(s, g, row))
			return false;
	}
	return true;
}

static bool scan(searching *s, const vpart *p)
{
	const vsegment *g = p->s;
	uint64_t wanted = g->header->n;
	if (s->query->only != NULL && wanted > 0)
		wanted = hth_words_set_count(s->query->only, g->header->first_id + g->ids[0],
		                             g->header->first_id + g->ids[g->header->n - 1], UINT64_MAX);
	if (wanted == 0)
		return true;
	return g->signs == NULL || wanted <= 2 * s->candidates ? scan_bytes(s, p) : scan_signs(s, p);
}

static int nearest_first(const void *a, const void *b)
{
	const hth_vectors_hit *x = a, *y = b;
	return x->cosine != y->cosine ? (x->cosine > y->cosine ? -1 : 1) : x->id < y->id ? -1 : x->id > y->id;
}

hth_status hth_vectors_search(hth_vectors *vectors, const hth_vectors_query *query, size_t k, hth_vectors_hit *hits, size_t *ret_n,
                              hth_error *err)
{
	HTH_CLEANUP(vview_release_p) vview *v = vview_take(vectors);
	*ret_n = 0;
	if (v->n == 0)
		return HTH_OK;
	k = HTH_MIN(k, (size_t)HTH_VECTORS_K_MAX);
	searching s = {.candidates = HTH_MAX((size_t)CANDIDATES_LEAST, 2 * k)};
	HTH_TRY(prepare(v, query, &s, err));
	bool enough = true;
	for (size_t i = 0; enough && i < v->n; i++)
		enough = scan(&s, &v->parts[i]);
	if (enough && s.n > 0) {
		qsort(s.hits, s.n, sizeof *s.hits, nearest_first);
		*ret_n = HTH_MIN(k, s.n);
		memcpy(hits, s.hits, *ret_n * sizeof *hits);
	}
	free(s.hits);
	return enough ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return x < y ? -1 : x > y;
}

hth_status hth_vectors_outstanding(hth_vectors *vectors, const hth_vectors_query *query, double *ret_cosine, hth_error *err)
{
	HTH_CLEANUP(vview_release_p) vview *v = vview_take(vectors);
	uint64_t all = 0;
	size_t n = 0;
	*ret_cosine = 2;
	for (size_t i = 0; i < v->n; i++)
		all += v->parts[i].s->header->n;
	if (all < SAMPLE_LEAST)
		return HTH_OK;
	searching s = {0};
	HTH_TRY(prepare(v, query, &s, err));
	uint64_t step = (all + SAMPLE - 1) / SAMPLE, at = 0;
	HTH_AUTO_FREE float *sample = hth_alloc_array(SAMPLE, sizeof *sample);
	if (sample == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	for (size_t i = 0; i < v->n; i++) {
		const vpart *p = &v->parts[i];
		uint32_t rows = p->s->header->n;
		for (; at < rows && n < SAMPLE; at += step)
			if (!is_gone_row(p, (uint32_t)at))
				sample[n++] = cosine_of(&s, p->s, (uint32_t)at);
		at = at >= rows ? at - rows : 0;
	}
	if (n < SAMPLE_LEAST)
		return HTH_OK;
	/* The upper half may be of the matter; the lower tells the spread of what is not: 16 of 100 normal numbers are more than a
	 * deviation below. */
	qsort(sample, n, sizeof *sample, by_value);
	double middle = (double)sample[n / 2], deviation = middle - (double)sample[(size_t)((double)n * 0.1587)];
	/* The greatest of N normal numbers is about sqrt(2 ln N) deviations above their mean; one more, for tails that are not normal. */
	*ret_cosine = middle + (sqrt(2 * log((double)all)) + 1) * deviation;
	return HTH_OK;
}
