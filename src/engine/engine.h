/* engine.h - the engine as the rest of Hearth sees it: a model handle and a session handle.
 *
 * hth_model: one GGUF model, mapped and checked; tokenizer and chat template with it. Immutable, shareable.
 * hth_session: the state of up to n_seq sequences that are computed together: paged KV cache and scratch, all planned
 * at creation; no token allocates. One thread drives a session; kernels use its worker pool. The engine has no network,
 * no JSON, no database, and never prints.
 */
#ifndef HTH_ENGINE_H
#define HTH_ENGINE_H

#include "base/status.h"
#include "engine/gguf/gguf.h"
#include "engine/jinja/jinja.h"
#include "engine/kernels/threads.h"
#include "engine/quant/quant.h"
#include "engine/tokenizer/tokenizer.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct hth_model hth_model;
typedef struct hth_session hth_session;

/* fds as in hth_gguf_open. */
HTH_MUST_USE hth_status hth_model_open(hth_model **ret_model, const int *fds, size_t n_fds, const char *name,
                                       hth_error *err);
/* The same over a GGUF that is open already (say, from memory); it becomes the model's, closed on failure too. */
HTH_MUST_USE hth_status hth_model_open_gguf(hth_model **ret_model, hth_gguf *gguf, hth_error *err);
void hth_model_close(hth_model *model); /* takes NULL; after its sessions */

typedef struct hth_model_info {
	char name[128];        /* general.name, or "" */
	char architecture[64]; /* "llama" */
	char type[16];         /* what most of the weights are stored in: "Q4_K_M", "F16" */
	char license[64];
	uint64_t n_params, weight_bytes, file_bytes;
	uint64_t kv_bytes_per_token;   /* F16 cache, all layers */
	uint64_t read_bytes_per_token; /* weights that one decoded token reads (of a mixture: the experts it uses) */
	uint32_t n_layer, n_embd, n_head, n_head_kv, n_vocab, n_ctx_train, n_expert, n_expert_used;
	bool embedding; /* an encoder: hth_session_embed works, decode does not */
	bool has_template;
} hth_model_info;
const hth_model_info *hth_model_get_info(const hth_model *model);
const hth_gguf *hth_model_gguf(const hth_model *model);
const hth_tokenizer *hth_model_tokenizer(const hth_model *model);
/* Compiled tokenizer.chat_template; NULL when there is none (has_template false). */
const hth_jinja_template *hth_model_template(const hth_model *model);
/* Why the file's template could not be compiled (the model opens all the same); NULL when that is not the case. */
const hth_error *hth_model_template_error(const hth_model *model);

typedef enum hth_kv_type { HTH_KV_F16 = 0, HTH_KV_F32, HTH_KV_Q8_0 } hth_kv_type;
typedef struct hth_session_options {
	uint32_t n_seq;      /* sequences at once; 0: 1 */
	uint32_t n_ctx;      /* tokens that one sequence may hold; 0: the model's training context */
	uint32_t n_kv;       /* tokens of KV cache that all sequences share; 0: n_seq * n_ctx */
	uint32_t n_batch;    /* most tokens computed in one call; 0: 512, or an encoder's whole context */
	uint32_t n_outputs;  /* most tokens of one call that want logits (n_vocab floats each); 0: n_batch */
	uint32_t n_slice;    /* most tokens of a batch that is computed in slices; 0: none is */
	hth_kv_type kv_type; /* an encoder has no cache and ignores it */
} hth_session_options;
/* threads is borrowed until destroy. Fails with HTH_NO_MEMORY and the numbers when the plan cannot be allocated. */
HTH_MUST_USE hth_status hth_session_create(hth_session **ret_session, const hth_model *model, hth_threads *threads,
                                           const hth_session_options *options, hth_error *err);
void hth_session_destroy(hth_session *session);
/* What create would allocate for these options, in bytes (KV, scratch). */
uint64_t hth_session_plan_bytes(const hth_model *model, const hth_session_options *options);
uint32_t hth_session_n_ctx(const hth_session *session);
uint32_t hth_session_n_batch(const hth_session *session);
/* A batch of up to so many tokens gives each the logits, to the last bit, that it gets in any other such batch: 1 where kernels for one
 * token and for several round differently. */
