/* Compiled grammars between requests: what is found again, what goes, and two threads at it. */
#include "base/mem.h"
#include "engine/gguf/gguf.h"
#include "runner/grammar-cache.h"
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

typedef struct world {
	hth_gguf *gguf;
	hth_tokenizer *tokenizer;
	hth_grammar_cache *cache;
} world;

static bool world_open(world *w)
{
	hth_error err = HTH_ERROR_INIT;
	char path[4096];
	snprintf(path, sizeof path, "%s/models/starter.gguf", getenv("HEARTH_SOURCE") ? getenv("HEARTH_SOURCE") : ".");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	*w = (world){0};
	CHECK_OK(hth_gguf_open(&w->gguf, &fd, 1, "starter", &err));
	close(fd);
	CHECK_OK(hth_tokenizer_create(&w->tokenizer, w->gguf, &err));
	CHECK_OK(hth_grammar_cache_create(&w->cache, w->tokenizer, &err));
	return w->cache != NULL;
}
static void world_close(world *w)
{
	hth_grammar_cache_destroy(w->cache);
	hth_tokenizer_destroy(w->tokenizer);
	hth_gguf_close(w->gguf);
}

static hth_grammar *borrow(world *w, const char *text, bool special)
{
	hth_error err = HTH_ERROR_INIT;
	hth_grammar *g = NULL;
	CHECK_OK(hth_grammar_cache_borrow(w->cache, text, special, &g, &err));
	return g;
}

TEST(same_text_is_the_same_grammar)
{
	world w;
	REQUIRE(world_open(&w));
	hth_grammar *a = borrow(&w, "root ::= \"a\"", false), *b = borrow(&w, "root ::= \"b\"", false);
	CHECK(a != b && borrow(&w, "root ::= \"a\"", false) == a);
	CHECK(borrow(&w, "root ::= \"a\"", true) != a); /* control tokens or not is another grammar */
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).in_use, 3);
	hth_grammar_cache_give_back(w.cache, a);
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).in_use, 3); /* lent twice */
	hth_grammar_cache_give_back(w.cache, a);
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).in_use, 2);
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).kept, 1);
	CHECK(borrow(&w, "root ::= \"a\"", false) == a);
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).compiled, 3);
	hth_error err = HTH_ERROR_INIT;
	hth_grammar *none = NULL;
	CHECK_INT(hth_grammar_cache_borrow(w.cache, "root ::= ", false, &none, &err) == HTH_OK, true); /* the empty sentence */
	CHECK_INT(hth_grammar_cache_borrow(w.cache, "root ::= )", false, &none, &err), HTH_INVALID);
	world_close(&w);
}

TEST(what_is_kept_is_bounded_and_the_oldest_goes_first)
{
	world w;
	REQUIRE(world_open(&w));
	char text[64];
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof text, "root ::= \"%d\"", i);
		hth_grammar_cache_give_back(w.cache, borrow(&w, text, false));
		if (i >= 20) /* used again and again: stays */
			hth_grammar_cache_give_back(w.cache, borrow(&w, "root ::= \"20\"", false));
	}
	hth_grammar_cache_stats stats = hth_grammar_cache_get_stats(w.cache);
	CHECK(stats.kept >= 16 && stats.kept <= 64 && stats.in_use == 0);
	CHECK_INT(stats.compiled, 200);
	borrow(&w, "root ::= \"199\"", false);
	borrow(&w, "root ::= \"20\"", false);
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).compiled, 200);
	borrow(&w, "root ::= \"21\"", false);
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).compiled, 201);
	world_close(&w);
}

/* Large grammars that all are in use: at some point the next one is refused, and when some come back it is not. */
TEST(grammars_in_use_are_bounded_in_bytes)
{
	world w;
	REQUIRE(world_open(&w));
	enum { N = 40, WORDS = 60000 };
	hth_buf text = HTH_BUF_INIT(8 << 20);
	hth_grammar *lent[N] = {0};
	hth_error err = HTH_ERROR_INIT;
	hth_status status = HTH_OK;
	int n = 0;
	for (; n < N && status == HTH_OK; n += status == HTH_OK) {
		hth_buf_clear(&text);
		hth_buf_appendf(&text, "root ::= \"%d\"", n);
		for (int i = 0; i < WORDS; i++)
			hth_buf_appendf(&text, " \"word%d\"", i);
		hth_buf_append_char(&text, '\0');
		status = hth_grammar_cache_borrow(w.cache, text.data, false, &lent[n], &err);
	}
	printf("# %d of %zu bytes each, then: %s\n", n, text.len, err.message);
	CHECK_INT(status, HTH_BUSY);
	CHECK(n > 4);
	CHECK(hth_grammar_cache_get_stats(w.cache).bytes < (size_t)400 << 20);
	for (int i = 0; i < 3; i++)
		hth_grammar_cache_give_back(w.cache, lent[i]);
	CHECK_OK(hth_grammar_cache_borrow(w.cache, text.data, false, &lent[0], &err));
	hth_buf_finish(&text);
	world_close(&w);
}

/* One thread borrows, another runs and gives back: as in the child. */
enum { ROUNDS = 400 };
typedef struct handover {
	pthread_mutex_t lock;
	hth_grammar *slots[ROUNDS];
	int n;
	world *w;
} handover;

static void *runs(void *ctx)
{
	handover *h = ctx;
	for (int i = 0; i < ROUNDS; i++) {
		hth_grammar *g = NULL;
		while (g == NULL) {
			pthread_mutex_lock(&h->lock);
			g = i < h->n ? h->slots[i] : NULL;
			pthread_mutex_unlock(&h->lock);
		}
		hth_grammar_matcher *m = NULL;
		hth_error err = HTH_ERROR_INIT;
		CHECK_OK(hth_grammar_matcher_create(&m, g, &err));
		CHECK(hth_grammar_mask(m) != NULL && hth_grammar_accept_bytes(m, "ab", 2) && hth_grammar_mask(m) != NULL);
		hth_grammar_matcher_destroy(m);
		hth_grammar_cache_give_back(h->w->cache, g);
	}
	return NULL;
}

TEST(one_thread_compiles_while_another_runs)
{
	world w;
	REQUIRE(world_open(&w));
	static handover h;
	h = (handover){.w = &w};
	pthread_mutex_init(&h.lock, NULL);
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, runs, &h) == 0);
	char text[64];
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(text, sizeof text, "root ::= \"ab\" [^\"]{%d}", 1 + i * 7 % 50);
		hth_grammar *g = borrow(&w, text, false);
		pthread_mutex_lock(&h.lock);
		h.slots[h.n++] = g;
		pthread_mutex_unlock(&h.lock);
	}
	pthread_join(thread, NULL);
	CHECK_INT(hth_grammar_cache_get_stats(w.cache).in_use, 0);
	pthread_mutex_destroy(&h.lock);
	world_close(&w);
}

TEST_MAIN()
