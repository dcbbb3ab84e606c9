/* store.c - opening the database, bringing its schema up to date, and the small helpers its tables share. */
#include "store/store.h"

#include "base/mem.h"
#include "store/store-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

/* One entry per version; each brings version i to i + 1. Never edit one that was released: add another. */
static const char *const migrations[] = {
    "CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;"
    "CREATE TABLE key (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash BLOB NOT NULL UNIQUE, scopes INTEGER NOT NULL,"
    " per_minute INTEGER NOT NULL, privacy INTEGER NOT NULL, created INTEGER NOT NULL, last_used INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE egress (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, host TEXT NOT NULL, reason TEXT NOT NULL,"
    " sent INTEGER NOT NULL, received INTEGER NOT NULL, allowed INTEGER NOT NULL) STRICT;",
    "CREATE TABLE digest (device INTEGER NOT NULL, inode INTEGER NOT NULL, bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL, sha256 "
    "TEXT NOT NULL, PRIMARY KEY (device, inode)) STRICT;",
    "CREATE TABLE receipt (giver BLOB NOT NULL, taker BLOB NOT NULL, sequence INTEGER NOT NULL, entry BLOB NOT NULL,"
    " PRIMARY KEY (giver, taker, sequence)) STRICT, WITHOUT ROWID;",
    "ALTER TABLE egress ADD COLUMN class TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE egress ADD COLUMN hash BLOB;", /* NULL: written before there was a chain */
    "ALTER TABLE key ADD COLUMN context INTEGER NOT NULL DEFAULT 0;",
};

hth_status store_fail(hth_store *store, int rc, const char *doing, hth_error *err)
{
	if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
		return hth_fail(err, HTH_BUSY, "%s: the home's database is locked by another process; try again", doing);
	if (rc == SQLITE_FULL)
		return hth_fail(err, HTH_IO, "%s: the disk that holds the home's database is full", doing);
	if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
		return hth_fail(err, HTH_BAD_FORMAT,
		                "%s: hearth.db is damaged; move it aside (keys and logs are lost) or restore a backup", doing);
	return hth_fail(err, rc == SQLITE_NOMEM ? HTH_NO_MEMORY : HTH_IO, "%s: %s", doing, sqlite3_errmsg(store->db));
}

hth_status store_prepare(hth_store *store, const char *sql, sqlite3_stmt **ret_stmt, hth_error *err)
{
	int rc = sqlite3_prepare_v2(store->db, sql, -1, ret_stmt, NULL);
	return rc == SQLITE_OK ? HTH_OK : store_fail(store, rc, "preparing a query", err);
}

static hth_status execute(hth_store *store, const char *sql, const char *doing, hth_error *err)
{
	int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? HTH_OK : store_fail(store, rc, doing, err);
}

enum { OPENING_MS = 5000, OPENING_STEP_MS = 5 };

/* Sets the connection up. Turning a new database to WAL asks for a lock without waiting for it as other statements do
 * (sqlite.org/wal.html, "Sometimes queries return SQLITE_BUSY"), so where several processes start together we wait. */
static hth_status set_up(hth_store *store, hth_error *err)
{
	for (int waited = 0;; waited += OPENING_STEP_MS) {
		hth_error tried = HTH_ERROR_INIT;
		hth_status status = execute(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
		                            "PRAGMA trusted_schema = OFF; PRAGMA cache_size = -512;",
		                            "opening the database", &tried);
		if (status != HTH_BUSY || waited >= OPENING_MS) {
			if (status != HTH_OK && err != NULL)
				*err = tried;
			return status;
		}
		nanosleep(&(struct timespec){.tv_nsec = OPENING_STEP_MS * 1000000L}, NULL);
	}
}

static hth_status user_version(hth_store *store, int *ret_version, hth_error *err)
{
	HTH_CLEANUP(store_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(store_prepare(store, "PRAGMA user_version", &stmt, err));
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW)
		return store_fail(store, rc, "reading the schema's version", err);
	*ret_version = sqlite3_column_int(stmt, 0);
	return HTH_OK;
}

static hth_status migrate(hth_store *store, hth_error *err)
{
	/* The lock comes first, so that two processes starting together do not both migrate. */
	HTH_TRY(execute(store, "BEGIN IMMEDIATE", "locking the database", err));
	int version = 0;
	hth_status status = user_version(store, &version, err);
	if (status == HTH_OK && version > (int)HTH_COUNT(migrations))
		status = hth_fail(err, HTH_UNSUPPORTED,
		                  "hearth.db was written by a newer Hearth (schema %d, this one knows %zu); update Hearth", version,
		                  HTH_COUNT(migrations));
	for (; status == HTH_OK && version < (int)HTH_COUNT(migrations); version++) {
		char pragma[64];
		snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version + 1);
		status = execute(store, migrations[version], "updating the database's schema", err);
		if (status == HTH_OK)
			status = execute(store, pragma, "updating the database's schema", err);
	}
	if (status != HTH_OK) {
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
		return status;
	}
	return execute(store, "COMMIT", "updating the database's schema", err);
}

/* Made here, so that nobody else could read it even for a moment: SQLite would use the umask. A file that is there is not opened:
 * closing any descriptor of it would drop the locks that this process's other handles have on it (POSIX locks belong to the
 * process), another process would then think itself alone and take the WAL away from under them. */
static hth_status make_file(const char *path, hth_error *err)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&mutex); /* nobody opens it between its making and the close */
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), e = errno;
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&mutex);
	return fd >= 0 || e == EEXIST ? HTH_OK : hth_fail_errno(err, HTH_IO, e, "cannot make %s", path);
}

hth_status hth_store_open(hth_store **ret_store, const char *home, hth_error *err)
{
	if (sodium_init() < 0)
		return hth_fail(err, HTH_INTERNAL, "libsodium could not start");
	char path[4096];
	if ((size_t)snprintf(path, sizeof path, "%s/hearth.db", home) >= sizeof path)
		return hth_fail(err, HTH_INVALID, "the path of the home is too long: %s", home);
	/* With its parents, which need not be there on a new account. */
	for (char *c = path + 1; (c = strchr(c, '/')) != NULL; c++) {
		*c = '\0';
		int failed = mkdir(path, 0700) != 0 && errno != EEXIST ? errno : 0;
		*c = '/';
		if (failed != 0 && failed != EROFS)
			return hth_fail_errno(err, HTH_IO, failed, "cannot make %s", home);
	}
	HTH_TRY(make_file(path, err));

	hth_store *store = calloc(1, sizeof *store);
	if (store == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the home's database");
	int rc = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	hth_status status = rc == SQLITE_OK ? HTH_OK : store_fail(store, rc, "opening the database", err);
	if (status == HTH_OK) {
		sqlite3_busy_timeout(store->db, 5000);
		sqlite3_extended_result_codes(store->db, 0);
		status = set_up(store, err);
	}
	if (status == HTH_OK)
		status = migrate(store, err);
	if (status == HTH_OK)
		status = store_load_secret(store, err);
	if (status != HTH_OK) {
		hth_store_close(store);
		return status;
	}
	*ret_store = store;
	return HTH_OK;
}

void hth_store_close(hth_store *store)
{
	if (store == NULL)
		return;
	sqlite3_finalize(store->count_keys);
	sqlite3_close(store->db);
	sodium_memzero(store->key_secret, sizeof store->key_secret);
	free(store);
}
