/* quant-fit.c - least-squares fits of scales; see quant-fit.h for the method. Vectors of four, so that plain builds of
 * every machine run it as SIMD; sums are in a fixed order, so results do not depend on the machine. */
#include "engine/quant/quant-fit.h"

#include "engine/quant/quant.h"

#include <math.h>
#include <string.h>

#define ONES8 1, 1, 1, 1, 1, 1, 1, 1
#define ONES64 ONES8, ONES8, ONES8, ONES8, ONES8, ONES8, ONES8, ONES8
const float hth_fit_ones[256] = {ONES64, ONES64, ONES64, ONES64};

typedef float v4 __attribute__((vector_size(16)));
typedef int32_t m4 __attribute__((vector_size(16)));

static inline v4 load(const float *x)
{
	v4 v;
	memcpy(&v, x, sizeof v);
	return v;
}
static inline v4 splat(float x)
{
	return (v4){x, x, x, x};
}
static inline v4 select4(m4 mask, v4 a, v4 b)
{
	return (v4)((mask & (m4)a) | (~mask & (m4)b));
}
static inline float sum4(v4 v)
{
	return (v[0] + v[1]) + (v[2] + v[3]);
}

/* Nearest integers (ties to even) in [lo, hi]; NaN becomes lo. |lo|, |hi| < 2^22. */
static inline v4 nearest4(v4 v, v4 lo, v4 hi)
{
	const v4 magic = {12582912.0f, 12582912.0f, 12582912.0f, 12582912.0f};
	v = select4(v >= lo, v, lo);
	v = select4(v <= hi, v, hi);
	return (v + magic) - magic;
}

static inline float inverse(float scale)
{
	float inv = 1 / scale;
	return isfinite(inv) ? inv : 0;
}

hth_fit_sums hth_fit_assign(const float *x, const float *w, int n, float scale, float min, int lo, int hi)
{
	v4 sw = {0}, swx = {0}, swq = {0}, swxq = {0}, swqq = {0};
	v4 inv = splat(inverse(scale)), m = splat(min), lo4 = splat((float)lo), hi4 = splat((float)hi);
	for (int i = 0; i < n; i += 4) {
		v4 xi = load(x + i), wi = load(w + i);
		v4 q = nearest4((xi - m) * inv, lo4, hi4);
		v4 wx = wi * xi, wq = wi * q;
		sw += wi;
		swx += wx;
		swq += wq;
		swxq += wx * q;
		swqq += wq * q;
	}
	return (hth_fit_sums){sum4(sw), sum4(swx), sum4(swq), sum4(swxq), sum4(swqq)};
}

void hth_fit_round(const float *x, int n, float scale, float min, int lo, int hi, int8_t *q)
{
	v4 inv = splat(inverse(scale)), m = splat(min), lo4 = splat((float)lo), hi4 = splat((float)hi);
	for (int i = 0; i < n; i += 4) {
		v4 v = nearest4((load(x + i) - m) * inv, lo4, hi4);
		for (int j = 0; j < 4; j++)
			q[i + j] = (int8_t)v[j];
	}
}

/* What assigning with inverse scale `inv` gains over all zeros, and the best scale for that assignment. */
static float scale_gain(const float *x, const float *w, int n, float inv, int lo, int hi, float *ret_scale)
{
	v4 sxq = {0}, sqq = {0}, inv4 = splat(inv), lo4 = splat((float)lo), hi4 = splat((float)hi);
	for (int i = 0; i < n; i += 4) {
		v4 xi = load(x + i), q = nearest4(xi * inv4, lo4, hi4);
		v4 wq = load(w + i) * q;
		sxq += wq * xi;
		sqq += wq * q;
	}
	float xq = sum4(sxq), qq = sum4(sqq);
	if (!(qq > 0))
		return 0;
	*ret_scale = xq / qq;
	return xq * *ret_scale;
}

static float largest(const float *x, int n)
{
	float max = 0;
	for (int i = 0; i < n; i++)
		if (fabsf(x[i]) > fabsf(max))
			max = x[i];
	return max;
}

