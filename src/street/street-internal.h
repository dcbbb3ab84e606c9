/* street-internal.h - what the files of street/ share; nobody else includes it. All on the loop's thread. */
#ifndef HTH_STREET_STREET_INTERNAL_H
#define HTH_STREET_STREET_INTERNAL_H

#include "charter/membership.h"
#include "link/hub.h"
#include "seal/envelope.h"
#include "store/store.h"
#include "street/street-owner.h"

enum {
	STREET_HELLO_MS = 5000, STREET_SILENT_MS = 15000, STREET_HELLOS = 64, STREET_DOORS_MAX = 128, STREET_HUBS_MAX = 2,
	    STREET_LETTER_LIFE_MS = 30000,
	STREET_STATE_MAX = 16 << 20, STREET_DOOR_GRACE_MS = 10000, STREET_EGRESS_MS = 3600 * 1000,
	STREET_REJECT_LOG_MS = 60000, STREET_FLOOD = 2000,
};

/* The first byte of a letter of street's own kind. */
typedef enum street_verb {
	/* session u64 | wants an answer bool | ping u64 | pong u64 | pong's delay in us u32 | hth_charter_standing: version u32, hash 32,
	 * removals u64 */
	STREET_HELLO = 1,
	STREET_CHARTER = 2, /* charter blob | whether nobody knows the versions before it bool */
	STREET_ASK = 3,     /* n u8 | n times: hash 32 of a version that is known (hth_membership_known) */
	STREET_HUB = 4,     /* address text ("": none) | fingerprint 32 | certificate blob */
	STREET_DOOR = 5,    /* n u8 | n times: key 32, expires u64 */
	STREET_JOIN = 6,    /* secret 16 | card | name text | session u64 */
	STREET_WELCOME = 7, /* charter blob | n u8 | n times: home 32, address text, fingerprint 32 */
	STREET_REFUSED = 8, /* text */
	STREET_WAIT = 9,    /* nothing: a keeper is to agree */
} street_verb;

/* What this home knows of a member beside the charter. */
typedef struct street_peer {
	hth_home_id id;
	uint64_t session;         /* of its inbox; 0: not known */
	uint64_t session_issued_ms; /* the date of the letter that said so */
	uint64_t heard_ms, greeted_ms, measured_ms;
	uint64_t asked_ms, told_ms; /* for the charters between; of those that it seems to lack */
	uint64_t ping_in, ping_in_us; /* its last ping, and when it came */
	bool online;
	double rtt_s;
	unsigned letters; /* since the last pulse */
	uint64_t flood_told_ms;
} street_peer;

/* Somebody invited may knock at the hub with this key until it closes. */
typedef struct street_door {
	unsigned char key[32];
	hth_home_id inviter;
	uint64_t expires_ms; /* Unix */
	uint64_t closes_ms;  /* Unix; 0: not used yet */
} street_door;

typedef struct street_hub {
	hth_home_id home;
	char address[HTH_LINK_ADDRESS_MAX];
	unsigned char fingerprint[HTH_FINGERPRINT_BYTES], certificate[HTH_HUB_CERTIFICATE_MAX];
	size_t certificate_len; /* 0: not known */
} street_hub;

typedef struct street_guest street_guest; /* street-join.c: this home, knocking */

struct hth_street {
	hth_street_options options;
	char home[3900], home_name[HTH_MEMBER_NAME_MAX];
	hth_street_events events;
	hth_identity *identity;
	hth_membership *membership;
	hth_inbox *inbox;
	bool at_door; /* the letter being opened came to the door, where strangers may knock */
	hth_store *store;
	hth_link *link;
	hth_hub *hub;
	char hub_address[HTH_LINK_ADDRESS_MAX]; /* that this home hosts; "" */
	bool hub_external;
	unsigned char hub_fingerprint[HTH_FINGERPRINT_BYTES]; /* of an external one */
	char snippet[4200], trouble[320], hub_trouble[320];
	hth_timer *tick, *soon, *farewell;
	street_peer *peers; /* one per member but this home, in the charter's order */
	size_t n_peers, next_greeted;
	hth_home_id *trust;
	size_t n_trust;
	street_hub hubs[STREET_HUBS_MAX]; /* of other members */
	size_t n_hubs;
	street_door doors[STREET_DOORS_MAX];
	size_t n_doors;
	hth_invitation_book *book;
	street_guest *guest;
	hth_charter *announced; /* what events.members was last told; NULL: none */
	bool tell_members, leaving, told_once, mending;
	hth_buf letter, sealed;
	uint64_t rejected, rejected_told, rejected_told_ms, egress_ms;
	unsigned knocks;
	hth_link_counts egress_told, told_apart; /* apart: in other rows, by hth_street_told */
	char egress_host[HTH_LINK_ADDRESS_MAX];
};

