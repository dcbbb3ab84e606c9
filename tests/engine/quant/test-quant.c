/* The conversions against the reference's answers (../shared/goldens/quants) and against their own definitions. */
#include "engine/quant/blocks.h"
#include "engine/quant/quant.h"

#include "base/mem.h"
#include "base/rng.h"
#include "harness.h"

#include <float.h>

enum { GOLDEN_VALUES = 1024 };

static const struct golden {
	hth_type type;
	const char *file;
	size_t block_elems, block_bytes;
	double relative_rmse; /* what the reference's own quantiser reaches on source.f32 */
} goldens[] = {
    {HTH_F16, "f16", 1, 2, 0.00020},
    {HTH_BF16, "bf16", 1, 2, 0.00161},
    {HTH_Q4_0, "q4_0", 32, 18, 0.08557},
    {HTH_Q4_1, "q4_1", 32, 20, 0.07109},
    {HTH_Q5_0, "q5_0", 32, 22, 0.04211},
    {HTH_Q5_1, "q5_1", 32, 24, 0.03498},
    {HTH_Q8_0, "q8_0", 32, 34, 0.00582},
    {HTH_Q2_K, "q2_K", 256, 84, 0.26753},
    {HTH_Q3_K, "q3_K", 256, 110, 0.14877},
    {HTH_Q4_K, "q4_K", 256, 144, 0.07268},
    {HTH_Q5_K, "q5_K", 256, 176, 0.03633},
    {HTH_Q6_K, "q6_K", 256, 210, 0.01842},
    {HTH_IQ4_NL, "iq4_nl", 32, 18, 0.08043},
    {HTH_IQ4_XS, "iq4_xs", 256, 136, 0.08120},
    {HTH_IQ2_XXS, "iq2_xxs", 256, 66, 0.35355},
    {HTH_IQ2_XS, "iq2_xs", 256, 74, 0.30713},
    {HTH_IQ2_S, "iq2_s", 256, 82, 0.25272},
    {HTH_IQ3_XXS, "iq3_xxs", 256, 98, 0.19076},
    {HTH_IQ3_S, "iq3_s", 256, 110, 0.13933},
    {HTH_IQ1_S, "iq1_s", 256, 50, 0.49677},
    {HTH_IQ1_M, "iq1_m", 256, 56, 0.45340},
    {HTH_TQ1_0, "tq1_0", 256, 54, 0.82710},
    {HTH_TQ2_0, "tq2_0", 256, 66, 0.82710},
    {HTH_MXFP4, "mxfp4", 32, 17, 0.11909},
};

static void *read_golden(const char *file, const char *suffix, size_t *ret_len)
{
	char name[64];
	snprintf(name, sizeof name, "goldens/quants/%s.%s", file, suffix);
	return test_read_file(test_shared(name), ret_len);
}

/* Distance in units of the last place; 0 for equal (also -0 and 0). */
static int64_t ulps(float a, float b)
{
	int32_t x, y;
	memcpy(&x, &a, 4);
	memcpy(&y, &b, 4);
	int64_t i = x < 0 ? -(int64_t)(x & INT32_MAX) : x, j = y < 0 ? -(int64_t)(y & INT32_MAX) : y;
	return i > j ? i - j : j - i;
}

TEST(every_format_dequantises_as_the_reference_does)
{
	if (test_shared("goldens/quants/quants.json") == NULL)
		SKIP("no ../shared/goldens");
	for (size_t g = 0; g < HTH_COUNT(goldens); g++) {
		const struct golden *golden = &goldens[g];
		const hth_type_traits *traits = hth_type_get(golden->type);
		REQUIRE(traits != NULL);
		CHECK_INT(traits->block_elems, golden->block_elems);
		CHECK_INT(traits->block_bytes, golden->block_bytes);
		size_t len = 0, want_len = 0;
		HTH_AUTO_FREE void *blocks = read_golden(golden->file, "bin", &len);
		HTH_AUTO_FREE float *want = read_golden(golden->file, "f32", &want_len);
		REQUIRE(blocks != NULL && want != NULL && want_len == GOLDEN_VALUES * sizeof(float));
		CHECK_INT(hth_type_row_bytes(golden->type, GOLDEN_VALUES), len);
		if (traits->dequantize_row == NULL) {
			test_fail(__FILE__, __LINE__, "%s has no dequantiser", golden->file);
			continue;
		}
		float got[GOLDEN_VALUES];
		traits->dequantize_row(blocks, got, GOLDEN_VALUES);
		for (size_t i = 0; i < GOLDEN_VALUES; i++) {
			if (ulps(got[i], want[i]) > 1) {
				test_fail(__FILE__, __LINE__, "%s value %zu is %.9g, not %.9g", golden->file, i, got[i],
				          want[i]);
				break;
			}
		}
	}
}

