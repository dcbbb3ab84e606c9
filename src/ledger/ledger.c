/* ledger.c - see ledger.h. One thread. A step writes first and changes what is remembered only when the disk has it. */
#include "ledger/ledger.h"

#include "base/mem.h"

#include <math.h>

enum { USUAL_ANSWER = 256 }; /* tokens */
enum { GIVEN = 0, TAKEN = 1 }; /* the two chains of a pair, seen from here */
static const char proposal_label[] = "hearth receipt 1", verdict_label[] = "hearth verdict 1";
static const uint64_t day_ms = 86400000;

typedef struct chain {
	uint64_t sequence; /* of the last entry; 0: none */
	unsigned char hash[HTH_HASH_BYTES];
	hth_entry last;
} chain;

typedef struct pair {
	hth_home_id other;
	chain chains[2];
	uint64_t energy[2];
	uint64_t newest_day;               /* of the ring */
	int64_t days[HTH_CREDIT_DAYS];     /* by day modulo their number: what was given minus what was taken */
} pair;

struct hth_ledger {
	hth_home_id self;
	hth_signer signer;
	hth_ledger_disk disk;
	pair **pairs; /* sorted by id */
	size_t n, cap;
};

/* ---- signing ---- */

static void identity_sign(void *ctx, const char *label, const void *bytes, size_t len, unsigned char ret_signature[HTH_SIGNATURE_BYTES])
{
	hth_identity_sign(ctx, label, bytes, len, ret_signature);
}
static bool identity_verify(void *ctx, const hth_home_id *id, const char *label, const void *bytes, size_t len,
                            const unsigned char signature[HTH_SIGNATURE_BYTES])
{
	(void)ctx;
	return hth_home_verify(id, label, bytes, len, signature);
}
hth_signer hth_signer_of(const hth_identity *identity)
{
	return (hth_signer){identity_sign, identity_verify, (void *)(uintptr_t)identity};
}

/* A verdict's signature is over the receipt's hash and the verdict. */
static void verdict_bytes(const unsigned char hash[HTH_HASH_BYTES], hth_verdict verdict, unsigned char out[HTH_HASH_BYTES + 1])
{
	memcpy(out, hash, HTH_HASH_BYTES);
	out[HTH_HASH_BYTES] = (unsigned char)verdict;
}

static bool verify_giver(const hth_ledger *ledger, const hth_entry *e, const unsigned char hash[HTH_HASH_BYTES])
{
	return e->has_giver && ledger->signer.verify(ledger->signer.ctx, &e->receipt.giver, proposal_label, hash, HTH_HASH_BYTES, e->giver);
}

static bool verify_taker(const hth_ledger *ledger, const hth_entry *e, const unsigned char hash[HTH_HASH_BYTES])
{
	unsigned char bytes[HTH_HASH_BYTES + 1];
	verdict_bytes(hash, e->verdict, bytes);
	return e->has_taker && ledger->signer.verify(ledger->signer.ctx, &e->receipt.taker, verdict_label, bytes, sizeof bytes, e->taker);
}

/* Signs this home's part of an entry that is on disk. */
static void sign_own(const hth_ledger *ledger, hth_entry *e, const unsigned char hash[HTH_HASH_BYTES])
{
	if (hth_home_id_equal(&e->receipt.giver, &ledger->self)) {
		ledger->signer.sign(ledger->signer.ctx, proposal_label, hash, HTH_HASH_BYTES, e->giver);
		e->has_giver = true;
	} else {
		unsigned char bytes[HTH_HASH_BYTES + 1];
		verdict_bytes(hash, e->verdict, bytes);
		ledger->signer.sign(ledger->signer.ctx, verdict_label, bytes, sizeof bytes, e->taker);
		e->has_taker = true;
	}
}

void hth_entry_put(hth_buf *out, const hth_entry *e)
{
	hth_receipt_put(out, &e->receipt);
	hth_canon_put_u8(out, (uint8_t)e->verdict);
	hth_canon_put_bool(out, e->has_giver);
	if (e->has_giver)
		hth_canon_put_bytes(out, e->giver, HTH_SIGNATURE_BYTES);
	hth_canon_put_bool(out, e->has_taker);
	if (e->has_taker)
		hth_canon_put_bytes(out, e->taker, HTH_SIGNATURE_BYTES);
}

void hth_entry_get(hth_canon_reader *reader, hth_entry *e)
{
	memset(e, 0, sizeof *e);
	hth_receipt_get(reader, &e->receipt);
	unsigned verdict = hth_canon_get_u8(reader);
	if (verdict > HTH_RECEIPT_REFUSED)
		reader->failed = true;
	e->verdict = (hth_verdict)verdict;
	e->has_giver = hth_canon_get_bool(reader);
	if (e->has_giver)
		hth_canon_get_bytes(reader, e->giver, HTH_SIGNATURE_BYTES);
	e->has_taker = hth_canon_get_bool(reader);
	if (e->has_taker)
		hth_canon_get_bytes(reader, e->taker, HTH_SIGNATURE_BYTES);
}

