/* template-vars.h - JSON to a chat template's values: messages, tools and options as a request carries them.
 *
 * Every string, keys included, counts as input (a tokenizer will not read special tokens in it), except where trusted.
 */
#ifndef HTH_RUNNER_TEMPLATE_VARS_H
#define HTH_RUNNER_TEMPLATE_VARS_H

#include "engine/jinja/jinja.h"
#include "json/json.h"

/* NULL when the arena is full. trusted: strings count as the template's own text (bos_token, eos_token). A NULL json is none. */
const hth_jinja_value *hth_jinja_from_json(hth_jinja_arena *arena, const json_t *json, bool trusted);

/* The variables of a rendering from an object of them, as transformers' apply_chat_template passes them on: all members under
 * their names; bos_token, eos_token and other *_token strings are trusted, and so is each message's role when it is one of the
 * usual ones; `add_generation_prompt` is false where absent. What is absent stays undefined (templates ask for `tools` in both
 * ways, and undefined passes more of them than none). HTH_TOO_LARGE when the arena is full, HTH_INVALID when vars is no object. */
HTH_MUST_USE hth_status hth_template_vars(const hth_jinja_value **ret_vars, hth_jinja_arena *arena, const json_t *vars,
                                          hth_error *err);

#endif
