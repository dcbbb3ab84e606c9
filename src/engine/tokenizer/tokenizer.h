/* tokenizer.h - text to token ids and back, from the vocabulary inside a GGUF file.
 *
 * SPM (SentencePiece BPE: llama, gemma), BPE (byte-level: gpt2 and every pre-tokenizer name in tokenizer.ggml.pre),
 * WordPiece (bert) and Unigram (t5). A tokenizer is immutable after creation and may be shared between threads.
 */
#ifndef HTH_ENGINE_TOKENIZER_H
#define HTH_ENGINE_TOKENIZER_H

#include "base/buf.h"
#include "engine/gguf/gguf.h"

typedef struct hth_tokenizer hth_tokenizer;

/* Builds from metadata; gguf is borrowed until destroy. All ids, types and scores are checked here. */
HTH_MUST_USE hth_status hth_tokenizer_create(hth_tokenizer **ret_tokenizer, const hth_gguf *gguf, hth_error *err);
void hth_tokenizer_destroy(hth_tokenizer *tokenizer);

typedef struct hth_tokens {
	int32_t *ids;
	size_t len, cap;
	size_t max; /* len may never pass this; encode fails with HTH_TOO_LARGE */
} hth_tokens;
#define HTH_TOKENS_INIT(max_tokens) ((hth_tokens){.max = (max_tokens)})
void hth_tokens_finish(hth_tokens *tokens);
HTH_MUST_USE bool hth_tokens_push(hth_tokens *tokens, int32_t id);

/* A byte range [begin, end) of a text. */
typedef struct hth_span {
	size_t begin, end;
} hth_span;

enum {
	HTH_TOK_ADD_SPECIAL = 1,   /* BOS/EOS/CLS/SEP where the vocabulary asks for them */
	HTH_TOK_PARSE_SPECIAL = 2, /* text that spells a special token becomes that token ... */
};
/* ... except inside `plain`: spans of text that came from a user. No special token may touch a byte of them, so that
 * user text cannot forge one. Spans are sorted and do not overlap. Appends to tokens. text may hold any bytes. */
HTH_MUST_USE hth_status hth_tokenizer_encode(const hth_tokenizer *tokenizer, const char *text, size_t len,
                                             unsigned flags, const hth_span *plain, size_t n_plain, hth_tokens *tokens,
                                             hth_error *err);

size_t hth_tokenizer_vocab_size(const hth_tokenizer *tokenizer);
const char *hth_tokenizer_model(const hth_tokenizer *tokenizer); /* "llama", "gpt2", "bert", "t5" */
/* -1 when the vocabulary has none. */
typedef struct hth_special_ids {
	int32_t bos, eos, eot, unk, pad, sep, cls, mask, newline;
	bool add_bos, add_eos;
} hth_special_ids;
const hth_special_ids *hth_tokenizer_special(const hth_tokenizer *tokenizer);
/* End of generation: eos, eot, <|im_end|> and their kin. */
bool hth_tokenizer_is_end(const hth_tokenizer *tokenizer, int32_t id);
/* Control and unknown tokens: they have no text of their own. */
bool hth_tokenizer_is_control(const hth_tokenizer *tokenizer, int32_t id);
/* A text's first token carries a space that the text did not have (SPM with add_space_prefix, WordPiece, unigram). */
bool hth_tokenizer_adds_space(const hth_tokenizer *tokenizer);
/* The vocabulary's own spelling ("▁the", "Ġthe"): borrowed, for showing. */
hth_view hth_tokenizer_piece(const hth_tokenizer *tokenizer, int32_t id);
/* The bytes that the token stands for in an answer, appended to out: raw, possibly part of a UTF-8 character. Control
 * tokens give nothing unless show_special. */
bool hth_tokenizer_bytes(const hth_tokenizer *tokenizer, int32_t id, bool show_special, hth_buf *out);

/* Streaming detokenisation: gives only whole UTF-8 characters; bytes of an unfinished one wait for the next token, and
 * bytes that can never become one come out as U+FFFD. Strips the space that SPM adds at a text's start if at_start. */
typedef struct hth_detokenizer {
	const hth_tokenizer *tokenizer;
	bool show_special, at_start;
	char pending[4];
	size_t n_pending;
} hth_detokenizer;
void hth_detokenizer_init(hth_detokenizer *detokenizer, const hth_tokenizer *tokenizer, bool at_start,
                          bool show_special);
bool hth_detokenizer_push(hth_detokenizer *detokenizer, int32_t id, hth_buf *out);
bool hth_detokenizer_flush(hth_detokenizer *detokenizer, hth_buf *out);

#endif
