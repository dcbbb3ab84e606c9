/* vector-stores.c - OpenAI's /v1/files and /v1/vector_stores, so that existing programs put papers into this home and search them, and the
 * household's own folders too (index/stores.h has what they are; a key needs the scope `documents`).
 *
 *   /v1/files                      POST (multipart: file, purpose), GET ?purpose&limit&order&after
 *   /v1/files/ID                   GET, DELETE;  /content GET
 *   /v1/vector_stores              POST, GET
 *   /v1/vector_stores/ID           GET, POST, DELETE;  /search POST
 *   .../ID/files                   POST, GET ?filter;  /FILE GET, POST, DELETE, /content GET
 *   .../ID/file_batches            POST;  /BATCH GET, /cancel POST, /files GET
 *
 * Each call has a thread for the disk, as searches have (documents.c). Uploads are file-uploads.c. A search waits for its queries' vectors
 * first. Except for the threads, all on the loop's. Names, attributes and queries are never logged.
 */
#include "node/store-call.h"

#include "base/log.h"
#include "base/utf8.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { AT_ONCE = 16, ANSWER_MAX = 64 << 20, PIECE = 256 << 10, UNSENT_MAX = 1 << 20, SEND_MS = 4 };

/* --- listings --- */

static const char *id_of(const json_t *item)
{
	const char *id = json_string_value(json_object_get(item, "id"));
	return id != NULL ? id : "";
}

/* A page of what is there, the way that the API's clients walk lists. Takes `all` over. */
static json_t *list_page(const store_call *c, json_t *all)
{
	size_t n = json_array_size(all);
	json_t *data = json_array();
	bool begun = c->after == NULL, more = false;
	for (size_t i = 0; i < n; i++) {
		json_t *item = json_array_get(all, c->oldest_first ? i : n - 1 - i);
		if (c->before != NULL && strcmp(id_of(item), c->before) == 0)
			break;
		if (begun && (int64_t)json_array_size(data) == c->limit) {
			more = true;
			break;
		}
		if (begun)
			json_array_append(data, item);
		else
			begun = strcmp(id_of(item), c->after) == 0;
	}
	json_decref(all);
	n = json_array_size(data);
	json_t *first = n > 0 ? json_string(id_of(json_array_get(data, 0))) : json_null(),
	    *last = n > 0 ? json_string(id_of(json_array_get(data, n - 1))) : json_null();
	return json_pack("{s:s,s:o,s:o,s:o,s:b}", "object", "list", "data", data, "first_id", first, "last_id", last, "has_more", more);
}

static json_t *deleted(const char *id, const char *object)
{
	return json_pack("{s:s,s:s,s:b}", "id", id, "object", object, "deleted", 1);
}

/* --- the thread --- */

static bool is(const store_call *c, const char *method) { return strcmp(c->method, method) == 0; }

static hth_status run_files(store_call *c, const char *home, hth_error *err)
{
	const char *id = c->parts[1];
	json_t *all;
	if (c->receiving)
		return upload_keep(c, err);
	if (c->n_parts == 1) {
		HTH_TRY(hth_uploads_list(home, c->filter, &all, err));
		c->answer = list_page(c, all);
		return HTH_OK;
	}
	if (c->n_parts == 3)
		return hth_uploads_open(home, id, &c->fd, err);
	if (is(c, "GET"))
		return hth_uploads_get(home, id, &c->answer, err);
	HTH_TRY(hth_uploads_delete(home, id, err));
	c->answer = deleted(id, "file");
	return HTH_OK;
}

static hth_status run_search(store_call *c, const char *home, hth_error *err)
{
	hth_index_reader *reader;
	HTH_TRY(hth_index_reader_open(&reader, home, err));
	hth_status status = hth_store_search(reader, home, c->parts[1], &c->ask, &c->answer, err);
	hth_index_reader_close(reader);
	return status;
}

/* Several stores' results are taken in turn, best first. */
static hth_status run_for_model(store_call *c, const char *home, hth_error *err)
{
	hth_index_reader *reader;
	HTH_AUTO_JSON json_t *pages = json_array();
	size_t i, most = 0;
	json_t *id;
	HTH_TRY(hth_index_reader_open(&reader, home, err));
	hth_status status = HTH_OK;
	json_array_foreach (c->stores, i, id) {
		json_t *page = NULL;
		if ((status = hth_store_search(reader, home, json_string_value(id), &c->ask, &page, err)) != HTH_OK)
			break;
		most = HTH_MAX(most, json_array_size(json_object_get(page, "data")));
		json_array_append_new(pages, page);
	}
	hth_index_reader_close(reader);
	HTH_TRY(status);
	c->answer = json_array();
	for (size_t rank = 0; rank < most; rank++)
		for (size_t k = 0; k < json_array_size(pages) && json_array_size(c->answer) < c->ask.k; k++) {
			json_t *one = json_array_get(json_object_get(json_array_get(pages, k), "data"), rank);
			if (one != NULL)
				json_array_append(c->answer, one);
		}
	return HTH_OK;
}

