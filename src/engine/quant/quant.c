/* quant.c - floats to blocks for the simple formats: floats and blocks of 32.
 *
 * Where the format has one scale per block, it is searched for (least weighted squared error), not just taken from the
 * largest value. Importance weighs each column's error; without it every column counts by its own square, the usual
 * choice for weights. Everything is deterministic.
 */
#include "engine/quant/blocks.h"
#include "engine/quant/convert.h"
#include "engine/quant/quant.h"

#include <string.h>

HTH_QUANTIZE(f32)
{
	(void)importance;
	memcpy(dst, src, n * sizeof(float));
}

HTH_QUANTIZE(f16)
{
	(void)importance;
	uint16_t *h = dst;
	for (size_t i = 0; i < n; i++)
		h[i] = hth_f32_to_f16(src[i]);
}

HTH_QUANTIZE(bf16)
{
	(void)importance;
	uint16_t *h = dst;
	for (size_t i = 0; i < n; i++)
		h[i] = hth_f32_to_bf16(src[i]);
}
