/* test-invitation.c - a line lets one home in, once, while it lasts, and not when a letter of it was changed. */
#include "harness.h"
#include "base/mem.h"
#include "charter/invitation.h"

static hth_error err;
static const uint64_t T0 = 1800000000000u;

static hth_invitation sample(void)
{
	hth_invitation i = {.hub = "hub.example.org:4222", .pool_name = "Elm Street", .expires_ms = T0 + 1000};
	memset(i.fingerprint, 1, sizeof i.fingerprint);
	memset(i.secret, 2, sizeof i.secret);
	memset(i.inviter.id.bytes, 3, 32);
	memset(i.inviter.box_key, 4, 32);
	memset(i.pool_id, 5, sizeof i.pool_id);
	return i;
}

TEST(a_line_says_what_was_written)
{
	hth_invitation in = sample(), out;
	char line[HTH_INVITATION_LINE_MAX], padded[HTH_INVITATION_LINE_MAX + 8];
	REQUIRE_OK(hth_invitation_write(&in, line, &err));
	CHECK(strpbrk(line, " \t\r\n") == NULL && strlen(line) < 400);
	REQUIRE_OK(hth_invitation_read(&out, line, T0, &err));
	CHECK(memcmp(&in, &out, sizeof in) == 0);
	snprintf(padded, sizeof padded, "  %s\r\n", line);
	CHECK_OK(hth_invitation_read(&out, padded, T0, &err));
	CHECK_INT(hth_invitation_read(&out, line, T0 + 1000, &err), HTH_TIMEOUT);
	memset(in.hub, 'h', sizeof in.hub);
	strcpy(in.hub + sizeof in.hub - 7, ":65535");
	memset(in.pool_name, 'p', sizeof in.pool_name - 1);
	CHECK_OK(hth_invitation_write(&in, line, &err)); /* the longest */
	CHECK_OK(hth_invitation_read(&out, line, T0, &err));
	static const char *const bad[] = {"", "hub", ":1", "hub:", "hub:0", "hub:65536", "hub:1x", "a b:1", "hub:1\n", "$(reboot):1"};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		in = sample();
		strcpy(in.hub, bad[i]);
		CHECK_INT(hth_invitation_write(&in, line, &err), HTH_INVALID);
	}
}

TEST(altered_and_cut_lines_are_refused)
{
	hth_invitation in = sample(), out;
	char line[HTH_INVITATION_LINE_MAX];
	REQUIRE_OK(hth_invitation_write(&in, line, &err));
	for (size_t i = 0; line[i] != '\0'; i++) {
		char was = line[i];
		line[i] = was == 'A' ? 'B' : 'A';
		CHECK_INT(hth_invitation_read(&out, line, T0, &err), HTH_BAD_FORMAT);
		line[i] = '\0';
		CHECK_INT(hth_invitation_read(&out, line, T0, &err), HTH_BAD_FORMAT);
		line[i] = was;
	}
	CHECK_INT(hth_invitation_read(&out, "hearth1.", T0, &err), HTH_BAD_FORMAT);
	CHECK_INT(hth_invitation_read(&out, "hearth1.AAAA AAAA", T0, &err), HTH_BAD_FORMAT);
	char *huge = malloc(1 << 20);
	memset(huge, 'A', (1 << 20) - 1);
	huge[(1 << 20) - 1] = '\0';
	memcpy(huge, "hearth1.", 8);
	CHECK_INT(hth_invitation_read(&out, huge, T0, &err), HTH_BAD_FORMAT);
	free(huge);
}

TEST(an_invitation_is_used_by_one_home)
{
	hth_invitation_book *book = NULL, *again = NULL;
	unsigned char secret[HTH_SECRET_BYTES] = {1, 5, 9, 2, 7, 7}, other[HTH_SECRET_BYTES] = {2};
	hth_home_id guest = {{7}}, late = {{8}};
	REQUIRE_OK(hth_invitation_book_create(&book, &err));
	CHECK_INT(hth_invitation_book_redeem(book, secret, &guest, T0, &err), HTH_DENIED);
	REQUIRE_OK(hth_invitation_book_add(book, secret, T0 + 1000, T0, &err));
	REQUIRE_OK(hth_invitation_book_add(book, other, T0 + 1000, T0, &err));
	CHECK_INT(hth_invitation_book_open(book, T0), 2);
	CHECK_OK(hth_invitation_book_redeem(book, secret, &guest, T0, &err));
	CHECK_OK(hth_invitation_book_redeem(book, secret, &guest, T0 + 1, &err)); /* the answer was lost */
	CHECK_INT(hth_invitation_book_redeem(book, secret, &late, T0, &err), HTH_DENIED);
	CHECK_INT(hth_invitation_book_open(book, T0), 1);
	/* What was used stays used over a restart. */
	hth_buf bytes = HTH_BUF_INIT(1 << 16);
	hth_invitation_book_encode(book, &bytes);
	REQUIRE_OK(hth_invitation_book_decode(&again, bytes.data, bytes.len, &err));
	CHECK_INT(hth_invitation_book_redeem(again, secret, &late, T0, &err), HTH_DENIED);
	CHECK(memmem(bytes.data, bytes.len, secret, sizeof secret) == NULL); /* the secret itself is not kept */
	for (size_t i = 0; i < bytes.len; i++) {
		hth_invitation_book *cut = NULL;
		CHECK_INT(hth_invitation_book_decode(&cut, bytes.data, i, &err), HTH_BAD_FORMAT);
	}
	hth_invitation_book_revoke(again);
	CHECK_INT(hth_invitation_book_redeem(again, other, &late, T0, &err), HTH_DENIED);
	CHECK_INT(hth_invitation_book_redeem(book, other, &late, T0 + 1000, &err), HTH_TIMEOUT);
	hth_buf_finish(&bytes);
	hth_invitation_book_destroy(book);
	hth_invitation_book_destroy(again);
}

TEST(open_invitations_are_bounded_and_expire)
{
	hth_invitation_book *book = NULL;
	unsigned char secret[HTH_SECRET_BYTES] = {0};
	REQUIRE_OK(hth_invitation_book_create(&book, &err));
	for (int i = 0; i < HTH_INVITATIONS_MAX; i++) {
		secret[0] = (unsigned char)i;
		CHECK_OK(hth_invitation_book_add(book, secret, T0 + 1000 + (uint64_t)i, T0, &err));
	}
	CHECK_INT(hth_invitation_book_add(book, secret, T0 + 9000, T0, &err), HTH_BUSY);
	CHECK_OK(hth_invitation_book_add(book, secret, T0 + 9000, T0 + 1000, &err));
	hth_invitation_book_destroy(book);
}

TEST_MAIN()
