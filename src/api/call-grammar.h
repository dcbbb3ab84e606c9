/* call-grammar.h - the grammar (GBNF) of a tool call as each model family writes it: the other side of toolcalls.h. */
#ifndef HTH_API_CALL_GRAMMAR_H
#define HTH_API_CALL_GRAMMAR_H

#include "api/toolcalls.h"
#include "schema/schema.h"

enum { HTH_CALL_GRAMMAR_CALLS_MAX = 16 /* in one bound answer */ };

/* One tool that may be called. */
typedef struct hth_call_tool {
	const char *name;
	const json_t *schema; /* of its arguments; NULL: any object */
} hth_call_tool;

/* Appends the rules `calls` (one call, or up to HTH_CALL_GRAMMAR_CALLS_MAX unless `one`) and `rest` (the same without its opening mark) to
 * out, and the rules of the arguments to set, whose text the caller appends. source is the chat template's. *style may become another one
 * that the answer must then be read with: the generic notation, where the family's own cannot carry these tools. *ret_open is the opening
 * mark when it is an unambiguous one (static text), or NULL: then `rest` is not there. HTH_UNSUPPORTED, HTH_INVALID: a schema; err->param
 * is then "tools[i]" and the caller appends the member. */
HTH_MUST_USE hth_status hth_call_grammar(hth_toolcalls_style *style, const char *source, const hth_call_tool *tools, size_t n_tools,
                                         bool one, hth_schema_set *set, hth_buf *out, const char **ret_open, hth_error *err);
/* Appends the rule `name` (and helpers name-0, ...): any text up to the first `close` (at most 64 ASCII or whole characters), and
 * `close`. */
void hth_call_grammar_until(const char *name, const char *close, hth_buf *out);

#endif
