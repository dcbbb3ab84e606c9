/* avx512-gemm.c - the multiplying loops of the AVX-512 row.
 *
 * Sixteen vectors hold 32 rows by 32 columns of weights (two panels of 16 rows; each 32-bit lane is 4 columns of a row) and
 * stay in registers while the tokens pass. Four activations are broadcast to all lanes and vpdpbusd multiplies them with both
 * panels, adding four products into 32 bits. Codes are unsigned there: signed ones are kept with 128 added, and the sums
 * start at -128 * sum(q), which the activations bring along.
 */
#include "engine/kernels/avx512.h"

/* P panels (1 or 2), one group of 32 columns, scales per group of 32 or of 16. ask: ask for the lines of the next tokens (they lie in runs
 * of 2 KiB, too short for the processor to foresee; where tokens are selected, nothing is lost). */
INLINE void group(const hth_panel *panels, const int P, size_t g, const hth_gemm_acts *acts, float *acc, size_t acc_stride,
                  const bool by16, const bool has_min, const bool ask)
{
	__m512i w[2][8];
	__m512 scale[2][2], min[2][2];
#pragma GCC unroll 2
	for (int p = 0; p < P; p++) {
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
			w[p][i] = _mm512_load_si512(panels[p].codes + 512 * g + 64 * i);
#pragma GCC unroll 2
		for (int h = 0; h < 1 + by16; h++) {
			scale[p][h] = _mm512_load_ps(panels[p].scale + 16 * ((1 + by16) * g + h));
			if (has_min)
				min[p][h] = _mm512_load_ps(panels[p].min + 16 * ((1 + by16) * g + h));
		}
	}
	const char *lines = acts->lines + g * acts->group_stride;
	const uint32_t *offset = acts->offset;
	for (size_t t = 0, n_tokens = acts->n_tokens; t < n_tokens; t++) {
		const hth_a8_line *a = (const hth_a8_line *)(lines + offset[t]);
		const int8_t *q = a->q;
		if (ask)
			_mm_prefetch((const char *)(a + HTH_NEAR_TOKENS), _MM_HINT_T0);
		/* Two chains for each panel, over 16 columns each: one chain would be too long to hide. */
		__m512i dot[2][2], start[2];
		start[0] = has_min ? _mm512_setzero_si512() : _mm512_set1_epi32(a->n16[0]);
		start[1] = has_min ? _mm512_setzero_si512() : _mm512_set1_epi32(a->n16[1]);
#pragma GCC unroll 2
		for (int p = 0; p < P; p++) {
			dot[p][0] = start[0];
			dot[p][1] = start[1];
		}
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			__m512i first = broadcast4(q + 4 * i), second = broadcast4(q + 16 + 4 * i);
#pragma GCC unroll 2
			for (int p = 0; p < P; p++) {
				dot[p][0] = _mm512_dpbusd_epi32(dot[p][0], w[p][i], first);
				dot[p][1] = _mm512_dpbusd_epi32(dot[p][1], w[p][4 + i], second);
			}
		}
		/* Everything is read before anything is stored: the sums might lie anywhere for all the compiler knows. */
		__m512 d = _mm512_set1_ps(a->d), sum[2];
#pragma GCC unroll 2
		for (int p = 0; p < P; p++) {
			sum[p] = _mm512_load_ps(acc + p * acc_stride + 16 * t);
			if (has_min && by16) {
				sum[p] = _mm512_fmadd_ps(min[p][0], _mm512_set1_ps(a->s16[0]), sum[p]);
				sum[p] = _mm512_fmadd_ps(min[p][1], _mm512_set1_ps(a->s16[1]), sum[p]);
			} else if (has_min) {
				sum[p] = _mm512_fmadd_ps(min[p][0], _mm512_set1_ps(a->s32), sum[p]);
			}
		}
#pragma GCC unroll 2
		for (int p = 0; p < P; p++) {
			__m512 v;
			if (by16) {
				v = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[p][0]), scale[p][0]);
				v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[p][1]), scale[p][1], v);
			} else {
				v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(dot[p][0], dot[p][1])), scale[p][0]);
			}
			_mm512_store_ps(acc + p * acc_stride + 16 * t, _mm512_fmadd_ps(v, d, sum[p]));
		}
	}
}

#define GEMM(name, by16, has_min)                                                                                           \
	void hth_avx512_gemm_##name(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts,         \
	                            float *acc, size_t acc_stride)                                                          \
	{                                                                                                                   \
		size_t p = 0;                                                                                               \
		for (; p + 2 <= n_panels; p += 2)                                                                           \
			for (size_t g = 0; g < n / 32; g++) {                                                               \
				if (p == 0)                                                                                 \
					group(panels, 2, g, acts, acc, acc_stride, by16, has_min, true);                    \
				else                                                                                        \
					group(panels + p, 2, g, acts, acc + p * acc_stride, acc_stride, by16, has_min, false); \
			}                                                                                                   \
		if (p < n_panels)                                                                                           \
			for (size_t g = 0; g < n / 32; g++)                                                                 \
				group(panels + p, 1, g, acts, acc + p * acc_stride, acc_stride, by16, has_min, false);      \
	}
GEMM(min, 0, 1)
GEMM(min16, 1, 1)
GEMM(offset, 0, 0)
GEMM(offset16, 1, 0)

/* T tokens by 32 rows. */
INLINE void float_tile(const float *panel, size_t n, const float *const *x, float *acc, const int T)
{
	__m512 sum[12][2];
#pragma GCC unroll 12
	for (int t = 0; t < T; t++) {
		sum[t][0] = _mm512_load_ps(acc + 32 * t);
		sum[t][1] = _mm512_load_ps(acc + 32 * t + 16);
	}
	for (size_t c = 0; c < n; c++) {
		__m512 a = _mm512_load_ps(panel + 32 * c), b = _mm512_load_ps(panel + 32 * c + 16);
#pragma GCC unroll 12
		for (int t = 0; t < T; t++) {
			__m512 v = _mm512_set1_ps(x[t][c]);
			sum[t][0] = _mm512_fmadd_ps(a, v, sum[t][0]);
			sum[t][1] = _mm512_fmadd_ps(b, v, sum[t][1]);
		}
	}
#pragma GCC unroll 12
	for (int t = 0; t < T; t++) {
		_mm512_store_ps(acc + 32 * t, sum[t][0]);
		_mm512_store_ps(acc + 32 * t + 16, sum[t][1]);
	}
}

void hth_avx512_gemm_float(const float *panel, size_t n, const float *const *x, size_t n_tokens, float *acc)
{
	size_t t = 0;
	for (; t + 12 <= n_tokens; t += 12)
		float_tile(panel, n, x + t, acc + 32 * t, 12);
	x += t;
	acc += 32 * t;
	n_tokens -= t;
	for (; n_tokens >= 4; n_tokens -= 4, x += 4, acc += 32 * 4)
		float_tile(panel, n, x, acc, 4);
	switch (n_tokens) {
	case 3: float_tile(panel, n, x, acc, 3); break;
	case 2: float_tile(panel, n, x, acc, 2); break;
	case 1: float_tile(panel, n, x, acc, 1); break;
	}
}
