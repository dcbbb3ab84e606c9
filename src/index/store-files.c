/* store-files.c - the files of a store, and batches of them. A file is completed once what it says is found. */
#include "index/stores-internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { FILES_AT_ONCE_MAX = 500 };
/* "in_progress", ... in the order that store_counts counts them. */
static const char *const states[] = {"in_progress", "completed", "failed", "cancelled"};

static hth_status open_store(const char *home, const char *store, bool change, record *r, store_scope *s, hth_error *err)
{
	HTH_TRY(store_open(home, r, err));
	HTH_TRY(store_find(r, store, s, err));
	HTH_TRY(store_refuse_expired(s, err));
	if (change)
		store_touch(r, s);
	return change && s->household ? hth_fail_param(err, HTH_DENIED, "vector_store_id",
	                                               "%s is a folder of the household's, not changed from here; `hearth index` does that",
	                                               store)
	                              : HTH_OK;
}

#define COLUMNS \
	"SELECT u.id, u.bytes, sf.created, sf.attributes, sf.cancelled, f.state, f.reason," \
	" coalesce((SELECT max(id) FROM passage WHERE document = f.document AND part >= 0), 0)" \
	" FROM store_file sf JOIN upload u ON u.id = sf.upload" \
	" LEFT JOIN file f ON f.folder = ?2 AND f.path = u.link WHERE sf.store = ?1"

static const char *state_of(sqlite3_stmt *stmt, uint64_t mark)
{
	uint64_t last = (uint64_t)sqlite3_column_int64(stmt, 7);
	if (sqlite3_column_int(stmt, 4) != 0)
		return states[3];
	if (sqlite3_column_type(stmt, 5) == SQLITE_NULL)
		return states[0];
	switch (sqlite3_column_int(stmt, 5)) {
	case HTH_INDEX_UNREADABLE:
	case HTH_INDEX_EXCLUDED:
		return states[2];
	case HTH_INDEX_INDEXED:
		return states[last <= mark];
	case HTH_INDEX_WAITING_OCR: /* its text is found; pictures may yet bring more */
		return states[last > 0 && last <= mark];
	default:
		return states[0];
	}
}

static json_t *as_json(sqlite3_stmt *stmt, const char *store, uint64_t mark)
{
	const char *state = state_of(stmt, mark);
	json_t *error = json_null(), *attributes = json_loads(record_text(stmt, 3), 0, NULL);
	if (state == states[2])
		error = json_pack("{s:s,s:s}", "code", sqlite3_column_int(stmt, 5) == HTH_INDEX_EXCLUDED ? "unsupported_file"
		                  : "invalid_file", "message", record_text(stmt, 6));
	return json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:o,s:{s:s,s:{s:i,s:i}},s:o}", "id", record_text(stmt, 0), "object", "vector_store.file",
	                 "usage_bytes", (json_int_t)sqlite3_column_int64(stmt, 1), "created_at", (json_int_t)sqlite3_column_int64(stmt, 2),
	                 "vector_store_id", store,
	                 "status", state, "last_error", error, "chunking_strategy", "type", "static", "static", "max_chunk_size_tokens",
	                 300,
	                 "chunk_overlap_tokens", 0, "attributes", attributes != NULL ? attributes : json_object());
}

static hth_status get(record *r, const char *home, const store_scope *s, const char *id, json_t **ret_file, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, COLUMNS " AND u.id = ?3"));
	record_bind_all(stmt, "sis", s->id, s->folder, id);
	if (s->household || sqlite3_step(stmt) != SQLITE_ROW)
		return hth_fail_param(err, HTH_NOT_FOUND, "file_id", "there is no file '%.80s' in %s", id, s->id);
	*ret_file = as_json(stmt, s->id, store_words_mark(home));
	return *ret_file != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a file");
}

hth_status hth_store_files_get(const char *home, const char *store, const char *id, json_t **ret_file, hth_error *err)
{
	store_scope s;
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, false, &r, &s, err));
	return get(&r, home, &s, id, ret_file, err);
}

