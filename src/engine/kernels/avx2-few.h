/* avx2-few.h - the loop over rows of weights, as they lie in the file, and a few tokens, in one reading of the weights. For the rows
 * with 256-bit vectors; avx2-few.c and avxvnni-few.c say how a row's chunk is unpacked and multiplied.
 *
 * A row's chunk of 256 columns is 8 groups of 32, one in each 32-bit lane: vector k holds columns 4 k to 4 k + 3 of every group, and
 * activations lie the same way (hth_a8_groups). So 256 columns of a token end in one conversion to floats, and what unpacking a row
 * costs is shared by the tokens.
 *
 * Rows are done 8 at a time, so that their sums are added across lanes together, in pieces of columns whose activations stay in the
 * first-level cache.
 */
#ifndef HTH_ENGINE_AVX2_FEW_H
#define HTH_ENGINE_AVX2_FEW_H

#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx2.h"
#include "base/mem.h"

/* A row's chunk: codes, scales and minimums as the file that reads them likes them. */
typedef struct chunk_groups {
	__m256i w[8], half[2];
	__m256 scale[2], min[2];
} chunk_groups;
typedef void (*read_fn)(const char *chunk, chunk_groups *row);
typedef void (*read_codes_fn)(const char *chunk, __m256i w[8]);
/* acc + the row's chunk by a token. */
typedef __m256 (*dot_fn)(const chunk_groups *row, const hth_a8_groups *x, __m256 acc);

INLINE __m256i aligned256(const void *p) { return _mm256_load_si256((const __m256i *)p); }

#define READ_CODES(name)                                              \
	INLINE void read_codes_##name(const char *chunk, __m256i w[8]) \
	{                                                             \
		w[0] = codes_##name(chunk, 0);                        \
		w[1] = codes_##name(chunk, 1);                        \
		w[2] = codes_##name(chunk, 2);                        \
		w[3] = codes_##name(chunk, 3);                        \
		w[4] = codes_##name(chunk, 4);                        \
		w[5] = codes_##name(chunk, 5);                        \
		w[6] = codes_##name(chunk, 6);                        \
		w[7] = codes_##name(chunk, 7);                        \
		transpose8(w);                                        \
	}
