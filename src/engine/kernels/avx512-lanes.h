/* avx512-lanes.h - reading 512 columns of a row as avx512-few.c wants them, for each quantised type. Internal to the AVX-512 row.
 *
 * Types with groups of 32: 512 columns are 16 groups, one in each 32-bit lane of a vector: lane l has group 4 (l % 4) + l / 4, and
 *
 *     w[k], lane l  =  codes of columns 4 k to 4 k + 3 of the lane's group,  k < 8
 *
 * This order is what transposing 4 x 4 words within quarters of a vector gives (unpack instructions, which all four pipes of a Zen 5
 * run; other permutations have two): 16-byte runs 0 to 3 in a vector, 4 to 7 in the next and so on become lanes 0, 4, 8, 12 and so on.
 * Reading has two pointers: columns 256 to 511 of types with blocks of 256 may lie elsewhere (at the end of a row: a block of zeros).
 *
 * Types with groups of 16: 256 columns are 16 groups, in order, k < 4. As two scales in a lane of the former they read slower.
 */
#ifndef HTH_ENGINE_AVX512_LANES_H
#define HTH_ENGINE_AVX512_LANES_H

#include "engine/kernels/avx512-codes.h"

/* Without minimums, min is not read. */
typedef struct chunk_lanes {
	__m512i w[8];
	__m512 scale, min;
} chunk_lanes;

/* Each is used twice: kept in a register, because GCC would read what lies across cache lines twice. */
INLINE __m512i load512_once(const void *p)
{
	__m512i v = load512(p);
	__asm__("" : "+v"(v));
	return v;
}
INLINE __m512 load512_once_ps(const float *p)
{
	__m512 v = _mm512_load_ps(p);
	__asm__("" : "+v"(v));
	return v;
}

/* c[h]: columns 64 h to 64 h + 63. */
INLINE void lanes_of_columns(__m512i w[8], const __m512i c[8])
{
	__m512i t[4], u[4];
	transpose_quarters(t, c[0], c[2], c[4], c[6]);
	transpose_quarters(u, c[1], c[3], c[5], c[7]);
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		w[j] = _mm512_shuffle_i64x2(t[j], u[j], 0x88);
		w[4 + j] = _mm512_shuffle_i64x2(t[j], u[j], 0xDD);
	}
}

/* v[i]: the 16 bytes of nibbles of groups 4 i to 4 i + 3, low ones columns 0 to 15. */
INLINE void lanes_of_nibbles(__m512i w[8], const __m512i v[4])
{
	const __m512i mask = _mm512_set1_epi8(15);
	__m512i t[4];
	transpose_quarters(t, v[0], v[1], v[2], v[3]);
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		w[j] = _mm512_and_si512(t[j], mask);
		w[4 + j] = _mm512_and_si512(_mm512_srli_epi16(t[j], 4), mask);
	}
}

/* ---- blocks of 32: second is not read ---- */

/* A chunk lies in four and a quarter to six loads. None is made twice, because one across cache lines that are still on their way costs
 * most of what a loop does (with six loads and some of them read again Q4_0 ran at half the read bandwidth); and its pieces are brought
 * together by two-vector permutations, whose indices count from the first one's start. What lies in a third vector is put there under a
 * mask, by the same indices. */
#define WORDS(at) (at) + 1, (at) + 2, (at) + 3, (at) + 4, (at) + 5, (at) + 6, (at) + 7, (at) + 8
#define BLOCKS(i, j, k, l) (__m512i)(__v32hi){WORDS(i), WORDS(j), WORDS(k), WORDS(l)}
#define DWORDS(at) (at), (at) + 1, (at) + 2, (at) + 3
#define BLOCKS_OF_DWORDS(i, j, k, l) (__m512i)(__v16si){DWORDS(i), DWORDS(j), DWORDS(k), DWORDS(l)}
/* One value for each lane, in their order; `at` gives that of a group. */
#define BY_LANES(at) at(0), at(4), at(8), at(12), at(1), at(5), at(9), at(13), at(2), at(6), at(10), at(14), at(3), at(7), at(11), at(15)

