/* Continuous batching over an engine that shows every mistake: who is computed when, what is shared, and that nothing of it changes an
 * answer. */
#include "scheduler-world.h"

/* Every job's answer alone, on an engine of its own, is what it must be in company. */
static void alone(told *ret_told, const int32_t *prompt, uint32_t n_prompt, wish_t wish)
{
	WORLD(w, 1, 2, FAKE_CTX, FAKE_CTX);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, n_prompt, wish));
	run_all(w);
	*ret_told = w->told[1];
}

TEST(jobs_in_company_answer_as_they_do_alone)
{
	WORLD(w, 4, 12, 1024, 8 * 1024);
	told *expected = calloc(10, sizeof *expected);
	for (uint32_t i = 1; i <= 9; i++) {
		int32_t prompt[700];
		uint32_t n = 5 + i * 67;
		make_prompt(w, prompt, n, i * 20, i);
		wish_t wish = {.max_answer = 20 + i * 5, .seed = i, .greedy = i % 3 == 0, .no_eos = i % 2};
		alone(&expected[i], prompt, n, wish);
		hth_scheduler_add(w->scheduler, make_job(w, i, prompt, n, wish));
		for (uint32_t k = 0; k < i; k++)
			hth_scheduler_step(w->scheduler); /* they join while others run */
	}
	run_all(w);
	for (uint32_t i = 1; i <= 9; i++) {
		same_answer(&w->told[i], &expected[i]);
		CHECK(w->told[i].len > 0);
		CHECK_INT(w->told[i].done.usage.answer_tokens, expected[i].done.usage.answer_tokens);
	}
	CHECK(w->fake->most_rows > 4);
	free(expected);
}

TEST(shared_beginning_is_computed_once)
{
	WORLD(w, 8, 24, 1024, 16 * 1024);
	int32_t prompt[340];
	for (uint32_t i = 1; i <= 8; i++) {
		make_prompt(w, prompt, 340, 300, i);
		hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 340, (wish_t){.max_answer = 2, .seed = i, .no_eos = true}));
	}
	run_all(w);
	uint32_t cached = 0;
	for (uint32_t i = 1; i <= 8; i++) {
		CHECK(w->told[i].ended && !w->told[i].failed);
		cached += w->told[i].done.usage.cached_tokens;
	}
	CHECK_INT(cached, 7 * 300);
	CHECK_INT(w->fake->rows, 300 + 8 * 40 + 8);
	/* and the last first token comes in a third of the time that eight whole prompts would take */
	CHECK(w->told[8].first_ns < w->fake->row_ns * 8 * 340 / 3);
}

TEST(shared_beginnings_of_different_lengths_are_each_computed_once)
{
	WORLD(w, 8, 24, 1024, 16 * 1024);
	/* All share 64 tokens; 2 to 5 share 300, 4 and 5 share 400; each ends with 10 of its own. */
	int32_t prompt[500];
	for (uint32_t i = 1; i <= 5; i++) {
		make_prompt(w, prompt, 420, i == 1 ? 64 : i < 4 ? 300 : 0, i);
		if (i >= 4) {
			make_prompt(w, prompt, 400, 300, 99);
			make_prompt(w, prompt + 400, 20, 0, i);
		}
		hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 420, (wish_t){.max_answer = 1, .seed = i, .no_eos = true}));
	}
	run_all(w);
	for (uint32_t i = 1; i <= 5; i++)
		CHECK(w->told[i].ended && !w->told[i].failed);
	/* 420 of the first; of the second all but 64; of the third all but 300; of the fourth the same; of the fifth 20. */
	CHECK_INT(w->fake->rows, 420 + 356 + 120 + 120 + 20);
}

TEST(next_turn_computes_only_what_is_new)
{
	WORLD(w, 2, 6, 1024, 4 * 1024);
	int32_t prompt[600];
	make_prompt(w, prompt, 100, 0, 1);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 100, (wish_t){.max_answer = 30, .no_eos = true, .greedy = true}));
	run_all(w);
	/* The conversation so far, the answer included, and a new question. */
	memcpy(prompt + 100, w->told[1].ids, 30 * sizeof *prompt);
	make_prompt(w, prompt + 130, 20, 0, 2);
	uint64_t rows = w->fake->rows;
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 150, (wish_t){.max_answer = 1, .no_eos = true}));
	run_all(w);
	CHECK_INT(w->told[2].done.usage.cached_tokens, 129); /* the last token of an answer is never computed */
	CHECK_INT(w->fake->rows - rows, 21);
	/* The very same prompt again: all but its last token is there. */
	hth_scheduler_add(w->scheduler, make_job(w, 3, prompt, 150, (wish_t){.max_answer = 1, .no_eos = true}));
	run_all(w);
	CHECK_INT(w->told[3].done.usage.cached_tokens, 149);
	same_answer(&w->told[3], &w->told[2]);
}

TEST(what_is_kept_gives_way_to_who_needs_it)
{
	WORLD(w, 1, 40, 512, 1024); /* pages for two prompts at most */
	int32_t prompt[400];
	for (uint32_t i = 1; i <= 12; i++) {
		make_prompt(w, prompt, 400, 0, i);
		hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 400, (wish_t){.max_answer = 40, .no_eos = true}));
	}
	run_all(w);
	for (uint32_t i = 1; i <= 12; i++)
		CHECK(w->told[i].ended && !w->told[i].failed);
	CHECK_INT(hth_scheduler_get_stats(w->scheduler).gave_way, 0);
}

