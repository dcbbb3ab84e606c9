/* neighbours.c - the pool machine in the daemon: its clock, its letters, its record on disk, and what it tells as events; see neighbours.h.
 *
 * Owns the ledger (replayed from the store at start), the machine and what neighbours said of their models. A letter that is none of the
 * machine's is one of those about descriptions (descriptions.c). Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "charter/member-names.h"
#include "ledger/ledger-store.h"
#include "privacy/privacy.h"
#include "privacy/travel.h"

#include <stdio.h>

enum { TICK_MAX_MS = 3000 };

typedef enum event_kind { ON_TOKENS, ON_ENDED, ON_GO_HOME, ON_FAILED, ON_SERVE, ON_STOP, ON_HOLD, ON_NOW_BY, ON_ALSO_HOME,
                          ON_HOME_STOPS } event_kind;
struct hth_neighbour_event {
	event_kind kind;
	uint64_t number;
	hth_home_id peer;
	bool flag; /* check, held */
	uint8_t finish, stop;
	const char *why;
	hth_pool_run run;
	hth_pool_work work;
	struct hth_neighbour_event *next;
	char bytes[]; /* what run or work points to */
};

uint64_t hth_neighbours_now_ms(const hth_neighbours *nb) { return nb->unix_ms + (hth_clock_ms() - nb->mono_ms); }

const char *hth_neighbours_name(const hth_neighbours *nb, const hth_home_id *id)
{
	const hth_charter *charter = nb->node->street != NULL ? hth_street_charter(nb->node->street) : NULL;
	const hth_member *member = charter != NULL ? hth_charter_find(charter, id) : NULL;
	return member != NULL ? member->name : "a former neighbour";
}

hth_request *hth_neighbours_copy_request(const hth_request *request)
{
	hth_error err;
	hth_request *copy = NULL;
	hth_buf words = HTH_BUF_INIT(HTH_TRAVEL_MAX);
	hth_travel_put(request, &words);
	if (words.failed || hth_travel_get(words.data, words.len, &copy, &err) != HTH_OK)
		copy = NULL;
	if (words.data != NULL)
		explicit_bzero(words.data, words.cap);
	hth_buf_finish(&words);
	if (copy != NULL) {
		memcpy(copy->model, request->model, sizeof copy->model);
		copy->params.context = request->params.context;
		copy->params.keep_alive_s = request->params.keep_alive_s;
		copy->privacy = request->privacy;
	}
	return copy;
}

/* ---- events ---- */

static hth_neighbour_event *add_event(hth_neighbours *nb, event_kind kind, uint64_t number, size_t bytes)
{
	hth_neighbour_event *e = calloc(1, sizeof *e + bytes);
	if (e == NULL) {
		hth_log(HTH_LOG_ERROR, "no memory for a neighbour's letter");
		return NULL; /* what is lost here is found missing by the machine's own time limits */
	}
	e->kind = kind;
	e->number = number;
	*nb->events_end = e;
	nb->events_end = &e->next;
	return e;
}

static void *put_bytes(char **at, const void *from, size_t len)
{
	char *to = *at;
	if (len > 0)
		memcpy(to, from, len);
	*at += (len + 7) & ~(size_t)7;
	return to;
}

static bool on_leaves(void *ctx, uint64_t ask, const hth_home_id *to, size_t words_len, const char *why, bool also)
{
	return hth_borrowing_leaves(ctx, ask, to, words_len, why, also);
}

static void on_tokens(void *ctx, uint64_t ask, const hth_pool_run *run)
{
	hth_neighbour_event *e = add_event(ctx, ON_TOKENS, ask, run->n * 4 + run->text_len + run->tail_len + 24);
	if (e == NULL)
		return;
	char *at = e->bytes;
	e->run = *run;
	e->run.ids = put_bytes(&at, run->ids, run->n * 4);
	e->run.text = put_bytes(&at, run->text, run->text_len);
	e->run.tail = put_bytes(&at, run->tail, run->tail_len);
}

static void on_ended(void *ctx, uint64_t ask, const hth_home_id *by, bool check, uint8_t finish, uint8_t stop)
{
	hth_neighbour_event *e = add_event(ctx, ON_ENDED, ask, 0);
	if (e == NULL)
		return;
	e->peer = *by;
	e->flag = check;
	e->finish = finish;
	e->stop = stop;
}

static void on_go_home(void *ctx, uint64_t ask, size_t n, const char *why)
{
	hth_neighbour_event *e = add_event(ctx, ON_GO_HOME, ask, 0);
	(void)n;
	if (e != NULL)
		e->why = why;
}

