/* line-editor.h - reads one line from a person, with editing and history (libedit hidden). */
#ifndef HTH_CMD_LINE_EDITOR_H
#define HTH_CMD_LINE_EDITOR_H

#include "base/status.h"

typedef struct hth_line_editor hth_line_editor;

typedef enum hth_line_result { HTH_LINE_READ, HTH_LINE_INTERRUPTED /* Ctrl-C */,
                               HTH_LINE_END /* Ctrl-D on an empty line */ } hth_line_result;

/* The history lives in memory only: what is said to a model is written nowhere. */
HTH_MUST_USE hth_status hth_line_editor_open(hth_line_editor **ret_editor, hth_error *err);
void hth_line_editor_close(hth_line_editor *editor);
/* *ret_line is without its line's end, borrowed until the next call. */
hth_line_result hth_line_editor_read(hth_line_editor *editor, const char *prompt, const char **ret_line);
/* Adds what was said to the history. */
void hth_line_editor_remember(hth_line_editor *editor, const char *line);

#endif
