/* avx2-gemm.c - the multiplying loops of the AVX2 row.
 *
 * Codes: eight vectors hold 8 rows by 32 columns of weights (each 32-bit lane is 4 columns of a row) and stay in registers
 * while the tokens pass. Four activations are broadcast to all lanes, vpmaddubsw multiplies and adds pairs into 16 bits.
 * How many such sums fit in 16 bits before they must be widened depends on the codes' range:
 *     0..15:  8 sums of at most 2 * 15 * 127 = 3810   = 30480: the whole group of 32 columns, one widening
 *     0..31:  4 sums of at most 7874                  = 31496
 *     0..63:  2 sums of at most 16002                 = 32004
 *     -128..127: none (32512 each), and a sign to move from the weight to the activation first
 * so a group of 32 columns of 8 rows (256 products) costs 8 multiplications, 7 additions and 1 widening in the first case.
 * Then the sum becomes a float and meets the weights' scale and the activations' scale, once per group.
 *
 * Floats: 16 rows by 6 tokens of sums in 12 registers.
 */
#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx2.h"

INLINE __m256i broadcast4(const int8_t *q) { return _mm256_set1_epi32((int)load32(q)); }
INLINE __m256i add16(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
INLINE __m256i add32(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
INLINE __m256i widen(__m256i a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }

#define LOAD_WEIGHTS(panel, g)                                              \
	const __m256i *wp = (const __m256i *)((panel)->codes + 256 * (g));  \
	__m256i w0 = wp[0], w1 = wp[1], w2 = wp[2], w3 = wp[3], w4 = wp[4], w5 = wp[5], w6 = wp[6], w7 = wp[7]
/* The empty instruction keeps the order of the sums as written: reordered, they need more registers than there are, and
 * weights are read from the stack again for every token. */
#define ADD(sum, v)               \
	sum = add16(sum, v);      \
	__asm__("" : "+x"(sum))
#define PRODUCT(i) _mm256_maddubs_epi16(w##i, broadcast4(q + 4 * i))

/* acc += scale * d * dot + min * s32 */
INLINE void finish_group(float *acc, __m256i dot, __m256 scale, __m256 min, const hth_a8_line *a)
{
	__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_broadcast_ss(&a->d));
	__m256 sum = _mm256_fmadd_ps(min, _mm256_broadcast_ss(&a->s32), _mm256_load_ps(acc));
	_mm256_store_ps(acc, _mm256_fmadd_ps(v, scale, sum));
}

INLINE void gemm_u4(const hth_panel *panel, size_t n, const hth_gemm_acts *acts, float *acc)
{
	for (size_t g = 0; g < n / 32; g++) {
		LOAD_WEIGHTS(panel, g);
		__m256 scale = _mm256_load_ps(panel->scale + 8 * g), min = _mm256_load_ps(panel->min + 8 * g);
		const char *lines = acts->lines + g * acts->group_stride;
		const uint32_t *offset = acts->offset;
		for (size_t t = 0, n_tokens = acts->n_tokens; t < n_tokens; t++) {
			const hth_a8_line *a = (const hth_a8_line *)(lines + offset[t]);
			const int8_t *q = a->q;
			__m256i sum = PRODUCT(0);
			ADD(sum, PRODUCT(1));
			ADD(sum, PRODUCT(2));
			ADD(sum, PRODUCT(3));
			ADD(sum, PRODUCT(4));
			ADD(sum, PRODUCT(5));
			ADD(sum, PRODUCT(6));
			ADD(sum, PRODUCT(7));
			finish_group(acc + 8 * t, widen(sum), scale, min, a);
		}
	}
}

INLINE void gemm_u5(const hth_panel *panel, size_t n, const hth_gemm_acts *acts, float *acc)
{
	for (size_t g = 0; g < n / 32; g++) {
		LOAD_WEIGHTS(panel, g);
		__m256 scale = _mm256_load_ps(panel->scale + 8 * g), min = _mm256_load_ps(panel->min + 8 * g);
		const char *lines = acts->lines + g * acts->group_stride;
		const uint32_t *offset = acts->offset;
		for (size_t t = 0, n_tokens = acts->n_tokens; t < n_tokens; t++) {
			const hth_a8_line *a = (const hth_a8_line *)(lines + offset[t]);
			const int8_t *q = a->q;
			__m256i first = PRODUCT(0), second;
			ADD(first, PRODUCT(1));
			ADD(first, PRODUCT(2));
			ADD(first, PRODUCT(3));
			second = PRODUCT(4);
			ADD(second, PRODUCT(5));
			ADD(second, PRODUCT(6));
			ADD(second, PRODUCT(7));
			finish_group(acc + 8 * t, add32(widen(first), widen(second)), scale, min, a);
		}
	}
}

INLINE void gemm_u6x16(const hth_panel *panel, size_t n, const hth_gemm_acts *acts, float *acc)
{
	for (size_t g = 0; g < n / 32; g++) {
		LOAD_WEIGHTS(panel, g);
		const float *scale = panel->scale + 16 * g, *min = panel->min + 16 * g;
		const char *lines = acts->lines + g * acts->group_stride;
		const uint32_t *offset = acts->offset;
		for (size_t t = 0, n_tokens = acts->n_tokens; t < n_tokens; t++) {
			const hth_a8_line *a = (const hth_a8_line *)(lines + offset[t]);
			const int8_t *q = a->q;
			__m256i first = PRODUCT(0), second = PRODUCT(4), more = PRODUCT(2);
			ADD(first, PRODUCT(1));
			ADD(more, PRODUCT(3));
			first = add32(widen(first), widen(more));
			more = PRODUCT(6);
			ADD(second, PRODUCT(5));
			ADD(more, PRODUCT(7));
			second = add32(widen(second), widen(more));
			__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(first), _mm256_load_ps(scale));
			v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), _mm256_load_ps(scale + 8), v);
			__m256 sum = _mm256_fmadd_ps(_mm256_load_ps(min), _mm256_broadcast_ss(&a->s16[0]), _mm256_load_ps(acc + 8 * t));
			sum = _mm256_fmadd_ps(_mm256_load_ps(min + 8), _mm256_broadcast_ss(&a->s16[1]), sum);
			_mm256_store_ps(acc + 8 * t, _mm256_fmadd_ps(v, _mm256_broadcast_ss(&a->d), sum));
		}
	}
}

