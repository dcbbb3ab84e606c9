/* The word index: what words become, that pruning finds what scoring everything finds, and that no failed step loses a
 * commit. */
#include "base/mem.h"
#include "base/rng.h"
#include "harness.h"
#include "index/words.h"

#include <dirent.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static hth_error err;

/* --- terms --- */

static char joined[4096];
static void join(void *ctx, const char *term, size_t len, size_t begin, size_t end)
{
	(void)ctx, (void)begin, (void)end;
	size_t n = strlen(joined);
	snprintf(joined + n, sizeof joined - n, "%s%.*s", n > 0 ? " " : "", (int)len, term);
}
static void join_query(void *ctx, const char *term, size_t len, size_t word)
{
	(void)word;
	join(ctx, term, len, 0, 0);
}
static const char *terms_of(hth_language language, const char *text)
{
	hth_terms *terms;
	joined[0] = '\0';
	if (hth_terms_create(&terms, &err) != HTH_OK)
		return "no memory";
	hth_terms_of_text(terms, language, text, strlen(text), join, NULL);
	hth_terms_destroy(terms);
	return joined;
}

TEST(words_are_stemmed_and_folded)
{
	CHECK_STR(terms_of(HTH_LANGUAGE_EN, "Running, the RUNNERS ran."), "run the runner ran");
	CHECK_STR(terms_of(HTH_LANGUAGE_DE, "Häuser haus HAUS Hauses"), "haus haus haus haus");
	CHECK_STR(terms_of(HTH_LANGUAGE_FR, "résumé Resume"), "resum resum");
	CHECK_STR(terms_of(HTH_LANGUAGE_NONE, "Straße ﬁnance Ⅷ ÅNGSTRÖM"), "strasse finance viii angstrom");
	CHECK_STR(terms_of(HTH_LANGUAGE_NONE, "na\xC3\xAFve cafe\xCC\x81"), "naive cafe");
	CHECK_STR(terms_of(HTH_LANGUAGE_NONE, "٣٤ 2,500.00"), "34 2 500 00");
}

TEST(apostrophes_and_hyphens_split_as_readers_do)
{
	CHECK_STR(terms_of(HTH_LANGUAGE_NONE, "l'avion de John's don\xE2\x80\x99t"), "avion de john don");
	CHECK_STR(terms_of(HTH_LANGUAGE_NONE, "an exam-\n  ple, well-known Mo-\nNo"), "an example well known mo no");
	CHECK_STR(terms_of(HTH_LANGUAGE_NONE, "co\xC2\xADoperate 'ab' c"), "cooperate ab c");
}

TEST(scripts_without_spaces_become_characters_and_pairs)
{
	CHECK_STR(terms_of(HTH_LANGUAGE_NONE, "東京都 x"), "東 京 東京 都 京都 x");
	hth_terms *terms;
	REQUIRE_OK(hth_terms_create(&terms, &err));
	joined[0] = '\0';
	hth_terms_of_query(terms, 0, "東京都 猫", strlen("東京都 猫"), join_query, NULL);
	CHECK_STR(joined, "東京 京都 猫");
	joined[0] = '\0';
	hth_terms_of_query(terms, 1u << HTH_LANGUAGE_EN | 1u << HTH_LANGUAGE_DE, "walking Haus", 12, join_query, NULL);
	CHECK_STR(joined, "walk walking haus");
	hth_terms_destroy(terms);
}

TEST(languages_are_told_by_their_small_words)
{
	const char *de = "Sehr geehrte Damen und Herren, hiermit kündige ich den Vertrag mit der Nummer 4711 zum "
	                 "nächsten Termin. Das ist nicht zu ändern.";
	const char *en =
	    "Dear Sir or Madam, this is to inform you that the contract was not renewed by the end of the year.";
	CHECK_INT(hth_language_detect(de, strlen(de), HTH_LANGUAGE_NONE), HTH_LANGUAGE_DE);
	CHECK_INT(hth_language_detect(en, strlen(en), HTH_LANGUAGE_NONE), HTH_LANGUAGE_EN);
	CHECK_INT(hth_language_detect("4711 0815", 9, HTH_LANGUAGE_FR), HTH_LANGUAGE_FR);
}

