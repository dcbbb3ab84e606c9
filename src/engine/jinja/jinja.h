/* jinja.h - the part of Jinja that chat templates are written in, interpreted in bounded time, memory and output.
 *
 * Meant to give what Jinja2 3.1 gives as transformers sets it up: immutable sandbox, trim_blocks, lstrip_blocks, break and continue,
 * {% generation %}, tojson without HTML escapes, raise_exception, strftime_now. Integers are 64 bits. Not there: include, import,
 * extends, autoescape, and the filters random, striptags, urlize, wordwrap and xmlattr.
 *
 * Values are an immutable tree owned by an arena (hth_jinja_arena): everything made for one rendering is freed at
 * once. Strings remember which of their bytes came from input values rather than from the template's own text, so
 * that a tokenizer can refuse to read special tokens in what a user wrote.
 */
#ifndef HTH_ENGINE_JINJA_H
#define HTH_ENGINE_JINJA_H

#include "base/buf.h"

#include <stdint.h>

typedef struct hth_jinja_arena hth_jinja_arena;
typedef struct hth_jinja_value hth_jinja_value;

/* max_bytes bounds all memory of one rendering, values included. */
HTH_MUST_USE hth_status hth_jinja_arena_create(hth_jinja_arena **ret_arena, size_t max_bytes, hth_error *err);
void hth_jinja_arena_destroy(hth_jinja_arena *arena);

/* Input values. NULL when the arena is full. Strings are copied and count as input (untrusted) text. */
const hth_jinja_value *hth_jinja_none(hth_jinja_arena *arena);
const hth_jinja_value *hth_jinja_bool(hth_jinja_arena *arena, bool value);
const hth_jinja_value *hth_jinja_int(hth_jinja_arena *arena, int64_t value);
const hth_jinja_value *hth_jinja_float(hth_jinja_arena *arena, double value);
const hth_jinja_value *hth_jinja_string(hth_jinja_arena *arena, const char *data, size_t len);
/* As hth_jinja_string, but its bytes count as the template's own (bos_token, eos_token, a role's name). */
const hth_jinja_value *hth_jinja_trusted_string(hth_jinja_arena *arena, const char *data, size_t len);
hth_jinja_value *hth_jinja_list(hth_jinja_arena *arena);
hth_jinja_value *hth_jinja_dict(hth_jinja_arena *arena); /* keeps insertion order */
/* False when the arena is full or item is NULL. Keys are copied. */
bool hth_jinja_list_append(hth_jinja_arena *arena, hth_jinja_value *list, const hth_jinja_value *item);
bool hth_jinja_dict_set(hth_jinja_arena *arena, hth_jinja_value *dict, const char *key, size_t key_len,
                        const hth_jinja_value *item);

typedef struct hth_jinja_template hth_jinja_template;
/* Compiles; the source is copied. Errors name line and column. Immutable afterwards: may be shared between threads. */
HTH_MUST_USE hth_status hth_jinja_compile(hth_jinja_template **ret_template, const char *source, size_t len, hth_error *err);
void hth_jinja_template_destroy(hth_jinja_template *tmpl);
/* Its source with line ends made \n: valid UTF-8, *ret_len bytes, borrowed until destroy. */
const char *hth_jinja_source(const hth_jinja_template *tmpl, size_t *ret_len);

typedef struct hth_jinja_limits {
	uint64_t max_steps;   /* evaluated nodes; 0: 10 million */
	size_t max_output;    /* bytes; 0: 16 MiB */
	unsigned max_depth;   /* macros and recursive loops inside each other; 0: 200, at most 1000. Expressions and blocks may
				 nest 16 times as deep */
} hth_jinja_limits;

typedef struct hth_jinja_output {
	char *text; /* caller frees both with hth_jinja_output_finish */
	size_t len;
	struct hth_jinja_range {
		size_t begin, end;
	} *input;   /* byte ranges of text that came from input strings, sorted, merged */
	size_t n_input;
} hth_jinja_output;
void hth_jinja_output_finish(hth_jinja_output *output);

/* Renders with `vars` (a dict) as the global names. now_unix is what strftime_now shows: seconds since 1970 of the wall clock as
 * it is to be read, that is with the UTC offset already added. A template's raise_exception gives HTH_INVALID with its message
 * alone; other errors of the template HTH_INVALID with "line L: ..."; running out of steps, memory, depth or output gives
 * HTH_TOO_LARGE saying which. Messages may hold names and words of the template and its input: show them, do not log them.
 * Needs up to about 2 MiB of stack at the default depth. vars and the values in it are not changed. */
HTH_MUST_USE hth_status hth_jinja_render(const hth_jinja_template *tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars,
                                         int64_t now_unix, const hth_jinja_limits *limits, hth_jinja_output *ret_output,
                                         hth_error *err);

/* What a chat template looks able to do, found by rendering it with probes (bounded; milliseconds): used by /api/show and request
 * checks. thinking is read from its source. */
typedef struct hth_jinja_caps {
	bool tools, system_role, parallel_tool_calls, thinking;
} hth_jinja_caps;
void hth_jinja_probe(const hth_jinja_template *tmpl, hth_jinja_caps *ret_caps);
/* The same for a template in another language that renders the same variables. */
typedef hth_status (*hth_jinja_render_fn)(const void *tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars,
                                          const hth_jinja_limits *limits, hth_jinja_output *ret_output, hth_error *err);
void hth_jinja_probe_with(hth_jinja_render_fn render, const void *tmpl, const char *source, size_t len, hth_jinja_caps *ret_caps);

#endif
