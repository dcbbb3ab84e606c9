/* dequant-iq.c - blocks to floats for the formats that index tables of points (IQ1, IQ2, IQ3) and the ternary ones.
 *
 * A point gives the magnitudes of 8 (IQ1, IQ2) or 4 (IQ3) neighbouring values at once. Signs come with it: from a bit
 * per value, or from 7 bits of which the eighth makes the number of minus signs even. Layouts: IQ2_XXS  per 32 values 8
 * bytes: 4 point numbers of 8 bits, then a u32 with 4 x 7 sign bits and a 4-bit scale on top. IQ2_XS   per 8 values a
 * u16: 9-bit point number, 7 sign bits; a 4-bit scale per 16 values. IQ2_S    32 low bytes of point numbers, 32 bytes
 * of signs, 2 high bits per point in qh; a 4-bit scale per 16 values. IQ3_XXS  64 point numbers of 8 bits, then per 32
 * values a u32 as in IQ2_XXS. IQ3_S    point numbers with a ninth bit in qh, signs per value; a 4-bit scale per 32
 * values. IQ1_S    per 32 values a u16: 4 x 3 high bits of point numbers, a 3-bit scale, the sign of delta. IQ1_M per
 * 16 values a 3-bit scale, per 8 a nibble of qh: 3 high bits and the sign of delta; the F16 scale of the whole block
 * lies in the top nibbles of the four scale words. Files of these types are read; Hearth does not make them (they need
 * calibration data to be any good).
 */
#include "engine/quant/blocks.h"
#include "engine/quant/convert.h"
#include "engine/quant/quant.h"

#include "engine/quant/iq-grids.inc"

#include <string.h>

static const float iq2_levels[4] = {8, 25, 43, 0}; /* no point has the fourth */
static const float iq3_xxs_levels[16] = {4, 12, 20, 28, 36, 44, 52, 62};

static uint32_t read_u32(const uint8_t *at)
{
	uint32_t v;
	memcpy(&v, at, sizeof v);
	return v;
}

/* The eighth sign of 7 bits makes their sum even. */
static unsigned even_signs(unsigned bits7)
{
	return bits7 | (unsigned)__builtin_parity(bits7) << 7;
}

static void point_iq2(float *dst, unsigned point, unsigned signs, float scale)
{
	for (int j = 0; j < 8; j++) {
		float v = scale * iq2_levels[point >> 2 * j & 3];
		dst[j] = signs >> j & 1 ? -v : v;
	}
}

static void point_iq3(float *dst, const float *levels, unsigned point, unsigned signs, float scale)
{
	for (int j = 0; j < 4; j++) {
		float v = scale * levels[point >> 4 * j & 15];
		dst[j] = signs >> j & 1 ? -v : v;
	}
}

static void point_iq1(float *dst, unsigned point, float delta, float scale)
{
	for (int j = 0; j < 8; j++)
		dst[j] = scale * ((float)(int)(point >> 2 * j & 3) - 1.0f + delta);
}

HTH_DEQUANTIZE(iq2_xxs)
{
	const hth_block_iq2_xxs *b = src;
	for (const hth_block_iq2_xxs *end = b + n / HTH_QK_K; b < end; b++) {
		float d = hth_f16_to_f32(b->d);
		for (int g = 0; g < 8; g++) {
			const uint8_t *at = (const uint8_t *)&b->qs[4 * g];
			uint32_t signs = read_u32(at + 4);
			float scale = d * (0.5f + (float)(signs >> 28)) * 0.25f;
			for (int k = 0; k < 4; k++, dst += 8)
				point_iq2(dst, iq2_xxs_grid[at[k]], even_signs(signs >> 7 * k & 127), scale);
		}
	}
}

HTH_DEQUANTIZE(iq2_xs)
{
	const hth_block_iq2_xs *b = src;
	for (const hth_block_iq2_xs *end = b + n / HTH_QK_K; b < end; b++) {
		float d = hth_f16_to_f32(b->d);
		for (int k = 0; k < 32; k++, dst += 8) {
			int sc = b->scales[k / 4] >> 4 * (k / 2 % 2) & 15;
			float scale = d * (0.5f + (float)sc) * 0.25f;
			point_iq2(dst, iq2_xs_grid[b->qs[k] & 511], even_signs(b->qs[k] >> 9), scale);
		}
	}
}

HTH_DEQUANTIZE(iq2_s)
{
	const hth_block_iq2_s *b = src;
	for (const hth_block_iq2_s *end = b + n / HTH_QK_K; b < end; b++) {
		float d = hth_f16_to_f32(b->d);
		for (int k = 0; k < 32; k++, dst += 8) {
			int sc = b->scales[k / 4] >> 4 * (k / 2 % 2) & 15;
			float scale = d * (0.5f + (float)sc) * 0.25f;
			unsigned point = b->qs[k] | (b->qh[k / 4] >> 2 * (k % 4) & 3u) << 8;
			point_iq2(dst, iq2_s_grid[point], b->qs[32 + k], scale);
		}
	}
}

