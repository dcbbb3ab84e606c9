/* mbox-growth.c - an mbox that has become longer: where its beginning is what was read before, only the mails behind that are read, and
 * added to its document. Thread: the index's.
 *
 * The file is hashed as any file that has changed; on the way the hash of its first bytes, as many as it had, is held against the one it
 * had. What is appended is given to the extractor as a file of its own (in memory), so it numbers parts from the beginning; they are
 * counted on from the document's last part here, which is how a reading of the whole numbers them. Pictures of the new mails are read by
 * OCR the same way: the document says from which byte on. Whatever does not fit (another file has the same content, the reading was cut
 * short, the tail begins in the middle of a mail) is read whole.
 */
#include "base/mem.h"
#include "index/keeper.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TAIL_MAX = 64 << 20, CHUNK = 1 << 18 };

hth_status growth_look(hth_index *ix, int64_t document, uint64_t bytes_now, growth *ret_growth, hth_error *err)
{
	growth g = {0};
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	*ret_growth = g;
	if (document <= 0)
		return HTH_OK;
	HTH_TRY(record_prepare(&ix->r, &stmt, err,
	                       "SELECT hash, bytes, (SELECT max(number) FROM part WHERE document = ?1) FROM document WHERE id = ?1 AND "
	                       "bytes > 0 AND bytes < ?2 AND state IN (?3, ?4) AND reason = '' AND (SELECT count(*) FROM file WHERE "
	                       "document = ?1) = 1 AND EXISTS (SELECT 1 FROM part WHERE document = ?1 AND number = 0 AND kind = ?5)"));
	record_bind_all(stmt, "iiiii", document, (int64_t)bytes_now, (int64_t)HTH_INDEX_INDEXED, (int64_t)HTH_INDEX_WAITING_OCR,
	                (int64_t)HTH_KIND_MBOX);
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == HASH_BYTES) {
		memcpy(g.hash, sqlite3_column_blob(stmt, 0), HASH_BYTES);
		g.document = document;
		g.bytes = (uint64_t)sqlite3_column_int64(stmt, 1);
		g.parts = (uint32_t)sqlite3_column_int64(stmt, 2);
		*ret_growth = g;
	}
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? HTH_OK : record_fail(&ix->r, rc, "looking for what a file was", err);
}

hth_status growth_ocr_from(hth_index *ix, int64_t document, uint64_t *ret_from, uint32_t *ret_parts, hth_error *err)
{
	int64_t from = 0, parts = 0;
	HTH_TRY(record_int(&ix->r, &from, 0, err, "SELECT ocr_from FROM document WHERE id = ?1", "i", document));
	HTH_TRY(record_int(&ix->r, &parts, 0, err, "SELECT ocr_parts FROM document WHERE id = ?1", "i", document));
	*ret_from = (uint64_t)from;
	*ret_parts = (uint32_t)parts;
	return HTH_OK;
}

static bool is_whole_read(int fd, void *bytes, size_t n, uint64_t at)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, (char *)bytes + have, n - have, (off_t)(at + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

/* A mail begins there: a line end before, and "From " after at most one empty line. Moves *from to it. */
static bool begins_a_mail(int fd, uint64_t *from, uint64_t to)
{
	char text[9] = ""; /* "\n", "\r\n", "From " */
	if (*from == 0 || to < *from + sizeof text - 1 || !is_whole_read(fd, text, sizeof text - 1, *from - 1) || text[0] != '\n')
		return false;
	size_t skip = 1 + (text[1] == '\n' ? 1 : strncmp(text + 1, "\r\n", 2) == 0 ? 2 : 0);
	*from += skip - 1;
	return strncmp(text + skip, "From ", 5) == 0;
}

int growth_open_tail(int fd, uint64_t from, uint64_t to)
{
	if (!begins_a_mail(fd, &from, to) || to - from > TAIL_MAX)
		return -1;
	HTH_AUTO_FREE char *chunk = malloc(CHUNK);
	int tail = chunk != NULL ? memfd_create("mails", MFD_CLOEXEC) : -1;
	while (tail >= 0 && from < to) {
		size_t n = (size_t)HTH_MIN((uint64_t)CHUNK, to - from);
		ssize_t written = is_whole_read(fd, chunk, n, from) ? write(tail, chunk, n) : -1;
		if (written != (ssize_t)n) {
			close(tail);
			return -1;
		}
		from += n;
	}
	return tail;
}

void growth_shift(reading *r, uint32_t parts_before)
{
	for (size_t i = 0; i < r->n_parts; i++) {
		r->parts[i].number += r->parts[i].number > 0 ? parts_before : 0;
		r->parts[i].parent += r->parts[i].parent > 0 ? parts_before : 0;
	}
	for (size_t i = 0; i < r->n_passages; i++)
		r->passages[i].part += r->passages[i].part > 0 ? parts_before : 0;
}

/* The file itself is there already, with all that is known of it. */
static bool take_out_root(reading *r)
{
	for (size_t i = 0; i < r->n_passages; i++)
		if (r->passages[i].part == 0)
			return false;
	for (size_t i = 0; i < r->n_parts; i++) {
		if (r->parts[i].number != 0)
			continue;
		bool is_mbox = r->parts[i].kind == HTH_KIND_MBOX;
		free(r->parts[i].name);
		free(r->parts[i].title);
		free(r->parts[i].author);
		free(r->parts[i].recipients);
		r->parts[i] = r->parts[--r->n_parts];
		return is_mbox;
	}
	return false;
}

hth_status growth_store(hth_index *ix, intake_job *j, int64_t state, bool *ret_fits, hth_error *err)
{
	int64_t as_before = 0, known = 0, before = 0, first = 0;
	HTH_TRY(record_int(&ix->r, &as_before, 0, err,
	                   "SELECT 1 FROM file WHERE id = ?1 AND document = ?2 AND (SELECT count(*) FROM file WHERE document = ?2) = 1"
	                   " AND (SELECT max(number) FROM part WHERE document = ?2) = ?3",
	                   "iii", j->file, j->document, (int64_t)j->parts_before));
	HTH_TRY(record_int(&ix->r, &known, 0, err, "SELECT 1 FROM document WHERE hash = ?1", "b", j->hash, sizeof j->hash));
	HTH_TRY(record_int(&ix->r, &before, 0, err, "SELECT state FROM document WHERE id = ?1", "i", j->document));
	*ret_fits = as_before != 0 && known == 0 && take_out_root(&j->reading);
	if (!*ret_fits)
		return HTH_OK;
	growth_shift(&j->reading, j->parts_before);
	HTH_TRY(intake_insert_passages(ix, j, j->document, &first, err));
	HTH_TRY(intake_insert_parts(ix, j, j->document, first, err));
	ix->pages_read += j->reading.pages;
	/* Pictures that wait already are read together with the new ones. */
	if (before != HTH_INDEX_WAITING_OCR)
		HTH_TRY(record_do(&ix->r, err, "UPDATE document SET ocr_from = bytes, ocr_parts = ?2, state = ?3 WHERE id = ?1", "iii",
		                  j->document, (int64_t)j->parts_before, state));
	return record_do(&ix->r, err, "UPDATE document SET hash = ?2, bytes = ?3, pages = pages + ?4, text_bytes = text_bytes + ?5 WHERE "
	                              "id = ?1", "ibiii",
	                 j->document, j->hash, sizeof j->hash, (int64_t)j->st.st_size, (int64_t)j->reading.pages,
	                 (int64_t)j->reading.text.len);
}
