/* model-params.c - hyper-parameters from GGUF metadata.
 *
 * The names of the keys are those of the GGUF specification and of what converters write; each is "ARCH.name".
 * Everything here is hostile until checked: zero heads, heads that do not divide, a rope wider than its head, NaN,
 * layer counts in the billions. Runs on whichever thread opens a model; keeps nothing.
 */
#include "engine/model/model-params.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

enum { KEY_MAX = 160 };

static const char *full_key(const hth_params_reader *r, const char *suffix, char key[KEY_MAX])
{
	snprintf(key, KEY_MAX, "%s.%s", r->arch, suffix);
	return key;
}

bool hth_params_has(const hth_params_reader *r, const char *suffix)
{
	char key[KEY_MAX];
	return hth_gguf_find(r->gguf, full_key(r, suffix, key)) != NULL;
}

static hth_status missing(const hth_params_reader *r, const char *key)
{
	return hth_fail(r->err, HTH_BAD_FORMAT,
	                "metadata key %s is missing; the file is incomplete or was converted by a tool that is too old",
	                key);
}

/* Some converters write one value per layer. Hearth computes models whose layers agree. */
static hth_status array_u32(const hth_params_reader *r, const char *key, const hth_gguf_kv *kv, uint32_t *ret_value)
{
	hth_gguf_type type = hth_gguf_array_type(kv);
	size_t n = hth_gguf_array_len(kv);
	bool integer = type <= HTH_GGUF_I32 || type == HTH_GGUF_U64 || type == HTH_GGUF_I64;
	if (!integer || n == 0)
		return hth_fail(r->err, HTH_BAD_FORMAT, "metadata key %s is an array without integers", key);
	int64_t first = hth_gguf_array_int(kv, 0);
	for (size_t i = 1; i < n; i++)
		if (hth_gguf_array_int(kv, i) != first)
			return hth_fail(r->err, HTH_UNSUPPORTED,
			                "metadata key %s differs between layers, which Hearth does not compute", key);
	if (first < 0 || first > UINT32_MAX)
		return hth_fail(r->err, HTH_BAD_FORMAT, "metadata key %s holds %lld", key, (long long)first);
	*ret_value = (uint32_t)first;
	return HTH_OK;
}

hth_status hth_params_u32(const hth_params_reader *r, const char *suffix, bool required, uint32_t min, uint32_t max,
                          uint32_t *value)
{
	char key[KEY_MAX];
	const hth_gguf_kv *kv = hth_gguf_find(r->gguf, full_key(r, suffix, key));
	uint32_t v;
	if (kv == NULL)
		return required ? missing(r, key) : HTH_OK;
	if (hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY)
		HTH_TRY(array_u32(r, key, kv, &v));
	else
		HTH_TRY(hth_gguf_get_u32(r->gguf, key, &v, r->err));
	if (v < min || v > max)
		return hth_fail(r->err, HTH_BAD_FORMAT, "metadata key %s is %u; it must be between %u and %u", key, v,
		                min, max);
	*value = v;
	return HTH_OK;
}

hth_status hth_params_f32(const hth_params_reader *r, const char *suffix, bool required, float min, float max,
                          float *value)
{
	char key[KEY_MAX];
	float v;
	if (hth_gguf_find(r->gguf, full_key(r, suffix, key)) == NULL)
		return required ? missing(r, key) : HTH_OK;
	HTH_TRY(hth_gguf_get_f32(r->gguf, key, &v, r->err));
	if (!(v >= min && v <= max)) /* NaN fails too */
		return hth_fail(r->err, HTH_BAD_FORMAT, "metadata key %s is %g; it must be between %g and %g", key,
		                (double)v, (double)min, (double)max);
	*value = v;
	return HTH_OK;
}

