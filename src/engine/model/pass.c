/* pass.c - the blocks of a forward pass, but for attention (attention.c) and experts (experts.c).
 *
 * Products run on the whole pool through hth_matmul_run. What is done row by row in between runs on the caller alone
 * when there are few rows (a decode step must not pay a barrier for adding 2,048 numbers) and in pieces on the pool
 * when there are many. A pass with no rows left (narrowed to none in its last layer) does nothing.
 */
#include "engine/model/pass.h"

#include "base/mem.h"

#include <math.h>
#include <stddef.h>

enum {
	ROWS_PER_TASK = 4,
	ROWS_INLINE = 4,
	EXPECT_ROWS = 8, /* with more, products and not the reading of weights take the time */
};

typedef struct rows_job {
	hth_pass *p;
	hth_rows_fn *fn;
	const void *arg;
	size_t n;
} rows_job;

static void rows_task(void *ctx, size_t task, unsigned worker)
{
	const rows_job *job = ctx;
	size_t first = task * ROWS_PER_TASK;
	(void)worker;
	job->fn(job->p, job->arg, first, HTH_MIN((size_t)ROWS_PER_TASK, job->n - first));
}

void hth_pass_rows(hth_pass *p, size_t n, hth_rows_fn *fn, const void *arg)
{
	if (n <= ROWS_INLINE) {
		if (n > 0)
			fn(p, arg, 0, n);
		return;
	}
	rows_job job = {p, fn, arg, n};
	hth_threads_run(p->threads, (n + ROWS_PER_TASK - 1) / ROWS_PER_TASK, rows_task, &job);
}

/* The bytes of a layer's description [from, to), members of it. */
#define LAYER_EXTENT(l, from, to) \
	((hth_extent){(const char *)(l) + offsetof(hth_layer, from), offsetof(hth_layer, to) - offsetof(hth_layer, from)})

void hth_pass_expect(hth_pass *p, hth_then then)
{
	const hth_model *m = p->model;
	const hth_layer *l = &m->layers[p->layer], *next = p->layer + 1 < m->params.n_layer ? l + 1 : NULL;
	const hth_matrix *matrices[3] = {NULL};
	size_t n = 0, n_first = 0;
	hth_extent first[2]; /* what the caller reads before it opens the next run: a norm's weights, what the layer is */
	const void *begins[HTH_THREADS_MAX];

	if (p->n_rows > EXPECT_ROWS)
		then = HTH_THEN_UNKNOWN;
	const float *norm = NULL;
	switch (then) {
	case HTH_THEN_UNKNOWN:
		break;
	case HTH_THEN_ATTENTION:
	case HTH_THEN_ATTENTION_OUT:
		matrices[n++] = &l->o;
		break;
	case HTH_THEN_FFN:
		norm = l->ffn_norm;
		first[n_first++] = LAYER_EXTENT(l, ffn_norm, router_b);
		if (l->router.rows > 0) {
			matrices[n++] = &l->router;
		} else {
			matrices[n++] = &l->up;
			matrices[n++] = &l->gate;
		}
		break;
	case HTH_THEN_FFN_DOWN:
		matrices[n++] = &l->down;
		break;
	case HTH_THEN_LAYER:
		norm = next != NULL ? next->attn_norm : m->output_norm;
		if (next != NULL) {
			first[n_first++] = LAYER_EXTENT(next, window, o_b);
			matrices[n++] = &next->q;
			matrices[n++] = &next->k;
			matrices[n++] = &next->v;
		} else {
			matrices[n++] = &m->output;
		}
		break;
	}
	if (norm != NULL)
		first[n_first++] = (hth_extent){norm, m->params.n_embd * sizeof *norm};
	hth_matmul_begins(p->threads, matrices, n, begins);
	for (unsigned w = 0; w < hth_threads_count(p->threads); w++) {
		hth_extent extents[HTH_THREADS_EXTENTS];
		size_t n_extents = 0;
		if (w == 0)
			for (; n_extents < n_first; n_extents++)
				extents[n_extents] = first[n_extents];
		if (then == HTH_THEN_ATTENTION)
			n_extents += hth_attention_begins(p, l, w, extents + n_extents);
		if (begins[w] != NULL)
			extents[n_extents++] = (hth_extent){begins[w], HTH_THREADS_AHEAD};
		hth_threads_expect(p->threads, w, extents, n_extents);
	}
}

void hth_pass_multiply(hth_pass *p, const hth_matmul *jobs, size_t n_jobs, hth_then then)
{
	hth_matmul_prepare(p->threads, jobs, n_jobs); /* until then the extents of the run before hold */
	hth_pass_expect(p, then);
	hth_matmul_run(p->threads, jobs, n_jobs);
}

