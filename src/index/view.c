/* view.c - see view.h. Any thread. */
#include "index/view.h"

#include "base/mem.h"
#include "extract/extract.h"
#include "index/index-record.h"
#include "index/passages.h"
#include "index/snippet.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* Of a document without pages, this many passages before the hit are shown with it. */
enum { BEFORE = 10 };

bool hth_index_view_is_drawn(const char *type)
{
	return strcmp(type, "pdf") == 0 || strcmp(type, "image") == 0;
}

void hth_index_view_finish(hth_view *v)
{
	for (size_t i = 0; i < v->n; i++) {
		free(v->passages[i].text);
		free(v->passages[i].marks);
		free(v->passages[i].places);
		free(v->passages[i].blocks);
	}
	free(v->passages);
	free(v->file);
	free(v->part);
	free(v->title);
	free(v->author);
	if (v->fd >= 0)
		close(v->fd);
	*v = (hth_view){.fd = -1};
}

static hth_status read_part(record *r, int64_t document, const hth_view_ask *ask, hth_view *v, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err,
	                       "SELECT kind, date, name, title, author, (SELECT pages FROM document WHERE id = ?1) FROM part"
	                       " WHERE document = ?1 AND number = ?2"));
	record_bind_all(stmt, "ii", document, (int64_t)ask->part);
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return hth_fail(err, HTH_NOT_FOUND, "this document has no part %u", ask->part);
	v->type = hth_extract_kind_name((hth_extract_kind)sqlite3_column_int(stmt, 0));
	v->date = sqlite3_column_int64(stmt, 1);
	v->part = strdup(record_text(stmt, 2));
	v->title = strdup(record_text(stmt, 3));
	v->author = strdup(record_text(stmt, 4));
	v->pages = ask->page > 0 ? (uint32_t)sqlite3_column_int64(stmt, 5) : 0;
	v->page = ask->page;
	v->part_number = ask->part;
	return v->part != NULL && v->title != NULL && v->author != NULL ? HTH_OK
	                                                                : hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
}

/* A descriptor of the file if it still is as it was read, else -1. */
static int open_unchanged(const char *path, int64_t size, int64_t mtime)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == size &&
	    (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == mtime)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static hth_status find_file(record *r, int64_t document, bool open_file, hth_view *v, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err,
	                       "SELECT folder.path, file.path, file.size, file.mtime FROM file JOIN folder ON folder.id = file.folder"
	                       " WHERE document = ?1 AND folder.removed = 0 ORDER BY file.id"));
	sqlite3_bind_int64(stmt, 1, document);
	bool any = false;
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		char path[HTH_INDEX_PATH_MAX];
		if (!record_path(path, record_text(stmt, 0), record_text(stmt, 1)))
			continue;
		any = true;
		if (open_file && (v->fd = open_unchanged(path, sqlite3_column_int64(stmt, 2), sqlite3_column_int64(stmt, 3))) < 0)
			continue;
		v->file = strdup(path);
		return v->file != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
	}
	return any ? hth_fail(err, HTH_CONFLICT, "the file has changed since it was read, or is not there now; search again in a moment")
	           : hth_fail(err, HTH_NOT_FOUND, "there is no such document here");
}

