/* Vectors: that every instruction set counts alike, that the nearest are found among many, and that no failed step loses a commit or leaves
 * what was removed. There is no trained model here: vectors are seeded, in clusters, off the origin as embeddings of texts are. */
#include "base/mem.h"
#include "base/rng.h"
#include "harness.h"
#include "index/vector-file.h"
#include "index/vector-kernels.h"

#include <dirent.h>
#include <sys/stat.h>

static hth_error err;
static char folder[64];
static const uint8_t key_a[HTH_VECTORS_KEY_BYTES] = "a", key_b[HTH_VECTORS_KEY_BYTES] = "b";

static bool fresh_folder(void)
{
	strcpy(folder, "/tmp/hearth-vectors-XXXXXX");
	return mkdtemp(folder) != NULL;
}

static void remove_folder(void)
{
	char path[400];
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
		(void)unlink(path);
	}
	if (dir != NULL)
		closedir(dir);
	(void)rmdir(folder);
}

static hth_vectors *open_them(hth_words_step_fn step, void *ctx)
{
	hth_vectors *v = NULL;
	const hth_vectors_options o = {.write = true, .step = step, .step_ctx = ctx};
	CHECK_OK(hth_vectors_open(&v, folder, &o, &err));
	return v;
}

static double normal(hth_rng *rng)
{
	return sqrt(-2 * log(1 - hth_rng_unit(rng))) * cos(2 * M_PI * hth_rng_unit(rng));
}

/* The one vector that says `what`: nobody else's. */
static void make_vector(uint64_t what, float *out, size_t n)
{
	hth_rng rng;
	hth_rng_seed(&rng, what * 7919 + 1);
	for (size_t i = 0; i < n; i++)
		out[i] = (float)normal(&rng);
}

/* Of the ids within these ranges (pairs of first and last); NULL: of all. */
static uint64_t nearest(hth_vectors *v, uint64_t what, size_t n, const uint64_t *ranges, size_t n_ranges, float *ret_cosine)
{
	static uint64_t bits[128];
	memset(bits, 0, sizeof bits);
	for (size_t r = 0; r < n_ranges; r++)
		for (uint64_t id = ranges[2 * r]; id <= ranges[2 * r + 1] && id < HTH_COUNT(bits) * 64; id++)
			bits[id / 64] |= UINT64_C(1) << (id % 64);
	const hth_words_set only = {bits, HTH_COUNT(bits) * 64};
	float *values = hth_alloc_array(n, sizeof *values);
	hth_vectors_hit hit = {0};
	size_t found = 0;
	make_vector(what, values, n);
	CHECK_OK(hth_vectors_search(v, &(hth_vectors_query){values, n, ranges != NULL ? &only : NULL}, 1, &hit, &found, &err));
	free(values);
	if (ret_cosine != NULL)
		*ret_cosine = hit.cosine;
	return found > 0 ? hit.id : 0;
}

static hth_status add(hth_vectors *v, uint64_t id, size_t n)
{
	float values[HTH_VECTORS_DIMS_MAX];
	make_vector(id, values, n);
	return hth_vectors_add(v, id, values, n, &err);
}

TEST(every_instruction_set_counts_as_the_reference)
{
	size_t n_rows;
	const vector_kernels *const *rows = vector_kernels_all(&n_rows);
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	static uint64_t query[VECTOR_WORDS_MAX], signs[33 * VECTOR_WORDS_MAX];
	static int8_t a[4096], b[4096];
	uint16_t want[33], got[33];
	for (size_t r = 1; r < n_rows; r++) {
		if (!rows[r]->works())
			continue;
		printf("# %s\n", rows[r]->name);
		for (size_t words = 1; words <= VECTOR_WORDS_MAX; words++) {
			for (size_t i = 0; i < words; i++)
				query[i] = hth_rng_next(&rng);
			for (size_t i = 0; i < 33 * words; i++)
				signs[i] = words % 3 == 0 ? ~query[i % words] : hth_rng_next(&rng);
			rows[0]->hamming(query, signs, words, 33, want);
			rows[r]->hamming(query, signs, words, 33, got);
			CHECK(memcmp(want, got, sizeof want) == 0);
			CHECK(words % 3 != 0 || got[0] == words * 64);
		}
		for (size_t n = 64; n <= sizeof a; n += 64) {
			for (size_t i = 0; i < n; i++) {
				a[i] = n % 128 == 0 ? 127 : (int8_t)((int)(hth_rng_next(&rng) % 255) - 127);
				b[i] = n % 128 == 0 ? -127 : (int8_t)((int)(hth_rng_next(&rng) % 255) - 127);
			}
			CHECK_INT(rows[r]->dot(a, b, n), rows[0]->dot(a, b, n));
		}
	}
}

