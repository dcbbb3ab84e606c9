/* fields.h - members of a request's body that several families share, read into a request. Every failure names its field. */
#ifndef HTH_API_FIELDS_H
#define HTH_API_FIELDS_H

#include "json/json.h"
#include "request/request.h"

enum { HTH_API_MESSAGES_MAX = 10000, HTH_API_TOKENS_MAX = 4 * 1024 * 1024 };

/* Sampling as OpenAI and the llama.cpp family spell it: temperature, top_p, top_k, min_p, typical_p, the penalties, mirostat,
 * seed, logit_bias, ignore_eos. `object` may be NULL. */
HTH_MUST_USE hth_status hth_fields_sampling(const json_t *object, hth_request_params *params, hth_error *err);
/* "stop" (or key): a string or an array of strings. */
HTH_MUST_USE hth_status hth_fields_stop(const json_t *object, const char *key, hth_request_params *params, hth_error *err);
/* The first of the given keys that is there: tokens of the answer. -1 means no limit. Leaves max_tokens as it is when absent. */
HTH_MUST_USE hth_status hth_fields_max_tokens(const json_t *object, const char *const *keys, size_t n_keys,
                                              hth_request_params *params, hth_error *err);
/* Copies a parameter set (the second of n answers gets its own copy, with the seed advanced by k). */
HTH_MUST_USE hth_status hth_fields_copy_params(hth_request_params *to, const hth_request_params *from, uint64_t k, hth_error *err);
/* Copies what a chat asks: messages, tools, template variables and the shape of the answer. */
HTH_MUST_USE hth_status hth_fields_copy_chat(hth_request_input *to, const hth_request_input *from, hth_error *err);
/* An array of token ids becomes input->tokens. */
HTH_MUST_USE hth_status hth_fields_tokens(const json_t *array, const char *name, hth_request_input *input, hth_error *err);
/* A copy of a string; and input->text from a JSON string. */
HTH_MUST_USE hth_status hth_fields_copy(const char *s, char **ret_copy, hth_error *err);
HTH_MUST_USE hth_status hth_fields_text(const json_t *string, const char *name, hth_request_input *input, hth_error *err);
/* Seconds from a number or "5m", "1h30m", "90s", "500ms"; negative: for ever (-1). */
HTH_MUST_USE hth_status hth_fields_keep_alive(const json_t *object, int64_t *ret_seconds, hth_error *err);
/* HTH_UNSUPPORTED, naming the first of these keys that is there with anything in it: what cannot be left out without answering another
 * question. */
HTH_MUST_USE hth_status hth_fields_refuse(const json_t *object, const char *const *keys, size_t n_keys, hth_error *err);
/* JSON text of a value, owned by the caller. */
HTH_MUST_USE hth_status hth_fields_dump(const json_t *json, char **ret_text, hth_error *err);

#endif
