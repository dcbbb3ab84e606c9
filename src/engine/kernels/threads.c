/* threads.c - the worker pool: who takes a task, who has done one, who sleeps.
 *
 * Each worker has a cache line of its own, and it says all of a run: the tasks that it has and has not begun (`part`), what they are (fn,
 * ctx), and how many it has done in all runs (`done`). A second line, read while it waits, is what it reads next. The caller opens a run by
 * writing every worker's line, works itself, and waits until as many tasks are done as it has given out. Nobody joins or leaves: who has
 * taken a task is inside until it is done, since the run cannot end before; so what a task is may be read once one has been taken, and not
 * earlier. A worker whose core is busy with something else simply finds its part taken by others: nobody waits for it.
 *
 * One line, because between cores that share no cache each line that another has written takes a quarter of a microsecond to come over,
 * and a forward pass has a hundred runs. (With one word for who is inside, joined and left by atomic additions, and the run's description
 * elsewhere, a worker had twice as many such ways to its first product: decode of the 1.1 B shape ran at 0.877 of the read bandwidth
 * where with this it ran at 0.893, in turns, docs/kernels.md.)
 *
 * Each worker starts with a contiguous part of the tasks and goes through it from the front; one that has nothing left
 * takes from the back of another's part, so that cores of different speed share the work by themselves. Parts are
 * contiguous because neighbouring tasks read neighbouring memory: what a processor prefetches past the end of a task is
 * then its own next one. (Claimed in turns from one counter, 64 KiB at a time, two Zen 5 cores read 41 GB/s where they now
 * read 50: an eighth of the memory was fetched by both.) In a run of ranges a worker takes half of what its part still has,
 * up to RANGE_MAX tasks: large pieces are read at full speed, small ones let all end together.
 *
 * Waiting is spinning for a short while, then a condition variable; no worker wakes while there is nothing to do.
 */
#include "engine/kernels/threads.h"
#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

enum {
	SPIN_WORKER_NS = 60 * 1000, /* between two runs of one forward pass there are a few microseconds */
	SPIN_CALLER_NS = 30 * 1000, /* the longest that a worker takes to finish its last task is about one task */
	RUN_BYTES = 512, /* of a run's description, asked for as a worker begins */
	RANGE_MAX = 16, /* tasks: what a worker whose core is taken away keeps from the others */
	WORKER_STACK = 512 * 1024,
};

typedef struct pool_worker {
	/* Tasks that this worker has and has not begun: first | end << 32. Its owner takes from the front, others from the
	 * back; either is one compare-and-swap of the whole, so that a task is taken once. */
	_Alignas(64) _Atomic uint64_t part;
	_Atomic uint64_t done; /* tasks, since the pool was made; written by this worker alone */
	/* The run: written by the caller between two of them, read by who has taken a task. */
	hth_range_fn *fn;
	void *ctx;
	_Atomic uint32_t at_once; /* the most tasks that a worker takes together */
	unsigned index;
	hth_threads *pool;
	pthread_t thread;
	/* What it reads next, most likely; the first without bytes is the end. In a line of its own, read while waiting only. */
	_Alignas(64) struct {
		_Atomic(const char *) at;
		_Atomic size_t bytes;
	} next[HTH_THREADS_EXTENTS];
} pool_worker;
_Static_assert(offsetof(pool_worker, next) == 64 && sizeof(pool_worker) == 128, "two cache lines");

struct hth_threads {
	unsigned count;
	unsigned started;
	char *scratch; /* count * HTH_THREADS_SCRATCH bytes, touched only when used */
	pool_worker *workers;
	uint64_t given; /* tasks, since the pool was made */

	_Alignas(64) atomic_uint runs; /* opened, for those asleep: they wake when it has changed */
	pthread_mutex_t mutex;
	pthread_cond_t wake; /* workers: a run has been opened, or quit */
	pthread_cond_t finished; /* the caller: a task is done */
	_Alignas(64) atomic_uint sleepers; /* workers inside pthread_cond_wait, or about to be */
	atomic_bool caller_waits;
	atomic_bool quit;
};

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline uint64_t part_of(uint64_t first, uint64_t end) { return end << 32 | first; }

