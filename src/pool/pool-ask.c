/* pool-ask.c - the asking side: one request, perhaps several neighbours, one answer without gap or repeat; see pool.h. */
#include "base/mem.h"
#include "pool/pool-internal.h"

#include <math.h>

enum { CLOSING_MS = 10000, RETRY_MS = 2000, WANT_AGAIN_MS = 200, PROGRESS_TOKENS = 40 };

static void wake_for(hth_pool *pool, const pool_ask *a)
{
	switch (a->state) {
	case ASK_WAITING: pool_wake(pool, a->sent_ms + HTH_POOL_SILENCE_MS); break;
	case ASK_STREAMING: pool_wake(pool, HTH_MIN(a->heard_ms + HTH_POOL_SILENCE_MS, a->progress_ms + a->allowed_ms)); break;
	case ASK_NOWHERE: pool_wake(pool, a->sent_ms + RETRY_MS); break;
	case ASK_CLOSING: pool_wake(pool, a->heard_ms + CLOSING_MS); break;
	}
}

static void drop(hth_pool *pool, pool_ask *a)
{
	hth_permit_destroy(a->permit);
	if (a->ids != NULL)
		explicit_bzero(a->ids, a->cap * sizeof *a->ids);
	free(a->ids);
	*a = pool->asks[--pool->n_asks];
}

void pool_asks_finish(hth_pool *pool)
{
	while (pool->n_asks > 0)
		drop(pool, &pool->asks[0]);
	free(pool->asks);
}

