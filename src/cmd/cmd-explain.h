/* cmd-explain.h - `hearth privacy explain`, which `hearth privacy` hands over to. */
#ifndef HTH_CMD_CMD_EXPLAIN_H
#define HTH_CMD_CMD_EXPLAIN_H

#include "cmd/cmd.h"

/* text NULL: standard input. Returns the exit code. */
int hth_cmd_explain(hth_invocation *in, const char *text, bool json);

#endif
