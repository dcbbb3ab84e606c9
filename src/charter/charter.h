/* charter.h - what a neighbourhood is: a signed document with its name, its members' keys and roles, its rules and its version.
 *
 * A charter never changes: a change is the next version, which names the hash of the one before and carries the signatures that the one
 * before asks for. Version 1 is its founder's, alone, and its hash is the neighbourhood's id. Whoever is in the newest charter is a member;
 * there is no other list.
 *
 *   who may              asks for
 *   admit members        rules.admit_needs keepers' signatures
 *   all other changes    rules.change_needs keepers' signatures (remove, roles, names, rules)
 *   leave                the leaving member's own signature
 * Signatures count when their signers are keepers in the version before (and, for a removal, the removed may sign, too: it is still a
 * keeper). A charter always has at least as many keepers as it asks signatures of, so that it can go on being changed.
 *
 * Pure: no clock, no input or output. Bytes from outside are bounded (HTH_CHARTER_BYTES_MAX) and canonical (canon.h): a body has one hash.
 */
#ifndef HTH_CHARTER_CHARTER_H
#define HTH_CHARTER_CHARTER_H

#include "seal/identity.h"

enum {
	HTH_POOL_NAME_MAX = 64, HTH_MEMBER_NAME_MAX = 64, /* with their NULs */
	HTH_MEMBERS_MAX = 1024, HTH_CHARTER_SIGNATURES_MAX = 32, HTH_CHARTER_BYTES_MAX = 400 << 10,
};

typedef enum hth_role { HTH_ROLE_MEMBER = 0, HTH_ROLE_KEEPER = 1 } hth_role;

typedef struct hth_member {
	hth_card card;
	char name[HTH_MEMBER_NAME_MAX];
	hth_role role;
	uint32_t since; /* the version that let it in */
} hth_member;

enum { HTH_CHARTER_NEIGHBOURS = 1, HTH_CHARTER_PUBLIC = 2 }; /* classes of work; there is no bit for private */
typedef struct hth_rules {
	unsigned classes;           /* HTH_CHARTER_*: what members may ask of each other at all; not 0 */
	uint32_t requests_per_hour; /* of one member to another; 0: no limit */
	uint32_t credit_line;       /* tokens by which a pair's balance counts at most, either way */
	unsigned admit_needs, change_needs; /* keepers' signatures, 1 to HTH_CHARTER_SIGNATURES_MAX */
} hth_rules;

typedef struct hth_charter hth_charter;

/* Version 1, signed. founder becomes the only member, a keeper; rules must ask for one signature. */
HTH_MUST_USE hth_status hth_charter_found(hth_charter **ret_charter, const char *name, const hth_rules *rules, const hth_identity *founder,
                                          const char *founder_name, hth_error *err);
hth_charter *hth_charter_ref(hth_charter *charter);
void hth_charter_unref(hth_charter *charter);

const char *hth_charter_name(const hth_charter *charter);
uint32_t hth_charter_version(const hth_charter *charter);
const unsigned char *hth_charter_hash(const hth_charter *charter);    /* HTH_HASH_BYTES, of everything but the signatures */
const unsigned char *hth_charter_pool_id(const hth_charter *charter); /* HTH_HASH_BYTES */
const hth_rules *hth_charter_rules(const hth_charter *charter);
size_t hth_charter_member_count(const hth_charter *charter);
const hth_member *hth_charter_member(const hth_charter *charter, size_t i); /* in order of ids */
const hth_member *hth_charter_find(const hth_charter *charter, const hth_home_id *id); /* NULL: not a member */
size_t hth_charter_signature_count(const hth_charter *charter);

/* ---- changes: drafts of the next version, without signatures ---- */
HTH_MUST_USE hth_status hth_charter_admit(hth_charter **ret_draft, const hth_charter *from, const hth_card *card, const char *name,
                                          hth_role role, hth_error *err);
HTH_MUST_USE hth_status hth_charter_remove(hth_charter **ret_draft, const hth_charter *from, const hth_home_id *id, hth_error *err);
/* All of n members at once; the same members of the same version make the same bytes, whoever drafts them. */
HTH_MUST_USE hth_status hth_charter_remove_all(hth_charter **ret_draft, const hth_charter *from, const hth_home_id *ids, size_t n,
                                               hth_error *err);
HTH_MUST_USE hth_status hth_charter_appoint(hth_charter **ret_draft, const hth_charter *from, const hth_home_id *id, hth_role role,
                                            hth_error *err);
HTH_MUST_USE hth_status hth_charter_amend(hth_charter **ret_draft, const hth_charter *from, const hth_rules *rules, hth_error *err);
/* Adds this identity's signature, if it is not there yet. The charter must not be shared yet with somebody who relies on it. */
HTH_MUST_USE hth_status hth_charter_sign(hth_charter *charter, const hth_identity *identity, hth_error *err);
/* Adds the good signatures of another copy of the same body that this one lacks; strip copy first, or strangers' signatures take the
 * room. */
void hth_charter_merge(hth_charter *charter, const hth_charter *copy);
/* Takes away the signatures that are not good, or not of a member in `from`. */
void hth_charter_strip(hth_charter *charter, const hth_charter *from);

/* Whether next is the version after from: HTH_OK. HTH_DENIED: signatures are missing (the message says how many); HTH_CONFLICT: it is
 * not the next one, or of another line or neighbourhood, or says of a member that it has been there for longer or shorter than it has. */
HTH_MUST_USE hth_status hth_charter_follows(const hth_charter *from, const hth_charter *next, hth_error *err);
/* The same but for the versions between: whether the signatures suffice for the whole difference, when next is later. */
HTH_MUST_USE hth_status hth_charter_overrules(const hth_charter *from, const hth_charter *next, hth_error *err);

void hth_charter_encode(const hth_charter *charter, hth_buf *out);
/* HTH_BAD_FORMAT, HTH_TOO_LARGE. Signatures are checked when they are counted, not here; cards are checked here. */
HTH_MUST_USE hth_status hth_charter_decode(hth_charter **ret_charter, const void *bytes, size_t len, hth_error *err);

#endif
