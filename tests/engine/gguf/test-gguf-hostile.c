/* What the reader refuses: one test per class of known bug in other readers (the numbers are those of the project's
 * list of advisories: A header and counts, B strings and arrays, C alignment, offsets and sizes). Each case is refused
 * with a message that names what and where; under the sanitizers, none reads a byte that is not there. */
#include "engine/gguf/gguf.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/gguf/gguf-build.h"
#include "harness.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

static built b;

/* Opens an exact copy (so that a read past the end is seen) and returns the status; err holds the message. */
static hth_error err;
static hth_status open_bytes(const void *bytes, size_t len)
{
	HTH_AUTO_FREE void *copy = malloc(len ? len : 1);
	memcpy(copy, bytes, len);
	hth_gguf *gguf = NULL;
	err = HTH_ERROR_INIT;
	hth_status status = hth_gguf_open_memory(&gguf, copy, len, "bad.gguf", &err);
	hth_gguf_close(gguf);
	return status;
}
static hth_status open_built(void)
{
	return open_bytes(b.bytes, b.len);
}

#define REFUSED(expected, fragment)                                                                                    \
	do {                                                                                                           \
		CHECK_INT(open_built(), expected);                                                                     \
		if (strstr(err.message, fragment) == NULL || strncmp(err.message, "bad.gguf: ", 10) != 0)              \
			test_fail(__FILE__, __LINE__, "message \"%s\" lacks \"%s\"", err.message, fragment);           \
	} while (0)

static const uint64_t dims_4[4] = {4, 1, 1, 1};

TEST(a1_every_truncation_of_a_good_file_is_refused)
{
	b_head(&b, 1, 3);
	b_kv_str(&b, "general.architecture", "llama");
	b_kv_array(&b, "tokens", 8, 2);
	b_str(&b, "a");
	b_str(&b, "bc");
	b_kv_array(&b, "scores", 6, 2);
	b_u32(&b, 0);
	b_u32(&b, 0);
	b_tensor(&b, "w", 0, 2, (const uint64_t[]){4, 2}, 0);
	b_pad(&b, 32);
	b_zeros(&b, 32);
	CHECK_INT(open_built(), HTH_OK);
	for (size_t n = 0; n < b.len; n++) {
		if (open_bytes(b.bytes, n) != HTH_BAD_FORMAT || err.message[0] == '\0') {
			test_fail(__FILE__, __LINE__, "cut at %zu: %s", n, err.message);
			return;
		}
	}
}

TEST(a2_a3_a4_counts_that_the_file_cannot_hold)
{
	static const uint64_t counts[] = {1000, 1u << 31, UINT64_C(0x2AAAAAAAAAAAAAAB), INT64_MAX, UINT64_MAX};
	for (size_t i = 0; i < HTH_COUNT(counts); i++) {
		b_head(&b, 0, counts[i]);
		b_zeros(&b, 64);
		REFUSED(HTH_BAD_FORMAT, "metadata entries, more than the");
		b_head(&b, counts[i], 0);
		b_zeros(&b, 64);
		REFUSED(HTH_BAD_FORMAT, "tensors and 0 metadata");
	}
}

TEST(a6_magic_versions_and_byte_order)
{
	b_head(&b, 0, 0);
	memcpy(b.bytes, "GGUF\3\0\0\0", 8);
	CHECK_INT(open_built(), HTH_OK);
	b.bytes[4] = 2;
	CHECK_INT(open_built(), HTH_OK);
	b.bytes[4] = 1;
	REFUSED(HTH_UNSUPPORTED, "version 1");
	b.bytes[4] = 4;
	REFUSED(HTH_UNSUPPORTED, "version 4");
	b.bytes[4] = 0;
	REFUSED(HTH_UNSUPPORTED, "version 0");
	memcpy(b.bytes + 4, "\0\0\0\3", 4);
	REFUSED(HTH_UNSUPPORTED, "big-endian");
	memcpy(b.bytes, "GGML", 4);
	REFUSED(HTH_BAD_FORMAT, "does not begin with \"GGUF\"");
	memcpy(b.bytes, "tjgg", 4);
	REFUSED(HTH_UNSUPPORTED, "before GGUF");
	memcpy(b.bytes, "<!DO", 4);
	REFUSED(HTH_UNSUPPORTED, "web page");
	memcpy(b.bytes, "vers", 4);
	REFUSED(HTH_UNSUPPORTED, "git lfs pull");
}