/* Nine prompts through memory for two: with a file to spill into, the first is brought back and not computed again. */
TEST(what_memory_has_no_room_for_comes_back_from_disk)
{
	for (int with = 0; with < 2; with++) {
		FILE *file = tmpfile();
		REQUIRE(file != NULL);
		hth_error err = HTH_ERROR_INIT;
		hth_spill *spill = NULL;
		WORLD(w, 1, 40, 512, 1024);
		if (with) {
			REQUIRE_OK(hth_spill_create(&spill, fileno(file), 1 << 20, w->compute.page_bytes, &err));
			w->compute.spill = spill;
			hth_scheduler_destroy(w->scheduler);
			hth_scheduler_events events = {.ctx = w, .piece = on_piece, .embedding = on_embedding, .ended = on_ended};
			REQUIRE_OK(hth_scheduler_create(&w->scheduler, &w->compute, 1, &events, &err));
		}
		int32_t prompt[400];
		wish_t wish = {.max_answer = 40, .no_eos = true, .greedy = true};
		for (uint32_t i = 1; i <= 9; i++) {
			make_prompt(w, prompt, 400, i % 2 ? 100 : 0, i);
			hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 400, wish));
			run_all(w);
		}
		uint64_t rows = w->fake->rows;
		make_prompt(w, prompt, 400, 100, 1);
		hth_scheduler_add(w->scheduler, make_job(w, 10, prompt, 400, wish));
		run_all(w);
		same_answer(&w->told[10], &w->told[1]);
		uint32_t cached = w->told[10].done.usage.cached_tokens;
		CHECK(with ? cached == 384 : cached < 200); /* whole pages; without, what is left of it in memory */
		CHECK_INT(w->fake->rows - rows, 400 - cached + 39);
		CHECK(with ? w->fake->restored >= (384 - 200) / 32 : w->fake->restored == 0);
		hth_scheduler_destroy(w->scheduler);
		w->scheduler = NULL;
		hth_spill_destroy(spill);
		fclose(file);
	}
}

TEST(job_that_gives_way_answers_the_same_in_the_end)
{
	WORLD(w, 4, 8, 512, 768); /* four slots of 512 over memory for one and a half */
	told *expected = calloc(5, sizeof *expected);
	for (uint32_t i = 1; i <= 4; i++) {
		int32_t prompt[60];
		make_prompt(w, prompt, 60, 0, i);
		wish_t wish = {.max_answer = 300, .seed = i, .no_eos = true};
		alone(&expected[i], prompt, 60, wish);
		hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 60, wish));
	}
	run_all(w);
	CHECK(hth_scheduler_get_stats(w->scheduler).gave_way > 0);
	for (uint32_t i = 1; i <= 4; i++)
		same_answer(&w->told[i], &expected[i]);
	free(expected);
}

TEST(bound_answers_that_give_way_go_on_where_they_stood)
{
	WORLD(w, 4, 8, 512, 768);
	told *expected = calloc(7, sizeof *expected);
	for (uint32_t i = 1; i <= 6; i++) {
		int32_t prompt[60];
		make_prompt(w, prompt, 60, 0, i);
		/* The same grammar for some, another for others, one that waits for its text; and the last is bound to nothing. */
		wish_t wish = {.max_answer = 300, .seed = i, .no_eos = true,
		               .grammar = i < 4 ? "root ::= \"[\" ([0-9]{1,3} [, \\n]){250} \"]\"" :
		                                                                        i < 6 ? "root ::= ([a-z]{2,9} \" \"){200}" : NULL,
		               .trigger = i == 3 ? "a" : NULL};
		alone(&expected[i], prompt, 60, wish);
		hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 60, wish));
	}
	run_all(w);
	CHECK(hth_scheduler_get_stats(w->scheduler).gave_way > 0);
	for (uint32_t i = 1; i <= 6; i++)
		same_answer(&w->told[i], &expected[i]);
	CHECK(w->told[1].text[0] == '[' && w->told[1].text[strspn(w->told[1].text, "[]0123456789, \n")] == '\0');
	CHECK(w->told[5].text[strspn(w->told[5].text, "abcdefghijklmnopqrstuvwxyz ")] == '\0');
	CHECK_INT(hth_grammar_cache_get_stats(w->grammars).in_use, 0);
	CHECK_INT(hth_grammar_cache_get_stats(w->grammars).kept, 2);
	free(expected);
}

/* Answers run while a prompt of 2,000 tokens comes: on a machine where rows are cheap, and on one where the second row of a step
 * costs more than the first (one answer, so that only slices keep the promise). */
