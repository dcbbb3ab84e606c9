/* attend.h - the inner loop of attention: a few query rows against one page of keys and values. Internal to this
 * folder.
 *
 * One table row per instruction set (attend-c.c, -avx2, -avx512, -neon), each of them attend-body.inc compiled with
 * that set's flags; hth_attend_ops() follows the choice that engine/kernels made. The C row is the reference.
 */
#ifndef HTH_ENGINE_MODEL_ATTEND_H
#define HTH_ENGINE_MODEL_ATTEND_H

#include "engine/model/kv-pages.h"

enum { HTH_ATTEND_PAD = 32 }; /* rows of values and sums are padded to a multiple of this many floats */

/* The state of m query rows that walk a sequence's pages together: acc = sum of exp(s - max) v, sum = sums of exp(s - max), one for each
 * column of a page. max is near the largest score so far: none lies more than a few above it. */
typedef struct hth_attend {
	size_t m, dim, pad;     /* pad: dim rounded up to HTH_ATTEND_PAD */
	const float *q;         /* m x dim, already times the attention scale */
	float *acc;             /* m x pad */
	float *max;             /* m */
	float *sum;             /* m x HTH_KV_PAGE */
	const uint8_t *lo, *hi; /* m: each row sees tokens [lo, hi) of this page; lo >= hi: none */
	uint8_t first, end;     /* the widest of them: no other token is read */
	float softcap;          /* 0: none */
	const void *next_k, *next_v; /* these tiles are asked for bit by bit meanwhile; NULL: none follows */
	size_t next_size;            /* bytes of one of their numbers */
	bool next_near;              /* asked for into the first-level cache (hth_kernels_ask_near) */
} hth_attend;

typedef struct hth_attend_ops_row {
	const char *name;
	size_t rows; /* query rows that share one reading of a tile */
	size_t rows_of_halves; /* with more rows, widening a tile once and then `page` is the faster way */
	/* k: dim x 32 (a token per column), v: 32 x pad (a token per row, its padding zero). */
	void (*page)(const hth_attend *a, const float *k, const float *v);
	/* Widened as they are read; v has no padding, and is read HTH_ATTEND_PAD - 1 numbers past its end. */
	void (*page_f16)(const hth_attend *a, const uint16_t *k, const uint16_t *v);
	void (*widen_f16)(float *dst, const uint16_t *src, size_t n);                /* n: a multiple of 16 */
	void (*widen_i8)(float *dst, const int8_t *src, const float *scale,
	                 size_t n); /* dst[i] = src[i] * scale[i], n: of 16 */
	void (*widen_i8_by)(float *dst, const int8_t *src, float scale, size_t n); /* one scale */
} hth_attend_ops_row;

extern const hth_attend_ops_row hth_attend_c, hth_attend_avx2, hth_attend_avx512, hth_attend_neon;

/* The row in use. */
const hth_attend_ops_row *hth_attend_ops(void);
/* The row of that name, NULL where this build or processor has none: for tests. */
const hth_attend_ops_row *hth_attend_find(const char *name);

#endif