/* Clusters around a common direction, as texts' embeddings are; queries are near some of them. */
static void clustered(hth_rng *rng, const float *common, const float *centers, size_t n_centers, size_t n, float *out)
{
	const float *center = centers + hth_rng_next(rng) % n_centers * n;
	for (size_t i = 0; i < n; i++)
		out[i] = common[i] + 0.7f * center[i] + 0.7f * (float)normal(rng);
}

static double dot_of(const float *a, const float *b, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

TEST(the_nearest_of_a_hundred_thousand_are_found_as_by_exact_search)
{
	enum { N = 100000, DIMS = 384, CENTERS = 300, QUERIES = 20, K = 10 };
	REQUIRE(fresh_folder());
	hth_rng rng;
	hth_rng_seed(&rng, 6);
	float *all = hth_alloc_array((size_t)N * DIMS, sizeof *all), *centers = hth_alloc_array((size_t)CENTERS * DIMS, sizeof *centers),
	    common[DIMS], q[DIMS];
	double *lengths = hth_alloc_array(N, sizeof *lengths);
	hth_vectors *v = open_them(NULL, NULL);
	REQUIRE(all != NULL && centers != NULL && lengths != NULL && v != NULL);
	hth_vectors_set_model(v, "synthetic", key_a);
	for (size_t i = 0; i < DIMS; i++)
		common[i] = (float)normal(&rng);
	for (size_t i = 0; i < (size_t)CENTERS * DIMS; i++)
		centers[i] = (float)normal(&rng);
	for (size_t i = 0; i < N; i++) {
		float *x = all + i * DIMS;
		clustered(&rng, common, centers, CENTERS, DIMS, x);
		lengths[i] = sqrt(dot_of(x, x, DIMS));
		if (hth_vectors_add(v, i + 1, x, DIMS, &err) == HTH_BUSY) {
			CHECK_OK(hth_vectors_commit(v, i, &err));
			CHECK_OK(hth_vectors_add(v, i + 1, x, DIMS, &err));
		}
	}
	CHECK_OK(hth_vectors_commit(v, N, &err));
	for (bool did = true; did;)
		CHECK_OK(hth_vectors_merge(v, false, NULL, NULL, &did, &err));
	hth_vectors_info info;
	hth_vectors_get_info(v, &info);
	CHECK_INT(info.vectors, N);
	CHECK(info.segments <= 8);
	size_t right = 0;
	double worst = 0;
	for (int j = 0; j < QUERIES; j++) {
		clustered(&rng, common, centers, CENTERS, DIMS, q);
		double length = sqrt(dot_of(q, q, DIMS)), best[K] = {0};
		for (size_t i = 0; i < N; i++) {
			double c = dot_of(q, all + i * DIMS, DIMS) / lengths[i] / length;
			for (size_t k = 0; k < K; k++) {
				double last = best[k];
				if (c > last) {
					best[k] = c;
					c = last;
				}
			}
		}
		hth_vectors_hit hits[K];
		size_t n;
		CHECK_OK(hth_vectors_search(v, &(hth_vectors_query){.values = q, .n = DIMS}, K, hits, &n, &err));
		CHECK_INT(n, K);
		for (size_t i = 0; i < n; i++) {
			double exact = dot_of(q, all + (hits[i].id - 1) * DIMS, DIMS) / lengths[hits[i].id - 1] / length;
			right += exact >= best[K - 1] - 1e-9;
			worst = fmax(worst, fabs(exact - (double)hits[i].cosine));
		}
	}
	printf("# recall@10 of 100,000: %.3f; bytes are off by at most %.4f\n", (double)right / QUERIES / K, worst);
	CHECK(right >= QUERIES * K * 95 / 100);
	CHECK(worst < 0.01);
	/* One that has nothing to do with any stands out from none; a member's own does. */
	double outstanding;
	hth_vectors_query mine = {.values = all, .n = DIMS}, strange = {.values = centers, .n = DIMS};
	float other[DIMS];
	hth_vectors_hit hit;
	size_t n;
	make_vector(12345, other, DIMS);
	strange.values = other;
	CHECK_OK(hth_vectors_outstanding(v, &mine, &outstanding, &err));
	CHECK_OK(hth_vectors_search(v, &mine, 1, &hit, &n, &err));
	CHECK(hit.id == 1 && (double)hit.cosine > outstanding && outstanding > 0);
	CHECK_OK(hth_vectors_outstanding(v, &strange, &outstanding, &err));
	CHECK_OK(hth_vectors_search(v, &strange, 1, &hit, &n, &err));
	CHECK((double)hit.cosine < outstanding);
	hth_vectors_close(v);
	free(all);
	free(centers);
	free(lengths);
	remove_folder();
}

TEST(a_text_is_nearest_to_itself_whatever_the_dimensions)
{
	static const size_t dims[] = {1, 3, 48, 63, 64, 65, 384, 768, 1000, 4096};
	for (size_t d = 0; d < HTH_COUNT(dims); d++) {
		REQUIRE(fresh_folder());
		hth_vectors *v = open_them(NULL, NULL);
		REQUIRE(v != NULL);
		hth_vectors_set_model(v, "m", key_a);
		size_t n = dims[d] > 768 ? 40 : dims[d] < 48 ? 2 : 1500;
		for (uint64_t id = 1; id <= n; id++)
			CHECK_OK(add(v, id * 3, dims[d]));
		CHECK_OK(hth_vectors_commit(v, n, &err));
		float cosine;
		CHECK(dims[d] < 48 || nearest(v, 30, dims[d], NULL, 0, &cosine) == 30);
		CHECK(dims[d] < 48 || cosine > 0.99f);
		CHECK(nearest(v, 3, dims[d], NULL, 0, NULL) != 0);
		hth_vectors_close(v);
		remove_folder();
	}
}

TEST(what_is_no_vector_is_refused)
{
	REQUIRE(fresh_folder());
	hth_vectors *v = open_them(NULL, NULL), *second;
	REQUIRE(v != NULL);
	float values[8] = {0};
	hth_vectors_set_model(v, "m", key_a);
	CHECK_INT(hth_vectors_add(v, 1, values, 8, &err), HTH_INVALID);
	values[3] = NAN;
	CHECK_INT(hth_vectors_add(v, 1, values, 8, &err), HTH_INVALID);
	values[3] = INFINITY;
	CHECK_INT(hth_vectors_add(v, 1, values, 8, &err), HTH_INVALID);
	values[3] = 1e30f;
	CHECK_OK(hth_vectors_add(v, 1, values, 8, &err));
	CHECK_INT(hth_vectors_add(v, 2, values, 7, &err), HTH_INVALID);
	CHECK_INT(hth_vectors_add(v, 1, values, 8, &err), HTH_CONFLICT);
	CHECK_INT(hth_vectors_add(v, 2, values, HTH_VECTORS_DIMS_MAX + 1, &err), HTH_INVALID);
	CHECK_OK(hth_vectors_commit(v, 1, &err));
	hth_vectors_hit hit;
	size_t n;
	CHECK_INT(hth_vectors_search(v, &(hth_vectors_query){.values = values, .n = 7}, 1, &hit, &n, &err), HTH_INVALID);
	CHECK_INT(hth_vectors_open(&second, folder, &(hth_vectors_options){.write = true}, &err), HTH_BUSY);
	hth_vectors_close(v);
	remove_folder();
}

TEST(filters_and_removals_hold_in_small_and_large_segments)
{
	enum { DIMS = 64 };
	for (uint64_t n = 200; n <= 6000; n *= 5) {
		REQUIRE(fresh_folder());
		hth_vectors *v = open_them(NULL, NULL);
		REQUIRE(v != NULL);
		hth_vectors_set_model(v, "m", key_a);
		for (uint64_t id = 1; id <= n; id++)
			if (add(v, id, DIMS) == HTH_BUSY) {
				CHECK_OK(hth_vectors_commit(v, id - 1, &err));
				CHECK_OK(add(v, id, DIMS));
			}
		CHECK_OK(hth_vectors_commit(v, n, &err));
		const uint64_t ranges[] = {2, 9, 50, 50, 120, n};
		CHECK_INT(nearest(v, 5, DIMS, ranges, 3, NULL), 5);
		CHECK_INT(nearest(v, 50, DIMS, ranges, 3, NULL), 50);
		uint64_t other = nearest(v, 20, DIMS, ranges, 3, NULL);
		CHECK(other != 20 && (other <= 9 || other == 50 || other >= 120));
		CHECK_INT(nearest(v, 20, DIMS, ranges, 0, NULL), 0);
		CHECK_OK(hth_vectors_remove(v, 20, 20, &err));
		CHECK_OK(hth_vectors_remove(v, 100, n - 1, &err));
		CHECK_INT(nearest(v, 20, DIMS, NULL, 0, NULL), 20); /* not committed yet */
		CHECK_OK(hth_vectors_commit(v, n, &err));
		CHECK(nearest(v, 20, DIMS, NULL, 0, NULL) != 20);
		CHECK(nearest(v, 101, DIMS, NULL, 0, NULL) != 101);
		hth_vectors_close(v);
		v = open_them(NULL, NULL);
		REQUIRE(v != NULL);
		hth_vectors_info info;
		hth_vectors_get_info(v, &info);
		CHECK_INT(info.vectors, 99);
		CHECK_INT(info.removed, n - 99);
		uint64_t before = info.bytes;
		CHECK(nearest(v, 20, DIMS, NULL, 0, NULL) != 20);
		CHECK_INT(nearest(v, n, DIMS, NULL, 0, NULL), n);
		for (bool did = true; did;)
			CHECK_OK(hth_vectors_merge(v, true, NULL, NULL, &did, &err));
		hth_vectors_get_info(v, &info);
		CHECK_INT(info.removed, 0);
		CHECK_INT(info.vectors, 99);
		CHECK(info.bytes < before);
		CHECK_INT(nearest(v, 19, DIMS, NULL, 0, NULL), 19);
		hth_vectors_close(v);
		remove_folder();
	}
}

TEST(another_model_takes_the_place_of_all_that_was_there)
{
	REQUIRE(fresh_folder());
	hth_vectors *v = open_them(NULL, NULL), *reader;
	REQUIRE(v != NULL);
	hth_vectors_set_model(v, "first", key_a);
	for (uint64_t id = 1; id < 10; id++)
		CHECK_OK(add(v, id, 64));
	CHECK_OK(hth_vectors_commit(v, 9, &err));
	REQUIRE_OK(hth_vectors_open(&reader, folder, &(hth_vectors_options){0}, &err));
	CHECK(!hth_vectors_set_model(v, "first", key_a));
	CHECK_INT(hth_vectors_mark(v), 9);
	CHECK(hth_vectors_set_model(v, "second", key_b));
	CHECK_INT(hth_vectors_mark(v), 0);
	CHECK_OK(add(v, 2, 96));
	CHECK_INT(nearest(reader, 5, 64, NULL, 0, NULL), 5);
	CHECK_OK(hth_vectors_commit(v, 2, &err));
	CHECK_OK(hth_vectors_refresh(reader, &err));
	hth_vectors_info info;
	hth_vectors_get_info(reader, &info);
	CHECK(info.vectors == 1 && info.dims == 96 && strcmp(info.model, "second") == 0 && memcmp(info.key, key_b, sizeof key_b) == 0 &&
	      info.mark == 2);
	CHECK_INT(nearest(reader, 2, 96, NULL, 0, NULL), 2);
	hth_vectors_close(reader);
	hth_vectors_close(v);
	remove_folder();
}

/* --- crashes --- */

typedef struct fault {
	int countdown;
	bool once;
} fault;
static bool step(void *ctx, const char *what)
{
	(void)what;
	fault *f = ctx;
	f->countdown--;
	return f->once ? f->countdown != 0 : f->countdown > 0;
}

static hth_status change(hth_vectors *v, int round)
{
	uint64_t id = (uint64_t)round * 10 + 10;
	hth_vectors_set_model(v, "m", key_a);
	for (uint64_t i = 0; i < 3; i++)
		HTH_TRY(add(v, id + i, 64));
	HTH_TRY(hth_vectors_remove(v, id, id, &err));
	if (round > 0)
		HTH_TRY(hth_vectors_remove(v, id - 9, id - 9, &err));
	return hth_vectors_commit(v, (uint64_t)round + 1, &err);
}

static uint64_t count(hth_vectors *v)
{
	hth_vectors_info info;
	hth_vectors_get_info(v, &info);
	return info.vectors;
}

TEST(a_crash_at_any_step_leaves_one_commit_whole)
{
	bool reached_the_end = false;
	for (int at = 1; at < 500 && !reached_the_end; at++) {
		REQUIRE(fresh_folder());
		fault f = {.countdown = at};
		hth_vectors *v = NULL;
		uint64_t done = 0;
		const hth_vectors_options o = {.write = true, .step = step, .step_ctx = &f};
		if (hth_vectors_open(&v, folder, &o, &err) == HTH_OK) {
			hth_status status = HTH_OK;
			for (int round = 0; round < 9 && status == HTH_OK; round++) {
				status = change(v, round);
				done += status == HTH_OK;
			}
			for (bool did = true; status == HTH_OK && did;)
				status = hth_vectors_merge(v, true, NULL, NULL, &did, &err);
			reached_the_end = status == HTH_OK;
			hth_vectors_close(v);
		}
		v = open_them(NULL, NULL);
		REQUIRE(v != NULL);
		uint64_t mark = hth_vectors_mark(v);
		CHECK(mark == done || mark == done + 1); /* the last step of a commit may fail after it happened */
		CHECK_INT(count(v), mark == 0 ? 0 : mark + 1);
		CHECK(mark == 0 || nearest(v, mark * 10 + 2, 64, NULL, 0, NULL) == mark * 10 + 2);
		CHECK_OK(change(v, (int)mark)); /* and it goes on */
		CHECK_INT(count(v), mark + 2);
		hth_vectors_close(v);
		remove_folder();
	}
	CHECK(reached_the_end);
}

TEST(a_full_disk_fails_the_commit_and_the_next_one_has_it_all)
{
	for (int at = 1; at < 40; at++) {
		REQUIRE(fresh_folder());
		fault f = {.countdown = at, .once = true};
		hth_vectors *v = open_them(step, &f);
		REQUIRE(v != NULL);
		for (int round = 0; round < 4; round++)
			if (change(v, round) != HTH_OK)
				CHECK_OK(hth_vectors_commit(v, (uint64_t)round + 1, &err));
		CHECK_INT(count(v), 5);
		hth_vectors_close(v);
		v = open_them(NULL, NULL);
		REQUIRE(v != NULL);
		CHECK_INT(hth_vectors_mark(v), 4);
		CHECK_INT(count(v), 5);
		hth_vectors_close(v);
		remove_folder();
	}
}

TEST(a_damaged_file_is_told_and_never_read_beyond)
{
	REQUIRE(fresh_folder());
	hth_vectors *v = open_them(NULL, NULL), *again;
	REQUIRE(v != NULL);
	for (int round = 0; round < 3; round++)
		CHECK_OK(change(v, round));
	hth_vectors_close(v);
	static const char *const names[] = {"MANIFEST", "00000001.vectors"};
	hth_rng rng;
	hth_rng_seed(&rng, 4);
	for (size_t f = 0; f < HTH_COUNT(names); f++) {
		char path[128];
		static unsigned char whole[1 << 16], broken[1 << 16];
		snprintf(path, sizeof path, "%s/%s", folder, names[f]);
		FILE *file = fopen(path, "rb");
		REQUIRE(file != NULL);
		size_t len = fread(whole, 1, sizeof whole, file);
		fclose(file);
		for (int i = 0; i < 300; i++) {
			size_t n = i % 3 == 0 ? hth_rng_next(&rng) % len : len;
			memcpy(broken, whole, len);
			broken[hth_rng_next(&rng) % HTH_MIN(len, (size_t)200)] ^= (unsigned char)(1 + hth_rng_next(&rng) % 255);
			file = fopen(path, "wb");
			REQUIRE(file != NULL && fwrite(broken, 1, n, file) == n && fclose(file) == 0);
			hth_status status = hth_vectors_open(&again, folder, &(hth_vectors_options){0}, &err);
			CHECK(status == HTH_BAD_FORMAT || status == HTH_OK);
			if (status == HTH_OK) { /* what was hit has no say */
				(void)nearest(again, 12, 64, NULL, 0, NULL);
				hth_vectors_close(again);
			}
		}
		file = fopen(path, "wb");
		REQUIRE(file != NULL && fwrite(whole, 1, len, file) == len && fclose(file) == 0);
	}
	CHECK_OK(hth_vectors_erase(folder, &err));
	CHECK_INT(hth_vectors_open(&again, folder, &(hth_vectors_options){0}, &err), HTH_NOT_FOUND);
	remove_folder();
}

TEST_MAIN()
