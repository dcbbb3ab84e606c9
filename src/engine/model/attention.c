/* attention.c - grouped-query attention over the paged KV cache, in one pass with a running softmax.
 *
 * Work is cut into tasks: a block of neighbouring tokens of one sequence x one KV head. A task walks the pages that its
 * tokens can see (pages before a sliding window are never touched), widens each key and value tile to floats once, and
 * takes the whole group of query heads and all tokens of the block over it (attend.h). Scores of a page become weights
 * relative to the largest score so far; when a larger one comes, what was summed is scaled down (Milakov and
 * Gimelshein, arXiv 1805.02867; FlashAttention, arXiv 2205.14135). Nothing the length of the context is ever stored. A score that is
 * larger by little changes nothing yet: its weight is above 1 then.
 *
 * A few tokens over a long context (decode) make too few tasks for many cores: then each is cut into stretches of pages
 * whose partial results (maximum, sum, weighted values) are merged at the end.
 *
 * An attention sink (gpt-oss) is a score that takes weight and gives no value: the running maximum and sum start from
 * it.
 *
 * A task's scratch, per worker: | keys dim*32 | values 32*pad | queries M*dim | acc M*pad | sum M*32 | max M | lo M | hi M |
 */
#include "engine/model/attend.h"
#include "engine/model/pass.h"

#include "base/mem.h"

#include <math.h>

enum {
	BLOCK_HEADS = 64,   /* query rows (tokens x heads of a group) of a block, about */
	SPLIT_MAX_ROWS = 4, /* blocks of at most this many tokens may be cut into stretches */
	SPLIT_MIN_PAGES = 4,
	SPLIT_TASKS_PER_WORKER = 2,
};

typedef struct attention_job {
	hth_pass *p;
	const hth_layer *l;
	const hth_attend_ops_row *ops;
	uint32_t block_rows, n_splits;
	uint32_t layer;
	bool stores; /* its keys and values first */
} attention_job;

/* `n` rows of a run from run-relative row r0, for one KV head. */
typedef struct block {
	const hth_run *run;
	uint32_t r0, n, head;
} block;

static size_t padded(const hth_params *params)
{
	return hth_round_up(params->head_dim, HTH_ATTEND_PAD);
}

static uint32_t rows_per_block(const hth_params *params)
{
	return HTH_MAX(BLOCK_HEADS / params->n_group, 1u);
}

size_t hth_attention_scratch_len(const hth_params *params)
{
	size_t m = (size_t)rows_per_block(params) * params->n_group, pad = padded(params);
	return hth_round_up(2 * HTH_KV_PAGE * pad + m * (params->head_dim + pad + HTH_KV_PAGE) + m + (m + 1) / 2, 16);
}

/* Keys as floats, [dim][32]; straight from the cache where they are that. */
static const float *widen_keys(const attention_job *job, const unsigned char *tile, float *room)
{
	size_t dim = job->p->model->params.head_dim;
	switch (job->p->kv->shape.type) {
	case HTH_KV_F32:
		return (const float *)(const void *)tile;
	case HTH_KV_F16:
		job->ops->widen_f16(room, (const uint16_t *)(const void *)tile, dim * HTH_KV_PAGE);
		break;
	case HTH_KV_Q8_0:
		for (size_t b = 0; b < dim / 32; b++) {
			const uint16_t *half =
			    (const uint16_t *)(const void *)(tile + dim * HTH_KV_PAGE) + b * HTH_KV_PAGE;
			float scale[HTH_KV_PAGE];
			job->ops->widen_f16(scale, half, HTH_KV_PAGE);
			for (size_t i = b * 32; i < (b + 1) * 32; i++)
				job->ops->widen_i8(room + i * HTH_KV_PAGE, (const int8_t *)tile + i * HTH_KV_PAGE,
				                   scale, HTH_KV_PAGE);
		}
		break;
	}
	return room;
}

