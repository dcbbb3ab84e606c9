/* fake-engine.h - a session that is quick, exact and open to look into: the logits of a position are a hash of all tokens up to
 * it, so a token that was computed twice, left out, or taken from the wrong sequence changes every answer after it. Time is
 * counted, not measured: a step costs step_ns + row_ns * rows. Pages are counted as the real one does (32 tokens, shared
 * ones once). */
#ifndef HTH_TESTS_FAKE_ENGINE_H
#define HTH_TESTS_FAKE_ENGINE_H

#include "base/mem.h"
#include "runner/compute.h"

enum { FAKE_PAGE = 32, FAKE_SEQS = 64, FAKE_CTX = 4096, FAKE_BATCH = 512, FAKE_PAGES = FAKE_CTX / FAKE_PAGE, FAKE_LAYERS = 8 };

typedef struct fake_engine {
	int32_t tokens[FAKE_SEQS][FAKE_CTX];
	uint32_t length[FAKE_SEQS];
	uint32_t page[FAKE_SEQS][FAKE_PAGES]; /* 0: none, else number + 1 */
	uint32_t refs[FAKE_SEQS * FAKE_PAGES];
	uint32_t n_pages, free_pages;
	float *logits;
	size_t n_logits;
	uint32_t n_vocab;
	uint64_t now, step_ns, row_ns;
	uint64_t calls, rows, most_rows;
	/* Answers follow this where a sequence's length is past script_at; otherwise the hash decides. */
	const int32_t *script;
	uint32_t n_script, script_at;
	uint32_t period; /* not 0: the next token is the one `period` tokens back: text that repeats itself */
	/* Called in the middle of every decode, as if from another thread. */
	void (*midway)(void *ctx, struct fake_engine *fake);
	void *midway_ctx;
	bool fail_next;
	double jump_ns; /* that a step of more than one row costs beside its rows */
	/* The batch in slices: how much of it is done, and the pages that it has taken beforehand. */
	const hth_batch_token *slice;
	size_t n_slice;
	uint32_t slice_layers, slice_pages, slices;
	uint32_t restored; /* pages that came back from disk */
} fake_engine;

static inline uint64_t fake_hash(const int32_t *tokens, uint32_t n)
{
	uint64_t h = 1469598103934665603u;
	for (uint32_t i = 0; i < n; i++)
		h = (h ^ (uint64_t)(uint32_t)tokens[i]) * 1099511628211u;
	return h ^ h >> 29;
}

static inline uint32_t fake_pages(uint32_t length) { return (length + FAKE_PAGE - 1) / FAKE_PAGE; }

static inline void fake_drop_page(fake_engine *f, uint32_t seq, uint32_t i)
{
	uint32_t page = f->page[seq][i] - 1;
	f->page[seq][i] = 0;
	if (--f->refs[page] == 0)
		f->free_pages++;
}

static inline void fake_truncate(void *ctx, uint32_t seq, uint32_t length)
{
	fake_engine *f = ctx;
	for (uint32_t i = fake_pages(length); i < fake_pages(f->length[seq]); i++)
		fake_drop_page(f, seq, i);
	if (length < f->length[seq])
		f->length[seq] = length;
}

static inline void fake_share(void *ctx, uint32_t dst, uint32_t src, uint32_t length)
{
	fake_engine *f = ctx;
	fake_truncate(f, dst, 0);
	memcpy(f->tokens[dst], f->tokens[src], length * sizeof(int32_t));
	for (uint32_t i = 0; i < fake_pages(length); i++) {
		f->page[dst][i] = f->page[src][i];
		f->refs[f->page[dst][i] - 1]++;
	}
	f->length[dst] = length;
}

/* A page's bytes are its tokens: what comes back wrong changes every answer after it. */
static inline const void *fake_page(void *ctx, uint32_t seq, uint32_t i) { return ((fake_engine *)ctx)->tokens[seq] + i * FAKE_PAGE; }

static inline uint32_t fake_free_tokens(void *ctx) { return ((fake_engine *)ctx)->free_pages * FAKE_PAGE; }

static inline void fake_new_page(fake_engine *f, uint32_t seq, uint32_t i)
{
	for (uint32_t p = 0; p < f->n_pages; p++)
		if (f->refs[p] == 0) {
			f->refs[p] = 1;
			f->free_pages--;
			f->page[seq][i] = p + 1;
			return;
		}
}

