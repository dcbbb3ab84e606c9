/* Grammars: what they accept, how they are refused, and that a mask says of every token exactly what trying it would.
 */
#include "base/rng.h"
#include "engine/grammar/grammar.h"
#include "harness.h"
#include "vocab-builder.h"

static hth_grammar *compile(const char *text, hth_grammar_vocab *vocab)
{
	hth_grammar *g = NULL;
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_grammar_compile(&g, vocab, text, strlen(text), &err));
	return g;
}

/* 0: not allowed, 1: allowed and not at its end, 2: a sentence that may go on, 3: a whole sentence. */
static int try_text(hth_grammar *g, const char *text, size_t len)
{
	hth_grammar_matcher *m = NULL;
	hth_error err = HTH_ERROR_INIT;
	int result = 0;
	CHECK_OK(hth_grammar_matcher_create(&m, g, &err));
	if (m != NULL && hth_grammar_accept_bytes(m, text, len))
		result = hth_grammar_must_end(m) ? 3 : hth_grammar_may_end(m) ? 2 : 1;
	hth_grammar_matcher_destroy(m);
	return result;
}

static void check_texts(const char *grammar, const char *const *texts, const int *expect, size_t n)
{
	hth_grammar *g = compile(grammar, NULL);
	for (size_t i = 0; i < n && g != NULL; i++) {
		int got = try_text(g, texts[i], strlen(texts[i]));
		if (got != expect[i])
			test_fail(__FILE__, __LINE__, "\"%s\" under %s: %d, not %d", texts[i], grammar, got, expect[i]);
	}
	hth_grammar_destroy(g);
}
#define CHECK_TEXTS(grammar, ...)                                                                                      \
	do {                                                                                                           \
		static const struct {                                                                                  \
			const char *text;                                                                              \
			int expect;                                                                                    \
		} cases_[] = {__VA_ARGS__};                                                                            \
		const char *texts_[HTH_COUNT(cases_)];                                                                 \
		int expect_[HTH_COUNT(cases_)];                                                                        \
		for (size_t i_ = 0; i_ < HTH_COUNT(cases_); i_++) {                                                    \
			texts_[i_] = cases_[i_].text;                                                                  \
			expect_[i_] = cases_[i_].expect;                                                               \
		}                                                                                                      \
		check_texts(grammar, texts_, expect_, HTH_COUNT(cases_));                                              \
	} while (0)

TEST(literals_alternatives_and_groups)
{
	CHECK_TEXTS("root ::= \"ab\" | \"ac\" \"d\"", {"", 1}, {"a", 1}, {"ab", 3}, {"ac", 1}, {"acd", 3}, {"b", 0},
	            {"abd", 0});
	CHECK_TEXTS("root ::= (\"a\" | \"b\" (\"c\" | \"d\"))+", {"a", 2}, {"b", 1}, {"bc", 2}, {"bda", 2}, {"bb", 0});
	CHECK_TEXTS("root ::= x y?\nx ::= \"<\"\n# a comment\ny ::= \">\" # another\n", {"<", 2}, {"<>", 3}, {">", 0});
	CHECK_TEXTS("root ::=\n  \"a\"\n  | \"b\"\n", {"a", 3}, {"b", 3}, {"c", 0});
	CHECK_TEXTS("root ::= \"\" | \"a\"", {"", 2}, {"a", 3});
	CHECK_TEXTS("root ::= \"\\\"\\\\\\n\\t\\x41\\u00e9\\U0001F600\"", {"\"\\\n\tA\xC3\xA9\xF0\x9F\x98\x80", 3},
	            {"\"\\n", 0});
}

TEST(character_classes_are_of_characters_not_bytes)
{
	CHECK_TEXTS("root ::= [a-cx\\-]", {"a", 3}, {"x", 3}, {"-", 3}, {"d", 0}, {"\xC3", 0});
	CHECK_TEXTS("root ::= [^a]", {"a", 0}, {"b", 3}, {"\xC3", 1}, {"\xC3\xA9", 3}, {"\xF0\x9F\x98\x80", 3},
	            {"\xFF", 0}, {"\x80", 0}, {"\xED\xA0\x80", 0}, {"\xC0\x80", 0}, {"\xF4\x90\x80\x80", 0},
	            {"\xF4\x8F\xBF\xBF", 3});
	CHECK_TEXTS("root ::= [\\u00e0-\\u00ff]", {"\xC3\xA9", 3}, {"\xC3\x9F", 0}, {"\xC4\x80", 0});
	CHECK_TEXTS("root ::= [\\u07f0-\\U00010010]", {"\xDF\xB0", 3}, {"\xDF\xAF", 0}, {"\xE0\xA0\x80", 3},
	            {"\xEF\xBF\xBF", 3}, {"\xF0\x90\x80\x90", 3}, {"\xF0\x90\x80\x91", 0});
	CHECK_TEXTS("root ::= .", {"a", 3}, {"\n", 3}, {"\xE2\x82\xAC", 3}, {"ab", 0});
	CHECK_TEXTS("root ::= \"a\" []? \"b\"", {"ab", 3}, {"axb", 0});
}