TEST(any_bytes_make_terms_without_harm)
{
	hth_rng rng;
	hth_rng_seed(&rng, 7);
	hth_terms *terms;
	REQUIRE_OK(hth_terms_create(&terms, &err));
	for (int i = 0; i < 3000; i++) {
		char text[200];
		size_t n = hth_rng_next(&rng) % sizeof text;
		for (size_t k = 0; k < n; k++)
			text[k] = hth_rng_next(&rng) % 3 == 0 ? (char)hth_rng_next(&rng)
			                                      : "a'-\n \xC3\xA4\xE6\x9D\xB1Z9"[hth_rng_next(&rng) % 12];
		joined[0] = '\0';
		HTH_AUTO_FREE char *exact = malloc(n ? n : 1); /* so that a sanitizer sees a read beyond it */
		memcpy(exact, text, n);
		hth_terms_of_text(terms, (hth_language)(i % HTH_LANGUAGE_COUNT), exact, n, join, NULL);
	}
	hth_terms_destroy(terms);
}

/* --- a folder for an index --- */

static char folder[256];
static const char *fresh_folder(void)
{
	/* Memory rather than a disk, where there is such a folder: a crash is tried at hundreds of steps, each with its
	 * syncs. */
	snprintf(folder, sizeof folder, "%s/hearth-words-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	return mkdtemp(folder);
}
static void remove_folder(void)
{
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
		(void)unlinkat(dirfd(dir), e->d_name, 0);
	if (dir != NULL)
		closedir(dir);
	rmdir(folder);
}
static size_t files_in_folder(void)
{
	size_t n = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	if (dir != NULL)
		closedir(dir);
	return n;
}
static hth_words *open_index(hth_words_step_fn step, void *ctx)
{
	hth_words *w = NULL;
	const hth_words_options o = {.write = true, .step = step, .step_ctx = ctx};
	CHECK_OK(hth_words_open(&w, folder, &o, &err));
	return w;
}

/* A text of words w0, w1, ... with Zipf-like frequencies, now and then a burst of one. */
static size_t make_text(hth_rng *rng, char *out, size_t cap, unsigned vocabulary)
{
	size_t n = 0, words = 3 + hth_rng_next(rng) % 60;
	for (size_t i = 0; i < words; i++) {
		double u = hth_rng_unit(rng);
		unsigned w = (unsigned)(pow((double)vocabulary, u) - 1), times = hth_rng_next(rng) % 40 == 0 ? 8 : 1;
		while (times-- > 0)
			n += (size_t)snprintf(out + n, cap - n, "w%u ", w);
	}
	return n;
}

static void add_some(hth_words *w, hth_rng *rng, uint64_t *id, size_t n, unsigned vocabulary)
{
	char text[8192];
	for (size_t i = 0; i < n; i++) {
		size_t len = make_text(rng, text, sizeof text, vocabulary);
		*id += 1 + (hth_rng_next(rng) % 5 == 0);
		CHECK_OK(hth_words_add(w, *id, HTH_LANGUAGE_NONE, text, len, &err));
	}
}

static void ask_both(hth_words *w, hth_rng *rng, unsigned vocabulary, const hth_words_set *only)
{
	static hth_words_hit a[1000], b[1000];
	hth_terms *terms;
	REQUIRE_OK(hth_terms_create(&terms, &err));
	hth_words_query q = {.only = only};
	size_t words = 1 + hth_rng_next(rng) % 6;
	for (size_t i = 0; i < words; i++) {
		char word[16];
		unsigned number = (unsigned)(pow((double)vocabulary, hth_rng_unit(rng)) - 1),
		         kind = (unsigned)(hth_rng_next(rng) % 8);
		snprintf(word, sizeof word, "w%u", number);
		hth_words_query_add(&q, terms, 0, word, strlen(word),
		                    kind == 0   ? HTH_WORDS_MUST
		                    : kind == 1 ? HTH_WORDS_MUST_NOT
		                                : HTH_WORDS_MAY);
	}
	size_t k = hth_rng_next(rng) % 3 == 0 ? 1000 : 1 + hth_rng_next(rng) % 12, n_a = 0, n_b = 0;
	CHECK_OK(hth_words_search(w, &q, k, a, &n_a, &err));
	CHECK_OK(hth_words_search_all(w, &q, k, b, &n_b, &err));
	CHECK_INT(n_a, n_b);
	for (size_t i = 0; i < n_a && i < n_b; i++) {
		if (a[i].id != b[i].id || a[i].score != b[i].score) {
			test_fail(__FILE__, __LINE__, "hit %zu of %zu: text %llu with %f, not %llu with %f", i, n_a,
			          (unsigned long long)a[i].id, (double)a[i].score, (unsigned long long)b[i].id,
			          (double)b[i].score);
			break;
		}
	}
	/* In any order, and with some that are not there, the same texts get the same scores. */
	for (size_t i = 0; i < n_a; i++)
		b[i] = (hth_words_hit){a[(i * 7 + 3) % n_a].id, 1};
	bool all = true; /* 7 and n_a have no common divisor: each once */
	if (n_a > 0 && n_a % 7 != 0 && n_a < 1000) {
		b[n_a] = (hth_words_hit){a[0].id + 1000000, 1};
		CHECK_OK(hth_words_rescore(w, &q, b, n_a + 1, &err));
		for (size_t i = 0; i < n_a; i++)
			all = all && a[i].id == b[i].id && a[i].score == b[i].score;
		CHECK(all && b[n_a].score == 0);
	}
	hth_terms_destroy(terms);
}

TEST(pruning_finds_what_scoring_every_match_finds)
{
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	REQUIRE(fresh_folder() != NULL);
	hth_words *w = open_index(NULL, NULL);
	REQUIRE(w != NULL);
	uint64_t id = 0;
	unsigned vocabulary = 3000;
	for (int round = 0; round < 12; round++) {
		add_some(w, &rng, &id, round == 0 ? 12000 : 40 + hth_rng_next(&rng) % 1500, vocabulary);
		uint64_t from = 1 + hth_rng_next(&rng) % id;
		CHECK_OK(hth_words_remove(w, from, from + hth_rng_next(&rng) % 40, &err));
		if (round % 3 == 1)
			CHECK_OK(hth_words_remove(w, id - 5, id - 3, &err)); /* not committed yet */
		CHECK_OK(hth_words_commit(w, id, &err));
		if (round >= 6) {
			bool did = true;
			while (did)
				CHECK_OK(hth_words_merge(w, round == 11, NULL, NULL, &did, &err));
		}
		/* A run, a single one, a few that are far apart, and every other one up to nearly the last. */
		static uint64_t bits[1024];
		hth_words_set only = {bits, id - 20};
		REQUIRE(id < HTH_COUNT(bits) * 64);
		memset(bits, 0, sizeof bits);
		for (uint64_t i = 0; i < only.n; i++)
			if ((i >= id / 10 && i < id / 8) || i == id / 6 || (i > id / 5 && i < id / 2 && i % 511 == 0) ||
			    (i > id / 2 && i % 2 == 0))
				bits[i / 64] |= UINT64_C(1) << (i % 64);
		CHECK_INT(hth_words_set_count(&only, id / 10, id / 8 - 1, UINT64_MAX), id / 8 - id / 10);
		CHECK_INT(hth_words_set_count(&only, id / 10, id, 3), 3);
		for (int i = 0; i < 60; i++)
			ask_both(w, &rng, vocabulary, i % 4 == 0 ? &only : NULL);
	}
	hth_words_info info;
	hth_words_get_info(w, &info);
	CHECK_INT(info.removed, 0);
	CHECK(info.segments < 10);
	hth_words_close(w);
	w = open_index(NULL, NULL); /* the same from the disk */
	REQUIRE(w != NULL);
	CHECK_INT(hth_words_mark(w), id);
	for (int i = 0; i < 60; i++)
		ask_both(w, &rng, vocabulary, NULL);
	hth_words_close(w);
	remove_folder();
}

static size_t count_of(hth_words *w, const char *text)
{
	static hth_words_hit hits[HTH_WORDS_K_MAX];
	size_t n = 0;
	hth_terms *terms;
	hth_words_query q = {0};
	CHECK_OK(hth_terms_create(&terms, &err));
	hth_words_query_add(&q, terms, 1u << HTH_LANGUAGE_EN, text, strlen(text), HTH_WORDS_MAY);
	CHECK_OK(hth_words_search(w, &q, HTH_WORDS_K_MAX, hits, &n, &err));
	hth_terms_destroy(terms);
	return n;
}

TEST(scores_are_those_of_the_formula)
{
	REQUIRE(fresh_folder() != NULL);
	hth_words *w = open_index(NULL, NULL);
	REQUIRE(w != NULL);
	const char *texts[] = {"apple apple banana", "banana cherry", "cherry cherry cherry date date", "apple"};
	for (size_t i = 0; i < 4; i++)
		CHECK_OK(hth_words_add(w, i + 1, HTH_LANGUAGE_NONE, texts[i], strlen(texts[i]), &err));
	CHECK_INT(count_of(w, "apple"), 0); /* not before the commit */
	CHECK_OK(hth_words_commit(w, 4, &err));
	hth_terms *terms;
	REQUIRE_OK(hth_terms_create(&terms, &err));
	hth_words_query q = {0};
	hth_words_query_add(&q, terms, 0, "Apple banana", 12, HTH_WORDS_MAY);
	hth_words_hit hits[4];
	size_t n = 0;
	CHECK_OK(hth_words_search(w, &q, 4, hits, &n, &err));
	CHECK_INT(n, 3);
	double average = 11 / 4.0, idf = log(1 + (4 - 2 + 0.5) / (2 + 0.5));
	double k3 = 1.2 * (0.25 + 0.75 * 3 / average), k2 = 1.2 * (0.25 + 0.75 * 2 / average),
	       k1 = 1.2 * (0.25 + 0.75 * 1 / average);
	CHECK_INT(hits[0].id, 1);
	CHECK_NEAR(hits[0].score, idf * 2.2 * (2 / (2 + k3) + 1 / (1 + k3)), 1e-4);
	CHECK_INT(hits[1].id, 4);
	CHECK_NEAR(hits[1].score, idf * 2.2 / (1 + k1), 1e-4);
	CHECK_INT(hits[2].id, 2);
	CHECK_NEAR(hits[2].score, idf * 2.2 / (1 + k2), 1e-4);
	hth_terms_destroy(terms);
	hth_words_close(w);
	remove_folder();
}

TEST(what_is_removed_is_not_found_and_leaves_no_trace_after_a_purge)
{
	REQUIRE(fresh_folder() != NULL);
	hth_words *w = open_index(NULL, NULL);
	REQUIRE(w != NULL);
	CHECK_OK(hth_words_add(w, 1, HTH_LANGUAGE_EN, "a secretword here", 17, &err));
	CHECK_OK(hth_words_add(w, 2, HTH_LANGUAGE_EN, "a plain text here", 17, &err));
	CHECK_OK(hth_words_commit(w, 2, &err));
	CHECK_INT(count_of(w, "secretword"), 1);
	CHECK_OK(hth_words_remove(w, 1, 1, &err));
	CHECK_OK(hth_words_commit(w, 2, &err));
	CHECK_INT(count_of(w, "secretword"), 0);
	CHECK_INT(count_of(w, "here"), 1);
	bool did = false;
	CHECK_OK(hth_words_merge(w, true, NULL, NULL, &did, &err));
	CHECK(did);
	hth_words_close(w);
	DIR *dir = opendir(folder);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		char path[600];
		size_t len = 0;
		snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
		HTH_AUTO_FREE char *data = e->d_name[0] != '.' ? test_read_file(path, &len) : NULL;
		CHECK(data == NULL || memmem(data, len, "secretword", 10) == NULL);
		struct stat st;
		CHECK(e->d_name[0] == '.' || (stat(path, &st) == 0 && (st.st_mode & 077) == 0));
	}
	closedir(dir);
	remove_folder();
}

