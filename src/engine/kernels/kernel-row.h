/* kernel-row.h - what one instruction set brings: a row of the table. Internal to this folder.
 *
 * Two families of weights:
 *   float: F32, F16, BF16, and every type that can only be dequantised. Activations stay F32, sums are F32. F16 and BF16 by many tokens
 *     are multiplied in fixed point by the rows that have it: see hth_fixed_line.
 *   codes: the quantised types that are multiplied as integers. A weight is x = s * code + m, with s and m shared by a
 *     group of 16 or 32 columns and code a small integer; activations are 8-bit with a scale per 32 columns (hth_a8).
 *     sum(x * a) = s * d * sum(code * q) + m * d * sum(q), and the sums in it are exact integers.
 *
 * Two shapes of work:
 *   gemv, few: rows of weights by one token or a few, straight from the file's layout. Bound by reading the weights.
 *   gemm: a panel (some rows by up to 256 columns) is unpacked once, into the order that the multiplying loop wants,
 *     and used for many tokens. The panel lives in the worker's scratch, in cache, and never in memory of its own.
 */
#ifndef HTH_ENGINE_KERNEL_ROW_H
#define HTH_ENGINE_KERNEL_ROW_H

#include "engine/kernels/kernels.h"
#include "engine/kernels/measure.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

enum { HTH_A8_COLS = 256, HTH_PANEL_STEP = 4 };
/* So many tokens go to most rows' gemm at once (near_tokens), which have room for as many, and so far ahead every row asks for lines. */
enum { HTH_NEAR_TOKENS = 32 };
/* How far ahead of itself a loop that streams weights asks for them: two pages, since the processor's own prefetching stops at
 * the end of each (measured on Zen 5: 2 KiB gives 0.75 of the read bandwidth, 4 KiB 0.84, 8 KiB 0.95, 16 KiB the same). */
enum { HTH_AHEAD = 8192 };
/* And each page's first line so much earlier still, so that the page's address has been looked up when its other lines are asked for
 * (Zen 5, one thread, pages of 4 KiB: all types go from 0.88 to 0.91 of the read bandwidth to 0.94 to 1.0; two tokens together are 10 to
 * 40% faster; four and more, which wait for products, up to 5% slower). */
enum { HTH_PAGE_AHEAD = 12288 };

/* Whether weights are asked for into the first-level cache, not into the second: set with the row, from what the processor is
 * (hth_cpu_asks_near). A line asked into the first level takes one of that cache's few places for misses until memory has answered; with
 * two pages of them under way a Zen 4 has none left for what a loop needs now (docs/kernels.md). */
extern atomic_bool hth_asks_near;
static inline bool hth_near(void) { return atomic_load_explicit(&hth_asks_near, memory_order_relaxed); }

/* Asks for `bytes` bytes (a constant) that a loop over rows as they lie comes to `ahead` bytes after those at `at`. near: as
 * hth_near says; one token's loops are compiled for either, since a branch in them costs up to a tenth. */
__attribute__((always_inline)) static inline void hth_ask_lines_ahead(const char *at, size_t bytes, size_t ahead, const bool near)
{
	if (near) { /* once, not for each line */
#pragma GCC unroll 11
		for (size_t p = 0; p < bytes; p += 64)
			hth_ask_for(at + ahead + p, true);
	} else {
#pragma GCC unroll 11
		for (size_t p = 0; p < bytes; p += 64)
			hth_ask_for(at + ahead + p, false);
	}
}
/* And for their pages' addresses. */
__attribute__((always_inline)) static inline void hth_ask_ahead(const char *at, size_t bytes, size_t ahead, const bool near)
{
	/* Again and again: a branch would be foreseen wrong. */
	__builtin_prefetch((const char *)((uintptr_t)(at + ahead + HTH_PAGE_AHEAD) & ~(uintptr_t)4095));
	hth_ask_lines_ahead(at, bytes, ahead, near);
}

/* 8-bit activations: q = round(x / d) to nearest even, d = max |x| * (1 / 127) in each group of 32 columns; columns past the end of
 * the row are zero, and d = 0 where all are. They are kept in two forms.
 *
 * For gemm, one cache line per group of 32 and token: the lines of all tokens of a group lie side by side. */
