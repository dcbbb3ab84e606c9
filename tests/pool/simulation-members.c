/* simulation-members.c - the charters of the simulated streets: homes leave and come back, two keepers admit and remove, often at the
 * same moment and while letters between them are lost; now and then a street is torn in two for an hour or so, a keeper in each half, and
 * each makes a line of charters of its own. Everybody passes on what it goes by, as street/ does.
 *
 * The real membership machine, real signatures. Letters carry charters as objects (their bytes are tested elsewhere). What is
 * checked: an answer is only taken from who is a member as far as this home knows (simulation.c), and when the dust has settled all
 * homes of a street go by one charter, with everybody in it.
 */
#include "simulation-internal.h"

enum { PULSE_MS = 300000, CHANGE_HOURS = 8, LEAVE_HOURS = 96, AT_ONCE_PERCENT = 40, ASK_AGAIN_MS = 5000, APART_HOURS = 12,
       APART_CHANGES = 8 };

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

static void greet(sim *s, sim_home *from, sim_home *to)
{
	if (sim_is_cut(from, to))
		return;
	hth_charter_standing *g = calloc(1, sizeof *g);
	*g = hth_membership_standing(from->membership); /* of one that waits to be let in: nothing */
	sim_push((sim_event){.at = s->now + sim_delay(from, to), .kind = E_HELLO, .home = to->index, .from = from->index,
	                     .bytes = (unsigned char *)g});
}

static void send_charter(sim *s, sim_home *from, sim_home *to, const hth_charter *charter, bool bridge)
{
	if (!sim_is_cut(from, to))
		sim_push((sim_event){.at = s->now + sim_delay(from, to), .kind = E_CHARTER, .home = to->index, .from = from->index,
		                     .number = bridge,
		                     .bytes = (unsigned char *)hth_charter_ref((hth_charter *)(uintptr_t)charter)});
}

typedef struct sending {
	sim *s;
	sim_home *from, *to;
} sending;
static void send_one(void *ctx, const hth_charter *charter, bool bridge)
{
	sending *x = ctx;
	send_charter(x->s, x->from, x->to, charter, bridge);
}

typedef struct asking {
	size_t n;
	unsigned char known[HTH_KNOWN_MAX][HTH_HASH_BYTES];
} asking;
static void ask(sim *s, sim_home *from, sim_home *to)
{
	if (s->now < from->asked_ms + ASK_AGAIN_MS || sim_is_cut(from, to))
		return;
	from->asked_ms = s->now;
	asking *a = calloc(1, sizeof *a);
	a->n = hth_membership_known(from->membership, a->known);
	sim_push((sim_event){.at = s->now + sim_delay(from, to), .kind = E_ASK, .home = to->index, .from = from->index,
	                     .bytes = (unsigned char *)a});
}

/* To everybody who was a member, or is one now. */
static void broadcast(sim *s, sim_home *from, const hth_charter *before, const hth_charter *now)
{
	for (size_t i = first_of(s, from); i < end_of(s, from); i++) {
		sim_home *to = &s->homes[i];
		if (to != from && (hth_charter_find(before, &to->id) != NULL || hth_charter_find(now, &to->id) != NULL))
			send_charter(s, from, to, now, false);
	}
}

/* ---- changes ---- */

static void mend(sim *s, sim_home *h);

/* It has left, or was removed. What let it in before lets it in no more. */
static void go(sim_home *h)
{
	h->out_since = hth_membership_standing(h->membership).version;
	hth_membership_forget(h->membership);
}

/* Takes the draft. */
static bool make(sim *s, sim_home *h, hth_charter *draft)
{
	hth_charter *before = hth_charter_ref((hth_charter *)(uintptr_t)hth_membership_charter(h->membership));
	hth_identity *mine = identity_of(h);
	hth_charter_outcome outcome;
	hth_error err = HTH_ERROR_INIT;
	bool done = hth_charter_sign(draft, mine, &err) == HTH_OK && hth_membership_offer(h->membership, draft, &outcome, &err) == HTH_OK &&
	            outcome == HTH_CHARTER_TAKEN;
	if (!done)
		sim_problem("home %u cannot change the charter: %s", h->index, err.message);
	s->result->charters += done;
	if (done)
		broadcast(s, h, before, draft);
	hth_charter_unref(draft);
	hth_charter_unref(before);
	hth_identity_destroy(mine);
	return done;
}

