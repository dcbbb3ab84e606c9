/* model-weights.c - finds a model's tensors and checks each one's shape and type before anything computes with it.
 *
 * Names are those of the GGUF specification's standard tensor list. Fused tensors (attn_qkv, phi3's gate and up in one,
 * stacked experts) become several matrices over the same bytes, since a matrix's rows follow each other: no forward
 * pass knows that they were fused. Runs once, on the thread that opens the model.
 */
#include "engine/model/model-weights.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

enum { NAME_MAX_LEN = 80 };

static const hth_gguf_tensor *find(hth_loader *ld, const char *name)
{
	return hth_gguf_tensor_find(ld->model->gguf, name);
}

static hth_status missing(hth_loader *ld, const char *name)
{
	return hth_fail(ld->err, HTH_BAD_FORMAT,
	                "tensor %s is missing; the file is incomplete or not really a %s model", name, ld->reader.arch);
}

static hth_status wrong_shape(hth_loader *ld, const char *name, const hth_gguf_tensor *t, size_t cols, size_t rows,
                              size_t n)
{
	char want[64];
	if (n > 1)
		snprintf(want, sizeof want, "%zu x %zu x %zu", cols, rows, n);
	else if (rows > 1)
		snprintf(want, sizeof want, "%zu x %zu", cols, rows);
	else
		snprintf(want, sizeof want, "%zu", cols);
	return hth_fail(
	    ld->err, HTH_BAD_FORMAT,
	    "tensor %s is %llu x %llu x %llu x %llu, but the model's parameters make it %s; the file is damaged", name,
	    (unsigned long long)t->ne[0], (unsigned long long)t->ne[1], (unsigned long long)t->ne[2],
	    (unsigned long long)t->ne[3], want);
}

/* Vectors are found as [n], and by some converters as [n, 1] or [1, n]. */
static bool is_vector(const hth_gguf_tensor *t, size_t n)
{
	return t->ne[2] == 1 && t->ne[3] == 1 && ((t->ne[0] == n && t->ne[1] == 1) || (t->ne[0] == 1 && t->ne[1] == n));
}

static bool is_matrix(const hth_gguf_tensor *t, size_t rows, size_t cols, size_t n)
{
	return t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == n && t->ne[3] == 1;
}

static hth_status own_floats(hth_loader *ld, size_t n, float **ret)
{
	hth_model *m = ld->model;
	if (m->n_owned == m->cap_owned) {
		size_t cap = m->cap_owned ? 2 * m->cap_owned : 16;
		float **grown = realloc(m->owned, cap * sizeof *grown);
		if (grown == NULL)
			return hth_fail(ld->err, HTH_NO_MEMORY, "no memory for converted tensors");
		m->owned = grown;
		m->cap_owned = cap;
	}
	float *p = hth_alloc_array(n, sizeof *p);
	if (p == NULL)
		return hth_fail(ld->err, HTH_NO_MEMORY, "no memory for a converted tensor of %zu values", n);
	m->owned[m->n_owned++] = p;
	*ret = p;
	return HTH_OK;
}

/* The n floats of a tensor, converted where they are stored as something else. */
static hth_status floats(hth_loader *ld, const char *name, const hth_gguf_tensor *t, size_t n, const float **ret)
{
	const hth_type_traits *traits = hth_type_get(t->type);
	if (t->data == NULL)
		return hth_fail(ld->err, HTH_BAD_FORMAT, "tensor %s has no data", name);
	if (t->type == HTH_F32 && (uintptr_t)t->data % sizeof(float) == 0) {
		*ret = t->data;
		return HTH_OK;
	}
	if (traits == NULL || traits->dequantize_row == NULL || t->ne[0] % traits->block_elems != 0)
		return hth_fail(ld->err, HTH_UNSUPPORTED,
		                "tensor %s is stored as %s, which Hearth cannot read as numbers", name,
		                traits ? traits->name : "an unknown type");
	float *copy = NULL;
	HTH_TRY(own_floats(ld, n, &copy));
	traits->dequantize_row(t->data, copy, n);
	*ret = copy;
	return HTH_OK;
}

