/* test-seal.c - a home's keys on disk, and envelopes in the hands of a hostile hub and a hostile member: nothing is read or believed. */
#include "harness.h"
#include "base/mem.h"
#include "base/rng.h"
#include "raw-envelope.h"
#include "seal/envelope.h"
#include "seal/nonces.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static hth_error err;
static const uint64_t T0 = 1800000000000u;
static char words[] = "the garden key is under the blue pot, tell nobody";

static hth_identity *make_identity(unsigned char fill)
{
	unsigned char seed[HTH_SEED_BYTES];
	memset(seed, fill, sizeof seed);
	hth_identity *identity = NULL;
	if (hth_identity_from_seed(&identity, seed, &err) != HTH_OK)
		abort();
	return identity;
}

/* Anna writes, Ben receives, Carl is a member too, Mallory is not. */
typedef struct street {
	hth_identity *anna, *ben, *carl, *mallory;
	hth_inbox *inbox;
} street;

static const hth_home_id *id_of(const hth_identity *identity) { return &hth_identity_card(identity)->id; }

static bool knows(void *ctx, const hth_home_id *sender)
{
	const street *s = ctx;
	return hth_home_id_equal(sender, id_of(s->anna)) || hth_home_id_equal(sender, id_of(s->carl));
}

static void street_init(street *s)
{
	*s = (street){make_identity(1), make_identity(2), make_identity(3), make_identity(4), NULL};
	if (hth_inbox_create(&s->inbox, s->ben, 77, knows, s, &err) != HTH_OK)
		abort();
}

static void street_finish(street *s)
{
	hth_inbox_destroy(s->inbox);
	hth_identity_destroy(s->anna);
	hth_identity_destroy(s->ben);
	hth_identity_destroy(s->carl);
	hth_identity_destroy(s->mallory);
}

static hth_letter letter_of(const void *payload, size_t len)
{
	return (hth_letter){.subject = "pool.elm.ask", .issued_ms = T0, .expires_ms = T0 + 20000, .session = 77, .payload = payload,
	                    .len = len};
}

static hth_buf seal(const hth_identity *from, const hth_identity *to, const hth_letter *letter)
{
	hth_buf out = HTH_BUF_INIT(HTH_ENVELOPE_MAX);
	if (hth_envelope_seal(&out, from, hth_identity_card(to), letter, &err) != HTH_OK)
		abort();
	return out;
}

static hth_status open_at(street *s, const hth_buf *e, uint64_t now_ms, hth_opened *opened)
{
	memset(opened, 0xEE, sizeof *opened);
	hth_status status = hth_inbox_open(s->inbox, "pool.elm.ask", e->data, e->len, now_ms, opened, &err);
	if (status != HTH_OK) { /* untouched on failure: nothing was handed out */
		hth_opened untouched;
		memset(&untouched, 0xEE, sizeof untouched);
		CHECK(memcmp(opened, &untouched, sizeof untouched) == 0);
	}
	return status;
}

/* ---- identity ---- */

TEST(keys_are_made_once_for_their_owner_only_and_found_again)
{
	char home[] = "/tmp/hearth-seal-XXXXXX", path[64];
	REQUIRE(mkdtemp(home) != NULL);
	snprintf(path, sizeof path, "%s/identity.key", home);
	umask(0);
	hth_identity *first = NULL, *again = NULL, *refused = NULL;
	REQUIRE_OK(hth_identity_load(&first, home, &err));
	REQUIRE_OK(hth_identity_load(&again, home, &err));
	CHECK(memcmp(hth_identity_card(first), hth_identity_card(again), sizeof(hth_card)) == 0);
	CHECK(hth_card_is_valid(hth_identity_card(first)));
	struct stat st;
	REQUIRE(stat(path, &st) == 0);
	CHECK_INT(st.st_mode & 07777, 0600);
	chmod(path, 0640);
	CHECK_INT(hth_identity_load(&refused, home, &err), HTH_DENIED);
	CHECK(strstr(err.message, "chmod 600") != NULL);
	chmod(path, 0600);
	CHECK(truncate(path, 40) == 0);
	CHECK_INT(hth_identity_load(&refused, home, &err), HTH_BAD_FORMAT);
	unlink(path);
	REQUIRE(symlink("/dev/zero", path) == 0);
	CHECK_INT(hth_identity_load(&refused, home, &err), HTH_IO);
	unlink(path);
	CHECK(refused == NULL);
	CHECK(rmdir(home) == 0); /* nothing else was left behind */
	hth_identity_destroy(first);
	hth_identity_destroy(again);
}

