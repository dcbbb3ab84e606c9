/* sampler.c - one sequence's sampler: what it remembers (recent tokens, mirostat's mu, the generator) and the order of
 * cuts.
 *
 * Memory, planned at create: n_vocab candidates, n_vocab counts, a ring of repeat_last_n tokens. A token's penalty
 * depends on how often it is in the ring, so counts are kept as tokens enter and leave, and only tokens that are in it
 * are visited.
 */
#include "engine/sampling/sampler.h"

#include "base/mem.h"
#include "base/rng.h"
#include "engine/sampling/candidates.h"

#include <float.h>
#include <math.h>

enum { RING_MAX = 1 << 20 }; /* more than any context; a longer window is the whole context */

struct hth_sampler {
	hth_sampling params;
	hth_logit_bias *bias;
	size_t n_vocab;
	hth_candidate *candidates;
	uint32_t *counts; /* per token: how often among the recent ones */
	int32_t *present; /* tokens whose count is not 0 */
	uint32_t *place;  /* per token: where in present */
	size_t n_present;
	int32_t *ring; /* NULL: nothing is ever forgotten */
	size_t ring_len, ring_at, ring_used;
	bool penalties;
	double mu; /* mirostat: the most surprise allowed, in bits */
	hth_rng rng;
	/* of the last draw: the candidates that were left (their keys are their weights) and the number; 0: there was none */
	size_t n_left;
	double unit;
};

static hth_status check_bias(const hth_sampling *params, size_t n_vocab, hth_error *err)
{
	for (size_t i = 0; i < params->n_logit_bias; i++)
		if (params->logit_bias[i].token < 0 || (size_t)params->logit_bias[i].token >= n_vocab)
			return hth_fail_param(err, HTH_INVALID, "logit_bias",
			                      "logit_bias names token %d; this model has 0 to %zu",
			                      params->logit_bias[i].token, n_vocab - 1);
	return HTH_OK;
}

static hth_status plan(hth_sampler *s, hth_error *err)
{
	const hth_sampling *p = &s->params;
	bool ok = (s->candidates = hth_alloc_array(s->n_vocab, sizeof *s->candidates)) != NULL;
	s->penalties = p->repeat_last_n != 0 &&
	               (p->repeat_penalty != 1.0f || p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f);
	if (s->penalties) {
		ok = ok && (s->counts = hth_alloc_array(s->n_vocab, sizeof *s->counts)) != NULL;
		ok = ok && (s->present = hth_alloc_array(s->n_vocab, sizeof *s->present)) != NULL;
		ok = ok && (s->place = hth_alloc_array(s->n_vocab, sizeof *s->place)) != NULL;
		if (p->repeat_last_n > 0 && p->repeat_last_n <= RING_MAX) {
			s->ring_len = (size_t)p->repeat_last_n;
			ok = ok && (s->ring = hth_alloc_array(s->ring_len, sizeof *s->ring)) != NULL;
		}
	}
	if (p->n_logit_bias > 0) {
		ok = ok && (s->bias = hth_alloc_array(p->n_logit_bias, sizeof *s->bias)) != NULL;
		if (ok)
			memcpy(s->bias, p->logit_bias, p->n_logit_bias * sizeof *s->bias);
	}
	s->params.logit_bias = s->bias;
	return ok ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a sampler over %zu tokens", s->n_vocab);
}

