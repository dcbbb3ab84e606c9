/* uploads.c - files that a program sends: kept by a name that is made here, so nothing of the sender's becomes a path; and what stores'
 * files share. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "index/stores-internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = 255, EXTENSION_MAX = 10, METADATA_MAX = 16, ATTRIBUTE_KEY_MAX = 64, ATTRIBUTE_BYTES_MAX = 512, WAIT_MS = 60000 };

/* --- names --- */

bool store_id_make(const char *prefix, char out[HTH_STORE_ID_MAX])
{
	unsigned char bytes[12];
	char hex[sizeof bytes * 2 + 1];
	if (sodium_init() < 0)
		return false;
	randombytes_buf(bytes, sizeof bytes);
	sodium_bin2hex(hex, sizeof hex, bytes, sizeof bytes);
	return snprintf(out, HTH_STORE_ID_MAX, "%s%s", prefix, hex) < HTH_STORE_ID_MAX;
}

bool store_path(const char *home, const char *store, const char *link, char out[HTH_INDEX_PATH_MAX])
{
	int n = store != NULL ? snprintf(out, HTH_INDEX_PATH_MAX, "%s/stores/%s%s%s", home, store, *link ? "/" : "", link)
	                      : snprintf(out, HTH_INDEX_PATH_MAX, "%s/files/%s", home, link);
	return n > 0 && n < HTH_INDEX_PATH_MAX;
}

void store_remove_link(const char *home, const char *store, const char *link)
{
	char path[HTH_INDEX_PATH_MAX];
	if (store_path(home, store, link, path))
		(void)unlink(path);
}

hth_status store_open(const char *home, record *ret_record, hth_error *err)
{
	HTH_TRY(record_open(ret_record, home, true, err));
	/* While the keeper stores what it reads, second by second, there are only moments for others. */
	sqlite3_busy_timeout(ret_record->db, WAIT_MS);
	(void)!stores_expire(ret_record, home, hth_clock_unix(), NULL); /* else the keeper does it, or the next call */
	return HTH_OK;
}

hth_status hth_uploads_folder(const char *home, char *out, size_t out_len, hth_error *err)
{
	if ((size_t)snprintf(out, out_len, "%s/files", home) >= out_len)
		return hth_fail(err, HTH_INVALID, "the path of the home is too long");
	return mkdir(out, 0700) == 0 || errno == EEXIST ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot make %s", out);
}

/* The extension tells the extractor what a plain text is. */
static void make_link_name(const char *id, const char *name, char out[HTH_STORE_ID_MAX])
{
	const char *dot = strrchr(name, '.');
	size_t n = 0;
	char extension[EXTENSION_MAX + 2] = "";
	if (dot != NULL && dot != name && strlen(dot) <= EXTENSION_MAX + 1)
		for (extension[n++] = '.'; dot[n] != '\0'; n++) {
			if (!isalnum((unsigned char)dot[n])) {
				n = 0;
				break;
			}
			extension[n] = (char)tolower((unsigned char)dot[n]);
		}
	extension[n] = '\0';
	snprintf(out, HTH_STORE_ID_MAX, "%s%s", id, extension);
}

/* --- attributes and metadata --- */

hth_status store_read_attributes(const json_t *body, const char *key, char **ret_json, hth_error *err)
{
	const json_t *given = json_object_get(body, key), *value;
	const char *name;
	if (given == NULL || json_is_null(given))
		return (*ret_json = strdup("{}")) != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a request");
	if (!json_is_object(given) || json_object_size(given) > METADATA_MAX)
		return hth_fail_param(err, HTH_INVALID, key, "%s must be an object of at most %d keys", key, METADATA_MAX);
	json_object_foreach((json_t *)(uintptr_t)given, name, value) {
		bool fits = json_is_string(value) ? json_string_length(value) <= ATTRIBUTE_BYTES_MAX : json_is_number(value) ||
		    json_is_boolean(value);
		if (strlen(name) > ATTRIBUTE_KEY_MAX || !fits)
			return hth_fail_param(err, HTH_INVALID, key,
			                      "%s takes keys of at most %d bytes and strings of at most %d, numbers and booleans", key,
			                      ATTRIBUTE_KEY_MAX, ATTRIBUTE_BYTES_MAX);
	}
	*ret_json = json_dumps(given, JSON_COMPACT);
	return *ret_json != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a request");
}

/* --- files --- */

