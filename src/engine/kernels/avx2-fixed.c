/* avx2-fixed.c - F16 and BF16 weights by many tokens on the rows with 256-bit vectors: both sides in fixed point, 32 columns to a scale
 * (kernel-row.h). vpmaddwd multiplies 16 pairs and adds them by twos, where an FMA has 8 products: the same instructions for products and
 * additions apart as for half the FMAs, and additions have pipes of their own.
 */
#include "engine/kernels/avx2-fixed.h"
#include "base/mem.h"

/* Numbers i to i + 7 of n, of `size` bytes each; zeros past the end. */
INLINE __m256 load_some(const char *x, size_t i, size_t n, const size_t size, load_fn load)
{
	return i + 8 <= n ? load(x + i * size) : i < n ? load_tail(x + i * size, n - i, size, load) : _mm256_setzero_ps();
}

/* What is largest in each of 8 vectors. */
INLINE __m256 largest_of_each(__m256i v[8])
{
	transpose8(v);
	__m256 m = _mm256_castsi256_ps(v[0]);
#pragma GCC unroll 8
	for (int i = 1; i < 8; i++)
		m = _mm256_max_ps(m, _mm256_castsi256_ps(v[i]));
	return m;
}

/* n <= 256 numbers to lines i of q[i] and d[i]. A line's columns come out of vpackssdw in the order 0 to 3, 8 to 11, 4 to 7, and so on: in
 * activations as in weights, so that they meet. */
INLINE void fix(__m256i q[8][2], float d[8], const char *x, size_t n, const size_t size, load_fn load)
{
	__m256i max[8];
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++) {
		__m256 m = _mm256_setzero_ps();
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++) /* the operand order drops NaN */
			m = _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), load_some(x, 32 * i + 8 * k, n, size, load)), m);
		max[i] = _mm256_castps_si256(m);
	}
	__m256 m = largest_of_each(max), some = _mm256_cmp_ps(m, _mm256_set1_ps(HTH_FIXED_LEAST), _CMP_GE_OQ);
	float inverse[8];
	_mm256_storeu_ps(inverse, _mm256_and_ps(some, _mm256_div_ps(_mm256_set1_ps(HTH_FIXED_MAX), m)));
	_mm256_storeu_ps(d, _mm256_and_ps(some, _mm256_mul_ps(m, _mm256_set1_ps(1.0f / HTH_FIXED_MAX))));
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++) {
		__m256 times = _mm256_broadcast_ss(&inverse[i]);
		__m256i v[4];
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++)
			v[k] = _mm256_cvtps_epi32(_mm256_mul_ps(load_some(x, 32 * i + 8 * k, n, size, load), times));
		q[i][0] = _mm256_packs_epi32(v[0], v[1]);
		q[i][1] = _mm256_packs_epi32(v[2], v[3]);
	}
}

void hth_avx2_fix_acts(hth_fixed_line *dst, size_t stride, const float *x, size_t n)
{
	__m256i q[8][2];
	float d[8];
	if (n == 256)
		fix(q, d, (const char *)x, 256, sizeof *x, load_f32);
	else
		fix(q, d, (const char *)x, n, sizeof *x, load_f32);
	for (size_t i = 0; 32 * i < n; i++, dst = (hth_fixed_line *)((char *)dst + stride)) {
		memcpy(dst->q, q[i], sizeof dst->q);
		dst->d = d[i];
	}
}

/* Row by row first: 8 rows side by side often lie multiples of 4 KiB apart, and would share a few sets of the cache. Rows past the
 * end of the matrix are its last one. */
INLINE void unpack(hth_panel *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n, load_fn load)
{
	__m256i q[8][9][2]; /* one line more than needed, for the same reason */
	for (size_t r = 0; r < 8; r++) {
		float d[8];
		const char *row = (const char *)w + HTH_MIN(r, n_rows - 1) * row_bytes;
		if (n == 256)
			fix(q[r], d, row, 256, sizeof(uint16_t), load);
		else
			fix(q[r], d, row, n, sizeof(uint16_t), load);
#pragma GCC unroll 8
		for (size_t g = 0; g < 8; g++)
			panel->scale[8 * g + r] = d[g];
	}
	for (size_t g = 0; 32 * g < n; g++) {
#pragma GCC unroll 2
		for (size_t half = 0; half < 2; half++) {
			__m256i v[8];
#pragma GCC unroll 8
			for (size_t r = 0; r < 8; r++)
				v[r] = q[r][g][half];
			transpose8(v);
#pragma GCC unroll 8
			for (size_t k = 0; k < 8; k++)
				_mm256_store_si256((__m256i *)(panel->codes + 512 * g + 256 * half + 32 * k), v[k]);
		}
	}
}
void hth_avx2_fix_f16(hth_panel *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n)
{
	unpack(panel, w, row_bytes, n_rows, n, load_f16);
}
void hth_avx2_fix_bf16(hth_panel *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n)
{
	unpack(panel, w, row_bytes, n_rows, n, load_bf16);
}

void hth_avx2_gemm_fixed(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc, size_t acc_stride)
{
	gemm_fixed(panels, n_panels, n, acts, acc, acc_stride, 4, madd_add);
}
