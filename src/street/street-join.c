/* street-join.c - letting somebody in, and being let in.
 *
 * An invitation's secret makes the *door*: an Ed25519 key that the hub lets in as long as the invitation is out, to publish on the
 * inviter's door and to hear on the guest's own subject, and nothing else. Through it the guest sends its application, sealed to the
 * inviter's key out of the line, with the secret inside; the inviter redeems that from its book (on disk before anything else), changes the
 * charter, and sends it back. The guest takes a charter only from the inviter and only of the neighbourhood that the line names, keeps it,
 * and connects anew as a member.
 */
#include "street/street-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <sodium.h>
#include <stdio.h>

enum { JOIN_MS = 25000, KNOCK_EVERY_MS = 2000, SETTLE_MS = 6000, DENIALS_MAX = 6 };
_Static_assert(crypto_sign_SEEDBYTES == HTH_HASH_BYTES, "a hash is a seed");

struct street_guest {
	hth_street *street;
	hth_invitation invitation;
	hth_card inviter;
	unsigned char key[32], secret[crypto_sign_SECRETKEYBYTES];
	char subject[HTH_SUBJECT_MAX], door[HTH_SUBJECT_MAX];
	hth_link *link;
	hth_timer *timer, *limit;
	hth_street_joined_fn fn;
	void *ctx;
	bool admitted, waiting, ended, has_why;
	unsigned denials;
	hth_error why;
};

static void door_key(const unsigned char secret[HTH_SECRET_BYTES], unsigned char ret_key[32],
                     unsigned char ret_secret[crypto_sign_SECRETKEYBYTES])
{
	unsigned char seed[HTH_HASH_BYTES];
	hth_seal_hash("hearth door 1", secret, HTH_SECRET_BYTES, seed);
	crypto_sign_seed_keypair(ret_key, ret_secret, seed);
	sodium_memzero(seed, sizeof seed);
}

/* ---- the inviter ---- */