TEST(halves_convert_exactly_and_round_to_nearest_even)
{
	for (uint32_t h = 0; h < 0x10000; h++) {
		float f = hth_f16_to_f32((uint16_t)h);
		uint32_t exponent = h >> 10 & 31, mantissa = h & 0x3FF;
		double want = exponent == 31  ? (mantissa ? NAN : INFINITY)
		              : exponent == 0 ? ldexp(mantissa, -24)
		                              : ldexp(1024 + mantissa, (int)exponent - 25);
		if (h & 0x8000)
			want = -want;
		if (isnan(want) ? !isnan(f) : f != (float)want || signbit(f) != signbit(want)) {
			CHECK_NEAR(f, want, 0);
			return;
		}
		if (isnan(want) ? !isnan(hth_f16_to_f32(hth_f32_to_f16(f))) : hth_f32_to_f16(f) != h) {
			CHECK_INT(hth_f32_to_f16(f), h);
			return;
		}
		/* Halfway to the next value goes to the even one, a hair more goes up. */
		if ((h & 0x7FFF) < 0x7BFF) {
			float mid = (float)(((double)f + (double)hth_f16_to_f32((uint16_t)(h + 1))) / 2);
			uint32_t even = h + (h & 1);
			CHECK_INT(hth_f32_to_f16(mid), even);
			CHECK_INT(hth_f32_to_f16(nextafterf(mid, h & 0x8000 ? -1e9f : 1e9f)), h + 1);
		}
		float b = hth_bf16_to_f32((uint16_t)h);
		if (!isnan(b))
			CHECK_INT(hth_f32_to_bf16(b), h);
		else
			CHECK(isnan(hth_bf16_to_f32(hth_f32_to_bf16(b))));
		if (test_failures > 0)
			return;
	}
	CHECK_INT(hth_f32_to_f16(65519.99f), 0x7BFF);
	CHECK_INT(hth_f32_to_f16(65520.0f), 0x7C00);
	CHECK_INT(hth_f32_to_f16(-INFINITY), 0xFC00);
	CHECK_INT(hth_f32_to_f16(0x1p-25f), 0);
	CHECK_INT(hth_f32_to_f16(0x1.000002p-25f), 1);
	CHECK_INT(hth_f32_to_bf16(0x1.01p0f), 0x3F80);
	CHECK_INT(hth_f32_to_bf16(0x1.03p0f), 0x3F82);
	CHECK_INT(hth_f32_to_bf16(INFINITY), 0x7F80);
	CHECK_INT(hth_f32_to_bf16(FLT_MAX), 0x7F80);
}

TEST(types_are_found_by_id_and_name_and_removed_ones_are_not)
{
	static const uint32_t gone[] = {4, 5, 31, 32, 33, 36, 37, 38, 40, 1000, UINT32_MAX};
	for (size_t i = 0; i < HTH_COUNT(gone); i++)
		CHECK(hth_type_get(gone[i]) == NULL);
	hth_type type = HTH_F32;
	CHECK(hth_type_by_name("q4_k", &type) && type == HTH_Q4_K);
	CHECK(hth_type_by_name("IQ4_XS", &type) && type == HTH_IQ4_XS);
	CHECK(!hth_type_by_name("Q4_K_M", &type) && !hth_type_by_name("", &type));
	CHECK_STR(hth_type_get(HTH_MXFP4)->name, "MXFP4");
	CHECK_INT(hth_type_row_bytes(HTH_Q6_K, 4096), 16 * 210);
	CHECK_INT(hth_type_row_bytes(HTH_F64, 3), 24);
}

static double squared_error(const float *x, const float *y, const float *w, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (w ? (double)w[i] : 1.0) * ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
	return sum;
}

