/* vector-stores.c - OpenAI's /v1/files and /v1/vector_stores, so that existing programs put papers into this home and search them, and the household's
 * own folders too (index/stores.h has what they are; a key needs the scope `documents`).
 *
 *   /v1/files                      POST (multipart: file, purpose), GET ?purpose&limit&order&after
 *   /v1/files/ID                   GET, DELETE;  /content GET
 *   /v1/vector_stores              POST, GET
 *   /v1/vector_stores/ID           GET, POST, DELETE;  /search POST
 *   .../ID/files                   POST, GET ?filter;  /FILE GET, POST, DELETE, /content GET
 *   .../ID/file_batches            POST;  /BATCH GET, /cancel POST, /files GET
 *
 * Each call has a thread for the disk, as searches have (documents.c). An upload goes to $HEARTH_HOME/files as it comes and is taken apart when it is
 * whole; who sends it is asked before its first byte is taken. A search waits for its queries' vectors first. Except for the threads, all on the
 * loop's. Names, attributes and queries are never logged.
 */
#include "node/node-internal.h"

#include "base/log.h"
#include "http/multipart.h"
#include "index/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { AT_ONCE = 16, UPLOADS_AT_ONCE = 4, PARTS_MAX = 5, ANSWER_MAX = 64 << 20, FORM_MAX = 1 << 20, PIECE = 256 << 10, UNSENT_MAX = 1 << 20, SEND_MS = 4 };
static const uint64_t SPARE = 64u << 20; /* room left on the disk */

typedef struct store_call {
	hth_holder holder; /* first: it is the exchange's user */
	hth_stores *all;
	hth_exchange *exchange; /* NULL: the client has left */
	char *path, *parts[PARTS_MAX]; /* what comes behind /v1/; path is what parts point into */
	size_t n_parts;
	char method[8];
	json_t *body; /* NULL: none */
	/* of a listing */
	int64_t limit;
	bool oldest_first;
	char *after, *before, *filter;
	/* of an upload */
	int fd;
	uint64_t bytes;
	char spool[4200], boundary[HTH_MULTIPART_BOUNDARY_MAX + 1];
	bool receiving;
	/* of a search */
	hth_store_ask ask;
	size_t asked; /* queries whose vector is known, or will not be */
	/* of content that goes out */
	hth_timer *timer;
	pthread_t thread;
	bool running, wake;
	json_t *answer;
	hth_status status;
	hth_error error;
	struct store_call *prev, *next;
} store_call;

struct hth_stores {
	hth_node *node;
	hth_mailbox *mailbox;
	store_call *calls;
	size_t n;
};

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
	json_t *first = n > 0 ? json_string(id_of(json_array_get(data, 0))) : json_null(), *last = n > 0 ? json_string(id_of(json_array_get(data, n - 1))) : json_null();
	return json_pack("{s:s,s:o,s:o,s:o,s:b}", "object", "list", "data", data, "first_id", first, "last_id", last, "has_more", more);
}

static json_t *deleted(const char *id, const char *object)
{
	return json_pack("{s:s,s:s,s:b}", "id", id, "object", object, "deleted", 1);
}

/* --- uploads: the thread's side --- */

typedef struct form {
	const store_call *c;
	const uint8_t *map;
	char purpose[64], name[HTH_MULTIPART_NAME_MAX + 1];
	bool has_file;
	size_t at, len; /* of the file, in the body */
} form;

static hth_status take_part(void *ctx, const hth_multipart_part *part, hth_error *err)
{
	form *f = ctx;
	if (strcmp(part->name, "purpose") == 0) {
		if (part->len >= sizeof f->purpose)
			return hth_fail_param(err, HTH_INVALID, "purpose", "the purpose is too long");
		memcpy(f->purpose, part->data, part->len);
		f->purpose[part->len] = '\0';
	} else if (strcmp(part->name, "file") == 0 && part->filename != NULL) {
		if (f->has_file)
			return hth_fail_param(err, HTH_INVALID, "file", "one file at a time");
		f->has_file = true;
		const char *base = strrchr(part->filename, '/');
		snprintf(f->name, sizeof f->name, "%s", base != NULL && base[1] != '\0' ? base + 1 : part->filename);
		f->at = (size_t)(part->data - (const char *)f->map);
		f->len = part->len;
	}
	return HTH_OK;
}

