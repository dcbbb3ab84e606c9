/* simulation-members.c - the charters of the simulated streets: homes leave and come back, two keepers admit and remove, often at the
 * same moment and while letters between them are lost; everybody passes on what it goes by, as street/ does.
 *
 * The real membership machine, real signatures. Letters carry charters as objects (their bytes are tested elsewhere). What is
 * checked: an answer is only taken from who is a member as far as this home knows (simulation.c), and when the dust has settled all
 * homes of a street go by one charter, with everybody in it.
 */
#include "simulation-internal.h"

enum { PULSE_MS = 300000, CHANGE_HOURS = 8, LEAVE_HOURS = 96, AT_ONCE_PERCENT = 40, ASK_AGAIN_MS = 5000 };

static size_t first_of(const sim *s, const sim_home *h) { return (size_t)h->street * s->o.street; }
static size_t end_of(const sim *s, const sim_home *h) { return HTH_MIN(first_of(s, h) + s->o.street, s->o.homes); }
static bool is_keeper(const sim *s, const sim_home *h) { return h->index % s->o.street < 2; }
static bool is_in(const sim_home *h) { return hth_membership_find(h->membership, &h->id) != NULL; }

static hth_identity *identity_of(const sim_home *h)
{
	hth_identity *identity = NULL;
	unsigned char seed[HTH_SEED_BYTES] = {0};
	memcpy(seed, &h->secret, sizeof h->secret);
	if (hth_identity_from_seed(&identity, seed, NULL) != HTH_OK)
		abort();
	return identity;
}


/* ---- letters ---- */

typedef struct greeting {
	uint32_t version;
	unsigned char hash[HTH_HASH_BYTES];
} greeting;

static void greet(sim *s, sim_home *from, sim_home *to)
{
	const hth_charter *c = hth_membership_charter(from->membership);
	if (sim_is_cut(from, to))
		return;
	greeting *g = calloc(1, sizeof *g);
	if (c != NULL) { /* else it waits to be let in */
		g->version = hth_charter_version(c);
		memcpy(g->hash, hth_charter_hash(c), HTH_HASH_BYTES);
	}
	sim_push((sim_event){.at = s->now + sim_delay(from, to), .kind = E_HELLO, .home = to->index, .from = from->index, .bytes = (unsigned char *)g});
}

static void send_charter(sim *s, sim_home *from, sim_home *to, const hth_charter *charter)
{
	if (!sim_is_cut(from, to))
		sim_push((sim_event){.at = s->now + sim_delay(from, to), .kind = E_CHARTER, .home = to->index, .from = from->index,
		                     .bytes = (unsigned char *)hth_charter_ref((hth_charter *)(uintptr_t)charter)});
}

typedef struct sending {
	sim *s;
	sim_home *from, *to;
} sending;
static void send_one(void *ctx, const hth_charter *charter)
{
	sending *x = ctx;
	send_charter(x->s, x->from, x->to, charter);
}
static void send_since(sim *s, sim_home *from, sim_home *to, uint32_t version)
{
	sending x = {s, from, to};
	hth_membership_since(from->membership, version, send_one, &x);
}

/* To everybody who was a member, or is one now. */
static void broadcast(sim *s, sim_home *from, const hth_charter *before, const hth_charter *now)
{
	for (size_t i = first_of(s, from); i < end_of(s, from); i++) {
		sim_home *to = &s->homes[i];
		if (to != from && (hth_charter_find(before, &to->id) != NULL || hth_charter_find(now, &to->id) != NULL))
			send_charter(s, from, to, now);
	}
}

/* ---- changes ---- */

