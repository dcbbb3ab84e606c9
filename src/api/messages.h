/* messages.h - a conversation as the chat APIs send it, checked and put into the one shape that chat templates read. */
#ifndef HTH_API_MESSAGES_H
#define HTH_API_MESSAGES_H

#include "json/json.h"
#include "request/request.h"

/* OpenAI's `messages`: content strings or parts, tool calls and their results. The result (a new reference) is an array of
 * {"role","content"[,"name"][,"reasoning_content"][,"tool_calls"][,"tool_call_id"]}, where content is a string and a tool call's
 * arguments are an object where they are one. Failures name the place ("messages[3].content"). */
HTH_MUST_USE hth_status hth_messages_from_openai(const json_t *messages, json_t **ret_messages, hth_error *err);
/* OpenAI's `tools`: checks that each is a function with a name. */
HTH_MUST_USE hth_status hth_messages_check_tools(const json_t *tools, hth_error *err);

#endif
