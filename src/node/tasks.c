/* tasks.c - what a client asks that takes a thread, not a model: pulling one (POST /api/pull), fetching a page (POST /hearth/fetch, or for
 * a model).
 *
 * A task's thread blocks in src/pull or src/fetch; it leaves its latest progress in the task and posts the task when none is under way,
 * so a slow client gets fewer lines, never a queue of them. A client that leaves cancels its task; a pull that is cancelled keeps
 * what has come. Two clients that pull one model wait for one download (pull.h). Except for the thread, all on the loop's.
 */
#include "node/next-door.h"
#include "node/node-internal.h"

#include "base/log.h"
#include "catalog/record.h"
#include "pull/pull.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

enum { TASKS_MAX = 32 };

typedef enum task_kind { TASK_PULL, TASK_FETCH, TASK_CREATE } task_kind;

struct hth_task {
	hth_holder holder; /* first: it is the exchange's user */
	hth_tasks *all;
	hth_exchange *exchange; /* NULL: answered, or the client has left */
	task_kind kind;
	bool stream, begun;
	hth_create_task *create; /* TASK_CREATE: owned */
	hth_page_fn page_fn; /* instead of an exchange */
	void *page_ctx;
	char *what;    /* model or URL; owned */
	char reason[128];
	pthread_t thread;
	atomic_bool cancelled;
	/* Between thread and loop. */
	pthread_mutex_t mutex;
	bool posted, ended;
	hth_pull_progress progress; /* its texts point to the two below */
	char file[256], sha256[65], from[256];
	bool has_progress;
	char about[96]; /* what it is about to do, in words; "": nothing new */
	/* The thread's until it has ended. */
	hth_status status;
	hth_error error;
	hth_fetch_result page;
	struct hth_task *prev, *next;
};
typedef struct hth_task task;

struct hth_tasks {
	hth_node *node;
	hth_mailbox *mailbox;
	task *tasks;
	size_t n;
};

/* ---- the thread's side ---- */

static void post(task *t, bool end)
{
	pthread_mutex_lock(&t->mutex);
	t->ended |= end;
	bool now = !t->posted;
	t->posted = true;
	pthread_mutex_unlock(&t->mutex);
	if (now)
		(void)!hth_mailbox_post(t->all->mailbox, t);
}

static void on_progress(void *ctx, const hth_pull_progress *p)
{
	task *t = ctx;
	pthread_mutex_lock(&t->mutex);
	t->progress = *p;
	snprintf(t->file, sizeof t->file, "%s", p->file);
	snprintf(t->sha256, sizeof t->sha256, "%s", p->sha256);
	snprintf(t->from, sizeof t->from, "%s", p->from);
	t->has_progress = true;
	pthread_mutex_unlock(&t->mutex);
	post(t, false);
}

static void on_about(void *ctx, const char *status)
{
	task *t = ctx;
	pthread_mutex_lock(&t->mutex);
	snprintf(t->about, sizeof t->about, "%s", status);
	pthread_mutex_unlock(&t->mutex);
	post(t, false);
}

static bool is_cancelled(void *ctx) { return atomic_load(&((task *)ctx)->cancelled); }

static void *thread_main(void *ctx)
{
	task *t = ctx;
	const hth_config *c = t->all->node->config;
	if (t->kind != TASK_FETCH) {
		hth_pull_result result;
		hth_pull_neighbours neighbours;
		hth_next_door_pull(t->all->node, &neighbours);
		const hth_pull_options o = {.home = c->home, .registry = c->registry, .huggingface = c->huggingface,
		                            .hf_token = getenv("HF_TOKEN"),
		                            .no_files = true, .neighbours = &neighbours, .progress = on_progress, .cancelled = is_cancelled,
		                            .ctx = t};
		t->status = t->kind == TASK_CREATE ? hth_create_work(t->create, &o, on_about, &t->error)
		                                   : hth_pull(t->what, &o, &result, &t->error);
	} else {
		const hth_fetch_options o = {.home = c->home, .hosts = c->fetch_hosts, .max_bytes = c->fetch_max,
		                             .total_ms = c->fetch_timeout_s * 1000,
		                             .reason = t->reason, .address_ok = t->all->node->callbacks->fetch_address_ok,
		                             .cancelled = is_cancelled, .ctx = t};
		t->status = hth_fetch(t->what, &o, &t->page, &t->error);
	}
	post(t, true);
	return NULL;
}

