/* gguf-internal.h - what the reader's files share; nobody else includes it. */
#ifndef HTH_ENGINE_GGUF_INTERNAL_H
#define HTH_ENGINE_GGUF_INTERNAL_H

#include "engine/gguf/gguf.h"

/* Limits on what a header may hold. The largest real headers (262,144 tokens with merges) are under 20 MiB, the most
 * tensors (unmerged experts) under 100,000. With these the index of the worst file stays under 32 MiB. */
enum {
	GGUF_MAX_KV = 1 << 16,
	GGUF_MAX_TENSORS = 1 << 17,
	GGUF_MAX_SHARDS = 1024,
	GGUF_MAX_KEY = 65535,
	GGUF_MAX_NAME = 63,
	GGUF_MAX_NESTING = 4,
	GGUF_MAX_ALIGNMENT = 65536,
	GGUF_MIN_ALIGNMENT = 8,
	GGUF_DEFAULT_ALIGNMENT = 32,
	GGUF_STRING_STRIDE = 16, /* one string in so many has its place in the index */
	GGUF_MAX_HEADER = 128 << 20,
};

struct hth_gguf_kv {
	hth_view key;
	const unsigned char *value;    /* the value's first byte; of a string and an array, its first element */
	uint64_t len;                  /* bytes of a string, elements of an array */
	const uint32_t *string_places; /* of strings: offsets from value of every GGUF_STRING_STRIDE-th; owned by the file */
	uint8_t type, element;         /* hth_gguf_type */
};

/* One entry of a name index, ordered by hash, then length, then bytes: no crafted names make a lookup slow. */
typedef struct gguf_slot {
	uint64_t hash;
	uint32_t i;
} gguf_slot;

typedef struct gguf_shard {
	const unsigned char *bytes;
	uint64_t size;
	bool mapped;
} gguf_shard;

/* Where a tensor's data lies, for the checks; one per tensor, only while opening. */
typedef struct gguf_place {
	uint64_t offset; /* in its shard's data section */
	uint32_t tensor;
} gguf_place;

struct hth_gguf {
	gguf_shard *shards;
	size_t n_shards;
	hth_gguf_kv *kv;
	size_t n_kv;
	gguf_slot *kv_index;
	hth_gguf_tensor *tensors;
	size_t n_tensors, tensor_cap;
	gguf_slot *tensor_index;
};

/* What one shard says of itself. */
typedef struct gguf_parsed {
	hth_gguf_kv *kv;
	size_t n_kv, kv_cap;
	gguf_slot *kv_index;
	size_t index_cap;
} gguf_parsed;

/* Size of a scalar in bytes, 0 for strings, arrays and unknown types. */
size_t hth_gguf_scalar_size(uint32_t type);
const char *hth_gguf_type_name(uint32_t type);
/* Escaped for a message, cut at about 80 characters, in quotes. Returns out. */
enum { GGUF_QUOTE_MAX = 128 };
const char *hth_gguf_quote(hth_view text, char out[GGUF_QUOTE_MAX]);
/* Escapes text into out (always NUL-terminated, printable): returns false when it was cut. */
bool hth_gguf_escape(hth_view text, size_t max_chars, char *out, size_t out_len);

uint64_t hth_gguf_hash(hth_view name);
/* The name index. `names` points at the first of n views that lie `stride` bytes apart. */
void hth_gguf_index_sort(gguf_slot *index, size_t n, const void *names, size_t stride);
/* After a sort: the place in the index of the second of two equal names, or 0. */
size_t hth_gguf_index_duplicate(const gguf_slot *index, size_t n, const void *names, size_t stride);
/* Number of the entry, or SIZE_MAX. */
size_t hth_gguf_index_find(const gguf_slot *index, size_t n, const void *names, size_t stride, hth_view name);

/* Parses shard number `no`: appends its tensors to gguf, returns its metadata (freed by hth_gguf_parsed_finish). */
HTH_MUST_USE hth_status hth_gguf_parse_shard(hth_gguf *gguf, size_t no, gguf_parsed *ret_parsed, hth_error *err);
void hth_gguf_parsed_finish(gguf_parsed *parsed);

/* Bytes of an array's elements as they lie in the file. */
size_t hth_gguf_array_bytes(const hth_gguf_kv *array);

HTH_MUST_USE hth_status hth_gguf_kv_u64(const hth_gguf_kv *kv, uint64_t max, uint64_t *ret_value, hth_error *err);

#endif
