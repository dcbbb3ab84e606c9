/* avx512-few.c - rows of weights, as they lie in the file, by a few tokens: 1 to 8 in one reading of the weights.
 *
 * With one token the loop must keep up with memory; with a few, unpacking weights into a panel (avx512-rows.c) would cost more than the
 * products. So weights are unpacked in registers, and laid out so that little is left to do for each token: 256 columns are 16 lanes of 16
 * columns, and four vectors hold 4 columns of each lane,
 *
 *     w[k], lane l  =  codes of columns 16 l + 4 k to 16 l + 4 k + 3
 *
 * and the same for activations (hth_a8_lanes). Four vpdpbusd add up w[k] * q[k]: each lane then has the sum of its 16 columns, which all
 * have one scale. One conversion, one multiplication by the activations' scales and one by the weights' (added to the row's sum) finish
 * 256 columns: 7 instructions for a token, 8 where there are minimums. Codes of types without minimums have 128 added and the sum
 * starts at -128 * sum(q).
 *
 * Rows are done 16 at a time, so that their sums are added across lanes together. Activations of up to 8 chunks of 256 columns stay in the
 * first-level cache while the 16 rows pass; longer rows are done in such pieces.
 */
#include "engine/kernels/avx512-codes.h"
#include "engine/kernels/avx512.h"
#include "base/mem.h"

/* A row's chunk of 256 columns. Without minimums, min is not read. */
typedef struct chunk_lanes {
	__m512i w[4];
	__m512 scale, min;
} chunk_lanes;
typedef void (*read_fn)(const char *chunk, chunk_lanes *row);

#define QWORDS(v, m0, m1, m2, m3, flip)                                                                                        \
	_mm512_gf2p8affine_epi64_epi8(v, _mm512_setr_epi64((long long)(m0), (long long)(m1), (long long)(m2), (long long)(m3), \
	                                                   (long long)(m0), (long long)(m1), (long long)(m2), (long long)(m3)), flip)

/* c[h]: 64 codes in column order, which are four lanes of four dwords. Dword k of lane l to w[k]. */
INLINE void transpose_lanes(__m512i w[4], __m512i c0, __m512i c1, __m512i c2, __m512i c3)
{
	const __m512i k01 = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
	const __m512i k23 = _mm512_add_epi32(k01, _mm512_set1_epi32(2));
	__m512i a = _mm512_permutex2var_epi32(c0, k01, c1), b = _mm512_permutex2var_epi32(c2, k01, c3);
	__m512i c = _mm512_permutex2var_epi32(c0, k23, c1), d = _mm512_permutex2var_epi32(c2, k23, c3);
	w[0] = _mm512_shuffle_i64x2(a, b, 0x44);
	w[1] = _mm512_shuffle_i64x2(a, b, 0xEE);
	w[2] = _mm512_shuffle_i64x2(c, d, 0x44);
	w[3] = _mm512_shuffle_i64x2(c, d, 0xEE);
}

/* Eight groups' values, each to its two lanes. */
INLINE __m512 spread(__m256 v)
{
	return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), _mm512_castps256_ps512(v));
}

/* Any type with blocks of 32; add: what takes its codes to 128 more than they stand for. */
#define READ_32(name, add, has_min)                                                                           \
	INLINE void read_##name(const char *chunk, chunk_lanes *row)                                          \
	{                                                                                                     \
		__m512i c[4];                                                                                 \
		__m256 s, m;                                                                                  \
		for (int h = 0; h < 4; h++) {                                                                 \
			c[h] = codes64_##name(chunk, h);                                                      \
			if ((add) != 0)                                                                       \
				c[h] = _mm512_add_epi8(c[h], _mm512_set1_epi8((char)(add)));                  \
		}                                                                                             \
		transpose_lanes(row->w, c[0], c[1], c[2], c[3]);                                              \
		scales_##name(chunk, 8, &s, &m);                                                              \
		row->scale = spread(s);                                                                       \
		row->min = (has_min) ? spread(m) : _mm512_setzero_ps();                                       \
	}
READ_32(q4_1, 0, true)
READ_32(q5_0, 112, false)
READ_32(q5_1, 0, true)
READ_32(iq4_nl, 0, false)
READ_32(mxfp4, 116, false)

