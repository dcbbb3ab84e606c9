/* tiny.h - makes small models with random weights of any architecture, as GGUF files in memory, and keeps the weights
 * so that reference.h can compute the same model in another way.
 *
 * A spec says what the model is in the reference's own words; tiny_write turns it into the metadata keys and tensor
 * names that converters write for that architecture.
 */
#ifndef HTH_TESTS_TINY_H
#define HTH_TESTS_TINY_H

#include "base/mem.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "engine/gguf/gguf-writer.h"
#include "harness.h"

#include <sys/mman.h>

#ifndef TINY_BYTES /* byte tokens of the vocabulary: 0 makes files small */
#define TINY_BYTES 256
#endif
enum { TINY_VOCAB = 3 + TINY_BYTES + 41, TINY_MAX_TENSORS = 1024 };

typedef enum tiny_act { TINY_SILU, TINY_GELU_TANH, TINY_GELU_ERF, TINY_OAI } tiny_act;

typedef struct tiny_spec {
	const char *arch;
	int n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff, n_ctx;
	bool no_key_length; /* leave head_dim to be n_embd / n_head */
	/* rope */
	bool pairs;          /* neighbours, not halves */
	int n_rot;           /* 0: head_dim */
	double base, factor; /* 0: 10000, 1 */
	const char *scaling; /* NULL: key not written */
	bool old_factor_key;
	int ctx_orig;
	double attn_factor; /* 0: 1 */
	int no_rope_step;   /* every so many layers none rotates */
	bool freq_factors, long_factors;
	double local_base; /* of window layers; 0: as base, scaled as base */
	/* attention */
	int window, period; /* layers with i % period < period - 1 see a window */
	bool qkv_bias, qk_norm, sinks, fused_qkv, o_bias;
	double attn_scale, attn_cap, logit_cap; /* 0: 1/sqrt(dim), none, none */
	bool caps_unwritten;                    /* the file leaves the caps to their defaults */
	double temp_scale;
	int temp_length;
	/* around */
	bool post_norms, gate_free, fused_ffn, tied, ffn_norm_is_post; /* ffn_norm_is_post: gpt-oss's name for it */
	tiny_act act;
	double embd_scale, residual_scale, logit_scale; /* 0: 1; logit_scale divides */
	/* experts */
	int n_expert, n_used, n_ff_exp, n_ff_shared;
	bool shared_gate, norm_topk, softmax_after, expert_bias, separate_experts, fused_experts;
	/* one wrong metadata entry, in place of the right one if there is any: 'u' u32, 'f' f32, 's' string, 'a' array
	 * of two u32, '-' absent */
	char wrong;
	const char *wrong_suffix;
	double wrong_value;
	const char *chat_template;
	hth_type type; /* of the large matrices; the kept weights are what it dequantises to */
	uint64_t seed;
} tiny_spec;

typedef struct tiny_tensor {
	char name[64];
	size_t ne[3];
	float *data;
	hth_type type;
} tiny_tensor;

typedef struct tiny {
	tiny_spec spec;
	size_t n_tensors;
	tiny_tensor tensors[TINY_MAX_TENSORS];
	hth_rng rng;
	int fd;
} tiny;

static double tiny_normal(hth_rng *rng)
{
	double u = hth_rng_unit(rng), v = hth_rng_unit(rng);
	return sqrt(-2 * log(u + 1e-12)) * cos(2 * M_PI * v);
}

static tiny_tensor *tiny_find(tiny *t, const char *name)
{
	for (size_t i = 0; i < t->n_tensors; i++)
		if (strcmp(t->tensors[i].name, name) == 0)
			return &t->tensors[i];
	return NULL;
}

/* The weights called so, NULL when the model has none. */
__attribute__((unused, format(printf, 2, 3))) static const float *tiny_get(tiny *t, const char *fmt, ...)
{
	char name[64];
	va_list args;
	va_start(args, fmt);
	vsnprintf(name, sizeof name, fmt, args);
	va_end(args);
	tiny_tensor *found = tiny_find(t, name);
	return found ? found->data : NULL;
}

/* n2 x n1 x n0 values (n0 contiguous) around `mean`. */
static void tiny_add(tiny *t, double mean, double spread, size_t n0, size_t n1, size_t n2, const char *fmt, ...)
    __attribute__((format(printf, 7, 8)));
