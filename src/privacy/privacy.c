/* privacy.c - the one place where it is decided who may read a request's words.
 *
 * Owns the three classes' names, the tightening of the sender's wish, and the only way to a hth_sealed_permit. Today this home
 * has no neighbours to send to, so `widest_audience` is this home itself: every request becomes private, whatever it wished,
 * and every permit is refused. Thread: the loop's.
 */
#include "privacy/privacy.h"

#include "base/mem.h"

#include <string.h>

static const char *const class_names[] = {"private", "neighbours", "public"};

/* The widest class that anybody could serve. It rises when there is somebody to send to. */
static const hth_privacy_class widest_audience = HTH_PRIVATE;

hth_status hth_privacy_parse(const char *header, hth_privacy_class *ret_class, hth_error *err)
{
	if (header == NULL || header[0] == '\0') {
		*ret_class = HTH_PRIVATE;
		return HTH_OK;
	}
	for (size_t i = 0; i < HTH_COUNT(class_names); i++) {
		if (strcmp(header, class_names[i]) == 0) {
			*ret_class = (hth_privacy_class)i;
			return HTH_OK;
		}
	}
	return hth_fail_param(err, HTH_INVALID, "Hearth-Privacy",
	                      "the header Hearth-Privacy must be private, neighbours or public");
}

const char *hth_privacy_name(hth_privacy_class privacy)
{
	return (unsigned)privacy < HTH_COUNT(class_names) ? class_names[privacy] : "?";
}

hth_privacy_class hth_privacy_classify(const hth_request *request, hth_privacy_class wish)
{
	(void)request; /* the classifier that reads the words comes with the pool */
	return wish < widest_audience ? wish : widest_audience;
}

/* Nothing makes one yet; its contents come with the pool. */
struct hth_sealed_permit {
	char request_id[40];
	hth_privacy_class audience;
};

hth_status hth_privacy_permit(const hth_request *request, hth_privacy_class audience, hth_sealed_permit **ret_permit,
                              hth_error *err)
{
	(void)ret_permit;
	if (audience > request->privacy)
		return hth_fail(err, HTH_DENIED, "request %s is %s and may not be read by %s", request->id,
		                hth_privacy_name(request->privacy), hth_privacy_name(audience));
	return hth_fail(err, HTH_DENIED, "request %s stays home: this home has nobody to send it to", request->id);
}

void hth_privacy_permit_destroy(hth_sealed_permit *permit) { free(permit); }
