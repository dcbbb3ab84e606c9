/* arch-smollm3.c - SmolLM 3: Llama's shape, but every fourth layer does not rotate q and k (arXiv 2501.18795, RNoPE).
 */
#include "engine/model/model-arch.h"

enum { NO_ROPE_STEP = 4 };

static hth_status load_layer(hth_loader *ld, hth_layer *l, uint32_t i)
{
	if ((i + 1) % NO_ROPE_STEP == 0)
		l->rope = NULL;
	return hth_decoder_load_ffn(ld, l, i);
}

static hth_status load(hth_loader *ld) { return hth_decoder_load(ld, load_layer); }

const hth_arch hth_arch_smollm3 = {"smollm3", "attention.layer_norm_rms_epsilon", HTH_ROPE_PAIRS, load, hth_decoder_forward};
