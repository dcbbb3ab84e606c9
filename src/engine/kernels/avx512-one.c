/* avx512-one.c - rows of Q4_K and Q5_K by one token, in fewer instructions than avx512-few.c spends on them.
 *
 * What is unpacked serves one token only, so as much as can be is done after the products, of which there are fewer than codes:
 *   - A byte's two groups stay apart: transposing 4 x 4 words leaves words j and 4 + j of a group in two quarters of a vector, and eight
 *     more shuffles would bring them together. Here both are multiplied where they are (the activations are arranged to match, hth_a8_one),
 *     and two shuffles join the sums of low and of high groups.
 *   - Scales of 1024 columns are read at once: the heads of four blocks fill a vector, whose bytes are permuted and whose bits are moved
 *     (vgf2p8affineqb: another matrix in each quadword) for 32 scales and 32 minimums together.
 * The integer sums of a group are those of avx512-few.c, and they meet the same floats in the same lanes and order: so the token's
 * sums are to the last bit what they are among others. Rows are read in the order in which they lie: two at once, which would load
 * activations once for both, ran no faster in cache and slower from memory.
 */
#include "engine/kernels/avx512-lanes.h"
#include "engine/kernels/avx512.h"
#include "base/mem.h"

void hth_avx512_arrange_one(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	hth_a8_one *to = dst;
	hth_a8_lanes lanes;
	hth_avx512_arrange_by_32(&lanes, lines, stride, n_groups);
	/* Quarters of lanes.q: low and high groups of one pair, low and high ones of the next. */
	const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
	for (size_t j = 0; j < 4; j++) {
		__m512i a = _mm512_load_si512(lanes.q[j]), b = _mm512_load_si512(lanes.q[4 + j]);
		_mm512_store_si512(to->pair[j], _mm512_permutex2var_epi64(a, low, b));
		_mm512_store_si512(to->pair[4 + j], _mm512_permutex2var_epi64(a, high, b));
	}
	const __mmask16 of_high = 0xF0F0;
	__m512 d = _mm512_load_ps(lanes.d);
	_mm512_store_ps(to->d, d);
	_mm512_store_ps(to->s, _mm512_load_ps(lanes.s));
	_mm512_store_ps(to->d16, _mm512_mask_mul_ps(d, of_high, d, _mm512_set1_ps(0.0625f)));
}

/* Codes of 512 columns: quarters of low[j] and high[j] are words j, 4 + j, j and 4 + j of low and of high groups. */
typedef void (*pairs_fn)(const char *chunk, const char *second, __m512i low[4], __m512i high[4]);

/* High ones are 16 times as large. */
INLINE void pairs_q4_k(const char *chunk, const char *second, __m512i low[4], __m512i high[4])
{
	const uint8_t *a = BLOCK(q4_k, 0).qs, *b = ((const hth_block_q4_k *)second)->qs;
	__m512i t[4];
	transpose_quarters(t, load512_once(a), load512_once(a + 64), load512_once(b), load512_once(b + 64));
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		low[j] = _mm512_and_si512(t[j], _mm512_set1_epi8(0x0F));
		high[j] = _mm512_and_si512(t[j], _mm512_set1_epi8((char)0xF0));
	}
}
INLINE void pairs_q5_k(const char *chunk, const char *second, __m512i low[4], __m512i high[4])
{
	__m512i l[4], h[4];
	q5_k_codes((const hth_block_q5_k *)chunk, l, h);
	q5_k_codes((const hth_block_q5_k *)second, l + 2, h + 2);
	transpose_quarters(low, l[0], l[1], l[2], l[3]);
	transpose_quarters(high, h[0], h[1], h[2], h[3]);
}

/* What lane l's group is: scale and minimum, to be subtracted. */
typedef struct lane_scales {
	__m512 scale, min;
} lane_scales;

/* Of four blocks, two of 512 columns. Both types begin with d, dmin and the 12 bytes of hth_k4_scale_min: a (bytes 4 to 7 of the block) has
 * scales of groups 0 to 3 and the tops of those of 4 to 7, b minimums and tops likewise, c the low nibbles of both of groups 4 to 7. */
