/* What a session promises: batches, chunks, sharing, cutting, cancelling, running out, and never allocating. */
#include "engine/kernels/kernels.h"
#include "engine/model/perplexity.h"
#include "tiny.h"

#include <pthread.h>

/* The linker sends our code's allocations through these (-Wl,--wrap). */
static atomic_size_t allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n)
{
	return atomic_fetch_add(&allocations, 1), __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
	return atomic_fetch_add(&allocations, 1), __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
	return atomic_fetch_add(&allocations, 1), __real_realloc(p, n);
}

enum { N = 120 };
static hth_error err;

typedef struct bench {
	tiny *t;
	hth_model *model;
	hth_threads *threads;
	hth_session *session;
	int32_t text[4][N]; /* four unrelated texts */

} bench;

#define LLAMA                                                                                                          \
	.arch = "llama", .n_embd = 64, .n_layer = 3, .n_head = 4, .n_head_kv = 2, .head_dim = 32, .n_ff = 96,          \
	.pairs = true
#define MOE                                                                                                            \
	.arch = "gpt-oss", .n_embd = 64, .n_layer = 3, .n_head = 4, .n_head_kv = 2, .head_dim = 32, .n_ff = 32,        \
	.n_expert = 6, .n_used = 2, .n_ff_exp = 64, .qkv_bias = true, .o_bias = true, .sinks = true,                   \
	.ffn_norm_is_post = true, .act = TINY_OAI, .expert_bias = true, .window = 30, .period = 2

