/* quant-mix.c - the mixes people use, and their choice of a type per tensor.
 *
 * The names, their numbers (general.file_type) and the choices are those of the llama.cpp project, so that "Q4_K_M"
 * from here is the size and quality that people expect of it: norms, biases, routers and position tables stay floats;
 * the output matrix (or the embedding, where they are one) gets 6 bits; values and down projections of the first and
 * last eighth of the layers, and of every third between, get more bits in the _M mixes.
 */
#include "engine/quant/quant-mix.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const hth_mix mixes[] = {
    {"F32", MIX_PLAIN, HTH_F32, 0},         {"F16", MIX_PLAIN, HTH_F16, 1},
    {"BF16", MIX_PLAIN, HTH_BF16, 32},      {"Q8_0", MIX_Q8_0, HTH_Q8_0, 7},
    {"Q6_K", MIX_Q6_K, HTH_Q6_K, 18},       {"Q5_K_M", MIX_Q5_K_M, HTH_Q5_K, 17},
    {"Q5_K_S", MIX_Q5_K_S, HTH_Q5_K, 16},   {"Q5_1", MIX_Q5_1, HTH_Q5_1, 9},
    {"Q5_0", MIX_Q5_0, HTH_Q5_0, 8},        {"Q4_K_M", MIX_Q4_K_M, HTH_Q4_K, 15},
    {"Q4_K_S", MIX_Q4_K_S, HTH_Q4_K, 14},   {"IQ4_NL", MIX_IQ4_NL, HTH_IQ4_NL, 25},
    {"IQ4_XS", MIX_IQ4_XS, HTH_IQ4_XS, 30}, {"Q4_1", MIX_Q4_1, HTH_Q4_1, 3},
    {"Q4_0", MIX_Q4_0, HTH_Q4_0, 2},        {"MXFP4", MIX_MXFP4, HTH_MXFP4, 38},
    {"Q3_K_L", MIX_Q3_K_L, HTH_Q3_K, 13},   {"Q3_K_M", MIX_Q3_K_M, HTH_Q3_K, 12},
    {"Q3_K_S", MIX_Q3_K_S, HTH_Q3_K, 11},   {"Q2_K", MIX_Q2_K, HTH_Q2_K, 10},
    {"TQ2_0", MIX_TERNARY, HTH_TQ2_0, 37},  {"TQ1_0", MIX_TERNARY, HTH_TQ1_0, 36},
};

const char *const *hth_quantize_ftypes(void)
{
	static const char *const names[] = {"F32",    "F16",  "BF16",  "Q8_0",   "Q6_K",   "Q5_K_M",
	                                    "Q5_K_S", "Q5_1", "Q5_0",  "Q4_K_M", "Q4_K_S", "IQ4_NL",
	                                    "IQ4_XS", "Q4_1", "Q4_0",  "MXFP4",  "Q3_K_L", "Q3_K_M",
	                                    "Q3_K_S", "Q2_K", "TQ2_0", "TQ1_0",  NULL};
	static_assert(HTH_COUNT(names) == HTH_COUNT(mixes) + 1, "one name per mix");
	return names;
}

const hth_mix *hth_mix_find(const char *name)
{
	static const struct {
		const char *name, *means;
	} shorter[] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}, {"MXFP4_MOE", "MXFP4"}};
	for (size_t i = 0; i < HTH_COUNT(shorter); i++)
		if (strcasecmp(name, shorter[i].name) == 0)
			name = shorter[i].means;
	for (size_t i = 0; i < HTH_COUNT(mixes); i++)
		if (strcasecmp(name, mixes[i].name) == 0)
			return &mixes[i];
	return NULL;
}

/* A number of the model's architecture ("llama.block_count"); of an array over layers, its first. 0 when absent. */
static uint32_t model_number(const hth_gguf *gguf, hth_view arch, const char *suffix)
{
	char key[256];
	uint32_t value = 0;
	if (arch.len == 0 || arch.len > 64)
		return 0;
	snprintf(key, sizeof key, "%.*s.%s", (int)arch.len, arch.data, suffix);
	const hth_gguf_kv *kv = hth_gguf_find(gguf, key);
	if (kv == NULL)
		return 0;
	if (hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY) {
		hth_gguf_type type = hth_gguf_array_type(kv);
		bool integers = type <= HTH_GGUF_I32 || type == HTH_GGUF_U64 || type == HTH_GGUF_I64;
		int64_t first = integers && hth_gguf_array_len(kv) > 0 ? hth_gguf_array_int(kv, 0) : 0;
		return first > 0 && first <= UINT32_MAX ? (uint32_t)first : 0;
	}
	return hth_gguf_get_u32(gguf, key, &value, NULL) == HTH_OK ? value : 0;
}

