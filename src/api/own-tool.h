/* own-tool.h - web_fetch and search_documents, tools that the node itself runs for a model: one of them offered in one
 * call, its calls kept from the client, the page (or the passages) put into the conversation, and the model asked to go on. To the client
 * it is one answer.
 *
 * An answer that also calls tools of the client's ends with these: only the client can go on then.
 */
#ifndef HTH_API_OWN_TOOL_H
#define HTH_API_OWN_TOOL_H

#include "api/api.h"

enum { HTH_OWN_TOOL_ROUNDS_MAX = 5, HTH_OWN_TOOL_TEXT_MAX = 24 << 10 };

typedef struct hth_own_tool hth_own_tool;

/* Adds the tool to a chat request's own. detail: for web_fetch what may be fetched from, for the model to know. HTH_INVALID: no chat,
 * or the client has a tool of that name. */
HTH_MUST_USE hth_status hth_own_tool_offer(hth_own_tool **ret_tool, hth_own_tool_kind kind, hth_request *request,
                                           const char *detail, hth_error *err);
void hth_own_tool_destroy(hth_own_tool *tool); /* wipes; NULL does nothing */
/* One event of the model's answer: true when it is a part of a call of ours, and not the client's to see. Else *event's
 * calls are numbered without ours. */
bool hth_own_tool_take(hth_own_tool *tool, hth_api_event *event);
/* The answer has ended: whether it waits for a page. */
bool hth_own_tool_waits(const hth_own_tool *tool);
hth_own_tool_kind hth_own_tool_which(const hth_own_tool *tool);
/* The page's URL, or what to search for; HTH_INVALID, in words that go to the model, when the call has none or there were too many.
 * Borrowed.
 */
HTH_MUST_USE hth_status hth_own_tool_url(hth_own_tool *tool, const char **ret_url, hth_error *err);
/* The request that goes on after `before` with what came of the call. Tokens of `before` count as the next one's. The
 * caller's reference. */
HTH_MUST_USE hth_status hth_own_tool_next(hth_own_tool *tool, const hth_request *before, const char *result, size_t len,
                                          hth_request **ret_next, hth_error *err);
/* Rounds that were run; and the tokens of earlier ones, added to the last one's usage. */
unsigned hth_own_tool_rounds(const hth_own_tool *tool);
void hth_own_tool_add_usage(const hth_own_tool *tool, hth_usage *usage);

#endif
