/* The index with vectors: passages get them, searches merge them with words, and nothing of what was removed stays. Instead of a model a
 * stand-in: each word is a direction, words that mean the same share one, so what a vector should find is known. Environment:
 * HEARTH_EXTRACT. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "harness.h"
#include "index/fuse.h"
#include "index/index.h"

#include <ctype.h>
#include <ftw.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { DIMS = 128 };
static hth_error err;
static char top[200], home[300], docs[300];
static atomic_int n_embedded;
static atomic_bool refuse;
static hth_index *index_of;

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}
static void begin(void)
{
	snprintf(top, sizeof top, "%s/hearth-index-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	CHECK(mkdtemp(top) != NULL);
	snprintf(home, sizeof home, "%s/home", top);
	snprintf(docs, sizeof docs, "%s/docs", top);
	mkdir(docs, 0755);
	atomic_store(&n_embedded, 0);
	atomic_store(&refuse, false);
}
static void end(void)
{
	hth_index_stop(index_of);
	index_of = NULL;
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
static void put(const char *name, const char *text)
{
	char path[600];
	snprintf(path, sizeof path, "%s/%s", docs, name);
	FILE *f = fopen(path, "w");
	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* --- the stand-in --- */

static void embed_text(const char *text, uint64_t salt, float out[DIMS])
{
	static const char *const same[][2] = {{"boiler", "heating"}, {"lease", "tenancy"}, {"motorcar", "automobile"}};
	for (size_t i = 0; i < DIMS; i++)
		out[i] = 0.3f;
	while (*text != '\0') {
		char word[64];
		size_t n = 0;
		for (; isalpha((unsigned char)*text); text++)
			if (n + 1 < sizeof word)
				word[n++] = (char)tolower((unsigned char)*text);
		word[n] = '\0';
		text += *text != '\0';
		for (size_t s = 0; s < HTH_COUNT(same); s++)
			if (strcmp(word, same[s][1]) == 0)
				snprintf(word, sizeof word, "%s", same[s][0]);
		uint64_t hash = 1469598103934665603u + salt;
		for (const char *c = word; *c != '\0'; c++)
			hash = (hash ^ (unsigned char)*c) * 1099511628211u;
		hth_rng rng;
		hth_rng_seed(&rng, hash);
		for (size_t i = 0; n > 3 && i < DIMS; i++)
			out[i] += (float)(hth_rng_unit(&rng) * 2 - 1);
	}
}

static void embed(void *ctx, hth_index_batch *batch)
{
	for (size_t i = 0; i < batch->n && !atomic_load(&refuse); i++) {
		batch->n_dims = DIMS;
		batch->passages[i].hopeless = strstr(batch->passages[i].text, "hopeless") != NULL;
		if (batch->passages[i].hopeless)
			continue;
		batch->passages[i].vector = hth_alloc_array(DIMS, sizeof(float));
		embed_text(batch->passages[i].text, batch->key[0], batch->passages[i].vector);
		batch->cpu_seconds += 10;
		atomic_fetch_add(&n_embedded, 1);
	}
	hth_index_embedded(ctx, batch);
}

static void give_model(uint8_t key)
{
	hth_index_embedder e = {.model = "stand-in", .key = {key}, .embed = embed, .ctx = index_of};
	hth_index_set_embedder(index_of, &e);
}

static void keep(void)
{
	const hth_index_options o = {.home = home, .no_ocr = true};
	CHECK_OK(hth_index_start(&index_of, &o, &err));
}

static hth_index_status status_now(void)
{
	hth_index_status s = {0};
	CHECK_OK(hth_index_get_status(home, index_of, &s, &err));
	return s;
}

static bool wait_for_vectors(uint64_t n)
{
	uint64_t limit = hth_clock_ms() + 240000;
	while ((!hth_index_is_idle(index_of) || status_now().vectors != n) && hth_clock_ms() < limit)
		usleep(10000);
	return status_now().vectors == n;
}

