/* quant-k.c - floats to the K formats: super-blocks of 256 in groups whose scales are integers of one common scale.
 *
 * Each group is fitted alone first. Its scale (and minimum) then becomes an integer of the super-block's scale; that
 * common scale is fitted too, with what an error costs each group. Last, since rounding a scale moves the best one,
 * each group tries the neighbouring integers with its values assigned anew, and the common scale is solved once more.
 */
#include "engine/quant/blocks.h"
#include "engine/quant/convert.h"
#include "engine/quant/quant-fit.h"
#include "engine/quant/quant.h"

#include <math.h>
#include <string.h>

static const float *weights_at(const float *importance, size_t i)
{
	return importance != NULL ? importance + i : hth_fit_ones;
}

/* What a fit of integer group scales leaves behind: x ~ d * level[g] * q. */
typedef struct symmetric_fit {
	uint16_t d;
	int8_t level[16];
	int8_t q[HTH_QK_K];
} symmetric_fit;

/* The best level of one group near `level`, for the common scale d. */
static int best_level(const float *x, const float *w, float d, int level, int level_lo, int level_hi, int lo,
                      hth_fit_sums *ret_sums)
{
	int best = level;
	float best_error = INFINITY;
	for (int l = level - 1; l <= level + 1; l++) {
		if (l < level_lo || l > level_hi)
			continue;
		hth_fit_sums s = hth_fit_assign(x, w, 16, d * (float)l, 0, lo, -lo - 1);
		float error = hth_fit_error(&s, d * (float)l, 0);
		if (error < best_error) {
			best_error = error;
			best = l;
			*ret_sums = s;
		}
	}
	return best;
}

/* 16 groups of 16, values lo to -lo - 1, levels level_lo to level_hi. */
static void fit_symmetric(const float *x, const float *w, int lo, int level_lo, int level_hi, symmetric_fit *out)
{
	float scale[16], cost[16];
	for (int g = 0; g < 16; g++) {
		scale[g] = hth_fit_scale(x + 16 * g, w + 16 * g, 16, lo, -lo - 1);
		cost[g] = hth_fit_assign(x + 16 * g, w + 16 * g, 16, scale[g], 0, lo, -lo - 1).wqq;
	}
	out->d = hth_fit_half(hth_fit_scale(scale, cost, 16, level_lo, level_hi));
	hth_fit_round(scale, 16, hth_f16_to_f32(out->d), 0, level_lo, level_hi, out->level);
	for (int round = 0; round < 2; round++) {
		float d = hth_f16_to_f32(out->d), xq = 0, qq = 0;
		for (int g = 0; g < 16; g++) {
			hth_fit_sums s = {0};
			int level = best_level(x + 16 * g, w + 16 * g, d, out->level[g], level_lo, level_hi, lo, &s);
			out->level[g] = (int8_t)level;
			xq += (float)level * s.wxq;
			qq += (float)(level * level) * s.wqq;
		}
		if (round == 0 && qq > 0 && isfinite(xq / qq))
			out->d = hth_fit_half(xq / qq);
	}
	for (int g = 0; g < 16; g++)
		hth_fit_round(x + 16 * g, 16, hth_f16_to_f32(out->d) * (float)out->level[g], 0, lo, -lo - 1,
		              out->q + 16 * g);
}

/* x ~ d * level[g] * q - dmin * low[g] */
typedef struct affine_fit {
	uint16_t d, dmin;
	uint8_t level[16], low[16];
	int8_t q[HTH_QK_K];
} affine_fit;

