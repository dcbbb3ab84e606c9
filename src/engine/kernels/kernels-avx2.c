/* kernels-avx2.c - the AVX2 row of the table (with FMA and F16C), and its vector operations; and the row with VNNI besides, which differs
 * in the products of integers.
 *
 * Products are in avx2-gemm.c, avx2-fixed.c, avx2-few.c and avx2-rows.c, avxvnni-gemm.c and avxvnni-few.c. exp is a polynomial of our own:
 * 2^k * e^r with r within ln(2) / 2, degree 6, about 1 ulp, 0 below -87.3 (where floats become subnormal).
 */
#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx2.h"
#include "engine/kernels/avxvnni.h"
#include "engine/kernels/cpu.h"
#include "base/mem.h"

#include <math.h>

static void quantize_acts(hth_a8_line *dst, size_t stride, const float *x, size_t n)
{
	float padded[32] = {0};
	for (; n > 0; dst = (hth_a8_line *)((char *)dst + stride)) {
		if (n < 32) {
			memcpy(padded, x, n * sizeof *x);
			x = padded;
			n = 32;
		}
		__m256 v[4], sign = _mm256_set1_ps(-0.0f), max = _mm256_setzero_ps();
		for (int i = 0; i < 4; i++) {
			v[i] = _mm256_loadu_ps(x + 8 * i);
			/* The operand order drops NaN, as the comparison of the reference does. */
			max = _mm256_max_ps(_mm256_andnot_ps(sign, v[i]), max);
		}
		__m128 top = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
		top = _mm_max_ps(top, _mm_movehl_ps(top, top));
		top = _mm_max_ss(top, _mm_movehdup_ps(top));
		float m = _mm_cvtss_f32(top), d = m * (1.0f / 127.0f), id = m > 0 ? 127.0f / m : 0;
		__m256i q[4];
		for (int i = 0; i < 4; i++)
			q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(id)));
		/* The sums of columns 0 and 1, and 2 and 3, of every four: first 16 columns, second 16; and of both together. */
		__m256i quad = _mm256_hadd_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
		__m128i pairs = _mm_add_epi32(_mm256_castsi256_si128(quad), _mm256_extracti128_si256(quad, 1));
		__m128i sums = _mm_hadd_epi32(pairs, pairs), minus = _mm_sub_epi32(_mm_setzero_si128(), pairs);
		int sum0 = _mm_cvtsi128_si32(sums), sum1 = _mm_extract_epi32(sums, 1);
		__m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
		packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
		_mm256_store_si256((__m256i *)dst->q, packed);
		dst->d = d;
		dst->s32 = d * (float)(sum0 + sum1);
		dst->s16[0] = d * (float)sum0;
		dst->s16[1] = d * (float)sum1;
		dst->n16[0] = -128 * sum0;
		dst->n16[1] = -128 * sum1;
		_mm_storel_epi64((__m128i *)dst->minus, _mm_packs_epi32(minus, minus));
		x += 32;
		n -= 32;
	}
}

INLINE float sum_lanes(__m256 v)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE __m256 exp8(__m256 x)
{
	__m256 zero = _mm256_cmp_ps(x, _mm256_set1_ps(-87.33654f), _CMP_LT_OQ);
	x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.33654f)), _mm256_set1_ps(88.72283f));
	__m256 k = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	/* ln(2) in two parts, the first short enough for k times it to be exact */
	__m256 r = _mm256_fnmadd_ps(k, _mm256_set1_ps(0.693359375f), x);
	r = _mm256_fnmadd_ps(k, _mm256_set1_ps(-2.12194440e-4f), r);
	__m256 p = _mm256_set1_ps(1.0f / 720);
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
	/* 2^k in two steps: k may be 128 */
	__m256i ki = _mm256_cvtps_epi32(k), half = _mm256_srai_epi32(ki, 1), rest = _mm256_sub_epi32(ki, half);
	__m256i bias = _mm256_set1_epi32(127);
	p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
	p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
	return _mm256_andnot_ps(zero, p);
}