static hth_index_hits found;
static size_t find(hth_index_query q, uint8_t key)
{
	hth_index_reader *reader;
	float vector[DIMS];
	uint8_t whole_key[HTH_INDEX_KEY_BYTES] = {key};
	hth_index_hits_finish(&found);
	embed_text(q.text, key, vector);
	q.vector = key != 0 ? vector : NULL;
	q.n_dims = DIMS;
	q.vector_key = whole_key;
	CHECK_OK(hth_index_reader_open(&reader, home, &err));
	CHECK_OK(hth_index_search(reader, &q, &found, &err));
	hth_index_reader_close(reader);
	return found.n;
}
static const char *file_of(size_t i)
{
	const char *slash = i < found.n ? strrchr(found.list[i].file, '/') : NULL;
	return slash != NULL ? slash + 1 : "nothing";
}

static void put_papers(void)
{
	static const char *const words[] = {"garden", "tomato", "ladder", "window", "curtain", "bicycle", "piano", "school", "holiday",
	                                    "doctor"};
	put("boiler.txt", "The boiler needs a valve before winter.");
	put("lease.txt", "The lease ends in spring; garden included.");
	for (int i = 0; i < 40; i++) {
		char name[32], text[200];
		snprintf(name, sizeof name, "paper-%d.txt", i);
		snprintf(text, sizeof text, "About the %s and the %s, number %d.", words[i % 10], words[(i / 10 + i + 1) % 10], i);
		put(name, text);
	}
}

TEST(ranks_of_two_lists_are_added_as_reciprocals)
{
	const hth_words_hit words[] = {{7, 9.5f}, {3, 2.0f}, {5, 1.0f}};
	const hth_vectors_hit vectors[] = {{3, 0.9f}, {8, 0.8f}};
	fused_hit out[5];
	REQUIRE(fuse_ranks(words, 3, vectors, 2, out) == 4);
	CHECK(out[0].id == 3 && out[0].by_words && out[0].cosine > 0.89f && fabs(out[0].score - (1.0 / 62 + 1.0 / 61)) < 1e-12);
	CHECK(out[1].id == 7 && out[1].cosine == 0 && fabs(out[1].score - 1.0 / 61) < 1e-12);
	CHECK(out[2].id == 8 && !out[2].by_words && fabs(out[2].score - 1.0 / 62) < 1e-12);
	CHECK(out[3].id == 5);
	CHECK_INT(fuse_ranks(words, 0, vectors, 2, out), 2);
	CHECK(out[0].id == 3 && out[1].id == 8);
	CHECK_INT(fuse_ranks(words, 3, vectors, 0, out), 3);
	CHECK(out[0].id == 7 && out[2].id == 5);
	CHECK_INT(fuse_ranks(words, 0, vectors, 0, out), 0);
}

TEST(what_means_the_same_is_found_although_no_word_is)
{
	begin();
	put_papers();
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	keep();
	REQUIRE(index_of != NULL);
	give_model(1);
	CHECK(wait_for_vectors(42));
	CHECK_STR(status_now().vector_model, "stand-in");
	CHECK_INT(find((hth_index_query){.text = "heating valve winter"}, 0), 1); /* by words alone */
	CHECK(!found.by_vectors);
	CHECK_INT(find((hth_index_query){.text = "tenancy"}, 0), 0);
	CHECK_INT(find((hth_index_query){.text = "tenancy ends spring"}, 1), 1);
	CHECK(found.by_vectors && found.n == 1 && found.list[0].similarity > 0.5 && found.list[0].share < 1);
	CHECK_STR(file_of(0), "lease.txt");
	CHECK_INT(find((hth_index_query){.text = "heating"}, 1), 1);
	CHECK_STR(file_of(0), "boiler.txt");
	/* It stands out, so it is told to somebody who asks only for what is of the matter; what nothing speaks of is not. */
	CHECK_INT(find((hth_index_query){.text = "heating", .least_share = 0.35}, 1), 1);
	CHECK_INT(find((hth_index_query){.text = "neighbour's submarine", .least_share = 0.35}, 1), 0);
	CHECK_INT(find((hth_index_query){.text = "submarine", .nearest_too = true, .k = 5}, 1), 5);
	/* Filters, musts and must-nots hold. */
	CHECK_INT(find((hth_index_query){.text = "heating", .type = "pdf"}, 1), 0);
	CHECK_INT(find((hth_index_query){.text = "heating", .folder = "/elsewhere"}, 1), 0);
	CHECK_INT(find((hth_index_query){.text = "heating", .folder = docs}, 1), 1);
	CHECK_INT(find((hth_index_query){.text = "heating", .before = 1000}, 1), 0);
	CHECK_INT(find((hth_index_query){.text = "heating -valve"}, 1), 0);
	CHECK_INT(find((hth_index_query){.text = "heating +lease"}, 1), 1);
	CHECK_STR(file_of(0), "lease.txt");
	CHECK_INT(find((hth_index_query){.text = "heating \"valve needs\""}, 1), 0);
	/* Another model's vector is of no use, and says so. */
	CHECK_INT(find((hth_index_query){.text = "garden lease"}, 9) > 0, 1);
	CHECK(!found.by_vectors);
	end();
}

