/* Answers that go on after a cut, from the real child with the starter model: wherever it is made, what came before and what comes after
 * are the undisturbed answer. And the other use of an answer's tokens: weighing whether this model would have chosen them. */
#include "runner-world.h"

#include "runner/runner-messages.h"

enum { ANSWER_MAX = 200 };

/* An answer with its cuts: after each token, how much text had been given out. */
typedef struct kept {
	hth_request *request;
	char *text;
	size_t len;
	int32_t ids[ANSWER_MAX];
	size_t at[ANSWER_MAX + 1]; /* bytes that were out after so many tokens */
	size_t n_ids, n_evidence;
	hth_token_evidence evidence[ANSWER_MAX];
	uint32_t n_tokens;
	bool ended;
} kept;

static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	kept *k = ctx;
	(void)request;
	k->text = realloc(k->text, k->len + piece->len + 1);
	memcpy(k->text + k->len, piece->text, piece->len);
	k->text[k->len += piece->len] = '\0';
	CHECK(piece->n_ids == piece->n_tokens || !request->input.with_ids);
	for (size_t i = 0; i < piece->n_ids && k->n_ids < ANSWER_MAX; i++)
		k->ids[k->n_ids++] = piece->ids[i];
	k->at[k->n_ids] = k->len;
	for (size_t i = 0; i < piece->n_evidence && k->n_evidence < ANSWER_MAX; i++)
		k->evidence[k->n_evidence++] = piece->evidence[i];
	k->n_tokens += piece->n_tokens;
}
static void on_ended(void *ctx, hth_request *request)
{
	(void)request;
	((kept *)ctx)->ended = true;
}
static const hth_request_sink sink = {.piece = on_piece, .ended = on_ended};

typedef struct way {
	const char *name, *words, *grammar, *stop, *trigger;
	uint64_t seed;
	bool long_one; /* it does not end by itself */
	float temperature, repeat;
	int32_t mirostat;
	int max_tokens;
	bool every_token; /* its cuts fall into characters: say so */
} way;

static hth_request *ask(kept *k, const way *y)
{
	told t = {0};
	hth_request *request = new_chat(&t, y->words, y->max_tokens);
	request->sink = &sink;
	request->sink_ctx = k;
	request->input.with_ids = true;
	request->params.sampling.temperature = y->temperature;
	request->params.sampling.mirostat = y->mirostat;
	request->params.ignore_eos = y->long_one;
	if (y->seed != 0)
		request->params.sampling.seed = y->seed;
	if (y->repeat > 0)
		request->params.sampling.repeat_penalty = y->repeat;
	if (y->grammar != NULL)
		request->params.grammar = strdup(y->grammar);
	if (y->trigger != NULL)
		request->params.grammar_trigger = strdup(y->trigger);
	if (y->stop != NULL)
		request->params.stop[request->params.n_stop++] = strdup(y->stop);
	return k->request = request;
}

static void run(world *w, kept *k)
{
	hth_error err = HTH_ERROR_INIT;
	if (k->text == NULL)
		k->text = strdup("");
	REQUIRE_OK(hth_runner_submit(w->runner, k->request, &err));
	WORLD_UNTIL(w, k->ended, 30000);
	if (k->request->state == HTH_REQUEST_FAILED)
		printf("# %s\n", k->request->error.message);
}

static void kept_finish(kept *k)
{
	hth_request_unref(k->request);
	free(k->text);
	*k = (kept){0};
}

static void set_resume(hth_request *request, const int32_t *ids, size_t n, size_t bytes)
{
	request->input.resume = calloc(n ? n : 1, sizeof *ids);
	memcpy(request->input.resume, ids, n * sizeof *ids);
	request->input.n_resume = n;
	request->input.resume_bytes = bytes;
}

