/* SPM, BPE, special tokens, limits and hostile metadata, over small vocabularies made here. The merging algorithms are
 * held against the plainest possible implementation of their definition. */
#include "base/rng.h"
#include "vocab-builder.h"
#include "harness.h"

static vocab_list vocab;

/* A BPE vocabulary: bytes, then what the merges join, then specials. */
static const char *const bpe_merges[] = {"h e",          "l l", "he ll",          "hell o", "\xC4\xA0 w", "o r",
                                         "\xC4\xA0w or", "l d", "\xC4\xA0wor ld", "a a",    "aa aa",      "aaaa aaaa",
                                         "1 2",          "12 3"};

static void build_bpe(made *m, const char *pre)
{
	*m = (made){0};
	builder_start(&m->w);
	builder_string(&m->w, "tokenizer.ggml.model", "gpt2");
	if (pre != NULL)
		builder_string(&m->w, "tokenizer.ggml.pre", pre);
	vocab.n = 0;
	vocab_add_byte_alphabet(&vocab);
	for (size_t i = 0; i < HTH_COUNT(bpe_merges); i++) {
		char joined[64];
		const char *space = strchr(bpe_merges[i], ' ');
		snprintf(joined, sizeof joined, "%.*s%s", (int)(space - bpe_merges[i]), bpe_merges[i], space + 1);
		vocab_add(&vocab, joined, 1, 0);
	}
	vocab_add(&vocab, "<|endoftext|>", 3, 0);
	vocab_add(&vocab, "<|im_start|>", 3, 0);
	vocab_add(&vocab, "<|im_end|>", 3, 0);
	vocab_add(&vocab, "<think>", 4, 0);
	vocab_add(&vocab, "   ", 4, 0);
	vocab_add(&vocab, "<|im_end|>now", 3, 0);
	vocab_write(&vocab, &m->w);
	builder_strings(&m->w, "tokenizer.ggml.merges", bpe_merges, HTH_COUNT(bpe_merges));
}

static void open_bpe(made *m, const char *pre)
{
	hth_error err = HTH_ERROR_INIT;
	build_bpe(m, pre);
	CHECK_OK(made_open(m, &err));
}

static int32_t id_of(const char *text)
{
	for (size_t i = 0; i < vocab.n; i++)
		if (strcmp(vocab.text[i], text) == 0)
			return (int32_t)i;
	return -1;
}

static hth_tokens encode_spans(const made *m, const char *text, size_t len, unsigned flags, const hth_span *plain,
                               size_t n_plain)
{
	hth_tokens tokens = HTH_TOKENS_INIT((size_t)1 << 26);
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_tokenizer_encode(m->t, text, len, flags, plain, n_plain, &tokens, &err));
	return tokens;
}

/* The pieces of a text's tokens, between bars: "hello| world". */
static const char *shown(const made *m, const char *text, unsigned flags, const hth_span *plain, size_t n_plain)
{
	static char out[1024];
	hth_tokens tokens = encode_spans(m, text, strlen(text), flags, plain, n_plain);
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < tokens.len && n < sizeof out - 64; i++) {
		hth_view p = hth_tokenizer_piece(m->t, tokens.ids[i]);
		n += (size_t)snprintf(out + n, sizeof out - n, "%s%.*s", i ? "|" : "", (int)p.len, p.data);
	}
	hth_tokens_finish(&tokens);
	return out;
}

static char *decoded(const made *m, const hth_tokens *tokens, bool special, bool at_start, size_t *ret_len)
{
	hth_buf out = HTH_BUF_INIT((size_t)64 << 20);
	for (size_t i = 0; i < tokens->len; i++)
		CHECK(hth_tokenizer_bytes(m->t, tokens->ids[i], special, &out));
	if (at_start && out.len > 0 && out.data[0] == ' ')
		hth_buf_consume(&out, 1);
	hth_buf_append(&out, "", 0);
	return hth_buf_steal(&out, ret_len);
}

