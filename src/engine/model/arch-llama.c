/* arch-llama.c - Llama and all that share its shape: Mistral, SmolLM, TinyLlama, Mixtral (experts), Ministral.
 *
 *   x = embed(token)
 *   each layer:  x += attention(rope(q), rope(k), v) of norm(x);  x += down(silu(gate) * up) of norm(x)
 *   logits = output x norm(x)
 *
 * Converters permute q and k rows so that RoPE turns neighbouring elements. Llama 3's frequency factors come as the
 * tensor rope_freqs. A file with expert_count has a router and experts in place of the feed-forward network, the chosen
 * experts' weights summing to one. No converter writes a sliding window for this architecture and the reference reads
 * none.
 */
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
		if (m->params.n_expert > 0)
			HTH_TRY(hth_load_experts(ld, i, m->params.n_ff));
		else
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
		if (l->router.rows > 0)
			hth_pass_experts(p, l, &(hth_experts_options){.act = HTH_SILU, .normalise = true});
		else
			hth_pass_ffn(p, l, HTH_SILU);
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_llama = {"llama", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load, forward};

/* Ministral 3: also a temperature on queries past the original context. */
static hth_status load_mistral3(hth_loader *ld)
{
	hth_params *p = &ld->model->params;
	p->attn_temp_length = p->rope_ctx_orig;
	HTH_TRY(hth_params_f32(&ld->reader, "attention.temperature_scale", false, 0, 1e3f, &p->attn_temp_scale));
	HTH_TRY(
	    hth_params_u32(&ld->reader, "attention.temperature_length", false, 1, HTH_MAX_CTX, &p->attn_temp_length));
	return load(ld);
}

const hth_arch hth_arch_mistral3 = {"mistral3", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load_mistral3,
                                    forward};
