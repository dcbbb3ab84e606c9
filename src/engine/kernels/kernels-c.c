/* kernels-c.c - the reference row of the table, in plain C: what every other row is tested against.
 *
 * Nothing is tuned here beyond letting the compiler see simple loops. Integer parts (quantised activations, sums of
 * codes) are defined to the bit; floating sums are defined up to their order.
 */
#include "engine/kernels/kernel-row.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { ROWS = 8 }; /* of a panel */

static bool always(void) { return true; }

/* Round to nearest even for |x| < 2^22: adding 1.5 * 2^23 leaves the integer in the low bits. NaN gives some integer. */
static inline int32_t round_even(float x)
{
	float shifted = x + 12582912.0f;
	int32_t bits;
	memcpy(&bits, &shifted, sizeof bits);
	return (int32_t)((uint32_t)bits - 0x4B400000u);
}

static void quantize_acts(hth_a8_line *dst, size_t stride, const float *x, size_t n)
{
	for (; n > 0; dst = (hth_a8_line *)((char *)dst + stride)) {
		size_t len = HTH_MIN(n, 32);
		memset(dst, 0, sizeof *dst);
		float max = 0;
		for (size_t i = 0; i < len; i++) {
			float a = fabsf(x[i]);
			max = a > max ? a : max;
		}
		float d = max * (1.0f / 127.0f), id = max > 0 ? 127.0f / max : 0;
		int sum[2] = {0, 0}, pairs[2][2] = {{0, 0}, {0, 0}};
		for (size_t i = 0; i < len; i++) {
			int q = (int8_t)round_even(x[i] * id);
			dst->q[i] = (int8_t)q;
			sum[i / 16] += q;
			pairs[i / 16][i % 4 / 2] += q;
		}
		dst->d = d;
		dst->s32 = d * (float)(sum[0] + sum[1]);
		for (int h = 0; h < 2; h++) {
			for (int k = 0; k < 2; k++)
				dst->minus[h][k] = (int16_t)-pairs[h][k];
			dst->s16[h] = d * (float)sum[h];
			dst->n16[h] = -128 * sum[h];
		}
		x += len;
		n -= len;
	}
}

/* One loop for every kind of code: they all fit a signed byte. */
static void gemm_codes(const hth_panel *panel, size_t n, const hth_gemm_acts *acts, float *acc, size_t group, bool has_min)
{
	for (size_t t = 0; t < acts->n_tokens; t++, acc += ROWS) {
		for (size_t g = 0; g * group < n; g++) {
			const char *line = acts->lines + g * group / 32 * acts->group_stride + acts->offset[t];
			const hth_a8_line *a = (const hth_a8_line *)line;
			const int8_t *q = a->q + g * group % 32;
			int32_t dot[ROWS] = {0};
			for (size_t c = 0; c < group; c += HTH_PANEL_STEP) {
				const int8_t *w = (const int8_t *)panel->codes + (g * group + c) * ROWS;
				for (size_t r = 0; r < ROWS; r++)
					for (size_t i = 0; i < HTH_PANEL_STEP; i++)
						dot[r] += w[HTH_PANEL_STEP * r + i] * q[c + i];
			}
			float s = group == 16 ? a->s16[g % 2] : a->s32;
			for (size_t r = 0; r < ROWS; r++) {
				acc[r] += panel->scale[g * ROWS + r] * (float)dot[r] * a->d;
				if (has_min)
					acc[r] += panel->min[g * ROWS + r] * s;
			}
		}
	}
}
#define GEMM(name, group, has_min)                                                                                    \
	static void name(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc,   \
	                 size_t acc_stride)                                                                           \
	{                                                                                                             \
		for (size_t p = 0; p < n_panels; p++)                                                                 \
			gemm_codes(&panels[p], n, acts, acc + p * acc_stride, group, has_min);                        \
	}
GEMM(gemm_32, 32, true)
GEMM(gemm_16, 16, true)
GEMM(gemm_32_no_min, 32, false)

#define UNPACK(name, type)                                                                                          \
	static void unpack_##name(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)   \
	{                                                                                                           \
		hth_codes_unpack(type, ROWS, panel, block, row_bytes, n_rows, n);                                   \
	}
UNPACK(q4_0, HTH_Q4_0)
UNPACK(q4_1, HTH_Q4_1)
UNPACK(q5_0, HTH_Q5_0)
UNPACK(q5_1, HTH_Q5_1)
UNPACK(q8_0, HTH_Q8_0)
UNPACK(q2_k, HTH_Q2_K)
UNPACK(q3_k, HTH_Q3_K)
UNPACK(q4_k, HTH_Q4_K)
UNPACK(q5_k, HTH_Q5_K)
UNPACK(q6_k, HTH_Q6_K)
UNPACK(iq4_nl, HTH_IQ4_NL)
UNPACK(iq4_xs, HTH_IQ4_XS)
UNPACK(mxfp4, HTH_MXFP4)

static void gemm_float(const float *panel, size_t n, const float *const *x, size_t n_tokens, float *acc)
{
	for (size_t t = 0; t < n_tokens; t++, acc += ROWS)
		for (size_t c = 0; c < n; c++)
			for (size_t r = 0; r < ROWS; r++)
				acc[r] += panel[c * ROWS + r] * x[t][c];
}

