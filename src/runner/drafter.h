/* drafter.h - guesses at an answer's next tokens by a second, smaller model of the same vocabulary (the setting draft.MODEL).
 *
 * It follows the texts of running answers in sequences of its own and says what it would write. A guess costs time, so the scheduler
 * asks only when that pays (speculation.h); and each guess is held against what the answer's own model draws, so what is written is
 * exactly what would have been without.
 */
#ifndef HTH_RUNNER_DRAFTER_H
#define HTH_RUNNER_DRAFTER_H

#include "runner/compute.h"

typedef struct hth_drafter hth_drafter;
/* engine (borrowed): the smaller model's; its sequences are how many answers it follows at once. */
HTH_MUST_USE hth_status hth_drafter_create(hth_drafter **ret_drafter, const hth_compute *engine, hth_error *err);
void hth_drafter_destroy(hth_drafter *drafter); /* wipes; takes NULL */

/* A sequence for an answer whose text so far this is: one that holds most of it already. -1: all follow others. */
int hth_drafter_take(hth_drafter *drafter, const int32_t *tokens, uint32_t n_tokens);
void hth_drafter_release(hth_drafter *drafter, int seq);
/* Up to max guesses at what follows tokens. 0: it is not sure of the first, or has no memory; -1: it is still reading. */
int hth_drafter_guess(hth_drafter *drafter, int seq, const int32_t *tokens, uint32_t n_tokens, uint32_t max, int32_t *drafts);
/* What a guess costs, as measured; 0: not known yet. */
double hth_drafter_guess_ns(const hth_drafter *drafter);

#endif
