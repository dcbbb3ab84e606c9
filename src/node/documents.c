/* documents.c - the household's documents in the node: the index is kept while the node runs, and searched for whoever may.
 *
 *   GET /search?q=&k=[&folder=&type=&from=&after=&before=&least=&text=1]   as `hearth search --json` (index/index-json.h)
 *   GET /hearth/index                                               status
 *   POST /hearth/index {"add":"/path","shared":false} | {"remove":"/path"}
 *
 * A search reads the disk, so each such call has a thread and the loop goes on; a few at once, the next is told to come again. Neither what
 * was asked nor what was found is logged. While any request is being answered the index rests (hth_documents_rest). Except for those
 * threads, all on the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "index/index-json.h"
#include "index/stores.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

enum { AT_ONCE = 16, READERS_MAX = 4, ANSWER_MAX = 16 << 20, RETRY_MS = 15000 };

typedef enum call_kind { CALL_SEARCH, CALL_STATUS, CALL_CHANGE } call_kind;

typedef struct document_call {
	hth_holder holder; /* first: it is the exchange's user */
	hth_documents *all;
	hth_exchange *exchange; /* NULL: the client has left, or it is for a model */
	hth_passages_fn fn;     /* instead of an exchange */
	void *ctx;
	call_kind kind;
	char *text, *folder, *type, *from; /* text: the query, or the folder to add or remove */
	int64_t k, after, before, least;
	bool with_text, shared, remove, marked_only;
	bool sign; /* links, because this node asks for keys */
	hth_index_hits hits;
	pthread_t thread;
	bool running; /* the thread; false: it waits for the query's vector */
	float *vector; /* NULL: words alone */
	size_t n_dims;
	uint8_t key[HTH_INDEX_KEY_BYTES];
	hth_index_reader *reader;
	hth_index *index; /* as it was when the call began */
	hth_status status;
	hth_error error;
	hth_buf answer;
	struct document_call *prev, *next;
} document_call;

struct hth_documents {
	hth_node *node;
	hth_mailbox *mailbox;
	hth_index *index; /* NULL: not kept */
	hth_embedder *embedder;
	document_call *calls;
	size_t n;
	hth_index_reader *readers[READERS_MAX]; /* that nobody uses */
	size_t n_readers;
	bool told; /* that the index cannot be kept */
	uint64_t tried_ms;
};

/* --- keeping --- */

static void start_keeping(hth_documents *d)
{
	char record[4200];
	hth_error err = HTH_ERROR_INIT;
	snprintf(record, sizeof record, "%s/index/record.db", d->node->config->home);
	if (d->index != NULL || access(record, F_OK) != 0)
		return;
	d->tried_ms = hth_clock_ms();
	if (hth_index_start(&d->index, &(hth_index_options){.home = d->node->config->home}, &err) != HTH_OK && !d->told) {
		hth_log(HTH_LOG_WARN, "the documents are not kept up to date: %s", err.message);
		d->told = true;
	}
	if (d->index != NULL)
		hth_embedder_attach(d->embedder, d->index);
}

void hth_documents_wake(hth_node *node)
{
	if (node->documents->index != NULL)
		hth_index_wake(node->documents->index);
	else
		start_keeping(node->documents);
}

void hth_documents_rest(hth_node *node)
{
	if (node->documents != NULL && node->documents->index != NULL)
		hth_index_pause(node->documents->index, node->metrics.active > 0);
	if (node->documents != NULL)
		hth_embedder_rest(node->documents->embedder, node->metrics.active > 0);
}

/* --- the call's thread --- */

static void sign_link(void *ctx, const char *document, hth_buf *out)
{
	hth_link_sign(((document_call *)ctx)->all->node->link_key, document, hth_clock_unix() + HTH_LINK_S, out);
}

static hth_status run_search(document_call *c, hth_error *err)
{
	if (c->reader == NULL)
		HTH_TRY(hth_index_reader_open(&c->reader, c->all->node->config->home, err));
	const hth_index_query q = {.text = c->text, .k = (size_t)c->k, .folder = c->folder, .type = c->type, .from = c->from,
	                           .after = c->after, .before = c->before,
	                           .shared_only = c->marked_only, .least_share = (double)c->least / 100, .vector = c->vector,
	                           .n_dims = c->n_dims, .vector_key = c->key};
	HTH_TRY(hth_index_search(c->reader, &q, &c->hits, err));
	const hth_index_signer signer = {sign_link, c};
	if (c->fn == NULL)
		hth_index_write_hits(&c->hits, c->text, c->with_text, c->sign ? &signer : NULL, &c->answer);
	return hth_buf_check(&c->answer, "the answer", err);
}

