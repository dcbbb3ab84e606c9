/* made.h - what a made model's record (catalog/record.h) means for a request. */
#ifndef HTH_API_MADE_H
#define HTH_API_MADE_H

#include "json/json.h"
#include "request/request.h"

/* Sets the parameters that the record has; before the sender's own wishes are read. Each is taken alone: one that is
 * wrong (a registry may send anything) is passed over. */
void hth_made_params(const json_t *record, hth_request_params *params);
/* The conversation's part for hth_request_input's settings_json; NULL: nothing, or no memory. The caller's. */
char *hth_made_conversation(const json_t *record);

#endif
