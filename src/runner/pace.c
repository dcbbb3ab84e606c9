/* pace.c - see pace.h. Pure arithmetic, no clock of its own. Thread: the scheduler's. */
#include "runner/pace.h"

#include "base/mem.h"

enum {
	CHUNK_USEFUL = 4, /* less is not worth a longer step */
	CHUNK_MIXED_MAX = 128,
	CHUNK_ALONE_MIN = 64,
	CHUNK_SLICED_MIN = 16,
	KV_PAGE = 32,
};
/* The promise is twice; the rest is for what the estimate misses. */
#define STRETCH 1.8
/* How long a burst may take at full speed; and where nobody is beyond an answer's first words, and most have not even those. */
#define BURST_NS 1500e6
#define BURST_FIRST_NS 4000e6
/* Alone, a chunk is about as long as a newcomer may have to wait before it can join (up to a quarter longer); in slices it takes about
 * twice as long. */
#define ALONE_NS 400e6
#define SLICED_NS 200e6
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

static size_t chunk_alone(const hth_pace *pace, size_t waiting)
{
	/* The most whole pages that end in time. */
	size_t chunk = CHUNK_ALONE_MIN;
	while (chunk < 4096 && expect(pace, (double)(chunk + KV_PAGE)) <= ALONE_NS && expect(pace, (double)chunk) > 0)
		chunk += KV_PAGE;
	/* All of it in steps of one size, up to a quarter longer than that: a short rest at the end costs much for each of its rows. */
	size_t steps = HTH_MAX((waiting + chunk + chunk / 4 - 1) / (chunk + chunk / 4), (size_t)1);
	return (waiting + steps - 1) / steps;
}

static bool is_burst(const hth_pace *pace, const hth_pace_room *room)
{
	size_t beyond = room->n_decoding - room->n_begun;
	double most = beyond == 0 && room->n_newcomers > room->n_begun ? BURST_FIRST_NS : BURST_NS;
	return room->n_newcomers + room->n_begun > beyond && expect(pace, (double)room->n_waiting) <= most;
}

/* What a step takes without newcomers. */
static double usual(const hth_pace *pace, const hth_pace_room *room)
{
	double rows = (double)room->n_decoding;
	return expect(pace, room->n_newcomers > room->n_decoding ? rows + (double)room->n_newcomers : rows);
}

hth_pace_chunk hth_pace_choose(const hth_pace *pace, const hth_pace_room *room)
{
	hth_pace_chunk none = {0};
	if (room->n_newcomers == 0)
		return none;
	size_t left = room->n_batch > room->n_decoding ? room->n_batch - room->n_decoding : 0;
	if (room->n_decoding == 0)
		return (hth_pace_chunk){.mixed = HTH_MIN(chunk_alone(pace, room->n_waiting), left)};
	if (pace->sizes[size_of(room->n_decoding)].rows == 0)
		return none; /* what is usual is not known yet: this step shows it */
	if (is_burst(pace, room))
		return (hth_pace_chunk){.mixed = HTH_MIN(chunk_alone(pace, room->n_waiting), left)};
	double base = usual(pace, room), rows = (double)room->n_decoding;
	size_t mixed = HTH_MIN((size_t)CHUNK_MIXED_MAX, left);
	while (mixed >= CHUNK_USEFUL && expect(pace, rows + (double)mixed) > STRETCH * base)
		mixed--;
	double mixed_rate = mixed >= CHUNK_USEFUL ? (double)mixed / expect(pace, rows + (double)mixed) : 0;
	/* The largest chunk of which a layer fits into what may be added to a step; the larger, the cheaper each row. */
	size_t sliced = HTH_MIN((size_t)CHUNK_SLICED_MIN, room->n_slice);
	while (sliced * 2 <= room->n_slice && expect(pace, (double)sliced * 2) <= SLICED_NS &&
	       expect(pace, (double)sliced * 2) / room->n_layer <= (STRETCH - 1) * base)
		sliced *= 2;
	double sliced_rate = (double)sliced / expect(pace, (double)sliced) * (STRETCH - 1) / STRETCH;
	return mixed_rate >= sliced_rate ? (hth_pace_chunk){.mixed = mixed} : (hth_pace_chunk){.sliced = sliced};
}

uint32_t hth_pace_layers(const hth_pace *pace, const hth_pace_room *room, size_t rows)
{
	double whole = expect(pace, (double)rows);
	if (room->n_decoding == 0 || whole <= 0)
		return room->n_layer;
	double layers = (STRETCH - 1) * usual(pace, room) / whole * room->n_layer;
	return (uint32_t)HTH_MAX(HTH_MIN(layers, (double)room->n_layer), 1.0);
}