/* Values of tokens [first, end) as floats, [32][pad]. The padding of room stays zero from the start of the task. */
static const float *widen_values(const attention_job *job, const unsigned char *tile, size_t first, size_t end,
                                 float *room)
{
	size_t dim = job->p->model->params.head_dim, pad = padded(&job->p->model->params);
	hth_kv_type type = job->p->kv->shape.type;
	if (type == HTH_KV_F32 && pad == dim)
		return (const float *)(const void *)tile;
	if (type == HTH_KV_F16 && pad == dim) {
		job->ops->widen_f16(room + first * dim, (const uint16_t *)(const void *)tile + first * dim,
		                    (end - first) * dim);
		return room;
	}
	for (size_t t = first; t < end; t++) {
		float *row = room + t * pad;
		const uint16_t *half = (const uint16_t *)(const void *)tile + t * dim;
		if (type == HTH_KV_F32)
			memcpy(row, tile + t * dim * sizeof *row, dim * sizeof *row);
		else if (type == HTH_KV_F16) {
			size_t whole = dim - dim % 16;
			job->ops->widen_f16(row, half, whole);
			for (size_t i = whole; i < dim; i++)
				row[i] = hth_f16_to_f32(half[i]);
		} else
			for (size_t b = 0; b < dim / 32; b++) {
				uint16_t scale;
				memcpy(&scale, tile + HTH_KV_PAGE * dim + (t * (dim / 32) + b) * sizeof scale,
				       sizeof scale);
				job->ops->widen_i8_by(row + b * 32, (const int8_t *)tile + t * dim + b * 32,
				                      hth_f16_to_f32(scale), 32);
			}
	}
	return room;
}

/* The tokens [first, end) that the token at pos sees. */
static void visible(const attention_job *job, const hth_run *run, uint32_t pos, uint32_t *first, uint32_t *end)
{
	uint32_t window = job->l->window;
	*end = job->p->model->params.causal ? pos + 1 : run->end;
	*first = window > 0 && pos + 1 > window ? pos + 1 - window : 0;
}

/* The pages that a block's tokens see. */
static void pages_of(const attention_job *job, const block *b, uint32_t *ret_first, uint32_t *ret_n)
{
	uint32_t first, end, unused;
	visible(job, b->run, b->run->pos + b->r0, &first, &unused);
	visible(job, b->run, b->run->pos + b->r0 + b->n - 1, &unused, &end);
	*ret_first = first / HTH_KV_PAGE;
	*ret_n = (end - 1) / HTH_KV_PAGE + 1 - *ret_first;
}

/* Which tokens of the page that begins at position `base` each row sees; false when none sees any. */
static bool see_page(const attention_job *job, const block *b, uint32_t base, hth_attend *a, uint8_t *lo, uint8_t *hi)
{
	size_t group = job->p->model->params.n_group;
	a->first = HTH_KV_PAGE;
	a->end = 0;
	for (uint32_t r = 0; r < b->n; r++) {
		uint32_t first, end;
		visible(job, b->run, b->run->pos + b->r0 + r, &first, &end);
		uint8_t from = (uint8_t)(first > base ? HTH_MIN(first - base, (uint32_t)HTH_KV_PAGE) : 0);
		uint8_t to = (uint8_t)(end > base ? HTH_MIN(end - base, (uint32_t)HTH_KV_PAGE) : 0);
		memset(lo + r * group, from, group);
		memset(hi + r * group, to, group);
		if (from < to) {
			a->first = HTH_MIN(a->first, from);
			a->end = HTH_MAX(a->end, to);
		}
	}
	return a->first < a->end;
}

/* A block over stretch `split` of its pages: leaves max, sum and acc of its rows in *ret_state, which lies in scratch.
 */
