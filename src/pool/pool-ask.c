/* pool-ask.c - the asking side: one request, perhaps several neighbours, one answer without gap or repeat; see pool.h. */
#include "base/mem.h"
#include "pool/pool-internal.h"

#include <math.h>

enum { CLOSING_MS = 10000, RETRY_MS = 2000, WANT_AGAIN_MS = 200, MEASURED_MAX = 8, HEDGES_SAVED = 2, LINK_BACK_MS = 30000,
       QUIET_MS = 3 * HTH_POOL_BEAT_MS };

void pool_wake_for(hth_pool *pool, const pool_ask *a)
{
	if ((a->state == ASK_WAITING || a->state == ASK_STREAMING) && !a->hedged)
		pool_wake(pool, a->late_ms);
	switch (a->state) {
	case ASK_WAITING: pool_wake(pool, a->sent_ms + HTH_POOL_SILENCE_MS); break;
	case ASK_STREAMING: pool_wake(pool, HTH_MIN(a->heard_ms + HTH_POOL_SILENCE_MS, a->due_ms)); break;
	case ASK_NOWHERE: pool_wake(pool, a->sent_ms + RETRY_MS); break;
	case ASK_CLOSING: pool_wake(pool, a->heard_ms + CLOSING_MS); break;
	}
}

void pool_drop_ask(hth_pool *pool, pool_ask *a)
{
	size_t i = 0;
	while (pool->asks[i] != a)
		i++;
	pool->asks[i] = pool->asks[--pool->n_asks];
	hth_permit_destroy(a->permit);
	if (a->ids != NULL)
		explicit_bzero(a->ids, a->cap * sizeof *a->ids);
	free(a->ids);
	free(a);
}

/* Another with the same values and tokens, but no permit; NULL: no memory. */
pool_ask *pool_new_ask(hth_pool *pool, const pool_ask *from)
{
	pool_ask *a = malloc(sizeof *a);
	if (pool->n_asks == pool->cap_asks) {
		size_t cap = pool->cap_asks ? pool->cap_asks * 2 : 4;
		pool_ask **more = realloc(pool->asks, cap * sizeof *more);
		if (more != NULL) {
			pool->asks = more;
			pool->cap_asks = cap;
		}
	}
	if (a == NULL || pool->n_asks == pool->cap_asks) {
		free(a);
		return NULL;
	}
	*a = *from;
	a->permit = NULL;
	a->ids = NULL;
	a->n = a->cap = 0;
	if (!pool_append_ids(&a->ids, &a->n, &a->cap, from->ids, from->n)) {
		free(a);
		return NULL;
	}
	pool->asks[pool->n_asks++] = a;
	return a;
}

void pool_asks_finish(hth_pool *pool)
{
	while (pool->n_asks > 0)
		pool_drop_ask(pool, pool->asks[0]);
	free(pool->asks);
}

pool_ask *pool_find_ask(const hth_pool *pool, const hth_home_id *peer, const hth_job_id *job)
{
	for (size_t i = 0; i < pool->n_asks; i++)
		if (memcmp(pool->asks[i]->job.bytes, job->bytes, HTH_JOB_BYTES) == 0 && hth_home_id_equal(&pool->asks[i]->peer, peer))
			return pool->asks[i];
	return NULL;
}

/* ---- placing ---- */

static hth_place_home place_home(const hth_pool *pool, const unsigned char *model_hash)
{
	const hth_pool_model *model = hth_capability_model(&pool->home, model_hash);
	return (hth_place_home){.has_model = model != NULL, .wait_s = pool->own_wait_s, .prefill_tok_s = model ? model->prefill_tok_s : 1,
	                        .decode_tok_s = model ? model->decode_tok_s : 1};
}

/* The index of a peer, or HTH_PLACE_*. Begins at a random one, so that equals share the work. */
static int place(hth_pool *pool, const hth_place_ask *ask, const hth_home_id *but, uint64_t now_ms)
{
	hth_place_peer peers[HTH_POOL_PEERS_MAX];
	size_t n = pool->n_peers, first = n > 0 ? hth_rng_next(pool->rng) % n : 0;
	for (size_t i = 0; i < n; i++) {
		const pool_peer *p = &pool->peers[(first + i) % n];
		peers[i] = (hth_place_peer){.record = p->heard ? &p->record : NULL, .standing = &p->standing, .rtt_s = p->rtt_s,
		                            .fresh = p->heard && !pool->no_link && now_ms < p->heard_ms + HTH_POOL_FRESH_MS,
		                            .trusted = p->trusted};
		if (but != NULL && hth_home_id_equal(&p->id, but))
			peers[i].record = NULL;
	}
	hth_place_home home = place_home(pool, ask->model);
	double seconds;
	int choice = hth_place_choose(ask, &home, peers, n, now_ms, &seconds);
	if (choice < 0)
		return choice;
	size_t at = first + (size_t)choice;
	return (int)(at < n ? at : at - n);
}

