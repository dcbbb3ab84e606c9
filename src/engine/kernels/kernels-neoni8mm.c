/* kernels-neoni8mm.c - the NEON row for processors that multiply small matrices of bytes (ARMv8.6, and many ARMv8.2 ones: Neoverse V1 and
 * N2, Cortex-A510, Apple's from the M2 on). One token goes as in the row before: reading the weights is what it costs.
 */
#include "engine/kernels/cpu.h"
#include "engine/kernels/neon.h"

#include <arm_neon.h>

static inline __attribute__((always_inline)) int32x4_t dot16(int32x4_t sum, int8x16_t a, int8x16_t b)
{
	return vdotq_s32(sum, a, b);
}

#define NEON_MMLA
#include "engine/kernels/neon-products.h"

NEON_MAC_LOOP("smmla", 32)

NEON_ROW(neoni8mm, hth_cpu_has_i8mm);
