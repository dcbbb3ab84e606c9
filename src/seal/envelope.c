/* envelope.c - sealing and opening; envelope.h has the layout and the reasons. */
#include "seal/envelope.h"

#include "base/mem.h"
#include "seal/nonces.h"

#include <sodium.h>

enum {
	VERSION = 1,
	HEAD = 1 + crypto_scalarmult_BYTES,
	TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES,
	KEY = crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
	CIPHER_NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
	CONTENTS_MIN = 32 + 32 + 8 + 8 + 8 + HTH_NONCE_BYTES + 4 + 4 + HTH_SIGNATURE_BYTES,
	CONTENTS_MAX = CONTENTS_MIN + HTH_SUBJECT_MAX + HTH_LETTER_PAYLOAD_MAX,
	PAD_SMALL = 512, PAD_LARGE = 4096, PAD_LARGE_FROM = 8192,
};
_Static_assert(HEAD + CONTENTS_MAX + PAD_LARGE + TAG <= HTH_ENVELOPE_MAX, "the largest letter fits the largest envelope");

static const char label[] = "hearth envelope 1";

struct hth_inbox {
	const hth_identity *identity;
	uint64_t session;
	bool (*knows)(void *ctx, const hth_home_id *sender);
	void *ctx;
	hth_nonces *nonces;
	unsigned char *contents; /* of the envelope opened last; HTH_ENVELOPE_MAX bytes */
	size_t contents_len;
};

typedef struct message_key {
	unsigned char bytes[KEY + CIPHER_NONCE];
} message_key;

static void derive(message_key *key, const unsigned char shared[32], const unsigned char ephemeral[32], const unsigned char theirs[32])
{
	crypto_generichash_state state;
	crypto_generichash_init(&state, NULL, 0, sizeof key->bytes);
	crypto_generichash_update(&state, (const unsigned char *)label, sizeof label - 1);
	crypto_generichash_update(&state, shared, 32);
	crypto_generichash_update(&state, ephemeral, 32);
	crypto_generichash_update(&state, theirs, 32);
	crypto_generichash_final(&state, key->bytes, sizeof key->bytes);
	sodium_memzero(&state, sizeof state);
}

static size_t padded_size(size_t contents)
{
	size_t step = contents + 1 > PAD_LARGE_FROM ? PAD_LARGE : PAD_SMALL;
	return (contents + step) / step * step; /* at least one byte of padding */
}

/* The bytes under the signature: what the head says, whom it is sealed to, and the contents. */
static void put_signed(hth_buf *out, const unsigned char head[HEAD], const unsigned char theirs[32], const void *contents, size_t len)
{
	hth_canon_put_bytes(out, head, HEAD);
	hth_canon_put_bytes(out, theirs, 32);
	hth_canon_put_bytes(out, contents, len);
}

static void finish_secret(hth_buf *buf)
{
	if (buf->data != NULL)
		sodium_memzero(buf->data, buf->cap);
	hth_buf_finish(buf);
}

