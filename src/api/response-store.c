/* response-store.c - see response-store.h. A list in order of use; a few hundred entries need no more. Thread: the loop's. */
#include "api/response-store.h"

#include "base/clock.h"
#include "base/mem.h"

enum { ENTRIES_MAX = 512, KEPT_MS = 24 * 3600 * 1000 };
static const size_t bytes_max = (size_t)64 << 20;

typedef struct entry {
	char *id, *messages, *response;
	size_t bytes;
	uint64_t used_ms;
	struct entry *next; /* less recently used */
} entry;

struct hth_response_store {
	entry *first;
	size_t n, bytes;
};

static void wipe(char *s)
{
	if (s != NULL)
		explicit_bzero(s, strlen(s));
	free(s);
}

static void free_entry(entry *e)
{
	wipe(e->messages);
	wipe(e->response);
	free(e->id);
	free(e);
}

hth_status hth_response_store_create(hth_response_store **ret_store, hth_error *err)
{
	*ret_store = calloc(1, sizeof **ret_store);
	return *ret_store != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for the conversations");
}

void hth_response_store_destroy(hth_response_store *store)
{
	if (store == NULL)
		return;
	while (store->first != NULL) {
		entry *e = store->first;
		store->first = e->next;
		free_entry(e);
	}
	free(store);
}

/* Takes the entry out of the list. */
static entry *take(hth_response_store *store, const char *id)
{
	for (entry **at = &store->first; *at != NULL; at = &(*at)->next) {
		entry *e = *at;
		if (strcmp(e->id, id) == 0) {
			*at = e->next;
			store->n--;
			store->bytes -= e->bytes;
			return e;
		}
	}
	return NULL;
}

static void put_first(hth_response_store *store, entry *e)
{
	e->used_ms = hth_clock_ms();
	e->next = store->first;
	store->first = e;
	store->n++;
	store->bytes += e->bytes;
}

static void make_room(hth_response_store *store)
{
	uint64_t now = hth_clock_ms();
	size_t n = 0, bytes = 0;
	entry **at = &store->first;
	while (*at != NULL) {
		entry *e = *at;
		n++;
		bytes += e->bytes;
		if (n <= ENTRIES_MAX && bytes <= bytes_max && now - e->used_ms < KEPT_MS) {
			at = &e->next;
			continue;
		}
		/* What follows is older still. */
		while (*at != NULL) {
			entry *old = *at;
			*at = old->next;
			store->n--;
			store->bytes -= old->bytes;
			free_entry(old);
		}
		return;
	}
}

void hth_response_store_put(hth_response_store *store, const char *id, const char *messages, const char *response)
{
	size_t bytes = strlen(messages) + strlen(response);
	if (bytes > bytes_max / 4)
		return;
	hth_response_store_delete(store, id);
	entry *e = calloc(1, sizeof *e);
	if (e == NULL)
		return;
	e->bytes = bytes;
	e->id = strdup(id);
	e->messages = strdup(messages);
	e->response = strdup(response);
	if (e->id == NULL || e->messages == NULL || e->response == NULL) {
		free_entry(e);
		return;
	}
	put_first(store, e);
	make_room(store);
}

static const entry *find(hth_response_store *store, const char *id)
{
	make_room(store);
	entry *e = take(store, id);
	if (e != NULL)
		put_first(store, e);
	return e;
}

const char *hth_response_store_messages(hth_response_store *store, const char *id)
{
	const entry *e = find(store, id);
	return e != NULL ? e->messages : NULL;
}

const char *hth_response_store_response(hth_response_store *store, const char *id)
{
	const entry *e = find(store, id);
	return e != NULL ? e->response : NULL;
}

bool hth_response_store_delete(hth_response_store *store, const char *id)
{
	entry *e = take(store, id);
	if (e == NULL)
		return false;
	free_entry(e);
	return true;
}
