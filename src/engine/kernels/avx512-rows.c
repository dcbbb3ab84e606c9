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

/* vgf2p8affineqb multiplies every byte by an 8 x 8 matrix of bits, which takes bits out, shifts and masks them in one
 * instruction. This is the matrix that moves n bits of a byte from bit `from` to bit `to`: row 7 - k gives bit k. */
#define MOVE_BIT(from, to) (0x01ull << (from) << 8 * (7 - (to)))
#define MOVE_2(from, to) (MOVE_BIT(from, to) | MOVE_BIT((from) + 1, (to) + 1))
#define MOVE_4(from, to) (MOVE_2(from, to) | MOVE_2((from) + 2, (to) + 2))
/* One matrix for each half, or for the quarters in turns. */
#define HALVES(v, a, b)                                                                                              \
	_mm512_gf2p8affine_epi64_epi8(v, _mm512_setr_epi64((long long)(a), (long long)(a), (long long)(a), (long long)(a), \
	                                                   (long long)(b), (long long)(b), (long long)(b), (long long)(b)), 0)
#define QUARTERS(v, a, b)                                                                                            \
	_mm512_gf2p8affine_epi64_epi8(v, _mm512_setr_epi64((long long)(a), (long long)(a), (long long)(b), (long long)(b), \
	                                                   (long long)(a), (long long)(a), (long long)(b), (long long)(b)), 0)

