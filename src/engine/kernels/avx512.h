/* avx512.h - what the files of the AVX-512 row have in common. Internal to it. */
#ifndef HTH_ENGINE_AVX512_H
#define HTH_ENGINE_AVX512_H

#include "engine/kernels/kernel-row.h"

enum { AVX512_ROWS = 16, AVX512_FLOAT_ROWS = 32 };

#define AVX512_GEMM(kind)                                                                                              \
	void hth_avx512_gemm_##kind(const hth_panel *, size_t, size_t, const hth_gemm_acts *, float *, size_t);
AVX512_GEMM(min)    /* codes 0..255, groups of 32 with minimum */
AVX512_GEMM(min16)  /* codes 0..255, groups of 16 with minimum */
AVX512_GEMM(offset) /* codes less 128, groups of 32 */
AVX512_GEMM(offset16)
#undef AVX512_GEMM
void hth_avx512_arrange_by_32(void *, const hth_a8_line *, size_t, size_t);
void hth_avx512_arrange_by_16(void *, const hth_a8_line *, size_t, size_t);
void hth_avx512_arrange_one(void *, const hth_a8_line *, size_t, size_t);
void hth_avx512_one_q4_k(const hth_few *);
void hth_avx512_one_q5_k(const hth_few *);
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

#endif
