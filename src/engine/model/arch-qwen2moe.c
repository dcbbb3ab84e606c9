/* arch-qwen2moe.c - Qwen 1.5 and 2 with experts: qwen2's attention; the chosen experts keep their share of the softmax
 * over all (norm_topk_prob is off in every released model), and a shared expert sees each token through a sigmoid gate.
 */
#include "engine/model/model-arch.h"

static hth_status load(hth_loader *ld)
{
	hth_model *m = ld->model;
	const hth_params *p = &m->params;
	if (p->n_expert == 0)
		return hth_fail(ld->err, HTH_BAD_FORMAT, "metadata key qwen2moe.expert_count is missing or 0");
	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < p->n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.ffn_norm.weight", i));
		HTH_TRY(hth_load_experts(ld, i, p->n_ff_exp > 0 ? p->n_ff_exp : p->n_ff / p->n_expert_used));
		HTH_TRY(hth_load_shared_expert(ld, i, p->n_ff_shexp > 0 ? p->n_ff_shexp : p->n_ff));
		HTH_TRY(hth_load_vector(ld, &l->shexp_router, HTH_REQUIRED, p->n_embd,
		                        "blk.%u.ffn_gate_inp_shexp.weight", i));
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
		hth_pass_experts(p, l, &(hth_experts_options){.act = HTH_SILU});
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_qwen2moe = {"qwen2moe", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, forward};
