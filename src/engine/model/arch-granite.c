/* arch-granite.c - Granite 3 and 4 (dense, and with experts): Llama's shape with four multipliers.
 *
 *   embedding_scale on embeddings, residual_scale on what each part adds, attention.scale on scores in place of
 *   1/sqrt(head_dim), and logits divided by logit_scale. rope.scaling.finetuned false means that the model has no RoPE.
 * The shared expert of granitemoe has no gate of its own.
 */
#include "engine/model/model-arch.h"

static hth_status load_layer(hth_loader *ld, hth_layer *l, uint32_t i)
{
	const hth_params *p = &ld->model->params;
	if (p->n_expert == 0)
		return hth_decoder_load_ffn(ld, l, i);
	HTH_TRY(hth_decoder_load_experts(ld, l, i, p->n_ff));
	return p->n_ff_shexp > 0 ? hth_load_shared_expert(ld, i, p->n_ff_shexp) : HTH_OK;
}

static hth_status load(hth_loader *ld)
{
	hth_params *p = &ld->model->params;
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

	return hth_decoder_load(ld, load_layer);
}

const hth_arch hth_arch_granite = {"granite", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load, hth_decoder_forward,
                                   {.act = HTH_SILU, .normalise = true}};
const hth_arch hth_arch_granitemoe = {"granitemoe", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load, hth_decoder_forward,
                                      {.act = HTH_SILU, .normalise = true}};
