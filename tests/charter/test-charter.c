/* test-charter.c - how a neighbourhood changes: with the signatures it asks for, and in the same way on every home. */
#include "harness.h"
#include "base/mem.h"
#include "base/rng.h"
#include "charter/membership.h"

static hth_error err;
static hth_identity *home[8]; /* made once; 0 founds */
static const hth_rules easy = {.classes = HTH_CHARTER_NEIGHBOURS | HTH_CHARTER_PUBLIC, .requests_per_hour = 60, .credit_line = 100000,
                               .admit_needs = 1, .change_needs = 1};

static const hth_card *card(int i) { return hth_identity_card(home[i]); }
static const hth_home_id *id(int i) { return &card(i)->id; }

__attribute__((constructor)) static void make_homes(void)
{
	for (int i = 0; i < 8; i++) {
		unsigned char seed[HTH_SEED_BYTES];
		memset(seed, 40 + i, sizeof seed);
		if (hth_identity_from_seed(&home[i], seed, &err) != HTH_OK)
			abort();
	}
}
__attribute__((destructor)) static void drop_homes(void)
{
	for (int i = 0; i < 8; i++)
		hth_identity_destroy(home[i]);
}

static hth_charter *must(hth_status status, hth_charter *charter)
{
	if (status != HTH_OK) {
		printf("# %s\n", err.message);
		abort();
	}
	return charter;
}

static hth_charter *found(void)
{
	hth_charter *c = NULL;
	hth_status status = hth_charter_found(&c, "Elm Street", &easy, home[0], "number 1", &err);
	return must(status, c);
}
static hth_charter *admit(const hth_charter *from, int who, hth_role role)
{
	hth_charter *c = NULL;
	char name[24];
	snprintf(name, sizeof name, "number %d", who + 1);
	hth_status status = hth_charter_admit(&c, from, card(who), name, role, &err);
	return must(status, c);
}
static hth_charter *removal(const hth_charter *from, int who)
{
	hth_charter *c = NULL;
	hth_status status = hth_charter_remove(&c, from, id(who), &err);
	return must(status, c);
}
static hth_charter *amend(const hth_charter *from, unsigned admit_needs, unsigned change_needs)
{
	hth_charter *c = NULL;
	hth_rules rules = *hth_charter_rules(from);
	rules.admit_needs = admit_needs;
	rules.change_needs = change_needs;
	hth_status status = hth_charter_amend(&c, from, &rules, &err);
	return must(status, c);
}
static hth_charter *sign(hth_charter *c, int who)
{
	CHECK_OK(hth_charter_sign(c, home[who], &err));
	return c;
}
/* Takes from's reference. */
static hth_charter *step(hth_charter *from, hth_charter *to)
{
	CHECK_OK(hth_charter_follows(from, to, &err));
	hth_charter_unref(from);
	return to;
}
/* Homes 0, 1, 2 are keepers, 3 a member; two signatures change, one admits. */
static hth_charter *street(void)
{
	hth_charter *c = found();
	c = step(c, sign(admit(c, 1, HTH_ROLE_KEEPER), 0));
	c = step(c, sign(admit(c, 2, HTH_ROLE_KEEPER), 1));
	c = step(c, sign(admit(c, 3, HTH_ROLE_MEMBER), 0));
	return step(c, sign(amend(c, 1, 2), 2));
}
static bool same(const hth_charter *a, const hth_charter *b)
{
	return memcmp(hth_charter_hash(a), hth_charter_hash(b), HTH_HASH_BYTES) == 0;
}

