/* line-editor.c - libedit, set up so that Ctrl-C is a key.
 *
 * While a line is edited the terminal sends no interrupt signal and Ctrl-C is a character like others, which ends the line: there is no
 * signal to race with (one that comes before the terminal is set waits), and an answer that streams (when the terminal is back to normal)
 * is the only thing that a SIGINT stops. Main thread.
 */
#include "cmd/line-editor.h"

#include "base/mem.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 500 };

struct hth_line_editor {
	EditLine *el;
	History *history;
	const char *prompt;
	bool interrupted;
	bool at_start;    /* nothing of this line has been read */
	sigset_t outside; /* the signals that were blocked before a line is read */
	char *line;
};

static char *give_prompt(EditLine *el)
{
	hth_line_editor *editor = NULL;
	el_get(el, EL_CLIENTDATA, &editor);
	return (char *)editor->prompt;
}

/* The next character of the terminal. Ctrl-C ends the line, as a key or (in the moment before the terminal is set) as a signal. */
static int read_character(EditLine *el, wchar_t *ret_c)
{
	hth_line_editor *editor = NULL;
	el_get(el, EL_CLIENTDATA, &editor);
	mbstate_t state = {0};
	for (;;) {
		char byte;
		struct pollfd terminal = {.fd = 0, .events = POLLIN};
		bool typed_ahead = editor->at_start && poll(&terminal, 1, 0) > 0;
		editor->at_start = false;
		ssize_t n = ppoll(&terminal, 1, NULL, &editor->outside);
		if (n >= 0)
			n = read(0, &byte, 1);
		/* A Ctrl-D from before the terminal was set arrives as a NUL (n_tty keeps its end of file as that). */
		if (n == 1 && byte == 0 && typed_ahead)
			return 0;
		if ((n == 1 && byte == 3) || (n < 0 && errno == EINTR)) {
			editor->interrupted = true;
			*ret_c = L'\n';
			return 1;
		}
		if (n <= 0)
			return (int)n;
		size_t used = mbrtowc(ret_c, &byte, 1, &state);
		if (used == (size_t)-1) { /* no UTF-8: as if it had not been typed */
			state = (mbstate_t){0};
			continue;
		}
		if (used != (size_t)-2)
			return 1;
	}
}

hth_status hth_line_editor_open(hth_line_editor **ret_editor, hth_error *err)
{
	hth_line_editor *editor = hth_alloc_array(1, sizeof *editor);
	if (editor == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the line editor");
	/* Characters of more than a byte can be edited in a UTF-8 locale only; a bare machine has "C" set. */
	const char *locale = setlocale(LC_CTYPE, "");
	if (locale == NULL || strcmp(locale, "C") == 0 || strcmp(locale, "POSIX") == 0)
		setlocale(LC_CTYPE, "C.UTF-8");
	editor->el = el_init("hearth", stdin, stdout, stderr);
	editor->history = history_init();
	if (editor->el == NULL || editor->history == NULL) {
		hth_line_editor_close(editor);
		return hth_fail(err, HTH_IO, "this terminal cannot be used for editing lines");
	}
	HistEvent event;
	history(editor->history, &event, H_SETSIZE, HISTORY_LINES);
	history(editor->history, &event, H_SETUNIQUE, 1);
	el_set(editor->el, EL_CLIENTDATA, editor);
	el_set(editor->el, EL_PROMPT, give_prompt);
	el_set(editor->el, EL_EDITOR, "emacs");
	el_set(editor->el, EL_HIST, history, editor->history);
	el_set(editor->el, EL_SETTY, "-d", "-isig", NULL);
	el_set(editor->el, EL_GETCFN, read_character);
	el_set(editor->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	*ret_editor = editor;
	return HTH_OK;
}

void hth_line_editor_close(hth_line_editor *editor)
{
	if (editor == NULL)
		return;
	if (editor->history != NULL)
		history_end(editor->history);
	if (editor->el != NULL)
		el_end(editor->el);
	free(editor->line);
	free(editor);
}

hth_line_result hth_line_editor_read(hth_line_editor *editor, const char *prompt, const char **ret_line)
{
	editor->prompt = prompt;
	editor->interrupted = false;
	editor->at_start = true;
	int count = 0;
	/* A SIGINT of the moment between showing the prompt and setting the terminal waits until ppoll lets it in. */
	sigset_t interrupt;
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupt, &editor->outside);
	const char *got = el_gets(editor->el, &count);
	sigprocmask(SIG_SETMASK, &editor->outside, NULL);
	if (editor->interrupted)
		return HTH_LINE_INTERRUPTED;
	if (got == NULL || count <= 0)
		return HTH_LINE_END;
	free(editor->line);
	editor->line = strdup(got);
	if (editor->line == NULL)
		return HTH_LINE_END;
	editor->line[strcspn(editor->line, "\r\n")] = '\0';
	*ret_line = editor->line;
	return HTH_LINE_READ;
}

void hth_line_editor_remember(hth_line_editor *editor, const char *line)
{
	HistEvent event;
	if (*line != '\0')
		history(editor->history, &event, H_ENTER, line);
}
