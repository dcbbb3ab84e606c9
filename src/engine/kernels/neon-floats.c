/* neon-floats.c - the float side of both NEON rows: products of F32, F16 and BF16 weights, vector operations, quantising
 * activations. exp is the polynomial of the AVX2 row.
 */
#include "engine/kernels/neon.h"
#include "base/mem.h"

#include <arm_neon.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))

void hth_neon_quantize_acts(hth_a8_line *dst, size_t stride, const float *x, size_t n)
{
	float padded[32] = {0};
	for (; n > 0; dst = (hth_a8_line *)((char *)dst + stride)) {
		if (n < 32) {
			memcpy(padded, x, n * sizeof *x);
			x = padded;
			n = 32;
		}
		/* vmaxnm takes the number when the other is NaN, as the comparison of the reference does. */
		float32x4_t max = vdupq_n_f32(0);
		for (int i = 0; i < 8; i++)
			max = vmaxnmq_f32(max, vabsq_f32(vld1q_f32(x + 4 * i)));
		float m = vmaxnmvq_f32(max), d = m * (1.0f / 127.0f), id = m > 0 ? 127.0f / m : 0;
		int32_t sum[2];
		for (int h = 0; h < 2; h++) {
			int32x4_t q[4];
			for (int i = 0; i < 4; i++)
				q[i] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 16 * h + 4 * i), id));
			int32x4_t quad = vaddq_s32(vaddq_s32(q[0], q[1]), vaddq_s32(q[2], q[3]));
			int32x2_t pairs = vpadd_s32(vget_low_s32(quad), vget_high_s32(quad));
			sum[h] = vaddv_s32(pairs);
			for (int k = 0; k < 2; k++)
				dst->minus[h][k] = (int16_t)-(k == 0 ? vget_lane_s32(pairs, 0) : vget_lane_s32(pairs, 1));
			int16x8_t low = vcombine_s16(vmovn_s32(q[0]), vmovn_s32(q[1])),
			    high = vcombine_s16(vmovn_s32(q[2]), vmovn_s32(q[3]));
			vst1q_s8(dst->q + 16 * h, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
			dst->s16[h] = d * (float)sum[h];
			dst->n16[h] = -128 * sum[h];
		}
		dst->d = d;
		dst->s32 = d * (float)(sum[0] + sum[1]);
		x += 32;
		n -= 32;
	}
}

INLINE float32x4_t load_f32(const char *p) { return vld1q_f32((const float *)(const void *)p); }
INLINE float32x4_t load_f16(const char *p)
{
	return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)(const void *)p)));
}
INLINE float32x4_t load_bf16(const char *p)
{
	return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)(const void *)p), 16));
}
typedef float32x4_t (*load_fn)(const char *p);
INLINE float32x4_t load_tail(const char *p, size_t n, size_t size, load_fn load)
{
	char v[16] = {0};
	memcpy(v, p, n * size);
	return load(v);
}

INLINE void unpack_float(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n, size_t size, load_fn load)
{
	for (size_t half = 0; half < 2; half++) {
		for (size_t c = 0; c < n; c += 4) {
			float32x4x4_t v;
			for (size_t r = 0; r < 4; r++) {
				const char *p = (const char *)w + (4 * half + r) * row_bytes + c * size;
				v.val[r] = vdupq_n_f32(0);
				if (4 * half + r < n_rows)
					v.val[r] = c + 4 <= n ? load(p) : load_tail(p, n - c, size, load);
			}
			float t[16];
			vst4q_f32(t, v);
			/* The panel has room for the columns of the last, partial four. */
			for (size_t i = 0; i < 4; i++)
				vst1q_f32(panel + (c + i) * 8 + 4 * half, vld1q_f32(t + 4 * i));
		}
	}
}

INLINE void gemv_float(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y, size_t size,
                       load_fn load)
{
	for (size_t r = 0; r < n_rows; r++) {
		const char *p = (const char *)w + r * row_bytes;
		float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
		size_t c = 0;
		for (; c + 16 <= cols; c += 16) {
			__builtin_prefetch(p + c * size + HTH_AHEAD);
			for (size_t i = 0; i < 4; i++)
				s[i] = vfmaq_f32(s[i], load(p + (c + 4 * i) * size), vld1q_f32(x + c + 4 * i));
		}
		for (; c + 4 <= cols; c += 4)
			s[0] = vfmaq_f32(s[0], load(p + c * size), vld1q_f32(x + c));
		if (c < cols)
			s[1] = vfmaq_f32(s[1], load_tail(p + c * size, cols - c, size, load),
			                 load_tail((const char *)(x + c), cols - c, 4, load_f32));
		y[r] = vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
	}
}

