/* Schemas as grammars: what each keyword allows, what is refused and how, the public test suites (a grammar may be
 * narrower than its schema in the ways that schema.h names, never wider), and that whatever a grammar writes is what
 * its schema allows. */
#include "base/rng.h"
#include "engine/grammar/grammar.h"
#include "harness.h"
#include "schema/lang.h"
#include "schema/schema.h"

#include <glob.h>

static json_t *parse(const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, JSON_DECODE_ANY, &e);
	if (j == NULL)
		test_fail(__FILE__, __LINE__, "%s in %s", e.text, text);
	return j;
}

static hth_status grammar_of(const json_t *schema, hth_grammar **ret, hth_error *err)
{
	hth_buf text = HTH_BUF_INIT(HTH_GRAMMAR_TEXT_MAX);
	hth_status status = hth_schema_grammar(schema, &text, err);
	if (status == HTH_OK)
		status = hth_grammar_compile(ret, NULL, text.data, text.len, err);
	hth_buf_finish(&text);
	return status;
}

static bool sentence(hth_grammar *g, const char *text, size_t len)
{
	hth_grammar_matcher *m = NULL;
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_grammar_matcher_create(&m, g, &err));
	bool ok = m != NULL && hth_grammar_accept_bytes(m, text, len) && hth_grammar_may_end(m);
	hth_grammar_matcher_destroy(m);
	return ok;
}

/* yes and no: texts apart by newlines (a newline inside JSON is written \n). */
static void check_schema(const char *schema, const char *yes, const char *no)
{
	HTH_AUTO_JSON json_t *s = parse(schema);
	hth_grammar *g = NULL;
	hth_error err = HTH_ERROR_INIT;
	if (s == NULL)
		return;
	if (grammar_of(s, &g, &err) != HTH_OK) {
		test_fail(__FILE__, __LINE__, "%s: %s", schema, err.message);
		return;
	}
	for (int turn = 0; turn < 2; turn++)
		for (const char *p = turn ? no : yes; p != NULL && *p != '\0';) {
			size_t n = strcspn(p, "\n");
			if (sentence(g, p, n) == turn)
				test_fail(__FILE__, __LINE__, "%s: %.*s is %s", schema, (int)n, p,
				          turn ? "allowed" : "not allowed");
			/* The reader's own judgement agrees, where the text is JSON at all. */
			json_error_t e;
			HTH_AUTO_JSON json_t *v = json_loadb(p, n, JSON_DECODE_ANY, &e);
			bool accepts = false;
			if (v != NULL && turn == 0) {
				CHECK_OK(hth_schema_accepts(s, v, &accepts, &err));
				CHECK(accepts);
			}
			p += n + (p[n] == '\n');
		}
	hth_grammar_destroy(g);
}

TEST(types)
{
	check_schema("{\"type\":\"string\"}", "\"\"\n\"a\\n\\u00e9\xC3\xA9\"",
	             "a\n\"a\n\"\\q\"\n\"\\u0000\"\n\"\\ud800\"\n1");
	check_schema("{\"type\":\"integer\"}", "0\n-5\n1234567890123456", "1.5\n01\n-\n12345678901234567\n\"1\"\n1e3");
	check_schema("{\"type\":\"number\"}", "0\n-0.5\n1e5\n1.25E-3", ".5\n1.\n01\n+1\nNaN");
	check_schema("{\"type\":[\"boolean\",\"null\"]}", "true\nfalse\nnull", "True\n0");
	check_schema("{\"type\":\"array\"}", "[]\n[1, \"a\", [null]]\n[1,2]", "[1,]\n[");
	check_schema("{\"type\":\"object\"}", "{}\n{\"a\": 1, \"b\": {}}", "{\"a\"}\n{a:1}\n{\"a\":1,}");
	check_schema("{}", "1\n[]\n{\"x\":[true]}\n\"s\"\nnull", "x\n");
	check_schema("true", "1", "x");
	check_schema("{\"type\":\"string\",\"nullable\":true}", "null\n\"a\"", "1");
}

TEST(enum_and_const)
{
	check_schema("{\"enum\":[\"red\",\"re\",3,null,[1,{\"a\":\"b\"}]]}",
	             "\"red\"\n\"re\"\n3\nnull\n[1,{\"a\":\"b\"}]\n[1, {\"a\": \"b\"}]", "\"r\"\n\"redd\"\n4\n[1]\n33");
	check_schema("{\"const\":\"a\\\"\\\\\\n\xC3\xA9\"}", "\"a\\\"\\\\\\n\xC3\xA9\"", "\"a\"");
	check_schema("{\"enum\":[1,\"a\",null,2.5],\"type\":[\"number\",\"null\"],\"minimum\":2}", "null\n2.5",
	             "1\n\"a\"");
	/* Many strings become one automaton. */
	char schema[8192];
	size_t n = (size_t)snprintf(schema, sizeof schema, "{\"enum\":[");
	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(schema + n, sizeof schema - n, "%s\"k%d\"", i ? "," : "", i * 7);
	snprintf(schema + n, sizeof schema - n, ",5]}");
	check_schema(schema, "\"k0\"\n\"k7\"\n\"k2093\"\n5", "\"k1\"\n\"k\"\n\"k2094\"");
}

