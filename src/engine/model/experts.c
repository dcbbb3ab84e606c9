/* experts.c - mixture of experts: a router picks a few of a layer's feed-forward networks for each token.
 *
 * A (token, expert) choice is a `pair`. Pairs are sorted by expert (counting sort, rank order kept), so that each
 * expert is one product over the rows that chose it, and all experts of the layer are one piece of parallel work:
 *
 *   pair_expert[row * k + rank]  the expert chosen             pair_weight[row * k + rank]  its weight
 *   pair_slot[row * k + rank]    where the pair stands once sorted
 *   pair_row[slot]               the pair's token row          expert_first[e]              expert e's first slot
 *
 * A token's output is summed over its ranks in order, so it does not depend on what else is in the batch.
 */
#include "engine/model/pass.h"

#include "base/mem.h"

#include <math.h>

enum { INLINE_VALUES = 16384 };

typedef struct experts_arg {
	const hth_layer *l;
	const hth_experts_options *options;
	float *sum; /* where the chosen experts' weighted sum goes: h, or aside while the shared expert still reads h */
} experts_arg;

static void softmax(float *x, size_t n)
{
	float top = x[0], sum = 0;
	for (size_t i = 1; i < n; i++)
		top = x[i] > top ? x[i] : top;
	for (size_t i = 0; i < n; i++)
		sum += x[i] = expf(x[i] - top);
	for (size_t i = 0; i < n; i++)
		x[i] /= sum;
}

/* Chooses each row's experts and their weights. NaN scores never win, and still every rank gets some expert. */
static void route_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const experts_arg *a = arg;
	const hth_params *params = &p->model->params;
	uint32_t n_expert = params->n_expert, k = params->n_expert_used;
	for (size_t r = first; r < first + n; r++) {
		float *score = p->router + r * n_expert, *weight = p->pair_weight + r * k;
		uint32_t *chosen = p->pair_expert + r * k;
		if (a->l->router_b != NULL)
			for (uint32_t e = 0; e < n_expert; e++)
				score[e] += a->l->router_b[e];
		if (!a->options->softmax_after)
			softmax(score, n_expert);
		for (uint32_t rank = 0; rank < k; rank++) {
			uint32_t best = UINT32_MAX;
			for (uint32_t e = 0; e < n_expert; e++) {
				bool taken = false;
				for (uint32_t i = 0; i < rank && !taken; i++)
					taken = chosen[i] == e;
				if (!taken && (best == UINT32_MAX || score[e] > score[best]))
					best = e;
			}
			chosen[rank] = best;
			weight[rank] = score[best];
		}
		if (a->options->softmax_after)
			softmax(weight, k);
		if (a->options->normalise) {
			float sum = 0;
			for (uint32_t i = 0; i < k; i++)
				sum += weight[i];
			sum = sum > 6.103515625e-5f ? sum
			                            : 6.103515625e-5f; /* the reference's floor: the least normal F16 */
			for (uint32_t i = 0; i < k; i++)
				weight[i] /= sum;
		}
	}
}

/* Sorts the pairs by expert. */
static void sort_pairs(hth_pass *p)
{
	uint32_t n_expert = p->model->params.n_expert, k = p->model->params.n_expert_used;
	size_t n_pairs = p->n_rows * k;
	uint32_t *first = p->expert_first; /* n_expert + 1 */
	memset(first, 0, (n_expert + 1) * sizeof *first);
	for (size_t i = 0; i < n_pairs; i++)
		first[p->pair_expert[i] + 1]++;
	for (uint32_t e = 0; e < n_expert; e++)
		first[e + 1] += first[e];
	for (size_t i = 0; i < n_pairs; i++) {
		uint32_t slot = first[p->pair_expert[i]]++;
		p->pair_slot[i] = slot;
		p->pair_row[slot] = (uint32_t)(i / k);
	}
	memmove(first + 1, first, n_expert * sizeof *first); /* filling moved each start to the next one's */
	first[0] = 0;
}

typedef struct activate_job {
	hth_pass *p;
	const experts_arg *arg;
} activate_job;

static void activate_task(void *ctx, size_t e, unsigned worker)
{
	const activate_job *job = ctx;
	hth_pass *p = job->p;
	const experts_arg *a = job->arg;
	const hth_layer *l = a->l;
	size_t n_ff = l->up_exps[0].rows;
	(void)worker;
	for (uint32_t slot = p->expert_first[e]; slot < p->expert_first[e + 1]; slot++)
		hth_activate(a->options->act, p->gate + slot * n_ff, p->up + slot * n_ff,
		             l->gate_exps_b ? l->gate_exps_b + e * n_ff : NULL,
		             l->up_exps_b ? l->up_exps_b + e * n_ff : NULL, n_ff);
}

static void combine_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const experts_arg *a = arg;
	size_t n_embd = p->model->params.n_embd, k = p->model->params.n_expert_used;
	for (size_t r = first; r < first + n; r++) {
		float *sum = a->sum + r * n_embd;
		memset(sum, 0, n_embd * sizeof *sum);
		for (size_t i = r * k; i < (r + 1) * k; i++) {
			hth_vec()->axpy_f32(sum, p->pair + p->pair_slot[i] * n_embd, p->pair_weight[i], n_embd);
			if (a->l->down_exps_b != NULL)
				hth_vec()->axpy_f32(sum, a->l->down_exps_b + p->pair_expert[i] * n_embd,
				                    p->pair_weight[i], n_embd);
		}
	}
}

