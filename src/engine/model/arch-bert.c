/* arch-bert.c - encoders for embeddings: BERT (bge, MiniLM, e5, gte ...) and nomic-bert.
 *
 * Every token sees every other; norms come after each part, over the sum with its input:
 *   x = norm(token + type 0 + position);  x = norm(x + attention(x));  x = norm(x + ffn(x))
 * BERT learns positions and has biases and one GELU network; nomic-bert rotates, has no biases but in its norms, and
 * gates with SiLU. There are no logits: the result is the last layer's x, pooled by the session.
 */
#include "engine/model/model-arch.h"

static hth_status load_encoder(hth_loader *ld, bool gated)
{
	hth_model *m = ld->model;
	hth_params *p = &m->params;
	p->causal = false;
	HTH_TRY(hth_load_table(ld, &m->token_embd, p->n_vocab, p->n_embd, "token_embd.weight"));
	HTH_TRY(hth_load_vector(ld, &m->embd_norm, HTH_REQUIRED, p->n_embd, "token_embd_norm.weight"));
	HTH_TRY(hth_load_vector(ld, &m->embd_norm_b, HTH_OPTIONAL, p->n_embd, "token_embd_norm.bias"));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < p->n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(
		    hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.attn_output_norm.weight", i));
		HTH_TRY(
		    hth_load_vector(ld, &l->attn_norm_b, HTH_OPTIONAL, p->n_embd, "blk.%u.attn_output_norm.bias", i));
		HTH_TRY(hth_load_ffn(ld, i, gated));
		HTH_TRY(
		    hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.layer_output_norm.weight", i));
		HTH_TRY(
		    hth_load_vector(ld, &l->ffn_norm_b, HTH_OPTIONAL, p->n_embd, "blk.%u.layer_output_norm.bias", i));
	}
	return HTH_OK;
}

/* Row 0 of token_types: all of a text is "sentence A". The tensor has as many rows as the model knows types. */
static hth_status load_types(hth_loader *ld, hth_need need)
{
	hth_model *m = ld->model;
	const hth_gguf_tensor *t = hth_gguf_tensor_find(m->gguf, "token_types.weight");
	if (t == NULL && need == HTH_OPTIONAL)
		return HTH_OK;
	hth_table types;
	HTH_TRY(hth_load_table(ld, &types, t != NULL ? t->ne[1] : 1, m->params.n_embd, "token_types.weight"));
	return hth_load_owned_row(ld, &types, 0, &m->type_embd);
}

static hth_status load_bert(hth_loader *ld)
{
	hth_model *m = ld->model;
	HTH_TRY(load_types(ld, HTH_OPTIONAL));
	HTH_TRY(hth_load_table(ld, &m->position_embd, m->params.n_ctx_train, m->params.n_embd, "position_embd.weight"));
	m->params.n_rot = 0;
	return load_encoder(ld, false);
}

static hth_status load_nomic_bert(hth_loader *ld)
{
	HTH_TRY(load_types(ld, HTH_OPTIONAL));
	return load_encoder(ld, true);
}

static hth_status forward(hth_pass *p, hth_activation act)
{
	const hth_model *m = p->model;
	hth_pass_embed(p);
	hth_pass_layer_norm(p, m->embd_norm, m->embd_norm_b);
	for (uint32_t i = p->first_layer; i < m->params.n_layer; i++) {
		const hth_layer *l = hth_pass_layer(p, i);
		if (l == NULL)
			return HTH_CANCELLED;
		hth_pass_qkv(p, l);
		hth_pass_rope_and_store(p, l);
		hth_pass_attention(p, l);
		hth_pass_residual(p);
		hth_pass_layer_norm(p, l->attn_norm, l->attn_norm_b);

		hth_pass_ffn(p, l, act);
		hth_pass_residual(p);
		hth_pass_layer_norm(p, l->ffn_norm, l->ffn_norm_b);
	}
	return HTH_OK;
}

static hth_status forward_bert(hth_pass *p)
{
	return forward(p, HTH_GELU_ERF);
}
static hth_status forward_nomic_bert(hth_pass *p)
{
	return forward(p, HTH_SILU);
}

const hth_arch hth_arch_bert = {"bert", "attention.layer_norm_epsilon", HTH_ROPE_HALVES, load_bert, forward_bert};
const hth_arch hth_arch_nomic_bert = {"nomic-bert", "attention.layer_norm_epsilon", HTH_ROPE_HALVES, load_nomic_bert,
                                      forward_nomic_bert};
