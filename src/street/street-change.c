/* street-change.c - the charter changes: by this home, by others, by two at once; and everything that follows from it.
 *
 * The order is always the same: the machine of charter/ decides, the disk holds it, then the hub, the neighbours and the rest of this node
 * are told.
 */
#include "street/street-internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <sodium.h>
#include <stdio.h>

void street_rebuild_peers(hth_street *s)
{
	const hth_charter *charter = hth_membership_charter(s->membership);
	size_t n = charter != NULL ? hth_charter_member_count(charter) : 0, at = 0;
	street_peer *list = hth_alloc_array(n, sizeof *list);
	if (list == NULL) {
		hth_log(HTH_LOG_ERROR, "no memory for the list of neighbours");
		n = 0;
	}
	for (size_t i = 0; i < n; i++) {
		const hth_home_id *id = &hth_charter_member(charter, i)->card.id;
		const street_peer *known = street_peer_of(s, id);
		if (street_is_self(s, id))
			continue;
		list[at] = known != NULL ? *known : (street_peer){.id = *id};
		at++;
	}
	free(s->peers);
	s->peers = list;
	s->n_peers = at;
}

/* Whoever is out has no hub (nor who is no keeper any more), no door and, if it comes back, no trust that it was given before. */
static void drop_strangers(hth_street *s, const hth_charter *before, const hth_charter *now)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_hubs; i++) {
		const hth_member *m = hth_charter_find(now, &s->hubs[i].home);
		if (m != NULL && m->role == HTH_ROLE_KEEPER)
			s->hubs[n++] = s->hubs[i];
	}
	s->n_hubs = n;
	n = 0;
	for (size_t i = 0; i < s->n_doors; i++)
		if (hth_charter_find(now, &s->doors[i].inviter) != NULL)
			s->doors[n++] = s->doors[i];
	s->n_doors = n;
	n = 0;
	for (size_t i = 0; i < s->n_trust; i++)
		if (hth_charter_find(now, &s->trust[i]) != NULL)
			s->trust[n++] = s->trust[i];
	s->n_trust = n;
	for (size_t i = 0; before != NULL && i < hth_charter_member_count(before); i++) {
		const hth_home_id *id = &hth_charter_member(before, i)->card.id;
		if (hth_charter_find(now, id) == NULL)
			(void)hth_invitation_book_spend(s->book, id);
	}
}

static hth_status follow_charter(hth_street *s, hth_charter *before, hth_error *err)
{
	const hth_charter *charter = hth_membership_charter(s->membership);
	if (hth_charter_find(charter, hth_street_self(s)) == NULL) {
		street_forget(s, "this home was removed from the neighbourhood");
		return HTH_OK;
	}
	drop_strangers(s, before, charter);
	street_rebuild_peers(s);
	hth_status status = street_save(s, err);
	/* The charter counts all the same: to go on with a removed member would be worse than to ask for it again after a restart. */
	if (status != HTH_OK)
		hth_log(HTH_LOG_ERROR, "the charter's version %u is not on disk: %s", hth_charter_version(charter), err->message);
	street_hub_users(s);
	street_hub_peer(s);
	if (s->link != NULL)
		street_aim(s);
	hth_log(HTH_LOG_INFO, "%s has %zu member%s now (version %u of its charter)", hth_charter_name(charter),
	        hth_charter_member_count(charter), hth_charter_member_count(charter) == 1 ? "" : "s", hth_charter_version(charter));
	street_tell_members_soon(s);
	street_guest_progress(s);
	return status;
}

void street_forget(hth_street *s, const char *why)
{
	const hth_charter *charter = hth_membership_charter(s->membership);
	if (charter == NULL)
		return;
	hth_log(HTH_LOG_INFO, "this home is not in the neighbourhood %s any more%s%s", hth_charter_name(charter),
	        why != NULL ? ": " : "", why != NULL ? why : "");
	snprintf(s->trouble, sizeof s->trouble, "%s", why != NULL ? why : "");
	hth_timer_stop(s->farewell);
	if (s->link != NULL)
		street_egress(s);
	/* The link may be what brought this here: it is closed when nobody stands in it. */
	if (s->link != NULL)
		hth_link_set_hubs(s->link, NULL, 0);
	hth_hub_close(s->hub);
	s->hub = NULL;
	s->hub_address[0] = s->snippet[0] = s->hub_trouble[0] = '\0';
	s->hub_external = false;
	s->n_hubs = s->n_doors = s->n_trust = 0;
	hth_invitation_book_revoke(s->book);
	hth_membership_forget(s->membership);
	street_rebuild_peers(s);
	s->leaving = false;
	street_erase(s);
	street_tell_members_soon(s);
}