TEST(strings_by_length_pattern_and_format)
{
	check_schema("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
	             "\"ab\"\n\"\xC3\xA9\xC3\xA9\xC3\xA9\"\n\"\\n\\\"\"", "\"a\"\n\"abcd\"");
	check_schema("{\"type\":\"string\",\"pattern\":\"^[a-z]+\\\\d?$\",\"maxLength\":4}", "\"abc\"\n\"abc1\"\n\"a\"",
	             "\"abcde\"\n\"1\"\n\"\"\n\"A\"");
	check_schema("{\"type\":\"string\",\"pattern\":\"b\"}", "\"b\"\n\"abc\"\n\"\\\"b\\n\"", "\"a\"\n\"\"");
	check_schema("{\"type\":\"string\",\"pattern\":\"^\\\"[^\\\"]*\\\"$\"}", "\"\\\"x\\\"\"", "\"x\"");
	check_schema("{\"type\":\"string\",\"format\":\"date\"}", "\"2024-02-29\"\n\"1999-12-31\"",
	             "\"2023-02-29\"\n\"2024-13-01\"\n\"2024-1-1\"\n\"1900-02-29\"");
	check_schema("{\"type\":\"string\",\"format\":\"date-time\"}",
	             "\"2024-01-31T23:59:59Z\"\n\"2024-01-31T00:00:00.123+02:00\"",
	             "\"2024-01-31\"\n\"2024-01-31T24:00:00Z\"\n\"2024-01-31 00:00:00Z\"");
	check_schema("{\"type\":\"string\",\"format\":\"time\"}", "\"10:20:30Z\"", "\"10:20:30\"\n\"25:00:00Z\"");
	check_schema("{\"type\":\"string\",\"format\":\"uuid\"}", "\"123e4567-e89b-12d3-a456-426614174000\"",
	             "\"123e4567-e89b-12d3-a456\"");
	check_schema("{\"type\":\"string\",\"format\":\"email\"}", "\"a.b+c@example.org\"\n\"x@y\"",
	             "\"a@\"\n\"@b\"\n\"a b@c\"");
	check_schema("{\"type\":\"string\",\"format\":\"ipv4\"}", "\"127.0.0.1\"\n\"255.255.255.255\"",
	             "\"256.1.1.1\"\n\"1.2.3\"\n\"01.2.3.4\"");
	check_schema("{\"type\":\"string\",\"format\":\"ipv6\"}",
	             "\"::1\"\n\"2001:db8::8a2e:370:7334\"\n\"::ffff:1.2.3.4\"\n\"1:2:3:4:5:6:7:8\"",
	             "\"1:2:3\"\n\":::\"\n\"1:2:3:4:5:6:7:8:9\"\n\"12345::\"");
	check_schema("{\"type\":\"string\",\"format\":\"uri\"}",
	             "\"https://example.org/a?b=c#d\"\n\"urn:isbn:123\"\n\"file:///x\"", "\"example.org\"\n\"a b:c\"");
	check_schema("{\"type\":\"string\",\"format\":\"duration\"}", "\"P1DT2H\"\n\"P3W\"\n\"PT5M\"",
	             "\"P\"\n\"1D\"\n\"P1DT\"");
	check_schema("{\"type\":\"string\",\"format\":\"hostname\"}", "\"a-b.example\"", "\"-a\"\n\"a..b\"");
	/* A format says nothing about what is no string. */
	check_schema("{\"type\":\"integer\",\"format\":\"int32\"}", "5", "\"5\"");
}