static bench *start(const tiny_spec *spec, unsigned n_threads, const hth_session_options *options)
{
	bench *b = calloc(1, sizeof *b);
	b->t = tiny_make(spec);
	b->model = tiny_open(b->t);
	if (hth_threads_create(&b->threads, n_threads, &err) != HTH_OK ||
	    hth_session_create(&b->session, b->model, b->threads, options, &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
	for (int i = 0; i < 4 * N; i++)
		b->text[i / N][i % N] = (int32_t)(hth_rng_next(&b->t->rng) % TINY_VOCAB);
	return b;
}

static void stop(bench *b)
{
	hth_session_destroy(b->session);
	hth_threads_destroy(b->threads);
	hth_model_close(b->model);
	tiny_free(b->t);
	free(b);
}

/* Appends text[from, to) to seq in one batch; the last token's logits. */
static const float *feed(bench *b, uint32_t seq, const int32_t *text, size_t from, size_t to)
{
	hth_batch_token batch[2 * N];
	for (size_t i = from; i < to; i++)
		batch[i - from] = (hth_batch_token){.token = text[i], .seq = seq, .want_logits = i + 1 == to};
	if (hth_session_decode(b->session, batch, to - from, NULL, &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
	return hth_session_logits(b->session, 0);
}

/* The logits after text[0, n) computed on their own, in a session that does nothing else; the caller frees. */
static float *alone(bench *b, const int32_t *text, size_t n, hth_kv_type kv_type)
{
	hth_session *own = b->session;
	hth_session_options o = {.kv_type = kv_type};
	float *logits = NULL;
	if (hth_session_create(&b->session, b->model, b->threads, &o, &err) == HTH_OK) {
		logits = malloc(TINY_VOCAB * sizeof *logits);
		memcpy(logits, feed(b, 0, text, 0, n), TINY_VOCAB * sizeof *logits);
		hth_session_destroy(b->session);
	} else {
		test_fail(__FILE__, __LINE__, "%s", err.message);
	}
	b->session = own;
	return logits;
}

static double difference(const float *a, const float *b)
{
	double worst = a && b ? 0 : 1e9;
	for (size_t i = 0; a && b && i < TINY_VOCAB; i++)
		worst = fmax(worst, isfinite(a[i]) && isfinite(b[i]) ? fabs(a[i] - b[i]) : 1e9);
	return worst;
}

#define CHECK_SAME(logits, text, n)                                                                                    \
	do {                                                                                                           \
		const float *got_ = (logits);                                                                          \
		float *want_ = alone(b, text, n, HTH_KV_F32);                                                          \
		CHECK(difference(got_, want_) < 2e-5);                                                                 \
		free(want_);                                                                                           \
	} while (0)

TEST(chunks_of_a_prompt_are_the_prompt)
{
	const tiny_spec specs[] = {{LLAMA}, {MOE}};
	for (size_t i = 0; i < HTH_COUNT(specs); i++) {
		bench *b = start(&specs[i], 2, &(hth_session_options){.kv_type = HTH_KV_F32});
		for (size_t at = 0, len = 1; at < N; at += len, len = HTH_MIN(len * 2, N - at))
			feed(b, 0, b->text[0], at, at + len);
		CHECK_INT(hth_session_length(b->session, 0), N);
		CHECK_SAME(hth_session_logits(b->session, 0), b->text[0], N);
		stop(b);
	}
}

TEST(sequences_in_one_batch_do_not_see_each_other)
{
	const tiny_spec specs[] = {{LLAMA}, {MOE}};
	for (size_t s = 0; s < HTH_COUNT(specs); s++) {
		bench *b = start(&specs[s], 2, &(hth_session_options){.n_seq = 4, .kv_type = HTH_KV_F32});
		/* Different ages: 40, 0, 33 and 1 tokens before the common batch. */
		const size_t old[4] = {40, 0, 33, 1};
		for (uint32_t q = 0; q < 4; q++)
			if (old[q] > 0)
				feed(b, q, b->text[q], 0, old[q]);
		/* Interleaved tokens of all four; the last of each wants logits, and one in the middle of sequence 1.
		 */
		hth_batch_token batch[4 * 9];
		size_t n = 0;
		for (size_t i = 0; i < 9; i++)
			for (uint32_t q = 0; q < 4; q++)
				batch[n++] = (hth_batch_token){.token = b->text[3 - q][old[3 - q] + i],
				                               .seq = 3 - q,
				                               .want_logits = i == 8 || (i == 4 && q == 2)};
		REQUIRE_OK(hth_session_decode(b->session, batch, n, NULL, &err));
		CHECK_SAME(hth_session_logits(b->session, 0), b->text[1], 5); /* in the batch's order */
		for (size_t i = 0; i < 4; i++)
			CHECK_SAME(hth_session_logits(b->session, 1 + i), b->text[3 - i], old[3 - i] + 9);
		CHECK(hth_session_logits(b->session, 5) == NULL);
		for (uint32_t q = 0; q < 4; q++)
			CHECK_INT(hth_session_length(b->session, q), old[q] + 9);
		stop(b);
	}
}

/* One token of each in a step, as when people are answered side by side. Whose logits nobody wants leaves its keys and values all the
 * same. */
TEST(tokens_that_nobody_wants_are_remembered)
{
	const tiny_spec specs[] = {{LLAMA}, {MOE}};
	for (size_t k = 0; k < HTH_COUNT(specs); k++)
		for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
			bench *b = start(&specs[k], n_threads, &(hth_session_options){.n_seq = 3, .n_ctx = 3 * N, .kv_type = HTH_KV_F32});
			const size_t old[3] = {40, 31, 0}; /* inside a page, the last of one, the first */
			for (uint32_t q = 0; q < 3; q++)
				if (old[q] > 0)
					feed(b, q, b->text[q], 0, old[q]);
			for (uint32_t step = 0; step < 8; step++) { /* 0, 1 and 2 in turns, then nobody */
				hth_batch_token batch[3];
				for (uint32_t q = 0; q < 3; q++)
					batch[q] = (hth_batch_token){.token = b->text[q][old[q] + step], .seq = q,
					                             .want_logits = q == step % 4};
				REQUIRE_OK(hth_session_decode(b->session, batch, 3, NULL, &err));
				if (step % 4 < 3)
					CHECK_SAME(hth_session_logits(b->session, 0), b->text[step % 4], old[step % 4] + step + 1);
			}
			for (uint32_t q = 0; q < 3; q++)
				CHECK_SAME(feed(b, q, b->text[q], old[q] + 8, old[q] + 9), b->text[q], old[q] + 9);
			stop(b);
		}
}

TEST(shared_prefixes_part_when_written)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(&spec, 2, &(hth_session_options){.n_seq = 3, .kv_type = HTH_KV_F32, .n_ctx = 256});
	uint32_t all = hth_session_free_tokens(b->session);
	feed(b, 0, b->text[0], 0, 70);
	CHECK_INT(hth_session_free_tokens(b->session), all - 96);
	/* 1 takes all of 0; 2 a part that ends inside a page; sharing itself takes no pages. */
	hth_session_share(b->session, 1, 0, 70);
	hth_session_share(b->session, 2, 0, 45);
	CHECK_INT(hth_session_length(b->session, 1), 70);
	CHECK_INT(hth_session_length(b->session, 2), 45);
	CHECK_INT(hth_session_free_tokens(b->session), all - 96);
	int32_t mixed[3][N];
	for (int q = 0; q < 3; q++) {
		size_t keep = q == 2 ? 45 : 70;
		memcpy(mixed[q], b->text[0], keep * sizeof mixed[q][0]);
		memcpy(mixed[q] + keep, b->text[q + 1], (N - keep) * sizeof mixed[q][0]);
	}
	/* Each goes its own way, one after the other and then together. */
	CHECK_SAME(feed(b, 1, mixed[1], 70, 80), mixed[1], 80);
	CHECK_SAME(feed(b, 2, mixed[2], 45, 66), mixed[2], 66);
	CHECK_SAME(feed(b, 0, mixed[0], 70, 75), mixed[0], 75);
	hth_batch_token batch[3];
	const size_t at[3] = {75, 80, 66};
	for (uint32_t q = 0; q < 3; q++)
		batch[q] = (hth_batch_token){.token = mixed[q][at[q]], .seq = q, .want_logits = true};
	REQUIRE_OK(hth_session_decode(b->session, batch, 3, NULL, &err));
	for (uint32_t q = 0; q < 3; q++)
		CHECK_SAME(hth_session_logits(b->session, q), mixed[q], at[q] + 1);
	/* The owner may go first. */
	hth_session_truncate(b->session, 0, 0);
	CHECK_SAME(feed(b, 1, mixed[1], 81, 90), mixed[1], 90);
	/* Cutting and going on; sharing onto a sequence that held something; sharing more than there is; with itself.
	 */
	hth_session_truncate(b->session, 1, 33);
	CHECK_SAME(feed(b, 1, mixed[1], 33, 40), mixed[1], 40);
	hth_session_share(b->session, 2, 1, 1000);
	CHECK_INT(hth_session_length(b->session, 2), 40);
	CHECK_SAME(feed(b, 2, mixed[1], 40, 64), mixed[1], 64);
	hth_session_share(b->session, 2, 2, 50);
	CHECK_INT(hth_session_length(b->session, 2), 50);
	for (uint32_t q = 0; q < 3; q++)
		hth_session_truncate(b->session, q, 0);
	CHECK_INT(hth_session_free_tokens(b->session), all);
	stop(b);
}

TEST(pages_that_were_kept_elsewhere_come_back)
{
	const tiny_spec specs[] = {{LLAMA}, {MOE}};
	for (size_t k = 0; k < HTH_COUNT(specs); k++) {
		bench *b = start(&specs[k], 2, &(hth_session_options){.n_seq = 2, .n_ctx = N, .kv_type = HTH_KV_F32});
		size_t bytes = hth_session_page_bytes(b->session);
		char *kept = malloc(3 * bytes);
		feed(b, 0, b->text[0], 0, 100);
		for (uint32_t i = 0; i < 3; i++)
			memcpy(kept + i * bytes, hth_session_page(b->session, 0, i), bytes);
		hth_session_truncate(b->session, 0, 0);
		feed(b, 0, b->text[1], 0, 100); /* over them */
		for (uint32_t i = 0; i < 3; i++)
			memcpy(hth_session_page_append(b->session, 1), kept + i * bytes, bytes);
		CHECK_INT(hth_session_length(b->session, 1), 96);
		CHECK(hth_session_page_append(b->session, 1) == NULL); /* past the context */
		CHECK(hth_session_page_append(b->session, 0) == NULL); /* in the middle of a page */
		CHECK_SAME(feed(b, 1, b->text[0], 96, 110), b->text[0], 110);
		free(kept);
		stop(b);
	}
}

TEST(a_full_cache_is_refused_and_nothing_changes)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(&spec, 1, &(hth_session_options){.n_seq = 2, .n_kv = 96, .kv_type = HTH_KV_F32});
	feed(b, 0, b->text[0], 0, 60); /* two pages of three */
	hth_batch_token batch[40];
	for (size_t i = 0; i < 40; i++)
		batch[i] = (hth_batch_token){.token = b->text[1][i], .seq = i < 6 ? 0 : 1, .want_logits = true};
	CHECK_INT(hth_session_decode(b->session, batch, 40, NULL, &err), HTH_NO_MEMORY); /* needs one page and two */
	CHECK(strstr(err.message, "96") != NULL);
	CHECK_INT(hth_session_length(b->session, 0), 60);
	CHECK_INT(hth_session_length(b->session, 1), 0);
	CHECK_INT(hth_session_free_tokens(b->session), 32);
	CHECK(hth_session_logits(b->session, 0) == NULL);
	CHECK_SAME(feed(b, 0, b->text[0], 60, 70), b->text[0], 70);
	CHECK_INT(hth_session_free_tokens(b->session), 0);
	/* A copy on write needs a page too. */
	hth_session_share(b->session, 1, 0, 70);
	CHECK_INT(hth_session_decode(b->session, &(hth_batch_token){.token = 5, .seq = 1}, 1, NULL, &err),
	          HTH_NO_MEMORY);
	CHECK_INT(hth_session_length(b->session, 1), 70);
	hth_session_truncate(b->session, 0, 0);
	CHECK_SAME(feed(b, 1, b->text[0], 70, 80), b->text[0], 80);
	stop(b);
}

TEST(wrong_batches_are_refused_and_nothing_changes)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(
	    &spec, 1,
	    &(hth_session_options){.n_seq = 2, .n_ctx = 50, .n_batch = 30, .n_outputs = 2, .kv_type = HTH_KV_F32});
	hth_batch_token batch[40];
	for (size_t i = 0; i < 40; i++)
		batch[i] = (hth_batch_token){.token = b->text[0][i]};
	feed(b, 0, b->text[0], 0, 30);
	CHECK_INT(hth_session_decode(b->session, batch, 31, NULL, &err), HTH_TOO_LARGE);
	CHECK_INT(hth_session_decode(b->session, batch, 21, NULL, &err), HTH_TOO_LARGE); /* 51 tokens of 50 */
	CHECK(strstr(err.message, "50") != NULL && strstr(err.message, "21") != NULL);
	batch[3].token = TINY_VOCAB;
	CHECK_INT(hth_session_decode(b->session, batch, 10, NULL, &err), HTH_INVALID);
	batch[3].token = -1;
	CHECK_INT(hth_session_decode(b->session, batch, 10, NULL, &err), HTH_INVALID);
	batch[3] = (hth_batch_token){.seq = 2};
	CHECK_INT(hth_session_decode(b->session, batch, 10, NULL, &err), HTH_INVALID);
	batch[3] = (hth_batch_token){.seq = 1, .want_logits = true};
	batch[4].want_logits = batch[5].want_logits = true;
	CHECK_INT(hth_session_decode(b->session, batch, 10, NULL, &err), HTH_TOO_LARGE);
	CHECK_OK(hth_session_decode(b->session, batch, 0, NULL, &err));
	CHECK_INT(hth_session_length(b->session, 0), 30);
	CHECK_INT(hth_session_length(b->session, 1), 0);
	CHECK_SAME(feed(b, 0, b->text[0], 30, 50), b->text[0], 50);
	stop(b);
}

