/* answer-reader.h - from the pieces of one answer of a model of this home to the events that the families write.
 *
 * A piece's text goes through the parser of toolcalls.h, in the notation of the model's chat template. Log probabilities travel
 * with the text of their tokens: rows of text that was held back come with it when it comes out as content, rows of marks,
 * reasoning and calls come with nothing, as OpenAI's API has it (its logprobs are those of the message's content).
 */
#ifndef HTH_API_ANSWER_READER_H
#define HTH_API_ANSWER_READER_H

#include "api/api.h"
#include "api/binding-cache.h"

typedef struct hth_answer_reader hth_answer_reader;
/* The event's texts and rows are borrowed during the call. */
typedef void (*hth_answer_reader_fn)(void *ctx, size_t i, const hth_api_event *event);

/* For the chat request number i, which a model of this home will answer: finds the model's notation from its template, binds the request
 * (binding.h; cache may be NULL) and asks for special tokens' text where its marks may be such tokens. Call it before the request is
 * submitted. request is borrowed: its prompt_tail, read at the first piece, tells whether the answer begins inside reasoning. */
HTH_MUST_USE hth_status hth_answer_reader_create(hth_answer_reader **ret_reader, hth_request *request, size_t i,
                                                 const hth_runner_info *info, hth_binding_cache *cache, hth_answer_reader_fn fn, void *ctx,
                                                 hth_error *err);
void hth_answer_reader_destroy(hth_answer_reader *reader); /* wipes what it held; NULL does nothing */
/* HTH_NO_MEMORY: the answer cannot be told apart any more. */
HTH_MUST_USE hth_status hth_answer_reader_piece(hth_answer_reader *reader, const hth_answer_piece *piece, hth_error *err);
/* The answer is over: what is held back comes out. complete: the model ended it by itself. */
void hth_answer_reader_end(hth_answer_reader *reader, bool complete);
/* Tokens that were reasoning. */
uint32_t hth_answer_reader_reasoning_tokens(const hth_answer_reader *reader);

#endif