TEST(removal_leaves_no_vector_and_another_model_makes_them_again)
{
	begin();
	put_papers();
	put("odd.txt", "This is hopeless for the model.");
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	keep();
	REQUIRE(index_of != NULL);
	give_model(1);
	CHECK(wait_for_vectors(42));
	CHECK_INT(status_now().passages, 43);
	int made = atomic_load(&n_embedded);
	CHECK(status_now().cpu_seconds >= 10.0 * made && status_now().cpu_seconds < 10.0 * made + 300); /* it is part of the cost */
	/* What is there is not made again, by the next keeper neither. */
	hth_index_stop(index_of);
	keep();
	REQUIRE(index_of != NULL);
	give_model(1);
	char path[600];
	snprintf(path, sizeof path, "%s/boiler.txt", docs);
	CHECK(unlink(path) == 0);
	put("late.txt", "A new automobile was bought.");
	hth_index_wake(index_of);
	uint64_t limit = hth_clock_ms() + 240000;
	while ((atomic_load(&n_embedded) < made + 1 || find((hth_index_query){.text = "heating"}, 1) > 0) && hth_clock_ms() < limit)
		usleep(20000);
	CHECK(wait_for_vectors(42));
	CHECK_INT(atomic_load(&n_embedded), made + 1);
	CHECK_INT(find((hth_index_query){.text = "heating"}, 1), 0);
	CHECK_INT(find((hth_index_query){.text = "motorcar"}, 1), 1);
	CHECK_STR(file_of(0), "late.txt");
	/* A paused index asks for nothing; without a model the vectors stay. */
	hth_index_set_embedder(index_of, NULL);
	CHECK_INT(find((hth_index_query){.text = "motorcar"}, 1), 1);
	give_model(2);
	CHECK(wait_for_vectors(42));
	limit = hth_clock_ms() + 240000;
	while (find((hth_index_query){.text = "motorcar"}, 2) != 1 && hth_clock_ms() < limit)
		usleep(20000);
	CHECK_INT(find((hth_index_query){.text = "motorcar"}, 2), 1);
	CHECK(found.by_vectors);
	CHECK(wait_for_vectors(42));
	CHECK_INT(atomic_load(&n_embedded), made + 1 + 42);
	REQUIRE_OK(hth_index_folder_remove(home, docs, &err));
	hth_index_wake(index_of);
	CHECK(wait_for_vectors(0));
	limit = hth_clock_ms() + 240000;
	while (status_now().vector_bytes > 0 && hth_clock_ms() < limit)
		usleep(20000);
	CHECK_INT(status_now().vector_bytes, 0);
	end();
}

TEST(batches_that_come_back_empty_are_asked_for_again_and_a_pause_asks_for_none)
{
	begin();
	put_papers();
	REQUIRE_OK(hth_index_folder_add(home, docs, false, &err));
	keep();
	REQUIRE(index_of != NULL);
	uint64_t limit = hth_clock_ms() + 240000;
	while (!hth_index_is_idle(index_of) && hth_clock_ms() < limit)
		usleep(10000);
	hth_index_pause(index_of, true);
	give_model(1);
	for (int i = 0; i < 3; i++) { /* each wakes the keeper, which comes round */
		hth_index_wake(index_of);
		while (!hth_index_is_idle(index_of) && hth_clock_ms() < limit)
			usleep(10000);
	}
	CHECK_INT(atomic_load(&n_embedded), 0);
	atomic_store(&refuse, true);
	hth_index_pause(index_of, false);
	usleep(300000);
	CHECK_INT(status_now().vectors, 0);
	atomic_store(&refuse, false);
	CHECK(wait_for_vectors(42)); /* after ten seconds */
	end();
}

TEST_MAIN()
