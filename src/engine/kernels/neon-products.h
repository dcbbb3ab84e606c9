/* neon-products.h - the products of the NEON rows, for each way of multiplying bytes. Included once by each of
 * kernels-neon.c (base ARMv8), kernels-neondot.c (with the dot-product instructions) and kernels-neoni8mm.c (and those that multiply
 * matrices), which define
 *   int32x4_t dot16(int32x4_t sum, int8x16_t a, int8x16_t b): lane i of sum plus the products of bytes 4 i to 4 i + 3;
 *   NEON_MMLA where there is vmmlaq_s32, two rows of 8 bytes by two rows of 8, as 2 by 2 sums.
 *
 * A panel has 4 rows; two panels by 32 columns of codes are 16 registers that stay while tokens pass. With vmmlaq_s32 tokens pass in twos,
 * and a panel's codes lie in twos of rows: vector 4 p + k has columns 8 k to 8 k + 7 of row 2 p, then of row 2 p + 1.
 */
#include "engine/kernels/neon-codes.h"
#include "base/mem.h"

enum { NEON_ROWS = 4, NEON_FLOAT_ROWS = 8 };

typedef codes32 (*codes_fn)(const char *chunk, int g);
typedef void (*scales_fn)(const char *chunk, int n, float s[16], float m[16]);

/* One token's sums of a panel's rows to its place: of a group of 32 in `last`, or of its two groups of 16. */
INLINE void add_token(float *at, int32x4_t first, int32x4_t last, const hth_a8_line *a, const float32x4_t scale[2],
                      const float32x4_t min[2], const bool by16, const bool has_min)
{
	float32x4_t sum = vld1q_f32(at), v;
	if (by16) {
		v = vmulq_f32(vcvtq_f32_s32(first), scale[0]);
		v = vfmaq_f32(v, vcvtq_f32_s32(last), scale[1]);
		if (has_min) {
			sum = vfmaq_n_f32(sum, min[0], a->s16[0]);
			sum = vfmaq_n_f32(sum, min[1], a->s16[1]);
		}
	} else {
		v = vmulq_f32(vcvtq_f32_s32(last), scale[0]);
		if (has_min)
			sum = vfmaq_n_f32(sum, min[0], a->s32);
	}
	vst1q_f32(at, vfmaq_n_f32(sum, v, a->d));
}

