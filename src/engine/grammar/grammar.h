/* grammar.h - binds what a model writes to a grammar: a bit per token that may come next.
 *
 * A grammar is GBNF text (the notation of llama.cpp's grammars: rules of literals, character classes, groups,
 * alternatives and repetitions; `root` is the sentence). It is compiled to a network of states over bytes and run as a
 * pushdown automaton whose stacks are shared and whose steps are remembered, so that a mask is mostly looked up. JSON
 * Schema becomes GBNF outside the engine (src/schema).
 *
 *   vocabulary  once per model: its tokens' bytes as a tree, and what is known of whole character classes
 *   grammar     once per text: the network and everything learned while running it; kept for the next request
 *   matcher     once per sequence: where it stands
 *
 * Use, per token: mask = hth_grammar_mask(m); id = hth_sampler_sample(s, logits, mask); hth_grammar_accept(m, id).
 * One thread: a vocabulary, its grammars and their matchers belong together to one thread. But compile reads nothing of the
 * vocabulary, so a grammar may be made by another one and handed over.
 */
#ifndef HTH_ENGINE_GRAMMAR_H
#define HTH_ENGINE_GRAMMAR_H

#include "engine/tokenizer/tokenizer.h"

enum {
	HTH_GRAMMAR_TEXT_MAX = 8 << 20,  /* bytes of GBNF */
	HTH_GRAMMAR_NODES_MAX = 1 << 20, /* states of the network */
	HTH_GRAMMAR_DEPTH_MAX = 512,     /* rules inside rules while running */
	HTH_GRAMMAR_TRIGGER_MAX = 256,   /* bytes of a text after which a sentence begins */
};

typedef struct hth_grammar_vocab hth_grammar_vocab;
/* tokenizer is borrowed until destroy. Takes some tens of milliseconds and megabytes for 128 k tokens: make it with the
 * first grammar, keep it with the model. */
HTH_MUST_USE hth_status hth_grammar_vocab_create(hth_grammar_vocab **ret_vocab, const hth_tokenizer *tokenizer,
                                                 hth_error *err);
void hth_grammar_vocab_destroy(hth_grammar_vocab *vocab); /* after its grammars; NULL is fine */

typedef struct hth_grammar hth_grammar;
/* vocab is borrowed until destroy; NULL where only text is matched (no masks). HTH_INVALID names the line and what is
 * wrong: syntax, an undefined or left-recursive rule, no root. HTH_TOO_LARGE: over a limit above. */
HTH_MUST_USE hth_status hth_grammar_compile(hth_grammar **ret_grammar, hth_grammar_vocab *vocab, const char *gbnf,
                                            size_t len, hth_error *err);
void hth_grammar_destroy(hth_grammar *grammar); /* after its matchers; wipes its text; NULL is fine */
/* Before the first mask, for answers whose text shows special tokens: a control token may then be written where literals alone
 * (no character class) spell its text, and an end token where its text is the sentence's last, so "<tool_call>" may be
 * one token but never part of a JSON string. Without this control tokens are never allowed. */
void hth_grammar_use_special(hth_grammar *grammar);
size_t hth_grammar_bytes(const hth_grammar *grammar); /* memory it holds by now, about */

typedef struct hth_grammar_matcher hth_grammar_matcher;
/* At the sentence's beginning. */
HTH_MUST_USE hth_status hth_grammar_matcher_create(hth_grammar_matcher **ret_matcher, hth_grammar *grammar,
                                                   hth_error *err);
/* Another one that stands where this one does (for guessing ahead). */
HTH_MUST_USE hth_status hth_grammar_matcher_copy(hth_grammar_matcher **ret_matcher, const hth_grammar_matcher *matcher,
                                                 hth_error *err);
void hth_grammar_matcher_destroy(hth_grammar_matcher *matcher); /* NULL is fine */
void hth_grammar_matcher_reset(hth_grammar_matcher *matcher);
/* At the beginning: the matcher waits. Anything may come until `text` (1 to HTH_GRAMMAR_TRIGGER_MAX bytes) has appeared in what
 * the tokens spell, control tokens included; the sentence begins with the byte behind it, be that inside a token. may_end: the
 * generation may end before that; else other control tokens may not come either. */
HTH_MUST_USE hth_status hth_grammar_matcher_wait(hth_grammar_matcher *matcher, const char *text, size_t len, bool may_end,
                                                 hth_error *err);
bool hth_grammar_matcher_waits(const hth_grammar_matcher *matcher);
/* At the beginning: if the first token begins with a space, that space is not part of the text (see hth_tokenizer_adds_space). */
void hth_grammar_matcher_drop_space(hth_grammar_matcher *matcher);

/* What may come next: one bit per token (bit id % 32 of word id / 32; the form that hth_sampler_sample takes). Tokens
 * that end a generation are in it exactly when the sentence may end here (or with them, hth_grammar_use_special), and
 * while the matcher waits and may. Borrowed until the next call on any matcher of this grammar. NULL when nothing may come (cannot
 * happen after tokens that the mask allowed, unless no token spells what the grammar asks for), when memory ran out, or when
 * finding out would take so long that others wait for it (a grammar with thousands of ways open at once). */
const uint32_t *hth_grammar_mask(hth_grammar_matcher *matcher);
size_t hth_grammar_mask_words(const hth_grammar_vocab *vocab);

/* The sequence went on by this token, or these bytes. False, and nothing changed, when the grammar does not allow it.
 * An end token is accepted where the sentence may end, and changes nothing. */
HTH_MUST_USE bool hth_grammar_accept(hth_grammar_matcher *matcher, int32_t token);
HTH_MUST_USE bool hth_grammar_accept_bytes(hth_grammar_matcher *matcher, const char *bytes, size_t len);

/* Ending in time. Whether so many tokens are known to be enough to end the sentence (the text that is waited for included, if it must
 * come; true while it need not). */
bool hth_grammar_can_end_within(hth_grammar_matcher *matcher, size_t tokens);
/* The fewest bytes, and so at most so many tokens, until the sentence may end. */
size_t hth_grammar_distance(const hth_grammar_matcher *matcher);
/* As hth_grammar_mask, but only what leads nearer to the end; where only the longest steps are short enough for so many tokens, the
 * longest. Ends where the sentence may end. NULL: nothing is known to. */
const uint32_t *hth_grammar_mask_nearer(hth_grammar_matcher *matcher, size_t tokens);

bool hth_grammar_may_end(const hth_grammar_matcher *matcher);  /* what was accepted is a whole sentence, or it waits and may */
bool hth_grammar_must_end(const hth_grammar_matcher *matcher); /* and nothing can follow: stop without another token */

#endif
