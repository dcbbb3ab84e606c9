/* privacy.h - who may read a request's words, decided in one place.
 *
 * hth_sealed_permit is opaque, and only privacy.c can make one: it is what pool/ will demand before it sends a request's words
 * anywhere. Who there is to send to is told with hth_privacy_add_audience (an upstream of the owner's; a neighbourhood): while nobody
 * has been added every request is private and no permit is given.
 */
#ifndef HTH_PRIVACY_PRIVACY_H
#define HTH_PRIVACY_PRIVACY_H

#include "privacy/permit.h"
#include "request/request.h"

/* "private", "neighbours", "public"; NULL or "" means private. Anything else: HTH_INVALID. */
HTH_MUST_USE hth_status hth_privacy_parse(const char *header, hth_privacy_class *ret_class, hth_error *err);
const char *hth_privacy_name(hth_privacy_class privacy);
/* The class that request gets: the sender's wish, tightened by who there is to send to and by what its words hold (classifier.h). */
hth_privacy_class hth_privacy_classify(const hth_request *request, hth_privacy_class wish);

typedef struct hth_sealed_permit hth_sealed_permit;
/* Permission to let somebody of `audience` read this request. HTH_DENIED when its class forbids. */
HTH_MUST_USE hth_status hth_privacy_permit(const hth_request *request, hth_privacy_class audience,
                                           hth_sealed_permit **ret_permit, hth_error *err);
/* Whether the permit is for this request and this audience. */
bool hth_privacy_permit_covers(const hth_sealed_permit *permit, const hth_request *request, hth_privacy_class audience);
/* There is somebody of this class to send to, until the process ends. HTH_PRIVATE: somebody whom the owner trusts with everything. */
void hth_privacy_add_audience(hth_privacy_class audience);
void hth_privacy_permit_destroy(hth_sealed_permit *permit);

/* Permission to send this request's words to homes of the neighbourhood (permit.h), with a copy of them. HTH_DENIED: it is private, or
 * there is no neighbourhood of its class; HTH_UNSUPPORTED: it asks for what no other home does (travel.h); HTH_TOO_LARGE. */
HTH_MUST_USE hth_status hth_privacy_permit_neighbours(const hth_request *request, hth_neighbour_permit **ret_permit, hth_error *err);

#endif