hth_status hth_street_invite(hth_street *s, uint32_t expires_s, char ret_line[HTH_INVITATION_LINE_MAX], uint64_t *ret_expires_ms,
                             hth_error *err)
{
	const hth_charter *charter = hth_street_charter(s);
	unsigned char secret[crypto_sign_SECRETKEYBYTES];
	uint64_t now = street_unix_ms();
	if (charter == NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is in no neighbourhood: `hearth pool create NAME` first");
	if (expires_s > HTH_STREET_EXPIRES_MAX_S)
		return hth_fail(err, HTH_INVALID, "an invitation is good for 30 days at most");
	hth_invitation invitation = {.inviter = *hth_identity_card(s->identity),
	                             .expires_ms = now + (uint64_t)(expires_s > 0 ? expires_s : HTH_STREET_EXPIRES_S) * 1000};
	memset(invitation.inviter.signature, 0, sizeof invitation.inviter.signature);
	if (s->hub != NULL && !s->hub_external && !hth_hub_is_running(s->hub) && *hth_hub_trouble(s->hub) != '\0')
		return hth_fail(err, HTH_BUSY, "this home's hub does not run, so nobody could come: %.300s", hth_hub_trouble(s->hub));
	if (s->hub != NULL) {
		snprintf(invitation.hub, sizeof invitation.hub, "%s", s->hub_address);
		memcpy(invitation.fingerprint, s->hub_external ? s->hub_fingerprint : hth_hub_fingerprint(s->hub), 32);
	} else {
		const hth_link_hub *hub = s->link != NULL ? hth_link_current(s->link) : NULL;
		if (hub == NULL && s->hub_trouble[0] != '\0')
			return hth_fail(err, HTH_BUSY, "this home's hub does not run: %s", s->hub_trouble);
		if (hub == NULL)
			return hth_fail(err, HTH_BUSY,
			                "there is no connection to the neighbourhood's hub now, which must know of an invitation");
		snprintf(invitation.hub, sizeof invitation.hub, "%s", hub->address);
		memcpy(invitation.fingerprint, hub->fingerprint, 32);
	}
	if (s->n_doors == STREET_DOORS_MAX)
		return hth_fail(err, HTH_BUSY, "%d invitations are out already: wait until one expires, or `hearth pool revoke`",
		                STREET_DOORS_MAX);
	hth_seal_random(invitation.secret, sizeof invitation.secret);
	memcpy(invitation.pool_id, hth_charter_pool_id(charter), HTH_HASH_BYTES);
	snprintf(invitation.pool_name, sizeof invitation.pool_name, "%s", hth_charter_name(charter));
	hth_status status = hth_invitation_write(&invitation, ret_line, err);
	if (status == HTH_OK)
		status = hth_invitation_book_add(s->book, invitation.secret, invitation.expires_ms, now, err);
	if (status == HTH_OK) {
		street_door *d = &s->doors[s->n_doors++];
		*d = (street_door){.inviter = *hth_street_self(s), .expires_ms = invitation.expires_ms};
		door_key(invitation.secret, d->key, secret);
		status = street_save(s, err);
	}
	*ret_expires_ms = invitation.expires_ms;
	sodium_memzero(secret, sizeof secret);
	sodium_memzero(&invitation, sizeof invitation);
	if (status != HTH_OK)
		return status;
	street_hub_users(s);
	for (size_t i = 0; i < s->n_hubs; i++) {
		const hth_member *m = hth_membership_find(s->membership, &s->hubs[i].home);
		if (m != NULL)
			street_send_doors(s, m);
	}
	return HTH_OK;
}

hth_status hth_street_revoke(hth_street *s, hth_error *err)
{
	size_t n = 0;
	hth_invitation_book_revoke(s->book);
	for (size_t i = 0; i < s->n_doors; i++)
		if (!street_is_self(s, &s->doors[i].inviter))
			s->doors[n++] = s->doors[i];
	s->n_doors = n;
	HTH_TRY(street_save(s, err));
	street_hub_users(s);
	for (size_t i = 0; i < s->n_hubs; i++) {
		const hth_member *m = hth_membership_find(s->membership, &s->hubs[i].home);
		if (m != NULL)
			street_send_doors(s, m);
	}
	return HTH_OK;
}

/* The door closes a little after it was used: the answer may have to be asked for again. */
static void used(hth_street *s, const unsigned char key[32], uint64_t now)
{
	for (size_t i = 0; i < s->n_doors; i++)
		if (memcmp(s->doors[i].key, key, 32) == 0 && s->doors[i].closes_ms == 0)
			s->doors[i].closes_ms = now + STREET_DOOR_GRACE_MS;
}

static void answer(hth_street *s, const hth_card *to, const char *subject, uint64_t session)
{
	hth_error err;
	if (s->link == NULL || street_post(s, s->link, to, subject, session, HTH_LETTER_STREET, s->letter.data, s->letter.len,
	                                   &err) != HTH_OK)
		hth_log(HTH_LOG_DEBUG, "a guest is not answered: %s", s->link == NULL ? "no connection" : err.message);
}

static void welcome(hth_street *s, const hth_card *to, const char *subject, uint64_t session)
{
	const hth_charter *charter = hth_membership_base(s->membership);
	hth_buf bytes = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX);
	hth_charter_encode(charter, &bytes);
	street_begin(s, STREET_WELCOME);
	hth_canon_put_blob(&s->letter, bytes.data, bytes.len);
	s->letter.failed |= bytes.failed;
	hth_buf_finish(&bytes);
	hth_canon_put_u8(&s->letter, (uint8_t)((s->hub != NULL) + s->n_hubs));
	if (s->hub != NULL) {
		hth_canon_put_bytes(&s->letter, hth_street_self(s)->bytes, 32);
		hth_canon_put_text(&s->letter, s->hub_address);
		hth_canon_put_bytes(&s->letter, s->hub_external ? s->hub_fingerprint : hth_hub_fingerprint(s->hub), HTH_FINGERPRINT_BYTES);
	}
	for (size_t i = 0; i < s->n_hubs; i++) {
		hth_canon_put_bytes(&s->letter, s->hubs[i].home.bytes, 32);
		hth_canon_put_text(&s->letter, s->hubs[i].address);
		hth_canon_put_bytes(&s->letter, s->hubs[i].fingerprint, HTH_FINGERPRINT_BYTES);
	}
	answer(s, to, subject, session);
}