INLINE void gemm_s8(const hth_panel *panel, size_t n, const hth_gemm_acts *acts, float *acc)
{
	for (size_t g = 0; g < n / 32; g++) {
		const __m256i *signs = (const __m256i *)(panel->codes + 256 * g);
		__m256i w0 = _mm256_abs_epi8(signs[0]), w1 = _mm256_abs_epi8(signs[1]), w2 = _mm256_abs_epi8(signs[2]);
		__m256i w3 = _mm256_abs_epi8(signs[3]), w4 = _mm256_abs_epi8(signs[4]), w5 = _mm256_abs_epi8(signs[5]);
		__m256i w6 = _mm256_abs_epi8(signs[6]), w7 = _mm256_abs_epi8(signs[7]);
		__m256 scale = _mm256_load_ps(panel->scale + 8 * g);
		const char *lines = acts->lines + g * acts->group_stride;
		const uint32_t *offset = acts->offset;
		for (size_t t = 0, n_tokens = acts->n_tokens; t < n_tokens; t++) {
			const hth_a8_line *a = (const hth_a8_line *)(lines + offset[t]);
			const int8_t *q = a->q;
#define SIGNED(i) widen(_mm256_maddubs_epi16(w##i, _mm256_sign_epi8(broadcast4(q + 4 * i), signs[i])))
#define ADD_SIGNED(i)                        \
	sum = add32(sum, SIGNED(i));         \
	__asm__("" : "+x"(sum))
			__m256i sum = SIGNED(0);
			ADD_SIGNED(1);
			ADD_SIGNED(2);
			ADD_SIGNED(3);
			ADD_SIGNED(4);
			ADD_SIGNED(5);
			ADD_SIGNED(6);
			ADD_SIGNED(7);
			__m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_broadcast_ss(&a->d));
			_mm256_store_ps(acc + 8 * t, _mm256_fmadd_ps(v, scale, _mm256_load_ps(acc + 8 * t)));
		}
	}
}

#define GEMM(kind)                                                                                                     \
	void hth_avx2_gemm_##kind(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts,      \
	                          float *acc, size_t acc_stride)                                                      \
	{                                                                                                              \
		for (size_t p = 0; p < n_panels; p++)                                                                  \
			gemm_##kind(&panels[p], n, acts, acc + p * acc_stride);                                        \
	}
GEMM(u4)
GEMM(u5)
GEMM(u6x16)
GEMM(s8)

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
