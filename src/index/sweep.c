/* sweep.c - what changed in a folder since it was last looked at. Thread: the index's.
 *
 * The record's rows of the folder are read into a table by path; the walk then touches no database for what is as it
 * was: a hundred thousand unchanged files cost their stat. A file is the same when size, time of change and inode are;
 * on a disk that has come back under another number (they change with every plugging in) size and time decide. What is
 * not in the table may have moved: a row of the same inode, size and time whose own path is gone takes the new path.
 * Rows that are left over are gone, unless the disk that they are on is: one that was mounted within the folder and is
 * not now keeps them. Nothing is followed out of the folder: links are passed by, so are other disks' special files.
 */
#include "index/sweep.h"

#include "base/mem.h"
#include "index/ignore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

enum { DEPTH_MAX = 64, CHANGES_PER_TRANSACTION = 4000, ASK_EVERY = 512 };

typedef struct known {
	char *path;
	int64_t id, dev, inode, size, mtime;
	bool seen;
} known;

typedef struct sweep {
	record *r;
	int64_t folder;
	const char *path;
	uint64_t file_bytes_max;
	const sweep_hooks *hooks;
	sweep_result *result;
	known *rows;
	size_t n_rows;
	size_t *table; /* open hash: index + 1 */
	size_t n_slots;
	char **unread; /* what could not be read: its files stay */
	size_t n_unread;
	char **mounts, **mounts_before; /* directories on which other disks than the folder's own are mounted */
	size_t n_mounts, n_mounts_before;
	int64_t dev_before, dev_now; /* of the folder */
	size_t in_transaction, asked;
	bool open;
	sqlite3_stmt *find, *by_inode, *insert, *update, *move, *renumber;
	hth_error *err;
	char rel[HTH_INDEX_PATH_MAX];
} sweep;

static int64_t mtime_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static size_t hash_of(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return (size_t)(h ^ h >> 29);
}

static hth_status begin(sweep *s)
{
	if (!s->open)
		HTH_TRY(record_run(s->r, s->err, "BEGIN IMMEDIATE"));
	s->open = true;
	if (++s->in_transaction < CHANGES_PER_TRANSACTION)
		return HTH_OK;
	s->in_transaction = 0;
	HTH_TRY(record_run(s->r, s->err, "COMMIT"));
	return record_run(s->r, s->err, "BEGIN IMMEDIATE");
}

static hth_status step(sweep *s, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);
	sqlite3_reset(stmt);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? HTH_OK : record_fail(s->r, rc, "noting a file", s->err);
}

static hth_status note(sweep *s, char ***list, size_t *n, const char *rel)
{
	char **more = realloc(*list, (*n + 1) * sizeof *more), *copy = strdup(rel);
	if (more != NULL)
		*list = more;
	if (more == NULL || copy == NULL) {
		free(copy);
		return hth_fail(s->err, HTH_NO_MEMORY, "no memory to look through a folder");
	}
	more[(*n)++] = copy;
	return HTH_OK;
}

static bool is_under(char *const *folders, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(folders[i]);
		if (len == 0 || (strncmp(path, folders[i], len) == 0 && (path[len] == '/' || path[len] == '\0')))
			return true;
	}
	return false;
}

static hth_status load_mounts(sweep *s)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_int(s->r, &s->dev_before, 0, s->err, "SELECT dev FROM folder WHERE id = ?1", "i", s->folder));
	HTH_TRY(record_prepare(s->r, &stmt, s->err, "SELECT path FROM mount WHERE folder = ?1"));
	sqlite3_bind_int64(stmt, 1, s->folder);
	while (sqlite3_step(stmt) == SQLITE_ROW)
		HTH_TRY(note(s, &s->mounts_before, &s->n_mounts_before, record_text(stmt, 0)));
	return HTH_OK;
}

static hth_status prepare_all(sweep *s)
{
	HTH_TRY(record_prepare(s->r, &s->find, s->err, "SELECT id, dev, inode, size, mtime FROM file WHERE folder = ?1 AND path = ?2"));
	HTH_TRY(record_prepare(s->r, &s->by_inode, s->err,
	                       "SELECT file.id, folder.path, file.path FROM file JOIN folder ON folder.id = file.folder"
	                       " WHERE inode = ?1 AND file.dev = ?2 AND size = ?3 AND mtime = ?4"));
	HTH_TRY(record_prepare(s->r, &s->insert, s->err,
	                       "INSERT INTO file (folder, path, dev, inode, size, mtime, state, reason) VALUES (?1, "
	                       "?2, ?3, ?4, ?5, ?6, ?7, ?8)"));
	HTH_TRY(record_prepare(s->r, &s->update, s->err,
	                       "UPDATE file SET dev = ?2, inode = ?3, size = ?4, mtime = ?5, state = ?6, reason = ?7, "
	                       "not_before = 0 WHERE id = ?1"));
	HTH_TRY(record_prepare(s->r, &s->renumber, s->err, "UPDATE file SET dev = ?2, inode = ?3 WHERE id = ?1"));
	HTH_TRY(load_mounts(s));
	return record_prepare(s->r, &s->move, s->err, "UPDATE OR REPLACE file SET folder = ?2, path = ?3 WHERE id = ?1");
}