TEST(a_charter_is_read_back_as_it_was_written_and_no_other_way)
{
	hth_charter *c = street(), *again = NULL;
	hth_buf bytes = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX), twice = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX);
	hth_charter_encode(c, &bytes);
	REQUIRE_OK(hth_charter_decode(&again, bytes.data, bytes.len, &err));
	CHECK(same(c, again));
	CHECK_INT(hth_charter_version(again), 5);
	CHECK_STR(hth_charter_name(again), "Elm Street");
	CHECK_STR(hth_charter_find(again, id(2))->name, "number 3");
	CHECK(hth_charter_find(again, id(5)) == NULL);
	hth_charter_encode(again, &twice);
	CHECK(bytes.len == twice.len && memcmp(bytes.data, twice.data, bytes.len) == 0);
	hth_charter_unref(again);
	/* Every cut is refused; every flipped bit is refused or makes another charter (or a bad signature), never this one. */
	for (size_t i = 0; i < bytes.len; i++) {
		again = NULL;
		CHECK_INT(hth_charter_decode(&again, bytes.data, i, &err), HTH_BAD_FORMAT);
		if (i % 3 != 0)
			continue;
		bytes.data[i] ^= 4;
		if (hth_charter_decode(&again, bytes.data, bytes.len, &err) == HTH_OK) {
			hth_charter *before = street();
			CHECK(!same(again, c) || i + 96 * hth_charter_signature_count(c) >= bytes.len);
			CHECK(hth_charter_follows(before, again, &err) != HTH_OK);
			hth_charter_unref(before);
			hth_charter_unref(again);
		}
		bytes.data[i] ^= 4;
	}
	CHECK_INT(hth_charter_decode(&again, bytes.data, (size_t)HTH_CHARTER_BYTES_MAX + 1, &err), HTH_TOO_LARGE);
	hth_buf_finish(&bytes);
	hth_buf_finish(&twice);
	hth_charter_unref(c);
}

TEST(changes_need_the_signatures_that_the_charter_asks_for)
{
	hth_charter *c = street(), *next;
	next = admit(c, 4, HTH_ROLE_MEMBER);
	CHECK_INT(hth_charter_follows(c, next, &err), HTH_DENIED);
	sign(next, 3); /* a member is no keeper */
	sign(next, 4); /* the guest even less */
	CHECK_INT(hth_charter_follows(c, next, &err), HTH_DENIED);
	CHECK_OK(hth_charter_follows(c, sign(next, 1), &err));
	hth_charter_unref(next);
	next = admit(c, 4, HTH_ROLE_KEEPER); /* a new keeper is a change of power */
	CHECK_INT(hth_charter_follows(c, sign(next, 0), &err), HTH_DENIED);
	CHECK_INT(hth_charter_follows(c, sign(next, 0), &err), HTH_DENIED); /* twice the same is one */
	CHECK_INT(hth_charter_signature_count(next), 1);
	CHECK_OK(hth_charter_follows(c, sign(next, 2), &err));
	hth_charter_unref(next);
	next = removal(c, 1);
	CHECK_INT(hth_charter_follows(c, sign(next, 0), &err), HTH_DENIED);
	CHECK_OK(hth_charter_follows(c, sign(next, 1), &err));
	hth_charter_unref(next);
	next = amend(c, 1, 1);
	CHECK_INT(hth_charter_follows(c, sign(next, 2), &err), HTH_DENIED);
	hth_charter_unref(next);
	next = removal(c, 3); /* who leaves needs nobody */
	CHECK_INT(hth_charter_follows(c, next, &err), HTH_DENIED);
	CHECK_OK(hth_charter_follows(c, sign(next, 3), &err));
	hth_charter *after = removal(next, 2);
	sign(after, 2);
	CHECK_OK(hth_charter_follows(next, after, &err));
	hth_charter *stuck = NULL;
	CHECK_INT(hth_charter_remove(&stuck, after, id(1), &err), HTH_CONFLICT); /* two signatures, one keeper */
	CHECK(strstr(err.message, "keeper") != NULL);
	hth_charter_unref(after);
	hth_charter_unref(next);
	hth_charter_unref(c);
}

TEST(bad_drafts_are_refused_with_a_reason)
{
	hth_charter *c = found(), *next = NULL;
	hth_card forged = *card(1);
	memcpy(forged.box_key, card(2)->box_key, 32);
	CHECK_INT(hth_charter_admit(&next, c, &forged, "x", HTH_ROLE_MEMBER, &err), HTH_BAD_FORMAT);
	CHECK_INT(hth_charter_admit(&next, c, card(0), "x", HTH_ROLE_MEMBER, &err), HTH_CONFLICT);
	CHECK_INT(hth_charter_admit(&next, c, card(1), "", HTH_ROLE_MEMBER, &err), HTH_INVALID);
	CHECK_INT(hth_charter_admit(&next, c, card(1), "a\nb", HTH_ROLE_MEMBER, &err), HTH_INVALID);
	CHECK_INT(hth_charter_remove(&next, c, id(1), &err), HTH_NOT_FOUND);
	CHECK_INT(hth_charter_remove(&next, c, id(0), &err), HTH_TOO_LARGE);
	CHECK_INT(hth_charter_appoint(&next, c, id(0), HTH_ROLE_MEMBER, &err), HTH_CONFLICT);
	hth_rules rules = easy;
	rules.classes = 0;
	CHECK_INT(hth_charter_amend(&next, c, &rules, &err), HTH_INVALID);
	rules.classes = 4; /* there is no such class, above all not private */
	CHECK_INT(hth_charter_amend(&next, c, &rules, &err), HTH_INVALID);
	rules = easy;
	rules.change_needs = 2;
	CHECK_INT(hth_charter_amend(&next, c, &rules, &err), HTH_CONFLICT);
	CHECK(next == NULL);
	hth_charter_unref(c);
}

