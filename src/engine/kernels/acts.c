/* acts.c - activations and where their 8-bit form is kept. All memory is allocated at create; kernels.c makes the 8-bit
 * form, in parallel, when the first matrix of a quantised type asks for it. Used by one thread at a time.
 */
#include "engine/kernels/acts.h"
#include "base/mem.h"

hth_status hth_acts_create(hth_acts **ret_acts, size_t max_tokens, size_t max_cols, hth_error *err)
{
	uint64_t bytes;
	if (hth_mul_overflows((max_cols + HTH_A8_COLS - 1) / HTH_A8_COLS, max_tokens, &bytes) ||
	    hth_mul_overflows(bytes, sizeof(hth_a8), &bytes) || bytes > SIZE_MAX / 2)
		return hth_fail(err, HTH_TOO_LARGE, "activations of %zu tokens by %zu values do not fit in memory", max_tokens,
		                max_cols);
	hth_acts *acts = calloc(1, sizeof *acts);
	hth_a8 *a8 = aligned_alloc(64, bytes ? bytes : 64);
	if (acts == NULL || a8 == NULL) {
		free(acts);
		free(a8);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for activations of %zu tokens by %zu values", max_tokens,
		                max_cols);
	}
	*acts = (hth_acts){.max_tokens = max_tokens, .max_cols = max_cols, .a8 = a8};
	*ret_acts = acts;
	return HTH_OK;
}

void hth_acts_destroy(hth_acts *acts)
{
	if (acts == NULL)
		return;
	free(acts->a8);
	free(acts);
}

uint64_t hth_acts_plan_bytes(size_t max_tokens, size_t max_cols)
{
	return sizeof(hth_acts) + (uint64_t)((max_cols + HTH_A8_COLS - 1) / HTH_A8_COLS) * max_tokens * sizeof(hth_a8);
}

void hth_acts_set(hth_acts *acts, const float *x, size_t x_stride, size_t n_tokens, size_t cols)
{
	acts->x = x;
	acts->x_stride = x_stride;
	acts->n_tokens = HTH_MIN(n_tokens, acts->max_tokens);
	acts->cols = HTH_MIN(cols, acts->max_cols);
	acts->a8_ready = false;
}
