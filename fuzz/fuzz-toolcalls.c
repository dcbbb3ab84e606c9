/* fuzz-toolcalls.c - any bytes as a model's answer: the first byte picks the family, the second how it is cut into pieces. Arguments
 * must follow a call, nothing may grow past what came in by more than escaping does, and with everything switched off the text must
 * come out as it went in.
 */
#include "api/toolcalls.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
	size_t bytes, calls;
	hth_buf content;
} seen;

static const char *fed;
static void on_content(void *ctx, const char *text, size_t len, uint64_t at)
{
	seen *s = ctx;
	if (memcmp(fed + at, text, len) != 0)
		abort();
	s->bytes += len;
	hth_buf_append(&s->content, text, len);
}
static void on_reasoning(void *ctx, const char *text, size_t len) { ((seen *)ctx)->bytes += len + (text == NULL); }
static void on_call(void *ctx, size_t index, const char *id, const char *name)
{
	seen *s = ctx;
	if (index != s->calls++ || id[0] == '\0' || name[0] == '\0')
		abort();
}
static void on_arguments(void *ctx, size_t index, const char *text, size_t len)
{
	seen *s = ctx;
	if (index + 1 != s->calls || len == 0 || text == NULL)
		abort();
	s->bytes += len;
}

static void read_all(const hth_toolcalls_style *style, const hth_toolcalls_options *options, const char *text, size_t len, size_t piece,
		     bool complete, seen *s)
{
	hth_toolcalls_sink sink = {s, on_content, on_reasoning, on_call, on_arguments};
	hth_toolcalls *p = NULL;
	hth_error err = HTH_ERROR_INIT;
	fed = text;
	*s = (seen){.content = HTH_BUF_INIT(1 << 24)};
	if (hth_toolcalls_create(&p, style, options, &sink, &err) != HTH_OK)
		abort();
	for (size_t at = 0; at < len; at += piece)
		if (!hth_toolcalls_feed(p, text + at, piece < len - at ? piece : len - at))
			abort();
	hth_toolcalls_end(p, complete);
	if (hth_toolcalls_count(p) != s->calls)
		abort();
	hth_toolcalls_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static json_t *tools;
	hth_error err = HTH_ERROR_INIT;
	static const char tools_text[] =
	    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"},"
	    "\"b\":{\"type\":\"integer\"}}}}},{\"type\":\"function\",\"function\":{\"name\":\"python\"}}]";
	if (tools == NULL && hth_json_parse(&tools, tools_text, sizeof tools_text - 1, &err) != HTH_OK)
		abort();
	if (size < 2)
		return 0;
	hth_toolcalls_style style = {.format = data[0] % HTH_TOOLCALLS_FORMAT_COUNT, .think_open = "<think>", .think_close = "</think>"};
	const char *text = (const char *)data + 2;
	size_t len = size - 2, piece = (data[1] & 31) + 1u;
	hth_toolcalls_options options = {.calls = true, .starts_in_reasoning = data[1] & 32, .tools = data[1] & 64 ? tools : NULL};
	seen s;
	read_all(&style, &options, text, len, piece, data[1] & 128, &s);
	if (s.bytes > 12 * len + 64)
		abort();
	hth_buf_finish(&s.content);
	bool passes = style.format != HTH_TOOLCALLS_HARMONY && style.format != HTH_TOOLCALLS_FUNCTIONARY &&
		      style.format != HTH_TOOLCALLS_COHERE && style.format != HTH_TOOLCALLS_JSON_TAG;
	hth_toolcalls_options off = {.keep_reasoning_in_content = true};
	read_all(&style, &off, text, len, piece, true, &s);
	if (passes && (s.content.len != len || (len > 0 && memcmp(s.content.data, text, len) != 0)))
		abort();
	hth_buf_finish(&s.content);
	return 0;
}
