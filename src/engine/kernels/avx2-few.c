/* avx2-few.c - rows of weights, as they lie in the file, by a few tokens, in one reading of the weights (the AVX2 row).
 *
 * A row's chunk of 256 columns is 8 groups of 32. Its codes are laid out as a panel of avx2-gemm.c has those of 8 rows, with groups in the
 * place of rows: vector k holds columns 4 k to 4 k + 3 of every group, a 32-bit lane each, and activations lie the same way
 * (hth_a8_groups). So the sums, their ranges and their starts are those of that file, and 256 columns of a token end in one conversion to
 * floats. What unpacking a row costs is shared by the tokens; a panel, shared by rows as well, pays from about a dozen tokens on.
 *
 * Rows are done 8 at a time, so that their sums are added across lanes together, in pieces of columns whose activations stay in the
 * first-level cache.
 */
#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx2.h"
#include "base/mem.h"

typedef __m256i (*codes_fn)(const char *chunk, int g);
typedef void (*scales_fn)(const char *chunk, int n, __m256 *s, __m256 *m);
typedef __m256i (*int_scales_fn)(const char *chunk, float *d, __m256 *m);

/* The gemm whose sums these are; SHIFT_5 and SHIFT_2: groups of 16 with an offset of 32 or 4; MIN_16: of 16 with minimums. */
typedef enum sum_kind { U4, U5, SHIFT_5, SHIFT_2, MIN_16, S8 } sum_kind;

/* A row's chunk. By groups of 32: scale, and min[0] where there are minimums. By 16: integer scales of the groups' halves, the float
 * that all are times in scale, and for MIN_16 the minimums in column order. */
typedef struct chunk_groups {
	__m256i w[8], half[2];
	__m256 scale, min[2];
} chunk_groups;

INLINE __m256i aligned256(const void *p) { return _mm256_load_si256((const __m256i *)p); }

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
	}
	transpose8(q);
	for (size_t k = 0; k < 8; k++)
		_mm256_store_si256((__m256i *)to->q[k], q[k]);
}

INLINE void read_chunk(const char *chunk, chunk_groups *row, codes_fn codes, scales_fn scales, int_scales_fn int_scales, const sum_kind kind)
{
	row->w[0] = codes(chunk, 0);
	row->w[1] = codes(chunk, 1);
	row->w[2] = codes(chunk, 2);
	row->w[3] = codes(chunk, 3);
	row->w[4] = codes(chunk, 4);
	row->w[5] = codes(chunk, 5);
	row->w[6] = codes(chunk, 6);
	row->w[7] = codes(chunk, 7);
	transpose8(row->w);
	if (kind == SHIFT_5 || kind == SHIFT_2 || kind == MIN_16) {
		float d;
		__m256i s = int_scales(chunk, &d, row->min);
		row->half[0] = _mm256_or_si256(_mm256_and_si256(s, _mm256_set1_epi32(0xFFFF)), _mm256_slli_epi32(s, 16));
		row->half[1] = _mm256_blend_epi16(_mm256_srli_epi32(s, 16), s, 0xAA);
		row->scale = _mm256_set1_ps(d);
	} else {
		scales(chunk, 8, &row->scale, &row->min[0]);
		if (kind == U5)
			row->min[0] = _mm256_fmadd_ps(row->scale, _mm256_set1_ps(16), row->min[0]);
	}
}

/* Columns of steps [first, first + n), in 16 bits. */
INLINE __m256i steps(const chunk_groups *row, const hth_a8_groups *x, const int first, const int n, __m256i sum, const bool from_zero)
{
#pragma GCC unroll 8
	for (int k = first; k < first + n; k++) {
		__m256i p = _mm256_maddubs_epi16(row->w[k], aligned256(x->q[k]));
		sum = from_zero && k == first ? p : _mm256_add_epi16(sum, p);
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
		}
	} else if (kind == U4) {
		sum = _mm256_madd_epi16(steps(row, x, 0, 8, zero, true), one);
	} else if (kind == U5) {
		__m256i minus = _mm256_add_epi16(aligned256(x->minus[0]), aligned256(x->minus[1]));
		sum = _mm256_madd_epi16(steps(row, x, 0, 8, _mm256_slli_epi16(minus, 4), false), one);
	} else {
		const int shift = kind == SHIFT_5 ? 5 : 2;
		__m256i s0 = _mm256_slli_epi16(aligned256(x->minus[0]), shift), s1 = _mm256_slli_epi16(aligned256(x->minus[1]), shift);
		s0 = steps(row, x, 0, 4, s0, kind == MIN_16);
		s1 = steps(row, x, 4, 4, s1, kind == MIN_16);
		sum = _mm256_add_epi32(_mm256_madd_epi16(s0, row->half[0]), _mm256_madd_epi16(s1, row->half[1]));
	}
	acc = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(x->d)), row->scale, acc);
	if (kind == U4 || kind == U5)
		acc = _mm256_fmadd_ps(row->min[0], _mm256_load_ps(x->s32), acc);
	if (kind == MIN_16) {
		acc = _mm256_fmadd_ps(row->min[0], _mm256_load_ps(x->s16), acc);
		acc = _mm256_fmadd_ps(row->min[1], _mm256_load_ps(x->s16 + 8), acc);
	}
	return acc;
}

