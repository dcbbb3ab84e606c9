/* kernel-data.h - random weights of every type for the kernel tests and benchmarks: random block bytes with scales of a sane
 * size, so that every code, sign and packed scale occurs. */
#ifndef HTH_TESTS_KERNEL_DATA_H
#define HTH_TESTS_KERNEL_DATA_H

#include "base/rng.h"
#include "engine/quant/quant.h"

#include <stdlib.h>
#include <string.h>

static const hth_type kernel_types[] = {
    HTH_F32, HTH_F16, HTH_BF16, HTH_Q8_0, HTH_Q4_0, HTH_Q4_1, HTH_Q5_0, HTH_Q5_1, HTH_Q2_K, HTH_Q3_K, HTH_Q4_K, HTH_Q5_K,
    HTH_Q6_K, HTH_IQ4_NL, HTH_IQ4_XS, HTH_MXFP4,
};

static inline float random_normal(hth_rng *rng)
{
	double sum = -6;
	for (int i = 0; i < 12; i++)
		sum += hth_rng_unit(rng);
	return (float)sum;
}

/* Where the F16 scales of a block are; -1: none. */
static inline void scale_offsets(hth_type type, int ret_at[2])
{
	ret_at[0] = ret_at[1] = -1;
	switch (type) {
	case HTH_Q4_1: case HTH_Q5_1: case HTH_Q4_K: case HTH_Q5_K: ret_at[0] = 0, ret_at[1] = 2; break;
	case HTH_Q2_K: ret_at[0] = 80, ret_at[1] = 82; break;
	case HTH_Q3_K: ret_at[0] = 108; break;
	case HTH_Q6_K: ret_at[0] = 208; break;
	case HTH_Q4_0: case HTH_Q5_0: case HTH_Q8_0: case HTH_IQ4_NL: case HTH_IQ4_XS: ret_at[0] = 0; break;
	default: break;
	}
}

/* `rows` rows of `cols` values, at an address that is as unaligned as blocks in a file may be. Caller frees *ret_base. */
static inline void *random_weights(hth_type type, size_t rows, size_t cols, uint64_t seed, void **ret_base)
{
	hth_rng rng;
	hth_rng_seed(&rng, seed);
	const hth_type_traits *traits = hth_type_get(type);
	size_t n_blocks = rows * (cols / traits->block_elems), bytes = n_blocks * traits->block_bytes;
	/* Exactly sized, so that a sanitizer sees a kernel reading past the end. */
	char *base = malloc(bytes + 2);
	unsigned char *w = (unsigned char *)base + (traits->block_bytes % 4 == 0 ? 0 : 2);
	if (base == NULL)
		abort();
	*ret_base = base;
	if (traits->block_elems == 1) {
		for (size_t i = 0; i < n_blocks; i++) {
			float v = random_normal(&rng) * 0.05f;
			uint16_t h = type == HTH_F16 ? hth_f32_to_f16(v) : hth_f32_to_bf16(v);
			memcpy(w + i * traits->block_bytes, type == HTH_F32 ? (void *)&v : (void *)&h, traits->block_bytes);
		}
		return w;
	}
	for (size_t i = 0; i < bytes; i++)
		w[i] = (unsigned char)(hth_rng_next(&rng) >> 24);
	int at[2];
	scale_offsets(type, at);
	for (size_t i = 0; i < n_blocks; i++) {
		unsigned char *block = w + i * traits->block_bytes;
		for (int k = 0; k < 2; k++) {
			uint16_t h = hth_f32_to_f16((float)(0.01 + 0.01 * hth_rng_unit(&rng)) * (k == 0 && i % 3 == 0 ? -1.0f : 1.0f));
			if (at[k] >= 0)
				memcpy(block + at[k], &h, 2);
		}
		if (type == HTH_MXFP4)
			block[0] = (unsigned char)(i % 97 == 0 ? i % 2 : 118 + hth_rng_next(&rng) % 8);
	}
	return w;
}

#endif
