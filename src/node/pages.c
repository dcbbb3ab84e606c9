/* pages.c - what the node answers by itself, without a request's life: whether it is there, how it is, what it is.
 *
 * node.h documents the answers that the command line reads. `GET /` says "Ollama is running" to whatever is not a
 * browser, since that is how Ollama's clients find out whether anybody is there. Thread: the loop's.
 */
#include "node/next-door.h"
#include "node/node-internal.h"

#include <stdio.h>

static const char front_page[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
    "<title>Hearth</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}"
    "code,pre{background:#8882;border-radius:4px;padding:.1em .3em}pre{padding:.8em;overflow:auto}"
    ":root{color-scheme:light dark}</style>"
    "<h1>Hearth is running</h1><p>This is your home's own AI node. What you ask it stays in this house.</p>"
    "<p>Programs that speak the OpenAI API use it with this address as their base URL:</p><pre>%s/v1</pre>"
    "<p>From a terminal:</p><pre>hearth run\n\ncurl %s/v1/chat/completions -H 'Content-Type: application/json' \\\n"
    "  -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'</pre>"
    "<p>See also <a href=\"/v1/models\">its models</a>, <a href=\"/hearth/status\">its state</a> and "
    "<a href=\"/metrics\">its counters</a>.</p></html>\n";

static void reply(hth_exchange *exchange, int status, const char *type, const hth_buf *body)
{
	hth_exchange_reply(exchange, status, type, body->data != NULL ? body->data : "", body->len);
}

static void write_error(hth_exchange *exchange, const hth_api_endpoint *endpoint, const hth_error *error, int status)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(64 << 10);
	unsigned retry_s = 0;
	int by_itself = hth_api_write_error(endpoint, error, &body, &retry_s);
	if (retry_s > 0) {
		char text[16];
		snprintf(text, sizeof text, "%u", retry_s);
		hth_exchange_add_header(exchange, "Retry-After", text);
	}
	reply(exchange, status != 0 ? status : by_itself, "application/json", &body);
}

void hth_pages_error(hth_exchange *exchange, const hth_api_endpoint *endpoint, const hth_error *error)
{
	write_error(exchange, endpoint, error, 0);
}

void hth_pages_wrong_method(hth_exchange *exchange, const char *allow)
{
	hth_error err;
	hth_fail(&err, HTH_INVALID, "%.200s takes %s, not %.16s", hth_exchange_path(exchange), allow, hth_exchange_method(exchange));
	hth_exchange_add_header(exchange, "Allow", allow);
	write_error(exchange, NULL, &err, 405);
}

static void front(hth_node *node, hth_exchange *exchange)
{
	const char *accept = hth_exchange_header(exchange, "Accept"), *host = hth_exchange_header(exchange, "Host");
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(16 << 10);
	if (accept == NULL || strstr(accept, "text/html") == NULL) {
		hth_buf_append_str(&body, "Ollama is running");
		reply(exchange, 200, "text/plain; charset=utf-8", &body);
		return;
	}
	/* The guard has let this Host pass, but a page is made of nothing that was not looked at. */
	char base[300] = "http://";
	bool plain = host != NULL && strlen(host) < 256 &&
	             strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_[]") == strlen(host);
	strcat(base, plain ? host : node->address);
	hth_buf_appendf(&body, front_page, base, base);
	hth_exchange_add_header(exchange, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
	hth_exchange_add_header(exchange, "X-Frame-Options", "DENY");
	reply(exchange, 200, "text/html; charset=utf-8", &body);
}

static void health(hth_node *node, hth_exchange *exchange)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(256);
	hth_buf_append_str(&body, node->stopping ? "{\"status\":\"stopping\"}" : "{\"status\":\"ok\"}");
	reply(exchange, node->stopping ? 503 : 200, "application/json", &body);
}

static void metrics(hth_node *node, hth_exchange *exchange)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(1 << 20);
	hth_metrics_write(node, &body);
	reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static void status(hth_node *node, hth_exchange *exchange)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(1 << 20);
	hth_status_write(node, &body);
	reply(exchange, 200, "application/json", &body);
}

static hth_status read_stop(hth_node *node, hth_exchange *exchange, hth_error *err)
{
	size_t len;
	const char *body = hth_exchange_body(exchange, &len), *model = NULL;
	bool now = false;
	HTH_AUTO_JSON json_t *json = NULL;
	HTH_TRY(hth_json_parse(&json, body, len, err));
	if (!json_is_object(json))
		return hth_fail(err, HTH_INVALID, "the body must be a JSON object");
	HTH_TRY(hth_json_get_string(json, "model", &model, err));
	HTH_TRY(hth_json_get_bool(json, "now", &now, err));
	if (model == NULL)
		return hth_fail_param(err, HTH_INVALID, "model", "model is missing");
	return hth_router_stop(node->router, model, now, err);
}

static void stop(hth_node *node, hth_exchange *exchange)
{
	hth_error err;
	if (read_stop(node, exchange, &err) != HTH_OK) {
		hth_pages_error(exchange, NULL, &err);
		return;
	}
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(64);
	hth_buf_append_str(&body, "{\"stopped\":true}");
	reply(exchange, 200, "application/json", &body);
}

bool hth_pages_handle(hth_node *node, hth_exchange *exchange)
{
	static const struct {
		const char *path, *method;
		void (*fn)(hth_node *node, hth_exchange *exchange);
	} pages[] = {{"/", "GET", front},           {"/health", "GET", health},       {"/metrics", "GET", metrics},
	             {"/hearth/status", "GET", status}, {"/hearth/stop", "POST", stop},
	             {"/search", "GET", hth_documents_search}, {"/hearth/index", "GET", hth_documents_status},
	             {"/hearth/index", "POST", hth_documents_change}, {"/hearth/pool", "GET", hth_street_api_status},
	             {"/hearth/pool", "POST", hth_street_api_change}, {"/hearth/fetch", "POST", hth_tasks_fetch},
	             {"/api/pull", "POST", hth_tasks_pull}, {"/api/create", "POST", hth_tasks_make},
	             {"/hearth/next-door/find", "POST", hth_next_door_find_call},
	             {"/hearth/next-door/fetch", "POST", hth_next_door_fetch_call}};
	const char *method = hth_exchange_method(exchange), *path = hth_exchange_path(exchange);
	char allow[32] = "";
	if (strcmp(method, "OPTIONS") == 0) {
		hth_guard_preflight(exchange);
		return true;
	}
	if (hth_document_pages_handle(node, exchange))
		return true;
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (size_t i = 0; i < HTH_COUNT(pages); i++) {
		if (strcmp(path, pages[i].path) != 0)
			continue;
		if (strcmp(method, pages[i].method) == 0) {
			pages[i].fn(node, exchange);
			return true;
		}
		snprintf(allow + strlen(allow), sizeof allow - strlen(allow), "%s%s", *allow ? ", " : "", pages[i].method);
	}
	if (*allow)
		hth_pages_wrong_method(exchange, allow);
	return *allow != '\0';
}