/* Lane i of the result: the sum of row i. */
INLINE __m256 add_across(const float rows[8][8])
{
	__m256 t[4];
	for (int i = 0; i < 4; i++)
		t[i] = _mm256_hadd_ps(_mm256_load_ps(rows[2 * i]), _mm256_load_ps(rows[2 * i + 1]));
	__m256 low = _mm256_hadd_ps(t[0], t[1]), high = _mm256_hadd_ps(t[2], t[3]);
	return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

enum { ROWS = 8, TOKENS = 8, PIECE_COLS = 1024 };

INLINE void few(const hth_few *job, size_t t0, size_t n, size_t chunk_bytes, const size_t block_cols, codes_fn codes,
                scales_fn scales, int_scales_fn int_scales, const sum_kind kind)
{
	_Alignas(32) float sums[TOKENS][ROWS][8];
	const char *a[TOKENS];
	size_t cols = job->cols, piece = HTH_MIN(cols, (size_t)PIECE_COLS);
	/* What comes about HTH_AHEAD bytes later is the same piece of some later row. */
	size_t ahead = (HTH_AHEAD / (piece / block_cols * (chunk_bytes / (256 / block_cols)) + 1) + 1) * job->row_bytes;
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		memset(sums, 0, n * sizeof *sums);
		for (size_t c0 = 0; c0 < cols; c0 += piece) {
			size_t end = HTH_MIN(c0 + piece, cols);
			for (size_t r = 0; r < n_rows; r++) {
				const char *chunk = (const char *)job->w + (r0 + r) * job->row_bytes + c0 / 256 * chunk_bytes;
				for (size_t t = 0; t < n; t++)
					a[t] = job->acts + job->offset[t0 + t] + c0 / 256 * job->block_stride;
				for (size_t c = c0; c < end; c += 256) {
					_Alignas(32) char last[8 * sizeof(hth_block_q8_0)];
					const char *from = chunk;
					if (block_cols == 32 && c + 256 > end) {
						memset(last, 0, sizeof last); /* what is missing has scale zero */
						memcpy(last, chunk, (end - c) / 32 * (chunk_bytes / 8));
						from = last;
					} else {
#pragma GCC unroll 5
						for (size_t p = 0; p < chunk_bytes; p += 64)
							_mm_prefetch(chunk + ahead + p, _MM_HINT_T0);
					}
					chunk_groups row;
					read_chunk(from, &row, codes, scales, int_scales, kind);
					for (size_t t = 0; t < n; t++) {
						float *sum = sums[t][r];
						_mm256_store_ps(sum, dot(&row, (const hth_a8_groups *)a[t], kind, _mm256_load_ps(sum)));
						a[t] += job->block_stride;
					}
					chunk += chunk_bytes;
				}
			}
		}
		for (size_t t = 0; t < n; t++) {
			float *y = job->y + (t0 + t) * job->y_stride + r0;
			_Alignas(32) float v[8];
			_mm256_store_ps(v, add_across(sums[t]));
			memcpy(y, v, n_rows * sizeof *y);
		}
	}
}

#define AVX2_TYPE(name, blocks_per_chunk, kind)                                                                                          \
	void hth_avx2_few_##name(const hth_few *job)                                                                                     \
	{                                                                                                                                \
		enum { BYTES = (blocks_per_chunk) * sizeof(hth_block_##name), COLS = 256 / (blocks_per_chunk) };                         \
		for (size_t t = 0; t < job->n_tokens; t += TOKENS)                                                                       \
			few(job, t, HTH_MIN(job->n_tokens - t, (size_t)TOKENS), BYTES, COLS, codes_##name, scales_##name,         \
			    int_scales_##name, kind);                                                                                    \
	}
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
AVX2_TYPE(q5_0, 8, U5)
AVX2_TYPE(q5_1, 8, U5)
AVX2_TYPE(q8_0, 8, S8)
AVX2_TYPE(iq4_nl, 8, S8)
AVX2_TYPE(mxfp4, 8, U5)
AVX2_TYPE(q2_k, 1, MIN_16)
AVX2_TYPE(q3_k, 1, SHIFT_2)
AVX2_TYPE(q4_k, 1, U4)
AVX2_TYPE(q5_k, 1, U5)
AVX2_TYPE(q6_k, 1, SHIFT_5)
AVX2_TYPE(iq4_xs, 1, S8)
