/* Answers bound to a grammar, from the real child with the starter model: 4.7 million parameters that know nothing of JSON, so that
 * whatever is right about these answers is the grammar's doing. */
#include "runner-world.h"

#include "engine/grammar/grammar.h"
#include "schema/schema.h"

static hth_grammar *compile(const char *text)
{
	hth_grammar *g = NULL;
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_grammar_compile(&g, NULL, text, strlen(text), &err));
	return g;
}

/* 0: not of the grammar, 1: the beginning of a sentence, 2: a sentence. */
static int how_far(hth_grammar *g, const char *text, size_t len)
{
	hth_grammar_matcher *m = NULL;
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_grammar_matcher_create(&m, g, &err));
	int far = hth_grammar_accept_bytes(m, text, len) ? 1 + hth_grammar_may_end(m) : 0;
	hth_grammar_matcher_destroy(m);
	return far;
}

static hth_request *bound_chat(told *t, const char *grammar, int max_tokens, uint64_t seed)
{
	hth_request *request = new_chat(t, "I want to order a pizza", max_tokens);
	request->params.grammar = strdup(grammar);
	request->params.sampling.temperature = 1;
	request->params.sampling.seed = seed;
	return request;
}

static void check_done(const told *t, hth_finish_reason reason)
{
	CHECK_INT(t->request->state, HTH_REQUEST_DONE);
	if (t->request->state == HTH_REQUEST_FAILED)
		printf("# %s\n", t->request->error.message);
	else
		CHECK_INT(t->request->finish_reason, reason);
}

/* On one line, as TAP wants it. */
static void show(const told *t)
{
	printf("# ");
	for (size_t i = 0; i < t->len; i++)
		putchar(t->text[i] == '\n' ? ' ' : t->text[i]);
	printf("\n");
}

static const char order_schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"dish\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":20},"
    "\"size\":{\"enum\":[\"small\",\"large\",\"\\u00e9norme\"]},"
    "\"count\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":12},"
    "\"price\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":99.5},"
    "\"extras\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":8},\"maxItems\":3},"
    "\"when\":{\"anyOf\":[{\"type\":\"string\",\"format\":\"date\"},{\"type\":\"null\"}]}},"
    "\"required\":[\"dish\",\"size\",\"count\",\"when\"],\"additionalProperties\":false}";

static char *grammar_of(const char *schema, json_t **ret_schema)
{
	hth_error err = HTH_ERROR_INIT;
	hth_buf gbnf = HTH_BUF_INIT(1 << 20);
	CHECK_OK(hth_json_parse(ret_schema, schema, strlen(schema), &err));
	CHECK_OK(hth_schema_grammar(*ret_schema, &gbnf, &err));
	hth_buf_append_char(&gbnf, '\0');
	return hth_buf_steal(&gbnf, NULL);
}

TEST(two_hundred_seeds_all_satisfy_the_schema)
{
	enum { SEEDS = HTH_SANITIZED ? 16 : 200, AT_ONCE = 8 };
	hth_error error = HTH_ERROR_INIT;
	json_t *schema = NULL;
	HTH_AUTO_FREE char *gbnf = grammar_of(order_schema, &schema);
	hth_grammar *g = compile(gbnf);
	unsigned whole = 0, cut = 0;
	WORLD(w, {.n_slots = 4});
	for (unsigned first = 0; first < SEEDS; first += AT_ONCE) {
		told t[AT_ONCE] = {{0}};
		for (unsigned i = 0; i < AT_ONCE; i++) {
			bound_chat(&t[i], gbnf, -1, first + i);
			submit(&w, &t[i]);
		}
		for (unsigned i = 0; i < AT_ONCE; i++) {
			WORLD_UNTIL(&w, t[i].ended, 60000);
			CHECK_INT(t[i].request->state, HTH_REQUEST_DONE);
			bool ended = t[i].request->finish_reason == HTH_FINISH_STOP, accepts = false;
			json_t *value = NULL;
			whole += ended;
			cut += !ended;
			if (first + i < 3)
				show(&t[i]);
			if (!ended) {
				CHECK(how_far(g, t[i].text, t[i].len - (t[i].len > 3 &&
				                                        memcmp(t[i].text + t[i].len - 3, "\xEF\xBF\xBD", 3) == 0 ? 3
				                                        : 0)) > 0);
			} else if (how_far(g, t[i].text, t[i].len) != 2 || hth_json_parse(&value, t[i].text, t[i].len, &error) != HTH_OK ||
			           hth_schema_accepts(schema, value, &accepts, &error) != HTH_OK || !accepts) {
				test_fail(__FILE__, __LINE__, "seed %u: %s", first + i, t[i].text);
			}
			json_decref(value);
			told_finish(&t[i]);
		}
	}
	printf("# %u answers whole, %u cut by the context's end\n", whole, cut);
	CHECK(whole >= SEEDS * 9 / 10);
	world_finish(&w);
	hth_grammar_destroy(g);
	json_decref(schema);
}

