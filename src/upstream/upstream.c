/* upstream.c - the servers, their health, and the calls that run on them: a thread per call, a queue from it to the loop.
 *
 * A thread owns nothing but its call's copy of what to send; it appends events to the call's queue and posts the call when the queue was
 * empty, so at most one post per call is under way and a call is freed only when its thread has said its last word. What a request
 * gets is given to it on the loop's thread. Health checks are calls without a request.
 */
#include "upstream/upstream-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/store.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

enum { CHECK_MS = 15000, ANSWER_MAX = 64 << 20, ERROR_MAX = 64 << 10, CALLS_PER_UPSTREAM = 64, LOG_EVERY_S = 3600 };

typedef struct upstream {
	char name[64];
	char *base, *secret; /* ".../v1"; a header, or NULL */
	hth_privacy_class privacy;
	bool checked, answers, checking;
	char error[256];
	char **models; /* "NAME/M", sorted */
	size_t n_models, active;
	uint64_t next_check_ms;
	unsigned failures; /* checks in a row that nobody answered */
	int64_t since_unix; /* that it answers, or does not */
	/* Checks since the last line in the egress log. */
	uint64_t checks, check_sent, check_received;
	int64_t checks_logged_unix;
	char check_host[256];
} upstream;

typedef struct call {
	hth_upstreams *all;
	upstream *up;
	hth_request *request; /* a reference; NULL: a health check */
	char reason[256];
	pthread_t thread;
	atomic_bool cancelled;
	/* The thread's. */
	char *url;
	hth_buf body;
	hth_request_kind kind;
	hth_up_reader reader;
	hth_transfer_head head;
	hth_buf whole; /* an answer that is no stream: an error, an embedding, a list of models */
	/* Between both. */
	pthread_mutex_t mutex;
	hth_up_event *first, **last;
	bool posted;
	struct call *prev, *next;
} call;

struct hth_upstreams {
	hth_loop *loop;
	hth_mailbox *mailbox;
	hth_timer *timer;
	hth_store *store;
	unsigned check_ms;
	upstream list[HTH_UPSTREAMS_MAX];
	size_t n;
	call *calls;
	size_t n_calls;
};

/* ---- the thread's side ---- */

static bool emit(void *ctx, hth_up_event *event)
{
	call *c = ctx;
	pthread_mutex_lock(&c->mutex);
	*c->last = event;
	c->last = &event->next;
	bool post = !c->posted;
	c->posted = true;
	pthread_mutex_unlock(&c->mutex);
	if (post)
		(void)!hth_mailbox_post(c->all->mailbox, c); /* refused only while closing, when everything is taken from the queue */
	return true;
}

static bool on_head(void *ctx, const hth_transfer_head *head)
{
	((call *)ctx)->head = *head;
	return true;
}

static bool is_stream(const call *c) { return c->request != NULL && c->kind != HTH_EMBEDDING && c->head.code / 100 == 2; }

static bool on_data(void *ctx, const void *data, size_t len)
{
	call *c = ctx;
	if (is_stream(c))
		return hth_up_reader_feed(&c->reader, data, len);
	return hth_buf_append(&c->whole, data, len);
}

static void on_hop(void *ctx, const hth_transfer_hop *hop)
{
	hth_up_event *e = calloc(1, sizeof *e);
	if (e == NULL || (e->text = strdup(hop->host)) == NULL) {
		free(e);
		return;
	}
	e->kind = HTH_UP_HOP;
	e->sent = hop->sent_bytes;
	e->received = hop->received_bytes;
	emit(ctx, e);
}

static bool on_cancelled(void *ctx) { return atomic_load(&((call *)ctx)->cancelled); }

