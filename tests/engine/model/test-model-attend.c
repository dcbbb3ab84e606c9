/* Every row of the attention table against the softmax written out in double precision, at odd sizes. */
#include "base/mem.h"
#include "base/rng.h"
#include "engine/model/attend.h"
#include "engine/quant/quant.h"
#include "harness.h"

enum { TOKENS = HTH_KV_PAGE, MAX_M = 70, MAX_DIM = 256, PAGES = 3 };

static const char *const names[] = {"c", "avx2", "avx512", "neon"};

typedef struct fixture {
	size_t m, dim, pad;
	float q[MAX_M * MAX_DIM], k[PAGES][MAX_DIM * TOKENS], v[PAGES][TOKENS * MAX_DIM];
	float acc[MAX_M * MAX_DIM], max[MAX_M], sum[MAX_M * TOKENS];
	uint8_t lo[PAGES][MAX_M], hi[PAGES][MAX_M];
} fixture;

static float uniform(hth_rng *rng, double scale)
{
	return (float)((2 * hth_rng_unit(rng) - 1) * scale);
}

/* Row r against all it sees of all pages, element d. */
static double want(const fixture *f, size_t r, size_t d, double cap)
{
	double top = -1e30, sum = 0, out = 0;
	for (int pass = 0; pass < 2; pass++)
		for (size_t p = 0; p < PAGES; p++)
			for (size_t t = f->lo[p][r]; t < f->hi[p][r]; t++) {
				double s = 0;
				for (size_t i = 0; i < f->dim; i++)
					s += (double)f->q[r * f->dim + i] * f->k[p][i * TOKENS + t];
				s = cap > 0 ? cap * tanh(s / cap) : s;
				if (pass == 0) {
					top = fmax(top, s);
				} else {
					sum += exp(s - top);
					out += exp(s - top) * f->v[p][t * f->pad + d];
				}
			}
	return out / sum;
}

static void check(const hth_attend_ops_row *ops, size_t m, size_t dim, bool causal, bool rising, float cap, bool half)
{
	static fixture f;
	hth_rng rng;
	hth_rng_seed(&rng, m * 1000 + dim);
	f.m = m;
	f.dim = dim;
	f.pad = hth_round_up(dim, HTH_ATTEND_PAD);
	for (size_t i = 0; i < m * dim; i++)
		f.q[i] = uniform(&rng, 1);
	for (size_t p = 0; p < PAGES; p++) {
		for (size_t i = 0; i < dim * TOKENS; i++) /* numbers that halves hold exactly */
			f.k[p][i] = hth_f16_to_f32(hth_f32_to_f16(uniform(&rng, rising ? (double)(1 + 12 * p) / sqrt((double)dim) : 1)));
		for (size_t i = 0; i < TOKENS * f.pad; i++)
			f.v[p][i] = i % f.pad < dim ? hth_f16_to_f32(hth_f32_to_f16(uniform(&rng, 1))) : 0;
		for (size_t r = 0; r < m; r++) {
			/* All of it; or windows that move with the row, empty in some pages. */
			size_t last = 40 + r * 50 / m, first = r * 40 / m;
			f.lo[p][r] =
			    (uint8_t)(causal ? HTH_MIN(first > p * TOKENS ? first - p * TOKENS : 0, (size_t)TOKENS)
			                     : 0);
			f.hi[p][r] =
			    (uint8_t)(causal ? HTH_MIN(last > p * TOKENS ? last - p * TOKENS : 0, (size_t)TOKENS)
			                     : TOKENS);
		}
	}
	memset(f.acc, 0, sizeof f.acc);
	memset(f.sum, 0, sizeof f.sum);
	for (size_t r = 0; r < m; r++)
		f.max[r] = -INFINITY;
	for (size_t p = 0; p < PAGES; p++) {
		hth_attend a = {.m = m,
		                .dim = dim,
		                .pad = f.pad,
		                .q = f.q,
		                .acc = f.acc,
		                .max = f.max,
		                .sum = f.sum,
		                .lo = f.lo[p],
		                .hi = f.hi[p],
		                .first = TOKENS,
		                .softcap = cap};
		for (size_t r = 0; r < m; r++)
			if (f.lo[p][r] < f.hi[p][r]) {
				a.first = HTH_MIN(a.first, f.lo[p][r]);
				a.end = HTH_MAX(a.end, f.hi[p][r]);
			}
		/* What nobody may look at. */
		static float k[MAX_DIM * TOKENS], v[TOKENS * MAX_DIM];
		memcpy(k, f.k[p], sizeof k);
		memcpy(v, f.v[p], sizeof v);
		for (size_t t = 0; t < TOKENS; t++)
			if (t < a.first || t >= a.end)
				for (size_t i = 0; i < f.pad; i++) {
					v[t * f.pad + i] = NAN;
					if (i < dim)
						k[i * TOKENS + t] = i % 2 ? NAN : INFINITY;
				}
		static uint16_t k16[MAX_DIM * TOKENS], v16[TOKENS * MAX_DIM + HTH_ATTEND_PAD];
		for (size_t i = 0; half && i < TOKENS * dim; i++) {
			k16[i] = hth_f32_to_f16(k[i]);
			v16[i] = hth_f32_to_f16(v[i / dim * f.pad + i % dim]);
		}
		for (size_t i = 0; i < HTH_ATTEND_PAD; i++)
			v16[TOKENS * dim + i] = hth_f32_to_f16(NAN);
		if (a.first < a.end && half)
			ops->page_f16(&a, k16, v16);
		else if (a.first < a.end)
			ops->page(&a, k, v);
	}
	double worst = 0;
	for (size_t r = 0; r < m; r++) {
		double sum = 0;
		for (size_t t = 0; t < TOKENS; t++)
			sum += (double)f.sum[r * TOKENS + t];
		for (size_t d = 0; d < dim; d += dim > 64 ? 7 : 3) {
			double error = fabs(f.acc[r * f.pad + d] / sum - want(&f, r, d, cap));
			worst = error <= worst ? worst : error; /* NaN counts */
		}
	}
	if (!(worst < 1e-5))
		test_fail(__FILE__, __LINE__, "%s, %zu rows of %zu %s, scores %s, cap %g: off by %g", ops->name, m, dim,
		          half ? "halves" : "floats", rising ? "rising" : "alike", (double)cap, worst);
}