TEST(answer_cut_by_max_tokens_is_a_beginning)
{
	WORLD(w, {.n_slots = 2});
	json_t *schema = NULL;
	HTH_AUTO_FREE char *gbnf = grammar_of(order_schema, &schema);
	hth_grammar *g = compile(gbnf);
	for (int max = 1; max <= 9; max += 4) {
		told t = {0};
		bound_chat(&t, gbnf, max, 7);
		run_one(&w, &t);
		check_done(&t, HTH_FINISH_LENGTH);
		CHECK_INT(t.request->usage.answer_tokens, max);
		CHECK_INT(how_far(g, t.text, t.len), 1);
		told_finish(&t);
	}
	/* A sentence that is whole with the last token that it may have ended by itself. */
	told t = {0};
	bound_chat(&t, "root ::= \"7\"", 2, 7); /* perhaps a space of the tokenizer's before it */
	run_one(&w, &t);
	check_done(&t, HTH_FINISH_STOP);
	CHECK_STR(t.text, "7");
	told_finish(&t);
	world_finish(&w);
	hth_grammar_destroy(g);
	json_decref(schema);
}

/* Words without end: the schema bounds no string and no list, and the context or max_tokens would cut them anywhere. */
TEST(bound_answer_ends_whole_where_its_tokens_suffice)
{
	static const char loose[] = "{\"type\":\"object\",\"properties\":{\"note\":{\"type\":\"string\"},\"tags\":{\"type\":\"array\","
	                            "\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"}},"
	                            "\"required\":[\"name\"]}}},\"required\":[\"note\",\"tags\"]}";
	enum { N = HTH_SANITIZED ? 16 : 48 };
	hth_error error = HTH_ERROR_INIT;
	json_t *schema = NULL;
	HTH_AUTO_FREE char *gbnf = grammar_of(loose, &schema);
	told t[N] = {{0}};
	unsigned full = 0;
	WORLD(w, {.n_slots = 4});
	for (unsigned i = 0; i < N; i++) {
		hth_request *request = bound_chat(&t[i], gbnf, i % 3 == 0 ? -1 : 24 + (int)i, i);
		request->params.ignore_eos = i % 5 == 0;
		request->params.top_logprobs = i % 7 == 0 ? 1 : -1;
		request->params.sampling.temperature = i % 11 == 0 ? 0 : 1;
		submit(&w, &t[i]);
	}
	for (unsigned i = 0; i < N; i++) {
		WORLD_UNTIL(&w, t[i].ended, 60000);
		check_done(&t[i], HTH_FINISH_STOP);
		bool accepts = false;
		json_t *value = NULL;
		int64_t max = t[i].request->params.max_tokens;
		CHECK(max < 0 || t[i].request->usage.answer_tokens <= max);
		CHECK(t[i].request->params.top_logprobs < 0 || t[i].n_logprobs == t[i].request->usage.answer_tokens);
		full += max > 0 && t[i].request->usage.answer_tokens + 4 >= max;
		if (hth_json_parse(&value, t[i].text, t[i].len, &error) != HTH_OK ||
		    hth_schema_accepts(schema, value, &accepts, &error) != HTH_OK || !accepts)
			test_fail(__FILE__, __LINE__, "seed %u: %s", i, t[i].text);
		json_decref(value);
		if (i % 16 == 1)
			show(&t[i]);
		told_finish(&t[i]);
	}
	printf("# %u of them used all their tokens\n", full);
	CHECK(full > 2);
	world_finish(&w);
	json_decref(schema);
}