TEST(bpe_merges_by_rank_within_words)
{
	made m;
	open_bpe(&m, "gpt-2");
	CHECK_STR(shown(&m, "hello world", 0, NULL, 0), "hello|\xC4\xA0world");
	CHECK_STR(shown(&m, "hellworld", 0, NULL, 0), "hell|w|or|ld");
	CHECK_STR(shown(&m, "aaaaaaaaaaa", 0, NULL, 0), "aaaaaaaa|aa|a");
	CHECK_STR(shown(&m, "", 0, NULL, 0), "");
	made_close(&m);
	vocab_free(&vocab);
}

TEST(bpe_gives_back_any_bytes)
{
	made m;
	open_bpe(&m, "qwen2");
	hth_rng rng;
	hth_rng_seed(&rng, 4);
	for (int round = 0; round < 200; round++) {
		char text[300];
		size_t len = hth_rng_next(&rng) % sizeof text, n;
		for (size_t i = 0; i < len; i++) {
			uint64_t r = hth_rng_next(&rng);
			text[i] = (char)(r % 3 == 0 ? r >> 8 : (uint64_t) "hello wrd12 \n\t\xC3\xA9"[(r >> 8) % 16]);
		}
		hth_tokens tokens = encode_spans(&m, text, len, 0, NULL, 0);
		char *back = decoded(&m, &tokens, false, false, &n);
		if (n != len || memcmp(back, text, len) != 0) {
			test_fail(__FILE__, __LINE__, "round %d: %zu bytes came back as %zu others", round, len, n);
			round = 200;
		}
		free(back);
		hth_tokens_finish(&tokens);
	}
	made_close(&m);
	vocab_free(&vocab);
}

/* Byte-pair merging as it is defined: of all neighbours, the pair of the lowest rank, the leftmost first. */
static size_t plain_merge(const char *text, size_t len, char (*symbols)[64])
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		snprintf(symbols[n++], 64, "%c", text[i]);
	for (;;) {
		size_t best = SIZE_MAX, at = 0;
		for (size_t i = 0; i + 1 < n; i++) {
			char pair[130];
			snprintf(pair, sizeof pair, "%.60s %.60s", symbols[i], symbols[i + 1]);
			for (size_t r = 0; r < HTH_COUNT(bpe_merges); r++)
				if (strcmp(pair, bpe_merges[r]) == 0 && r < best) {
					best = r;
					at = i;
				}
		}
		if (best == SIZE_MAX)
			return n;
		size_t used = strlen(symbols[at]), more = strlen(symbols[at + 1]) + 1;
		for (size_t i = 0; i < more && used + i < 64; i++)
			symbols[at][used + i] = symbols[at + 1][i];
		memmove(symbols[at + 1], symbols[at + 2], (n - at - 2) * 64);
		n--;
	}
}

TEST(long_and_short_words_merge_as_the_definition_says)
{
	made m;
	open_bpe(&m, "gpt-2");
	hth_rng rng;
	hth_rng_seed(&rng, 11);
	static char symbols[512][64];
	for (int round = 0; round < 120; round++) {
		char text[400];
		/* Letters only, so that it is one word; on both sides of where scanning gives way to the heap. */
		size_t len = 1 + hth_rng_next(&rng) % (round % 2 ? 32 : 300);
		for (size_t i = 0; i < len; i++)
			text[i] = "aahelloldor"[hth_rng_next(&rng) % 11];
		size_t n = plain_merge(text, len, symbols);
		hth_tokens tokens = encode_spans(&m, text, len, 0, NULL, 0);
		bool same = tokens.len == n;
		for (size_t i = 0; same && i < n; i++) {
			hth_view p = hth_tokenizer_piece(m.t, tokens.ids[i]);
			same = p.len == strlen(symbols[i]) && memcmp(p.data, symbols[i], p.len) == 0;
		}
		if (!same) {
			test_fail(__FILE__, __LINE__, "round %d: %zu tokens, not %zu, for %.*s", round, tokens.len, n,
			          (int)len, text);
			round = 1000;
		}
		hth_tokens_finish(&tokens);
	}
	made_close(&m);
	vocab_free(&vocab);
}

