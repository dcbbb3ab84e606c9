/* verbs.c - the story of a request, from top to bottom. Read this file first.
 *
 *   handle    an HTTP call is here: may it ask at all? whose is it? what does it want? (one call may make several requests)
 *   admit     each of its requests begins its life, a few at a time
 *   classify  who may read its words
 *   route     who serves it, and why; it may wait here for its model to load
 *   run       the runner has it
 *   stream    results go out as they come
 *   finish    its one end: done, cancelled or failed; counted, logged without a word of its content; the next one is admitted
 *
 * Any verb may fail; the request then fails, and its end is told to the client by finish like any other. A client that leaves
 * cancels all that its call still has running. Thread: the loop's.
 */
#include "node/next-door.h"
#include "node/node-internal.h"

#include "api/own-tool.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "index/index-json.h"
#include "privacy/privacy.h"

#include <stdio.h>

/* Requests of one call that are with the router or a runner at once: a list of texts must not take the whole queue. */
enum { CALL_WINDOW = 8 };
/* A call of more requests (texts to embed) is told of in the log as one. */
enum { LOGGED_ONE_BY_ONE = 8 };
/* Per cent of a question that a passage must have (docs/index.md): less where a model searches by itself and may judge, or two questions
 * are one. */
enum { TOOL_LEAST = 25, CONTEXT_LEAST = 45 };

/* One HTTP call being served. Freed when its answer is complete (or nobody wants it) and its requests have ended. */
typedef struct hth_call {
	hth_holder holder; /* first: it is the exchange's user */
	hth_node *node;
	hth_exchange *exchange; /* NULL: answered, or the client has left */
	const hth_api_endpoint *endpoint;
	hth_api_job *job;       /* NULL until it is read */
	hth_privacy_class wish;
	bool has_key;                /* whose class wish is */
	size_t n_admitted, in_flight;
	size_t n_done;          /* of those, and what they read, for the log */
	uint64_t prompt_tokens;
	hth_task *page;  /* being fetched for the model; counts as in flight */
	hth_document_call *passages; /* being searched for the model; counts as in flight */
	hth_store_call *files;       /* the same in vector stores (file_search) */
	bool documents;              /* its caller may know what they say */
	bool context;                /* it is to be answered from them */
	bool marked_only;            /* from those that neighbours may be shown */
	bool context_due;            /* and the passages for that are being looked for */
	bool asked_before;           /* with what the user said before, too */
	bool gone;       /* the client has left */
	bool refused;    /* it could not be read, and was told so */
	unsigned inside; /* depth of functions that work on it */
	char what[96];   /* "POST /v1/chat/completions", for the log */
	struct hth_call *prev, *next;
} hth_call;

static void admit_more(hth_call *call);
static void on_gone(hth_holder *holder);

static void enter(hth_call *call) { call->inside++; }

static void leave(hth_call *call)
{
	if (--call->inside > 0 || call->in_flight > 0 || !(call->gone || call->refused || (call->job != NULL && call->job->finished)))
		return;
	hth_node *node = call->node;
	if (call->job != NULL && call->job->n_requests > LOGGED_ONE_BY_ONE)
		hth_log(HTH_LOG_INFO, "%s %zu of %zu requests done model=%s prompt=%llu", call->what, call->n_done, call->job->n_requests,
		        call->job->requests[0]->model, (unsigned long long)call->prompt_tokens);
	*(call->prev != NULL ? &call->prev->next : &node->calls) = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	hth_api_job_destroy(call->job);
	free(call);
	hth_node_call_ended(node);
}

static void cancel_rest(hth_call *call)
{
	for (size_t i = 0; i < call->n_admitted; i++)
		hth_request_cancel(call->job->requests[i]);
}

static size_t number_of(const hth_call *call, const hth_request *request)
{
	size_t i = 0;
	while (call->job->requests[i] != request)
		i++;
	return i;
}

/* ---- finish ---- */

