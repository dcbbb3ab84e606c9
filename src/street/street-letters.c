/* street-letters.c - sealing what goes out, opening what comes in, and the small letters of the pulse.
 *
 * What comes in is believed in this order: the envelope (seal/envelope.h) says who wrote it and that it is new; the charter says whether
 * that home is a member now; a letter that does not name this start's session may be an old one, and only greets, asks to be let in, or
 * brings a charter, whose signatures speak for themselves.
 */
#include "street/street-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <sodium.h>
#include <stdio.h>

/* ---- out ---- */

void street_begin(hth_street *s, street_verb verb)
{
	hth_buf_clear(&s->letter);
	hth_canon_put_u8(&s->letter, (uint8_t)verb);
}

hth_status street_post(hth_street *s, hth_link *link, const hth_card *to, const char *subject, uint64_t session, hth_letter_kind kind,
                       const void *bytes, size_t len, hth_error *err)
{
	HTH_AUTO_FREE unsigned char *payload = malloc(len + 1);
	if (payload == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a letter");
	payload[0] = (unsigned char)kind;
	if (len > 0)
		memcpy(payload + 1, bytes, len);
	uint64_t now = street_unix_ms();
	const hth_letter letter = {.subject = subject, .issued_ms = now, .expires_ms = now + STREET_LETTER_LIFE_MS, .session = session,
	                           .payload = payload,
	                           .len = len + 1};
	hth_buf_clear(&s->sealed);
	hth_status status = hth_envelope_seal(&s->sealed, s->identity, to, &letter, err);
	sodium_memzero(payload, len + 1); /* it may be somebody's words */
	if (status != HTH_OK)
		return status;
	return hth_link_send(link, subject, s->sealed.data, s->sealed.len, err);
}

void street_post_letter(hth_street *s, const hth_member *to)
{
	char subject[HTH_SUBJECT_MAX];
	hth_error err;
	const street_peer *p = street_peer_of(s, &to->card.id);
	if (s->link == NULL || !hth_link_is_up(s->link) || street_is_self(s, &to->card.id))
		return;
	if (hth_buf_check(&s->letter, "a letter", &err) != HTH_OK) {
		hth_log(HTH_LOG_WARN, "a letter to %s is not sent: %s", to->name, err.message);
		return;
	}
	street_subject(hth_charter_pool_id(hth_membership_charter(s->membership)), "to", to->card.id.bytes, subject);
	if (street_post(s, s->link, &to->card, subject, p != NULL ? p->session : 0, HTH_LETTER_STREET, s->letter.data, s->letter.len,
	                &err) != HTH_OK)
		hth_log(HTH_LOG_DEBUG, "a letter to %s is not sent: %s", to->name, err.message);
}

void street_greet(hth_street *s, street_peer *p, bool wants_answer)
{
	const hth_member *m = hth_membership_find(s->membership, &p->id);
	const hth_charter_standing standing = hth_membership_standing(s->membership);
	uint64_t now_us = hth_clock_ns() / 1000;
	if (m == NULL)
		return;
	street_begin(s, STREET_HELLO);
	hth_canon_put_u64(&s->letter, hth_inbox_session(s->inbox));
	hth_canon_put_bool(&s->letter, wants_answer);
	hth_canon_put_u64(&s->letter, now_us);
	hth_canon_put_u64(&s->letter, p->ping_in);
	hth_canon_put_u32(&s->letter, p->ping_in != 0 ? (uint32_t)HTH_MIN(now_us - p->ping_in_us, (uint64_t)UINT32_MAX) : 0);
	hth_canon_put_u32(&s->letter, standing.version);
	hth_canon_put_bytes(&s->letter, standing.hash, HTH_HASH_BYTES);
	hth_canon_put_u64(&s->letter, standing.removals);
	p->greeted_ms = hth_clock_ms();
	p->ping_in = 0; /* answered once */
	street_post_letter(s, m);
}

void street_send_charter(hth_street *s, const hth_member *to, const hth_charter *charter, bool bridge)
{
	hth_buf bytes = HTH_BUF_INIT(HTH_CHARTER_BYTES_MAX);
	hth_charter_encode(charter, &bytes);
	street_begin(s, STREET_CHARTER);
	hth_canon_put_blob(&s->letter, bytes.data, bytes.len);
	s->letter.failed |= bytes.failed;
	hth_buf_finish(&bytes);
	hth_canon_put_bool(&s->letter, bridge);
	street_post_letter(s, to);
}

void street_ask(hth_street *s, street_peer *p)
{
	unsigned char known[HTH_KNOWN_MAX][HTH_HASH_BYTES];
	const hth_member *m = hth_membership_find(s->membership, &p->id);
	if (m == NULL || (p->asked_ms != 0 && hth_clock_ms() < p->asked_ms + STREET_HELLO_MS))
		return;
	p->asked_ms = hth_clock_ms();
	size_t n = hth_membership_known(s->membership, known);
	street_begin(s, STREET_ASK);
	hth_canon_put_u8(&s->letter, (uint8_t)n);
	hth_canon_put_bytes(&s->letter, known, n * sizeof *known);
	street_post_letter(s, m);
}

void street_broadcast(hth_street *s, const hth_charter *charter, const hth_charter *also)
{
	const hth_charter *current = hth_membership_charter(s->membership);
	for (size_t i = 0; i < hth_charter_member_count(current); i++)
		street_send_charter(s, hth_charter_member(current, i), charter, false);
	for (size_t i = 0; also != NULL && i < hth_charter_member_count(also); i++)
		if (hth_charter_find(current, &hth_charter_member(also, i)->card.id) == NULL)
			street_send_charter(s, hth_charter_member(also, i), charter, false);
}

void street_send_hub(hth_street *s, const hth_member *to)
{
	size_t len = 0;
	const unsigned char *der = s->hub != NULL && !s->hub_external ? hth_hub_certificate(s->hub, &len) : NULL;
	const unsigned char *fingerprint = s->hub != NULL && !s->hub_external ? hth_hub_fingerprint(s->hub) : s->hub_fingerprint;
	if (s->hub_address[0] != '\0' && !s->hub_external && s->hub == NULL)
		return; /* it could not be opened: nobody can use it */
	street_begin(s, STREET_HUB);
	hth_canon_put_text(&s->letter, s->hub_address);
	hth_canon_put_bytes(&s->letter, fingerprint, HTH_FINGERPRINT_BYTES);
	hth_canon_put_blob(&s->letter, der, len);
	street_post_letter(s, to);
}

void street_send_doors(hth_street *s, const hth_member *to)
{
	size_t n = 0;
	street_begin(s, STREET_DOOR);
	size_t at = s->letter.len;
	hth_canon_put_u8(&s->letter, 0);
	for (size_t i = 0; i < s->n_doors; i++) {
		if (!street_is_self(s, &s->doors[i].inviter) || n == 64)
			continue;
		hth_canon_put_bytes(&s->letter, s->doors[i].key, 32);
		hth_canon_put_u64(&s->letter, s->doors[i].closes_ms != 0 ? s->doors[i].closes_ms : s->doors[i].expires_ms);
		n++;
	}
	if (!s->letter.failed)
		s->letter.data[at] = (char)n;
	street_post_letter(s, to);
}

/* ---- in ---- */

void street_reject(hth_street *s, const hth_error *why)
{
	uint64_t now = hth_clock_ms();
	s->rejected++;
	hth_log(HTH_LOG_DEBUG, "a letter is not believed: %s", why->message);
	if (s->rejected_told_ms != 0 && now - s->rejected_told_ms < STREET_REJECT_LOG_MS)
		return;
	if (s->rejected_told_ms != 0 || s->rejected >= 16) { /* the odd one is weather: a restart, a late letter */
		hth_log(HTH_LOG_WARN, "%llu letters were not believed and not read, the last one because: %s",
		        (unsigned long long)(s->rejected - s->rejected_told), why->message);
		s->rejected_told = s->rejected;
		s->rejected_told_ms = now;
	}
}

static void come_online(hth_street *s, street_peer *p)
{
	p->heard_ms = hth_clock_ms();
	if (p->online)
		return;
	p->online = true;
	const hth_member *m = hth_membership_find(s->membership, &p->id);
	if (m != NULL) {
		street_send_hub(s, m); /* also that there is none (any more): what hosted one may not have been able to say so then */
		if (s->n_doors > 0)
			street_send_doors(s, m);
	}
	if (s->events.online != NULL)
		s->events.online(s->events.ctx, &p->id, true);
	street_guest_progress(s);
}

typedef struct sending {
	hth_street *s;
	const hth_member *to;
} sending;
static void send_one(void *ctx, const hth_charter *charter, bool bridge)
{
	sending *to = ctx;
	street_send_charter(to->s, to->to, charter, bridge);
}

static void take_hello(hth_street *s, street_peer *p, const hth_opened *letter, hth_canon_reader *r)
{
	hth_charter_standing theirs;
	uint64_t session = hth_canon_get_u64(r);
	bool wants_answer = hth_canon_get_bool(r);
	uint64_t ping = hth_canon_get_u64(r), pong = hth_canon_get_u64(r), delay = hth_canon_get_u32(r);
	theirs.version = hth_canon_get_u32(r);
	hth_canon_get_bytes(r, theirs.hash, sizeof theirs.hash);
	theirs.removals = hth_canon_get_u64(r);
	if (!hth_canon_end(r) || session == 0)
		return;
	uint64_t now_us = hth_clock_ns() / 1000;
	bool renewed = false;
	/* An old greeting, held back by the hub, must not bring back an old session. */
	if (letter->issued_ms >= p->session_issued_ms) {
		renewed = session != p->session;
		p->session = session;
		p->session_issued_ms = letter->issued_ms;
		p->ping_in = ping;
		p->ping_in_us = now_us;
	}
	double rtt = (double)now_us / 1e6 - (double)pong / 1e6 - (double)delay / 1e6;
	if (pong != 0 && !letter->no_session && rtt > 0 && rtt < 60) {
		p->rtt_s = p->rtt_s == 0 || rtt < p->rtt_s ? rtt : p->rtt_s + (rtt - p->rtt_s) / 8;
		p->measured_ms = hth_clock_ms();
	}
	if (wants_answer || renewed || letter->no_session)
		street_greet(s, p, renewed || p->session == 0 || letter->no_session);
	if (renewed && s->events.online != NULL)
		s->events.online(s->events.ctx, &p->id, true); /* it restarted, and knows nothing of what it was told before */
	const hth_member *m = hth_membership_find(s->membership, &p->id);
	switch (m != NULL ? hth_membership_heard(s->membership, &theirs) : HTH_NEWS_NONE) {
	case HTH_NEWS_ASK: street_ask(s, p); break;
	case HTH_NEWS_TELL:
		if (p->told_ms != 0 && hth_clock_ms() < p->told_ms + STREET_HELLO_MS)
			break;
		p->told_ms = hth_clock_ms();
		hth_membership_tell(s->membership, &theirs, send_one, &(sending){s, m});
		break;
	case HTH_NEWS_NONE: break;
	}
}

static void take_ask(hth_street *s, const street_peer *p, hth_canon_reader *r)
{
	unsigned char known[HTH_KNOWN_MAX][HTH_HASH_BYTES];
	const hth_member *m = hth_membership_find(s->membership, &p->id);
	size_t n = hth_canon_get_u8(r);
	for (size_t i = 0; i < n && i < HTH_KNOWN_MAX; i++)
		hth_canon_get_bytes(r, known[i], HTH_HASH_BYTES);
	if (hth_canon_end(r) && m != NULL)
		hth_membership_answer(s->membership, (const unsigned char(*)[HTH_HASH_BYTES])known, n, send_one, &(sending){s, m});
}

static void take_hub(hth_street *s, const street_peer *p, hth_canon_reader *r)
{
	char address[HTH_LINK_ADDRESS_MAX];
	unsigned char fingerprint[HTH_FINGERPRINT_BYTES];
	size_t len;
	hth_canon_get_text(r, address, sizeof address);
	hth_canon_get_bytes(r, fingerprint, sizeof fingerprint);
	const unsigned char *der = hth_canon_get_blob(r, HTH_HUB_CERTIFICATE_MAX, &len);
	if (!hth_canon_end(r) || !street_learn_hub(s, &p->id, address, fingerprint, der, len))
		return;
	hth_error err;
	if (street_save(s, &err) != HTH_OK)
		hth_log(HTH_LOG_WARN, "a hub's address is not kept: %s", err.message);
	street_hub_peer(s);
	if (s->link != NULL)
		street_aim(s);
}

static void take_doors(hth_street *s, const street_peer *p, hth_canon_reader *r)
{
	street_door doors[64];
	size_t n = hth_canon_get_u8(r), kept = 0;
	uint64_t now = street_unix_ms();
	if (n > HTH_COUNT(doors) || s->hub_address[0] == '\0')
		return;
	for (size_t i = 0; i < n; i++) {
		doors[i] = (street_door){.inviter = p->id};
		hth_canon_get_bytes(r, doors[i].key, 32);
		doors[i].expires_ms = hth_canon_get_u64(r);
		doors[i].expires_ms = HTH_MIN(doors[i].expires_ms, now + (uint64_t)HTH_STREET_EXPIRES_MAX_S * 1000);
	}
	if (!hth_canon_end(r))
		return;
	for (size_t i = 0; i < s->n_doors; i++) /* the letter names all that this member has open */
		if (!hth_home_id_equal(&s->doors[i].inviter, &p->id))
			s->doors[kept++] = s->doors[i];
	s->n_doors = kept;
	for (size_t i = 0; i < n && s->n_doors < STREET_DOORS_MAX; i++)
		if (doors[i].expires_ms > now)
			s->doors[s->n_doors++] = doors[i];
	hth_error err;
	if (street_save(s, &err) != HTH_OK)
		hth_log(HTH_LOG_WARN, "an invitation is not kept: %s", err.message);
	street_hub_users(s);
}

static void take_street(hth_street *s, const hth_opened *letter, const unsigned char *bytes, size_t len)
{
	hth_canon_reader r = hth_canon_read(bytes, len);
	street_verb verb = (street_verb)hth_canon_get_u8(&r);
	street_peer *p = street_peer_of(s, &letter->sender);
	if (verb == STREET_WELCOME || verb == STREET_REFUSED || verb == STREET_WAIT) {
		if (!letter->no_session && s->guest != NULL)
			street_answered(s, verb, letter, &r);
		return;
	}
	if (p == NULL)
		return;
	if (!letter->no_session)
		come_online(s, p);
	size_t blob_len;
	bool bridge;
	const unsigned char *blob;
	switch (verb) {
	case STREET_HELLO: take_hello(s, p, letter, &r); break;
	case STREET_CHARTER:
		blob = hth_canon_get_blob(&r, HTH_CHARTER_BYTES_MAX, &blob_len);
		bridge = hth_canon_get_bool(&r);
		if (hth_canon_end(&r))
			street_offered(s, &letter->sender, blob, blob_len, bridge);
		break;
	case STREET_ASK:
		if (!letter->no_session)
			take_ask(s, p, &r);
		break;
	case STREET_HUB:
		if (!letter->no_session)
			take_hub(s, p, &r);
		break;
	case STREET_DOOR:
		if (!letter->no_session)
			take_doors(s, p, &r);
		break;
	default: break; /* of a later version of this program */
	}
}

static void take_letter(hth_street *s, const hth_opened *letter)
{
	if (letter->len < 1)
		return;
	hth_letter_kind kind = (hth_letter_kind)letter->payload[0];
	street_peer *p = street_peer_of(s, &letter->sender);
	if (p != NULL)
		p->letters++;
	if (kind == HTH_LETTER_STREET) {
		/* What it leads to may open the next letter in the same memory. */
		HTH_AUTO_FREE unsigned char *copy = malloc(letter->len);
		if (copy == NULL)
			return;
		memcpy(copy, letter->payload, letter->len);
		take_street(s, letter, copy + 1, letter->len - 1);
		return;
	}
	if (p == NULL || letter->no_session || s->leaving || (kind != HTH_LETTER_POOL && kind != HTH_LETTER_BLOCKS))
		return;
	come_online(s, p);
	if (s->events.letter != NULL)
		s->events.letter(s->events.ctx, kind, &letter->sender, letter->payload + 1, letter->len - 1);
}

/* Somebody at the door. Opening costs a little, and anybody with an invitation may knock: a few at a time. */
static void take_knock(hth_street *s, const char *subject, const void *bytes, size_t len)
{
	enum { KNOCKS_MAX = 32, KNOCK_MAX = 4096 };
	hth_opened letter;
	hth_error err;
	if (++s->knocks > KNOCKS_MAX || len > KNOCK_MAX)
		return;
	s->at_door = true;
	hth_status status = hth_inbox_open(s->inbox, subject, bytes, len, street_unix_ms(), &letter, &err);
	s->at_door = false;
	if (status != HTH_OK) {
		street_reject(s, &err);
		return;
	}
	unsigned char copy[KNOCK_MAX];
	memcpy(copy, letter.payload, letter.len);
	hth_canon_reader r = hth_canon_read(copy, letter.len);
	if (hth_canon_get_u8(&r) == HTH_LETTER_STREET && hth_canon_get_u8(&r) == STREET_JOIN)
		street_knocked(s, &letter, &r);
}

void street_message(void *ctx, const char *subject, const void *bytes, size_t len)
{
	hth_street *s = ctx;
	const hth_charter *charter = hth_membership_charter(s->membership);
	char mine[HTH_SUBJECT_MAX], door[HTH_SUBJECT_MAX];
	hth_opened letter;
	hth_error err;
	if (charter != NULL) {
		street_subject(hth_charter_pool_id(charter), "to", hth_street_self(s)->bytes, mine);
		street_subject(hth_charter_pool_id(charter), "door", hth_street_self(s)->bytes, door);
		if (strcmp(subject, door) == 0) {
			if (hth_invitation_book_open(s->book, street_unix_ms()) > 0 || s->n_doors > 0)
				take_knock(s, subject, bytes, len);
			return;
		}
	}
	const char *guest = street_guest_subject(s);
	if ((charter == NULL || strcmp(subject, mine) != 0) && (guest == NULL || strcmp(subject, guest) != 0))
		return;
	if (hth_inbox_open(s->inbox, subject, bytes, len, street_unix_ms(), &letter, &err) != HTH_OK) {
		street_reject(s, &err);
		return;
	}
	take_letter(s, &letter);
}