static pool_ask *find_job(hth_pool *pool, const hth_home_id *peer, const hth_job_id *job)
{
	for (size_t i = 0; i < pool->n_asks; i++)
		if (memcmp(pool->asks[i].job.bytes, job->bytes, HTH_JOB_BYTES) == 0 && hth_home_id_equal(&pool->asks[i].peer, peer))
			return &pool->asks[i];
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
static int place(hth_pool *pool, const hth_place_ask *ask, uint64_t now_ms)
{
	hth_place_peer peers[HTH_POOL_PEERS_MAX];
	size_t n = pool->n_peers, first = n > 0 ? hth_rng_next(pool->rng) % n : 0;
	for (size_t i = 0; i < n; i++) {
		const pool_peer *p = &pool->peers[(first + i) % n];
		peers[i] = (hth_place_peer){.record = p->heard ? &p->record : NULL, .standing = &p->standing, .rtt_s = p->rtt_s,
		                            .fresh = p->heard && now_ms < p->heard_ms + HTH_POOL_FRESH_MS, .trusted = p->trusted};
	}
	hth_place_home home = place_home(pool, ask->model);
	double seconds;
	int choice = hth_place_choose(ask, &home, peers, n, now_ms, &seconds);
	return choice >= 0 ? (int)((first + (size_t)choice) % n) : choice;
}

static hth_place_ask what_is_left(const pool_ask *a)
{
	hth_place_ask ask = {.prompt_tokens = a->prompt_tokens + (uint32_t)a->n, .audience = hth_permit_audience(a->permit),
	                     .answer_tokens = a->expected_tokens > a->n + 16 ? a->expected_tokens - (uint32_t)a->n : 16};
	memcpy(ask.model, a->model, HTH_HASH_BYTES);
	return ask;
}

/* False: its words may not go there. */
static bool send_ask(hth_pool *pool, pool_ask *a, pool_peer *peer, uint64_t now_ms)
{
	size_t words_len;
	const void *words = hth_permit_words(a->permit, &words_len);
	if (pool->ops.leaves != NULL && !pool->ops.leaves(pool->ops.ctx, a->number, &peer->id, words_len, a->left))
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
	memset(a->hash, 0, sizeof a->hash);
	a->attempts++;
	pool->counts.asked++;
	hth_pool_message m = {.kind = HTH_POOL_ASK, .job = a->job, .audience = hth_permit_audience(a->permit), .prompt_tokens = a->prompt_tokens,
	                      .max_tokens = a->max_tokens, .seed = a->seed, .sampler = a->sampler, .ids = a->ids, .n_ids = a->n, .text_from = a->n_text, .words = words,
	                      .words_len = words_len};
	memcpy(m.model, a->model, HTH_HASH_BYTES);
	/* Until it says more: the place that this takes is taken, so that a burst spreads. */
	if (peer->record.free_slots > 0)
		peer->record.free_slots--;
	else
		peer->record.queued_tokens += a->expected_tokens;
	pool_send(pool, &peer->id, &m);
	wake_for(pool, a);
	return true;
}

/* The next place for what is left of an ask. It may be over afterwards (true): then a is another's place. */
static bool go_on(hth_pool *pool, pool_ask *a, uint64_t now_ms)
{
	hth_place_ask left = what_is_left(a);
	bool tired = a->attempts >= HTH_POOL_ATTEMPTS_MAX && hth_capability_model(&pool->home, a->model) != NULL;
	int choice = tired ? HTH_PLACE_HOME : place(pool, &left, now_ms);
	if (choice >= 0 && send_ask(pool, a, &pool->peers[choice], now_ms))
		return false;
	if (choice >= 0)
		choice = hth_capability_model(&pool->home, a->model) != NULL ? HTH_PLACE_HOME : HTH_PLACE_NOWHERE;
	uint64_t number = a->number;
	size_t n = a->n;
	const char *why = a->left != NULL ? a->left : "no neighbour was found";
	if (choice == HTH_PLACE_HOME) {
		drop(pool, a);
		pool->counts.came_home++;
		pool->ops.go_home(pool->ops.ctx, number, n, why);
		return true;
	}
	if (now_ms >= a->begun_ms + HTH_POOL_NOWHERE_MS) {
		drop(pool, a);
		pool->ops.failed(pool->ops.ctx, number);
		return true;
	}
	a->state = ASK_NOWHERE;
	a->sent_ms = now_ms;
	memset(a->job.bytes, 0, HTH_JOB_BYTES); /* whoever had it is not listened to any more */
	wake_for(pool, a);
	return false;
}

static bool leave(hth_pool *pool, pool_ask *a, const char *why, uint64_t now_ms)
{
	a->left = why;
	pool_peer *peer = pool_find_peer(pool, &a->peer);
	if (peer != NULL) {
		hth_standing_broke_off(&peer->standing, now_ms);
		pool_send_job(pool, &peer->id, HTH_POOL_CANCEL, &a->job, 0, 0);
	}
	pool->counts.failed_over++;
	return go_on(pool, a, now_ms);
}

bool hth_pool_would_leave(hth_pool *pool, hth_audience audience, const hth_pool_ask_options *options, uint64_t now_ms)
{
	hth_place_ask ask = {.prompt_tokens = options->prompt_tokens, .answer_tokens = options->expected_tokens, .audience = audience};
	memcpy(ask.model, options->model, HTH_HASH_BYTES);
	return place(pool, &ask, now_ms) >= 0;
}

hth_status hth_pool_ask(hth_pool *pool, hth_neighbour_permit *permit, const hth_pool_ask_options *o, uint64_t now_ms, hth_error *err)
{
	pool_ask a = {.number = o->ask, .permit = permit, .prompt_tokens = o->prompt_tokens, .max_tokens = HTH_MIN(o->max_tokens, (uint32_t)HTH_POOL_PREFIX_MAX),
	              .expected_tokens = o->expected_tokens, .seed = o->seed, .sampler = o->sampler, .begun_ms = now_ms,
	              .most_prompt_tokens = o->most_prompt_tokens > 0 ? o->most_prompt_tokens : UINT32_MAX};
	memcpy(a.model, o->model, HTH_HASH_BYTES);
	hth_status status = HTH_OK;
	hth_place_ask left = what_is_left(&a);
	int choice = place(pool, &left, now_ms);
	if (choice == HTH_PLACE_HOME)
		status = hth_fail(err, HTH_CONFLICT, "home is best");
	else if (pool->n_asks == HTH_POOL_ASKS_MAX || o->max_tokens == 0)
		status = hth_fail(err, HTH_BUSY, "%d requests are with neighbours already", HTH_POOL_ASKS_MAX);
	else if (pool->n_asks == pool->cap_asks) {
		size_t cap = pool->cap_asks ? pool->cap_asks * 2 : 4;
		pool_ask *more = realloc(pool->asks, cap * sizeof *more);
		if (more == NULL)
			status = hth_fail(err, HTH_NO_MEMORY, "no memory for a neighbour's answer");
		else {
			pool->asks = more;
			pool->cap_asks = cap;
		}
	}
	if (status != HTH_OK) {
		hth_permit_destroy(permit);
		return status;
	}
	pool->asks[pool->n_asks] = a;
	pool_ask *placed = &pool->asks[pool->n_asks++];
	if (choice >= 0) {
		if (!send_ask(pool, placed, &pool->peers[choice], now_ms)) {
			drop(pool, placed);
			return hth_fail(err, HTH_IO, "its words may not leave: that could not be put on record");
		}
	} else {
		placed->state = ASK_NOWHERE;
		placed->sent_ms = now_ms;
		wake_for(pool, placed);
	}
	return HTH_OK;
}

size_t hth_pool_asks(const hth_pool *pool)
{
	size_t n = 0;
	for (size_t i = 0; i < pool->n_asks; i++)
		n += pool->asks[i].state != ASK_CLOSING;
	return n;
}

void hth_pool_cancel(hth_pool *pool, uint64_t ask, uint64_t now_ms)
{
	for (size_t i = 0; i < pool->n_asks; i++) {
		pool_ask *a = &pool->asks[i];
		if (a->number != ask || a->state == ASK_CLOSING)
			continue;
		if (a->state != ASK_NOWHERE)
			pool_send_job(pool, &a->peer, HTH_POOL_CANCEL, &a->job, 0, 0);
		drop(pool, a);
		return;
	}
	(void)now_ms;
}

void hth_pool_weighed(hth_pool *pool, const hth_home_id *id, uint32_t tokens, uint32_t misses)
{
	pool_peer *peer = pool_find_peer(pool, id);
	if (peer != NULL)
		hth_standing_weighed(&peer->standing, tokens, misses);
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
	/* Before the first token: what it said that queue and prompt take, several times over. */
	const hth_pool_model *model = hth_capability_model(&peer->record, a->model);
	/* What is there already may have to be gone through token by token, so that the rest is what it would have been. */
	double said = model ? a->prompt_tokens / (double)model->prefill_tok_s + ((double)a->n + queued_tokens) / model->decode_tok_s : 0;
	a->allowed_ms = HTH_POOL_SILENCE_MS + (uint64_t)fmin(said * 4000, 120000);
	pool->counts.accepted++;
	wake_for(pool, a);
}

/* true: the ask is over, or its place is another's. */
static bool finish(hth_pool *pool, pool_peer *peer, pool_ask *a, const hth_pool_message *m, uint64_t now_ms)
{
	const hth_pool_model *model = hth_capability_model(&peer->record, a->model);
	double took = (double)(now_ms - a->accepted_ms) / 1000, made = (double)(a->n - a->base);
	double said = model ? (a->prompt_tokens + (double)a->base) / model->prefill_tok_s + made / model->decode_tok_s : took;
	hth_standing_ended_well(&peer->standing, took > 0 ? said / took : 1);
	bool check = hth_standing_wants_check(&peer->standing, hth_rng_unit(pool->rng));
	hth_permit_destroy(a->permit);
	a->permit = NULL;
	a->state = ASK_CLOSING;
	a->heard_ms = now_ms;
	wake_for(pool, a);
	pool->ops.ended(pool->ops.ctx, a->number, &peer->id, check, m->finish, m->stop);
	return true;
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
	size_t known = a->n - m->from, fresh = m->n_ids > known ? m->n_ids - known : 0;
	size_t old_text = a->n_text > m->text_from ? a->n_text - m->text_from : 0, text = m->text_len > old_text ? m->text_len - old_text : 0;
	bool begins = m->has_prompt && !a->has_prompt;
	if (begins && (m->prompt_tokens == 0 || m->prompt_tokens > a->most_prompt_tokens)) {
		leave(pool, a, "it counted more of the prompt than there can be", now_ms);
		return;
	}
	if (a->n + fresh > a->max_tokens || m->from < a->base || m->text_from > a->n_text || a->n_text + text > HTH_POOL_ANSWER_TEXT_MAX ||
	    (fresh > 0 && !pool_append_ids(&a->ids, &a->n, &a->cap, m->ids + known, fresh))) {
		leave(pool, a, "it sent what was not asked for", now_ms); /* or there is no memory for it */
		return;
	}
	if (begins) {
		a->has_prompt = true;
		a->prompt_tokens = m->prompt_tokens;
	}
	a->n_text += (uint32_t)text;
	if (fresh > 0 || text > 0 || begins) {
		hth_pool_run run = {.ids = pool_ids_at(a->ids, a->n - fresh), .n = fresh, .text = text > 0 ? (const char *)m->text + old_text : "", .text_len = text,
		                    .has_prompt = begins, .prompt_tokens = a->prompt_tokens, .tail = m->tail, .tail_len = m->tail_len};
		pool->ops.tokens(pool->ops.ctx, a->number, &run);
	}
	if (fresh > 0) {
		const hth_pool_model *model = hth_capability_model(&peer->record, a->model);
		a->progress_ms = now_ms;
		a->allowed_ms = HTH_POOL_SILENCE_MS + (model ? (uint64_t)fmin(PROGRESS_TOKENS * 1000.0 / model->decode_tok_s, 60000) : 0);
	}
	if (m->final && m->from + m->n_ids == a->n)
		finish(pool, peer, a, m, now_ms);
	else
		wake_for(pool, a);
}

void pool_ask_message(hth_pool *pool, pool_peer *peer, const hth_pool_message *m, uint64_t now_ms)
{
	pool_ask *a = find_job(pool, &peer->id, &m->job);
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
		wake_for(pool, a);
		break;
	case HTH_POOL_REFUSE:
		pool->counts.refused++;
		pool->counts.refused_class += m->reason == HTH_POOL_CLASS;
		peer->record.lends = false; /* until it says otherwise */
		if (m->reason == HTH_POOL_BROKEN)
			hth_standing_broke_off(&peer->standing, now_ms);
		a->left = m->reason == HTH_POOL_BROKEN ? "it broke off" : a->n > a->base ? "it needed the place itself" : "it refused";
		go_on(pool, a, now_ms);
		break;
	default: break;
	}
}