/* Takes half of what a part still has, but not more than a worker of this run takes together: the first ones (of its own part) or the last
 * (of another's). What the caller wrote before it opened the run is visible then. */
static bool take(pool_worker *self, pool_worker *of, uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t seen = atomic_load_explicit(&of->part, memory_order_acquire);
	for (;;) {
		uint64_t first = (uint32_t)seen, end = seen >> 32;
		if (first >= end)
			return false;
		/* Read after the part, so that it is of that run; if the part is of a later one by now, so is this, or the exchange
		 * fails. */
		uint64_t n = HTH_MIN((end - first + 1) / 2, atomic_load_explicit(&self->at_once, memory_order_relaxed));
		uint64_t left = of == self ? part_of(first + n, end) : part_of(first, end - n);
		if (!atomic_compare_exchange_weak_explicit(&of->part, &seen, left, memory_order_acquire, memory_order_acquire))
			continue;
		*ret_first = of == self ? first : end - n;
		*ret_end = *ret_first + n;
		return true;
	}
}

static bool has_tasks(const pool_worker *w, int order)
{
	uint64_t part = atomic_load_explicit(&w->part, order);
	return (uint32_t)part < part >> 32;
}

/* What a task reads first, most likely: the run's description, which the caller has just written. */
static void ask_for(const char *ctx)
{
	for (size_t at = 0; at < RUN_BYTES; at += 64)
		__builtin_prefetch(ctx + at);
}

/* The next tasks of this worker's: of its own part, or of another's. */
static bool next_tasks(pool_worker *self, uint64_t *ret_first, uint64_t *ret_end)
{
	const hth_threads *pool = self->pool;
	bool found = false;
	for (unsigned i = 0; i < pool->count && !found; i++)
		found = take(self, &pool->workers[(self->index + i) % pool->count], ret_first, ret_end);
	return found;
}

static void work(pool_worker *self)
{
	hth_threads *pool = self->pool;
	uint64_t done = atomic_load_explicit(&self->done, memory_order_relaxed), first, end;
	for (bool began = false; next_tasks(self, &first, &end); began = true) {
		if (!began && self->index != 0)
			ask_for(self->ctx);
		self->fn(self->ctx, first, end, self->index);
		done += end - first;
		atomic_store(&self->done, done);
		if (self->index != 0 && atomic_load(&pool->caller_waits)) {
			pthread_mutex_lock(&pool->mutex);
			pthread_cond_signal(&pool->finished);
			pthread_mutex_unlock(&pool->mutex);
		}
	}
}

/* How far a worker has come in asking for what it reads next. */
typedef struct asked {
	size_t all, extent, bytes; /* bytes of all extents, and of this one */
} asked;

/* Asks for the next four lines; false: there are no more. */
static bool ask_for_next(const pool_worker *self, asked *a)
{
	if (a->all >= HTH_THREADS_AHEAD || a->extent >= HTH_THREADS_EXTENTS)
		return false;
	const char *at = atomic_load_explicit(&self->next[a->extent].at, memory_order_relaxed);
	size_t bytes = atomic_load_explicit(&self->next[a->extent].bytes, memory_order_relaxed);
	if (bytes == 0)
		return false;
	for (size_t end = a->bytes + 256; a->bytes < end; a->bytes += 64)
		__builtin_prefetch(at + a->bytes, 0, 2);
	a->all += 256;
	if (a->bytes >= bytes) {
		a->extent++;
		a->bytes = 0;
	}
	return true;
}

