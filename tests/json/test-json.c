/* What the JSON folder promises: strict parsing with places, limits, exact writing, typed members. */
#include "json/json.h"

#include "harness.h"

static json_t *parse(const char *text)
{
	hth_error err = HTH_ERROR_INIT;
	json_t *json = NULL;
	if (hth_json_parse(&json, text, strlen(text), &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s", err.message);
	return json;
}

TEST(what_is_written_reads_back)
{
	static const char *same[] = {
	    "null", "true", "[]", "{}", "[1,2,[3,{\"a\":{}}]]", "{\"z\":1,\"a\":\"\\\"\\\\\\n\\u0001\",\"é\":\"日本🙂\"}",
	    "9223372036854775807", "-9223372036854775808", "0.1", "1e+300", "-0.0", "1.0", "3.141592653589793",
	    "\"\\b\\f\\r\\t/\"", "5e-324",
	};
	for (size_t i = 0; i < HTH_COUNT(same); i++) {
		HTH_AUTO_JSON json_t *json = parse(same[i]);
		REQUIRE(json != NULL);
		HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(1000);
		CHECK(hth_json_write(json, &out));
		CHECK_STR(out.data, same[i]);
	}
}

TEST(escapes_and_surrogate_pairs_become_utf8)
{
	HTH_AUTO_JSON json_t *json = parse(" \"\\u00e9\\/\\ud83d\\ude42\\u0061\" ");
	CHECK_STR(json_string_value(json), "é/🙂a");
}

TEST(integers_past_64_bits_become_reals)
{
	HTH_AUTO_JSON json_t *json = parse("[18446744073709551615, -99999999999999999999, 9223372036854775808, "
	                                   "9223372036854775807, 123456789012345678901.5, \"18446744073709551616\", \"a\\\"\", 7]");
	REQUIRE(json != NULL);
	CHECK_NEAR(json_real_value(json_array_get(json, 0)), 18446744073709551615.0, 0);
	CHECK_NEAR(json_real_value(json_array_get(json, 1)), -99999999999999999999.0, 0);
	CHECK_NEAR(json_real_value(json_array_get(json, 2)), 9223372036854775808.0, 0);
	CHECK_INT(json_integer_value(json_array_get(json, 3)), INT64_MAX);
	CHECK_NEAR(json_real_value(json_array_get(json, 4)), 123456789012345678901.5, 0);
	CHECK_STR(json_string_value(json_array_get(json, 5)), "18446744073709551616");
	CHECK_STR(json_string_value(json_array_get(json, 6)), "a\"");
	CHECK_INT(json_integer_value(json_array_get(json, 7)), 7);
}

TEST(errors_name_the_place_and_never_quote)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
	    {"", "line 1, column 1: the JSON text ends too early"},
	    {"{\"a\": secret}", "line 1, column 7: expected a JSON value"},
	    {"{\n \"a\": 1,\n}", "line 3, column 1: expected a key in double quotes"},
	    {"[1 2]", "line 1, column 4: expected ',' or ']'"},
	    {"{\"a\" 2}", "line 1, column 6: expected ':' after a key"},
	    {"{\"a\":2]", "line 1, column 7: expected ',' or '}'"},
	    {"[1]x", "line 1, column 4: there is more after the end of the JSON value"},
	    {"\"abc", "line 1, column 5: the JSON text ends too early"},
	    {"\"é\\x\"", "line 1, column 3: unknown escape in a string"},
	    {"\"\\u12\"", "line 1, column 7: the JSON text ends too early"},
	    {"\"\\u12zz\"", "line 1, column 2: \\u needs four hexadecimal digits"},
	    {"\"a\\u0000\"", "line 1, column 3: the character U+0000 is not allowed in a string"},
	    {"\"\\ud800x\"", "line 1, column 2: half of a UTF-16 surrogate pair in a string"},
	    {"\"\\udc00\"", "line 1, column 2: half of a UTF-16 surrogate pair in a string"},
	    {"\"\\ud800\\u0041\"", "line 1, column 2: half of a UTF-16 surrogate pair in a string"},
	    {"\"a\nb\"", "line 1, column 3: a control character in a string must be escaped"},
	    {"\"a\xff\"", "line 1, column 3: invalid UTF-8 in a string"},
	    {"\"\xed\xa0\x80\"", "line 1, column 2: invalid UTF-8 in a string"},
	    {"[01]", "line 1, column 2: a number may not begin with 0"},
	    {"[-]", "line 1, column 3: a number needs a digit here"},
	    {"[1.]", "line 1, column 4: a number needs a digit here"},
	    {"[1e+]", "line 1, column 5: a number needs a digit here"},
	    {"[+1]", "line 1, column 2: expected a JSON value"},
	    {"tru", "line 1, column 1: expected a JSON value"},
	    {"NaN", "line 1, column 1: expected a JSON value"},
	    {"[1,]", "line 1, column 4: expected a JSON value"},
	    {"'a'", "line 1, column 1: expected a JSON value"},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		hth_error err = HTH_ERROR_INIT;
		json_t *json = NULL;
		CHECK_INT(hth_json_parse(&json, cases[i].text, strlen(cases[i].text), &err), HTH_INVALID);
		CHECK_STR(err.message, cases[i].message);
		CHECK(json == NULL);
	}
	hth_error err = HTH_ERROR_INIT;
	json_t *json = NULL;
	CHECK_INT(hth_json_parse(&json, "{\"dear\":1,\n\"dear\":2}", 20, &err), HTH_INVALID);
	CHECK(strstr(err.message, "line 2") != NULL && strstr(err.message, "twice") != NULL);
	CHECK(strstr(err.message, "dear") == NULL);
	CHECK_INT(hth_json_parse(&json, "[1e999]", 7, &err), HTH_INVALID);
	CHECK(strstr(err.message, "out of range") != NULL);
	CHECK_INT(hth_json_parse(&json, "[1]\0", 4, &err), HTH_INVALID);
	CHECK_INT(hth_json_parse(&json, "\"a\0b\"", 5, &err), HTH_INVALID);
}

