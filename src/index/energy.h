/* energy.h - what the index's work takes from the wall: the processor's own meter, shared out by time. Only this folder includes it.
 *
 * Linux shows Intel's and AMD's meter (RAPL) as /sys/class/powercap/intel-rapl:N/energy_uj, microjoules of one processor package that wrap
 * around at max_energy_range_uj (kernel documentation, power/powercap). It counts all that the package does. Of the energy between two
 * looks this work's part is the part of the time at which it was at work, times its part of the processor time that anybody used. Most
 * systems show the meter to root only. */
#ifndef HTH_INDEX_ENERGY_H
#define HTH_INDEX_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

enum { ENERGY_PACKAGES_MAX = 8 };

typedef struct energy_meter {
	char folder[200];
	uint64_t last_uj[ENERGY_PACKAGES_MAX], range_uj[ENERGY_PACKAGES_MAX];
	unsigned n; /* packages; 0: there is no meter that may be read */
	uint64_t last_ms;
	double last_cpu, last_busy; /* seconds: of this work, of all of the machine */
} energy_meter;

/* Seconds that all processors were busy since the start, from a text as /proc/stat; 0: not known. */
double energy_busy_seconds(const char *proc_stat);
/* folder: NULL for the system's. Begins to count. */
void energy_open(energy_meter *meter, const char *folder, uint64_t now_ms, double cpu_seconds, double busy_seconds);
/* Joules of this work since the last look, at which it had used cpu_seconds of processor time all together. False: there is no meter. */
bool energy_look(energy_meter *meter, uint64_t now_ms, double cpu_seconds, double busy_seconds, double *ret_joules);
/* What energy_open and energy_look want to know of the machine now. */
double energy_busy_now(void);

#endif