static void change(sim *s, sim_home *h, bool admits, const sim_home *who)
{
	const hth_charter *before = hth_membership_base(h->membership);
	hth_charter *draft = NULL;
	hth_identity *theirs = identity_of(who);
	hth_role role = is_keeper(s, who) ? HTH_ROLE_KEEPER : HTH_ROLE_MEMBER;
	if ((hth_charter_find(before, &who->id) != NULL) != admits &&
	    (admits ? hth_charter_admit(&draft, before, hth_identity_card(theirs), "home", role, NULL)
	            : hth_charter_remove(&draft, before, &who->id, NULL)) == HTH_OK &&
	    make(s, h, draft)) {
		if (who == h)
			go(h);
		sim_members_changed(h);
		mend(s, h);
	}
	hth_identity_destroy(theirs);
}

/* As street/ does: keepers make again what their line of charters changed and another one did not. */
static void mend(sim *s, sim_home *h)
{
	if (!is_in(h) || !is_keeper(s, h))
		return;
	hth_charter *removal = hth_membership_unsigned(h->membership);
	if (removal != NULL && make(s, h, hth_charter_ref(removal)))
		s->result->removed_again++;
	const hth_member *lost;
	while ((lost = hth_membership_lost(h->membership, 0)) != NULL) {
		hth_charter *draft = NULL;
		if (hth_charter_admit(&draft, hth_membership_base(h->membership), &lost->card, lost->name, lost->role, NULL) != HTH_OK ||
		    !make(s, h, draft))
			break;
		s->result->admitted_again++;
	}
	sim_members_changed(h);
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
		change(s, h, true, &s->homes[out[sim_between(0, n_out - 1)]]);
	else if (n_in > 0)
		change(s, h, false, &s->homes[in[sim_between(0, n_in - 1)]]);
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
	sim_push((sim_event){.at = s->now + 1 + (uint64_t)sim_exponential(CHANGE_HOURS * 3600000.0), .kind = E_CHANGE, .home = h->index,
	                     .number = 1});
}

static sim *world; /* simulation.c's, whose questions do not bring it */
bool sim_members_apart(const sim_home *from, const sim_home *to)
{
	return world->now < world->apart_until[from->street] && (from->index ^ to->index) % 2 != 0;
}

static void on_apart(sim *s, sim_home *h)
{
	if (s->now >= s->end)
		return;
	uint64_t ms = sim_between(1800000, 7200000);
	s->apart_until[h->street] = s->now + ms;
	for (int i = 0; i < APART_CHANGES; i++) {
		size_t keeper = first_of(s, h) + i % 2;
		if (keeper < end_of(s, h))
			sim_push((sim_event){.at = s->now + sim_between(0, ms), .kind = E_CHANGE, .home = (uint32_t)keeper});
	}
	s->result->torn++;
	sim_push((sim_event){.at = s->now + ms + 1 + (uint64_t)sim_exponential(APART_HOURS * 3600000.0), .kind = E_APART,
	                     .home = h->index});
}

static void on_leave(sim *s, sim_home *h)
{
	if (s->now >= s->end)
		return;
	if (h->up && is_in(h))
		change(s, h, false, h);
	sim_push((sim_event){.at = s->now + 1 + (uint64_t)sim_exponential(LEAVE_HOURS * 3600000.0), .kind = E_LEAVE, .home = h->index});
}

/* ---- what arrives ---- */

static void on_charter(sim *s, sim_home *h, sim_home *from, hth_charter *charter, bool bridge)
{
	const hth_charter *mine = hth_membership_charter(h->membership);
	hth_charter_outcome outcome = HTH_CHARTER_SAME;
	if (mine == NULL) { /* it is let in (again) */
		if (hth_charter_find(charter, &h->id) != NULL && hth_charter_version(charter) > h->out_since) {
			if (hth_membership_adopt(h->membership, charter, NULL) != HTH_OK)
				abort();
			sim_members_changed(h);
		}
		return;
	}
	if (hth_membership_find(h->membership, &from->id) == NULL)
		return; /* a stranger is not listened to */
	if ((bridge ? hth_membership_bridge(h->membership, charter, &outcome, NULL)
	            : hth_membership_offer(h->membership, charter, &outcome, NULL)) != HTH_OK)
		return;
	switch (outcome) {
	case HTH_CHARTER_SWITCHED:
	case HTH_CHARTER_TAKEN:
	case HTH_CHARTER_KEPT:
		s->result->switched += outcome == HTH_CHARTER_SWITCHED;
		if (is_in(h))
			mend(s, h);
		else
			go(h);
		sim_members_changed(h);
		break;
	case HTH_CHARTER_GAP:
		if (!bridge)
			ask(s, h, from);
		break;
	case HTH_CHARTER_SAME:
	case HTH_CHARTER_PROPOSED: break;
	}
}