/* The permit of a second is the first one's. */
static const hth_neighbour_permit *permit_of(const hth_pool *pool, const pool_ask *a)
{
	const pool_ask *first = a->permit == NULL ? pool_partner(pool, a) : a;
	return first != NULL ? first->permit : NULL;
}

static hth_place_ask what_is_left(const hth_pool *pool, const pool_ask *a)
{
	hth_place_ask ask = {.prompt_tokens = a->prompt_tokens + (uint32_t)a->n, .audience = hth_permit_audience(permit_of(pool, a)),
	                     .answer_tokens = a->expected_tokens > a->n + 16 ? a->expected_tokens - (uint32_t)a->n : 16};
	memcpy(ask.model, a->model, HTH_HASH_BYTES);
	return ask;
}

int pool_place(hth_pool *pool, const pool_ask *a, const hth_home_id *but, uint64_t now_ms)
{
	hth_place_ask left = what_is_left(pool, a);
	return place(pool, &left, but, now_ms);
}

bool pool_send_ask(hth_pool *pool, pool_ask *a, pool_peer *peer, uint64_t now_ms)
{
	size_t words_len;
	const hth_neighbour_permit *permit = permit_of(pool, a);
	const void *words = hth_permit_words(permit, &words_len);
	if (pool->ops.leaves != NULL && !pool->ops.leaves(pool->ops.ctx, a->number, &peer->id, words_len, a->left, a->hedge))
		return false;
	for (size_t i = 0; i < HTH_JOB_BYTES; i += 8) {
		uint64_t r = hth_rng_next(pool->rng);
		memcpy(a->job.bytes + i, &r, 8);
	}
	a->peer = peer->id;
	a->state = ASK_WAITING;
	a->base = a->n;
	a->sent_ms = a->heard_ms = a->progress_ms = now_ms;
	a->charged = a->receipt_tokens = 0;
	a->has_prompt = false;
	a->hedged = a->hedge;
	a->asked_prompt_tokens = a->prompt_tokens;
	memset(a->hash, 0, sizeof a->hash);
	a->attempts++;
	pool->counts.asked++;
	pool->hedge_budget += a->hedge ? 0 : 1.0 / HTH_POOL_HEDGE_ONE_IN;
	if (pool->hedge_budget > HEDGES_SAVED)
		pool->hedge_budget = HEDGES_SAVED;
	pool_expect(pool, a, peer, peer->record.free_slots > 0 ? 0 : peer->record.queued_tokens / HTH_MAX(peer->record.slots, 1), now_ms);
	hth_pool_message m = {.kind = HTH_POOL_ASK, .job = a->job, .audience = hth_permit_audience(permit),
	                      .prompt_tokens = a->prompt_tokens,
	                      .max_tokens = a->max_tokens, .seed = a->seed, .sampler = a->sampler, .ids = a->ids, .n_ids = a->n,
	                      .text_from = a->n_text, .words = words,
	                      .words_len = words_len};
	memcpy(m.model, a->model, HTH_HASH_BYTES);
	/* Until it says more: the place that this takes is taken, so that a burst spreads. */
	if (peer->record.free_slots > 0)
		peer->record.free_slots--;
	else
		peer->record.queued_tokens += a->expected_tokens;
	pool_send(pool, &peer->id, &m);
	pool_wake_for(pool, a);
	return true;
}