static void tiny_add(tiny *t, double mean, double spread, size_t n0, size_t n1, size_t n2, const char *fmt, ...)
{
	tiny_tensor *x = &t->tensors[t->n_tensors++];
	va_list args;
	va_start(args, fmt);
	vsnprintf(x->name, sizeof x->name, fmt, args);
	va_end(args);
	x->ne[0] = n0, x->ne[1] = n1, x->ne[2] = n2;
	x->data = malloc(n0 * n1 * n2 * sizeof *x->data);
	for (size_t i = 0; i < n0 * n1 * n2; i++)
		x->data[i] = (float)(mean + spread * tiny_normal(&t->rng));
	const hth_type_traits *traits = hth_type_get(t->spec.type);
	bool large = n1 > 1 && strstr(x->name, "bias") == NULL && strstr(x->name, "inp") == NULL;
	x->type = large && n0 % traits->block_elems == 0 ? t->spec.type : HTH_F32;
}

static void tiny_matrix(tiny *t, size_t cols, size_t rows, const char *name)
{
	tiny_add(t, 0, 1 / sqrt((double)cols), cols, rows, 1, "%s.weight", name);
}

static void tiny_layer(tiny *t, int i)
{
	const tiny_spec *s = &t->spec;
	char at[32];
	snprintf(at, sizeof at, "blk.%d", i);
	size_t nq = (size_t)s->n_head * s->head_dim, nkv = (size_t)s->n_head_kv * s->head_dim, n = s->n_embd;
	double w = 1 / sqrt((double)n);
	tiny_add(t, 1, 0.2, n, 1, 1, "%s.attn_norm.weight", at);
	if (s->fused_qkv) {
		tiny_add(t, 0, w, n, nq + 2 * nkv, 1, "%s.attn_qkv.weight", at);
		if (s->qkv_bias)
			tiny_add(t, 0, 0.2, nq + 2 * nkv, 1, 1, "%s.attn_qkv.bias", at);
	} else {
		const char *names[] = {"attn_q", "attn_k", "attn_v"};
		for (int j = 0; j < 3; j++) {
			tiny_add(t, 0, w, n, j ? nkv : nq, 1, "%s.%s.weight", at, names[j]);
			if (s->qkv_bias)
				tiny_add(t, 0, 0.2, j ? nkv : nq, 1, 1, "%s.%s.bias", at, names[j]);
		}
	}
	tiny_add(t, 0, 1 / sqrt((double)nq), nq, n, 1, "%s.attn_output.weight", at);
	if (s->o_bias)
		tiny_add(t, 0, 0.2, n, 1, 1, "%s.attn_output.bias", at);
	if (s->qk_norm) {
		tiny_add(t, 1, 0.2, s->head_dim, 1, 1, "%s.attn_q_norm.weight", at);
		tiny_add(t, 1, 0.2, s->head_dim, 1, 1, "%s.attn_k_norm.weight", at);
	}
	if (s->sinks)
		tiny_add(t, 0, 1, s->n_head, 1, 1, "%s.attn_sinks.weight", at);
	if (s->post_norms) {
		tiny_add(t, 1, 0.2, n, 1, 1, "%s.post_attention_norm.weight", at);
		tiny_add(t, 1, 0.2, n, 1, 1, "%s.post_ffw_norm.weight", at);
	}
	tiny_add(t, 1, 0.2, n, 1, 1, s->ffn_norm_is_post ? "%s.post_attention_norm.weight" : "%s.ffn_norm.weight", at);
	if (s->n_expert == 0) {
		double d = 1 / sqrt((double)s->n_ff);
		if (!s->fused_ffn)
			tiny_add(t, 0, w, n, s->n_ff, 1, "%s.ffn_gate.weight", at);
		tiny_add(t, 0, w, n, s->fused_ffn ? 2 * s->n_ff : s->n_ff, 1, "%s.ffn_up.weight", at);
		tiny_add(t, 0, d, s->n_ff, n, 1, "%s.ffn_down.weight", at);
		return;
	}
	double d = 1 / sqrt((double)s->n_ff_exp);
	tiny_add(t, 0, 2 * w, n, s->n_expert, 1, "%s.ffn_gate_inp.weight", at);
	if (s->separate_experts) {
		for (int e = 0; e < s->n_expert; e++) {
			tiny_add(t, 0, w, n, s->n_ff_exp, 1, "%s.ffn_gate.%d.weight", at, e);
			tiny_add(t, 0, w, n, s->n_ff_exp, 1, "%s.ffn_up.%d.weight", at, e);
			tiny_add(t, 0, d, s->n_ff_exp, n, 1, "%s.ffn_down.%d.weight", at, e);
		}
	} else {
		if (s->fused_experts) {
			tiny_add(t, 0, w, n, 2 * s->n_ff_exp, s->n_expert, "%s.ffn_gate_up_exps.weight", at);
		} else {
			tiny_add(t, 0, w, n, s->n_ff_exp, s->n_expert, "%s.ffn_gate_exps.weight", at);
			tiny_add(t, 0, w, n, s->n_ff_exp, s->n_expert, "%s.ffn_up_exps.weight", at);
		}
		tiny_add(t, 0, d, s->n_ff_exp, n, s->n_expert, "%s.ffn_down_exps.weight", at);
	}
	if (s->expert_bias) {
		tiny_add(t, 0, 0.2, s->n_expert, 1, 1, "%s.ffn_gate_inp.bias", at);
		tiny_add(t, 0, 0.2, s->n_ff_exp, s->n_expert, 1, "%s.ffn_gate_exps.bias", at);
		tiny_add(t, 0, 0.2, s->n_ff_exp, s->n_expert, 1, "%s.ffn_up_exps.bias", at);
		tiny_add(t, 0, 0.2, n, s->n_expert, 1, "%s.ffn_down_exps.bias", at);
	}
	if (s->n_ff_shared > 0) {
		tiny_add(t, 0, w, n, s->n_ff_shared, 1, "%s.ffn_gate_shexp.weight", at);
		tiny_add(t, 0, w, n, s->n_ff_shared, 1, "%s.ffn_up_shexp.weight", at);
		tiny_add(t, 0, 1 / sqrt((double)s->n_ff_shared), s->n_ff_shared, n, 1, "%s.ffn_down_shexp.weight", at);
		if (s->shared_gate)
			tiny_add(t, 0, 2 * w, n, 1, 1, "%s.ffn_gate_inp_shexp.weight", at);
	}
}

