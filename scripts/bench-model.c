/* bench-model.c - makes the models that `make bench` measures: real shapes with random weights, in a type of one's choice. Speed does
 * not depend on the values of weights, so a few rows per matrix are drawn, quantised and repeated: a file takes seconds. Every byte lies at
 * an address of its own all the same, as memory bandwidth wants it. The vocabulary is made up too, and complete enough to chat with: the
 * answers are noise.
 *
 *   bench-model OUT.gguf SHAPE TYPE [VOCABULARY]      (TYPE as in `hearth quantize`)
 *
 * SHAPE: llama-1b, a 1.1 B Llama; qwen-0.5b, Qwen2.5-0.5B: narrow rows and many tokens, whose embeddings are the output's matrix too;
 * experts-3b, six of the 48 layers of Qwen3-30B-A3B: 128 experts, of which a token uses 8.
 * VOCABULARY: a number of tokens to make up (the shape's own), or a GGUF file whose tokens are taken.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "engine/gguf/gguf-writer.h"
#include "engine/quant/quant-mix.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>

enum { VOCAB_MAX = 1 << 18, CONTEXT = 8192, COLS_MAX = 8192, ROWS_DRAWN = 32, TENSORS_MAX = 16, BY_VOCAB = 1 };
static uint32_t n_vocab; /* 0: the shape's own */

typedef struct tensor {
	const char *name; /* %u: the layer; without one, the tensor is there once */
	uint64_t cols, rows; /* rows 0: a vector; BY_VOCAB: a row for each token */
	bool of_experts; /* as many of it as there are experts */
} tensor;

