/* speculation.c - see speculation.h. Thread: the scheduler's. */
#include "runner/speculation.h"

#include "base/mem.h"

enum {
	LOOK_BACK = 16384, /* tokens; farther than that the scan itself would cost */
	GRAM_MAX = 4,      /* the more tokens agree, the better the guess */
	GRAM_MIN = 2,
	RETRY_AFTER = 48,
};
#define LEARN 0.15f
#define MARGIN 1.15 /* it must pay clearly: the estimates are rough, and others wait for the longer step */

void hth_speculation_init(hth_speculation *speculation) 
{
	*speculation = (hth_speculation){.lookup.hit_rate = 0.5f, .model.hit_rate = 0.5f};
}

/* Where what followed the last occurrence of the text's last n tokens begins; 0: they stand nowhere else. */
static uint32_t find_last(const int32_t *tokens, uint32_t n_tokens, uint32_t n)
{
	const int32_t *gram = tokens + n_tokens - n;
	uint32_t stop = n_tokens > LOOK_BACK ? n_tokens - LOOK_BACK : 0;
	for (uint32_t i = n_tokens - 1; i >= stop + n; i--)
		if (tokens[i - 1] == gram[n - 1] && memcmp(tokens + i - n, gram, n * sizeof *gram) == 0)
			return i;
	return 0;
}

/* As many as bring the most tokens for the step's time: without any it brings n_decoding of them, the i-th guess brings
 * hit_rate^i more. A first row more may be dear and the next ones cheap, so all numbers are tried. */
static uint32_t how_many(hth_guesses *g, const hth_pace *pace, size_t n_rows, size_t n_decoding, uint32_t max, double guess_ns)
{
	uint32_t pays = 0;
	double chance = 1, tokens_out = (double)n_decoding, base = (double)hth_pace_expect_ns(pace, n_rows);
	double best = base > 0 ? MARGIN * tokens_out / base : 0;
	for (uint32_t i = 1; i <= max && base > 0; i++) {
		tokens_out += chance *= g->hit_rate;
		double rate = tokens_out / ((double)hth_pace_expect_ns(pace, n_rows + i) + i * guess_ns);
		if (rate > best) {
			best = rate;
			pays = i;
		}
	}
	if (pays > 0)
		return pays;
	if (g->waiting > 0) {
		g->waiting--;
		return 0;
	}
	g->waiting = RETRY_AFTER;
	return HTH_MIN(max, 1u); /* the text may have become one that is easier to guess */
}

uint32_t hth_speculation_ask(hth_speculation *speculation, const hth_pace *pace, size_t n_rows, size_t n_decoding, uint32_t max,
                             double guess_ns)
{
	uint32_t n = how_many(&speculation->model, pace, n_rows, n_decoding, max, guess_ns);
	speculation->by_model = true;
	return n;
}

uint32_t hth_speculation_draft(hth_speculation *speculation, const hth_pace *pace, size_t n_rows, size_t n_decoding,
                               const int32_t *tokens, uint32_t n_tokens, uint32_t max, int32_t *drafts)
{
	if (max == 0 || n_tokens < GRAM_MIN + 2)
		return 0;
	uint32_t pays = how_many(&speculation->lookup, pace, n_rows, n_decoding, max, 0);
	speculation->by_model = false;
	if (pays == 0)
		return 0;
	uint32_t from = 0;
	for (uint32_t n = HTH_MIN((uint32_t)GRAM_MAX, n_tokens / 2); n >= GRAM_MIN && from == 0; n--)
		from = find_last(tokens, n_tokens, n);
	if (from == 0)
		return 0;
	uint32_t n = 0;
	for (; n < pays && from + n < n_tokens; n++)
		drafts[n] = tokens[from + n];
	return n;
}

void hth_speculation_learn(hth_speculation *speculation, uint32_t tried, uint32_t right)
{
	hth_guesses *g = speculation->by_model ? &speculation->model : &speculation->lookup;
	for (uint32_t i = 0; i < tried; i++)
		g->hit_rate += LEARN * ((i < right ? 1.0f : 0.0f) - g->hit_rate);
}
