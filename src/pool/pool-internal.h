/* pool-internal.h - what the files of pool/ share; nobody else includes it. */
#ifndef HTH_POOL_POOL_INTERNAL_H
#define HTH_POOL_POOL_INTERNAL_H

#include "pool/pool.h"

typedef struct pool_peer {
	hth_home_id id;
	hth_capability record;
	bool heard, trusted;
	uint64_t heard_ms;
	double rtt_s;
	hth_standing standing;
	uint32_t hour_asks; /* what it asked since hour_ms */
	uint64_t hour_ms;
	/* how much later than predicted its first tokens come: mean and mean deviation, smoothed; spread 0: none came yet */
	double late_ms, late_spread_ms;
} pool_peer;

/* Asked; accepted; nobody to ask just now; over, but for the receipts of its last part. */
typedef enum ask_state { ASK_WAITING, ASK_STREAMING, ASK_NOWHERE, ASK_CLOSING } ask_state;
/* One attempt at an answer. While a second home is asked for the same (pool-hedge.c) there are two with the same number and the same
 * tokens. */
typedef struct pool_ask {
	uint64_t number;
	bool hedge;  /* the second of two: the permit is the first one's */
	bool hedged; /* a second home was thought of in this attempt */
	bool at_home_too; /* home was begun with beside it */
	hth_neighbour_permit *permit;
	hth_job_id job; /* a new one at each attempt */
	unsigned char model[HTH_HASH_BYTES];
	uint32_t prompt_tokens, max_tokens, expected_tokens, asked_prompt_tokens; /* asked: what this attempt's home was told */
	uint64_t seed, sampler;
	ask_state state;
	hth_home_id peer;
	int32_t *ids; /* the answer so far, over all attempts */
	size_t n, cap, base; /* base: how many there were when this attempt began */
	uint32_t n_text;     /* bytes of its text */
	uint32_t most_prompt_tokens;
	bool has_prompt;     /* this attempt's home has counted it */
	const char *left;    /* why the last home was left; NULL: none was */
	uint64_t begun_ms, sent_ms, accepted_ms, heard_ms, progress_ms;
	uint64_t first_ms;         /* when the first token should come */
	uint64_t late_ms, due_ms;  /* without progress: a second home is asked; it is left */
	double token_ms;           /* what it is expected to take for a token: what it said, then what was measured */
	bool measured;             /* token_ms is */
	uint64_t wanted_ms;
	unsigned attempts;
	/* of this attempt's receipts */
	unsigned char hash[HTH_HASH_BYTES];
	uint32_t receipt_tokens; /* answer tokens up to the last accepted one */
	uint64_t charged;
} pool_ask;

typedef struct pool_work {
	uint64_t number;
	hth_job_id job;
	hth_home_id peer;
	hth_audience audience;
	unsigned char model[HTH_HASH_BYTES];
	uint32_t prompt_tokens, max_tokens;
	uint32_t asked_prompt_tokens; /* as whoever asked guessed them */
	uint64_t seed, sampler;
	int32_t *ids; /* made for this job, without the prefix */
	size_t n, cap, base; /* base: length of the prefix */
	uint32_t *ends;      /* where each one's text ends */
	size_t cap_ends;
	char *text;          /* beginning at text_base in the answer's text */
	size_t n_text, cap_text, text_base;
	char tail[HTH_POOL_TAIL_MAX];
	size_t tail_len;
	bool has_prompt;
	uint8_t finish, stop;
	bool final, held, over; /* over: only its receipts are still to be settled */
	uint64_t sent_ms, ended_ms, energy_mws;
	/* receipts */
	unsigned char hash[HTH_HASH_BYTES]; /* up to settled */
	uint32_t settled;
	uint64_t charged;
	bool open; /* this job's receipt waits for a verdict */
	uint32_t open_tokens;
	uint64_t due_ms; /* when the next is proposed; 0: none is due */
	uint64_t energy_told, open_energy; /* as charged and open_charge */
	uint64_t open_charge, proposed_ms, offered_ms;
} pool_work;