static inline void *fake_page_append(void *ctx, uint32_t seq)
{
	fake_engine *f = ctx;
	uint32_t at = f->length[seq];
	if (at % FAKE_PAGE != 0 || at + FAKE_PAGE > FAKE_CTX || f->free_pages == 0)
		return NULL;
	fake_new_page(f, seq, at / FAKE_PAGE);
	f->length[seq] += FAKE_PAGE;
	f->restored++;
	return f->tokens[seq] + at;
}

/* Pages that one more token of seq needs: a new one at a page's start, a copy when the last one is shared. */
static inline bool fake_needs_page(const fake_engine *f, uint32_t seq, uint32_t length)
{
	return length % FAKE_PAGE == 0 || f->refs[f->page[seq][length / FAKE_PAGE] - 1] > 1;
}

static inline uint64_t fake_cost(const fake_engine *f, size_t n)
{
	return f->step_ns + f->row_ns * n + (n > 1 ? (uint64_t)f->jump_ns : 0);
}

/* Whether there is room for the batch; the pages that it needs. */
static inline hth_status fake_check(fake_engine *f, const hth_batch_token *tokens, size_t n, uint32_t *ret_pages, hth_error *err)
{
	if (f->fail_next) {
		f->fail_next = false;
		return hth_fail(err, HTH_INTERNAL, "made to fail");
	}
	uint32_t grown[FAKE_SEQS], need = 0;
	memcpy(grown, f->length, sizeof grown);
	for (size_t i = 0; i < n; i++) {
		uint32_t seq = tokens[i].seq;
		if (grown[seq] >= FAKE_CTX)
			return hth_fail(err, HTH_TOO_LARGE, "sequence %u is full", seq);
		need += grown[seq] % FAKE_PAGE == 0 || (grown[seq] == f->length[seq] && fake_needs_page(f, seq, grown[seq]));
		grown[seq]++;
	}
	if (need > f->free_pages)
		return hth_fail(err, HTH_NO_MEMORY, "%u pages needed, %u free", need, f->free_pages);
	*ret_pages = need;
	return HTH_OK;
}

static inline bool fake_spend(fake_engine *f, uint64_t ns, const atomic_bool *cancel)
{
	f->now += ns / 2;
	if (f->midway != NULL)
		f->midway(f->midway_ctx, f);
	if (cancel != NULL && atomic_load(cancel))
		return false;
	f->now += ns - ns / 2;
	return true;
}

static inline void fake_finish(fake_engine *f, const hth_batch_token *tokens, size_t n)
{
	f->n_logits = 0;
	f->calls++;
	f->rows += n;
	f->most_rows = HTH_MAX(f->most_rows, n);
	for (size_t i = 0; i < n; i++) {
		uint32_t seq = tokens[i].seq, at = f->length[seq];
		if (fake_needs_page(f, seq, at)) {
			if (at % FAKE_PAGE != 0)
				fake_drop_page(f, seq, at / FAKE_PAGE);
			fake_new_page(f, seq, at / FAKE_PAGE);
		}
		f->tokens[seq][at] = tokens[i].token;
		f->length[seq] = ++at;
		if (!tokens[i].want_logits)
			continue;
		float *row = f->logits + f->n_logits++ * f->n_vocab;
		uint64_t h = fake_hash(f->tokens[seq], at);
		for (uint32_t v = 0; v < f->n_vocab; v++)
			row[v] = (float)((h ^ (v * 0x9E3779B97F4A7C15u)) >> 40 & 0xFFFF) / 65536.0f;
		int32_t favourite = -1;
		if (f->script != NULL && at >= f->script_at && at - f->script_at < f->n_script)
			favourite = f->script[at - f->script_at];
		else if (f->period > 0 && at > f->period)
			favourite = f->tokens[seq][at - f->period];
		if (favourite >= 0)
			row[favourite] += 20;
	}
}

static inline hth_status fake_decode(void *ctx, const hth_batch_token *tokens, size_t n, const atomic_bool *cancel, hth_error *err)
{
	fake_engine *f = ctx;
	uint32_t pages;
	HTH_TRY(fake_check(f, tokens, n, &pages, err));
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < f->n_slice; k++)
			if (f->slice[k].seq == tokens[i].seq)
				return hth_fail(err, HTH_INTERNAL, "sequence %u is in slices", tokens[i].seq);
	if (!fake_spend(f, fake_cost(f, n), cancel))
		return hth_fail(err, HTH_CANCELLED, "broken off");
	fake_finish(f, tokens, n);
	return HTH_OK;
}

