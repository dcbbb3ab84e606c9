/* avx2-one.c - rows of blocks with nibbles by one token (the AVX2 row): all types with codes but Q8_0, Q2_K and Q3_K.
 *
 * The loop of avx2-rows.c widens, converts and scales each group of 32 for itself; that of avx2-few.c brings each group's codes to a lane
 * of its own first, which pays when several tokens use them. Here two blocks, i and 4 + i, are multiplied in the halves of a vector as they
 * lie (avx2-one.h), and sums are brought together afterwards, in 16 bits while they fit (avx2-gemm.c has the ranges): 2 products for each
 * lane, then lanes of four such vectors.
 *
 * It ends with the 8 groups' sums in the lanes that avx2-few.c has them in, and goes on with its floating operations in its order, so a
 * token alone comes out to the last bit as among others. Vector units are the limit (3.3 of 4 instructions a cycle on a Zen 5), so the
 * scales of Q4_K and Q5_K are unpacked in integer registers.
 */
#include "engine/kernels/avx2-one.h"

void hth_avx2_arrange_alone(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	hth_a8_alone *to = dst;
	for (size_t g = 0; g < 8; g++) {
		const hth_a8_line *l = arrange_group(to, lines, stride, n_groups, g);
		memcpy(to->minus[0][g], l->minus[0], sizeof l->minus[0]);
		memcpy(to->minus[1][g], l->minus[1], sizeof l->minus[1]);
	}
	for (size_t i = 0; i < 8; i++)
		_mm256_store_si256((__m256i *)to->sizes[i], _mm256_abs_epi8(aligned256(to->halves[i])));
}

/* Columns 0 to 15 and 16 to 31 of two groups, in 16 bits. */
INLINE __m256i products(__m256i first, __m256i last, const int8_t q[2][32])
{
	return _mm256_add_epi16(_mm256_maddubs_epi16(first, aligned256(q[0])), _mm256_maddubs_epi16(last, aligned256(q[1])));
}

/* Blocks of nibbles i and 4 + i of a chunk, `stride` bytes apart, by their activations: in 16 bits, or 32 where codes are looked up. */
INLINE __m256i two_blocks(const char *nibbles, size_t stride, size_t i, const hth_a8_alone *x, const bool looked_up)
{
	__m256i v = two_pieces(nibbles + i * stride, 4 * stride), low = low_nibbles(v), high = high_nibbles(v);
	if (!looked_up)
		return products(low, high, x->halves + 2 * i);
	/* Products of 8-bit codes fill 16 bits. The activation's sign moves to the code. */
	const __m256i one = _mm256_set1_epi16(1);
	low = _mm256_sign_epi8(look_up(hth_iq4_values, 0, low), aligned256(x->halves[2 * i]));
	high = _mm256_sign_epi8(look_up(hth_iq4_values, 0, high), aligned256(x->halves[2 * i + 1]));
	__m256i p = _mm256_maddubs_epi16(aligned256(x->sizes[2 * i]), low),
	    p2 = _mm256_maddubs_epi16(aligned256(x->sizes[2 * i + 1]), high);
	return _mm256_add_epi32(_mm256_madd_epi16(p, one), _mm256_madd_epi16(p2, one));
}

/* In 16 bits: 4 products in a lane, then 16: 16 * 15 * 127 = 30480. */
INLINE __m256i sum_blocks(const __m256i v[4], const bool looked_up)
{
	__m256i sum = across_blocks(v, looked_up);
	return looked_up ? sum : _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

INLINE __m256i dot_blocks(const char *nibbles, size_t stride, const hth_a8_alone *x, const bool looked_up)
{
	__m256i v[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
		v[i] = two_blocks(nibbles, stride, i, x, looked_up);
	return sum_blocks(v, looked_up);
}

INLINE __m256 blocks_q4_0(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 scale = half_of_blocks(chunk, sizeof(hth_block_q4_0));
	acc = add_chunk(dot_blocks(chunk + 2, sizeof(hth_block_q4_0), x, false), x, scale, acc);
	return _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_set1_ps(-8)), _mm256_load_ps(x->s32), acc);
}
INLINE __m256 blocks_q4_1(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	acc = add_chunk(dot_blocks(chunk + 4, sizeof(hth_block_q4_1), x, false), x, half_of_blocks(chunk, sizeof(hth_block_q4_1)), acc);
	return _mm256_fmadd_ps(half_of_blocks(chunk + 2, sizeof(hth_block_q4_1)), _mm256_load_ps(x->s32), acc);
}
INLINE __m256 blocks_iq4_nl(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	return add_chunk(dot_blocks(chunk + 2, sizeof(hth_block_iq4_nl), x, true), x, half_of_blocks(chunk, sizeof(hth_block_iq4_nl)), acc);
}
INLINE __m256 blocks_iq4_xs(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 scale, none;
	scales_iq4_xs(chunk, 8, &scale, &none);
	return add_chunk(dot_blocks((const char *)((const hth_block_iq4_xs *)chunk)->qs, 16, x, true), x, scale, acc);
}

/* In 16 bits, of codes that are 16 too large, which the sums begin without (C5 and U5 of avx2-few.c): 16 products in a lane pass its end on
 * the way and come back. */
INLINE __m256i sum_centred(const __m256i v[4], const hth_a8_alone *x)
{
	__m256i minus = _mm256_slli_epi16(_mm256_add_epi16(aligned256(x->minus[0]), aligned256(x->minus[1])), 4);
	return _mm256_madd_epi16(_mm256_add_epi16(across_blocks(v, false), minus), _mm256_set1_epi16(1));
}