float hth_fit_scale(const float *x, const float *w, int n, int lo, int hi)
{
	float max = largest(x, n);
	if (max == 0 || !isfinite(max))
		return 0;
	/* The largest value goes near the last level of either side. Coarse integers gain from cutting it off. */
	static const float beyond[] = {0, 0.3f, 0.6f, 0.9f, 1.2f, 1.5f, -0.3f, -0.6f};
	float best = max / (float)lo, best_gain = 0;
	for (int side = 0; side < 2; side++) {
		float level = (float)(side ? hi : lo), away = side ? 1.0f : -1.0f;
		for (unsigned i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
			float scale = 0;
			float gain = scale_gain(x, w, n, inverse(max / (level + away * beyond[i])), lo, hi, &scale);
			if (gain > best_gain) {
				best_gain = gain;
				best = scale;
			}
		}
	}
	for (int round = 0; round < 3; round++) {
		float scale = 0;
		float gain = scale_gain(x, w, n, inverse(best), lo, hi, &scale);
		if (!(gain > best_gain))
			break;
		best_gain = gain;
		best = scale;
	}
	return isfinite(best) ? best : 0;
}

/* The best scale and minimum for an assignment, and what they gain over all zeros; false when there is none. */
static bool solve_affine(const hth_fit_sums *s, bool min_negative, hth_affine *ret_fit, float *ret_gain)
{
	float det = s->w * s->wqq - s->wq * s->wq;
	hth_affine fit = {0, 0};
	if (det > 0) {
		fit.scale = (s->w * s->wxq - s->wx * s->wq) / det;
		fit.min = (s->wqq * s->wx - s->wq * s->wxq) / det;
	}
	if (!(det > 0) || (min_negative && fit.min > 0)) {
		if (!(s->wqq > 0))
			return false;
		fit = (hth_affine){s->wxq / s->wqq, 0};
	}
	*ret_gain = fit.scale * s->wxq + fit.min * s->wx;
	*ret_fit = fit;
	return fit.scale >= 0 && isfinite(fit.scale) && isfinite(fit.min);
}

hth_affine hth_fit_affine(const float *x, const float *w, int n, int top, bool min_negative)
{
	float low = x[0], high = x[0];
	for (int i = 1; i < n; i++) {
		if (x[i] < low)
			low = x[i];
		if (x[i] > high)
			high = x[i];
	}
	if (min_negative && low > 0)
		low = 0;
	if (!(high > low) || !isfinite(high - low))
		return (hth_affine){0, isfinite(low) && !(min_negative && low > 0) ? low : 0};
	hth_affine best = {(high - low) / (float)top, low};
	float best_gain = -INFINITY;
	/* Spans a share of a level narrower and wider than the values', held at their low end, middle and high end:
	 * what is gained is mostly the luck of the rounding, so the phases matter as much as the widths. */
	for (int i = 0; i < 7 * 3; i++) {
		int width = i / 3, phase = i % 3;
		float scale = (high - low) / ((float)top - 0.9f + 0.3f * (float)width);
		float min = low + 0.5f * (float)phase * (high - low - scale * (float)top);
		hth_fit_sums sums = hth_fit_assign(x, w, n, scale, min_negative && min > 0 ? 0 : min, 0, top);
		hth_affine fit;
		float gain;
		if (solve_affine(&sums, min_negative, &fit, &gain) && gain > best_gain) {
			best_gain = gain;
			best = fit;
		}
	}
	for (int round = 0; round < 4; round++) {
		hth_fit_sums sums = hth_fit_assign(x, w, n, best.scale, best.min, 0, top);
		hth_affine fit;
		float gain;
		if (!solve_affine(&sums, min_negative, &fit, &gain) || !(gain > best_gain))
			break;
		best_gain = gain;
		best = fit;
	}
	return best;
}

uint16_t hth_fit_half(float scale)
{
	uint16_t h = hth_f32_to_f16(scale);
	if ((h & 0x7C00) == 0x7C00)
		h = isnan(scale) ? 0 : (uint16_t)((h & 0x8000) | 0x7BFF);
	return h;
}
