/* prepare.h - from what was asked to tokens: rendering the chat template, tokenising, checking that it fits.
 *
 * The words of users are marked from the JSON through the template to the tokenizer, so that no text of theirs becomes a special
 * token; roles, the template's own text and the vocabulary's bos/eos are trusted.
 *
 * A model without a chat template gets one: ChatML when its vocabulary has <|im_start|> and <|im_end|> as special tokens,
 * else a plain transcript ("User: ...", "Assistant:") that ends where the next "User:" would begin.
 */
#ifndef HTH_RUNNER_PREPARE_H
#define HTH_RUNNER_PREPARE_H

#include "engine/engine.h"
#include "engine/gotemplate/chat-template.h"
#include "runner/runner-job.h"

typedef struct hth_preparer hth_preparer;
/* model is borrowed. n_ctx: tokens of one sequence. name: for messages. */
HTH_MUST_USE hth_status hth_preparer_create(hth_preparer **ret_preparer, const hth_model *model, uint32_t n_ctx, const char *name,
                                            hth_error *err);
void hth_preparer_destroy(hth_preparer *preparer);
/* The template in use, the model's or ours; none when the model's own does not compile. */
hth_chat_template hth_preparer_template(const hth_preparer *preparer);
const hth_jinja_caps *hth_preparer_caps(const hth_preparer *preparer); /* what that template can do */
const hth_tokenizer *hth_preparer_tokenizer(const hth_preparer *preparer);

/* Also compiles what binds the answer. The grammars are the preparer's: jobs end before it does. Fills job's tokens (all kinds but RENDER
 * and DETOKENIZE), and its text in job->echo (RENDER, DETOKENIZE, and an echoed prompt). For what the scheduler runs, tokens have room for
 * the answer and max_answer is set. HTH_TOO_LARGE with both numbers when the prompt does not fit; HTH_UNSUPPORTED when this model cannot do
 * it; HTH_INVALID when the words are wrong. */
HTH_MUST_USE hth_status hth_prepare(const hth_preparer *preparer, hth_job *job, hth_error *err);

#endif
