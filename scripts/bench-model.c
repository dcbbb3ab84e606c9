/* bench-model.c - makes the model that `make bench` measures: the shape of a 1.1 B Llama with random weights, in a type of one's
 * choice. Speed does not depend on the values of weights, so a few rows per matrix are drawn, quantised and repeated: a file takes
 * seconds. Every byte lies at an address of its own all the same, as memory bandwidth wants it. The vocabulary is made up too, and
 * complete enough to chat with: the answers are noise.
 *
 *   bench-model OUT.gguf TYPE [VOCABULARY]      (TYPE as in `hearth quantize`)
 *
 * VOCABULARY: a number of tokens to make up (32000), or a GGUF file whose tokens are taken.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "engine/gguf/gguf-writer.h"
#include "engine/quant/quant-mix.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>

enum { LAYERS = 22, WIDTH = 2048, FFN = 5632, HEADS = 32, KV_HEADS = 4, VOCAB_MAX = 1 << 18, CONTEXT = 8192, ROWS_DRAWN = 32,
       BY_VOCAB = 1 };
static uint32_t n_vocab = 32000;

typedef struct shape {
	const char *name; /* %u: the layer; without one, the tensor is there once */
	uint64_t cols, rows; /* BY_VOCAB: a row for each token */
} shape;
static const shape shapes[] = {
    {"token_embd.weight", WIDTH, BY_VOCAB},
    {"output_norm.weight", WIDTH, 0},
    {"output.weight", WIDTH, BY_VOCAB},
    {"blk.%u.attn_norm.weight", WIDTH, 0},
    {"blk.%u.attn_q.weight", WIDTH, WIDTH},
    {"blk.%u.attn_k.weight", WIDTH, WIDTH / HEADS *KV_HEADS},
    {"blk.%u.attn_v.weight", WIDTH, WIDTH / HEADS *KV_HEADS},
    {"blk.%u.attn_output.weight", WIDTH, WIDTH},
    {"blk.%u.ffn_norm.weight", WIDTH, 0},
    {"blk.%u.ffn_gate.weight", WIDTH, FFN},
    {"blk.%u.ffn_up.weight", WIDTH, FFN},
    {"blk.%u.ffn_down.weight", FFN, WIDTH},
};

static hth_rng rng;

/* About normal: the sum of twelve uniform numbers. */
static float draw(float scale)
{
	double sum = -6;
	for (int i = 0; i < 12; i++)
		sum += hth_rng_unit(&rng);
	return (float)sum * scale;
}

static uint64_t rows_of(const shape *s) { return s->rows == BY_VOCAB ? n_vocab : s->rows; }

/* In large vocabularies every eighth token is one that code and JSON are made of. */
static void join_marks(char *out, size_t len, uint32_t n)
{
	static const char *const marks[] = {"\"", "\":", "\",", "{\"", "}", "]", "[\"", "\xE2\x96\x81\"", ":", ",", "\xE2\x96\x81{", "\"}",
	                                    "\n", "0", "17", ".5"};
	out[0] = '\0';
	for (unsigned i = 0; i < 4 && (i == 0 || n > 0); i++, n /= 16)
		strncat(out, marks[n % 16], len - strlen(out) - 1);
}