#ifdef NEON_MMLA
/* The sums of four rows for each of two tokens, from two rows by two tokens twice. */
INLINE void by_token(int32x4_t sum[2], int32x4_t rows01, int32x4_t rows23)
{
	sum[0] = vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(rows01), vreinterpretq_s64_s32(rows23)));
	sum[1] = vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(rows01), vreinterpretq_s64_s32(rows23)));
}
INLINE int8x16_t zip_low(int8x16_t a, int8x16_t b)
{
	return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
INLINE int8x16_t zip_high(int8x16_t a, int8x16_t b)
{
	return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
#else
/* 16 activations against panel codes of 16 columns: bytes 4 i of the activations go to every lane for step i. */
#define DOT_STEP(sum, w, a, i) dot16(sum, w, vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(a), i)))
#endif

INLINE void gemm_group(const hth_panel *panels, const int P, size_t g, const hth_gemm_acts *acts, float *acc,
                       size_t acc_stride, const bool by16, const bool has_min)
{
	int8x16_t w[2][8];
	float32x4_t scale[2][2], min[2][2];
	for (int p = 0; p < P; p++) {
		for (int i = 0; i < 8; i++)
			w[p][i] = vld1q_s8((const int8_t *)panels[p].codes + 128 * g + 16 * i);
		for (int h = 0; h < 1 + by16; h++) {
			scale[p][h] = vld1q_f32(panels[p].scale + 4 * ((1 + by16) * g + h));
			if (has_min)
				min[p][h] = vld1q_f32(panels[p].min + 4 * ((1 + by16) * g + h));
		}
	}
	const char *lines = acts->lines + g * acts->group_stride;
#ifdef NEON_MMLA
	/* An odd last token goes with itself, and is written once. */
	for (size_t t = 0; t < acts->n_tokens; t += 2) {
		const hth_a8_line *a = (const hth_a8_line *)(lines + acts->offset[t]), *b = a;
		if (t + 1 < acts->n_tokens)
			b = (const hth_a8_line *)(lines + acts->offset[t + 1]);
		int8x16_t a0 = vld1q_s8(a->q), a1 = vld1q_s8(a->q + 16), b0 = vld1q_s8(b->q), b1 = vld1q_s8(b->q + 16);
		int8x16_t q[4] = {zip_low(a0, b0), zip_high(a0, b0), zip_low(a1, b1), zip_high(a1, b1)};
		for (int p = 0; p < P; p++) {
			int32x4_t zero = vdupq_n_s32(0), first[2], last[2], s[2];
			for (int pair = 0; pair < 2; pair++)
				s[pair] = vmmlaq_s32(vmmlaq_s32(zero, q[0], w[p][4 * pair]), q[1], w[p][4 * pair + 1]);
			by_token(first, s[0], s[1]);
			for (int pair = 0; pair < 2; pair++)
				s[pair] = vmmlaq_s32(vmmlaq_s32(by16 ? zero : s[pair], q[2], w[p][4 * pair + 2]), q[3], w[p][4 * pair + 3]);
			by_token(last, s[0], s[1]);
			float *at = acc + p * acc_stride + 4 * t;
			add_token(at, first[0], last[0], a, scale[p], min[p], by16, has_min);
			if (t + 1 < acts->n_tokens)
				add_token(at + 4, first[1], last[1], b, scale[p], min[p], by16, has_min);
		}
	}
#else
	for (size_t t = 0; t < acts->n_tokens; t++) {
		const hth_a8_line *a = (const hth_a8_line *)(lines + acts->offset[t]);
		int8x16_t q0 = vld1q_s8(a->q), q1 = vld1q_s8(a->q + 16);
		for (int p = 0; p < P; p++) {
			int32x4_t zero = vdupq_n_s32(0), first = zero;
			first = DOT_STEP(first, w[p][0], q0, 0);
			first = DOT_STEP(first, w[p][1], q0, 1);
			first = DOT_STEP(first, w[p][2], q0, 2);
			first = DOT_STEP(first, w[p][3], q0, 3);
			int32x4_t second = by16 ? zero : first;
			second = DOT_STEP(second, w[p][4], q1, 0);
			second = DOT_STEP(second, w[p][5], q1, 1);
			second = DOT_STEP(second, w[p][6], q1, 2);
			second = DOT_STEP(second, w[p][7], q1, 3);
			add_token(acc + p * acc_stride + 4 * t, first, second, a, scale[p], min[p], by16, has_min);
		}
	}
#endif
}

#define GEMM(name, by16, has_min)                                                                                            \
	static void gemm_##name(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc,  \
	                        size_t acc_stride)                                                                           \
	{                                                                                                                    \
		size_t p = 0;                                                                                                \
		for (; p + 2 <= n_panels; p += 2)                                                                            \
			for (size_t g = 0; g < n / 32; g++)                                                                  \
				gemm_group(panels + p, 2, g, acts, acc + p * acc_stride, acc_stride, by16, has_min);         \
		if (p < n_panels)                                                                                            \
			for (size_t g = 0; g < n / 32; g++)                                                                  \
				gemm_group(panels + p, 1, g, acts, acc + p * acc_stride, acc_stride, by16, has_min);         \
	}
GEMM(min, 0, 1)
GEMM(min16, 1, 1)
GEMM(plain, 0, 0)

static const char zeros[8 * 34]; /* a chunk of any type: what rows past the end of the matrix read */

INLINE void unpack(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n, codes_fn codes,
                   scales_fn scales, const bool by16)
{
	const char *row[4];
	float s[4][16] = {0}, m[4][16] = {0};
	for (size_t r = 0; r < 4; r++) {
		row[r] = r < n_rows ? (const char *)block + r * row_bytes : zeros;
		scales(row[r], (int)(n / 32), s[r], m[r]);
	}
	for (size_t g = 0; g < (by16 ? 16 : 8); g += 4) {
		vst4q_f32(panel->scale + 4 * g, ((float32x4x4_t){{vld1q_f32(s[0] + g), vld1q_f32(s[1] + g), vld1q_f32(s[2] + g),
		                                                  vld1q_f32(s[3] + g)}}));
		vst4q_f32(panel->min + 4 * g, ((float32x4x4_t){{vld1q_f32(m[0] + g), vld1q_f32(m[1] + g), vld1q_f32(m[2] + g),
		                                                vld1q_f32(m[3] + g)}}));
	}
	for (int g = 0; g < (int)(n / 32); g++) {
		codes32 c[4];
		for (int r = 0; r < 4; r++)
			c[r] = codes(row[r], g);
#ifdef NEON_MMLA
		int8_t *to = (int8_t *)panel->codes + 128 * g;
		for (int pair = 0; pair < 2; pair++, to += 64) {
			vst1q_s8(to, zip_low(c[2 * pair].low, c[2 * pair + 1].low));
			vst1q_s8(to + 16, zip_high(c[2 * pair].low, c[2 * pair + 1].low));
			vst1q_s8(to + 32, zip_low(c[2 * pair].high, c[2 * pair + 1].high));
			vst1q_s8(to + 48, zip_high(c[2 * pair].high, c[2 * pair + 1].high));
		}
#else
#define WORDS(part) {{vreinterpretq_s32_s8(c[0].part), vreinterpretq_s32_s8(c[1].part), vreinterpretq_s32_s8(c[2].part), \
                      vreinterpretq_s32_s8(c[3].part)}}
		vst4q_s32((int32_t *)(void *)(panel->codes + 128 * g), ((int32x4x4_t)WORDS(low)));
		vst4q_s32((int32_t *)(void *)(panel->codes + 128 * g + 64), ((int32x4x4_t)WORDS(high)));
#undef WORDS
#endif
	}
}

