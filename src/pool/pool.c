/* pool.c - the machine's frame: neighbours, records, and who handles which message; see pool.h. */
#include "pool/pool.h"

#include "base/mem.h"
#include "pool/pool-internal.h"

enum { ANNOUNCE_FIRST_MS = 5000, ANNOUNCE_LAST_MS = 120000, ANNOUNCE_CHANGE_MS = 2000, SETTLE_AGAIN_MS = 60000 };

hth_status hth_pool_create(hth_pool **ret_pool, const hth_home_id *self, const hth_pool_ops *ops, hth_ledger *ledger, hth_rng *rng,
                           hth_error *err)
{
	hth_pool *pool = calloc(1, sizeof *pool);
	if (pool == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a neighbourhood");
	pool->self = *self;
	pool->ops = *ops;
	pool->ledger = ledger;
	pool->rng = rng;
	pool->out = HTH_BUF_INIT(HTH_POOL_MESSAGE_MAX);
	pool->announce_every_ms = ANNOUNCE_FIRST_MS;
	pool->next_ms = UINT64_MAX;
	pool->hedge_budget = 1;
	*ret_pool = pool;
	return HTH_OK;
}

void hth_pool_destroy(hth_pool *pool)
{
	if (pool == NULL)
		return;
	pool_asks_finish(pool);
	pool_works_finish(pool);
	free(pool->peers);
	if (pool->out.data != NULL)
		explicit_bzero(pool->out.data, pool->out.cap);
	hth_buf_finish(&pool->out);
	free(pool->storage);
	free(pool);
}

const hth_pool_counts *hth_pool_get_counts(const hth_pool *pool) { return &pool->counts; }
uint64_t hth_pool_next_ms(const hth_pool *pool) { return pool->next_ms; }

void pool_wake(hth_pool *pool, uint64_t at_ms)
{
	if (at_ms < pool->next_ms)
		pool->next_ms = at_ms;
}

static uint64_t peer_key(const hth_home_id *id)
{
	uint64_t key;
	memcpy(&key, id->bytes, sizeof key);
	return key;
}

pool_peer *pool_find_peer(const hth_pool *pool, const hth_home_id *id)
{
	uint64_t key = peer_key(id);
	for (size_t i = 0; i < pool->n_peers; i++)
		if (pool->peer_keys[i] == key && hth_home_id_equal(&pool->peers[i].id, id))
			return &pool->peers[i];
	return NULL;
}

void pool_send(hth_pool *pool, const hth_home_id *to, const hth_pool_message *message)
{
	hth_buf_clear(&pool->out);
	hth_pool_message_encode(message, &pool->out);
	if (!pool->out.failed)
		pool->ops.send(pool->ops.ctx, to, pool->out.data, pool->out.len);
}

void pool_send_job(hth_pool *pool, const hth_home_id *to, hth_pool_kind kind, const hth_job_id *job, uint32_t from, hth_pool_reason reason)
{
	pool_send(pool, to, &(hth_pool_message){.kind = kind, .job = *job, .from = from, .reason = reason});
}

bool pool_append_ids(int32_t **ids, size_t *n, size_t *cap, const int32_t *more, size_t n_more)
{
	if (*n + n_more > *cap) {
		size_t bigger = HTH_MAX(*cap * 2, *n + n_more + 32);
		int32_t *grown = realloc(*ids, bigger * sizeof *grown);
		if (grown == NULL)
			return false;
		*ids = grown;
		*cap = bigger;
	}
	if (n_more > 0)
		memcpy(*ids + *n, more, n_more * sizeof *more);
	*n += n_more;
	return true;
}

/* ---- members ---- */

/* Of a great neighbourhood, those whose ids come next after this home's, around the circle: everybody is dealt with by about as many. */
static size_t choose_members(const hth_pool *pool, const hth_charter *charter, const hth_member **chosen)
{
	size_t n = hth_charter_member_count(charter), first = 0, kept = 0;
	while (first < n && hth_home_id_compare(&hth_charter_member(charter, first)->card.id, &pool->self) <= 0)
		first++;
	for (size_t i = 0; i < n && kept < HTH_POOL_PEERS_MAX; i++) {
		const hth_member *m = hth_charter_member(charter, (first + i) % n);
		if (!hth_home_id_equal(&m->card.id, &pool->self))
			chosen[kept++] = m;
	}
	return kept;
}

void hth_pool_set_members(hth_pool *pool, const hth_charter *charter, uint64_t now_ms)
{
	const hth_member *chosen[HTH_POOL_PEERS_MAX];
	bool member = charter != NULL && hth_charter_find(charter, &pool->self) != NULL;
	size_t n = member ? choose_members(pool, charter, chosen) : 0;
	pool_peer *peers = hth_alloc_array(n, sizeof *peers);
	if (peers == NULL)
		n = 0; /* no memory for neighbours: none */
	for (size_t i = 0; i < n; i++) {
		const pool_peer *old = pool_find_peer(pool, &chosen[i]->card.id);
		peers[i] = old != NULL ? *old : (pool_peer){.id = chosen[i]->card.id, .rtt_s = 0.05};
	}
	pool_peer *before = pool->peers;
	size_t n_before = pool->n_peers;
	pool->peers = peers;
	pool->n_peers = n;
	for (size_t i = 0; i < n; i++)
		pool->peer_keys[i] = peer_key(&peers[i].id);
	if (member) {
		pool->rules = *hth_charter_rules(charter);
		pool->charter_version = hth_charter_version(charter);
	}
	for (size_t i = 0; i < n_before; i++) {
		if (pool_find_peer(pool, &before[i].id) == NULL) {
			pool_works_lost_peer(pool, &before[i].id);
			pool_asks_lost_peer(pool, &before[i].id, now_ms);
		}
	}
	free(before);
	pool->changed = true;
	pool_wake(pool, now_ms);
}

void hth_pool_trust(hth_pool *pool, const hth_home_id *id, bool trusted)
{
	pool_peer *peer = pool_find_peer(pool, id);
	if (peer != NULL)
		peer->trusted = trusted;
}

void hth_pool_each_peer(const hth_pool *pool, uint64_t now_ms, void (*fn)(void *ctx, const hth_pool_peer_view *peer), void *ctx)
{
	for (size_t i = 0; i < pool->n_peers; i++) {
		const pool_peer *p = &pool->peers[i];
		fn(ctx, &(hth_pool_peer_view){.id = &p->id, .record = p->heard ? &p->record : NULL, .standing = &p->standing,
		                              .fresh = p->heard && now_ms < p->heard_ms + HTH_POOL_FRESH_MS, .trusted = p->trusted,
		                              .rtt_s = p->rtt_s});
	}
}

/* ---- the hub ---- */

void hth_pool_set_link(hth_pool *pool, bool up, uint64_t now_ms)
{
	if (pool->no_link == !up)
		return;
	pool->no_link = !up;
	pool->link_ms = now_ms;
	if (up)
		pool_asks_link(pool, now_ms);
}

bool hth_pool_waits(const hth_pool *pool) { return hth_pool_asks(pool) > 0 || hth_pool_works(pool) > 0; }

/* ---- records ---- */

void hth_pool_set_home(hth_pool *pool, const hth_capability *record, double own_wait_s, uint64_t now_ms)
{
	const hth_capability *old = &pool->home;
	/* What would change somebody's choice: whether it lends at all, and whether a slot is free. */
	bool changed = old->lends != record->lends || (old->free_slots == 0) != (record->free_slots == 0) ||
	    old->n_models != record->n_models ||
	               old->slots != record->slots || (record->lends && record->free_slots == 0 &&
	                                               record->queued_tokens > 2 * old->queued_tokens + 1024);
	uint64_t number = pool->home.number;
	pool->home = *record; /* small changes go out with the next record that is due */
	pool->home.number = number;
	pool->own_wait_s = own_wait_s;
	if (changed && !pool->changed) {
		pool->changed = true;
		pool->announce_every_ms = ANNOUNCE_FIRST_MS;
		pool_wake(pool, HTH_MAX(pool->announced_ms + ANNOUNCE_CHANGE_MS, now_ms));
	}
}

static void encode_record(hth_pool *pool)
{
	hth_pool_message m = {.kind = HTH_POOL_RECORD, .record = pool->home};
	m.record.charter_version = pool->charter_version;
	m.record.accepts_neighbours = pool->home.accepts_neighbours && (pool->rules.classes & HTH_CHARTER_NEIGHBOURS);
	m.record.accepts_public = pool->home.accepts_public && (pool->rules.classes & HTH_CHARTER_PUBLIC);
	hth_buf_clear(&pool->out);
	hth_pool_message_encode(&m, &pool->out);
}

void hth_pool_introduce(hth_pool *pool, const hth_home_id *id)
{
	const pool_peer *peer = pool_find_peer(pool, id);
	if (peer == NULL || pool->announced_ms == 0)
		return; /* nobody was told anything yet */
	encode_record(pool);
	if (!pool->out.failed)
		pool->ops.send(pool->ops.ctx, &peer->id, pool->out.data, pool->out.len);
}

static void announce(hth_pool *pool, uint64_t now_ms)
{
	uint64_t due = pool->announced_ms + (pool->changed ? ANNOUNCE_CHANGE_MS : pool->announce_every_ms);
	if (now_ms < due) {
		pool_wake(pool, due);
		return;
	}
	pool->home.number = HTH_MAX(pool->home.number + 1, now_ms); /* grows over restarts, too */
	encode_record(pool);
	for (size_t i = 0; i < pool->n_peers && !pool->out.failed; i++)
		pool->ops.send(pool->ops.ctx, &pool->peers[i].id, pool->out.data, pool->out.len);
	/* The quieter a home is, the less it says. */
	if (!pool->changed)
		pool->announce_every_ms = HTH_MIN(pool->announce_every_ms * 2, (uint64_t)ANNOUNCE_LAST_MS);
	pool->changed = false;
	pool->announced_ms = now_ms;
	pool_wake(pool, now_ms + pool->announce_every_ms);
}

static void on_record(pool_peer *peer, const hth_capability *record, uint64_t now_ms)
{
	if (peer->heard && record->number <= peer->record.number)
		return; /* an old one that arrived late */
	/* What it was measured to be is kept when it says something else of itself. */
	for (size_t i = 0; peer->heard && peer->standing.speed > 0 && i < record->n_models; i++) {
		const hth_pool_model *old = hth_capability_model(&peer->record, record->models[i].hash);
		if (old == NULL || old->decode_tok_s == record->models[i].decode_tok_s)
			continue;
		hth_standing_claims(&peer->standing, record->models[i].decode_tok_s / old->decode_tok_s);
		break;
	}
	peer->record = *record;
	peer->heard = true;
	peer->heard_ms = now_ms;
}

/* ---- messages ---- */

/* Room for as many ids as a message of len bytes can have: most have few. */
static bool make_storage(hth_pool *pool, size_t len)
{
	size_t need = HTH_MIN(len / sizeof(int32_t) + 1, (size_t)HTH_POOL_PREFIX_MAX);
	if (need <= pool->storage_cap)
		return true;
	need = HTH_MIN(HTH_MAX(need, 2 * pool->storage_cap), (size_t)HTH_POOL_PREFIX_MAX);
	int32_t *more = realloc(pool->storage, need * sizeof *more);
	if (more == NULL)
		return false;
	pool->storage = more;
	pool->storage_cap = need;
	return true;
}

void hth_pool_receive(hth_pool *pool, const hth_home_id *from, const void *bytes, size_t len, uint64_t now_ms)
{
	pool_peer *peer = pool_find_peer(pool, from);
	hth_pool_message m;
	if (peer == NULL || !make_storage(pool, len) || hth_pool_message_decode(&m, bytes, len, pool->storage, NULL) != HTH_OK) {
		pool->counts.bad_messages++;
		return;
	}
	switch (m.kind) {
	case HTH_POOL_RECORD: on_record(peer, &m.record, now_ms); break;
	case HTH_POOL_ASK:
	case HTH_POOL_WANT:
	case HTH_POOL_CANCEL: pool_work_message(pool, peer, &m, now_ms); break;
	case HTH_POOL_RECEIPT: pool_ask_receipt(pool, peer, &m.entry, now_ms); break;
	case HTH_POOL_VERDICT: pool_work_verdict(pool, peer, &m.entry, now_ms); break;
	default: pool_ask_message(pool, peer, &m, now_ms); break;
	}
}

uint64_t hth_pool_tick(hth_pool *pool, uint64_t now_ms)
{
	pool->next_ms = UINT64_MAX;
	pool_asks_tick(pool, now_ms);
	pool_works_tick(pool, now_ms);
	if (pool->n_peers > 0)
		announce(pool, now_ms);
	/* A proposal, or its verdict, that was lost with a connection: its job may be long gone, so nothing else would ask again. */
	if (now_ms >= pool->settled_ms + SETTLE_AGAIN_MS) {
		pool->settled_ms = now_ms;
		hth_pool_settle(pool);
	}
	return pool->next_ms;
}
