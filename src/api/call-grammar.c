/* call-grammar.c - a table of notations, and the rules made from its rows.
 *
 * A row gives the texts around a call's name and its arguments. Arguments are JSON by the tool's schema, except in the families that write
 * one mark per parameter: there a parameter that is text stands as it is, up to the mark that closes it. What such a family cannot carry
 * (arguments of any shape, text bound by a pattern) is written in the generic notation instead. Any thread.
 */
#include "api/call-grammar.h"

#include <stdio.h>
#include <string.h>

typedef struct shape {
	const char *open;            /* before the first call; what nobody else writes */
	const char *list;            /* after it */
	const char *name;            /* before a call's name */
	const char *id;              /* GBNF between that and the name: the call's number, where the family writes it first; or NULL */
	const char *arguments;       /* between name and arguments */
	const char *end;             /* after the arguments */
	const char *between, *close; /* between calls; after the last one */
	const char *parameter[3];    /* one mark per parameter: before its name, before its value, after it; NULL: arguments are JSON */
	const char *text_class;      /* GBNF: a character of a text, where escapes would have to be read; NULL: anything up to the mark */
	const char *separator;       /* between parameters; NULL: nothing */
	bool scalars;                /* values that are no text are numbers and booleans: the family writes lists its own way */
	const char *json_value;      /* before a value that is no text; NULL: as before one that is */
	bool loose_lines;            /* line ends in marks are optional: generations of the family differ */
	bool raw_arguments;          /* `arguments` is GBNF */
	bool ambiguous;              /* `open` is no sign of a call, or the model was not taught it */
	bool single;                 /* one call ends the answer */
	bool generic;                /* read the answer in the generic notation */
} shape;

#define JSON_NAME "{\"name\": \""
#define JSON_ARGUMENTS "\", \"arguments\": "

static const shape hermes = {.open = "<tool_call>", .list = "\n", .name = JSON_NAME, .arguments = JSON_ARGUMENTS, .end = "}\n</tool_call>",
                             .between = "\n<tool_call>\n", .close = ""};
/* The generic notation: what models that were taught nothing, or something else, are made to write. */
static const shape untaught = {.open = "<tool_call>", .list = "\n", .name = JSON_NAME, .arguments = JSON_ARGUMENTS,
                               .end = "}\n</tool_call>", .between = "\n<tool_call>\n", .close = "",
                               .ambiguous = true, .generic = true};

static bool has(const char *source, const char *word) { return strstr(source, word) != NULL; }

/* A list of {"name", "arguments"} between two marks. */
static shape list_between(const char *open, const char *close)
{
	return (shape){.open = open, .list = "[", .name = JSON_NAME, .arguments = JSON_ARGUMENTS, .end = "}", .between = ", ",
	               .close = close};
}

static shape json_tag_shape(const char *source)
{
	if (has(source, "<TOOLCALL>"))
		return list_between("<TOOLCALL>", "]</TOOLCALL>");
	if (has(source, "<tool_calls>["))
		return list_between("<tool_calls>", "]</tool_calls>");
	if (has(source, "<|tools_prefix|>"))
		return (shape){.open = "<|tools_prefix|>", .list = "[", .name = "{\"", .arguments = "\": ", .end = "}", .between = ", ",
		               .close = "]<|tools_suffix|>"};
	if (has(source, "<|tool_call|>"))
		return list_between("<|tool_call|>", has(source, "<|/tool_call|>") ? "]<|/tool_call|>" : "]");
	if (has(source, "functools[")) {
		shape s = list_between("functools[", "]");
		s.list = "";
		return s;
	}
	return (shape){.open = "function call<|role_sep|>", .list = "\n", .name = JSON_NAME, .arguments = JSON_ARGUMENTS, .end = "}",
	               .between = "", .close = "", .single = true};
}

