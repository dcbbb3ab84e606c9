/* simulation.h - thousands of homes for a day: the real machines (pool, ledger, permits, membership) under a simulated clock, link, disk
 * and engine.
 *
 * Everything that happens follows from the seed. See simulation.c for what is made to go wrong, and for what is checked.
 */
#ifndef TESTS_SIMULATION_H
#define TESTS_SIMULATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sim_options {
	uint64_t seed;
	size_t homes, street; /* street: homes in one neighbourhood */
	double hours, load;   /* load: share of all homes' capacity that is asked for */
	bool alone;           /* no neighbours: everybody for themselves */
	bool faults;          /* churn, partitions, liars, crashes */
	bool real_keys;       /* Ed25519 under receipts; else a stand-in that is fast and just as hard to forge by accident */
} sim_options;

typedef struct sim_result {
	bool good;
	char problem[512]; /* the first one */
	uint64_t requests, at_home, abroad, cancelled, events, messages, bytes;
	uint64_t failed_over, crashes, write_crashes, receipts, falsified, caught_liars, liars, worst_falsified, preempted, charters, torn,
	    switched, removed_again,
	    admitted_again, hedged, hedges_won, wanted, fetched, resumed, models_lied;
	double wait_mean_s, wait_p95_s, wait_worst_s, cpu_s;
} sim_result;

void simulate(const sim_options *options, sim_result *ret_result);

#endif
