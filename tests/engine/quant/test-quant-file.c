/* Quantising whole files: the mixes' choices are those of the reference's own files, the weights at least as close, and
 * what comes out opens again. */
#include "engine/gguf/gguf-writer.h"
#include "engine/gguf/gguf.h"
#include "engine/quant/quant.h"

#include "base/mem.h"
#include "base/rng.h"
#include "harness.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static hth_error err;

static int temp_fd(void)
{
	return memfd_create("quant-test", MFD_CLOEXEC);
}

static hth_gguf *open_shared(const char *name)
{
	const char *path = test_shared(name);
	if (path == NULL)
		return NULL;
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	hth_gguf *gguf = NULL;
	if (hth_gguf_open(&gguf, &fd, 1, name, &err) != HTH_OK)
		return NULL;
	return gguf;
}

/* Quantises and opens the result; NULL (with err) on failure. */
static hth_gguf *quantized(const hth_gguf *in, const char *ftype, unsigned n_threads, bool *ret_requantized)
{
	HTH_AUTO_CLOSE int fd = temp_fd();
	hth_quantize_options options = {.ftype = ftype, .n_threads = n_threads, .ret_requantized = ret_requantized};
	err = HTH_ERROR_INIT;
	hth_gguf *out = NULL;
	if (hth_quantize_file(in, fd, &options, &err) != HTH_OK || hth_gguf_open(&out, &fd, 1, ftype, &err) != HTH_OK)
		return NULL;
	return out;
}

static const hth_gguf_tensor *same_tensor(const hth_gguf *gguf, const hth_gguf_tensor *like)
{
	char name[64];
	snprintf(name, sizeof name, "%.*s", (int)like->name.len, like->name.data);
	return hth_gguf_tensor_find(gguf, name);
}

/* Squared error between two tensors of one shape, over the squared norm of the first. */
static double relative_error(const hth_gguf_tensor *a, const hth_gguf_tensor *b)
{
	size_t n = (size_t)(a->ne[0] * a->ne[1] * a->ne[2] * a->ne[3]);
	HTH_AUTO_FREE float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
	hth_type_get(a->type)->dequantize_row(a->data, x, n);
	hth_type_get(b->type)->dequantize_row(b->data, y, n);
	double sum = 0, norm = 1e-30;
	for (size_t i = 0; i < n; i++) {
		sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
		norm += (double)x[i] * (double)x[i];
	}
	return sum / norm;
}

TEST(mixes_choose_as_the_reference_does_and_are_as_close)
{
	static const char *const mixes[] = {"Q4_K_M", "Q5_K_M", "Q6_K", "Q4_0"};
	hth_gguf *source = open_shared("goldens/engine/llama-micro-Q8_0.gguf");
	if (source == NULL)
		SKIP("no ../shared/goldens");
	for (size_t m = 0; m < HTH_COUNT(mixes); m++) {
		char name[64];
		snprintf(name, sizeof name, "goldens/engine/llama-micro-%s.gguf", mixes[m]);
		hth_gguf *reference = open_shared(name);
		bool again = false;
		hth_gguf *ours = quantized(source, mixes[m], 2, &again);
		if (reference == NULL || ours == NULL) {
			test_fail(__FILE__, __LINE__, "%s: %s", mixes[m], err.message);
			break;
		}
		CHECK(again);
		uint32_t file_type = 0, want = 1;
		CHECK_OK(hth_gguf_get_u32(ours, "general.file_type", &file_type, &err));
		CHECK_OK(hth_gguf_get_u32(reference, "general.file_type", &want, &err));
		CHECK_INT(file_type, want);
		double our_error = 0, their_error = 0;
		for (size_t i = 0; i < hth_gguf_tensor_count(source); i++) {
			const hth_gguf_tensor *s = hth_gguf_tensor_at(source, i);
			const hth_gguf_tensor *a = same_tensor(ours, s), *b = same_tensor(reference, s);
			if (a == NULL || b == NULL || a->type != b->type) {
				test_fail(__FILE__, __LINE__, "%s: tensor %.*s is %s, the reference's %s", mixes[m],
				          (int)s->name.len, s->name.data, a ? hth_type_get(a->type)->name : "absent",
				          b ? hth_type_get(b->type)->name : "absent");
				continue;
			}
			our_error += relative_error(s, a);
			their_error += relative_error(s, b);
		}
		/* The source here is 8-bit itself, so a format's own steps may fall on its; allow for that. */
		if (our_error > their_error * 1.02)
			test_fail(__FILE__, __LINE__, "%s: error %.6f, the reference's %.6f", mixes[m], our_error,
			          their_error);
		hth_gguf_close(ours);
		hth_gguf_close(reference);
	}
	hth_gguf_close(source);
}

