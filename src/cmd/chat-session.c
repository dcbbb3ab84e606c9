/* chat-session.c - the conversation: lines in, answers out, history between, and the few words that begin with '/'.
 *
 * Ctrl-C stops the answer that runs and keeps what was said so far; at the prompt it gives the line up. When the conversation no longer
 * fits the model's context its oldest turns are forgotten, and that is said: an answer must never come from half of what stands on
 * the screen without a word. Nothing is written to disk unless /save is typed.
 */
#include "cmd/chat-session.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "cmd/cmd-options.h"
#include "cmd/line-editor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct session {
	const hth_invocation *in;
	hth_chat *chat;
	hth_chat_params params;
	volatile sig_atomic_t *interrupted;
	hth_line_editor *editor;
	char *system;     /* owned; NULL: none */
	json_t *messages; /* what was said, without the system message */
	hth_buf answer;   /* the one that streams */
	bool was_thinking;
	bool leave;
} session;

/* ---- showing ---- */

void hth_chat_print(const char *text, size_t len, bool thinking, bool *was_thinking)
{
	bool colors = hth_cmd_colors(1);
	if (thinking != *was_thinking) {
		fputs(colors ? (thinking ? "\033[2m" : "\033[0m") : "", stdout);
		if (!thinking)
			fputs("\n\n", stdout);
		*was_thinking = thinking;
	}
	size_t from = 0;
	for (size_t i = 0; i < len;) {
		uint32_t cp;
		size_t n = hth_utf8_decode_lossy(text + i, len - i, &cp);
		if ((cp < 0x20 && cp != '\n' && cp != '\t') || (cp >= 0x7F && cp < 0xA0)) {
			fwrite(text + from, 1, i - from, stdout);
			from = i + n;
		}
		i += n;
	}
	fwrite(text + from, 1, len - from, stdout);
	fflush(stdout);
}

void hth_chat_print_stats(const hth_chat_stats *stats)
{
	bool colors = hth_cmd_colors(2);
	fprintf(stderr, "%s[%u tokens", colors ? "\033[2m" : "", stats->answer_tokens);
	/* From the first word to the last; an answer that came in one burst says nothing by that, so then over all of its time. */
	bool burst = stats->answer_s < 0.02;
	double seconds = burst ? stats->first_s + stats->answer_s : stats->answer_s;
	if (stats->answer_tokens > 1 && seconds > 0)
		fprintf(stderr, ", %.1f tokens/s", (stats->answer_tokens - !burst) / seconds);
	fprintf(stderr, ", first after %.2f s%s]%s\n", stats->first_s, stats->cut ? ", cut at the limit" : "", colors ? "\033[0m" : "");
}

