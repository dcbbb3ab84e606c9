/* index-record.c - record.db: opening it, its schema, and what is done to it in more than one place. */
#include "index/index-record.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* One entry per version; never edit one that was released. */
static const char *const migrations[] = {
    "CREATE TABLE folder (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, shared INTEGER NOT NULL, removed INTEGER "
    "NOT NULL DEFAULT 0,"
    " missing INTEGER NOT NULL DEFAULT 0, dev INTEGER NOT NULL DEFAULT 0, unchanged INTEGER NOT NULL DEFAULT 0,"
    " skipped INTEGER NOT NULL DEFAULT 0, added INTEGER NOT NULL) STRICT;"
    "CREATE TABLE document (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, reason TEXT NOT "
    "NULL,"
    " pages INTEGER NOT NULL, text_bytes INTEGER NOT NULL) STRICT;"
    "CREATE TABLE part (document INTEGER NOT NULL, number INTEGER NOT NULL, parent INTEGER NOT NULL, kind INTEGER NOT "
    "NULL,"
    " date INTEGER NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL, author TEXT NOT NULL, first INTEGER NOT NULL, "
    "last INTEGER NOT NULL,"
    " PRIMARY KEY (document, number)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE file (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, path TEXT NOT NULL, dev INTEGER NOT NULL, "
    "inode INTEGER NOT NULL,"
    " size INTEGER NOT NULL, mtime INTEGER NOT NULL, state INTEGER NOT NULL, reason TEXT NOT NULL, document INTEGER,"
    " not_before INTEGER NOT NULL DEFAULT 0, UNIQUE (folder, path)) STRICT;"
    "CREATE INDEX file_document ON file (document);"
    "CREATE INDEX file_state ON file (state, not_before);"
    "CREATE INDEX file_inode ON file (inode, dev);"
    /* AUTOINCREMENT: no number is used twice, or the word index would take a new passage for a removed one. */
    "CREATE TABLE passage (id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL, part INTEGER NOT NULL, "
    "page INTEGER NOT NULL,"
    " box INTEGER, language INTEGER NOT NULL, text TEXT NOT NULL) STRICT;"
    "CREATE INDEX passage_document ON passage (document);"
    "CREATE TABLE removed (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;"
    "CREATE TABLE total (name TEXT PRIMARY KEY, value REAL NOT NULL) STRICT;",
    "ALTER TABLE folder ADD COLUMN away INTEGER NOT NULL DEFAULT 0;"
    /* Directories within a folder on which another disk was mounted when it was last looked through. */
    "CREATE TABLE mount (folder INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY (folder, path)) STRICT, WITHOUT ROWID;",
    /* The passage of its name (names.c); 0: to be made; -1: it has none. */
    "ALTER TABLE file ADD COLUMN name INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX file_unnamed ON file (id) WHERE name = 0 AND document IS NOT NULL;"
    "CREATE INDEX file_name ON file (name) WHERE name > 0;"
    /* The last step of a path is its name: another folder of the same name changes nothing. */
    "CREATE TRIGGER file_renamed AFTER UPDATE OF path, document ON file WHEN old.name <> 0 AND (new.document IS NOT old.document OR"
    " substr(new.path, length(rtrim(new.path, replace(new.path, '/', ''))) + 1) <> substr(old.path, length(rtrim(old.path, "
    "replace(old.path, '/', ''))) + 1)) BEGIN  INSERT INTO removed (first, last) SELECT old.name, old.name WHERE old.name > 0 ON CONFLICT "
    "(first) DO NOTHING;  DELETE FROM passage WHERE id = old.name;  UPDATE file SET name = 0 WHERE id = new.id; END;CREATE TRIGGER "
    "file_gone AFTER DELETE ON file WHEN old.name > 0 BEGIN  INSERT INTO removed (first, last) VALUES (old.name, old.name) ON CONFLICT "
    "(first) DO NOTHING;  DELETE FROM passage WHERE id = old.name; END;",
    /* Files that programs send and the vector stores that they are in (stores.h). A store's folder has its id, the household's have
     * none. */
    "ALTER TABLE folder ADD COLUMN store TEXT;"
    "CREATE TABLE upload (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, link TEXT NOT NULL, purpose "
    "TEXT NOT NULL, bytes INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;CREATE INDEX upload_link ON upload (link);CREATE TABLE store "
    "(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, metadata TEXT NOT NULL, created INTEGER NOT "
    "NULL) STRICT;CREATE TABLE store_file (seq INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, upload TEXT NOT NULL, attributes "
    "TEXT NOT NULL, batch TEXT, cancelled INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, UNIQUE (store, upload)) STRICT;CREATE "
    "INDEX store_file_upload ON store_file (upload);CREATE TABLE store_batch (id TEXT PRIMARY KEY, store TEXT NOT NULL, created INTEGER "
    "NOT NULL) STRICT, WITHOUT ROWID;",
    "ALTER TABLE passage ADD COLUMN places BLOB;", /* of its blocks (passages.h); NULL: one block, or none has a box */
    /* With the part, so that filters need not read the texts. */
    "CREATE INDEX passage_part ON passage (document, part);"
    "DROP INDEX passage_document;"
    /* Which files' rows have changed lately, for those who keep what they say in memory (passage-filter.c). */
    "CREATE TABLE file_change (seq INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL) STRICT;"
    "CREATE TRIGGER file_change_added AFTER INSERT ON file"
    " BEGIN INSERT INTO file_change (file) VALUES (new.id); END;"
    "CREATE TRIGGER file_change_updated AFTER UPDATE OF folder, path, document, mtime ON file WHEN new.folder IS NOT old.folder"
    " OR new.path IS NOT old.path OR new.document IS NOT old.document OR new.mtime IS NOT old.mtime"
    " BEGIN INSERT INTO file_change (file) VALUES (new.id); END;"
    "CREATE TRIGGER file_change_removed AFTER DELETE ON file"
    " BEGIN INSERT INTO file_change (file) VALUES (old.id); END;"
    "CREATE TRIGGER file_change_short AFTER INSERT ON file_change WHEN new.seq % 256 = 0"
    " BEGIN DELETE FROM file_change WHERE seq <= new.seq - 50000; END;"
    "INSERT INTO total (name, value) VALUES ('identity', abs(random() % 1000000000000000));",
    /* When a store goes by itself: so many days (0: never) after it was last used. */
    "ALTER TABLE store ADD COLUMN expires_days INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE store ADD COLUMN active INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE store ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;"
    "UPDATE store SET active = created;",
    /* How long a content is (0: not known), and from which byte and after which part on its pictures were not looked at (mbox-growth.c). */
    "ALTER TABLE document ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE document ADD COLUMN ocr_from INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE document ADD COLUMN ocr_parts INTEGER NOT NULL DEFAULT 0;",
    /* Who read it was killed: that says nothing of the content. */
    "ALTER TABLE document ADD COLUMN killed INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX document_killed ON document (id) WHERE killed = 1;",
};