static hth_status run_change(document_call *c, hth_error *err)
{
	const char *home = c->all->node->config->home;
	HTH_TRY(c->remove ? hth_index_folder_remove(home, c->text, err) : hth_index_folder_add(home, c->text, c->shared, err));
	hth_buf_append_str(&c->answer, c->remove ? "{\"removed\":true}" : "{\"added\":true}");
	return HTH_OK;
}

static void *call_main(void *ctx)
{
	document_call *c = ctx;
	c->status = c->kind == CALL_SEARCH   ? run_search(c, &c->error)
	            : c->kind == CALL_STATUS ? hth_index_write_status(c->all->node->config->home, c->index, &c->answer, &c->error)
	                                     : run_change(c, &c->error);
	(void)!hth_mailbox_post(c->all->mailbox, c);
	return NULL;
}

/* --- the loop's side --- */

static void free_call(document_call *c)
{
	hth_documents *d = c->all;
	if (c->prev != NULL || d->calls == c) {
		*(c->prev != NULL ? &c->prev->next : &d->calls) = c->next;
		if (c->next != NULL)
			c->next->prev = c->prev;
		d->n--;
	}
	if (c->reader != NULL && d->n_readers < READERS_MAX && c->status == HTH_OK)
		d->readers[d->n_readers++] = c->reader;
	else
		hth_index_reader_close(c->reader);
	hth_buf_finish(&c->answer);
	free(c->vector);
	hth_index_hits_finish(&c->hits);
	free(c->text);
	free(c->folder);
	free(c->type);
	free(c->from);
	free(c);
}

static void on_ended(void *ctx, void *mail)
{
	(void)ctx;
	document_call *c = mail;
	if (c->running)
		pthread_join(c->thread, NULL);
	if (c->kind == CALL_CHANGE && c->status == HTH_OK)
		hth_documents_wake(c->all->node);
	if (c->error.status == HTH_BAD_FORMAT)
		c->error.status = HTH_IO; /* a damaged index is not the client's mistake */
	if (c->exchange != NULL) {
		hth_exchange_set_user(c->exchange, NULL);
		if (c->status == HTH_OK)
			hth_exchange_reply(c->exchange, 200, "application/json; charset=utf-8", c->answer.data, c->answer.len);
		else
			hth_pages_error(c->exchange, NULL, &c->error);
	}
	if (c->fn != NULL)
		c->fn(c->ctx, c->status == HTH_OK ? &c->hits : NULL, &c->error);
	hth_log(HTH_LOG_DEBUG, "%s %s", c->kind == CALL_SEARCH ? "GET /search" : "/hearth/index", hth_status_name(c->status));
	free_call(c);
}

static void on_gone(hth_holder *holder) { ((document_call *)holder)->exchange = NULL; }

static hth_status start_thread(document_call *c, hth_error *err)
{
	sigset_t every, before;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	int e = pthread_create(&c->thread, NULL, call_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e != 0)
		return hth_fail_errno(err, HTH_NO_MEMORY, e, "cannot start a thread");
	c->running = true;
	return HTH_OK;
}

/* What the query means is known, or will not be. */
static void on_vector(void *ctx, const float *values, size_t n, const uint8_t *key)
{
	document_call *c = ctx;
	c->vector = values != NULL ? hth_alloc_array(n, sizeof *values) : NULL;
	if (c->vector != NULL) {
		memcpy(c->vector, values, n * sizeof *values);
		memcpy(c->key, key, sizeof c->key);
		c->n_dims = n;
	}
	hth_error err;
	if (start_thread(c, &err) == HTH_OK) /* from here on its status is the thread's */
		return;
	c->status = err.status;
	c->error = err;
	(void)!hth_mailbox_post(c->all->mailbox, c);
}

