/* avx2-gemm.c - the multiplying loops of the AVX2 row.
 *
 * Codes: a block is 16 rows (two panels of 8; each 32-bit lane is 4 columns of a row) by 4 tokens, 8 vectors of sums in registers. A step
 * takes 4 columns: two vectors of weights and, for each token, four activations broadcast to all lanes; vpmaddubsw multiplies and adds
 * pairs into 16 bits. So 8 multiplications cost 6 loads: with one panel at a time, loads were what limited this loop, not products.
 *
 * Sums stay in 16 bits as long as their range allows and are widened once by vpmaddwd. A product of vpmaddubsw must not saturate, and
 * the last sum must fit; in between a sum may wrap, since additions modulo 2^16 come out right whatever their order. Activations are
 * -127 to 127, and a 16-bit lane of a group of 32 columns sums 16 of them (of a group of 16, 8 of them):
 *   u4   codes 0 to 15: a product is at most 2 * 15 * 127 = 3810, the sum of a group of 32 at most 16 * 15 * 127 = 30480.
 *   u5   codes 0 to 31: a product is at most 7874, but the sum up to 62992. So it starts from -16 * sum(q): codes less 16 lie in
 *        -16 to 15, and the sum in 16 * 16 * 127 = 32512 on either side. The minimum makes up for it (min + 16 scale).
 *   k4, k5: the same of blocks of 256, scales being 0 to 63: 2 * 32512 * 63 < 2^24.
 *   u6   codes 0 to 63 in groups of 16, offset 32: a product is at most 16002; from -32 * sum(q), the sum of a group of 16 is at most
 *        8 * 32 * 127 = 32512. Its scale is an integer of 8 bits: vpmaddwd multiplies with it instead of 1, and the two groups of
 *        16 meet in 32 bits (4 * 32512 * 128 < 2^24). One float for each row and 256 columns is left.
 *   u3   codes 0 to 7, offset 4: the same with smaller numbers. u2: codes 0 to 3 with minimums, no offset.
 *   s8   codes -128 to 127: vpmaddubsw would saturate. Codes are unpacked to 16 bits and vpmaddwd sums them in 32: as many
 *        multiplications as vpmaddubsw with a widening each, and no signs to move. Activations are widened once for all panels.
 * Then the sum becomes a float and meets the weights' scale and the activations' scale, once per group. Where the weights' scales are
 * integers times a float of the row's (all of k4, k5, u6, u3, u2), the widening multiplies by the integer, and the row's float comes once
 * per chunk: minimums are kept in units of it.
 *
 * Floats: 16 rows by 6 tokens of sums in 12 registers.
 */
#include "engine/kernels/avx2-fixed.h"

INLINE __m256i broadcast4(const void *q) { return _mm256_set1_epi32((int)load32(q)); }
INLINE __m256i aligned256(const void *p) { return _mm256_load_si256((const __m256i *)p); }

#define ADD16(sum, v)                                 \
	do {                                          \
		sum = _mm256_add_epi16(sum, v);       \
		IN_THIS_ORDER(sum);                   \
	} while (0)

enum { TOKENS = 4 }; /* of a block */

/* Steps [first, first + n) of the group at `codes` (P panels apart) into sum. */
INLINE void steps(__m256i sum[2][TOKENS], const hth_panel *panels, const int P, size_t at, const char *const *line, const int T,
                  const int first, const int n, const bool from_zero)
{
#pragma GCC unroll 8
	for (int k = first; k < first + n; k++) {
		__m256i w[2];
#pragma GCC unroll 2
		for (int p = 0; p < P; p++)
			w[p] = aligned256(panels[p].codes + at + 32 * k);
#pragma GCC unroll 4
		for (int t = 0; t < T; t++) {
			__m256i q = broadcast4(line[t] + 4 * k);
#pragma GCC unroll 2
			for (int p = 0; p < P; p++) {
				if (from_zero && k == first)
					sum[p][t] = _mm256_maddubs_epi16(w[p], q);
				else
					ADD16(sum[p][t], _mm256_maddubs_epi16(w[p], q));
			}
		}
	}
}