hth_status hth_params_bool(const hth_params_reader *r, const char *suffix, bool *value)
{
	char key[KEY_MAX];
	if (hth_gguf_find(r->gguf, full_key(r, suffix, key)) == NULL)
		return HTH_OK;
	return hth_gguf_get_bool(r->gguf, key, value, r->err);
}

static hth_status read_rope(const hth_params_reader *r, hth_params *p)
{
	p->n_rot = p->head_dim;
	HTH_TRY(hth_params_u32(r, "rope.dimension_count", false, 0, p->head_dim, &p->n_rot));
	if (p->n_rot % 2 != 0)
		return hth_fail(r->err, HTH_BAD_FORMAT, "metadata key %s.rope.dimension_count is %u; it must be even",
		                r->arch, p->n_rot);
	p->rope_base = 10000.0f;
	HTH_TRY(hth_params_f32(r, "rope.freq_base", false, 1e-3f, 1e18f, &p->rope_base));

	/* A factor without a type means linear, and so does the old key. */
	p->rope_scaling = HTH_SCALING_LINEAR;
	char key[KEY_MAX];
	if (hth_gguf_find(r->gguf, full_key(r, "rope.scaling.type", key)) != NULL) {
		hth_view type;
		HTH_TRY(hth_gguf_get_string(r->gguf, key, &type, r->err));
		static const char *const names[] = {"none", "linear", "yarn", "longrope"};
		size_t i = 0;
		while (i < HTH_COUNT(names) &&
		       !(strlen(names[i]) == type.len && memcmp(names[i], type.data, type.len) == 0))
			i++;
		if (i == HTH_COUNT(names))
			return hth_fail(r->err, HTH_UNSUPPORTED,
			                "metadata key %s is \"%.*s\"; Hearth knows none, linear, yarn and longrope",
			                key, (int)HTH_MIN(type.len, (size_t)32), type.data);
		p->rope_scaling = (hth_rope_scaling)i;
	}
	float factor = 0;
	HTH_TRY(hth_params_f32(r, "rope.scaling.factor", false, 0, 1e6f, &factor));
	if (!hth_params_has(r, "rope.scaling.factor"))
		HTH_TRY(hth_params_f32(r, "rope.scale_linear", false, 0, 1e6f, &factor));
	p->rope_factor = factor == 0 || p->rope_scaling == HTH_SCALING_NONE ? 1.0f : HTH_MAX(factor, 1e-6f);
	p->rope_base_local = p->rope_base;
	p->rope_factor_local = p->rope_factor;
	p->rope_attn_factor = 1;
	HTH_TRY(hth_params_f32(r, "rope.scaling.attn_factor", false, 0, 1e6f, &p->rope_attn_factor));
	p->rope_ctx_orig = p->n_ctx_train;
	HTH_TRY(hth_params_u32(r, "rope.scaling.original_context_length", false, 0, HTH_MAX_CTX, &p->rope_ctx_orig));
	if (p->rope_ctx_orig == 0)
		p->rope_ctx_orig = p->n_ctx_train;
	p->yarn_ext_factor = p->rope_scaling == HTH_SCALING_YARN ? 1.0f : 0.0f;
	p->yarn_beta_fast = 32;
	p->yarn_beta_slow = 1;
	float ext = -1; /* negative: not set */
	HTH_TRY(hth_params_f32(r, "rope.scaling.yarn_ext_factor", false, -1, 1e3f, &ext));
	if (ext >= 0)
		p->yarn_ext_factor = ext;
	HTH_TRY(hth_params_f32(r, "rope.scaling.yarn_beta_fast", false, 1e-3f, 1e6f, &p->yarn_beta_fast));
	HTH_TRY(hth_params_f32(r, "rope.scaling.yarn_beta_slow", false, 1e-3f, 1e6f, &p->yarn_beta_slow));
	HTH_TRY(hth_params_f32(r, "rope.scaling.yarn_log_multiplier", false, -1e3f, 1e3f, &p->yarn_log_mul));
	return HTH_OK;
}

