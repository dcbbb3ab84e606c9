/* acts.c - activations and where their integer forms are kept. All memory is allocated at create; kernels.c makes those
 * forms, in parallel, when the first matrix that reads one asks for it. Used by one thread at a time.
 */
#include "engine/kernels/acts.h"
#include "base/mem.h"

static size_t blocks(size_t cols, size_t by) { return cols / by + (cols % by != 0); }

/* Of either form. */
static const size_t line_bytes = HTH_MAX(sizeof(hth_a8_line), sizeof(hth_fixed_line));

/* With more tokens products select more than a few. */
static size_t arranged_tokens(size_t max_tokens, size_t one_in) { return HTH_MIN(max_tokens, FEW_TOKENS * one_in); }
/* Of each form: at most 20 times what lines take. */
static size_t arranged_bytes(size_t max_arranged, size_t max_cols) { return blocks(max_cols, 512) * 2 * HTH_ARRANGED_MAX * max_arranged; }

hth_status hth_acts_create(hth_acts **ret_acts, size_t max_tokens, size_t max_cols, size_t one_in, hth_error *err)
{
	uint64_t bytes;
	size_t max_arranged = arranged_tokens(max_tokens, one_in);
	if (max_tokens > SIZE_MAX / 64 || hth_mul_overflows(blocks(max_cols, 32), acts_group_lines(max_tokens), &bytes) ||
	    hth_mul_overflows(bytes, line_bytes, &bytes) || bytes > SIZE_MAX / 64)
		return hth_fail(err, HTH_TOO_LARGE, "activations of %zu tokens by %zu values do not fit in memory", max_tokens,
		                max_cols);
	hth_acts *acts = calloc(1, sizeof *acts);
	size_t room = arranged_bytes(max_arranged, max_cols), room_of_one = arranged_bytes(HTH_MIN(max_arranged, (size_t)1), max_cols);
	hth_a8_line *lines = hth_alloc_large(bytes);
	char *arranged = hth_alloc_large(2 * room + room_of_one);
	if (acts == NULL || lines == NULL || arranged == NULL) {
		free(acts);
		free(lines);
		free(arranged);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for activations of %zu tokens by %zu values", max_tokens,
		                max_cols);
	}
	*acts = (hth_acts){.max_tokens = max_tokens, .max_cols = max_cols, .max_arranged = max_arranged, .lines = lines,
	                   .arranged = {arranged, arranged + room, arranged + 2 * room}};
	*ret_acts = acts;
	return HTH_OK;
}

void hth_acts_destroy(hth_acts *acts)
{
	if (acts == NULL)
		return;
	free(acts->lines);
	free(acts->arranged[0]);
	free(acts);
}

uint64_t hth_acts_plan_bytes(size_t max_tokens, size_t max_cols, size_t one_in)
{
	size_t arranged = arranged_tokens(max_tokens, one_in);
	return sizeof(hth_acts) + (uint64_t)blocks(max_cols, 32) * acts_group_lines(max_tokens) * line_bytes +
	       2 * (uint64_t)arranged_bytes(arranged, max_cols) + arranged_bytes(HTH_MIN(arranged, (size_t)1), max_cols);
}

void hth_acts_set(hth_acts *acts, const float *x, size_t x_stride, size_t n_tokens, size_t cols)
{
	acts->x = x;
	acts->gate = NULL;
	acts->x_stride = x_stride;
	acts->n_tokens = HTH_MIN(n_tokens, acts->max_tokens);
	acts->cols = HTH_MIN(cols, acts->max_cols);
	acts->lines_ready = acts->fixed_ready = false;
	memset(acts->arranged_ready, 0, sizeof acts->arranged_ready);
}

void hth_acts_set_gated(hth_acts *acts, const float *gate, const float *up, hth_gate_fn *act, size_t n_tokens, size_t cols)
{
	hth_acts_set(acts, up, cols, n_tokens, cols);
	acts->gate = gate;
	acts->act = act;
}
