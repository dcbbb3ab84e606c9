/* pool.h - one home among its neighbours: the machine that asks them, serves them, and settles with them.
 *
 * Pure: it is given the time, random numbers and messages, and tells what it wants through hth_pool_ops. The daemon runs it over sealed
 * envelopes on NATS; the simulation runs thousands of it over a simulated link. It keeps no words longer than they are needed and reads
 * none.
 *
 * Asking: hth_pool_ask places a request (placement.h). Wherever it goes, it ends once: `ended`, or `go_home`, which hands it back with the
 * tokens it has. A neighbour that is silent for HTH_POOL_SILENCE_MS, or for about as long is several times slower than it was, is left: the
 * request goes on elsewhere, or at home, from the tokens that are there. Before that, when an answer is late, a second home may be asked
 * beside it: the first that delivers goes on, the other is told to stop (pool-hedge.c). Serving: what is asked is checked (member, class,
 * model, quota), queued by credit and handed to `serve`; one's own work may take the place back at any time (hth_pool_yield).
 * Settling: while a job runs, a receipt is proposed every HTH_POOL_RECEIPT_TOKENS; with more than HTH_POOL_WINDOW_TOKENS unacknowledged it
 * is held.
 *
 * Callbacks come from inside the calls below. They may not call back into the pool, but for hth_pool_served from `serve`.
 */
#ifndef HTH_POOL_POOL_H
#define HTH_POOL_POOL_H

#include "base/rng.h"
#include "charter/charter.h"
#include "pool/placement.h"

enum {
	HTH_POOL_PEERS_MAX = 64, HTH_POOL_ASKS_MAX = 256, HTH_POOL_WORKS_MAX = 64, HTH_POOL_WORKS_PER_PEER = 8,
	HTH_POOL_SILENCE_MS = 2000, HTH_POOL_BEAT_MS = 500, HTH_POOL_FRESH_MS = 300000, HTH_POOL_ATTEMPTS_MAX = 6,
	    HTH_POOL_NOWHERE_MS = 120000,
	HTH_POOL_HEDGE_ONE_IN = 20, /* of what is asked next door, at most every so many-th is asked twice (and one more at the start) */
	HTH_POOL_RECEIPT_TOKENS = 128, HTH_POOL_WINDOW_TOKENS = 512, HTH_POOL_VERDICT_MS = 20000,
};

typedef struct hth_pool hth_pool;

/* What a neighbour asked of this home, for `serve`. words and prefix are borrowed during the call. */
typedef struct hth_pool_work {
	uint64_t work; /* number to speak of it */
	hth_home_id from;
	hth_audience audience;
	const unsigned char *model;
	const void *words;
	size_t words_len;
	uint32_t prompt_tokens, max_tokens;
	uint64_t seed, sampler;
	const int32_t *prefix; /* the answer so far */
	size_t n_prefix;
	uint32_t text_bytes;   /* of its text that were given out */
} hth_pool_work;

/* The next part of an answer: tokens, and the text that is out with them (it may lag behind: what could be a stop string is held). */
typedef struct hth_pool_run {
	const int32_t *ids;
	size_t n;
	const void *text;
	size_t text_len;
	bool has_prompt;        /* with a job's first run: */
	uint32_t prompt_tokens; /* as the serving home counts them */
	const void *tail;       /* how the prompt's text ends; at most HTH_POOL_TAIL_MAX bytes */
	size_t tail_len;
	bool final;
	uint8_t finish, stop;   /* as in hth_pool_message */
} hth_pool_run;

typedef struct hth_pool_ops {
	void *ctx;
	void (*send)(void *ctx, const hth_home_id *to, const void *bytes, size_t len);
	/* An ask's words are about to go to this home; why: the one before was left (NULL: there was none); also: it is asked beside the
	 * one that has it. False: they may not (it could not be put on record). May be NULL. */
	bool (*leaves)(void *ctx, uint64_t ask, const hth_home_id *to, size_t words_len, const char *why, bool also);
	/* An ask's answer, in order, each token and byte once. */
	void (*tokens)(void *ctx, uint64_t ask, const hth_pool_run *run);
	/* The answer is whole. served_by: who made its last part; check: spot-check it and say what was found with hth_pool_weighed. */
	void (*ended)(void *ctx, uint64_t ask, const hth_home_id *served_by, bool check, uint8_t finish, uint8_t stop);
	/* Nobody (any more) does it better: home goes on after the n tokens that `tokens` has told. The ask is over for the pool. */
	void (*go_home)(void *ctx, uint64_t ask, size_t n, const char *why);
	/* No home has the model, or none could be had for HTH_POOL_NOWHERE_MS. The ask is over. */
	void (*failed)(void *ctx, uint64_t ask);
	void (*serve)(void *ctx, const hth_pool_work *work);
	void (*stop)(void *ctx, uint64_t work);               /* nobody wants it any more */
	void (*hold)(void *ctx, uint64_t work, bool held);    /* make no tokens until it is let go */
	/* The answer goes on from the home that was asked beside the first. May be NULL. */
	void (*now_by)(void *ctx, uint64_t ask, const hth_home_id *by);
	/* An answer is late, and this home is free: begin with it here, too, after its n tokens, and say hth_pool_home_delivers before the
	 * first is given out (begin true; false: it does not); or stop that: a neighbour was faster. go_home after a beginning means: go on
	 * with what was begun. NULL: never. */
	bool (*also_home)(void *ctx, uint64_t ask, size_t n, bool begin);
} hth_pool_ops;