TEST(newcomers_long_prompt_does_not_freeze_the_others)
{
	for (uint32_t jump = 0; jump < 2; jump++) {
		WORLD(w, 4, 8, FAKE_CTX, 4 * FAKE_CTX);
		told *expected = calloc(3, sizeof *expected);
		uint32_t n = jump ? 1 : 2;
		if (jump) {
			w->fake->step_ns = 20000000;
			w->fake->jump_ns = 35e6;
			w->fake->row_ns = 2000000;
		}
		int32_t prompt[3000];
		for (uint32_t i = 1; i <= n; i++) {
			make_prompt(w, prompt, 20, 0, i);
			wish_t wish = {.max_answer = 1500, .seed = i, .no_eos = true};
			alone(&expected[i], prompt, 20, wish);
			hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 20, wish));
		}
		for (int i = 0; i < 40; i++)
			hth_scheduler_step(w->scheduler);
		/* Two long prompts: the first teaches what chunks of every size cost here. */
		for (uint32_t id = 8; id <= 9; id++) {
			for (uint32_t i = 1; i <= n; i++)
				w->told[i].widest_token_ns = 0;
			make_prompt(w, prompt, 2000, 0, id);
			hth_scheduler_add(w->scheduler, make_job(w, id, prompt, 2000, (wish_t){.max_answer = 1, .no_eos = true}));
			while (!w->told[id].ended && hth_scheduler_step(w->scheduler))
				;
			CHECK(w->told[id].ended && !w->told[id].failed);
		}
		double usual = (double)fake_cost(w->fake, n);
		for (uint32_t i = 1; i <= n; i++) {
			CHECK(!w->told[i].ended);
			printf("# answer %u: longest step %.2f times the usual\n", i, (double)w->told[i].widest_token_ns / usual);
			CHECK((double)w->told[i].widest_token_ns <= usual * 2);
		}
		CHECK(jump ? w->fake->slices > 20 : w->fake->slices == 0);
		/* ... and the newcomer does get on. */
		CHECK(w->told[9].ended_ns - w->told[8].ended_ns < w->fake->row_ns * 2000 * (jump ? 6 : 3));
		run_all(w);
		for (uint32_t i = 1; i <= n; i++)
			same_answer(&w->told[i], &expected[i]);
		free(expected);
	}
}

TEST(chunk_in_slices_is_given_up_with_its_job)
{
	WORLD(w, 3, 6, 512, 640); /* little memory: a newcomer's pages are taken when its slices begin */
	w->fake->step_ns = 20000000;
	w->fake->jump_ns = 60e6;
	w->fake->row_ns = 2000000;
	int32_t prompt[400];
	told *expected = calloc(3, sizeof *expected);
	for (uint32_t i = 1; i <= 2; i++) {
		make_prompt(w, prompt, i == 1 ? 20 : 300, 0, i);
		alone(&expected[i], prompt, i == 1 ? 20 : 300, (wish_t){.max_answer = 200, .seed = i, .no_eos = true});
	}
	make_prompt(w, prompt, 20, 0, 1);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 20, (wish_t){.max_answer = 200, .seed = 1, .no_eos = true}));
	for (int i = 0; i < 10; i++)
		hth_scheduler_step(w->scheduler);
	uint32_t free_pages = w->fake->free_pages;
	make_prompt(w, prompt, 300, 0, 7);
	hth_job *leaves = make_job(w, 7, prompt, 300, (wish_t){.max_answer = 10, .no_eos = true});
	hth_scheduler_add(w->scheduler, leaves);
	for (int i = 0; i < 50 && w->fake->n_slice == 0; i++)
		hth_scheduler_step(w->scheduler);
	CHECK(w->fake->n_slice > 0);
	hth_scheduler_step(w->scheduler);
	hth_scheduler_cancel(w->scheduler, leaves);
	hth_scheduler_step(w->scheduler);
	CHECK(w->told[7].cancelled);
	CHECK_INT(w->fake->n_slice, 0);
	CHECK(w->fake->free_pages + 2 >= free_pages); /* what the running answer took meanwhile */
	make_prompt(w, prompt, 300, 0, 2);
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 300, (wish_t){.max_answer = 200, .seed = 2, .no_eos = true}));
	make_prompt(w, prompt, 300, 0, 3);
	hth_scheduler_add(w->scheduler, make_job(w, 3, prompt, 300, (wish_t){.max_answer = 200, .seed = 3, .no_eos = true}));
	run_all(w);
	CHECK(w->fake->slices > 4);
	CHECK(w->told[3].ended && !w->told[3].failed);
	for (uint32_t i = 1; i <= 2; i++)
		same_answer(&w->told[i], &expected[i]);
	/* One that is ended with slices open leaves nothing behind. */
	hth_scheduler_add(w->scheduler, make_job(w, 4, prompt, 20, (wish_t){.max_answer = 200, .no_eos = true}));
	for (int i = 0; i < 10; i++)
		hth_scheduler_step(w->scheduler);
	make_prompt(w, prompt, 300, 0, 5);
	hth_scheduler_add(w->scheduler, make_job(w, 5, prompt, 300, (wish_t){.max_answer = 10, .no_eos = true}));
	for (int i = 0; i < 50 && w->fake->n_slice == 0; i++)
		hth_scheduler_step(w->scheduler);
	hth_scheduler_destroy(w->scheduler);
	w->scheduler = NULL;
	CHECK(w->told[4].ended && w->told[5].ended);
	CHECK_INT(w->fake->n_slice, 0);
	free(expected);
}