/* Blocks of 9 words: an F16 and 8 words of nibbles. */
INLINE __m512 read_nibbles_after_f16(const char *chunk, __m512i w[8])
{
	/* Words 0, 32, 64, 96 and 112 of the chunk on. */
	__m512i a = load512_once(chunk), b = load512_once(chunk + 64), c = load512_once(chunk + 128), d = load512_once(chunk + 192);
	__m512i e = load512_once(chunk + 224), v[4];
	v[0] = _mm512_permutex2var_epi16(a, BLOCKS(0, 9, 18, 27), b);
	v[1] = _mm512_permutex2var_epi16(b, BLOCKS(4, 13, 22, 31), c);
	v[2] = _mm512_permutex2var_epi16(c, BLOCKS(8, 17, 26, 35), d);
	v[3] = _mm512_permutex2var_epi16(d, BLOCKS(12, 21, 46, 55), e);
	lanes_of_nibbles(w, v);
	/* The F16 of lane l's group, at word 9 (4 (l % 4) + l / 4): lanes 0 and 1 of four from a and b, the others from c and e, and two
	 * from d. */
	const __m512i of_ab = (__m512i)(__v32hi){0, 36, 0, 0, 9, 45, 0, 0, 18, 54, 0, 0, 27, 63, 0, 0};
	const __m512i of_ce = (__m512i)(__v32hi){0, 0, 8, 0, 0, 0, 17, 37, 0, 0, 26, 46, 0, 0, 0, 55};
	const __m512i of_d = (__m512i)(__v32hi){0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0};
	__m512i low = _mm512_permutex2var_epi16(a, of_ab, b), high = _mm512_permutex2var_epi16(c, of_ce, e);
	high = _mm512_mask_permutexvar_epi16(high, 0x4008, of_d, d);
	return _mm512_cvtph_ps(_mm256_blend_epi32(_mm512_castsi512_si256(low), _mm512_castsi512_si256(high), 0xAA));
}
INLINE void read_q4_0(const char *chunk, const char *second, chunk_lanes *row) { row->scale = read_nibbles_after_f16(chunk, row->w); }

INLINE __m512i iq4_value(__m512i nibbles) { return look_up64(hth_iq4_values, 128, nibbles); }
INLINE void read_iq4_nl(const char *chunk, const char *second, chunk_lanes *row)
{
	row->scale = read_nibbles_after_f16(chunk, row->w);
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++)
		row->w[k] = iq4_value(row->w[k]);
}

/* Blocks of a byte and 16 of nibbles: a chunk is four and a quarter loads. */
INLINE void read_mxfp4(const char *chunk, const char *second, chunk_lanes *row)
{
	/* Bytes 0, 64, 128, 192 and 208 of the chunk on. */
	__m512i a = load512_once(chunk), b = load512_once(chunk + 64), c = load512_once(chunk + 128), d = load512_once(chunk + 192);
	__m512i e = load512_once(chunk + 208), v[4];
#define BYTES_4(at) (at), (at) + 1, (at) + 2, (at) + 3
#define BYTES(at) BYTES_4((at) + 1), BYTES_4((at) + 5), BYTES_4((at) + 9), BYTES_4((at) + 13)
#define BLOCKS_OF_BYTES(i, j, k, l) (__m512i)(__v64qi){BYTES(i), BYTES(j), BYTES(k), BYTES(l)}
	v[0] = _mm512_permutex2var_epi8(a, BLOCKS_OF_BYTES(0, 17, 34, 51), b);
	v[1] = _mm512_permutex2var_epi8(b, BLOCKS_OF_BYTES(4, 21, 38, 55), c);
	v[2] = _mm512_permutex2var_epi8(c, BLOCKS_OF_BYTES(8, 25, 42, 59), d);
	v[3] = _mm512_permutex2var_epi8(d, BLOCKS_OF_BYTES(12, 29, 46, 111), e);
#undef BLOCKS_OF_BYTES
#undef BYTES
#undef BYTES_4
	lanes_of_nibbles(row->w, v);
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++)
		row->w[k] = look_up64(hth_mxfp4_values, 16, row->w[k]);
	/* The exponent of lane l's group, at byte 17 (4 (l % 4) + l / 4): of every four lanes two from a and b, two from c and d. */
	const __m512i of_ab = _mm512_setr_epi32(0, 68, 0, 0, 17, 85, 0, 0, 34, 102, 0, 0, 51, 119, 0, 0);
	const __m512i of_cd = _mm512_setr_epi32(0, 0, 8, 76, 0, 0, 25, 93, 0, 0, 42, 110, 0, 0, 59, 127);
	__m512i exponent = _mm512_or_si512(_mm512_maskz_permutex2var_epi8(0x0011001100110011, a, of_ab, b),
	                                   _mm512_maskz_permutex2var_epi8(0x1100110011001100, c, of_cd, d));
	/* e8m0_half */
	__mmask16 subnormal = _mm512_cmplt_epu32_mask(exponent, _mm512_set1_epi32(2));
	__m512i bits = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(1)), 23);
	bits = _mm512_mask_sllv_epi32(bits, subnormal, _mm512_set1_epi32(0x200000), exponent);
	row->scale = _mm512_castsi512_ps(bits);
}

