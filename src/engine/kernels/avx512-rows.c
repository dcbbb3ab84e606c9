/* avx512-rows.c - what reads weights as they lie in the file: unpacking 16 rows into a panel, and rows times one token.
 *
 * Written once over readers of 64 codes (two groups of 32) and stamped out for each type. Scales are read by the AVX2
 * readers (avx2-codes.h), which are compiled here for this row. Signed codes have 128 added.
 */
#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx512.h"
#include "base/mem.h"

typedef __m512i (*codes_fn)(const char *chunk, int h);
typedef void (*scales_fn)(const char *chunk, int n, __m256 *s, __m256 *m);

INLINE __m512i load512(const void *p) { return _mm512_loadu_si512(p); }
INLINE __m512i both_halves(const void *p) { return _mm512_broadcast_i64x4(load256(p)); }
INLINE __m512i two256(const void *low, const void *high)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(load256(low)), load256(high), 1);
}
/* Shifts right the first half by a bits and the second by b; bits cross bytes and are masked by the caller. */
#define SHIFT_HALVES(v, a, b) _mm512_srlv_epi64(v, _mm512_setr_epi64(a, a, a, a, b, b, b, b))
#define ROTATE_HALVES(v, a, b) _mm512_rolv_epi64(v, _mm512_setr_epi64(a, a, a, a, b, b, b, b))
#define AND_OR(a, mask, b) _mm512_ternarylogic_epi64(a, mask, b, 0xEA) /* (a & mask) | b */

/* Nibbles of two groups, 16 bytes each: low ones are columns 0 to 15 of the group, high ones 16 to 31. */
INLINE __m512i nibbles64(__m256i qs)
{
	__m512i v = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3), _mm512_castsi256_si512(qs));
	v = _mm512_srlv_epi64(v, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
	return _mm512_and_si512(v, _mm512_set1_epi8(15));
}
INLINE __m256i two128(const void *low, const void *high)
{
	return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(low)), load128(high), 1);
}
INLINE __m512i look_up64(const int8_t table[16], int add, __m512i nibbles)
{
	__m128i t = _mm_add_epi8(load128(table), _mm_set1_epi8((char)add));
	return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), nibbles);
}
INLINE __m512i add_bit(__m512i v, uint32_t low, uint32_t high, int value)
{
	__mmask64 bits = (__mmask64)high << 32 | low;
	return _mm512_mask_add_epi8(v, bits, v, _mm512_set1_epi8((char)value));
}

#define BLOCK(name, g) (((const hth_block_##name *)chunk)[g])
#define NIBBLES_OF(name) nibbles64(two128(BLOCK(name, 2 * h).qs, BLOCK(name, 2 * h + 1).qs))

INLINE __m512i codes64_q4_0(const char *chunk, int h) { return NIBBLES_OF(q4_0); }
INLINE __m512i codes64_q4_1(const char *chunk, int h) { return NIBBLES_OF(q4_1); }
INLINE __m512i codes64_q5_0(const char *chunk, int h)
{
	return add_bit(NIBBLES_OF(q5_0), load32(BLOCK(q5_0, 2 * h).qh), load32(BLOCK(q5_0, 2 * h + 1).qh), 16);
}
INLINE __m512i codes64_q5_1(const char *chunk, int h)
{
	return add_bit(NIBBLES_OF(q5_1), load32(BLOCK(q5_1, 2 * h).qh), load32(BLOCK(q5_1, 2 * h + 1).qh), 16);
}
INLINE __m512i codes64_q8_0(const char *chunk, int h)
{
	__m512i v = two256(BLOCK(q8_0, 2 * h).qs, BLOCK(q8_0, 2 * h + 1).qs);
	return _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
}
INLINE __m512i codes64_iq4_nl(const char *chunk, int h) { return look_up64(hth_iq4_values, 128, NIBBLES_OF(iq4_nl)); }
INLINE __m512i codes64_mxfp4(const char *chunk, int h) { return look_up64(hth_mxfp4_values, 12, NIBBLES_OF(mxfp4)); }

