/* What the reader gives back: values, arrays, tensors, shards; what the writer makes; and the real files of ../shared.
 */
#include "engine/gguf/gguf-writer.h"
#include "engine/gguf/gguf.h"
#include "engine/quant/quant.h"

#include "base/mem.h"
#include "engine/gguf/gguf-build.h"
#include "harness.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static hth_error err;

static bool view_is(hth_view v, const char *s)
{
	return v.len == strlen(s) && memcmp(v.data, s, v.len) == 0;
}

static int temp_fd(void)
{
	return memfd_create("gguf-test", MFD_CLOEXEC);
}

TEST(values_of_every_type_are_read_where_they_fit)
{
	static built b;
	b_head(&b, 0, 15);
	static const struct {
		const char *key;
		uint32_t type;
		size_t size;
		uint64_t bits;
	} scalars[] = {
	    {"u8", 0, 1, 200},
	    {"i8", 1, 1, (uint8_t)-3},
	    {"u16", 2, 2, 60000},
	    {"i16", 3, 2, (uint16_t)-4},
	    {"u32", 4, 4, 4000000000u},
	    {"i32", 5, 4, (uint32_t)-5},
	    {"f32", 6, 4, 0x3FC00000},
	    {"bool", 7, 1, 1},
	    {"u64", 10, 8, UINT64_MAX},
	    {"i64", 11, 8, (uint64_t)-6},
	    {"f64", 12, 8, UINT64_C(0x400C000000000000)},
	    {"f64big", 12, 8, UINT64_C(0x7E37E43C8800759C)},
	    {"nan", 6, 4, 0x7FC00000},
	    {"two", 0, 1, 2},
	};
	for (size_t i = 0; i < HTH_COUNT(scalars); i++) {
		b_str(&b, scalars[i].key);
		b_u32(&b, scalars[i].type);
		b_bytes(&b, &scalars[i].bits, scalars[i].size);
	}
	b_kv_str(&b, "string", "hello");
	hth_gguf *gguf = NULL;
	REQUIRE_OK(hth_gguf_open_memory(&gguf, b.bytes, b.len, "v", &err));
	uint32_t u32 = 7;
	uint64_t u64 = 7;
	float f32 = 7;
	bool yes = false;
	hth_view s;
	CHECK_OK(hth_gguf_get_u32(gguf, "u8", &u32, &err));
	CHECK_INT(u32, 200);
	CHECK_OK(hth_gguf_get_u32(gguf, "u16", &u32, &err));
	CHECK_INT(u32, 60000);
	CHECK_OK(hth_gguf_get_u32(gguf, "u32", &u32, &err));
	CHECK_INT(u32, 4000000000u);
	CHECK_OK(hth_gguf_get_u64(gguf, "u64", &u64, &err));
	CHECK(u64 == UINT64_MAX);
	static const char *const negative[] = {"i8", "i16", "i32", "i64"};
	for (size_t i = 0; i < HTH_COUNT(negative); i++) {
		u32 = 7;
		CHECK_INT(hth_gguf_get_u32(gguf, negative[i], &u32, &err), HTH_BAD_FORMAT);
		CHECK_INT(hth_gguf_get_u64(gguf, negative[i], &u64, &err), HTH_BAD_FORMAT);
		CHECK_INT(u32, 7);
	}
	CHECK_INT(hth_gguf_get_u32(gguf, "u64", &u32, &err), HTH_BAD_FORMAT);
	CHECK_STR(err.message, "metadata \"u64\" is 18446744073709551615; it should be from 0 to 4294967295");
	CHECK_INT(hth_gguf_get_u32(gguf, "string", &u32, &err), HTH_BAD_FORMAT);
	CHECK_STR(err.message, "metadata \"string\" is of type string; it should be an integer");
	CHECK_INT(hth_gguf_get_u32(gguf, "f32", &u32, &err), HTH_BAD_FORMAT);
	CHECK_INT(hth_gguf_get_u32(gguf, "none", &u32, &err), HTH_NOT_FOUND);
	CHECK_STR(err.message, "the file has no metadata \"none\"");
	CHECK_OK(hth_gguf_get_f32(gguf, "f32", &f32, &err));
	CHECK_NEAR(f32, 1.5, 0);
	CHECK_OK(hth_gguf_get_f32(gguf, "f64", &f32, &err));
	CHECK_NEAR(f32, 3.5, 0);
	CHECK_OK(hth_gguf_get_f32(gguf, "i32", &f32, &err));
	CHECK_NEAR(f32, -5, 0);
	CHECK_INT(hth_gguf_get_f32(gguf, "f64big", &f32, &err), HTH_BAD_FORMAT);
	CHECK_INT(hth_gguf_get_f32(gguf, "nan", &f32, &err), HTH_BAD_FORMAT);
	CHECK_INT(hth_gguf_get_f32(gguf, "bool", &f32, &err), HTH_BAD_FORMAT);
	CHECK_OK(hth_gguf_get_bool(gguf, "bool", &yes, &err));
	CHECK(yes);
	CHECK_INT(hth_gguf_get_bool(gguf, "two", &yes, &err), HTH_BAD_FORMAT);
	CHECK_OK(hth_gguf_get_string(gguf, "string", &s, &err));
	CHECK(view_is(s, "hello"));
	CHECK_INT(hth_gguf_get_string(gguf, "u8", &s, &err), HTH_BAD_FORMAT);
	char text[64];
	hth_gguf_kv_describe(hth_gguf_find(gguf, "f32"), text, sizeof text);
	CHECK_STR(text, "1.5");
	hth_gguf_kv_describe(hth_gguf_find(gguf, "i64"), text, sizeof text);
	CHECK_STR(text, "-6");
	hth_gguf_kv_describe(hth_gguf_find(gguf, "bool"), text, sizeof text);
	CHECK_STR(text, "true");
	hth_gguf_kv_describe(hth_gguf_find(gguf, "string"), text, 8);
	CHECK_STR(text, "\"he\"...");
	for (size_t room = 1; room < 16; room++) {
		hth_gguf_kv_describe(hth_gguf_find(gguf, "string"), text, room);
		CHECK(strlen(text) < room);
	}
	hth_gguf_close(gguf);
}

