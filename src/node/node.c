/* node.c - the daemon put together: one loop, the server, the router, signals, and an orderly end.
 *
 * Stopping: no new connections, no new calls; running answers may finish within config.shutdown_s and are then ended with an
 * error that says why; a second signal ends them at once. Whatever happens, every handle is closed, and a handle left open is
 * an error, since it is a bug. Thread: the loop's (there is no other in this process).
 */
#include "node/next-door.h"
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "client/transfer.h"
#include "store/owner.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* --- the end --- */

static void end_calls(hth_node *node)
{
	hth_error why;
	hth_fail(&why, HTH_BUSY, "the node is stopping");
	hth_verbs_cancel_all(node, &why);
	hth_loop_stop(node->loop);
}

static void on_stop_timer(void *ctx)
{
	hth_log(HTH_LOG_WARN, "answers that have not finished in time are cut off");
	end_calls(ctx);
}

void hth_node_call_ended(hth_node *node)
{
	if (node->stopping && node->calls == NULL)
		hth_loop_stop(node->loop);
}

static void on_signal(void *ctx, int signum)
{
	hth_node *node = ctx;
	if (node->stopping) {
		end_calls(node);
		return;
	}
	node->stopping = true;
	hth_log(HTH_LOG_INFO, "%s: stopping%s", signum == SIGINT ? "interrupted" : signum == SIGHUP ? "the terminal is gone"
	                                                                                            : "asked to end",
	        node->calls != NULL ? "; running answers may finish first, a second signal cuts them off" : "");
	hth_http_stop_accepting(node->http);
	if (node->calls == NULL)
		hth_loop_stop(node->loop);
	else
		hth_timer_start(node->stop_timer, (uint64_t)node->config->shutdown_s * 1000, 0);
}

/* --- the beginning --- */

/* Each connection and runner takes a descriptor; the usual soft limit of 1024 is a leftover of select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= 8192)
		return;
	limit.rlim_cur = HTH_MIN(limit.rlim_max, (rlim_t)8192);
	setrlimit(RLIMIT_NOFILE, &limit);
}

static hth_status start_upstreams(hth_node *node, hth_error *err)
{
	hth_upstream_options list[HTH_CONFIG_UPSTREAMS_MAX];
	const hth_config *c = node->config;
	for (size_t i = 0; i < c->n_upstreams; i++) {
		const hth_config_upstream *up = &c->upstreams[i];
		list[i] = (hth_upstream_options){.name = up->name, .url = up->url, .key = up->key};
		if (up->privacy[0] != '\0')
			HTH_TRY(hth_privacy_parse(up->privacy, &list[i].privacy, err));
		else
			list[i].privacy = hth_guard_is_loopback_url(up->url) ? HTH_PRIVATE : HTH_PUBLIC;
	}
	return hth_upstreams_create(&node->upstreams, node->loop, c->home, list, c->n_upstreams, 0, err);
}

static const char *draft_of(void *ctx, const char *model)
{
	const hth_config *c = ctx;
	for (size_t i = 0; i < c->n_drafts; i++)
		if (strcmp(c->drafts[i].model, model) == 0)
			return c->drafts[i].draft;
	return NULL;
}

static void on_headers(void *ctx, hth_exchange *exchange)
{
	if (!hth_stores_headers(ctx, exchange))
		hth_blobs_headers(ctx, exchange);
}

/* The folder that README sends people to is there to be found. A home on a disk that is full does without. */
static void make_models_folder(const char *home)
{
	char path[PATH_MAX];
	if ((size_t)snprintf(path, sizeof path, "%s/models", home) < sizeof path && mkdir(path, 0755) != 0 && errno != EEXIST)
		hth_log(HTH_LOG_WARN, "cannot make %s: %s", path, strerror(errno));
}

