/* capability.h - what a home says of itself to its neighbours, and asks of them: the messages of the pool, as plain values.
 *
 * They travel inside envelopes (seal/envelope.h), which say who wrote them; so none carries its sender or a signature, but for receipts,
 * which must hold by themselves. Every message is bounded before anything is allocated, and has one encoding (canon.h).
 */
#ifndef HTH_POOL_CAPABILITY_H
#define HTH_POOL_CAPABILITY_H

#include "ledger/ledger.h"
#include "privacy/permit.h"

enum { HTH_POOL_MODELS_MAX = 16, HTH_POOL_PREFIX_MAX = 16384, HTH_POOL_RUN_MAX = 1024, HTH_POOL_WORDS_MAX = 401 << 10,
       HTH_POOL_MESSAGE_MAX = 480 << 10, HTH_POOL_TEXT_MAX = 128 << 10, HTH_POOL_ANSWER_TEXT_MAX = 4 << 20, HTH_POOL_TAIL_MAX = 63,
       HTH_POOL_STOPS_MAX = 16, HTH_POOL_FINISH_MAX = 2 };
#define HTH_POOL_NOT_COUNTED UINT32_MAX

typedef struct hth_pool_model {
	unsigned char hash[HTH_HASH_BYTES]; /* of the weights: equal hashes give equal answers */
	float prefill_tok_s, decode_tok_s;  /* measured by its home */
} hth_pool_model;

/* A capability record: sent on change, and now and then. */
typedef struct hth_capability {
	uint64_t number;          /* a later record has a greater one; an older one that arrives late is dropped */
	uint32_t charter_version;
	uint16_t slots, free_slots;
	uint32_t queued_tokens;   /* to be computed before a newcomer's turn */
	bool lends;               /* false: asks only (power window, quota, busy with its own) */
	bool accepts_public, accepts_neighbours; /* classes of work that it takes from this reader */
	uint8_t n_models;
	hth_pool_model models[HTH_POOL_MODELS_MAX];
} hth_capability;

typedef enum hth_pool_kind {
	HTH_POOL_RECORD = 1, HTH_POOL_ASK, HTH_POOL_ACCEPT, HTH_POOL_REFUSE, HTH_POOL_TOKENS, HTH_POOL_BEAT, HTH_POOL_WANT, HTH_POOL_CANCEL,
	    HTH_POOL_RECEIPT,
	HTH_POOL_VERDICT
} hth_pool_kind;
typedef enum hth_pool_reason { HTH_POOL_BUSY = 1, HTH_POOL_CLASS, HTH_POOL_QUOTA, HTH_POOL_WINDOW, HTH_POOL_MODEL,
                               HTH_POOL_BROKEN } hth_pool_reason;

typedef struct hth_pool_message {
	hth_pool_kind kind;
	hth_capability record;                  /* RECORD */
	hth_job_id job;                         /* all others but RECEIPT and VERDICT, which name it themselves */
	hth_audience audience;                  /* ASK */
	unsigned char model[HTH_HASH_BYTES];
	uint32_t prompt_tokens, max_tokens;
	uint64_t seed, sampler;
	const void *words;                      /* borrowed */
	size_t words_len;
	const int32_t *ids;                     /* ASK: the answer so far; TOKENS: a run. Encode: borrowed; decode: `storage` */
	size_t n_ids;
	uint32_t from;                          /* TOKENS: the first one's place in the answer; WANT: send again from here; BEAT: made so
	                                         * far; ACCEPT: tokens queued before it; CANCEL: how many of the answer arrived and count,
	                                         * or HTH_POOL_NOT_COUNTED */
	/* Text comes beside its tokens, because whoever asks may not have the vocabulary. */
	/* ASK: bytes of it that were given out; TOKENS: the first byte's place in the answer's text */
	uint32_t text_from;
	const void *text;                       /* TOKENS; borrowed */
	size_t text_len;
	/* TOKENS: with the job's first run: how many tokens the prompt had (in prompt_tokens), and how its text ends */
	bool has_prompt;
	const void *tail;                       /* borrowed; at most HTH_POOL_TAIL_MAX bytes */
	size_t tail_len;
	bool final;                             /* TOKENS: these are the last */
	uint8_t finish, stop;                   /* TOKENS, final: hth_finish_reason; which of the stop strings ended it, from 1; 0: none */
	hth_pool_reason reason;                 /* REFUSE: also in the middle of an answer */
	hth_entry entry;                        /* RECEIPT, VERDICT */
} hth_pool_message;

void hth_pool_message_encode(const hth_pool_message *message, hth_buf *out);
/* storage: room for len / 4 ids, at most HTH_POOL_PREFIX_MAX; message->ids points into it. HTH_BAD_FORMAT, HTH_TOO_LARGE. */
HTH_MUST_USE hth_status hth_pool_message_decode(hth_pool_message *ret_message, const void *bytes, size_t len, int32_t *storage,
                                                hth_error *err);

#endif
