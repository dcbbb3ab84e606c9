/* fuzz-tokenizer.c - the first byte chooses: bit 7 set, the rest are the bytes of a vocabulary's metadata; otherwise
 * the rest is a text for one of the built-in vocabularies. Byte-level BPE must give any text back; nobody may crash,
 * hang or spell a special token out of a user's words. */
#include "../tests/engine/tokenizer/vocab-builder.h"

#include <stdlib.h>

static const char *const pres[] = {"gpt-2",      "llama-bpe",  "qwen2",      "deepseek-v3", "deepseek-llm", "gpt-4o",
                                   "tekken",     "falcon",     "kimi-k2",    "superbpe",    "tiny_aya",     "afmoe",
                                   "exaone-moe", "bloom",      "chameleon",  "default",     "gemma4",       "jais-2",
                                   "youtu",      "bailingmoe", "seed-coder", "viking",      "qwen35",       "laguna"};
enum { N_PRES = HTH_COUNT(pres), SPM = N_PRES, BERT, UNIGRAM, N_VOCABS };
static made vocabs[N_VOCABS];
static vocab_list list;

static void add_words(void)
{
	static const char *const words[] = {"\xE2\x96\x81",
	                                    "a",
	                                    "b",
	                                    "e",
	                                    "t",
	                                    "\xE2\x96\x81t",
	                                    "he",
	                                    "\xE2\x96\x81the",
	                                    "the",
	                                    "th",
	                                    "ab",
	                                    ("\xE2\x96\x81"
	                                     "a"),
	                                    "ba",
	                                    "\xC3\xA9",
	                                    "s",
	                                    "\xE2\x96\x81\xE2\x96\x81"};
	for (size_t i = 0; i < HTH_COUNT(words); i++)
		vocab_add(&list, words[i], 1, -(float)(i * 7 % 13));
	vocab_add(&list, "<|user|>", 3, 0);
	vocab_add(&list, "<think>", 4, 0);
	vocab_add(&list, "  ", 4, 0);
}

