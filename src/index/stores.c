/* stores.c - vector stores: making, listing, changing and deleting them. The household's folders are among them, and stay as they are. */
#include "index/stores-internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "index/words.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = 256, FILES_AT_ONCE_MAX = 500, DAYS_MAX = 365, DAY_S = 86400, TOUCH_S = 60 };
#define ALL_DOCUMENTS "vs_documents"
#define FOLDER_PREFIX "vs_folder_"

/* --- which one --- */

static hth_status no_such_store(const char *id, hth_error *err)
{
	return hth_fail_param(err, HTH_NOT_FOUND, "vector_store_id", "there is no vector store '%.80s'", id);
}

hth_status store_find(record *r, const char *id, store_scope *ret_scope, hth_error *err)
{
	store_scope s = {0};
	if ((size_t)snprintf(s.id, sizeof s.id, "%s", id) >= sizeof s.id)
		return no_such_store("", err);
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	if (strcmp(id, ALL_DOCUMENTS) == 0) {
		s.household = true;
		*ret_scope = s;
		return HTH_OK;
	}
	if (strncmp(id, FOLDER_PREFIX, sizeof FOLDER_PREFIX - 1) == 0) {
		s.household = true;
		HTH_TRY(record_prepare(r, &stmt, err,
		                       "SELECT id, path FROM folder WHERE store IS NULL AND removed = 0 AND id = CAST(?1 AS INTEGER)"));
		record_bind_all(stmt, "s", id + sizeof FOLDER_PREFIX - 1);
	} else {
		HTH_TRY(record_prepare(r, &stmt, err,
		                       "SELECT coalesce(folder.id, -1), folder.path, expired FROM store LEFT JOIN folder ON folder.store = "
		                       "store.id AND folder.removed = 0 WHERE store.id = ?1 AND (expired OR folder.id IS NOT NULL)"));
		record_bind_all(stmt, "s", id);
	}
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return no_such_store(id, err);
	s.expired = !s.household && sqlite3_column_int(stmt, 2) != 0;
	s.folder = sqlite3_column_int64(stmt, 0);
	snprintf(s.path, sizeof s.path, "%s", record_text(stmt, 1));
	*ret_scope = s;
	return HTH_OK;
}

hth_status store_refuse_expired(const store_scope *s, hth_error *err)
{
	return s->expired ? hth_fail_param(err, HTH_INVALID, "vector_store_id",
	                                   "the vector store %s has expired: nothing is in it any more", s->id) : HTH_OK;
}

static hth_status refuse_household(const store_scope *s, hth_error *err)
{
	return s->household ? hth_fail_param(err, HTH_DENIED, "vector_store_id",
	                                     "%s is a folder of the household's, not changed from here; `hearth index` does that", s->id)
	                    : HTH_OK;
}

/* --- as JSON --- */

uint64_t store_words_mark(const char *home)
{
	char folder[HTH_INDEX_PATH_MAX];
	hth_words *words;
	snprintf(folder, sizeof folder, "%.4000s/index/words", home);
	if (hth_words_open(&words, folder, &(hth_words_options){0}, NULL) != HTH_OK)
		return 0;
	uint64_t mark = hth_words_mark(words);
	hth_words_close(words);
	return mark;
}

json_t *store_counts(record *r, const char *home, const store_scope *s, const char *batch, int64_t *ret_bytes, bool *ret_busy)
{
	/* 0 being read, 1 completed, 2 failed, 3 cancelled: as in store-files.c. */
	static const char ours[] =
	    "SELECT CASE WHEN cancelled THEN 3 WHEN f.state IN (3, 4) THEN 2"
	    "  WHEN f.state IN (1, 2) AND coalesce((SELECT max(id) FROM passage WHERE document = f.document AND part >= 0), 0) <= ?3"
	    "   AND (f.state = 1 OR EXISTS (SELECT 1 FROM passage WHERE document = f.document AND part >= 0)) THEN 1 ELSE 0 END AS what, "
	    "count(*), sum(u.bytes) FROM store_file sf JOIN upload u ON u.id = sf.upload LEFT JOIN file f ON f.folder = ?2 AND f.path = "
	    "u.link WHERE sf.store = ?1 AND (?4 IS NULL OR sf.batch = ?4) GROUP BY what";
	static const char household[] = "SELECT CASE WHEN state IN (3, 4) THEN 2 WHEN state = 0 THEN 0 ELSE 1 END AS what, count(*), "
	                                "sum(size) FROM file JOIN folder ON folder.id = file.folder WHERE folder.store IS NULL AND "
	                                "folder.removed = 0 AND (?2 = 0 OR folder.id = ?2) GROUP BY what";
	json_int_t counts[4] = {0};
	sqlite3_stmt *stmt = NULL;
	*ret_bytes = 0;
	if (record_prepare(r, &stmt, NULL, s->household ? household : ours) == HTH_OK) {
		if (s->household)
			record_bind_all(stmt, "si", (const char *)NULL, s->folder);
		else
			record_bind_all(stmt, "siis", s->id, s->folder, (int64_t)store_words_mark(home), batch);
		while (sqlite3_step(stmt) == SQLITE_ROW) {
			counts[sqlite3_column_int(stmt, 0) & 3] = sqlite3_column_int64(stmt, 1);
			*ret_bytes += sqlite3_column_int64(stmt, 2);
		}
	}
	sqlite3_finalize(stmt);
	*ret_busy = counts[0] > 0;
	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "in_progress", counts[0], "completed", counts[1], "failed", counts[2], "cancelled",
	                 counts[3], "total", counts[0] + counts[1] + counts[2] + counts[3]);
}

