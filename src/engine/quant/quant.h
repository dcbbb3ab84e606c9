/* quant.h - the block formats that weights are stored in, and their reference conversions.
 *
 * Type ids are those of GGUF. Layouts and formulas are those of the ggml project's block formats; each conversion names
 * its layout above its code. Everything here is plain C and the reference that kernels are tested against.
 */
#ifndef HTH_ENGINE_QUANT_H
#define HTH_ENGINE_QUANT_H

#include "base/status.h"

#include <stdint.h>

typedef enum hth_type {
	HTH_F32 = 0, HTH_F16 = 1, HTH_Q4_0 = 2, HTH_Q4_1 = 3, HTH_Q5_0 = 6, HTH_Q5_1 = 7, HTH_Q8_0 = 8, HTH_Q8_1 = 9,
	HTH_Q2_K = 10, HTH_Q3_K = 11, HTH_Q4_K = 12, HTH_Q5_K = 13, HTH_Q6_K = 14, HTH_Q8_K = 15,
	HTH_IQ2_XXS = 16, HTH_IQ2_XS = 17, HTH_IQ3_XXS = 18, HTH_IQ1_S = 19, HTH_IQ4_NL = 20, HTH_IQ3_S = 21,
	HTH_IQ2_S = 22, HTH_IQ4_XS = 23, HTH_I8 = 24, HTH_I16 = 25, HTH_I32 = 26, HTH_I64 = 27, HTH_F64 = 28,
	HTH_IQ1_M = 29, HTH_BF16 = 30, HTH_TQ1_0 = 34, HTH_TQ2_0 = 35, HTH_MXFP4 = 39,
	HTH_TYPE_LIMIT = 40
} hth_type;

typedef struct hth_type_traits {
	const char *name;      /* as GGUF tools print it: "Q4_K", "F16" */
	uint32_t block_elems;  /* elements in a block: 1, 32 or 256 */
	uint32_t block_bytes;
	/* n is a multiple of block_elems. NULL where Hearth cannot convert (integers, intermediate types). */
	void (*dequantize_row)(const void *src, float *dst, size_t n);
	/* importance: NULL, or n weights >= 0 of how much each column's error matters. NULL function: cannot quantise. */
	void (*quantize_row)(const float *src, void *dst, size_t n, const float *importance);
} hth_type_traits;

/* NULL for an id that is unknown or was removed from GGUF. */
const hth_type_traits *hth_type_get(uint32_t type);
/* Finds a type by its name, case-insensitive ("q4_k", "Q4_K"); false when unknown. */
bool hth_type_by_name(const char *name, hth_type *ret_type);
/* Bytes of a row of n elements; n must be a multiple of block_elems. */
size_t hth_type_row_bytes(hth_type type, size_t n);

float hth_f16_to_f32(uint16_t h);
uint16_t hth_f32_to_f16(float f); /* round to nearest even */
float hth_bf16_to_f32(uint16_t h);
uint16_t hth_f32_to_bf16(float f);

/* Quantises a whole file. `ftype` is what people call it, in any case: a type's name or a mix ("Q4_K_M", "Q5_K_M",
 * "Q3_K_M", "Q2_K", ...; "Q4_K" means "Q4_K_M"), with the mix's usual choice of type per tensor (quant-mix.c); rows
 * that are not a multiple of the block fall back to a type that fits. out_fd is a regular file other than the input's,
 * written from its start; fsync is the caller's. progress (may be NULL) is called on the calling thread with bytes of
 * the input done and in all. The input may be F32, F16, BF16 or (with a warning to the caller through
 * *ret_requantized) already quantised. Metadata is copied with general.file_type and general.quantization_version set;
 * the pieces of a split model become one file. n_threads workers (0: one per core); memory is bounded by them, not by
 * the model. HTH_INVALID: unknown ftype (the message lists them), or values beyond F16 for F16. HTH_BAD_FORMAT:
 * weights that are not finite. HTH_IO: the disk is full (known before the work begins where the file system can say).
 * On failure the output is incomplete: remove it. */
typedef struct hth_gguf hth_gguf;
typedef struct hth_quantize_options {
	const char *ftype;
	unsigned n_threads;
	void (*progress)(void *ctx, const char *tensor, uint64_t done_bytes, uint64_t total_bytes);
	void *progress_ctx;
	bool *ret_requantized; /* may be NULL */
} hth_quantize_options;
HTH_MUST_USE hth_status hth_quantize_file(const hth_gguf *in, int out_fd, const hth_quantize_options *options,
                                          hth_error *err);
/* The names hth_quantize_file knows, NULL-terminated. */
const char *const *hth_quantize_ftypes(void);

#endif
