/* reference.h - the same tiny models computed naively: double precision, every token against every other in one go, no
 * cache, no batches, straight from a spec and its weights. Shares no code with the engine.
 */
#ifndef HTH_TESTS_REFERENCE_H
#define HTH_TESTS_REFERENCE_H

#include "tiny.h"

static void ref_matmul(const float *w, size_t rows, size_t cols, const double *x, double *y)
{
	for (size_t r = 0; r < rows; r++) {
		y[r] = 0;
		for (size_t c = 0; c < cols; c++)
			y[r] += (double)w[r * cols + c] * x[c];
	}
}

static void ref_norm(const double *x, const float *w, size_t n, double *y)
{
	double ss = 0;
	for (size_t i = 0; i < n; i++)
		ss += x[i] * x[i];
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] / sqrt(ss / (double)n + 1e-5) * w[i];
}

static void ref_add(double *x, const float *b, size_t n)
{
	for (size_t i = 0; b != NULL && i < n; i++)
		x[i] += b[i];
}

/* The angle and magnitude of pair i at a position: each scheme written from its paper. */
static void ref_angle(tiny *t, int layer, int i, int position, bool long_context, double *angle, double *magnitude)
{
	const tiny_spec *s = &t->spec;
	int n = s->n_rot ? s->n_rot : s->head_dim;
	bool local = s->local_base != 0 && s->window && layer % s->period < s->period - 1;
	double base = local ? s->local_base : s->base ? s->base : 10000, factor = local || !s->factor ? 1 : s->factor;
	double f = pow(base, -2.0 * i / n);
	*magnitude = s->attn_factor ? s->attn_factor : 1;
	const float *factors =
	    s->freq_factors   ? tiny_get(t, "rope_freqs.weight")
	    : s->long_factors ? tiny_get(t, long_context ? "rope_factors_long.weight" : "rope_factors_short.weight")
	                      : NULL;
	if (factors != NULL)
		f /= factors[i];
	if (s->scaling != NULL && strcmp(s->scaling, "yarn") == 0) {
		/* wavelengths that fit 32 times or more into the original context stay, under once are interpolated,
		 * between by a ramp over the pair's index, whose ends are rounded outwards */
		double low = floor(n * log(s->ctx_orig / (32 * 2 * M_PI)) / (2 * log(base)));
		double high = ceil(n * log(s->ctx_orig / (1 * 2 * M_PI)) / (2 * log(base)));
		low = low < 0 ? 0 : low;
		high = high > n - 1 ? n - 1 : high;
		double ramp = (i - low) / (high - low < 0.001 ? 0.001 : high - low);
		ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
		f = f * (1 - ramp) + f / factor * ramp;
		*magnitude *= 1 + 0.1 * log(factor);
	} else {
		f /= factor;
	}
	*angle = position * f;
}

static void ref_rope(tiny *t, int layer, int position, bool long_context, double *head)
{
	const tiny_spec *s = &t->spec;
	int n = s->n_rot ? s->n_rot : s->head_dim;
	if (s->no_rope_step && (layer + 1) % s->no_rope_step == 0)
		return;
	for (int i = 0; i < n / 2; i++) {
		int a = s->pairs ? 2 * i : i, b = s->pairs ? 2 * i + 1 : i + n / 2;
		double angle, m, x = head[a], y = head[b];
		ref_angle(t, layer, i, position, long_context, &angle, &m);
		head[a] = m * (x * cos(angle) - y * sin(angle));
		head[b] = m * (x * sin(angle) + y * cos(angle));
	}
}

static double ref_gated(tiny_act act, double g, double u)
{
	switch (act) {
	case TINY_SILU:
		return g / (1 + exp(-g)) * u;
	case TINY_GELU_TANH:
		return 0.5 * g * (1 + tanh(sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))) * u;
	case TINY_GELU_ERF:
		return 0.5 * g * (1 + erf(g / sqrt(2))) * u;
	case TINY_OAI:
		g = g > 7 ? 7 : g;
		u = u > 7 ? 7 : u < -7 ? -7 : u;
		return g / (1 + exp(-1.702 * g)) * (u + 1);
	}
	return 0;
}

