/* avx2.h - what the files of the AVX2 row have in common. Internal to it. */
#ifndef HTH_ENGINE_AVX2_H
#define HTH_ENGINE_AVX2_H

#include "engine/kernels/avx2-codes.h"

enum { AVX2_ROWS = 8, AVX2_FLOAT_ROWS = 16 };

/* A panel of a type with integer scales: of groups of 32 those of group g are at 16 g, of groups of 16 those of group 2 g + h at
 * 32 g + 16 h, each row's in both halves of its lane; the rows' floats that they are multiplied with; minimums where they always are, in
 * units of those. */
#define AVX2_SCALE16(panel) ((int16_t *)(void *)(uintptr_t)(panel)->scale)
#define AVX2_ROW_SCALE(panel) ((panel)->scale + 128)

#define AVX2_GEMM(kind) void hth_avx2_gemm_##kind(const hth_panel *, size_t, size_t, const hth_gemm_acts *, float *, size_t);
AVX2_GEMM(u4) AVX2_GEMM(k4) AVX2_GEMM(u5) AVX2_GEMM(k5) AVX2_GEMM(u6) AVX2_GEMM(u3) AVX2_GEMM(u2) AVX2_GEMM(s8) /* see avx2-gemm.c */
AVX2_GEMM(fixed)
#undef AVX2_GEMM
void hth_avx2_arrange_acts(void *, const hth_a8_line *, size_t, size_t);
void hth_avx2_arrange_alone(void *, const hth_a8_line *, size_t, size_t);
#define AVX2_TYPE(name) void hth_avx2_one_##name(const hth_few *);
AVX2_TYPE(q4_0) AVX2_TYPE(q4_1) AVX2_TYPE(q5_0) AVX2_TYPE(q5_1) AVX2_TYPE(iq4_nl) AVX2_TYPE(mxfp4)
AVX2_TYPE(q4_k) AVX2_TYPE(q5_k) AVX2_TYPE(q6_k) AVX2_TYPE(iq4_xs)
#undef AVX2_TYPE
void hth_avx2_fix_acts(hth_fixed_line *, size_t, const float *, size_t);
void hth_avx2_fix_f16(hth_panel *, const void *, size_t, size_t, size_t);
void hth_avx2_fix_bf16(hth_panel *, const void *, size_t, size_t, size_t);
void hth_avx2_gemm_float(const float *, size_t, const float *const *, size_t, float *);

#define AVX2_TYPE(name)                                                      \
	void hth_avx2_unpack_##name(hth_panel *, const void *, size_t, size_t, size_t); \
	void hth_avx2_few_##name(const hth_few *);
AVX2_TYPE(q4_0) AVX2_TYPE(q4_1) AVX2_TYPE(q5_0) AVX2_TYPE(q5_1) AVX2_TYPE(q8_0) AVX2_TYPE(iq4_nl) AVX2_TYPE(mxfp4)
AVX2_TYPE(q2_k) AVX2_TYPE(q3_k) AVX2_TYPE(q4_k) AVX2_TYPE(q5_k) AVX2_TYPE(q6_k) AVX2_TYPE(iq4_xs)
#undef AVX2_TYPE
#define AVX2_TYPE(name)                                                            \
	void hth_avx2_unpack_##name(float *, const void *, size_t, size_t, size_t); \
	void hth_avx2_gemv_##name(const void *, size_t, size_t, size_t, const float *, float *); \
	void hth_avx2_few_##name(const void *, size_t, size_t, size_t, const float *const *, size_t, float *, size_t);
AVX2_TYPE(f32) AVX2_TYPE(f16) AVX2_TYPE(bf16)
#undef AVX2_TYPE

/* The empty instruction keeps the order of the sums as written: reordered, they need more registers than there are, and weights come from
 * the stack. */
#define IN_THIS_ORDER(sum) __asm__("" : "+x"(sum))

/* 4 x 4 of 32-bit lanes in each half. */
INLINE void transpose4(__m256i to[4], const __m256i r[4])
{
	__m256i t0 = _mm256_unpacklo_epi32(r[0], r[1]), t1 = _mm256_unpackhi_epi32(r[0], r[1]);
	__m256i t2 = _mm256_unpacklo_epi32(r[2], r[3]), t3 = _mm256_unpackhi_epi32(r[2], r[3]);
	to[0] = _mm256_unpacklo_epi64(t0, t2);
	to[1] = _mm256_unpackhi_epi64(t0, t2);
	to[2] = _mm256_unpacklo_epi64(t1, t3);
	to[3] = _mm256_unpackhi_epi64(t1, t3);
}

/* 8 x 8 of 32-bit lanes. */
INLINE void transpose8(__m256i r[8])
{
	__m256i u[8];
	transpose4(u, r);
	transpose4(u + 4, r + 4);
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		r[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
		r[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
	}
}

/* 8 x 8 of 16 bytes each, whose low nibbles are bytes 0 to 15 and whose high ones are 16 to 31: a third of the work. */
INLINE void transpose_nibbles(__m256i r[8], const __m128i bytes[8])
{
	__m256i b[4], u[4];
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		b[i] = _mm256_set_m128i(bytes[4 + i], bytes[i]);
	transpose4(u, b);
	const __m256i low = _mm256_set1_epi8(15);
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		r[i] = _mm256_and_si256(u[i], low);
		r[4 + i] = _mm256_and_si256(_mm256_srli_epi16(u[i], 4), low);
	}
}

/* Eight floats. */
INLINE __m256 load_f32(const void *p) { return _mm256_loadu_ps((const float *)p); }
INLINE __m256 load_f16(const void *p) { return _mm256_cvtph_ps(load128(p)); }
INLINE __m256 load_bf16(const void *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
}

typedef __m256 (*load_fn)(const void *p);

/* The last n < 8 values of a row; the rest zeros. */
INLINE __m256 load_tail(const char *p, size_t n, size_t size, load_fn load)
{
	char v[32] = {0};
	memcpy(v, p, n * size);
	return load(v);
}

#endif
