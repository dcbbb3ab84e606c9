/* bench-vectors.c - measures the nearest-vector search: `bench-vectors N DIMS FOLDER` writes N seeded vectors there and asks for the ten
 * nearest of 200 others, warm, on one thread. Prints one JSON object. Part of `make bench-index`.
 *
 * The vectors: a direction that all share, one of 1,000 clusters, and noise, in equal parts; queries are made the same way. recall: how
 * many of the ten nearest by exact arithmetic are among the ten that are found, over the first 50 queries.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/vector-kernels.h"
#include "index/vectors.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>

enum { QUERIES = 200, EXACT = 50, K = 10, CLUSTERS = 1000 };

typedef struct best {
	uint64_t id[K];
	float cosine[K];
} best;

static void die(const char *what, const hth_error *err)
{
	fprintf(stderr, "bench-vectors: %s: %s\n", what, err != NULL ? err->message : "failed");
	exit(1);
}

/* About normal: four uniform numbers, from one random word. */
static float noise(hth_rng *rng)
{
	uint64_t r = hth_rng_next(rng);
	return ((float)(r & 0xffff) + (float)(r >> 16 & 0xffff) + (float)(r >> 32 & 0xffff) + (float)(r >> 48)) / 65536.0f * 1.732f -
	    3.464f;
}

static void make(hth_rng *rng, const float *common, const float *centers, size_t dims, float *out)
{
	const float *center = centers + hth_rng_next(rng) % CLUSTERS * dims;
	double sum = 0;
	for (size_t i = 0; i < dims; i++) {
		out[i] = common[i] + center[i] + noise(rng);
		sum += (double)(out[i] * out[i]);
	}
	float scale = (float)(1 / sqrt(sum));
	for (size_t i = 0; i < dims; i++)
		out[i] *= scale;
}

static float dot(const float *a, const float *b, size_t n)
{
	float sums[8] = {0};
	for (size_t i = 0; i + 8 <= n; i += 8)
		for (size_t k = 0; k < 8; k++)
			sums[k] += a[i + k] * b[i + k];
	return (sums[0] + sums[1]) + (sums[2] + sums[3]) + (sums[4] + sums[5]) + (sums[6] + sums[7]);
}

static void keep(best *b, uint64_t id, float cosine)
{
	if (cosine <= b->cosine[K - 1])
		return;
	size_t at = K - 1;
	for (; at > 0 && b->cosine[at - 1] < cosine; at--) {
		b->cosine[at] = b->cosine[at - 1];
		b->id[at] = b->id[at - 1];
	}
	b->cosine[at] = cosine;
	b->id[at] = id;
}

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	hth_error err = HTH_ERROR_INIT;
	size_t n = argc == 4 ? strtoul(argv[1], NULL, 10) : 0, dims = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	if (n == 0 || dims < 8 || dims % 8 != 0 || dims > HTH_VECTORS_DIMS_MAX)
		die("usage: bench-vectors N DIMS FOLDER", NULL);
	float *centers = hth_alloc_array(CLUSTERS * dims, sizeof *centers), *common = hth_alloc_array(dims, sizeof *common);
	float *queries = hth_alloc_array(QUERIES * dims, sizeof *queries), *one = hth_alloc_array(dims, sizeof *one);
	best *exact = hth_alloc_array(EXACT, sizeof *exact);
	hth_vectors *v;
	if (centers == NULL || common == NULL || queries == NULL || one == NULL || exact == NULL ||
	    hth_vectors_open(&v, argv[3], &(hth_vectors_options){.write = true}, &err) != HTH_OK)
		die("cannot begin", &err);
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	for (size_t i = 0; i < dims; i++)
		common[i] = noise(&rng);
	for (size_t i = 0; i < CLUSTERS * dims; i++)
		centers[i] = noise(&rng);
	for (size_t q = 0; q < QUERIES; q++)
		make(&rng, common, centers, dims, queries + q * dims);
	const uint8_t key[HTH_VECTORS_KEY_BYTES] = "bench";
	hth_vectors_set_model(v, "bench", key);
	double adding = 0;
	for (uint64_t id = 1; id <= n; id++) {
		make(&rng, common, centers, dims, one);
		for (size_t q = 0; q < EXACT; q++)
			keep(&exact[q], id, dot(queries + q * dims, one, dims));
		uint64_t begin = hth_clock_ns();
		hth_status status = hth_vectors_add(v, id, one, dims, &err);
		if (status == HTH_BUSY) {
			bool did = true;
			status = hth_vectors_commit(v, id - 1, &err);
			while (status == HTH_OK && did)
				status = hth_vectors_merge(v, false, NULL, NULL, &did, &err);
			if (status == HTH_OK)
				status = hth_vectors_add(v, id, one, dims, &err);
		}
		if (status != HTH_OK)
			die("adding", &err);
		adding += (double)(hth_clock_ns() - begin) * 1e-9;
	}
	bool did = true;
	if (hth_vectors_commit(v, n, &err) != HTH_OK)
		die("committing", &err);
	while (did)
		if (hth_vectors_merge(v, false, NULL, NULL, &did, &err) != HTH_OK)
			die("merging", &err);
	static double times[QUERIES];
	size_t right = 0;
	for (int round = 0; round < 2; round++) { /* the first maps and warms */
		for (size_t q = 0; q < QUERIES; q++) {
			hth_vectors_hit hits[K];
			size_t found = 0;
			uint64_t begin = hth_clock_ns();
			if (hth_vectors_search(v, &(hth_vectors_query){.values = queries + q * dims, .n = dims}, K, hits, &found,
			                       &err) != HTH_OK)
				die("searching", &err);
			times[q] = (double)(hth_clock_ns() - begin) * 1e-6;
			for (size_t i = 0; round == 1 && q < EXACT && i < found; i++)
				for (size_t k = 0; k < K; k++)
					right += hits[i].id == exact[q].id[k];
		}
	}
	qsort(times, QUERIES, sizeof *times, by_time);
	hth_vectors_info info;
	hth_vectors_get_info(v, &info);
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	printf("{\"vectors\":%zu,\"dims\":%zu,\"kernels\":\"%s\",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"recall_10\":%.4f,"
	       "\"bytes_per_vector\":%.1f,\"segments\":%u,\"vectors_s\":%.0f,\"resident_mb\":%.1f}\n", n, dims, vector_kernels_best()->name,
	       times[QUERIES / 2], times[QUERIES * 99 / 100], (double)right / (EXACT * K), (double)info.bytes / (double)n, info.segments,
	       (double)n / adding, (double)use.ru_maxrss / 1024);
	hth_vectors_close(v);
	return 0;
}
