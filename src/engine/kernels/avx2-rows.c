/* avx2-rows.c - unpacking 8 rows of weights, as they lie in the file, into a panel, written once over the readers of avx2-codes.h and
 * stamped out for each type; and rows of floats times one token.
 */
#include "engine/kernels/avx2-panel.h"
#include "base/mem.h"

typedef void (*scales_fn)(const char *chunk, int n, __m256 *s, __m256 *m);
typedef __m256i (*int_scales_fn)(const char *chunk, float *d, __m256 *m);

/* Which gemm the panel is for: what the sums start from, and the width of codes (see avx2-gemm.c). */
typedef enum panel_kind { U4, U5, K4, K5, U16, S8 } panel_kind;

/* Codes of 8 bits to 16 for S8: columns 0 and 2 of every four in the first half of the group's space, 1 and 3 in the second. */
INLINE void put_step(hth_panel *panel, int g, int step, __m256i codes, const int kind)
{
	__m256i *to = (__m256i *)panel->codes;
	if (kind == S8) {
		_mm256_store_si256(to + 16 * g + step, _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8));
		_mm256_store_si256(to + 16 * g + 8 + step, _mm256_srai_epi16(codes, 8));
	} else {
		_mm256_store_si256(to + 8 * g + step, codes);
	}
}

/* Eight rows' scales and minimums, by groups of 32. */
INLINE void unpack_scales(hth_panel *panel, const char *const row[8], int n_groups, scales_fn scales, panel_kind kind)
{
	__m256 s[8], m[8];
	__m256i t[8];
#pragma GCC unroll 8
	for (int r = 0; r < 8; r++) {
		scales(row[r], n_groups, &s[r], &m[r]);
		t[r] = _mm256_castps_si256(s[r]);
	}
	store_transposed(panel->scale, t);
	if (kind == S8)
		return;
	for (int r = 0; r < 8; r++)
		t[r] = _mm256_castps_si256(kind == U5 ? _mm256_fmadd_ps(s[r], _mm256_set1_ps(16), m[r]) : m[r]);
	store_transposed(panel->min, t);
}

/* What the rows' integer scales and minimums are in units of: their floats. A row whose float is 0 has integers 0 instead, so that its
 * minimums have a unit. */
typedef struct row_units {
	__m256 inverse;
	__m256i is_zero;
} row_units;
INLINE row_units store_units(hth_panel *panel, const float d[8])
{
	__m256 unit = _mm256_loadu_ps(d), is_zero = _mm256_cmp_ps(unit, _mm256_setzero_ps(), _CMP_EQ_OQ);
	unit = _mm256_blendv_ps(unit, _mm256_set1_ps(1), is_zero);
	_mm256_store_ps(AVX2_ROW_SCALE(panel), unit);
	return (row_units){_mm256_div_ps(_mm256_set1_ps(1), unit), _mm256_castps_si256(is_zero)};
}

/* By groups of 32, with the scales as integers. */
INLINE void unpack_scales_k(hth_panel *panel, const char *const row[8], int_scales_fn scales, panel_kind kind)
{
	__m256i s[8], m[8];
	float d[8];
#pragma GCC unroll 8
	for (int r = 0; r < 8; r++) {
		__m256 min;
		s[r] = scales(row[r], &d[r], &min);
		m[r] = _mm256_castps_si256(min);
	}
	transpose8(s);
	transpose8(m);
	row_units units = store_units(panel, d);
#pragma GCC unroll 8
	for (int g = 0; g < 8; g++) {
		__m256i scale = _mm256_andnot_si256(units.is_zero, s[g]);
		__m256 min = _mm256_mul_ps(_mm256_castsi256_ps(m[g]), units.inverse);
		if (kind == K5)
			min = _mm256_fmadd_ps(_mm256_cvtepi32_ps(scale), _mm256_set1_ps(16), min);
		_mm256_store_si256((__m256i *)AVX2_SCALE16(panel) + g, _mm256_or_si256(scale, _mm256_slli_epi32(scale, 16)));
		_mm256_store_ps(panel->min + 8 * g, min);
	}
}