typedef struct lifetime {
	int64_t created, active, days; /* days 0: for ever */
} lifetime;

static json_t *as_json(record *r, const char *home, const store_scope *s, const char *name, const char *metadata, const lifetime *life)
{
	int64_t bytes;
	bool busy;
	json_t *counts = store_counts(r, home, s, NULL, &bytes, &busy);
	json_t *after = life->days > 0 ? json_pack("{s:s,s:I}", "anchor", "last_active_at", "days", (json_int_t)life->days) : json_null(),
	       *at = life->days > 0 ? json_integer(life->active + life->days * DAY_S) : json_null();
	return json_pack("{s:s,s:s,s:I,s:s,s:I,s:o,s:s,s:o,s:o,s:I,s:o}", "id", s->id, "object", "vector_store", "created_at",
	                 (json_int_t)life->created,
	                 "name", name, "usage_bytes", (json_int_t)bytes, "file_counts", counts, "status",
	                 s->expired ? "expired" : busy ? "in_progress" : "completed", "expires_after", after, "expires_at", at,
	                 "last_active_at",
	                 (json_int_t)life->active, "metadata", json_loads(metadata, 0, NULL));
}

static hth_status get(record *r, const char *home, const char *id, json_t **ret_store, hth_error *err)
{
	store_scope s;
	HTH_TRY(store_find(r, id, &s, err));
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	if (s.household) {
		HTH_TRY(record_prepare(r, &stmt, err, "SELECT min(added) FROM folder WHERE ?1 = 0 OR id = ?1"));
		sqlite3_bind_int64(stmt, 1, s.folder);
	} else {
		HTH_TRY(record_prepare(r, &stmt, err, "SELECT created, name, metadata, active, expires_days FROM store WHERE id = ?1"));
		record_bind_all(stmt, "s", id);
	}
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return no_such_store(id, err);
	lifetime life = {.created = sqlite3_column_int64(stmt, 0), .active = sqlite3_column_int64(stmt, s.household ? 0 : 3)};
	life.days = s.household ? 0 : sqlite3_column_int64(stmt, 4);
	*ret_store = s.household ? as_json(r, home, &s, s.folder == 0 ? "documents" : s.path, "{\"read_only\":\"true\"}", &life)
	                         : as_json(r, home, &s, record_text(stmt, 1), record_text(stmt, 2), &life);
	return *ret_store != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a vector store");
}

hth_status hth_stores_get(const char *home, const char *id, json_t **ret_store, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	return get(&r, home, id, ret_store, err);
}

hth_status hth_stores_list(const char *home, json_t **ret_stores, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_AUTO_JSON json_t *list = json_array();
	HTH_TRY(record_prepare(&r, &stmt, err,
	                       "SELECT id FROM (SELECT 0 AS kind, seq, id FROM store UNION ALL SELECT 1, 0, '" ALL_DOCUMENTS "'"
	                       " UNION ALL SELECT 2, id, '" FOLDER_PREFIX
	                       "' || id FROM folder WHERE store IS NULL AND removed = 0) ORDER BY kind, seq"));
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		json_t *store = NULL;
		hth_status status = get(&r, home, record_text(stmt, 0), &store, err);
		if (status == HTH_NOT_FOUND) /* it goes this moment */
			continue;
		HTH_TRY(status);
		if (json_array_append_new(list, store) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for vector stores");
	}
	if (rc != SQLITE_DONE)
		return record_fail(&r, rc, "listing vector stores", err);
	*ret_stores = json_incref(list);
	return HTH_OK;
}

