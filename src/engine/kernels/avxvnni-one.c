/* avxvnni-one.c - rows of blocks with nibbles by one token, with 256-bit vpdpbusd: all types with codes but Q8_0, Q2_K and Q3_K.
 *
 * As in avx2-one.c blocks i and 4 + i are multiplied in the halves of a vector as they lie, and sums are brought together afterwards. They
 * have 32 bits from the start. The integer sums are those of avxvnni-few.c, and so are the floating operations that follow: a token alone
 * comes out to the last bit as among others.
 */
#include "engine/kernels/avx2-one.h"
#include "engine/kernels/avxvnni.h"

void hth_avxvnni_arrange_alone(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	hth_a8_alone *to = dst;
	for (size_t g = 0; g < 8; g++) {
		const hth_a8_line *l = arrange_group(to, lines, stride, n_groups, g);
		for (size_t h = 0; h < 2; h++)
			to->n16[h][g] = l->n16[h];
	}
}

/* Columns 0 to 15 and 16 to 31 of two groups. */
INLINE __m256i products(__m256i first, __m256i last, const int8_t q[2][32])
{
	__m256i sum = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), first, aligned256(q[0]));
	return _mm256_dpbusd_avx_epi32(sum, last, aligned256(q[1]));
}

/* Of codes that are `too_large`, a power of two up to 128. */
INLINE __m256i sum_less(__m256i sum, const hth_a8_alone *x, const int too_large)
{
	__m256i n = _mm256_add_epi32(aligned256(x->n16[0]), aligned256(x->n16[1]));
	return _mm256_add_epi32(sum, _mm256_srai_epi32(n, __builtin_ctz(128 / (unsigned)too_large)));
}

/* Codes of blocks i and 4 + i of a chunk: low nibbles and high ones. */
typedef void (*pair_fn)(const char *chunk, size_t i, __m256i *low, __m256i *high);
INLINE __m256i sum_of(const char *chunk, const hth_a8_alone *x, pair_fn pair)
{
	__m256i v[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++) {
		__m256i low, high;
		pair(chunk, i, &low, &high);
		v[i] = products(low, high, x->halves + 2 * i);
	}
	return across_blocks(v, true);
}

INLINE void nibbles_of(const char *p, size_t stride, size_t i, __m256i *low, __m256i *high)
{
	__m256i both = two_pieces(p + i * stride, 4 * stride);
	*low = low_nibbles(both);
	*high = high_nibbles(both);
}
INLINE void look_up_both(const int8_t table[16], int add, __m256i *low, __m256i *high)
{
	*low = look_up(table, add, *low);
	*high = look_up(table, add, *high);
}
INLINE void add_fifth(const char *p, size_t stride, size_t i, __m256i *low, __m256i *high)
{
	__m256i bits[2];
	fifth_of_two(p + i * stride, 4 * stride, bits);
	*low = _mm256_or_si256(*low, bits[0]);
	*high = _mm256_or_si256(*high, bits[1]);
}
INLINE void pair_q4_0(const char *chunk, size_t i, __m256i *low, __m256i *high)
{
	nibbles_of(chunk + 2, sizeof(hth_block_q4_0), i, low, high);
}
INLINE void pair_q4_1(const char *chunk, size_t i, __m256i *low, __m256i *high)
{
	nibbles_of(chunk + 4, sizeof(hth_block_q4_1), i, low, high);
}
INLINE void pair_q5_0(const char *chunk, size_t i, __m256i *low, __m256i *high)
{
	nibbles_of(chunk + 6, sizeof(hth_block_q5_0), i, low, high);
	add_fifth(chunk + 2, sizeof(hth_block_q5_0), i, low, high);
}
INLINE void pair_q5_1(const char *chunk, size_t i, __m256i *low, __m256i *high)
{
	nibbles_of(chunk + 8, sizeof(hth_block_q5_1), i, low, high);
	add_fifth(chunk + 4, sizeof(hth_block_q5_1), i, low, high);
}
INLINE void pair_iq4_nl(const char *chunk, size_t i, __m256i *low, __m256i *high)
{
	nibbles_of(chunk + 2, sizeof(hth_block_iq4_nl), i, low, high);
	look_up_both(hth_iq4_values, 128, low, high);
}
INLINE void pair_mxfp4(const char *chunk, size_t i, __m256i *low, __m256i *high)
{
	nibbles_of(chunk + 1, sizeof(hth_block_mxfp4), i, low, high);
	look_up_both(hth_mxfp4_values, 16, low, high);
}
INLINE void pair_iq4_xs(const char *chunk, size_t i, __m256i *low, __m256i *high)
{
	nibbles_of((const char *)((const hth_block_iq4_xs *)chunk)->qs, 16, i, low, high);
	look_up_both(hth_iq4_values, 128, low, high);
}

