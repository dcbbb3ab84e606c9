/* attention.c - grouped-query attention over the paged KV cache, in one pass with a running softmax.
 *
 * Work is cut into tasks: a block of neighbouring tokens of one sequence x one KV head. A task walks the pages that its
 * tokens can see (pages before a sliding window are never touched) and reads each key and value tile once for the whole
 * group of query heads and all tokens of the block. Scores of a page become weights relative to the largest score so far;
 * when a larger one comes, what was summed is scaled down (Milakov and Gimelshein, arXiv 1805.02867; FlashAttention,
 * arXiv 2205.14135). Nothing the length of the context is ever stored.
 *
 * A few tokens over a long context (decode) make too few tasks for many cores: then each is cut into stretches of pages
 * whose partial results (maximum, sum, weighted values) are merged at the end.
 *
 * An attention sink (gpt-oss) is a score that takes weight and gives no value: the running maximum and sum start from it.
 */
#include "engine/model/pass.h"

#include "base/mem.h"

#include <math.h>

enum {
	BLOCK_HEADS = 32,   /* query rows (tokens x heads of a group) in a block, about */
	SPLIT_MAX_ROWS = 4, /* blocks of at most this many tokens may be cut into stretches */
	SPLIT_MIN_PAGES = 4,
	SPLIT_TASKS_PER_WORKER = 2,
};

/* e^x for x <= 0, to 2 ulp, in arithmetic that a compiler turns into vector code: 2^(x log2 e) by the exponent bits and a
 * polynomial. NaN stays NaN. */
static inline float exp_negative(float x)
{
	x = x < -87.0f ? -87.0f : x;
	float t = x * 1.44269504f + 12582912.0f; /* rounds to an integer in the low mantissa bits */
	float n = t - 12582912.0f;
	float f = x - n * 0.693359375f + n * 2.12194440e-4f;
	float y = 1.9875691500e-4f;
	y = y * f + 1.3981999507e-3f;
	y = y * f + 8.3334519073e-3f;
	y = y * f + 4.1665795894e-2f;
	y = y * f + 1.6666665459e-1f;
	y = y * f + 5.0000001201e-1f;
	y = y * f * f + f + 1.0f;
	uint32_t bits, yb;
	memcpy(&bits, &t, sizeof bits);
	memcpy(&yb, &y, sizeof yb);
	yb += bits << 23;
	memcpy(&y, &yb, sizeof y);
	return y;
}

typedef struct attention_job {
	hth_pass *p;
	const hth_layer *l;
	uint32_t block_rows, n_splits;
	uint32_t layer;
} attention_job;

/* Where a query row's running softmax stands: acc = sum of exp(s - max) v, sum = sum of exp(s - max). */
typedef struct running {
	float *max, *sum, *acc;
} running;

typedef struct tile {
	hth_kv_type type;
	const unsigned char *k, *v;
	size_t row_bytes;
} tile;

/* Q8_0 tiles are widened once for all query rows of the block. */
static void widen(tile *t, float *room, size_t lo, size_t hi, size_t dim)
{
	if (t->type != HTH_KV_Q8_0)
		return;
	const hth_type_traits *q8 = hth_type_get(HTH_Q8_0);
	float *k = room, *v = room + HTH_KV_PAGE * dim;
	for (size_t j = lo; j < hi; j++) {
		q8->dequantize_row(t->k + j * t->row_bytes, k + j * dim, dim);
		q8->dequantize_row(t->v + j * t->row_bytes, v + j * dim, dim);
	}
	*t = (tile){HTH_KV_F32, (const unsigned char *)k, (const unsigned char *)v, dim * sizeof(float)};
}

