/* WordPiece, unigram, and how each name in tokenizer.ggml.pre cuts a text. */
#include "base/rng.h"
#include "base/utf8.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/unicode.h"
#include "harness.h"
#include "vocab-builder.h"

static vocab_list vocab;

static const char *shown(const made *m, const char *text, unsigned flags)
{
	static char out[2048];
	hth_tokens tokens = HTH_TOKENS_INIT(4096);
	hth_error err = HTH_ERROR_INIT;
	CHECK_OK(hth_tokenizer_encode(m->t, text, strlen(text), flags, NULL, 0, &tokens, &err));
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < tokens.len && n < sizeof out - 64; i++) {
		hth_view p = hth_tokenizer_piece(m->t, tokens.ids[i]);
		n += (size_t)snprintf(out + n, sizeof out - n, "%s%.*s", i ? "|" : "", (int)p.len, p.data);
	}
	hth_tokens_finish(&tokens);
	return out;
}

#define B "\xE2\x96\x81" /* ▁ */

static void open_bert(made *m, const char *key, bool value)
{
	hth_error err = HTH_ERROR_INIT;
	*m = (made){0};
	builder_start(&m->w);
	builder_string(&m->w, "tokenizer.ggml.model", "bert");
	static const char *const words[] = {B "un",
	                                    "aff",
	                                    "able",
	                                    B "cafe",
	                                    B "Cafe",
	                                    B "caf\xC3\xA9",
	                                    B "!",
	                                    B ",",
	                                    B "\xE4\xBD\xA0",
	                                    B "\xE5\xA5\xBD",
	                                    "\xE5\xA5\xBD",
	                                    B "hello",
	                                    B "hell",
	                                    "o",
	                                    B "x",
	                                    "s",
	                                    B "\xE2\x80\x9C",
	                                    B "$",
	                                    B "\xE1\x84\x80",
	                                    "\xE1\x85\xA1",
	                                    B "e",
	                                    B "[",
	                                    B "]",
	                                    B "cls"};
	vocab.n = 0;
	static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
	for (size_t i = 0; i < HTH_COUNT(special); i++)
		vocab_add(&vocab, special[i], 3, 0);
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		vocab_add(&vocab, words[i], 1, 0);
	builder_uint(&m->w, "tokenizer.ggml.unknown_token_id", 1);
	builder_uint(&m->w, "tokenizer.ggml.cls_token_id", 2);
	builder_uint(&m->w, "tokenizer.ggml.seperator_token_id", 3);
	if (key != NULL)
		builder_bool(&m->w, key, value);
	vocab_write(&vocab, &m->w);
	CHECK_OK(made_open(m, &err));
}

TEST(wordpiece_takes_the_longest_pieces_of_normal_words)
{
	made m;
	open_bert(&m, NULL, false);
	CHECK_STR(shown(&m, "unaffable", HTH_TOK_ADD_SPECIAL), "[CLS]|" B "un|aff|able|[SEP]");
	CHECK_STR(shown(&m, "  HELLO,\thellos!\n", 0), B "hello|" B ",|" B "hello|s|" B "!");
	CHECK_STR(shown(&m, "Caf\xC3\xA9 cafe\xCC\x81", 0), B "cafe|" B "cafe");
	CHECK_STR(shown(&m, "\xE4\xBD\xA0\xE5\xA5\xBDhello", 0), B "\xE4\xBD\xA0|" B "\xE5\xA5\xBD|" B "hello");
	/* A word with a part that no piece spells is unknown as a whole. */
	CHECK_STR(shown(&m, "hello hellq hello", 0), B "hello|[UNK]|" B "hello");
	CHECK_STR(shown(&m, "x$x\xE2\x80\x9Cx", 0), B "x|" B "$|" B "x|" B "\xE2\x80\x9C|" B "x");
	/* Control characters vanish, zero-width joiners too; broken UTF-8 as well. */
	CHECK_STR(shown(&m, "he\xE2\x80\x8Dllo \x01x\xFFs", 0), B "hello|" B "x|s");
	CHECK_STR(shown(&m, "\xEA\xB0\x80", 0), B "\xE1\x84\x80|\xE1\x85\xA1"); /* Hangul in its parts */
	CHECK_STR(shown(&m, "", 0), "");
	CHECK_STR(shown(&m, "[CLS]", 0), B "[|" B "cls|" B "]");
	CHECK_STR(shown(&m, "x[MASK]x", HTH_TOK_PARSE_SPECIAL), B "x|[MASK]|" B "x");
	CHECK(hth_tokenizer_adds_space(m.t));
	made_close(&m);
	vocab_free(&vocab);
}

