/* avx512-few.c - rows of weights, as they lie in the file, by a few tokens: 1 to 8 in one reading of the weights.
 *
 * With one token the loop must keep up with memory; with a few, unpacking weights into a panel (avx512-rows.c) would cost more than the
 * products. So weights are unpacked in registers, a chunk of a row's columns at a time, laid out so that little is left to do for
 * each token: a group of columns with one scale in each 32-bit lane (avx512-lanes.h), and activations the same way (hth_a8_lanes).
 * vpdpbusd adds up w[k] * q[k]: each lane then has the sum of its group. One conversion, one multiplication by the activations' scales and
 * one by the weights' (added to the row's sum) finish the chunk: 12 instructions for a token and 512 columns, 13 where there are
 * minimums; with groups of 16, 7 and 8 for 256. Signed codes have a power of two added, and the sums start at minus that times sum(q).
 *
 * Rows are done 16 at a time, so that their sums are added across lanes together. Activations of up to 2048 columns stay in the
 * first-level cache while the 16 rows pass; longer rows are done in such pieces. Several tokens take two rows at once (few_by_two).
 */
#include "engine/kernels/avx512-lanes.h"
#include "engine/kernels/avx512.h"
#include "base/mem.h"

typedef void (*read_fn)(const char *chunk, const char *second, chunk_lanes *row);

INLINE const hth_a8_line *line_of(const hth_a8_line *lines, size_t stride, size_t n_groups, size_t g)
{
	static const hth_a8_line nothing;
	return g < n_groups ? (const hth_a8_line *)((const char *)lines + g * stride) : &nothing;
}

void hth_avx512_arrange_by_32(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	hth_a8_lanes *to = dst;
	__m512i c[8], w[8];
	for (size_t h = 0; h < 8; h++)
		c[h] = two256(line_of(lines, stride, n_groups, 2 * h)->q, line_of(lines, stride, n_groups, 2 * h + 1)->q);
	lanes_of_columns(w, c);
	for (size_t k = 0; k < 8; k++)
		_mm512_store_si512(to->q[k], w[k]);
	for (size_t l = 0; l < 16; l++) {
		const hth_a8_line *line = line_of(lines, stride, n_groups, 4 * (l % 4) + l / 4);
		to->d[l] = line->d;
		to->s[l] = line->s32;
		to->n[l] = line->n16[0] + line->n16[1];
	}
}

void hth_avx512_arrange_by_16(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	hth_a8_lanes16 *to = dst;
	const hth_a8_line *line[8];
	for (size_t g = 0; g < 8; g++) {
		line[g] = line_of(lines, stride, n_groups, g);
		to->d[2 * g] = to->d[2 * g + 1] = line[g]->d;
		memcpy(to->s + 2 * g, line[g]->s16, sizeof line[g]->s16);
		memcpy(to->n + 2 * g, line[g]->n16, sizeof line[g]->n16);
	}
	__m512i w[4];
	lanes16_of_columns(w, two256(line[0]->q, line[1]->q), two256(line[2]->q, line[3]->q), two256(line[4]->q, line[5]->q),
	                   two256(line[6]->q, line[7]->q));
	for (int k = 0; k < 4; k++)
		_mm512_store_si512(to->q[k], w[k]);
}

/* What codes need: 128 >> OFFSET_n was added to them; or minimums, added or subtracted. */
typedef enum code_kind { OFFSET_128, OFFSET_64, OFFSET_32, OFFSET_16, OFFSET_8, OFFSET_4, ADD_MIN, SUB_MIN } code_kind;

enum { ROWS = 16, PIECE_COLS = 2048, LAST_MAX = 16 * sizeof(hth_block_q8_0) };

/* At a row's end a chunk of blocks of 32 goes on with the next row's. Its lanes are left out: their activations are 0, but not every
 * scale times 0 is. */
enum { ALL_LANES = 0xFFFF };
INLINE __mmask16 lanes_of_first(size_t n_groups)
{
	const __m512i group = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	return _mm512_cmplt_epi32_mask(group, _mm512_set1_epi32((int)n_groups));
}