/* out += weight * down(act(gate x) * up x) */
static void ref_ffn(tiny_act act, const float *gate, const float *up, const float *down, const float *gb,
                    const float *ub, const float *db, size_t n, size_t n_ff, const double *x, double weight,
                    double *out)
{
	double *g = malloc(n_ff * sizeof *g), *u = malloc(n_ff * sizeof *u), *y = malloc(n * sizeof *y);
	ref_matmul(gate, n_ff, n, x, g);
	ref_matmul(up, n_ff, n, x, u);
	ref_add(g, gb, n_ff);
	ref_add(u, ub, n_ff);
	for (size_t i = 0; i < n_ff; i++)
		g[i] = ref_gated(act, g[i], u[i]);
	ref_matmul(down, n, n_ff, g, y);
	ref_add(y, db, n);
	for (size_t i = 0; i < n; i++)
		out[i] += weight * y[i];
	free(g);
	free(u);
	free(y);
}

static void ref_experts(tiny *t, int layer, const double *x, double *out)
{
	const tiny_spec *s = &t->spec;
	size_t n = s->n_embd, ff = s->n_ff_exp;
	double score[64], p[64], weight[64], total = 0;
	int chosen[64];
	bool taken[64] = {false};
	ref_matmul(tiny_get(t, "blk.%d.ffn_gate_inp.weight", layer), s->n_expert, n, x, score);
	ref_add(score, tiny_get(t, "blk.%d.ffn_gate_inp.bias", layer), s->n_expert);
	for (int e = 0; e < s->n_expert; e++)
		total += p[e] = exp(score[e]);
	for (int k = 0; k < s->n_used; k++) {
		int best = -1;
		for (int e = 0; e < s->n_expert; e++)
			if (!taken[e] && (best < 0 || score[e] > score[best]))
				best = e;
		taken[chosen[k] = best] = true;
	}
	double sum = 0;
	for (int k = 0; k < s->n_used; k++)
		sum += weight[k] = p[chosen[k]] / (s->softmax_after ? 1 : total);
	for (int k = 0; k < s->n_used; k++) {
		int e = chosen[k];
		double w = s->softmax_after || s->norm_topk ? weight[k] / sum : weight[k];
		const float *gate, *up, *down;
		if (s->separate_experts) {
			gate = tiny_get(t, "blk.%d.ffn_gate.%d.weight", layer, e);
			up = tiny_get(t, "blk.%d.ffn_up.%d.weight", layer, e);
			down = tiny_get(t, "blk.%d.ffn_down.%d.weight", layer, e);
		} else {
			down = tiny_get(t, "blk.%d.ffn_down_exps.weight", layer) + e * n * ff;
			if (s->fused_experts) {
				gate = tiny_get(t, "blk.%d.ffn_gate_up_exps.weight", layer) + e * 2 * n * ff;
				up = gate + n * ff;
			} else {
				gate = tiny_get(t, "blk.%d.ffn_gate_exps.weight", layer) + e * n * ff;
				up = tiny_get(t, "blk.%d.ffn_up_exps.weight", layer) + e * n * ff;
			}
		}
		const float *gb = tiny_get(t, "blk.%d.ffn_gate_exps.bias", layer),
		            *ub = tiny_get(t, "blk.%d.ffn_up_exps.bias", layer),
		            *db = tiny_get(t, "blk.%d.ffn_down_exps.bias", layer);
		ref_ffn(s->act, gate, up, down, gb ? gb + e * ff : NULL, ub ? ub + e * ff : NULL,
		        db ? db + e * n : NULL, n, ff, x, w, out);
	}
	if (s->n_ff_shared > 0) {
		double w = 1;
		if (s->shared_gate) {
			ref_matmul(tiny_get(t, "blk.%d.ffn_gate_inp_shexp.weight", layer), 1, n, x, &w);
			w = 1 / (1 + exp(-w));
		}
		ref_ffn(s->act, tiny_get(t, "blk.%d.ffn_gate_shexp.weight", layer),
		        tiny_get(t, "blk.%d.ffn_up_shexp.weight", layer),
		        tiny_get(t, "blk.%d.ffn_down_shexp.weight", layer), NULL, NULL, NULL, n, s->n_ff_shared, x, w,
		        out);
	}
}