/* 16 scales and 16 minimums, by lanes. */
INLINE void scales_of_halves(__m512i both, chunk_lanes *row)
{
	row->scale = _mm512_cvtph_ps(_mm512_castsi512_si256(both));
	row->min = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(both, 1));
}
/* Heads of blocks 0 to 7 and 8 to 15, four words each, of which the first two are an F16 and a minimum: theirs by lanes. */
INLINE void scales_of_heads(__m512i low, __m512i high, chunk_lanes *row)
{
#define FIRST(group) 4 * (group)
#define SECOND(group) 4 * (group) + 1
	__m512i both = _mm512_permutex2var_epi16(low, (__m512i)(__v32hi){BY_LANES(FIRST), BY_LANES(SECOND)}, high);
#undef SECOND
#undef FIRST
	scales_of_halves(both, row);
}

/* Nibbles as in lanes_of_nibbles; bit c of lane l of `fifth` belongs to column c of the lane's group. */
INLINE void lanes_of_five_bits(__m512i w[8], const __m512i v[4], __m512i fifth)
{
	const __m512i mask = _mm512_set1_epi8(15), next_bits = _mm512_set1_epi64(0x2322212003020100);
	const __m512i from[4] = {fifth, _mm512_ror_epi32(fifth, 8), _mm512_ror_epi32(fifth, 16), _mm512_ror_epi32(fifth, 24)};
	__m512i t[4];
	transpose_quarters(t, v[0], v[1], v[2], v[3]);
#pragma GCC unroll 4
	for (int m = 0; m < 4; m++) {
		/* Byte j of a lane: its bits 8 m + j on, of which the first is column 4 k + j's, k = 2 m, and bit 4 that of k + 1. */
		__m512i bits = _mm512_multishift_epi64_epi8(next_bits, from[m]);
#pragma GCC unroll 2
		for (int i = 0; i < 2; i++) {
			int k = 2 * m + i;
			__m512i nibbles = k < 4 ? t[k % 4] : _mm512_srli_epi16(t[k % 4], 4);
			const unsigned long long to_4 = i ? MOVE_BIT(4, 4) : MOVE_BIT(0, 4);
			__m512i bit = _mm512_gf2p8affine_epi64_epi8(bits, _mm512_set1_epi64((long long)to_4), 0);
			w[k] = _mm512_ternarylogic_epi32(nibbles, mask, bit, 0xEA); /* (nibbles & mask) | bit */
		}
	}
}