/* ---- pairs ---- */

hth_status hth_ledger_create(hth_ledger **ret_ledger, const hth_home_id *self, hth_signer signer, hth_ledger_disk disk, hth_error *err)
{
	hth_ledger *ledger = calloc(1, sizeof *ledger);
	if (ledger == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the ledger");
	ledger->self = *self;
	ledger->signer = signer;
	ledger->disk = disk;
	*ret_ledger = ledger;
	return HTH_OK;
}

void hth_ledger_destroy(hth_ledger *ledger)
{
	if (ledger == NULL)
		return;
	for (size_t i = 0; i < ledger->n; i++)
		free(ledger->pairs[i]);
	free(ledger->pairs);
	free(ledger);
}

static size_t position(const hth_ledger *ledger, const hth_home_id *other, bool *ret_there)
{
	size_t low = 0, high = ledger->n;
	*ret_there = false;
	while (low < high && !*ret_there) {
		size_t middle = low + (high - low) / 2;
		int order = hth_home_id_compare(&ledger->pairs[middle]->other, other);
		if (order == 0) {
			*ret_there = true;
			low = middle;
		} else if (order < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

static pair *find(const hth_ledger *ledger, const hth_home_id *other)
{
	bool there;
	size_t at = position(ledger, other, &there);
	return there ? ledger->pairs[at] : NULL;
}

static hth_status find_or_make(hth_ledger *ledger, const hth_home_id *other, pair **ret_pair, hth_error *err)
{
	bool there;
	size_t at = position(ledger, other, &there);
	if (there) {
		*ret_pair = ledger->pairs[at];
		return HTH_OK;
	}
	if (ledger->n == HTH_LEDGER_PAIRS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the ledger has %d pairs already, the most there may be", HTH_LEDGER_PAIRS_MAX);
	if (ledger->n == ledger->cap) {
		size_t cap = ledger->cap ? ledger->cap * 2 : 8;
		pair **more = realloc(ledger->pairs, cap * sizeof(pair *));
		if (more == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for the ledger");
		ledger->pairs = more;
		ledger->cap = cap;
	}
	pair *p = calloc(1, sizeof *p);
	if (p == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the ledger");
	p->other = *other;
	memmove(&ledger->pairs[at + 1], &ledger->pairs[at], (ledger->n - at) * sizeof(pair *));
	ledger->pairs[at] = p;
	ledger->n++;
	*ret_pair = p;
	return HTH_OK;
}

/* ---- what an entry changes ---- */

static void add_credit(pair *p, int side, const hth_receipt *r)
{
	uint64_t day = r->issued_ms / day_ms;
	if (day > p->newest_day) {
		uint64_t gone = HTH_MIN(day - p->newest_day, (uint64_t)HTH_CREDIT_DAYS);
		for (uint64_t i = 1; i <= gone; i++)
			p->days[(p->newest_day + i) % HTH_CREDIT_DAYS] = 0;
		p->newest_day = day;
	}
	if (p->newest_day - day >= HTH_CREDIT_DAYS)
		return; /* forgotten before it was heard of */
	p->days[day % HTH_CREDIT_DAYS] += side == GIVEN ? (int64_t)r->charge : -(int64_t)r->charge;
}

static void remember(pair *p, int side, const hth_entry *e, const unsigned char hash[HTH_HASH_BYTES])
{
	chain *c = &p->chains[side];
	bool counted = c->sequence == e->receipt.sequence && c->last.verdict == HTH_RECEIPT_ACCEPTED;
	if (e->verdict == HTH_RECEIPT_ACCEPTED && !counted)
		add_credit(p, side, &e->receipt);
	if (e->verdict == HTH_RECEIPT_ACCEPTED && !counted && e->receipt.milliwatt_seconds <= UINT64_MAX / 2 - p->energy[side])
		p->energy[side] += e->receipt.milliwatt_seconds; /* a sum that makes no sense is not made */
	c->sequence = e->receipt.sequence;
	memcpy(c->hash, hash, HTH_HASH_BYTES);
	c->last = *e;
}

static hth_status is_next(const chain *c, const hth_receipt *r, hth_error *err)
{
	if (r->sequence != c->sequence + 1 || memcmp(r->previous, c->hash, HTH_HASH_BYTES) != 0)
		return hth_fail(err, HTH_CONFLICT, "receipt %llu does not follow receipt %llu of its chain",
		                (unsigned long long)r->sequence, (unsigned long long)c->sequence);
	return HTH_OK;
}

hth_status hth_ledger_replay(hth_ledger *ledger, const hth_entry *e, hth_error *err)
{
	bool given = hth_home_id_equal(&e->receipt.giver, &ledger->self);
	if (!given && !hth_home_id_equal(&e->receipt.taker, &ledger->self))
		return hth_fail(err, HTH_BAD_FORMAT, "a receipt in the ledger is between two other homes");
	unsigned char hash[HTH_HASH_BYTES];
	pair *p;
	HTH_TRY(find_or_make(ledger, given ? &e->receipt.taker : &e->receipt.giver, &p, err));
	chain *c = &p->chains[given ? GIVEN : TAKEN];
	hth_receipt_hash(&e->receipt, hash);
	if (c->last.verdict == HTH_RECEIPT_OPEN && c->sequence > 0)
		return hth_fail(err, HTH_BAD_FORMAT, "receipt %llu was never answered, and another follows it",
		                (unsigned long long)c->sequence);
	if (is_next(c, &e->receipt, err) != HTH_OK)
		return hth_fail(err, HTH_BAD_FORMAT, "the ledger's chain is broken before receipt %llu",
		                (unsigned long long)e->receipt.sequence);
	/* The other home's signature must be there; one's own may be missing where the power went between writing and signing. */
	if (given ? e->verdict != HTH_RECEIPT_OPEN && !verify_taker(ledger, e, hash) : !verify_giver(ledger, e, hash) ||
	    e->verdict == HTH_RECEIPT_OPEN)
		return hth_fail(err, HTH_BAD_FORMAT, "the other home's signature under receipt %llu does not hold",
		                (unsigned long long)e->receipt.sequence);
	hth_entry own = *e;
	sign_own(ledger, &own, hash);
	remember(p, given ? GIVEN : TAKEN, &own, hash);
	return HTH_OK;
}

/* ---- giver ---- */

hth_status hth_ledger_propose(hth_ledger *ledger, const hth_receipt *totals, hth_entry *ret_entry, hth_error *err)
{
	pair *p;
	HTH_TRY(find_or_make(ledger, &totals->taker, &p, err));
	chain *c = &p->chains[GIVEN];
	if (c->sequence > 0 && c->last.verdict == HTH_RECEIPT_OPEN)
		return hth_fail(err, HTH_CONFLICT, "receipt %llu is still open", (unsigned long long)c->sequence);
	hth_entry e = {.receipt = *totals};
	unsigned char hash[HTH_HASH_BYTES];
	e.receipt.giver = ledger->self;
	e.receipt.sequence = c->sequence + 1;
	memcpy(e.receipt.previous, c->hash, HTH_HASH_BYTES);
	hth_receipt_hash(&e.receipt, hash);
	HTH_TRY(ledger->disk.put(ledger->disk.ctx, &e, err)); /* written, then signed */
	sign_own(ledger, &e, hash);
	remember(p, GIVEN, &e, hash);
	*ret_entry = e;
	return HTH_OK;
}

bool hth_ledger_open(hth_ledger *ledger, const hth_home_id *taker, hth_entry *ret_entry)
{
	pair *p = find(ledger, taker);
	if (p == NULL || p->chains[GIVEN].sequence == 0 || p->chains[GIVEN].last.verdict != HTH_RECEIPT_OPEN)
		return false;
	*ret_entry = p->chains[GIVEN].last;
	return true;
}

hth_status hth_ledger_answered(hth_ledger *ledger, const hth_home_id *from, const hth_entry *answer, hth_error *err)
{
	pair *p = find(ledger, from);
	unsigned char hash[HTH_HASH_BYTES];
	hth_receipt_hash(&answer->receipt, hash);
	if (p == NULL || answer->receipt.sequence != p->chains[GIVEN].sequence || memcmp(hash, p->chains[GIVEN].hash, HTH_HASH_BYTES) != 0)
		return hth_fail(err, HTH_CONFLICT, "a verdict is about no open receipt");
	if (answer->verdict == HTH_RECEIPT_OPEN || !verify_taker(ledger, answer, hash))
		return hth_fail(err, HTH_DENIED, "a verdict is not signed by the home it is from");
	if (p->chains[GIVEN].last.verdict != HTH_RECEIPT_OPEN)
		return p->chains[GIVEN].last.verdict == answer->verdict ? HTH_OK
		                                                        : hth_fail(err, HTH_CONFLICT,
		                                                                   "a home signed two verdicts on one receipt");
	hth_entry e = p->chains[GIVEN].last;
	e.verdict = answer->verdict;
	e.has_taker = true;
	memcpy(e.taker, answer->taker, HTH_SIGNATURE_BYTES);
	HTH_TRY(ledger->disk.put(ledger->disk.ctx, &e, err));
	remember(p, GIVEN, &e, hash);
	return HTH_OK;
}

/* ---- taker ---- */

static hth_verdict judge(const hth_receipt *r, const hth_counted *counted)
{
	uint64_t owed = hth_charge_of(counted->prompt_tokens, counted->answer_tokens);
	bool right = counted->known && r->prompt_tokens == counted->prompt_tokens && r->answer_tokens == counted->answer_tokens &&
	             memcmp(r->tokens, counted->tokens, HTH_HASH_BYTES) == 0 && counted->charged <= owed &&
	             r->charge == owed - counted->charged &&
	             (r->privacy == 1 || r->privacy == 2) && r->issued_ms < counted->now_ms + day_ms &&
	             counted->now_ms < r->issued_ms + day_ms;
	return right ? HTH_RECEIPT_ACCEPTED : HTH_RECEIPT_REFUSED;
}

hth_status hth_ledger_consider(hth_ledger *ledger, const hth_home_id *from, const hth_entry *proposal, const hth_counted *counted,
                               hth_entry *ret_entry, hth_error *err)
{
	const hth_receipt *r = &proposal->receipt;
	unsigned char hash[HTH_HASH_BYTES];
	hth_receipt_hash(r, hash);
	if (!hth_home_id_equal(&r->giver, from) || !hth_home_id_equal(&r->taker, &ledger->self) || hth_home_id_equal(from, &ledger->self) ||
	    !verify_giver(ledger, proposal, hash))
		return hth_fail(err, HTH_DENIED, "a receipt is not signed by the home it is from, or is not for this one");
	pair *p;
	HTH_TRY(find_or_make(ledger, from, &p, err));
	chain *c = &p->chains[TAKEN];
	if (r->sequence == c->sequence && memcmp(hash, c->hash, HTH_HASH_BYTES) == 0) {
		*ret_entry = c->last; /* answered before; the answer was lost */
		return HTH_OK;
	}
	HTH_TRY(is_next(c, r, err));
	hth_entry e = {.receipt = *r, .verdict = judge(r, counted), .has_giver = true};
	memcpy(e.giver, proposal->giver, HTH_SIGNATURE_BYTES);
	HTH_TRY(ledger->disk.put(ledger->disk.ctx, &e, err)); /* written, then signed */
	sign_own(ledger, &e, hash);
	remember(p, TAKEN, &e, hash);
	*ret_entry = e;
	return HTH_OK;
}

/* ---- credit ---- */

int64_t hth_ledger_balance(const hth_ledger *ledger, const hth_home_id *other, uint64_t now_ms)
{
	const pair *p = find(ledger, other);
	if (p == NULL || p->newest_day == 0)
		return 0;
	uint64_t today = HTH_MAX(now_ms / day_ms, p->newest_day);
	int64_t total = 0;
	for (uint64_t age = HTH_CREDIT_DAYS; age-- > 0;) {
		uint64_t day = today - age;
		total -= total / 64;
		if (today >= age && day <= p->newest_day && p->newest_day - day < HTH_CREDIT_DAYS)
			total += p->days[day % HTH_CREDIT_DAYS];
	}
	return total;
}

double hth_ledger_standing(const hth_ledger *ledger, const hth_home_id *other, uint32_t credit_line, uint64_t now_ms)
{
	if (credit_line == 0)
		return 0;
	/* By its logarithm: the first answers that were given count at once, and the thousandth no more than the last few before it. */
	double owed = -(double)hth_ledger_balance(ledger, other, now_ms);
	double share = log1p(fabs(owed) / USUAL_ANSWER) / log1p((double)credit_line / USUAL_ANSWER);
	return copysign(share > 1 ? 1 : share, owed);
}

void hth_ledger_ends(const hth_ledger *ledger, const hth_home_id *other, uint64_t ret_sequence[2],
                     unsigned char ret_hash[2][HTH_HASH_BYTES])
{
	const pair *p = find(ledger, other);
	for (int side = 0; side < 2; side++) {
		ret_sequence[side] = p != NULL ? p->chains[side].sequence : 0;
		if (p != NULL)
			memcpy(ret_hash[side], p->chains[side].hash, HTH_HASH_BYTES);
		else
			memset(ret_hash[side], 0, HTH_HASH_BYTES);
	}
}

void hth_ledger_energy(const hth_ledger *ledger, const hth_home_id *other, uint64_t ret_mws[2])
{
	const pair *p = find(ledger, other);
	ret_mws[0] = p != NULL ? p->energy[0] : 0;
	ret_mws[1] = p != NULL ? p->energy[1] : 0;
}

void hth_ledger_each(const hth_ledger *ledger, void (*fn)(void *ctx, const hth_home_id *other), void *ctx)
{
	for (size_t i = 0; i < ledger->n; i++)
		fn(ctx, &ledger->pairs[i]->other);
}