static hth_status start(hth_node *node, hth_error *err)
{
	const hth_config *c = node->config;
	static const hth_http_handler handler = {hth_verbs_handle, hth_verbs_gone, on_headers};
	HTH_TRY(hth_guard_init(node, err));
	make_models_folder(c->home);
	HTH_TRY(hth_loop_create(&node->loop, err));
	const hth_router_options route = {.home = c->home,
	                                  .program = node->callbacks->program,
	                                  .default_model = c->model,
	                                  .n_threads = c->threads,
	                                  .parallel = c->parallel,
	                                  .context = c->context,
	                                  .memory_bytes = c->memory,
	                                  .draft_of = draft_of,
	                                  .draft_ctx = (void *)(uintptr_t)c,
	                                  .spill_bytes = c->spill,
	                                  .keep_alive_s = c->keep_alive_s,
	                                  .queue = c->queue,
	                                  .load_timeout_s = c->load_timeout_s};
	HTH_TRY(hth_router_create(&node->router, node->loop, &route, err));
	HTH_TRY(hth_inspector_create(&node->inspector, node, err));
	HTH_TRY(hth_response_store_create(&node->responses, err));
	HTH_TRY(hth_binding_cache_create(&node->bindings, err));
	hth_blobs_clean(node);
	HTH_TRY(hth_digests_create(&node->digests, node, err));
	HTH_TRY(hth_settings_create(&node->settings, node, err));
	hth_models_init(node);
	HTH_TRY(hth_next_door_create(&node->next_door, node, err));
	HTH_TRY(hth_next_door_asks_create(&node->next_door_asks, node, err));
	HTH_TRY(hth_tasks_create(&node->tasks, node, err));
	HTH_TRY(hth_documents_create(&node->documents, node, err));
	HTH_TRY(hth_stores_open(&node->stores, node, err));
	HTH_TRY(hth_document_pages_create(&node->document_pages, node, err));
	HTH_TRY(start_upstreams(node, err));
	HTH_TRY(hth_neighbours_create(&node->neighbours, node, err));
	HTH_TRY(hth_street_api_start(node, err));
	const hth_http_options http = {.address = c->listen_address,
	                               .port = c->listen_port,
	                               .max_body = c->max_body,
	                               .max_connections = c->max_connections,
	                               /* One address may be a proxy for the household, but not all there is. */
	                               .max_per_client = HTH_MAX(c->max_connections / 4 * 3, 1u)};
	HTH_TRY(hth_http_start(&node->http, node->loop, &http, &handler, node, err));
	HTH_TRY(hth_timer_open(&node->stop_timer, node->loop, on_stop_timer, node, err));
	HTH_TRY(hth_signal_open(&node->sigterm, node->loop, SIGTERM, on_signal, node, err));
	HTH_TRY(hth_signal_open(&node->sigint, node->loop, SIGINT, on_signal, node, err));
	struct sigaction hangup;
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		HTH_TRY(hth_signal_open(&node->sighup, node->loop, SIGHUP, on_signal, node, err));
	hth_guard_welcome_owner(node);
	bool six = strchr(c->listen_address, ':') != NULL;
	snprintf(node->address, sizeof node->address, six ? "[%s]:%u" : "%s:%u", c->listen_address, hth_http_port(node->http));
	return HTH_OK;
}

static bool finish(hth_node *node)
{
	hth_http_destroy(node->http);
	hth_inspector_destroy(node->inspector);
	hth_neighbours_destroy(node->neighbours);
	node->neighbours = NULL;
	hth_street_api_stop(node);
	hth_upstreams_destroy(node->upstreams);
	hth_tasks_destroy(node->tasks);
	hth_document_pages_destroy(node->document_pages);
	hth_stores_close(node->stores);
	hth_documents_destroy(node->documents);
	hth_next_door_asks_destroy(node->next_door_asks);
	hth_next_door_destroy(node->next_door);
	hth_router_destroy(node->router);
	hth_response_store_destroy(node->responses);
	hth_binding_cache_destroy(node->bindings);
	hth_settings_destroy(node->settings);
	hth_digests_destroy(node->digests);
	hth_timer_close(node->stop_timer);
	hth_keys_destroy(node->keys);
	hth_owner_release(node->home_fd);
	/* A signal that comes now has nothing left to say, and must not end the process before it has closed everything. */
	sigset_t ending, before;
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGHUP);
	sigprocmask(SIG_BLOCK, &ending, &before);
	hth_signal_close(node->sigterm);
	hth_signal_close(node->sigint);
	hth_signal_close(node->sighup);
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return hth_loop_destroy(node->loop);
}

hth_status hth_node_run(const hth_config *config, const hth_node_callbacks *callbacks, hth_error *err)
{
	static const hth_node_callbacks none;
	hth_node node = {.config = config,
	                 .home_fd = -1,
	                 .callbacks = callbacks != NULL ? callbacks : &none,
	                 .started_unix = hth_clock_unix(),
	                 .started_ms = hth_clock_ms()};
	hth_log_set_level((hth_log_level)config->log_level);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is told by its write */
	raise_descriptor_limit();
	hth_transfer_trust(config->ca_file);
	hth_status status = start(&node, err);
	if (status == HTH_OK) {
		if (node.callbacks->ready != NULL)
			node.callbacks->ready(node.callbacks->ctx, node.address);
		hth_loop_run(node.loop);
	}
	bool clean = finish(&node);
	if (status == HTH_OK && !clean)
		status = hth_fail(err, HTH_INTERNAL, "the node has ended, but left a handle open: this is a bug");
	else if (status == HTH_OK)
		hth_log(HTH_LOG_INFO, "stopped");
	return status;
}