static void say(const char *fmt, ...) HTH_PRINTF(1, 2);
static void say(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* ---- asking ---- */

static void take_text(void *ctx, const char *text, size_t len, bool thinking)
{
	session *s = ctx;
	if (!thinking)
		hth_buf_append(&s->answer, text, len);
	hth_chat_print(text, len, thinking, &s->was_thinking);
}

static json_t *with_system(const session *s)
{
	json_t *all = json_array();
	if (s->system != NULL)
		json_array_append_new(all, json_pack("{s:s,s:s}", "role", "system", "content", s->system));
	json_array_extend(all, s->messages);
	return all;
}

static void ask(session *s, const char *text)
{
	json_t *message = json_pack("{s:s,s:s}", "role", "user", "content", text);
	if (message == NULL) {
		say("That is not UTF-8 text.");
		return;
	}
	json_array_append_new(s->messages, message);
	hth_chat_stats stats;
	hth_error err = HTH_ERROR_INIT;
	hth_status status;
	size_t forgotten = 0;
	*s->interrupted = 0;
	for (;;) {
		HTH_AUTO_JSON json_t *all = with_system(s);
		hth_buf_clear(&s->answer);
		status = hth_chat_ask(s->chat, all, &s->params, take_text, s, &stats, &err);
		/* A turn is a question and its answer; the last question stays. */
		if (status != HTH_TOO_LARGE || json_array_size(s->messages) < 3)
			break;
		json_array_remove(s->messages, 0);
		json_array_remove(s->messages, 0);
		forgotten += 2;
	}
	if (s->was_thinking)
		hth_chat_print("", 0, false, &s->was_thinking);
	if (s->answer.len > 0 && s->answer.data[s->answer.len - 1] != '\n')
		putchar('\n');
	if (forgotten > 0)
		say("(The conversation no longer fits the model's context: its first %zu messages are forgotten.)", forgotten);
	json_t *answer = s->answer.len > 0 ? json_stringn(s->answer.data, s->answer.len) : NULL;
	if (status == HTH_OK || (status == HTH_CANCELLED && answer != NULL)) {
		json_array_append_new(s->messages, json_pack("{s:s,s:o}", "role", "assistant", "content",
		                                             answer != NULL ? answer : json_string("")));
		if (status == HTH_OK)
			hth_chat_print_stats(&stats);
		else
			say("(stopped)");
	} else {
		json_decref(answer);
		json_array_remove(s->messages, json_array_size(s->messages) - 1); /* as if it had not been asked */
		say(status == HTH_CANCELLED ? "(stopped)" : "That failed: %s", err.message);
	}
	*s->interrupted = 0;
}

/* ---- the words that begin with '/' ---- */

static void help(session *s, const char *rest);

static void clear(session *s, const char *rest)
{
	json_array_clear(s->messages);
	say("Everything said so far is forgotten.");
}

static void set_system(session *s, const char *rest)
{
	if (*rest == '\0' && s->system == NULL) {
		say("There is no system message. /system TEXT sets one.");
	} else if (*rest == '\0') {
		say("The system message is: %s", s->system);
	} else {
		free(s->system);
		s->system = strdup(rest);
		say("The system message is set; /clear begins afresh with it.");
	}
}

static void set_value(session *s, const char *rest)
{
	hth_chat_params *p = &s->params;
	const struct {
		const char *name;
		double min, max;
		double *number;
		int64_t *integer;
		bool *given;
	} values[] = {{"temperature", 0, 100, &p->temperature, NULL, &p->temperature_given},
	              {"top_p", 0, 1, &p->top_p, NULL, &p->top_p_given},
	              {"min_p", 0, 1, &p->min_p, NULL, &p->min_p_given},
	              {"repeat_penalty", 0.01, 100, &p->repeat_penalty, NULL, &p->repeat_given},
	              {"top_k", 0, 1 << 30, NULL, &p->top_k, &p->top_k_given},
	              {"seed", 0, 9007199254740992.0, NULL, &p->seed, &p->seed_given},
	              {"max_tokens", -1, 1 << 30, NULL, &p->max_tokens, NULL}};
	char name[32];
	size_t len = strcspn(rest, " =");
	snprintf(name, sizeof name, "%.*s", (int)HTH_MIN(len, sizeof name - 1), rest);
	const char *text = rest + len + strspn(rest + len, " =");
	for (size_t i = 0; i < HTH_COUNT(values); i++) {
		if (strcmp(values[i].name, name) != 0)
			continue;
		char *end;
		double v = strtod(text, &end);
		if (*text == '\0' || *end != '\0' || !(v >= values[i].min && v <= values[i].max)) {
			say("%s is a number from %g to %g.", name, values[i].min, values[i].max);
			return;
		}
		if (values[i].number != NULL)
			*values[i].number = v;
		else
			*values[i].integer = (int64_t)v;
		if (values[i].given != NULL)
			*values[i].given = true;
		say("%s is %g from now on.", name, v);
		return;
	}
	say("/set NAME VALUE, where NAME is one of temperature, top_p, min_p, top_k, repeat_penalty, seed, max_tokens.");
}

static void save(session *s, const char *rest)
{
	if (*rest == '\0') {
		say("/save FILE writes the conversation as JSON.");
		return;
	}
	HTH_AUTO_JSON json_t *all = with_system(s);
	hth_buf text = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	hth_json_write(all, &text);
	hth_buf_append_char(&text, '\n');
	HTH_AUTO_CLOSE int fd = open(rest, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		say("%s cannot be written: %s", rest, strerror(errno));
	else if (text.failed || write(fd, text.data, text.len) != (ssize_t)text.len)
		say("%s could not be written whole.", rest);
	else
		say("%zu messages are in %s.", json_array_size(all), rest);
	hth_buf_finish(&text);
}

static void info(session *s, const char *rest)
{
	say("model %s, answering %s%s; %zu messages so far", hth_chat_model(s->chat),
	    strcmp(hth_chat_where(s->chat), "here") == 0 ? "" : "at ", hth_chat_where(s->chat), json_array_size(s->messages));
}

static void bye(session *s, const char *rest) { s->leave = true; }

static const struct word {
	const char *name, *args, *what;
	void (*fn)(session *s, const char *rest);
} words[] = {
    {"help", "", "this list", help},
    {"clear", "", "forget what was said", clear},
    {"system", " [TEXT]", "show or set the system message", set_system},
    {"set", " NAME VALUE", "temperature, top_p, min_p, top_k, repeat_penalty, seed, max_tokens", set_value},
    {"save", " FILE", "write the conversation to a new file", save},
    {"info", "", "which model answers, and where", info},
    {"bye", "", "leave (or Ctrl-D)", bye},
    {"exit", "", NULL, bye},
    {"quit", "", NULL, bye},
};

static void help(session *s, const char *rest)
{
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		if (words[i].what != NULL)
			printf("  /%-6s%-12s %s\n", words[i].name, words[i].args, words[i].what);
	say("  \"\"\" begins and ends a text of several lines; a \\ at a line's end goes on in the next.\n"
	    "  //... says a line that begins with '/'. Ctrl-C stops an answer.");
}

static void obey(session *s, const char *line)
{
	size_t len = strcspn(line + 1, " ");
	const char *rest = line + 1 + len;
	rest += strspn(rest, " ");
	const char *names[HTH_COUNT(words) + 1] = {NULL};
	for (size_t i = 0; i < HTH_COUNT(words); i++) {
		names[i] = words[i].name;
		if (strlen(words[i].name) == len && strncmp(words[i].name, line + 1, len) == 0) {
			words[i].fn(s, rest);
			return;
		}
	}
	char word[32];
	snprintf(word, sizeof word, "%.*s", (int)HTH_MIN(len, sizeof word - 1), line + 1);
	const char *near = hth_options_nearest(word, names);
	if (near != NULL)
		say("There is no /%s; did you mean /%s?", word, near);
	else
		say("There is no /%s; /help lists what there is.", word);
}

/* ---- reading ---- */

/* One thing said, perhaps of several lines, in *text (cleared first). */
static hth_line_result read_text(session *s, hth_buf *text)
{
	const char *line;
	hth_line_result got = hth_line_editor_read(s->editor, ">>> ", &line);
	hth_buf_clear(text);
	if (got != HTH_LINE_READ)
		return got;
	hth_line_editor_remember(s->editor, line);
	bool quoted = strncmp(line, "\"\"\"", 3) == 0;
	if (quoted)
		line += 3;
	for (;;) {
		size_t len = strlen(line);
		bool more = quoted;
		if (quoted && len >= 3 && strcmp(line + len - 3, "\"\"\"") == 0) {
			more = false;
			len -= 3;
		} else if (!quoted && len > 0 && line[len - 1] == '\\') {
			more = true;
			len--;
		}
		hth_buf_append(text, line, len);
		if (!more)
			break;
		if (text->len > 0)
			hth_buf_append_char(text, '\n');
		got = hth_line_editor_read(s->editor, "... ", &line);
		if (got != HTH_LINE_READ)
			return got;
		hth_line_editor_remember(s->editor, line);
	}
	while (quoted && text->len > 0 && text->data[text->len - 1] == '\n')
		text->data[--text->len] = '\0';
	return HTH_LINE_READ;
}

int hth_chat_session(const hth_invocation *in, hth_chat *chat, const char *system, const hth_chat_params *params,
                     volatile sig_atomic_t *interrupted)
{
	session s = {.in = in, .chat = chat, .params = *params, .interrupted = interrupted, .messages = json_array(),
	             .system = system != NULL ? strdup(system) : NULL, .answer = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX)};
	hth_error err = HTH_ERROR_INIT;
	if (hth_line_editor_open(&s.editor, &err) != HTH_OK)
		return hth_cmd_fail(in, &err);
	hth_buf text = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	say("%s, %s%s. /help lists what can be typed, Ctrl-D leaves.", hth_chat_model(chat),
	    strcmp(hth_chat_where(chat), "here") == 0 ? "" : "at ", hth_chat_where(chat));
	while (!s.leave) {
		hth_line_result got = read_text(&s, &text);
		if (got == HTH_LINE_END) {
			putchar('\n');
			break;
		}
		if (got == HTH_LINE_INTERRUPTED) {
			say("(Ctrl-D or /bye leaves)");
			continue;
		}
		const char *said = text.data != NULL ? text.data : "";
		if (said[strspn(said, " \t\n")] == '\0')
			continue;
		if (text.failed)
			say("That is too long.");
		else if (said[0] == '/' && said[1] != '/')
			obey(&s, said);
		else
			ask(&s, said + (said[0] == '/'));
	}
	hth_buf_finish(&text);
	hth_buf_finish(&s.answer);
	hth_line_editor_close(s.editor);
	json_decref(s.messages);
	free(s.system);
	return HTH_EXIT_DONE;
}
