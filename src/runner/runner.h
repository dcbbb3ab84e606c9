/* runner.h - the daemon's side of a runner: one sandboxed child process per loaded model.
 *
 * The daemon opens the model's files, starts `hearth __runner` with them and one end of a socket pair, and speaks framed
 * messages (frames.h). The child locks itself in before it reads a byte of the model. A request that is submitted here gets
 * its steps (hth_request_start, _piece, _done, _fail) called on the loop's thread. When the child dies, every request it had
 * fails with HTH_GONE saying so, and `exited` is called; the owner then destroys the runner and may start another.
 */
#ifndef HTH_RUNNER_RUNNER_H
#define HTH_RUNNER_RUNNER_H

#include "loop/loop.h"
#include "request/request.h"

#include <sys/types.h>

typedef struct hth_runner hth_runner;

enum { HTH_CHAT_TEMPLATE_MAX = 64 << 10 };

/* What the child tells once its model is open. */
typedef struct hth_runner_info {
	char name[128], architecture[64], type[16], license[64];
	uint64_t n_params, weight_bytes, plan_bytes; /* plan: KV and scratch */
	uint32_t n_ctx, n_ctx_train, n_slots, n_embd, n_vocab, n_layer;
	bool embedding, has_template, tools, thinking;
	int landlock_abi;
	char kernels[16];
	/* its source (or the beginning of it): which marks the model writes shows there; "": none */
	char chat_template[HTH_CHAT_TEMPLATE_MAX];
} hth_runner_info;

typedef struct hth_runner_options {
	const char *program;      /* path of a binary that calls hth_runner_main for `__runner`; NULL: /proc/self/exe */
	const char *name;         /* the model's name, for messages */
	const char *const *files; /* the model's shards, in order */
	size_t n_files;
	const char *const *draft_files; /* a smaller model of the same vocabulary that guesses ahead for it */
	size_t n_draft_files;     /* 0: none */
	uint32_t n_slots;         /* requests at once; 0: chosen by the child from memory_bytes */
	uint32_t n_ctx;           /* per request; 0: the model's, as far as memory_bytes allows (plan.h) */
	uint32_t n_threads;       /* 0: one per core */
	int spill_fd;             /* a nameless file for the KV cache's overflow (spill.h), borrowed; read only when spill_bytes > 0 */
	uint64_t spill_bytes;     /* that it may grow to; the child can write no file beyond this size */
	uint64_t memory_bytes;    /* for weights, KV and scratch; also bounds the child's address space; 0: 80% of the machine, no bound */
} hth_runner_options;

typedef struct hth_runner_events {
	void (*ready)(void *ctx, hth_runner *runner);                           /* model open: info is valid */
	void (*progress)(void *ctx, hth_runner *runner, float fraction);        /* while loading; may be NULL */
	/* Once; also when loading failed (reason: why), and after hth_runner_stop (HTH_CANCELLED). */
	void (*exited)(void *ctx, hth_runner *runner, const hth_error *reason);
	void (*idle)(void *ctx, hth_runner *runner);                            /* its last request ended; may be NULL */
} hth_runner_events;

HTH_MUST_USE hth_status hth_runner_start(hth_runner **ret_runner, hth_loop *loop, const hth_runner_options *options,
                                         const hth_runner_events *events, void *ctx, hth_error *err);
/* Queues the request in the child (also before `ready`). Takes a reference and sets request->cancel. The request must be ROUTED;
 * this moves it to RUNNING. HTH_BUSY when 1,024 wait already or the child is still taking in others; HTH_TOO_LARGE over 64 MiB;
 * HTH_GONE when the runner is ending. After a failure the request is the caller's to end.
 *
 * What comes to the sink: CHAT, COMPLETION: pieces. EMBEDDING: one embedding. TOKENIZE: one row of tokens, then with
 * input.with_pieces one piece per token, the vocabulary's spelling. DETOKENIZE, RENDER: the text in pieces of up to 64 KiB. */
HTH_MUST_USE hth_status hth_runner_submit(hth_runner *runner, hth_request *request, hth_error *err);
const hth_runner_info *hth_runner_get_info(const hth_runner *runner); /* NULL until ready */
const char *hth_runner_name(const hth_runner *runner);
pid_t hth_runner_pid(const hth_runner *runner);
size_t hth_runner_active(const hth_runner *runner); /* requests that it has */
uint64_t hth_runner_memory_bytes(const hth_runner *runner);  /* resident, from /proc; 0 when gone */
/* Asks the child to exit and kills it if it has not within 2 s; its requests are cancelled; `exited` follows. */
void hth_runner_stop(hth_runner *runner);
/* Frees; kills the child when it is still there. Its requests fail with HTH_GONE; no event follows. May be called from any
 * callback of the runner or of a request that it has. NULL does nothing. */
void hth_runner_destroy(hth_runner *runner);

/* The child's main: `hearth __runner ...` as hth_runner_start calls it; does not return while the daemon is there. */
int hth_runner_main(int argc, char **argv);

#endif
