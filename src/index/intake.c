/* intake.c - a file's way into the index. Thread: the index's.
 *
 * The file is opened, checked to be a plain file, and hashed. A content that is known costs no more than that: the file
 * takes its document. Otherwise the extractor reads it, and its document, passages and the file's state are stored
 * together. Several files share one transaction (a second's worth at most), so one sync serves many; until it is
 * committed none of them counts. The word index is given passages from the record, only after their commit: it can be
 * behind, never ahead, and what it lacks after a crash is fed again the same way.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum { RETRY_CHANGED_S = 3 };

/* --- the transaction that several files share --- */

hth_status intake_begin(hth_index *ix, hth_error *err)
{
	if (ix->in_transaction)
		return HTH_OK;
	HTH_TRY(record_run(&ix->r, err, "BEGIN IMMEDIATE"));
	ix->in_transaction = true;
	ix->transaction_ms = hth_clock_ms();
	ix->transaction_bytes = 0;
	return HTH_OK;
}

static hth_status add_to_total(hth_index *ix, const char *name, double more, hth_error *err)
{
	char sql[200];
	snprintf(sql, sizeof sql,
	         "INSERT INTO total (name, value) VALUES ('%s', %.6f) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
	         name,
	         more);
	return more > 0 ? record_run(&ix->r, err, sql) : HTH_OK;
}

static hth_status store_totals(hth_index *ix, hth_error *err)
{
	struct timespec t = {0};
	hth_extractor_counts counts = {0};
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	if (ix->extractor != NULL)
		hth_extractor_get_counts(ix->extractor, &counts);
	double now = (double)t.tv_sec + (double)t.tv_nsec * 1e-9 + counts.cpu_seconds + ix->embed_cpu_seconds;
	double joules;
	if (hth_energy_look(&ix->meter, hth_clock_ms(), now, hth_energy_busy_now(), &joules)) {
		HTH_TRY(add_to_total(ix, "metered_joules", joules, err));
		HTH_TRY(add_to_total(ix, "metered_cpu_seconds", now - ix->cpu_stored, err));
	}
	HTH_TRY(add_to_total(ix, "cpu_seconds", now - ix->cpu_stored, err));
	HTH_TRY(add_to_total(ix, "pages_read", (double)ix->pages_read, err));
	HTH_TRY(add_to_total(ix, "opened", (double)ix->opened, err));
	HTH_TRY(add_to_total(ix, "extracted", (double)ix->extracted, err));
	ix->cpu_stored = now;
	ix->opened = ix->extracted = ix->pages_read = 0;
	return HTH_OK;
}

hth_status intake_commit(hth_index *ix, hth_error *err)
{
	if (!ix->in_transaction)
		return HTH_OK;
	HTH_TRY(store_totals(ix, err));
	HTH_TRY(record_run(&ix->r, err, "COMMIT"));
	ix->in_transaction = false;
	return HTH_OK;
}

void intake_roll_back(hth_index *ix)
{
	if (ix->in_transaction || sqlite3_get_autocommit(ix->r.db) == 0)
		(void)sqlite3_exec(ix->r.db, "ROLLBACK", NULL, NULL, NULL);
	ix->in_transaction = false;
}

/* --- the word index --- */

static hth_status feed_removed(hth_index *ix, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&ix->r, &stmt, err, "SELECT first, last FROM removed"));
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		uint64_t first = (uint64_t)sqlite3_column_int64(stmt, 0), last = (uint64_t)sqlite3_column_int64(stmt, 1);
		HTH_TRY(hth_words_remove(ix->words, first, last, err));
		HTH_TRY(embed_removed(ix, first, last, err));
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(&ix->r, rc, "reading what was removed", err);
}

