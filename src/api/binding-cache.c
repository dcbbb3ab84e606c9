/* binding-cache.c - see binding-cache.h. Compares whole keys: a few memcmp are nothing beside making a grammar. */
#include "api/binding-cache.h"

#include "base/mem.h"

#include <string.h>

enum { ENTRIES = 32, ENTRY_BYTES_MAX = 1 << 20 };

typedef struct entry {
	char *key;
	size_t key_len;
	hth_binding binding;
	uint64_t used;
} entry;

struct hth_binding_cache {
	entry entries[ENTRIES];
	uint64_t clock;
};

static void wipe(char *s, size_t len)
{
	if (s != NULL)
		explicit_bzero(s, len);
	free(s);
}

static void wipe_string(char *s) { wipe(s, s != NULL ? strlen(s) : 0); }

static void drop(entry *e)
{
	wipe(e->key, e->key_len);
	wipe_string(e->binding.grammar);
	wipe_string(e->binding.trigger);
	wipe_string(e->binding.trigger_if);
	*e = (entry){0};
}

hth_status hth_binding_cache_create(hth_binding_cache **ret_cache, hth_error *err)
{
	hth_binding_cache *cache = calloc(1, sizeof *cache);
	if (cache == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a cache of grammars");
	*ret_cache = cache;
	return HTH_OK;
}

void hth_binding_cache_destroy(hth_binding_cache *cache)
{
	if (cache == NULL)
		return;
	for (size_t i = 0; i < ENTRIES; i++)
		drop(&cache->entries[i]);
	free(cache);
}

const hth_binding *hth_binding_cache_find(hth_binding_cache *cache, const hth_buf *key)
{
	for (size_t i = 0; cache != NULL && i < ENTRIES; i++) {
		entry *e = &cache->entries[i];
		if (e->key == NULL || e->key_len != key->len || memcmp(e->key, key->data, key->len) != 0)
			continue;
		e->used = ++cache->clock;
		return &e->binding;
	}
	return NULL;
}

static bool copy(const char *s, char **ret)
{
	*ret = s != NULL ? strdup(s) : NULL;
	return s == NULL || *ret != NULL;
}

void hth_binding_cache_put(hth_binding_cache *cache, const hth_buf *key, const hth_binding *binding)
{
	size_t size = key->len + (binding->grammar != NULL ? strlen(binding->grammar) : 0);
	if (cache == NULL || key->failed || key->len == 0 || size > ENTRY_BYTES_MAX)
		return;
	entry *oldest = &cache->entries[0];
	for (size_t i = 1; i < ENTRIES; i++)
		if (cache->entries[i].used < oldest->used)
			oldest = &cache->entries[i];
	drop(oldest);
	oldest->key = malloc(key->len);
	oldest->binding.format = binding->format;
	if (oldest->key == NULL || !copy(binding->grammar, &oldest->binding.grammar) || !copy(binding->trigger, &oldest->binding.trigger) ||
	    !copy(binding->trigger_if, &oldest->binding.trigger_if)) {
		oldest->key_len = 0;
		drop(oldest);
		return;
	}
	memcpy(oldest->key, key->data, key->len);
	oldest->key_len = key->len;
	oldest->used = ++cache->clock;
}
