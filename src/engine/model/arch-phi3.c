/* arch-phi3.c - Phi 3, 3.5 and 4: q, k and v in one tensor, gate and up in another (gate first), RoPE over part of a
 * head in some (rope.dimension_count), longrope factors in the 128k ones: the short set up to the original context, the
 * long one in sessions made for more. Its files carry sliding windows that the reference does not apply, since
 * converters fill them wrongly; neither does Hearth.
 */
#include "engine/model/model-arch.h"

static hth_status load(hth_loader *ld) { return hth_decoder_load(ld, hth_decoder_load_ffn); }

const hth_arch hth_arch_phi3 = {"phi3", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, hth_decoder_forward};