hth_status intake_feed_words(hth_index *ix, bool commit, hth_error *err)
{
	static const char next[] = "SELECT id, language, text, part < 0 FROM passage WHERE id > ?1 ORDER BY id LIMIT 5000";
	HTH_TRY(intake_commit(ix, err));
	uint64_t last = hth_words_last(ix->words);
	for (bool more = true; more && !atomic_load(&ix->stop);) {
		HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_prepare(&ix->r, &stmt, err, next));
		sqlite3_bind_int64(stmt, 1, (int64_t)last);
		more = false;
		while (sqlite3_step(stmt) == SQLITE_ROW) {
			uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
			const char *text = record_text(stmt, 2);
			size_t len = (size_t)sqlite3_column_bytes(stmt, 2);
			hth_language language = (hth_language)(sqlite3_column_int(stmt, 1) % HTH_LANGUAGE_COUNT);
			hth_status (*add)(hth_words *, uint64_t, hth_language, const char *, size_t, hth_error *) =
			    sqlite3_column_int(stmt, 3) != 0 ? hth_words_add_name : hth_words_add;
			hth_status status = add(ix->words, id, language, text, len, err);
			if (status == HTH_BUSY) {
				HTH_TRY(hth_words_commit(ix->words, last, err));
				status = add(ix->words, id, language, text, len, err);
			}
			HTH_TRY(status);
			last = id;
			more = true;
		}
	}
	int64_t removed = 0;
	HTH_TRY(record_int(&ix->r, &removed, 0, err, "SELECT count(*) FROM removed", ""));
	if (!commit && removed == 0)
		return HTH_OK;
	HTH_TRY(feed_removed(ix, err));
	HTH_TRY(hth_words_commit(ix->words, last, err));
	ix->words_committed_ms = hth_clock_ms();
	if (removed > 0) {
		HTH_TRY(embed_commit(ix, err));
		ix->purge = true;
		HTH_TRY(record_run(&ix->r, err, "DELETE FROM removed"));
	}
	return HTH_OK;
}

/* --- storing --- */

static void note_done(hth_index *ix, bool ocr)
{
	pthread_mutex_lock(&ix->mutex);
	ix->done[ocr].ms[ix->done[ocr].n++ % RATE_SAMPLES] = hth_clock_ms();
	pthread_mutex_unlock(&ix->mutex);
}

/* The file takes the document; the one that it had goes, when nobody else has it. */
static hth_status link_file(hth_index *ix, int64_t file, int64_t document, int64_t state, const char *reason, const struct stat *st,
                            hth_error *err)
{
	int64_t before = 0;
	HTH_TRY(intake_begin(ix, err));
	HTH_TRY(record_int(&ix->r, &before, 0, err, "SELECT document FROM file WHERE id = ?1", "i", file));
	HTH_TRY(record_do(&ix->r, err,
	                  "UPDATE file SET document = nullif(?2, 0), state = ?3, reason = ?4, size = ?5, mtime = ?6, "
	                  "dev = ?7, inode = ?8, not_before = 0 WHERE id = ?1",
	                  "iiisiiii", file, document, state, reason, (int64_t)st->st_size,
	                  (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec, (int64_t)st->st_dev, (int64_t)st->st_ino));
	if (before > 0 && before != document)
		HTH_TRY(record_drop_document(&ix->r, before, err));
	/* A file whose row went while it was read: nobody has the document now. */
	if (document > 0)
		HTH_TRY(record_drop_document(&ix->r, document, err));
	note_done(ix, false);
	return HTH_OK;
}

hth_status intake_insert_passages(hth_index *ix, intake_job *j, int64_t document, int64_t *ret_first, hth_error *err)
{
	reading *rd = &j->reading;
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&ix->r, &stmt, err,
	                       "INSERT INTO passage (document, part, page, box, language, text, places) VALUES (?1, ?2, ?3, ?4, ?5, ?6, "
	                       "?7)"));
	const char *lang = getenv("LANG");
	char code[3] = {lang != NULL ? lang[0] : 'e', lang != NULL && lang[0] != '\0' ? lang[1] : 'n', '\0'};
	hth_language home = hth_language_of_code(code);
	if (home == HTH_LANGUAGE_NONE)
		home = HTH_LANGUAGE_EN;
	hth_language all = hth_language_detect(rd->text.data != NULL ? rd->text.data : "", rd->text.len, home);
	*ret_first = 0;
	for (size_t i = 0; i < rd->n_passages; i++) {
		const reading_passage *p = &rd->passages[i];
		const char *text = rd->text.data + p->at;
		sqlite3_bind_int64(stmt, 1, document);
		sqlite3_bind_int64(stmt, 2, p->part);
		sqlite3_bind_int64(stmt, 3, p->page);
		if (p->box >= 0)
			sqlite3_bind_int64(stmt, 4, p->box);
		else
			sqlite3_bind_null(stmt, 4);
		sqlite3_bind_int64(stmt, 5, hth_language_detect(text, p->len, all));
		sqlite3_bind_text(stmt, 6, text, (int)p->len, SQLITE_STATIC);
		if (p->places_len > PLACE_BYTES)
			sqlite3_bind_blob(stmt, 7, rd->places.data + p->places_at, (int)p->places_len, SQLITE_STATIC);
		else
			sqlite3_bind_null(stmt, 7);
		int rc = sqlite3_step(stmt);
		if (rc != SQLITE_DONE)
			return record_fail(&ix->r, rc, "storing a document", err);
		sqlite3_reset(stmt);
		if (i == 0)
			*ret_first = sqlite3_last_insert_rowid(ix->r.db);
	}
	ix->transaction_bytes += rd->text.len;
	return HTH_OK;
}

