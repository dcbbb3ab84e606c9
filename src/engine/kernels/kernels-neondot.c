/* kernels-neondot.c - the NEON row for processors with the dot-product instructions (ARMv8.2 and later). */
#include "engine/kernels/cpu.h"
#include "engine/kernels/neon.h"

#include <arm_neon.h>

static inline __attribute__((always_inline)) int32x4_t dot16(int32x4_t sum, int8x16_t a, int8x16_t b)
{
	return vdotq_s32(sum, a, b);
}

#include "engine/kernels/neon-products.h"

NEON_MAC_LOOP("sdot", 16)

NEON_ROW(neondot, hth_cpu_has_dotprod);