TEST(b7_lengths_that_wrap_or_pass_the_end)
{
	static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, INT64_MAX, 1u << 30, 60000};
	for (size_t i = 0; i < HTH_COUNT(lengths); i++) {
		b_head(&b, 0, 1);
		b_u64(&b, lengths[i]); /* a key */
		b_zeros(&b, 40);
		REFUSED(HTH_BAD_FORMAT, "the key of metadata entry 0");
		b_head(&b, 0, 1);
		b_str(&b, "name");
		b_u32(&b, 8);
		b_u64(&b, lengths[i]); /* a value */
		b_zeros(&b, 40);
		REFUSED(HTH_BAD_FORMAT, "metadata \"name\" at byte 48");
		b_head(&b, 0, 1);
		b_kv_array(&b, "list", 8, 3);
		b_str(&b, "ok");
		b_u64(&b, lengths[i]); /* an element */
		b_zeros(&b, 40);
		REFUSED(HTH_BAD_FORMAT, "string 1 of 3: metadata \"list\"");
		b_head(&b, 1, 0);
		b_u64(&b, lengths[i]); /* a tensor's name */
		b_zeros(&b, 40);
		REFUSED(HTH_BAD_FORMAT, "the name of tensor 0");
	}
}

TEST(b8_b9_b10_array_counts_that_wrap_or_pass_the_end)
{
	static const uint64_t counts[] = {UINT64_MAX, UINT64_MAX / 4 + 2, UINT64_MAX / 8 + 2, 1u << 30, 1000};
	for (uint32_t element = 0; element <= 12; element++) {
		for (size_t i = 0; i < HTH_COUNT(counts); i++) {
			b_head(&b, 0, 1);
			b_kv_array(&b, "list", element, counts[i]);
			b_zeros(&b, 64);
			REFUSED(HTH_BAD_FORMAT, "metadata \"list\" at byte");
		}
	}
}

TEST(b12_value_and_element_types_that_do_not_exist)
{
	static const uint32_t types[] = {13, 255, 0x80000000u, UINT32_MAX};
	for (size_t i = 0; i < HTH_COUNT(types); i++) {
		b_head(&b, 0, 1);
		b_str(&b, "x");
		b_u32(&b, types[i]);
		b_zeros(&b, 16);
		REFUSED(HTH_BAD_FORMAT, "metadata \"x\" at byte 33 has unknown type");
		b_head(&b, 0, 1);
		b_kv_array(&b, "x", types[i], 1);
		b_zeros(&b, 16);
		REFUSED(HTH_BAD_FORMAT, "array of unknown type");
	}
	b_head(&b, 0, 1);
	b_str(&b, "flag");
	b_u32(&b, 7);
	b_u8(&b, 2);
	REFUSED(HTH_BAD_FORMAT, "metadata \"flag\" at byte 40 is a bool of value 2");
}

TEST(b13_keys_empty_twice_or_too_long)
{
	b_head(&b, 0, 1);
	b_kv_u32(&b, "", 1);
	REFUSED(HTH_BAD_FORMAT, "is empty");
	b_head(&b, 0, 3);
	b_kv_u32(&b, "a.key", 1);
	b_kv_u32(&b, "other", 1);
	b_kv_u32(&b, "a.key", 2);
	REFUSED(HTH_BAD_FORMAT, "metadata \"a.key\" is there twice");
	b_head(&b, 0, 1);
	b_u64(&b, 65536); /* in a file that really holds such a key */
	HTH_AUTO_FREE unsigned char *bytes = calloc(1, b.len + 65536 + 8);
	memcpy(bytes, b.bytes, b.len);
	memset(bytes + b.len, 'k', 65536);
	bytes[b.len + 65536] = 4;
	CHECK_INT(open_bytes(bytes, b.len + 65536 + 8), HTH_BAD_FORMAT);
	CHECK(strstr(err.message, "at most 65535") != NULL);
}

TEST(b14_nesting_is_bounded)
{
	for (int depth = 1; depth < 2000; depth += depth < 10 ? 1 : 397) {
		b_head(&b, 0, 1);
		b_kv_array(&b, "deep", depth > 1 ? 9 : 0, 1);
		for (int i = 1; i < depth; i++) {
			b_u32(&b, i + 1 < depth ? 9 : 0);
			b_u64(&b, 1);
		}
		b_u8(&b, 7);
		hth_status status = open_built();
		CHECK_INT(status, depth <= 4 ? HTH_OK : HTH_TOO_LARGE);
		if (depth > 4)
			CHECK(strstr(err.message, "nests arrays more than 4 deep") != NULL);
	}
}