static float dot_f32(const float *a, const float *b, size_t n)
{
	__m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
	size_t i = 0;
	for (; i + 32 <= n; i += 32)
		for (size_t k = 0; k < 4; k++)
			s[k] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * k), _mm256_loadu_ps(b + i + 8 * k), s[k]);
	for (; i + 8 <= n; i += 8)
		s[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s[0]);
	float sum = sum_lanes(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
	for (; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static float dot_f16(const float *a, const uint16_t *b, size_t n)
{
	__m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
	size_t i = 0;
	for (; i + 32 <= n; i += 32)
		for (size_t k = 0; k < 4; k++)
			s[k] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * k), _mm256_cvtph_ps(load128(b + i + 8 * k)), s[k]);
	for (; i + 8 <= n; i += 8)
		s[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_cvtph_ps(load128(b + i)), s[0]);
	float sum = sum_lanes(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
	for (; i < n; i++)
		sum += a[i] * half_to_float(b[i]);
	return sum;
}

static void axpy_f32(float *y, const float *x, float a, size_t n)
{
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(y + i, _mm256_fmadd_ps(_mm256_set1_ps(a), _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
	for (; i < n; i++)
		y[i] += a * x[i];
}

static void axpy_f16(float *y, const uint16_t *x, float a, size_t n)
{
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(y + i, _mm256_fmadd_ps(_mm256_set1_ps(a), _mm256_cvtph_ps(load128(x + i)), _mm256_loadu_ps(y + i)));
	for (; i < n; i++)
		y[i] += a * half_to_float(x[i]);
}

static void f32_to_f16(uint16_t *y, const float *x, size_t n)
{
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
	for (; i < n; i++)
		y[i] = (uint16_t)_cvtss_sh(x[i], _MM_FROUND_TO_NEAREST_INT);
}

static void rms_norm(float *y, const float *x, const float *weight, float eps, size_t n)
{
	float scale = 1.0f / sqrtf(dot_f32(x, x, n) / (float)n + eps);
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		__m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
		_mm256_storeu_ps(y + i, weight != NULL ? _mm256_mul_ps(v, _mm256_loadu_ps(weight + i)) : v);
	}
	for (; i < n; i++)
		y[i] = x[i] * scale * (weight != NULL ? weight[i] : 1.0f);
}

/* The last n < 8 values; the others are `fill`. */
INLINE __m256 load_part(const float *x, size_t n, float fill)
{
	float v[8] = {fill, fill, fill, fill, fill, fill, fill, fill};
	memcpy(v, x, n * sizeof *x);
	return _mm256_loadu_ps(v);
}
INLINE void store_part(float *y, __m256 v, size_t n)
{
	float part[8];
	_mm256_storeu_ps(part, v);
	memcpy(y, part, n * sizeof *y);
}

static float softmax(float *x, size_t n)
{
	__m256 m = _mm256_set1_ps(-INFINITY);
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		m = _mm256_max_ps(_mm256_loadu_ps(x + i), m);
	if (i < n)
		m = _mm256_max_ps(load_part(x + i, n - i, -INFINITY), m);
	__m128 top = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
	top = _mm_max_ps(top, _mm_movehl_ps(top, top));
	float max = _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
	if (max == -INFINITY)
		return -INFINITY;
	m = _mm256_set1_ps(max);
	__m256 sum = _mm256_setzero_ps();
	for (i = 0; i + 8 <= n; i += 8) {
		__m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), m));
		_mm256_storeu_ps(x + i, e);
		sum = _mm256_add_ps(sum, e);
	}
	if (i < n) {
		__m256 e = exp8(_mm256_sub_ps(load_part(x + i, n - i, -INFINITY), m));
		store_part(x + i, e, n - i);
		sum = _mm256_add_ps(sum, e);
	}
	float total = sum_lanes(sum), inverse = 1.0f / total;
	for (i = 0; i + 8 <= n; i += 8)
		_mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(inverse)));
	for (; i < n; i++)
		x[i] *= inverse;
	return max + logf(total);
}