TEST(numbers_within_bounds)
{
	check_schema("{\"type\":\"integer\",\"minimum\":3,\"maximum\":120}", "3\n9\n10\n99\n100\n120",
	             "2\n0\n-3\n121\n1000");
	check_schema("{\"type\":\"integer\",\"exclusiveMinimum\":-12,\"exclusiveMaximum\":12}", "-11\n0\n11\n-1",
	             "-12\n12\n-0\n100");
	check_schema("{\"type\":\"integer\",\"minimum\":-105,\"maximum\":-7}", "-7\n-105\n-99", "-6\n0\n-106\n7");
	check_schema("{\"type\":\"integer\",\"minimum\":1.5}", "2\n999999", "1\n0\n-5");
	check_schema("{\"type\":\"number\",\"minimum\":0,\"exclusiveMaximum\":1}", "0\n0.0\n0.5\n0.999999",
	             "1\n1.0\n-0.1\n1.5");
	check_schema("{\"type\":\"number\",\"exclusiveMinimum\":0.25,\"maximum\":2.75}",
	             "0.251\n0.3\n1\n2\n2.75\n2.750\n2.7", "0.25\n0.250\n0.2\n2.751\n2.8\n3");
	check_schema("{\"type\":\"number\",\"minimum\":1.5,\"maximum\":1.53}", "1.5\n1.50\n1.51\n1.53\n1.5299",
	             "1.4\n1\n1.531\n1.6\n2");
	check_schema("{\"type\":\"number\",\"minimum\":-3.5,\"maximum\":10.25}",
	             "-3.5\n-3.49\n-0.001\n0\n10\n10.25\n9.99", "-3.51\n-4\n10.26\n11");
	check_schema("{\"type\":\"number\",\"minimum\":100}", "100\n100.5\n99999", "99\n99.9\n1e3");
	check_schema("{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":-30}", "0\n7\n49\n-28", "1\n50\n-35");
	check_schema("{\"type\":\"number\",\"multipleOf\":0.01}", "1\n1.5\n1.25\n1.250", "1.255");
	check_schema("{\"type\":\"integer\",\"minimum\":0,\"exclusiveMinimum\":true,\"maximum\":2}", "1\n2", "0");
}

TEST(lists)
{
	check_schema("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
	             "[1]\n[1, 2,3]", "[]\n[1,2,3,4]\n[\"a\"]");
	check_schema("{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"type\":\"string\"}],\"items\":false}",
	             "[]\n[1]\n[1,\"a\"]", "[2]\n[1,2]\n[1,\"a\",3]");
	check_schema(
	    "{\"type\":\"array\",\"prefixItems\":[{\"const\":1}],\"items\":{\"type\":\"null\"},\"minItems\":2}",
	    "[1,null]\n[1,null,null]", "[1]\n[null]\n[1,1]");
	check_schema(
	    "{\"type\":\"array\",\"items\":[{\"type\":\"integer\"}],\"additionalItems\":{\"type\":\"string\"}}",
	    "[1,\"a\",\"b\"]", "[\"a\"]");
	check_schema("{\"type\":\"array\",\"maxItems\":0}", "[]", "[1]");
	check_schema("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":30}",
	             "[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]",
	             "[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9]");
}

TEST(objects)
{
	check_schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}},"
	             "\"required\":[\"b\"],"
	             "\"additionalProperties\":false}",
	             "{\"b\":\"x\"}\n{\"a\":1,\"b\":\"\"}\n{ \"a\": 1, \"b\": \"\"}",
	             "{}\n{\"a\":1}\n{\"b\":\"x\",\"c\":1}\n{\"b\":1}\n{\"b\":\"x\",\"b\":\"y\"}");
	check_schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"additionalProperties\":{"
	             "\"type\":\"boolean\"}}",
	             "{}\n{\"a\":1,\"x\":true}\n{\"ab\":false}\n{\"\":true}",
	             "{\"x\":1}\n{\"a\":true}\n{\"\\u0061\":true}");
	check_schema("{\"type\":\"object\",\"required\":[\"k\"]}", "{\"k\":1}\n{\"k\":[],\"z\":2}", "{}\n{\"z\":1}");
	check_schema("{\"type\":\"object\",\"patternProperties\":{\"^s_\":{\"type\":\"string\"}},"
	             "\"additionalProperties\":false}",
	             "{}\n{\"s_x\":\"y\"}", "{\"s_x\":1}\n{\"x\":\"y\"}");
	check_schema("{\"type\":\"object\",\"propertyNames\":{\"maxLength\":2,\"pattern\":\"^[a-z]*$\"}}", "{\"ab\":1}",
	             "{\"abc\":1}\n{\"A\":1}");
	check_schema("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"},\"minProperties\":1,"
	             "\"maxProperties\":2}",
	             "{\"a\":1}\n{\"a\":1,\"b\":2}", "{}\n{\"a\":1,\"b\":2,\"c\":3}");
	check_schema("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"additionalProperties\":false,"
	             "\"minProperties\":2,\"maxProperties\":2}",
	             "{\"a\":1,\"c\":2}\n{\"b\":1,\"c\":2}", "{\"a\":1}\n{\"a\":1,\"b\":2,\"c\":3}");
	check_schema("{\"type\":\"object\",\"properties\":{\"a\":false,\"b\":{\"type\":\"null\"}}}",
	             "{\"b\":null}\n{\"x\":1}", "{\"a\":1}");
	check_schema("{\"type\":\"object\",\"dependentRequired\":{\"a\":[\"b\"]},\"properties\":{\"a\":{\"type\":"
	             "\"integer\"},\"b\":{\"type\":\"integer\"}},"
	             "\"additionalProperties\":false}",
	             "{}\n{\"b\":1}\n{\"a\":1,\"b\":2}", "{\"a\":1}");
}