INLINE void gemv(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const char *a, size_t a_stride, float *y,
                 size_t chunk_bytes, codes_fn codes, scales_fn scales, const bool by16, const bool has_min)
{
	for (size_t r = 0; r < n_rows; r++) {
		const char *chunk = (const char *)w + r * row_bytes, *at = a;
		float32x4_t sum = vdupq_n_f32(0), mins = sum;
		for (size_t c = 0; c < cols; c += 256, chunk += chunk_bytes, at += a_stride) {
			const hth_a8 *x = (const hth_a8 *)at;
			int n = (int)(HTH_MIN(cols - c, (size_t)256) / 32);
			float s[16] = {0}, m[16] = {0};
			for (size_t p = 0; p < chunk_bytes; p += 64)
				__builtin_prefetch(chunk + HTH_AHEAD + p);
			scales(chunk, n, s, m);
			for (int g = 0; g < n; g++) {
				codes32 v = codes(chunk, g);
				int8x16_t q0 = vld1q_s8(x->q + 32 * g), q1 = vld1q_s8(x->q + 32 * g + 16);
				int32x4_t zero = vdupq_n_s32(0);
				if (by16) {
					sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot16(zero, v.low, q0)), s[2 * g] * x->d[g]);
					sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot16(zero, v.high, q1)), s[2 * g + 1] * x->d[g]);
				} else {
					sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot16(dot16(zero, v.low, q0), v.high, q1)), s[g] * x->d[g]);
				}
			}
			if (has_min)
				for (int g = 0; g < (by16 ? 16 : 8); g += 4)
					mins = vfmaq_f32(mins, vld1q_f32(m + g), vld1q_f32((by16 ? x->s16 : x->s32) + g));
		}
		y[r] = vaddvq_f32(vaddq_f32(sum, mins));
	}
}