TEST(repetitions_count)
{
	CHECK_TEXTS("root ::= \"a\"{3}", {"aa", 1}, {"aaa", 3}, {"aaaa", 0});
	CHECK_TEXTS("root ::= \"a\"{2,} \"b\"", {"ab", 0}, {"aab", 3}, {"aaaaaaaab", 3});
	CHECK_TEXTS("root ::= \"a\"{0,2}", {"", 2}, {"a", 2}, {"aa", 3}, {"aaa", 0});
	CHECK_TEXTS("root ::= [a-z]{6,8}", {"abcde", 1}, {"abcdef", 2}, {"abcdefgh", 3}, {"abcdefghi", 0});
	CHECK_TEXTS("root ::= (\"a\" [0-9]{10,12} \";\"){5,6}", {"a0123456789;a0123456789;", 1},
	            {"a0123456789;a0123456789;a0123456789;a012345678901;a0123456789;", 2}, {"a012345678;", 0},
	            {"a0123456789012;", 0});
	CHECK_TEXTS("root ::= [0-9]{20,}", {"0123456789012345678", 1}, {"01234567890123456789", 2},
	            {"0123456789012345678901234567", 2});
	/* A part that may be empty makes the least count meaningless, and does not hang. */
	CHECK_TEXTS("root ::= (\"a\"?){7,9} \"!\"", {"!", 3}, {"aa!", 3}, {"aaaaaaaaa!", 3}, {"aaaaaaaaaa", 0});
	CHECK_TEXTS("root ::= (\"a\"*)*", {"", 2}, {"aaa", 2}, {"b", 0});
	CHECK_TEXTS("root ::= x{0,10} \"!\"\nx ::= \"a\"? y\ny ::= \"b\"*", {"!", 3}, {"abba!", 3},
	            {"bababababababa", 1});
	CHECK_TEXTS("root ::= \"a\"{0}", {"", 3}, {"a", 0});
}

TEST(rules_call_each_other)
{
	CHECK_TEXTS("root ::= \"(\" root \")\" | \"x\"", {"((x))", 3}, {"((x)", 1}, {"((x)))", 0});
	CHECK_TEXTS("root ::= list\nlist ::= \"a\" list | \"a\"", {"aaaa", 2}, {"", 1});
	CHECK_TEXTS("root ::= e \"!\"\ne ::= \"\" | \"x\"\n", {"!", 3}, {"x!", 3}, {"xx", 0});
	CHECK_TEXTS("root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | [0-9]+", {"[1,[2,[]],33]", 3}, {"[1,]", 0},
	            {"[[", 1});
	/* What can never be finished is taken out: no text is led there. */
	CHECK_TEXTS("root ::= \"a\" dead | \"b\"\ndead ::= \"x\" dead", {"a", 0}, {"b", 3});
	CHECK_TEXTS("root ::= \"a\" [] | \"ab\"", {"a", 1}, {"ab", 3}, {"ac", 0});
}

TEST(a_long_right_recursion_and_a_long_list_stay_flat)
{
	hth_grammar *g = compile("root ::= \"a\" root | \"b\"", NULL);
	enum { LEN = 200000 };
	HTH_AUTO_FREE char *text = malloc(LEN);
	memset(text, 'a', LEN);
	text[LEN - 1] = 'b';
	CHECK_INT(try_text(g, text, LEN), 3);
	hth_grammar_destroy(g);
	/* Nesting has a limit that is not the stack's: deeper openings are simply not allowed. */
	g = compile("root ::= \"(\" root \")\" | \"x\"", NULL);
	memset(text, '(', LEN);
	CHECK_INT(try_text(g, text, HTH_GRAMMAR_DEPTH_MAX), 1);
	CHECK_INT(try_text(g, text, LEN), 0);
	hth_grammar_destroy(g);
}