static void log_end(const hth_call *call, const hth_request *r)
{
	double ms = 1e-6;
	bool many = call->job != NULL && call->job->n_requests > LOGGED_ONE_BY_ONE;
	hth_log(many && r->state == HTH_REQUEST_DONE ? HTH_LOG_DEBUG : HTH_LOG_INFO,
	        "%s %s %s model=%s privacy=%s by=%s prompt=%u cached=%u answer=%u first=%.0fms total=%.0fms%s%s", r->id,
	        call->what, hth_request_state_name(r->state), r->model, hth_privacy_name(r->privacy),
	        r->served_by[0] != '\0' ? r->served_by : "nobody", r->usage.prompt_tokens, r->usage.cached_tokens,
	        r->usage.answer_tokens, r->started_ns > 0 ? (double)(r->started_ns - r->created_ns) * ms : 0.0,
	        (double)(r->ended_ns - r->created_ns) * ms, r->state == HTH_REQUEST_FAILED ? " error=" : "",
	        r->state == HTH_REQUEST_FAILED ? hth_status_name(r->error.status) : "");
}

static void count_end(hth_metrics *m, const hth_request *r)
{
	m->active--;
	m->prompt_tokens += r->usage.prompt_tokens;
	m->cached_tokens += r->usage.cached_tokens;
	m->answer_tokens += r->usage.answer_tokens;
	hth_histogram_add(&m->duration, (double)(r->ended_ns - r->created_ns) * 1e-9);
	if (r->state == HTH_REQUEST_DONE)
		m->done++;
	else if (r->state == HTH_REQUEST_CANCELLED)
		m->cancelled++;
	else if (r->error.status == HTH_BUSY)
		m->refused++;
	else
		m->failed++;
}

/* ---- a page that the model asked for (own-tool.h) ---- */

static void admit(hth_call *call, hth_request *request);

/* Words for the model; then it goes on. */
static void give_page(hth_call *call, const char *text, size_t len)
{
	hth_error err;
	if (hth_api_give_page(call->job, text, len, &err) != HTH_OK)
		hth_api_fail(call->job, &err);
	else
		admit(call, call->job->requests[0]);
}

static void write_page(const hth_fetch_result *page, hth_buf *out)
{
	enum { LINKS_SHOWN = 20 };
	size_t room = HTH_OWN_TOOL_TEXT_MAX;
	hth_buf_appendf(out, "%s%s%sAddress: %s\nStatus: %d\n\n", page->title != NULL ? "Title: " : "",
	                page->title != NULL ? page->title : "", page->title != NULL ? "\n" : "", page->url != NULL ? page->url : "",
	                page->code);
	size_t n = HTH_MIN(page->len, room);
	n -= hth_utf8_incomplete_suffix(page->text, n);
	hth_buf_append(out, page->text, n);
	if (n < page->len || page->cut)
		hth_buf_append_str(out, "\n[The page goes on.]");
	for (size_t i = 0; i < HTH_MIN(page->n_links, (size_t)LINKS_SHOWN); i++)
		hth_buf_appendf(out, "%s- %s: %s\n", i == 0 ? "\n\nLinks:\n" : "", page->links[i].text, page->links[i].url);
}

static void on_page(void *ctx, const hth_fetch_result *page, const hth_error *why_not)
{
	hth_call *call = ctx;
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(1 << 20);
	enter(call);
	call->page = NULL;
	call->in_flight--;
	if (!call->gone && !call->job->finished) {
		if (page != NULL)
			write_page(page, &text);
		else
			hth_buf_appendf(&text, "The page could not be fetched: %s", why_not->message);
		give_page(call, text.data != NULL ? text.data : "", text.len);
	}
	leave(call);
}

/* Numbered after those that the call has already. */
static hth_status take_passages(hth_call *call, const hth_index_hits *hits, hth_error *err)
{
	for (size_t i = 0; i < hits->n; i++) {
		const hth_index_hit *h = &hits->list[i];
		HTH_CLEANUP(hth_buf_finish) hth_buf link = HTH_BUF_INIT(16 << 10);
		hth_context_passage p = {.file = h->file, .part = h->part, .text = h->text, .snippet = h->snippet, .document = h->document,
		                         .page = h->page, .has_box = h->has_box};
		memcpy(p.box, h->box, sizeof p.box);
		if (hth_index_write_link(h, NULL, false, &link)) {
			hth_guard_sign_link(call->node, h->document, &link);
			p.link = link.failed ? NULL : link.data;
		}
		hth_status status = hth_context_add(call->job->context, &p, err);
		if (status == HTH_TOO_LARGE)
			break; /* many rounds: what there is must do */
		HTH_TRY(status);
	}
	return HTH_OK;
}

