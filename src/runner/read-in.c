/* read-in.c - see read-in.h. A token needs nearly all weights, so reading them in order before the first one costs no more than reading
 * them as it goes, which is in pieces of a page, and makes "loaded" mean what it says. Thread: the runner's main, before it is ready. */
#include "runner/read-in.h"

#include "base/mem.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

enum { STEP = 16 << 20 };

/* Older kernels: one byte of each page, after asking for all of them. */
static void touch(const unsigned char *from, size_t len, size_t page)
{
	(void)madvise((void *)(uintptr_t)from, len, MADV_WILLNEED);
	for (size_t i = 0; i < len; i += page)
		(void)*(const volatile unsigned char *)(from + i);
}

hth_status hth_read_in(const hth_gguf *gguf, void (*progress)(void *ctx, uint64_t done, uint64_t all), void *ctx, hth_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = hth_gguf_tensor_count(gguf);
	uint64_t all = 0, done = 0, told = 0;
	bool populate = true;
	for (size_t i = 0; i < n; i++)
		all += hth_gguf_tensor_at(gguf, i)->n_bytes;
	for (size_t i = 0; i < n; i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		const unsigned char *at = t->data, *end = at + t->n_bytes;
		while (at != NULL && at < end) {
			size_t part = HTH_MIN((size_t)(end - at), (size_t)STEP), before = (size_t)((uintptr_t)at % page);
			if (populate && madvise((void *)(uintptr_t)(at - before), part + before, MADV_POPULATE_READ) != 0) {
				if (errno == EFAULT || errno == EIO)
					return hth_fail_errno(err, HTH_IO, errno, "the disk cannot read the weights");
				populate = false;
			}
			if (!populate)
				touch(at - before, part + before, page);
			at += part;
			done += part;
			if (done - told >= all / 100) {
				told = done;
				progress(ctx, done, all);
			}
		}
	}
	return HTH_OK;
}
