/* threads.c - the worker pool: who joins a run, who claims a task, who sleeps.
 *
 * One word says everything about the current run: `state` = generation << 32 | open bit | workers inside. A worker joins
 * an open run by adding one to it and leaves by subtracting one; the caller closes the run when every task has been
 * claimed and then waits only for those inside. A worker whose core is busy with something else simply misses the run:
 * nobody waits for it.
 *
 * Each worker starts with a contiguous part of the tasks and goes through it from the front; one that has nothing left
 * takes the back half of what another still has, so that cores of different speed share the work by themselves. Parts are
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
#include <stdio.h>
#include <unistd.h>

enum {
	THREADS_MAX = 512,
	SPIN_WORKER_NS = 60 * 1000, /* between two runs of one forward pass there are a few microseconds */
	SPIN_CALLER_NS = 30 * 1000, /* the longest that a worker takes to finish its last task is about one task */
	RANGE_MAX = 16, /* tasks: what a worker whose core is taken away keeps from the others */
	WORKER_STACK = 512 * 1024,
};
#define STATE_OPEN (1ull << 31)
#define STATE_INSIDE (STATE_OPEN - 1)
#define STATE_GENERATION(state) ((uint32_t)((state) >> 32))

typedef struct pool_worker {
	/* Tasks that this worker has and has not begun: first | end << 32. Its owner takes from the front, others from the
	 * back; either is one compare-and-swap of the whole, so that a task is taken once. */
	_Alignas(64) _Atomic uint64_t part;
	hth_threads *pool;
	unsigned index;
	pthread_t thread;
} pool_worker;

struct hth_threads {
	unsigned count;
	unsigned started;
	char *scratch; /* count * HTH_THREADS_SCRATCH bytes, touched only when used */
	pool_worker *workers;

	/* The run: written by the caller while the state is closed and nobody is inside. */
	hth_range_fn *fn;
	void *ctx;
	size_t at_once; /* the most tasks that a worker takes of its part */

	_Alignas(64) _Atomic uint64_t state;

