/* Every row of the table against the exact answer and against the plain C row, at sizes that are no multiple of any tile.
 *
 * The exact answer of a product with quantised weights is taken over the activations as the reference quantises them: then
 * the integer sums of every kernel must be the same, and only the order of the floating sums may differ. In fixed point both sides are
 * rounded here, by the formula of kernel-row.h. */
#include "base/mem.h"
#include "engine/kernels/kernel-row.h"
#include "engine/quant/blocks.h"
#include "harness.h"
#include "kernel-data.h"

#include <sys/wait.h>
#include <unistd.h>

static hth_threads *pool;

static bool setup(void)
{
	hth_error err = HTH_ERROR_INIT;
	return pool != NULL || hth_threads_create(&pool, 2, &err) == HTH_OK;
}

typedef struct problem {
	hth_matrix w;
	void *base;
	float *x;      /* n_tokens x stride */
	size_t stride, n_tokens;
	double *exact, *size; /* n_tokens x rows: the answer over quantised activations, and the sum of |terms| */
	double *plain;        /* the answer over the activations as they are */
	double *fixed;        /* in fixed point */
} problem;

/* What fixed point leaves of n numbers. */
static void round_to_fixed(float *to, const float *x, size_t n)
{
	for (size_t first = 0; first < n; first += 32) {
		size_t end = HTH_MIN(first + 32, n);
		float max = 0;
		for (size_t i = first; i < end; i++)
			max = fmaxf(max, fabsf(x[i]));
		for (size_t i = first; i < end; i++)
			to[i] = max >= HTH_FIXED_LEAST ? rintf(x[i] * (HTH_FIXED_MAX / max)) * (max * (1.0f / HTH_FIXED_MAX)) : 0;
	}
}

/* Whether the row in use multiplies n tokens by this type in fixed point. */
static bool goes_fixed(hth_type type, size_t n)
{
	const hth_kernel_row *row = hth_kernels_row();
	return !hth_type_has_codes(type) && row->types[type].unpack != NULL && n > row->few_tokens_fixed;
}

/* From weights and activations to the answers. */
static void problem_solve(problem *p)
{
	hth_type type = p->w.type;
	size_t rows = p->w.rows, cols = p->w.cols, n_tokens = p->n_tokens;
	float *w = malloc(2 * (cols + 255) * sizeof *w), *fixed_w = w + cols + 255;
	float *a = malloc(2 * n_tokens * (cols + 255) * sizeof *a), *fixed_a = a + n_tokens * (cols + 255);
	for (size_t t = 0; t < n_tokens; t++) {
		round_to_fixed(fixed_a + t * cols, p->x + t * p->stride, cols);
		for (size_t c = 0; c < cols; c += 256) {
			hth_a8_line block[8];
			hth_kernels_c.quantize_acts(block, sizeof *block, p->x + t * p->stride + c, HTH_MIN(cols - c, (size_t)256));
			for (size_t i = 0; i < 256 && c + i < cols; i++)
				a[t * cols + c + i] = !hth_type_has_codes(type)
				                          ? p->x[t * p->stride + c + i]
				                          : (float)block[i / 32].q[i % 32] * block[i / 32].d;
		}
	}
	for (size_t r = 0; r < rows; r++) {
		hth_type_get(type)->dequantize_row((const char *)p->w.data + r * p->w.row_bytes, w, cols);
		round_to_fixed(fixed_w, w, cols);
		for (size_t t = 0; t < n_tokens; t++) {
			double sum = 0, size = 0, plain = 0, fixed = 0;
			for (size_t c = 0; c < cols; c++) {
				sum += (double)w[c] * (double)a[t * cols + c];
				size += fabs((double)w[c] * (double)a[t * cols + c]);
				plain += (double)w[c] * (double)p->x[t * p->stride + c];
				fixed += (double)fixed_w[c] * (double)fixed_a[t * cols + c];
			}
			p->exact[t * rows + r] = sum;
			p->size[t * rows + r] = size;
			p->plain[t * rows + r] = plain;
			p->fixed[t * rows + r] = fixed;
		}
	}
	free(w);
	free(a);
}

