/* street.h - this home's place in its neighbourhood: who the neighbours are, and letters to and from them.
 *
 * Owns the charter, the invitations and the trust marks on disk ($HEARTH_HOME/street), the connection to the hubs (link/) and the envelopes
 * (seal/). What is above (pool/, blocks/, by way of node/) sees members and payloads: a letter that arrives has been opened, its sender is
 * a member now, and it comes at most once. A letter that is sent may be lost, overtake another, or come late: whoever needs more asks
 * again. Everything here is called on the loop's thread.
 */
#ifndef HTH_STREET_STREET_H
#define HTH_STREET_STREET_H

#include "charter/charter.h"
#include "loop/loop.h"

typedef struct hth_street hth_street;

/* What a letter is about; its first byte inside the envelope. */
typedef enum hth_letter_kind {
	HTH_LETTER_STREET = 1, /* hello, charters, joining and leaving: street's own */
	HTH_LETTER_POOL = 2,   /* asking and serving (pool/capability.h) */
	HTH_LETTER_BLOCKS = 3, /* model files, in chunks */
} hth_letter_kind;

enum { HTH_STREET_PAYLOAD_MAX = 490 << 10 };

/* Any may be NULL. Not called from inside the functions below, but for `letter` and `members` from the loop. */
typedef struct hth_street_events {
	void *ctx;
	/* The charter that this home goes by has changed; NULL: it is in no neighbourhood (any more). Borrowed. Also called once at
	 * start. */
	void (*members)(void *ctx, const hth_charter *charter);
	/* Its owner's word on a member has changed. Called for every trusted member after each `members`. */
	void (*trusted)(void *ctx, const hth_home_id *id, bool trusted);
	/* Letters of the kinds POOL and BLOCKS. bytes are borrowed. */
	void (*letter)(void *ctx, hth_letter_kind kind, const hth_home_id *from, const void *bytes, size_t len);
	/* There is a hub now, or there is none. */
	void (*connected)(void *ctx, bool connected);
	/* A member answered after silence or has restarted, or has been silent for 15 s. */
	void (*online)(void *ctx, const hth_home_id *id, bool online);
} hth_street_events;

typedef struct hth_street_member {
	const hth_member *member; /* borrowed */
	bool self, online, trusted;
	double rtt_s;             /* 0: not measured */
	uint64_t heard_ms;        /* hth_clock_ms of its last letter; 0: none since the start */
} hth_street_member;

/* NULL: in no neighbourhood. */
const hth_charter *hth_street_charter(const hth_street *street);
void hth_street_each(const hth_street *street, void (*fn)(void *ctx, const hth_street_member *member), void *ctx);
/* Seals and sends. HTH_NOT_FOUND: not a member; HTH_BUSY: no hub, or too much waits to be sent; HTH_TOO_LARGE.
 * HTH_OK promises nothing more than that it was handed to the link. */
HTH_MUST_USE hth_status hth_street_send(hth_street *street, hth_letter_kind kind, const hth_home_id *to, const void *bytes, size_t len,
                                        hth_error *err);

/* Whether somebody waits for letters: then a hub that falls silent is noticed within two seconds, else within ten (link.h). */
void hth_street_urgent(hth_street *street, bool urgent);
/* So many bytes of letters that were sent, or came, have a row of their own in the egress log: the connection's row does not count them
 * again. */
void hth_street_told(hth_street *street, uint64_t sent, uint64_t received);

#endif