INLINE void read_q8_0(const char *chunk, chunk_lanes *row)
{
	transpose_lanes(row->w, codes64_q8_0(chunk, 0), codes64_q8_0(chunk, 1), codes64_q8_0(chunk, 2), codes64_q8_0(chunk, 3));
	/* Scales lie 17 words apart: two in each of four loads. */
	const __m512i at = _mm512_castsi256_si512(_mm256_setr_epi16(0, 0, 17, 17, 32, 32, 49, 49, 0, 0, 17, 17, 32, 32, 49, 49));
	__m512i low = _mm512_permutex2var_epi16(load512(chunk), at, load512(chunk + 68));
	__m512i high = _mm512_permutex2var_epi16(load512(chunk + 136), at, load512(chunk + 204));
	row->scale = _mm512_cvtph_ps(_mm256_blend_epi32(_mm512_castsi512_si256(low), _mm512_castsi512_si256(high), 0xF0));
}

/* 128 bytes of nibbles, 16 for each group: dword k of a group's, once with its low nibbles (columns 0 to 15) and once shifted by a nibble. */
INLINE __m512i nibble_lanes(__m512i low, __m512i high, int k)
{
	const __m512i at = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
	const __m512i nibbles = _mm512_set1_epi64(0x3C342C2418100800);
	__m512i v = _mm512_permutex2var_epi32(low, _mm512_add_epi32(at, _mm512_set1_epi32(k)), high);
	return _mm512_multishift_epi64_epi8(nibbles, v);
}

/* Blocks of 9 words: d and 8 words of nibbles. Few loads, whose ends lie in the chunk: loads across cache lines are dear where the lines
 * are only on their way. */
INLINE void read_q4_0(const char *chunk, chunk_lanes *row)
{
	__m512i a = load512(chunk), b = load512(chunk + 64), c = load512(chunk + 80);
	/* Words 1 to 8, 10 to 17, ... of the chunk; the second half counts from b. */
	const __m512i at = _mm512_set_epi16(35, 34, 33, 32, 31, 30, 29, 28, 26, 25, 24, 23, 22, 21, 20, 19, 17, 16, 15, 14, 13, 12, 11, 10, 8, 7,
	                                    6, 5, 4, 3, 2, 1);
	const __m512i at2 = _mm512_set_epi16(63, 62, 61, 60, 59, 58, 57, 56, 30, 29, 28, 27, 26, 25, 24, 23, 21, 20, 19, 18, 17, 16, 15, 14, 12,
	                                     11, 10, 9, 8, 7, 6, 5);
	__m512i low = _mm512_permutex2var_epi16(a, at, b), high = _mm512_permutex2var_epi16(b, at2, c);
	/* The low nibble, plus 120: bit 7 is bit 3, bits 3 to 6 its opposite. */
	const uint64_t plus120 = MOVE_4(0, 0) | MOVE_BIT(3, 4) | MOVE_BIT(3, 5) | MOVE_BIT(3, 6) | MOVE_BIT(3, 7);
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++)
		row->w[k] = QWORDS(nibble_lanes(low, high, k), plus120, plus120, plus120, plus120, 0x78);
	const __m512i heads = _mm512_castsi256_si512(_mm256_setr_epi16(0, 0, 9, 9, 18, 18, 27, 27, 36, 36, 45, 45, 54, 54, 63, 63));
	row->scale = _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutex2var_epi16(a, heads, b)));
}

INLINE void read_iq4_xs(const char *chunk, chunk_lanes *row)
{
	const hth_block_iq4_xs *b = &BLOCK(iq4_xs, 0);
	__m512i low = load512(b->qs), high = load512(b->qs + 64);
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++)
		row->w[k] = look_up64(hth_iq4_values, 128, _mm512_and_si512(nibble_lanes(low, high, k), _mm512_set1_epi8(15)));
	uint64_t bytes = _pdep_u64(load32(b->scales_l), 0x0F0F0F0F0F0F0F0F) | _pdep_u64(b->scales_h, 0x3030303030303030);
	__m128i twice = _mm_cvtsi64_si128((long long)bytes);
	__m512i v = _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(twice, twice)), _mm512_set1_epi32(32));
	row->scale = _mm512_mul_ps(_mm512_cvtepi32_ps(v), _mm512_set1_ps(half_to_float(b->d)));
}

/* Groups g and g + 1 share 32 bytes of nibbles: lanes 4 h and 4 h + 1 take low ones, 4 h + 2 and 4 h + 3 high ones. */
INLINE void read_k4_nibbles(const uint8_t *qs, __m512i w[4])
{
	__m512i low = load512(qs), high = load512(qs + 64);
	const __m512i at = _mm512_setr_epi32(0, 4, 0, 4, 8, 12, 8, 12, 16, 20, 16, 20, 24, 28, 24, 28);
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		__m512i v = _mm512_permutex2var_epi32(low, _mm512_add_epi32(at, _mm512_set1_epi32(k)), high);
		w[k] = QWORDS(v, MOVE_4(0, 0), MOVE_4(4, 0), MOVE_4(0, 0), MOVE_4(4, 0), 0);
	}
}