static hth_status load_vector(hth_loader *ld, const float **ret, hth_need need, size_t n, const char *name)
{
	const hth_gguf_tensor *t = find(ld, name);
	if (t == NULL)
		return need == HTH_OPTIONAL ? HTH_OK : missing(ld, name);
	if (!is_vector(t, n))
		return wrong_shape(ld, name, t, n, 1, 1);
	ld->model->fixed_read_bytes += t->n_bytes;
	return floats(ld, name, t, n, ret);
}

hth_status hth_load_vector(hth_loader *ld, const float **ret, hth_need need, size_t n, const char *fmt, ...)
{
	char name[NAME_MAX_LEN];
	va_list args;
	va_start(args, fmt);
	vsnprintf(name, sizeof name, fmt, args);
	va_end(args);
	return load_vector(ld, ret, need, n, name);
}

/* `rows` rows of t from `first`. */
static hth_status matrix_rows(hth_loader *ld, const char *name, const hth_gguf_tensor *t, size_t first, size_t rows,
                              size_t cols, hth_matrix *ret)
{
	if (t->data == NULL)
		return hth_fail(ld->err, HTH_BAD_FORMAT, "tensor %s has no data", name);
	hth_type type = (hth_type)t->type;
	if (!hth_matrix_can_multiply(type))
		return hth_fail(ld->err, HTH_UNSUPPORTED, "tensor %s is stored as %s, which Hearth cannot compute with",
		                name, hth_type_get(t->type) ? hth_type_get(t->type)->name : "an unknown type");
	if (cols % hth_type_get(t->type)->block_elems != 0)
		return hth_fail(ld->err, HTH_BAD_FORMAT, "tensor %s has rows of %zu, which do not fill blocks of %s",
		                name, cols, hth_type_get(t->type)->name);
	const unsigned char *data = (const unsigned char *)t->data + first * hth_type_row_bytes(type, cols);
	if (hth_matrix_init(ret, type, rows, cols, data, ld->err) != HTH_OK)
		return hth_fail_prefix(ld->err, "tensor %s", name);
	return HTH_OK;
}

static hth_status load_matrix(hth_loader *ld, hth_matrix *ret, hth_need need, size_t rows, size_t cols,
                              const char *name)
{
	const hth_gguf_tensor *t = find(ld, name);
	if (t == NULL)
		return need == HTH_OPTIONAL ? HTH_OK : missing(ld, name);
	if (!is_matrix(t, rows, cols, 1))
		return wrong_shape(ld, name, t, cols, rows, 1);
	ld->model->fixed_read_bytes += t->n_bytes;
	return matrix_rows(ld, name, t, 0, rows, cols, ret);
}

hth_status hth_load_matrix(hth_loader *ld, hth_matrix *ret, hth_need need, size_t rows, size_t cols, const char *fmt,
                           ...)
{
	char name[NAME_MAX_LEN];
	va_list args;
	va_start(args, fmt);
	vsnprintf(name, sizeof name, fmt, args);
	va_end(args);
	return load_matrix(ld, ret, need, rows, cols, name);
}

hth_status hth_load_table(hth_loader *ld, hth_table *ret, size_t rows, size_t cols, const char *name)
{
	const hth_gguf_tensor *t = find(ld, name);
	if (t == NULL)
		return missing(ld, name);
	if (!is_matrix(t, rows, cols, 1))
		return wrong_shape(ld, name, t, cols, rows, 1);
	const hth_type_traits *traits = hth_type_get(t->type);
	if (t->data == NULL || traits == NULL || traits->dequantize_row == NULL || cols % traits->block_elems != 0)
		return hth_fail(ld->err, HTH_UNSUPPORTED, "tensor %s is stored as %s, which Hearth cannot read rows of",
		                name, traits ? traits->name : "an unknown type");
	*ret = (hth_table){.traits = traits,
	                   .data = t->data,
	                   .rows = rows,
	                   .cols = cols,
	                   .row_bytes = hth_type_row_bytes((hth_type)t->type, cols)};
	ld->model->fixed_read_bytes += ret->row_bytes;
	return HTH_OK;
}