/* What sums of 32 columns start from. */
INLINE void start32(__m256i sum[2][TOKENS], const char *const *line, const int T, const bool centred)
{
#pragma GCC unroll 4
	for (int t = 0; centred && t < T; t++) {
		const hth_a8_line *a = (const hth_a8_line *)line[t];
		__m256i minus = _mm256_add_epi16(broadcast4(a->minus[0]), broadcast4(a->minus[1]));
		sum[0][t] = sum[1][t] = _mm256_slli_epi16(minus, 4);
	}
}

/* A chunk's sums in units of each row's float, and what they come to. */
INLINE void clear(__m256 units[2][TOKENS], const int P, const int T)
{
#pragma GCC unroll 2
	for (int p = 0; p < P; p++)
#pragma GCC unroll 4
		for (int t = 0; t < T; t++)
			units[p][t] = _mm256_setzero_ps();
}
INLINE void add_units(__m256 units[2][TOKENS], const hth_panel *panels, const int P, size_t t0, const int T, float *acc, size_t acc_stride)
{
#pragma GCC unroll 2
	for (int p = 0; p < P; p++)
#pragma GCC unroll 4
		for (int t = 0; t < T; t++) {
			float *to = acc + (size_t)p * acc_stride + 8 * (t0 + (size_t)t);
			_mm256_store_ps(to, _mm256_fmadd_ps(units[p][t], _mm256_load_ps(AVX2_ROW_SCALE(&panels[p])), _mm256_load_ps(to)));
		}
}

/* The first panels ask for the lines of the tokens that come next: they lie in runs of 2 KiB, too short for the processor to foresee.
 * (Where tokens are selected nothing is lost.) The others ask for what is there. */
#define ASK(p) ((p) == 0 ? HTH_NEAR_TOKENS * sizeof(hth_a8_line) : 0)

/* The activations' lines of T tokens. */
#define LINES(line)                                                    \
	const char *line[TOKENS];                                      \
	_Pragma("GCC unroll 4") for (int t = 0; t < T; t++)            \
		line[t] = acts->lines + acts->offset[t0 + (size_t)t]

/* Groups of 32 with minimums; centred: less 16. integer: scales are, by which the widening multiplies, and a chunk's sums are in units of
 * the rows' floats. P panels by T tokens. */
INLINE void block32(const hth_panel *panels, const int P, size_t n, const hth_gemm_acts *acts, size_t t0, const int T, float *acc,
                    size_t acc_stride, size_t ask, const bool centred, const bool integer)
{
	LINES(line);
	__m256 units[2][TOKENS];
	if (integer)
		clear(units, P, T);
	for (size_t g = 0; g < n / 32; g++) {
		__m256i sum[2][TOKENS];
		start32(sum, line, T, centred);
		steps(sum, panels, P, 256 * g, line, T, 0, 8, !centred);
#pragma GCC unroll 4
		for (int t = 0; t < T; t++) {
			const hth_a8_line *a = (const hth_a8_line *)line[t];
			__m256 d = _mm256_broadcast_ss(&a->d), s32 = _mm256_broadcast_ss(&a->s32);
#pragma GCC unroll 2
			for (int p = 0; p < P; p++) {
				float *to = acc + (size_t)p * acc_stride + 8 * (t0 + (size_t)t);
				__m256 min = _mm256_load_ps(panels[p].min + 8 * g);
				if (integer) {
					__m256i wide = _mm256_madd_epi16(sum[p][t], aligned256(AVX2_SCALE16(&panels[p]) + 16 * g));
					units[p][t] = _mm256_fmadd_ps(min, s32, units[p][t]);
					units[p][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide), d, units[p][t]);
				} else {
					__m256i wide = _mm256_madd_epi16(sum[p][t], _mm256_set1_epi16(1));
					__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(wide), d);
					__m256 old = _mm256_fmadd_ps(min, s32, _mm256_load_ps(to));
					_mm256_store_ps(to, _mm256_fmadd_ps(v, _mm256_load_ps(panels[p].scale + 8 * g), old));
				}
			}
			_mm_prefetch(line[t] + ask, _MM_HINT_T0);
			line[t] += acts->group_stride;
		}
	}
	if (integer)
		add_units(units, panels, P, t0, T, acc, acc_stride);
}

