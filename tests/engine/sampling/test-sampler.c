/* Every option does what it says: either the exact set of tokens that can be drawn, or the distribution of many draws
 * under a fixed seed against the probabilities that the option's definition gives (chi-square far inside its bound, so
 * never by luck). */
#include "base/mem.h"
#include "base/rng.h"
#include "engine/sampling/sampler.h"
#include "harness.h"

#include <float.h>
#include <time.h>

enum { N = 8 };
static const float base_logits[N] = {2.0f, 1.5f, 1.0f, 0.5f, 0.0f, -0.5f, -1.0f, -3.0f};

static hth_sampling off(void)
{
	hth_sampling p = hth_sampling_defaults();
	p.temperature = 1.0f;
	p.top_k = 0;
	p.top_p = 1.0f;
	p.min_p = 0.0f;
	p.seed = 42;
	p.seed_given = true;
	return p;
}

static hth_sampler *make(const hth_sampling *p, size_t n)
{
	hth_error err = HTH_ERROR_INIT;
	hth_sampler *s = NULL;
	CHECK_OK(hth_sampler_create(&s, p, n, &err));
	return s;
}

/* How often each of N tokens comes in n draws from logits. */
static void draw_many(const hth_sampling *p, const float *logits, const uint32_t *allowed, int draws, int counts[N])
{
	hth_sampler *s = make(p, N);
	memset(counts, 0, N * sizeof *counts);
	for (int i = 0; i < draws && s != NULL; i++) {
		float copy[N];
		memcpy(copy, logits, sizeof copy);
		int32_t t = hth_sampler_sample(s, copy, allowed);
		if (t < 0 || t >= N) {
			CHECK_INT(t, 0);
			break;
		}
		counts[t]++;
	}
	hth_sampler_destroy(s);
}

/* Pearson's statistic over the tokens with expect > 0; a token with expect 0 must not occur. */
static double chi_square(const int counts[N], const double expect[N], int draws)
{
	double sum = 0, chi = 0;
	for (int i = 0; i < N; i++)
		sum += expect[i];
	for (int i = 0; i < N; i++) {
		double e = expect[i] / sum * draws;
		if (e == 0.0) {
			if (counts[i] != 0)
				return 1e9;
			continue;
		}
		chi += (counts[i] - e) * (counts[i] - e) / e;
	}
	return chi;
}

static void softmax(const float *logits, double temperature, double out[N])
{
	double sum = 0;
	for (int i = 0; i < N; i++)
		sum += out[i] = isnan(logits[i]) ? 0 : exp((double)logits[i] / temperature);
	for (int i = 0; i < N; i++)
		out[i] /= sum;
}

/* 7 degrees of freedom: 24.3 is passed once in a thousand seeds; the seed is fixed. A wrong distribution gives
 * hundreds. */
#define CHECK_DRAWS(params, logits, expect)                                                                            \
	do {                                                                                                           \
		int check_counts_[N];                                                                                  \
		draw_many((params), (logits), NULL, 20000, check_counts_);                                             \
		double check_chi_ = chi_square(check_counts_, (expect), 20000);                                        \
		if (!(check_chi_ < 24.3))                                                                              \
			test_fail(__FILE__, __LINE__, "chi-square is %g", check_chi_);                                 \
	} while (0)

static int distinct(const int counts[N])
{
	int n = 0;
	for (int i = 0; i < N; i++)
		n += counts[i] > 0;
	return n;
}

TEST(with_everything_off_tokens_come_by_softmax)
{
	hth_sampling p = off();
	double expect[N];
	softmax(base_logits, 1.0, expect);
	CHECK_DRAWS(&p, base_logits, expect);
}

TEST(temperature_sharpens_and_flattens)
{
	hth_sampling p = off();
	double expect[N];
	p.temperature = 0.5f;
	softmax(base_logits, 0.5, expect);
	CHECK_DRAWS(&p, base_logits, expect);
	p.temperature = 3.0f;
	softmax(base_logits, 3.0, expect);
	CHECK_DRAWS(&p, base_logits, expect);
}

