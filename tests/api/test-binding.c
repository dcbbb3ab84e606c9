/* test-binding.c - the grammars of tool calls and schemas: every sentence of a family's grammar is read back as the calls that it may
 * be. */
#include "api/binding.h"
#include "api/call-grammar.h"
#include "api/fields.h"
#include "base/rng.h"
#include "engine/grammar/grammar.h"

#include "api-world.h"

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"place\":{\"type\":\"string\",\"enum\":[\"Oslo\",\"Rome\"]},\"days\":{\"type\":\"integer\",\"minimum\":1,"
    "\"maximum\":9},\"why\":{\"type\":\"string\"}},\"required\":[\"place\",\"days\"],\"additionalProperties\":false}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\",\"parameters\":{\"type\":\"object\",\"properties\":{},"
    "\"additionalProperties\":false}}}]";

/* Words of the published templates that give each family away. */
static const char *const templates[] = {
    "",
    "<tool_call>",
    "<tool_call> <think> </think>",
    "<function= <parameter=",
    "<function=",
    "<seed:tool_call> <function= <parameter= <seed:think>",
    "<arg_key> <think>",
    "<minimax:tool_call>",
    "｜DSML｜",
    "<|python_tag|> ipython <|start_header_id|>",
    "[TOOL_CALLS]",
    "[TOOL_CALLS] [ARGS] [THINK]",
    "[TOOL_CALLS] [CALL_ID] [ARGS]",
    "<｜tool▁call▁begin｜> ```json",
    "<｜tool▁call▁begin｜>",
    "<|tool_calls_section_begin|>",
    "<|channel|> <|message|>",
    ">>>all",
    "<|START_ACTION|> <|START_THINKING|>",
    "Action: tool_name",
    "<|tool_call|>",
    "<|tool_call|> <|/tool_call|>",
    "<TOOLCALL>",
    "<tool_calls>[",
    "<|tools_prefix|>",
    "functools[",
    "<|role_sep|> function call",
    "<|tool_call> <tool_call|>",
    "<|tool_call_start|>",
};

typedef struct bound {
	hth_request *request;
	hth_toolcalls_style style;
	hth_grammar *grammar;
} bound;

static void finish_bound(bound *b)
{
	hth_grammar_destroy(b->grammar);
	hth_request_unref(b->request);
}
#define BOUND __attribute__((cleanup(finish_bound))) bound

static hth_binding_cache *cache; /* NULL but where it is tested */

static bound bind(const char *source, const char *tools, bool must, const char *format)
{
	bound b = {.style = hth_toolcalls_detect(source, strlen(source))};
	hth_error err = HTH_ERROR_INIT;
	if (hth_request_create(&b.request, HTH_CHAT, &err) != HTH_OK)
		abort();
	b.request->input.tools_json = tools != NULL ? strdup(tools) : NULL;
	b.request->input.format_json = format != NULL ? strdup(format) : NULL;
	b.request->input.must_call = must;
	CHECK_OK(hth_binding_check(&b.request->input, "format", ".parameters", cache, &err));
	CHECK_OK(hth_binding_apply(b.request, &b.style, source, cache, &err));
	const char *text = b.request->params.grammar;
	if (text != NULL && hth_grammar_compile(&b.grammar, NULL, text, strlen(text), &err) != HTH_OK)
		test_fail(__FILE__, __LINE__, "%s: %s\n%s", source, err.message, text);
	return b;
}

static bool allows(const bound *b, const char *text)
{
	hth_grammar_matcher *m = NULL;
	hth_error err;
	if (b->grammar == NULL || hth_grammar_matcher_create(&m, b->grammar, &err) != HTH_OK)
		return false;
	bool ok = hth_grammar_accept_bytes(m, text, strlen(text)) && hth_grammar_may_end(m);
	hth_grammar_matcher_destroy(m);
	return ok;
}