HTH_DEQUANTIZE(iq3_xxs)
{
	const hth_block_iq3_xxs *b = src;
	for (const hth_block_iq3_xxs *end = b + n / HTH_QK_K; b < end; b++) {
		float d = hth_f16_to_f32(b->d);
		for (int g = 0; g < 8; g++) {
			uint32_t signs = read_u32(b->qs + 64 + 4 * g);
			float scale = d * (0.5f + (float)(signs >> 28)) * 0.5f;
			for (int k = 0; k < 8; k++, dst += 4) {
				unsigned bits = even_signs(signs >> 7 * (k / 2) & 127) >> 4 * (k % 2);
				point_iq3(dst, iq3_xxs_levels, iq3_xxs_grid[b->qs[8 * g + k]], bits, scale);
			}
		}
	}
}

HTH_DEQUANTIZE(iq3_s)
{
	static const float levels[16] = {1, 3, 5, 7, 9, 11, 13, 15};
	const hth_block_iq3_s *b = src;
	for (const hth_block_iq3_s *end = b + n / HTH_QK_K; b < end; b++) {
		float d = hth_f16_to_f32(b->d);
		for (int k = 0; k < 64; k++, dst += 4) {
			int sc = b->scales[k / 16] >> 4 * (k / 8 % 2) & 15;
			float scale = d * (float)(1 + 2 * sc);
			unsigned point = b->qs[k] | (b->qh[k / 8] >> k % 8 & 1u) << 8;
			point_iq3(dst, levels, iq3_s_grid[point], b->signs[k / 2] >> 4 * (k % 2), scale);
		}
	}
}

HTH_DEQUANTIZE(iq1_s)
{
	const hth_block_iq1_s *b = src;
	for (const hth_block_iq1_s *end = b + n / HTH_QK_K; b < end; b++) {
		float d = hth_f16_to_f32(b->d);
		for (int k = 0; k < 32; k++, dst += 8) {
			unsigned qh = b->qh[k / 4];
			float scale = d * (float)(2 * (qh >> 12 & 7) + 1);
			unsigned point = b->qs[k] | (qh >> 3 * (k % 4) & 7) << 8;
			point_iq1(dst, iq1_grid[point], qh & 0x8000 ? -0.125f : 0.125f, scale);
		}
	}
}

HTH_DEQUANTIZE(iq1_m)
{
	const hth_block_iq1_m *b = src;
	for (const hth_block_iq1_m *end = b + n / HTH_QK_K; b < end; b++) {
		uint16_t words[4];
		memcpy(words, b->scales, sizeof words);
		float d = hth_f16_to_f32((uint16_t)(words[0] >> 12 | (words[1] >> 12) << 4 | (words[2] >> 12) << 8 |
		                                    (words[3] >> 12) << 12));
		for (int k = 0; k < 32; k++, dst += 8) {
			float scale = d * (float)(2 * (words[k / 8] >> 3 * (k / 2 % 4) & 7) + 1);
			unsigned qh = b->qh[k / 2] >> 4 * (k % 2);
			unsigned point = b->qs[k] | (qh & 7) << 8;
			point_iq1(dst, iq1_grid[point], qh & 8 ? -0.125f : 0.125f, scale);
		}
	}
}

/* Digit k (0-4) of five base-3 digits that a byte holds as the fraction byte / 256, the first digit on top. */
static float ternary(uint8_t byte, int k)
{
	static const uint8_t power[5] = {1, 3, 9, 27, 81};
	uint8_t shifted = (uint8_t)(byte * power[k]);
	return (float)((shifted * 3 >> 8) - 1);
}

HTH_DEQUANTIZE(tq1_0)
{
	const hth_block_tq1_0 *b = src;
	for (const hth_block_tq1_0 *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d);
		for (int e = 0; e < 160; e++)
			dst[e] = d * ternary(b->qs[e % 32], e / 32);
		for (int e = 160; e < 240; e++)
			dst[e] = d * ternary(b->qs[32 + e % 16], (e - 160) / 16);
		for (int e = 240; e < 256; e++)
			dst[e] = d * ternary(b->qh[e % 4], (e - 240) / 4);
	}
}

HTH_DEQUANTIZE(tq2_0)
{
	const hth_block_tq2_0 *b = src;
	for (const hth_block_tq2_0 *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d);
		for (int e = 0; e < HTH_QK_K; e++)
			dst[e] = d * (float)((b->qs[32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3) - 1);
	}
}