#define NEON_TYPE(name, blocks_per_chunk, by16, has_min)                                                                  \
	static void unpack_##name(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n)        \
	{                                                                                                                 \
		unpack(panel, block, row_bytes, n_rows, n, codes_##name, scales_##name, by16);                            \
	}                                                                                                                 \
	static void gemv_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const char *a, size_t a_stride, \
	                        float *y)                                                                                 \
	{                                                                                                                 \
		gemv(w, row_bytes, n_rows, cols, a, a_stride, y, (blocks_per_chunk) * sizeof(hth_block_##name),          \
		     codes_##name, scales_##name, by16, has_min);                                                         \
	}
NEON_TYPE(q4_0, 8, false, true)
NEON_TYPE(q4_1, 8, false, true)
NEON_TYPE(q5_0, 8, false, true)
NEON_TYPE(q5_1, 8, false, true)
NEON_TYPE(q8_0, 8, false, false)
NEON_TYPE(iq4_nl, 8, false, false)
NEON_TYPE(mxfp4, 8, false, true)
NEON_TYPE(q2_k, 1, true, true)
NEON_TYPE(q3_k, 1, true, true)
NEON_TYPE(q4_k, 1, false, true)
NEON_TYPE(q5_k, 1, false, true)
NEON_TYPE(q6_k, 1, true, true)
NEON_TYPE(iq4_xs, 1, false, false)

#ifdef NEON_MMLA
#define OWN_PANEL true
#else
#define OWN_PANEL false
#endif
#define CODES(name, kind) {.unpack = unpack_##name, .gemm = gemm_##kind, .own_panel = OWN_PANEL, .gemv = gemv_##name}
#define NEON_CODE_TYPES                                                                                                   \
	[HTH_Q4_0] = CODES(q4_0, min), [HTH_Q4_1] = CODES(q4_1, min), [HTH_Q5_0] = CODES(q5_0, min),                     \
	[HTH_Q5_1] = CODES(q5_1, min), [HTH_Q8_0] = CODES(q8_0, plain), [HTH_Q2_K] = CODES(q2_k, min16),                 \
	[HTH_Q3_K] = CODES(q3_k, min16), [HTH_Q4_K] = CODES(q4_k, min), [HTH_Q5_K] = CODES(q5_k, min),                   \
	[HTH_Q6_K] = CODES(q6_k, min16), [HTH_IQ4_NL] = CODES(iq4_nl, plain), [HTH_IQ4_XS] = CODES(iq4_xs, plain),       \
	[HTH_MXFP4] = CODES(mxfp4, min)

/* For measure.c: eight chains of an instruction that does `macs` multiply-adds. */
#define NEON_MAC_LOOP(instruction, macs)                                                                                   \
	static uint64_t mac_codes(size_t rounds)                                                                           \
	{                                                                                                                  \
		int32x4_t z = vdupq_n_s32(0), s0 = z, s1 = z, s2 = z, s3 = z, s4 = z, s5 = z, s6 = z, s7 = z;              \
		int8x16_t w = vdupq_n_s8(0), a = w;                                                                        \
		for (size_t k = 0; k < rounds; k++)                                                                        \
			__asm__ volatile(instruction " %0.4s, %8.16b, %9.16b\n\t" instruction " %1.4s, %8.16b, %9.16b\n\t" \
			                 instruction " %2.4s, %8.16b, %9.16b\n\t" instruction " %3.4s, %8.16b, %9.16b\n\t" \
			                 instruction " %4.4s, %8.16b, %9.16b\n\t" instruction " %5.4s, %8.16b, %9.16b\n\t" \
			                 instruction " %6.4s, %8.16b, %9.16b\n\t" instruction " %7.4s, %8.16b, %9.16b"     \
			                 : "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3), "+w"(s4), "+w"(s5), "+w"(s6), "+w"(s7)  \
			                 : "w"(w), "w"(a));                                                                \
		return rounds * 8 * (macs);                                                                                \
	}

/* The row of that name in the table. */
#define NEON_ROW(name, usable_if)                                                  \
	const hth_kernel_row hth_kernels_##name = {                                \
	    .vec = NEON_VEC(#name),                                                \
	    .usable = usable_if,                                                   \
	    .group_rows = NEON_ROWS,                                               \
	    .near_tokens = HTH_NEAR_TOKENS,                                        \
	    .float_rows = NEON_FLOAT_ROWS,                                         \
	    .quantize_acts = hth_neon_quantize_acts,                               \
	    .gemm_float = hth_neon_gemm_float,                                     \
	    .read_bytes = hth_neon_read_bytes,                                     \
	    .mac_peak = {mac_codes, mac_codes, hth_neon_mac_float, hth_neon_mac_float}, \
	    .types = {NEON_FLOAT_TYPES, NEON_CODE_TYPES},                          \
	}