/* ---- the loop's side ---- */

static void free_task(task *t)
{
	hth_tasks *all = t->all;
	if (t->prev != NULL || all->tasks == t) {
		*(t->prev != NULL ? &t->prev->next : &all->tasks) = t->next;
		if (t->next != NULL)
			t->next->prev = t->prev;
		all->n--;
	}
	hth_fetch_result_finish(&t->page);
	hth_create_destroy(t->create);
	pthread_mutex_destroy(&t->mutex);
	free(t->what);
	free(t);
}

static void write_progress(task *t, hth_buf *out)
{
	const hth_pull_progress *p = &t->progress;
	switch (p->phase) {
	case HTH_PULL_ASKING:
		hth_buf_append_str(out, "{\"status\":\"pulling manifest\"}\n");
		break;
	case HTH_PULL_VERIFYING:
		hth_buf_append_str(out, "{\"status\":\"verifying sha256 digest\"}\n");
		break;
	case HTH_PULL_DONE:
		break;
	default: {
		char digest[320];
		snprintf(digest, sizeof digest, "%s%s", t->sha256[0] != '\0' ? "sha256:" : "", t->sha256[0] != '\0' ? t->sha256 : t->file);
		hth_buf_append_str(out, "{\"status\":\"pulling ");
		hth_buf_appendf(out, "%.12s\",\"digest\":", t->sha256[0] != '\0' ? t->sha256 : "file");
		hth_json_write_string(digest, strlen(digest), out);
		hth_buf_appendf(out, ",\"total\":%llu,\"completed\":%llu", (unsigned long long)p->file_total,
		                (unsigned long long)p->file_bytes);
		if (t->from[0] != '\0') { /* neighbours; clients that do not know the member leave it */
			hth_buf_append_str(out, ",\"from\":");
			hth_json_write_string(t->from, strlen(t->from), out);
		}
		hth_buf_append_str(out, "}\n");
	}
	}
}

static void send_line(task *t, hth_buf *line)
{
	if (!t->begun)
		hth_exchange_begin(t->exchange, 200, "application/x-ndjson");
	t->begun = true;
	if (line->len > 0)
		hth_exchange_send(t->exchange, line->data, line->len);
	hth_buf_clear(line);
}

static void answer_error(task *t)
{
	const char *allow;
	if (!t->begun) {
		hth_pages_error(t->exchange, hth_api_find(hth_exchange_method(t->exchange), hth_exchange_path(t->exchange), &allow),
		                &t->error);
		return;
	}
	HTH_CLEANUP(hth_buf_finish) hth_buf line = HTH_BUF_INIT(8192);
	hth_buf_append_str(&line, "{\"error\":");
	hth_json_write_string(t->error.message, strlen(t->error.message), &line);
	hth_buf_append_str(&line, "}\n");
	send_line(t, &line);
	hth_exchange_finish(t->exchange);
}