/* hth_k4_scale_min for all groups at once, as bytes [s0-3, m0-3, s4-7, m4-7]: the first eight are the low 6 bits of bytes 0 to 7; of the
 * others the low 4 bits are the nibbles of bytes 8 to 11 and the high 2 those of bytes 0 to 7. */
INLINE void read_k4_scales(const char *block, chunk_lanes *row)
{
	__m128i bytes = load128(block + 4);
	const __m128i first = _mm_set_epi64x(0x1C140C0418100800, 0x3830282018100800), second = _mm_set_epi64x(0x3A322A221A120A02, 0);
	__m128i low = _mm_and_si128(_mm_multishift_epi64_epi8(first, bytes), _mm_set_epi64x(0x0F0F0F0F0F0F0F0F, 0x3F3F3F3F3F3F3F3F));
	__m128i high = _mm_and_si128(_mm_multishift_epi64_epi8(second, _mm_broadcastq_epi64(bytes)), _mm_set_epi64x(0x3030303030303030, 0));
	__m512 v = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_or_si128(low, high)));
	__m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128((int)load32(block)));
	v = _mm512_mul_ps(v, _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1), _mm512_castps128_ps512(d)));
	const __m512i scales = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 8, 8, 9, 9, 10, 10, 11, 11);
	row->scale = _mm512_permutexvar_ps(scales, v);
	row->min = _mm512_permutexvar_ps(_mm512_add_epi32(scales, _mm512_set1_epi32(4)), v); /* to be subtracted */
}

INLINE void read_q4_k(const char *chunk, chunk_lanes *row)
{
	read_k4_nibbles(BLOCK(q4_k, 0).qs, row->w);
	read_k4_scales(chunk, row);
}

INLINE void read_q5_k(const char *chunk, chunk_lanes *row)
{
	read_k4_nibbles(BLOCK(q5_k, 0).qs, row->w);
	read_k4_scales(chunk, row);
	__m512i high = both_halves(BLOCK(q5_k, 0).qh);
	/* Group g has bit g. */
	const __m512i bits = _mm512_setr_epi64((long long)MOVE_BIT(0, 4), (long long)MOVE_BIT(1, 4), (long long)MOVE_BIT(2, 4),
	                                       (long long)MOVE_BIT(3, 4), (long long)MOVE_BIT(4, 4), (long long)MOVE_BIT(5, 4),
	                                       (long long)MOVE_BIT(6, 4), (long long)MOVE_BIT(7, 4));
	const __m512i at = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4);
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		__m512i v = _mm512_permutexvar_epi32(_mm512_add_epi32(at, _mm512_set1_epi32(k)), high);
		row->w[k] = _mm512_or_si512(row->w[k], _mm512_gf2p8affine_epi64_epi8(v, bits, 0));
	}
}

/* Lane 8 half + 2 k + i: 32 columns k of the half, 16 bytes i of them. */
INLINE void read_q6_k(const char *chunk, chunk_lanes *row)
{
	const hth_block_q6_k *b = &BLOCK(q6_k, 0);
	__m512i low0 = load512(b->ql), low1 = load512(b->ql + 64), high = load512(b->qh);
	const __m512i at = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 16, 20, 24, 28, 16, 20, 24, 28);
	const __m512i at_high = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 8, 12, 8, 12, 8, 12, 8, 12);
/* Two bits to 4 and 5, plus 96: bit 7 is the upper one, bits 5 and 6 its opposite. */
#define PLUS_96(bit) (MOVE_BIT(bit, 4) | MOVE_BIT((bit) + 1, 5) | MOVE_BIT((bit) + 1, 6) | MOVE_BIT((bit) + 1, 7))
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		__m512i v = _mm512_permutex2var_epi32(low0, _mm512_add_epi32(at, _mm512_set1_epi32(k)), low1);
		__m512i h = _mm512_permutexvar_epi32(_mm512_add_epi32(at_high, _mm512_set1_epi32(k)), high);
		row->w[k] = _mm512_or_si512(QWORDS(v, MOVE_4(0, 0), MOVE_4(0, 0), MOVE_4(4, 0), MOVE_4(4, 0), 0),
		                            QWORDS(h, PLUS_96(0), PLUS_96(2), PLUS_96(4), PLUS_96(6), 0x60));
	}