static hth_membership *member(int who, hth_charter *c)
{
	hth_membership *m = NULL;
	if (hth_membership_create(&m, id(who), &err) != HTH_OK || hth_membership_adopt(m, c, &err) != HTH_OK)
		abort();
	return m;
}
static int offer(hth_membership *m, hth_charter *c)
{
	hth_charter_outcome outcome;
	hth_status status = hth_membership_offer(m, c, &outcome, &err);
	return status == HTH_OK ? (int)outcome : -(int)status;
}

TEST(removal_ends_membership_at_once_for_everybody_and_the_removed)
{
	hth_charter *c = street(), *next = sign(sign(removal(c, 3), 0), 1);
	hth_membership *one = member(0, c), *four = member(3, c);
	CHECK(hth_membership_find(one, id(3)) != NULL && hth_membership_find(four, id(0)) != NULL);
	CHECK_INT(offer(one, next), HTH_CHARTER_TAKEN);
	CHECK_INT(offer(one, next), HTH_CHARTER_SAME);
	CHECK_INT(offer(one, c), HTH_CHARTER_SAME); /* the old one brings nobody back */
	CHECK(hth_membership_find(one, id(3)) == NULL && hth_membership_find(one, id(1)) != NULL);
	CHECK_INT(offer(four, next), HTH_CHARTER_TAKEN);
	CHECK(hth_membership_find(four, id(0)) == NULL);
	hth_charter *revenge = sign(removal(next, 0), 3);
	CHECK_INT(offer(one, revenge), -HTH_DENIED);
	hth_membership_forget(four);
	CHECK(hth_membership_charter(four) == NULL);
	CHECK_INT(offer(four, c), -HTH_CONFLICT);
	hth_charter_unref(revenge);
	hth_membership_destroy(one);
	hth_membership_destroy(four);
	hth_charter_unref(next);
	hth_charter_unref(c);
}

TEST(a_change_that_lacks_signatures_waits_for_them_wherever_it_is)
{
	hth_charter *c = street(), *next = sign(removal(c, 3), 0), *copy = sign(removal(c, 3), 4);
	hth_membership *m = member(1, c);
	hth_charter_outcome outcome;
	CHECK_INT(offer(m, copy), -HTH_DENIED); /* proposed by nobody who counts */
	CHECK_INT(offer(m, next), HTH_CHARTER_PROPOSED);
	CHECK_INT(offer(m, next), HTH_CHARTER_PROPOSED);
	CHECK_INT(hth_membership_proposal_count(m), 1);
	CHECK_INT(hth_membership_approve(m, hth_charter_hash(c), home[1], &outcome, &err), HTH_NOT_FOUND);
	CHECK_OK(hth_membership_approve(m, hth_charter_hash(next), home[1], &outcome, &err));
	CHECK_INT(outcome, HTH_CHARTER_TAKEN);
	CHECK(same(hth_membership_charter(m), next));
	CHECK_INT(hth_membership_proposal_count(m), 0);
	/* Two copies, each with another keeper's signature, meet elsewhere. */
	hth_membership *other = member(2, c);
	hth_charter *a = sign(removal(c, 3), 0), *b = sign(removal(c, 3), 1);
	CHECK_INT(offer(other, a), HTH_CHARTER_PROPOSED);
	CHECK_INT(offer(other, b), HTH_CHARTER_TAKEN);
	CHECK(same(hth_membership_charter(other), next));
	/* Proposals are bounded. */
	hth_membership *full = member(2, c);
	int last = 0;
	for (uint32_t i = 0; i <= HTH_PROPOSALS_MAX; i++) {
		hth_rules rules = *hth_charter_rules(c);
		rules.credit_line = i;
		hth_charter *p = NULL;
		CHECK_OK(hth_charter_amend(&p, c, &rules, &err));
		last = offer(full, sign(p, 3));
		hth_charter_unref(p);
	}
	CHECK_INT(last, -HTH_DENIED);
	hth_charter *d[] = {a, b, next, copy, c};
	for (size_t i = 0; i < HTH_COUNT(d); i++)
		hth_charter_unref(d[i]);
	hth_membership_destroy(m);
	hth_membership_destroy(other);
	hth_membership_destroy(full);
}