INLINE __m512i codes64_q4_k(const char *chunk, int h)
{
	return _mm512_and_si512(SHIFT_HALVES(both_halves(BLOCK(q4_k, 0).qs + 32 * h), 0, 4), _mm512_set1_epi8(15));
}
INLINE __m512i codes64_q5_k(const char *chunk, int h)
{
	__m512i v = SHIFT_HALVES(both_halves(BLOCK(q5_k, 0).qs + 32 * h), 0, 4);
	/* bits 2 h and 2 h + 1 of qh to bit 4 */
	__m512i high = ROTATE_HALVES(both_halves(BLOCK(q5_k, 0).qh), (68 - 2 * h) % 64, (67 - 2 * h) % 64);
	high = _mm512_and_si512(high, _mm512_set1_epi8(16));
	return AND_OR(v, _mm512_set1_epi8(15), high);
}
INLINE __m512i codes64_iq4_xs(const char *chunk, int h)
{
	return look_up64(hth_iq4_values, 128, nibbles64(load256(BLOCK(iq4_xs, 0).qs + 32 * h)));
}
INLINE __m512i codes64_q6_k(const char *chunk, int h)
{
	__m512i low = load512(BLOCK(q6_k, 0).ql + 64 * (h / 2)), high = both_halves(BLOCK(q6_k, 0).qh + 32 * (h / 2));
	if (h % 2)
		low = _mm512_srli_epi16(low, 4);
	high = h % 2 ? ROTATE_HALVES(high, 0, 62) : ROTATE_HALVES(high, 4, 2);
	high = _mm512_and_si512(high, _mm512_set1_epi8(48));
	return AND_OR(low, _mm512_set1_epi8(15), high);
}
INLINE __m512i two_bits64(const uint8_t *qs, int h)
{
	__m512i v = both_halves(qs + 32 * (h / 2));
	v = h % 2 ? SHIFT_HALVES(v, 4, 6) : SHIFT_HALVES(v, 0, 2);
	return _mm512_and_si512(v, _mm512_set1_epi8(3));
}
INLINE __m512i codes64_q2_k(const char *chunk, int h) { return two_bits64(BLOCK(q2_k, 0).qs, h); }
INLINE __m512i codes64_q3_k(const char *chunk, int h)
{
	__m512i high = ROTATE_HALVES(both_halves(BLOCK(q3_k, 0).hmask), (66 - 2 * h) % 64, (65 - 2 * h) % 64);
	high = _mm512_and_si512(high, _mm512_set1_epi8(4));
	return _mm512_or_si512(two_bits64(BLOCK(q3_k, 0).qs, h), high);
}

/* 16 x 16 of 32-bit lanes, stored at dst. */
INLINE void store_transposed(uint8_t *dst, __m512i r[16])
{
	__m512i t[16], u[16];
#pragma GCC unroll 8
	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4) {
		u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	/* u[4 a + k], quarter q: column 4 q + k of rows 4 a to 4 a + 3. Gather the four a of each column. */
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		__m512i ab0 = _mm512_shuffle_i32x4(u[k], u[4 + k], 0x88), ab1 = _mm512_shuffle_i32x4(u[k], u[4 + k], 0xDD);
		__m512i cd0 = _mm512_shuffle_i32x4(u[8 + k], u[12 + k], 0x88), cd1 = _mm512_shuffle_i32x4(u[8 + k], u[12 + k], 0xDD);
		_mm512_store_si512(dst + 64 * k, _mm512_shuffle_i32x4(ab0, cd0, 0x88));
		_mm512_store_si512(dst + 64 * (8 + k), _mm512_shuffle_i32x4(ab0, cd0, 0xDD));
		_mm512_store_si512(dst + 64 * (4 + k), _mm512_shuffle_i32x4(ab1, cd1, 0x88));
		_mm512_store_si512(dst + 64 * (12 + k), _mm512_shuffle_i32x4(ab1, cd1, 0xDD));
	}
}

