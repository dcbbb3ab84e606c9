/* standing.c - see standing.h. Pure. */
#include "pool/standing.h"

#include <math.h>

double hth_standing_check_share(const hth_standing *s)
{
	if (s->doubt > 0)
		return 1;
	/* an answer counts as clean before it is decided whether it is checked */
	double share = 1.0 / (1.0 + (s->clean > 0 ? s->clean - 1 : 0) / 4.0);
	return share < HTH_CHECK_SHARE_MIN ? HTH_CHECK_SHARE_MIN : share;
}

bool hth_standing_wants_check(const hth_standing *s, double unit) { return unit < hth_standing_check_share(s); }

void hth_standing_weighed(hth_standing *s, uint32_t tokens, uint32_t misses)
{
	double hits = tokens > misses ? tokens - misses : 0;
	s->doubt += misses * log(HTH_MISS_LIAR / HTH_MISS_HONEST) + hits * log((1 - HTH_MISS_LIAR) / (1 - HTH_MISS_HONEST));
	if (s->doubt < 0)
		s->doubt = 0;
	if (s->doubt <= HTH_DOUBT_MAX)
		s->checked++;
	else
		s->caught = true;
}

static double factor(double x) { return !(x > 0.01) ? 0.01 : x > 2 ? 2 : x; }

void hth_standing_claims(hth_standing *s, double times) { s->speed = factor(s->speed / times); }

void hth_standing_ended_well(hth_standing *s, double measured_over_claimed)
{
	double x = factor(measured_over_claimed);
	s->speed = s->speed == 0 ? x : 0.8 * s->speed + 0.2 * x;
	s->clean += s->clean < UINT32_MAX;
	s->broken = 0;
}

void hth_standing_broke_off(hth_standing *s, uint64_t now_ms)
{
	s->broken += s->broken < 9;
	uint64_t wait = 1000ull << s->broken;
	s->avoid_until_ms = now_ms + (wait > 600000 ? 600000 : wait);
	s->clean /= 2;
}

bool hth_standing_usable(const hth_standing *s, uint64_t now_ms) { return !s->caught && now_ms >= s->avoid_until_ms; }