TEST(mistakes_are_named_with_their_line)
{
	static const struct {
		const char *text, *needle;
		hth_status status;
	} cases[] = {
	    {"", "no rule named root", HTH_INVALID},
	    {"x ::= \"a\"", "no rule named root", HTH_INVALID},
	    {"root ::= y", "rule y is used but not defined", HTH_INVALID},
	    {"root ::= \"a\"\nroot ::= \"b\"", "line 2: rule root is defined twice", HTH_INVALID},
	    {"root ::= root \"a\" | \"b\"", "root may begin with itself", HTH_INVALID},
	    {"root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a \"y\"", "may begin with itself", HTH_INVALID},
	    {"root ::= \"a", "no closing quote", HTH_INVALID},
	    {"root ::= \"a\"\nx ::= [a-", "line 2", HTH_INVALID},
	    {"root ::= [z-a]", "runs backwards", HTH_INVALID},
	    {"root ::= (\"a\"", "closing parenthesis", HTH_INVALID},
	    {"root ::= \"a\"{3,2}", "wrong way round", HTH_INVALID},
	    {"root ::= \"a\"{99999999}", "ten million", HTH_INVALID},
	    {"root ::= \"a\"{", "number", HTH_INVALID},
	    {"root ::= \"\\q\"", "escape", HTH_INVALID},
	    {"root ::= \"\\", "escape", HTH_INVALID},
	    {"root ::= \"\\x4\"", "hexadecimal", HTH_INVALID},
	    {"root ::= \"\\U00110000\"", "10FFFF", HTH_INVALID},
	    {"root = \"a\"", "::=", HTH_INVALID},
	    {"root ::= \"a\" )", "no part of a rule", HTH_INVALID},
	    {"root ::= \"a\" *\n* ::= x", "name", HTH_INVALID},
	    {"root ::= []", "no text at all", HTH_INVALID},
	    {"root ::= \"a\" root", "no text at all", HTH_INVALID},
	    {"root ::= \"\xFF\"", "UTF-8", HTH_INVALID},
	    {"root ::= ((((((((((((\"a\"){4}){4}){4}){4}){4}){4}){4}){4}){4}){4}){4}){4}", "over", HTH_TOO_LARGE},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		hth_grammar *g = NULL;
		hth_error err = HTH_ERROR_INIT;
		hth_status status = hth_grammar_compile(&g, NULL, cases[i].text, strlen(cases[i].text), &err);
		if (status != cases[i].status || strstr(err.message, cases[i].needle) == NULL)
			test_fail(__FILE__, __LINE__, "%s: %s, \"%s\"", cases[i].text, hth_status_name(status),
			          err.message);
		hth_grammar_destroy(g);
	}
	HTH_AUTO_FREE char *deep = malloc(2001);
	memset(deep, '(', 2000);
	memcpy(deep, "root ::= ", 9);
	deep[2000] = '\0';
	hth_grammar *g = NULL;
	hth_error err = HTH_ERROR_INIT;
	CHECK_INT(hth_grammar_compile(&g, NULL, deep, 2000, &err), HTH_INVALID);
	CHECK(strstr(err.message, "too deep") != NULL);
}

/* A byte-level vocabulary with longer tokens of every awkward kind. */
static vocab_list vocab;
static void open_vocab(made *m)
{
	static const char *const more[] = {"ab",
	                                   "abc",
	                                   "\"a",
	                                   "a\"",
	                                   "\",\"",
	                                   "{\"",
	                                   "\":",
	                                   "\"}",
	                                   "}}",
	                                   "123",
	                                   "12",
	                                   "0.5",
	                                   "true",
	                                   "fal",
	                                   "se",
	                                   "null",
	                                   "\\\\",
	                                   "\\n",
	                                   "\\u",
	                                   "hello",
	                                   "hello\"",
	                                   "x\"}",
	                                   "aaaa",
	                                   "aaaaaaaa",
	                                   "aaaaaaaaaaaaaaaa",
	                                   "\\\"",
	                                   ",",
	                                   "],[",
	                                   "[[",
	                                   "[1",
	                                   "\xC3\x83\xC2\xA9",
	                                   "a\xC3\x83",
	                                   "\xC2\xA9"
	                                   "b",
	                                   "\xC3\xA2\xC4\xA4",
	                                   "\xC2\xAC\"",
	                                   "\xC3\xB0\xC5\x81\xC4\xBA\xC4\xA2",
	                                   "\xC4\xA0"
	                                   "a",
	                                   "\xC4\xA0\xC4\xA0",
	                                   "\xC4\x8A\xC4\xA0",
	                                   "\xC4\xA0\"",
	                                   "zz",
	                                   "zzz\"",
	                                   "a\\"};
	hth_error err = HTH_ERROR_INIT;
	*m = (made){0};
	builder_start(&m->w);
	builder_string(&m->w, "tokenizer.ggml.model", "gpt2");
	builder_string(&m->w, "tokenizer.ggml.pre", "gpt-2");
	vocab.n = 0;
	vocab_add_byte_alphabet(&vocab);
	for (size_t i = 0; i < HTH_COUNT(more); i++)
		vocab_add(&vocab, more[i], 1, 0);
	vocab_add(&vocab, "<|im_end|>", 3, 0);
	vocab_add(&vocab, "<|im_start|>", 3, 0);
	vocab_add(&vocab, "<tool", 3, 0);
	vocab_add(&vocab, "<tool>", 3, 0);
	vocab_add(&vocab, "<|call|>", 3, 0);
	vocab_add(&vocab, "", 1, 0);
	vocab_add(&vocab, "ab", 1, 0); /* a twin */
	vocab_write(&vocab, &m->w);
	builder_strings(&m->w, "tokenizer.ggml.merges", NULL, 0);
	CHECK_OK(made_open(m, &err));
}

