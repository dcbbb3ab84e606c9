/* measure.c - the read bandwidth and the multiply-add peak of this machine, with all workers of a pool.
 *
 * Bandwidth: every worker reads pieces of one large buffer with the row's widest loads, claimed as a product with one token
 * claims its rows. Peak: every worker runs the row's multiply-add instructions on registers alone. Both are wall-clock rates of
 * the whole pool, so a busy machine lowers them as it lowers what is compared with them.
 */
#include "engine/kernels/measure.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/kernels/kernel-row.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { PIECE = 256 * 1024, ROUND_NS = 20 * 1000 * 1000 };
#define BUFFER ((size_t)256 * 1024 * 1024)

struct hth_measure {
	hth_threads *threads;
	const hth_kernel_row *row;
	char *buffer;
	hth_mac_kind kind;
	size_t rounds;
	atomic_uint_fast64_t sum; /* what was read or multiplied, so that nothing is optimised away */
};

static void fill_piece(void *ctx, size_t task, unsigned worker)
{
	hth_measure *m = ctx;
	memset(m->buffer + task * PIECE, (int)task, PIECE);
}

hth_status hth_measure_create(hth_measure **ret_measure, hth_threads *threads, hth_error *err)
{
	hth_measure *m = calloc(1, sizeof *m);
	void *buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == NULL || buffer == MAP_FAILED) {
		free(m);
		if (buffer != MAP_FAILED)
			munmap(buffer, BUFFER);
		return hth_fail(err, HTH_NO_MEMORY, "no memory to measure read bandwidth with (%zu MiB)", BUFFER >> 20);
	}
	m->threads = threads;
	m->row = hth_kernels_row();
	m->buffer = buffer;
	m->rounds = 1000;
	hth_threads_run(threads, BUFFER / PIECE, fill_piece, m);
	*ret_measure = m;
	return HTH_OK;
}

void hth_measure_destroy(hth_measure *measure)
{
	if (measure == NULL)
		return;
	munmap(measure->buffer, BUFFER);
	free(measure);
}

static void read_piece(void *ctx, size_t task, unsigned worker)
{
	hth_measure *m = ctx;
	atomic_fetch_add_explicit(&m->sum, m->row->read_bytes(m->buffer + task * PIECE, PIECE), memory_order_relaxed);
}

/* Wall-clock, or with one thread its own processor time: then other work on the machine counts less. */
static uint64_t clock_of(const hth_measure *measure)
{
	if (hth_threads_count(measure->threads) > 1)
		return hth_clock_ns();
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double hth_measure_read_gb_s(hth_measure *measure, uint64_t at_least_ns)
{
	uint64_t start = clock_of(measure), ns;
	size_t times = 0;
	do {
		hth_threads_run(measure->threads, BUFFER / PIECE, read_piece, measure);
		times++;
		ns = clock_of(measure) - start;
	} while (ns < at_least_ns);
	return (double)times * (double)BUFFER / (double)ns;
}

static void multiply(void *ctx, size_t task, unsigned worker)
{
	hth_measure *m = ctx;
	atomic_fetch_add_explicit(&m->sum, m->row->mac_peak[m->kind](m->rounds), memory_order_relaxed);
}

double hth_measure_mac_g(hth_measure *measure, hth_mac_kind kind)
{
	size_t n = hth_threads_count(measure->threads);
	measure->kind = kind;
	double rate = 0;
	/* Find the number of rounds that takes long enough, then take that run. */
	for (measure->rounds = 1000;; measure->rounds *= 2) {
		atomic_store(&measure->sum, 0);
		uint64_t start = clock_of(measure);
		/* Eight tasks for each worker: one that is held up leaves its share to the others. */
		hth_threads_run(measure->threads, 8 * n, multiply, measure);
		uint64_t ns = clock_of(measure) - start;
		rate = (double)atomic_load(&measure->sum) / (double)(ns ? ns : 1);
		if (ns >= ROUND_NS || measure->rounds > SIZE_MAX / 4)
			return rate;
	}
}