/* Eight rows of 8 floats to dst[8][16], 8 lanes of each. */
INLINE void store_transposed8(float *dst, const __m256 s[8])
{
	__m256 t[8], u[8];
#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(s[i], s[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(s[i], s[i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4) {
		u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
		u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		_mm256_store_ps(dst + 16 * i, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
		_mm256_store_ps(dst + 16 * (i + 4), _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
	}
}

/* A chunk of any type, all zero: what rows past the end of the matrix read. */
static const char zeros[8 * 34];

INLINE void unpack(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n, codes_fn codes,
                   codes_fn last, scales_fn scales, const int per_group, const bool has_min, const int add)
{
	const char *row[16];
	for (size_t r = 0; r < 16; r++)
		row[r] = r < n_rows ? (const char *)block + r * row_bytes : zeros;
	for (int half = 0; half < 2; half++) {
		__m256 s[8][2], m[8][2], t[8];
#pragma GCC unroll 8
		for (int r = 0; r < 8; r++)
			scales(row[8 * half + r], (int)(n / 32), s[r], m[r]);
		for (int i = 0; i < per_group; i++) {
			for (int r = 0; r < 8; r++)
				t[r] = s[r][i];
			store_transposed8(panel->scale + 128 * i + 8 * half, t);
			if (!has_min)
				continue;
			for (int r = 0; r < 8; r++)
				t[r] = m[r][i];
			store_transposed8(panel->min + 128 * i + 8 * half, t);
		}
	}
#define UNPACK_64(h)                                                         \
	if (64 * (h) < (int)n) {                                             \
		__m512i c[16];                                               \
		if (last == codes || 64 * (h) + 64 <= (int)n)                \
			for (int r = 0; r < 16; r++)                         \
				c[r] = codes(row[r], h);                     \
		else                                                         \
			for (int r = 0; r < 16; r++)                         \
				c[r] = last(row[r], h);                      \
		if (add != 0)                                                \
			for (int r = 0; r < 16; r++)                         \
				c[r] = _mm512_add_epi8(c[r], _mm512_set1_epi8((char)add)); \
		store_transposed(panel->codes + 1024 * (h), c);              \
	}
	UNPACK_64(0)
	UNPACK_64(1)
	UNPACK_64(2)
	UNPACK_64(3)
#undef UNPACK_64
}

INLINE float sum_lanes(__m512 v) { return _mm512_reduce_add_ps(v); }

/* One row's chunk of 64 * H columns. */
INLINE void chunk_dot(const char *chunk, const hth_a8 *a, const int H, codes_fn codes, scales_fn scales, const int per_group,
                      const bool is_signed, __m512 sum[4])
{
	__m256 s[2], m[2], d = _mm256_load_ps(a->d);
	scales(chunk, 2 * H, s, m);
	__m512 by16 = _mm512_setzero_ps();
	if (per_group == 1) {
		s[0] = _mm256_mul_ps(s[0], d);
		/* codes that have 128 added: take it off again */
		__m256 min = !is_signed ? _mm256_mul_ps(m[0], _mm256_load_ps(a->s32))
		                        : _mm256_mul_ps(s[0], _mm256_cvtepi32_ps(_mm256_load_si256((const __m256i *)a->n32)));
		sum[3] = _mm512_add_ps(sum[3], _mm512_insertf32x8(_mm512_setzero_ps(), min, 0));
	} else {
		/* d of 32 columns for both of its groups of 16 */
		__m512 d2 = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
		                                  _mm512_castps256_ps512(d));
		__m512 s2 = _mm512_insertf32x8(_mm512_castps256_ps512(s[0]), s[1], 1);
		by16 = _mm512_mul_ps(s2, d2);
		__m512 m2 = _mm512_insertf32x8(_mm512_castps256_ps512(m[0]), m[1], 1);
		sum[3] = _mm512_fmadd_ps(m2, _mm512_load_ps(a->s16), sum[3]);
	}
#define DOT_64(h)                                                                                                           \
	if ((h) < H) {                                                                                                      \
		__m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes(chunk, h), _mm512_load_si512(a->q + 64 * (h))); \
		__m512 scale;                                                                                               \
		if (per_group == 1)                                                                                         \
			scale = _mm512_permutexvar_ps(_mm512_setr_epi32(2 * (h), 2 * (h), 2 * (h), 2 * (h), 2 * (h), 2 * (h), 2 * (h), 2 * (h), \
			                                                2 * (h) + 1, 2 * (h) + 1, 2 * (h) + 1, 2 * (h) + 1,         \
			                                                2 * (h) + 1, 2 * (h) + 1, 2 * (h) + 1, 2 * (h) + 1),        \
			                              _mm512_castps256_ps512(s[0]));                                        \
		else                                                                                                        \
			scale = _mm512_permutexvar_ps(_mm512_setr_epi32(4 * (h), 4 * (h), 4 * (h), 4 * (h), 4 * (h) + 1, 4 * (h) + 1, \
			                                                4 * (h) + 1, 4 * (h) + 1, 4 * (h) + 2, 4 * (h) + 2, 4 * (h) + 2, \
			                                                4 * (h) + 2, 4 * (h) + 3, 4 * (h) + 3, 4 * (h) + 3, 4 * (h) + 3), \
			                              by16);                                                                \
		sum[(h) % 3] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, sum[(h) % 3]);                               \
	}
	DOT_64(0)
	DOT_64(1)
	DOT_64(2)
	DOT_64(3)
