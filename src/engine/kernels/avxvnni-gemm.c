/* avxvnni-gemm.c - panels of the AVX2 row with VNNI: unpacking 8 rows into one, and the multiplying loops.
 *
 * A block is 16 rows (two panels of 8; each 32-bit lane is 4 columns of a row) by 4 tokens, 8 vectors of sums in registers, as in
 * avx2-gemm.c; a step of 4 columns is two vectors of weights, 4 broadcast activations and 8 vpdpbusd.
 */
#include "engine/kernels/avx2-fixed.h"
#include "engine/kernels/avx2-panel.h"
#include "engine/kernels/avxvnni.h"
#include "base/mem.h"

/* ---- unpacking ---- */

INLINE void put_step(hth_panel *panel, int g, int step, __m256i codes, const int add)
{
	_mm256_store_si256((__m256i *)panel->codes + 8 * g + step, with(add, codes));
}

INLINE void unpack(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n, put_codes_fn put_codes,
                   scales_fn scales, const int add, const int cols, const bool has_min)
{
	const char *row[8];
	__m256 s[8][2], m[8][2];
	__m256i t[8];
	for (size_t r = 0; r < 8; r++) {
		row[r] = r < n_rows ? (const char *)block + r * row_bytes : zeros;
		scales(row[r], (int)(n / 32), s[r], m[r]);
	}
	for (int i = 0; i < 32 / cols; i++) {
		for (int r = 0; r < 8; r++)
			t[r] = _mm256_castps_si256(s[r][i]);
		store_transposed(panel->scale + 64 * i, t);
		for (int r = 0; has_min && r < 8; r++)
			t[r] = _mm256_castps_si256(m[r][i]);
		if (has_min)
			store_transposed(panel->min + 64 * i, t);
	}
	put_codes(panel, row, (int)(n / 32), put_step, add);
}