/* gate / (1 + e^-u) * up */
INLINE __m256 gated(__m256 gate, __m256 u, __m256 up)
{
	__m256 one = _mm256_set1_ps(1.0f), e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), u));
	return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, e)), up);
}
INLINE __m256 silu8(__m256 gate, __m256 up) { return gated(gate, gate, up); }
/* g / 2 * (1 + tanh(u)) is g / (1 + e^(-2 u)) */
INLINE __m256 gelu8(__m256 g, __m256 up)
{
	__m256 cubic = _mm256_fmadd_ps(_mm256_mul_ps(g, g), _mm256_set1_ps(0.044715f), _mm256_set1_ps(1.0f));
	return gated(g, _mm256_mul_ps(_mm256_mul_ps(g, cubic), _mm256_set1_ps(1.5957691216057308f)), up);
}

/* g * erfc(-g / sqrt(2)) / 2, by the erf of Abramowitz and Stegun's 7.1.26: 1.5e-7 at most from it. */
INLINE __m256 gelu_erf8(__m256 g, __m256 up)
{
	const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
	__m256 z = _mm256_mul_ps(_mm256_andnot_ps(sign, g), _mm256_set1_ps(0.70710678118654752f));
	__m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(z, _mm256_set1_ps(0.3275911f), one)), sum = _mm256_set1_ps(1.061405429f);
	sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(-1.453152027f));
	sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(1.421413741f));
	sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(-0.284496736f));
	sum = _mm256_fmadd_ps(sum, t, _mm256_set1_ps(0.254829592f));
	__m256 e = exp8(_mm256_mul_ps(z, _mm256_xor_ps(z, sign)));
	__m256 half = _mm256_mul_ps(_mm256_mul_ps(_mm256_mul_ps(sum, t), e), _mm256_set1_ps(0.5f));
	half = _mm256_blendv_ps(_mm256_sub_ps(one, half), half, g); /* by the sign */
	return _mm256_mul_ps(_mm256_mul_ps(g, half), up);
}

#define GATED(name, op)                                                                             \
	static void name(float *y, const float *gate, const float *up, size_t n)                    \
	{                                                                                           \
		size_t i = 0;                                                                       \
		for (; i + 8 <= n; i += 8)                                                          \
			_mm256_storeu_ps(y + i, op(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i))); \
		if (i < n)                                                                          \
			store_part(y + i, op(load_part(gate + i, n - i, 0), load_part(up + i, n - i, 0)), n - i); \
	}
GATED(silu_mul, silu8)
GATED(gelu_mul, gelu8)
GATED(gelu_erf_mul, gelu_erf8)

/* By tanh(a) = sign (1 - e^-2|a|) / (1 + e^-2|a|); what is not a number stays so. */
INLINE __m256 soft_cap8(__m256 v, __m256 limit)
{
	const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
	__m256 e = exp8(_mm256_mul_ps(_mm256_andnot_ps(sign, _mm256_div_ps(v, limit)), _mm256_set1_ps(-2.0f)));
	__m256 y = _mm256_mul_ps(_mm256_div_ps(_mm256_sub_ps(one, e), _mm256_add_ps(one, e)), limit);
	return _mm256_blendv_ps(_mm256_or_ps(y, _mm256_and_ps(v, sign)), v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}
static void soft_cap(float *x, float cap, size_t n)
{
	const __m256 limit = _mm256_set1_ps(cap);
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(x + i, soft_cap8(_mm256_loadu_ps(x + i), limit));
	if (i < n)
		store_part(x + i, soft_cap8(load_part(x + i, n - i, 0), limit), n - i);
}

static uint64_t read_bytes(const void *p, size_t n)
{
	__m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
	for (const char *at = p, *end = at + n; at < end; at += 128) {
		if ((uintptr_t)at % 4096 == 0) /* the processor prefetches within a page, but not its address */
			_mm_prefetch(at + HTH_AHEAD, _MM_HINT_T0);
		for (int i = 0; i < 4; i++)
			s[i] = _mm256_add_epi64(s[i], load256(at + 32 * i));
	}
	s[0] = _mm256_add_epi64(_mm256_add_epi64(s[0], s[1]), _mm256_add_epi64(s[2], s[3]));
	uint64_t v[4];
	_mm256_storeu_si256((__m256i *)v, s[0]);
	return v[0] + v[1] + v[2] + v[3];
}

/* Written as instructions, so that the compiler neither drops products nor keeps sums in memory. */
#define PEAK_LOOP(type, zero, step)                                                                 \
	type w = zero(), a = zero(), s0 = w, s1 = w, s2 = w, s3 = w, s4 = w, s5 = w, s6 = w, s7 = w, t;  \
	for (size_t k = 0; k < rounds; k++) {                                                       \
		step(s0);                                                                           \
		step(s1);                                                                           \
		step(s2);                                                                           \
		step(s3);                                                                           \
		step(s4);                                                                           \
		step(s5);                                                                           \
		step(s6);                                                                           \
		step(s7);                                                                           \
	}
#define STEP_CODES(s) \
	__asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(s), "=&x"(t) : "x"(w), "x"(a))