/* A random sentence: bytes of a small alphabet that the grammar takes, ending soon after it may. */
static bool write_sentence(const bound *b, hth_rng *rng, hth_buf *out)
{
	static const char likely[] = "\"}]<>/|{:, \nabcdefghijklmnopqrstuvwxyzORT_[(123456789AZ=.;";
	hth_grammar_matcher *m = NULL;
	hth_error err;
	/* A random walk finds its way out of gpt-oss's reasoning too rarely. */
	const char *start = b->style.format == HTH_TOOLCALLS_HARMONY ? "<|channel|>commentary" : "";
	hth_buf_clear(out);
	hth_buf_append_str(out, start);
	if (hth_grammar_matcher_create(&m, b->grammar, &err) != HTH_OK || !hth_grammar_accept_bytes(m, start, strlen(start)))
		return false;
	while (out->len < 20000 && !hth_grammar_must_end(m) && !(hth_grammar_may_end(m) && hth_rng_next(rng) % 3 == 0)) {
		bool went = false;
		for (unsigned tries = 0; tries < 200 + 256 && !went; tries++) {
			char c = tries < 200 ? likely[hth_rng_next(rng) % (sizeof likely - 1)] : (char)(tries - 200);
			went = hth_grammar_accept_bytes(m, &c, 1);
			if (went)
				hth_buf_append_char(out, c);
		}
		if (!went)
			break;
	}
	bool whole = hth_grammar_may_end(m);
	hth_grammar_matcher_destroy(m);
	return whole;
}

static struct {
	hth_buf content, arguments[HTH_TOOLCALLS_MAX];
	char names[HTH_TOOLCALLS_MAX][32];
	size_t n;
} heard;
static void hear_content(void *ctx, const char *text, size_t len, uint64_t at) { hth_buf_append(&heard.content, text, len); }
static void hear_reasoning(void *ctx, const char *text, size_t len) {}
static void hear_call(void *ctx, size_t i, const char *id, const char *name)
{
	snprintf(heard.names[i], sizeof heard.names[i], "%s", name);
	heard.arguments[i] = HTH_BUF_INIT(1 << 20);
	heard.n = i + 1;
}
static void hear_arguments(void *ctx, size_t i, const char *text, size_t len) { hth_buf_append(&heard.arguments[i], text, len); }
static void forget(void)
{
	hth_buf_finish(&heard.content);
	for (size_t i = 0; i < heard.n; i++)
		hth_buf_finish(&heard.arguments[i]);
	memset(&heard, 0, sizeof heard);
	heard.content = HTH_BUF_INIT(1 << 20);
}

static void hear(const bound *b, const char *text, size_t len)
{
	HTH_AUTO_JSON json_t *tools = json_loads(b->request->input.tools_json, 0, NULL);
	const hth_toolcalls_options options = {.calls = true, .tools = tools};
	const hth_toolcalls_sink sink = {NULL, hear_content, hear_reasoning, hear_call, hear_arguments};
	hth_toolcalls *p = NULL;
	hth_error err;
	forget();
	REQUIRE_OK(hth_toolcalls_create(&p, &b->style, &options, &sink, &err));
	CHECK(hth_toolcalls_feed(p, text, len));
	hth_toolcalls_end(p, true);
	hth_toolcalls_destroy(p);
}

static bool arguments_fit(const bound *b, size_t i)
{
	HTH_AUTO_JSON json_t *tools = json_loads(b->request->input.tools_json, 0, NULL);
	HTH_AUTO_JSON json_t *value = json_loadb(heard.arguments[i].data, heard.arguments[i].len, 0, NULL);
	for (size_t k = 0; k < json_array_size(tools); k++) {
		const json_t *f = json_object_get(json_array_get(tools, k), "function");
		bool ok = false;
		hth_error err;
		if (strcmp(json_string_value(json_object_get(f, "name")), heard.names[i]) == 0)
			return value != NULL && hth_schema_accepts(json_object_get(f, "parameters"), value, &ok, &err) == HTH_OK && ok;
	}
	return false;
}

