/* rope.c - frequencies from a model's scaling scheme, and the rotation itself.
 *
 * Angles are position times frequency in double precision: at position 100,000 a float angle has lost the second digit
 * of its fraction. A table row is made once per token and batch and used by every layer and head.
 */
#include "engine/model/rope.h"

#include "base/mem.h"

#include <math.h>

/* The (fractional) pair index whose wavelength fits `rotations` times into the original context: YaRN, section 3.2. */
static double yarn_pair(const hth_params *p, double base, double rotations)
{
	return p->n_rot * log(p->rope_ctx_orig / (rotations * 2 * M_PI)) / (2 * log(base));
}

hth_status hth_rope_init(hth_rope *rope, const hth_params *p, bool local, const float *factors, hth_error *err)
{
	double base = local ? p->rope_base_local : p->rope_base;
	double factor = local ? p->rope_factor_local : p->rope_factor;
	double magnitude = p->rope_attn_factor;
	*rope = (hth_rope){.style = p->rope_style, .n_rot = p->n_rot, .magnitude = 1};
	if (p->n_rot == 0)
		return HTH_OK;
	rope->freq = hth_alloc_array(p->n_rot / 2, sizeof *rope->freq);
	if (rope->freq == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for rope frequencies");

	double low = 0, high = 0, ext = p->yarn_ext_factor;
	if (ext != 0) {
		/* The reference rounds the ramp's ends outward and keeps them inside the head. */
		low = fmax(0, floor(yarn_pair(p, base, p->yarn_beta_fast)));
		high = fmin(p->n_rot - 1, ceil(yarn_pair(p, base, p->yarn_beta_slow)));
		/* A log multiplier says that the model was trained with that much of YaRN's magnitude already taken
		 * back. */
		magnitude *= factor > 1 ? (1 + 0.1 * log(factor)) /
		                              (p->yarn_log_mul != 0 ? 1 + 0.1 * p->yarn_log_mul * log(factor) : 1)
		                        : 1;
	}
	for (uint32_t i = 0; i < p->n_rot / 2; i++) {
		double f = pow(base, -2.0 * i / p->n_rot);
		if (factors != NULL) {
			if (!(factors[i] > 0) || !isfinite(factors[i])) {
				hth_rope_finish(rope);
				return hth_fail(err, HTH_BAD_FORMAT, "rope factor %u is %g; it must be positive", i,
				                (double)factors[i]);
			}
			f /= factors[i];
		}
		double keep = 0; /* how much of the unscaled frequency stays */
		if (ext != 0) {
			double ramp = (i - low) / fmax(0.001, high - low);
			keep = (1 - fmin(1, fmax(0, ramp))) * ext;
		}
		rope->freq[i] = f / factor * (1 - keep) + f * keep;
	}
	rope->magnitude = (float)magnitude;
	return HTH_OK;
}

void hth_rope_finish(hth_rope *rope)
{
	free(rope->freq);
	rope->freq = NULL;
}

void hth_rope_table(const hth_rope *rope, uint32_t position, float *ret_table)
{
	uint32_t half = rope->n_rot / 2;
	for (uint32_t i = 0; i < half; i++) {
		double angle = position * rope->freq[i], s, c;
		sincos(angle, &s, &c);
		ret_table[i] = (float)c * rope->magnitude;
		ret_table[half + i] = (float)s * rope->magnitude;
	}
}

/* Four floats anywhere: what every processor has. */
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
static inline quad load(const float *p) { return *(const quad *)(const void *)p; }
static inline void store(float *p, quad x) { *(quad *)(void *)p = x; }

static void rotate_halves(float *x, const float *c, const float *s, size_t half)
{
	size_t i = 0;
	for (; i + 4 <= half; i += 4) {
		quad a = load(x + i), b = load(x + half + i), cos = load(c + i), sin = load(s + i);
		store(x + i, a * cos - b * sin);
		store(x + half + i, a * sin + b * cos);
	}
	for (; i < half; i++) {
		float a = x[i], b = x[half + i];
		x[i] = a * c[i] - b * s[i];
		x[half + i] = a * s[i] + b * c[i];
	}
}

static void rotate_pairs(float *x, const float *c, const float *s, size_t half)
{
	const quad sign = {-1, 1, -1, 1};
	size_t i = 0;
	for (; i + 4 <= half; i += 4) {
		quad cos = load(c + i), sin = load(s + i), a = load(x + 2 * i), b = load(x + 2 * i + 4);
#define IN_ORDER(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
		store(x + 2 * i, a * IN_ORDER(cos, 0, 0, 1, 1) + IN_ORDER(a, 1, 0, 3, 2) * (IN_ORDER(sin, 0, 0, 1, 1) * sign));
		store(x + 2 * i + 4, b * IN_ORDER(cos, 2, 2, 3, 3) + IN_ORDER(b, 1, 0, 3, 2) * (IN_ORDER(sin, 2, 2, 3, 3) * sign));
#undef IN_ORDER
	}
	for (; i < half; i++) {
		float a = x[2 * i], b = x[2 * i + 1];
		x[2 * i] = a * c[i] - b * s[i];
		x[2 * i + 1] = a * s[i] + b * c[i];
	}
}

void hth_rope_apply(const hth_rope *rope, const float *table, float *x, size_t n_heads, size_t head_dim)
{
	size_t half = rope->n_rot / 2;
	for (size_t h = 0; h < n_heads; h++, x += head_dim) {
		if (rope->style == HTH_ROPE_HALVES)
			rotate_halves(x, table, table + half, half);
		else
			rotate_pairs(x, table, table + half, half);
	}
}