static json_t *as_json(sqlite3_stmt *stmt)
{
	return json_pack("{s:s,s:s,s:I,s:I,s:n,s:s,s:s,s:s,s:n}", "id", record_text(stmt, 0), "object", "file", "bytes",
	                 (json_int_t)sqlite3_column_int64(stmt, 3), "created_at", (json_int_t)sqlite3_column_int64(stmt, 4), "expires_at",
	                 "filename",
	                 record_text(stmt, 1), "purpose", record_text(stmt, 2), "status", "processed", "status_details");
}

hth_status hth_uploads_put(const char *home, const char *path, const char *name, const char *purpose, json_t **ret_file, hth_error *err)
{
	static const char *const purposes[] = {"assistants", "user_data", "batch", "fine-tune", "vision", "evals"};
	char id[HTH_STORE_ID_MAX], link[HTH_STORE_ID_MAX], kept[HTH_INDEX_PATH_MAX];
	struct stat st;
	bool known = false;
	for (size_t i = 0; i < HTH_COUNT(purposes); i++)
		known |= strcmp(purpose, purposes[i]) == 0;
	if (!known)
		return hth_fail_param(err, HTH_INVALID, "purpose",
		                      "purpose is assistants, user_data, batch, fine-tune, vision or evals, not '%.40s'", purpose);
	if (*name == '\0' || strlen(name) > NAME_BYTES_MAX || hth_utf8_valid_prefix(name, strlen(name)) != strlen(name))
		return hth_fail_param(err, HTH_INVALID, "file", "the file needs a name in UTF-8 of at most %d bytes", NAME_BYTES_MAX);
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return hth_fail_errno(err, HTH_IO, errno, "what was sent is gone");
	if ((uint64_t)st.st_size > HTH_UPLOAD_BYTES_MAX)
		return hth_fail_param(err, HTH_INVALID, "file", "a file has at most %llu MiB",
		                      (unsigned long long)(HTH_UPLOAD_BYTES_MAX >> 20));
	if (!store_id_make("file-", id))
		return hth_fail(err, HTH_INTERNAL, "the system gives no random numbers");
	make_link_name(id, name, link);
	HTH_CLEANUP(record_close_p) record r = {0};
	int64_t n = 0;
	HTH_TRY(store_open(home, &r, err));
	HTH_TRY(record_int(&r, &n, 0, err, "SELECT count(*) FROM upload", ""));
	if (n >= HTH_UPLOADS_MAX)
		return hth_fail(err, HTH_INVALID, "there are %d files already; delete some first", HTH_UPLOADS_MAX);
	if (!store_path(home, NULL, link, kept) || rename(path, kept) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot keep what was sent");
	hth_status status = record_do(&r, err, "INSERT INTO upload (id, name, link, purpose, bytes, created) VALUES (?1, ?2, ?3, ?4, ?5, "
	                                       "?6)", "ssssii", id,
	                              name, link, purpose, (int64_t)st.st_size, hth_clock_unix());
	if (status != HTH_OK) {
		(void)unlink(kept);
		return status;
	}
	return hth_uploads_get(home, id, ret_file, err);
}

#define COLUMNS "id, name, purpose, bytes, created"

hth_status hth_uploads_get(const char *home, const char *id, json_t **ret_file, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&r, &stmt, err, "SELECT " COLUMNS " FROM upload WHERE id = ?1"));
	record_bind_all(stmt, "s", id);
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? hth_fail_param(err, HTH_NOT_FOUND, "file_id", "there is no file '%.80s'", id)
		                         : record_fail(&r, rc, "looking for a file", err);
	*ret_file = as_json(stmt);
	return *ret_file != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a file");
}

hth_status hth_uploads_list(const char *home, const char *purpose, json_t **ret_files, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&r, &stmt, err, "SELECT " COLUMNS " FROM upload WHERE ?1 IS NULL OR purpose = ?1 ORDER BY seq"));
	record_bind_all(stmt, "s", purpose);
	HTH_AUTO_JSON json_t *list = json_array();
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		if (json_array_append_new(list, as_json(stmt)) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for files");
	if (rc != SQLITE_DONE)
		return record_fail(&r, rc, "listing files", err);
	*ret_files = json_incref(list);
	return HTH_OK;
}

