/* arch-gemma2.c - Gemma and Gemma 2.
 *
 * Against Llama: embeddings are scaled by sqrt(n_embd), the gate is GELU, output is always tied. Gemma 2 adds a norm
 * after attention and after the feed-forward network, soft caps on attention scores and logits, and a sliding window on
 * every other layer, the first included. Norm weights in the file already hold the + 1 that Gemma's own code adds.
 */
#include "engine/model/model-arch.h"

#include <math.h>

static hth_status load_layers(hth_loader *ld, bool post_norms)
{
	hth_model *m = ld->model;
	hth_params *p = &m->params;
	p->embd_scale = sqrtf((float)p->n_embd);
	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < p->n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.ffn_norm.weight", i));
		HTH_TRY(hth_load_ffn(ld, i, true));
		if (!post_norms)
			continue;
		HTH_TRY(hth_load_vector(ld, &l->attn_post_norm, HTH_REQUIRED, p->n_embd,
		                        "blk.%u.post_attention_norm.weight", i));
		HTH_TRY(
		    hth_load_vector(ld, &l->ffn_post_norm, HTH_REQUIRED, p->n_embd, "blk.%u.post_ffw_norm.weight", i));
	}
	return HTH_OK;
}

static hth_status load_gemma(hth_loader *ld)
{
	return load_layers(ld, false);
}

static hth_status load_gemma2(hth_loader *ld)
{
	hth_params *p = &ld->model->params;
	p->window = 4096;
	p->attn_softcap = 50;
	p->logit_softcap = 30;
	HTH_TRY(hth_params_u32(&ld->reader, "attention.sliding_window", false, 0, HTH_MAX_CTX, &p->window));
	HTH_TRY(hth_params_f32(&ld->reader, "attn_logit_softcapping", false, 0, 1e6f, &p->attn_softcap));
	HTH_TRY(hth_params_f32(&ld->reader, "final_logit_softcapping", false, 0, 1e6f, &p->logit_softcap));
	HTH_TRY(hth_params_f32(&ld->reader, "rope.freq_base_swa", false, 1e-3f, 1e18f, &p->rope_base_local));
	/* query_pre_attn_scalar is not in the file: the head's size, but for the 27B model, known by its 46 layers. */
	uint32_t share = p->n_embd / p->n_head;
	if (p->n_layer == 46)
		p->attn_scale = 1 / sqrtf((float)share);
	HTH_TRY(hth_load_windows(ld, 2));
	return load_layers(ld, true);
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
		if (l->attn_post_norm != NULL)
			hth_pass_post_norm(p, l->attn_post_norm);
		hth_pass_residual(p);

		hth_pass_rms_norm(p, l->ffn_norm);
		hth_pass_ffn(p, l, HTH_GELU);
		if (l->ffn_post_norm != NULL)
			hth_pass_post_norm(p, l->ffn_post_norm);
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_gemma = {"gemma", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load_gemma, forward};
const hth_arch hth_arch_gemma2 = {"gemma2", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load_gemma2, forward};
