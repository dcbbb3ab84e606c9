/* avx512-rows.c - unpacking 16 rows of weights, as they lie in the file, into a panel; and what reads rows of floats.
 *
 * Written once over readers of 64 codes (avx512-codes.h) and stamped out for each type.
 */
#include "engine/kernels/avx512-codes.h"
#include "base/mem.h"

typedef __m512i (*codes_fn)(const char *chunk, int h);
typedef void (*scales_fn)(const char *chunk, int n, __m256 *s, __m256 *m);
/* The first n columns of 16 rows' chunks to a panel, with `add` more; a step is 4 columns, a lane for each row. */
typedef void (*put_codes_fn)(uint8_t *codes, const char *const row[16], size_t n, const int add);

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

INLINE __m512i plus(__m512i codes, const int add) { return add != 0 ? _mm512_add_epi8(codes, _mm512_set1_epi8((char)add)) : codes; }

/* Column by column; last: the same of a chunk's last 32. */
INLINE void put_columns(uint8_t *to, const char *const row[16], size_t n, codes_fn codes, codes_fn last, const int add)
{
#define PUT_64(h)                                                                       \
	if (64 * (h) < (int)n) {                                                        \
		__m512i c[16];                                                          \
		if (64 * (h) + 64 <= (int)n)                                            \
			for (int r = 0; r < 16; r++)                                    \
				c[r] = plus(codes(row[r], h), add);                     \
		else                                                                    \
			for (int r = 0; r < 16; r++)                                    \
				c[r] = plus(last(row[r], h), add);                      \
		store_transposed(to + 1024 * (h), 64, c);                               \
	}
	PUT_64(0)
	PUT_64(1)
	PUT_64(2)
	PUT_64(3)
#undef PUT_64
}

/* Transposing is most of the work, so it is done while bytes still hold the codes of two groups or more, as in avx2-panel.h.
 *
 * Nibbles: a quarter has 16 bytes of a row. Low ones are steps 0 to 3, high ones 4 to 7. */
INLINE void put_nibbles(uint8_t *to, const char *const row[16], size_t n, const uint8_t *(*bytes)(const char *chunk, int g),
                        __m512i (*value)(__m512i nibbles), const int add)
{
	for (int g = 0; g < (int)(n / 32); g++, to += 512) {
		__m512i r[4], u[4];
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			r[i] = _mm512_castsi128_si512(load128(bytes(row[i], g)));
			r[i] = _mm512_inserti32x4(r[i], load128(bytes(row[4 + i], g)), 1);
			r[i] = _mm512_inserti32x4(r[i], load128(bytes(row[8 + i], g)), 2);
			r[i] = _mm512_inserti32x4(r[i], load128(bytes(row[12 + i], g)), 3);
		}
		transpose_quarters(u, r[0], r[1], r[2], r[3]);
#pragma GCC unroll 4
		for (int k = 0; k < 4; k++) {
			_mm512_store_si512(to + 64 * k, plus(value(low_nibbles(u[k])), add));
			_mm512_store_si512(to + 256 + 64 * k, plus(value(high_nibbles(u[k])), add));
		}
	}
}

/* to[k]: bytes 4 k to 4 k + 3 of each of 16 rows' 32. */
INLINE void transpose32(__m512i to[8], const uint8_t *const from[16])
{
	__m512i r[8], u[8];
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		r[i] = two256(from[i], from[4 + i]);
		r[4 + i] = two256(from[8 + i], from[12 + i]);
	}
	transpose_quarters(u, r[0], r[1], r[2], r[3]);
	transpose_quarters(u + 4, r[4], r[5], r[6], r[7]);
	/* u[4 a + k], quarter q: bytes 16 (q % 2) + 4 k of rows 8 a + 4 (q / 2) and the next three. */
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		to[k] = _mm512_shuffle_i32x4(u[k], u[4 + k], 0x88);
		to[4 + k] = _mm512_shuffle_i32x4(u[k], u[4 + k], 0xDD);
	}
}

