/* model-arch.h - the table of architectures: one file each (arch-*.c), one row each.
 *
 * load: checks what is special in the metadata, then asks for tensors (model-weights.h). params hold what all
 *       architectures share when it is called.
 * forward: one pass over the tokens of a batch, top to bottom, written with the blocks of pass.h. Returns HTH_CANCELLED
 *       when the pass was cancelled between layers.
 * Most families share the order of the layer, and so the pass: hth_decoder_forward (decoder.c, the one to read first).
 */
#ifndef HTH_ENGINE_MODEL_ARCH_H
#define HTH_ENGINE_MODEL_ARCH_H

#include "base/buf.h"
#include "engine/model/model-weights.h"
#include "engine/model/pass.h"

struct hth_arch {
	const char *name;     /* general.architecture */
	const char *norm_key; /* where the norms' epsilon is */
	hth_rope_style rope_style;
	hth_status (*load)(hth_loader *ld);
	hth_status (*forward)(hth_pass *pass);
	hth_experts_options experts; /* hth_decoder_forward's, for layers with experts */
};

/* ---- what families of Llama's shape share (decoder.c) ---- */

/* Embeddings and RoPE; then of each layer the norm before attention and attention, and what load_layer asks for. */
HTH_MUST_USE hth_status hth_decoder_load(hth_loader *ld, hth_status (*load_layer)(hth_loader *ld, hth_layer *l, uint32_t i));
/* Parts of a layer: the norm and the gated network or the experts of n_ff behind it; the norms of q's and k's heads. */
HTH_MUST_USE hth_status hth_decoder_load_ffn(hth_loader *ld, hth_layer *l, uint32_t i);
HTH_MUST_USE hth_status hth_decoder_load_experts(hth_loader *ld, hth_layer *l, uint32_t i, size_t n_ff);
HTH_MUST_USE hth_status hth_decoder_load_head_norms(hth_loader *ld, hth_layer *l, uint32_t i);
/* HTH_BAD_FORMAT when the file names no experts. */
HTH_MUST_USE hth_status hth_decoder_need_experts(const hth_loader *ld);
/* n_ff of one expert: its key, or what the dense one's is split into. */
static inline size_t hth_decoder_expert_ff(const hth_params *p) { return p->n_ff_exp > 0 ? p->n_ff_exp : p->n_ff / p->n_expert_used; }
HTH_MUST_USE hth_status hth_decoder_forward(hth_pass *p);

extern const hth_arch hth_arch_llama, hth_arch_mistral3, hth_arch_smollm3, hth_arch_qwen2, hth_arch_qwen3,
    hth_arch_qwen2moe, hth_arch_qwen3moe, hth_arch_gemma, hth_arch_gemma2, hth_arch_gemma3, hth_arch_phi3,
    hth_arch_gpt_oss, hth_arch_granite, hth_arch_granitemoe, hth_arch_bert, hth_arch_nomic_bert;

/* NULL when Hearth does not compute it. */
const hth_arch *hth_arch_find(hth_view name);
/* "bert, gemma, ...": for messages. */
void hth_arch_list(hth_buf *out);

#endif
