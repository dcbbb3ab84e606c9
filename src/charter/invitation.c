/* invitation.c - lines and the book of those that are out; see invitation.h. */
#include "charter/invitation.h"

#include "base/mem.h"

#include <sodium.h>

static const char prefix[] = "hearth1.";
static const char label[] = "hearth invitation 1", secret_label[] = "hearth secret 1", book_label[] = "hearth invitations 1";
enum { CHECK = 8, RAW_MAX = 4 + HTH_HUB_MAX + 32 + HTH_SECRET_BYTES + 32 + 32 + HTH_HASH_BYTES + 4 + 64 + 8 + CHECK };
_Static_assert(sizeof prefix + (RAW_MAX + 2) / 3 * 4 <= HTH_INVITATION_LINE_MAX, "the longest invitation fits its line");

/* HOST:PORT with nothing in it that could be anything else when it is printed or dialled. */
static bool is_hub(const char *hub)
{
	size_t host = strspn(hub, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]_");
	const char *colon = strrchr(hub, ':');
	if (hub[host] != '\0' || colon == NULL || colon == hub)
		return false;
	size_t digits = strspn(colon + 1, "0123456789");
	long port = strtol(colon + 1, NULL, 10);
	return digits >= 1 && digits <= 5 && colon[1 + digits] == '\0' && port >= 1 && port <= 65535;
}

