/* dequant.c - blocks to floats for the linear formats: floats, Q*_0, Q*_1 and the K formats, and the two 4-bit
 * non-linear ones.
 *
 * The layouts are in blocks.h. These are the reference: kernels are tested against them, so each formula is written in
 * the order of operations that the format's own reference uses (they agree to the last bit), and nothing here is tuned.
 */
#include "engine/quant/blocks.h"
#include "engine/quant/convert.h"
#include "engine/quant/quant.h"

#include <string.h>

const int8_t hth_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t hth_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

HTH_DEQUANTIZE(f32)
{
	memcpy(dst, src, n * sizeof(float));
}

HTH_DEQUANTIZE(f16)
{
	const uint16_t *h = src;
	for (size_t i = 0; i < n; i++)
		dst[i] = hth_f16_to_f32(h[i]);
}

HTH_DEQUANTIZE(bf16)
{
	const uint16_t *h = src;
	for (size_t i = 0; i < n; i++)
		dst[i] = hth_bf16_to_f32(h[i]);
}

HTH_DEQUANTIZE(q4_0)
{
	const hth_block_q4_0 *b = src;
	for (const hth_block_q4_0 *end = b + n / HTH_QK; b < end; b++, dst += HTH_QK) {
		float d = hth_f16_to_f32(b->d);
		for (int j = 0; j < 16; j++) {
			dst[j] = (float)((b->qs[j] & 15) - 8) * d;
			dst[j + 16] = (float)((b->qs[j] >> 4) - 8) * d;
		}
	}
}

HTH_DEQUANTIZE(q4_1)
{
	const hth_block_q4_1 *b = src;
	for (const hth_block_q4_1 *end = b + n / HTH_QK; b < end; b++, dst += HTH_QK) {
		float d = hth_f16_to_f32(b->d), m = hth_f16_to_f32(b->m);
		for (int j = 0; j < 16; j++) {
			dst[j] = (float)(b->qs[j] & 15) * d + m;
			dst[j + 16] = (float)(b->qs[j] >> 4) * d + m;
		}
	}
}

/* Element j of a 5-bit block, 0 to 31. */
static int five_bits(const uint8_t qs[16], const uint8_t qh[4], int j)
{
	int low = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
	return low | (qh[j / 8] >> j % 8 & 1) << 4;
}

HTH_DEQUANTIZE(q5_0)
{
	const hth_block_q5_0 *b = src;
	for (const hth_block_q5_0 *end = b + n / HTH_QK; b < end; b++, dst += HTH_QK) {
		float d = hth_f16_to_f32(b->d);
		for (int j = 0; j < HTH_QK; j++)
			dst[j] = (float)(five_bits(b->qs, b->qh, j) - 16) * d;
	}
}

HTH_DEQUANTIZE(q5_1)
{
	const hth_block_q5_1 *b = src;
	for (const hth_block_q5_1 *end = b + n / HTH_QK; b < end; b++, dst += HTH_QK) {
		float d = hth_f16_to_f32(b->d), m = hth_f16_to_f32(b->m);
		for (int j = 0; j < HTH_QK; j++)
			dst[j] = (float)five_bits(b->qs, b->qh, j) * d + m;
	}
}

HTH_DEQUANTIZE(q8_0)
{
	const hth_block_q8_0 *b = src;
	for (const hth_block_q8_0 *end = b + n / HTH_QK; b < end; b++, dst += HTH_QK) {
		float d = hth_f16_to_f32(b->d);
		for (int j = 0; j < HTH_QK; j++)
			dst[j] = (float)b->qs[j] * d;
	}
}

HTH_DEQUANTIZE(q2_k)
{
	const hth_block_q2_k *b = src;
	for (const hth_block_q2_k *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d), dmin = hth_f16_to_f32(b->dmin);
		for (int e = 0; e < HTH_QK_K; e++) {
			uint8_t scale = b->scales[e / 16];
			int q = b->qs[32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3;
			dst[e] = d * (float)(scale & 15) * (float)q - dmin * (float)(scale >> 4);
		}
	}
}

HTH_DEQUANTIZE(q3_k)
{
	const hth_block_q3_k *b = src;
	for (const hth_block_q3_k *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d);
		for (int e = 0; e < HTH_QK_K; e++) {
			int q = b->qs[32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3;
			if ((b->hmask[e % 32] >> e / 32 & 1) == 0)
				q -= 4;
			dst[e] = d * (float)(hth_k3_scale(b->scales, e / 16) - 32) * (float)q;
		}
	}
}

