/* membership.h - which charter this home goes by: a machine that is offered charters and keeps the one that everybody will keep.
 *
 * Pure: no clock, no input or output; whoever drives it stores what it took and sends what it says. It holds the versions that are known as
 * a tree, since keepers who are cut off from each other make lines of their own, and chooses from it by rules that no order of arrival
 * changes (lines.h has them); and proposals: next versions that still lack signatures.
 *
 * How homes come to know the same: each says which version it goes by (hth_charter_standing); hth_membership_heard says what to do about
 * another's; who asks names some of the versions it knows, and is answered with what comes after the last common one.
 */
#ifndef HTH_CHARTER_MEMBERSHIP_H
#define HTH_CHARTER_MEMBERSHIP_H

#include "charter/charter.h"

enum { HTH_PROPOSALS_MAX = 8, HTH_KNOWN_MAX = 16 };

typedef struct hth_membership hth_membership;

typedef enum hth_charter_outcome {
	HTH_CHARTER_SAME,     /* it was known, or is too old to matter: nothing has changed */
	HTH_CHARTER_TAKEN,    /* it is the current one now */
	HTH_CHARTER_SWITCHED, /* it is of another line, which is everybody's now; hth_membership_lost says what this home makes again */
	HTH_CHARTER_KEPT,     /* it is of another line, and not everybody's; whom it removed may be out all the same */
	HTH_CHARTER_PROPOSED, /* it waits for signatures */
	HTH_CHARTER_GAP,      /* it follows a version that is not known here: ask for the versions between */
} hth_charter_outcome;

HTH_MUST_USE hth_status hth_membership_create(hth_membership **ret_membership, const hth_home_id *self, hth_error *err);
void hth_membership_destroy(hth_membership *membership);

/* The first charter: founded here, brought by an invitation, or read from disk. HTH_CONFLICT: there is one; HTH_DENIED: this home is not in
 * it. */
HTH_MUST_USE hth_status hth_membership_adopt(hth_membership *membership, hth_charter *charter, hth_error *err);
/* The charter that this home goes by; NULL: in no neighbourhood. Where a line that lost removed a member of the one that won, it is the
 * draft that removes it (_unsigned below). Borrowed until the next offer, approve or forget. */
const hth_charter *hth_membership_charter(const hth_membership *membership);
/* What changes are drafted from: the newest version that is signed. The same as the above but for such removals. */
const hth_charter *hth_membership_base(const hth_membership *membership);
/* That draft, for a keeper to sign (it takes a reference) and offer; all keepers' are the same. NULL: there is nothing to remove. */
hth_charter *hth_membership_unsigned(const hth_membership *membership);
/* Whether id is a member now and this home is one, too: who was removed has no neighbours. */
const hth_member *hth_membership_find(const hth_membership *membership, const hth_home_id *id);
void hth_membership_forget(hth_membership *membership); /* this home left, or was removed: no charter */

/* A charter from anybody at all. HTH_DENIED: it is proposed by nobody who counts, or there are too many proposals; HTH_CONFLICT: it is
 * another neighbourhood's or does not follow what it names. The charter stays the caller's. */
HTH_MUST_USE hth_status hth_membership_offer(hth_membership *membership, hth_charter *charter, hth_charter_outcome *ret_outcome,
                                             hth_error *err);
/* The same for what somebody says of whom nobody knows the versions between: it is also taken when it is later than all that is known here,
 * its signatures suffice for the whole difference, and this home is in it. */
HTH_MUST_USE hth_status hth_membership_bridge(hth_membership *membership, hth_charter *charter, hth_charter_outcome *ret_outcome,
                                              hth_error *err);
size_t hth_membership_proposal_count(const hth_membership *membership);
const hth_charter *hth_membership_proposal(const hth_membership *membership, size_t i);
/* Adds this home's signature to a proposal; with it, it may be the next charter. HTH_NOT_FOUND: no such proposal. */
HTH_MUST_USE hth_status hth_membership_approve(hth_membership *membership, const unsigned char hash[HTH_HASH_BYTES],
                                               const hth_identity *identity, hth_charter_outcome *ret_outcome, hth_error *err);
/* The i-th member that this home let in by a version of a line that lost, and that nobody removed since: it is to be let in again. NULL: no
 * more. Borrowed until the next offer, approve or forget. */
const hth_member *hth_membership_lost(const hth_membership *membership, size_t i);

/* ---- what homes tell each other ---- */

typedef struct hth_charter_standing {
	uint32_t version;
	unsigned char hash[HTH_HASH_BYTES]; /* of the base */
	uint64_t removals; /* 0, or a digest of the lines that keep somebody out beside it */
} hth_charter_standing;
typedef enum hth_charter_news { HTH_NEWS_NONE, HTH_NEWS_ASK, HTH_NEWS_TELL } hth_charter_news;
hth_charter_standing hth_membership_standing(const hth_membership *membership);
/* What to do about a home that stands there: ask it (hth_membership_known), or tell it (hth_membership_tell). */
hth_charter_news hth_membership_heard(const hth_membership *membership, const hth_charter_standing *theirs);
/* The hashes of up to HTH_KNOWN_MAX versions that lead to the current one, newest first, ever further apart, the oldest last. */
size_t hth_membership_known(const hth_membership *membership, unsigned char ret_hashes[HTH_KNOWN_MAX][HTH_HASH_BYTES]);

typedef void (*hth_charter_fn)(void *ctx, const hth_charter *charter, bool bridge); /* bridge: to be given to hth_membership_bridge */
/* Answers a home that knows these: the versions that it lacks, in their order. */
void hth_membership_answer(const hth_membership *membership, const unsigned char (*hashes)[HTH_HASH_BYTES], size_t n, hth_charter_fn fn,
                           void *ctx);
/* The versions that do not lead to where that home stands. */
void hth_membership_tell(const hth_membership *membership, const hth_charter_standing *theirs, hth_charter_fn fn, void *ctx);
/* All that is known, in an order in which another membership takes them (adopt, then bridge). */
void hth_membership_each(const hth_membership *membership, hth_charter_fn fn, void *ctx);

#endif