/* Eight partial sums: closer to the exact sum than one, and what the compiler can do in vectors. */
static inline float sum8(const float s[8])
{
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static float dot_f32(const float *a, const float *b, size_t n)
{
	float s[8] = {0};
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		for (size_t k = 0; k < 8; k++)
			s[k] += a[i + k] * b[i + k];
	for (; i < n; i++)
		s[i % 8] += a[i] * b[i];
	return sum8(s);
}

static float dot_f16(const float *a, const uint16_t *b, size_t n)
{
	float s[8] = {0};
	for (size_t i = 0; i < n; i++)
		s[i % 8] += a[i] * hth_f16_to_f32(b[i]);
	return sum8(s);
}

static void axpy_f32(float *y, const float *x, float a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += a * x[i];
}

static void axpy_f16(float *y, const uint16_t *x, float a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += a * hth_f16_to_f32(x[i]);
}

static void f32_to_f16(uint16_t *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = hth_f32_to_f16(x[i]);
}

static void rms_norm(float *y, const float *x, const float *weight, float eps, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)x[i] * (double)x[i];
	float scale = 1.0f / sqrtf((float)(sum / (double)n) + eps);
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * scale * (weight != NULL ? weight[i] : 1.0f);
}

static float softmax(float *x, size_t n)
{
	float max = -INFINITY;
	for (size_t i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	if (n == 0 || max == -INFINITY)
		return -INFINITY; /* nothing may be attended to: x stays as it is */
	double sum = 0;
	for (size_t i = 0; i < n; i++) {
		x[i] = expf(x[i] - max);
		sum += (double)x[i];
	}
	float inverse = (float)(1.0 / sum);
	for (size_t i = 0; i < n; i++)
		x[i] *= inverse;
	return max + (float)log(sum);
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void gelu_mul(float *y, const float *gate, const float *up, size_t n)
{
	const float root = 0.79788456080286535588f; /* sqrt(2 / pi) */
	for (size_t i = 0; i < n; i++) {
		float g = gate[i];
		y[i] = 0.5f * g * (1.0f + tanhf(root * g * (1.0f + 0.044715f * g * g))) * up[i];
	}
}

static void gelu_erf_mul(float *y, const float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = 0.5f * gate[i] * (1.0f + erff(gate[i] * 0.70710678118654752440f)) * up[i];
}

static void soft_cap(float *x, float cap, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = cap * tanhf(x[i] / cap);
}

static uint64_t read_bytes(const void *p, size_t n)
{
	uint64_t s[4] = {0}, v[4];
	for (const char *at = p, *end = at + n; at < end; at += sizeof v) {
		memcpy(v, at, sizeof v);
		for (int i = 0; i < 4; i++)
			s[i] += v[i];
	}
	return s[0] + s[1] + s[2] + s[3];
}

/* The C row has one way to multiply: whatever the compiler makes of this. */
static uint64_t mac_integers(size_t rounds)
{
	int32_t sum[32] = {0};
	int16_t w[32], a[32];
	for (int i = 0; i < 32; i++)
		w[i] = (int16_t)i, a[i] = (int16_t)(i - 7);
	for (size_t k = 0; k < rounds; k++) {
		__asm__ volatile("" : "+m"(w), "+m"(a));
		for (int i = 0; i < 32; i++)
			sum[i] += w[i] * a[i];
	}
	__asm__ volatile("" : "+m"(sum));
	return rounds * 32;
}
static uint64_t mac_floats(size_t rounds)
{
	float sum[32] = {0}, w[32], a[32];
	for (int i = 0; i < 32; i++)
		w[i] = (float)i, a[i] = (float)(i - 7);
	for (size_t k = 0; k < rounds; k++) {
		__asm__ volatile("" : "+m"(w), "+m"(a));
		for (int i = 0; i < 32; i++)
			sum[i] += w[i] * a[i];
	}
	__asm__ volatile("" : "+m"(sum));
	return rounds * 32;
}

const hth_kernel_row hth_kernels_c = {
    .vec = {"c", dot_f32, dot_f16, axpy_f32, axpy_f16, f32_to_f16, rms_norm, softmax, silu_mul, gelu_mul, gelu_erf_mul, soft_cap},
    .usable = always,
    .group_rows = ROWS,
    .near_tokens = HTH_NEAR_TOKENS,
    .float_rows = ROWS,
    .quantize_acts = quantize_acts,
    .gemm_float = gemm_float,
    .read_bytes = read_bytes,
    .mac_peak = {mac_integers, mac_integers, mac_floats, mac_floats},
    .types = {
        [HTH_Q4_0] = {unpack_q4_0, gemm_32}, [HTH_Q4_1] = {unpack_q4_1, gemm_32}, [HTH_Q5_0] = {unpack_q5_0, gemm_32},
        [HTH_Q5_1] = {unpack_q5_1, gemm_32}, [HTH_Q8_0] = {unpack_q8_0, gemm_32_no_min}, [HTH_Q2_K] = {unpack_q2_k, gemm_16},
        [HTH_Q3_K] = {unpack_q3_k, gemm_16}, [HTH_Q4_K] = {unpack_q4_k, gemm_32}, [HTH_Q5_K] = {unpack_q5_k, gemm_32},
        [HTH_Q6_K] = {unpack_q6_k, gemm_16}, [HTH_IQ4_NL] = {unpack_iq4_nl, gemm_32_no_min},
        [HTH_IQ4_XS] = {unpack_iq4_xs, gemm_32_no_min}, [HTH_MXFP4] = {unpack_mxfp4, gemm_32},
    },
};
