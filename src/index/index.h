/* index.h - the household's documents: folders are kept in step with a record of what they say, and searched. Read this
 * first.
 *
 * Everything is under $HEARTH_HOME/index (0700): record.db, the truth (SQLite: folders, files, documents, passages with
 * page and box), and words/, the word index made from it (words.h). One process keeps them (hth_index_start takes a
 * lock); any process reads them.
 *
 *   folder     what the owner named: a directory (a Maildir is one) or a single file (an mbox)
 *   file       a path in a folder, in one state of hth_index_state
 *   document   what a content says, by its hash: files of one content share one, and a file that moves keeps its own
 *   passage    a piece of a document of about 1200 bytes, on one page, or a file's name: what is found
 *
 * A file's state changes in the transaction that stores its passages, so a process that dies at any moment leaves no
 * file half indexed, and loses only the reading that was not stored. Nothing here is ever logged but counts and times.
 * Documents stay in this home: a folder may be marked for neighbours by its owner (`shared`), none can be public.
 */
#ifndef HTH_INDEX_INDEX_H
#define HTH_INDEX_INDEX_H

#include "base/status.h"

#include <stdint.h>

/* The numbers are stored. */
typedef enum hth_index_state {
	HTH_INDEX_WAITING, /* new or changed; what it said before, if anything, is still found */
	HTH_INDEX_INDEXED,
	HTH_INDEX_WAITING_OCR, /* its text is indexed; some of its pages are pictures that are not read yet */
	HTH_INDEX_UNREADABLE,  /* the reason says why */
	HTH_INDEX_EXCLUDED,    /* too large, or of a kind that holds no text: the reason says why */
	HTH_INDEX_STATE_COUNT
} hth_index_state;
const char *hth_index_state_name(hth_index_state state); /* "waiting", "indexed", "waiting_ocr", "unreadable", "excluded" */

enum { HTH_INDEX_PATH_MAX = 4096, HTH_INDEX_QUERY_MAX = 2000, HTH_INDEX_K_MAX = 200, HTH_INDEX_ID_LEN = 32 };

/* --- Folders: any process, any thread; the keeper notices by hth_index_wake, or at its next sweep --- */

/* path is made absolute. HTH_NOT_FOUND: there is nothing there; HTH_CONFLICT: within, or around, a folder that is there
 * already. */
HTH_MUST_USE hth_status hth_index_folder_add(const char *home, const char *path, bool shared, hth_error *err);
/* Its files are not found from now on; the keeper removes every trace. */
HTH_MUST_USE hth_status hth_index_folder_remove(const char *home, const char *path, hth_error *err);

/* --- Keeping --- */

typedef struct hth_index hth_index;
typedef struct hth_index_options {
	const char *home;
	const char *extractor;   /* the program; NULL: found by extract/ */
	uint64_t file_bytes_max; /* 0: 512 MiB; larger files are excluded */
	const char *powercap;    /* where the processor's meter is; NULL: the system's */
	uint32_t sweep_s;        /* 0: 900; folders are walked this often for what watching missed */
	bool no_ocr;             /* leave waiting_ocr as it is */
} hth_index_options;

/* Starts the thread that keeps the index. HTH_BUSY: another process does. */
HTH_MUST_USE hth_status hth_index_start(hth_index **ret_index, const hth_index_options *options, hth_error *err);
/* Ends it; what was read and not stored yet is stored. NULL is fine. */
void hth_index_stop(hth_index *index);
void hth_index_wake(hth_index *index); /* folders have changed: look now. Any thread. */
/* While somebody waits for an answer nothing new is begun, and OCR stands still. Any thread. */
void hth_index_pause(hth_index *index, bool pause);
/* Whether every file is read that is not waiting for OCR (or for nothing, with no_ocr false), and all that was read is
 * found; a change in a watched folder counts from the moment it is made. Any thread. */
bool hth_index_is_idle(hth_index *index);

/* --- Vectors: what passages mean to an embedding model, where the keeper is given one --- */

enum { HTH_INDEX_BATCH_MAX = 16, HTH_INDEX_KEY_BYTES = 32, HTH_INDEX_MODEL_MAX = 256 };
/* Passages whose vectors are wanted. */
typedef struct hth_index_batch {
	size_t n, n_dims;
	uint8_t key[HTH_INDEX_KEY_BYTES]; /* the model's */
	double cpu_seconds;               /* that making the vectors took, to be filled in: part of what the documents cost */
	struct {
		uint64_t id;
		char *text;
		float *vector; /* of n_dims, to be filled in (malloc); NULL: not done */
		bool hopeless; /* this text never gets one */
	} passages[HTH_INDEX_BATCH_MAX];
} hth_index_batch;
void hth_index_batch_free(hth_index_batch *batch);
typedef struct hth_index_embedder {
	char model[HTH_INDEX_MODEL_MAX];
	uint8_t key[HTH_INDEX_KEY_BYTES]; /* of the model's content and of how it is asked: vectors of another key go */
	/* Called on the index's thread, one batch at a time, when no text waits to be read and nobody for an answer. Takes over the batch;
	 * it is given to hth_index_embedded once, or freed when the index has been stopped. */
	void (*embed)(void *ctx, hth_index_batch *batch);
	void *ctx;
} hth_index_embedder;
/* Copied. NULL: there is none any more; the vectors stay. Any thread. */
void hth_index_set_embedder(hth_index *index, const hth_index_embedder *embedder);
/* The passages up to the first that was not done are kept. Any thread. */
void hth_index_embedded(hth_index *index, hth_index_batch *batch);

/* --- Status --- */