static bool find_context(hth_call *call, bool with_before);

/* What the model asked for, or what the call is to be answered from. */
static void on_passages(void *ctx, const hth_index_hits *hits, const hth_error *why_not)
{
	hth_call *call = ctx;
	hth_error err = HTH_ERROR_INIT;
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(HTH_OWN_TOOL_TEXT_MAX + 4);
	enter(call);
	call->passages = NULL;
	call->in_flight--;
	if (call->gone || call->job->finished) {
		leave(call);
		return;
	}
	size_t before = hth_context_count(call->job->context);
	hth_status status = hits != NULL ? take_passages(call, hits, &err) : HTH_OK;
	if (!call->context_due) {
		if (hits == NULL)
			hth_buf_append_str(&text, why_not->message);
		else if (hits->n == 0)
			hth_buf_append_str(&text, "No document speaks of that. Say so, or search with other words.");
		else
			hth_context_write(call->job->context, before, &text);
		if (text.data != NULL)
			give_page(call, text.data, text.len);
		else
			give_page(call, "", 0);
	} else if (hits != NULL && hits->n == 0 && !call->asked_before && find_context(call, true)) {
		/* It is looked for together with what was said before. */
	} else {
		call->context_due = false;
		/* A question without a word to look for ("?!") is no error. */
		if (status == HTH_OK && hits == NULL && why_not->status != HTH_INVALID)
			status = hth_fail(&err, why_not->status, "the household's documents could not be searched: %s", why_not->message);
		if (status == HTH_OK && hits != NULL)
			status = hth_api_put_passages(call->job, &err);
		if (status != HTH_OK)
			hth_api_fail(call->job, &err);
		admit_more(call);
	}
	leave(call);
}

/* Before its requests are admitted: what the household's documents say of its question. False: there is none, or it fails (the job then
 * has). */
static bool find_context(hth_call *call, bool with_before)
{
	hth_error err = HTH_ERROR_INIT;
	char *question = hth_api_question(call->job, with_before);
	call->asked_before = with_before;
	if (question == NULL)
		return false;
	hth_status status = hth_documents_passages(call->node, question, with_before ? TOOL_LEAST : CONTEXT_LEAST, call->marked_only,
	                                           on_passages, call, &call->passages, &err);
	explicit_bzero(question, strlen(question));
	free(question);
	if (status != HTH_OK) {
		hth_api_fail(call->job, &err);
		return false;
	}
	call->context_due = true;
	call->in_flight++;
	return true;
}

/* ---- files of vector stores, searched before its request is admitted (api/file-search.c) ---- */

static hth_status take_files(hth_call *call, const json_t *results, hth_error *err)
{
	const json_t *one;
	size_t i;
	json_array_foreach ((json_t *)results, i, one) {
		const json_t *attributes = json_object_get(one, "attributes"), *page = json_object_get(attributes, "page");
		const char *path = json_string_value(json_object_get(attributes, "path")),
		           *name = json_string_value(json_object_get(one, "filename")),
		           *id = json_string_value(json_object_get(one, "file_id")),
		           *text = json_string_value(json_object_get(json_array_get(json_object_get(one, "content"), 0), "text"));
		bool household = path != NULL && path[0] == '/'; /* what a program sent is called as it called it */
		const hth_context_passage p = {.file = household ? path : name != NULL ? name : "", .text = text != NULL ? text : "",
		                               .document = id,
		                               .page = household && json_is_integer(page) ? (uint32_t)json_integer_value(page) : 0};
		hth_status status = hth_context_add(call->job->context, &p, err);
		if (status == HTH_TOO_LARGE)
			break;
		HTH_TRY(status);
	}
	return HTH_OK;
}