static void attend_block(const attention_job *job, const block *b, uint32_t split, float *scratch,
                         hth_attend *ret_state)
{
	hth_pass *p = job->p;
	const hth_params *params = &p->model->params;
	size_t dim = params->head_dim, pad = padded(params), group = params->n_group, m = b->n * group;
	float *keys = scratch, *values = keys + HTH_KV_PAGE * pad, *q = values + HTH_KV_PAGE * pad, *acc = q + m * dim,
	      *sum = acc + m * pad, *max = sum + m * HTH_KV_PAGE;
	uint8_t *lo = (uint8_t *)(max + m), *hi = lo + m;
	*ret_state = (hth_attend){.m = m,
	                          .dim = dim,
	                          .pad = pad,
	                          .q = q,
	                          .acc = acc,
	                          .max = max,
	                          .sum = sum,
	                          .lo = lo,
	                          .hi = hi,
	                          .softcap = params->attn_softcap};

	memset(sum, 0, m * HTH_KV_PAGE * sizeof *sum);
	for (size_t i = 0; i < m; i++) {
		bool sink = job->l->sinks != NULL && split == 0;
		max[i] = sink ? job->l->sinks[b->head * group + i % group] : -INFINITY;
		sum[i * HTH_KV_PAGE] = sink;
		const float *from =
		    p->q + ((b->run->row + b->r0 + i / group) * params->n_head + b->head * group + i % group) * dim;
		for (size_t d = 0; d < dim; d++)
			q[i * dim + d] = from[d] * params->attn_scale;
	}
	memset(acc, 0, m * pad * sizeof *acc);
	if (pad != dim)
		memset(values, 0, HTH_KV_PAGE * pad * sizeof *values);

	/* Few rows (decode) widen while they read; many would widen the same tile again and again. */
	bool as_halves = p->kv->shape.type == HTH_KV_F16 && m <= job->ops->rows_of_halves;
	uint32_t page0, n_pages;
	pages_of(job, b, &page0, &n_pages);
	uint32_t from = page0 + (uint32_t)((uint64_t)n_pages * split / job->n_splits);
	uint32_t to = page0 + (uint32_t)((uint64_t)n_pages * (split + 1) / job->n_splits);
	for (uint32_t i = from; i < to; i++) {
		if (!see_page(job, b, i * HTH_KV_PAGE, ret_state, lo, hi))
			continue;
		uint32_t page = hth_kv_page(p->kv, b->run->seq, i * HTH_KV_PAGE);
		const unsigned char *k = hth_kv_tile(p->kv, page, job->layer, 0, b->head);
		const unsigned char *v = hth_kv_tile(p->kv, page, job->layer, 1, b->head);
		ret_state->next_k = ret_state->next_v = NULL;
		ret_state->next_near = hth_kernels_ask_near();
		ret_state->next_size = p->kv->shape.type == HTH_KV_F32 ? sizeof(float) : p->kv->shape.type == HTH_KV_F16 ? sizeof(uint16_t)
		    : 1;
		/* After a head's last page the next one's first: that is the next task, most likely this worker's. */
		bool last = i + 1 == page0 + n_pages;
		uint32_t next_head = b->head + last, next_page = last ? page0 : i + 1;
		if (next_head < params->n_head_kv) {
			uint32_t next = hth_kv_page(p->kv, b->run->seq, next_page * HTH_KV_PAGE);
			ret_state->next_k = hth_kv_tile(p->kv, next, job->layer, 0, next_head);
			ret_state->next_v = hth_kv_tile(p->kv, next, job->layer, 1, next_head);
		}
		if (as_halves)
			job->ops->page_f16(ret_state, (const uint16_t *)(const void *)k,
			                   (const uint16_t *)(const void *)v);
		else
			job->ops->page(ret_state, widen_keys(job, k, keys),
			               widen_values(job, v, ret_state->first, ret_state->end, values));
	}
}

