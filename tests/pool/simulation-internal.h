/* simulation-internal.h - what the simulation's files share: homes, events, the world. */
#ifndef TESTS_SIMULATION_INTERNAL_H
#define TESTS_SIMULATION_INTERNAL_H

#include "simulation.h"

#include "base/mem.h"
#include "charter/membership.h"
#include "pool/pool.h"

enum { STREET_MAX = 65 };

typedef enum liar_kind { HONEST, MAKES_UP, BOASTS, GARBLES } liar_kind;
typedef enum request_state { R_NEW, R_QUEUED, R_RUNNING, R_ABROAD, R_DONE, R_LOST } request_state; /* LOST: its own home lost power */

typedef struct sim_request {
	uint32_t home, prompt, tokens, expected, have, text; /* have, text: tokens and bytes of text that came */
	uint64_t seed, arrived_ms, first_ms;
	uint8_t privacy, state, ends;
	bool tainted; /* somebody made tokens up */
	bool garbled, touched; /* its text is not what it should be; it was with a home that damages its letters, so that may be */
} sim_request;

typedef struct sim_job { /* in an engine */
	bool own, running, begun, held, waiting_chunk;
	bool beside; /* begun at home while a neighbour has it, too */
	uint64_t id; /* request's index, or the pool's work number */
	uint32_t prompt, tokens, made;
	uint32_t n_counted, counted; /* bytes that the first so many tokens stand for */
	uint32_t text; /* bytes that are out: they lag a token behind, as text does that may become a stop string */
	uint64_t seed, since_ms, serial;
} sim_job;

typedef struct sim_disk {
	hth_entry *entries;
	size_t n, cap;
	size_t last[STREET_MAX][2]; /* by place in the street and side: the chain's last entry, from 1 */
} sim_disk;

typedef struct sim_home {
	hth_home_id id;
	uint32_t index, street, slots;
	uint64_t secret;
	hth_identity *identity; /* with real keys only */
	double prefill, decode;
	liar_kind liar;
	bool up, dead; /* dead: lost power within a write; taken down after the event */
	uint64_t cut_until, frozen_until, slow_until, epoch;
	hth_pool *pool;
	hth_ledger *ledger;
	hth_rng rng;
	sim_disk disk;
	sim_job *jobs;
	size_t n_jobs, cap_jobs;
	uint64_t wake_ms;
	hth_membership *membership; /* on disk before anybody hears of it: it outlives losses of power */
	struct sim_models *models; /* simulation-models.c; NULL: without faults */
	uint64_t asked_ms; /* for versions between */
	uint32_t out_since; /* the version that it was removed by */
	uint32_t falsified_by_peer[STREET_MAX]; /* by place in the street: made-up answers that were believed */
} sim_home;

typedef enum event_kind { E_ARRIVE, E_LETTER, E_WAKE, E_CHUNK, E_DONE, E_DOWN, E_UP, E_CUT, E_HUB, E_FREEZE, E_SLOW,
                          /* from E_CHANGE on: simulation-members.c; the last: simulation-models.c */
                          E_CHANGE, E_APART, E_LEAVE, E_PULSE, E_HELLO, E_ASK, E_CHARTER, E_MODELS } event_kind;
typedef struct sim_key { /* in the heap: small, because a region has a hundred thousand letters under way */
	uint64_t at, order;
	uint32_t place; /* of the event */
} sim_key;
typedef struct sim_event {
	uint64_t at;
	uint32_t home, from, len;
	uint8_t kind;
	uint64_t number, epoch;
	unsigned char *bytes;
} sim_event;

typedef struct sim {
	sim_options o;
	sim_result *result;
	hth_rng rng;
	uint64_t now, order, end;
	sim_key *heap;
	sim_event *events;
	uint32_t *free_places;
	size_t n_heap, cap_heap; /* of all three: as many places are taken as the heap has keys */
	sim_home *homes;
	hth_charter **charters; /* by street */
	uint64_t *hub_down_until, *apart_until; /* of each street */
	sim_request *requests;
	size_t n_requests, cap_requests;
	uint32_t *by_id; /* open addressing: ids to homes */
	size_t by_id_mask;
	uint64_t serial;
	float *waits;
} sim;

/* simulation.c */
void sim_problem(const char *fmt, ...) HTH_PRINTF(1, 2); /* the first one counts */
double sim_unit(void);
uint64_t sim_between(uint64_t low, uint64_t high);
double sim_exponential(double mean);
void sim_push(sim_event e);
bool sim_is_cut(const sim_home *from, const sim_home *to); /* whether a letter is lost now */
uint64_t sim_delay(const sim_home *from, const sim_home *to);
hth_signer sim_signer_of(sim_home *h);
hth_status sim_disk_put(void *ctx, const hth_entry *entry, hth_error *err);
sim_home *sim_home_of(const hth_home_id *id);
void sim_members_changed(sim_home *h); /* its pool hears who the neighbours are */

/* simulation-members.c: the charter's life in every street. */
void sim_members_begin(sim *s);
void sim_members_adopt(sim *s, sim_home *h);
bool sim_members_event(sim *s, sim_home *h, sim_event *e); /* false: it is another kind of event */
bool sim_members_apart(const sim_home *from, const sim_home *to); /* the street is torn in two, and they are in different halves */
void sim_members_restore(sim *s);                          /* everybody is admitted again: the end is near */
bool sim_members_agree(const sim *s);                      /* everybody of a street by one charter */
void sim_members_check(sim *s);
void sim_members_end(sim *s);

void sim_check_end(sim *s); /* simulation-check.c */

/* simulation-models.c: models from next door. */
void sim_models_begin(sim *s);
void sim_models_event(sim_home *h, sim_event *e);
void sim_models_down(sim_home *h); /* it has lost power */
void sim_models_up(sim_home *h);
void sim_models_members(sim_home *h); /* who its neighbours are has changed */
bool sim_models_busy(const sim *s);
void sim_models_check(sim *s);
void sim_models_end(sim *s);

#endif