struct hth_pool {
	hth_home_id self;
	hth_pool_ops ops;
	hth_ledger *ledger;
	hth_rng *rng;
	hth_rules rules;
	uint32_t charter_version;
	pool_peer *peers;
	size_t n_peers;
	/* the beginnings of their ids: who a letter is from is asked more often than anything else */
	uint64_t peer_keys[HTH_POOL_PEERS_MAX];
	pool_ask **asks;
	size_t n_asks, cap_asks;
	pool_work *works;
	size_t n_works, cap_works;
	uint64_t next_work;
	hth_capability home;
	double own_wait_s;
	bool no_link; /* there is no hub */
	uint64_t link_ms; /* since when it is as it is */
	double hedge_budget; /* how many times a second home may be asked */
	bool changed;              /* the record is to be told soon */
	uint64_t announced_ms, announce_every_ms, settled_ms;
	uint64_t next_ms;
	hth_pool_counts counts;
	hth_buf out;
	int32_t *storage; /* of the message that is being read */
	size_t storage_cap;
};

pool_peer *pool_find_peer(const hth_pool *pool, const hth_home_id *id);
void pool_send(hth_pool *pool, const hth_home_id *to, const hth_pool_message *message);
/* A message about a job that has no other fields. */
void pool_send_job(hth_pool *pool, const hth_home_id *to, hth_pool_kind kind, const hth_job_id *job, uint32_t from, hth_pool_reason reason);
void pool_wake(hth_pool *pool, uint64_t at_ms); /* be called no later than this */
/* ids + i, also where there are none yet. */
static inline const int32_t *pool_ids_at(const int32_t *ids, size_t i) { return ids != NULL ? ids + i : NULL; }
bool pool_append_ids(int32_t **ids, size_t *n, size_t *cap, const int32_t *more, size_t n_more);

/* pool-ask.c */
enum { POOL_STALL_MS = 1800, POOL_SLACK = 4 }; /* see made_progress */
void pool_ask_message(hth_pool *pool, pool_peer *peer, const hth_pool_message *message, uint64_t now_ms);
void pool_asks_tick(hth_pool *pool, uint64_t now_ms);
void pool_asks_link(hth_pool *pool, uint64_t now_ms); /* there is a hub again */
void pool_asks_lost_peer(hth_pool *pool, const hth_home_id *id, uint64_t now_ms);
void pool_asks_finish(hth_pool *pool);
pool_ask *pool_find_ask(const hth_pool *pool, const hth_home_id *peer, const hth_job_id *job);
pool_ask *pool_new_ask(hth_pool *pool, const pool_ask *from); /* another with the same values and tokens, but no permit; NULL: no memory */
void pool_drop_ask(hth_pool *pool, pool_ask *a);
void pool_wake_for(hth_pool *pool, const pool_ask *a);
/* The index of a peer, or HTH_PLACE_*, for what is left of an ask. but: not that one; NULL: any. */
int pool_place(hth_pool *pool, const pool_ask *a, const hth_home_id *but, uint64_t now_ms);
/* False: its words may not go there. */
bool pool_send_ask(hth_pool *pool, pool_ask *a, pool_peer *peer, uint64_t now_ms);
/* pool-closing.c */
void pool_ask_receipt(hth_pool *pool, pool_peer *peer, const hth_entry *entry, uint64_t now_ms);
void pool_close_ask(hth_pool *pool, pool_ask *a, uint64_t now_ms);                  /* whole: what is left is its receipts */
/* its home is told to stop, and a closes or is dropped */
void pool_part(hth_pool *pool, pool_ask *a, bool counts, uint64_t now_ms);
void pool_part_and_go_on(hth_pool *pool, const pool_ask *a, uint64_t now_ms);      /* the same, of a copy: a goes on */
/* pool-hedge.c */
pool_ask *pool_partner(const hth_pool *pool, const pool_ask *a); /* the other of two; NULL: it is alone */
void pool_expect(hth_pool *pool, pool_ask *a, const pool_peer *peer, uint32_t queued_tokens, uint64_t now_ms);
void pool_first_came(pool_peer *peer, const pool_ask *a, uint64_t now_ms);
void pool_hedge(hth_pool *pool, pool_ask *a, uint64_t now_ms);
bool pool_promote(hth_pool *pool, pool_ask *a); /* a's second takes its place, and a keeps nothing but its receipts; false: it has none */
void pool_first_delivers(hth_pool *pool, pool_ask *a, uint64_t now_ms); /* the other one, if there is one, is parted with */
/* pool-serve.c */
void pool_work_message(hth_pool *pool, pool_peer *peer, const hth_pool_message *message, uint64_t now_ms);
void pool_work_verdict(hth_pool *pool, pool_peer *peer, const hth_entry *entry, uint64_t now_ms);
void pool_works_tick(hth_pool *pool, uint64_t now_ms);
void pool_works_lost_peer(hth_pool *pool, const hth_home_id *id);
void pool_works_finish(hth_pool *pool);

#endif