TEST(short_prompt_overtakes_a_long_one)
{
	WORLD(w, 4, 8, FAKE_CTX, 4 * FAKE_CTX);
	int32_t prompt[3000];
	make_prompt(w, prompt, 3000, 0, 1);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 3000, (wish_t){.max_answer = 2, .no_eos = true}));
	hth_scheduler_step(w->scheduler);
	hth_scheduler_step(w->scheduler);
	make_prompt(w, prompt, 20, 0, 2);
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 20, (wish_t){.max_answer = 2, .no_eos = true}));
	run_all(w);
	CHECK(w->told[2].first_ns < w->told[1].first_ns / 3);
}

/* ---- cancelling, as the reader's thread does it: in the middle of a step ---- */

typedef struct canceller {
	world *w;
	hth_job *job;
	uint64_t after_calls, at_ns;
} canceller;
static void cancel_midway(void *ctx, fake_engine *fake)
{
	canceller *c = ctx;
	if (c->job == NULL || fake->calls < c->after_calls)
		return;
	c->at_ns = fake->now;
	hth_scheduler_cancel(c->w->scheduler, c->job);
	c->job = NULL;
}

TEST(cancel_frees_the_slot_in_the_middle_of_a_chunk)
{
	WORLD(w, 1, 3, FAKE_CTX, 2 * FAKE_CTX);
	int32_t prompt[2000];
	make_prompt(w, prompt, 2000, 0, 1);
	canceller c = {.w = w, .after_calls = 2};
	w->fake->midway = cancel_midway;
	w->fake->midway_ctx = &c;
	c.job = make_job(w, 1, prompt, 2000, (wish_t){.max_answer = 10});
	hth_scheduler_add(w->scheduler, c.job);
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 30, (wish_t){.max_answer = 2, .no_eos = true}));
	run_all(w);
	CHECK(w->told[1].cancelled);
	CHECK_INT(w->told[1].ended_ns - c.at_ns, 0); /* nothing more was computed for it */
	CHECK(w->told[2].ended && !w->told[2].failed);
	CHECK_INT(w->told[2].done.usage.cached_tokens, 29); /* what it had computed is of use to the next */
	CHECK_INT(hth_scheduler_get_stats(w->scheduler).aborted, 1);
}

TEST(cancel_among_others_takes_effect_and_harms_nobody)
{
	WORLD(w, 3, 6, FAKE_CTX, 4 * FAKE_CTX);
	told *expected = calloc(1, sizeof *expected);
	int32_t prompt[2000];
	make_prompt(w, prompt, 50, 0, 1);
	wish_t wish1 = {.max_answer = 60, .seed = 7, .no_eos = true};
	alone(expected, prompt, 50, wish1);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 50, wish1));
	make_prompt(w, prompt, 50, 0, 2);
	canceller c = {.w = w, .after_calls = 12};
	c.job = make_job(w, 2, prompt, 50, (wish_t){.max_answer = 500, .no_eos = true});
	hth_scheduler_add(w->scheduler, c.job);
	w->fake->midway = cancel_midway;
	w->fake->midway_ctx = &c;
	run_all(w);
	CHECK(w->told[2].cancelled);
	CHECK(w->told[2].ended_ns - c.at_ns <= 200000000u);
	same_answer(&w->told[1], expected);
	free(expected);
}

TEST(cancelled_while_waiting_never_starts)
{
	WORLD(w, 1, 3, 512, 1024);
	int32_t prompt[50];
	make_prompt(w, prompt, 50, 0, 1);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 50, (wish_t){.max_answer = 10, .no_eos = true}));
	hth_job *waiting = make_job(w, 2, prompt, 50, (wish_t){.max_answer = 10});
	hth_scheduler_add(w->scheduler, waiting);
	hth_scheduler_step(w->scheduler);
	hth_scheduler_cancel(w->scheduler, waiting);
	hth_scheduler_step(w->scheduler);
	CHECK(w->told[2].cancelled);
	CHECK_INT(w->told[2].pieces, 0);
	run_all(w);
	CHECK(w->told[1].ended && !w->told[1].cancelled);
}

TEST(destroying_ends_every_job)
{
	WORLD(w, 2, 4, 512, 1024);
	int32_t prompt[50];
	make_prompt(w, prompt, 50, 0, 1);
	for (uint32_t i = 1; i <= 4; i++)
		hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 50, (wish_t){.max_answer = 10}));
	hth_scheduler_step(w->scheduler);
	hth_scheduler_destroy(w->scheduler);
	w->scheduler = NULL;
	for (uint32_t i = 1; i <= 4; i++)
		CHECK(w->told[i].ended && w->told[i].cancelled);
}

TEST(engine_failure_fails_who_was_in_it_and_the_next_is_served)
{
	WORLD(w, 2, 4, 512, 1024);
	int32_t prompt[50];
	make_prompt(w, prompt, 50, 0, 1);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 50, (wish_t){.max_answer = 10}));
	w->fake->fail_next = true;
	run_all(w);
	CHECK(w->told[1].failed);
	CHECK_STR(w->told[1].error.message, "made to fail");
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 50, (wish_t){.max_answer = 10, .no_eos = true}));
	run_all(w);
	CHECK(w->told[2].ended && !w->told[2].failed);
}

/* ---- the ends of answers ---- */

/* Makes the engine say a text: its tokens one by one, then the end. */
static void say(world *w, const char *text, uint32_t after, hth_tokens *tokens)
{
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_tokenizer_encode(w->tokenizer, text, strlen(text), 0, NULL, 0, tokens, &err));
	CHECK(hth_tokens_push(tokens, (int32_t)w->end_id));
	w->fake->script = tokens->ids;
	w->fake->n_script = (uint32_t)tokens->len;
	w->fake->script_at = after;
}

