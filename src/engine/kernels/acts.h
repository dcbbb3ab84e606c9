/* acts.h - what is inside hth_acts, for kernels.c. Internal to this folder. */
#ifndef HTH_ENGINE_ACTS_H
#define HTH_ENGINE_ACTS_H

#include "engine/kernels/kernel-row.h"

enum { ACTS_GEMV_TOKENS = 32 }; /* with more tokens than this, even a single selected one goes through gemm */

struct hth_acts {
	size_t max_tokens, max_cols;
	hth_a8_line *lines; /* ceil(max_cols / 32) * max_tokens */
	hth_a8 *a8;         /* ceil(max_cols / 256) * min(max_tokens, ACTS_GEMV_TOKENS) */

	const float *x;
	size_t x_stride, n_tokens, cols;
	bool lines_ready, a8_ready; /* the 8-bit forms of the current x have been made */
};

/* Line of group g (32 columns) of token t: lines[g * n_tokens + t]. Block kb (256 columns) of token t: a8[kb * n_tokens + t]. */

#endif
