/* pass.h - one forward pass over the tokens of a batch, and the blocks that architectures write it with.
 *
 * A pass holds the rows of its batch (one per token) in a workspace that the session planned. Blocks read and write the
 * workspace's named buffers; each says which. Rows are ordered by sequence: a `run` is consecutive tokens of one
 * sequence. In the last layer, once keys and values are stored, only rows whose result somebody wants go on
 * (hth_pass_attention narrows x and att to them), so a prompt's middle does not pay for the last layer or the
 * vocabulary.
 *
 *   x  [rows][n_embd]           the residual stream
 *   h  [rows][n_embd]           normed input of a part, then that part's output
 *   q  [rows][n_head][dim], k, v [rows][n_head_kv][dim], att [rows][n_head][dim]
 *   gate, up [rows][n_ff]; with experts [rows * n_expert_used][n_ff_exp], and `pair` [rows * n_expert_used][n_embd]
 */
#ifndef HTH_ENGINE_MODEL_PASS_H
#define HTH_ENGINE_MODEL_PASS_H

#include "engine/model/kv-pages.h"
#include "engine/model/model-weights.h"

typedef struct hth_run {
	uint32_t seq, row, n, pos; /* rows [row, row + n) are positions [pos, pos + n) */
	uint32_t end;              /* the sequence's length after this batch: what an encoder's rows see */
} hth_run;

typedef struct hth_pass {
	const hth_model *model;
	hth_threads *threads;
	hth_kv *kv;
	const atomic_bool *cancel; /* may be NULL */
	bool hidden_only;          /* the caller wants final hidden states in h, not logits */
	bool rope_long;            /* this session's context is past the original one of a longrope model */
	uint32_t layer;
	/* A pass may be computed in slices: layers [first_layer, stop_layer) at a time. Between them only x, the rope tables and the rows'
	 * description are kept, so every other buffer may serve another pass meanwhile. */
	uint32_t first_layer, stop_layer;

	size_t n_rows;         /* rows of x now */
	const int32_t *tokens; /* one per row */
	const hth_run *runs;
	size_t n_runs;
	const uint32_t *outputs; /* rows that are wanted, rising */
	size_t n_outputs;
	const hth_run *output_runs; /* the same as runs of the narrowed pass */
	size_t n_output_runs;

	float *x, *h, *q, *k, *v, *att, *gate, *up;
	float *rope_table[2]; /* [rows][n_rot]: model->rope, model->rope_local */
	float *logits;        /* [n_outputs][n_vocab] */
	float *scratch;       /* attention's: scratch_len floats per worker */
	size_t scratch_len;
	float *partial; /* attention's: results of a sequence's stretches before they are merged */
	hth_acts *acts;
	hth_acts *ff_acts; /* gated values, where a layer gates in tiles (else NULL) */

	/* experts (NULL without) */
	float *router, *pair, *pair_weight, *aside; /* aside: [rows][n_embd], with a shared expert */
	uint32_t *pair_expert, *pair_row, *pair_slot, *pair_iota, *expert_first;
	hth_matmul *expert_jobs;
	hth_acts *pair_acts;
} hth_pass;

typedef enum hth_activation { HTH_SILU, HTH_GELU, HTH_GELU_ERF, HTH_SWIGLU_OAI } hth_activation;

/* Starts layer i; NULL when the pass was cancelled, or its slice ends here. The loop over layers begins at first_layer. */
const hth_layer *hth_pass_layer(hth_pass *p, uint32_t i);
/* tokens -> x, times params.embd_scale. Also fills the rope tables. Nothing when the pass goes on from an earlier slice. */
void hth_pass_embed(hth_pass *p);
/* rms_norm(x) -> h. */
void hth_pass_rms_norm(hth_pass *p, const float *weight);
void hth_pass_layer_norm(hth_pass *p, const float *weight, const float *bias); /* layer_norm(x) -> x and h */
/* h -> q, k, v with biases. */
void hth_pass_qkv(hth_pass *p, const hth_layer *l);
/* Per-head RMS norms of q and k where the layer has them, rope where it rotates, then k and v into the cache (but for
 * hth_attention_stores). */