void hth_table_row(const hth_table *table, size_t row, float *ret_row)
{
	table->traits->dequantize_row(table->data + row * table->row_bytes, ret_row, table->cols);
}

hth_status hth_load_owned_row(hth_loader *ld, const hth_table *table, size_t row, const float **ret)
{
	float *copy = NULL;
	HTH_TRY(own_floats(ld, table->cols, &copy));
	hth_table_row(table, row, copy);
	*ret = copy;
	return HTH_OK;
}

hth_status hth_load_embeddings(hth_loader *ld)
{
	hth_model *m = ld->model;
	const hth_params *p = &m->params;
	const hth_gguf_tensor *embd = find(ld, "token_embd.weight");
	if (embd == NULL)
		return missing(ld, "token_embd.weight");
	if (embd->ne[0] == p->n_embd && embd->ne[1] != p->n_vocab)
		return hth_fail(ld->err, HTH_BAD_FORMAT,
		                "tensor token_embd.weight has rows for %llu tokens, but the vocabulary has %u",
		                (unsigned long long)embd->ne[1], p->n_vocab);
	HTH_TRY(hth_load_table(ld, &m->token_embd, p->n_vocab, p->n_embd, "token_embd.weight"));
	HTH_TRY(hth_load_vector(ld, &m->output_norm, HTH_REQUIRED, p->n_embd, "output_norm.weight"));
	HTH_TRY(hth_load_matrix(ld, &m->output, HTH_OPTIONAL, p->n_vocab, p->n_embd, "output.weight"));
	if (m->output.rows == 0)
		HTH_TRY(hth_load_matrix(ld, &m->output, HTH_REQUIRED, p->n_vocab, p->n_embd, "token_embd.weight"));
	return HTH_OK;
}

hth_status hth_load_rope(hth_loader *ld)
{
	hth_model *m = ld->model;
	const hth_params *p = &m->params;
	const float *freqs = NULL, *lengthy = NULL, *brief = NULL;
	size_t half = p->n_rot / 2;
	if (half > 0) {
		HTH_TRY(hth_load_vector(ld, &freqs, HTH_OPTIONAL, half, "rope_freqs.weight"));
		HTH_TRY(hth_load_vector(ld, &lengthy, HTH_OPTIONAL, half, "rope_factors_long.weight"));
		HTH_TRY(hth_load_vector(ld, &brief, HTH_OPTIONAL, half, "rope_factors_short.weight"));
	}
	HTH_TRY(hth_rope_init(&m->rope, p, false, freqs ? freqs : brief, ld->err));
	HTH_TRY(hth_rope_init(&m->rope_local, p, true, NULL, ld->err));
	if (lengthy != NULL && freqs == NULL)
		HTH_TRY(hth_rope_init(&m->rope_long, p, false, lengthy, ld->err));
	for (uint32_t i = 0; i < p->n_layer; i++)
		m->layers[i].rope = m->layers[i].window > 0 ? &m->rope_local : &m->rope;
	return HTH_OK;
}

hth_status hth_load_windows(hth_loader *ld, uint32_t period)
{
	hth_model *m = ld->model;
	const char *suffix = "attention.sliding_window_pattern";
	char key[160];
	snprintf(key, sizeof key, "%s.%s", ld->reader.arch, suffix);
	const hth_gguf_kv *kv = hth_gguf_find(m->gguf, key);
	if (m->params.window == 0)
		return HTH_OK;
	if (kv != NULL && hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY) {
		hth_gguf_type type = hth_gguf_array_type(kv);
		if (type == HTH_GGUF_STRING || type == HTH_GGUF_ARRAY || type == HTH_GGUF_F32 || type == HTH_GGUF_F64 ||
		    hth_gguf_array_len(kv) < m->params.n_layer)
			return hth_fail(ld->err, HTH_BAD_FORMAT, "metadata key %s must be %u flags, one per layer", key,
			                m->params.n_layer);
		for (uint32_t i = 0; i < m->params.n_layer; i++)
			m->layers[i].window = hth_gguf_array_int(kv, i) != 0 ? m->params.window : 0;
		return HTH_OK;
	}
	HTH_TRY(hth_params_u32(&ld->reader, suffix, false, 0, HTH_MAX_LAYERS, &period));
	for (uint32_t i = 0; i < m->params.n_layer; i++)
		m->layers[i].window = period == 0 || i % period < period - 1 ? m->params.window : 0;
	return HTH_OK;
}

