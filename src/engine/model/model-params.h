/* model-params.h - a model's hyper-parameters: read from metadata, checked once, then trusted.
 *
 * Every number that later sizes an allocation, divides, or bounds a loop is checked here against the limits below and
 * against the other numbers. Tensors are checked against these in model-weights.c, so nothing after opening a model
 * looks at metadata again.
 */
#ifndef HTH_ENGINE_MODEL_PARAMS_H
#define HTH_ENGINE_MODEL_PARAMS_H

#include "engine/gguf/gguf.h"

enum {
	HTH_MAX_LAYERS = 1024,
	HTH_MAX_EMBD = 1 << 18,
	HTH_MAX_HEADS = 4096,
	HTH_MAX_HEAD_DIM = 1024,
	HTH_MAX_FF = 1 << 21,
	HTH_MAX_EXPERTS = 1024,
	HTH_MAX_CTX = 1 << 27,
};

/* Which elements of a head RoPE rotates together: neighbours (0,1)(2,3).. as in the RoPE paper and llama's files, or
 * the two halves (0,n/2)(1,n/2+1).. as in GPT-NeoX and most others. */
typedef enum hth_rope_style { HTH_ROPE_PAIRS, HTH_ROPE_HALVES } hth_rope_style;
typedef enum hth_rope_scaling {
	HTH_SCALING_NONE,
	HTH_SCALING_LINEAR,
	HTH_SCALING_YARN
} hth_rope_scaling;
typedef enum hth_pooling { HTH_POOL_NONE, HTH_POOL_MEAN, HTH_POOL_CLS, HTH_POOL_LAST } hth_pooling;

typedef struct hth_params {
	uint32_t n_vocab, n_ctx_train, n_embd, n_layer;
	uint32_t n_head, n_head_kv, n_group; /* n_group = n_head / n_head_kv: query heads that share a KV head */
	uint32_t head_dim;
	uint32_t n_ff, n_ff_exp, n_ff_shexp; /* 0 where the model has no such part */
	uint32_t n_expert, n_expert_used;
	float norm_eps;

	hth_rope_style rope_style;
	uint32_t n_rot;                   /* elements of a head that are rotated; even, <= head_dim; 0: no rope */
	float rope_base, rope_base_local; /* local: layers with a sliding window */
	hth_rope_scaling rope_scaling;
	float rope_factor, rope_factor_local; /* how many times longer than trained: positions are divided by it */
	float rope_attn_factor;               /* multiplies cos and sin */
	uint32_t rope_ctx_orig;               /* context before scaling */
	float yarn_ext_factor, yarn_beta_fast, yarn_beta_slow, yarn_log_mul;

	float attn_scale;    /* q.k is multiplied by this */
	float attn_softcap;  /* 0: none */
	float logit_softcap; /* 0: none */
	uint32_t window;     /* tokens that a sliding-window layer sees, itself included; 0: no such layers */
	float embd_scale, residual_scale, logit_scale; /* 1: as they are; logits are multiplied by logit_scale */
	float attn_temp_scale; /* 0: off. Queries far into the context are scaled up: log(floor(pos/len)+1)*scale+1 */
	uint32_t attn_temp_length;
	bool causal;
	hth_pooling pooling;
} hth_params;

/* Where the architecture's keys are read: "ARCH.suffix". Missing keys take the default; wrong ones fail with the key,
 * its value and what it should be. */
typedef struct hth_params_reader {
	const hth_gguf *gguf;
	const char *arch;
	hth_error *err;
} hth_params_reader;
HTH_MUST_USE hth_status hth_params_u32(const hth_params_reader *r, const char *suffix, bool required, uint32_t min,
                                       uint32_t max, uint32_t *value);
HTH_MUST_USE hth_status hth_params_f32(const hth_params_reader *r, const char *suffix, bool required, float min,
                                       float max, float *value);
HTH_MUST_USE hth_status hth_params_bool(const hth_params_reader *r, const char *suffix, bool *value);
/* Whether ARCH.suffix is there. */
bool hth_params_has(const hth_params_reader *r, const char *suffix);

/* What all architectures share. n_vocab is the tokenizer's size. norm_key: "attention.layer_norm_rms_epsilon" or
 * "attention.layer_norm_epsilon". */
HTH_MUST_USE hth_status hth_params_read(const hth_params_reader *r, uint32_t n_vocab, const char *norm_key,
                                        hth_params *ret_params);

#endif
