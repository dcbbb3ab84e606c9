/* keys.c - named API keys: whose key a call carries, what that key may do, how often, and the class of what it asks.
 *
 * Keys live in the home's record (store.h), so `hearth key add` in another process counts at the next call. Each key that has a
 * rate has a token bucket here: it holds a minute's worth and refills steadily; buckets are lost at a restart, which is as good as a
 * minute's wait. The setting api_key is a key without a name that may do everything. Thread: the loop's.
 */
#include "node/node-internal.h"

#include "base/clock.h"
#include "privacy/privacy.h"
#include "store/store.h"

#include <stdio.h>
#include <strings.h>

enum { BUCKETS_MAX = 4096 };

typedef struct bucket {
	int64_t key;
	uint32_t per_minute;
	double level;
	uint64_t at_ms;
} bucket;

struct hth_keys {
	hth_store *store;
	bucket *buckets;
	size_t n, cap;
};

hth_status hth_keys_create(hth_keys **ret_keys, const char *home, hth_error *err)
{
	hth_keys *keys = calloc(1, sizeof *keys);
	if (keys == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the keys");
	hth_status status = hth_store_open(&keys->store, home, err);
	if (status != HTH_OK) {
		free(keys);
		return status;
	}
	*ret_keys = keys;
	return HTH_OK;
}

void hth_keys_destroy(hth_keys *keys)
{
	if (keys == NULL)
		return;
	hth_store_close(keys->store);
	free(keys->buckets);
	free(keys);
}

bool hth_keys_any(hth_keys *keys)
{
	size_t n = 0;
	/* A record that cannot be read must not open the door. */
	return hth_store_key_count(keys->store, &n, NULL) != HTH_OK || n > 0;
}

static bool begins(const char *path, const char *with) { return strncmp(path, with, strlen(with)) == 0; }

/* What a call needs. Listing models is anybody's who has a key at all: 0. */
static unsigned scope_of(const char *method, const char *path)
{
	static const char *const admin[] = {"/hearth/", "/metrics", "/api/pull", "/api/push", "/api/delete", "/api/copy", "/api/create",
	                                    "/api/blobs"};
	static const char *const embed[] = {"/v1/embeddings", "/api/embed"};
	if (strcmp(path, "/hearth/fetch") == 0)
		return HTH_SCOPE_CHAT;
	if (strcmp(path, "/search") == 0 || begins(path, "/documents/") || begins(path, "/v1/files") || begins(path, "/v1/vector_stores"))
		return HTH_SCOPE_DOCUMENTS; /* a key to chat with does not open the family's papers */
	for (size_t i = 0; i < HTH_COUNT(admin); i++)
		if (begins(path, admin[i]))
			return HTH_SCOPE_ADMIN;
	for (size_t i = 0; i < HTH_COUNT(embed); i++)
		if (begins(path, embed[i]))
			return HTH_SCOPE_EMBED;
	return strcmp(method, "POST") == 0 && strcmp(path, "/api/show") != 0 ? HTH_SCOPE_CHAT : strcmp(method, "DELETE") == 0
	    ? HTH_SCOPE_ADMIN : 0;
}

static bucket *bucket_of(hth_keys *keys, const hth_key *key)
{
	bucket *oldest = NULL;
	for (size_t i = 0; i < keys->n; i++) {
		if (keys->buckets[i].key == key->id)
			return &keys->buckets[i];
		if (oldest == NULL || keys->buckets[i].at_ms < oldest->at_ms)
			oldest = &keys->buckets[i];
	}
	if (keys->n == keys->cap && keys->cap < BUCKETS_MAX) {
		size_t cap = keys->cap > 0 ? keys->cap * 2 : 16;
		bucket *grown = realloc(keys->buckets, cap * sizeof *grown);
		if (grown != NULL) {
			keys->buckets = grown;
			keys->cap = cap;
		}
	}
	bucket *b = keys->n < keys->cap ? &keys->buckets[keys->n++] : oldest;
	if (b != NULL)
		*b = (bucket){.key = key->id, .at_ms = hth_clock_ms(), .per_minute = key->per_minute, .level = key->per_minute};
	return b;
}

/* 0: go on; else after how many seconds. */
static unsigned take(hth_keys *keys, const hth_key *key)
{
	if (key->per_minute == 0)
		return 0;
	bucket *b = bucket_of(keys, key);
	if (b == NULL)
		return 60;
	uint64_t now = hth_clock_ms();
	double per_ms = (double)key->per_minute / 60000;
	b->level = HTH_MIN((double)key->per_minute, b->level + (double)(now - b->at_ms) * per_ms);
	b->at_ms = now;
	if (b->level >= 1) {
		b->level -= 1;
		return 0;
	}
	return (unsigned)((1 - b->level) / per_ms / 1000) + 1;
}

hth_status hth_keys_check(hth_keys *keys, hth_exchange *exchange, const char *text, hth_caller *ret_caller, hth_error *err)
{
	hth_key key;
	HTH_TRY(hth_store_key_find(keys->store, text, &key, err));
	unsigned needs = scope_of(hth_exchange_method(exchange), hth_exchange_path(exchange));
	if ((key.scopes & needs) != needs)
		return hth_fail(err, HTH_DENIED, "the key '%s' may not do this: it has not the scope '%s'", key.name,
		                needs == HTH_SCOPE_ADMIN ? "admin" : needs == HTH_SCOPE_EMBED ? "embed" : needs == HTH_SCOPE_DOCUMENTS
		                ? "documents" : "chat");
	ret_caller->documents = (key.scopes & HTH_SCOPE_DOCUMENTS) != 0;
	ret_caller->context = key.context && ret_caller->documents;
	ret_caller->retry_s = take(keys, &key);
	if (ret_caller->retry_s > 0)
		return hth_fail(err, HTH_BUSY, "the key '%s' may ask %u times a minute, and has; it may again in %u s", key.name,
		                key.per_minute, ret_caller->retry_s);
	ret_caller->has_key = true;
	ret_caller->privacy = key.privacy >= HTH_PRIVATE && key.privacy <= HTH_PUBLIC ? (hth_privacy_class)key.privacy : HTH_PRIVATE;
	return HTH_OK;
}

void hth_keys_refuse(hth_exchange *exchange, const hth_api_endpoint *endpoint, const hth_caller *caller, const hth_error *error)
{
	if (caller->retry_s == 0) {
		hth_pages_error(exchange, endpoint, error);
		return;
	}
	char seconds[16];
	HTH_CLEANUP(hth_buf_finish) hth_buf body = HTH_BUF_INIT(64 << 10);
	snprintf(seconds, sizeof seconds, "%u", caller->retry_s);
	hth_exchange_add_header(exchange, "Retry-After", seconds);
	if (endpoint != NULL && endpoint->write_error != NULL) {
		endpoint->write_error(&body, 429, "rate_limit_error", "rate_limit_exceeded", error);
	} else {
		hth_buf_append_str(&body, "{\"error\":{\"message\":");
		hth_json_write_string(error->message, strlen(error->message), &body);
		hth_buf_append_str(&body, ",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}");
	}
	hth_exchange_reply(exchange, 429, "application/json", body.data != NULL ? body.data : "", body.len);
}
