/* quant.c - floats to blocks for the simple formats: floats, blocks of 32, the non-linear 4-bit ones and the ternary.
 *
 * Scales are searched for (quant-fit.h), except in Q8_0, where there is nothing to gain. Without importance every value
 * counts alike: the error that is least is the plain squared error of the weights. Everything is deterministic.
 */
#include "engine/quant/blocks.h"
#include "engine/quant/convert.h"
#include "engine/quant/quant-fit.h"
#include "engine/quant/quant.h"

#include <math.h>
#include <string.h>

HTH_QUANTIZE(f32)
{
	(void)importance;
	memcpy(dst, src, n * sizeof(float));
}

HTH_QUANTIZE(f16)
{
	(void)importance;
	uint16_t *h = dst;
	for (size_t i = 0; i < n; i++)
		h[i] = hth_f32_to_f16(src[i]);
}

HTH_QUANTIZE(bf16)
{
	(void)importance;
	uint16_t *h = dst;
	for (size_t i = 0; i < n; i++)
		h[i] = hth_f32_to_bf16(src[i]);
}

static const float *weights_at(const float *importance, size_t i)
{
	return importance != NULL ? importance + i : hth_fit_ones;
}

/* Two nibbles to a byte: element j low, j + 16 high. */
static void pack_nibbles(const int8_t q[32], uint8_t qs[16])
{
	for (int j = 0; j < 16; j++)
		qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void pack_fifth_bits(const int8_t q[32], uint8_t qh[4])
{
	uint32_t bits = 0;
	for (int j = 0; j < 32; j++)
		bits |= (uint32_t)(q[j] >> 4 & 1) << j;
	memcpy(qh, &bits, sizeof bits);
}

/* Symmetric block of 32 with levels lo to -lo - 1: sets q (from 0) and returns the scale's bits. */
static uint16_t symmetric32(const float *x, const float *w, int lo, int8_t q[32])
{
	uint16_t half = hth_fit_half(hth_fit_scale(x, w, 32, lo, -lo - 1));
	hth_fit_round(x, 32, hth_f16_to_f32(half), 0, lo, -lo - 1, q);
	for (int j = 0; j < 32; j++)
		q[j] = (int8_t)(q[j] - lo);
	return half;
}

static void affine32(const float *x, const float *w, int top, int8_t q[32], uint16_t *ret_d, uint16_t *ret_m)
{
	hth_affine fit = hth_fit_affine(x, w, 32, top, false);
	*ret_d = hth_fit_half(fit.scale);
	*ret_m = hth_fit_half(fit.min);
	hth_fit_round(x, 32, hth_f16_to_f32(*ret_d), hth_f16_to_f32(*ret_m), 0, top, q);
}

HTH_QUANTIZE(q4_0)
{
	hth_block_q4_0 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK, b++) {
		int8_t q[32];
		b->d = symmetric32(src + i, weights_at(importance, i), -8, q);
		pack_nibbles(q, b->qs);
	}
}

HTH_QUANTIZE(q4_1)
{
	hth_block_q4_1 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK, b++) {
		int8_t q[32];
		affine32(src + i, weights_at(importance, i), 15, q, &b->d, &b->m);
		pack_nibbles(q, b->qs);
	}
}

HTH_QUANTIZE(q5_0)
{
	hth_block_q5_0 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK, b++) {
		int8_t q[32];
		b->d = symmetric32(src + i, weights_at(importance, i), -16, q);
		pack_nibbles(q, b->qs);
		pack_fifth_bits(q, b->qh);
	}
}

HTH_QUANTIZE(q5_1)
{
	hth_block_q5_1 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK, b++) {
		int8_t q[32];
		affine32(src + i, weights_at(importance, i), 31, q, &b->d, &b->m);
		pack_nibbles(q, b->qs);
		pack_fifth_bits(q, b->qh);
	}
}

HTH_QUANTIZE(q8_0)
{
	(void)importance;
	hth_block_q8_0 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK, b++) {
		float max = 0;
		for (int j = 0; j < 32; j++)
			max = fabsf(src[i + (size_t)j]) > max ? fabsf(src[i + (size_t)j]) : max;
		b->d = hth_fit_half(max / 127);
		hth_fit_round(src + i, 32, hth_f16_to_f32(b->d), 0, -127, 127, b->qs);
	}
}

