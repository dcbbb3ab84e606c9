/* response-store.h - the conversations behind response ids, so that a client may go on with `previous_response_id`.
 *
 * In memory only, bounded in number, bytes and age; the oldest give way, and whatever goes is wiped. A node that restarts has
 * forgotten them, and says so (HTH_NOT_FOUND), as it does for responses that were not to be stored.
 */
#ifndef HTH_API_RESPONSE_STORE_H
#define HTH_API_RESPONSE_STORE_H

#include "base/status.h"

typedef struct hth_response_store hth_response_store;

HTH_MUST_USE hth_status hth_response_store_create(hth_response_store **ret_store, hth_error *err);
void hth_response_store_destroy(hth_response_store *store);

/* Keeps the whole conversation (a JSON array of messages, answer included) and the response's JSON under id. Copies. Does nothing
 * when they are over the limits by themselves. */
void hth_response_store_put(hth_response_store *store, const char *id, const char *messages, const char *response);
/* Borrowed until the next call. NULL: not there (any more). */
const char *hth_response_store_messages(hth_response_store *store, const char *id);
const char *hth_response_store_response(hth_response_store *store, const char *id);
bool hth_response_store_delete(hth_response_store *store, const char *id);

#endif
