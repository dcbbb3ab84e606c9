/* acts.h - what is inside hth_acts, for kernels.c. Internal to this folder. */
#ifndef HTH_ENGINE_ACTS_H
#define HTH_ENGINE_ACTS_H

#include "engine/kernels/kernel-row.h"

enum {
	FEW_TOKENS = 32, /* the most of any row's few_tokens */
	ACTS_FORMS = 3,  /* arrangements side by side: for groups of 32, of 16, and of one token alone */
};

struct hth_acts {
	size_t max_tokens, max_cols, max_arranged; /* with more tokens than max_arranged, all go through gemm */
	/* ceil(max_cols / 32) * acts_group_lines(max_tokens) of either. */
	union {
		hth_a8_line *lines;
		hth_fixed_line *fixed;
	};
	char *arranged[ACTS_FORMS]; /* room for max_arranged tokens, of the last form for one */

	const float *x;
	const float *gate; /* NULL, or x is still to become act(gate) * x, on the way to lines */
	hth_gate_fn *act;
	size_t x_stride, n_tokens, cols;
	/* The forms of the current x that have been made. Lines are kept for gemm alone; what is arranged is made from some that a
	 * worker has for itself. */
	bool lines_ready, fixed_ready, arranged_ready[ACTS_FORMS]; /* one of the first two */
};

/* How many lines apart a token's groups are. A gemm goes through up to 8 groups of 32 tokens before it has other tokens, so those 256
 * lines are to lie in different sets of a first-level cache: these repeat after 64 lines (32 KiB in 8 ways, 48 in 12), and of 512 tokens
 * side by side all groups would begin in the same one. At 8 lines from there on, each set gets 4 of the 256. */
static inline size_t acts_group_lines(size_t n_tokens)
{
	enum { SETS = 64, APART = 8 };
	size_t at = (n_tokens + APART) % SETS;
	return at < 2 * APART ? n_tokens + 2 * APART - at : n_tokens;
}

/* Line of group g (32 columns) of token t: lines[g * acts_group_lines(n_tokens) + t], or fixed[the same]. Block b (of the kernels' 256 or
 * 512 columns) of token t: the (b * n_tokens + t)th that is arranged. */

#endif