static shape shape_of(hth_toolcalls_format format, const char *source)
{
	switch (format) {
	case HTH_TOOLCALLS_FUNCTION:
		if (!has(source, "<parameter="))
			return (shape){.open = "<function=", .list = "", .name = "", .arguments = ">", .end = "</function>",
			               .between = "\n<function=", .close = ""};
		return (shape){.open = has(source, "<seed:tool_call>") ? "<seed:tool_call>" : "<tool_call>", .list = "\n",
		               .name = "<function=", .arguments = ">\n",
		               .end = has(source, "<seed:tool_call>") ? "</function>\n</seed:tool_call>" : "</function>\n</tool_call>",
		               .between = has(source, "<seed:tool_call>") ? "\n<seed:tool_call>\n" : "\n<tool_call>\n", .close = "",
		               .parameter = {"<parameter=", ">\n", "\n</parameter>\n"}};
	case HTH_TOOLCALLS_GLM:
		return (shape){.open = "<tool_call>", .list = "", .name = "", .arguments = "\n", .end = "</tool_call>",
		               .between = "\n<tool_call>", .close = "",
		               .parameter = {"<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"}, .loose_lines = true};
	case HTH_TOOLCALLS_INVOKE:
		if (!has(source, "<minimax:tool_call>"))
			return (shape){.open = has(source, "｜DSML｜function_calls") ? "<｜DSML｜function_calls>" : "<｜DSML｜tool_calls>",
			               .list = "\n",
			               .name = "<｜DSML｜invoke name=\"", .arguments = "\">\n", .end = "</｜DSML｜invoke>", .between = "\n",
			               .close = has(source, "｜DSML｜function_calls") ? "\n</｜DSML｜function_calls>" : "\n</｜DSML｜tool_calls>",
			               .parameter = {"<｜DSML｜parameter name=\"", "\" string=\"true\">", "</｜DSML｜parameter>\n"},
			               .json_value = "\" string=\"false\">"};
		return (shape){.open = "<minimax:tool_call>", .list = "\n", .name = "<invoke name=\"", .arguments = "\">\n",
		               .end = "</invoke>", .between = "\n",
		               .close = "\n</minimax:tool_call>", .parameter = {"<parameter name=\"", "\">", "</parameter>\n"}};
	case HTH_TOOLCALLS_LLAMA3:
		return (shape){.open = "", .list = "", .name = JSON_NAME, .arguments = "\", \"parameters\": ", .end = "}", .between = "; ",
		               .close = "", .ambiguous = true};
	case HTH_TOOLCALLS_MISTRAL:
		if (has(source, "[CALL_ID]"))
			return (shape){.open = "[TOOL_CALLS]", .list = "", .name = "",
			               .arguments = "\"[CALL_ID]\" [a-zA-Z0-9]{9} \"[ARGS]\"", .end = "", .between = "[TOOL_CALLS]",
			               .close = "", .raw_arguments = true};
		if (has(source, "[ARGS]"))
			return (shape){.open = "[TOOL_CALLS]", .list = "", .name = "", .arguments = "[ARGS]", .end = "",
			               .between = "[TOOL_CALLS]", .close = ""};
		return list_between("[TOOL_CALLS]", "]");
	case HTH_TOOLCALLS_DEEPSEEK:
		if (has(source, "```json"))
			return (shape){.open = "<｜tool▁calls▁begin｜>", .list = "", .name = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
			               .arguments = "\n```json\n",
			               .end = "\n```<｜tool▁call▁end｜>", .between = "\n", .close = "<｜tool▁calls▁end｜>"};
		return (shape){.open = "<｜tool▁calls▁begin｜>", .list = "", .name = "<｜tool▁call▁begin｜>", .arguments = "<｜tool▁sep｜>",
		               .end = "<｜tool▁call▁end｜>",
		               .between = "", .close = "<｜tool▁calls▁end｜>"};
	case HTH_TOOLCALLS_KIMI:
		return (shape){.open = "<|tool_calls_section_begin|>", .list = "", .name = "<|tool_call_begin|>functions.",
		               .arguments = "\":\" [0-9]{1,2} \"<|tool_call_argument_begin|>\"", .end = "<|tool_call_end|>", .between = "",
		               .close = "<|tool_calls_section_end|>", .raw_arguments = true};
	case HTH_TOOLCALLS_HARMONY:
		/* One call ends the turn. */
		return (shape){.open = "commentary to=functions.", .list = "", .name = "",
		               .arguments = "(\" \"? \"<|constrain|>json\" | \" json\")? \"<|message|>\"", .end = "",
		               .between = "", .close = "", .raw_arguments = true, .single = true};
	case HTH_TOOLCALLS_FUNCTIONARY:
		return (shape){.open = "", .list = "", .name = "", .arguments = "\n", .end = "", .between = ">>>", .close = "",
		               .ambiguous = true};
	case HTH_TOOLCALLS_COHERE:
		if (has(source, "<|START_ACTION|>"))
			return (shape){.open = "<|START_ACTION|>", .list = "[\n    ", .name = "{\"tool_call_id\": \"",
			               .id = "[0-9]{1,2} \"\\\", \\\"tool_name\\\": \\\"\"",
			               .arguments = "\", \"parameters\": ", .end = "}", .between = ",\n    ", .close = "\n]<|END_ACTION|>"};
		return (shape){.open = "Action: ```json", .list = "\n[\n    ", .name = "{\n        \"tool_name\": \"",
		               .arguments = "\",\n        \"parameters\": ",
		               .end = "\n    }", .between = ",\n    ", .close = "\n]```"};
	case HTH_TOOLCALLS_JSON_TAG:
		return json_tag_shape(source);
	case HTH_TOOLCALLS_HERMES:
		return hermes;
	case HTH_TOOLCALLS_GEMMA:
		return (shape){.open = "<|tool_call>", .list = "", .name = "call:", .arguments = "{", .end = "}<tool_call|>",
		               .between = "<|tool_call>", .close = "",
		               .parameter = {"", ":<|\"|>", "<|\"|>"}, .json_value = ":", .separator = ",", .scalars = true};
	case HTH_TOOLCALLS_PYTHON:
		return (shape){.open = "<|tool_call_start|>", .list = "[", .name = "", .arguments = "(", .end = ")", .between = ", ",
		               .close = "]<|tool_call_end|>",
		               .parameter = {"", "=\"", "\""}, .json_value = "=", .separator = ", ", .scalars = true,
		               .text_class = "[^\"\\\\\\n]"};
	default: /* no family known */
		return untaught;
	}
}