/* The mask at m says of every token what trying it says. Returns a random allowed token, -1 for none. */
static int32_t check_mask(const made *m, hth_grammar_matcher *at, hth_rng *rng, const char *what)
{
	hth_error err = HTH_ERROR_INIT;
	size_t n = hth_tokenizer_vocab_size(m->t), allowed = 0;
	const uint32_t *borrowed = hth_grammar_mask(at);
	uint32_t mask[32] = {0};
	int32_t chosen = -1;
	if (borrowed != NULL)
		memcpy(mask, borrowed, (n + 31) / 32 * sizeof *mask);
	for (size_t i = 0; i < n; i++) {
		hth_grammar_matcher *copy = NULL;
		CHECK_OK(hth_grammar_matcher_copy(&copy, at, &err));
		bool tried = hth_grammar_accept(copy, (int32_t)i), said = mask[i / 32] >> (i % 32) & 1;
		hth_grammar_matcher_destroy(copy);
		if (tried != said) {
			hth_view p = hth_tokenizer_piece(m->t, (int32_t)i);
			test_fail(__FILE__, __LINE__, "%s: token \"%.*s\" is %s but the mask says otherwise", what,
			          (int)p.len, p.data, tried ? "allowed" : "not allowed");
			return -1;
		}
		if (said && hth_rng_next(rng) % ++allowed == 0)
			chosen = (int32_t)i;
	}
	for (size_t i = n; i < (n + 31) / 32 * 32; i++)
		CHECK(!(mask[i / 32] >> (i % 32) & 1));
	return chosen;
}

TEST(a_mask_is_what_trying_every_token_says)
{
	static const char *const grammars[] = {
	    "root ::= [a-z]+",
	    "root ::= \"\\\"\" [^\"\\\\\\x00-\\x1f]* \"\\\"\"",
	    "root ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-f]{4}))* \"\\\"\"",
	    "root ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\nu]){3,9} \"\\\"\"",
	    "root ::= \"{\" s \":\" (s | n) \"}\"\ns ::= \"\\\"\" c{0,7} \"\\\"\"\nc ::= [^\"\\\\]\nn ::= [0-9]+ "
	    "(\".\" [0-9]+)?",
	    "root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | [0-9]{1,5} | \"\\\"\" [^\"]* \"\\\"\"",
	    "root ::= s | t\ns ::= \"\\\"\" [^\"]* \"\\\"\"\nt ::= \"\\\"\" [^\"]{0,5} \"\\\"\" \"x\"",
	    "root ::= [^a]* \"a\" [^b]{2,4}",
	    "root ::= .{2,6}",
	    "root ::= (\"a\" | \"ab\" | \"abc\" [x-z]*)+ \"!\"?",
	    "root ::= \"hello\" ( \" \" [a-z]{1,20} )* \".\"",
	    "root ::= \"\"",
	    /* Keys but some: a first character that leads elsewhere than the rest of its class. */
	    "root ::= \"\\\"\" k\nk ::= \"\\\"\" | [^\"\\\\ahz] r | [a] a | [h] \"!\" | [z] r\n"
	    "a ::= \"\\\"\" | [^\"\\\\a] r | [a] \"?\"\nr ::= \"\\\"\" | [^\"\\\\] r",
	    "root ::= k\nk ::= \"}\" | [^a}] [^}]{0,4} \"}\" | \"a\" [b-y] \"}\"",
	};
	made m;
	open_vocab(&m);
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	hth_rng rng;
	hth_rng_seed(&rng, 3);
	REQUIRE_OK(hth_grammar_vocab_create(&v, m.t, &err));
	CHECK_INT(hth_grammar_mask_words(v), (hth_tokenizer_vocab_size(m.t) + 31) / 32);
	for (size_t i = 0; i < HTH_COUNT(grammars); i++) {
		hth_grammar *g = compile(grammars[i], v);
		for (int run = 0; run < 4 && g != NULL; run++) {
			hth_grammar_matcher *at = NULL;
			CHECK_OK(hth_grammar_matcher_create(&at, g, &err));
			for (int step = 0; step < 12; step++) {
				int32_t t = check_mask(&m, at, &rng, grammars[i]);
				if (t < 0 || hth_tokenizer_is_end(m.t, t))
					break;
				CHECK(hth_grammar_accept(at, t));
			}
			hth_grammar_matcher_destroy(at);
		}
		hth_grammar_destroy(g);
	}
	hth_grammar_vocab_destroy(v);
	made_close(&m);
	vocab_free(&vocab);
}