TEST(combinations)
{
	check_schema("{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}", "5\n\"a\"",
	             "\"ab\"\nnull");
	check_schema("{\"type\":\"integer\",\"anyOf\":[{\"minimum\":10},{\"maximum\":-10}]}", "10\n-10", "0\n9");
	check_schema("{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{\"properties\":"
	             "{\"a\":{\"minimum\":5},\"b\":{\"type\":\"null\"}},"
	             "\"additionalProperties\":false}],\"type\":\"object\"}",
	             "{\"a\":5}\n{\"a\":6,\"b\":null}", "{\"a\":4}\n{\"a\":\"x\"}\n{\"a\":5,\"c\":1}\n{}");
	check_schema("{\"allOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"pattern\":\"z$\"},{\"maxLength\":3}]}",
	             "\"az\"\n\"abz\"", "\"abcz\"\n\"a\"");
	check_schema("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}", "1\n\"a\"", "null");
	check_schema("{\"oneOf\":[{\"properties\":{\"k\":{\"const\":\"x\"},\"v\":{\"type\":\"integer\"}},\"required\":["
	             "\"k\",\"v\"]},"
	             "{\"properties\":{\"k\":{\"const\":\"y\"}},\"required\":[\"k\"]}],\"type\":\"object\"}",
	             "{\"k\":\"x\",\"v\":1}\n{\"k\":\"y\"}", "{\"k\":\"x\"}\n{\"k\":\"z\"}");
	/* Branches that overlap: exactly one. */
	check_schema("{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", "1\n2.5", "3\n1.5");
	check_schema("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false,\"oneOf\":"
	             "[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
	             "{\"a\":1}\n{\"b\":1}", "{}\n{\"a\":1,\"b\":1}");
	check_schema("{\"not\":{\"type\":[\"string\",\"object\",\"array\"]}}", "1\nnull", "\"a\"\n{}");
	check_schema("{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"b\"]}}", "\"c\"\n\"ab\"\n\"\"", "\"a\"\n\"b\"");
	check_schema("{\"type\":\"integer\",\"not\":{\"const\":5}}", "4\n55", "5");
	check_schema("{\"type\":\"object\",\"properties\":{\"t\":{\"enum\":[\"n\",\"s\"]},\"v\":{}},\"required\":["
	             "\"t\",\"v\"],\"if\":{\"properties\":{\"t\":{\"const\":\"n\"}}},"
	             "\"then\":{\"properties\":{\"v\":{\"type\":\"number\"}}},\"else\":{\"properties\":{\"v\":{"
	             "\"type\":\"string\"}}}}",
	             "{\"t\":\"n\",\"v\":1}\n{\"t\":\"s\",\"v\":\"x\"}",
	             "{\"t\":\"n\",\"v\":\"x\"}\n{\"t\":\"s\",\"v\":1}");
}

TEST(references_and_recursion)
{
	check_schema("{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{\"$"
	             "ref\":\"#/$defs/n\"}},\"required\":[\"v\"],"
	             "\"additionalProperties\":false}},\"$ref\":\"#/$defs/n\"}",
	             "{\"v\":1}\n{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3}}}",
	             "{\"next\":{\"v\":1}}\n{\"v\":1,\"next\":{}}");
	check_schema("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", "[]\n[[],[[]]]", "[1]");
	check_schema("{\"definitions\":{\"a/b\":{\"$anchor\":\"here\",\"const\":1}},\"anyOf\":[{\"$ref\":\"#/"
	             "definitions/a~1b\"},{\"$ref\":\"#here\"}]}",
	             "1", "2");
	check_schema("{\"$defs\":{\"p\":{\"minimum\":3}},\"type\":\"integer\",\"$ref\":\"#/$defs/p\",\"maximum\":4}",
	             "3\n4", "2\n5");
	check_schema("{\"$id\":\"http://x.example/root\",\"$defs\":{\"i\":{\"$id\":\"http://x.example/"
	             "i\",\"type\":\"null\"}},\"$ref\":\"http://x.example/i\"}",
	             "null", "1");
	/* URIs that hold inside parts of the document; a relative one means the nearest of them. */
	check_schema("{\"$id\":\"http://x.example/a/tree\",\"type\":\"array\",\"items\":{\"$ref\":\"../b/node\"},"
	             "\"$defs\":{\"n\":{\"$id\":\"/b/node\",\"type\":\"object\",\"properties\":{\"v\":{\"$ref\":\"#/$defs/v\"},"
	             "\"sub\":{\"$ref\":\"../a/./tree\"}},\"required\":[\"v\"],\"additionalProperties\":false,"
	             "\"$defs\":{\"v\":{\"type\":\"integer\"}}},\"v\":{\"type\":\"string\"}}}",
	             "[]\n[{\"v\":1,\"sub\":[{\"v\":2}]}]", "[{\"v\":\"x\"}]\n[{\"v\":1,\"sub\":{}}]");
	/* An id by the way, as generators write it, takes nothing from what refers to the document. */
	check_schema("{\"definitions\":{\"d\":{\"const\":1}},\"properties\":{\"a\":{\"id\":\"a\",\"$ref\":\"#/definitions/d\"},"
	             "\"b\":{\"id\":\"http://x.example/b\",\"anyOf\":[{\"$ref\":\"#/definitions/d\"}]}},\"required\":[\"a\"],"
	             "\"additionalProperties\":false,\"type\":\"object\"}",
	             "{\"a\":1,\"b\":1}", "{\"a\":1,\"b\":2}");
}