hth_status hth_store_files_content(const char *home, const char *store, const char *id, json_t **ret_page, hth_error *err)
{
	store_scope s;
	HTH_AUTO_JSON json_t *file = NULL;
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, false, &r, &s, err));
	HTH_TRY(get(&r, home, &s, id, &file, err));
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_AUTO_JSON json_t *data = json_array();
	HTH_TRY(record_prepare(&r, &stmt, err,
	                       "SELECT text FROM passage WHERE part >= 0 AND document = (SELECT document FROM file JOIN upload ON "
	                       "upload.link = file.path WHERE file.folder = ?1 AND upload.id = ?2) ORDER BY id"));
	record_bind_all(stmt, "is", s.folder, id);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		if (json_array_append_new(data, json_pack("{s:s,s:s}", "type", "text", "text", record_text(stmt, 0))) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a file's text");
	if (rc != SQLITE_DONE)
		return record_fail(&r, rc, "reading a file's text", err);
	*ret_page = json_pack("{s:s,s:O,s:b,s:n}", "object", "vector_store.file_content.page", "data", data, "has_more", 0, "next_page");
	return *ret_page != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a file's text");
}

/* The household's, by their number in the record. */
static hth_status list_household(record *r, const store_scope *s, const char *status, json_t *list, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err,
	                       "SELECT file.id, folder.path, file.path, size, mtime, state, reason FROM file JOIN folder ON folder.id = "
	                       "file.folder WHERE folder.store IS NULL AND folder.removed = 0 AND (?1 = 0 OR folder.id = ?1) ORDER BY "
	                       "file.id LIMIT ?2"));
	record_bind_all(stmt, "ii", s->folder, (int64_t)HTH_STORE_FILES_MAX);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		char id[HTH_STORE_ID_MAX], path[HTH_INDEX_PATH_MAX];
		int state = sqlite3_column_int(stmt, 5);
		bool failed = state == HTH_INDEX_UNREADABLE || state == HTH_INDEX_EXCLUDED;
		const char *is = failed ? states[2] : states[state != HTH_INDEX_WAITING];
		if ((status != NULL && strcmp(status, is) != 0) || !record_path(path, record_text(stmt, 1), record_text(stmt, 2)))
			continue;
		snprintf(id, sizeof id, "file-household-%lld", (long long)sqlite3_column_int64(stmt, 0));
		json_t *error = failed ? json_pack("{s:s,s:s}", "code", "invalid_file", "message", record_text(stmt, 6)) : json_null();
		json_t *attributes = json_object(), *name = json_string(path);
		if (name != NULL) /* a name that is no UTF-8 is left out */
			json_object_set_new(attributes, "path", name);
		if (json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:o,s:{s:s},s:o}", "id", id, "object",
		                                          "vector_store.file", "usage_bytes", (json_int_t)sqlite3_column_int64(stmt, 3),
		                                          "created_at", (json_int_t)(sqlite3_column_int64(stmt, 4) / 1000000000),
		                                          "vector_store_id", s->id, "status", is,
		                                          "last_error", error, "chunking_strategy", "type", "other", "attributes",
		                                          attributes)) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for files");
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "listing files", err);
}

static hth_status list_files(record *r, const char *home, const store_scope *s, const char *status, const char *batch, json_t *list,
                             hth_error *err)
{
	uint64_t mark = store_words_mark(home);
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, COLUMNS " AND (?3 IS NULL OR sf.batch = ?3) ORDER BY sf.seq"));
	record_bind_all(stmt, "sis", s->id, s->folder, batch);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (status != NULL && strcmp(status, state_of(stmt, mark)) != 0)
			continue;
		if (json_array_append_new(list, as_json(stmt, s->id, mark)) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for files");
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "listing files", err);
}

hth_status hth_store_files_list(const char *home, const char *store, const char *status, const char *batch, json_t **ret_files,
                                hth_error *err)
{
	store_scope s;
	bool known = status == NULL;
	for (size_t i = 0; i < HTH_COUNT(states) && !known; i++)
		known = strcmp(status, states[i]) == 0;
	if (!known)
		return hth_fail_param(err, HTH_INVALID, "filter", "filter is in_progress, completed, failed or cancelled");
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, false, &r, &s, err));
	HTH_AUTO_JSON json_t *list = json_array();
	HTH_TRY(s.household ? list_household(&r, &s, status, list, err) : list_files(&r, home, &s, status, batch, list, err));
	*ret_files = json_incref(list);
	return HTH_OK;
}

/* --- changes --- */