TEST(two_changes_at_once_end_the_same_way_in_every_order)
{
	hth_charter *c = street();
	hth_charter *a = sign(admit(c, 4, HTH_ROLE_MEMBER), 0), *b = sign(admit(c, 5, HTH_ROLE_MEMBER), 1);
	hth_membership *x = member(0, c), *y = member(1, c);
	CHECK_INT(offer(x, a), HTH_CHARTER_TAKEN);
	CHECK_INT(offer(y, b), HTH_CHARTER_TAKEN);
	int rx = offer(x, b), ry = offer(y, a);
	CHECK((rx == HTH_CHARTER_SWITCHED && ry == HTH_CHARTER_KEPT) || (rx == HTH_CHARTER_KEPT && ry == HTH_CHARTER_SWITCHED));
	CHECK(same(hth_membership_charter(x), hth_membership_charter(y)));
	CHECK_INT(offer(x, a), HTH_CHARTER_SAME);
	hth_charter_unref(a);
	hth_charter_unref(b);
	hth_membership_destroy(x);
	hth_membership_destroy(y);
	hth_charter_unref(c);
}

static int bridge(hth_membership *m, hth_charter *c)
{
	hth_charter_outcome outcome;
	hth_status status = hth_membership_bridge(m, c, &outcome, &err);
	return status == HTH_OK ? (int)outcome : -(int)status;
}

TEST(who_came_in_with_a_version_that_lost_goes_on_with_the_others)
{
	hth_charter *c = street(), *lost = sign(admit(c, 4, HTH_ROLE_MEMBER), 0), *won = sign(admit(c, 5, HTH_ROLE_MEMBER), 1);
	hth_membership *guest = member(4, lost), *old = member(3, c);
	CHECK_INT(bridge(guest, won), HTH_CHARTER_SAME); /* it knows nothing from before, and would be out: nothing speaks for the other */
	hth_charter *bare = admit(won, 4, HTH_ROLE_MEMBER);
	CHECK_INT(bridge(guest, bare), HTH_CHARTER_GAP);
	CHECK(same(hth_membership_charter(guest), lost));
	hth_charter *next = sign(admit(won, 4, HTH_ROLE_MEMBER), 0);
	CHECK_INT(offer(guest, next), HTH_CHARTER_GAP); /* not before somebody says that there is nothing between */
	CHECK_INT(bridge(guest, next), HTH_CHARTER_TAKEN);
	/* A home that knows what was before sees both lines, and that the other is the longer one. */
	CHECK_INT(offer(old, lost), HTH_CHARTER_TAKEN);
	int first = offer(old, won);
	CHECK(first == HTH_CHARTER_KEPT || first == HTH_CHARTER_SWITCHED);
	CHECK_INT(offer(old, next), first == HTH_CHARTER_KEPT ? HTH_CHARTER_SWITCHED : HTH_CHARTER_TAKEN);
	CHECK(same(hth_membership_charter(old), hth_membership_charter(guest)));
	hth_membership_destroy(guest);
	hth_membership_destroy(old);
	hth_charter_unref(c);
	hth_charter_unref(lost);
	hth_charter_unref(won);
	hth_charter_unref(bare);
	hth_charter_unref(next);
}