static void answer(task *t)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT((size_t)HTH_FETCH_BYTES_MAX * 8);
	if (t->status == HTH_OK && t->kind == TASK_CREATE)
		t->status = hth_create_end(t->create, &body, &t->error);
	if (t->status != HTH_OK) {
		answer_error(t);
	} else if (t->kind == TASK_CREATE && t->stream) {
		send_line(t, &body);
		hth_exchange_finish(t->exchange);
	} else if (t->kind == TASK_CREATE) {
		hth_exchange_reply(t->exchange, 200, "application/json; charset=utf-8", body.data, body.len);
	} else if (t->kind == TASK_PULL && t->stream) {
		hth_buf_append_str(&body, "{\"status\":\"writing manifest\"}\n{\"status\":\"success\"}\n");
		send_line(t, &body);
		hth_exchange_finish(t->exchange);
	} else if (t->kind == TASK_PULL) {
		hth_exchange_reply(t->exchange, 200, "application/json; charset=utf-8", "{\"status\":\"success\"}", 20);
	} else {
		hth_buf_appendf(&body, "{\"status\":%d,\"type\":", t->page.code);
		hth_json_write_string(t->page.type, strlen(t->page.type), &body);
		const char *title = t->page.title != NULL ? t->page.title : "", *url = t->page.url != NULL ? t->page.url : t->what;
		hth_buf_append_str(&body, ",\"url\":");
		hth_json_write_string(url, strlen(url), &body);
		hth_buf_append_str(&body, ",\"title\":");
		hth_json_write_string(title, strlen(title), &body);
		hth_buf_append_str(&body, ",\"links\":[");
		for (size_t i = 0; i < t->page.n_links; i++) {
			const hth_fetch_link *l = &t->page.links[i];
			hth_buf_append_str(&body, i > 0 ? ",{\"url\":" : "{\"url\":");
			hth_json_write_string(l->url, strlen(l->url), &body);
			hth_buf_append_str(&body, ",\"text\":");
			hth_json_write_string(l->text, strlen(l->text), &body);
			hth_buf_append_char(&body, '}');
		}
		hth_buf_append_str(&body, "],\"text\":");
		hth_json_write_string(t->page.text, t->page.len, &body);
		hth_buf_append_str(&body, t->page.cut ? ",\"cut\":true}" : ",\"cut\":false}");
		if (body.failed)
			hth_pages_error(t->exchange, NULL, &(hth_error){.status = HTH_NO_MEMORY, .message = "no memory for a page"});
		else
			hth_exchange_reply(t->exchange, 200, "application/json", body.data, body.len);
	}
}

static void on_mail(void *ctx, void *mail)
{
	(void)ctx;
	task *t = mail;
	HTH_CLEANUP(hth_buf_finish) hth_buf line = HTH_BUF_INIT(8192);
	pthread_mutex_lock(&t->mutex);
	t->posted = false;
	bool ended = t->ended;
	/* The first look may still end in a plain error with its own status: nothing is begun for it. */
	if (t->has_progress && t->stream && (t->progress.phase != HTH_PULL_ASKING || t->begun))
		write_progress(t, &line);
	t->has_progress = false;
	if (t->about[0] != '\0' && t->stream)
		hth_buf_appendf(&line, "{\"status\":\"%s\"}\n", t->about);
	t->about[0] = '\0';
	pthread_mutex_unlock(&t->mutex);
	if (t->exchange != NULL && line.len > 0 && !(ended && t->status != HTH_OK && !t->begun)) {
		if (!t->begun && t->kind == TASK_PULL) {
			hth_buf first = HTH_BUF_INIT(64);
			hth_buf_append_str(&first, "{\"status\":\"pulling manifest\"}\n");
			send_line(t, &first);
			hth_buf_finish(&first);
		}
		send_line(t, &line);
	}
	if (!ended)
		return;
	pthread_join(t->thread, NULL);
	if (t->exchange != NULL) {
		hth_exchange_set_user(t->exchange, NULL);
		answer(t);
	}
	if (t->page_fn != NULL)
		t->page_fn(t->page_ctx, t->status == HTH_OK ? &t->page : NULL, &t->error);
	hth_log(HTH_LOG_INFO, "%s %s", t->kind == TASK_PULL ? "POST /api/pull" : t->kind == TASK_CREATE ? "POST /api/create"
	        : t->page_fn != NULL ? t->reason : "POST /hearth/fetch", hth_status_name(t->status));
	free_task(t);
}