static bool can_quantize(hth_type type)
{
	return hth_type_get(type)->quantize_row != NULL;
}

TEST(quantisers_are_at_least_as_close_as_the_reference)
{
	size_t len = 0;
	HTH_AUTO_FREE float *x = read_golden("source", "f32", &len);
	if (x == NULL)
		SKIP("no ../shared/goldens");
	REQUIRE(len == GOLDEN_VALUES * sizeof(float));
	static const float zeros[GOLDEN_VALUES];
	double norm = squared_error(x, zeros, NULL, GOLDEN_VALUES);
	int n = 0;
	for (size_t g = 0; g < HTH_COUNT(goldens); g++) {
		const hth_type_traits *traits = hth_type_get(goldens[g].type);
		if (traits->quantize_row == NULL)
			continue;
		uint8_t blocks[GOLDEN_VALUES * 4];
		float y[GOLDEN_VALUES];
		traits->quantize_row(x, blocks, GOLDEN_VALUES, NULL);
		traits->dequantize_row(blocks, y, GOLDEN_VALUES);
		double rmse = sqrt(squared_error(x, y, NULL, GOLDEN_VALUES) / norm);
		if (rmse > goldens[g].relative_rmse + 5e-6)
			test_fail(__FILE__, __LINE__, "%s: %.5f, the reference reaches %.5f", traits->name, rmse,
			          goldens[g].relative_rmse);
		n++;
	}
	CHECK_INT(n, 17);
}

/* What one would expect of n-bit rounding of normal values: no goldens needed. */
TEST(quantisers_reach_the_error_of_their_bits)
{
	static const struct {
		hth_type type;
		double most;
	} expected[] = {{HTH_Q8_0, 0.008},   {HTH_Q6_K, 0.022},   {HTH_Q5_K, 0.042}, {HTH_Q5_0, 0.050},
	                {HTH_Q5_1, 0.045},   {HTH_Q4_K, 0.083},   {HTH_Q4_0, 0.100}, {HTH_Q4_1, 0.090},
	                {HTH_IQ4_NL, 0.090}, {HTH_IQ4_XS, 0.092}, {HTH_Q3_K, 0.180}, {HTH_Q2_K, 0.330},
	                {HTH_MXFP4, 0.135},  {HTH_TQ2_0, 0.46}};
	enum { N = 256 * 16 };
	static float x[N], y[N];
	static uint8_t blocks[N * 4];
	hth_rng rng;
	hth_rng_seed(&rng, 5);
	static const float zeros[N];
	for (int i = 0; i < N; i++) /* the sum of 12 uniform values less 6: close to normal */
		for (int k = 0; k < 12; k++)
			x[i] += (float)(hth_rng_unit(&rng) - 0.5);
	for (size_t t = 0; t < HTH_COUNT(expected); t++) {
		const hth_type_traits *traits = hth_type_get(expected[t].type);
		traits->quantize_row(x, blocks, N, NULL);
		traits->dequantize_row(blocks, y, N);
		double rmse = sqrt(squared_error(x, y, NULL, N) / squared_error(x, zeros, NULL, N));
		if (rmse > expected[t].most || rmse < expected[t].most / 3)
			test_fail(__FILE__, __LINE__, "%s: %.5f, expected about %.5f", traits->name, rmse,
			          expected[t].most);
	}
}

TEST(importance_moves_the_error_to_where_it_matters_less)
{
	enum { N = 1024 };
	static float x[N], w[N], plain[N], weighted[N];
	static uint8_t blocks[N * 4];
	hth_rng rng;
	hth_rng_seed(&rng, 7);
	for (int i = 0; i < N; i++) {
		x[i] = (float)(hth_rng_unit(&rng) - 0.5);
		w[i] = i % 4 == 0 ? 50 : 0.5f;
	}
	for (hth_type type = HTH_F32; type < HTH_TYPE_LIMIT; type++) {
		const hth_type_traits *traits = hth_type_get(type);
		if (traits == NULL || traits->quantize_row == NULL || traits->block_elems == 1 || type == HTH_Q8_0)
			continue;
		traits->quantize_row(x, blocks, N, NULL);
		traits->dequantize_row(blocks, plain, N);
		traits->quantize_row(x, blocks, N, w);
		traits->dequantize_row(blocks, weighted, N);
		double without = squared_error(x, plain, w, N), with = squared_error(x, weighted, w, N);
		if (!(with < without))
			test_fail(__FILE__, __LINE__, "%s: weighted error %.5g with importance, %.5g without",
			          traits->name, with, without);
		/* Importance 0 everywhere still gives something. */
		static const float none[N];
		traits->quantize_row(x, blocks, N, none);
		traits->dequantize_row(blocks, weighted, N);
		for (int i = 0; i < N; i++)
			if (!isfinite(weighted[i])) {
				test_fail(__FILE__, __LINE__, "%s: value %d is not finite", traits->name, i);
				break;
			}
	}
}

