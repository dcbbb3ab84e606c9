/* identity.c - the home's keys: made once, kept where only their owner reads them. Any thread; an identity does not change. */
#include "seal/identity.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

struct hth_identity {
	unsigned char sign_secret[crypto_sign_SECRETKEYBYTES];
	unsigned char box_secret[crypto_box_SECRETKEYBYTES];
	hth_card card;
};

static const char file_head[] = "hearth identity 1 ";
static const char kdf_context[crypto_kdf_CONTEXTBYTES] = {'h', 't', 'h', 'i', 'd', 'e', 'n', 't'};
static const char card_label[] = "hearth card 1";
enum { FILE_BYTES = sizeof file_head - 1 + 2 * HTH_SEED_BYTES + 1 };

_Static_assert(crypto_kdf_KEYBYTES == HTH_SEED_BYTES, "the seed is the derivation's key");
_Static_assert(crypto_sign_BYTES == HTH_SIGNATURE_BYTES && crypto_sign_PUBLICKEYBYTES == 32, "Ed25519");

static void card_body(const hth_card *card, unsigned char out[64])
{
	memcpy(out, card->id.bytes, 32);
	memcpy(out + 32, card->box_key, 32);
}

hth_status hth_identity_from_seed(hth_identity **ret_identity, const unsigned char seed[HTH_SEED_BYTES], hth_error *err)
{
	if (sodium_init() < 0)
		return hth_fail(err, HTH_INTERNAL, "libsodium could not start");
	hth_identity *identity = sodium_malloc(sizeof *identity);
	if (identity == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for this home's keys");
	unsigned char sign_seed[crypto_sign_SEEDBYTES], body[64];
	crypto_kdf_derive_from_key(sign_seed, sizeof sign_seed, 1, kdf_context, seed);
	crypto_kdf_derive_from_key(identity->box_secret, sizeof identity->box_secret, 2, kdf_context, seed);
	crypto_sign_seed_keypair(identity->card.id.bytes, identity->sign_secret, sign_seed);
	crypto_scalarmult_base(identity->card.box_key, identity->box_secret);
	sodium_memzero(sign_seed, sizeof sign_seed);
	card_body(&identity->card, body);
	hth_identity_sign(identity, card_label, body, sizeof body, identity->card.signature);
	sodium_mprotect_readonly(identity);
	*ret_identity = identity;
	return HTH_OK;
}

/* The whole file appears at once or not at all: it is written under another name and linked. */
static hth_status make_file(const char *path, hth_error *err)
{
	char temporary[4096 + 32];
	snprintf(temporary, sizeof temporary, "%s.%08x", path, (unsigned)randombytes_random());
	HTH_AUTO_CLOSE int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", temporary);
	unsigned char seed[HTH_SEED_BYTES];
	char text[FILE_BYTES + 1], hex[2 * HTH_SEED_BYTES + 1];
	randombytes_buf(seed, sizeof seed);
	snprintf(text, sizeof text, "%s%s\n", file_head, sodium_bin2hex(hex, sizeof hex, seed, sizeof seed));
	int failed = write(fd, text, FILE_BYTES) != FILE_BYTES || fsync(fd) != 0 ? errno ? errno : EIO : 0;
	sodium_memzero(seed, sizeof seed);
	sodium_memzero(text, sizeof text);
	sodium_memzero(hex, sizeof hex);
	if (failed == 0 && link(temporary, path) != 0 && errno != EEXIST) /* EEXIST: another process was first; its keys count */
		failed = errno;
	unlink(temporary);
	if (failed != 0)
		return hth_fail_errno(err, HTH_IO, failed, "cannot write this home's keys to %s", path);
	char folder[4096];
	snprintf(folder, sizeof folder, "%s", path);
	*strrchr(folder, '/') = '\0';
	HTH_AUTO_CLOSE int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot write this home's keys durably to %s", folder);
	return HTH_OK;
}

static hth_status read_file(int fd, const char *path, unsigned char seed[HTH_SEED_BYTES], hth_error *err)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return hth_fail(err, HTH_DENIED,
		                "%s holds this home's keys and must be its user's alone: chown it and chmod 600, or, if others may have "
		                                 "read it, remove it and join your neighbourhoods anew", path);
	char text[FILE_BYTES + 1];
	ssize_t n = read(fd, text, sizeof text);
	size_t got = 0;
	bool good = n == FILE_BYTES && memcmp(text, file_head, sizeof file_head - 1) == 0 && text[FILE_BYTES - 1] == '\n' &&
	            sodium_hex2bin(seed, HTH_SEED_BYTES, text + sizeof file_head - 1, 2 * HTH_SEED_BYTES, NULL, &got, NULL) == 0 &&
	            got == HTH_SEED_BYTES;
	sodium_memzero(text, sizeof text);
	return good ? HTH_OK : hth_fail(err, HTH_BAD_FORMAT,
	                                "%s is damaged: restore it from a backup, or remove it and join your neighbourhoods anew", path);
}

