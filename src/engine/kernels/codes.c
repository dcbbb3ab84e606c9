/* codes.c - the portable reading of quantised rows as integer codes with a scale and a minimum per group.
 *
 * The layouts are those of quant/blocks.h; what differs from the dequantisers is only that the multiplication by the scale is
 * left undone, so that kernels can sum integers. x = scale * code + min, where formats with an offset (q - 8) give it
 * as min = -8 * scale. Plain C, single rows; the kernels' own unpackers are tested against this.
 */
#include "engine/kernels/kernel-row.h"
#include "engine/quant/blocks.h"

#include <string.h>

bool hth_type_by_16(hth_type type) { return type == HTH_Q2_K || type == HTH_Q3_K || type == HTH_Q6_K; }

typedef struct reading {
	int8_t *codes;
	float *scale, *min;
} reading;

static void set_groups(reading *out, int first, int n, float scale, float min)
{
	for (int g = first; g < first + n; g++) {
		out->scale[g] = scale;
		out->min[g] = min;
	}
}

static void nibbles(int8_t *codes, const uint8_t qs[16])
{
	for (int j = 0; j < 16; j++) {
		codes[j] = qs[j] & 15;
		codes[j + 16] = (int8_t)(qs[j] >> 4);
	}
}

static void fifth_bits(int8_t *codes, const uint8_t qh[4])
{
	for (int j = 0; j < 32; j++)
		codes[j] = (int8_t)(codes[j] | (qh[j / 8] >> j % 8 & 1) << 4);
}

static void read_q4_0(const void *block, size_t n, reading *out)
{
	const hth_block_q4_0 *b = block;
	for (int i = 0; i < (int)(n / 32); i++) {
		float d = hth_f16_to_f32(b[i].d);
		nibbles(out->codes + 32 * i, b[i].qs);
		set_groups(out, 2 * i, 2, d, -8 * d);
	}
}

static void read_q4_1(const void *block, size_t n, reading *out)
{
	const hth_block_q4_1 *b = block;
	for (int i = 0; i < (int)(n / 32); i++) {
		nibbles(out->codes + 32 * i, b[i].qs);
		set_groups(out, 2 * i, 2, hth_f16_to_f32(b[i].d), hth_f16_to_f32(b[i].m));
	}
}

static void read_q5_0(const void *block, size_t n, reading *out)
{
	const hth_block_q5_0 *b = block;
	for (int i = 0; i < (int)(n / 32); i++) {
		float d = hth_f16_to_f32(b[i].d);
		nibbles(out->codes + 32 * i, b[i].qs);
		fifth_bits(out->codes + 32 * i, b[i].qh);
		set_groups(out, 2 * i, 2, d, -16 * d);
	}
}

static void read_q5_1(const void *block, size_t n, reading *out)
{
	const hth_block_q5_1 *b = block;
	for (int i = 0; i < (int)(n / 32); i++) {
		nibbles(out->codes + 32 * i, b[i].qs);
		fifth_bits(out->codes + 32 * i, b[i].qh);
		set_groups(out, 2 * i, 2, hth_f16_to_f32(b[i].d), hth_f16_to_f32(b[i].m));
	}
}

static void read_q8_0(const void *block, size_t n, reading *out)
{
	const hth_block_q8_0 *b = block;
	for (int i = 0; i < (int)(n / 32); i++) {
		memcpy(out->codes + 32 * i, b[i].qs, 32);
		set_groups(out, 2 * i, 2, hth_f16_to_f32(b[i].d), 0);
	}
}

