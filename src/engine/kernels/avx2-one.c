/* avx2-one.c - rows of blocks of 4-bit weights by one token (the AVX2 row): Q4_0, Q4_K, IQ4_NL, IQ4_XS.
 *
 * The loop of avx2-rows.c widens, converts and scales each group of 32 for itself; that of avx2-few.c brings each group's codes to a lane of
 * its own first, which pays when several tokens use them. Here two blocks, i and 4 + i, are multiplied in the halves of a vector as they
 * lie, and sums are brought together afterwards, in 16 bits while they fit (avx2-gemm.c has the ranges): 2 products for each lane, then lanes of four
 * such vectors. Activations lie to match (hth_a8_alone).
 *
 * It ends with the 8 groups' sums in the lanes that avx2-few.c has them in, and goes on with its floating operations in its order, so a
 * token alone comes out to the last bit as among others. Vector units are the limit (3.3 of 4 instructions a cycle on a Zen 5), so the scales of
 * Q4_K are unpacked in integer registers.
 */
#include "engine/kernels/avx2-few.h"

void hth_avx2_arrange_alone(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	static const hth_a8_line nothing;
	hth_a8_alone *to = dst;
	for (size_t g = 0; g < 8; g++) {
		const hth_a8_line *l = g < n_groups ? (const hth_a8_line *)((const char *)lines + g * stride) : &nothing;
		to->d[g] = l->d;
		to->s32[g] = l->s32;
		for (size_t h = 0; h < 2; h++)
			memcpy(to->halves[2 * (g % 4) + h] + 16 * (g / 4), l->q + 16 * h, 16);
	}
}

/* The floats of avx2-few.c. */
INLINE __m256 add_chunk(__m256i sum, const hth_a8_alone *x, __m256 scale, __m256 acc)
{
	return _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(x->d)), scale, acc);
}

/* Blocks of nibbles i and 4 + i of a chunk, `stride` bytes apart, by their activations: in 16 bits, or 32 where codes are looked up. */
INLINE __m256i two_blocks(const char *nibbles, size_t stride, size_t i, const hth_a8_alone *x, const bool looked_up)
{
	const __m256i mask = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
	__m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(nibbles + i * stride)), load128(nibbles + (4 + i) * stride), 1);
	__m256i low = _mm256_and_si256(v, mask), high = _mm256_and_si256(_mm256_srli_epi16(v, 4), mask);
	__m256i q = aligned256(x->halves[2 * i]), q2 = aligned256(x->halves[2 * i + 1]);
	if (!looked_up)
		return _mm256_add_epi16(_mm256_maddubs_epi16(low, q), _mm256_maddubs_epi16(high, q2));
	/* Products of 8-bit codes fill 16 bits. The sign moves to the activation. */
	low = look_up(hth_iq4_values, low);
	high = look_up(hth_iq4_values, high);
	__m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(low), _mm256_sign_epi8(q, low));
	__m256i p2 = _mm256_maddubs_epi16(_mm256_abs_epi8(high), _mm256_sign_epi8(q2, high));
	return _mm256_add_epi32(_mm256_madd_epi16(p, one), _mm256_madd_epi16(p2, one));
}

/* The 8 groups' sums, of groups i and 4 + i in the halves of v[i]. In 16 bits: 4 products in a lane, then 16: 16 * 15 * 127 = 30480. */
INLINE __m256i sum_blocks(const __m256i v[4], const bool looked_up)
{
	__m256i t[2];
#define ADD(a, b) (looked_up ? _mm256_add_epi32(a, b) : _mm256_add_epi16(a, b))
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m256i a = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]), b = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
		t[i] = ADD(a, b);
	}
	__m256i a = _mm256_unpacklo_epi64(t[0], t[1]), b = _mm256_unpackhi_epi64(t[0], t[1]), sum = ADD(a, b);
#undef ADD
	return looked_up ? sum : _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

INLINE __m256i dot_blocks(const char *nibbles, size_t stride, const hth_a8_alone *x, const bool looked_up)
{
	__m256i v[4];
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
		v[i] = two_blocks(nibbles, stride, i, x, looked_up);
	return sum_blocks(v, looked_up);
}

/* The F16 that 8 blocks begin with. */
INLINE __m256 first_halves(const char *chunk, size_t stride)
{
	__m128i v[8];
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++)
		v[i] = _mm_cvtsi32_si128((int)load32(chunk + i * stride));
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
		v[i] = _mm_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
	return _mm256_cvtph_ps(_mm_unpacklo_epi64(_mm_unpacklo_epi32(v[0], v[1]), _mm_unpacklo_epi32(v[2], v[3])));
}

