/* gguf.h - a GGUF file (v2, v3, little-endian), mapped and checked.
 *
 * Format: the GGUF specification of the ggml project. The whole header is checked before this returns a handle:
 * every count, length, offset, nesting and alignment against the bytes that are really there, so that no
 * accessor can fail for a reason inside the file. Tensor data is mapped read-only and never copied.
 * Memory: index tables only, bounded by a small multiple of the header's bytes (64 MiB at most).
 */
#ifndef HTH_ENGINE_GGUF_H
#define HTH_ENGINE_GGUF_H

#include "base/status.h"

#include <stdint.h>

typedef enum hth_gguf_type {
	HTH_GGUF_U8, HTH_GGUF_I8, HTH_GGUF_U16, HTH_GGUF_I16, HTH_GGUF_U32, HTH_GGUF_I32, HTH_GGUF_F32,
	HTH_GGUF_BOOL, HTH_GGUF_STRING, HTH_GGUF_ARRAY, HTH_GGUF_U64, HTH_GGUF_I64, HTH_GGUF_F64
} hth_gguf_type;

typedef struct hth_gguf hth_gguf;

/* Borrowed bytes inside the file: not NUL-terminated, not checked to be UTF-8. */
typedef struct hth_view {
	const char *data;
	size_t len;
} hth_view;

typedef struct hth_gguf_kv hth_gguf_kv; /* one metadata entry, borrowed from its file */

typedef struct hth_gguf_tensor {
	hth_view name;   /* 1 to 63 bytes, unique in the file */
	uint32_t type;   /* a type id that hth_type_get (quant.h) knows */
	uint32_t n_dims; /* 1 to 4 */
	uint64_t ne[4];  /* ne[0] is the contiguous dimension (columns); unused ones are 1 */
	uint64_t n_bytes;
	const void *data; /* n_bytes bytes, aligned as the file says; NULL in a vocabulary-only open */
} hth_gguf_tensor;

/* Opens one model: fds are its shards in order (one for most files), read-only regular files that stay owned by
 * the caller and may be closed after this returns. `name` is only used in messages. Shards are checked to agree
 * (split.no, split.count, split.tensors.count). */
HTH_MUST_USE hth_status hth_gguf_open(hth_gguf **ret_gguf, const int *fds, size_t n_fds, const char *name,
                                      hth_error *err);
/* The same over bytes in memory (borrowed until close); for tests and fuzzing. */
HTH_MUST_USE hth_status hth_gguf_open_memory(hth_gguf **ret_gguf, const void *bytes, size_t len, const char *name,
                                             hth_error *err);
void hth_gguf_close(hth_gguf *gguf);

uint64_t hth_gguf_file_bytes(const hth_gguf *gguf); /* all shards */
size_t hth_gguf_kv_count(const hth_gguf *gguf);
const hth_gguf_kv *hth_gguf_kv_at(const hth_gguf *gguf, size_t i);
const hth_gguf_kv *hth_gguf_find(const hth_gguf *gguf, const char *key); /* NULL: absent */
hth_view hth_gguf_kv_key(const hth_gguf_kv *kv);
hth_gguf_type hth_gguf_kv_type(const hth_gguf_kv *kv);

/* Typed reads. Absent: HTH_NOT_FOUND. Wrong type or out of the range asked for: HTH_BAD_FORMAT, with the key, what it
 * is and what it should be. Integers of any width and sign are taken where their value fits. */
HTH_MUST_USE hth_status hth_gguf_get_u32(const hth_gguf *gguf, const char *key, uint32_t *ret_value, hth_error *err);
HTH_MUST_USE hth_status hth_gguf_get_u64(const hth_gguf *gguf, const char *key, uint64_t *ret_value, hth_error *err);
HTH_MUST_USE hth_status hth_gguf_get_f32(const hth_gguf *gguf, const char *key, float *ret_value, hth_error *err);
HTH_MUST_USE hth_status hth_gguf_get_bool(const hth_gguf *gguf, const char *key, bool *ret_value, hth_error *err);
HTH_MUST_USE hth_status hth_gguf_get_string(const hth_gguf *gguf, const char *key, hth_view *ret_value, hth_error *err);

/* Arrays. get_array checks that the entry is an array of `type` (element type exactly). Element accessors abort on a
 * wrong type or index (a programmer's error: check first). Nested arrays are kept but have no element accessors. */
HTH_MUST_USE hth_status hth_gguf_get_array(const hth_gguf *gguf, const char *key, hth_gguf_type type,
                                           const hth_gguf_kv **ret_array, hth_error *err);
size_t hth_gguf_array_len(const hth_gguf_kv *array);
hth_gguf_type hth_gguf_array_type(const hth_gguf_kv *array);
hth_view hth_gguf_array_string(const hth_gguf_kv *array, size_t i);
float hth_gguf_array_f32(const hth_gguf_kv *array, size_t i);
int64_t hth_gguf_array_int(const hth_gguf_kv *array, size_t i); /* any integer or bool element type */

size_t hth_gguf_tensor_count(const hth_gguf *gguf);
const hth_gguf_tensor *hth_gguf_tensor_at(const hth_gguf *gguf, size_t i);
const hth_gguf_tensor *hth_gguf_tensor_find(const hth_gguf *gguf, const char *name); /* NULL: absent */

/* For listing: a short text of the value ("llama", 4096, [128256 strings]) in out, always NUL-terminated, printable. */
void hth_gguf_kv_describe(const hth_gguf_kv *kv, char *out, size_t out_len);

#endif