static void refuse(const char *schema, hth_status status, const char *needle, const char *place)
{
	HTH_AUTO_JSON json_t *s = parse(schema);
	hth_grammar *g = NULL;
	hth_error err = HTH_ERROR_INIT;
	hth_status got = s ? grammar_of(s, &g, &err) : HTH_OK;
	if (got != status || strstr(err.message, needle) == NULL || strstr(err.message, place) == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s, \"%s\"", schema, hth_status_name(got), err.message);
	hth_grammar_destroy(g);
}

TEST(what_is_not_done_is_refused_by_name_and_place)
{
	static const char *const keywords[] = {"\"contains\":{}",
	                                       "\"uniqueItems\":true",
	                                       "\"unevaluatedProperties\":false",
	                                       "\"unevaluatedItems\":false",
	                                       "\"$dynamicRef\":\"#x\"",
	                                       "\"$recursiveRef\":\"#\""};
	for (size_t i = 0; i < HTH_COUNT(keywords); i++) {
		char schema[256], name[64];
		snprintf(schema, sizeof schema, "{\"properties\":{\"p\":{%s}}}", keywords[i]);
		snprintf(name, sizeof name, "%.*s", (int)strcspn(keywords[i] + 1, "\"") + 2, keywords[i]);
		refuse(schema, HTH_UNSUPPORTED, name, "#/properties/p");
	}
	refuse("{\"type\":\"string\",\"format\":\"color\"}", HTH_UNSUPPORTED, "\"color\"", "#");
	refuse("{\"type\":\"string\",\"pattern\":\"(?=a)b\"}", HTH_UNSUPPORTED, "look-ahead", "(?=a)b");
	refuse("{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", HTH_UNSUPPORTED, "back reference", "");
	refuse("{\"type\":\"string\",\"pattern\":\"\\\\bx\"}", HTH_UNSUPPORTED, "\\b", "");
	refuse("{\"type\":\"string\",\"pattern\":\"[a\"}", HTH_INVALID, "bracket", "");
	refuse("{\"type\":\"string\",\"maxLenght\":3}", HTH_UNSUPPORTED, "maxLenght", "maxLength");
	refuse("{\"allOf\":[{},{\"requierd\":[\"a\"]}]}", HTH_UNSUPPORTED, "requierd", "#/allOf/1");
	refuse("{\"$ref\":\"other.json\"}", HTH_UNSUPPORTED, "other.json", "elsewhere");
	refuse("{\"$ref\":\"#/nowhere\"}", HTH_INVALID, "#/nowhere", "no schema");
	refuse("{\"$ref\":\"#\"}", HTH_INVALID, "", "");
	refuse("{\"oneOf\":[{\"patternProperties\":{\"a\":{\"type\":\"null\"}}},{\"minProperties\":1}]}",
	       HTH_UNSUPPORTED, "branch 0 and branch 1", "oneOf");
	refuse("{\"multipleOf\":0.3,\"type\":\"number\"}", HTH_UNSUPPORTED, "multipleOf", "");
	refuse("{\"not\":{\"multipleOf\":3}}", HTH_UNSUPPORTED, "multipleOf", "not");
}

TEST(schemas_that_are_wrong_are_refused)
{
	refuse("{\"type\":\"strnig\"}", HTH_INVALID, "type", "#");
	refuse("{\"minLength\":-1}", HTH_INVALID, "minLength", "");
	refuse("{\"properties\":[]}", HTH_INVALID, "properties", "");
	refuse("{\"required\":\"a\"}", HTH_INVALID, "required", "");
	refuse("{\"items\":5}", HTH_INVALID, "items", "");
	refuse("{\"enum\":{}}", HTH_INVALID, "enum", "");
	refuse("{\"anyOf\":[]}", HTH_INVALID, "anyOf", "");
	refuse("{\"properties\":{\"a\":5}}", HTH_INVALID, "#/properties/a", "");
	refuse("5", HTH_INVALID, "object or a boolean", "");
	refuse("false", HTH_INVALID, "nothing satisfies", "");
	refuse("{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", HTH_INVALID, "no text at all", "");
	refuse("{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^x$"
	       "\",\"minLength\":3}}}",
	       HTH_INVALID, "no text at all", "");
	refuse("{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", HTH_INVALID, "no text at all", "");
}

