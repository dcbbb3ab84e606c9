/* avx2-codes.h - reading 32 codes of one row into a vector, and the scales of its 8 groups, for each quantised type.
 * Internal to the AVX2 row. Layouts: quant/blocks.h; meaning of codes, scales and minimums: codes.c.
 *
 * codes_TYPE(chunk, g): the codes of columns 32 g to 32 g + 31 of a chunk, as bytes in column order.
 * bytes_TYPE(chunk, g), where a group's nibbles lie together: where its 16 bytes are; value_TYPE(nibbles): the codes that they stand for.
 * bits_TYPE(chunk, i), in blocks of 256: where bytes 32 i to 32 i + 31 are of those that hold the codes; part_TYPE(bits, g): group g's
 *   codes, each from the same byte of all bits[i].
 * scales_TYPE(chunk, n, s, m): scale and minimum of the chunk's first n groups of 32 (n = 8 except at the end of a row of
 *   a type with blocks of 32); for types with groups of 16, s[2] and m[2] hold 16 each.
 */
#ifndef HTH_ENGINE_AVX2_CODES_H
#define HTH_ENGINE_AVX2_CODES_H

#include "engine/kernels/kernel-row.h"
#include "engine/quant/blocks.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256i load256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE __m128i load128(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
INLINE uint32_t load32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return v;
}
INLINE float half_to_float(uint16_t h) { return _cvtsh_ss(h); }

/* 16 bytes of nibbles: the low ones are columns 0 to 15, the high ones 16 to 31. */
INLINE __m256i split_nibbles(__m128i v)
{
	return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
}

INLINE uint64_t four_halves(const char *p, size_t step)
{
	uint16_t h[4];
	for (size_t i = 0; i < 4; i++)
		memcpy(&h[i], p + i * step, 2);
	return (uint64_t)h[0] | (uint64_t)h[1] << 16 | (uint64_t)h[2] << 32 | (uint64_t)h[3] << 48;
}

/* The F16 at the same place of n (<= 8) blocks of block_bytes. Gathered in integer registers: the vector units are what
 * the products need. */
INLINE __m256 block_halves(const char *p, int n, size_t block_bytes)
{
	if (n == 8) {
		uint64_t low = four_halves(p, block_bytes), high = four_halves(p + 4 * block_bytes, block_bytes);
		return _mm256_cvtph_ps(_mm_set_epi64x((long long)high, (long long)low));
	}
	uint16_t h[8] = {0};
	for (int i = 0; i < n; i++)
		memcpy(&h[i], p + (size_t)i * block_bytes, 2);
	return _mm256_cvtph_ps(load128(h));
}

/* The fifth bits: bit j of a 32-bit word to 16 in byte j. */
INLINE __m256i fifth_bits(uint32_t bits)
{
	const __m256i spread = _mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
	const __m256i mask = _mm256_set1_epi64x((long long)0x8040201008040201);
	__m256i v = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), spread), mask);
	return _mm256_and_si256(_mm256_cmpeq_epi8(v, mask), _mm256_set1_epi8(16));
}

/* ---- blocks of 32 ---- */

#define CODES_OF_NIBBLES(name) \
	INLINE __m256i codes_##name(const char *chunk, int g) { return value_##name(split_nibbles(load128(bytes_##name(chunk, g)))); }

INLINE const uint8_t *bytes_q4_0(const char *chunk, int g) { return ((const hth_block_q4_0 *)chunk)[g].qs; }
INLINE __m256i value_q4_0(__m256i nibbles) { return nibbles; }
CODES_OF_NIBBLES(q4_0)
INLINE void scales_q4_0(const char *chunk, int n, __m256 *s, __m256 *m)
{
	*s = block_halves(chunk, n, sizeof(hth_block_q4_0));
	*m = _mm256_mul_ps(*s, _mm256_set1_ps(-8));
}

INLINE const uint8_t *bytes_q4_1(const char *chunk, int g) { return ((const hth_block_q4_1 *)chunk)[g].qs; }
INLINE __m256i value_q4_1(__m256i nibbles) { return nibbles; }
CODES_OF_NIBBLES(q4_1)
INLINE void scales_q4_1(const char *chunk, int n, __m256 *s, __m256 *m)
{
	*s = block_halves(chunk, n, sizeof(hth_block_q4_1));
	*m = block_halves(chunk + 2, n, sizeof(hth_block_q4_1));
}

INLINE __m256i codes_q5_0(const char *chunk, int g)
{
	const hth_block_q5_0 *b = (const hth_block_q5_0 *)chunk + g;
	return _mm256_or_si256(split_nibbles(load128(b->qs)), fifth_bits(load32(b->qh)));
}
INLINE void scales_q5_0(const char *chunk, int n, __m256 *s, __m256 *m)
{
	*s = block_halves(chunk, n, sizeof(hth_block_q5_0));
	*m = _mm256_mul_ps(*s, _mm256_set1_ps(-16));
}