hth_mix_model hth_mix_describe(const hth_gguf *gguf)
{
	hth_view arch = {"", 0};
	if (hth_gguf_get_string(gguf, "general.architecture", &arch, NULL) != HTH_OK)
		arch = (hth_view){"", 0};
	uint32_t heads = model_number(gguf, arch, "attention.head_count");
	uint32_t heads_kv = model_number(gguf, arch, "attention.head_count_kv");
	return (hth_mix_model){
	    .n_layer = model_number(gguf, arch, "block_count"),
	    .n_gqa = heads_kv > 0 ? heads / heads_kv : 1,
	    .n_expert = model_number(gguf, arch, "expert_count"),
	    .has_output = hth_gguf_tensor_find(gguf, "output.weight") != NULL,
	    .llama = arch.len == 5 && memcmp(arch.data, "llama", 5) == 0,
	};
}

/* A tensor's name as text. */
typedef struct tensor_name {
	char text[64];
} tensor_name;

static tensor_name name_of(const hth_gguf_tensor *tensor)
{
	tensor_name name;
	size_t len = HTH_MIN(tensor->name.len, sizeof name.text - 1);
	memcpy(name.text, tensor->name.data, len);
	name.text[len] = '\0';
	return name;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && strcmp(s + n - m, end) == 0;
}

static unsigned dimensions(const hth_gguf_tensor *tensor)
{
	unsigned n = 4;
	while (n > 1 && tensor->ne[n - 1] == 1)
		n--;
	return n;
}

/* Matrices of weights; what decides (routers), normalises or says positions stays as floats. */
static bool takes_part(const hth_gguf_tensor *tensor, const char *name)
{
	static const char *const kept[] = {"_norm.weight", "ffn_gate_inp",   "position_embd", "token_types",
	                                   "ssm_conv1d",   "time_mix_",      "attn_rel_b",    "altup",
	                                   "laurel",       "shortconv.conv", "exp_probs_b",   "per_layer_model_proj"};
	if (dimensions(tensor) < 2 || !ends_with(name, "weight"))
		return false;
	for (size_t i = 0; i < HTH_COUNT(kept); i++)
		if (strstr(name, kept[i]) != NULL)
			return false;
	return true;
}