static hth_status run_store(store_call *c, const char *home, hth_error *err)
{
	const char *id = c->parts[1];
	json_t *all;
	if (c->n_parts == 1 && is(c, "GET")) {
		HTH_TRY(hth_stores_list(home, &all, err));
		c->answer = list_page(c, all);
		return HTH_OK;
	}
	c->wake = c->n_parts == 1; /* a folder to watch */
	if (c->n_parts == 1)
		return hth_stores_create(home, c->body, &c->answer, err);
	if (is(c, "GET"))
		return hth_stores_get(home, id, &c->answer, err);
	if (is(c, "POST"))
		return hth_stores_update(home, id, c->body, &c->answer, err);
	HTH_TRY(hth_stores_delete(home, id, err));
	c->answer = deleted(id, "vector_store.deleted");
	return HTH_OK;
}

static hth_status run_store_files(store_call *c, const char *home, hth_error *err)
{
	const char *store = c->parts[1], *id = c->parts[3];
	json_t *all;
	if (c->n_parts == 3 && is(c, "GET")) {
		HTH_TRY(hth_store_files_list(home, store, c->filter, NULL, &all, err));
		c->answer = list_page(c, all);
		return HTH_OK;
	}
	if (c->n_parts == 3)
		return hth_store_files_add(home, store, c->body, &c->answer, err);
	if (c->n_parts == 5)
		return hth_store_files_content(home, store, id, &c->answer, err);
	if (is(c, "GET"))
		return hth_store_files_get(home, store, id, &c->answer, err);
	if (is(c, "POST"))
		return hth_store_files_update(home, store, id, c->body, &c->answer, err);
	HTH_TRY(hth_store_files_delete(home, store, id, err));
	c->answer = deleted(id, "vector_store.file.deleted");
	return HTH_OK;
}

static hth_status run_batches(store_call *c, const char *home, hth_error *err)
{
	const char *store = c->parts[1], *id = c->parts[3];
	json_t *all;
	if (c->n_parts == 3)
		return hth_store_batches_create(home, store, c->body, &c->answer, err);
	if (c->n_parts == 4)
		return hth_store_batches_get(home, store, id, &c->answer, err);
	if (strcmp(c->parts[4], "cancel") == 0)
		return hth_store_batches_cancel(home, store, id, &c->answer, err);
	HTH_TRY(hth_store_files_list(home, store, c->filter, id, &all, err));
	c->answer = list_page(c, all);
	return HTH_OK;
}

static hth_status run(store_call *c, hth_error *err)
{
	const char *home = c->all->node->config->home;
	if (c->for_model)
		return run_for_model(c, home, err);
	if (strcmp(c->parts[0], "files") == 0)
		return run_files(c, home, err);
	if (c->n_parts <= 2)
		return run_store(c, home, err);
	if (strcmp(c->parts[2], "search") == 0)
		return run_search(c, home, err);
	return strcmp(c->parts[2], "files") == 0 ? run_store_files(c, home, err) : run_batches(c, home, err);
}

static void *thread_main(void *ctx)
{
	store_call *c = ctx;
	c->status = run(c, &c->error);
	(void)!hth_mailbox_post(c->all->mailbox, c);
	return NULL;
}

/* --- the loop's side --- */

void store_call_free(store_call *c)
{
	hth_stores *all = c->all;
	*(c->prev != NULL ? &c->prev->next : &all->calls) = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	all->n--;
	if (c->fd >= 0)
		close(c->fd);
	if (c->spool[0] != '\0')
		(void)unlink(c->spool);
	hth_timer_close(c->timer);
	hth_store_ask_finish(&c->ask);
	json_decref(c->body);
	json_decref(c->stores);
	json_decref(c->answer);
	free(c->path);
	free(c->after);
	free(c->before);
	free(c->filter);
	free(c);
}

void store_call_gone(hth_holder *holder)
{
	store_call *c = (store_call *)holder;
	c->exchange = NULL;
	/* Nothing of it is anywhere but here: it breaks off while it is received, or while it is sent. */
	if (!c->running && c->asked == c->ask.n)
		store_call_free(c);
}