void hth_pass_rope_and_store(hth_pass *p, const hth_layer *l);
/* Whether hth_pass_attention stores keys and values, not the block before it: each sequence has one token, and all of them go on. Then who
 * reads a head's last page has written it: a key lies in as many cache lines as it has values, and they would all change cores. */
bool hth_attention_stores(const hth_pass *p);
/* Attention of q over the cache -> att; narrows to the wanted rows in the last layer. Then att x o -> h with bias. */
void hth_pass_attention(hth_pass *p, const hth_layer *l);
/* What attention needs of scratch (per worker) and partial, in floats. */
size_t hth_attention_scratch_len(const hth_params *params);
size_t hth_attention_partial_len(const hth_params *params, unsigned n_workers);
/* Whether a row's attention is to the last bit the same whatever else the batch holds: no task is ever cut into stretches. */
bool hth_attention_is_exact(const hth_params *params, unsigned n_workers);
/* rms_norm(h) -> h (norms after a part, as gemma has them). */
void hth_pass_post_norm(hth_pass *p, const float *weight);
/* x += residual_scale * h. */
void hth_pass_residual(hth_pass *p);
/* h -> h: down(act(gate(h)) * up(h)), or down(act(up(h))) where the layer has no gate. */
void hth_pass_ffn(hth_pass *p, const hth_layer *l, hth_activation act);
/* Whether the layer's gate and up are multiplied together where tokens are many, into ff_acts. */
bool hth_layer_gates_in_tiles(const hth_layer *l);

typedef struct hth_experts_options {
	hth_activation act;
	bool softmax_after; /* softmax over the chosen experts' scores (gpt-oss), not over all before choosing */
	bool normalise;     /* the chosen experts' weights sum to one */
} hth_experts_options;
/* h -> h: the weighted sum of each row's best experts, plus the shared expert where the layer has one. */
void hth_pass_experts(hth_pass *p, const hth_layer *l, const hth_experts_options *options);

/* x -> norm -> logits (params.logit_scale, logit_softcap), or -> h when the pass wants hidden states. */
void hth_pass_output(hth_pass *p);

/* For blocks: runs fn over rows [0, n) in pieces, on the pool when that pays. */
typedef void hth_rows_fn(hth_pass *p, const void *arg, size_t first, size_t n);
void hth_pass_rows(hth_pass *p, size_t n, hth_rows_fn *fn, const void *arg);
/* What is read after a run: who waits for its end, or for what follows to begin, asks memory for it. */
typedef enum hth_then {
	HTH_THEN_UNKNOWN,
	HTH_THEN_ATTENTION,
	HTH_THEN_ATTENTION_OUT,
	HTH_THEN_FFN,
	HTH_THEN_FFN_DOWN,
	HTH_THEN_LAYER, /* the next one, or what comes after the last */
} hth_then;
void hth_pass_expect(hth_pass *p, hth_then then);
/* Products as one run. */
void hth_pass_multiply(hth_pass *p, const hth_matmul *jobs, size_t n_jobs, hth_then then);
/* One product of rows x (n of cols floats) -> y (w's rows floats each) */
void hth_pass_matmul(hth_pass *p, const hth_matrix *w, const float *x, size_t n, float *y, hth_then then);
/* The first keys and values that a worker reads in attention of this layer: two extents, or none; how many. */
size_t hth_attention_begins(hth_pass *p, const hth_layer *l, unsigned worker, hth_extent *ret_extents);
/* gate = act(gate + gate_b) * (up + up_b) for one row; without gate (NULL): up = act(up + up_b). Biases may be NULL. */
void hth_activate(hth_activation act, float *gate, float *up, const float *gate_b, const float *up_b, size_t n);

#endif
