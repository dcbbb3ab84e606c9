/* toolcalls.h - an answer's text told apart as it streams: content, reasoning, tool calls.
 *
 * Every model family writes its tool calls and its reasoning in marks of its own (<tool_call>{...}</tool_call>, [TOOL_CALLS],
 * <|channel|>analysis ...). The family is recognised from the chat template's source. The parser is fed pieces of text of any
 * size and emits events at once; only text that may be the beginning of a mark is held back. A call that is not well formed comes
 * out as content: no byte of what the model said is lost, except the marks themselves and the white space around them.
 *
 * The text must show the model's special tokens (<|channel|>, <｜tool▁calls▁begin｜>) where the family's marks are such tokens.
 * One parser belongs to one answer and one thread.
 */
#ifndef HTH_API_TOOLCALLS_H
#define HTH_API_TOOLCALLS_H

#include "json/json.h"

enum {
	HTH_TOOLCALLS_MAX = 64,                 /* calls in one answer; more come out as content */
	HTH_TOOLCALLS_HELD_MAX = 4 * 1024 * 1024 /* bytes held back; a longer call comes out as content */
};

typedef enum hth_toolcalls_format {
	HTH_TOOLCALLS_GENERIC,     /* {"name": ..., "arguments": {...}} alone or in <tool_call>; no family known */
	HTH_TOOLCALLS_HERMES,      /* <tool_call>{"name", "arguments"}</tool_call>: Hermes, Qwen 2.5 and 3, Granite 4, SmolLM3 ... */
	HTH_TOOLCALLS_FUNCTION,    /* <function=name> with <parameter=key> (Qwen3-Coder, Nemotron 3, Seed-OSS) or JSON (functionary 3.1) */
	HTH_TOOLCALLS_GLM,         /* <tool_call>name<arg_key>k</arg_key><arg_value>v</arg_value></tool_call> */
	HTH_TOOLCALLS_INVOKE,      /* <invoke name="f"><parameter name="k">: MiniMax; with ｜DSML｜: DeepSeek 3.2 and 4 */
	HTH_TOOLCALLS_LLAMA3,      /* <|python_tag|>, or {"name", "parameters"} alone */
	HTH_TOOLCALLS_MISTRAL,     /* [TOOL_CALLS][{...}] or [TOOL_CALLS]name[ARGS]{...} */
	HTH_TOOLCALLS_DEEPSEEK,    /* <｜tool▁calls▁begin｜>: R1, V3, V3.1 */
	HTH_TOOLCALLS_KIMI,        /* <|tool_calls_section_begin|> */
	HTH_TOOLCALLS_HARMONY,     /* <|channel|>commentary to=functions.f<|message|>{...}<|call|>: gpt-oss */
	HTH_TOOLCALLS_FUNCTIONARY, /* >>>name\n{...}: functionary 3.2 */
	HTH_TOOLCALLS_COHERE,      /* <|START_ACTION|>[{"tool_name", "parameters"}]<|END_ACTION|>, "Action: ```json" */
	HTH_TOOLCALLS_JSON_TAG,    /* a JSON list in other tags: Granite 3, Phi-4, Nemotron, Apriel, Apertus, GigaChat */
	HTH_TOOLCALLS_GEMMA,       /* <|tool_call>call:f{k:v}<tool_call|>: Gemma 4 */
	HTH_TOOLCALLS_PYTHON,      /* <|tool_call_start|>[f(k="v")]<|tool_call_end|>: LFM2 */
	HTH_TOOLCALLS_FORMAT_COUNT
} hth_toolcalls_format;

typedef struct hth_toolcalls_style {
	hth_toolcalls_format format;
	const char *think_open, *think_close; /* static strings; NULL for harmony, which has channels */
} hth_toolcalls_style;

/* From a chat template's source (which may be empty). Never fails: what is not known is GENERIC with <think>. */
hth_toolcalls_style hth_toolcalls_detect(const char *source, size_t len);
const char *hth_toolcalls_format_name(hth_toolcalls_format format);
/* True when a rendered prompt ends inside reasoning (its template has opened it), so that the answer begins there. */
bool hth_toolcalls_prompt_thinks(const hth_toolcalls_style *style, const char *prompt, size_t len);

/* What comes out, in order. Texts are valid during the call only and never empty; arguments are parts of one JSON text per call. `at` is
 * where the text stood in all that was fed, in bytes. */
typedef struct hth_toolcalls_sink {
	void *ctx;
	void (*content)(void *ctx, const char *text, size_t len, uint64_t at);
	void (*reasoning)(void *ctx, const char *text, size_t len);
	void (*call)(void *ctx, size_t index, const char *id, const char *name);
	void (*arguments)(void *ctx, size_t index, const char *text, size_t len);
} hth_toolcalls_sink;

typedef struct hth_toolcalls_options {
	bool calls;              /* false: tool calls stay content (the request has no tools, or tool_choice is none) */
	bool starts_in_reasoning;
	/* the sampler was bound to a call from its opening mark on, wherever that stood: also in reasoning it is a call */
	bool bound;
	bool keep_reasoning_in_content; /* the client wants the raw text: reasoning is sent as content, with its marks */
	const json_t *tools;     /* the request's tools in OpenAI's shape, for the types of parameters; borrowed; NULL: not known */
	uint64_t seed;           /* of the ids of calls: a random number */
} hth_toolcalls_options;

typedef struct hth_toolcalls hth_toolcalls;
HTH_MUST_USE hth_status hth_toolcalls_create(hth_toolcalls **ret_parser, const hth_toolcalls_style *style,
                                             const hth_toolcalls_options *options, const hth_toolcalls_sink *sink,
                                             hth_error *err);
void hth_toolcalls_destroy(hth_toolcalls *parser);
/* False when memory ran out; what was fed so far has been or will be emitted. */
bool hth_toolcalls_feed(hth_toolcalls *parser, const char *text, size_t len);
/* The answer is over: emits what is held back. complete: the model ended by itself (and was not cut off), so a call that only
 * lacks its end is finished. */
void hth_toolcalls_end(hth_toolcalls *parser, bool complete);
size_t hth_toolcalls_count(const hth_toolcalls *parser);   /* calls begun */

#endif
