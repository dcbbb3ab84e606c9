/* kernels.h - the arithmetic: one table of functions per instruction set, chosen once at start.
 *
 * kernels-c.c is the reference; every other row of the table is tested against it at odd sizes. Callers use the
 * operations below and never see which row runs.
 */
#ifndef HTH_ENGINE_KERNELS_H
#define HTH_ENGINE_KERNELS_H

#include "engine/kernels/threads.h"
#include "engine/quant/quant.h"

/* A weight matrix of `rows` rows of `cols` values, row-major in GGUF's layout: y[t][r] = sum_c w[r][c] x[t][c].
 * hth_matrix_init checks that the type can be computed with and cols fits its blocks. Data is borrowed. Kernels read it
 * as it lies in the file, tile by tile through each worker's scratch; `packed` is for a row that wants a copy of its own
 * (none does at present: see kernels.c), and is freed by finish. */
typedef struct hth_matrix {
	hth_type type;
	size_t rows, cols;
	size_t row_bytes;
	const void *data;
	void *packed; /* NULL: use data as it is */
} hth_matrix;
HTH_MUST_USE hth_status hth_matrix_init(hth_matrix *matrix, hth_type type, size_t rows, size_t cols, const void *data,
                                        hth_error *err);
void hth_matrix_finish(hth_matrix *matrix);
/* Whether weights of this type can be multiplied (every type whose traits dequantise can, some slowly). */
bool hth_matrix_can_multiply(hth_type type);

/* Activations of n_tokens x cols floats, with the integer forms that weight types want, made lazily once and shared by
 * all matrices that read them. Created once with the largest shape, then set for each use: no allocation after create. */
typedef struct hth_acts hth_acts;
/* one_in: products select one in so many of the tokens, about (a mixture's experts), and where those are few they go through the kernels
 * for few; 1: they take all. */
HTH_MUST_USE hth_status hth_acts_create(hth_acts **ret_acts, size_t max_tokens, size_t max_cols, size_t one_in, hth_error *err);
void hth_acts_destroy(hth_acts *acts);
uint64_t hth_acts_plan_bytes(size_t max_tokens, size_t max_cols, size_t one_in); /* what create allocates */
/* x is borrowed until the next set: n_tokens rows of cols floats, x_stride floats apart. */
void hth_acts_set(hth_acts *acts, const float *x, size_t x_stride, size_t n_tokens, size_t cols);
/* The same with what gates: x is act(gate) * up, which is computed on the way to the 8-bit form, so only for matrices that read that
 * (hth_reads_gated). n_tokens rows of cols floats, each after the last. */
typedef void hth_gate_fn(float *y, const float *gate, const float *up, size_t n); /* of hth_vec_ops */
bool hth_reads_gated(const hth_matrix *reader);
void hth_acts_set_gated(hth_acts *acts, const float *gate, const float *up, hth_gate_fn *act, size_t n_tokens, size_t cols);

/* One product. When `select` is not NULL, only the n_select activation rows it lists are multiplied and y has n_select
 * rows (mixture of experts: each expert multiplies the tokens routed to it). y is written, y_stride floats apart. */
typedef struct hth_matmul {
	const hth_matrix *w;
	hth_acts *x;
	const uint32_t *select;
	size_t n_select;
	float *y;
	size_t y_stride;
} hth_matmul;
/* Runs several independent products as one piece of parallel work (q, k and v; gate and up; all experts). */
void hth_matmul_run(hth_threads *threads, const hth_matmul *jobs, size_t n_jobs);

/* Makes the integer forms of activations that these products read; else hth_matmul_run does. */
void hth_matmul_prepare(hth_threads *threads, const hth_matmul *jobs, size_t n_jobs);

/* Where in these matrices (at most 4, some of which may be empty) each worker begins when a few tokens are multiplied by them in one run:
 * ret_at[worker], NULL where that is nowhere; as many as the pool has. */
void hth_matmul_begins(const hth_threads *threads, const hth_matrix *const *matrices, size_t n, const void **ret_at);

/* Two matrices of one shape that read the same activations, one gating the other: `into` becomes act(gate . x) * (up . x), in the integer
 * form alone that its reader reads (hth_gated_fits). It has room for x's tokens by up's rows. */
typedef struct hth_gated {
	const hth_matrix *up, *gate;
	hth_acts *x, *into;
	hth_gate_fn *act;
} hth_gated;
/* Whether these two can be computed so for that reader. */
bool hth_gated_fits(const hth_matrix *up, const hth_matrix *gate, const hth_matrix *reader);
/* False, and nothing is multiplied, where tokens are so few that products apart are the faster way, or where F16 finds the
 * activations in the form of codes. */
HTH_MUST_USE bool hth_matmul_gated(hth_threads *threads, const hth_gated *gated);

/* Up to so many tokens at once, the product of each is to the last bit what it is alone: 1 where one token has a kernel of its own. */
size_t hth_matrix_exact_tokens(const hth_matrix *matrix);

/* Vector operations, single-threaded, any n. */
typedef struct hth_vec_ops {
	const char *name; /* "c", "avx2", "avx512", "neon" */
	float (*dot_f32)(const float *a, const float *b, size_t n);
	float (*dot_f16)(const float *a, const uint16_t *b, size_t n); /* b is F16: the K half of a KV cache */
	void (*axpy_f32)(float *y, const float *x, float a, size_t n); /* y += a x */
	void (*axpy_f16)(float *y, const uint16_t *x, float a, size_t n);
	void (*f32_to_f16)(uint16_t *y, const float *x, size_t n);
	void (*rms_norm)(float *y, const float *x, const float *weight, float eps, size_t n); /* weight NULL: ones; y may be x */
	float (*softmax)(float *x, size_t n); /* in place, subtracting the maximum; returns log of the sum of exp(x) */
	void (*silu_mul)(float *y, const float *gate, const float *up, size_t n); /* y = silu(gate) * up */
	void (*gelu_mul)(float *y, const float *gate, const float *up, size_t n); /* tanh form of GELU */
	void (*gelu_erf_mul)(float *y, const float *gate, const float *up, size_t n); /* GELU itself */
	void (*soft_cap)(float *x, float cap, size_t n); /* x = cap * tanh(x / cap) */
} hth_vec_ops;
const hth_vec_ops *hth_vec(void); /* the row in use */

/* The table's rows that this CPU can run, best last; NULL-terminated names. Tests and `HEARTH_KERNELS=c` pick one: the
 * choice is made at the first use of any kernel, or here, and must not change while a computation runs. */
const char *const *hth_kernels_available(void);
HTH_MUST_USE hth_status hth_kernels_select(const char *name, hth_error *err);
const char *hth_kernels_name(void);
/* Whether what a loop reads next is best asked for into this processor's first-level cache; else into the second. */
bool hth_kernels_ask_near(void);
/* Asks for the line at `line`, there. */
__attribute__((always_inline)) static inline void hth_ask_for(const char *line, bool near)
{
	enum { SECOND_LEVEL = 2 };
	if (near)
		__builtin_prefetch(line);
	else
		__builtin_prefetch(line, 0, SECOND_LEVEL);
}

#endif
