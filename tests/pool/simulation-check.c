/* simulation-check.c - what must hold when the dust has settled: of requests, chains of receipts, credit, charters and models. */
#include "simulation-internal.h"

void sim_check_end(sim *s)
{
	hth_error err;
	size_t n = 0;
	double sum = 0, worst = 0;
	for (size_t i = 0; i < s->n_requests; i++) {
		const sim_request *r = &s->requests[i];
		if (r->ends != 1)
			sim_problem("request %zu of home %u (class %u, state %u) never ended: %u of %u tokens", i, r->home, r->privacy,
			            r->state, r->have, r->tokens);
		if (r->state != R_DONE)
			continue;
		if (r->tainted && !s->o.faults)
			sim_problem("request %zu has wrong tokens and nobody lies", i);
		sum += s->waits[i];
		worst = HTH_MAX(worst, (double)s->waits[i]);
		s->waits[n++] = s->waits[i];
	}
	s->result->wait_mean_s = n > 0 ? sum / (double)n : 0;
	s->result->wait_worst_s = worst;
	s->n_requests = n;
	if (s->o.alone)
		return;
	sim_members_check(s);
	sim_models_check(s);
	for (size_t i = 0; i < s->o.homes; i++) {
		sim_home *h = &s->homes[i];
		size_t street_end = HTH_MIN((size_t)(h->street + 1) * s->o.street, s->o.homes);
		s->result->receipts += h->disk.n;
		/* What is on disk is what is remembered: replayed from nothing, it verifies and gives the same balances. */
		hth_ledger *again = NULL;
		if (hth_ledger_create(&again, &h->id, sim_signer_of(h), (hth_ledger_disk){sim_disk_put, h}, &err) != HTH_OK)
			abort();
		for (size_t j = 0; j < h->disk.n; j++)
			if (hth_ledger_replay(again, &h->disk.entries[j], &err) != HTH_OK)
				sim_problem("home %u: %s", h->index, err.message);
		for (size_t j = (size_t)h->street * s->o.street; j < street_end; j++) {
			sim_home *other = &s->homes[j];
			uint64_t mine[2], theirs[2];
			unsigned char my_hash[2][HTH_HASH_BYTES], their_hash[2][HTH_HASH_BYTES];
			if (other == h)
				continue;
			hth_ledger_ends(h->ledger, &other->id, mine, my_hash);
			hth_ledger_ends(other->ledger, &h->id, theirs, their_hash);
			if (mine[0] != theirs[1] || memcmp(my_hash[0], their_hash[1], HTH_HASH_BYTES) != 0)
				sim_problem("homes %u and %u do not agree on their chain: %llu and %llu receipts", h->index, other->index,
				            (unsigned long long)mine[0],
				        (unsigned long long)theirs[1]);
			if (hth_ledger_balance(h->ledger, &other->id, s->now) != -hth_ledger_balance(other->ledger, &h->id, s->now))
				sim_problem("credit between homes %u and %u is not conserved", h->index, other->index);
			if (hth_ledger_balance(again, &other->id, s->now) != hth_ledger_balance(h->ledger, &other->id, s->now))
				sim_problem("home %u's disk and memory differ about home %u", h->index, other->index);
		}
		hth_ledger_destroy(again);
		const hth_pool_counts *counts = hth_pool_get_counts(h->pool);
		s->result->failed_over += counts->failed_over;
		s->result->preempted += counts->preempted;
		s->result->hedged += counts->hedged;
		s->result->hedges_won += counts->hedges_won;
		/* What is begun twice is bounded: one in twenty, one at the start, and the one that a restart forgets of. */
		if (counts->hedged > 2 + counts->asked / HTH_POOL_HEDGE_ONE_IN)
			sim_problem("home %u asked for %llu answers and began %llu of them twice", h->index,
			            (unsigned long long)counts->asked, (unsigned long long)counts->hedged);
		if (hth_pool_asks(h->pool) > 0 || hth_pool_works(h->pool) > 0)
			sim_problem("home %u still asks or serves", h->index);
	}
	if (s->result->worst_falsified > 146)
		sim_problem("a liar got away with %llu answers", (unsigned long long)s->result->worst_falsified);
}