TEST(temperature_zero_takes_the_first_of_the_most_likely)
{
	hth_sampling p = off();
	p.temperature = 0;
	float logits[N] = {1, 5, NAN, 5, -2, 0, 3, 4};
	hth_sampler *s = make(&p, N);
	for (int i = 0; i < 3; i++) {
		float copy[N];
		memcpy(copy, logits, sizeof copy);
		CHECK_INT(hth_sampler_sample(s, copy, NULL), 1);
	}
	hth_sampler_destroy(s);
}

TEST(top_k_keeps_k)
{
	hth_sampling p = off();
	double expect[N];
	p.top_k = 3;
	softmax(base_logits, 1.0, expect);
	for (int i = 3; i < N; i++)
		expect[i] = 0;
	CHECK_DRAWS(&p, base_logits, expect);
	p.top_k = 1;
	int counts[N];
	draw_many(&p, base_logits, NULL, 500, counts);
	CHECK_INT(counts[0], 500);
	p.top_k = N + 5; /* more than there are: all */
	softmax(base_logits, 1.0, expect);
	CHECK_DRAWS(&p, base_logits, expect);
}

TEST(top_p_keeps_the_fewest_that_reach_p)
{
	hth_sampling p = off();
	double expect[N], cumulative = 0;
	softmax(base_logits, 1.0, expect);
	p.top_p = 0.7f;
	int kept = 0;
	while (cumulative < 0.7)
		cumulative += expect[kept++];
	CHECK(kept > 1 && kept < N - 1);
	for (int i = kept; i < N; i++)
		expect[i] = 0;
	CHECK_DRAWS(&p, base_logits, expect);
	p.top_p = 0.0f; /* one always stays */
	int counts[N];
	draw_many(&p, base_logits, NULL, 200, counts);
	CHECK_INT(counts[0], 200);
}

TEST(min_p_keeps_what_is_near_the_most_likely)
{
	hth_sampling p = off();
	double expect[N];
	softmax(base_logits, 1.0, expect);
	p.min_p = 0.3f;
	int kept = 0;
	for (int i = 0; i < N; i++) {
		if (expect[i] < 0.3 * expect[0])
			expect[i] = 0;
		kept += expect[i] > 0;
	}
	CHECK_INT(kept, 3);
	CHECK_DRAWS(&p, base_logits, expect);
}

TEST(typical_p_keeps_the_least_surprising_surprises)
{
	/* Probabilities 0.5, 0.125 four times: the entropy is 2 bits, the surprises 1 and 3 bits. */
	const float logits[N] = {1.3862944f, 0, 0, 0, 0, -INFINITY, -INFINITY, -INFINITY};
	hth_sampling p = off();
	double expect[N] = {0};
	p.typical_p = 0.4f;
	/* All are one bit off; float rounding decides the order, so give the sure case: a sharper head. */
	const float sharp[N] = {3.0f, 0.2f, 0.1f, 0, -0.1f, -0.2f, -0.3f, -0.4f};
	double q[N], h = 0, taken = 0;
	softmax(sharp, 1.0, q);
	for (int i = 0; i < N; i++)
		h -= q[i] * log(q[i]);
	bool used[N] = {false};
	while (taken <= 0.4) {
		int best = -1;
		for (int i = 0; i < N; i++)
			if (!used[i] && (best < 0 || fabs(-log(q[i]) - h) < fabs(-log(q[best]) - h)))
				best = i;
		used[best] = true;
		taken += q[best];
		expect[best] = q[best];
	}
	CHECK_DRAWS(&p, sharp, expect);
	int counts[N];
	draw_many(&p, sharp, NULL, 2000, counts);
	CHECK(distinct(counts) < N);
	draw_many(&p, logits, NULL, 2000, counts);
	CHECK(distinct(counts) >= 1 && distinct(counts) < 5);
}

TEST(repeat_penalty_divides_and_multiplies)
{
	hth_sampling p = off();
	p.repeat_penalty = 2.0f;
	hth_sampler *s = make(&p, N);
	hth_sampler_accept(s, 0);
	hth_sampler_accept(s, 6);
	float logits[N];
	memcpy(logits, base_logits, sizeof logits);
	(void)hth_sampler_sample(s, logits, NULL);
	CHECK_NEAR(logits[0], 1.0, 1e-6);
	CHECK_NEAR(logits[6], -2.0, 1e-6);
	CHECK_NEAR(logits[1], 1.5, 0);
	hth_sampler_destroy(s);
}