static hth_status check_letter(const hth_letter *letter, hth_error *err)
{
	size_t subject = strlen(letter->subject);
	if (letter->len > HTH_LETTER_PAYLOAD_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a message of %zu bytes is over the limit of %d", letter->len, HTH_LETTER_PAYLOAD_MAX);
	if (subject == 0 || !hth_canon_is_text(letter->subject, subject, HTH_SUBJECT_MAX))
		return hth_fail(err, HTH_INVALID, "a message's subject must have 1 to %d printable bytes", HTH_SUBJECT_MAX - 1);
	if (letter->expires_ms <= letter->issued_ms || letter->expires_ms - letter->issued_ms > HTH_ENVELOPE_LIFE_MAX_MS)
		return hth_fail(err, HTH_INVALID, "a message must live for 1 to %d ms", HTH_ENVELOPE_LIFE_MAX_MS);
	return HTH_OK;
}

static void put_contents(hth_buf *out, const hth_identity *from, const hth_card *to, const hth_letter *letter)
{
	unsigned char nonce[HTH_NONCE_BYTES];
	randombytes_buf(nonce, sizeof nonce);
	hth_canon_put_bytes(out, hth_identity_card(from)->id.bytes, 32);
	hth_canon_put_bytes(out, to->id.bytes, 32);
	hth_canon_put_u64(out, letter->issued_ms);
	hth_canon_put_u64(out, letter->expires_ms);
	hth_canon_put_u64(out, letter->session);
	hth_canon_put_bytes(out, nonce, sizeof nonce);
	hth_canon_put_text(out, letter->subject);
	hth_canon_put_blob(out, letter->payload, letter->len);
}

hth_status hth_envelope_seal(hth_buf *out, const hth_identity *from, const hth_card *to, const hth_letter *letter, hth_error *err)
{
	HTH_TRY(check_letter(letter, err));
	unsigned char head[HEAD] = {VERSION}, ephemeral_secret[32], shared[32], signature[HTH_SIGNATURE_BYTES];
	randombytes_buf(ephemeral_secret, sizeof ephemeral_secret);
	crypto_scalarmult_base(head + 1, ephemeral_secret);
	bool agreed = crypto_scalarmult(shared, ephemeral_secret, to->box_key) == 0;
	sodium_memzero(ephemeral_secret, sizeof ephemeral_secret);
	if (!agreed)
		return hth_fail(err, HTH_INVALID, "the other home's sealing key is not one");
	message_key key;
	derive(&key, shared, head + 1, to->box_key);
	sodium_memzero(shared, sizeof shared);

	HTH_CLEANUP(finish_secret) hth_buf contents = HTH_BUF_INIT(CONTENTS_MAX + PAD_LARGE);
	HTH_CLEANUP(finish_secret) hth_buf to_sign = HTH_BUF_INIT(HEAD + 32 + CONTENTS_MAX);
	hth_buf_reserve(&contents, padded_size(CONTENTS_MIN + HTH_SUBJECT_MAX + letter->len)); /* at once: growing would leave copies */
	hth_buf_reserve(&to_sign, HEAD + 32 + CONTENTS_MIN + HTH_SUBJECT_MAX + letter->len);
	put_contents(&contents, from, to, letter);
	put_signed(&to_sign, head, to->box_key, contents.data, contents.len);
	hth_status status = hth_buf_check(&to_sign, "a message", err);
	if (status == HTH_OK) {
		hth_identity_sign(from, label, to_sign.data, to_sign.len, signature);
		hth_canon_put_bytes(&contents, signature, sizeof signature);
		size_t padding = padded_size(contents.len) - contents.len;
		char *at = hth_buf_reserve(&contents, padding);
		if (at != NULL) {
			memset(at, 0, padding);
			at[0] = (char)0x80;
			contents.len += padding;
		}
		status = hth_buf_check(&contents, "a message", err);
	}
	if (status == HTH_OK) {
		unsigned char *sealed = (unsigned char *)hth_buf_reserve(out, HEAD + contents.len + TAG);
		status = hth_buf_check(out, "an envelope", err);
		if (sealed != NULL) {
			memcpy(sealed, head, HEAD);
			crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + HEAD, NULL, (const unsigned char *)contents.data, contents.len,
			                                           head, HEAD, NULL, key.bytes + KEY, key.bytes);
			out->len += HEAD + contents.len + TAG;
			out->data[out->len] = '\0';
		}
	}
	sodium_memzero(&key, sizeof key);
	return status;
}

/* ---- opening ---- */

