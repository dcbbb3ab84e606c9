/* drafter.c - see drafter.h. Owns what the smaller model's sequences hold. Thread: the scheduler's. */
#include "runner/drafter.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

enum { READ_AT_ONCE = 64 /* tokens: answers wait while it reads a prompt */ };
/* It stops at a token that it gives less than this: such guesses are seldom right, and each costs it a step. */
#define SURE 0.4
#define LEARN 0.2

typedef struct follower {
	int32_t *tokens; /* that the sequence holds; n_ctx */
	uint32_t n;
	bool taken;
} follower;

struct hth_drafter {
	const hth_compute *engine;
	follower *followers; /* engine->n_seq */
	double guess_ns;
};

hth_status hth_drafter_create(hth_drafter **ret_drafter, const hth_compute *engine, hth_error *err)
{
	hth_drafter *d = calloc(1, sizeof *d);
	follower *followers = hth_alloc_array(engine->n_seq, sizeof *followers);
	bool ok = d != NULL && followers != NULL;
	for (uint32_t i = 0; ok && i < engine->n_seq; i++)
		ok = (followers[i].tokens = hth_alloc_array(engine->n_ctx, sizeof *followers[i].tokens)) != NULL;
	if (d != NULL)
		*d = (hth_drafter){.engine = engine, .followers = followers};
	if (!ok) {
		hth_drafter_destroy(d);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for drafts of %u answers", engine->n_seq);
	}
	*ret_drafter = d;
	return HTH_OK;
}

void hth_drafter_destroy(hth_drafter *d)
{
	if (d == NULL)
		return;
	for (uint32_t i = 0; d->followers != NULL && i < d->engine->n_seq; i++) {
		if (d->followers[i].tokens != NULL)
			explicit_bzero(d->followers[i].tokens, d->followers[i].n * sizeof *d->followers[i].tokens);
		free(d->followers[i].tokens);
	}
	free(d->followers);
	free(d);
}

double hth_drafter_guess_ns(const hth_drafter *d) { return d->guess_ns; }

static uint32_t common(const follower *f, const int32_t *tokens, uint32_t n)
{
	uint32_t i = 0;
	n = HTH_MIN(n, f->n);
	while (i < n && f->tokens[i] == tokens[i])
		i++;
	return i;
}

static void cut(hth_drafter *d, uint32_t seq, uint32_t n)
{
	follower *f = &d->followers[seq];
	if (n >= f->n)
		return;
	d->engine->truncate(d->engine->ctx, seq, n);
	explicit_bzero(f->tokens + n, (f->n - n) * sizeof *f->tokens);
	f->n = n;
}

int hth_drafter_take(hth_drafter *d, const int32_t *tokens, uint32_t n_tokens)
{
	int best = -1;
	uint32_t most = 0;
	for (uint32_t i = 0; i < d->engine->n_seq; i++) {
		if (d->followers[i].taken)
			continue;
		uint32_t n = common(&d->followers[i], tokens, n_tokens);
		if (best < 0 || n > most) {
			best = (int)i;
			most = n;
		}
	}
	if (best >= 0)
		d->followers[best].taken = true;
	return best;
}

void hth_drafter_release(hth_drafter *d, int seq) { d->followers[seq].taken = false; }

/* Appends tokens. False: no memory, even without what nobody follows, or it failed. */
static bool read_tokens(hth_drafter *d, uint32_t seq, const int32_t *tokens, uint32_t n, bool want_logits)
{
	follower *f = &d->followers[seq];
	hth_batch_token batch[READ_AT_ONCE];
	if (n > d->engine->n_ctx - f->n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		batch[i] = (hth_batch_token){.token = tokens[i], .seq = seq, .want_logits = want_logits && i + 1 == n};
	hth_error err;
	hth_status status = d->engine->decode(d->engine->ctx, batch, n, NULL, &err);
	if (status == HTH_NO_MEMORY) {
		for (uint32_t i = 0; i < d->engine->n_seq; i++)
			if (!d->followers[i].taken)
				cut(d, i, 0);
		status = d->engine->decode(d->engine->ctx, batch, n, NULL, &err);
	}
	if (status != HTH_OK)
		return false;
	memcpy(f->tokens + f->n, tokens, n * sizeof *tokens);
	f->n += n;
	return true;
}

/* The likeliest token, -1 when even that is not likely. */
static int32_t likeliest(hth_drafter *d)
{
	const float *logits = d->engine->logits(d->engine->ctx, 0);
	uint32_t best = 0;
	for (uint32_t i = 1; i < d->engine->n_vocab; i++)
		if (logits[i] > logits[best])
			best = i;
	double sum = 0;
	for (uint32_t i = 0; i < d->engine->n_vocab; i++)
		if (logits[i] > logits[best] - 16)
			sum += exp((double)(logits[i] - logits[best]));
	return sum * SURE <= 1 ? (int32_t)best : -1;
}

int hth_drafter_guess(hth_drafter *d, int seq, const int32_t *tokens, uint32_t n_tokens, uint32_t max, int32_t *drafts)
{
	uint32_t s = (uint32_t)seq, n = 0;
	follower *f = &d->followers[s];
	cut(d, s, common(f, tokens, n_tokens - 1)); /* the last one is computed again for its logits */
	uint32_t left = n_tokens - f->n, chunk = HTH_MIN(HTH_MIN(left, (uint32_t)READ_AT_ONCE), d->engine->n_batch);
	uint64_t began = d->engine->busy_ns(d->engine->ctx);
	if (!read_tokens(d, s, tokens + f->n, chunk, chunk == left))
		return 0;
	if (chunk < left)
		return -1;
	while (n < max) {
		int32_t token = likeliest(d);
		if (token < 0)
			break;
		drafts[n++] = token;
		if (n < max && !read_tokens(d, s, &token, 1, true))
			break;
	}
	if (chunk <= 4) { /* not what reading a prompt took */
		double each = (double)(d->engine->busy_ns(d->engine->ctx) - began) / HTH_MAX(n, 1u);
		d->guess_ns += (d->guess_ns > 0 ? LEARN : 1) * (each - d->guess_ns);
	}
	return (int)n;
}