/* Groups of 16 with integer scales, whose codes have an offset of 2^shift, or (shift 0) minimums. */
INLINE void block16(const hth_panel *panels, const int P, size_t n, const hth_gemm_acts *acts, size_t t0, const int T, float *acc,
                    size_t acc_stride, size_t ask, const int shift)
{
	LINES(line);
	__m256 units[2][TOKENS];
	clear(units, P, T);
	for (size_t g = 0; g < n / 32; g++) {
		__m256i sum[2][TOKENS], first[2][TOKENS];
#pragma GCC unroll 2
		for (int h = 0; h < 2; h++) {
#pragma GCC unroll 4
			for (int t = 0; shift > 0 && t < T; t++) {
				const hth_a8_line *a = (const hth_a8_line *)line[t];
				sum[0][t] = sum[1][t] = _mm256_slli_epi16(broadcast4(a->minus[h]), shift);
			}
			steps(sum, panels, P, 256 * g, line, T, 4 * h, 4, shift == 0);
			if (h == 1)
				break;
#pragma GCC unroll 2
			for (int p = 0; p < P; p++) {
				__m256i scale = aligned256(AVX2_SCALE16(&panels[p]) + 32 * g);
#pragma GCC unroll 4
				for (int t = 0; t < T; t++)
					first[p][t] = _mm256_madd_epi16(sum[p][t], scale);
			}
		}
#pragma GCC unroll 4
		for (int t = 0; t < T; t++) {
			const hth_a8_line *a = (const hth_a8_line *)line[t];
			__m256 d = _mm256_broadcast_ss(&a->d);
#pragma GCC unroll 2
			for (int p = 0; p < P; p++) {
				__m256i second = _mm256_madd_epi16(sum[p][t], aligned256(AVX2_SCALE16(&panels[p]) + 32 * g + 16));
				if (shift == 0) {
					const float *min = panels[p].min + 16 * g, *s16 = a->s16;
					units[p][t] = _mm256_fmadd_ps(_mm256_load_ps(min), _mm256_broadcast_ss(s16), units[p][t]);
					units[p][t] = _mm256_fmadd_ps(_mm256_load_ps(min + 8), _mm256_broadcast_ss(s16 + 1), units[p][t]);
				}
				units[p][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(first[p][t], second)), d, units[p][t]);
			}
			_mm_prefetch(line[t] + ask, _MM_HINT_T0);
			line[t] += acts->group_stride;
		}
	}
	add_units(units, panels, P, t0, T, acc, acc_stride);
}

/* All tokens of P panels: 4 at a time, then 2, then 1. */
#define ALL_TOKENS(n_tokens, BLOCK)                                  \
	do {                                                         \
		size_t t = 0;                                        \
		for (; t + 4 <= (n_tokens); t += 4)                  \
			BLOCK(4);                                    \
		if (((n_tokens) & 2) != 0) {                         \
			BLOCK(2);                                    \
			t += 2;                                      \
		}                                                    \
		if (((n_tokens) & 1) != 0)                           \
			BLOCK(1);                                    \
	} while (0)