static void on_failed(void *ctx, uint64_t ask) { add_event(ctx, ON_FAILED, ask, 0); }

static void on_serve(void *ctx, const hth_pool_work *work)
{
	hth_neighbour_event *e = add_event(ctx, ON_SERVE, work->work, HTH_HASH_BYTES + work->words_len + work->n_prefix * 4 + 24);
	if (e == NULL)
		return;
	char *at = e->bytes;
	e->work = *work;
	e->work.model = put_bytes(&at, work->model, HTH_HASH_BYTES);
	e->work.prefix = put_bytes(&at, work->prefix, work->n_prefix * 4);
	e->work.words = put_bytes(&at, work->words, work->words_len);
}

static void on_stop(void *ctx, uint64_t work) { add_event(ctx, ON_STOP, work, 0); }

static void on_hold(void *ctx, uint64_t work, bool held)
{
	hth_neighbour_event *e = add_event(ctx, ON_HOLD, work, 0);
	if (e != NULL)
		e->flag = held;
}

static void on_now_by(void *ctx, uint64_t ask, const hth_home_id *by)
{
	hth_neighbour_event *e = add_event(ctx, ON_NOW_BY, ask, 0);
	if (e != NULL)
		e->peer = *by;
}

static bool on_also_home(void *ctx, uint64_t ask, size_t n, bool begin)
{
	(void)n;
	if (begin)
		return hth_borrowing_may_begin(ctx, ask) && add_event(ctx, ON_ALSO_HOME, ask, 0) != NULL;
	add_event(ctx, ON_HOME_STOPS, ask, 0);
	return true;
}

static void on_send(void *ctx, const hth_home_id *to, const void *bytes, size_t len)
{
	hth_neighbours *nb = ctx;
	hth_error err;
	/* A letter that is not sent is a letter that is lost: the machine asks again. */
	if (nb->node->street != NULL && hth_street_send(nb->node->street, HTH_LETTER_POOL, to, bytes, len, &err) != HTH_OK)
		hth_log(HTH_LOG_DEBUG, "a letter of %zu bytes to %s was not sent: %s", len, hth_neighbours_name(nb, to), err.message);
}

static void deal_with(hth_neighbours *nb, hth_neighbour_event *e)
{
	switch (e->kind) {
	case ON_TOKENS: hth_borrowing_tokens(nb, e->number, &e->run); break;
	case ON_ENDED: hth_borrowing_ended(nb, e->number, &e->peer, e->flag, e->finish, e->stop); break;
	case ON_GO_HOME: hth_borrowing_go_home(nb, e->number, e->why); break;
	case ON_FAILED: hth_borrowing_failed(nb, e->number); break;
	case ON_SERVE: hth_lending_serve(nb, &e->work); break;
	case ON_STOP: hth_lending_stop(nb, e->number); break;
	case ON_HOLD: hth_lending_hold(nb, e->number, e->flag); break;
	case ON_NOW_BY: hth_borrowing_now_by(nb, e->number, &e->peer); break;
	case ON_ALSO_HOME: hth_borrowing_also_home(nb, e->number); break;
	case ON_HOME_STOPS: hth_borrowing_home_stops(nb, e->number); break;
	}
}

static hth_neighbour_event *take_event(hth_neighbours *nb)
{
	hth_neighbour_event *e = nb->events;
	if (e == NULL)
		return NULL;
	nb->events = e->next;
	if (nb->events == NULL)
		nb->events_end = &nb->events;
	return e;
}

static void free_event(hth_neighbour_event *e)
{
	explicit_bzero(e->bytes, e->run.n * 4 + e->run.text_len + e->work.words_len);
	free(e);
}

void hth_neighbours_settle(hth_neighbours *nb)
{
	if (nb->settling)
		return;
	nb->settling = true;
	for (hth_neighbour_event *e; (e = take_event(nb)) != NULL; free_event(e))
		deal_with(nb, e);
	nb->settling = false;
	if (nb->node->street != NULL)
		hth_street_urgent(nb->node->street, hth_pool_waits(nb->pool));
	uint64_t now = hth_neighbours_now_ms(nb), next = HTH_MIN(hth_pool_next_ms(nb->pool), now + TICK_MAX_MS);
	hth_timer_start(nb->timer, next > now ? next - now : 1, 0);
}

