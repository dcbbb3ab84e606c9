/* kernels-neoni8mm.c - the NEON row for processors that multiply small matrices of bytes (ARMv8.6, and many ARMv8.2 ones: Neoverse V1 and N2,
 * Cortex-A510, Apple's from the M2 on). One token goes as in the row before: reading the weights is what it costs.
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

static uint64_t mac_codes(size_t rounds)
{
	int32x4_t z = vdupq_n_s32(0), s0 = z, s1 = z, s2 = z, s3 = z, s4 = z, s5 = z, s6 = z, s7 = z;
	int8x16_t w = vdupq_n_s8(0), a = w;
	for (size_t k = 0; k < rounds; k++)
		__asm__ volatile("smmla %0.4s, %8.16b, %9.16b\n\tsmmla %1.4s, %8.16b, %9.16b\n\tsmmla %2.4s, %8.16b, %9.16b\n\t"
		                 "smmla %3.4s, %8.16b, %9.16b\n\tsmmla %4.4s, %8.16b, %9.16b\n\tsmmla %5.4s, %8.16b, %9.16b\n\t"
		                 "smmla %6.4s, %8.16b, %9.16b\n\tsmmla %7.4s, %8.16b, %9.16b"
		                 : "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3), "+w"(s4), "+w"(s5), "+w"(s6), "+w"(s7)
		                 : "w"(w), "w"(a));
	return rounds * 8 * 32;
}

const hth_kernel_row hth_kernels_neoni8mm = {
    .vec = NEON_VEC("neoni8mm"),
    .usable = hth_cpu_has_i8mm,
    .group_rows = NEON_ROWS,
    .float_rows = NEON_FLOAT_ROWS,
    .quantize_acts = hth_neon_quantize_acts,
    .gemm_float = hth_neon_gemm_float,
    .read_bytes = hth_neon_read_bytes,
    .mac_peak = {mac_codes, mac_codes, hth_neon_mac_float},
    .types = {NEON_FLOAT_TYPES, NEON_CODE_TYPES},
};
