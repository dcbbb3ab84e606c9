/* street.c - the neighbourhood's part of the loop: its beginning and end, its pulse, and what others ask of it; see street.h and
 * street-owner.h.
 *
 * Every five seconds or so each member is greeted (a *hello*): that carries this home's session (without which nobody can write to it),
 * measures the round trip, and says which charter it goes by, so that whoever is behind is brought up to date. A member that has not been
 * heard for 15 s is not online. In a neighbourhood of more than 64 each pulse greets the next 64, and silence is counted in as many rounds.
 */
#include "street/street-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

uint64_t street_unix_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool street_is_self(const hth_street *s, const hth_home_id *id) { return hth_home_id_equal(id, &hth_identity_card(s->identity)->id); }
const hth_home_id *hth_street_self(const hth_street *s) { return &hth_identity_card(s->identity)->id; }
const hth_charter *hth_street_charter(const hth_street *s) { return s->leaving ? NULL : hth_membership_charter(s->membership); }

void street_subject(const unsigned char pool_id[HTH_HASH_BYTES], const char *what, const unsigned char id[32],
                    char ret_subject[HTH_SUBJECT_MAX])
{
	char pool[17], home[65];
	sodium_bin2hex(pool, sizeof pool, pool_id, 8);
	sodium_bin2hex(home, sizeof home, id, 32);
	snprintf(ret_subject, HTH_SUBJECT_MAX, "hearth.%s.%s.%s", pool, what, home);
}