/* Blocks of 11 words: an F16, two of fifth bits, 8 of nibbles. */
INLINE void read_q5_0(const char *chunk, const char *second, chunk_lanes *row)
{
	/* Words 0, 32, 64, 96, 128 and 144 of the chunk on. */
	__m512i a = load512_once(chunk), b = load512_once(chunk + 64), c = load512_once(chunk + 128), d = load512_once(chunk + 192);
	__m512i e = load512_once(chunk + 256), f = load512_once(chunk + 288), v[4];
	v[0] = _mm512_permutex2var_epi16(a, BLOCKS(2, 13, 24, 35), b);
	v[1] = _mm512_permutex2var_epi16(b, BLOCKS(14, 25, 36, 47), c);
	const __m512i of_cde = (__m512i)(__v32hi){27, 28, 29, 30, 31, 0, 1, 2, WORDS(5), WORDS(16), WORDS(27)};
	v[2] = _mm512_mask_permutexvar_epi16(_mm512_permutex2var_epi16(d, of_cde, e), 0x1F, of_cde, c);
	v[3] = _mm512_permutex2var_epi16(e, (__m512i)(__v32hi){WORDS(6), WORDS(17), 29, 30, 31, 48, 49, 50, 51, 52, WORDS(55)}, f);
	/* Of each block the first four words. */
	const __m512i of_abc = (__m512i)(__v32hi){DWORDS(0), DWORDS(11), DWORDS(22), DWORDS(33), DWORDS(44), DWORDS(55), DWORDS(2),
	                                          DWORDS(13)};
	const __m512i of_cdef = (__m512i)(__v32hi){DWORDS(24), DWORDS(3), DWORDS(14), DWORDS(25), DWORDS(36), DWORDS(47), DWORDS(58),
	                                           DWORDS(21)};
	__m512i low = _mm512_mask_permutexvar_epi16(_mm512_permutex2var_epi16(a, of_abc, b), 0xFF000000, of_abc, c);
	__m512i high = _mm512_mask_permutexvar_epi16(_mm512_permutex2var_epi16(d, of_cdef, e), 0x0000000F, of_cdef, c);
	high = _mm512_mask_permutexvar_epi16(high, 0xF0000000, of_cdef, f);
#define BITS(group) 4 * (group) + 1
#define FIFTH(group) (BITS(group)) | (BITS(group) + 1) << 16
	__m512i fifth = _mm512_permutex2var_epi16(low, (__m512i)(__v16si){BY_LANES(FIFTH)}, high);
#undef FIFTH
#undef BITS
	lanes_of_five_bits(row->w, v, fifth);
	scales_of_heads(low, high, row); /* there are no minimums, and nobody reads them */
}

/* Blocks of 6 double words: scale and minimum, fifth bits, four of nibbles. */
INLINE void read_q5_1(const char *chunk, const char *second, chunk_lanes *row)
{
	__m512i a = load512_once(chunk), b = load512_once(chunk + 64), c = load512_once(chunk + 128), d = load512_once(chunk + 192);
	__m512i e = load512_once(chunk + 256), f = load512_once(chunk + 320), v[4];
	const __m512i from_first = BLOCKS_OF_DWORDS(2, 8, 14, 20), from_fifth = BLOCKS_OF_DWORDS(10, 16, 22, 28);
	v[0] = _mm512_permutex2var_epi32(a, from_first, b);
	v[1] = _mm512_permutex2var_epi32(b, from_fifth, c);
	v[2] = _mm512_permutex2var_epi32(d, from_first, e);
	v[3] = _mm512_permutex2var_epi32(e, from_fifth, f);
	const __m512i heads = _mm512_setr_epi64(0, 3, 6, 9, 12, 15, 2, 5);
	__m512i low = _mm512_mask_permutexvar_epi64(_mm512_permutex2var_epi64(a, heads, b), 0xC0, heads, c);
	__m512i high = _mm512_mask_permutexvar_epi64(_mm512_permutex2var_epi64(d, heads, e), 0xC0, heads, f);
#define FIFTH(group) 2 * (group) + 1
	lanes_of_five_bits(row->w, v, _mm512_permutex2var_epi32(low, (__m512i)(__v16si){BY_LANES(FIFTH)}, high));
#undef FIFTH
	scales_of_heads(low, high, row);
}

/* Blocks of 5 double words: scale and minimum, four of nibbles. */
INLINE void read_q4_1(const char *chunk, const char *second, chunk_lanes *row)
{
	__m512i a = load512_once(chunk), b = load512_once(chunk + 64), c = load512_once(chunk + 128), d = load512_once(chunk + 192);
	__m512i e = load512_once(chunk + 256), v[4];
	v[0] = _mm512_permutex2var_epi32(a, BLOCKS_OF_DWORDS(1, 6, 11, 16), b);
	v[1] = _mm512_permutex2var_epi32(b, BLOCKS_OF_DWORDS(5, 10, 15, 20), c);
	v[2] = _mm512_permutex2var_epi32(c, BLOCKS_OF_DWORDS(9, 14, 19, 24), d);
	v[3] = _mm512_permutex2var_epi32(d, BLOCKS_OF_DWORDS(13, 18, 23, 28), e);
	lanes_of_nibbles(row->w, v);
	const __m512i heads = _mm512_setr_epi32(0, 5, 10, 15, 20, 25, 30, 3, 8, 13, 2, 7, 12, 1, 6, 11);
	__m512i head = _mm512_mask_permutexvar_epi32(_mm512_permutex2var_epi32(a, heads, b), 0x0380, heads, c);
	head = _mm512_mask_permutexvar_epi32(_mm512_mask_permutexvar_epi32(head, 0x1C00, heads, d), 0xE000, heads, e);
#define FIRST(group) 2 * (group)
#define SECOND(group) 2 * (group) + 1
	head = _mm512_permutexvar_epi16((__m512i)(__v32hi){BY_LANES(FIRST), BY_LANES(SECOND)}, head);
#undef SECOND
#undef FIRST
	scales_of_halves(head, row);
}