/* --- text --- */

static void literal(hth_buf *out, const char *text)
{
	if (text[0] != '\0') {
		hth_buf_append_char(out, ' ');
		hth_schema_literal(text, strlen(text), out);
	}
}

/* As literal; with loose_lines its line ends are optional. */
static void mark(const shape *s, hth_buf *out, const char *text)
{
	while (s->loose_lines && *text != '\0') {
		size_t n = strcspn(text, "\n");
		if (n > 0) {
			hth_buf_append_char(out, ' ');
			hth_schema_literal(text, n, out);
		}
		if (text[n] == '\n')
			hth_buf_append_str(out, " \"\\n\"?");
		text += n + (text[n] == '\n');
	}
	literal(out, text);
}

/* Characters as code points; n at most cap. */
static size_t characters(const char *text, uint32_t *ret, size_t cap)
{
	size_t n = 0;
	while (*text != '\0' && n < cap) {
		unsigned char c = (unsigned char)*text;
		size_t len = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
		uint32_t cp = len == 1 ? c : c & (0x7Fu >> len);
		for (size_t i = 1; i < len && text[i] != '\0'; i++)
			cp = cp << 6 | ((unsigned char)text[i] & 0x3F);
		ret[n++] = cp;
		text += strnlen(text, len);
	}
	return n;
}

