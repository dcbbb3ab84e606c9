/* chat-template.c - see chat-template.h. Owns the guess which language a source is in. */
#include "engine/gotemplate/chat-template.h"

#include "base/mem.h"

static bool begins(const char *at, const char *end, const char *with)
{
	size_t n = strlen(with);
	return (size_t)(end - at) >= n && memcmp(at, with, n) == 0;
}

bool hth_chat_template_is_jinja(const char *source, size_t len)
{
	static const char *const words[] = {"if ",   "range ", "end",    "else",   "with ",  "define ", "template ", "block ",  "break",
					    "printf ", "print ", "len ",   "index ", "slice ", "and ",    "or ",       "not ",    "eq ",
					    "ne ",   "json ",  "/*",     ".",      "$",      "currentDate", "`"};
	const char *at = source, *end = source + len;
	if (len == 0 || memmem(source, len, "{%", 2) != NULL)
		return true;
	/* Without blocks, what stands first in an expression tells: Go's begin with '.', '$' or a keyword, Jinja's with a name. */
	while ((at = memmem(at, (size_t)(end - at), "{{", 2)) != NULL) {
		at += 2;
		at += at < end && *at == '-';
		while (at < end && strchr(" \t\r\n", *at) != NULL && *at != '\0')
			at++;
		for (size_t i = 0; i < HTH_COUNT(words); i++)
			if (begins(at, end, words[i]))
				return false;
	}
	return true;
}

hth_status hth_chat_template_compile(hth_chat_template *ret_template, const char *source, size_t len, hth_error *err)
{
	hth_jinja_template *jinja = NULL;
	hth_gotemplate *go = NULL;
	if (hth_chat_template_is_jinja(source, len))
		HTH_TRY(hth_jinja_compile(&jinja, source, len, err));
	else
		HTH_TRY(hth_gotemplate_compile(&go, source, len, err));
	*ret_template = (hth_chat_template){jinja, go};
	return HTH_OK;
}

void hth_chat_template_finish(hth_chat_template *tmpl)
{
	hth_jinja_template_destroy((hth_jinja_template *)tmpl->jinja);
	hth_gotemplate_destroy((hth_gotemplate *)tmpl->go);
	*tmpl = (hth_chat_template){NULL, NULL};
}

const char *hth_chat_template_source(hth_chat_template tmpl, size_t *ret_len)
{
	return tmpl.go != NULL ? hth_gotemplate_source(tmpl.go, ret_len) : hth_jinja_source(tmpl.jinja, ret_len);
}

hth_status hth_chat_template_render(hth_chat_template tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars, int64_t now_unix,
				    const hth_jinja_limits *limits, hth_jinja_output *ret_output, hth_error *err)
{
	if (tmpl.go != NULL)
		return hth_gotemplate_render(tmpl.go, arena, vars, now_unix, limits, ret_output, err);
	return hth_jinja_render(tmpl.jinja, arena, vars, now_unix, limits, ret_output, err);
}

static hth_status render_go(const void *tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars, const hth_jinja_limits *limits,
			    hth_jinja_output *ret_output, hth_error *err)
{
	return hth_gotemplate_render(tmpl, arena, vars, 0, limits, ret_output, err);
}

void hth_chat_template_probe(hth_chat_template tmpl, hth_jinja_caps *ret_caps)
{
	size_t len;
	if (tmpl.go == NULL) {
		hth_jinja_probe(tmpl.jinja, ret_caps);
		return;
	}
	const char *source = hth_gotemplate_source(tmpl.go, &len);
	hth_jinja_probe_with(render_go, tmpl.go, source, len, ret_caps);
}