TEST(presence_and_frequency_penalties_subtract)
{
	hth_sampling p = off();
	p.presence_penalty = 0.25f;
	p.frequency_penalty = 0.5f;
	hth_sampler *s = make(&p, N);
	for (int i = 0; i < 3; i++)
		hth_sampler_accept(s, 2);
	hth_sampler_accept(s, 4);
	hth_sampler_accept(s, 99); /* not of this vocabulary: ignored */
	hth_sampler_accept(s, -1);
	float logits[N];
	memcpy(logits, base_logits, sizeof logits);
	(void)hth_sampler_sample(s, logits, NULL);
	CHECK_NEAR(logits[2], 1.0 - 0.25 - 1.5, 1e-6);
	CHECK_NEAR(logits[4], 0.0 - 0.25 - 0.5, 1e-6);
	CHECK_NEAR(logits[0], 2.0, 0);
	hth_sampler_destroy(s);
}

TEST(penalties_look_back_over_the_last_tokens_only)
{
	static const int32_t windows[] = {2, -1, 0};
	for (size_t w = 0; w < HTH_COUNT(windows); w++) {
		hth_sampling p = off();
		p.presence_penalty = 1.0f;
		p.repeat_last_n = windows[w];
		hth_sampler *s = make(&p, N);
		for (int32_t t = 0; t < 5; t++)
			hth_sampler_accept(s, t % 4); /* 0 1 2 3 0 */
		float logits[N];
		memcpy(logits, base_logits, sizeof logits);
		(void)hth_sampler_sample(s, logits, NULL);
		bool all = windows[w] < 0, none = windows[w] == 0;
		CHECK_NEAR(logits[0], none ? 2.0 : 1.0, 1e-6);
		CHECK_NEAR(logits[1], all ? 0.5 : 1.5, 1e-6);
		CHECK_NEAR(logits[2], all ? 0.0 : 1.0, 1e-6);
		CHECK_NEAR(logits[3], none ? 0.5 : -0.5, 1e-6);
		hth_sampler_destroy(s);
	}
}

TEST(a_long_run_keeps_the_window_exact)
{
	hth_sampling p = off();
	p.frequency_penalty = 1.0f;
	p.repeat_last_n = 7;
	hth_sampler *s = make(&p, N);
	int32_t history[500];
	hth_rng rng;
	hth_rng_seed(&rng, 9);
	for (int i = 0; i < 500; i++) {
		history[i] = (int32_t)(hth_rng_next(&rng) % N);
		hth_sampler_accept(s, history[i]);
		float logits[N] = {0};
		(void)hth_sampler_sample(s, logits, NULL);
		for (int t = 0; t < N; t++) {
			int count = 0;
			for (int k = i > 6 ? i - 6 : 0; k <= i; k++)
				count += history[k] == t;
			if (logits[t] != (float)-count) {
				CHECK_NEAR(logits[t], -count, 0);
				i = 500;
				break;
			}
		}
	}
	hth_sampler_destroy(s);
}

TEST(logit_bias_adds_and_forbids)
{
	hth_sampling p = off();
	hth_logit_bias bias[] = {{7, 4.0f}, {0, -100.0f}, {1, -1.0f}};
	p.logit_bias = bias;
	p.n_logit_bias = HTH_COUNT(bias);
	float biased[N];
	memcpy(biased, base_logits, sizeof biased);
	biased[7] += 4.0f;
	biased[1] -= 1.0f;
	double expect[N];
	softmax(biased, 1.0, expect);
	expect[0] = 0;
	CHECK_DRAWS(&p, base_logits, expect);
	/* The caller's array is copied. */
	hth_sampler *s = make(&p, N);
	bias[0].token = 3;
	float logits[N];
	memcpy(logits, base_logits, sizeof logits);
	(void)hth_sampler_sample(s, logits, NULL);
	CHECK_NEAR(logits[7], 1.0, 1e-6);
	hth_sampler_destroy(s);
	hth_error err = HTH_ERROR_INIT;
	bias[0].token = N;
	CHECK_INT(hth_sampler_create(&s, &p, N, &err), HTH_INVALID);
	CHECK_STR(err.param, "logit_bias");
	p.n_logit_bias = 0;
	p.top_p = 2.0f;
	CHECK_INT(hth_sampler_create(&s, &p, N, &err), HTH_INVALID);
	CHECK_STR(err.param, "top_p");
}

