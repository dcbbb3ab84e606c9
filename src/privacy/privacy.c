/* privacy.c - the one place where it is decided who may read a request's words.
 *
 * Owns the three classes' names, the tightening of the sender's wish, and the only way to a hth_sealed_permit. A wish is
 * tightened to the widest audience that there is, so while there is nobody to send to every request is private, whatever it wished, and
 * every permit is refused. Thread: the loop's.
 */
#include "privacy/privacy.h"

#include "base/mem.h"
#include "privacy/classifier.h"

#include <stdio.h>
#include <string.h>

static const char *const class_names[] = {"private", "neighbours", "public"};

/* A bit for each class that somebody could serve. */
static unsigned audiences;

void hth_privacy_add_audience(hth_privacy_class audience) { audiences |= 1u << audience; }

static hth_privacy_class widest_audience(void)
{
	return audiences & 1u << HTH_PUBLIC ? HTH_PUBLIC : audiences & 1u << HTH_NEIGHBOURS ? HTH_NEIGHBOURS : HTH_PRIVATE;
}

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
	hth_privacy_class widest = widest_audience();
	if (wish < widest)
		widest = wish;
	if (widest == HTH_PRIVATE)
		return HTH_PRIVATE; /* nobody else will read it, so neither does the classifier */
	hth_findings findings;
	hth_classifier_scan_request(request, &findings);
	return HTH_MIN(widest, findings.limit);
}

/* Why a request has the class it has, when its words are the reason; "" when not. */
static const char *because(const hth_request *request, hth_privacy_class audience, char *out, size_t size)
{
	hth_findings findings;
	char why[256];
	hth_classifier_scan_request(request, &findings);
	hth_findings_explain(&findings, why, sizeof why);
	snprintf(out, size, "%s%s%s", findings.limit < audience ? " (its words allow " : "", findings.limit < audience ? why : "",
	         findings.limit < audience ? "; `hearth privacy explain` shows what was found)" : "");
	return out;
}

struct hth_sealed_permit {
	char request_id[40];
	hth_privacy_class audience;
};

hth_status hth_privacy_permit(const hth_request *request, hth_privacy_class audience, hth_sealed_permit **ret_permit,
                              hth_error *err)
{
	char why[400];
	if (audience > request->privacy)
		return hth_fail(err, HTH_DENIED, "request %s is %s and may not be read by %s%s", request->id,
		                hth_privacy_name(request->privacy), hth_privacy_name(audience),
		                because(request, audience, why, sizeof why));
	if (!(audiences & 1u << audience))
		return hth_fail(err, HTH_DENIED, "request %s stays home: this home has nobody to send it to", request->id);
	hth_sealed_permit *permit = calloc(1, sizeof *permit);
	if (permit == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for request %s", request->id);
	memcpy(permit->request_id, request->id, sizeof permit->request_id);
	permit->audience = audience;
	*ret_permit = permit;
	return HTH_OK;
}

bool hth_privacy_permit_covers(const hth_sealed_permit *permit, const hth_request *request, hth_privacy_class audience)
{
	return permit != NULL && permit->audience == audience && strcmp(permit->request_id, request->id) == 0;
}

void hth_privacy_permit_destroy(hth_sealed_permit *permit) { free(permit); }
