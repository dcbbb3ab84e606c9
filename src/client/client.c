/* client.c - one HTTP exchange at a time through libcurl's multi interface, which lets us look at `cancel` while we wait.
 *
 * Refuses: redirects (the node never sends one), proxies (the words are for this address and nobody in between), and any
 * protocol but HTTP and HTTPS. Nothing here logs or prints.
 */
#include "client/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

struct hth_client {
	CURLM *multi;
	CURL *easy;
	const char *const *headers;
	char *base_url, *authorization;
	unsigned connect_ms;
	const volatile sig_atomic_t *cancel;
	bool reached;
	/* The call that runs. */
	hth_buf body; /* a whole answer, or a stream's unfinished line */
	hth_client_line_fn line;
	void *line_ctx;
	bool stopped; /* by the line function */
	bool line_too_long;
};

static char *copy_format(const char *prefix, const char *s)
{
	char *out = NULL;
	return asprintf(&out, "%s%s", prefix, s) < 0 ? NULL : out;
}

hth_status hth_client_create(hth_client **ret_client, const hth_client_options *options, hth_error *err)
{
	static bool curl_ready;
	if (!curl_ready && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return hth_fail(err, HTH_INTERNAL, "libcurl does not start");
	curl_ready = true;
	if (strncmp(options->base_url, "http://", 7) != 0 && strncmp(options->base_url, "https://", 8) != 0)
		return hth_fail(err, HTH_INVALID, "'%s' is no http:// or https:// address", options->base_url);
	hth_client *client = hth_alloc_array(1, sizeof *client);
	if (client == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a client");
	client->connect_ms = options->connect_ms != 0 ? options->connect_ms : 5000;
	client->cancel = options->cancel;
	client->base_url = strdup(options->base_url);
	bool key = options->api_key != NULL && *options->api_key != '\0';
	if (key)
		client->authorization = copy_format("Authorization: Bearer ", options->api_key);
	client->multi = curl_multi_init();
	client->easy = curl_easy_init();
	if (client->base_url == NULL || (key && client->authorization == NULL) || client->multi == NULL || client->easy == NULL) {
		hth_client_destroy(client);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a client");
	}
	*ret_client = client;
	return HTH_OK;
}

void hth_client_destroy(hth_client *client)
{
	if (client == NULL)
		return;
	if (client->easy != NULL)
		curl_easy_cleanup(client->easy);
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	free(client->base_url);
	free(client->authorization);
	hth_buf_finish(&client->body);
	free(client);
}

void hth_client_set_headers(hth_client *client, const char *const *headers) { client->headers = headers; }

bool hth_client_reached(const hth_client *client) { return client->reached; }

static bool give_lines(hth_client *client, bool last)
{
	hth_buf *b = &client->body;
	size_t from = 0;
	while (from < b->len) {
		char *end = memchr(b->data + from, '\n', b->len - from);
		if (end == NULL && !last)
			break;
		size_t len = end != NULL ? (size_t)(end - b->data) - from : b->len - from;
		size_t next = from + len + (end != NULL);
		if (len > 0 && b->data[from + len - 1] == '\r')
			len--;
		if (!client->line(client->line_ctx, b->data + from, len)) {
			client->stopped = true;
			return false;
		}
		from = next;
	}
	hth_buf_consume(b, from);
	return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	hth_client *client = user;
	size_t len = size * count;
	if (!hth_buf_append(&client->body, data, len))
		return 0;
	long code = 0;
	curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &code);
	if (client->line != NULL && code >= 200 && code < 300) {
		if (!give_lines(client, false))
			return 0;
		if (client->body.len > HTH_CLIENT_LINE_MAX) {
			client->line_too_long = true;
			return 0;
		}
	}
	return len;
}

/* The inverse of hth_status_http, as far as codes tell. */
static hth_status status_of_http(long code)
{
	switch (code) {
	case 401:
		return HTH_UNAUTHORIZED;
	case 403:
		return HTH_DENIED;
	case 404:
		return HTH_NOT_FOUND;
	case 408:
	case 504:
		return HTH_TIMEOUT;
	case 409:
		return HTH_CONFLICT;
	case 413:
	case 431:
		return HTH_TOO_LARGE;
	case 501:
		return HTH_UNSUPPORTED;
	case 429:
	case 503:
		return HTH_BUSY;
	case 502:
		return HTH_GONE;
	default:
		return code >= 500 ? HTH_INTERNAL : HTH_INVALID;
	}
}

static hth_status server_error(hth_client *client, long code, hth_error *err)
{
	hth_status status = status_of_http(code);
	HTH_AUTO_JSON json_t *json = NULL;
	const char *message = NULL, *param = NULL;
	if (client->body.len > 0 && hth_json_parse(&json, client->body.data, client->body.len, NULL) == HTH_OK && json_is_object(json)) {
		const json_t *error = json_object_get(json, "error");
		message = json_string_value(json_is_object(error) ? json_object_get(error, "message") : error);
		if (json_is_object(error)) {
			const char *code_name = json_string_value(json_object_get(error, "code"));
			param = json_string_value(json_object_get(error, "param"));
			if (code_name != NULL && strcmp(code_name, "context_length_exceeded") == 0)
				status = HTH_TOO_LARGE; /* the API has it as 400 */
		}
	}
	if (code == 401) /* what is sent how, a program need not be told; whose setting it is, a person must */
		return hth_fail(err, status, "%s wants a key: set api_key (HEARTH_API_KEY or --api-key)", client->base_url);
	if (message != NULL)
		return param != NULL ? hth_fail_param(err, status, param, "%s", message) : hth_fail(err, status, "%s", message);
	return hth_fail(err, status, "%s answered with HTTP status %ld and no explanation", client->base_url, code);
}

static hth_status transport_error(hth_client *client, CURLcode code, hth_error *err)
{
	if (client->body.failed)
		return hth_fail(err, HTH_TOO_LARGE, "the answer of %s is over %d bytes", client->base_url, HTH_CLIENT_BODY_MAX);
	if (client->line_too_long)
		return hth_fail(err, HTH_TOO_LARGE, "a line of the answer of %s is over %d bytes", client->base_url, HTH_CLIENT_LINE_MAX);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return hth_fail(err, HTH_TIMEOUT, "%s did not answer in time", client->base_url);
	if (!client->reached)
		return hth_fail(err, HTH_GONE, "nobody answers at %s (%s); start the node with `hearth serve`", client->base_url,
		                curl_easy_strerror(code));
	return hth_fail(err, HTH_GONE, "the connection to %s broke before the answer was whole (%s)", client->base_url,
	                curl_easy_strerror(code));
}

static bool cancelled(const hth_client *client) { return client->cancel != NULL && *client->cancel; }

/* Runs the prepared transfer to its end. */
static hth_status transfer(hth_client *client, hth_error *err)
{
	if (curl_multi_add_handle(client->multi, client->easy) != CURLM_OK)
		return hth_fail(err, HTH_INTERNAL, "libcurl does not take the request");
	CURLcode result = CURLE_OK;
	bool ended = false, aborted = false;
	while (!ended && !aborted) {
		int running = 0, left;
		if (curl_multi_perform(client->multi, &running) != CURLM_OK) {
			result = CURLE_FAILED_INIT;
			break;
		}
		for (CURLMsg *m; (m = curl_multi_info_read(client->multi, &left)) != NULL;)
			if (m->msg == CURLMSG_DONE) {
				result = m->data.result;
				ended = true;
			}
		aborted = cancelled(client);
		if (!ended && !aborted && curl_multi_poll(client->multi, NULL, 0, 100, NULL) != CURLM_OK)
			break;
	}
	long connects = 0, code = 0;
	curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &code);
	curl_off_t connected_us = 0;
	curl_easy_getinfo(client->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	curl_easy_getinfo(client->easy, CURLINFO_NUM_CONNECTS, &connects);
	client->reached = code != 0 || connected_us > 0 || (ended && connects == 0 && result == CURLE_OK);
	curl_multi_remove_handle(client->multi, client->easy);
	if (aborted || client->stopped)
		return hth_fail(err, HTH_CANCELLED, "stopped");
	if (!ended || result != CURLE_OK)
		return transport_error(client, ended ? result : CURLE_RECV_ERROR, err);
	if (code < 200 || code > 299)
		return server_error(client, code, err);
	return HTH_OK;
}

static hth_status exchange(hth_client *client, const char *method, const char *path, const json_t *body, unsigned timeout_ms,
                           hth_error *err)
{
	hth_buf_finish(&client->body);
	client->body = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	client->stopped = client->line_too_long = client->reached = false;
	HTH_AUTO_FREE char *url = copy_format(client->base_url, path);
	hth_buf sent = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	struct curl_slist *headers = NULL;
	hth_status status = url == NULL ? hth_fail(err, HTH_NO_MEMORY, "no memory for a request") : HTH_OK;
	if (status == HTH_OK && body != NULL && !hth_json_write(body, &sent))
		status = hth_fail(err, HTH_TOO_LARGE, "the request is over %d bytes", HTH_CLIENT_BODY_MAX);
	if (status == HTH_OK) {
		CURL *easy = client->easy;
		curl_easy_reset(easy);
		curl_easy_setopt(easy, CURLOPT_URL, url);
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(easy, CURLOPT_USERAGENT, "hearth/" HEARTH_VERSION);
		curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_ms);
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
		curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
		headers = curl_slist_append(headers, "Expect:");
		if (client->authorization != NULL)
			headers = curl_slist_append(headers, client->authorization);
		for (const char *const *h = client->headers; h != NULL && *h != NULL; h++)
			headers = curl_slist_append(headers, *h);
		if (body != NULL) {
			headers = curl_slist_append(headers, "Content-Type: application/json");
			curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)sent.len);
			curl_easy_setopt(easy, CURLOPT_POSTFIELDS, sent.data);
		}
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		status = transfer(client, err);
	}
	curl_slist_free_all(headers);
	hth_buf_finish(&sent);
	return status;
}

