/* embed.c - vectors for passages: which are next, what becomes of those that come back, and when they are committed. Thread: the index's,
 * but for the two functions by which somebody else hands something over.
 *
 * Files' names (names.c) are words alone. One batch is out at a time. It goes when no text waits to be read (vectors come after words) and
 * nobody waits for an answer. What comes back is checked against the record: a passage that was removed meanwhile leaves no vector. Vectors
 * are committed by the thousand, or every ten seconds, or when none is left to make; the mark says up to which passage, so what a crash
 * loses is embedded again.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/keeper.h"

#include <stdio.h>

enum { COMMIT_AT = 2048, COMMIT_MS = 10000, RETRY_MS = 10000 };

void hth_index_batch_free(hth_index_batch *batch)
{
	for (size_t i = 0; batch != NULL && i < batch->n; i++) {
		free(batch->passages[i].text);
		free(batch->passages[i].vector);
	}
	free(batch);
}

hth_status embed_open(hth_index *ix, hth_error *err)
{
	char folder[HTH_INDEX_PATH_MAX];
	snprintf(folder, sizeof folder, "%.4000s/index/vectors", ix->home);
	const hth_vectors_options options = {.write = true};
	hth_status status = hth_vectors_open(&ix->vectors, folder, &options, err);
	if (status == HTH_BAD_FORMAT) {
		hth_log(HTH_LOG_WARN, "index: the passages' vectors cannot be used; they are made again");
		HTH_TRY(hth_vectors_erase(folder, err));
		status = hth_vectors_open(&ix->vectors, folder, &options, err);
	}
	if (status == HTH_OK)
		ix->embedded_to = hth_vectors_mark(ix->vectors);
	return status;
}

void embed_close(hth_index *ix)
{
	hth_vectors_close(ix->vectors);
	hth_index_batch_free(ix->batch_back);
}

void hth_index_set_embedder(hth_index *ix, const hth_index_embedder *embedder)
{
	pthread_mutex_lock(&ix->mutex);
	ix->embedder = embedder != NULL ? *embedder : (hth_index_embedder){.embed = NULL};
	pthread_mutex_unlock(&ix->mutex);
	(void)!hth_mailbox_post(ix->mailbox, ix);
}

void hth_index_embedded(hth_index *ix, hth_index_batch *batch)
{
	pthread_mutex_lock(&ix->mutex);
	hth_index_batch *before = ix->batch_back;
	ix->batch_back = batch;
	pthread_mutex_unlock(&ix->mutex);
	hth_index_batch_free(before);
	(void)!hth_mailbox_post(ix->mailbox, ix);
}

hth_status embed_removed(hth_index *ix, uint64_t first, uint64_t last, hth_error *err)
{
	return hth_vectors_remove(ix->vectors, first, last, err);
}

hth_status embed_commit(hth_index *ix, hth_error *err)
{
	if (ix->embed_cpu_seconds > ix->embed_cpu_stored) { /* the record's totals are stored with a commit */
		double told = ix->embed_cpu_seconds;
		HTH_TRY(intake_begin(ix, err));
		HTH_TRY(intake_commit(ix, err));
		ix->embed_cpu_stored = told;
	}
	HTH_TRY(hth_vectors_commit(ix->vectors, ix->embedded_to, err));
	ix->vectors_committed_ms = hth_clock_ms();
	return HTH_OK;
}

static hth_status store(hth_index *ix, hth_index_batch *batch, hth_error *err)
{
	for (size_t i = 0; i < batch->n; i++) {
		uint64_t id = batch->passages[i].id;
		int64_t there = 0;
		if (batch->passages[i].vector == NULL && !batch->passages[i].hopeless) {
			ix->embed_retry_ms = i == 0 ? hth_clock_ms() + RETRY_MS : 0;
			return HTH_OK;
		}
		HTH_TRY(record_int(&ix->r, &there, 0, err, "SELECT 1 FROM passage WHERE id = ?1", "i", (int64_t)id));
		if (there != 0 && batch->passages[i].vector != NULL) {
			hth_status status = hth_vectors_add(ix->vectors, id, batch->passages[i].vector, batch->n_dims, err);
			if (status == HTH_BUSY) {
				HTH_TRY(embed_commit(ix, err));
				status = hth_vectors_add(ix->vectors, id, batch->passages[i].vector, batch->n_dims, err);
			}
			if (status != HTH_OK && status != HTH_INVALID && status != HTH_CONFLICT) /* such a vector is of no use to anybody */
				return status;
		}
		ix->embedded_to = id;
	}
	return HTH_OK;
}

static hth_status send_next(hth_index *ix, const hth_index_embedder *embedder, bool *ret_sent, hth_error *err)
{
	*ret_sent = false;
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(&ix->r, &stmt, err,
	                       "SELECT id, text FROM passage WHERE id > ?1 AND part >= 0 ORDER BY id LIMIT ?2" /* not names */));
	record_bind_all(stmt, "ii", (int64_t)ix->embedded_to, (int64_t)HTH_INDEX_BATCH_MAX);
	hth_index_batch *batch = calloc(1, sizeof *batch);
	if (batch == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
	memcpy(batch->key, embedder->key, sizeof batch->key);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && batch->n < HTH_INDEX_BATCH_MAX) {
		batch->passages[batch->n].id = (uint64_t)sqlite3_column_int64(stmt, 0);
		batch->passages[batch->n].text = strdup(record_text(stmt, 1));
		if (batch->passages[batch->n++].text == NULL) {
			hth_index_batch_free(batch);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for vectors");
		}
	}
	if ((rc != SQLITE_ROW && rc != SQLITE_DONE) || batch->n == 0) {
		hth_index_batch_free(batch);
		return rc == SQLITE_DONE || rc == SQLITE_ROW ? HTH_OK : record_fail(&ix->r, rc, "reading passages", err);
	}
	ix->batch_out = *ret_sent = true;
	embedder->embed(embedder->ctx, batch);
	return HTH_OK;
}

hth_status embed_turn(hth_index *ix, bool may_begin, hth_error *err)
{
	pthread_mutex_lock(&ix->mutex);
	const hth_index_embedder embedder = ix->embedder;
	hth_index_batch *back = ix->batch_back;
	ix->batch_back = NULL;
	pthread_mutex_unlock(&ix->mutex);
	if (embedder.embed != NULL && hth_vectors_set_model(ix->vectors, embedder.model, embedder.key))
		ix->embedded_to = 0;
	hth_status status = HTH_OK;
	if (back != NULL) {
		ix->batch_out = false;
		ix->embed_cpu_seconds += back->cpu_seconds;
		if (embedder.embed != NULL && memcmp(back->key, embedder.key, sizeof back->key) == 0)
			status = store(ix, back, err);
		hth_index_batch_free(back);
		HTH_TRY(status);
	}
	uint64_t now = hth_clock_ms();
	bool sent = ix->batch_out;
	if (embedder.embed != NULL && !sent && may_begin && now >= ix->embed_retry_ms)
		HTH_TRY(send_next(ix, &embedder, &sent, err));
	size_t pending = hth_vectors_pending(ix->vectors);
	if (pending >= COMMIT_AT || (pending > 0 && (!sent || now - ix->vectors_committed_ms >= COMMIT_MS)))
		return embed_commit(ix, err);
	return HTH_OK;
}