static void *cancel_soon(void *flag)
{
	static unsigned turn;
	for (volatile unsigned i = 0; i < (turn * 7919) % 40000; i++)
		;
	turn++;
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

TEST(cancelling_changes_nothing)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(&spec, 2, &(hth_session_options){.n_seq = 2, .kv_type = HTH_KV_F32});
	feed(b, 0, b->text[0], 0, 45);
	hth_session_share(b->session, 1, 0, 45);
	uint32_t free_tokens = hth_session_free_tokens(b->session);
	hth_batch_token batch[N];
	for (size_t i = 0; i < 60; i++)
		batch[i] = (hth_batch_token){.token = b->text[1][i], .want_logits = true};
	atomic_bool cancel = true;
	CHECK_INT(hth_session_decode(b->session, batch, 60, &cancel, &err), HTH_CANCELLED);
	/* At any moment, from another thread. Either all or nothing happened. */
	for (int i = 0; i < 50; i++) {
		pthread_t thread;
		atomic_store(&cancel, false);
		REQUIRE(pthread_create(&thread, NULL, cancel_soon, &cancel) == 0);
		hth_status status = hth_session_decode(b->session, batch, 60, &cancel, &err);
		pthread_join(thread, NULL);
		CHECK(status == HTH_OK || status == HTH_CANCELLED);
		CHECK_INT(hth_session_length(b->session, 0), status == HTH_OK ? 105 : 45);
		hth_session_truncate(b->session, 0, 45);
	}
	CHECK(hth_session_free_tokens(b->session) + 32 >= free_tokens); /* at most the copied page */
	CHECK_SAME(feed(b, 0, b->text[0], 45, 80), b->text[0], 80);
	CHECK_SAME(feed(b, 1, b->text[0], 45, 80), b->text[0], 80);
	stop(b);
}

