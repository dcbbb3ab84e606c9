/* avxvnni-few.c - a row's chunk by a token with 256-bit vpdpbusd, in the loop of avx2-few.h. One token of Q8_0, Q2_K and Q3_K goes this way
 * too; of other types it has avxvnni-one.c.
 */
#include "engine/kernels/avx2-few.h"
#include "engine/kernels/avxvnni.h"

INLINE void read_chunk(const char *chunk, chunk_groups *row, read_codes_fn read_codes, scales_fn scales, const int add, const int cols,
                       const bool has_min)
{
	read_codes(chunk, row->w);
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++)
		row->w[k] = with(add, row->w[k]);
	__m256 s[2], m[2];
	scales(chunk, 8, s, m);
	if (cols == 32) {
		row->scale[0] = s[0];
		row->min[0] = m[0];
	} else {
		scales_of_16(row->scale, s[0], s[1]);
		row->min[0] = m[0]; /* in order, as activations have s16 */
		row->min[1] = m[1];
	}
}

INLINE __m256 dot(const chunk_groups *row, const hth_a8_groups *x, __m256 acc, const int cols, const bool has_min)
{
	__m256i sum[2];
#pragma GCC unroll 2
	for (int h = 0; h < 2; h++) {
		sum[h] = has_min ? _mm256_setzero_si256() : aligned256(x->n16[h]);
#pragma GCC unroll 4
		for (int k = 4 * h; k < 4 * h + 4; k++)
			sum[h] = _mm256_dpbusd_avx_epi32(sum[h], row->w[k], aligned256(x->q[k]));
	}
	__m256 d = _mm256_load_ps(x->d);
	if (cols == 32) {
		__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(sum[0], sum[1])), d);
		acc = _mm256_fmadd_ps(v, row->scale[0], acc);
		return has_min ? _mm256_fmadd_ps(row->min[0], _mm256_load_ps(x->s32), acc) : acc;
	}
	__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[0]), row->scale[0]);
	acc = _mm256_fmadd_ps(_mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[1]), row->scale[1], v), d, acc);
	if (has_min) {
		acc = _mm256_fmadd_ps(row->min[0], _mm256_load_ps(x->s16), acc);
		acc = _mm256_fmadd_ps(row->min[1], _mm256_load_ps(x->s16 + 8), acc);
	}
	return acc;
}

#define VNNI_TYPE(name, blocks_per_chunk, add, cols, has_min)                                  \
	INLINE void read_##name(const char *chunk, chunk_groups *row)                          \
	{                                                                                      \
		read_chunk(chunk, row, read_codes_##name, scales_##name, add, cols, has_min);       \
	}                                                                                      \
	INLINE __m256 dot_##name(const chunk_groups *row, const hth_a8_groups *x, __m256 acc)  \
	{                                                                                      \
		return dot(row, x, acc, cols, has_min);                                        \
	}                                                                                      \
	FEW(avxvnni, name, blocks_per_chunk, read_##name, dot_##name)
VNNI_TYPES(VNNI_TYPE)