INLINE void read_q8_0(const char *chunk, const char *second, chunk_lanes *row)
{
	__m512i c[8];
#pragma GCC unroll 8
	for (int h = 0; h < 8; h++)
		c[h] = codes64_q8_0(chunk, h);
	lanes_of_columns(row->w, c);
	/* Each lane's F16 for itself: fewer loads of more bytes lie across cache lines, and are slower from memory. */
	__m128i d[16];
#pragma GCC unroll 16
	for (int l = 0; l < 16; l++)
		d[l] = _mm_cvtsi32_si128((int)load32(&BLOCK(q8_0, 4 * (l % 4) + l / 4)));
#pragma GCC unroll 8
	for (int l = 0; l < 8; l++)
		d[l] = _mm_unpacklo_epi16(d[2 * l], d[2 * l + 1]);
#pragma GCC unroll 4
	for (int l = 0; l < 4; l++)
		d[l] = _mm_unpacklo_epi32(d[2 * l], d[2 * l + 1]);
	__m128i low = _mm_unpacklo_epi64(d[0], d[1]), high = _mm_unpacklo_epi64(d[2], d[3]);
	row->scale = _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
}

#undef BY_LANES
#undef BLOCKS_OF_DWORDS
#undef DWORDS
#undef BLOCKS
#undef WORDS

/* ---- blocks of 256 ---- */

/* The same of two blocks: lanes 0 and 1 of each quarter are the first's. */
INLINE __m512 of_blocks(uint16_t first, uint16_t second)
{
	return _mm512_cvtph_ps(_mm256_set1_epi64x((long long)((uint64_t)first * 0x10001 | (uint64_t)second * 0x10001 << 32)));
}

INLINE void read_iq4_xs(const char *chunk, const char *second, chunk_lanes *row)
{
	const hth_block_iq4_xs *a = (const hth_block_iq4_xs *)chunk, *b = (const hth_block_iq4_xs *)second;
	__m512i v[4] = {load512_once(a->qs), load512_once(a->qs + 64), load512_once(b->qs), load512_once(b->qs + 64)};
	lanes_of_nibbles(row->w, v);
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++)
		row->w[k] = iq4_value(row->w[k]);
	uint64_t s[2];
	for (int i = 0; i < 2; i++) {
		const hth_block_iq4_xs *block = i ? b : a;
		s[i] = _pdep_u64(load32(block->scales_l), 0x0F0F0F0F0F0F0F0F) | _pdep_u64(block->scales_h, 0x3030303030303030);
	}
	const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	__m128i bytes = _mm_shuffle_epi8(_mm_set_epi64x((long long)s[1], (long long)s[0]), order);
	__m512i of32 = _mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(32));
	row->scale = _mm512_mul_ps(_mm512_cvtepi32_ps(of32), of_blocks(a->d, b->d));
}

/* hth_k4_scale_min of all groups. Lane l has group 4 (l % 2) + l / 4 of its block: odd ones have the low 4 bits of scale and minimum in one
 * byte, and 2 more at the top of other bytes. `times` goes to the scales. */
INLINE void k4_lane_scales(const char *first, const char *second, __m512 times, chunk_lanes *row)
{
	__m256i two = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(first)), load128(second), 1);
	__m512i bytes = _mm512_castsi256_si512(two);
