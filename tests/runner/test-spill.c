/* What is kept on disk comes back to the byte, for exactly the tokens it belongs to; the oldest goes first; a disk that fails costs
 * only what was on it. */
#include "base/mem.h"
#include "base/rng.h"
#include "harness.h"
#include "runner/spill.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BYTES = 48, P = HTH_SPILL_PAGE };
static hth_error err;

/* A page's bytes are made of all tokens up to its end. */
typedef struct text {
	int32_t tokens[20 * P];
	unsigned char page[BYTES];
	uint32_t n_read;
	unsigned char read[20][BYTES];
} text;
static const void *make_page(void *ctx, uint32_t i)
{
	text *t = ctx;
	uint64_t h = 1;
	for (uint32_t k = 0; k < (i + 1) * P; k++)
		h = (h ^ (uint32_t)t->tokens[k]) * 0x9E3779B97F4A7C15u;
	for (int k = 0; k < BYTES; k++)
		t->page[k] = (unsigned char)(h >> k % 57);
	return t->page;
}
static void *take_page(void *ctx, uint32_t i)
{
	text *t = ctx;
	t->n_read++;
	return t->read[i];
}

static int nameless(void)
{
	FILE *f = tmpfile();
	int fd = f != NULL ? dup(fileno(f)) : -1;
	if (f != NULL)
		fclose(f);
	return fd;
}

static void check_back(hth_spill *s, text *t, uint32_t first, uint32_t end)
{
	memset(t->read, 0, sizeof t->read);
	t->n_read = 0;
	CHECK_INT(hth_spill_get(s, t->tokens, first, end, take_page, t), end);
	CHECK_INT(t->n_read, end - first);
	for (uint32_t i = first; i < end; i++)
		CHECK(memcmp(t->read[i], make_page(t, i), BYTES) == 0);
}

static void make_text(text *t, uint32_t shared_pages, uint64_t seed)
{
	hth_rng common, own;
	hth_rng_seed(&common, 1);
	hth_rng_seed(&own, seed);
	for (uint32_t i = 0; i < HTH_COUNT(t->tokens); i++)
		t->tokens[i] = (int32_t)(hth_rng_next(i < shared_pages * P ? &common : &own) % 1000);
}

TEST(pages_come_back_for_their_tokens_and_no_others)
{
	HTH_AUTO_CLOSE int fd = nameless();
	hth_spill *s = NULL;
	REQUIRE_OK(hth_spill_create(&s, fd, 40 * BYTES, BYTES, &err));
	text *a = calloc(2, sizeof *a), *b = a + 1;
	make_text(a, 3, 7);
	make_text(b, 3, 8);
	CHECK_INT(hth_spill_find(s, a->tokens, 20 * P), 0);
	CHECK_INT(hth_spill_put(s, a->tokens, 10 * P + 31, make_page, a), 10); /* whole pages only */
	CHECK_INT(hth_spill_find(s, a->tokens, 20 * P), 10);
	CHECK_INT(hth_spill_find(s, a->tokens, 5 * P + 1), 5);
	CHECK_INT(hth_spill_find(s, b->tokens, 20 * P), 3);
	CHECK_INT(hth_spill_find(s, a->tokens + P, 4 * P), 0); /* the same tokens after others are another page */
	CHECK_INT(hth_spill_put(s, b->tokens, 12 * P, make_page, b), 12);
	CHECK_INT(lseek(fd, 0, SEEK_END), (10 + 9) * BYTES); /* what both share is there once */
	check_back(s, a, 0, 10);
	check_back(s, b, 4, 12);
	CHECK_INT(hth_spill_get(s, a->tokens, 2, 15, take_page, a), 10);
	hth_spill_destroy(s);
	free(a);
}

TEST(oldest_goes_first_and_ends_before_beginnings)
{
	HTH_AUTO_CLOSE int fd = nameless();
	hth_spill *s = NULL;
	REQUIRE_OK(hth_spill_create(&s, fd, 16 * BYTES + 5, BYTES, &err));
	text *t = calloc(5, sizeof *t);
	for (uint32_t i = 0; i < 5; i++)
		make_text(&t[i], 0, 100 + i);
	CHECK_INT(hth_spill_put(s, t[0].tokens, 8 * P, make_page, &t[0]), 8);
	CHECK_INT(hth_spill_put(s, t[1].tokens, 8 * P, make_page, &t[1]), 8);
	CHECK_INT(hth_spill_find(s, t[0].tokens, 8 * P), 8); /* used */
	CHECK_INT(hth_spill_put(s, t[2].tokens, 3 * P, make_page, &t[2]), 3);
	CHECK_INT(hth_spill_find(s, t[0].tokens, 8 * P), 8);
	CHECK_INT(hth_spill_find(s, t[1].tokens, 8 * P), 5);
	check_back(s, &t[1], 0, 5);
	check_back(s, &t[2], 0, 3);
	/* Longer than the whole file: its beginning is kept. */
	CHECK_INT(hth_spill_put(s, t[3].tokens, 20 * P, make_page, &t[3]), 16);
	check_back(s, &t[3], 0, 16);
	CHECK_INT(hth_spill_find(s, t[0].tokens, 8 * P), 0);
	CHECK(lseek(fd, 0, SEEK_END) <= 16 * BYTES + 5);
	/* Any history: whatever is found is right. */
	hth_rng rng;
	hth_rng_seed(&rng, 5);
	for (int round = 0; round < 400; round++) {
		text *x = &t[hth_rng_next(&rng) % 5];
		uint32_t n = 1 + (uint32_t)(hth_rng_next(&rng) % 14);
		if (round % 2 == 0)
			CHECK_INT(hth_spill_put(s, x->tokens, n * P, make_page, x), n);
		else
			check_back(s, x, 0, hth_spill_find(s, x->tokens, n * P));
	}
	hth_spill_destroy(s);
	free(t);
}

TEST(disk_that_fails_costs_only_what_was_on_it)
{
	text *t = calloc(1, sizeof *t);
	make_text(t, 0, 1);
	hth_spill *s = NULL;
	int full = open("/dev/full", O_RDWR | O_CLOEXEC);
	REQUIRE(full >= 0);
	REQUIRE_OK(hth_spill_create(&s, full, 40 * BYTES, BYTES, &err));
	CHECK_INT(hth_spill_put(s, t->tokens, 10 * P, make_page, t), 0);
	CHECK_INT(hth_spill_find(s, t->tokens, 10 * P), 0);
	hth_spill_destroy(s);
	close(full);
	HTH_AUTO_CLOSE int fd = nameless();
	REQUIRE_OK(hth_spill_create(&s, fd, 40 * BYTES, BYTES, &err));
	CHECK_INT(hth_spill_put(s, t->tokens, 10 * P, make_page, t), 10);
	REQUIRE(ftruncate(fd, 4 * BYTES + 3) == 0);
	CHECK_INT(hth_spill_get(s, t->tokens, 0, 10, take_page, t), 4);
	CHECK_INT(hth_spill_find(s, t->tokens, 10 * P), 4);
	CHECK_INT(hth_spill_put(s, t->tokens, 10 * P, make_page, t), 10); /* and it is written anew */
	check_back(s, t, 0, 10);
	hth_spill_destroy(s);
	hth_spill_destroy(NULL);
	CHECK_INT(hth_spill_create(&s, fd, BYTES - 1, BYTES, &err), HTH_TOO_LARGE);
	free(t);
}

TEST_MAIN()
