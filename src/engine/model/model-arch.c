/* model-arch.c - the table of architectures. Adding one is one file and one row here. */
#include "engine/model/model-arch.h"

#include "base/mem.h"

static const hth_arch *const table[] = {
    &hth_arch_bert,     &hth_arch_gemma,      &hth_arch_gemma2,     &hth_arch_gemma3,
    &hth_arch_gpt_oss,  &hth_arch_granite,    &hth_arch_granitemoe, &hth_arch_llama,
    &hth_arch_mistral3, &hth_arch_nomic_bert, &hth_arch_phi3,       &hth_arch_qwen2,
    &hth_arch_qwen2moe, &hth_arch_qwen3,      &hth_arch_qwen3moe,   &hth_arch_smollm3,
};

const hth_arch *hth_arch_find(hth_view name)
{
	for (size_t i = 0; i < HTH_COUNT(table); i++)
		if (strlen(table[i]->name) == name.len && memcmp(table[i]->name, name.data, name.len) == 0)
			return table[i];
	return NULL;
}

void hth_arch_list(hth_buf *out)
{
	for (size_t i = 0; i < HTH_COUNT(table); i++)
		hth_buf_appendf(out, "%s%s", i ? ", " : "", table[i]->name);
}
