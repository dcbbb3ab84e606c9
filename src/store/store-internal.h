/* store-internal.h - what the files of store/ share; nobody else includes it. */
#ifndef HTH_STORE_STORE_INTERNAL_H
#define HTH_STORE_STORE_INTERNAL_H

#include "store/store.h"

#include <sodium.h>
#include <sqlite3.h>

struct hth_store {
	sqlite3 *db;
	sqlite3_stmt *count_keys; /* kept: every request asks; NULL until the first */
	unsigned char key_secret[crypto_generichash_KEYBYTES]; /* keys are hashed under it */
};

static inline void store_finalize_p(sqlite3_stmt **stmt) { sqlite3_finalize(*stmt); }

/* Turns an SQLite code into a status with a message that says what was being done. */
hth_status store_fail(hth_store *store, int rc, const char *doing, hth_error *err);
hth_status store_prepare(hth_store *store, const char *sql, sqlite3_stmt **ret_stmt, hth_error *err);
/* Reads the home's hashing secret, making it the first time. */
hth_status store_load_secret(hth_store *store, hth_error *err);

#endif