TEST(a_mask_leaves_only_what_it_allows)
{
	hth_sampling p = off();
	uint32_t allowed = 1u << 3 | 1u << 7;
	int counts[N];
	draw_many(&p, base_logits, &allowed, 5000, counts);
	CHECK(counts[3] > 0 && counts[7] > 0);
	CHECK_INT(counts[3] + counts[7], 5000);
	p.temperature = 0;
	draw_many(&p, base_logits, &allowed, 10, counts);
	CHECK_INT(counts[3], 10);
	/* Even where the bias forbids all of them, an allowed token comes. */
	hth_logit_bias bias[] = {{3, -100}, {7, -100}};
	p.logit_bias = bias;
	p.n_logit_bias = 2;
	draw_many(&p, base_logits, &allowed, 10, counts);
	CHECK_INT(counts[3], 10);
	p.temperature = 1;
	draw_many(&p, base_logits, &allowed, 10, counts);
	CHECK_INT(counts[3], 10);
	/* Words past a vocabulary that is no multiple of 32 are not looked at, and a whole word is. */
	enum { ODD = 77 };
	float logits[ODD];
	uint32_t words[3] = {0, 0, 1u << 11};
	for (int i = 0; i < ODD; i++)
		logits[i] = (float)-i;
	p = off();
	hth_sampler *s = make(&p, ODD);
	CHECK_INT(hth_sampler_sample(s, logits, words), 75);
	hth_sampler_destroy(s);
}

TEST(nan_and_infinity_do_no_harm)
{
	hth_sampling p = off();
	const float logits[N] = {NAN, INFINITY, -INFINITY, NAN, 1, 2, NAN, NAN};
	int counts[N];
	draw_many(&p, logits, NULL, 100, counts);
	CHECK_INT(counts[1], 100);
	const float nothing[N] = {NAN, NAN, -INFINITY, NAN, NAN, NAN, NAN, NAN};
	draw_many(&p, nothing, NULL, 10, counts);
	CHECK_INT(counts[0], 10);
	p.mirostat = 2;
	draw_many(&p, nothing, NULL, 10, counts);
	CHECK_INT(counts[0], 10);
	draw_many(&p, logits, NULL, 10, counts);
	CHECK_INT(counts[1], 10);
}

TEST(a_seed_gives_the_same_tokens_and_another_gives_others)
{
	hth_sampling p = hth_sampling_defaults();
	p.seed = 7;
	enum { V = 5000, DRAWS = 64 };
	HTH_AUTO_FREE float *logits = malloc(V * sizeof *logits);
	HTH_AUTO_FREE float *copy = malloc(V * sizeof *copy);
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	for (int i = 0; i < V; i++)
		logits[i] = (float)(hth_rng_unit(&rng) * 6.0);
	int32_t first[DRAWS];
	int same = 0, other = 0;
	for (int run = 0; run < 3; run++) {
		p.seed = run == 2 ? 8 : 7;
		hth_sampler *s = make(&p, V);
		for (int i = 0; i < DRAWS; i++) {
			memcpy(copy, logits, V * sizeof *copy);
			int32_t t = hth_sampler_sample(s, copy, NULL);
			if (run == 0)
				first[i] = t;
			else if (run == 1)
				same += first[i] == t;
			else
				other += first[i] != t;
		}
		hth_sampler_destroy(s);
	}
	CHECK_INT(same, DRAWS);
	CHECK(other > DRAWS / 2);
}

