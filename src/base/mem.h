/* mem.h - ownership by scope, and arithmetic on sizes that cannot wrap. */
#ifndef HTH_BASE_MEM_H
#define HTH_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HTH_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HTH_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HTH_MAX(a, b) ((a) > (b) ? (a) : (b))

/* `HTH_CLEANUP(hth_free) char *s = NULL;` frees at the end of the scope; hth_steal keeps it. */
#define HTH_CLEANUP(fn) __attribute__((cleanup(fn)))
static inline void hth_free_p(void *p)
{
	void *q;
	memcpy(&q, p, sizeof q);
	free(q);
}
static inline void hth_close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
/* The descriptor, out of a variable that would close it. */
static inline int hth_take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}
#define HTH_AUTO_FREE HTH_CLEANUP(hth_free_p)
#define HTH_AUTO_CLOSE HTH_CLEANUP(hth_close_p)

/* True when the result does not fit; *ret_out is then unspecified. */
static inline bool hth_mul_overflows(uint64_t a, uint64_t b, uint64_t *ret_out)
{
	return __builtin_mul_overflow(a, b, ret_out);
}
static inline bool hth_add_overflows(uint64_t a, uint64_t b, uint64_t *ret_out)
{
	return __builtin_add_overflow(a, b, ret_out);
}

/* Allocates n * size bytes, zeroed; NULL when it wraps or there is no memory. Caller frees. */
static inline void *hth_alloc_array(size_t n, size_t size) { return calloc(n ? n : 1, size ? size : 1); }

/* n bytes for a large pool or workspace, from the start of a cache line: untouched, and in huge pages where there are any (who reads 4 KiB
 * here and 4 KiB there looks up fewer addresses). NULL: no memory. Caller frees. */
void *hth_alloc_large(size_t n);

/* Rounds n up to a multiple of a power of two. */
static inline size_t hth_round_up(size_t n, size_t to) { return (n + to - 1) & ~(to - 1); }

#endif