INLINE void scales_of_four(const char *chunk, size_t block_bytes, lane_scales to[2])
{
	__m512i head = _mm512_castsi128_si512(load128(chunk));
	head = _mm512_inserti32x4(head, load128(chunk + block_bytes), 1);
	head = _mm512_inserti32x4(head, load128(chunk + 2 * block_bytes), 2);
	head = _mm512_inserti32x4(head, load128(chunk + 3 * block_bytes), 3);
/* Four bytes of a block and of the next. */
#define FOUR(at) ((at) | ((at) + 1) << 8 | ((at) + 2) << 16 | ((at) + 3) << 24)
#define EIGHT(part, block) (long long)(FOUR((part) + 16ull * (block)) | FOUR((part) + 16ull * (block) + 16) << 32)
	enum { A = 4, B = 8, C = 12 };
	const __m512i parts = _mm512_setr_epi64(EIGHT(A, 0), EIGHT(A, 2), EIGHT(C, 0), EIGHT(C, 2), EIGHT(B, 0), EIGHT(B, 2), EIGHT(C, 0),
	                                        EIGHT(C, 2));
	const __m512i tops = _mm512_setr_epi64(0, 0, EIGHT(A, 0), EIGHT(A, 2), 0, 0, EIGHT(B, 0), EIGHT(B, 2));
#undef EIGHT
#undef FOUR
	const long long six = (long long)(MOVE_4(0, 0) | MOVE_2(4, 4)), low = (long long)MOVE_4(0, 0), high = (long long)MOVE_4(4, 0);
	const long long top = (long long)MOVE_2(6, 4);
	const __m512i take = _mm512_setr_epi64(six, six, low, low, six, six, high, high),
	    take_top = _mm512_setr_epi64(0, 0, top, top, 0, 0, top, top);
	/* Scales of groups 0 to 3 of each block, of 4 to 7; minimums likewise. */
	__m512i all = _mm512_or_si512(_mm512_gf2p8affine_epi64_epi8(_mm512_permutexvar_epi8(parts, head), take, 0),
	                              _mm512_gf2p8affine_epi64_epi8(_mm512_permutexvar_epi8(tops, head), take_top, 0));
/* Where the scale of lane l of chunk i is: group 4 (l % 4) + l / 4 of the chunk is 4 (l % 2) + l / 4 of its block. */
#define AT(i, l) 16 * ((l) % 2) + 4 * (2 * (i) + (l) % 4 / 2) + (l) / 4
#define LANES(i)                                                                                                                         \
	_mm512_setr_epi32(AT(i, 0), AT(i, 1), AT(i, 2), AT(i, 3), AT(i, 4), AT(i, 5), AT(i, 6), AT(i, 7), AT(i, 8), AT(i, 9), AT(i, 10), \
	                  AT(i, 11), AT(i, 12), AT(i, 13), AT(i, 14), AT(i, 15))
	const __m512i lanes[2] = {LANES(0), LANES(1)}, to_mins = _mm512_set1_epi32(32);
#undef LANES
#undef AT
	const __mmask64 first_bytes = 0x1111111111111111;
#pragma GCC unroll 2
	for (long long i = 0; i < 2; i++) {
		__m512i s = _mm512_maskz_permutexvar_epi8(first_bytes, lanes[i], all);
		__m512i m = _mm512_maskz_permutexvar_epi8(first_bytes, _mm512_add_epi32(lanes[i], to_mins), all);
		/* Word 0 of blocks 2 i and 2 i + 1, two lanes each; word 1 is dmin. */
		const __m512i of_d = _mm512_set1_epi64((16 * i) * 0x10001ll | (16 * i + 8) * 0x1000100000000ll);
		__m512i d = _mm512_permutexvar_epi16(of_d, head), dmin = _mm512_permutexvar_epi16(_mm512_add_epi16(of_d,
		    _mm512_set1_epi16(1)), head);
		to[i].scale = _mm512_mul_ps(_mm512_cvtepi32_ps(s), _mm512_cvtph_ps(_mm512_castsi512_si256(d)));
		to[i].min = _mm512_mul_ps(_mm512_cvtepi32_ps(m), _mm512_cvtph_ps(_mm512_castsi512_si256(dmin)));
	}
}