static void *worker_main(void *arg)
{
	pool_worker *self = arg;
	hth_threads *pool = self->pool;
	while (!atomic_load_explicit(&pool->quit, memory_order_acquire)) {
		work(self);
		uint64_t until = hth_clock_ns() + SPIN_WORKER_NS;
		asked so_far = {0};
		bool open = false;
		do {
			for (int i = 0; i < 64 && !open; i++) {
				open = has_tasks(self, memory_order_relaxed);
				if (!open && !ask_for_next(self, &so_far))
					spin_pause();
			}
		} while (!open && !atomic_load_explicit(&pool->quit, memory_order_relaxed) && hth_clock_ns() < until);
		if (open)
			continue;
		pthread_mutex_lock(&pool->mutex);
		/* Announced before the last look; the caller opens before it looks for sleepers. */
		atomic_fetch_add(&pool->sleepers, 1);
		unsigned runs = atomic_load(&pool->runs);
		while (!has_tasks(self, memory_order_seq_cst) && atomic_load(&pool->runs) == runs && !atomic_load(&pool->quit))
			pthread_cond_wait(&pool->wake, &pool->mutex);
		atomic_fetch_sub(&pool->sleepers, 1);
		pthread_mutex_unlock(&pool->mutex);
	}
	return NULL;
}

/* The processors that this process may use: those of its affinity mask, one per core (a second hyperthread of a core
 * adds nothing to kernels that fill the multipliers), and no more than a control group's quota. */
static unsigned count_cores(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof set, &set) != 0) {
		long n = sysconf(_SC_NPROCESSORS_ONLN);
		return n > 0 ? (unsigned)HTH_MIN(n, HTH_THREADS_MAX) : 1;
	}
	unsigned n = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		char path[96];
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		int first = cpu;
		FILE *f = fopen(path, "re");
		if (f != NULL) {
			if (fscanf(f, "%d", &first) != 1)
				first = cpu;
			fclose(f);
		}
		bool counted = first != cpu && first >= 0 && first < CPU_SETSIZE && CPU_ISSET(first, &set);
		n += !counted;
	}
	FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
	if (f != NULL) {
		unsigned long quota, period;
		if (fscanf(f, "%lu %lu", &quota, &period) == 2 && period > 0)
			n = (unsigned)HTH_MIN(n, HTH_MAX(1, (quota + period - 1) / period));
		fclose(f);
	}
	return HTH_MIN(HTH_MAX(n, 1u), (unsigned)HTH_THREADS_MAX);
}

hth_status hth_threads_create(hth_threads **ret_threads, unsigned n, hth_error *err)
{
	if (n == 0)
		n = count_cores();
	if (n > HTH_THREADS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "%u threads asked for, the most is %d", n, HTH_THREADS_MAX);
	hth_threads *pool = aligned_alloc(64, hth_round_up(sizeof *pool, 64));
	if (pool == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a pool of %u threads", n);
	memset(pool, 0, sizeof *pool);
	pool->count = n;
	pool->workers = aligned_alloc(64, n * sizeof *pool->workers);
	pool->scratch = hth_alloc_large((size_t)n * HTH_THREADS_SCRATCH);
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->finished, NULL);
	if (pool->workers == NULL || pool->scratch == NULL) {
		hth_threads_destroy(pool);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a pool of %u threads", n);
	}
	for (unsigned i = 0; i < n; i++)
		pool->workers[i] = (pool_worker){.pool = pool, .index = i};
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	for (unsigned i = 1; i < n; i++) {
		int rc = pthread_create(&pool->workers[i].thread, &attr, worker_main, &pool->workers[i]);
		if (rc != 0) {
			pthread_attr_destroy(&attr);
			hth_threads_destroy(pool);
			return hth_fail_errno(err, HTH_NO_MEMORY, rc, "cannot start worker thread %u of %u", i + 1, n);
		}
		pool->started = i;
	}
	pthread_attr_destroy(&attr);
	*ret_threads = pool;
	return HTH_OK;
}

void hth_threads_destroy(hth_threads *threads)
{
	if (threads == NULL)
		return;
	atomic_store(&threads->quit, true);
	pthread_mutex_lock(&threads->mutex);
	pthread_cond_broadcast(&threads->wake);
	pthread_mutex_unlock(&threads->mutex);
	for (unsigned i = 1; i <= threads->started; i++)
		pthread_join(threads->workers[i].thread, NULL);
	pthread_cond_destroy(&threads->finished);
	pthread_cond_destroy(&threads->wake);
	pthread_mutex_destroy(&threads->mutex);
	free(threads->workers);
	free(threads->scratch);
	free(threads);
}

