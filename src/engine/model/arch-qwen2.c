/* arch-qwen2.c - Qwen 2 and 2.5: Llama's shape with biases on q, k and v, and RoPE over the halves of a head. */
#include "engine/model/model-arch.h"

static hth_status load(hth_loader *ld)
{
	hth_model *m = ld->model;
	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < m->params.n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(
		    hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, m->params.n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, m->params.n_embd, "blk.%u.ffn_norm.weight", i));
		HTH_TRY(hth_load_ffn(ld, i, true));
	}
	return HTH_OK;
}

static hth_status forward(hth_pass *p)
{
	hth_pass_embed(p);
	for (uint32_t i = 0; i < p->model->params.n_layer; i++) {
		const hth_layer *l = hth_pass_layer(p, i);
		if (l == NULL)
			return HTH_CANCELLED;
		hth_pass_rms_norm(p, l->attn_norm);
		hth_pass_qkv(p, l);
		hth_pass_rope_and_store(p, l);
		hth_pass_attention(p, l);
		hth_pass_residual(p);

		hth_pass_rms_norm(p, l->ffn_norm);
		hth_pass_ffn(p, l, HTH_SILU);
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_qwen2 = {"qwen2", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, forward};
