/* test-blocks.c - models from next door: chunks from several sources over a bad link, from homes that vanish, restart and lie. */
#include "blocks-world.h"

static void is_whole(void)
{
	CHECK(w->ended == 1 && w->end == HTH_BLOCKS_WHOLE && memcmp(w->disk, w->truth, w->bytes) == 0);
}

TEST(two_sources_give_a_file_over_a_link_that_loses_doubles_and_reorders)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		make_world(seed, (6 << 20) + 12345);
		w->loss = 0.05;
		w->twice = 0.02;
		w->jitter_ms = 60;
		w->homes[1].has = w->homes[3].has = true;
		fetch();
		run_for(600000);
		is_whole();
		uint64_t n = w->list->n_chunks;
		CHECK(w->homes[1].chunks_given > n / 8 && w->homes[3].chunks_given > n / 8);
		CHECK(w->homes[1].chunks_given + w->homes[3].chunks_given < n + n / 2 + 10 && w->checks == 1);
		free_world();
	}
}

TEST(a_source_that_vanishes_costs_time_and_nothing_else)
{
	make_world(2, 8 << 20);
	w->homes[1].has = w->homes[2].has = true;
	fetch();
	while (w->stored < w->list->n_chunks / 2 && step(w->now + 60000))
		;
	stop_home(1);
	uint64_t before = w->now;
	run_for(120000);
	is_whole();
	CHECK(w->ended_ms < before + 15000 && w->homes[2].chunks_given > w->list->n_chunks / 3);
	free_world();
}

TEST(who_sends_a_wrong_chunk_is_left)
{
	static const lie lies[] = {FLIPS_BITS, SHORT_CHUNKS};
	for (size_t i = 0; i < HTH_COUNT(lies); i++) {
		make_world(3 + i, 8 << 20);
		w->homes[1].has = w->homes[2].has = true;
		w->homes[2].lie = lies[i];
		fetch();
		run_for(120000);
		is_whole();
		CHECK(w->lied[2] == 1 && w->lied[1] == 0 && w->homes[1].chunks_given > w->list->n_chunks / 2);
		free_world();
	}
}

TEST(a_list_that_is_a_lie_is_found_out_and_what_is_right_of_it_stays)
{
	make_world(4, 4 << 20);
	w->homes[1].has = w->homes[2].has = w->homes[3].has = true;
	w->homes[1].lie = w->homes[2].lie = OTHER_FILE; /* two against one */
	fetch();
	run_for(120000);
	is_whole();
	CHECK(w->checks == 2 && w->lied[1] == 1 && w->lied[2] == 1 && w->lied[3] == 0);
	CHECK(w->homes[3].chunks_given == 1); /* the chunk in which they differ */
	free_world();
}

TEST(only_liars_give_nothing)
{
	make_world(5, 2 << 20);
	w->homes[1].has = true;
	w->homes[1].lie = OTHER_FILE;
	fetch();
	run_for(120000);
	CHECK(w->ended == 1 && w->end == HTH_BLOCKS_NOBODY && w->lied[1] == 1);
	free_world();
}

TEST(a_restart_goes_on_from_what_is_on_the_disk)
{
	make_world(6, 8 << 20);
	w->homes[1].has = w->homes[2].has = true;
	fetch();
	uint32_t n = w->list->n_chunks;
	while (w->stored < n / 2 && step(w->now + 60000))
		;
	stop_home(0);
	uint64_t given = w->homes[1].chunks_given + w->homes[2].chunks_given;
	memset(w->disk, 0, HTH_CHUNK_BYTES); /* power was lost within a write */
	hth_chunk_hash(w->disk, HTH_CHUNK_BYTES, w->found[0]);
	w->stored = 0;
	start_home(0);
	fetch();
	run_for(120000);
	is_whole();
	CHECK(w->stored >= n / 4 && w->stored <= n - n / 2 + 1);
	CHECK(w->homes[1].chunks_given + w->homes[2].chunks_given < given + n / 2 + 20);
	free_world();
}

TEST(nobody_to_ask_is_said_soon)
{
	make_world(7, 1 << 20);
	uint64_t began = w->now;
	fetch();
	run_for(60000); /* all say no */
	CHECK(w->ended == 1 && w->end == HTH_BLOCKS_NOBODY && w->ended_ms < began + 500);
	free_world();
	make_world(8, 1 << 20);
	for (int i = 1; i < HOMES; i++)
		stop_home(i);
	began = w->now;
	fetch();
	run_for(60000); /* nobody says anything */
	CHECK(w->ended == 1 && w->end == HTH_BLOCKS_NOBODY && w->ended_ms <= began + 5000);
	free_world();
	static const lie lies[] = {SAYS_GONE, NEVER_READY};
	for (size_t i = 0; i < HTH_COUNT(lies); i++) {
		make_world(9 + i, 1 << 20);
		w->homes[1].has = true;
		w->homes[1].lie = lies[i];
		fetch();
		run_for(3600000);
		CHECK(w->ended == 1 && w->end == HTH_BLOCKS_NOBODY);
		free_world();
	}
}

