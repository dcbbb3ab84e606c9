/* arch-phi3.c - Phi 3, 3.5 and 4: q, k and v in one tensor, gate and up in another (gate first), RoPE over part of a
 * head in some (rope.dimension_count), longrope factors in the 128k ones: the short set up to the original context, the
 * long one in sessions made for more. Its files carry sliding windows that the reference does not apply, since
 * converters fill them wrongly; neither does Hearth.
 */
#include "engine/model/model-arch.h"

static hth_status load(hth_loader *ld)
{
	hth_model *m = ld->model;
	const hth_params *p = &m->params;
	HTH_TRY(hth_load_embeddings(ld));
	HTH_TRY(hth_load_rope(ld));
	for (uint32_t i = 0; i < p->n_layer; i++) {
		hth_layer *l = &m->layers[i];
		HTH_TRY(hth_load_vector(ld, &l->attn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.attn_norm.weight", i));
		HTH_TRY(hth_load_attention(ld, i));
		HTH_TRY(hth_load_vector(ld, &l->ffn_norm, HTH_REQUIRED, p->n_embd, "blk.%u.ffn_norm.weight", i));
		HTH_TRY(hth_load_ffn(ld, i, true));
	}
	return HTH_OK;
}

static hth_status forward(hth_pass *p)
{
	hth_pass_embed(p);
	for (uint32_t i = 0; i < p->model->params.n_layer; i++) {
		const hth_layer *l = hth_pass_layer(p, i);
		if (l == NULL)
			return HTH_CANCELLED;
		hth_pass_rms_norm(p, l->attn_norm);
		hth_pass_qkv(p, l);
		hth_pass_rope_and_store(p, l);
		hth_pass_attention(p, l);
		hth_pass_residual(p);

		hth_pass_rms_norm(p, l->ffn_norm);
		hth_pass_ffn(p, l, HTH_SILU);
		hth_pass_residual(p);
	}
	hth_pass_output(p);
	return HTH_OK;
}

const hth_arch hth_arch_phi3 = {"phi3", "attention.layer_norm_rms_epsilon", HTH_ROPE_HALVES, load, forward};