static bool tiny_is_wrong(const tiny_spec *s, const char *suffix)
{
	return s->wrong && strcmp(s->wrong_suffix, suffix) == 0;
}

static void tiny_wrong(hth_gguf_writer *w, const tiny_spec *s)
{
	char key[96];
	snprintf(key, sizeof key, "%s.%s", s->arch, s->wrong ? s->wrong_suffix : "");
	switch (s->wrong) {
	case 'u':
		hth_gguf_writer_set_u32(w, key, (uint32_t)s->wrong_value);
		break;
	case 'f':
		hth_gguf_writer_set_f32(w, key, (float)s->wrong_value);
		break;
	case 's':
		hth_gguf_writer_set_string(w, key, "word");
		break;
	case 'a':
		hth_gguf_writer_set_array(w, key, HTH_GGUF_U32, (const uint32_t[]){(uint32_t)s->wrong_value, 3}, 2);
		break;
	}
}

static void tiny_u32(hth_gguf_writer *w, const tiny_spec *s, const char *suffix, double value)
{
	char key[96];
	snprintf(key, sizeof key, "%s.%s", s->arch, suffix);
	if (value != 0 && !tiny_is_wrong(s, suffix))
		hth_gguf_writer_set_u32(w, key, (uint32_t)value);
}

static void tiny_f32(hth_gguf_writer *w, const tiny_spec *s, const char *suffix, double value)
{
	char key[96];
	snprintf(key, sizeof key, "%s.%s", s->arch, suffix);
	if (value != 0 && !tiny_is_wrong(s, suffix))
		hth_gguf_writer_set_f32(w, key, (float)value);
}

