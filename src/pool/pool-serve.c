/* pool-serve.c - the serving side: what a neighbour asked is checked, handed to the engine, streamed back and put to account; see
 * pool.h. */
#include "base/mem.h"
#include "pool/pool-internal.h"

/* A receipt waits for a moment, so that its write to disk is in no token's way: of the giver's next ones, or of the last on its way to
 * whoever reads it. */
enum { OFFER_AGAIN_MS = 1000, RECEIPT_AFTER_MS = 20 };

static pool_work *find_number(const hth_pool *pool, uint64_t number)
{
	for (size_t i = 0; i < pool->n_works; i++)
		if (pool->works[i].number == number)
			return &pool->works[i];
	return NULL;
}

static pool_work *find_job(const hth_pool *pool, const hth_home_id *peer, const hth_job_id *job)
{
	for (size_t i = 0; i < pool->n_works; i++)
		if (memcmp(pool->works[i].job.bytes, job->bytes, HTH_JOB_BYTES) == 0 && hth_home_id_equal(&pool->works[i].peer, peer))
			return &pool->works[i];
	return NULL;
}

static void drop(hth_pool *pool, pool_work *w)
{
	if (w->ids != NULL)
		explicit_bzero(w->ids, w->cap * sizeof *w->ids);
	free(w->ids);
	free(w->ends);
	if (w->text != NULL)
		explicit_bzero(w->text, w->cap_text);
	free(w->text);
	*w = pool->works[--pool->n_works];
}

/* Drops it, and has the engine stop where it has not ended. */
static void stop(hth_pool *pool, pool_work *w)
{
	uint64_t number = w->number;
	bool running = !w->over;
	drop(pool, w);
	if (running)
		pool->ops.stop(pool->ops.ctx, number);
}

void pool_works_finish(hth_pool *pool)
{
	while (pool->n_works > 0)
		drop(pool, &pool->works[0]);
	free(pool->works);
}

size_t hth_pool_works(const hth_pool *pool)
{
	size_t n = 0;
	for (size_t i = 0; i < pool->n_works; i++)
		n += !pool->works[i].over;
	return n;
}

double hth_pool_work_standing(const hth_pool *pool, uint64_t work, uint64_t now_ms)
{
	const pool_work *w = find_number(pool, work);
	return w != NULL ? hth_ledger_standing(pool->ledger, &w->peer, pool->rules.credit_line, now_ms) : -1;
}

/* ---- receipts: this home is the giver ---- */

static void send_open(hth_pool *pool, const hth_home_id *peer)
{
	hth_pool_message m = {.kind = HTH_POOL_RECEIPT};
	if (hth_ledger_open(pool->ledger, peer, &m.entry))
		pool_send(pool, peer, &m);
}

void hth_pool_settle(hth_pool *pool)
{
	for (size_t i = 0; i < pool->n_peers; i++)
		send_open(pool, &pool->peers[i].id);
}

static bool has_open(const hth_pool *pool, const hth_home_id *peer)
{
	for (size_t i = 0; i < pool->n_works; i++)
		if (pool->works[i].open && hth_home_id_equal(&pool->works[i].peer, peer))
			return true;
	return false;
}

/* Proposes what is due, if the pair has nothing open. */
static void propose(hth_pool *pool, pool_work *w, uint64_t now_ms)
{
	uint64_t owed = hth_charge_of(w->prompt_tokens + (uint32_t)w->base, (uint32_t)w->n);
	bool due = w->n - w->settled >= HTH_POOL_RECEIPT_TOKENS || (w->over && owed > w->charged);
	if (w->open || !due)
		return;
	if (w->due_ms == 0)
		w->due_ms = now_ms + RECEIPT_AFTER_MS;
	if (now_ms < w->due_ms) {
		pool_wake(pool, w->due_ms);
		return;
	}
	hth_receipt totals = {.taker = w->peer, .job = w->job, .privacy = (uint8_t)w->audience, .sampler = w->sampler, .seed = w->seed,
	                      .issued_ms = now_ms,
	                      .prompt_tokens = w->prompt_tokens + (uint32_t)w->base, .answer_tokens = (uint32_t)w->n,
	                      .milliwatt_seconds = w->energy_mws - w->energy_told,
	                      .charge = (uint32_t)(owed - w->charged), .final = w->over};
	memcpy(totals.model, w->model, HTH_HASH_BYTES);
	memcpy(totals.tokens, w->hash, HTH_HASH_BYTES);
	hth_token_hash(totals.tokens, pool_ids_at(w->ids, w->settled), w->n - w->settled);
	hth_pool_message m = {.kind = HTH_POOL_RECEIPT};
	hth_status status = hth_ledger_propose(pool->ledger, &totals, &m.entry, NULL);
	if (status == HTH_OK) {
		w->open = true;
		w->due_ms = 0;
		w->open_tokens = (uint32_t)w->n;
		w->open_charge = totals.charge;
		w->open_energy = totals.milliwatt_seconds;
		w->proposed_ms = w->offered_ms = now_ms;
		pool_send(pool, &w->peer, &m);
	} else if (status == HTH_CONFLICT && !has_open(pool, &w->peer) && now_ms >= w->proposed_ms + HTH_POOL_SILENCE_MS) {
		w->proposed_ms = now_ms; /* one from before a restart, or of a job that is gone: it comes first */
		send_open(pool, &w->peer);
	}
}

