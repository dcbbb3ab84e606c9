/* cmd-bench.c - `hearth bench`: how fast a model is here, beside what the machine can do at most.
 *
 * Speeds of machines differ and drift, so the numbers that count are shares: the read bandwidth and the multiply-add peak are
 * measured in the same run, in turns with the model (measure.h). What neighbours of a virtual machine leave of its bandwidth changes within
 * a tenth of a second and by half, so every decoded token lies between two readings, and is compared with their mean; shown is the median
 * share, and the speed over all. Decode is bound by reading: decode_share = tokens/s x bytes of weights that a token reads / bandwidth;
 * after a context the keys and values of its tokens are read as well, and count. Prefill is bound by arithmetic: prefill_share = tokens/s x
 * multiply-adds with the layers' weights per token / peak; the peak is the better of those right before and right after a round, shown is
 * the round with the median share. Values of weights and tokens do not matter, so tokens are random. With one thread, times are its
 * processor time: then other work on the machine counts less.
 *
 * What binding an answer to a schema costs is measured token by token, in turns with choosing a token freely from the same logits, from the
 * grammar's first token on, when nothing is remembered yet.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cmd/cmd-model.h"
#include "cmd/cmd-options.h"
#include "engine/grammar/grammar.h"
#include "engine/kernels/measure.h"
#include "engine/sampling/sampler.h"
#include "json/json.h"
#include "runner/read-in.h"
#include "schema/schema.h"

#include <math.h>

enum { ROUNDS = 5, STREAMS_MAX = 256, BATCH = 512, BATCH_STEPS = 16, BOUND_STEPS = 64, CONTEXT_STEPS = 40 };
#define STEP_SECONDS 5e-3 /* what is compared with a reading takes at least so long: several tokens of a small model */

typedef struct plan {
	int64_t prompt, generate, context, streams; /* tokens, tokens, tokens, sequences; 0 leaves that part out */
} plan;

typedef struct result {
	double prefill_tok_s, decode_tok_s, context_tok_s, batch_tok_s; /* NaN: not measured */
	double read_gb_s, mac_peak_g;
	double decode_share, context_share, prefill_share;
	double bound_cost; /* of a decoded token's time, what a grammar adds */
	double mask_us;    /* on average: the mask, and going on by the token */
} result;

typedef struct bench {
	const hth_model *model;
	const hth_model_info *info;
	hth_session *session;
	hth_measure *measure;
	hth_mac_kind mac_kind;
	double mac_now; /* as measured last */
	bool processor_time;
	hth_rng rng;
	hth_batch_token *batch;
} bench;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}
static double median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, by_value);
	return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static int32_t any_token(bench *b) { return (int32_t)(hth_rng_next(&b->rng) % b->info->n_vocab); }

/* Multiply-adds with the layers' weights for one token: every matrix once, of a mixture's experts those that a token uses. */
static double macs_per_token(const bench *b)
{
	const hth_gguf *gguf = hth_model_gguf(b->model);
	double sum = 0;
	for (size_t i = 0; i < hth_gguf_tensor_count(gguf); i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		if (t->n_dims < 2 || t->name.len < 4 || memcmp(t->name.data, "blk.", 4) != 0)
			continue;
		double share = t->n_dims == 3 && b->info->n_expert > 0 ? (double)b->info->n_expert_used / b->info->n_expert : 1;
		sum += (double)t->ne[0] * (double)t->ne[1] * (double)t->ne[2] * (double)t->ne[3] * share;
	}
	return sum;
}

/* The peak that the weights' type runs against. */
static hth_mac_kind kind_of(const char *type)
{
	if (strncmp(type, "F16", 3) == 0 || strncmp(type, "BF16", 4) == 0)
		return HTH_MAC_FIXED;
	if (strncmp(type, "F32", 3) == 0)
		return HTH_MAC_FLOAT;
	return strncmp(type, "Q8", 2) == 0 || strncmp(type, "IQ4", 3) == 0 ? HTH_MAC_WIDE : HTH_MAC_CODES;
}

