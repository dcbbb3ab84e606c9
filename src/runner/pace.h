/* pace.h - how many prompt tokens may ride along in one step, learned from how long steps take.
 *
 * Everybody who is being answered waits for the step's end, so a newcomer's prompt is cut into chunks that keep others' time
 * between tokens under twice what it would be without it:
 *  - in every step, when a useful chunk fits into that;
 *  - else in every m-th step (where one row more than one is dear, a larger chunk now and then costs less than a small one
 *    always): the mean stays under twice, and no single pause is over four times the usual or 150 ms.
 * When more newcomers than answers are there (a burst), the usual is what a step will take once all of them are being answered.
 *
 * The cost of a step is learned for sizes of 1, 2, 3 to 4, 5 to 8, ... rows (one token of one sequence is a row) and
 * interpolated between them, because kernels for few and for many rows differ.
 */
#ifndef HTH_RUNNER_PACE_H
#define HTH_RUNNER_PACE_H

#include <stddef.h>
#include <stdint.h>

enum { HTH_PACE_SIZES = 12 };
typedef struct hth_pace {
	struct {
		double rows, ns; /* moving means of the steps of this size; rows 0: none yet */
	} sizes[HTH_PACE_SIZES];
	unsigned skip; /* steps until the next chunk */
} hth_pace;

/* A step of so many rows took so long. */
void hth_pace_note(hth_pace *pace, size_t rows, uint64_t ns);
/* What a step of so many rows will take; 0: no idea yet. */
uint64_t hth_pace_expect_ns(const hth_pace *pace, size_t rows);
/* Prompt tokens for a step in which n_decoding rows belong to answers, while n_newcomers prompts wait to be computed. Call once a
 * step. */
size_t hth_pace_chunk(hth_pace *pace, size_t n_decoding, size_t n_newcomers, size_t n_batch);

#endif
