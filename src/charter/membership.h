/* membership.h - which charter this home goes by: a machine that is offered charters and keeps the one that everybody will keep.
 *
 * Pure: no clock, no input or output; whoever drives it stores what it took and sends what it says. It holds the current charter, the one
 * before (so that two next versions made at the same time end the same way everywhere), the last HTH_MEMBERSHIP_ARCHIVE versions for homes that
 * were away, and proposals: next versions that still lack signatures.
 */
#ifndef HTH_CHARTER_MEMBERSHIP_H
#define HTH_CHARTER_MEMBERSHIP_H

#include "charter/charter.h"

enum { HTH_MEMBERSHIP_ARCHIVE = 16, HTH_PROPOSALS_MAX = 8 };

typedef struct hth_membership hth_membership;

typedef enum hth_charter_outcome {
	HTH_CHARTER_SAME,     /* it is the current one, or an older one of this neighbourhood */
	HTH_CHARTER_TAKEN,    /* it is the current one now */
	HTH_CHARTER_SWITCHED, /* two versions had been made at once and this one is everybody's; what the other changed is to be proposed again */
	HTH_CHARTER_KEPT,     /* two versions were made at once and the current one is everybody's */
	HTH_CHARTER_PROPOSED, /* it waits for signatures */
	HTH_CHARTER_GAP,      /* it is later, but the versions between are needed to believe it: ask for those from current + 1 */
} hth_charter_outcome;

HTH_MUST_USE hth_status hth_membership_create(hth_membership **ret_membership, const hth_home_id *self, hth_error *err);
void hth_membership_destroy(hth_membership *membership);

/* The first charter: founded here, brought by an invitation, or read from disk. HTH_CONFLICT: there is one; HTH_DENIED: this home is not in it. */
HTH_MUST_USE hth_status hth_membership_adopt(hth_membership *membership, hth_charter *charter, hth_error *err);
/* NULL: in no neighbourhood. Borrowed until the next offer, approve or forget. */
const hth_charter *hth_membership_charter(const hth_membership *membership);
/* Whether id is a member now and this home is one, too: who was removed has no neighbours. */
const hth_member *hth_membership_find(const hth_membership *membership, const hth_home_id *id);
void hth_membership_forget(hth_membership *membership); /* this home left, or was removed: no charter */

/* A charter from anybody at all. HTH_DENIED: it is proposed by nobody who counts, or there are too many proposals; HTH_CONFLICT: it is
 * another neighbourhood's or another line's. The charter stays the caller's. */
HTH_MUST_USE hth_status hth_membership_offer(hth_membership *membership, hth_charter *charter, hth_charter_outcome *ret_outcome, hth_error *err);
size_t hth_membership_proposal_count(const hth_membership *membership);
const hth_charter *hth_membership_proposal(const hth_membership *membership, size_t i);
/* Adds this home's signature to a proposal; with it, it may be the next charter. HTH_NOT_FOUND: no such proposal. */
HTH_MUST_USE hth_status hth_membership_approve(hth_membership *membership, const unsigned char hash[HTH_HASH_BYTES], const hth_identity *identity,
                                               hth_charter_outcome *ret_outcome, hth_error *err);
/* The versions from `from` on that are still here, oldest first; the current one is always among them. */
void hth_membership_since(const hth_membership *membership, uint32_t from, void (*fn)(void *ctx, const hth_charter *charter), void *ctx);

#endif
