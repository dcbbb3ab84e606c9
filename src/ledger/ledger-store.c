/* ledger-store.c - entries to rows and back; see ledger-store.h. */
#include "ledger/ledger-store.h"

#include "base/mem.h"

_Static_assert(HTH_RECEIPT_BYTES_MAX + 2 * (1 + HTH_SIGNATURE_BYTES) + 1 <= HTH_STORE_RECEIPT_MAX, "an entry fits its row");

static hth_status put(void *ctx, const hth_entry *entry, hth_error *err)
{
	hth_receipt_key key = {.sequence = entry->receipt.sequence};
	memcpy(key.giver, entry->receipt.giver.bytes, sizeof key.giver);
	memcpy(key.taker, entry->receipt.taker.bytes, sizeof key.taker);
	hth_buf bytes = HTH_BUF_INIT(HTH_STORE_RECEIPT_MAX);
	hth_entry_put(&bytes, entry);
	hth_status status = hth_buf_check(&bytes, "a receipt", err);
	if (status == HTH_OK)
		status = hth_store_receipt_put(ctx, &key, bytes.data, bytes.len, err);
	hth_buf_finish(&bytes);
	return status;
}

hth_ledger_disk hth_ledger_disk_of(hth_store *store) { return (hth_ledger_disk){put, store}; }

typedef struct loading {
	hth_ledger *ledger;
	hth_ledger_summary summary;
} loading;

static hth_status load_one(void *ctx, const void *bytes, size_t len, hth_error *err)
{
	loading *l = ctx;
	hth_entry entry;
	hth_canon_reader r = hth_canon_read(bytes, len);
	hth_entry_get(&r, &entry);
	if (!hth_canon_end(&r))
		return hth_fail(err, HTH_BAD_FORMAT, "receipt %llu on disk does not follow its format",
		                (unsigned long long)l->summary.receipts + 1);
	HTH_TRY(hth_ledger_replay(l->ledger, &entry, err));
	l->summary.receipts++;
	l->summary.open += entry.verdict == HTH_RECEIPT_OPEN;
	l->summary.accepted += entry.verdict == HTH_RECEIPT_ACCEPTED;
	l->summary.refused += entry.verdict == HTH_RECEIPT_REFUSED;
	return HTH_OK;
}

hth_status hth_ledger_load(hth_ledger *ledger, hth_store *store, hth_ledger_summary *ret_summary, hth_error *err)
{
	loading l = {.ledger = ledger};
	HTH_TRY(hth_store_receipt_each(store, load_one, &l, err));
	*ret_summary = l.summary;
	return HTH_OK;
}
