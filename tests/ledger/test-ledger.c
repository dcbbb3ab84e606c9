/* test-ledger.c - two homes, their receipts and their disks: power loss at every write, lost and repeated letters, lies, and what they
 * owe. */
#include "harness.h"
#include "base/mem.h"
#include "base/rng.h"
#include "ledger/ledger.h"

static hth_error err;
static const uint64_t DAY = 86400000, T0 = 20000ull * 86400000;

/* A disk that can lose power at its n-th write: before the write happened, or after it happened but before anybody was told. */
typedef struct disk {
	hth_entry *entries;
	size_t n, cap;
	long power; /* writes left; negative: for ever */
	bool late;  /* the write that loses power still happens */
} disk;

typedef struct party {
	hth_identity *identity;
	hth_ledger *ledger;
	disk disk;
	size_t signed_unwritten; /* signatures made of what is not on disk: must stay 0 */
} party;

static const hth_home_id *id_of(const party *p) { return &hth_identity_card(p->identity)->id; }

static hth_status disk_put(void *ctx, const hth_entry *entry, hth_error *e)
{
	disk *d = ctx;
	bool dies = d->power == 0;
	if (d->power > 0)
		d->power--;
	if (dies && !d->late)
		return hth_fail(e, HTH_IO, "no power");
	size_t at = 0;
	while (at < d->n && !(d->entries[at].receipt.sequence == entry->receipt.sequence &&
	                      hth_home_id_equal(&d->entries[at].receipt.giver, &entry->receipt.giver)))
		at++;
	if (at == d->n) {
		if (d->n == d->cap) {
			d->cap = d->cap ? d->cap * 2 : 16;
			d->entries = realloc(d->entries, d->cap * sizeof *d->entries);
		}
		d->n++;
	}
	d->entries[at] = *entry;
	return dies ? hth_fail(e, HTH_IO, "no power") : HTH_OK;
}

/* Signs as the real one, after looking whether what is signed is on disk. */
static void watching_sign(void *ctx, const char *label, const void *bytes, size_t len, unsigned char ret_signature[HTH_SIGNATURE_BYTES])
{
	party *p = ctx;
	bool written = false;
	for (size_t i = 0; i < p->disk.n; i++) {
		unsigned char hash[HTH_HASH_BYTES];
		hth_receipt_hash(&p->disk.entries[i].receipt, hash);
		bool verdict_fits = len == HTH_HASH_BYTES || ((const unsigned char *)bytes)[HTH_HASH_BYTES] == p->disk.entries[i].verdict;
		written |= memcmp(hash, bytes, HTH_HASH_BYTES) == 0 && verdict_fits;
	}
	p->signed_unwritten += !written;
	hth_identity_sign(p->identity, label, bytes, len, ret_signature);
}
static bool real_verify(void *ctx, const hth_home_id *id, const char *label, const void *bytes, size_t len,
                        const unsigned char s[HTH_SIGNATURE_BYTES])
{
	(void)ctx;
	return hth_home_verify(id, label, bytes, len, s);
}

static void start(party *p)
{
	hth_ledger_destroy(p->ledger);
	p->ledger = NULL;
	if (hth_ledger_create(&p->ledger, id_of(p), (hth_signer){watching_sign, real_verify, p}, (hth_ledger_disk){disk_put, &p->disk},
	                      &err) != HTH_OK)
		abort();
	for (size_t i = 0; i < p->disk.n; i++)
		CHECK_OK(hth_ledger_replay(p->ledger, &p->disk.entries[i], &err));
}

static void party_init(party *p, unsigned char seed)
{
	unsigned char s[HTH_SEED_BYTES] = {seed};
	*p = (party){.disk.power = -1};
	if (hth_identity_from_seed(&p->identity, s, &err) != HTH_OK)
		abort();
	start(p);
}

static void party_finish(party *p)
{
	CHECK_INT(p->signed_unwritten, 0);
	hth_ledger_destroy(p->ledger);
	hth_identity_destroy(p->identity);
	free(p->disk.entries);
}

static hth_receipt totals_of(const party *taker, uint32_t prompt, uint32_t answer, uint64_t charged, uint64_t now)
{
	hth_receipt r = {.taker = *id_of(taker), .privacy = 1, .issued_ms = now, .prompt_tokens = prompt, .answer_tokens = answer,
	                 .charge = (uint32_t)(hth_charge_of(prompt, answer) - charged)};
	for (uint32_t i = 0; i < answer; i++)
		hth_token_hash(r.tokens, &(int32_t){(int32_t)i}, 1);
	return r;
}

