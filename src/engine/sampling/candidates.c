/* candidates.c - cuts by partial selection: a heap is made in linear time and gives up only as many tokens as the cut
 * keeps, so that a vocabulary of 128 k is never sorted as a whole. */
#include "engine/sampling/candidates.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

float hth_candidates_max(const hth_candidate *c, size_t n)
{
	float max = -INFINITY;
	for (size_t i = 0; i < n; i++)
		max = c[i].logit > max ? c[i].logit : max;
	return max;
}

size_t hth_candidates_all(hth_candidate *out, const float *logits, size_t n_vocab)
{
	size_t n = 0;
	for (size_t i = 0; i < n_vocab; i++)
		if (logits[i] > -INFINITY)
			out[n++] = (hth_candidate){logits[i] < FLT_MAX ? logits[i] : FLT_MAX, 0, (int32_t)i};
	return n;
}

/* a leaves the heap of keys before b. */
static bool before(const hth_candidate *a, const hth_candidate *b)
{
	return a->key < b->key || (a->key == b->key && a->id < b->id);
}

static void sift_down(hth_candidate *c, size_t n, size_t i)
{
	hth_candidate x = c[i];
	size_t child;
	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && before(&c[child + 1], &c[child]))
			child++;
		if (!before(&c[child], &x))
			break;
		c[i] = c[child];
		i = child;
	}
	c[i] = x;
}

static void heapify(hth_candidate *c, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(c, n, i);
}

static void reverse(hth_candidate *c, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		hth_candidate x = c[i];
		c[i] = c[n - 1 - i];
		c[n - 1 - i] = x;
	}
}

size_t hth_candidates_top_k(hth_candidate *out, const float *logits, size_t n_vocab, size_t k)
{
	/* A heap whose top is the worst kept so far: key is the logit itself, and of equals the higher id is worse. */
	size_t n = 0;
	float worst = -INFINITY;
	for (size_t i = 0; i < n_vocab; i++) {
		float x = logits[i];
		if (!(x > worst))
			continue;
		x = x < FLT_MAX ? x : FLT_MAX;
		hth_candidate c = {x, x, -(int32_t)i};
		if (n < k) {
			out[n++] = c;
			if (n < k)
				continue;
			heapify(out, n);
		} else {
			out[0] = c;
			sift_down(out, n, 0);
		}
		worst = out[0].logit;
	}
	if (n < k)
		heapify(out, n);
	/* Worst first out, to the back: what remains is sorted, best first. */
	for (size_t m = n; m > 1; m--) {
		hth_candidate x = out[0];
		out[0] = out[m - 1];
		sift_down(out, m - 1, 0);
		out[m - 1] = x;
	}
	for (size_t i = 0; i < n; i++)
		out[i].id = -out[i].id;
	return n;
}

/* Of softmax(logit). */
static double sum_exp(const hth_candidate *c, size_t n, float max)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (double)expf(c[i].logit - max);
	return sum;
}

/* The first by key until their probability reaches p (more than p where `past`), at least one, in order at the front.
 */
static size_t take_until(hth_candidate *c, size_t n, double p, double sum, float max, bool past)
{
	heapify(c, n);
	double taken = 0, goal = p * sum;
	size_t left = n;
	while (left > 0) {
		/* What leaves the heap goes to its end, the free place. */
		hth_candidate x = c[0];
		c[0] = c[left - 1];
		sift_down(c, left - 1, 0);
		c[--left] = x;
		taken += (double)expf(x.logit - max);
		if (past ? taken > goal : taken >= goal)
			break;
	}
	size_t kept = n - left;
	reverse(c + left, kept);
	for (size_t i = 0; i < kept; i++) {
		hth_candidate x = c[left + i];
		c[left + i] = c[i];
		c[i] = x;
	}
	return kept;
}

size_t hth_candidates_typical(hth_candidate *c, size_t n, float p)
{
	if (n < 2)
		return n;
	float max = hth_candidates_max(c, n);
	double sum = sum_exp(c, n, max), log_sum = log(sum), entropy = 0;
	for (size_t i = 0; i < n; i++) {
		double p_i = (double)expf(c[i].logit - max) / sum;
		entropy -= p_i * ((double)(c[i].logit - max) - log_sum);
	}
	for (size_t i = 0; i < n; i++)
		c[i].key = (float)fabs(log_sum - (double)(c[i].logit - max) - entropy);
	return take_until(c, n, (double)p, sum, max, true);
}

size_t hth_candidates_top_p(hth_candidate *c, size_t n, float p)
{
	if (n < 2)
		return n;
	float max = hth_candidates_max(c, n);
	for (size_t i = 0; i < n; i++)
		c[i].key = -c[i].logit;
	return take_until(c, n, (double)p, sum_exp(c, n, max), max, false);
}

size_t hth_candidates_min_p(hth_candidate *c, size_t n, float p)
{
	float least = hth_candidates_max(c, n) + logf(p);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (c[i].logit >= least)
			c[kept++] = c[i];
	return kept;
}

size_t hth_candidates_draw(hth_candidate *c, size_t n, float temperature, double unit, double *ret_p)
{
	float max = hth_candidates_max(c, n), scale = 1.0f / temperature;
	double sum = 0, walked = 0;
	for (size_t i = 0; i < n; i++) {
		c[i].key = expf((c[i].logit - max) * scale);
		sum += (double)c[i].key;
	}
	/* The same additions in the same order reach sum, which is above unit * sum: some token is always drawn. */
	size_t i = 0;
	while (i + 1 < n && (walked += (double)c[i].key) <= unit * sum)
		i++;
	*ret_p = (double)c[i].key / sum;
	return i;
}
