/* avx512-fixed.c - F16 and BF16 weights by many tokens on the AVX-512 row: both sides in fixed point, 32 columns to a scale (kernel-row.h).
 *
 * vpdpwssd multiplies pairs of 16-bit integers and adds them into 32 bits: twice the multiply-adds of an FMA. A tile is 32 rows (two panels
 * of 16; each 32-bit lane is two columns of a row) by 6 tokens, 12 vectors of sums in registers: with more tokens a group's end, which
 * turns the sums into floats, leaves no registers for the products of the next group (12 tokens: 0.85 of the speed).
 */
#include "engine/kernels/avx512.h"
#include "base/mem.h"

/* A line's columns come out of vpackssdw in the order 0 to 3, 16 to 19, 4 to 7, and so on: in activations as in weights, so that they
 * meet. */
INLINE void fix_lines(__m512i q[AVX512_LINES], float d[16], const __m512 v[2 * AVX512_LINES])
{
	__m512 max[AVX512_LINES];
	/* The operand order drops NaN. */
#pragma GCC unroll 8
	for (int i = 0; i < AVX512_LINES; i++)
		max[i] = _mm512_max_ps(_mm512_abs_ps(v[2 * i + 1]), _mm512_max_ps(_mm512_abs_ps(v[2 * i]), _mm512_setzero_ps()));
	__m512 m = largest_of_each(max);
	__mmask16 some = _mm512_cmp_ps_mask(m, _mm512_set1_ps(HTH_FIXED_LEAST), _CMP_GE_OQ);
	_Alignas(64) float inverse[16];
	_mm512_store_ps(inverse, _mm512_maskz_div_ps(some, _mm512_set1_ps(HTH_FIXED_MAX), m));
	_mm512_storeu_ps(d, _mm512_maskz_mul_ps(some, m, _mm512_set1_ps(1.0f / HTH_FIXED_MAX)));
#pragma GCC unroll 8
	for (int i = 0; i < AVX512_LINES; i++) {
		__m512 times = _mm512_set1_ps(inverse[i]);
		__m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(v[2 * i], times));
		__m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(v[2 * i + 1], times));
		q[i] = _mm512_packs_epi32(low, high);
	}
}

/* n <= 256 numbers of `size` bytes each. */
INLINE void fix(__m512i q[AVX512_LINES], float d[16], const void *x, size_t n, const size_t size, load_fn load)
{
	__m512 v[2 * AVX512_LINES];
#pragma GCC unroll 16
	for (size_t i = 0; i < 2 * AVX512_LINES; i++)
		v[i] = load((const char *)x + 16 * size * i, n > 16 * i ? first(n - 16 * i) : 0);
	fix_lines(q, d, v);
}

void hth_avx512_fix_acts(hth_fixed_line *dst, size_t stride, const float *x, size_t n)
{
	__m512i q[AVX512_LINES];
	float d[16];
	fix(q, d, x, n, sizeof *x, load_f32);
	for (size_t i = 0; 32 * i < n; i++, dst = (hth_fixed_line *)((char *)dst + stride)) {
		_mm512_storeu_si512(dst->q, q[i]);
		dst->d = d[i];
	}
}

/* Row by row first: 16 rows side by side often lie multiples of 4 KiB apart, and would share a few sets of the cache. Rows past the
 * end of the matrix are its last one. */
INLINE void unpack(hth_panel *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n, load_fn load)
{
	__m512i q[16][AVX512_LINES + 1]; /* one more, for the same reason */
	for (size_t r = 0; r < 16; r++) {
		float d[16];
		const char *row = (const char *)w + HTH_MIN(r, n_rows - 1) * row_bytes;
		if (n == 32 * AVX512_LINES)
			fix(q[r], d, row, 32 * AVX512_LINES, sizeof(uint16_t), load);
		else
			fix(q[r], d, row, n, sizeof(uint16_t), load);
#pragma GCC unroll 8
		for (size_t g = 0; g < AVX512_LINES; g++)
			panel->scale[16 * g + r] = d[g];
	}
	for (size_t g = 0; 32 * g < n; g++) {
		__m512i of_group[16];
#pragma GCC unroll 16
		for (size_t r = 0; r < 16; r++)
			of_group[r] = q[r][g];
		store_transposed(panel->codes + 1024 * g, 64, of_group);
	}
}
void hth_avx512_fix_f16(hth_panel *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n)
{
	unpack(panel, w, row_bytes, n_rows, n, load_f16);
}
void hth_avx512_fix_bf16(hth_panel *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n)
{
	unpack(panel, w, row_bytes, n_rows, n, load_bf16);
}

enum { TOKENS = 6 };

/* P panels (1 or 2) by T tokens, one group of columns. */
INLINE void tile(const hth_panel *panels, const int P, size_t g, const char *lines, const uint32_t *offset, const int T, float *acc,
                 size_t acc_stride, const bool ask)
{
	__m512i sum[TOKENS][2];
#pragma GCC unroll 16
	for (size_t k = 0; k < 16; k++) {
		__m512i w[2];
#pragma GCC unroll 2
		for (int p = 0; p < P; p++)
			w[p] = _mm512_load_si512(panels[p].codes + 1024 * g + 64 * k);
#pragma GCC unroll 6
		for (int t = 0; t < T; t++) {
			__m512i q = broadcast4(lines + offset[t] + 4 * k);
#pragma GCC unroll 2
			for (int p = 0; p < P; p++)
				sum[t][p] = _mm512_dpwssd_epi32(k == 0 ? _mm512_setzero_si512() : sum[t][p], w[p], q);
		}
	}
#pragma GCC unroll 6
	for (int t = 0; t < T; t++) {
		const hth_fixed_line *line = (const hth_fixed_line *)(lines + offset[t]);
		__m512 d = _mm512_set1_ps(line->d);
		if (ask) /* as in avx512-gemm.c */
			_mm_prefetch((const char *)(line + HTH_NEAR_TOKENS), _MM_HINT_T0);
#pragma GCC unroll 2
		for (int p = 0; p < P; p++) {
			float *to = acc + (size_t)p * acc_stride + 16 * t;
			__m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[t][p]), _mm512_load_ps(panels[p].scale + 16 * g));
			_mm512_store_ps(to, _mm512_fmadd_ps(v, d, _mm512_load_ps(to)));
		}
	}
}

INLINE void all_tokens(const hth_panel *panels, const int P, size_t n, const hth_gemm_acts *acts, float *acc, size_t acc_stride,
                       const bool ask)
{
	size_t t = 0;
#define TILES(T)                                                                                             \
	for (; t + (T) <= acts->n_tokens; t += (T))                                                          \
		for (size_t g = 0; 32 * g < n; g++)                                                          \
			tile(panels, P, g, acts->lines + g * acts->group_stride, acts->offset + t, T, acc + 16 * t, acc_stride, ask);
	TILES(6)
	TILES(2)
	TILES(1)
#undef TILES
}

void hth_avx512_gemm_fixed(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc, size_t acc_stride)
{
	size_t p = 0;
	for (; p + 2 <= n_panels; p += 2) {
		if (p == 0)
			all_tokens(panels, 2, n, acts, acc, acc_stride, true);
		else
			all_tokens(panels + p, 2, n, acts, acc + p * acc_stride, acc_stride, false);
	}
	if (p < n_panels)
		all_tokens(panels + p, 1, n, acts, acc + p * acc_stride, acc_stride, false);
}
