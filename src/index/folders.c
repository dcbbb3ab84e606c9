/* folders.c - naming folders and telling how they are: what any process may do beside the keeper. */
#include "base/clock.h"
#include "base/mem.h"
#include "index/index-record.h"
#include "index/vectors.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

const char *hth_index_state_name(hth_index_state state)
{
	static const char *const names[HTH_INDEX_STATE_COUNT] = {"waiting", "indexed", "waiting_ocr", "unreadable", "excluded"};
	return (unsigned)state < HTH_INDEX_STATE_COUNT ? names[state] : "unknown";
}

static bool is_within(const char *path, const char *folder)
{
	size_t n = strlen(folder);
	return strcmp(folder, "/") == 0 || (strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0'));
}

static hth_status check_apart(record *r, const char *path, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, "SELECT path FROM folder WHERE removed = 0 AND store IS NULL"));
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *other = record_text(stmt, 0);
		if (strcmp(path, other) == 0)
			continue;
		if (is_within(path, other))
			return hth_fail(err, HTH_CONFLICT, "%s is within %s, which is indexed already", path, other);
		if (is_within(other, path))
			return hth_fail(err, HTH_CONFLICT, "%s is within %s and indexed already; remove it first", other, path);
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "reading the index's folders", err);
}

hth_status hth_index_folder_add(const char *home, const char *path, bool shared, hth_error *err)
{
	char whole[PATH_MAX], own[PATH_MAX];
	if (realpath(path, whole) == NULL)
		return hth_fail_errno(err, errno == ENOENT || errno == ENOTDIR ? HTH_NOT_FOUND : HTH_IO, errno, "cannot index %s", path);
	struct stat st;
	if (stat(whole, &st) != 0 || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
		return hth_fail(err, HTH_INVALID, "%s is neither a folder nor a file", whole);
	if (access(whole, S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK) != 0)
		return hth_fail_errno(err, HTH_DENIED, errno, "cannot read %s", whole);
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(record_open(&r, home, true, err));
	if (realpath(home, own) != NULL && is_within(whole, own))
		return hth_fail(err, HTH_INVALID, "%s is part of Hearth's own home", whole);
	HTH_TRY(record_run(&r, err, "BEGIN IMMEDIATE"));
	hth_status status = check_apart(&r, whole, err);
	if (status == HTH_OK) /* one that was removed a moment ago, and whose traces still go, comes back as it is */
		status = record_do(&r, err,
		                   "INSERT INTO folder (path, shared, dev, added) VALUES (?1, ?2, ?3, ?4)"
		                   " ON CONFLICT (path) DO UPDATE SET shared = ?2, removed = 0",
		                   "siii", whole, (int64_t)shared, (int64_t)st.st_dev, hth_clock_unix());
	if (status == HTH_OK)
		status = record_run(&r, err, "COMMIT");
	if (status != HTH_OK)
		(void)sqlite3_exec(r.db, "ROLLBACK", NULL, NULL, NULL);
	return status;
}

hth_status hth_index_folder_remove(const char *home, const char *path, hth_error *err)
{
	char whole[PATH_MAX];
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(record_open(&r, home, false, err));
	/* A folder that is gone from the disk is removed by the name it had. */
	const char *names[2] = {realpath(path, whole) != NULL ? whole : path, path};
	for (size_t i = 0; i < 2; i++) {
		HTH_TRY(record_do(&r, err, "UPDATE folder SET removed = 1 WHERE path = ?1 AND removed = 0 AND store IS NULL", "s",
		                  names[i]));
		if (sqlite3_changes(r.db) > 0)
			return HTH_OK;
	}
	return hth_fail(err, HTH_NOT_FOUND, "%s is no indexed folder; `hearth index status` lists them", path);
}

hth_status hth_index_each_folder(const char *home, hth_index_folder_fn fn, void *ctx, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	hth_status status = record_open(&r, home, false, err);
	if (status != HTH_OK)
		return status == HTH_NOT_FOUND ? HTH_OK : status;
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&r, &stmt, err,
	                       "SELECT path, shared, missing, (SELECT count(*) FROM file WHERE folder = folder.id), away "
	                       "FROM folder WHERE removed = 0 AND store IS NULL ORDER BY path"));
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		fn(ctx, record_text(stmt, 0), sqlite3_column_int(stmt, 1) != 0, sqlite3_column_int(stmt, 2) != 0,
		   (uint64_t)sqlite3_column_int64(stmt, 3), (uint64_t)sqlite3_column_int64(stmt, 4));
	return rc == SQLITE_DONE ? HTH_OK : record_fail(&r, rc, "reading the index's folders", err);
}

