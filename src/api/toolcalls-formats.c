/* toolcalls-formats.c - which family writes which marks, and how a chat template gives its family away.
 *
 * The marks are facts of the families' published templates. The order of the checks matters: several families share
 * <tool_call> and differ in what is inside.
 */
#include "api/toolcalls-internal.h"

#include "base/mem.h"

#include <string.h>

#define CLOSE(...) {__VA_ARGS__, NULL}

const hth_tc_family hth_tc_families[HTH_TOOLCALLS_FORMAT_COUNT] = {
    [HTH_TOOLCALLS_GENERIC] = {"generic",
			       {{"<tool_call>", HTH_TC_JSON_NEXT, CLOSE("</tool_call>"), false},
				{"<|tool_call|>", HTH_TC_JSON_NEXT, CLOSE("<|/tool_call|>"), true}},
			       {NULL},
			       true},
    [HTH_TOOLCALLS_HERMES] = {"hermes", {{"<tool_call>", HTH_TC_JSON_NEXT, CLOSE("</tool_call>"), false}}, {NULL}, true},
    [HTH_TOOLCALLS_FUNCTION] = {"function",
				{{"<tool_call>", HTH_TC_FUNCTION, CLOSE("</tool_call>"), false},
				 {"<seed:tool_call>", HTH_TC_FUNCTION, CLOSE("</seed:tool_call>"), false},
				 {"<function=", HTH_TC_FUNCTION, CLOSE("</tool_call>", "</seed:tool_call>"), false},
				 {"<|python_tag|>", HTH_TC_PYTHON_TAG, {NULL}, true}},
				{NULL},
				false},
    [HTH_TOOLCALLS_GLM] = {"glm", {{"<tool_call>", HTH_TC_GLM_NAME, CLOSE("</tool_call>"), false}}, {NULL}, false},
    [HTH_TOOLCALLS_INVOKE] = {"invoke",
			      {{"<minimax:tool_call>", HTH_TC_INVOKE_NEXT, CLOSE("</minimax:tool_call>"), false},
			       {"<｜DSML｜function_calls>", HTH_TC_INVOKE_NEXT, CLOSE("</｜DSML｜function_calls>"), true},
			       {"<｜DSML｜tool_calls>", HTH_TC_INVOKE_NEXT, CLOSE("</｜DSML｜tool_calls>"), true}},
			      {NULL},
			      false},
    [HTH_TOOLCALLS_LLAMA3] = {"llama3", {{"<|python_tag|>", HTH_TC_PYTHON_TAG, {NULL}, true}}, {NULL}, true},
    [HTH_TOOLCALLS_MISTRAL] = {"mistral", {{"[TOOL_CALLS]", HTH_TC_MISTRAL, {NULL}, true}}, {NULL}, false},
    [HTH_TOOLCALLS_DEEPSEEK] = {"deepseek",
				{{"<｜tool▁calls▁begin｜>", HTH_TC_DEEPSEEK, {NULL}, true},
				 {"<｜tool_calls_begin｜>", HTH_TC_DEEPSEEK, {NULL}, true},
				 {"<｜tool▁call▁begin｜>", HTH_TC_DEEPSEEK, {NULL}, true},
				 /* their templates list no tools, and words that do teach this */
				 {"<tool_call>", HTH_TC_JSON_NEXT, CLOSE("</tool_call>"), false}},
				{NULL},
				false},
    [HTH_TOOLCALLS_KIMI] = {"kimi",
			    {{"<|tool_calls_section_begin|>", HTH_TC_KIMI, {NULL}, true},
			     {"<|tool_call_begin|>", HTH_TC_KIMI, {NULL}, true}},
			    {NULL},
			    false},
    [HTH_TOOLCALLS_HARMONY] = {"harmony", {{NULL}}, {NULL}, false},
    [HTH_TOOLCALLS_FUNCTIONARY] = {"functionary", {{">>>", HTH_TC_FUNCTIONARY_HEAD, {NULL}, true}}, {NULL}, false},
    [HTH_TOOLCALLS_COHERE] = {"cohere",
			      {{"<|START_ACTION|>", HTH_TC_JSON_NEXT, CLOSE("<|END_ACTION|>"), true},
			       {"Action:\n```json", HTH_TC_JSON_NEXT, CLOSE("```"), false},
			       {"Action: ```json", HTH_TC_JSON_NEXT, CLOSE("```"), false}},
			      {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>", NULL},
			      false},
    [HTH_TOOLCALLS_JSON_TAG] = {"json-tag",
				{{"<|tool_call|>", HTH_TC_JSON_NEXT, CLOSE("<|/tool_call|>", "</tool_call>"), true},
				 {"<tool_call>", HTH_TC_JSON_NEXT, CLOSE("</tool_call>"), false},
				 {"<tool_calls>", HTH_TC_JSON_NEXT, CLOSE("</tool_calls>"), false},
				 {"<TOOLCALL>", HTH_TC_JSON_NEXT, CLOSE("</TOOLCALL>"), false},
				 {"<|tools_prefix|>", HTH_TC_JSON_NEXT, CLOSE("<|tools_suffix|>"), true},
				 {"functools[", HTH_TC_JSON_NEXT, {NULL}, false},
				 {"function call<|role_sep|>", HTH_TC_JSON_NEXT, CLOSE("<|message_sep|>"), true}},
				{"<|message_sep|>", NULL},
				false},
    [HTH_TOOLCALLS_GEMMA] = {"gemma", {{"<|tool_call>", HTH_TC_WHOLE, CLOSE("<tool_call|>"), true}}, {NULL}, false},
    [HTH_TOOLCALLS_PYTHON] = {"python", {{"<|tool_call_start|>", HTH_TC_WHOLE, CLOSE("<|tool_call_end|>"), true}}, {NULL}, false},
};

const char *hth_toolcalls_format_name(hth_toolcalls_format format)
{
	return (unsigned)format < HTH_TOOLCALLS_FORMAT_COUNT ? hth_tc_families[format].name : "unknown";
}

static bool has(const char *source, size_t len, const char *word)
{
	return len > 0 && memmem(source, len, word, strlen(word)) != NULL;
}

hth_toolcalls_style hth_toolcalls_detect(const char *source, size_t len)
{
	static const struct {
		const char *word, *also; /* also NULL: word alone */
		hth_toolcalls_format format;
	} clues[] = {
	    {"<|channel|>", "<|message|>", HTH_TOOLCALLS_HARMONY},
	    {"｜DSML｜", NULL, HTH_TOOLCALLS_INVOKE},
	    {"<minimax:tool_call>", NULL, HTH_TOOLCALLS_INVOKE},
	    {"<｜tool▁call▁begin｜>", NULL, HTH_TOOLCALLS_DEEPSEEK},
	    {"<|tool_calls_section_begin|>", NULL, HTH_TOOLCALLS_KIMI},
	    {"[TOOL_CALLS]", NULL, HTH_TOOLCALLS_MISTRAL},
	    {"<|START_ACTION|>", NULL, HTH_TOOLCALLS_COHERE},
	    {"Action:", "tool_name", HTH_TOOLCALLS_COHERE},
	    {"<|tool_call>", "<tool_call|>", HTH_TOOLCALLS_GEMMA},
	    {">>>all", NULL, HTH_TOOLCALLS_FUNCTIONARY},
	    {"<arg_key>", NULL, HTH_TOOLCALLS_GLM},
	    {"<function=", NULL, HTH_TOOLCALLS_FUNCTION},
	    {"<|tool_call_start|>", NULL, HTH_TOOLCALLS_PYTHON},
	    {"<|tool_list_start|>", NULL, HTH_TOOLCALLS_PYTHON},
	    {"List of tools: ", "keep_past_thinking", HTH_TOOLCALLS_PYTHON},
	    {"<TOOLCALL>", NULL, HTH_TOOLCALLS_JSON_TAG},
	    {"<tool_calls>[", NULL, HTH_TOOLCALLS_JSON_TAG},
	    {"<|tools_prefix|>", NULL, HTH_TOOLCALLS_JSON_TAG},
	    {"<|tool_call|>", NULL, HTH_TOOLCALLS_JSON_TAG},
	    {"functools[", NULL, HTH_TOOLCALLS_JSON_TAG},
	    {"<|role_sep|>", "function call", HTH_TOOLCALLS_JSON_TAG},
	    {"<tool_call>", NULL, HTH_TOOLCALLS_HERMES},
	    {"<|python_tag|>", NULL, HTH_TOOLCALLS_LLAMA3},
	    {"<|eom_id|>", NULL, HTH_TOOLCALLS_LLAMA3},
	    {"ipython", "<|start_header_id|>", HTH_TOOLCALLS_LLAMA3},
	};
	static const struct {
		const char *word, *open, *close;
	} thinking[] = {
	    {"<seed:think>", "<seed:think>", "</seed:think>"},
	    {"[THINK]", "[THINK]", "[/THINK]"},
	    {"<|START_THINKING|>", "<|START_THINKING|>", "<|END_THINKING|>"},
	    {"<|inner_prefix|>", "<|inner_prefix|>", "<|inner_suffix|>"},
	    {"<|channel>", "<|channel>thought", "<channel|>"},
	};
	hth_toolcalls_style style = {.think_open = "<think>", .think_close = "</think>"};
	for (size_t i = 0; i < HTH_COUNT(clues); i++)
		if (has(source, len, clues[i].word) && (clues[i].also == NULL || has(source, len, clues[i].also))) {
			style.format = clues[i].format;
			break;
		}
	for (size_t i = 0; i < HTH_COUNT(thinking); i++)
		if (has(source, len, thinking[i].word)) {
			style.think_open = thinking[i].open;
			style.think_close = thinking[i].close;
			break;
		}
	if (style.format == HTH_TOOLCALLS_HARMONY)
		style.think_open = style.think_close = NULL;
	return style;
}

bool hth_toolcalls_prompt_thinks(const hth_toolcalls_style *style, const char *prompt, size_t len)
{
	if (style->think_open == NULL)
		return false;
	while (len > 0 && (prompt[len - 1] == '\n' || prompt[len - 1] == ' '))
		len--;
	size_t n = strlen(style->think_open);
	return len >= n && memcmp(prompt + len - n, style->think_open, n) == 0;
}