TEST(wordpiece_keeps_case_and_accents_where_the_file_says_so)
{
	made m;
	open_bert(&m, "tokenizer.ggml.normalizer.lowercase", false);
	CHECK_STR(shown(&m, "Cafe caf\xC3\xA9", 0), B "Cafe|" B "caf\xC3\xA9");
	made_close(&m);
	vocab_free(&vocab);
	open_bert(&m, "tokenizer.ggml.normalizer.strip_accents", false);
	CHECK_STR(shown(&m, "CAF\xC3\x89", 0), B "caf\xC3\xA9");
	made_close(&m);
	vocab_free(&vocab);
}

TEST(unicode_tables_know_their_characters)
{
	static const struct {
		uint32_t cp, lower, base;
	} cases[] = {{'A', 'a', 'A'},          {0xC9, 0xE9, 'E'},       {0x130, 0x130, 'I'},
	             {0x1E9E, 0xDF, 0x1E9E},   {0x416, 0x436, 0x416},   {0x10400, 0x10428, 0x10400},
	             {0xF900, 0xF900, 0x8C48}, {0x1F82, 0x1F82, 0x3B1}, {0x212B, 0xE5, 'A'},
	             {0x100, 0x101, 'A'},      {0x101, 0x101, 'a'},     {0x4E00, 0x4E00, 0x4E00}};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		uint32_t out[3];
		CHECK_INT(hth_unicode_bases(cases[i].cp, out), 1);
		CHECK_INT(out[0], cases[i].base);
		if (cases[i].cp != 0x130)
			CHECK_INT(hth_unicode_lower(cases[i].cp), cases[i].lower);
	}
	uint32_t out[3];
	CHECK_INT(hth_unicode_bases(0xD55C, out), 3); /* 한 */
	CHECK_INT(out[0], 0x1112);
	CHECK_INT(out[1], 0x1161);
	CHECK_INT(out[2], 0x11AB);
	CHECK_INT(hth_unicode_bases(0x301, out), 0);
	CHECK_INT(hth_unicode_bases(0x9CB, out), 2); /* two marks that are not nonspacing */
	CHECK(hth_unicode_is_punctuation(0x3002) && hth_unicode_is_punctuation('!') &&
	      !hth_unicode_is_punctuation('$'));
	CHECK(hth_unicode_is_nonspacing(0x301) && !hth_unicode_is_nonspacing(0x93E) && !hth_unicode_is_nonspacing('a'));
	CHECK(hth_unicode_is_control(0) && hth_unicode_is_control(0xFEFF) && hth_unicode_is_control(0xD800) &&
	      !hth_unicode_is_control(' '));
	CHECK(hth_unicode_is_space(0x3000) && hth_unicode_is_space(0x85) && !hth_unicode_is_space(0x180E) &&
	      !hth_unicode_is_space(0x200B));
}

/* A character map in SentencePiece's form, from pairs of strings: every node of the tree gets 256 units of its own. */
static void add_charsmap(builder *w, const char *const (*pairs)[2], size_t n)
{
	enum { NODES = 32 };
	static uint32_t units[256 * (NODES + 1)];
	char strings[256];
	size_t n_strings = 0, n_nodes = 2; /* block 0 is the root's unit, block 1 the root's children */
	memset(units, 0, sizeof units);
	units[0] = 256u << 10;
	for (size_t i = 0; i < n; i++) {
		size_t block = 1;
		for (const unsigned char *c = (const unsigned char *)pairs[i][0]; *c != '\0'; c++) {
			size_t at = block * 256 ^ *c;
			if (units[at] == 0) {
				units[at] = (uint32_t)((at ^ n_nodes * 256) << 10) | *c;
				n_nodes++;
			}
			block = ((units[at] >> 10) ^ at) / 256;
			if (c[1] == '\0') {
				units[at] |= 1u << 8;
				units[block * 256] = 0x80000000u | (uint32_t)n_strings;
			}
		}
		strcpy(strings + n_strings, pairs[i][1]);
		n_strings += strlen(pairs[i][1]) + 1;
	}
	uint32_t size = (uint32_t)(n_nodes * 256 * 4);
	HTH_AUTO_FREE uint8_t *blob = malloc(4 + size + n_strings);
	memcpy(blob, &size, 4);
	memcpy(blob + 4, units, size);
	memcpy(blob + 4 + size, strings, n_strings);
	builder_array(w, "tokenizer.ggml.precompiled_charsmap", HTH_GGUF_U8, blob, 4 + size + n_strings, 1);
}

