/* quant-fit.h - finding the scale (and minimum) with which small integers stand for floats with the least error.
 *
 * Everything here minimises a weighted squared error, sum of w (x - x')^2. The method is the same throughout: try
 * scales around the obvious one, assign the nearest integers, solve for the best scale of those integers (linear least
 * squares), keep the best, and repeat from there (as Lloyd's algorithm does). n is a multiple of 4, at most 256.
 * Weights are >= 0. Inputs that are not finite give some valid result, never undefined behaviour.
 */
#ifndef HTH_ENGINE_QUANT_FIT_H
#define HTH_ENGINE_QUANT_FIT_H

#include <stdbool.h>
#include <stdint.h>

/* x ~ scale * q + min */
typedef struct hth_affine {
	float scale, min;
} hth_affine;

/* Weighted sums over one assignment of integers q. */
typedef struct hth_fit_sums {
	float w, wx, wq, wxq, wqq;
} hth_fit_sums;

/* 256 ones: the weights when nobody knows better. */
extern const float hth_fit_ones[256];

/* The scale d with x ~ d * q, q in [lo, hi], lo < 0 < hi. Its sign is free. */
float hth_fit_scale(const float *x, const float *w, int n, int lo, int hi);
/* Scale and minimum with q in [0, top]; with min_negative the minimum is kept at or below 0. scale >= 0. */
hth_affine hth_fit_affine(const float *x, const float *w, int n, int top, bool min_negative);

/* q = nearest integer to (x - min) / scale in [lo, hi]; zero scale gives the integer nearest 0. */
void hth_fit_round(const float *x, int n, float scale, float min, int lo, int hi, int8_t *q);
/* Sums over the assignment that hth_fit_round would make. */
hth_fit_sums hth_fit_assign(const float *x, const float *w, int n, float scale, float min, int lo, int hi);
/* Error of a scale and minimum with the sums of their own assignment, less sum of w x^2 (which does not depend on
 * them). */
static inline float hth_fit_error(const hth_fit_sums *s, float scale, float min)
{
	return scale * (scale * s->wqq - 2 * s->wxq) + min * (min * s->w - 2 * s->wx) + 2 * scale * min * s->wq;
}

/* An F16 for a scale: never infinite. */
uint16_t hth_fit_half(float scale);

#endif
