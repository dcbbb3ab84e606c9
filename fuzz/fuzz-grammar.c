/* fuzz-grammar.c - a grammar, a zero byte, and a text: compiling must give a grammar or a message, and running it over
 * the text must say the same in one piece and byte by byte; a mask must agree with trying a token. */
#include "../tests/engine/tokenizer/vocab-builder.h"
#include "engine/grammar/grammar.h"

static made vocab_file;
static hth_grammar_vocab *vocab;

static void open_vocab(void)
{
	static vocab_list list;
	static const char *const more[] = {"ab",
	                                   "abc",
	                                   "\"a",
	                                   "\"}",
	                                   "\",\"",
	                                   "{\"",
	                                   "123",
	                                   "true",
	                                   "\\n",
	                                   "a\xC3\x83",
	                                   ("\xC4\xA0" "a"),
	                                   "aaaa"};
	hth_error err = HTH_ERROR_INIT;
	builder_start(&vocab_file.w);
	builder_string(&vocab_file.w, "tokenizer.ggml.model", "gpt2");
	builder_string(&vocab_file.w, "tokenizer.ggml.pre", "gpt-2");
	vocab_add_byte_alphabet(&list);
	for (size_t i = 0; i < HTH_COUNT(more); i++)
		vocab_add(&list, more[i], 1, 0);
	vocab_add(&list, "<|im_end|>", 3, 0);
	vocab_add(&list, "<a>", 3, 0);
	vocab_add(&list, "\"a", 3, 0);
	vocab_write(&list, &vocab_file.w);
	builder_strings(&vocab_file.w, "tokenizer.ggml.merges", NULL, 0);
	if (made_open(&vocab_file, &err) != HTH_OK || hth_grammar_vocab_create(&vocab, vocab_file.t, &err) != HTH_OK)
		abort();
	vocab_free(&list);
}

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* One mask against trying. */
static void check_mask(const hth_grammar_matcher *m)
{
	hth_grammar_matcher *at = NULL, *copy = NULL;
	hth_error err = HTH_ERROR_INIT;
	check(hth_grammar_matcher_copy(&at, m, &err) == HTH_OK);
	const uint32_t *mask = hth_grammar_mask(at);
	check(mask != NULL); /* bytes are tokens here: what can be finished can be gone on with, or ended */
	uint32_t kept[16];
	memcpy(kept, mask, hth_grammar_mask_words(vocab) * sizeof *mask);
	for (int32_t t = 0; (size_t)t < hth_tokenizer_vocab_size(vocab_file.t); t++) {
		check(hth_grammar_matcher_copy(&copy, at, &err) == HTH_OK);
		check(hth_grammar_accept(copy, t) == (kept[t / 32] >> (t % 32) & 1));
		hth_grammar_matcher_destroy(copy);
	}
	/* And the way to the end, where it is short: every byte is a token. */
	size_t left = hth_grammar_distance(at);
	if (left < 200)
		check(hth_grammar_can_end_within(at, left));
	for (; left < 200 && !hth_grammar_may_end(at); left--) {
		mask = hth_grammar_mask_nearer(at, left);
		check(mask != NULL && left > 0);
		int32_t t = (int32_t)hth_tokenizer_vocab_size(vocab_file.t);
		while (t > 0 && !(mask[(t - 1) / 32] >> ((t - 1) % 32) & 1))
			t--;
		check(t > 0);
		if (hth_tokenizer_is_end(vocab_file.t, t - 1))
			break;
		check(hth_grammar_accept(at, t - 1));
	}
	hth_grammar_matcher_destroy(at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 16384)
		return 0;
	if (vocab == NULL)
		open_vocab();
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	size_t len = zero ? (size_t)(zero - data) : size, n_text = zero ? size - len - 1 : 0;
	const char *text = zero ? (const char *)zero + 1 : "";
	hth_grammar *g = NULL;
	hth_error err = HTH_ERROR_INIT;
	if (hth_grammar_compile(&g, vocab, (const char *)data, len, &err) != HTH_OK) {
		check(err.message[0] != '\0');
		return 0;
	}
	if (len % 2 == 1)
		hth_grammar_use_special(g);
	hth_grammar_matcher *whole = NULL, *bytes = NULL;
	check(hth_grammar_matcher_create(&whole, g, &err) == HTH_OK &&
	      hth_grammar_matcher_create(&bytes, g, &err) == HTH_OK);
	bool ok = hth_grammar_accept_bytes(whole, text, n_text);
	size_t at = 0;
	while (at < n_text && hth_grammar_accept_bytes(bytes, text + at, 1))
		at++;
	check(ok == (at == n_text));
	if (ok)
		check(hth_grammar_may_end(whole) == hth_grammar_may_end(bytes));
	check_mask(bytes); /* where the text got to */
	/* The text's beginning as what is waited for, on the way through the rest of it. */
	hth_grammar_matcher_reset(whole);
	if (n_text > 0) {
		check(hth_grammar_matcher_wait(whole, text, 1 + n_text % 4 % n_text, n_text % 2, &err) == HTH_OK);
		(void)!hth_grammar_accept_bytes(whole, text + 1, n_text / 2);
		check_mask(whole);
	}
	hth_grammar_matcher_destroy(whole);
	hth_grammar_matcher_destroy(bytes);
	hth_grammar_destroy(g);
	return 0;
}