static void set_vocabulary(hth_gguf_writer *w)
{
	static char pieces[VOCAB_MAX][24];
	static hth_view views[VOCAB_MAX];
	static float scores[VOCAB_MAX];
	static int32_t types[VOCAB_MAX];
	for (uint32_t i = 0; i < n_vocab; i++) {
		static const char *const first[] = {"<unk>", "<s>", "</s>"};
		types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1; /* unknown, control, byte, normal */
		if (i < 3)
			snprintf(pieces[i], sizeof pieces[i], "%s", first[i]);
		else if (i < 259)
			snprintf(pieces[i], sizeof pieces[i], "<0x%02X>", i - 3);
		else if (i < 285)
			snprintf(pieces[i], sizeof pieces[i], "%c", 'a' + (int)(i - 259));
		else if (i == 285)
			snprintf(pieces[i], sizeof pieces[i], "\xE2\x96\x81");
		else if (n_vocab > 32000 && i >= 988 && i % 8 == 0)
			join_marks(pieces[i], sizeof pieces[i], i / 8);
		else if (i < 286 + 26) /* a space and one, two, then three letters: merges reach a word of three as one token */
			snprintf(pieces[i], sizeof pieces[i], "\xE2\x96\x81%c", 'a' + (int)(i - 286));
		else if (i < 312 + 676)
			snprintf(pieces[i], sizeof pieces[i], "\xE2\x96\x81%c%c", 'a' + (int)((i - 312) % 26), 'a' + (int)((i - 312) / 26));
		else { /* each is a number in base 26 */
			uint32_t n = i - 988;
			snprintf(pieces[i], sizeof pieces[i], n < 17576 ? "\xE2\x96\x81%c%c%c" : "%c%c%c%c", 'a' + (int)(n % 26),
			         'a' + (int)(n / 26 % 26), 'a' + (int)(n / 676 % 26), 'a' + (int)(n / 17576));
		}
		views[i] = (hth_view){pieces[i], strlen(pieces[i])};
		scores[i] = i < 259 ? 0 : -(float)(i - 259);
	}
	hth_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
	hth_gguf_writer_set_string(w, "tokenizer.ggml.pre", "default");
	hth_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", views, n_vocab);
	hth_gguf_writer_set_array(w, "tokenizer.ggml.scores", HTH_GGUF_F32, scores, n_vocab);
	hth_gguf_writer_set_array(w, "tokenizer.ggml.token_type", HTH_GGUF_I32, types, n_vocab);
	hth_gguf_writer_set_u32(w, "tokenizer.ggml.bos_token_id", 1);
	hth_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", 2);
	hth_gguf_writer_set_u32(w, "tokenizer.ggml.unknown_token_id", 0);
	hth_gguf_writer_set_bool(w, "tokenizer.ggml.add_bos_token", true);
	hth_gguf_writer_set_string(w, "tokenizer.chat_template",
	                           "{{ bos_token }}{% for m in messages %}{{ m['content'] }} {% endfor %}");
}

static bool is_vocabulary(hth_view key) { return key.len > 10 && memcmp(key.data, "tokenizer.", 10) == 0; }

static void copy_vocabulary(hth_gguf_writer *w, const hth_gguf *from)
{
	for (size_t i = 0; i < hth_gguf_kv_count(from); i++)
		if (is_vocabulary(hth_gguf_kv_key(hth_gguf_kv_at(from, i))))
			hth_gguf_writer_copy_kv(w, hth_gguf_kv_at(from, i));
}

static void set_metadata(hth_gguf_writer *w, const hth_mix *mix, const hth_gguf *vocabulary)
{
	hth_gguf_writer_set_string(w, "general.architecture", "llama");
	hth_gguf_writer_set_string(w, "general.name", "random weights, 1.1 B Llama shape");
	hth_gguf_writer_set_u32(w, "general.file_type", mix->file_type);
	hth_gguf_writer_set_u32(w, "general.quantization_version", 2);
	hth_gguf_writer_set_u32(w, "llama.context_length", CONTEXT);
	hth_gguf_writer_set_u32(w, "llama.embedding_length", WIDTH);
	hth_gguf_writer_set_u32(w, "llama.block_count", LAYERS);
	hth_gguf_writer_set_u32(w, "llama.feed_forward_length", FFN);
	hth_gguf_writer_set_u32(w, "llama.attention.head_count", HEADS);
	hth_gguf_writer_set_u32(w, "llama.attention.head_count_kv", KV_HEADS);
	hth_gguf_writer_set_u32(w, "llama.rope.dimension_count", WIDTH / HEADS);
	hth_gguf_writer_set_f32(w, "llama.rope.freq_base", 10000);
	hth_gguf_writer_set_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	hth_gguf_writer_set_u32(w, "llama.vocab_size", n_vocab);
	if (vocabulary != NULL)
		copy_vocabulary(w, vocabulary);
	else
		set_vocabulary(w);
}

static hth_type type_of(const hth_mix *mix, const char *name, const shape *s)
{
	static const hth_mix_model model = {.n_layer = LAYERS, .n_gqa = HEADS / KV_HEADS, .has_output = true, .llama = true};
	if (s->rows == 0)
		return HTH_F32;
	hth_gguf_tensor t = {.name = {name, strlen(name)}, .type = HTH_F32, .n_dims = 2, .ne = {s->cols, rows_of(s), 1, 1}};
	return hth_mix_choose(mix, &model, &t);
}

