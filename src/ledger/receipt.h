/* receipt.h - what two homes sign while one works for the other: running totals, each chained to the pair's one before.
 *
 * The work that home G (the giver) does for home T (the taker) is one chain of receipts; what T does for G is another. The giver numbers
 * its chain and has at most one receipt open: it proposes, the taker answers with a verdict, and both are entries for ever. A refused
 * receipt keeps its number and counts for nothing. Totals are per job and only grow, so what a home that disappears owes is at most what
 * was done since the job's last accepted receipt; a giver stops before that is more than its window.
 */
#ifndef HTH_LEDGER_RECEIPT_H
#define HTH_LEDGER_RECEIPT_H

#include "seal/identity.h"

enum { HTH_JOB_BYTES = 16, HTH_RECEIPT_BYTES_MAX = 512 };

typedef struct hth_job_id {
	unsigned char bytes[HTH_JOB_BYTES];
} hth_job_id;

typedef struct hth_receipt {
	hth_home_id giver, taker;
	uint64_t sequence;                        /* in the chain, from 1 */
	unsigned char previous[HTH_HASH_BYTES];   /* the hash of the one before; zeros in the first */
	hth_job_id job;
	uint8_t privacy;                          /* hth_privacy_class: 1 or 2 */
	unsigned char model[HTH_HASH_BYTES];      /* of the weights */
	uint64_t sampler, seed;                   /* hash of the sampler's settings; the seed that was published */
	uint64_t issued_ms;                       /* by the giver's clock */
	uint32_t prompt_tokens, answer_tokens;    /* of the job so far */
	unsigned char tokens[HTH_HASH_BYTES];     /* running hash of the answer's tokens so far (hth_token_hash) */
	/* what the giver says that the work of this receipt took (it adds up, as the charge does); 0: not known */
	uint64_t milliwatt_seconds;
	uint32_t charge;                          /* what this receipt adds to the giver's credit, in tokens */
	bool final;
} hth_receipt;

typedef enum hth_verdict { HTH_RECEIPT_OPEN = 0, HTH_RECEIPT_ACCEPTED = 1, HTH_RECEIPT_REFUSED = 2 } hth_verdict;

void hth_receipt_put(hth_buf *out, const hth_receipt *receipt);
void hth_receipt_get(hth_canon_reader *reader, hth_receipt *ret_receipt);
void hth_receipt_hash(const hth_receipt *receipt, unsigned char ret_hash[HTH_HASH_BYTES]);

/* hash' = H(hash, ids): begins with zeros; the run is the tokens since the job's last accepted receipt, so both sides cut alike. */
void hth_token_hash(unsigned char hash[HTH_HASH_BYTES], const int32_t *ids, size_t n);
/* Charge of totals: an answer's token counts one, sixteen tokens of a prompt count one. */
uint64_t hth_charge_of(uint32_t prompt_tokens, uint32_t answer_tokens);

#endif
