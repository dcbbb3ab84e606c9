/* avx2-one.c - rows of blocks with nibbles by one token (the AVX2 row): Q4_0, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4.
 *
 * The loop of avx2-rows.c widens, converts and scales each group of 32 for itself; that of avx2-few.c brings each group's codes to a lane
 * of its own first, which pays when several tokens use them. Here two blocks, i and 4 + i, are multiplied in the halves of a vector as they
 * lie, and sums are brought together afterwards, in 16 bits while they fit (avx2-gemm.c has the ranges): 2 products for each lane, then
 * lanes of four such vectors. Activations lie to match (hth_a8_alone).
 *
 * It ends with the 8 groups' sums in the lanes that avx2-few.c has them in, and goes on with its floating operations in its order, so a
 * token alone comes out to the last bit as among others. Vector units are the limit (3.3 of 4 instructions a cycle on a Zen 5), so the
 * scales of Q4_K and Q5_K are unpacked in integer registers.
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
		memcpy(to->minus[0][g], l->minus[0], sizeof l->minus[0]);
		memcpy(to->minus[1][g], l->minus[1], sizeof l->minus[1]);
		for (size_t h = 0; h < 2; h++)
			memcpy(to->halves[2 * (g % 4) + h] + 16 * (g / 4), l->q + 16 * h, 16);
	}
	for (size_t i = 0; i < 8; i++)
		_mm256_store_si256((__m256i *)to->sizes[i], _mm256_abs_epi8(aligned256(to->halves[i])));
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
/* Columns 0 to 15 and 16 to 31 of two groups, in 16 bits. */
INLINE __m256i products(__m256i first, __m256i last, const int8_t q[2][32])
{
	return _mm256_add_epi16(_mm256_maddubs_epi16(first, aligned256(q[0])), _mm256_maddubs_epi16(last, aligned256(q[1])));
}

/* Blocks of nibbles i and 4 + i of a chunk, `stride` bytes apart, by their activations: in 16 bits, or 32 where codes are looked up. */
INLINE __m256i two_blocks(const char *nibbles, size_t stride, size_t i, const hth_a8_alone *x, const bool looked_up)
{
	__m256i v = two_pieces(nibbles + i * stride, 4 * stride), low = low_nibbles(v), high = high_nibbles(v);
	if (!looked_up)
		return products(low, high, x->halves + 2 * i);
	/* Products of 8-bit codes fill 16 bits. The activation's sign moves to the code. */
	const __m256i one = _mm256_set1_epi16(1);
	low = _mm256_sign_epi8(look_up(hth_iq4_values, 0, low), aligned256(x->halves[2 * i]));
	high = _mm256_sign_epi8(look_up(hth_iq4_values, 0, high), aligned256(x->halves[2 * i + 1]));
	__m256i p = _mm256_maddubs_epi16(aligned256(x->sizes[2 * i]), low),
	    p2 = _mm256_maddubs_epi16(aligned256(x->sizes[2 * i + 1]), high);
	return _mm256_add_epi32(_mm256_madd_epi16(p, one), _mm256_madd_epi16(p2, one));
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

/* In 16 bits: 4 products in a lane, then 16: 16 * 15 * 127 = 30480. */
INLINE __m256i sum_blocks(const __m256i v[4], const bool looked_up)
{
	__m256i sum = across_blocks(v, looked_up);
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

/* Values and 16, which the sums begin without (C5 of avx2-few.c): they pass the end of 16 bits on the way and come back. */
INLINE __m256 blocks_mxfp4(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	enum { STRIDE = sizeof(hth_block_mxfp4) };
	__m256i v[4], minus = _mm256_slli_epi16(_mm256_add_epi16(aligned256(x->minus[0]), aligned256(x->minus[1])), 4);
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++) {
		__m256i both = two_pieces(chunk + 1 + i * STRIDE, 4 * STRIDE);
		v[i] = products(look_up(hth_mxfp4_values, 16, low_nibbles(both)), look_up(hth_mxfp4_values, 16, high_nibbles(both)),
		                x->halves + 2 * i);
	}
	__m256 scale, none;
	scales_mxfp4(chunk, 8, &scale, &none);
	return add_chunk(_mm256_madd_epi16(_mm256_add_epi16(across_blocks(v, false), minus), _mm256_set1_epi16(1)), x, scale, acc);
}

/* 32 bytes of Q4_K hold two groups: those of pieces i and 2 + i in halves of a vector give groups 2 i and 4 + 2 i, and 2 i + 1 and 5 + 2
 * i. */
INLINE __m256 blocks_q4_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q4_k *b = (const hth_block_q4_k *)chunk;
	__m256i v[4];
#pragma GCC unroll 2
	for (size_t i = 0; i < 2; i++) {
		__m256i first = two_pieces(b->qs + 32 * i, 64), last = two_pieces(b->qs + 32 * i + 16, 64);
		v[2 * i] = products(low_nibbles(first), low_nibbles(last), x->halves + 4 * i);
		v[2 * i + 1] = products(high_nibbles(first), high_nibbles(last), x->halves + 4 * i + 2);
	}
	__m256 scale, min;
	scales_q4_k(chunk, 8, &scale, &min);
	acc = add_chunk(sum_blocks(v, false), x, scale, acc);
	return _mm256_fmadd_ps(min, _mm256_load_ps(x->s32), acc);
}