TEST(every_sentence_of_a_familys_grammar_is_read_back_as_calls)
{
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	hth_buf text = HTH_BUF_INIT(1 << 16);
	for (size_t i = 0; i < HTH_COUNT(templates); i++) {
		BOUND b = bind(templates[i], tools_text, true, NULL);
		unsigned whole = 0;
		for (unsigned k = 0; k < 80 && b.grammar != NULL; k++) {
			if (!write_sentence(&b, &rng, &text))
				continue; /* it went on for too long */
			whole++;
			hear(&b, text.data, text.len);
			bool ok = heard.n > 0 && heard.n <= HTH_CALL_GRAMMAR_CALLS_MAX && heard.content.len == 0;
			for (size_t c = 0; c < heard.n; c++)
				ok = ok && arguments_fit(&b, c);
			if (!ok) {
				test_fail(__FILE__, __LINE__, "%s: %.*s gives %zu calls, the first %s(%s), and says %s", templates[i],
				          (int)text.len, text.data, heard.n, heard.names[0], heard.n > 0 &&
				          heard.arguments[0].data != NULL ? heard.arguments[0].data : "",
				          heard.content.data != NULL ? heard.content.data : "");
				break;
			}
		}
		if (whole < 20)
			test_fail(__FILE__, __LINE__, "%s: only %u sentences", templates[i], whole);
	}
	hth_buf_finish(&text);
	forget();
	hth_buf_finish(&heard.content);
}

TEST(calls_are_written_as_the_families_write_them)
{
	static const struct {
		const char *source, *text;
	} cases[] = {
	    {"<tool_call>", "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"Oslo\", \"days\": "
	                    "3}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"},
	    {"<tool_call> <think>", "<think>\nhm < </thin\n</think>\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"},
	    {"<function= <parameter=", "<tool_call>\n<function=weather>\n<parameter=place>\nRome\n</parameter>\n<parameter=days>\n2\n"
	                               "</parameter>\n<parameter=why>\na < b\n\n</parameter>\n</function>\n</tool_call>"},
	    {"<|tool_call_start|>", "<|tool_call_start|>[weather(place=\"Oslo\", days=2, why=\"it's 5 < 6\"), now()]<|tool_call_end|>"},
	    {"<|python_tag|>", "{\"name\": \"now\", \"parameters\": {}}"},
	    {"[TOOL_CALLS] [ARGS]", "[TOOL_CALLS]weather[ARGS]{\"place\": \"Oslo\", \"days\": 1}[TOOL_CALLS]now[ARGS]{}"},
	    {"<|channel|> <|message|>", "<|channel|>analysis<|message|>We need it.<|end|><|start|>assistant<|channel|>commentary "
	                                "to=functions.now <|constrain|>json<|message|>{}"},
	    {"<｜tool▁call▁begin｜>", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		BOUND b = bind(cases[i].source, tools_text, true, NULL);
		if (!allows(&b, cases[i].text))
			test_fail(__FILE__, __LINE__, "%s refuses %s", cases[i].source, cases[i].text);
		CHECK(!allows(&b, "") && !allows(&b, "hello") && !allows(&b,
		                                                         "<tool_call>\n{\"name\": \"other\", \"arguments\": "
		                                                         "{}}\n</tool_call>"));
	}
	BOUND b = bind("<tool_call>", tools_text, true, NULL);
	CHECK(!allows(&b, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"Paris\", \"days\": 3}}\n</tool_call>"));
	CHECK(b.request->params.grammar_trigger == NULL);
}

static bool same(const char *a, const char *b) { return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0); }