#undef PLUS_96
	__m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(b->scales)));
	row->scale = _mm512_mul_ps(s, _mm512_set1_ps(half_to_float(b->d)));
}

INLINE void read_q3_k(const char *chunk, chunk_lanes *row)
{
	__m512i c[4];
	__m256 s[2], m[2];
	for (int h = 0; h < 4; h++)
		c[h] = _mm512_add_epi8(codes64_q3_k(chunk, h), _mm512_set1_epi8(124));
	transpose_lanes(row->w, c[0], c[1], c[2], c[3]);
	scales_q3_k(chunk, 8, s, m);
	row->scale = _mm512_insertf32x8(_mm512_castps256_ps512(s[0]), s[1], 1);
}

INLINE void read_q2_k(const char *chunk, chunk_lanes *row)
{
	const hth_block_q2_k *b = &BLOCK(q2_k, 0);
	transpose_lanes(row->w, codes64_q2_k(chunk, 0), codes64_q2_k(chunk, 1), codes64_q2_k(chunk, 2), codes64_q2_k(chunk, 3));
	__m128i v = load128(b->scales), mask = _mm_set1_epi8(15);
	__m512 s = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(v, mask)));
	__m512 m = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(v, 4), mask)));
	row->scale = _mm512_mul_ps(s, _mm512_set1_ps(half_to_float(b->d)));
	row->min = _mm512_mul_ps(m, _mm512_set1_ps(half_to_float(b->dmin))); /* to be subtracted */
}

void hth_avx512_arrange_acts(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	static const hth_a8_line nothing;
	hth_a8_lanes *to = dst;
	const hth_a8_line *line[8];
	for (size_t g = 0; g < 8; g++) {
		const hth_a8_line *l = line[g] = g < n_groups ? (const hth_a8_line *)((const char *)lines + g * stride) : &nothing;
		to->d[2 * g] = to->d[2 * g + 1] = l->d;
		memcpy(to->s + 2 * g, l->s16, sizeof l->s16);
		memcpy(to->n + 2 * g, l->n16, sizeof l->n16);
	}
	__m512i w[4];
	transpose_lanes(w, two256(line[0]->q, line[1]->q), two256(line[2]->q, line[3]->q), two256(line[4]->q, line[5]->q),
	                two256(line[6]->q, line[7]->q));
	for (int k = 0; k < 4; k++)
		_mm512_store_si512(to->q[k], w[k]);
}

/* Whether a type has minimums (added or subtracted), or codes with 128 added. */
typedef enum min_kind { NO_MIN, ADD_MIN, SUB_MIN } min_kind;

/* One row's chunk by T tokens. */
INLINE void chunk_dot(const char *chunk, const char *const *a, const int T, read_fn read, const min_kind kind, __m512 *acc)
{
	chunk_lanes row;
	read(chunk, &row);
#pragma GCC unroll 8
	for (int t = 0; t < T; t++) {
		const hth_a8_lanes *x = (const hth_a8_lanes *)a[t];
		__m512i dot = kind == NO_MIN ? _mm512_load_si512(x->n) : _mm512_setzero_si512();
#pragma GCC unroll 4
		for (int k = 0; k < 4; k++)
			dot = _mm512_dpbusd_epi32(dot, row.w[k], _mm512_load_si512(x->q[k]));
		acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_load_ps(x->d)), row.scale, acc[t]);
		if (kind == ADD_MIN)
			acc[t] = _mm512_fmadd_ps(row.min, _mm512_load_ps(x->s), acc[t]);
		if (kind == SUB_MIN)
			acc[t] = _mm512_fnmadd_ps(row.min, _mm512_load_ps(x->s), acc[t]);
	}
}