TEST(a_batch_in_slices_goes_on_between_others)
{
	const tiny_spec specs[] = {{LLAMA}, {MOE}};
	for (size_t k = 0; k < HTH_COUNT(specs); k++) {
		bench *b = start(&specs[k], 2, &(hth_session_options){.n_seq = 3, .n_ctx = N, .n_batch = 60, .n_slice = 50,
		                                                      .kv_type = HTH_KV_F32});
		feed(b, 0, b->text[0], 0, 40);
		feed(b, 1, b->text[1], 0, 20);
		hth_batch_token batch[60];
		for (size_t i = 0; i < 60; i++)
			batch[i] = (hth_batch_token){.token = b->text[1][20 + i % 50], .seq = 1, .want_logits = i == 49};
		uint32_t free_tokens = hth_session_free_tokens(b->session);
		CHECK_INT(hth_session_slice_begin(b->session, batch, 60, &err), HTH_TOO_LARGE);
		CHECK_OK(hth_session_slice_begin(b->session, batch, 50, &err));
		CHECK_INT(hth_session_slice_begin(b->session, batch, 50, &err), HTH_INTERNAL);
		CHECK_INT(hth_session_decode(b->session, batch, 1, NULL, &err), HTH_INTERNAL); /* its sequence is the slices' */
		bool done = true;
		CHECK_OK(hth_session_slice_run(b->session, 1, NULL, &done, &err));
		CHECK(!done);
		CHECK_INT(hth_session_length(b->session, 1), 20);
		/* Meanwhile others go on, and may share what it had. */
		hth_session_share(b->session, 2, 1, 20);
		CHECK_SAME(feed(b, 0, b->text[0], 40, 80), b->text[0], 80);
		CHECK_OK(hth_session_slice_run(b->session, 1, NULL, &done, &err));
		CHECK_SAME(feed(b, 2, b->text[1], 20, 45), b->text[1], 45);
		CHECK_OK(hth_session_slice_run(b->session, UINT32_MAX, NULL, &done, &err));
		CHECK(done);
		CHECK_INT(hth_session_length(b->session, 1), 70);
		CHECK_SAME(hth_session_logits(b->session, 0), b->text[1], 70);
		CHECK(hth_session_logits(b->session, 1) == NULL);
		CHECK_INT(hth_session_slice_run(b->session, 1, NULL, &done, &err), HTH_INTERNAL);
		CHECK_SAME(feed(b, 1, b->text[1], 70, 90), b->text[1], 90);

		/* Given up or cancelled: as before. */
		hth_session_truncate(b->session, 1, 20);
		hth_session_truncate(b->session, 2, 0);
		hth_session_truncate(b->session, 0, 40);
		CHECK_INT(hth_session_free_tokens(b->session), free_tokens);
		for (int cancelled = 0; cancelled < 2; cancelled++) {
			atomic_bool cancel = true;
			CHECK_OK(hth_session_slice_begin(b->session, batch, 50, &err));
			CHECK_OK(hth_session_slice_run(b->session, 2, NULL, &done, &err));
			if (cancelled)
				CHECK_INT(hth_session_slice_run(b->session, 1, &cancel, &done, &err), HTH_CANCELLED);
			else
				hth_session_slice_drop(b->session);
			CHECK_INT(hth_session_free_tokens(b->session), free_tokens);
			CHECK_INT(hth_session_length(b->session, 1), 20);
		}
		CHECK_SAME(feed(b, 1, b->text[1], 20, 60), b->text[1], 60);
		stop(b);
	}
}