hth_status intake_insert_parts(hth_index *ix, intake_job *j, int64_t document, int64_t first, hth_error *err)
{
	for (size_t i = 0; i < j->reading.n_parts; i++) {
		const reading_part *p = &j->reading.parts[i];
		bool any = p->first <= p->last && j->reading.n_passages > 0;
		HTH_TRY(record_do(&ix->r, err,
		                  "INSERT OR REPLACE INTO part (document, number, parent, kind, date, name, title, "
		                  "author, first, last)"
		                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
		                  "iiiiisssii", document, (int64_t)p->number, (int64_t)p->parent, (int64_t)p->kind, p->date,
		                  p->name ? p->name : "", p->title ? p->title : "", p->author ? p->author : "",
		                  any ? first + (int64_t)p->first : (int64_t)0, any ? first + (int64_t)p->last : (int64_t)-1));
	}
	return HTH_OK;
}

/* The file takes the document of its content, if that was read before; or_killed: also if its readers were killed. */
static hth_status link_known(hth_index *ix, int64_t file, const uint8_t hash[HASH_BYTES], bool or_killed, const struct stat *st,
                             bool *ret_known, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	*ret_known = false;
	HTH_TRY(record_prepare(&ix->r, &stmt, err, "SELECT id, state, reason FROM document WHERE hash = ?1 AND killed <= ?2"));
	record_bind_all(stmt, "bi", hash, (size_t)HASH_BYTES, (int64_t)or_killed);
	int rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? HTH_OK : record_fail(&ix->r, rc, "looking for a content", err);
	*ret_known = true;
	HTH_AUTO_FREE char *reason = strdup(record_text(stmt, 2));
	int64_t document = sqlite3_column_int64(stmt, 0), state = sqlite3_column_int64(stmt, 1);
	sqlite3_reset(stmt);
	return link_file(ix, file, document, state, reason != NULL ? reason : "", st, err);
}