/* The same with a fifth bit: bit g of byte c is that of column c of group g. Codes are centred at 16 (U5 of avx2-few.c): 16 products in a
 * lane of 16 bits pass its end on the way and come back. */
INLINE __m256 blocks_q5_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q5_k *b = (const hth_block_q5_k *)chunk;
	const __m256i to_low = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4), bit = _mm256_set1_epi8(16);
	/* Groups i and 4 + i at bit i; an addition moves them up by one, and can be done wherever there is room. */
	__m256i first_bits = _mm256_srlv_epi32(_mm256_broadcastsi128_si256(load128(b->qh)), to_low);
	__m256i last_bits = _mm256_srlv_epi32(_mm256_broadcastsi128_si256(load128(b->qh + 16)), to_low);
	__m256i v[4];
#pragma GCC unroll 2
	for (int i = 1; i >= 0; i--) {
		__m256i first = two_pieces(b->qs + 32 * i, 64), last = two_pieces(b->qs + 32 * i + 16, 64);
#pragma GCC unroll 2
		for (int high = 1; high >= 0; high--) {
			first_bits = _mm256_add_epi8(first_bits, first_bits);
			last_bits = _mm256_add_epi8(last_bits, last_bits);
			v[2 * i + high] = products(_mm256_or_si256(high ? high_nibbles(first) : low_nibbles(first),
			                                           _mm256_and_si256(first_bits, bit)),
			                           _mm256_or_si256(high ? high_nibbles(last) : low_nibbles(last),
			                                           _mm256_and_si256(last_bits, bit)),
			                           x->halves + 4 * i + 2 * high);
		}
	}
	__m256i minus = _mm256_slli_epi16(_mm256_add_epi16(aligned256(x->minus[0]), aligned256(x->minus[1])), 4);
	__m256i sum = _mm256_madd_epi16(_mm256_add_epi16(across_blocks(v, false), minus), _mm256_set1_epi16(1));
	__m256 scale, min;
	scales_q5_k(chunk, 8, &scale, &min);
	min = _mm256_fmadd_ps(scale, _mm256_set1_ps(16), min);
	acc = add_chunk(sum, x, scale, acc);
	return _mm256_fmadd_ps(min, _mm256_load_ps(x->s32), acc);
}

/* Half a block of Q6_K has 4 groups: i and 4 + i lie at the same place of both. Groups of 16 are added up apart, 8 products in a lane of 16
 * bits, with codes centred at 32 (SHIFT_5 of avx2-few.c). */