/* The promise that guesses at an answer's next tokens rest on: on every row of kernels, in the types that models come in. */
TEST(few_rows_give_the_bits_of_one_as_far_as_is_said)
{
	static const hth_type types[] = {HTH_Q4_K, HTH_Q6_K, HTH_Q8_0, HTH_IQ4_XS, HTH_F16};
	const char *was = hth_kernels_name();
	for (const char *const *name = hth_kernels_available(); *name != NULL; name++) {
		REQUIRE_OK(hth_kernels_select(*name, &err));
		for (size_t k = 0; k < HTH_COUNT(types); k++) {
			const tiny_spec spec = {.arch = "llama", .n_embd = 256, .n_layer = 2, .n_head = 8, .n_head_kv = 4, .head_dim = 32,
			                        .n_ff = 512,
			                        .pairs = true, .type = types[k]};
			bench *b = start(&spec, 2, &(hth_session_options){.n_seq = 3, .n_ctx = 256});
			uint32_t exact = HTH_MIN(hth_session_exact_rows(b->session), (uint32_t)18);
			feed(b, 0, b->text[0], 0, 70);
			feed(b, 1, b->text[1], 0, 50);
			float *alone[18];
			for (uint32_t i = 0; i < exact; i++) {
				alone[i] = malloc(TINY_VOCAB * sizeof(float));
				memcpy(alone[i], feed(b, 0, b->text[0], 70 + i, 71 + i), TINY_VOCAB * sizeof(float));
			}
			bool same = true;
			for (uint32_t n = 1; n <= exact; n += 1 + n / 4) { /* n - 1 of this sequence, one of another among them */
				hth_batch_token batch[18];
				hth_session_truncate(b->session, 0, 70);
				hth_session_truncate(b->session, 1, 50);
				for (uint32_t i = 0; i < n; i++)
					batch[i] = (hth_batch_token){b->text[0][70 + i], 0, true};
				if (n > 1)
					batch[n - 1] = (hth_batch_token){b->text[1][50], 1, false};
				REQUIRE_OK(hth_session_decode(b->session, batch, n, NULL, &err));
				for (uint32_t i = 0; i < HTH_MAX(n - 1, 1u); i++)
					same &= memcmp(hth_session_logits(b->session, i), alone[i], TINY_VOCAB * sizeof(float)) == 0;
			}
			printf("# %s, type %zu: exact up to %u rows%s\n", *name, k, exact, same ? "" : ", it says");
			CHECK(same);
			CHECK(strcmp(*name, "c") != 0 || k == 4 || exact == 18);
			for (uint32_t i = 0; i < exact; i++)
				free(alone[i]);
			stop(b);
		}
	}
	REQUIRE_OK(hth_kernels_select(was, &err));
}