static void cut_everywhere(world *w, const way *y)
{
	static kept whole, rest;
	ask(&whole, y);
	run(w, &whole);
	CHECK_INT(whole.request->state, HTH_REQUEST_DONE);
	CHECK(whole.n_ids > 3);
	size_t in_character = 0, held = 0;
	printf("# %s: %zu tokens, %zu bytes\n", y->name, whole.n_ids, whole.len);
	/* Everywhere where the place matters (within a character, a stop string, a sentence of a grammar); elsewhere here and there. */
	size_t stride = y->every_token || y->stop != NULL || whole.n_ids < 20 ? 1 : 7;
#ifdef __SANITIZE_THREAD__
	stride = HTH_MAX(stride, whole.n_ids / 2); /* who touches what is the same wherever the cut is, and takes ten times as long */
#endif
	for (size_t cut = 0; cut <= whole.n_ids; cut += HTH_MIN(stride, HTH_MAX(whole.n_ids - cut, (size_t)1))) {
		ask(&rest, y);
		set_resume(rest.request, whole.ids, cut, whole.at[cut]);
		run(w, &rest);
		held += cut > 0 && whole.at[cut] == whole.at[cut - 1];
		in_character += cut > 0 && y->every_token && whole.at[cut] == whole.at[cut - 1];
		CHECK_INT(rest.request->state, HTH_REQUEST_DONE);
		if (strcmp(rest.text, whole.text + whole.at[cut]) != 0) {
			printf("# cut after %zu tokens\n", cut);
			CHECK_STR(rest.text, whole.text + whole.at[cut]);
		}
		CHECK_INT(rest.n_ids, whole.n_ids - cut);
		CHECK(memcmp(rest.ids, whole.ids + cut, rest.n_ids * sizeof *rest.ids) == 0);
		CHECK_INT(rest.request->finish_reason, whole.request->finish_reason);
		CHECK((rest.request->stop_hit != NULL) == (whole.request->stop_hit != NULL));
		CHECK_INT(rest.request->usage.answer_tokens, whole.request->usage.answer_tokens);
		CHECK_INT(rest.request->usage.prompt_tokens, whole.request->usage.prompt_tokens);
		kept_finish(&rest);
	}
	if (y->stop != NULL)
		CHECK(held > 0 || stride > 1); /* some cut fell where the text may have been the stop string's beginning */
	if (y->every_token)
		CHECK(in_character > 0 || stride > 1);
	kept_finish(&whole);
}

static const char letters[] = "root ::= (\"\xC3\xA9\" | \"\xE6\x97\xA5\xE6\x9C\xAC\" | \"\xF0\x9F\x8D\x95\" | \" ok\"){8,12} \".\"";
static const char object[] = "root ::= \"{\\\"a\\\": [\" item (\", \" item){2,40} \"]}\"\nitem ::= [0-9]{1,3} | \"\\\"\" [a-z ]{1,12} "
                             "\"\\\"\"";

TEST(a_cut_answer_goes_on_as_if_undisturbed)
{
	static const way ways[] = {
	    {.name = "greedy", .words = "I would like to book a table for two.", .max_tokens = 40},
	    {.name = "sampled", .words = "Tell me something", .temperature = 1, .max_tokens = 40},
	    {.name = "sampled at length", .words = "I would like to book a table for two.", .temperature = 1, .seed = 12345,
	     .long_one = true, .max_tokens = 60},
	    {.name = "penalties", .words = "I want to see a movie tonight.", .temperature = 0.9f, .repeat = 1.3f, .max_tokens = 40},
	    {.name = "mirostat", .words = "Hello", .temperature = 0.9f, .mirostat = 2, .max_tokens = 24},
	    {.name = "length", .words = "Book me a hotel in Paris.", .temperature = 1, .max_tokens = 9},
	    {.name = "characters", .words = "Hello", .grammar = letters, .temperature = 1, .max_tokens = 40, .every_token = true},
	    {.name = "bound", .words = "Order a large coffee please", .grammar = object, .temperature = 1, .max_tokens = 80},
	    {.name = "hurried", .words = "Order a large coffee please", .grammar = object, .temperature = 1, .max_tokens = 30},
	    {.name = "stopped", .words = "Hello", .grammar = "root ::= (\"ab\" | \"abcd\" | \"xy \"){5,9} \"abcde\" [a-z]{9,20}",
	     .stop = "abcde", .temperature = 1, .max_tokens = 60},
	};
	WORLD(w, {.n_slots = 1, .n_threads = 1});
	for (size_t i = 0; i < HTH_COUNT(ways); i++)
		cut_everywhere(&w, &ways[i]);
	world_finish(&w);
}

