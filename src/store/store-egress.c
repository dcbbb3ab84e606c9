/* store-egress.c - the log of what left the house: one row per connection to the outside, allowed or refused. */
#include "base/buf.h"
#include "base/mem.h"
#include "seal/identity.h"
#include "store/store-internal.h"

/* Rows beyond this are dropped, oldest first: years of a home's downloads. */
enum { EGRESS_ROWS_MAX = 100000 };

enum { HASH = HTH_HASH_BYTES, TEXT_MAX = 2048 };
static const char fields[] = "SELECT at, kind, host, reason, sent, received, allowed, class, hash, id FROM egress";

static void entry_hash(const hth_egress *e, const unsigned char previous[HASH], unsigned char ret_hash[HASH])
{
	hth_buf bytes = HTH_BUF_INIT(TEXT_MAX);
	hth_canon_put_bytes(&bytes, previous, HASH);
	hth_canon_put_u64(&bytes, (uint64_t)e->at_unix);
	hth_canon_put_blob(&bytes, e->kind, strlen(e->kind));
	hth_canon_put_blob(&bytes, e->host, strlen(e->host));
	hth_canon_put_blob(&bytes, e->reason, strlen(e->reason));
	hth_canon_put_blob(&bytes, e->privacy, strlen(e->privacy));
	hth_canon_put_u64(&bytes, e->sent_bytes);
	hth_canon_put_u64(&bytes, e->received_bytes);
	hth_canon_put_bool(&bytes, e->allowed);
	hth_seal_hash("hearth egress 1", bytes.data, bytes.len, ret_hash);
	hth_buf_finish(&bytes);
}

/* The newest entry's hash; zeros where there is none, or none with a hash. */
static hth_status head(hth_store *store, unsigned char ret_hash[HASH], hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	memset(ret_hash, 0, HASH);
	HTH_TRY(store_prepare(store, "SELECT hash FROM egress ORDER BY id DESC LIMIT 1", &stmt, err));
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == HASH)
		memcpy(ret_hash, sqlite3_column_blob(stmt, 0), HASH);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? HTH_OK : store_fail(store, rc, "reading the egress log", err);
}

static hth_status insert(hth_store *store, const hth_egress *egress, hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	unsigned char previous[HASH], hash[HASH];
	HTH_TRY(head(store, previous, err));
	HTH_TRY(store_prepare(store,
	                      "INSERT INTO egress (at, kind, host, reason, sent, received, allowed, class, hash)"
	                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
	                      &stmt, err));
	entry_hash(egress, previous, hash);
	sqlite3_bind_int64(stmt, 1, egress->at_unix);
	sqlite3_bind_text(stmt, 2, egress->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 3, egress->host, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 4, egress->reason, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 5, (int64_t)egress->sent_bytes);
	sqlite3_bind_int64(stmt, 6, (int64_t)egress->received_bytes);
	sqlite3_bind_int(stmt, 7, egress->allowed);
	sqlite3_bind_text(stmt, 8, egress->privacy, -1, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 9, hash, HASH, SQLITE_STATIC);
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "writing the egress log", err);
	if (sqlite3_last_insert_rowid(store->db) % 1000 == 0) {
		char sql[96];
		snprintf(sql, sizeof sql, "DELETE FROM egress WHERE id <= (SELECT max(id) FROM egress) - %d", EGRESS_ROWS_MAX);
		rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
		if (rc != SQLITE_OK)
			return store_fail(store, rc, "trimming the egress log", err);
	}
	return HTH_OK;
}

hth_status hth_store_egress_add(hth_store *store, const hth_egress *egress, hth_error *err)
{
	/* The lock comes first: two processes must not write after the same entry. */
	int rc = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return store_fail(store, rc, "writing the egress log", err);
	hth_status status = insert(store, egress, err);
	if (status == HTH_OK && (rc = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL)) != SQLITE_OK)
		status = store_fail(store, rc, "writing the egress log", err);
	if (status != HTH_OK)
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	return status;
}

