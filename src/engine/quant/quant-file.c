/* quant-file.c - a whole model file, quantised: workers convert chunks, the caller writes them in order.
 *
 * Rows are whole blocks, so a tensor is a run of values that can be cut anywhere on a block's edge: chunks of CHUNK
 * values whatever the rows. A worker may be at most `window` chunks ahead of the writer, which bounds memory to
 * window chunks whatever the model's size. The first error stops everyone. Weights that are not finite are refused:
 * no integer stands for them, and a model that has them is damaged.
 */
#include "engine/quant/quant.h"

#include "base/buf.h"
#include "base/mem.h"
#include "engine/gguf/gguf-writer.h"
#include "engine/gguf/gguf.h"
#include "engine/quant/quant-mix.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 1 << 17, MAX_THREADS = 256 }; /* CHUNK is a multiple of every block */

typedef struct slot {
	unsigned char *out;
	size_t len;
	bool ready;
} slot;

typedef struct work {
	const hth_gguf *in;
	const hth_type *types; /* per tensor */
	uint64_t *first_chunk; /* per tensor, and one past the last */
	size_t n_tensors;
	uint64_t n_chunks;
	size_t window;
	slot *slots;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t next, written; /* chunks claimed, chunks written */
	bool stop;
	hth_error failed; /* status set: a worker gave up */
} work;