static void on_files(void *ctx, const json_t *results, const hth_error *why_not)
{
	hth_call *call = ctx;
	hth_error err = HTH_ERROR_INIT;
	enter(call);
	call->files = NULL;
	call->in_flight--;
	if (call->gone || call->job->finished) {
		leave(call);
		return;
	}
	char *question = hth_api_question(call->job, false);
	hth_status status = results != NULL ? take_files(call, results, &err) : why_not->status;
	if (results == NULL)
		err = *why_not;
	if (status == HTH_OK)
		status = hth_api_file_search_done(call->job, question != NULL ? question : "", results, &err);
	if (status == HTH_OK)
		status = hth_api_put_passages(call->job, &err);
	if (question != NULL)
		explicit_bzero(question, strlen(question));
	free(question);
	if (status != HTH_OK)
		hth_api_fail(call->job, &err);
	admit_more(call);
	leave(call);
}

/* False: there is nothing to look for, or it fails (the job then has). */
static bool find_files(hth_call *call)
{
	hth_error err = HTH_ERROR_INIT;
	char *question = hth_api_question(call->job, false);
	if (question == NULL)
		return false;
	call->in_flight++;
	hth_status status = hth_stores_find(call->node, hth_api_file_search(call->job), question, (double)TOOL_LEAST / 100, on_files, call,
	                                    &call->files, &err);
	explicit_bzero(question, strlen(question));
	free(question);
	if (status == HTH_OK)
		return true;
	call->in_flight--;
	hth_api_fail(call->job, &err);
	return false;
}

/* Nobody waits for them any more. */
static void drop_passages(hth_call *call)
{
	if (call->files != NULL) {
		hth_stores_cancel(call->files);
		call->files = NULL;
		call->in_flight--;
	}
	if (call->passages == NULL)
		return;
	hth_documents_cancel(call->passages);
	call->passages = NULL;
	call->in_flight--;
}

static void search_documents(hth_call *call)
{
	hth_error err = HTH_ERROR_INIT;
	const char *query;
	hth_status status = hth_api_page_url(call->job, &query, &err);
	if (status == HTH_OK)
		status = hth_documents_passages(call->node, query, TOOL_LEAST, call->marked_only, on_passages, call, &call->passages, &err);
	if (status == HTH_OK)
		call->in_flight++;
	else
		give_page(call, err.message, strlen(err.message));
}

static void fetch_page(hth_call *call)
{
	hth_error err = HTH_ERROR_INIT;
	const char *url;
	char reason[96];
	if (hth_api_own_tool(call->job) == HTH_OWN_TOOL_DOCUMENTS) {
		search_documents(call);
		return;
	}
	snprintf(reason, sizeof reason, "web_fetch for %s", call->job->requests[0]->id);
	hth_status status = hth_api_page_url(call->job, &url, &err);
	if (status == HTH_OK)
		status = hth_tasks_page(call->node, url, reason, on_page, call, &call->page, &err);
	if (status == HTH_OK)
		call->in_flight++;
	else
		give_page(call, err.message, strlen(err.message));
}

static void remember_route(hth_node *node, const hth_request *request)
{
	if (request->served_by[0] == '\0')
		return;
	hth_routed *r = &node->routed[node->n_routed++ % HTH_ROUTED_KEPT];
	*r = (hth_routed){.at_unix = hth_clock_unix()};
	snprintf(r->id, sizeof r->id, "%s", request->id);
	snprintf(r->model, sizeof r->model, "%s", request->model);
	snprintf(r->served_by, sizeof r->served_by, "%s", request->served_by);
	snprintf(r->reason, sizeof r->reason, "%s", request->route_reason);
}