static void on_timer(void *ctx)
{
	hth_neighbours *nb = ctx;
	if (nb->n_members > 1) {
		hth_capacity_refresh(nb, false);
		hth_capacity_tell(nb, NULL);
	}
	hth_pool_tick(nb->pool, hth_neighbours_now_ms(nb));
	hth_neighbours_settle(nb);
	hth_descriptions_tick(nb);
}

/* ---- what the street tells ---- */

static void on_members(void *ctx, const hth_charter *charter)
{
	hth_neighbours *nb = ctx;
	nb->n_members = charter != NULL ? hth_charter_member_count(charter) : 0;
	hth_pool_set_members(nb->pool, charter, hth_neighbours_now_ms(nb));
	hth_standings_apply(nb);
	hth_names_keep(nb->node->config->home, charter);
	if (charter != NULL && hth_charter_member_count(charter) > 1 && (hth_charter_rules(charter)->classes & HTH_CHARTER_PUBLIC))
		hth_privacy_add_audience(HTH_PUBLIC);
	hth_neighbours_settle(nb);
}

static void on_trusted(void *ctx, const hth_home_id *id, bool trusted)
{
	hth_neighbours *nb = ctx;
	hth_pool_trust(nb->pool, id, trusted);
	if (trusted)
		hth_privacy_add_audience(HTH_NEIGHBOURS);
	hth_descriptions_weigh(nb);
}

static void on_letter(void *ctx, hth_letter_kind kind, const hth_home_id *from, const void *bytes, size_t len)
{
	hth_neighbours *nb = ctx;
	hth_description d;
	(void)kind;
	hth_description_letter which = hth_description_decode(&d, bytes, len);
	if (which == HTH_DESCRIBE) {
		hth_descriptions_give(nb, from, d.hash);
		return;
	}
	if (which == HTH_DESCRIBED) {
		hth_descriptions_keep(nb, from, &d);
		return;
	}
	hth_pool_receive(nb->pool, from, bytes, len, hth_neighbours_now_ms(nb));
	hth_neighbours_settle(nb);
	hth_descriptions_ask(nb);
}

static void on_online(void *ctx, const hth_home_id *id, bool online)
{
	hth_neighbours *nb = ctx;
	if (online)
		hth_pool_introduce(nb->pool, id);
}

static void on_connected(void *ctx, bool connected)
{
	hth_neighbours *nb = ctx;
	nb->connected = connected;
	hth_pool_set_link(nb->pool, connected, hth_neighbours_now_ms(nb));
	if (connected)
		hth_pool_settle(nb->pool);
	hth_neighbours_settle(nb);
}

/* ---- what others of the node ask ---- */

typedef struct model_names {
	hth_neighbours *nb;
	const hth_home_id *id;
	json_t *names;
} model_names;

static void add_names(void *ctx, const hth_pool_peer_view *peer)
{
	model_names *l = ctx;
	for (size_t i = 0; hth_home_id_equal(peer->id, l->id) && peer->fresh && i < peer->record->n_models; i++) {
		const hth_own_model *own = hth_capacity_find_hash(l->nb, peer->record->models[i].hash);
		const hth_far_model *far = hth_neighbours_far_model(l->nb, NULL, peer->record->models[i].hash);
		if (far != NULL || own != NULL)
			json_array_append_new(l->names, json_string(far != NULL ? far->info.name : own->name));
	}
}

static json_t *member_models(hth_node *node, const hth_home_id *id)
{
	hth_neighbours *nb = node->neighbours;
	model_names l = {nb, id, json_array()};
	if (id != NULL)
		hth_pool_each_peer(nb->pool, hth_neighbours_now_ms(nb), add_names, &l);
	for (size_t i = 0; id == NULL && i < nb->n_models; i++)
		json_array_append_new(l.names, json_string(nb->models[i].name));
	return l.names;
}

typedef struct offer_search {
	const unsigned char *hash;
	bool found, neighbours, others;
} offer_search;

static void look_for_offer(void *ctx, const hth_pool_peer_view *peer)
{
	offer_search *s = ctx;
	if (!peer->fresh || !peer->record->lends || peer->standing->caught || hth_capability_model(peer->record, s->hash) == NULL)
		return;
	bool for_neighbours = peer->trusted && peer->record->accepts_neighbours;
	s->found |= for_neighbours || peer->record->accepts_public;
	s->neighbours |= for_neighbours;
}