TEST(what_was_bound_before_is_bound_alike_from_the_cache)
{
	static const struct {
		const char *source;
		const char *tools;
		bool must;
		const char *format;
	} cases[] = {{"<tool_call>", tools_text, true, NULL}, {"<tool_call>", tools_text, false, NULL},
	             {"<tool_call> <think> </think>", tools_text, true, NULL},
	             {"｜DSML｜", tools_text, true, NULL}, {"", NULL, false, "{\"type\":\"integer\"}"}, {"", tools_text, false, NULL}};
	hth_error err;
	for (int kept = 0; kept < 2; kept++) {
		for (size_t i = 0; i < HTH_COUNT(cases); i++) {
			BOUND plain = bind(cases[i].source, cases[i].tools, cases[i].must, cases[i].format);
			if (cache == NULL)
				REQUIRE_OK(hth_binding_cache_create(&cache, &err));
			BOUND again = bind(cases[i].source, cases[i].tools, cases[i].must, cases[i].format);
			const hth_request_params *a = &plain.request->params, *b = &again.request->params;
			CHECK(same(b->grammar, a->grammar));
			CHECK(same(b->grammar_trigger, a->grammar_trigger));
			CHECK(same(b->grammar_trigger_if, a->grammar_trigger_if));
			CHECK_INT(again.style.format, plain.style.format);
			if (kept == 0 && i + 1 < HTH_COUNT(cases)) {
				hth_binding_cache *full = cache;
				cache = NULL; /* the next plain one is made anew */
				hth_binding_cache_destroy(full);
			}
		}
	}
	/* More than it holds: the latest stay right. */
	for (int i = 0; i < 100; i++) {
		char schema[64];
		snprintf(schema, sizeof schema, "{\"const\":%d}", i);
		BOUND b = bind("", NULL, false, schema);
		char text[8];
		snprintf(text, sizeof text, "%d", i);
		CHECK(allows(&b, text) && !allows(&b, "-1"));
	}
	hth_binding_cache_destroy(cache);
	cache = NULL;
}

TEST(a_copy_of_a_bound_request_is_bound_anew)
{
	BOUND b = bind("<tool_call>", tools_text, false, NULL);
	hth_request *next;
	hth_error err;
	REQUIRE_OK(hth_request_create(&next, HTH_CHAT, &err));
	CHECK_OK(hth_fields_copy_chat(&next->input, &b.request->input, &err));
	CHECK_OK(hth_fields_copy_params(&next->params, &b.request->params, 0, &err));
	CHECK(next->params.grammar == NULL);
	CHECK_OK(hth_binding_apply(next, &b.style, "<tool_call>", NULL, &err));
	CHECK_STR(next->params.grammar, b.request->params.grammar);
	CHECK_STR(next->params.grammar_trigger, "<tool_call>");
	hth_request_unref(next);
	/* One that the client brought goes along. */
	REQUIRE_OK(hth_request_create(&next, HTH_CHAT, &err));
	hth_request_params from = {.grammar = "root ::= [a]"};
	CHECK_OK(hth_fields_copy_params(&next->params, &from, 0, &err));
	CHECK_STR(next->params.grammar, "root ::= [a]");
	hth_request_unref(next);
}

TEST(one_call_is_one_call)
{
	const char *two = "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}", *one = "[TOOL_CALLS]now[ARGS]{}",
	    *source = "[TOOL_CALLS] [ARGS]";
	for (int k = 0; k < 2; k++) {
		bound b = {.style = hth_toolcalls_detect(source, strlen(source))};
		hth_error err;
		REQUIRE_OK(hth_request_create(&b.request, HTH_CHAT, &err));
		hth_request_input *input = &b.request->input;
		input->tools_json = strdup(tools_text);
		input->must_call = true;
		input->one_call = k == 0;
		input->must_call_name = k == 1 ? strdup("now") : NULL;
		CHECK_OK(hth_binding_apply(b.request, &b.style, source, cache, &err));
		CHECK_OK(hth_grammar_compile(&b.grammar, NULL, b.request->params.grammar, strlen(b.request->params.grammar), &err));
		CHECK(allows(&b, one) && !allows(&b, two));
		CHECK(allows(&b, "[TOOL_CALLS]weather[ARGS]{\"place\": \"Oslo\", \"days\": 1}") == (k == 0));
		finish_bound(&b);
	}
}

