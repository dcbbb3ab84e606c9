/* store-egress.c - the log of what left the house: one row per connection to the outside, allowed or refused. */
#include "base/mem.h"
#include "store/store-internal.h"

/* Rows beyond this are dropped, oldest first: years of a home's downloads. */
enum { EGRESS_ROWS_MAX = 100000 };

hth_status hth_store_egress_add(hth_store *store, const hth_egress *egress, hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store,
	                      "INSERT INTO egress (at, kind, host, reason, sent, received, allowed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	                      &stmt, err));
	sqlite3_bind_int64(stmt, 1, egress->at_unix);
	sqlite3_bind_text(stmt, 2, egress->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 3, egress->host, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 4, egress->reason, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 5, (int64_t)egress->sent_bytes);
	sqlite3_bind_int64(stmt, 6, (int64_t)egress->received_bytes);
	sqlite3_bind_int(stmt, 7, egress->allowed);
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

static void copy_text(char *to, size_t size, const unsigned char *from)
{
	snprintf(to, size, "%s", from ? (const char *)from : "");
}

hth_status hth_store_egress_list(hth_store *store, size_t limit, hth_egress **ret_list, size_t *ret_n, hth_error *err)
{
	if (limit > EGRESS_ROWS_MAX)
		limit = EGRESS_ROWS_MAX;
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store, "SELECT at, kind, host, reason, sent, received, allowed FROM egress ORDER BY id DESC LIMIT ?1", &stmt,
	                      err));
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
		*e = (hth_egress){.at_unix = sqlite3_column_int64(stmt, 0),
		                  .sent_bytes = (uint64_t)sqlite3_column_int64(stmt, 4),
		                  .received_bytes = (uint64_t)sqlite3_column_int64(stmt, 5),
		                  .allowed = sqlite3_column_int(stmt, 6) != 0};
		copy_text(e->kind, sizeof e->kind, sqlite3_column_text(stmt, 1));
		copy_text(e->host, sizeof e->host, sqlite3_column_text(stmt, 2));
		copy_text(e->reason, sizeof e->reason, sqlite3_column_text(stmt, 3));
	}
	if (rc != SQLITE_DONE)
		return store_fail(store, rc, "reading the egress log", err);
	*ret_list = list;
	*ret_n = n;
	list = NULL;
	return HTH_OK;
}
