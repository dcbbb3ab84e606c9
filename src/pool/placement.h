/* placement.h - where a request is done soonest, and who is next in a queue: two decisions, as pure functions.
 *
 * Time to finish = round trip + queue + prompt / prefill speed + answer / decode speed, from what the neighbour said last, corrected by
 * what was measured with it. Guesses err, so a neighbour must be better than home by HTH_PLACE_MARGIN and HTH_PLACE_GAIN_S to be asked:
 * having neighbours never makes an answer slower, but for the part of that margin by which a guess was wrong.
 */
#ifndef HTH_POOL_PLACEMENT_H
#define HTH_POOL_PLACEMENT_H

#include "pool/capability.h"
#include "pool/standing.h"

#define HTH_PLACE_MARGIN 0.75 /* of the time at home */
#define HTH_PLACE_GAIN_S 0.3
enum { HTH_PLACE_HOME = -1, HTH_PLACE_NOWHERE = -2 };

typedef struct hth_place_ask {
	unsigned char model[HTH_HASH_BYTES];
	uint32_t prompt_tokens, answer_tokens; /* answer: expected, not the limit */
	hth_audience audience;
} hth_place_ask;

typedef struct hth_place_home {
	bool has_model;
	double wait_s, prefill_tok_s, decode_tok_s; /* wait: until a slot is free for one's own request */
} hth_place_home;

typedef struct hth_place_peer {
	const hth_capability *record; /* NULL: nothing heard */
	const hth_standing *standing;
	double rtt_s;
	bool fresh, trusted; /* fresh: its record is young enough to go by */
} hth_place_peer;

double hth_place_home_s(const hth_place_ask *ask, const hth_place_home *home);
/* Infinity: it cannot, may not, or should not. */
double hth_place_peer_s(const hth_place_ask *ask, const hth_place_peer *peer, uint64_t now_ms);
/* The index of a peer, or HTH_PLACE_*; *ret_s: the predicted seconds (0 for NOWHERE). Among equals the first; the caller rotates. */
int hth_place_choose(const hth_place_ask *ask, const hth_place_home *home, const hth_place_peer *peers, size_t n, uint64_t now_ms,
                     double *ret_s);
const hth_pool_model *hth_capability_model(const hth_capability *record, const unsigned char hash[HTH_HASH_BYTES]); /* NULL: it has not */

/* Who is next: one's own in order of coming; then neighbours, by standing (-1 to 1) plus one for every HTH_QUEUE_PATIENCE_MS waited, so
 * that credit goes first and nobody waits for ever behind it. -1: nobody waits. */
enum { HTH_QUEUE_PATIENCE_MS = 5000 };
typedef struct hth_waiting {
	bool own;
	double standing;
	uint64_t since_ms;
} hth_waiting;
int hth_queue_next(const hth_waiting *waiting, size_t n, uint64_t now_ms);

#endif
