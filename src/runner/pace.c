/* pace.c - see pace.h. Pure arithmetic, no clock of its own. Thread: the scheduler's. */
#include "runner/pace.h"

#include "base/mem.h"

enum {
	CHUNK_USEFUL = 4,   /* a smaller chunk in every step is worse than a larger one now and then */
	CHUNK_MIXED_MAX = 128,
	CHUNK_ALONE_MIN = 64,
};
/* The promise is twice; the rest is for what the estimate misses. */
#define STRETCH 1.8
/* No step with a chunk is longer than so many usual ones, or than what a reader does not notice. */
#define PAUSE 4.0
#define PAUSE_NS 150e6
/* Alone, a chunk is as long as a newcomer may have to wait before it can join. */
#define ALONE_NS 400e6
#define LEARN 0.25

static unsigned size_of(size_t rows)
{
	unsigned i = 0;
	while ((size_t)1 << i < rows && i < HTH_PACE_SIZES - 1)
		i++;
	return i;
}

void hth_pace_note(hth_pace *pace, size_t rows, uint64_t ns)
{
	if (rows == 0)
		return;
	double x = (double)rows, y = (double)ns;
	unsigned i = size_of(rows);
	if (pace->sizes[i].rows == 0) {
		pace->sizes[i].rows = x;
		pace->sizes[i].ns = y;
		return;
	}
	pace->sizes[i].rows += LEARN * (x - pace->sizes[i].rows);
	pace->sizes[i].ns += LEARN * (y - pace->sizes[i].ns);
}

/* Between two known sizes on a straight line; past them on the last one's, and never cheaper for more rows. */
static double expect(const hth_pace *pace, double rows)
{
	int below = -1, above = -1;
	for (int i = 0; i < HTH_PACE_SIZES; i++) {
		if (pace->sizes[i].rows == 0)
			continue;
		if (pace->sizes[i].rows <= rows)
			below = i;
		else if (above < 0)
			above = i;
	}
	if (below < 0 && above < 0)
		return 0;
	if (below < 0) /* fewer rows than any step yet: part of the smallest is there whatever the rows */
		return pace->sizes[above].ns * (0.5 + 0.5 * rows / pace->sizes[above].rows);
	double x0 = pace->sizes[below].rows, y0 = pace->sizes[below].ns;
	if (above >= 0) {
		double x1 = pace->sizes[above].rows, y1 = HTH_MAX(pace->sizes[above].ns, y0);
		return y0 + (y1 - y0) * (rows - x0) / (x1 - x0);
	}
	/* Past the largest: at the cost of a row that the last two sizes show; with one size only, a guess. */
	double slope = y0 / (x0 + 4);
	for (int i = below - 1; i >= 0; i--)
		if (pace->sizes[i].rows > 0) {
			slope = HTH_MAX((y0 - pace->sizes[i].ns) / (x0 - pace->sizes[i].rows), 0.1 * y0 / x0);
			break;
		}
	return y0 + slope * (rows - x0);
}

uint64_t hth_pace_expect_ns(const hth_pace *pace, size_t rows) { return (uint64_t)expect(pace, (double)rows); }

static size_t chunk_alone(const hth_pace *pace)
{
	/* The largest power of two that ends in time. */
	size_t chunk = CHUNK_ALONE_MIN;
	while (chunk < 4096 && expect(pace, (double)chunk * 2) <= ALONE_NS && expect(pace, (double)chunk) > 0)
		chunk *= 2;
	return chunk;
}

size_t hth_pace_chunk(hth_pace *pace, size_t n_decoding, size_t n_newcomers, size_t n_batch)
{
	size_t room = n_batch > n_decoding ? n_batch - n_decoding : 0;
	if (n_newcomers == 0)
		return 0;
	if (n_decoding == 0) {
		pace->skip = 0;
		return HTH_MIN(chunk_alone(pace), room);
	}
	if (pace->skip > 0) {
		pace->skip--;
		return 0;
	}
	if (pace->sizes[size_of(n_decoding)].rows == 0)
		return 0; /* what is usual is not known yet: this step shows it */
	double rows = (double)n_decoding;
	double usual = expect(pace, n_newcomers > n_decoding ? rows + (double)n_newcomers : rows);
	size_t chunk = CHUNK_MIXED_MAX;
	while (chunk >= CHUNK_USEFUL && expect(pace, rows + (double)chunk) > STRETCH * usual)
		chunk--;
	if (chunk >= CHUNK_USEFUL)
		return HTH_MIN(chunk, room);
	/* Not in every step, then: the size that gets the prompt done soonest. */
	double best_rate = 0;
	unsigned best_every = 1;
	size_t best = CHUNK_USEFUL;
	for (chunk = CHUNK_USEFUL; chunk <= CHUNK_MIXED_MAX; chunk *= 2) {
		double step = expect(pace, rows + (double)chunk);
		if (step > HTH_MAX(PAUSE * usual, PAUSE_NS) && chunk > CHUNK_USEFUL)
			break;
		unsigned every = (unsigned)((step - usual) / ((STRETCH - 1) * usual)) + 1;
		double rate = (double)chunk / (step + (every - 1) * usual);
		if (rate > best_rate) {
			best_rate = rate;
			best_every = every;
			best = chunk;
		}
	}
	pace->skip = best_every - 1;
	return HTH_MIN(best, room);
}
