/* arch-gpt-oss.c - gpt-oss: biases everywhere, attention sinks, a sliding window on every other layer (the first
 * included), YaRN, and experts only: the best few by score, softmax over those alone, clamped SwiGLU. Experts ship in
 * MXFP4.
 */
#include "engine/model/model-arch.h"

static hth_status load(hth_loader *ld)
{
	hth_model *m = ld->model;
	hth_params *p = &m->params;
	HTH_TRY(hth_params_u32(&ld->reader, "attention.sliding_window", true, 0, HTH_MAX_CTX, &p->window));
	HTH_TRY(hth_params_f32(&ld->reader, "rope.freq_base_swa", false, 1e-3f, 1e18f, &p->rope_base_local));
	HTH_TRY(hth_load_windows(ld, 2));
	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < p->n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(hth_load_vector(ld, &l->sinks, HTH_REQUIRED, p->n_head, "blk.%u.attn_sinks.weight", i));
		/* The norm before the experts; converters name it after its place. */
		HTH_TRY(
		    hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.post_attention_norm.weight", i));
		HTH_TRY(hth_load_experts(ld, i, p->n_ff_exp));
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
		hth_pass_experts(p, l, &(hth_experts_options){.act = HTH_SWIGLU_OAI, .softmax_after = true});
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_gpt_oss = {"gpt-oss", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, forward};
