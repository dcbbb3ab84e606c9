/* neighbours.h - what the files of this folder that deal with other homes share: neighbours.c (the pool machine in the daemon), capacity.c
 * (what this home has and how fast it is), lending.c (their work here), borrowing.c (this home's requests there), spot-check.c. All on the
 * loop's thread.
 *
 * The machine's callbacks may not call back into it, and what they tell reaches requests, whose ends reach clients, who may cancel others:
 * so what it tells becomes an event, and events are dealt with when the call into the machine is over (hth_neighbours_settle).
 */
#ifndef HTH_NODE_NEIGHBOURS_H
#define HTH_NODE_NEIGHBOURS_H

#include "ledger/ledger.h"
#include "node/node-internal.h"
#include "pool/description.h"
#include "pool/pool.h"
#include "store/store.h"

enum { HTH_CAPACITY_MODELS_MAX = 64, HTH_DESCRIPTIONS_MAX = 128, HTH_LEND_SLOTS_MAX = 4, HTH_STANDINGS_MAX = 256, HTH_PARTS_MAX = 12 };

/* A model on this home's disk. */
typedef struct hth_own_model {
	char name[HTH_MODEL_NAME_MAX];
	unsigned char hash[HTH_HASH_BYTES];
	uint64_t bytes, device, inode; /* of its file, as catalog.h has them */
	double prefill, decode; /* tokens a second; measured, or a guess from its size */
	bool measured;
	hth_runner_info *info;  /* owned; what its runner said when it was loaded here last; NULL: it was not yet */
	bool ready, room;       /* loaded now; loaded, or could be without pushing out another */
	uint32_t active, slots; /* requests that it has, and computes at once */
} hth_own_model;

/* A model that a neighbour described. */
typedef struct hth_far_model {
	hth_home_id from;
	unsigned char hash[HTH_HASH_BYTES];
	hth_runner_info info; /* name: the neighbour's for it */
	int64_t heard_unix;
	unsigned char facts[HTH_HASH_BYTES], known[HTH_HASH_BYTES]; /* of info; of the file, where it was read here */
	bool disputed;                       /* homes differ about it, and none is believed: it is not offered */
	hth_voice voices[HTH_VOICES_MAX];
	size_t n_voices;
} hth_far_model;

/* What checks found of a home, as it is kept. */
typedef struct hth_kept_standing {
	hth_home_id id;
	double doubt;
	int64_t caught_unix; /* 0: it is believed */
	char why[200];
} hth_kept_standing;

/* Who made an answer from this token and this byte of its text on. */
typedef struct hth_answer_part {
	hth_home_id by;
	size_t from, text_from;
} hth_answer_part;

typedef struct hth_lent hth_lent;
typedef struct hth_borrowed hth_borrowed;
typedef struct hth_spot_check hth_spot_check;
typedef struct hth_neighbour_event hth_neighbour_event;

typedef struct hth_neighbours {
	hth_node *node;
	hth_identity *identity;
	hth_store *store;
	hth_ledger *ledger;
	hth_pool *pool;
	hth_rng rng;
	hth_timer *timer, *yield_timer, *send_timer;
	uint64_t unix_ms, mono_ms; /* the same moment; receipts need dates, and time must not jump */
	hth_neighbour_event *events, **events_end;
	bool settling, connected, closing;
	size_t n_members; /* of the charter; up to 1: there is nobody but this home */
	/* capacity.c */
	hth_own_model models[HTH_CAPACITY_MODELS_MAX];
	size_t n_models;
	uint64_t looked_ms, saved_ms;
	bool speeds_changed;
	struct hth_kept_speed *speeds; /* of models that were here */
	size_t n_speeds;
	int64_t lent_day;
	uint64_t lent_tokens; /* made for others on that day */
	/* neighbours.c */
	hth_far_model *far[HTH_DESCRIPTIONS_MAX];
	size_t n_far;
	uint64_t described_ms, judged_ms; /* when somebody was asked last; when what they said was weighed */
	/* lending.c, borrowing.c, spot-check.c */
	hth_lent *lent;
	size_t n_lent, n_lent_running;
	bool own_first; /* the home's own work has gone on for so long that others' stopped */
	hth_borrowed *borrowed;
	uint64_t next_ask;
	size_t n_abroad;
	hth_spot_check *checks;
	hth_kept_standing standings[HTH_STANDINGS_MAX]; /* standings.c */
	size_t n_standings;
	hth_request *warming; /* a reference; it loads a model that somebody wants described */
	struct {
		uint64_t lent, lent_tokens, borrowed, borrowed_tokens, came_home, checks, misses, checked_tokens, refused_record;
	} counts;
} hth_neighbours;