/* The last blocks of a run see the most: they go first, so that the pool ends together. */
static block block_of(const attention_job *job, size_t task, uint32_t *ret_split)
{
	const hth_pass *p = job->p;
	const hth_params *params = &p->model->params;
	*ret_split = (uint32_t)(task % job->n_splits);
	size_t rest = task / job->n_splits;
	block b = {.run = p->runs + p->n_runs, .head = (uint32_t)(rest % params->n_head_kv)};
	rest /= params->n_head_kv;
	uint32_t blocks;
	do {
		b.run--;
		blocks = (b.run->n + job->block_rows - 1) / job->block_rows;
		if (rest < blocks)
			break;
		rest -= blocks;
	} while (b.run > p->runs);
	b.r0 = (blocks - 1 - (uint32_t)rest) * job->block_rows;
	b.n = HTH_MIN(job->block_rows, b.run->n - b.r0);
	return b;
}

static float sum_of(const hth_attend *state, size_t row)
{
	const float *sum = state->sum + row * HTH_KV_PAGE;
	float part[8] = {0};
	for (size_t i = 0; i < HTH_KV_PAGE; i += 8)
		for (size_t j = 0; j < 8; j++)
			part[j] += sum[i + j];
	return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

static void attention_task(void *ctx, size_t task, unsigned worker)
{
	const attention_job *job = ctx;
	hth_pass *p = job->p;
	const hth_params *params = &p->model->params;
	size_t dim = params->head_dim, group = params->n_group, m;
	float *scratch = p->scratch + worker * p->scratch_len;

	uint32_t split;
	block b = block_of(job, task, &split);
	m = b.n * group;
	if (job->stores && split == job->n_splits - 1) { /* no other stretch reads the last page */
		size_t at = (b.run->row * params->n_head_kv + b.head) * dim;
		hth_kv_write(p->kv, b.run->seq, b.run->pos, job->layer, b.head, p->k + at, p->v + at);
	}

	hth_attend state;
	attend_block(job, &b, split, scratch, &state);
	if (job->n_splits > 1) { /* | max | sum | acc without padding | */
		float *part = p->partial + task * SPLIT_MAX_ROWS * group * (dim + 2);
		memcpy(part, state.max, m * sizeof *part);
		for (size_t i = 0; i < m; i++) {
			part[SPLIT_MAX_ROWS * group + i] = sum_of(&state, i);
			memcpy(part + 2 * SPLIT_MAX_ROWS * group + i * dim, state.acc + i * state.pad,
			       dim * sizeof *part);
		}
		return;
	}
	for (size_t i = 0; i < m; i++) {
		float *out =
		    p->att + ((b.run->row + b.r0 + i / group) * params->n_head + b.head * group + i % group) * dim;
		const float *acc = state.acc + i * state.pad;
		float scale = 1 / sum_of(&state, i);
		for (size_t d = 0; d < dim; d++)
			out[d] = acc[d] * scale;
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
				float *out = p->att + (run->row + r) * nq + (head * group + g) * dim, top = -INFINITY,
				      sum = 0;
				memset(out, 0, dim * sizeof *out);
				for (uint32_t s = 0; s < job->n_splits; s++) {
					const float *part = p->partial + (task + s) * part_len;
					top = part[i] > top ? part[i] : top;
				}
				for (uint32_t s = 0; s < job->n_splits; s++) {
					const float *part = p->partial + (task + s) * part_len;
					const float *acc =
					    part + 2 * SPLIT_MAX_ROWS * group + r * group * dim + g * dim;
					float scale = part[i] > -INFINITY ? expf(part[i] - top) : 0;
					sum += part[SPLIT_MAX_ROWS * group + i] * scale;
					hth_vec()->axpy_f32(out, acc, scale, dim);
				}
				for (size_t j = 0; j < dim; j++)
					out[j] /= sum;
			}
}

size_t hth_attention_partial_len(const hth_params *params, unsigned n_workers)
{
	size_t tasks = (size_t)SPLIT_TASKS_PER_WORKER * n_workers + params->n_head_kv * (size_t)SPLIT_MAX_ROWS;
	return tasks * SPLIT_MAX_ROWS * params->n_group * (params->head_dim + 2);
}

/* How many stretches to cut each task into so that every worker has some: 1 when there are tasks enough. */
static uint32_t choose_splits(const hth_pass *p, size_t n_tasks, uint32_t block_rows)
{
	unsigned n_workers = hth_threads_count(p->threads);
	uint32_t shortest = UINT32_MAX;
	for (size_t i = 0; i < p->n_runs; i++) {
		if (p->runs[i].n > SPLIT_MAX_ROWS || p->runs[i].n > block_rows)
			return 1;
		shortest = HTH_MIN(shortest, p->runs[i].end);
	}
	size_t wanted = (size_t)SPLIT_TASKS_PER_WORKER * n_workers / n_tasks;
	size_t most = shortest / (SPLIT_MIN_PAGES * HTH_KV_PAGE);
	return (uint32_t)HTH_MAX(HTH_MIN(wanted, most), (size_t)1);
}

bool hth_attention_is_exact(const hth_params *params, unsigned n_workers)
{
	return (size_t)SPLIT_TASKS_PER_WORKER * n_workers / params->n_head_kv <= 1; /* one task a head at least */
}

static bool narrows(const hth_pass *p) { return p->layer + 1 == p->model->params.n_layer && p->n_outputs < p->n_rows; }

bool hth_attention_stores(const hth_pass *p) { return p->n_runs == p->n_rows && !narrows(p); }

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

/* The tasks of a layer's attention, but for what runs them; 0 where nobody wants this layer's outputs. */
static size_t plan_attention(hth_pass *p, const hth_layer *l, attention_job *ret_job)
{
	const hth_params *params = &p->model->params;
	*ret_job = (attention_job){.p = p,
	                           .l = l,
	                           .block_rows = rows_per_block(params),
	                           .layer = p->layer % p->kv->shape.n_layer};
	size_t n_tasks = 0;
	for (size_t i = 0; i < p->n_runs; i++)
		n_tasks += (size_t)((p->runs[i].n + ret_job->block_rows - 1) / ret_job->block_rows) * params->n_head_kv;
	ret_job->n_splits = n_tasks > 0 ? choose_splits(p, n_tasks, ret_job->block_rows) : 1;
	return n_tasks * ret_job->n_splits;
}

size_t hth_attention_begins(hth_pass *p, const hth_layer *l, unsigned worker, hth_extent *ret_extents)
{
	attention_job job;
	size_t n_tasks = plan_attention(p, l, &job), task = n_tasks * worker / hth_threads_count(p->threads);
	if (task == n_tasks)
		return 0;
	uint32_t split, page0, n_pages;
	block b = block_of(&job, task, &split);
	pages_of(&job, &b, &page0, &n_pages);
	uint32_t first = page0 + (uint32_t)((uint64_t)n_pages * split / job.n_splits);
	uint32_t page = hth_kv_page(p->kv, b.run->seq, first * HTH_KV_PAGE);
	for (unsigned value = 0; value < 2; value++)
		ret_extents[value] = (hth_extent){hth_kv_tile(p->kv, page, job.layer, value, b.head), p->kv->tile_bytes};
	return 2;
}

void hth_pass_attention(hth_pass *p, const hth_layer *l)
{
	bool stores = hth_attention_stores(p);
	if (narrows(p))
		narrow(p);
	attention_job job;
	size_t n_tasks = plan_attention(p, l, &job);
	if (n_tasks == 0)
		return;
	job.ops = hth_attend_ops();
	job.stores = stores;
	hth_pass_expect(p, HTH_THEN_ATTENTION_OUT);
	hth_threads_run(p->threads, n_tasks, attention_task, &job);
	if (job.n_splits > 1)
		merge(&job);
	hth_pass_matmul(p, &l->o, p->att, p->n_rows, p->h, HTH_THEN_FFN);
	if (l->o_b != NULL)
		hth_pass_rows(p, p->n_rows, bias_rows, l->o_b);
}
