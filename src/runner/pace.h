/* pace.h - how many prompt tokens are computed beside running answers, learned from how long steps take.
 *
 * Everybody who is being answered waits for the step's end, so a newcomer's prompt is cut so that others' time between
 * tokens stays under twice what it would be without it. Two ways, and the one that gets the prompt done sooner is taken:
 *  - mixed: a chunk rides along in every step, as long as fits into that;
 *  - sliced: a larger chunk, computed by itself a few layers at a time after each of the answers' steps. Where one row more
 *    than one is dear (one answer is a product with a vector, two rows need the matrix kernels), only this keeps the promise.
 * A burst is when newcomers, and answers that have only just begun, outnumber the other answers. Then the promise would hold up most
 * for the sake of few: the prompts are computed at full speed, with the answers' tokens riding along, if all of it is done within a
 * second or so, or within four where nobody is beyond an answer's first words and most have not even those. A longer burst is cut as
 * above, and the usual is what a step will take once all of them are being answered.
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
} hth_pace;

/* What a step has to do with. */
typedef struct hth_pace_room {
	size_t n_decoding;  /* rows that belong to answers */
	size_t n_begun;     /* of those, of answers that have only just begun */
	size_t n_newcomers; /* prompts that wait to be computed */
	size_t n_waiting;   /* tokens that they still have to compute */
	size_t n_batch, n_slice; /* most rows of a step, and of a chunk in slices */
	uint32_t n_layer;
} hth_pace_room;
/* At most one is not 0. */
typedef struct hth_pace_chunk {
	size_t mixed, sliced; /* rows */
} hth_pace_chunk;

/* A step of so many rows took so long. */
void hth_pace_note(hth_pace *pace, size_t rows, uint64_t ns);
/* What a step of so many rows will take; 0: no idea yet. */
uint64_t hth_pace_expect_ns(const hth_pace *pace, size_t rows);
/* Prompt tokens to be computed next. */
hth_pace_chunk hth_pace_choose(const hth_pace *pace, const hth_pace_room *room);
/* How many layers of a sliced chunk of so many rows fit after a step: at least 1, all without answers that wait. */
uint32_t hth_pace_layers(const hth_pace *pace, const hth_pace_room *room, size_t rows);

#endif