TEST(a_schema_binds_the_text_and_lets_the_model_think_first)
{
	const char *schema = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],"
	                     "\"additionalProperties\":false}";
	BOUND plain = bind("", NULL, false, schema);
	CHECK(allows(&plain, "{\"a\": 1}") && !allows(&plain, "{}") && !allows(&plain, "<think>x</think>{\"a\": 1}"));
	CHECK(plain.request->params.grammar_trigger == NULL);
	BOUND thinks = bind("<think></think>", NULL, false, schema);
	CHECK(allows(&thinks, "{\"a\": 1}") && allows(&thinks, "<think>\nx\n</think>\n\n{\"a\": 1}") && allows(&thinks, "\n\n{\"a\": 1}"));
	CHECK_STR(thinks.request->params.grammar_trigger, "</think>");
	CHECK_STR(thinks.request->params.grammar_trigger_if, "<think>");
	BOUND harmony = bind("<|channel|> <|message|>", NULL, false, schema);
	CHECK(allows(&harmony, "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>{\"a\": 1}"));
	BOUND both = bind("<tool_call>", tools_text, false, schema);
	CHECK(allows(&both, "{\"a\": 1}") && allows(&both, "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"));
}

TEST(a_model_that_may_choose_is_bound_once_it_has_begun_a_call)
{
	BOUND b = bind("<tool_call>", tools_text, false, NULL);
	CHECK_STR(b.request->params.grammar_trigger, "<tool_call>");
	CHECK(allows(&b, "\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"));
	/* What its family does not mark, or nobody taught it, is not bound. */
	BOUND bare = bind("<|python_tag|>", tools_text, false, NULL), none = bind("", tools_text, false, NULL);
	CHECK(bare.request->params.grammar == NULL && none.request->params.grammar == NULL);
	/* A schema that no grammar carries promised nothing here. */
	BOUND loose = bind("<tool_call>", "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
	                                  "\"dependentRequired\":{\"a\":[\"b\"]}}}}]", false, NULL);
	CHECK(allows(&loose, "\n{\"name\": \"f\", \"arguments\": {\"x\": [1]}}\n</tool_call>"));
}

/* The JSON of a file in the goldens; NULL where they are not. */
static json_t *golden(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/goldens/templates/%s", getenv("HEARTH_SHARED") != NULL ? getenv("HEARTH_SHARED") : "../shared",
	         name);
	return json_load_file(path, 0, NULL);
}

TEST(what_published_templates_write_for_a_past_call_is_a_sentence)
{
	static const char *const names[] = {"Apertus-8B-Instruct", "Bielik-11B-v3.0-Instruct", "Cohere2MoE",
	                                    "CohereForAI-c4ai-command-r7b-12-2024-tool_use", "GLM-4.7-Flash",
	                                    "GigaChat3-10B-A1.8B", "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
	                                    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "Qwen-Qwen2.5-7B-Instruct",
	                                    "Qwen3-Coder", "Reka-Edge", "deepseek-ai-DeepSeek-V3.1", "deepseek-ai-DeepSeek-V4",
	                                    "google-gemma-4-31B-it", "meetkai-functionary-medium-v3.1",
	                                    "meta-llama-Llama-3.1-8B-Instruct", "mistralai-Ministral-3-14B-Reasoning-2512",
	                                    "moonshotai-Kimi-K2", "stepfun-ai-Step-3.5-Flash",
	                                    "unsloth-mistral-Devstral-Small-2507"};
	HTH_AUTO_JSON json_t *cases = golden("cases.json");
	if (cases == NULL)
		SKIP("there are no goldens here");
	char *tools = json_dumps(json_object_get(json_object_get(cases, "tool_result"), "tools"), JSON_COMPACT);
	for (size_t i = 0; i < HTH_COUNT(names); i++) {
		char path[4096], file[128];
		snprintf(file, sizeof file, "%s.json", names[i]);
		HTH_AUTO_JSON json_t *rendered = golden(file);
		const char *text = json_string_value(json_object_get(json_object_get(json_object_get(rendered, "cases"), "tool_result"),
		                                                     "text"));
		snprintf(path, sizeof path, "%s/goldens/templates/%s.jinja",
		         getenv("HEARTH_SHARED") != NULL ? getenv("HEARTH_SHARED") : "../shared", names[i]);
		FILE *f = fopen(path, "r");
		REQUIRE(f != NULL && text != NULL);
		static char source[1 << 17];
		source[fread(source, 1, sizeof source - 1, f)] = '\0';
		fclose(f);
		BOUND b = bind(source, tools, true, NULL);
		bool found = false;
		hth_grammar_matcher *m = NULL;
		hth_error err;
		REQUIRE_OK(hth_grammar_matcher_create(&m, b.grammar, &err));
		for (size_t at = 0; text[at] != '\0' && !found; at++) {
			size_t end = at;
			hth_grammar_matcher_reset(m);
			while (text[end] != '\0' && !found && hth_grammar_accept_bytes(m, text + end, 1)) {
				found = hth_grammar_may_end(m);
				end++;
			}
			if (!found)
				continue;
			hear(&b, text + at, end - at);
			CHECK(heard.n == 1 && strcmp(heard.names[0], "get_weather") == 0);
			HTH_AUTO_JSON json_t *arguments = heard.n > 0 ? json_loadb(heard.arguments[0].data, heard.arguments[0].len, 0, NULL)
			                                              : NULL;
			CHECK_STR(json_string_value(json_object_get(arguments, "place")), "Oslo");
		}
		hth_grammar_matcher_destroy(m);
		if (!found)
			test_fail(__FILE__, __LINE__, "%s: nothing in %s is a sentence", names[i], text);
	}
	free(tools);
	forget();
	hth_buf_finish(&heard.content);
}