#define NEON_FLOAT(name, size)                                                                                               \
	void hth_neon_unpack_##name(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n)                  \
	{                                                                                                                    \
		unpack_float(panel, w, row_bytes, n_rows, n, size, load_##name);                                             \
	}                                                                                                                    \
	void hth_neon_gemv_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y)     \
	{                                                                                                                    \
		gemv_float(w, row_bytes, n_rows, cols, x, y, size, load_##name);                                             \
	}
NEON_FLOAT(f32, 4)
NEON_FLOAT(f16, 2)
NEON_FLOAT(bf16, 2)

/* T tokens by 8 rows. */
INLINE void float_tile(const float *panel, size_t n, const float *const *x, float *acc, const int T)
{
	float32x4_t sum[8][2];
	for (int t = 0; t < T; t++) {
		sum[t][0] = vld1q_f32(acc + 8 * t);
		sum[t][1] = vld1q_f32(acc + 8 * t + 4);
	}
	for (size_t c = 0; c < n; c++) {
		float32x4_t a = vld1q_f32(panel + 8 * c), b = vld1q_f32(panel + 8 * c + 4);
		for (int t = 0; t < T; t++) {
			sum[t][0] = vfmaq_n_f32(sum[t][0], a, x[t][c]);
			sum[t][1] = vfmaq_n_f32(sum[t][1], b, x[t][c]);
		}
	}
	for (int t = 0; t < T; t++) {
		vst1q_f32(acc + 8 * t, sum[t][0]);
		vst1q_f32(acc + 8 * t + 4, sum[t][1]);
	}
}

void hth_neon_gemm_float(const float *panel, size_t n, const float *const *x, size_t n_tokens, float *acc)
{
	for (; n_tokens >= 8; n_tokens -= 8, x += 8, acc += 64)
		float_tile(panel, n, x, acc, 8);
	for (; n_tokens >= 2; n_tokens -= 2, x += 2, acc += 16)
		float_tile(panel, n, x, acc, 2);
	if (n_tokens > 0)
		float_tile(panel, n, x, acc, 1);
}

INLINE float32x4_t exp4(float32x4_t x)
{
	uint32x4_t zero = vcltq_f32(x, vdupq_n_f32(-87.33654f));
	x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-87.33654f)), vdupq_n_f32(88.72283f));
	float32x4_t k = vrndnq_f32(vmulq_n_f32(x, 1.44269504f));
	float32x4_t r = vfmsq_n_f32(x, k, 0.693359375f);
	r = vfmsq_n_f32(r, k, -2.12194440e-4f);
	float32x4_t p = vdupq_n_f32(1.0f / 720);
	p = vfmaq_f32(vdupq_n_f32(1.0f / 120), p, r);
	p = vfmaq_f32(vdupq_n_f32(1.0f / 24), p, r);
	p = vfmaq_f32(vdupq_n_f32(1.0f / 6), p, r);
	p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
	p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
	p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
	/* 2^k in two steps: k may be 128 */
	int32x4_t ki = vcvtq_s32_f32(k), half = vshrq_n_s32(ki, 1), rest = vsubq_s32(ki, half), bias = vdupq_n_s32(127);
	p = vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23)));
	p = vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23)));
	return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(p), zero));
}

float hth_neon_dot_f32(const float *a, const float *b, size_t n)
{
	float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
	size_t i = 0;
	for (; i + 16 <= n; i += 16)
		for (size_t k = 0; k < 4; k++)
			s[k] = vfmaq_f32(s[k], vld1q_f32(a + i + 4 * k), vld1q_f32(b + i + 4 * k));
	float sum = vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
	for (; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

INLINE float half_to_float(uint16_t h)
{
	return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

float hth_neon_dot_f16(const float *a, const uint16_t *b, size_t n)
{
	float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
	size_t i = 0;
	for (; i + 16 <= n; i += 16)
		for (size_t k = 0; k < 4; k++)
			s[k] = vfmaq_f32(s[k], vld1q_f32(a + i + 4 * k), load_f16((const char *)(b + i + 4 * k)));
	float sum = vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
	for (; i < n; i++)
		sum += a[i] * half_to_float(b[i]);
	return sum;
}

void hth_neon_axpy_f32(float *y, const float *x, float a, size_t n)
{
	size_t i = 0;
	for (; i + 4 <= n; i += 4)
		vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), a));
	for (; i < n; i++)
		y[i] += a * x[i];
}