TEST(a_removed_keeper_cannot_undo_its_removal_with_a_version_of_its_own)
{
	/* One signature changes everything here, and the removed keeper may try as many bodies as it likes until one has the smaller
	 * hash. */
	hth_charter *c = found();
	c = step(c, sign(admit(c, 1, HTH_ROLE_KEEPER), 0));
	hth_charter *gone = sign(removal(c, 1), 0);
	hth_membership *m = member(0, c);
	CHECK_INT(offer(m, gone), HTH_CHARTER_TAKEN);
	int smaller = 0;
	for (uint32_t i = 0; i < 64; i++) {
		hth_rules rules = easy;
		rules.credit_line = i;
		hth_charter *rival = NULL;
		CHECK_OK(hth_charter_amend(&rival, c, &rules, &err));
		sign(rival, 1);
		smaller += memcmp(hth_charter_hash(rival), hth_charter_hash(gone), HTH_HASH_BYTES) < 0;
		/* It may remove who removed it, and go on for longer: the founder has been there before it. */
		hth_charter *revenge = sign(i == 0 ? removal(rival, 0) : admit(rival, 2, HTH_ROLE_KEEPER), 1),
		    *more = sign(admit(revenge, 3, HTH_ROLE_MEMBER), 1);
		CHECK_INT(offer(m, rival), HTH_CHARTER_KEPT);
		CHECK_INT(offer(m, revenge), HTH_CHARTER_KEPT);
		CHECK_INT(offer(m, more), HTH_CHARTER_KEPT);
		CHECK(same(hth_membership_charter(m), gone));
		hth_charter_unref(rival);
		hth_charter_unref(revenge);
		hth_charter_unref(more);
	}
	CHECK(smaller > 0); /* the hash alone would have let it */
	CHECK(hth_membership_find(m, id(1)) == NULL);
	hth_charter_unref(gone);
	hth_membership_destroy(m);
	hth_charter_unref(c);
}

static void give(void *ctx, const hth_charter *charter, bool is_bridge)
{
	hth_charter *copy = NULL;
	hth_buf bytes = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX);
	hth_charter_encode(charter, &bytes);
	CHECK_OK(hth_charter_decode(&copy, bytes.data, bytes.len, &err));
	CHECK((is_bridge ? bridge(ctx, copy) : offer(ctx, copy)) >= 0);
	hth_charter_unref(copy);
	hth_buf_finish(&bytes);
}
/* What street/ does when `to` hears where `from` stands. */
static bool greet(hth_membership *from, hth_membership *to)
{
	hth_charter_standing standing = hth_membership_standing(from);
	unsigned char known[HTH_KNOWN_MAX][HTH_HASH_BYTES];
	switch (hth_membership_heard(to, &standing)) {
	case HTH_NEWS_ASK: hth_membership_answer(from, (const unsigned char(*)[HTH_HASH_BYTES])known, hth_membership_known(to, known), give,
	                                         to); return true;
	case HTH_NEWS_TELL: hth_membership_tell(to, &standing, give, from); return true;
	case HTH_NEWS_NONE: break;
	}
	return false;
}

TEST(a_home_that_was_away_catches_up_with_the_versions_between)
{
	hth_charter *c = street(), *first = hth_charter_ref(c);
	hth_membership *here = member(0, c), *away = member(2, c);
	c = step(c, sign(admit(c, 4, HTH_ROLE_MEMBER), 0));
	CHECK_INT(offer(here, c), HTH_CHARTER_TAKEN);
	c = step(c, sign(sign(removal(c, 3), 0), 1));
	CHECK_INT(offer(here, c), HTH_CHARTER_TAKEN);
	c = step(c, sign(admit(c, 5, HTH_ROLE_MEMBER), 1));
	CHECK_INT(offer(here, c), HTH_CHARTER_TAKEN);
	CHECK_INT(offer(away, c), HTH_CHARTER_GAP);
	CHECK_INT(bridge(away, c), HTH_CHARTER_GAP); /* one signature for a difference that needs two */
	CHECK(greet(here, away));
	CHECK(same(hth_membership_charter(here), hth_membership_charter(away)));
	CHECK(!greet(here, away) && !greet(away, here));
	/* Where nobody knows the versions between any more, the last signatures must suffice for everything that happened. */
	hth_membership *jumper = member(1, first);
	c = step(c, sign(sign(admit(c, 6, HTH_ROLE_KEEPER), 0), 2));
	CHECK_INT(offer(jumper, c), HTH_CHARTER_GAP);
	CHECK_INT(bridge(jumper, c), HTH_CHARTER_TAKEN);
	hth_membership_destroy(here);
	hth_membership_destroy(away);
	hth_membership_destroy(jumper);
	hth_charter_unref(first);
	hth_charter_unref(c);
}

