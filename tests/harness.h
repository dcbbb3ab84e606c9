/* harness.h - a test is a function named after a behaviour; a program runs its tests in order and prints TAP.
 *
 *   TEST(detokenizer_never_splits_a_character) { CHECK(...); }
 *   TEST_MAIN()
 *
 * A CHECK that fails says where and with which values, and fails its test; the others go on. SKIP(why) ends a test that cannot run
 * here (no ../shared, no such instruction set). `PROGRAM name` runs the tests whose name contains it.
 */
#ifndef HTH_TESTS_HARNESS_H
#define HTH_TESTS_HARNESS_H

#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
	const char *name;
	void (*fn)(void);
	struct test_case *next;
} test_case;

static test_case *test_first, **test_last = &test_first;
static int test_failures;
static const char *test_skip_reason;

#define TEST(fn_name)                                                                                 \
	static void fn_name(void);                                                                    \
	__attribute__((constructor)) static void register_##fn_name(void)                             \
	{                                                                                             \
		static test_case c = {#fn_name, fn_name, NULL};                                       \
		*test_last = &c;                                                                      \
		test_last = &c.next;                                                                  \
	}                                                                                             \
	static void fn_name(void)

__attribute__((unused, format(printf, 3, 4))) static void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	printf("# %s:%d: ", file, line);
	vprintf(fmt, args);
	printf("\n");
	va_end(args);
	test_failures++;
}

#define CHECK(cond)                                                             \
	do {                                                                    \
		if (!(cond))                                                    \
			test_fail(__FILE__, __LINE__, "not true: %s", #cond);   \
	} while (0)
/* As CHECK, and leaves the test function when it fails. */
#define REQUIRE(cond)                                                           \
	do {                                                                    \
		if (!(cond)) {                                                  \
			test_fail(__FILE__, __LINE__, "not true: %s", #cond);   \
			return;                                                 \
		}                                                               \
	} while (0)
#define CHECK_INT(a, b)                                                                                        \
	do {                                                                                                   \
		long long check_a_ = (long long)(a), check_b_ = (long long)(b);                                \
		if (check_a_ != check_b_)                                                                      \
			test_fail(__FILE__, __LINE__, "%s is %lld, not %lld (%s)", #a, check_a_, check_b_, #b); \
	} while (0)
#define CHECK_STR(a, b)                                                                                  \
	do {                                                                                             \
		const char *check_a_ = (a), *check_b_ = (b);                                             \
		if (check_a_ == NULL || check_b_ == NULL || strcmp(check_a_, check_b_) != 0)             \
			test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #a,                    \
			          check_a_ ? check_a_ : "(null)", check_b_ ? check_b_ : "(null)");       \
	} while (0)
#define CHECK_NEAR(a, b, tolerance)                                                                             \
	do {                                                                                                    \
		double check_a_ = (a), check_b_ = (b);                                                          \
		if (!(fabs(check_a_ - check_b_) <= (tolerance)))                                                \
			test_fail(__FILE__, __LINE__, "%s is %.9g, not %.9g within %g", #a, check_a_, check_b_, \
			          (double)(tolerance));                                                         \
	} while (0)
/* The call succeeds; prints its error otherwise. `err` must be in scope. */
#define CHECK_OK(call)                                                                                      \
	do {                                                                                                \
		if ((call) != HTH_OK)                                                                       \
			test_fail(__FILE__, __LINE__, "%s: %s", #call, err.message);                        \
	} while (0)
#define REQUIRE_OK(call)                                                                                    \
	do {                                                                                                \
		if ((call) != HTH_OK) {                                                                     \
			test_fail(__FILE__, __LINE__, "%s: %s", #call, err.message);                        \
			return;                                                                             \
		}                                                                                           \
	} while (0)
#define SKIP(why)                         \
	do {                              \
		test_skip_reason = (why); \
		return;                   \
	} while (0)

/* ../shared/NAME, or NULL where it is not there. The buffer is static. */
__attribute__((unused)) static const char *test_shared(const char *name)
{
	static char path[4096];
	const char *dir = getenv("HEARTH_SHARED");
	snprintf(path, sizeof path, "%s/%s", dir ? dir : "../shared", name);
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		return NULL;
	fclose(f);
	return path;
}
/* A whole file (NUL after its end); caller frees; NULL when it cannot be read. */
__attribute__((unused)) static char *test_read_file(const char *path, size_t *ret_len)
{
	FILE *f = path ? fopen(path, "rb") : NULL;
	if (f == NULL)
		return NULL;
	fseek(f, 0, SEEK_END);
	long n = ftell(f);
	rewind(f);
	char *data = malloc((size_t)n + 1);
	size_t got = data ? fread(data, 1, (size_t)n, f) : 0;
	fclose(f);
	if (data == NULL)
		return NULL;
	data[got] = '\0';
	if (ret_len != NULL)
		*ret_len = got;
	return data;
}

#define TEST_MAIN()                                                                              \
	int main(int argc, char **argv)                                                          \
	{                                                                                        \
		int n = 0, bad = 0;                                                              \
		for (test_case *c = test_first; c != NULL; c = c->next) {                        \
			if (argc > 1 && strstr(c->name, argv[1]) == NULL)                        \
				continue;                                                        \
			test_failures = 0;                                                       \
			test_skip_reason = NULL;                                                 \
			c->fn();                                                                 \
			bad += test_failures > 0;                                                \
			printf("%sok %d - %s%s%s\n", test_failures ? "not " : "", ++n, c->name,  \
			       test_skip_reason ? " # SKIP " : "",                               \
			       test_skip_reason ? test_skip_reason : "");                        \
			fflush(stdout);                                                          \
		}                                                                                \
		printf("1..%d\n", n);                                                            \
		return bad > 0;                                                                  \
	}

#endif
