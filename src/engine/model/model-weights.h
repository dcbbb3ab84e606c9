/* model-weights.h - a model opened: its parameters, and every tensor under the name that a forward pass calls it by.
 *
 * An architecture's load function asks for the tensors it needs with the shapes that its parameters imply; a tensor
 * that is missing or shaped otherwise fails the open with its name and both shapes. After that a forward pass may use
 * any pointer here without looking. Weight data stays mapped and is borrowed from the GGUF.
 */
#ifndef HTH_ENGINE_MODEL_WEIGHTS_H
#define HTH_ENGINE_MODEL_WEIGHTS_H

#include "engine/engine.h"
#include "engine/kernels/kernels.h"
#include "engine/model/model-params.h"
#include "engine/model/rope.h"

/* Vectors are F32; NULL where the model has none. A matrix that the model lacks has rows == 0. */
typedef struct hth_layer {
	uint32_t window;      /* tokens seen, itself included; 0: all */
	const hth_rope *rope; /* NULL: this layer does not rotate */

	const float *attn_norm, *attn_norm_b; /* before attention (bert: after, with its residual) */
	hth_matrix q, k, v, o;
	const float *q_b, *k_b, *v_b, *o_b;
	const float *q_norm, *k_norm; /* head_dim each */
	const float *sinks;           /* n_head: a score without a value */
	const float *attn_post_norm;  /* on attention's output, before the residual */

	const float *ffn_norm, *ffn_norm_b;
	hth_matrix gate, up, down;
	const float *gate_b, *up_b, *down_b;
	const float *ffn_post_norm;

	hth_matrix router; /* n_expert x n_embd */
	const float *router_b;
	hth_matrix *gate_exps, *up_exps, *down_exps;        /* n_expert each; NULL without experts */
	const float *gate_exps_b, *up_exps_b, *down_exps_b; /* n_expert rows */
	hth_matrix shexp_gate, shexp_up, shexp_down;        /* the expert that sees every token */
	const float *shexp_router;                          /* n_embd: its sigmoid gate */
} hth_layer;

/* Rows looked up by index: token embeddings, positions. */
typedef struct hth_table {
	const hth_type_traits *traits;
	const unsigned char *data;
	size_t rows, cols, row_bytes;
} hth_table;
/* row < rows. */
void hth_table_row(const hth_table *table, size_t row, float *ret_row);

typedef struct hth_arch hth_arch;
struct hth_model {
	hth_gguf *gguf;
	hth_tokenizer *tokenizer;
	hth_jinja_template *chat_template;
	hth_error template_error; /* why chat_template is NULL although the file has one */
	const hth_arch *arch;
	hth_params params;
	hth_model_info info;

	hth_table token_embd;
	hth_table position_embd; /* rows 0: none */
	const float *type_embd;  /* n_embd: token type 0 */
	const float *embd_norm, *embd_norm_b;
	const float *output_norm;
	hth_matrix output; /* n_vocab x n_embd; the token embeddings again where tied */
	hth_layer *layers;
	hth_rope rope, rope_local; /* local: sliding-window layers */
	hth_rope rope_long;        /* longrope past its original context; n_rot 0: none */

	float **owned; /* vectors that had to be converted to F32 */
	size_t n_owned, cap_owned;
	uint64_t fixed_read_bytes, expert_read_bytes; /* per token: all but experts; all experts */
};

/* What load functions work with. Tensor names are printf formats with the layer's number. */
typedef struct hth_loader {
	hth_model *model;
	hth_params_reader reader;
	hth_error *err;
} hth_loader;

typedef enum hth_need { HTH_REQUIRED, HTH_OPTIONAL } hth_need;
/* A vector of n floats -> *ret (NULL when optional and absent). */
HTH_MUST_USE hth_status hth_load_vector(hth_loader *ld, const float **ret, hth_need need, size_t n, const char *fmt,
                                        ...) HTH_PRINTF(5, 6);
/* A matrix of rows x cols, untouched (rows 0) when optional and absent. */
HTH_MUST_USE hth_status hth_load_matrix(hth_loader *ld, hth_matrix *ret, hth_need need, size_t rows, size_t cols,
                                        const char *fmt, ...) HTH_PRINTF(6, 7);
HTH_MUST_USE hth_status hth_load_table(hth_loader *ld, hth_table *ret, size_t rows, size_t cols, const char *name);
/* One row of a table as a vector that the model owns. */
HTH_MUST_USE hth_status hth_load_owned_row(hth_loader *ld, const hth_table *table, size_t row, const float **ret);

/* Parts that most architectures share. */
/* token_embd, output_norm, output (tied to token_embd when absent). */
HTH_MUST_USE hth_status hth_load_embeddings(hth_loader *ld);
/* rope frequencies from the parameters and the factor tensors, for every layer; layers with a window use the local
 * ones. */
HTH_MUST_USE hth_status hth_load_rope(hth_loader *ld);
/* q, k, v (or one fused attn_qkv) and o with their optional biases. */
HTH_MUST_USE hth_status hth_load_attention(hth_loader *ld, uint32_t i);
/* gate, up, down with optional biases; an `up` of twice the rows holds gate and up. need_gate false: no gate is fine.
 */
HTH_MUST_USE hth_status hth_load_ffn(hth_loader *ld, uint32_t i, bool need_gate);
/* router and experts of n_ff each, stacked, fused or one tensor each, with optional biases. */
HTH_MUST_USE hth_status hth_load_experts(hth_loader *ld, uint32_t i, size_t n_ff);
/* The shared expert of n_ff. */
HTH_MUST_USE hth_status hth_load_shared_expert(hth_loader *ld, uint32_t i, size_t n_ff);
/* Makes every layer whose number i has i % period < period - 1 a sliding-window layer, or, when the file says which
 * (attention.sliding_window_pattern as an array), those. period 0 or window 0: none. */
HTH_MUST_USE hth_status hth_load_windows(hth_loader *ld, uint32_t period);

#endif