hth_status hth_load_attention(hth_loader *ld, uint32_t i)
{
	const hth_params *p = &ld->model->params;
	hth_layer *l = &ld->model->layers[i];
	size_t nq = (size_t)p->n_head * p->head_dim, nkv = (size_t)p->n_head_kv * p->head_dim;
	char name[NAME_MAX_LEN];
	snprintf(name, sizeof name, "blk.%u.attn_qkv.weight", i);
	const hth_gguf_tensor *fused = find(ld, name);
	if (fused != NULL) {
		if (!is_matrix(fused, nq + 2 * nkv, p->n_embd, 1))
			return wrong_shape(ld, name, fused, p->n_embd, nq + 2 * nkv, 1);
		HTH_TRY(matrix_rows(ld, name, fused, 0, nq, p->n_embd, &l->q));
		HTH_TRY(matrix_rows(ld, name, fused, nq, nkv, p->n_embd, &l->k));
		HTH_TRY(matrix_rows(ld, name, fused, nq + nkv, nkv, p->n_embd, &l->v));
		ld->model->fixed_read_bytes += fused->n_bytes;
		const float *bias = NULL;
		HTH_TRY(hth_load_vector(ld, &bias, HTH_OPTIONAL, nq + 2 * nkv, "blk.%u.attn_qkv.bias", i));
		if (bias != NULL)
			l->q_b = bias, l->k_b = bias + nq, l->v_b = bias + nq + nkv;
	} else {
		HTH_TRY(hth_load_matrix(ld, &l->q, HTH_REQUIRED, nq, p->n_embd, "blk.%u.attn_q.weight", i));
		HTH_TRY(hth_load_matrix(ld, &l->k, HTH_REQUIRED, nkv, p->n_embd, "blk.%u.attn_k.weight", i));
		HTH_TRY(hth_load_matrix(ld, &l->v, HTH_REQUIRED, nkv, p->n_embd, "blk.%u.attn_v.weight", i));
		HTH_TRY(hth_load_vector(ld, &l->q_b, HTH_OPTIONAL, nq, "blk.%u.attn_q.bias", i));
		HTH_TRY(hth_load_vector(ld, &l->k_b, HTH_OPTIONAL, nkv, "blk.%u.attn_k.bias", i));
		HTH_TRY(hth_load_vector(ld, &l->v_b, HTH_OPTIONAL, nkv, "blk.%u.attn_v.bias", i));
	}
	HTH_TRY(hth_load_matrix(ld, &l->o, HTH_REQUIRED, p->n_embd, nq, "blk.%u.attn_output.weight", i));
	return hth_load_vector(ld, &l->o_b, HTH_OPTIONAL, p->n_embd, "blk.%u.attn_output.bias", i);
}