static hth_status let_in(hth_street *s, const unsigned char *secret, const unsigned char key[32], const hth_card *card, const char *name,
                         bool *ret_done, hth_error *err)
{
	uint64_t now = street_unix_ms();
	HTH_TRY(hth_invitation_book_redeem(s->book, secret, &card->id, now, err));
	used(s, key, now);
	HTH_TRY(street_save(s, err)); /* before the guest is told, and before the charter changes */
	*ret_done = true;
	if (hth_membership_find(s->membership, &card->id) != NULL)
		return HTH_OK;
	for (size_t i = 0; i < hth_membership_proposal_count(s->membership); i++)
		if (hth_charter_find(hth_membership_proposal(s->membership, i), &card->id) != NULL) {
			*ret_done = false; /* it waits already */
			for (size_t j = 0; j < s->n_doors; j++)
				if (memcmp(s->doors[j].key, key, 32) == 0)
					s->doors[j].closes_ms = 0;
			return HTH_OK;
		}
	HTH_TRY(street_admit(s, card, name, ret_done, err));
	if (*ret_done)
		hth_log(HTH_LOG_INFO, "%s has joined %s", name, hth_charter_name(hth_membership_charter(s->membership)));
	return HTH_OK;
}

void street_knocked(hth_street *s, const hth_opened *letter, hth_canon_reader *r)
{
	unsigned char secret[HTH_SECRET_BYTES], key[32], key_secret[crypto_sign_SECRETKEYBYTES];
	char name[HTH_MEMBER_NAME_MAX], subject[HTH_SUBJECT_MAX];
	hth_card card;
	hth_error err;
	bool done = false;
	hth_canon_get_bytes(r, secret, sizeof secret);
	hth_card_get(r, &card);
	hth_canon_get_text(r, name, sizeof name);
	uint64_t session = hth_canon_get_u64(r);
	if (!hth_canon_end(r) || session == 0 || !hth_home_id_equal(&card.id, &letter->sender)) {
		hth_fail(&err, HTH_BAD_FORMAT, "an application does not follow the format");
		street_reject(s, &err);
		return;
	}
	door_key(secret, key, key_secret);
	sodium_memzero(key_secret, sizeof key_secret);
	street_subject(hth_charter_pool_id(hth_membership_charter(s->membership)), "guest", key, subject);
	hth_status status = let_in(s, secret, key, &card, name, &done, &err);
	sodium_memzero(secret, sizeof secret);
	if (status == HTH_OK && done) {
		welcome(s, &card, subject, session);
		return;
	}
	street_begin(s, status == HTH_OK ? STREET_WAIT : STREET_REFUSED);
	if (status != HTH_OK) {
		hth_canon_put_text(&s->letter, err.message);
		hth_log(HTH_LOG_WARN, "somebody was not let in: %s", err.message);
	}
	answer(s, &card, subject, session);
}

/* ---- the guest ---- */

bool street_guest_knows(const hth_street *s, const hth_home_id *id)
{
	return s->guest != NULL && hth_home_id_equal(id, &s->guest->inviter.id);
}
const char *street_guest_subject(const hth_street *s) { return s->guest != NULL && !s->guest->admitted ? s->guest->subject : NULL; }

/* Tells whoever asked, and is taken down by the timer: what calls this may stand in the guest's link. */
void street_guest_end(hth_street *s, const hth_error *why_not)
{
	street_guest *g = s->guest;
	if (!g->ended) {
		g->ended = true;
		g->has_why = why_not != NULL;
		if (why_not != NULL)
			g->why = *why_not;
		if (g->timer != NULL)
			hth_timer_start(g->timer, 0, 0);
	}
}

static void free_guest(street_guest *g)
{
	hth_link_close(g->link);
	hth_timer_close(g->timer);
	hth_timer_close(g->limit);
	sodium_memzero(g, sizeof *g);
	free(g);
}

void street_guest_drop(hth_street *s)
{
	if (s->guest != NULL)
		free_guest(s->guest);
	s->guest = NULL;
}

static void finish(hth_street *s)
{
	street_guest *g = s->guest;
	hth_street_joined_fn fn = g->fn;
	void *ctx = g->ctx;
	hth_error why = g->why;
	bool failed = g->has_why;
	s->guest = NULL;
	free_guest(g);
	if (fn != NULL)
		fn(ctx, failed ? &why : NULL);
}

static void knock(street_guest *g)
{
	hth_street *s = g->street;
	hth_error err;
	street_begin(s, STREET_JOIN);
	hth_canon_put_bytes(&s->letter, g->invitation.secret, HTH_SECRET_BYTES);
	hth_card_put(&s->letter, hth_identity_card(s->identity));
	hth_canon_put_text(&s->letter, s->home_name);
	hth_canon_put_u64(&s->letter, hth_inbox_session(s->inbox));
	if (street_post(s, g->link, &g->inviter, g->door, 0, HTH_LETTER_STREET, s->letter.data, s->letter.len, &err) != HTH_OK)
		hth_log(HTH_LOG_DEBUG, "knocking failed: %s", err.message);
	sodium_memzero(s->letter.data, s->letter.len);
}

