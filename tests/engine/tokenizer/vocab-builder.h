/* vocab-builder.h - makes the bytes of a vocabulary-only GGUF file in memory, for tests and the fuzzer: well-formed
 * files whose contents may be as wrong as a test wants. */
#ifndef HTH_TESTS_VOCAB_BUILDER_H
#define HTH_TESTS_VOCAB_BUILDER_H

#include "base/buf.h"
#include "base/mem.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tokenizer.h"

#include <stdio.h>

typedef struct builder {
	hth_buf b;
	uint64_t n_kv;
} builder;

static inline void builder_u32(builder *w, uint32_t v)
{
	hth_buf_append(&w->b, &v, 4);
}
static inline void builder_u64(builder *w, uint64_t v)
{
	hth_buf_append(&w->b, &v, 8);
}
static inline void builder_bytes(builder *w, const char *s, size_t n)
{
	builder_u64(w, n);
	hth_buf_append(&w->b, s, n);
}

static inline void builder_start(builder *w)
{
	*w = (builder){.b = HTH_BUF_INIT((size_t)64 << 20)};
	hth_buf_append(&w->b, "GGUF", 4);
	builder_u32(w, 3);
	builder_u64(w, 0);
	builder_u64(w, 0);
}

static inline void builder_key(builder *w, const char *key, uint32_t type)
{
	builder_bytes(w, key, strlen(key));
	builder_u32(w, type);
	w->n_kv++;
}

static inline void builder_string(builder *w, const char *key, const char *value)
{
	builder_key(w, key, HTH_GGUF_STRING);
	builder_bytes(w, value, strlen(value));
}
static inline void builder_uint(builder *w, const char *key, uint32_t value)
{
	builder_key(w, key, HTH_GGUF_U32);
	builder_u32(w, value);
}
static inline void builder_bool(builder *w, const char *key, bool value)
{
	builder_key(w, key, HTH_GGUF_BOOL);
	hth_buf_append_char(&w->b, value);
}
static inline void builder_array(builder *w, const char *key, hth_gguf_type type, const void *values, size_t n,
                                 size_t size)
{
	builder_key(w, key, HTH_GGUF_ARRAY);
	builder_u32(w, type);
	builder_u64(w, n);
	hth_buf_append(&w->b, values, n * size);
}
static inline void builder_strings(builder *w, const char *key, const char *const *values, size_t n)
{
	builder_key(w, key, HTH_GGUF_ARRAY);
	builder_u32(w, HTH_GGUF_STRING);
	builder_u64(w, n);
	for (size_t i = 0; i < n; i++)
		builder_bytes(w, values[i], strlen(values[i]));
}

/* Ends the header and gives the file's bytes, good until the builder is freed. */
static inline const char *builder_end(builder *w, size_t *ret_len)
{
	while (w->b.len % 32 != 0)
		hth_buf_append_char(&w->b, 0);
	memcpy(w->b.data + 16, &w->n_kv, 8);
	*ret_len = w->b.len;
	return w->b.data;
}

typedef struct made {
	builder w;
	hth_gguf *gguf;
	hth_tokenizer *t;
} made;

/* Opens what was built; the status of the tokenizer. */
static inline hth_status made_open(made *m, hth_error *err)
{
	size_t len;
	const char *bytes = builder_end(&m->w, &len);
	HTH_TRY(hth_gguf_open_memory(&m->gguf, bytes, len, "made", err));
	return hth_tokenizer_create(&m->t, m->gguf, err);
}

static inline void made_close(made *m)
{
	hth_tokenizer_destroy(m->t);
	hth_gguf_close(m->gguf);
	hth_buf_finish(&m->w.b);
	m->t = NULL;
	m->gguf = NULL;
}

/* Vocabularies under construction. */
enum { VOCAB_CAP = 4096 };
typedef struct vocab_list {
	char *text[VOCAB_CAP];
	int32_t type[VOCAB_CAP];
	float score[VOCAB_CAP];
	size_t n;
} vocab_list;

static inline int32_t vocab_add(vocab_list *v, const char *text, int32_t type, float score)
{
	v->text[v->n] = strdup(text);
	v->type[v->n] = type;
	v->score[v->n] = score;
	return (int32_t)v->n++;
}

static inline void vocab_write(vocab_list *v, builder *w)
{
	builder_strings(w, "tokenizer.ggml.tokens", (const char *const *)v->text, v->n);
	builder_array(w, "tokenizer.ggml.token_type", HTH_GGUF_I32, v->type, v->n, sizeof *v->type);
	builder_array(w, "tokenizer.ggml.scores", HTH_GGUF_F32, v->score, v->n, sizeof *v->score);
}

static inline void vocab_free(vocab_list *v)
{
	for (size_t i = 0; i < v->n; i++)
		free(v->text[i]);
	v->n = 0;
}

/* <unk> <s> </s> and the 256 byte tokens, as SentencePiece models begin. */
static inline void vocab_add_spm_base(vocab_list *v)
{
	vocab_add(v, "<unk>", 2, 0);
	vocab_add(v, "<s>", 3, 0);
	vocab_add(v, "</s>", 3, 0);
	for (int i = 0; i < 256; i++) {
		char piece[8];
		snprintf(piece, sizeof piece, "<0x%02X>", i);
		vocab_add(v, piece, 6, 0);
	}
}

/* One character of GPT-2's alphabet as UTF-8. */
static inline const char *byte_char(unsigned byte, char out[4])
{
	unsigned cp = byte, other = 0;
	for (unsigned b = 0; b < 256; b++) {
		bool plain = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
		if (b == byte && !plain)
			cp = 256 + other;
		other += !plain;
	}
	if (cp < 0x80) {
		out[0] = (char)cp;
		out[1] = '\0';
	} else {
		out[0] = (char)(0xC0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 63));
		out[2] = '\0';
	}
	return out;
}

static inline void vocab_add_byte_alphabet(vocab_list *v)
{
	for (unsigned b = 0; b < 256; b++) {
		char c[4];
		vocab_add(v, byte_char(b, c), 1, 0);
	}
}

#endif
