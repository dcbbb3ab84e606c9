/* travel.h - a request as it goes to another home: its words and wishes as canonical bytes (canon.h), and back.
 *
 *   format u8, kind u8, flags u8, the texts, sampling, biases, limits, stop strings, grammar
 *
 * What is in them is all that a runner is given (runner-messages.c), so whoever has the same model makes the same answer. Nothing of whose
 * request it is, or which home's, is among it. What the bytes hold is limited field by field; the JSON in them is text, and whoever hands
 * it on checks it.
 */
#ifndef HTH_PRIVACY_TRAVEL_H
#define HTH_PRIVACY_TRAVEL_H

#include "request/request.h"

enum { HTH_TRAVEL_MAX = 400 << 10 }; /* with an envelope's other fields they stay under 512 KiB */

/* HTH_UNSUPPORTED: it asks for what no other home does, and for what. */
HTH_MUST_USE hth_status hth_travel_check(const hth_request *request, hth_error *err);
/* Appends; out->failed where it does not fit. The request can travel. */
void hth_travel_put(const hth_request *request, hth_buf *out);
/* A new request of these words, not yet admitted, for no model. HTH_BAD_FORMAT, HTH_INVALID (a number out of its range). */
HTH_MUST_USE hth_status hth_travel_get(const void *bytes, size_t len, hth_request **ret_request, hth_error *err);
/* A number that stands for the sampler's settings in receipts. */
uint64_t hth_travel_sampler(const hth_request *request);

#endif
