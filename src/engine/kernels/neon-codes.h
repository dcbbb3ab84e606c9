/* neon-codes.h - reading 32 codes of one row into two vectors, and the scales of its 8 groups, for each quantised type.
 * Internal to the NEON rows. The same readers as avx2-codes.h; layouts are in quant/blocks.h and codes.c.
 *
 * codes_TYPE(chunk, g): the codes of columns 32 g to 32 g + 31 of a chunk, in column order.
 * scales_TYPE(chunk, n, s, m): scale and minimum of the chunk's first n groups of 32, or of its 16 groups of 16.
 */
#ifndef HTH_ENGINE_NEON_CODES_H
#define HTH_ENGINE_NEON_CODES_H

#include "engine/kernels/kernel-row.h"
#include "engine/quant/blocks.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

typedef struct codes32 {
	int8x16_t low, high;
} codes32;

INLINE float half_to_float(uint16_t h)
{
	return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

INLINE codes32 split_nibbles(const uint8_t *qs)
{
	uint8x16_t v = vld1q_u8(qs);
	return (codes32){vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(v, 4))};
}

/* 16 where bit j of the 32 is set. */
INLINE codes32 add_fifth_bits(codes32 c, const uint8_t qh[4])
{
	const uint8x16_t mask = vcombine_u8(vcreate_u8(0x8040201008040201), vcreate_u8(0x8040201008040201));
	uint8x16_t low = vcombine_u8(vdup_n_u8(qh[0]), vdup_n_u8(qh[1]));
	uint8x16_t high = vcombine_u8(vdup_n_u8(qh[2]), vdup_n_u8(qh[3]));
	low = vandq_u8(vtstq_u8(low, mask), vdupq_n_u8(16));
	high = vandq_u8(vtstq_u8(high, mask), vdupq_n_u8(16));
	return (codes32){vorrq_s8(c.low, vreinterpretq_s8_u8(low)), vorrq_s8(c.high, vreinterpretq_s8_u8(high))};
}

INLINE codes32 look_up(const int8_t table[16], codes32 c)
{
	int8x16_t t = vld1q_s8(table);
	return (codes32){vqtbl1q_s8(t, vreinterpretq_u8_s8(c.low)), vqtbl1q_s8(t, vreinterpretq_u8_s8(c.high))};
}

#define BLOCK(name, g) (((const hth_block_##name *)chunk)[g])

#define SCALES32(name, scale_expr, min_expr)                                                   \
	INLINE void scales_##name(const char *chunk, int n, float s[16], float m[16])          \
	{                                                                                      \
		for (int g = 0; g < n; g++) {                                                  \
			const hth_block_##name *b = &BLOCK(name, g);                           \
			s[g] = scale_expr;                                                     \
			m[g] = min_expr;                                                       \
		}                                                                              \
	}
SCALES32(q4_0, half_to_float(b->d), -8 * s[g])
SCALES32(q4_1, half_to_float(b->d), half_to_float(b->m))
SCALES32(q5_0, half_to_float(b->d), -16 * s[g])
SCALES32(q5_1, half_to_float(b->d), half_to_float(b->m))
SCALES32(q8_0, half_to_float(b->d), 0)
SCALES32(iq4_nl, half_to_float(b->d), 0)
SCALES32(mxfp4, e8m0_half(b->e), -12 * s[g])

INLINE codes32 codes_q4_0(const char *chunk, int g) { return split_nibbles(BLOCK(q4_0, g).qs); }
INLINE codes32 codes_q4_1(const char *chunk, int g) { return split_nibbles(BLOCK(q4_1, g).qs); }
INLINE codes32 codes_q5_0(const char *chunk, int g)
{
	return add_fifth_bits(split_nibbles(BLOCK(q5_0, g).qs), BLOCK(q5_0, g).qh);
}
INLINE codes32 codes_q5_1(const char *chunk, int g)
{
	return add_fifth_bits(split_nibbles(BLOCK(q5_1, g).qs), BLOCK(q5_1, g).qh);
}
INLINE codes32 codes_q8_0(const char *chunk, int g)
{
	return (codes32){vld1q_s8(BLOCK(q8_0, g).qs), vld1q_s8(BLOCK(q8_0, g).qs + 16)};
}
INLINE codes32 codes_iq4_nl(const char *chunk, int g)
{
	return look_up(hth_iq4_values, split_nibbles(BLOCK(iq4_nl, g).qs));
}
INLINE codes32 codes_mxfp4(const char *chunk, int g)
{
	codes32 c = look_up(hth_mxfp4_values, split_nibbles(BLOCK(mxfp4, g).qs));
	return (codes32){vaddq_s8(c.low, vdupq_n_s8(12)), vaddq_s8(c.high, vdupq_n_s8(12))};
}

/* Eight bytes, each less `offset`, times d. */
INLINE void bytes_times(uint8x8_t v, int offset, float d, float out[8])
{
	int16x8_t w = vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(v)), vdupq_n_s16((int16_t)offset));
	vst1q_f32(out, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(w))), d));
	vst1q_f32(out + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_high_s16(w))), d));
}

INLINE void k4_scales(const uint8_t scales[12], uint16_t d, uint16_t dmin, float s[16], float m[16])
{
	uint32_t v[3];
	memcpy(v, scales, 12);
	uint64_t scale = (uint64_t)((v[2] & 0x0F0F0F0F) | (v[0] >> 2 & 0x30303030)) << 32 | (v[0] & 0x3F3F3F3F);
	uint64_t min = (uint64_t)((v[2] >> 4 & 0x0F0F0F0F) | (v[1] >> 2 & 0x30303030)) << 32 | (v[1] & 0x3F3F3F3F);
	bytes_times(vcreate_u8(scale), 0, half_to_float(d), s);
	bytes_times(vcreate_u8(min), 0, -half_to_float(dmin), m);
}