#define READ_NIBBLES(name)                                            \
	INLINE void read_codes_##name(const char *chunk, __m256i w[8]) \
	{                                                             \
		__m128i b[8];                                         \
		_Pragma("GCC unroll 8")                               \
		for (int g = 0; g < 8; g++)                           \
			b[g] = load128(bytes_##name(chunk, g));       \
		transpose_nibbles(w, b);                              \
		_Pragma("GCC unroll 8")                               \
		for (int k = 0; k < 8; k++)                           \
			w[k] = value_##name(w[k]);                    \
	}
READ_NIBBLES(q4_0) READ_NIBBLES(q4_1) READ_NIBBLES(iq4_nl) READ_NIBBLES(mxfp4) READ_NIBBLES(iq4_xs)
READ_CODES(q5_0) READ_CODES(q5_1) READ_CODES(q8_0) READ_CODES(q5_k)

/* Of blocks of 256: columns 16 h to 16 h + 15 of groups 0 to 3 in the lower half, of 4 to 7 in the upper one, so that nothing has to change
 * halves. both_TYPE(chunk, i, h): bits[i] as part_TYPE likes them for groups 0 to 3. */
INLINE __m256i two128(const uint8_t *low, const uint8_t *high) { return _mm256_set_m128i(load128(high), load128(low)); }
/* A bit of each group in one byte. */
INLINE __m256i bit_of_group(const uint8_t *p) { return _mm256_set_m128i(_mm_srli_epi16(load128(p), 4), load128(p)); }
INLINE __m256i both_q2_k(const char *chunk, int i, int h)
{
	const uint8_t *qs = ((const hth_block_q2_k *)chunk)->qs + 16 * h;
	return i == 0 ? two128(qs, qs + 32) : _mm256_setzero_si256();
}
INLINE __m256i both_q3_k(const char *chunk, int i, int h)
{
	const hth_block_q3_k *b = (const hth_block_q3_k *)chunk;
	return i == 0 ? two128(b->qs + 16 * h, b->qs + 32 + 16 * h) : i == 2 ? bit_of_group(b->hmask + 16 * h) : _mm256_setzero_si256();
}
INLINE __m256i both_q4_k(const char *chunk, int i, int h)
{
	const uint8_t *qs = ((const hth_block_q4_k *)chunk)->qs + 16 * h;
	return i < 2 ? two128(qs + 32 * i, qs + 64 + 32 * i) : _mm256_setzero_si256();
}
INLINE __m256i both_q6_k(const char *chunk, int i, int h)
{
	const hth_block_q6_k *b = (const hth_block_q6_k *)chunk;
	const uint8_t *ql = b->ql + 16 * h, *qh = b->qh + 16 * h;
	return i < 2 ? two128(ql + 32 * i, ql + 64 + 32 * i) : i == 4 ? two128(qh, qh + 32) : _mm256_setzero_si256();
}
#define READ_BITS(name, n)                                                    \
	INLINE void read_codes_##name(const char *chunk, __m256i w[8])        \
	{                                                                     \
		_Pragma("GCC unroll 2")                                       \
		for (int h = 0; h < 2; h++) {                                 \
			__m256i bits[n], r[4];                                \
			_Pragma("GCC unroll 6")                               \
			for (int i = 0; i < (n); i++)                         \
				bits[i] = both_##name(chunk, i, h);           \
			_Pragma("GCC unroll 4")                               \
			for (int g = 0; g < 4; g++)                           \
				r[g] = part_##name(bits, g);                  \
			transpose4(w + 4 * h, r);                             \
		}                                                             \
	}
READ_BITS(q2_k, 2) READ_BITS(q3_k, 3) READ_BITS(q4_k, 4) READ_BITS(q6_k, 6)

/* From integer scales of 16 groups of 16: that of group 2 g + h in both halves of lane g of half[h]. */
INLINE void scales_of_halves(__m256i s, __m256i half[2])
{
	half[0] = _mm256_or_si256(_mm256_and_si256(s, _mm256_set1_epi32(0xFFFF)), _mm256_slli_epi32(s, 16));
	half[1] = _mm256_blend_epi16(_mm256_srli_epi32(s, 16), s, 0xAA);
}

/* Lane i of the result: the sum of row i. */
INLINE __m256 add_across(const float rows[8][8])
{
	__m256 t[4];
	for (int i = 0; i < 4; i++)
		t[i] = _mm256_hadd_ps(_mm256_load_ps(rows[2 * i]), _mm256_load_ps(rows[2 * i + 1]));
	__m256 low = _mm256_hadd_ps(t[0], t[1]), high = _mm256_hadd_ps(t[2], t[3]);
	return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

/* At a row's end a chunk of blocks of 32 goes on with the next row's, whose lanes are left out. */
INLINE __m256 lanes_of_first(size_t n_groups)
{
	const __m256i group = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n_groups), group));
}

enum { ROWS = 8, TOKENS = 16, UNROLLED = 8, PIECE_COLS = 1024, PIECE_COLS_MORE = 768 };

/* n tokens; where that is a constant 1, rows are read through at once, as they lie. A constant UNROLLED is for the loop over them, which is
 * then none (8 tokens, measured in turns: 3 to 7% faster; with VNNI Q4_0 and Q8_0 18 and 23%). More have shorter pieces: 16 tokens of
 * 768 columns are 24 KiB, and first-level caches are 32 KiB or more (1,024 columns are 3% faster on one of 48 KiB). */
