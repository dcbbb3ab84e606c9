/* avx2-one.h - the loop over rows of weights, as they lie in the file, by one token, and reading blocks for it. For the rows with 256-bit
 * vectors; avx2-one.c and avxvnni-one.c say how a chunk of 256 columns is multiplied.
 *
 * A chunk's blocks i and 4 + i are in the halves of a vector: low nibbles, columns 0 to 15 of both, and high ones, columns 16 to 31.
 * Activations lie to match (hth_a8_alone).
 */
#ifndef HTH_ENGINE_AVX2_ONE_H
#define HTH_ENGINE_AVX2_ONE_H

#include "engine/kernels/avx2-few.h"

/* What both rows keep of group g; its line, or one of zeros past the end. */
INLINE const hth_a8_line *arrange_group(hth_a8_alone *to, const hth_a8_line *lines, size_t stride, size_t n_groups, size_t g)
{
	static const hth_a8_line nothing;
	const hth_a8_line *l = g < n_groups ? (const hth_a8_line *)((const char *)lines + g * stride) : &nothing;
	to->d[g] = l->d;
	to->s32[g] = l->s32;
	for (size_t h = 0; h < 2; h++)
		memcpy(to->halves[2 * (g % 4) + h] + 16 * (g / 4), l->q + 16 * h, 16);
	return l;
}

/* The floats of avx2-few.c. */
INLINE __m256 add_chunk(__m256i sum, const hth_a8_alone *x, __m256 scale, __m256 acc)
{
	return _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(x->d)), scale, acc);
}

/* 16 bytes of two pieces, `apart` bytes from each other, in the halves of a vector. */
INLINE __m256i two_pieces(const void *p, size_t apart)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p)), load128((const char *)p + apart), 1);
}
INLINE __m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
INLINE __m256i high_nibbles(__m256i v) { return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15)); }
/* Two words of 32 bits in the halves of a vector, and of each bit j of them 16 or 0: bits 0 to 15 in bits[0], 16 to 31 in bits[1]. */
INLINE void fifth_of_two(const void *p, size_t apart, __m256i bits[2])
{
	__m256i first = _mm256_set1_epi32((int)load32(p)), second = _mm256_set1_epi32((int)load32((const char *)p + apart));
	__m256i words = _mm256_blend_epi32(first, second, 0xF0);
	const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0, 0x0101010101010101);
	const __m256i mask = _mm256_set1_epi64x((long long)0x8040201008040201);
#pragma GCC unroll 2
	for (int h = 0; h < 2; h++) {
		__m256i v = _mm256_shuffle_epi8(words, _mm256_add_epi8(spread, _mm256_set1_epi8((char)(2 * h))));
		bits[h] = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(v, mask), mask), _mm256_set1_epi8(16));
	}
}

/* Fifth bits of Q5_K: bit g of byte c is that of column c of group g (Q5_K). Groups 3 and 7 come first, then 2 and 6 and so on:
 * an addition moves them up by one, and can be done wherever there is room. */
typedef struct fifth_bits_k {
	__m256i first, last; /* columns 0 to 15 of groups i and 4 + i, and 16 to 31 */
} fifth_bits_k;
INLINE fifth_bits_k fifth_of_k(const uint8_t qh[32])
{
	const __m256i to_low = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
	return (fifth_bits_k){_mm256_srlv_epi32(_mm256_broadcastsi128_si256(load128(qh)), to_low),
	                      _mm256_srlv_epi32(_mm256_broadcastsi128_si256(load128(qh + 16)), to_low)};
}
INLINE void next_fifth(fifth_bits_k *bits, __m256i *first, __m256i *last)
{
	bits->first = _mm256_add_epi8(bits->first, bits->first);
	bits->last = _mm256_add_epi8(bits->last, bits->last);
	*first = _mm256_or_si256(*first, _mm256_and_si256(bits->first, _mm256_set1_epi8(16)));
	*last = _mm256_or_si256(*last, _mm256_and_si256(bits->last, _mm256_set1_epi8(16)));
}

/* Half h of the groups of Q6_K, columns 0 to 15 or 16 to 31: codes of groups i and 4 + i, which lie at the same place of both halves of a
 * block. */