/* Is a member; waits a little for its first neighbour, so that it can be shown. */
void street_guest_progress(hth_street *s)
{
	street_guest *g = s->guest;
	if (g == NULL || !g->admitted || g->ended)
		return;
	const street_peer *p = street_peer_of(s, &g->inviter.id);
	if (p == NULL || p->online)
		street_guest_end(s, NULL);
}

static void on_guest_timer(void *ctx)
{
	street_guest *g = ctx;
	hth_street *s = g->street;
	if (g->ended) {
		finish(s);
		return;
	}
	if (g->admitted) {
		if (g->link != NULL) {
			hth_error err;
			hth_link_close(g->link);
			g->link = NULL;
			hth_timer_start(g->timer, SETTLE_MS, 0);
			if (street_connect(s, &err) != HTH_OK)
				street_guest_end(s, &err);
			return;
		}
		street_guest_end(s, NULL); /* a member without a neighbour in sight */
		finish(s);
		return;
	}
	hth_timer_start(g->timer, KNOCK_EVERY_MS, 0);
	if (hth_link_is_up(g->link))
		knock(g);
}

static void on_limit(void *ctx)
{
	street_guest *g = ctx;
	hth_error err;
	if (g->ended || g->admitted)
		return;
	if (g->waiting)
		hth_fail(&err, HTH_TIMEOUT,
		         "the invitation is good, but a keeper of %s has to agree: ask for `hearth pool approve` there, then join again "
		         "with the same line", g->invitation.pool_name);
	else
		hth_fail(&err, HTH_TIMEOUT,
		         "%s does not answer%s%.200s: is the home that invited you running, %s reachable from here, and the clock right on "
		         "both?", g->invitation.pool_name, g->why.message[0] != '\0' ? " - " : "", g->why.message, g->invitation.hub);
	street_guest_end(g->street, &err);
}

static void on_guest_up(void *ctx, const hth_link_hub *hub)
{
	street_guest *g = ctx;
	(void)hub;
	knock(g);
	hth_timer_start(g->timer, KNOCK_EVERY_MS, 0);
}

static void on_guest_down(void *ctx, const hth_link_hub *hub, bool was_up, const hth_error *why)
{
	street_guest *g = ctx;
	hth_error err;
	(void)hub;
	g->why = *why;
	if (g->admitted || g->ended)
		return;
	if (why->status == HTH_UNAUTHORIZED) {
		hth_fail(&err, HTH_DENIED, "%s is not the hub that the invitation means: %.300s", g->invitation.hub, why->message);
		street_guest_end(g->street, &err);
	} else if (why->status == HTH_DENIED && (was_up || ++g->denials >= DENIALS_MAX)) {
		hth_fail(&err, HTH_DENIED,
		         "the invitation is not good any more: it was used, taken back, or has expired. Ask for a new one");
		street_guest_end(g->street, &err);
	}
}

static void on_guest_message(void *ctx, const char *subject, const void *bytes, size_t len)
{
	street_message(((street_guest *)ctx)->street, subject, bytes, len);
}

static bool sign_door(void *ctx, const void *nonce, size_t len, unsigned char ret_signature[64])
{
	const street_guest *g = ctx;
	return crypto_sign_detached(ret_signature, NULL, nonce, len, g->secret) == 0;
}

static hth_status take_welcome(hth_street *s, hth_canon_reader *r, hth_error *err)
{
	street_guest *g = s->guest;
	size_t len;
	const unsigned char *bytes = hth_canon_get_blob(r, HTH_CHARTER_BYTES_MAX, &len);
	street_hub hubs[8] = {0};
	size_t n = hth_canon_get_u8(r);
	if (n > HTH_COUNT(hubs))
		r->failed = true;
	for (size_t i = 0; i < n && !r->failed; i++) {
		hth_canon_get_bytes(r, hubs[i].home.bytes, 32);
		hth_canon_get_text(r, hubs[i].address, sizeof hubs[i].address);
		hth_canon_get_bytes(r, hubs[i].fingerprint, HTH_FINGERPRINT_BYTES);
	}
	hth_charter *charter;
	if (!hth_canon_end(r))
		return hth_fail(err, HTH_BAD_FORMAT, "the inviting home's answer does not follow the format");
	HTH_TRY(hth_charter_decode(&charter, bytes, len, err));
	hth_status status;
	if (memcmp(hth_charter_pool_id(charter), g->invitation.pool_id, HTH_HASH_BYTES) != 0)
		status = hth_fail(err, HTH_BAD_FORMAT, "the inviting home answered with another neighbourhood's charter");
	else
		status = hth_membership_adopt(s->membership, charter, err);
	hth_charter_unref(charter);
	if (status != HTH_OK)
		return status;
	const hth_charter *now = hth_membership_charter(s->membership);
	s->n_hubs = s->n_trust = s->n_doors = 0;
	for (size_t i = 0; i < n; i++)
		if (hth_charter_find(now, &hubs[i].home) != NULL)
			(void)street_learn_hub(s, &hubs[i].home, hubs[i].address, hubs[i].fingerprint, NULL, 0);
	if (s->n_hubs == 0)
		status = hth_fail(err, HTH_BAD_FORMAT, "the inviting home names no hub that a keeper hosts");
	else
		status = street_save(s, err);
	if (status != HTH_OK) {
		hth_membership_forget(s->membership);
		s->n_hubs = 0;
		return status;
	}
	street_rebuild_peers(s);
	street_tell_members_soon(s);
	return HTH_OK;
}