void hth_pass_matmul(hth_pass *p, const hth_matrix *w, const float *x, size_t n, float *y, hth_then then)
{
	if (n == 0)
		return;
	hth_acts_set(p->acts, x, w->cols, n, w->cols);
	hth_pass_multiply(p, &(hth_matmul){.w = w, .x = p->acts, .y = y, .y_stride = w->rows}, 1, then);
}

const hth_layer *hth_pass_layer(hth_pass *p, uint32_t i)
{
	p->layer = i;
	if (i == p->stop_layer || (p->cancel != NULL && atomic_load_explicit(p->cancel, memory_order_relaxed)))
		return NULL;
	return &p->model->layers[i];
}

static const hth_rope *global_rope(const hth_pass *p)
{
	return p->rope_long && p->model->rope_long.n_rot > 0 ? &p->model->rope_long : &p->model->rope;
}

/* The run that a row belongs to: runs are few, and rows of a task are neighbours. */
static const hth_run *run_of(const hth_pass *p, size_t row)
{
	size_t lo = 0, hi = p->n_runs;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->runs[mid].row <= row)
			lo = mid;
		else
			hi = mid;
	}
	return &p->runs[lo];
}

static void embed_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const hth_model *m = p->model;
	size_t n_embd = m->params.n_embd;
	bool local = m->params.window > 0;
	(void)arg;
	for (size_t r = first; r < first + n; r++) {
		const hth_run *run = run_of(p, r);
		uint32_t pos = run->pos + (uint32_t)(r - run->row);
		float *x = p->x + r * n_embd;
		hth_table_row(&m->token_embd, (size_t)p->tokens[r], x);
		if (m->params.embd_scale != 1)
			for (size_t i = 0; i < n_embd; i++)
				x[i] *= m->params.embd_scale;
		if (m->type_embd != NULL)
			for (size_t i = 0; i < n_embd; i++)
				x[i] += m->type_embd[i];
		if (m->position_embd.rows > 0) {
			float *row = p->h + r * n_embd; /* free until the first norm */
			hth_table_row(&m->position_embd, pos, row);
			for (size_t i = 0; i < n_embd; i++)
				x[i] += row[i];
		}
		if (m->rope.n_rot > 0) {
			hth_rope_table(global_rope(p), pos, p->rope_table[0] + r * m->rope.n_rot);
			if (local)
				hth_rope_table(&m->rope_local, pos, p->rope_table[1] + r * m->rope.n_rot);
		}
	}
}

void hth_pass_embed(hth_pass *p)
{
	if (p->first_layer > 0)
		return;
	hth_pass_rows(p, p->n_rows, embed_rows, NULL);
}

static void rms_norm_rows(hth_pass *p, const void *weight, size_t first, size_t n)
{
	size_t n_embd = p->model->params.n_embd;
	for (size_t r = first; r < first + n; r++)
		hth_vec()->rms_norm(p->h + r * n_embd, p->x + r * n_embd, weight, p->model->params.norm_eps, n_embd);
}

void hth_pass_rms_norm(hth_pass *p, const float *weight)
{
	hth_pass_rows(p, p->n_rows, rms_norm_rows, weight);
}

static void post_norm_rows(hth_pass *p, const void *weight, size_t first, size_t n)
{
	size_t n_embd = p->model->params.n_embd;
	for (size_t r = first; r < first + n; r++)
		hth_vec()->rms_norm(p->h + r * n_embd, p->h + r * n_embd, weight, p->model->params.norm_eps, n_embd);
}

void hth_pass_post_norm(hth_pass *p, const float *weight)
{
	hth_pass_rows(p, p->n_rows, post_norm_rows, weight);
}

typedef struct norm_weights {
	const float *weight, *bias;
} norm_weights;

/* Layer normalisation (arXiv 1607.06450): mean 0, variance 1, then weight and bias. */
static void layer_norm_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const norm_weights *w = arg;
	size_t n_embd = p->model->params.n_embd;
	for (size_t r = first; r < first + n; r++) {
		float *x = p->x + r * n_embd, *h = p->h + r * n_embd;
		double mean = 0, var = 0;
		for (size_t i = 0; i < n_embd; i++)
			mean += x[i];
		mean /= (double)n_embd;
		for (size_t i = 0; i < n_embd; i++)
			var += (x[i] - mean) * (x[i] - mean);
		float scale = (float)(1 / sqrt(var / (double)n_embd + p->model->params.norm_eps)), shift = (float)mean;
		for (size_t i = 0; i < n_embd; i++)
			h[i] = x[i] = (x[i] - shift) * scale * w->weight[i] + (w->bias ? w->bias[i] : 0);
	}
}

void hth_pass_layer_norm(hth_pass *p, const float *weight, const float *bias)
{
	hth_pass_rows(p, p->n_rows, layer_norm_rows, &(norm_weights){weight, bias});
}

