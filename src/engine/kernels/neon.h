/* neon.h - what the NEON rows share: everything that does not multiply bytes. Internal to them. */
#ifndef HTH_ENGINE_NEON_H
#define HTH_ENGINE_NEON_H

#include "engine/kernels/kernel-row.h"

void hth_neon_quantize_acts(hth_a8_line *dst, size_t stride, const float *x, size_t n);
void hth_neon_gemm_float(const float *panel, size_t n, const float *const *x, size_t n_tokens, float *acc);
#define NEON_FLOAT(name)                                                                                      \
	void hth_neon_unpack_##name(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n);  \
	void hth_neon_gemv_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y);
NEON_FLOAT(f32) NEON_FLOAT(f16) NEON_FLOAT(bf16)
#undef NEON_FLOAT

float hth_neon_dot_f32(const float *a, const float *b, size_t n);
float hth_neon_dot_f16(const float *a, const uint16_t *b, size_t n);
void hth_neon_axpy_f32(float *y, const float *x, float a, size_t n);
void hth_neon_axpy_f16(float *y, const uint16_t *x, float a, size_t n);
void hth_neon_f32_to_f16(uint16_t *y, const float *x, size_t n);
void hth_neon_rms_norm(float *y, const float *x, const float *weight, float eps, size_t n);
float hth_neon_softmax(float *x, size_t n);
void hth_neon_silu_mul(float *y, const float *gate, const float *up, size_t n);
void hth_neon_gelu_mul(float *y, const float *gate, const float *up, size_t n);
void hth_neon_gelu_erf_mul(float *y, const float *gate, const float *up, size_t n);
void hth_neon_soft_cap(float *x, float cap, size_t n);
uint64_t hth_neon_read_bytes(const void *p, size_t n);
uint64_t hth_neon_mac_float(size_t rounds);

#define NEON_VEC(name)                                                                                              \
	{name, hth_neon_dot_f32, hth_neon_dot_f16, hth_neon_axpy_f32, hth_neon_axpy_f16, hth_neon_f32_to_f16,      \
	 hth_neon_rms_norm, hth_neon_softmax, hth_neon_silu_mul, hth_neon_gelu_mul, hth_neon_gelu_erf_mul, \
	 hth_neon_soft_cap}
#define FLOATS(name) {.unpack_float = hth_neon_unpack_##name, .gemv_float = hth_neon_gemv_##name}
#define NEON_FLOAT_TYPES [HTH_F32] = FLOATS(f32), [HTH_F16] = FLOATS(f16), [HTH_BF16] = FLOATS(bf16)

#endif