/* The query as a person would say it: without its signs, and without what must not be there. */
static char *plain_words(const char *text)
{
	char *out = calloc(1, strlen(text) + 2), *to = out;
	while (out != NULL && *text != '\0') {
		text += strspn(text, " \t\r\n+\"");
		size_t n = strcspn(text, " \t\r\n\"");
		if (n > 0 && *text != '-') {
			if (to != out)
				*to++ = ' ';
			memcpy(to, text, n);
			to += n;
		}
		text += n;
	}
	return out;
}

void hth_documents_vector(hth_node *node, const char *query, hth_embedded_fn fn, void *ctx)
{
	HTH_AUTO_FREE char *words = plain_words(query);
	if (words != NULL && *words != '\0')
		hth_embedder_query(node->documents->embedder, words, fn, ctx);
	else
		fn(ctx, NULL, 0, NULL);
}

void hth_documents_forget_vector(hth_node *node, void *ctx) { hth_embedder_forget(node->documents->embedder, ctx); }

static hth_status begin(hth_documents *d, document_call *c, hth_exchange *exchange, hth_error *err)
{
	if (d->n >= AT_ONCE)
		return hth_fail(err, HTH_BUSY, "%zu searches run already; try again in a moment", d->n);
	c->holder.gone = on_gone;
	c->exchange = exchange;
	c->sign = hth_guard_asks_for_keys(d->node);
	c->answer = HTH_BUF_INIT(ANSWER_MAX);
	if (c->kind == CALL_SEARCH && d->n_readers > 0)
		c->reader = d->readers[--d->n_readers];
	HTH_AUTO_FREE char *words = c->kind == CALL_SEARCH ? plain_words(c->text) : NULL;
	if (words == NULL || *words == '\0')
		HTH_TRY(start_thread(c, err));
	c->next = d->calls;
	if (c->next != NULL)
		c->next->prev = c;
	d->calls = c;
	d->n++;
	if (exchange != NULL)
		hth_exchange_set_user(exchange, &c->holder);
	if (!c->running)
		hth_embedder_query(d->embedder, words, on_vector, c);
	return HTH_OK;
}

static document_call *new_call(hth_documents *d, call_kind kind)
{
	document_call *c = calloc(1, sizeof *c);
	if (c != NULL) {
		c->all = d;
		c->index = d->index;
		c->kind = kind;
	}
	return c;
}

hth_status hth_documents_passages(hth_node *node, const char *query, unsigned least, bool marked_only, hth_passages_fn fn, void *ctx,
                                  hth_document_call **ret_call, hth_error *err)
{
	enum { PASSAGES = 6 };
	document_call *c = new_call(node->documents, CALL_SEARCH);
	if (c == NULL || (c->text = strndup(query, HTH_INDEX_QUERY_MAX)) == NULL) {
		free(c);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
	}
	c->k = PASSAGES;
	c->least = least;
	c->marked_only = marked_only;
	c->fn = fn;
	c->ctx = ctx;
	hth_status status = begin(node->documents, c, NULL, err);
	if (status != HTH_OK) {
		c->status = status;
		free_call(c);
		return status;
	}
	*ret_call = c;
	return HTH_OK;
}

void hth_documents_cancel(hth_document_call *call) { call->fn = NULL; }

static hth_status read_number(hth_exchange *exchange, const char *name, int64_t min, int64_t max, int64_t *value, hth_error *err)
{
	const char *text = hth_exchange_query(exchange, name);
	if (text == NULL || *text == '\0')
		return HTH_OK;
	char *end;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0' || v < min || v > max)
		return hth_fail_param(err, HTH_INVALID, name, "%s must be a number from %lld to %lld", name, (long long)min,
		                      (long long)max);
	*value = v;
	return HTH_OK;
}

static char *copy(hth_exchange *exchange, const char *name)
{
	const char *value = hth_exchange_query(exchange, name);
	return value != NULL ? strdup(value) : NULL;
}