#define CHAT "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
#define BAD_SCHEMA "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"unevaluatedItems\":false}}}"

TEST(what_cannot_be_bound_is_refused_by_name_and_place)
{
	static const struct {
		const char *path, *body, *param, *word;
	} cases[] = {
	    {"/v1/chat/completions", CHAT "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":"
	     BAD_SCHEMA "}}}", "response_format", "unevaluatedItems"},
	    {"/v1/chat/completions", CHAT "\"response_format\":{\"type\":\"json_schema\"}}", "response_format", "schema"},
	    {"/v1/chat/completions", CHAT "\"response_format\":{\"type\":\"yaml\"}}", "response_format", "yaml"},
	    {"/v1/chat/completions", CHAT "\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
	                                  "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":" BAD_SCHEMA "}}]}",
	     "tools[1].function.parameters", "unevaluatedItems"},
	    {"/v1/chat/completions", CHAT "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\",\"strict\":true,\"parameters\":"
	     BAD_SCHEMA "}}]}", "tools[0].function.parameters", "unevaluatedItems"},
	    {"/v1/chat/completions", CHAT "\"tool_choice\":\"required\"}", "tool_choice", "no tools"},
	    {"/v1/chat/completions", CHAT "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"h\"}},"
	                                  "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}", "tool_choice", "h"},
	    {"/v1/chat/completions", CHAT "\"grammar\":\"root ::= \\\"a\\\"\",\"response_format\":{\"type\":\"json_object\"}}", "grammar",
	     "twice"},
	    {"/v1/completions", "{\"prompt\":\"x\",\"json_schema\":" BAD_SCHEMA "}", "json_schema", "unevaluatedItems"},
	    {"/v1/responses", "{\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":" BAD_SCHEMA "}}}",
	     "text.format", "unevaluatedItems"},
	    {"/v1/responses", "{\"input\":\"x\",\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\",\"name\":\"g\","
	                      "\"parameters\":" BAD_SCHEMA "}]}", "tools[0].parameters", "unevaluatedItems"},
	    {"/v1/messages", "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tool_choice\":{\"type\":\"any\"},"
	                     "\"tools\":[{\"name\":\"g\",\"input_schema\":" BAD_SCHEMA "}]}",
	     "tools[0].input_schema", "unevaluatedItems"},
	    {"/v1/messages", "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tool_choice\":{\"type\":\"tool\"}}",
	     "tool_choice", "name"},
	    {"/v1/messages", "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"mcp_servers\":[{}]}", "mcp_servers",
	     "supported"},
	    {"/v1/messages", "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"thread\":{\"type\":\"create\"}}",
	     "thread", "without thread"},
	    {"/v1/responses", "{\"input\":\"x\",\"background\":true}", "background", "supported"},
	    {"/v1/responses", "{\"input\":\"x\",\"text\":5}", "text", "an object"},
	    {"/v1/responses", "{\"input\":\"x\",\"reasoning\":[]}", "reasoning", "an object"},
	    {"/v1/responses", "{\"input\":\"x\",\"include\":\"all\"}", "include", "an array"},
	    {"/v1/completions", "{\"prompt\":\"x\",\"stream_options\":true}", "stream_options", "an object"},
	    {"/v1/chat/completions", CHAT "\"stream_options\":true}", "stream_options", "an object"},
	    {"/v1/messages", "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"output_config\":\"json\"}",
	     "output_config", "an object"},
	    {"/v1/chat/completions", CHAT "\"functions\":[{\"name\":\"f\"}]}", "functions", "tools"},
	    {"/v1/chat/completions", CHAT "\"web_search_options\":{}}", "web_search_options", "supported"},
	    {"/api/chat", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"format\":" BAD_SCHEMA "}", "format",
	     "unevaluatedItems"},
	    {"/api/generate", "{\"model\":\"m\",\"prompt\":\"x\",\"raw\":true,\"format\":\"xml\"}", "format", "schema"},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		hth_status status = call("POST", cases[i].path, cases[i].body);
		if ((status != HTH_INVALID && status != HTH_UNSUPPORTED) || strcmp(t.err.param, cases[i].param) != 0 ||
		    strstr(t.err.message, cases[i].word) == NULL)
			test_fail(__FILE__, __LINE__, "%s: %d, %s: %s", cases[i].body, status, t.err.param, t.err.message);
		over();
	}
}

