/* choices.h - what a body asks of an answer's shape: which tools it may or must call, which schema or grammar its text obeys. Each family's
 * spelling ends in the same members of a request's input. */
#ifndef HTH_API_CHOICES_H
#define HTH_API_CHOICES_H

#include "json/json.h"
#include "request/request.h"

/* tools: in OpenAI's nested form, checked; NULL or empty: none. choice: tool_choice as the chat API or the Responses API has it (none,
 * auto, required, a function, allowed tools), or NULL. */
HTH_MUST_USE hth_status hth_choices_tools(const json_t *tools, const json_t *choice, hth_request_input *input, hth_error *err);
/* {"type": "text" | "json_object" | "json_schema", ...}: response_format (the schema inside "json_schema"), or text.format (beside the
 * type). param: its name in the body. NULL and null: any text. */
HTH_MUST_USE hth_status hth_choices_format(const json_t *format, const char *param, hth_request_input *input, hth_error *err);
/* A schema, or "json" for any object; param as above. */
HTH_MUST_USE hth_status hth_choices_schema(const json_t *schema, const char *param, hth_request_input *input, hth_error *err);
/* Adds how much to think to the template's variables, where it is not said: an effort, or "none". */
void hth_choices_effort(json_t *variables, const char *effort);
/* "grammar" (GBNF), as llama.cpp's server takes it, and its "json_schema". Refuses a grammar beside another shape. A completion's schema
 * becomes its grammar at once. */
HTH_MUST_USE hth_status hth_choices_grammar(const json_t *body, hth_request *request, hth_error *err);

#endif