#define VNNI_TYPE(name, blocks_per_chunk, add, cols, has_min)                                                                \
	void hth_avxvnni_unpack_##name(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)      \
	{                                                                                                                   \
		unpack(panel, block, row_bytes, n_rows, n, put_codes_##name, scales_##name, add, cols, has_min);                \
	}
VNNI_TYPES(VNNI_TYPE)

/* ---- multiplying ---- */

enum { TOKENS = 4 }; /* of a block */

INLINE __m256i aligned256(const void *p) { return _mm256_load_si256((const __m256i *)p); }

/* P panels by T tokens, groups of `cols` columns. The first panels ask for the lines of the tokens that come next (avx2-gemm.c). */
INLINE void block(const hth_panel *panels, const int P, size_t n, const hth_gemm_acts *acts, size_t t0, const int T, float *acc,
                  size_t acc_stride, size_t ask, const int cols, const bool has_min)
{
	const char *line[TOKENS];
#pragma GCC unroll 4
	for (int t = 0; t < T; t++)
		line[t] = acts->lines + acts->offset[t0 + (size_t)t];
	const int halves = 32 / cols;
	for (size_t g = 0; g < n / 32; g++) {
		__m256 first[2][TOKENS]; /* where groups have two halves: the first one by its scale */
#pragma GCC unroll 2
		for (int h = 0; h < halves; h++) {
			__m256i sum[2][TOKENS];
#pragma GCC unroll 4
			for (int t = 0; t < T; t++) {
				const hth_a8_line *a = (const hth_a8_line *)line[t];
				int start = has_min ? 0 : halves == 2 ? a->n16[h] : a->n16[0] + a->n16[1];
				sum[0][t] = sum[1][t] = _mm256_set1_epi32(start);
			}
#pragma GCC unroll 8
			for (int k = h * cols / 4; k < (h + 1) * cols / 4; k++) {
				__m256i w[2];
#pragma GCC unroll 2
				for (int p = 0; p < P; p++)
					w[p] = aligned256(panels[p].codes + 256 * g + 32 * (size_t)k);
#pragma GCC unroll 4
				for (int t = 0; t < T; t++) {
					__m256i q = _mm256_set1_epi32((int)load32(line[t] + 4 * k));
#pragma GCC unroll 2
					for (int p = 0; p < P; p++) {
						sum[p][t] = _mm256_dpbusd_avx_epi32(sum[p][t], w[p], q);
						IN_THIS_ORDER(sum[p][t]);
					}
				}
			}
			size_t at = 8 * (g * (size_t)halves + (size_t)h);
#pragma GCC unroll 4
			for (int t = 0; t < T; t++) {
				const hth_a8_line *a = (const hth_a8_line *)line[t];
				__m256 d = _mm256_broadcast_ss(&a->d), sums[2] = {_mm256_broadcast_ss(halves == 2 ? &a->s16[0] : &a->s32)};
				if (halves == 2)
					sums[1] = _mm256_broadcast_ss(&a->s16[1]);
#pragma GCC unroll 2
				for (int p = 0; p < P; p++) {
					const float *scale = panels[p].scale + at, *min = panels[p].min + 8 * g * (size_t)halves;
					__m256 v = _mm256_cvtepi32_ps(sum[p][t]);
					if (halves == 2 && h == 0) {
						first[p][t] = _mm256_mul_ps(v, _mm256_load_ps(scale));
						continue;
					}
					float *to = acc + (size_t)p * acc_stride + 8 * (t0 + (size_t)t);
					__m256 old = _mm256_load_ps(to);
					for (int m = 0; has_min && m < halves; m++)
						old = _mm256_fmadd_ps(_mm256_load_ps(min + 8 * m), sums[m], old);
					if (halves == 2)
						v = _mm256_fmadd_ps(_mm256_fmadd_ps(v, _mm256_load_ps(scale), first[p][t]), d, old);
					else
						v = _mm256_fmadd_ps(_mm256_mul_ps(v, d), _mm256_load_ps(scale), old);
					_mm256_store_ps(to, v);
				}
			}
		}
#pragma GCC unroll 4
		for (int t = 0; t < T; t++) {
			_mm_prefetch(line[t] + ask, _MM_HINT_T0);
			line[t] += acts->group_stride;
		}
	}
}

/* P panels by all tokens: 4 at a time, then 2, then 1. */
INLINE void all_tokens(const hth_panel *panels, const int P, size_t n, const hth_gemm_acts *acts, float *acc, size_t acc_stride, size_t ask,
                       const int cols, const bool has_min)
{
	size_t t = 0;
	for (; t + 4 <= acts->n_tokens; t += 4)
		block(panels, P, n, acts, t, 4, acc, acc_stride, ask, cols, has_min);
	if ((acts->n_tokens & 2) != 0) {
		block(panels, P, n, acts, t, 2, acc, acc_stride, ask, cols, has_min);
		t += 2;
	}
	if ((acts->n_tokens & 1) != 0)
		block(panels, P, n, acts, t, 1, acc, acc_stride, ask, cols, has_min);
}

#define GEMM(kind, cols, has_min)                                                                                            \
	void hth_avxvnni_gemm_##kind(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc, \
	                             size_t acc_stride)                                                                      \
	{                                                                                                                    \
		size_t p = 0;                                                                                                \
		for (; p + 2 <= n_panels; p += 2)                                                                            \
			all_tokens(panels + p, 2, n, acts, acc + p * acc_stride, acc_stride,                                 \
			           p == 0 ? HTH_NEAR_TOKENS * sizeof(hth_a8_line) : 0, cols, has_min);                       \
		if (p < n_panels)                                                                                            \
			all_tokens(panels + p, 1, n, acts, acc + p * acc_stride, acc_stride, 0, cols, has_min);              \
	}
GEMM(min, 32, true)
GEMM(min16, 16, true)
GEMM(offset, 32, false)
GEMM(offset16, 16, false)

INLINE __m256i multiply_add(__m256i sum, __m256i w, __m256i q) { return _mm256_dpwssd_avx_epi32(sum, w, q); }
void hth_avxvnni_gemm_fixed(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc, size_t acc_stride)
{
	gemm_fixed(panels, n_panels, n, acts, acc, acc_stride, 6, multiply_add);
}