TEST(signatures_hold_for_their_label_and_bytes_only)
{
	hth_identity *anna = make_identity(1), *ben = make_identity(2);
	unsigned char signature[HTH_SIGNATURE_BYTES];
	hth_identity_sign(anna, "test 1", "abc", 3, signature);
	CHECK(hth_home_verify(id_of(anna), "test 1", "abc", 3, signature));
	CHECK(!hth_home_verify(id_of(anna), "test 2", "abc", 3, signature));
	CHECK(!hth_home_verify(id_of(anna), "test 1a", "bc", 2, signature));
	CHECK(!hth_home_verify(id_of(anna), "test 1", "abd", 3, signature));
	CHECK(!hth_home_verify(id_of(ben), "test 1", "abc", 3, signature));
	hth_card card = *hth_identity_card(anna);
	memcpy(card.box_key, hth_identity_card(ben)->box_key, 32);
	CHECK(!hth_card_is_valid(&card)); /* nobody else's sealing key can be put under a name */
	hth_identity_destroy(anna);
	hth_identity_destroy(ben);
}

/* ---- envelopes ---- */

TEST(an_envelope_arrives_whole_at_every_size)
{
	street s;
	street_init(&s);
	static const size_t sizes[] = {0, 1, 200, 255, 256, 511, 4096, 8192, 8193, 100000, HTH_LETTER_PAYLOAD_MAX};
	char *payload = malloc(HTH_LETTER_PAYLOAD_MAX + 1);
	memset(payload, 'x', HTH_LETTER_PAYLOAD_MAX + 1);
	for (size_t i = 0; i < HTH_COUNT(sizes); i++) {
		hth_letter letter = letter_of(payload, sizes[i]);
		hth_buf e = seal(s.anna, s.ben, &letter);
		CHECK(e.len <= HTH_ENVELOPE_MAX);
		hth_opened opened;
		CHECK_OK(open_at(&s, &e, T0 + 5, &opened));
		CHECK(hth_home_id_equal(&opened.sender, id_of(s.anna)));
		CHECK(opened.len == sizes[i] && memcmp(opened.payload, payload, sizes[i]) == 0);
		CHECK(!opened.no_session);
		hth_buf_finish(&e);
	}
	hth_letter letter = letter_of(payload, HTH_LETTER_PAYLOAD_MAX + 1);
	hth_buf out = HTH_BUF_INIT(1 << 20);
	CHECK_INT(hth_envelope_seal(&out, s.anna, hth_identity_card(s.ben), &letter, &err), HTH_TOO_LARGE);
	letter = letter_of("", 0);
	letter.expires_ms = T0 + HTH_ENVELOPE_LIFE_MAX_MS + 1;
	CHECK_INT(hth_envelope_seal(&out, s.anna, hth_identity_card(s.ben), &letter, &err), HTH_INVALID);
	letter = letter_of("", 0);
	letter.subject = "two\nlines";
	CHECK_INT(hth_envelope_seal(&out, s.anna, hth_identity_card(s.ben), &letter, &err), HTH_INVALID);
	CHECK_INT(out.len, 0);
	hth_buf_finish(&out);
	free(payload);
	street_finish(&s);
}

