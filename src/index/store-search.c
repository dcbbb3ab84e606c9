/* store-search.c - POST /v1/vector_stores/ID/search: what it asks for, and the page of results.
 *
 * Results come by rank (of words, or of words and vectors). A score is how much of what was asked the passage has, rare words counting
 * more, or the cosine of its vector where that is more: 0 to 1, so that score_threshold means the same for every store. Several queries are
 * answered one after the other and their results taken in turn. `filters` look at a file's attributes; of the household's files these are
 * path, type, page, date, title and author.
 */
#include "index/stores-internal.h"

#include "base/mem.h"

#include <stdio.h>

hth_status hth_store_ask_read(const json_t *body, hth_store_ask *ret_ask, hth_error *err)
{
	hth_store_ask ask = {.k = 10};
	const json_t *query = json_object_get(body, "query"), *ranking = NULL, *filters = json_object_get(body, "filters");
	int64_t k = 10;
	HTH_TRY(hth_json_get_int(body, "max_num_results", 1, HTH_STORE_RESULTS_MAX, &k, err));
	HTH_TRY(hth_json_get_object(body, "ranking_options", &ranking, err));
	if (ranking != NULL)
		HTH_TRY(hth_json_get_number(ranking, "score_threshold", 0, 1, &ask.threshold, err));
	if (filters != NULL && !json_is_null(filters))
		HTH_TRY(store_filter_check(filters, err));
	ask.k = (size_t)k;
	size_t n = json_is_array(query) ? json_array_size(query) : 1;
	if (n == 0 || n > HTH_STORE_QUERIES_MAX)
		return hth_fail_param(err, HTH_INVALID, "query", "query has 1 to %d strings", HTH_STORE_QUERIES_MAX);
	for (; ask.n < n; ask.n++) {
		const json_t *one = json_is_array(query) ? json_array_get(query, ask.n) : query;
		if (!json_is_string(one) || json_string_length(one) == 0 || json_string_length(one) > HTH_INDEX_QUERY_MAX) {
			hth_store_ask_finish(&ask);
			return hth_fail_param(err, HTH_INVALID, "query", "query is a string, or an array of strings, of 1 to %d bytes",
			                      HTH_INDEX_QUERY_MAX);
		}
		if ((ask.queries[ask.n].text = strdup(json_string_value(one))) == NULL) {
			hth_store_ask_finish(&ask);
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
		}
	}
	ask.filters = filters != NULL && !json_is_null(filters) ? json_deep_copy(filters) : NULL;
	*ret_ask = ask;
	return HTH_OK;
}

void hth_store_ask_finish(hth_store_ask *ask)
{
	for (size_t i = 0; i < ask->n; i++) {
		free(ask->queries[i].text);
		free(ask->queries[i].vector);
	}
	json_decref(ask->filters);
	*ask = (hth_store_ask){0};
}

typedef struct searching {
	const store_scope *scope;
	const hth_store_ask *ask;
	json_t *files; /* of a store that was sent: link -> {"file_id","filename","attributes"}, those that the filters let through */
	json_t *data, *seen;
} searching;

static void searching_finish(searching *s)
{
	json_decref(s->files);
	json_decref(s->data);
	json_decref(s->seen);
}

static hth_status load_files(record *r, searching *s, hth_error *err)
{
	HTH_CLEANUP(record_finalize_p) sqlite3_stmt *stmt = NULL;
	HTH_TRY(record_prepare(r, &stmt, err,
	                       "SELECT link, id, name, attributes FROM store_file JOIN upload ON upload.id = upload WHERE store = ?1 AND "
	                       "cancelled = 0"));
	record_bind_all(stmt, "s", s->scope->id);
	int rc;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		json_t *attributes = json_loads(record_text(stmt, 3), 0, NULL);
		if (attributes == NULL || (s->ask->filters != NULL && !store_filter_matches(s->ask->filters, attributes))) {
			json_decref(attributes);
			continue;
		}
		json_t *file = json_pack("{s:s,s:s,s:o}", "file_id", record_text(stmt, 1), "filename", record_text(stmt, 2), "attributes",
		                         attributes);
		if (json_object_set_new(s->files, record_text(stmt, 0), file) != 0)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	}
	return rc == SQLITE_DONE ? HTH_OK : record_fail(r, rc, "reading a vector store", err);
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static bool accept_file(void *ctx, const char *path)
{
	return json_object_get(((searching *)ctx)->files, name_of(path)) != NULL;
}

static void put_text(json_t *object, const char *key, const char *text)
{
	json_t *value = text[0] != '\0' ? json_string(text) : NULL;
	if (value != NULL)
		json_object_set_new(object, key, value);
}

