/* keeper.c - keeping the index: one thread with a loop of its own, at low priority, taking turns.
 *
 * A turn does what is due, in this order: folders that were removed lose a few hundred files; what was told to have
 * changed is looked at; folders are walked; files that wait are begun, as many as the extractor takes at once; what was
 * read is stored when it is a second old, and given to the word index when that was five seconds ago or nothing else is
 * left; then passages get their vectors, a batch at a time; then the merges of words and vectors, and what must leave no trace. The
 * extractor's answers come between turns. While the node answers somebody (hth_index_pause) no file is begun and no merge goes on.
 *
 * A failure (a full disk, most of all) undoes the transaction; it is said once, and tried again ten seconds later.
 */
#include "index/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/stores.h"

#include <signal.h>
#include <stdio.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	TICK_MS = 200,
	STORE_MS = 1000,
	STORE_BYTES = 8 << 20,
	WORDS_MS = 5000,
	RETRY_MS = 10000,
	REMOVE_AT_ONCE = 300,
	PURGE_EVERY_MS = 10 * 60 * 1000,
};
#define PURGE_AT_ONCE_BYTES (256u << 20)

hth_status index_read_status(const char *home, hth_index_status *s, hth_error *err);

static bool keep_going(void *ctx)
{
	hth_index *ix = ctx;
	return !atomic_load(&ix->stop);
}

static bool merge_may_go_on(void *ctx)
{
	hth_index *ix = ctx;
	return !atomic_load(&ix->stop) && !atomic_load(&ix->paused);
}

/* --- folders --- */

hth_status keeper_sweep(hth_index *ix, int64_t folder, const char *path, hth_error *err)
{
	const sweep_hooks hooks = {ix, watch_directory, keep_going};
	sweep_result result;
	uint64_t start = hth_clock_ms();
	HTH_TRY(intake_commit(ix, err));
	HTH_TRY(sweep_folder(&ix->r, folder, path, ix->file_bytes_max, &hooks, &result, err));
	hth_log(HTH_LOG_DEBUG,
	        "index: folder %lld looked through in %llu ms: %llu unchanged, %llu new, %llu changed, %llu moved, "
	        "%llu gone%s",
	        (long long)folder, (unsigned long long)(hth_clock_ms() - start), (unsigned long long)result.unchanged,
	        (unsigned long long)result.fresh, (unsigned long long)result.changed, (unsigned long long)result.moved,
	        (unsigned long long)result.removed, result.missing ? "; it is not there" : "");
	return HTH_OK;
}

static hth_status sweep_all(hth_index *ix, hth_error *err)
{
	HTH_TRY(intake_commit(ix, err)); /* what follows writes, too */
	if (hth_stores_expire(ix->home, hth_clock_unix(), NULL) != HTH_OK)
		hth_log(HTH_LOG_WARN, "index: vector stores whose time is over could not be emptied; it is tried again");
	int64_t last = 0;
	for (;;) {
		char path[HTH_INDEX_PATH_MAX];
		{
			HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
			HTH_TRY(record_prepare(&ix->r, &stmt, err,
			                       "SELECT id, path FROM folder WHERE removed = 0 AND id > ?1 ORDER BY id LIMIT 1"));
			sqlite3_bind_int64(stmt, 1, last);
			if (sqlite3_step(stmt) != SQLITE_ROW)
				return HTH_OK;
			last = sqlite3_column_int64(stmt, 0);
			snprintf(path, sizeof path, "%s", record_text(stmt, 1));
		}
		HTH_TRY(keeper_sweep(ix, last, path, err));
	}
}