/* The rows that were drawn, repeated until the matrix is full. */
static hth_status write_tensor(hth_gguf_writer *w, const shape *s, hth_type type, hth_error *err)
{
	static float row[FFN];
	uint64_t rows = HTH_MAX(rows_of(s), 1), drawn = HTH_MIN(rows, (uint64_t)ROWS_DRAWN);
	size_t row_bytes = hth_type_row_bytes(type, s->cols);
	HTH_AUTO_FREE char *block = hth_alloc_array(drawn, row_bytes);
	if (block == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory");
	for (uint64_t r = 0; r < drawn; r++) {
		for (uint64_t c = 0; c < s->cols; c++)
			row[c] = s->rows == 0 ? 1.0f : draw(0.02f);
		if (type == HTH_F32)
			memcpy(block + r * row_bytes, row, row_bytes);
		else
			hth_type_get(type)->quantize_row(row, block + r * row_bytes, s->cols, NULL);
	}
	for (uint64_t r = 0; r < rows; r += drawn)
		HTH_TRY(hth_gguf_writer_write(w, block, HTH_MIN(drawn, rows - r) * row_bytes, err));
	return HTH_OK;
}

static hth_status each_tensor(hth_gguf_writer *w, const hth_mix *mix, bool write, hth_error *err)
{
	for (size_t i = 0; i < HTH_COUNT(shapes); i++) {
		const shape *s = &shapes[i];
		bool layered = strchr(s->name, '%') != NULL;
		for (unsigned layer = 0; layer < (layered ? LAYERS : 1); layer++) {
			char name[64];
			snprintf(name, sizeof name, s->name, layer);
			hth_type type = type_of(mix, name, s);
			if (write)
				HTH_TRY(write_tensor(w, s, type, err));
			else
				hth_gguf_writer_add_tensor(w, name, type, s->rows == 0 ? 1 : 2, (const uint64_t[]){s->cols, rows_of(s)});
		}
	}
	return HTH_OK;
}

/* A number of tokens, or a file that has some. */
static bool open_vocabulary(const char *text, hth_gguf **ret_gguf, hth_error *err)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (*end == '\0') {
		n_vocab = (uint32_t)n;
		return n >= 300 && n <= VOCAB_MAX;
	}
	int fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || hth_gguf_open(ret_gguf, &fd, 1, text, err) != HTH_OK)
		return false;
	close(fd);
	const hth_gguf_kv *tokens;
	if (hth_gguf_get_array(*ret_gguf, "tokenizer.ggml.tokens", HTH_GGUF_STRING, &tokens, err) != HTH_OK)
		return false;
	n_vocab = (uint32_t)hth_gguf_array_len(tokens);
	return true;
}

int main(int argc, char **argv)
{
	const hth_mix *mix = argc == 3 || argc == 4 ? hth_mix_find(argv[2]) : NULL;
	hth_error err = HTH_ERROR_INIT;
	hth_gguf *vocabulary = NULL;
	if (mix == NULL || (argc == 4 && !open_vocabulary(argv[3], &vocabulary, &err))) {
		fprintf(stderr, "usage: bench-model OUT.gguf TYPE [VOCABULARY], with a TYPE that `hearth quantize --list` shows %s\n",
		        err.message);
		return 2;
	}
	hth_gguf_writer *w = NULL;
	hth_rng_seed(&rng, 1);
	int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	hth_status status = hth_gguf_writer_create(&w, fd, &err);
	if (status == HTH_OK) {
		set_metadata(w, mix, vocabulary);
		(void)!each_tensor(w, mix, false, &err);
		status = hth_gguf_writer_begin(w, &err);
	}
	if (status == HTH_OK)
		status = each_tensor(w, mix, true, &err);
	if (status == HTH_OK)
		status = hth_gguf_writer_finish(w, &err);
	hth_gguf_writer_destroy(w);
	hth_gguf_close(vocabulary);
	close(fd);
	if (status != HTH_OK) {
		fprintf(stderr, "bench-model: %s\n", err.message);
		unlink(argv[1]);
	}
	return status == HTH_OK ? 0 : 1;
}