static void finish(sweep *s)
{
	sqlite3_finalize(s->find);
	sqlite3_finalize(s->by_inode);
	sqlite3_finalize(s->insert);
	sqlite3_finalize(s->update);
	sqlite3_finalize(s->move);
	sqlite3_finalize(s->renumber);
	for (size_t i = 0; i < s->n_rows; i++)
		free(s->rows[i].path);
	for (size_t i = 0; i < s->n_unread; i++)
		free(s->unread[i]);
	for (size_t i = 0; i < s->n_mounts; i++)
		free(s->mounts[i]);
	for (size_t i = 0; i < s->n_mounts_before; i++)
		free(s->mounts_before[i]);
	free(s->mounts);
	free(s->mounts_before);
	free(s->rows);
	free(s->table);
	free(s->unread);
	if (s->open)
		(void)sqlite3_exec(s->r->db, "ROLLBACK", NULL, NULL, NULL);
}

/* --- the rows there are --- */

static hth_status load_rows(sweep *s)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(s->r, &stmt, s->err, "SELECT id, path, dev, inode, size, mtime FROM file WHERE folder = ?1"));
	sqlite3_bind_int64(stmt, 1, s->folder);
	size_t cap = 0;
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (s->n_rows == cap) {
			cap = cap > 0 ? cap * 2 : 1024;
			known *more = realloc(s->rows, cap * sizeof *more);
			if (more == NULL)
				return hth_fail(s->err, HTH_NO_MEMORY, "no memory to look through a folder");
			s->rows = more;
		}
		known *k = &s->rows[s->n_rows];
		*k = (known){strdup(record_text(stmt, 1)),
		             sqlite3_column_int64(stmt, 0),
		             sqlite3_column_int64(stmt, 2),
		             sqlite3_column_int64(stmt, 3),
		             sqlite3_column_int64(stmt, 4),
		             sqlite3_column_int64(stmt, 5),
		             false};
		if (k->path == NULL)
			return hth_fail(s->err, HTH_NO_MEMORY, "no memory to look through a folder");
		s->n_rows++;
	}
	if (rc != SQLITE_DONE)
		return record_fail(s->r, rc, "reading the index's files", s->err);
	for (s->n_slots = 64; s->n_slots < s->n_rows * 2;)
		s->n_slots *= 2;
	if ((s->table = hth_alloc_array(s->n_slots, sizeof *s->table)) == NULL)
		return hth_fail(s->err, HTH_NO_MEMORY, "no memory to look through a folder");
	for (size_t i = 0; i < s->n_rows; i++) {
		size_t at = hash_of(s->rows[i].path) & (s->n_slots - 1);
		while (s->table[at] != 0)
			at = (at + 1) & (s->n_slots - 1);
		s->table[at] = i + 1;
	}
	return HTH_OK;
}

static known *find_row(sweep *s, const char *rel)
{
	if (s->table == NULL)
		return NULL;
	for (size_t at = hash_of(rel) & (s->n_slots - 1); s->table[at] != 0; at = (at + 1) & (s->n_slots - 1))
		if (strcmp(s->rows[s->table[at] - 1].path, rel) == 0)
			return &s->rows[s->table[at] - 1];
	return NULL;
}

/* --- one file --- */

static bool is_same(const known *k, const struct stat *st)
{
	return k->size == st->st_size && k->mtime == mtime_of(st) && (k->inode == (int64_t)st->st_ino || k->dev != (int64_t)st->st_dev);
}

