/* attend-neon.c - attention's inner loop for AArch64: 2 x 8 accumulators of the 32 registers. */
#include <arm_neon.h>
#define LANES 4
#define ROWS 2
#define ROW_NAME "neon"
#define ROW_SYMBOL hth_attend_neon
#define load_f16(p) ((vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))))
#define any_above(a, b) (vmaxvq_u32(vcgtq_f32((float32x4_t)(a), (float32x4_t)(b))) != 0)
#define largest(a) vmaxvq_f32((float32x4_t)(a))
#include "engine/model/attend-body.inc"