static void problem_init(problem *p, hth_type type, size_t rows, size_t cols, size_t n_tokens)
{
	hth_error err = HTH_ERROR_INIT;
	*p = (problem){.stride = cols + 5, .n_tokens = n_tokens};
	void *data = random_weights(type, rows, cols, 7 * (uint64_t)type + rows + cols, &p->base);
	if (hth_matrix_init(&p->w, type, rows, cols, data, &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
	hth_rng rng;
	hth_rng_seed(&rng, 3 + cols + n_tokens);
	p->x = malloc(n_tokens * p->stride * sizeof(float));
	for (size_t i = 0; i < n_tokens * p->stride; i++)
		p->x[i] = random_normal(&rng) * (i % 101 == 0 ? 8.0f : 1.0f);
	for (size_t i = 0; i < cols && i < 32; i++)
		p->x[i] = 0; /* a group of zeros: its scale is zero */
	p->exact = calloc(4 * n_tokens * rows, sizeof(double));
	p->size = p->exact + n_tokens * rows;
	p->plain = p->size + n_tokens * rows;
	p->fixed = p->plain + n_tokens * rows;
	problem_solve(p);
}
static void problem_finish(problem *p)
{
	hth_matrix_finish(&p->w);
	free(p->base);
	free(p->x);
	free(p->exact);
}

static void problem_check_row(const problem *p, const uint32_t *select, size_t n_select, const char *what)
{
	hth_error err = HTH_ERROR_INIT;
	hth_acts *acts = NULL;
	if (hth_acts_create(&acts, p->n_tokens, p->w.cols, select != NULL ? 8 : 1, &err) != HTH_OK) {
		test_fail(__FILE__, __LINE__, "%s", err.message);
		return;
	}
	hth_acts_set(acts, p->x, p->stride, p->n_tokens, p->w.cols);
	size_t n = select != NULL ? n_select : p->n_tokens, stride = p->w.rows + 3;
	float *y = malloc((n * stride + 1) * sizeof *y);
	for (size_t i = 0; i < n * stride; i++)
		y[i] = 12345.0f;
	hth_matmul_run(pool, &(hth_matmul){.w = &p->w, .x = acts, .select = select, .n_select = n_select, .y = y, .y_stride = stride}, 1);
	bool fixed = goes_fixed(p->w.type, n);
	const double *answer = fixed ? p->fixed : p->exact;
	double worst = 0, error2 = 0, plain2 = 0;
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		size_t t = select != NULL ? select[i] : i;
		for (size_t r = 0; r < p->w.rows; r++) {
			double exact = answer[t * p->w.rows + r], e = fabs((double)y[i * stride + r] - exact);
			double relative = e / (p->size[t * p->w.rows + r] + 1e-30);
			if (!(relative <= worst))
				worst = relative, at = i * p->w.rows + r;
			double d = (double)y[i * stride + r] - p->plain[t * p->w.rows + r];
			error2 += d * d;
			plain2 += p->plain[t * p->w.rows + r] * p->plain[t * p->w.rows + r];
		}
		for (size_t r = p->w.rows; r < stride; r++)
			if (y[i * stride + r] != 12345.0f)
				test_fail(__FILE__, __LINE__, "%s %s: wrote past the row's end", hth_kernels_name(), what);
	}
	if (!(worst < 2e-6))
		test_fail(__FILE__, __LINE__, "%s %s %s %zu x %zu, %zu tokens: off by %.3g of the terms' size at output %zu",
		          hth_kernels_name(), hth_type_get(p->w.type)->name, what, p->w.rows, p->w.cols, n, worst, at);
	/* 8-bit activations cost under 1% of the answer's length, fixed point about a hundredth of that, and F32 activations nothing. */
	double bound = hth_type_has_codes(p->w.type) ? 0.02 : fixed ? 3e-4 : 1e-5;
	if (n * p->w.rows > 16 && plain2 > 0 && !(error2 <= bound * bound * plain2))
		test_fail(__FILE__, __LINE__, "%s %s: relative error %.3g of the product", hth_kernels_name(),
		          hth_type_get(p->w.type)->name, sqrt(error2 / plain2));
	free(y);
	hth_acts_destroy(acts);
}

static void for_each_row(void (*fn)(void))
{
	hth_error err = HTH_ERROR_INIT;
	for (const char *const *name = hth_kernels_available(); *name != NULL; name++) {
		CHECK_OK(hth_kernels_select(*name, &err));
		fn();
	}
}

/* With every row of the table. */
static void problem_check(const problem *p, const uint32_t *select, size_t n_select, const char *what)
{
	hth_error err = HTH_ERROR_INIT;
	for (const char *const *name = hth_kernels_available(); *name != NULL; name++) {
		CHECK_OK(hth_kernels_select(*name, &err));
		problem_check_row(p, select, n_select, what);
	}
}

TEST(products_of_every_type_agree_with_the_exact_answer)
{
	REQUIRE(setup());
	static const size_t rows[] = {1, 7, 37, 130}, tokens[] = {1, 2, 3, 5, 8, 9, 31, 33};
	for (size_t i = 0; i < HTH_COUNT(kernel_types); i++) {
		uint32_t block = hth_type_get(kernel_types[i])->block_elems;
		for (size_t r = 0; r < HTH_COUNT(rows); r++) {
			size_t cols[] = {block == 256 ? 256 : block == 32 ? 96 : 45, block == 256 ? 768 : block == 32 ? 544 : 301};
			for (size_t c = 0; c < 2; c++) {
				problem p;
				problem_init(&p, kernel_types[i], rows[r], cols[c], tokens[HTH_COUNT(tokens) - 1]);
				size_t all = p.n_tokens;
				for (size_t t = 0; t < HTH_COUNT(tokens); t++) {
					p.n_tokens = tokens[t];
					problem_check(&p, NULL, 0, "all tokens");
				}
				p.n_tokens = all;
				static const uint32_t select[] = {31, 2, 2, 7, 0};
				problem_check(&p, select, HTH_COUNT(select), "selected tokens");
				problem_check(&p, select, 1, "one selected token");
				problem_finish(&p);
			}
		}
	}
}
TEST(long_rows_by_a_few_tokens_agree_too)
{
	REQUIRE(setup());
	/* Longer than the pieces in which kernels take columns, and no multiple of one. */
	static const struct {
		hth_type type;
		size_t cols;
	} long_rows[] = {{HTH_Q4_K, 17 * 256}, {HTH_Q5_K, 7 * 256}, {HTH_Q6_K, 9 * 256}, {HTH_Q4_0, 2048 + 544}, {HTH_F16, 2048 + 13}};
	for (size_t i = 0; i < HTH_COUNT(long_rows); i++) {
		problem p;
		problem_init(&p, long_rows[i].type, 19, long_rows[i].cols, 16);
		static const size_t tokens[] = {1, 2, 4, 6, 7, 8, 11, 16};
		for (size_t t = 0; t < HTH_COUNT(tokens); t++) {
			p.n_tokens = tokens[t];
			problem_check(&p, NULL, 0, "all tokens");
		}
		p.n_tokens = 16;
		problem_finish(&p);
	}
}
/* One token's loops are compiled twice, of which this processor uses one. */
static void near_and_far(void)
{
	bool usual = atomic_load(&hth_asks_near);
	for (size_t i = 0; i < HTH_COUNT(kernel_types); i++) {
		enum { ROWS = 19, MOST = 8 };
		static const size_t tokens[] = {1, 2, 3, MOST};
		float y[2][MOST * ROWS];
		problem p;
		problem_init(&p, kernel_types[i], ROWS, 1024 + 512 + 256, MOST);
		hth_error err = HTH_ERROR_INIT;
		hth_acts *acts = NULL;
		CHECK_OK(hth_acts_create(&acts, MOST, p.w.cols, 1, &err));
		for (size_t t = 0; acts != NULL && t < HTH_COUNT(tokens); t++) {
			for (int near = 0; near < 2; near++) {
				memset(y[near], 0, sizeof y[near]);
				atomic_store(&hth_asks_near, near);
				hth_acts_set(acts, p.x, p.stride, tokens[t], p.w.cols);
				hth_matmul_run(pool, &(hth_matmul){.w = &p.w, .x = acts, .y = y[near], .y_stride = ROWS}, 1);
			}
			if (memcmp(y[0], y[1], sizeof y[0]) != 0)
				test_fail(__FILE__, __LINE__, "%s %s: %zu tokens differ by what is asked for", hth_kernels_name(),
				          hth_type_get(p.w.type)->name, tokens[t]);
			CHECK(y[0][0] != 0);
		}
		hth_acts_destroy(acts);
		problem_finish(&p);
	}
	atomic_store(&hth_asks_near, usual);
}
TEST(into_which_cache_weights_are_asked_changes_nothing)
{
	REQUIRE(setup());
	for_each_row(near_and_far);
}
/* What guesses ahead rely on: up to so many tokens at once, each comes out as it does alone, to the last bit. */
static void alone_and_among_others(void)
{
	hth_error err = HTH_ERROR_INIT;
	for (size_t i = 0; i < HTH_COUNT(kernel_types); i++) {
		enum { ROWS = 19, MOST = 31 };
		problem p;
		problem_init(&p, kernel_types[i], ROWS, hth_type_get(kernel_types[i])->block_elems == 256 ? 7 * 256 : 1312, MOST);
		size_t most = HTH_MIN(hth_matrix_exact_tokens(&p.w), p.n_tokens);
		static const size_t counts[] = {2, 3, 5, 8, 9, 16, 17, MOST};
		for (size_t c = 0; c < HTH_COUNT(counts) && counts[c] <= most; c++) {
			float alone[ROWS], together[MOST * ROWS];
			hth_acts *acts = NULL;
			REQUIRE_OK(hth_acts_create(&acts, p.n_tokens, p.w.cols, 1, &err));
			hth_acts_set(acts, p.x, p.stride, counts[c], p.w.cols);
			hth_matmul_run(pool, &(hth_matmul){.w = &p.w, .x = acts, .y = together, .y_stride = ROWS}, 1);
			for (size_t t = 0; t < counts[c]; t++) {
				hth_acts_set(acts, p.x + t * p.stride, p.stride, 1, p.w.cols);
				hth_matmul_run(pool, &(hth_matmul){.w = &p.w, .x = acts, .y = alone, .y_stride = ROWS}, 1);
				if (memcmp(alone, together + t * ROWS, sizeof alone) != 0)
					test_fail(__FILE__, __LINE__, "%s %s: token %zu of %zu is not what it is alone", hth_kernels_name(),
					          hth_type_get(p.w.type)->name, t, counts[c]);
			}
			hth_acts_destroy(acts);
		}
		problem_finish(&p);
	}
}
TEST(a_token_among_others_is_what_it_is_alone_where_that_is_promised)
{
	REQUIRE(setup());
	for_each_row(alone_and_among_others);
}
/* A row may read on into the next one's bytes where its last blocks do not fill a vector. */
static void poisoned_rows(void)
{
	hth_error err = HTH_ERROR_INIT;
	for (size_t i = 0; i < HTH_COUNT(kernel_types); i++) {
		enum { ROWS = 19, POISONED = 7, MOST = 40 };
		problem p;
		problem_init(&p, kernel_types[i], ROWS, hth_type_get(kernel_types[i])->block_elems == 256 ? 7 * 256 : 1312, MOST);
		static const size_t counts[] = {1, 2, 3, 8, 17, MOST};
		for (size_t c = 0; c < HTH_COUNT(counts); c++) {
			float clean[MOST * ROWS], y[MOST * ROWS];
			char *row = (char *)(uintptr_t)p.w.data + POISONED * p.w.row_bytes;
			HTH_AUTO_FREE char *was = malloc(p.w.row_bytes);
			hth_acts *acts = NULL;
			REQUIRE_OK(hth_acts_create(&acts, counts[c], p.w.cols, 1, &err));
			hth_acts_set(acts, p.x, p.stride, counts[c], p.w.cols);
			hth_matmul_run(pool, &(hth_matmul){.w = &p.w, .x = acts, .y = clean, .y_stride = ROWS}, 1);
			memcpy(was, row, p.w.row_bytes);
			memset(row, 0xFF, p.w.row_bytes); /* not a number, whatever the type */
			hth_matmul_run(pool, &(hth_matmul){.w = &p.w, .x = acts, .y = y, .y_stride = ROWS}, 1);
			memcpy(row, was, p.w.row_bytes);
			for (size_t at = 0; at < counts[c] * ROWS; at++)
				if (at % ROWS != POISONED && memcmp(&y[at], &clean[at], sizeof *y) != 0)
					test_fail(__FILE__, __LINE__, "%s %s, %zu tokens: row %zu knows of row %d", hth_kernels_name(),
					          hth_type_get(p.w.type)->name, counts[c], at % ROWS, POISONED);
			hth_acts_destroy(acts);
		}
		problem_finish(&p);
	}
}
TEST(a_row_of_no_numbers_keeps_to_itself)
{
	REQUIRE(setup());
	for_each_row(poisoned_rows);
}
/* Scales of nothing, or of next to nothing, beside minimums as large as ever: kernels may keep minimums in units of the scale. */
TEST(blocks_that_are_all_minimum_keep_it)
{
	REQUIRE(setup());
	static const struct {
		hth_type type;
		size_t d; /* where a block's scale lies; its minimum's follows */
	} types[] = {{HTH_Q4_K, offsetof(hth_block_q4_k, d)}, {HTH_Q5_K, offsetof(hth_block_q5_k, d)},
	             {HTH_Q2_K, offsetof(hth_block_q2_k, d)},
	             {HTH_Q4_1, offsetof(hth_block_q4_1, d)}, {HTH_Q5_1, offsetof(hth_block_q5_1, d)}};
	static const size_t tokens[] = {1, 5, 40};
	for (size_t i = 0; i < HTH_COUNT(types); i++) {
		problem p;
		problem_init(&p, types[i].type, 17, 512, tokens[HTH_COUNT(tokens) - 1]);
		for (size_t r = 0; p.base != NULL && r < p.w.rows; r++)
			for (size_t at = 0; at < p.w.row_bytes; at += hth_type_get(types[i].type)->block_bytes) {
				uint16_t d = r % 3 == 1 ? 1 : 0; /* 2^-24, the smallest half */
				if (r % 3 < 2)
					memcpy((char *)(uintptr_t)p.w.data + r * p.w.row_bytes + at + types[i].d, &d, sizeof d);
			}
		problem_solve(&p);
		for (size_t t = 0; t < HTH_COUNT(tokens); t++) {
			p.n_tokens = tokens[t];
			problem_check(&p, NULL, 0, "all minimum");
		}
		problem_finish(&p);
	}
}
/* The largest sums that a type's codes and 8-bit activations can give: kernels that add in 16 bits must not saturate or wrap. */
TEST(codes_and_activations_at_their_ends_are_exact)
{
	REQUIRE(setup());
	/* Where a block's codes lie; the rest are scales. */
	static const struct {
		hth_type type;
		size_t from, to;
	} codes[] = {{HTH_Q4_0, 2, 18},   {HTH_Q4_1, 4, 20},  {HTH_Q5_0, 2, 22},   {HTH_Q5_1, 4, 24},   {HTH_Q8_0, 2, 34},
	             {HTH_IQ4_NL, 2, 18}, {HTH_MXFP4, 1, 17}, {HTH_Q2_K, 16, 80},  {HTH_Q3_K, 0, 96},   {HTH_Q4_K, 16, 144},
	             {HTH_Q5_K, 16, 176}, {HTH_Q6_K, 0, 192}, {HTH_IQ4_XS, 8, 136}};
	static const uint8_t fills[] = {0x00, 0xFF, 0x80, 0x7F};
	static const size_t tokens[] = {1, 3, 20};
	for (size_t i = 0; i < HTH_COUNT(codes); i++) {
		size_t block = hth_type_get(codes[i].type)->block_bytes;
		for (size_t f = 0; f < HTH_COUNT(fills); f++) {
			problem p;
			problem_init(&p, codes[i].type, 17, 512, tokens[HTH_COUNT(tokens) - 1]);
			char *data = p.base != NULL ? (char *)(uintptr_t)p.w.data : NULL;
			for (size_t at = 0; data != NULL && at < p.w.rows * p.w.row_bytes; at += block)
				memset(data + at + codes[i].from, fills[f], codes[i].to - codes[i].from);
			for (size_t t = 0; t < p.n_tokens; t++)
				for (size_t c = 0; c < p.stride; c++) /* all 127, all -127, or by the column */
					p.x[t * p.stride + c] = t % 3 == 0 || (t % 3 == 2 && c % 4 < 2) ? 1.0f : -1.0f;
			problem_solve(&p);
			/* with weights of zero there is nothing to be relative to */
			for (size_t t = 0; t < HTH_COUNT(tokens) && p.size[0] > 0; t++) {
				p.n_tokens = tokens[t];
				problem_check(&p, NULL, 0, "at the ends");
			}
			problem_finish(&p);
		}
	}
}
/* The largest sums of fixed point, and lines that are zero, next to it, or as large as floats are. */
TEST(fixed_point_at_its_ends)
{
	REQUIRE(setup());
	enum { COLS = 256 + 32 + 13, ROWS = 19, TOKENS = 40 };
	static const hth_type types[] = {HTH_F16, HTH_BF16};
	for (size_t i = 0; i < HTH_COUNT(types); i++)
		for (int round = 0; round < 4; round++) {
			problem p;
			problem_init(&p, types[i], ROWS, COLS, TOKENS);
			uint16_t *w = (uint16_t *)(uintptr_t)p.w.data;
			for (size_t r = 0; r < ROWS; r++)
				for (size_t c = 0; c < COLS; c++) {
					float sign = round == 0 || (round == 1 && (r + c) % 2 == 0) ? 1.0f : -1.0f;
					bool bf16 = types[i] == HTH_BF16;
					float small = bf16 ? 1e-28f : 1e-7f, large = bf16 ? 1e24f : 6e4f;
					float v = (round < 2 ? 1.0f : round == 2 ? small : large) * sign;
					if (round >= 2 && c / 32 % 2 == 0) /* every other line next to nothing */
						v = bf16 ? 1e-34f : 0;
					w[r * COLS + c] = types[i] == HTH_F16 ? hth_f32_to_f16(v) : hth_f32_to_bf16(v);
				}
			for (size_t t = 0; t < TOKENS; t++)
				for (size_t c = 0; c < p.stride; c++)
					p.x[t * p.stride + c] = t % 3 == 0 || (t % 3 == 2 && c % 4 < 2) ? 1.0f : -1.0f;
			problem_solve(&p);
			problem_check(&p, NULL, 0, "at the ends");
			problem_finish(&p);
		}
}
TEST(more_tokens_than_one_task_takes)
{
	REQUIRE(setup());
	for (size_t i = 0; i < HTH_COUNT(kernel_types); i += 3) {
		problem p;
		problem_init(&p, kernel_types[i], 66, 512, 300);
		problem_check(&p, NULL, 0, "several token blocks");
		problem_finish(&p);
	}
}
/* Types that kernels do not multiply as integers go through their dequantiser. */
TEST(slow_types_are_dequantised)
{
	REQUIRE(setup());
	for (uint32_t type = 0; type < HTH_TYPE_LIMIT; type++) {
		if (!hth_matrix_can_multiply((hth_type)type) || hth_type_has_codes((hth_type)type))
			continue;
		const hth_type_traits *traits = hth_type_get(type);
		if (traits->block_elems == 1 || type == HTH_Q8_K)
			continue;
		problem p;
		problem_init(&p, (hth_type)type, 9, 512, 3);
		for (size_t i = 0; i < 3 * 9; i++) /* random scales may be huge or NaN: compare only what is finite */
			if (!isfinite(p.size[i]) || p.size[i] > 1e30)
				goto next;
		problem_check(&p, NULL, 0, "slow");
		p.n_tokens = 1;
		problem_check(&p, NULL, 0, "slow");
	next:
		problem_finish(&p);
	}
}

/* act(gate . x) * (up . x) in tiles, and what the next matrix makes of it: the same bits as by the way of floats. */
static void check_gated(hth_type up_type, hth_type gate_type, hth_type reader_type, size_t n_ff, size_t n_tokens, bool gelu)
{
	enum { COLS = 512, OUT = 21 };
	hth_error err = HTH_ERROR_INIT;
	problem up, gate, down;
	problem_init(&up, up_type, n_ff, COLS, n_tokens);
	problem_init(&gate, gate_type, n_ff, COLS, n_tokens);
	problem_init(&down, reader_type, OUT, n_ff, 1);
	hth_acts *x = NULL, *into = NULL;
	REQUIRE_OK(hth_acts_create(&x, n_tokens, HTH_MAX(COLS, n_ff), 1, &err));
	REQUIRE_OK(hth_acts_create(&into, n_tokens, n_ff, 1, &err));
	float *u = malloc(2 * n_tokens * n_ff * sizeof *u), *g = u + n_tokens * n_ff;
	float *y = malloc(2 * n_tokens * OUT * sizeof *y), *z = y + n_tokens * OUT;
	hth_acts_set(x, up.x, up.stride, n_tokens, COLS);
	hth_gated job = {.up = &up.w, .gate = &gate.w, .x = x, .into = into, .act = gelu ? hth_vec()->gelu_mul : hth_vec()->silu_mul};
	CHECK(hth_gated_fits(&up.w, &gate.w, &down.w));
	REQUIRE(hth_matmul_gated(pool, &job));
	hth_matmul_run(pool, &(hth_matmul){.w = &down.w, .x = into, .y = y, .y_stride = OUT}, 1);
	const hth_matmul apart[] = {{.w = &up.w, .x = x, .y = u, .y_stride = n_ff}, {.w = &gate.w, .x = x, .y = g, .y_stride = n_ff}};
	hth_matmul_run(pool, apart, 2);
	float *v = malloc(n_tokens * OUT * sizeof *v);
	if (hth_reads_gated(&down.w)) {
		hth_acts_set_gated(x, g, u, job.act, n_tokens, n_ff);
		hth_matmul_run(pool, &(hth_matmul){.w = &down.w, .x = x, .y = v, .y_stride = OUT}, 1);
	}
	for (size_t t = 0; t < n_tokens; t++)
		job.act(g + t * n_ff, g + t * n_ff, u + t * n_ff, n_ff);
	hth_acts_set(x, g, n_ff, n_tokens, n_ff);
	hth_matmul_run(pool, &(hth_matmul){.w = &down.w, .x = x, .y = z, .y_stride = OUT}, 1);
	if (memcmp(y, z, n_tokens * OUT * sizeof *y) != 0)
		test_fail(__FILE__, __LINE__, "%s: %s gated by %s, %zu rows, %zu tokens: not what they give apart", hth_kernels_name(),
		          hth_type_get(up_type)->name, hth_type_get(gate_type)->name, n_ff, n_tokens);
	if (hth_reads_gated(&down.w) && memcmp(v, z, n_tokens * OUT * sizeof *v) != 0)
		test_fail(__FILE__, __LINE__, "%s: %s, %zu rows, %zu tokens gated on the way to 8 bits: not what they give in floats",
		          hth_kernels_name(), hth_type_get(up_type)->name, n_ff, n_tokens);
	free(v);
	/* One token alone goes another way, but for the row that has none. */
	hth_acts_set(x, up.x, up.stride, 1, COLS);
	CHECK_INT(hth_matmul_gated(pool, &job), strcmp(hth_kernels_name(), "c") == 0);
	free(u);
	free(y);
	hth_acts_destroy(x);
	hth_acts_destroy(into);
	problem_finish(&up);
	problem_finish(&gate);
	problem_finish(&down);
}
/* Gate and up of a few tokens, gated while they are made 8-bit, against the same in floats first: widths of one part
 * and of several, with a last part that is short. */
static void check_gated_few(hth_type reader_type, size_t n_ff, size_t n_tokens, hth_gate_fn *act)
{
	enum { OUT = 13 };
	hth_error err = HTH_ERROR_INIT;
	problem down;
	problem_init(&down, reader_type, OUT, n_ff, 1);
	hth_acts *x = NULL;
	REQUIRE_OK(hth_acts_create(&x, n_tokens, n_ff, 1, &err));
	float *gate = malloc(2 * n_tokens * n_ff * sizeof *gate), *up = gate + n_tokens * n_ff;
	float *y = malloc(2 * n_tokens * OUT * sizeof *y), *z = y + n_tokens * OUT;
	hth_rng rng;
	hth_rng_seed(&rng, 11 + n_ff + n_tokens);
	for (size_t i = 0; i < 2 * n_tokens * n_ff; i++)
		gate[i] = 3 * random_normal(&rng);
	hth_acts_set_gated(x, gate, up, act, n_tokens, n_ff);
	hth_matmul_run(pool, &(hth_matmul){.w = &down.w, .x = x, .y = y, .y_stride = OUT}, 1);
	for (size_t t = 0; t < n_tokens; t++)
		act(gate + t * n_ff, gate + t * n_ff, up + t * n_ff, n_ff);
	hth_acts_set(x, gate, n_ff, n_tokens, n_ff);
	hth_matmul_run(pool, &(hth_matmul){.w = &down.w, .x = x, .y = z, .y_stride = OUT}, 1);
	if (memcmp(y, z, n_tokens * OUT * sizeof *y) != 0)
		test_fail(__FILE__, __LINE__,
		          "%s: %s reads %zu numbers of %zu tokens gated on the way to 8 bits: not what they give in floats",
		          hth_kernels_name(), hth_type_get(reader_type)->name, n_ff, n_tokens);
	free(gate);
	free(y);
	hth_acts_destroy(x);
	problem_finish(&down);
}
static void gated_few(void)
{
	check_gated_few(HTH_Q6_K, 768, 1, hth_vec()->silu_mul);
	check_gated_few(HTH_Q4_K, 5632, 1, hth_vec()->silu_mul);
	check_gated_few(HTH_Q8_0, 4128, 1, hth_vec()->gelu_mul);
	check_gated_few(HTH_Q4_0, 2080, 3, hth_vec()->silu_mul);
	check_gated_few(HTH_Q5_K, 1280, 17, hth_vec()->gelu_mul);
	check_gated_few(HTH_IQ4_XS, 4352, 2, hth_vec()->silu_mul);
}
TEST(gating_on_the_way_to_8_bits_changes_nothing)
{
	for_each_row(gated_few);
}

static void gated_pairs(void)
{
	check_gated(HTH_Q4_K, HTH_Q4_K, HTH_Q6_K, 256, 40, false);
	check_gated(HTH_Q5_K, HTH_Q8_0, HTH_Q4_0, 96, 33, true);
	check_gated(HTH_Q4_0, HTH_Q6_K, HTH_Q8_0, 160, 530, false);
	if (goes_fixed(HTH_F16, 40)) {
		check_gated(HTH_F16, HTH_BF16, HTH_F16, 160, 40, false);
		check_gated(HTH_F16, HTH_F16, HTH_BF16, 96, 530, true);
	}
}
TEST(gated_pairs_are_what_their_products_are_apart)
{
	for_each_row(gated_pairs);
	problem f, q, odd;
	problem_init(&f, HTH_F16, 64, 512, 1);
	problem_init(&q, HTH_Q8_0, 64, 512, 1);
	problem_init(&odd, HTH_Q8_0, 72, 512, 1);
	CHECK(hth_gated_fits(&q.w, &q.w, &q.w));
	/* Floats and codes have no form in common. */
	CHECK(!hth_gated_fits(&f.w, &q.w, &q.w) && !hth_gated_fits(&q.w, &f.w, &q.w) && !hth_gated_fits(&q.w, &q.w, &f.w));
	CHECK(!hth_gated_fits(&odd.w, &odd.w, &q.w) && !hth_gated_fits(&odd.w, &q.w, &q.w));
	problem_finish(&f);
	problem_finish(&q);
	problem_finish(&odd);
}

static void jobs_together(void)
{
	hth_error err = HTH_ERROR_INIT;
	enum { JOBS = 200, TOKENS = 6, COLS = 256 };
	problem p[4];
	hth_type types[4] = {HTH_Q4_K, HTH_F16, HTH_Q8_0, HTH_Q6_K};
	for (int i = 0; i < 4; i++)
		problem_init(&p[i], types[i], 21, COLS, TOKENS);
	hth_acts *acts = NULL;
	REQUIRE_OK(hth_acts_create(&acts, TOKENS, COLS, 1, &err));
	hth_acts_set(acts, p[0].x, p[0].stride, TOKENS, COLS);
	hth_matmul jobs[JOBS];
	uint32_t select[JOBS][3];
	float *y = calloc(JOBS * 3 * 21, sizeof *y);
	for (int i = 0; i < JOBS; i++) {
		for (int k = 0; k < 3; k++)
			select[i][k] = (uint32_t)((i + k) % TOKENS);
		jobs[i] = (hth_matmul){.w = &p[i % 4].w, .x = acts, .select = select[i], .n_select = (size_t)(i % 4), .y = y + i * 63,
		                       .y_stride = 21};
	}
	hth_matmul_run(pool, jobs, JOBS);
	for (int i = 0; i < JOBS; i++)
		for (int k = 0; k < i % 4; k++)
			for (int r = 0; r < 21; r++) {
				size_t at = select[i][k] * 21 + (size_t)r;
				CHECK_NEAR(y[i * 63 + k * 21 + r], p[i % 4].exact[at], 2e-6 * p[i % 4].size[at]);
			}
	free(y);
	hth_acts_destroy(acts);
	for (int i = 0; i < 4; i++)
		problem_finish(&p[i]);
}
TEST(many_jobs_run_as_one)
{
	REQUIRE(setup());
	for_each_row(jobs_together);
}
/* Floats by many tokens, alone and beside codes with the same activations, which can have one form of integers only. */
static void floats_and_codes(void)
{
	enum { COLS = 288, ROWS = 37, TOKENS = 40 };
	hth_error err = HTH_ERROR_INIT;
	problem f, q;
	problem_init(&f, HTH_F16, ROWS, COLS, TOKENS);
	problem_init(&q, HTH_Q8_0, ROWS, COLS, TOKENS);
	hth_acts *acts = NULL;
	REQUIRE_OK(hth_acts_create(&acts, TOKENS, COLS, 1, &err));
	float *y = calloc(2 * TOKENS * ROWS, sizeof *y), *z = y + TOKENS * ROWS;
	const hth_matmul both[] = {{.w = &f.w, .x = acts, .y = y, .y_stride = ROWS}, {.w = &q.w, .x = acts, .y = z, .y_stride = ROWS}};
	/* f alone, q alone, both, f alone, afresh from there; each: which of the two, and whether f's answer is in fixed point. */
	static const struct {
		size_t first, n;
		bool afresh, fixed;
	} runs[] = {{0, 1, true, true},  {0, 1, false, true},  {1, 1, false, false}, {0, 1, false, false}, {0, 2, true, false},
	            {0, 1, false, false}, {1, 1, true, false}, {0, 2, false, false}, {0, 1, true, true},   {0, 2, false, false}};
	for (size_t i = 0; i < HTH_COUNT(runs); i++) {
		if (runs[i].afresh)
			hth_acts_set(acts, f.x, f.stride, TOKENS, COLS);
		memset(y, 0xFF, 2 * TOKENS * ROWS * sizeof *y);
		hth_matmul_run(pool, both + runs[i].first, runs[i].n);
		const double *want = runs[i].fixed && goes_fixed(HTH_F16, TOKENS) ? f.fixed : f.exact;
		for (size_t at = 0; at < TOKENS * ROWS; at++) {
			if (runs[i].first == 0)
				CHECK_NEAR(y[at], want[at], 2e-6 * f.size[at]);
			if (runs[i].first + runs[i].n == 2)
				CHECK_NEAR(z[at], q.exact[at], 2e-6 * q.size[at]);
		}
	}
	free(y);
	hth_acts_destroy(acts);
	problem_finish(&f);
	problem_finish(&q);
}
TEST(floats_beside_codes_stay_floats)
{
	REQUIRE(setup());
	for_each_row(floats_and_codes);
}

static void activations(void)
{
	hth_rng rng;
	hth_rng_seed(&rng, 5);
	float x[256];
	static const size_t lengths[] = {256, 32, 96, 45, 1, 255};
	for (int round = 0; round < 60; round++) {
		size_t n = lengths[(size_t)round % HTH_COUNT(lengths)];
		for (size_t i = 0; i < 256; i++)
			x[i] = random_normal(&rng) * (round % 7 == 3 ? 1e-30f : round % 7 == 4 ? 1e30f : 3.0f);
		if (round % 7 == 5)
			for (size_t i = 0; i < 256; i++)
				x[i] = (float)((int)(i % 255) - 127) / 2.0f; /* ties */
		hth_a8_line want[16], got[16];
		memset(want, 0xEE, sizeof want);
		memset(got, 0xEE, sizeof got);
		hth_kernels_c.quantize_acts(want, 2 * sizeof *want, x, n);
		hth_kernels_row()->quantize_acts(got, 2 * sizeof *got, x, n);
		CHECK(memcmp(want, got, sizeof want) == 0);
	}
}
TEST(activations_are_quantised_to_the_same_bits)
{
	for_each_row(activations);
}

static int code_offset(hth_type type)
{
	return type == HTH_Q4_0 ? 8 : type == HTH_Q5_0 ? 16 : type == HTH_MXFP4 ? 12 : type == HTH_Q3_K ? 4 : type == HTH_Q6_K ? 32 : 0;
}

static void unpackers(void)
{
	const hth_kernel_row *row = hth_kernels_row();
	static hth_panel panel;
	for (size_t i = 0; i < HTH_COUNT(kernel_types); i++) {
		hth_type type = kernel_types[i];
		const hth_kernel_type *k = &row->types[type];
		if (k->unpack == NULL || k->own_panel)
			continue;
		size_t G = row->group_rows, by = hth_type_by_16(type) ? 16 : 32;
		void *base;
		size_t cols = hth_type_get(type)->block_elems == 256 ? 256 : 224, bytes = hth_type_row_bytes(type, cols);
		const char *w = random_weights(type, G, cols, 99, &base);
		for (size_t valid = 1; valid <= G; valid += G / 2 - 1) {
			memset(&panel, 0xEE, sizeof panel);
			k->unpack(&panel, w, bytes, valid, cols);
			size_t bad = 0;
			for (size_t r = 0; r < G; r++) {
				int8_t codes[256] = {0};
				float scale[16] = {0}, min[16] = {0};
				if (r < valid)
					hth_codes_read(type, w + r * bytes, cols, codes, scale, min);
				for (size_t c = 0; c < cols; c++) {
					uint8_t got = panel.codes[(c / 4 * G + r) * 4 + c % 4];
					/* The AVX-512 row keeps codes of a type without minimums less their offset, plus 128. */
					bool same = got == (uint8_t)codes[c] || got == (uint8_t)(codes[c] - code_offset(type) + 128);
					bad += r < valid && !same;
				}
				for (size_t g = 0; g * by < cols; g++) {
					double s = scale[g * by / 16], m = min[g * by / 16];
					if (r >= valid)
						continue;
					bad += !(fabs((double)panel.scale[g * G + r] - s) <= 1e-7 * fabs(s));
					if (m != 0 && panel.codes[(g * by / 4 * G + r) * 4] == (uint8_t)codes[g * by])
						bad += !(fabs((double)panel.min[g * G + r] - m) <= 1e-7 * fabs(m));
				}
			}
			if (bad > 0)
				test_fail(__FILE__, __LINE__, "%s: %s unpacks %zu values wrong (%zu rows)", row->vec.name,
				          hth_type_get(type)->name, bad, valid);
		}
		free(base);
	}
}
TEST(unpacked_panels_hold_the_codes_of_the_file)
{
	for_each_row(unpackers);
}

static void vectors(void)
{
	const hth_vec_ops *v = hth_vec(), *c = &hth_kernels_c.vec;
	hth_rng rng;
	hth_rng_seed(&rng, 11);
	for (size_t n = 0; n < 150; n += n < 40 ? 1 : 17) {
		/* Exactly sized, for the sanitizer. */
		float *a = malloc(n * 4 + 4), *b = malloc(n * 4 + 4), *y = malloc(n * 4 + 4), *z = malloc(n * 4 + 4);
		uint16_t *h = malloc(n * 2 + 2), *h2 = malloc(n * 2 + 2);
		double dot = 0, size = 0, dot16 = 0;
		for (size_t i = 0; i < n; i++) {
			a[i] = random_normal(&rng) * 3;
			b[i] = random_normal(&rng);
			h[i] = hth_f32_to_f16(b[i]);
			dot += (double)a[i] * (double)b[i];
			dot16 += (double)a[i] * (double)hth_f16_to_f32(h[i]);
			size += fabs((double)a[i] * (double)b[i]);
		}
		CHECK_NEAR(v->dot_f32(a, b, n), dot, 1e-6 * size);
		CHECK_NEAR(v->dot_f16(a, h, n), dot16, 1e-6 * size + 1e-9);
		memcpy(y, b, n * 4);
		v->axpy_f32(y, a, 0.3f, n);
		for (size_t i = 0; i < n; i++)
			CHECK_NEAR(y[i], (double)b[i] + (double)0.3f * (double)a[i], 1e-6 * (fabs((double)b[i]) + fabs((double)a[i])));
		memcpy(y, a, n * 4);
		v->axpy_f16(y, h, -1.7f, n);
		for (size_t i = 0; i < n; i++) {
			double x = (double)hth_f16_to_f32(h[i]);
			CHECK_NEAR(y[i], (double)a[i] - (double)1.7f * x, 1e-6 * (fabs((double)a[i]) + fabs(x)));
		}
		float extremes[] = {65504.0f, 65519.9f, 65520.0f, 1e10f, 6e-8f, 2.9e-8f, 5.96e-8f, -0.0f, 1.00048828125f, INFINITY, 1e-40f};
		for (size_t i = 0; i < n; i++)
			z[i] = i % 3 == 0 ? extremes[i / 3 % HTH_COUNT(extremes)] : a[i];
		v->f32_to_f16(h, z, n);
		c->f32_to_f16(h2, z, n);
		CHECK(memcmp(h, h2, n * 2) == 0);
		if (n > 0) {
			v->rms_norm(y, a, b, 1e-5f, n);
			c->rms_norm(z, a, b, 1e-5f, n);
			for (size_t i = 0; i < n; i++)
				CHECK_NEAR(y[i], z[i], 2e-6 * fabs((double)z[i]) + 1e-30);
			memcpy(y, a, n * 4);
			v->rms_norm(y, y, NULL, 1e-5f, n);
			c->rms_norm(z, a, NULL, 1e-5f, n);
			for (size_t i = 0; i < n; i++)
				CHECK_NEAR(y[i], z[i], 2e-6 * fabs((double)z[i]) + 1e-30);
		}
		for (size_t i = 0; i < n; i++)
			a[i] *= 6;
		if (n > 2) {
			a[0] = -INFINITY; /* a masked score */
			a[1] = 80;
		}
		memcpy(y, a, n * 4);
		memcpy(z, a, n * 4);
		float log_sum = v->softmax(y, n), want = c->softmax(z, n);
		if (n > 0)
			CHECK_NEAR(log_sum, want, 1e-5 * fabs((double)want) + 1e-6);
		double sum = 0;
		for (size_t i = 0; i < n; i++) {
			CHECK_NEAR(y[i], z[i], 3e-6 * (double)z[i] + 1e-37);
			sum += (double)y[i];
		}
		if (n > 0)
			CHECK_NEAR(sum, 1, 1e-5);
		if (n > 2) {
			a[0] = -200;
			a[1] = 200;
		}
		v->silu_mul(y, a, b, n);
		for (size_t i = 0; i < n; i++) {
			double s = (double)a[i] / (1 + exp(-(double)a[i])) * (double)b[i];
			CHECK_NEAR(y[i], s, 3e-6 * fabs(s) + 1e-30);
		}
		v->gelu_mul(y, a, b, n);
		for (size_t i = 0; i < n; i++) {
			double g = (double)a[i];
			double s = 0.5 * g * (1 + tanh(0.7978845608028654 * g * (1 + 0.044715 * g * g))) * (double)b[i];
			CHECK_NEAR(y[i], s, 3e-6 * fabs(s) + 1e-6 * fabs(g * (double)b[i]) * 0.1 + 1e-30);
		}
		v->gelu_erf_mul(y, a, b, n);
		for (size_t i = 0; i < n; i++) {
			double g = (double)a[i], s = 0.5 * g * erfc(-g * 0.70710678118654752) * (double)b[i];
			CHECK_NEAR(y[i], s, 3e-7 * fabs(g * (double)b[i]) + 3e-6 * fabs(s) + 1e-30);
		}
		memcpy(y, a, n * sizeof *y);
		v->soft_cap(y, 3, n);
		for (size_t i = 0; i < n; i++)
			CHECK_NEAR(y[i], 3 * tanh((double)a[i] / 3), 1e-6);
		free(a);
		free(b);
		free(y);
		free(z);
		free(h);
		free(h2);
	}
	float masked[5] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY};
	CHECK(v->softmax(masked, 5) == -INFINITY); /* and no NaN */
	float odd[3] = {-INFINITY, NAN, INFINITY};
	v->soft_cap(odd, 30, 3);
	CHECK(odd[0] == -30 && isnan(odd[1]) && odd[2] == 30);
}
TEST(vector_operations_agree_at_any_length)
{
	for_each_row(vectors);
}