hth_status hth_inbox_create(hth_inbox **ret_inbox, const hth_identity *identity, uint64_t session,
                            bool (*knows)(void *ctx, const hth_home_id *sender), void *ctx, hth_error *err)
{
	hth_inbox *inbox = calloc(1, sizeof *inbox);
	if (inbox == NULL || (inbox->contents = malloc(HTH_ENVELOPE_MAX)) == NULL) {
		free(inbox);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for messages of other homes");
	}
	inbox->identity = identity;
	inbox->session = session;
	inbox->knows = knows;
	inbox->ctx = ctx;
	/* As long as a message's dates can be believed, from the earliest to the latest reading of the clocks. */
	hth_status status = hth_nonces_create(&inbox->nonces, HTH_ENVELOPE_LIFE_MAX_MS + 2 * HTH_ENVELOPE_SKEW_MS, err);
	if (status != HTH_OK) {
		hth_inbox_destroy(inbox);
		return status;
	}
	*ret_inbox = inbox;
	return HTH_OK;
}

void hth_inbox_destroy(hth_inbox *inbox)
{
	if (inbox == NULL)
		return;
	sodium_memzero(inbox->contents, inbox->contents_len);
	free(inbox->contents);
	hth_nonces_destroy(inbox->nonces);
	free(inbox);
}

uint64_t hth_inbox_session(const hth_inbox *inbox) { return inbox->session; }

/* The plaintext into inbox->contents, without its padding. */
static bool decrypt(hth_inbox *inbox, const unsigned char *bytes, size_t len, size_t *ret_len)
{
	const unsigned char *mine = hth_identity_card(inbox->identity)->box_key;
	unsigned char shared[32];
	message_key key;
	if (!hth_identity_agree(inbox->identity, bytes + 1, shared))
		return false;
	derive(&key, shared, bytes + 1, mine);
	sodium_memzero(shared, sizeof shared);
	unsigned long long n = 0;
	bool good = crypto_aead_xchacha20poly1305_ietf_decrypt(inbox->contents, &n, NULL, bytes + HEAD, len - HEAD, bytes, HEAD,
	                                                       key.bytes + KEY, key.bytes) == 0;
	sodium_memzero(&key, sizeof key);
	if (!good)
		return false;
	inbox->contents_len = n;
	size_t contents;
	/* As many bytes as padding can be are looked at, whatever is in them. */
	size_t end = n < PAD_LARGE ? n : PAD_LARGE;
	return sodium_unpad(&contents, inbox->contents, n, end) == 0 && padded_size(contents) == n && (*ret_len = contents, true);
}

typedef struct letter_fields {
	hth_home_id sender, audience;
	uint64_t issued_ms, expires_ms, session;
	unsigned char nonce[HTH_NONCE_BYTES], signature[HTH_SIGNATURE_BYTES];
	char subject[HTH_SUBJECT_MAX];
	const unsigned char *payload;
	size_t len, signed_len;
} letter_fields;

static bool parse(const unsigned char *contents, size_t len, letter_fields *f)
{
	hth_canon_reader r = hth_canon_read(contents, len);
	hth_canon_get_bytes(&r, f->sender.bytes, 32);
	hth_canon_get_bytes(&r, f->audience.bytes, 32);
	f->issued_ms = hth_canon_get_u64(&r);
	f->expires_ms = hth_canon_get_u64(&r);
	f->session = hth_canon_get_u64(&r);
	hth_canon_get_bytes(&r, f->nonce, sizeof f->nonce);
	hth_canon_get_text(&r, f->subject, sizeof f->subject);
	f->payload = hth_canon_get_blob(&r, HTH_LETTER_PAYLOAD_MAX, &f->len);
	f->signed_len = (size_t)(r.at - contents);
	hth_canon_get_bytes(&r, f->signature, sizeof f->signature);
	return hth_canon_end(&r);
}