static void on_hello(sim *s, sim_home *h, sim_home *from, const hth_charter_standing *g)
{
	if (!is_in(h)) {
		greet(s, h, from); /* whoever greets it has let it in */
		return;
	}
	if (hth_membership_find(h->membership, &from->id) == NULL)
		return; /* a stranger is not answered */
	sending x = {s, h, from};
	if (g->version == 0) {
		send_charter(s, h, from, hth_membership_base(h->membership), true); /* it was let in, and has not heard of it */
		return;
	}
	switch (hth_membership_heard(h->membership, g)) {
	case HTH_NEWS_ASK: ask(s, h, from); break;
	case HTH_NEWS_TELL: hth_membership_tell(h->membership, g, send_one, &x); break;
	case HTH_NEWS_NONE: break;
	}
}

static void on_ask(sim *s, sim_home *h, sim_home *from, const asking *a)
{
	sending x = {s, h, from};
	if (is_in(h) && hth_membership_find(h->membership, &from->id) != NULL)
		hth_membership_answer(h->membership, (const unsigned char(*)[HTH_HASH_BYTES])a->known, a->n, send_one, &x);
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
	case E_APART: on_apart(s, h); return true;
	case E_PULSE: on_pulse(s, h); return true;
	case E_HELLO:
		if (h->up)
			on_hello(s, h, &s->homes[e->from], (const hth_charter_standing *)(const void *)e->bytes);
		free(e->bytes);
		return true;
	case E_ASK:
		if (h->up)
			on_ask(s, h, &s->homes[e->from], (const asking *)(const void *)e->bytes);
		free(e->bytes);
		return true;
	case E_CHARTER:
		if (h->up)
			on_charter(s, h, &s->homes[e->from], (hth_charter *)(void *)e->bytes, e->number != 0);
		hth_charter_unref((hth_charter *)(void *)e->bytes);
		return true;
	default: return false;
	}
}

/* ---- beginning and end ---- */

void sim_members_begin(sim *s)
{
	world = s;
	for (uint32_t i = 0; i < s->o.homes; i++) {
		sim_home *h = &s->homes[i];
		if (hth_membership_create(&h->membership, &h->id, NULL) != HTH_OK ||
		    hth_membership_adopt(h->membership, s->charters[h->street], NULL) != HTH_OK)
			abort();
		if (!s->o.faults)
			continue;
		sim_push((sim_event){.at = s->now + sim_between(0, PULSE_MS), .kind = E_PULSE, .home = i});
		if (i % s->o.street == 0)
			sim_push((sim_event){.at = s->now + (uint64_t)sim_exponential(APART_HOURS * 3600000.0), .kind = E_APART,
			                     .home = i});
		if (is_keeper(s, h))
			sim_push((sim_event){.at = s->now + (uint64_t)sim_exponential(CHANGE_HOURS * 3600000.0), .kind = E_CHANGE,
			                     .home = i, .number = 1});
		else
			sim_push((sim_event){.at = s->now + (uint64_t)sim_exponential(LEAVE_HOURS * 3600000.0), .kind = E_LEAVE,
			                     .home = i});
	}
}

void sim_members_restore(sim *s)
{
	for (size_t first = 0; first < s->o.homes && s->o.faults; first += s->o.street) {
		sim_home *keeper = &s->homes[first];
		for (size_t i = first; i < end_of(s, keeper) && keeper->up && is_in(keeper); i++)
			if (hth_membership_find(keeper->membership, &s->homes[i].id) == NULL)
				change(s, keeper, true, &s->homes[i]);
	}
}

/* Every home of a street by the same charter, and in it. */
static bool agrees(const sim *s, const sim_home *h)
{
	const hth_charter *mine = hth_membership_charter(h->membership),
	    *theirs = hth_membership_charter(s->homes[first_of(s, h)].membership);
	return mine != NULL && memcmp(hth_charter_hash(mine), hth_charter_hash(theirs), HTH_HASH_BYTES) == 0 && is_in(h);
}

bool sim_members_agree(const sim *s)
{
	for (size_t i = 0; i < s->o.homes; i++)
		if (!agrees(s, &s->homes[i]))
			return false;
	return true;
}

void sim_members_check(sim *s)
{
	for (size_t i = 0; i < s->o.homes; i++) {
		const sim_home *h = &s->homes[i], *keeper = &s->homes[first_of(s, h)];
		if (!agrees(s, h))
			sim_problem("homes %u and %u go by different charters in the end, or it is not in it: versions %u and %u", h->index,
			            keeper->index, hth_membership_standing(h->membership).version,
			            hth_membership_standing(keeper->membership).version);
	}
}

void sim_members_end(sim *s)
{
	for (size_t i = 0; i < s->n_heap; i++) {
		sim_event *e = &s->events[s->heap[i].place];
		if (e->kind == E_CHARTER)
			hth_charter_unref((hth_charter *)(void *)e->bytes);
		else if (e->kind == E_HELLO || e->kind == E_ASK)
			free(e->bytes);
	}
	for (size_t i = 0; i < s->o.homes; i++)
		hth_membership_destroy(s->homes[i].membership);
}
