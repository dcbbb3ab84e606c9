/* charter-change.c - drafts of a next version, and what may take the place of what: the only rules by which a neighbourhood changes. */
#include "base/mem.h"
#include "charter/charter-internal.h"

/* ---- drafts ---- */

hth_status hth_charter_found(hth_charter **ret_charter, const char *name, const hth_rules *rules, const hth_identity *founder,
                             const char *founder_name, hth_error *err)
{
	if (strlen(name) >= HTH_POOL_NAME_MAX || strlen(founder_name) >= HTH_MEMBER_NAME_MAX)
		return hth_fail(err, HTH_INVALID, "names of neighbourhoods and members have at most %d bytes", HTH_POOL_NAME_MAX - 1);
	hth_charter *charter = charter_alloc(1);
	if (charter == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a charter");
	charter->version = 1;
	charter->rules = *rules;
	charter->n_members = 1;
	strcpy(charter->name, name);
	charter->members[0] = (hth_member){.card = *hth_identity_card(founder), .role = HTH_ROLE_KEEPER, .since = 1};
	strcpy(charter->members[0].name, founder_name);
	hth_status status = charter_seal_body(charter, err);
	if (status == HTH_OK)
		status = hth_charter_sign(charter, founder, err);
	if (status != HTH_OK) {
		hth_charter_unref(charter);
		return status;
	}
	*ret_charter = charter;
	return HTH_OK;
}

/* A copy of from as its next version, unsigned, with room for one member more. */
static hth_status draft(hth_charter **ret_draft, const hth_charter *from, hth_error *err)
{
	hth_charter *next = charter_alloc(from->n_members + 1);
	if (next == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a charter");
	if (from->version == UINT32_MAX) {
		hth_charter_unref(next);
		return hth_fail(err, HTH_TOO_LARGE, "the charter has had all the versions it can have");
	}
	hth_member *members = next->members;
	*next = *from;
	next->refs = 1;
	next->members = members;
	memcpy(members, from->members, from->n_members * sizeof *members);
	next->n_signatures = 0;
	next->version = from->version + 1;
	memcpy(next->previous, from->hash, sizeof next->previous);
	memcpy(next->pool_id, hth_charter_pool_id(from), sizeof next->pool_id);
	*ret_draft = next;
	return HTH_OK;
}

static hth_status finish_draft(hth_charter **ret_draft, hth_charter *next, hth_status status, hth_error *err)
{
	if (status == HTH_OK)
		status = charter_seal_body(next, err);
	if (status != HTH_OK)
		hth_charter_unref(next);
	else
		*ret_draft = next;
	return status;
}

hth_status hth_charter_admit(hth_charter **ret_draft, const hth_charter *from, const hth_card *card, const char *name, hth_role role,
                             hth_error *err)
{
	bool there;
	size_t at = charter_position(from, &card->id, &there);
	if (there)
		return hth_fail(err, HTH_CONFLICT, "this home is a member already, as %s", from->members[at].name);
	if (!hth_card_is_valid(card))
		return hth_fail(err, HTH_BAD_FORMAT, "the home's card is not signed by it");
	if (strlen(name) >= HTH_MEMBER_NAME_MAX)
		return hth_fail(err, HTH_INVALID, "a member's name has at most %d bytes", HTH_MEMBER_NAME_MAX - 1);
	if (from->n_members == HTH_MEMBERS_MAX)
		return hth_fail(err, HTH_TOO_LARGE, "the neighbourhood has %d members already, the most there may be", HTH_MEMBERS_MAX);
	hth_charter *next;
	HTH_TRY(draft(&next, from, err));
	memmove(&next->members[at + 1], &next->members[at], (from->n_members - at) * sizeof *next->members);
	next->members[at] = (hth_member){.card = *card, .role = role, .since = next->version};
	strcpy(next->members[at].name, name);
	next->n_members++;
	return finish_draft(ret_draft, next, HTH_OK, err);
}

static hth_status position_of_member(const hth_charter *from, const hth_home_id *id, size_t *ret_at, hth_error *err)
{
	bool there;
	*ret_at = charter_position(from, id, &there);
	return there ? HTH_OK : hth_fail(err, HTH_NOT_FOUND, "this home is no member of %s", from->name);
}

hth_status hth_charter_remove_all(hth_charter **ret_draft, const hth_charter *from, const hth_home_id *ids, size_t n, hth_error *err)
{
	hth_charter *next;
	HTH_TRY(draft(&next, from, err));
	for (size_t i = 0; i < n; i++) {
		size_t at;
		hth_status status = position_of_member(next, &ids[i], &at, err);
		if (status != HTH_OK) {
			hth_charter_unref(next);
			return status;
		}
		memmove(&next->members[at], &next->members[at + 1], (next->n_members - at - 1) * sizeof *next->members);
		next->n_members--;
	}
	return finish_draft(ret_draft, next, HTH_OK, err);
}

hth_status hth_charter_remove(hth_charter **ret_draft, const hth_charter *from, const hth_home_id *id, hth_error *err)
{
	return hth_charter_remove_all(ret_draft, from, id, 1, err);
}

hth_status hth_charter_appoint(hth_charter **ret_draft, const hth_charter *from, const hth_home_id *id, hth_role role, hth_error *err)
{
	size_t at;
	hth_charter *next;
	HTH_TRY(position_of_member(from, id, &at, err));
	HTH_TRY(draft(&next, from, err));
	next->members[at].role = role;
	return finish_draft(ret_draft, next, HTH_OK, err);
}

hth_status hth_charter_amend(hth_charter **ret_draft, const hth_charter *from, const hth_rules *rules, hth_error *err)
{
	hth_charter *next;
	HTH_TRY(draft(&next, from, err));
	next->rules = *rules;
	return finish_draft(ret_draft, next, HTH_OK, err);
}

/* ---- what may follow what ---- */

typedef struct charter_difference {
	size_t admitted, removed;
	bool other;                  /* a role, a name, a key, the rules */
	bool since;                  /* somebody's time of coming in is not what it is */
	const hth_home_id *removed_id; /* the last one removed */
} charter_difference;

/* Both member lists are sorted: one walk along them. */
static charter_difference compare(const hth_charter *from, const hth_charter *next)
{
	charter_difference d = {.other = strcmp(from->name, next->name) != 0 || from->rules.classes != next->rules.classes ||
	                                 from->rules.requests_per_hour != next->rules.requests_per_hour ||
	                                 from->rules.credit_line != next->rules.credit_line ||
	                                 from->rules.admit_needs != next->rules.admit_needs ||
	                                 from->rules.change_needs != next->rules.change_needs};
	bool linked = memcmp(next->previous, from->hash, sizeof from->hash) == 0;
	size_t i = 0, j = 0;
	while (i < from->n_members || j < next->n_members) {
		const hth_member *a = &from->members[i], *b = &next->members[j]; /* each only where its list goes on */
		int order = i == from->n_members ? 1 : j == next->n_members ? -1 : hth_home_id_compare(&a->card.id, &b->card.id);
		if (order < 0) {
			d.removed++;
			d.removed_id = &a->card.id;
			i++;
		} else if (order > 0) {
			d.admitted++;
			d.other |= b->role == HTH_ROLE_KEEPER; /* a new keeper is an appointment, too */
			d.since |= linked && b->since <= from->version;
			j++;
		} else {
			d.other |= a->role != b->role || strcmp(a->name, b->name) != 0 ||
			    memcmp(a->card.box_key, b->card.box_key, sizeof a->card.box_key) != 0;
			d.since |= linked && a->since != b->since; /* between versions it may have gone and come */
			i++;
			j++;
		}
	}
	return d;
}

size_t charter_signers(const hth_charter *from, const hth_charter *next, hth_home_id ret_signers[HTH_CHARTER_SIGNATURES_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < next->n_signatures; i++) {
		const hth_member *m = hth_charter_find(from, &next->signatures[i].id);
		if (m != NULL && m->role == HTH_ROLE_KEEPER && charter_signature_holds(next, &next->signatures[i]))
			ret_signers[n++] = m->card.id;
	}
	return n;
}

static bool signed_by(const hth_charter *charter, const hth_home_id *id)
{
	for (size_t i = 0; i < charter->n_signatures; i++)
		if (hth_home_id_equal(&charter->signatures[i].id, id))
			return charter_signature_holds(charter, &charter->signatures[i]);
	return false;
}

static size_t needs_of(const hth_charter *from, const charter_difference *d, const hth_charter *next, bool *ret_leaves)
{
	*ret_leaves = d->removed == 1 && d->admitted == 0 && !d->other && signed_by(next, d->removed_id);
	if (*ret_leaves)
		return 0;
	size_t needs = d->admitted > 0 ? from->rules.admit_needs : 0;
	if (d->other || d->removed > 0 || d->admitted == 0)
		needs = HTH_MAX(needs, from->rules.change_needs);
	return needs;
}

size_t charter_needs(const hth_charter *from, const hth_charter *next, bool *ret_leaves)
{
	charter_difference d = compare(from, next);
	return needs_of(from, &d, next, ret_leaves);
}

hth_status hth_charter_overrules(const hth_charter *from, const hth_charter *next, hth_error *err)
{
	if (memcmp(hth_charter_pool_id(from), hth_charter_pool_id(next), HTH_HASH_BYTES) != 0)
		return hth_fail(err, HTH_CONFLICT, "the charter is another neighbourhood's");
	if (next->version <= from->version)
		return hth_fail(err, HTH_CONFLICT, "the charter's version %u is not later than %u", next->version, from->version);
	hth_home_id signers[HTH_CHARTER_SIGNATURES_MAX];
	bool leaves;
	charter_difference d = compare(from, next);
	if (d.since)
		return hth_fail(err, HTH_CONFLICT, "version %u of the charter is wrong about when a member came in", next->version);
	size_t needs = needs_of(from, &d, next, &leaves), have = needs > 0 ? charter_signers(from, next, signers) : 0;
	if (have < needs)
		return hth_fail(err, HTH_DENIED, "version %u of the charter lacks %zu keeper's signature%s", next->version, needs - have,
		                needs - have > 1 ? "s" : "");
	return HTH_OK;
}

hth_status hth_charter_follows(const hth_charter *from, const hth_charter *next, hth_error *err)
{
	if (memcmp(hth_charter_pool_id(from), hth_charter_pool_id(next), HTH_HASH_BYTES) == 0 &&
	    (from->version == UINT32_MAX || next->version != from->version + 1 || memcmp(next->previous, from->hash, HTH_HASH_BYTES) != 0))
		return hth_fail(err, HTH_CONFLICT, "the charter's version %u does not follow this home's version %u", next->version,
		                from->version);
	return hth_charter_overrules(from, next, err);
}