/* Every mix of every small model: opens, has the same tensors and metadata, and is close to what it was. */
TEST(every_mix_of_every_architecture_opens_again)
{
	static const char *const models[] = {"llama", "llama-moe", "gpt-oss-mxfp4", "qwen2", "phi3"};
	if (test_shared("goldens/README.md") == NULL)
		SKIP("no ../shared/goldens");
	for (size_t m = 0; m < HTH_COUNT(models); m++) {
		char name[64];
		snprintf(name, sizeof name, "goldens/engine/%s.gguf", models[m]);
		hth_gguf *source = open_shared(name);
		REQUIRE(source != NULL);
		for (const char *const *ftype = hth_quantize_ftypes(); *ftype != NULL; ftype++) {
			if (m > 1 && (ftype - hth_quantize_ftypes()) % 3 != (ptrdiff_t)(m % 3))
				continue; /* every mix on two models, a third of them on the others */
			hth_gguf *out = quantized(source, *ftype, 3, NULL);
			if (out == NULL) {
				test_fail(__FILE__, __LINE__, "%s %s: %s", models[m], *ftype, err.message);
				continue;
			}
			CHECK_INT(hth_gguf_tensor_count(out), hth_gguf_tensor_count(source));
			CHECK(hth_gguf_find(out, "tokenizer.ggml.tokens") != NULL);
			uint32_t version = 0;
			CHECK_OK(hth_gguf_get_u32(out, "general.quantization_version", &version, &err));
			CHECK_INT(version, 2);
			bool ternary = strncmp(*ftype, "TQ", 2) == 0;
			for (size_t i = 0; i < hth_gguf_tensor_count(source); i++) {
				const hth_gguf_tensor *s = hth_gguf_tensor_at(source, i),
				                      *t = hth_gguf_tensor_at(out, i);
				CHECK(s->name.len == t->name.len &&
				      memcmp(s->name.data, t->name.data, s->name.len) == 0);
				CHECK(memcmp(s->ne, t->ne, sizeof s->ne) == 0);
				double off = sqrt(relative_error(s, t));
				if (!(off <= (ternary ? 0.6 : 0.35)))
					test_fail(__FILE__, __LINE__, "%s %s: tensor %zu is off by %.3f", models[m],
					          *ftype, i, off);
				if (s->n_dims == 1)
					CHECK_INT(t->type, HTH_F32);
			}
			hth_gguf_close(out);
		}
		hth_gguf_close(source);
	}
}

TEST(odd_rows_fall_back_and_routers_stay_floats)
{
	hth_gguf *source = open_shared("goldens/engine/llama-moe.gguf"); /* rows of 64 and 160 values, 8 experts */
	if (source == NULL)
		SKIP("no ../shared/goldens");
	hth_gguf *out = quantized(source, "q4_k_m", 2, NULL);
	REQUIRE(out != NULL);
	CHECK_INT(hth_gguf_tensor_find(out, "blk.0.ffn_gate_inp.weight")->type, HTH_F32);
	CHECK_INT(hth_gguf_tensor_find(out, "blk.0.ffn_gate_exps.weight")->type, HTH_Q5_0);
	CHECK_INT(hth_gguf_tensor_find(out, "blk.0.attn_v.weight")->type, HTH_Q8_0);
	CHECK_INT(hth_gguf_tensor_find(out, "output.weight")->type, HTH_Q8_0);
	hth_gguf_close(out);
	out = quantized(source, "MXFP4", 2, NULL);
	REQUIRE(out != NULL);
	CHECK_INT(hth_gguf_tensor_find(out, "blk.0.ffn_gate_exps.weight")->type, HTH_MXFP4);
	CHECK_INT(hth_gguf_tensor_find(out, "blk.0.attn_q.weight")->type, HTH_Q8_0);
	hth_gguf_close(out);
	hth_gguf_close(source);
}

/* A file of random weights, made with the writer: one matrix of `type` and a norm. poison >= 0: that element is bad. */
static hth_gguf *random_model(hth_type type, uint64_t cols, uint64_t rows, long poison, float bad)
{
	HTH_AUTO_CLOSE int fd = temp_fd();
	hth_gguf_writer *w = NULL;
	if (hth_gguf_writer_create(&w, fd, &err) != HTH_OK)
		return NULL;
	hth_gguf_writer_set_string(w, "general.architecture", "llama");
	hth_gguf_writer_set_u32(w, "llama.block_count", 1);
	hth_gguf_writer_add_tensor(w, "blk.0.ffn_down.weight", type, 2, (const uint64_t[]){cols, rows});
	hth_gguf_writer_add_tensor(w, "output_norm.weight", HTH_F32, 1, (const uint64_t[]){4});
	hth_status status = hth_gguf_writer_begin(w, &err);
	HTH_AUTO_FREE float *row = malloc(cols * sizeof *row);
	HTH_AUTO_FREE void *blocks = malloc(cols * 4);
	hth_rng rng;
	hth_rng_seed(&rng, 3);
	for (uint64_t r = 0; r < rows && status == HTH_OK; r++) {
		for (uint64_t c = 0; c < cols; c++)
			row[c] = (long)(r * cols + c) == poison ? bad : (float)(hth_rng_unit(&rng) - 0.5);
		hth_type_get(type)->quantize_row(row, blocks, cols, NULL);
		status = hth_gguf_writer_write(w, blocks, hth_type_row_bytes(type, cols), &err);
	}
	if (status == HTH_OK)
		status = hth_gguf_writer_write(w, (const float[]){1, 1, 1, 1}, 16, &err);
	if (status == HTH_OK)
		status = hth_gguf_writer_finish(w, &err);
	hth_gguf_writer_destroy(w);
	hth_gguf *gguf = NULL;
	if (status != HTH_OK || hth_gguf_open(&gguf, &fd, 1, "random", &err) != HTH_OK)
		return NULL;
	return gguf;
}