INLINE __m256i codes_q5_1(const char *chunk, int g)
{
	const hth_block_q5_1 *b = (const hth_block_q5_1 *)chunk + g;
	return _mm256_or_si256(split_nibbles(load128(b->qs)), fifth_bits(load32(b->qh)));
}
INLINE void scales_q5_1(const char *chunk, int n, __m256 *s, __m256 *m)
{
	*s = block_halves(chunk, n, sizeof(hth_block_q5_1));
	*m = block_halves(chunk + 2, n, sizeof(hth_block_q5_1));
}

INLINE __m256i codes_q8_0(const char *chunk, int g) { return load256(((const hth_block_q8_0 *)chunk)[g].qs); }
INLINE void scales_q8_0(const char *chunk, int n, __m256 *s, __m256 *m)
{
	*s = block_halves(chunk, n, sizeof(hth_block_q8_0));
	*m = _mm256_setzero_ps();
}

INLINE __m256i look_up(const int8_t table[16], int add, __m256i nibbles)
{
	__m128i t = _mm_add_epi8(load128(table), _mm_set1_epi8((char)add));
	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), nibbles);
}

INLINE const uint8_t *bytes_iq4_nl(const char *chunk, int g) { return ((const hth_block_iq4_nl *)chunk)[g].qs; }
INLINE __m256i value_iq4_nl(__m256i nibbles) { return look_up(hth_iq4_values, 0, nibbles); }
CODES_OF_NIBBLES(iq4_nl)
INLINE void scales_iq4_nl(const char *chunk, int n, __m256 *s, __m256 *m)
{
	*s = block_halves(chunk, n, sizeof(hth_block_iq4_nl));
	*m = _mm256_setzero_ps();
}

/* Values are -12 to 12. */
INLINE const uint8_t *bytes_mxfp4(const char *chunk, int g) { return ((const hth_block_mxfp4 *)chunk)[g].qs; }
INLINE __m256i value_mxfp4(__m256i nibbles) { return look_up(hth_mxfp4_values, 16, nibbles); }
CODES_OF_NIBBLES(mxfp4)
INLINE void scales_mxfp4(const char *chunk, int n, __m256 *s, __m256 *m)
{
	const hth_block_mxfp4 *b = (const hth_block_mxfp4 *)chunk;
	if (n == 8) { /* e8m0_half of all */
		uint64_t bytes = 0;
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
			bytes |= (uint64_t)b[i].e << 8 * i;
		__m256i e = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes));
		__m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
		__m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
		*s = _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
	} else {
		float v[8] = {0};
		for (int i = 0; i < n; i++)
			v[i] = e8m0_half(b[i].e);
		*s = _mm256_loadu_ps(v);
	}
	*m = _mm256_mul_ps(*s, _mm256_set1_ps(-16));
}

/* ---- blocks of 256 ---- */

#define CODES_OF_BITS(name, n)                                   \
	INLINE __m256i codes_##name(const char *chunk, int g)    \
	{                                                        \
		__m256i bits[n];                                 \
		_Pragma("GCC unroll 8")                          \
		for (int i = 0; i < (n); i++)                    \
			bits[i] = load256(bits_##name(chunk, i)); \
		return part_##name(bits, g);                     \
	}
/* Shifted within pairs of bytes, whose neighbours' bits are masked out. */
INLINE __m256i shifted(__m256i v, int left) { return left >= 0 ? _mm256_slli_epi16(v, left) : _mm256_srli_epi16(v, -left); }
INLINE __m256i low_bits(__m256i v, const int from, const char mask)
{
	return _mm256_and_si256(from > 0 ? _mm256_srli_epi16(v, from) : v, _mm256_set1_epi8(mask));
}

/* Eight bytes, each less `offset`, times d. */
INLINE __m256 bytes_times(uint64_t bytes, float d)
{
	__m256i v = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes));
	return _mm256_mul_ps(_mm256_cvtepi32_ps(v), _mm256_set1_ps(d));
}
INLINE __m256 bytes_less_32_times(uint64_t bytes, float d)
{
	__m256i v = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes));
	return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(v, _mm256_set1_epi32(32))), _mm256_set1_ps(d));
}

