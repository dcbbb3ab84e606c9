/* street-hub.c - the hub that this home hosts, if it does, who may log in there, and the connection to this or another hub. */
#include "street/street-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <sodium.h>
#include <stdio.h>

/* ---- the hub ---- */

static void on_hub_says(void *ctx, bool bad, const char *line)
{
	hth_street *s = ctx;
	(void)s;
	/* A door that closed, or a neighbour's line that broke: what is worth a look is in `hearth pool status`. */
	static const char *const usual[] = {"authorization", "authentication", "connect to route", "TLS handshake error", "Slow Consumer",
	                                    "Permissions Violation", "Publish Violation", "Subscription Violation"};
	bool routine = false;
	for (size_t i = 0; i < HTH_COUNT(usual); i++)
		routine |= strstr(line, usual[i]) != NULL;
	hth_log(bad && !routine ? HTH_LOG_WARN : HTH_LOG_DEBUG, "hub: %.300s", line);
}

static void on_hub_ready(void *ctx)
{
	hth_street *s = ctx;
	if (s->link != NULL)
		hth_link_retry(s->link);
}

static void member_user(const hth_street *s, const hth_member *m, hth_hub_user *u)
{
	char pool[17];
	const unsigned char *pool_id = hth_charter_pool_id(hth_membership_charter(s->membership));
	sodium_bin2hex(pool, sizeof pool, pool_id, 8);
	*u = (hth_hub_user){.n_publish = 2, .n_subscribe = 2};
	memcpy(u->key, m->card.id.bytes, 32);
	snprintf(u->publish[0], sizeof u->publish[0], "hearth.%s.to.*", pool);
	snprintf(u->publish[1], sizeof u->publish[1], "hearth.%s.guest.*", pool);
	street_subject(pool_id, "to", m->card.id.bytes, u->subscribe[0]);
	street_subject(pool_id, "door", m->card.id.bytes, u->subscribe[1]);
}

void street_hub_users(hth_street *s)
{
	const hth_charter *charter = hth_membership_charter(s->membership);
	hth_error err;
	if (s->hub == NULL || charter == NULL)
		return;
	size_t n = hth_charter_member_count(charter), n_users = 0;
	hth_hub_user *users = hth_alloc_array(n + s->n_doors, sizeof *users);
	if (users == NULL) {
		hth_log(HTH_LOG_ERROR, "no memory for the hub's list of users");
		return;
	}
	for (size_t i = 0; i < n; i++)
		member_user(s, hth_charter_member(charter, i), &users[n_users++]);
	for (size_t i = 0; i < s->n_doors; i++) {
		hth_hub_user *u = &users[n_users++];
		*u = (hth_hub_user){.n_publish = 1, .n_subscribe = 1};
		memcpy(u->key, s->doors[i].key, 32);
		street_subject(hth_charter_pool_id(charter), "door", s->doors[i].inviter.bytes, u->publish[0]);
		street_subject(hth_charter_pool_id(charter), "guest", s->doors[i].key, u->subscribe[0]);
	}
	if (hth_hub_set_users(s->hub, users, n_users, &err) != HTH_OK) {
		hth_log(HTH_LOG_ERROR, "the hub's list of users could not be changed: %s", err.message);
		snprintf(s->hub_trouble, sizeof s->hub_trouble, "%.319s", err.message);
	}
	free(users);
	if (s->hub_external)
		hth_log(HTH_LOG_INFO, "%s has changed: your nats-server must read it again (nats-server --signal reload)", s->snippet);
}

/* Both hubs of a cluster know the same password without ever having sent it: it is made of what only these two homes can compute. */
void street_hub_peer(hth_street *s)
{
	hth_hub_peer peer = {0};
	const street_hub *other = NULL;
	if (s->hub == NULL || s->hub_external)
		return;
	for (size_t i = 0; i < s->n_hubs && other == NULL; i++)
		if (s->hubs[i].certificate_len > 0)
			other = &s->hubs[i];
	const hth_member *m = other != NULL ? hth_membership_find(s->membership, &other->home) : NULL;
	unsigned char shared[32], hash[HTH_HASH_BYTES];
	char host[HTH_LINK_ADDRESS_MAX], port[6];
	if (m != NULL && hth_link_split(other->address, host, port) && hth_identity_agree(s->identity, m->card.box_key, shared)) {
		hth_seal_hash("hearth cluster 1", shared, sizeof shared, hash);
		sodium_memzero(shared, sizeof shared);
		sodium_bin2hex(peer.password, sizeof peer.password, hash, sizeof hash);
		bool six = strchr(host, ':') != NULL;
		snprintf(peer.route, sizeof peer.route, six ? "[%.100s]:%ld" : "%.100s:%ld", host, strtol(port, NULL, 10) + 1);
		memcpy(peer.certificate, other->certificate, other->certificate_len);
		peer.certificate_len = other->certificate_len;
	} else {
		other = NULL;
	}
	hth_hub_set_peer(s->hub, other != NULL ? &peer : NULL);
	sodium_memzero(hash, sizeof hash);
	sodium_memzero(peer.password, sizeof peer.password);
}

