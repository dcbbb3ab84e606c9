/* next-door-calls.c - who asks for models from next door: a pull on a thread of this node's, or, over HTTP, one in another process (`hearth
 * pull`).
 *
 *   POST /hearth/next-door/find  {"reference","name"}               {"offers":[...]}, as next-door.h has them
 *   POST /hearth/next-door/fetch {"home","file","bytes","sha256"}   lines: {"bytes","from"} ..., the last
 *                                                                   {"over":true,"whole","prefix"[,"error"]}
 *
 * home: the folder of whoever asks, which must be this node's: the file is written there. A client that leaves ends its call; what has come
 * stays. An ask of a thread is shared by it and the loop, and freed by whoever is last. Except for its waiting, all on the loop's thread.
 */
#include "node/next-door.h"

#include "base/mem.h"
#include "node/node-internal.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

typedef struct door_ask {
	hth_next_door_asks *all;
	int refs; /* under all->mutex, as the list is */
	struct door_ask *next, **at;
	bool is_fetch;
	char reference[HTH_PULL_REFERENCE_MAX], name[256], sha256[65];
	uint64_t bytes;
	uint64_t call; /* the loop's; 0: none runs */
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool left, done; /* left: nobody waits any more */
	hth_status status;
	hth_error error;
	json_t *offers;
	uint64_t here, prefix;
	char from[256];
} door_ask;

struct hth_next_door_asks {
	hth_node *node;
	hth_mailbox *mailbox;
	pthread_mutex_t mutex;
	door_ask *asks;
};

/* ---- asks of threads ---- */

static void free_ask(door_ask *a)
{
	*a->at = a->next;
	if (a->next != NULL)
		a->next->at = a->at;
	json_decref(a->offers);
	pthread_cond_destroy(&a->wake);
	pthread_mutex_destroy(&a->mutex);
	free(a);
}

static void let_go(door_ask *a)
{
	hth_next_door_asks *all = a->all;
	pthread_mutex_lock(&all->mutex);
	if (--a->refs == 0)
		free_ask(a);
	pthread_mutex_unlock(&all->mutex);
}

static void finish(door_ask *a, hth_status status)
{
	pthread_mutex_lock(&a->mutex);
	a->done = true;
	a->status = status;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->mutex);
	a->call = 0;
	let_go(a);
}

static void on_ask_offers(void *ctx, const json_t *offers)
{
	door_ask *a = ctx;
	a->offers = json_deep_copy(offers);
	finish(a, a->offers != NULL ? HTH_OK : hth_fail(&a->error, HTH_NO_MEMORY, "no memory for what neighbours offer"));
}

static void on_ask_state(void *ctx, const hth_next_door_state *s)
{
	door_ask *a = ctx;
	pthread_mutex_lock(&a->mutex);
	a->here = s->bytes;
	a->prefix = s->prefix;
	snprintf(a->from, sizeof a->from, "%s", s->from);
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->mutex);
	if (s->over)
		finish(a, s->whole           ? HTH_OK
		          : s->error != NULL ? hth_fail(&a->error, HTH_IO, "%s", s->error)
		                             : hth_fail(&a->error, HTH_NOT_FOUND, "no neighbour has all of it (any more)"));
}

static void on_mail(void *ctx, void *mail)
{
	hth_next_door_asks *all = ctx;
	hth_next_door *door = all->node->next_door;
	door_ask *a = mail;
	pthread_mutex_lock(&a->mutex);
	bool left = a->left;
	pthread_mutex_unlock(&a->mutex);
	if (left) { /* the second letter, which has the thread's share */
		if (a->call != 0) {
			hth_next_door_cancel(door, a->call);
			a->call = 0;
			let_go(a);
		}
		let_go(a);
		return;
	}
	hth_status status = a->is_fetch ? hth_next_door_fetch(door, a->name, a->bytes, a->sha256, on_ask_state, a, &a->call, &a->error)
	                                : hth_next_door_find(door, a->reference, a->name, on_ask_offers, a, &a->call, &a->error);
	if (status != HTH_OK)
		finish(a, status);
}

