/* toolcalls.c - the core of the parser: text in, events out, content and reasoning, gpt-oss's channels.
 *
 * All unread text sits in one buffer. A step reads on from `at` in its own state and says whether it got anywhere; steps run until
 * one needs more text. Text that is emitted leaves the buffer, so it holds only a possible mark, or a call whose beginning does
 * not yet show that it is one. What to do with marks inside marks: the first one counts.
 */
#include "api/toolcalls-internal.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* --- events --- */

void hth_tc_content(tcp *p, const char *text, size_t len)
{
	if (len == 0)
		return;
	for (size_t i = 0; i < len && !p->said; i++)
		p->said = text[i] != ' ' && text[i] != '\n' && text[i] != '\t' && text[i] != '\r';
	p->sink.content(p->sink.ctx, text, len, p->base + (uint64_t)(text - p->text.data));
}

void hth_tc_reasoning(tcp *p, const char *text, size_t len)
{
	if (len > 0 && p->options.keep_reasoning_in_content)
		p->sink.content(p->sink.ctx, text, len, p->base + (uint64_t)(text - p->text.data));
	else if (len > 0)
		p->sink.reasoning(p->sink.ctx, text, len);
}

void hth_tc_args(tcp *p, const char *text, size_t len)
{
	if (len > 0 && p->count > 0)
		p->sink.arguments(p->sink.ctx, p->count - 1, text, len);
}

bool hth_tc_begin(tcp *p, const char *name, size_t name_len, const char *id, size_t id_len)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	char own[64];
	while (name_len > 0 && (name[0] == ' ' || name[0] == '\n'))
		name++, name_len--;
	while (name_len > 0 && (name[name_len - 1] == ' ' || name[name_len - 1] == '\n' || name[name_len - 1] == '\r'))
		name_len--;
	if (name_len == 0 || name_len >= sizeof p->tool || p->count >= HTH_TOOLCALLS_MAX || id_len >= sizeof own ||
	    hth_utf8_valid_prefix(name, name_len) != name_len || memchr(name, '\0', name_len) != NULL)
		return false;
	memcpy(p->tool, name, name_len);
	p->tool[name_len] = '\0';
	if (id_len > 0) {
		snprintf(own, sizeof own, "%.*s", (int)id_len, id);
	} else {
		/* Mistral's templates take only ids of nine letters and digits. */
		bool nine = p->style.format == HTH_TOOLCALLS_MISTRAL;
		size_t n = nine ? 0 : (size_t)snprintf(own, sizeof own, "call_"), to = nine ? 9 : n + 24;
		while (n < to)
			own[n++] = letters[hth_rng_next(&p->rng) % (sizeof letters - 1)];
		own[n] = '\0';
	}
	p->count++;
	p->in_section++;
	p->started = true;
	p->said = true;
	p->any_param = false;
	p->sink.call(p->sink.ctx, p->count - 1, own, p->tool);
	return true;
}

bool hth_tc_fall_back(tcp *p, size_t to)
{
	if (to < p->mark)
		to = p->mark;
	hth_tc_content(p, p->text.data + p->mark, to - p->mark);
	p->at = p->mark = to;
	p->state = p->style.format == HTH_TOOLCALLS_HARMONY ? HTH_TC_HARMONY_BODY : HTH_TC_CONTENT;
	p->channel = HTH_TC_TO_CONTENT;
	p->no_bare = true;
	p->started = false;
	p->drop_space = false;
	return true;
}

bool hth_tc_close(tcp *p, const char *const *closers, hth_tc_state next)
{
	static const char *const none[] = {NULL};
	p->closers = closers ? closers : none;
	p->after_closing = next;
	p->state = HTH_TC_CLOSING;
	p->started = false;
	return true;
}

/* --- reading --- */

bool hth_tc_skip_space(tcp *p)
{
	while (p->at < p->text.len && strchr(" \n\t\r", p->text.data[p->at]) != NULL && p->text.data[p->at] != '\0')
		p->at++;
	return p->at < p->text.len;
}

int hth_tc_take(tcp *p, const char *s)
{
	size_t len, n = strlen(s);
	const char *rest = hth_tc_rest(p, &len);
	if (memcmp(rest, s, HTH_MIN(len, n)) != 0)
		return 0;
	if (len < n)
		return -1;
	p->at += n;
	return 1;
}

size_t hth_tc_find(const tcp *p, size_t from, const char *needle)
{
	if (from >= p->text.len)
		return SIZE_MAX;
	const char *found = memmem(p->text.data + from, p->text.len - from, needle, strlen(needle));
	return found ? (size_t)(found - p->text.data) : SIZE_MAX;
}

