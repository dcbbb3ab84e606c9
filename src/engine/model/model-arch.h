/* model-arch.h - the table of architectures: one file each (arch-*.c), one row each.
 *
 * load: checks what is special in the metadata, then asks for tensors (model-weights.h). params hold what all
 *       architectures share when it is called.
 * forward: one pass over the tokens of a batch, top to bottom, written with the blocks of pass.h. Returns HTH_CANCELLED
 *       when the pass was cancelled between layers.
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
};

extern const hth_arch hth_arch_llama, hth_arch_mistral3, hth_arch_smollm3, hth_arch_qwen2, hth_arch_qwen3,
    hth_arch_qwen2moe, hth_arch_qwen3moe, hth_arch_gemma, hth_arch_gemma2, hth_arch_gemma3, hth_arch_phi3,
    hth_arch_gpt_oss, hth_arch_granite, hth_arch_granitemoe, hth_arch_bert, hth_arch_nomic_bert;

/* NULL when Hearth does not compute it. */
const hth_arch *hth_arch_find(hth_view name);
/* "bert, gemma, ...": for messages. */
void hth_arch_list(hth_buf *out);

#endif
