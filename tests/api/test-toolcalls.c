/* Answers of every family, as they stream: in one piece, byte by byte, and in odd pieces, with the same events each time. */
#include "api/toolcalls.h"

#include "harness.h"

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"place\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"exact\":{\"type\":\"boolean\"},\"list\":{\"type\":\"array\"}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"run\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"code\":{\"type\":\"string\"}}}}},{\"type\":\"function\",\"function\":{\"name\":\"python\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"}}}}},{\"type\":\"function\","
    "\"function\":{\"name\":\"now\"}}]";

/* C[...] content, R[...] reasoning, name(...) a call; neighbours of one kind are joined. */
typedef struct event_log {
	hth_buf text;
	char last;
	char ids[512];
	bool empty_event;
} event_log;

static void close_event(event_log *l)
{
	if (l->last == 'C' || l->last == 'R')
		hth_buf_append_str(&l->text, "]");
	if (l->last == 'T')
		hth_buf_append_str(&l->text, ")");
	l->last = 0;
}
static void add(event_log *l, char kind, const char *text, size_t len)
{
	if (l->last != kind) {
		close_event(l);
		hth_buf_append_char(&l->text, kind);
		hth_buf_append_char(&l->text, '[');
		l->last = kind;
	}
	l->empty_event |= len == 0;
	hth_buf_append(&l->text, text, len);
}
static const char *fed; /* what read_answer feeds */
static void on_content(void *ctx, const char *text, size_t len, uint64_t at)
{
	CHECK(memcmp(fed + at, text, len) == 0);
	add(ctx, 'C', text, len);
}
static void on_reasoning(void *ctx, const char *text, size_t len) { add(ctx, 'R', text, len); }
static void on_call(void *ctx, size_t index, const char *id, const char *name)
{
	event_log *l = ctx;
	close_event(l);
	hth_buf_appendf(&l->text, "%zu:%s(", index, name);
	snprintf(l->ids + strlen(l->ids), sizeof l->ids - strlen(l->ids), "%s ", id);
	l->last = 'T';
}
static void on_arguments(void *ctx, size_t index, const char *text, size_t len)
{
	event_log *l = ctx;
	if (l->last != 'T')
		hth_buf_append_str(&l->text, "<arguments out of place>");
	l->empty_event |= len == 0;
	hth_buf_append(&l->text, text, len);
}

static void read_answer(event_log *l, const hth_toolcalls_style *style, const hth_toolcalls_options *options, const char *text,
			size_t len, size_t piece, bool complete)
{
	hth_toolcalls_sink sink = {l, on_content, on_reasoning, on_call, on_arguments};
	hth_toolcalls *p = NULL;
	hth_error err = HTH_ERROR_INIT;
	*l = (event_log){.text = HTH_BUF_INIT(1 << 24)};
	fed = text;
	REQUIRE_OK(hth_toolcalls_create(&p, style, options, &sink, &err));
	for (size_t at = 0, n; at < len; at += n) {
		/* Never inside a character: pieces come from a detokenizer. */
		n = piece < len - at ? piece : len - at;
		while (at + n < len && ((unsigned char)text[at + n] & 0xC0) == 0x80)
			n++;
		CHECK(hth_toolcalls_feed(p, text + at, n));
	}
	hth_toolcalls_end(p, complete);
	close_event(l);
	hth_toolcalls_destroy(p);
	CHECK(!l->empty_event);
	if (l->text.data == NULL)
		hth_buf_append_str(&l->text, "");
}

typedef struct answer {
	hth_toolcalls_format format;
	const char *text, *events;
	bool thinks; /* the prompt opened the reasoning */
	bool cut;    /* the answer was cut off */
	const char *source; /* of the template, when the style is not just the format */
} answer;

static const answer answers[] = {
    /* plain text */
    {HTH_TOOLCALLS_HERMES, "Hello, world.\n", "C[Hello, world.\n]"},
    {HTH_TOOLCALLS_HERMES, "", ""},
    {HTH_TOOLCALLS_HERMES, "a < b <tool and <tool_", "C[a < b <tool and <tool_]"},
    {HTH_TOOLCALLS_HERMES, "Use `<think>` to think.", "C[Use `<think>` to think.]"},
    /* reasoning */
    {HTH_TOOLCALLS_HERMES, "<think>\nhm, é\n</think>\n\nHello", "R[hm, é]C[Hello]"},
    {HTH_TOOLCALLS_HERMES, "<think></think>\nHello", "C[Hello]"},
    {HTH_TOOLCALLS_HERMES, "so\nthen\n</think>\nHi </think>", "R[so\nthen]C[Hi </think>]", true},
    {HTH_TOOLCALLS_HERMES, "</think>\n\nHi", "C[Hi]"},
    {HTH_TOOLCALLS_HERMES, "<think>never ends", "R[never ends]", false, true},
    {HTH_TOOLCALLS_MISTRAL, "[THINK]a b[/THINK]c", "R[a b]C[c]", false, false, "[THINK] [TOOL_CALLS]"},
    {HTH_TOOLCALLS_FUNCTION, "<seed:think>x</seed:think>y", "R[x]C[y]", false, false, "<seed:think> <function="},
    {HTH_TOOLCALLS_GEMMA, "<|channel>thought\nx\n<channel|>y", "R[x]C[y]", false, false, "<|channel> <|tool_call> <tool_call|>"},
    /* Hermes, Qwen */
    {HTH_TOOLCALLS_HERMES, "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"place\": \"Oslo\"}}\n</tool_call>",
     "0:get_weather({\"place\": \"Oslo\"})"},
    {HTH_TOOLCALLS_HERMES, "Let me look.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
			   "{\"name\": \"run\", \"arguments\": {\"code\": \"a}\\\"b\"}}\n</tool_call>",
     "C[Let me look.]0:now({})1:run({\"code\": \"a}\\\"b\"})"},
    {HTH_TOOLCALLS_HERMES,
     "<think>\nx\n</think>\n\n<tool_call>{\"arguments\": {\"a\": [1, {\"b\": null}]}, \"name\": \"run\"}</tool_call>ok",
     "R[x]0:run({\"a\": [1, {\"b\": null}]})C[ok]"},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"run\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>", "0:run({\"a\": 1})"},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"now\"}</tool_call>", "0:now({})"},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"now\", \"arguments\": null}</tool_call>", "0:now({})"},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"now\", \"arguments\": {}}{\"name\": \"now\", \"arguments\": {}}</tool_call>",
     "0:now({})1:now({})"},
    {HTH_TOOLCALLS_HERMES,
     "<tool_call>[{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"run\", \"arguments\": {\"code\": \"1\"}}]</tool_call>",
     "0:now({})1:run({\"code\": \"1\"})"},
    {HTH_TOOLCALLS_HERMES,
     "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"run\", \"arguments\": {\"code\": \"x\"}}}</tool_call>",
     "0:run({\"code\": \"x\"})"},
    {HTH_TOOLCALLS_HERMES, "{\"name\": \"get_weather\", \"arguments\": {\"place\": \"Oslo\"}}", "0:get_weather({\"place\": \"Oslo\"})"},
    {HTH_TOOLCALLS_HERMES, "{\"name\": \"Ada\", \"arguments\": {\"born\": 1815}}",
     "C[{\"name\": \"Ada\", \"arguments\": {\"born\": 1815}}]"},
    /* what is malformed is content */
    {HTH_TOOLCALLS_HERMES, "<tool_call>oops</tool_call> more", "C[<tool_call>oops</tool_call> more]"},
    {HTH_TOOLCALLS_HERMES, "see <tool_call> {'name': 'x'}", "C[see <tool_call> {'name': 'x'}]"},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"run\", \"arguments\": 5}</tool_call>",
     "C[<tool_call>{\"name\": \"run\", \"arguments\": 5}</tool_call>]"},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"run\", \"arg", "C[<tool_call>{\"name\": \"run\", \"arg]", false, true},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"run\", \"arguments\": {\"code\": \"prin", "0:run({\"code\": \"prin)", false, true},
    {HTH_TOOLCALLS_HERMES, "<tool_call>{\"name\": \"run\", \"arguments\": {\"code\": \"1\"}", "0:run({\"code\": \"1\"})"},
    {HTH_TOOLCALLS_HERMES, "<tool_call>", "C[<tool_call>]"},
    {HTH_TOOLCALLS_HERMES, "{\"a\": 1, \"b\": [", "C[{\"a\": 1, \"b\": []"},
    {HTH_TOOLCALLS_HERMES, "[1, 2]", "C[[1, 2]]"},
    /* Qwen3-Coder, Nemotron, Seed-OSS */
    {HTH_TOOLCALLS_FUNCTION,
     "I will.\n<tool_call>\n<function=get_weather>\n<parameter=place>\nOslo \"x\"\n</parameter>\n<parameter=days>\n3\n"
			     "</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=list>\n[1, "
			     "2]\n</parameter>\n</function>\n</tool_call>",
     "C[I will.]0:get_weather({\"place\": \"Oslo \\\"x\\\"\", \"days\": 3, \"exact\": true, \"list\": [1, 2]})"},
    {HTH_TOOLCALLS_FUNCTION,
     "<tool_call>\n<function=run>\n<parameter=code>\nif a < b:\n\tprint(\"é\")\n\n</parameter>\n</function>\n</tool_call>",
     "0:run({\"code\": \"if a < b:\\n\\tprint(\\\"é\\\")\\n\"})"},
    {HTH_TOOLCALLS_FUNCTION, "<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
     "0:now({})1:now({})"},
    {HTH_TOOLCALLS_FUNCTION,
     "<seed:tool_call>\n<function=other>\n<parameter=q>1.5</parameter>\n<parameter=r>a b</parameter>\n</function>\n</seed:tool_call>",
     "0:other({\"q\": 1.5, \"r\": \"a b\"})"},
    {HTH_TOOLCALLS_FUNCTION, "<function=get_weather>{\"place\": \"Oslo\"}</function>", "0:get_weather({\"place\": \"Oslo\"})"},
    {HTH_TOOLCALLS_FUNCTION, "Write `<function=name>` there.", "C[Write `<function=name>` there.]"},
    {HTH_TOOLCALLS_FUNCTION, "<tool_call>\n<function=run>\n<parameter=code>\nhalf a", "0:run({\"code\": \"half a)", false, true},
    {HTH_TOOLCALLS_FUNCTION, "<tool_call>\n<function=run>\n<parameter=code>\nall</parameter>", "0:run({\"code\": \"all\"})"},
    {HTH_TOOLCALLS_FUNCTION, "<tool_call>\n<function=run>\nwhat?", "C[<tool_call>\n<function=run>\nwhat?]"},
    {HTH_TOOLCALLS_FUNCTION, "<tool_call>\n<function=run>\n<parameter=code>x</parameter>\nwhat?", "0:run({\"code\": \"x\"})C[what?]"},
    /* GLM */
    {HTH_TOOLCALLS_GLM, "ok\n<tool_call>get_weather\n<arg_key>place</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
			"<arg_value>2</arg_value>\n</tool_call>",
     "C[ok]0:get_weather({\"place\": \"Oslo\", \"days\": 2})"},
    {HTH_TOOLCALLS_GLM, "<tool_call>now</tool_call><tool_call>run<arg_key>code</arg_key><arg_value>5</arg_value></tool_call>",
     "0:now({})1:run({\"code\": \"5\"})"},
    {HTH_TOOLCALLS_GLM, "<tool_call>not a call", "C[<tool_call>not a call]"},
    /* MiniMax, DeepSeek 3.2 and 4 */
    {HTH_TOOLCALLS_INVOKE, "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"place\">Oslo</parameter>\n"
			   "<parameter name=\"days\">3</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
     "0:get_weather({\"place\": \"Oslo\", \"days\": 3})1:now({})"},
    {HTH_TOOLCALLS_INVOKE,
     "Yes.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"x\">\n<｜DSML｜parameter name=\"a\" string=\"true\">12</｜DSML｜parameter>\n"
			   "<｜DSML｜parameter name=\"b\" string=\"false\">{\"c\": "
			   "1}</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
     "C[Yes.]0:x({\"a\": \"12\", \"b\": {\"c\": 1}})"},
    {HTH_TOOLCALLS_INVOKE, "why</think>\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     "R[why]0:now({})", true},
    /* Llama 3 */
    {HTH_TOOLCALLS_LLAMA3, "{\"name\": \"get_weather\", \"parameters\": {\"place\": \"Oslo\"}}", "0:get_weather({\"place\": \"Oslo\"})"},
    {HTH_TOOLCALLS_LLAMA3, "{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}; {\"name\": \"now\", \"parameters\": {}}",
     "0:now({})1:now({})"},
    {HTH_TOOLCALLS_LLAMA3, "<|python_tag|>{\"name\": \"run\", \"parameters\": {\"code\": \"1\"}}", "0:run({\"code\": \"1\"})"},
    {HTH_TOOLCALLS_LLAMA3, "<|python_tag|>brave_search.call(query=\"rain in Oslo\")", "0:brave_search({\"query\": \"rain in Oslo\"})"},
    {HTH_TOOLCALLS_LLAMA3, "<|python_tag|>print(\"x\")\n", "0:python({\"code\": \"print(\\\"x\\\")\\n\"})"},
    {HTH_TOOLCALLS_LLAMA3, "{\"answer\": 42}", "C[{\"answer\": 42}]"},
    /* Mistral */
    {HTH_TOOLCALLS_MISTRAL,
     "[TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {\"place\": \"Oslo\"}}, {\"name\": \"now\", \"arguments\": {}}]",
     "0:get_weather({\"place\": \"Oslo\"})1:now({})"},
    {HTH_TOOLCALLS_MISTRAL, "Sure.[TOOL_CALLS]get_weather[ARGS]{\"place\": \"Oslo\"}[TOOL_CALLS]now[ARGS]{}",
     "C[Sure.]0:get_weather({\"place\": \"Oslo\"})1:now({})"},
    {HTH_TOOLCALLS_MISTRAL, "[TOOL_CALLS]now[CALL_ID]abc123456[ARGS]{}", "0:now({})"},
    {HTH_TOOLCALLS_MISTRAL, "[TOOL_CALLS]now{}", "0:now({})"},
    {HTH_TOOLCALLS_MISTRAL, "[TOOL_CALLS]oops", "C[[TOOL_CALLS]oops]"},
    /* DeepSeek R1, V3, V3.1 */
    {HTH_TOOLCALLS_DEEPSEEK, "x\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>", "C[x]0:now({})"},
    {HTH_TOOLCALLS_DEEPSEEK, "<think>x</think>\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
			     "{\"place\": \"Oslo\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```"
			     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "R[x]0:get_weather({\"place\": \"Oslo\"})1:now({})"},
    {HTH_TOOLCALLS_DEEPSEEK,
     "On it.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"place\": \"Oslo\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "C[On it.]0:get_weather({\"place\": \"Oslo\"})"},
    {HTH_TOOLCALLS_DEEPSEEK, "hm<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "R[hm]0:now({})", true},
    /* Kimi */
    {HTH_TOOLCALLS_KIMI,
     "Ok<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"place\": \"Oslo\"}"
     "<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
     "C[Ok]0:get_weather({\"place\": \"Oslo\"})1:now({})"},
    /* gpt-oss */
    {HTH_TOOLCALLS_HARMONY, "<|channel|>analysis<|message|>Think.<|end|><|start|>assistant<|channel|>final<|message|>Hi <b>.<|return|>",
     "R[Think.]C[Hi <b>.]"},
    {HTH_TOOLCALLS_HARMONY, "<|channel|>analysis<|message|>Need it.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
			    "<|constrain|>json<|message|>{\"place\": \"Oslo\"}<|call|>",
     "R[Need it.]0:get_weather({\"place\": \"Oslo\"})"},
    {HTH_TOOLCALLS_HARMONY,
     "<|channel|>commentary<|message|>First:<|end|><|start|>assistant to=functions.now<|channel|>commentary json<|message|>{}<|call|>",
     "C[First:]0:now({})"},
    {HTH_TOOLCALLS_HARMONY, "<|channel|>final<|message|>cut of", "C[cut of]", false, true},
    {HTH_TOOLCALLS_HARMONY, "<|channel|>final<|message|>Hi<|end|><|start|>assistant<|cha", "C[Hi]", false, true},
    {HTH_TOOLCALLS_HARMONY, "<|start|>assistant: what?", "C[assistant: what?]"},
    {HTH_TOOLCALLS_HARMONY, "no channel at all", "C[no channel at all]"},
    /* functionary 3.2 */
    {HTH_TOOLCALLS_FUNCTIONARY, "all\nHello there", "C[Hello there]"},
    {HTH_TOOLCALLS_FUNCTIONARY, "all\nLooking.>>>get_weather\n{\"place\": \"Oslo\"}>>>now\n{}",
     "C[Looking.]0:get_weather({\"place\": \"Oslo\"})1:now({})"},
    {HTH_TOOLCALLS_FUNCTIONARY, "Hello\nthere", "C[Hello\nthere]"},
    /* Cohere */
    {HTH_TOOLCALLS_COHERE,
     "<|START_THINKING|>plan<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"get_weather\", "
			   "\"parameters\": {\"place\": \"Oslo\"}}\n]<|END_ACTION|>",
     "R[plan]0:get_weather({\"place\": \"Oslo\"})", false, false, "<|START_THINKING|><|START_ACTION|>"},
    {HTH_TOOLCALLS_COHERE, "<|START_RESPONSE|>Hi there<|END_RESPONSE|>", "C[Hi there]"},
    {HTH_TOOLCALLS_COHERE, "Action: ```json\n[{\"tool_name\": \"now\", \"parameters\": {}}]```", "0:now({})"},
    /* JSON in other tags */
    {HTH_TOOLCALLS_JSON_TAG, "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]", "0:now({})"},
    {HTH_TOOLCALLS_JSON_TAG, "<TOOLCALL>[{\"name\": \"now\", \"arguments\": {}}]</TOOLCALL> done", "0:now({})C[done]"},
    {HTH_TOOLCALLS_JSON_TAG, "<|tools_prefix|>[{\"get_weather\": {\"place\": \"Oslo\"}}, {\"now\": {}}]<|tools_suffix|>",
     "0:get_weather({\"place\": \"Oslo\"})1:now({})"},
    {HTH_TOOLCALLS_JSON_TAG, "functools[{\"name\": \"now\", \"arguments\": {}}]", "0:now({})"},
    {HTH_TOOLCALLS_JSON_TAG, "function call<|role_sep|>\n{\"name\": \"now\", \"arguments\": {}}<|message_sep|>", "0:now({})"},
    /* Gemma 4 */
    {HTH_TOOLCALLS_GEMMA, "<|tool_call>call:get_weather{place:<|\"|>Os\"lo<|\"|>,days:3,list:[1,<|\"|>a<|\"|>],o:{k:true}}<tool_call|>",
     "0:get_weather({\"place\": \"Os\\\"lo\", \"days\": 3, \"list\": [1, \"a\"], \"o\": {\"k\": true}})"},
    {HTH_TOOLCALLS_GEMMA, "<|tool_call>call:now{}<tool_call|><|tool_call>call:now{}<tool_call|>", "0:now({})1:now({})"},
    {HTH_TOOLCALLS_GEMMA, "<|tool_call>nonsense<tool_call|>!", "C[<|tool_call>nonsense<tool_call|>!]"},
    /* LFM2 */
    {HTH_TOOLCALLS_PYTHON,
     "<|tool_call_start|>[get_weather(place=\"Oslo\", days=2, exact=True, list=['a', 1.5, None], o={'k': 1}), now()]<|tool_call_end|>It is",
     "0:get_weather({\"place\": \"Oslo\", \"days\": 2, \"exact\": true, \"list\": [\"a\", 1.5, null], \"o\": {\"k\": 1}})1:now({})C[It "
     "is]"},
    {HTH_TOOLCALLS_PYTHON, "<|tool_call_start|>[f(x=y)]<|tool_call_end|>", "C[<|tool_call_start|>[f(x=y)]<|tool_call_end|>]"},
    /* no family */
    {HTH_TOOLCALLS_GENERIC, "{\"tool_call\": {\"name\": \"now\", \"arguments\": {}}}", "0:now({})"},
    {HTH_TOOLCALLS_GENERIC, "  {\"name\": \"run\", \"arguments\": {\"code\": \"x\"}}", "0:run({\"code\": \"x\"})"},
    {HTH_TOOLCALLS_GENERIC, "Here: {\"name\": \"run\"}", "C[Here: {\"name\": \"run\"}]"},
};

static hth_toolcalls_style style_of(const answer *a)
{
	if (a->source != NULL)
		return hth_toolcalls_detect(a->source, strlen(a->source));
	return (hth_toolcalls_style){.format = a->format, .think_open = "<think>", .think_close = "</think>"};
}

TEST(every_family_is_read_however_it_is_cut)
{
	hth_error err = HTH_ERROR_INIT;
	HTH_AUTO_JSON json_t *tools = NULL;
	REQUIRE_OK(hth_json_parse(&tools, tools_text, strlen(tools_text), &err));
	static const size_t pieces[] = {1u << 20, 1, 2, 3, 5, 7, 11, 16, 23};
	for (size_t i = 0; i < HTH_COUNT(answers); i++) {
		const answer *a = &answers[i];
		hth_toolcalls_style style = style_of(a);
		CHECK_INT(style.format, a->format);
		hth_toolcalls_options options = {.calls = true, .starts_in_reasoning = a->thinks, .tools = tools, .seed = 7};
		for (size_t k = 0; k < HTH_COUNT(pieces); k++) {
			event_log l;
			read_answer(&l, &style, &options, a->text, strlen(a->text), pieces[k], !a->cut);
			if (strcmp(l.text.data, a->events) != 0)
				test_fail(__FILE__, __LINE__, "%s in pieces of %zu\n#   gives %s\n#   not   %s", a->text, pieces[k],
				          l.text.data, a->events);
			hth_buf_finish(&l.text);
		}
	}
}

TEST(without_tools_calls_are_content_and_reasoning_is_still_told_apart)
{
	hth_toolcalls_style style = hth_toolcalls_detect("<tool_call>", 11);
	hth_toolcalls_options options = {.calls = false};
	event_log l;
	const char *text = "<think>a</think>{\"name\": \"x\", \"arguments\": {}}<tool_call>{}</tool_call>";
	read_answer(&l, &style, &options, text, strlen(text), 4, true);
	CHECK_STR(l.text.data, "R[a]C[{\"name\": \"x\", \"arguments\": {}}<tool_call>{}</tool_call>]");
	hth_buf_finish(&l.text);
	options.keep_reasoning_in_content = true;
	read_answer(&l, &style, &options, "<think>\na</think>b", 18, 3, true);
	CHECK_STR(l.text.data, "C[<think>\na</think>b]");
	hth_buf_finish(&l.text);
}

TEST(text_goes_out_as_soon_as_it_cannot_be_a_mark)
{
	hth_toolcalls_style style = hth_toolcalls_detect("<tool_call>", 11);
	hth_toolcalls_options options = {.calls = true};
	event_log l = {.text = HTH_BUF_INIT(10000)};
	hth_toolcalls_sink sink = {&l, on_content, on_reasoning, on_call, on_arguments};
	hth_toolcalls *p = NULL;
	hth_error err = HTH_ERROR_INIT;
	REQUIRE_OK(hth_toolcalls_create(&p, &style, &options, &sink, &err));
	fed = "Hello <b <tool_box>";
	CHECK(hth_toolcalls_feed(p, "Hello <b", 8));
	CHECK_STR(l.text.data, "C[Hello <b");
	CHECK(hth_toolcalls_feed(p, " <tool_", 7));
	CHECK_STR(l.text.data, "C[Hello <b");
	CHECK(hth_toolcalls_feed(p, "box>", 4));
	CHECK_STR(l.text.data, "C[Hello <b <tool_box>");
	const char *call = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"lo";
	CHECK(hth_toolcalls_feed(p, call, strlen(call)));
	CHECK_STR(l.text.data, "C[Hello <b <tool_box>]0:f({\"a\": \"lo");
	CHECK_INT(hth_toolcalls_count(p), 1);
	CHECK(hth_toolcalls_feed(p, "ng", 2));
	CHECK_STR(l.text.data, "C[Hello <b <tool_box>]0:f({\"a\": \"long");
	hth_toolcalls_end(p, false);
	CHECK_STR(l.text.data, "C[Hello <b <tool_box>]0:f({\"a\": \"long");
	hth_toolcalls_destroy(p);
	hth_buf_finish(&l.text);
}

TEST(a_call_that_breaks_off_keeps_what_went_out_and_gives_the_rest_as_content)
{
	hth_toolcalls_style style = hth_toolcalls_detect("<tool_call>", 11);
	hth_toolcalls_options options = {.calls = true};
	const char *text = "<tool_call>{\"name\": \"run\", \"arguments\": {\"a\": 1, b}}</tool_call>";
	event_log l;
	read_answer(&l, &style, &options, text, strlen(text), 1, true);
	CHECK_STR(l.text.data, "0:run({\"a\": 1, )C[b}}</tool_call>]");
	hth_buf_finish(&l.text);
	read_answer(&l, &style, &options, text, strlen(text), 1000, true); /* seen before it began */
	CHECK(l.text.len == strlen(text) + 3 && strncmp(l.text.data + 2, text, strlen(text)) == 0);
	hth_buf_finish(&l.text);
}

TEST(ids_suit_the_family)
{
	hth_toolcalls_options options = {.calls = true, .seed = 1};
	event_log l;
	hth_toolcalls_style mistral = hth_toolcalls_detect("[TOOL_CALLS]", 12);
	const char *text = "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[CALL_ID]abc123456[ARGS]{}";
	read_answer(&l, &mistral, &options, text, strlen(text), 5, true);
	CHECK_INT(strcspn(l.ids, " "), 9);
	CHECK(strstr(l.ids, " abc123456 ") != NULL);
	hth_buf_finish(&l.text);
	hth_toolcalls_style kimi = hth_toolcalls_detect("<|tool_calls_section_begin|>", 28);
	text = "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:3<|tool_call_argument_begin|>{}<|tool_call_end|>";
	read_answer(&l, &kimi, &options, text, strlen(text), 5, true);
	CHECK_STR(l.ids, "functions.f:3 ");
	hth_buf_finish(&l.text);
	hth_toolcalls_style hermes = hth_toolcalls_detect("<tool_call>", 11);
	text = "<tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call><tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call>";
	read_answer(&l, &hermes, &options, text, strlen(text), 5, true);
	char first[64], second[64];
	CHECK_INT(sscanf(l.ids, "%63s %63s", first, second), 2);
	CHECK(strncmp(first, "call_", 5) == 0 && strlen(first) == 29 && strcmp(first, second) != 0);
	hth_buf_finish(&l.text);
}

TEST(a_flood_of_calls_or_a_call_without_end_stays_bounded)
{
	hth_toolcalls_style style = hth_toolcalls_detect("<tool_call>", 11);
	hth_toolcalls_options options = {.calls = true};
	hth_buf many = HTH_BUF_INIT(1 << 20);
	for (int i = 0; i < HTH_TOOLCALLS_MAX + 2; i++)
		hth_buf_append_str(&many, "<tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call>");
	event_log l;
	read_answer(&l, &style, &options, many.data, many.len, 1000, true);
	CHECK(strstr(l.text.data, "63:a({})C[<tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call>") != NULL);
	CHECK(strstr(l.text.data, "64:") == NULL);
	hth_buf_finish(&l.text);
	hth_buf_finish(&many);
	size_t n = HTH_TOOLCALLS_HELD_MAX + 100000;
	char *endless = malloc(n);
	memset(endless, ' ', n);
	memcpy(endless, "<tool_call>{\"x\": \"", 18);
	read_answer(&l, &style, &options, endless, n, 60000, false);
	CHECK_INT(l.text.len, n + 3);
	hth_buf_finish(&l.text);
	free(endless);
}

TEST(the_family_shows_in_the_template)
{
	static const struct {
		const char *file;
		hth_toolcalls_format format;
		const char *think;
	} rows[] = {
	    {"Apertus-8B-Instruct", HTH_TOOLCALLS_JSON_TAG, "<|inner_prefix|>"},
	    {"Bielik-11B-v3.0-Instruct", HTH_TOOLCALLS_HERMES, "<think>"},
	    {"Cohere2MoE", HTH_TOOLCALLS_COHERE, "<|START_THINKING|>"},
	    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", HTH_TOOLCALLS_COHERE, "<|START_THINKING|>"},
	    {"GLM-4.7-Flash", HTH_TOOLCALLS_GLM, "<think>"},
	    {"GigaChat3-10B-A1.8B", HTH_TOOLCALLS_JSON_TAG, "<think>"},
	    {"HuggingFaceTB-SmolLM3-3B", HTH_TOOLCALLS_GENERIC, "<think>"},
	    {"Kimi-K2-Thinking", HTH_TOOLCALLS_KIMI, "<think>"},
	    {"LFM2.5-Instruct", HTH_TOOLCALLS_PYTHON, "<think>"},
	    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", HTH_TOOLCALLS_FUNCTION, "<think>"},
	    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", HTH_TOOLCALLS_HERMES, "<think>"},
	    {"Qwen-Qwen2.5-7B-Instruct", HTH_TOOLCALLS_HERMES, "<think>"},
	    {"Qwen3-Coder", HTH_TOOLCALLS_FUNCTION, "<think>"},
	    {"Reka-Edge", HTH_TOOLCALLS_HERMES, "<think>"},
	    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", HTH_TOOLCALLS_DEEPSEEK, "<think>"},
	    {"deepseek-ai-DeepSeek-V3.1", HTH_TOOLCALLS_DEEPSEEK, "<think>"},
	    {"deepseek-ai-DeepSeek-V4", HTH_TOOLCALLS_INVOKE, "<think>"},
	    {"google-gemma-2-2b-it", HTH_TOOLCALLS_GENERIC, "<think>"},
	    {"google-gemma-4-31B-it", HTH_TOOLCALLS_GEMMA, "<|channel>thought"},
	    {"llama-cpp-deepseek-r1", HTH_TOOLCALLS_DEEPSEEK, "<think>"},
	    {"meetkai-functionary-medium-v3.1", HTH_TOOLCALLS_FUNCTION, "<think>"},
	    {"meta-llama-Llama-3.1-8B-Instruct", HTH_TOOLCALLS_LLAMA3, "<think>"},
	    {"meta-llama-Llama-3.3-70B-Instruct", HTH_TOOLCALLS_LLAMA3, "<think>"},
	    {"mistralai-Ministral-3-14B-Reasoning-2512", HTH_TOOLCALLS_MISTRAL, "[THINK]"},
	    {"moonshotai-Kimi-K2", HTH_TOOLCALLS_KIMI, "<think>"},
	    {"stepfun-ai-Step-3.5-Flash", HTH_TOOLCALLS_FUNCTION, "<think>"},
	    {"unsloth-mistral-Devstral-Small-2507", HTH_TOOLCALLS_MISTRAL, "<think>"},
	};
	if (test_shared("goldens/templates/cases.json") == NULL)
		SKIP("no ../shared");
	for (size_t i = 0; i < HTH_COUNT(rows); i++) {
		char name[200];
		size_t len = 0;
		snprintf(name, sizeof name, "goldens/templates/%s.jinja", rows[i].file);
		char *source = test_read_file(test_shared(name), &len);
		hth_toolcalls_style style = hth_toolcalls_detect(source ? source : "", len);
		if (style.format != rows[i].format || strcmp(style.think_open, rows[i].think) != 0)
			test_fail(__FILE__, __LINE__, "%s is taken for %s with %s", rows[i].file,
			          hth_toolcalls_format_name(style.format), style.think_open);
		free(source);
	}
}

TEST(a_prompt_that_ends_in_reasoning_is_noticed)
{
	hth_toolcalls_style style = hth_toolcalls_detect("", 0);
	CHECK_INT(style.format, HTH_TOOLCALLS_GENERIC);
	CHECK(hth_toolcalls_prompt_thinks(&style, "<|im_start|>assistant\n<think>\n", 30));
	CHECK(!hth_toolcalls_prompt_thinks(&style, "<think>\n\n</think>\n\n", 19));
	CHECK(!hth_toolcalls_prompt_thinks(&style, "", 0));
}

TEST_MAIN()