TEST(stop_string_is_cut_out_however_tokens_split_it)
{
	static const struct {
		const char *says, *stop, *answer;
		int which;
	} cases[] = {
	    {"one two three four", "three", "one two ", 0},
	    {"one two three four", " two three f", "one", 0},
	    {"one two three four", "thrice", "one two three four", -1}, /* held back, then given out */
	    {"aaab", "aab", "a", 0},
	    {"wait: sto", "stop", "wait: sto", -1}, /* the end comes while half of it is there */
	    {"caf\xC3\xA9 au lait", "\xC3\xA9", "caf", 0},
	    {"one", "one", "", 0},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		WORLD(w, 1, 3, 512, 1024);
		hth_tokens tokens = HTH_TOKENS_INIT(1000);
		int32_t prompt[20];
		make_prompt(w, prompt, 20, 0, 1);
		say(w, cases[i].says, 20, &tokens);
		hth_job *job = make_job(w, 1, prompt, 20, (wish_t){.max_answer = 100, .greedy = true, .stop = cases[i].stop});
		job->at_start = true;
		hth_scheduler_add(w->scheduler, job);
		run_all(w);
		CHECK_STR(w->told[1].text, cases[i].answer);
		CHECK_INT(w->told[1].done.stop, cases[i].which);
		CHECK_INT(w->told[1].done.reason, HTH_FINISH_STOP);
		hth_tokens_finish(&tokens);
	}
}

TEST(answer_ends_at_its_length_or_at_the_end_token)
{
	WORLD(w, 1, 3, 512, 1024);
	hth_tokens tokens = HTH_TOKENS_INIT(1000);
	int32_t prompt[20];
	make_prompt(w, prompt, 20, 0, 1);
	say(w, "yes and no", 20, &tokens);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 20, (wish_t){.max_answer = 100, .greedy = true}));
	run_all(w);
	CHECK_INT(w->told[1].done.reason, HTH_FINISH_STOP);
	CHECK_INT(w->told[1].done.usage.answer_tokens, tokens.len - 1);
	CHECK_INT(w->told[1].done.usage.prompt_tokens, 20);
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 20, (wish_t){.max_answer = 2, .greedy = true}));
	run_all(w);
	CHECK_INT(w->told[2].done.reason, HTH_FINISH_LENGTH);
	CHECK_INT(w->told[2].done.usage.answer_tokens, 2);
	/* Who ignores the end gets something else in its place. */
	hth_scheduler_add(w->scheduler, make_job(w, 3, prompt, 20, (wish_t){.max_answer = 50, .greedy = true, .no_eos = true}));
	run_all(w);
	CHECK_INT(w->told[3].done.reason, HTH_FINISH_LENGTH);
	CHECK_INT(w->told[3].done.usage.answer_tokens, 50);
	/* No answer wanted: the prompt is computed, and kept. */
	make_prompt(w, prompt, 20, 0, 5);
	hth_scheduler_add(w->scheduler, make_job(w, 4, prompt, 20, (wish_t){.max_answer = 0}));
	run_all(w);
	CHECK_INT(w->told[4].done.reason, HTH_FINISH_LENGTH);
	CHECK_INT(w->told[4].done.usage.answer_tokens, 0);
	CHECK_INT(w->told[4].len, 0);
	hth_tokens_finish(&tokens);
}

TEST(logprobs_come_with_every_token)
{
	WORLD(w, 1, 3, 512, 1024);
	int32_t prompt[20];
	make_prompt(w, prompt, 20, 0, 1);
	hth_scheduler_add(w->scheduler,
	                  make_job(w, 1, prompt, 20, (wish_t){.max_answer = 40, .top_logprobs = 4, .no_eos = true, .seed = 3}));
	run_all(w);
	CHECK_INT(w->told[1].n_logprobs, 40);
	CHECK_INT(w->told[1].n_top, 40 * 3);
}

TEST(embeddings_run_between_steps)
{
	WORLD(w, 2, 4, 512, 1024);
	int32_t prompt[20];
	make_prompt(w, prompt, 20, 0, 1);
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 20, (wish_t){.max_answer = 20, .no_eos = true}));
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 7, (wish_t){.embedding = true}));
	run_all(w);
	CHECK(w->told[1].ended && w->told[2].ended);
	CHECK_NEAR(w->told[2].embedding[0], 7, 0);
	CHECK_INT(w->told[2].done.usage.prompt_tokens, 7);
	CHECK(w->told[2].ended_ns < w->told[1].ended_ns);
	canceller c = {.w = w};
	c.job = make_job(w, 3, prompt, 7, (wish_t){.embedding = true});
	w->fake->midway = cancel_midway;
	w->fake->midway_ctx = &c;
	hth_scheduler_add(w->scheduler, c.job);
	run_all(w);
	CHECK(w->told[3].cancelled);
}

/* ---- guessing ahead ---- */