/* The layers that matter most: the first and last eighth, and every third between. */
static bool more_bits(uint32_t layer, uint32_t n)
{
	return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static hth_type choose_attn_v(hth_mix_id id, const hth_mix_model *m, uint32_t layer, hth_type type)
{
	switch (id) {
	case MIX_Q2_K:
		type = m->n_gqa >= 4 ? HTH_Q4_K : HTH_Q3_K;
		break;
	case MIX_Q3_K_M:
		type = layer < 2 ? HTH_Q5_K : HTH_Q4_K;
		break;
	case MIX_Q3_K_L:
		type = HTH_Q5_K;
		break;
	case MIX_IQ4_NL:
	case MIX_IQ4_XS:
		if (m->n_gqa >= 4)
			type = HTH_Q5_K;
		break;
	case MIX_Q4_K_M:
	case MIX_Q5_K_M:
		if (more_bits(layer, m->n_layer))
			type = HTH_Q6_K;
		break;
	case MIX_Q4_K_S:
		if (layer < 4)
			type = HTH_Q5_K;
		break;
	default:
		break;
	}
	/* Llama of 70 B shares each value head among eight: small, and worth more bits. */
	if (m->llama && m->n_layer == 80 && m->n_gqa > 1 && (type == HTH_Q3_K || type == HTH_Q4_K))
		type = HTH_Q5_K;
	return m->n_expert == 8 ? HTH_Q8_0 : type;
}

static hth_type choose_ffn_down(hth_mix_id id, const hth_mix_model *m, uint32_t layer, hth_type type)
{
	uint32_t n = m->n_layer;
	switch (id) {
	case MIX_Q2_K:
		return HTH_Q3_K;
	case MIX_Q3_K_M:
		return layer < n / 16 ? HTH_Q5_K : HTH_Q4_K;
	case MIX_Q3_K_L:
		return HTH_Q5_K;
	case MIX_Q4_K_M:
	case MIX_Q5_K_M:
		return more_bits(layer, n) ? HTH_Q6_K : type;
	case MIX_Q4_K_S:
	case MIX_IQ4_NL:
	case MIX_IQ4_XS:
		return layer < n / 8 ? HTH_Q5_K : type;
	default:
		return type;
	}
}

static hth_type choose_attn_output(hth_mix_id id, const hth_mix_model *m, hth_type type)
{
	if (m->n_expert == 8) {
		bool raised = id == MIX_Q2_K || id == MIX_Q3_K_S || id == MIX_Q3_K_M || id == MIX_Q4_K_S ||
		              id == MIX_Q4_K_M || id == MIX_IQ4_NL || id == MIX_IQ4_XS;
		return raised ? HTH_Q5_K : type;
	}
	return id == MIX_Q2_K ? HTH_Q3_K : id == MIX_Q3_K_M ? HTH_Q4_K : id == MIX_Q3_K_L ? HTH_Q5_K : type;
}

static hth_type choose_attn_qkv(hth_mix_id id, hth_type type)
{
	switch (id) {
	case MIX_Q3_K_M:
	case MIX_Q3_K_L:
		return HTH_Q4_K;
	case MIX_Q4_K_M:
		return HTH_Q5_K;
	case MIX_Q5_K_M:
		return HTH_Q6_K;
	default:
		return type;
	}
}

/* A type whose blocks fit rows of n values, as near to the wanted one as there is. */
static hth_type fit_rows(hth_type type, uint64_t n)
{
	if (n % hth_type_get(type)->block_elems == 0)
		return type;
	switch (type) {
	case HTH_TQ1_0:
	case HTH_TQ2_0:
		type = HTH_Q4_0;
		break;
	case HTH_Q2_K:
	case HTH_Q3_K:
	case HTH_IQ4_XS:
		type = HTH_IQ4_NL;
		break;
	case HTH_Q4_K:
		type = HTH_Q5_0;
		break;
	case HTH_Q5_K:
		type = HTH_Q5_1;
		break;
	case HTH_Q6_K:
		type = HTH_Q8_0;
		break;
	default:
		break;
	}
	return n % hth_type_get(type)->block_elems == 0 ? type : HTH_F16;
}

hth_type hth_mix_choose(const hth_mix *mix, const hth_mix_model *model, const hth_gguf_tensor *tensor)
{
	tensor_name holder = name_of(tensor);
	const char *name = holder.text;
	bool floats = tensor->type == HTH_F32 || tensor->type == HTH_F16 || tensor->type == HTH_BF16;
	if (!takes_part(tensor, name))
		return floats ? HTH_F32 : (hth_type)tensor->type;
	hth_type type = mix->type;
	if (mix->id == MIX_PLAIN)
		return type;
	unsigned long layer = strncmp(name, "blk.", 4) == 0 ? strtoul(name + 4, NULL, 10) : 0;
	uint32_t i = layer < model->n_layer ? (uint32_t)layer : 0;
	if (mix->id == MIX_MXFP4 && model->n_expert > 0) /* as gpt-oss is shipped: the experts alone */
		type = dimensions(tensor) == 3 && strstr(name, "_exps.") != NULL ? HTH_MXFP4 : HTH_Q8_0;
	else if (strcmp(name, "output.weight") == 0 || (!model->has_output && strcmp(name, "token_embd.weight") == 0))
		type = mix->id == MIX_Q8_0 || tensor->ne[0] % 256 != 0 ? HTH_Q8_0 : HTH_Q6_K;
	else if (mix->id == MIX_TERNARY)
		type = strcmp(name, "token_embd.weight") == 0 ? HTH_Q4_K : type;
	else if (strstr(name, "attn_v.weight") != NULL)
		type = choose_attn_v(mix->id, model, i, type);
	else if (strstr(name, "attn_k.weight") != NULL)
		type = model->n_expert == 8 ? HTH_Q8_0 : type;
	else if (strstr(name, "ffn_down") != NULL)
		type = choose_ffn_down(mix->id, model, i, type);
	else if (strstr(name, "attn_output.weight") != NULL)
		type = choose_attn_output(mix->id, model, type);
	else if (strstr(name, "attn_qkv.weight") != NULL)
		type = choose_attn_qkv(mix->id, type);
	return fit_rows(type, tensor->ne[0]);
}