size_t hth_tc_partial(const char *text, size_t len, const char *needle)
{
	size_t n = strlen(needle);
	for (size_t k = HTH_MIN(len, n - 1); k > 0; k--)
		if (memcmp(text + len - k, needle, k) == 0)
			return k;
	return 0;
}

/* --- tools --- */

static const json_t *find_tool(const tcp *p, const char *name, size_t len)
{
	for (size_t i = 0; p->options.tools != NULL && i < json_array_size(p->options.tools); i++) {
		const json_t *tool = json_array_get(p->options.tools, i), *fn = json_object_get(tool, "function");
		if (fn == NULL)
			fn = tool;
		const char *known = json_string_value(json_object_get(fn, "name"));
		if (known != NULL && strlen(known) == len && memcmp(known, name, len) == 0)
			return fn;
	}
	return NULL;
}

bool hth_tc_known_tool(const tcp *p, const char *name, size_t len)
{
	return p->options.tools == NULL || find_tool(p, name, len) != NULL;
}

int hth_tc_param_is_text(const tcp *p, const char *tool, const char *key)
{
	const json_t *fn = find_tool(p, tool, strlen(tool));
	const json_t *schema = json_object_get(fn, "parameters");
	if (schema == NULL)
		schema = json_object_get(fn, "input_schema");
	const json_t *property = json_object_get(json_object_get(schema, "properties"), key), *type = json_object_get(property, "type");
	if (json_is_string(type))
		return strcmp(json_string_value(type), "string") == 0;
	const json_t *values = json_object_get(property, "enum");
	if (type == NULL && json_array_size(values) > 0 && json_is_string(json_array_get(values, 0)))
		return 1;
	return -1;
}

/* --- content --- */

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

typedef struct found_mark {
	const hth_tc_mark *mark; /* NULL: none, or one of the two below */
	bool think, noise;
	size_t at, len;
} found_mark;

/* Looks for s in the unread text; an earlier or equally early but longer find wins. *held: the smallest suffix to hold back. */
static bool look(const tcp *p, const char *s, found_mark *f, size_t *held)
{
	size_t at = hth_tc_find(p, p->at, s), n = strlen(s);
	if (at != SIZE_MAX && (at < f->at || (at == f->at && n > f->len))) {
		*f = (found_mark){.at = at, .len = n};
		return true;
	}
	size_t len;
	const char *rest = hth_tc_rest(p, &len);
	*held = HTH_MAX(*held, hth_tc_partial(rest, len, s));
	return false;
}

static found_mark find_mark(const tcp *p, bool in_reasoning, size_t *held)
{
	found_mark f = {.at = SIZE_MAX};
	const hth_tc_family *family = p->family;
	*held = 0;
	if (p->style.think_open != NULL && !p->options.keep_reasoning_in_content) {
		if (in_reasoning || !p->said) {
			if (look(p, p->style.think_close, &f, held))
				f.think = true;
		}
		if (!in_reasoning && !p->said && look(p, p->style.think_open, &f, held))
			f.think = true;
	}
	for (size_t i = 0; !in_reasoning && i < HTH_COUNT(family->noise) && family->noise[i] != NULL; i++)
		if (look(p, family->noise[i], &f, held))
			f.noise = true;
	for (size_t i = 0; p->options.calls && i < HTH_TC_MARKS_MAX && family->marks[i].text != NULL; i++)
		if ((!in_reasoning || family->marks[i].strong || p->options.bound) && look(p, family->marks[i].text, &f, held))
			f.mark = &family->marks[i];
	return f;
}

static void enter_call(tcp *p, const hth_tc_mark *mark, size_t at, size_t len)
{
	p->mark = at;
	p->at = at + len;
	p->state = mark->to;
	p->closers = mark->closers;
	p->in_list = p->bare = p->started = false;
	p->in_section = 0;
	if (strcmp(mark->text, "functools[") == 0)
		p->in_list = true;
	if (strcmp(mark->text, "<function=") == 0 || strcmp(mark->text, "<｜tool▁call▁begin｜>") == 0 ||
	    strcmp(mark->text, "<|tool_call_begin|>") == 0)
		p->at = at; /* the body reads this mark itself */
	p->invoke_prefix = strncmp(mark->text, "<｜DSML｜", strlen("<｜DSML｜")) == 0 ? "｜DSML｜" : "";
}