static hth_status link_file(const char *home, const char *store, const char *link_name, hth_error *err)
{
	char from[HTH_INDEX_PATH_MAX], to[HTH_INDEX_PATH_MAX];
	if (!store_path(home, NULL, link_name, from) || !store_path(home, store, link_name, to) || (link(from, to) != 0 && errno != EEXIST))
		return hth_fail_errno(err, HTH_IO, errno, "cannot put the file into the vector store");
	return HTH_OK;
}

static hth_status check_chunking(const json_t *body, hth_error *err)
{
	const char *type = json_string_value(json_object_get(json_object_get(body, "chunking_strategy"), "type"));
	/* Passages are cut at the document's own paragraphs and pages; what a client asks for is taken as a wish. */
	return type == NULL || strcmp(type, "auto") == 0 || strcmp(type, "static") == 0
	           ? HTH_OK
	           : hth_fail_param(err, HTH_INVALID, "chunking_strategy", "chunking_strategy is auto or static");
}

static hth_status add(record *r, const char *home, const store_scope *s, const json_t *body, const char *batch, const char **ret_id,
                      hth_error *err)
{
	const char *id = NULL;
	char link_name[HTH_STORE_ID_MAX];
	int64_t n = 0;
	HTH_AUTO_FREE char *attributes = NULL;
	HTH_TRY(hth_json_get_string(body, "file_id", &id, err));
	if (id == NULL)
		return hth_fail_param(err, HTH_INVALID, "file_id", "file_id is missing");
	HTH_TRY(store_read_attributes(body, "attributes", &attributes, err));
	HTH_TRY(check_chunking(body, err));
	HTH_TRY(record_int(r, &n, 0, err, "SELECT count(*) FROM store_file WHERE store = ?1", "s", s->id));
	if (n >= HTH_STORE_FILES_MAX)
		return hth_fail(err, HTH_INVALID, "a vector store has at most %d files", HTH_STORE_FILES_MAX);
	{
		HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_prepare(r, &stmt, err, "SELECT link FROM upload WHERE id = ?1"));
		record_bind_all(stmt, "s", id);
		if (sqlite3_step(stmt) != SQLITE_ROW)
			return hth_fail_param(err, HTH_NOT_FOUND, "file_id", "there is no file '%.80s'; POST /v1/files sends one", id);
		snprintf(link_name, sizeof link_name, "%s", record_text(stmt, 0));
	}
	HTH_TRY(record_do(r, err,
	                  "INSERT INTO store_file (store, upload, attributes, batch, created) VALUES (?1, ?2, ?3, ?4, ?5)"
	                  " ON CONFLICT (store, upload) DO UPDATE SET attributes = ?3, batch = ?4, cancelled = 0",
	                  "ssssi", s->id, id, attributes, batch, hth_clock_unix()));
	hth_status status = link_file(home, s->id, link_name, err);
	if (status != HTH_OK)
		(void)!record_do(r, NULL, "DELETE FROM store_file WHERE store = ?1 AND upload = ?2", "ss", s->id, id);
	*ret_id = id;
	return status;
}

hth_status hth_store_files_add(const char *home, const char *store, const json_t *body, json_t **ret_file, hth_error *err)
{
	store_scope s;
	const char *id;
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, true, &r, &s, err));
	HTH_TRY(add(&r, home, &s, body, NULL, &id, err));
	return get(&r, home, &s, id, ret_file, err);
}

hth_status hth_store_files_update(const char *home, const char *store, const char *id, const json_t *body, json_t **ret_file,
                                  hth_error *err)
{
	store_scope s;
	HTH_AUTO_FREE char *attributes = NULL;
	HTH_TRY(store_read_attributes(body, "attributes", &attributes, err));
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, true, &r, &s, err));
	HTH_TRY(record_do(&r, err, "UPDATE store_file SET attributes = ?3 WHERE store = ?1 AND upload = ?2", "sss", s.id, id, attributes));
	return get(&r, home, &s, id, ret_file, err);
}