/* --- changes --- */

/* {"anchor":"last_active_at","days":1 to 365}; *ret_days 0: it stays, -1: nothing is said. */
static hth_status read_expiry(const json_t *body, int64_t *ret_days, hth_error *err)
{
	const json_t *expiry = json_object_get(body, "expires_after"), *days = json_object_get(expiry, "days");
	const char *anchor = json_string_value(json_object_get(expiry, "anchor"));
	*ret_days = expiry == NULL ? -1 : 0;
	if (expiry == NULL || json_is_null(expiry))
		return HTH_OK;
	if (anchor == NULL || strcmp(anchor, "last_active_at") != 0 || !json_is_integer(days) || json_integer_value(days) < 1 ||
	    json_integer_value(days) > DAYS_MAX)
		return hth_fail_param(err, HTH_INVALID, "expires_after",
		                      "expires_after is {\"anchor\":\"last_active_at\",\"days\":1 to %d}", DAYS_MAX);
	*ret_days = json_integer_value(days);
	return HTH_OK;
}

void store_touch(record *r, const store_scope *s)
{
	int64_t now = hth_clock_unix();
	if (!s->household) /* not for each of many calls in a row: it is a write */
		(void)!record_do(r, NULL, "UPDATE store SET active = ?2 WHERE id = ?1 AND active < ?3", "sii", s->id, now, now - TOUCH_S);
}

static hth_status read_name(const json_t *body, const char **name, hth_error *err)
{
	HTH_TRY(hth_json_get_string(body, "name", name, err));
	return *name == NULL || strlen(*name) <= NAME_BYTES_MAX ? HTH_OK
	                                                         : hth_fail_param(err, HTH_INVALID, "name", "a name has at most %d bytes",
	                                                                          NAME_BYTES_MAX);
}

static hth_status insert(record *r, const char *id, const char *path, const char *name, const char *metadata, int64_t days, hth_error *err)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot look at %s", path);
	HTH_TRY(record_run(r, err, "BEGIN IMMEDIATE"));
	hth_status status = record_do(r, err, "INSERT INTO store (id, name, metadata, created, active, expires_days) VALUES (?1, ?2, ?3, "
	                                      "?4, ?4, ?5)", "sssii", id, name,
	                               metadata, hth_clock_unix(), HTH_MAX(days, (int64_t)0));
	if (status == HTH_OK)
		status = record_do(r, err, "INSERT INTO folder (path, shared, dev, added, store) VALUES (?1, 0, ?2, ?3, ?4)", "siis", path,
		                   (int64_t)st.st_dev, hth_clock_unix(), id);
	if (status == HTH_OK)
		status = record_run(r, err, "COMMIT");
	if (status != HTH_OK)
		(void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
	return status;
}

static hth_status add_files(const char *home, const char *id, const json_t *files, hth_error *err)
{
	if (json_array_size(files) > FILES_AT_ONCE_MAX)
		return hth_fail_param(err, HTH_INVALID, "file_ids", "at most %d files at once", FILES_AT_ONCE_MAX);
	for (size_t i = 0; i < json_array_size(files); i++) {
		HTH_AUTO_JSON json_t *one = json_pack("{s:O}", "file_id", json_array_get(files, i)), *added = NULL;
		HTH_TRY(hth_store_files_add(home, id, one, &added, err));
	}
	return HTH_OK;
}

