/* convert.h - the conversions behind the table in types.c; use them through hth_type_get.
 *
 * Every dequantiser takes (blocks, floats out, n), every quantiser (floats, blocks out, n, importance or NULL); n is a
 * multiple of the type's block. Blocks may lie at any address that is a multiple of 2 (MXFP4: of 1).
 */
#ifndef HTH_ENGINE_QUANT_CONVERT_H
#define HTH_ENGINE_QUANT_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#define HTH_DEQUANTIZE(name) void hth_dequantize_##name(const void *src, float *dst, size_t n)
#define HTH_QUANTIZE(name) void hth_quantize_##name(const float *src, void *dst, size_t n, const float *importance)

HTH_DEQUANTIZE(f32);
HTH_DEQUANTIZE(f16);
HTH_DEQUANTIZE(bf16);
HTH_DEQUANTIZE(q4_0);
HTH_DEQUANTIZE(q4_1);
HTH_DEQUANTIZE(q5_0);
HTH_DEQUANTIZE(q5_1);
HTH_DEQUANTIZE(q8_0);
HTH_DEQUANTIZE(q2_k);
HTH_DEQUANTIZE(q3_k);
HTH_DEQUANTIZE(q4_k);
HTH_DEQUANTIZE(q5_k);
HTH_DEQUANTIZE(q6_k);
HTH_DEQUANTIZE(q8_k);
HTH_DEQUANTIZE(iq2_xxs);
HTH_DEQUANTIZE(iq2_xs);
HTH_DEQUANTIZE(iq2_s);
HTH_DEQUANTIZE(iq3_xxs);
HTH_DEQUANTIZE(iq3_s);
HTH_DEQUANTIZE(iq1_s);
HTH_DEQUANTIZE(iq1_m);
HTH_DEQUANTIZE(iq4_nl);
HTH_DEQUANTIZE(iq4_xs);
HTH_DEQUANTIZE(tq1_0);
HTH_DEQUANTIZE(tq2_0);
HTH_DEQUANTIZE(mxfp4);

HTH_QUANTIZE(f32);
HTH_QUANTIZE(f16);
HTH_QUANTIZE(bf16);
HTH_QUANTIZE(q4_0);
HTH_QUANTIZE(q4_1);
HTH_QUANTIZE(q5_0);
HTH_QUANTIZE(q5_1);
HTH_QUANTIZE(q8_0);
HTH_QUANTIZE(q2_k);
HTH_QUANTIZE(q3_k);
HTH_QUANTIZE(q4_k);
HTH_QUANTIZE(q5_k);
HTH_QUANTIZE(q6_k);
HTH_QUANTIZE(iq4_nl);
HTH_QUANTIZE(iq4_xs);
HTH_QUANTIZE(tq1_0);
HTH_QUANTIZE(tq2_0);
HTH_QUANTIZE(mxfp4);

#endif