static void on_ended(void *ctx, hth_request *request)
{
	hth_call *call = ctx;
	enter(call);
	remember_route(call->node, request);
	count_end(&call->node->metrics, request);
	hth_neighbours_own_ended(call->node, request);
	hth_documents_rest(call->node);
	hth_next_door_rest(call->node);
	log_end(call, request);
	call->n_done += request->state == HTH_REQUEST_DONE;
	call->prompt_tokens += request->usage.prompt_tokens;
	call->in_flight--;
	if (request->state == HTH_REQUEST_DONE) {
		hth_api_done(call->job, number_of(call, request));
		if (!call->gone && hth_api_waits_for_page(call->job))
			fetch_page(call);
	} else if (!call->gone && request->error.status == HTH_TOO_LARGE && hth_api_fewer_passages(call->job)) {
		admit(call, call->job->requests[0]);
	} else if (!call->gone) {
		/* One failure fails the call. A cancelled request of a client that is still there: see hth_verbs_cancel_all. */
		hth_api_fail(call->job, &request->error);
		cancel_rest(call);
	}
	admit_more(call);
	leave(call);
}

/* ---- stream ---- */

static void on_started(void *ctx, hth_request *request)
{
	hth_call *call = ctx;
	hth_histogram_add(&call->node->metrics.first_result, (double)(request->started_ns - request->created_ns) * 1e-9);
	hth_api_started(call->job, number_of(call, request));
}

/* After a failure of our own (an answer over its limit) the job is finished, and nobody wants the rest. */
static void stop_if_finished(hth_call *call)
{
	if (call->job->finished)
		cancel_rest(call);
}

static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	hth_call *call = ctx;
	enter(call);
	hth_api_piece(call->job, number_of(call, request), piece);
	stop_if_finished(call);
	leave(call);
}

static void on_tokens(void *ctx, hth_request *request, const int32_t *ids, size_t n)
{
	hth_call *call = ctx;
	hth_api_tokens(call->job, number_of(call, request), ids, n);
}

static void on_embedding(void *ctx, hth_request *request, const float *values, size_t n)
{
	hth_call *call = ctx;
	enter(call);
	hth_api_embedding(call->job, number_of(call, request), values, n);
	stop_if_finished(call);
	leave(call);
}

static const hth_request_sink sink = {on_started, on_piece, on_tokens, on_embedding, on_ended};

/* ---- run ---- */

static void run(hth_request *request, hth_runner *runner)
{
	hth_error err;
	if (hth_runner_submit(runner, request, &err) != HTH_OK)
		hth_request_fail(request, &err);
}

/* ---- route ---- */

static void on_placed(void *ctx, hth_request *request, hth_runner *runner, const char *reason, const hth_error *why_not)
{
	hth_call *call = ctx;
	hth_error err;
	if (runner == NULL)
		hth_request_fail(request, why_not);
	else if (hth_api_placed(call->job, number_of(call, request), hth_runner_get_info(runner), &err) != HTH_OK ||
	         hth_request_route(request, "here", reason, &err) != HTH_OK)
		hth_request_fail(request, &err);
	else
		run(request, runner);
}

/* To a server of the owner's, if its class lets this request be read there. */
static hth_status send_upstream(hth_upstreams *upstreams, hth_request *request, hth_error *err)
{
	hth_sealed_permit *permit = NULL;
	hth_privacy_class audience = hth_upstreams_audience(upstreams, request->model);
	if (hth_privacy_permit(request, audience, &permit, err) != HTH_OK)
		return hth_fail_prefix(err, "the model %.100s is at an upstream that serves %s requests only", request->model,
		                       hth_privacy_name(audience));
	hth_status status = hth_upstreams_submit(upstreams, request, permit, err);
	hth_privacy_permit_destroy(permit);
	return status;
}

/* Next door, where that is better: what the answer will look like is settled as if it were made here. */
static hth_status settle(void *ctx, hth_request *request, const hth_runner_info *info, hth_error *err)
{
	hth_call *call = ctx;
	return hth_api_placed(call->job, number_of(call, request), info, err);
}