/* The next place for what is left of an ask. It may be over, and gone, afterwards. */
static void go_on(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	bool tired = a->attempts >= HTH_POOL_ATTEMPTS_MAX && hth_capability_model(&pool->home, a->model) != NULL;
	int choice = tired || a->at_home_too ? HTH_PLACE_HOME : pool_place(pool, a, NULL, now_ms);
	if (choice >= 0 && pool_send_ask(pool, a, &pool->peers[choice], now_ms))
		return;
	if (choice >= 0)
		choice = hth_capability_model(&pool->home, a->model) != NULL ? HTH_PLACE_HOME : HTH_PLACE_NOWHERE;
	uint64_t number = a->number;
	size_t n = a->n;
	const char *why = a->left != NULL ? a->left : "no neighbour was found";
	if (choice == HTH_PLACE_HOME) {
		pool_drop_ask(pool, a);
		pool->counts.came_home++;
		pool->ops.go_home(pool->ops.ctx, number, n, why);
		return;
	}
	if (now_ms >= a->begun_ms + HTH_POOL_NOWHERE_MS) {
		pool_drop_ask(pool, a);
		pool->ops.failed(pool->ops.ctx, number);
		return;
	}
	a->state = ASK_NOWHERE;
	a->sent_ms = now_ms;
	memset(a->job.bytes, 0, HTH_JOB_BYTES); /* whoever had it is not listened to any more */
	pool_wake_for(pool, a);
}

/* Its home is out of it, for whatever reason: the second goes on, or another place is found. a may be gone afterwards. */
static void without_home(hth_pool *pool, pool_ask *a, const char *why, uint64_t now_ms)
{
	a->left = why;
	if (a->hedge || pool_promote(pool, a))
		pool_drop_ask(pool, a);
	else
		go_on(pool, a, now_ms);
}

static void leave(hth_pool *pool, pool_ask *a, const char *why, uint64_t now_ms)
{
	pool_peer *peer = pool_find_peer(pool, &a->peer);
	/* Whose fault it is that nothing comes is not known when there was no hub just now. */
	if (peer != NULL && !pool->no_link && (pool->link_ms == 0 || now_ms >= pool->link_ms + HTH_POOL_SILENCE_MS))
		hth_standing_broke_off(&peer->standing, now_ms);
	if (peer != NULL)
		pool_part_and_go_on(pool, a, now_ms);
	pool->counts.failed_over += !a->hedge;
	without_home(pool, a, why, now_ms);
}

bool hth_pool_would_leave(hth_pool *pool, hth_audience audience, const hth_pool_ask_options *options, uint64_t now_ms)
{
	hth_place_ask ask = {.prompt_tokens = options->prompt_tokens, .answer_tokens = options->expected_tokens, .audience = audience};
	memcpy(ask.model, options->model, HTH_HASH_BYTES);
	int choice = place(pool, &ask, NULL, now_ms);
	/* another hub, or the same, is being looked for */
	if (choice == HTH_PLACE_NOWHERE && pool->no_link && now_ms < pool->link_ms + LINK_BACK_MS) {
		pool->no_link = false;
		choice = place(pool, &ask, NULL, now_ms);
		pool->no_link = true;
	}
	return choice >= 0;
}

hth_status hth_pool_ask(hth_pool *pool, hth_neighbour_permit *permit, const hth_pool_ask_options *o, uint64_t now_ms, hth_error *err)
{
	pool_ask a = {.number = o->ask, .permit = permit, .prompt_tokens = o->prompt_tokens,
	              .max_tokens = HTH_MIN(o->max_tokens, (uint32_t)HTH_POOL_PREFIX_MAX),
	              .expected_tokens = o->expected_tokens, .seed = o->seed, .sampler = o->sampler, .begun_ms = now_ms,
	              .most_prompt_tokens = o->most_prompt_tokens > 0 ? o->most_prompt_tokens : UINT32_MAX};
	memcpy(a.model, o->model, HTH_HASH_BYTES);
	hth_status status = HTH_OK;
	int choice = pool_place(pool, &a, NULL, now_ms);
	pool_ask *placed = NULL;
	if (choice == HTH_PLACE_HOME)
		status = hth_fail(err, HTH_CONFLICT, "home is best");
	else if (pool->n_asks >= HTH_POOL_ASKS_MAX || o->max_tokens == 0)
		status = hth_fail(err, HTH_BUSY, "%d requests are with neighbours already", HTH_POOL_ASKS_MAX);
	else if ((placed = pool_new_ask(pool, &a)) == NULL)
		status = hth_fail(err, HTH_NO_MEMORY, "no memory for a neighbour's answer");
	if (status != HTH_OK) {
		hth_permit_destroy(permit);
		return status;
	}
	placed->permit = permit;
	if (choice >= 0) {
		if (!pool_send_ask(pool, placed, &pool->peers[choice], now_ms)) {
			pool_drop_ask(pool, placed);
			return hth_fail(err, HTH_IO, "its words may not leave: that could not be put on record");
		}
	} else {
		placed->state = ASK_NOWHERE;
		placed->sent_ms = now_ms;
		pool_wake_for(pool, placed);
	}
	return HTH_OK;
}