hth_status hth_params_read(const hth_params_reader *r, uint32_t n_vocab, const char *norm_key, hth_params *ret_params)
{
	hth_params p = {.n_vocab = n_vocab, .embd_scale = 1, .residual_scale = 1, .logit_scale = 1, .causal = true};
	HTH_TRY(hth_params_u32(r, "context_length", true, 1, HTH_MAX_CTX, &p.n_ctx_train));
	HTH_TRY(hth_params_u32(r, "embedding_length", true, 1, HTH_MAX_EMBD, &p.n_embd));
	HTH_TRY(hth_params_u32(r, "block_count", true, 1, HTH_MAX_LAYERS, &p.n_layer));
	HTH_TRY(hth_params_u32(r, "attention.head_count", true, 1, HTH_MAX_HEADS, &p.n_head));
	p.n_head_kv = p.n_head;
	HTH_TRY(hth_params_u32(r, "attention.head_count_kv", false, 1, HTH_MAX_HEADS, &p.n_head_kv));
	if (p.n_head % p.n_head_kv != 0)
		return hth_fail(r->err, HTH_BAD_FORMAT, "%u attention heads cannot share %u KV heads evenly", p.n_head,
		                p.n_head_kv);
	p.n_group = p.n_head / p.n_head_kv;

	uint32_t value_dim;
	if (!hth_params_has(r, "attention.key_length") &&
	    (p.n_embd % p.n_head != 0 || p.n_embd / p.n_head > HTH_MAX_HEAD_DIM))
		return hth_fail(
		    r->err, HTH_BAD_FORMAT,
		    "embedding length %u is not split evenly by %u heads, and %s.attention.key_length is missing",
		    p.n_embd, p.n_head, r->arch);
	p.head_dim = p.n_embd / p.n_head;
	HTH_TRY(hth_params_u32(r, "attention.key_length", false, 1, HTH_MAX_HEAD_DIM, &p.head_dim));
	value_dim = p.head_dim;
	HTH_TRY(hth_params_u32(r, "attention.value_length", false, 1, HTH_MAX_HEAD_DIM, &value_dim));
	if (value_dim != p.head_dim)
		return hth_fail(r->err, HTH_UNSUPPORTED,
		                "keys of %u and values of %u elements a head: Hearth computes only equal ones",
		                p.head_dim, value_dim);

	HTH_TRY(hth_params_u32(r, "feed_forward_length", false, 0, HTH_MAX_FF, &p.n_ff));
	HTH_TRY(hth_params_u32(r, "expert_count", false, 0, HTH_MAX_EXPERTS, &p.n_expert));
	if (p.n_expert > 0) {
		HTH_TRY(hth_params_u32(r, "expert_used_count", true, 1, p.n_expert, &p.n_expert_used));
		HTH_TRY(hth_params_u32(r, "expert_feed_forward_length", false, 0, HTH_MAX_FF, &p.n_ff_exp));
		HTH_TRY(hth_params_u32(r, "expert_shared_feed_forward_length", false, 0, HTH_MAX_FF, &p.n_ff_shexp));
	}
	HTH_TRY(hth_params_f32(r, norm_key, true, 0, 1, &p.norm_eps));
	HTH_TRY(read_rope(r, &p));
	p.attn_scale = 1.0f / sqrtf((float)p.head_dim);

	HTH_TRY(hth_params_bool(r, "attention.causal", &p.causal));
	uint32_t pooling = p.causal ? HTH_POOL_NONE : HTH_POOL_MEAN;
	HTH_TRY(hth_params_u32(r, "pooling_type", false, 0, 4, &pooling));
	if (pooling == 4)
		return hth_fail(r->err, HTH_UNSUPPORTED,
		                "this is a reranking model (%s.pooling_type 4), which Hearth does not compute",
		                r->arch);
	p.pooling = (hth_pooling)pooling;
	*ret_params = p;
	return HTH_OK;
}
