/* bench-kernels - the products of one model shape alone, without a model: where kernels stand against the machine.
 *
 *   bench-kernels [TYPE ...] [-k KERNELS] [-t THREADS] [-l LAYERS] [-p TOKENS,TOKENS,...] [-r ROUNDS] [-w WIDTH,FFN,KV] [-a near|far]
 *   bench-kernels -c ROUNDS [TYPE ...] [-k KERNELS] [-p TOKENS,TOKENS,...] [-w COLUMNS]
 *
 * The shape is that of a 1.1 B Llama, or what -w says: 2048 wide, FFN 5632, keys 256. One round goes through the matrices of
 * all layers, between two readings of the memory and two of the multiply-add peak; shown are the median speed, and the median shares of the
 * limits around a round.
 * -a: into which cache weights are asked for, after -k (kernel-row.h, hth_asks_near).
 *
 * With -c: the loops themselves, one thread, in its own processor time: 16 or 32 rows of 2048 columns, at most 43 KiB, or of -w, that
 * stay in the first-level cache, over and over for half a millisecond, best of so many rounds. What a loop reaches here no memory can slow
 * down. */
#include "base/mem.h"
#include "engine/kernels/kernel-row.h"
#include "kernel-data.h"

#include <stdio.h>
#include <time.h>

enum { MATRICES = 7 };
static size_t width = 2048, ffn = 5632, kv = 256;

typedef struct model {
	size_t n_layers, bytes, weights;
	hth_matrix *matrices; /* MATRICES per layer */
	char *data;
} model;

enum { ROUNDS_MAX = 1000 };
static double seconds_of[ROUNDS_MAX], of_read[ROUNDS_MAX], of_mac[ROUNDS_MAX];

/* Without the tests' scales that are subnormal floats: those are slow, and no model has them. */
static void *usual_weights(hth_type type, size_t rows, size_t cols, void **ret_base)
{
	char *w = random_weights(type, rows, cols, 1, ret_base);
	const hth_type_traits *traits = hth_type_get(type);
	for (size_t i = 0; type == HTH_MXFP4 && i < rows * cols / traits->block_elems; i++)
		w[i * traits->block_bytes] = 120;
	return w;
}

static bool model_make(model *m, hth_type type, size_t n_layers)
{
	const size_t shapes[MATRICES][2] = {{width, width}, {kv, width}, {kv, width}, {width, width},
	                                    {ffn, width},   {ffn, width}, {width, ffn}};
	hth_error err = HTH_ERROR_INIT;
	*m = (model){.n_layers = n_layers};
	size_t layer = 0;
	for (int i = 0; i < MATRICES; i++) {
		layer += hth_type_row_bytes(type, shapes[i][1]) * shapes[i][0];
		m->weights += shapes[i][0] * shapes[i][1] * n_layers;
	}
	m->bytes = layer * n_layers;
	m->data = aligned_alloc(4096, hth_round_up(m->bytes + 4096, 4096));
	m->matrices = calloc(n_layers * MATRICES, sizeof *m->matrices);
	void *base;
	/* 64 rows of random weights, repeated: speed does not depend on values. */
	const char *some = usual_weights(type, 64, 5632, &base);
	size_t have = 64 * hth_type_row_bytes(type, 5632), unit = hth_type_row_bytes(type, 512);
	have -= have % unit;
	for (size_t at = 0; at < m->bytes; at += have)
		memcpy(m->data + at, some, HTH_MIN(have, m->bytes - at));
	free(base);
	size_t at = 0;
	for (size_t i = 0; i < n_layers * MATRICES; i++) {
		const size_t *s = shapes[i % MATRICES];
		if (hth_matrix_init(&m->matrices[i], type, s[0], s[1], m->data + at, &err) != HTH_OK)
			return false;
		at += m->matrices[i].row_bytes * s[0];
	}
	return true;
}

typedef struct workspace {
	hth_acts *in, *mid;
	float *x, *y;
} workspace;