/* The row goes (or is cancelled), then the link: the index follows. */
static hth_status take_out(record *r, const char *home, const store_scope *s, const char *id, bool cancel, hth_error *err)
{
	char link_name[HTH_STORE_ID_MAX] = "";
	{
		HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_prepare(r, &stmt, err,
		                       "SELECT link FROM store_file JOIN upload ON upload.id = upload WHERE store = ?1 AND upload = ?2"));
		record_bind_all(stmt, "ss", s->id, id);
		if (sqlite3_step(stmt) != SQLITE_ROW)
			return hth_fail_param(err, HTH_NOT_FOUND, "file_id", "there is no file '%.80s' in %s", id, s->id);
		snprintf(link_name, sizeof link_name, "%s", record_text(stmt, 0));
	}
	HTH_TRY(record_do(r, err,
	                  cancel ? "UPDATE store_file SET cancelled = 1 WHERE store = ?1 AND upload = ?2"
	                         : "DELETE FROM store_file WHERE store = ?1 AND upload = ?2",
	                  "ss", s->id, id));
	store_remove_link(home, s->id, link_name);
	return HTH_OK;
}

hth_status hth_store_files_delete(const char *home, const char *store, const char *id, hth_error *err)
{
	store_scope s;
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, true, &r, &s, err));
	return take_out(&r, home, &s, id, false, err);
}

/* --- batches --- */

static hth_status get_batch(record *r, const char *home, const store_scope *s, const char *id, json_t **ret_batch, hth_error *err)
{
	int64_t created = 0, bytes;
	bool busy;
	HTH_TRY(record_int(r, &created, -1, err, "SELECT created FROM store_batch WHERE id = ?1 AND store = ?2", "ss", id, s->id));
	if (created < 0)
		return hth_fail_param(err, HTH_NOT_FOUND, "batch_id", "there is no file batch '%.80s' in %s", id, s->id);
	json_t *counts = store_counts(r, home, s, id, &bytes, &busy);
	json_int_t total = json_integer_value(json_object_get(counts, "total"));
	bool cancelled = total > 0 && json_integer_value(json_object_get(counts, "cancelled")) > 0;
	*ret_batch = json_pack("{s:s,s:s,s:I,s:s,s:s,s:o}", "id", id, "object", "vector_store.files_batch", "created_at",
	                       (json_int_t)created, "vector_store_id", s->id, "status",
	                       busy ? "in_progress" : cancelled ? "cancelled" : "completed", "file_counts", counts);
	return *ret_batch != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a batch");
}

hth_status hth_store_batches_create(const char *home, const char *store, const json_t *body, json_t **ret_batch, hth_error *err)
{
	store_scope s;
	char id[HTH_STORE_ID_MAX];
	const char *added;
	const json_t *ids = NULL, *files = NULL;
	HTH_TRY(hth_json_get_array(body, "file_ids", &ids, err));
	HTH_TRY(hth_json_get_array(body, "files", &files, err));
	const json_t *list = files != NULL ? files : ids;
	if (json_array_size(list) == 0 || json_array_size(list) > FILES_AT_ONCE_MAX)
		return hth_fail_param(err, HTH_INVALID, "file_ids", "a batch has 1 to %d files, in file_ids or files", FILES_AT_ONCE_MAX);
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, true, &r, &s, err));
	if (!store_id_make("vsfb_", id))
		return hth_fail(err, HTH_INTERNAL, "the system gives no random numbers");
	HTH_TRY(record_do(&r, err, "INSERT INTO store_batch (id, store, created) VALUES (?1, ?2, ?3)", "ssi", id, s.id, hth_clock_unix()));
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *one = json_array_get(list, i), *attributes = json_object_get(body, "attributes");
		HTH_AUTO_JSON json_t *file = files != NULL ? json_incref(one)
		                                           : json_pack("{s:O,s:O*}", "file_id", one, "attributes", attributes);
		HTH_TRY(add(&r, home, &s, file, id, &added, err));
	}
	return get_batch(&r, home, &s, id, ret_batch, err);
}

hth_status hth_store_batches_get(const char *home, const char *store, const char *id, json_t **ret_batch, hth_error *err)
{
	store_scope s;
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, false, &r, &s, err));
	return get_batch(&r, home, &s, id, ret_batch, err);
}

hth_status hth_store_batches_cancel(const char *home, const char *store, const char *id, json_t **ret_batch, hth_error *err)
{
	store_scope s;
	HTH_AUTO_JSON json_t *files = NULL;
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(open_store(home, store, true, &r, &s, err));
	HTH_TRY(hth_store_files_list(home, store, "in_progress", id, &files, err));
	for (size_t i = 0; i < json_array_size(files); i++)
		HTH_TRY(take_out(&r, home, &s, json_string_value(json_object_get(json_array_get(files, i), "id")), true, err));
	return get_batch(&r, home, &s, id, ret_batch, err);
}
