/* kernels-avx512.c - the AVX-512 row of the table (F, BW, DQ, VL, VNNI, VBMI; GFNI and BMI2), and its vector operations.
 *
 * Products are in avx512-gemm.c, avx512-fixed.c, avx512-few.c and avx512-rows.c. Ends of vectors are masked. exp is the polynomial
 * of the AVX2 row.
 */
#include "engine/kernels/avx512.h"
#include "engine/kernels/cpu.h"
#include "base/mem.h"

#include <math.h>

/* The low bytes of 16 + 16 dwords. */
INLINE __m256i low_bytes(__m512i a, __m512i b)
{
#define FOUR(at) (0x0C080400u + 0x01010101u * (at))
	const __m256i bytes = _mm256_setr_epi32(FOUR(0), FOUR(16), FOUR(32), FOUR(48), FOUR(64), FOUR(80), FOUR(96), FOUR(112));
#undef FOUR
	return _mm512_castsi512_si256(_mm512_permutex2var_epi8(a, _mm512_castsi256_si512(bytes), b));
}

/* Two lines of 32 columns, from columns over d as integers; d: of the first line in the lower half, of the second in the upper one. All
 * that a line has is put together in vectors: scalars would go through memory one by one. */
INLINE void make_two_lines(__m512i lines[2], __m512i q, __m512 d)
{
	/* Sums of two columns in 16 bits, then of the four dwords of each quarter: columns 0 and 1, and 2 and 3, of every four. */
	__m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), q);
	pairs = _mm512_add_epi16(pairs, _mm512_shuffle_epi32(pairs, 0x4E));
	pairs = _mm512_add_epi16(pairs, _mm512_shuffle_epi32(pairs, 0xB1));
	__m512i minus = _mm512_sub_epi16(_mm512_setzero_si512(), pairs), minus_other = _mm512_shuffle_i64x2(minus, minus, 0xB1);
	/* Of the quarter's 16 columns, and of the line's other 16. */
	__m512i sum = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)), other = _mm512_shuffle_i64x2(sum, sum, 0xB1);
	/* A line's first quarter is d, s32, s16 (d times 1, both sums, the first, the second), its second n16 and minus. */
	enum { ONE = 0x0101, BOTH = 0x0202, OTHER = 0x1818, MINUS_OTHER = 0x4040, MINUS = 0x8080, INTS = 0x3030 };
	__m512i sums = _mm512_mask_mov_epi32(sum, OTHER, other);
	sums = _mm512_mask_add_epi32(sums, BOTH, sum, other);
	sums = _mm512_mask_mov_epi32(sums, ONE, _mm512_set1_epi32(1));
	__m512i end = _mm512_castps_si512(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), d));
	end = _mm512_mask_slli_epi32(end, INTS, _mm512_sub_epi32(_mm512_setzero_si512(), sums), 7);
	end = _mm512_mask_mov_epi32(end, MINUS_OTHER, minus_other);
	end = _mm512_mask_mov_epi32(end, MINUS, minus);
	lines[0] = _mm512_shuffle_i64x2(q, end, 0x44);
	lines[1] = _mm512_shuffle_i64x2(q, end, 0xEE);
}
_Static_assert(offsetof(hth_a8_line, d) == 32 && offsetof(hth_a8_line, s16) == 40 && offsetof(hth_a8_line, n16) == 48 &&
                   offsetof(hth_a8_line, minus) == 56,
               "as make_two_lines puts it together");

/* n columns, at most AVX512_LINES lines of them; whole: exactly. */
INLINE void quantize_lines(hth_a8_line *dst, size_t stride, const float *x, size_t n, const bool whole)
{
	__m512 v[2 * AVX512_LINES], max[AVX512_LINES];
#pragma GCC unroll 16
	for (size_t i = 0; i < 2 * AVX512_LINES; i++)
		v[i] = whole ? _mm512_loadu_ps(x + 16 * i) : _mm512_maskz_loadu_ps(n > 16 * i ? first(n - 16 * i) : 0, x + 16 * i);
	/* The operand order drops NaN, as the comparison of the reference does. */
#pragma GCC unroll 8
	for (size_t i = 0; i < AVX512_LINES; i++)
		max[i] = _mm512_max_ps(_mm512_abs_ps(v[2 * i + 1]), _mm512_max_ps(_mm512_abs_ps(v[2 * i]), _mm512_setzero_ps()));
	__m512 m = largest_of_each(max), d = _mm512_mul_ps(m, _mm512_set1_ps(1.0f / 127.0f));
	_Alignas(64) float id[16];
	_mm512_store_ps(id, _mm512_maskz_div_ps(_mm512_cmp_ps_mask(m, _mm512_setzero_ps(), _CMP_GT_OQ), _mm512_set1_ps(127.0f), m));
#pragma GCC unroll 8
	for (size_t i = 0; i < AVX512_LINES; i += 2) {
		__m512i q[4], lines[2];
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++)
			q[k] = _mm512_cvtps_epi32(_mm512_mul_ps(v[2 * i + k], _mm512_set1_ps(id[i + k / 2])));
		__m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(low_bytes(q[0], q[1])), low_bytes(q[2], q[3]), 1);
		const __m512i of_line = _mm512_inserti64x4(_mm512_set1_epi32((int)i), _mm256_set1_epi32((int)i + 1), 1);
		make_two_lines(lines, both, _mm512_permutexvar_ps(of_line, d));
		for (size_t k = 0; k < 2; k++)
			if (whole || n > 32 * (i + k))
				_mm512_store_si512((char *)dst + (i + k) * stride, lines[k]);
	}
}