size_t hth_pool_asks(const hth_pool *pool)
{
	size_t n = 0;
	for (size_t i = 0; i < pool->n_asks; i++)
		n += pool->asks[i]->state != ASK_CLOSING && !pool->asks[i]->hedge;
	return n;
}

void hth_pool_cancel(hth_pool *pool, uint64_t ask, uint64_t now_ms)
{
	for (size_t i = pool->n_asks; i-- > 0;) {
		pool_ask *a = pool->asks[i];
		if (a->number == ask && a->state != ASK_CLOSING)
			pool_part(pool, a, a->n > a->base, now_ms);
	}
}

const hth_standing *hth_pool_weighed(hth_pool *pool, const hth_home_id *id, uint32_t tokens, uint32_t misses, uint64_t now_ms)
{
	pool_peer *peer = pool_find_peer(pool, id);
	if (peer == NULL)
		return NULL;
	hth_standing_weighed(&peer->standing, tokens, misses);
	for (size_t i = pool->n_asks; i-- > 0 && peer->standing.caught;) {
		pool_ask *a = i < pool->n_asks ? pool->asks[i] : NULL;
		if (a != NULL && (a->state == ASK_WAITING || a->state == ASK_STREAMING) && hth_home_id_equal(&a->peer, id))
			leave(pool, a, "it is not believed any more", now_ms);
	}
	return &peer->standing;
}

void hth_pool_set_doubt(hth_pool *pool, const hth_home_id *id, double doubt, bool caught)
{
	pool_peer *peer = pool_find_peer(pool, id);
	if (peer == NULL)
		return;
	peer->standing.doubt = doubt;
	peer->standing.caught = caught;
}

bool hth_pool_wants_check(hth_pool *pool, const hth_home_id *id)
{
	const pool_peer *peer = pool_find_peer(pool, id);
	return peer != NULL && hth_standing_wants_check(&peer->standing, hth_rng_unit(pool->rng));
}

/* ---- what comes back ---- */

static void on_accept(hth_pool *pool, pool_peer *peer, pool_ask *a, uint32_t queued_tokens, uint64_t now_ms)
{
	if (a->state != ASK_WAITING)
		return;
	double rtt = (double)(now_ms - a->sent_ms) / 1000;
	peer->rtt_s = 0.8 * peer->rtt_s + 0.2 * rtt;
	a->state = ASK_STREAMING;
	a->accepted_ms = a->progress_ms = now_ms;
	pool_expect(pool, a, peer, queued_tokens, now_ms);
	pool->counts.accepted++;
	pool_wake_for(pool, a);
}

static void finish(hth_pool *pool, pool_peer *peer, pool_ask *a, const hth_pool_message *m, uint64_t now_ms)
{
	const hth_pool_model *model = hth_capability_model(&peer->record, a->model);
	double took = (double)(now_ms - a->accepted_ms) / 1000, made = (double)(a->n - a->base);
	double said = model ? (a->prompt_tokens + (double)a->base) / model->prefill_tok_s + made / model->decode_tok_s : took;
	hth_standing_ended_well(&peer->standing, took > 0 ? said / took : 1);
	bool check = hth_standing_wants_check(&peer->standing, hth_rng_unit(pool->rng));
	pool_close_ask(pool, a, now_ms);
	pool->ops.ended(pool->ops.ctx, a->number, &peer->id, check, m->finish, m->stop);
}

/* Tokens came. It is left POOL_STALL_MS after the next should have come, and each token pays for POOL_SLACK times what one is expected to
 * take: so what stands still is left in under two seconds, and what trickles at a hundredth of its speed is, too; what is a few times
 * slower than it was is borne with, and becomes what is expected. */
