/* gguf-build.h - for tests: GGUF bytes laid down by hand, right or wrong on purpose. Knows nothing of what it tests. */
#ifndef HTH_TESTS_GGUF_BUILD_H
#define HTH_TESTS_GGUF_BUILD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define B_FN __attribute__((unused)) static void

typedef struct built {
	unsigned char bytes[1 << 16];
	size_t len;
} built;

B_FN b_bytes(built *b, const void *bytes, size_t n)
{
	if (n > sizeof b->bytes - b->len)
		exit(3);
	memcpy(b->bytes + b->len, bytes, n);
	b->len += n;
}
B_FN b_u8(built *b, uint8_t v) { b_bytes(b, &v, sizeof v); }
B_FN b_u32(built *b, uint32_t v) { b_bytes(b, &v, sizeof v); }
B_FN b_u64(built *b, uint64_t v) { b_bytes(b, &v, sizeof v); }
B_FN b_str(built *b, const char *s)
{
	b_u64(b, strlen(s));
	b_bytes(b, s, strlen(s));
}
B_FN b_head(built *b, uint64_t n_tensors, uint64_t n_kv)
{
	b->len = 0;
	b_bytes(b, "GGUF", 4);
	b_u32(b, 3);
	b_u64(b, n_tensors);
	b_u64(b, n_kv);
}
B_FN b_kv_u32(built *b, const char *key, uint32_t v)
{
	b_str(b, key);
	b_u32(b, 4);
	b_u32(b, v);
}
B_FN b_kv_str(built *b, const char *key, const char *v)
{
	b_str(b, key);
	b_u32(b, 8);
	b_str(b, v);
}
/* The head of an array entry; the elements follow. */
B_FN b_kv_array(built *b, const char *key, uint32_t element, uint64_t n)
{
	b_str(b, key);
	b_u32(b, 9);
	b_u32(b, element);
	b_u64(b, n);
}
B_FN b_tensor(built *b, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne, uint64_t offset)
{
	b_str(b, name);
	b_u32(b, n_dims);
	for (uint32_t i = 0; i < n_dims && i < 8; i++)
		b_u64(b, ne[i]);
	b_u32(b, type);
	b_u64(b, offset);
}
B_FN b_pad(built *b, size_t to)
{
	while (b->len % to != 0)
		b_u8(b, 0);
}
B_FN b_zeros(built *b, size_t n)
{
	while (n-- > 0)
		b_u8(b, 0);
}

#endif