static void start_unigram(made *m)
{
	*m = (made){0};
	builder_start(&m->w);
	builder_string(&m->w, "tokenizer.ggml.model", "t5");
	vocab.n = 0;
	vocab_add(&vocab, "<pad>", 3, 0);
	vocab_add(&vocab, "</s>", 3, 0);
	vocab_add(&vocab, "<unk>", 2, 0);
}

static void open_unigram(made *m, bool prefix, bool remove_extra)
{
	hth_error err = HTH_ERROR_INIT;
	start_unigram(m);
	static const char *const pairs[][2] = {
	    {"\n", " "}, {"A", "a"}, {"\xEF\xAC\x81", "fi"}, {"\xEF\xAC\x80", "ff"}, {"\xE3\x80\x80", " "}};
	add_charsmap(&m->w, pairs, HTH_COUNT(pairs));
	static const struct {
		const char *text;
		float score;
	} words[] = {{B, -3},      {"a", -4}, {"b", -4.5f}, {"ab", -5}, {B "a", -4.2f},
	             {B "ab", -6}, {"f", -7}, {"i", -7},    {"fi", -8}, {B "x", -1}};
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		vocab_add(&vocab, words[i].text, 1, words[i].score);
	vocab_add(&vocab, "bb", 4, -100);
	builder_bool(&m->w, "tokenizer.ggml.add_space_prefix", prefix);
	builder_bool(&m->w, "tokenizer.ggml.remove_extra_whitespaces", remove_extra);
	vocab_write(&vocab, &m->w);
	CHECK_OK(made_open(m, &err));
}

TEST(unigram_finds_the_likeliest_cut)
{
	made m;
	open_unigram(&m, true, true);
	CHECK_STR(shown(&m, "ab", 0), B "ab");
	CHECK_STR(shown(&m, "ab", HTH_TOK_ADD_SPECIAL), B "ab|</s>");
	CHECK_STR(shown(&m, "  aab \n ab  ", 0), B "a|ab|" B "ab");
	/* By the character map: capital, ligature, other spaces. */
	CHECK_STR(shown(&m, "A\xEF\xAC\x81\xE3\x80\x80x", 0), B "a|fi|" B "x");
	/* Unknown characters in a row are one token; broken bytes are unknown too. */
	CHECK_STR(shown(&m, "aqq\xC3\xA9\xFFwa", 0), B "a|<unk>|a");
	CHECK_STR(shown(&m, "qq qq", 0), B "|<unk>|" B "|<unk>");
	/* User-defined pieces win at any score. */
	CHECK_STR(shown(&m, "abba", 0), B "a|bb|" B "a");
	CHECK_STR(shown(&m, "", 0), "");
	CHECK_STR(shown(&m, "  ", 0), "");
	made_close(&m);
	vocab_free(&vocab);
	open_unigram(&m, true, false);
	CHECK_STR(shown(&m, "a  a", 0), B "a|" B "|" B "a");
	made_close(&m);
	vocab_free(&vocab);
	open_unigram(&m, false, false);
	CHECK_STR(shown(&m, "ab x", 0), "ab|" B "x");
	made_close(&m);
	vocab_free(&vocab);
}

/* The best score of any cut of s, by trying all of them. */
static double best_cut(const char *s, size_t len)
{
	static double memo[64];
	memo[len] = 0;
	for (size_t i = len; i-- > 0;) {
		memo[i] = -1e9;
		for (size_t t = 3; t < vocab.n; t++) {
			size_t n = strlen(vocab.text[t]);
			if (n <= len - i && memcmp(s + i, vocab.text[t], n) == 0 &&
			    (double)vocab.score[t] + memo[i + n] > memo[i])
				memo[i] = (double)vocab.score[t] + memo[i + n];
		}
	}
	return memo[0];
}