hth_status hth_stores_create(const char *home, const json_t *body, json_t **ret_store, hth_error *err)
{
	const char *name = NULL;
	const json_t *files = NULL;
	char id[HTH_STORE_ID_MAX], path[HTH_INDEX_PATH_MAX], whole[HTH_INDEX_PATH_MAX];
	int64_t n = 0, days;
	HTH_AUTO_FREE char *metadata = NULL;
	HTH_TRY(read_name(body, &name, err));
	HTH_TRY(read_expiry(body, &days, err));
	HTH_TRY(store_read_attributes(body, "metadata", &metadata, err));
	HTH_TRY(hth_json_get_array(body, "file_ids", &files, err));
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_TRY(record_int(&r, &n, 0, err, "SELECT count(*) FROM store", ""));
	if (n >= HTH_STORES_MAX)
		return hth_fail(err, HTH_INVALID, "there are %d vector stores already; delete some first", HTH_STORES_MAX);
	snprintf(path, sizeof path, "%.4000s/stores", home);
	if ((mkdir(path, 0700) != 0 && errno != EEXIST) || !store_id_make("vs_", id) || !store_path(home, id, "", whole) ||
	    mkdir(whole, 0700) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make a vector store in %s", path);
	/* As the index knows folders: without links in the way. */
	HTH_AUTO_FREE char *real = realpath(whole, NULL);
	hth_status status = real != NULL ? insert(&r, id, real, name != NULL ? name : "", metadata, days, err)
	                                 : hth_fail_errno(err, HTH_IO, errno, "cannot find %s", whole);
	if (status != HTH_OK) {
		(void)rmdir(whole);
		return status;
	}
	status = add_files(home, id, files, err);
	if (status != HTH_OK) {
		(void)!hth_stores_delete(home, id, NULL);
		return status;
	}
	return get(&r, home, id, ret_store, err);
}

hth_status hth_stores_update(const char *home, const char *id, const json_t *body, json_t **ret_store, hth_error *err)
{
	const char *name = NULL;
	store_scope s;
	int64_t days;
	HTH_AUTO_FREE char *metadata = NULL;
	HTH_TRY(read_name(body, &name, err));
	HTH_TRY(read_expiry(body, &days, err));
	HTH_TRY(store_read_attributes(body, "metadata", &metadata, err));
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_TRY(store_find(&r, id, &s, err));
	HTH_TRY(refuse_household(&s, err));
	HTH_TRY(store_refuse_expired(&s, err));
	bool given = json_is_object(json_object_get(body, "metadata"));
	HTH_TRY(record_do(&r, err, "UPDATE store SET name = coalesce(?2, name), metadata = coalesce(?3, metadata), expires_days = iif(?4 < "
	                           "0, expires_days, ?4) WHERE id = ?1", "sssi", id, name, given ? metadata : NULL, days));
	store_touch(&r, &s);
	return get(&r, home, id, ret_store, err);
}

static hth_status forget(record *r, const char *id, bool whole, hth_error *err)
{
	HTH_TRY(record_do(r, err, "DELETE FROM store_file WHERE store = ?1", "s", id));
	HTH_TRY(record_do(r, err, "DELETE FROM store_batch WHERE store = ?1", "s", id));
	HTH_TRY(record_do(r, err, whole ? "DELETE FROM store WHERE id = ?1" : "UPDATE store SET expired = 1 WHERE id = ?1", "s", id));
	return record_do(r, err, "UPDATE folder SET removed = 1 WHERE store = ?1", "s", id);
}

hth_status store_empty(record *r, const char *home, const char *id, bool whole, hth_error *err)
{
	char path[HTH_INDEX_PATH_MAX];
	HTH_AUTO_JSON json_t *links = json_array();
	{
		HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_prepare(r, &stmt, err, "SELECT link FROM store_file JOIN upload ON upload.id = upload WHERE store = ?1"));
		record_bind_all(stmt, "s", id);
		while (sqlite3_step(stmt) == SQLITE_ROW)
			json_array_append_new(links, json_string(record_text(stmt, 0)));
	}
	HTH_TRY(record_run(r, err, "BEGIN IMMEDIATE"));
	hth_status status = forget(r, id, whole, err);
	if (status == HTH_OK)
		status = record_run(r, err, "COMMIT");
	if (status != HTH_OK) {
		(void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
		return status;
	}
	for (size_t i = 0; i < json_array_size(links); i++)
		store_remove_link(home, id, json_string_value(json_array_get(links, i)));
	if (store_path(home, id, "", path))
		(void)rmdir(path);
	return HTH_OK;
}

hth_status hth_stores_delete(const char *home, const char *id, hth_error *err)
{
	store_scope s;
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_TRY(store_find(&r, id, &s, err));
	HTH_TRY(refuse_household(&s, err));
	return store_empty(&r, home, id, true, err);
}

hth_status stores_expire(record *r, const char *home, int64_t now_unix, hth_error *err)
{
	for (;;) {
		char id[HTH_STORE_ID_MAX] = "";
		{
			HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
			HTH_TRY(record_prepare(r, &stmt, err, "SELECT id FROM store WHERE expires_days > 0 AND expired = 0 AND active + "
			                                      "expires_days * 86400 <= ?1 LIMIT 1"));
			sqlite3_bind_int64(stmt, 1, now_unix);
			if (sqlite3_step(stmt) == SQLITE_ROW)
				snprintf(id, sizeof id, "%s", record_text(stmt, 0));
		}
		if (id[0] == '\0')
			return HTH_OK;
		HTH_TRY(store_empty(r, home, id, false, err));
	}
}

hth_status hth_stores_expire(const char *home, int64_t now_unix, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(record_open(&r, home, true, err));
	return stores_expire(&r, home, now_unix, err);
}