TEST(grammar_that_makes_no_sense_is_refused_and_others_go_on)
{
	static const struct {
		const char *grammar, *says;
		hth_status status;
	} cases[] = {{"root ::= (", "line 1", HTH_INVALID},
	             {"root ::= thing", "thing is used but not defined", HTH_INVALID},
	             {"root ::= root \"a\" | \"b\"", "begin with itself", HTH_INVALID}};
	WORLD(w, {.n_slots = 2});
	told other = {0};
	bound_chat(&other, "root ::= [a-z]{30}", -1, 3);
	submit(&w, &other);
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		told t = {0};
		bound_chat(&t, cases[i].grammar, 10, 1);
		run_one(&w, &t);
		CHECK_INT(t.request->state, HTH_REQUEST_FAILED);
		CHECK_INT(t.request->error.status, cases[i].status);
		if (strstr(t.request->error.message, cases[i].says) == NULL)
			CHECK_STR(t.request->error.message, cases[i].says);
		told_finish(&t);
	}
	/* Five thousand ways to go on after one letter are more than are followed: a failure of this request, said clearly. */
	hth_buf wide = HTH_BUF_INIT(1 << 20);
	hth_buf_appendf(&wide, "root ::= \"a\" x\nx ::= \"0\"");
	for (int i = 1; i < 5000; i++)
		hth_buf_appendf(&wide, " | \"%d\"", i);
	hth_buf_append_char(&wide, '\0');
	told t = {0};
	bound_chat(&t, wide.data, 10, 1);
	run_one(&w, &t);
	CHECK_INT(t.request->error.status, HTH_UNSUPPORTED);
	printf("# %s\n", t.request->error.message);
	told_finish(&t);
	hth_buf_finish(&wide);
	WORLD_UNTIL(&w, other.ended, 20000);
	check_done(&other, HTH_FINISH_STOP);
	CHECK_INT(other.len, 30);
	told_finish(&other);
	world_finish(&w);
}

TEST(grammar_begins_where_its_trigger_ends)
{
	WORLD(w, {.n_slots = 4});
	hth_grammar *g = compile("root ::= \"{\" [0-9]{2,5} \"}\"");
	enum { N = HTH_SANITIZED ? 9 : 24 };
	told t[N] = {{0}};
	unsigned triggered = 0;
	for (unsigned i = 0; i < N; i++) {
		hth_request *request = bound_chat(&t[i], "root ::= \"{\" [0-9]{2,5} \"}\"", 60, i);
		/* Once in a token of its own, once in the middle of words, once across tokens. */
		request->params.grammar_trigger = strdup(i % 3 == 0 ? "?" : i % 3 == 1 ? "e" : "e t");
		submit(&w, &t[i]);
	}
	for (unsigned i = 0; i < N; i++) {
		const char *trigger = t[i].request->params.grammar_trigger, *at;
		WORLD_UNTIL(&w, t[i].ended, 60000);
		at = strstr(t[i].text, trigger);
		if (i < 3)
			show(&t[i]);
		CHECK_INT(t[i].request->state, HTH_REQUEST_DONE);
		if (at != NULL && t[i].request->finish_reason == HTH_FINISH_STOP) {
			CHECK_INT(how_far(g, at + strlen(trigger), strlen(at) - strlen(trigger)), 2);
			triggered++;
		}
		told_finish(&t[i]);
	}
	printf("# %u of %u came upon their trigger\n", triggered, N);
	CHECK(triggered >= N / 4);
	world_finish(&w);
	hth_grammar_destroy(g);
}