TEST(what_cannot_be_finished_is_not_begun)
{
	/* The optional property can have no value, the third item neither. */
	check_schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^x$\","
	             "\"minLength\":3},\"b\":{\"type\":\"null\"}},"
	             "\"additionalProperties\":false}",
	             "{}\n{\"b\":null}", "{\"a\":\"x\"}");
	check_schema(
	    "{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":2},{\"enum\":[]}],\"items\":{\"const\":9}}",
	    "[1]\n[1,2]", "[1,2,9]");
}

TEST(hostile_schemas_are_bounded)
{
	/* 2^40 cases, references that double, a pattern that explodes, a million properties' worth of text. */
	char schema[16384];
	size_t n = (size_t)snprintf(schema, sizeof schema, "{\"allOf\":[");
	for (int i = 0; i < 40; i++)
		n += (size_t)snprintf(schema + n, sizeof schema - n,
		                      "%s{\"anyOf\":[{\"minimum\":%d},{\"maximum\":%d}]}", i ? "," : "", i, -i);
	snprintf(schema + n, sizeof schema - n, "]}");
	refuse(schema, HTH_TOO_LARGE, "over", "");
	n = (size_t)snprintf(schema, sizeof schema, "{\"$defs\":{\"d0\":{\"type\":\"null\"}");
	for (int i = 1; i < 25; i++)
		n += (size_t)snprintf(schema + n, sizeof schema - n,
		                      ",\"d%d\":{\"anyOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]}", i,
		                      i - 1, i - 1);
	snprintf(schema + n, sizeof schema - n, "},\"$ref\":\"#/$defs/d24\"}");
	refuse(schema, HTH_TOO_LARGE, "over", "");
	refuse("{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){30}c\"}", HTH_TOO_LARGE, "states", "");
	refuse("{\"type\":\"string\",\"pattern\":\"((((((a{100}){100}){100}){100}){100}){100})\"}", HTH_TOO_LARGE,
	       "pattern", "");
	refuse("{\"type\":\"string\",\"pattern\":\"^[ab]*$\",\"maxLength\":1000000}", HTH_TOO_LARGE, "states", "");
}

/* Names in the order in which a schema mentions them: the order in which a grammar wants them. */
enum { NAMES_MAX = 4096 };
static const char *names[NAMES_MAX];
static size_t n_names;

static void add_name(const char *name)
{
	for (size_t i = 0; i < n_names; i++)
		if (strcmp(names[i], name) == 0)
			return;
	if (n_names < NAMES_MAX)
		names[n_names++] = name;
}

static void collect_names(const json_t *s)
{
	const char *key;
	json_t *value;
	size_t i;
	if (json_is_array(s))
		json_array_foreach((json_t *)s, i, value) collect_names(value);
	if (!json_is_object(s))
		return;
	json_object_foreach(json_object_get(s, "properties"), key, value) add_name(key);
	json_object_foreach((json_t *)s, key, value) collect_names(value);
	json_array_foreach(json_object_get(s, "required"), i, value) if (json_is_string(value))
	    add_name(json_string_value(value));
}

static json_t *in_order(json_t *v)
{
	const char *key;
	json_t *value, *out;
	size_t i;
	if (json_is_array(v)) {
		out = json_array();
		json_array_foreach(v, i, value) json_array_append_new(out, in_order(value));
		return out;
	}
	if (!json_is_object(v))
		return json_incref(v);
	out = json_object();
	for (i = 0; i < n_names; i++)
		if ((value = json_object_get(v, names[i])) != NULL)
			json_object_set_new(out, names[i], in_order(value));
	json_object_foreach(v, key, value) if (json_object_get(out, key) == NULL)
	    json_object_set_new(out, key, in_order(value));
	return out;
}

typedef struct tally {
	int groups, unsupported, right_yes, right_no, narrow, written;
} tally;

/* A sentence of the grammar, by a walk that likes to finish. False where it does not within the steps. */
static bool write_sentence(hth_grammar *g, hth_rng *rng, hth_buf *out)
{
	static const char liked[] = "\"\"\"\"}}}]]],:0123456789abcdefgtrufalsn -.\\T";
	hth_grammar_matcher *m = NULL;
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_grammar_matcher_create(&m, g, &err));
	bool done = false;
	for (int step = 0; step < 1500 && m != NULL && !done; step++) {
		bool moved = false;
		if (hth_grammar_may_end(m) && (hth_grammar_must_end(m) || hth_rng_next(rng) % 3 == 0)) {
			done = true;
			break;
		}
		for (int tries = 0; tries < 60 && !moved; tries++) {
			char c = liked[hth_rng_next(rng) % (sizeof liked - 1)];
			moved = hth_grammar_accept_bytes(m, &c, 1) && hth_buf_append_char(out, c);
		}
		for (int c = 0; c < 256 && !moved; c++) {
			char byte = (char)(c + 32);
			moved = hth_grammar_accept_bytes(m, &byte, 1) && hth_buf_append_char(out, byte);
		}
		if (!moved) {
			done = hth_grammar_may_end(m);
			if (!done && hth_buf_append_char(out, '\0'))
				test_fail(__FILE__, __LINE__, "nothing follows %s", out->data);
			break;
		}
	}
	hth_grammar_matcher_destroy(m);
	return done;
}