/* A SentencePiece vocabulary: three specials, all bytes, some letters and pairs. */
static void tiny_vocabulary(hth_gguf_writer *w)
{
	static char text[TINY_VOCAB][16];
	hth_view views[TINY_VOCAB];
	float scores[TINY_VOCAB];
	int32_t types[TINY_VOCAB];
	for (int i = 0; i < TINY_VOCAB; i++) {
		if (i < 3)
			snprintf(text[i], sizeof text[i], "%s", (const char *[]){"<unk>", "<s>", "</s>"}[i]);
		else if (i < 3 + TINY_BYTES)
			snprintf(text[i], sizeof text[i], "<0x%02X>", i - 3);
		else
			snprintf(text[i], sizeof text[i],
			         i == 3 + TINY_BYTES   ? "\xE2\x96\x81"
			         : i < 30 + TINY_BYTES ? "%c"
			                               : "%ct",
			         'a' + (i - 4 - TINY_BYTES) % 26);
		views[i] = (hth_view){text[i], strlen(text[i])};
		scores[i] = (float)-i;
		types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 3 + TINY_BYTES ? 6 : 1;
	}
	hth_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
	hth_gguf_writer_set_string(w, "tokenizer.ggml.pre", "default");
	hth_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", views, TINY_VOCAB);
	hth_gguf_writer_set_array(w, "tokenizer.ggml.scores", HTH_GGUF_F32, scores, TINY_VOCAB);
	hth_gguf_writer_set_array(w, "tokenizer.ggml.token_type", HTH_GGUF_I32, types, TINY_VOCAB);
	hth_gguf_writer_set_u32(w, "tokenizer.ggml.bos_token_id", 1);
	hth_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", 2);
	hth_gguf_writer_set_bool(w, "tokenizer.ggml.add_bos_token", true);
}

static void tiny_metadata(hth_gguf_writer *w, const tiny_spec *s)
{
	hth_gguf_writer_set_string(w, "general.architecture", s->arch);
	hth_gguf_writer_set_string(w, "general.name", "tiny");
	tiny_wrong(w, s);
	if (s->chat_template != NULL)
		hth_gguf_writer_set_string(w, "tokenizer.chat_template", s->chat_template);
	tiny_u32(w, s, "context_length", s->n_ctx);
	tiny_u32(w, s, "embedding_length", s->n_embd);
	tiny_u32(w, s, "block_count", s->n_layer);
	tiny_u32(w, s, "attention.head_count", s->n_head);
	tiny_u32(w, s, "attention.head_count_kv", s->n_head_kv);
	if (!s->no_key_length) {
		tiny_u32(w, s, "attention.key_length", s->head_dim);
		tiny_u32(w, s, "attention.value_length", s->head_dim);
	}
	tiny_u32(w, s, "feed_forward_length", s->n_ff);
	tiny_f32(w, s, "attention.layer_norm_rms_epsilon", 1e-5);
	tiny_u32(w, s, "rope.dimension_count", s->n_rot);
	tiny_f32(w, s, "rope.freq_base", s->base);
	if (s->scaling != NULL) {
		char key[96];
		snprintf(key, sizeof key, "%s.rope.scaling.type", s->arch);
		hth_gguf_writer_set_string(w, key, s->scaling);
	}
	tiny_f32(w, s, s->old_factor_key ? "rope.scale_linear" : "rope.scaling.factor", s->factor);
	tiny_u32(w, s, "rope.scaling.original_context_length", s->ctx_orig);
	tiny_f32(w, s, "rope.scaling.attn_factor", s->attn_factor);
	tiny_u32(w, s, "attention.sliding_window", s->window);
	if (!s->caps_unwritten) {
		tiny_f32(w, s, "attn_logit_softcapping", s->attn_cap);
		tiny_f32(w, s, "final_logit_softcapping", s->logit_cap);
	}
	if (strncmp(s->arch, "granite", 7) == 0) {
		tiny_f32(w, s, "attention.scale", s->attn_scale);
		tiny_f32(w, s, "embedding_scale", s->embd_scale);
		tiny_f32(w, s, "residual_scale", s->residual_scale);
		tiny_f32(w, s, "logit_scale", s->logit_scale);
	}
	tiny_f32(w, s, "attention.temperature_scale", s->temp_scale);
	tiny_u32(w, s, "attention.temperature_length", s->temp_length);
	tiny_u32(w, s, "expert_count", s->n_expert);
	tiny_u32(w, s, "expert_used_count", s->n_used);
	if (s->n_ff_exp != s->n_ff)
		tiny_u32(w, s, "expert_feed_forward_length", s->n_ff_exp);
	tiny_u32(w, s, "expert_shared_feed_forward_length", s->n_ff_shared);
}

