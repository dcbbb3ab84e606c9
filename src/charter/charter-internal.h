/* charter-internal.h - what the files of charter/ share; nobody else includes it. */
#ifndef HTH_CHARTER_CHARTER_INTERNAL_H
#define HTH_CHARTER_CHARTER_INTERNAL_H

#include "charter/charter.h"

typedef struct charter_signature {
	hth_home_id id;
	unsigned char bytes[HTH_SIGNATURE_BYTES];
} charter_signature;

struct hth_charter {
	unsigned refs;
	unsigned char pool_id[HTH_HASH_BYTES], previous[HTH_HASH_BYTES], hash[HTH_HASH_BYTES];
	uint32_t version;
	char name[HTH_POOL_NAME_MAX];
	hth_rules rules;
	hth_member *members; /* sorted by id */
	size_t n_members;
	charter_signature signatures[HTH_CHARTER_SIGNATURES_MAX]; /* sorted by id */
	size_t n_signatures;
};

/* A charter of refs 1 with room for n members; NULL: no memory. */
hth_charter *charter_alloc(size_t n_members);
hth_charter *charter_clone(const hth_charter *from); /* NULL: no memory */
/* Checks all invariants of the body and computes the hash (and, of version 1, the pool's id). */
hth_status charter_seal_body(hth_charter *charter, hth_error *err);
bool charter_signature_holds(const hth_charter *charter, const charter_signature *signature);
void charter_add_signature(hth_charter *charter, const charter_signature *signature);
/* The signatures that `next` asks for of the keepers of `from`, and which good ones it has; *ret_leaves: it is one member's leaving, signed
 * by itself, and asks for no other. */
size_t charter_needs(const hth_charter *from, const hth_charter *next, bool *ret_leaves);
size_t charter_signers(const hth_charter *from, const hth_charter *next, hth_home_id ret_signers[HTH_CHARTER_SIGNATURES_MAX]);
size_t charter_position(const hth_charter *charter, const hth_home_id *id, bool *ret_found);

#endif