HTH_DEQUANTIZE(q4_k)
{
	const hth_block_q4_k *b = src;
	for (const hth_block_q4_k *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d), dmin = hth_f16_to_f32(b->dmin);
		for (int g = 0; g < 8; g++) {
			uint8_t scale, min;
			hth_k4_scale_min(b->scales, g, &scale, &min);
			float ds = d * (float)scale, dm = dmin * (float)min;
			const uint8_t *qs = b->qs + 32 * (g / 2);
			for (int l = 0; l < 32; l++)
				dst[32 * g + l] = ds * (float)(g % 2 ? qs[l] >> 4 : qs[l] & 15) - dm;
		}
	}
}

HTH_DEQUANTIZE(q5_k)
{
	const hth_block_q5_k *b = src;
	for (const hth_block_q5_k *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d), dmin = hth_f16_to_f32(b->dmin);
		for (int g = 0; g < 8; g++) {
			uint8_t scale, min;
			hth_k4_scale_min(b->scales, g, &scale, &min);
			float ds = d * (float)scale, dm = dmin * (float)min;
			const uint8_t *qs = b->qs + 32 * (g / 2);
			for (int l = 0; l < 32; l++) {
				int q = (g % 2 ? qs[l] >> 4 : qs[l] & 15) | (b->qh[l] >> g & 1) << 4;
				dst[32 * g + l] = ds * (float)q - dm;
			}
		}
	}
}

HTH_DEQUANTIZE(q6_k)
{
	const hth_block_q6_k *b = src;
	for (const hth_block_q6_k *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d);
		for (int e = 0; e < HTH_QK_K; e++) {
			int half = e / 128, k = e % 128 / 32, l = e % 32;
			int low = b->ql[64 * half + 32 * (k % 2) + l] >> 4 * (k / 2) & 15;
			int high = b->qh[32 * half + l] >> 2 * k & 3;
			int scale = b->scales[e / 16];
			dst[e] = d * (float)scale * (float)((low | high << 4) - 32);
		}
	}
}

HTH_DEQUANTIZE(q8_k)
{
	const hth_block_q8_k *b = src;
	for (const hth_block_q8_k *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K)
		for (int e = 0; e < HTH_QK_K; e++)
			dst[e] = b->d * (float)b->qs[e];
}

HTH_DEQUANTIZE(iq4_nl)
{
	const hth_block_iq4_nl *b = src;
	for (const hth_block_iq4_nl *end = b + n / HTH_QK; b < end; b++, dst += HTH_QK) {
		float d = hth_f16_to_f32(b->d);
		for (int j = 0; j < 16; j++) {
			dst[j] = d * (float)hth_iq4_values[b->qs[j] & 15];
			dst[j + 16] = d * (float)hth_iq4_values[b->qs[j] >> 4];
		}
	}
}

HTH_DEQUANTIZE(iq4_xs)
{
	const hth_block_iq4_xs *b = src;
	for (const hth_block_iq4_xs *end = b + n / HTH_QK_K; b < end; b++, dst += HTH_QK_K) {
		float d = hth_f16_to_f32(b->d);
		for (int g = 0; g < 8; g++) {
			int scale = (b->scales_l[g / 2] >> 4 * (g % 2) & 15) | (b->scales_h >> 2 * g & 3) << 4;
			float ds = d * (float)(scale - 32);
			for (int j = 0; j < 16; j++) {
				uint8_t q = b->qs[16 * g + j];
				dst[32 * g + j] = ds * (float)hth_iq4_values[q & 15];
				dst[32 * g + j + 16] = ds * (float)hth_iq4_values[q >> 4];
			}
		}
	}
}

/* 2^(e - 128); e = 0 and 1 give subnormals. */
static float mxfp4_scale(uint8_t e)
{
	uint32_t bits = e >= 2 ? (uint32_t)(e - 1) << 23 : 0x200000u << e;
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

HTH_DEQUANTIZE(mxfp4)
{
	const hth_block_mxfp4 *b = src;
	for (const hth_block_mxfp4 *end = b + n / HTH_QK; b < end; b++, dst += HTH_QK) {
		float d = mxfp4_scale(b->e);
		for (int j = 0; j < 16; j++) {
			dst[j] = d * (float)hth_mxfp4_values[b->qs[j] & 15];
			dst[j + 16] = d * (float)hth_mxfp4_values[b->qs[j] >> 4];
		}
	}
}