TEST(reasoning_that_a_prompt_opened_is_closed_before_the_answer_ends)
{
	WORLD(w, {.n_slots = 2});
	for (unsigned seed = 0; seed < (HTH_SANITIZED ? 2 : 6); seed++) {
		told t = {0};
		hth_request *request = bound_chat(&t, "root ::= \"{}\"", -1, seed);
		request->params.grammar_trigger = strdup("zz"); /* hardly ever comes by itself, but before the context ends */
		request->params.grammar_trigger_if = strdup(seed % 2 == 0 ? "<|assistant|>" : "<think>");
		run_one(&w, &t);
		if (seed % 2 == 0) { /* so this prompt ends */
			check_done(&t, HTH_FINISH_STOP);
			CHECK(t.len > 4 && strcmp(t.text + t.len - 4, "zz{}") == 0);
			CHECK(t.request->usage.answer_tokens < 200); /* of about 245: the answer was left its part */
		} else { /* and so it does not: the grammar begins with the answer */
			check_done(&t, HTH_FINISH_STOP);
			CHECK_STR(t.text, "{}");
		}
		told_finish(&t);
	}
	world_finish(&w);
}

TEST(control_tokens_have_text_when_asked_for)
{
	enum { USER = 3, ASSISTANT = 4 }; /* of the starter model's vocabulary */
	WORLD(w, {.n_slots = 2});
	for (int special = 0; special < 2; special++) {
		told t = {0};
		hth_request *request = new_chat(&t, "Hello", 3);
		request->params.special_text = special;
		request->params.bias = malloc(2 * sizeof *request->params.bias);
		request->params.bias[0] = (hth_logit_bias){USER, 100};
		request->params.bias[1] = (hth_logit_bias){ASSISTANT, 0};
		request->params.sampling.logit_bias = request->params.bias;
		request->params.sampling.n_logit_bias = 2;
		run_one(&w, &t);
		CHECK_STR(t.text, special ? "<|user|><|user|><|user|>" : "");
		CHECK_INT(t.request->usage.answer_tokens, 3);
		told_finish(&t);
		/* A grammar's literal may be such a token, and is only where its text is shown. */
		bound_chat(&t, "root ::= \"<|user|>\" [a-z<|>]{3} \"<|assistant|>\" \".\"", 40, 5);
		t.request->params.special_text = special;
		t.request->params.bias = malloc(2 * sizeof *request->params.bias);
		t.request->params.bias[0] = (hth_logit_bias){USER, 100};
		t.request->params.bias[1] = (hth_logit_bias){ASSISTANT, 100};
		t.request->params.sampling.logit_bias = t.request->params.bias;
		t.request->params.sampling.n_logit_bias = 2;
		run_one(&w, &t);
		check_done(&t, HTH_FINISH_STOP);
		CHECK(strncmp(t.text, "<|user|>", 8) == 0 && t.len == 8 + 3 + 13 + 1);
		CHECK(strcmp(t.text + 11, "<|assistant|>.") == 0);
		/* Two tokens and at most four of text; spelled out it takes more. */
		printf("# %s in %u tokens\n", t.text, t.request->usage.answer_tokens);
		CHECK(special ? t.request->usage.answer_tokens <= 6 : t.request->usage.answer_tokens > 8);
		told_finish(&t);
	}
	/* What is waited for may be such a token. */
	told t = {0};
	bound_chat(&t, "root ::= \"{}\"", 40, 5);
	t.request->params.special_text = true;
	t.request->params.grammar_trigger = strdup("<|user|>");
	t.request->params.bias = malloc(sizeof *t.request->params.bias);
	t.request->params.bias[0] = (hth_logit_bias){USER, 100};
	t.request->params.sampling.logit_bias = t.request->params.bias;
	t.request->params.sampling.n_logit_bias = 1;
	run_one(&w, &t);
	check_done(&t, HTH_FINISH_STOP);
	CHECK_STR(t.text, "<|user|>{}");
	told_finish(&t);
	world_finish(&w);
}