uint64_t street_unix_ms(void);
bool street_is_self(const hth_street *s, const hth_home_id *id);
street_peer *street_peer_of(const hth_street *s, const hth_home_id *id); /* NULL: not a member, or this home */
/* "hearth.POOL.WHAT.ID" */
void street_subject(const unsigned char pool_id[HTH_HASH_BYTES], const char *what, const unsigned char id[32],
                    char ret_subject[HTH_SUBJECT_MAX]);

/* street-state.c */
hth_status street_load(hth_street *s, hth_error *err);
hth_status street_save(hth_street *s, hth_error *err);
void street_erase(hth_street *s); /* nothing of a neighbourhood is left on disk */

/* street-letters.c: what goes out, and what is done with what comes in. */
void street_begin(hth_street *s, street_verb verb); /* starts s->letter */
hth_status street_post(hth_street *s, hth_link *link, const hth_card *to, const char *subject, uint64_t session, hth_letter_kind kind,
                       const void *bytes, size_t len, hth_error *err);
void street_post_letter(hth_street *s, const hth_member *to); /* s->letter, to a member */
void street_greet(hth_street *s, street_peer *peer, bool wants_answer);
void street_send_charter(hth_street *s, const hth_member *to, const hth_charter *charter, bool bridge);
void street_ask(hth_street *s, street_peer *peer); /* for the charters that this home lacks; now and then */
void street_broadcast(hth_street *s, const hth_charter *charter, const hth_charter *also); /* also: its members, too; may be NULL */
void street_send_hub(hth_street *s, const hth_member *to);
void street_send_doors(hth_street *s, const hth_member *to);
void street_message(void *ctx, const char *subject, const void *bytes, size_t len); /* hth_link_events */
void street_reject(hth_street *s, const hth_error *why);

/* street.c */
hth_status street_who(const hth_street *s, const char *who, const hth_member **ret_member, hth_error *err);

/* street-change.c: the charter changes. */
/* Signs draft if this home may, and makes it the charter or proposes it. Takes the draft. */
hth_status street_change(hth_street *s, hth_charter *draft, bool *ret_done, hth_error *err);
hth_status street_admit(hth_street *s, const hth_card *card, const char *name, bool *ret_done, hth_error *err);
void street_offered(hth_street *s, const hth_home_id *from, const void *bytes, size_t len, bool bridge);
void street_rebuild_peers(hth_street *s);
void street_forget(hth_street *s, const char *why);
void street_tell_members_soon(hth_street *s);

/* street-hub.c: this home's hub, and the connection. */
hth_status street_hub_start(hth_street *s, hth_error *err); /* if hub_address says so */
void street_hub_users(hth_street *s);
void street_hub_peer(hth_street *s);
hth_status street_connect(hth_street *s, hth_error *err);   /* opens the link, if there is none */
void street_aim(hth_street *s);                             /* tells the link the hubs as they are known now */
void street_egress(hth_street *s);
void street_close_doors(hth_street *s, uint64_t now_ms);
bool street_learn_hub(hth_street *s, const hth_home_id *home, const char *address, const unsigned char *fingerprint,
                      const unsigned char *certificate,
                      size_t certificate_len); /* true: something is new */

/* street-join.c */
void street_knocked(hth_street *s, const hth_opened *letter, hth_canon_reader *r);
void street_answered(hth_street *s, street_verb verb, const hth_opened *letter, hth_canon_reader *r); /* to this home's own knocking */
bool street_guest_knows(const hth_street *s, const hth_home_id *id);
const char *street_guest_subject(const hth_street *s); /* NULL: it does not knock */
void street_guest_end(hth_street *s, const hth_error *why_not);
void street_guest_drop(hth_street *s); /* without a word to whoever asked */
void street_guest_progress(hth_street *s); /* something changed that it may have waited for */

#endif
