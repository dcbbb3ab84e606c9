/* The pool runs every task exactly once, publishes what was written, sleeps when idle and does not wait for late workers.
 * Build with -Db_sanitize=thread to have the same tests look for races. */
#include "base/clock.h"
#include "base/mem.h"
#include "engine/kernels/threads.h"
#include "harness.h"

#include <sys/resource.h>
#include <stdatomic.h>
#include <time.h>

typedef struct counts {
	size_t n;
	unsigned *seen;    /* plain memory on purpose: a task run twice, or a result not published, is a race */
	unsigned *worker;
	unsigned count;
	atomic_uint bad;
} counts;

static void count_task(void *ctx, size_t task, unsigned worker)
{
	counts *c = ctx;
	if (task >= c->n || worker >= c->count)
		atomic_fetch_add(&c->bad, 1);
	else {
		c->seen[task]++;
		c->worker[task] = worker;
	}
}

static void count_range(void *ctx, size_t first, size_t end, unsigned worker)
{
	if (first >= end)
		atomic_fetch_add(&((counts *)ctx)->bad, 1);
	for (size_t i = first; i < end; i++)
		count_task(ctx, i, worker);
}

static void check_each_task_once(bool ranges)
{
	hth_error err = HTH_ERROR_INIT;
	unsigned sizes[] = {1, 2, 3, 8};
	for (size_t s = 0; s < HTH_COUNT(sizes); s++) {
		hth_threads *pool = NULL;
		REQUIRE_OK(hth_threads_create(&pool, sizes[s], &err));
		CHECK_INT(hth_threads_count(pool), sizes[s]);
		counts c = {.n = 1000, .count = sizes[s]};
		c.seen = calloc(c.n, sizeof *c.seen);
		c.worker = calloc(c.n, sizeof *c.worker);
		unsigned runs = 0;
		for (size_t n = 0; n < 400; n++, runs++) {
			c.n = n % 37 == 0 ? 1000 : n % 13;
			if (ranges)
				hth_threads_run_ranges(pool, c.n, count_range, &c);
			else
				hth_threads_run(pool, c.n, count_task, &c);
		}
		/* Task i ran in each run of more than i tasks. */
		unsigned expect[1000] = {0};
		for (size_t n = 0; n < runs; n++)
			for (size_t i = 0; i < (n % 37 == 0 ? 1000 : n % 13); i++)
				expect[i]++;
		CHECK(memcmp(expect, c.seen, sizeof expect) == 0);
		CHECK_INT(c.bad, 0);
		free(c.seen);
		free(c.worker);
		hth_threads_destroy(pool);
	}
}
TEST(every_task_runs_once_at_any_count) { check_each_task_once(false); }
TEST(and_in_ranges) { check_each_task_once(true); }

/* Runs so short that workers come to each one late, while the next is being opened, and take tasks of it. */
TEST(short_runs_follow_each_other)
{
	hth_error err = HTH_ERROR_INIT;
	for (unsigned count = 2; count <= 8; count += 3) {
		hth_threads *pool = NULL;
		REQUIRE_OK(hth_threads_create(&pool, count, &err));
		enum { MOST = 16, RUNS = 20000 };
		unsigned seen[MOST] = {0}, worker[MOST], expect[MOST] = {0};
		counts c = {.seen = seen, .worker = worker, .count = count};
		for (size_t i = 0; i < RUNS; i++) {
			c.n = 2 + i % (MOST - 1);
			for (size_t k = 0; k < c.n; k++)
				expect[k]++;
			if (i % 3 == 0)
				hth_threads_run(pool, c.n, count_task, &c);
			else
				hth_threads_run_ranges(pool, c.n, count_range, &c);
		}
		CHECK(memcmp(expect, seen, sizeof expect) == 0);
		CHECK_INT(c.bad, 0);
		hth_threads_destroy(pool);
	}
}

