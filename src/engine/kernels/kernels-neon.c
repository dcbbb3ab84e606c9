/* kernels-neon.c - the NEON row of the table for any 64-bit ARM: bytes are multiplied into 16 bits and added in pairs. */
#include "engine/kernels/cpu.h"
#include "engine/kernels/neon.h"

#include <arm_neon.h>

/* A product of two bytes fits 16 bits; two of them may just not (-128 * -128 twice), and no activation is -128. */
static inline __attribute__((always_inline)) int32x4_t dot16(int32x4_t sum, int8x16_t a, int8x16_t b)
{
	int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
	return vpadalq_s16(sum, vpaddq_s16(low, high));
}

#include "engine/kernels/neon-products.h"

static uint64_t mac_codes(size_t rounds)
{
	int32x4_t s[8];
	int8x16_t w = vdupq_n_s8(0), a = w;
	for (int i = 0; i < 8; i++)
		s[i] = vdupq_n_s32(0);
	for (size_t k = 0; k < rounds; k++)
		for (int i = 0; i < 8; i++) {
			__asm__ volatile("" : "+w"(w), "+w"(a));
			s[i] = dot16(s[i], w, a);
		}
	for (int i = 0; i < 8; i++)
		__asm__ volatile("" : "+w"(s[i]));
	return rounds * 8 * 16;
}

static bool always(void) { return true; }

NEON_ROW(neon, always);
