/* kernels.c - choosing a row of the table, and cutting products into tasks for the pool.
 *
 * A product of a few tokens is cut into tiles of rows (about 16 KiB of weights each) that stream from memory through the
 * row's gemv or few. A product of more is cut into tiles of rows by blocks of tokens; a task goes along the columns in chunks
 * of 256: it unpacks the tile's weights for the chunk into the worker's scratch (they then sit in the first-level cache),
 * and multiplies them with all tokens of the block, as many at a time as the row likes to have close, and asks between them for the rows'
 * next chunk:
 *
 *             256 columns                            scratch of a worker
 *          +-------------+---- ...        +--------------------+----------------------+
 *   rows   | group of G  |                | panels, one per    | acc[group][token][G] |
 *   of a   +-------------+                | group of G rows    | floats               |
 *   tile   | group of G  |   unpack  ->   +--------------------+----------------------+
 *          +-------------+---- ...
 *
 * Because a panel is used for up to 512 tokens, unpacking costs a few percent, and weights need no second, repacked copy:
 * a model is ready as soon as it is mapped.
 *
 * A gated pair of matrices (hth_matmul_gated) is cut in the same way; a task computes a tile of each, and leaves the gated values as the
 * lines of integers that the next matrix reads: the two products of floats never go to memory and back.
 */
#include "engine/kernels/acts.h"
#include "engine/kernels/cpu.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdio.h>

/* ---- the table ---- */

/* Best last. */
static const hth_kernel_row *const rows[] = {
    &hth_kernels_c,
#ifdef HTH_HAVE_NEON
    &hth_kernels_neon,
    &hth_kernels_neondot,
    &hth_kernels_neoni8mm,
#endif
#ifdef HTH_HAVE_AVX2
    &hth_kernels_avx2,
    &hth_kernels_avx2vnni,
#endif
#ifdef HTH_HAVE_AVX512
    &hth_kernels_avx512,
#endif
};

static _Atomic(const hth_kernel_row *) chosen;
atomic_bool hth_asks_near;
static atomic_uint few_tokens; /* of the chosen row, on this processor */

/* Its place in the table; HTH_COUNT(rows): this CPU has none of that name. */
static size_t find_row(const char *name)
{
	size_t i = 0;
	while (i < HTH_COUNT(rows) && (strcmp(rows[i]->vec.name, name) != 0 || !rows[i]->usable()))
		i++;
	return i;
}

static void choose(const hth_kernel_row *row)
{
	atomic_store_explicit(&hth_asks_near, hth_cpu_asks_near(), memory_order_relaxed);
	bool halves = row->few_tokens_halves != 0 && hth_cpu_halves_vectors();
	atomic_store_explicit(&few_tokens, halves ? row->few_tokens_halves : row->few_tokens, memory_order_relaxed);
	atomic_store_explicit(&chosen, row, memory_order_release);
}

/* Two threads may choose at once: they choose the same. A name in HEARTH_KERNELS that this CPU cannot run is ignored. */
const hth_kernel_row *hth_kernels_row(void)
{
	const hth_kernel_row *row = atomic_load_explicit(&chosen, memory_order_acquire);
	if (row != NULL)
		return row;
	const char *wanted = getenv("HEARTH_KERNELS");
	size_t i = wanted != NULL ? find_row(wanted) : HTH_COUNT(rows);
	if (i == HTH_COUNT(rows))
		for (i--; !rows[i]->usable();) /* the first one is C and always is */
			i--;
	choose(rows[i]);
	return rows[i];
}

const hth_vec_ops *hth_vec(void) { return &hth_kernels_row()->vec; }
const char *hth_kernels_name(void) { return hth_kernels_row()->vec.name; }
bool hth_kernels_ask_near(void) { return hth_near(); }

const char *const *hth_kernels_available(void)
{
	static const char *names[HTH_COUNT(rows) + 1]; /* every caller writes the same */
	size_t n = 0;
	for (size_t i = 0; i < HTH_COUNT(rows); i++)
		if (rows[i]->usable())
			names[n++] = rows[i]->vec.name;
	return names;
}

hth_status hth_kernels_select(const char *name, hth_error *err)
{
	size_t i = find_row(name);
	if (i == HTH_COUNT(rows)) {
		char list[64] = "";
		for (const char *const *n = hth_kernels_available(); *n != NULL; n++)
			snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? ", " : "", *n);
		return hth_fail(err, HTH_UNSUPPORTED, "no kernels named \"%s\" on this machine; it has %s", name, list);
	}
	choose(rows[i]);
	return HTH_OK;
}

/* ---- matrices ---- */

bool hth_matrix_can_multiply(hth_type type)
{
	const hth_type_traits *traits = hth_type_get(type);
	return traits != NULL && traits->dequantize_row != NULL && HTH_A8_COLS % traits->block_elems == 0;
}