/* ---- receipts: this home is the taker ---- */

void pool_ask_receipt(hth_pool *pool, pool_peer *peer, const hth_entry *proposal, uint64_t now_ms)
{
	const hth_receipt *r = &proposal->receipt;
	pool_ask *a = find_job(pool, &peer->id, &r->job);
	hth_counted counted = {.now_ms = now_ms};
	if (a != NULL) {
		uint32_t have = (uint32_t)(a->n - a->base);
		if (r->answer_tokens > have)
			return; /* its tokens are still on their way; it will be sent again */
		counted = (hth_counted){.known = r->answer_tokens >= a->receipt_tokens, .prompt_tokens = a->prompt_tokens + (uint32_t)a->base,
		                        .answer_tokens = r->answer_tokens, .charged = a->charged, .now_ms = now_ms};
		memcpy(counted.tokens, a->hash, HTH_HASH_BYTES);
		if (counted.known)
			hth_token_hash(counted.tokens, pool_ids_at(a->ids, a->base + a->receipt_tokens), r->answer_tokens - a->receipt_tokens);
	}
	hth_pool_message m = {.kind = HTH_POOL_VERDICT};
	if (hth_ledger_consider(pool->ledger, &peer->id, proposal, &counted, &m.entry, NULL) != HTH_OK)
		return;
	if (a != NULL && m.entry.verdict == HTH_RECEIPT_ACCEPTED && a->charged + r->charge == hth_charge_of(r->prompt_tokens, r->answer_tokens)) {
		a->charged += r->charge;
		a->receipt_tokens = r->answer_tokens;
		memcpy(a->hash, counted.tokens, HTH_HASH_BYTES);
	}
	pool_send(pool, &peer->id, &m);
	if (a != NULL && a->state == ASK_CLOSING && r->final)
		drop(pool, a);
}

