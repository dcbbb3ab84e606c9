/* rope.h - rotary position embeddings: Su et al., "RoFormer" (arXiv 2104.09864).
 *
 * Every scaling scheme ends as one frequency per rotated pair and one magnitude, so a model keeps those and the rest of
 * the engine never hears of schemes:
 *   plain      f[i] = base^(-2i/n)
 *   linear     f[i] / factor                                (kaiokendev; position interpolation, arXiv 2306.15595)
 *   Llama 3    f[i] / rope_freqs[i]                         (the factors come as a tensor)
 *   longrope   f[i] / rope_factors_{short,long}[i]          (arXiv 2402.13753; which set, the context size decides)
 *   YaRN       a ramp between f[i] and f[i] / factor, magnitude 1 + 0.1 ln(factor)   (arXiv 2309.00071)
 */
#ifndef HTH_ENGINE_MODEL_ROPE_H
#define HTH_ENGINE_MODEL_ROPE_H

#include "engine/model/model-params.h"

typedef struct hth_rope {
	hth_rope_style style;
	uint32_t n_rot;  /* 0: does nothing */
	float magnitude; /* multiplies cos and sin */
	double *freq;    /* n_rot / 2, radians per position; NULL when n_rot is 0 */
} hth_rope;

/* factors: n_rot / 2 positive numbers that divide the frequencies, or NULL. local: the frequencies of sliding-window
 * layers (another base and factor, never YaRN's ramp when it has no factor). */
HTH_MUST_USE hth_status hth_rope_init(hth_rope *rope, const hth_params *params, bool local, const float *factors,
                                      hth_error *err);
void hth_rope_finish(hth_rope *rope);

/* ret_table: n_rot floats: n_rot / 2 cosines, then as many sines. */
void hth_rope_table(const hth_rope *rope, uint32_t position, float *ret_table);
/* Rotates n_heads heads of head_dim floats that follow each other; elements past n_rot stay. */
void hth_rope_apply(const hth_rope *rope, const float *table, float *x, size_t n_heads, size_t head_dim);

#endif