/* ---- neighbours.c ---- */
uint64_t hth_neighbours_now_ms(const hth_neighbours *nb);
/* After every call into the machine: deals with what it told, and sets the timer. */
void hth_neighbours_settle(hth_neighbours *nb);
const char *hth_neighbours_name(const hth_neighbours *nb, const hth_home_id *id); /* borrowed from the charter; "a former neighbour" */
/* by either; NULL: none */
const hth_far_model *hth_neighbours_far_model(const hth_neighbours *nb, const char *name, const unsigned char *hash);

/* ---- descriptions.c ---- */
void hth_descriptions_ask(hth_neighbours *nb); /* now and then: homes that offer a model, what it is */
void hth_descriptions_weigh(hth_neighbours *nb); /* whose word counts may be another now */
void hth_descriptions_tick(hth_neighbours *nb);
void hth_descriptions_give(hth_neighbours *nb, const hth_home_id *to, const unsigned char hash[HTH_HASH_BYTES]);
void hth_descriptions_keep(hth_neighbours *nb, const hth_home_id *from, const hth_description *description);

/* ---- capacity.c ---- */
void hth_capacity_refresh(hth_neighbours *nb, bool now);
hth_own_model *hth_capacity_find(hth_neighbours *nb, const char *name);
hth_own_model *hth_capacity_find_hash(hth_neighbours *nb, const unsigned char hash[HTH_HASH_BYTES]);
/* Tells the machine how this home stands; model: whose wait is told (NULL: nobody's). */
void hth_capacity_tell(hth_neighbours *nb, const hth_own_model *model);
void hth_capacity_measured(hth_neighbours *nb, const char *model, const hth_usage *usage);
size_t hth_capacity_own_active(const hth_neighbours *nb); /* the home's own requests here */
void hth_capacity_load(hth_neighbours *nb);
void hth_capacity_save(hth_neighbours *nb);

/* ---- lending.c ---- */
void hth_lending_serve(hth_neighbours *nb, const hth_pool_work *work);
void hth_lending_stop(hth_neighbours *nb, uint64_t work);
void hth_lending_hold(hth_neighbours *nb, uint64_t work, bool held);
void hth_lending_start_waiting(hth_neighbours *nb);
void hth_lending_yield_all(hth_neighbours *nb, const char *except_model); /* except works of this model; NULL: all */
void hth_lending_send_due(void *neighbours);
void hth_lending_finish(hth_neighbours *nb);

/* ---- borrowing.c ---- */
bool hth_borrowing_leaves(hth_neighbours *nb, uint64_t ask, const hth_home_id *to, size_t words_len, const char *why, bool also);
void hth_borrowing_tokens(hth_neighbours *nb, uint64_t ask, const hth_pool_run *run);
void hth_borrowing_ended(hth_neighbours *nb, uint64_t ask, const hth_home_id *by, bool check, uint8_t finish, uint8_t stop);
void hth_borrowing_go_home(hth_neighbours *nb, uint64_t ask, const char *why);
void hth_borrowing_failed(hth_neighbours *nb, uint64_t ask);
void hth_borrowing_now_by(hth_neighbours *nb, uint64_t ask, const hth_home_id *by);
bool hth_borrowing_may_begin(hth_neighbours *nb, uint64_t ask); /* a second time, at home */
void hth_borrowing_also_home(hth_neighbours *nb, uint64_t ask);
void hth_borrowing_home_stops(hth_neighbours *nb, uint64_t ask);
void hth_borrowing_finish(hth_neighbours *nb);

/* ---- spot-check.c ---- */
/* An answer of neighbours, or (whole false) its beginning, after which this home goes on. */
typedef struct hth_answer_given {
	const hth_answer_part *parts; /* in order; the first is from 0 */
	size_t n_parts;
	const int32_t *ids;
	size_t n;
	const char *text;
	size_t text_len;
	uint32_t prompt_tokens; /* as the first of them counted */
	bool whole;
} hth_answer_given;
/* Weighs it when this home has nothing else to do; each home answers for its part. Copies everything. */
void hth_spot_check_begin(hth_neighbours *nb, const hth_request *request, const hth_answer_given *given);
void hth_spot_check_finish(hth_neighbours *nb);

/* ---- standings.c ---- */
void hth_standings_load(hth_neighbours *nb);
void hth_standings_apply(hth_neighbours *nb); /* tells the machine, whose members are new */
/* A check's result; what: ": its text is another", or "". */
/* Something that is no token speaks against it; doubt: how much (HTH_DOUBT_MAX ends its standing). */
void hth_standings_lied(hth_neighbours *nb, const hth_home_id *by, double doubt, const char *why);
void hth_standings_weighed(hth_neighbours *nb, const hth_home_id *by, size_t tokens, size_t misses, const char *what);

/* A request of the same words, not yet admitted; NULL: they are none that could travel, or no memory. */
hth_request *hth_neighbours_copy_request(const hth_request *request);

#endif
