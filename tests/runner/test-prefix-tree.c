#include "base/mem.h"
#include "base/rng.h"
#include "runner/prefix-tree.h"
#include "harness.h"

enum { SEQS = 24, LONGEST = 200 };

/* The same thing without a tree. */
typedef struct plain {
	int32_t tokens[SEQS][LONGEST];
	uint32_t n[SEQS];
} plain;

static uint32_t common(const int32_t *a, uint32_t na, const int32_t *b, uint32_t nb)
{
	uint32_t i = 0;
	while (i < na && i < nb && a[i] == b[i])
		i++;
	return i;
}

TEST(tree_agrees_with_a_list_through_any_history)
{
	hth_error err = HTH_ERROR_INIT;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		hth_rng rng;
		hth_rng_seed(&rng, seed);
		uint32_t alphabet = 1 + (uint32_t)(seed % 4); /* few tokens: much is shared */
		hth_prefix_tree *tree = NULL;
		REQUIRE_OK(hth_prefix_tree_create(&tree, SEQS, &err));
		plain *p = calloc(1, sizeof *p);
		for (int step = 0; step < 600; step++) {
			uint32_t seq = (uint32_t)(hth_rng_next(&rng) % SEQS);
			uint64_t what = hth_rng_next(&rng) % 10;
			if (what < 6) { /* grows: by one as an answer does, or by a prompt, often like somebody else's */
				uint32_t by = what < 3 ? 1 : (uint32_t)(hth_rng_next(&rng) % 40),
				    like = (uint32_t)(hth_rng_next(&rng) % SEQS);
				for (uint32_t i = 0; i < by && p->n[seq] < LONGEST; i++) {
					uint32_t at = p->n[seq]++;
					p->tokens[seq][at] = at < p->n[like] && what % 2 == 0 ? p->tokens[like][at]
					                                                      : (int32_t)(hth_rng_next(&rng) % alphabet);
				}
				CHECK(hth_prefix_tree_extend(tree, seq, p->tokens[seq], p->n[seq]));
			} else if (what < 8) { /* is cut */
				p->n[seq] = (uint32_t)(hth_rng_next(&rng) % (p->n[seq] + 1));
				hth_prefix_tree_cut(tree, seq, p->n[seq]);
			} else if (what == 8) {
				p->n[seq] = 0;
				hth_prefix_tree_cut(tree, seq, 0);
			} else { /* somebody asks */
				int32_t prompt[LONGEST];
				uint32_t n = p->n[seq], keep = n > 0 ? (uint32_t)(hth_rng_next(&rng) % n) : 0;
				memcpy(prompt, p->tokens[seq], n * sizeof *prompt);
				for (uint32_t i = keep; i < n; i++)
					prompt[i] = (int32_t)(hth_rng_next(&rng) % (alphabet + 1));
				uint32_t best = 0, got = SEQS;
				for (uint32_t i = 0; i < SEQS; i++)
					best = HTH_MAX(best, common(p->tokens[i], p->n[i], prompt, n));
				CHECK_INT(hth_prefix_tree_find(tree, prompt, n, &got), best);
				if (best > 0)
					CHECK_INT(common(p->tokens[got], p->n[got], prompt, n), best);
			}
			CHECK_INT(hth_prefix_tree_length(tree, seq), p->n[seq]);
			bool covered = p->n[seq] == 0;
			for (uint32_t i = 0; i < SEQS; i++) {
				bool covers = common(p->tokens[i], p->n[i], p->tokens[seq], p->n[seq]) == p->n[seq];
				CHECK_INT(hth_prefix_tree_covers(tree, i, seq), covers);
				covered |= i != seq && covers;
			}
			CHECK_INT(hth_prefix_tree_covered(tree, seq), covered);
			if (!hth_prefix_tree_check(tree) || test_failures > 0) {
				test_fail(__FILE__, __LINE__, "seed %d, step %d", (int)seed, step);
				break;
			}
		}
		for (uint32_t i = 0; i < SEQS; i++)
			hth_prefix_tree_cut(tree, i, 0);
		CHECK_INT(hth_prefix_tree_nodes(tree), 0);
		hth_prefix_tree_destroy(tree);
		free(p);
	}
}

TEST(shared_beginning_is_stored_once_and_joined_again)
{
	hth_error err = HTH_ERROR_INIT;
	hth_prefix_tree *tree = NULL;
	REQUIRE_OK(hth_prefix_tree_create(&tree, 4, &err));
	int32_t a[] = {1, 2, 3, 4, 5}, b[] = {1, 2, 3, 9}, c[] = {1, 2};
	CHECK(hth_prefix_tree_extend(tree, 0, a, 5));
	CHECK_INT(hth_prefix_tree_nodes(tree), 1);
	CHECK(hth_prefix_tree_extend(tree, 1, b, 4));
	CHECK_INT(hth_prefix_tree_nodes(tree), 3); /* 123, 45, 9 */
	CHECK(hth_prefix_tree_extend(tree, 2, c, 2));
	CHECK_INT(hth_prefix_tree_nodes(tree), 4); /* 12, 3, 45, 9 */
	CHECK(hth_prefix_tree_covered(tree, 2));
	CHECK(hth_prefix_tree_covers(tree, 0, 2) && hth_prefix_tree_covers(tree, 1, 2) && !hth_prefix_tree_covers(tree, 0, 1));
	hth_prefix_tree_cut(tree, 1, 0);
	hth_prefix_tree_cut(tree, 2, 0);
	CHECK_INT(hth_prefix_tree_nodes(tree), 1);
	CHECK(hth_prefix_tree_check(tree));
	hth_prefix_tree_destroy(tree);
}

TEST_MAIN()