/* Nibbles of two groups, 16 bytes each: low ones are columns 0 to 15 of the group, high ones 16 to 31. */
INLINE __m512i nibbles64(const void *low, const void *high)
{
	__m512i v = _mm512_broadcast_i64x2(load128(low));
	v = _mm512_mask_broadcast_i64x2(v, 0xF0, load128(high));
	return QUARTERS(v, MOVE_4(0, 0), MOVE_4(4, 0));
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
#define NIBBLES_OF(name) nibbles64(BLOCK(name, 2 * h).qs, BLOCK(name, 2 * h + 1).qs)

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
	return HALVES(both_halves(BLOCK(q4_k, 0).qs + 32 * h), MOVE_4(0, 0), MOVE_4(4, 0));
}
INLINE __m512i codes64_q5_k(const char *chunk, int h)
{
	__m512i low = HALVES(both_halves(BLOCK(q5_k, 0).qs + 32 * h), MOVE_4(0, 0), MOVE_4(4, 0));
	return _mm512_or_si512(low, HALVES(both_halves(BLOCK(q5_k, 0).qh), MOVE_BIT(2 * h, 4), MOVE_BIT(2 * h + 1, 4)));
}
INLINE __m512i codes64_iq4_xs(const char *chunk, int h)
{
	const uint8_t *qs = BLOCK(iq4_xs, 0).qs + 32 * h;
	return look_up64(hth_iq4_values, 128, nibbles64(qs, qs + 16));
}
INLINE __m512i codes64_q6_k(const char *chunk, int h)
{
	__m512i low = load512(BLOCK(q6_k, 0).ql + 64 * (h / 2)), high = both_halves(BLOCK(q6_k, 0).qh + 32 * (h / 2));
	low = h % 2 ? HALVES(low, MOVE_4(4, 0), MOVE_4(4, 0)) : _mm512_and_si512(low, _mm512_set1_epi8(15));
	return _mm512_or_si512(low, h % 2 ? HALVES(high, MOVE_2(4, 4), MOVE_2(6, 4)) : HALVES(high, MOVE_2(0, 4), MOVE_2(2, 4)));
}
INLINE __m512i two_bits64(const uint8_t *qs, int h)
{
	__m512i v = both_halves(qs + 32 * (h / 2));
	return h % 2 ? HALVES(v, MOVE_2(4, 0), MOVE_2(6, 0)) : HALVES(v, MOVE_2(0, 0), MOVE_2(2, 0));
}
INLINE __m512i codes64_q2_k(const char *chunk, int h) { return two_bits64(BLOCK(q2_k, 0).qs, h); }
INLINE __m512i codes64_q3_k(const char *chunk, int h)
{
	return _mm512_or_si512(two_bits64(BLOCK(q3_k, 0).qs, h),
	                       HALVES(both_halves(BLOCK(q3_k, 0).hmask), MOVE_BIT(2 * h, 2), MOVE_BIT(2 * h + 1, 2)));
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

/* Running sums of one row: scaled products, and what is multiplied by the row type's constant offset at the end. */
typedef struct row_sums {
	__m512 dot[3], min;
	__m256 offset;
} row_sums;

/* Reads the scales of a chunk of 2 H groups, takes care of the part with the sums of activations, and returns scale times
 * activation scale of its groups of 32 (lanes 0 to 7) or of 16 (all lanes). */
typedef __m512 (*prepare_fn)(const char *chunk, const int H, const hth_a8 *a, row_sums *sums);

/* Scale s in every block; minimums are a constant times s, which is left for the end. */
#define PREPARE_OFFSET(name)                                                                            \
	INLINE __m512 prepare_##name(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)   \
	{                                                                                               \
		__m256 s, m;                                                                            \
		scales_##name(chunk, 2 * H, &s, &m);                                                    \
		sums->offset = _mm256_fmadd_ps(s, _mm256_load_ps(a->s32), sums->offset);                \
		return _mm512_castps256_ps512(_mm256_mul_ps(s, _mm256_load_ps(a->d)));                  \
	}
PREPARE_OFFSET(q4_0)
PREPARE_OFFSET(q5_0)
PREPARE_OFFSET(q8_0)
PREPARE_OFFSET(iq4_nl)
PREPARE_OFFSET(mxfp4)

#define PREPARE_MIN(name)                                                                               \
	INLINE __m512 prepare_##name(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)   \
	{                                                                                               \
		__m256 s, m;                                                                            \
		scales_##name(chunk, 2 * H, &s, &m);                                                    \
		sums->offset = _mm256_fmadd_ps(m, _mm256_load_ps(a->s32), sums->offset);                \
		return _mm512_castps256_ps512(_mm256_mul_ps(s, _mm256_load_ps(a->d)));                  \
	}
PREPARE_MIN(q4_1)
PREPARE_MIN(q5_1)

INLINE __m512 prepare_iq4_xs(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)
{
	const hth_block_iq4_xs *b = &BLOCK(iq4_xs, 0);
	uint64_t bytes = _pdep_u64(load32(b->scales_l), 0x0F0F0F0F0F0F0F0F) | _pdep_u64(b->scales_h, 0x3030303030303030);
	__m256i v = _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes)), _mm256_set1_epi32(32));
	__m256 s = _mm256_mul_ps(_mm256_cvtepi32_ps(v), _mm256_set1_ps(half_to_float(b->d)));
	sums->offset = _mm256_fmadd_ps(s, _mm256_load_ps(a->s32), sums->offset);
	return _mm512_castps256_ps512(_mm256_mul_ps(s, _mm256_load_ps(a->d)));
}

/* Eight scales and eight minimums as one vector, by [d, dmin] and by the activations' [d, s32]. */
INLINE __m512 prepare_k4(const uint8_t scales[12], const void *d_and_dmin, const hth_a8 *a, row_sums *sums)
{
	uint32_t x = load32(scales), y = load32(scales + 4), z = load32(scales + 8);
	uint64_t scale = (uint64_t)((z & 0x0F0F0F0F) | (x >> 2 & 0x30303030)) << 32 | (x & 0x3F3F3F3F);
	uint64_t min = (uint64_t)((z >> 4 & 0x0F0F0F0F) | (y >> 2 & 0x30303030)) << 32 | (y & 0x3F3F3F3F);
	__m512 v = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_set_epi64x((long long)min, (long long)scale)));
	__m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128((int)load32(d_and_dmin)));
	const __m512i first_second = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
	v = _mm512_mul_ps(v, _mm512_permutexvar_ps(first_second, _mm512_castps128_ps512(d)));
	v = _mm512_mul_ps(v, _mm512_load_ps(a->d));
	sums->min = _mm512_mask_sub_ps(sums->min, 0xFF00, sums->min, v);
	return v;
}
INLINE __m512 prepare_q4_k(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)
{
	return prepare_k4(BLOCK(q4_k, 0).scales, chunk, a, sums);
}
INLINE __m512 prepare_q5_k(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)
{
	return prepare_k4(BLOCK(q5_k, 0).scales, chunk, a, sums);
}