/* Makes the weights. The file is written by tiny_write; tests may change tensors in between. */
__attribute__((unused)) static tiny *tiny_make(const tiny_spec *spec)
{
	tiny *t = calloc(1, sizeof *t);
	t->spec = *spec;
	t->fd = -1;
	tiny_spec *s = &t->spec;
	s->n_ctx = s->n_ctx ? s->n_ctx : 256;
	hth_rng_seed(&t->rng, s->seed + 1);
	tiny_add(t, 0, 1 / (s->embd_scale ? s->embd_scale : 1), s->n_embd, TINY_VOCAB, 1, "token_embd.weight");
	tiny_add(t, 1, 0.2, s->n_embd, 1, 1, "output_norm.weight");
	if (!s->tied)
		tiny_matrix(t, s->n_embd, TINY_VOCAB, "output");
	size_t half = (s->n_rot ? s->n_rot : s->head_dim) / 2;
	if (s->freq_factors)
		tiny_add(t, 3, 0.5, half, 1, 1, "rope_freqs.weight");
	if (s->long_factors) {
		tiny_add(t, 1.1, 0.02, half, 1, 1, "rope_factors_short.weight");
		tiny_add(t, 4, 0.5, half, 1, 1, "rope_factors_long.weight");
	}
	for (int i = 0; i < s->n_layer; i++)
		tiny_layer(t, i);
	return t;
}

/* Writes the file; from here on tensors hold what their types dequantise to. Returns a descriptor of tiny's. */
__attribute__((unused)) static int tiny_write(tiny *t)
{
	hth_error err = HTH_ERROR_INIT;
	hth_gguf_writer *w = NULL;
	t->fd = memfd_create("tiny", MFD_CLOEXEC);
	if (t->fd < 0 || hth_gguf_writer_create(&w, t->fd, &err) != HTH_OK)
		return -1;
	tiny_metadata(w, &t->spec);
	tiny_vocabulary(w);
	for (size_t i = 0; i < t->n_tensors; i++) {
		tiny_tensor *x = &t->tensors[i];
		uint32_t dims = x->ne[2] > 1 ? 3 : x->ne[1] > 1 ? 2 : 1;
		hth_gguf_writer_add_tensor(w, x->name, x->type, dims, (const uint64_t[]){x->ne[0], x->ne[1], x->ne[2]});
	}
	hth_status status = hth_gguf_writer_begin(w, &err);
	for (size_t i = 0; i < t->n_tensors && status == HTH_OK; i++) {
		tiny_tensor *x = &t->tensors[i];
		size_t row = hth_type_row_bytes(x->type, x->ne[0]), rows = x->ne[1] * x->ne[2];
		void *bytes = malloc(row);
		for (size_t r = 0; r < rows && status == HTH_OK; r++) {
			float *values = x->data + r * x->ne[0];
			if (x->type == HTH_F32) {
				memcpy(bytes, values, row);
			} else {
				hth_type_get(x->type)->quantize_row(values, bytes, x->ne[0], NULL);
				hth_type_get(x->type)->dequantize_row(bytes, values, x->ne[0]);
			}
			status = hth_gguf_writer_write(w, bytes, row, &err);
		}
		free(bytes);
	}
	if (status == HTH_OK)
		status = hth_gguf_writer_finish(w, &err);
	hth_gguf_writer_destroy(w);
	if (status != HTH_OK) {
		test_fail(__FILE__, __LINE__, "writing a %s: %s", t->spec.arch, err.message);
		return -1;
	}
	return t->fd;
}

/* Writes the file and opens it; NULL (and the test fails) when that does not work. */
__attribute__((unused)) static hth_model *tiny_open(tiny *t)
{
	hth_error err = HTH_ERROR_INIT;
	hth_model *model = NULL;
	int fd = t->fd >= 0 ? t->fd : tiny_write(t);
	if (fd < 0 || hth_model_open(&model, &fd, 1, t->spec.arch, &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "opening a %s: %s", t->spec.arch, err.message);
	return model;
}

__attribute__((unused)) static void tiny_free(tiny *t)
{
	for (size_t i = 0; i < t->n_tensors; i++)
		free(t->tensors[i].data);
	if (t->fd >= 0)
		close(t->fd);
	free(t);
}

#endif