/* The nearest of hth_iq4_values: a binary search over the halfway points between neighbours. */
static int iq4_nearest(float v)
{
	static const float mid[15] = {-115.5f, -93.5f, -74,   -57,   -42, -28.5f, -16, -4.5f,
	                              7,       19,     31.5f, 45.5f, 61,  79,     101};
	int i = v > mid[7] ? 8 : 0;
	i += v > mid[i + 3] ? 4 : 0;
	i += v > mid[i + 1] ? 2 : 0;
	i += v > mid[i] ? 1 : 0;
	return i;
}

static float iq4_gain(const float *x, const float *w, float inv, float *ret_scale)
{
	float xv = 0, vv = 0;
	for (int j = 0; j < 32; j++) {
		float v = (float)hth_iq4_values[iq4_nearest(x[j] * inv)];
		xv += w[j] * x[j] * v;
		vv += w[j] * v * v;
	}
	if (!(vv > 0))
		return 0;
	*ret_scale = xv / vv;
	return xv * *ret_scale;
}

/* The scale with which 32 values lie nearest the levels; its sign is free, since the levels are not symmetric. */
static float iq4_fit(const float *x, const float *w)
{
	float max = 0;
	for (int j = 0; j < 32; j++)
		if (fabsf(x[j]) > fabsf(max))
			max = x[j];
	if (max == 0 || !isfinite(max))
		return 0;
	static const float level[] = {-127, -120, -134, -141, -148, 113, 107, 119, 125, 131};
	float best = max / level[0], best_gain = 0;
	for (unsigned i = 0; i < sizeof level / sizeof level[0]; i++) {
		float scale = 0;
		float gain = iq4_gain(x, w, level[i] / max, &scale);
		if (gain > best_gain) {
			best_gain = gain;
			best = scale;
		}
	}
	for (int round = 0; round < 3 && best != 0; round++) {
		float scale = 0;
		float gain = iq4_gain(x, w, 1 / best, &scale);
		if (!(gain > best_gain))
			break;
		best_gain = gain;
		best = scale;
	}
	return isfinite(best) ? best : 0;
}

static void iq4_assign(const float *x, float scale, int8_t q[32])
{
	float inv = scale != 0 && isfinite(1 / scale) ? 1 / scale : 0;
	for (int j = 0; j < 32; j++)
		q[j] = (int8_t)iq4_nearest(x[j] * inv);
}

HTH_QUANTIZE(iq4_nl)
{
	hth_block_iq4_nl *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK, b++) {
		int8_t q[32];
		b->d = hth_fit_half(iq4_fit(src + i, weights_at(importance, i)));
		iq4_assign(src + i, hth_f16_to_f32(b->d), q);
		pack_nibbles(q, b->qs);
	}
}

/* Error of one group of 32 under a scale, less sum of w x^2. */
static float iq4_error(const float *x, const float *w, float scale)
{
	float inv = scale != 0 && isfinite(1 / scale) ? 1 / scale : 0, error = 0;
	for (int j = 0; j < 32; j++) {
		float v = scale * (float)hth_iq4_values[iq4_nearest(x[j] * inv)];
		error += w[j] * v * (v - 2 * x[j]);
	}
	return error;
}

HTH_QUANTIZE(iq4_xs)
{
	hth_block_iq4_xs *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		const float *x = src + i, *w = weights_at(importance, i);
		float scale[8], weight[8];
		for (int g = 0; g < 8; g++) {
			scale[g] = iq4_fit(x + 32 * g, w + 32 * g);
			/* What an error of this group's scale costs. */
			float inv = scale[g] != 0 ? 1 / scale[g] : 0, cost = 0;
			for (int j = 0; j < 32; j++) {
				float v = (float)hth_iq4_values[iq4_nearest(x[32 * g + j] * inv)];
				cost += w[32 * g + j] * v * v;
			}
			weight[g] = cost;
		}
		b->d = hth_fit_half(hth_fit_scale(scale, weight, 8, -32, 31));
		float d = hth_f16_to_f32(b->d);
		int8_t level[8];
		hth_fit_round(scale, 8, d, 0, -32, 31, level);
		b->scales_h = 0;
		memset(b->scales_l, 0, sizeof b->scales_l);
		for (int g = 0; g < 8; g++) {
			int best = level[g];
			float best_error = INFINITY;
			for (int l = level[g] - 1; l <= level[g] + 1; l++) {
				float error =
				    l >= -32 && l <= 31 ? iq4_error(x + 32 * g, w + 32 * g, d * (float)l) : INFINITY;
				if (error < best_error) {
					best_error = error;
					best = l;
				}
			}
			int8_t q[32];
			iq4_assign(x + 32 * g, d * (float)best, q);
			pack_nibbles(q, b->qs + 16 * g);
			b->scales_l[g / 2] |= (uint8_t)(((best + 32) & 15) << 4 * (g % 2));
			b->scales_h |= (uint16_t)((best + 32) >> 4 << 2 * g);
		}
	}
}