/* How much of `close` is at the end of its first k characters followed by c (Knuth, Morris and Pratt). */
static size_t next_state(const uint32_t *close, size_t k, uint32_t c)
{
	for (size_t n = k + 1; n > 0; n--) {
		bool same = close[n - 1] == c;
		for (size_t i = 0; i + 1 < n && same; i++)
			same = close[i] == close[k + 1 - n + i];
		if (same)
			return n;
	}
	return 0;
}

void hth_call_grammar_until(const char *name, const char *close, hth_buf *out)
{
	uint32_t c[64];
	size_t n = characters(close, c, HTH_COUNT(c));
	/* State k: the last k characters are the beginning of `close`. The whole of it is a literal, so that a special token may stand for
	 * it. */
	hth_buf_appendf(out, "%s ::= %s-0\n", name, name);
	for (size_t k = 0; k < n; k++) {
		hth_buf_appendf(out, "%s-%zu ::=", name, k);
		literal(out, close);
		hth_buf_append_str(out, " | [^");
		for (size_t i = 0; i < n; i++)
			hth_buf_appendf(out, "\\U%08X", c[i]);
		hth_buf_appendf(out, "] %s-0", name);
		for (size_t i = 0; i < n; i++) {
			bool seen = false;
			for (size_t j = 0; j < i; j++)
				seen |= c[j] == c[i];
			size_t to = next_state(c, k, c[i]);
			if (!seen && to < n)
				hth_buf_appendf(out, " | [\\U%08X] %s-%zu", c[i], name, to);
		}
		hth_buf_append_char(out, '\n');
	}
}

/* --- one mark per parameter --- */

static const char *const notes[] = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "strict"};

static bool only_has(const json_t *schema, const char *const *allowed, size_t n)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)schema, key, value) {
		bool known = false;
		for (size_t i = 0; i < n; i++)
			known |= strcmp(key, allowed[i]) == 0;
		for (size_t i = 0; i < HTH_COUNT(notes); i++)
			known |= strcmp(key, notes[i]) == 0;
		if (!known)
			return false;
	}
	return true;
}

static bool is_plain_text(const char *s) { return s[0] != '\0' && strpbrk(s, "<>\"\n\r\t&") == NULL; }

/* A word of a programming language, which families that write calls as code need for names. */
static bool is_word(const char *s)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_", more[] = "0123456789.";
	bool ok = s[0] != '\0' && strchr(letters, s[0]) != NULL;
	for (; *s != '\0'; s++)
		ok = ok && (strchr(letters, *s) != NULL || strchr(more, *s) != NULL);
	return ok;
}

static bool property_fits(const shape *s, const json_t *property)
{
	static const char *const of_text[] = {"type", "enum"};
	const char *type = json_string_value(json_object_get(property, "type"));
	if (type == NULL)
		return false;
	if (strcmp(type, "string") != 0)
		return strcmp(type, "null") != 0 && !(s->scalars && (strcmp(type, "object") == 0 || strcmp(type, "array") == 0 ||
		                                                     json_object_get(property, "enum") != NULL));
	size_t i;
	json_t *value;
	json_array_foreach (json_object_get(property, "enum"), i, value)
		if (!json_is_string(value) || !is_plain_text(json_string_value(value)) ||
		    (s->text_class != NULL && strchr(json_string_value(value), '\\') != NULL))
			return false;
	return only_has(property, of_text, HTH_COUNT(of_text));
}

/* Whether marks can carry arguments of this schema: an object of named parameters, text or JSON of one type. */
static bool marks_fit(const shape *s, const json_t *schema)
{
	static const char *const of_object[] = {"type", "properties", "required", "additionalProperties", "$defs", "definitions"};
	const char *type = json_string_value(json_object_get(schema, "type")), *key;
	json_t *property, *properties = json_object_get(schema, "properties");
	if (schema == NULL || type == NULL || strcmp(type, "object") != 0 || !only_has(schema, of_object, HTH_COUNT(of_object)))
		return false;
	size_t i;
	json_t *needed;
	json_array_foreach (json_object_get(schema, "required"), i, needed)
		if (!json_is_string(needed) || json_object_get(properties, json_string_value(needed)) == NULL)
			return false;
	json_object_foreach (properties, key, property)
		if (!is_plain_text(key) || (s->separator != NULL && strpbrk(key, ":,{} ") != NULL) ||
		    (s->text_class != NULL && !is_word(key)) || !property_fits(s, property))
			return false;
	return true;
}