INLINE __m512 prepare_q6_k(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)
{
	const hth_block_q6_k *b = &BLOCK(q6_k, 0);
	__m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load128(b->scales)));
	s = _mm512_mul_ps(s, _mm512_set1_ps(half_to_float(b->d)));
	sums->min = _mm512_fmadd_ps(s, _mm512_load_ps(a->s16), sums->min);
	return _mm512_mul_ps(s, _mm512_load_ps(a->d16));
}
INLINE __m512 prepare_q3_k(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)
{
	__m256 half[2], m[2];
	scales_q3_k(chunk, 8, half, m);
	__m512 s = _mm512_insertf32x8(_mm512_castps256_ps512(half[0]), half[1], 1);
	sums->min = _mm512_fmadd_ps(s, _mm512_load_ps(a->s16), sums->min);
	return _mm512_mul_ps(s, _mm512_load_ps(a->d16));
}
INLINE __m512 prepare_q2_k(const char *chunk, const int H, const hth_a8 *a, row_sums *sums)
{
	const hth_block_q2_k *b = &BLOCK(q2_k, 0);
	__m128i v = load128(b->scales), mask = _mm_set1_epi8(15);
	__m512 s = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(v, mask)));
	__m512 m = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(v, 4), mask)));
	m = _mm512_mul_ps(m, _mm512_set1_ps(half_to_float(b->dmin)));
	sums->min = _mm512_fnmadd_ps(m, _mm512_load_ps(a->s16), sums->min);
	s = _mm512_mul_ps(s, _mm512_set1_ps(half_to_float(b->d)));
	return _mm512_mul_ps(s, _mm512_load_ps(a->d16));
}

/* One row's chunk of 64 * H columns. */
INLINE void chunk_dot(const char *chunk, const hth_a8 *a, const int H, codes_fn codes, prepare_fn prepare,
                      const int per_group, row_sums *sums)
{
	__m512 scales = prepare(chunk, H, a, sums);
#pragma GCC unroll 4
	for (int h = 0; h < H; h++) {
		/* 8 lanes for each of 2 groups of 32, or 4 lanes for each of 4 groups of 16 */
		__m512i at = per_group == 1
		                 ? _mm512_add_epi32(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), _mm512_set1_epi32(2 * h))
		                 : _mm512_add_epi32(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3), _mm512_set1_epi32(4 * h));
		__m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes(chunk, h), _mm512_load_si512(a->q + 64 * h));
		sums->dot[h % 3] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_permutexvar_ps(at, scales), sums->dot[h % 3]);
	}
}

/* The end of a row of a type with blocks of 32: one group at a time, with the AVX2 reader's codes. */
INLINE void tail_dot(const char *chunk, const hth_a8 *a, int n, __m256i (*codes)(const char *, int), scales_fn scales,
                     const bool has_min, const bool is_signed, row_sums *sums)
{
	__m256 s, m, sum = _mm256_setzero_ps();
	float sd[8];
	scales(chunk, n, &s, &m);
	_mm256_storeu_ps(sd, _mm256_mul_ps(s, _mm256_load_ps(a->d)));
	sums->offset = _mm256_fmadd_ps(has_min ? m : s, _mm256_load_ps(a->s32), sums->offset);
	for (int g = 0; g < n; g++) {
		__m256i c = codes(chunk, g);
		if (is_signed)
			c = _mm256_xor_si256(c, _mm256_set1_epi8((char)0x80));
		__m256i dot = _mm256_dpbusd_epi32(_mm256_setzero_si256(), c, load256(a->q + 32 * g));
		sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(sd[g]), sum);
	}
	sums->dot[0] = _mm512_add_ps(sums->dot[0], _mm512_insertf32x8(_mm512_setzero_ps(), sum, 0));
}

