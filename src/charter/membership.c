/* membership.c - see membership.h. One thread; every step either happens or leaves the machine as it was. */
#include "charter/membership.h"

#include "base/mem.h"
#include "charter/lines.h"

struct hth_membership {
	hth_home_id self;
	charter_lines lines; /* n 0: in no neighbourhood */
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
	lines_clear(&m->lines);
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

static hth_charter *base_of(const hth_membership *m) { return m->lines.nodes[m->lines.tip].charter; }
const hth_charter *hth_membership_charter(const hth_membership *m) { return m->lines.view; }
const hth_charter *hth_membership_base(const hth_membership *m) { return m->lines.n > 0 ? base_of(m) : NULL; }

hth_charter *hth_membership_unsigned(const hth_membership *m)
{
	return m->lines.n > 0 && m->lines.view != base_of(m) ? m->lines.view : NULL;
}

const hth_member *hth_membership_find(const hth_membership *m, const hth_home_id *id)
{
	const hth_charter *charter = m->lines.view;
	return charter != NULL && hth_charter_find(charter, &m->self) != NULL ? hth_charter_find(charter, id) : NULL;
}

hth_status hth_membership_adopt(hth_membership *m, hth_charter *charter, hth_error *err)
{
	if (m->lines.n > 0)
		return hth_fail(err, HTH_CONFLICT, "this home is in the neighbourhood %s already: leave it first",
		                hth_charter_name(base_of(m)));
	if (hth_charter_find(charter, &m->self) == NULL)
		return hth_fail(err, HTH_DENIED, "this home is not in the charter of %s", hth_charter_name(charter));
	return lines_begin(&m->lines, charter, err);
}

/* Proposals that cannot follow any more are dropped. */
static void sift(hth_membership *m)
{
	size_t n = 0;
	for (size_t i = 0; i < m->n_proposals; i++) {
		if (hth_charter_follows(base_of(m), m->proposals[i], NULL) == HTH_DENIED)
			m->proposals[n++] = m->proposals[i];
		else
			hth_charter_unref(m->proposals[i]);
	}
	m->n_proposals = n;
}

static bool same_body(const hth_charter *a, const hth_charter *b)
{
	return memcmp(hth_charter_hash(a), hth_charter_hash(b), HTH_HASH_BYTES) == 0;
}

static hth_status grow(hth_membership *m, int parent, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err)
{
	hth_charter *before = hth_charter_ref(base_of(m));
	hth_status status = lines_add(&m->lines, parent, charter, err);
	if (status == HTH_OK) {
		int old = lines_find(&m->lines, hth_charter_hash(before));
		*ret_outcome = same_body(before, base_of(m))                              ? HTH_CHARTER_KEPT
		               : old != LINES_NONE && lines_leads_to(&m->lines, old, m->lines.tip) ? HTH_CHARTER_TAKEN
		                                                                              : HTH_CHARTER_SWITCHED;
		sift(m);
	}
	hth_charter_unref(before);
	return status;
}

/* It follows the current one, but for signatures. Only what a member signed is worth remembering. */
static hth_status offer_proposal(hth_membership *m, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err)
{
	hth_charter_strip(charter, base_of(m));
	if (hth_charter_signature_count(charter) == 0)
		return hth_fail(err, HTH_DENIED, "a charter was proposed without a member's signature");
	for (size_t i = 0; i < m->n_proposals; i++) {
		if (!same_body(m->proposals[i], charter))
			continue;
		hth_charter_merge(m->proposals[i], charter);
		if (hth_charter_follows(base_of(m), m->proposals[i], NULL) != HTH_OK) {
			*ret_outcome = HTH_CHARTER_PROPOSED;
			return HTH_OK;
		}
		return grow(m, m->lines.tip, m->proposals[i], ret_outcome, err);
	}
	if (m->n_proposals == HTH_PROPOSALS_MAX)
		return hth_fail(err, HTH_DENIED, "%d changes of the charter wait for signatures already", HTH_PROPOSALS_MAX);
	m->proposals[m->n_proposals++] = hth_charter_ref(charter);
	*ret_outcome = HTH_CHARTER_PROPOSED;
	return HTH_OK;
}

static hth_status check_pool(const hth_membership *m, const hth_charter *charter, hth_error *err)
{
	if (m->lines.n == 0)
		return hth_fail(err, HTH_CONFLICT, "this home is in no neighbourhood");
	if (memcmp(hth_charter_pool_id(base_of(m)), hth_charter_pool_id(charter), HTH_HASH_BYTES) != 0)
		return hth_fail(err, HTH_CONFLICT, "the charter is another neighbourhood's");
	return HTH_OK;
}

hth_status hth_membership_offer(hth_membership *m, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err)
{
	HTH_TRY(check_pool(m, charter, err));
	int at = lines_find(&m->lines, hth_charter_hash(charter));
	if (at != LINES_NONE) {
		int tip = m->lines.tip;
		bool more;
		HTH_TRY(lines_merge(&m->lines, at, charter, &more, err));
		*ret_outcome = tip != m->lines.tip ? HTH_CHARTER_SWITCHED : more ? HTH_CHARTER_KEPT : HTH_CHARTER_SAME;
		if (more)
			sift(m);
		return HTH_OK;
	}
	int parent = lines_find(&m->lines, charter->previous);
	if (parent == LINES_NONE) {
		*ret_outcome = hth_charter_version(charter) > hth_charter_version(m->lines.nodes[0].charter) ? HTH_CHARTER_GAP
		    : HTH_CHARTER_SAME;
		return HTH_OK;
	}
	hth_error why;
	switch (hth_charter_follows(m->lines.nodes[parent].charter, charter, &why)) {
	case HTH_OK: return grow(m, parent, charter, ret_outcome, err);
	case HTH_DENIED:
		if (parent == m->lines.tip)
			return offer_proposal(m, charter, ret_outcome, err);
		*ret_outcome = HTH_CHARTER_SAME; /* somebody proposed it once, of what is not current any more */
		return HTH_OK;
	default: return hth_fail(err, why.status, "%s", why.message);
	}
}

hth_status hth_membership_bridge(hth_membership *m, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err)
{
	HTH_TRY(hth_membership_offer(m, charter, ret_outcome, err));
	if (*ret_outcome != HTH_CHARTER_GAP)
		return HTH_OK;
	const hth_charter *base = base_of(m);
	/* Whom it leaves out may have been let in by a line that lost, and be let in again: that is for a later version to say. */
	if (hth_charter_version(charter) <= hth_charter_version(base) ||
	    hth_charter_version(charter) - hth_charter_version(base) > LINES_BRIDGE_MAX || hth_charter_find(charter, &m->self) == NULL ||
	    hth_charter_overrules(base, charter, NULL) != HTH_OK)
		return HTH_OK;
	return grow(m, m->lines.tip, charter, ret_outcome, err);
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
		return hth_charter_follows(base_of(m), proposal, NULL) == HTH_OK ? grow(m, m->lines.tip, proposal, ret_outcome, err)
		                                                                 : HTH_OK;
	}
	return hth_fail(err, HTH_NOT_FOUND, "there is no such change of the charter waiting for signatures");
}