TEST(arrays_of_strings_are_found_at_any_index)
{
	static built b;
	enum { N = 1000 };
	b_head(&b, 0, 4);
	b_kv_array(&b, "tokens", 8, N);
	for (int i = 0; i < N; i++) {
		char token[32];
		snprintf(token, sizeof token, "%.*s%d", i % 17, "................", i);
		b_str(&b, token);
	}
	b_kv_array(&b, "empty", 8, 0);
	b_kv_array(&b, "types", 5, 3);
	b_u32(&b, 1);
	b_u32(&b, (uint32_t)-1);
	b_u32(&b, 6);
	b_kv_array(&b, "nested", 9, 2);
	b_u32(&b, 8);
	b_u64(&b, 1);
	b_str(&b, "x");
	b_u32(&b, 0);
	b_u64(&b, 0);
	hth_gguf *gguf = NULL;
	REQUIRE_OK(hth_gguf_open_memory(&gguf, b.bytes, b.len, "v", &err));
	const hth_gguf_kv *array = NULL;
	REQUIRE_OK(hth_gguf_get_array(gguf, "tokens", HTH_GGUF_STRING, &array, &err));
	CHECK_INT(hth_gguf_array_len(array), N);
	for (int i = N - 1; i >= 0; i--) {
		char token[32];
		snprintf(token, sizeof token, "%.*s%d", i % 17, "................", i);
		CHECK(view_is(hth_gguf_array_string(array, (size_t)i), token));
	}
	CHECK_OK(hth_gguf_get_array(gguf, "empty", HTH_GGUF_STRING, &array, &err));
	CHECK_INT(hth_gguf_array_len(array), 0);
	CHECK_INT(hth_gguf_get_array(gguf, "types", HTH_GGUF_F32, &array, &err), HTH_BAD_FORMAT);
	CHECK_STR(err.message, "metadata \"types\" is [3 i32]; it should be an array of f32");
	REQUIRE_OK(hth_gguf_get_array(gguf, "types", HTH_GGUF_I32, &array, &err));
	CHECK_INT(hth_gguf_array_int(array, 0), 1);
	CHECK_INT(hth_gguf_array_int(array, 1), -1);
	CHECK_INT(hth_gguf_array_int(array, 2), 6);
	CHECK_INT(hth_gguf_kv_type(hth_gguf_find(gguf, "nested")), HTH_GGUF_ARRAY);
	CHECK_INT(hth_gguf_get_u32(gguf, "types", &(uint32_t){0}, &err), HTH_BAD_FORMAT);
	hth_gguf_close(gguf);
}