/* A child that was forked just before holds the lock until its exec, also when its parent was killed. */
TEST(a_writer_that_is_going_is_waited_for)
{
	REQUIRE(fresh_folder() != NULL);
	hth_words *w = NULL;
	int go[2];
	REQUIRE(pipe(go) == 0);
	const pid_t killed = fork();
	if (killed == 0) {
		char byte = 'x';
		if (hth_words_open(&w, folder, &(hth_words_options){.write = true}, &err) != HTH_OK)
			_exit(1);
		if (fork() != 0)
			_exit(0);
		(void)!write(go[1], &byte, 1);
		poll(NULL, 0, 200);
		_exit(0);
	}
	char byte;
	int status = -1;
	REQUIRE(killed > 0 && waitpid(killed, &status, 0) == killed && status == 0);
	CHECK_INT(read(go[0], &byte, 1), 1);
	CHECK_OK(hth_words_open(&w, folder, &(hth_words_options){.write = true}, &err));
	hth_words_close(w);
	close(go[0]);
	close(go[1]);
	remove_folder();
}

TEST(a_second_writer_is_refused_and_a_reader_follows)
{
	REQUIRE(fresh_folder() != NULL);
	hth_words *w = open_index(NULL, NULL), *second = NULL, *reader = NULL;
	REQUIRE(w != NULL);
	CHECK_INT(hth_words_open(&second, folder, &(hth_words_options){.write = true}, &err), HTH_BUSY);
	CHECK_INT(hth_words_open(&reader, folder, &(hth_words_options){0}, &err), HTH_NOT_FOUND);
	CHECK_OK(hth_words_add(w, 1, HTH_LANGUAGE_EN, "first", 5, &err));
	CHECK_OK(hth_words_commit(w, 1, &err));
	REQUIRE_OK(hth_words_open(&reader, folder, &(hth_words_options){0}, &err));
	CHECK_INT(count_of(reader, "first"), 1);
	CHECK_OK(hth_words_add(w, 2, HTH_LANGUAGE_EN, "second", 6, &err));
	CHECK_OK(hth_words_commit(w, 2, &err));
	CHECK_INT(count_of(reader, "second"), 0);
	CHECK_OK(hth_words_refresh(reader, &err));
	CHECK_INT(count_of(reader, "second"), 1);
	hth_words_close(reader);
	hth_words_close(w);
	remove_folder();
}