static void quantize_acts(hth_a8_line *dst, size_t stride, const float *x, size_t n)
{
	enum { COLS = 32 * AVX512_LINES };
	for (; n >= COLS; n -= COLS, x += COLS, dst = (hth_a8_line *)((char *)dst + AVX512_LINES * stride))
		quantize_lines(dst, stride, x, COLS, true);
	if (n > 0)
		quantize_lines(dst, stride, x, n, false);
}

INLINE __m512 exp16(__m512 x)
{
	__mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.33654f), _CMP_NLT_UQ);
	x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.33654f)), _mm512_set1_ps(88.72283f));
	__m512 k = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 8);
	__m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693359375f), x);
	r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-2.12194440e-4f), r);
	__m512 p = _mm512_set1_ps(1.0f / 720);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
	return _mm512_maskz_scalef_ps(normal, p, k);
}

static float dot_f32(const float *a, const float *b, size_t n)
{
	__m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
	size_t i = 0;
	for (; i + 64 <= n; i += 64)
		for (size_t k = 0; k < 4; k++)
			s[k] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16 * k), _mm512_loadu_ps(b + i + 16 * k), s[k]);
	for (; i < n; i += 16)
		s[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(first(n - i), a + i), _mm512_maskz_loadu_ps(first(n - i), b + i), s[0]);
	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

static float dot_f16(const float *a, const uint16_t *b, size_t n)
{
	__m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
	size_t i = 0;
	for (; i + 64 <= n; i += 64)
		for (size_t k = 0; k < 4; k++)
			s[k] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16 * k), load_f16(b + i + 16 * k, 0xFFFF), s[k]);
	for (; i < n; i += 16)
		s[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(first(n - i), a + i), load_f16(b + i, first(n - i)), s[0]);
	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

static void axpy_f32(float *y, const float *x, float a, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 k = first(n - i);
		__m512 v = _mm512_fmadd_ps(_mm512_set1_ps(a), _mm512_maskz_loadu_ps(k, x + i), _mm512_maskz_loadu_ps(k, y + i));
		_mm512_mask_storeu_ps(y + i, k, v);
	}
}

static void axpy_f16(float *y, const uint16_t *x, float a, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 k = first(n - i);
		_mm512_mask_storeu_ps(y + i, k, _mm512_fmadd_ps(_mm512_set1_ps(a), load_f16(x + i, k), _mm512_maskz_loadu_ps(k, y + i)));
	}
}

static void f32_to_f16(uint16_t *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 k = first(n - i);
		_mm256_mask_storeu_epi16(y + i, k, _mm512_cvtps_ph(_mm512_maskz_loadu_ps(k, x + i), _MM_FROUND_TO_NEAREST_INT));
	}
}

static void rms_norm(float *y, const float *x, const float *weight, float eps, size_t n)
{
	__m512 scale = _mm512_set1_ps(1.0f / sqrtf(dot_f32(x, x, n) / (float)n + eps));
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 k = first(n - i);
		__m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, x + i), scale);
		if (weight != NULL)
			v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(k, weight + i));
		_mm512_mask_storeu_ps(y + i, k, v);
	}
}

static float softmax(float *x, size_t n)
{
	__m512 m = _mm512_set1_ps(-INFINITY);
	for (size_t i = 0; i < n; i += 16)
		m = _mm512_mask_max_ps(m, first(n - i), _mm512_maskz_loadu_ps(first(n - i), x + i), m);
	float max = _mm512_reduce_max_ps(m);
	if (max == -INFINITY)
		return -INFINITY;
	m = _mm512_set1_ps(max);
	__m512 sum = _mm512_setzero_ps();
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 k = first(n - i);
		__m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(k, x + i), m));
		_mm512_mask_storeu_ps(x + i, k, e);
		sum = _mm512_mask_add_ps(sum, k, sum, e);
	}
	float total = _mm512_reduce_add_ps(sum);
	__m512 inverse = _mm512_set1_ps(1.0f / total);
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 k = first(n - i);
		_mm512_mask_storeu_ps(x + i, k, _mm512_mul_ps(_mm512_maskz_loadu_ps(k, x + i), inverse));
	}
	return max + logf(total);
}