/* acc + 512 columns of a row; d: the activations' scales, for high groups as their codes want them. */
INLINE __m512 chunk_dot(const char *chunk, const char *second, const hth_a8_one *x, const float *d, pairs_fn pairs, lane_scales s,
                        __m512 acc)
{
	__m512i low[4], high[4], sum_low = _mm512_setzero_si512(), sum_high = sum_low;
	pairs(chunk, second, low, high);
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		sum_low = _mm512_dpbusd_epi32(sum_low, low[j], _mm512_load_si512(x->pair[j]));
		sum_high = _mm512_dpbusd_epi32(sum_high, high[j], _mm512_load_si512(x->pair[4 + j]));
	}
	__m512i first = _mm512_permutex2var_epi64(sum_low, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), sum_high);
	__m512i last = _mm512_permutex2var_epi64(sum_low, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), sum_high);
	__m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(first, last));
	acc = _mm512_fmadd_ps(_mm512_mul_ps(sum, _mm512_load_ps(d)), s.scale, acc);
	return _mm512_fnmadd_ps(s.min, _mm512_load_ps(x->s), acc);
}

enum { ROWS = 16 };

/* sixteenth: high codes are 16 times as large. */
INLINE void one(const hth_few *job, const size_t block_bytes, pairs_fn pairs, const bool sixteenth, const bool near)
{
	static const _Alignas(64) char nothing[sizeof(hth_block_q5_k)];
	_Alignas(64) float sums[ROWS][16];
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		for (size_t r = 0; r < ROWS; r++) {
			const char *chunk = (const char *)job->w + (r0 + r) * job->row_bytes, *a = job->acts + job->offset[0];
			__m512 acc = _mm512_setzero_ps();
			size_t left = r < n_rows ? job->cols : 0;
			for (; left >= 1024; left -= 1024) {
				hth_ask_ahead(chunk, 4 * block_bytes, HTH_AHEAD, near);
				lane_scales s[2];
				scales_of_four(chunk, block_bytes, s);
#pragma GCC unroll 2
				for (int i = 0; i < 2; i++) {
					const hth_a8_one *x = (const hth_a8_one *)a;
					acc = chunk_dot(chunk, chunk + block_bytes, x, sixteenth ? x->d16 : x->d, pairs, s[i], acc);
					chunk += 2 * block_bytes;
					a += job->block_stride;
				}
			}
			for (; left > 0; left -= HTH_MIN(left, (size_t)512)) {
				const hth_a8_one *x = (const hth_a8_one *)a;
				const char *second = left > 256 ? chunk + block_bytes : nothing;
				hth_ask_lines_ahead(chunk, 1, HTH_AHEAD, near);
				chunk_lanes s;
				k4_lane_scales(chunk, second, _mm512_set1_ps(1), &s);
				acc = chunk_dot(chunk, second, x, sixteenth ? x->d16 : x->d, pairs, (lane_scales){s.scale, s.min},
				                acc);
				chunk += 2 * block_bytes;
				a += job->block_stride;
			}
			_mm512_store_ps(sums[r], acc);
		}
		_mm512_mask_storeu_ps(job->y + r0, (__mmask16)((1u << n_rows) - 1), add_across(sums));
	}
}

#define ONE(name, sixteenth)                                                                     \
	void hth_avx512_one_##name(const hth_few *job)                                           \
	{                                                                                        \
		if (hth_near())                                                                  \
			one(job, sizeof(hth_block_##name), pairs_##name, sixteenth, true);       \
		else                                                                             \
			one(job, sizeof(hth_block_##name), pairs_##name, sixteenth, false);      \
	}
ONE(q4_k, true)
ONE(q5_k, false)