static hth_status start_thread(store_call *c, hth_error *err)
{
	sigset_t every, before;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	int e = pthread_create(&c->thread, NULL, thread_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	c->running = e == 0;
	return e == 0 ? HTH_OK : hth_fail_errno(err, HTH_NO_MEMORY, e, "cannot start a thread");
}

/* Content goes out as its client takes it. */
static void send_more(void *ctx)
{
	store_call *c = ctx;
	static char piece[PIECE];
	while (c->exchange != NULL && hth_exchange_unsent(c->exchange) < UNSENT_MAX) {
		ssize_t n = read(c->fd, piece, sizeof piece);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			hth_exchange *exchange = c->exchange;
			hth_exchange_set_user(exchange, NULL);
			store_call_free(c);
			hth_exchange_finish(exchange);
			return;
		}
		hth_exchange_send(c->exchange, piece, (size_t)n);
	}
}

static void answer(store_call *c)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf out = HTH_BUF_INIT(ANSWER_MAX);
	if (c->status == HTH_OK && c->fd >= 0 && !c->receiving) {
		if (hth_timer_open(&c->timer, c->all->node->loop, send_more, c, &c->error) == HTH_OK) {
			hth_exchange_begin(c->exchange, 200, "application/octet-stream");
			hth_timer_start(c->timer, 0, SEND_MS);
			return;
		}
		c->status = c->error.status;
	}
	hth_exchange_set_user(c->exchange, NULL);
	if (c->status == HTH_OK && (c->answer == NULL || !hth_json_write(c->answer, &out)))
		c->status = hth_fail(&c->error, HTH_NO_MEMORY, "no memory for the answer");
	if (c->status == HTH_OK)
		hth_exchange_reply(c->exchange, 200, "application/json; charset=utf-8", out.data, out.len);
	else
		hth_pages_error(c->exchange, NULL, &c->error);
	store_call_free(c);
}

static void on_ended(void *ctx, void *mail)
{
	(void)ctx;
	store_call *c = mail;
	if (c->running)
		pthread_join(c->thread, NULL);
	c->running = false;
	if (c->wake && c->status == HTH_OK)
		hth_documents_wake(c->all->node);
	hth_log(HTH_LOG_DEBUG, "%s /v1/%s %s", c->method, c->for_model ? "responses, file_search" : c->parts[0],
	        hth_status_name(c->status));
	if (c->fn != NULL)
		c->fn(c->ctx, c->status == HTH_OK ? c->answer : NULL, &c->error);
	if (c->exchange != NULL)
		answer(c);
	else
		store_call_free(c);
}

void store_call_begin(store_call *c)
{
	hth_error err;
	if (start_thread(c, &err) == HTH_OK)
		return;
	c->status = err.status;
	c->error = err;
	if (c->for_model) /* its fn is called later, always */
		(void)!hth_mailbox_post(c->all->mailbox, c);
	else if (c->exchange != NULL)
		answer(c);
	else
		store_call_free(c);
}

/* One query's vector after the other, then the search. */
static void ask_next(store_call *c);

static void on_vector(void *ctx, const float *values, size_t n, const uint8_t *key)
{
	store_call *c = ctx;
	hth_store_query *q = &c->ask.queries[c->asked];
	q->vector = values != NULL ? hth_alloc_array(n, sizeof *values) : NULL;
	if (q->vector != NULL) {
		memcpy(q->vector, values, n * sizeof *values);
		memcpy(q->key, key, sizeof q->key);
		q->n_dims = n;
	}
	c->asked++;
	ask_next(c);
}

static void ask_next(store_call *c)
{
	if (c->asked < c->ask.n) {
		hth_documents_vector(c->all->node, c->ask.queries[c->asked].text, on_vector, c);
		return;
	}
	store_call_begin(c);
}

/* --- beginning --- */