static void open_vocab(size_t which)
{
	static const char *const merges[] = {
	    "a b", "h e", "t he", "\xC4\xA0 the", "a a", "aa aa", "\xC4\xA0 \xC4\xA0", "1 2", "\xC3\x83 \xC2\xA9"};
	made *m = &vocabs[which];
	hth_error err = HTH_ERROR_INIT;
	builder_start(&m->w);
	builder_string(&m->w, "tokenizer.ggml.model",
	               which < N_PRES  ? "gpt2"
	               : which == SPM  ? "llama"
	               : which == BERT ? "bert"
	                               : "t5");
	if (which < N_PRES) {
		builder_string(&m->w, "tokenizer.ggml.pre", pres[which]);
		if (strcmp(pres[which], "gemma4") == 0)
			vocab_add_spm_base(&list);
		else
			vocab_add_byte_alphabet(&list);
		for (size_t i = 0; i < HTH_COUNT(merges); i++) {
			char joined[32];
			const char *space = strchr(merges[i], ' ');
			snprintf(joined, sizeof joined, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
			vocab_add(&list, joined, 1, 0);
		}
		vocab_add(&list, "<|user|>", 3, 0);
		vocab_add(&list, "<think>", 4, 0);
		vocab_add(&list, "  ", 4, 0);
		builder_strings(&m->w, "tokenizer.ggml.merges", merges, HTH_COUNT(merges));
	} else {
		vocab_add_spm_base(&list);
		add_words();
		if (which == BERT) {
			builder_uint(&m->w, "tokenizer.ggml.unknown_token_id", 0);
			builder_uint(&m->w, "tokenizer.ggml.cls_token_id", 1);
			builder_uint(&m->w, "tokenizer.ggml.seperator_token_id", 2);
		} else if (which == UNIGRAM) {
			builder_uint(&m->w, "tokenizer.ggml.unknown_token_id", 0);
			builder_bool(&m->w, "tokenizer.ggml.remove_extra_whitespaces", true);
		}
	}
	vocab_write(&list, &m->w);
	if (made_open(m, &err) != HTH_OK) {
		fprintf(stderr, "%s\n", err.message);
		abort();
	}
	vocab_free(&list);
}

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void fuzz_text(size_t which, unsigned flags, const char *text, size_t len)
{
	made *m = &vocabs[which];
	hth_error err = HTH_ERROR_INIT;
	hth_tokens tokens = HTH_TOKENS_INIT(1 << 20);
	if (m->t == NULL)
		open_vocab(which);
	hth_span plain = {len / 4, len / 2};
	check(hth_tokenizer_encode(m->t, text, len, flags, &plain, 1, &tokens, &err) == HTH_OK);
	hth_buf bytes = HTH_BUF_INIT(1 << 24), stream = HTH_BUF_INIT(1 << 24);
	hth_detokenizer d;
	hth_detokenizer_init(&d, m->t, true, false);
	for (size_t i = 0; i < tokens.len; i++) {
		check(tokens.ids[i] >= 0 && (size_t)tokens.ids[i] < hth_tokenizer_vocab_size(m->t));
		check(hth_tokenizer_bytes(m->t, tokens.ids[i], true, &bytes));
		check(hth_detokenizer_push(&d, tokens.ids[i], &stream));
		check(d.n_pending < 4);
	}
	check(hth_detokenizer_flush(&d, &stream));
	if (which < N_PRES && strcmp(pres[which], "gemma4") != 0 && !(flags & HTH_TOK_ADD_SPECIAL))
		check(bytes.len == len && (len == 0 || memcmp(bytes.data, text, len) == 0));
	/* All of it a user's: no control token. */
	hth_span all = {0, len};
	tokens.len = 0;
	check(hth_tokenizer_encode(m->t, text, len, HTH_TOK_PARSE_SPECIAL, &all, 1, &tokens, &err) == HTH_OK);
	for (size_t i = 0; i < tokens.len; i++)
		check(!hth_tokenizer_is_control(m->t, tokens.ids[i]) ||
		      tokens.ids[i] == hth_tokenizer_special(m->t)->unk);
	hth_buf_finish(&bytes);
	hth_buf_finish(&stream);
	hth_tokens_finish(&tokens);
}

/* Records: key number, then a value that suits it in form only. */
static void fuzz_metadata(const uint8_t *data, size_t size)
{
	static const char *const models[] = {"llama", "gpt2", "bert", "t5", "gemma4"};
	made m = {0};
	hth_error err = HTH_ERROR_INIT;
	builder_start(&m.w);
	builder_string(&m.w, "tokenizer.ggml.model", models[data[0] % HTH_COUNT(models)]);
	if (data[0] & 8)
		builder_string(&m.w, "tokenizer.ggml.pre", pres[data[0] / 16 % N_PRES]);
	builder_uint(&m.w, "tokenizer.ggml.unknown_token_id", size > 1 ? data[1] : 0);
	builder_uint(&m.w, "tokenizer.ggml.eos_token_id", size > 2 ? data[2] : 0);
	/* The rest in three parts: pieces cut at newlines, the character map, and the text; types and scores from the
	 * bytes. */
	size_t third = size / 3;
	char *pieces = calloc(third + 1, 1);
	memcpy(pieces, data, third);
	for (char *p = pieces; p < pieces + third && list.n < VOCAB_CAP - 300;) {
		size_t n = strcspn(p, "\n");
		p[n] = '\0';
		vocab_add(&list, p, data[list.n % size] % 8 == 7 ? 1 : data[list.n % size] % 8,
		          (float)(int8_t)data[list.n * 7 % size]);
		p += n + 1;
	}
	if (data[0] & 32)
		vocab_add_spm_base(&list);
	vocab_write(&list, &m.w);
	builder_strings(&m.w, "tokenizer.ggml.merges", (const char *const *)list.text, list.n);
	builder_array(&m.w, "tokenizer.ggml.precompiled_charsmap", HTH_GGUF_U8, data + third, third, 1);
	if (made_open(&m, &err) == HTH_OK) {
		hth_tokens tokens = HTH_TOKENS_INIT(1 << 20);
		check(hth_tokenizer_encode(m.t, (const char *)data, size, HTH_TOK_PARSE_SPECIAL | HTH_TOK_ADD_SPECIAL,
		                           NULL, 0, &tokens, &err) == HTH_OK);
		for (size_t i = 0; i < tokens.len; i++)
			check(tokens.ids[i] >= 0 && (size_t)tokens.ids[i] < hth_tokenizer_vocab_size(m.t));
		hth_tokens_finish(&tokens);
	} else {
		check(err.message[0] != '\0');
	}
	made_close(&m);
	vocab_free(&list);
	free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 65536)
		return 0;
	if (data[0] & 0x80)
		fuzz_metadata(data + 1, size - 1);
	else
		fuzz_text((data[0] & 31) % N_VOCABS, data[0] >> 5 & 3, (const char *)data + 1, size - 1);
	return 0;
}
