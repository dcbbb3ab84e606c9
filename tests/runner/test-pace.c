/* test-pace.c - how many rows a step takes, on machines that are made up. */
#include "base/mem.h"
#include "runner/pace.h"
#include "harness.h"

/* A short rest of a prompt is dear for each of its rows: where nobody else waits, what is left goes in steps of one size. */
TEST(waiting_prompts_are_cut_evenly)
{
	hth_pace pace = {0};
	for (size_t rows = 1; rows <= 256; rows *= 2)
		hth_pace_note(&pace, rows, 40000000 + rows * 2000000);
	for (size_t all = 1; all < 2000; all += 7) {
		size_t least = SIZE_MAX, most = 0, left = all;
		for (unsigned steps = 0; left > 0 && steps < 100; steps++) {
			size_t n = hth_pace_choose(&pace, &(hth_pace_room){.n_newcomers = 1, .n_waiting = left, .n_batch = 4096,
			                                                   .n_slice = 512, .n_layer = 22}).mixed;
			REQUIRE(n > 0 && n <= left);
			least = HTH_MIN(least, n);
			most = HTH_MAX(most, n);
			left -= n;
		}
		CHECK_INT((int64_t)left, 0);
		CHECK(most - least <= 1); /* equal, but for what does not divide */
		CHECK(hth_pace_expect_ns(&pace, most) <= 520000000); /* and nobody waits for one much longer than 0.4 s */
	}
}

/* A machine on which a step costs `step`, `jump` more from the second row on, and `row` for each. */
typedef struct machine {
	double step, jump, row;
} machine;
static double cost(machine m, size_t rows) { return m.step + (rows > 1 ? m.jump : 0) + m.row * (double)rows; }

TEST(chunks_keep_every_pause_between_tokens_under_twice_the_usual)
{
	static const machine machines[] = {{40e6, 0, 8e6}, {40e6, 0, 1e6}, {2e6, 0, 0.1e6}, {500e6, 0, 100e6},
	                                   {23e6, 32e6, 3e6}, {20e6, 10e6, 1e6}};
	enum { LAYERS = 22 };
	for (size_t i = 0; i < HTH_COUNT(machines); i++)
		for (size_t n = 1; n <= 4; n += 3) {
			machine m = machines[i];
			hth_pace pace = {0};
			double usual = cost(m, n), now = 0, widest = 0, prompt = 0, alone = 64 / cost(m, 64) * 1e9, since = 0, spent = 0;
			size_t sliced = 0, layers = 0;
			for (int round = -100; round < 400; round++) {
				hth_pace_room room = {.n_decoding = n, .n_newcomers = 1, .n_batch = 512, .n_slice = 256, .n_layer = LAYERS};
				hth_pace_chunk chunk = {0};
				double began = now;
				if (sliced == 0)
					chunk = hth_pace_choose(&pace, &room);
				CHECK(chunk.mixed == 0 || chunk.sliced == 0);
				now += cost(m, n + chunk.mixed);
				hth_pace_note(&pace, n + chunk.mixed, (uint64_t)(now - began));
				prompt += (double)chunk.mixed;
				if (chunk.sliced > 0) {
					sliced = chunk.sliced;
					layers = 0;
					spent = 0;
				}
				if (sliced > 0) {
					size_t k = HTH_MIN(hth_pace_layers(&pace, &room, sliced), LAYERS - layers);
					double ns = cost(m, sliced) * (double)k / LAYERS;
					now += ns;
					spent += ns;
					if ((layers += k) == LAYERS) {
						prompt += (double)sliced;
						hth_pace_note(&pace, sliced, (uint64_t)spent);
						sliced = 0;
					}
				}
				if (round < 0) { /* learning */
					since = now;
					prompt = 0;
				} else {
					widest = HTH_MAX(widest, now - began);
				}
			}
			double rate = prompt / (now - since) * 1e9;
			printf("# machine %zu, %zu answers: widest %.2f times the usual; prompt at %.0f%% of its speed alone\n", i, n,
			       widest / usual, 100 * rate / alone);
			CHECK(widest <= 2 * usual);
			CHECK(rate > 0.12 * alone);
		}
}

TEST(burst_of_newcomers_is_not_held_up_by_the_first_of_them)
{
	machine m = {23e6, 32e6, 3e6};
	hth_pace pace = {0};
	for (size_t rows = 1; rows <= 64; rows++)
		hth_pace_note(&pace, rows, (uint64_t)cost(m, rows));
	hth_pace_room room = {.n_decoding = 1, .n_newcomers = 1, .n_batch = 512, .n_slice = 256, .n_layer = 22};
	hth_pace_chunk one = hth_pace_choose(&pace, &room);
	CHECK(one.mixed == 0 && one.sliced >= 16); /* a second row costs more than twice the first */
	room.n_newcomers = 7;
	room.n_waiting = 7 * 1000; /* too much to keep the one waiting for all of it */
	hth_pace_chunk burst = hth_pace_choose(&pace, &room);
	CHECK(burst.mixed >= 16);
	CHECK(cost(m, 1 + burst.mixed) <= 2 * cost(m, 8));
	room.n_waiting = 7 * 50; /* a second: at full speed, while those who were first of the burst go along */
	CHECK(hth_pace_choose(&pace, &room).mixed >= 64);
	room.n_waiting = 7 * 150; /* three: not while somebody reads */
	CHECK(cost(m, 1 + hth_pace_choose(&pace, &room).mixed) <= 2 * cost(m, 8));
	room.n_begun = 1; /* but nobody does, and most wait for their first word */
	CHECK(hth_pace_choose(&pace, &room).mixed >= 64);
	room.n_waiting = 7 * 250; /* five seconds are too long */
	CHECK(cost(m, 1 + hth_pace_choose(&pace, &room).mixed) <= 2 * cost(m, 8));
	room.n_waiting = 700;
	room.n_newcomers = 1; /* one newcomer's long prompt, beside one answer */
	CHECK(hth_pace_choose(&pace, &room).mixed < 64);
	room.n_waiting = 7 * 50;
	room.n_decoding = room.n_begun = 6;
	room.n_newcomers = 1;
	CHECK(hth_pace_choose(&pace, &room).mixed >= 64);
	room.n_begun = 2; /* but not at the cost of most */
	CHECK(cost(m, 6 + hth_pace_choose(&pace, &room).mixed) <= 2 * cost(m, 6));
	room.n_decoding = 1;
	room.n_begun = 0;
	room.n_newcomers = 0;
	hth_pace_chunk none = hth_pace_choose(&pace, &room);
	CHECK(none.mixed == 0 && none.sliced == 0);
}

TEST_MAIN()
