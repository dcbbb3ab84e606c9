/* halves.c - F16 (IEEE 754 binary16) and BF16 to and from float, rounding to nearest even, for any bits.
 *
 * Written with integers only, so that the result does not depend on compiler flags or the machine's rounding mode.
 * NaNs stay NaN (made quiet), infinities and signed zeros are kept, subnormals are exact.
 */
#include "engine/quant/quant.h"

#include <string.h>

static float from_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static uint32_t to_bits(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return bits;
}

float hth_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exponent = h >> 10 & 31, mantissa = h & 0x3FF;
	if (exponent == 31)
		return from_bits(sign | 0x7F800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
	if (exponent != 0)
		return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
	if (mantissa == 0)
		return from_bits(sign);
	/* Subnormal: mantissa * 2^-24, brought to a leading one. */
	int shift = __builtin_clz(mantissa) - 21;
	return from_bits(sign | (uint32_t)(113 - shift) << 23 | (mantissa << shift & 0x3FF) << 13);
}

uint16_t hth_f32_to_f16(float f)
{
	uint32_t bits = to_bits(f);
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	bits &= 0x7FFFFFFF;
	if (bits > 0x7F800000)
		return (uint16_t)(sign | 0x7E00 | (bits >> 13 & 0x3FF));
	if (bits >= 0x477FF000) /* 65520: halfway past the largest, and up */
		return (uint16_t)(sign | 0x7C00);
	if (bits >= 0x38800000) { /* normal: 2^-14 and up */
		uint32_t rounded = bits + 0xFFF + (bits >> 13 & 1);
		return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
	}
	if (bits < 0x33000000) /* under 2^-25: nearer to zero than to the smallest */
		return sign;
	uint32_t exponent = bits >> 23, mantissa = (bits & 0x7FFFFF) | 0x800000;
	uint32_t shift = 126 - exponent; /* 14 to 24: value = mantissa * 2^(exponent - 150), unit 2^-24 */
	uint32_t rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
	mantissa >>= shift;
	mantissa += rest > half || (rest == half && (mantissa & 1));
	return (uint16_t)(sign | mantissa);
}

float hth_bf16_to_f32(uint16_t h)
{
	return from_bits((uint32_t)h << 16);
}

uint16_t hth_f32_to_bf16(float f)
{
	uint32_t bits = to_bits(f);
	if ((bits & 0x7FFFFFFF) > 0x7F800000)
		return (uint16_t)(bits >> 16 | 64);
	return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
