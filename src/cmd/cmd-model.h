/* cmd-model.h - a model opened by a command itself, without a node: tokenize, perplexity, embed, show, quantize, bench.
 *
 * Model files are untrusted input, so the order is always the same: find and open the files, lock the process in, and only then read
 * a byte of them. After hth_local_lock_in nothing else can be opened, and the program leaves with _exit.
 */
#ifndef HTH_CMD_MODEL_H
#define HTH_CMD_MODEL_H

#include "catalog/catalog.h"
#include "cmd/cmd.h"
#include "engine/engine.h"

typedef struct hth_local_model {
	hth_catalog_model files;
	int fds[HTH_CATALOG_SHARDS_MAX];
	size_t n_fds;
} hth_local_model;

/* What was typed (a name or a file), resolved and opened. close_files closes and frees; it may be called at any time after open, and
 * on a zeroed one. */
HTH_MUST_USE hth_status hth_local_open(const hth_invocation *in, const char *name_or_file, hth_local_model *ret_model, hth_error *err);
void hth_local_close(hth_local_model *model);
/* Locks this process in, keeping the model's descriptors (model may be NULL) and `also`, which may be written (-1: none). */
HTH_MUST_USE hth_status hth_local_lock_in(const hth_local_model *model, int also, hth_error *err);
bool hth_local_is_locked_in(void);
/* The engine's handle, after lock_in. */
HTH_MUST_USE hth_status hth_local_load(const hth_local_model *model, hth_model **ret_model, hth_error *err);
/* Only the metadata and the vocabulary: for files that may have no weights. gguf must outlive the tokenizer. */
HTH_MUST_USE hth_status hth_local_load_vocabulary(const hth_local_model *model, hth_gguf **ret_gguf, hth_tokenizer **ret_tokenizer,
                                                  hth_error *err);

enum { HTH_LOCAL_TEXT_MAX = 64 << 20, HTH_LOCAL_TOKENS_MAX = 16 << 20 };

#endif