/* The two bytes that quarter q's lanes are made of. Scales begin at byte 4 of a block. */
#define PAIR(at, low, high) ((at) + (low) + ((at) + (high)) * 256)
#define QUARTER(q, even, odd_low, odd_high)                                                                            \
	PAIR(4 + (q), even, even), PAIR(4 + (q), odd_low, odd_high), PAIR(20 + (q), even, even), PAIR(20 + (q), odd_low, odd_high)
	const __m512i of_scales = (__m512i)(__v16si){QUARTER(0, 0, 8, 0), QUARTER(1, 0, 8, 0), QUARTER(2, 0, 8, 0), QUARTER(3, 0, 8, 0)};
	const __m512i of_mins = (__m512i)(__v16si){QUARTER(0, 4, 8, 4), QUARTER(1, 4, 8, 4), QUARTER(2, 4, 8, 4), QUARTER(3, 4, 8, 4)};
#undef QUARTER
#undef PAIR
	const __m512i top = _mm512_set1_epi64(10ll << 32 | 8), nibble = _mm512_set1_epi64(4ll << 32);
	const __m512i six = _mm512_set1_epi32(0x3F), four = _mm512_set1_epi32(0x0F);
	__m512i s = _mm512_permutexvar_epi8(of_scales, bytes), m = _mm512_permutexvar_epi8(of_mins, bytes);
	__m512i s_top = _mm512_srlv_epi32(s, top), m_top = _mm512_srlv_epi32(m, top);
	m = _mm512_srlv_epi32(m, nibble);
	s = _mm512_and_si512(_mm512_ternarylogic_epi32(four, s, s_top, 0xCA), six); /* four ? s : s_top */
	m = _mm512_and_si512(_mm512_ternarylogic_epi32(four, m, m_top, 0xCA), six);
	const __m256i of_d = _mm256_set1_epi64x(0x0008000800000000), of_dmin = _mm256_set1_epi64x(0x0009000900010001);
	__m512 d = _mm512_cvtph_ps(_mm256_permutexvar_epi16(of_d, two)), dmin = _mm512_cvtph_ps(_mm256_permutexvar_epi16(of_dmin, two));
	row->scale = _mm512_mul_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(d, times));
	row->min = _mm512_mul_ps(_mm512_cvtepi32_ps(m), dmin); /* to be subtracted */
}

/* 32 bytes of nibbles have two groups, low and high ones: t[j] has words j of all in quarters 0 and 2, words 4 + j in 1 and 3. High nibbles
 * stay where they are: 16 times as large, with a scale of a sixteenth. */
INLINE void read_q4_k(const char *chunk, const char *second, chunk_lanes *row)
{
	const __m512i mask = _mm512_set_epi64(-0x0F0F0F0F0F0F0F10, -0x0F0F0F0F0F0F0F10, 0x0F0F0F0F0F0F0F0F, 0x0F0F0F0F0F0F0F0F,
	                                      -0x0F0F0F0F0F0F0F10, -0x0F0F0F0F0F0F0F10, 0x0F0F0F0F0F0F0F0F, 0x0F0F0F0F0F0F0F0F);
	__m512i t[4];
	const uint8_t *a = BLOCK(q4_k, 0).qs, *b = ((const hth_block_q4_k *)second)->qs;
	transpose_quarters(t, load512_once(a), load512_once(a + 64), load512_once(b), load512_once(b + 64));
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		row->w[j] = _mm512_and_si512(_mm512_permutex_epi64(t[j], 0x44), mask);
		row->w[4 + j] = _mm512_and_si512(_mm512_permutex_epi64(t[j], 0xEE), mask);
	}
	const float low = 1, high = 0.0625f;
	k4_lane_scales(chunk, second, _mm512_setr_ps(low, low, low, low, high, high, high, high, low, low, low, low, high, high, high,
	                                             high), row);
}

