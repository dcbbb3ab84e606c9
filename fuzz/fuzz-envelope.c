/* fuzz-envelope.c - what anybody who knows a home's public key can send it. The first byte chooses: 0, the bytes arrive as they are; else
 * they are sealed as envelope.h says (tests/seal/raw-envelope.h) so that they reach the parser of contents, as the
 * contents of a member or of a stranger. Nothing made here is signed, so whatever is believed is a bug. */
#include "base/mem.h"
#include "../tests/seal/raw-envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_identity *ben;
static hth_inbox *inbox;

static bool knows(void *ctx, const hth_home_id *sender)
{
	(void)ctx;
	return (sender->bytes[0] & 1) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hth_error err;
	if (inbox == NULL) {
		unsigned char seed[HTH_SEED_BYTES] = {2};
		if (hth_identity_from_seed(&ben, seed, &err) != HTH_OK || hth_inbox_create(&inbox, ben, 77, knows, NULL, &err) != HTH_OK)
			abort();
	}
	if (size < 1 || size > 400000)
		return 0;
	hth_opened opened;
	unsigned char *sealed = malloc(HTH_ENVELOPE_MAX);
	const unsigned char *bytes = data + 1;
	size_t len = size - 1;
	if (data[0] != 0) {
		len = raw_seal(hth_identity_card(ben), bytes, len, sealed);
		bytes = sealed;
	}
	if (hth_inbox_open(inbox, "pool.elm.ask", bytes, len, 1800000000000u, &opened, &err) == HTH_OK)
		abort();
	free(sealed);
	return 0;
}
