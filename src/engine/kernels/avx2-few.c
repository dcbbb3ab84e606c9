/* avx2-few.c - rows of weights, as they lie in the file, by a few tokens, in one reading of the weights (the AVX2 row).
 *
 * A row's chunk is laid out (avx2-few.h) as a panel of avx2-gemm.c has those of 8 rows, with groups in the place of rows. So the sums,
 * their ranges and their starts are those of that file. A panel, shared by rows as well, pays from about 16 tokens on.
 */
#include "engine/kernels/avx2-few.h"

typedef void (*scales_fn)(const char *chunk, int n, __m256 *s, __m256 *m);
typedef __m256i (*int_scales_fn)(const char *chunk, float *d, __m256 *m);

/* The gemm whose sums these are; C5: U5 of codes 16 too large, which is all their minimum was for; SHIFT_5 and SHIFT_2: groups of 16 with
 * an offset of 32 or 4; MIN_16: of 16 with minimums. */
typedef enum sum_kind { U4, U5, C5, SHIFT_5, SHIFT_2, MIN_16, S8 } sum_kind;

/* In chunk_groups: by groups of 32, scale[0], and min[0] where there are minimums. By 16: half, integer scales of the groups' halves, the
 * float that all are times in scale[0], and for MIN_16 the minimums in column order. */

void hth_avx2_arrange_acts(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	static const hth_a8_line nothing;
	hth_a8_groups *to = dst;
	__m256i q[8];
	for (size_t g = 0; g < 8; g++) {
		const hth_a8_line *l = g < n_groups ? (const hth_a8_line *)((const char *)lines + g * stride) : &nothing;
		q[g] = aligned256(l->q);
		to->d[g] = l->d;
		to->s32[g] = l->s32;
		memcpy(to->s16 + 2 * g, l->s16, sizeof l->s16);
		memcpy(to->minus[0][g], l->minus[0], sizeof l->minus[0]);
		memcpy(to->minus[1][g], l->minus[1], sizeof l->minus[1]);
		to->n16[0][g] = l->n16[0];
		to->n16[1][g] = l->n16[1];
	}
	transpose8(q);
	for (size_t k = 0; k < 8; k++)
		_mm256_store_si256((__m256i *)to->q[k], q[k]);
}

INLINE void read_chunk(const char *chunk, chunk_groups *row, read_codes_fn read_codes, scales_fn scales, int_scales_fn int_scales,
                       const sum_kind kind)
{
	read_codes(chunk, row->w);
	if (kind == SHIFT_5 || kind == SHIFT_2 || kind == MIN_16) {
		float d;
		__m256i s = int_scales(chunk, &d, row->min);
		scales_of_halves(s, row->half);
		row->scale[0] = _mm256_set1_ps(d);
	} else {
		scales(chunk, 8, &row->scale[0], &row->min[0]);
		if (kind == U5)
			row->min[0] = _mm256_fmadd_ps(row->scale[0], _mm256_set1_ps(16), row->min[0]);
	}
}

/* Columns of steps [first, first + n), in 16 bits. */
INLINE __m256i steps(const chunk_groups *row, const hth_a8_groups *x, const int first, const int n, __m256i sum, const bool from_zero)
{
#pragma GCC unroll 8
	for (int k = first; k < first + n; k++) {
		__m256i p = _mm256_maddubs_epi16(row->w[k], aligned256(x->q[k]));
		sum = from_zero && k == first ? p : _mm256_add_epi16(sum, p);
		IN_THIS_ORDER(sum);
	}
	return sum;
}

/* acc += the row's chunk by a token. */
INLINE __m256 dot(const chunk_groups *row, const hth_a8_groups *x, const sum_kind kind, __m256 acc)
{
	const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi16(1);
	__m256i sum;
	if (kind == S8) {
		/* Products of 8-bit codes fill 16 bits: each pair is widened. The sign moves to the activation. */
		sum = zero;
#pragma GCC unroll 8
		for (int k = 0; k < 8; k++) {
			__m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(row->w[k]), _mm256_sign_epi8(aligned256(x->q[k]), row->w[k]));
			sum = _mm256_add_epi32(sum, _mm256_madd_epi16(p, one));
			IN_THIS_ORDER(sum);
		}
	} else if (kind == U4) {
		sum = _mm256_madd_epi16(steps(row, x, 0, 8, zero, true), one);
	} else if (kind == U5 || kind == C5) {
		__m256i minus = _mm256_add_epi16(aligned256(x->minus[0]), aligned256(x->minus[1]));
		sum = _mm256_madd_epi16(steps(row, x, 0, 8, _mm256_slli_epi16(minus, 4), false), one);
	} else {
		const int shift = kind == SHIFT_5 ? 5 : 2;
		__m256i s0 = _mm256_slli_epi16(aligned256(x->minus[0]), shift), s1 = _mm256_slli_epi16(aligned256(x->minus[1]), shift);
		s0 = steps(row, x, 0, 4, s0, kind == MIN_16);
		s1 = steps(row, x, 4, 4, s1, kind == MIN_16);
		sum = _mm256_add_epi32(_mm256_madd_epi16(s0, row->half[0]), _mm256_madd_epi16(s1, row->half[1]));
	}
	acc = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(x->d)), row->scale[0], acc);
	if (kind == U4 || kind == U5)
		acc = _mm256_fmadd_ps(row->min[0], _mm256_load_ps(x->s32), acc);
	if (kind == MIN_16) {
		acc = _mm256_fmadd_ps(row->min[0], _mm256_load_ps(x->s16), acc);
		acc = _mm256_fmadd_ps(row->min[1], _mm256_load_ps(x->s16 + 8), acc);
	}
	return acc;
}

#define AVX2_TYPE(name, blocks_per_chunk, kind)                                              \
	INLINE void read_##name(const char *chunk, chunk_groups *row)                        \
	{                                                                                    \
		read_chunk(chunk, row, read_codes_##name, scales_##name, int_scales_##name, kind); \
	}                                                                                    \
	INLINE __m256 dot_##name(const chunk_groups *row, const hth_a8_groups *x, __m256 acc) \
	{                                                                                    \
		return dot(row, x, kind, acc);                                               \
	}                                                                                    \
	FEW(avx2, name, blocks_per_chunk, read_##name, dot_##name)
#define int_scales_q4_0 NULL
#define int_scales_q4_1 NULL
#define int_scales_q5_0 NULL
#define int_scales_q5_1 NULL
#define int_scales_q8_0 NULL
#define int_scales_iq4_nl NULL
#define int_scales_mxfp4 NULL
#define int_scales_q4_k NULL
#define int_scales_q5_k NULL
#define int_scales_iq4_xs NULL
AVX2_TYPE(q4_0, 8, U4)
AVX2_TYPE(q4_1, 8, U4)
AVX2_TYPE(q5_0, 8, C5)
AVX2_TYPE(q5_1, 8, U5)
AVX2_TYPE(q8_0, 8, S8)
AVX2_TYPE(iq4_nl, 8, S8)
AVX2_TYPE(mxfp4, 8, C5)
AVX2_TYPE(q2_k, 1, MIN_16)
AVX2_TYPE(q3_k, 1, SHIFT_2)
AVX2_TYPE(q4_k, 1, U4)
AVX2_TYPE(q5_k, 1, U5)
AVX2_TYPE(q6_k, 1, SHIFT_5)
AVX2_TYPE(iq4_xs, 1, S8)
