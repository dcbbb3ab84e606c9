/* gguf-writer.h - makes a GGUF v3 file as a stream: metadata, then the list of tensors, then their data in that order.
 *
 *   hth_gguf_writer *w = NULL;
 *   HTH_TRY(hth_gguf_writer_create(&w, fd, err));
 *   hth_gguf_writer_set_string(w, "general.architecture", "llama");
 *   hth_gguf_writer_set_u32(w, "llama.block_count", 22);
 *   hth_gguf_writer_add_tensor(w, "token_embd.weight", HTH_Q6_K, 2, (const uint64_t[]){2048, 32000});
 *   HTH_TRY(hth_gguf_writer_begin(w, err));
 *   for (...) HTH_TRY(hth_gguf_writer_write(w, rows, n_bytes, err));
 *   HTH_TRY(hth_gguf_writer_finish(w, err));
 *   hth_gguf_writer_destroy(w);
 *
 * What is set and added is only kept; the first thing wrong with it (a key twice, an impossible shape, no memory) is
 * reported by begin. Memory: the header. One thread at a time. What this writes, hth_gguf_open takes.
 */
#ifndef HTH_ENGINE_GGUF_WRITER_H
#define HTH_ENGINE_GGUF_WRITER_H

#include "engine/gguf/gguf.h"
#include "engine/quant/quant.h"

typedef struct hth_gguf_writer hth_gguf_writer;

/* fd: a regular file open for writing, stays the caller's; it is written from byte 0 and cut to what was written.
 * Whether and when to fsync it is the caller's decision too. */
HTH_MUST_USE hth_status hth_gguf_writer_create(hth_gguf_writer **ret_writer, int fd, hth_error *err);
void hth_gguf_writer_destroy(hth_gguf_writer *writer); /* NULL is fine; an unfinished file is left as it is */

/* Metadata. Keys: 1 to 65535 bytes, each once. Everything is copied. */
void hth_gguf_writer_set_u32(hth_gguf_writer *writer, const char *key, uint32_t value);
void hth_gguf_writer_set_u64(hth_gguf_writer *writer, const char *key, uint64_t value);
void hth_gguf_writer_set_i32(hth_gguf_writer *writer, const char *key, int32_t value);
void hth_gguf_writer_set_f32(hth_gguf_writer *writer, const char *key, float value);
void hth_gguf_writer_set_bool(hth_gguf_writer *writer, const char *key, bool value);
void hth_gguf_writer_set_string(hth_gguf_writer *writer, const char *key, const char *value);
void hth_gguf_writer_set_strings(hth_gguf_writer *writer, const char *key, const hth_view *values, size_t n);
/* n elements of a scalar type (not string, not array), as they lie in memory. */
void hth_gguf_writer_set_array(hth_gguf_writer *writer, const char *key, hth_gguf_type type, const void *values,
                               size_t n);
/* An entry of an open file, of any type, as it is. */
void hth_gguf_writer_copy_kv(hth_gguf_writer *writer, const hth_gguf_kv *kv);

/* Declares the next tensor: 1 to 63 bytes of name, n_dims 1 to 4, ne[0] a multiple of the type's block. */
void hth_gguf_writer_add_tensor(hth_gguf_writer *writer, const char *name, hth_type type, uint32_t n_dims,
                                const uint64_t *ne);

/* Writes the header and reserves the file's whole size, so that a full disk is known now (HTH_IO, with the size). */
HTH_MUST_USE hth_status hth_gguf_writer_begin(hth_gguf_writer *writer, hth_error *err);
/* The next len bytes of the tensor that is being written; when it is full the next one begins. A call stays within one
 * tensor (HTH_INVALID otherwise). */
HTH_MUST_USE hth_status hth_gguf_writer_write(hth_gguf_writer *writer, const void *bytes, size_t len, hth_error *err);
/* HTH_INVALID when data is missing. */
HTH_MUST_USE hth_status hth_gguf_writer_finish(hth_gguf_writer *writer, hth_error *err);

/* After begin: bytes of the whole file. */

#endif
