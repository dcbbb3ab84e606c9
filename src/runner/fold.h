/* fold.h - what a chat template has no place for is said in words that it does: a system message to a model that knows none, tools to a
 * model that was never taught any. Without this the template would drop them silently, or refuse. */
#ifndef HTH_RUNNER_FOLD_H
#define HTH_RUNNER_FOLD_H

#include "engine/jinja/jinja.h"
#include "json/json.h"

/* Appends the words that tell of tools and of how to call them, in the generic notation of api/toolcalls.h. */
HTH_MUST_USE hth_status hth_fold_tools(const json_t *tools, hth_buf *out, hth_error *err);
/* Changes messages (checked, as hth_messages_from_openai makes them) for a template that can do `caps`: words (NULL: none) end the first
 * system message, calls and their results become text, then system messages join the user's that follow them. HTH_NO_MEMORY. */
HTH_MUST_USE hth_status hth_fold_messages(json_t *messages, const char *words, const hth_jinja_caps *caps, hth_error *err);

#endif