INLINE __m256 blocks_q6_k(const char *chunk, const hth_a8_alone *x, __m256 acc)
{
	const hth_block_q6_k *b = (const hth_block_q6_k *)chunk;
	const __m256i bits = _mm256_set1_epi8(48);
	__m256i sum[2];
#pragma GCC unroll 2
	for (size_t h = 0; h < 2; h++) { /* columns 0 to 15 of every group, and 16 to 31 */
		__m256i a = two_pieces(b->ql + 16 * h, 64), c = two_pieces(b->ql + 32 + 16 * h, 64), high = two_pieces(b->qh + 16 * h, 32);
		__m256i codes[4] = {_mm256_or_si256(low_nibbles(a), _mm256_and_si256(_mm256_slli_epi16(high, 4), bits)),
		                    _mm256_or_si256(low_nibbles(c), _mm256_and_si256(_mm256_slli_epi16(high, 2), bits)),
		                    _mm256_or_si256(high_nibbles(a), _mm256_and_si256(high, bits)),
		                    _mm256_or_si256(high_nibbles(c), _mm256_and_si256(_mm256_srli_epi16(high, 2), bits))};
		__m256i v[4];
#pragma GCC unroll 4
		for (size_t i = 0; i < 4; i++)
			v[i] = _mm256_maddubs_epi16(codes[i], aligned256(x->halves[2 * i + h]));
		sum[h] = _mm256_add_epi16(across_blocks(v, false), _mm256_slli_epi16(aligned256(x->minus[h]), 5));
	}
	float d;
	__m256i s = int_scales_q6_k(chunk, &d, NULL), of_half[2];
	scales_of_halves(s, of_half);
	__m256i both = _mm256_add_epi32(_mm256_madd_epi16(sum[0], of_half[0]), _mm256_madd_epi16(sum[1], of_half[1]));
	return add_chunk(both, x, _mm256_set1_ps(d), acc);
}

/* At a row's end a chunk of blocks of 32 goes on with the next row's, whose lanes are left out. */
INLINE __m256 lanes_of_first(size_t n_groups)
{
	const __m256i group = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n_groups), group));
}

/* Rows one after the other, as they lie; 8 at a time, so that their sums are added across lanes together. */
INLINE void one(const hth_few *job, const size_t chunk_bytes, const size_t block_cols, chunk_fn add)
{
	_Alignas(32) float sums[ROWS][8], v[ROWS];
	const char *rows_end = (const char *)job->w + job->n_rows * job->row_bytes;
	const __m256 last_lanes = lanes_of_first(job->cols % 256 / 32);
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
			if (block_cols == 32 && left > 0) {
				_Alignas(32) char last[8 * sizeof(hth_block_q4_0)];
				if (chunk + chunk_bytes > rows_end) {
					memset(last, 0, sizeof last);
					chunk = memcpy(last, chunk, left / block_cols * (chunk_bytes / (256 / block_cols)));
				}
				acc = _mm256_blendv_ps(acc, add(chunk, (const hth_a8_alone *)a, acc), last_lanes);
			}
			_mm256_store_ps(sums[r], acc);
		}
		_mm256_store_ps(v, add_across(sums));
		memcpy(job->y + r0, v, n_rows * sizeof *v);
	}
}

void hth_avx2_one_q4_0(const hth_few *job) { one(job, 8 * sizeof(hth_block_q4_0), 32, blocks_q4_0); }
void hth_avx2_one_iq4_nl(const hth_few *job) { one(job, 8 * sizeof(hth_block_iq4_nl), 32, blocks_iq4_nl); }
void hth_avx2_one_mxfp4(const hth_few *job) { one(job, 8 * sizeof(hth_block_mxfp4), 32, blocks_mxfp4); }
void hth_avx2_one_iq4_xs(const hth_few *job) { one(job, sizeof(hth_block_iq4_xs), 256, blocks_iq4_xs); }
void hth_avx2_one_q4_k(const hth_few *job) { one(job, sizeof(hth_block_q4_k), 256, blocks_q4_k); }
void hth_avx2_one_q5_k(const hth_few *job) { one(job, sizeof(hth_block_q5_k), 256, blocks_q5_k); }
void hth_avx2_one_q6_k(const hth_few *job) { one(job, sizeof(hth_block_q6_k), 256, blocks_q6_k); }