/* A block of 256: n_bits vectors of bytes, of which each step's lie side by side, parted for all groups. */
INLINE void put_bits(uint8_t *to, const char *const row[16], const int n_bits, const uint8_t *(*bits)(const char *chunk, int i),
                     __m512i (*part)(const __m512i *bits, int g), const int add)
{
	__m512i of_step[8][6];
#pragma GCC unroll 6
	for (int i = 0; i < n_bits; i++) {
		const uint8_t *from[16];
		__m512i b[8];
#pragma GCC unroll 16
		for (int r = 0; r < 16; r++)
			from[r] = bits(row[r], i);
		transpose32(b, from);
#pragma GCC unroll 8
		for (int k = 0; k < 8; k++)
			of_step[k][i] = b[k];
	}
	for (int k = 0; k < 8; k++, to += 64) {
#define PUT_PART(g) _mm512_store_si512(to + 512 * (g), plus(part(of_step[k], g), add));
		PUT_PART(0) PUT_PART(1) PUT_PART(2) PUT_PART(3) PUT_PART(4) PUT_PART(5) PUT_PART(6) PUT_PART(7)
#undef PUT_PART
	}
}

INLINE void unpack(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n, put_codes_fn put_codes,
                   scales_fn scales, const int per_group, const bool has_min, const int add)
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
	put_codes(panel->codes, row, n, add);
}

INLINE float sum_lanes(__m512 v) { return _mm512_reduce_add_ps(v); }