static void route(hth_call *call, hth_request *request)
{
	hth_error err = HTH_ERROR_INIT;
	if (hth_upstreams_match(call->node->upstreams, request->model)) {
		if (send_upstream(call->node->upstreams, request, &err) != HTH_OK)
			hth_request_fail(request, &err);
		return;
	}
	hth_status status = hth_borrowing_take(call->node, request, settle, call, &err);
	if (status == HTH_CONFLICT || status == HTH_NOT_FOUND) {
		if (request->privacy != HTH_PRIVATE)
			hth_log(HTH_LOG_DEBUG, "%s: %s", request->id, err.message);
		hth_neighbours_own_began(call->node, request);
		hth_router_place(call->node->router, request, on_placed, call);
	} else if (status != HTH_OK) {
		hth_request_fail(request, &err);
	}
}

/* ---- classify ---- */

static hth_status classify(hth_call *call, hth_request *request, hth_error *err)
{
	return hth_request_classify(request, hth_privacy_classify(request, call->wish), err);
}

/* ---- admit ---- */

static void admit(hth_call *call, hth_request *request)
{
	hth_error err;
	request->sink = &sink;
	request->sink_ctx = call;
	call->in_flight++;
	call->node->metrics.active++;
	hth_documents_rest(call->node);
	hth_next_door_rest(call->node);
	if (hth_request_admit(request, &err) != HTH_OK || classify(call, request, &err) != HTH_OK)
		hth_request_fail(request, &err);
	else
		route(call, request);
}

static void admit_more(hth_call *call)
{
	/* A request may end inside admit, which comes back here: the counters make that one loop. */
	while (!call->job->finished && !call->gone && call->in_flight < CALL_WINDOW && call->n_admitted < call->job->n_requests) {
		hth_request *request = call->job->requests[call->n_admitted++];
		admit(call, request);
	}
}

/* ---- handle ---- */

/* Bytes of the job go to the exchange while there is one. */
static void out_header(void *ctx, const char *name, const char *value)
{
	hth_call *call = ctx;
	if (call->exchange != NULL)
		hth_exchange_add_header(call->exchange, name, value);
}
static void out_reply(void *ctx, int status, const char *type, const void *body, size_t len)
{
	hth_call *call = ctx;
	if (call->exchange == NULL)
		return;
	hth_exchange_set_user(call->exchange, NULL);
	hth_exchange_reply(call->exchange, status, type, body, len);
	call->exchange = NULL;
}
static void out_begin(void *ctx, int status, const char *type)
{
	hth_call *call = ctx;
	if (call->exchange != NULL)
		hth_exchange_begin(call->exchange, status, type);
}
static void out_send(void *ctx, const void *data, size_t len)
{
	hth_call *call = ctx;
	if (call->exchange != NULL)
		hth_exchange_send(call->exchange, data, len);
}
static void out_finish(void *ctx)
{
	hth_call *call = ctx;
	if (call->exchange == NULL)
		return;
	hth_exchange_set_user(call->exchange, NULL);
	hth_exchange_finish(call->exchange);
	call->exchange = NULL;
}

/* Hearth-Context: documents | none; without it the key's default. */
static hth_status read_context(hth_call *call, hth_error *err)
{
	const char *context = hth_exchange_header(call->exchange, "Hearth-Context");
	if (context == NULL || context[0] == '\0')
		return HTH_OK;
	call->context = strcmp(context, "documents") == 0;
	if (!call->context && strcmp(context, "none") != 0)
		return hth_fail_param(err, HTH_INVALID, "Hearth-Context", "the context is documents or none, not '%.60s'", context);
	if (call->context && !call->documents)
		return hth_fail_param(err, HTH_DENIED, "Hearth-Context",
		                      "this key may not know the household's documents: it has not the scope 'documents'");
	return HTH_OK;
}