/* Group g has bit g of a block's 32 high bytes; pieces 2 i and 2 i + 1 of nibbles have groups 4 i to 4 i + 3. */
INLINE void q5_k_codes(const hth_block_q5_k *b, __m512i low[2], __m512i high[2])
{
	const __m512i mask = _mm512_set1_epi8(15), fifth = both_halves(b->qh);
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m512i v = load512_once(b->qs + 64 * i);
		__m512i even = i ? HALVES(fifth, MOVE_BIT(4, 4), MOVE_BIT(6, 4)) : HALVES(fifth, MOVE_BIT(0, 4), MOVE_BIT(2, 4));
		__m512i odd = i ? HALVES(fifth, MOVE_BIT(5, 4), MOVE_BIT(7, 4)) : HALVES(fifth, MOVE_BIT(1, 4), MOVE_BIT(3, 4));
		low[i] = _mm512_ternarylogic_epi32(v, mask, even, 0xEA); /* (v & mask) | even */
		high[i] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(v, 4), mask, odd, 0xEA);
	}
}
INLINE void read_q5_k(const char *chunk, const char *second, chunk_lanes *row)
{
	const __m512i of_both = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
	__m512i low[4], high[4], t[4], u[4];
	q5_k_codes((const hth_block_q5_k *)chunk, low, high);
	q5_k_codes((const hth_block_q5_k *)second, low + 2, high + 2);
	transpose_quarters(t, low[0], low[1], low[2], low[3]);
	transpose_quarters(u, high[0], high[1], high[2], high[3]);
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		row->w[j] = _mm512_permutex2var_epi64(t[j], of_both, u[j]);
		row->w[4 + j] = _mm512_permutex2var_epi64(t[j], _mm512_add_epi64(of_both, _mm512_set1_epi64(2)), u[j]);
	}
	k4_lane_scales(chunk, second, _mm512_set1_ps(1), row);
}

/* ---- groups of 16: 256 columns, a group in each lane, in order ---- */

/* c[h]: 64 codes in column order, which are four lanes of four dwords. Dword k of lane l to w[k]. */
INLINE void lanes16_of_columns(__m512i w[4], __m512i c0, __m512i c1, __m512i c2, __m512i c3)
{
	const __m512i k01 = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
	const __m512i k23 = _mm512_add_epi32(k01, _mm512_set1_epi32(2));
	__m512i a = _mm512_permutex2var_epi32(c0, k01, c1), b = _mm512_permutex2var_epi32(c2, k01, c3);
	__m512i c = _mm512_permutex2var_epi32(c0, k23, c1), d = _mm512_permutex2var_epi32(c2, k23, c3);
	w[0] = _mm512_shuffle_i64x2(a, b, 0x44);
	w[1] = _mm512_shuffle_i64x2(a, b, 0xEE);
	w[2] = _mm512_shuffle_i64x2(c, d, 0x44);
	w[3] = _mm512_shuffle_i64x2(c, d, 0xEE);
}

#define QWORDS(v, m0, m1, m2, m3, flip)                                                                                        \
	_mm512_gf2p8affine_epi64_epi8(v, _mm512_setr_epi64((long long)(m0), (long long)(m1), (long long)(m2), (long long)(m3), \
	                                                   (long long)(m0), (long long)(m1), (long long)(m2), (long long)(m3)), flip)

/* Lane 8 half + 2 k + i: 32 columns k of the half, 16 bytes i of them. */
INLINE void read_q6_k(const char *chunk, const char *second, chunk_lanes *row)
{
	const hth_block_q6_k *b = &BLOCK(q6_k, 0);
	__m512i low0 = load512(b->ql), low1 = load512(b->ql + 64), high = load512(b->qh);
	const __m512i at = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 16, 20, 24, 28, 16, 20, 24, 28);
	const __m512i at_high = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 8, 12, 8, 12, 8, 12, 8, 12);
/* Two bits to 4 and 5, plus 96: bit 7 is the upper one, bits 5 and 6 its opposite. */
#define PLUS_96(bit) (MOVE_BIT(bit, 4) | MOVE_BIT((bit) + 1, 5) | MOVE_BIT((bit) + 1, 6) | MOVE_BIT((bit) + 1, 7))
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		__m512i v = _mm512_permutex2var_epi32(low0, _mm512_add_epi32(at, _mm512_set1_epi32(k)), low1);
		__m512i h = _mm512_permutexvar_epi32(_mm512_add_epi32(at_high, _mm512_set1_epi32(k)), high);
		row->w[k] = _mm512_or_si512(QWORDS(v, MOVE_4(0, 0), MOVE_4(0, 0), MOVE_4(4, 0), MOVE_4(4, 0), 0),
		                            QWORDS(h, PLUS_96(0), PLUS_96(2), PLUS_96(4), PLUS_96(6), 0x60));
	}
#undef PLUS_96
	__m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(b->scales)));
	row->scale = _mm512_mul_ps(s, _mm512_set1_ps(half_to_float(b->d)));
}

/* Two bits of each column: the 32 bytes of half h have columns 32 j on of the half in bits 2 j and 2 j + 1, lanes 8 h + 2 j and the
 * next. */