static hth_status copy_file(const form *f, const char *path, hth_error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	hth_status status = HTH_OK;
	for (size_t done = 0; done < f->len && status == HTH_OK;) {
		ssize_t n = write(fd, f->map + f->at + done, HTH_MIN(f->len - done, (size_t)1 << 20));
		if (n < 0 && errno != EINTR)
			status = hth_fail_errno(err, HTH_IO, errno, "cannot keep the file");
		done += n > 0 ? (size_t)n : 0;
	}
	if (status == HTH_OK && fsync(fd) != 0)
		status = hth_fail_errno(err, HTH_IO, errno, "cannot keep the file");
	close(fd);
	return status;
}

static hth_status keep_upload(store_call *c, hth_error *err)
{
	char path[4300];
	form f = {.c = c};
	void *map = c->bytes > 0 ? mmap(NULL, c->bytes, PROT_READ, MAP_PRIVATE, c->fd, 0) : MAP_FAILED;
	if (map == MAP_FAILED)
		return hth_fail_param(err, HTH_INVALID, "file", "the body is empty; it must be a form with a file and a purpose");
	f.map = map;
	hth_status status = hth_multipart_read(map, c->bytes, c->boundary, take_part, &f, err);
	if (status == HTH_OK && !f.has_file)
		status = hth_fail_param(err, HTH_INVALID, "file", "file is missing: a part of the form with a file name");
	if (status == HTH_OK && f.purpose[0] == '\0')
		status = hth_fail_param(err, HTH_INVALID, "purpose", "purpose is missing");
	snprintf(path, sizeof path, "%s.file", c->spool);
	if (status == HTH_OK)
		status = copy_file(&f, path, err);
	if (status == HTH_OK)
		status = hth_uploads_put(c->all->node->config->home, path, f.name, f.purpose, &c->answer, err);
	(void)unlink(path); /* where it was not taken */
	munmap(map, c->bytes);
	return status;
}

/* --- the thread --- */

static bool is(const store_call *c, const char *method) { return strcmp(c->method, method) == 0; }

static hth_status run_files(store_call *c, const char *home, hth_error *err)
{
	const char *id = c->parts[1];
	json_t *all;
	if (c->receiving)
		return keep_upload(c, err);
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

static void free_call(store_call *c)
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
	json_decref(c->answer);
	free(c->path);
	free(c->after);
	free(c->before);
	free(c->filter);
	free(c);
}

static void on_gone(hth_holder *holder)
{
	store_call *c = (store_call *)holder;
	c->exchange = NULL;
	/* Nothing of it is anywhere but here: it breaks off while it is received, or while it is sent. */
	if (!c->running && c->asked == c->ask.n)
		free_call(c);
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
			free_call(c);
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
	free_call(c);
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
	hth_log(HTH_LOG_DEBUG, "%s /v1/%s %s", c->method, c->parts[0], hth_status_name(c->status));
	if (c->exchange != NULL)
		answer(c);
	else
		free_call(c);
}

/* From here on the call's status is its thread's. */
static void begin(store_call *c)
{
	hth_error err;
	if (start_thread(c, &err) == HTH_OK)
		return;
	c->status = err.status;
	c->error = err;
	if (c->exchange != NULL)
		answer(c);
	else
		free_call(c);
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
	begin(c);
}

/* --- beginning --- */

static hth_status new_call(hth_stores *all, hth_exchange *exchange, store_call **ret_call, hth_error *err)
{
	const char *path = hth_exchange_path(exchange);
	if (all->n >= AT_ONCE)
		return hth_fail(err, HTH_BUSY, "%zu calls to files and vector stores run already; try again in a moment", all->n);
	store_call *c = calloc(1, sizeof *c);
	if (c == NULL || (c->path = strdup(path + 4)) == NULL) { /* behind "/v1/" */
		free(c);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	}
	c->holder.gone = on_gone;
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
		whole = whole && *at != '\0' && c->n_parts < PARTS_MAX;
		if (whole)
			c->parts[c->n_parts++] = at;
	}
	c->next = all->calls;
	if (c->next != NULL)
		c->next->prev = c;
	all->calls = c;
	all->n++;
	if (!whole) {
		free_call(c);
		return hth_fail(err, HTH_NOT_FOUND, "there is no %.200s here", path);
	}
	hth_exchange_set_user(exchange, &c->holder);
	*ret_call = c;
	return HTH_OK;
}