unsigned hth_threads_count(const hth_threads *threads) { return threads->count; }

void *hth_threads_scratch(hth_threads *threads, unsigned worker)
{
	return threads->scratch + (size_t)worker * HTH_THREADS_SCRATCH;
}

void hth_threads_expect(hth_threads *threads, unsigned worker, const hth_extent *extents, size_t n)
{
	pool_worker *w = &threads->workers[worker];
	for (size_t i = 0; i < HTH_THREADS_EXTENTS; i++) {
		atomic_store_explicit(&w->next[i].at, i < n ? extents[i].at : NULL, memory_order_relaxed);
		atomic_store_explicit(&w->next[i].bytes, i < n ? extents[i].bytes : 0, memory_order_relaxed);
	}
}

static bool all_done(const hth_threads *pool, int order)
{
	uint64_t done = 0;
	for (unsigned i = 0; i < pool->count; i++)
		done += atomic_load_explicit(&pool->workers[i].done, order);
	return done == pool->given;
}

static void wait_until_done(hth_threads *pool)
{
	uint64_t until = 0;
	asked so_far = {0};
	while (!all_done(pool, memory_order_acquire)) {
		for (int i = 0; i < 64; i++) {
			if (all_done(pool, memory_order_acquire))
				return;
			if (!ask_for_next(&pool->workers[0], &so_far))
				spin_pause();
		}
		uint64_t now = hth_clock_ns();
		if (until == 0)
			until = now + SPIN_CALLER_NS;
		if (now < until)
			continue;
		/* A worker's core is busy with something else: give it ours. */
		pthread_mutex_lock(&pool->mutex);
		atomic_store(&pool->caller_waits, true);
		while (!all_done(pool, memory_order_seq_cst))
			pthread_cond_wait(&pool->finished, &pool->mutex);
		atomic_store(&pool->caller_waits, false);
		pthread_mutex_unlock(&pool->mutex);
	}
}

static void run(hth_threads *threads, size_t n_tasks, hth_range_fn *fn, void *ctx, size_t at_once)
{
	unsigned count = threads->count;
	if (count == 1 || n_tasks <= 1 || n_tasks > UINT32_MAX) {
		if (n_tasks > 0)
			fn(ctx, 0, n_tasks, 0);
		return;
	}
	threads->given += n_tasks;
	/* All of them before any part: who steals reads of its own line what to do. */
	for (unsigned i = 0; i < count; i++) {
		pool_worker *w = &threads->workers[i];
		w->fn = fn;
		w->ctx = ctx;
		atomic_store_explicit(&w->at_once, (uint32_t)at_once, memory_order_relaxed);
	}
	for (unsigned i = count; i-- > 0;)
		atomic_store_explicit(&threads->workers[i].part, part_of(n_tasks * i / count, n_tasks * (i + 1) / count),
		                      memory_order_release);
	atomic_fetch_add(&threads->runs, 1);
	if (atomic_load(&threads->sleepers) > 0) {
		pthread_mutex_lock(&threads->mutex);
		pthread_cond_broadcast(&threads->wake);
		pthread_mutex_unlock(&threads->mutex);
	}
	work(&threads->workers[0]);
	wait_until_done(threads);
}

typedef struct one_by_one {
	void (*fn)(void *ctx, size_t task, unsigned worker);
	void *ctx;
} one_by_one;

static void each_task(void *ctx, size_t first, size_t end, unsigned worker)
{
	const one_by_one *of = ctx;
	for (size_t i = first; i < end; i++)
		of->fn(of->ctx, i, worker);
}

void hth_threads_run(hth_threads *threads, size_t n_tasks, void (*fn)(void *ctx, size_t task, unsigned worker), void *ctx)
{
	run(threads, n_tasks, each_task, &(one_by_one){fn, ctx}, 1);
}

void hth_threads_run_ranges(hth_threads *threads, size_t n_tasks, hth_range_fn *fn, void *ctx)
{
	run(threads, n_tasks, fn, ctx, RANGE_MAX);
}