static bool is_required(const json_t *schema, const char *key)
{
	size_t i;
	json_t *value;
	json_array_foreach (json_object_get(schema, "required"), i, value)
		if (strcmp(json_string_value(value), key) == 0)
			return true;
	return false;
}

/* Appends the rule args-i: the parameters in the schema's order, those that are not required left out at will. Between them a separator
 * stands, if the family has one: then the rule is made of the ways to begin. */
static void write_sequence(const shape *s, const json_t *schema, size_t i, hth_buf *out)
{
	const json_t *properties = json_object_get(schema, "properties");
	size_t n = json_object_size(properties), k = 0, first = 0;
	const char *key;
	json_t *property;
	hth_buf_appendf(out, "args-%zu ::=", i);
	if (n == 0)
		hth_buf_append_str(out, " \"\"");
	if (s->separator == NULL) {
		json_object_foreach ((json_t *)properties, key, property)
			hth_buf_appendf(out, " par-%zu-%zu%s", i, k++, is_required(schema, key) ? "" : "?");
		hth_buf_append_char(out, '\n');
		return;
	}
	/* more-k: parameters k and after, each with a separator before it. */
	bool none_required = true;
	json_object_foreach ((json_t *)properties, key, property) {
		if (none_required)
			hth_buf_appendf(out, "%s par-%zu-%zu more-%zu-%zu", first++ > 0 ? " |" : "", i, k, i, k + 1);
		none_required = none_required && !is_required(schema, key);
		k++;
	}
	hth_buf_appendf(out, "%s\nmore-%zu-%zu ::= \"\"\n", none_required && n > 0 ? " | \"\"" : "", i, n);
	k = 0;
	json_object_foreach ((json_t *)properties, key, property) {
		hth_buf_appendf(out, "more-%zu-%zu ::= (", i, k);
		literal(out, s->separator);
		hth_buf_appendf(out, " par-%zu-%zu)%s more-%zu-%zu\n", i, k, is_required(schema, key) ? "" : "?", i, k + 1);
		k++;
	}
}

/* Appends the rule args-i and those of its parameters. */
static hth_status write_marks(const shape *s, const hth_call_tool *tool, size_t i, hth_schema_set *set, hth_buf *out, hth_error *err)
{
	const char *key;
	char rule[32];
	json_t *property;
	size_t k = 0;
	/* The whole first: its document is what the properties' references point into. */
	HTH_TRY(hth_schema_set_add(set, tool->schema, rule, err));
	json_object_foreach (json_object_get(tool->schema, "properties"), key, property) {
		const json_t *values = json_object_get(property, "enum");
		bool text = strcmp(json_string_value(json_object_get(property, "type")), "string") == 0;
		char until[48], close[64];
		snprintf(until, sizeof until, "value-%zu-%zu", i, k);
		/* A text goes on to the mark; a line end that may be missing behind the mark is not waited for. */
		snprintf(close, sizeof close, "%s", s->parameter[2]);
		bool line = s->loose_lines && close[strlen(close) - 1] == '\n';
		if (line)
			close[strlen(close) - 1] = '\0';
		if (!text)
			HTH_TRY(hth_schema_set_add(set, property, rule, err));
		else if (json_array_size(values) == 0 && s->text_class == NULL)
			hth_call_grammar_until(until, close, out);
		hth_buf_appendf(out, "par-%zu-%zu ::=", i, k);
		literal(out, s->parameter[0]);
		literal(out, key);
		mark(s, out, !text && s->json_value != NULL ? s->json_value : s->parameter[1]);
		if (!text) {
			hth_buf_appendf(out, " %s", rule);
			if (!s->scalars)
				mark(s, out, s->parameter[2]);
		} else if (json_array_size(values) == 0 && s->text_class != NULL) {
			hth_buf_appendf(out, " %s*", s->text_class);
			mark(s, out, s->parameter[2]);
		} else if (json_array_size(values) == 0) {
			hth_buf_appendf(out, " %s%s", until, line ? " \"\\n\"?" : "");
		} else {
			for (size_t v = 0; v < json_array_size(values); v++) {
				hth_buf_append_str(out, v == 0 ? " (" : " |");
				literal(out, json_string_value(json_array_get(values, v)));
			}
			hth_buf_append_str(out, ")");
			mark(s, out, s->parameter[2]);
		}
		hth_buf_append_char(out, '\n');
		k++;
	}
	write_sequence(s, tool->schema, i, out);
	return HTH_OK;
}

