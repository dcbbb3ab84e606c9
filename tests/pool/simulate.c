/* simulate.c - `make simulate`: one simulation per seed, from the command line. A failing seed is printed with the command that replays it.
 *
 * simulate [--homes N] [--street N] [--hours H] [--load L] [--seed S] [--seeds N] [--alone] [--calm] [--real-keys] [--csv]
 *
 * --csv prints homes,load,neighbours,mean wait,wait at the 95th percentile,seconds of processor time: what scripts/simulate draws.
 */
#include "simulation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	sim_options o = {.seed = 1, .homes = 1000, .street = 20, .hours = 24, .load = 0.08, .faults = true};
	uint64_t seeds = 1, failed = 0;
	bool csv = false;
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (strcmp(argv[i], "--alone") == 0)
			o.alone = true;
		else if (strcmp(argv[i], "--calm") == 0)
			o.faults = false;
		else if (strcmp(argv[i], "--real-keys") == 0)
			o.real_keys = true;
		else if (strcmp(argv[i], "--csv") == 0)
			csv = true;
		else if (strcmp(argv[i], "--homes") == 0 && ++i)
			o.homes = strtoull(value, NULL, 10);
		else if (strcmp(argv[i], "--street") == 0 && ++i)
			o.street = strtoull(value, NULL, 10);
		else if (strcmp(argv[i], "--hours") == 0 && ++i)
			o.hours = strtod(value, NULL);
		else if (strcmp(argv[i], "--load") == 0 && ++i)
			o.load = strtod(value, NULL);
		else if (strcmp(argv[i], "--seed") == 0 && ++i)
			o.seed = strtoull(value, NULL, 10);
		else if (strcmp(argv[i], "--seeds") == 0 && ++i)
			seeds = strtoull(value, NULL, 10);
		else {
			fprintf(stderr, "simulate: what is %s?\n", argv[i]);
			return 2;
		}
	}
	if (o.homes < 1 || o.street < 1 || o.load <= 0 || o.hours <= 0 || o.street > 65) {
		fprintf(stderr, "simulate: a number makes no sense\n");
		return 2;
	}
	for (uint64_t i = 0; i < seeds; i++, o.seed++) {
		sim_result r;
		simulate(&o, &r);
		if (csv)
			printf("%zu,%g,%d,%.3f,%.3f,%.1f\n", o.homes, o.load, !o.alone, r.wait_mean_s, r.wait_p95_s, r.cpu_s);
		else
			printf("seed %llu: %s\n  %llu requests, %llu answered next door, %llu at home; waiting %.2f s on average, %.2f s "
			       "at the 95th percentile\n  %llu events, %llu letters (%.1f MB), %llu failed over, %llu preempted, %llu "
			       "begun twice (%llu times the second was faster), %llu receipts on disks\n  %llu power losses (%llu within a "
			       "write), %llu homes make answers up: %llu such answers believed, at most %llu of one pair, %llu caught\n  "
			       "%llu changes of charters, streets torn in two %llu times, %llu homes went over to another line of them; "
			       "%llu removals and %llu admissions were made again\n  %llu models wanted, %llu fetched from next door and "
			       "right, %llu tries that went on from an earlier one, %llu lies found\n  %.1f s of processor time\n",
			       (unsigned long long)o.seed, r.good ? "all checks hold" : r.problem, (unsigned long long)r.requests,
			       (unsigned long long)r.abroad, (unsigned long long)r.at_home, r.wait_mean_s, r.wait_p95_s,
			       (unsigned long long)r.events, (unsigned long long)r.messages, (double)r.bytes / 1e6,
			       (unsigned long long)r.failed_over, (unsigned long long)r.preempted, (unsigned long long)r.hedged,
			       (unsigned long long)r.hedges_won, (unsigned long long)r.receipts, (unsigned long long)r.crashes,
			       (unsigned long long)r.write_crashes, (unsigned long long)r.liars, (unsigned long long)r.falsified,
			       (unsigned long long)r.worst_falsified, (unsigned long long)r.caught_liars, (unsigned long long)r.charters,
			       (unsigned long long)r.torn, (unsigned long long)r.switched, (unsigned long long)r.removed_again,
			       (unsigned long long)r.admitted_again, (unsigned long long)r.wanted, (unsigned long long)r.fetched,
			       (unsigned long long)r.resumed, (unsigned long long)r.models_lied, r.cpu_s);
		fflush(stdout);
		if (!r.good) {
			failed++;
			fprintf(stderr, "replay with: simulate --homes %zu --street %zu --hours %g --load %g --seed %llu%s%s%s\n", o.homes,
			        o.street, o.hours, o.load, (unsigned long long)o.seed, o.alone ? " --alone" : "", o.faults ? "" : " --calm",
			        o.real_keys ? " --real-keys" : "");
		}
	}
	return failed > 0;
}