static hth_status store_document(hth_index *ix, intake_job *j, int64_t state, const char *reason, bool killed, hth_error *err)
{
	int64_t document = 0, first = 0;
	bool known;
	HTH_TRY(intake_begin(ix, err));
	if (!killed) { /* now it is known better than by what was told before its readers were killed */
		HTH_TRY(record_int(&ix->r, &document, 0, err, "SELECT id FROM document WHERE hash = ?1 AND killed = 1", "b", j->hash,
		                   sizeof j->hash));
		if (document != 0)
			HTH_TRY(record_forget_document(&ix->r, document, err));
	}
	/* Another file of the same content may have been read at the same time. */
	HTH_TRY(link_known(ix, j->file, j->hash, true, &j->st, &known, err));
	if (known)
		return HTH_OK;
	HTH_TRY(record_do(&ix->r, err,
	                  "INSERT INTO document (hash, state, reason, pages, text_bytes, bytes, killed)"
	                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	                  "bisiiii", j->hash, sizeof j->hash, state, reason, (int64_t)j->reading.pages, (int64_t)j->reading.text.len,
	                  (int64_t)j->st.st_size, (int64_t)killed));
	document = sqlite3_last_insert_rowid(ix->r.db);
	HTH_TRY(intake_insert_passages(ix, j, document, &first, err));
	HTH_TRY(intake_insert_parts(ix, j, document, first, err));
	ix->pages_read += j->reading.pages;
	return link_file(ix, j->file, document, state, reason, &j->st, err);
}

static hth_status store_ocr(hth_index *ix, intake_job *j, const hth_extract_result *result, hth_error *err)
{
	int64_t first, there = 0, text = 0;
	char reason[HTH_EXTRACT_REASON_MAX + 96] = "";
	HTH_TRY(intake_begin(ix, err));
	HTH_TRY(record_int(&ix->r, &there, 0, err, "SELECT 1 FROM document WHERE id = ?1 AND state = ?2", "ii", j->document,
	                   (int64_t)HTH_INDEX_WAITING_OCR));
	if (there == 0)
		return HTH_OK; /* removed meanwhile */
	bool failed = result->state == HTH_EXTRACT_UNREADABLE;
	HTH_TRY(record_int(&ix->r, &text, 0, err, "SELECT 1 FROM passage WHERE document = ?1 AND part >= 0 LIMIT 1", "i", j->document));
	if (result->reason[0] != '\0')
		snprintf(reason, sizeof reason, "%s%s", failed && text != 0 ? "its pictures were not read: " : "", result->reason);
	if (!failed || j->reading.n_passages > 0)
		HTH_TRY(intake_insert_passages(ix, j, j->document, &first, err));
	int64_t state = failed && text == 0 ? HTH_INDEX_UNREADABLE : HTH_INDEX_INDEXED;
	HTH_TRY(record_do(&ix->r, err,
	                  "UPDATE document SET state = ?2, reason = ?3, text_bytes = text_bytes + ?4, killed = ?5 WHERE id = ?1", "iisii",
	                  j->document, state, reason, (int64_t)j->reading.text.len, (int64_t)result->killed));
	HTH_TRY(record_do(&ix->r, err, "UPDATE file SET state = ?2, reason = ?3 WHERE document = ?1 AND state = ?4", "iisi", j->document,
	                  state, reason, (int64_t)HTH_INDEX_WAITING_OCR));
	note_done(ix, true);
	return HTH_OK;
}

static hth_status put_off(hth_index *ix, int64_t file, hth_error *err)
{
	HTH_TRY(intake_begin(ix, err));
	return record_do(&ix->r, err, "UPDATE file SET not_before = ?2 WHERE id = ?1", "ii", file, hth_clock_unix() + RETRY_CHANGED_S);
}

/* --- what the extractor tells --- */

static void free_job(intake_job *j)
{
	intake_job **at = &j->ix->jobs;
	while (*at != NULL && *at != j)
		at = &(*at)->next;
	if (*at == j) {
		*at = j->next;
		j->ix->n_jobs--;
	}
	reading_finish(&j->reading);
	free(j);
}