/* Tries the neighbours of one group's level and low; keeps the best pair and its sums. */
static void best_pair(const float *x, const float *w, int size, int top, int level_top, float d, float dmin,
                      uint8_t *level, uint8_t *low, hth_fit_sums *ret_sums)
{
	int l0 = *level, m0 = *low;
	float best_error = INFINITY;
	for (int l = l0 - 1; l <= l0 + 1; l++) {
		for (int m = m0 - 1; m <= m0 + 1; m++) {
			if (l < 0 || m < 0 || l > level_top || m > level_top)
				continue;
			float scale = d * (float)l, min = -dmin * (float)m;
			hth_fit_sums s = hth_fit_assign(x, w, size, scale, min, 0, top);
			float error = hth_fit_error(&s, scale, min);
			if (error < best_error) {
				best_error = error;
				*level = (uint8_t)l;
				*low = (uint8_t)m;
				*ret_sums = s;
			}
		}
	}
}

/* Sums over a super-block of the linear system for (d, dmin). */
typedef struct pair_sums {
	float aa, ab, bb, xa, xb;
} pair_sums;

static void solve_pair(const pair_sums *s, affine_fit *out)
{
	float det = s->aa * s->bb - s->ab * s->ab;
	float d = 0, dmin = 0;
	if (det > 0) {
		d = (s->xa * s->bb - s->xb * s->ab) / det;
		dmin = (s->xa * s->ab - s->xb * s->aa) / det;
	} else if (s->aa > 0) {
		d = s->xa / s->aa;
	}
	if (d > 0 && dmin >= 0 && isfinite(d) && isfinite(dmin)) {
		out->d = hth_fit_half(d);
		out->dmin = hth_fit_half(dmin);
	}
}

/* `groups` groups, values 0 to top, levels 0 to level_top. */
static void fit_affine(const float *x, const float *w, int groups, int top, int level_top, affine_fit *out)
{
	int size = HTH_QK_K / groups;
	hth_affine fit[16];
	float max_scale = 0, max_min = 0;
	for (int g = 0; g < groups; g++) {
		fit[g] = hth_fit_affine(x + size * g, w + size * g, size, top, true);
		max_scale = fmaxf(max_scale, fit[g].scale);
		max_min = fmaxf(max_min, -fit[g].min);
	}
	out->d = hth_fit_half(max_scale / (float)level_top);
	out->dmin = hth_fit_half(max_min / (float)level_top);
	for (int round = 0; round < 2; round++) {
		float d = hth_f16_to_f32(out->d), dmin = hth_f16_to_f32(out->dmin);
		pair_sums sums = {0};
		for (int g = 0; g < groups; g++) {
			if (round == 0) {
				float l = d > 0 ? fit[g].scale / d : 0, m = dmin > 0 ? -fit[g].min / dmin : 0;
				out->level[g] = (uint8_t)fminf(fmaxf(rintf(l), 0), (float)level_top);
				out->low[g] = (uint8_t)fminf(fmaxf(rintf(m), 0), (float)level_top);
			}
			hth_fit_sums s = {0};
			best_pair(x + size * g, w + size * g, size, top, level_top, d, dmin, &out->level[g],
			          &out->low[g], &s);
			float l = out->level[g], m = out->low[g];
			sums.aa += l * l * s.wqq;
			sums.ab += l * m * s.wq;
			sums.bb += m * m * s.w;
			sums.xa += l * s.wxq;
			sums.xb += m * s.wx;
		}
		if (round == 0)
			solve_pair(&sums, out);
	}
	float d = hth_f16_to_f32(out->d), dmin = hth_f16_to_f32(out->dmin);
	for (int g = 0; g < groups; g++)
		hth_fit_round(x + size * g, size, d * (float)out->level[g], -dmin * (float)out->low[g], 0, top,
		              out->q + size * g);
}

HTH_QUANTIZE(q2_k)
{
	hth_block_q2_k *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		affine_fit fit;
		fit_affine(src + i, weights_at(importance, i), 16, 3, 15, &fit);
		b->d = fit.d;
		b->dmin = fit.dmin;
		for (int g = 0; g < 16; g++)
			b->scales[g] = (uint8_t)(fit.level[g] | fit.low[g] << 4);
		memset(b->qs, 0, sizeof b->qs);
		for (int e = 0; e < HTH_QK_K; e++)
			b->qs[32 * (e / 128) + e % 32] |= (uint8_t)(fit.q[e] << 2 * (e % 128 / 32));
	}
}

