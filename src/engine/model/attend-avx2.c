/* attend-avx2.c - attention's inner loop for AVX2 with FMA and F16C: 3 x 4 accumulators of the 16 registers. */
#include <immintrin.h>
#define LANES 8
#define ROWS 3
#define HALVES 4 /* 8 rows from memory: 8 GB/s of halves, 9 where a tile is widened once */
#define ROW_NAME "avx2"
#define ROW_SYMBOL hth_attend_avx2
#define load_f16(p) ((vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define any_above(a, b) (_mm256_movemask_ps(_mm256_cmp_ps((__m256)(a), (__m256)(b), _CMP_GT_OQ)) != 0)
#define largest(a) largest_of_8((__m256)(a))

static inline float largest_of_8(__m256 a)
{
	__m128 by_two = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	__m128 by_four = _mm_max_ps(by_two, _mm_movehl_ps(by_two, by_two));
	return _mm_cvtss_f32(_mm_max_ss(by_four, _mm_movehdup_ps(by_four)));
}

#include "engine/model/attend-body.inc"