INLINE void gemv(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const char *a, size_t a_stride, float *y,
                 size_t chunk_bytes, codes_fn codes, prepare_fn prepare, __m256i (*tail_codes)(const char *, int),
                 scales_fn scales, const int per_group, const float offset, const bool is_signed)
{
	for (size_t r = 0; r < n_rows; r++) {
		const char *chunk = (const char *)w + r * row_bytes, *at = a;
		const __m512 zero = _mm512_setzero_ps();
		row_sums sums = {{zero, zero, zero}, zero, _mm256_setzero_ps()};
		size_t c = 0;
		for (; c + 256 <= cols; c += 256, chunk += chunk_bytes, at += a_stride) {
#pragma GCC unroll 5
			for (size_t p = 0; p < chunk_bytes; p += 64)
				_mm_prefetch(chunk + HTH_AHEAD + p, _MM_HINT_T0);
			chunk_dot(chunk, (const hth_a8 *)at, 4, codes, prepare, per_group, &sums);
		}
		if (per_group == 1 && c < cols)
			tail_dot(chunk, (const hth_a8 *)at, (int)((cols - c) / 32), tail_codes, scales, offset == 1, is_signed, &sums);
		/* The offset's part in one of the vectors, for one reduction. */
		__m512 total = _mm512_add_ps(_mm512_add_ps(sums.dot[0], sums.dot[1]), sums.dot[2]);
		if (per_group == 1) {
			__m512 other = _mm512_insertf32x8(zero, sums.offset, 0);
			total = _mm512_add_ps(total, sums.min);
			y[r] = sum_lanes(_mm512_fmadd_ps(other, _mm512_set1_ps(offset), total));
		} else {
			y[r] = sum_lanes(_mm512_fmadd_ps(sums.min, _mm512_set1_ps(offset), total));
		}
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
 * the place of the minimum (no_min). offset: what the minimum is times the scale; 1 where there are minimums of their own. */
#define AVX512_TYPE(name, blocks_per_chunk, per_group, no_min, add, offset, is_signed)                                      \
	void hth_avx512_unpack_##name(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)       \
	{                                                                                                                   \
		unpack(panel, block, row_bytes, n_rows, n, codes64_##name, last64_##name, scales_##name, per_group, !(no_min), \
		       add);                                                                                                \
	}                                                                                                                   \
	void hth_avx512_gemv_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const char *a,            \
	                            size_t a_stride, float *y)                                                              \
	{                                                                                                                   \
		gemv(w, row_bytes, n_rows, cols, a, a_stride, y, (blocks_per_chunk) * sizeof(hth_block_##name),            \
		     codes64_##name, prepare_##name, codes_##name, scales_##name, per_group, offset, is_signed);            \
	}
AVX512_TYPE(q4_0, 8, 1, true, 120, -8, false)
AVX512_TYPE(q4_1, 8, 1, false, 0, 1, false)
AVX512_TYPE(q5_0, 8, 1, true, 112, -16, false)
AVX512_TYPE(q5_1, 8, 1, false, 0, 1, false)
AVX512_TYPE(q8_0, 8, 1, true, 0, -128, true)
AVX512_TYPE(iq4_nl, 8, 1, true, 0, -128, true)
AVX512_TYPE(mxfp4, 8, 1, true, 116, -12, false)
AVX512_TYPE(q2_k, 1, 2, false, 0, 1, false)
AVX512_TYPE(q3_k, 1, 2, true, 124, -4, false)
AVX512_TYPE(q4_k, 1, 1, false, 0, 1, false)
AVX512_TYPE(q5_k, 1, 1, false, 0, 1, false)
AVX512_TYPE(q6_k, 1, 2, true, 96, -32, false)
AVX512_TYPE(iq4_xs, 1, 1, true, 0, -128, true)

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