TEST(quantisers_take_any_bits)
{
	enum { N = 512 };
	static float x[N], y[N];
	static uint8_t blocks[N * 4];
	hth_rng rng;
	hth_rng_seed(&rng, 11);
	for (int pattern = 0; pattern < 8; pattern++) {
		for (int i = 0; i < N; i++) {
			uint32_t bits = (uint32_t)hth_rng_next(&rng);
			switch (pattern) {
			case 0:
				x[i] = 0;
				break;
			case 1:
				x[i] = -0.0f;
				break;
			case 2:
				x[i] = 3;
				break;
			case 3:
				x[i] = i % 37 ? 1e-42f : -1e-44f;
				break;
			case 4:
				x[i] = i % 2 ? FLT_MAX : -FLT_MAX;
				break;
			case 5:
				x[i] = i % 50 == 7 ? INFINITY : 0.25f;
				break;
			case 6:
				x[i] = i % 50 == 7 ? NAN : 0.25f;
				break;
			default:
				memcpy(&x[i], &bits, 4);
				break;
			}
		}
		for (hth_type type = HTH_F32; type < HTH_TYPE_LIMIT; type++) {
			const hth_type_traits *traits = hth_type_get(type);
			if (traits == NULL || traits->quantize_row == NULL)
				continue;
			traits->quantize_row(x, blocks, N, NULL); /* the sanitizers watch */
			traits->dequantize_row(blocks, y, N);
			for (int i = 0; i < N && (pattern < 2 || pattern == 2); i++) {
				if (fabsf(y[i] - x[i]) > 0.02f * fabsf(x[i]) + 1e-7f) {
					test_fail(__FILE__, __LINE__, "%s: %g became %g", traits->name, (double)x[i],
					          (double)y[i]);
					break;
				}
			}
		}
	}
	CHECK(can_quantize(HTH_Q4_K) && !can_quantize(HTH_Q8_K) && !can_quantize(HTH_IQ2_XS));
}

TEST(dequantisers_take_any_bits)
{
	enum { N = 512 };
	static uint8_t blocks[N * 8];
	static float y[N];
	hth_rng rng;
	hth_rng_seed(&rng, 13);
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof blocks; i++)
			blocks[i] = (uint8_t)hth_rng_next(&rng);
		for (hth_type type = HTH_F32; type < HTH_TYPE_LIMIT; type++) {
			const hth_type_traits *traits = hth_type_get(type);
			if (traits != NULL && traits->dequantize_row != NULL)
				traits->dequantize_row(blocks, y, N);
		}
	}
	CHECK(hth_type_get(HTH_Q8_K)->dequantize_row != NULL);
}

TEST(ternary_and_fp4_weights_come_back_exactly)
{
	static float x[256], y[256];
	static uint8_t blocks[256 * 4];
	hth_rng rng;
	hth_rng_seed(&rng, 17);
	static const hth_type types[] = {HTH_TQ1_0, HTH_TQ2_0, HTH_MXFP4};
	for (size_t t = 0; t < HTH_COUNT(types); t++) {
		for (int i = 0; i < 256; i++)
			x[i] = types[t] == HTH_MXFP4 ? 0.125f * (float)hth_mxfp4_values[hth_rng_next(&rng) % 16]
			                             : 0.375f * (float)((int)(hth_rng_next(&rng) % 3) - 1);
		hth_type_get(types[t])->quantize_row(x, blocks, 256, NULL);
		hth_type_get(types[t])->dequantize_row(blocks, y, 256);
		for (int i = 0; i < 256; i++)
			CHECK_NEAR(y[i], x[i], 0);
	}
}

TEST_MAIN()
