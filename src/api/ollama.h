/* ollama.h - what the files of Ollama's API share. */
#ifndef HTH_API_OLLAMA_H
#define HTH_API_OLLAMA_H

#include "api/api.h"

/* The level of Ollama's API that these files follow; clients look at it to know what they may ask. */
#define HTH_OLLAMA_API_VERSION "0.12.6"

/* {"error":"..."} */
void hth_ollama_write_error(hth_buf *out, int http_status, const char *type, const char *code, const hth_error *error);
/* "model", or "name" as older clients call it; required. */
HTH_MUST_USE hth_status hth_ollama_model(const json_t *body, const char **ret_model, hth_error *err);
/* "options" and "keep_alive". Options that are about another engine's memory (num_gpu, num_batch, ...) are ignored. */
HTH_MUST_USE hth_status hth_ollama_options(const json_t *body, hth_request_params *params, hth_error *err);
/* ,"total_duration":..,"load_duration":.. in nanoseconds */
void hth_ollama_write_times(hth_buf *out, const hth_request *request);

#endif
