/* permit.c - what a permit for the neighbourhood holds. It is made in here alone, from a request that its class lets out. */
#include "privacy/permit.h"

#include "base/mem.h"
#include "privacy/privacy.h"
#include "privacy/travel.h"

struct hth_neighbour_permit {
	hth_audience audience;
	hth_buf words;
};

_Static_assert((int)HTH_AUDIENCE_NEIGHBOURS == (int)HTH_NEIGHBOURS && (int)HTH_AUDIENCE_PUBLIC == (int)HTH_PUBLIC && (int)HTH_PRIVATE == 0,
               "an audience is a class, and no audience is private");

hth_status hth_privacy_permit_neighbours(const hth_request *request, hth_neighbour_permit **ret_permit, hth_error *err)
{
	if (request->privacy == HTH_PRIVATE)
		return hth_fail(err, HTH_DENIED, "request %s is private and stays home", request->id);
	/* The same question as for any other reader; the answer is not needed any longer than this. */
	hth_sealed_permit *general = NULL;
	HTH_TRY(hth_privacy_permit(request, request->privacy, &general, err));
	hth_privacy_permit_destroy(general);
	HTH_TRY(hth_travel_check(request, err));
	hth_neighbour_permit *permit = calloc(1, sizeof *permit);
	if (permit == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for request %s", request->id);
	permit->audience = (hth_audience)request->privacy;
	permit->words = HTH_BUF_INIT(HTH_TRAVEL_MAX);
	hth_travel_put(request, &permit->words);
	hth_status status = hth_buf_check(&permit->words, "a request for another home", err);
	if (status != HTH_OK)
		hth_permit_destroy(permit);
	else
		*ret_permit = permit;
	return status;
}

hth_audience hth_permit_audience(const hth_neighbour_permit *permit) { return permit->audience; }

const void *hth_permit_words(const hth_neighbour_permit *permit, size_t *ret_len)
{
	*ret_len = permit->words.len;
	return permit->words.data;
}

void hth_permit_destroy(hth_neighbour_permit *permit)
{
	if (permit == NULL)
		return;
	if (permit->words.data != NULL)
		explicit_bzero(permit->words.data, permit->words.cap);
	hth_buf_finish(&permit->words);
	free(permit);
}