/* x[n_tokens][n_embd] -> out, one layer's attention of the normed input h. */
static void ref_attention(tiny *t, int layer, size_t n_tokens, bool long_context, const double *h, double *out)
{
	const tiny_spec *s = &t->spec;
	size_t n = s->n_embd, dim = s->head_dim, nq = s->n_head * dim, nkv = s->n_head_kv * dim, all = nq + 2 * nkv;
	double *qkv = malloc(n_tokens * all * sizeof *qkv), *score = malloc(n_tokens * sizeof *score),
	       *o = malloc(nq * sizeof *o);
	const float *fused = tiny_get(t, "blk.%d.attn_qkv.weight", layer);
	const float *w[3] = {fused, fused ? fused + nq * n : NULL, fused ? fused + (nq + nkv) * n : NULL};
	const float *fused_b = tiny_get(t, "blk.%d.attn_qkv.bias", layer);
	const float *b[3] = {fused_b, fused_b ? fused_b + nq : NULL, fused_b ? fused_b + nq + nkv : NULL};
	const char *names[] = {"attn_q", "attn_k", "attn_v"};
	for (int j = 0; j < 3 && !fused; j++) {
		w[j] = tiny_get(t, "blk.%d.%s.weight", layer, names[j]);
		b[j] = tiny_get(t, "blk.%d.%s.bias", layer, names[j]);
	}
	for (size_t i = 0; i < n_tokens; i++) {
		double *q = qkv + i * all;
		for (int j = 0; j < 3; j++) {
			double *y = q + (j == 0 ? 0 : j == 1 ? nq : nq + nkv);
			ref_matmul(w[j], j ? nkv : nq, n, h + i * n, y);
			ref_add(y, b[j], j ? nkv : nq);
			for (size_t head = 0; j < 2 && head < (j ? nkv : nq) / dim; head++) {
				if (s->qk_norm)
					ref_norm(y + head * dim,
					         tiny_get(t,
					                  j ? "blk.%d.attn_k_norm.weight" : "blk.%d.attn_q_norm.weight",
					                  layer),
					         dim, y + head * dim);
				ref_rope(t, layer, (int)i, long_context, y + head * dim);
			}
		}
		for (size_t j = 0; s->temp_scale != 0 && j < nq; j++)
			q[j] *= log(floor((double)i / s->temp_length) + 1) * s->temp_scale + 1;
	}
	bool windowed = s->window && (s->period == 0 || layer % s->period < s->period - 1);
	const float *sinks = tiny_get(t, "blk.%d.attn_sinks.weight", layer);
	for (size_t i = 0; i < n_tokens; i++) {
		for (size_t head = 0; head < (size_t)s->n_head; head++) {
			const double *q = qkv + i * all + head * dim;
			size_t kv_head = head / (s->n_head / s->n_head_kv);
			double sum = sinks ? exp(sinks[head]) : 0;
			for (size_t j = 0; j <= i; j++) {
				const double *k = qkv + j * all + nq + kv_head * dim;
				double dot = 0;
				for (size_t c = 0; c < dim; c++)
					dot += q[c] * k[c];
				dot *= s->attn_scale ? s->attn_scale : 1 / sqrt((double)dim);
				if (s->attn_cap)
					dot = s->attn_cap * tanh(dot / s->attn_cap);
				score[j] = windowed && i - j >= (size_t)s->window ? 0 : exp(dot);
				sum += score[j];
			}
			for (size_t c = 0; c < dim; c++) {
				o[head * dim + c] = 0;
				for (size_t j = 0; j <= i; j++)
					o[head * dim + c] +=
					    score[j] / sum * qkv[j * all + nq + nkv + kv_head * dim + c];
			}
		}
		ref_matmul(tiny_get(t, "blk.%d.attn_output.weight", layer), n, nq, o, out + i * n);
		ref_add(out + i * n, tiny_get(t, "blk.%d.attn_output.bias", layer), n);
	}
	free(qkv);
	free(score);
	free(o);
}