/* acc + one chunk. */
typedef __m256 (*chunk_fn)(const char *chunk, const hth_a8_alone *x, __m256 acc);

INLINE __m256 blocks_q4_0(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 scale = first_halves(chunk, sizeof(hth_block_q4_0));
	acc = add_chunk(dot_blocks(chunk + 2, sizeof(hth_block_q4_0), x, false), x, scale, acc);
	return _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_set1_ps(-8)), _mm256_load_ps(x->s32), acc);
}
INLINE __m256 blocks_iq4_nl(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	return add_chunk(dot_blocks(chunk + 2, sizeof(hth_block_iq4_nl), x, true), x, first_halves(chunk, sizeof(hth_block_iq4_nl)), acc);
}
INLINE __m256 blocks_iq4_xs(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	__m256 scale, none;
	scales_iq4_xs(chunk, 8, &scale, &none);
	return add_chunk(dot_blocks((const char *)((const hth_block_iq4_xs *)chunk)->qs, 16, x, true), x, scale, acc);
}

/* 32 bytes of Q4_K hold two groups: those of pieces i and 2 + i in halves of a vector give groups 2 i and 4 + 2 i, and 2 i + 1 and 5 + 2 i. */
INLINE __m256 blocks_q4_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q4_k *b = (const hth_block_q4_k *)chunk;
	const __m256i mask = _mm256_set1_epi8(15);
	__m256i v[4];
#pragma GCC unroll 2
	for (size_t i = 0; i < 2; i++) {
		const uint8_t *p = b->qs + 32 * i;
		__m256i first = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p)), load128(p + 64), 1);
		__m256i last = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p + 16)), load128(p + 80), 1);
		const int8_t(*q)[32] = x->halves + 4 * i;
		v[2 * i] = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(first, mask), aligned256(q[0])),
		                            _mm256_maddubs_epi16(_mm256_and_si256(last, mask), aligned256(q[1])));
		v[2 * i + 1] = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(first, 4), mask), aligned256(q[2])),
		                                _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(last, 4), mask), aligned256(q[3])));
	}
	__m256 scale, min;
	scales_q4_k(chunk, 8, &scale, &min);
	acc = add_chunk(sum_blocks(v, false), x, scale, acc);
	return _mm256_fmadd_ps(min, _mm256_load_ps(x->s32), acc);
}

/* Rows one after the other, as they lie; 8 at a time, so that their sums are added across lanes together. */
INLINE void one(const hth_few *job, const size_t chunk_bytes, const size_t block_cols, chunk_fn add)
{
	_Alignas(32) float sums[ROWS][8], v[ROWS];
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		for (size_t r = 0; r < n_rows; r++) {
			const char *chunk = (const char *)job->w + (r0 + r) * job->row_bytes, *a = job->acts + job->offset[0];
			__m256 acc = _mm256_setzero_ps();
			size_t left = job->cols;
			for (; left >= 256; left -= 256, chunk += chunk_bytes, a += job->block_stride) {
				hth_ask_ahead(chunk, chunk_bytes, HTH_AHEAD);
				acc = add(chunk, (const hth_a8_alone *)a, acc);
			}
			if (left > 0) {
				_Alignas(32) char last[8 * sizeof(hth_block_q4_0)] = {0}; /* what is missing has scale zero */
				memcpy(last, chunk, left / block_cols * (chunk_bytes / (256 / block_cols)));
				acc = add(last, (const hth_a8_alone *)a, acc);
			}
			_mm256_store_ps(sums[r], acc);
		}
		_mm256_store_ps(v, add_across(sums));
		memcpy(job->y + r0, v, n_rows * sizeof *v);
	}
}

void hth_avx2_one_q4_0(const hth_few *job) { one(job, 8 * sizeof(hth_block_q4_0), 32, blocks_q4_0); }
void hth_avx2_one_iq4_nl(const hth_few *job) { one(job, 8 * sizeof(hth_block_iq4_nl), 32, blocks_iq4_nl); }
void hth_avx2_one_iq4_xs(const hth_few *job) { one(job, sizeof(hth_block_iq4_xs), 256, blocks_iq4_xs); }
void hth_avx2_one_q4_k(const hth_few *job) { one(job, sizeof(hth_block_q4_k), 256, blocks_q4_k); }