#define GEMM(kind, block)                                                                                                    \
	void hth_avx2_gemm_##kind(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc,      \
	                          size_t acc_stride)                                                                              \
	{                                                                                                                         \
		size_t p = 0;                                                                                                     \
		for (; p + 2 <= n_panels; p += 2)                                                                                 \
			ALL_TOKENS(acts->n_tokens, PAIR_##block);                                                                 \
		if (p < n_panels)                                                                                                 \
			ALL_TOKENS(acts->n_tokens, ONE_##block);                                                                  \
	}
#define PAIR_block32(T) block32(panels + p, 2, n, acts, t, T, acc + p * acc_stride, acc_stride, ASK(p), CENTRED, false)
#define ONE_block32(T) block32(panels + p, 1, n, acts, t, T, acc + p * acc_stride, acc_stride, ASK(p), CENTRED, false)
#define PAIR_block_k(T) block32(panels + p, 2, n, acts, t, T, acc + p * acc_stride, acc_stride, ASK(p), CENTRED, true)
#define ONE_block_k(T) block32(panels + p, 1, n, acts, t, T, acc + p * acc_stride, acc_stride, ASK(p), CENTRED, true)
#define PAIR_block16(T) block16(panels + p, 2, n, acts, t, T, acc + p * acc_stride, acc_stride, ASK(p), SHIFT)
#define ONE_block16(T) block16(panels + p, 1, n, acts, t, T, acc + p * acc_stride, acc_stride, ASK(p), SHIFT)
#define CENTRED false
GEMM(u4, block32)
GEMM(k4, block_k)
#undef CENTRED
#define CENTRED true
GEMM(u5, block32)
GEMM(k5, block_k)
#define SHIFT 5
GEMM(u6, block16)
#undef SHIFT
#define SHIFT 2
GEMM(u3, block16)
#undef SHIFT
#define SHIFT 0
GEMM(u2, block16)

/* Activations in 16 bits, columns 0 and 2 of every four first, then 1 and 3, as the panel has them; then the loop of fixed point. */
void hth_avx2_gemm_s8(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc, size_t acc_stride)
{
	hth_fixed_line wide[HTH_A8_COLS / 32][HTH_NEAR_TOKENS];
	uint32_t offset[HTH_NEAR_TOKENS];
	size_t n_tokens = acts->n_tokens;
	for (size_t t = 0; t < n_tokens; t++) {
		offset[t] = (uint32_t)(t * sizeof wide[0][0]);
		for (size_t g = 0; g < n / 32; g++) {
			const hth_a8_line *a = (const hth_a8_line *)(acts->lines + g * acts->group_stride + acts->offset[t]);
			__m256i q = aligned256(a->q), *to = (__m256i *)wide[g][t].q;
			_mm_prefetch((const char *)(a + HTH_NEAR_TOKENS), _MM_HINT_T0);
			_mm256_storeu_si256(to, _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8));
			_mm256_storeu_si256(to + 1, _mm256_srai_epi16(q, 8));
			wide[g][t].d = a->d;
		}
	}
	const hth_gemm_acts wide_acts = {.lines = (const char *)wide, .group_stride = sizeof wide[0], .offset = offset,
	                                 .n_tokens = n_tokens};
	gemm_fixed(panels, n_panels, n, &wide_acts, acc, acc_stride, 4, madd_add);
}

/* T tokens by 16 rows. */
INLINE void float_tile(const float *panel, size_t n, const float *const *x, float *acc, const int T)
{
	__m256 sum[6][2];
#pragma GCC unroll 6
	for (int t = 0; t < T; t++) {
		sum[t][0] = _mm256_load_ps(acc + 16 * t);
		sum[t][1] = _mm256_load_ps(acc + 16 * t + 8);
	}
	for (size_t c = 0; c < n; c++) {
		__m256 a = _mm256_load_ps(panel + 16 * c), b = _mm256_load_ps(panel + 16 * c + 8);
#pragma GCC unroll 6
		for (int t = 0; t < T; t++) {
			__m256 v = _mm256_broadcast_ss(x[t] + c);
			sum[t][0] = _mm256_fmadd_ps(a, v, sum[t][0]);
			sum[t][1] = _mm256_fmadd_ps(b, v, sum[t][1]);
		}
	}
#pragma GCC unroll 6
	for (int t = 0; t < T; t++) {
		_mm256_store_ps(acc + 16 * t, sum[t][0]);
		_mm256_store_ps(acc + 16 * t + 8, sum[t][1]);
	}
}

void hth_avx2_gemm_float(const float *panel, size_t n, const float *const *x, size_t n_tokens, float *acc)
{
	size_t t = 0;
	for (; t + 6 <= n_tokens; t += 6)
		float_tile(panel, n, x + t, acc + 16 * t, 6);
	x += t;
	acc += 16 * t;
	switch (n_tokens - t) {
	case 5: float_tile(panel, n, x, acc, 5); break;
	case 4: float_tile(panel, n, x, acc, 4); break;
	case 3: float_tile(panel, n, x, acc, 3); break;
	case 2: float_tile(panel, n, x, acc, 2); break;
	case 1: float_tile(panel, n, x, acc, 1); break;
	}
}