static door_ask *new_ask(hth_next_door_asks *all, hth_error *err)
{
	door_ask *a = calloc(1, sizeof *a);
	if (a == NULL) {
		hth_fail(err, HTH_NO_MEMORY, "no memory to ask neighbours");
		return NULL;
	}
	a->all = all;
	a->refs = 2;
	pthread_mutex_init(&a->mutex, NULL);
	pthread_cond_init(&a->wake, NULL);
	pthread_mutex_lock(&all->mutex);
	a->next = all->asks;
	a->at = &all->asks;
	if (a->next != NULL)
		a->next->at = &a->next;
	all->asks = a;
	pthread_mutex_unlock(&all->mutex);
	return a;
}

/* Waits for the loop. The ask is still the caller's afterwards, but for HTH_CANCELLED. */
static hth_status wait_for(door_ask *a, void (*tell)(void *ctx, uint64_t bytes, const char *from), bool (*cancelled)(void *ctx), void *ctx,
                           hth_error *err)
{
	if (!hth_mailbox_post(a->all->mailbox, a)) {
		let_go(a);
		return hth_fail(err, HTH_GONE, "the node is stopping");
	}
	for (bool done = false; !done;) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 100000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&a->mutex);
		if (!a->done)
			pthread_cond_timedwait(&a->wake, &a->mutex, &until);
		done = a->done;
		char from[sizeof a->from];
		uint64_t here = a->here;
		memcpy(from, a->from, sizeof from);
		bool leave = !done && cancelled(ctx);
		a->left = leave;
		pthread_mutex_unlock(&a->mutex);
		if (leave) {
			if (!hth_mailbox_post(a->all->mailbox, a))
				let_go(a);
			return hth_fail(err, HTH_CANCELLED, "stopped");
		}
		if (tell != NULL && here > 0)
			tell(ctx, here, from);
	}
	if (a->status != HTH_OK)
		*err = a->error;
	return a->status;
}

static hth_status ask_find(void *ctx, const char *reference, const char *name, bool (*cancelled)(void *ctx), void *cancel_ctx,
                           json_t **ret_offers, hth_error *err)
{
	hth_node *node = ctx;
	door_ask *a = new_ask(node->next_door_asks, err);
	if (a == NULL)
		return HTH_NO_MEMORY;
	snprintf(a->reference, sizeof a->reference, "%s", reference);
	snprintf(a->name, sizeof a->name, "%s", name);
	hth_status status = wait_for(a, NULL, cancelled, cancel_ctx, err);
	if (status == HTH_CANCELLED)
		return status;
	if (status == HTH_OK) {
		*ret_offers = a->offers;
		a->offers = NULL;
	}
	let_go(a);
	return status;
}

static hth_status ask_fetch(void *ctx, const char *file, uint64_t bytes, const char *sha256,
                            void (*tell)(void *ctx, uint64_t bytes, const char *from), bool (*cancelled)(void *ctx), void *tell_ctx,
                            uint64_t *ret_prefix, hth_error *err)
{
	hth_node *node = ctx;
	door_ask *a = new_ask(node->next_door_asks, err);
	if (a == NULL)
		return HTH_NO_MEMORY;
	a->is_fetch = true;
	a->bytes = bytes;
	snprintf(a->name, sizeof a->name, "%s", file);
	snprintf(a->sha256, sizeof a->sha256, "%s", sha256);
	hth_status status = wait_for(a, tell, cancelled, tell_ctx, err);
	if (status == HTH_CANCELLED)
		return status;
	*ret_prefix = a->prefix;
	let_go(a);
	return status;
}

void hth_next_door_pull(hth_node *node, hth_pull_neighbours *ret_neighbours)
{
	*ret_neighbours = (hth_pull_neighbours){node, ask_find, ask_fetch};
}