#define STEP_WIDE(s)                                                                              \
	__asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0" : "+x"(s), "=&x"(t) : "x"(w), "x"(a))
#define STEP_VNNI(s) __asm__ volatile("%{vex%} vpdpbusd %3, %2, %0" : "+x"(s), "=x"(t) : "x"(w), "x"(a))
#define STEP_FIXED(s) __asm__ volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(s), "=&x"(t) : "x"(w), "x"(a))
#define STEP_FIXED_VNNI(s) __asm__ volatile("%{vex%} vpdpwssd %3, %2, %0" : "+x"(s), "=x"(t) : "x"(w), "x"(a))
#define STEP_FLOAT(s) __asm__ volatile("vfmadd231ps %3, %2, %0" : "+x"(s), "=x"(t) : "x"(w), "x"(a))

static uint64_t mac_codes(size_t rounds)
{
	PEAK_LOOP(__m256i, _mm256_setzero_si256, STEP_CODES)
	return rounds * 8 * 32;
}
static uint64_t mac_wide(size_t rounds)
{
	PEAK_LOOP(__m256i, _mm256_setzero_si256, STEP_WIDE)
	return rounds * 8 * 32;
}
static uint64_t mac_vnni(size_t rounds)
{
	PEAK_LOOP(__m256i, _mm256_setzero_si256, STEP_VNNI)
	return rounds * 8 * 32;
}
static uint64_t mac_fixed(size_t rounds)
{
	PEAK_LOOP(__m256i, _mm256_setzero_si256, STEP_FIXED)
	return rounds * 8 * 16;
}
static uint64_t mac_fixed_vnni(size_t rounds)
{
	PEAK_LOOP(__m256i, _mm256_setzero_si256, STEP_FIXED_VNNI)
	return rounds * 8 * 16;
}
static uint64_t mac_float(size_t rounds)
{
	PEAK_LOOP(__m256, _mm256_setzero_ps, STEP_FLOAT)
	return rounds * 8 * 8;
}

#define OWN(name, kind) {.unpack = hth_avx2_unpack_##name, .gemm = hth_avx2_gemm_##kind, .few = hth_avx2_few_##name, .own_panel = true}
#define ONE(name, kind) {.unpack = hth_avx2_unpack_##name, .gemm = hth_avx2_gemm_##kind, .one = hth_avx2_one_##name, \
	.few = hth_avx2_few_##name}
#define OWN_ONE(name, kind) {.unpack = hth_avx2_unpack_##name, .gemm = hth_avx2_gemm_##kind, .one = hth_avx2_one_##name, \
	.few = hth_avx2_few_##name, .own_panel = true}
#define FLOATS(name) {.unpack_float = hth_avx2_unpack_##name, .gemv_float = hth_avx2_gemv_##name, .few_float = hth_avx2_few_##name}

#define HALVES(set, name) {.unpack = hth_avx2_fix_##name, .gemm = hth_##set##_gemm_fixed, .unpack_float = hth_avx2_unpack_##name, \
	.gemv_float = hth_avx2_gemv_##name, .few_float = hth_avx2_few_##name, .own_panel = true}

static const hth_arrangement groups = {256, sizeof(hth_a8_groups), hth_avx2_arrange_acts};
static const hth_arrangement alone = {256, sizeof(hth_a8_alone), hth_avx2_arrange_alone};

