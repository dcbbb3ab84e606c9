/* find.c - searching: the query's words and filters, the best passages by words and by vectors, and what is shown of them. Any
 * thread; a reader each.
 *
 * The word index gives more passages than were asked for, because some fall away: of files that are gone or filtered, a
 * third passage of one page, and near copies, which count for the best of them. Two passages are near copies when they
 * share three quarters of their different words (Jaccard), so the same letter scanned twice, or sent with another
 * greeting, is one hit. When too many fall away, more are asked for.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "extract/extract.h"
#include "index/asked.h"
#include "index/fuse.h"
#include "index/near-copies.h"
#include "index/index-record.h"
#include "index/passage-filter.h"
#include "index/passages.h"
#include "index/snippet.h"
#include "index/widen.h"
#include "index/words.h"

#include <stdio.h>
#include <strings.h>

enum { FIRST_ASKED = 60, PER_PAGE = 2, PER_FILE = 3, RESCORED = 500 };

struct hth_index_reader {
	char home[HTH_INDEX_PATH_MAX];
	record r;
	hth_words *words;
	hth_vectors *vectors;
	hth_terms *terms;
	bool any_store; /* some passages are not the household's */
};

hth_status hth_index_reader_open(hth_index_reader **ret_reader, const char *home, hth_error *err)
{
	hth_index_reader *reader = calloc(1, sizeof *reader);
	if (reader == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	snprintf(reader->home, sizeof reader->home, "%s", home);
	hth_status status = hth_terms_create(&reader->terms, err);
	if (status != HTH_OK) {
		hth_index_reader_close(reader);
		return status;
	}
	*ret_reader = reader;
	return HTH_OK;
}

void hth_index_reader_close(hth_index_reader *reader)
{
	if (reader == NULL)
		return;
	hth_words_close(reader->words);
	hth_vectors_close(reader->vectors);
	hth_terms_destroy(reader->terms);
	record_close(&reader->r);
	free(reader);
}

/* HTH_NOT_FOUND: nothing is indexed yet. */
static hth_status refresh(hth_index_reader *reader, hth_error *err)
{
	if (reader->r.db == NULL)
		HTH_TRY(record_open(&reader->r, reader->home, false, err));
	if (reader->words != NULL)
		return hth_words_refresh(reader->words, err);
	char folder[HTH_INDEX_PATH_MAX];
	snprintf(folder, sizeof folder, "%.4000s/index/words", reader->home);
	return hth_words_open(&reader->words, folder, &(hth_words_options){0}, err);
}

/* The vectors, if they are the query's model's; NULL: words must do. What is wrong with them is the keeper's to mend. */
static hth_vectors *vectors_for(hth_index_reader *reader, const hth_index_query *q)
{
	char folder[HTH_INDEX_PATH_MAX];
	hth_vectors_info info;
	if (q->vector == NULL || q->vector_key == NULL)
		return NULL;
	snprintf(folder, sizeof folder, "%.4000s/index/vectors", reader->home);
	if (reader->vectors != NULL ? hth_vectors_refresh(reader->vectors, NULL) != HTH_OK
	                            : hth_vectors_open(&reader->vectors, folder, &(hth_vectors_options){0}, NULL) != HTH_OK)
		return NULL;
	hth_vectors_get_info(reader->vectors, &info);
	return info.vectors > 0 && info.dims == q->n_dims && memcmp(info.key, q->vector_key, sizeof info.key) == 0 ? reader->vectors : NULL;
}

/* --- filters --- */

static bool has_filter(const hth_index_reader *reader, const hth_index_query *q)
{
	return reader->any_store || (q->folder != NULL && *q->folder) || (q->type != NULL && *q->type) || (q->from != NULL && *q->from) ||
	    q->after != 0 ||
	       q->before != 0 || q->shared_only || q->store != NULL || q->accept != NULL;
}

static bool is_under(const char *path, const char *folder)
{
	size_t n = strlen(folder);
	while (n > 1 && folder[n - 1] == '/')
		n--;
	return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

static bool contains_folded(const char *text, const char *part)
{
	return strcasestr(text, part) != NULL;
}

/* What a passage is of; its strings are owned. */
typedef struct source {
	int64_t document;
	hth_language language;
	uint32_t part, page;
	int64_t box;
	char *text, *name, *title, *author;
	int kind;
	int64_t date;
	char *path; /* the first file that has it and may be shown */
	int64_t changed;
	size_t n_files;
	uint64_t shown; /* the passage that is shown: for a name the document's first */
	char *called;   /* the name that was found; NULL: a passage was */
} source;

static void source_finish(source *s)
{
	free(s->text);
	free(s->name);
	free(s->title);
	free(s->author);
	free(s->path);
	free(s->called);
	*s = (source){0};
}

static hth_status read_part(hth_index_reader *reader, source *s, hth_error *err)
{
	/* An attachment has its mail's sender and date when it has none of its own. */
	uint32_t number = s->part;
	for (int depth = 0; depth < 10; depth++) {
		static const char sql[] = "SELECT parent, kind, date, name, title, author FROM part WHERE document = ?1 AND number = ?2";
		HTH_CLEANUP(record_return_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_borrow(&reader->r, &stmt, err, sql));
		record_bind_all(stmt, "ii", s->document, (int64_t)number);
		if (sqlite3_step(stmt) != SQLITE_ROW)
			break;
		if (depth == 0) {
			s->kind = sqlite3_column_int(stmt, 1);
			s->name = strdup(record_text(stmt, 3));
			s->title = strdup(record_text(stmt, 4));
		}
		if (s->date == 0)
			s->date = sqlite3_column_int64(stmt, 2);
		if (s->author == NULL && record_text(stmt, 5)[0] != '\0')
			s->author = strdup(record_text(stmt, 5));
		if (number == 0)
			break;
		number = (uint32_t)sqlite3_column_int64(stmt, 0);
	}
	return HTH_OK;
}

/* passage: that was found. */
static hth_status read_files(hth_index_reader *reader, const hth_index_query *q, uint64_t passage, source *s, hth_error *err)
{
	static const char sql[] = "SELECT folder.path, file.path, file.mtime, folder.shared FROM file INDEXED BY file_document"
	                          " JOIN folder ON folder.id = file.folder WHERE document = ?1 AND folder.removed = 0"
	                          " AND (?2 = 0 OR name = ?2) AND folder.store IS ?3 ORDER BY file.id";
	HTH_CLEANUP(record_return_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_borrow(&reader->r, &stmt, err, sql));
	record_bind_all(stmt, "iis", s->document, s->called != NULL ? (int64_t)passage : (int64_t)0, q->store);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		char path[HTH_INDEX_PATH_MAX];
		if (!record_path(path, record_text(stmt, 0), record_text(stmt, 1)) ||
		    (q->shared_only && sqlite3_column_int(stmt, 3) == 0) ||
		    (q->folder != NULL && *q->folder && !is_under(path, q->folder)) ||
		    (q->accept != NULL && !q->accept(q->accept_ctx, path)))
			continue;
		if (s->n_files++ > 0)
			continue;
		s->path = strdup(path);
		s->changed = sqlite3_column_int64(stmt, 2) / 1000000000;
	}
	return HTH_OK;
}

static hth_status read_first(hth_index_reader *reader, source *s, hth_error *err)
{
	static const char sql[] = "SELECT id, part, page, box, text FROM passage WHERE id = (SELECT min(id) FROM passage WHERE document = "
	                          "?1 AND part >= 0)";
	HTH_CLEANUP(record_return_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_borrow(&reader->r, &stmt, err, sql));
	sqlite3_bind_int64(stmt, 1, s->document);
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		s->shown = (uint64_t)sqlite3_column_int64(stmt, 0);
		s->part = (uint32_t)sqlite3_column_int64(stmt, 1);
		s->page = (uint32_t)sqlite3_column_int64(stmt, 2);
		s->box = sqlite3_column_type(stmt, 3) == SQLITE_NULL ? -1 : sqlite3_column_int64(stmt, 3);
		s->text = strdup(record_text(stmt, 4));
	} else {
		s->text = strdup(s->called);
		s->box = -1;
	}
	return HTH_OK;
}

