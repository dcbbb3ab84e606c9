/* pace.c - see pace.h. Pure arithmetic, no clock of its own. Thread: the scheduler's. */
#include "runner/pace.h"

#include "base/mem.h"

enum {
	SMALL_ROWS = 64, /* beyond, matrix kernels are at their best and a row costs less */
	CHUNK_MIN = 4,   /* a prompt always goes on, if slowly */
	CHUNK_UNKNOWN = 16,
	CHUNK_ALONE_MIN = 64,
};
#define FORGET 0.97
/* A step with a chunk may take 1.8 times one without: twice is the promise, the rest is for what the fit misses. */
#define STRETCH 0.8
/* Alone, a chunk is as long as a newcomer may have to wait before it can join. */
#define ALONE_NS 400e6

void hth_pace_note(hth_pace *pace, size_t rows, uint64_t ns)
{
	double x = (double)rows, y = (double)ns;
	if (rows == 0)
		return;
	if (rows > SMALL_ROWS) {
		double per_row = y / x;
		pace->big_ns_per_row = pace->big_ns_per_row > 0 ? 0.7 * pace->big_ns_per_row + 0.3 * per_row : per_row;
		return;
	}
	pace->w = pace->w * FORGET + 1;
	pace->x = pace->x * FORGET + x;
	pace->y = pace->y * FORGET + y;
	pace->xx = pace->xx * FORGET + x * x;
	pace->xy = pace->xy * FORGET + x * y;
}

/* cost = a + c * rows; false: nothing seen. */
static bool fit(const hth_pace *pace, double *ret_a, double *ret_c)
{
	if (pace->w < 0.5) {
		*ret_a = 0;
		*ret_c = pace->big_ns_per_row;
		return pace->big_ns_per_row > 0;
	}
	double mean_x = pace->x / pace->w, mean_y = pace->y / pace->w;
	double variance = pace->xx / pace->w - mean_x * mean_x;
	double c;
	if (variance > 0.25)
		c = (pace->xy / pace->w - mean_x * mean_y) / variance;
	else if (pace->big_ns_per_row > 0)
		c = pace->big_ns_per_row;
	else
		c = mean_y / (mean_x + 4); /* steps of one size only: guess that five more rows cost as much again */
	/* Noise may bend the line; the cost of a row lies between nothing and a row's share. */
	c = HTH_MIN(HTH_MAX(c, mean_y * 1e-3 / mean_x), mean_y / mean_x);
	*ret_c = c;
	*ret_a = mean_y - c * mean_x;
	return true;
}

uint64_t hth_pace_expect_ns(const hth_pace *pace, size_t rows)
{
	double a, c;
	if (rows > SMALL_ROWS && pace->big_ns_per_row > 0)
		return (uint64_t)(pace->big_ns_per_row * (double)rows);
	return fit(pace, &a, &c) ? (uint64_t)(a + c * (double)rows) : 0;
}

size_t hth_pace_chunk(const hth_pace *pace, size_t n_decoding, size_t n_batch)
{
	double a, c;
	bool known = fit(pace, &a, &c);
	size_t room = n_batch > n_decoding ? n_batch - n_decoding : 0;
	if (n_decoding > 0) {
		double chunk = known ? STRETCH * (a + c * (double)n_decoding) / c : CHUNK_UNKNOWN;
		return HTH_MIN((size_t)HTH_MIN(HTH_MAX(chunk, CHUNK_MIN), 1e6), room);
	}
	double per_row = pace->big_ns_per_row > 0 ? pace->big_ns_per_row : known ? c + a / SMALL_ROWS : 0;
	double chunk = per_row > 0 ? ALONE_NS / per_row : CHUNK_ALONE_MIN * 2;
	return HTH_MIN((size_t)HTH_MIN(HTH_MAX(chunk, CHUNK_ALONE_MIN), 1e6), room);
}