hth_status record_fail(record *r, int rc, const char *doing, hth_error *err)
{
	rc &= 0xff;
	if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
		return hth_fail(err, HTH_BUSY, "%s: the index's record is locked by another process; try again", doing);
	if (rc == SQLITE_FULL)
		return hth_fail(err, HTH_IO, "%s: the disk that holds the index is full", doing);
	if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "%s: the index's record is damaged; remove the folder `index` in the home and add the "
		                "folders again (files that programs have sent go with it)",
		                doing);
	return hth_fail(err, rc == SQLITE_NOMEM ? HTH_NO_MEMORY : HTH_IO, "%s: %s", doing, sqlite3_errmsg(r->db));
}

hth_status record_prepare(record *r, sqlite3_stmt **ret_stmt, hth_error *err, const char *sql)
{
	int rc = sqlite3_prepare_v2(r->db, sql, -1, ret_stmt, NULL);
	return rc == SQLITE_OK ? HTH_OK : record_fail(r, rc, "asking the index's record", err);
}

hth_status record_run(record *r, hth_error *err, const char *sql)
{
	int rc = sqlite3_exec(r->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? HTH_OK : record_fail(r, rc, "changing the index's record", err);
}

void record_bind(sqlite3_stmt *stmt, const char *kinds, va_list args)
{
	for (int i = 1; *kinds != '\0'; kinds++, i++) {
		if (*kinds == 'i') {
			sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
		} else if (*kinds == 's') {
			sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
		} else {
			const void *bytes = va_arg(args, const void *);
			sqlite3_bind_blob64(stmt, i, bytes, va_arg(args, size_t), SQLITE_TRANSIENT);
		}
	}
}

void record_bind_all(sqlite3_stmt *stmt, const char *kinds, ...)
{
	va_list args;
	va_start(args, kinds);
	record_bind(stmt, kinds, args);
	va_end(args);
}

hth_status record_do(record *r, hth_error *err, const char *sql, const char *kinds, ...)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, sql));
	va_list args;
	va_start(args, kinds);
	record_bind(stmt, kinds, args);
	va_end(args);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		;
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "changing the index's record", err);
}

