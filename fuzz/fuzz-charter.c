/* fuzz-charter.c - charters, invitations and the book of invitations from any bytes: what is read is written back as the very same bytes,
 * and a neighbourhood that is offered it stays one that this home is in. */
#include "base/mem.h"
#include "charter/invitation.h"
#include "charter/membership.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_bytes(const hth_buf *out, const void *bytes, size_t len)
{
	if (out->failed || out->len != len || memcmp(out->data, bytes, len) != 0)
		abort();
}

static void read_charter(const uint8_t *data, size_t size)
{
	static hth_identity *anna;
	static hth_charter *elm;
	hth_error err;
	if (elm == NULL) {
		static const unsigned char seed[HTH_SEED_BYTES] = {1};
		static const hth_rules rules = {.classes = 3, .admit_needs = 1, .change_needs = 1};
		if (hth_identity_from_seed(&anna, seed, &err) != HTH_OK ||
		    hth_charter_found(&elm, "Elm", &rules, anna, "Anna", &err) != HTH_OK)
			abort();
	}
	hth_charter *charter = NULL;
	if (hth_charter_decode(&charter, data, size, &err) != HTH_OK)
		return;
	hth_buf out = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX);
	hth_charter_encode(charter, &out);
	same_bytes(&out, data, size);
	hth_buf_finish(&out);
	hth_membership *m = NULL;
	hth_charter_outcome outcome;
	if (hth_membership_create(&m, &hth_identity_card(anna)->id, &err) != HTH_OK || hth_membership_adopt(m, elm, &err) != HTH_OK)
		abort();
	if (hth_membership_offer(m, charter, &outcome, &err) == HTH_OK && outcome == HTH_CHARTER_TAKEN &&
	    hth_charter_signature_count(hth_membership_charter(m)) == 0)
		abort();
	hth_membership_destroy(m);
	hth_charter_unref(charter);
}

static void read_line(const uint8_t *data, size_t size)
{
	hth_error err;
	hth_invitation invitation;
	HTH_AUTO_FREE char *line = malloc(size + 1);
	memcpy(line, data, size);
	line[size] = '\0';
	char again[HTH_INVITATION_LINE_MAX];
	if (hth_invitation_read(&invitation, line, 0, &err) == HTH_OK &&
	    (hth_invitation_write(&invitation, again, &err) != HTH_OK || strstr(line, again) == NULL))
		abort();
}

static void read_book(const uint8_t *data, size_t size)
{
	hth_error err;
	hth_invitation_book *book = NULL;
	if (hth_invitation_book_decode(&book, data, size, &err) != HTH_OK)
		return;
	hth_buf out = HTH_BUF_INIT(1 << 16);
	hth_invitation_book_encode(book, &out);
	same_bytes(&out, data, size);
	hth_buf_finish(&out);
	hth_invitation_book_destroy(book);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] == 'c')
		read_charter(data + 1, size - 1);
	else if (data[0] == 'l')
		read_line(data + 1, size - 1);
	else
		read_book(data + 1, size - 1);
	return 0;
}