void street_answered(hth_street *s, street_verb verb, const hth_opened *letter, hth_canon_reader *r)
{
	street_guest *g = s->guest;
	hth_error err;
	if (!hth_home_id_equal(&letter->sender, &g->inviter.id) || g->admitted || g->ended)
		return;
	if (verb == STREET_WAIT) {
		g->waiting = true;
		return;
	}
	if (verb == STREET_REFUSED) {
		char text[400];
		hth_canon_get_text(r, text, sizeof text);
		hth_fail(&err, HTH_DENIED, "%s", hth_canon_end(r) ? text : "the invitation was refused");
		street_guest_end(s, &err);
		return;
	}
	hth_status status = take_welcome(s, r, &err);
	if (status != HTH_OK) {
		street_guest_end(s, &err);
		return;
	}
	g->admitted = true;
	s->trouble[0] = '\0';
	hth_timer_start(g->timer, 0, 0); /* this stands in the guest's link; it is closed from the timer */
}

void hth_street_join_forget(hth_street *s, void *ctx)
{
	if (s->guest != NULL && s->guest->ctx == ctx)
		s->guest->fn = NULL;
}

hth_status hth_street_join(hth_street *s, const char *line, hth_street_joined_fn fn, void *ctx, hth_error *err)
{
	hth_invitation invitation;
	HTH_TRY(hth_invitation_read(&invitation, line, street_unix_ms(), err));
	if (hth_membership_charter(s->membership) != NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is in the neighbourhood %s already: `hearth pool leave` first",
		                hth_charter_name(hth_membership_charter(s->membership)));
	if (s->guest != NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is joining a neighbourhood just now");
	if (street_is_self(s, &invitation.inviter.id))
		return hth_fail(err, HTH_INVALID, "this invitation is this home's own: it is for another one");
	street_guest *g = calloc(1, sizeof *g);
	if (g == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to join a neighbourhood");
	g->street = s;
	g->invitation = invitation;
	g->inviter = invitation.inviter;
	g->fn = fn;
	g->ctx = ctx;
	door_key(invitation.secret, g->key, g->secret);
	street_subject(invitation.pool_id, "guest", g->key, g->subject);
	street_subject(invitation.pool_id, "door", invitation.inviter.id.bytes, g->door);
	hth_link_login login = {.sign = sign_door, .ctx = g};
	memcpy(login.key, g->key, 32);
	hth_link_hub hub;
	strcpy(hub.address, invitation.hub);
	memcpy(hub.fingerprint, invitation.fingerprint, sizeof hub.fingerprint);
	hth_status status = hth_link_open(&g->link, s->options.loop, &login,
	                                  &(hth_link_events){g, on_guest_up, on_guest_down, on_guest_message}, err);
	if (status == HTH_OK)
		status = hth_link_subscribe(g->link, g->subject, err);
	if (status == HTH_OK)
		status = hth_timer_open(&g->timer, s->options.loop, on_guest_timer, g, err);
	if (status == HTH_OK)
		status = hth_timer_open(&g->limit, s->options.loop, on_limit, g, err);
	if (status != HTH_OK) {
		free_guest(g);
		return status;
	}
	s->guest = g;
	hth_timer_start(g->timer, KNOCK_EVERY_MS, 0);
	hth_timer_start(g->limit, JOIN_MS, 0);
	hth_link_set_hubs(g->link, &hub, 1);
	return HTH_OK;
}