#ifdef __SANITIZE_ADDRESS__
/* What a child says that dies of reading or writing so many bytes behind a buffer. */
static void reach_too_far(size_t bytes, bool writing, char *ret_said, size_t size)
{
	int ends[2];
	CHECK(pipe(ends) == 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], 2);
		const hth_kernel_row *row = hth_kernels_row();
		hth_panel *panel = aligned_alloc(64, sizeof *panel);
		if (writing) {
			float x[64] = {1};
			void *lines = NULL;
			if (posix_memalign(&lines, 64, 2 * sizeof(hth_a8_line) - bytes) == 0)
				row->quantize_acts(lines, sizeof(hth_a8_line), x, 64);
		} else {
			size_t row_bytes = hth_type_row_bytes(HTH_Q8_0, 256);
			row->types[HTH_Q8_0].unpack(panel, calloc(1, row->group_rows * row_bytes - bytes), row_bytes, row->group_rows, 256);
		}
		_exit(0);
	}
	close(ends[1]);
	size_t n = 0;
	for (ssize_t got; (got = read(ends[0], ret_said + n, size - 1 - n)) > 0;)
		n += (size_t)got;
	ret_said[n] = '\0';
	close(ends[0]);
	int status = 0;
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK(status != 0);
}
static void reaches(void)
{
	char said[160]; /* not the stack, which takes long to name */
	for (size_t bytes = 1; bytes <= 31; bytes += 30)
		for (int writing = 0; writing < 2; writing++) {
			reach_too_far(bytes, writing, said, sizeof said);
			if (strstr(said, "ERROR: AddressSanitizer") == NULL)
				test_fail(__FILE__, __LINE__, "%s %s %zu bytes too many and nobody sees it: %s", hth_kernels_name(),
				          writing ? "writes" : "reads", bytes, said);
		}
}
#endif
TEST(a_vector_that_reaches_behind_its_buffer_is_seen)
{
#ifdef __SANITIZE_ADDRESS__
	for_each_row(reaches);
#else
	SKIP("this build has no address sanitizer");
#endif
}