TEST(every_row_attends_at_odd_sizes)
{
	static const size_t dims[] = {8, 15, 16, 24, 64, 80, 128, 256}, rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 64, 70};
	for (size_t n = 0; n < HTH_COUNT(names); n++) {
		const hth_attend_ops_row *ops = hth_attend_find(names[n]);
		if (ops == NULL) {
			printf("# no %s here\n", names[n]);
			continue;
		}
		CHECK_STR(ops->name, names[n]);
		for (size_t d = 0; d < HTH_COUNT(dims); d++)
			for (size_t m = 0; m < HTH_COUNT(rows); m++)
				if (rows[m] < 60 || dims[d] < 100) {
					check(ops, rows[m], dims[d], m % 2, false, 0, d % 2);
					check(ops, rows[m], dims[d], m % 2, true, 0, d % 2);
					check(ops, rows[m], dims[d], !(m % 2), false, 2.5f, !(d % 2));
				}
	}
}

TEST(every_row_widens_exactly)
{
	static uint16_t half[65536];
	static float out[65536];
	for (size_t i = 0; i < 65536; i++)
		half[i] = (uint16_t)i;
	for (size_t n = 0; n < HTH_COUNT(names); n++) {
		const hth_attend_ops_row *ops = hth_attend_find(names[n]);
		if (ops == NULL)
			continue;
		ops->widen_f16(out, half, 65536);
		for (size_t i = 0; i < 65536; i++) {
			float w = hth_f16_to_f32(half[i]);
			if (!(out[i] == w || (isnan(out[i]) && isnan(w)))) {
				CHECK_NEAR(out[i], w, 0);
				break;
			}
		}
		int8_t codes[48];
		float scale[48];
		for (int i = 0; i < 48; i++)
			codes[i] = (int8_t)(i * 37), scale[i] = 0.5f + (float)i;
		ops->widen_i8(out, codes, scale, 48);
		ops->widen_i8_by(out + 48, codes, 0.25f, 48);
		for (int i = 0; i < 48; i++) {
			CHECK(out[i] == codes[i] * scale[i]);
			CHECK(out[48 + i] == codes[i] * 0.25f);
		}
	}
}

TEST_MAIN()