void hth_neon_axpy_f16(float *y, const uint16_t *x, float a, size_t n)
{
	size_t i = 0;
	for (; i + 4 <= n; i += 4)
		vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), load_f16((const char *)(x + i)), a));
	for (; i < n; i++)
		y[i] += a * half_to_float(x[i]);
}

void hth_neon_f32_to_f16(uint16_t *y, const float *x, size_t n)
{
	size_t i = 0;
	for (; i + 4 <= n; i += 4)
		vst1_u16(y + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
	for (; i < n; i++)
		y[i] = vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(x[i]))), 0);
}

void hth_neon_rms_norm(float *y, const float *x, const float *weight, float eps, size_t n)
{
	float scale = 1.0f / sqrtf(hth_neon_dot_f32(x, x, n) / (float)n + eps);
	size_t i = 0;
	for (; i + 4 <= n; i += 4) {
		float32x4_t v = vmulq_n_f32(vld1q_f32(x + i), scale);
		vst1q_f32(y + i, weight != NULL ? vmulq_f32(v, vld1q_f32(weight + i)) : v);
	}
	for (; i < n; i++)
		y[i] = x[i] * scale * (weight != NULL ? weight[i] : 1.0f);
}

INLINE float32x4_t load_part(const float *x, size_t n, float fill)
{
	float v[4] = {fill, fill, fill, fill};
	memcpy(v, x, n * sizeof *x);
	return vld1q_f32(v);
}
INLINE void store_part(float *y, float32x4_t v, size_t n)
{
	float part[4];
	vst1q_f32(part, v);
	memcpy(y, part, n * sizeof *y);
}

float hth_neon_softmax(float *x, size_t n)
{
	float max = -INFINITY;
	size_t i = 0;
	for (; i + 4 <= n; i += 4)
		max = fmaxf(max, vmaxvq_f32(vld1q_f32(x + i)));
	for (; i < n; i++)
		max = fmaxf(max, x[i]);
	if (max == -INFINITY)
		return -INFINITY;
	float32x4_t m = vdupq_n_f32(max), sum = vdupq_n_f32(0);
	for (i = 0; i + 4 <= n; i += 4) {
		float32x4_t e = exp4(vsubq_f32(vld1q_f32(x + i), m));
		vst1q_f32(x + i, e);
		sum = vaddq_f32(sum, e);
	}
	if (i < n) {
		float32x4_t e = exp4(vsubq_f32(load_part(x + i, n - i, -INFINITY), m));
		store_part(x + i, e, n - i);
		sum = vaddq_f32(sum, e);
	}
	float total = vaddvq_f32(sum), inverse = 1.0f / total;
	for (i = 0; i < n; i++)
		x[i] *= inverse;
	return max + logf(total);
}

/* gate / (1 + e^-u) * up */
INLINE float32x4_t gated(float32x4_t gate, float32x4_t u, float32x4_t up)
{
	return vmulq_f32(vdivq_f32(gate, vaddq_f32(vdupq_n_f32(1.0f), exp4(vnegq_f32(u)))), up);
}
INLINE float32x4_t silu4(float32x4_t gate, float32x4_t up) { return gated(gate, gate, up); }
/* g / 2 * (1 + tanh(u)) is g / (1 + e^(-2 u)) */
INLINE float32x4_t gelu4(float32x4_t g, float32x4_t up)
{
	float32x4_t cubic = vfmaq_n_f32(vdupq_n_f32(1.0f), vmulq_f32(g, g), 0.044715f);
	return gated(g, vmulq_n_f32(vmulq_f32(g, cubic), 1.5957691216057308f), up);
}