typedef struct hth_index_status {
	uint64_t files[HTH_INDEX_STATE_COUNT];       /* the household's */
	uint64_t store_files[HTH_INDEX_STATE_COUNT]; /* of vector stores (stores.h) */
	uint64_t unchanged; /* files that the last sweep of their folder found as they were */
	uint64_t skipped;   /* hidden, ignored or special files that the last sweep passed by */
	uint64_t documents, passages, text_bytes, pages;
	uint64_t word_bytes;               /* of the word index's files */
	uint64_t vectors, vector_bytes;    /* passages that have one */
	char vector_model[HTH_INDEX_MODEL_MAX]; /* whose they are; "": none was made yet */
	uint32_t folders, missing_folders; /* missing: not there now; what they said is still found */
	uint64_t away;                     /* files on disks that were mounted within folders and are not now; the same */
	uint64_t opened, extracted;        /* since the beginning: contents that were hashed; readings by the extractor, OCR's too */
	double cpu_seconds;                /* spent so far, by all processes that read, and by those that make vectors */
	double metered_joules, metered_cpu_seconds; /* what the processor's meter says of how many of them (cost.h) */
	uint64_t pages_read;               /* so far, those of files that are gone, too */
	int64_t since_unix;                /* the first folder that is there was named then; 0: there is none */
	/* Of the keeper, when it is this process: else 0. */
	char embedder[HTH_INDEX_MODEL_MAX]; /* the model that makes vectors; "": none */
	bool kept, paused;
	char trouble[200]; /* why nothing can be stored now ("... the disk that holds the index is full"); "": it can */
	double files_per_s, ocr_files_per_s; /* over the last minute of work: text, and pictures in files */
	uint64_t seconds_left; /* for the files that wait, at those rates; 0: none or not known */
} hth_index_status;
/* index may be NULL. */
HTH_MUST_USE hth_status hth_index_get_status(const char *home, hth_index *index, hth_index_status *ret_status, hth_error *err);

/* Calls fn for each folder, and for up to `limit` files of the given state; any process. Texts are borrowed for the
 * call. */
/* away: of the files, those on disks that are not there now. */
typedef void (*hth_index_folder_fn)(void *ctx, const char *path, bool shared, bool missing, uint64_t files, uint64_t away);
HTH_MUST_USE hth_status hth_index_each_folder(const char *home, hth_index_folder_fn fn, void *ctx, hth_error *err);
typedef void (*hth_index_file_fn)(void *ctx, const char *path, const char *reason);
HTH_MUST_USE hth_status hth_index_each_file(const char *home, hth_index_state state, size_t limit, hth_index_file_fn fn, void *ctx,
                                            hth_error *err);

/* --- Searching --- */

/* A reader belongs to one thread. Without an index it finds nothing. */
typedef struct hth_index_reader hth_index_reader;
HTH_MUST_USE hth_status hth_index_reader_open(hth_index_reader **ret_reader, const char *home, hth_error *err);
void hth_index_reader_close(hth_index_reader *reader);

/* text: words, "phrases", +must, -must_not. Filters: NULL or 0 for none. */
typedef struct hth_index_query {
	const char *text;
	size_t k;              /* 0: 10 */
	const char *folder;    /* path: only files within it */
	const char *type;      /* "pdf", "mail", ...: extract/'s kinds */
	const char *from;      /* a part of the author's or sender's name or address, letters' case aside */
	int64_t after, before; /* seconds since 1970 of the document's own date, else of the file's change; before is exclusive */
	double least_share;    /* only passages whose share (below) is at least this; 0: any */
	bool shared_only;      /* only folders that are marked for neighbours */
	const char *store;     /* only files of this vector store (stores.h); NULL: only the household's */
	bool (*accept)(void *ctx, const char *path); /* NULL: every file */
	void *accept_ctx;
	/* What the query means to the model of this key (NULL: not known). Where the passages have vectors of that key, ranks by words and
	 * by vectors are merged (reciprocal rank fusion: Cormack, Clarke, Buettcher, SIGIR 2009; k = 60). */
	const float *vector;
	size_t n_dims;
	const uint8_t *vector_key;
	bool nearest_too; /* passages that have none of the words are hits although they do not stand out among all as near */
} hth_index_query;

typedef struct hth_index_hit {
	char *file, *part, *title, *author; /* part: the attachment's or member's name, "" the file itself */
	const char *type;                   /* static */
	uint32_t page;                      /* 1-based; 0: it has no pages */
	bool has_box;
	float box[4]; /* as in extract.h */
	double score;
	double share;         /* 0 to 1: how much of what was asked it has, each word counted by how rare it is */
	char *text, *snippet; /* the whole passage; about 240 bytes of it around what was found, on one line */
	uint32_t (*marks)[2]; /* parts of the snippet that were asked for: [begin, end) in characters, ascending */
	size_t n_marks;
	int64_t date;    /* 0: not known */
	double similarity; /* cosine of the vectors; 0: not ranked by them */
	size_t n_copies; /* other files that say (nearly) the same and were left out for it */
	uint64_t passage;
	char document[HTH_INDEX_ID_LEN + 1]; /* what view.h shows; the same as long as the content is */
	uint32_t part_number;
} hth_index_hit;
typedef struct hth_index_hits {
	hth_index_hit *list;
	size_t n;
	bool by_vectors; /* not by words alone: scores are sums of 1 / (60 + rank) */
} hth_index_hits;
void hth_index_hits_finish(hth_index_hits *hits);

/* Best first. At most two hits a page and three a file. HTH_INVALID: the query has no word, or is too long. */
HTH_MUST_USE hth_status hth_index_search(hth_index_reader *reader, const hth_index_query *query, hth_index_hits *ret_hits, hth_error *err);

#endif
