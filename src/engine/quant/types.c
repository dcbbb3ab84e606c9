/* types.c - the one table of tensor types: name, block, conversions. A type's id is its row. */
#include "engine/quant/blocks.h"
#include "engine/quant/convert.h"
#include "engine/quant/quant.h"

#include "base/mem.h"

#include <strings.h>

#define BLOCK(type_name, elems, block, dequantize, quantize)                                                           \
	{                                                                                                              \
		type_name, elems, sizeof(block), dequantize, quantize                                                  \
	}

static const hth_type_traits table[HTH_TYPE_LIMIT] = {
    [HTH_F32] = BLOCK("F32", 1, float, hth_dequantize_f32, hth_quantize_f32),
    [HTH_F16] = BLOCK("F16", 1, uint16_t, hth_dequantize_f16, hth_quantize_f16),
    [HTH_BF16] = BLOCK("BF16", 1, uint16_t, hth_dequantize_bf16, hth_quantize_bf16),
    [HTH_F64] = BLOCK("F64", 1, double, NULL, NULL),
    [HTH_I8] = BLOCK("I8", 1, int8_t, NULL, NULL),
    [HTH_I16] = BLOCK("I16", 1, int16_t, NULL, NULL),
    [HTH_I32] = BLOCK("I32", 1, int32_t, NULL, NULL),
    [HTH_I64] = BLOCK("I64", 1, int64_t, NULL, NULL),
    [HTH_Q4_0] = BLOCK("Q4_0", 32, hth_block_q4_0, hth_dequantize_q4_0, hth_quantize_q4_0),
    [HTH_Q4_1] = BLOCK("Q4_1", 32, hth_block_q4_1, hth_dequantize_q4_1, hth_quantize_q4_1),
    [HTH_Q5_0] = BLOCK("Q5_0", 32, hth_block_q5_0, hth_dequantize_q5_0, hth_quantize_q5_0),
    [HTH_Q5_1] = BLOCK("Q5_1", 32, hth_block_q5_1, hth_dequantize_q5_1, hth_quantize_q5_1),
    [HTH_Q8_0] = BLOCK("Q8_0", 32, hth_block_q8_0, hth_dequantize_q8_0, hth_quantize_q8_0),
    [HTH_Q8_1] = BLOCK("Q8_1", 32, hth_block_q8_1, NULL, NULL),
    [HTH_Q2_K] = BLOCK("Q2_K", 256, hth_block_q2_k, hth_dequantize_q2_k, hth_quantize_q2_k),
    [HTH_Q3_K] = BLOCK("Q3_K", 256, hth_block_q3_k, hth_dequantize_q3_k, hth_quantize_q3_k),
    [HTH_Q4_K] = BLOCK("Q4_K", 256, hth_block_q4_k, hth_dequantize_q4_k, hth_quantize_q4_k),
    [HTH_Q5_K] = BLOCK("Q5_K", 256, hth_block_q5_k, hth_dequantize_q5_k, hth_quantize_q5_k),
    [HTH_Q6_K] = BLOCK("Q6_K", 256, hth_block_q6_k, hth_dequantize_q6_k, hth_quantize_q6_k),
    [HTH_Q8_K] = BLOCK("Q8_K", 256, hth_block_q8_k, hth_dequantize_q8_k, NULL),
    [HTH_IQ2_XXS] = BLOCK("IQ2_XXS", 256, hth_block_iq2_xxs, hth_dequantize_iq2_xxs, NULL),
    [HTH_IQ2_XS] = BLOCK("IQ2_XS", 256, hth_block_iq2_xs, hth_dequantize_iq2_xs, NULL),
    [HTH_IQ2_S] = BLOCK("IQ2_S", 256, hth_block_iq2_s, hth_dequantize_iq2_s, NULL),
    [HTH_IQ3_XXS] = BLOCK("IQ3_XXS", 256, hth_block_iq3_xxs, hth_dequantize_iq3_xxs, NULL),
    [HTH_IQ3_S] = BLOCK("IQ3_S", 256, hth_block_iq3_s, hth_dequantize_iq3_s, NULL),
    [HTH_IQ1_S] = BLOCK("IQ1_S", 256, hth_block_iq1_s, hth_dequantize_iq1_s, NULL),
    [HTH_IQ1_M] = BLOCK("IQ1_M", 256, hth_block_iq1_m, hth_dequantize_iq1_m, NULL),
    [HTH_IQ4_NL] = BLOCK("IQ4_NL", 32, hth_block_iq4_nl, hth_dequantize_iq4_nl, hth_quantize_iq4_nl),
    [HTH_IQ4_XS] = BLOCK("IQ4_XS", 256, hth_block_iq4_xs, hth_dequantize_iq4_xs, hth_quantize_iq4_xs),
    [HTH_TQ1_0] = BLOCK("TQ1_0", 256, hth_block_tq1_0, hth_dequantize_tq1_0, hth_quantize_tq1_0),
    [HTH_TQ2_0] = BLOCK("TQ2_0", 256, hth_block_tq2_0, hth_dequantize_tq2_0, hth_quantize_tq2_0),
    [HTH_MXFP4] = BLOCK("MXFP4", 32, hth_block_mxfp4, hth_dequantize_mxfp4, hth_quantize_mxfp4),
};

const hth_type_traits *hth_type_get(uint32_t type)
{
	return type < HTH_TYPE_LIMIT && table[type].name != NULL ? &table[type] : NULL;
}

bool hth_type_by_name(const char *name, hth_type *ret_type)
{
	for (size_t i = 0; i < HTH_COUNT(table); i++) {
		if (table[i].name != NULL && strcasecmp(table[i].name, name) == 0) {
			*ret_type = (hth_type)i;
			return true;
		}
	}
	return false;
}

size_t hth_type_row_bytes(hth_type type, size_t n)
{
	const hth_type_traits *traits = hth_type_get(type);
	return traits != NULL ? n / traits->block_elems * traits->block_bytes : 0;
}