/* Walks a few random ways through a grammar and checks the mask at each step. */
static void check_ways(const made *m, hth_grammar_vocab *v, const char *text, bool special, bool drop_space, const char *trigger)
{
	hth_error err = HTH_ERROR_INIT;
	hth_rng rng;
	hth_rng_seed(&rng, 5);
	hth_grammar *g = compile(text, v);
	if (special)
		hth_grammar_use_special(g);
	for (int run = 0; run < 6 && g != NULL; run++) {
		hth_grammar_matcher *at = NULL;
		CHECK_OK(hth_grammar_matcher_create(&at, g, &err));
		if (trigger != NULL)
			CHECK_OK(hth_grammar_matcher_wait(at, trigger, strlen(trigger), run % 3 > 0, &err));
		if (drop_space)
			hth_grammar_matcher_drop_space(at);
		/* Half of the runs begin with a part of what is waited for. */
		if (trigger != NULL && run % 2 == 1)
			CHECK(hth_grammar_accept_bytes(at, trigger, strlen(trigger) - (size_t)run % strlen(trigger)));
		for (int step = 0; step < 10; step++) {
			int32_t t = check_mask(m, at, &rng, text);
			if (t < 0 || hth_tokenizer_is_end(m->t, t))
				break;
			CHECK(hth_grammar_accept(at, t));
		}
		hth_grammar_matcher_destroy(at);
	}
	hth_grammar_destroy(g);
}

static bool may_come(hth_grammar_matcher *at, int32_t token)
{
	const uint32_t *mask = hth_grammar_mask(at);
	return mask != NULL && (mask[token / 32] >> (token % 32) & 1);
}