static hth_status check_dates(const letter_fields *f, uint64_t now_ms, hth_error *err)
{
	if (f->expires_ms <= f->issued_ms || f->expires_ms - f->issued_ms > HTH_ENVELOPE_LIFE_MAX_MS)
		return hth_fail(err, HTH_BAD_FORMAT, "a message claims to live longer than %d ms", HTH_ENVELOPE_LIFE_MAX_MS);
	if (f->issued_ms > now_ms && f->issued_ms - now_ms > HTH_ENVELOPE_SKEW_MS)
		return hth_fail(err, HTH_TIMEOUT, "a message is from the future: the two homes' clocks differ by more than %d s",
		                HTH_ENVELOPE_SKEW_MS / 1000);
	if (now_ms >= f->expires_ms && now_ms - f->expires_ms >= HTH_ENVELOPE_SKEW_MS)
		return hth_fail(err, HTH_TIMEOUT, "a message has expired");
	return HTH_OK;
}

static hth_status check_signature(const hth_inbox *inbox, const unsigned char *head, const letter_fields *f, hth_error *err)
{
	HTH_CLEANUP(finish_secret) hth_buf to_verify = HTH_BUF_INIT(HEAD + 32 + CONTENTS_MAX);
	hth_buf_reserve(&to_verify, HEAD + 32 + f->signed_len);
	put_signed(&to_verify, head, hth_identity_card(inbox->identity)->box_key, inbox->contents, f->signed_len);
	HTH_TRY(hth_buf_check(&to_verify, "a message", err));
	if (!hth_home_verify(&f->sender, label, to_verify.data, to_verify.len, f->signature))
		return hth_fail(err, HTH_BAD_FORMAT, "a message's signature is not its sender's: forged or altered");
	return HTH_OK;
}

static hth_status open_checked(hth_inbox *inbox, const char *subject, const unsigned char *bytes, size_t len, uint64_t now_ms,
                               letter_fields *f, hth_error *err)
{
	size_t contents_len = 0;
	if (len < HEAD + CONTENTS_MIN + TAG || bytes[0] != VERSION)
		return hth_fail(err, HTH_BAD_FORMAT, "what arrived is not an envelope of version %d", VERSION);
	if (!decrypt(inbox, bytes, len, &contents_len))
		return hth_fail(err, HTH_BAD_FORMAT, "an envelope was not sealed for this home, or was altered on its way");
	if (!parse(inbox->contents, contents_len, f))
		return hth_fail(err, HTH_BAD_FORMAT, "an envelope's contents do not follow the format");
	if (!hth_home_id_equal(&f->audience, &hth_identity_card(inbox->identity)->id))
		return hth_fail(err, HTH_DENIED, "a message is for another home");
	if (strcmp(f->subject, subject) != 0)
		return hth_fail(err, HTH_DENIED, "a message arrived on another subject than it was written for");
	HTH_TRY(check_dates(f, now_ms, err));
	/* Before the signature: an unknown sender should cost as little as possible. Before it, nothing is said about a known one
	 * either. */
	if (!inbox->knows(inbox->ctx, &f->sender))
		return hth_fail(err, HTH_DENIED, "a message is from a home that is not known here");
	HTH_TRY(check_signature(inbox, bytes, f, err));
	if (f->session != 0 && f->session != inbox->session)
		return hth_fail(err, HTH_GONE, "a message was written before this home started");
	/* Last: only what its sender really wrote takes up memory. */
	return hth_nonces_note(inbox->nonces, &f->sender, f->nonce, now_ms, err);
}

hth_status hth_inbox_open(hth_inbox *inbox, const char *subject, const void *bytes, size_t len, uint64_t now_ms, hth_opened *ret_opened,
                          hth_error *err)
{
	if (len > HTH_ENVELOPE_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "an envelope of %zu bytes is over the limit of %d", len, HTH_ENVELOPE_MAX);
	sodium_memzero(inbox->contents, inbox->contents_len);
	inbox->contents_len = 0;
	letter_fields f;
	hth_status status = open_checked(inbox, subject, bytes, len, now_ms, &f, err);
	if (status != HTH_OK) {
		sodium_memzero(inbox->contents, inbox->contents_len);
		return status;
	}
	*ret_opened = (hth_opened){.sender = f.sender, .issued_ms = f.issued_ms, .no_session = f.session == 0, .payload = f.payload,
	                           .len = f.len};
	return HTH_OK;
}