const hth_member *hth_membership_lost(const hth_membership *m, size_t i)
{
	int at = 0;
	size_t place = 0;
	const hth_member *lost;
	do
		lost = m->lines.n > 0 ? lines_lost_admission(&m->lines, &m->self, &at, &place) : NULL;
	while (lost != NULL && i-- > 0);
	return lost;
}

/* ---- what homes tell each other ---- */

hth_charter_standing hth_membership_standing(const hth_membership *m)
{
	hth_charter_standing standing = {0};
	if (m->lines.n > 0) {
		standing = (hth_charter_standing){.version = hth_charter_version(base_of(m)), .removals = m->lines.digest};
		memcpy(standing.hash, hth_charter_hash(base_of(m)), HTH_HASH_BYTES);
	}
	return standing;
}

hth_charter_news hth_membership_heard(const hth_membership *m, const hth_charter_standing *theirs)
{
	if (m->lines.n == 0)
		return HTH_NEWS_NONE;
	int at = lines_find(&m->lines, theirs->hash);
	if (at == LINES_NONE) /* one that stands before all that is known here is behind, and asks itself */
		return theirs->version < hth_charter_version(m->lines.nodes[0].charter) ? HTH_NEWS_NONE : HTH_NEWS_ASK;
	return at != m->lines.tip || m->lines.digest != theirs->removals ? HTH_NEWS_TELL : HTH_NEWS_NONE;
}

size_t hth_membership_known(const hth_membership *m, unsigned char ret_hashes[HTH_KNOWN_MAX][HTH_HASH_BYTES])
{
	size_t n = 0, apart = 1;
	for (int i = m->lines.n > 0 ? m->lines.tip : LINES_NONE; i != LINES_NONE;) {
		memcpy(ret_hashes[n++], hth_charter_hash(m->lines.nodes[i].charter), HTH_HASH_BYTES);
		if (i == 0)
			break;
		for (size_t k = 0; k < apart && i != 0; k++)
			i = m->lines.nodes[i].parent;
		if (n == HTH_KNOWN_MAX - 1)
			i = 0;
		if (n >= 4)
			apart *= 2;
	}
	return n;
}

/* What everybody needs to know: the current line, and those that keep somebody out; but for what leads to `known`. */
static void send_lines(const hth_membership *m, int known, bool bridge, hth_charter_fn fn, void *ctx)
{
	const charter_lines *lines = &m->lines;
	line_set wanted = lines->nodes[lines->tip].above;
	for (int i = 0; i < lines->n; i++)
		for (size_t k = 0; line_set_has(&lines->bearing, i) && k < HTH_COUNT(wanted.bits); k++)
			wanted.bits[k] |= lines->nodes[i].above.bits[k];
	for (int i = 0; i < lines->n; i++)
		if (line_set_has(&wanted, i) && (known == LINES_NONE || !lines_leads_to(lines, i, known)))
			fn(ctx, lines->nodes[i].charter, bridge);
}

void hth_membership_answer(const hth_membership *m, const unsigned char (*hashes)[HTH_HASH_BYTES], size_t n, hth_charter_fn fn, void *ctx)
{
	int known = LINES_NONE, oldest = LINES_NONE;
	if (m->lines.n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		int at = lines_find(&m->lines, hashes[i]);
		if (known == LINES_NONE)
			known = at;
		oldest = at;
	}
	/* A home that came in with a version of a line that lost does not know the one where the lines part. */
	bool bridge = known == LINES_NONE || (oldest != LINES_NONE && !lines_leads_to(&m->lines, oldest, m->lines.tip));
	send_lines(m, known, bridge, fn, ctx);
}

void hth_membership_tell(const hth_membership *m, const hth_charter_standing *theirs, hth_charter_fn fn, void *ctx)
{
	/* Both know both lines, or it would ask: what it lacks may be a third, whose removals decide between them. */
	int known = lines_find(&m->lines, theirs->hash);
	for (int i = 0; i < m->lines.n; i++)
		if (known == LINES_NONE || !lines_leads_to(&m->lines, i, known))
			fn(ctx, m->lines.nodes[i].charter, false);
}

void hth_membership_each(const hth_membership *m, hth_charter_fn fn, void *ctx)
{
	for (int i = 0; i < m->lines.n; i++)
		fn(ctx, m->lines.nodes[i].charter, true);
}