/* hth_k4_scale_min for the 8 groups at once, as bytes. */
INLINE void k4_bytes(const uint8_t scales[12], uint64_t *scale, uint64_t *min)
{
	uint32_t a = load32(scales), b = load32(scales + 4), c = load32(scales + 8);
	*scale = (uint64_t)((c & 0x0F0F0F0F) | (a >> 2 & 0x30303030)) << 32 | (a & 0x3F3F3F3F);
	*min = (uint64_t)((c >> 4 & 0x0F0F0F0F) | (b >> 2 & 0x30303030)) << 32 | (b & 0x3F3F3F3F);
}
INLINE void k4_scales(const uint8_t scales[12], uint16_t d, uint16_t dmin, __m256 *s, __m256 *m)
{
	uint64_t scale, min;
	k4_bytes(scales, &scale, &min);
	*s = bytes_times(scale, half_to_float(d));
	*m = bytes_times(min, -half_to_float(dmin));
}
INLINE __m256i k4_int_scales(const uint8_t scales[12], uint16_t d, uint16_t dmin, float *ret_d, __m256 *m)
{
	uint64_t scale, min;
	k4_bytes(scales, &scale, &min);
	*ret_d = half_to_float(d);
	*m = bytes_times(min, -half_to_float(dmin));
	return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)scale));
}

INLINE const uint8_t *bits_q4_k(const char *chunk, int i) { return ((const hth_block_q4_k *)chunk)->qs + 32 * i; }
INLINE __m256i part_q4_k(const __m256i *bits, int g) { return low_bits(bits[g / 2], g % 2 * 4, 15); }
CODES_OF_BITS(q4_k, 4)
INLINE void scales_q4_k(const char *chunk, int n, __m256 *s, __m256 *m)
{
	const hth_block_q4_k *b = (const hth_block_q4_k *)chunk;
	k4_scales(b->scales, b->d, b->dmin, s, m);
}
INLINE __m256i int_scales_q4_k(const char *chunk, float *d, __m256 *m)
{
	const hth_block_q4_k *b = (const hth_block_q4_k *)chunk;
	return k4_int_scales(b->scales, b->d, b->dmin, d, m);
}

INLINE const uint8_t *bits_q5_k(const char *chunk, int i)
{
	const hth_block_q5_k *b = (const hth_block_q5_k *)chunk;
	return i < 4 ? b->qs + 32 * i : b->qh;
}
INLINE __m256i part_q5_k(const __m256i *bits, int g)
{
	return _mm256_or_si256(low_bits(bits[g / 2], g % 2 * 4, 15), _mm256_and_si256(shifted(bits[4], 4 - g), _mm256_set1_epi8(16)));
}
CODES_OF_BITS(q5_k, 5)
INLINE void scales_q5_k(const char *chunk, int n, __m256 *s, __m256 *m)
{
	const hth_block_q5_k *b = (const hth_block_q5_k *)chunk;
	k4_scales(b->scales, b->d, b->dmin, s, m);
}
INLINE __m256i int_scales_q5_k(const char *chunk, float *d, __m256 *m)
{
	const hth_block_q5_k *b = (const hth_block_q5_k *)chunk;
	return k4_int_scales(b->scales, b->d, b->dmin, d, m);
}

INLINE const uint8_t *bytes_iq4_xs(const char *chunk, int g) { return ((const hth_block_iq4_xs *)chunk)->qs + 16 * g; }
INLINE __m256i value_iq4_xs(__m256i nibbles) { return look_up(hth_iq4_values, 0, nibbles); }
CODES_OF_NIBBLES(iq4_xs)
INLINE void scales_iq4_xs(const char *chunk, int n, __m256 *s, __m256 *m)
{
	const hth_block_iq4_xs *b = (const hth_block_iq4_xs *)chunk;
	/* Nibble g of a 32-bit word, and bits 2 g and 2 g + 1 of a 16-bit one, to lane g. */
	const __m256i by4 = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), by2 = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
	__m256i low = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32((int)load32(b->scales_l)), by4), _mm256_set1_epi32(15));
	__m256i high = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(b->scales_h), by2), _mm256_set1_epi32(3));
	__m256i v = _mm256_sub_epi32(_mm256_or_si256(low, _mm256_slli_epi32(high, 4)), _mm256_set1_epi32(32));
	*s = _mm256_mul_ps(_mm256_cvtepi32_ps(v), _mm256_set1_ps(half_to_float(b->d)));
	*m = _mm256_setzero_ps();
}

/* ---- blocks of 256, groups of 16 ---- */