static void on_gone(hth_holder *holder)
{
	task *t = (task *)holder;
	t->exchange = NULL;
	atomic_store(&t->cancelled, true);
}

static task *new_task(hth_tasks *all, task_kind kind, const char *what, hth_error *err)
{
	if (all->n >= TASKS_MAX) {
		hth_fail(err, HTH_BUSY, "%zu downloads run already; try again when one has ended", all->n);
		return NULL;
	}
	task *t = calloc(1, sizeof *t);
	if (t == NULL || (t->what = strdup(what)) == NULL) {
		free(t);
		hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
		return NULL;
	}
	t->holder.gone = on_gone;
	t->all = all;
	t->kind = kind;
	atomic_init(&t->cancelled, false);
	pthread_mutex_init(&t->mutex, NULL);
	return t;
}

/* Frees it on failure. */
static hth_status start_thread(task *t, hth_error *err)
{
	hth_tasks *all = t->all;
	sigset_t every, before;
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	int e = pthread_create(&t->thread, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e != 0) {
		free_task(t);
		return hth_fail_errno(err, HTH_NO_MEMORY, e, "cannot start a thread");
	}
	t->next = all->tasks;
	if (t->next != NULL)
		t->next->prev = t;
	all->tasks = t;
	all->n++;
	return HTH_OK;
}

static hth_status start(hth_tasks *all, hth_exchange *exchange, task_kind kind, const char *what, bool stream, hth_error *err)
{
	task *t = new_task(all, kind, what, err);
	if (t == NULL)
		return err->status;
	t->exchange = exchange;
	t->stream = stream;
	snprintf(t->reason, sizeof t->reason, "web_fetch for %.60s", hth_exchange_client(exchange));
	HTH_TRY(start_thread(t, err));
	hth_exchange_set_user(exchange, &t->holder);
	return HTH_OK;
}

hth_status hth_tasks_page(hth_node *node, const char *url, const char *reason, hth_page_fn fn, void *ctx, hth_task **ret_task,
                          hth_error *err)
{
	task *t = new_task(node->tasks, TASK_FETCH, url, err);
	if (t == NULL)
		return err->status;
	t->page_fn = fn;
	t->page_ctx = ctx;
	snprintf(t->reason, sizeof t->reason, "%s", reason);
	HTH_TRY(start_thread(t, err));
	*ret_task = t;
	return HTH_OK;
}

void hth_tasks_cancel(hth_task *t) { atomic_store(&t->cancelled, true); }

/* ---- asking ---- */

static hth_status read_body(hth_exchange *exchange, const char *key, const char *other, json_t **ret_json, const char **ret_value,
                            hth_error *err)
{
	size_t len;
	const char *body = hth_exchange_body(exchange, &len);
	HTH_TRY(hth_json_parse(ret_json, body, len, err));
	if (!json_is_object(*ret_json))
		return hth_fail(err, HTH_INVALID, "the body must be a JSON object");
	*ret_value = NULL;
	if (other != NULL)
		HTH_TRY(hth_json_get_string(*ret_json, other, ret_value, err));
	HTH_TRY(hth_json_get_string(*ret_json, key, ret_value, err));
	if (*ret_value == NULL || **ret_value == '\0')
		return hth_fail_param(err, HTH_INVALID, key, "%s is missing", key);
	return HTH_OK;
}

/* What is here and was not pulled from anywhere has nowhere to be asked for again. */
static bool is_home_made(hth_node *node, const char *name)
{
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	if (hth_router_catalog(node->router, &catalog, NULL) != HTH_OK)
		return false;
	const hth_catalog_model *model = hth_catalog_find(&catalog, name);
	if (model == NULL)
		return false;
	HTH_AUTO_JSON json_t *record = hth_record_of(node->config->home, model);
	return json_object_get(record, "source") == NULL;
}