TEST(deep_nesting_is_refused_with_the_place)
{
	enum { DEEP = 100000 };
	char *text = malloc(2 * DEEP);
	for (int depth = 64; depth <= DEEP; depth = depth == 64 ? 65 : depth == 65 ? DEEP : DEEP + 1) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		hth_error err = HTH_ERROR_INIT;
		json_t *json = NULL;
		hth_status status = hth_json_parse(&json, text, 2 * (size_t)depth, &err);
		CHECK_INT(status, depth == 64 ? HTH_OK : HTH_INVALID);
		if (depth > 64)
			CHECK_STR(err.message, "line 1, column 65: nested deeper than 64 levels");
		json_decref(json);
	}
	for (int i = 0; i < DEEP; i++)
		memcpy(text + 5 * (size_t)(i % (2 * DEEP / 5)), "{\"a\":", 5);
	hth_error err = HTH_ERROR_INIT;
	json_t *json = NULL;
	CHECK_INT(hth_json_parse(&json, text, 2 * DEEP / 5 * 5, &err), HTH_INVALID);
	CHECK_STR(err.message, "line 1, column 321: nested deeper than 64 levels");
	free(text);
}

TEST(any_bytes_make_a_valid_string_literal)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(1000);
	CHECK(hth_json_write_string("a\0\xff\xc3\xa9\xe2\x82\"\x7f", 9, &out));
	CHECK_STR(out.data, "\"a\\u0000\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\\\"\x7f\"");
	hth_buf small = HTH_BUF_INIT(3);
	CHECK(!hth_json_write_string("abc", 3, &small));
	hth_buf_finish(&small);
}

TEST(members_are_typed_and_errors_name_the_field)
{
	HTH_AUTO_JSON json_t *o = parse("{\"b\":true,\"i\":7,\"r\":8.0,\"h\":1.5,\"s\":\"x\",\"n\":null,\"big\":1e30,\"a\":[]}");
	REQUIRE(o != NULL);
	hth_error err = HTH_ERROR_INIT;
	bool b = false;
	int64_t i = -1;
	double d = -1;
	const char *s = "default";
	CHECK_OK(hth_json_get_bool(o, "b", &b, &err));
	CHECK(b);
	CHECK_OK(hth_json_get_int(o, "i", 0, 10, &i, &err));
	CHECK_INT(i, 7);
	CHECK_OK(hth_json_get_int(o, "r", 0, 10, &i, &err));
	CHECK_INT(i, 8);
	CHECK_OK(hth_json_get_number(o, "i", 0, 10, &d, &err));
	CHECK_NEAR(d, 7, 0);
	CHECK_OK(hth_json_get_string(o, "n", &s, &err));
	CHECK_OK(hth_json_get_string(o, "absent", &s, &err));
	CHECK_STR(s, "default");
	CHECK_OK(hth_json_get_string(o, "s", &s, &err));
	CHECK_STR(s, "x");
	CHECK_INT(hth_json_get_int(o, "i", 0, 6, &i, &err), HTH_INVALID);
	CHECK_STR(err.param, "i");
	CHECK_STR(err.message, "'i' must be from 0 to 6, not 7");
	CHECK_INT(hth_json_get_int(o, "h", 0, 6, &i, &err), HTH_INVALID);
	CHECK_INT(hth_json_get_int(o, "big", 0, 6, &i, &err), HTH_INVALID);
	CHECK_INT(hth_json_get_int(o, "s", 0, 6, &i, &err), HTH_INVALID);
	CHECK_STR(err.message, "'s' must be an integer, not a string");
	CHECK_INT(hth_json_get_number(o, "b", 0, 6, &d, &err), HTH_INVALID);
	CHECK_INT(hth_json_get_number(o, "h", 2, 6, &d, &err), HTH_INVALID);
	CHECK_INT(hth_json_get_bool(o, "i", &b, &err), HTH_INVALID);
	CHECK_INT(hth_json_get_string(o, "a", &s, &err), HTH_INVALID);
	CHECK_STR(err.message, "'a' must be a string, not an array");
	CHECK_INT(hth_json_get_string(json_object_get(o, "a"), "x", &s, &err), HTH_INVALID);
	CHECK_INT(i, 8);
	CHECK_STR(s, "x");
}

TEST_MAIN()