INLINE __m256 add_min(__m256 min, const hth_a8_alone *x, __m256 acc) { return _mm256_fmadd_ps(min, _mm256_load_ps(x->s32), acc); }

INLINE __m256 blocks_q4_0(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	return add_chunk(sum_less(sum_of(chunk, x, pair_q4_0), x, 8), x, half_of_blocks(chunk, sizeof(hth_block_q4_0)), acc);
}
INLINE __m256 blocks_q4_1(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	acc = add_chunk(sum_of(chunk, x, pair_q4_1), x, half_of_blocks(chunk, sizeof(hth_block_q4_1)), acc);
	return add_min(half_of_blocks(chunk + 2, sizeof(hth_block_q4_1)), x, acc);
}
INLINE __m256 blocks_q5_0(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	return add_chunk(sum_less(sum_of(chunk, x, pair_q5_0), x, 16), x, half_of_blocks(chunk, sizeof(hth_block_q5_0)), acc);
}
INLINE __m256 blocks_q5_1(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	acc = add_chunk(sum_of(chunk, x, pair_q5_1), x, half_of_blocks(chunk, sizeof(hth_block_q5_1)), acc);
	return add_min(half_of_blocks(chunk + 2, sizeof(hth_block_q5_1)), x, acc);
}
INLINE __m256 blocks_iq4_nl(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	return add_chunk(sum_less(sum_of(chunk, x, pair_iq4_nl), x, 128), x, half_of_blocks(chunk, sizeof(hth_block_iq4_nl)), acc);
}
INLINE __m256 blocks_mxfp4(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 scale, none;
	scales_mxfp4(chunk, 8, &scale, &none);
	return add_chunk(sum_less(sum_of(chunk, x, pair_mxfp4), x, 16), x, scale, acc);
}
INLINE __m256 blocks_iq4_xs(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 scale, none;
	scales_iq4_xs(chunk, 8, &scale, &none);
	return add_chunk(sum_less(sum_of(chunk, x, pair_iq4_xs), x, 128), x, scale, acc);
}

/* 32 bytes of Q4_K and Q5_K hold two groups: those of pieces i and 2 + i in halves of a vector give groups 2 i and 4 + 2 i, and 2 i + 1 and
 * 5 + 2 i. */
INLINE __m256i sum_of_pieces(const uint8_t qs[128], fifth_bits_k *bits, const hth_a8_alone *x)
{
	__m256i v[4];
#pragma GCC unroll 2
	for (int i = 1; i >= 0; i--) {
		__m256i first = two_pieces(qs + 32 * i, 64), last = two_pieces(qs + 32 * i + 16, 64);
#pragma GCC unroll 2
		for (int high = 1; high >= 0; high--) {
			__m256i f = high ? high_nibbles(first) : low_nibbles(first), l = high ? high_nibbles(last) : low_nibbles(last);
			if (bits != NULL)
				next_fifth(bits, &f, &l);
			v[2 * i + high] = products(f, l, x->halves + 4 * i + 2 * high);
		}
	}
	return across_blocks(v, true);
}
INLINE __m256 blocks_q4_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 scale, min;
	scales_q4_k(chunk, 8, &scale, &min);
	return add_min(min, x, add_chunk(sum_of_pieces(((const hth_block_q4_k *)chunk)->qs, NULL, x), x, scale, acc));
}
INLINE __m256 blocks_q5_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q5_k *b = (const hth_block_q5_k *)chunk;
	fifth_bits_k bits = fifth_of_k(b->qh);
	__m256 scale, min;
	scales_q5_k(chunk, 8, &scale, &min);
	return add_min(min, x, add_chunk(sum_of_pieces(b->qs, &bits, x), x, scale, acc));
}

/* Groups of 16 are added up apart. */
INLINE __m256 blocks_q6_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 sum[2], s[2], m[2], scale[2];
#pragma GCC unroll 2
	for (size_t h = 0; h < 2; h++) {
		__m256i codes[4], v[4];
		codes_of_half((const hth_block_q6_k *)chunk, h, codes);
#pragma GCC unroll 4
		for (size_t i = 0; i < 4; i++)
			v[i] = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), codes[i], aligned256(x->halves[2 * i + h]));
		sum[h] = _mm256_cvtepi32_ps(_mm256_add_epi32(across_blocks(v, true), _mm256_srai_epi32(aligned256(x->n16[h]), 2)));
	}
	scales_q6_k(chunk, 8, s, m);
	scales_of_16(scale, s[0], s[1]);
	return _mm256_fmadd_ps(_mm256_fmadd_ps(sum[1], scale[1], _mm256_mul_ps(sum[0], scale[0])), _mm256_load_ps(x->d), acc);
}

ALL_TYPES(avxvnni)