/* --- crashes --- */

typedef struct fault {
	int countdown; /* this step, and all after it, fail: the process is as good as dead */
	bool once;     /* only this one: a full disk */
} fault;
static bool step(void *ctx, const char *what)
{
	(void)what;
	fault *f = ctx;
	f->countdown--;
	return f->once ? f->countdown != 0 : f->countdown > 0;
}

static hth_status change(hth_words *w, int round)
{
	char text[64];
	uint64_t id = (uint64_t)round * 10 + 10;
	for (int i = 0; i < 3; i++) {
		snprintf(text, sizeof text, "common round%d number%d", round, i);
		HTH_TRY(hth_words_add(w, id + (uint64_t)i, HTH_LANGUAGE_NONE, text, strlen(text), &err));
	}
	HTH_TRY(hth_words_remove(w, id, id, &err));
	if (round > 0)
		HTH_TRY(hth_words_remove(w, id - 9, id - 9, &err));
	return hth_words_commit(w, (uint64_t)round + 1, &err);
}

TEST(a_crash_at_any_step_leaves_one_commit_whole)
{
	bool reached_the_end = false;
	for (int at = 1; at < 500 && !reached_the_end; at++) {
		REQUIRE(fresh_folder() != NULL);
		fault f = {.countdown = at};
		hth_words *w = NULL;
		uint64_t done = 0;
		hth_words_options o = {.write = true, .step = step, .step_ctx = &f};
		if (hth_words_open(&w, folder, &o, &err) == HTH_OK) {
			hth_status status = HTH_OK;
			for (int round = 0; round < 9 && status == HTH_OK; round++) {
				status = change(w, round);
				done += status == HTH_OK;
			}
			bool did = true;
			while (status == HTH_OK && did)
				status = hth_words_merge(w, true, NULL, NULL, &did, &err);
			reached_the_end = status == HTH_OK;
			hth_words_close(w);
		}
		w = open_index(NULL, NULL);
		REQUIRE(w != NULL);
		uint64_t mark = hth_words_mark(w);
		CHECK(mark == done || mark == done + 1); /* the last step of a commit may fail after it happened */
		CHECK_INT(count_of(w, "common"), mark == 0 ? 0 : mark + 1);
		CHECK_OK(change(w, (int)mark)); /* and it goes on */
		CHECK_INT(count_of(w, "common"), mark + 2);
		hth_words_close(w);
		CHECK(files_in_folder() <= 2 + 2 * 10);
		remove_folder();
	}
	CHECK(reached_the_end);
}