/* The same by groups of 16. */
INLINE void unpack_scales16(hth_panel *panel, const char *const row[8], int_scales_fn scales, const bool has_min)
{
	__m256 m[8][2];
	__m256i t[8];
	float d[8];
#pragma GCC unroll 8
	for (int r = 0; r < 8; r++)
		t[r] = scales(row[r], &d[r], m[r]);
	transpose8(t);
	row_units units = store_units(panel, d);
	const __m256i low = _mm256_set1_epi32(0x01000100), high = _mm256_set1_epi32(0x03020302);
	const __m256i lanes = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C));
	for (int g = 0; g < 8; g++) {
		__m256i *to = (__m256i *)AVX2_SCALE16(panel) + 2 * g;
		__m256i scale = _mm256_andnot_si256(units.is_zero, t[g]);
		_mm256_store_si256(to, _mm256_shuffle_epi8(scale, _mm256_add_epi8(low, lanes)));
		_mm256_store_si256(to + 1, _mm256_shuffle_epi8(scale, _mm256_add_epi8(high, lanes)));
	}
	for (int i = 0; has_min && i < 2; i++) {
		for (int r = 0; r < 8; r++)
			t[r] = _mm256_castps_si256(m[r][i]);
		transpose8(t);
		for (int g = 0; g < 8; g++)
			_mm256_store_ps(panel->min + 64 * i + 8 * g, _mm256_mul_ps(_mm256_castsi256_ps(t[g]), units.inverse));
	}
}

INLINE void unpack(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n, put_codes_fn put_codes,
                   scales_fn scales, int_scales_fn int_scales, panel_kind kind, const bool has_min)
{
	const char *row[8];
	for (size_t r = 0; r < 8; r++)
		row[r] = r < n_rows ? (const char *)block + r * row_bytes : zeros;
	if (kind == U16)
		unpack_scales16(panel, row, int_scales, has_min);
	else if (kind == K4 || kind == K5)
		unpack_scales_k(panel, row, int_scales, kind);
	else
		unpack_scales(panel, row, (int)(n / 32), scales, kind);
	put_codes(panel, row, (int)(n / 32), put_step, (int)kind);
}