hth_status record_int(record *r, int64_t *ret_value, int64_t otherwise, hth_error *err, const char *sql, const char *kinds, ...)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, sql));
	va_list args;
	va_start(args, kinds);
	record_bind(stmt, kinds, args);
	va_end(args);
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return record_fail(r, rc, "reading the index's record", err);
	*ret_value = rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL ? sqlite3_column_int64(stmt, 0) : otherwise;
	return HTH_OK;
}

static hth_status migrate(record *r, hth_error *err)
{
	int64_t version = 0;
	HTH_TRY(record_int(r, &version, 0, err, "PRAGMA user_version", ""));
	if (version == (int64_t)HTH_COUNT(migrations))
		return HTH_OK;
	HTH_TRY(record_run(r, err, "BEGIN IMMEDIATE"));
	hth_status status = record_int(r, &version, 0, err, "PRAGMA user_version", "");
	if (status == HTH_OK && version > (int64_t)HTH_COUNT(migrations))
		status = hth_fail(err, HTH_UNSUPPORTED,
		                  "the index was written by a newer Hearth (schema %lld, this one knows %zu); update Hearth",
		                  (long long)version, HTH_COUNT(migrations));
	for (; status == HTH_OK && version < (int64_t)HTH_COUNT(migrations); version++) {
		char pragma[64];
		snprintf(pragma, sizeof pragma, "PRAGMA user_version = %lld", (long long)version + 1);
		status = record_run(r, err, migrations[version]);
		if (status == HTH_OK)
			status = record_run(r, err, pragma);
	}
	if (status == HTH_OK)
		status = record_run(r, err, "COMMIT");
	if (status != HTH_OK)
		(void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
	return status;
}

enum { OPENING_MS = 5000, OPENING_STEP_MS = 5 };

/* Turning a new database to WAL does not wait for a lock as other statements do (sqlite.org/wal.html), so this does. */
static hth_status set_up(record *r, hth_error *err)
{
	int rc;
	for (int waited = 0;; waited += OPENING_STEP_MS) {
		rc = sqlite3_exec(r->db,
		                  "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; "
		                  "PRAGMA trusted_schema = OFF;"
		                  "PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;",
		                  NULL, NULL, NULL);
		if ((rc & 0xff) != SQLITE_BUSY || waited >= OPENING_MS)
			return rc == SQLITE_OK ? HTH_OK : record_fail(r, rc, "opening the index's record", err);
		sqlite3_sleep(OPENING_STEP_MS);
	}
}

hth_status record_open(record *ret_record, const char *home, bool make, hth_error *err)
{
	char path[HTH_INDEX_PATH_MAX + 32];
	if ((size_t)snprintf(path, sizeof path, "%s/index/record.db", home) >= HTH_INDEX_PATH_MAX)
		return hth_fail(err, HTH_INVALID, "the path of the home is too long: %s", home);
	if (make) {
		for (char *c = path + 1; (c = strchr(c, '/')) != NULL; c++) {
			*c = '\0';
			int failed = mkdir(path, 0700) != 0 && errno != EEXIST ? errno : 0;
			*c = '/';
			if (failed != 0 && failed != EROFS)
				return hth_fail_errno(err, HTH_IO, failed, "cannot make the folder of %s", path);
		}
		/* So that nobody else could read it even for a moment. One that is there is not opened: closing would
		 * drop SQLite's locks. */
		int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
		if (fd >= 0)
			close(fd);
	} else if (access(path, F_OK) != 0) {
		return hth_fail(err, HTH_NOT_FOUND, "nothing is indexed yet; `hearth index add DIR` begins");
	}
	record r = {0};
	int rc = sqlite3_open_v2(path, &r.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	hth_status status = rc == SQLITE_OK ? HTH_OK : record_fail(&r, rc, "opening the index's record", err);
	if (status == HTH_OK) {
		sqlite3_busy_timeout(r.db, 10000);
		status = set_up(&r, err);
	}
	if (status == HTH_OK)
		status = migrate(&r, err);
	if (status != HTH_OK) {
		record_close(&r);
		return status;
	}
	*ret_record = r;
	return HTH_OK;
}

void record_close(record *r)
{
	for (size_t i = 0; i < HTH_COUNT(r->kept); i++)
		sqlite3_finalize(r->kept[i].stmt);
	sqlite3_close(r->db);
	*r = (record){0};
}

hth_status record_borrow(record *r, sqlite3_stmt **ret_stmt, hth_error *err, const char *sql)
{
	size_t at = 0;
	while (at < HTH_COUNT(r->kept) - 1 && r->kept[at].stmt != NULL && r->kept[at].sql != sql)
		at++;
	if (r->kept[at].stmt == NULL || r->kept[at].sql != sql) {
		sqlite3_finalize(r->kept[at].stmt);
		r->kept[at].stmt = NULL;
		HTH_TRY(record_prepare(r, &r->kept[at].stmt, err, sql));
		r->kept[at].sql = sql;
	}
	*ret_stmt = r->kept[at].stmt;
	return HTH_OK;
}

bool record_path(char out[HTH_INDEX_PATH_MAX], const char *folder, const char *rel)
{
	const char *between = rel[0] == '\0' || strcmp(folder, "/") == 0 ? "" : "/";
	return (size_t)snprintf(out, HTH_INDEX_PATH_MAX, "%s%s%s", folder, between, rel) < HTH_INDEX_PATH_MAX;
}

hth_status record_document_id(record *r, int64_t document, char ret_id[HTH_INDEX_ID_LEN + 1], hth_error *err)
{
	static const char sql[] = "SELECT hash FROM document WHERE id = ?1";
	HTH_CLEANUP(record_return_p) sqlite3_stmt *stmt = NULL;
	ret_id[0] = '\0';
	HTH_TRY(record_borrow(r, &stmt, err, sql));
	sqlite3_bind_int64(stmt, 1, document);
	if (sqlite3_step(stmt) != SQLITE_ROW || sqlite3_column_bytes(stmt, 0) < HTH_INDEX_ID_LEN / 2)
		return HTH_OK;
	const unsigned char *hash = sqlite3_column_blob(stmt, 0);
	for (int i = 0; i < HTH_INDEX_ID_LEN / 2; i++)
		snprintf(ret_id + 2 * i, 3, "%02x", hash[i]);
	return HTH_OK;
}

hth_status record_find_document(record *r, const char *id, int64_t *ret_document, hth_error *err)
{
	unsigned char first[HTH_INDEX_ID_LEN], last[HTH_INDEX_ID_LEN];
	size_t n = strnlen(id, HTH_INDEX_ID_LEN + 1);
	memset(first, 0, sizeof first);
	memset(last, 0xff, sizeof last);
	if (n != HTH_INDEX_ID_LEN || strspn(id, "0123456789abcdef") != n)
		return hth_fail(err, HTH_NOT_FOUND, "there is no such document here");
	for (size_t i = 0; i < n; i++) {
		unsigned digit = id[i] <= '9' ? (unsigned)(id[i] - '0') : (unsigned)(id[i] - 'a' + 10);
		first[i / 2] = last[i / 2] = (unsigned char)(i % 2 == 0 ? digit << 4 : (first[i / 2] | digit));
	}
	int64_t document = 0;
	HTH_TRY(record_int(r, &document, 0, err, "SELECT id FROM document WHERE hash BETWEEN ?1 AND ?2 LIMIT 1", "bb", first, sizeof first,
	                   last, sizeof last));
	if (document == 0)
		return hth_fail(err, HTH_NOT_FOUND, "there is no such document here");
	*ret_document = document;
	return HTH_OK;
}

hth_status record_drop_document(record *r, int64_t document, hth_error *err)
{
	int64_t used = 0;
	HTH_TRY(record_int(r, &used, 0, err, "SELECT 1 FROM file WHERE document = ?1 LIMIT 1", "i", document));
	if (used != 0)
		return HTH_OK;
	/* Passages of one reading are neighbours; a document has one or two readings (text, OCR). */
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err, "SELECT id FROM passage WHERE document = ?1 ORDER BY id"));
	sqlite3_bind_int64(stmt, 1, document);
	int64_t first = 0, last = 0;
	for (;;) {
		int rc = sqlite3_step(stmt);
		if (rc != SQLITE_ROW && rc != SQLITE_DONE)
			return record_fail(r, rc, "removing a document", err);
		int64_t id = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
		if (first > 0 && id != last + 1) {
			HTH_TRY(record_do(r, err, "INSERT OR REPLACE INTO removed (first, last) VALUES (?1, ?2)", "ii", first, last));
			first = 0;
		}
		if (id < 0)
			break;
		if (first == 0)
			first = id;
		last = id;
	}
	HTH_TRY(record_do(r, err, "DELETE FROM passage WHERE document = ?1", "i", document));
	HTH_TRY(record_do(r, err, "DELETE FROM part WHERE document = ?1", "i", document));
	return record_do(r, err, "DELETE FROM document WHERE id = ?1", "i", document);
}