TEST(the_carrier_sees_neither_words_nor_sender_nor_exact_lengths)
{
	street s;
	street_init(&s);
	hth_letter letter = letter_of(words, sizeof words - 1);
	hth_buf a = seal(s.anna, s.ben, &letter), b = seal(s.anna, s.ben, &letter);
	CHECK(memmem(a.data, a.len, words, 8) == NULL);
	CHECK(memmem(a.data, a.len, letter.subject, 8) == NULL);
	CHECK(memmem(a.data, a.len, id_of(s.anna)->bytes, 8) == NULL);
	CHECK(memmem(a.data, a.len, id_of(s.ben)->bytes, 8) == NULL);
	CHECK(a.len == b.len && memcmp(a.data + 1, b.data + 1, 32) != 0 && memcmp(a.data + 33, b.data + 33, a.len - 33) != 0);
	for (size_t n = 1; n < 64; n++) { /* one token or another */
		letter = letter_of(words, n % (sizeof words - 1));
		hth_buf c = seal(s.anna, s.ben, &letter);
		CHECK_INT(c.len, a.len);
		hth_buf_finish(&c);
	}
	hth_buf_finish(&a);
	hth_buf_finish(&b);
	street_finish(&s);
}

TEST(a_hub_that_replays_reorders_and_drops_is_believed_once_each)
{
	street s;
	street_init(&s);
	hth_buf recorded[20];
	hth_opened opened;
	for (size_t i = 0; i < HTH_COUNT(recorded); i++) {
		char text[8];
		snprintf(text, sizeof text, "%zu", i);
		hth_letter letter = letter_of(text, strlen(text));
		letter.issued_ms += i;
		recorded[i] = seal(s.anna, s.ben, &letter);
	}
	/* Backwards, with every third dropped; then everything again, again a little later, and again just before it expires. */
	for (size_t i = HTH_COUNT(recorded); i-- > 0;) {
		if (i % 3 == 0)
			continue;
		CHECK_OK(open_at(&s, &recorded[i], T0 + 100, &opened));
		char want[8];
		CHECK(opened.len == (size_t)snprintf(want, sizeof want, "%zu", i) && memcmp(opened.payload, want, opened.len) == 0);
	}
	for (uint64_t after = 100; after < 60000; after += 10000)
		for (size_t i = 0; i < HTH_COUNT(recorded); i++)
			if (i % 3 != 0)
				CHECK(open_at(&s, &recorded[i], T0 + after, &opened) == (after < 50000 ? HTH_CONFLICT : HTH_TIMEOUT));
	CHECK_OK(open_at(&s, &recorded[0], T0 + 40000, &opened)); /* held back, but still in date: believed, once */
	CHECK_INT(open_at(&s, &recorded[0], T0 + 40000, &opened), HTH_CONFLICT);
	for (size_t i = 0; i < HTH_COUNT(recorded); i++)
		hth_buf_finish(&recorded[i]);
	street_finish(&s);
}

TEST(a_restarted_home_believes_nothing_from_before)
{
	street s;
	street_init(&s);
	hth_letter letter = letter_of(words, 5);
	hth_buf e = seal(s.anna, s.ben, &letter);
	hth_opened opened;
	CHECK_OK(open_at(&s, &e, T0, &opened));
	hth_inbox_destroy(s.inbox);
	REQUIRE_OK(hth_inbox_create(&s.inbox, s.ben, 78, knows, &s, &err));
	CHECK_INT(open_at(&s, &e, T0 + 1000, &opened), HTH_GONE);
	letter.session = 0;
	hth_buf hello = seal(s.anna, s.ben, &letter);
	CHECK_OK(open_at(&s, &hello, T0 + 1000, &opened));
	CHECK(opened.no_session); /* and says so */
	hth_buf_finish(&e);
	hth_buf_finish(&hello);
	street_finish(&s);
}

