/* permit.h - the only form in which a request's words reach other homes.
 *
 * pool/ sees neither requests nor the functions that make permits (tests/includes.py): it is handed one of these, made by privacy.c and
 * nobody else. A private request has none, and there is no value of hth_audience that would say private: a pool that sends what must stay
 * home does not compile.
 */
#ifndef HTH_PRIVACY_PERMIT_H
#define HTH_PRIVACY_PERMIT_H

#include "base/status.h"

typedef enum hth_audience {
	HTH_AUDIENCE_NEIGHBOURS = 1, /* homes that this home marked trusted */
	HTH_AUDIENCE_PUBLIC = 2      /* any home of the neighbourhood */
} hth_audience;

typedef struct hth_neighbour_permit hth_neighbour_permit;
hth_audience hth_permit_audience(const hth_neighbour_permit *permit);
/* What is sent (travel.h). Borrowed. */
const void *hth_permit_words(const hth_neighbour_permit *permit, size_t *ret_len);
void hth_permit_destroy(hth_neighbour_permit *permit); /* wipes the words */

#endif