hth_status hth_index_each_file(const char *home, hth_index_state state, size_t limit, hth_index_file_fn fn, void *ctx, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	hth_status status = record_open(&r, home, false, err);
	if (status != HTH_OK)
		return status == HTH_NOT_FOUND ? HTH_OK : status;
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&r, &stmt, err,
	                       "SELECT folder.path, file.path, file.reason FROM file JOIN folder ON folder.id = file.folder"
	                       " WHERE file.state = ?1 AND folder.removed = 0 AND folder.store IS NULL ORDER BY folder.path, file.path "
	                       "LIMIT ?2"));
	sqlite3_bind_int64(stmt, 1, state);
	sqlite3_bind_int64(stmt, 2, (int64_t)HTH_MIN(limit, (size_t)1000000));
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		char path[HTH_INDEX_PATH_MAX];
		if (record_path(path, record_text(stmt, 0), record_text(stmt, 1)))
			fn(ctx, path, record_text(stmt, 2));
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(&r, rc, "reading the index's files", err);
}

hth_status index_read_status(const char *home, hth_index_status *s, hth_error *err);
hth_status index_read_status(const char *home, hth_index_status *s, hth_error *err)
{
	*s = (hth_index_status){0};
	HTH_CLEANUP(record_close_p) record r = {0};
	hth_status status = record_open(&r, home, false, err);
	if (status != HTH_OK)
		return status == HTH_NOT_FOUND ? HTH_OK : status;
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&r, &stmt, err,
	                       "SELECT state, store IS NOT NULL, count(*) FROM file JOIN folder ON folder.id = file.folder WHERE removed = "
	                       "0 GROUP BY 1, 2"));
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		unsigned state = (unsigned)sqlite3_column_int(stmt, 0);
		if (state < HTH_INDEX_STATE_COUNT)
			(sqlite3_column_int(stmt, 1) != 0 ? s->store_files : s->files)[state] = (uint64_t)sqlite3_column_int64(stmt, 2);
	}
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *sums = NULL;
	HTH_TRY(record_prepare(&r, &sums, err,
	                       "SELECT count(*), coalesce(sum(missing), 0), coalesce(sum(unchanged), 0), coalesce(sum(skipped), 0),"
	                       " (SELECT count(*) FROM document), (SELECT coalesce(sum(text_bytes), 0) FROM document),"
	                       " (SELECT coalesce(sum(pages), 0) FROM document), (SELECT count(*) FROM passage) - (SELECT count(*) FROM "
	                       "file WHERE name > 0), (SELECT value FROM total WHERE name = 'cpu_seconds'), coalesce(sum(away), 0), "
	                       "(SELECT value FROM total WHERE name = 'opened'), (SELECT value FROM total WHERE name = 'extracted'), "
	                       "(SELECT value FROM total WHERE name = 'metered_joules'), (SELECT value FROM total WHERE name = "
	                       "'metered_cpu_seconds'), (SELECT value FROM total WHERE name = 'pages_read'), min(added) FROM folder WHERE "
	                       "removed = 0 AND store IS NULL"));
	if (sqlite3_step(sums) == SQLITE_ROW) {
		s->folders = (uint32_t)sqlite3_column_int64(sums, 0);
		s->missing_folders = (uint32_t)sqlite3_column_int64(sums, 1);
		s->unchanged = (uint64_t)sqlite3_column_int64(sums, 2);
		s->skipped = (uint64_t)sqlite3_column_int64(sums, 3);
		s->documents = (uint64_t)sqlite3_column_int64(sums, 4);
		s->text_bytes = (uint64_t)sqlite3_column_int64(sums, 5);
		s->pages = (uint64_t)sqlite3_column_int64(sums, 6);
		s->passages = (uint64_t)sqlite3_column_int64(sums, 7);
		s->cpu_seconds = sqlite3_column_double(sums, 8);
		s->away = (uint64_t)sqlite3_column_int64(sums, 9);
		s->opened = (uint64_t)sqlite3_column_int64(sums, 10);
		s->extracted = (uint64_t)sqlite3_column_int64(sums, 11);
		s->metered_joules = sqlite3_column_double(sums, 12);
		s->metered_cpu_seconds = sqlite3_column_double(sums, 13);
		s->pages_read = HTH_MAX((uint64_t)sqlite3_column_int64(sums, 14), s->pages); /* an index of before they were counted */
		s->since_unix = sqlite3_column_int64(sums, 15);
	}
	char words_folder[HTH_INDEX_PATH_MAX];
	snprintf(words_folder, sizeof words_folder, "%.4000s/index/words", home);
	hth_words *words;
	if (hth_words_open(&words, words_folder, &(hth_words_options){0}, NULL) == HTH_OK) {
		hth_words_info info;
		hth_words_get_info(words, &info);
		s->word_bytes = info.bytes;
		hth_words_close(words);
	}
	snprintf(words_folder, sizeof words_folder, "%.4000s/index/vectors", home);
	hth_vectors *vectors;
	if (hth_vectors_open(&vectors, words_folder, &(hth_vectors_options){0}, NULL) == HTH_OK) {
		hth_vectors_info info;
		hth_vectors_get_info(vectors, &info);
		s->vectors = info.vectors;
		s->vector_bytes = info.bytes;
		snprintf(s->vector_model, sizeof s->vector_model, "%s", info.model);
		hth_vectors_close(vectors);
	}
	return HTH_OK;
}