TEST(a_home_that_was_away_for_longer_than_anybody_remembers_comes_back)
{
	hth_charter *c = found();
	c = step(c, sign(admit(c, 1, HTH_ROLE_KEEPER), 0));
	hth_membership *here = member(0, c), *away = member(1, c);
	for (int i = 0; i < 300; i++) {
		c = step(c, sign(i % 2 == 0 ? admit(c, 2, HTH_ROLE_MEMBER) : removal(c, 2), 0));
		CHECK_INT(offer(here, c), HTH_CHARTER_TAKEN);
	}
	CHECK(greet(here, away));
	CHECK(same(hth_membership_charter(here), hth_membership_charter(away)));
	/* And keeps no rival for itself: what forked before the time that is remembered is too old. */
	hth_charter *copy = sign(admit(c, 3, HTH_ROLE_MEMBER), 1);
	CHECK_INT(offer(away, copy), HTH_CHARTER_TAKEN);
	CHECK(greet(away, here));
	CHECK(same(hth_membership_charter(here), copy));
	hth_charter_unref(copy);
	hth_charter_unref(c);
	hth_membership_destroy(here);
	hth_membership_destroy(away);
}

TEST(who_was_removed_on_a_line_that_lost_stays_out_and_who_was_let_in_comes_back)
{
	hth_charter *c = found();
	for (int i = 1; i < 4; i++)
		c = step(c, sign(admit(c, i, i == 1 ? HTH_ROLE_KEEPER : HTH_ROLE_MEMBER), 0));
	hth_membership *a = member(0, c), *b = member(1, c), *third = member(2, c);
	/* Home 1 removes 3 and lets 4 in; home 0 knows nothing of it, lets in 5, 6 and 7, and so has the longer line. */
	hth_charter *one = sign(removal(c, 3), 1), *two = sign(admit(one, 4, HTH_ROLE_MEMBER), 1);
	CHECK_INT(offer(b, one), HTH_CHARTER_TAKEN);
	CHECK_INT(offer(b, two), HTH_CHARTER_TAKEN);
	for (int i = 5; i < 8; i++) {
		hth_charter *next = sign(admit(hth_membership_base(a), i, HTH_ROLE_MEMBER), 0);
		CHECK_INT(offer(a, next), HTH_CHARTER_TAKEN);
		hth_charter_unref(next);
	}
	CHECK(greet(b, third) && greet(a, third)); /* the home between hears both */
	for (int i = 0; i < 2; i++) {
		(void)greet(a, b);
		(void)greet(b, a);
	}
	CHECK(!greet(a, b) && !greet(b, a) && !greet(third, a) && !greet(b, third));
	hth_membership *all[] = {a, b, third};
	for (int i = 0; i < 3; i++) {
		CHECK(hth_membership_find(all[i], id(3)) == NULL && hth_membership_find(all[i], id(7)) != NULL);
		CHECK(same(hth_membership_charter(all[0]), hth_membership_charter(all[i])));
		REQUIRE(hth_membership_unsigned(all[i]) != NULL);
	}
	/* The keeper whose line lost makes both again. */
	REQUIRE(hth_membership_lost(b, 0) != NULL && hth_membership_lost(b, 1) == NULL);
	CHECK(hth_home_id_equal(&hth_membership_lost(b, 0)->card.id, id(4)));
	CHECK(hth_membership_lost(a, 0) == NULL && hth_membership_lost(third, 0) == NULL);
	give(b, sign(hth_membership_unsigned(b), 1), false);
	CHECK(hth_membership_unsigned(b) == NULL && hth_membership_find(b, id(3)) == NULL);
	hth_charter *again = sign(admit(hth_membership_base(b), 4, HTH_ROLE_MEMBER), 1);
	CHECK_INT(offer(b, again), HTH_CHARTER_TAKEN);
	CHECK(hth_membership_lost(b, 0) == NULL);
	CHECK(greet(b, a) && greet(b, third));
	/* Who is let in again later is in. */
	hth_charter *back = sign(admit(again, 3, HTH_ROLE_MEMBER), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(offer(all[i], back), HTH_CHARTER_TAKEN);
		CHECK(hth_membership_find(all[i], id(3)) != NULL && hth_membership_find(all[i], id(4)) != NULL);
		CHECK(hth_membership_unsigned(all[i]) == NULL);
		hth_membership_destroy(all[i]);
	}
	hth_charter *d[] = {c, one, two, again, back};
	for (size_t i = 0; i < HTH_COUNT(d); i++)
		hth_charter_unref(d[i]);
}