/* A keeper makes again what its line of charters changed when another line turned out to be everybody's: it signs the removals, which are
 * drafted already, and lets in whom it had let in. Not from within itself: what it changes may call for more, which the loop sees. */
static void mend(hth_street *s)
{
	enum { AT_MOST = 1024 };
	if (s->mending)
		return;
	s->mending = true;
	for (int i = 0; i < AT_MOST; i++) {
		hth_error err;
		bool done = false;
		const hth_member *self = hth_membership_find(s->membership, hth_street_self(s)), *lost = NULL;
		hth_charter *removal = hth_membership_unsigned(s->membership);
		if (self == NULL || self->role != HTH_ROLE_KEEPER)
			break;
		hth_status status;
		if (removal != NULL && hth_charter_signature_count(removal) == 0) {
			hth_log(HTH_LOG_INFO, "keepers had changed the charter of %s without hearing of each other; whom one removed stays "
			                      "removed", hth_charter_name(removal));
			status = street_change(s, hth_charter_ref(removal), &done, &err);
		} else if (removal == NULL && (lost = hth_membership_lost(s->membership, 0)) != NULL) {
			hth_card card = lost->card;
			char name[HTH_MEMBER_NAME_MAX];
			strcpy(name, lost->name);
			hth_log(HTH_LOG_INFO, "%s is let in again: keepers had changed the charter without hearing of each other", name);
			status = street_admit(s, &card, name, &done, &err);
		} else {
			break;
		}
		if (status != HTH_OK)
			hth_log(HTH_LOG_WARN, "a change of the charter could not be made again: %s", err.message);
		if (status != HTH_OK || !done)
			break;
	}
	s->mending = false;
}

/* own: this home made or completed it, and tells everybody; the others learn of what others tell each other by their greetings. */
static hth_status settle(hth_street *s, hth_charter *before, hth_charter_outcome outcome, hth_charter *offered, bool own, hth_error *err)
{
	if (outcome == HTH_CHARTER_TAKEN || outcome == HTH_CHARTER_SWITCHED || outcome == HTH_CHARTER_KEPT) {
		bool changed = memcmp(hth_charter_hash(before), hth_charter_hash(hth_membership_charter(s->membership)),
		                      HTH_HASH_BYTES) != 0;
		if (own && changed)
			street_broadcast(s, hth_membership_base(s->membership), before);
		hth_status status = changed ? follow_charter(s, before, err) : street_save(s, err);
		if (status == HTH_OK)
			mend(s);
		return status;
	}
	if (outcome == HTH_CHARTER_PROPOSED) {
		HTH_TRY(street_save(s, err));
		for (size_t i = 0; i < hth_membership_proposal_count(s->membership); i++) {
			const hth_charter *p = hth_membership_proposal(s->membership, i);
			if (memcmp(hth_charter_hash(p), hth_charter_hash(offered), HTH_HASH_BYTES) == 0)
				street_broadcast(s, p, NULL);
		}
	}
	return HTH_OK;
}

hth_status street_change(hth_street *s, hth_charter *draft, bool *ret_done, hth_error *err)
{
	hth_charter_outcome outcome = HTH_CHARTER_KEPT;
	hth_charter *before = hth_charter_ref((hth_charter *)(uintptr_t)hth_membership_charter(s->membership));
	hth_status status = hth_charter_sign(draft, s->identity, err);
	if (status == HTH_OK)
		status = hth_membership_offer(s->membership, draft, &outcome, err);
	if (status == HTH_OK)
		status = settle(s, before, outcome, draft, true, err);
	if (status == HTH_OK)
		*ret_done = outcome == HTH_CHARTER_TAKEN;
	hth_charter_unref(before);
	hth_charter_unref(draft);
	return status;
}