static void made_progress(pool_ask *a, pool_peer *peer, size_t fresh, uint64_t now_ms)
{
	double each = (double)(now_ms - a->progress_ms) / (double)fresh;
	size_t before = a->n - fresh - a->base;
	if (before == 0)
		pool_first_came(peer, a, now_ms);
	else if (!a->measured) /* it may have said more than it can do */
		a->token_ms = fmax(a->token_ms, fmin(each, MEASURED_MAX * a->token_ms));
	else /* one slow token says little */
		a->token_ms += (fmin(each, 2 * a->token_ms) - a->token_ms) * (1 - pow(0.9, (double)fresh));
	a->measured |= before > 0;
	double most = POOL_STALL_MS * HTH_MAX(a->attempts, 1u) + a->token_ms, left = a->due_ms > now_ms ? (double)(a->due_ms - now_ms) : 0;
	if (before > 0 && left + (double)fresh * POOL_SLACK * a->token_ms < most)
		most = left + (double)fresh * POOL_SLACK * a->token_ms;
	a->progress_ms = now_ms;
	a->due_ms = now_ms + (uint64_t)most;
	a->late_ms = a->due_ms - (uint64_t)fmin(most, POOL_STALL_MS / 2.0);
}

static void on_tokens(hth_pool *pool, pool_peer *peer, pool_ask *a, const hth_pool_message *m, uint64_t now_ms)
{
	if (a->state != ASK_STREAMING)
		return;
	if (m->from > a->n) {
		if (now_ms >= a->wanted_ms + WANT_AGAIN_MS) {
			a->wanted_ms = now_ms;
			pool->counts.resent++;
			pool_send_job(pool, &peer->id, HTH_POOL_WANT, &a->job, (uint32_t)a->n, 0);
		}
		return;
	}
	if (m->from < a->base) {
		leave(pool, a, "it sent what was not asked for", now_ms);
		return;
	}
	size_t known = a->n - m->from, fresh = m->n_ids > known ? m->n_ids - known : 0;
	size_t old_text = a->n_text > m->text_from ? a->n_text - m->text_from : 0,
	    text = m->text_len > old_text ? m->text_len - old_text : 0;
	bool begins = m->has_prompt && !a->has_prompt;
	if (begins && (m->prompt_tokens == 0 || m->prompt_tokens > a->most_prompt_tokens)) {
		leave(pool, a, "it counted more of the prompt than there can be", now_ms);
		return;
	}
	if (a->n + fresh > a->max_tokens || m->text_from > a->n_text || a->n_text + text > HTH_POOL_ANSWER_TEXT_MAX) {
		leave(pool, a, "it sent what was not asked for", now_ms);
		return;
	}
	if (fresh > 0 || text > 0 || begins || (m->final && m->from + m->n_ids >= a->n))
		pool_first_delivers(pool, a, now_ms);
	if (fresh > 0 && !pool_append_ids(&a->ids, &a->n, &a->cap, m->ids + known, fresh)) {
		leave(pool, a, "there is no memory for what it sent", now_ms);
		return;
	}
	if (begins) {
		a->has_prompt = true;
		a->prompt_tokens = m->prompt_tokens;
	}
	a->n_text += (uint32_t)text;
	if (fresh > 0 || text > 0 || begins) {
		hth_pool_run run = {.ids = pool_ids_at(a->ids, a->n - fresh), .n = fresh,
		                    .text = text > 0 ? (const char *)m->text + old_text : "", .text_len = text,
		                    .has_prompt = begins, .prompt_tokens = a->prompt_tokens, .tail = m->tail, .tail_len = m->tail_len};
		pool->ops.tokens(pool->ops.ctx, a->number, &run);
	}
	if (fresh > 0)
		made_progress(a, peer, fresh, now_ms);
	if (m->final && m->from + m->n_ids == a->n)
		finish(pool, peer, a, m, now_ms);
	else
		pool_wake_for(pool, a);
}

