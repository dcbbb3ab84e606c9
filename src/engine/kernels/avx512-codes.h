/* avx512-codes.h - codes of each quantised type in 512-bit vectors. Internal to the AVX-512 row. Where bytes are, and scales, is what the
 * AVX2 readers know (avx2-codes.h), which are compiled here for this row. Signed codes have 128 added.
 *
 * codes64_TYPE(chunk, h): the codes of columns 64 h to 64 h + 63 of a chunk, in column order. value64_TYPE(nibbles) and
 * part64_TYPE(bits, g): as value_TYPE and part_TYPE there.
 */
#ifndef HTH_ENGINE_AVX512_CODES_H
#define HTH_ENGINE_AVX512_CODES_H

#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx512.h"

INLINE __m512i load512(const void *p) { return _mm512_loadu_si512(p); }
INLINE __m512i both_halves(const void *p) { return _mm512_broadcast_i64x4(load256(p)); }
INLINE __m512i two256(const void *low, const void *high)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(load256(low)), load256(high), 1);
}

/* vgf2p8affineqb multiplies every byte by an 8 x 8 matrix of bits, which takes bits out, shifts and masks them in one
 * instruction. This is the matrix that moves n bits of a byte from bit `from` to bit `to`: row 7 - k gives bit k. */
#define MOVE_BIT(from, to) (0x01ull << (from) << 8 * (7 - (to)))
#define MOVE_2(from, to) (MOVE_BIT(from, to) | MOVE_BIT((from) + 1, (to) + 1))
#define MOVE_4(from, to) (MOVE_2(from, to) | MOVE_2((from) + 2, (to) + 2))
/* One matrix for each half, or for all. */
#define HALVES(v, a, b)                                                                                              \
	_mm512_gf2p8affine_epi64_epi8(v, _mm512_setr_epi64((long long)(a), (long long)(a), (long long)(a), (long long)(a), \
	                                                   (long long)(b), (long long)(b), (long long)(b), (long long)(b)), 0)
#define MOVED(v, a) _mm512_gf2p8affine_epi64_epi8(v, _mm512_set1_epi64((long long)(a)), 0)

INLINE __m512i low_nibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
INLINE __m512i high_nibbles(__m512i v) { return MOVED(v, MOVE_4(4, 0)); }
/* Nibbles of two groups, 16 bytes each: low ones are columns 0 to 15 of the group, high ones 16 to 31. */
INLINE __m512i nibbles64(const void *low, const void *high)
{
	const long long a = (long long)MOVE_4(0, 0), b = (long long)MOVE_4(4, 0);
	__m512i v = _mm512_broadcast_i64x2(load128(low));
	v = _mm512_mask_broadcast_i64x2(v, 0xF0, load128(high));
	return _mm512_gf2p8affine_epi64_epi8(v, _mm512_setr_epi64(a, a, b, b, a, a, b, b), 0);
}
INLINE __m512i look_up64(const int8_t table[16], int add, __m512i nibbles)
{
	__m128i t = _mm_add_epi8(load128(table), _mm_set1_epi8((char)add));
	return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), nibbles);
}
INLINE __m512i add_bit(__m512i v, uint32_t low, uint32_t high, int value)
{
	__mmask64 bits = (__mmask64)high << 32 | low;
	return _mm512_mask_add_epi8(v, bits, v, _mm512_set1_epi8((char)value));
}

#define BLOCK(name, g) (((const hth_block_##name *)chunk)[g])
#define NIBBLES_OF(name) nibbles64(BLOCK(name, 2 * h).qs, BLOCK(name, 2 * h + 1).qs)

INLINE __m512i codes64_q5_0(const char *chunk, int h)
{
	return add_bit(NIBBLES_OF(q5_0), load32(BLOCK(q5_0, 2 * h).qh), load32(BLOCK(q5_0, 2 * h + 1).qh), 16);
}
INLINE __m512i codes64_q5_1(const char *chunk, int h)
{
	return add_bit(NIBBLES_OF(q5_1), load32(BLOCK(q5_1, 2 * h).qh), load32(BLOCK(q5_1, 2 * h + 1).qh), 16);
}
INLINE __m512i codes64_q8_0(const char *chunk, int h)
{
	__m512i v = two256(BLOCK(q8_0, 2 * h).qs, BLOCK(q8_0, 2 * h + 1).qs);
	return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
}

INLINE __m512i value64_q4_0(__m512i nibbles) { return nibbles; }
INLINE __m512i value64_q4_1(__m512i nibbles) { return nibbles; }
INLINE __m512i value64_iq4_nl(__m512i nibbles) { return look_up64(hth_iq4_values, 128, nibbles); }
INLINE __m512i value64_iq4_xs(__m512i nibbles) { return look_up64(hth_iq4_values, 128, nibbles); }
INLINE __m512i value64_mxfp4(__m512i nibbles) { return look_up64(hth_mxfp4_values, 16, nibbles); }

INLINE __m512i part64_q4_k(const __m512i *bits, int g) { return g % 2 ? high_nibbles(bits[g / 2]) : low_nibbles(bits[g / 2]); }
INLINE __m512i part64_q5_k(const __m512i *bits, int g)
{
	return _mm512_or_si512(part64_q4_k(bits, g), MOVED(bits[4], MOVE_BIT(g, 4)));
}
INLINE __m512i part64_q6_k(const __m512i *bits, int g)
{
	__m512i low = bits[g / 4 * 2 + g % 2];
	return _mm512_or_si512(g % 4 < 2 ? low_nibbles(low) : high_nibbles(low), MOVED(bits[4 + g / 4], MOVE_2(2 * (g % 4), 4)));
}
INLINE __m512i part64_q2_k(const __m512i *bits, int g) { return MOVED(bits[g / 4], MOVE_2(2 * (g % 4), 0)); }
INLINE __m512i part64_q3_k(const __m512i *bits, int g)
{
	return _mm512_or_si512(part64_q2_k(bits, g), MOVED(bits[2], MOVE_BIT(g, 2)));
}

#endif