typedef struct shape {
	const char *name, *label, *arch;
	uint32_t vocab, layers, width, ffn, heads, kv_heads, head_dim, experts, experts_used;
	tensor tensors[TENSORS_MAX]; /* up to one without a name */
} shape;
static const shape shapes[] = {
    {"llama-1b", "1.1 B Llama shape", "llama", 32000, 22, 2048, 5632, 32, 4, 64, 0, 0,
     {{"token_embd.weight", 2048, BY_VOCAB, false},
      {"output_norm.weight", 2048, 0, false},
      {"output.weight", 2048, BY_VOCAB, false},
      {"blk.%u.attn_norm.weight", 2048, 0, false},
      {"blk.%u.attn_q.weight", 2048, 2048, false},
      {"blk.%u.attn_k.weight", 2048, 256, false},
      {"blk.%u.attn_v.weight", 2048, 256, false},
      {"blk.%u.attn_output.weight", 2048, 2048, false},
      {"blk.%u.ffn_norm.weight", 2048, 0, false},
      {"blk.%u.ffn_gate.weight", 2048, 5632, false},
      {"blk.%u.ffn_up.weight", 2048, 5632, false},
      {"blk.%u.ffn_down.weight", 5632, 2048, false}}},
    {"qwen-0.5b", "Qwen2.5-0.5B's shape", "qwen2", 151936, 24, 896, 4864, 14, 2, 64, 0, 0,
     {{"token_embd.weight", 896, BY_VOCAB, false},
      {"output_norm.weight", 896, 0, false},
      {"blk.%u.attn_norm.weight", 896, 0, false},
      {"blk.%u.attn_q.weight", 896, 896, false},
      {"blk.%u.attn_q.bias", 896, 0, false},
      {"blk.%u.attn_k.weight", 896, 128, false},
      {"blk.%u.attn_k.bias", 128, 0, false},
      {"blk.%u.attn_v.weight", 896, 128, false},
      {"blk.%u.attn_v.bias", 128, 0, false},
      {"blk.%u.attn_output.weight", 896, 896, false},
      {"blk.%u.ffn_norm.weight", 896, 0, false},
      {"blk.%u.ffn_gate.weight", 896, 4864, false},
      {"blk.%u.ffn_up.weight", 896, 4864, false},
      {"blk.%u.ffn_down.weight", 4864, 896, false}}},
    {"experts-3b", "six layers of Qwen3-30B-A3B's shape", "qwen3moe", 32000, 6, 2048, 6144, 32, 4, 128, 128, 8,
     {{"token_embd.weight", 2048, BY_VOCAB, false},
      {"output_norm.weight", 2048, 0, false},
      {"output.weight", 2048, BY_VOCAB, false},
      {"blk.%u.attn_norm.weight", 2048, 0, false},
      {"blk.%u.attn_q.weight", 2048, 4096, false},
      {"blk.%u.attn_k.weight", 2048, 512, false},
      {"blk.%u.attn_v.weight", 2048, 512, false},
      {"blk.%u.attn_q_norm.weight", 128, 0, false},
      {"blk.%u.attn_k_norm.weight", 128, 0, false},
      {"blk.%u.attn_output.weight", 4096, 2048, false},
      {"blk.%u.ffn_norm.weight", 2048, 0, false},
      {"blk.%u.ffn_gate_inp.weight", 2048, 128, false},
      {"blk.%u.ffn_gate_exps.weight", 2048, 768, true},
      {"blk.%u.ffn_up_exps.weight", 2048, 768, true},
      {"blk.%u.ffn_down_exps.weight", 768, 2048, true}}},
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

static uint64_t rows_of(const tensor *t) { return t->rows == BY_VOCAB ? n_vocab : t->rows; }

/* In large vocabularies every eighth token is one that code and JSON are made of. */
static void join_marks(char *out, size_t len, uint32_t n)
{
	static const char *const marks[] = {"\"", "\":", "\",", "{\"", "}", "]", "[\"", "\xE2\x96\x81\"", ":", ",", "\xE2\x96\x81{", "\"}",
	                                    "\n", "0", "17", ".5"};
	out[0] = '\0';
	for (unsigned i = 0; i < 4 && (i == 0 || n > 0); i++, n /= 16)
		strncat(out, marks[n % 16], len - strlen(out) - 1);
}

static char pieces[VOCAB_MAX][24];

static int by_piece(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = strcmp(pieces[i], pieces[j]);
	return order != 0 ? order : i < j ? -1 : 1;
}

/* Marks joined in two ways may be one text, and no two tokens may: all but the first of them get a number. */
static void tell_apart(void)
{
	static uint32_t order[VOCAB_MAX];
	for (uint32_t i = 0; i < n_vocab; i++)
		order[i] = i;
	qsort(order, n_vocab, sizeof *order, by_piece);
	for (uint32_t i = 1, same_as = 0; i < n_vocab; i++) {
		if (strcmp(pieces[order[i]], pieces[order[same_as]]) != 0)
			same_as = i;
		else
			snprintf(pieces[order[i]] + strlen(pieces[order[i]]), 8, "#%05x", order[i]);
	}
}

static void set_vocabulary(hth_gguf_writer *w)
{
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
		scores[i] = i < 259 ? 0 : -(float)(i - 259);
	}
	tell_apart();
	for (uint32_t i = 0; i < n_vocab; i++)
		views[i] = (hth_view){pieces[i], strlen(pieces[i])};
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

static void set_of_arch(hth_gguf_writer *w, const shape *s, const char *name, uint32_t value)
{
	char key[96];
	snprintf(key, sizeof key, "%s.%s", s->arch, name);
	hth_gguf_writer_set_u32(w, key, value);
}

static void set_metadata(hth_gguf_writer *w, const shape *s, const hth_mix *mix, const hth_gguf *vocabulary)
{
	char text[96];
	hth_gguf_writer_set_string(w, "general.architecture", s->arch);
	snprintf(text, sizeof text, "random weights, %s", s->label);
	hth_gguf_writer_set_string(w, "general.name", text);
	hth_gguf_writer_set_u32(w, "general.file_type", mix->file_type);
	hth_gguf_writer_set_u32(w, "general.quantization_version", 2);
	set_of_arch(w, s, "context_length", CONTEXT);
	set_of_arch(w, s, "embedding_length", s->width);
	set_of_arch(w, s, "block_count", s->layers);
	set_of_arch(w, s, "feed_forward_length", s->ffn);
	set_of_arch(w, s, "attention.head_count", s->heads);
	set_of_arch(w, s, "attention.head_count_kv", s->kv_heads);
	set_of_arch(w, s, "attention.key_length", s->head_dim);
	set_of_arch(w, s, "attention.value_length", s->head_dim);
	set_of_arch(w, s, "rope.dimension_count", s->head_dim);
	set_of_arch(w, s, "vocab_size", n_vocab);
	if (s->experts > 0) {
		set_of_arch(w, s, "expert_count", s->experts);
		set_of_arch(w, s, "expert_used_count", s->experts_used);
		set_of_arch(w, s, "expert_feed_forward_length", s->ffn / s->experts_used);
	}
	snprintf(text, sizeof text, "%s.rope.freq_base", s->arch);
	hth_gguf_writer_set_f32(w, text, 10000);
	snprintf(text, sizeof text, "%s.attention.layer_norm_rms_epsilon", s->arch);
	hth_gguf_writer_set_f32(w, text, 1e-5f);
	if (vocabulary != NULL)
		copy_vocabulary(w, vocabulary);
	else
		set_vocabulary(w);
}

/* Else the token embeddings are the output's matrix too. */
static bool has_output(const shape *s)
{
	for (const tensor *t = s->tensors; t < s->tensors + TENSORS_MAX && t->name != NULL; t++)
		if (strcmp(t->name, "output.weight") == 0)
			return true;
	return false;
}

static hth_type type_of(const hth_mix *mix, const shape *s, const char *name, const tensor *t)
{
	const hth_mix_model model = {.n_layer = s->layers, .n_gqa = s->heads / s->kv_heads, .n_expert = s->experts,
	                             .has_output = has_output(s), .llama = strcmp(s->arch, "llama") == 0};
	if (t->rows == 0 || strstr(name, "ffn_gate_inp") != NULL)
		return HTH_F32;
	hth_gguf_tensor of = {.name = {name, strlen(name)}, .type = HTH_F32, .n_dims = t->of_experts ? 3 : 2,
	                      .ne = {t->cols, rows_of(t), t->of_experts ? s->experts : 1, 1}};
	return hth_mix_choose(mix, &model, &of);
}

/* The rows that were drawn, repeated until the matrix is full. A router's are all drawn: it chooses among its rows. */
static hth_status write_tensor(hth_gguf_writer *w, const shape *s, const tensor *t, hth_type type, hth_error *err)
{
	static float row[COLS_MAX];
	uint64_t rows = HTH_MAX(rows_of(t), 1) * (t->of_experts ? s->experts : 1);
	uint64_t drawn = HTH_MIN(rows, (uint64_t)(type == HTH_F32 ? rows : ROWS_DRAWN));
	size_t row_bytes = hth_type_row_bytes(type, t->cols);
	HTH_AUTO_FREE char *block = hth_alloc_array(drawn, row_bytes);
	if (block == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory");
	for (uint64_t r = 0; r < drawn; r++) {
		for (uint64_t c = 0; c < t->cols; c++)
			row[c] = t->rows == 0 ? 1.0f : draw(0.02f);
		if (type == HTH_F32)
			memcpy(block + r * row_bytes, row, row_bytes);
		else
			hth_type_get(type)->quantize_row(row, block + r * row_bytes, t->cols, NULL);
	}
	for (uint64_t r = 0; r < rows; r += drawn)
		HTH_TRY(hth_gguf_writer_write(w, block, HTH_MIN(drawn, rows - r) * row_bytes, err));
	return HTH_OK;
}

static hth_status each_tensor(hth_gguf_writer *w, const shape *s, const hth_mix *mix, bool write, hth_error *err)
{
	for (const tensor *t = s->tensors; t < s->tensors + TENSORS_MAX && t->name != NULL; t++) {
		bool layered = strchr(t->name, '%') != NULL;
		for (unsigned layer = 0; layer < (layered ? s->layers : 1); layer++) {
			char name[64];
			snprintf(name, sizeof name, t->name, layer);
			hth_type type = type_of(mix, s, name, t);
			if (write)
				HTH_TRY(write_tensor(w, s, t, type, err));
			else
				hth_gguf_writer_add_tensor(w, name, type, t->rows == 0 ? 1 : t->of_experts ? 3 : 2,
				                           (const uint64_t[]){t->cols, rows_of(t), s->experts});
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
	const shape *s = NULL;
	for (size_t i = 0; i < HTH_COUNT(shapes) && (argc == 4 || argc == 5); i++)
		s = strcmp(shapes[i].name, argv[2]) == 0 ? &shapes[i] : s;
	const hth_mix *mix = s != NULL ? hth_mix_find(argv[3]) : NULL;
	hth_error err = HTH_ERROR_INIT;
	hth_gguf *vocabulary = NULL;
	if (mix == NULL || (argc == 5 && !open_vocabulary(argv[4], &vocabulary, &err))) {
		fprintf(stderr,
		        "usage: bench-model OUT.gguf llama-1b|qwen-0.5b|experts-3b TYPE [VOCABULARY], with a TYPE that "
		        "`hearth quantize --list` shows %s\n", err.message);
		return 2;
	}
	n_vocab = n_vocab == 0 ? s->vocab : n_vocab;
	hth_gguf_writer *w = NULL;
	hth_rng_seed(&rng, 1);
	int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	hth_status status = hth_gguf_writer_create(&w, fd, &err);
	if (status == HTH_OK) {
		set_metadata(w, s, mix, vocabulary);
		(void)!each_tensor(w, s, mix, false, &err);
		status = hth_gguf_writer_begin(w, &err);
	}
	if (status == HTH_OK)
		status = each_tensor(w, s, mix, true, &err);
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