hth_status record_drop_file(record *r, int64_t file, hth_error *err)
{
	int64_t document = 0;
	HTH_TRY(record_int(r, &document, 0, err, "SELECT document FROM file WHERE id = ?1", "i", file));
	HTH_TRY(record_do(r, err, "DELETE FROM file WHERE id = ?1", "i", file));
	return document > 0 ? record_drop_document(r, document, err) : HTH_OK;
}

hth_status record_forget_document(record *r, int64_t document, hth_error *err)
{
	HTH_TRY(record_do(r, err, "UPDATE file SET state = 0, reason = '', document = NULL, not_before = 0 WHERE document = ?1", "i",
	                  document));
	return record_drop_document(r, document, err);
}

static hth_status learnt(record *r, int64_t reads, hth_error *err)
{
	int64_t id = 0;
	for (;;) {
		HTH_TRY(record_int(r, &id, 0, err, "SELECT min(id) FROM document WHERE id > ?1 AND state IN (?2, ?3)", "iii", id,
		                   (int64_t)HTH_INDEX_UNREADABLE, (int64_t)HTH_INDEX_EXCLUDED));
		if (id == 0)
			break;
		HTH_TRY(record_forget_document(r, id, err));
	}
	return record_do(r, err, "INSERT INTO total (name, value) VALUES ('reads', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1", "i",
	                 reads);
}

static hth_status read_again(record *r, int64_t reads, hth_error *err)
{
	int64_t before = 0, id = 0;
	HTH_TRY(record_do(r, err, "UPDATE file SET state = 0, reason = '', not_before = 0 WHERE state = ?1 AND document IS NULL", "i",
	                  (int64_t)HTH_INDEX_UNREADABLE));
	for (;;) {
		HTH_TRY(record_int(r, &id, 0, err, "SELECT min(id) FROM document WHERE id > ?1 AND killed = 1", "i", id));
		if (id == 0)
			break;
		HTH_TRY(record_forget_document(r, id, err));
	}
	HTH_TRY(record_int(r, &before, 0, err, "SELECT CAST(value AS INTEGER) FROM total WHERE name = 'reads'", ""));
	return before < reads ? learnt(r, reads, err) : HTH_OK;
}

hth_status record_read_again(record *r, int64_t reads, hth_error *err)
{
	HTH_TRY(record_run(r, err, "BEGIN IMMEDIATE"));
	hth_status status = read_again(r, reads, err);
	if (status == HTH_OK)
		status = record_run(r, err, "COMMIT");
	if (status != HTH_OK)
		(void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
	return status;
}
