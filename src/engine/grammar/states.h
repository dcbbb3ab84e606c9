/* states.h - a grammar while it runs.
 *
 * A frame is a place in the network, how often its rule was repeated, and the frame that waits for its rule to end;
 * equal frames are one frame, so stacks share their lower parts. A state is the set of all frames in which the text so
 * far may be; equal sets are one state. What a state becomes by a byte is found once and remembered, and so is its
 * mask: running a grammar turns it, piece by piece, into an ordinary automaton. When that grows past its budget
 * everything is forgotten but where the matchers stand.
 */
#ifndef HTH_ENGINE_GRAMMAR_STATES_H
#define HTH_ENGINE_GRAMMAR_STATES_H

#include "engine/grammar/grammar.h"
#include "engine/grammar/network.h"
#include "engine/grammar/token-tree.h"

enum {
	DEAD = 0,                /* the state from which no text follows */
	NOT_YET = -1,            /* a step that was not taken before */
	SET_MAX = 4096,          /* frames in one state; more make the text count as not allowed */
	BUDGET = 64 << 20,       /* bytes of frames, states and masks before they are forgotten */
	BUDGET_MAX = 4 * BUDGET, /* where even one mask's search ends */
	FEW_STEPS = 6,
	WORK_MAX = 2 << 20, /* places visited for one mask: a grammar that needs more would hold up everybody else's answers */
};

typedef struct hth_frame {
	uint32_t node, count, parent; /* parent 0: the sentence itself */
	uint32_t depth;
	uint32_t distance; /* the fewest bytes to the sentence's end */
} hth_frame;

typedef struct hth_state {
	uint64_t live[4];  /* bytes that some frame wants */
	uint32_t first, n; /* in pool: frame ids, sorted */
	int32_t *next;     /* by byte; NULL while few steps were taken: */
	uint32_t few_to[FEW_STEPS];
	uint8_t few_bytes[FEW_STEPS], n_few;
	bool may_end;
	uint32_t distance; /* of the nearest frame; 0 where it may end */
	uint32_t *mask; /* NULL until asked for */
} hth_state;

typedef struct hth_frame_set { /* frames and states that belong together */
	const hth_network *net;
	hth_frame *frames;
	uint32_t *frame_slots;
	hth_state *states;
	uint32_t *state_slots, *pool;
	size_t n_frames, frame_cap, n_frame_slots;
	size_t n_states, state_cap, n_state_slots;
	size_t n_pool, pool_cap;
	size_t bytes; /* of steps and masks */
} hth_frame_set;

enum { VISITS_MAX = 4 * SET_MAX, VISIT_SLOTS = 4 * VISITS_MAX };

struct hth_grammar {
	hth_grammar_vocab *vocab;
	char *text; /* rule names point into it */
	hth_network net;
	hth_frame_set set;
	hth_grammar_matcher *matchers; /* all that stand somewhere in set */
	/* A closure under construction. */
	struct hth_visit {
		uint32_t node, count, parent;
		uint32_t calls; /* made since the last byte */
		bool looped;    /* the counting node was passed since then */
	} * visits;
	size_t n_visits, visit_cap, done;                  /* those before done have been followed */
	uint32_t *visit_slots, *visit_stamps, visit_stamp; /* places to visits, where the stamp is today's */
	uint32_t *found;                                   /* frames before a byte */
	size_t n_found, found_cap;
	bool found_end, failed;
	uint64_t work; /* places visited since the last settling */
	uint32_t start;   /* state at the sentence's beginning */
	bool use_special; /* control tokens may spell literals */
	char *trigger;    /* for which trigger_mask was made; NULL: none yet */
	size_t trigger_len;
	uint32_t *trigger_mask; /* tokens that may come while none of the trigger has */
};

struct hth_grammar_matcher {
	hth_grammar *grammar;
	hth_grammar_matcher *next, *prev;
	uint32_t state;
	bool drop_space; /* before the first token */
	struct hth_grammar_wait *wait; /* NULL: it does not wait */
	uint32_t *own;                 /* a mask of this matcher's alone; NULL until it needs one */
};

/* Looking for the text after which the sentence begins (Knuth, Morris, Pratt 1977). */
struct hth_grammar_wait {
	char text[HTH_GRAMMAR_TRIGGER_MAX];
	uint8_t border[HTH_GRAMMAR_TRIGGER_MAX]; /* of the first i + 1 bytes: the longest end that is also a beginning */
	uint16_t len, matched;
	bool over;    /* it appeared */
	bool may_end; /* before that */
};

/* The state after a byte; DEAD when there is none (or no memory). May forget what is remembered only between calls of
 * hth_states_settle. */
uint32_t hth_states_step(hth_grammar *grammar, uint32_t state, uint8_t byte);
/* The same by literals alone: what a control token may spell. */
uint32_t hth_states_step_literal(hth_grammar *grammar, uint32_t state, uint8_t byte);
/* Forgets everything but where matchers stand, if the budget is passed. State numbers change: read them from the
 * matchers again. */
void hth_states_settle(hth_grammar *grammar);

/* mask.c */
const uint32_t *hth_states_mask(hth_grammar *grammar, uint32_t state);
/* The tokens that lead from the state nearer to the sentence's end with every byte. False: there is none. */
bool hth_states_mask_nearer(hth_grammar *grammar, uint32_t state, uint32_t *mask);
/* Of these the one that leads farthest, and the state it leads to; -1: there is none. */
int32_t hth_states_farthest(hth_grammar *grammar, uint32_t state, uint32_t *ret_state);
/* A mask in which a space at a token's beginning counts for nothing. False: nothing may come, or no memory. */
bool hth_states_mask_without_space(hth_grammar *grammar, uint32_t state, uint32_t *mask);

#endif
