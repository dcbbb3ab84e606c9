/* arch-qwen3.c - Qwen 3, dense: each head of q and k is RMS-normed before RoPE; no biases. */
#include "engine/model/model-arch.h"

static hth_status load_layer(hth_loader *ld, hth_layer *l, uint32_t i)
{
	HTH_TRY(hth_decoder_load_head_norms(ld, l, i));
	return hth_decoder_load_ffn(ld, l, i);
}

static hth_status load(hth_loader *ld) { return hth_decoder_load(ld, load_layer); }

const hth_arch hth_arch_qwen3 = {"qwen3", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, hth_decoder_forward};