TEST(c16_alignments_that_are_none)
{
	static const uint32_t bad[] = {0, 1, 3, 4, 33, 48, 131072, 0x80000000u, UINT32_MAX};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		b_head(&b, 1, 1);
		b_kv_u32(&b, "general.alignment", bad[i]);
		b_tensor(&b, "w", 0, 1, dims_4, 0);
		b_zeros(&b, 128);
		REFUSED(HTH_BAD_FORMAT, "metadata \"general.alignment\" is");
	}
	b_head(&b, 1, 1);
	b_kv_str(&b, "general.alignment", "32");
	b_tensor(&b, "w", 0, 1, dims_4, 0);
	b_zeros(&b, 128);
	REFUSED(HTH_BAD_FORMAT, "metadata \"general.alignment\" is of type string");
	b_head(&b, 1, 1);
	b_str(&b, "general.alignment");
	b_u32(&b, 5);
	b_u32(&b, (uint32_t)-32);
	b_tensor(&b, "w", 0, 1, dims_4, 0);
	b_zeros(&b, 128);
	REFUSED(HTH_BAD_FORMAT, "metadata \"general.alignment\" is -32");
}

TEST(c17_c18_dimensions_too_many_none_zero_or_negative)
{
	static const uint32_t counts[] = {0, 5, 8, 1000, UINT32_MAX};
	for (size_t i = 0; i < HTH_COUNT(counts); i++) {
		b_head(&b, 1, 0);
		b_tensor(&b, "w", 0, counts[i], (const uint64_t[]){1, 1, 1, 1, 1, 1, 1, 1}, 0);
		b_zeros(&b, 128);
		REFUSED(HTH_BAD_FORMAT, "tensor \"w\" (byte 24) has");
	}
	for (int d = 0; d < 4; d++) {
		uint64_t ne[4] = {4, 4, 4, 4};
		static const uint64_t bad[] = {0, UINT64_MAX, UINT64_C(1) << 63};
		for (size_t i = 0; i < HTH_COUNT(bad); i++) {
			ne[d] = bad[i];
			b_head(&b, 1, 0);
			b_tensor(&b, "w", 0, 4, ne, 0);
			b_zeros(&b, 1024);
			REFUSED(HTH_BAD_FORMAT, "elements in dimension");
		}
	}
}

TEST(c19_c20_c21_sizes_that_wrap)
{
	static const struct {
		uint32_t type;
		uint64_t ne[4];
	} cases[] = {
	    {0, {INT64_MAX, 2, 1, 1}},
	    {0, {INT64_MAX / 2 + 1, 2, 1, 1}},
	    {0, {UINT64_C(4611686018427387903), 1, 1, 1}},
	    {0, {UINT64_C(1) << 32, UINT64_C(1) << 32, 1, 1}},
	    {0, {UINT64_C(1) << 31, UINT64_C(1) << 31, 4, 1}},
	    {0, {1 << 16, 1 << 16, 1 << 16, 1 << 16}},
	    {2, {UINT64_C(1) << 62, 32, 1, 1}},
	    {12, {UINT64_C(0x7FFFFFFFFFFFFF00), 1, 1, 1}},
	    {19, {UINT64_C(0x7FFFFFFFFFFFFF00), 5, 1, 1}},
	    {28, {(UINT64_C(1) << 61) + 1, 1, 1, 1}},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		b_head(&b, 1, 0);
		b_tensor(&b, "w", cases[i].type, 4, cases[i].ne, 0);
		b_zeros(&b, 1024);
		CHECK_INT(open_built(), HTH_BAD_FORMAT);
		CHECK(strstr(err.message, "tensor \"w\"") != NULL);
	}
}

TEST(c22_c23_data_outside_the_file)
{
	/* Room for 128 bytes of data. */
	static const uint64_t offsets[] = {96 + 32, 1 << 20, UINT64_MAX - 31, UINT64_MAX / 2 + 1,
	                                   UINT64_C(0xFFFFFFFFFFFFFF80)};
	for (size_t i = 0; i < HTH_COUNT(offsets); i++) {
		b_head(&b, 1, 0);
		b_tensor(&b, "w", 0, 1, (const uint64_t[]){1}, offsets[i]);
		b_pad(&b, 32);
		b_zeros(&b, 128);
		REFUSED(HTH_BAD_FORMAT, "tensor \"w\" needs 4 bytes at offset");
	}
	/* Each fits alone, the last one passes the end by a byte; and sums that wrap. */
	b_head(&b, 2, 0);
	b_tensor(&b, "v", 0, 1, (const uint64_t[]){16}, 0);
	b_tensor(&b, "w", 24, 1, (const uint64_t[]){65}, 64);
	b_pad(&b, 32);
	b_zeros(&b, 128);
	REFUSED(HTH_BAD_FORMAT, "tensor \"w\" needs 65 bytes at offset 64");
}

