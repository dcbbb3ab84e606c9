/* pool-hedge.c - an answer that is late is begun a second time, elsewhere or at home; whoever delivers first goes on with it.
 *
 * Late is a first token that has not come by the time that was predicted, plus what this neighbour's first tokens are usually late (mean
 * and three mean deviations, smoothed as TCP smooths its round trips, RFC 6298: about one in twenty comes later still), or an answer that
 * stands still for half of the time after which its home is left. So a false alarm costs a second beginning and never a word, and a true
 * one a second less.
 *
 * The extra work is bounded: once at the start, and then once in HTH_POOL_HEDGE_ONE_IN asks (5 %). What is parted with is paid for: what
 * arrived of it, and its prompt. A home that owes a neighbour more than half of its credit line asks nobody twice.
 *
 * While there are two attempts both have the same tokens, because the first new ones end it: the other is parted with before they are
 * taken.
 */
#include "base/mem.h"
#include "pool/pool-internal.h"

#include <math.h>

enum { LATE_MIN_MS = 250, LATE_FIRST_MS = 1000, LATE_MAX_MS = 10000, ACCEPT_MS = 1000 };

pool_ask *pool_partner(const hth_pool *pool, const pool_ask *a)
{
	for (size_t i = 0; i < pool->n_asks; i++)
		if (pool->asks[i] != a && pool->asks[i]->number == a->number && pool->asks[i]->state != ASK_CLOSING &&
		    a->state != ASK_CLOSING)
			return pool->asks[i];
	return NULL;
}

/* ---- what is late ---- */

/* When the first token should come, and by when it is late; queued_tokens: ahead of it. */
void pool_expect(hth_pool *pool, pool_ask *a, const pool_peer *peer, uint32_t queued_tokens, uint64_t now_ms)
{
	const hth_pool_model *model = hth_capability_model(&peer->record, a->model);
	double factor = peer->standing.speed > 0 ? peer->standing.speed : 0.7;
	(void)pool;
	/* What is there already may have to be gone through token by token, so that the rest is what it would have been. */
	double said = model != NULL ? 1000 * (a->prompt_tokens / (double)model->prefill_tok_s +
	                                      ((double)a->n + queued_tokens) / model->decode_tok_s) : 0;
	double usual = peer->late_spread_ms > 0 ? peer->late_ms + 3 * peer->late_spread_ms : LATE_FIRST_MS + said / factor / 2;
	a->token_ms = model != NULL ? 1000 / (model->decode_tok_s * factor) : 100;
	a->measured = false;
	a->first_ms = now_ms + (uint64_t)fmin(said / factor, 600000);
	a->late_ms = a->first_ms + (uint64_t)fmin(fmax(usual, LATE_MIN_MS), LATE_MAX_MS);
	if (a->state == ASK_WAITING) /* it does not even say yes */
		a->late_ms = HTH_MIN(a->late_ms, now_ms + ACCEPT_MS + (uint64_t)(2000 * peer->rtt_s));
	/* It is left when it takes several times what it said. */
	a->due_ms = now_ms + (HTH_POOL_SILENCE_MS + (uint64_t)fmin(said * 4, 120000)) * HTH_MAX(a->attempts, 1u);
}

void pool_first_came(pool_peer *peer, const pool_ask *a, uint64_t now_ms)
{
	double late = (double)now_ms - (double)a->first_ms;
	if (peer->late_spread_ms == 0) {
		peer->late_ms = late;
		peer->late_spread_ms = HTH_MAX(fabs(late) / 2, (double)LATE_MIN_MS);
		return;
	}
	peer->late_spread_ms = fmax(0.75 * peer->late_spread_ms + 0.25 * fabs(late - peer->late_ms), 1);
	peer->late_ms = 0.875 * peer->late_ms + 0.125 * late;
}

/* ---- the second ---- */

static bool short_of_credit(const hth_pool *pool, const hth_home_id *peer, uint64_t now_ms)
{
	return hth_ledger_balance(pool->ledger, peer, now_ms) < -(int64_t)(pool->rules.credit_line / 2);
}

static bool ask_second(hth_pool *pool, const pool_ask *a, pool_peer *peer, uint64_t now_ms)
{
	if (peer->record.free_slots == 0 || short_of_credit(pool, &peer->id, now_ms) || pool->n_asks >= HTH_POOL_ASKS_MAX)
		return false;
	pool_ask *second = pool_new_ask(pool, a);
	if (second == NULL)
		return false;
	second->hedge = second->hedged = true;
	second->at_home_too = false;
	second->attempts--; /* it is one attempt, at two homes */
	if (pool_send_ask(pool, second, peer, now_ms))
		return true;
	pool_drop_ask(pool, second);
	return false;
}

void pool_hedge(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	a->hedged = true; /* one chance for each attempt */
	if (a->hedge || a->at_home_too || pool->no_link || pool->hedge_budget < 1 || pool_partner(pool, a) != NULL ||
	    short_of_credit(pool, &a->peer, now_ms))
		return;
	int choice = pool_place(pool, a, &a->peer, now_ms);
	if (choice >= 0) {
		if (!ask_second(pool, a, &pool->peers[choice], now_ms))
			return;
	} else {
		if (choice != HTH_PLACE_HOME || pool->own_wait_s > 0 || pool->ops.also_home == NULL ||
		    !pool->ops.also_home(pool->ops.ctx, a->number, a->n, true))
			return;
		a->at_home_too = true;
	}
	pool->hedge_budget -= 1;
	pool->counts.hedged++;
}

bool pool_promote(hth_pool *pool, pool_ask *a)
{
	pool_ask *second = a->hedge ? NULL : pool_partner(pool, a);
	if (second == NULL)
		return false;
	second->hedge = false;
	second->permit = a->permit;
	second->at_home_too = a->at_home_too;
	a->permit = NULL;
	pool->counts.hedges_won++;
	if (pool->ops.now_by != NULL)
		pool->ops.now_by(pool->ops.ctx, a->number, &second->peer);
	return true;
}

void pool_first_delivers(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	pool_ask *other = pool_partner(pool, a);
	if (a->hedge && other != NULL)
		pool_promote(pool, other);
	if (other != NULL)
		pool_part(pool, other, other->state == ASK_STREAMING, now_ms);
	if (a->at_home_too) {
		a->at_home_too = false;
		pool->ops.also_home(pool->ops.ctx, a->number, a->n, false);
	}
}

bool hth_pool_home_delivers(hth_pool *pool, uint64_t ask, uint64_t now_ms)
{
	for (size_t i = 0; i < pool->n_asks; i++) {
		pool_ask *a = pool->asks[i];
		if (a->number != ask || a->state == ASK_CLOSING || !a->at_home_too)
			continue;
		pool->counts.hedges_won++;
		pool->counts.came_home++;
		a->at_home_too = false;
		pool_part(pool, a, a->state == ASK_STREAMING, now_ms);
		return true;
	}
	return false;
}