/* The nibbles of 32 bytes, low or high, and a fifth bit from bit g of qh[32]. */
INLINE codes32 nibbles_of_32(const uint8_t *qs, bool high)
{
	uint8x16_t a = vld1q_u8(qs), b = vld1q_u8(qs + 16), mask = vdupq_n_u8(15);
	a = high ? vshrq_n_u8(a, 4) : vandq_u8(a, mask);
	b = high ? vshrq_n_u8(b, 4) : vandq_u8(b, mask);
	return (codes32){vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)};
}
/* `value` in each byte where bit g of the byte at p is set. */
INLINE codes32 add_bit_plane(codes32 c, const uint8_t p[32], int g, int value)
{
	uint8x16_t bit = vdupq_n_u8((uint8_t)(1u << g)), v = vdupq_n_u8((uint8_t)value);
	uint8x16_t a = vandq_u8(vtstq_u8(vld1q_u8(p), bit), v), b = vandq_u8(vtstq_u8(vld1q_u8(p + 16), bit), v);
	return (codes32){vorrq_s8(c.low, vreinterpretq_s8_u8(a)), vorrq_s8(c.high, vreinterpretq_s8_u8(b))};
}
/* Two bits of each of 32 bytes, from bit `shift` up. */
INLINE codes32 two_bits(const uint8_t *p, int shift)
{
	int8x16_t by = vdupq_n_s8((int8_t)-shift);
	uint8x16_t mask = vdupq_n_u8(3);
	return (codes32){vreinterpretq_s8_u8(vandq_u8(vshlq_u8(vld1q_u8(p), by), mask)),
	                 vreinterpretq_s8_u8(vandq_u8(vshlq_u8(vld1q_u8(p + 16), by), mask))};
}

INLINE codes32 codes_q4_k(const char *chunk, int g) { return nibbles_of_32(BLOCK(q4_k, 0).qs + 32 * (g / 2), g % 2); }
INLINE void scales_q4_k(const char *chunk, int n, float s[16], float m[16])
{
	k4_scales(BLOCK(q4_k, 0).scales, BLOCK(q4_k, 0).d, BLOCK(q4_k, 0).dmin, s, m);
}
INLINE codes32 codes_q5_k(const char *chunk, int g)
{
	return add_bit_plane(nibbles_of_32(BLOCK(q5_k, 0).qs + 32 * (g / 2), g % 2), BLOCK(q5_k, 0).qh, g, 16);
}
INLINE void scales_q5_k(const char *chunk, int n, float s[16], float m[16])
{
	k4_scales(BLOCK(q5_k, 0).scales, BLOCK(q5_k, 0).d, BLOCK(q5_k, 0).dmin, s, m);
}
INLINE codes32 codes_q6_k(const char *chunk, int g)
{
	int half = g / 4, k = g % 4;
	codes32 low = nibbles_of_32(BLOCK(q6_k, 0).ql + 64 * half + 32 * (k % 2), k / 2);
	codes32 high = two_bits(BLOCK(q6_k, 0).qh + 32 * half, 2 * k);
	return (codes32){vorrq_s8(low.low, vshlq_n_s8(high.low, 4)), vorrq_s8(low.high, vshlq_n_s8(high.high, 4))};
}
INLINE void scales_q6_k(const char *chunk, int n, float s[16], float m[16])
{
	float d = half_to_float(BLOCK(q6_k, 0).d);
	for (int g = 0; g < 16; g++) {
		s[g] = d * (float)BLOCK(q6_k, 0).scales[g];
		m[g] = -32 * s[g];
	}
}
INLINE codes32 codes_q2_k(const char *chunk, int g) { return two_bits(BLOCK(q2_k, 0).qs + 32 * (g / 4), 2 * (g % 4)); }
INLINE void scales_q2_k(const char *chunk, int n, float s[16], float m[16])
{
	float d = half_to_float(BLOCK(q2_k, 0).d), dmin = half_to_float(BLOCK(q2_k, 0).dmin);
	for (int g = 0; g < 16; g++) {
		s[g] = d * (float)(BLOCK(q2_k, 0).scales[g] & 15);
		m[g] = -dmin * (float)(BLOCK(q2_k, 0).scales[g] >> 4);
	}
}
INLINE codes32 codes_q3_k(const char *chunk, int g)
{
	return add_bit_plane(two_bits(BLOCK(q3_k, 0).qs + 32 * (g / 4), 2 * (g % 4)), BLOCK(q3_k, 0).hmask, g, 4);
}
INLINE void scales_q3_k(const char *chunk, int n, float s[16], float m[16])
{
	float d = half_to_float(BLOCK(q3_k, 0).d);
	for (int g = 0; g < 16; g++) {
		s[g] = d * (float)(hth_k3_scale(BLOCK(q3_k, 0).scales, g) - 32);
		m[g] = -4 * s[g];
	}
}
INLINE codes32 codes_iq4_xs(const char *chunk, int g)
{
	return look_up(hth_iq4_values, split_nibbles(BLOCK(iq4_xs, 0).qs + 16 * g));
}
INLINE void scales_iq4_xs(const char *chunk, int n, float s[16], float m[16])
{
	const hth_block_iq4_xs *b = &BLOCK(iq4_xs, 0);
	float d = half_to_float(b->d);
	for (int g = 0; g < 8; g++) {
		int scale = (b->scales_l[g / 2] >> 4 * (g % 2) & 15) | (b->scales_h >> 2 * g & 3) << 4;
		s[g] = d * (float)(scale - 32);
		m[g] = 0;
	}
}

#endif