static hth_counted counted_of(const hth_receipt *r, uint64_t charged)
{
	hth_counted c = {.known = true, .prompt_tokens = r->prompt_tokens, .answer_tokens = r->answer_tokens, .charged = charged,
	                 .now_ms = r->issued_ms};
	memcpy(c.tokens, r->tokens, HTH_HASH_BYTES);
	return c;
}

/* One receipt from proposal to verdict; false where a disk lost power. */
static bool exchange(party *giver, party *taker, uint32_t answer, uint64_t now)
{
	hth_receipt totals = totals_of(taker, 160, answer, 0, now);
	hth_counted counted = counted_of(&totals, 0);
	hth_entry proposal, verdict;
	return hth_ledger_propose(giver->ledger, &totals, &proposal, &err) == HTH_OK &&
	       hth_ledger_consider(taker->ledger, id_of(giver), &proposal, &counted, &verdict, &err) == HTH_OK &&
	       hth_ledger_answered(giver->ledger, id_of(taker), &verdict, &err) == HTH_OK;
}

/* The giver sends what is open again; whoever has lost the job refuses it. */
static void settle(party *giver, party *taker)
{
	hth_entry proposal, verdict;
	if (!hth_ledger_open(giver->ledger, id_of(taker), &proposal))
		return;
	CHECK_OK(hth_ledger_consider(taker->ledger, id_of(giver), &proposal, &(hth_counted){0}, &verdict, &err));
	CHECK_OK(hth_ledger_answered(giver->ledger, id_of(taker), &verdict, &err));
}

static void check_agreement(party *a, party *b, uint64_t now)
{
	uint64_t sa[2], sb[2];
	unsigned char ha[2][HTH_HASH_BYTES], hb[2][HTH_HASH_BYTES];
	hth_ledger_ends(a->ledger, id_of(b), sa, ha);
	hth_ledger_ends(b->ledger, id_of(a), sb, hb);
	CHECK(sa[0] == sb[1] && sa[1] == sb[0]);
	CHECK(memcmp(ha[0], hb[1], HTH_HASH_BYTES) == 0 && memcmp(ha[1], hb[0], HTH_HASH_BYTES) == 0);
	CHECK_INT(hth_ledger_balance(a->ledger, id_of(b), now), -hth_ledger_balance(b->ledger, id_of(a), now));
}

TEST(what_was_done_is_owed_by_both_accounts)
{
	party a, b;
	party_init(&a, 1);
	party_init(&b, 2);
	CHECK(exchange(&a, &b, 50, T0));
	CHECK(exchange(&a, &b, 20, T0));
	CHECK(exchange(&b, &a, 10, T0));
	CHECK_INT(hth_ledger_balance(a.ledger, id_of(&b), T0), 50 + 20 - 10 + 10); /* 160 tokens of a prompt are ten */
	check_agreement(&a, &b, T0);
	CHECK_NEAR(hth_ledger_standing(b.ledger, id_of(&a), 700, T0), 0.18346, 1e-5); /* log(1 + 70 / 256) / log(1 + 700 / 256) */
	CHECK_NEAR(hth_ledger_standing(a.ledger, id_of(&b), 700, T0), -0.18346, 1e-5);
	CHECK_NEAR(hth_ledger_standing(b.ledger, id_of(&a), 70, T0), 1, 1e-9);
	CHECK_NEAR(hth_ledger_standing(a.ledger, id_of(&b), 7, T0), -1, 1e-9); /* bounded */
	start(&a); /* the same after a restart */
	CHECK_INT(hth_ledger_balance(a.ledger, id_of(&b), T0), 70);
	party_finish(&a);
	party_finish(&b);
}