/* "GET, POST": what the call's path takes; NULL: there is no such path. */
static const char *methods_of(const store_call *c)
{
	static const struct {
		const char *shape, *methods;
	} table[] = {{"files", "GET, POST"}, {"files/*", "GET, DELETE"}, {"files/*/content", "GET"},
	             {"vector_stores", "GET, POST"}, {"vector_stores/*", "GET, POST, DELETE"}, {"vector_stores/*/search", "POST"},
	             {"vector_stores/*/files", "GET, POST"}, {"vector_stores/*/files/*", "GET, POST, DELETE"}, {"vector_stores/*/files/*/content", "GET"}, {"vector_stores/*/file_batches", "POST"},
	             {"vector_stores/*/file_batches/*", "GET"}, {"vector_stores/*/file_batches/*/cancel", "POST"}, {"vector_stores/*/file_batches/*/files", "GET"}};
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
		free_call(c);
}

bool hth_stores_handle(hth_node *node, hth_exchange *exchange)
{
	hth_error err = HTH_ERROR_INIT;
	store_call *c = NULL;
	if (!is_ours(exchange))
		return false;
	if (new_call(node->stores, exchange, &c, &err) != HTH_OK) {
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
		free_call(c);
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

/* --- receiving --- */

static bool receive(void *ctx, const void *data, size_t len)
{
	store_call *c = ctx;
	if (c->bytes + len > HTH_UPLOAD_BYTES_MAX + FORM_MAX)
		return false;
	for (const char *at = data; len > 0;) {
		ssize_t n = write(c->fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
		c->bytes += (uint64_t)n;
	}
	return true;
}

static hth_status begin_upload(hth_stores *all, hth_exchange *exchange, store_call **ret_call, hth_error *err)
{
	char folder[4100], boundary[HTH_MULTIPART_BOUNDARY_MAX + 1];
	const char *length = hth_exchange_header(exchange, "Content-Length");
	unsigned long long bytes = length != NULL ? strtoull(length, NULL, 10) : 0;
	struct statvfs disk;
	size_t others = 0;
	for (const store_call *c = all->calls; c != NULL; c = c->next)
		others += c->receiving;
	if (others >= UPLOADS_AT_ONCE)
		return hth_fail(err, HTH_BUSY, "%d files are being sent already; try again when one has ended", UPLOADS_AT_ONCE);
	if (!hth_multipart_boundary(hth_exchange_header(exchange, "Content-Type"), boundary))
		return hth_fail_param(err, HTH_INVALID, "file", "a file is sent as multipart/form-data, with the parts file and purpose");
	if (bytes > HTH_UPLOAD_BYTES_MAX + FORM_MAX)
		return hth_fail_param(err, HTH_INVALID, "file", "a file has at most %llu MiB", (unsigned long long)(HTH_UPLOAD_BYTES_MAX >> 20));
	HTH_TRY(hth_uploads_folder(all->node->config->home, folder, sizeof folder, err));
	if (statvfs(folder, &disk) == 0 && 2 * bytes + SPARE > (uint64_t)disk.f_bavail * disk.f_frsize)
		return hth_fail(err, HTH_IO, "the disk of %s has no room for %llu bytes", folder, bytes);
	store_call *c = NULL;
	HTH_TRY(new_call(all, exchange, &c, err));
	c->receiving = true;
	memcpy(c->boundary, boundary, sizeof boundary);
	snprintf(c->spool, sizeof c->spool, "%s/.upload-%08x%08x", folder, randombytes_random(), randombytes_random());
	c->fd = open(c->spool, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->fd < 0) {
		hth_status status = hth_fail_errno(err, HTH_IO, errno, "cannot make %s", c->spool);
		hth_exchange_set_user(exchange, NULL);
		free_call(c);
		return status;
	}
	*ret_call = c;
	return HTH_OK;
}

bool hth_stores_headers(hth_node *node, hth_exchange *exchange)
{
	hth_error err = HTH_ERROR_INIT;
	hth_caller caller;
	store_call *c = NULL;
	if (strcmp(hth_exchange_method(exchange), "POST") != 0 || strcmp(hth_exchange_path(exchange), "/v1/files") != 0)
		return false;
	hth_exchange_set_user(exchange, NULL);
	if (hth_guard_check(node, exchange, &caller, &err) != HTH_OK) {
		node->metrics.denied++;
		hth_keys_refuse(exchange, NULL, &caller, &err);
	} else if (begin_upload(node->stores, exchange, &c, &err) != HTH_OK) {
		hth_pages_error(exchange, NULL, &err);
	} else {
		hth_exchange_set_sink(exchange, receive, c);
	}
	return true;
}

bool hth_stores_end(hth_node *node, hth_exchange *exchange)
{
	(void)node;
	hth_holder *holder = hth_exchange_user(exchange);
	if (holder == NULL || holder->gone != on_gone)
		return false;
	store_call *c = (store_call *)holder;
	begin(c);
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
		free_call(c);
	}
	hth_mailbox_close(all->mailbox);
	free(all);
}