const hth_kernel_row hth_kernels_avx2 = {
    .vec = {"avx2", dot_f32, dot_f16, axpy_f32, axpy_f16, f32_to_f16, rms_norm, softmax, silu_mul, gelu_mul, gelu_erf_mul, soft_cap},
    .usable = hth_cpu_has_avx2,
    .group_rows = AVX2_ROWS,
    .near_tokens = HTH_NEAR_TOKENS,
    .float_rows = AVX2_FLOAT_ROWS,
    .few_tokens = 16,
    .few_tokens_fixed = 8,
    .quantize_acts = quantize_acts,
    .fix_acts = hth_avx2_fix_acts,
    .few_acts = {&groups, &groups},
    .one_acts = &alone,
    .gemm_float = hth_avx2_gemm_float,
    .read_bytes = read_bytes,
    .mac_peak = {mac_codes, mac_wide, mac_fixed, mac_float},
    .types = {
        [HTH_F32] = FLOATS(f32), [HTH_F16] = HALVES(avx2, f16), [HTH_BF16] = HALVES(avx2, bf16),
        [HTH_Q4_0] = ONE(q4_0, u4), [HTH_Q4_1] = ONE(q4_1, u4), [HTH_Q4_K] = OWN_ONE(q4_k, k4),
        [HTH_Q5_0] = OWN_ONE(q5_0, u5), [HTH_Q5_1] = OWN_ONE(q5_1, u5), [HTH_Q5_K] = OWN_ONE(q5_k, k5), [HTH_MXFP4] = OWN_ONE(mxfp4, u5),
        [HTH_Q2_K] = OWN(q2_k, u2), [HTH_Q3_K] = OWN(q3_k, u3), [HTH_Q6_K] = OWN_ONE(q6_k, u6),
        [HTH_Q8_0] = OWN(q8_0, s8), [HTH_IQ4_NL] = OWN_ONE(iq4_nl, s8), [HTH_IQ4_XS] = OWN_ONE(iq4_xs, s8),
    },
};

#undef ONE
#define CODES(name, kind) {.unpack = hth_avxvnni_unpack_##name, .gemm = hth_avxvnni_gemm_##kind, .few = hth_avxvnni_few_##name}
#define ONE(name, kind) {.unpack = hth_avxvnni_unpack_##name, .gemm = hth_avxvnni_gemm_##kind, .one = hth_avxvnni_one_##name, \
	.few = hth_avxvnni_few_##name}

static const hth_arrangement alone_vnni = {256, sizeof(hth_a8_alone), hth_avxvnni_arrange_alone};

const hth_kernel_row hth_kernels_avx2vnni = {
    .vec = {"avx2vnni", dot_f32, dot_f16, axpy_f32, axpy_f16, f32_to_f16, rms_norm, softmax, silu_mul, gelu_mul, gelu_erf_mul, soft_cap},
    .usable = hth_cpu_has_avxvnni,
    .group_rows = AVX2_ROWS,
    .near_tokens = HTH_NEAR_TOKENS,
    .float_rows = AVX2_FLOAT_ROWS,
    .few_tokens = 12,
    .few_tokens_fixed = 8,
    .quantize_acts = quantize_acts,
    .fix_acts = hth_avx2_fix_acts,
    .few_acts = {&groups, &groups},
    .one_acts = &alone_vnni,
    .gemm_float = hth_avx2_gemm_float,
    .read_bytes = read_bytes,
    .mac_peak = {mac_vnni, mac_vnni, mac_fixed_vnni, mac_float},
    .types = {
        [HTH_F32] = FLOATS(f32), [HTH_F16] = HALVES(avxvnni, f16), [HTH_BF16] = HALVES(avxvnni, bf16),
        [HTH_Q4_0] = ONE(q4_0, offset), [HTH_Q4_1] = ONE(q4_1, min), [HTH_Q5_0] = ONE(q5_0, offset), [HTH_Q5_1] = ONE(q5_1, min),
        [HTH_Q4_K] = ONE(q4_k, min), [HTH_Q5_K] = ONE(q5_k, min), [HTH_Q6_K] = ONE(q6_k, offset16),
        [HTH_IQ4_NL] = ONE(iq4_nl, offset), [HTH_IQ4_XS] = ONE(iq4_xs, offset), [HTH_MXFP4] = ONE(mxfp4, offset),
        [HTH_Q8_0] = CODES(q8_0, offset), [HTH_Q2_K] = CODES(q2_k, min16), [HTH_Q3_K] = CODES(q3_k, offset16),
    },
};