TEST(c24_data_unaligned_or_overlapping_and_names_twice)
{
	b_head(&b, 1, 0);
	b_tensor(&b, "w", 0, 1, dims_4, 16);
	b_pad(&b, 32);
	b_zeros(&b, 128);
	REFUSED(HTH_BAD_FORMAT, "not a multiple of the alignment 32");
	/* In any order; the second begins in the first's last byte. */
	b_head(&b, 3, 0);
	b_tensor(&b, "c", 0, 1, dims_4, 128);
	b_tensor(&b, "a", 24, 1, (const uint64_t[]){33}, 32);
	b_tensor(&b, "b", 0, 1, dims_4, 64);
	b_pad(&b, 32);
	b_zeros(&b, 256);
	REFUSED(HTH_BAD_FORMAT, "tensors \"a\" and \"b\" overlap");
	b_head(&b, 2, 0);
	b_tensor(&b, "a", 0, 1, dims_4, 0);
	b_tensor(&b, "b", 0, 1, dims_4, 0);
	b_pad(&b, 32);
	b_zeros(&b, 256);
	REFUSED(HTH_BAD_FORMAT, "overlap");
	b_head(&b, 2, 0);
	b_tensor(&b, "blk.0", 0, 1, dims_4, 0);
	b_tensor(&b, "blk.0", 0, 1, dims_4, 32);
	b_pad(&b, 32);
	b_zeros(&b, 256);
	REFUSED(HTH_BAD_FORMAT, "tensor \"blk.0\" is there twice");
	/* Gaps and any order are fine. */
	b_head(&b, 2, 0);
	b_tensor(&b, "a", 0, 1, dims_4, 96);
	b_tensor(&b, "b", 0, 1, dims_4, 32);
	b_pad(&b, 32);
	b_zeros(&b, 112);
	CHECK_INT(open_built(), HTH_OK);
}

TEST(c25_tensor_types_removed_or_unknown)
{
	static const uint32_t removed[] = {4, 5, 31, 32, 33, 36, 37, 38};
	for (size_t i = 0; i < HTH_COUNT(removed); i++) {
		b_head(&b, 1, 0);
		b_tensor(&b, "w", removed[i], 1, (const uint64_t[]){256}, 0);
		b_zeros(&b, 512);
		REFUSED(HTH_UNSUPPORTED, "was removed from GGUF");
	}
	static const uint32_t unknown[] = {40, 41, 255, 0x10000, 0x80000000u, UINT32_MAX};
	for (size_t i = 0; i < HTH_COUNT(unknown); i++) {
		b_head(&b, 1, 0);
		b_tensor(&b, "w", unknown[i], 1, (const uint64_t[]){256}, 0);
		b_zeros(&b, 512);
		REFUSED(HTH_UNSUPPORTED, "does not know");
	}
}

TEST(c26_rows_that_are_no_whole_blocks)
{
	b_head(&b, 1, 0);
	b_tensor(&b, "w", 12, 2, (const uint64_t[]){255, 2}, 0);
	b_zeros(&b, 512);
	REFUSED(HTH_BAD_FORMAT, "not a multiple of Q4_K's block of 256");
	b_head(&b, 1, 0);
	b_tensor(&b, "w", 8, 2, (const uint64_t[]){16, 2}, 0);
	b_zeros(&b, 512);
	REFUSED(HTH_BAD_FORMAT, "not a multiple of Q8_0's block of 32");
}

TEST(c27_tensor_names_empty_or_too_long)
{
	char name[65];
	memset(name, 'n', 64);
	name[64] = '\0';
	b_head(&b, 1, 0);
	b_tensor(&b, name, 0, 1, dims_4, 0);
	b_zeros(&b, 512);
	REFUSED(HTH_BAD_FORMAT, "is 64 bytes long; names have 1 to 63");
	b_head(&b, 1, 0);
	b_tensor(&b, "", 0, 1, dims_4, 0);
	b_zeros(&b, 512);
	REFUSED(HTH_BAD_FORMAT, "is 0 bytes long");
	name[63] = '\0';
	b_head(&b, 1, 0);
	b_tensor(&b, name, 0, 1, dims_4, 0);
	b_pad(&b, 32);
	b_zeros(&b, 16);
	CHECK_INT(open_built(), HTH_OK);
}