static void read_q2_k(const void *block, size_t n, reading *out)
{
	const hth_block_q2_k *b = block;
	float d = hth_f16_to_f32(b->d), dmin = hth_f16_to_f32(b->dmin);
	for (int e = 0; e < 256; e++)
		out->codes[e] = (int8_t)(b->qs[32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3);
	for (int g = 0; g < 16; g++)
		set_groups(out, g, 1, d * (float)(b->scales[g] & 15), -dmin * (float)(b->scales[g] >> 4));
}

static void read_q3_k(const void *block, size_t n, reading *out)
{
	const hth_block_q3_k *b = block;
	float d = hth_f16_to_f32(b->d);
	for (int e = 0; e < 256; e++) {
		int low = b->qs[32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3;
		out->codes[e] = (int8_t)(low | (b->hmask[e % 32] >> e / 32 & 1) << 2);
	}
	for (int g = 0; g < 16; g++) {
		float s = d * (float)(hth_k3_scale(b->scales, g) - 32);
		set_groups(out, g, 1, s, -4 * s);
	}
}

static void k4_groups(reading *out, const uint8_t scales[12], float d, float dmin)
{
	for (int g = 0; g < 8; g++) {
		uint8_t scale, min;
		hth_k4_scale_min(scales, g, &scale, &min);
		set_groups(out, 2 * g, 2, d * (float)scale, -dmin * (float)min);
	}
}

static void read_q4_k(const void *block, size_t n, reading *out)
{
	const hth_block_q4_k *b = block;
	for (int e = 0; e < 256; e++)
		out->codes[e] = (int8_t)(b->qs[32 * (e / 64) + e % 32] >> (e % 64 < 32 ? 0 : 4) & 15);
	k4_groups(out, b->scales, hth_f16_to_f32(b->d), hth_f16_to_f32(b->dmin));
}

static void read_q5_k(const void *block, size_t n, reading *out)
{
	const hth_block_q5_k *b = block;
	for (int e = 0; e < 256; e++) {
		int low = b->qs[32 * (e / 64) + e % 32] >> (e % 64 < 32 ? 0 : 4) & 15;
		out->codes[e] = (int8_t)(low | (b->qh[e % 32] >> e / 32 & 1) << 4);
	}
	k4_groups(out, b->scales, hth_f16_to_f32(b->d), hth_f16_to_f32(b->dmin));
}

static void read_q6_k(const void *block, size_t n, reading *out)
{
	const hth_block_q6_k *b = block;
	float d = hth_f16_to_f32(b->d);
	for (int e = 0; e < 256; e++) {
		int half = e / 128, k = e % 128 / 32, l = e % 32;
		int low = b->ql[64 * half + 32 * (k % 2) + l] >> 4 * (k / 2) & 15;
		int high = b->qh[32 * half + l] >> 2 * k & 3;
		out->codes[e] = (int8_t)(low | high << 4);
	}
	for (int g = 0; g < 16; g++) {
		float s = d * (float)b->scales[g];
		set_groups(out, g, 1, s, -32 * s);
	}
}

static void iq4_values(int8_t *codes, const uint8_t qs[16])
{
	for (int j = 0; j < 16; j++) {
		codes[j] = hth_iq4_values[qs[j] & 15];
		codes[j + 16] = hth_iq4_values[qs[j] >> 4];
	}
}

static void read_iq4_nl(const void *block, size_t n, reading *out)
{
	const hth_block_iq4_nl *b = block;
	for (int i = 0; i < (int)(n / 32); i++) {
		iq4_values(out->codes + 32 * i, b[i].qs);
		set_groups(out, 2 * i, 2, hth_f16_to_f32(b[i].d), 0);
	}
}

static void read_iq4_xs(const void *block, size_t n, reading *out)
{
	const hth_block_iq4_xs *b = block;
	float d = hth_f16_to_f32(b->d);
	for (int g = 0; g < 8; g++) {
		int scale = (b->scales_l[g / 2] >> 4 * (g % 2) & 15) | (b->scales_h >> 2 * g & 3) << 4;
		iq4_values(out->codes + 32 * g, b->qs + 16 * g);
		set_groups(out, 2 * g, 2, d * (float)(scale - 32), 0);
	}
}

static void read_mxfp4(const void *block, size_t n, reading *out)
{
	const hth_block_mxfp4 *b = block;
	for (int i = 0; i < (int)(n / 32); i++) {
		float d = e8m0_half(b[i].e);
		for (int j = 0; j < 16; j++) {
			out->codes[32 * i + j] = (int8_t)(hth_mxfp4_values[b[i].qs[j] & 15] + 12);
			out->codes[32 * i + j + 16] = (int8_t)(hth_mxfp4_values[b[i].qs[j] >> 4] + 12);
		}
		set_groups(out, 2 * i, 2, d, -12 * d);
	}
}

typedef void (*read_fn)(const void *block, size_t n, reading *out);
static const read_fn readers[HTH_TYPE_LIMIT] = {
    [HTH_Q4_0] = read_q4_0, [HTH_Q4_1] = read_q4_1, [HTH_Q5_0] = read_q5_0, [HTH_Q5_1] = read_q5_1,
    [HTH_Q8_0] = read_q8_0, [HTH_Q2_K] = read_q2_k, [HTH_Q3_K] = read_q3_k, [HTH_Q4_K] = read_q4_k,
    [HTH_Q5_K] = read_q5_k, [HTH_Q6_K] = read_q6_k, [HTH_IQ4_NL] = read_iq4_nl, [HTH_IQ4_XS] = read_iq4_xs,
    [HTH_MXFP4] = read_mxfp4,
};

bool hth_type_has_codes(hth_type type) { return (unsigned)type < HTH_TYPE_LIMIT && readers[type] != NULL; }

void hth_codes_read(hth_type type, const void *block, size_t n, int8_t codes[256], float scale[16], float min[16])
{
	readers[type](block, n, &(reading){codes, scale, min});
}

void hth_codes_unpack(hth_type type, size_t G, hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)
{
	size_t groups = hth_type_by_16(type) ? 16 : 8;
	for (size_t r = 0; r < G; r++) {
		int8_t codes[256] = {0};
		float scale[16] = {0}, min[16] = {0};
		if (r < n_rows)
			hth_codes_read(type, (const char *)block + r * row_bytes, n, codes, scale, min);
		for (size_t c = 0; c < n; c += HTH_PANEL_STEP)
			memcpy(panel->codes + c * G + r * HTH_PANEL_STEP, codes + c, HTH_PANEL_STEP);
		for (size_t g = 0; g < groups; g++) {
			panel->scale[g * G + r] = scale[g * 16 / groups];
			panel->min[g * G + r] = min[g * 16 / groups];
		}
	}
}