INLINE __m512i two_bits_of_lanes(__m512i qs, int k)
{
	const __m512i at = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 8, 12, 8, 12, 8, 12, 8, 12);
	return QWORDS(_mm512_permutexvar_epi32(_mm512_add_epi32(at, _mm512_set1_epi32(k)), qs), MOVE_2(0, 0), MOVE_2(2, 0), MOVE_2(4, 0),
	              MOVE_2(6, 0), 0);
}

INLINE void read_q3_k(const char *chunk, const char *second, chunk_lanes *row)
{
	const hth_block_q3_k *b = &BLOCK(q3_k, 0);
	__m512i qs = load512(b->qs), third = _mm512_castsi256_si512(load256(b->hmask));
	const __m512i at = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4);
	/* Bit 4 h + j of the same bytes. */
	const __m512i to_bit_2 = _mm512_setr_epi64((long long)MOVE_BIT(0, 2), (long long)MOVE_BIT(1, 2), (long long)MOVE_BIT(2, 2),
	                                           (long long)MOVE_BIT(3, 2), (long long)MOVE_BIT(4, 2), (long long)MOVE_BIT(5, 2),
	                                           (long long)MOVE_BIT(6, 2), (long long)MOVE_BIT(7, 2));
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		__m512i bits = _mm512_permutexvar_epi32(_mm512_add_epi32(at, _mm512_set1_epi32(k)), third);
		row->w[k] = _mm512_or_si512(two_bits_of_lanes(qs, k), _mm512_gf2p8affine_epi64_epi8(bits, to_bit_2, 0));
	}
	/* Four bits of scales g and 8 + g in byte g, two more of four in each of bytes 8 to 11: here from byte 2 on, as the block ends. */
	__m128i v = load128(b->qs + sizeof b->qs - 2);
	const __m128i from = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
	const __m128i nibble = _mm_set_epi64x((long long)MOVE_4(4, 0), (long long)MOVE_4(0, 0));
	__m128i low = _mm_gf2p8affine_epi64_epi8(_mm_shuffle_epi8(v, from), nibble, 0);
	__m128i high = _mm_srlv_epi32(_mm_shuffle_epi8(v, _mm_set1_epi32(0x0D0C0B0A)), _mm_setr_epi32(0, 2, 4, 6));
	high = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
	__m512i of32 = _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_or_si128(low, high)), _mm512_set1_epi32(32));
	row->scale = _mm512_mul_ps(_mm512_cvtepi32_ps(of32), _mm512_set1_ps(half_to_float(b->d)));
}

INLINE void read_q2_k(const char *chunk, const char *second, chunk_lanes *row)
{
	const hth_block_q2_k *b = &BLOCK(q2_k, 0);
	__m512i qs = load512(b->qs);
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++)
		row->w[k] = two_bits_of_lanes(qs, k);
	__m128i v = load128(b->scales), mask = _mm_set1_epi8(15);
	__m512 s = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(v, mask)));
	__m512 m = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(v, 4), mask)));
	row->scale = _mm512_mul_ps(s, _mm512_set1_ps(half_to_float(b->d)));
	row->min = _mm512_mul_ps(m, _mm512_set1_ps(half_to_float(b->dmin))); /* to be subtracted */
}

/* ---- sums ---- */

/* Lane i of the result: the sum of row i. */
INLINE __m512 add_across(const float rows[16][16])
{
	__m512 t[8], u[4];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		__m512 a = _mm512_load_ps(rows[2 * i]), b = _mm512_load_ps(rows[2 * i + 1]);
		t[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		__m512d a = _mm512_castps_pd(t[2 * i]), b = _mm512_castps_pd(t[2 * i + 1]);
		u[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
	}
	__m512 p = _mm512_add_ps(_mm512_shuffle_f32x4(u[0], u[1], 0x44), _mm512_shuffle_f32x4(u[0], u[1], 0xEE));
	__m512 q = _mm512_add_ps(_mm512_shuffle_f32x4(u[2], u[3], 0x44), _mm512_shuffle_f32x4(u[2], u[3], 0xEE));
	return _mm512_add_ps(_mm512_shuffle_f32x4(p, q, 0x88), _mm512_shuffle_f32x4(p, q, 0xDD));
}

#endif