TEST(guesses_change_the_time_and_not_the_answer)
{
	WORLD(w, 2, 6, 2048, 8 * 1024);
	int32_t prompt[40];
	make_prompt(w, prompt, 40, 0, 1);
	w->fake->period = 25; /* a text that goes round in circles */
	w->fake->row_ns = w->fake->step_ns / 12;
	hth_scheduler_add(w->scheduler, make_job(w, 1, prompt, 40, (wish_t){.max_answer = 300, .greedy = true, .no_eos = true}));
	run_all(w);
	hth_scheduler_stats stats = hth_scheduler_get_stats(w->scheduler);
	CHECK(stats.drafts_taken > 150);
	CHECK(stats.steps < 150);
	for (uint32_t i = 0; i < 300; i++)
		if (w->told[1].ids[i] != prompt[40 - 25 + i % 25]) {
			CHECK_INT(i, -1);
			break;
		}
	CHECK_INT(w->told[1].done.usage.answer_tokens, 300);
	printf("# 300 tokens in %llu steps, %llu of %llu guesses right\n", (unsigned long long)stats.steps,
	       (unsigned long long)stats.drafts_taken, (unsigned long long)stats.drafted);
	/* With a draw that is not greedy, the same seed draws the same: compare with an engine too dear to guess on. */
	w->fake->period = 0;
	hth_scheduler_add(w->scheduler, make_job(w, 2, prompt, 40, (wish_t){.max_answer = 200, .seed = 5, .no_eos = true}));
	run_all(w);
	told *expected = calloc(1, sizeof *expected);
	alone(expected, prompt, 40, (wish_t){.max_answer = 200, .seed = 5, .no_eos = true});
	same_answer(&w->told[2], expected);
	free(expected);
}

/* A smaller model guesses ahead of text that never repeats itself: one that is always right, one that is always wrong, and one that is
 * right in the first half, and one that never dares. What is written is the same with each, greedy or drawn. */
TEST(smaller_model_changes_the_time_and_not_the_answer)
{
	enum { N = 240 };
	enum { NONE, RIGHT, WRONG, HALF, UNSURE, KINDS };
	told *expected = calloc(2, sizeof *expected);
	for (int kind = NONE; kind < KINDS; kind++) {
		WORLD(w, 3, 6, 1024, 8 * 1024);
		int32_t prompt[100], text[N], other[N];
		make_prompt(w, prompt, 100, 0, 1);
		make_prompt(w, text, N, 0, 50);
		make_prompt(w, other, N, 0, 51);
		if (kind == HALF)
			memcpy(other, text, N / 2 * sizeof *text);
		w->fake->script = text;
		w->fake->n_script = N;
		w->fake->script_at = 100;
		w->fake->row_ns = w->fake->step_ns / 12;
		hth_compute draft_compute;
		fake_engine *draft = fake_create(w->tokenizer, 2, 1024, 1024, &draft_compute); /* for fewer answers than there are */
		draft->script = kind == RIGHT ? text : kind == UNSURE ? NULL : other;
		draft->n_script = N;
		draft->script_at = 100;
		draft->step_ns = w->fake->step_ns / 10;
		draft->row_ns = draft->step_ns / 12;
		if (kind != NONE) {
			hth_error err = HTH_ERROR_INIT;
			hth_scheduler_events events = {.ctx = w, .piece = on_piece, .embedding = on_embedding, .ended = on_ended};
			hth_scheduler_destroy(w->scheduler);
			w->scheduler = NULL;
			w->compute.draft = &draft_compute;
			REQUIRE_OK(hth_scheduler_create(&w->scheduler, &w->compute, 3, &events, &err));
		}
		uint64_t steps[3];
		for (uint32_t i = 1; i <= 2; i++) {
			hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 100,
			                                         (wish_t){.max_answer = N, .greedy = i == 1, .seed = 9, .no_eos = true}));
			run_all(w);
			steps[i] = hth_scheduler_get_stats(w->scheduler).steps;
			if (kind == NONE)
				expected[i - 1] = w->told[i];
			else
				same_answer(&w->told[i], &expected[i - 1]);
		}
		hth_scheduler_stats stats = hth_scheduler_get_stats(w->scheduler);
		printf("# kind %d: %llu steps, %llu of %llu guesses right\n", kind, (unsigned long long)steps[2],
		       (unsigned long long)stats.drafts_taken, (unsigned long long)stats.drafted);
		if (kind == RIGHT)
			CHECK(stats.drafts_taken > N && steps[2] < N);
		if (kind == WRONG)
			CHECK(stats.drafts_taken == 0 && stats.drafted < 2 *
			      N / 6); /* it is asked now and then, to see whether it has become better */
		if (kind == UNSURE)
			CHECK(stats.drafted == 0 && draft->calls < 2 * N / 6);
		if (kind == HALF)
			CHECK(stats.drafts_taken > N / 2 && stats.drafted < stats.drafts_taken + 2 * N / 6);
		/* Several at once, one more than it can follow, and one that leaves. */
		for (uint32_t i = 3; i <= 5; i++)
			hth_scheduler_add(w->scheduler, make_job(w, i, prompt, 100, (wish_t){.max_answer = N, .seed = 9, .no_eos = true}));
		run_all(w);
		for (uint32_t i = 3; i <= 5; i++)
			same_answer(&w->told[i], &expected[1]);
		hth_scheduler_destroy(w->scheduler);
		w->scheduler = NULL;
		fake_destroy(draft);
	}
	free(expected);
}