/* A row of this inode whose own path is gone takes this path. */
static hth_status try_move(sweep *s, const struct stat *st, bool *ret_moved)
{
	*ret_moved = false;
	record_bind_all(s->by_inode, "iiii", (int64_t)st->st_ino, (int64_t)st->st_dev, (int64_t)st->st_size, mtime_of(st));
	int64_t id = 0;
	known *was = NULL;
	while (id == 0 && sqlite3_step(s->by_inode) == SQLITE_ROW) {
		char old[HTH_INDEX_PATH_MAX];
		struct stat there;
		if (record_path(old, record_text(s->by_inode, 1), record_text(s->by_inode, 2)) &&
		    (lstat(old, &there) != 0 || there.st_ino != st->st_ino || there.st_dev != st->st_dev)) {
			id = sqlite3_column_int64(s->by_inode, 0);
			was = find_row(s, record_text(s->by_inode, 2));
		}
	}
	sqlite3_reset(s->by_inode);
	if (id == 0)
		return HTH_OK;
	HTH_TRY(begin(s));
	record_bind_all(s->move, "iis", id, s->folder, s->rel);
	HTH_TRY(step(s, s->move));
	if (was != NULL && was->id == id)
		was->seen = true;
	s->result->moved++;
	*ret_moved = true;
	return HTH_OK;
}

/* k: its row, or NULL. s->rel is its path. */
static hth_status consider(sweep *s, const struct stat *st, known *k)
{
	if (k != NULL)
		k->seen = true;
	if (k != NULL && is_same(k, st)) {
		s->result->unchanged++;
		if (k->dev == (int64_t)st->st_dev)
			return HTH_OK;
		HTH_TRY(begin(s));
		record_bind_all(s->renumber, "iii", k->id, (int64_t)st->st_dev, (int64_t)st->st_ino);
		return step(s, s->renumber);
	}
	if (k == NULL) {
		bool moved;
		HTH_TRY(try_move(s, st, &moved));
		if (moved)
			return HTH_OK;
	}
	char reason[128] = "";
	int64_t state = HTH_INDEX_WAITING;
	if ((uint64_t)st->st_size > s->file_bytes_max) {
		state = HTH_INDEX_EXCLUDED;
		snprintf(reason, sizeof reason, "too large: %llu MB, over the limit of %llu", (unsigned long long)st->st_size / 1000000,
		         (unsigned long long)s->file_bytes_max / 1000000);
	}
	HTH_TRY(begin(s));
	sqlite3_stmt *stmt = k != NULL ? s->update : s->insert;
	if (k != NULL) {
		record_bind_all(stmt, "iiiiiis", k->id, (int64_t)st->st_dev, (int64_t)st->st_ino, (int64_t)st->st_size, mtime_of(st), state,
		                reason);
		s->result->changed++;
	} else {
		record_bind_all(stmt, "isiiiiis", s->folder, s->rel, (int64_t)st->st_dev, (int64_t)st->st_ino, (int64_t)st->st_size,
		                mtime_of(st), state, reason);
		s->result->fresh++;
	}
	return step(s, stmt);
}

/* --- the walk --- */

static hth_status note_unread(sweep *s)
{
	return note(s, &s->unread, &s->n_unread, s->rel);
}

static hth_status ask(sweep *s)
{
	if (++s->asked % ASK_EVERY == 0 && s->hooks != NULL && s->hooks->keep_going != NULL && !s->hooks->keep_going(s->hooks->ctx))
		return hth_fail(s->err, HTH_CANCELLED, "the look through a folder was stopped");
	return HTH_OK;
}

/* s->rel is the directory's path; fd is taken. */
static hth_status walk(sweep *s, int fd, ignore_rules *above, unsigned depth)
{
	size_t rel_len = strlen(s->rel), path_len = strlen(s->path);
	struct stat own;
	if (fstat(fd, &own) == 0 && (int64_t)own.st_dev != s->dev_now && !is_under(s->mounts, s->n_mounts, s->rel)) {
		hth_status noted = note(s, &s->mounts, &s->n_mounts, s->rel);
		if (noted != HTH_OK) {
			close(fd);
			return noted;
		}
	}
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return note_unread(s);
	}
	if (s->hooks != NULL && s->hooks->directory != NULL) /* watched before it is read, so nothing falls in between */
		s->hooks->directory(s->hooks->ctx, s->folder, s->path, s->rel);
	ignore_rules *rules = ignore_enter(above, fd, s->rel);
	hth_status status = HTH_OK;
	errno = 0;
	for (struct dirent *e; status == HTH_OK && (e = readdir(dir)) != NULL; errno = 0) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if ((status = ask(s)) != HTH_OK)
			break;
		struct stat st = {0};
		size_t n = (size_t)snprintf(s->rel + rel_len, sizeof s->rel - rel_len, "%s%s", rel_len > 0 ? "/" : "", e->d_name);
		bool fits = path_len + 1 + rel_len + n < sizeof s->rel;
		bool there = fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, is_folder = there && S_ISDIR(st.st_mode);
		/* A file name is any bytes, the record holds text: what is no UTF-8 would not be found again. sqlite
		 * keeps bytes as they are. */
		if (!there && errno == ENOENT) {
			/* gone since its folder was read */
		} else if (fits && !there) { /* a disk that was pulled out: its names are still told, nothing else */
			status = note_unread(s);
		} else if (!fits || (!is_folder && !S_ISREG(st.st_mode)) || ignore_matches(rules, fd, s->rel, e->d_name, is_folder) ||
		           (is_folder && depth >= DEPTH_MAX)) {
			s->result->skipped++;
		} else if (is_folder) {
			int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub >= 0)
				status = walk(s, sub, rules, depth + 1);
			else if (errno != ENOENT)
				status = note_unread(s);
		} else {
			status = consider(s, &st, find_row(s, s->rel));
		}
		s->rel[rel_len] = '\0';
	}
	if (errno != 0 && status == HTH_OK)
		status = note_unread(s);
	ignore_release(rules);
	closedir(dir);
	return status;
}