TEST(a_full_disk_fails_the_commit_and_the_next_one_has_it_all)
{
	for (int at = 1; at < 60; at++) {
		REQUIRE(fresh_folder() != NULL);
		fault f = {.countdown = at, .once = true};
		hth_words *w = open_index(step, &f);
		REQUIRE(w != NULL);
		for (int round = 0; round < 4; round++)
			if (change(w, round) != HTH_OK)
				CHECK_OK(hth_words_commit(w, (uint64_t)round + 1, &err));
		CHECK_INT(count_of(w, "common"), 5);
		hth_words_close(w);
		w = open_index(NULL, NULL);
		REQUIRE(w != NULL);
		CHECK_INT(hth_words_mark(w), 4);
		CHECK_INT(count_of(w, "common"), 5);
		hth_words_close(w);
		remove_folder();
	}
}

TEST(a_damaged_file_is_told_and_never_read_beyond)
{
	hth_rng rng;
	hth_rng_seed(&rng, 3);
	REQUIRE(fresh_folder() != NULL);
	hth_words *w = open_index(NULL, NULL);
	REQUIRE(w != NULL);
	uint64_t id = 0;
	add_some(w, &rng, &id, 600, 200);
	CHECK_OK(hth_words_commit(w, id, &err));
	hth_words_close(w);
	char path[400];
	size_t len;
	snprintf(path, sizeof path, "%s/00000001.words", folder);
	HTH_AUTO_FREE char *good = test_read_file(path, &len);
	REQUIRE(good != NULL);
	for (int i = 0; i < 400; i++) {
		FILE *f = fopen(path, "wb");
		REQUIRE(f != NULL);
		size_t keep = i % 10 == 0 ? hth_rng_next(&rng) % len : len;
		fwrite(good, 1, keep, f);
		for (int k = 0; k < 8; k++) {
			fseek(f, (long)(hth_rng_next(&rng) % (i % 3 == 0 ? 128 : len)), SEEK_SET);
			fputc((int)(hth_rng_next(&rng) & 255), f);
		}
		fclose(f);
		if (hth_words_open(&w, folder, &(hth_words_options){.write = true}, &err) != HTH_OK)
			continue;
		static hth_words_hit hits[100];
		size_t n;
		for (unsigned v = 0; v < 30; v++) {
			hth_terms *terms;
			REQUIRE_OK(hth_terms_create(&terms, &err));
			hth_words_query q = {0};
			char text[40];
			snprintf(text, sizeof text, "w%u w%u w%u", v, v * 3, v * 7);
			hth_words_query_add(&q, terms, 0, text, strlen(text), HTH_WORDS_MAY);
			CHECK_OK(hth_words_search(w, &q, 100, hits, &n, &err));
			hth_terms_destroy(terms);
		}
		hth_words_close(w);
	}
	remove_folder();
}

TEST_MAIN()
