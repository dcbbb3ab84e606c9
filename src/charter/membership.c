/* membership.c - see membership.h. One thread; every step either happens or leaves the machine as it was. */
#include "charter/membership.h"

#include "base/mem.h"

struct hth_membership {
	hth_home_id self;
	hth_charter *archive[HTH_MEMBERSHIP_ARCHIVE]; /* newest first: [0] is the current one, [1] the one it was taken after */
	hth_charter *proposals[HTH_PROPOSALS_MAX];
	size_t n_proposals;
};

hth_status hth_membership_create(hth_membership **ret_membership, const hth_home_id *self, hth_error *err)
{
	hth_membership *m = calloc(1, sizeof *m);
	if (m == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a neighbourhood");
	m->self = *self;
	*ret_membership = m;
	return HTH_OK;
}

void hth_membership_forget(hth_membership *m)
{
	for (size_t i = 0; i < HTH_MEMBERSHIP_ARCHIVE; i++)
		hth_charter_unref(m->archive[i]);
	for (size_t i = 0; i < m->n_proposals; i++)
		hth_charter_unref(m->proposals[i]);
	*m = (hth_membership){.self = m->self};
}

void hth_membership_destroy(hth_membership *m)
{
	if (m == NULL)
		return;
	hth_membership_forget(m);
	free(m);
}

const hth_charter *hth_membership_charter(const hth_membership *m) { return m->archive[0]; }

const hth_member *hth_membership_find(const hth_membership *m, const hth_home_id *id)
{
	if (m->archive[0] == NULL || hth_charter_find(m->archive[0], &m->self) == NULL)
		return NULL;
	return hth_charter_find(m->archive[0], id);
}

hth_status hth_membership_adopt(hth_membership *m, hth_charter *charter, hth_error *err)
{
	if (m->archive[0] != NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is in the neighbourhood %s already: leave it first", hth_charter_name(m->archive[0]));
	if (hth_charter_find(charter, &m->self) == NULL)
		return hth_fail(err, HTH_DENIED, "this home is not in the charter of %s", hth_charter_name(charter));
	m->archive[0] = hth_charter_ref(charter);
	return HTH_OK;
}

/* Proposals that cannot follow any more are dropped. */
static void sift(hth_membership *m)
{
	size_t n = 0;
	for (size_t i = 0; i < m->n_proposals; i++) {
		hth_status status = hth_charter_follows(m->archive[0], m->proposals[i], NULL);
		if (status == HTH_DENIED)
			m->proposals[n++] = m->proposals[i];
		else
			hth_charter_unref(m->proposals[i]);
	}
	m->n_proposals = n;
}

static void take(hth_membership *m, hth_charter *charter)
{
	hth_charter_ref(charter);
	hth_charter_unref(m->archive[HTH_MEMBERSHIP_ARCHIVE - 1]);
	memmove(&m->archive[1], &m->archive[0], (HTH_MEMBERSHIP_ARCHIVE - 1) * sizeof m->archive[0]);
	m->archive[0] = charter;
	sift(m);
}

static bool same_body(const hth_charter *a, const hth_charter *b)
{
	return memcmp(hth_charter_hash(a), hth_charter_hash(b), HTH_HASH_BYTES) == 0;
}

/* Somebody made another version of the current number. */
static hth_status offer_rival(hth_membership *m, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err)
{
	hth_charter *before = m->archive[1];
	if (before == NULL) {
		*ret_outcome = HTH_CHARTER_KEPT; /* what came before is not known here, so nothing speaks for the rival */
		return HTH_OK;
	}
	HTH_TRY(hth_charter_follows(before, charter, err));
	if (!hth_charter_prefers(before, m->archive[0], charter)) {
		*ret_outcome = HTH_CHARTER_KEPT;
		return HTH_OK;
	}
	hth_charter_unref(m->archive[0]);
	m->archive[0] = hth_charter_ref(charter);
	sift(m);
	*ret_outcome = HTH_CHARTER_SWITCHED;
	return HTH_OK;
}

/* It follows, but for signatures. Only what a member signed is worth remembering. */
static hth_status offer_proposal(hth_membership *m, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err)
{
	if (hth_charter_version(charter) != hth_charter_version(m->archive[0]) + 1) {
		*ret_outcome = HTH_CHARTER_GAP;
		return HTH_OK;
	}
	hth_charter_strip(charter, m->archive[0]);
	if (hth_charter_signature_count(charter) == 0)
		return hth_fail(err, HTH_DENIED, "a charter was proposed without a member's signature");
	for (size_t i = 0; i < m->n_proposals; i++) {
		if (!same_body(m->proposals[i], charter))
			continue;
		hth_charter_merge(m->proposals[i], charter);
		if (hth_charter_follows(m->archive[0], m->proposals[i], NULL) != HTH_OK) {
			*ret_outcome = HTH_CHARTER_PROPOSED;
			return HTH_OK;
		}
		hth_charter *whole = hth_charter_ref(m->proposals[i]);
		take(m, whole);
		hth_charter_unref(whole);
		*ret_outcome = HTH_CHARTER_TAKEN;
		return HTH_OK;
	}
	if (m->n_proposals == HTH_PROPOSALS_MAX)
		return hth_fail(err, HTH_DENIED, "%d changes of the charter wait for signatures already", HTH_PROPOSALS_MAX);
	m->proposals[m->n_proposals++] = hth_charter_ref(charter);
	*ret_outcome = HTH_CHARTER_PROPOSED;
	return HTH_OK;
}

hth_status hth_membership_offer(hth_membership *m, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err)
{
	hth_charter *current = m->archive[0];
	if (current == NULL)
		return hth_fail(err, HTH_CONFLICT, "this home is in no neighbourhood");
	if (memcmp(hth_charter_pool_id(current), hth_charter_pool_id(charter), HTH_HASH_BYTES) != 0)
		return hth_fail(err, HTH_CONFLICT, "the charter is another neighbourhood's");
	if (same_body(current, charter) || hth_charter_version(charter) < hth_charter_version(current)) {
		*ret_outcome = HTH_CHARTER_SAME;
		return HTH_OK;
	}
	if (hth_charter_version(charter) == hth_charter_version(current))
		return offer_rival(m, charter, ret_outcome, err);
	hth_error why;
	switch (hth_charter_follows(current, charter, &why)) {
	case HTH_OK:
		take(m, charter);
		*ret_outcome = HTH_CHARTER_TAKEN;
		return HTH_OK;
	case HTH_DENIED: return offer_proposal(m, charter, ret_outcome, err);
	default:
		/* Whoever came in with a version that lost against another made at the same time knows no version before it. */
		if (m->archive[1] == NULL && hth_charter_overrules(current, charter, NULL) == HTH_OK) {
			take(m, charter);
			*ret_outcome = HTH_CHARTER_TAKEN;
			return HTH_OK;
		}
		return hth_fail(err, why.status, "%s", why.message);
	}
}

size_t hth_membership_proposal_count(const hth_membership *m) { return m->n_proposals; }
const hth_charter *hth_membership_proposal(const hth_membership *m, size_t i) { return m->proposals[i]; }

hth_status hth_membership_approve(hth_membership *m, const unsigned char hash[HTH_HASH_BYTES], const hth_identity *identity,
                                  hth_charter_outcome *ret_outcome, hth_error *err)
{
	for (size_t i = 0; i < m->n_proposals; i++) {
		hth_charter *proposal = m->proposals[i];
		if (memcmp(hth_charter_hash(proposal), hash, HTH_HASH_BYTES) != 0)
			continue;
		HTH_TRY(hth_charter_sign(proposal, identity, err));
		*ret_outcome = HTH_CHARTER_PROPOSED;
		if (hth_charter_follows(m->archive[0], proposal, NULL) == HTH_OK) {
			hth_charter_ref(proposal);
			take(m, proposal);
			hth_charter_unref(proposal);
			*ret_outcome = HTH_CHARTER_TAKEN;
		}
		return HTH_OK;
	}
	return hth_fail(err, HTH_NOT_FOUND, "there is no such change of the charter waiting for signatures");
}

void hth_membership_since(const hth_membership *m, uint32_t from, void (*fn)(void *ctx, const hth_charter *charter), void *ctx)
{
	for (size_t i = HTH_MEMBERSHIP_ARCHIVE; i-- > 0;)
		if (m->archive[i] != NULL && (i == 0 || hth_charter_version(m->archive[i]) >= from))
			fn(ctx, m->archive[i]);
}