TEST(credit_fades_alike_on_both_sides_and_is_forgotten)
{
	party a, b;
	party_init(&a, 1);
	party_init(&b, 2);
	CHECK(exchange(&a, &b, 6390, T0)); /* 6400 */
	int64_t last = 6401;
	for (uint64_t day = 0; day < HTH_CREDIT_DAYS + 2; day++) {
		int64_t now = hth_ledger_balance(a.ledger, id_of(&b), T0 + day * DAY);
		CHECK(now < last || now == 0);
		CHECK_INT(hth_ledger_balance(b.ledger, id_of(&a), T0 + day * DAY), -now);
		last = now;
	}
	CHECK_INT(last, 0);
	CHECK(hth_ledger_balance(a.ledger, id_of(&b), T0 + 44 * DAY) > 3100 &&
	      hth_ledger_balance(a.ledger, id_of(&b), T0 + 44 * DAY) < 3300);
	CHECK(exchange(&b, &a, 90, T0 + 200 * DAY));
	CHECK_INT(hth_ledger_balance(a.ledger, id_of(&b), T0 + 200 * DAY), -100);
	party_finish(&a);
	party_finish(&b);
}

TEST(a_wrong_count_is_refused_and_counts_for_nothing)
{
	party a, b;
	party_init(&a, 1);
	party_init(&b, 2);
	static const int lies = 8;
	for (int lie = 0; lie < lies; lie++) {
		hth_receipt totals = totals_of(&b, 160, 50, 0, T0);
		hth_counted counted = counted_of(&totals, 0);
		switch (lie) {
		case 0: totals.answer_tokens++; break;
		case 1: totals.prompt_tokens++; break;
		case 2: totals.charge++; break;
		case 3: totals.tokens[0] ^= 1; break;
		case 4: counted.known = false; break;
		case 5: totals.issued_ms += 65 * DAY; break; /* a date that would make older debts fade */
		case 6: totals.issued_ms -= 2 * DAY; break;
		default: totals.privacy = 0; break;
		}
		hth_entry proposal, verdict;
		REQUIRE_OK(hth_ledger_propose(a.ledger, &totals, &proposal, &err));
		REQUIRE_OK(hth_ledger_consider(b.ledger, id_of(&a), &proposal, &counted, &verdict, &err));
		CHECK_INT(verdict.verdict, HTH_RECEIPT_REFUSED);
		REQUIRE_OK(hth_ledger_answered(a.ledger, id_of(&b), &verdict, &err));
	}
	CHECK_INT(hth_ledger_balance(a.ledger, id_of(&b), T0), 0);
	CHECK(exchange(&a, &b, 50, T0)); /* and the chain goes on */
	check_agreement(&a, &b, T0);
	party_finish(&a);
	party_finish(&b);
}

TEST(forged_and_misdirected_receipts_and_verdicts_are_not_believed)
{
	party a, b, c;
	party_init(&a, 1);
	party_init(&b, 2);
	party_init(&c, 3);
	hth_receipt totals = totals_of(&b, 160, 50, 0, T0);
	hth_counted counted = counted_of(&totals, 0);
	hth_entry proposal, forged, verdict, none;
	REQUIRE_OK(hth_ledger_propose(a.ledger, &totals, &proposal, &err));
	CHECK_INT(hth_ledger_propose(a.ledger, &totals, &none, &err), HTH_CONFLICT); /* one at a time */
	CHECK_INT(hth_ledger_consider(b.ledger, id_of(&c), &proposal, &counted, &none, &err), HTH_DENIED);
	CHECK_INT(hth_ledger_consider(c.ledger, id_of(&a), &proposal, &counted, &none, &err), HTH_DENIED);
	forged = proposal;
	forged.receipt.charge++;
	CHECK_INT(hth_ledger_consider(b.ledger, id_of(&a), &forged, &counted, &none, &err), HTH_DENIED);
	REQUIRE_OK(hth_ledger_consider(b.ledger, id_of(&a), &proposal, &counted, &verdict, &err));
	forged = verdict;
	forged.verdict = HTH_RECEIPT_REFUSED;
	CHECK_INT(hth_ledger_answered(a.ledger, id_of(&b), &forged, &err), HTH_DENIED);
	CHECK_INT(hth_ledger_answered(a.ledger, id_of(&c), &verdict, &err), HTH_CONFLICT);
	CHECK_OK(hth_ledger_answered(a.ledger, id_of(&b), &verdict, &err));
	CHECK_OK(hth_ledger_answered(a.ledger, id_of(&b), &verdict, &err)); /* twice is once */
	CHECK_OK(hth_ledger_consider(b.ledger, id_of(&a), &proposal, &(hth_counted){0}, &none, &err));
	CHECK(none.verdict == HTH_RECEIPT_ACCEPTED && memcmp(&none, &verdict, sizeof none) == 0); /* and the same answer */
	CHECK_INT(hth_ledger_balance(a.ledger, id_of(&b), T0), 60);
	/* What is on disk was changed: replay says where. */
	a.disk.entries[0].receipt.charge = 1000000;
	hth_ledger *again = NULL;
	REQUIRE_OK(hth_ledger_create(&again, id_of(&a), hth_signer_of(a.identity), (hth_ledger_disk){disk_put, &a.disk}, &err));
	CHECK_INT(hth_ledger_replay(again, &a.disk.entries[0], &err), HTH_BAD_FORMAT);
	hth_ledger_destroy(again);
	party_finish(&a);
	party_finish(&b);
	party_finish(&c);
}