/* One row's chunk by T tokens, whose activations lie at a[t]. */
INLINE void chunk_dot(const char *chunk, const char *second, const char *const *a, const int T, read_fn read, const code_kind kind,
                      const bool by16, __mmask16 lanes, __m512 *acc)
{
	chunk_lanes row;
	read(chunk, second, &row);
#pragma GCC unroll 8
	for (int t = 0; t < T; t++) {
		const hth_a8_lanes *x = (const hth_a8_lanes *)a[t];
		const hth_a8_lanes16 *x16 = (const hth_a8_lanes16 *)x;
		const float *d = by16 ? x16->d : x->d, *s = by16 ? x16->s : x->s;
		__m512i dot = _mm512_setzero_si512(), dot2 = dot;
		if (kind < ADD_MIN)
			dot = _mm512_load_si512(by16 ? x16->n : x->n);
		if (kind > OFFSET_128 && kind < ADD_MIN)
			dot = _mm512_srai_epi32(dot, kind < ADD_MIN ? kind : 0);
#pragma GCC unroll 4
		for (int k = 0; k < 4; k++) {
			dot = _mm512_dpbusd_epi32(dot, row.w[k], _mm512_load_si512(x->q[k]));
			if (!by16)
				dot2 = _mm512_dpbusd_epi32(dot2, row.w[4 + k], _mm512_load_si512(x->q[4 + k]));
		}
		if (!by16)
			dot = _mm512_add_epi32(dot, dot2);
		acc[t] = _mm512_mask3_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_load_ps(d)), row.scale, acc[t], lanes);
		if (kind == ADD_MIN)
			acc[t] = _mm512_mask3_fmadd_ps(row.min, _mm512_load_ps(s), acc[t], lanes);
		if (kind == SUB_MIN)
			acc[t] = _mm512_mask3_fnmadd_ps(row.min, _mm512_load_ps(s), acc[t], lanes);
	}
}

/* Where a chunk's columns lie, of which the row has `left` from here on. What lies past the end of all rows is not touched: `last` has room
 * for a copy. */
typedef struct row_chunk {
	const char *first, *second;
} row_chunk;
INLINE row_chunk chunk_at(const char *chunk, size_t left, const char *rows_end, char *last, const size_t block_bytes,
                          const size_t block_cols, const bool by16)
{
	static const _Alignas(64) char nothing[2 * sizeof(hth_block_q8_k)]; /* has scale zero */
	const size_t chunk_cols = by16 ? 256 : 512, half_bytes = 256 / block_cols * block_bytes;
	if (block_cols == 256)
		return (row_chunk){chunk, by16 ? chunk : left > 256 ? chunk + half_bytes : nothing};
	if (__builtin_expect(chunk + 2 * half_bytes > rows_end, 0)) {
		memset(last, 0, LAST_MAX);
		memcpy(last, chunk, HTH_MIN(left, chunk_cols) / block_cols * block_bytes);
		chunk = last;
	}
	return (row_chunk){chunk, chunk + half_bytes};
}

INLINE void ask_chunk(const char *chunk, const size_t bytes, size_t ahead, const int T, const bool near)
{
	if (T <= 2)
		hth_ask_ahead(chunk, bytes, ahead, near);
	else
		hth_ask_lines_ahead(chunk, bytes, ahead, near);
}

/* T tokens, of which n are to be written (the others repeat one). */
INLINE void few(const hth_few *job, size_t t0, const int T, size_t n, const size_t block_bytes, const size_t block_cols, read_fn read,
                const code_kind kind, const bool by16, const bool near)
{
	_Alignas(64) float sums[8][ROWS][16];
	const char *a[8];
	const size_t chunk_cols = by16 ? 256 : 512, chunk_bytes = chunk_cols / block_cols * block_bytes;
	size_t cols = job->cols, piece = T == 1 ? cols : HTH_MIN(cols, (size_t)PIECE_COLS);
	const char *rows_end = (const char *)job->w + job->n_rows * job->row_bytes;
	const __mmask16 last_lanes = lanes_of_first(cols % chunk_cols / 32);
	/* What comes about HTH_AHEAD bytes later is the same piece of some later row. */
	size_t ahead = T == 1 ? HTH_AHEAD : (HTH_AHEAD / (piece / block_cols * block_bytes + 1) + 1) * job->row_bytes;
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		for (size_t c0 = 0; c0 < cols; c0 += piece) {
			size_t end = HTH_MIN(c0 + piece, cols);
			for (size_t r = 0; r < ROWS; r++) {
				__m512 acc[8];
#pragma GCC unroll 8
				for (int t = 0; t < T; t++) {
					a[t] = job->acts + job->offset[t0 + HTH_MIN((size_t)t, n - 1)] + c0 / chunk_cols *
					    job->block_stride;
					acc[t] = c0 == 0 ? _mm512_setzero_ps() : _mm512_load_ps(sums[t][r]);
				}
				const char *chunk = (const char *)job->w + (r0 + r) * job->row_bytes + c0 / block_cols * block_bytes;
				size_t c = r < n_rows ? c0 : end;
				for (; c < end; c += chunk_cols, chunk += chunk_bytes) {
					_Alignas(64) char last[LAST_MAX];
					row_chunk at = chunk_at(chunk, end - c, rows_end, last, block_bytes, block_cols, by16);
					ask_chunk(chunk, chunk_bytes, ahead, T, near);
					chunk_dot(at.first, at.second, a, T, read, kind, by16, block_cols == 256 ? ALL_LANES :
					    c + chunk_cols <= end ? ALL_LANES : last_lanes, acc);
#pragma GCC unroll 8
					for (int t = 0; t < T; t++)
						a[t] += job->block_stride;
				}
#pragma GCC unroll 8
				for (int t = 0; t < T; t++)
					_mm512_store_ps(sums[t][r], acc[t]);
			}
		}
		for (size_t t = 0; t < n; t++)
			_mm512_mask_storeu_ps(job->y + (t0 + t) * job->y_stride + r0, (__mmask16)((1u << n_rows) - 1), add_across(sums[t]));
	}
}

