/* permit.c - what a permit for the neighbourhood holds. It is made in here alone, from a request that its class lets out. */
#include "privacy/permit.h"

#include "base/mem.h"
#include "privacy/privacy.h"
#include "seal/canon.h"

enum { WORDS_MAX = 400 << 10 }; /* with an envelope's other fields they stay under 512 KiB */

struct hth_neighbour_permit {
	hth_audience audience;
	char request_id[40];
	hth_buf words;
};

_Static_assert((int)HTH_AUDIENCE_NEIGHBOURS == (int)HTH_NEIGHBOURS && (int)HTH_AUDIENCE_PUBLIC == (int)HTH_PUBLIC && (int)HTH_PRIVATE == 0,
               "an audience is a class, and no audience is private");

static void put_text(hth_buf *out, const char *text) { hth_canon_put_blob(out, text ? text : "", text ? strlen(text) : 0); }

hth_status hth_privacy_permit_neighbours(const hth_request *request, hth_neighbour_permit **ret_permit, hth_error *err)
{
	if (request->privacy == HTH_PRIVATE)
		return hth_fail(err, HTH_DENIED, "request %s is private and stays home", request->id);
	/* The same question as for any other reader; the answer is not needed any longer than this. */
	hth_sealed_permit *general = NULL;
	HTH_TRY(hth_privacy_permit(request, request->privacy, &general, err));
	hth_privacy_permit_destroy(general);
	if (request->kind > HTH_EMBEDDING || request->input.n_tokens > 0)
		return hth_fail(err, HTH_UNSUPPORTED, "request %s is of a kind that no other home serves", request->id);
	hth_neighbour_permit *permit = calloc(1, sizeof *permit);
	if (permit == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for request %s", request->id);
	permit->audience = (hth_audience)request->privacy;
	memcpy(permit->request_id, request->id, sizeof permit->request_id);
	permit->words = HTH_BUF_INIT(WORDS_MAX);
	hth_canon_put_u8(&permit->words, (uint8_t)request->kind);
	put_text(&permit->words, request->input.messages_json);
	put_text(&permit->words, request->input.tools_json);
	put_text(&permit->words, request->input.template_json);
	hth_canon_put_blob(&permit->words, request->input.text ? request->input.text : "", request->input.text ? request->input.text_len : 0);
	hth_status status = hth_buf_check(&permit->words, "a request for another home", err);
	if (status != HTH_OK)
		hth_permit_destroy(permit);
	else
		*ret_permit = permit;
	return status;
}

hth_audience hth_permit_audience(const hth_neighbour_permit *permit) { return permit->audience; }
const char *hth_permit_request_id(const hth_neighbour_permit *permit) { return permit->request_id; }

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