/* Writes one shard with a tensor per name; returns its descriptor. */
static int write_shard(int no, int count, int total, const char *const *names, size_t n_names)
{
	int fd = temp_fd();
	hth_gguf_writer *w = NULL;
	if (hth_gguf_writer_create(&w, fd, &err) != HTH_OK)
		return -1;
	if (no == 0)
		hth_gguf_writer_set_string(w, "general.architecture", "test");
	if (count > 0) {
		hth_gguf_writer_set_u32(w, "split.no", (uint32_t)no);
		hth_gguf_writer_set_u32(w, "split.count", (uint32_t)count);
		hth_gguf_writer_set_i32(w, "split.tensors.count", total);
	}
	for (size_t i = 0; i < n_names; i++)
		hth_gguf_writer_add_tensor(w, names[i], HTH_F32, 1, (const uint64_t[]){3});
	hth_status status = hth_gguf_writer_begin(w, &err);
	for (size_t i = 0; i < n_names && status == HTH_OK; i++) {
		float data[3] = {(float)no, (float)i, 0.5f};
		status = hth_gguf_writer_write(w, data, sizeof data, &err);
	}
	if (status == HTH_OK)
		status = hth_gguf_writer_finish(w, &err);
	hth_gguf_writer_destroy(w);
	return status == HTH_OK ? fd : -1;
}

TEST(shards_join_and_must_agree)
{
	static const char *const first[] = {"a", "b"}, *const second[] = {"c"}, *const third[] = {"d", "a"};
	int fds[3] = {write_shard(0, 3, 5, first, 2), write_shard(1, 3, 5, second, 1), write_shard(2, 3, 5, third, 1)};
	REQUIRE(fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0);
	hth_gguf *gguf = NULL;
	CHECK_INT(hth_gguf_open(&gguf, fds, 3, "m", &err), HTH_BAD_FORMAT);
	CHECK_STR(err.message, "m: the files hold 4 tensors together; they should hold 5");
	CHECK_INT(hth_gguf_open(&gguf, fds, 1, "m", &err), HTH_INVALID);
	CHECK_STR(err.message,
	          "m: this is part 1 of a model in 3 files, and 1 file was given: give all of them, in order");
	CHECK_INT(hth_gguf_open(&gguf, fds, 2, "m", &err), HTH_INVALID);
	int swapped[3] = {fds[1], fds[0], fds[2]};
	CHECK_INT(hth_gguf_open(&gguf, swapped, 3, "m", &err), HTH_INVALID);
	CHECK_STR(err.message, "m: file 1 of 3: this is part 2 where part 1 was expected: give the files in order");
	close(fds[2]);
	fds[2] = write_shard(2, 3, 5, third, 2);
	CHECK_INT(hth_gguf_open(&gguf, fds, 3, "m", &err), HTH_BAD_FORMAT);
	CHECK_STR(err.message, "m: tensor \"a\" is there twice");
	close(fds[0]);
	fds[0] = write_shard(0, 3, 4, first, 2);
	close(fds[2]);
	fds[2] = write_shard(2, 3, 4, third, 1);
	REQUIRE_OK(hth_gguf_open(&gguf, fds, 3, "m", &err));
	for (int i = 0; i < 3; i++)
		close(fds[i]); /* the mapping stays */
	CHECK_INT(hth_gguf_tensor_count(gguf), 4);
	const hth_gguf_tensor *t = hth_gguf_tensor_find(gguf, "d");
	REQUIRE(t != NULL);
	CHECK_INT(t->n_bytes, 12);
	CHECK_NEAR(((const float *)t->data)[0], 2, 0);
	CHECK(hth_gguf_tensor_find(gguf, "e") == NULL);
	CHECK(hth_gguf_find(gguf, "general.architecture") != NULL);
	CHECK_INT((uintptr_t)t->data % 32, 0);
	hth_gguf_close(gguf);
}

