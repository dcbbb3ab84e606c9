/* arch-qwen3moe.c - Qwen 3 with experts: Q/K norms as in qwen3; softmax over all experts, then the chosen ones' weights
 * are made to sum to one (norm_topk_prob, which every released model sets). */
#include "engine/model/model-arch.h"

static hth_status load_layer(hth_loader *ld, hth_layer *l, uint32_t i)
{
	HTH_TRY(hth_decoder_load_head_norms(ld, l, i));
	return hth_decoder_load_experts(ld, l, i, hth_decoder_expert_ff(&ld->model->params));
}

static hth_status load(hth_loader *ld)
{
	HTH_TRY(hth_decoder_need_experts(ld));
	return hth_decoder_load(ld, load_layer);
}

const hth_arch hth_arch_qwen3moe = {"qwen3moe", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, hth_decoder_forward,
                                    {.act = HTH_SILU, .normalise = true}};