static void add_bias(float *x, const float *bias, size_t n)
{
	if (bias != NULL)
		for (size_t i = 0; i < n; i++)
			x[i] += bias[i];
}

static void qkv_bias_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const hth_layer *l = arg;
	for (size_t r = first; r < first + n; r++) {
		add_bias(p->q + r * l->q.rows, l->q_b, l->q.rows);
		add_bias(p->k + r * l->k.rows, l->k_b, l->k.rows);
		add_bias(p->v + r * l->v.rows, l->v_b, l->v.rows);
	}
}

void hth_pass_qkv(hth_pass *p, const hth_layer *l)
{
	hth_acts_set(p->acts, p->h, l->q.cols, p->n_rows, l->q.cols);
	const hth_matmul jobs[] = {{.w = &l->q, .x = p->acts, .y = p->q, .y_stride = l->q.rows},
	                           {.w = &l->k, .x = p->acts, .y = p->k, .y_stride = l->k.rows},
	                           {.w = &l->v, .x = p->acts, .y = p->v, .y_stride = l->v.rows}};
	hth_pass_multiply(p, jobs, HTH_COUNT(jobs), HTH_THEN_ATTENTION);
	if (l->q_b != NULL || l->k_b != NULL || l->v_b != NULL)
		hth_pass_rows(p, p->n_rows, qkv_bias_rows, l);
}

static void norm_heads(const hth_pass *p, float *x, const float *weight, size_t n_heads)
{
	size_t dim = p->model->params.head_dim;
	if (weight != NULL)
		for (size_t h = 0; h < n_heads; h++)
			hth_vec()->rms_norm(x + h * dim, x + h * dim, weight, p->model->params.norm_eps, dim);
}

/* Ministral and Llama 4: queries far into the context are scaled up so that attention stays sharp. */
static float query_temperature(const hth_params *params, uint32_t pos)
{
	if (params->attn_temp_scale == 0)
		return 1;
	return logf(floorf((float)pos / (float)params->attn_temp_length) + 1) * params->attn_temp_scale + 1;
}

static void rope_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const hth_layer *l = arg;
	const hth_params *params = &p->model->params;
	size_t dim = params->head_dim, nq = params->n_head * dim, nkv = params->n_head_kv * dim;
	for (size_t r = first; r < first + n; r++) {
		const hth_run *run = run_of(p, r);
		uint32_t pos = run->pos + (uint32_t)(r - run->row);
		float *q = p->q + r * nq, *k = p->k + r * nkv, *v = p->v + r * nkv;
		norm_heads(p, q, l->q_norm, params->n_head);
		norm_heads(p, k, l->k_norm, params->n_head_kv);
		if (l->rope != NULL && l->rope->n_rot > 0) {
			bool local = l->rope == &p->model->rope_local;
			const float *table = p->rope_table[local] + r * l->rope->n_rot;
			hth_rope_apply(l->rope, table, q, params->n_head, dim);
			hth_rope_apply(l->rope, table, k, params->n_head_kv, dim);
		}
		float temperature = query_temperature(params, pos);
		if (temperature != 1)
			for (size_t i = 0; i < nq; i++)
				q[i] *= temperature;
		if (!hth_attention_stores(p))
			for (uint32_t h = 0; h < params->n_head_kv; h++)
				hth_kv_write(p->kv, run->seq, pos, p->layer % p->kv->shape.n_layer, h, k + h * dim, v + h * dim);
	}
}

void hth_pass_rope_and_store(hth_pass *p, const hth_layer *l)
{
	hth_pass_rows(p, p->n_rows, rope_rows, l);
}

static void residual_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	size_t n_embd = p->model->params.n_embd;
	(void)arg;
	hth_vec()->axpy_f32(p->x + first * n_embd, p->h + first * n_embd, p->model->params.residual_scale, n * n_embd);
}

void hth_pass_residual(hth_pass *p)
{
	hth_pass_rows(p, p->n_rows, residual_rows, NULL);
}

/* The function of hth_vec_ops that gates so; NULL: there is none. */
static hth_gate_fn *gate_fn(hth_activation act)
{
	switch (act) {
	case HTH_SILU:
		return hth_vec()->silu_mul;
	case HTH_GELU:
		return hth_vec()->gelu_mul;
	case HTH_GELU_ERF:
		return hth_vec()->gelu_erf_mul;
	case HTH_SWIGLU_OAI:
		break;
	}
	return NULL;
}

/* In place, where no gate is: what is nothing but a gate leaves x as it is. */
static void activate_alone(hth_activation act, float *x, size_t n)
{
	enum { ONES = 64 };
	float ones[ONES];
	hth_gate_fn *fn = gate_fn(act);
	for (size_t i = 0; i < ONES; i++)
		ones[i] = 1;
	for (size_t i = 0; fn != NULL && i < n; i += ONES)
		fn(x + i, x + i, ones, HTH_MIN(n - i, (size_t)ONES));
}