TEST(bound_answers_keep_their_other_wishes)
{
	WORLD(w, {.n_slots = 3});
	/* A stop string ends it before the grammar does. */
	told t = {0};
	bound_chat(&t, "root ::= \"{\\\"a\\\":1,\" [x]* \"}\"", 40, 1);
	t.request->params.stop[t.request->params.n_stop++] = strdup(":1");
	run_one(&w, &t);
	check_done(&t, HTH_FINISH_STOP);
	CHECK_STR(t.text, "{\"a\"");
	CHECK_STR(t.request->stop_hit, ":1");
	told_finish(&t);
	/* Whoever ignores ends is stopped by the grammar's. */
	bound_chat(&t, "root ::= \"ab\" \"c\"?", 40, 1);
	t.request->params.ignore_eos = true;
	run_one(&w, &t);
	check_done(&t, HTH_FINISH_STOP);
	CHECK_STR(t.text, "abc");
	told_finish(&t);
	/* Logprobs are the model's own: what the grammar forced upon it was unlikely. */
	bound_chat(&t, "root ::= \"xyzzy\"", 40, 1);
	t.request->params.top_logprobs = 2;
	run_one(&w, &t);
	check_done(&t, HTH_FINISH_STOP);
	CHECK_STR(t.text, "xyzzy");
	CHECK_INT(t.n_logprobs, t.request->usage.answer_tokens);
	CHECK_INT(t.n_top, 2 * t.n_logprobs);
	CHECK(t.worst_logprob < -3);
	told_finish(&t);
	/* Nothing is left of the vocabulary but what the grammar wants, whatever the biases say. */
	bound_chat(&t, "root ::= \"q\"", 40, 1);
	t.request->params.sampling.temperature = 0;
	run_one(&w, &t);
	CHECK_STR(t.text, "q");
	told_finish(&t);
	/* A space before the first word is the tokenizer's, not the text's. */
	bound_chat(&t, "root ::= [^ ] .{9}", 40, 1);
	run_one(&w, &t);
	check_done(&t, HTH_FINISH_STOP);
	CHECK(t.len >= 10 && t.text[0] != ' ');
	told_finish(&t);
	world_finish(&w);
}

static void cancel_at_third(told *t)
{
	if (t->pieces == 3)
		hth_request_cancel(t->request);
}

TEST(one_grammar_serves_several_at_once)
{
	/* The same text for all, each at another place in it; some leave half way. */
	enum { N = HTH_SANITIZED ? 10 : 24 };
	WORLD(w, {.n_slots = 4});
	hth_grammar *g = compile("root ::= \"[\" ([0-9]{1,6} (\",\" [0-9]{1,6}){3,9}) \"]\"");
	told t[N] = {{0}};
	unsigned cancelled = 0;
	for (unsigned i = 0; i < N; i++) {
		if (i % 5 == 4)
			t[i].on_piece = cancel_at_third;
		bound_chat(&t[i], "root ::= \"[\" ([0-9]{1,6} (\",\" [0-9]{1,6}){3,9}) \"]\"", -1, i);
		submit(&w, &t[i]);
	}
	for (unsigned i = 0; i < N; i++) {
		WORLD_UNTIL(&w, t[i].ended, 60000);
		if (t[i].request->state == HTH_REQUEST_CANCELLED) {
			cancelled++;
		} else {
			check_done(&t[i], HTH_FINISH_STOP);
			CHECK_INT(how_far(g, t[i].text, t[i].len), 2);
		}
		told_finish(&t[i]);
	}
	CHECK(cancelled > 0);
	CHECK_INT(hth_runner_active(w.runner), 0);
	world_finish(&w);
	hth_grammar_destroy(g);
}

int hth_test_main(int argc, char **argv);
#define main hth_test_main
TEST_MAIN()
#undef main
int main(int argc, char **argv)
{
	setenv("TSAN_OPTIONS", "halt_on_error=1", 0); /* a race in the child kills it, and its answers fail */
	return argc > 1 && strcmp(argv[1], "__runner") == 0 ? hth_runner_main(argc, argv) : hth_test_main(argc, argv);
}