static uint64_t now(const bench *b)
{
	struct timespec t;
	if (!b->processor_time || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
		return hth_clock_ns();
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static double seconds_since(const bench *b, uint64_t began) { return (double)(now(b) - began) * 1e-9; }

/* The rounds of one speed: tokens a second, and the peak around each. */
typedef struct rounds {
	double speed[ROUNDS], mac_g[ROUNDS];
	size_t n;
} rounds;

static void end_round(bench *b, rounds *all, double tokens, uint64_t began)
{
	double before = b->mac_now;
	all->speed[all->n] = tokens / seconds_since(b, began);
	b->mac_now = hth_measure_mac_g(b->measure, b->mac_kind);
	all->mac_g[all->n] = fmax(before, b->mac_now);
	all->n++;
}

/* The round whose share of the peak is the median. */
static size_t median_round(const rounds *all)
{
	double shares[ROUNDS], sorted[ROUNDS];
	for (size_t i = 0; i < ROUNDS; i++)
		sorted[i] = shares[i] = all->speed[i] / all->mac_g[i];
	double middle = median(sorted, ROUNDS);
	size_t i = 0;
	while (i + 1 < ROUNDS && (shares[i] < middle || shares[i] > middle))
		i++;
	return i;
}
_Static_assert(ROUNDS % 2 == 1, "the median of an odd number of rounds is one of them");

/* n tokens into sequence 0, from empty, in chunks; only the last wants logits. */
static hth_status prefill(bench *b, size_t n, hth_error *err)
{
	hth_session_truncate(b->session, 0, 0);
	for (size_t at = 0; at < n;) {
		size_t len = HTH_MIN(n - at, hth_session_n_batch(b->session));
		for (size_t i = 0; i < len; i++)
			b->batch[i] = (hth_batch_token){.token = any_token(b), .want_logits = at + i + 1 == n};
		HTH_TRY(hth_session_decode(b->session, b->batch, len, NULL, err));
		at += len;
	}
	return HTH_OK;
}

static hth_status embed(bench *b, size_t n, hth_error *err)
{
	HTH_AUTO_FREE int32_t *tokens = hth_alloc_array(n, sizeof *tokens);
	HTH_AUTO_FREE float *out = hth_alloc_array(b->info->n_embd, sizeof *out);
	if (tokens == NULL || out == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %zu tokens", n);
	for (size_t i = 0; i < n; i++)
		tokens[i] = any_token(b);
	return hth_session_embed(b->session, tokens, n, out, NULL, err);
}

/* One token for each of n sequences, `steps` times. */
static hth_status decode(bench *b, size_t n, size_t steps, hth_error *err)
{
	for (size_t k = 0; k < steps; k++) {
		for (size_t s = 0; s < n; s++)
			b->batch[s] = (hth_batch_token){.token = any_token(b), .seq = (uint32_t)s, .want_logits = true};
		HTH_TRY(hth_session_decode(b->session, b->batch, n, NULL, err));
	}
	return HTH_OK;
}

/* What decoding one stream came to. */
typedef struct stream {
	double tok_s, read_gb_s, share;
} stream;

/* n tokens of sequence 0, of bytes_per_token each, between readings of the memory. */
static hth_status decode_between_readings(bench *b, size_t n, double bytes_per_token, stream *ret, hth_error *err)
{
	HTH_AUTO_FREE double *shares = hth_alloc_array(n, sizeof *shares);
	if (shares == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the times of %zu tokens", n);
	size_t n_steps = 0;
	double seconds = 0, readings = 0, before = hth_measure_read_gb_s(b->measure, 0);
	for (size_t left = n; left > 0; n_steps++) {
		size_t tokens = 0;
		uint64_t began = now(b);
		double took = 0;
		for (; left > 0 && took < STEP_SECONDS; left--, tokens++) {
			HTH_TRY(decode(b, 1, 1, err));
			took = seconds_since(b, began);
		}
		/* Longer than the one reading of a buffer where a token takes longer, too. */
		double after = hth_measure_read_gb_s(b->measure, (uint64_t)(took / 4 * 1e9));
		shares[n_steps] = (double)tokens * bytes_per_token * 1e-9 / took / ((before + after) / 2);
		seconds += took;
		readings += (before + after) / 2;
		before = after;
	}
	*ret = (stream){.tok_s = (double)n / seconds, .read_gb_s = readings / (double)n_steps, .share = median(shares, n_steps)};
	return HTH_OK;
}

/* What a tool's arguments or an extracted record look like. */
static const char bound_schema[] =
    "{\"type\":\"object\",\"required\":[\"title\",\"kind\",\"people\",\"total\",\"due\"],\"additionalProperties\":false,\"properties\":{"
    "\"title\":{\"type\":\"string\",\"maxLength\":40},"
    "\"kind\":{\"enum\":[\"invoice\",\"receipt\",\"reminder\",\"letter\"]},"
    "\"people\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":3,\"items\":{\"type\":\"object\",\"required\":[\"name\",\"age\"],"
    "\"additionalProperties\":false,\"properties\":{\"name\":{\"type\":\"string\",\"pattern\":\"^[A-Z][a-z]{1,15}$\"},"
    "\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":130},\"note\":{\"type\":\"string\",\"maxLength\":30}}}},"
    "\"total\":{\"type\":\"number\",\"minimum\":0},"
    "\"paid\":{\"type\":\"boolean\"},"
    "\"due\":{\"anyOf\":[{\"type\":\"string\",\"format\":\"date\"},{\"type\":\"null\"}]}}}";

typedef struct binding {
	hth_grammar_vocab *vocab;
	hth_grammar *grammar;
	hth_grammar_matcher *matcher;
	hth_sampler *sampler;
	float *logits;
} binding;

static void binding_finish(binding *x)
{
	hth_sampler_destroy(x->sampler);
	hth_grammar_matcher_destroy(x->matcher);
	hth_grammar_destroy(x->grammar);
	hth_grammar_vocab_destroy(x->vocab);
	free(x->logits);
}

static hth_status binding_init(binding *x, const bench *b, hth_error *err)
{
	hth_sampling sampling = hth_sampling_defaults();
	HTH_AUTO_JSON json_t *schema = NULL;
	hth_buf gbnf = HTH_BUF_INIT(1 << 20);
	HTH_TRY(hth_json_parse(&schema, bound_schema, strlen(bound_schema), err));
	hth_status status = hth_schema_grammar(schema, &gbnf, err);
	if (status == HTH_OK)
		status = hth_grammar_vocab_create(&x->vocab, hth_model_tokenizer(b->model), err);
	if (status == HTH_OK)
		status = hth_grammar_compile(&x->grammar, x->vocab, gbnf.data, gbnf.len, err);
	if (status == HTH_OK)
		status = hth_grammar_matcher_create(&x->matcher, x->grammar, err);
	if (status == HTH_OK)
		status = hth_sampler_create(&x->sampler, &sampling, b->info->n_vocab, err);
	if (status == HTH_OK && (x->logits = hth_alloc_array(b->info->n_vocab, sizeof *x->logits)) == NULL)
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for logits");
	hth_buf_finish(&gbnf);
	return status;
}

/* Each token is drawn twice from the same logits: freely, and as the grammar wants it; the bound one goes on. */
static hth_status measure_bound(bench *b, binding *x, size_t steps, result *r, hth_error *err)
{
	size_t bytes = b->info->n_vocab * sizeof *x->logits;
	uint64_t decoded = 0, free_ns = 0, bound_ns = 0, masks_ns = 0;
	int32_t token = any_token(b);
	for (size_t i = 0; i < steps; i++) {
		uint64_t t0 = hth_clock_ns();
		b->batch[0] = (hth_batch_token){.token = token, .want_logits = true};
		HTH_TRY(hth_session_decode(b->session, b->batch, 1, NULL, err));
		float *logits = hth_session_logits(b->session, 0);
		memcpy(x->logits, logits, bytes);
		uint64_t t1 = hth_clock_ns();
		(void)!hth_sampler_sample(x->sampler, x->logits, NULL);
		uint64_t t2 = hth_clock_ns();
		const uint32_t *mask = hth_grammar_mask(x->matcher);
		if (mask == NULL)
			return hth_fail(err, HTH_UNSUPPORTED, "the vocabulary cannot spell what the grammar asks for");
		uint64_t t3 = hth_clock_ns();
		token = hth_sampler_sample(x->sampler, logits, mask);
		uint64_t t4 = hth_clock_ns();
		if (!hth_grammar_accept(x->matcher, token))
			return hth_fail(err, HTH_INTERNAL, "a token of the mask is not accepted");
		bool ends = hth_grammar_must_end(x->matcher) || hth_tokenizer_is_end(hth_model_tokenizer(b->model), token);
		uint64_t t5 = hth_clock_ns();
		if (ends)
			hth_grammar_matcher_reset(x->matcher);
		decoded += t1 - t0;
		free_ns += t2 - t1;
		masks_ns += t3 - t2 + t5 - t4;
		bound_ns += t5 - t2;
	}
	r->bound_cost = ((double)bound_ns - (double)free_ns) / (double)(decoded + free_ns);
	r->mask_us = (double)masks_ns * 1e-3 / (double)steps;
	return HTH_OK;
}

static hth_status measure_all(bench *b, const plan *p, result *r, hth_error *err)
{
	double weights = (double)b->info->read_bytes_per_token, per_token = (double)b->info->kv_bytes_per_token;
	uint64_t began;
	*r = (result){.prefill_tok_s = NAN, .decode_tok_s = NAN, .context_tok_s = NAN, .batch_tok_s = NAN, .decode_share = NAN,
	              .context_share = NAN, .prefill_share = NAN, .bound_cost = NAN, .mask_us = NAN};
	/* Once unmeasured: the caches warm up. */
	HTH_TRY(b->info->embedding ? embed(b, 8, err) : prefill(b, 8, err));
	r->read_gb_s = hth_measure_read_gb_s(b->measure, 20 * 1000 * 1000);
	r->mac_peak_g = b->mac_now = hth_measure_mac_g(b->measure, b->mac_kind);
	if (p->prompt > 0) {
		rounds all = {.n = 0};
		while (all.n < ROUNDS) {
			began = now(b);
			HTH_TRY(b->info->embedding ? embed(b, (size_t)p->prompt, err) : prefill(b, (size_t)p->prompt, err));
			end_round(b, &all, (double)p->prompt, began);
		}
		size_t i = median_round(&all);
		r->prefill_tok_s = all.speed[i];
		r->mac_peak_g = all.mac_g[i];
		r->prefill_share = all.speed[i] * macs_per_token(b) / (all.mac_g[i] * 1e9);
	}
	if (p->generate > 0) {
		stream alone;
		HTH_TRY(prefill(b, 1, err));
		HTH_TRY(decode_between_readings(b, (size_t)p->generate, weights, &alone, err));
		r->decode_tok_s = alone.tok_s;
		r->decode_share = alone.share;
		r->read_gb_s = alone.read_gb_s;
		binding x = {.vocab = NULL};
		HTH_TRY(prefill(b, 1, err));
		hth_status status = binding_init(&x, b, err);
		if (status == HTH_OK)
			status = measure_bound(b, &x, (size_t)HTH_MIN(p->generate, (int64_t)BOUND_STEPS), r, err);
		binding_finish(&x);
		if (status != HTH_UNSUPPORTED) /* a vocabulary that cannot spell JSON has no such number */
			HTH_TRY(status);
	}
	if (p->context > 0) {
		stream alone;
		HTH_TRY(prefill(b, (size_t)p->context, err));
		HTH_TRY(decode_between_readings(b, CONTEXT_STEPS, weights + per_token * ((double)p->context + 0.5 * CONTEXT_STEPS), &alone,
		                                err));
		r->context_tok_s = alone.tok_s;
		r->context_share = alone.share;
	}
	if (p->generate > 0 && p->streams > 1) {
		rounds all = {.n = 0};
		hth_session_truncate(b->session, 0, 0);
		HTH_TRY(decode(b, (size_t)p->streams, 1, err));
		while (all.n < ROUNDS) {
			began = now(b);
			HTH_TRY(decode(b, (size_t)p->streams, BATCH_STEPS, err));
			end_round(b, &all, (double)p->streams * BATCH_STEPS, began);
		}
		r->batch_tok_s = median(all.speed, ROUNDS);
	}
	return HTH_OK;
}

/* Cuts what was not asked for explicitly to the model's context, and refuses what was. */
static hth_status fit(plan *p, const hth_model_info *info, bool prompt_given, bool generate_given, hth_error *err)
{
	int64_t room = info->n_ctx_train;
	if (info->embedding)
		p->generate = p->streams = p->context = 0;
	if (p->context > 0 && p->context + CONTEXT_STEPS > room)
		return hth_fail(err, HTH_TOO_LARGE, "the model holds %lld tokens at once; -c may be at most %lld", (long long)room,
		                (long long)room - CONTEXT_STEPS);
	if ((prompt_given && p->prompt > room) || (generate_given && p->generate + 1 > room))
		return hth_fail(err, HTH_TOO_LARGE, "the model holds %lld tokens at once; -p %lld and -g %lld must each fit in that",
		                (long long)room, (long long)p->prompt, (long long)p->generate);
	p->prompt = HTH_MIN(p->prompt, room);
	p->generate = HTH_MIN(p->generate, room - 1);
	return HTH_OK;
}

static void no_progress(void *ctx, uint64_t done, uint64_t all) {}

static hth_status run(const hth_local_model *local, hth_threads *threads, plan *p, bool prompt_given, bool generate_given,
                      hth_model **ret_model, result *ret_result, hth_error *err)
{
	bench b = {.session = NULL, .processor_time = hth_threads_count(threads) == 1};
	HTH_TRY(hth_local_load(local, ret_model, err));
	b.model = *ret_model;
	b.info = hth_model_get_info(b.model);
	b.mac_kind = kind_of(b.info->type);
	hth_rng_seed(&b.rng, 1);
	HTH_TRY(fit(p, b.info, prompt_given, generate_given, err));
	uint32_t longest = (uint32_t)HTH_MAX(HTH_MAX(HTH_MAX(p->prompt, p->generate + 1), 8),
	                                     p->context > 0 ? p->context + CONTEXT_STEPS : 0);
	uint32_t each = BATCH_STEPS * ROUNDS + 1;
	hth_session_options options = {.n_seq = (uint32_t)HTH_MAX(p->streams, 1),
	                               .n_ctx = HTH_MAX(longest, HTH_MIN(each, b.info->n_ctx_train)),
	                               .n_batch = b.info->embedding ? longest
	                                                            : (uint32_t)HTH_MAX(HTH_MIN((uint32_t)BATCH, longest), p->streams),
	                               .n_outputs = (uint32_t)HTH_MAX(p->streams, 1)};
	if (options.n_ctx < each)
		p->streams = 0; /* so short a context leaves no room for a measured batch */
	/* Pages are whole, so each sequence may need one more than its tokens. */
	options.n_kv = HTH_MAX(options.n_ctx, options.n_seq * (each + 256));
	/* As a node does before it is ready. */
	hth_status status = hth_read_in(hth_model_gguf(b.model), threads, no_progress, NULL, err);
	if (status == HTH_OK)
		status = hth_session_create(&b.session, b.model, threads, &options, err);
	if (status == HTH_OK)
		status = hth_measure_create(&b.measure, threads, err);
	if (status == HTH_OK && (b.batch = hth_alloc_array(options.n_batch, sizeof *b.batch)) == NULL)
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for a batch");
	if (status == HTH_OK)
		status = measure_all(&b, p, ret_result, err);
	free(b.batch);
	hth_measure_destroy(b.measure);
	hth_session_destroy(b.session);
	return status;
}

static void write_json(const hth_local_model *local, const hth_model_info *info, unsigned n_threads, const plan *p, const result *r,
                       hth_buf *out)
{
	hth_buf_append_str(out, "{\"model\":");
	hth_json_write_string(local->files.name, strlen(local->files.name), out);
	hth_buf_append_str(out, ",\"type\":");
	hth_json_write_string(info->type, strlen(info->type), out);
	hth_buf_appendf(out, ",\"threads\":%u", n_threads);
	const struct {
		const char *key;
		double value;
	} numbers[] = {{"prefill_tok_s", r->prefill_tok_s}, {"decode_tok_s", r->decode_tok_s}, {"batch_tok_s", r->batch_tok_s},
	               {"read_gb_s", r->read_gb_s},         {"decode_share", r->decode_share}, {"mac_peak_g", r->mac_peak_g},
	               {"prefill_share", r->prefill_share}, {"bound_cost", r->bound_cost},     {"mask_us", r->mask_us},
	               {"context_tok_s", r->context_tok_s}, {"context_share", r->context_share}};
	for (size_t i = 0; i < HTH_COUNT(numbers); i++) {
		hth_buf_appendf(out, ",\"%s\":", numbers[i].key);
		hth_cmd_json_float(out, numbers[i].value);
	}
	hth_buf_appendf(out, ",\"prompt_tokens\":%lld,\"decode_tokens\":%lld,\"context_tokens\":%lld,\"streams\":%lld,\"kernels\":\"%s\","
	                     "\"read_bytes_per_token\":%llu}",
	                (long long)p->prompt, (long long)p->generate, (long long)p->context, (long long)p->streams, hth_kernels_name(),
	                (unsigned long long)info->read_bytes_per_token);
}

static void line(hth_buf *out, const char *label, double value, const char *unit, const char *fmt, ...) HTH_PRINTF(5, 6);
static void line(hth_buf *out, const char *label, double value, const char *unit, const char *fmt, ...)
{
	if (isnan(value))
		return;
	va_list args;
	hth_buf_appendf(out, "\n%-10s %10.1f %-9s ", label, value, unit);
	va_start(args, fmt);
	hth_buf_appendv(out, fmt, args);
	va_end(args);
}

static void write_text(const hth_local_model *local, const hth_model_info *info, unsigned n_threads, const plan *p, const result *r,
                       hth_buf *out)
{
	char a[32], b[32];
	hth_buf_appendf(out, "%s: %s parameters, %s, %u thread%s, kernels %s", local->files.name, hth_cmd_count(info->n_params, a),
	                info->type, n_threads, n_threads == 1 ? "" : "s", hth_kernels_name());
	line(out, "prefill", r->prefill_tok_s, "tokens/s", "of %lld tokens: %.0f%% of the multiply-add peak", (long long)p->prompt,
	     100 * r->prefill_share);
	line(out, "decode", r->decode_tok_s, "tokens/s", "over %lld tokens: %.0f%% of the read bandwidth, %s a token",
	     (long long)p->generate, 100 * r->decode_share, hth_cmd_bytes(info->read_bytes_per_token, b));
	line(out, "bound", 100 * r->bound_cost, "%",
	     "more time a token when a JSON schema binds the answer: %.0f us for masks, %u tokens to choose from", r->mask_us,
	     info->n_vocab);
	line(out, "in context", r->context_tok_s, "tokens/s", "after %lld tokens: %.0f%% of the read bandwidth, keys and values included",
	     (long long)p->context, 100 * r->context_share);
	line(out, "batch", r->batch_tok_s, "tokens/s", "of %lld streams together", (long long)p->streams);
	line(out, "reading", r->read_gb_s, "GB/s", "by this machine, around the decoding");
	line(out, "arithmetic", r->mac_peak_g, "G/s", "multiply-adds, by this machine, around the prefill");
}

int hth_cmd_bench(hth_invocation *in)
{
	plan p = {.prompt = 512, .generate = 128, .streams = 8};
	int64_t n_threads = 0;
	bool json = false, prompt_given = false, generate_given = false;
	const hth_option options[] = {
	    {"prompt-tokens", 'p', HTH_OPTION_INT, &p.prompt, "N", "tokens to prefill [512]; 0: none", 0, 1 << 20, &prompt_given},
	    {"decode-tokens", 'g', HTH_OPTION_INT, &p.generate, "N", "tokens to decode [128]; 0: none", 0, 1 << 20, &generate_given},
	    {"context-tokens", 'c', HTH_OPTION_INT, &p.context, "N", "also decode after a context of so many tokens [0]", 0, 1 << 20, NULL},
	    {"streams", 'b', HTH_OPTION_INT, &p.streams, "STREAMS", "sequences decoded together [8]; 0: none", 0, STREAMS_MAX, NULL},
	    {"n-threads", 't', HTH_OPTION_INT, &n_threads, "THREADS", "threads that compute (as --threads)", 1, 1024, NULL},
	    HTH_OPTION_JSON(&json)};
	if (!hth_options_take(in, options, HTH_COUNT(options), 0, 1))
		return in->exit_code;
	hth_error err = HTH_ERROR_INIT;
	hth_local_model local = {.n_fds = 0};
	hth_threads *threads = NULL;
	hth_model *model = NULL;
	result r;
	hth_buf out = HTH_BUF_INIT(1 << 20);
	hth_status status = hth_local_open(in, in->argc > 0 ? in->argv[0] : in->config.model, &local, &err);
	if (status == HTH_OK)
		status = hth_local_lock_in(&local, -1, &err);
	if (status == HTH_OK)
		status = hth_threads_create(&threads, n_threads > 0 ? (unsigned)n_threads : in->config.threads, &err);
	if (status == HTH_OK)
		status = run(&local, threads, &p, prompt_given, generate_given, &model, &r, &err);
	if (status == HTH_OK)
		(json ? write_json : write_text)(&local, hth_model_get_info(model), hth_threads_count(threads), &p, &r, &out);
	int code = status == HTH_OK ? hth_cmd_print(in, &out) : hth_cmd_fail(in, &err);
	hth_buf_finish(&out);
	hth_model_close(model);
	hth_threads_destroy(threads);
	hth_local_close(&local);
	return code;
}