hth_status street_hub_start(hth_street *s, hth_error *err)
{
	char folder[4096], name[32], id[HTH_HOME_ID_TEXT];
	if (s->hub_address[0] == '\0' || s->hub != NULL)
		return HTH_OK;
	hth_home_id_text(hth_street_self(s), id);
	snprintf(name, sizeof name, "hearth-%.12s", id);
	snprintf(folder, sizeof folder, "%s/street/hub", s->home);
	HTH_TRY(hth_hub_open(&s->hub, s->options.loop,
	                     &(hth_hub_options){.folder = folder, .address = s->hub_address, .name = name, .program = s->options.program,
	                                        .external = s->hub_external, .says = on_hub_says, .ready = on_hub_ready, .ctx = s}, err));
	s->hub_trouble[0] = '\0';
	snprintf(s->snippet, sizeof s->snippet, "%s/users.conf", folder);
	street_hub_peer(s);
	street_hub_users(s);
	return HTH_OK;
}

hth_status hth_street_host(hth_street *s, const hth_street_hub_choice *hub, const char **ret_snippet, hth_error *err)
{
	if (hth_street_charter(s) == NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is in no neighbourhood: `hearth pool create NAME --listen HOST:PORT`");
	char host[HTH_LINK_ADDRESS_MAX], port[6];
	if (hub->address != NULL && !hth_link_split(hub->address, host, port))
		return hth_fail(err, HTH_INVALID, "'%.100s' is no address of a hub: HOST:PORT, as the neighbours reach it", hub->address);
	/* A hub that is joined to another is not held to the other's lists, so it is not for everybody to have one. */
	const hth_member *self = hth_membership_find(s->membership, hth_street_self(s));
	if (hub->address != NULL && (self == NULL || self->role != HTH_ROLE_KEEPER))
		return hth_fail(err, HTH_DENIED, "only a keeper's home may host a hub: ask a keeper for `hearth pool keeper %s`",
		                self != NULL ? self->name : s->home_name);
	if (hub->address == NULL && s->n_hubs == 0 && hth_charter_member_count(hth_street_charter(s)) > 1)
		return hth_fail(err, HTH_CONFLICT, "this is the neighbourhood's only hub: let another home host one first (`hearth pool "
		                                   "hub --listen HOST:PORT` there)");
	if (hub->address != NULL && s->n_hubs >= 2)
		return hth_fail(err, HTH_CONFLICT,
		                "the neighbourhood has two hubs already, which is all it takes; docs/neighbourhood.md is about regions");
	char before[HTH_LINK_ADDRESS_MAX];
	bool was_external = s->hub_external;
	strcpy(before, s->hub_address);
	hth_hub_close(s->hub);
	s->hub = NULL;
	snprintf(s->hub_address, sizeof s->hub_address, "%s", hub->address != NULL ? hub->address : "");
	s->hub_external = hub->external;
	memcpy(s->hub_fingerprint, hub->fingerprint, sizeof s->hub_fingerprint);
	hth_status status = street_hub_start(s, err);
	if (status == HTH_OK)
		status = street_save(s, err);
	if (status != HTH_OK) {
		hth_error ignored;
		hth_hub_close(s->hub);
		s->hub = NULL;
		strcpy(s->hub_address, before);
		s->hub_external = was_external;
		(void)!street_hub_start(s, &ignored);
		return status;
	}
	*ret_snippet = s->hub_external ? s->snippet : NULL;
	for (size_t i = 0; i < s->n_peers; i++) {
		const hth_member *m = hth_membership_find(s->membership, &s->peers[i].id);
		if (m != NULL && s->peers[i].session != 0)
			street_send_hub(s, m);
	}
	if (s->link != NULL)
		street_aim(s);
	return HTH_OK;
}

bool street_learn_hub(hth_street *s, const hth_home_id *home, const char *address, const unsigned char *fingerprint,
                      const unsigned char *certificate, size_t certificate_len)
{
	char host[HTH_LINK_ADDRESS_MAX], port[6];
	size_t at = 0;
	const hth_member *m = hth_membership_find(s->membership, home);
	if (m == NULL || m->role != HTH_ROLE_KEEPER)
		address = ""; /* not one that counts (any more) */
	if (street_is_self(s, home) || (*address != '\0' && !hth_link_split(address, host, port)))
		return false;
	while (at < s->n_hubs && !hth_home_id_equal(&s->hubs[at].home, home))
		at++;
	if (*address == '\0') {
		if (at == s->n_hubs)
			return false;
		s->hubs[at] = s->hubs[--s->n_hubs];
		return true;
	}
	if (at == STREET_HUBS_MAX)
		return false;
	street_hub *h = &s->hubs[at];
	if (at < s->n_hubs && strcmp(h->address, address) == 0 && memcmp(h->fingerprint, fingerprint, HTH_FINGERPRINT_BYTES) == 0 &&
	    (certificate_len == 0 || (h->certificate_len == certificate_len && memcmp(h->certificate, certificate, certificate_len) == 0)))
		return false;
	if (at == s->n_hubs)
		s->n_hubs++;
	*h = (street_hub){.home = *home};
	snprintf(h->address, sizeof h->address, "%s", address);
	memcpy(h->fingerprint, fingerprint, HTH_FINGERPRINT_BYTES);
	if (certificate_len > 0 && certificate_len <= sizeof h->certificate) {
		memcpy(h->certificate, certificate, certificate_len);
		h->certificate_len = certificate_len;
	}
	return true;
}

void street_close_doors(hth_street *s, uint64_t now_ms)
{
	size_t n = 0, before = s->n_doors;
	hth_error err;
	for (size_t i = 0; i < before; i++)
		if (s->doors[i].expires_ms > now_ms && (s->doors[i].closes_ms == 0 || s->doors[i].closes_ms > now_ms))
			s->doors[n++] = s->doors[i];
	s->n_doors = n;
	if (n == before)
		return;
	if (street_save(s, &err) != HTH_OK)
		hth_log(HTH_LOG_WARN, "a closed invitation is not on disk: %s", err.message);
	street_hub_users(s);
}

/* ---- the connection ---- */

static bool sign_nonce(void *ctx, const void *nonce, size_t len, unsigned char ret_signature[64])
{
	const hth_street *s = ctx;
	return hth_identity_sign_nonce(s->identity, nonce, len, ret_signature);
}

static void on_up(void *ctx, const hth_link_hub *hub)
{
	hth_street *s = ctx;
	s->trouble[0] = '\0';
	hth_log(HTH_LOG_INFO, "connected to the neighbourhood's hub at %s", hub->address);
	for (size_t i = 0; i < HTH_MIN(s->n_peers, (size_t)STREET_HELLOS); i++)
		street_greet(s, &s->peers[i], true);
	if (s->events.connected != NULL)
		s->events.connected(s->events.ctx, true);
	street_guest_progress(s);
}

static void on_down(void *ctx, const hth_link_hub *hub, bool was_up, const hth_error *why)
{
	hth_street *s = ctx;
	bool same = strstr(s->trouble, why->message) != NULL;
	if (hth_membership_charter(s->membership) == NULL) { /* it left: this was its own doing */
		if (was_up && s->events.connected != NULL)
			s->events.connected(s->events.ctx, false);
		return;
	}
	snprintf(s->trouble, sizeof s->trouble, "%.120s: %.190s", hub->address, why->message);
	bool starting = s->hub != NULL && !s->hub_external && !hth_hub_is_running(s->hub); /* it says itself what is wrong with it */
	hth_log(was_up || (!same && !starting) ? HTH_LOG_WARN : HTH_LOG_DEBUG,
	        "no connection to the neighbourhood's hub at %s: %s; trying again", hub->address, why->message);
	if (!was_up)
		return;
	street_egress(s);
	s->told_apart = (hth_link_counts){0}; /* what had not left is lost */
	for (size_t i = 0; i < s->n_peers; i++) {
		if (!s->peers[i].online)
			continue;
		s->peers[i].online = false;
		if (s->events.online != NULL)
			s->events.online(s->events.ctx, &s->peers[i].id, false);
	}
	if (s->events.connected != NULL)
		s->events.connected(s->events.ctx, false);
}

void street_aim(hth_street *s)
{
	hth_link_hub list[1 + STREET_HUBS_MAX];
	size_t n = 0;
	if (s->hub != NULL) {
		/* One that the owner runs may be anywhere; one of ours is on this machine. */
		snprintf(list[n].address, sizeof list[n].address, "%.127s", s->hub_external ? s->hub_address : hth_hub_near(s->hub));
		memcpy(list[n++].fingerprint, s->hub_external ? s->hub_fingerprint : hth_hub_fingerprint(s->hub), HTH_FINGERPRINT_BYTES);
	}
	for (size_t i = 0; i < s->n_hubs; i++) {
		snprintf(list[n].address, sizeof list[n].address, "%s", s->hubs[i].address);
		memcpy(list[n++].fingerprint, s->hubs[i].fingerprint, HTH_FINGERPRINT_BYTES);
	}
	hth_link_set_hubs(s->link, list, n);
}

hth_status street_connect(hth_street *s, hth_error *err)
{
	const unsigned char *pool_id = hth_charter_pool_id(hth_membership_charter(s->membership));
	char subject[HTH_SUBJECT_MAX];
	hth_link_login login = {.sign = sign_nonce, .ctx = s};
	if (s->link != NULL) { /* of a neighbourhood that it left */
		street_egress(s);
		hth_link_close(s->link);
		s->link = NULL;
		s->egress_told = s->told_apart = (hth_link_counts){0};
	}
	memcpy(login.key, hth_street_self(s)->bytes, 32);
	HTH_TRY(hth_link_open(&s->link, s->options.loop, &login, &(hth_link_events){s, on_up, on_down, street_message}, err));
	street_subject(pool_id, "to", hth_street_self(s)->bytes, subject);
	HTH_TRY(hth_link_subscribe(s->link, subject, err));
	street_subject(pool_id, "door", hth_street_self(s)->bytes, subject);
	HTH_TRY(hth_link_subscribe(s->link, subject, err));
	street_aim(s);
	return HTH_OK;
}

void hth_street_told(hth_street *s, uint64_t sent, uint64_t received)
{
	s->told_apart.sent_bytes += sent;
	s->told_apart.received_bytes += received;
}

/* Takes what other rows tell from what this one would; what is still on its way to the wire is taken from the next. */
static uint64_t without(uint64_t bytes, uint64_t *told)
{
	uint64_t n = HTH_MIN(bytes, *told);
	*told -= n;
	return bytes - n;
}

/* What went over the connection, for the owner to see, but for what has rows of its own: words, told with their class, and model files. */
void street_egress(hth_street *s)
{
	hth_link_counts now = hth_link_count(s->link);
	const hth_link_hub *hub = hth_link_current(s->link);
	const hth_charter *charter = hth_membership_charter(s->membership);
	hth_egress e = {.at_unix = hth_clock_unix(), .kind = "pool", .allowed = true};
	s->egress_ms = hth_clock_ms();
	if (hub != NULL)
		strcpy(s->egress_host, hub->address);
	else if (s->egress_host[0] == '\0' && s->trouble[0] != '\0')
		snprintf(s->egress_host, sizeof s->egress_host, "%.*s", (int)strcspn(s->trouble, " "), s->trouble);
	e.sent_bytes = without(now.sent_bytes - s->egress_told.sent_bytes, &s->told_apart.sent_bytes);
	e.received_bytes = without(now.received_bytes - s->egress_told.received_bytes, &s->told_apart.received_bytes);
	s->egress_told = now;
	if (e.sent_bytes == 0 && e.received_bytes == 0)
		return;
	hth_error err;
	snprintf(e.host, sizeof e.host, "%s", s->egress_host);
	snprintf(e.reason, sizeof e.reason, "neighbourhood %s: the connection to its hub, but for what other rows tell",
	         charter != NULL ? hth_charter_name(charter) : "");
	if (hth_store_egress_add(s->store, &e, &err) != HTH_OK)
		hth_log(HTH_LOG_WARN, "the egress log: %s", err.message);
}