HTH_QUANTIZE(q3_k)
{
	hth_block_q3_k *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		symmetric_fit fit;
		fit_symmetric(src + i, weights_at(importance, i), -4, -32, 31, &fit);
		memset(b, 0, sizeof *b);
		b->d = fit.d;
		for (int g = 0; g < 16; g++) {
			unsigned sc = (unsigned)(fit.level[g] + 32);
			b->scales[g % 8] |= (uint8_t)((sc & 15) << 4 * (g / 8));
			b->scales[8 + g % 4] |= (uint8_t)(sc >> 4 << 2 * (g / 4));
		}
		for (int e = 0; e < HTH_QK_K; e++) {
			unsigned q = (unsigned)(fit.q[e] + 4);
			b->qs[32 * (e / 128) + e % 32] |= (uint8_t)((q & 3) << 2 * (e % 128 / 32));
			b->hmask[e % 32] |= (uint8_t)((q >> 2) << e / 32);
		}
	}
}

/* The inverse of hth_k4_scale_min. */
static void pack_k4(const affine_fit *fit, uint8_t scales[12])
{
	memset(scales, 0, 12);
	for (int g = 0; g < 4; g++) {
		scales[g] = (uint8_t)(fit->level[g] | (fit->level[g + 4] >> 4) << 6);
		scales[g + 4] = (uint8_t)(fit->low[g] | (fit->low[g + 4] >> 4) << 6);
		scales[g + 8] = (uint8_t)((fit->level[g + 4] & 15) | (fit->low[g + 4] & 15) << 4);
	}
}

static void pack_k4_nibbles(const int8_t *q, uint8_t qs[128])
{
	for (int k = 0; k < 128; k++)
		qs[k] = (uint8_t)((q[64 * (k / 32) + k % 32] & 15) | (q[64 * (k / 32) + 32 + k % 32] & 15) << 4);
}

HTH_QUANTIZE(q4_k)
{
	hth_block_q4_k *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		affine_fit fit;
		fit_affine(src + i, weights_at(importance, i), 8, 15, 63, &fit);
		b->d = fit.d;
		b->dmin = fit.dmin;
		pack_k4(&fit, b->scales);
		pack_k4_nibbles(fit.q, b->qs);
	}
}

HTH_QUANTIZE(q5_k)
{
	hth_block_q5_k *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		affine_fit fit;
		fit_affine(src + i, weights_at(importance, i), 8, 31, 63, &fit);
		b->d = fit.d;
		b->dmin = fit.dmin;
		pack_k4(&fit, b->scales);
		pack_k4_nibbles(fit.q, b->qs);
		memset(b->qh, 0, sizeof b->qh);
		for (int e = 0; e < HTH_QK_K; e++)
			b->qh[e % 32] |= (uint8_t)((fit.q[e] >> 4) << e / 32);
	}
}

HTH_QUANTIZE(q6_k)
{
	hth_block_q6_k *b = dst;
	for (size_t i = 0; i < n; i += HTH_QK_K, b++) {
		symmetric_fit fit;
		fit_symmetric(src + i, weights_at(importance, i), -32, -128, 127, &fit);
		memset(b, 0, sizeof *b);
		b->d = fit.d;
		memcpy(b->scales, fit.level, sizeof b->scales);
		for (int e = 0; e < HTH_QK_K; e++) {
			int half = e / 128, k = e % 128 / 32, l = e % 32;
			unsigned q = (unsigned)(fit.q[e] + 32);
			b->ql[64 * half + 32 * (k % 2) + l] |= (uint8_t)((q & 15) << 4 * (k / 2));
			b->qh[32 * half + l] |= (uint8_t)(q >> 4 << 2 * k);
		}
	}
}