hth_status street_admit(hth_street *s, const hth_card *card, const char *name, bool *ret_done, hth_error *err)
{
	const hth_charter *charter = hth_membership_charter(s->membership);
	char unique[HTH_MEMBER_NAME_MAX];
	hth_charter *draft;
	snprintf(unique, sizeof unique, "%s", *name != '\0' ? name : "home");
	for (unsigned n = 2; n < 100; n++) { /* two homes of one name would be hard to tell apart */
		bool taken = false;
		for (size_t i = 0; i < hth_charter_member_count(charter); i++)
			taken |= strcmp(hth_charter_member(charter, i)->name, unique) == 0;
		if (!taken)
			break;
		snprintf(unique, sizeof unique, "%.56s-%u", *name != '\0' ? name : "home", n);
		if (!hth_canon_is_text(unique, strlen(unique), sizeof unique))
			snprintf(unique, sizeof unique, "home-%u", n);
	}
	HTH_TRY(hth_charter_admit(&draft, hth_membership_base(s->membership), card, unique, HTH_ROLE_MEMBER, err));
	return street_change(s, draft, ret_done, err);
}

void street_offered(hth_street *s, const hth_home_id *from, const void *bytes, size_t len, bool bridge)
{
	hth_error err;
	hth_charter *charter;
	hth_charter_outcome outcome;
	if (s->leaving)
		return;
	if (hth_charter_decode(&charter, bytes, len, &err) != HTH_OK) {
		street_reject(s, &err);
		return;
	}
	hth_charter *before = hth_charter_ref((hth_charter *)(uintptr_t)hth_membership_charter(s->membership));
	size_t known = hth_membership_proposal_count(s->membership);
	hth_status status = bridge ? hth_membership_bridge(s->membership, charter, &outcome, &err)
	                           : hth_membership_offer(s->membership, charter, &outcome, &err);
	if (status != HTH_OK) {
		street_reject(s, &err);
	} else if (outcome == HTH_CHARTER_GAP) {
		street_peer *peer = street_peer_of(s, from);
		if (peer != NULL && !bridge) /* what nobody can say more of is not asked for again */
			street_ask(s, peer);
	} else if (outcome == HTH_CHARTER_PROPOSED) {
		/* Passed on by whoever made or signed it; kept here until its signatures are together. */
		if (hth_membership_proposal_count(s->membership) != known)
			hth_log(HTH_LOG_INFO,
			        "a change of the charter waits for keepers' signatures: `hearth pool status`, `hearth pool approve`");
		if (street_save(s, &err) != HTH_OK)
			hth_log(HTH_LOG_WARN, "a proposed change is not on disk: %s", err.message);
	} else {
		(void)!settle(s, before, outcome, charter, false, &err);
	}
	hth_charter_unref(before);
	hth_charter_unref(charter);
}

/* ---- what the owner's commands ask ---- */

static hth_status need_charter(const hth_street *s, hth_error *err)
{
	if (hth_street_charter(s) == NULL)
		return hth_fail(err, HTH_CONFLICT,
		                "this home is in no neighbourhood: `hearth pool create NAME`, or `hearth pool join` with an invitation");
	return HTH_OK;
}