/* ---- time ---- */

void pool_asks_tick(hth_pool *pool, uint64_t now_ms)
{
	for (size_t i = pool->n_asks; i-- > 0;) { /* what is dropped is replaced by the last, which was seen already */
		pool_ask *a = &pool->asks[i];
		bool silent = a->state == ASK_WAITING ? now_ms >= a->sent_ms + HTH_POOL_SILENCE_MS
		                                      : a->state == ASK_STREAMING && now_ms >= a->heard_ms + HTH_POOL_SILENCE_MS;
		bool slow = a->state == ASK_STREAMING && now_ms >= a->progress_ms + a->allowed_ms;
		pool->counts.silent += silent;
		pool->counts.slow += slow && !silent;
		if (silent || slow)
			leave(pool, a, silent ? "it fell silent" : "it made no progress", now_ms);
		else if (a->state == ASK_NOWHERE && now_ms >= a->sent_ms + RETRY_MS)
			go_on(pool, a, now_ms);
		else if (a->state == ASK_CLOSING && now_ms >= a->heard_ms + CLOSING_MS)
			drop(pool, a);
		else
			wake_for(pool, a);
	}
}

void pool_asks_lost_peer(hth_pool *pool, const hth_home_id *id, uint64_t now_ms)
{
	for (size_t i = pool->n_asks; i-- > 0;) {
		pool_ask *a = &pool->asks[i];
		if (a->state == ASK_NOWHERE || !hth_home_id_equal(&a->peer, id))
			continue;
		if (a->state == ASK_CLOSING)
			drop(pool, a);
		else
			leave(pool, a, "it is no member any more", now_ms);
	}
}