void hth_neighbours_each_model(hth_node *node, void (*fn)(void *ctx, const hth_api_model *model), void *ctx)
{
	hth_neighbours *nb = node->neighbours;
	for (size_t i = 0; nb != NULL && i < nb->n_far; i++) {
		const hth_far_model *far = nb->far[i];
		offer_search s = {.hash = far->hash};
		hth_pool_each_peer(nb->pool, hth_neighbours_now_ms(nb), look_for_offer, &s);
		if (!s.found || far->disputed || hth_capacity_find_hash(nb, far->hash) != NULL ||
		    hth_capacity_find(nb, far->info.name) != NULL)
			continue;
		const hth_far_model *named = hth_neighbours_far_model(nb, far->info.name, NULL);
		if (named == NULL || named != far) /* of two of one name, the one that is asked by it */
			continue;
		fn(ctx, &(hth_api_model){.name = far->info.name, .bytes = far->info.weight_bytes, .modified_unix = far->heard_unix,
		                         .owner = hth_neighbours_name(nb, &far->from), .privacy = s.neighbours ? "neighbours" : "public"});
	}
}

void hth_neighbours_write_metrics(hth_node *node, hth_buf *out)
{
	const hth_neighbours *nb = node->neighbours;
	if (nb == NULL)
		return;
	const hth_pool_counts *c = hth_pool_get_counts(nb->pool);
	const struct {
		const char *name, *help;
		uint64_t value;
	} all[] = {{"hearth_neighbours_asked_total", "Requests, or the rest of one, that a neighbour was asked for.", c->asked},
	           {"hearth_neighbours_refused_total", "Times that a neighbour refused.", c->refused},
	           {"hearth_neighbours_left_total", "Times that a neighbour was left in the middle of an answer.", c->failed_over},
	           {"hearth_neighbours_silent_total", "Of those, because it fell silent.", c->silent},
	           {"hearth_neighbours_slow_total", "Of those, because it became too slow.", c->slow},
	           {"hearth_neighbours_hedged_total", "Late answers that were begun a second time, elsewhere or at home.", c->hedged},
	           {"hearth_neighbours_hedges_won_total", "Of those, where the second was faster.", c->hedges_won},
	           {"hearth_neighbours_came_home_total", "Requests that went on at home.", c->came_home},
	           {"hearth_neighbours_borrowed_total", "Requests that neighbours answered.", nb->counts.borrowed},
	           {"hearth_neighbours_borrowed_tokens_total", "Tokens that neighbours made.", nb->counts.borrowed_tokens},
	           {"hearth_neighbours_lent_total", "Requests of neighbours that were taken.", nb->counts.lent},
	           {"hearth_neighbours_lent_tokens_total", "Tokens that were made for neighbours.", nb->counts.lent_tokens},
	           {"hearth_neighbours_preempted_total", "Neighbours' requests that gave way to this home's own.", c->preempted},
	           {"hearth_neighbours_checks_total", "Answers of neighbours that were weighed.", nb->counts.checks},
	           {"hearth_neighbours_checked_tokens_total", "Tokens of those.", nb->counts.checked_tokens},
	           {"hearth_neighbours_misses_total", "Of those, tokens that this home would not have chosen.", nb->counts.misses},
	           {"hearth_neighbours_bad_letters_total", "Letters that made no sense.", c->bad_messages}};
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		hth_buf_appendf(out, "# HELP %s %s\n# TYPE %s counter\n%s %llu\n", all[i].name, all[i].help, all[i].name, all[i].name,
		                (unsigned long long)all[i].value);
}

static void write_peer(void *ctx, const hth_pool_peer_view *p)
{
	static const hth_capability none;
	hth_buf *out = ((void **)ctx)[0];
	const hth_neighbours *nb = ((void **)ctx)[1];
	const hth_capability *r = p->record != NULL ? p->record : &none;
	const char *name = hth_neighbours_name(nb, p->id);
	hth_buf_append_str(out, out->data[out->len - 1] == '[' ? "{\"name\":" : ",{\"name\":");
	hth_json_write_string(name, strlen(name), out);
	hth_buf_appendf(out, ",\"heard\":%s,\"trusted\":%s,\"lends\":%s,\"slots\":%u,\"free_slots\":%u,\"models\":%u,\"rtt_ms\":%.1f,"
	                     "\"speed\":%.2f,\"caught\":%s,\"why\":",
	                p->fresh ? "true" : "false", p->trusted ? "true" : "false", r->lends ? "true" : "false", r->slots, r->free_slots,
	                r->n_models,
	                p->rtt_s * 1000, p->standing->speed, p->standing->caught ? "true" : "false");
	const char *why = hth_neighbours_not_believed(nb->node, p->id);
	if (why != NULL)
		hth_json_write_string(why, strlen(why), out);
	else
		hth_buf_append_str(out, "null");
	hth_buf_append_str(out, "}");
}