TEST(special_tokens_are_read_only_when_asked_for)
{
	made m;
	open_bpe(&m, "gpt-2");
	CHECK_STR(shown(&m, "hello<|im_end|>hello", HTH_TOK_PARSE_SPECIAL, NULL, 0), "hello|<|im_end|>|hello");
	CHECK_STR(shown(&m, "<|im_end|>now<|im_end|>no", HTH_TOK_PARSE_SPECIAL, NULL, 0),
	          "<|im_end|>now|<|im_end|>|n|o");
	CHECK(strstr(shown(&m, "hello<|im_end|>hello", 0, NULL, 0), "<|im_end|>") == NULL);
	/* User-defined tokens are text with a token of their own: always. */
	CHECK_STR(shown(&m, "a<think>b", 0, NULL, 0), "a|<think>|b");
	CHECK_STR(shown(&m, "a    b", 0, NULL, 0), "a|   |\xC4\xA0|b");
	made_close(&m);
	vocab_free(&vocab);
}

TEST(a_users_words_never_become_special_tokens)
{
	made m;
	open_bpe(&m, "gpt-2");
	const char *text = "<|im_start|>hello<|im_end|><|im_end|>";
	const char *user = strstr(text, "hello");
	size_t at = (size_t)(user - text);
	/* The user wrote "hello<|im_end|>". */
	hth_span plain = {at, at + 15};
	CHECK_STR(shown(&m, text, HTH_TOK_PARSE_SPECIAL, &plain, 1),
	          "<|im_start|>|hello|<|||i|m|_|e|n|d|||>|<|im_end|>");
	/* A token of which the user wrote one byte is the user's. */
	for (size_t cut = 0; cut < 10; cut++) {
		hth_span one = {at + 5 + cut, at + 5 + cut + 1};
		const char *s = shown(&m, text, HTH_TOK_PARSE_SPECIAL, &one, 1);
		CHECK(strncmp(s, "<|im_start|>|hello|<|", 21) == 0 && strcmp(s + strlen(s) - 10, "<|im_end|>") == 0);
		CHECK(strstr(s + 14, "<|im_end|>") == s + strlen(s) - 10);
	}
	/* Spans beside it do not matter; an empty one holds nothing. */
	hth_span beside[] = {{at, at + 5}, {at + 7, at + 7}, {at + 15, at + 15}};
	CHECK_STR(shown(&m, text, HTH_TOK_PARSE_SPECIAL, beside, 3), "<|im_start|>|hello|<|im_end|>|<|im_end|>");
	/* Where the long token touches the user's words, the short one before them still counts. */
	hth_span tail = {10, 13};
	CHECK_STR(shown(&m, "<|im_end|>now", HTH_TOK_PARSE_SPECIAL, &tail, 1), "<|im_end|>|n|o|w");
	/* Markup that the vocabulary calls user-defined is markup, white space is not. */
	hth_span whole = {0, 12};
	CHECK(strstr(shown(&m, "<think>   hi", HTH_TOK_PARSE_SPECIAL, &whole, 1), "<think>") == NULL);
	CHECK(strstr(shown(&m, "<think>   hi", HTH_TOK_PARSE_SPECIAL, &whole, 1), "|   |") != NULL);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(spans_out_of_order_are_refused)
{
	made m;
	open_bpe(&m, "gpt-2");
	static const hth_span bad[][2] = {{{3, 2}, {4, 4}}, {{0, 3}, {2, 4}}, {{0, 1}, {4, 9}}};
	for (size_t i = 0; i < HTH_COUNT(bad); i++) {
		hth_tokens tokens = HTH_TOKENS_INIT(100);
		hth_error err = HTH_ERROR_INIT;
		CHECK_INT(hth_tokenizer_encode(m.t, "hello", 5, 0, bad[i], 2, &tokens, &err), HTH_INVALID);
		hth_tokens_finish(&tokens);
	}
	made_close(&m);
	vocab_free(&vocab);
}

TEST(a_text_over_the_limit_is_refused_and_leaves_no_tokens)
{
	made m;
	open_bpe(&m, "gpt-2");
	hth_tokens tokens = HTH_TOKENS_INIT(5);
	hth_error err = HTH_ERROR_INIT;
	CHECK(hth_tokens_push(&tokens, 7));
	CHECK_INT(hth_tokenizer_encode(m.t, "zzzzzzzz", 8, 0, NULL, 0, &tokens, &err), HTH_TOO_LARGE);
	CHECK(strstr(err.message, "5 tokens") != NULL);
	CHECK_INT(tokens.len, 1);
	CHECK_OK(hth_tokenizer_encode(m.t, "zzzz", 4, 0, NULL, 0, &tokens, &err));
	CHECK_INT(tokens.len, 5);
	hth_tokens_finish(&tokens);
	made_close(&m);
	vocab_free(&vocab);
}

TEST(megabytes_of_one_letter_take_no_quadratic_time)
{
	static const char *const pres[] = {"gpt-2",  "llama-bpe", "tekken",   "deepseek-llm",
	                                   "gpt-4o", "superbpe",  "tiny_aya", "exaone-moe"};
	enum { LEN = 1 << 20 };
	char *text = malloc(LEN);
	for (size_t p = 0; p < HTH_COUNT(pres); p++) {
		made m;
		open_bpe(&m, pres[p]);
		for (const char *c = "a A7\n"; *c != '\0'; c++) {
			size_t n;
			memset(text, *c, LEN);
			text[LEN - 1] = '_';
			hth_tokens tokens = encode_spans(&m, text, LEN, HTH_TOK_PARSE_SPECIAL, NULL, 0);
			char *back = decoded(&m, &tokens, false, false, &n);
			CHECK(n == LEN && memcmp(back, text, LEN) == 0);
			free(back);
			hth_tokens_finish(&tokens);
		}
		made_close(&m);
		vocab_free(&vocab);
	}
	free(text);
}

static void open_spm(made *m, const char *key, bool value)
{
	hth_error err = HTH_ERROR_INIT;
	*m = (made){0};
	builder_start(&m->w);
	builder_string(&m->w, "tokenizer.ggml.model", "llama");
	if (key != NULL)
		builder_bool(&m->w, key, value);
	vocab.n = 0;
	vocab_add_spm_base(&vocab);
	static const struct {
		const char *text;
		float score;
	} words[] = {{"\xE2\x96\x81the", -1},
	             {"\xE2\x96\x81t", -2},
	             {"he", -3},
	             {"\xE2\x96\x81", -20},
	             {"t", -21},
	             {"h", -22},
	             {"e", -23},
	             {"th", -4},
	             {"\xE2\x96\x81\xE2\x96\x81", -5},
	             {"a", -24},
	             {"aa", -6},
	             {"ab", -6},
	             {"b", -25},
	             {"\xC3\xA9", -30},
	             {"ba", -6},
	             {"s", -31},
	             {"s>", -7},
	             {"<", -32},
	             {">", -33}};
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		vocab_add(&vocab, words[i].text, 1, words[i].score);
	vocab_add(&vocab, "<|user|>", 3, 0);
	vocab_write(&vocab, &m->w);
	CHECK_OK(made_open(m, &err));
}

TEST(spm_merges_by_score_and_falls_back_to_bytes)
{
	made m;
	open_spm(&m, NULL, false);
	CHECK_STR(shown(&m, "the", 0, NULL, 0), "\xE2\x96\x81the");
	CHECK_STR(shown(&m, " the  the", 0, NULL, 0), "\xE2\x96\x81|\xE2\x96\x81the|\xE2\x96\x81|\xE2\x96\x81the");
	CHECK_STR(shown(&m, "\n\xC3\xA9\xE2\x82\xAC\xFF", 0, NULL, 0),
	          "\xE2\x96\x81|<0x0A>|\xC3\xA9|<0xE2>|<0x82>|<0xAC>|<0xFF>");
	/* Equal scores: the leftmost. */
	CHECK_STR(shown(&m, "aab", 0, NULL, 0), "\xE2\x96\x81|aa|b");
	CHECK_STR(shown(&m, "bab", 0, NULL, 0), "\xE2\x96\x81|ba|b");
	/* Merges never spell a control token, though "s>" is a token. */
	CHECK_STR(shown(&m, "<s>", 0, NULL, 0), "\xE2\x96\x81|<|s>");
	CHECK_STR(shown(&m, "<s>", HTH_TOK_PARSE_SPECIAL, NULL, 0), "<s>");
	/* A ▁ in the text is the space it stands for. */
	CHECK_STR(shown(&m, "a\xE2\x96\x81the", 0, NULL, 0), "\xE2\x96\x81|a|\xE2\x96\x81the");
	made_close(&m);
	vocab_free(&vocab);
}

TEST(spm_puts_a_space_before_text_unless_the_file_says_no)
{
	made m;
	open_spm(&m, NULL, false);
	CHECK_STR(shown(&m, "the<|user|>the", HTH_TOK_PARSE_SPECIAL | HTH_TOK_ADD_SPECIAL, NULL, 0),
	          "<s>|\xE2\x96\x81the|<|user|>|\xE2\x96\x81the");
	CHECK(hth_tokenizer_adds_space(m.t));
	CHECK_STR(shown(&m, "", HTH_TOK_ADD_SPECIAL, NULL, 0), "<s>");
	made_close(&m);
	vocab_free(&vocab);
	open_spm(&m, "tokenizer.ggml.add_space_prefix", false);
	CHECK_STR(shown(&m, "the<|user|>the", HTH_TOK_PARSE_SPECIAL, NULL, 0), "t|he|<|user|>|t|he");
	CHECK(!hth_tokenizer_adds_space(m.t));
	made_close(&m);
	vocab_free(&vocab);
}

TEST(bos_and_eos_follow_the_file)
{
	made m;
	open_spm(&m, "tokenizer.ggml.add_bos_token", false);
	CHECK_STR(shown(&m, "the", HTH_TOK_ADD_SPECIAL, NULL, 0), "\xE2\x96\x81the");
	CHECK(!hth_tokenizer_special(m.t)->add_bos);
	made_close(&m);
	vocab_free(&vocab);
	open_spm(&m, "tokenizer.ggml.add_eos_token", true);
	CHECK_STR(shown(&m, "the", HTH_TOK_ADD_SPECIAL, NULL, 0), "<s>|\xE2\x96\x81the|</s>");
	CHECK_STR(shown(&m, "the", 0, NULL, 0), "\xE2\x96\x81the");
	CHECK_INT(hth_tokenizer_special(m.t)->newline, 3 + '\n');
	made_close(&m);
	vocab_free(&vocab);
}

TEST(ends_of_generation_are_found_by_spelling)
{
	made m = {0};
	hth_error err = HTH_ERROR_INIT;
	open_bpe(&m, "gpt-2");
	CHECK(hth_tokenizer_is_end(m.t, id_of("<|im_end|>")));
	CHECK(hth_tokenizer_is_end(m.t, id_of("<|endoftext|>")));
	CHECK(!hth_tokenizer_is_end(m.t, id_of("<|im_start|>")));
	CHECK(!hth_tokenizer_is_end(m.t, id_of("hello")));
	CHECK(!hth_tokenizer_is_end(m.t, -1) && !hth_tokenizer_is_end(m.t, 1 << 20));
	CHECK_INT(hth_tokenizer_special(m.t)->eot, id_of("<|im_end|>"));
	made_close(&m);
	vocab_free(&vocab);
	/* Harmony: <|end|> ends a message, not the answer; a mistaken "normal" type does not make it text. */
	builder_start(&m.w);
	builder_string(&m.w, "tokenizer.ggml.model", "gpt2");
	builder_string(&m.w, "tokenizer.ggml.pre", "gpt-4o");
	vocab_add_byte_alphabet(&vocab);
	vocab_add(&vocab, "<|return|>", 1, 0);
	vocab_add(&vocab, "<|call|>", 3, 0);
	vocab_add(&vocab, "<|end|>", 3, 0);
	builder_uint(&m.w, "tokenizer.ggml.eos_token_id", 256);
	vocab_write(&vocab, &m.w);
	builder_strings(&m.w, "tokenizer.ggml.merges", bpe_merges, 0);
	CHECK_OK(made_open(&m, &err));
	CHECK(hth_tokenizer_is_end(m.t, 256) && hth_tokenizer_is_end(m.t, 257) && !hth_tokenizer_is_end(m.t, 258));
	CHECK(hth_tokenizer_is_control(m.t, 256) && hth_tokenizer_is_control(m.t, 258));
	made_close(&m);
	vocab_free(&vocab);
}

TEST(phi3_specials_take_the_white_space_after_them)
{
	made m = {0};
	hth_error err = HTH_ERROR_INIT;
	builder_start(&m.w);
	builder_string(&m.w, "general.name", "Phi-3 mini");
	builder_string(&m.w, "tokenizer.ggml.model", "llama");
	vocab_add_spm_base(&vocab);
	vocab_add(&vocab,
	          "\xE2\x96\x81"
	          "a",
	          1, -1);
	vocab_add(&vocab, "<|user|>", 3, 0);
	vocab_write(&vocab, &m.w);
	CHECK_OK(made_open(&m, &err));
	CHECK_STR(shown(&m, "<|user|> \n\ta", HTH_TOK_PARSE_SPECIAL, NULL, 0), "<|user|>|\xE2\x96\x81"
	                                                                       "a");
	CHECK_STR(shown(&m, "<s> a", HTH_TOK_PARSE_SPECIAL, NULL, 0), "<s>|<0xE2>|<0x96>|<0x81>|\xE2\x96\x81"
	                                                              "a");
	made_close(&m);
	vocab_free(&vocab);
}

/* Metadata that must be refused, each by a message that names it. */
static void refuse(const char *what, void (*spoil)(builder *w), const char *needle, hth_status status)
{
	made m = {0};
	hth_error err = HTH_ERROR_INIT;
	builder_start(&m.w);
	spoil(&m.w);
	hth_status got = made_open(&m, &err);
	if (got != status || strstr(err.message, needle) == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s, \"%s\"", what, hth_status_name(got), err.message);
	made_close(&m);
	vocab_free(&vocab);
}

static void small_spm(builder *w, size_t n_types, size_t n_scores)
{
	vocab.n = 0;
	vocab_add_spm_base(&vocab);
	builder_string(w, "tokenizer.ggml.model", "llama");
	builder_strings(w, "tokenizer.ggml.tokens", (const char *const *)vocab.text, vocab.n);
	if (n_types > 0)
		builder_array(w, "tokenizer.ggml.token_type", HTH_GGUF_I32, vocab.type, HTH_MIN(n_types, vocab.n), 4);
	if (n_scores > 0)
		builder_array(w, "tokenizer.ggml.scores", HTH_GGUF_F32, vocab.score, HTH_MIN(n_scores, vocab.n), 4);
}
static void no_model(builder *w)
{
	builder_uint(w, "x", 1);
}
static void odd_model(builder *w)
{
	builder_string(w, "tokenizer.ggml.model", "hybriddna");
}
static void no_tokens(builder *w)
{
	builder_string(w, "tokenizer.ggml.model", "llama");
}
static void empty_tokens(builder *w)
{
	builder_string(w, "tokenizer.ggml.model", "llama");
	builder_strings(w, "tokenizer.ggml.tokens", NULL, 0);
}
static void short_types(builder *w)
{
	small_spm(w, 100, 300);
}
static void short_scores(builder *w)
{
	small_spm(w, 300, 258);
}
static void no_scores(builder *w)
{
	small_spm(w, 300, 0);
}
static void wrong_types(builder *w)
{
	small_spm(w, 0, 300);
	builder_array(w, "tokenizer.ggml.token_type", HTH_GGUF_F32, vocab.score, vocab.n, 4);
}
static void wild_types(builder *w)
{
	small_spm(w, 0, 300);
	vocab.type[7] = 7;
	builder_array(w, "tokenizer.ggml.token_type", HTH_GGUF_I32, vocab.type, vocab.n, 4);
}
static void byte_scores(builder *w)
{
	small_spm(w, 300, 0);
	builder_array(w, "tokenizer.ggml.scores", HTH_GGUF_I8, vocab.score, vocab.n, 1);
}
static void nan_scores(builder *w)
{
	small_spm(w, 300, 0);
	vocab.score[5] = NAN;
	builder_array(w, "tokenizer.ggml.scores", HTH_GGUF_F32, vocab.score, vocab.n, 4);
}
static void far_bos(builder *w)
{
	small_spm(w, 300, 300);
	builder_uint(w, "tokenizer.ggml.bos_token_id", 259);
}
static void text_eos(builder *w)
{
	small_spm(w, 300, 300);
	builder_string(w, "tokenizer.ggml.eos_token_id", "2");
}
static void text_flag(builder *w)
{
	small_spm(w, 300, 300);
	builder_string(w, "tokenizer.ggml.add_bos_token", "true");
}
static void long_piece(builder *w)
{
	HTH_AUTO_FREE char *piece = malloc(70001);
	memset(piece, 'x', 70000);
	piece[70000] = '\0';
	const char *const pieces[] = {"a", piece};
	builder_string(w, "tokenizer.ggml.model", "llama");
	builder_strings(w, "tokenizer.ggml.tokens", pieces, 2);
}
static void bpe_base(builder *w, const char *pre, const char *const *merges, size_t n)
{
	builder_string(w, "tokenizer.ggml.model", "gpt2");
	builder_string(w, "tokenizer.ggml.pre", pre);
	vocab.n = 0;
	vocab_add_byte_alphabet(&vocab);
	vocab_write(&vocab, w);
	if (merges != NULL)
		builder_strings(w, "tokenizer.ggml.merges", merges, n);
}
static void no_merges(builder *w)
{
	bpe_base(w, "gpt-2", NULL, 0);
}
static void joined_merge(builder *w)
{
	static const char *const merges[] = {"a b", "ab"};
	bpe_base(w, "gpt-2", merges, 2);
}
static void half_merge(builder *w)
{
	static const char *const merges[] = {"ab "};
	bpe_base(w, "gpt-2", merges, 1);
}
static void unknown_pre(builder *w)
{
	bpe_base(w, "gpt-9-quantum", bpe_merges, 0);
}

TEST(metadata_that_is_wrong_is_refused_by_name)
{
	refuse("no model", no_model, "tokenizer.ggml.model", HTH_NOT_FOUND);
	refuse("odd model", odd_model, "hybriddna", HTH_UNSUPPORTED);
	refuse("no tokens", no_tokens, "tokenizer.ggml.tokens", HTH_NOT_FOUND);
	refuse("empty tokens", empty_tokens, "tokenizer.ggml.tokens", HTH_BAD_FORMAT);
	refuse("short types", short_types, "token_type has 100", HTH_BAD_FORMAT);
	refuse("short scores", short_scores, "scores has 258", HTH_BAD_FORMAT);
	refuse("no scores", no_scores, "scores is missing", HTH_BAD_FORMAT);
	refuse("wrong types", wrong_types, "token_type must be", HTH_BAD_FORMAT);
	refuse("wild types", wild_types, "token_type[7] is 7", HTH_BAD_FORMAT);
	refuse("byte scores", byte_scores, "scores must be", HTH_BAD_FORMAT);
	refuse("nan scores", nan_scores, "scores[5]", HTH_BAD_FORMAT);
	refuse("far bos", far_bos, "bos_token_id is 259", HTH_BAD_FORMAT);
	refuse("text eos", text_eos, "eos_token_id must be an integer", HTH_BAD_FORMAT);
	refuse("text flag", text_flag, "add_bos_token", HTH_BAD_FORMAT);
	refuse("long piece", long_piece, "tokens[1] has 70000", HTH_TOO_LARGE);
	refuse("no merges", no_merges, "tokenizer.ggml.merges", HTH_NOT_FOUND);
	refuse("joined merge", joined_merge, "merges[1]", HTH_BAD_FORMAT);
	refuse("half merge", half_merge, "merges[0]", HTH_BAD_FORMAT);
	refuse("unknown pre", unknown_pre, "gpt-9-quantum", HTH_UNSUPPORTED);
}

TEST(merges_may_name_strings_without_a_token)
{
	/* "ab" is no token: it is spelled out, unless it goes on to "abc", which is one. */
	made m = {0};
	hth_error err = HTH_ERROR_INIT;
	static const char *const merges[] = {"a b", "ab c"};
	builder_start(&m.w);
	builder_string(&m.w, "tokenizer.ggml.model", "gpt2");
	builder_string(&m.w, "tokenizer.ggml.pre", "gpt-2");
	vocab_add_byte_alphabet(&vocab);
	vocab_add(&vocab, "abc", 1, 0);
	vocab_write(&vocab, &m.w);
	builder_strings(&m.w, "tokenizer.ggml.merges", merges, 2);
	CHECK_OK(made_open(&m, &err));
	CHECK_STR(shown(&m, "abcabx", 0, NULL, 0), "abc|a|b|x");
	made_close(&m);
	vocab_free(&vocab);
}

TEST(empty_and_repeated_tokens_do_no_harm)
{
	made m = {0};
	hth_error err = HTH_ERROR_INIT;
	builder_start(&m.w);
	builder_string(&m.w, "tokenizer.ggml.model", "gpt2");
	vocab_add(&vocab, "", 1, 0);
	vocab_add(&vocab, "", 3, 0);
	vocab_add_byte_alphabet(&vocab);
	vocab_add(&vocab, "a", 1, 0);
	vocab_add(&vocab, "a", 4, 0);
	vocab_write(&vocab, &m.w);
	builder_strings(&m.w, "tokenizer.ggml.merges", bpe_merges, 0);
	CHECK_OK(made_open(&m, &err));
	CHECK_STR(shown(&m, "bab", HTH_TOK_PARSE_SPECIAL, NULL, 0), "b|a|b");
	CHECK_STR(hth_tokenizer_model(m.t), "gpt2");
	CHECK_INT(hth_tokenizer_vocab_size(m.t), 260);
	made_close(&m);
	vocab_free(&vocab);
}

/* Streaming. */
static const char *streamed(const made *m, const int32_t *ids, size_t n, bool at_start, bool special)
{
	static char out[512];
	hth_detokenizer d;
	hth_buf b = HTH_BUF_INIT(500);
	hth_detokenizer_init(&d, m->t, at_start, special);
	out[0] = '\0';
	size_t used = 0;
	for (size_t i = 0; i <= n; i++) {
		hth_buf_clear(&b);
		CHECK(i < n ? hth_detokenizer_push(&d, ids[i], &b) : hth_detokenizer_flush(&d, &b));
		used += (size_t)snprintf(out + used, sizeof out - used, "%s%.*s", i ? "|" : "", (int)b.len,
		                         b.data ? b.data : "");
	}
	hth_buf_finish(&b);
	return out;
}

TEST(a_stream_never_splits_a_character)
{
	made m;
	open_bpe(&m, "gpt-2");
	/* An emoji in four byte tokens: nothing, nothing, nothing, then all of it. */
	int32_t emoji[] = {0xF0, 0x9F, 0x98, 0x80, 'x'};
	CHECK_STR(streamed(&m, emoji, 5, false, false), "|||\xF0\x9F\x98\x80|x|");
	/* Cut short by another character, and at the end. */
	int32_t cut[] = {0xF0, 0x9F, 'y', 0xE2, 0x82};
	CHECK_STR(streamed(&m, cut, 5, false, false), "||\xEF\xBF\xBDy|||\xEF\xBF\xBD");
	int32_t bad[] = {0xFF, 0x80, 'z', 0xC3, 0xC3, 0xA9};
	CHECK_STR(streamed(&m, bad, 6, false, false), "\xEF\xBF\xBD|\xEF\xBF\xBD|z||\xEF\xBF\xBD|\xC3\xA9|");
	/* Control tokens say nothing unless asked, and do not break a character that waits. */
	int32_t control[] = {0xC3, id_of("<|im_end|>"), 0xA9};
	CHECK_STR(streamed(&m, control, 3, false, false), "||\xC3\xA9|");
	CHECK_STR(streamed(&m, control + 1, 1, false, true), "<|im_end|>|");
	int32_t outside[] = {-5, 1 << 25, 'a'};
	CHECK_STR(streamed(&m, outside, 3, false, false), "||a|");
	made_close(&m);
	vocab_free(&vocab);
}

TEST(a_stream_leaves_out_the_space_that_the_tokenizer_added)
{
	made m;
	open_spm(&m, NULL, false);
	int32_t the = id_of("\xE2\x96\x81the"), bytes = 3 + 0x0A;
	int32_t ids[] = {1, the, the, bytes, the};
	CHECK_STR(streamed(&m, ids, 5, true, false), "|the| the|\n| the|");
	CHECK_STR(streamed(&m, ids, 5, false, false), "| the| the|\n| the|");
	made_close(&m);
	vocab_free(&vocab);
	open_spm(&m, "tokenizer.ggml.add_space_prefix", false);
	CHECK_STR(streamed(&m, ids, 2, true, false), "| the|");
	made_close(&m);
	vocab_free(&vocab);
}

TEST_MAIN()