INLINE void few(const hth_few *job, size_t t0, size_t n, size_t chunk_bytes, const size_t block_cols, read_fn read, dot_fn dot,
                const bool near)
{
	_Alignas(32) float sums[TOKENS][ROWS][8];
	const char *a[TOKENS];
	const bool alone = __builtin_constant_p(n) && n == 1;
	const char *rows_end = (const char *)job->w + job->n_rows * job->row_bytes;
	const __m256 last_lanes = lanes_of_first(job->cols % 256 / 32);
	size_t cols = job->cols, piece = alone ? cols : HTH_MIN(cols, (size_t)(n > UNROLLED ? PIECE_COLS_MORE : PIECE_COLS));
	/* What comes about HTH_AHEAD bytes later is the same piece of some later row. */
	size_t ahead = alone ? HTH_AHEAD : (HTH_AHEAD / (piece / block_cols * (chunk_bytes / (256 / block_cols)) + 1) + 1) * job->row_bytes;
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		memset(sums, 0, n * sizeof *sums);
		for (size_t c0 = 0; c0 < cols; c0 += piece) {
			size_t end = HTH_MIN(c0 + piece, cols);
			for (size_t r = 0; r < n_rows; r++) {
				const char *chunk = (const char *)job->w + (r0 + r) * job->row_bytes + c0 / 256 * chunk_bytes;
				for (size_t t = 0; t < n; t++)
					a[t] = job->acts + job->offset[t0 + t] + c0 / 256 * job->block_stride;
				__m256 acc = _mm256_setzero_ps();
				for (size_t c = c0; c < end; c += 256) {
					_Alignas(32) char last[8 * sizeof(hth_block_q8_0)];
					const char *from = chunk;
					if (block_cols == 32 && __builtin_expect(chunk + chunk_bytes > rows_end, 0)) {
						memset(last, 0, sizeof last);
						from = memcpy(last, chunk, HTH_MIN((end - c) / 32, (size_t)8) * (chunk_bytes / 8));
					}
					if (alone)
						hth_ask_ahead(chunk, chunk_bytes, ahead, near);
					else
						hth_ask_lines_ahead(chunk, chunk_bytes, ahead, near);
					chunk_groups row;
					read(from, &row);
					if (block_cols == 32 && c + 256 > end) {
						row.scale[0] = _mm256_and_ps(row.scale[0], last_lanes);
						row.min[0] = _mm256_and_ps(row.min[0], last_lanes);
					}
					if (alone) {
						acc = dot(&row, (const hth_a8_groups *)a[0], acc);
						a[0] += job->block_stride;
					}
#pragma GCC unroll 8
					for (size_t t = 0; !alone && t < n; t++) {
						float *sum = sums[t][r];
						_mm256_store_ps(sum, dot(&row, (const hth_a8_groups *)a[t], _mm256_load_ps(sum)));
						a[t] += job->block_stride;
					}
					chunk += chunk_bytes;
				}
				if (alone)
					_mm256_store_ps(sums[0][r], acc);
			}
		}
		for (size_t t = 0; t < n; t++) {
			float *y = job->y + (t0 + t) * job->y_stride + r0;
			_Alignas(32) float v[8];
			_mm256_store_ps(v, add_across(sums[t]));
			memcpy(y, v, n_rows * sizeof *y);
		}
	}
}

#define FEW(row, name, blocks_per_chunk, read, dot)                                                                      \
	void hth_##row##_few_##name(const hth_few *job)                                                                  \
	{                                                                                                                \
		enum { BYTES = (blocks_per_chunk) * sizeof(hth_block_##name), COLS = 256 / (blocks_per_chunk) };         \
		const bool near = hth_near();                                                                            \
		for (size_t t = 0; t < job->n_tokens; t += TOKENS)                                                       \
			if (job->n_tokens - t == 1 && near)                                                              \
				few(job, t, 1, BYTES, COLS, read, dot, true);                                            \
			else if (job->n_tokens - t == 1)                                                                 \
				few(job, t, 1, BYTES, COLS, read, dot, false);                                           \
			else if (job->n_tokens - t == UNROLLED)                                                          \
				few(job, t, UNROLLED, BYTES, COLS, read, dot, near);                                     \
			else                                                                                             \
				few(job, t, HTH_MIN(job->n_tokens - t, (size_t)TOKENS), BYTES, COLS, read, dot, near);   \
	}

#endif
