/* quant-mix.h - which type each tensor of a model gets when people say "Q4_K_M". Internal to quantising a file. */
#ifndef HTH_ENGINE_QUANT_MIX_H
#define HTH_ENGINE_QUANT_MIX_H

#include "engine/gguf/gguf.h"
#include "engine/quant/quant.h"

typedef enum hth_mix_id {
	MIX_PLAIN, /* no tensor is promoted */
	MIX_Q4_0, MIX_Q4_1, MIX_Q5_0, MIX_Q5_1, MIX_Q8_0, MIX_Q2_K, MIX_Q3_K_S, MIX_Q3_K_M, MIX_Q3_K_L, MIX_Q4_K_S, MIX_Q4_K_M,
	MIX_Q5_K_S, MIX_Q5_K_M, MIX_Q6_K, MIX_IQ4_NL, MIX_IQ4_XS, MIX_TERNARY, MIX_MXFP4
} hth_mix_id;

typedef struct hth_mix {
	const char *name;
	hth_mix_id id;
	hth_type type;      /* what most weights become */
	uint32_t file_type; /* general.file_type */
} hth_mix;

/* What the rules want to know of a model. */
typedef struct hth_mix_model {
	uint32_t n_layer, n_gqa, n_expert; /* n_gqa: query heads per key head */
	bool has_output;                   /* output.weight is there: token_embd.weight is not shared with it */
	bool llama;
} hth_mix_model;

/* NULL when unknown. "Q3_K", "Q4_K" and "Q5_K" mean their _M mixes. */
const hth_mix *hth_mix_find(const char *name);
hth_mix_model hth_mix_describe(const hth_gguf *gguf);
hth_type hth_mix_choose(const hth_mix *mix, const hth_mix_model *model, const hth_gguf_tensor *tensor);

#endif