hth_status hth_street_found(hth_street *s, const char *name, const hth_street_hub_choice *hub, const char **ret_snippet, hth_error *err)
{
	const hth_rules rules = {.classes = HTH_CHARTER_NEIGHBOURS | HTH_CHARTER_PUBLIC, .requests_per_hour = 600, .credit_line = 1u << 20,
	                         .admit_needs = 1, .change_needs = 1};
	hth_charter *charter;
	if (hth_membership_charter(s->membership) != NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is in the neighbourhood %s already: `hearth pool leave` first",
		                hth_charter_name(hth_membership_charter(s->membership)));
	if (s->guest != NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is joining a neighbourhood just now");
	if (*name == '\0' || !hth_canon_is_text(name, strlen(name), HTH_POOL_NAME_MAX))
		return hth_fail(err, HTH_INVALID, "a neighbourhood's name is 1 to %d bytes of text", HTH_POOL_NAME_MAX - 1);
	HTH_TRY(hth_charter_found(&charter, name, &rules, s->identity, s->home_name, err));
	hth_status status = hth_membership_adopt(s->membership, charter, err);
	hth_charter_unref(charter);
	s->trouble[0] = '\0';
	if (status == HTH_OK)
		street_rebuild_peers(s);
	if (status == HTH_OK && hub != NULL)
		status = hth_street_host(s, hub, ret_snippet, err);
	else if (status == HTH_OK)
		status = street_save(s, err);
	if (status == HTH_OK)
		status = street_connect(s, err);
	if (status != HTH_OK) {
		hth_error why = *err;
		street_forget(s, "it could not be made");
		*err = why;
		return status;
	}
	street_tell_members_soon(s);
	return HTH_OK;
}

hth_status hth_street_leave(hth_street *s, bool *ret_told, hth_error *err)
{
	HTH_TRY(need_charter(s, err));
	const hth_charter *charter = hth_membership_charter(s->membership);
	*ret_told = true;
	if (hth_charter_member_count(charter) == 1) {
		street_forget(s, "its last member has left");
		return HTH_OK;
	}
	hth_charter *draft;
	if (hth_charter_remove(&draft, hth_membership_base(s->membership), hth_street_self(s), err) != HTH_OK) {
		hth_error why = *err;
		return hth_fail(err, why.status, "this home cannot leave yet: %s. Make another home a keeper first (`hearth pool keeper "
		                                 "NAME`)", why.message);
	}
	hth_status status = hth_charter_sign(draft, s->identity, err);
	*ret_told = status == HTH_OK && s->link != NULL && hth_link_is_up(s->link);
	if (status == HTH_OK)
		street_broadcast(s, draft, NULL);
	hth_charter_unref(draft);
	if (status != HTH_OK)
		return status;
	if (!*ret_told) {
		street_forget(s, "it left");
		return HTH_OK;
	}
	s->leaving = true; /* from now on it has no neighbours; the letters have a moment to get out */
	street_erase(s);
	street_tell_members_soon(s);
	hth_timer_start(s->farewell, 300, 0);
	return HTH_OK;
}

hth_status hth_street_remove(hth_street *s, const char *who, bool *ret_done, hth_error *err)
{
	const hth_member *m;
	hth_charter *draft;
	HTH_TRY(street_who(s, who, &m, err));
	if (street_is_self(s, &m->card.id))
		return hth_fail(err, HTH_INVALID, "%s is this home itself: `hearth pool leave`", m->name);
	HTH_TRY(hth_charter_remove(&draft, hth_membership_base(s->membership), &m->card.id, err));
	return street_change(s, draft, ret_done, err);
}

hth_status hth_street_appoint(hth_street *s, const char *who, bool keeper, bool *ret_done, hth_error *err)
{
	const hth_member *m;
	hth_charter *draft;
	HTH_TRY(street_who(s, who, &m, err));
	if ((m->role == HTH_ROLE_KEEPER) == keeper) {
		*ret_done = true;
		return HTH_OK;
	}
	HTH_TRY(hth_charter_appoint(&draft, hth_membership_base(s->membership), &m->card.id, keeper ? HTH_ROLE_KEEPER : HTH_ROLE_MEMBER,
	                            err));
	return street_change(s, draft, ret_done, err);
}

hth_status hth_street_approve(hth_street *s, const char *change, bool *ret_done, hth_error *err)
{
	HTH_TRY(need_charter(s, err));
	size_t n = hth_membership_proposal_count(s->membership), found = 0, len = change != NULL ? strlen(change) : 0;
	hth_charter *chosen = NULL;
	for (size_t i = 0; i < n; i++) {
		char hash[2 * HTH_HASH_BYTES + 1];
		const hth_charter *p = hth_membership_proposal(s->membership, i);
		sodium_bin2hex(hash, sizeof hash, hth_charter_hash(p), HTH_HASH_BYTES);
		if (len >= sizeof hash || strncasecmp(hash, change != NULL ? change : "", len) != 0)
			continue;
		chosen = (hth_charter *)(uintptr_t)p;
		found++;
	}
	if (found == 0)
		return hth_fail(err, HTH_NOT_FOUND, n == 0 ? "no change of the charter waits for a signature"
		                                           : "no change that waits begins with %.64s", change);
	if (found > 1)
		return hth_fail(err, HTH_INVALID,
		                "%zu changes wait for signatures: name one, by the beginning of what `hearth pool status` shows", found);
	hth_charter_outcome outcome;
	hth_charter *before = hth_charter_ref((hth_charter *)(uintptr_t)hth_membership_charter(s->membership));
	hth_charter_ref(chosen);
	hth_status status = hth_membership_approve(s->membership, hth_charter_hash(chosen), s->identity, &outcome, err);
	if (status == HTH_OK)
		status = settle(s, before, outcome, chosen, true, err);
	if (status == HTH_OK)
		*ret_done = outcome == HTH_CHARTER_TAKEN;
	hth_charter_unref(before);
	hth_charter_unref(chosen);
	return status;
}