INLINE void codes_of_half(const hth_block_q6_k *b, size_t h, __m256i codes[4])
{
	const __m256i bits = _mm256_set1_epi8(48);
	__m256i a = two_pieces(b->ql + 16 * h, 64), c = two_pieces(b->ql + 32 + 16 * h, 64), high = two_pieces(b->qh + 16 * h, 32);
	codes[0] = _mm256_or_si256(low_nibbles(a), _mm256_and_si256(_mm256_slli_epi16(high, 4), bits));
	codes[1] = _mm256_or_si256(low_nibbles(c), _mm256_and_si256(_mm256_slli_epi16(high, 2), bits));
	codes[2] = _mm256_or_si256(high_nibbles(a), _mm256_and_si256(high, bits));
	codes[3] = _mm256_or_si256(high_nibbles(c), _mm256_and_si256(_mm256_srli_epi16(high, 2), bits));
}

/* The 8 groups' sums, of groups i and 4 + i in the halves of v[i]: one for each lane of 32 bits, or two of 16. */
INLINE __m256i across_blocks(const __m256i v[4], const bool in_32)
{
	__m256i t[2];
#define ADD(a, b) (in_32 ? _mm256_add_epi32(a, b) : _mm256_add_epi16(a, b))
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++) {
		__m256i a = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]), b = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
		t[i] = ADD(a, b);
	}
	__m256i a = _mm256_unpacklo_epi64(t[0], t[1]), b = _mm256_unpackhi_epi64(t[0], t[1]);
	return ADD(a, b);
#undef ADD
}

/* The F16 at one place of 8 blocks. */
INLINE __m256 half_of_blocks(const char *chunk, size_t stride)
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

/* Rows one after the other, as they lie; 8 at a time, so that their sums are added across lanes together. */
INLINE void one(const hth_few *job, const size_t chunk_bytes, const size_t block_cols, chunk_fn add, const bool near)
{
	_Alignas(32) float sums[ROWS][8], v[ROWS];
	const char *rows_end = (const char *)job->w + job->n_rows * job->row_bytes;
	const __m256 last_lanes = lanes_of_first(job->cols % 256 / 32);
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		for (size_t r = 0; r < n_rows; r++) {
			const char *chunk = (const char *)job->w + (r0 + r) * job->row_bytes, *a = job->acts + job->offset[0];
			__m256 acc = _mm256_setzero_ps();
			for (size_t left = job->cols; left > 0; left -= HTH_MIN(left, (size_t)256)) {
				_Alignas(32) char last[8 * sizeof(hth_block_q5_1)];
				const char *blocks = chunk;
				if (block_cols == 32 && __builtin_expect(chunk + chunk_bytes > rows_end, 0)) {
					memset(last, 0, sizeof last);
					blocks = memcpy(last, chunk, left / block_cols * (chunk_bytes / (256 / block_cols)));
				}
				hth_ask_ahead(chunk, chunk_bytes, HTH_AHEAD, near);
				__m256 sum = add(blocks, (const hth_a8_alone *)a, acc);
				acc = block_cols == 256 || left >= 256 ? sum : _mm256_blendv_ps(acc, sum, last_lanes);
				chunk += chunk_bytes;
				a += job->block_stride;
			}
			_mm256_store_ps(sums[r], acc);
		}
		_mm256_store_ps(v, add_across(sums));
		memcpy(job->y + r0, v, n_rows * sizeof *v);
	}
}

/* The row's functions, of the blocks_NAME of its file. */
#define ONE(row, name, blocks_per_chunk)                                                                                       \
	void hth_##row##_one_##name(const hth_few *job)                                                                        \
	{                                                                                                                      \
		enum { BYTES = (blocks_per_chunk) * sizeof(hth_block_##name), COLS = 256 / (blocks_per_chunk) };               \
		if (hth_near())                                                                                                \
			one(job, BYTES, COLS, blocks_##name, true);                                                            \
		else                                                                                                           \
			one(job, BYTES, COLS, blocks_##name, false);                                                           \
	}
#define ALL_TYPES(row)                                                                                                         \
	ONE(row, q4_0, 8) ONE(row, q4_1, 8) ONE(row, q5_0, 8) ONE(row, q5_1, 8) ONE(row, iq4_nl, 8) ONE(row, mxfp4, 8)         \
	ONE(row, iq4_xs, 1) ONE(row, q4_k, 1) ONE(row, q5_k, 1) ONE(row, q6_k, 1)

#endif
