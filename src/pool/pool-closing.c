/* pool-closing.c - the end of an attempt, as far as accounts go: its home is told to stop, what arrived of it is counted, and its receipts
 * are judged until the last one is signed. Nothing that was made and arrived is lost to whoever made it, also where its answer was not
 * waited for.
 */
#include "base/mem.h"
#include "pool/pool-internal.h"

void pool_close_ask(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	hth_permit_destroy(a->permit);
	a->permit = NULL;
	a->state = ASK_CLOSING;
	a->heard_ms = now_ms;
	pool_wake_for(pool, a);
}

void pool_part(hth_pool *pool, pool_ask *a, bool counts, uint64_t now_ms)
{
	if (a->state == ASK_NOWHERE) {
		pool_drop_ask(pool, a);
		return;
	}
	pool_send_job(pool, &a->peer, HTH_POOL_CANCEL, &a->job, counts ? (uint32_t)a->n : HTH_POOL_NOT_COUNTED, 0);
	if (!counts) {
		pool_drop_ask(pool, a);
		return;
	}
	if (a->n == a->base)
		a->prompt_tokens = a->asked_prompt_tokens;
	pool_close_ask(pool, a, now_ms);
}

void pool_part_and_go_on(hth_pool *pool, const pool_ask *a, uint64_t now_ms)
{
	bool counts = a->n > a->base && pool->n_asks < HTH_POOL_ASKS_MAX;
	pool_ask *copy = counts ? pool_new_ask(pool, a) : NULL;
	if (copy != NULL)
		pool_part(pool, copy, true, now_ms);
	else
		pool_send_job(pool, &a->peer, HTH_POOL_CANCEL, &a->job, HTH_POOL_NOT_COUNTED, 0);
}

/* ---- receipts: this home is the taker ---- */

void pool_ask_receipt(hth_pool *pool, pool_peer *peer, const hth_entry *proposal, uint64_t now_ms)
{
	const hth_receipt *r = &proposal->receipt;
	pool_ask *a = pool_find_ask(pool, &peer->id, &r->job);
	hth_counted counted = {.now_ms = now_ms};
	if (a != NULL) {
		uint32_t have = (uint32_t)(a->n - a->base);
		if (r->answer_tokens > have)
			return; /* its tokens are still on their way; it will be sent again */
		counted = (hth_counted){.known = r->answer_tokens >= a->receipt_tokens,
		                        .prompt_tokens = a->prompt_tokens + (uint32_t)a->base,
		                        .answer_tokens = r->answer_tokens, .charged = a->charged, .now_ms = now_ms};
		memcpy(counted.tokens, a->hash, HTH_HASH_BYTES);
		if (counted.known)
			hth_token_hash(counted.tokens, pool_ids_at(a->ids, a->base + a->receipt_tokens),
			               r->answer_tokens - a->receipt_tokens);
	}
	hth_pool_message m = {.kind = HTH_POOL_VERDICT};
	if (hth_ledger_consider(pool->ledger, &peer->id, proposal, &counted, &m.entry, NULL) != HTH_OK)
		return;
	if (a != NULL && m.entry.verdict == HTH_RECEIPT_ACCEPTED && a->charged + r->charge == hth_charge_of(r->prompt_tokens,
	    r->answer_tokens)) {
		a->charged += r->charge;
		a->receipt_tokens = r->answer_tokens;
		memcpy(a->hash, counted.tokens, HTH_HASH_BYTES);
	}
	pool_send(pool, &peer->id, &m);
	if (a != NULL && a->state == ASK_CLOSING && r->final)
		pool_drop_ask(pool, a);
}
