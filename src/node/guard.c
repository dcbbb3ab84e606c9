/* guard.c - who may ask this node anything: the Host and Origin headers, and the API key.
 *
 * A web page that somebody in the house visits can make their browser send requests to this node. Two checks stop it. The Origin
 * header names the page's site: only this node's own pages and the allowed origins pass. And a page whose name was re-pointed
 * to this machine's address (DNS rebinding) counts as same-origin to the browser, but its requests still carry that name
 * in Host: only names that cannot be an attacker's pass, which are loopback names, plain addresses and the allowed hosts.
 *
 * The key is compared in constant time, as salted hashes, so that neither its length nor its beginning can be timed.
 * Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "client/transfer.h"
#include "privacy/privacy.h"
#include "store/owner.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <strings.h>

static bool is_loopback(const char *address)
{
	struct in_addr four;
	struct in6_addr six;
	if (strcasecmp(address, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, address, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

bool hth_guard_is_loopback_url(const char *url)
{
	char host[256];
	return hth_url_split(url, NULL, host, NULL) && is_loopback(host);
}

static bool is_address(const char *host)
{
	unsigned char any[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, host, any) == 1 || inet_pton(AF_INET6, host, any) == 1;
}

static bool is_any_address(const char *address)
{
	return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static void hash_key(const hth_node *node, const char *key, unsigned char out[32])
{
	crypto_generichash(out, 32, (const unsigned char *)key, strlen(key), node->key_salt, sizeof node->key_salt);
}

hth_status hth_guard_init(hth_node *node, hth_error *err)
{
	if (sodium_init() < 0)
		return hth_fail(err, HTH_IO, "the system gives no random numbers");
	node->has_key = node->config->api_key[0] != '\0';
	HTH_TRY(hth_keys_create(&node->keys, node->config->home, err));
	if (!node->has_key && !hth_keys_any(node->keys) && !is_loopback(node->config->listen_address))
		return hth_fail(err, HTH_INVALID,
		                "listening on %s lets other machines in, which needs a key: make one with `hearth key add NAME`, set "
		                "api_key, or listen on 127.0.0.1",
		                node->config->listen_address);
	HTH_TRY(hth_owner_hold(node->config->home, &node->home_fd, err));
	randombytes_buf(node->key_salt, sizeof node->key_salt);
	randombytes_buf(node->link_key, sizeof node->link_key);
	hash_key(node, node->config->api_key, node->key_hash);
	return HTH_OK;
}

void hth_guard_welcome_owner(hth_node *node)
{
	char key[HTH_OWNER_KEY_MAX];
	hth_owner_welcome(node->home_fd, hth_http_port(node->http), key);
	hash_key(node, key, node->owner_hash);
	sodium_memzero(key, sizeof key);
}

/* Whether one of the comma-separated entries matches: the text itself, "*", or ".example.org" for all names under it. */
static bool listed(const char *list, const char *text)
{
	size_t len = strlen(text);
	while (*list != '\0') {
		list += strspn(list, ", \t");
		size_t n = strcspn(list, ", \t");
		if (n == 1 && *list == '*')
			return true;
		if (n == len && strncasecmp(list, text, n) == 0 && n > 0)
			return true;
		if (n > 1 && *list == '.' && len > n && strncasecmp(text + len - n, list, n) == 0)
			return true;
		list += n;
	}
	return false;
}

