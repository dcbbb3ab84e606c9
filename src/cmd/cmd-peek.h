/* cmd-peek.h - a model elsewhere, opened by its beginnings only, for `hearth show` and `hearth pull`. */
#ifndef HTH_CMD_PEEK_H
#define HTH_CMD_PEEK_H

#include "cmd/cmd-model.h"
#include "pull/pull.h"

/* The settings of a pull. */
void hth_cmd_pull_options(const hth_invocation *in, hth_pull_options *ret_options);
/* As hth_local_open, for a model that is not here: the files have its header, and holes for weights. */
HTH_MUST_USE hth_status hth_cmd_peek_open(const hth_invocation *in, const char *reference, hth_local_model *ret_model, hth_error *err);

#endif
