/* avx2-fixed.h - the multiplying loop over panels in fixed point (kernel-row.h), for the rows with 256-bit vectors: with vpmaddwd and an
 * addition, or with vpdpwssd. Internal to them.
 *
 * A tile is 16 rows (two panels of 8; each 32-bit lane is two columns of a row) by 4 tokens, 8 vectors of sums in registers; by 6 with
 * vpdpwssd, which needs no register for products (7% faster; without it, 2% slower).
 */
#ifndef HTH_ENGINE_AVX2_FIXED_H
#define HTH_ENGINE_AVX2_FIXED_H

#include "engine/kernels/avx2.h"

/* sum + pairs of w * q */
typedef __m256i (*mac_fn)(__m256i sum, __m256i w, __m256i q);
INLINE __m256i madd_add(__m256i sum, __m256i w, __m256i q) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, q)); }

enum { FIXED_TOKENS = 6 }; /* the most of a tile */

/* P panels (1 or 2) by T tokens. */
INLINE void fixed_tile(const hth_panel *panels, const int P, size_t n, const hth_gemm_acts *acts, size_t t0, const int T, float *acc,
                       size_t acc_stride, size_t ask, mac_fn mac)
{
	const char *line[FIXED_TOKENS];
#pragma GCC unroll 6
	for (int t = 0; t < T; t++)
		line[t] = acts->lines + acts->offset[t0 + (size_t)t];
	for (size_t g = 0; 32 * g < n; g++) {
		__m256i sum[2][FIXED_TOKENS];
#pragma GCC unroll 16
		for (size_t k = 0; k < 16; k++) {
			__m256i w[2];
#pragma GCC unroll 2
			for (int p = 0; p < P; p++)
				w[p] = _mm256_load_si256((const __m256i *)(panels[p].codes + 512 * g + 32 * k));
#pragma GCC unroll 6
			for (int t = 0; t < T; t++) {
				__m256i q = _mm256_set1_epi32((int)load32(line[t] + 4 * k));
#pragma GCC unroll 2
				for (int p = 0; p < P; p++) {
					sum[p][t] = k == 0 ? _mm256_madd_epi16(w[p], q) : mac(sum[p][t], w[p], q);
					IN_THIS_ORDER(sum[p][t]);
				}
			}
		}
#pragma GCC unroll 6
		for (int t = 0; t < T; t++) {
			__m256 d = _mm256_broadcast_ss(&((const hth_fixed_line *)line[t])->d);
#pragma GCC unroll 2
			for (int p = 0; p < P; p++) {
				float *to = acc + (size_t)p * acc_stride + 8 * (t0 + (size_t)t);
				__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[p][t]), d);
				_mm256_store_ps(to, _mm256_fmadd_ps(v, _mm256_load_ps(panels[p].scale + 8 * g), _mm256_load_ps(to)));
			}
			_mm_prefetch(line[t] + ask, _MM_HINT_T0);
			line[t] += acts->group_stride;
		}
	}
}

/* By as many tokens at a time as `most`, then 2, then 1. */
INLINE void fixed_tokens(const hth_panel *panels, const int P, size_t n, const hth_gemm_acts *acts, float *acc, size_t acc_stride,
                         size_t ask, const int most, mac_fn mac)
{
	size_t t = 0;
	for (; t + (size_t)most <= acts->n_tokens; t += (size_t)most)
		fixed_tile(panels, P, n, acts, t, most, acc, acc_stride, ask, mac);
	for (; t + 2 <= acts->n_tokens; t += 2)
		fixed_tile(panels, P, n, acts, t, 2, acc, acc_stride, ask, mac);
	if (t < acts->n_tokens)
		fixed_tile(panels, P, n, acts, t, 1, acc, acc_stride, ask, mac);
}

/* The first panels ask for the lines of the tokens that come next, as in avx2-gemm.c. */
INLINE void gemm_fixed(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc,
                       size_t acc_stride, const int most, mac_fn mac)
{
	size_t p = 0;
	for (; p + 2 <= n_panels; p += 2)
		fixed_tokens(panels + p, 2, n, acts, acc + p * acc_stride, acc_stride,
		             p == 0 ? HTH_NEAR_TOKENS * sizeof(hth_fixed_line) : 0, most, mac);
	if (p < n_panels)
		fixed_tokens(panels + p, 1, n, acts, acc + p * acc_stride, acc_stride, 0, most, mac);
}

#endif
