/* runner-engine.h - the engine behind the scheduler's seam: a session and its workers as an hth_compute. */
#ifndef HTH_RUNNER_RUNNER_ENGINE_H
#define HTH_RUNNER_RUNNER_ENGINE_H

#include "runner/compute.h"

typedef struct hth_runner_engine {
	const hth_model *model;
	hth_threads *threads;
	hth_session *session;
	struct hth_spill *spill; /* NULL: none */
} hth_runner_engine;

/* engine is borrowed by the table. */
hth_compute hth_runner_engine_compute(hth_runner_engine *engine);

#endif