static hth_status take_blocks(hth_view_passage *p, sqlite3_stmt *stmt, hth_error *err)
{
	const void *bytes = sqlite3_column_blob(stmt, 4);
	size_t len = (size_t)sqlite3_column_bytes(stmt, 4);
	if (bytes == NULL || len < PLACE_BYTES)
		return HTH_OK;
	p->blocks = malloc(len);
	if (p->blocks == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
	memcpy(p->blocks, bytes, len);
	p->n_blocks = len / PLACE_BYTES;
	return HTH_OK;
}

/* The boxes of the blocks in which something is marked. */
static hth_status find_places(hth_view_passage *p, hth_error *err)
{
	if (p->n_blocks == 0 || p->n_marks == 0)
		return HTH_OK;
	p->places = hth_alloc_array(p->n_blocks, sizeof *p->places);
	if (p->places == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
	for (size_t i = 0; i < p->n_blocks; i++) {
		uint32_t begin, end = UINT32_MAX;
		float box[4], next[4];
		bool has = false;
		reading_get_place(p->blocks + i * PLACE_BYTES, &begin, box);
		if (i + 1 < p->n_blocks)
			reading_get_place(p->blocks + (i + 1) * PLACE_BYTES, &end, next);
		for (size_t k = 0; k < p->n_marks; k++)
			has |= p->marks[k][0] >= begin && p->marks[k][0] < end;
		if (has)
			memcpy(p->places[p->n_places++], box, sizeof box);
	}
	return HTH_OK;
}

static hth_status read_passages(record *r, int64_t document, const hth_view_ask *ask, hth_view *v, uint32_t *ret_languages, hth_error *err)
{
	int64_t from = 0;
	/* A page is shown from its beginning, a text without pages around the hit. */
	if (ask->page == 0 && ask->passage > 0)
		HTH_TRY(record_int(r, &from, 0, err,
		                   "SELECT min(id) FROM (SELECT id FROM passage WHERE document = ?1 AND part = ?2 AND page = 0 AND id <= ?3"
		                   " ORDER BY id DESC LIMIT ?4)",
		                   "iiii", document, (int64_t)ask->part, (int64_t)HTH_MIN(ask->passage, (uint64_t)INT64_MAX),
		                   (int64_t)BEFORE));
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(
	    r, &stmt, err,
	    "SELECT id, box, text, language, places FROM passage WHERE document = ?1 AND part = ?2 AND page = ?3 AND id >= ?4"
	    " ORDER BY id LIMIT ?5"));
	record_bind_all(stmt, "iiiii", document, (int64_t)ask->part, (int64_t)ask->page, from, (int64_t)HTH_VIEW_PASSAGES_MAX + 1);
	v->passages = hth_alloc_array(HTH_VIEW_PASSAGES_MAX, sizeof *v->passages);
	if (v->passages == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && v->n < HTH_VIEW_PASSAGES_MAX) {
		hth_view_passage *p = &v->passages[v->n++];
		p->id = (uint64_t)sqlite3_column_int64(stmt, 0);
		p->has_box = sqlite3_column_type(stmt, 1) != SQLITE_NULL && reading_unpack_box(sqlite3_column_int64(stmt, 1), p->box);
		p->text = strdup(record_text(stmt, 2));
		HTH_TRY(take_blocks(p, stmt, err));
		*ret_languages |= 1u << (sqlite3_column_int(stmt, 3) % HTH_LANGUAGE_COUNT);
		if (p->text == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		return record_fail(r, rc, "reading a document", err);
	v->after = rc == SQLITE_ROW;
	int64_t earlier = 0;
	if (from > 0)
		HTH_TRY(record_int(r, &earlier, 0, err,
		                   "SELECT 1 FROM passage WHERE document = ?1 AND part = ?2 AND page = 0 AND id < ?3 LIMIT 1", "iii",
		                   document, (int64_t)ask->part, from));
	v->before = earlier != 0;
	return HTH_OK;
}

/* --- marks --- */

/* What search looks for, but for what must not be there; small words ("the") only when there are no others. */
static void read_query(hth_terms *terms, uint32_t languages, const char *text, hth_words_query *query)
{
	bool any_large = false;
	query->languages = languages;
	for (const char *at = text; *at != '\0';) {
		at += strspn(at, " \t\r\n\"+");
		size_t n = strcspn(at, " \t\r\n\"");
		if (n > 0 && *at != '-')
			hth_words_query_add(query, terms, languages, at, n, HTH_WORDS_MAY);
		at += n;
	}
	for (size_t i = 0; i < query->n; i++)
		any_large |= !hth_terms_is_small(languages, query->terms[i].text, query->terms[i].len);
	for (size_t i = 0; any_large && i < query->n;)
		if (hth_terms_is_small(languages, query->terms[i].text, query->terms[i].len))
			query->terms[i] = query->terms[--query->n];
		else
			i++;
}

static hth_status mark(const hth_view_ask *ask, uint32_t languages, hth_view *v, hth_error *err)
{
	if (ask->query == NULL || *ask->query == '\0')
		return HTH_OK;
	if (strnlen(ask->query, HTH_INDEX_QUERY_MAX + 1) > HTH_INDEX_QUERY_MAX)
		return hth_fail_param(err, HTH_INVALID, "q", "a query has at most %d bytes", HTH_INDEX_QUERY_MAX);
	hth_terms *terms;
	HTH_TRY(hth_terms_create(&terms, err));
	HTH_AUTO_FREE hth_words_query *query = calloc(1, sizeof *query);
	hth_status status = query != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
	if (status == HTH_OK)
		read_query(terms, languages, ask->query, query);
	for (size_t i = 0; status == HTH_OK && query->n > 0 && i < v->n; i++) {
		hth_view_passage *p = &v->passages[i];
		p->marks = calloc(HTH_VIEW_MARKS_MAX, sizeof *p->marks);
		if (p->marks == NULL)
			status = hth_fail(err, HTH_NO_MEMORY, "no memory to show a document");
		else
			p->n_marks = snippet_places(terms, query, p->text, p->marks, HTH_VIEW_MARKS_MAX);
		if (status == HTH_OK)
			status = find_places(p, err);
	}
	hth_terms_destroy(terms);
	return status;
}

hth_status hth_index_view_read(const char *home, const hth_view_ask *ask, bool open_file, hth_view *ret_view, hth_error *err)
{
	HTH_CLEANUP(record_close_p) record r = {0};
	HTH_CLEANUP(hth_index_view_finish) hth_view v = {.fd = -1};
	int64_t document = 0;
	uint32_t languages = 1u << HTH_LANGUAGE_NONE;
	hth_status status = record_open(&r, home, false, err);
	if (status == HTH_NOT_FOUND)
		return hth_fail(err, HTH_NOT_FOUND, "there is no such document here");
	HTH_TRY(status);
	HTH_TRY(record_find_document(&r, ask->document, &document, err));
	HTH_TRY(read_part(&r, document, ask, &v, err));
	HTH_TRY(find_file(&r, document, open_file && hth_index_view_is_drawn(v.type), &v, err));
	HTH_TRY(read_passages(&r, document, ask, &v, &languages, err));
	HTH_TRY(mark(ask, languages, &v, err));
	*ret_view = v;
	v = (hth_view){.fd = -1};
	return HTH_OK;
}

void hth_index_view_words(const hth_view *v, char *out, size_t cap)
{
	size_t len = 0;
	out[0] = '\0';
	for (size_t i = 0; i < v->n; i++)
		for (size_t k = 0; k < v->passages[i].n_marks; k++) {
			const uint32_t *m = v->passages[i].marks[k];
			size_t n = m[1] - m[0];
			bool have = false;
			const char *word = v->passages[i].text + m[0];
			for (const char *at = out; !have && *at != '\0'; at += strcspn(at, "\n") + 1)
				have = strncmp(at, word, n) == 0 && at[n] == '\n';
			if (have || memchr(word, '\n', n) != NULL || len + n + 2 > cap)
				continue;
			memcpy(out + len, word, n);
			len += n;
			out[len++] = '\n';
			out[len] = '\0';
		}
}