static void copy_text(char *to, size_t size, const unsigned char *from)
{
	snprintf(to, size, "%s", from ? (const char *)from : "");
}

static void read_entry(sqlite3_stmt *stmt, hth_egress *e)
{
	*e = (hth_egress){.at_unix = sqlite3_column_int64(stmt, 0),
	                  .sent_bytes = (uint64_t)sqlite3_column_int64(stmt, 4),
	                  .received_bytes = (uint64_t)sqlite3_column_int64(stmt, 5),
	                  .allowed = sqlite3_column_int(stmt, 6) != 0};
	copy_text(e->kind, sizeof e->kind, sqlite3_column_text(stmt, 1));
	copy_text(e->host, sizeof e->host, sqlite3_column_text(stmt, 2));
	copy_text(e->reason, sizeof e->reason, sqlite3_column_text(stmt, 3));
	copy_text(e->privacy, sizeof e->privacy, sqlite3_column_text(stmt, 7));
}

hth_status hth_store_egress_verify(hth_store *store, uint64_t *ret_entries, unsigned char ret_head[32], hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	unsigned char previous[HASH] = {0}, hash[HASH];
	uint64_t n = 0;
	int64_t oldest = 1;
	bool chained = false;
	char sql[sizeof fields + 40];
	snprintf(sql, sizeof sql, "%s ORDER BY id", fields);
	HTH_TRY(store_prepare(store, sql, &stmt, err));
	int rc;
	for (; (rc = sqlite3_step(stmt)) == SQLITE_ROW; n++) {
		hth_egress e;
		bool hashed = sqlite3_column_bytes(stmt, 8) == HASH;
		read_entry(stmt, &e);
		entry_hash(&e, previous, hash);
		if (n == 0)
			oldest = sqlite3_column_int64(stmt, 9);
		/* The oldest may follow one that was dropped for its age; those from before the chain have no hash. */
		bool first = n == 0 && oldest > 1;
		if (hashed ? !first && memcmp(hash, sqlite3_column_blob(stmt, 8), HASH) != 0 : chained)
			return hth_fail(err, HTH_BAD_FORMAT, "the egress log was changed: its entry %llu (%.40s, %.80s) does not follow "
			                                     "the one before", (unsigned long long)n + 1,
			                e.kind, e.host);
		chained |= hashed;
		if (hashed)
			memcpy(previous, sqlite3_column_blob(stmt, 8), HASH);
	}
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "reading the egress log", err);
	if (oldest > 1 && n < EGRESS_ROWS_MAX) /* nothing has become too old yet */
		return hth_fail(err, HTH_BAD_FORMAT, "the egress log was changed: its first %lld entries are gone", (long long)oldest - 1);
	*ret_entries = n;
	memcpy(ret_head, previous, HASH);
	return HTH_OK;
}

hth_status hth_store_egress_list(hth_store *store, size_t limit, hth_egress **ret_list, size_t *ret_n, hth_error *err)
{
	if (limit > EGRESS_ROWS_MAX)
		limit = EGRESS_ROWS_MAX;
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	char sql[sizeof fields + 40];
	snprintf(sql, sizeof sql, "%s ORDER BY id DESC LIMIT ?1", fields);
	HTH_TRY(store_prepare(store, sql, &stmt, err));
	sqlite3_bind_int64(stmt, 1, (int64_t)limit);
	HTH_AUTO_FREE hth_egress *list = NULL;
	size_t n = 0, cap = 0;
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (n == cap) {
			cap = cap ? cap * 2 : 16;
			hth_egress *more = realloc(list, cap * sizeof *list);
			if (more == NULL)
				return hth_fail(err, HTH_NO_MEMORY, "no memory to list the egress log");
			list = more;
		}
		hth_egress *e = &list[n++];
		read_entry(stmt, e);
	}
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "reading the egress log", err);
	*ret_list = list;
	*ret_n = n;
	list = NULL;
	return HTH_OK;
}