/* g * erfc(-g / sqrt(2)) / 2, by the erf of Abramowitz and Stegun's 7.1.26: 1.5e-7 at most from it. */
INLINE float32x4_t gelu_erf4(float32x4_t g, float32x4_t up)
{
	const float32x4_t one = vdupq_n_f32(1.0f);
	float32x4_t z = vmulq_n_f32(vabsq_f32(g), 0.70710678118654752f);
	float32x4_t t = vdivq_f32(one, vfmaq_n_f32(one, z, 0.3275911f)), sum = vdupq_n_f32(1.061405429f);
	sum = vfmaq_f32(vdupq_n_f32(-1.453152027f), sum, t);
	sum = vfmaq_f32(vdupq_n_f32(1.421413741f), sum, t);
	sum = vfmaq_f32(vdupq_n_f32(-0.284496736f), sum, t);
	sum = vfmaq_f32(vdupq_n_f32(0.254829592f), sum, t);
	float32x4_t half = vmulq_n_f32(vmulq_f32(vmulq_f32(sum, t), exp4(vnegq_f32(vmulq_f32(z, z)))), 0.5f);
	half = vbslq_f32(vcgezq_f32(g), vsubq_f32(one, half), half);
	return vmulq_f32(vmulq_f32(g, half), up);
}

#define GATED(name, op)                                                                                    \
	void hth_neon_##name(float *y, const float *gate, const float *up, size_t n)                       \
	{                                                                                                  \
		size_t i = 0;                                                                              \
		for (; i + 4 <= n; i += 4)                                                                 \
			vst1q_f32(y + i, op(vld1q_f32(gate + i), vld1q_f32(up + i)));                      \
		if (i < n)                                                                                 \
			store_part(y + i, op(load_part(gate + i, n - i, 0), load_part(up + i, n - i, 0)), n - i); \
	}
GATED(silu_mul, silu4)
GATED(gelu_mul, gelu4)
GATED(gelu_erf_mul, gelu_erf4)

/* By tanh(a) = sign (1 - e^-2|a|) / (1 + e^-2|a|); what is not a number stays so. */
INLINE float32x4_t soft_cap4(float32x4_t v, float cap)
{
	const float32x4_t one = vdupq_n_f32(1.0f);
	float32x4_t e = exp4(vmulq_n_f32(vabsq_f32(vdivq_f32(v, vdupq_n_f32(cap))), -2.0f));
	float32x4_t y = vmulq_n_f32(vdivq_f32(vsubq_f32(one, e), vaddq_f32(one, e)), cap);
	y = vbslq_f32(vdupq_n_u32(0x80000000), v, y);
	return vbslq_f32(vceqq_f32(v, v), y, v);
}
void hth_neon_soft_cap(float *x, float cap, size_t n)
{
	size_t i = 0;
	for (; i + 4 <= n; i += 4)
		vst1q_f32(x + i, soft_cap4(vld1q_f32(x + i), cap));
	if (i < n)
		store_part(x + i, soft_cap4(load_part(x + i, n - i, 0), cap), n - i);
}

uint64_t hth_neon_read_bytes(const void *p, size_t n)
{
	uint64x2_t s[4] = {vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0)};
	for (const char *at = p, *end = at + n; at < end; at += 64) {
		if ((uintptr_t)at % 4096 == 0)
			__builtin_prefetch(at + HTH_AHEAD);
		for (int i = 0; i < 4; i++)
			s[i] = vaddq_u64(s[i], vld1q_u64((const uint64_t *)(const void *)(at + 16 * i)));
	}
	return vaddvq_u64(vaddq_u64(vaddq_u64(s[0], s[1]), vaddq_u64(s[2], s[3])));
}

uint64_t hth_neon_mac_float(size_t rounds)
{
	float32x4_t z = vdupq_n_f32(0), s0 = z, s1 = z, s2 = z, s3 = z, s4 = z, s5 = z, s6 = z, s7 = z, w = z, a = z;
	for (size_t k = 0; k < rounds; k++)
		__asm__ volatile("fmla %0.4s, %8.4s, %9.4s\n\tfmla %1.4s, %8.4s, %9.4s\n\tfmla %2.4s, %8.4s, %9.4s\n\t"
		                 "fmla %3.4s, %8.4s, %9.4s\n\tfmla %4.4s, %8.4s, %9.4s\n\tfmla %5.4s, %8.4s, %9.4s\n\t"
		                 "fmla %6.4s, %8.4s, %9.4s\n\tfmla %7.4s, %8.4s, %9.4s"
		                 : "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3), "+w"(s4), "+w"(s5), "+w"(s6), "+w"(s7)
		                 : "w"(w), "w"(a));
	return rounds * 8 * 4;
}