/* {"data":[{"id":"..."}]} */
static hth_status read_models(call *c, json_t **ret_models, hth_error *err)
{
	HTH_AUTO_JSON json_t *answer = NULL;
	json_t *models = json_array(), *entry;
	size_t i;
	const json_t *data;
	if (models == NULL || hth_json_parse(&answer, c->whole.data != NULL ? c->whole.data : "", c->whole.len, NULL) != HTH_OK ||
	    !json_is_array(data = json_object_get(answer, "data"))) {
		json_decref(models);
		return hth_fail(err, HTH_GONE, "its list of models is not that of the OpenAI API");
	}
	json_array_foreach(data, i, entry) {
		const char *id = json_string_value(json_object_get(entry, "id"));
		size_t n = id != NULL ? strlen(id) : 0;
		bool fit = n > 0 && n + sizeof c->up->name < HTH_MODEL_NAME_MAX && json_array_size(models) < HTH_UPSTREAM_MODELS_MAX;
		for (size_t k = 0; fit && k < n; k++)
			fit = (unsigned char)id[k] >= 0x20 && id[k] != 0x7f;
		if (fit)
			json_array_append_new(models, json_string(id));
	}
	*ret_models = models;
	return HTH_OK;
}

static hth_status talk(call *c, hth_up_event *end, hth_error *err)
{
	const hth_transfer t = {.url = c->url, .secret = c->up->secret, .body = c->request != NULL ? c->body.data : NULL,
	                        .body_len = c->body.len,
	                        .max_bytes = ANSWER_MAX, .connect_ms = 5000, .total_ms = c->request != NULL ? 0 : 10000, .head = on_head,
	                        .data = on_data,
	                        .hop = on_hop, .cancelled = on_cancelled, .ctx = c};
	hth_status status = hth_transfer_run(&t, NULL, err);
	if (c->reader.failed) {
		*err = c->reader.error;
		return hth_fail_prefix(err, "the upstream %s", c->up->name);
	}
	if (status == HTH_OK && c->head.code / 100 != 2)
		return hth_up_http_error(c->up->name, &c->head, c->whole.data, c->whole.len, err);
	if (status != HTH_OK && !(status == HTH_GONE && c->reader.done))
		return status == HTH_CANCELLED ? status : hth_fail_prefix(err, "the upstream %s", c->up->name);
	if (c->request == NULL)
		return read_models(c, &end->models, err);
	if (c->kind == HTH_EMBEDDING && !hth_up_reader_whole(&c->reader, c->whole.data != NULL ? c->whole.data : "", c->whole.len)) {
		*err = c->reader.error;
		return hth_fail_prefix(err, "the upstream %s", c->up->name);
	}
	if (!c->reader.done)
		return hth_fail(err, HTH_GONE, "the upstream %s: the answer broke off before its end", c->up->name);
	end->finish = c->reader.finish;
	end->usage = c->reader.usage;
	return HTH_OK;
}

static void *thread_main(void *ctx)
{
	call *c = ctx;
	/* The end is told with memory that was there from the start. */
	hth_up_event *end = c->first;
	c->first = NULL;
	c->last = &c->first;
	end->error = HTH_ERROR_INIT;
	hth_error err = HTH_ERROR_INIT;
	hth_status status = talk(c, end, &err);
	if (status != HTH_OK)
		end->error = err;
	end->error.status = status;
	emit(c, end);
	return NULL;
}

/* ---- calls ---- */

static void free_call(call *c)
{
	for (hth_up_event *e = c->first, *next; e != NULL; e = next) {
		next = e->next;
		hth_up_event_free(e);
	}
	if (c->prev != NULL || c->all->calls == c)
		*(c->prev != NULL ? &c->prev->next : &c->all->calls) = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	if (c->request != NULL)
		hth_request_unref(c->request);
	hth_up_reader_finish(&c->reader);
	if (c->body.data != NULL)
		explicit_bzero(c->body.data, c->body.len);
	hth_buf_finish(&c->body);
	hth_buf_finish(&c->whole);
	pthread_mutex_destroy(&c->mutex);
	free(c->url);
	free(c);
}

