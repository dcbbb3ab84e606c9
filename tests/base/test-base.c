#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sampling.h"
#include "base/utf8.h"
#include "harness.h"

TEST(buffer_never_grows_past_its_cap)
{
	hth_buf b = HTH_BUF_INIT(10);
	CHECK(hth_buf_append_str(&b, "12345"));
	CHECK(hth_buf_append_str(&b, "67890"));
	CHECK_STR(b.data, "1234567890");
	CHECK(!hth_buf_append_char(&b, 'x'));
	CHECK_INT(b.len, 10);
	hth_error err = HTH_ERROR_INIT;
	CHECK_INT(hth_buf_check(&b, "the answer", &err), HTH_TOO_LARGE);
	CHECK(strstr(err.message, "the answer") != NULL && strstr(err.message, "10 bytes") != NULL);
	hth_buf_clear(&b);
	CHECK(hth_buf_appendf(&b, "%d-%s", 7, "abc"));
	CHECK_STR(b.data, "7-abc");
	hth_buf_consume(&b, 2);
	CHECK_STR(b.data, "abc");
	size_t n;
	char *s = hth_buf_steal(&b, &n);
	CHECK_STR(s, "abc");
	CHECK_INT(n, 3);
	free(s);
	hth_buf_finish(&b);
}

TEST(utf8_refuses_what_rfc_3629_refuses)
{
	static const struct {
		const char *s;
		size_t len, valid;
	} cases[] = {{"abc", 3, 3},          {"\xC3\xA9", 2, 2},         {"\xC0\x80", 2, 0},     {"\xE0\x80\x80", 3, 0},
	             {"\xED\xA0\x80", 3, 0}, {"\xF4\x90\x80\x80", 4, 0}, {"a\xF0\x9F\x98", 4, 1}, {"\xF0\x9F\x98\x80", 4, 4},
	             {"\x80", 1, 0},         {"", 0, 0}};
	for (size_t i = 0; i < HTH_COUNT(cases); i++)
		CHECK_INT(hth_utf8_valid_prefix(cases[i].s, cases[i].len), cases[i].valid);
	CHECK_INT(hth_utf8_incomplete_suffix("a\xF0\x9F\x98", 4), 3);
	CHECK_INT(hth_utf8_incomplete_suffix("a\xE0\x80", 3), 0);
	CHECK_INT(hth_utf8_incomplete_suffix("\xC3\xA9", 2), 0);
	CHECK_INT(hth_utf8_incomplete_suffix("x\xC3", 2), 1);
}

TEST(utf8_encodes_what_it_decodes)
{
	for (uint32_t cp = 0; cp <= 0x10FFFF; cp += cp < 0x3000 ? 1 : 97) {
		char out[4];
		size_t n = hth_utf8_encode(cp, out);
		uint32_t back = 0;
		if (cp >= 0xD800 && cp <= 0xDFFF)
			continue;
		if (hth_utf8_decode(out, n, &back) != n || back != cp) {
			CHECK_INT(back, cp);
			return;
		}
	}
}

TEST(error_messages_are_cut_between_characters)
{
	char longer[HTH_ERROR_MAX * 2];
	for (size_t i = 0; i + 2 < sizeof longer; i += 2)
		memcpy(longer + i, "\xC3\xA9", 3);
	hth_error err = HTH_ERROR_INIT;
	CHECK_INT(hth_fail(&err, HTH_INVALID, "%s", longer), HTH_INVALID);
	CHECK_INT(hth_utf8_valid_prefix(err.message, strlen(err.message)), strlen(err.message));
	hth_fail(&err, HTH_IO, "inner");
	CHECK_INT(hth_fail_prefix(&err, "file %d", 3), HTH_IO);
	CHECK_STR(err.message, "file 3: inner");
}

TEST(sampling_names_the_field_at_fault)
{
	hth_error err = HTH_ERROR_INIT;
	hth_sampling s = hth_sampling_defaults();
	CHECK_OK(hth_sampling_check(&s, &err));
	s.top_p = 1.5f;
	CHECK_INT(hth_sampling_check(&s, &err), HTH_INVALID);
	CHECK_STR(err.param, "top_p");
	s = hth_sampling_defaults();
	s.temperature = NAN;
	CHECK_INT(hth_sampling_check(&s, &err), HTH_INVALID);
	CHECK_STR(err.param, "temperature");
}

TEST(random_numbers_repeat_for_a_seed)
{
	hth_rng a, b;
	hth_rng_seed(&a, 42);
	hth_rng_seed(&b, 42);
	double sum = 0;
	for (int i = 0; i < 10000; i++) {
		double u = hth_rng_unit(&a);
		CHECK(u == hth_rng_unit(&b));
		sum += u;
	}
	CHECK_NEAR(sum / 10000, 0.5, 0.02);
}

TEST_MAIN()
