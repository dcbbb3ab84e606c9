/* binding.h - what a body asks of an answer's shape (a tool call, a schema) as a grammar for the sampler, in the notation of the model that
 * answers.
 *
 * A tool's arguments are bound by its schema, and any object where it has none or says "strict": false. A schema that the grammar cannot
 * carry (an unsupported keyword) is refused by name where the answer must be a call of that tool or the tool says "strict": true; where the
 * model may choose whether to call and nothing was promised, its arguments are any object.
 */
#ifndef HTH_API_BINDING_H
#define HTH_API_BINDING_H

#include "api/binding-cache.h"
#include "api/toolcalls.h"
#include "request/request.h"

/* When a body was read: refuses what cannot be bound, before a model is looked for. format_param: the body's name for input.format_json;
 * tool_member: where a tool has its schema (".function.parameters"). Call it once input is filled. cache may be NULL. HTH_UNSUPPORTED,
 * HTH_INVALID. */
HTH_MUST_USE hth_status hth_binding_check(const hth_request_input *input, const char *format_param, const char *tool_member,
                                          hth_binding_cache *cache, hth_error *err);
/* When the model is known: sets the request's grammar, unless the body brought its own, or binds nothing when nothing was asked. *style may
 * change: read the answer with it. source: of the model's chat template. */
HTH_MUST_USE hth_status hth_binding_apply(hth_request *request, hth_toolcalls_style *style, const char *source, hth_binding_cache *cache,
                                          hth_error *err);

/* For a prompt that no template makes: input.format_json becomes the grammar at once. */
HTH_MUST_USE hth_status hth_binding_plain(hth_request *request, hth_error *err);

#endif