hth_status hth_identity_load(hth_identity **ret_identity, const char *home, hth_error *err)
{
	char path[4096];
	if (sodium_init() < 0)
		return hth_fail(err, HTH_INTERNAL, "libsodium could not start");
	if ((size_t)snprintf(path, sizeof path, "%s/identity.key", home) >= sizeof path)
		return hth_fail(err, HTH_INVALID, "the path of the home is too long: %s", home);
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		HTH_TRY(make_file(path, err));
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	}
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot open %s", path);
	unsigned char seed[HTH_SEED_BYTES];
	hth_status status = read_file(fd, path, seed, err);
	if (status == HTH_OK)
		status = hth_identity_from_seed(ret_identity, seed, err);
	sodium_memzero(seed, sizeof seed);
	return status;
}

void hth_identity_destroy(hth_identity *identity) { sodium_free(identity); /* wipes */ }
const hth_card *hth_identity_card(const hth_identity *identity) { return &identity->card; }

/* What is really signed: the hash of the label (with its length) and the bytes, so that a label can be no prefix of another. */
static void signed_hash(const char *label, const void *bytes, size_t len, unsigned char hash[64])
{
	crypto_generichash_state state;
	unsigned char n = (unsigned char)strlen(label);
	crypto_generichash_init(&state, NULL, 0, 64);
	crypto_generichash_update(&state, &n, 1);
	crypto_generichash_update(&state, (const unsigned char *)label, n);
	crypto_generichash_update(&state, bytes, len);
	crypto_generichash_final(&state, hash, 64);
}

void hth_identity_sign(const hth_identity *identity, const char *label, const void *bytes, size_t len,
                       unsigned char ret_signature[HTH_SIGNATURE_BYTES])
{
	unsigned char hash[64];
	signed_hash(label, bytes, len, hash);
	crypto_sign_detached(ret_signature, NULL, hash, sizeof hash, identity->sign_secret);
}

bool hth_identity_sign_nonce(const hth_identity *identity, const void *nonce, size_t len, unsigned char ret_signature[HTH_SIGNATURE_BYTES])
{
	return len >= 8 && len <= 48 && crypto_sign_detached(ret_signature, NULL, nonce, len, identity->sign_secret) == 0;
}

bool hth_home_verify(const hth_home_id *id, const char *label, const void *bytes, size_t len,
                     const unsigned char signature[HTH_SIGNATURE_BYTES])
{
	unsigned char hash[64];
	signed_hash(label, bytes, len, hash);
	return crypto_sign_verify_detached(signature, hash, sizeof hash, id->bytes) == 0;
}

bool hth_identity_agree(const hth_identity *identity, const unsigned char theirs[32], unsigned char ret_shared[32])
{
	return crypto_scalarmult(ret_shared, identity->box_secret, theirs) == 0;
}

bool hth_card_is_valid(const hth_card *card)
{
	unsigned char body[64];
	card_body(card, body);
	return hth_home_verify(&card->id, card_label, body, sizeof body, card->signature);
}

void hth_card_put(hth_buf *out, const hth_card *card)
{
	hth_canon_put_bytes(out, card->id.bytes, sizeof card->id.bytes);
	hth_canon_put_bytes(out, card->box_key, sizeof card->box_key);
	hth_canon_put_bytes(out, card->signature, sizeof card->signature);
}

void hth_card_get(hth_canon_reader *reader, hth_card *ret_card)
{
	hth_canon_get_bytes(reader, ret_card->id.bytes, sizeof ret_card->id.bytes);
	hth_canon_get_bytes(reader, ret_card->box_key, sizeof ret_card->box_key);
	hth_canon_get_bytes(reader, ret_card->signature, sizeof ret_card->signature);
	if (!reader->failed && !hth_card_is_valid(ret_card))
		reader->failed = true;
}

int hth_home_id_compare(const hth_home_id *a, const hth_home_id *b) { return memcmp(a->bytes, b->bytes, sizeof a->bytes); }
void hth_home_id_text(const hth_home_id *id, char ret_text[HTH_HOME_ID_TEXT])
{
	sodium_bin2hex(ret_text, HTH_HOME_ID_TEXT, id->bytes, sizeof id->bytes);
}

void hth_seal_hash(const char *label, const void *bytes, size_t len, unsigned char ret_hash[HTH_HASH_BYTES])
{
	unsigned char hash[64];
	signed_hash(label, bytes, len, hash);
	memcpy(ret_hash, hash, HTH_HASH_BYTES);
}

void hth_seal_random(void *to, size_t n) { randombytes_buf(to, n); }