/* Some files of one removed folder; *ret_more: there may be others. */
static hth_status remove_some(hth_index *ix, bool *ret_more, hth_error *err)
{
	int64_t folder = 0, files[REMOVE_AT_ONCE];
	size_t n = 0;
	*ret_more = false;
	HTH_TRY(record_int(&ix->r, &folder, 0, err, "SELECT id FROM folder WHERE removed = 1 LIMIT 1", ""));
	if (folder == 0)
		return HTH_OK;
	*ret_more = true;
	watch_forget_folder(ix, folder);
	HTH_TRY(intake_commit(ix, err));
	{
		HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_prepare(&ix->r, &stmt, err, "SELECT id FROM file WHERE folder = ?1 LIMIT ?2"));
		record_bind_all(stmt, "ii", folder, (int64_t)REMOVE_AT_ONCE);
		while (n < REMOVE_AT_ONCE && sqlite3_step(stmt) == SQLITE_ROW)
			files[n++] = sqlite3_column_int64(stmt, 0);
	}
	ix->purge_now = true;
	HTH_TRY(record_run(&ix->r, err, "BEGIN IMMEDIATE"));
	for (size_t i = 0; i < n; i++)
		HTH_TRY(record_drop_file(&ix->r, files[i], err));
	if (n < REMOVE_AT_ONCE) { /* added again meanwhile: it stays, and is swept */
		HTH_TRY(record_do(&ix->r, err, "DELETE FROM mount WHERE folder = ?1", "i", folder));
		HTH_TRY(record_do(&ix->r, err, "DELETE FROM folder WHERE id = ?1 AND removed = 1", "i", folder));
	}
	return record_run(&ix->r, err, "COMMIT");
}

/* --- merges and traces --- */

static hth_status merge(hth_index *ix, bool purge, bool *ret_did, hth_error *err)
{
	hth_status status = hth_words_merge(ix->words, purge, merge_may_go_on, ix, ret_did, err);
	return status == HTH_OK && !*ret_did ? hth_vectors_merge(ix->vectors, purge, merge_may_go_on, ix, ret_did, err) : status;
}

