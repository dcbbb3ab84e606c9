/* fake-runner.h - runner.h without a process: tests say how models load, answer and die. Linked instead of src/runner. */
#ifndef HTH_TESTS_FAKE_RUNNER_H
#define HTH_TESTS_FAKE_RUNNER_H

#include "runner/runner.h"

enum { FAKE_MAX = 64 };

typedef struct fake_settings {
	unsigned load_ms;        /* until ready */
	unsigned piece_ms;       /* between pieces */
	unsigned n_pieces;       /* of an answer without max_tokens */
	unsigned n_slots;        /* 0: 2 */
	uint64_t plan_bytes;     /* what the model says it uses besides weight_bytes */
	uint64_t weight_bytes;
	bool load_fails;
	hth_status load_status;
	bool start_fails;
	const char *text;        /* of a chat's answer, until the conversation has a tool's result; NULL: words */
} fake_settings;
extern fake_settings fake;

extern unsigned fake_started, fake_destroyed, fake_stopped; /* since the program began */
extern uint64_t fake_last_memory;                           /* memory_bytes of the last start */
hth_runner *fake_find(const char *name);                    /* the live runner of that model, NULL: none */
void fake_kill(hth_runner *runner);                         /* as kill -9 does */

#endif