/* Nearest E2M1 value to v, of values doubled; the sign is kept apart. */
static int mxfp4_nearest(float v)
{
	static const float mid[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
	float a = fabsf(v);
	int i = 0;
	while (i < 7 && a > mid[i])
		i++;
	return i | (v < 0 && i > 0 ? 8 : 0);
}

HTH_QUANTIZE(mxfp4)
{
	hth_block_mxfp4 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK, b++) {
		const float *x = src + i, *w = weights_at(importance, i);
		float max = 0;
		for (int j = 0; j < 32; j++)
			max = fabsf(x[j]) > max ? fabsf(x[j]) : max;
		/* The largest value between 4 and 8 times the scale is the format's usual choice; one step up or down
		 * may be nearer. The scale of the doubled values is 2^(e - 128). */
		int exponent = 0;
		if (max > 0 && isfinite(max))
			frexpf(max, &exponent);
		int best = 0;
		float best_error = INFINITY;
		int8_t best_q[32] = {0};
		for (int e = exponent - 3 + 127 - 1; e <= exponent - 3 + 127 + 1 && max > 0; e++) {
			if (e < 0 || e > 254)
				continue;
			float d = ldexpf(1, e - 128), error = 0;
			int8_t q[32];
			for (int j = 0; j < 32; j++) {
				q[j] = (int8_t)mxfp4_nearest(x[j] / d);
				float off = x[j] - d * (float)hth_mxfp4_values[q[j]];
				error += w[j] * off * off;
			}
			if (error < best_error) {
				best_error = error;
				best = e;
				memcpy(best_q, q, sizeof q);
			}
		}
		b->e = (uint8_t)best;
		pack_nibbles(best_q, b->qs);
	}
}

/* Scale of a ternary block: weights that are ternary already give theirs exactly, others the least error. */
static float ternary_fit(const float *x, const float *w)
{
	float max = 0, best = 0, best_gain = 0;
	for (int e = 0; e < HTH_QK_K; e++)
		max = fabsf(x[e]) > max ? fabsf(x[e]) : max;
	for (int i = 0; i < 12 && max > 0 && isfinite(max); i++) {
		float scale = max / (1 + 0.3f * (float)i);
		hth_fit_sums s = hth_fit_assign(x, w, HTH_QK_K, scale, 0, -1, 1);
		float gain = s.wqq > 0 ? s.wxq * s.wxq / s.wqq : 0;
		if (gain > best_gain) {
			best_gain = gain;
			best = s.wxq / s.wqq;
		}
	}
	return best;
}

static uint16_t ternary_block(const float *x, const float *w, int8_t q[HTH_QK_K])
{
	uint16_t half = hth_fit_half(ternary_fit(x, w));
	hth_fit_round(x, HTH_QK_K, hth_f16_to_f32(half), 0, -1, 1, q);
	return half;
}

/* Five (or, with the last at zero, four) ternary digits, the first most significant, as the fraction byte / 256. */
static uint8_t ternary_byte(const int8_t *q, int stride, int n)
{
	unsigned v = 0;
	for (int k = 0; k < 5; k++)
		v = v * 3 + (k < n ? (unsigned)(q[k * stride] + 1) : 0);
	return (uint8_t)((v * 256 + 242) / 243);
}

HTH_QUANTIZE(tq1_0)
{
	hth_block_tq1_0 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		int8_t q[HTH_QK_K];
		b->d = ternary_block(src + i, weights_at(importance, i), q);
		for (int l = 0; l < 32; l++)
			b->qs[l] = ternary_byte(q + l, 32, 5);
		for (int l = 0; l < 16; l++)
			b->qs[32 + l] = ternary_byte(q + 160 + l, 16, 5);
		for (int l = 0; l < 4; l++)
			b->qh[l] = ternary_byte(q + 240 + l, 4, 4);
	}
}

HTH_QUANTIZE(tq2_0)
{
	hth_block_tq2_0 *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		int8_t q[HTH_QK_K];
		b->d = ternary_block(src + i, weights_at(importance, i), q);
		memset(b->qs, 0, sizeof b->qs);
		for (int e = 0; e < HTH_QK_K; e++)
			b->qs[32 * (e / 128) + e % 32] |= (uint8_t)((q[e] + 1) << 2 * (e % 128 / 32));
	}
}
