/* decoder.c - the decoder that most families share: Llama's shape.
 *
 *   x = embed(token)
 *   each layer:  x += attention(rope(q), rope(k), v) of norm(x);  x += feed_forward(norm(x))
 *   logits = output x norm(x)
 *
 * What families add lies in the layer's weights (biases, norms of heads, sinks, no RoPE) and is computed where it is
 * there; how a mixture's experts are chosen and activated stands in the architecture's row. A family whose layer has
 * another order (gemma, bert) writes its pass itself.
 */
#include "engine/model/model-arch.h"

hth_status hth_decoder_load(hth_loader *ld, hth_status (*load_layer)(hth_loader *ld, hth_layer *l, uint32_t i))
{
	hth_model *m = ld->model;
	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < m->params.n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, m->params.n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(load_layer(ld, l, i));
	}
	return HTH_OK;
}

hth_status hth_decoder_load_ffn(hth_loader *ld, hth_layer *l, uint32_t i)
{
	HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, ld->model->params.n_embd, "blk.%u.ffn_norm.weight", i));
	return hth_load_ffn(ld, i, true);
}

hth_status hth_decoder_load_experts(hth_loader *ld, hth_layer *l, uint32_t i, size_t n_ff)
{
	HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, ld->model->params.n_embd, "blk.%u.ffn_norm.weight", i));
	return hth_load_experts(ld, i, n_ff);
}

hth_status hth_decoder_load_head_norms(hth_loader *ld, hth_layer *l, uint32_t i)
{
	uint32_t dim = ld->model->params.head_dim;
	HTH_TRY(hth_load_vector(ld, &l->q_norm, HTH_REQUIRED, dim, "blk.%u.attn_q_norm.weight", i));
	return hth_load_vector(ld, &l->k_norm, HTH_REQUIRED, dim, "blk.%u.attn_k_norm.weight", i);
}

hth_status hth_decoder_need_experts(const hth_loader *ld)
{
	if (ld->model->params.n_expert == 0)
		return hth_fail(ld->err, HTH_BAD_FORMAT, "metadata key %s.expert_count is missing or 0", ld->model->arch->name);
	return HTH_OK;
}

hth_status hth_decoder_forward(hth_pass *p)
{
	hth_pass_embed(p);
	for (uint32_t i = p->first_layer; i < p->model->params.n_layer; i++) {
		const hth_layer *l = hth_pass_layer(p, i);
		if (l == NULL)
			return HTH_CANCELLED;
		hth_pass_rms_norm(p, l->attn_norm);
		hth_pass_qkv(p, l);
		hth_pass_rope_and_store(p, l);
		hth_pass_attention(p, l);
		hth_pass_residual(p);

		hth_pass_rms_norm(p, l->ffn_norm);
		if (l->router.rows > 0)
			hth_pass_experts(p, l, &p->model->arch->experts);
		else
			hth_pass_ffn(p, l, HTH_SILU);
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}