TEST(mirostat_steers_the_surprise_to_tau)
{
	enum { V = 2000, WARM = 300, DRAWS = 3000 };
	HTH_AUTO_FREE float *logits = malloc(V * sizeof *logits);
	HTH_AUTO_FREE float *copy = malloc(V * sizeof *copy);
	hth_rng rng;
	hth_rng_seed(&rng, 3);
	double sum = 0;
	for (int i = 0; i < V; i++) {
		logits[i] = (float)(-1.1 * log(i + 1.0)); /* Zipf, as words are */
		sum += exp((double)logits[i]);
	}
	for (float tau = 3.0f; tau <= 5.0f; tau += 2.0f) {
		hth_sampling p = off();
		p.mirostat = 2;
		p.mirostat_tau = tau;
		p.mirostat_eta = 0.1f;
		p.top_k = 1; /* the cuts are off under mirostat */
		hth_sampler *s = make(&p, V);
		double surprise = 0;
		for (int i = 0; i < WARM + DRAWS; i++) {
			memcpy(copy, logits, V * sizeof *copy);
			int32_t t = hth_sampler_sample(s, copy, NULL);
			if (i >= WARM)
				surprise -= log2(exp((double)logits[t]) / sum) / DRAWS;
		}
		/* It settles where the kept head, made whole again, has tau bits of entropy; seen from the whole
		 * distribution each of its tokens is more surprising by the part that was cut. */
		double mass = 0, plogp = 0, settled = 0;
		for (int i = 0; i < V; i++) {
			double q = exp((double)logits[i]) / sum;
			mass += q;
			plogp += q * log2(q);
			if (log2(mass) - plogp / mass >= (double)tau) {
				settled = (double)tau - log2(mass);
				break;
			}
		}
		CHECK(settled > (double)tau + 0.2);
		CHECK_NEAR(surprise, settled, 0.25);
		hth_sampler_destroy(s);
	}
}

TEST(logprobs_are_the_softmax_of_the_raw_logits)
{
	float logits[N];
	memcpy(logits, base_logits, sizeof logits);
	logits[3] = NAN;
	double expect[N];
	softmax(logits, 1.0, expect);
	float lp;
	hth_logprob top[10];
	hth_logprobs(logits, N, 2, &lp, top, 3);
	CHECK_NEAR(lp, log(expect[2]), 1e-5);
	CHECK_INT(top[0].token, 0);
	CHECK_INT(top[1].token, 1);
	CHECK_INT(top[2].token, 2);
	CHECK_NEAR(top[1].logprob, log(expect[1]), 1e-5);
	hth_logprobs(logits, N, 3, &lp, top, 10);
	CHECK(isinf(lp) && lp < 0);
	CHECK_INT(top[6].token, 7);
	CHECK_INT(top[7].token, -1);
	CHECK(isinf(top[9].logprob));
	hth_logprobs(logits, N, -1, &lp, NULL, 0);
	CHECK(isinf(lp));
	for (int i = 0; i < N; i++) /* not changed */
		CHECK(isnan(logits[i]) ? i == 3 : logits[i] == base_logits[i]);
}

TEST(cuts_over_a_large_vocabulary_agree_with_a_plain_sort)
{
	/* Against definitions, not against the same code: top-k then top-p by a full sort. */
	enum { V = 20000, K = 50 };
	HTH_AUTO_FREE float *logits = malloc(V * sizeof *logits);
	HTH_AUTO_FREE float *copy = malloc(V * sizeof *copy);
	HTH_AUTO_FREE int *seen = calloc(V, sizeof *seen);
	hth_rng rng;
	hth_rng_seed(&rng, 5);
	for (int i = 0; i < V; i++)
		logits[i] = (float)(hth_rng_unit(&rng) * 12.0);
	hth_sampling p = off();
	p.top_k = K;
	p.top_p = 0.6f;
	hth_sampler *s = make(&p, V);
	for (int i = 0; i < 4000; i++) {
		memcpy(copy, logits, V * sizeof *copy);
		seen[hth_sampler_sample(s, copy, NULL)]++;
	}
	hth_sampler_destroy(s);
	float best[K];
	int best_id[K];
	double sum = 0, cumulative = 0;
	memcpy(copy, logits, V * sizeof *copy);
	for (int k = 0; k < K; k++) {
		int at = 0;
		for (int i = 1; i < V; i++)
			at = copy[i] > copy[at] ? i : at;
		best[k] = copy[at];
		best_id[k] = at;
		copy[at] = -1;
		sum += exp((double)best[k]);
	}
	int kept = 0;
	while (cumulative < 0.6)
		cumulative += exp((double)best[kept++]) / sum;
	int outside = 4000, inside = 0;
	for (int k = 0; k < kept; k++) {
		outside -= seen[best_id[k]];
		inside += seen[best_id[k]] > 0;
	}
	CHECK_INT(outside, 0);
	CHECK_INT(inside, kept);
}

TEST_MAIN()
