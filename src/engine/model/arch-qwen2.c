/* arch-qwen2.c - Qwen 2 and 2.5: Llama's shape with biases on q, k and v, and RoPE over the halves of a head. */
#include "engine/model/model-arch.h"

static hth_status load(hth_loader *ld) { return hth_decoder_load(ld, hth_decoder_load_ffn); }

const hth_arch hth_arch_qwen2 = {"qwen2", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, hth_decoder_forward};