TEST(what_is_no_regular_file_is_refused)
{
	int fds[2];
	REQUIRE(pipe(fds) == 0);
	hth_gguf *gguf = NULL;
	CHECK_INT(hth_gguf_open(&gguf, fds, 1, "m", &err), HTH_INVALID);
	close(fds[0]);
	close(fds[1]);
	CHECK_INT(hth_gguf_open(&gguf, fds, 1, "m", &err), HTH_IO);
	CHECK_INT(hth_gguf_open(&gguf, fds, 0, "m", &err), HTH_INVALID);
	int fd = temp_fd();
	CHECK_INT(hth_gguf_open(&gguf, &fd, 1, "m", &err), HTH_BAD_FORMAT);
	CHECK_STR(err.message, "m: the file is empty");
	close(fd);
	CHECK(gguf == NULL);
	hth_gguf_close(NULL);
}

TEST(the_writer_makes_what_the_reader_takes)
{
	int fd = temp_fd();
	hth_gguf_writer *w = NULL;
	REQUIRE_OK(hth_gguf_writer_create(&w, fd, &err));
	hth_gguf_writer_set_u32(w, "u32", 1);
	hth_gguf_writer_set_u64(w, "u64", UINT64_C(1) << 40);
	hth_gguf_writer_set_i32(w, "i32", -1);
	hth_gguf_writer_set_f32(w, "f32", 0.25f);
	hth_gguf_writer_set_bool(w, "bool", true);
	hth_gguf_writer_set_string(w, "string", "");
	hth_gguf_writer_set_strings(w, "strings", (const hth_view[]){{"one", 3}, {NULL, 0}, {"t\0o", 3}}, 3);
	hth_gguf_writer_set_array(w, "floats", HTH_GGUF_F32, (const float[]){1, 2}, 2);
	hth_gguf_writer_add_tensor(w, "odd", HTH_I8, 1, (const uint64_t[]){5});
	hth_gguf_writer_add_tensor(w, "rows", HTH_Q8_0, 2, (const uint64_t[]){64, 3});
	REQUIRE_OK(hth_gguf_writer_begin(w, &err));
	CHECK_INT(hth_gguf_writer_write(w, "123456", 6, &err), HTH_INVALID);
	CHECK_OK(hth_gguf_writer_write(w, "12345", 5, &err));
	uint8_t row[68];
	memset(row, 9, sizeof row);
	for (int i = 0; i < 2; i++)
		CHECK_OK(hth_gguf_writer_write(w, row, sizeof row, &err));
	CHECK_INT(hth_gguf_writer_finish(w, &err), HTH_INVALID);
	CHECK_OK(hth_gguf_writer_write(w, row, sizeof row, &err));
	CHECK_OK(hth_gguf_writer_finish(w, &err));
	off_t end = lseek(fd, 0, SEEK_END);
	hth_gguf_writer_destroy(w);
	hth_gguf *gguf = NULL;
	REQUIRE_OK(hth_gguf_open(&gguf, &fd, 1, "w", &err));
	CHECK_INT(hth_gguf_file_bytes(gguf), end);
	CHECK_INT(hth_gguf_kv_count(gguf), 8);
	const hth_gguf_kv *strings = NULL;
	REQUIRE_OK(hth_gguf_get_array(gguf, "strings", HTH_GGUF_STRING, &strings, &err));
	CHECK_INT(hth_gguf_array_string(strings, 1).len, 0);
	CHECK(memcmp(hth_gguf_array_string(strings, 2).data, "t\0o", 3) == 0);
	const hth_gguf_tensor *rows = hth_gguf_tensor_find(gguf, "rows");
	REQUIRE(rows != NULL);
	CHECK_INT(rows->n_bytes, 204);
	CHECK_INT(((const uint8_t *)rows->data)[203], 9);

	/* Copied entry by entry into a second file, the header is the same to the byte. */
	int copy_fd = temp_fd();
	REQUIRE_OK(hth_gguf_writer_create(&w, copy_fd, &err));
	for (size_t i = 0; i < hth_gguf_kv_count(gguf); i++)
		hth_gguf_writer_copy_kv(w, hth_gguf_kv_at(gguf, i));
	CHECK_OK(hth_gguf_writer_begin(w, &err));
	CHECK_OK(hth_gguf_writer_finish(w, &err));
	hth_gguf_writer_destroy(w);
	size_t n = (size_t)lseek(copy_fd, 0, SEEK_END);
	HTH_AUTO_FREE char *one = malloc(n), *two = malloc(n);
	REQUIRE(pread(fd, one, n, 0) == (ssize_t)n && pread(copy_fd, two, n, 0) == (ssize_t)n);
	size_t kv_end = n / 32 * 32 - 32;
	CHECK(memcmp(one + 16, two + 16, kv_end - 16) == 0);
	hth_gguf_close(gguf);
	close(fd);
	close(copy_fd);
}

