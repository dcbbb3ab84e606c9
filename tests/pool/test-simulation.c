/* test-simulation.c - a few seeds of the simulation at sizes that take seconds; `make simulate` runs the large ones. */
#include "harness.h"
#include "simulation.h"

static void holds(sim_options o, sim_result *r)
{
	simulate(&o, r);
	if (!r->good)
		test_fail(__FILE__, __LINE__, "seed %llu: %s (replay: simulate --homes %zu --hours %g --load %g --seed %llu%s%s)",
		          (unsigned long long)o.seed, r->problem, o.homes, o.hours, o.load, (unsigned long long)o.seed,
		          o.faults ? "" : " --calm", o.real_keys ? " --real-keys" : "");
}

TEST(twenty_homes_with_everything_that_goes_wrong)
{
	uint64_t changes = 0, switched = 0, torn = 0, fetched = 0, resumed = 0, lied = 0;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		sim_result r;
		holds((sim_options){.seed = seed, .homes = 20, .street = 20, .hours = 6, .load = 0.3, .faults = true}, &r);
		CHECK(r.requests > 1000 && r.abroad > 200 && r.crashes > 0 && r.failed_over > 0);
		changes += r.charters;
		switched += r.switched;
		torn += r.torn;
		fetched += r.fetched;
		resumed += r.resumed;
		lied += r.models_lied;
	}
	/* members came and went, and two keepers changed the charter at once, or each for itself */
	CHECK(changes > 10 && switched > 0 && torn > 0);
	CHECK(fetched > 4 && resumed > 0 && lied > 0);
}

TEST(three_streets_do_not_mix)
{
	sim_result r;
	holds((sim_options){.seed = 11, .homes = 45, .street = 15, .hours = 3, .load = 0.3, .faults = true}, &r);
	CHECK(r.abroad > 0);
}

TEST(the_real_keys_sign_as_the_stand_in_does)
{
	sim_result r;
	holds((sim_options){.seed = 5, .homes = 5, .street = 5, .hours = 1, .load = 0.4, .faults = true, .real_keys = true}, &r);
	CHECK(r.receipts > 0);
}

TEST(a_seed_replays_to_the_last_letter)
{
	sim_result a, b;
	sim_options o = {.seed = 7, .homes = 10, .street = 10, .hours = 3, .load = 0.3, .faults = true};
	holds(o, &a);
	holds(o, &b);
	CHECK(a.events == b.events && a.bytes == b.bytes && a.messages == b.messages && a.failed_over == b.failed_over);
	o.seed = 8;
	holds(o, &b);
	CHECK(a.bytes != b.bytes);
}

TEST(neighbours_shorten_the_wait)
{
	sim_result with, without;
	sim_options o = {.seed = 3, .homes = 20, .street = 20, .hours = 6, .load = 0.4};
	holds(o, &with);
	o.alone = true;
	holds(o, &without);
	CHECK(with.wait_mean_s < without.wait_mean_s / 2 && with.wait_p95_s < without.wait_p95_s);
	CHECK(with.falsified == 0 && with.failed_over * 20 < with.abroad); /* in calm weather hardly anything is left half way */
}

TEST_MAIN()
