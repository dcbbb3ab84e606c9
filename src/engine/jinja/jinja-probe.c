/* jinja-probe.c - what a chat template can do, found out by asking it: small conversations with words that cannot be anywhere
 * else are rendered, and the output is searched for these words. A template that refuses a probe cannot do that thing.
 */
#include "engine/jinja/jinja-value.h"

#include "engine/jinja/jinja-ast.h"

#include "base/mem.h"

enum { PROBE_MEMORY = 8 * 1024 * 1024, PROBE_STEPS = 200000 };

typedef struct subject {
	hth_jinja_render_fn render;
	const void *tmpl;
	const char *source;
	size_t source_len;
} subject;

/* A few members of a dict at once: name, value pairs up to a NULL name. */
static hth_jinja_value *dict_of(hth_jinja_arena *a, const char *const *names, jv *const *values)
{
	hth_jinja_value *d = hth_jinja_dict(a);
	for (size_t i = 0; d != NULL && names[i] != NULL; i++)
		if (!hth_jinja_dict_set(a, d, names[i], strlen(names[i]), values[i]))
			return NULL;
	return d;
}

static jv *text(hth_jinja_arena *a, const char *s) { return hth_jinja_string(a, s, strlen(s)); }

static jv *list_of(hth_jinja_arena *a, jv *const *items, size_t n)
{
	hth_jinja_value *list = hth_jinja_list(a);
	for (size_t i = 0; list != NULL && i < n; i++)
		if (!hth_jinja_list_append(a, list, items[i]))
			return NULL;
	return list;
}

static jv *message(hth_jinja_arena *a, const char *role, const char *content)
{
	return dict_of(a, (const char *[]){"role", "content", NULL}, (jv *[]){text(a, role), text(a, content)});
}

static jv *tool(hth_jinja_arena *a, const char *name)
{
	jv *property = dict_of(a, (const char *[]){"type", "description", NULL}, (jv *[]){text(a, "string"), text(a, "A place")});
	jv *properties = dict_of(a, (const char *[]){"place", NULL}, (jv *[]){property});
	jv *required = list_of(a, (jv *[]){text(a, "place")}, 1);
	jv *parameters = dict_of(a, (const char *[]){"type", "properties", "required", NULL},
				 (jv *[]){text(a, "object"), properties, required});
	jv *function = dict_of(a, (const char *[]){"name", "description", "parameters", NULL},
			       (jv *[]){text(a, name), text(a, "Tells something"), parameters});
	return dict_of(a, (const char *[]){"type", "function", NULL}, (jv *[]){text(a, "function"), function});
}

static jv *call(hth_jinja_arena *a, const char *id, const char *name, bool arguments_as_text)
{
	jv *arguments = arguments_as_text ? text(a, "{\"place\": \"x\"}")
					  : dict_of(a, (const char *[]){"place", NULL}, (jv *[]){text(a, "x")});
	jv *function = dict_of(a, (const char *[]){"name", "arguments", NULL}, (jv *[]){text(a, name), arguments});
	return dict_of(a, (const char *[]){"id", "type", "function", NULL},
		       (jv *[]){text(a, id), text(a, "function"), function});
}

/* Renders messages (and tools) and tells whether all words (NULL-terminated) are in the output. */
static bool says(const subject *t, hth_jinja_arena *a, jv *messages, jv *tools, const char *const *words)
{
	static const hth_jinja_limits limits = {.max_steps = PROBE_STEPS, .max_output = 1024 * 1024};
	jv *bos = hth_jinja_trusted_string(a, "<s>", 3), *eos = hth_jinja_trusted_string(a, "</s>", 4);
	jv *vars = dict_of(a, (const char *[]){"messages", "bos_token", "eos_token", "add_generation_prompt", tools ? "tools" : NULL,
					       NULL},
			   (jv *[]){messages, bos, eos, hth_jinja_bool(a, true), tools});
	hth_jinja_output out = {0};
	hth_error err = HTH_ERROR_INIT;
	if (vars == NULL || t->render(t->tmpl, a, vars, &limits, &out, &err) != HTH_OK)
		return false;
	bool all = true;
	for (size_t i = 0; words[i] != NULL; i++)
		all = all && strstr(out.text, words[i]) != NULL;
	hth_jinja_output_finish(&out);
	return all;
}

static bool mentions(const subject *t, const char *word)
{
	return memmem(t->source, t->source_len, word, strlen(word)) != NULL;
}

static hth_status render_jinja(const void *tmpl, hth_jinja_arena *arena, const hth_jinja_value *vars, const hth_jinja_limits *limits,
			       hth_jinja_output *ret_output, hth_error *err)
{
	return hth_jinja_render(tmpl, arena, vars, 0, limits, ret_output, err);
}

void hth_jinja_probe(const hth_jinja_template *tmpl, hth_jinja_caps *ret_caps)
{
	hth_jinja_probe_with(render_jinja, tmpl, tmpl->source, tmpl->source_len, ret_caps);
}

void hth_jinja_probe_with(hth_jinja_render_fn render, const void *template, const char *source, size_t len, hth_jinja_caps *ret_caps)
{
	const subject it = {render, template, source, len}, *tmpl = &it;
	*ret_caps = (hth_jinja_caps){0};
	hth_jinja_arena *a = NULL;
	hth_error err = HTH_ERROR_INIT;
	static const char *thinking[] = {"<think>", "enable_thinking", "reasoning_content", "<|channel|>", "[THINK]",
					 "<|START_THINKING|>", "thinking", ".Think"};
	for (size_t i = 0; i < HTH_COUNT(thinking); i++)
		ret_caps->thinking |= mentions(tmpl, thinking[i]);
	if (hth_jinja_arena_create(&a, PROBE_MEMORY, &err) != HTH_OK)
		return;
	jv *user = message(a, "user", "hth-user-word"), *system = message(a, "system", "hth-system-word");
	jv *tools = list_of(a, (jv *[]){tool(a, "hth_tool_one"), tool(a, "hth_tool_two")}, 2);
	ret_caps->system_role = says(tmpl, a, list_of(a, (jv *[]){system, user}, 2), NULL,
				     (const char *[]){"hth-system-word", "hth-user-word", NULL});
	ret_caps->tools = says(tmpl, a, list_of(a, (jv *[]){user}, 1), tools, (const char *[]){"hth_tool_one", NULL}) ||
			  says(tmpl, a, list_of(a, (jv *[]){system, user}, 2), tools, (const char *[]){"hth_tool_one", NULL});
	/* Templates differ in whether arguments are an object or JSON text, and whether a call's message has content. */
	for (int way = 0; way < 4 && !ret_caps->parallel_tool_calls; way++) {
		bool as_text = way & 1, no_content = way & 2;
		jv *calls = list_of(a, (jv *[]){call(a, "callaaaa1", "hth_tool_one", as_text),
						call(a, "callaaaa2", "hth_tool_two", as_text)}, 2);
		jv *answer = dict_of(a, (const char *[]){"role", "content", "tool_calls", NULL},
				     (jv *[]){text(a, "assistant"), no_content ? hth_jinja_none(a) : text(a, ""), calls});
		/* Without the list of tools, so that the names can only come from the calls. */
		ret_caps->parallel_tool_calls = says(tmpl, a, list_of(a, (jv *[]){user, answer}, 2), NULL,
						     (const char *[]){"hth_tool_one", "hth_tool_two", NULL});
	}
	hth_jinja_arena_destroy(a);
}