static bool is_settled(const pool_work *w)
{
	return w->over && !w->open && hth_charge_of(w->prompt_tokens + (uint32_t)w->base, (uint32_t)w->n) == w->charged;
}

void pool_work_verdict(hth_pool *pool, pool_peer *peer, const hth_entry *answer, uint64_t now_ms)
{
	if (hth_ledger_answered(pool->ledger, &peer->id, answer, NULL) != HTH_OK)
		return;
	pool_work *w = find_job(pool, &peer->id, &answer->receipt.job);
	if (w != NULL && w->open && answer->receipt.answer_tokens == w->open_tokens) {
		w->open = false;
		if (answer->verdict == HTH_RECEIPT_ACCEPTED) {
			hth_token_hash(w->hash, pool_ids_at(w->ids, w->settled), w->open_tokens - w->settled);
			w->settled = w->open_tokens;
			w->charged += w->open_charge;
			w->energy_told += w->open_energy;
			if (w->held && w->n - w->settled <= HTH_POOL_WINDOW_TOKENS / 2) {
				w->held = false;
				pool->ops.hold(pool->ops.ctx, w->number, false);
			}
		} else {
			stop(pool, w); /* they do not count what this home counts: nothing more is done for this job */
		}
	}
	for (size_t i = pool->n_works; i-- > 0;) {
		w = &pool->works[i];
		if (is_settled(w))
			drop(pool, w);
		else if (hth_home_id_equal(&w->peer, &peer->id))
			propose(pool, w, now_ms);
	}
}

/* ---- being asked ---- */

static size_t works_of(const hth_pool *pool, const hth_home_id *peer)
{
	size_t n = 0;
	for (size_t i = 0; i < pool->n_works; i++)
		n += hth_home_id_equal(&pool->works[i].peer, peer) && !pool->works[i].over;
	return n;
}

/* 0: it may. */
static hth_pool_reason refusal(hth_pool *pool, pool_peer *peer, const hth_pool_message *m, uint64_t now_ms)
{
	bool neighbours = m->audience == HTH_AUDIENCE_NEIGHBOURS;
	if (neighbours ? !pool->home.accepts_neighbours || !(pool->rules.classes & HTH_CHARTER_NEIGHBOURS)
	               : !pool->home.accepts_public || !(pool->rules.classes & HTH_CHARTER_PUBLIC))
		return HTH_POOL_CLASS;
	if (!pool->home.lends)
		return HTH_POOL_WINDOW;
	if (hth_capability_model(&pool->home, m->model) == NULL)
		return HTH_POOL_MODEL;
	if (now_ms >= peer->hour_ms + 3600000) {
		peer->hour_ms = now_ms;
		peer->hour_asks = 0;
	}
	if (pool->rules.requests_per_hour > 0 && peer->hour_asks >= pool->rules.requests_per_hour)
		return HTH_POOL_QUOTA;
	if (pool->n_works >= HTH_POOL_WORKS_MAX || works_of(pool, &peer->id) >= HTH_POOL_WORKS_PER_PEER ||
	    (pool->home.free_slots == 0 && hth_pool_works(pool) >= 2u * pool->home.slots))
		return HTH_POOL_BUSY;
	if (pool->n_works == pool->cap_works) {
		size_t cap = pool->cap_works ? pool->cap_works * 2 : 4;
		pool_work *more = realloc(pool->works, cap * sizeof *more);
		if (more == NULL)
			return HTH_POOL_BUSY;
		pool->works = more;
		pool->cap_works = cap;
	}
	return 0;
}