void hth_neighbours_write_status(hth_node *node, hth_buf *out)
{
	const hth_neighbours *nb = node->neighbours;
	if (nb == NULL) {
		hth_buf_append_str(out, "null");
		return;
	}
	hth_buf_appendf(out, "{\"asked\":%zu,\"serving\":%zu,\"lends\":%s,\"homes\":[", hth_pool_asks(nb->pool), hth_pool_works(nb->pool),
	                nb->node->config->pool_lend ? "true" : "false");
	hth_pool_each_peer(nb->pool, hth_neighbours_now_ms(nb), write_peer, (void *[]){out, (void *)(uintptr_t)nb});
	hth_buf_append_str(out, "]}");
}

/* ---- life ---- */

static hth_status start(hth_neighbours *nb, hth_error *err)
{
	hth_node *node = nb->node;
	HTH_TRY(hth_identity_load(&nb->identity, node->config->home, err));
	HTH_TRY(hth_store_open(&nb->store, node->config->home, err));
	const hth_home_id *self = &hth_identity_card(nb->identity)->id;
	HTH_TRY(hth_ledger_create(&nb->ledger, self, hth_signer_of(nb->identity), hth_ledger_disk_of(nb->store), err));
	hth_ledger_summary summary;
	HTH_TRY(hth_ledger_load(nb->ledger, nb->store, &summary, err));
	const hth_pool_ops ops = {nb, on_send, on_leaves, on_tokens, on_ended, on_go_home, on_failed, on_serve, on_stop, on_hold, on_now_by,
	                          on_also_home};
	HTH_TRY(hth_pool_create(&nb->pool, self, &ops, nb->ledger, &nb->rng, err));
	HTH_TRY(hth_timer_open(&nb->timer, node->loop, on_timer, nb, err));
	HTH_TRY(hth_timer_open(&nb->send_timer, node->loop, hth_lending_send_due, nb, err));
	return hth_timer_open(&nb->yield_timer, node->loop, hth_neighbours_own_still, node, err);
}

hth_status hth_neighbours_create(hth_neighbours **ret_neighbours, hth_node *node, hth_error *err)
{
	hth_neighbours *nb = calloc(1, sizeof *nb);
	if (nb == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for neighbours");
	uint64_t seed;
	nb->node = node;
	nb->events_end = &nb->events;
	nb->mono_ms = hth_clock_ms();
	nb->unix_ms = (uint64_t)hth_clock_unix() * 1000;
	hth_seal_random(&seed, sizeof seed);
	hth_rng_seed(&nb->rng, seed);
	hth_status status = start(nb, err);
	if (status != HTH_OK) {
		hth_neighbours_destroy(nb);
		return status;
	}
	hth_capacity_load(nb);
	hth_standings_load(nb);
	node->lending_events = (hth_street_events){.ctx = nb, .members = on_members, .trusted = on_trusted, .letter = on_letter,
	                                           .connected = on_connected, .online = on_online};
	node->member_models = member_models;
	hth_timer_start(nb->timer, 1, 0);
	*ret_neighbours = nb;
	return HTH_OK;
}

void hth_neighbours_destroy(hth_neighbours *nb)
{
	if (nb == NULL)
		return;
	nb->settling = nb->closing = true; /* nothing is dealt with any more */
	if (nb->pool != NULL) {
		hth_borrowing_finish(nb);
		hth_lending_finish(nb);
		hth_spot_check_finish(nb);
		if (nb->warming != NULL)
			hth_request_cancel(nb->warming);
		hth_capacity_save(nb);
	}
	for (hth_neighbour_event *e; nb->pool != NULL && (e = take_event(nb)) != NULL;)
		free_event(e);
	hth_timer_close(nb->timer);
	hth_timer_close(nb->yield_timer);
	hth_timer_close(nb->send_timer);
	hth_pool_destroy(nb->pool);
	hth_ledger_destroy(nb->ledger);
	hth_store_close(nb->store);
	hth_identity_destroy(nb->identity);
	for (size_t i = 0; i < nb->n_far; i++)
		free(nb->far[i]);
	for (size_t i = 0; i < nb->n_models; i++)
		free(nb->models[i].info);
	free(nb->speeds);
	nb->node->lending_events = (hth_street_events){0};
	nb->node->member_models = NULL;
	free(nb);
}