typedef struct chain {
	unsigned long *value;
	size_t n;
} chain;
static void add_neighbour(void *ctx, size_t task, unsigned worker)
{
	chain *c = ctx;
	/* Reads what the previous run wrote in another slot, writes its own in the other half. */
	c->value[c->n + task] = c->value[(task + 1) % c->n] + 1;
}
TEST(what_tasks_write_is_seen_by_the_caller_and_by_the_next_run)
{
	hth_error err = HTH_ERROR_INIT;
	hth_threads *pool = NULL;
	REQUIRE_OK(hth_threads_create(&pool, 4, &err));
	enum { N = 50, RUNS = 2000 };
	unsigned long value[2 * N] = {0};
	chain c = {value, N};
	for (int i = 0; i < RUNS; i++) {
		hth_threads_run(pool, N, add_neighbour, &c);
		memcpy(value, value + N, N * sizeof *value);
	}
	for (int i = 0; i < N; i++)
		CHECK_INT(value[i], RUNS);
	hth_threads_destroy(pool);
}

static void scratch_task(void *ctx, size_t task, unsigned worker)
{
	unsigned char *p = hth_threads_scratch(ctx, worker);
	p[0] = p[HTH_THREADS_SCRATCH - 1] = (unsigned char)task;
}
TEST(each_worker_has_its_own_aligned_scratch)
{
	hth_error err = HTH_ERROR_INIT;
	hth_threads *pool = NULL;
	REQUIRE_OK(hth_threads_create(&pool, 3, &err));
	hth_threads_run(pool, 64, scratch_task, pool);
	for (unsigned i = 0; i < 3; i++)
		CHECK((uintptr_t)hth_threads_scratch(pool, i) % 64 == 0);
	CHECK((char *)hth_threads_scratch(pool, 1) - (char *)hth_threads_scratch(pool, 0) >= (long)HTH_THREADS_SCRATCH);
	hth_threads_destroy(pool);
}

static double cpu_seconds(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
	       1e-6 * ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec);
}
static void no_work(void *ctx, size_t task, unsigned worker) {}
TEST(an_idle_pool_uses_no_cpu_and_wakes_again)
{
	hth_error err = HTH_ERROR_INIT;
	hth_threads *pool = NULL;
	REQUIRE_OK(hth_threads_create(&pool, 4, &err));
	for (int i = 0; i < 20; i++) {
		hth_threads_run(pool, 8, no_work, NULL);
		nanosleep(&(struct timespec){0, 2000000}, NULL);
	}
	double used = 1;
	for (int i = 0; i < 100 && used >= 0.05; i++) { /* it comes to rest */
		used = -cpu_seconds();
		nanosleep(&(struct timespec){0, 300000000}, NULL);
		used += cpu_seconds();
	}
	CHECK(used < 0.05);
	counts c = {.n = 100, .count = 4, .seen = calloc(100, sizeof(unsigned)), .worker = calloc(100, sizeof(unsigned))};
	hth_threads_run(pool, 100, count_task, &c);
	for (int i = 0; i < 100; i++)
		CHECK_INT(c.seen[i], 1);
	free(c.seen);
	free(c.worker);
	hth_threads_destroy(pool);
}

static void unequal_work(void *ctx, size_t task, unsigned worker)
{
	atomic_uint *by = ctx;
	/* Worker 1 plays the slow core: each of its tasks takes as long as 20 of the other's, or until there are none of the other's. */
	unsigned until = atomic_load(&by[0]) + 20, last = 0, still = 0;
	while (worker == 1 && atomic_load(&by[0]) < until && still < 100) {
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		still = atomic_load(&by[0]) == last ? still + 1 : 0;
		last = atomic_load(&by[0]);
	}
	if (worker == 0)
		nanosleep(&(struct timespec){0, 200000}, NULL);
	atomic_fetch_add(&by[worker], 1);
}
TEST(a_slow_core_does_not_hold_the_rest)
{
	hth_error err = HTH_ERROR_INIT;
	hth_threads *pool = NULL;
	REQUIRE_OK(hth_threads_create(&pool, 2, &err));
	atomic_uint by[2] = {0};
	hth_threads_run(pool, 200, unequal_work, by);
	CHECK_INT(by[0] + by[1], 200);
	CHECK(by[1] < 60); /* equal halves would be 100 each */
	hth_threads_destroy(pool);
}

