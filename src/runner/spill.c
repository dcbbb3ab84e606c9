/* spill.c - see spill.h. Owns the index: which slot of the file holds which page. A page that cannot be read or written is
 * forgotten, and computed again. Thread: the scheduler's. */
#include "runner/spill.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOTS_MAX = 1 << 20, NONE = -1 };

typedef struct slot {
	uint64_t serial;  /* of the page in it; 0: empty */
	uint64_t before;  /* serial of the page before it; 0: it is a text's first */
	int32_t before_slot;
	int32_t chain;    /* next slot of the same hash bucket */
	int32_t newer, older;
	int32_t tokens[HTH_SPILL_PAGE];
} slot;

struct hth_spill {
	int fd;
	size_t page_bytes;
	slot *slots;
	int32_t n, newest, oldest;
	int32_t *buckets; /* n_buckets, a power of two */
	uint32_t n_buckets;
	uint64_t serial;
};

hth_status hth_spill_create(hth_spill **ret_spill, int fd, uint64_t bytes, size_t page_bytes, hth_error *err)
{
	uint64_t n = HTH_MIN(bytes / page_bytes, (uint64_t)SLOTS_MAX);
	if (n == 0)
		return hth_fail(err, HTH_TOO_LARGE, "%d tokens of this model take %zu bytes, and `spill` is %llu", HTH_SPILL_PAGE,
		                page_bytes, (unsigned long long)bytes);
	uint32_t n_buckets = 16;
	while (n_buckets < n)
		n_buckets *= 2;
	hth_spill *s = calloc(1, sizeof *s);
	slot *slots = hth_alloc_array(n, sizeof *slots);
	int32_t *buckets = hth_alloc_array(n_buckets, sizeof *buckets);
	if (s == NULL || slots == NULL || buckets == NULL) {
		free(s);
		free(slots);
		free(buckets);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to look after %llu pages on disk", (unsigned long long)n);
	}
	*s = (hth_spill){.fd = fd, .page_bytes = page_bytes, .slots = slots, .n = (int32_t)n, .buckets = buckets, .n_buckets = n_buckets};
	for (uint32_t i = 0; i < n_buckets; i++)
		buckets[i] = NONE;
	/* Empty slots are the oldest, the first of them first: the file grows from its beginning. */
	for (int32_t i = 0; i < s->n; i++)
		slots[i] = (slot){.newer = i + 1 < s->n ? i + 1 : NONE, .older = i > 0 ? i - 1 : NONE};
	s->oldest = 0;
	s->newest = s->n - 1;
	*ret_spill = s;
	return HTH_OK;
}

void hth_spill_destroy(hth_spill *s)
{
	if (s == NULL)
		return;
	explicit_bzero(s->slots, (size_t)s->n * sizeof *s->slots);
	free(s->slots);
	free(s->buckets);
	free(s);
}

static int32_t *bucket_of(const hth_spill *s, uint64_t before, const int32_t *tokens)
{
	uint64_t h = before * 0x9E3779B97F4A7C15u;
	for (int i = 0; i < HTH_SPILL_PAGE; i++)
		h = (h ^ (uint32_t)tokens[i]) * 0x100000001B3u;
	return &s->buckets[(h ^ h >> 32) & (s->n_buckets - 1)];
}

static int32_t find_after(const hth_spill *s, uint64_t before, const int32_t *tokens)
{
	int32_t i = *bucket_of(s, before, tokens);
	while (i != NONE && (s->slots[i].before != before || memcmp(s->slots[i].tokens, tokens, sizeof s->slots[i].tokens) != 0))
		i = s->slots[i].chain;
	return i;
}

static void make_newest(hth_spill *s, int32_t i)
{
	slot *x = &s->slots[i];
	if (s->newest == i)
		return;
	s->slots[x->newer].older = x->older;
	if (x->older != NONE)
		s->slots[x->older].newer = x->newer;
	else
		s->oldest = x->newer;
	x->newer = NONE;
	x->older = s->newest;
	s->slots[s->newest].newer = i;
	s->newest = i;
}

/* The page and those before it were used: the first is the newest afterwards. */
static void touch(hth_spill *s, int32_t i)
{
	while (i != NONE) {
		make_newest(s, i);
		i = s->slots[i].before != 0 ? s->slots[i].before_slot : NONE;
	}
}

static void forget(hth_spill *s, int32_t i)
{
	slot *x = &s->slots[i];
	if (x->serial == 0)
		return;
	int32_t *at = bucket_of(s, x->before, x->tokens);
	while (*at != i)
		at = &s->slots[*at].chain;
	*at = x->chain;
	x->serial = 0;
	explicit_bzero(x->tokens, sizeof x->tokens);
}

uint32_t hth_spill_find(hth_spill *s, const int32_t *tokens, uint32_t n)
{
	uint32_t pages = 0;
	int32_t last = NONE;
	for (uint64_t before = 0; pages < n / HTH_SPILL_PAGE; pages++) {
		int32_t i = find_after(s, before, tokens + (size_t)pages * HTH_SPILL_PAGE);
		if (i == NONE)
			break;
		before = s->slots[last = i].serial;
	}
	touch(s, last);
	return pages;
}

static bool write_page(const hth_spill *s, int32_t i, const void *data)
{
	const char *from = data;
	for (size_t done = 0; done < s->page_bytes;) {
		ssize_t n = pwrite(s->fd, from + done, s->page_bytes - done, (off_t)((uint64_t)i * s->page_bytes + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static bool read_page(const hth_spill *s, int32_t i, void *data)
{
	char *to = data;
	for (size_t done = 0; done < s->page_bytes;) {
		ssize_t n = pread(s->fd, to + done, s->page_bytes - done, (off_t)((uint64_t)i * s->page_bytes + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

uint32_t hth_spill_put(hth_spill *s, const int32_t *tokens, uint32_t n, const void *(*page)(void *ctx, uint32_t i), void *ctx)
{
	uint32_t there = hth_spill_find(s, tokens, n), pages = n / HTH_SPILL_PAGE;
	int32_t last = NONE;
	for (uint32_t k = 0; k < pages; k++) {
		const int32_t *own = tokens + (size_t)k * HTH_SPILL_PAGE;
		uint64_t before = last != NONE ? s->slots[last].serial : 0;
		int32_t i = k < there ? find_after(s, before, own) : s->oldest;
		if (k >= there) {
			if (k >= (uint32_t)s->n) /* the file holds no chain of this length */
				break;
			forget(s, i);
			if (!write_page(s, i, page(ctx, k)))
				break;
			slot *x = &s->slots[i];
			x->serial = ++s->serial;
			x->before = before;
			x->before_slot = last;
			memcpy(x->tokens, own, sizeof x->tokens);
			int32_t *bucket = bucket_of(s, before, own);
			x->chain = *bucket;
			*bucket = i;
			make_newest(s, i);
			there = k + 1;
		}
		last = i;
	}
	touch(s, last);
	return there;
}

uint32_t hth_spill_get(hth_spill *s, const int32_t *tokens, uint32_t first, uint32_t end, void *(*page)(void *ctx, uint32_t i), void *ctx)
{
	uint64_t before = 0;
	uint32_t k = 0;
	for (; k < end; k++) {
		int32_t i = find_after(s, before, tokens + (size_t)k * HTH_SPILL_PAGE);
		if (i == NONE)
			break;
		before = s->slots[i].serial;
		if (k < first)
			continue;
		void *to = page(ctx, k);
		if (to == NULL)
			break;
		if (!read_page(s, i, to)) {
			forget(s, i);
			break;
		}
	}
	return HTH_MAX(k, first);
}