/* With one thread, its own processor time: then other work on the machine counts less. */
static double seconds(const hth_threads *pool)
{
	struct timespec t;
	clock_gettime(hth_threads_count(pool) == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double pass(hth_threads *pool, const model *m, workspace *ws, size_t n)
{
	double start = seconds(pool);
	for (size_t l = 0; l < m->n_layers; l++) {
		const hth_matrix *w = m->matrices + l * MATRICES;
		float *y = ws->y;
		size_t qkv = width + 2 * kv;
		hth_acts_set(ws->in, ws->x, ffn, n, width);
		hth_matmul_run(pool, (hth_matmul[]){{w, ws->in, NULL, 0, y, qkv}, {w + 1, ws->in, NULL, 0, y + width, qkv},
		                                    {w + 2, ws->in, NULL, 0, y + width + kv, qkv}}, 3);
		hth_acts_set(ws->in, ws->x, ffn, n, width);
		hth_matmul_run(pool, &(hth_matmul){w + 3, ws->in, NULL, 0, y, width}, 1);
		hth_acts_set(ws->in, ws->x, ffn, n, width);
		hth_matmul_run(pool, (hth_matmul[]){{w + 4, ws->in, NULL, 0, y, 2 * ffn}, {w + 5, ws->in, NULL, 0, y + ffn, 2 * ffn}}, 2);
		hth_acts_set(ws->mid, ws->x, ffn, n, ffn);
		hth_matmul_run(pool, &(hth_matmul){w + 6, ws->mid, NULL, 0, y, width}, 1);
	}
	return seconds(pool) - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}
static double median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, by_value);
	return n > 0 ? values[n / 2] : 0;
}

/* ---- in cache ---- */

static double thread_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t cache_rows(hth_type type) { return hth_type_row_bytes(type, width) < 1400 ? 32 : 16; }

/* Seconds for the rows by n tokens. */
static double in_cache(hth_type type, size_t n, size_t rounds)
{
	hth_error err = HTH_ERROR_INIT;
	void *base;
	hth_matrix w;
	size_t n_rows = cache_rows(type);
	const char *data = usual_weights(type, n_rows, width, &base);
	hth_threads *pool = NULL;
	hth_acts *acts = NULL;
	float *x = calloc(n * width, sizeof *x), *y = calloc(n * n_rows, sizeof *y);
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	for (size_t i = 0; i < n * width; i++)
		x[i] = random_normal(&rng);
	double best = 1e9;
	if (hth_matrix_init(&w, type, n_rows, width, data, &err) == HTH_OK && hth_threads_create(&pool, 1, &err) == HTH_OK &&
	    hth_acts_create(&acts, n, width, 1, &err) == HTH_OK) {
		hth_acts_set(acts, x, width, n, width);
		size_t times = 1;
		for (size_t r = 0; r < rounds; r++) {
			double start = thread_seconds();
			/* Activations are quantised by the first of these, and not again. */
			for (size_t i = 0; i < times; i++)
				hth_matmul_run(pool, &(hth_matmul){&w, acts, NULL, 0, y, n_rows}, 1);
			double s = (thread_seconds() - start) / (double)times;
			if (r < 4)
				times = (size_t)(0.5e-3 / s) + 1;
			else
				best = HTH_MIN(best, s);
		}
	}
	hth_acts_destroy(acts);
	hth_threads_destroy(pool);
	free(x);
	free(y);
	free(base);
	return best;
}

