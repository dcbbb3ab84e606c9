/* read-in.c - see read-in.h. A token needs nearly all weights, so reading them in order before the first one costs no
 * more than reading them as it goes, which is in pieces of a page, and makes "loaded" mean what it says. Thread: the
 * runner's main, before it is ready. */
#include "runner/read-in.h"

#include "base/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

enum { STEP = 16 << 20, SHARED_MIN = 64 << 20 /* bytes for which waking workers pays */ };

/* Older kernels: one byte of each page, after asking for all of them. */
static void touch(const unsigned char *from, size_t len, size_t page)
{
	(void)madvise((void *)(uintptr_t)from, len, MADV_WILLNEED);
	for (size_t i = 0; i < len; i += page)
		(void)*(const volatile unsigned char *)(from + i);
}

/* One tensor's part of at most STEP bytes: brought in, mapped. False: the disk cannot read it. */
static bool bring(const unsigned char *at, size_t len, size_t page, atomic_bool *populate)
{
	size_t before = (size_t)((uintptr_t)at % page);
	if (atomic_load(populate) && madvise((void *)(uintptr_t)(at - before), len + before, MADV_POPULATE_READ) == 0)
		return true;
	if (atomic_load(populate) && (errno == EFAULT || errno == EIO))
		return false;
	atomic_store(populate, false);
	touch(at - before, len + before, page);
	return true;
}

/* Whether one page of each MiB is in the page cache, and then most likely all. Where the kernel will not tell, it says
 * so too. */
static bool looks_cached(const hth_gguf *gguf, size_t page)
{
	for (size_t i = 0; i < hth_gguf_tensor_count(gguf); i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		for (size_t at = 0; t->data != NULL && at < t->n_bytes; at += 1 << 20) {
			uintptr_t address = (uintptr_t)t->data + at;
			unsigned char there = 0;
			if (mincore((void *)(address - address % page), page, &there) != 0 || !(there & 1))
				return false;
		}
	}
	return true;
}

typedef struct reading {
	const hth_gguf *gguf;
	size_t page;
	atomic_bool populate, failed;
} reading;

static void bring_tensor(void *ctx, size_t task, unsigned worker)
{
	(void)worker;
	reading *r = ctx;
	const hth_gguf_tensor *t = hth_gguf_tensor_at(r->gguf, task);
	if (t->data != NULL && !bring(t->data, t->n_bytes, r->page, &r->populate))
		atomic_store(&r->failed, true);
}

hth_status hth_read_in(const hth_gguf *gguf, hth_threads *threads,
                       void (*progress)(void *ctx, uint64_t done, uint64_t all), void *ctx, hth_error *err)
{
	size_t n = hth_gguf_tensor_count(gguf);
	reading r = {.gguf = gguf, .page = (size_t)sysconf(_SC_PAGESIZE), .populate = true};
	uint64_t all = 0, done = 0, told = 0;
	for (size_t i = 0; i < n; i++)
		all += hth_gguf_tensor_at(gguf, i)->n_bytes;
	bool cached = all >= SHARED_MIN && looks_cached(gguf, r.page);
	if (cached) /* then it is the processors' work: 0.1 ms for each MiB's pages */
		hth_threads_run(threads, n, bring_tensor, &r);
	for (size_t i = 0; i < n && !cached && !atomic_load(&r.failed); i++) {
		const hth_gguf_tensor *t = hth_gguf_tensor_at(gguf, i);
		const unsigned char *at = t->data, *end = at + t->n_bytes;
		while (at != NULL && at < end && !atomic_load(&r.failed)) {
			size_t part = HTH_MIN((size_t)(end - at), (size_t)STEP);
			if (!bring(at, part, r.page, &r.populate))
				atomic_store(&r.failed, true);
			at += part;
			done += part;
			if (done - told >= all / 100) {
				told = done;
				progress(ctx, done, all);
			}
		}
	}
	if (atomic_load(&r.failed))
		return hth_fail(err, HTH_IO, "the disk cannot read the weights");
	return HTH_OK;
}
