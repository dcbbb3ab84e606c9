/* threads.h - the workers that share one computation.
 *
 * A pool is n threads counting the caller: hth_threads_run shares task numbers between the caller and n - 1 workers and
 * returns when all are done. Each goes through a contiguous part of them, and then steals from the others, so a slow core
 * does not hold the rest; a worker that comes late misses the run. Workers spin briefly between runs, then sleep: an idle pool costs no
 * CPU. One run at a time per pool; a task must not start another run on the same pool.
 */
#ifndef HTH_ENGINE_THREADS_H
#define HTH_ENGINE_THREADS_H

#include "base/status.h"

typedef struct hth_threads hth_threads;

/* Scratch memory of each worker, for tasks that need a tile of working space: 64-byte aligned, contents undefined when
 * a task starts. */
#define HTH_THREADS_SCRATCH ((size_t)512 * 1024)

enum { HTH_THREADS_MAX = 512 };

/* n = 0: one per core that this process may run on (second hyperthreads not counted, a control group's quota kept).
 * At most HTH_THREADS_MAX. Workers start here (a sandbox may forbid it later). */
HTH_MUST_USE hth_status hth_threads_create(hth_threads **ret_threads, unsigned n, hth_error *err);
void hth_threads_destroy(hth_threads *threads);
unsigned hth_threads_count(const hth_threads *threads);
/* HTH_THREADS_SCRATCH bytes of this worker's; only inside a task, only by the worker itself. */
void *hth_threads_scratch(hth_threads *threads, unsigned worker);
/* Calls fn(ctx, task, worker) for every task in [0, n_tasks), at most UINT32_MAX of them; worker in [0, count). Everything written before
 * this call is visible to tasks, and everything tasks wrote is visible after it returns. */
void hth_threads_run(hth_threads *threads, size_t n_tasks, void (*fn)(void *ctx, size_t task, unsigned worker), void *ctx);
/* The same for small tasks that are better done several neighbours at a time: fn gets them as [first, end), many while many are left, then
 * fewer, so that workers end together. */
typedef void hth_range_fn(void *ctx, size_t first, size_t end, unsigned worker);
void hth_threads_run_ranges(hth_threads *threads, size_t n_tasks, hth_range_fn *fn, void *ctx);

/* Memory that is read soon. It is only asked for, never read, so it may be gone by then. */
typedef struct hth_extent {
	const void *at;
	size_t bytes;
} hth_extent;
enum { HTH_THREADS_EXTENTS = 4, HTH_THREADS_AHEAD = 64 * 1024 };
/* Said right before a run: what a worker reads first once that is over. While it has nothing to do, it asks for these extents (at most
 * HTH_THREADS_EXTENTS) in this order, for HTH_THREADS_AHEAD bytes in all, what a core reads in 2 us. It stays so until told otherwise. */
void hth_threads_expect(hth_threads *threads, unsigned worker, const hth_extent *extents, size_t n);

#endif