/* The last 64 of a chunk when only 32 are there: the second group may be anything. */
#define LAST(name, flip)                                                                                      \
	INLINE __m512i last64_##name(const char *chunk, int h)                                                \
	{                                                                                                     \
		return _mm512_castsi256_si512(_mm256_xor_si256(codes_##name(chunk, 2 * h), _mm256_set1_epi8((char)(flip)))); \
	}
LAST(q5_0, 0)
LAST(q5_1, 0)
LAST(q8_0, 128)

#define PUT_CODES(name, HOW, ...)                                                                             \
	INLINE void put_codes_##name(uint8_t *to, const char *const row[16], size_t n, const int add)         \
	{                                                                                                     \
		(void)n; /* a block of 256 is whole */                                                        \
		HOW(to, row, __VA_ARGS__, add);                                                               \
	}
#define COLUMNS(name) PUT_CODES(name, put_columns, n, codes64_##name, last64_##name)
#define NIBBLES(name) PUT_CODES(name, put_nibbles, n, bytes_##name, value64_##name)
#define BITS(name, n_bits) PUT_CODES(name, put_bits, n_bits, bits_##name, part64_##name)
COLUMNS(q8_0) COLUMNS(q5_0) COLUMNS(q5_1)
NIBBLES(q4_0) NIBBLES(q4_1) NIBBLES(iq4_nl) NIBBLES(mxfp4) NIBBLES(iq4_xs)
BITS(q2_k, 2) BITS(q3_k, 3) BITS(q4_k, 4) BITS(q5_k, 5) BITS(q6_k, 6)

/* add: what the panel's codes have more, so that -128 * sum(q) takes the place of the minimum (no_min). */
#define AVX512_TYPE(name, per_group, no_min, add)                                                                           \
	void hth_avx512_unpack_##name(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)       \
	{                                                                                                                   \
		unpack(panel, block, row_bytes, n_rows, n, put_codes_##name, scales_##name, per_group, !(no_min), add);      \
	}
AVX512_TYPE(q4_0, 1, true, 120)
AVX512_TYPE(q4_1, 1, false, 0)
AVX512_TYPE(q5_0, 1, true, 112)
AVX512_TYPE(q5_1, 1, false, 0)
AVX512_TYPE(q8_0, 1, true, 0)
AVX512_TYPE(iq4_nl, 1, true, 0)
AVX512_TYPE(mxfp4, 1, true, 112)
AVX512_TYPE(q2_k, 2, false, 0)
AVX512_TYPE(q3_k, 2, true, 124)
AVX512_TYPE(q4_k, 1, false, 0)
AVX512_TYPE(q5_k, 1, false, 0)
AVX512_TYPE(q6_k, 2, true, 96)
AVX512_TYPE(iq4_xs, 1, true, 0)

/* ---- floats ---- */

INLINE void unpack_float(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n, size_t size, load_fn load)
{
	for (size_t half = 0; half < 2; half++) {
		for (size_t c = 0; c < n; c += 16) {
			__m512i v[16];
			for (size_t r = 0; r < 16; r++) {
				const char *p = (const char *)w + (16 * half + r) * row_bytes + c * size;
				v[r] = 16 * half + r < n_rows ? _mm512_castps_si512(load(p, first(n - c))) : _mm512_setzero_si512();
			}
			/* The panel has room for the columns of the last, partial sixteen. */
			store_transposed((uint8_t *)(panel + c * 32 + 16 * half), 32 * sizeof *panel, v);
		}
	}
}

INLINE void gemv_float(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y, size_t size,
                       load_fn load, const bool near)
{
	for (size_t r = 0; r < n_rows; r++) {
		const char *p = (const char *)w + r * row_bytes;
		__m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
		size_t c = 0;
		for (; c + 64 <= cols; c += 64) {
			hth_ask_ahead(p + c * size, 64 * size, HTH_AHEAD, near);
#pragma GCC unroll 4
			for (size_t i = 0; i < 4; i++)
				sum[i] = _mm512_fmadd_ps(load(p + (c + 16 * i) * size, 0xFFFF), _mm512_loadu_ps(x + c + 16 * i), sum[i]);
		}
		for (; c < cols; c += 16)
			sum[0] = _mm512_fmadd_ps(load(p + c * size, first(cols - c)), _mm512_maskz_loadu_ps(first(cols - c), x + c),
			                         sum[0]);
		y[r] = sum_lanes(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
	}
}

/* R (1 or 4) rows by T (up to 4) tokens. */
INLINE void few_tile(const char *p, size_t row_bytes, size_t cols, const float *const *x, float *y, size_t y_stride, size_t size,
                     load_fn load, const int R, const int T)
{
	__m512 sum[4][4];
#pragma GCC unroll 4
	for (int r = 0; r < R; r++)
#pragma GCC unroll 4
		for (int t = 0; t < T; t++)
			sum[r][t] = _mm512_setzero_ps();
#define STEP(k, c)                                                                                      \
	do {                                                                                            \
		__m512 v[4];                                                                            \
		_Pragma("GCC unroll 4")                                                                 \
		for (int t = 0; t < T; t++) {                                                           \
			v[t] = _mm512_maskz_loadu_ps(k, x[t] + (c));                                    \
			__asm__("" : "+v"(v[t])); /* GCC would load it for each row */                  \
		}                                                                                       \
		_Pragma("GCC unroll 4")                                                                 \
		for (int r = 0; r < R; r++) {                                                           \
			__m512 w = load(p + (size_t)r * row_bytes + (c) * size, k);                     \
			_Pragma("GCC unroll 4")                                                         \
			for (int t = 0; t < T; t++)                                                     \
				sum[r][t] = _mm512_fmadd_ps(w, v[t], sum[r][t]);                        \
		}                                                                                       \
	} while (0)
	const bool near = hth_near();
	size_t c = 0;
	for (; c + 32 <= cols; c += 32) {
#pragma GCC unroll 4
		for (int r = 0; r < R; r++)
			hth_ask_lines_ahead(p + c * size, 32 * size, (size_t)(R + r) * row_bytes, near); /* the next rows */
		STEP(0xFFFF, c);
		STEP(0xFFFF, c + 16);
	}
	for (; c < cols; c += 16)
		STEP(first(cols - c), c);
#undef STEP
#pragma GCC unroll 4
	for (int r = 0; r < R; r++)
#pragma GCC unroll 4
		for (int t = 0; t < T; t++)
			y[(size_t)t * y_stride + (size_t)r] = sum_lanes(sum[r][t]);
}

enum { TILE_ROWS = 4 };
#include "engine/kernels/float-rows.h"

FLOAT_TYPE(avx512, f32, 4)
FLOAT_TYPE(avx512, f16, 2)
FLOAT_TYPE(avx512, bf16, 2)
