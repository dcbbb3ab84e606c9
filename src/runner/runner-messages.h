/* runner-messages.h - what the frames between daemon and runner hold, and the checks on it.
 *
 * Each message has a put (appends one frame to a buffer; false when it does not fit, and then nothing was appended) and a get
 * (HTH_BAD_FORMAT when the payload is not exactly such a message). A get never trusts: counts are held against the bytes that
 * are there before anything is allocated, text is valid UTF-8, names and messages hold no control characters, numbers are
 * finite and in range. Field order is that of the put functions in runner-messages.c.
 */
#ifndef HTH_RUNNER_RUNNER_MESSAGES_H
#define HTH_RUNNER_RUNNER_MESSAGES_H

#include "request/request.h"
#include "runner/frames.h"
#include "runner/runner.h"

/* A request as the runner sees it: the words and the wishes, without the life. */
typedef struct hth_ask {
	hth_request_kind kind;
	hth_request_input input;
	hth_request_params params;
} hth_ask;
void hth_ask_finish(hth_ask *ask); /* wipes and frees */

HTH_MUST_USE bool hth_message_put_submit(hth_buf *out, uint32_t id, hth_request_kind kind, const hth_request_input *input,
                                         const hth_request_params *params);
HTH_MUST_USE hth_status hth_message_get_submit(const hth_frame *frame, hth_ask *ret_ask, hth_error *err);
/* cancel and quit have no payload. */
HTH_MUST_USE bool hth_message_put_empty(hth_buf *out, hth_frame_type type, uint32_t id);

HTH_MUST_USE bool hth_message_put_progress(hth_buf *out, float fraction);
HTH_MUST_USE hth_status hth_message_get_progress(const hth_frame *frame, float *ret_fraction, hth_error *err);

HTH_MUST_USE bool hth_message_put_ready(hth_buf *out, const hth_runner_info *info);
HTH_MUST_USE hth_status hth_message_get_ready(const hth_frame *frame, hth_runner_info *ret_info, hth_error *err);

/* type: HTH_FRAME_FAIL, or HTH_FRAME_BROKEN with id 0. */
HTH_MUST_USE bool hth_message_put_error(hth_buf *out, hth_frame_type type, uint32_t id, const hth_error *error);
HTH_MUST_USE hth_status hth_message_get_error(const hth_frame *frame, hth_error *ret_error, hth_error *err);

/* The end of the text that the model's template made of a chat: whole characters, no NUL, under HTH_PROMPT_TAIL_MAX bytes. */
HTH_MUST_USE bool hth_message_put_prompt(hth_buf *out, uint32_t id, const char *tail, uint32_t n_tokens);
HTH_MUST_USE hth_status hth_message_get_prompt(const hth_frame *frame, char ret_tail[HTH_PROMPT_TAIL_MAX], uint32_t *ret_n_tokens,
                                               hth_error *err);

enum {
	HTH_PIECE_TEXT_MAX = 64 << 10, /* bytes of text in one piece */
	HTH_PIECE_TOKENS_MAX = 1024,   /* rows of logprobs, or ids, in one piece */
	HTH_PIECE_EVIDENCE_MAX = 16,
	HTH_TOKENS_FRAME_MAX = 128 << 10,
	HTH_EMBEDDING_MAX = 128 << 10,
};
HTH_MUST_USE bool hth_message_put_piece(hth_buf *out, uint32_t id, const hth_answer_piece *piece);
/* What a piece's numbers lie in while it is looked at; reused. Begins as zeros; free rows at the end. */
typedef struct hth_piece_storage {
	hth_token_logprob *rows; /* cap of them */
	size_t cap;
	int32_t ids[HTH_PIECE_TOKENS_MAX];
	hth_token_evidence evidence[HTH_PIECE_EVIDENCE_MAX];
} hth_piece_storage;
/* The piece points into the frame and into the storage. */
HTH_MUST_USE hth_status hth_message_get_piece(const hth_frame *frame, hth_piece_storage *storage, hth_answer_piece *ret_piece,
                                              hth_error *err);

/* more: another frame of tokens follows. */
HTH_MUST_USE bool hth_message_put_tokens(hth_buf *out, uint32_t id, const int32_t *ids, size_t n, bool more);
/* ids: unaligned, n 32-bit integers. */
HTH_MUST_USE hth_status hth_message_get_tokens(const hth_frame *frame, const unsigned char **ret_ids, size_t *ret_n,
                                               bool *ret_more, hth_error *err);

HTH_MUST_USE bool hth_message_put_embedding(hth_buf *out, uint32_t id, const float *values, size_t n);
/* Copies: caller frees. Every value is finite. */
HTH_MUST_USE hth_status hth_message_get_embedding(const hth_frame *frame, float **ret_values, size_t *ret_n, hth_error *err);

typedef struct hth_done {
	hth_finish_reason reason;
	hth_usage usage;
	int stop; /* which of the request's stop strings ended it; -1: none */
} hth_done;
HTH_MUST_USE bool hth_message_put_done(hth_buf *out, uint32_t id, const hth_done *done);
HTH_MUST_USE hth_status hth_message_get_done(const hth_frame *frame, hth_done *ret_done, hth_error *err);

#endif