static hth_status start_call(call *c, hth_error *err)
{
	hth_up_event *end = calloc(1, sizeof *end);
	if (end == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	end->kind = HTH_UP_END;
	c->first = end;
	c->last = &end->next;
	/* Signals are the loop's. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int e = pthread_create(&c->thread, NULL, thread_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e != 0)
		return hth_fail_errno(err, HTH_NO_MEMORY, e, "cannot start a thread for the upstream %s", c->up->name);
	c->next = c->all->calls;
	if (c->next != NULL)
		c->next->prev = c;
	c->all->calls = c;
	c->all->n_calls++;
	if (c->request != NULL)
		c->up->active++;
	return HTH_OK;
}

static call *new_call(hth_upstreams *all, upstream *up, const char *path)
{
	call *c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	*c = (call){.all = all, .up = up, .body = HTH_BUF_INIT(256 << 20), .whole = HTH_BUF_INIT(ANSWER_MAX)};
	atomic_init(&c->cancelled, false);
	pthread_mutex_init(&c->mutex, NULL);
	c->last = &c->first;
	if (asprintf(&c->url, "%s%s", up->base, path) < 0) {
		c->url = NULL;
		free_call(c);
		return NULL;
	}
	return c;
}

static void log_egress(hth_upstreams *all, const char *host, const char *reason, const char *privacy, uint64_t sent, uint64_t received)
{
	hth_egress e = {.at_unix = hth_clock_unix(), .kind = "upstream", .sent_bytes = sent, .received_bytes = received, .allowed = true};
	hth_error err;
	snprintf(e.host, sizeof e.host, "%s", host);
	snprintf(e.reason, sizeof e.reason, "%s", reason);
	snprintf(e.privacy, sizeof e.privacy, "%s", privacy);
	if (hth_store_egress_add(all->store, &e, &err) != HTH_OK)
		hth_log(HTH_LOG_ERROR, "the egress log could not be written: %s", err.message);
}

/* Checks come every few seconds for ever: they are summed up, one line an hour, and one at each change. */
static void log_checks(hth_upstreams *all, upstream *up, bool now)
{
	if (up->checks == 0 || (!now && hth_clock_unix() - up->checks_logged_unix < LOG_EVERY_S))
		return;
	char reason[256];
	snprintf(reason, sizeof reason, "upstream %s: asked %llu times for its models", up->name, (unsigned long long)up->checks);
	log_egress(all, up->check_host, reason, "", up->check_sent, up->check_received);
	up->checks = up->check_sent = up->check_received = 0;
	up->checks_logged_unix = hth_clock_unix();
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void drop_models(upstream *up)
{
	for (size_t i = 0; i < up->n_models; i++)
		free(up->models[i]);
	free(up->models);
	up->models = NULL;
	up->n_models = 0;
}

static void take_models(upstream *up, const json_t *models)
{
	size_t n = json_array_size(models);
	drop_models(up);
	up->models = hth_alloc_array(n, sizeof *up->models);
	if (up->models == NULL)
		return;
	for (size_t i = 0; i < n; i++)
		if (asprintf(&up->models[up->n_models], "%s/%s", up->name, json_string_value(json_array_get(models, i))) >= 0)
			up->n_models++;
	if (up->n_models > 0)
		qsort(up->models, up->n_models, sizeof *up->models, by_text);
}

static void end_check(call *c, const hth_up_event *e)
{
	upstream *up = c->up;
	bool answers = e->error.status == HTH_OK, changed = !up->checked || answers != up->answers;
	up->checking = false;
	up->checked = true;
	up->answers = answers;
	/* One that does not answer is asked soon again, then ever more seldom; a request for it (see refuse_now) shortens that. */
	uint64_t pause = c->all->check_ms;
	up->failures = answers ? 0 : up->failures + 1;
	if (!answers)
		pause = HTH_MIN((uint64_t)(c->all->check_ms / 15 + 1) << HTH_MIN(up->failures - 1, 10u), (uint64_t)c->all->check_ms * 8);
	up->next_check_ms = hth_clock_ms() + pause;
	snprintf(up->error, sizeof up->error, "%.255s", answers ? "" : e->error.message);
	if (answers)
		take_models(up, e->models);
	if (changed)
		up->since_unix = hth_clock_unix();
	if (changed)
		hth_log(answers ? HTH_LOG_INFO : HTH_LOG_WARN, answers ? "upstream %s answers: %s%zu models"
		                                                       : "upstream %s does not answer: %s", up->name,
		        answers ? "" : up->error, up->n_models);
	log_checks(c->all, up, changed);
}

/* One event of a call that is alive; true when it was the last. */
static bool take_event(call *c, const hth_up_event *e)
{
	hth_request *r = c->request;
	switch (e->kind) {
	case HTH_UP_PIECE: {
		const hth_answer_piece piece = {.kind = e->piece, .text = e->text, .len = e->len,
		                                .n_tokens = e->n_rows > 0 ? (uint32_t)e->n_rows : 1,
		                                .logprobs = e->rows, .n_logprobs = e->n_rows, .top = e->n_top > 0 ? e->top : NULL,
		                                .n_top = e->n_top, .tool_index = e->tool_index, .tool_id = e->tool_id,
		                                .tool_name = e->tool_name};
		hth_request_piece(r, &piece);
		return false;
	}
	case HTH_UP_EMBEDDING:
		hth_request_embedding(r, e->values, e->len);
		return false;
	case HTH_UP_HOP:
		if (r != NULL) {
			log_egress(c->all, e->text, c->reason, hth_privacy_name(r->privacy), e->sent, e->received);
		} else {
			c->up->checks++;
			c->up->check_sent += e->sent;
			c->up->check_received += e->received;
			snprintf(c->up->check_host, sizeof c->up->check_host, "%s", e->text);
		}
		return false;
	default:
		break;
	}
	if (r == NULL) {
		end_check(c, e);
	} else {
		c->up->active--;
		if (e->error.status == HTH_OK)
			hth_request_done(r, e->finish, &e->usage);
		else if (e->error.status == HTH_CANCELLED)
			hth_request_cancel(r);
		else
			hth_request_fail(r, &e->error);
		/* Whoever cannot be reached is not worth the next one's wait. */
		if (e->error.status == HTH_GONE && c->head.code == 0 && !c->up->checking)
			c->up->next_check_ms = 0;
	}
	return true;
}

static void on_mail(void *ctx, void *mail)
{
	hth_upstreams *all = ctx;
	call *c = mail;
	pthread_mutex_lock(&c->mutex);
	hth_up_event *e = c->first;
	c->first = NULL;
	c->last = &c->first;
	c->posted = false;
	pthread_mutex_unlock(&c->mutex);
	bool last = false;
	while (e != NULL) {
		hth_up_event *next = e->next;
		last = take_event(c, e);
		hth_up_event_free(e);
		e = next;
	}
	if (!last)
		return;
	pthread_join(c->thread, NULL); /* it has nothing left to do but return */
	all->n_calls--;
	free_call(c);
}

static void on_cancel(void *ctx, hth_request *request)
{
	(void)request;
	atomic_store(&((call *)ctx)->cancelled, true);
}

/* ---- health ---- */

static void on_timer(void *ctx)
{
	hth_upstreams *all = ctx;
	uint64_t now = hth_clock_ms();
	for (size_t i = 0; i < all->n; i++) {
		upstream *up = &all->list[i];
		if (up->checking || now < up->next_check_ms)
			continue;
		call *c = new_call(all, up, "/models");
		hth_error err;
		if (c == NULL)
			continue;
		up->checking = true;
		if (start_call(c, &err) != HTH_OK) {
			up->checking = false;
			free_call(c);
		}
	}
}

/* ---- from outside ---- */

static upstream *find(const hth_upstreams *all, const char *model, const char **ret_rest)
{
	const char *slash = strchr(model, '/');
	for (size_t i = 0; all != NULL && slash != NULL && i < all->n; i++) {
		const upstream *up = &all->list[i];
		if (strlen(up->name) == (size_t)(slash - model) && memcmp(up->name, model, (size_t)(slash - model)) == 0) {
			*ret_rest = slash + 1;
			return (upstream *)up;
		}
	}
	return NULL;
}

bool hth_upstreams_match(const hth_upstreams *all, const char *model)
{
	const char *rest;
	return find(all, model, &rest) != NULL && *rest != '\0';
}

hth_privacy_class hth_upstreams_audience(const hth_upstreams *all, const char *model)
{
	const char *rest;
	const upstream *up = find(all, model, &rest);
	return up != NULL ? up->privacy : HTH_PUBLIC;
}

/* Somebody wants it: it is looked at within two seconds, however long the pause was to be. */
static hth_status refuse_now(upstream *up, hth_error *err)
{
	uint64_t now = hth_clock_ms();
	up->next_check_ms = HTH_MIN(up->next_check_ms, now + 2000);
	hth_fail(err, HTH_BUSY, "the upstream %s does not answer now: %.200s", up->name, up->error);
	err->retry_s = (unsigned)(up->next_check_ms > now ? (up->next_check_ms - now) / 1000 + 1 : 1);
	return HTH_BUSY;
}

hth_status hth_upstreams_submit(hth_upstreams *all, hth_request *request, const hth_sealed_permit *permit, hth_error *err)
{
	const char *model, *path;
	upstream *up = find(all, request->model, &model);
	if (up == NULL)
		return hth_fail_param(err, HTH_NOT_FOUND, "model", "there is no upstream for '%.200s'", request->model);
	if (!hth_privacy_permit_covers(permit, request, up->privacy))
		return hth_fail(err, HTH_DENIED, "request %s may not be read by the upstream %s", request->id, up->name);
	if (up->checked && !up->answers)
		return refuse_now(up, err);
	bool known = false;
	for (size_t i = 0; i < up->n_models; i++)
		known |= strcmp(up->models[i], request->model) == 0;
	if (up->checked && !known)
		return hth_fail_param(err, HTH_NOT_FOUND, "model",
		                      "the upstream %s has no model '%.200s'; GET /v1/models lists what it has", up->name, model);
	if (up->active >= CALLS_PER_UPSTREAM || all->n_calls >= HTH_UPSTREAM_CALLS_MAX)
		return hth_fail(err, HTH_BUSY, "the upstream %s has %zu requests already; try again in a moment", up->name, up->active);
	call *c = new_call(all, up, "");
	if (c == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	hth_status status = hth_up_write(request, model, &c->body, &path, err);
	char reason[160];
	free(c->url);
	c->url = NULL;
	if (status == HTH_OK && asprintf(&c->url, "%s%s", up->base, path) < 0) {
		c->url = NULL;
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	}
	snprintf(reason, sizeof reason, "the upstream %s, which has this model", up->name);
	snprintf(c->reason, sizeof c->reason, "model %.150s for %s", request->model, request->id);
	if (status == HTH_OK)
		status = hth_request_route(request, up->name, reason, err);
	if (status == HTH_OK)
		status = hth_request_run(request, err);
	if (status == HTH_OK) {
		c->request = hth_request_ref(request);
		c->kind = request->kind;
		hth_up_reader_init(&c->reader, c->kind, emit, c);
		status = start_call(c, err);
	}
	if (status != HTH_OK) {
		free_call(c);
		return status;
	}
	request->cancel = on_cancel;
	request->cancel_ctx = c;
	return HTH_OK;
}

void hth_upstreams_each(const hth_upstreams *all, void (*fn)(void *ctx, const hth_upstream_model *model), void *ctx)
{
	for (size_t i = 0; all != NULL && i < all->n; i++)
		for (size_t k = 0; all->list[i].answers && k < all->list[i].n_models; k++)
			fn(ctx, &(hth_upstream_model){.name = all->list[i].models[k], .upstream = all->list[i].name});
}

void hth_upstreams_states(const hth_upstreams *all, void (*fn)(void *ctx, const hth_upstream_state *state), void *ctx)
{
	for (size_t i = 0; all != NULL && i < all->n; i++) {
		const upstream *up = &all->list[i];
		fn(ctx, &(hth_upstream_state){.name = up->name, .url = up->base, .error = up->error, .checked = up->checked,
		                              .answers = up->answers,
		                              .models = up->answers ? up->n_models : 0, .active = up->active, .privacy = up->privacy,
		                              .since_unix = up->since_unix});
	}
}

static hth_status add(hth_upstreams *all, const hth_upstream_options *o, hth_error *err)
{
	upstream *up = &all->list[all->n];
	size_t len = strlen(o->name), url = strlen(o->url);
	if (len == 0 || len >= sizeof up->name || strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return hth_fail(err, HTH_INVALID, "an upstream's name is made of a-z, 0-9 and '-', not '%.60s'", o->name);
	if (!hth_url_split(o->url, NULL, NULL, NULL))
		return hth_fail(err, HTH_INVALID, "upstream %s: '%.200s' is no http:// or https:// address", o->name, o->url);
	if (o->key != NULL && strpbrk(o->key, "\r\n") != NULL)
		return hth_fail(err, HTH_INVALID, "upstream %s: its key has a line's end in it", o->name);
	snprintf(up->name, sizeof up->name, "%s", o->name);
	up->privacy = o->privacy;
	all->n++;
	while (url > 0 && o->url[url - 1] == '/')
		url--;
	bool v1 = url > 3 && strncmp(o->url + url - 3, "/v1", 3) == 0;
	if (asprintf(&up->base, "%.*s%s", (int)url, o->url, v1 ? "" : "/v1") < 0)
		up->base = NULL;
	if (o->key != NULL && *o->key != '\0' && asprintf(&up->secret, "Authorization: Bearer %s", o->key) < 0)
		up->secret = NULL;
	if (up->base == NULL || (up->secret == NULL && o->key != NULL && *o->key != '\0'))
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the upstreams");
	hth_privacy_add_audience(o->privacy);
	return HTH_OK;
}

hth_status hth_upstreams_create(hth_upstreams **ret_upstreams, hth_loop *loop, const char *home, const hth_upstream_options *options,
                                size_t n, unsigned check_ms, hth_error *err)
{
	if (n > HTH_UPSTREAMS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "there are more than %d upstreams", HTH_UPSTREAMS_MAX);
	hth_upstreams *all = calloc(1, sizeof *all);
	if (all == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the upstreams");
	all->loop = loop;
	all->check_ms = check_ms != 0 ? check_ms : CHECK_MS;
	hth_status status = hth_store_open(&all->store, home, err);
	for (size_t i = 0; status == HTH_OK && i < n; i++)
		status = add(all, &options[i], err);
	if (status == HTH_OK)
		status = hth_mailbox_open(&all->mailbox, loop, on_mail, all, err);
	if (status == HTH_OK)
		status = hth_timer_open(&all->timer, loop, on_timer, all, err);
	if (status != HTH_OK) {
		hth_upstreams_destroy(all);
		return status;
	}
	if (n > 0)
		hth_timer_start(all->timer, 0, HTH_MIN(all->check_ms / 3, 1000u));
	*ret_upstreams = all;
	return HTH_OK;
}

void hth_upstreams_destroy(hth_upstreams *all)
{
	if (all == NULL)
		return;
	hth_error why;
	hth_fail(&why, HTH_BUSY, "the node is stopping");
	for (call *c = all->calls; c != NULL; c = c->next)
		atomic_store(&c->cancelled, true);
	while (all->calls != NULL) {
		call *c = all->calls;
		pthread_join(c->thread, NULL);
		if (c->request != NULL)
			hth_request_fail(c->request, &why);
		free_call(c);
	}
	hth_timer_close(all->timer);
	hth_mailbox_close(all->mailbox);
	for (size_t i = 0; i < all->n; i++) {
		upstream *up = &all->list[i];
		log_checks(all, up, true);
		drop_models(up);
		if (up->secret != NULL)
			explicit_bzero(up->secret, strlen(up->secret));
		free(up->secret);
		free(up->base);
	}
	hth_store_close(all->store);
	free(all);
}
