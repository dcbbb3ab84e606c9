/* fuzz-description.c - what a member says of a model: understood, it is written back as the very same bytes, and nothing in it is
 * unbounded. */
#include "base/mem.h"
#include "pool/description.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_description d;
	hth_description_letter which = hth_description_decode(&d, data, size);
	if (which == HTH_NO_DESCRIPTION)
		return 0;
	hth_buf out = HTH_BUF_INIT(HTH_DESCRIPTION_BYTES_MAX);
	if (which == HTH_DESCRIBE)
		hth_describe_encode(d.hash, &out);
	else
		hth_description_encode(&d, &out);
	if (out.failed || out.len != size || memcmp(out.data, data, size) != 0 || strlen(d.name) >= sizeof d.name ||
	    d.template_len > HTH_DESCRIPTION_TEMPLATE_MAX)
		abort();
	hth_buf_finish(&out);
	return 0;
}