/* One query row against tokens [lo, hi) of a page. */
static void attend_row(const hth_params *params, const tile *t, const float *q, size_t lo, size_t hi, float *max, float *sum,
                       float *acc)
{
	const hth_vec_ops *vec = hth_vec();
	size_t dim = params->head_dim;
	float s[HTH_KV_PAGE], top = *max;
	for (size_t j = lo; j < hi; j++) {
		const void *k = t->k + j * t->row_bytes;
		s[j] = (t->type == HTH_KV_F32 ? vec->dot_f32(q, k, dim) : vec->dot_f16(q, k, dim)) * params->attn_scale;
	}
	if (params->attn_softcap > 0)
		for (size_t j = lo; j < hi; j++)
			s[j] = params->attn_softcap * tanhf(s[j] / params->attn_softcap);
	for (size_t j = lo; j < hi; j++)
		top = s[j] > top ? s[j] : top;
	if (top > *max) {
		float shrink = exp_negative(*max - top);
		*sum *= shrink;
		for (size_t i = 0; i < dim; i++)
			acc[i] *= shrink;
		*max = top;
	}
	for (size_t j = lo; j < hi; j++)
		s[j] = exp_negative(s[j] - top);
	for (size_t j = lo; j < hi; j++) {
		const void *v = t->v + j * t->row_bytes;
		*sum += s[j];
		if (t->type == HTH_KV_F32)
			vec->axpy_f32(acc, v, s[j], dim);
		else
			vec->axpy_f16(acc, v, s[j], dim);
	}
}

/* The tokens [first, end) that the token at pos sees. */
static void visible(const hth_pass *p, const hth_layer *l, const hth_run *run, uint32_t pos, uint32_t *first, uint32_t *end)
{
	*end = p->model->params.causal ? pos + 1 : run->end;
	*first = l->window > 0 && pos + 1 > l->window ? pos + 1 - l->window : 0;
}

/* `n` rows of a run from run-relative row `r0`, over the stretch `split` of n_splits of their pages. */
static void attend_block(const attention_job *job, const hth_run *run, uint32_t r0, uint32_t n, uint32_t head, uint32_t split,
                         const running *state, size_t acc_stride, float *scratch)
{
	hth_pass *p = job->p;
	const hth_params *params = &p->model->params;
	size_t dim = params->head_dim, group = params->n_group, nq = params->n_head * dim;
	uint32_t first, end, unused, last_end;
	visible(p, job->l, run, run->pos + r0, &first, &unused);
	visible(p, job->l, run, run->pos + r0 + n - 1, &unused, &last_end);
	end = last_end;
	uint32_t page0 = first / HTH_KV_PAGE, n_pages = (end - 1) / HTH_KV_PAGE + 1 - page0;
	uint32_t from = page0 + (uint32_t)((uint64_t)n_pages * split / job->n_splits);
	uint32_t to = page0 + (uint32_t)((uint64_t)n_pages * (split + 1) / job->n_splits);

	for (uint32_t r = 0; r < n; r++)
		for (size_t g = 0; g < group; g++) {
			bool sink = job->l->sinks != NULL && split == 0;
			state->max[r * group + g] = sink ? job->l->sinks[head * group + g] : -INFINITY;
			state->sum[r * group + g] = sink;
			memset(state->acc + r * acc_stride + g * dim, 0, dim * sizeof(float));
		}
	for (uint32_t pg = from; pg < to; pg++) {
		uint32_t page = hth_kv_page(p->kv, run->seq, pg * HTH_KV_PAGE), base = pg * HTH_KV_PAGE;
		tile t = {p->kv->shape.type, hth_kv_tile(p->kv, page, job->layer, 0, head),
		          hth_kv_tile(p->kv, page, job->layer, 1, head), p->kv->row_bytes};
		widen(&t, scratch, first > base ? first - base : 0, HTH_MIN(end - base, (uint32_t)HTH_KV_PAGE), dim);
		for (uint32_t r = 0; r < n; r++) {
			uint32_t see_first, see_end;
			visible(p, job->l, run, run->pos + r0 + r, &see_first, &see_end);
			uint32_t lo = see_first > base ? see_first - base : 0;
			uint32_t hi = see_end > base ? HTH_MIN(see_end - base, (uint32_t)HTH_KV_PAGE) : 0;
			if (lo >= hi)
				continue;
			const float *q = p->q + (run->row + r0 + r) * nq + head * group * dim;
			for (size_t g = 0; g < group; g++)
				attend_row(params, &t, q + g * dim, lo, hi, &state->max[r * group + g], &state->sum[r * group + g],
				           state->acc + r * acc_stride + g * dim);
		}
	}
}

