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
    {HTH_F16, "f16", 1, 2, 0.00020},          {HTH_BF16, "bf16", 1, 2, 0.00161},
    {HTH_Q4_0, "q4_0", 32, 18, 0.08557},      {HTH_Q4_1, "q4_1", 32, 20, 0.07109},
    {HTH_Q5_0, "q5_0", 32, 22, 0.04211},      {HTH_Q5_1, "q5_1", 32, 24, 0.03498},
    {HTH_Q8_0, "q8_0", 32, 34, 0.00582},      {HTH_Q2_K, "q2_K", 256, 84, 0.26753},
    {HTH_Q3_K, "q3_K", 256, 110, 0.14877},    {HTH_Q4_K, "q4_K", 256, 144, 0.07268},
    {HTH_Q5_K, "q5_K", 256, 176, 0.03633},    {HTH_Q6_K, "q6_K", 256, 210, 0.01842},
    {HTH_IQ4_NL, "iq4_nl", 32, 18, 0.08043},  {HTH_IQ4_XS, "iq4_xs", 256, 136, 0.08120},
    {HTH_IQ2_XXS, "iq2_xxs", 256, 66, 0.35355}, {HTH_IQ2_XS, "iq2_xs", 256, 74, 0.30713},
    {HTH_IQ2_S, "iq2_s", 256, 82, 0.25272},   {HTH_IQ3_XXS, "iq3_xxs", 256, 98, 0.19076},
    {HTH_IQ3_S, "iq3_s", 256, 110, 0.13933},  {HTH_IQ1_S, "iq1_s", 256, 50, 0.49677},
    {HTH_IQ1_M, "iq1_m", 256, 56, 0.45340},   {HTH_TQ1_0, "tq1_0", 256, 54, 0.82710},
    {HTH_TQ2_0, "tq2_0", 256, 66, 0.82710},   {HTH_MXFP4, "mxfp4", 32, 17, 0.11909},
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
				test_fail(__FILE__, __LINE__, "%s value %zu is %.9g, not %.9g", golden->file, i, got[i], want[i]);
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

TEST_MAIN()