hth_status store_call_new(hth_stores *all, hth_exchange *exchange, store_call **ret_call, hth_error *err)
{
	const char *path = hth_exchange_path(exchange);
	if (all->n >= AT_ONCE)
		return hth_fail(err, HTH_BUSY, "%zu calls to files and vector stores run already; try again in a moment", all->n);
	store_call *c = calloc(1, sizeof *c);
	if (c == NULL || (c->path = strdup(path + 4)) == NULL) { /* behind "/v1/" */
		free(c);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	}
	c->holder.gone = store_call_gone;
	c->all = all;
	c->fd = -1;
	c->exchange = exchange;
	const char *method = hth_exchange_method(exchange);
	snprintf(c->method, sizeof c->method, "%s", strcmp(method, "HEAD") == 0 ? "GET" : method);
	bool whole = true;
	for (char *at = c->path, *next; at != NULL; at = next) {
		next = strchr(at, '/');
		if (next != NULL)
			*next++ = '\0';
		whole = whole && *at != '\0' && c->n_parts < STORE_PATH_PARTS;
		if (whole)
			c->parts[c->n_parts++] = at;
	}
	c->next = all->calls;
	if (c->next != NULL)
		c->next->prev = c;
	all->calls = c;
	all->n++;
	if (!whole) {
		store_call_free(c);
		return hth_fail(err, HTH_NOT_FOUND, "there is no %.200s here", path);
	}
	hth_exchange_set_user(exchange, &c->holder);
	*ret_call = c;
	return HTH_OK;
}

hth_status hth_stores_find(hth_node *node, const json_t *tool, const char *question, double least, hth_found_fn fn, void *ctx,
                           hth_store_call **ret_call, hth_error *err)
{
	enum { RESULTS = 8 }; /* small models have small contexts */
	hth_stores *all = node->stores;
	size_t n = strnlen(question, HTH_INDEX_QUERY_MAX);
	n -= hth_utf8_incomplete_suffix(question, n);
	if (all->n >= AT_ONCE)
		return hth_fail(err, HTH_BUSY, "%zu calls to files and vector stores run already; try again in a moment", all->n);
	HTH_AUTO_JSON json_t *body = json_pack("{s:s%, s:i, s:O*, s:O*}", "query", question, n, "max_num_results", RESULTS, "filters",
	                                       json_object_get(tool, "filters"), "ranking_options",
	                                       json_object_get(tool, "ranking_options"));
	json_t *most = json_object_get(tool, "max_num_results");
	if (body == NULL || (most != NULL && !json_is_null(most) && json_object_set(body, "max_num_results", most) != 0))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	hth_store_ask ask;
	HTH_TRY(hth_store_ask_read(body, &ask, err));
	store_call *c = calloc(1, sizeof *c);
	if (c == NULL) {
		hth_store_ask_finish(&ask);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	}
	ask.threshold = ask.threshold > 0 ? ask.threshold : least;
	*c = (store_call){.holder = {.gone = store_call_gone}, .all = all, .fd = -1, .method = "POST", .ask = ask, .fn = fn, .ctx = ctx,
	                  .for_model = true,
	                  .stores = json_incref(json_object_get(tool, "vector_store_ids")), .next = all->calls};
	if (c->next != NULL)
		c->next->prev = c;
	all->calls = c;
	all->n++;
	*ret_call = c;
	ask_next(c);
	return HTH_OK;
}

void hth_stores_cancel(hth_store_call *call) { call->fn = NULL; }

/* "GET, POST": what the call's path takes; NULL: there is no such path. */
static const char *methods_of(const store_call *c)
{
	static const struct {
		const char *shape, *methods;
	} table[] = {{"files", "GET, POST"}, {"files/*", "GET, DELETE"}, {"files/*/content", "GET"},
	             {"vector_stores", "GET, POST"}, {"vector_stores/*", "GET, POST, DELETE"}, {"vector_stores/*/search", "POST"},
	             {"vector_stores/*/files", "GET, POST"}, {"vector_stores/*/files/*", "GET, POST, DELETE"},
	             {"vector_stores/*/files/*/content", "GET"}, {"vector_stores/*/file_batches", "POST"},
	             {"vector_stores/*/file_batches/*", "GET"}, {"vector_stores/*/file_batches/*/cancel", "POST"},
	             {"vector_stores/*/file_batches/*/files", "GET"}};
	for (size_t i = 0; i < HTH_COUNT(table); i++) {
		const char *at = table[i].shape;
		size_t n = 0;
		for (; n < c->n_parts && *at != '\0'; n++) {
			size_t len = strcspn(at, "/");
			if (!(len == 1 && *at == '*') && (strlen(c->parts[n]) != len || strncmp(at, c->parts[n], len) != 0))
				break;
			at += len + (at[len] == '/');
		}
		if (n == c->n_parts && *at == '\0')
			return table[i].methods;
	}
	return NULL;
}

static hth_status copy_query(hth_exchange *exchange, const char *name, char **to, hth_error *err)
{
	const char *value = hth_exchange_query(exchange, name);
	if (value == NULL || *value == '\0')
		return HTH_OK;
	*to = strdup(value);
	return *to != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
}