/* Two rows' chunks by T tokens, added to sums[t][0] and [1], of which `old` says whether they hold anything yet. Loads are made once for
 * both rows; with one for each product, weights that come from memory come late, however early they are asked for (docs/kernels.md). */
INLINE void two_chunks_dot(const row_chunk at[2], const char *const *a, const int T, read_fn read,
                           const code_kind kind, const bool by16, __mmask16 lanes, __mmask16 old, float (*sums)[ROWS][16])
{
	chunk_lanes row[2];
	/* Else GCC would keep all sums in registers from chunk to chunk, and weights not. */
	__asm__ volatile("" : : : "memory");
	read(at[0].first, at[0].second, &row[0]);
	read(at[1].first, at[1].second, &row[1]);
#pragma GCC unroll 8
	for (int t = 0; t < T; t++) {
		const hth_a8_lanes *x = (const hth_a8_lanes *)a[t];
		const hth_a8_lanes16 *x16 = (const hth_a8_lanes16 *)x;
		__m512i start = _mm512_setzero_si512();
		if (kind < ADD_MIN)
			start = _mm512_load_si512(by16 ? x16->n : x->n);
		if (kind > OFFSET_128 && kind < ADD_MIN)
			start = _mm512_srai_epi32(start, kind < ADD_MIN ? kind : 0);
		__m512i dot[2] = {start, start}, dot2[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
#pragma GCC unroll 4
		for (int k = 0; k < 4; k++) {
			__m512i q = load512_once(x->q[k]), q2 = by16 ? q : load512_once(x->q[4 + k]);
#pragma GCC unroll 2
			for (int r = 0; r < 2; r++) {
				dot[r] = _mm512_dpbusd_epi32(dot[r], row[r].w[k], q);
				if (!by16)
					dot2[r] = _mm512_dpbusd_epi32(dot2[r], row[r].w[4 + k], q2);
			}
		}
		__m512 d = load512_once_ps(by16 ? x16->d : x->d), s = kind >= ADD_MIN ? load512_once_ps(by16 ? x16->s : x->s) : d;
#pragma GCC unroll 2
		for (int r = 0; r < 2; r++) {
			if (!by16)
				dot[r] = _mm512_add_epi32(dot[r], dot2[r]);
			__m512 sum = _mm512_maskz_load_ps(old, sums[t][r]);
			sum = _mm512_mask3_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot[r]), d), row[r].scale, sum, lanes);
			if (kind == ADD_MIN)
				sum = _mm512_mask3_fmadd_ps(row[r].min, s, sum, lanes);
			if (kind == SUB_MIN)
				sum = _mm512_mask3_fnmadd_ps(row[r].min, s, sum, lanes);
			_mm512_store_ps(sums[t][r], sum);
		}
	}
}

/* The same as few, by two rows at a time. Which types are faster so with more than two tokens is measured (docs/kernels.md); so is that
 * products stay written out in both: one body for them, which has the sums before the products, made Q6_K here 14% slower and two tokens in
 * few 12%. */