static void on_ask(hth_pool *pool, pool_peer *peer, const hth_pool_message *m, uint64_t now_ms)
{
	if (find_job(pool, &peer->id, &m->job) != NULL)
		return; /* it came twice */
	hth_pool_reason reason = refusal(pool, peer, m, now_ms);
	if (reason != 0) {
		pool_send_job(pool, &peer->id, HTH_POOL_REFUSE, &m->job, 0, reason);
		return;
	}
	peer->hour_asks++;
	pool_work *w = &pool->works[pool->n_works++];
	*w = (pool_work){.number = ++pool->next_work, .job = m->job, .peer = peer->id, .audience = m->audience,
	                 .prompt_tokens = m->prompt_tokens,
	                 .asked_prompt_tokens = m->prompt_tokens, .max_tokens = m->max_tokens, .seed = m->seed, .sampler = m->sampler,
	                 .base = m->n_ids, .text_base = m->text_from, .sent_ms = now_ms};
	memcpy(w->model, m->model, HTH_HASH_BYTES);
	pool_send_job(pool, &peer->id, HTH_POOL_ACCEPT, &w->job,
	              pool->home.free_slots > 0 ? 0 : pool->home.queued_tokens / HTH_MAX(pool->home.slots, 1), 0);
	pool_wake(pool, now_ms + HTH_POOL_BEAT_MS);
	hth_pool_work work = {.work = w->number, .from = peer->id, .audience = m->audience, .model = m->model, .words = m->words,
	                      .words_len = m->words_len,
	                      .prompt_tokens = m->prompt_tokens, .max_tokens = m->max_tokens, .seed = m->seed, .sampler = m->sampler,
	                      .prefix = m->ids,
	                      .n_prefix = m->n_ids, .text_bytes = m->text_from};
	pool->ops.serve(pool->ops.ctx, &work);
}

static void send_tokens(hth_pool *pool, const pool_work *w, size_t from)
{
	do {
		size_t n = HTH_MIN(w->n - from, (size_t)HTH_POOL_RUN_MAX), begin = from > 0 ? w->ends[from - 1] : 0;
		while (n > 1 && w->ends[from + n - 1] - begin > HTH_POOL_TEXT_MAX / 2)
			n /= 2;
		bool last = from + n == w->n;
		size_t end = last ? w->n_text : w->ends[from + n - 1];
		hth_pool_message m = {.kind = HTH_POOL_TOKENS, .job = w->job, .from = (uint32_t)(w->base + from),
		                      .ids = pool_ids_at(w->ids, from), .n_ids = n,
		                      .text_from = (uint32_t)(w->text_base + begin), .text = w->text != NULL ? w->text + begin : "",
		                      .text_len = end - begin,
		                      .has_prompt = from == 0 && w->has_prompt, .prompt_tokens = w->prompt_tokens, .tail = w->tail,
		                      .tail_len = w->tail_len,
		                      .final = w->final && last, .finish = w->finish, .stop = w->stop};
		pool_send(pool, &w->peer, &m);
		from += n;
	} while (from < w->n);
}

/* Nobody wants it any more. What arrived counts, and so does a prompt that was read for nothing; what did not arrive does not. */
static void cancelled(hth_pool *pool, pool_work *w, uint32_t from, uint64_t now_ms)
{
	if (w->over && from != HTH_POOL_NOT_COUNTED)
		return; /* it crossed with the end, which counts as it stands */
	if (from < w->base + (w->open ? w->open_tokens : w->settled) || from > w->base + w->n) {
		stop(pool, w);
		return;
	}
	w->n = from - w->base;
	w->n_text = w->n > 0 ? w->ends[w->n - 1] : 0;
	if (w->n == 0)
		w->prompt_tokens = w->asked_prompt_tokens;
	w->over = true;
	w->ended_ms = now_ms;
	pool->ops.stop(pool->ops.ctx, w->number);
	propose(pool, w, now_ms);
	if (is_settled(w))
		drop(pool, w);
	else
		pool_wake(pool, now_ms + HTH_POOL_SILENCE_MS);
}

void pool_work_message(hth_pool *pool, pool_peer *peer, const hth_pool_message *m, uint64_t now_ms)
{
	if (m->kind == HTH_POOL_ASK) {
		on_ask(pool, peer, m, now_ms);
		return;
	}
	pool_work *w = find_job(pool, &peer->id, &m->job);
	if (w == NULL)
		return;
	if (m->kind == HTH_POOL_CANCEL)
		cancelled(pool, w, m->from, now_ms);
	else if (m->from >= w->base && (m->from < w->base + w->n || (w->over && m->from == w->base + w->n)))
		send_tokens(pool, w, m->from - w->base);
}

/* ---- making tokens ---- */

static void refuse(hth_pool *pool, pool_work *w, hth_pool_reason reason)
{
	pool_send_job(pool, &w->peer, HTH_POOL_REFUSE, &w->job, 0, reason);
	drop(pool, w);
}