TEST(unigram_agrees_with_trying_every_cut)
{
	made m;
	hth_error err = HTH_ERROR_INIT;
	hth_rng rng;
	hth_rng_seed(&rng, 77);
	start_unigram(&m);
	for (char c = 'a'; c <= 'c'; c++)
		vocab_add(&vocab, (char[]){c, '\0'}, 1, -6.0f - (float)hth_rng_unit(&rng));
	for (int i = 0; i < 30; i++) {
		char word[6] = "";
		size_t n = 2 + hth_rng_next(&rng) % 4;
		for (size_t k = 0; k < n; k++)
			word[k] = (char)('a' + hth_rng_next(&rng) % 3);
		bool again = false;
		for (size_t k = 0; k < vocab.n; k++)
			again |= strcmp(vocab.text[k], word) == 0;
		if (!again)
			vocab_add(&vocab, word, 1, -3.0f - 12.0f * (float)hth_rng_unit(&rng));
	}
	builder_bool(&m.w, "tokenizer.ggml.add_space_prefix", false);
	vocab_write(&vocab, &m.w);
	CHECK_OK(made_open(&m, &err));
	for (int round = 0; round < 200; round++) {
		char s[40];
		size_t len = 1 + hth_rng_next(&rng) % sizeof s;
		for (size_t i = 0; i < len; i++)
			s[i] = (char)('a' + hth_rng_next(&rng) % 3);
		hth_tokens tokens = HTH_TOKENS_INIT(100);
		CHECK_OK(hth_tokenizer_encode(m.t, s, len, 0, NULL, 0, &tokens, &err));
		double score = 0;
		size_t at = 0;
		for (size_t i = 0; i < tokens.len; i++) {
			hth_view p = hth_tokenizer_piece(m.t, tokens.ids[i]);
			CHECK(at + p.len <= len && memcmp(s + at, p.data, p.len) == 0);
			at += p.len;
			score += (double)vocab.score[tokens.ids[i]];
		}
		CHECK_INT(at, len);
		CHECK_NEAR(score, best_cut(s, len), 1e-4);
		hth_tokens_finish(&tokens);
	}
	made_close(&m);
	vocab_free(&vocab);
}

TEST(a_broken_character_map_is_refused_or_harmless)
{
	static const struct {
		uint8_t bytes[16];
		size_t len;
		bool ok;
	} maps[] = {{{1, 2}, 2, false},
	            {{8, 0, 0, 0, 1, 2}, 6, false},
	            {{3, 0, 0, 0, 0, 0, 0}, 7, false},
	            {{0xFC, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}, 8, false},
	            {{4, 0, 0, 0, 0, 0, 0, 0, 'x'}, 9, false},          /* a replacement without an end */
	            {{4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0}, 9, true}, /* offsets far outside */
	            {{4, 0, 0, 0, 0, 1, 0, 0, 0}, 9, true}};
	for (size_t i = 0; i < HTH_COUNT(maps); i++) {
		made m;
		hth_error err = HTH_ERROR_INIT;
		start_unigram(&m);
		vocab_add(&vocab, "a", 1, -1);
		builder_array(&m.w, "tokenizer.ggml.precompiled_charsmap", HTH_GGUF_U8, maps[i].bytes, maps[i].len, 1);
		vocab_write(&vocab, &m.w);
		hth_status status = made_open(&m, &err);
		CHECK_INT(status, maps[i].ok ? HTH_OK : HTH_BAD_FORMAT);
		if (status == HTH_OK)
			CHECK_STR(shown(&m, "aza", 0), "a|<unk>|a");
		else
			CHECK(strstr(err.message, "precompiled_charsmap") != NULL);
		made_close(&m);
		vocab_free(&vocab);
	}
}

static hth_status collect(void *user, const char *piece, size_t len, hth_error *err)
{
	hth_buf *out = user;
	if (out->len > 0)
		hth_buf_append_char(out, '|');
	hth_buf_append(out, piece, len);
	return HTH_OK;
}

static const char *cut(const char *pre, const char *text)
{
	static hth_buf out;
	hth_pretokenizer *p = NULL;
	hth_error err = HTH_ERROR_INIT;
	hth_buf_finish(&out);
	out = HTH_BUF_INIT(65536);
	hth_buf_append(&out, "", 0);
	CHECK_OK(hth_pretokenizer_create(&p, pre, strlen(pre), &err));
	if (p != NULL)
		CHECK_OK(hth_pretokenizer_split(p, text, strlen(text), collect, &out, &err));
	hth_pretokenizer_destroy(p);
	return out.data ? out.data : "";
}