/* h = the chosen experts' sum + the shared expert's output, weighted by a sigmoid of its own where the model has one.
 */
static void add_shared_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const experts_arg *a = arg;
	size_t n_embd = p->model->params.n_embd;
	memcpy(p->h + first * n_embd, a->sum + first * n_embd, n * n_embd * sizeof *p->h);
	for (size_t r = first; r < first + n; r++)
		hth_vec()->axpy_f32(p->h + r * n_embd, p->pair + r * n_embd, a->l->shexp_router ? p->router[r] : 1,
		                    n_embd);
}

static void shared_gate_rows(hth_pass *p, const void *arg, size_t first, size_t n)
{
	const hth_layer *l = ((const experts_arg *)arg)->l;
	size_t n_embd = p->model->params.n_embd, n_ff = l->shexp_up.rows;
	for (size_t r = first; r < first + n; r++) {
		hth_activate(HTH_SILU, p->gate + r * n_ff, p->up + r * n_ff, NULL, NULL, n_ff);
		if (l->shexp_router != NULL)
			p->router[r] = 1 / (1 + expf(-hth_vec()->dot_f32(p->h + r * n_embd, l->shexp_router, n_embd)));
	}
}

/* h -> pair. acts still holds h, and is free for the inner activations afterwards. */
static void shared_expert(hth_pass *p, const experts_arg *arg)
{
	const hth_layer *l = arg->l;
	size_t n_ff = l->shexp_up.rows;
	const hth_matmul jobs[] = {{.w = &l->shexp_gate, .x = p->acts, .y = p->gate, .y_stride = n_ff},
	                           {.w = &l->shexp_up, .x = p->acts, .y = p->up, .y_stride = n_ff}};
	hth_pass_multiply(p, jobs, HTH_COUNT(jobs), HTH_THEN_UNKNOWN);
	hth_pass_rows(p, p->n_rows, shared_gate_rows, arg);
	hth_pass_matmul(p, &l->shexp_down, p->gate, p->n_rows, p->pair, HTH_THEN_LAYER);
}

void hth_pass_experts(hth_pass *p, const hth_layer *l, const hth_experts_options *options)
{
	const hth_params *params = &p->model->params;
	bool shared = l->shexp_up.rows > 0;
	experts_arg arg = {l, options, shared ? p->aside : p->h};
	if (p->n_rows == 0)
		return;
	hth_acts_set(p->acts, p->h, params->n_embd, p->n_rows, params->n_embd);
	const hth_matmul route = {.w = &l->router, .x = p->acts, .y = p->router, .y_stride = params->n_expert};
	hth_pass_multiply(p, &route, 1, HTH_THEN_UNKNOWN);
	hth_pass_rows(p, p->n_rows, route_rows, &arg);
	sort_pairs(p);

	size_t n_ff = l->up_exps[0].rows, n_jobs = 0;
	for (uint32_t e = 0; e < params->n_expert; e++) {
		uint32_t at = p->expert_first[e], n = p->expert_first[e + 1] - at;
		if (n == 0)
			continue;
		p->expert_jobs[n_jobs++] = (hth_matmul){.w = &l->gate_exps[e],
		                                        .x = p->acts,
		                                        .select = p->pair_row + at,
		                                        .n_select = n,
		                                        .y = p->gate + at * n_ff,
		                                        .y_stride = n_ff};
		p->expert_jobs[n_jobs++] = (hth_matmul){.w = &l->up_exps[e],
		                                        .x = p->acts,
		                                        .select = p->pair_row + at,
		                                        .n_select = n,
		                                        .y = p->up + at * n_ff,
		                                        .y_stride = n_ff};
	}
	hth_pass_multiply(p, p->expert_jobs, n_jobs, HTH_THEN_UNKNOWN);
	activate_job job = {p, &arg};
	if (p->n_rows * params->n_expert_used * n_ff <= INLINE_VALUES) /* a decode step: no barrier for this little */
		for (uint32_t e = 0; e < params->n_expert; e++)
			activate_task(&job, e, 0);
	else
		hth_threads_run(p->threads, params->n_expert, activate_task, &job);

	n_jobs = 0;
	hth_acts_set(p->pair_acts, p->gate, n_ff, p->n_rows * params->n_expert_used, n_ff);
	for (uint32_t e = 0; e < params->n_expert; e++) {
		uint32_t at = p->expert_first[e], n = p->expert_first[e + 1] - at;
		if (n > 0)
			p->expert_jobs[n_jobs++] = (hth_matmul){.w = &l->down_exps[e],
			                                        .x = p->pair_acts,
			                                        .select = p->pair_iota + at,
			                                        .n_select = n,
			                                        .y = p->pair + at * params->n_embd,
			                                        .y_stride = params->n_embd};
	}
	hth_pass_multiply(p, p->expert_jobs, n_jobs, shared ? HTH_THEN_UNKNOWN : HTH_THEN_LAYER);
	hth_pass_rows(p, p->n_rows, combine_rows, &arg);
	if (shared) {
		shared_expert(p, &arg);
		hth_pass_rows(p, p->n_rows, add_shared_rows, &arg);
	}
}