TEST(a_file_that_is_still_being_hashed_is_waited_for)
{
	make_world(11, 1 << 20);
	w->homes[4].has = true;
	w->homes[4].ready_ms = w->now + 30000;
	fetch();
	run_for(120000);
	is_whole();
	free_world();
}

TEST(the_owners_pace_is_kept)
{
	make_world(12, 8 << 20);
	w->homes[1].has = true;
	hth_blocks_set_pace(w->homes[1].blocks, 1 << 20, false, w->now);
	uint64_t began = w->now;
	fetch();
	run_for(120000);
	is_whole();
	CHECK(w->ended_ms - began > 7000 && w->ended_ms - began < 20000);
	free_world();
	make_world(13, 2 << 20); /* busy: a chunk now and then, at either end */
	w->homes[1].has = true;
	hth_blocks_set_pace(w->homes[0].blocks, 0, true, w->now);
	began = w->now;
	fetch();
	run_for(120000);
	is_whole();
	CHECK(w->ended_ms - began > 1500);
	free_world();
}

TEST(who_has_a_model_is_found_by_its_reference)
{
	make_world(14, 1 << 20);
	w->homes[1].has = w->homes[5].has = true;
	CHECK(hth_blocks_find(w->homes[0].blocks, 7, "the-model", "the-model", w->now, NULL) == HTH_OK);
	uint64_t began = w->now;
	while (w->find_ended == 0 && step(w->now + 60000))
		;
	CHECK(w->find_ended == 1 && w->found_n == 2 && w->now < began + 500); /* all have answered: nobody is waited for */
	stop_home(2);
	began = w->now;
	CHECK(hth_blocks_find(w->homes[0].blocks, 7, "another", "another", w->now, NULL) == HTH_OK);
	while (w->find_ended == 1 && step(w->now + 60000))
		;
	CHECK(w->find_ended == 2 && w->found_n == 2 && w->now >= began + HTH_BLOCKS_FIND_MS);
	free_world();
}

TEST(a_flood_of_orders_is_refused_and_others_are_served)
{
	make_world(15, 4 << 20);
	w->homes[1].has = true;
	hth_buf text = HTH_BUF_INIT(HTH_BLOCKS_MESSAGE_MAX);
	hth_blocks_message *m = calloc(1, sizeof *m);
	m->kind = HTH_BLOCKS_GET;
	m->part = HTH_PART_CHUNK;
	memcpy(m->sha256, w->sha256, sizeof m->sha256);
	for (uint32_t i = 0; i < 2000; i++) {
		m->index = i;
		hth_buf_clear(&text);
		hth_blocks_message_encode(m, &text);
		hth_blocks_receive(w->homes[1].blocks, &w->homes[2].id, text.data, text.len, w->now);
	}
	CHECK(w->n_letters >= 2000 - HTH_BLOCKS_PER_PEER);
	hth_home_id stranger = {{99}};
	uint64_t bad = hth_blocks_get_counts(w->homes[1].blocks)->bad_messages;
	hth_blocks_receive(w->homes[1].blocks, &stranger, text.data, text.len, w->now);
	hth_blocks_receive(w->homes[1].blocks, &w->homes[2].id, "rubbish", 7, w->now);
	CHECK(hth_blocks_get_counts(w->homes[1].blocks)->bad_messages == bad + 2);
	fetch();
	run_for(60000);
	is_whole();
	hth_buf_finish(&text);
	free(m);
	free_world();
}

TEST(two_who_ask_one_share_it)
{
	make_world(16, 8 << 20);
	w->homes[1].has = true;
	hth_blocks_set_pace(w->homes[1].blocks, 2 << 20, false, w->now);
	fetch();
	hth_buf text = HTH_BUF_INIT(HTH_BLOCKS_MESSAGE_MAX);
	hth_blocks_message *m = calloc(1, sizeof *m);
	m->kind = HTH_BLOCKS_GET;
	m->part = HTH_PART_CHUNK;
	memcpy(m->sha256, w->sha256, sizeof m->sha256);
	uint64_t begun = w->now;
	for (uint32_t i = 0; i < 1000 && w->ended == 0; i++) { /* another one asks as fast as it can */
		m->index = i % w->list->n_chunks;
		hth_buf_clear(&text);
		hth_blocks_message_encode(m, &text);
		hth_blocks_receive(w->homes[1].blocks, &w->homes[2].id, text.data, text.len, w->now);
		run_for(20);
	}
	run_for(60000);
	is_whole();
	CHECK(w->ended_ms - begun > 6000 && w->ended_ms - begun < 14000); /* half of 2 MB/s: about 8 s */
	hth_buf_finish(&text);
	free(m);
	free_world();
}