TEST(altered_and_cut_envelopes_are_refused_bit_by_bit)
{
	street s;
	street_init(&s);
	hth_letter letter = letter_of(words, sizeof words - 1);
	hth_buf e = seal(s.anna, s.ben, &letter);
	hth_opened opened;
	for (size_t i = 0; i < e.len; i++) {
		e.data[i] ^= (char)(1 << (i % 8));
		/* X25519 ignores the top bit of a point: that bit is caught by the associated data instead. */
		CHECK(open_at(&s, &e, T0, &opened) == HTH_BAD_FORMAT);
		e.data[i] ^= (char)(1 << (i % 8));
	}
	e.data[32] ^= (char)0x80;
	CHECK_INT(open_at(&s, &e, T0, &opened), HTH_BAD_FORMAT);
	e.data[32] ^= (char)0x80;
	size_t whole = e.len;
	for (e.len = 0; e.len < whole; e.len += 7)
		CHECK_INT(open_at(&s, &e, T0, &opened), HTH_BAD_FORMAT);
	e.len = whole;
	hth_buf longer = HTH_BUF_INIT(1 << 20);
	hth_buf_append(&longer, e.data, e.len);
	hth_buf_append(&longer, "x", 1);
	CHECK_INT(open_at(&s, &longer, T0, &opened), HTH_BAD_FORMAT);
	memset(hth_buf_reserve(&longer, HTH_ENVELOPE_MAX), 0, HTH_ENVELOPE_MAX);
	longer.len = HTH_ENVELOPE_MAX + 1;
	CHECK_INT(open_at(&s, &longer, T0, &opened), HTH_TOO_LARGE);
	CHECK_OK(open_at(&s, &e, T0, &opened)); /* none of that used it up */
	hth_buf_finish(&longer);
	hth_buf_finish(&e);
	street_finish(&s);
}

TEST(low_order_ephemeral_keys_are_refused)
{
	street s;
	street_init(&s);
	hth_opened opened;
	hth_buf e = HTH_BUF_INIT(1 << 20);
	memset(hth_buf_reserve(&e, 600), 0, 600); /* the point 0 gives the secret 0 with any key */
	e.len = 600;
	e.data[0] = 1;
	CHECK_INT(open_at(&s, &e, T0, &opened), HTH_BAD_FORMAT);
	hth_card card = *hth_identity_card(s.ben);
	memset(card.box_key, 0, sizeof card.box_key);
	hth_letter letter = letter_of(words, 5);
	hth_buf_clear(&e);
	CHECK_INT(hth_envelope_seal(&e, s.anna, &card, &letter, &err), HTH_INVALID);
	hth_buf_finish(&e);
	street_finish(&s);
}

TEST(wrong_audience_subject_sender_and_dates_are_refused)
{
	street s;
	street_init(&s);
	hth_opened opened;
	hth_letter letter = letter_of(words, 5);
	hth_buf for_carl = seal(s.anna, s.carl, &letter), from_mallory = seal(s.mallory, s.ben, &letter), e = seal(s.anna, s.ben, &letter);
	CHECK_INT(open_at(&s, &for_carl, T0, &opened), HTH_BAD_FORMAT); /* it cannot even be read */
	CHECK_INT(open_at(&s, &from_mallory, T0, &opened), HTH_DENIED);
	CHECK_INT(hth_inbox_open(s.inbox, "pool.elm.pay", e.data, e.len, T0, &opened, &err), HTH_DENIED);
	/* Ben's sealing key under Carl's name: an envelope that Ben can open but was written for Carl. */
	hth_card mixed = *hth_identity_card(s.ben);
	mixed.id = *id_of(s.carl);
	hth_buf crossed = HTH_BUF_INIT(HTH_ENVELOPE_MAX);
	CHECK_OK(hth_envelope_seal(&crossed, s.anna, &mixed, &letter, &err));
	CHECK_INT(open_at(&s, &crossed, T0, &opened), HTH_DENIED);
	CHECK_INT(open_at(&s, &e, T0 - HTH_ENVELOPE_SKEW_MS - 1, &opened), HTH_TIMEOUT);
	CHECK_INT(open_at(&s, &e, T0 + 20000 + HTH_ENVELOPE_SKEW_MS, &opened), HTH_TIMEOUT);
	CHECK_INT(open_at(&s, &e, UINT64_MAX, &opened), HTH_TIMEOUT);
	CHECK_INT(open_at(&s, &e, 0, &opened), HTH_TIMEOUT);
	CHECK_OK(open_at(&s, &e, T0 - HTH_ENVELOPE_SKEW_MS, &opened));
	hth_buf_finish(&for_carl);
	hth_buf_finish(&from_mallory);
	hth_buf_finish(&crossed);
	hth_buf_finish(&e);
	street_finish(&s);
}