static hth_status tidy(hth_index *ix, bool *ret_busy, hth_error *err)
{
	bool did = false;
	hth_status status = merge(ix, false, &did, err);
	*ret_busy = did;
	if (status == HTH_CANCELLED)
		return HTH_OK;
	if (status != HTH_OK || did || !(ix->purge || ix->purge_now))
		return status;
	/* A large index is not rewritten for each file that goes, only now and then; a folder that its owner took out
	 * goes at once. */
	hth_words_info info;
	hth_vectors_info vectors;
	hth_words_get_info(ix->words, &info);
	hth_vectors_get_info(ix->vectors, &vectors);
	uint64_t now = hth_clock_ms();
	if (!ix->purge_now && info.bytes + vectors.bytes > PURGE_AT_ONCE_BYTES && now - ix->purged_ms < PURGE_EVERY_MS)
		return HTH_OK;
	status = merge(ix, true, &did, err);
	*ret_busy = did;
	if (status == HTH_CANCELLED)
		return HTH_OK;
	if (status != HTH_OK || did)
		return status;
	ix->purge = ix->purge_now = false;
	ix->purged_ms = now;
	/* What was deleted is overwritten in the database; the log of changes still has it. A reader that is in the
	 * middle keeps it a while. */
	return record_run(&ix->r, err, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/* --- turns --- */

static hth_status find_idle(hth_index *ix, bool *ret_idle, hth_error *err)
{
	int64_t waiting = 0;
	*ret_idle = false;
	if (ix->n_jobs > 0 || ix->in_transaction || watch_has_events(ix) || atomic_load(&ix->wake) || !ix->swept_once ||
	    hth_words_pending(ix->words) > 0)
		return HTH_OK;
	HTH_TRY(record_int(&ix->r, &waiting, 0, err,
	                   "SELECT 1 FROM file JOIN folder ON folder.id = file.folder WHERE (state = 0 OR state = ?1) "
	                   "AND removed = 0 AND missing = 0 LIMIT 1",
	                   "i", ix->no_ocr ? (int64_t)0 : (int64_t)HTH_INDEX_WAITING_OCR));
	if (waiting == 0)
		HTH_TRY(record_int(&ix->r, &waiting, 0, err,
		                   "SELECT 1 FROM file INDEXED BY file_unnamed WHERE name = 0 AND document IS NOT NULL LIMIT 1", ""));
	if (waiting == 0)
		HTH_TRY(record_int(&ix->r, &waiting, 0, err, "SELECT 1 FROM folder WHERE removed = 1 LIMIT 1", ""));
	if (waiting == 0)
		HTH_TRY(record_int(&ix->r, &waiting, 0, err, "SELECT 1 FROM removed LIMIT 1", ""));
	*ret_idle = waiting == 0;
	return HTH_OK;
}

static bool text_is_read(const hth_index *ix)
{
	for (const intake_job *j = ix->jobs; j != NULL; j = j->next)
		if (!j->ocr)
			return true;
	return false;
}

static hth_status turn(hth_index *ix, bool *ret_again, hth_error *err)
{
	uint64_t now = hth_clock_ms();
	bool more = false;
	*ret_again = false;
	HTH_TRY(remove_some(ix, &more, err));
	*ret_again |= more;
	if (atomic_exchange(&ix->wake, false) || !ix->swept_once || now - ix->swept_ms >= ix->sweep_ms) {
		HTH_TRY(sweep_all(ix, err));
		ix->swept_ms = hth_clock_ms();
		ix->swept_once = true;
	} else if (watch_is_due(ix)) {
		HTH_TRY(intake_commit(ix, err));
		HTH_TRY(watch_handle(ix, err));
	}
	/* Known contents cost little each: many of them in one turn, but not so many that the loop stands still. */
	more = true;
	for (int i = 0; i < 200 && more && !atomic_load(&ix->stop); i++)
		HTH_TRY(intake_next(ix, &more, err));
	*ret_again |= more;
	bool unnamed = false;
	if (!atomic_load(&ix->paused))
		HTH_TRY(names_make(ix, &unnamed, err));
	*ret_again |= unnamed;
	bool nothing_left = ix->n_jobs == 0 && !more, nothing_more = !more;
	now = hth_clock_ms();
	if (ix->in_transaction && (nothing_left || now - ix->transaction_ms >= STORE_MS || ix->transaction_bytes >= STORE_BYTES))
		HTH_TRY(intake_commit(ix, err));
	if (!ix->in_transaction && (nothing_left || now - ix->words_committed_ms >= WORDS_MS))
		HTH_TRY(intake_feed_words(ix, true, err));
	if (!ix->in_transaction)
		HTH_TRY(embed_turn(ix, !atomic_load(&ix->paused) && !text_is_read(ix) && nothing_more, err));
	if (!ix->in_transaction && !atomic_load(&ix->paused)) {
		HTH_TRY(tidy(ix, &more, err));
		*ret_again |= more;
	}
	bool idle;
	HTH_TRY(find_idle(ix, &idle, err));
	/* Woken in between: then it is not, and whoever woke it says so after this. */
	atomic_store(&ix->idle, idle);
	if (atomic_load(&ix->wake))
		atomic_store(&ix->idle, false);
	return HTH_OK;
}

static void stop_now(hth_index *ix)
{
	hth_error err = HTH_ERROR_INIT;
	intake_cancel(ix);
	if (intake_commit(ix, &err) != HTH_OK) {
		hth_log(HTH_LOG_WARN, "index: what was read last could not be stored (%s); it will be read again",
		        hth_status_name(err.status));
		intake_roll_back(ix);
	}
	if (embed_turn(ix, false, &err) != HTH_OK || embed_commit(ix, &err) != HTH_OK)
		hth_log(HTH_LOG_WARN, "index: the last vectors could not be stored (%s); they are made again", hth_status_name(err.status));
	watch_stop(ix);
	hth_timer_close(ix->tick);
	hth_mailbox_close(ix->mailbox);
	hth_loop_stop(ix->loop);
}

void keeper_note_trouble(hth_index *ix, const char *why)
{
	pthread_mutex_lock(&ix->mutex);
	snprintf(ix->trouble, sizeof ix->trouble, "%.199s", why);
	pthread_mutex_unlock(&ix->mutex);
}

static void on_tick(void *ctx)
{
	hth_index *ix = ctx;
	hth_error err = HTH_ERROR_INIT;
	if (atomic_load(&ix->stop)) {
		stop_now(ix);
		return;
	}
	if (ix->extractor != NULL)
		hth_extractor_pause_ocr(ix->extractor, atomic_load(&ix->paused));
	if (hth_clock_ms() < ix->retry_ms && !atomic_load(&ix->wake)) /* whoever asks for a look has perhaps made room */
		return;
	bool again = false;
	hth_status status = turn(ix, &again, &err);
	bool trouble = status != HTH_OK && status != HTH_CANCELLED;
	const char *what = status == HTH_IO || status == HTH_BUSY ? err.message : hth_status_name(status);
	keeper_note_trouble(ix, trouble ? what : "");
	if (trouble) {
		hth_log(HTH_LOG_WARN, "index: %s; it is tried again", what);
		intake_roll_back(ix);
		ix->retry_ms = hth_clock_ms() + RETRY_MS;
	}
	hth_timer_start(ix->tick, again && status == HTH_OK ? 1 : TICK_MS, TICK_MS);
}

static void on_mail(void *ctx, void *mail)
{
	(void)mail;
	hth_index *ix = ctx;
	hth_timer_start(ix->tick, 0, TICK_MS);
}

static void *thread_main(void *ctx)
{
	hth_index *ix = ctx;
	/* Of this thread and the children that it starts. */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
	hth_loop_run(ix->loop);
	return NULL;
}

/* --- life --- */

static void destroy(hth_index *ix)
{
	hth_words_close(ix->words);
	embed_close(ix);
	record_close(&ix->r);
	if (ix->loop != NULL)
		hth_loop_destroy(ix->loop);
	pthread_mutex_destroy(&ix->mutex);
	free(ix);
}

/* Texts are in the record: a word index that is damaged, or of another version, is made again from it. */
static hth_status open_words(hth_index *ix, hth_error *err)
{
	char folder[HTH_INDEX_PATH_MAX];
	snprintf(folder, sizeof folder, "%.4000s/index/words", ix->home);
	const hth_words_options options = {.write = true};
	hth_status status = hth_words_open(&ix->words, folder, &options, err);
	if (status != HTH_BAD_FORMAT)
		return status;
	hth_log(HTH_LOG_WARN, "index: the word index cannot be used; it is made again from the record");
	HTH_TRY(hth_words_erase(folder, err));
	return hth_words_open(&ix->words, folder, &options, err);
}

static hth_status start(hth_index *ix, const hth_index_options *o, hth_error *err)
{
	if (sodium_init() < 0)
		return hth_fail(err, HTH_INTERNAL, "libsodium could not start");
	if ((size_t)snprintf(ix->home, sizeof ix->home, "%s", o->home) >= sizeof ix->home)
		return hth_fail(err, HTH_INVALID, "the path of the home is too long");
	HTH_TRY(record_open(&ix->r, ix->home, true, err));
	HTH_TRY(open_words(ix, err));
	HTH_TRY(record_read_again(&ix->r, HTH_EXTRACT_READS, err));
	HTH_TRY(embed_open(ix, err));
	HTH_TRY(hth_loop_create(&ix->loop, err));
	const hth_extractor_options extractor = {.program = o->extractor, .file_bytes_max = ix->file_bytes_max, .n_workers = IN_FLIGHT_MAX};
	HTH_TRY(hth_extractor_create(&ix->extractor, ix->loop, &extractor, err));
	HTH_TRY(hth_mailbox_open(&ix->mailbox, ix->loop, on_mail, ix, err));
	HTH_TRY(hth_timer_open(&ix->tick, ix->loop, on_tick, ix, err));
	hth_energy_open(&ix->meter, o->powercap, hth_clock_ms(), 0, hth_energy_busy_now());
	HTH_TRY(watch_start(ix, err));
	hth_timer_start(ix->tick, 0, TICK_MS);
	/* Signals are for the thread that asked for them. */
	sigset_t every, before;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	int e = pthread_create(&ix->thread, NULL, thread_main, ix);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return e == 0 ? HTH_OK : hth_fail_errno(err, HTH_NO_MEMORY, e, "cannot start the index's thread");
}

hth_status hth_index_start(hth_index **ret_index, const hth_index_options *options, hth_error *err)
{
	hth_index *ix = calloc(1, sizeof *ix);
	if (ix == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the index");
	ix->inotify = -1;
	ix->file_bytes_max = options->file_bytes_max > 0 ? options->file_bytes_max : 512u << 20;
	ix->sweep_ms = (options->sweep_s > 0 ? options->sweep_s : 900) * UINT64_C(1000);
	ix->no_ocr = options->no_ocr;
	pthread_mutex_init(&ix->mutex, NULL);
	hth_status status = start(ix, options, err);
	if (status != HTH_OK) {
		watch_stop(ix);
		hth_timer_close(ix->tick);
		hth_mailbox_close(ix->mailbox);
		hth_extractor_destroy(ix->extractor);
		destroy(ix);
		return status;
	}
	*ret_index = ix;
	return HTH_OK;
}

static void poke(hth_index *ix)
{
	(void)!hth_mailbox_post(ix->mailbox, ix);
}

void hth_index_stop(hth_index *ix)
{
	if (ix == NULL)
		return;
	atomic_store(&ix->stop, true);
	poke(ix);
	pthread_join(ix->thread, NULL);
	destroy(ix);
}

void hth_index_wake(hth_index *ix)
{
	atomic_store(&ix->wake, true);
	atomic_store(&ix->idle, false);
	poke(ix);
}

void hth_index_pause(hth_index *ix, bool pause)
{
	if (atomic_exchange(&ix->paused, pause) != pause)
		poke(ix);
}

bool hth_index_is_idle(hth_index *ix)
{
	/* In this order: what is no longer unread was noted in `idle` before it was read. */
	return !watch_has_unread(ix) && !atomic_load(&ix->wake) && atomic_load(&ix->idle);
}

/* Files a second over the last minute of work; 0: too few to tell. The mutex is held. */
static double rate_of(const hth_index *ix, bool ocr)
{
	uint64_t now = hth_clock_ms(), first = now, last = 0;
	size_t n = 0;
	for (size_t i = 0; i < RATE_SAMPLES && i < ix->done[ocr].n; i++) {
		if (now - ix->done[ocr].ms[i] > 60000)
			continue;
		first = HTH_MIN(first, ix->done[ocr].ms[i]);
		last = HTH_MAX(last, ix->done[ocr].ms[i]);
		n++;
	}
	return n > 1 && last > first ? (double)(n - 1) * 1000 / (double)(last - first) : 0;
}

hth_status hth_index_get_status(const char *home, hth_index *ix, hth_index_status *ret_status, hth_error *err)
{
	hth_index_status s;
	HTH_TRY(index_read_status(home, &s, err));
	if (ix != NULL) {
		s.kept = true;
		s.paused = atomic_load(&ix->paused);
		pthread_mutex_lock(&ix->mutex);
		s.files_per_s = rate_of(ix, false);
		s.ocr_files_per_s = rate_of(ix, true);
		memcpy(s.trouble, ix->trouble, sizeof s.trouble);
		if (ix->embedder.embed != NULL)
			memcpy(s.embedder, ix->embedder.model, sizeof s.embedder);
		pthread_mutex_unlock(&ix->mutex);
		/* Pictures take a hundred times as long as text: without a rate of their own nothing can be said. */
		double text = (double)(s.files[HTH_INDEX_WAITING] + s.store_files[HTH_INDEX_WAITING]),
		       ocr = ix->no_ocr ? 0 : (double)(s.files[HTH_INDEX_WAITING_OCR] + s.store_files[HTH_INDEX_WAITING_OCR]);
		if (text + ocr > 0 && (text <= 0 || s.files_per_s > 0) && (ocr <= 0 || s.ocr_files_per_s > 0))
			s.seconds_left = (uint64_t)((text > 0 ? text / s.files_per_s : 0) + (ocr > 0 ? ocr / s.ocr_files_per_s : 0)) + 1;
	}
	*ret_status = s;
	return HTH_OK;
}
