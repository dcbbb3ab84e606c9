/* blocks.h - the layouts of the block formats, byte for byte as they lie in a file.
 *
 * Source: the block formats of the ggml project (GGUF's tensor types). All fields are little-endian, and so is every
 * machine that Hearth runs on. F16 scales are kept as their bits (hth_f16_to_f32). Structs are packed by construction:
 * the asserts below fix each size, and a block in a mapped file may only be 2-byte aligned.
 */
#ifndef HTH_ENGINE_QUANT_BLOCKS_H
#define HTH_ENGINE_QUANT_BLOCKS_H

#include <assert.h>
#include <stdint.h>

enum { HTH_QK = 32, HTH_QK_K = 256 }; /* elements in a small block, in a super-block */

/* x = d * (q - 8). qs[j] holds element j in its low nibble and element j + 16 in its high one (all 4-bit and 5-bit
 * formats of 32 elements do). */
typedef struct hth_block_q4_0 {
	uint16_t d;
	uint8_t qs[16];
} hth_block_q4_0;
/* x = d * q + m */
typedef struct hth_block_q4_1 {
	uint16_t d, m;
	uint8_t qs[16];
} hth_block_q4_1;
/* x = d * (q - 16); bit j of qh (a little-endian u32) is bit 4 of element j. */
typedef struct hth_block_q5_0 {
	uint16_t d;
	uint8_t qh[4];
	uint8_t qs[16];
} hth_block_q5_0;
/* x = d * q + m */
typedef struct hth_block_q5_1 {
	uint16_t d, m;
	uint8_t qh[4];
	uint8_t qs[16];
} hth_block_q5_1;
/* x = d * q */
typedef struct hth_block_q8_0 {
	uint16_t d;
	int8_t qs[32];
} hth_block_q8_0;
/* Activations only: x = d * q; s = d * sum(q). */
typedef struct hth_block_q8_1 {
	uint16_t d, s;
	int8_t qs[32];
} hth_block_q8_1;

/* 16 groups of 16. scales[g]: low nibble the scale, high nibble the minimum, of group g.
 * x = d * sc * q - dmin * m, q in 0..3. Element e: byte 32 * (e / 128) + e % 32 of qs, bits 2 * (e % 128 / 32). */
typedef struct hth_block_q2_k {
	uint8_t scales[16];
	uint8_t qs[64];
	uint16_t d, dmin;
} hth_block_q2_k;
/* 16 groups of 16 with 6-bit scales less 32. x = d * (sc - 32) * q, q in -4..3: low 2 bits as in Q2_K; element e has
 * bit e / 32 of hmask[e % 32], which is 0 for the values that are 4 less. */
typedef struct hth_block_q3_k {
	uint8_t hmask[32];
	uint8_t qs[64];
	uint8_t scales[12]; /* bytes 0-7: low nibbles of groups 0-7 and 8-15; byte 8 + g % 4, bits 2 * (g / 4): high 2 */
	uint16_t d;
} hth_block_q3_k;
/* 8 groups of 32, 6-bit scales and minimums packed in 12 bytes (hth_k4_scale_min).
 * x = d * sc * q - dmin * m. Element e: byte 32 * (e / 64) + e % 32, low nibble when e % 64 < 32. */
typedef struct hth_block_q4_k {
	uint16_t d, dmin;
	uint8_t scales[12];
	uint8_t qs[128];
} hth_block_q4_k;
/* As Q4_K with a fifth bit: element e has bit e / 32 of qh[e % 32]. */
typedef struct hth_block_q5_k {
	uint16_t d, dmin;
	uint8_t scales[12];
	uint8_t qh[32];
	uint8_t qs[128];
} hth_block_q5_k;
/* 16 groups of 16, int8 scales. x = d * sc * (q - 32). In each half of 128 elements, element e = 32 * k + l:
 * low nibble of ql[64 * half + 32 * (k % 2) + l] shifted by 4 * (k / 2), high bits qh[32 * half + l] >> 2 * k. */
typedef struct hth_block_q6_k {
	uint8_t ql[128];
	uint8_t qh[64];
	int8_t scales[16];
	uint16_t d;
} hth_block_q6_k;
/* Activations only: x = d * q; bsums[g] = sum of the 16 q of group g. */
typedef struct hth_block_q8_k {
	float d;
	int8_t qs[256];
	int16_t bsums[16];
} hth_block_q8_k;

/* x = d * hth_iq4_values[q], nibbles as in Q4_0. */
typedef struct hth_block_iq4_nl {
	uint16_t d;
	uint8_t qs[16];
} hth_block_iq4_nl;
/* 8 groups of 32, each 16 bytes of qs laid out as IQ4_NL; 6-bit scales less 32: low nibbles in scales_l (group g in
 * nibble g), 2 high bits at 2 * g of scales_h. x = d * (sc - 32) * hth_iq4_values[q]. */