/* gate / (1 + e^-u) * up */
INLINE __m512 gated(__m512 gate, __m512 u, __m512 up)
{
	__m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), u));
	return _mm512_mul_ps(_mm512_div_ps(gate, _mm512_add_ps(_mm512_set1_ps(1.0f), e)), up);
}
INLINE __m512 silu16(__m512 gate, __m512 up) { return gated(gate, gate, up); }
/* g / 2 * (1 + tanh(u)) is g / (1 + e^(-2 u)) */
INLINE __m512 gelu16(__m512 g, __m512 up)
{
	__m512 cubic = _mm512_fmadd_ps(_mm512_mul_ps(g, g), _mm512_set1_ps(0.044715f), _mm512_set1_ps(1.0f));
	return gated(g, _mm512_mul_ps(_mm512_mul_ps(g, cubic), _mm512_set1_ps(1.5957691216057308f)), up);
}

/* g * erfc(-g / sqrt(2)) / 2, by the erf of Abramowitz and Stegun's 7.1.26: 1.5e-7 at most from it. */
INLINE __m512 gelu_erf16(__m512 g, __m512 up)
{
	const __m512 one = _mm512_set1_ps(1.0f);
	__m512 z = _mm512_mul_ps(_mm512_abs_ps(g), _mm512_set1_ps(0.70710678118654752f));
	__m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one)), sum = _mm512_set1_ps(1.061405429f);
	sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(-1.453152027f));
	sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(1.421413741f));
	sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(-0.284496736f));
	sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(0.254829592f));
	__m512 e = exp16(_mm512_mul_ps(z, _mm512_sub_ps(_mm512_setzero_ps(), z)));
	__m512 half = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(sum, t), e), _mm512_set1_ps(0.5f));
	half = _mm512_mask_sub_ps(half, _mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_GE_OQ), one, half);
	return _mm512_mul_ps(_mm512_mul_ps(g, half), up);
}

#define GATED(name, op)                                                                                     \
	static void name(float *y, const float *gate, const float *up, size_t n)                            \
	{                                                                                                   \
		for (size_t i = 0; i < n; i += 16) {                                                        \
			__mmask16 k = first(n - i);                                                         \
			__m512 v = op(_mm512_maskz_loadu_ps(k, gate + i), _mm512_maskz_loadu_ps(k, up + i)); \
			_mm512_mask_storeu_ps(y + i, k, v);                                                 \
		}                                                                                           \
	}
GATED(silu_mul, silu16)
GATED(gelu_mul, gelu16)
GATED(gelu_erf_mul, gelu_erf16)

/* By tanh(a) = sign (1 - e^-2|a|) / (1 + e^-2|a|); what is not a number stays so. */
static void soft_cap(float *x, float cap, size_t n)
{
	const __m512 one = _mm512_set1_ps(1.0f), limit = _mm512_set1_ps(cap);
	const __m512i sign = _mm512_set1_epi32(INT32_MIN);
	for (size_t i = 0; i < n; i += 16) {
		__mmask16 k = first(n - i);
		__m512 v = _mm512_maskz_loadu_ps(k, x + i), a = _mm512_div_ps(v, limit);
		__m512 e = exp16(_mm512_mul_ps(_mm512_abs_ps(a), _mm512_set1_ps(-2.0f)));
		__m512 y = _mm512_mul_ps(_mm512_div_ps(_mm512_sub_ps(one, e), _mm512_add_ps(one, e)), limit);
		y = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(sign, _mm512_castps_si512(v), _mm512_castps_si512(y), 0xCA));
		_mm512_mask_storeu_ps(x + i, k, _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v));
	}
}

static uint64_t read_bytes(const void *p, size_t n)
{
	__m512i s[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
	for (const char *at = p, *end = at + n; at < end; at += 256) {
		if ((uintptr_t)at % 4096 == 0) /* the processor prefetches within a page, but not its address */
			_mm_prefetch(at + HTH_AHEAD, _MM_HINT_T0);
		for (int i = 0; i < 4; i++)
			s[i] = _mm512_add_epi64(s[i], _mm512_loadu_si512(at + 64 * i));
	}
	s[0] = _mm512_add_epi64(_mm512_add_epi64(s[0], s[1]), _mm512_add_epi64(s[2], s[3]));
	uint64_t lanes[8], sum = 0; /* unsigned: these sums wrap */
	_mm512_storeu_si512(lanes, s[0]);
	for (int i = 0; i < 8; i++)
		sum += lanes[i];
	return sum;
}

/* Written as instructions, so that the compiler neither drops products nor keeps sums in memory. */
#define PEAK_LOOP(type, zero, op)                                                                                         \
	type w = zero(), a = zero(), s0 = w, s1 = w, s2 = w, s3 = w, s4 = w, s5 = w, s6 = w, s7 = w, s8 = w, s9 = w;      \
	for (size_t k = 0; k < rounds; k++) {                                                                             \
		__asm__ volatile(op " %11, %10, %0\n\t" op " %11, %10, %1\n\t" op " %11, %10, %2\n\t" op " %11, %10, %3\n\t" op \
		                    " %11, %10, %4\n\t" op " %11, %10, %5\n\t" op " %11, %10, %6\n\t" op " %11, %10, %7\n\t" op \
		                    " %11, %10, %8\n\t" op " %11, %10, %9"                                                \
		                 : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8), \
		                   "+v"(s9)                                                                               \
		                 : "v"(w), "v"(a));                                                                       \
	}

