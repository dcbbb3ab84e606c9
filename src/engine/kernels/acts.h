/* acts.h - what is inside hth_acts, for kernels.c. Internal to this folder. */
#ifndef HTH_ENGINE_ACTS_H
#define HTH_ENGINE_ACTS_H

#include "engine/kernels/kernel-row.h"

struct hth_acts {
	size_t max_tokens, max_cols;
	hth_a8 *a8; /* ceil(max_cols / 256) * max_tokens */

	const float *x;
	size_t x_stride, n_tokens, cols;
	bool a8_ready; /* the 8-bit form of the current x has been made */
};

/* The 8-bit form: block kb (256 columns) of token t is at a8[kb * n_tokens + t], so that the tokens of one panel lie
 * side by side. */
static inline size_t hth_acts_blocks(const hth_acts *acts) { return (acts->cols + HTH_A8_COLS - 1) / HTH_A8_COLS; }

#endif