uint32_t hth_session_exact_rows(const hth_session *session);
uint32_t hth_session_n_slice(const hth_session *session);
uint32_t hth_session_n_outputs(const hth_session *session);
uint32_t hth_session_n_seq(const hth_session *session);

/* One token to compute: appended to its sequence at the sequence's current length. */
typedef struct hth_batch_token {
	int32_t token;
	uint32_t seq;
	bool want_logits;
} hth_batch_token;
/* Computes n tokens (n <= n_batch) of any mix of sequences; tokens of one sequence in order. Logits of those that want
 * them are then at hth_session_logits. `cancel` (may be NULL) is looked at between layers: when it becomes true the
 * call returns HTH_CANCELLED and no sequence has changed. HTH_NO_MEMORY: the KV pages are used up (remove sequences
 * first). HTH_TOO_LARGE: a sequence would pass n_ctx. On any failure the sequences are as before. */
HTH_MUST_USE hth_status hth_session_decode(hth_session *session, const hth_batch_token *tokens, size_t n,
                                           const atomic_bool *cancel, hth_error *err);
/* A batch that is computed in slices of a few layers, between other calls: a long prompt's chunk beside running answers, whose
 * steps then wait for a slice and not for the chunk. One at a time, of at most n_slice tokens. begin is as decode, but computes nothing;
 * tokens is borrowed and the sequences in it are the batch's (share from them only) until run says done or fails, or drop. */
HTH_MUST_USE hth_status hth_session_slice_begin(hth_session *session, const hth_batch_token *tokens, size_t n, hth_error *err);
/* Computes the next n_layers (at least 1; UINT32_MAX: what is left). *ret_done: that was the last of it, the sequences have grown and
 * the logits are there. After a failure (HTH_CANCELLED among them) the batch is dropped. */
HTH_MUST_USE hth_status hth_session_slice_run(hth_session *session, uint32_t n_layers, const atomic_bool *cancel, bool *ret_done,
                                              hth_error *err);
/* Gives an open batch up, if there is one: its sequences are as before. */
void hth_session_slice_drop(hth_session *session);
/* n_vocab floats for the i-th token of the last decode (or batch in slices) that wanted logits, NULL past the last; the caller may
 * change them. They stay until the next decode, slice or embed. */
float *hth_session_logits(hth_session *session, size_t i);
uint32_t hth_session_length(const hth_session *session, uint32_t seq);
/* Cuts a sequence to its first `length` tokens (0: frees all its pages). */
void hth_session_truncate(hth_session *session, uint32_t seq, uint32_t length);
/* Makes dst (emptied first) share the first `length` tokens of src: pages are shared, copied when written. */
void hth_session_share(hth_session *session, uint32_t dst, uint32_t src, uint32_t length);
/* Whole pages of a sequence's KV cache, to be kept elsewhere and brought back: the i-th page holds tokens [32 i, 32 i + 32) of all
 * layers, in a layout that only this session knows. */
size_t hth_session_page_bytes(const hth_session *session);
const void *hth_session_page(const hth_session *session, uint32_t seq, uint32_t i);
/* Makes a sequence whose length is a multiple of 32 longer by 32 tokens, whose page the caller fills; NULL: no room. */
void *hth_session_page_append(hth_session *session, uint32_t seq);
/* KV tokens still free for new pages. */
uint32_t hth_session_free_tokens(const hth_session *session);

/* Embedding of one text's tokens (already with its special tokens): n_embd floats, pooled as the model says (mean, cls
 * or last; mean of the final hidden states for decoders), scaled to unit length. Uses no sequence's state. */
HTH_MUST_USE hth_status hth_session_embed(hth_session *session, const int32_t *tokens, size_t n, float *ret_embedding,
                                          const atomic_bool *cancel, hth_error *err);

#endif