TEST(smaller_caches_stay_close)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(&spec, 2, &(hth_session_options){.kv_type = HTH_KV_F32});
	float *exact = alone(b, b->text[0], N, HTH_KV_F32), *half = alone(b, b->text[0], N, HTH_KV_F16),
	      *q8 = alone(b, b->text[0], N, HTH_KV_Q8_0);
	printf("# F16 %.2e, Q8_0 %.2e\n", difference(half, exact), difference(q8, exact));
	CHECK(difference(half, exact) < 5e-3);
	CHECK(difference(q8, exact) < 5e-2);
	CHECK(difference(half, exact) > 0 && difference(q8, exact) > difference(half, exact));
	free(exact);
	free(half);
	free(q8);
	stop(b);
	const tiny_spec odd = {LLAMA, .head_dim = 24};
	b = start(&odd, 1, &(hth_session_options){.kv_type = HTH_KV_F16});
	hth_session *session;
	CHECK_INT(
	    hth_session_create(&session, b->model, b->threads, &(hth_session_options){.kv_type = HTH_KV_Q8_0}, &err),
	    HTH_UNSUPPORTED);
	stop(b);
}

/* One token over a long context is cut into stretches for many workers, and merged. */
TEST(many_workers_share_one_token)
{
	const tiny_spec specs[] = {{LLAMA, .n_ctx = 2048}, {MOE, .n_ctx = 2048, .window = 700}};
	for (size_t s = 0; s < HTH_COUNT(specs); s++) {
		bench *b = start(&specs[s], 12, &(hth_session_options){.n_seq = 2, .kv_type = HTH_KV_F32});
		int32_t text[1200];
		for (size_t i = 0; i < HTH_COUNT(text); i++)
			text[i] = b->text[i / N % 4][i * 7 % N];
		hth_batch_token batch[512];
		float *few = NULL;
		for (size_t at = 0; at < 1200; at += 400) {
			for (size_t i = 0; i < 400; i++)
				batch[i] = (hth_batch_token){.token = text[at + i], .want_logits = at + i >= 1198};
			REQUIRE_OK(hth_session_decode(b->session, batch, 400, NULL, &err));
		}
		few = malloc(2 * TINY_VOCAB * sizeof *few);
		memcpy(few, hth_session_logits(b->session, 0), 2 * TINY_VOCAB * sizeof *few);
		hth_session_truncate(b->session, 0, 1198);
		for (size_t i = 0; i < 2; i++) {
			batch[i] = (hth_batch_token){.token = text[1198 + i], .want_logits = true};
			REQUIRE_OK(hth_session_decode(b->session, batch + i, 1, NULL, &err));
			CHECK(difference(hth_session_logits(b->session, 0), few + i * TINY_VOCAB) < 2e-5);
		}
		/* Two sequences of different length in one batch. */
		hth_session_truncate(b->session, 0, 1199);
		hth_session_share(b->session, 1, 0, 600);
		batch[0] = (hth_batch_token){.token = text[600], .seq = 1, .want_logits = true};
		REQUIRE_OK(hth_session_decode(b->session, batch, 2, NULL, &err));
		CHECK(difference(hth_session_logits(b->session, 1), few + TINY_VOCAB) < 2e-5);
		free(few);
		stop(b);
	}
}

