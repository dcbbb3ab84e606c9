/* standing.h - what experience says of a neighbour: how fast it really was, how often it broke off, whether its answers were what they
 * claim to be.
 *
 * Spot checks: after an answer from next door, with probability hth_standing_check_share, one prefill of prompt and answer here says
 * whether the claimed model, prompt and seed give these tokens. A newcomer's first answer is checked, then ever more rarely, never below
 * HTH_CHECK_SHARE_MIN; as long as there is a doubt, every answer. So the first falsified answer that is checked leads to checks of all that
 * follow; after many clean answers the expected number of falsified ones until then is at most 1 / HTH_CHECK_SHARE_MIN = 32, and 146 with
 * probability 0.99. Being caught ends its standing for good: only the asking home's owner's word brings it back.
 *
 * What a check finds is how many tokens this home would not have chosen (misses). An honest home with other kernels or another machine has
 * a few, where two tokens are all but equally likely (docs/neighbourhood.md has the measured shares); one that serves another model, prompt
 * or made-up tokens has many. The sum of the log likelihood ratios of the two, never below zero (Page's CUSUM, Biometrika 41, 1954), is the
 * doubt; over HTH_DOUBT_MAX it is caught.
 */
#ifndef HTH_POOL_STANDING_H
#define HTH_POOL_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#define HTH_CHECK_SHARE_MIN (1.0 / 32)
#define HTH_MISS_HONEST 0.006 /* share of misses that an honest home is given */
#define HTH_MISS_LIAR 0.03   /* that the least of liars is expected to have */
#define HTH_DOUBT_MAX 16.0   /* e^-16: the chance that honest misses, in one long row of luck, look like that */
/* A token that is so near to being chosen here is no miss (hth_token_evidence.miss). */
#define HTH_MISS_TOLERANCE 0.05f

typedef struct hth_standing {
	uint32_t clean;          /* answers in a row that ended well */
	uint32_t checked, broken; /* spot checks passed; times it broke off since it last ended one well */
	uint64_t avoid_until_ms;
	double speed;            /* measured over claimed, smoothed; 0: not measured yet */
	double doubt;            /* what checks so far speak against it */
	bool caught;
} hth_standing;

double hth_standing_check_share(const hth_standing *standing);
/* unit: uniform in [0, 1). */
bool hth_standing_wants_check(const hth_standing *standing, double unit);
/* A check that found so many misses among so many tokens. */
void hth_standing_weighed(hth_standing *standing, uint32_t tokens, uint32_t misses);
/* It now claims to be so many times as fast as it did. */
void hth_standing_claims(hth_standing *standing, double times);
void hth_standing_ended_well(hth_standing *standing, double measured_over_claimed);
/* It fell silent, was cut off or far too slow: avoided for 2 s, 4 s, ... up to ten minutes. */
void hth_standing_broke_off(hth_standing *standing, uint64_t now_ms);
bool hth_standing_usable(const hth_standing *standing, uint64_t now_ms);

#endif
