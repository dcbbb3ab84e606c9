/* avxvnni.h - what the files of the AVX2 row with VNNI have in common. Internal to it.
 *
 * vpdpbusd in 256 bits: 32 unsigned by 32 signed bytes, groups of four added into 8 sums of 32 bits, so that there is no range to
 * think of. What else there is comes from the AVX2 row. Codes of types without real minimums have 128 added, and sums start at
 * -128 * sum(q), which activations bring along (n16), as in the AVX-512 row.
 */
#ifndef HTH_ENGINE_AVXVNNI_H
#define HTH_ENGINE_AVXVNNI_H

#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx2.h"

#define VNNI_GEMM(kind) void hth_avxvnni_gemm_##kind(const hth_panel *, size_t, size_t, const hth_gemm_acts *, float *, size_t);
VNNI_GEMM(min)    /* codes 0..255, groups of 32 with minimum */
VNNI_GEMM(min16)  /* codes 0..255, groups of 16 with minimum */
VNNI_GEMM(offset) /* codes less 128, groups of 32 */
VNNI_GEMM(offset16)
VNNI_GEMM(fixed)
#undef VNNI_GEMM
#define VNNI_TYPE(name)                                                                  \
	void hth_avxvnni_unpack_##name(hth_panel *, const void *, size_t, size_t, size_t); \
	void hth_avxvnni_few_##name(const hth_few *);
VNNI_TYPE(q4_0) VNNI_TYPE(q4_1) VNNI_TYPE(q5_0) VNNI_TYPE(q5_1) VNNI_TYPE(q8_0) VNNI_TYPE(iq4_nl) VNNI_TYPE(mxfp4)
VNNI_TYPE(q2_k) VNNI_TYPE(q3_k) VNNI_TYPE(q4_k) VNNI_TYPE(q5_k) VNNI_TYPE(q6_k) VNNI_TYPE(iq4_xs)
#undef VNNI_TYPE
void hth_avxvnni_arrange_alone(void *, const hth_a8_line *, size_t, size_t);
#define VNNI_TYPE(name) void hth_avxvnni_one_##name(const hth_few *);
VNNI_TYPE(q4_0) VNNI_TYPE(q4_1) VNNI_TYPE(q5_0) VNNI_TYPE(q5_1) VNNI_TYPE(iq4_nl) VNNI_TYPE(mxfp4)
VNNI_TYPE(q4_k) VNNI_TYPE(q5_k) VNNI_TYPE(q6_k) VNNI_TYPE(iq4_xs)
#undef VNNI_TYPE

/* DO(name, blocks in 256 columns, what is added to the codes that avx2-codes.h reads, columns of a group, whether there are minimums) */
#define VNNI_TYPES(DO)           \
	DO(q4_0, 8, 120, 32, false)  \
	DO(q4_1, 8, 0, 32, true)     \
	DO(q5_0, 8, 112, 32, false)  \
	DO(q5_1, 8, 0, 32, true)     \
	DO(q8_0, 8, 128, 32, false)  \
	DO(iq4_nl, 8, 128, 32, false) \
	DO(mxfp4, 8, 112, 32, false) \
	DO(q2_k, 1, 0, 16, true)     \
	DO(q3_k, 1, 124, 16, false)  \
	DO(q4_k, 1, 0, 32, true)     \
	DO(q5_k, 1, 0, 32, true)     \
	DO(q6_k, 1, 96, 16, false)   \
	DO(iq4_xs, 1, 128, 32, false)

typedef void (*scales_fn)(const char *chunk, int n, __m256 *s, __m256 *m);

/* Scales of 16 columns, in order, to those of the first and the second halves of groups. */
INLINE void scales_of_16(__m256 to[2], __m256 low, __m256 high)
{
	enum { SWAP = 0xD8 }; /* quarters 0, 2, 1, 3 */
	to[0] = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(low, high, 0x88)), SWAP));
	to[1] = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(low, high, 0xDD)), SWAP));
}

INLINE __m256i with(const int add, __m256i codes) { return add != 0 ? _mm256_add_epi8(codes, _mm256_set1_epi8((char)add)) : codes; }

#endif
