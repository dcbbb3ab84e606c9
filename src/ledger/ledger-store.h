/* ledger-store.h - the ledger on the home's database: where the daemon's entries go, and how they come back at its next start. */
#ifndef HTH_LEDGER_LEDGER_STORE_H
#define HTH_LEDGER_LEDGER_STORE_H

#include "ledger/ledger.h"
#include "store/store.h"

/* Entries go to the store (borrowed as long as the disk is used), each in a transaction that is durable when put returns. */
hth_ledger_disk hth_ledger_disk_of(hth_store *store);

typedef struct hth_ledger_summary {
	uint64_t receipts, open, accepted, refused;
} hth_ledger_summary;
/* Replays all that the store has into a new ledger, verifying each signature and hash: HTH_BAD_FORMAT at the first that does not hold. */
HTH_MUST_USE hth_status hth_ledger_load(hth_ledger *ledger, hth_store *store, hth_ledger_summary *ret_summary, hth_error *err);

#endif