INLINE const uint8_t *bits_q2_k(const char *chunk, int i) { return ((const hth_block_q2_k *)chunk)->qs + 32 * i; }
INLINE __m256i part_q2_k(const __m256i *bits, int g) { return low_bits(bits[g / 4], g % 4 * 2, 3); }
CODES_OF_BITS(q2_k, 2)
INLINE void scales_q2_k(const char *chunk, int n, __m256 *s, __m256 *m)
{
	const hth_block_q2_k *b = (const hth_block_q2_k *)chunk;
	uint64_t v[2];
	memcpy(v, b->scales, 16);
	for (int i = 0; i < 2; i++) {
		s[i] = bytes_times(v[i] & 0x0F0F0F0F0F0F0F0F, half_to_float(b->d));
		m[i] = bytes_times(v[i] >> 4 & 0x0F0F0F0F0F0F0F0F, -half_to_float(b->dmin));
	}
}

INLINE __m256i int_scales_q2_k(const char *chunk, float *d, __m256 *m)
{
	const hth_block_q2_k *b = (const hth_block_q2_k *)chunk;
	__m256 s[2];
	scales_q2_k(chunk, 8, s, m);
	*d = half_to_float(b->d);
	return _mm256_cvtepu8_epi16(_mm_and_si128(load128(b->scales), _mm_set1_epi8(15)));
}

INLINE const uint8_t *bits_q3_k(const char *chunk, int i)
{
	const hth_block_q3_k *b = (const hth_block_q3_k *)chunk;
	return i < 2 ? b->qs + 32 * i : b->hmask;
}
INLINE __m256i part_q3_k(const __m256i *bits, int g)
{
	return _mm256_or_si256(low_bits(bits[g / 4], g % 4 * 2, 3), _mm256_and_si256(shifted(bits[2], 2 - g), _mm256_set1_epi8(4)));
}
CODES_OF_BITS(q3_k, 3)
/* hth_k3_scale for all 16 groups. */
INLINE void k3_scales(const uint8_t scales[12], uint64_t bytes[2])
{
	uint64_t low;
	memcpy(&low, scales, 8);
	uint32_t high = load32(scales + 8);
	uint64_t high0 = (uint64_t)(high >> 2 & 0x03030303) << 32 | (high & 0x03030303);
	uint64_t high1 = (uint64_t)(high >> 6 & 0x03030303) << 32 | (high >> 4 & 0x03030303);
	bytes[0] = (low & 0x0F0F0F0F0F0F0F0F) | high0 << 4;
	bytes[1] = (low >> 4 & 0x0F0F0F0F0F0F0F0F) | high1 << 4;
}
INLINE __m256i int_scales_q3_k(const char *chunk, float *d, __m256 *m)
{
	const hth_block_q3_k *b = (const hth_block_q3_k *)chunk;
	uint64_t bytes[2];
	k3_scales(b->scales, bytes);
	*d = half_to_float(b->d);
	__m128i v = _mm_set_epi64x((long long)bytes[1], (long long)bytes[0]);
	return _mm256_sub_epi16(_mm256_cvtepu8_epi16(v), _mm256_set1_epi16(32));
}
INLINE void scales_q3_k(const char *chunk, int n, __m256 *s, __m256 *m)
{
	const hth_block_q3_k *b = (const hth_block_q3_k *)chunk;
	uint64_t bytes[2];
	k3_scales(b->scales, bytes);
	for (int i = 0; i < 2; i++)
		s[i] = bytes_less_32_times(bytes[i], half_to_float(b->d));
	for (int i = 0; i < 2; i++)
		m[i] = _mm256_mul_ps(s[i], _mm256_set1_ps(-4));
}

INLINE const uint8_t *bits_q6_k(const char *chunk, int i)
{
	const hth_block_q6_k *b = (const hth_block_q6_k *)chunk;
	return i < 4 ? b->ql + 32 * i : b->qh + 32 * (i - 4);
}
INLINE __m256i part_q6_k(const __m256i *bits, int g)
{
	int half = g / 4, k = g % 4;
	return _mm256_or_si256(low_bits(bits[2 * half + k % 2], k / 2 * 4, 15),
	                       _mm256_and_si256(shifted(bits[4 + half], 4 - 2 * k), _mm256_set1_epi8(48)));
}
CODES_OF_BITS(q6_k, 6)
INLINE void scales_q6_k(const char *chunk, int n, __m256 *s, __m256 *m)
{
	const hth_block_q6_k *b = (const hth_block_q6_k *)chunk;
	__m256 d = _mm256_set1_ps(half_to_float(b->d));
	__m128i v = load128(b->scales);
	s[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)), d);
	s[1] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v))), d);
	for (int i = 0; i < 2; i++)
		m[i] = _mm256_mul_ps(s[i], _mm256_set1_ps(-32));
}

INLINE __m256i int_scales_q6_k(const char *chunk, float *d, __m256 *m)
{
	const hth_block_q6_k *b = (const hth_block_q6_k *)chunk;
	*d = half_to_float(b->d);
	return _mm256_cvtepi8_epi16(load128(b->scales));
}

#endif