static bool keep_run(pool_work *w, const hth_pool_run *run)
{
	size_t n_before = w->n, last = n_before > 0 ? w->ends[n_before - 1] : 0;
	if (w->base + w->n + run->n > w->max_tokens || w->n_text + run->text_len > HTH_POOL_ANSWER_TEXT_MAX ||
	    w->n_text + run->text_len - last > HTH_POOL_TEXT_MAX / 2 || run->tail_len > HTH_POOL_TAIL_MAX)
		return false;
	if (w->n_text + run->text_len > w->cap_text) {
		size_t cap = HTH_MAX(w->cap_text * 2, w->n_text + run->text_len + 256);
		char *grown = realloc(w->text, cap);
		if (grown == NULL)
			return false;
		w->text = grown;
		w->cap_text = cap;
	}
	if (w->n + run->n > w->cap_ends) {
		size_t cap = HTH_MAX(w->cap_ends * 2, w->n + run->n + 32);
		uint32_t *grown = realloc(w->ends, cap * sizeof *grown);
		if (grown == NULL)
			return false;
		w->ends = grown;
		w->cap_ends = cap;
	}
	if (!pool_append_ids(&w->ids, &w->n, &w->cap, run->ids, run->n))
		return false;
	if (run->text_len > 0)
		memcpy(w->text + w->n_text, run->text, run->text_len);
	/* A run's text is its last token's; what it brings without tokens comes after all. */
	for (size_t i = n_before; i < w->n; i++)
		w->ends[i] = (uint32_t)(i + 1 < w->n ? w->n_text : w->n_text + run->text_len);
	w->n_text += run->text_len;
	if (run->has_prompt && !w->has_prompt && n_before == 0) {
		w->has_prompt = true;
		w->prompt_tokens = run->prompt_tokens;
		w->tail_len = run->tail_len;
		if (run->tail_len > 0)
			memcpy(w->tail, run->tail, run->tail_len);
	}
	return true;
}

void hth_pool_served(hth_pool *pool, uint64_t work, const hth_pool_run *run, uint64_t milliwatt_seconds, uint64_t now_ms)
{
	pool_work *w = find_number(pool, work);
	if (w == NULL || w->over)
		return;
	size_t from = w->n;
	if (!keep_run(w, run)) {
		pool_send_job(pool, &w->peer, HTH_POOL_REFUSE, &w->job, 0, HTH_POOL_BROKEN);
		stop(pool, w);
		return;
	}
	w->final = w->over = run->final;
	w->finish = run->final ? run->finish : 0;
	w->stop = run->final ? run->stop : 0;
	w->energy_mws += milliwatt_seconds;
	w->sent_ms = now_ms;
	if (w->over)
		w->ended_ms = now_ms;
	send_tokens(pool, w, from);
	propose(pool, w, now_ms);
	if (is_settled(w)) {
		drop(pool, w);
		return;
	}
	if (!w->over && !w->held && w->n - w->settled >= HTH_POOL_WINDOW_TOKENS) {
		w->held = true;
		pool->counts.held++;
		pool->ops.hold(pool->ops.ctx, w->number, true);
	}
	pool_wake(pool, now_ms + HTH_POOL_BEAT_MS);
}

void hth_pool_yield(hth_pool *pool, uint64_t work, uint64_t now_ms)
{
	pool_work *w = find_number(pool, work);
	if (w == NULL || w->over)
		return;
	(void)now_ms;
	pool->counts.preempted++;
	refuse(pool, w, HTH_POOL_BUSY);
}

void hth_pool_cannot(hth_pool *pool, uint64_t work, uint64_t now_ms)
{
	pool_work *w = find_number(pool, work);
	(void)now_ms;
	if (w != NULL && !w->over)
		refuse(pool, w, HTH_POOL_BROKEN);
}

/* ---- time ---- */

void pool_works_tick(hth_pool *pool, uint64_t now_ms)
{
	for (size_t i = pool->n_works; i-- > 0;) {
		pool_work *w = &pool->works[i];
		if ((w->open && now_ms >= w->proposed_ms + HTH_POOL_VERDICT_MS) ||
		    (w->over && now_ms >= w->ended_ms + 2 * HTH_POOL_VERDICT_MS)) {
			stop(pool, w); /* whoever asked is gone; what it owes is at most the window */
			continue;
		}
		if (w->open && now_ms >= w->offered_ms + OFFER_AGAIN_MS) { /* lost, or it overtook its tokens */
			w->offered_ms = now_ms;
			send_open(pool, &w->peer);
		}
		if (!w->open)
			propose(pool, w, now_ms);
		if (!w->over && now_ms >= w->sent_ms + HTH_POOL_BEAT_MS) {
			w->sent_ms = now_ms;
			pool_send_job(pool, &w->peer, HTH_POOL_BEAT, &w->job, (uint32_t)(w->base + w->n), 0);
		}
		pool_wake(pool, w->over ? now_ms + HTH_POOL_SILENCE_MS : w->sent_ms + HTH_POOL_BEAT_MS);
	}
}

void pool_works_lost_peer(hth_pool *pool, const hth_home_id *id)
{
	for (size_t i = pool->n_works; i-- > 0;)
		if (hth_home_id_equal(&pool->works[i].peer, id))
			stop(pool, &pool->works[i]);
}
