/* clock.h - the two clocks. Durations come from the monotonic one; the wall clock is only shown and stamped. */
#ifndef HTH_BASE_CLOCK_H
#define HTH_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t hth_clock_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static inline uint64_t hth_clock_ms(void) { return hth_clock_ns() / 1000000u; }
static inline int64_t hth_clock_unix(void) { return (int64_t)time(NULL); }

#endif