static void change(sim *s, sim_home *h, sim_intent intent)
{
	hth_charter *before = hth_charter_ref((hth_charter *)(uintptr_t)hth_membership_charter(h->membership)), *draft = NULL;
	const sim_home *who = &s->homes[intent.who];
	hth_identity *mine = identity_of(h), *theirs = identity_of(who);
	hth_charter_outcome outcome;
	hth_error err = HTH_ERROR_INIT;
	hth_role role = is_keeper(s, who) ? HTH_ROLE_KEEPER : HTH_ROLE_MEMBER;
	hth_status status = (hth_charter_find(before, &who->id) != NULL) == intent.admit ? HTH_NOT_FOUND
	                    : intent.admit ? hth_charter_admit(&draft, before, hth_identity_card(theirs), "home", role, &err)
	                                   : hth_charter_remove(&draft, before, &who->id, &err);
	if (status == HTH_OK && (hth_charter_sign(draft, mine, &err) != HTH_OK || hth_membership_offer(h->membership, draft, &outcome, &err) != HTH_OK ||
	                         outcome != HTH_CHARTER_TAKEN))
		sim_problem("home %u cannot %s home %u: %s", h->index, intent.admit ? "admit" : "remove", intent.who, err.message);
	else if (status == HTH_OK) {
		h->intent = intent;
		s->result->charters++;
		broadcast(s, h, before, draft);
		if (who == h)
			hth_membership_forget(h->membership); /* it has left */
		sim_members_changed(h);
	}
	hth_charter_unref(draft);
	hth_charter_unref(before);
	hth_identity_destroy(mine);
	hth_identity_destroy(theirs);
}

static void keeper_acts(sim *s, sim_home *h)
{
	uint32_t out[STREET_MAX], in[STREET_MAX];
	size_t n_out = 0, n_in = 0;
	const hth_charter *c = hth_membership_charter(h->membership);
	for (size_t i = first_of(s, h); i < end_of(s, h); i++) {
		if (hth_charter_find(c, &s->homes[i].id) == NULL)
			out[n_out++] = (uint32_t)i;
		else if (!is_keeper(s, &s->homes[i]))
			in[n_in++] = (uint32_t)i;
	}
	if (n_out > 0 && (n_in < 3 || sim_unit() < 0.6))
		change(s, h, (sim_intent){true, true, out[sim_between(0, n_out - 1)]});
	else if (n_in > 0)
		change(s, h, (sim_intent){true, false, in[sim_between(0, n_in - 1)]});
}

static void on_change(sim *s, sim_home *h, bool regular)
{
	if (s->now >= s->end)
		return;
	if (h->up && is_in(h))
		keeper_acts(s, h);
	if (!regular)
		return;
	size_t other = first_of(s, h) + (h->index % s->o.street == 0);
	if (other < end_of(s, h) && sim_between(0, 99) < AT_ONCE_PERCENT)
		sim_push((sim_event){.at = s->now, .kind = E_CHANGE, .home = (uint32_t)other});
	sim_push((sim_event){.at = s->now + 1 + (uint64_t)sim_exponential(CHANGE_HOURS * 3600000.0), .kind = E_CHANGE, .home = h->index, .number = 1});
}

static void on_leave(sim *s, sim_home *h)
{
	if (s->now >= s->end)
		return;
	if (h->up && is_in(h))
		change(s, h, (sim_intent){true, false, h->index});
	h->intent.set = false;
	sim_push((sim_event){.at = s->now + 1 + (uint64_t)sim_exponential(LEAVE_HOURS * 3600000.0), .kind = E_LEAVE, .home = h->index});
}

/* ---- what arrives ---- */

static void on_charter(sim *s, sim_home *h, sim_home *from, hth_charter *charter)
{
	const hth_charter *mine = hth_membership_charter(h->membership);
	hth_charter_outcome outcome = HTH_CHARTER_SAME;
	if (mine == NULL || !is_in(h)) { /* it is let in (again) */
		if (hth_charter_find(charter, &h->id) != NULL && (mine == NULL || hth_charter_version(charter) > hth_charter_version(mine))) {
			hth_membership_forget(h->membership);
			if (hth_membership_adopt(h->membership, charter, NULL) != HTH_OK)
				abort();
			sim_members_changed(h);
		}
		return;
	}
	if (hth_membership_offer(h->membership, charter, &outcome, NULL) != HTH_OK)
		return;
	switch (outcome) {
	case HTH_CHARTER_SWITCHED:
	case HTH_CHARTER_TAKEN:
		sim_members_changed(h);
		if (outcome == HTH_CHARTER_SWITCHED) {
			s->result->switched++;
			if (h->intent.set && is_in(h) && is_keeper(s, h))
				change(s, h, h->intent);
		}
		break;
	case HTH_CHARTER_GAP:
		if (s->now >= h->asked_ms + ASK_AGAIN_MS) {
			h->asked_ms = s->now;
			greet(s, h, from);
		}
		break;
	case HTH_CHARTER_KEPT: /* whoever goes by the other one hears of this home's when it greets */
	case HTH_CHARTER_SAME:
	case HTH_CHARTER_PROPOSED: break;
	}
}

