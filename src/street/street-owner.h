/* street-owner.h - a home's place in its neighbourhood as its owner's commands see it: making one, inviting, joining, leaving, trusting,
 * hosting the hub.
 *
 * What is decided is on disk ($HEARTH_HOME/street/state, replaced whole) before it is told to anybody. All on the loop's thread.
 */
#ifndef HTH_STREET_STREET_OWNER_H
#define HTH_STREET_STREET_OWNER_H

#include "charter/invitation.h"
#include "link/link.h"
#include "street/street.h"

enum { HTH_STREET_EXPIRES_S = 24 * 3600, HTH_STREET_EXPIRES_MAX_S = 30 * 24 * 3600 };

typedef struct hth_street_options {
	hth_loop *loop;
	const char *home;      /* $HEARTH_HOME */
	const char *home_name; /* how this home calls itself to neighbours */
	const char *program;   /* as in hub.h */
	/* The configured limits of time are real ones, unless a test says otherwise; 0: the usual. */
	uint64_t hello_ms;
} hth_street_options;

/* Reads what is on disk and connects, if this home is in a neighbourhood. events.members is called from the loop. */
HTH_MUST_USE hth_status hth_street_create(hth_street **ret_street, const hth_street_options *options, const hth_street_events *events,
                                          hth_error *err);
void hth_street_destroy(hth_street *street);

/* A neighbourhood of one. hub: HOST:PORT that this machine serves; external: the owner's own nats-server is there, and fingerprint is its
 * certificate's; then *ret_snippet (borrowed) is the file that its configuration must include, else NULL. */
typedef struct hth_street_hub_choice {
	const char *address;
	bool external;
	unsigned char fingerprint[HTH_FINGERPRINT_BYTES]; /* of an external one */
} hth_street_hub_choice;
HTH_MUST_USE hth_status hth_street_found(hth_street *street, const char *name, const hth_street_hub_choice *hub, const char **ret_snippet,
                                         hth_error *err);
/* Hosts a hub from now on, beside the one that there may be; address NULL: not any more. */
HTH_MUST_USE hth_status hth_street_host(hth_street *street, const hth_street_hub_choice *hub, const char **ret_snippet, hth_error *err);
/* One line that lets in one home. expires_s 0: a day. */
HTH_MUST_USE hth_status hth_street_invite(hth_street *street, uint32_t expires_s, char ret_line[HTH_INVITATION_LINE_MAX],
                                          uint64_t *ret_expires_ms, hth_error *err);
/* Takes back every invitation that is out. */
HTH_MUST_USE hth_status hth_street_revoke(hth_street *street, hth_error *err);
/* fn is called once, from the loop, unless this fails: NULL when this home is a member now, else why not. */
typedef void (*hth_street_joined_fn)(void *ctx, const hth_error *why_not);
HTH_MUST_USE hth_status hth_street_join(hth_street *street, const char *line, hth_street_joined_fn fn, void *ctx, hth_error *err);
void hth_street_join_forget(hth_street *street, void *ctx); /* whoever asked has left; the joining goes on */
/* *ret_told: whether there was a hub to tell the neighbours through. */
HTH_MUST_USE hth_status hth_street_leave(hth_street *street, bool *ret_told, hth_error *err);
/* who: a member's name, or the beginning of its id (4 digits or more). HTH_NOT_FOUND, HTH_INVALID: more than one is called so. */
HTH_MUST_USE hth_status hth_street_trust(hth_street *street, const char *who, bool trusted, hth_error *err);
HTH_MUST_USE hth_status hth_street_find(const hth_street *street, const char *who, hth_home_id *ret_id, hth_error *err);
/* Changes of the charter. *ret_done false: it waits for other keepers' signatures. */
HTH_MUST_USE hth_status hth_street_remove(hth_street *street, const char *who, bool *ret_done, hth_error *err);
HTH_MUST_USE hth_status hth_street_appoint(hth_street *street, const char *who, bool keeper, bool *ret_done, hth_error *err);
/* change: the beginning of its hash in hexadecimal; NULL or "": the only one that waits. */
HTH_MUST_USE hth_status hth_street_approve(hth_street *street, const char *change, bool *ret_done, hth_error *err);

typedef struct hth_street_proposal {
	char hash[2 * HTH_HASH_BYTES + 1], what[160];
} hth_street_proposal;
typedef struct hth_street_hub_state {
	char address[HTH_LINK_ADDRESS_MAX];
	const hth_home_id *home; /* borrowed */
	bool self, connected;
} hth_street_hub_state;
typedef struct hth_street_state {
	bool connected, hosting, hub_running;
	char hub[HTH_LINK_ADDRESS_MAX]; /* that it is connected to; "" */
	char trouble[320];              /* why it is not connected, or what is wrong with this home's hub; "" */
	size_t invitations;             /* that are out */
	hth_street_proposal proposals[8];
	size_t n_proposals;
	hth_street_hub_state hubs[HTH_LINK_HUBS_MAX];
	size_t n_hubs;
	uint64_t rejected; /* letters that were not believed, since the start */
} hth_street_state;
void hth_street_describe(const hth_street *street, hth_street_state *ret_state);
const hth_home_id *hth_street_self(const hth_street *street);

#endif