void pool_ask_message(hth_pool *pool, pool_peer *peer, const hth_pool_message *m, uint64_t now_ms)
{
	pool_ask *a = pool_find_ask(pool, &peer->id, &m->job);
	if (a == NULL || a->state == ASK_CLOSING || a->state == ASK_NOWHERE)
		return;
	a->heard_ms = now_ms;
	switch (m->kind) {
	case HTH_POOL_ACCEPT: on_accept(pool, peer, a, m->from, now_ms); break;
	case HTH_POOL_TOKENS: on_tokens(pool, peer, a, m, now_ms); break;
	case HTH_POOL_BEAT:
		if (a->state == ASK_WAITING)
			on_accept(pool, peer, a, 0, now_ms); /* the acceptance was lost */
		if (m->from > a->n && now_ms >= a->wanted_ms + WANT_AGAIN_MS) {
			a->wanted_ms = now_ms;
			pool->counts.resent++;
			pool_send_job(pool, &peer->id, HTH_POOL_WANT, &a->job, (uint32_t)a->n, 0);
		}
		pool_wake_for(pool, a);
		break;
	case HTH_POOL_REFUSE:
		pool->counts.refused++;
		pool->counts.refused_class += m->reason == HTH_POOL_CLASS;
		peer->record.lends = false; /* until it says otherwise */
		if (m->reason == HTH_POOL_BROKEN)
			hth_standing_broke_off(&peer->standing, now_ms);
		without_home(pool, a, m->reason == HTH_POOL_BROKEN ? "it broke off" : a->n > a->base ? "it needed the place itself"
		             : "it refused", now_ms);
		break;
	default: break;
	}
}

/* ---- time ---- */

/* A slow home is better than none: it is left only for another, or for home, unless nothing at all comes for very long. What is asked again
 * and again is borne with for longer each time: it may be that everybody is slow. */
static bool bear_with(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	if (a->hedge || a->at_home_too || pool_partner(pool, a) != NULL || now_ms >= a->progress_ms + HTH_POOL_NOWHERE_MS ||
	    pool_place(pool, a, &a->peer, now_ms) != HTH_PLACE_NOWHERE)
		return false;
	a->due_ms = now_ms + POOL_STALL_MS;
	return true;
}

static void tick_one(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	bool asked = a->state == ASK_WAITING || a->state == ASK_STREAMING;
	bool silent = asked && now_ms >= (a->state == ASK_WAITING ? a->sent_ms : a->heard_ms) + HTH_POOL_SILENCE_MS;
	bool slow = a->state == ASK_STREAMING && now_ms >= a->due_ms && !bear_with(pool, a, now_ms);
	if (silent || slow) {
		silent |= now_ms >= a->heard_ms + QUIET_MS;
		pool->counts.silent += silent;
		pool->counts.slow += !silent;
		leave(pool, a, silent ? "it fell silent" : a->n > a->base ? "it became too slow" : "it made no progress", now_ms);
		return;
	}
	if (a->state == ASK_NOWHERE && now_ms >= a->sent_ms + RETRY_MS) {
		go_on(pool, a, now_ms);
		return;
	}
	if (a->state == ASK_CLOSING && now_ms >= a->heard_ms + CLOSING_MS) {
		pool_drop_ask(pool, a);
		return;
	}
	if (asked && !a->hedged && now_ms >= a->late_ms)
		pool_hedge(pool, a, now_ms);
	pool_wake_for(pool, a);
}

/* What fn does to one may end others: each is looked for again. */
static void for_each(hth_pool *pool, uint64_t now_ms, void (*fn)(hth_pool *pool, pool_ask *a, uint64_t now_ms))
{
	for (size_t i = pool->n_asks; i-- > 0;)
		if (i < pool->n_asks)
			fn(pool, pool->asks[i], now_ms);
}

void pool_asks_tick(hth_pool *pool, uint64_t now_ms) { for_each(pool, now_ms, tick_one); }

static void link_is_back(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	if (a->state == ASK_NOWHERE)
		go_on(pool, a, now_ms);
	else if (a->state == ASK_STREAMING) /* what was on its way is lost */
		pool_send_job(pool, &a->peer, HTH_POOL_WANT, &a->job, (uint32_t)a->n, 0);
}

void pool_asks_link(hth_pool *pool, uint64_t now_ms) { for_each(pool, now_ms, link_is_back); }

void pool_asks_lost_peer(hth_pool *pool, const hth_home_id *id, uint64_t now_ms)
{
	for (size_t i = pool->n_asks; i-- > 0;) {
		pool_ask *a = i < pool->n_asks ? pool->asks[i] : NULL;
		if (a == NULL || a->state == ASK_NOWHERE || !hth_home_id_equal(&a->peer, id))
			continue;
		if (a->state == ASK_CLOSING)
			pool_drop_ask(pool, a);
		else
			leave(pool, a, "it is no member any more", now_ms);
	}
}