TEST(of_two_keepers_who_remove_each_other_who_came_later_goes)
{
	hth_charter *c = found();
	for (int i = 1; i < 3; i++)
		c = step(c, sign(admit(c, i, HTH_ROLE_KEEPER), 0));
	/* 1 removes 2, 2 removes 1, both go on as long as they like; then a ring of three. */
	for (int ring = 0; ring < 2; ring++) {
		hth_charter *made[] = {sign(removal(c, 2), 1), NULL, sign(removal(c, ring ? 0 : 1), 2), NULL,
		                       ring ? sign(removal(c, 1), 0) : NULL};
		made[1] = sign(admit(made[0], 3, HTH_ROLE_MEMBER), 1);
		made[3] = sign(admit(made[2], 4, HTH_ROLE_MEMBER), 2);
		static const int orders[][5] = {{0, 1, 2, 3, 4}, {2, 3, 0, 1, 4}, {4, 2, 0, 3, 1}, {0, 4, 2, 1, 3}};
		hth_membership *first = NULL;
		for (size_t o = 0; o < HTH_COUNT(orders); o++) {
			hth_membership *m = member(0, c);
			for (int i = 0; i < 5; i++)
				if (made[orders[o][i]] != NULL)
					CHECK(offer(m, made[orders[o][i]]) >= 0);
			CHECK(hth_membership_find(m, id(2)) == NULL); /* the last to come in */
			CHECK(hth_membership_find(m, id(0)) != NULL);
			CHECK((hth_membership_find(m, id(1)) != NULL) == !ring); /* in the ring its removal stands beside */
			if (first != NULL)
				CHECK(same(hth_membership_charter(first), hth_membership_charter(m)));
			if (first == NULL)
				first = m;
			else
				hth_membership_destroy(m);
		}
		hth_membership_destroy(first);
		for (size_t i = 0; i < HTH_COUNT(made); i++)
			hth_charter_unref(made[i]);
	}
	hth_charter_unref(c);
}

/* ---- random partitions: four keepers, a home that is none, and guests; each changes what it sees, letters go only within a part ---- */

enum { HOMES_N = 5, GUESTS_N = 3 };

static void heal(hth_membership *m[], int n, const unsigned part[])
{
	bool moved = true;
	for (int round = 0; moved && round < 100; round++) {
		moved = false;
		for (int i = 0; i < n; i++)
			for (int j = 0; j < n; j++)
				if (i != j && part[i] == part[j] && hth_membership_find(m[i], id(j)) != NULL &&
				    hth_membership_find(m[j], id(i)) != NULL)
					moved |= greet(m[i], m[j]);
		CHECK(round < 99);
	}
}

/* As street/ does: a keeper signs what is drafted, and lets in again whom its line let in. */
static void reconcile(hth_membership *m, int who)
{
	const hth_member *self = hth_membership_find(m, id(who)), *lost;
	if (self == NULL || self->role != HTH_ROLE_KEEPER)
		return;
	if (hth_membership_unsigned(m) != NULL)
		give(m, sign(hth_membership_unsigned(m), who), false);
	while (hth_membership_find(m, id(who)) != NULL && (lost = hth_membership_lost(m, 0)) != NULL) {
		hth_charter *draft = NULL;
		REQUIRE_OK(hth_charter_admit(&draft, hth_membership_base(m), &lost->card, lost->name, HTH_ROLE_MEMBER, &err));
		CHECK(offer(m, sign(draft, who)) >= 0);
		hth_charter_unref(draft);
	}
}