static void attention_task(void *ctx, size_t task, unsigned worker)
{
	const attention_job *job = ctx;
	hth_pass *p = job->p;
	const hth_params *params = &p->model->params;
	size_t dim = params->head_dim, group = params->n_group, nq = params->n_head * dim;
	float *scratch = p->scratch + worker * p->scratch_len;

	/* The last blocks of a run see the most: they go first, so that the pool ends together. */
	uint32_t split = (uint32_t)(task % job->n_splits);
	size_t rest = task / job->n_splits;
	uint32_t head = (uint32_t)(rest % params->n_head_kv);
	rest /= params->n_head_kv;
	const hth_run *run = p->runs + p->n_runs;
	uint32_t blocks;
	do {
		run--;
		blocks = (run->n + job->block_rows - 1) / job->block_rows;
		if (rest < blocks)
			break;
		rest -= blocks;
	} while (run > p->runs);
	uint32_t r0 = (blocks - 1 - (uint32_t)rest) * job->block_rows, n = HTH_MIN(job->block_rows, run->n - r0);

	if (job->n_splits > 1) {
		float *part = p->partial + task * SPLIT_MAX_ROWS * group * (dim + 2);
		running state = {part, part + SPLIT_MAX_ROWS * group, part + 2 * SPLIT_MAX_ROWS * group};
		attend_block(job, run, r0, n, head, split, &state, group * dim, scratch);
		return;
	}
	running state = {scratch + 2 * HTH_KV_PAGE * dim, scratch + 2 * HTH_KV_PAGE * dim + job->block_rows * group,
	                 p->att + (run->row + r0) * nq + head * group * dim};
	attend_block(job, run, r0, n, head, 0, &state, nq, scratch);
	for (uint32_t r = 0; r < n; r++)
		for (size_t g = 0; g < group; g++) {
			float *acc = state.acc + r * nq + g * dim, scale = 1 / state.sum[r * group + g];
			for (size_t i = 0; i < dim; i++)
				acc[i] *= scale;
		}
}

/* Merges the stretches of every block of every head into att. */
static void merge(const attention_job *job)
{
	hth_pass *p = job->p;
	const hth_params *params = &p->model->params;
	size_t dim = params->head_dim, group = params->n_group, nq = params->n_head * dim;
	size_t part_len = SPLIT_MAX_ROWS * group * (dim + 2), task = 0;
	for (const hth_run *run = p->runs + p->n_runs; run-- > p->runs;)
		for (size_t head = 0; head < params->n_head_kv; head++, task += job->n_splits)
			for (size_t i = 0; i < run->n * group; i++) {
				size_t r = i / group, g = i % group;
				float *out = p->att + (run->row + r) * nq + (head * group + g) * dim, top = -INFINITY, sum = 0;
				memset(out, 0, dim * sizeof *out);
				for (uint32_t s = 0; s < job->n_splits; s++) {
					const float *part = p->partial + (task + s) * part_len;
					top = part[i] > top ? part[i] : top;
				}
				for (uint32_t s = 0; s < job->n_splits; s++) {
					const float *part = p->partial + (task + s) * part_len;
					const float *acc = part + 2 * SPLIT_MAX_ROWS * group + r * group * dim + g * dim;
					float scale = part[i] > -INFINITY ? exp_negative(part[i] - top) : 0;
					sum += part[SPLIT_MAX_ROWS * group + i] * scale;
					hth_vec()->axpy_f32(out, acc, scale, dim);
				}
				for (size_t j = 0; j < dim; j++)
					out[j] /= sum;
			}
}