TEST(bad_shapes_and_types_are_refused_with_the_reason)
{
	hth_error err = HTH_ERROR_INIT;
	hth_matrix m = {0};
	CHECK_INT(hth_matrix_init(&m, HTH_I32, 4, 4, "", &err), HTH_UNSUPPORTED);
	CHECK(strstr(err.message, "I32") != NULL);
	CHECK_INT(hth_matrix_init(&m, HTH_Q4_K, 4, 255, "", &err), HTH_BAD_FORMAT);
	CHECK(strstr(err.message, "255") != NULL);
	CHECK_INT(hth_matrix_init(&m, HTH_F32, SIZE_MAX / 2, 4, "", &err), HTH_TOO_LARGE);
	CHECK_INT(hth_matrix_init(&m, (hth_type)5, 1, 4, "", &err), HTH_UNSUPPORTED);
	hth_acts *acts = NULL;
	CHECK_INT(hth_acts_create(&acts, SIZE_MAX / 8, 1 << 20, 1, &err), HTH_TOO_LARGE);
	CHECK(!hth_matrix_can_multiply(HTH_I8));
	CHECK(hth_matrix_can_multiply(HTH_Q4_K));
	CHECK_INT(hth_kernels_select("abacus", &err), HTH_UNSUPPORTED);
	CHECK(strstr(err.message, "c") != NULL);
}

TEST(the_best_row_of_this_processor_is_the_default)
{
	/* The first test of a run has selected others since: ask the list. */
	const char *best = "";
	for (const char *const *name = hth_kernels_available(); *name != NULL; name++)
		best = *name;
	printf("# rows: %s is the best here\n", best);
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_kernels_select(best, &err));
	CHECK_STR(hth_kernels_name(), best);
	CHECK_STR(hth_vec()->name, best);
}

TEST_MAIN()