static void print_in_cache(const hth_type *types, size_t n_types, const size_t *tokens, size_t n_sizes, size_t rounds)
{
	printf("kernels %s, in the first-level cache, one thread\n", hth_kernels_name());
	for (size_t i = 0; i < n_types; i++) {
		double bytes = (double)(hth_type_row_bytes(types[i], width) * cache_rows(types[i]));
		double weights = (double)(cache_rows(types[i]) * width);
		printf("%-7s", hth_type_get(types[i])->name);
		for (size_t s = 0; s < n_sizes; s++) {
			double t = in_cache(types[i], tokens[s], rounds);
			printf("  %3zu: %5.1f GB/s %5.0f G MAC/s", tokens[s], bytes / t * 1e-9, weights * (double)tokens[s] / t * 1e-9);
			fflush(stdout);
		}
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	hth_error err = HTH_ERROR_INIT;
	hth_type types[HTH_TYPE_LIMIT];
	size_t n_types = 0, n_layers = 22, tokens[16] = {1, 8, 512}, n_sizes = 3, rounds = 9, cache_rounds = 0;
	unsigned n_threads = 0;
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (argv[i][0] != '-') {
			if (n_types == HTH_TYPE_LIMIT || !hth_type_by_name(argv[i], &types[n_types++])) {
				fprintf(stderr, "no type named %s\n", argv[i]);
				return 2;
			}
			continue;
		}
		switch (argv[i++][1]) {
		case 'k':
			if (hth_kernels_select(value, &err) != HTH_OK) {
				fprintf(stderr, "%s\n", err.message);
				return 2;
			}
			break;
		case 'a':
			if (strcmp(value, "near") != 0 && strcmp(value, "far") != 0) {
				fprintf(stderr, "-a near or -a far\n");
				return 2;
			}
			hth_kernels_row(); /* chosen first, since choosing sets it */
			atomic_store(&hth_asks_near, strcmp(value, "near") == 0);
			break;
		case 't': n_threads = (unsigned)atoi(value); break;
		case 'l': n_layers = (size_t)atoi(value); break;
		case 'c': cache_rounds = (size_t)atoi(value); break;
		case 'r': rounds = HTH_MIN((size_t)atoi(value), (size_t)ROUNDS_MAX); break;
		case 'w':
			if (sscanf(value, "%zu,%zu,%zu", &width, &ffn, &kv) < 1 || width == 0 || ffn < width || ffn > 1 << 16 || kv == 0 ||
			    kv > width) {
				fprintf(stderr, "-w WIDTH,FFN,KV: FFN is at least WIDTH and at most 65536, KV at most WIDTH\n");
				return 2;
			}
			break;
		case 'p':
			for (n_sizes = 0; *value != '\0' && n_sizes < 16; value += *value == ',') {
				char *end;
				tokens[n_sizes++] = strtoul(value, &end, 10);
				value = end;
			}
			break;
		default: fprintf(stderr, "unknown option %s\n", argv[i - 1]); return 2;
		}
	}
	if (n_types == 0) {
		static const hth_type usual[] = {HTH_Q4_K, HTH_Q5_K, HTH_Q6_K, HTH_Q8_0, HTH_Q4_0, HTH_IQ4_XS, HTH_F16};
		memcpy(types, usual, sizeof usual);
		n_types = HTH_COUNT(usual);
	}
	for (size_t i = 0; i < n_types; i++) {
		const hth_type_traits *traits = hth_type_get(types[i]);
		if (width % traits->block_elems != 0 || ffn % traits->block_elems != 0) {
			fprintf(stderr, "%s has blocks of %u columns: WIDTH and FFN are to be multiples of that\n", traits->name,
			        traits->block_elems);
			return 2;
		}
	}
	if (cache_rounds > 0) {
		print_in_cache(types, n_types, tokens, n_sizes, cache_rounds);
		return 0;
	}
	hth_threads *pool = NULL;
	hth_measure *measure = NULL;
	if (hth_threads_create(&pool, n_threads, &err) != HTH_OK || hth_measure_create(&measure, pool, &err) != HTH_OK) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	size_t max = 1;
	for (size_t i = 0; i < n_sizes; i++)
		max = HTH_MAX(max, tokens[i]);
	/* As a session has it. */
	workspace ws = {.x = hth_alloc_large(max * ffn * sizeof(float)), .y = hth_alloc_large(max * (2 * ffn + width) * sizeof(float))};
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	for (size_t i = 0; i < max * ffn; i++)
		ws.x[i] = random_normal(&rng);
	if (hth_acts_create(&ws.in, max, width, 1, &err) != HTH_OK || hth_acts_create(&ws.mid, max, ffn, 1, &err) != HTH_OK)
		return 1;
	printf("kernels %s, %u threads, %zu layers, %zu wide, FFN %zu, keys %zu\n", hth_kernels_name(), hth_threads_count(pool), n_layers,
	       width, ffn, kv);
	for (size_t i = 0; i < n_types; i++) {
		model m;
		if (!model_make(&m, types[i], n_layers))
			return 1;
		hth_mac_kind kind = hth_type_has_codes(types[i]) ? HTH_MAC_CODES : types[i] == HTH_F32 ? HTH_MAC_FLOAT : HTH_MAC_FIXED;
		printf("%s\n", hth_type_get(types[i])->name);
		for (size_t s = 0; s < n_sizes; s++) {
			double weights = (double)m.weights * (double)tokens[s], bytes = (double)m.bytes;
			double read = hth_measure_read_gb_s(measure, 0), mac = hth_measure_mac_g(measure, kind);
			for (size_t r = 0; r < rounds; r++) {
				double t = pass(pool, &m, &ws, tokens[s]), read_after = hth_measure_read_gb_s(measure, 0);
				double mac_after = tokens[s] > 1 ? hth_measure_mac_g(measure, kind) : mac;
				seconds_of[r] = t;
				of_read[r] = bytes / t * 1e-9 / ((read + read_after) / 2);
				of_mac[r] = weights / t * 1e-9 / ((mac + mac_after) / 2);
				read = read_after;
				mac = mac_after;
			}
			double t = median(seconds_of, rounds);
			printf("  %4zu tokens: %8.2f tok/s  %6.1f GB/s, %.3f of read  %7.1f G MAC/s, %.3f of peak\n", tokens[s],
			       (double)tokens[s] / t, bytes / t * 1e-9, median(of_read, rounds), weights / t * 1e-9,
			       median(of_mac, rounds));
			fflush(stdout);
		}
		free(m.data);
		free(m.matrices);
	}
	hth_measure_destroy(measure);
	hth_acts_destroy(ws.in);
	hth_acts_destroy(ws.mid);
	free(ws.x);
	free(ws.y);
	hth_threads_destroy(pool);
	return 0;
}