TEST(guesses_of_bound_answers_obey_their_grammar)
{
	told *dear = calloc(3, sizeof *dear);
	/* A text that goes round in circles, which the grammar breaks now and then; with guesses and with hardly any. */
	static const char *const grammars[] = {"root ::= ([a-z]+ [^a-z] | [^a-z])*", "root ::= ([a-z ]{1,40} \"!\"){100}",
	                                       "root ::= [^~]{1,5000}"};
	for (int cheap = 0; cheap < 2; cheap++) {
		WORLD(w, 2, 6, 2048, 8 * 1024);
		int32_t prompt[40];
		make_prompt(w, prompt, 40, 0, 1);
		w->fake->period = 25;
		w->fake->row_ns = cheap ? w->fake->step_ns / 12 : w->fake->step_ns * 3;
		for (uint32_t i = 0; i < HTH_COUNT(grammars); i++) {
			hth_scheduler_add(w->scheduler, make_job(w, i + 1, prompt, 40,
			                                         (wish_t){.max_answer = 600, .greedy = i != 1, .seed = 3, .no_eos = true,
			                                                                     .grammar = grammars[i]}));
			run_all(w);
			if (cheap)
				same_answer(&w->told[i + 1], &dear[i]);
			else
				dear[i] = w->told[i + 1];
		}
		hth_scheduler_stats stats = hth_scheduler_get_stats(w->scheduler);
		printf("# rows %s: %llu steps, %llu of %llu guesses right\n", cheap ? "cheap" : "dear", (unsigned long long)stats.steps,
		       (unsigned long long)stats.drafts_taken, (unsigned long long)stats.drafted);
		CHECK(cheap ? stats.drafts_taken > 100 : stats.drafts_taken < 100);
	}
	free(dear);
}

TEST(guesses_stop_when_they_do_not_pay)
{
	hth_speculation s;
	hth_speculation_init(&s);
	hth_pace pace = {0};
	for (uint64_t rows = 1; rows < 12; rows++)
		hth_pace_note(&pace, rows, 40000000 + rows * 8000000);
	int32_t tokens[200], drafts[8];
	for (int i = 0; i < 200; i++)
		tokens[i] = i % 20;
	CHECK(hth_speculation_draft(&s, &pace, 1, 1, tokens, 200, 8, drafts) > 0);
	CHECK_INT(drafts[0], 0);
	for (int i = 0; i < 30; i++)
		hth_speculation_learn(&s, 4, 0);
	unsigned tried = 0;
	for (int i = 0; i < 100; i++)
		tried += hth_speculation_draft(&s, &pace, 1, 1, tokens, 200, 8, drafts) > 0;
	CHECK(tried >= 1 && tried <= 4); /* only now and then, to see whether the text has changed */
	for (int i = 0; i < 30; i++)
		hth_speculation_learn(&s, 4, 4);
	CHECK(hth_speculation_draft(&s, &pace, 1, 1, tokens, 200, 8, drafts) >= 4);
	/* On a machine that is full anyway, a row costs what a token brings. */
	hth_pace full = {0};
	for (uint64_t rows = 1; rows < 20; rows++)
		hth_pace_note(&full, rows, rows * 8000000);
	s.lookup.waiting = 10;
	CHECK_INT(hth_speculation_draft(&s, &full, 8, 8, tokens, 200, 8, drafts), 0);
}

/* ---- neighbours' work: it takes neither a slot, nor memory, nor time from the home's own ---- */

/* How long a neighbour's answer takes to begin must not say whether this home was asked the same before. */
TEST(background_jobs_take_nothing_from_what_others_computed)
{
	enum { PROMPT = 200 };
	int32_t prompt[PROMPT];
	WORLD(w, 2, 8, 512, 4096);
	make_prompt(w, prompt, PROMPT, 0, 7);
	for (uint32_t id = 0; id < 3; id++) {
		hth_job *job = make_job(w, id, prompt, PROMPT, (wish_t){.max_answer = 4, .no_eos = true, .seed = 3});
		job->ask.input.background = id == 1;
		hth_scheduler_add(w->scheduler, job);
		run_all(w);
	}
	CHECK_INT(w->told[1].done.usage.cached_tokens, 0);
	CHECK(w->told[2].done.usage.cached_tokens > PROMPT / 2);
	same_answer(&w->told[1], &w->told[0]);
}