static uint64_t elements(const hth_gguf_tensor *t)
{
	return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

/* The tensor that chunk c belongs to. */
static size_t tensor_of(const work *w, uint64_t c)
{
	size_t low = 0, high = w->n_tensors;
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		if (w->first_chunk[mid] <= c)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static hth_status check_values(const hth_gguf_tensor *t, hth_type type, const float *x, size_t n, uint64_t at,
                               hth_error *err)
{
	float limit = type == HTH_F16 ? 65504.0f : 3.4e38f; /* FLT_MAX is 3.4028e38: what is near it is no weight */
	for (size_t i = 0; i < n; i++) {
		if (fabsf(x[i]) <= limit)
			continue;
		int len = (int)t->name.len;
		if (isfinite(x[i]) && type == HTH_F16)
			return hth_fail(err, HTH_INVALID, "tensor %.*s holds %g, beyond F16's range: take BF16 or F32",
			                len, t->name.data, (double)x[i]);
		return hth_fail(err, HTH_BAD_FORMAT,
		                "tensor %.*s holds %g at element %" PRIu64 ": the model is damaged", len, t->name.data,
		                (double)x[i], at + i);
	}
	return HTH_OK;
}

/* Converts one chunk into its slot's buffer; x is scratch for CHUNK floats. */
static hth_status convert(const work *w, uint64_t c, float *x, slot *s, hth_error *err)
{
	size_t i = tensor_of(w, c);
	const hth_gguf_tensor *t = hth_gguf_tensor_at(w->in, i);
	const hth_type_traits *from = hth_type_get(t->type), *to = hth_type_get(w->types[i]);
	uint64_t at = (c - w->first_chunk[i]) * CHUNK;
	size_t n = (size_t)HTH_MIN(elements(t) - at, (uint64_t)CHUNK);
	const char *src = (const char *)t->data + at / from->block_elems * from->block_bytes;
	s->len = n / to->block_elems * to->block_bytes;
	if (from == to) {
		memcpy(s->out, src, s->len);
		return HTH_OK;
	}
	from->dequantize_row(src, x, n);
	HTH_TRY(check_values(t, w->types[i], x, n, at, err));
	to->quantize_row(x, s->out, n, NULL);
	return HTH_OK;
}

static void *worker(void *arg)
{
	work *w = arg;
	HTH_AUTO_FREE float *x = malloc(CHUNK * sizeof *x);
	pthread_mutex_lock(&w->lock);
	if (x == NULL && w->failed.status == HTH_OK)
		hth_fail(&w->failed, HTH_NO_MEMORY, "no memory to quantise with");
	while (x != NULL && !w->stop && w->failed.status == HTH_OK && w->next < w->n_chunks) {
		if (w->next >= w->written + w->window) {
			pthread_cond_wait(&w->changed, &w->lock);
			continue;
		}
		uint64_t c = w->next++;
		slot *s = &w->slots[c % w->window];
		pthread_mutex_unlock(&w->lock);
		hth_error err = HTH_ERROR_INIT;
		hth_status status = convert(w, c, x, s, &err);
		pthread_mutex_lock(&w->lock);
		if (status != HTH_OK && w->failed.status == HTH_OK)
			w->failed = err;
		s->ready = true;
		pthread_cond_broadcast(&w->changed);
	}
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Waits for chunk c; HTH_OK when its slot may be written out. */
static hth_status await(work *w, uint64_t c, hth_error *err)
{
	pthread_mutex_lock(&w->lock);
	slot *s = &w->slots[c % w->window];
	while (!s->ready && w->failed.status == HTH_OK)
		pthread_cond_wait(&w->changed, &w->lock);
	hth_status status = w->failed.status;
	if (status != HTH_OK)
		hth_fail(err, status, "%s", w->failed.message);
	pthread_mutex_unlock(&w->lock);
	return status;
}

static void release(work *w, uint64_t c)
{
	pthread_mutex_lock(&w->lock);
	w->slots[c % w->window].ready = false;
	w->written = c + 1;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static hth_status write_chunks(work *w, hth_gguf_writer *writer, const hth_quantize_options *options, hth_error *err)
{
	uint64_t done = 0, total = 0;
	for (size_t i = 0; i < w->n_tensors; i++)
		total += hth_gguf_tensor_at(w->in, i)->n_bytes;
	for (uint64_t c = 0; c < w->n_chunks; c++) {
		HTH_TRY(await(w, c, err));
		const slot *s = &w->slots[c % w->window];
		HTH_TRY(hth_gguf_writer_write(writer, s->out, s->len, err));
		release(w, c);
		if (options->progress != NULL) {
			size_t i = tensor_of(w, c);
			const hth_gguf_tensor *t = hth_gguf_tensor_at(w->in, i);
			char name[64];
			snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.data);
			uint64_t chunks = w->first_chunk[i + 1] - w->first_chunk[i];
			uint64_t of_tensor = t->n_bytes / chunks * (c - w->first_chunk[i] + 1);
			if (c + 1 == w->first_chunk[i + 1]) {
				of_tensor = 0;
				done += t->n_bytes;
			}
			options->progress(options->progress_ctx, name, done + of_tensor, total);
		}
	}
	return HTH_OK;
}

static void finish(work *w)
{
	for (size_t i = 0; i < w->window && w->slots != NULL; i++)
		free(w->slots[i].out);
	free(w->slots);
	free(w->first_chunk);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
}

static hth_status run(work *w, hth_gguf_writer *writer, unsigned n_threads, const hth_quantize_options *options,
                      hth_error *err)
{
	pthread_t threads[MAX_THREADS];
	unsigned started = 0;
	while (started < n_threads && pthread_create(&threads[started], NULL, worker, w) == 0)
		started++;
	hth_status status = started > 0 ? write_chunks(w, writer, options, err)
	                                : hth_fail(err, HTH_NO_MEMORY, "cannot start a thread to quantise with");
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	return status;
}

static hth_status plan(work *w, const hth_type *types, unsigned n_threads, hth_error *err)
{
	w->types = types;
	w->window = 2 * (size_t)n_threads + 2;
	w->first_chunk = hth_alloc_array(w->n_tensors + 1, sizeof *w->first_chunk);
	w->slots = hth_alloc_array(w->window, sizeof *w->slots);
	if (w->first_chunk == NULL || w->slots == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to quantise with");
	uint64_t most = 0; /* bytes of the largest chunk */
	for (size_t i = 0; i < w->n_tensors; i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(w->in, i);
		w->first_chunk[i + 1] = w->first_chunk[i] + (elements(t) - 1) / CHUNK + 1;
		uint64_t n = HTH_MIN(elements(t), (uint64_t)CHUNK);
		most = HTH_MAX(most, hth_type_row_bytes(types[i], (size_t)n));
	}
	w->n_chunks = w->first_chunk[w->n_tensors];
	for (size_t i = 0; i < w->window; i++)
		if ((w->slots[i].out = malloc(most ? most : 1)) == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory to quantise with");
	return HTH_OK;
}

/* Chooses every tensor's type and declares it; sets *ret_requantized when weights lose precision a second time. */
static hth_status declare(const hth_gguf *in, const hth_mix *mix, hth_gguf_writer *writer, hth_type *types,
                          bool *ret_requantized, hth_error *err)
{
	hth_mix_model model = hth_mix_describe(in);
	*ret_requantized = false;
	for (size_t i = 0; i < hth_gguf_tensor_count(in); i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(in, i);
		if (t->data == NULL)
			return hth_fail(err, HTH_INVALID, "the model was opened without its weights");
		types[i] = hth_mix_choose(mix, &model, t);
		const hth_type_traits *from = hth_type_get(t->type);
		if (types[i] != t->type && from->dequantize_row == NULL)
			return hth_fail(err, HTH_UNSUPPORTED, "tensor %.*s is %s, which cannot be converted",
			                (int)t->name.len, t->name.data, from->name);
		if (types[i] != t->type && from->block_elems > 1 && hth_type_get(types[i])->block_elems > 1)
			*ret_requantized = true;
		char name[64];
		snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.data);
		if (strlen(name) != t->name.len)
			return hth_fail(err, HTH_BAD_FORMAT, "tensor %zu has a zero byte in its name", i);
		hth_gguf_writer_add_tensor(writer, name, types[i], t->n_dims, t->ne);
	}
	return HTH_OK;
}

/* The model's metadata, less what describes the old file. */
static void copy_metadata(const hth_gguf *in, const hth_mix *mix, hth_gguf_writer *writer)
{
	static const char *const old[] = {"general.file_type", "general.quantization_version",
	                                  "general.alignment", "split.no",
	                                  "split.count",       "split.tensors.count"};
	for (size_t i = 0; i < hth_gguf_kv_count(in); i++) {
		const hth_gguf_kv *kv = hth_gguf_kv_at(in, i);
		hth_view key = hth_gguf_kv_key(kv);
		bool skip = false;
		for (size_t k = 0; k < HTH_COUNT(old); k++)
			skip |= key.len == strlen(old[k]) && memcmp(key.data, old[k], key.len) == 0;
		if (!skip)
			hth_gguf_writer_copy_kv(writer, kv);
	}
	hth_gguf_writer_set_u32(writer, "general.quantization_version", 2);
	hth_gguf_writer_set_u32(writer, "general.file_type", mix->file_type);
}

static hth_status unknown_type(const char *ftype, hth_error *err)
{
	hth_buf known = HTH_BUF_INIT(HTH_ERROR_MAX);
	for (const char *const *name = hth_quantize_ftypes(); *name != NULL; name++)
		hth_buf_appendf(&known, "%s%s", known.len ? ", " : "", *name);
	hth_fail_param(err, HTH_INVALID, "type", "unknown quantisation type \"%.40s\"; known are %s", ftype,
	               known.data != NULL ? known.data : "none");
	hth_buf_finish(&known);
	return HTH_INVALID;
}

static void destroy_writer(hth_gguf_writer **writer)
{
	hth_gguf_writer_destroy(*writer);
}

hth_status hth_quantize_file(const hth_gguf *in, int out_fd, const hth_quantize_options *options, hth_error *err)
{
	const hth_mix *mix = hth_mix_find(options->ftype);
	if (mix == NULL)
		return unknown_type(options->ftype, err);
	HTH_CLEANUP(destroy_writer) hth_gguf_writer *writer = NULL;
	HTH_AUTO_FREE hth_type *types = hth_alloc_array(hth_gguf_tensor_count(in), sizeof *types);
	if (types == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to quantise with");
	bool requantized = false;
	HTH_TRY(hth_gguf_writer_create(&writer, out_fd, err));
	copy_metadata(in, mix, writer);
	HTH_TRY(declare(in, mix, writer, types, &requantized, err));
	HTH_TRY(hth_gguf_writer_begin(writer, err));
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n_threads = options->n_threads != 0 ? options->n_threads : (unsigned)HTH_MAX(cores, 1);
	n_threads = HTH_MIN(n_threads, (unsigned)MAX_THREADS);
	work w = {.in = in,
	          .n_tensors = hth_gguf_tensor_count(in),
	          .lock = PTHREAD_MUTEX_INITIALIZER,
	          .changed = PTHREAD_COND_INITIALIZER,
	          .failed = HTH_ERROR_INIT};
	hth_status status = plan(&w, types, n_threads, err);
	if (status == HTH_OK)
		status = run(&w, writer, n_threads, options, err);
	finish(&w);
	HTH_TRY(status);
	HTH_TRY(hth_gguf_writer_finish(writer, err));
	if (options->ret_requantized != NULL)
		*options->ret_requantized = requantized;
	return HTH_OK;
}