/* Emits text[at, to) as content, but keeps white space at its end: a mark may follow. */
static void emit_content(tcp *p, size_t to, bool keep_space)
{
	if (p->drop_space)
		while (p->at < to && is_space(p->text.data[p->at]))
			p->at++;
	size_t end = to;
	while (keep_space && end > p->at && is_space(p->text.data[end - 1]))
		end--;
	if (end > p->at) {
		hth_tc_content(p, p->text.data + p->at, end - p->at);
		p->drop_space = false;
		p->at = end;
	}
}

static bool step_content(tcp *p)
{
	size_t held, len;
	if (p->text.len == p->at)
		return false;
	if (p->family->bare && p->options.calls && !p->said && !p->no_bare) {
		size_t from = p->at;
		if (!hth_tc_skip_space(p) && !p->ended) {
			p->at = from;
			return false;
		}
		if (p->at < p->text.len && (p->text.data[p->at] == '{' || p->text.data[p->at] == '[')) {
			static const hth_tc_mark alone = {"", HTH_TC_JSON_NEXT, {NULL}, false};
			enter_call(p, &alone, p->at, 0);
			p->mark = from;
			p->bare = true;
			return true;
		}
		p->at = from;
	}
	found_mark f = find_mark(p, false, &held);
	hth_tc_rest(p, &len);
	if (f.at == SIZE_MAX) {
		bool mark_may_come = p->options.calls || p->family->noise[0] != NULL || !p->said;
		emit_content(p, p->ended ? p->text.len : p->text.len - held, !p->ended && mark_may_come);
		return false;
	}
	/* A stray end of reasoning is dropped, white space before any mark too. */
	bool closes = f.think && p->style.think_close != NULL &&
		      memcmp(p->text.data + f.at, p->style.think_close, HTH_MIN(f.len, strlen(p->style.think_close))) == 0 &&
		      f.len == strlen(p->style.think_close);
	if (f.think) {
		for (size_t i = p->at; i < f.at; i++)
			if (!is_space(p->text.data[i])) { /* something was said before: the mark is part of it */
				emit_content(p, f.at + f.len, false);
				return true;
			}
	}
	emit_content(p, f.at, true);
	size_t before = p->at; /* white space that comes back with the mark, should this be no call */
	p->drop_space = true;
	p->at = f.at + f.len;
	if (f.mark != NULL) {
		enter_call(p, f.mark, f.at, f.len);
		p->mark = before;
	}
	if (f.think && !closes)
		p->state = HTH_TC_REASONING;
	return true;
}

static bool step_reasoning(tcp *p)
{
	size_t held;
	if (p->text.len == p->at)
		return false;
	found_mark f = find_mark(p, true, &held);
	size_t to = f.at != SIZE_MAX ? f.at : p->ended ? p->text.len : p->text.len - held;
	if (p->drop_space)
		while (p->at < to && is_space(p->text.data[p->at]))
			p->at++;
	size_t end = to;
	while (end > p->at && is_space(p->text.data[end - 1]))
		end--;
	if (end > p->at) {
		hth_tc_reasoning(p, p->text.data + p->at, end - p->at);
		p->drop_space = false;
		p->at = end;
	}
	if (f.at == SIZE_MAX)
		return false;
	p->at = f.at + f.len;
	p->drop_space = true;
	p->state = HTH_TC_CONTENT;
	if (f.mark != NULL)
		enter_call(p, f.mark, f.at, f.len);
	return true;
}

static bool step_closing(tcp *p)
{
	size_t from = p->at;
	bool more = hth_tc_skip_space(p);
	bool wait = !more;
	for (size_t i = 0; more && i < HTH_TC_CLOSERS_MAX && p->closers[i] != NULL; i++) {
		int taken = hth_tc_take(p, p->closers[i]);
		if (taken == 1) {
			p->mark = p->at;
			return true; /* there may be another: </function> </tool_call> */
		}
		wait |= taken < 0;
	}
	if (wait && !p->ended && (more || p->closers[0] != NULL)) {
		p->at = from;
		return false;
	}
	p->state = p->after_closing;
	p->mark = p->at;
	if (p->state == HTH_TC_CONTENT)
		p->drop_space = true;
	return p->at < p->text.len || p->state != HTH_TC_CONTENT;
}

/* --- harmony: <|channel|>name to=recipient <|constrain|>json<|message|>text<|end|> --- */

/* The first three end a message; the last two begin the next one and belong to its header. */
static const char *const harmony_ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"};

enum { HARMONY_HEAD_MAX = 1024 };