hth_status hth_load_ffn(hth_loader *ld, uint32_t i, bool need_gate)
{
	const hth_params *p = &ld->model->params;
	hth_layer *l = &ld->model->layers[i];
	if (p->n_ff == 0)
		return hth_fail(ld->err, HTH_BAD_FORMAT, "metadata key %s.feed_forward_length is missing or 0",
		                ld->reader.arch);
	char name[NAME_MAX_LEN], gate[NAME_MAX_LEN];
	snprintf(name, sizeof name, "blk.%u.ffn_up.weight", i);
	snprintf(gate, sizeof gate, "blk.%u.ffn_gate.weight", i);
	const hth_gguf_tensor *up = find(ld, name);
	if (up != NULL && need_gate && find(ld, gate) == NULL) {
		if (is_matrix(up, p->n_ff, p->n_embd, 1))
			return missing(ld, gate);
		if (!is_matrix(up, 2 * (size_t)p->n_ff, p->n_embd, 1))
			return wrong_shape(ld, name, up, p->n_embd, 2 * (size_t)p->n_ff, 1);
		HTH_TRY(matrix_rows(ld, name, up, 0, p->n_ff, p->n_embd, &l->gate));
		HTH_TRY(matrix_rows(ld, name, up, p->n_ff, p->n_ff, p->n_embd, &l->up));
		ld->model->fixed_read_bytes += up->n_bytes;
	} else {
		hth_need need = need_gate ? HTH_REQUIRED : HTH_OPTIONAL;
		HTH_TRY(load_matrix(ld, &l->gate, need, p->n_ff, p->n_embd, gate));
		HTH_TRY(hth_load_matrix(ld, &l->up, HTH_REQUIRED, p->n_ff, p->n_embd, "blk.%u.ffn_up.weight", i));
		HTH_TRY(hth_load_vector(ld, &l->gate_b, HTH_OPTIONAL, p->n_ff, "blk.%u.ffn_gate.bias", i));
		HTH_TRY(hth_load_vector(ld, &l->up_b, HTH_OPTIONAL, p->n_ff, "blk.%u.ffn_up.bias", i));
	}
	HTH_TRY(hth_load_matrix(ld, &l->down, HTH_REQUIRED, p->n_embd, p->n_ff, "blk.%u.ffn_down.weight", i));
	return hth_load_vector(ld, &l->down_b, HTH_OPTIONAL, p->n_embd, "blk.%u.ffn_down.bias", i);
}

static hth_status alloc_experts(hth_loader *ld, hth_matrix **ret)
{
	*ret = hth_alloc_array(ld->model->params.n_expert, sizeof **ret);
	return *ret ? HTH_OK : hth_fail(ld->err, HTH_NO_MEMORY, "no memory for the experts' index");
}

/* One kind of expert matrix: stacked in blk.I.KIND_exps.weight, or (files of 2023) blk.I.KIND.E.weight each. */
static hth_status load_expert_kind(hth_loader *ld, uint32_t i, const char *kind, size_t rows, size_t cols,
                                   hth_matrix **ret)
{
	uint32_t n = ld->model->params.n_expert;
	char name[NAME_MAX_LEN];
	snprintf(name, sizeof name, "blk.%u.%s_exps.weight", i, kind);
	const hth_gguf_tensor *t = find(ld, name);
	if (t != NULL) {
		if (!is_matrix(t, rows, cols, n))
			return wrong_shape(ld, name, t, cols, rows, n);
		HTH_TRY(alloc_experts(ld, ret));
		for (uint32_t e = 0; e < n; e++)
			HTH_TRY(matrix_rows(ld, name, t, e * rows, rows, cols, &(*ret)[e]));
		ld->model->expert_read_bytes += t->n_bytes;
		return HTH_OK;
	}
	char first[NAME_MAX_LEN];
	snprintf(first, sizeof first, "blk.%u.%s.0.weight", i, kind);
	if (find(ld, first) == NULL)
		return missing(ld, name);
	HTH_TRY(alloc_experts(ld, ret));
	for (uint32_t e = 0; e < n; e++) {
		snprintf(name, sizeof name, "blk.%u.%s.%u.weight", i, kind, e);
		if ((t = find(ld, name)) == NULL)
			return missing(ld, name);
		if (!is_matrix(t, rows, cols, 1))
			return wrong_shape(ld, name, t, cols, rows, 1);
		HTH_TRY(matrix_rows(ld, name, t, 0, rows, cols, &(*ret)[e]));
		ld->model->expert_read_bytes += t->n_bytes;
	}
	return HTH_OK;
}

