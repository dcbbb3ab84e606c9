/* scan.h - private to json: the strict check of a text before jansson sees it (json-scan.c). */
#ifndef HTH_JSON_SCAN_H
#define HTH_JSON_SCAN_H

#include "base/status.h"

/* Checks that text is one JSON document by RFC 8259, valid UTF-8, no U+0000 in strings, nested at most max_depth deep.
 * *ret_big_ints is how many integers do not fit 64 bits (jansson refuses those; parse.c makes them reals). */
HTH_MUST_USE hth_status hth_json_scan(const char *text, size_t len, unsigned max_depth, size_t *ret_big_ints,
                                      hth_error *err);
/* True when the number literal at text (as the scan accepted it) is an integer past 64 bits. */
bool hth_json_is_big_int(const char *text, size_t len);
/* Bytes of the number literal at text. */
size_t hth_json_number_len(const char *text, size_t len);
/* Line and column (in characters), both from 1, of byte `at`. */
void hth_json_place(const char *text, size_t at, size_t *ret_line, size_t *ret_column);

#endif
