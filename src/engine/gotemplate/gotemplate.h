/* gotemplate.h - chat templates in the language of Go's text/template, as Ollama's registry and Modelfiles carry them, interpreted in
 * bounded time, memory and output.
 *
 * The language: actions with trim markers and comments, pipelines, variables, if, else, with, range (over lists, maps in the order of their
 * keys, and numbers), break, continue, define, template, block; the built-in functions but call, html, js and urlquery; Ollama's json,
 * currentDate, yesterdayDate and toTypeScriptType. Results are what Go gives for the types that Ollama passes (missing keys give the zero
 * value), with its printf. Reference: https://pkg.go.dev/text/template and Ollama's docs/template.md.
 *
 * Values, arenas, output and the marks on input text are jinja.h's: a tokenizer can refuse special tokens in what a user wrote.
 */
#ifndef HTH_ENGINE_GOTEMPLATE_GOTEMPLATE_H
#define HTH_ENGINE_GOTEMPLATE_GOTEMPLATE_H

#include "engine/jinja/jinja.h"

typedef struct hth_gotemplate hth_gotemplate;
/* Compiles; the source is copied. Errors name the line. Immutable afterwards: may be shared between threads. */
HTH_MUST_USE hth_status hth_gotemplate_compile(hth_gotemplate **ret_template, const char *source, size_t len, hth_error *err);
void hth_gotemplate_destroy(hth_gotemplate *tmpl);
/* Its source: *ret_len bytes, borrowed until destroy. */
const char *hth_gotemplate_source(const hth_gotemplate *tmpl, size_t *ret_len);
/* Whether it can fill in the middle: .Suffix is named. */
bool hth_gotemplate_takes_suffix(const hth_gotemplate *tmpl);

/* Renders a conversation as Ollama does. vars is the dict that a Jinja chat template gets: messages, tools, enable_thinking (.Think and
 * .IsThinkSet), reasoning_effort (.ThinkLevel), suffix; others are not seen. Messages of one role in a row are one message, a tool's apart.
 * A template that names .Messages sees them all at once, with .System and .Tools; another is rendered once for each turn with .System,
 * .Prompt and .Response, the last one up to its .Response. Without `messages`, vars is itself the data (Go's map[string]any). now_unix,
 * limits (max_depth: templates inside each other), errors and the output are as hth_jinja_render's; vars is not changed. */
HTH_MUST_USE hth_status hth_gotemplate_render(const hth_gotemplate *tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars,
                                              int64_t now_unix, const hth_jinja_limits *limits, hth_jinja_output *ret_output,
                                              hth_error *err);

#endif