/* A new object with file_id, filename, attributes; NULL: the filters do not let it through, or there is no memory. */
static json_t *file_of(searching *s, const hth_index_hit *h)
{
	if (!s->scope->household)
		return json_copy(json_object_get(s->files, name_of(h->file)));
	char id[HTH_STORE_ID_MAX + 8];
	json_t *attributes = json_object();
	snprintf(id, sizeof id, "file-%.60s", h->document);
	put_text(attributes, "path", h->file);
	put_text(attributes, "type", h->type);
	put_text(attributes, "title", h->title);
	put_text(attributes, "author", h->author);
	if (h->page > 0)
		json_object_set_new(attributes, "page", json_integer(h->page));
	if (h->date != 0)
		json_object_set_new(attributes, "date", json_integer(h->date));
	if (s->ask->filters != NULL && !store_filter_matches(s->ask->filters, attributes)) {
		json_decref(attributes);
		return NULL;
	}
	json_t *file = json_pack("{s:s,s:o}", "file_id", id, "attributes", attributes);
	put_text(file, "filename", name_of(h->file));
	return file;
}

static hth_status put_hit(searching *s, const hth_index_hit *h, hth_error *err)
{
	char passage[32];
	double score = h->share > h->similarity ? h->share : h->similarity;
	snprintf(passage, sizeof passage, "%llu", (unsigned long long)h->passage);
	if (score < s->ask->threshold || json_array_size(s->data) >= s->ask->k || json_object_get(s->seen, passage) != NULL)
		return HTH_OK;
	json_t *result = file_of(s, h);
	if (result == NULL)
		return HTH_OK;
	json_t *content = json_pack("[{s:s,s:s}]", "type", "text", "text", h->text);
	if (content == NULL) {
		json_decref(result);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	}
	json_object_set_new(result, "score", json_real(score < 1 ? score : 1));
	json_object_set_new(result, "content", content);
	json_object_set_new(s->seen, passage, json_true());
	return json_array_append_new(s->data, result) == 0 ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
}

static hth_status run_query(hth_index_reader *reader, searching *s, const hth_store_query *q, hth_index_hits *hits, hth_error *err)
{
	const bool sifted = s->scope->household && s->ask->filters != NULL;
	const hth_index_query query = {.text = q->text,
	                               .k = sifted ? HTH_INDEX_K_MAX : s->ask->k,
	                               .folder = s->scope->household && s->scope->folder != 0 ? s->scope->path : NULL,
	                               .store = s->scope->household ? NULL : s->scope->id,
	                               .accept = s->scope->household ? NULL : accept_file,
	                               .accept_ctx = s,
	                               .vector = q->vector,
	                               .n_dims = q->n_dims,
	                               .vector_key = q->key,
	                               .nearest_too = true};
	hth_status status = hth_index_search(reader, &query, hits, err);
	/* Only signs, or only what must not be there: nothing is found by that. */
	return status == HTH_INVALID ? HTH_OK : status;
}

hth_status hth_store_search(hth_index_reader *reader, const char *home, const char *store, const hth_store_ask *ask, json_t **ret_page,
                            hth_error *err)
{
	store_scope scope;
	hth_index_hits hits[HTH_STORE_QUERIES_MAX] = {0};
	HTH_CLEANUP(searching_finish) searching s = {.scope = &scope, .ask = ask, .files = json_object(), .data = json_array(),
	                                             .seen = json_object()};
	{
		HTH_CLEANUP(record_close_p) record r = {0};
		HTH_TRY(store_open(home, &r, err));
		HTH_TRY(store_find(&r, store, &scope, err));
		HTH_TRY(store_refuse_expired(&scope, err));
		store_touch(&r, &scope);
		if (!scope.household)
			HTH_TRY(load_files(&r, &s, err));
	}
	hth_status status = HTH_OK;
	size_t most = 0;
	for (size_t i = 0; i < ask->n && status == HTH_OK; i++) {
		status = run_query(reader, &s, &ask->queries[i], &hits[i], err);
		most = HTH_MAX(most, hits[i].n);
	}
	for (size_t rank = 0; rank < most && status == HTH_OK; rank++)
		for (size_t i = 0; i < ask->n && status == HTH_OK; i++)
			if (rank < hits[i].n)
				status = put_hit(&s, &hits[i].list[rank], err);
	json_t *queries = json_array();
	bool by_vectors = false;
	for (size_t i = 0; i < ask->n; i++) {
		by_vectors |= hits[i].by_vectors;
		json_array_append_new(queries, json_string(ask->queries[i].text));
		hth_index_hits_finish(&hits[i]);
	}
	if (status != HTH_OK) {
		json_decref(queries);
		return status;
	}
	*ret_page = json_pack("{s:s,s:o,s:O,s:b,s:n,s:o}", "object", "vector_store.search_results.page", "search_query", queries, "data",
	                      s.data, "has_more", 0,
	                      "next_page", "ranked_by", by_vectors ? json_pack("[ss]", "words", "vectors") : json_pack("[s]", "words"));
	return *ret_page != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
}