#define AVX2_TYPE(name, kind, has_min)                                                                                   \
	void hth_avx2_unpack_##name(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)      \
	{                                                                                                                \
		unpack(panel, block, row_bytes, n_rows, n, put_codes_##name, scales_##name, int_scales_##name, kind, has_min); \
	}
#define int_scales_q4_0 NULL
#define int_scales_q4_1 NULL
#define int_scales_q5_0 NULL
#define int_scales_q5_1 NULL
#define int_scales_q8_0 NULL
#define int_scales_iq4_nl NULL
#define int_scales_mxfp4 NULL
#define int_scales_iq4_xs NULL
AVX2_TYPE(q4_0, U4, true)
AVX2_TYPE(q4_1, U4, true)
AVX2_TYPE(q5_0, U5, true)
AVX2_TYPE(q5_1, U5, true)
AVX2_TYPE(q8_0, S8, false)
AVX2_TYPE(iq4_nl, S8, false)
AVX2_TYPE(mxfp4, U5, true)
AVX2_TYPE(q2_k, U16, true)
AVX2_TYPE(q3_k, U16, false)
AVX2_TYPE(q4_k, K4, true)
AVX2_TYPE(q5_k, K5, true)
AVX2_TYPE(q6_k, U16, false)
AVX2_TYPE(iq4_xs, S8, false)

/* ---- floats ---- */

INLINE void unpack_float(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n, size_t size, load_fn load)
{
	for (size_t half = 0; half < 2; half++) {
		for (size_t c = 0; c < n; c += 8) {
			__m256i v[8];
			for (size_t r = 0; r < 8; r++) {
				const char *p = (const char *)w + (8 * half + r) * row_bytes + c * size;
				__m256 x = _mm256_setzero_ps();
				if (8 * half + r < n_rows)
					x = c + 8 <= n ? load(p) : load_tail(p, n - c, size, load);
				v[r] = _mm256_castps_si256(x);
			}
			transpose8(v);
			/* The panel has room for the columns of the last, partial eight. */
			for (size_t i = 0; i < 8; i++)
				_mm256_store_si256((__m256i *)(panel + (c + i) * 16 + 8 * half), v[i]);
		}
	}
}

INLINE float sum_lanes(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE void gemv_float(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y, size_t size,
                       load_fn load, const bool near)
{
	for (size_t r = 0; r < n_rows; r++) {
		const char *p = (const char *)w + r * row_bytes;
		__m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
		size_t c = 0;
		for (; c + 32 <= cols; c += 32) {
			hth_ask_ahead(p + c * size, 32 * size, HTH_AHEAD, near);
			for (size_t i = 0; i < 4; i++)
				sum[i] = _mm256_fmadd_ps(load(p + (c + 8 * i) * size), _mm256_loadu_ps(x + c + 8 * i), sum[i]);
		}
		for (; c + 8 <= cols; c += 8)
			sum[0] = _mm256_fmadd_ps(load(p + c * size), _mm256_loadu_ps(x + c), sum[0]);
		if (c < cols)
			sum[1] = _mm256_fmadd_ps(load_tail(p + c * size, cols - c, size, load),
			                         load_tail((const char *)(x + c), cols - c, 4, load_f32), sum[1]);
		y[r] = sum_lanes(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
	}
}

/* R (1 or 2) rows by T (up to 4) tokens: what is widened serves all tokens, what is loaded of a token all rows. */
INLINE void few_tile(const char *p, size_t row_bytes, size_t cols, const float *const *x, float *y, size_t y_stride, size_t size,
                     load_fn load, const int R, const int T)
{
	__m256 sum[2][4];
#pragma GCC unroll 4
	for (int t = 0; t < T; t++)
		sum[0][t] = sum[1][t] = _mm256_setzero_ps();
#define STEP(LOAD_X, LOAD_W)                                                                    \
	do {                                                                                    \
		__m256 w[2];                                                                    \
		_Pragma("GCC unroll 2")                                                         \
		for (int r = 0; r < R; r++)                                                     \
			w[r] = LOAD_W(p + (size_t)r * row_bytes + c * size);                    \
		_Pragma("GCC unroll 4")                                                         \
		for (int t = 0; t < T; t++) {                                                   \
			__m256 v = LOAD_X((const char *)(x[t] + c));                            \
			__asm__("" : "+x"(v)); /* GCC would load it for each row */             \
			_Pragma("GCC unroll 2")                                                 \
			for (int r = 0; r < R; r++)                                             \
				sum[r][t] = _mm256_fmadd_ps(w[r], v, sum[r][t]);                \
		}                                                                               \
	} while (0)
#define LAST_X(at) load_tail(at, cols - c, 4, load_f32)
#define LAST_W(at) load_tail(at, cols - c, size, load)
	const bool near = hth_near();
	size_t c = 0;
	for (; c + 8 <= cols; c += 8) {
#pragma GCC unroll 2
		for (int r = 0; r < R; r++)
			hth_ask_lines_ahead(p + c * size, 1, (size_t)(R + r) * row_bytes, near); /* the next rows */
		STEP(load_f32, load);
	}
	if (c < cols)
		STEP(LAST_X, LAST_W);
#undef LAST_W
#undef LAST_X
#undef STEP
#pragma GCC unroll 2
	for (int r = 0; r < R; r++)
#pragma GCC unroll 4
		for (int t = 0; t < T; t++)
			y[(size_t)t * y_stride + (size_t)r] = sum_lanes(sum[r][t]);
}

enum { TILE_ROWS = 2 };
#include "engine/kernels/float-rows.h"

FLOAT_TYPE(avx2, f32, 4)
FLOAT_TYPE(avx2, f16, 2)
FLOAT_TYPE(avx2, bf16, 2)