static void on_hello(sim *s, sim_home *h, sim_home *from, const greeting *g)
{
	const hth_charter *mine = hth_membership_charter(h->membership);
	if (!is_in(h)) {
		greet(s, h, from); /* whoever greets it has let it in */
		return;
	}
	if (hth_membership_find(h->membership, &from->id) == NULL)
		return; /* a stranger is not answered */
	if (hth_charter_version(mine) < g->version)
		greet(s, h, from);
	else if (memcmp(hth_charter_hash(mine), g->hash, HTH_HASH_BYTES) != 0)
		send_since(s, h, from, g->version);
}

static void on_pulse(sim *s, sim_home *h)
{
	if (h->up && is_in(h)) {
		sim_home *to = &s->homes[sim_between(first_of(s, h), end_of(s, h) - 1)];
		if (to != h && hth_membership_find(h->membership, &to->id) != NULL)
			greet(s, h, to);
	}
	sim_push((sim_event){.at = s->now + PULSE_MS, .kind = E_PULSE, .home = h->index});
}

bool sim_members_event(sim *s, sim_home *h, sim_event *e)
{
	switch ((event_kind)e->kind) {
	case E_CHANGE: on_change(s, h, e->number == 1); return true;
	case E_LEAVE: on_leave(s, h); return true;
	case E_PULSE: on_pulse(s, h); return true;
	case E_HELLO:
		if (h->up)
			on_hello(s, h, &s->homes[e->from], (const greeting *)(const void *)e->bytes);
		free(e->bytes);
		return true;
	case E_CHARTER:
		if (h->up)
			on_charter(s, h, &s->homes[e->from], (hth_charter *)(void *)e->bytes);
		hth_charter_unref((hth_charter *)(void *)e->bytes);
		return true;
	default: return false;
	}
}

/* ---- beginning and end ---- */

void sim_members_begin(sim *s)
{
	for (uint32_t i = 0; i < s->o.homes; i++) {
		sim_home *h = &s->homes[i];
		if (hth_membership_create(&h->membership, &h->id, NULL) != HTH_OK || hth_membership_adopt(h->membership, s->charters[h->street], NULL) != HTH_OK)
			abort();
		if (!s->o.faults)
			continue;
		sim_push((sim_event){.at = s->now + sim_between(0, PULSE_MS), .kind = E_PULSE, .home = i});
		if (is_keeper(s, h))
			sim_push((sim_event){.at = s->now + (uint64_t)sim_exponential(CHANGE_HOURS * 3600000.0), .kind = E_CHANGE, .home = i, .number = 1});
		else
			sim_push((sim_event){.at = s->now + (uint64_t)sim_exponential(LEAVE_HOURS * 3600000.0), .kind = E_LEAVE, .home = i});
	}
}

void sim_members_restore(sim *s)
{
	for (size_t first = 0; first < s->o.homes && s->o.faults; first += s->o.street) {
		sim_home *keeper = &s->homes[first];
		for (size_t i = first; i < end_of(s, keeper) && keeper->up && is_in(keeper); i++)
			if (hth_membership_find(keeper->membership, &s->homes[i].id) == NULL)
				change(s, keeper, (sim_intent){true, true, (uint32_t)i});
	}
}

void sim_members_check(sim *s)
{
	for (size_t i = 0; i < s->o.homes; i++) {
		const sim_home *h = &s->homes[i], *keeper = &s->homes[first_of(s, h)];
		const hth_charter *mine = hth_membership_charter(h->membership), *theirs = hth_membership_charter(keeper->membership);
		if (mine == NULL || memcmp(hth_charter_hash(mine), hth_charter_hash(theirs), HTH_HASH_BYTES) != 0)
			sim_problem("homes %u and %u go by different charters in the end: versions %u and %u", h->index, keeper->index,
			            mine != NULL ? hth_charter_version(mine) : 0, hth_charter_version(theirs));
		else if (!is_in(h))
			sim_problem("home %u is not in its charter in the end", h->index);
	}
}

void sim_members_end(sim *s)
{
	for (size_t i = 0; i < s->n_heap; i++) {
		sim_event *e = &s->events[s->heap[i].place];
		if (e->kind == E_CHARTER)
			hth_charter_unref((hth_charter *)(void *)e->bytes);
		else if (e->kind == E_HELLO)
			free(e->bytes);
	}
	for (size_t i = 0; i < s->o.homes; i++)
		hth_membership_destroy(s->homes[i].membership);
}
