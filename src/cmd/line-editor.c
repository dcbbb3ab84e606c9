/* line-editor.c - libedit, set up so that Ctrl-C is a key.
 *
 * While a line is edited the terminal sends no interrupt signal: Ctrl-C is bound to a function that ends the line, so there is no
 * signal to race with and an answer that streams (when the terminal is back to normal) is the only thing that a SIGINT stops. Main thread.
 */
#include "cmd/line-editor.h"

#include "base/mem.h"

#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

enum { HISTORY_LINES = 500 };

struct hth_line_editor {
	EditLine *el;
	History *history;
	const char *prompt;
	bool interrupted;
	char *line;
};

static char *give_prompt(EditLine *el)
{
	hth_line_editor *editor = NULL;
	el_get(el, EL_CLIENTDATA, &editor);
	return (char *)editor->prompt;
}

static unsigned char on_interrupt(EditLine *el, int key)
{
	hth_line_editor *editor = NULL;
	el_get(el, EL_CLIENTDATA, &editor);
	editor->interrupted = true;
	return CC_NEWLINE;
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
	el_set(editor->el, EL_ADDFN, "hearth-interrupt", "give the line up", on_interrupt);
	el_set(editor->el, EL_BIND, "^C", "hearth-interrupt", NULL);
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
	int count = 0;
	const char *got = el_gets(editor->el, &count);
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