typedef struct hth_a8_line {
	_Alignas(64) int8_t q[32]; /* -127 to 127 */
	float d;
	float s32;            /* d * sum of the 32 q */
	float s16[2];         /* d * sum of 16 q */
	int32_t n16[2];       /* -128 * sum of 16 q, for kernels that offset signed codes by 128 */
	int16_t minus[2][2];  /* of each 16: -(sum of q of columns 0 and 1 of every four), and of 2 and 3 */
} hth_a8_line;
static_assert(sizeof(hth_a8_line) == 64, "a cache line");

/* Fixed point, for F16 and BF16 weights by many tokens: both sides become integers of 14 bits, with a scale for 32 columns (block floating
 * point): q = round(x / d) to nearest even, d = max |x| / 8191, columns past the end of the row zero. sum(x * w) of 32 columns is then
 * d * d' * sum(q * q'), at most 32 * 8191 * 8191 < 2^31, so exact; and 16-bit integers are multiplied in half the time of floats. What
 * rounding costs is what rounding to F16 costs: a step is 1/8191 of the largest of 32, where F16's is 1/2048 to 1/1024 of each value.
 * Groups with nothing as large as HTH_FIXED_LEAST (a line of zeros, where 1 / d would be no number) are zero.
 * In which order q has the columns of the group is the row's to choose, as long as weights have the same. */
enum { HTH_FIXED_MAX = 8191 };
#define HTH_FIXED_LEAST 1e-30f
typedef struct hth_fixed_line {
	int16_t q[32];
	float d;
} hth_fixed_line;

/* For gemv, 256 columns of one token. s32 follows d: 16 floats for one load. */
typedef struct hth_a8 {
	_Alignas(64) int8_t q[256];
	float d[8];
	float s32[8];
	float s16[16];
	int32_t unused[32];
} hth_a8;
/* For `few`, which takes a few tokens at once, in the order that its rows of weights are read in: columns of a group side by side in a
 * lane.
 *
 * In 16 lanes, 512 columns, a group of 32 each: q[k], bytes 4 l to 4 l + 3 are columns 4 k to 4 k + 3 of lane l's group, which is the
 * kernels' to choose (avx512-lanes.h); d, s32 and the sum of n16 of each. 11 cache lines: tokens side by side fall into different sets of a
 * cache. */
typedef struct hth_a8_lanes {
	_Alignas(64) int8_t q[8][64];
	float d[16], s[16];
	int32_t n[16];
} hth_a8_lanes;
/* One token alone, for types whose bytes hold two groups (nibbles of Q4_K), low and high ones: pair[j] and pair[4 + j] are what words j and
 * 4 + j of low and of high groups meet, in quarters 0 and 2 of the vector, and 1 and 3. d16: d, a sixteenth of it for high groups. */
typedef struct hth_a8_one {
	_Alignas(64) int8_t pair[8][64];
	float d[16], s[16], d16[16];
} hth_a8_one;
/* The same of 256 columns and groups of 16, in order: s16 and n16. */
typedef struct hth_a8_lanes16 {
	_Alignas(64) int8_t q[4][64];
	float d[16], s[16];
	int32_t n[16];
} hth_a8_lanes16;
/* And 256 columns in groups of 32: q[k], bytes 4 g to 4 g + 3 are columns 32 g + 4 k to 32 g + 4 k + 3; minus and n16 as in the lines,
 * halves apart. */
typedef struct hth_a8_groups {
	_Alignas(64) int8_t q[8][32];
	float d[8], s32[8], s16[16];
	int16_t minus[2][8][2];
	int32_t n16[2][8];
} hth_a8_groups;
/* One token alone in 256-bit vectors, 256 columns: halves[2 i] and halves[2 i + 1]: columns 0 to 15 of groups i and 4 + i, and 16 to 31;
 * minus or n16 as in the lines, halves apart; sizes: the halves without their signs. */
