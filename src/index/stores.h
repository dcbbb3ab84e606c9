/* stores.h - files that a program sends, and the vector stores that they are put into: OpenAI's /v1/files and /v1/vector_stores, over the
 * same index.
 *
 * A file's bytes are $HEARTH_HOME/files/ID.EXT; a store is the folder $HEARTH_HOME/stores/ID, whose entries are hard links to its files,
 * and which the keeper watches and reads like any folder of the household (one extractor, one record; contents that are there already cost
 * nothing). What is in a store is found only through the store. The household's own folders are stores too, which nobody can change through
 * here: "vs_documents", all of them, and "vs_folder_N", one each.
 *
 * Rows come first, links second: what a crash leaves between them is mended by hth_stores_mend. Any thread; each call has a connection of
 * its own to the record. JSON is in the shapes of OpenAI's API reference; results are new references. Errors: HTH_NOT_FOUND, HTH_INVALID
 * with the field (also over a limit), HTH_DENIED for changes of the household's stores.
 */
#ifndef HTH_INDEX_STORES_H
#define HTH_INDEX_STORES_H

#include "index/index.h"
#include "json/json.h"

enum { HTH_UPLOADS_MAX = 10000, HTH_STORES_MAX = 1000, HTH_STORE_FILES_MAX = 10000, HTH_STORE_ID_MAX = 64, HTH_STORE_QUERIES_MAX = 8,
       HTH_STORE_RESULTS_MAX = 50 };
#define HTH_UPLOAD_BYTES_MAX (UINT64_C(512) << 20)

/* --- Files --- */

/* Takes over the file at `path` (which lies on home's disk, in hth_uploads_folder), whole and synced. */
HTH_MUST_USE hth_status hth_uploads_put(const char *home, const char *path, const char *name, const char *purpose, json_t **ret_file,
                                        hth_error *err);
/* Makes the folder for what is being received. */
HTH_MUST_USE hth_status hth_uploads_folder(const char *home, char *out, size_t out_len, hth_error *err);
HTH_MUST_USE hth_status hth_uploads_get(const char *home, const char *id, json_t **ret_file, hth_error *err);
/* an array, oldest first */
HTH_MUST_USE hth_status hth_uploads_list(const char *home, const char *purpose, json_t **ret_files, hth_error *err);
HTH_MUST_USE hth_status hth_uploads_open(const char *home, const char *id, int *ret_fd, hth_error *err);
/* Also takes it out of every store. */
HTH_MUST_USE hth_status hth_uploads_delete(const char *home, const char *id, hth_error *err);

/* --- Stores --- */

/* body: name, metadata, file_ids, expires_after, as the API has them. */
HTH_MUST_USE hth_status hth_stores_create(const char *home, const json_t *body, json_t **ret_store, hth_error *err);
HTH_MUST_USE hth_status hth_stores_get(const char *home, const char *id, json_t **ret_store, hth_error *err);
/* an array: sent ones, oldest first, then the household's */
HTH_MUST_USE hth_status hth_stores_list(const char *home, json_t **ret_stores, hth_error *err);
HTH_MUST_USE hth_status hth_stores_update(const char *home, const char *id, const json_t *body, json_t **ret_store, hth_error *err);
HTH_MUST_USE hth_status hth_stores_delete(const char *home, const char *id, hth_error *err);

/* body: file_id, attributes. */
HTH_MUST_USE hth_status hth_store_files_add(const char *home, const char *store, const json_t *body, json_t **ret_file, hth_error *err);
HTH_MUST_USE hth_status hth_store_files_get(const char *home, const char *store, const char *id, json_t **ret_file, hth_error *err);
/* status, batch: NULL for all. Of the household's stores the first HTH_STORE_FILES_MAX files. */
HTH_MUST_USE hth_status hth_store_files_list(const char *home, const char *store, const char *status, const char *batch, json_t **ret_files,
                                             hth_error *err);
HTH_MUST_USE hth_status hth_store_files_update(const char *home, const char *store, const char *id, const json_t *body, json_t **ret_file,
                                               hth_error *err);
/* What was read of it, passage by passage. */
HTH_MUST_USE hth_status hth_store_files_content(const char *home, const char *store, const char *id, json_t **ret_page, hth_error *err);
HTH_MUST_USE hth_status hth_store_files_delete(const char *home, const char *store, const char *id, hth_error *err);

/* body: file_ids, attributes; or files, an array of bodies as above. */
HTH_MUST_USE hth_status hth_store_batches_create(const char *home, const char *store, const json_t *body, json_t **ret_batch,
                                                 hth_error *err);
HTH_MUST_USE hth_status hth_store_batches_get(const char *home, const char *store, const char *id, json_t **ret_batch, hth_error *err);
/* What is not read yet is taken out again. */
HTH_MUST_USE hth_status hth_store_batches_cancel(const char *home, const char *store, const char *id, json_t **ret_batch, hth_error *err);

/* --- Searching --- */

typedef struct hth_store_query {
	char *text; /* owned */
	float *vector; /* owned; NULL: words alone */
	size_t n_dims;
	uint8_t key[HTH_INDEX_KEY_BYTES];
} hth_store_query;
typedef struct hth_store_ask {
	hth_store_query queries[HTH_STORE_QUERIES_MAX];
	size_t n, k;
	double threshold;
	json_t *filters; /* owned; NULL: none */
} hth_store_ask;
/* body: query, max_num_results, filters, ranking_options; rewrite_query is taken and not followed. */
HTH_MUST_USE hth_status hth_store_ask_read(const json_t *body, hth_store_ask *ret_ask, hth_error *err);
void hth_store_ask_finish(hth_store_ask *ask);
HTH_MUST_USE hth_status hth_store_search(hth_index_reader *reader, const char *home, const char *store, const hth_store_ask *ask,
                                         json_t **ret_page, hth_error *err);

/* Empties the stores whose time (expires_after) is over at now_unix. The keeper does it at each of its walks, and so does every call that
 * uses a store. */
HTH_MUST_USE hth_status hth_stores_expire(const char *home, int64_t now_unix, hth_error *err);

/* Links that a crash left out are made, files that no row names are removed. Once, before the keeper starts. */
void hth_stores_mend(const char *home);

#endif
