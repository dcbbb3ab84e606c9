/* chat.h - a model that answers: through the node when one runs, else in a runner of this process's own. `hearth run` and
 * `hearth bench` speak to this and do not care which it is.
 *
 * Blocking, main thread. Asking can be cancelled: `cancel` becomes true (a signal handler sets it) and the call returns
 * HTH_CANCELLED within a tenth of a second, with the model's slot freed.
 */
#ifndef HTH_CMD_CHAT_H
#define HTH_CMD_CHAT_H

#include "base/sampling.h"
#include "catalog/catalog.h"
#include "cmd/cmd.h"

typedef struct hth_chat hth_chat;

/* What one answer is asked with. Sampling values that were not given are the model's or the node's own. */
typedef struct hth_chat_params {
	int64_t max_tokens; /* -1: as many as fit */
	bool temperature_given, top_p_given, top_k_given, min_p_given, repeat_given, seed_given;
	double temperature, top_p, min_p, repeat_penalty;
	int64_t top_k, seed;
	bool raw; /* the text is continued as it stands, without a chat template */
} hth_chat_params;

typedef struct hth_chat_stats {
	uint32_t prompt_tokens, cached_tokens, answer_tokens;
	double first_s;  /* until the first word */
	double answer_s; /* from the first word to the last */
	bool cut;        /* the answer ended because max_tokens or the context was reached */
} hth_chat_stats;

/* thinking: this text is the model's reasoning, not its answer. */
typedef void (*hth_chat_text_fn)(void *ctx, const char *text, size_t len, bool thinking);

/* model is a name, a file, or NULL for the setting's. A file is always opened here, not by the node. own: never ask the node. */
HTH_MUST_USE hth_status hth_chat_open(hth_chat **ret_chat, const hth_invocation *in, const char *model, bool own,
                                      const volatile sig_atomic_t *cancel, hth_error *err);
void hth_chat_close(hth_chat *chat);
const char *hth_chat_model(const hth_chat *chat);
/* "http://127.0.0.1:4327", or "here". */
const char *hth_chat_where(const hth_chat *chat);

/* messages: an array of {"role","content"}, borrowed; with params->raw a string instead. Stats are filled as far as they are known,
 * on failure too. HTH_TOO_LARGE: the messages do not fit the context (both numbers are in the message). */
HTH_MUST_USE hth_status hth_chat_ask(hth_chat *chat, const json_t *messages, const hth_chat_params *params, hth_chat_text_fn fn, void *ctx,
                                     hth_chat_stats *ret_stats, hth_error *err);

/* The two ways (chat.c chooses): a table of functions over the state that each keeps. */
typedef struct hth_chat_way {
	void (*close)(void *state);
	hth_status (*ask)(void *state, const json_t *messages, const hth_chat_params *params, hth_chat_text_fn fn, void *ctx,
	                  hth_chat_stats *stats, hth_error *err);
} hth_chat_way;
/* HTH_GONE: no node answers there. HTH_NOT_FOUND: it does, and has no such model. */
HTH_MUST_USE hth_status hth_chat_node_open(const hth_invocation *in, const char *model, const volatile sig_atomic_t *cancel,
                                           const hth_chat_way **ret_way, void **ret_state, hth_error *err);
/* Starts the runner and waits until the model is loaded. model is borrowed for the call. */
HTH_MUST_USE hth_status hth_chat_own_open(const hth_invocation *in, const hth_catalog_model *model, const volatile sig_atomic_t *cancel,
                                          const hth_chat_way **ret_way, void **ret_state, hth_error *err);

#endif
