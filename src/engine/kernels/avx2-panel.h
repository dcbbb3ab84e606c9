/* avx2-panel.h - the codes of 8 rows, as they lie in the file, to a panel, for the rows with 256-bit vectors: a step of a group is 4
 * columns of 8 rows, a 32-bit lane each.
 *
 * Transposing is most of the work, so it is done while bytes still hold the codes of two groups or more: parting them works on each byte by
 * itself, and does not mind where it lies. A matrix in Q4_K is transposed half as often as its codes would be, one in Q2_K a quarter.
 */
#ifndef HTH_ENGINE_AVX2_PANEL_H
#define HTH_ENGINE_AVX2_PANEL_H

#include "engine/kernels/avx2-codes.h"
#include "engine/kernels/avx2.h"

/* A chunk of any type, all zero: what rows past the end of the matrix read. */
static const char zeros[8 * sizeof(hth_block_q8_0)];

/* Where a step's codes go; `how` is its gemm's. */
typedef void (*put_fn)(hth_panel *panel, int g, int step, __m256i codes, const int how);
/* Groups 0 to n_groups - 1 of 8 rows' chunks. */
typedef void (*put_codes_fn)(hth_panel *panel, const char *const row[8], int n_groups, put_fn put, const int how);

INLINE void store_transposed(void *dst, __m256i r[8])
{
	transpose8(r);
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		_mm256_store_si256((__m256i *)dst + i, r[i]);
}

/* g is a constant in each. */
#define EACH_GROUP(n_groups, DO)                                                                             \
	do {                                                                                                 \
		if ((n_groups) > 0) DO(0);                                                                   \
		if ((n_groups) > 1) DO(1);                                                                   \
		if ((n_groups) > 2) DO(2);                                                                   \
		if ((n_groups) > 3) DO(3);                                                                   \
		if ((n_groups) > 4) DO(4);                                                                   \
		if ((n_groups) > 5) DO(5);                                                                   \
		if ((n_groups) > 6) DO(6);                                                                   \
		if ((n_groups) > 7) DO(7);                                                                   \
	} while (0)

INLINE void put_group(hth_panel *panel, const char *const row[8], int g, __m256i (*codes)(const char *chunk, int g), put_fn put,
                      const int how)
{
	__m256i c[8];
#pragma GCC unroll 8
	for (int r = 0; r < 8; r++)
		c[r] = codes(row[r], g);
	transpose8(c);
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++)
		put(panel, g, k, c[k], how);
}

INLINE void put_nibbles(hth_panel *panel, const char *const row[8], int g, const uint8_t *(*bytes)(const char *chunk, int g),
                        __m256i (*value)(__m256i nibbles), put_fn put, const int how)
{
	__m128i b[8];
	__m256i nibbles[8];
#pragma GCC unroll 8
	for (int r = 0; r < 8; r++)
		b[r] = load128(bytes(row[r], g));
	transpose_nibbles(nibbles, b);
#pragma GCC unroll 8
	for (int k = 0; k < 8; k++)
		put(panel, g, k, value(nibbles[k]), how);
}

/* A block of 256: n vectors of bytes, of which each step's lie side by side, parted for all groups. */
INLINE void put_bits(hth_panel *panel, const char *const row[8], const int n, const uint8_t *(*bits)(const char *chunk, int i),
                     __m256i (*part)(const __m256i *bits, int g), put_fn put, const int how)
{
	__m256i of_step[8][6];
#pragma GCC unroll 6
	for (int i = 0; i < n; i++) {
		__m256i b[8];
#pragma GCC unroll 8
		for (int r = 0; r < 8; r++)
			b[r] = load256(bits(row[r], i));
		transpose8(b);
#pragma GCC unroll 8
		for (int k = 0; k < 8; k++)
			of_step[k][i] = b[k];
	}
	for (int k = 0; k < 8; k++) {
#define PUT_PART(g) put(panel, g, k, part(of_step[k], g), how)
		EACH_GROUP(8, PUT_PART);
#undef PUT_PART
	}
}

#define PUT_GROUPS(name)                                                                                                    \
	INLINE void put_codes_##name(hth_panel *panel, const char *const row[8], int n_groups, put_fn put, const int how)    \
	{                                                                                                                   \
		EACH_GROUP(n_groups, PUT_##name);                                                                           \
	}
#define PUT_q8_0(g) put_group(panel, row, g, codes_q8_0, put, how)
#define PUT_q5_0(g) put_group(panel, row, g, codes_q5_0, put, how)
#define PUT_q5_1(g) put_group(panel, row, g, codes_q5_1, put, how)
#define PUT_q4_0(g) put_nibbles(panel, row, g, bytes_q4_0, value_q4_0, put, how)
#define PUT_q4_1(g) put_nibbles(panel, row, g, bytes_q4_1, value_q4_1, put, how)
#define PUT_iq4_nl(g) put_nibbles(panel, row, g, bytes_iq4_nl, value_iq4_nl, put, how)
#define PUT_mxfp4(g) put_nibbles(panel, row, g, bytes_mxfp4, value_mxfp4, put, how)
#define PUT_iq4_xs(g) put_nibbles(panel, row, g, bytes_iq4_xs, value_iq4_xs, put, how)
PUT_GROUPS(q8_0) PUT_GROUPS(q5_0) PUT_GROUPS(q5_1)
PUT_GROUPS(q4_0) PUT_GROUPS(q4_1) PUT_GROUPS(iq4_nl) PUT_GROUPS(mxfp4) PUT_GROUPS(iq4_xs)

#define PUT_BITS(name, n)                                                                                                   \
	INLINE void put_codes_##name(hth_panel *panel, const char *const row[8], int n_groups, put_fn put, const int how)    \
	{                                                                                                                   \
		(void)n_groups;                                                                                             \
		put_bits(panel, row, n, bits_##name, part_##name, put, how);                                                \
	}
PUT_BITS(q2_k, 2) PUT_BITS(q3_k, 3) PUT_BITS(q4_k, 4) PUT_BITS(q5_k, 5) PUT_BITS(q6_k, 6)

#endif