INLINE __m256 blocks_mxfp4(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	enum { STRIDE = sizeof(hth_block_mxfp4) };
	__m256i v[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++) {
		__m256i both = two_pieces(chunk + 1 + i * STRIDE, 4 * STRIDE);
		v[i] = products(look_up(hth_mxfp4_values, 16, low_nibbles(both)), look_up(hth_mxfp4_values, 16, high_nibbles(both)),
		                x->halves + 2 * i);
	}
	__m256 scale, none;
	scales_mxfp4(chunk, 8, &scale, &none);
	return add_chunk(sum_centred(v, x), x, scale, acc);
}

/* Blocks i and 4 + i with a fifth bit. */
INLINE __m256i two_blocks_of_five(const char *fifth, const char *nibbles, size_t stride, size_t i, const hth_a8_alone *x)
{
	__m256i both = two_pieces(nibbles + i * stride, 4 * stride), bits[2];
	fifth_of_two(fifth + i * stride, 4 * stride, bits);
	return products(_mm256_or_si256(low_nibbles(both), bits[0]), _mm256_or_si256(high_nibbles(both), bits[1]), x->halves + 2 * i);
}
INLINE __m256 blocks_q5_0(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256i v[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
		v[i] = two_blocks_of_five(chunk + 2, chunk + 6, sizeof(hth_block_q5_0), i, x);
	return add_chunk(sum_centred(v, x), x, half_of_blocks(chunk, sizeof(hth_block_q5_0)), acc);
}
INLINE __m256 blocks_q5_1(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256i v[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
		v[i] = two_blocks_of_five(chunk + 4, chunk + 8, sizeof(hth_block_q5_1), i, x);
	__m256 scale = half_of_blocks(chunk, sizeof(hth_block_q5_1));
	__m256 min = _mm256_fmadd_ps(scale, _mm256_set1_ps(16), half_of_blocks(chunk + 2, sizeof(hth_block_q5_1)));
	acc = add_chunk(sum_centred(v, x), x, scale, acc);
	return _mm256_fmadd_ps(min, _mm256_load_ps(x->s32), acc);
}

/* 32 bytes of Q4_K hold two groups: those of pieces i and 2 + i in halves of a vector give groups 2 i and 4 + 2 i, and 2 i + 1 and 5 + 2
 * i. */
INLINE __m256 blocks_q4_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q4_k *b = (const hth_block_q4_k *)chunk;
	__m256i v[4];
#pragma GCC unroll 2
	for (size_t i = 0; i < 2; i++) {
		__m256i first = two_pieces(b->qs + 32 * i, 64), last = two_pieces(b->qs + 32 * i + 16, 64);
		v[2 * i] = products(low_nibbles(first), low_nibbles(last), x->halves + 4 * i);
		v[2 * i + 1] = products(high_nibbles(first), high_nibbles(last), x->halves + 4 * i + 2);
	}
	__m256 scale, min;
	scales_q4_k(chunk, 8, &scale, &min);
	acc = add_chunk(sum_blocks(v, false), x, scale, acc);
	return _mm256_fmadd_ps(min, _mm256_load_ps(x->s32), acc);
}

/* The same with a fifth bit, and codes centred at 16 (U5 of avx2-few.c). */
INLINE __m256 blocks_q5_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q5_k *b = (const hth_block_q5_k *)chunk;
	fifth_bits_k bits = fifth_of_k(b->qh);
	__m256i v[4];
#pragma GCC unroll 2
	for (int i = 1; i >= 0; i--) {
		__m256i first = two_pieces(b->qs + 32 * i, 64), last = two_pieces(b->qs + 32 * i + 16, 64);
#pragma GCC unroll 2
		for (int high = 1; high >= 0; high--) {
			__m256i f = high ? high_nibbles(first) : low_nibbles(first), l = high ? high_nibbles(last) : low_nibbles(last);
			next_fifth(&bits, &f, &l);
			v[2 * i + high] = products(f, l, x->halves + 4 * i + 2 * high);
		}
	}
	__m256 scale, min;
	scales_q5_k(chunk, 8, &scale, &min);
	min = _mm256_fmadd_ps(scale, _mm256_set1_ps(16), min);
	acc = add_chunk(sum_centred(v, x), x, scale, acc);
	return _mm256_fmadd_ps(min, _mm256_load_ps(x->s32), acc);
}

/* Groups of 16 are added up apart, 8 products in a lane of 16 bits, with codes centred at 32 (SHIFT_5 of avx2-few.c). */
INLINE __m256 blocks_q6_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q6_k *b = (const hth_block_q6_k *)chunk;
	__m256i sum[2];
#pragma GCC unroll 2
	for (size_t h = 0; h < 2; h++) {
		__m256i codes[4], v[4];
		codes_of_half(b, h, codes);
#pragma GCC unroll 4
		for (size_t i = 0; i < 4; i++)
			v[i] = _mm256_maddubs_epi16(codes[i], aligned256(x->halves[2 * i + h]));
		sum[h] = _mm256_add_epi16(across_blocks(v, false), _mm256_slli_epi16(aligned256(x->minus[h]), 5));
	}
	float d;
	__m256i s = int_scales_q6_k(chunk, &d, NULL), of_half[2];
	scales_of_halves(s, of_half);
	__m256i both = _mm256_add_epi32(_mm256_madd_epi16(sum[0], of_half[0]), _mm256_madd_epi16(sum[1], of_half[1]));
	return add_chunk(both, x, _mm256_set1_ps(d), acc);
}

ALL_TYPES(avx2)
