/* binding-cache.h - grammars made for earlier requests. A client in a loop of tool calls sends the same tools with every request, and
 * reading forty schemas takes tens of milliseconds of the loop's thread. The latest few are kept, as large as a megabyte each, and wiped
 * when they go. Thread: the loop's. */
#ifndef HTH_API_BINDING_CACHE_H
#define HTH_API_BINDING_CACHE_H

#include "base/buf.h"

typedef struct hth_binding_cache hth_binding_cache;

/* What binds an answer. Strings may be NULL. */
typedef struct hth_binding {
	char *grammar, *trigger, *trigger_if;
	int format; /* hth_toolcalls_format: read the answer with it */
} hth_binding;

HTH_MUST_USE hth_status hth_binding_cache_create(hth_binding_cache **ret_cache, hth_error *err);
void hth_binding_cache_destroy(hth_binding_cache *cache); /* NULL does nothing */
/* key: everything that the binding depends on. Borrowed until the next put; NULL: not known (also for a NULL cache). */
const hth_binding *hth_binding_cache_find(hth_binding_cache *cache, const hth_buf *key);
/* Copies key and binding; does nothing where there is no memory or they are too large. */
void hth_binding_cache_put(hth_binding_cache *cache, const hth_buf *key, const hth_binding *binding);

#endif