static uint64_t mac_codes(size_t rounds)
{
	PEAK_LOOP(__m512i, _mm512_setzero_si512, "vpdpbusd")
	return rounds * 10 * 64;
}
static uint64_t mac_fixed(size_t rounds)
{
	PEAK_LOOP(__m512i, _mm512_setzero_si512, "vpdpwssd")
	return rounds * 10 * 32;
}
static uint64_t mac_float(size_t rounds)
{
	PEAK_LOOP(__m512, _mm512_setzero_ps, "vfmadd231ps")
	return rounds * 10 * 16;
}

#define CODES(name, kind) {.unpack = hth_avx512_unpack_##name, .gemm = hth_avx512_gemm_##kind, .few = hth_avx512_few_##name}
#define CODES_ONE(name, kind) \
	{.unpack = hth_avx512_unpack_##name, .gemm = hth_avx512_gemm_##kind, .one = hth_avx512_one_##name, .few = hth_avx512_few_##name}
#define FLOATS(name) {.unpack_float = hth_avx512_unpack_##name, .gemv_float = hth_avx512_gemv_##name, .few_float = hth_avx512_few_##name}

#define HALVES(name) {.unpack = hth_avx512_fix_##name, .gemm = hth_avx512_gemm_fixed, .unpack_float = hth_avx512_unpack_##name, \
	.gemv_float = hth_avx512_gemv_##name, .few_float = hth_avx512_few_##name, .own_panel = true}

static const hth_arrangement by_32 = {512, sizeof(hth_a8_lanes), hth_avx512_arrange_by_32};
static const hth_arrangement one = {512, sizeof(hth_a8_one), hth_avx512_arrange_one};
static const hth_arrangement by_16 = {256, sizeof(hth_a8_lanes16), hth_avx512_arrange_by_16};

const hth_kernel_row hth_kernels_avx512 = {
    .vec = {"avx512", dot_f32, dot_f16, axpy_f32, axpy_f16, f32_to_f16, rms_norm, softmax, silu_mul, gelu_mul, gelu_erf_mul, soft_cap},
    .usable = hth_cpu_has_avx512,
    .group_rows = AVX512_ROWS,
    .near_tokens = 4 * HTH_NEAR_TOKENS, /* with 32 it is 5% slower: long runs of lines and of sums are what the processor foresees */
    .float_rows = AVX512_FLOAT_ROWS,
    .few_tokens = 32,
    .few_tokens_halves = 16, /* Zen 4: 24 tokens through panels 8 to 26% faster, 32 10 to 40% */
    .few_tokens_fixed = 15,
    .quantize_acts = quantize_acts,
    .fix_acts = hth_avx512_fix_acts,
    .few_acts = {&by_32, &by_16},
    .one_acts = &one,
    .gemm_float = hth_avx512_gemm_float,
    .read_bytes = read_bytes,
    .mac_peak = {mac_codes, mac_codes, mac_fixed, mac_float},
    .types = {
        [HTH_F32] = FLOATS(f32), [HTH_F16] = HALVES(f16), [HTH_BF16] = HALVES(bf16),
        [HTH_Q4_0] = CODES(q4_0, offset), [HTH_Q4_1] = CODES(q4_1, min), [HTH_Q5_0] = CODES(q5_0, offset),
        [HTH_Q5_1] = CODES(q5_1, min), [HTH_Q8_0] = CODES(q8_0, offset), [HTH_Q2_K] = CODES(q2_k, min16),
        [HTH_Q3_K] = CODES(q3_k, offset16), [HTH_Q4_K] = CODES_ONE(q4_k, min), [HTH_Q5_K] = CODES_ONE(q5_k, min),
        [HTH_Q6_K] = CODES(q6_k, offset16), [HTH_IQ4_NL] = CODES(iq4_nl, offset), [HTH_IQ4_XS] = CODES(iq4_xs, offset),
        [HTH_MXFP4] = CODES(mxfp4, offset),
    },
};