	_Alignas(64) pthread_mutex_t mutex;
	pthread_cond_t wake; /* workers: there is a new generation, or quit */
	pthread_cond_t done; /* the caller: nobody is inside any more */
	atomic_uint sleepers; /* workers inside pthread_cond_wait, or about to be */
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

/* Takes the first tasks of a part (its owner: half of what is there, but not more than `most`), or the back half (a thief). */
static bool take(_Atomic uint64_t *part, bool from_front, uint64_t most, uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t seen = atomic_load_explicit(part, memory_order_relaxed);
	for (;;) {
		uint64_t first = (uint32_t)seen, end = seen >> 32;
		if (first >= end)
			return false;
		uint64_t cut = from_front ? first + HTH_MIN((end - first + 1) / 2, most) : first + (end - first) / 2;
		uint64_t left = from_front ? part_of(cut, end) : part_of(first, cut);
		if (!atomic_compare_exchange_weak_explicit(part, &seen, left, memory_order_relaxed, memory_order_relaxed))
			continue;
		*ret_first = from_front ? first : cut;
		*ret_end = from_front ? cut : end;
		return true;
	}
}

static bool steal(hth_threads *pool, unsigned worker)
{
	for (unsigned i = 1; i < pool->count; i++) {
		uint64_t first, end;
		if (!take(&pool->workers[(worker + i) % pool->count].part, false, 0, &first, &end))
			continue;
		atomic_store_explicit(&pool->workers[worker].part, part_of(first, end), memory_order_relaxed);
		return true;
	}
	return false;
}

static void work(hth_threads *pool, unsigned worker)
{
	do {
		uint64_t first, end;
		while (take(&pool->workers[worker].part, true, pool->at_once, &first, &end))
			pool->fn(pool->ctx, first, end, worker);
	} while (steal(pool, worker));
}

/* Joins the open run, unless it is the one this worker has already been in. */
static bool join_run(hth_threads *pool, uint32_t *last)
{
	uint64_t state = atomic_load_explicit(&pool->state, memory_order_acquire);
	while ((state & STATE_OPEN) && STATE_GENERATION(state) != *last) {
		if (atomic_compare_exchange_weak_explicit(&pool->state, &state, state + 1, memory_order_acquire,
		                                          memory_order_acquire)) {
			*last = STATE_GENERATION(state);
			return true;
		}
	}
	return false;
}

static void leave_run(hth_threads *pool)
{
	uint64_t before = atomic_fetch_sub_explicit(&pool->state, 1, memory_order_seq_cst);
	if ((before & STATE_INSIDE) == 1 && atomic_load_explicit(&pool->caller_waits, memory_order_seq_cst)) {
		pthread_mutex_lock(&pool->mutex);
		pthread_cond_signal(&pool->done);
		pthread_mutex_unlock(&pool->mutex);
	}
}

static bool run_is_open(hth_threads *pool, uint32_t last, int order)
{
	uint64_t state = atomic_load_explicit(&pool->state, order);
	return (state & STATE_OPEN) && STATE_GENERATION(state) != last;
}

static void *worker_main(void *arg)
{
	pool_worker *self = arg;
	hth_threads *pool = self->pool;
	uint32_t last = 0;
	while (!atomic_load_explicit(&pool->quit, memory_order_acquire)) {
		if (join_run(pool, &last)) {
			work(pool, self->index);
			leave_run(pool);
			continue;
		}
		uint64_t until = hth_clock_ns() + SPIN_WORKER_NS;
		bool open = false;
		do {
			for (int i = 0; i < 64 && !open; i++) {
				open = run_is_open(pool, last, memory_order_relaxed);
				spin_pause();
			}
		} while (!open && !atomic_load_explicit(&pool->quit, memory_order_relaxed) && hth_clock_ns() < until);
		if (open)
			continue;
		pthread_mutex_lock(&pool->mutex);
		/* Announced before the last look at the state; the caller opens before it looks for sleepers. */
		atomic_fetch_add(&pool->sleepers, 1);
		while (!run_is_open(pool, last, memory_order_seq_cst) && !atomic_load(&pool->quit))
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
		return n > 0 ? (unsigned)HTH_MIN(n, THREADS_MAX) : 1;
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
	return HTH_MIN(HTH_MAX(n, 1u), (unsigned)THREADS_MAX);
}

hth_status hth_threads_create(hth_threads **ret_threads, unsigned n, hth_error *err)
{
	if (n == 0)
		n = count_cores();
	if (n > THREADS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "%u threads asked for, the most is %d", n, THREADS_MAX);
	hth_threads *pool = aligned_alloc(64, hth_round_up(sizeof *pool, 64));
	if (pool == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a pool of %u threads", n);
	memset(pool, 0, sizeof *pool);
	pool->count = n;
	pool->workers = aligned_alloc(64, n * sizeof *pool->workers);
	pool->scratch = aligned_alloc(64, (size_t)n * HTH_THREADS_SCRATCH);
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->done, NULL);
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
	pthread_cond_destroy(&threads->done);
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

static bool nobody_inside(hth_threads *pool, int order)
{
	return (atomic_load_explicit(&pool->state, order) & STATE_INSIDE) == 0;
}

static void wait_for_those_inside(hth_threads *pool)
{
	uint64_t until = 0;
	while (!nobody_inside(pool, memory_order_acquire)) {
		for (int i = 0; i < 64; i++) {
			if (nobody_inside(pool, memory_order_acquire))
				return;
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
		while (!nobody_inside(pool, memory_order_seq_cst))
			pthread_cond_wait(&pool->done, &pool->mutex);
		atomic_store(&pool->caller_waits, false);
		pthread_mutex_unlock(&pool->mutex);
	}
}

static void run(hth_threads *threads, size_t n_tasks, hth_range_fn *fn, void *ctx, size_t at_once)
{
	if (threads->count == 1 || n_tasks <= 1 || n_tasks > UINT32_MAX) {
		if (n_tasks > 0)
			fn(ctx, 0, n_tasks, 0);
		return;
	}
	threads->fn = fn;
	threads->at_once = at_once;
	threads->ctx = ctx;
	for (unsigned i = 0; i < threads->count; i++)
		atomic_store_explicit(&threads->workers[i].part, part_of(n_tasks * i / threads->count, n_tasks * (i + 1) / threads->count),
		                      memory_order_relaxed);
	uint32_t generation = STATE_GENERATION(atomic_load_explicit(&threads->state, memory_order_relaxed)) + 1;
	if (generation == 0)
		generation = 1; /* workers start with 0 as the last one they have seen */
	atomic_store(&threads->state, (uint64_t)generation << 32 | STATE_OPEN);
	if (atomic_load(&threads->sleepers) > 0) {
		pthread_mutex_lock(&threads->mutex);
		pthread_cond_broadcast(&threads->wake);
		pthread_mutex_unlock(&threads->mutex);
	}
	work(threads, 0);
	atomic_fetch_and_explicit(&threads->state, ~STATE_OPEN, memory_order_acq_rel);
	wait_for_those_inside(threads);
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
