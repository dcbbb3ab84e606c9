/* modelfile.h - Ollama's Modelfile, read and written, and the settings of a made model as both it and the JSON of
 * /api/create have them.
 *
 * Settings are an object with the members of catalog/record.h that a client may give: template, system, license
 * (strings), params (object), messages (array).
 */
#ifndef HTH_API_MODELFILE_H
#define HTH_API_MODELFILE_H

#include "json/json.h"

enum { HTH_MODELFILE_MAX = 1 << 20, HTH_MODELFILE_MESSAGES_MAX = 1000 };

/* FROM, PARAMETER, SYSTEM, TEMPLATE, LICENSE, MESSAGE; words in any case, '#' comments, values to the line's end, in
 * quotes or in three quotes over lines. *ret_from and *ret_settings are the caller's. HTH_INVALID with the line;
 * HTH_UNSUPPORTED: ADAPTER. */
HTH_MUST_USE hth_status hth_modelfile_parse(const char *text, size_t len, char **ret_from, json_t **ret_settings,
                                            hth_error *err);
/* The settings' values in their types and ranges: the name of the wrong one is err->param. Parameters that steer
 * another engine's memory (num_gpu, ...) are taken and do nothing; one that nobody knows is refused. */
HTH_MUST_USE hth_status hth_modelfile_check(const json_t *settings, hth_error *err);
/* As Ollama shows it. record as in catalog/record.h, or NULL; template: what is used when the record has none. */
void hth_modelfile_write(const char *from, const json_t *record, const char *template, hth_buf *out);
/* "temperature 0.7\nstop \"...\"", Ollama's `parameters`. */
void hth_modelfile_write_params(const json_t *params, hth_buf *out);

#endif
