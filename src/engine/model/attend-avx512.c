/* attend-avx512.c - attention's inner loop for AVX-512F: 8 x 2 accumulators of the 32 registers. */
#include <immintrin.h>
#define LANES 16
#define ROWS 8
#define ROW_NAME "avx512"
#define ROW_SYMBOL hth_attend_avx512
#define load_f16(p) ((vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p))))
#define any_above(a, b) (_mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_GT_OQ) != 0)
#define largest(a) _mm512_reduce_max_ps((__m512)(a))
#include "engine/model/attend-body.inc"
