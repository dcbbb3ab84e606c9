/* fuzz-gguf.c - any bytes as a model file: refused with a message, or every accessor holds what the header promises.
 * A file that opens is also quantised when it is small: what was checked at opening must do for that too. */
#include "engine/gguf/gguf.h"
#include "engine/quant/quant.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* keeps reads from being optimised away */

static void require(int holds)
{
	if (!holds)
		abort();
}

static void read_array(const hth_gguf_kv *kv)
{
	size_t n = hth_gguf_array_len(kv);
	hth_gguf_type type = hth_gguf_array_type(kv);
	for (size_t i = 0; i < n && type != HTH_GGUF_ARRAY; i += 1 + n / 1000) {
		if (type == HTH_GGUF_STRING) {
			hth_view s = hth_gguf_array_string(kv, i);
			if (s.len > 0)
				sink += (unsigned char)s.data[0] + (unsigned char)s.data[s.len - 1];
		} else if (type == HTH_GGUF_F32 || type == HTH_GGUF_F64) {
			sink += hth_gguf_array_f32(kv, i) > 0;
		} else {
			sink += (uint64_t)hth_gguf_array_int(kv, i);
		}
	}
}

static void read_all(const hth_gguf *gguf)
{
	for (size_t i = 0; i < hth_gguf_kv_count(gguf); i++) {
		const hth_gguf_kv *kv = hth_gguf_kv_at(gguf, i);
		char text[200], key[300];
		hth_gguf_kv_describe(kv, text, sizeof text);
		require(strlen(text) < sizeof text);
		hth_view name = hth_gguf_kv_key(kv);
		if (hth_gguf_kv_type(kv) == HTH_GGUF_ARRAY)
			read_array(kv);
		if (name.len >= sizeof key || memchr(name.data, '\0', name.len) != NULL)
			continue;
		memcpy(key, name.data, name.len);
		key[name.len] = '\0';
		require(hth_gguf_find(gguf, key) == kv);
		uint32_t u32;
		uint64_t u64;
		float f32;
		bool yes;
		hth_view s;
		hth_error err;
		sink += hth_gguf_get_u32(gguf, key, &u32, &err) + hth_gguf_get_u64(gguf, key, &u64, &err) +
		        hth_gguf_get_f32(gguf, key, &f32, &err) + hth_gguf_get_bool(gguf, key, &yes, &err) +
		        hth_gguf_get_string(gguf, key, &s, &err);
	}
	for (size_t i = 0; i < hth_gguf_tensor_count(gguf); i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		require(t->name.len >= 1 && t->name.len <= 63 && t->n_dims >= 1 && t->n_dims <= 4 && t->n_bytes > 0);
		const unsigned char *bytes = t->data;
		for (uint64_t k = 0; k < t->n_bytes; k++)
			sink += bytes[k];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_error err = HTH_ERROR_INIT;
	hth_gguf *gguf = NULL;
	/* At an address as aligned as a mapping's, and ending where the input ends. */
	uint8_t *copy = NULL;
	if (posix_memalign((void **)&copy, 64, size ? size : 1) != 0)
		return 0;
	memcpy(copy, data, size);
	hth_status status = hth_gguf_open_memory(&gguf, copy, size, "fuzz", &err);
	require((status == HTH_OK) == (gguf != NULL));
	if (status != HTH_OK) {
		require(err.status == status && strncmp(err.message, "fuzz: ", 6) == 0);
	} else {
		read_all(gguf);
		static const char *const types[] = {"Q4_K_M", "Q8_0", "Q2_K", "MXFP4"};
		int fd = size < 20000 ? memfd_create("fuzz", MFD_CLOEXEC) : -1;
		if (fd >= 0) {
			hth_quantize_options options = {.ftype = types[size % 4], .n_threads = 1};
			hth_gguf *out = NULL;
			if (hth_quantize_file(gguf, fd, &options, &err) == HTH_OK) {
				require(hth_gguf_open(&out, &fd, 1, "out", &err) == HTH_OK);
				require(hth_gguf_tensor_count(out) == hth_gguf_tensor_count(gguf));
				hth_gguf_close(out);
			}
			close(fd);
		}
		hth_gguf_close(gguf);
	}
	free(copy);
	return 0;
}