#undef DOT_64
}

/* The end of a row of a type with blocks of 32: one group at a time, with the AVX2 reader's codes and their own minimum. */
INLINE float tail_dot(const char *chunk, const hth_a8 *a, int n, __m256i (*codes)(const char *, int), scales_fn scales,
                      const bool is_signed)
{
	__m256 s, m, sum = _mm256_setzero_ps();
	float sd[8];
	scales(chunk, n, &s, &m);
	_mm256_storeu_ps(sd, _mm256_mul_ps(s, _mm256_load_ps(a->d)));
	__m256 extra = _mm256_mul_ps(m, _mm256_load_ps(a->s32));
	if (is_signed)
		extra = _mm256_mul_ps(_mm256_mul_ps(s, _mm256_load_ps(a->d)), _mm256_cvtepi32_ps(_mm256_load_si256((const __m256i *)a->n32)));
	for (int g = 0; g < n; g++) {
		__m256i c = codes(chunk, g);
		if (is_signed)
			c = _mm256_xor_si256(c, _mm256_set1_epi8((char)0x80));
		__m256i dot = _mm256_dpbusd_epi32(_mm256_setzero_si256(), c, load256(a->q + 32 * g));
		sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(sd[g]), sum);
	}
	return _mm512_reduce_add_ps(_mm512_insertf32x8(_mm512_castps256_ps512(sum), extra, 1));
}