TEST(messages_show_hostile_names_escaped)
{
	b_head(&b, 0, 2);
	b_kv_u32(&b, "\x1b[31m\"\xff\n\xe2\x80\xae", 1);
	b_kv_u32(&b, "\x1b[31m\"\xff\n\xe2\x80\xae", 1);
	REFUSED(HTH_BAD_FORMAT, "metadata \"\\x1B[31m\\\"\\xFF\\n\\u202E\" is there twice");
	for (const char *s = err.message; *s != '\0'; s++)
		CHECK(*s >= 0x20 && *s < 0x7F);
}

/* A sparse file of `size` bytes that begins with b; -1 where the file system has no room for such a thing. */
static int sparse_file(uint64_t size)
{
	char path[] = "gguf-hostile-XXXXXX";
	int fd = mkstemp(path);
	if (fd < 0)
		return -1;
	unlink(path);
	if (write(fd, b.bytes, b.len) != (ssize_t)b.len || ftruncate(fd, (off_t)size) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The most memory this process ever had resident, in MiB. */
static long peak_mib(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss / 1024;
}

TEST(huge_files_that_lie_cost_a_second_and_64_mib_at_most)
{
	static const struct {
		uint32_t element;
		uint64_t count;
	} cases[] = {
	    {8, UINT64_C(1) << 28}, /* strings of length 0 as far as the header limit goes */
	    {9, UINT64_C(1) << 27}, /* arrays of u8, each of length 0 */
	    {0, UINT64_C(1) << 31}, /* one long array that is stepped over */
	};
	long before = peak_mib();
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		b_head(&b, 0, 1);
		b_kv_array(&b, "list", cases[i].element, cases[i].count);
		HTH_AUTO_CLOSE int fd = sparse_file(UINT64_C(4) << 30);
		if (fd < 0)
			SKIP("no room for a sparse file");
		hth_gguf *gguf = NULL;
		uint64_t start = hth_clock_ms();
		CHECK_INT(hth_gguf_open(&gguf, &fd, 1, "bad.gguf", &err), HTH_TOO_LARGE);
		CHECK(strstr(err.message, "past its limit of") != NULL);
		uint64_t took = hth_clock_ms() - start;
		printf("# case %zu: %llu ms, %ld MiB more at the peak\n", i, (unsigned long long)took,
		       peak_mib() - before);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		CHECK(peak_mib() - before <= 64);
		CHECK(took <= 5000); /* a second where nothing else runs; the printed number is the measure */
#endif
	}
}

TEST(the_largest_tables_are_checked_in_bounded_time)
{
	/* As many entries as are taken, all of them keys of equal length with a long common beginning. */
	enum { N = 65536, KEY = 24 };
	size_t len = 24 + (size_t)N * (8 + KEY + 5);
	HTH_AUTO_FREE unsigned char *bytes = malloc(len);
	b_head(&b, 0, N);
	memcpy(bytes, b.bytes, b.len);
	unsigned char *at = bytes + b.len;
	for (int i = 0; i < N; i++) {
		char key[KEY + 1];
		snprintf(key, sizeof key, "general.long.key.%07d", i);
		uint64_t n = KEY;
		memcpy(at, &n, 8);
		memcpy(at + 8, key, KEY);
		memset(at + 8 + KEY, 0, 5); /* a u8 of value 0 */
		at += 8 + KEY + 5;
	}
	hth_gguf *gguf = NULL;
	REQUIRE_OK(hth_gguf_open_memory(&gguf, bytes, len, "many.gguf", &err));
	CHECK_INT(hth_gguf_kv_count(gguf), N);
	CHECK(hth_gguf_find(gguf, "general.long.key.0065535") != NULL);
	CHECK(hth_gguf_find(gguf, "general.long.key.0065536") == NULL);
	hth_gguf_close(gguf);
	/* One more is one too many. */
	b_head(&b, 0, N + 1);
	HTH_AUTO_FREE unsigned char *more = calloc(1, len + 64);
	memcpy(more, bytes, len);
	memcpy(more, b.bytes, b.len);
	CHECK_INT(open_bytes(more, len + 64), HTH_TOO_LARGE);
}

TEST_MAIN()
