/* ledger.h - one home's side of all its pairs: proposes and answers receipts, remembers every one of them, and knows who owes whom.
 *
 * A machine without clock, disk or keys of its own: time is given, signatures come from a signer, and entries go to a disk that says when
 * they are durable. The one rule that power loss at any moment must not break: *written, then signed*. A receipt is on disk before the
 * giver's signature under it exists, a verdict before the taker's. After a restart the entries are replayed (and verified), an open receipt
 * is proposed again with the same bytes and therefore the same signature, and an answered one is answered again.
 *
 * Credit is bilateral: what A did for B minus what B did for A, in tokens. It fades by 1/64 a day (integers, rounded towards zero, so both
 * homes get the same number with opposite signs) and is forgotten after HTH_CREDIT_DAYS days. It is bounded where it is used:
 * hth_ledger_standing cuts it at the charter's credit line.
 */
#ifndef HTH_LEDGER_LEDGER_H
#define HTH_LEDGER_LEDGER_H

#include "ledger/receipt.h"

enum { HTH_CREDIT_DAYS = 64, HTH_LEDGER_PAIRS_MAX = 2048 };

typedef struct hth_signer {
	void (*sign)(void *ctx, const char *label, const void *bytes, size_t len, unsigned char ret_signature[HTH_SIGNATURE_BYTES]);
	bool (*verify)(void *ctx, const hth_home_id *id, const char *label, const void *bytes, size_t len,
	               const unsigned char signature[HTH_SIGNATURE_BYTES]);
	void *ctx;
} hth_signer;
/* The real one: Ed25519 with this identity, borrowed as long as the signer is used. */
hth_signer hth_signer_of(const hth_identity *identity);

/* One receipt as it stands: what is on disk, and what travels (a proposal has no verdict yet). Plain values. */
typedef struct hth_entry {
	hth_receipt receipt;
	hth_verdict verdict;
	bool has_giver, has_taker; /* the signatures that are there */
	unsigned char giver[HTH_SIGNATURE_BYTES], taker[HTH_SIGNATURE_BYTES];
} hth_entry;
void hth_entry_put(hth_buf *out, const hth_entry *entry);
void hth_entry_get(hth_canon_reader *reader, hth_entry *ret_entry);

typedef struct hth_ledger_disk {
	/* Writes the entry of (giver, taker, sequence), replacing what was there; HTH_OK only when it will outlive a power loss. */
	hth_status (*put)(void *ctx, const hth_entry *entry, hth_error *err);
	void *ctx;
} hth_ledger_disk;

typedef struct hth_ledger hth_ledger;
HTH_MUST_USE hth_status hth_ledger_create(hth_ledger **ret_ledger, const hth_home_id *self, hth_signer signer, hth_ledger_disk disk,
                                          hth_error *err);
void hth_ledger_destroy(hth_ledger *ledger);
/* At start, every entry of the disk, each chain in order. HTH_BAD_FORMAT: the chain is broken there, and how; `hearth ledger verify` shows
 * it. */
HTH_MUST_USE hth_status hth_ledger_replay(hth_ledger *ledger, const hth_entry *entry, hth_error *err);

/* ---- the giver ---- */
/* Proposes totals; fills sequence, previous and both homes' ids itself (giver: this home). *ret_entry is to be sent to the taker.
 * HTH_CONFLICT: one is open: wait for its verdict. HTH_IO: the disk failed: nothing was signed, and this ledger must be made anew from the
 * disk. */
HTH_MUST_USE hth_status hth_ledger_propose(hth_ledger *ledger, const hth_receipt *totals, hth_entry *ret_entry, hth_error *err);
/* The open proposal to this taker, signed, to be sent again; false: none. */
bool hth_ledger_open(hth_ledger *ledger, const hth_home_id *taker, hth_entry *ret_entry);
/* A taker's verdict. HTH_OK (also when it was known already), HTH_CONFLICT: about nothing that is open; HTH_DENIED: not its signature. */
HTH_MUST_USE hth_status hth_ledger_answered(hth_ledger *ledger, const hth_home_id *from, const hth_entry *answer, hth_error *err);

/* ---- the taker ---- */
/* What this home counted itself of a job, up to the receipt's totals. */
typedef struct hth_counted {
	bool known; /* false: this home has no such job (any more) */
	uint32_t prompt_tokens, answer_tokens;
	unsigned char tokens[HTH_HASH_BYTES];
	uint64_t charged; /* by the receipts of this job that were accepted so far */
	uint64_t now_ms;  /* a receipt dated more than a day from it is refused: dates decide what fades */
} hth_counted;
/* Judges a proposal: accepted when everything it says is what was counted, else refused. *ret_entry is the answer to send, the same one
 * however often the proposal comes. HTH_DENIED: not the giver's signature; HTH_CONFLICT: not the next of its chain (*ret_entry is not
 * set). */
HTH_MUST_USE hth_status hth_ledger_consider(hth_ledger *ledger, const hth_home_id *from, const hth_entry *proposal,
                                            const hth_counted *counted, hth_entry *ret_entry, hth_error *err);

/* ---- credit ---- */
/* What the other home owes this one (negative: this one owes), faded to the day of now_ms. */
int64_t hth_ledger_balance(const hth_ledger *ledger, const hth_home_id *other, uint64_t now_ms);
/* The balance in usual answers (of 256 tokens) against the credit line, both by their logarithm, cut at -1 and 1, as the *other's* standing
 * here: 1, this home owes it much; 0 with a line of 0. With the usual line of a million tokens one answer is worth 0.08, ten 0.29, a
 * hundred 0.55. */
double hth_ledger_standing(const hth_ledger *ledger, const hth_home_id *other, uint32_t credit_line, uint64_t now_ms);
/* Milliwatt-seconds of the accepted receipts: that this home gave, and that it took; by the givers' own word. */
void hth_ledger_energy(const hth_ledger *ledger, const hth_home_id *other, uint64_t ret_mws[2]);
/* Every home that there are receipts with, by id. */
void hth_ledger_each(const hth_ledger *ledger, void (*fn)(void *ctx, const hth_home_id *other), void *ctx);
/* How many entries the two chains with this home have, and the hashes at their ends (zeros: none). */
void hth_ledger_ends(const hth_ledger *ledger, const hth_home_id *other, uint64_t ret_sequence[2],
                     unsigned char ret_hash[2][HTH_HASH_BYTES]);

#endif