TEST(no_token_allocates)
{
	const tiny_spec specs[] = {{LLAMA}, {MOE}};
	for (size_t s = 0; s < HTH_COUNT(specs); s++) {
		bench *b = start(&specs[s], 2, &(hth_session_options){.n_seq = 2});
		feed(b, 0, b->text[0], 0, 40);
		size_t before = atomic_load(&allocations);
		feed(b, 0, b->text[0], 40, 100);
		for (size_t i = 100; i < N; i++)
			feed(b, 0, b->text[0], i, i + 1);
		hth_session_share(b->session, 1, 0, 50);
		feed(b, 1, b->text[1], 50, 60);
		CHECK_INT(atomic_load(&allocations) - before, 0);
		stop(b);
	}
}

TEST(plans_are_told_and_limited)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(&spec, 1, NULL);
	CHECK_INT(hth_session_n_ctx(b->session), 256);
	CHECK_INT(hth_session_n_batch(b->session), 256);
	CHECK_INT(hth_session_n_seq(b->session), 1);
	/* One more page of F16 keys and values of 3 layers, 2 heads of 32, and its two index entries. */
	hth_session_options o = {.n_kv = 256}, more = {.n_kv = 288};
	CHECK_INT(hth_session_plan_bytes(b->model, &more) - hth_session_plan_bytes(b->model, &o),
	          32 * 3 * 2 * 2 * 32 * 2 + 8);
	hth_session *session;
	o = (hth_session_options){.n_seq = 65536, .n_ctx = 1 << 27};
	CHECK(hth_session_create(&session, b->model, b->threads, &o, &err) != HTH_OK);
	o = (hth_session_options){.n_seq = 65537};
	CHECK_INT(hth_session_create(&session, b->model, b->threads, &o, &err), HTH_INVALID);
	o = (hth_session_options){
	    .n_kv = UINT32_MAX}; /* 4 G tokens of 768 bytes: counted, and more than there is, or lazily there */
	if (hth_session_create(&session, b->model, b->threads, &o, &err) == HTH_OK)
		hth_session_destroy(session);
	stop(b);
}