hth_status hth_invitation_write(const hth_invitation *invitation, char ret_line[HTH_INVITATION_LINE_MAX], hth_error *err)
{
	if (!is_hub(invitation->hub))
		return hth_fail(err, HTH_INVALID, "a hub's address must be HOST:PORT");
	hth_buf raw = HTH_BUF_INIT(RAW_MAX);
	hth_canon_put_text(&raw, invitation->hub);
	hth_canon_put_bytes(&raw, invitation->fingerprint, 32);
	hth_canon_put_bytes(&raw, invitation->secret, HTH_SECRET_BYTES);
	hth_canon_put_bytes(&raw, invitation->inviter.id.bytes, 32);
	hth_canon_put_bytes(&raw, invitation->inviter.box_key, 32);
	hth_canon_put_bytes(&raw, invitation->pool_id, HTH_HASH_BYTES);
	hth_canon_put_text(&raw, invitation->pool_name);
	hth_canon_put_u64(&raw, invitation->expires_ms);
	hth_status status = hth_buf_check(&raw, "an invitation", err);
	if (status == HTH_OK) {
		unsigned char hash[HTH_HASH_BYTES];
		hth_seal_hash(label, raw.data, raw.len, hash);
		hth_canon_put_bytes(&raw, hash, CHECK);
		strcpy(ret_line, prefix);
		sodium_bin2base64(ret_line + sizeof prefix - 1, HTH_INVITATION_LINE_MAX - sizeof prefix + 1, (unsigned char *)raw.data,
		                  raw.len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
		sodium_memzero(raw.data, raw.cap);
	}
	hth_buf_finish(&raw);
	return status;
}

hth_status hth_invitation_read(hth_invitation *ret_invitation, const char *line, uint64_t now_ms, hth_error *err)
{
	static const char again[] = "copy the whole line, or ask for a new one";
	unsigned char raw[RAW_MAX], hash[HTH_HASH_BYTES];
	size_t n;
	const char *end;
	line += strspn(line, " \t\r\n");
	size_t len = strcspn(line, " \t\r\n");
	if (line[len + strspn(line + len, " \t\r\n")] != '\0' || len >= HTH_INVITATION_LINE_MAX ||
	    strncmp(line, prefix, sizeof prefix - 1) != 0)
		return hth_fail(err, HTH_BAD_FORMAT, "this is not an invitation (one line that begins with %s): %s", prefix, again);
	if (sodium_base642bin(raw, sizeof raw, line + sizeof prefix - 1, len - (sizeof prefix - 1), NULL, &n, &end,
	                      sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 || end != line + len || n < CHECK)
		return hth_fail(err, HTH_BAD_FORMAT, "the invitation is not whole: %s", again);
	hth_seal_hash(label, raw, n - CHECK, hash);
	if (sodium_memcmp(hash, raw + n - CHECK, CHECK) != 0)
		return hth_fail(err, HTH_BAD_FORMAT, "the invitation was altered on its way: %s", again);
	hth_invitation invitation = {0};
	hth_canon_reader r = hth_canon_read(raw, n - CHECK);
	hth_canon_get_text(&r, invitation.hub, sizeof invitation.hub);
	hth_canon_get_bytes(&r, invitation.fingerprint, 32);
	hth_canon_get_bytes(&r, invitation.secret, HTH_SECRET_BYTES);
	hth_canon_get_bytes(&r, invitation.inviter.id.bytes, 32);
	hth_canon_get_bytes(&r, invitation.inviter.box_key, 32);
	hth_canon_get_bytes(&r, invitation.pool_id, HTH_HASH_BYTES);
	hth_canon_get_text(&r, invitation.pool_name, sizeof invitation.pool_name);
	invitation.expires_ms = hth_canon_get_u64(&r);
	sodium_memzero(raw, sizeof raw);
	if (!hth_canon_end(&r) || !is_hub(invitation.hub))
		return hth_fail(err, HTH_BAD_FORMAT, "the invitation does not follow the format: %s", again);
	if (now_ms >= invitation.expires_ms)
		return hth_fail(err, HTH_TIMEOUT, "the invitation to %s has expired: ask for a new one", invitation.pool_name);
	*ret_invitation = invitation;
	return HTH_OK;
}

/* ---- the book ---- */

typedef struct invitation_entry {
	unsigned char hash[HTH_HASH_BYTES];
	uint64_t expires_ms;
	bool used;
	hth_home_id guest; /* who used it */
} invitation_entry;

struct hth_invitation_book {
	invitation_entry entries[HTH_INVITATIONS_MAX];
	size_t n;
};

hth_status hth_invitation_book_create(hth_invitation_book **ret_book, hth_error *err)
{
	hth_invitation_book *book = calloc(1, sizeof *book);
	if (book == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for invitations");
	*ret_book = book;
	return HTH_OK;
}

void hth_invitation_book_destroy(hth_invitation_book *book) { free(book); }
void hth_invitation_book_revoke(hth_invitation_book *book) { book->n = 0; }

hth_status hth_invitation_book_add(hth_invitation_book *book, const unsigned char secret[HTH_SECRET_BYTES], uint64_t expires_ms,
                                   uint64_t now_ms, hth_error *err)
{
	size_t n = 0;
	for (size_t i = 0; i < book->n; i++)
		if (book->entries[i].expires_ms > now_ms)
			book->entries[n++] = book->entries[i];
	book->n = n;
	if (n == HTH_INVITATIONS_MAX)
		return hth_fail(err, HTH_BUSY, "%d invitations are out already: wait until one expires, or revoke them",
		                HTH_INVITATIONS_MAX);
	invitation_entry *e = &book->entries[book->n++];
	*e = (invitation_entry){.expires_ms = expires_ms};
	hth_seal_hash(secret_label, secret, HTH_SECRET_BYTES, e->hash);
	return HTH_OK;
}

hth_status hth_invitation_book_redeem(hth_invitation_book *book, const unsigned char secret[HTH_SECRET_BYTES], const hth_home_id *guest,
                                      uint64_t now_ms, hth_error *err)
{
	unsigned char hash[HTH_HASH_BYTES];
	hth_seal_hash(secret_label, secret, HTH_SECRET_BYTES, hash);
	for (size_t i = 0; i < book->n; i++) {
		invitation_entry *e = &book->entries[i];
		if (sodium_memcmp(e->hash, hash, sizeof hash) != 0)
			continue;
		if (now_ms >= e->expires_ms)
			return hth_fail(err, HTH_TIMEOUT, "the invitation has expired: ask for a new one");
		if (e->used && !hth_home_id_equal(&e->guest, guest))
			return hth_fail(err, HTH_DENIED, "the invitation was used already: ask for a new one");
		e->used = true;
		e->guest = *guest;
		return HTH_OK;
	}
	return hth_fail(err, HTH_DENIED, "there is no such invitation here: ask for a new one");
}

bool hth_invitation_book_spend(hth_invitation_book *book, const hth_home_id *guest)
{
	size_t n = 0, before = book->n;
	for (size_t i = 0; i < before; i++)
		if (!book->entries[i].used || !hth_home_id_equal(&book->entries[i].guest, guest))
			book->entries[n++] = book->entries[i];
	book->n = n;
	return n < before;
}

size_t hth_invitation_book_open(const hth_invitation_book *book, uint64_t now_ms)
{
	size_t n = 0;
	for (size_t i = 0; i < book->n; i++)
		n += !book->entries[i].used && book->entries[i].expires_ms > now_ms;
	return n;
}

void hth_invitation_book_encode(const hth_invitation_book *book, hth_buf *out)
{
	hth_canon_put_text(out, book_label);
	hth_canon_put_u8(out, (uint8_t)book->n);
	for (size_t i = 0; i < book->n; i++) {
		const invitation_entry *e = &book->entries[i];
		hth_canon_put_bytes(out, e->hash, sizeof e->hash);
		hth_canon_put_u64(out, e->expires_ms);
		hth_canon_put_bool(out, e->used);
		hth_canon_put_bytes(out, e->guest.bytes, sizeof e->guest.bytes);
	}
}

hth_status hth_invitation_book_decode(hth_invitation_book **ret_book, const void *bytes, size_t len, hth_error *err)
{
	char what[sizeof book_label];
	hth_canon_reader r = hth_canon_read(bytes, len);
	hth_canon_get_text(&r, what, sizeof what);
	size_t n = hth_canon_get_u8(&r);
	if (strcmp(what, book_label) != 0 || n > HTH_INVITATIONS_MAX)
		return hth_fail(err, HTH_BAD_FORMAT, "the list of invitations is damaged");
	hth_invitation_book *book;
	HTH_TRY(hth_invitation_book_create(&book, err));
	for (book->n = 0; book->n < n; book->n++) {
		invitation_entry *e = &book->entries[book->n];
		hth_canon_get_bytes(&r, e->hash, sizeof e->hash);
		e->expires_ms = hth_canon_get_u64(&r);
		e->used = hth_canon_get_bool(&r);
		hth_canon_get_bytes(&r, e->guest.bytes, sizeof e->guest.bytes);
	}
	if (!hth_canon_end(&r)) {
		free(book);
		return hth_fail(err, HTH_BAD_FORMAT, "the list of invitations is damaged");
	}
	*ret_book = book;
	return HTH_OK;
}