/* Where a disk was mounted that is not now. */
static bool is_away(const sweep *s, const char *rel)
{
	return is_under(s->mounts_before, s->n_mounts_before, rel) && !is_under(s->mounts, s->n_mounts, rel);
}

static hth_status remove_rest(sweep *s)
{
	for (size_t i = 0; i < s->n_rows; i++) {
		const known *k = &s->rows[i];
		if (k->seen || is_under(s->unread, s->n_unread, k->path))
			continue;
		if (is_away(s, k->path)) {
			s->result->away++;
			continue;
		}
		HTH_TRY(ask(s));
		HTH_TRY(begin(s));
		HTH_TRY(record_drop_file(s->r, k->id, s->err));
		s->result->removed++;
	}
	return HTH_OK;
}

/* Those that are mounted now, and those whose files are waited for. */
static hth_status store_mounts(sweep *s)
{
	for (size_t i = 0; i < s->n_mounts_before; i++)
		if (!is_under(s->mounts, s->n_mounts, s->mounts_before[i]) && s->result->away == 0)
			HTH_TRY(record_do(s->r, s->err, "DELETE FROM mount WHERE folder = ?1 AND path = ?2", "is", s->folder,
			                  s->mounts_before[i]));
	for (size_t i = 0; i < s->n_mounts; i++)
		if (!is_under(s->mounts_before, s->n_mounts_before, s->mounts[i]))
			HTH_TRY(record_do(s->r, s->err, "INSERT OR IGNORE INTO mount (folder, path) VALUES (?1, ?2)", "is", s->folder,
			                  s->mounts[i]));
	if (s->dev_now == s->dev_before)
		return HTH_OK;
	return record_do(s->r, s->err, "UPDATE folder SET dev = ?2 WHERE id = ?1", "ii", s->folder, s->dev_now);
}

static hth_status walk_top(sweep *s)
{
	struct stat st = {0};
	bool there = stat(s->path, &st) == 0;
	s->dev_now = (int64_t)st.st_dev;
	if (there && S_ISREG(st.st_mode)) {
		HTH_TRY(consider(s, &st, find_row(s, "")));
		if (s->hooks != NULL && s->hooks->directory != NULL)
			s->hooks->directory(s->hooks->ctx, s->folder, s->path, "");
		return remove_rest(s);
	}
	int fd = there ? open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	/* Not mounted: an empty folder of another disk stands where the documents were. */
	bool other_disk = fd >= 0 && s->dev_before != 0 && s->dev_now != s->dev_before && s->n_rows > 0;
	if (other_disk) {
		DIR *dir = opendir(s->path);
		struct dirent *e = NULL;
		while (dir != NULL && (e = readdir(dir)) != NULL && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0))
			;
		other_disk = e == NULL;
		if (dir != NULL)
			closedir(dir);
	}
	if (fd < 0 || other_disk) {
		if (fd >= 0)
			close(fd);
		s->result->missing = true;
		return HTH_OK;
	}
	HTH_TRY(walk(s, fd, NULL, 0));
	HTH_TRY(remove_rest(s));
	return store_mounts(s);
}

