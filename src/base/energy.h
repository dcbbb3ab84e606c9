/* energy.h - what some work takes from the wall: the processor's own meter, shared out by time.
 *
 * Linux shows Intel's and AMD's meter (RAPL) as /sys/class/powercap/intel-rapl:N/energy_uj, microjoules of one processor package that wrap
 * around at max_energy_range_uj (kernel documentation, power/powercap). It counts all that the package does. Of the energy between two
 * looks this work's part is the part of the time at which it was at work, times its part of the processor time that anybody used. Most
 * systems show the meter to root only. */
#ifndef HTH_BASE_ENERGY_H
#define HTH_BASE_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

enum { HTH_ENERGY_PACKAGES_MAX = 8 };

typedef struct hth_energy_meter {
	char folder[200];
	uint64_t last_uj[HTH_ENERGY_PACKAGES_MAX], range_uj[HTH_ENERGY_PACKAGES_MAX];
	unsigned n; /* packages; 0: there is no meter that may be read */
	uint64_t last_ms;
	double last_cpu, last_busy; /* seconds: of this work, of all of the machine */
} hth_energy_meter;

/* Seconds that all processors were busy since the start, from a text as /proc/stat; 0: not known. */
double hth_energy_busy_seconds(const char *proc_stat);
/* folder: NULL for the system's. Begins to count. */
void hth_energy_open(hth_energy_meter *meter, const char *folder, uint64_t now_ms, double cpu_seconds, double busy_seconds);
/* Joules of this work since the last look, at which it had used cpu_seconds of processor time all together. False: there is no meter. */
bool hth_energy_look(hth_energy_meter *meter, uint64_t now_ms, double cpu_seconds, double busy_seconds, double *ret_joules);
/* What hth_energy_open and hth_energy_look want to know of the machine now. */
double hth_energy_busy_now(void);

#endif
