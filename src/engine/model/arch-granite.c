/* arch-granite.c - Granite 3 and 4 (dense, and with experts): Llama's shape with four multipliers.
 *
 *   embedding_scale on embeddings, residual_scale on what each part adds, attention.scale on scores in place of
 *   1/sqrt(head_dim), and logits divided by logit_scale. rope.scaling.finetuned false means that the model has no RoPE.
 * The shared expert of granitemoe has no gate of its own.
 */
#include "engine/model/model-arch.h"

static hth_status load(hth_loader *ld)
{
	hth_model *m = ld->model;
	hth_params *p = &m->params;
	float logit_scale = 1, attn_scale = 0, residual_scale = 0, embd_scale = 0;
	bool rotates = true;
	HTH_TRY(hth_params_f32(&ld->reader, "logit_scale", true, 1e-6f, 1e6f, &logit_scale));
	HTH_TRY(hth_params_f32(&ld->reader, "attention.scale", false, 0, 1e6f, &attn_scale));
	HTH_TRY(hth_params_f32(&ld->reader, "residual_scale", false, 0, 1e6f, &residual_scale));
	HTH_TRY(hth_params_f32(&ld->reader, "embedding_scale", false, 0, 1e6f, &embd_scale));
	HTH_TRY(hth_params_bool(&ld->reader, "rope.scaling.finetuned", &rotates));
	p->logit_scale = 1 / logit_scale;
	if (attn_scale != 0) /* 0 stands for "not set" in all three */
		p->attn_scale = attn_scale;
	if (residual_scale != 0)
		p->residual_scale = residual_scale;
	if (embd_scale != 0)
		p->embd_scale = embd_scale;
	if (!rotates)
		p->n_rot = 0;

	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < p->n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.ffn_norm.weight", i));
		if (p->n_expert > 0) {
			HTH_TRY(hth_load_experts(ld, i, p->n_ff));
			if (p->n_ff_shexp > 0)
				HTH_TRY(hth_load_shared_expert(ld, i, p->n_ff_shexp));
		} else {
			HTH_TRY(hth_load_ffn(ld, i, true));
		}
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
		if (l->router.rows > 0)
			hth_pass_experts(p, l, &(hth_experts_options){.act = HTH_SILU, .normalise = true});
		else
			hth_pass_ffn(p, l, HTH_SILU);
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_granite = {"granite", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load, forward};
const hth_arch hth_arch_granitemoe = {"granitemoe", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load, forward};
