/* arch-qwen2moe.c - Qwen 1.5 and 2 with experts: qwen2's attention; the chosen experts keep their share of the softmax
 * over all (norm_topk_prob is off in every released model), and a shared expert sees each token through a sigmoid gate.
 */
#include "engine/model/model-arch.h"

static hth_status load_layer(hth_loader *ld, hth_layer *l, uint32_t i)
{
	const hth_params *p = &ld->model->params;
	HTH_TRY(hth_decoder_load_experts(ld, l, i, hth_decoder_expert_ff(p)));
	HTH_TRY(hth_load_shared_expert(ld, i, p->n_ff_shexp > 0 ? p->n_ff_shexp : p->n_ff));
	return hth_load_vector(ld, &l->shexp_router, HTH_REQUIRED, p->n_embd, "blk.%u.ffn_gate_inp_shexp.weight", i);
}

static hth_status load(hth_loader *ld)
{
	HTH_TRY(hth_decoder_need_experts(ld));
	return hth_decoder_load(ld, load_layer);
}

const hth_arch hth_arch_qwen2moe = {"qwen2moe", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, hth_decoder_forward,
                                    {.act = HTH_SILU}};