static void check_written(const json_t *schema, hth_grammar *g, hth_rng *rng, const char *what, tally *t)
{
	hth_buf text = HTH_BUF_INIT(1 << 16);
	hth_error err = HTH_ERROR_INIT;
	if (write_sentence(g, rng, &text)) {
		json_error_t e;
		HTH_AUTO_JSON json_t *v = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
		bool accepts = false;
		hth_status status = v ? hth_schema_accepts(schema, v, &accepts, &err) : HTH_INVALID;
		/* Keys of one's own choice may come twice; the parser keeps the last, which may then miss a count. */
		if (v == NULL || (status == HTH_OK && !accepts && strstr(text.data, "\"\":") == NULL))
			test_fail(__FILE__, __LINE__, "%s: wrote %s", what, text.data);
		t->written++;
	}
	hth_buf_finish(&text);
}

static void run_group(const char *file, const json_t *group, hth_rng *rng, tally *t)
{
	const json_t *schema = json_object_get(group, "schema");
	const char *description = json_string_value(json_object_get(group, "description"));
	hth_grammar *g = NULL;
	hth_error err = HTH_ERROR_INIT;
	json_t *test;
	size_t i;
	hth_status status = grammar_of(schema, &g, &err);
	t->groups++;
	CHECK(status == HTH_OK || err.message[0] != '\0');
	if (status == HTH_UNSUPPORTED || status == HTH_TOO_LARGE ||
	    (status == HTH_INVALID && strstr(err.message, "leads to no schema"))) {
		t->unsupported++;
		return;
	}
	n_names = 0;
	collect_names(schema);
	json_array_foreach(json_object_get(group, "tests"), i, test)
	{
		HTH_AUTO_JSON json_t *v = in_order(json_object_get(test, "data"));
		bool valid = json_is_true(json_object_get(test, "valid"));
		hth_buf text = HTH_BUF_INIT(1 << 20);
		hth_json_write(v, &text);
		bool said = g != NULL && sentence(g, text.data, text.len);
		if (said && !valid)
			test_fail(__FILE__, __LINE__, "%s, %s: %.300s is allowed", file, description, text.data);
		t->right_yes += said && valid;
		t->right_no += !said && !valid;
		t->narrow += !said && valid;
		hth_buf_finish(&text);
	}
	if (g != NULL)
		check_written(schema, g, rng, file, t);
	hth_grammar_destroy(g);
}