/* A worker whose core is taken by something else, for as long as it takes: it holds the task that it is in and no other. */
typedef struct held_up {
	atomic_uint done, by_held;
	atomic_int held; /* 0: nobody yet, 1: one worker is stuck */
	unsigned n;
} held_up;
static void held_up_task(void *ctx, size_t task, unsigned worker)
{
	held_up *h = ctx;
	if (worker != 0 && atomic_exchange(&h->held, 1) == 0) {
		/* All the rest must get done while this one stands still: if part of it had to wait for us, this would never end. */
		for (int i = 0; i < 20000 && atomic_load(&h->done) < h->n - 1; i++)
			nanosleep(&(struct timespec){0, 1000000}, NULL);
		atomic_fetch_add(&h->by_held, 1);
	} else if (worker == 0 && task == 0) {
		while (atomic_load(&h->held) == 0) /* until somebody has joined */
			nanosleep(&(struct timespec){0, 100000}, NULL);
	}
	atomic_fetch_add(&h->done, 1);
}
TEST(a_worker_that_is_held_up_keeps_one_task_and_no_more)
{
	hth_error err = HTH_ERROR_INIT;
	for (unsigned count = 2; count <= 4; count++) {
		hth_threads *pool = NULL;
		REQUIRE_OK(hth_threads_create(&pool, count, &err));
		held_up h = {.n = 500};
		double before = cpu_seconds();
		hth_threads_run(pool, h.n, held_up_task, &h);
		CHECK_INT(h.done, h.n);
		CHECK_INT(h.by_held, 1);
		CHECK(cpu_seconds() - before < 2); /* and nobody spins meanwhile */
		hth_threads_destroy(pool);
	}
}

/* The same of ranges: what it holds is a small part of a large run, and the others take all else. */
typedef struct held_range {
	held_up h;
	atomic_uint largest;
} held_range;
static void held_up_range(void *ctx, size_t first, size_t end, unsigned worker)
{
	held_range *r = ctx;
	unsigned n = (unsigned)(end - first), largest = atomic_load(&r->largest);
	while (largest < n && !atomic_compare_exchange_weak(&r->largest, &largest, n))
		;
	if (worker != 0 && atomic_exchange(&r->h.held, 1) == 0) {
		for (int i = 0; i < 20000 && atomic_load(&r->h.done) < r->h.n - n; i++)
			nanosleep(&(struct timespec){0, 1000000}, NULL);
		atomic_fetch_add(&r->h.by_held, n);
	} else if (worker == 0 && first == 0) {
		while (atomic_load(&r->h.held) == 0)
			nanosleep(&(struct timespec){0, 100000}, NULL);
	}
	atomic_fetch_add(&r->h.done, n);
}
TEST(a_worker_that_is_held_up_keeps_a_small_range)
{
	hth_error err = HTH_ERROR_INIT;
	for (unsigned count = 2; count <= 4; count++) {
		hth_threads *pool = NULL;
		REQUIRE_OK(hth_threads_create(&pool, count, &err));
		held_range r = {.h.n = 5000};
		hth_threads_run_ranges(pool, r.h.n, held_up_range, &r);
		CHECK_INT(r.h.done, r.h.n);
		CHECK(r.h.by_held >= 1 && r.h.by_held <= 16);
		CHECK(r.largest > 1 && r.largest <= 16);
		hth_threads_destroy(pool);
	}
}

static void stand_still(void *ctx, size_t task, unsigned worker)
{
	atomic_int *joined = ctx;
	if (worker != 0) {
		atomic_store(joined, 1);
		nanosleep(&(struct timespec){0, 400000000}, NULL);
	}
	while (atomic_load(joined) == 0)
		nanosleep(&(struct timespec){0, 100000}, NULL);
}
TEST(waiting_for_a_worker_costs_no_processor_time)
{
	hth_error err = HTH_ERROR_INIT;
	hth_threads *pool = NULL;
	REQUIRE_OK(hth_threads_create(&pool, 2, &err));
	atomic_int joined = 0;
	double before = cpu_seconds();
	hth_threads_run(pool, 2, stand_still, &joined); /* the caller's task ends at once, the worker's after 400 ms */
	CHECK(cpu_seconds() - before < 0.2);
	hth_threads_destroy(pool);
}

TEST(a_silly_number_of_threads_is_refused)
{
	hth_error err = HTH_ERROR_INIT;
	hth_threads *pool = NULL;
	CHECK_INT(hth_threads_create(&pool, 100000, &err), HTH_TOO_LARGE);
	CHECK(strstr(err.message, "512") != NULL);
	CHECK(pool == NULL);
	REQUIRE_OK(hth_threads_create(&pool, 0, &err));
	CHECK(hth_threads_count(pool) >= 1);
	hth_threads_destroy(pool);
	hth_threads_destroy(NULL);
}

TEST_MAIN()
