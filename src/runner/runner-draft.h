/* runner-draft.h - opens the smaller model that guesses ahead for another (the setting draft.MODEL). */
#ifndef HTH_RUNNER_RUNNER_DRAFT_H
#define HTH_RUNNER_RUNNER_DRAFT_H

#include "runner/plan.h"
#include "runner/runner-engine.h"

/* Opens it from fds (closed afterwards) and checks that its tokens are those of `model`: HTH_INVALID says which is not. */
HTH_MUST_USE hth_status hth_runner_draft_open(hth_runner_engine *draft, const hth_model *model, const int *fds, size_t n_fds,
                                              hth_error *err);
/* What is to be kept back for it of the memory that both models have: its weights, and a part of the rest for its KV cache. */
uint64_t hth_runner_draft_room(const hth_runner_engine *draft, const hth_model *model, uint64_t memory_bytes);
/* Its session: one sequence for each of the plan's slots, within room bytes (0: no limit) beside its weights. */
HTH_MUST_USE hth_status hth_runner_draft_start(hth_runner_engine *draft, hth_threads *threads, const hth_plan *plan, uint64_t room,
                                               hth_error *err);

#endif