typedef struct hth_block_iq4_xs {
	uint16_t d;
	uint16_t scales_h;
	uint8_t scales_l[4];
	uint8_t qs[128];
} hth_block_iq4_xs;
/* OCP microscaling FP4 (E2M1) with an E8M0 scale: x = 2^(e - 127) * value, and hth_mxfp4_values holds the values
 * doubled (so multiply by 2^(e - 128)). Nibbles as in Q4_0. */
typedef struct hth_block_mxfp4 {
	uint8_t e;
	uint8_t qs[16];
} hth_block_mxfp4;

/* 32 groups of 8 elements from a table of 256; see dequant-iq.c for how indices, signs and scales are packed. */
typedef struct hth_block_iq2_xxs {
	uint16_t d;
	uint16_t qs[32];
} hth_block_iq2_xxs;
typedef struct hth_block_iq2_xs {
	uint16_t d;
	uint16_t qs[32];
	uint8_t scales[8];
} hth_block_iq2_xs;
typedef struct hth_block_iq2_s {
	uint16_t d;
	uint8_t qs[64];
	uint8_t qh[8];
	uint8_t scales[8];
} hth_block_iq2_s;
typedef struct hth_block_iq3_xxs {
	uint16_t d;
	uint8_t qs[96];
} hth_block_iq3_xxs;
typedef struct hth_block_iq3_s {
	uint16_t d;
	uint8_t qs[64];
	uint8_t qh[8];
	uint8_t signs[32];
	uint8_t scales[4];
} hth_block_iq3_s;
typedef struct hth_block_iq1_s {
	uint16_t d;
	uint8_t qs[32];
	uint16_t qh[8];
} hth_block_iq1_s;
typedef struct hth_block_iq1_m {
	uint8_t qs[32];
	uint8_t qh[16];
	uint8_t scales[8];
} hth_block_iq1_m;
/* Ternary: x = d * (q - 1), q in 0..2; five to a byte in base 3 (TQ1_0) or four to a byte in 2 bits (TQ2_0). */
typedef struct hth_block_tq1_0 {
	uint8_t qs[48];
	uint8_t qh[4];
	uint16_t d;
} hth_block_tq1_0;
typedef struct hth_block_tq2_0 {
	uint8_t qs[64];
	uint16_t d;
} hth_block_tq2_0;

static_assert(sizeof(hth_block_q4_0) == 18 && sizeof(hth_block_q4_1) == 20, "layout");
static_assert(sizeof(hth_block_q5_0) == 22 && sizeof(hth_block_q5_1) == 24, "layout");
static_assert(sizeof(hth_block_q8_0) == 34 && sizeof(hth_block_q8_1) == 36, "layout");
static_assert(sizeof(hth_block_q2_k) == 84 && sizeof(hth_block_q3_k) == 110, "layout");
static_assert(sizeof(hth_block_q4_k) == 144 && sizeof(hth_block_q5_k) == 176, "layout");
static_assert(sizeof(hth_block_q6_k) == 210 && sizeof(hth_block_q8_k) == 292, "layout");
static_assert(sizeof(hth_block_iq4_nl) == 18 && sizeof(hth_block_iq4_xs) == 136, "layout");
static_assert(sizeof(hth_block_mxfp4) == 17 && sizeof(hth_block_iq2_xxs) == 66, "layout");
static_assert(sizeof(hth_block_iq2_xs) == 74 && sizeof(hth_block_iq2_s) == 82, "layout");
static_assert(sizeof(hth_block_iq3_xxs) == 98 && sizeof(hth_block_iq3_s) == 110, "layout");
static_assert(sizeof(hth_block_iq1_s) == 50 && sizeof(hth_block_iq1_m) == 56, "layout");
static_assert(sizeof(hth_block_tq1_0) == 54 && sizeof(hth_block_tq2_0) == 66, "layout");

/* The non-linear 4-bit levels of IQ4_NL and IQ4_XS, and E2M1's values times two. */
extern const int8_t hth_iq4_values[16];
extern const int8_t hth_mxfp4_values[16];

/* The 6-bit scale and minimum of group j (0-7) of a Q4_K or Q5_K block. */
static inline void hth_k4_scale_min(const uint8_t scales[12], int j, uint8_t *ret_scale, uint8_t *ret_min)
{
	if (j < 4) {
		*ret_scale = scales[j] & 63;
		*ret_min = scales[j + 4] & 63;
	} else {
		*ret_scale = (uint8_t)((scales[j + 4] & 15) | (scales[j - 4] >> 6) << 4);
		*ret_min = (uint8_t)((scales[j + 4] >> 4) | (scales[j] >> 6) << 4);
	}
}
/* The 6-bit scale (0-63, to be taken less 32) of group g (0-15) of a Q3_K block. */
static inline int hth_k3_scale(const uint8_t scales[12], int g)
{
	int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
	return low | (scales[8 + g % 4] >> 2 * (g / 4) & 3) << 4;
}

#endif