/* Another home's runner has computed nothing of it: all of the answer so far is a prompt to it. */
TEST(another_runner_goes_on_with_the_same_words)
{
	static const way ways[] = {
	    {.name = "sampled", .words = "I would like to book a table for two.", .temperature = 1, .seed = 12345, .long_one = true,
	     .max_tokens = 60},
	    {.name = "greedy", .words = "Tell me something", .long_one = true, .max_tokens = 60},
	};
	static kept whole[HTH_COUNT(ways)], rest;
	{
		WORLD(w, {.n_slots = 1});
		for (size_t i = 0; i < HTH_COUNT(ways); i++) {
			ask(&whole[i], &ways[i]);
			run(&w, &whole[i]);
		}
		world_finish(&w);
	}
	for (size_t cut = 3; cut < 60; cut += 19) {
		WORLD(w, {.n_slots = 1});
		for (size_t i = 0; i < HTH_COUNT(ways); i++) {
			ask(&rest, &ways[i]);
			set_resume(rest.request, whole[i].ids, cut, whole[i].at[cut]);
			run(&w, &rest);
			CHECK_STR(rest.text, whole[i].text + whole[i].at[cut]);
			kept_finish(&rest);
		}
		world_finish(&w);
	}
	for (size_t i = 0; i < HTH_COUNT(ways); i++)
		kept_finish(&whole[i]);
}

TEST(what_cannot_be_gone_on_with_is_refused)
{
	WORLD(w, {.n_slots = 1});
	static const way y = {.name = "", .words = "Hello", .max_tokens = 20};
	static const way bound = {.name = "", .words = "Hello", .max_tokens = 20, .grammar = "root ::= [0-9]+"};
	const struct {
		const way *y;
		int32_t ids[2];
		size_t bytes;
	} cases[] = {{&y, {-1, 5}, 0}, {&y, {3072, 5}, 0}, {&bound, {300, 301}, 0}, {&y, {300, 301}, 5000}};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		static kept k;
		ask(&k, cases[i].y);
		set_resume(k.request, cases[i].ids, 2, cases[i].bytes);
		run(&w, &k);
		CHECK_INT(k.request->state, HTH_REQUEST_FAILED);
		CHECK(k.request->error.status == HTH_INVALID || k.request->error.status == HTH_UNSUPPORTED);
		CHECK_INT(k.len, 0);
		kept_finish(&k);
	}
	world_finish(&w);
}

static size_t misses(const kept *k, float tolerance)
{
	size_t n = 0;
	for (size_t i = 0; i < k->n_evidence; i++)
		n += k->evidence[i].miss > tolerance;
	return n;
}

TEST(tokens_are_weighed_against_what_this_model_chooses)
{
	WORLD(w, {.n_slots = 2});
	static const way ways[] = {{.name = "greedy", .words = "I would like to book a table for two.", .max_tokens = 40},
	                           {.name = "sampled", .words = "Tell me something", .temperature = 1, .max_tokens = 40},
	                           {.name = "bound", .words = "Order a large coffee please", .grammar = object, .temperature = 1,
	                            .max_tokens = 60}};
	for (size_t i = 0; i < HTH_COUNT(ways); i++) {
		static kept whole, weighed;
		ask(&whole, &ways[i]);
		run(&w, &whole);
		for (int other = 0; other < 3; other++) {
			way y = ways[i];
			if (other == 1)
				y.words = "Cancel my appointment with the dentist";
			ask(&weighed, &y);
			set_resume(weighed.request, whole.ids, whole.n_ids, 0);
			if (other == 2) /* tokens from nowhere */
				for (size_t k = 0; k < whole.n_ids && y.grammar == NULL; k++)
					weighed.request->input.resume[k] = (int32_t)(300 + 37 * k % 2000);
			weighed.request->input.weigh = true;
			weighed.request->input.background = true;
			run(&w, &weighed);
			printf("# %s%s: %zu of %zu missed\n", y.name, other == 0 ? "" : other == 1 ? ", another prompt" : ", made up",
			       misses(&weighed, 0.02f), weighed.n_evidence);
			CHECK_INT(weighed.n_evidence, whole.n_ids);
			if (other == 0) {
				CHECK_INT(misses(&weighed, 0.02f), 0);
				CHECK_STR(weighed.text, whole.text);
			} else if (y.grammar == NULL) {
				CHECK(misses(&weighed, 0.02f) > whole.n_ids / 4);
			}
			kept_finish(&weighed);
		}
		kept_finish(&whole);
	}
	world_finish(&w);
}

int hth_test_main(int argc, char **argv);
#define main hth_test_main
TEST_MAIN()
#undef main
int main(int argc, char **argv)
{
	setenv("TSAN_OPTIONS", "halt_on_error=1", 0);
	return argc > 1 && strcmp(argv[1], "__runner") == 0 ? hth_runner_main(argc, argv) : hth_test_main(argc, argv);
}