static hth_status load_expert_bias(hth_loader *ld, uint32_t i, const char *kind, size_t rows, const float **ret)
{
	char name[NAME_MAX_LEN];
	snprintf(name, sizeof name, "blk.%u.%s_exps.bias", i, kind);
	const hth_gguf_tensor *t = find(ld, name);
	if (t == NULL)
		return HTH_OK;
	if (!is_matrix(t, ld->model->params.n_expert, rows, 1))
		return wrong_shape(ld, name, t, rows, ld->model->params.n_expert, 1);
	return floats(ld, name, t, rows * ld->model->params.n_expert, ret);
}

hth_status hth_load_experts(hth_loader *ld, uint32_t i, size_t n_ff)
{
	const hth_params *p = &ld->model->params;
	hth_layer *l = &ld->model->layers[i];
	if (p->n_expert == 0 || n_ff == 0)
		return hth_fail(ld->err, HTH_BAD_FORMAT,
		                "the metadata of this %s model names no experts or gives them no length",
		                ld->reader.arch);
	HTH_TRY(hth_load_matrix(ld, &l->router, HTH_REQUIRED, p->n_expert, p->n_embd, "blk.%u.ffn_gate_inp.weight", i));
	HTH_TRY(hth_load_vector(ld, &l->router_b, HTH_OPTIONAL, p->n_expert, "blk.%u.ffn_gate_inp.bias", i));

	char name[NAME_MAX_LEN];
	snprintf(name, sizeof name, "blk.%u.ffn_gate_up_exps.weight", i);
	const hth_gguf_tensor *fused = find(ld, name);
	if (fused != NULL) { /* each expert's gate rows, then its up rows */
		if (!is_matrix(fused, 2 * n_ff, p->n_embd, p->n_expert))
			return wrong_shape(ld, name, fused, p->n_embd, 2 * n_ff, p->n_expert);
		HTH_TRY(alloc_experts(ld, &l->gate_exps));
		HTH_TRY(alloc_experts(ld, &l->up_exps));
		for (uint32_t e = 0; e < p->n_expert; e++) {
			HTH_TRY(matrix_rows(ld, name, fused, 2 * e * n_ff, n_ff, p->n_embd, &l->gate_exps[e]));
			HTH_TRY(matrix_rows(ld, name, fused, (2 * e + 1) * n_ff, n_ff, p->n_embd, &l->up_exps[e]));
		}
		ld->model->expert_read_bytes += fused->n_bytes;
	} else {
		HTH_TRY(load_expert_kind(ld, i, "ffn_gate", n_ff, p->n_embd, &l->gate_exps));
		HTH_TRY(load_expert_kind(ld, i, "ffn_up", n_ff, p->n_embd, &l->up_exps));
		HTH_TRY(load_expert_bias(ld, i, "ffn_gate", n_ff, &l->gate_exps_b));
		HTH_TRY(load_expert_bias(ld, i, "ffn_up", n_ff, &l->up_exps_b));
	}
	HTH_TRY(load_expert_kind(ld, i, "ffn_down", p->n_embd, n_ff, &l->down_exps));
	return load_expert_bias(ld, i, "ffn_down", p->n_embd, &l->down_exps_b);
}

hth_status hth_load_shared_expert(hth_loader *ld, uint32_t i, size_t n_ff)
{
	const hth_params *p = &ld->model->params;
	hth_layer *l = &ld->model->layers[i];
	if (n_ff == 0)
		return hth_fail(ld->err, HTH_BAD_FORMAT, "the shared expert of this %s model has no length",
		                ld->reader.arch);
	HTH_TRY(hth_load_matrix(ld, &l->shexp_gate, HTH_REQUIRED, n_ff, p->n_embd, "blk.%u.ffn_gate_shexp.weight", i));
	HTH_TRY(hth_load_matrix(ld, &l->shexp_up, HTH_REQUIRED, n_ff, p->n_embd, "blk.%u.ffn_up_shexp.weight", i));
	return hth_load_matrix(ld, &l->shexp_down, HTH_REQUIRED, p->n_embd, n_ff, "blk.%u.ffn_down_shexp.weight", i);
}