street_peer *street_peer_of(const hth_street *s, const hth_home_id *id)
{
	size_t low = 0, high = s->n_peers;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = hth_home_id_compare(&s->peers[mid].id, id);
		if (order == 0)
			return &s->peers[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* ---- the pulse ---- */

static uint64_t hello_ms(const hth_street *s) { return s->options.hello_ms != 0 ? s->options.hello_ms : STREET_HELLO_MS; }

static void beat(hth_street *s)
{
	uint64_t now = hth_clock_ms();
	size_t rounds = (s->n_peers + STREET_HELLOS - 1) / STREET_HELLOS;
	for (size_t i = 0; i < s->n_peers; i++) {
		street_peer *p = &s->peers[i];
		const hth_member *m = hth_membership_find(s->membership, &p->id);
		if (p->letters > STREET_FLOOD && m != NULL && (p->flood_told_ms == 0 || now - p->flood_told_ms > STREET_REJECT_LOG_MS)) {
			hth_log(HTH_LOG_WARN, "%s floods this home with letters (%u in some seconds); `hearth pool remove` ends that",
			        m->name, p->letters);
			p->flood_told_ms = now;
		}
		p->letters = 0;
		if (p->online && now - p->heard_ms > STREET_SILENT_MS * HTH_MAX(rounds, (size_t)1)) {
			p->online = false;
			if (s->events.online != NULL)
				s->events.online(s->events.ctx, &p->id, false);
		}
	}
	for (size_t i = 0; i < HTH_MIN(s->n_peers, (size_t)STREET_HELLOS); i++) {
		street_peer *p = &s->peers[s->next_greeted++ % s->n_peers];
		street_greet(s, p, !p->online || now - p->measured_ms > 6 * hello_ms(s));
	}
}

/* A port that was taken when this node started may be free now: the last node's server may have taken a moment to go. */
static void start_hub(hth_street *s)
{
	hth_error why;
	if (hth_street_charter(s) == NULL || s->hub_address[0] == '\0' || s->hub != NULL)
		return;
	if (street_hub_start(s, &why) != HTH_OK) {
		hth_log(strcmp(s->hub_trouble, why.message) != 0 ? HTH_LOG_WARN : HTH_LOG_DEBUG, "the neighbourhood's hub: %s",
		        why.message);
		snprintf(s->hub_trouble, sizeof s->hub_trouble, "%.319s", why.message);
		return;
	}
	for (size_t i = 0; i < s->n_peers; i++) {
		const hth_member *m = hth_membership_find(s->membership, &s->peers[i].id);
		if (m != NULL && s->peers[i].session != 0)
			street_send_hub(s, m);
	}
	if (s->link != NULL)
		street_aim(s);
}

static void on_tick(void *ctx)
{
	hth_street *s = ctx;
	uint64_t period = hello_ms(s);
	s->knocks = 0;
	start_hub(s);
	hth_timer_start(s->tick, period - period / 5 + randombytes_uniform((uint32_t)(period * 2 / 5 + 1)), 0);
	if (s->link != NULL && hth_link_is_up(s->link))
		beat(s);
	street_close_doors(s, street_unix_ms());
	if (hth_clock_ms() - s->egress_ms >= STREET_EGRESS_MS)
		street_egress(s);
}

/* What may not happen inside a caller's call. */
static void on_soon(void *ctx)
{
	hth_street *s = ctx;
	if (!s->tell_members)
		return;
	s->tell_members = false;
	const hth_charter *charter = hth_street_charter(s);
	if (s->announced == charter && s->told_once)
		return;
	s->told_once = true;
	hth_charter_unref(s->announced);
	s->announced = charter != NULL ? hth_charter_ref((hth_charter *)(uintptr_t)charter) : NULL;
	if (s->events.members != NULL)
		s->events.members(s->events.ctx, charter);
	if (charter != NULL && s->events.trusted != NULL)
		for (size_t i = 0; i < s->n_trust; i++)
			if (hth_charter_find(charter, &s->trust[i]) != NULL)
				s->events.trusted(s->events.ctx, &s->trust[i], true);
}

void street_tell_members_soon(hth_street *s)
{
	s->tell_members = true;
	hth_timer_start(s->soon, 0, 0);
}

/* ---- its beginning and end ---- */

static bool knows(void *ctx, const hth_home_id *sender)
{
	const hth_street *s = ctx;
	return s->at_door || hth_membership_find(s->membership, sender) != NULL || street_guest_knows(s, sender);
}

static void on_farewell(void *ctx)
{
	hth_street *s = ctx;
	street_forget(s, NULL);
}

static hth_status begin(hth_street *s, const hth_street_options *options, hth_error *err)
{
	char folder[4096];
	uint64_t session = 0;
	if ((size_t)snprintf(s->home, sizeof s->home, "%s", options->home) >= sizeof s->home)
		return hth_fail(err, HTH_INVALID, "the path of the home is too long: %s", options->home);
	snprintf(folder, sizeof folder, "%s/street", s->home);
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	HTH_TRY(hth_identity_load(&s->identity, s->home, err));
	while (session == 0)
		hth_seal_random(&session, sizeof session);
	HTH_TRY(hth_membership_create(&s->membership, hth_street_self(s), err));
	HTH_TRY(hth_inbox_create(&s->inbox, s->identity, session, knows, s, err));
	HTH_TRY(hth_store_open(&s->store, s->home, err));
	HTH_TRY(hth_timer_open(&s->tick, options->loop, on_tick, s, err));
	HTH_TRY(hth_timer_open(&s->soon, options->loop, on_soon, s, err));
	HTH_TRY(hth_timer_open(&s->farewell, options->loop, on_farewell, s, err));
	HTH_TRY(street_load(s, err));
	if (s->book == NULL)
		HTH_TRY(hth_invitation_book_create(&s->book, err));
	street_rebuild_peers(s);
	if (hth_street_charter(s) != NULL) {
		/* the power went between knowing it and acting on it */
		if (hth_membership_find(s->membership, hth_street_self(s)) == NULL) {
			street_forget(s, "this home was removed from the neighbourhood");
		} else {
			start_hub(s);
			HTH_TRY(street_connect(s, err));
		}
	}
	street_tell_members_soon(s);
	on_tick(s);
	return HTH_OK;
}

hth_status hth_street_create(hth_street **ret_street, const hth_street_options *options, const hth_street_events *events, hth_error *err)
{
	hth_street *s = calloc(1, sizeof *s);
	if (s == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the neighbourhood");
	s->options = *options;
	s->events = *events;
	s->letter = HTH_BUF_INIT(HTH_LETTER_PAYLOAD_MAX);
	s->sealed = HTH_BUF_INIT(HTH_ENVELOPE_MAX);
	s->egress_ms = hth_clock_ms();
	/* A name with a byte that charters do not take would keep this home out of every neighbourhood. */
	const char *name = options->home_name != NULL ? options->home_name : "";
	size_t len = HTH_MIN(strlen(name), sizeof s->home_name - 1);
	while (len > 0 && !hth_canon_is_text(name, len, sizeof s->home_name))
		len--;
	snprintf(s->home_name, sizeof s->home_name, "%.*s", len > 0 ? (int)len : 4, len > 0 ? name : "home");
	hth_status status = begin(s, options, err);
	if (status != HTH_OK) {
		hth_street_destroy(s);
		return status;
	}
	*ret_street = s;
	return HTH_OK;
}

void hth_street_destroy(hth_street *s)
{
	if (s == NULL)
		return;
	street_guest_drop(s);
	if (s->leaving)
		street_forget(s, NULL);
	if (s->link != NULL)
		street_egress(s);
	hth_link_close(s->link);
	hth_hub_close(s->hub);
	hth_timer_close(s->tick);
	hth_timer_close(s->soon);
	hth_timer_close(s->farewell);
	hth_invitation_book_destroy(s->book);
	hth_inbox_destroy(s->inbox);
	hth_charter_unref(s->announced);
	hth_membership_destroy(s->membership);
	hth_identity_destroy(s->identity);
	hth_store_close(s->store);
	hth_buf_finish(&s->letter);
	hth_buf_finish(&s->sealed);
	free(s->peers);
	free(s->trust);
	free(s);
}

/* ---- what others ask ---- */

static bool is_trusted(const hth_street *s, const hth_home_id *id)
{
	for (size_t i = 0; i < s->n_trust; i++)
		if (hth_home_id_equal(&s->trust[i], id))
			return true;
	return false;
}

void hth_street_each(const hth_street *s, void (*fn)(void *ctx, const hth_street_member *member), void *ctx)
{
	const hth_charter *charter = hth_street_charter(s);
	for (size_t i = 0; charter != NULL && i < hth_charter_member_count(charter); i++) {
		hth_street_member m = {.member = hth_charter_member(charter, i)};
		const street_peer *p = street_peer_of(s, &m.member->card.id);
		m.self = street_is_self(s, &m.member->card.id);
		m.trusted = m.self || is_trusted(s, &m.member->card.id);
		m.online = m.self || (p != NULL && p->online);
		m.rtt_s = p != NULL ? p->rtt_s : 0;
		m.heard_ms = p != NULL ? p->heard_ms : 0;
		fn(ctx, &m);
	}
}

hth_status hth_street_send(hth_street *s, hth_letter_kind kind, const hth_home_id *to, const void *bytes, size_t len, hth_error *err)
{
	const hth_member *m = hth_street_charter(s) != NULL ? hth_membership_find(s->membership, to) : NULL;
	const street_peer *p = m != NULL ? street_peer_of(s, to) : NULL;
	char subject[HTH_SUBJECT_MAX];
	if (p == NULL)
		return hth_fail(err, HTH_NOT_FOUND, "this home is no neighbour");
	if (len > HTH_STREET_PAYLOAD_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "a letter of %zu bytes is over the limit of %d", len, HTH_STREET_PAYLOAD_MAX);
	if (p->session == 0)
		return hth_fail(err, HTH_BUSY, "%s has not been heard since this node started", m->name);
	if (s->link == NULL || !hth_link_is_up(s->link))
		return hth_fail(err, HTH_BUSY, "there is no connection to the neighbourhood's hub now");
	street_subject(hth_charter_pool_id(hth_street_charter(s)), "to", to->bytes, subject);
	return street_post(s, s->link, &m->card, subject, p->session, kind, bytes, len, err);
}

void hth_street_urgent(hth_street *s, bool urgent)
{
	if (s->link != NULL)
		hth_link_urgent(s->link, urgent);
}

/* ---- trust ---- */

hth_status street_who(const hth_street *s, const char *who, const hth_member **ret_member, hth_error *err)
{
	const hth_charter *charter = hth_street_charter(s);
	const hth_member *found = NULL;
	size_t n = 0, len = strlen(who);
	if (charter == NULL)
		return hth_fail(err, HTH_CONFLICT,
		                "this home is in no neighbourhood: `hearth pool create NAME`, or `hearth pool join` with an invitation");
	for (size_t i = 0; i < hth_charter_member_count(charter); i++) {
		const hth_member *m = hth_charter_member(charter, i);
		char id[HTH_HOME_ID_TEXT];
		hth_home_id_text(&m->card.id, id);
		if (strcmp(m->name, who) == 0 || (len >= 4 && len < sizeof id && strncasecmp(id, who, len) == 0)) {
			found = m;
			n++;
		}
	}
	if (n == 0)
		return hth_fail(err, HTH_NOT_FOUND, "no member of %s is called %.63s; `hearth pool status` lists them",
		                hth_charter_name(charter), who);
	if (n > 1)
		return hth_fail(err, HTH_INVALID,
		                "%zu members are called %.63s: give the beginning of the id that `hearth pool status` shows", n, who);
	*ret_member = found;
	return HTH_OK;
}

hth_status hth_street_find(const hth_street *s, const char *who, hth_home_id *ret_id, hth_error *err)
{
	const hth_member *m;
	HTH_TRY(street_who(s, who, &m, err));
	*ret_id = m->card.id;
	return HTH_OK;
}

hth_status hth_street_trust(hth_street *s, const char *who, bool trusted, hth_error *err)
{
	const hth_member *m;
	HTH_TRY(street_who(s, who, &m, err));
	if (street_is_self(s, &m->card.id))
		return hth_fail(err, HTH_INVALID, "%s is this home itself", m->name);
	hth_home_id id = m->card.id;
	if (is_trusted(s, &id) == trusted)
		return HTH_OK;
	hth_home_id *list = hth_alloc_array(s->n_trust + 1, sizeof *list), *before = s->trust;
	if (list == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a mark of trust");
	size_t n = 0, n_before = s->n_trust;
	for (size_t i = 0; i < s->n_trust; i++)
		if (!hth_home_id_equal(&s->trust[i], &id))
			list[n++] = s->trust[i];
	if (trusted)
		list[n++] = id;
	s->trust = list;
	s->n_trust = n;
	hth_status status = street_save(s, err);
	if (status != HTH_OK) {
		s->trust = before;
		s->n_trust = n_before;
		free(list);
		return status;
	}
	free(before);
	if (s->events.trusted != NULL)
		s->events.trusted(s->events.ctx, &id, trusted);
	return HTH_OK;
}

void hth_street_describe(const hth_street *s, hth_street_state *ret)
{
	*ret = (hth_street_state){.rejected = s->rejected};
	const hth_charter *charter = hth_street_charter(s);
	const hth_link_hub *hub = s->link != NULL ? hth_link_current(s->link) : NULL;
	ret->connected = hub != NULL;
	if (hub != NULL)
		strcpy(ret->hub, hub->address);
	ret->hosting = s->hub_address[0] != '\0';
	ret->hub_running = s->hub != NULL && hth_hub_is_running(s->hub);
	const char *of_hub = s->hub != NULL && !s->hub_external && !ret->hub_running ? hth_hub_trouble(s->hub) : s->hub_trouble;
	snprintf(ret->trouble, sizeof ret->trouble, "%s", *of_hub != '\0' ? of_hub : hub == NULL ? s->trouble : "");
	ret->invitations = hth_invitation_book_open(s->book, street_unix_ms());
	for (size_t i = 0; charter != NULL && i < hth_membership_proposal_count(s->membership) && i < HTH_COUNT(ret->proposals); i++) {
		const hth_charter *p = hth_membership_proposal(s->membership, i);
		hth_street_proposal *out = &ret->proposals[ret->n_proposals++];
		sodium_bin2hex(out->hash, sizeof out->hash, hth_charter_hash(p), HTH_HASH_BYTES);
		const char *what = "changes the rules or roles", *name = "";
		for (size_t j = 0; j < hth_charter_member_count(p); j++)
			if (hth_charter_find(charter, &hth_charter_member(p, j)->card.id) == NULL) {
				what = "admits ";
				name = hth_charter_member(p, j)->name;
			}
		for (size_t j = 0; j < hth_charter_member_count(charter); j++)
			if (hth_charter_find(p, &hth_charter_member(charter, j)->card.id) == NULL) {
				what = "removes ";
				name = hth_charter_member(charter, j)->name;
			}
		snprintf(out->what, sizeof out->what, "%s%s", what, name);
	}
	if (charter == NULL)
		return;
	if (ret->hosting) {
		hth_street_hub_state *h = &ret->hubs[ret->n_hubs++];
		strcpy(h->address, s->hub_address);
		h->home = hth_street_self(s);
		h->self = true;
		h->connected = hub != NULL && s->hub != NULL && strcmp(hub->address, hth_hub_near(s->hub)) == 0;
	}
	for (size_t i = 0; i < s->n_hubs; i++) {
		hth_street_hub_state *h = &ret->hubs[ret->n_hubs++];
		strcpy(h->address, s->hubs[i].address);
		h->home = &s->hubs[i].home;
		h->connected = hub != NULL && strcmp(hub->address, s->hubs[i].address) == 0;
	}
}