typedef struct hth_a8_alone {
	_Alignas(64) int8_t halves[8][32];
	float d[8], s32[8];
	union {
		int16_t minus[2][8][2];
		int32_t n16[2][8]; /* for vpdpbusd, which needs no sizes */
	};
	int8_t sizes[8][32];
} hth_a8_alone;
enum { HTH_ARRANGED_MAX = 640 }; /* bytes for 256 columns */
static_assert(sizeof(hth_a8) <= HTH_ARRANGED_MAX && sizeof(hth_a8_alone) <= HTH_ARRANGED_MAX &&
              sizeof(hth_a8_one) <= 2 * HTH_ARRANGED_MAX && sizeof(hth_a8_lanes16) <= HTH_ARRANGED_MAX &&
                  sizeof(hth_a8_groups) <= HTH_ARRANGED_MAX,
              "any fits acts.h's room");

/* Whether the type is multiplied as codes, and whether its groups are of 16 columns (else 32). */
bool hth_type_has_codes(hth_type type);
bool hth_type_by_16(hth_type type);

/* One group of G rows (kernel row's group_rows) by 256 columns, unpacked. As the portable unpacker leaves it:
 * code of row r, column c (of the chunk): codes[((c / 4) * G + r) * 4 + c % 4];
 * scale and minimum of row r and group g: scale[g * G + r], min[g * G + r]. Rows past the matrix's end hold anything.
 * Codes may have an offset of the type's own instead of a minimum; own_panel types keep panels in another form altogether. */
enum { HTH_GROUP_ROWS_MAX = 16 };
typedef struct hth_panel {
	_Alignas(64) uint8_t codes[2 * HTH_A8_COLS * HTH_GROUP_ROWS_MAX]; /* codes of 16 bits fill it */
	float scale[16 * HTH_GROUP_ROWS_MAX];
	float min[16 * HTH_GROUP_ROWS_MAX];
	float unused[80];
} hth_panel;

/* `block` points to the first row's chunk of n columns (n = 256, or what is left: a multiple of 32). */
typedef void (*hth_unpack_fn)(hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows, size_t n);
/* What a gemm reads of the activations: the hth_a8_line (of fixed point hth_fixed_line) of group g and token t is at
 * lines + g * group_stride + offset[t]. */
typedef struct hth_gemm_acts {
	const char *lines;
	size_t group_stride;
	const uint32_t *offset;
	size_t n_tokens;
} hth_gemm_acts;
/* acc[p * acc_stride + t * G + r] += row r of panel p . token t, over n columns. At most the row's near_tokens tokens. */
typedef void (*hth_gemm_fn)(const hth_panel *panels, size_t n_panels, size_t n, const hth_gemm_acts *acts, float *acc,
                            size_t acc_stride);
/* y[r] = row r . the token whose hth_a8 are at a, a_stride bytes apart. */
typedef void (*hth_gemv_fn)(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const char *a, size_t a_stride,
                            float *y);

/* How activations are arranged: `cols` columns (256 or 512) together, in `bytes`. From the lines, `stride` bytes apart, of the n_groups
 * <= cols / 32 groups of one token. */
typedef struct hth_arrangement {
	unsigned cols, bytes;
	void (*arrange)(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups);
} hth_arrangement;

/* y[t * y_stride + r] = row r . token t, each token's first arranged columns at acts + offset[t], the next ones block_stride further. Any
 * number of tokens; made for a few. */
typedef struct hth_few {
	const void *w;
	size_t row_bytes, n_rows, cols;
	const char *acts;
	size_t block_stride;
	const uint32_t *offset;
	size_t n_tokens;
	float *y;
	size_t y_stride;
} hth_few;
typedef void (*hth_few_fn)(const hth_few *job);

enum { HTH_FLOAT_ROWS_MAX = 32 };
/* The float family. Panel: value of row r, column c at panel[c * G + r], G = float_rows. */
typedef void (*hth_unpack_float_fn)(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n);
typedef void (*hth_gemm_float_fn)(const float *panel, size_t n, const float *const *x, size_t n_tokens, float *acc);
typedef void (*hth_gemv_float_fn)(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y);
/* A few tokens at once, straight from the file's layout: y[t * y_stride + r] = row r . x[t]. */
typedef void (*hth_few_float_fn)(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *const *x, size_t n_tokens,
                                 float *y, size_t y_stride);

