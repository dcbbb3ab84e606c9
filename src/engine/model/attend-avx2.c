/* attend-avx2.c - attention's inner loop for AVX2 with FMA and F16C: 3 x 4 accumulators of the 16 registers. */
#include <immintrin.h>
#define LANES 8
#define ROWS 3
#define HALVES 4 /* 8 rows from memory: 8 GB/s of halves, 9 where a tile is widened once */
#define ROW_NAME "avx2"
#define ROW_SYMBOL hth_attend_avx2
#define load_f16(p) ((vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define any_above(a, b) (_mm256_movemask_ps(_mm256_cmp_ps((__m256)(a), (__m256)(b), _CMP_GT_OQ)) != 0)
#include "engine/model/attend-body.inc"
