/* fuzz-travel.c - what a neighbour says a request is: understood, it is written back as the very same bytes. */
#include "base/mem.h"
#include "privacy/travel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_error err;
	hth_request *request = NULL;
	if (hth_travel_get(data, size, &request, &err) != HTH_OK)
		return 0;
	hth_buf out = HTH_BUF_INIT(HTH_TRAVEL_MAX);
	hth_travel_put(request, &out);
	if (out.failed || out.len != size || memcmp(out.data, data, size) != 0 || hth_travel_check(request, &err) == HTH_INVALID)
		abort();
	hth_buf_finish(&out);
	hth_request_unref(request);
	return 0;
}
