/* speculation.h - guesses at the next tokens: from the text itself, what followed the last time these tokens stood together (prompt
 * lookup), and where that says nothing from a smaller model, if there is one (drafter.h). Code, quotations and lists repeat
 * themselves, and several guessed tokens are checked in one step for little more than the price of one.
 *
 * The guesses only ever save time: each is compared with what the sampler draws from the true logits, and the first
 * that differs ends them. So the answer is distributed exactly as without; and where kernels give a few rows the bits of one
 * (hth_session_exact_rows), greedy and seeded answers are the same to the letter. Whether it pays is measured: how many
 * guesses were right lately, and what a row costs (pace.h).
 */
#ifndef HTH_RUNNER_SPECULATION_H
#define HTH_RUNNER_SPECULATION_H

#include "runner/pace.h"

#include <stdbool.h>

typedef struct hth_guesses {
	float hit_rate;   /* of single guesses, lately */
	uint32_t waiting; /* tokens until it may try again although it did not pay */
} hth_guesses;
typedef struct hth_speculation {
	hth_guesses lookup, model;
	bool by_model; /* whose the last ones were */
} hth_speculation;

void hth_speculation_init(hth_speculation *speculation);
/* Up to max guesses at what follows tokens; 0 when there is nothing to go by or it would not pay. n_rows: what the step
 * computes anyway, of which n_decoding are answers' next tokens. */
uint32_t hth_speculation_draft(hth_speculation *speculation, const hth_pace *pace, size_t n_rows, size_t n_decoding,
                               const int32_t *tokens, uint32_t n_tokens, uint32_t max, int32_t *drafts);
/* How many guesses, at most max, to ask a smaller model for that takes guess_ns for each; 0: it would not pay. */
uint32_t hth_speculation_ask(hth_speculation *speculation, const hth_pace *pace, size_t n_rows, size_t n_decoding, uint32_t max,
                             double guess_ns);
/* Of `tried` guesses that were looked at, so many were right. */
void hth_speculation_learn(hth_speculation *speculation, uint32_t tried, uint32_t right);

#endif