static hth_status pull(hth_node *node, hth_exchange *exchange, hth_error *err)
{
	HTH_AUTO_JSON json_t *json = NULL;
	const char *model;
	bool stream = true;
	HTH_TRY(read_body(exchange, "model", "name", &json, &model, err));
	HTH_TRY(hth_json_get_bool(json, "stream", &stream, err));
	if (!is_home_made(node, model))
		return start(node->tasks, exchange, TASK_PULL, model, stream, err);
	const char *done = stream ? "{\"status\":\"pulling manifest\"}\n{\"status\":\"success\"}\n" : "{\"status\":\"success\"}";
	hth_exchange_reply(exchange, 200, stream ? "application/x-ndjson" : "application/json; charset=utf-8", done, strlen(done));
	return HTH_OK;
}

void hth_tasks_pull(hth_node *node, hth_exchange *exchange)
{
	hth_error err;
	const char *allow;
	if (pull(node, exchange, &err) != HTH_OK)
		hth_pages_error(exchange, hth_api_find("POST", "/api/pull", &allow), &err);
}

/* Most models are made at once; what needs work gets a thread. */
static hth_status make(hth_node *node, hth_exchange *exchange, hth_error *err)
{
	hth_create_task *create = NULL;
	bool work = false;
	HTH_TRY(hth_create_begin(&create, node, exchange, &work, err));
	bool stream = hth_create_streams(create);
	if (work) {
		task *t = new_task(node->tasks, TASK_CREATE, "", err);
		if (t == NULL) {
			hth_create_destroy(create);
			return err->status;
		}
		t->create = create;
		t->exchange = exchange;
		t->stream = stream;
		HTH_TRY(start_thread(t, err));
		hth_exchange_set_user(exchange, &t->holder);
		return HTH_OK;
	}
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(4096);
	hth_status status = hth_create_end(create, &body, err);
	hth_create_destroy(create);
	if (status == HTH_OK)
		hth_exchange_reply(exchange, 200, stream ? "application/x-ndjson" : "application/json; charset=utf-8", body.data, body.len);
	return status;
}

void hth_tasks_make(hth_node *node, hth_exchange *exchange)
{
	hth_error err;
	const char *allow;
	if (make(node, exchange, &err) != HTH_OK)
		hth_pages_error(exchange, hth_api_find("POST", "/api/create", &allow), &err);
}

void hth_tasks_fetch(hth_node *node, hth_exchange *exchange)
{
	hth_error err;
	const char *url;
	HTH_AUTO_JSON json_t *json = NULL;
	if (read_body(exchange, "url", NULL, &json, &url, &err) != HTH_OK ||
	    start(node->tasks, exchange, TASK_FETCH, url, false, &err) != HTH_OK)
		hth_pages_error(exchange, NULL, &err);
}

hth_status hth_tasks_create(hth_tasks **ret_tasks, hth_node *node, hth_error *err)
{
	hth_tasks *all = calloc(1, sizeof *all);
	if (all == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	all->node = node;
	hth_status status = hth_mailbox_open(&all->mailbox, node->loop, on_mail, all, err);
	if (status != HTH_OK) {
		free(all);
		return status;
	}
	*ret_tasks = all;
	return HTH_OK;
}

void hth_tasks_destroy(hth_tasks *all)
{
	if (all == NULL)
		return;
	for (task *t = all->tasks; t != NULL; t = t->next)
		atomic_store(&t->cancelled, true);
	while (all->tasks != NULL) {
		task *t = all->tasks;
		pthread_join(t->thread, NULL);
		if (t->page_fn != NULL)
			t->page_fn(t->page_ctx, NULL, &(hth_error){.status = HTH_CANCELLED, .message = "the node is stopping"});
		free_task(t);
	}
	hth_mailbox_close(all->mailbox);
	free(all);
}
