/* model-open.c - opens a model: the file's header, tokenizer and template, parameters, tensors, and what is told of it.
 *
 * Opening maps the file and builds indexes; it reads no weights but small vectors, so a model of any size opens in
 * milliseconds. A chat template that does not compile is not fatal (the model still completes text): its error is kept.
 */
#include "engine/engine.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/model/model-arch.h"

#include <stdio.h>

enum { MAX_TEMPLATE = 1 << 20 };

/* Copies metadata text, cut to what fits, control bytes made visible. */
static void copy_text(char *out, size_t size, const hth_gguf *gguf, const char *key)
{
	hth_view v;
	out[0] = '\0';
	const hth_gguf_kv *kv = hth_gguf_find(gguf, key);
	if (kv == NULL || hth_gguf_kv_type(kv) != HTH_GGUF_STRING || hth_gguf_get_string(gguf, key, &v, NULL) != HTH_OK)
		return;
	size_t n = HTH_MIN(v.len, size - 1);
	n = hth_utf8_valid_prefix(v.data, n);
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)v.data[i] < ' ' || v.data[i] == 0x7F ? '?' : v.data[i];
	out[n] = '\0';
}

/* general.file_type: the number of the mix that a quantiser was asked for (LLAMA_FTYPE in the GGUF specification). */
static const char *mix_name(uint32_t ftype)
{
	static const char *const names[] = {
	    [0] = "F32",     [1] = "F16",     [2] = "Q4_0",     [3] = "Q4_1",    [7] = "Q8_0",     [8] = "Q5_0",
	    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S",  [12] = "Q3_K_M", [13] = "Q3_K_L",  [14] = "Q4_K_S",
	    [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",  [18] = "Q6_K",   [19] = "IQ2_XXS", [20] = "IQ2_XS",
	    [21] = "Q2_K_S", [22] = "IQ3_XS", [23] = "IQ3_XXS", [24] = "IQ1_S",  [25] = "IQ4_NL",  [26] = "IQ3_S",
	    [27] = "IQ3_M",  [28] = "IQ2_S",  [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",   [32] = "BF16",
	    [36] = "TQ1_0",  [37] = "TQ2_0",  [38] = "MXFP4",
	};
	return ftype < HTH_COUNT(names) ? names[ftype] : NULL;
}

/* The type that most of the weights' bytes are in. */
static const char *dominant_type(const hth_gguf *gguf)
{
	uint64_t bytes[HTH_TYPE_LIMIT] = {0};
	uint32_t best = HTH_F32;
	for (size_t i = 0; i < hth_gguf_tensor_count(gguf); i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		if (t->type < HTH_TYPE_LIMIT)
			bytes[t->type] += t->n_bytes;
	}
	for (uint32_t t = 0; t < HTH_TYPE_LIMIT; t++)
		if (bytes[t] > bytes[best])
			best = t;
	return hth_type_get(best)->name;
}

static void fill_info(hth_model *m)
{
	hth_model_info *info = &m->info;
	const hth_params *p = &m->params;
	copy_text(info->name, sizeof info->name, m->gguf, "general.name");
	copy_text(info->license, sizeof info->license, m->gguf, "general.license");
	snprintf(info->architecture, sizeof info->architecture, "%s", m->arch->name);
	uint32_t ftype;
	const char *type = NULL;
	if (hth_gguf_get_u32(m->gguf, "general.file_type", &ftype, NULL) == HTH_OK)
		type = mix_name(ftype);
	snprintf(info->type, sizeof info->type, "%s", type ? type : dominant_type(m->gguf));
	for (size_t i = 0; i < hth_gguf_tensor_count(m->gguf); i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(m->gguf, i);
		info->n_params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
		info->weight_bytes += t->n_bytes;
	}
	info->file_bytes = hth_gguf_file_bytes(m->gguf);
	info->kv_bytes_per_token = 2ull * 2 * p->n_layer * p->n_head_kv * p->head_dim;
	info->read_bytes_per_token = m->fixed_read_bytes;
	if (p->n_expert > 0)
		info->read_bytes_per_token += m->expert_read_bytes / p->n_expert * p->n_expert_used;
	info->n_layer = p->n_layer;
	info->n_embd = p->n_embd;
	info->n_head = p->n_head;
	info->n_head_kv = p->n_head_kv;
	info->n_vocab = p->n_vocab;
	info->n_ctx_train = p->n_ctx_train;
	info->n_expert = p->n_expert;
	info->n_expert_used = p->n_expert_used;
	info->embedding = !p->causal;
	info->has_template = m->chat_template != NULL;
}

/* The default template, or the first of a list of named ones. Never fatal. */
static void compile_template(hth_model *m)
{
	hth_view source;
	const hth_gguf_kv *kv = hth_gguf_find(m->gguf, "tokenizer.chat_template");
	m->template_error = HTH_ERROR_INIT;
	if (kv == NULL)
		return;
	if (hth_gguf_get_string(m->gguf, "tokenizer.chat_template", &source, &m->template_error) != HTH_OK)
		return;
	if (source.len > MAX_TEMPLATE)
		hth_fail(&m->template_error, HTH_TOO_LARGE, "the chat template has %zu bytes, over %d", source.len,
		         MAX_TEMPLATE);
	else if (hth_jinja_compile(&m->chat_template, source.data, source.len, &m->template_error) != HTH_OK)
		m->chat_template = NULL;
}

static hth_status load(hth_model *m, hth_error *err)
{
	hth_view name;
	if (hth_gguf_find(m->gguf, "general.architecture") == NULL)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "metadata key general.architecture is missing; this is not a model file");
	HTH_TRY(hth_gguf_get_string(m->gguf, "general.architecture", &name, err));
	m->arch = hth_arch_find(name);
	if (m->arch == NULL) {
		hth_buf names = HTH_BUF_INIT(1024);
		hth_arch_list(&names);
		hth_status status =
		    hth_fail(err, HTH_UNSUPPORTED, "architecture \"%.*s\" is not one that Hearth computes (%s)",
		             (int)HTH_MIN(name.len, (size_t)40), name.data, names.data ? names.data : "");
		hth_buf_finish(&names);
		return status;
	}
	if (hth_gguf_tensor_count(m->gguf) == 0)
		return hth_fail(err, HTH_BAD_FORMAT, "the file holds a vocabulary but no weights");
	HTH_TRY(hth_tokenizer_create(&m->tokenizer, m->gguf, err));
	size_t n_vocab = hth_tokenizer_vocab_size(m->tokenizer);
	if (n_vocab == 0 || n_vocab > INT32_MAX)
		return hth_fail(err, HTH_BAD_FORMAT, "a vocabulary of %zu tokens", n_vocab);

	hth_loader ld = {.model = m, .reader = {.gguf = m->gguf, .arch = m->arch->name, .err = err}, .err = err};
	HTH_TRY(hth_params_read(&ld.reader, (uint32_t)n_vocab, m->arch->norm_key, &m->params));
	m->params.rope_style = m->arch->rope_style;
	m->layers = hth_alloc_array(m->params.n_layer, sizeof *m->layers);
	if (m->layers == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for %u layers", m->params.n_layer);
	HTH_TRY(m->arch->load(&ld));
	if (m->params.causal && m->output.rows == 0)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "metadata key %s.attention.causal is true, but this architecture has no output",
		                m->arch->name);
	compile_template(m);
	fill_info(m);
	return HTH_OK;
}

hth_status hth_model_open_gguf(hth_model **ret_model, hth_gguf *gguf, hth_error *err)
{
	hth_model *m = calloc(1, sizeof *m);
	if (m == NULL) {
		hth_gguf_close(gguf);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a model");
	}
	m->gguf = gguf;
	hth_status status = load(m, err);
	if (status != HTH_OK) {
		hth_model_close(m);
		return status;
	}
	*ret_model = m;
	return HTH_OK;
}

hth_status hth_model_open(hth_model **ret_model, const int *fds, size_t n_fds, const char *name, hth_error *err)
{
	hth_gguf *gguf;
	HTH_TRY(hth_gguf_open(&gguf, fds, n_fds, name, err));
	hth_status status = hth_model_open_gguf(ret_model, gguf, err);
	if (status != HTH_OK && name != NULL && err != NULL)
		hth_fail_prefix(err, "%s", name);
	return status;
}

static void finish_layer(hth_layer *l, uint32_t n_expert)
{
	hth_matrix *matrices[] = {&l->q,    &l->k,      &l->v,          &l->o,        &l->gate,      &l->up,
	                          &l->down, &l->router, &l->shexp_gate, &l->shexp_up, &l->shexp_down};
	hth_matrix *experts[] = {l->gate_exps, l->up_exps, l->down_exps};
	for (size_t i = 0; i < HTH_COUNT(matrices); i++)
		hth_matrix_finish(matrices[i]);
	for (size_t i = 0; i < HTH_COUNT(experts); i++) {
		for (uint32_t e = 0; e < n_expert && experts[i] != NULL; e++)
			hth_matrix_finish(&experts[i][e]);
		free(experts[i]);
	}
}

void hth_model_close(hth_model *model)
{
	if (model == NULL)
		return;
	for (uint32_t i = 0; model->layers != NULL && i < model->params.n_layer; i++)
		finish_layer(&model->layers[i], model->params.n_expert);
	free(model->layers);
	hth_matrix_finish(&model->output);
	hth_rope_finish(&model->rope);
	hth_rope_finish(&model->rope_local);
	hth_rope_finish(&model->rope_long);
	for (size_t i = 0; i < model->n_owned; i++)
		free(model->owned[i]);
	free(model->owned);
	hth_jinja_template_destroy(model->chat_template);
	hth_tokenizer_destroy(model->tokenizer);
	hth_gguf_close(model->gguf);
	free(model);
}

const hth_model_info *hth_model_get_info(const hth_model *model)
{
	return &model->info;
}
const hth_gguf *hth_model_gguf(const hth_model *model)
{
	return model->gguf;
}
const hth_tokenizer *hth_model_tokenizer(const hth_model *model)
{
	return model->tokenizer;
}
const hth_jinja_template *hth_model_template(const hth_model *model)
{
	return model->chat_template;
}
const hth_error *hth_model_template_error(const hth_model *model)
{
	return model->template_error.status != HTH_OK ? &model->template_error : NULL;
}