static void on_part(void *ctx, const hth_extract_part *part)
{
	reading_add_part(&((intake_job *)ctx)->reading, part);
}
static void on_meta(void *ctx, const hth_extract_meta *meta)
{
	reading_add_meta(&((intake_job *)ctx)->reading, meta);
}
static void on_block(void *ctx, const hth_extract_block *block)
{
	reading_add_block(&((intake_job *)ctx)->reading, block);
}
static void on_part_end(void *ctx, const hth_extract_result *result)
{
	((intake_job *)ctx)->needs_ocr |= result->state == HTH_EXTRACT_NEEDS_OCR;
}
static void on_restart(void *ctx)
{
	intake_job *j = ctx;
	reading_begin(&j->reading);
	j->needs_ocr = false;
}

static hth_status store(hth_index *ix, intake_job *j, const hth_extract_result *told, hth_error *err)
{
	hth_extract_result result = *told;
	char reason[HTH_EXTRACT_REASON_MAX + 64];
	if (told->killed) {
		snprintf(reason, sizeof reason, "%s; it is tried again when Hearth starts", told->reason);
		result.reason = reason;
	}
	reading_end(&j->reading);
	if (result.cancelled && atomic_load(&ix->stop))
		return HTH_OK;
	if (result.changed || result.cancelled)
		return put_off(ix, j->file, err);
	if (j->reading.no_memory)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a document");
	if (j->ocr) {
		growth_shift(&j->reading, j->parts_before);
		return store_ocr(ix, j, &result, err);
	}
	int64_t state = result.state == HTH_EXTRACT_UNREADABLE                  ? HTH_INDEX_UNREADABLE
	                : result.state == HTH_EXTRACT_EXCLUDED                  ? HTH_INDEX_EXCLUDED
	                : result.state == HTH_EXTRACT_NEEDS_OCR || j->needs_ocr ? HTH_INDEX_WAITING_OCR
	                                                                         : HTH_INDEX_INDEXED;
	if (!j->grown)
		return store_document(ix, j, state, result.reason, result.killed, err);
	bool fits = result.reason[0] == '\0' && (state == HTH_INDEX_INDEXED || state == HTH_INDEX_WAITING_OCR);
	HTH_TRY(intake_begin(ix, err));
	if (fits)
		HTH_TRY(growth_store(ix, j, state, &fits, err));
	if (fits) /* with the state of all of it */
		return record_int(&ix->r, &state, state, err, "SELECT state FROM document WHERE id = ?1", "i", j->document) == HTH_OK
		           ? link_file(ix, j->file, j->document, state, "", &j->st, err)
		           : err->status;
	/* the next time it is read whole */
	HTH_TRY(record_do(&ix->r, err, "UPDATE document SET bytes = 0 WHERE id = ?1", "i", j->document));
	return put_off(ix, j->file, err);
}

static void on_end(void *ctx, const hth_extract_result *result)
{
	intake_job *j = ctx;
	hth_index *ix = j->ix;
	hth_error err = HTH_ERROR_INIT;
	if (store(ix, j, result, &err) != HTH_OK) {
		/* All of the transaction is undone; its files wait again. */
		hth_log(HTH_LOG_WARN, "index: what was read could not be stored (%s); it is tried again", hth_status_name(err.status));
		keeper_note_trouble(ix, err.status == HTH_IO || err.status == HTH_BUSY ? err.message : hth_status_name(err.status));
		intake_roll_back(ix);
		ix->retry_ms = hth_clock_ms() + 10000;
	}
	free_job(j);
	hth_timer_start(ix->tick, 0, 200);
}

static const hth_extract_sink sink = {on_part, on_meta, on_block, on_part_end, NULL, on_restart, on_end};

/* --- beginning a file --- */