hth_status hth_matrix_init(hth_matrix *matrix, hth_type type, size_t n_rows, size_t cols, const void *data, hth_error *err)
{
	const hth_type_traits *traits = hth_type_get(type);
	if (!hth_matrix_can_multiply(type))
		return hth_fail(err, HTH_UNSUPPORTED, "weights of type %s cannot be multiplied",
		                traits != NULL ? traits->name : "(unknown)");
	if (n_rows == 0 || cols == 0 || cols % traits->block_elems != 0)
		return hth_fail(err, HTH_BAD_FORMAT, "a %s matrix of %zu rows of %zu columns: columns come in blocks of %u",
		                traits->name, n_rows, cols, traits->block_elems);
	uint64_t bytes;
	if (hth_mul_overflows(n_rows, cols, &bytes) || hth_mul_overflows(bytes, 4, &bytes) || bytes > INT64_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a matrix of %zu rows of %zu columns is too large", n_rows, cols);
	*matrix = (hth_matrix){.type = type, .rows = n_rows, .cols = cols, .data = data,
	                       .row_bytes = hth_type_row_bytes(type, cols)};
	return HTH_OK;
}

void hth_matrix_finish(hth_matrix *matrix)
{
	if (matrix == NULL)
		return;
	free(matrix->packed);
	*matrix = (hth_matrix){0};
}

/* ---- the portable unpackers ---- */

static size_t chunk_bytes(const hth_type_traits *traits, size_t n)
{
	return n / traits->block_elems * traits->block_bytes;
}

static void unpack_float_portable(hth_type type, unsigned group_rows, float *panel, const void *block, size_t row_bytes,
                                  size_t n_rows, size_t n)
{
	const hth_type_traits *traits = hth_type_get(type);
	for (size_t r = 0; r < group_rows; r++) {
		float values[HTH_A8_COLS] = {0};
		if (r < n_rows)
			traits->dequantize_row((const char *)block + r * row_bytes, values, n);
		for (size_t c = 0; c < n; c++)
			panel[c * group_rows + r] = values[c];
	}
}

static void gemv_float_portable(const hth_kernel_row *row, const hth_matrix *w, const char *data, size_t n_rows,
                                const float *x, float *y)
{
	const hth_type_traits *traits = hth_type_get(w->type);
	for (size_t r = 0; r < n_rows; r++) {
		const char *p = data + r * w->row_bytes;
		double sum = 0;
		for (size_t c = 0; c < w->cols; c += HTH_A8_COLS) {
			float values[HTH_A8_COLS];
			size_t n = HTH_MIN(w->cols - c, (size_t)HTH_A8_COLS);
			traits->dequantize_row(p, values, n);
			p += chunk_bytes(traits, n);
			sum += (double)row->vec.dot_f32(values, x + c, n);
		}
		y[r] = (float)sum;
	}
}

/* ---- one run ---- */

enum {
	JOBS_PER_RUN = 96,      /* more jobs are several runs; keeps the plan on the stack */
	TILE_ROWS = 64,
	BLOCK_TOKENS = 512,     /* of one task */
	BLOCK_TOKENS_FLOAT = 256,
	WRITE_AHEAD = 24,       /* tokens whose rows of results are asked for before they are written */
	GEMV_BYTES = 16 * 1024, /* of a task with few tokens; a worker does several at once while there are many */
};

typedef struct job_plan {
	size_t first_task;
	size_t n_rows, tile_rows, n_tiles; /* tiles of rows */
	size_t n_tokens;
	/* Codes by a few tokens (else multiply is NULL): what the row's function gets for all rows, but for offsets. A worker needs no
	 * other memory that the caller has just written, or that was last read a token ago: each such line would make it wait. */
	hth_few_fn multiply;
	hth_few few;
	size_t token_bytes, first_offset; /* of activations: a token's, and where those of the first one are */
	size_t acts_bytes; /* that its tasks read */

	hth_matmul job;
	bool codes; /* else floats, by many tokens in fixed point if `fixed` */
	bool fixed;
	bool gemv;
	const hth_gated *gated; /* NULL: one matrix */
	size_t block_tokens, n_blocks;
} job_plan;

typedef struct run_plan {
	const hth_kernel_row *row;
	hth_threads *threads;
	size_t n_jobs, n_tasks;
	job_plan jobs[JOBS_PER_RUN];
} run_plan;

typedef struct scratch_codes {
	hth_panel panels[TILE_ROWS / 4];
	uint32_t offset[BLOCK_TOKENS];
	_Alignas(64) float acc[2][TILE_ROWS * BLOCK_TOKENS]; /* the second for a gate */
} scratch_codes;
typedef struct scratch_float {
	_Alignas(64) float panel[HTH_A8_COLS * HTH_FLOAT_ROWS_MAX];
	const float *x[BLOCK_TOKENS_FLOAT];
	_Alignas(64) float acc[TILE_ROWS * BLOCK_TOKENS_FLOAT];
} scratch_float;
_Static_assert(sizeof(scratch_codes) <= HTH_THREADS_SCRATCH, "scratch");
_Static_assert(sizeof(scratch_float) <= HTH_THREADS_SCRATCH, "scratch");

/* The thread sanitizer would look at each vector that the rows' loops touch, most of them weights, which lie in a read-only mapping or are
 * never written: nine tenths of its tests' time. The loops are compiled without it (meson.build), and it is told here what each task
 * touches. Their panels and sums are a worker's own. */
#ifdef __SANITIZE_THREAD__
void __tsan_read_range(const void *at, unsigned long size);
void __tsan_write_range(void *at, unsigned long size);
#define TASK_READS(at, size) __tsan_read_range(at, size)
#define TASK_WRITES(at, size) __tsan_write_range(at, size)
#else
#define TASK_READS(at, size) ((void)0)
#define TASK_WRITES(at, size) ((void)0)
#endif

static size_t tokens_of(const hth_matmul *job) { return job->select != NULL ? job->n_select : job->x->n_tokens; }
static size_t token_of(const hth_matmul *job, size_t i) { return job->select != NULL ? job->select[i] : i; }

/* acc[group][token][G] to y[token][row]. G is a constant where it is called with one: the copies are then a few moves. */
static inline __attribute__((always_inline)) void write_groups(const job_plan *plan, const float *acc, size_t G, size_t row0,
                                                               size_t n_rows, size_t token0, size_t n_tokens)
{
	const hth_matmul *job = &plan->job;
	size_t whole = n_rows / G;
	for (size_t t = 0; t < n_tokens; t++) {
		float *y = job->y + (token0 + t) * job->y_stride + row0;
		TASK_WRITES(y, n_rows * sizeof *y);
		/* Each token's row lies on its own, too short for the processor to foresee the next. */
		if (t + WRITE_AHEAD < n_tokens)
			for (size_t i = 0; i < n_rows; i += 16)
				__builtin_prefetch(y + WRITE_AHEAD * job->y_stride + i, 1);
		for (size_t g = 0; g < whole; g++)
			memcpy(y + g * G, acc + (g * n_tokens + t) * G, G * sizeof(float));
		if (whole * G < n_rows)
			memcpy(y + whole * G, acc + (whole * n_tokens + t) * G, (n_rows - whole * G) * sizeof(float));
	}
}

static void write_tile(const job_plan *plan, const float *acc, size_t G, size_t row0, size_t n_rows, size_t token0,
                       size_t n_tokens)
{
	switch (G) {
	case 4: write_groups(plan, acc, 4, row0, n_rows, token0, n_tokens); break;
	case 8: write_groups(plan, acc, 8, row0, n_rows, token0, n_tokens); break;
	case 16: write_groups(plan, acc, 16, row0, n_rows, token0, n_tokens); break;
	default: write_groups(plan, acc, G, row0, n_rows, token0, n_tokens); break;
	}
}

static void prefetch_chunk(const char *data, size_t row_bytes, size_t n_rows, size_t bytes)
{
	bool near = hth_near();
	for (size_t r = 0; r < n_rows; r++)
		for (size_t at = 0; at < bytes + 63; at += 64)
			hth_ask_lines_ahead(data + r * row_bytes, 1, at, near);
}

/* Of the activations that a matrix is multiplied with in panels of integers. */
static size_t line_bytes_of(const hth_matrix *w) { return hth_type_has_codes(w->type) ? sizeof(hth_a8_line) : sizeof(hth_fixed_line); }

/* acc[group][token][G] = rows [row0, row0 + n_rows) of w . the tokens whose lines begin at s->offset. */
static void multiply_tile(const hth_kernel_row *row, const hth_matrix *w, const hth_acts *acts, scratch_codes *s, float *acc, size_t row0,
                          size_t n_rows, size_t n_tokens)
{
	const hth_type_traits *traits = hth_type_get(w->type);
	const hth_kernel_type *type = &row->types[w->type];
	size_t G = row->group_rows, n_groups = (n_rows + G - 1) / G;
	memset(acc, 0, n_groups * n_tokens * G * sizeof(float));
	size_t line_bytes = line_bytes_of(w), group_stride = acts_group_lines(acts->n_tokens) * line_bytes;
	TASK_READS(acts->lines, (w->cols + 31) / 32 * group_stride);
	const char *data = (const char *)w->data + row0 * w->row_bytes;
	for (size_t c = 0; c < w->cols; c += HTH_A8_COLS) {
		size_t n = HTH_MIN(w->cols - c, (size_t)HTH_A8_COLS);
		/* The tile's rows are too many streams for the processor to foresee: the next chunk of each, or of the rows that follow, is
		 * asked for, some rows before each go of tokens, since asked for all at once (300 lines and more) many had not come when
		 * they were unpacked. */
		if (c == 0)
			prefetch_chunk(data, w->row_bytes, n_rows, chunk_bytes(traits, n));
		for (size_t g = 0; g < n_groups; g++) {
			const char *block = data + g * G * w->row_bytes;
			size_t valid = HTH_MIN(G, n_rows - g * G);
			type->unpack(&s->panels[g], block, w->row_bytes, valid, n);
		}
		data += chunk_bytes(traits, n);
		bool more = c + n < w->cols;
		size_t n_next = more ? n_rows : HTH_MIN(n_rows, w->rows - row0 - n_rows);
		const char *next = more ? data : (const char *)w->data + (row0 + n_rows) * w->row_bytes;
		size_t next_bytes = chunk_bytes(traits, HTH_MIN(more ? w->cols - c - n : w->cols, (size_t)HTH_A8_COLS));
		hth_gemm_acts near = {.lines = (const char *)acts->lines + c / 32 * group_stride, .group_stride = group_stride};
		for (size_t t = 0; t < n_tokens; t += near.n_tokens) {
			near.offset = s->offset + t;
			near.n_tokens = HTH_MIN(n_tokens - t, (size_t)row->near_tokens);
			size_t asked = n_next * t / n_tokens, ask = n_next * (t + near.n_tokens) / n_tokens - asked;
			prefetch_chunk(next + asked * w->row_bytes, w->row_bytes, ask, next_bytes);
			type->gemm(s->panels, n_groups, n, &near, acc + t * G, n_tokens * G);
		}
	}
}

/* acc[group][token][G] of one token, its rows side by side. */
static void gather_rows(float *dst, const float *acc, size_t G, size_t n_rows, size_t t, size_t n_tokens)
{
	for (size_t g = 0; g < n_rows / G; g++)
		memcpy(dst + g * G, acc + (g * n_tokens + t) * G, G * sizeof *dst);
}

/* In panels of integers: codes, or fixed point. */
static void task_panels(const run_plan *run, const job_plan *plan, void *scratch, size_t row0, size_t n_rows,
                        size_t token0, size_t n_tokens)
{
	const hth_kernel_row *row = run->row;
	const hth_gated *gated = plan->gated;
	scratch_codes *s = scratch;
	size_t G = row->group_rows;
	for (size_t t = 0; t < n_tokens; t++)
		s->offset[t] = (uint32_t)(token_of(&plan->job, token0 + t) * line_bytes_of(plan->job.w));
	multiply_tile(row, plan->job.w, plan->job.x, s, s->acc[0], row0, n_rows, n_tokens);
	if (gated == NULL) {
		write_tile(plan, s->acc[0], G, row0, n_rows, token0, n_tokens);
		return;
	}
	multiply_tile(row, gated->gate, plan->job.x, s, s->acc[1], row0, n_rows, n_tokens);
	size_t line_bytes = line_bytes_of(plan->job.w), stride = acts_group_lines(gated->into->n_tokens) * line_bytes;
	char *line = (char *)gated->into->lines + row0 / 32 * stride + token0 * line_bytes;
	for (size_t t = 0; t < n_tokens; t++, line += line_bytes) {
		_Alignas(64) float up[TILE_ROWS], gate[TILE_ROWS];
		gather_rows(up, s->acc[0], G, n_rows, t, n_tokens);
		gather_rows(gate, s->acc[1], G, n_rows, t, n_tokens);
		gated->act(gate, gate, up, n_rows);
		for (size_t g = 0; g < n_rows / 32; g++)
			TASK_WRITES(line + g * stride, line_bytes);
		if (plan->codes)
			row->quantize_acts((hth_a8_line *)line, stride, gate, n_rows);
		else
			row->fix_acts((hth_fixed_line *)line, stride, gate, n_rows);
	}
}

static void task_float(const run_plan *run, const job_plan *plan, void *scratch, size_t row0, size_t n_rows,
                       size_t token0, size_t n_tokens)
{
	const hth_kernel_row *row = run->row;
	const hth_matrix *w = plan->job.w;
	const hth_acts *acts = plan->job.x;
	const hth_type_traits *traits = hth_type_get(w->type);
	const hth_kernel_type *type = &row->types[w->type];
	scratch_float *s = scratch;
	size_t G = row->float_rows, n_groups = (n_rows + G - 1) / G;
	memset(s->acc, 0, n_groups * n_tokens * G * sizeof(float));
	const char *data = (const char *)w->data + row0 * w->row_bytes;
	for (size_t c = 0; c < w->cols; c += HTH_A8_COLS) {
		size_t n = HTH_MIN(w->cols - c, (size_t)HTH_A8_COLS);
		for (size_t t = 0; t < n_tokens; t++) {
			s->x[t] = acts->x + token_of(&plan->job, token0 + t) * acts->x_stride + c;
			TASK_READS(s->x[t], n * sizeof(float));
		}
		for (size_t g = 0; g < n_groups; g++) {
			const char *block = data + g * G * w->row_bytes;
			size_t valid = HTH_MIN(G, n_rows - g * G);
			/* What is unpacked next: more streams than the processor foresees, and as many bytes as stay near while this panel
			 * is multiplied. */
			if (g + 1 < n_groups)
				prefetch_chunk(block + G * w->row_bytes, w->row_bytes, HTH_MIN(G, n_rows - (g + 1) * G),
				               chunk_bytes(traits, n));
			else if (c + n < w->cols)
				prefetch_chunk(data + chunk_bytes(traits, n), w->row_bytes, HTH_MIN(G, n_rows),
				               chunk_bytes(traits, HTH_MIN(w->cols - c - n, (size_t)HTH_A8_COLS)));
			if (type->unpack_float != NULL)
				type->unpack_float(s->panel, block, w->row_bytes, valid, n);
			else
				unpack_float_portable(w->type, row->float_rows, s->panel, block, w->row_bytes, valid, n);
			row->gemm_float(s->panel, n, s->x, n_tokens, s->acc + g * n_tokens * G);
		}
		data += chunk_bytes(traits, n);
	}
	write_tile(plan, s->acc, G, row0, n_rows, token0, n_tokens);
}

static void arrange_for_gemv(void *dst, const hth_a8_line *lines, size_t stride, size_t n_groups)
{
	static const hth_a8_line nothing;
	hth_a8 *a = dst;
	for (size_t g = 0; g < 8; g++) {
		const hth_a8_line *line = g < n_groups ? (const hth_a8_line *)((const char *)lines + g * stride) : &nothing;
		memcpy(a->q + 32 * g, line->q, 32);
		a->d[g] = line->d;
		a->s32[g] = line->s32;
		memcpy(a->s16 + 2 * g, line->s16, sizeof line->s16);
	}
}

/* How activations are arranged for weights of a type, and in which of the rooms they are kept. A row has gemv or few for all types with
 * codes, not both. */
static const hth_arrangement *arrangement(const hth_kernel_row *row, const hth_acts *acts, hth_type type, unsigned *ret_room)
{
	static const hth_arrangement for_gemv = {HTH_A8_COLS, sizeof(hth_a8), arrange_for_gemv};
	enum { BY_32, BY_16, ALONE };
	*ret_room = BY_32;
	if (acts->n_tokens == 1 && row->types[type].one != NULL) {
		*ret_room = ALONE;
		return row->one_acts;
	}
	if (row->few_acts[0] == NULL)
		return &for_gemv;
	if (hth_type_by_16(type) && row->few_acts[0] != row->few_acts[1])
		*ret_room = BY_16;
	return row->few_acts[*ret_room];
}

/* Codes by a few tokens, once their activations are arranged. */
static void plan_few(const run_plan *run, job_plan *plan)
{
	const hth_matmul *job = &plan->job;
	const hth_matrix *w = job->w;
	const hth_acts *acts = job->x;
	const hth_kernel_type *type = &run->row->types[w->type];
	unsigned room;
	const hth_arrangement *form = arrangement(run->row, acts, w->type, &room);
	if (form->arrange == arrange_for_gemv)
		return;
	plan->multiply = type->one != NULL && acts->n_tokens == 1 ? type->one : type->few;
	plan->few = (hth_few){.w = w->data, .row_bytes = w->row_bytes, .n_rows = w->rows, .cols = w->cols, .acts = acts->arranged[room],
	                      .block_stride = acts->n_tokens * form->bytes, .n_tokens = plan->n_tokens, .y = job->y,
	                      .y_stride = job->y_stride};
	plan->token_bytes = form->bytes;
	plan->first_offset = token_of(job, 0) * form->bytes;
	plan->acts_bytes = (w->cols + form->cols - 1) / form->cols * plan->few.block_stride;
}

static void task_few(const job_plan *plan, size_t row0, size_t n_rows)
{
	uint32_t offset[FEW_TOKENS] = {(uint32_t)plan->first_offset};
	hth_few few = plan->few;
	for (size_t t = 1; t < few.n_tokens; t++)
		offset[t] = (uint32_t)(token_of(&plan->job, t) * plan->token_bytes);
	few.w = (const char *)few.w + row0 * few.row_bytes;
	few.n_rows = n_rows;
	few.offset = offset;
	few.y += row0;
	TASK_READS(few.acts, plan->acts_bytes);
	for (size_t t = 0; t < few.n_tokens; t++)
		TASK_WRITES(few.y + t * few.y_stride, n_rows * sizeof(float));
	plan->multiply(&few);
}

static void task_gemv(const run_plan *run, const job_plan *plan, size_t row0, size_t n_rows)
{
	const hth_matmul *job = &plan->job;
	const hth_matrix *w = job->w;
	const hth_acts *acts = job->x;
	const hth_kernel_type *type = &run->row->types[w->type];
	const char *data = (const char *)w->data + row0 * w->row_bytes;
	size_t token = token_of(job, 0);
	const float *x = acts->x + token * acts->x_stride;
	for (size_t t = 0; t < plan->n_tokens; t++) {
		if (!plan->codes)
			TASK_READS(acts->x + token_of(job, t) * acts->x_stride, w->cols * sizeof(float));
		TASK_WRITES(job->y + t * job->y_stride + row0, n_rows * sizeof(float));
	}
	if (plan->codes) {
		size_t stride = acts->n_tokens * sizeof(hth_a8);
		TASK_READS(acts->arranged[0], (w->cols + HTH_A8_COLS - 1) / HTH_A8_COLS * stride);
		type->gemv(data, w->row_bytes, n_rows, w->cols, acts->arranged[0] + token * sizeof(hth_a8), stride, job->y + row0);
	} else if (plan->n_tokens > 1) {
		const float *rows_x[FEW_TOKENS];
		for (size_t t = 0; t < plan->n_tokens; t++)
			rows_x[t] = acts->x + token_of(job, t) * acts->x_stride;
		type->few_float(data, w->row_bytes, n_rows, w->cols, rows_x, plan->n_tokens, job->y + row0, job->y_stride);
	} else if (type->gemv_float != NULL)
		type->gemv_float(data, w->row_bytes, n_rows, w->cols, x, job->y + row0);
	else
		gemv_float_portable(run->row, w, data, n_rows, x, job->y + row0);
}

static void task_by_rows(const run_plan *run, const job_plan *plan, size_t row0, size_t n_rows)
{
	if (plan->multiply != NULL)
		task_few(plan, row0, n_rows);
	else
		task_gemv(run, plan, row0, n_rows);
}

static const job_plan *job_of_task(const run_plan *run, size_t task)
{
	size_t low = 0, high = run->n_jobs;
	while (high - low > 1) {
		size_t mid = (low + high) / 2;
		if (run->jobs[mid].first_task <= task)
			low = mid;
		else
			high = mid;
	}
	return &run->jobs[low];
}

static void run_task(void *ctx, size_t task, unsigned worker)
{
	const run_plan *run = ctx;
	const job_plan *plan = job_of_task(run, task);
	task -= plan->first_task;
	size_t row0 = task / plan->n_blocks * plan->tile_rows;
	size_t n_rows = HTH_MIN(plan->tile_rows, plan->job.w->rows - row0);
	size_t token0 = task % plan->n_blocks * plan->block_tokens;
	size_t n_tokens = HTH_MIN(plan->block_tokens, plan->n_tokens - token0);
	if (plan->gemv)
		task_by_rows(run, plan, row0, n_rows);
	else if (plan->codes || plan->fixed)
		task_panels(run, plan, hth_threads_scratch(run->threads, worker), row0, n_rows, token0, n_tokens);
	else
		task_float(run, plan, hth_threads_scratch(run->threads, worker), row0, n_rows, token0, n_tokens);
}

/* Where all jobs have few tokens: neighbouring tiles of a matrix are one piece. */
static void run_tiles(void *ctx, size_t first, size_t end, unsigned worker)
{
	const run_plan *run = ctx;
	(void)worker;
	for (const job_plan *plan = job_of_task(run, first); first < end; plan++) {
		size_t tile = first - plan->first_task, n = HTH_MIN(end - first, plan->n_tiles - tile), row0 = tile * plan->tile_rows;
		task_by_rows(run, plan, row0, HTH_MIN(n * plan->tile_rows, plan->n_rows - row0));
		first += n;
	}
}

/* Few tokens: row by row as the weights lie, not through panels. */
static bool goes_by_rows(const hth_kernel_row *row, const hth_matmul *job)
{
	const hth_kernel_type *type = &row->types[job->w->type];
	bool codes = hth_type_has_codes(job->w->type);
	bool few = codes ? type->few != NULL : type->few_float != NULL;
	if (codes && ((type->gemv == NULL && type->few == NULL) || job->x->n_tokens > job->x->max_arranged))
		return false;
	unsigned most = codes || type->unpack == NULL ? atomic_load_explicit(&few_tokens, memory_order_relaxed) : row->few_tokens_fixed;
	return tokens_of(job) <= (few ? HTH_MIN(most, (unsigned)FEW_TOKENS) : 1);
}

/* Many tokens by floats that this row multiplies in fixed point. */
static bool wants_fixed(const hth_kernel_row *row, const hth_matmul *job)
{
	return !hth_type_has_codes(job->w->type) && row->types[job->w->type].unpack != NULL && !goes_by_rows(row, job);
}

enum {
	QUANTIZE_ALONE = 4096, /* numbers that one thread is done with before another one has joined */
	QUANTIZE_TOKENS = 16,  /* of a task, and its columns: whole arranged blocks */
	QUANTIZE_COLS = 1024,
};

typedef struct quantize_plan {
	const hth_kernel_row *row;
	hth_threads *threads;
	hth_acts *acts;
	size_t tokens_per_task, cols_per_task, n_parts; /* a task's columns are one of so many parts */
	bool keep_lines;
	const hth_arrangement *forms[ACTS_FORMS]; /* NULL: not wanted, or already there */
} quantize_plan;

enum { BLOCK_GROUPS = 16 }; /* the most that are arranged together */

/* A task's tokens and columns. */
typedef struct quantize_part {
	size_t token0, end_token, col0, end_col;
} quantize_part;
static quantize_part part_of_task(const quantize_plan *plan, size_t task)
{
	size_t token0 = task / plan->n_parts * plan->tokens_per_task, col0 = task % plan->n_parts * plan->cols_per_task;
	return (quantize_part){token0, HTH_MIN(token0 + plan->tokens_per_task, plan->acts->n_tokens), col0,
	                       HTH_MIN(col0 + plan->cols_per_task, plan->acts->cols)};
}

static void quantize_task(void *ctx, size_t task, unsigned worker)
{
	const quantize_plan *plan = ctx;
	hth_acts *acts = plan->acts;
	size_t n = acts->n_tokens, apart = acts_group_lines(n);
	const quantize_part part = part_of_task(plan, task);
	/* Lines that nobody reads later: of a block, and the same ones for the next, since memory that is written costs more than the
	 * arithmetic does. [token][BLOCK_GROUPS] */
	bool kept = plan->keep_lines || acts->lines_ready;
	hth_a8_line *own = hth_threads_scratch(plan->threads, worker);
	size_t stride = kept ? apart * sizeof *own : sizeof *own;
	/* Tokens innermost: their lines lie side by side. The next chunk of each is asked for meanwhile. */
	for (size_t c = part.col0; c < part.end_col; c += HTH_A8_COLS) {
		size_t cols = HTH_MIN(part.end_col - c, (size_t)HTH_A8_COLS), next = c + cols, group = c / 32;
		for (size_t t = part.token0; t < part.end_token; t++) {
			hth_a8_line *of_token = kept ? acts->lines + t : own + (t - part.token0) * BLOCK_GROUPS;
			if (!acts->lines_ready) {
				const float *x = acts->x + t * acts->x_stride + c,
				    *gate = acts->gate != NULL ? acts->gate + t * acts->x_stride + c : NULL;
				bool more = c + 2 * HTH_A8_COLS <= part.end_col;
				if (more)
					prefetch_chunk((const char *)(x + HTH_A8_COLS), 0, 1, HTH_A8_COLS * sizeof *x);
				TASK_READS(x, cols * sizeof *x);
				float gated[HTH_A8_COLS];
				if (gate != NULL) {
					if (more)
						prefetch_chunk((const char *)(gate + HTH_A8_COLS), 0, 1, HTH_A8_COLS * sizeof *x);
					TASK_READS(gate, cols * sizeof *x);
					acts->act(gated, gate, x, cols);
					x = gated;
				}
				plan->row->quantize_acts(of_token + (kept ? group * apart : group % BLOCK_GROUPS), stride, x, cols);
			}
			for (size_t f = 0; f < ACTS_FORMS; f++) {
				const hth_arrangement *form = plan->forms[f];
				if (form == NULL || (next % form->cols != 0 && next != acts->cols))
					continue;
				size_t block = c / form->cols, first = block * form->cols / 32;
				char *to = acts->arranged[f] + (block * n + t) * form->bytes;
				TASK_WRITES(to, form->bytes);
				const hth_a8_line *from = of_token + (kept ? first * apart : first % BLOCK_GROUPS);
				form->arrange(to, from, stride, (next + 31) / 32 - first);
			}
		}
	}
}

static void fix_task(void *ctx, size_t task, unsigned worker)
{
	const quantize_plan *plan = ctx;
	hth_acts *acts = plan->acts;
	size_t apart = acts_group_lines(acts->n_tokens);
	const quantize_part part = part_of_task(plan, task);
	(void)worker;
	for (size_t c = part.col0; c < part.end_col; c += HTH_A8_COLS) {
		size_t cols = HTH_MIN(part.end_col - c, (size_t)HTH_A8_COLS);
		for (size_t t = part.token0; t < part.end_token; t++) {
			const float *x = acts->x + t * acts->x_stride + c;
			hth_fixed_line *to = acts->fixed + c / 32 * apart + t;
			if (c + 2 * HTH_A8_COLS <= part.end_col)
				prefetch_chunk((const char *)(x + HTH_A8_COLS), 0, 1, HTH_A8_COLS * sizeof *x);
			TASK_READS(x, cols * sizeof *x);
			for (size_t g = 0; 32 * g < cols; g++)
				TASK_WRITES(to + g * apart, sizeof *to);
			plan->row->fix_acts(to, apart * sizeof *to, x, cols);
		}
	}
}

/* Makes the integer forms that these products read of their common activations and that are not there yet. Where codes and floats are
 * multiplied with the same activations, floats stay floats. */
static void make_acts(hth_threads *threads, hth_acts *acts, const hth_matmul *jobs, size_t n_jobs)
{
	quantize_plan plan = {.row = hth_kernels_row(), .threads = threads, .acts = acts, .tokens_per_task = QUANTIZE_TOKENS,
	                      .cols_per_task = acts->cols, .n_parts = 1};
	bool any = false, fixed = false;
	for (size_t i = 0; i < n_jobs; i++) {
		hth_type type = jobs[i].w->type;
		if (tokens_of(&jobs[i]) == 0)
			continue;
		if (!hth_type_has_codes(type)) {
			fixed = fixed || wants_fixed(plan.row, &jobs[i]);
			continue;
		}
		unsigned room;
		const hth_arrangement *form = arrangement(plan.row, acts, type, &room);
		if (!goes_by_rows(plan.row, &jobs[i]))
			plan.keep_lines = !acts->lines_ready;
		else if (!acts->arranged_ready[room])
			plan.forms[room] = form;
		else
			continue;
		any = any || plan.keep_lines || plan.forms[room] != NULL;
	}
	fixed = fixed && !acts->fixed_ready && !acts->lines_ready && !plan.keep_lines;
	if (!any && !fixed)
		return;
	if (acts->n_tokens * acts->cols > QUANTIZE_ALONE) {
		plan.cols_per_task = QUANTIZE_COLS;
		plan.n_parts = (acts->cols + QUANTIZE_COLS - 1) / QUANTIZE_COLS;
	}
	size_t n_tasks = (acts->n_tokens + QUANTIZE_TOKENS - 1) / QUANTIZE_TOKENS * plan.n_parts;
	if (any)
		hth_threads_run(threads, n_tasks, quantize_task, &plan);
	if (fixed)
		hth_threads_run(threads, n_tasks, fix_task, &plan);
	acts->lines_ready |= plan.keep_lines;
	acts->fixed_ready = (acts->fixed_ready && !plan.keep_lines) || fixed;
	for (size_t f = 0; f < ACTS_FORMS; f++)
		acts->arranged_ready[f] |= plan.forms[f] != NULL;
}

/* Tiles small enough that every worker gets several of n_rows: tile_rows, halved while it is not, a multiple of step. */
static size_t rows_for_all(size_t tile_rows, size_t step, size_t n_rows, size_t workers)
{
	while (tile_rows >= 2 * step && n_rows / tile_rows < 4 * workers)
		tile_rows = hth_round_up(tile_rows / 2, step);
	return tile_rows;
}

static size_t few_tile_rows(const hth_matrix *w, size_t workers)
{
	enum { STEP = 16 };
	return rows_for_all(HTH_MAX(hth_round_up(GEMV_BYTES / w->row_bytes, STEP), (size_t)STEP), STEP, w->rows, workers);
}

static job_plan plan_job(const run_plan *run, const hth_matmul *job, const hth_gated *gated)
{
	const hth_kernel_row *row = run->row;
	const hth_matrix *w = job->w;
	job_plan plan = {.job = *job, .gated = gated, .codes = hth_type_has_codes(w->type), .n_rows = w->rows,
	                 .fixed = job->x->fixed_ready && wants_fixed(row, job), .n_tokens = tokens_of(job), .block_tokens = 1,
	                 .gemv = goes_by_rows(row, job)};
	bool panels = plan.codes || plan.fixed;
	size_t workers = hth_threads_count(run->threads);
	if (plan.gemv) {
		plan.n_blocks = 1;
		plan.tile_rows = few_tile_rows(w, workers);
	} else { /* large enough to share the work of a panel; a line that is gated is made by one task */
		size_t step = gated != NULL ? 32 : panels ? row->group_rows : row->float_rows;
		plan.block_tokens = panels ? BLOCK_TOKENS : BLOCK_TOKENS_FLOAT;
		plan.n_blocks = (plan.n_tokens + plan.block_tokens - 1) / plan.block_tokens;
		plan.tile_rows = rows_for_all(TILE_ROWS, step, w->rows * plan.n_blocks, workers);
	}
	plan.n_tiles = (w->rows + plan.tile_rows - 1) / plan.tile_rows;
	return plan;
}

void hth_matmul_prepare(hth_threads *threads, const hth_matmul *jobs, size_t n_jobs)
{
	for (size_t i = 0, n; i < n_jobs; i += n) { /* neighbours that read the same */
		for (n = 1; i + n < n_jobs && jobs[i + n].x == jobs[i].x;)
			n++;
		make_acts(threads, jobs[i].x, jobs + i, n);
	}
}

void hth_matmul_run(hth_threads *threads, const hth_matmul *jobs, size_t n_jobs)
{
	hth_matmul_prepare(threads, jobs, n_jobs);
	_Alignas(64) run_plan run;
	run.row = hth_kernels_row();
	run.threads = threads;
	run.n_jobs = run.n_tasks = 0;
	bool few = true; /* all jobs' tokens */
	for (size_t i = 0; i < n_jobs; i++) {
		job_plan *plan = &run.jobs[run.n_jobs];
		*plan = plan_job(&run, &jobs[i], NULL);
		if (plan->n_tokens > 0) {
			if (plan->codes && plan->gemv)
				plan_few(&run, plan);
			plan->first_task = run.n_tasks;
			run.n_tasks += plan->n_tiles * plan->n_blocks;
			run.n_jobs++;
			few = few && plan->gemv;
		}
		if (run.n_jobs == JOBS_PER_RUN || i + 1 == n_jobs) {
			if (few)
				hth_threads_run_ranges(threads, run.n_tasks, run_tiles, &run);
			else
				hth_threads_run(threads, run.n_tasks, run_task, &run);
			run.n_jobs = run.n_tasks = 0;
			few = true;
		}
	}
}

void hth_matmul_begins(const hth_threads *threads, const hth_matrix *const *matrices, size_t n, const void **ret_at)
{
	enum { MATRICES = 4 };
	size_t workers = hth_threads_count(threads), n_tiles = 0, tile_rows[MATRICES], tiles[MATRICES] = {0};
	n = HTH_MIN(n, (size_t)MATRICES);
	for (size_t i = 0; i < n; i++) {
		if (matrices[i]->rows == 0)
			continue;
		tile_rows[i] = few_tile_rows(matrices[i], workers);
		tiles[i] = (matrices[i]->rows + tile_rows[i] - 1) / tile_rows[i];
		n_tiles += tiles[i];
	}
	for (unsigned w = 0; w < workers; w++) {
		size_t tile = n_tiles * w / workers; /* as the pool parts them */
		ret_at[w] = NULL;
		for (size_t i = 0; i < n && ret_at[w] == NULL; i++) {
			if (tile < tiles[i])
				ret_at[w] = (const char *)matrices[i]->data + tile * tile_rows[i] * matrices[i]->row_bytes;
			tile -= HTH_MIN(tile, tiles[i]);
		}
	}
}

bool hth_gated_fits(const hth_matrix *up, const hth_matrix *gate, const hth_matrix *reader)
{
	const hth_kernel_row *row = hth_kernels_row();
	const hth_type types[] = {up->type, gate->type, reader->type};
	bool codes = true, fixed = true;
	for (size_t i = 0; i < HTH_COUNT(types); i++) {
		bool has_codes = hth_type_has_codes(types[i]);
		codes = codes && has_codes;
		fixed = fixed && !has_codes && row->types[types[i]].unpack != NULL;
	}
	return (codes || fixed) && up->rows == gate->rows && up->cols == gate->cols && up->rows % 32 == 0;
}

bool hth_reads_gated(const hth_matrix *reader) { return hth_type_has_codes(reader->type); }

bool hth_matmul_gated(hth_threads *threads, const hth_gated *gated)
{
	run_plan run; /* 24 KiB, of which one job is filled in */
	run.row = hth_kernels_row();
	run.threads = threads;
	run.n_jobs = 1;
	const hth_matmul job = {.w = gated->up, .x = gated->x};
	if (goes_by_rows(run.row, &job))
		return false;
	make_acts(threads, gated->x, &job, 1);
	run.jobs[0] = plan_job(&run, &job, gated);
	if (!run.jobs[0].codes && !run.jobs[0].fixed) /* the activations are 8-bit already */
		return false;
	hth_acts_set(gated->into, NULL, 0, gated->x->n_tokens, gated->up->rows);
	run.n_tasks = run.jobs[0].n_tiles * run.jobs[0].n_blocks;
	hth_threads_run(threads, run.n_tasks, run_task, &run);
	gated->into->lines_ready = run.jobs[0].codes;
	gated->into->fixed_ready = run.jobs[0].fixed;
	return true;
}

size_t hth_matrix_exact_tokens(const hth_matrix *matrix)
{
	const hth_kernel_row *row = hth_kernels_row();
	const hth_kernel_type *type = &row->types[matrix->type];
	if (!hth_type_has_codes(matrix->type))
		return 1;
	if (strcmp(hth_kernels_name(), "c") == 0)
		return SIZE_MAX;
	return type->few != NULL ? HTH_MAX(atomic_load_explicit(&few_tokens, memory_order_relaxed), 1u) : 1;
}