static bool looks_like_header(const char *text, size_t len)
{
	bool mark = len >= 2 && text[0] == '<' && text[1] == '|';
	for (size_t i = 0; i < len; i++)
		mark = mark && text[i] != '\n' && (unsigned char)text[i] < 0x80;
	return mark && len < 200;
}

bool hth_tc_step_harmony_head(tcp *p)
{
	size_t at = hth_tc_find(p, p->at, "<|message|>");
	if (at == SIZE_MAX) {
		size_t len;
		const char *rest = hth_tc_rest(p, &len);
		if (len == 0 || (!p->ended && len < HARMONY_HEAD_MAX))
			return false;
		p->mark = p->at;
		p->channel = HTH_TC_TO_CONTENT;
		p->state = HTH_TC_HARMONY_BODY;
		if (p->ended && !p->complete && looks_like_header(rest, len)) {
			p->at = p->mark = p->text.len; /* cut off before anything was said */
			return false;
		}
		/* No header: text after all, without the mark that made it look like one. */
		if (hth_tc_take(p, "<|start|>") != 1)
			hth_tc_take(p, "<|channel|>");
		return true;
	}
	char head[HARMONY_HEAD_MAX];
	snprintf(head, sizeof head, "%.*s", (int)HTH_MIN(at - p->at, sizeof head - 1), p->text.data + p->at);
	const char *channel = strstr(head, "<|channel|>"), *to = strstr(head, "to=");
	channel = channel ? channel + strlen("<|channel|>") : head;
	while (*channel == ' ')
		channel++;
	p->mark = p->at;
	p->at = at + strlen("<|message|>");
	p->state = HTH_TC_HARMONY_BODY;
	p->channel = strncmp(channel, "analysis", 8) == 0 ? HTH_TC_TO_REASONING : HTH_TC_TO_CONTENT;
	if (to != NULL && p->options.calls) {
		to += 3;
		size_t n = strcspn(to, " <\n");
		if (n > 10 && strncmp(to, "functions.", 10) == 0) {
			to += 10;
			n -= 10;
		}
		if (n > 0 && hth_tc_begin(p, to, n, NULL, 0)) {
			p->channel = HTH_TC_TO_CALL;
			p->args_begun = false;
		}
	}
	p->drop_space = p->channel != HTH_TC_TO_CONTENT;
	p->mark = p->at;
	return true;
}

static void harmony_emit(tcp *p, size_t to)
{
	const char *text = p->text.data + p->at;
	size_t n = to - p->at;
	if (n == 0)
		return;
	if (p->channel == HTH_TC_TO_CALL) {
		p->args_begun = true;
		hth_tc_args(p, text, n);
	} else if (p->channel == HTH_TC_TO_REASONING) {
		hth_tc_reasoning(p, text, n);
	} else {
		hth_tc_content(p, text, n);
	}
	p->at = to;
}

bool hth_tc_step_harmony_body(tcp *p)
{
	size_t first = SIZE_MAX, which = 0, held = 0, len;
	const char *rest = hth_tc_rest(p, &len);
	for (size_t i = 0; i < HTH_COUNT(harmony_ends); i++) {
		size_t at = hth_tc_find(p, p->at, harmony_ends[i]);
		if (at < first) {
			first = at;
			which = i;
		}
		held = HTH_MAX(held, hth_tc_partial(rest, len, harmony_ends[i]));
	}
	if (first == SIZE_MAX) {
		harmony_emit(p, p->ended ? p->text.len : p->text.len - held);
		return false;
	}
	harmony_emit(p, first);
	if (p->channel == HTH_TC_TO_CALL && !p->args_begun)
		hth_tc_args(p, "{}", 2);
	p->started = false;
	p->at = first;
	if (which < 3)
		p->at += strlen(harmony_ends[which]);
	p->mark = p->at;
	p->state = HTH_TC_HARMONY_HEAD;
	return true;
}

/* --- life --- */