TEST(everything_at_once_ends_well_from_many_seeds)
{
	for (uint64_t seed = 100; seed < 130; seed++) {
		make_world(seed, (2 << 20) + (size_t)(seed % 7) * 100001 + 1);
		w->loss = 0.03 * hth_rng_unit(&w->rng);
		w->twice = 0.05;
		w->jitter_ms = 1 + hth_rng_next(&w->rng) % 200;
		for (int i = 1; i < HOMES; i++) {
			w->homes[i].has = i == 1 || hth_rng_next(&w->rng) % 3 > 0;
			w->homes[i].lie = i == 1 || hth_rng_next(&w->rng) % 2 ? HONEST : (lie)(1 + hth_rng_next(&w->rng) % 6);
			w->homes[i].ready_ms = w->now + hth_rng_next(&w->rng) % 3000;
		}
		fetch();
		for (int i = 0; i < 40 && w->ended == 0; i++) {
			run_for(hth_rng_next(&w->rng) % 2000);
			int who = 2 + (int)(hth_rng_next(&w->rng) % 4);
			if (w->homes[who].up)
				stop_home(who);
			else
				start_home(who);
			if (w->ended == 0 && hth_rng_next(&w->rng) % 8 == 0) { /* the asker, too */
				stop_home(0);
				start_home(0);
				fetch();
			}
		}
		run_for(600000);
		if (w->ended != 1 || w->end != HTH_BLOCKS_WHOLE || memcmp(w->disk, w->truth, w->bytes) != 0)
			test_fail(__FILE__, __LINE__, "seed %llu: ended %d as %d, %llu checks", (unsigned long long)seed, w->ended,
			          (int)w->end, (unsigned long long)w->checks);
		CHECK(w->lied[1] == 0);
		free_world();
	}
}

TEST(a_list_takes_only_what_its_root_says)
{
	hth_chunk_list *list = NULL, *other = NULL;
	unsigned char sha256[HTH_SHA256_BYTES] = {1}, page[HTH_CHUNK_PAGE * HTH_HASH_BYTES];
	uint64_t bytes = (uint64_t)HTH_CHUNK_BYTES * (HTH_CHUNK_PAGE + 1) + 5; /* two pages, the second one short */
	REQUIRE(hth_chunk_list_create(&list, bytes, sha256, NULL) == HTH_OK &&
	        hth_chunk_list_create(&other, bytes, sha256, NULL) == HTH_OK);
	CHECK(list->n_chunks == HTH_CHUNK_PAGE + 2 && list->n_pages == 2 && hth_chunk_size(bytes, list->n_chunks - 1) == 5);
	for (uint32_t i = 0; i < list->n_chunks; i++)
		memcpy(list->chunks[i], &i, sizeof i);
	hth_chunk_list_seal(list);
	size_t len;
	memcpy(page, hth_chunk_list_page(list, 1, &len), 2 * HTH_HASH_BYTES);
	CHECK(len == 2 * HTH_HASH_BYTES);
	CHECK(!hth_chunk_list_take_page(other, 1, page, len)); /* no top yet */
	unsigned char wrong[HTH_HASH_BYTES] = {7};
	CHECK(!hth_chunk_list_take_top(other, wrong, list->pages, 2 * HTH_HASH_BYTES) &&
	      !hth_chunk_list_take_top(other, list->root, list->pages, HTH_HASH_BYTES));
	CHECK(hth_chunk_list_take_top(other, list->root, list->pages, 2 * HTH_HASH_BYTES));
	CHECK(!hth_chunk_list_take_page(other, 0, page, len) && !hth_chunk_list_take_page(other, 2, page, len) &&
	      hth_chunk_list_take_page(other, 1, page, len));
	page[3] ^= 1;
	CHECK(!hth_chunk_list_take_page(other, 1, page, len));
	CHECK(memcmp(other->chunks[HTH_CHUNK_PAGE + 1], list->chunks[HTH_CHUNK_PAGE + 1], HTH_HASH_BYTES) == 0);
	other->bytes--; /* another size: another root */
	CHECK(!hth_chunk_list_take_top(other, list->root, list->pages, 2 * HTH_HASH_BYTES));
	hth_chunk_list_destroy(list);
	hth_chunk_list_destroy(other);
	CHECK(hth_chunk_list_create(&list, 0, sha256, NULL) == HTH_INVALID &&
	      hth_chunk_list_create(&list, HTH_BLOCKS_FILE_MAX + 1, sha256, NULL) == HTH_TOO_LARGE);
}

TEST_MAIN()