TEST(every_pre_tokenizer_keeps_every_byte)
{
	static const char text[] =
	    "Hello  World's 12345 \xC3\xA9t\xC3\xA9!!\r\n\n\t \xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82  \xF0\x9F\x98\x80 "
	    "foo_bar(x)\xFF\xC3 <a> I'LL \xE0\xA6\x95\xE0\xA7\x87   ";
	char name[64];
	size_t n = 0;
	for (; hth_pretokenizer_name(n, name); n++) {
		const char *pieces = cut(name, text);
		size_t at = 0, bars = 0;
		for (const char *c = pieces; *c != '\0'; c++) {
			if (*c == '|')
				bars++;
			else if (*c == text[at])
				at++;
			else
				break;
		}
		if (at != strlen(text) || bars < 2)
			test_fail(__FILE__, __LINE__, "%s: %s", name, pieces);
	}
	CHECK(n > 60);
}

TEST(pre_tokenizers_cut_as_their_models_were_trained)
{
	static const struct {
		const char *pre, *text, *pieces;
	} cases[] = {
	    {"gpt-2", "Hello World's  12345!? \n\n x", "Hello| World|'s| | 12345|!?| \n\n| x"},
	    {"gpt-2", "I'LL can't", "I|'|LL| can|'t"},
	    {"gpt-2", "a   ", "a|   "},
	    {"starcoder", "ab 123", "ab| |1|2|3"},
	    {"llama-bpe", "I'LL go 12345\n\n  x(y)", "I|'LL| go| |123|45|\n\n| | x|(y|)"},
	    {"llama3", "a  \n  b", "a|  \n| | b"},
	    {"qwen2", "x 123 don't", "x| |1|2|3| don|'t"},
	    {"qwen2", "\xE0\xA4\xA8\xE0\xA4\xBE", "\xE0\xA4\xA8|\xE0\xA4\xBE"},
	    {"qwen35", "\xE0\xA4\xA8\xE0\xA4\xBE", "\xE0\xA4\xA8\xE0\xA4\xBE"},
	    {"deepseek-v3", "ab 12345\xE4\xBD\xA0\xE5\xA5\xBDx", "ab| |123|45|\xE4\xBD\xA0\xE5\xA5\xBD|x"},
	    {"deepseek-llm", "Hi there, 12\nx  ", "Hi| there|,| |12|\n|x|  "},
	    {"deepseek-coder", "if (x1==2)\n", "if| (|x|1|==|2|)|\n"},
	    {"falcon", "abc12345, $x", "abc|123|45|,| |$|x"},
	    {"gpt-4o", "HelloWorld's ABCdef 1234/\n", "Hello|World's| ABCdef| |123|4|/\n"},
	    {"tekken", "HelloWorld 12", "Hello|World| |1|2"},
	    {"bloom", "one (two), three.", "one| (|two|),| three|."},
	    {"viking", "a12", "a|1|2"},
	    {"kimi-k2", "\xE4\xBD\xA0\xE5\xA5\xBDok 1234", "\xE4\xBD\xA0\xE5\xA5\xBD|ok| |123|4"},
	    {"superbpe", "by the way 1234567", "by the way |1|234|567"},
	    {"tiny_aya", "x 1234567 12345ab", "x| |1|234|567| |123|45|ab"},
	    {"afmoe", "a1234", "a|1|234"},
	    {"gemma4", "a b\n\nc", "a b|\n\n|c"},
	    {"seed-coder", "a!!\nb", "a|!!|\n|b"},
	    {"exaone-moe", "one two 3", "one two| |3"},
	    {"chameleon", "a  b!c", "a|  |b|!|c"},
	    {"command-r", " 12a", " |1|2|a"},
	    {"default", "abc 12345", "abc| |123|45"},
	    {"bailingmoe", "a!!\nb\n\n", "a|!!\n|b|\n\n"},
	    {"laguna", "a b\nc", "a| b|\n|c"},
	};
	for (size_t i = 0; i < HTH_COUNT(cases); i++) {
		const char *got = cut(cases[i].pre, cases[i].text);
		if (strcmp(got, cases[i].pieces) != 0)
			test_fail(__FILE__, __LINE__, "%s: %s, not %s", cases[i].pre, got, cases[i].pieces);
	}
}

TEST_MAIN()