static hth_status find_link(record *r, const char *id, char link[HTH_STORE_ID_MAX], hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, "SELECT link FROM upload WHERE id = ?1"));
	record_bind_all(stmt, "s", id);
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return hth_fail_param(err, HTH_NOT_FOUND, "file_id", "there is no file '%.80s'", id);
	snprintf(link, HTH_STORE_ID_MAX, "%s", record_text(stmt, 0));
	return HTH_OK;
}

hth_status hth_uploads_open(const char *home, const char *id, int *ret_fd, hth_error *err)
{
	char link[HTH_STORE_ID_MAX], path[HTH_INDEX_PATH_MAX];
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_TRY(find_link(&r, id, link, err));
	int fd = store_path(home, NULL, link, path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "the file %s cannot be opened", id);
	*ret_fd = fd;
	return HTH_OK;
}

hth_status hth_uploads_delete(const char *home, const char *id, hth_error *err)
{
	char link[HTH_STORE_ID_MAX];
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_TRY(store_open(home, &r, err));
	HTH_TRY(find_link(&r, id, link, err));
	HTH_AUTO_JSON json_t *stores = json_array();
	{
		HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_prepare(&r, &stmt, err, "SELECT store FROM store_file WHERE upload = ?1"));
		record_bind_all(stmt, "s", id);
		while (sqlite3_step(stmt) == SQLITE_ROW)
			json_array_append_new(stores, json_string(record_text(stmt, 0)));
	}
	HTH_TRY(record_do(&r, err, "DELETE FROM store_file WHERE upload = ?1", "s", id));
	HTH_TRY(record_do(&r, err, "DELETE FROM upload WHERE id = ?1", "s", id));
	for (size_t i = 0; i < json_array_size(stores); i++)
		store_remove_link(home, json_string_value(json_array_get(stores, i)), link);
	store_remove_link(home, NULL, link);
	return HTH_OK;
}

/* --- after a crash --- */

static void make_missing_links(record *r, const char *home)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	if (record_prepare(r, &stmt, NULL,
	                   "SELECT store, link FROM store_file JOIN upload ON upload.id = store_file.upload WHERE cancelled = 0") != HTH_OK)
		return;
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		char from[HTH_INDEX_PATH_MAX], to[HTH_INDEX_PATH_MAX];
		if (store_path(home, record_text(stmt, 0), "", to))
			(void)mkdir(to, 0700);
		if (store_path(home, NULL, record_text(stmt, 1), from) && store_path(home, record_text(stmt, 0), record_text(stmt, 1), to))
			(void)!link(from, to);
	}
}

static bool is_known(record *r, const char *sql, const char *first, const char *second)
{
	int64_t n = 0;
	return record_int(r, &n, 0, NULL, sql, second != NULL ? "ss" : "s", first, second) != HTH_OK || n > 0;
}

/* What is being received now is minutes old at most. */
static void remove_strangers(record *r, const char *home, const char *store)
{
	char path[HTH_INDEX_PATH_MAX];
	if (!store_path(home, store, "", path))
		return;
	DIR *dir = opendir(path);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		struct stat st;
		if (e->d_name[0] == '.' && (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) ||
		                            time(NULL) - st.st_mtime < 86400))
			continue;
		bool known = store == NULL ? is_known(r, "SELECT count(*) FROM upload WHERE link = ?1", e->d_name, NULL)
		                           : is_known(r, "SELECT count(*) FROM store_file JOIN upload ON upload.id = upload WHERE link = "
		                                         "?1 AND store = ?2 AND cancelled = 0", e->d_name, store);
		if (!known)
			(void)unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir != NULL)
		closedir(dir);
	if (store != NULL)
		(void)rmdir(path); /* one without files is made again when there is one, or was deleted */
}

void hth_stores_mend(const char *home)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	char path[HTH_INDEX_PATH_MAX];
	if (record_open(&r, home, false, NULL) != HTH_OK)
		return;
	remove_strangers(&r, home, NULL);
	if (store_path(home, "", "", path)) {
		DIR *dir = opendir(path);
		for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
			if (strncmp(e->d_name, "vs_", 3) == 0)
				remove_strangers(&r, home, e->d_name);
		if (dir != NULL)
			closedir(dir);
	}
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	if (record_prepare(&r, &stmt, NULL, "SELECT id FROM store") == HTH_OK)
		while (sqlite3_step(stmt) == SQLITE_ROW)
			if (store_path(home, record_text(stmt, 0), "", path))
				(void)mkdir(path, 0700);
	make_missing_links(&r, home);
}