TEST(decoders_embed_the_mean_of_their_states)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(&spec, 2, &(hth_session_options){.kv_type = HTH_KV_F32});
	bench *small = start(&spec, 2, &(hth_session_options){.n_batch = 17, .kv_type = HTH_KV_F32});
	float one[64], pieces[64];
	double norm = 0, worst = 0;
	feed(b, 0, b->text[1], 0, 20);
	uint32_t free_tokens = hth_session_free_tokens(b->session);
	REQUIRE_OK(hth_session_embed(b->session, b->text[0], N, one, NULL, &err));
	REQUIRE_OK(hth_session_embed(small->session, b->text[0], N, pieces, NULL, &err));
	for (int i = 0; i < 64; i++) {
		norm += one[i] * one[i];
		worst = fmax(worst, fabs(one[i] - pieces[i]));
	}
	CHECK_NEAR(norm, 1, 1e-5);
	CHECK(worst < 1e-5);
	CHECK_INT(hth_session_free_tokens(b->session), free_tokens);
	CHECK_SAME(feed(b, 0, b->text[1], 20, 30), b->text[1], 30); /* its sequences did not notice */
	CHECK_INT(hth_session_embed(b->session, b->text[0], 257, one, NULL, &err), HTH_TOO_LARGE);
	CHECK_INT(hth_session_embed(b->session, b->text[0], 0, one, NULL, &err), HTH_INVALID);
	stop(small);
	stop(b);
}

TEST(perplexity_goes_on_past_the_context)
{
	const tiny_spec spec = {LLAMA};
	bench *b = start(&spec, 2, NULL);
	hth_perplexity p;
	hth_perplexity_options o = {.kv_type = HTH_KV_F32, .n_ctx = 50, .n_batch = 16};
	REQUIRE_OK(hth_perplexity_run(&p, b->model, b->threads, b->text[0], N, &o, &err));
	/* Places 0 to 49 are the first context; 50 to 98 the second, after a BOS; 99 on the third. */
	double sum = 0;
	for (size_t at = 0; at < N; at++) {
		int32_t text[64];
		size_t begin = at < 50 ? 0 : at < 99 ? 50 : 99, n = 0;
		if (begin > 0)
			text[n++] = 1;
		for (size_t i = begin; i <= at; i++)
			text[n++] = b->text[0][i];
		float *want = alone(b, text, n, HTH_KV_F32);
		size_t best = 0;
		double all = 0;
		for (size_t c = 0; c < TINY_VOCAB; c++) {
			best = want[c] > want[best] ? c : best;
			all += exp(want[c]);
		}
		CHECK_INT(p.argmax[at], best);
		if (at + 1 < N) {
			CHECK_NEAR(p.logprob_next[at], want[b->text[0][at + 1]] - log(all), 1e-4);
			sum += want[b->text[0][at + 1]] - log(all);
		} else {
			CHECK(difference(p.last_logits, want) < 2e-5);
		}
		free(want);
	}
	CHECK_NEAR(p.perplexity, exp(-sum / (N - 1)), p.perplexity * 1e-4);
	hth_perplexity_finish(&p);
	CHECK_INT(hth_perplexity_run(&p, b->model, b->threads, b->text[0], 0, NULL, &err), HTH_INVALID);
	CHECK_INT(hth_perplexity_run(&p, b->model, b->threads, (int32_t[]){TINY_VOCAB}, 1, NULL, &err), HTH_INVALID);
	stop(b);
}

TEST(info_says_what_a_token_reads)
{
	const tiny_spec spec = {LLAMA, .type = HTH_Q8_0};
	bench *b = start(&spec, 1, NULL);
	const hth_model_info *info = hth_model_get_info(b->model);
	CHECK_STR(info->architecture, "llama");
	CHECK_STR(info->name, "tiny");
	CHECK_STR(info->type, "Q8_0");
	CHECK_INT(info->n_layer, 3);
	CHECK_INT(info->n_vocab, TINY_VOCAB);
	CHECK_INT(info->kv_bytes_per_token, 3 * 2 * 2 * 32 * 2);
	CHECK(!info->embedding && !info->has_template);
	/* All but the embedding table, of which one row is read. */
	CHECK_INT(info->weight_bytes - info->read_bytes_per_token, (TINY_VOCAB - 1) * 68);
	stop(b);
	const tiny_spec moe = {MOE};
	b = start(&moe, 1, NULL);
	info = hth_model_get_info(b->model);
	uint64_t experts = 3ull * 6 * 3 * 64 * 64 * 4, biases = 3ull * 6 * (64 + 64 + 64) * 4;
	CHECK_INT(info->n_expert_used, 2);
	CHECK_INT(info->weight_bytes - biases - info->read_bytes_per_token,
	          experts / 3 * 2 + (TINY_VOCAB - 1) * 64 * 4);
	stop(b);
}

TEST_MAIN()
