/* arch-gemma3.c - Gemma 3 (text): Gemma 2's shape with Q/K norms in place of the soft caps, and five sliding-window
 * layers to one that sees everything. Window layers keep RoPE's base of 10,000 unscaled; the others have the file's
 * base and, from 4B up, positions divided by 8.
 */
#include "engine/model/model-arch.h"

#include <math.h>

static hth_status load(hth_loader *ld)
{
	hth_model *m = ld->model;
	hth_params *p = &m->params;
	p->embd_scale = sqrtf((float)p->n_embd);
	p->rope_base_local = 10000;
	p->rope_factor_local = 1;
	HTH_TRY(hth_params_u32(&ld->reader, "attention.sliding_window", false, 0, HTH_MAX_CTX, &p->window));
	HTH_TRY(hth_params_f32(&ld->reader, "rope.freq_base_swa", false, 1e-3f, 1e18f, &p->rope_base_local));
	HTH_TRY(hth_params_f32(&ld->reader, "final_logit_softcapping", false, 0, 1e6f, &p->logit_softcap));
	/* query_pre_attn_scalar is not in the file: the head's size, but for the 27B model, known by its 62 layers. */
	uint32_t share = p->n_embd / p->n_head;
	if (p->n_layer == 62)
		p->attn_scale = 1 / sqrtf((float)share);
	HTH_TRY(hth_load_windows(ld, 6));
	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < p->n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(hth_load_vector(ld, &l->q_norm, HTH_REQUIRED, p->head_dim, "blk.%u.attn_q_norm.weight", i));
		HTH_TRY(hth_load_vector(ld, &l->k_norm, HTH_REQUIRED, p->head_dim, "blk.%u.attn_k_norm.weight", i));
		HTH_TRY(hth_load_vector(ld, &l->attn_post_norm, HTH_REQUIRED, p->n_embd,
		                        "blk.%u.post_attention_norm.weight", i));
		HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.ffn_norm.weight", i));
		HTH_TRY(hth_load_ffn(ld, i, true));
		HTH_TRY(
		    hth_load_vector(ld, &l->ffn_post_norm, HTH_REQUIRED, p->n_embd, "blk.%u.post_ffw_norm.weight", i));
	}
	return HTH_OK;
}

static hth_status forward(hth_pass *p)
{
	hth_pass_embed(p);
	for (uint32_t i = p->first_layer; i < p->model->params.n_layer; i++) {
		const hth_layer *l = hth_pass_layer(p, i);
		if (l == NULL)
			return HTH_CANCELLED;
		hth_pass_rms_norm(p, l->attn_norm);
		hth_pass_qkv(p, l);
		hth_pass_rope_and_store(p, l);
		hth_pass_attention(p, l);
		hth_pass_post_norm(p, l->attn_post_norm);
		hth_pass_residual(p);

		hth_pass_rms_norm(p, l->ffn_norm);
		hth_pass_ffn(p, l, HTH_GELU);
		hth_pass_post_norm(p, l->ffn_post_norm);
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_gemma3 = {"gemma3", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, forward};