/* *ret_grown: it goes on where g ended. */
static hth_status hash_file(int fd, const growth *g, bool *ret_grown, uint8_t out[HASH_BYTES], hth_error *err)
{
	enum { CHUNK = 1 << 18 };
	HTH_AUTO_FREE unsigned char *chunk = malloc(CHUNK);
	crypto_generichash_state state;
	*ret_grown = false;
	if (chunk == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read a file");
	crypto_generichash_init(&state, NULL, 0, HASH_BYTES);
	for (off_t at = 0;;) {
		if (g->document != 0 && (uint64_t)at == g->bytes) {
			crypto_generichash_state so_far = state;
			crypto_generichash_final(&so_far, out, HASH_BYTES);
			*ret_grown = memcmp(out, g->hash, HASH_BYTES) == 0;
		}
		size_t most = g->document != 0 && (uint64_t)at < g->bytes ? HTH_MIN((size_t)CHUNK, (size_t)(g->bytes - (uint64_t)at))
		                                                          : (size_t)CHUNK;
		ssize_t n = pread(fd, chunk, most, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot be read");
		if (n == 0)
			break;
		crypto_generichash_update(&state, chunk, (size_t)n);
		at += n;
	}
	crypto_generichash_final(&state, out, HASH_BYTES);
	return HTH_OK;
}

static hth_status mark(hth_index *ix, int64_t file, hth_index_state state, const char *reason, const struct stat *st, hth_error *err)
{
	return link_file(ix, file, 0, state, reason, st, err);
}

typedef struct candidate {
	int64_t file, document;
	char path[HTH_INDEX_PATH_MAX];
	struct stat st; /* as the record has it */
} candidate;

static bool in_flight(const hth_index *ix, int64_t file)
{
	for (const intake_job *j = ix->jobs; j != NULL; j = j->next)
		if (j->file == file)
			return true;
	return false;
}

static hth_status find_next(hth_index *ix, bool ocr, candidate *ret, bool *ret_found, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	*ret_found = false;
	HTH_TRY(record_prepare(&ix->r, &stmt, err,
	                       "SELECT file.id, folder.path, file.path, file.size, file.mtime, file.dev, file.inode, "
	                       "file.document FROM file"
	                       " JOIN folder ON folder.id = file.folder WHERE state = ?1 AND not_before <= ?2 AND "
	                       "folder.removed = 0 AND folder.missing = 0"
	                       " LIMIT ?3"));
	sqlite3_bind_int64(stmt, 1, ocr ? HTH_INDEX_WAITING_OCR : HTH_INDEX_WAITING);
	sqlite3_bind_int64(stmt, 2, hth_clock_unix());
	sqlite3_bind_int64(stmt, 3, IN_FLIGHT_MAX + 1);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		ret->file = sqlite3_column_int64(stmt, 0);
		if (in_flight(ix, ret->file) || !record_path(ret->path, record_text(stmt, 1), record_text(stmt, 2)))
			continue;
		ret->st = (struct stat){.st_size = sqlite3_column_int64(stmt, 3),
		                        .st_dev = (dev_t)sqlite3_column_int64(stmt, 5),
		                        .st_ino = (ino_t)sqlite3_column_int64(stmt, 6)};
		ret->st.st_mtim.tv_sec = sqlite3_column_int64(stmt, 4) / 1000000000;
		ret->st.st_mtim.tv_nsec = sqlite3_column_int64(stmt, 4) % 1000000000;
		ret->document = sqlite3_column_int64(stmt, 7);
		*ret_found = true;
		return HTH_OK;
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(&ix->r, rc, "looking for files to read", err);
}

/* parts_before: of an mbox of which only the rest is in fd (grown, or read by OCR). */
static hth_status submit(hth_index *ix, const candidate *c, bool ocr, int fd, const struct stat *st, const uint8_t hash[HASH_BYTES],
                         bool grown, uint32_t parts_before, hth_error *err)
{
	intake_job *j = calloc(1, sizeof *j);
	if (j == NULL) {
		close(fd);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to read a file");
	}
	*j = (intake_job){.ix = ix, .file = c->file, .document = c->document, .ocr = ocr, .st = *st, .grown = grown,
	                  .parts_before = parts_before};
	memcpy(j->hash, hash, HASH_BYTES);
	reading_begin(&j->reading);
	const char *slash = strrchr(c->path, '/');
	const hth_extract_ask ask = {.mode = ocr ? HTH_EXTRACT_MODE_OCR : HTH_EXTRACT_MODE_TEXT,
	                             .name = slash != NULL ? slash + 1 : c->path};
	j->next = ix->jobs;
	ix->jobs = j;
	ix->n_jobs++;
	hth_status status = hth_extractor_submit(ix->extractor, fd, &ask, &sink, j, &j->at, err);
	if (status != HTH_OK)
		free_job(j);
	else
		ix->extracted++;
	return status;
}

static hth_status begin_file(hth_index *ix, const candidate *c, bool ocr, hth_error *err)
{
	/* Never waits (a pipe put in a file's place), never follows a link put there. */
	int fd = open(c->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	if (fd < 0) {
		int e = errno;
		if (e == ENOENT || e == ENOTDIR || e == ELOOP || e == EMFILE || e == ENFILE)
			return put_off(ix, c->file, err); /* gone, probably: the next look tells */
		char reason[160];
		snprintf(reason, sizeof reason, "cannot be opened: %s", strerror(e));
		return mark(ix, c->file, HTH_INDEX_UNREADABLE, reason, &c->st, err);
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return put_off(ix, c->file, err);
	}
	uint8_t hash[HASH_BYTES] = {0};
	hth_error why = HTH_ERROR_INIT;
	growth g = {0};
	bool grown = false;
	uint64_t from = 0;
	hth_status looked = ocr ? growth_ocr_from(ix, c->document, &from, &g.parts, err)
	                        : growth_look(ix, c->document, (uint64_t)st.st_size, &g, err);
	if (looked != HTH_OK) {
		close(fd);
		return looked;
	}
	if (!ocr) {
		ix->opened++;
		if (hash_file(fd, &g, &grown, hash, &why) != HTH_OK) {
			close(fd);
			return mark(ix, c->file, HTH_INDEX_UNREADABLE, why.message, &st, err);
		}
		struct stat after;
		if (fstat(fd, &after) != 0 || after.st_size != st.st_size || after.st_mtim.tv_sec != st.st_mtim.tv_sec ||
		    after.st_mtim.tv_nsec != st.st_mtim.tv_nsec) {
			close(fd);
			return put_off(ix, c->file, err);
		}
		bool known;
		hth_status status = link_known(ix, c->file, hash, false, &st, &known, err);
		if (status != HTH_OK || known) {
			close(fd);
			return status;
		}
	}
	if (grown || from > 0) {
		int tail = growth_open_tail(fd, grown ? g.bytes : from, (uint64_t)st.st_size);
		if (tail >= 0) {
			close(fd);
			return submit(ix, c, ocr, tail, &st, hash, grown, g.parts, err);
		}
	}
	return submit(ix, c, ocr, fd, &st, hash, false, 0, err);
}

hth_status intake_next(hth_index *ix, bool *ret_more, hth_error *err)
{
	static candidate c; /* one index a process; the record's paths are long */
	*ret_more = false;
	if (atomic_load(&ix->paused) || ix->n_jobs >= IN_FLIGHT_MAX || ix->extractor == NULL)
		return HTH_OK;
	bool found;
	HTH_TRY(find_next(ix, false, &c, &found, err));
	if (found) {
		*ret_more = true;
		return begin_file(ix, &c, false, err);
	}
	if (ix->no_ocr || ix->n_jobs > 0)
		return HTH_OK;
	HTH_TRY(find_next(ix, true, &c, &found, err));
	if (!found)
		return HTH_OK;
	return begin_file(ix, &c, true, err);
}

void intake_cancel(hth_index *ix)
{
	hth_extractor_destroy(ix->extractor); /* ends each job as cancelled */
	ix->extractor = NULL;
	while (ix->jobs != NULL)
		free_job(ix->jobs);
}
