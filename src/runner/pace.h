/* pace.h - how many prompt tokens may ride along in one step, learned from how long steps take.
 *
 * Everybody who is being answered waits for the step's end, so a newcomer's prompt is cut into chunks that keep a step under
 * twice what it would take without the chunk. The cost of a step is taken as a + c * rows for the small steps that
 * matter there (one token of one sequence is a row), fitted by least squares that forget.
 */
#ifndef HTH_RUNNER_PACE_H
#define HTH_RUNNER_PACE_H

#include <stddef.h>
#include <stdint.h>

typedef struct hth_pace {
	double w, x, y, xx, xy; /* weighted sums over small steps; y in ns */
	double big_ns_per_row;  /* 0: no big step seen yet */
} hth_pace;

/* A step of so many rows took so long. */
void hth_pace_note(hth_pace *pace, size_t rows, uint64_t ns);
/* What a step of so many rows will take; 0: no idea yet. */
uint64_t hth_pace_expect_ns(const hth_pace *pace, size_t rows);
/* Prompt tokens for a step in which n_decoding answers wait for their next token. */
size_t hth_pace_chunk(const hth_pace *pace, size_t n_decoding, size_t n_batch);

#endif
