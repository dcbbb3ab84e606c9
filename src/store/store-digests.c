/* store-digests.c - SHA-256 of model files that were read whole once, by what tells whether a file is still the one
 * that was read. */
#include "base/mem.h"
#include "store/store-internal.h"

/* More than a home has models; what is oldest goes. */
enum { DIGEST_ROWS_MAX = 8192 };

hth_status hth_store_digest_put(hth_store *store, const hth_file_identity *file, const char sha256[65], hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(
	    store,
	    "INSERT OR REPLACE INTO digest (device, inode, bytes, modified_ns, sha256) VALUES (?1, ?2, ?3, ?4, ?5)",
	    &stmt, err));
	sqlite3_bind_int64(stmt, 1, (int64_t)file->device);
	sqlite3_bind_int64(stmt, 2, (int64_t)file->inode);
	sqlite3_bind_int64(stmt, 3, (int64_t)file->bytes);
	sqlite3_bind_int64(stmt, 4, file->modified_ns);
	sqlite3_bind_text(stmt, 5, sha256, -1, SQLITE_STATIC);
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "keeping a file's digest", err);
	char sql[96];
	snprintf(sql, sizeof sql, "DELETE FROM digest WHERE rowid <= (SELECT max(rowid) FROM digest) - %d",
	         DIGEST_ROWS_MAX);
	rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? HTH_OK : store_fail(store, rc, "trimming the digests", err);
}

hth_status hth_store_digest_find(hth_store *store, const hth_file_identity *file, char ret_sha256[65], hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(
	    store, "SELECT sha256 FROM digest WHERE device = ?1 AND inode = ?2 AND bytes = ?3 AND modified_ns = ?4",
	    &stmt, err));
	sqlite3_bind_int64(stmt, 1, (int64_t)file->device);
	sqlite3_bind_int64(stmt, 2, (int64_t)file->inode);
	sqlite3_bind_int64(stmt, 3, (int64_t)file->bytes);
	sqlite3_bind_int64(stmt, 4, file->modified_ns);
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_DONE)
		return hth_fail(err, HTH_NOT_FOUND, "this file has not been read yet");
	const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	if (text == NULL)
		return store_fail(store, rc, "looking for a file's digest", err);
	snprintf(ret_sha256, 65, "%s", text);
	return HTH_OK;
}