static hth_status read_search(document_call *c, hth_exchange *exchange, hth_error *err)
{
	const char *text = hth_exchange_query(exchange, "q"), *with_text = hth_exchange_query(exchange, "text");
	if (text == NULL || *text == '\0')
		return hth_fail_param(err, HTH_INVALID, "q", "q is missing: the words to look for");
	c->k = 10;
	HTH_TRY(read_number(exchange, "k", 1, HTH_INDEX_K_MAX, &c->k, err));
	HTH_TRY(read_number(exchange, "least", 0, 100, &c->least, err));
	HTH_TRY(read_number(exchange, "after", 0, INT64_MAX, &c->after, err));
	HTH_TRY(read_number(exchange, "before", 0, INT64_MAX, &c->before, err));
	c->with_text = with_text != NULL && strcmp(with_text, "1") == 0;
	c->text = strdup(text);
	c->folder = copy(exchange, "folder");
	c->type = copy(exchange, "type");
	c->from = copy(exchange, "from");
	return c->text != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a search");
}

static hth_status read_change(document_call *c, hth_exchange *exchange, hth_error *err)
{
	size_t len;
	const char *body = hth_exchange_body(exchange, &len), *add = NULL, *rm = NULL;
	HTH_AUTO_JSON json_t *json = NULL;
	HTH_TRY(hth_json_parse(&json, body, len, err));
	if (!json_is_object(json))
		return hth_fail(err, HTH_INVALID, "the body must be a JSON object");
	HTH_TRY(hth_json_get_string(json, "add", &add, err));
	HTH_TRY(hth_json_get_string(json, "remove", &rm, err));
	HTH_TRY(hth_json_get_bool(json, "shared", &c->shared, err));
	if ((add == NULL) == (rm == NULL))
		return hth_fail_param(err, HTH_INVALID, "add", "the body must have either add or remove, a folder's path");
	c->remove = rm != NULL;
	c->text = strdup(add != NULL ? add : rm);
	if (c->text == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	return c->text[0] == '/' ? HTH_OK : hth_fail_param(err, HTH_INVALID, c->remove ? "remove" : "add", "the path must be absolute");
}

static void serve(hth_node *node, hth_exchange *exchange, call_kind kind,
                  hth_status (*read)(document_call *c, hth_exchange *exchange, hth_error *err))
{
	hth_error err = HTH_ERROR_INIT;
	/* Another process may have kept it, and ended (hearth index add --wait). */
	if (hth_clock_ms() - node->documents->tried_ms >= RETRY_MS)
		start_keeping(node->documents);
	document_call *c = new_call(node->documents, kind);
	hth_status status = c == NULL ? hth_fail(&err, HTH_NO_MEMORY, "no memory for the request") : HTH_OK;
	if (status == HTH_OK && read != NULL)
		status = read(c, exchange, &err);
	if (status == HTH_OK)
		status = begin(node->documents, c, exchange, &err);
	if (status == HTH_OK)
		return;
	if (c != NULL) {
		c->status = status;
		free_call(c);
	}
	hth_pages_error(exchange, NULL, &err);
}

void hth_documents_search(hth_node *node, hth_exchange *exchange) { serve(node, exchange, CALL_SEARCH, read_search); }
void hth_documents_status(hth_node *node, hth_exchange *exchange) { serve(node, exchange, CALL_STATUS, NULL); }
void hth_documents_change(hth_node *node, hth_exchange *exchange) { serve(node, exchange, CALL_CHANGE, read_change); }

hth_status hth_documents_create(hth_documents **ret_documents, hth_node *node, hth_error *err)
{
	hth_documents *d = calloc(1, sizeof *d);
	if (d == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	d->node = node;
	hth_status status = hth_mailbox_open(&d->mailbox, node->loop, on_ended, d, err);
	if (status == HTH_OK)
		status = hth_embedder_create(&d->embedder, node, err);
	if (status != HTH_OK) {
		hth_mailbox_close(d->mailbox);
		free(d);
		return status;
	}
	hth_stores_mend(node->config->home);
	start_keeping(d);
	*ret_documents = d;
	return HTH_OK;
}

void hth_documents_destroy(hth_documents *d)
{
	if (d == NULL)
		return;
	while (d->calls != NULL) {
		document_call *c = d->calls;
		hth_embedder_forget(d->embedder, c);
		if (c->running)
			pthread_join(c->thread, NULL);
		free_call(c);
	}
	hth_mailbox_close(d->mailbox);
	hth_index_stop(d->index);
	hth_embedder_destroy(d->embedder);
	for (size_t i = 0; i < d->n_readers; i++)
		hth_index_reader_close(d->readers[i]);
	free(d);
}