static hth_status read_listing(store_call *c, hth_error *err)
{
	const char *limit = hth_exchange_query(c->exchange, "limit"), *order = hth_exchange_query(c->exchange, "order");
	bool files = c->n_parts == 1 && strcmp(c->parts[0], "files") == 0;
	int64_t most = files ? HTH_UPLOADS_MAX : 100;
	c->limit = files ? HTH_UPLOADS_MAX : 20;
	if (limit != NULL && *limit != '\0') {
		char *end;
		c->limit = strtoll(limit, &end, 10);
		if (*end != '\0' || c->limit < 1 || c->limit > most)
			return hth_fail_param(err, HTH_INVALID, "limit", "limit must be a number from 1 to %lld", (long long)most);
	}
	if (order != NULL && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
		return hth_fail_param(err, HTH_INVALID, "order", "order is asc or desc");
	c->oldest_first = order != NULL && order[0] == 'a';
	HTH_TRY(copy_query(c->exchange, "after", &c->after, err));
	HTH_TRY(copy_query(c->exchange, "before", &c->before, err));
	return copy_query(c->exchange, files ? "purpose" : "filter", &c->filter, err);
}

static hth_status read_call(store_call *c, hth_error *err)
{
	size_t len;
	const char *body = hth_exchange_body(c->exchange, &len);
	if (is(c, "GET"))
		return read_listing(c, err);
	if (is(c, "POST")) {
		if (len > 0)
			HTH_TRY(hth_json_parse(&c->body, body, len, err));
		else
			c->body = json_object();
		if (!json_is_object(c->body))
			return hth_fail(err, HTH_INVALID, "the body must be a JSON object");
		hth_exchange_drop_body(c->exchange);
		if (c->n_parts == 3 && strcmp(c->parts[2], "search") == 0)
			return hth_store_ask_read(c->body, &c->ask, err);
	}
	return HTH_OK;
}

static bool is_ours(hth_exchange *exchange)
{
	const char *path = hth_exchange_path(exchange);
	static const char *const ours[] = {"/v1/files", "/v1/vector_stores"};
	for (size_t i = 0; i < HTH_COUNT(ours); i++) {
		size_t n = strlen(ours[i]);
		if (strncmp(path, ours[i], n) == 0 && (path[n] == '\0' || path[n] == '/'))
			return true;
	}
	return false;
}

static void refuse(store_call *c, hth_exchange *exchange, const hth_error *error)
{
	hth_exchange_set_user(exchange, NULL);
	hth_pages_error(exchange, NULL, error);
	if (c != NULL)
		store_call_free(c);
}

bool hth_stores_handle(hth_node *node, hth_exchange *exchange)
{
	hth_error err = HTH_ERROR_INIT;
	store_call *c = NULL;
	if (!is_ours(exchange))
		return false;
	if (store_call_new(node->stores, exchange, &c, &err) != HTH_OK) {
		refuse(NULL, exchange, &err);
		return true;
	}
	const char *methods = methods_of(c);
	if (methods == NULL) {
		hth_fail(&err, HTH_NOT_FOUND, "there is no %.200s here", hth_exchange_path(exchange));
		refuse(c, exchange, &err);
	} else if (strstr(methods, c->method) == NULL) {
		hth_exchange_set_user(exchange, NULL);
		hth_pages_wrong_method(exchange, methods);
		store_call_free(c);
	} else if (is(c, "POST") && c->n_parts == 1 && strcmp(c->parts[0], "files") == 0) { /* else it would have gone to the sink */
		hth_fail_param(&err, HTH_INVALID, "file", "a file is sent as multipart/form-data, with the parts file and purpose");
		refuse(c, exchange, &err);
	} else if (read_call(c, &err) != HTH_OK) {
		c->asked = c->ask.n;
		refuse(c, exchange, &err);
	} else {
		ask_next(c);
	}
	return true;
}

/* --- life --- */

hth_status hth_stores_open(hth_stores **ret_stores, hth_node *node, hth_error *err)
{
	hth_stores *all = calloc(1, sizeof *all);
	if (all == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	all->node = node;
	hth_status status = hth_mailbox_open(&all->mailbox, node->loop, on_ended, all, err);
	if (status != HTH_OK) {
		free(all);
		return status;
	}
	*ret_stores = all;
	return HTH_OK;
}

void hth_stores_close(hth_stores *all)
{
	if (all == NULL)
		return;
	while (all->calls != NULL) {
		store_call *c = all->calls;
		hth_documents_forget_vector(all->node, c);
		if (c->running)
			pthread_join(c->thread, NULL);
		store_call_free(c);
	}
	hth_mailbox_close(all->mailbox);
	free(all);
}