static uint32_t block_rows(const hth_params *params) { return HTH_MAX(BLOCK_HEADS / params->n_group, 1u); }

size_t hth_attention_scratch_len(const hth_params *params)
{
	size_t len = 2 * HTH_KV_PAGE * (size_t)params->head_dim + 2 * (size_t)block_rows(params) * params->n_group;
	return hth_round_up(len, 16);
}

size_t hth_attention_partial_len(const hth_params *params, unsigned n_workers)
{
	size_t tasks = (size_t)SPLIT_TASKS_PER_WORKER * n_workers + params->n_head_kv * (size_t)SPLIT_MAX_ROWS;
	return tasks * SPLIT_MAX_ROWS * params->n_group * (params->head_dim + 2);
}

/* How many stretches to cut each task into so that every worker has some: 1 when there are tasks enough. */
static uint32_t choose_splits(const hth_pass *p, size_t n_tasks, uint32_t rows_per_block)
{
	unsigned n_workers = hth_threads_count(p->threads);
	uint32_t shortest = UINT32_MAX;
	for (size_t i = 0; i < p->n_runs; i++) {
		if (p->runs[i].n > SPLIT_MAX_ROWS || p->runs[i].n > rows_per_block)
			return 1;
		shortest = HTH_MIN(shortest, p->runs[i].end);
	}
	size_t wanted = (size_t)SPLIT_TASKS_PER_WORKER * n_workers / n_tasks;
	size_t most = shortest / (SPLIT_MIN_PAGES * HTH_KV_PAGE);
	return (uint32_t)HTH_MAX(HTH_MIN(wanted, most), (size_t)1);
}

/* In the last layer only wanted rows go on: their rows of x and q move to the front. */
static void narrow(hth_pass *p)
{
	size_t n_embd = p->model->params.n_embd, nq = (size_t)p->model->params.n_head * p->model->params.head_dim;
	for (size_t i = 0; i < p->n_outputs; i++) {
		memmove(p->x + i * n_embd, p->x + p->outputs[i] * n_embd, n_embd * sizeof *p->x);
		memmove(p->q + i * nq, p->q + p->outputs[i] * nq, nq * sizeof *p->q);
	}
	p->n_rows = p->n_outputs;
	p->runs = p->output_runs;
	p->n_runs = p->n_output_runs;
}

static void bias_rows(hth_pass *p, const void *bias, size_t first, size_t n)
{
	size_t n_embd = p->model->params.n_embd;
	for (size_t r = first; r < first + n; r++)
		hth_vec()->axpy_f32(p->h + r * n_embd, bias, 1, n_embd);
}

void hth_pass_attention(hth_pass *p, const hth_layer *l)
{
	const hth_params *params = &p->model->params;
	if (p->layer + 1 == params->n_layer && p->n_outputs < p->n_rows)
		narrow(p);
	if (p->n_rows == 0)
		return;
	attention_job job = {.p = p, .l = l, .block_rows = block_rows(params), .layer = p->layer % p->kv->shape.n_layer};
	size_t n_tasks = 0;
	for (size_t i = 0; i < p->n_runs; i++)
		n_tasks += (size_t)((p->runs[i].n + job.block_rows - 1) / job.block_rows) * params->n_head_kv;
	job.n_splits = choose_splits(p, n_tasks, job.block_rows);
	hth_threads_run(p->threads, n_tasks * job.n_splits, attention_task, &job);
	if (job.n_splits > 1)
		merge(&job);
	hth_pass_matmul(p, &l->o, p->att, p->n_rows, p->h);
	if (l->o_b != NULL)
		hth_pass_rows(p, p->n_rows, bias_rows, l->o_b);
}