static inline hth_status fake_slice_begin(void *ctx, const hth_batch_token *tokens, size_t n, hth_error *err)
{
	fake_engine *f = ctx;
	if (f->n_slice > 0)
		return hth_fail(err, HTH_INTERNAL, "open already");
	HTH_TRY(fake_check(f, tokens, n, &f->slice_pages, err));
	f->slice = tokens;
	f->n_slice = n;
	f->slice_layers = 0;
	f->free_pages -= f->slice_pages;
	return HTH_OK;
}
static inline void fake_slice_drop(void *ctx)
{
	fake_engine *f = ctx;
	f->free_pages += f->n_slice > 0 ? f->slice_pages : 0;
	f->n_slice = 0;
}
static inline hth_status fake_slice_run(void *ctx, uint32_t n_layers, const atomic_bool *cancel, bool *ret_done, hth_error *err)
{
	fake_engine *f = ctx;
	if (f->n_slice == 0)
		return hth_fail(err, HTH_INTERNAL, "none is open");
	uint32_t layers = HTH_MIN(n_layers, FAKE_LAYERS - f->slice_layers);
	f->slices++;
	if (!fake_spend(f, fake_cost(f, f->n_slice) * layers / FAKE_LAYERS, cancel)) {
		fake_slice_drop(f);
		return hth_fail(err, HTH_CANCELLED, "broken off");
	}
	f->slice_layers += layers;
	*ret_done = f->slice_layers == FAKE_LAYERS;
	if (*ret_done) {
		size_t n = f->n_slice;
		fake_slice_drop(f);
		fake_finish(f, f->slice, n);
	}
	return HTH_OK;
}

static inline float *fake_logits(void *ctx, size_t i)
{
	fake_engine *f = ctx;
	return f->logits + i * f->n_vocab;
}
static inline uint64_t fake_now(void *ctx) { return ((fake_engine *)ctx)->now; }
static inline hth_status fake_embed(void *ctx, const int32_t *tokens, size_t n, float *ret, const atomic_bool *cancel, hth_error *err)
{
	fake_engine *f = ctx;
	f->now += f->step_ns + f->row_ns * n;
	if (f->midway != NULL)
		f->midway(f->midway_ctx, f);
	if (cancel != NULL && atomic_load(cancel))
		return hth_fail(err, HTH_CANCELLED, "broken off");
	ret[0] = (float)n;
	ret[1] = (float)tokens[0];
	return HTH_OK;
}
static inline void fake_parallel(void *ctx, size_t n, void (*fn)(void *, size_t, unsigned), void *fn_ctx)
{
	(void)ctx;
	for (size_t i = n; i-- > 0;) /* an order that nobody may rely on */
		fn(fn_ctx, i, 0);
}

static inline fake_engine *fake_create(const hth_tokenizer *tokenizer, uint32_t n_seq, uint32_t n_ctx, uint32_t n_kv,
                                       hth_compute *ret_compute)
{
	fake_engine *f = calloc(1, sizeof *f);
	f->n_vocab = (uint32_t)hth_tokenizer_vocab_size(tokenizer);
	f->n_pages = f->free_pages = n_kv / FAKE_PAGE;
	f->logits = calloc((size_t)FAKE_BATCH * f->n_vocab, sizeof(float));
	f->step_ns = 40000000;
	f->row_ns = 8000000;
	f->now = 1000;
	*ret_compute = (hth_compute){.ctx = f,
	                             .n_seq = n_seq,
	                             .n_ctx = n_ctx,
	                             .n_batch = FAKE_BATCH,
	                             .n_slice = FAKE_BATCH / 2,
	                             .n_layer = FAKE_LAYERS,
	                             .n_vocab = f->n_vocab,
	                             .n_embd = 2,
	                             .tokenizer = tokenizer,
	                             .exact_rows = UINT32_MAX,
	                             .now_ns = fake_now,
	                             .busy_ns = fake_now,
	                             .decode = fake_decode,
	                             .slice_begin = fake_slice_begin,
	                             .slice_run = fake_slice_run,
	                             .slice_drop = fake_slice_drop,
	                             .logits = fake_logits,
	                             .truncate = fake_truncate,
	                             .share = fake_share,
	                             .free_tokens = fake_free_tokens,
	                             .page = fake_page,
	                             .page_append = fake_page_append,
	                             .page_bytes = FAKE_PAGE * sizeof(int32_t),
	                             .embed = fake_embed,
	                             .parallel = fake_parallel};
	return f;
}
static inline void fake_destroy(fake_engine *f)
{
	free(f->logits);
	free(f);
}

#endif