/* Logits after every token: n_tokens x TINY_VOCAB, the caller's to free. */
static double *reference_logits(tiny *t, const int32_t *tokens, size_t n_tokens, bool long_context)
{
	const tiny_spec *s = &t->spec;
	size_t n = s->n_embd;
	double *x = malloc(n_tokens * n * sizeof *x), *h = malloc(n_tokens * n * sizeof *h),
	       *y = malloc(n_tokens * n * sizeof *y);
	double *logits = malloc(n_tokens * TINY_VOCAB * sizeof *logits),
	       residual = s->residual_scale ? s->residual_scale : 1;
	for (size_t i = 0; i < n_tokens * n; i++)
		x[i] = tiny_get(t, "token_embd.weight")[(size_t)tokens[i / n] * n + i % n] *
		       (s->embd_scale ? s->embd_scale : 1);
	for (int layer = 0; layer < s->n_layer; layer++) {
		for (size_t i = 0; i < n_tokens; i++)
			ref_norm(x + i * n, tiny_get(t, "blk.%d.attn_norm.weight", layer), n, h + i * n);
		ref_attention(t, layer, n_tokens, long_context, h, y);
		for (size_t i = 0; i < n_tokens; i++) {
			double *xi = x + i * n, *hi = h + i * n, *yi = y + i * n;
			if (s->post_norms)
				ref_norm(yi, tiny_get(t, "blk.%d.post_attention_norm.weight", layer), n, yi);
			for (size_t c = 0; c < n; c++)
				xi[c] += residual * yi[c];
			ref_norm(xi,
			         tiny_get(t,
			                  s->ffn_norm_is_post ? "blk.%d.post_attention_norm.weight"
			                                      : "blk.%d.ffn_norm.weight",
			                  layer),
			         n, hi);
			memset(yi, 0, n * sizeof *yi);
			if (s->n_expert > 0) {
				ref_experts(t, layer, hi, yi);
			} else {
				const float *up = tiny_get(t, "blk.%d.ffn_up.weight", layer);
				const float *gate = s->fused_ffn ? up : tiny_get(t, "blk.%d.ffn_gate.weight", layer);
				ref_ffn(s->act, gate, s->fused_ffn ? up + n * s->n_ff : up,
				        tiny_get(t, "blk.%d.ffn_down.weight", layer), NULL, NULL, NULL, n, s->n_ff, hi,
				        1, yi);
			}
			if (s->post_norms)
				ref_norm(yi, tiny_get(t, "blk.%d.post_ffw_norm.weight", layer), n, yi);
			for (size_t c = 0; c < n; c++)
				xi[c] += residual * yi[c];
		}
	}
	for (size_t i = 0; i < n_tokens; i++) {
		double *out = logits + i * TINY_VOCAB;
		ref_norm(x + i * n, tiny_get(t, "output_norm.weight"), n, h + i * n);
		ref_matmul(tiny_get(t, s->tied ? "token_embd.weight" : "output.weight"), TINY_VOCAB, n, h + i * n, out);
		for (size_t c = 0; c < TINY_VOCAB; c++) {
			out[c] /= s->logit_scale ? s->logit_scale : 1;
			out[c] = s->logit_cap ? s->logit_cap * tanh(out[c] / s->logit_cap) : out[c];
		}
	}
	free(x);
	free(h);
	free(y);
	return logits;
}

#endif