typedef struct hth_kernel_type {
	/* codes: every row of the table brings unpack and gemm for every such type, and gemv or few for all of them, or neither: one token
	 * takes gemm then too */
	hth_unpack_fn unpack;
	hth_gemm_fn gemm;
	bool own_panel; /* unpack leaves a form of its own, which only gemm knows */
	hth_gemv_fn gemv;
	hth_few_fn one; /* in place of few where activations are of one token, arranged as the row's one_acts; NULL: few serves it */
	hth_few_fn few; /* in place of gemm for one token and a few */
	/* floats. unpack and gemm: in fixed point, where not NULL; n may then be no multiple of 32. The others: NULL means the portable
	 * ones over the type's dequantiser (kernels.c), and that a few tokens take gemm */
	hth_unpack_float_fn unpack_float;
	hth_gemv_float_fn gemv_float;
	hth_few_float_fn few_float;
} hth_kernel_type;

typedef struct hth_kernel_row {
	hth_vec_ops vec;
	bool (*usable)(void);
	unsigned group_rows, float_rows;
	unsigned near_tokens; /* at most so many go to a gemm at once, which asks for the lines of those HTH_NEAR_TOKENS ahead */
	unsigned few_tokens; /* up to so many tokens (<= 32) go through `few` where a type has one */
	unsigned few_tokens_halves; /* where the processor does the row's vectors in halves (hth_cpu_halves_vectors); 0: as many */
	unsigned few_tokens_fixed; /* of types that go in fixed point with more */
	/* n <= 256 floats to ceil(n / 32) lines, `stride` bytes apart. */
	void (*quantize_acts)(hth_a8_line *dst, size_t stride, const float *x, size_t n);
	void (*fix_acts)(hth_fixed_line *dst, size_t stride, const float *x, size_t n); /* where any type has fixed point */
	/* For few, by whether a type's groups are of 32 or of 16; both may be the same. NULL: no type has few. (gemv has hth_a8.) */
	const hth_arrangement *few_acts[2];
	const hth_arrangement *one_acts; /* where activations are of one token alone, for types with `one` */
	hth_gemm_float_fn gemm_float;
	/* For measure.c. A sum over n bytes (a multiple of 256) read as fast as can be; and a loop of multiply-adds on
	 * registers, which returns how many it did. */
	uint64_t (*read_bytes)(const void *p, size_t n);
	uint64_t (*mac_peak[HTH_MAC_KINDS])(size_t rounds);
	hth_kernel_type types[HTH_TYPE_LIMIT];
} hth_kernel_row;

/* MXFP4's scale with the factor of the doubled values taken out: 2^(e - 128); e = 0 and 1 give subnormals. */
static inline float e8m0_half(uint8_t e)
{
	uint32_t bits = e >= 2 ? (uint32_t)(e - 1) << 23 : 0x200000u << e;
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

extern const hth_kernel_row hth_kernels_c;
#ifdef HTH_HAVE_AVX2
extern const hth_kernel_row hth_kernels_avx2, hth_kernels_avx2vnni;
#endif
#ifdef HTH_HAVE_AVX512
extern const hth_kernel_row hth_kernels_avx512;
#endif
#ifdef HTH_HAVE_NEON
extern const hth_kernel_row hth_kernels_neon, hth_kernels_neondot, hth_kernels_neoni8mm;
#endif

/* The row in use. */
const hth_kernel_row *hth_kernels_row(void);

/* The portable reading of one row's chunk of n <= 256 columns (n a multiple of 32): a code per column as a signed byte,
 * and per 16 columns (whatever the type's own group) scale and minimum. Every unpacker is tested against it. */
void hth_codes_read(hth_type type, const void *block, size_t n, int8_t codes[256], float scale[16], float min[16]);
void hth_codes_unpack(hth_type type, size_t group_rows, hth_panel *panel, const void *block, size_t row_bytes, size_t n_rows,
                      size_t n);

#endif
