/* lines.h - the versions of a charter that a home knows, as a tree, and which of them everybody goes by; membership.c's own.
 *
 * Keepers who are cut off from each other make versions that follow the same one: the line of charters forks. Which line is everybody's
 * must not depend on what was heard first, so it is computed from the whole tree, anew whenever the tree has grown:
 *
 *   1. A removal counts against whatever was made *beside* it (neither leads to the other): a version made beside it counts without the
 *      removed home's signature, and is void, with all that follows it, when too few are left. So no removed keeper undoes its removal with
 *      a line of its own.
 *   2. Where removals make each other void, the removal of the home that came in later counts (hth_member.since, which nobody can choose).
 *      A ring of them is opened at the removal of the home that came in last.
 *   3. Of the versions that are not void, the one with the highest number is everybody's; of several, the one with the smallest hash.
 *   4. Whom a line that lost removed, and the line that won kept all the time, is out all the same: the version that removes it is drafted
 *      here, is the same draft everywhere, and holds until a keeper has signed it. A later admission on either line stands; and where
 *      versions between are not known, so that there may have been one, whoever knows them decides.
 *   5. Whom a line that lost let in, its keeper lets in again, unless anybody removed it meanwhile.
 *
 * The tree is bounded: when it is full its beginning is forgotten, and lines that forked before that are not compared any more.
 */
#ifndef HTH_CHARTER_LINES_H
#define HTH_CHARTER_LINES_H

#include "charter/charter-internal.h"

enum { LINES_MAX = 256, LINES_BYTES_MAX = 6 << 20, LINES_BRIDGE_MAX = 1 << 16, LINES_NONE = -1 };

typedef struct line_set { uint64_t bits[LINES_MAX / 64]; } line_set;

typedef struct line_node {
	hth_charter *charter;
	int parent;       /* LINES_NONE: the beginning */
	line_set above;   /* itself, and all that lead to it */
	size_t needs;
	bool leaves, is_void, bridged; /* bridged: between its parent and it are versions that nobody knows here */
	hth_home_id *signers;
	size_t n_signers;
	hth_home_id *removed; /* beside its parent's members */
	uint32_t *removed_since;
	size_t n_removed;
} line_node;

typedef struct charter_lines {
	line_node *nodes; /* parents before children */
	int n, room, tip, forks;
	hth_charter *view; /* the tip without those who are out by rule 4; the tip itself if there are none */
	uint64_t digest;   /* of the removals that rule 4 goes by; 0: none */
	line_set bearing;  /* the versions that make these */
} charter_lines;

static inline bool line_set_has(const line_set *set, int i) { return set->bits[i / 64] >> (i % 64) & 1; }
static inline void line_set_add(line_set *set, int i) { set->bits[i / 64] |= (uint64_t)1 << (i % 64); }

/* The first version known here. Takes a reference, as lines_add does. */
hth_status lines_begin(charter_lines *lines, hth_charter *charter, hth_error *err);
void lines_clear(charter_lines *lines);
int lines_find(const charter_lines *lines, const unsigned char hash[HTH_HASH_BYTES]); /* LINES_NONE: not known */
/* A version that follows parent, with signatures enough. HTH_BUSY: the tree is full of what must be kept. */
hth_status lines_add(charter_lines *lines, int parent, hth_charter *charter, hth_error *err);
/* Another copy of a version that is known: *ret_more, when it brought signatures that count. */
hth_status lines_merge(charter_lines *lines, int at, const hth_charter *copy, bool *ret_more, hth_error *err);
bool lines_leads_to(const charter_lines *lines, int ancestor, int node); /* also to itself */
int lines_fork(const charter_lines *lines, int a, int b);                 /* the last version that leads to both */
/* The next home, from *at on (begin with 0), that self let in on a line that lost and that is to be let in again. */
const hth_member *lines_lost_admission(const charter_lines *lines, const hth_home_id *self, int *at, size_t *place);

#endif