hth_status hth_sampler_create(hth_sampler **ret_sampler, const hth_sampling *params, size_t n_vocab, hth_error *err)
{
	HTH_TRY(hth_sampling_check(params, err));
	if (n_vocab == 0 || n_vocab > INT32_MAX)
		return hth_fail(err, HTH_INVALID, "a sampler needs 1 to %d tokens, not %zu", INT32_MAX, n_vocab);
	HTH_TRY(check_bias(params, n_vocab, err));
	hth_sampler *s = calloc(1, sizeof *s);
	if (s == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a sampler");
	s->params = *params;
	s->n_vocab = n_vocab;
	s->mu = 2.0 * (double)params->mirostat_tau;
	hth_rng_seed(&s->rng, params->seed);
	hth_status status = plan(s, err);
	if (status != HTH_OK)
		hth_sampler_destroy(s);
	else
		*ret_sampler = s;
	return status;
}

void hth_sampler_destroy(hth_sampler *s)
{
	if (s == NULL)
		return;
	free(s->bias);
	free(s->candidates);
	free(s->counts);
	free(s->present);
	free(s->place);
	free(s->ring);
	free(s);
}

static void forget(hth_sampler *s, int32_t token)
{
	if (--s->counts[token] > 0)
		return;
	int32_t last = s->present[--s->n_present];
	s->present[s->place[token]] = last;
	s->place[last] = s->place[token];
}

void hth_sampler_accept(hth_sampler *s, int32_t token)
{
	if (!s->penalties || token < 0 || (size_t)token >= s->n_vocab)
		return;
	if (s->ring != NULL) {
		if (s->ring_used == s->ring_len)
			forget(s, s->ring[s->ring_at]);
		else
			s->ring_used++;
		s->ring[s->ring_at] = token;
		s->ring_at = s->ring_at + 1 == s->ring_len ? 0 : s->ring_at + 1;
	}
	if (s->counts[token]++ == 0) {
		s->place[token] = (uint32_t)s->n_present;
		s->present[s->n_present++] = token;
	}
}

static void apply_mask(float *logits, size_t n_vocab, const uint32_t *allowed)
{
	for (size_t w = 0; w * 32 < n_vocab; w++) {
		uint32_t bits = allowed[w];
		if (bits == UINT32_MAX)
			continue;
		size_t end = HTH_MIN(n_vocab, w * 32 + 32);
		for (size_t i = w * 32; i < end; i++)
			if (!(bits >> (i & 31) & 1))
				logits[i] = -INFINITY;
	}
}

static void apply_bias(const hth_sampler *s, float *logits)
{
	for (size_t i = 0; i < s->params.n_logit_bias; i++) {
		const hth_logit_bias *b = &s->bias[i];
		logits[b->token] = b->bias <= -100.0f ? -INFINITY : logits[b->token] + b->bias;
	}
}

/* Repetition: Keskar et al. 2019 (arXiv 1909.05858); presence and frequency as the OpenAI API defines them. */
static void apply_penalties(const hth_sampler *s, float *logits)
{
	const hth_sampling *p = &s->params;
	for (size_t i = 0; i < s->n_present; i++) {
		int32_t t = s->present[i];
		float x = logits[t];
		x = x > 0 ? x / p->repeat_penalty : x * p->repeat_penalty;
		logits[t] = x - (float)s->counts[t] * p->frequency_penalty - p->presence_penalty;
	}
}

static int32_t greedy(const float *logits, size_t n)
{
	int32_t best = -1;
	float max = -INFINITY;
	for (size_t i = 0; i < n; i++)
		if (logits[i] > max) {
			max = logits[i];
			best = (int32_t)i;
		}
	return best;
}

/* Every logit is minus infinity: still answer with something that is allowed. */
static int32_t any_allowed(const uint32_t *allowed, size_t n_vocab)
{
	for (size_t i = 0; allowed != NULL && i < n_vocab; i++)
		if (allowed[i / 32] >> (i % 32) & 1)
			return (int32_t)i;
	return 0;
}

void hth_sampler_seek(hth_sampler *s, uint64_t place)
{
	/* splitmix64's finalizer spreads the places over all seeds. */
	uint64_t z = place * 0xD1342543DE82EF95u + 0x632BE59BD9B4E019u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	hth_rng_seed(&s->rng, s->params.seed ^ z ^ z >> 31);
}

static size_t draw(hth_sampler *s, hth_candidate *c, size_t n, float temperature, double *ret_p)
{
	s->n_left = n;
	s->unit = hth_rng_unit(&s->rng);
	return hth_candidates_draw(c, n, temperature, s->unit, ret_p);
}

/* Mirostat v2: cut what would surprise more than mu bits, draw, move mu by the error. */
static int32_t draw_mirostat(hth_sampler *s, hth_candidate *c, size_t n)
{
	float t = s->params.temperature;
	for (size_t i = 0; i < n; i++)
		c[i].logit /= t;
	float max = hth_candidates_max(c, n);
	double sum = 0, p;
	for (size_t i = 0; i < n; i++)
		sum += (double)expf(c[i].logit - max);
	/* -log2(p) <= mu, for logits: logit >= max + ln(sum) - mu ln 2. The likeliest always stays. */
	double least = (double)max + log(sum) - s->mu * 0.693147180559945309;
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if ((double)c[i].logit >= least || c[i].logit == max)
			c[kept++] = c[i];
	size_t i = draw(s, c, kept, 1.0f, &p);
	s->mu -= (double)s->params.mirostat_eta * (-log2(p) - (double)s->params.mirostat_tau);
	return c[i].id;
}

int32_t hth_sampler_sample(hth_sampler *s, float *logits, const uint32_t *allowed)
{
	const hth_sampling *p = &s->params;
	hth_candidate *c = s->candidates;
	s->n_left = 0;
	if (allowed != NULL)
		apply_mask(logits, s->n_vocab, allowed);
	apply_bias(s, logits);
	if (s->penalties)
		apply_penalties(s, logits);
	if (p->temperature == 0.0f) {
		int32_t best = greedy(logits, s->n_vocab);
		return best >= 0 ? best : any_allowed(allowed, s->n_vocab);
	}
	bool top_k = p->mirostat == 0 && p->top_k > 0 && (size_t)p->top_k < s->n_vocab;
	size_t n = top_k ? hth_candidates_top_k(c, logits, s->n_vocab, (size_t)p->top_k)
	                 : hth_candidates_all(c, logits, s->n_vocab);
	if (n == 0)
		return any_allowed(allowed, s->n_vocab);
	if (p->mirostat == 2)
		return draw_mirostat(s, c, n);
	if (p->typical_p < 1.0f)
		n = hth_candidates_typical(c, n, p->typical_p);
	if (p->top_p < 1.0f)
		n = hth_candidates_top_p(c, n, p->top_p);
	if (p->min_p > 0.0f)
		n = hth_candidates_min_p(c, n, p->min_p);
	double probability;
	return c[draw(s, c, n, p->temperature, &probability)].id;
}

/* Candidates stand in the order of their logits, and kernels that round otherwise put near ones in another: so the token may be anywhere
 * among those whose logits are as near as this, also just beyond the cut. */
static const float near_logit = 0.1f;

static float miss_of_draw(const hth_sampler *s, float logit)
{
	double sum = 0, low = 0, high = 0;
	float least = INFINITY;
	for (size_t i = 0; i < s->n_left; i++) {
		const hth_candidate *c = &s->candidates[i];
		double weight = (double)c->key;
		sum += weight;
		low += c->logit >= logit + near_logit ? weight : 0;
		high += c->logit > logit - near_logit ? weight : 0;
		least = HTH_MIN(least, c->logit);
	}
	if (!(sum > 0) || logit < least - near_logit)
		return 1;
	low /= sum;
	high /= sum;
	return (float)(s->unit < low ? low - s->unit : s->unit > high ? s->unit - high : 0);
}

int32_t hth_sampler_weigh(hth_sampler *s, float *logits, const uint32_t *allowed, int32_t token, float *ret_miss)
{
	int32_t chosen = hth_sampler_sample(s, logits, allowed);
	if (token == chosen)
		*ret_miss = 0;
	else if (token < 0 || (size_t)token >= s->n_vocab || !(logits[token] > -INFINITY))
		*ret_miss = 1;
	else if (s->n_left > 0)
		*ret_miss = miss_of_draw(s, s->params.mirostat != 0 ? logits[token] / s->params.temperature : logits[token]);
	else
		*ret_miss = 1 - expf(HTH_MIN(logits[token] - logits[chosen], 0.0f));
	return chosen;
}

void hth_logprobs(const float *logits, size_t n_vocab, int32_t token, float *ret_logprob, hth_logprob *top,
                  size_t n_top)
{
	float max = -INFINITY;
	for (size_t i = 0; i < n_vocab; i++)
		max = logits[i] > max ? logits[i] : max;
	max = max < FLT_MAX ? max : FLT_MAX;
	double sum = 0;
	for (size_t i = 0; i < n_vocab; i++)
		if (logits[i] > -INFINITY)
			sum += (double)expf(HTH_MIN(logits[i], FLT_MAX) - max);
	float log_sum = sum > 0 ? max + (float)log(sum) : 0;
	if (ret_logprob != NULL) {
		float x = token >= 0 && (size_t)token < n_vocab ? logits[token] : -INFINITY;
		*ret_logprob = x > -INFINITY ? HTH_MIN(x, FLT_MAX) - log_sum : -INFINITY;
	}
	/* n_top is small: insertion into the sorted list, which most tokens never reach. */
	size_t n = 0;
	for (size_t i = 0; i < n_vocab && n_top > 0; i++) {
		float x = logits[i];
		if (!(x > -INFINITY) || (n == n_top && !(x > top[n - 1].logprob)))
			continue;
		size_t at = n < n_top ? n++ : n - 1;
		while (at > 0 && x > top[at - 1].logprob) {
			top[at] = top[at - 1];
			at--;
		}
		top[at] = (hth_logprob){(int32_t)i, x};
	}
	for (size_t i = 0; i < n_top; i++)
		top[i] = i < n ? (hth_logprob){top[i].token, HTH_MIN(top[i].logprob, FLT_MAX) - log_sum}
		               : (hth_logprob){-1, -INFINITY};
}