hth_status sweep_folder(record *r, int64_t folder, const char *path, uint64_t file_bytes_max, const sweep_hooks *hooks,
                        sweep_result *ret_result, hth_error *err)
{
	sweep_result result = {0};
	HTH_CLEANUP(finish)
	sweep s = {.r = r, .folder = folder, .path = path, .file_bytes_max = file_bytes_max, .hooks = hooks, .result = &result, .err = err};
	HTH_TRY(prepare_all(&s));
	HTH_TRY(load_rows(&s));
	HTH_TRY(walk_top(&s));
	if (s.open)
		HTH_TRY(record_run(r, err, "COMMIT"));
	s.open = false;
	HTH_TRY(record_do(r, err,
	                  "UPDATE folder SET missing = ?2, unchanged = CASE WHEN ?2 THEN unchanged ELSE ?3 END, "
	                  "skipped = ?4, away = ?5 WHERE id = ?1"
	                  " AND (missing, unchanged, skipped, away) IS NOT (?2, ?3, ?4, ?5)",
	                  "iiiii", folder, (int64_t)result.missing, (int64_t)result.unchanged, (int64_t)result.skipped,
	                  (int64_t)result.away));
	*ret_result = result;
	return HTH_OK;
}

/* --- single paths --- */

/* Whether the walk would come to it: no part of the path is ignored or a link. */
static bool is_reached(const sweep *s, const char *rel, struct stat *st)
{
	char path[HTH_INDEX_PATH_MAX];
	HTH_AUTO_CLOSE int at = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ignore_rules *rules = NULL;
	bool reached = at >= 0, found = false;
	snprintf(path, sizeof path, "%s", rel);
	for (char *name = path; reached && *name != '\0';) {
		char *end = strchr(name, '/');
		if (name != path)
			name[-1] = '\0';
		ignore_rules *here = ignore_enter(rules, at, name != path ? path : "");
		ignore_release(rules);
		rules = here;
		if (name != path)
			name[-1] = '/';
		if (end != NULL)
			*end = '\0';
		reached = fstatat(at, name, st, AT_SYMLINK_NOFOLLOW) == 0 && !ignore_matches(rules, at, path, name, end != NULL);
		if (end == NULL) {
			found = reached && S_ISREG(st->st_mode);
			break;
		}
		int next = reached ? openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		close(at);
		at = next;
		reached = at >= 0;
		*end = '/';
		name = end + 1;
	}
	ignore_release(rules);
	return found;
}

/* Whether it is gone, and not only the disk that it was on: the nearest folder that is still there is of that disk. */
static bool is_gone(const sweep *s, const char *rel)
{
	char path[HTH_INDEX_PATH_MAX];
	struct stat top, near;
	if (stat(s->path, &top) != 0 || (int64_t)top.st_dev != s->dev_before || !record_path(path, s->path, rel))
		return false;
	while (strlen(path) > strlen(s->path)) {
		*strrchr(path, '/') = '\0';
		if (stat(path, &near) == 0)
			return is_under(s->mounts_before, s->n_mounts_before, rel) == (near.st_dev != top.st_dev);
		if (errno != ENOENT && errno != ENOTDIR)
			return false;
	}
	return false;
}

hth_status sweep_paths(record *r, int64_t folder, const char *path, uint64_t file_bytes_max, char **rels, size_t n, hth_error *err)
{
	sweep_result result = {0};
	HTH_CLEANUP(finish)
	sweep s = {.r = r, .folder = folder, .path = path, .file_bytes_max = file_bytes_max, .result = &result, .err = err};
	HTH_TRY(prepare_all(&s));
	/* What is there first: a row whose path is gone may be one of these. */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			struct stat st;
			bool there = is_reached(&s, rels[i], &st);
			record_bind_all(s.find, "is", folder, rels[i]);
			known k = {0};
			bool has_row = sqlite3_step(s.find) == SQLITE_ROW;
			if (has_row)
				k = (known){NULL,
				            sqlite3_column_int64(s.find, 0),
				            sqlite3_column_int64(s.find, 1),
				            sqlite3_column_int64(s.find, 2),
				            sqlite3_column_int64(s.find, 3),
				            sqlite3_column_int64(s.find, 4),
				            false};
			sqlite3_reset(s.find);
			snprintf(s.rel, sizeof s.rel, "%s", rels[i]);
			if (pass == 0 && there) {
				HTH_TRY(consider(&s, &st, has_row ? &k : NULL));
			} else if (pass == 1 && !there && has_row && is_gone(&s, rels[i])) {
				HTH_TRY(begin(&s));
				HTH_TRY(record_drop_file(r, k.id, err));
			}
		}
	}
	if (s.open)
		HTH_TRY(record_run(r, err, "COMMIT"));
	s.open = false;
	return HTH_OK;
}