void hth_activate(hth_activation act, float *gate, float *up, const float *gate_b, const float *up_b, size_t n)
{
	add_bias(up, up_b, n);
	if (gate == NULL) {
		activate_alone(act, up, n);
		return;
	}
	add_bias(gate, gate_b, n);
	hth_gate_fn *fn = gate_fn(act);
	if (fn != NULL) {
		fn(gate, gate, up, n);
		return;
	}
	/* gpt-oss: clamped, g / (1 + e^-1.702 g), which is silu(1.702 g) / 1.702, and up + 1. Not a number counts as 7. */
	for (size_t i = 0; i < n; i++) {
		float g = gate[i] < 7 ? gate[i] : 7, u = up[i] < 7 ? up[i] : 7;
		gate[i] = 1.702f * g;
		up[i] = ((u > -7 ? u : -7) + 1) / 1.702f;
	}
	hth_vec()->silu_mul(gate, gate, up, n);
}

typedef struct ffn_arg {
	const hth_layer *l;
	hth_activation act;
} ffn_arg;

static void ffn_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const ffn_arg *a = arg;
	size_t n_ff = a->l->up.rows;
	for (size_t r = first; r < first + n; r++)
		hth_activate(a->act, a->l->gate.rows > 0 ? p->gate + r * n_ff : NULL, p->up + r * n_ff, a->l->gate_b,
		             a->l->up_b, n_ff);
}

static void bias_h_rows(hth_pass *p, const void *bias, size_t first, size_t n)
{
	size_t n_embd = p->model->params.n_embd;
	for (size_t r = first; r < first + n; r++)
		add_bias(p->h + r * n_embd, bias, n_embd);
}

bool hth_layer_gates_in_tiles(const hth_layer *l)
{
	return l->gate.rows > 0 && l->gate_b == NULL && l->up_b == NULL && hth_gated_fits(&l->up, &l->gate, &l->down);
}

void hth_pass_ffn(hth_pass *p, const hth_layer *l, hth_activation act)
{
	size_t n_ff = l->up.rows;
	bool gated = l->gate.rows > 0;
	if (p->n_rows == 0)
		return;
	hth_acts_set(p->acts, p->h, l->up.cols, p->n_rows, l->up.cols);
	hth_gated in_tiles = {.up = &l->up, .gate = &l->gate, .x = p->acts, .into = p->ff_acts, .act = gate_fn(act)};
	hth_matmul down = {.w = &l->down, .x = p->ff_acts, .y = p->h, .y_stride = l->down.rows};
	bool fits = in_tiles.act != NULL && hth_layer_gates_in_tiles(l);
	if (!fits || !hth_matmul_gated(p->threads, &in_tiles)) {
		const hth_matmul jobs[] = {{.w = &l->up, .x = p->acts, .y = p->up, .y_stride = n_ff},
		                           {.w = &l->gate, .x = p->acts, .y = p->gate, .y_stride = n_ff}};
		hth_pass_multiply(p, jobs, gated ? 2 : 1, HTH_THEN_FFN_DOWN);
		down.x = p->acts;
		if (fits && hth_reads_gated(&l->down)) {
			hth_acts_set_gated(p->acts, p->gate, p->up, in_tiles.act, p->n_rows, n_ff);
		} else {
			hth_pass_rows(p, p->n_rows, ffn_rows, &(ffn_arg){l, act});
			hth_acts_set(p->acts, gated ? p->gate : p->up, n_ff, p->n_rows, n_ff);
		}
	}
	hth_pass_multiply(p, &down, 1, HTH_THEN_LAYER);
	if (l->down_b != NULL)
		hth_pass_rows(p, p->n_rows, bias_h_rows, l->down_b);
}

static void logits_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const hth_params *params = &p->model->params;
	float *x = p->logits + first * params->n_vocab;
	(void)arg;
	if (params->logit_scale != 1)
		for (size_t i = 0; i < n * params->n_vocab; i++)
			x[i] *= params->logit_scale;
	if (params->logit_softcap > 0)
		hth_vec()->soft_cap(x, params->logit_softcap, n * params->n_vocab);
}

void hth_pass_output(hth_pass *p)
{
	const hth_model *m = p->model;
	if (p->n_rows == 0)
		return;
	hth_pass_rms_norm(p, m->output_norm);
	if (p->hidden_only)
		return;
	hth_pass_matmul(p, &m->output, p->h, p->n_rows, p->logits, HTH_THEN_UNKNOWN);
	if (m->params.logit_scale != 1 || m->params.logit_softcap > 0)
		hth_pass_rows(p, p->n_rows, logits_rows, NULL);
}
