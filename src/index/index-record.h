/* index-record.h - the record of documents: record.db, its schema, and the small helpers that its users share. Only
 * this folder includes it.
 *
 * WAL, synchronous, deleted content is overwritten (secure_delete). One process writes passages; folders may be named
 * by another.
 */
#ifndef HTH_INDEX_INDEX_RECORD_H
#define HTH_INDEX_INDEX_RECORD_H

#include "base/buf.h"
#include "index/index.h"

#include <sqlite3.h>

typedef struct record {
	sqlite3 *db;
	struct {
		const char *sql; /* static */
		sqlite3_stmt *stmt;
	} kept[12];
} record;

/* Opens (and makes, when `make`) home's record. HTH_NOT_FOUND: there is none. */
HTH_MUST_USE hth_status record_open(record *ret_record, const char *home, bool make, hth_error *err);
void record_close(record *r);
hth_status record_fail(record *r, int rc, const char *doing, hth_error *err);
HTH_MUST_USE hth_status record_prepare(record *r, sqlite3_stmt **ret_stmt, hth_error *err, const char *sql);
/* A statement that is kept for the next time, given back by record_return_p. sql is static: its address is what it is known by. */
HTH_MUST_USE hth_status record_borrow(record *r, sqlite3_stmt **ret_stmt, hth_error *err, const char *sql);
static inline void record_return_p(sqlite3_stmt **stmt)
{
	sqlite3_reset(*stmt);
	sqlite3_clear_bindings(*stmt);
}
HTH_MUST_USE hth_status record_run(record *r, hth_error *err, const char *sql);
/* Binds by kind: 'i' int64_t, 's' const char * (NULL is NULL), 'b' const void * and size_t; copied. Then steps to the
 * end. */
HTH_MUST_USE hth_status record_do(record *r, hth_error *err, const char *sql, const char *kinds, ...);
/* The same, and the first column of the first row; `otherwise` when there is no row. */
HTH_MUST_USE hth_status record_int(record *r, int64_t *ret_value, int64_t otherwise, hth_error *err, const char *sql, const char *kinds,
                                   ...);
void record_bind(sqlite3_stmt *stmt, const char *kinds, va_list args);
void record_bind_all(sqlite3_stmt *stmt, const char *kinds, ...);
static inline void record_finalize_p(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}
static inline void record_close_p(record *r)
{
	record_close(r);
}
static inline const char *record_text(sqlite3_stmt *stmt, int column)
{
	const char *s = (const char *)sqlite3_column_text(stmt, column);
	return s != NULL ? s : "";
}
/* "FOLDER/REL", or FOLDER where rel is "". False when it is too long. */
bool record_path(char out[HTH_INDEX_PATH_MAX], const char *folder, const char *rel);
/* A document's name outside of the record: the first half of its content's hash, in hex. "": there is no such document. */
HTH_MUST_USE hth_status record_document_id(record *r, int64_t document, char ret_id[HTH_INDEX_ID_LEN + 1], hth_error *err);
/* The other way. HTH_NOT_FOUND. */
HTH_MUST_USE hth_status record_find_document(record *r, const char *id, int64_t *ret_document, hth_error *err);
/* Removes the document unless a file still has it; its passages go to `removed`, for the word index. */
HTH_MUST_USE hth_status record_drop_document(record *r, int64_t document, hth_error *err);
/* Its files wait again, as if they had never been read. */
HTH_MUST_USE hth_status record_forget_document(record *r, int64_t document, hth_error *err);
/* At a start: what could not be opened or whose readers were killed waits again, and, when the extractor has learnt kinds of files
 * since the record was last kept, what was unreadable or excluded by its kind. reads: what it knows now. */
HTH_MUST_USE hth_status record_read_again(record *r, int64_t reads, hth_error *err);
/* Removes one file and, when it was the last, its document. */
HTH_MUST_USE hth_status record_drop_file(record *r, int64_t file, hth_error *err);

#endif