const hth_tc_step hth_tc_steps[HTH_TC_STATE_COUNT] = {
    [HTH_TC_CONTENT] = step_content,
    [HTH_TC_REASONING] = step_reasoning,
    [HTH_TC_JSON_NEXT] = hth_tc_step_json_next,
    [HTH_TC_JSON_OBJECT] = hth_tc_step_json_object,
    [HTH_TC_ARGS] = hth_tc_step_args,
    [HTH_TC_CLOSING] = step_closing,
    [HTH_TC_FUNCTION] = hth_tc_step_function,
    [HTH_TC_FUNCTION_BODY] = hth_tc_step_function_body,
    [HTH_TC_GLM_NAME] = hth_tc_step_glm_name,
    [HTH_TC_GLM_NEXT] = hth_tc_step_glm_next,
    [HTH_TC_INVOKE_NEXT] = hth_tc_step_invoke_next,
    [HTH_TC_INVOKE_BODY] = hth_tc_step_invoke_body,
    [HTH_TC_VALUE] = hth_tc_step_value,
    [HTH_TC_MISTRAL] = hth_tc_step_mistral,
    [HTH_TC_DEEPSEEK] = hth_tc_step_deepseek,
    [HTH_TC_KIMI] = hth_tc_step_kimi,
    [HTH_TC_WHOLE] = hth_tc_step_whole,
    [HTH_TC_PYTHON_TAG] = hth_tc_step_python_tag,
    [HTH_TC_FUNCTIONARY_HEAD] = hth_tc_step_functionary_head,
    [HTH_TC_HARMONY_HEAD] = hth_tc_step_harmony_head,
    [HTH_TC_HARMONY_BODY] = hth_tc_step_harmony_body,
};

hth_status hth_toolcalls_create(hth_toolcalls **ret_parser, const hth_toolcalls_style *style,
				const hth_toolcalls_options *options, const hth_toolcalls_sink *sink, hth_error *err)
{
	tcp *p = calloc(1, sizeof *p);
	if (p == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read an answer");
	p->style = *style;
	p->options = *options;
	p->sink = *sink;
	p->family = &hth_tc_families[style->format];
	p->text = HTH_BUF_INIT(HTH_TOOLCALLS_HELD_MAX);
	hth_rng_seed(&p->rng, options->seed);
	if (style->format == HTH_TOOLCALLS_HARMONY)
		p->state = HTH_TC_HARMONY_HEAD;
	else if (style->format == HTH_TOOLCALLS_FUNCTIONARY)
		p->state = HTH_TC_FUNCTIONARY_HEAD;
	else if (options->starts_in_reasoning && !options->keep_reasoning_in_content)
		p->state = HTH_TC_REASONING;
	p->drop_space = p->state == HTH_TC_REASONING;
	*ret_parser = p;
	return HTH_OK;
}

void hth_toolcalls_destroy(hth_toolcalls *parser)
{
	if (parser == NULL)
		return;
	if (parser->text.data != NULL)
		explicit_bzero(parser->text.data, parser->text.cap);
	hth_buf_finish(&parser->text);
	free(parser);
}

/* Text before both what is read and where a call in progress begins is not needed any more. */
static void forget(tcp *p)
{
	bool in_call = p->state != HTH_TC_CONTENT && p->state != HTH_TC_REASONING && p->state != HTH_TC_HARMONY_BODY &&
		       p->state != HTH_TC_HARMONY_HEAD && p->state != HTH_TC_CLOSING;
	size_t keep = in_call ? HTH_MIN(p->mark, p->at) : p->at;
	if (keep == 0)
		return;
	hth_buf_consume(&p->text, keep);
	p->base += keep;
	p->at -= keep;
	p->mark = p->mark > keep ? p->mark - keep : 0;
	p->object_at = p->object_at > keep ? p->object_at - keep : 0;
	p->args_from = p->args_from > keep ? p->args_from - keep : 0;
}

static void run(tcp *p)
{
	while (hth_tc_steps[p->state](p))
		;
	forget(p);
}

bool hth_toolcalls_feed(hth_toolcalls *p, const char *text, size_t len)
{
	while (len > 0) {
		size_t n = HTH_MIN(len, (size_t)65536);
		if (n > p->text.max - p->text.len) {
			/* A call as long as this is none. */
			hth_tc_fall_back(p, p->text.len);
			run(p);
		}
		if (!hth_buf_append(&p->text, text, n)) {
			p->text.failed = false;
			return false;
		}
		run(p);
		text += n;
		len -= n;
	}
	return true;
}

void hth_toolcalls_end(hth_toolcalls *p, bool complete)
{
	p->ended = true;
	p->complete = complete;
	run(p);
	/* A body that still waits for more: what is not out yet is content. */
	if (p->at < p->text.len || p->mark < p->at) {
		bool waiting = p->state != HTH_TC_CONTENT && p->state != HTH_TC_REASONING && p->state != HTH_TC_CLOSING &&
			       p->state != HTH_TC_HARMONY_HEAD && p->state != HTH_TC_HARMONY_BODY;
		if (waiting && p->text.len > 0) {
			hth_tc_fall_back(p, p->text.len);
			run(p);
		}
	}
}

size_t hth_toolcalls_count(const hth_toolcalls *parser) { return parser->count; }