TEST(each_family_says_what_must_be_called_in_its_own_words)
{
	static const char *const bodies[][2] = {
	    {"/v1/chat/completions", CHAT "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}},"
	                                  "\"parallel_tool_calls\":false,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
	                                  "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}"},
	    {"/v1/chat/completions", CHAT "\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\","
	                                  "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}},"
	                                  "\"parallel_tool_calls\":false,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
	                                  "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}"},
	    {"/v1/responses", "{\"input\":\"x\",\"tool_choice\":{\"type\":\"function\",\"name\":\"g\"},\"parallel_tool_calls\":false,"
	                      "\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"function\",\"name\":\"g\"}]}"},
	    {"/v1/messages", "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tool_choice\":{\"type\":\"tool\","
	                     "\"name\":\"g\",\"disable_parallel_tool_use\":true},\"tools\":[{\"name\":\"f\",\"input_schema\":{}},"
	                     "{\"name\":\"g\",\"input_schema\":{}}]}"},
	};
	for (size_t i = 0; i < HTH_COUNT(bodies); i++) {
		if (call("POST", bodies[i][0], bodies[i][1]) != HTH_OK) {
			test_fail(__FILE__, __LINE__, "%s: %s", bodies[i][0], t.err.message);
			continue;
		}
		CHECK(request(0)->input.must_call && request(0)->input.one_call);
		placed("<tool_call>");
		hth_grammar *grammar = NULL;
		hth_error err;
		REQUIRE_OK(hth_grammar_compile(&grammar, NULL, request(0)->params.grammar, strlen(request(0)->params.grammar), &err));
		bound b = {.grammar = grammar};
		CHECK(allows(&b, "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"any\": 1}}\n</tool_call>"));
		CHECK(!allows(&b, "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"));
		hth_grammar_destroy(grammar);
		over();
	}
	/* n answers are all bound. */
	CHECK_INT(call("POST", "/v1/chat/completions", CHAT "\"n\":2,\"response_format\":{\"type\":\"json_object\"}}"), HTH_OK);
	CHECK_STR(request(1)->input.format_json, "{\"type\":\"object\"}");
	over();
	CHECK_INT(call("POST", "/v1/completions", "{\"prompt\":\"x\",\"grammar\":\"root ::= \\\"a\\\"\"}"), HTH_OK);
	CHECK_STR(request(0)->params.grammar, "root ::= \"a\"");
	over();
}

TEST_MAIN()