typedef struct progress_log {
	uint64_t last, total;
	unsigned calls;
	bool backwards;
} progress_log;

static void log_progress(void *ctx, const char *tensor, uint64_t done, uint64_t total)
{
	progress_log *log = ctx;
	log->backwards |= done < log->last || done > total || tensor[0] == '\0';
	log->last = done;
	log->total = total;
	log->calls++;
}

TEST(the_result_does_not_depend_on_threads_and_progress_only_grows)
{
	hth_gguf *in = random_model(HTH_BF16, 768, 700, -1, 0); /* more than one chunk, the last one short */
	REQUIRE(in != NULL);
	HTH_AUTO_FREE char *first = NULL;
	size_t first_len = 0;
	for (unsigned n_threads = 1; n_threads <= 5; n_threads += 2) {
		HTH_AUTO_CLOSE int fd = temp_fd();
		progress_log log = {0};
		hth_quantize_options options = {"Q5_K_S", n_threads, log_progress, &log, NULL};
		REQUIRE_OK(hth_quantize_file(in, fd, &options, &err));
		CHECK(log.calls >= 5 && !log.backwards && log.last == log.total);
		size_t len = (size_t)lseek(fd, 0, SEEK_END);
		HTH_AUTO_FREE char *bytes = malloc(len);
		REQUIRE(pread(fd, bytes, len, 0) == (ssize_t)len);
		if (first == NULL) {
			first = bytes;
			bytes = NULL;
			first_len = len;
		} else {
			CHECK(len == first_len && memcmp(bytes, first, len) == 0);
		}
	}
	hth_gguf_close(in);
}

TEST(weights_that_are_not_finite_or_do_not_fit_are_refused)
{
	hth_gguf *in = random_model(HTH_F32, 256, 600, 150000, NAN);
	REQUIRE(in != NULL);
	CHECK(quantized(in, "Q4_K_M", 2, NULL) == NULL);
	CHECK_INT(err.status, HTH_BAD_FORMAT);
	CHECK(strstr(err.message, "blk.0.ffn_down.weight holds nan at element 150000") != NULL);
	hth_gguf_close(in);
	in = random_model(HTH_F32, 256, 600, 7, 70000);
	REQUIRE(in != NULL);
	CHECK(quantized(in, "F16", 2, NULL) == NULL);
	CHECK_INT(err.status, HTH_INVALID);
	CHECK(strstr(err.message, "take BF16 or F32") != NULL);
	hth_gguf *out = quantized(in, "BF16", 2, NULL);
	CHECK(out != NULL);
	hth_gguf_close(out);
	hth_gguf_close(in);
}

TEST(unknown_types_full_disks_and_what_cannot_be_converted)
{
	hth_gguf *in = random_model(HTH_F16, 256, 4, -1, 0);
	REQUIRE(in != NULL);
	CHECK(quantized(in, "Q9_Z", 1, NULL) == NULL);
	CHECK_INT(err.status, HTH_INVALID);
	CHECK_STR(err.param, "type");
	CHECK(strstr(err.message, "Q4_K_M, ") != NULL);
	for (const char *const *name = hth_quantize_ftypes(); *name != NULL; name++)
		CHECK(strstr(err.message, *name) != NULL);
	HTH_AUTO_CLOSE int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (full >= 0) {
		hth_quantize_options options = {.ftype = "Q8_0", .n_threads = 2};
		CHECK_INT(hth_quantize_file(in, full, &options, &err), HTH_IO);
	}
	bool again = true;
	hth_gguf *out = quantized(in, "Q4_K", 0, &again);
	CHECK(out != NULL && !again);
	CHECK_INT(hth_gguf_tensor_find(out, "blk.0.ffn_down.weight")->type, HTH_Q6_K);
	CHECK_INT(hth_gguf_tensor_find(out, "output_norm.weight")->type, HTH_F32);
	hth_gguf_close(out);
	out = quantized(in, "MXFP4", 1, NULL);
	REQUIRE(out != NULL);
	CHECK_INT(hth_gguf_tensor_find(out, "blk.0.ffn_down.weight")->type, HTH_MXFP4);
	hth_gguf_close(out);
	hth_gguf_close(in);
}

TEST_MAIN()