/* Lane i of the result: the sum of row i. */
INLINE __m512 add_across(const float rows[16][16])
{
	__m512 t[8], u[4];
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		__m512 a = _mm512_load_ps(rows[2 * i]), b = _mm512_load_ps(rows[2 * i + 1]);
		t[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		__m512d a = _mm512_castps_pd(t[2 * i]), b = _mm512_castps_pd(t[2 * i + 1]);
		u[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
	}
	__m512 p = _mm512_add_ps(_mm512_shuffle_f32x4(u[0], u[1], 0x44), _mm512_shuffle_f32x4(u[0], u[1], 0xEE));
	__m512 q = _mm512_add_ps(_mm512_shuffle_f32x4(u[2], u[3], 0x44), _mm512_shuffle_f32x4(u[2], u[3], 0xEE));
	return _mm512_add_ps(_mm512_shuffle_f32x4(p, q, 0x88), _mm512_shuffle_f32x4(p, q, 0xDD));
}

enum { ROWS = 16, PIECE_COLS = 2048 };

/* T tokens, of which n are to be written (the others repeat one). */
INLINE void few(const hth_few *job, size_t t0, const int T, size_t n, size_t chunk_bytes, const size_t block_cols, read_fn read,
                const min_kind kind)
{
	_Alignas(64) float sums[8][ROWS][16];
	const char *a[8];
	size_t cols = job->cols, piece = T == 1 ? cols : HTH_MIN(cols, (size_t)PIECE_COLS);
	/* What comes about HTH_AHEAD bytes later is the same piece of some later row. */
	size_t ahead = T == 1 ? HTH_AHEAD : (HTH_AHEAD / (piece / block_cols * (chunk_bytes / (256 / block_cols)) + 1) + 1) * job->row_bytes;
	for (size_t r0 = 0; r0 < job->n_rows; r0 += ROWS) {
		size_t n_rows = HTH_MIN(job->n_rows - r0, (size_t)ROWS);
		for (size_t c0 = 0; c0 < cols; c0 += piece) {
			size_t end = HTH_MIN(c0 + piece, cols);
			for (size_t r = 0; r < ROWS; r++) {
				__m512 acc[8];
#pragma GCC unroll 8
				for (int t = 0; t < T; t++) {
					a[t] = job->acts + job->offset[t0 + HTH_MIN((size_t)t, n - 1)] + c0 / 256 * job->block_stride;
					acc[t] = c0 == 0 ? _mm512_setzero_ps() : _mm512_load_ps(sums[t][r]);
				}
				const char *chunk = (const char *)job->w + (r0 + r) * job->row_bytes + c0 / 256 * chunk_bytes;
				for (size_t c = r < n_rows ? c0 : end; c < end; c += 256) {
					if (block_cols == 32 && c + 256 > end) {
						/* What is missing has scale zero. */
						_Alignas(64) char last[8 * sizeof(hth_block_q8_0)] = {0};
						memcpy(last, chunk, (end - c) / 32 * (chunk_bytes / 8));
						chunk_dot(last, a, T, read, kind, acc);
						break;
					}
#pragma GCC unroll 5
					for (size_t p = 0; p < chunk_bytes; p += 64)
						_mm_prefetch(chunk + ahead + p, _MM_HINT_T0);
					chunk_dot(chunk, a, T, read, kind, acc);
					chunk += chunk_bytes;
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

/* Eight tokens at a time; what is left in the next of 1, 2, 4, 6 or 8. */
#define AVX512_TYPE(name, blocks_per_chunk, kind)                                                                                          \
	void hth_avx512_few_##name(const hth_few *job)                                                                                     \
	{                                                                                                                                  \
		enum { BYTES = (blocks_per_chunk) * sizeof(hth_block_##name), COLS = 256 / (blocks_per_chunk) };                           \
		for (size_t t = 0; t < job->n_tokens; t += 8) {                                                                            \
			size_t n = HTH_MIN(job->n_tokens - t, (size_t)8);                                                                  \
			switch (n) {                                                                                                       \
			case 1: few(job, t, 1, n, BYTES, COLS, read_##name, kind); break;                                                  \
			case 2: few(job, t, 2, n, BYTES, COLS, read_##name, kind); break;                                                  \
			case 3:                                                                                                            \
			case 4: few(job, t, 4, n, BYTES, COLS, read_##name, kind); break;                                                  \
			case 5:                                                                                                            \
			case 6: few(job, t, 6, n, BYTES, COLS, read_##name, kind); break;                                                  \
			default: few(job, t, 8, n, BYTES, COLS, read_##name, kind); break;                                                 \
			}                                                                                                                  \
		}                                                                                                                          \
	}
AVX512_TYPE(q4_0, 8, NO_MIN)
AVX512_TYPE(q4_1, 8, ADD_MIN)
AVX512_TYPE(q5_0, 8, NO_MIN)
AVX512_TYPE(q5_1, 8, ADD_MIN)
AVX512_TYPE(q8_0, 8, NO_MIN)
AVX512_TYPE(iq4_nl, 8, NO_MIN)
AVX512_TYPE(mxfp4, 8, NO_MIN)
AVX512_TYPE(q2_k, 1, SUB_MIN)
AVX512_TYPE(q3_k, 1, NO_MIN)
AVX512_TYPE(q4_k, 1, SUB_MIN)
AVX512_TYPE(q5_k, 1, SUB_MIN)
AVX512_TYPE(q6_k, 1, NO_MIN)
AVX512_TYPE(iq4_xs, 1, NO_MIN)