hth_status hth_next_door_asks_create(hth_next_door_asks **ret_asks, hth_node *node, hth_error *err)
{
	hth_next_door_asks *all = calloc(1, sizeof *all);
	if (all == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the node");
	all->node = node;
	pthread_mutex_init(&all->mutex, NULL);
	hth_status status = hth_mailbox_open(&all->mailbox, node->loop, on_mail, all, err);
	if (status != HTH_OK) {
		hth_next_door_asks_destroy(all);
		return status;
	}
	*ret_asks = all;
	return HTH_OK;
}

void hth_next_door_asks_destroy(hth_next_door_asks *all)
{
	if (all == NULL)
		return;
	hth_mailbox_close(all->mailbox);
	while (all->asks != NULL)
		free_ask(all->asks);
	pthread_mutex_destroy(&all->mutex);
	free(all);
}

/* ---- over HTTP ---- */

typedef struct door_client {
	hth_holder holder; /* first: it is the exchange's user */
	hth_node *node;
	hth_exchange *exchange;
	uint64_t call;
} door_client;

static void on_client_gone(hth_holder *holder)
{
	door_client *c = (door_client *)holder;
	hth_next_door_cancel(c->node->next_door, c->call);
	free(c);
}

static void on_client_offers(void *ctx, const json_t *offers)
{
	door_client *c = ctx;
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(32 << 20);
	hth_buf_append_str(&body, "{\"offers\":");
	bool ok = hth_json_write(offers, &body) && hth_buf_append_char(&body, '}');
	hth_exchange_set_user(c->exchange, NULL);
	hth_exchange_reply(c->exchange, 200, "application/json", ok ? body.data : "{\"offers\":[]}", ok ? body.len : 13);
	free(c);
}

static void on_client_state(void *ctx, const hth_next_door_state *s)
{
	door_client *c = ctx;
	HTH_CLEANUP(hth_buf_finish) hth_buf line = HTH_BUF_INIT(4096);
	hth_buf_appendf(&line, "{\"bytes\":%llu,\"from\":", (unsigned long long)s->bytes);
	hth_json_write_string(s->from, strlen(s->from), &line);
	if (s->over)
		hth_buf_appendf(&line, ",\"over\":true,\"whole\":%s,\"prefix\":%llu", s->whole ? "true" : "false",
		                (unsigned long long)s->prefix);
	if (s->over && s->error != NULL) {
		hth_buf_append_str(&line, ",\"error\":");
		hth_json_write_string(s->error, strlen(s->error), &line);
	}
	hth_buf_append_str(&line, "}\n");
	if (!hth_exchange_begun(c->exchange))
		hth_exchange_begin(c->exchange, 200, "application/x-ndjson");
	hth_exchange_send(c->exchange, line.data, line.len);
	if (!s->over)
		return;
	hth_exchange_set_user(c->exchange, NULL);
	hth_exchange_finish(c->exchange);
	free(c);
}

static hth_status begin(hth_node *node, hth_exchange *exchange, bool fetch, hth_error *err)
{
	HTH_AUTO_JSON json_t *json = NULL;
	size_t len;
	const char *body = hth_exchange_body(exchange, &len);
	HTH_TRY(hth_json_parse(&json, body, len, err));
	static const char *const keys[2][3] = {{"reference", "name", "name"}, {"home", "file", "sha256"}};
	const char *values[3];
	for (size_t i = 0; i < 3; i++) {
		values[i] = json_string_value(json_object_get(json, keys[fetch][i]));
		if (values[i] == NULL)
			return hth_fail_param(err, HTH_INVALID, keys[fetch][i], "%s is missing", keys[fetch][i]);
	}
	int64_t bytes = json_integer_value(json_object_get(json, "bytes"));
	if (fetch && strcmp(values[0], node->config->home) != 0)
		return hth_fail(err, HTH_CONFLICT, "the node that listens here keeps another home's models");
	door_client *c = calloc(1, sizeof *c);
	if (c == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to ask neighbours");
	*c = (door_client){.holder.gone = on_client_gone, .node = node, .exchange = exchange};
	hth_status status = fetch ? hth_next_door_fetch(node->next_door, values[1], bytes > 0 ? (uint64_t)bytes : 0, values[2],
	                                                on_client_state, c, &c->call, err)
	                          : hth_next_door_find(node->next_door, values[0], values[1], on_client_offers, c, &c->call, err);
	if (status != HTH_OK) {
		free(c);
		return status;
	}
	hth_exchange_set_user(exchange, &c->holder);
	return HTH_OK;
}

void hth_next_door_find_call(hth_node *node, hth_exchange *exchange)
{
	hth_error err;
	if (begin(node, exchange, false, &err) != HTH_OK)
		hth_pages_error(exchange, NULL, &err);
}

void hth_next_door_fetch_call(hth_node *node, hth_exchange *exchange)
{
	hth_error err;
	if (begin(node, exchange, true, &err) != HTH_OK)
		hth_pages_error(exchange, NULL, &err);
}