TEST(control_tokens_are_spelled_by_literals_alone)
{
	made m;
	open_vocab(&m);
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	REQUIRE_OK(hth_grammar_vocab_create(&v, m.t, &err));
	int32_t half = (int32_t)vocab.n - 5, tool = half + 1, call = half + 2;
	const char *text = "root ::= (\"<tool>\" | [<a-z]+) \"\\\"\" [^\"]* \"\\\"\" \"<|call|>\"";
	static const char *const grammars[] = {"root ::= \"<tool>\" \"a\" | [<toolab>]{3,9}", "root ::= \"<\" \"tool\" [>] \"<|call|>\"",
	                                       "root ::= (\"<tool\" | \"<tool>\")* \"<|call|>\"?",
	                                       "root ::= \"<|im_\" (\"start|>\" | \"end|>\")"};
	check_ways(&m, v, text, true, false, NULL);
	for (size_t i = 0; i < HTH_COUNT(grammars); i++)
		for (int special = 0; special < 2; special++)
			check_ways(&m, v, grammars[i], special, false, NULL);
	for (int special = 0; special < 2; special++) {
		hth_grammar *g = compile(text, v);
		hth_grammar_matcher *at = NULL;
		if (special)
			hth_grammar_use_special(g);
		REQUIRE_OK(hth_grammar_matcher_create(&at, g, &err));
		CHECK_INT(may_come(at, tool), special);
		CHECK_INT(may_come(at, half), special); /* and ">" as a token of its own behind it */
		CHECK(hth_grammar_accept_bytes(at, "<tool>\"", 7));
		CHECK(!may_come(at, tool) && !may_come(at, half) && !may_come(at, call)); /* inside a string they are only text */
		CHECK(hth_grammar_accept_bytes(at, "<tool>\"", 7));
		CHECK_INT(may_come(at, call), special); /* ends the generation with what the sentence ends with */
		CHECK_INT(hth_grammar_accept(at, call), special);
		CHECK_INT(hth_grammar_must_end(at), special);
		hth_grammar_matcher_destroy(at);
		hth_grammar_destroy(g);
	}
	hth_grammar_vocab_destroy(v);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(a_matcher_waits_for_its_text_and_masks_stay_exact)
{
	made m;
	open_vocab(&m);
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	REQUIRE_OK(hth_grammar_vocab_create(&v, m.t, &err));
	static const char *const triggers[] = {"<tool>", "a", "aa", "aab", "ab", "hello", "{\"", "se\"", "ababc", "12"};
	for (size_t i = 0; i < HTH_COUNT(triggers); i++) {
		check_ways(&m, v, "root ::= [b-z]{2} \"a\"*", false, false, triggers[i]);
		check_ways(&m, v, "root ::= \"\\\"\" [^\"]* \"\\\"\"", i % 2 == 0, false, triggers[i]);
	}
	hth_grammar *g = compile("root ::= [b-z]{2} \"!\"", v);
	hth_grammar_matcher *at = NULL;
	int32_t tool = (int32_t)vocab.n - 4, end = (int32_t)vocab.n - 7;
	REQUIRE_OK(hth_grammar_matcher_create(&at, g, &err));
	CHECK_INT(hth_grammar_matcher_wait(at, "", 0, true, &err), HTH_INVALID);
	REQUIRE_OK(hth_grammar_matcher_wait(at, "<tool>", 6, true, &err));
	CHECK(hth_grammar_matcher_waits(at) && hth_grammar_may_end(at) && !hth_grammar_must_end(at));
	CHECK(hth_grammar_accept_bytes(at, "anything {} <tool <too", 22));
	CHECK(may_come(at, 'l') && may_come(at, end) && may_come(at, tool) && hth_grammar_matcher_waits(at));
	CHECK(hth_grammar_accept(at, tool)); /* whether or not its text is shown */
	CHECK(!hth_grammar_matcher_waits(at) && !may_come(at, end) && !may_come(at, 'a') && may_come(at, 'b'));
	CHECK(hth_grammar_accept_bytes(at, "bb!", 3) && hth_grammar_must_end(at));
	hth_grammar_matcher_reset(at);
	CHECK(hth_grammar_accept_bytes(at, "<<tool>zz", 9) && !hth_grammar_matcher_waits(at) && may_come(at, '!')); /* in one go */
	hth_grammar_matcher_reset(at);
	REQUIRE_OK(hth_grammar_matcher_wait(at, "<tool>", 6, false, &err)); /* must come */
	CHECK(!may_come(at, end) && !hth_grammar_accept(at, end) && !hth_grammar_may_end(at) && may_come(at, 'a'));
	CHECK(may_come(at, tool) && may_come(at, tool - 1) && !may_come(at, end + 1)); /* no other control token before it */
	CHECK(!hth_grammar_accept_bytes(at, "<tool>a", 7) && hth_grammar_matcher_waits(at)); /* and nothing changed */
	CHECK(hth_grammar_accept_bytes(at, "<tool>b", 7));
	hth_grammar_matcher_destroy(at);
	hth_grammar_destroy(g);
	hth_grammar_vocab_destroy(v);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(first_tokens_space_is_no_part_of_the_text)
{
	made m;
	open_vocab(&m);
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	REQUIRE_OK(hth_grammar_vocab_create(&v, m.t, &err));
	check_ways(&m, v, "root ::= \"\\\"\" [^\"]* \"\\\"\"", false, true, NULL);
	check_ways(&m, v, "root ::= [^a]{3}", false, true, NULL);
	check_ways(&m, v, "root ::= \" \"? [a-c]+", false, true, NULL);
	hth_grammar *g = compile("root ::= \"ab\" \" a\"", v);
	hth_grammar_matcher *at = NULL;
	REQUIRE_OK(hth_grammar_matcher_create(&at, g, &err));
	int32_t space_a = -1;
	for (int32_t t = 0; (size_t)t < vocab.n && space_a < 0; t++) {
		hth_view piece = hth_tokenizer_piece(m.t, t);
		space_a = piece.len == 3 && memcmp(piece.data, "\xC4\xA0" "a", 3) == 0 ? t : -1;
	}
	REQUIRE(space_a >= 0);
	CHECK(!may_come(at, space_a));
	hth_grammar_matcher_drop_space(at);
	CHECK(may_come(at, space_a) && may_come(at, 'a') && hth_grammar_accept(at, space_a));
	CHECK(!may_come(at, space_a) && hth_grammar_accept(at, 'b')); /* only the first one's */
	CHECK(may_come(at, space_a) && hth_grammar_accept(at, space_a) && hth_grammar_must_end(at));
	hth_grammar_matcher_destroy(at);
	hth_grammar_destroy(g);
	hth_grammar_vocab_destroy(v);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(end_tokens_are_allowed_where_the_sentence_may_end)
{
	made m;
	open_vocab(&m);
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	REQUIRE_OK(hth_grammar_vocab_create(&v, m.t, &err));
	hth_grammar *g = compile("root ::= \"a\" \"b\"?", v);
	hth_grammar_matcher *at = NULL;
	REQUIRE_OK(hth_grammar_matcher_create(&at, g, &err));
	int32_t end = (int32_t)vocab.n - 7, start = end + 1;
	CHECK(!hth_grammar_accept(at, end) && !hth_grammar_accept(at, start) && !hth_grammar_accept(at, -1) &&
	      !hth_grammar_accept(at, 1 << 20));
	CHECK(hth_grammar_accept(at, 'a'));
	CHECK(hth_grammar_may_end(at) && !hth_grammar_must_end(at));
	CHECK(hth_grammar_accept(at, end));
	CHECK(hth_grammar_accept(at, 'b'));
	CHECK(hth_grammar_must_end(at));
	const uint32_t *mask = hth_grammar_mask(at);
	CHECK(mask != NULL && (mask[end / 32] >> (end % 32) & 1) && !(mask['a' / 32] >> ('a' % 32) & 1));
	hth_grammar_matcher_reset(at);
	CHECK(!hth_grammar_may_end(at) && hth_grammar_accept(at, 'a'));
	hth_grammar_matcher_destroy(at);
	hth_grammar_destroy(g);
	hth_grammar_vocab_destroy(v);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(what_is_remembered_is_forgotten_in_time_and_matchers_stay_where_they_are)
{
	/* Every place in the sentence is another state: numbers nested in lists, far more than the budget holds. */
	made m;
	open_vocab(&m);
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	REQUIRE_OK(hth_grammar_vocab_create(&v, m.t, &err));
	hth_grammar *g = compile("root ::= [a-z]{900000} \"!\"", v);
	hth_grammar_matcher *at = NULL, *other = NULL;
	REQUIRE_OK(hth_grammar_matcher_create(&at, g, &err));
	CHECK(hth_grammar_accept_bytes(at, "abc", 3));
	REQUIRE_OK(hth_grammar_matcher_copy(&other, at, &err));
	enum { LEN = 900000 };
	HTH_AUTO_FREE char *text = malloc(LEN);
	memset(text, 'q', LEN);
	CHECK(hth_grammar_accept_bytes(at, text, LEN - 3));
	CHECK(!hth_grammar_accept_bytes(at, "q", 1));
	CHECK(hth_grammar_accept_bytes(at, "!", 1) && hth_grammar_must_end(at));
	/* The other one stands where it stood. */
	CHECK(!hth_grammar_accept_bytes(other, text, LEN - 2));
	CHECK(hth_grammar_mask(other) != NULL);
	CHECK(hth_grammar_accept_bytes(other, text, LEN - 3) && !hth_grammar_may_end(other));
	CHECK(hth_grammar_accept_bytes(other, "!", 1) && hth_grammar_must_end(other));
	hth_grammar_matcher_destroy(at);
	hth_grammar_matcher_destroy(other);
	hth_grammar_destroy(g);
	hth_grammar_vocab_destroy(v);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(distances_are_the_fewest_bytes_to_the_end)
{
	static const struct {
		const char *grammar, *before;
		size_t distance;
	} cases[] = {{"root ::= \"abc\" | \"de\"", "", 2},
	             {"root ::= \"abc\" | \"de\"", "a", 2},
	             {"root ::= \"abc\" | \"de\"", "de", 0},
	             {"root ::= \"\\\"\" [^\"]* \"\\\"\"", "\"abc", 1},
	             {"root ::= \"\\\"\" [^\"]{20,30} \"\\\"\"", "", 22},
	             {"root ::= \"\\\"\" [^\"]{20,30} \"\\\"\"", "\"abcde", 16},
	             {"root ::= \"\\\"\" [^\"]{20,} \"\\\"\"", "\"abcdeabcdeabcdeabcdeabcdeabcde", 1},
	             {"root ::= (\"ab\" x \";\"){10,12}\nx ::= [0-9]{2}", "", 50},
	             {"root ::= (\"ab\" x \";\"){10,12}\nx ::= [0-9]{2}", "ab12;ab1", 42},
	             {"root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | \"null\"", "[[[n", 6},
	             {"root ::= \"(\" root \")\" | \"x\"", "((((", 5},
	             {"root ::= [\\u00e0-\\u00ff]", "", 2},
	             {"root ::= a? b*\na ::= \"xyz\"\nb ::= \"q\"", "", 0},
	             {"root ::= a \"!\"\na ::= b\nb ::= c c\nc ::= \"12\" | \"3\"", "", 3}};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		hth_grammar *g = compile(cases[i].grammar, NULL);
		hth_grammar_matcher *m = NULL;
		hth_error err = HTH_ERROR_INIT;
		REQUIRE_OK(hth_grammar_matcher_create(&m, g, &err));
		CHECK(hth_grammar_accept_bytes(m, cases[i].before, strlen(cases[i].before)));
		if (hth_grammar_distance(m) != cases[i].distance)
			test_fail(__FILE__, __LINE__, "%s after %s: %zu, not %zu", cases[i].grammar, cases[i].before,
			          hth_grammar_distance(m), cases[i].distance);
		CHECK(hth_grammar_can_end_within(m, cases[i].distance));
		hth_grammar_matcher_destroy(m);
		hth_grammar_destroy(g);
	}
}

/* From anywhere, whichever of the tokens that lead nearer to the end is taken, it is reached with as many tokens as were said to do. */
TEST(nearer_tokens_end_in_time)
{
	static const char *const grammars[] = {
	    "root ::= \"{\" s \":\" (s | n) (\",\" s \":\" (s | n))* \"}\"\ns ::= \"\\\"\" c{0,7} \"\\\"\"\nc ::= [^\"\\\\]\nn ::= [0-9]+ "
	    "(\".\" [0-9]+)?",
	    "root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | [0-9]{1,5} | \"\\\"\" [^\"]* \"\\\"\"",
	    "root ::= \"hello\" (\" \" [a-z]{6,20}){3,9} \".\"", "root ::= [^a]* \"a\" [^b]{2,4}",
	    "root ::= \"<tool>\" [a-z]{3} \"<|call|>\"",
	    "root ::= [a-z]* \"<tool>\" \"x\"? \"{\\\"\""};
	made m;
	open_vocab(&m);
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	hth_rng rng;
	hth_rng_seed(&rng, 9);
	REQUIRE_OK(hth_grammar_vocab_create(&v, m.t, &err));
	size_t n_vocab = hth_tokenizer_vocab_size(m.t);
	for (size_t i = 0; i < 4 * HTH_COUNT(grammars); i++) {
		hth_grammar *g = compile(grammars[i / 4], v);
		hth_grammar_matcher *at = NULL;
		if (i % 2 == 0)
			hth_grammar_use_special(g);
		REQUIRE_OK(hth_grammar_matcher_create(&at, g, &err));
		if (i % 4 >= 2)
			REQUIRE_OK(hth_grammar_matcher_wait(at, "<tool>", 6, false, &err));
		for (size_t step = 0; step < i; step++) {
			int32_t t = check_mask(&m, at, &rng, grammars[i / 4]);
			if (t < 0 || hth_tokenizer_is_end(m.t, t))
				break;
			CHECK(hth_grammar_accept(at, t));
		}
		/* With tokens enough for its bytes, and with no more than the longest steps take. */
		size_t fewest = 0;
		while (!hth_grammar_can_end_within(at, fewest) && fewest < 200)
			fewest++;
		size_t left = i % 3 == 0 ? fewest : hth_grammar_distance(at);
		CHECK(fewest <= left);
		while (!hth_grammar_may_end(at) && left > 0) {
			const uint32_t *mask = hth_grammar_mask_nearer(at, left--);
			REQUIRE(mask != NULL);
			int32_t chosen = -1;
			for (size_t t = 0, seen = 0; t < n_vocab; t++)
				if ((mask[t / 32] >> (t % 32) & 1) && hth_rng_next(&rng) % ++seen == 0)
					chosen = (int32_t)t;
			REQUIRE(chosen >= 0);
			bool ends = hth_tokenizer_is_end(m.t, chosen);
			CHECK(may_come(at, chosen) && hth_grammar_accept(at, chosen));
			if (ends)
				break;
		}
		CHECK(hth_grammar_may_end(at));
		const uint32_t *mask = hth_grammar_mask_nearer(at, 3);
		CHECK(mask != NULL && !(mask['a' / 32] >> ('a' % 32) & 1)); /* nothing but an end */
		hth_grammar_matcher_destroy(at);
		hth_grammar_destroy(g);
	}
	hth_grammar_vocab_destroy(v);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(mask_that_would_take_a_long_search_is_given_up)
{
	/* With a real vocabulary; a small one's search is short whatever the grammar. */
	const char *path = test_shared("goldens/tokenizers/ggml-vocab-llama-bpe.gguf");
	if (path == NULL)
		SKIP("no ../shared");
	hth_gguf *gguf = NULL;
	hth_tokenizer *tokenizer = NULL;
	hth_grammar_vocab *v = NULL;
	hth_error err = HTH_ERROR_INIT;
	FILE *file = fopen(path, "rb");
	REQUIRE(file != NULL);
	int fd = fileno(file);
	hth_status status = hth_gguf_open(&gguf, &fd, 1, "vocabulary", &err);
	fclose(file);
	REQUIRE_OK(status);
	REQUIRE_OK(hth_tokenizer_create(&tokenizer, gguf, &err));
	REQUIRE_OK(hth_grammar_vocab_create(&v, tokenizer, &err));
	hth_buf text = HTH_BUF_INIT(1 << 20);
	for (int i = 0; i < 3900; i++)
		hth_buf_appendf(&text, "%s [a-%c] x%d", i == 0 ? "root ::= \"0\" |" : " |", 'b' + i % 20, i % 50);
	for (int rule = 0; rule < 50; rule++) {
		hth_buf_appendf(&text, "\nx%d ::= \"!\"", rule);
		for (int i = 0; i < 70; i++)
			hth_buf_appendf(&text, " | [%c-z] x%d", 'a' + i % 20, (rule * 7 + i * 3) % 50);
	}
	hth_buf_append_char(&text, '\0');
	hth_grammar *g = compile(text.data, v);
	hth_grammar_matcher *at = NULL;
	REQUIRE_OK(hth_grammar_matcher_create(&at, g, &err));
	CHECK(hth_grammar_mask(at) == NULL);
	CHECK(hth_grammar_accept_bytes(at, "ab", 2)); /* single steps are short */
	hth_grammar_matcher_reset(at);
	CHECK(hth_grammar_accept_bytes(at, "0", 1) && hth_grammar_must_end(at));
	CHECK(hth_grammar_mask(at) != NULL); /* and where little may come it goes on as ever */
	hth_grammar_matcher_destroy(at);
	hth_grammar_destroy(g);
	hth_buf_finish(&text);
	hth_grammar_vocab_destroy(v);
	hth_tokenizer_destroy(tokenizer);
	hth_gguf_close(gguf);
}

TEST_MAIN()