TEST(the_writer_refuses_what_the_reader_would)
{
	static const struct {
		const char *name;
		hth_type type;
		uint32_t n_dims;
		uint64_t ne[4];
	} bad[] = {
	    {"", HTH_F32, 1, {4}},
	    {"w", HTH_F32, 0, {4}},
	    {"w", HTH_F32, 5, {4}},
	    {"w", HTH_F32, 2, {4, 0}},
	    {"w", HTH_Q4_K, 1, {128}},
	    {"w", (hth_type)4, 1, {256}},
	    {"w", HTH_F32, 2, {UINT64_C(1) << 62, 4}},
	    {"0123456789012345678901234567890123456789012345678901234567890123", HTH_F32, 1, {4}},
	};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		int fd = temp_fd();
		hth_gguf_writer *w = NULL;
		REQUIRE_OK(hth_gguf_writer_create(&w, fd, &err));
		hth_gguf_writer_add_tensor(w, bad[i].name, bad[i].type, bad[i].n_dims, bad[i].ne);
		CHECK_INT(hth_gguf_writer_begin(w, &err), HTH_INVALID);
		hth_gguf_writer_destroy(w);
		close(fd);
	}
	hth_gguf_writer *w = NULL;
	int fd = temp_fd();
	REQUIRE_OK(hth_gguf_writer_create(&w, fd, &err));
	hth_gguf_writer_set_u32(w, "k", 1);
	hth_gguf_writer_set_bool(w, "k", 1);
	CHECK_INT(hth_gguf_writer_begin(w, &err), HTH_INVALID);
	CHECK_STR(err.message, "metadata \"k\" is there twice");
	hth_gguf_writer_destroy(w);
	close(fd);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		REQUIRE_OK(hth_gguf_writer_create(&w, fd, &err));
		CHECK_INT(hth_gguf_writer_begin(w, &err), HTH_IO);
		hth_gguf_writer_destroy(w);
		close(fd);
	}
}

static void check_file(const char *name, size_t n_tensors, const char *architecture)
{
	const char *path = test_shared(name);
	REQUIRE(path != NULL);
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	hth_gguf *gguf = NULL;
	REQUIRE_OK(hth_gguf_open(&gguf, &fd, 1, name, &err));
	CHECK_INT(hth_gguf_tensor_count(gguf), n_tensors);
	hth_view arch = {0};
	CHECK_OK(hth_gguf_get_string(gguf, "general.architecture", &arch, &err));
	CHECK(view_is(arch, architecture));
	const hth_gguf_kv *tokens = NULL;
	CHECK_OK(hth_gguf_get_array(gguf, "tokenizer.ggml.tokens", HTH_GGUF_STRING, &tokens, &err));
	size_t bytes = 0;
	for (size_t i = 0; i < hth_gguf_array_len(tokens); i++)
		bytes += hth_gguf_array_string(tokens, i).len;
	CHECK(bytes > hth_gguf_array_len(tokens));
	for (size_t i = 0; i < n_tensors; i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		char tensor[64];
		snprintf(tensor, sizeof tensor, "%.*s", (int)t->name.len, t->name.data);
		CHECK(hth_gguf_tensor_find(gguf, tensor) == t);
		CHECK_INT((uintptr_t)t->data % 32, 0);
	}
	hth_gguf_close(gguf);
}

TEST(real_files_open)
{
	if (test_shared("goldens/README.md") == NULL)
		SKIP("no ../shared/goldens");
	check_file("goldens/engine/llama.gguf", 21, "llama");
	check_file("goldens/engine/gpt-oss-mxfp4.gguf", 41, "gpt-oss");
	check_file("goldens/tokenizers/ggml-vocab-llama-bpe.gguf", 0, "llama");
	check_file("goldens/tokenizers/ggml-vocab-bert-bge.gguf", 0, "bert");
}

TEST_MAIN()