INLINE void few_by_two(const hth_few *job, size_t t0, const int T, size_t n, const size_t block_bytes, const size_t block_cols,
                       read_fn read, const code_kind kind, const bool by16, const bool near)
{
	_Alignas(64) float sums[8][ROWS][16];
	const size_t chunk_cols = by16 ? 256 : 512, chunk_bytes = chunk_cols / block_cols * block_bytes;
	size_t cols = job->cols, piece = HTH_MIN(cols, (size_t)PIECE_COLS);
	const char *rows_end = (const char *)job->w + job->n_rows * job->row_bytes;
	const __mmask16 last_lanes = lanes_of_first(cols % chunk_cols / 32);
	size_t ahead = (HTH_AHEAD / (piece / block_cols * block_bytes + 1) + 1) * job->row_bytes;
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		for (size_t c0 = 0; c0 < cols; c0 += piece) {
			size_t end = HTH_MIN(c0 + piece, cols);
			for (size_t r = 0; r < n_rows; r += 2) {
				const char *a[8], *chunk[2];
				float (*to)[ROWS][16] = (float (*)[ROWS][16])sums[0][r];
#pragma GCC unroll 8
				for (int t = 0; t < T; t++)
					a[t] = job->acts + job->offset[t0 + HTH_MIN((size_t)t, n - 1)] + c0 / chunk_cols *
					    job->block_stride;
				/* A last row without a second one is its own. */
				for (size_t i = 0; i < 2; i++)
					chunk[i] = (const char *)job->w + (r0 + HTH_MIN(r + i, n_rows - 1)) * job->row_bytes +
					    c0 / block_cols * block_bytes;
				for (size_t c = c0; c < end; c += chunk_cols) {
					_Alignas(64) char last[2][LAST_MAX];
					row_chunk at[2];
#pragma GCC unroll 2
					for (int i = 0; i < 2; i++) {
						const char *later = chunk[i] + ahead;
						__asm__("" : "+r"(later)); /* else each line's distance would be kept, and read again */
						hth_ask_lines_ahead(later, chunk_bytes, 0, near);
						at[i] = chunk_at(chunk[i], end - c, rows_end, last[i], block_bytes, block_cols, by16);
						chunk[i] += chunk_bytes;
					}
					two_chunks_dot(at, a, T, read, kind, by16, block_cols == 256 ? ALL_LANES :
					    c + chunk_cols <= end ? ALL_LANES : last_lanes, c == 0 ? 0 : 0xFFFF, to);
#pragma GCC unroll 8
					for (int t = 0; t < T; t++)
						a[t] += job->block_stride;
				}
			}
		}
		for (size_t t = 0; t < n; t++)
			_mm512_mask_storeu_ps(job->y + (t0 + t) * job->y_stride + r0, (__mmask16)((1u << n_rows) - 1), add_across(sums[t]));
	}
}

/* Eight tokens at a time; what is left in the next of 1, 2, 4, 6 or 8. One and two wait for memory: near is a constant there. */
#define AVX512_TYPE(name, cols, kind, by16, more)                                                                                        \
	void hth_avx512_few_##name(const hth_few *job)                                                                                     \
	{                                                                                                                                  \
		enum { BYTES = sizeof(hth_block_##name) };                                                                                 \
		const bool near = hth_near();                                                                                              \
		for (size_t t = 0; t < job->n_tokens; t += 8) {                                                                            \
			size_t n = HTH_MIN(job->n_tokens - t, (size_t)8);                                                                  \
			if (n == 1 && near)                                                                                                \
				few(job, t, 1, n, BYTES, cols, read_##name, kind, by16, true);                                             \
			else if (n == 1)                                                                                                   \
				few(job, t, 1, n, BYTES, cols, read_##name, kind, by16, false);                                            \
			else if (n == 2 && near)                                                                                           \
				few(job, t, 2, n, BYTES, cols, read_##name, kind, by16, true);                                             \
			else if (n == 2)                                                                                                   \
				few(job, t, 2, n, BYTES, cols, read_##name, kind, by16, false);                                            \
			else if (n <= 4)                                                                                                   \
				more(job, t, 4, n, BYTES, cols, read_##name, kind, by16, near);                                            \
			else if (n <= 6)                                                                                                   \
				more(job, t, 6, n, BYTES, cols, read_##name, kind, by16, near);                                            \
			else                                                                                                               \
				more(job, t, 8, n, BYTES, cols, read_##name, kind, by16, near);                                            \
		}                                                                                                                          \
	}
AVX512_TYPE(q4_0, 32, OFFSET_8, false, few_by_two)
AVX512_TYPE(q4_1, 32, ADD_MIN, false, few_by_two)
AVX512_TYPE(q5_0, 32, OFFSET_16, false, few_by_two)
AVX512_TYPE(q5_1, 32, ADD_MIN, false, few_by_two)
AVX512_TYPE(q8_0, 32, OFFSET_128, false, few)
AVX512_TYPE(iq4_nl, 32, OFFSET_128, false, few_by_two)
AVX512_TYPE(mxfp4, 32, OFFSET_16, false, few_by_two)
AVX512_TYPE(q4_k, 256, SUB_MIN, false, few_by_two)
AVX512_TYPE(q5_k, 256, SUB_MIN, false, few_by_two)
AVX512_TYPE(iq4_xs, 256, OFFSET_128, false, few_by_two)
AVX512_TYPE(q2_k, 256, SUB_MIN, true, few)
AVX512_TYPE(q3_k, 256, OFFSET_4, true, few)
AVX512_TYPE(q6_k, 256, OFFSET_128, true, few_by_two)
