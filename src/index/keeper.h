/* keeper.h - what the files of the index's keeper share: its thread, its record, the file that is read. Only this
 * folder includes it.
 *
 *   keeper.c   the thread, its turns: what is due, in which order
 *   watch.c    inotify: which paths and folders are to be looked at again
 *   intake.c   a file's way: opened, hashed, known or read by the extractor, stored
 *   mbox-growth.c   an mbox to which mails were appended: only these are read
 *   embed.c    vectors for the passages, by whoever has a model
 */
#ifndef HTH_INDEX_KEEPER_H
#define HTH_INDEX_KEEPER_H

#include "base/energy.h"
#include "index/passages.h"
#include "index/index-record.h"
#include "index/sweep.h"
#include "index/vectors.h"
#include "index/words.h"

#include <pthread.h>
#include <stdatomic.h>

enum { HASH_BYTES = 32, IN_FLIGHT_MAX = 2, EVENT_PATHS_MAX = 5000, RATE_SAMPLES = 64 };

typedef struct intake_job {
	hth_index *ix;
	int64_t file, document; /* document: of an OCR reading */
	bool ocr, needs_ocr;
	bool grown;            /* what is read are the mails that were appended to `document`, whose parts are so many: */
	uint32_t parts_before; /* also of an OCR reading of such */
	uint8_t hash[HASH_BYTES];
	struct stat st;
	reading reading;
	hth_extract_job *at; /* with the extractor */
	struct intake_job *next;
} intake_job;

typedef struct watched {
	int64_t folder;
	char *rel; /* NULL: not watched any more */
} watched;

typedef struct event_path {
	int64_t folder;
	char *rel;
} event_path;

struct hth_index {
	char home[HTH_INDEX_PATH_MAX];
	uint64_t file_bytes_max;
	uint64_t sweep_ms;
	bool no_ocr;
	hth_loop *loop;
	hth_mailbox *mailbox;
	hth_timer *tick;
	pthread_t thread;
	record r;
	hth_words *words;
	hth_extractor *extractor;
	atomic_bool stop, wake, paused, idle;
	/* watch.c */
	int inotify;
	hth_watch *watch;
	watched *watched; /* by its number */
	size_t n_watched;
	event_path *events;
	size_t n_events;
	int64_t *dirty; /* folders to walk */
	size_t n_dirty;
	uint64_t first_event_ms, last_event_ms;
	bool overflowed;
	/* keeper.c */
	uint64_t swept_ms, words_committed_ms, purged_ms, retry_ms;
	bool swept_once, purge, purge_now;
	/* intake.c */
	intake_job *jobs;
	size_t n_jobs;
	bool in_transaction;
	uint64_t transaction_ms, transaction_bytes;
	struct {
		uint64_t ms[RATE_SAMPLES], n;
	} done[2]; /* files that were read: their text, their pictures */
	double cpu_stored;
	hth_energy_meter meter;
	uint64_t pages_read; /* since the last commit */
	uint64_t opened, extracted; /* since they were last stored */
	/* embed.c */
	hth_vectors *vectors;
	uint64_t embedded_to, vectors_committed_ms, embed_retry_ms; /* embedded_to: a passage's id */
	bool batch_out;
	double embed_cpu_seconds, embed_cpu_stored; /* since the beginning */
	hth_index_embedder embedder; /* under the mutex, and so is the next */
	hth_index_batch *batch_back;
	char trouble[200];     /* the last turn's, "" when it went well */
	pthread_mutex_t mutex; /* of what status reads: done, trouble; and of the two above it */
};

/* watch.c */
HTH_MUST_USE hth_status watch_start(hth_index *ix, hth_error *err);
void watch_stop(hth_index *ix);
void watch_directory(void *ctx, int64_t folder, const char *folder_path, const char *rel); /* a hook of sweeps */
void watch_forget_folder(hth_index *ix, int64_t folder);
bool watch_is_due(const hth_index *ix); /* events have come, and a moment has passed without more */
bool watch_has_unread(const hth_index *ix); /* what the system has told and nobody read yet; any thread */
bool watch_has_events(const hth_index *ix);
/* Looks at what the events were about. */
HTH_MUST_USE hth_status watch_handle(hth_index *ix, hth_error *err);
HTH_MUST_USE hth_status keeper_sweep(hth_index *ix, int64_t folder, const char *path, hth_error *err);

/* keeper.c */
void keeper_note_trouble(hth_index *ix, const char *why); /* "": there is none */

/* mbox-growth.c */
typedef struct growth {
	int64_t document; /* 0: it is no mbox that was read before */
	uint64_t bytes;   /* its length then */
	uint8_t hash[HASH_BYTES];
	uint32_t parts;
} growth;
/* What a file was when it was read, where it could have grown. */
HTH_MUST_USE hth_status growth_look(hth_index *ix, int64_t document, uint64_t bytes_now, growth *ret_growth, hth_error *err);
/* A file of its own in memory with what comes after `from`, which begins with a mail; -1: it does not, or is too much. */
int growth_open_tail(int fd, uint64_t from, uint64_t to);
/* Adds what was read to its document. *ret_fits false: it cannot be; the file is to be read whole then. */
HTH_MUST_USE hth_status growth_store(hth_index *ix, intake_job *j, int64_t state, bool *ret_fits, hth_error *err);
/* Where an OCR reading of a document begins, and after which part. */
HTH_MUST_USE hth_status growth_ocr_from(hth_index *ix, int64_t document, uint64_t *ret_from, uint32_t *ret_parts, hth_error *err);
void growth_shift(reading *r, uint32_t parts_before);

/* intake.c */
HTH_MUST_USE hth_status intake_insert_passages(hth_index *ix, intake_job *j, int64_t document, int64_t *ret_first, hth_error *err);
HTH_MUST_USE hth_status intake_insert_parts(hth_index *ix, intake_job *j, int64_t document, int64_t first, hth_error *err);
/* Begins the next file, if any; *ret_more: perhaps another one can be begun now. */
HTH_MUST_USE hth_status intake_next(hth_index *ix, bool *ret_more, hth_error *err);
HTH_MUST_USE hth_status intake_commit(hth_index *ix, hth_error *err); /* stores what was read */
void intake_roll_back(hth_index *ix);
void intake_cancel(hth_index *ix);
HTH_MUST_USE hth_status intake_begin(hth_index *ix, hth_error *err); /* the transaction that several files share */
/* Gives the word index what the record has and it has not. */
HTH_MUST_USE hth_status intake_feed_words(hth_index *ix, bool commit, hth_error *err);


/* embed.c */
HTH_MUST_USE hth_status embed_open(hth_index *ix, hth_error *err);
void embed_close(hth_index *ix);
HTH_MUST_USE hth_status embed_turn(hth_index *ix, bool may_begin, hth_error *err);
HTH_MUST_USE hth_status embed_removed(hth_index *ix, uint64_t first, uint64_t last, hth_error *err);
HTH_MUST_USE hth_status embed_commit(hth_index *ix, hth_error *err);

/* names.c: passages of the names that have none yet; *ret_more: there are others. */
HTH_MUST_USE hth_status names_make(hth_index *ix, bool *ret_more, hth_error *err);

#endif