hth_status hth_client_json(hth_client *client, const char *method, const char *path, const json_t *body, unsigned timeout_ms,
                           json_t **ret_json, hth_error *err)
{
	client->line = NULL;
	HTH_TRY(exchange(client, method, path, body, timeout_ms, err));
	hth_error why = HTH_ERROR_INIT;
	hth_status status = hth_json_parse(ret_json, client->body.data != NULL ? client->body.data : "", client->body.len, &why);
	hth_buf_finish(&client->body);
	if (status != HTH_OK)
		return hth_fail(err, HTH_BAD_FORMAT, "what answers at %s is no Hearth node: its answer is no JSON (%s)", client->base_url,
		                why.message);
	return HTH_OK;
}

hth_status hth_client_stream(hth_client *client, const char *method, const char *path, const json_t *body, hth_client_line_fn fn,
                             void *ctx, hth_error *err)
{
	client->line = fn;
	client->line_ctx = ctx;
	hth_status status = exchange(client, method, path, body, 0, err);
	if (status == HTH_OK && !give_lines(client, true))
		status = hth_fail(err, HTH_CANCELLED, "stopped");
	hth_buf_finish(&client->body);
	return status;
}

bool hth_sse_data(const char *line, size_t len, const char **ret_data, size_t *ret_len)
{
	if (len < 5 || memcmp(line, "data:", 5) != 0)
		return false;
	size_t from = len > 5 && line[5] == ' ' ? 6 : 5;
	*ret_data = line + from;
	*ret_len = len - from;
	return true;
}