static void run_files(const char *shared, const char *glob_pattern, tally *t)
{
	char pattern[4096];
	const char *probe = test_shared(shared);
	glob_t found;
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	if (probe == NULL)
		SKIP("no ../shared");
	snprintf(pattern, sizeof pattern, "%.*s%s", (int)(strlen(probe) - strlen(strrchr(shared, '/'))), probe,
	         glob_pattern);
	REQUIRE(glob(pattern, 0, NULL, &found) == 0);
	for (size_t f = 0; f < found.gl_pathc; f++) {
		json_error_t e;
		HTH_AUTO_JSON json_t *file = json_load_file(found.gl_pathv[f], JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
		const char *name = strrchr(found.gl_pathv[f], '/') + 1;
		json_t *group;
		size_t i;
		/* A test that the format's own drafts answer differently. */
		if (file == NULL || strcmp(name, "vocabulary.json") == 0 || strstr(name, "o24544") != NULL)
			continue;
		if (!json_is_array(file))
			run_group(name, file, &rng, t);
		json_array_foreach(file, i, group) run_group(name, group, &rng, t);
	}
	globfree(&found);
	printf("# %s: %d schemas, %d refused as not supported; instances: %d rightly allowed, %d rightly not, %d valid "
	       "ones narrowed away; %d "
	       "sentences written\n",
	       glob_pattern, t->groups, t->unsupported, t->right_yes, t->right_no, t->narrow, t->written);
}

TEST(the_public_suite_of_2020_12_holds)
{
	tally t = {0};
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft2020-12/type.json", "/*.json", &t);
	if (t.groups > 0)
		CHECK(t.right_yes >= 160 && t.right_no >= 170 && t.narrow <= 6 && t.unsupported <= 56);
}

TEST(the_public_suites_of_older_drafts_hold)
{
	tally t = {0};
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft7/ref.json", "/*.json", &t);
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft4/enum.json", "/*.json", &t);
	if (t.groups > 0)
		CHECK(t.right_yes >= 334 && t.right_no >= 231 && t.narrow <= 10 && t.unsupported <= 30);
}

TEST(the_public_suites_formats_hold)
{
	tally t = {0};
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft2020-12/optional/format/date.json", "/date*.json", &t);
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft2020-12/optional/format/date.json", "/duration.json", &t);
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft7/optional/format/time.json", "/time.json", &t);
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft4/optional/format/ipv4.json", "/ipv*.json", &t);
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft4/optional/format/ipv4.json", "/uri.json", &t);
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft2020-12/optional/format/date.json", "/uri-ref*.json", &t);
	run_files("material/jsonschema/JSON-Schema-Test-Suite/draft7/optional/format/time.json", "/relative*.json", &t);
	if (t.groups > 0)
		CHECK(t.right_yes >= 123 && t.right_no >= 210 && t.narrow <= 9 && t.unsupported == 0);
}

TEST(schemas_as_people_write_them_hold)
{
	tally t = {0};
	run_files("material/jsonschema/maskbench_sample/README.md", "/*.json", &t);
	if (t.groups > 0)
		CHECK(t.right_yes >= 325 && t.right_no >= 400 && t.narrow <= 4 && t.unsupported <= 25);
}

TEST(several_schemas_share_one_grammar)
{
	HTH_AUTO_JSON json_t *a =
	    parse("{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}},\"required\":[\"x\"]}");
	HTH_AUTO_JSON json_t *b =
	    parse("{\"$defs\":{\"s\":{\"enum\":[\"u\",\"v\"]}},\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/s\"}}");
	hth_schema_set *set = NULL;
	hth_error err = HTH_ERROR_INIT;
	char ra[32], rb[32];
	REQUIRE_OK(hth_schema_set_create(&set, &err));
	CHECK_OK(hth_schema_set_add(set, a, ra, &err));
	CHECK_OK(hth_schema_set_add(set, b, rb, &err));
	hth_buf text = HTH_BUF_INIT(1 << 20);
	hth_buf_append_str(&text, "root ::= ");
	hth_schema_literal("<a \"\n", 5, &text);
	hth_buf_appendf(&text, " %s | \"<b>\" %s\n", ra, rb);
	CHECK_OK(hth_schema_set_write(set, &text, &err));
	hth_grammar *g = NULL;
	REQUIRE_OK(hth_grammar_compile(&g, NULL, text.data, text.len, &err));
	CHECK(sentence(g, "<a \"\n{\"x\": 1}", 13));
	CHECK(sentence(g, "<b>[\"u\",\"v\"]", 12));
	CHECK(!sentence(g, "<b>{\"x\":1}", 10));
	hth_grammar_destroy(g);
	hth_buf_finish(&text);
	hth_schema_set_destroy(set);
}

TEST(patterns_match_as_ecma_262_says)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} cases[] = {{"^[a-z]+$", "abc", true},
	             {"^[a-z]+$", "abc1", false},
	             {"a+", "xxaay", true},
	             {"^a|b$", "ax", true},
	             {"^a|b$", "xb", true},
	             {"^a|b$", "xbx", false},
	             {"^(foo|bar){2,3}$", "foobar", true},
	             {"^(foo|bar){2,3}$", "foo", false},
	             {"^$", "", true},
	             {"", "zz", true},
	             {"^.*$", "a\nb", false},
	             {"^\\S(.*\\S)?$", " b", false},
	             {"^[^\\d]+$", "a1", false},
	             {"^\\uD83D\\uDC32*$", "\xF0\x9F\x90\xB2\xF0\x9F\x90\xB2", true},
	             {"x{2}$", "axxy", false},
	             {"(^a)(b$)", "ab", true},
	             {"a{,3}", "a{,3}", true},
	             {"^[a-]$", "-", true},
	             {"^(a|ab)(c|bcd)(d*)$", "abcd", true},
	             {"^a*?b??$", "aab", true},
	             {"^(?:a|(?<n>b))$", "b", true},
	             {"^\\cA\\x41\\u{42}$",
	              "\x01"
	              "AB",
	              true},
	             {"^[\\w-]+$", "a-b_1", true},
	             {"^\\p{", "x", false}};
	for (size_t i = 0; i + 1 < HTH_COUNT(cases); i++) {
		hth_lang l = {0};
		hth_error err = HTH_ERROR_INIT;
		CHECK_OK(hth_lang_pattern(&l, cases[i].pattern, strlen(cases[i].pattern), &err));
		if (hth_lang_matches(&l, cases[i].text, strlen(cases[i].text)) != cases[i].matches)
			test_fail(__FILE__, __LINE__, "%s on %s", cases[i].pattern, cases[i].text);
		hth_lang_finish(&l);
	}
}

TEST_MAIN()
