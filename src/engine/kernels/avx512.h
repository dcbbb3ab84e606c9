/* avx512.h - what the files of the AVX-512 row have in common. Internal to it. */
#ifndef HTH_ENGINE_AVX512_H
#define HTH_ENGINE_AVX512_H

#include "engine/kernels/kernel-row.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { AVX512_ROWS = 16, AVX512_FLOAT_ROWS = 32 };

#define AVX512_GEMM(kind)                                                                                              \
	void hth_avx512_gemm_##kind(const hth_panel *, size_t, size_t, const hth_gemm_acts *, float *, size_t);
AVX512_GEMM(min)    /* codes 0..255, groups of 32 with minimum */
AVX512_GEMM(min16)  /* codes 0..255, groups of 16 with minimum */
AVX512_GEMM(offset) /* codes less 128, groups of 32 */
AVX512_GEMM(offset16)
void hth_avx512_arrange_by_32(void *, const hth_a8_line *, size_t, size_t);
void hth_avx512_arrange_by_16(void *, const hth_a8_line *, size_t, size_t);
void hth_avx512_arrange_one(void *, const hth_a8_line *, size_t, size_t);
void hth_avx512_one_q4_k(const hth_few *);
void hth_avx512_one_q5_k(const hth_few *);
void hth_avx512_fix_acts(hth_fixed_line *, size_t, const float *, size_t);
void hth_avx512_fix_f16(hth_panel *, const void *, size_t, size_t, size_t);
void hth_avx512_fix_bf16(hth_panel *, const void *, size_t, size_t, size_t);
AVX512_GEMM(fixed)
#undef AVX512_GEMM
void hth_avx512_gemm_float(const float *, size_t, const float *const *, size_t, float *);

#define AVX512_TYPE(name)                                                              \
	void hth_avx512_unpack_##name(hth_panel *, const void *, size_t, size_t, size_t); \
	void hth_avx512_few_##name(const hth_few *);
AVX512_TYPE(q4_0) AVX512_TYPE(q4_1) AVX512_TYPE(q5_0) AVX512_TYPE(q5_1) AVX512_TYPE(q8_0) AVX512_TYPE(iq4_nl)
AVX512_TYPE(mxfp4) AVX512_TYPE(q2_k) AVX512_TYPE(q3_k) AVX512_TYPE(q4_k) AVX512_TYPE(q5_k) AVX512_TYPE(q6_k)
AVX512_TYPE(iq4_xs)
#undef AVX512_TYPE
#define AVX512_TYPE(name)                                                          \
	void hth_avx512_unpack_##name(float *, const void *, size_t, size_t, size_t); \
	void hth_avx512_gemv_##name(const void *, size_t, size_t, size_t, const float *, float *); \
	void hth_avx512_few_##name(const void *, size_t, size_t, size_t, const float *const *, size_t, float *, size_t);
AVX512_TYPE(f32) AVX512_TYPE(f16) AVX512_TYPE(bf16)
#undef AVX512_TYPE

INLINE __mmask16 first(size_t n) { return n >= 16 ? 0xFFFF : (__mmask16)((1u << n) - 1); }
typedef __m512 (*load_fn)(const void *p, __mmask16 k);
INLINE __m512 load_f32(const void *p, __mmask16 k) { return _mm512_maskz_loadu_ps(k, p); }
INLINE __m512 load_f16(const void *p, __mmask16 k) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(k, p)); }
INLINE __m512 load_bf16(const void *p, __mmask16 k)
{
	__m512i v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(k, p));
	return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}
INLINE __m512i broadcast4(const void *p)
{
	int v;
	memcpy(&v, p, 4);
	return _mm512_set1_epi32(v);
}

/* Word j of quarter q of v0 to v3 to t[j], words 4 q to 4 q + 3. */
INLINE void transpose_quarters(__m512i t[4], __m512i v0, __m512i v1, __m512i v2, __m512i v3)
{
	__m512i a = _mm512_unpacklo_epi32(v0, v1), b = _mm512_unpackhi_epi32(v0, v1);
	__m512i c = _mm512_unpacklo_epi32(v2, v3), d = _mm512_unpackhi_epi32(v2, v3);
	t[0] = _mm512_unpacklo_epi64(a, c);
	t[1] = _mm512_unpackhi_epi64(a, c);
	t[2] = _mm512_unpacklo_epi64(b, d);
	t[3] = _mm512_unpackhi_epi64(b, d);
}

/* 16 x 16 of 32-bit lanes, stored at dst, `step` bytes apart. */
INLINE void store_transposed(uint8_t *dst, const size_t step, __m512i r[16])
{
	__m512i u[16];
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4)
		transpose_quarters(u + i, r[i], r[i + 1], r[i + 2], r[i + 3]);
	/* u[4 a + k], quarter q: column 4 q + k of rows 4 a to 4 a + 3. Gather the four a of each column. */
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		__m512i ab0 = _mm512_shuffle_i32x4(u[k], u[4 + k], 0x88), ab1 = _mm512_shuffle_i32x4(u[k], u[4 + k], 0xDD);
		__m512i cd0 = _mm512_shuffle_i32x4(u[8 + k], u[12 + k], 0x88), cd1 = _mm512_shuffle_i32x4(u[8 + k], u[12 + k], 0xDD);
		_mm512_store_si512(dst + step * (size_t)k, _mm512_shuffle_i32x4(ab0, cd0, 0x88));
		_mm512_store_si512(dst + step * (size_t)(8 + k), _mm512_shuffle_i32x4(ab0, cd0, 0xDD));
		_mm512_store_si512(dst + step * (size_t)(4 + k), _mm512_shuffle_i32x4(ab1, cd1, 0x88));
		_mm512_store_si512(dst + step * (size_t)(12 + k), _mm512_shuffle_i32x4(ab1, cd1, 0xDD));
	}
}

enum { AVX512_LINES = 8 }; /* of activations that are quantised together */

/* What is largest in each of AVX512_LINES vectors, twice over. */
INLINE __m512 largest_of_each(const __m512 v[AVX512_LINES])
{
	__m512 by_two[4], by_four[2];
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		by_two[i] = _mm512_max_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m512d a = _mm512_castps_pd(by_two[2 * i]), b = _mm512_castps_pd(by_two[2 * i + 1]);
		by_four[i] = _mm512_max_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
	}
	/* Quarters: of the first four vectors, of the last four. */
	__m512 all = _mm512_max_ps(_mm512_shuffle_f32x4(by_four[0], by_four[1], 0x88), _mm512_shuffle_f32x4(by_four[0], by_four[1], 0xDD));
	return _mm512_max_ps(_mm512_shuffle_f32x4(all, all, 0x88), _mm512_shuffle_f32x4(all, all, 0xDD));
}

#endif