/* ledger and rng are borrowed. credit_line etc. come from the charter that members are set from. */
HTH_MUST_USE hth_status hth_pool_create(hth_pool **ret_pool, const hth_home_id *self, const hth_pool_ops *ops, hth_ledger *ledger,
                                        hth_rng *rng, hth_error *err);
void hth_pool_destroy(hth_pool *pool);

/* Who the neighbours are from now on: the charter's members but this home; NULL: nobody. Work with who is gone ends at once. At most
 * HTH_POOL_PEERS_MAX are dealt with (in a greater neighbourhood, those whose ids are next after this home's). */
void hth_pool_set_members(hth_pool *pool, const hth_charter *charter, uint64_t now_ms);
void hth_pool_trust(hth_pool *pool, const hth_home_id *id, bool trusted); /* its owner's word: may read class neighbours */
/* This home, as its neighbours should know it (number and charter_version are filled in) and as placement needs it. Told whenever it
 * changes. */
void hth_pool_set_home(hth_pool *pool, const hth_capability *record, double own_wait_s, uint64_t now_ms);

/* Whether there is a hub (as there is at first). Without one nobody is asked, and nobody is blamed for being silent. */
void hth_pool_set_link(hth_pool *pool, bool up, uint64_t now_ms);
/* Whether letters are waited for: silence is worth a look now. */
bool hth_pool_waits(const hth_pool *pool);
/* This peer has heard nothing, or not for long: it is told how this home stands now, not when that is due. */
void hth_pool_introduce(hth_pool *pool, const hth_home_id *peer);

void hth_pool_receive(hth_pool *pool, const hth_home_id *from, const void *bytes, size_t len, uint64_t now_ms);
/* Does what is due. Returns when it wants to be called next (it may be called earlier). */
uint64_t hth_pool_tick(hth_pool *pool, uint64_t now_ms);
uint64_t hth_pool_next_ms(const hth_pool *pool);
/* Sends every receipt that is still open again: after a start, and when a connection is back. */
void hth_pool_settle(hth_pool *pool);

/* ---- asking ---- */
typedef struct hth_pool_ask {
	uint64_t ask; /* the caller's number for it, unique among those that run */
	const unsigned char *model;
	uint32_t prompt_tokens, max_tokens, expected_tokens; /* the prompt's: a guess ... */
	uint32_t most_prompt_tokens;                         /* ... and more than it can have: who counts more is left */
	uint64_t seed, sampler;
} hth_pool_ask_options;
/* Whether a neighbour would do this sooner than home, as far as is known now. */
bool hth_pool_would_leave(hth_pool *pool, hth_audience audience, const hth_pool_ask_options *options, uint64_t now_ms);
/* Takes the permit, also on failure. HTH_CONFLICT: home is best (or only home may): nothing was sent; HTH_BUSY: too many are out. */
HTH_MUST_USE hth_status hth_pool_ask(hth_pool *pool, hth_neighbour_permit *permit, const hth_pool_ask_options *options, uint64_t now_ms,
                                     hth_error *err);
void hth_pool_cancel(hth_pool *pool, uint64_t ask, uint64_t now_ms); /* no callback comes any more */
/* What was begun at home beside a neighbour has something to give out. True: it goes on here alone, and the ask is over; false: it is too
 * late. */
bool hth_pool_home_delivers(hth_pool *pool, uint64_t ask, uint64_t now_ms);
/* As hth_standing_weighed. A home that is caught is left at once, whatever it is making. Returns its standing (borrowed until the next
 * call); NULL: it is no peer. */
const hth_standing *hth_pool_weighed(hth_pool *pool, const hth_home_id *peer, uint32_t tokens, uint32_t misses, uint64_t now_ms);
/* What was found before this start, or before it left and came again; 0 and false: this home's owner forgives it. */
void hth_pool_set_doubt(hth_pool *pool, const hth_home_id *peer, double doubt, bool caught);
bool hth_pool_wants_check(hth_pool *pool, const hth_home_id *peer); /* of an answer whose part it made before it was left; draws */
size_t hth_pool_asks(const hth_pool *pool); /* how many are out */

/* ---- serving ---- */
/* What was made for a work. */
void hth_pool_served(hth_pool *pool, uint64_t work, const hth_pool_run *run, uint64_t milliwatt_seconds, uint64_t now_ms);
/* It cannot be done here after all. `stop` is not called. */
void hth_pool_cannot(hth_pool *pool, uint64_t work, uint64_t now_ms);
/* Its place is needed for this home's own: the asking home is told and goes elsewhere. `stop` is not called. */
void hth_pool_yield(hth_pool *pool, uint64_t work, uint64_t now_ms);
double hth_pool_work_standing(const hth_pool *pool, uint64_t work, uint64_t now_ms); /* for hth_queue_next */
size_t hth_pool_works(const hth_pool *pool);

/* What is known of a neighbour. Borrowed during the call. */
typedef struct hth_pool_peer_view {
	const hth_home_id *id;
	const hth_capability *record; /* NULL: nothing heard */
	const hth_standing *standing;
	bool fresh, trusted;
	double rtt_s;
} hth_pool_peer_view;
void hth_pool_each_peer(const hth_pool *pool, uint64_t now_ms, void (*fn)(void *ctx, const hth_pool_peer_view *peer), void *ctx);

typedef struct hth_pool_counts {
	uint64_t asked, accepted, refused, failed_over, silent, slow, resent, came_home, refused_class, bad_messages, held, preempted,
	    hedged, hedges_won;
} hth_pool_counts;
const hth_pool_counts *hth_pool_get_counts(const hth_pool *pool);

#endif