TEST(any_partitions_and_orders_leave_all_homes_agreed)
{
	unsigned forks = 0, drafts = 0, lost = 0;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		hth_rng rng;
		hth_rng_seed(&rng, seed);
		hth_charter *c = found();
		for (int i = 1; i < HOMES_N; i++)
			c = step(c, sign(admit(c, i, i < 4 ? HTH_ROLE_KEEPER : HTH_ROLE_MEMBER), 0));
		for (int i = 0; i < 2; i++) /* one guest is there */
			c = step(c, sign(i == 0 ? admit(c, HOMES_N, HTH_ROLE_MEMBER) : amend(c, 1, 1), 0));
		hth_membership *m[HOMES_N];
		bool removed[HOMES_N + GUESTS_N] = {false}, let_in[HOMES_N + GUESTS_N] = {false};
		for (int i = 0; i < HOMES_N; i++)
			m[i] = member(i, c);
		for (int round = 0; round < 3; round++) {
			unsigned part[HOMES_N], whole[HOMES_N] = {0};
			for (int i = 0; i < HOMES_N; i++)
				part[i] = (unsigned)(hth_rng_next(&rng) % 3);
			memset(removed, 0, sizeof removed);
			memset(let_in, 0, sizeof let_in);
			hth_charter *start = hth_charter_ref((hth_charter *)(uintptr_t)hth_membership_base(m[4]));
			for (int i = 0; i < 8; i++) {
				int who = (int)(hth_rng_next(&rng) % 4), whom = (int)(hth_rng_next(&rng) % 16);
				/* Guests mostly; a keeper now and then; never the founder and the one who watches, so that somebody is
				 * left. */
				whom = whom < 2 ? 1 + whom : whom == 2 ? 3 : HOMES_N + whom % GUESTS_N;
				const hth_member *self = hth_membership_find(m[who], id(who));
				if (self == NULL || self->role != HTH_ROLE_KEEPER || whom == who || hth_membership_unsigned(m[who]) != NULL)
					continue;
				const hth_charter *seen = hth_membership_base(m[who]);
				bool in = hth_charter_find(seen, id(whom)) != NULL;
				if (!in && whom < HOMES_N)
					continue;
				hth_charter *next = sign(in ? removal(seen, whom) : admit(seen, whom, HTH_ROLE_MEMBER), who);
				CHECK_INT(offer(m[who], next), HTH_CHARTER_TAKEN);
				removed[whom] |= in;
				let_in[whom] |= !in && who == 0;
				hth_charter_unref(next);
				if (hth_rng_next(&rng) % 3 == 0)
					heal(m, HOMES_N, part);
			}
			for (int i = 0; i < HOMES_N; i++)
				for (int j = 0; j < i; j++)
					forks += !same(hth_membership_base(m[i]), hth_membership_base(m[j]));
			heal(m, HOMES_N, whole);
			for (int i = 0; i < HOMES_N; i++)
				if (hth_membership_find(m[4], id(i)) != NULL) { /* who is out for everybody else is not heard any more */
					CHECK(same(hth_membership_charter(m[i]), hth_membership_charter(m[4])));
					drafts += hth_membership_unsigned(m[i]) != NULL;
					lost += hth_membership_lost(m[i], 0) != NULL;
				}
			for (int k = 0; k < 10; k++) {
				for (int i = 0; i < HOMES_N; i++)
					reconcile(m[i], i);
				heal(m, HOMES_N, whole);
			}
			for (int i = 0; i < HOMES_N; i++)
				CHECK(hth_membership_find(m[4], id(i)) == NULL ||
				      same(hth_membership_base(m[i]), hth_membership_base(m[4])));
			CHECK(hth_membership_unsigned(m[4]) == NULL);
			for (int i = 1; i < HOMES_N + GUESTS_N; i++) {
				/* Nobody who was there, was removed and let in by nobody is there; whom the founder let in and nobody
				 * removed is. */
				bool in = hth_membership_find(m[4], id(i)) != NULL, was = hth_charter_find(start, id(i)) != NULL;
				if (i >= HOMES_N && was && !removed[i])
					CHECK(in);
				if (i >= HOMES_N && let_in[i] && !removed[i])
					CHECK(in);
			}
			hth_charter_unref(start);
		}
		for (int i = 0; i < HOMES_N; i++)
			hth_membership_destroy(m[i]);
		hth_charter_unref(c);
	}
	printf("# %u pairs stood on different lines, %u drafts of removals, %u homes with admissions to make again\n", forks, drafts, lost);
	CHECK(forks > 100 && drafts > 20 && lost > 20);
}

TEST_MAIN()