static hth_status read_call(hth_call *call, hth_error *err)
{
	const char *encoding = hth_exchange_header(call->exchange, "Content-Encoding");
	const char *privacy = hth_exchange_header(call->exchange, "Hearth-Privacy");
	bool said = privacy != NULL && privacy[0] != '\0'; /* else it is the key's default, or without a key the model's, or the home's */
	if (said)
		HTH_TRY(hth_privacy_parse(privacy, &call->wish, err));
	if (encoding != NULL && encoding[0] != '\0' && strcmp(encoding, "identity") != 0)
		return hth_fail_param(err, HTH_UNSUPPORTED, "Content-Encoding", "compressed bodies (%.20s) are not supported", encoding);
	const hth_api_out out = {call, out_header, out_reply, out_begin, out_send, out_finish};
	size_t len;
	const char *body = hth_exchange_body(call->exchange, &len);
	const char *tools = hth_exchange_header(call->exchange, "Hearth-Tools");
	bool any = tools != NULL && tools[0] != '\0', search = any && strcmp(tools, "search_documents") == 0, fetch = any && !search;
	if (fetch && strcmp(tools, "web_fetch") != 0)
		return hth_fail_param(err, HTH_INVALID, "Hearth-Tools",
		                      "the node's own tools are web_fetch and search_documents, one of them in a call, not '%.60s'", tools);
	if (search && !call->documents)
		return hth_fail_param(err, HTH_DENIED, "Hearth-Tools",
		                      "this key may not search the household's documents: it has not the scope 'documents'");
	HTH_TRY(read_context(call, err));
	if (fetch && call->context)
		return hth_fail_param(err, HTH_DENIED, "Hearth-Tools",
		                      "a model that is given the household's documents may not choose what is fetched from the web; ask "
		                      "without the one or the other (Hearth-Context: none)");
	const char *hosts = call->node->config->fetch_hosts;
	if (fetch && hosts[strspn(hosts, ", \t")] == '\0')
		return hth_fail_param(err, HTH_DENIED, "Hearth-Tools",
		                      "fetching from the web is off; the setting fetch_hosts lists the hosts that may be fetched from");
	HTH_TRY(hth_api_parse(&call->job, call->endpoint, &call->node->api_host, &out, hth_exchange_path(call->exchange), body, len, err));
	if (!said && !call->has_key)
		call->wish = hth_guard_default_class(call->node, call->job);
	call->context = call->context && !call->job->finished && call->job->n_requests > 0 && call->job->requests[0]->kind == HTH_CHAT;
	const bool files = !call->job->finished && hth_api_file_search(call->job) != NULL;
	hth_status status = HTH_OK;
	if (files && !call->documents)
		status = hth_fail_param(err, HTH_DENIED, "tools", "this key may not search files: it has not the scope 'documents'");
	if (files && fetch)
		status = hth_fail_param(err, HTH_DENIED, "tools", "a model that is given files may not choose what is fetched from the "
		                                                  "web; ask without file_search or web_fetch");
	if (files) { /* what was sent to a vector store is nobody else's; and it takes the place of the household's papers */
		call->context = false;
		call->wish = HTH_PRIVATE;
	}
	if (!files && (search || call->context)) {
		/* What they say stays at home, whatever the call wishes; but who asks for the neighbours' eyes is given only what its owner
		 * marked for them. */
		call->marked_only = said && call->wish == HTH_NEIGHBOURS;
		call->wish = call->marked_only ? HTH_NEIGHBOURS : HTH_PRIVATE;
	}
	if (status == HTH_OK && (search || files || call->context) && !call->job->finished)
		status = hth_api_use_documents(call->job, err);
	if (status == HTH_OK && any && !call->job->finished)
		status = hth_api_offer_tool(call->job, search ? HTH_OWN_TOOL_DOCUMENTS : HTH_OWN_TOOL_FETCH, search ? "" : hosts, err);
	if (status != HTH_OK) {
		hth_api_job_destroy(call->job);
		call->job = NULL;
	}
	return status;
}

/* Everything that its reading needs is known. */
static void begin_call(void *ctx)
{
	hth_call *call = ctx;
	hth_error err = HTH_ERROR_INIT;
	enter(call);
	hth_status status = read_call(call, &err);
	if (status != HTH_OK) {
		hth_log(HTH_LOG_INFO, "%s refused: %s%s%s", call->what, hth_status_name(status), err.param[0] != '\0' ? ", " : "",
		        err.param);
		hth_exchange_set_user(call->exchange, NULL);
		hth_pages_error(call->exchange, call->endpoint, &err);
		call->exchange = NULL;
		call->refused = true;
	} else {
		if (call->exchange != NULL)
			hth_exchange_drop_body(call->exchange);
		bool finds = hth_api_file_search(call->job) != NULL ? find_files(call) : call->context && find_context(call, false);
		if (!finds)
			admit_more(call);
	}
	leave(call);
}

