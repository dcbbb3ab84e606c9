/* store-receipts.c - the rows of the ledger: whole entries, as the bytes that ledger/ gives and understands. */
#include "base/mem.h"
#include "store/store-internal.h"

hth_status hth_store_receipt_put(hth_store *store, const hth_receipt_key *key, const void *entry, size_t len, hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	if (len == 0 || len > HTH_STORE_RECEIPT_MAX || key->sequence == 0 || key->sequence > INT64_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a receipt of %zu bytes cannot be kept", len);
	HTH_TRY(store_prepare(store,
	                      "INSERT INTO receipt (giver, taker, sequence, entry) VALUES (?1, ?2, ?3, ?4)"
	                      " ON CONFLICT (giver, taker, sequence) DO UPDATE SET entry = excluded.entry",
	                      &stmt, err));
	sqlite3_bind_blob(stmt, 1, key->giver, sizeof key->giver, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 2, key->taker, sizeof key->taker, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, (int64_t)key->sequence);
	sqlite3_bind_blob(stmt, 4, entry, (int)len, SQLITE_STATIC);
	int rc = sqlite3_step(stmt);
	return rc == SQLITE_DONE ? HTH_OK : store_fail(store, rc, "writing a receipt", err);
}

hth_status hth_store_receipt_each(hth_store *store, hth_status (*fn)(void *ctx, const void *entry, size_t len, hth_error *err), void *ctx,
                                  hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store, "SELECT entry FROM receipt ORDER BY giver, taker, sequence", &stmt, err));
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const void *entry = sqlite3_column_blob(stmt, 0); /* before its size, as SQLite asks */
		HTH_TRY(fn(ctx, entry, (size_t)sqlite3_column_bytes(stmt, 0), err));
	}
	return rc == SQLITE_DONE ? HTH_OK : store_fail(store, rc, "reading the receipts", err);
}
