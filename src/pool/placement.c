/* placement.c - see placement.h. Pure. */
#include "pool/placement.h"

#include "base/mem.h"

#include <math.h>

const hth_pool_model *hth_capability_model(const hth_capability *record, const unsigned char hash[HTH_HASH_BYTES])
{
	for (size_t i = 0; record != NULL && i < record->n_models; i++)
		if (memcmp(record->models[i].hash, hash, HTH_HASH_BYTES) == 0)
			return &record->models[i];
	return NULL;
}

double hth_place_home_s(const hth_place_ask *ask, const hth_place_home *home)
{
	if (!home->has_model)
		return INFINITY;
	return home->wait_s + ask->prompt_tokens / home->prefill_tok_s + ask->answer_tokens / home->decode_tok_s;
}

double hth_place_peer_s(const hth_place_ask *ask, const hth_place_peer *peer, uint64_t now_ms)
{
	const hth_pool_model *model = hth_capability_model(peer->record, ask->model);
	if (model == NULL || !peer->fresh || !peer->record->lends || !hth_standing_usable(peer->standing, now_ms) ||
	    (ask->audience == HTH_AUDIENCE_NEIGHBOURS && (!peer->trusted || !peer->record->accepts_neighbours)) ||
	    (ask->audience == HTH_AUDIENCE_PUBLIC && !peer->record->accepts_public))
		return INFINITY;
	double factor = peer->standing->speed > 0 ? peer->standing->speed : 0.7; /* nobody is quite what it says until it was seen */
	double queue = peer->record->free_slots > 0
	    ? 0 : peer->record->queued_tokens / (double)model->decode_tok_s / HTH_MAX(peer->record->slots, 1);
	return 2 * peer->rtt_s + (queue + ask->prompt_tokens / (double)model->prefill_tok_s +
	                          ask->answer_tokens / (double)model->decode_tok_s) / factor;
}

int hth_place_choose(const hth_place_ask *ask, const hth_place_home *home, const hth_place_peer *peers, size_t n, uint64_t now_ms,
                     double *ret_s)
{
	double here = hth_place_home_s(ask, home), best = INFINITY;
	int choice = home->has_model ? HTH_PLACE_HOME : HTH_PLACE_NOWHERE;
	for (size_t i = 0; i < n; i++) {
		double there = hth_place_peer_s(ask, &peers[i], now_ms);
		if (there < best && (!home->has_model || (there < here * HTH_PLACE_MARGIN && there + HTH_PLACE_GAIN_S < here))) {
			best = there;
			choice = (int)i;
		}
	}
	*ret_s = choice >= 0 ? best : choice == HTH_PLACE_HOME ? here : 0;
	return choice;
}

int hth_queue_next(const hth_waiting *waiting, size_t n, uint64_t now_ms)
{
	int next = -1;
	double best = 0;
	for (size_t i = 0; i < n; i++) {
		const hth_waiting *w = &waiting[i];
		double waited = now_ms > w->since_ms ? (double)(now_ms - w->since_ms) : 0;
		double score = w->own ? 1e12 + waited : w->standing + waited / HTH_QUEUE_PATIENCE_MS;
		if (next < 0 || score > best) {
			next = (int)i;
			best = score;
		}
	}
	return next;
}