/* *ret_fits: it is still there, and passes the filters. */
static hth_status read_source(hth_index_reader *reader, const hth_index_query *q, uint64_t passage, source *s, bool *ret_fits,
                              hth_error *err)
{
	*ret_fits = false;
	{
		static const char sql[] = "SELECT document, part, page, box, text, language FROM passage WHERE id = ?1";
		HTH_CLEANUP(record_return_p) sqlite3_stmt *stmt = NULL;
		HTH_TRY(record_borrow(&reader->r, &stmt, err, sql));
		sqlite3_bind_int64(stmt, 1, (int64_t)passage);
		int rc = sqlite3_step(stmt);
		if (rc == SQLITE_DONE)
			return HTH_OK;
		if (rc != SQLITE_ROW)
			return record_fail(&reader->r, rc, "reading what was found", err);
		*s = (source){.document = sqlite3_column_int64(stmt, 0),
		              .part = (uint32_t)sqlite3_column_int64(stmt, 1),
		              .page = (uint32_t)sqlite3_column_int64(stmt, 2),
		              .box = sqlite3_column_type(stmt, 3) == SQLITE_NULL ? -1 : sqlite3_column_int64(stmt, 3),
		              .text = strdup(record_text(stmt, 4)),
		              .language = (hth_language)(sqlite3_column_int(stmt, 5) % HTH_LANGUAGE_COUNT),
		              .shown = passage};
		if (sqlite3_column_int64(stmt, 1) < 0) { /* a file's name, of no part: what it says begins with its first passage */
			s->part = 0;
			s->called = s->text;
			s->text = NULL;
		}
	}
	if (s->called != NULL)
		HTH_TRY(read_first(reader, s, err));
	HTH_TRY(read_part(reader, s, err));
	HTH_TRY(read_files(reader, q, passage, s, err));
	if (s->text == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	int64_t date = s->date != 0 ? s->date : s->changed;
	*ret_fits = s->path != NULL &&
	            (q->type == NULL || !*q->type || strcmp(q->type, hth_extract_kind_name((hth_extract_kind)s->kind)) == 0) &&
	            (q->from == NULL || !*q->from || (s->author != NULL && contains_folded(s->author, q->from))) &&
	            (q->after == 0 || date >= q->after) && (q->before == 0 || date < q->before);
	return HTH_OK;
}

/* --- hits --- */

static void hit_finish(hth_index_hit *h)
{
	free(h->file);
	free(h->part);
	free(h->title);
	free(h->author);
	free(h->text);
	free(h->snippet);
	free(h->marks);
}

void hth_index_hits_finish(hth_index_hits *hits)
{
	for (size_t i = 0; i < hits->n; i++)
		hit_finish(&hits->list[i]);
	free(hits->list);
	*hits = (hth_index_hits){0};
}

typedef struct gathering {
	hth_index_reader *reader;
	const hth_index_query *query;
	const asked *asked;
	hth_words_query words; /* what was asked, and of which passages */
	hth_words_query wide;  /* with what its best answers have in common: orders the RESCORED best */
	bool widened;
	hth_words_set only; /* what the filters let through; owned */
	hth_index_hits hits;
	word_set *sets; /* of the hits */
	size_t k;
	hth_vectors *vectors; /* NULL: by words alone */
	double outstanding;   /* the cosine of what needs none of the words */
	hth_words_hit *words_best;
	hth_vectors_hit *vectors_best;
	fused_hit *fused;
} gathering;

static void gathering_finish(gathering *g)
{
	hth_free_p(&g->only.bits);
	free(g->sets);
	free(g->words_best);
	free(g->vectors_best);
	free(g->fused);
}

static char *take(char **s)
{
	char *taken = *s != NULL ? *s : strdup("");
	*s = NULL;
	return taken;
}

static hth_status gather(gathering *g, const fused_hit *found, hth_error *err)
{
	HTH_CLEANUP(source_finish) source s = {0};
	bool fits, outstanding = (double)found->cosine >= g->outstanding;
	if (!found->by_words && !outstanding && !g->query->nearest_too)
		return HTH_OK;
	HTH_TRY(read_source(g->reader, g->query, found->id, &s, &fits, err));
	fits = fits && (found->by_words || asked_is_met(g->asked, g->reader->terms, s.called != NULL ? s.called : s.text));
	for (size_t i = 0; fits && i < g->asked->n_phrases; i++)
		fits = snippet_has_phrase(g->reader->terms, s.called != NULL ? s.called : s.text, g->asked->phrases[i].text,
		                          g->asked->phrases[i].len);
	double share = fits ? asked_share(g->asked, g->reader->terms, s.text, s.path) : 0;
	if (!fits || (share < g->query->least_share && !outstanding))
		return HTH_OK;
	size_t same_page = 0, same_file = 0;
	word_set *set = &g->sets[g->hits.n];
	word_set_make(set, g->reader->terms, s.text);
	for (size_t i = 0; i < g->hits.n; i++) {
		hth_index_hit *h = &g->hits.list[i];
		bool same = strcmp(h->file, s.path) == 0;
		if (same && h->passage == s.shown) /* by its name and by what it says */
			return HTH_OK;
		same_file += same;
		same_page += same && h->page == s.page && strcmp(h->part, s.name != NULL ? s.name : "") == 0;
		if (!same && word_sets_are_near(&g->sets[i], set)) {
			h->n_copies += s.n_files;
			return HTH_OK;
		}
	}
	if (same_page >= PER_PAGE || same_file >= PER_FILE)
		return HTH_OK;
	hth_index_hit *h = &g->hits.list[g->hits.n];
	*h = (hth_index_hit){.file = take(&s.path),
	                     .part = take(&s.name),
	                     .title = take(&s.title),
	                     .author = take(&s.author),
	                     .text = take(&s.text),
	                     .type = hth_extract_kind_name((hth_extract_kind)s.kind),
	                     .page = s.page,
	                     .score = found->score,
	                     .share = share,
	                     .similarity = (double)found->cosine,
	                     .date = s.date != 0 ? s.date : s.changed,
	                     .n_copies = s.n_files - 1,
	                     .passage = s.shown,
	                     .part_number = s.part};
	h->has_box = reading_unpack_box(s.box, h->box);
	g->hits.n++;
	HTH_TRY(record_document_id(&g->reader->r, s.document, h->document, err));
	if (h->file == NULL || h->part == NULL || h->title == NULL || h->author == NULL || h->text == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	return snippet_make(g->reader->terms, &g->asked->words, h->text, &h->snippet, &h->marks, &h->n_marks, err);
}

/* The best passages that may be shown and are no copies of each other say what else belongs to the matter (widen.h). */
static hth_status widen(gathering *g, hth_error *err)
{
	enum { LOOKED_AT = 3 * WIDEN_TEXTS };
	hth_words_hit best[LOOKED_AT];
	widen_text texts[WIDEN_TEXTS];
	char *owned[WIDEN_TEXTS];
	HTH_AUTO_FREE word_set *sets = hth_alloc_array(WIDEN_TEXTS, sizeof *sets);
	size_t n = 0, kept = 0;
	if (sets == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	hth_status status = hth_words_search(g->reader->words, &g->words, LOOKED_AT, best, &n, err);
	for (size_t i = 0; i < n && kept < WIDEN_TEXTS && status == HTH_OK; i++) {
		HTH_CLEANUP(source_finish) source s = {0};
		bool fits;
		status = read_source(g->reader, g->query, best[i].id, &s, &fits, err);
		if (status != HTH_OK || !fits)
			continue;
		word_set_make(&sets[kept], g->reader->terms, s.text);
		for (size_t k = 0; k < kept && fits; k++)
			fits = !word_sets_are_near(&sets[k], &sets[kept]) && strcmp(owned[k], s.text) != 0;
		if (!fits)
			continue;
		texts[kept] = (widen_text){s.text, s.language, best[i].score};
		owned[kept++] = s.text;
		s.text = NULL;
	}
	g->wide = g->words;
	if (status == HTH_OK)
		widen_query(g->reader->words, g->reader->terms, texts, kept, &g->wide);
	g->widened = g->wide.n > g->words.n;
	for (size_t i = 0; i < kept; i++)
		free(owned[i]);
	return status;
}

static void drop_hits(gathering *g)
{
	for (size_t i = 0; i < g->hits.n; i++)
		hit_finish(&g->hits.list[i]);
	g->hits.n = 0;
}

/* The `most` best of each list, merged; *ret_more: there may be others. */
static hth_status rank(gathering *g, size_t most, size_t *ret_n, bool *ret_more, hth_error *err)
{
	const hth_words_query *words = &g->words;
	size_t n = 0, n_vectors = 0, most_vectors = HTH_MIN(most, (size_t)HTH_VECTORS_K_MAX);
	if (words->n > 0)
		HTH_TRY(hth_words_search(g->reader->words, words, g->widened ? HTH_MAX(most, (size_t)RESCORED) : most, g->words_best, &n,
		                         err));
	*ret_more = n >= most;
	if (g->widened)
		HTH_TRY(hth_words_rescore(g->reader->words, &g->wide, g->words_best, n, err));
	n = HTH_MIN(n, most);
	if (g->vectors == NULL) {
		for (size_t i = 0; i < n; i++)
			g->fused[i] = (fused_hit){.id = g->words_best[i].id, .score = (double)g->words_best[i].score, .by_words = true};
		*ret_n = n;
		return HTH_OK;
	}
	const hth_vectors_query q = {g->query->vector, g->query->n_dims, words->only};
	HTH_TRY(hth_vectors_search(g->vectors, &q, most_vectors, g->vectors_best, &n_vectors, err));
	*ret_more |= n_vectors == most;
	*ret_n = fuse_ranks(g->words_best, n, g->vectors_best, n_vectors, g->fused);
	return HTH_OK;
}

/* Each time many more passages, until there are enough hits or no more passages. A filter or a phrase may need very many. */
static hth_status gather_best(gathering *g, bool selective, hth_error *err)
{
	size_t looked = 0, asked_for = HTH_MAX((size_t)FIRST_ASKED, g->k * 4);
	while (g->hits.n < g->k) {
		size_t n = 0, most = HTH_MIN(asked_for, (size_t)HTH_WORDS_K_MAX);
		bool more;
		HTH_TRY(rank(g, most, &n, &more, err));
		if (g->vectors != NULL || g->widened) { /* longer lists may come in another order */
			drop_hits(g);
			looked = 0;
		}
		for (; looked < n && g->hits.n < g->k; looked++)
			HTH_TRY(gather(g, &g->fused[looked], err));
		if (!more || most == HTH_WORDS_K_MAX || (!selective && asked_for > 8u * FIRST_ASKED))
			break;
		asked_for *= 8;
	}
	return HTH_OK;
}

static hth_status prepare_gathering(gathering *g, hth_error *err)
{
	g->sets = hth_alloc_array(g->k, sizeof *g->sets);
	g->words_best = hth_alloc_array(HTH_WORDS_K_MAX, sizeof *g->words_best);
	g->vectors_best = hth_alloc_array(HTH_VECTORS_K_MAX, sizeof *g->vectors_best);
	g->fused = hth_alloc_array(HTH_WORDS_K_MAX + HTH_VECTORS_K_MAX, sizeof *g->fused);
	if (g->sets == NULL || g->words_best == NULL || g->vectors_best == NULL || g->fused == NULL ||
	    (g->hits.list = hth_alloc_array(g->k, sizeof *g->hits.list)) == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	return HTH_OK;
}

static hth_status search_passages(gathering *g, const asked *a, hth_error *err)
{
	bool filtered = has_filter(g->reader, g->query);
	if (filtered) {
		HTH_TRY(passage_filter_make(&g->reader->r, g->reader->home, g->query, &g->only, err));
		g->words.only = &g->only;
		if (hth_words_set_count(&g->only, 0, UINT64_MAX, 1) == 0)
			return HTH_OK;
	}
	if (!a->exact)
		HTH_TRY(widen(g, err));
	return gather_best(g, filtered || a->n_phrases > 0, err);
}

/* One look at the record for the whole of a search: its parts fit together, and no statement locks anew. */
static void end_looking(hth_index_reader **reader)
{
	if (*reader != NULL && (*reader)->r.db != NULL && sqlite3_get_autocommit((*reader)->r.db) == 0)
		(void)sqlite3_exec((*reader)->r.db, "COMMIT", NULL, NULL, NULL);
}

hth_status hth_index_search(hth_index_reader *reader, const hth_index_query *query, hth_index_hits *ret_hits, hth_error *err)
{
	size_t len = strnlen(query->text, HTH_INDEX_QUERY_MAX + 1);
	if (len > HTH_INDEX_QUERY_MAX)
		return hth_fail(err, HTH_INVALID, "a query has at most %d bytes", HTH_INDEX_QUERY_MAX);
	HTH_CLEANUP(gathering_finish) gathering g = {.reader = reader, .query = query, .outstanding = 2};
	g.k = query->k > 0 ? HTH_MIN(query->k, (size_t)HTH_INDEX_K_MAX) : 10;
	asked a = {0};
	hth_words_info info = {0};
	hth_status status = refresh(reader, err);
	if (status != HTH_OK && status != HTH_NOT_FOUND)
		return status;
	if (reader->words != NULL)
		hth_words_get_info(reader->words, &info);
	asked_parse(&a, reader->terms, info.languages, query->text);
	if (a.n_positive == 0)
		return hth_fail(err, HTH_INVALID,
		                a.words.n > 0 ? "the query only says what must not be there; say what to look for"
		                              : "the query has no word to look for");
	if (status == HTH_NOT_FOUND) {
		*ret_hits = (hth_index_hits){0};
		return HTH_OK;
	}
	int64_t any = 0;
	HTH_CLEANUP(end_looking) hth_index_reader *looking = reader;
	(void)looking;
	HTH_TRY(record_run(&reader->r, err, "BEGIN"));
	HTH_TRY(record_int(&reader->r, &any, 0, err, "SELECT 1 FROM folder WHERE store IS NOT NULL LIMIT 1", ""));
	reader->any_store = any != 0;
	asked_weigh(&a, reader->words);
	g.asked = &a;
	g.vectors = vectors_for(reader, query);
	if (g.vectors != NULL && hth_vectors_outstanding(g.vectors, &(hth_vectors_query){.values = query->vector, .n = query->n_dims},
	                                                 &g.outstanding, err) != HTH_OK)
		g.vectors = NULL; /* a query's vector that is none */
	HTH_TRY(prepare_gathering(&g, err));
	g.words = a.words;
	status = search_passages(&g, &a, err);
	if (status != HTH_OK) {
		hth_index_hits_finish(&g.hits);
		return status;
	}
	g.hits.by_vectors = g.vectors != NULL;
	*ret_hits = g.hits;
	return HTH_OK;
}