static hth_status take_call(hth_node *node, hth_exchange *exchange, const hth_api_endpoint *endpoint, const hth_caller *caller,
                            hth_error *err)
{
	if (node->stopping)
		return hth_fail(err, HTH_BUSY, "the node is stopping");
	hth_call *call = calloc(1, sizeof *call);
	if (call == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	call->holder.gone = on_gone;
	call->node = node;
	call->exchange = exchange;
	call->endpoint = endpoint;
	call->wish = caller->privacy;
	call->has_key = caller->has_key;
	call->documents = caller->documents;
	call->context = caller->context;
	snprintf(call->what, sizeof call->what, "%s %s", endpoint->method, endpoint->path);
	call->next = node->calls;
	if (node->calls != NULL)
		node->calls->prev = call;
	node->calls = call;
	hth_exchange_set_user(exchange, call);
	if (endpoint->needs_facts)
		hth_inspector_refresh(node->inspector, begin_call, call);
	else
		begin_call(call);
	return HTH_OK;
}

void hth_verbs_handle(void *ctx, hth_exchange *exchange)
{
	hth_node *node = ctx;
	hth_error err = HTH_ERROR_INIT;
	const char *allow = NULL;
	hth_caller caller;
	/* Found first, because each family of clients reads errors in its own shape. */
	const hth_api_endpoint *endpoint = hth_api_find(hth_exchange_method(exchange), hth_exchange_path(exchange), &allow);
	if (hth_stores_end(node, exchange) || hth_blobs_end(node, exchange)) /* who sent it was asked before */
		return;
	hth_exchange_set_user(exchange, NULL);
	if (hth_guard_check(node, exchange, &caller, &err) != HTH_OK) {
		node->metrics.denied++;
		hth_keys_refuse(exchange, endpoint, &caller, &err);
		return;
	}
	if (hth_pages_handle(node, exchange) || hth_stores_handle(node, exchange) || hth_blobs_look(node, exchange))
		return;
	if (endpoint == NULL && allow != NULL) {
		hth_pages_wrong_method(exchange, allow);
		return;
	}
	hth_status status = endpoint != NULL ? take_call(node, exchange, endpoint, &caller, &err)
	                                     : hth_fail(&err, HTH_NOT_FOUND, "there is no %.200s here", hth_exchange_path(exchange));
	if (status != HTH_OK)
		hth_pages_error(exchange, endpoint, &err);
}

/* ---- the ends that come from outside ---- */

static void on_gone(hth_holder *holder)
{
	hth_call *call = (hth_call *)holder;
	enter(call);
	call->exchange = NULL;
	call->gone = true;
	hth_inspector_forget(call->node->inspector, call);
	drop_passages(call);
	if (call->page != NULL)
		hth_tasks_cancel(call->page);
	cancel_rest(call);
	leave(call);
}

void hth_verbs_gone(void *ctx, hth_exchange *exchange)
{
	(void)ctx;
	hth_holder *holder = hth_exchange_user(exchange);
	if (holder != NULL)
		holder->gone(holder);
}

void hth_verbs_cancel_all(hth_node *node, const hth_error *why)
{
	/* Ending a call may end the node's wait for it, but never frees another call. */
	for (hth_call *call = node->calls, *next; call != NULL; call = next) {
		next = call->next;
		enter(call);
		if (call->job != NULL) {
			hth_api_fail(call->job, why);
		} else {
			hth_inspector_forget(node->inspector, call);
			hth_exchange_set_user(call->exchange, NULL);
			hth_pages_error(call->exchange, call->endpoint, why);
			call->exchange = NULL;
			call->refused = true;
		}
		drop_passages(call);
		if (call->page != NULL)
			hth_tasks_cancel(call->page);
		cancel_rest(call);
		leave(call);
	}
}
