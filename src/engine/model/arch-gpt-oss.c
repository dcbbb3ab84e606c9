/* arch-gpt-oss.c - gpt-oss: biases everywhere, attention sinks, a sliding window on every other layer (the first
 * included), YaRN, and experts only: the best few by score, softmax over those alone, clamped SwiGLU. Experts ship in
 * MXFP4.
 */
#include "engine/model/model-arch.h"

static hth_status load_layer(hth_loader *ld, hth_layer *l, uint32_t i)
{
	const hth_params *p = &ld->model->params;
	HTH_TRY(hth_load_vector(ld, &l->sinks, HTH_REQUIRED, p->n_head, "blk.%u.attn_sinks.weight", i));
	/* The norm before the experts; converters name it after its place. */
	HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.post_attention_norm.weight", i));
	return hth_load_experts(ld, i, p->n_ff_exp);
}

static hth_status load(hth_loader *ld)
{
	hth_params *p = &ld->model->params;
	HTH_TRY(hth_params_u32(&ld->reader, "attention.sliding_window", true, 0, HTH_MAX_CTX, &p->window));
	HTH_TRY(hth_params_f32(&ld->reader, "rope.freq_base_swa", false, 1e-3f, 1e18f, &p->rope_base_local));
	HTH_TRY(hth_load_windows(ld, 2));
	return hth_decoder_load(ld, load_layer);
}

const hth_arch hth_arch_gpt_oss = {"gpt-oss", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, hth_decoder_forward,
                                   {.act = HTH_SWIGLU_OAI, .softmax_after = true}};
