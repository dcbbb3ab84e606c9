/* arch-llama.c - Llama and all that share its shape: Mistral, SmolLM, TinyLlama, Mixtral (experts), Ministral.
 *
 * Converters permute q and k rows so that RoPE turns neighbouring elements. Llama 3's frequency factors come as the
 * tensor rope_freqs. A file with expert_count has a router and experts in place of the feed-forward network, the chosen
 * experts' weights summing to one. No converter writes a sliding window for this architecture and the reference reads
 * none.
 */
#include "engine/model/model-arch.h"

static hth_status load_layer(hth_loader *ld, hth_layer *l, uint32_t i)
{
	const hth_params *p = &ld->model->params;
	return p->n_expert > 0 ? hth_decoder_load_experts(ld, l, i, p->n_ff) : hth_decoder_load_ffn(ld, l, i);
}

static hth_status load(hth_loader *ld) { return hth_decoder_load(ld, load_layer); }

const hth_arch hth_arch_llama = {"llama", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load, hth_decoder_forward,
                                 {.act = HTH_SILU, .normalise = true}};

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
                                    hth_decoder_forward, {.act = HTH_SILU, .normalise = true}};