/* Puts a signature by `signer` at the end of contents, over what an envelope for `to` with the raw head would have. */
static void sign_contents(const hth_identity *signer, const hth_identity *to, unsigned char *contents, size_t len)
{
	unsigned char to_sign[4096];
	size_t n = len - HTH_SIGNATURE_BYTES;
	raw_head(to_sign);
	memcpy(to_sign + RAW_HEAD, hth_identity_card(to)->box_key, 32);
	memcpy(to_sign + RAW_HEAD + 32, contents, n);
	hth_identity_sign(signer, "hearth envelope 1", to_sign, RAW_HEAD + 32 + n, contents + n);
}

TEST(a_member_that_opened_a_letter_cannot_pass_it_on_or_forge_one)
{
	street s;
	street_init(&s);
	hth_opened opened;
	hth_letter letter = letter_of(words, sizeof words - 1);
	unsigned char contents[4096], sealed[8192];
	hth_buf for_carl = seal(s.anna, s.carl, &letter);
	size_t n = raw_open(s.carl, for_carl.data, for_carl.len, contents);
	REQUIRE(n > 0 && memmem(contents, n, words, sizeof words - 1) != NULL); /* Carl may read it */
	hth_buf e = HTH_BUF_INIT(HTH_ENVELOPE_MAX);
#define ARRIVES() (hth_buf_clear(&e), hth_buf_append(&e, sealed, raw_seal(hth_identity_card(s.ben), contents, n, sealed)), \
                   open_at(&s, &e, T0, &opened))
	CHECK_INT(ARRIVES(), HTH_DENIED); /* as it is: for Carl */
	memcpy(contents + 32, id_of(s.ben)->bytes, 32);
	CHECK_INT(ARRIVES(), HTH_BAD_FORMAT); /* addressed anew: Anna signed something else */
	sign_contents(s.carl, s.ben, contents, n);
	CHECK_INT(ARRIVES(), HTH_BAD_FORMAT); /* Carl's signature under Anna's name */
	memcpy(contents, id_of(s.carl)->bytes, 32);
	sign_contents(s.carl, s.ben, contents, n);
	CHECK_OK(ARRIVES()); /* in his own name he may: the construction of this test is the real one */
	CHECK(hth_home_id_equal(&opened.sender, id_of(s.carl)));
	sign_contents(s.carl, s.ben, contents, n);
	CHECK_INT(ARRIVES(), HTH_CONFLICT); /* the same nonce again */
	memset(contents + 72, 0xff, 8);
	sign_contents(s.carl, s.ben, contents, n);
	CHECK_INT(ARRIVES(), HTH_BAD_FORMAT); /* no life without end */
#undef ARRIVES
	hth_buf_finish(&e);
	hth_buf_finish(&for_carl);
	street_finish(&s);
}