/* --- the whole --- */

static hth_status write_tool(const shape *s, const hth_call_tool *tool, size_t i, hth_schema_set *set, hth_buf *out, hth_error *err)
{
	char rule[32];
	if (s->parameter[0] != NULL) {
		HTH_TRY(write_marks(s, tool, i, set, out, err));
	} else {
		snprintf(rule, sizeof rule, "any-object");
		if (tool->schema != NULL)
			HTH_TRY(hth_schema_set_add(set, tool->schema, rule, err));
		hth_buf_appendf(out, "args-%zu ::= %s\n", i, rule);
	}
	hth_buf_appendf(out, "call-%zu ::=", i);
	literal(out, s->name);
	if (s->id != NULL)
		hth_buf_appendf(out, " %s", s->id);
	literal(out, tool->name);
	if (s->raw_arguments)
		hth_buf_appendf(out, " %s", s->arguments);
	else
		mark(s, out, s->arguments);
	hth_buf_appendf(out, " args-%zu", i);
	literal(out, s->end);
	hth_buf_append_char(out, '\n');
	return HTH_OK;
}

hth_status hth_call_grammar(hth_toolcalls_style *style, const char *source, const hth_call_tool *tools, size_t n_tools, bool one,
                            hth_schema_set *set, hth_buf *out, const char **ret_open, hth_error *err)
{
	shape s = shape_of(style->format, source);
	bool fits = true;
	for (size_t i = 0; i < n_tools && s.parameter[0] != NULL; i++)
		fits &= marks_fit(&s, tools[i].schema) && (s.text_class == NULL || is_word(tools[i].name));
	if (!fits)
		s = untaught;
	if (s.generic)
		style->format = HTH_TOOLCALLS_GENERIC;
	for (size_t i = 0; i < n_tools; i++) {
		if (write_tool(&s, &tools[i], i, set, out, err) != HTH_OK) {
			snprintf(err->param, sizeof err->param, "tools[%zu]", i);
			return err->status;
		}
	}
	hth_buf_append_str(out, "call ::=");
	for (size_t i = 0; i < n_tools; i++)
		hth_buf_appendf(out, "%s call-%zu", i > 0 ? " |" : "", i);
	hth_buf_append_str(out, "\nrest ::=");
	literal(out, s.list);
	hth_buf_append_str(out, " call");
	if (!one && !s.single) {
		hth_buf_append_str(out, " (");
		mark(&s, out, s.between);
		hth_buf_appendf(out, " call){0,%d}", HTH_CALL_GRAMMAR_CALLS_MAX - 1);
	}
	literal(out, s.close);
	hth_buf_append_str(out, "\ncalls ::=");
	literal(out, s.open);
	hth_buf_append_str(out, " rest\n");
	*ret_open = s.ambiguous ? NULL : s.open;
	return hth_buf_check(out, "a grammar", err);
}