/* A home never gets slower by having neighbours: what it keeps of its own answers stays, whatever they ask for. */
TEST(background_jobs_push_out_nothing_that_the_home_keeps)
{
	enum { PROMPT = 192, OWN = 3, PAGES_EACH = 7 };
	int32_t prompt[PROMPT], theirs[PROMPT];
	for (int room = 0; room < 2; room++) { /* for nothing beside what is kept; for one more */
		WORLD(w, 4, 16, 512, (OWN + room) * PAGES_EACH * 32 + 96);
		uint32_t id = 0;
		for (uint32_t own = 0; own < OWN; own++) {
			make_prompt(w, prompt, PROMPT, 0, own);
			hth_scheduler_add(w->scheduler, make_job(w, id++, prompt, PROMPT,
			                                         (wish_t){.max_answer = 4, .no_eos = true, .seed = 3}));
			run_all(w);
		}
		for (int i = 0; i < 4; i++) { /* several at once, and more than fit */
			make_prompt(w, theirs, PROMPT, 0, 100 + i);
			hth_job *job = make_job(w, id++, theirs, PROMPT, (wish_t){.max_answer = 4, .no_eos = true, .seed = 3});
			job->ask.input.background = true;
			hth_scheduler_add(w->scheduler, job);
		}
		run_all(w);
		for (uint32_t i = OWN; i < OWN + 4; i++) {
			CHECK(w->told[i].ended && w->told[i].failed == !room);
			CHECK_INT(w->told[i].error.status, room ? HTH_OK : HTH_BUSY);
		}
		for (int i = 0; room && i < 2; i++) { /* one is at work when the home's own comes: it gives way, not what is kept */
			make_prompt(w, theirs, PROMPT, 0, 200);
			hth_job *job = make_job(w, id++, theirs, PROMPT, (wish_t){.max_answer = 8, .no_eos = true, .seed = 3});
			job->ask.input.background = i == 0;
			hth_scheduler_add(w->scheduler, job);
			for (int k = 0; k < (i == 0 ? 4 : 60) && !w->told[id - 1].ended; k++)
				hth_scheduler_step(w->scheduler);
		}
		if (room) {
			CHECK(w->told[id - 1].ended && !w->told[id - 1].failed && !w->told[id - 2].ended);
			CHECK_INT(w->told[id - 1].done.usage.cached_tokens, 0);
		}
		for (uint32_t own = 0; own < OWN; own++, id++) {
			make_prompt(w, prompt, PROMPT, 0, own);
			hth_scheduler_add(w->scheduler, make_job(w, id, prompt, PROMPT,
			                                         (wish_t){.max_answer = 4, .no_eos = true, .seed = 3}));
			for (int k = 0; k < 60 && !w->told[id].ended; k++)
				hth_scheduler_step(w->scheduler);
			CHECK(w->told[id].done.usage.cached_tokens > PROMPT - 4);
		}
		run_all(w);
	}
}

/* But memory that the home has not used for as long as an idle model stays loaded is lent, or a home with a past would lend nothing. */
TEST(background_jobs_have_the_room_of_what_was_not_used_for_long)
{
	enum { PROMPT = 192, OWN = 3, PAGES_EACH = 7 };
	int32_t prompt[PROMPT];
	WORLD(w, 4, 16, 512, OWN * PAGES_EACH * 32 + 96);
	for (uint32_t id = 0; id < OWN + 2; id++) {
		const bool lent = id >= OWN;
		make_prompt(w, prompt, PROMPT, 0, id);
		hth_job *job = make_job(w, id, prompt, PROMPT, (wish_t){.max_answer = 4, .no_eos = true, .seed = 3});
		job->ask.input.background = lent;
		hth_scheduler_add(w->scheduler, job);
		run_all(w);
		CHECK_INT(w->told[id].error.status, id == OWN ? HTH_BUSY : HTH_OK);
		if (id == OWN)
			w->fake->now += 301ull * 1000000000;
	}
}

TEST(background_jobs_rest_while_there_are_others)
{
	enum { PROMPT = 100, ANSWER_TOKENS = 30 };
	int32_t prompt[PROMPT];
	told alone = {0};
	{
		WORLD(w, 2, 8, 512, 4096);
		make_prompt(w, prompt, PROMPT, 0, 7);
		hth_scheduler_add(w->scheduler, make_job(w, 0, prompt, PROMPT,
		                                         (wish_t){.max_answer = ANSWER_TOKENS, .no_eos = true, .seed = 3}));
		run_all(w);
		alone = w->told[0];
	}
	for (int tight = 0; tight < 2; tight++) {
		/* Two slots that background jobs have taken; and memory for not much more than those. */
		WORLD(w, 2, 8, 512, tight ? 384 : 4096);
		for (uint32_t id = 1; id <= 3; id++) {
			make_prompt(w, prompt, PROMPT, 0, 100 + id);
			hth_job *job = make_job(w, id, prompt, PROMPT, (wish_t){.max_answer = ANSWER_TOKENS, .no_eos = true, .seed = id});
			job->ask.input.background = true;
			hth_scheduler_add(w->scheduler, job);
		}
		for (int i = 0; i < 6; i++)
			hth_scheduler_step(w->scheduler);
		size_t before[4];
		for (uint32_t id = 1; id <= 3; id++)
			before[id] = w->told[id].pieces;
		CHECK(before[1] > 0);
		make_prompt(w, prompt, PROMPT, 0, 7);
		hth_scheduler_add(w->scheduler, make_job(w, 0, prompt, PROMPT,
		                                         (wish_t){.max_answer = ANSWER_TOKENS, .no_eos = true, .seed = 3}));
		for (int i = 0; i < 200 && !w->told[0].ended; i++)
			hth_scheduler_step(w->scheduler);
		same_answer(&w->told[0], &alone);
		for (uint32_t id = 1; id <= 3; id++)
			CHECK_INT(w->told[id].pieces, before[id]);
		run_all(w);
		for (uint32_t id = 1; id <= 3; id++) {
			CHECK(w->told[id].ended && !w->told[id].failed);
			CHECK_INT(w->told[id].n_ids, ANSWER_TOKENS);
		}
	}
}

TEST_MAIN()