TEST(power_loss_at_any_write_leaves_nothing_signed_that_is_not_on_disk)
{
	/* Eight receipts write 3 times each, in both directions; the power goes at every one of these writes on either side, before or
	 * after it. */
	for (int late = 0; late < 2; late++) {
		for (int side = 0; side < 2; side++) {
			for (long at = 0; at < 12; at++) {
				party a, b;
				party_init(&a, 1);
				party_init(&b, 2);
				party *victim = side ? &b : &a;
				victim->disk.power = at;
				victim->disk.late = late;
				for (int i = 0; i < 8; i++) {
					if (!exchange(i % 2 ? &a : &b, i % 2 ? &b : &a, 10 + (uint32_t)i, T0)) {
						victim->disk.power = -1;
						start(victim); /* what is on disk is whole, whatever it is */
						settle(&a, &b);
						settle(&b, &a);
						check_agreement(&a, &b, T0);
					}
				}
				check_agreement(&a, &b, T0);
				start(&a);
				start(&b);
				check_agreement(&a, &b, T0);
				party_finish(&a);
				party_finish(&b);
			}
		}
	}
}

TEST(any_loss_and_repetition_of_letters_ends_in_agreement)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		hth_rng rng;
		hth_rng_seed(&rng, seed);
		party a, b;
		party_init(&a, 1);
		party_init(&b, 2);
		hth_entry kept[64];
		size_t n = 0;
		for (int i = 0; i < 30; i++) {
			party *giver = hth_rng_next(&rng) % 2 ? &a : &b, *taker = giver == &a ? &b : &a;
			hth_receipt totals = totals_of(taker, 16, (uint32_t)(hth_rng_next(&rng) % 20), 0,
			                               T0 + hth_rng_next(&rng) % (3 * DAY));
			hth_counted counted = counted_of(&totals, 0);
			hth_entry proposal, verdict;
			if (hth_ledger_propose(giver->ledger, &totals, &proposal, &err) != HTH_OK &&
			    !hth_ledger_open(giver->ledger, id_of(taker), &proposal))
				continue;
			counted.known = hth_rng_next(&rng) % 4 != 0;
			kept[n++ % HTH_COUNT(kept)] = proposal;
			if (hth_rng_next(&rng) % 3 == 0) /* lost */
				continue;
			if (hth_ledger_consider(taker->ledger, id_of(giver), &proposal, &counted, &verdict, &err) != HTH_OK)
				continue;
			if (hth_rng_next(&rng) % 3 != 0)
				CHECK_OK(hth_ledger_answered(giver->ledger, id_of(taker), &verdict, &err));
			/* An old one comes again: it is answered as before or not at all. */
			const hth_entry *old = &kept[hth_rng_next(&rng) % HTH_MIN(n, HTH_COUNT(kept))];
			party *to = hth_home_id_equal(&old->receipt.taker, id_of(&a)) ? &a : &b;
			hth_status again = hth_ledger_consider(to->ledger, id_of(to == &a ? &b : &a), old, &counted, &verdict, &err);
			CHECK(again == HTH_OK || again == HTH_CONFLICT);
			if (hth_rng_next(&rng) % 5 == 0)
				start(hth_rng_next(&rng) % 2 ? &a : &b);
		}
		settle(&a, &b);
		settle(&b, &a);
		check_agreement(&a, &b, T0 + 3 * DAY);
		party_finish(&a);
		party_finish(&b);
	}
}

TEST_MAIN()