TEST(a_flooding_sender_fills_its_own_memory_only)
{
	hth_nonces *nonces = NULL;
	REQUIRE_OK(hth_nonces_create(&nonces, 1000, &err));
	hth_home_id flooder = {{1}}, other = {{2}};
	unsigned char nonce[HTH_NONCE_BYTES];
	hth_rng rng;
	hth_rng_seed(&rng, 1);
	int kept = 0;
	for (int i = 0; i < HTH_NONCES_MAX + 100; i++) {
		for (int j = 0; j < 2; j++) {
			uint64_t r = hth_rng_next(&rng);
			memcpy(nonce + 8 * j, &r, 8);
		}
		hth_status status = hth_nonces_note(nonces, &flooder, nonce, 0, &err);
		CHECK(status == HTH_OK || status == HTH_BUSY);
		kept += status == HTH_OK;
	}
	CHECK(kept <= HTH_NONCES_MAX && kept > HTH_NONCES_MAX * 9 / 10);
	CHECK_OK(hth_nonces_note(nonces, &other, nonce, 0, &err));
	CHECK_INT(hth_nonces_note(nonces, &other, nonce, 1000, &err), HTH_CONFLICT); /* the turn keeps what came before it */
	CHECK_OK(hth_nonces_note(nonces, &flooder, nonce, 1000, &err));
	CHECK_OK(hth_nonces_note(nonces, &other, nonce, 5000, &err)); /* long forgotten */
	/* Nonces that all fall into one place cost their sender, and no time. */
	hth_home_id third = {{3}};
	hth_status status = HTH_OK;
	memset(nonce, 9, sizeof nonce);
	for (int i = 1; i < 1000 && status == HTH_OK; i++) {
		memcpy(nonce + 8, &i, sizeof i);
		status = hth_nonces_note(nonces, &third, nonce, 5000, &err);
	}
	CHECK_INT(status, HTH_BUSY);
	memset(nonce, 0, sizeof nonce);
	CHECK_INT(hth_nonces_note(nonces, &third, nonce, 5000, &err), HTH_BAD_FORMAT);
	for (int i = 0; i < HTH_NONCE_SENDERS_MAX; i++) {
		hth_home_id many = {{(unsigned char)i, (unsigned char)(i >> 8), 5}};
		nonce[0] = 1;
		status = hth_nonces_note(nonces, &many, nonce, 5000, &err);
	}
	CHECK_INT(status, HTH_BUSY);
	hth_nonces_destroy(nonces);
}

TEST(many_flooding_senders_together_have_bounded_memory_and_others_still_write)
{
	hth_nonces *nonces = NULL;
	REQUIRE_OK(hth_nonces_create(&nonces, 1000, &err));
	unsigned char nonce[HTH_NONCE_BYTES];
	hth_rng rng;
	hth_rng_seed(&rng, 2);
	bool refused = false;
	for (int who = 0; who < 40 && !refused; who++) {
		hth_home_id flooder = {{(unsigned char)who, 1}};
		for (int i = 0; i < 66000 && !refused; i++) {
			for (int j = 0; j < 2; j++) {
				uint64_t r = hth_rng_next(&rng);
				memcpy(nonce + 8 * j, &r, 8);
			}
			refused = hth_nonces_note(nonces, &flooder, nonce, 0, &err) == HTH_BUSY;
		}
	}
	CHECK(refused);
	hth_home_id quiet = {{77, 2}};
	for (int i = 0; i < 2000; i++) {
		uint64_t r = hth_rng_next(&rng);
		memcpy(nonce, &r, 8);
		CHECK_OK(hth_nonces_note(nonces, &quiet, nonce, 0, &err));
	}
	hth_nonces_destroy(nonces);
}

/* ---- canonical bytes ---- */

TEST(there_is_one_encoding_and_nothing_else_is_read)
{
	hth_buf out = HTH_BUF_INIT(100);
	hth_canon_put_bool(&out, true);
	hth_canon_put_u16(&out, 0x1234);
	hth_canon_put_text(&out, "J\xc3\xbcrg");
	CHECK(out.len == 12 && memcmp(out.data, "\1\x34\x12\5\0\0\0J\xc3\xbcrg", 12) == 0);
	char text[8];
	hth_canon_reader r = hth_canon_read(out.data, out.len);
	CHECK(hth_canon_get_bool(&r) && hth_canon_get_u16(&r) == 0x1234);
	hth_canon_get_text(&r, text, sizeof text);
	CHECK(hth_canon_end(&r));
	CHECK_STR(text, "J\xc3\xbcrg");
	r = hth_canon_read("\2", 1);
	CHECK(!hth_canon_get_bool(&r) && !hth_canon_end(&r));
	static const char *const bad[] = {"\2\0\0\0a\n", "\2\0\0\0\xc2\x85", "\1\0\0\0\xff", "\7\0\0\0abc", "\xff\xff\xff\xff"};
	static const size_t lens[] = {6, 6, 5, 7, 4};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		r = hth_canon_read(bad[i], lens[i]);
		hth_canon_get_text(&r, text, sizeof text);
		CHECK(r.failed && text[0] == '\0');
	}
	hth_canon_put_text(&out, "bell\a");
	CHECK(out.failed);
	hth_buf_finish(&out);
}

TEST_MAIN()