/* The host without its port and brackets; false when it is not a host at all. */
static bool strip_port(const char *header, char out[256])
{
	size_t n;
	if (header[0] == '[') {
		const char *end = strchr(header, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		header++;
		n = (size_t)(end - header);
	} else {
		n = strcspn(header, ":");
	}
	if (n == 0 || n >= 256)
		return false;
	memcpy(out, header, n);
	out[n] = '\0';
	if (n > 1 && out[n - 1] == '.')
		out[n - 1] = '\0'; /* "localhost." is localhost */
	return true;
}

static bool host_is_allowed(const hth_node *node, const char *header)
{
	char host[256];
	if (header == NULL)
		return true; /* HTTP/1.0, which no browser speaks */
	if (!strip_port(header, host))
		return false;
	size_t len = strlen(host);
	const char *bound = node->config->listen_address;
	if (is_loopback(host) || strcasecmp(host, bound) == 0)
		return true;
	if (len > 10 && strcasecmp(host + len - 10, ".localhost") == 0)
		return true;
	/* An address is not looked up, so nobody can have re-pointed it. */
	if (is_any_address(bound) && is_address(host))
		return true;
	return listed(node->config->allowed_hosts, host);
}

static bool is_same_origin(const char *origin, const char *host)
{
	if (host == NULL)
		return false;
	if (strncasecmp(origin, "http://", 7) == 0)
		return strcasecmp(origin + 7, host) == 0;
	return strncasecmp(origin, "https://", 8) == 0 && strcasecmp(origin + 8, host) == 0;
}

static bool key_matches(const hth_node *node, const char *key)
{
	unsigned char hash[32];
	hash_key(node, key, hash);
	bool owner = sodium_memcmp(hash, node->owner_hash, sizeof hash) == 0;
	return owner || (node->has_key && sodium_memcmp(hash, node->key_hash, sizeof hash) == 0);
}

/* The owner's commands and the setting api_key may do everything; a named key what it is for. Clients send a key as a bearer token or as
 * x-api-key, some both. */
static hth_status check_key(const hth_node *node, hth_exchange *exchange, hth_caller *ret_caller, hth_error *err)
{
	const char *auth = hth_exchange_header(exchange, "Authorization"), *sent[2] = {NULL, hth_exchange_header(exchange, "x-api-key")};
	if (auth != NULL && strncasecmp(auth, "Bearer ", 7) == 0)
		sent[0] = auth + 7 + strspn(auth + 7, " ");
	hth_status status = HTH_UNAUTHORIZED;
	for (size_t i = 0; i < 2 && status == HTH_UNAUTHORIZED; i++) {
		if (sent[i] == NULL)
			continue;
		if (key_matches(node, sent[i]))
			return HTH_OK;
		status = hth_keys_check(node->keys, exchange, sent[i], ret_caller, err);
	}
	if (status != HTH_UNAUTHORIZED)
		return status;
	hth_exchange_add_header(exchange, "WWW-Authenticate", "Bearer");
	return hth_fail(err, HTH_UNAUTHORIZED, "this node asks for its API key: send the header `Authorization: Bearer KEY`");
}

/* What may be asked without a key: whether the node is there. */
static bool is_open(hth_exchange *exchange)
{
	const char *method = hth_exchange_method(exchange), *path = hth_exchange_path(exchange);
	if (strcmp(method, "OPTIONS") == 0)
		return true;
	return (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) && (strcmp(path, "/") == 0 || strcmp(path, "/health") == 0);
}

/* A link to a document that this node signed for somebody who may read it. */
static bool is_signed(const hth_node *node, hth_exchange *exchange)
{
	static const char prefix[] = "/documents/";
	char document[64];
	const char *method = hth_exchange_method(exchange), *path = hth_exchange_path(exchange);
	if ((strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) || strncmp(path, prefix, sizeof prefix - 1) != 0)
		return false;
	path += sizeof prefix - 1;
	size_t n = strcspn(path, "/");
	if ((size_t)snprintf(document, sizeof document, "%.*s", (int)HTH_MIN(n, sizeof document), path) >= sizeof document)
		return false;
	return hth_link_is_good(node->link_key, document, hth_exchange_query(exchange, "expires"),
	                        hth_exchange_query(exchange, "signature"), hth_clock_unix());
}

bool hth_guard_asks_for_keys(const hth_node *node)
{
	/* Removing the last key of a node that others can reach must not let everybody in. */
	return node->has_key || hth_keys_any(node->keys) || !is_loopback(node->config->listen_address);
}

void hth_guard_sign_link(const hth_node *node, const char *document, hth_buf *out)
{
	if (hth_guard_asks_for_keys(node))
		hth_link_sign(node->link_key, document, hth_clock_unix() + HTH_LINK_S, out);
}

hth_status hth_guard_check(hth_node *node, hth_exchange *exchange, hth_caller *ret_caller, hth_error *err)
{
	*ret_caller = (hth_caller){.privacy = HTH_PRIVATE, .documents = true};
	const char *host = hth_exchange_header(exchange, "Host"), *origin = hth_exchange_header(exchange, "Origin");
	if (!host_is_allowed(node, host))
		return hth_fail_param(err, HTH_DENIED, "Host",
		                      "this node does not answer to the name '%.100s'; add it to the setting allowed_hosts if it is yours",
		                      host);
	if (origin != NULL && origin[0] != '\0' && !is_same_origin(origin, host)) {
		if (!listed(node->config->allowed_origins, origin))
			return hth_fail_param(err, HTH_DENIED, "Origin",
			                      "web pages of '%.100s' may not ask this node; add it to the setting allowed_origins if it is "
			                      "yours", origin);
		hth_exchange_add_header(exchange, "Access-Control-Allow-Origin", origin);
		hth_exchange_add_header(exchange, "Access-Control-Expose-Headers", "Hearth-Request-Id, Hearth-Served-By, Retry-After");
		hth_exchange_add_header(exchange, "Vary", "Origin");
	}
	if (is_open(exchange) || !hth_guard_asks_for_keys(node) || is_signed(node, exchange))
		return HTH_OK;
	hth_status status = check_key(node, exchange, ret_caller, err);
	if (status == HTH_UNAUTHORIZED && hth_exchange_query(exchange, "signature") != NULL)
		return hth_fail(err, HTH_UNAUTHORIZED, "this link to a document is not good any more (it is for %d hours, until the node "
		                                       "starts again); search again",
		                HTH_LINK_S / 3600);
	return status;
}

/* By any of its names. */
static bool is_model(const hth_catalog *catalog, const char *asked, const char *named)
{
	const hth_catalog_model *a = hth_catalog_find(catalog, asked);
	return strcmp(asked, named) == 0 || (a != NULL && a == hth_catalog_find(catalog, named));
}

hth_privacy_class hth_guard_default_class(hth_node *node, const hth_api_job *job)
{
	hth_privacy_class home = HTH_PRIVATE, tightest = HTH_PUBLIC;
	HTH_CLEANUP(hth_catalog_finish) hth_catalog catalog = {0};
	const hth_config *c = node->config;
	if (c->n_classes > 0 && hth_router_catalog(node->router, &catalog, NULL) != HTH_OK)
		return HTH_PRIVATE;
	(void)!hth_privacy_parse(c->default_privacy, &home, NULL);
	for (size_t i = 0; i < job->n_requests; i++) {
		hth_privacy_class class = HTH_PUBLIC, of;
		bool any = false;
		for (size_t k = 0; k < c->n_classes; k++) {
			if (!is_model(&catalog, job->requests[i]->model, c->classes[k].model) ||
			    hth_privacy_parse(c->classes[k].privacy, &of, NULL) != HTH_OK)
				continue;
			class = HTH_MIN(class, of);
			any = true;
		}
		tightest = HTH_MIN(tightest, any ? class : home);
	}
	return job->n_requests > 0 ? tightest : HTH_PRIVATE;
}

void hth_guard_preflight(hth_exchange *exchange)
{
	const char *wanted = hth_exchange_header(exchange, "Access-Control-Request-Headers");
	hth_exchange_add_header(exchange, "Allow", "GET, HEAD, POST, DELETE, OPTIONS");
	if (hth_exchange_header(exchange, "Origin") != NULL) {
		hth_exchange_add_header(exchange, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE");
		hth_exchange_add_header(exchange, "Access-Control-Allow-Headers",
		                        wanted != NULL && strlen(wanted) < 1024 ? wanted : "Authorization, Content-Type, Hearth-Privacy");
		hth_exchange_add_header(exchange, "Access-Control-Max-Age", "600");
		if (hth_exchange_header(exchange, "Access-Control-Request-Private-Network") != NULL)
			hth_exchange_add_header(exchange, "Access-Control-Allow-Private-Network", "true");
	}
	hth_exchange_reply(exchange, 204, NULL, NULL, 0);
}