INLINE void gemv(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const char *a, size_t a_stride, float *y,
                 size_t chunk_bytes, codes_fn codes, __m256i (*tail_codes)(const char *, int), scales_fn scales,
                 const int per_group, const bool is_signed)
{
	for (size_t r = 0; r < n_rows; r++) {
		const char *chunk = (const char *)w + r * row_bytes, *at = a;
		__m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
		size_t c = 0;
		for (; c + 256 <= cols; c += 256, chunk += chunk_bytes, at += a_stride) {
			for (size_t p = 0; p < chunk_bytes; p += 64)
				_mm_prefetch(chunk + HTH_AHEAD + p, _MM_HINT_T0);
			chunk_dot(chunk, (const hth_a8 *)at, 4, codes, scales, per_group, is_signed, sum);
		}
		float total = sum_lanes(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
		if (per_group == 1 && c < cols)
			total += tail_dot(chunk, (const hth_a8 *)at, (int)((cols - c) / 32), tail_codes, scales, is_signed);
		y[r] = total;
	}
}

/* The last 64 of a chunk when only 32 are there: the second group may be anything. */
#define LAST(name, flip)                                                                                      \
	INLINE __m512i last64_##name(const char *chunk, int h)                                                \
	{                                                                                                     \
		return _mm512_castsi256_si512(_mm256_xor_si256(codes_##name(chunk, 2 * h), _mm256_set1_epi8((char)(flip)))); \
	}
LAST(q4_0, 0)
LAST(q4_1, 0)
LAST(q5_0, 0)
LAST(q5_1, 0)
LAST(q8_0, 128)
LAST(iq4_nl, 128)
LAST(mxfp4, 0)
#define last64_q2_k codes64_q2_k
#define last64_q3_k codes64_q3_k
#define last64_q4_k codes64_q4_k
#define last64_q5_k codes64_q5_k
#define last64_q6_k codes64_q6_k
#define last64_iq4_xs codes64_iq4_xs

/* is_signed: codes are signed and flipped to unsigned here. add: what the panel's codes have more, so that -128 * sum(q) takes
 * the place of the minimum (no_min). */
#define AVX512_TYPE(name, blocks_per_chunk, per_group, no_min, add, is_signed)                                              \
	void hth_avx512_unpack_##name(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)       \
	{                                                                                                                   \
		unpack(panel, block, row_bytes, n_rows, n, codes64_##name, last64_##name, scales_##name, per_group, !(no_min), \
		       add);                                                                                                \
	}                                                                                                                   \
	void hth_avx512_gemv_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const char *a,            \
	                            size_t a_stride, float *y)                                                              \
	{                                                                                                                   \
		gemv(w, row_bytes, n_rows, cols, a, a_stride, y, (blocks_per_chunk) * sizeof(hth_block_##name),            \
		     codes64_##name, codes_##name, scales_##name, per_group, is_signed);                                    \
	}
AVX512_TYPE(q4_0, 8, 1, true, 120, false)
AVX512_TYPE(q4_1, 8, 1, false, 0, false)
AVX512_TYPE(q5_0, 8, 1, true, 112, false)
AVX512_TYPE(q5_1, 8, 1, false, 0, false)
AVX512_TYPE(q8_0, 8, 1, true, 0, true)
AVX512_TYPE(iq4_nl, 8, 1, true, 0, true)
AVX512_TYPE(mxfp4, 8, 1, true, 116, false)
AVX512_TYPE(q2_k, 1, 2, false, 0, false)
AVX512_TYPE(q3_k, 1, 2, true, 124, false)
AVX512_TYPE(q4_k, 1, 1, false, 0, false)
AVX512_TYPE(q5_k, 1, 1, false, 0, false)
AVX512_TYPE(q6_k, 1, 2, true, 96, false)
AVX512_TYPE(iq4_xs, 1, 1, true, 0, true)

/* ---- floats ---- */

INLINE __m512 load_f32(const char *p, __mmask16 k) { return _mm512_maskz_loadu_ps(k, p); }
INLINE __m512 load_f16(const char *p, __mmask16 k) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(k, p)); }
INLINE __m512 load_bf16(const char *p, __mmask16 k)
{
	__m512i v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(k, p));
	return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}
typedef __m512 (*load_fn)(const char *p, __mmask16 k);
INLINE __mmask16 first(size_t n) { return n >= 16 ? 0xFFFF : (__mmask16)((1u << n) - 1); }

INLINE void unpack_float(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n, size_t size, load_fn load)
{
	_Alignas(64) uint8_t t[16 * 64];
	for (size_t half = 0; half < 2; half++) {
		for (size_t c = 0; c < n; c += 16) {
			__m512i v[16];
			for (size_t r = 0; r < 16; r++) {
				const char *p = (const char *)w + (16 * half + r) * row_bytes + c * size;
				v[r] = 16 * half + r < n_rows ? _mm512_castps_si512(load(p, first(n - c))) : _mm512_setzero_si512();
			}
			store_transposed(t, v);
			/* The panel has room for the columns of the last, partial sixteen. */
			for (size_t i = 0; i < 16; i++)
				_mm512_store_si512(panel + (c + i) * 32 + 16 * half, _mm512_load_si512(t + 64 * i));
		}
	}
}

INLINE void gemv_float(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y, size_t size,
                       load_fn load)
{
	for (size_t r = 0; r < n_rows; r++) {
		const char *p = (const char *)w + r * row_bytes;
		__m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
		size_t c = 0;
		for (; c + 64 <= cols; c += 64) {
			for (size_t at = 0; at < 64 * size; at += 64)
				_mm_prefetch(p + c * size + HTH_AHEAD + at, _MM_HINT_T0);
#pragma GCC unroll 4
			for (size_t i = 0; i < 4; i++)
				sum[i] = _mm512_fmadd_ps(load(p + (c + 16 * i) * size, 0xFFFF), _mm512_loadu_ps(x + c + 16 * i), sum[i]);
		}
		for (; c < cols; c += 16)
			sum[0] = _mm512_fmadd_ps(load(p + c * size, first(cols - c)), _mm512_maskz_loadu_ps(first(cols - c), x + c), sum[0]);
		y[r] = sum_lanes(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
	}
}

#define AVX512_FLOAT(name, size)                                                                                            \
	void hth_avx512_unpack_##name(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n)               \
	{                                                                                                                   \
		unpack_float(panel, w, row_bytes, n_rows, n, size, load_##name);                                            \
	}                                                                                                                   \
	void hth_avx512_gemv_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y)  \
	{                                                                                                                   \
		gemv_float(w, row_bytes, n_rows, cols, x, y, size, load_##name);                                            \
	}
AVX512_FLOAT(f32, 4)
AVX512_FLOAT(f16, 2)
AVX512_FLOAT(bf16, 2)
