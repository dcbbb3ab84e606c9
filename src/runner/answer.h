/* answer.h - from tokens to the pieces of an answer that somebody may see.
 *
 * Tokens are detokenised into whole UTF-8 characters. Text that may be the beginning of a stop string is held until it is
 * clear that it is not, so no byte of a stop string ever leaves, however tokens cut it. Logprob rows travel with the text
 * of their tokens and are held with it.
 */
#ifndef HTH_RUNNER_ANSWER_H
#define HTH_RUNNER_ANSWER_H

#include "engine/sampling/sampler.h"
#include "engine/tokenizer/tokenizer.h"
#include "request/request.h"

typedef void (*hth_answer_fn)(void *ctx, const hth_answer_piece *piece);

typedef struct hth_answer_row hth_answer_row; /* one token's logprob and its rivals' */
typedef struct hth_answer {
	const hth_tokenizer *tokenizer;
	hth_detokenizer detokenizer;
	char *const *stop; /* borrowed from the request's parameters */
	size_t n_stop;
	hth_answer_fn fn;
	void *ctx;
	hth_buf held;          /* text that was not given out */
	uint64_t given;        /* bytes of text given out before held */
	uint32_t n_tokens;     /* tokens taken since the last piece */
	hth_answer_row *rows;  /* logprobs that wait for their text */
	size_t n_rows, n_top;
	bool with_logprobs;
	bool of_prompt;        /* its tokens are none of the answer's */
	bool with_ids;         /* a piece for every token, with its id */
	int32_t id;            /* of the token taken since the last piece, with_ids */
	uint64_t skip;         /* bytes at the answer's beginning that were given out elsewhere */
} hth_answer;

/* at_start: the answer begins a text (see hth_detokenizer). top_logprobs as in hth_request_params. */
HTH_MUST_USE hth_status hth_answer_init(hth_answer *answer, const hth_tokenizer *tokenizer, bool at_start,
                                        const hth_request_params *params, hth_answer_fn fn, void *ctx, hth_error *err);
/* Bytes of text that resume's tokens make, so far; less than were given out elsewhere means that those were not theirs. */
static inline uint64_t hth_answer_bytes(const hth_answer *answer) { return answer->given + answer->held.len; }
void hth_answer_finish(hth_answer *answer);

/* Takes the next token. logprob and top (answer->n_top of them) are only read when the request asked for logprobs. Returns the number of
 * the stop string that the text now contains, and then nothing more may be pushed; -1: go on. */
int hth_answer_push(hth_answer *answer, int32_t token, float logprob, const hth_logprob *top);
/* As push, for a token that was told before: it is no news, but what of its text was held then may be now. */
int hth_answer_replay(hth_answer *answer, int32_t token);
/* Text as it is (an echoed prompt), past stop strings. */
void hth_answer_text(hth_answer *answer, const char *text, size_t len);
/* Gives out what is still held: the answer ended without a stop string. Returns as push: the last bytes may complete one. */
int hth_answer_flush(hth_answer *answer);

/* Gives text out in pieces of a size that a frame holds. */
void hth_answer_split(const char *text, size_t len, hth_answer_fn fn, void *ctx);

#endif
