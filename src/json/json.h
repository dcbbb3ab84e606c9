/* json.h - JSON through jansson, with limits and with errors that name the place.
 *
 * The only folder that includes <jansson.h>; others include this and use json_t directly (jansson is the noun here, hiding it
 * behind a second one would only make two). Integers of 64 bits stay integers, larger ones become the nearest real; duplicate
 * keys are refused, and so is \u0000 in a string: every string may be read as a C string without losing its end.
 * jansson seeds its hash tables from /dev/urandom on first use: a process that is about to lock itself in calls
 * json_object_seed(0) before.
 */
#ifndef HTH_JSON_JSON_H
#define HTH_JSON_JSON_H

#include "base/buf.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdint.h>

static inline void hth_json_decref_p(json_t **j) { json_decref(*j); }
#define HTH_AUTO_JSON HTH_CLEANUP(hth_json_decref_p)

enum { HTH_JSON_DEPTH_MAX = 64 };

/* Parses one whole document (any type at the top). HTH_INVALID with "line L, column C: ..." (and never the text around it,
 * which may be private) when it is not JSON, is nested deeper than HTH_JSON_DEPTH_MAX, or has trailing bytes. Caller decrefs. */
HTH_MUST_USE hth_status hth_json_parse(json_t **ret_json, const char *text, size_t len, hth_error *err);
/* Compact, keys in insertion order, UTF-8 unescaped, reals in their shortest form. Appends; false when out is full. */
bool hth_json_write(const json_t *json, hth_buf *out);
/* Appends a JSON string literal for bytes that may be any bytes (invalid UTF-8 becomes U+FFFD). */
bool hth_json_write_string(const char *data, size_t len, hth_buf *out);

/* Typed members of an object. Absent or null leaves *value as it is (so set the default first) and returns HTH_OK; a wrong type
 * or range is HTH_INVALID with err->param = key and a message that says what it is and what it should be. */
HTH_MUST_USE hth_status hth_json_get_bool(const json_t *object, const char *key, bool *value, hth_error *err);
HTH_MUST_USE hth_status hth_json_get_int(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *value,
                                         hth_error *err);
HTH_MUST_USE hth_status hth_json_get_number(const json_t *object, const char *key, double min, double max, double *value,
                                            hth_error *err);
/* Borrowed from the object. */
HTH_MUST_USE hth_status hth_json_get_string(const json_t *object, const char *key, const char **value, hth_error *err);
HTH_MUST_USE hth_status hth_json_get_object(const json_t *object, const char *key, const json_t **value, hth_error *err);
HTH_MUST_USE hth_status hth_json_get_array(const json_t *object, const char *key, const json_t **value, hth_error *err);
const char *hth_json_type_name(const json_t *json); /* "an object", "a string", ... for messages */

#endif
