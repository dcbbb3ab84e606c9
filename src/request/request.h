/* request.h - the noun: one piece of work that somebody asked of this home, from admission to its one end.
 *
 *   NEW -> ADMITTED -> CLASSIFIED -> ROUTED -> RUNNING -> STREAMING -> DONE | CANCELLED | FAILED
 *
 * Only the functions below change the state; a step out of order is refused (HTH_CONFLICT), and the end happens exactly
 * once. Any state may go to CANCELLED or FAILED. The verbs that move a request along, in the order in which they happen,
 * are src/node/verbs.c: read that file for the story.
 *
 * A request belongs to the loop's thread. It is counted: whoever keeps a pointer holds a reference.
 */
#ifndef HTH_REQUEST_REQUEST_H
#define HTH_REQUEST_REQUEST_H

#include "base/buf.h"
#include "base/sampling.h"

#include <stdint.h>

typedef enum hth_request_state {
	HTH_REQUEST_NEW, HTH_REQUEST_ADMITTED, HTH_REQUEST_CLASSIFIED, HTH_REQUEST_ROUTED, HTH_REQUEST_RUNNING,
	HTH_REQUEST_STREAMING, HTH_REQUEST_DONE, HTH_REQUEST_CANCELLED, HTH_REQUEST_FAILED
} hth_request_state;

/* Who may read the words. The sender's wish sets it, the classifier may only tighten it (towards 0). */
typedef enum hth_privacy_class { HTH_PRIVATE = 0, HTH_NEIGHBOURS = 1, HTH_PUBLIC = 2 } hth_privacy_class;

typedef enum hth_request_kind {
	HTH_CHAT,       /* input: messages, as JSON; the model's chat template makes the prompt */
	HTH_COMPLETION, /* input: text or tokens */
	HTH_EMBEDDING,  /* input: text or tokens */
	HTH_TOKENIZE,   /* input: text (or messages: counts what a chat would take) */
	HTH_DETOKENIZE, /* input: tokens */
	HTH_RENDER      /* input: messages; answer: the prompt's text */
} hth_request_kind;

typedef enum hth_finish_reason { HTH_FINISH_NONE, HTH_FINISH_STOP, HTH_FINISH_LENGTH } hth_finish_reason;

enum { HTH_STOP_MAX = 16, HTH_STOP_BYTES_MAX = 256, HTH_MODEL_NAME_MAX = 256, HTH_KEEP_ALIVE_DEFAULT = -2, HTH_PROMPT_TAIL_MAX = 64,
       HTH_TRIGGER_BYTES_MAX = 256 };

typedef struct hth_request_input {
	char *messages_json; /* owned; a checked JSON array of messages; NULL unless a chat */
	char *tools_json;    /* owned; JSON array; NULL: none */
	char *template_json; /* owned; JSON object of extra template variables; NULL: none */
	char *settings_json; /* owned; a made model's own: JSON object {"system","messages","template"} (catalog/record.h); NULL: none */
	char *text;          /* owned */
	size_t text_len;
	int32_t *tokens;     /* owned */
	size_t n_tokens;
	bool must_call, one_call; /* the answer is at least one, is at most one call of a tool */
	char *must_call_name;     /* owned; of this one; NULL: of any */
	char *format_json;        /* owned; the JSON schema that the answer's text satisfies; NULL: any text. These four are put into
	                           * params.grammar once the model's notation is known; an upstream is told them */
	bool add_special, parse_special, with_pieces;
	bool continue_last; /* the last message is the beginning of the answer */
	bool echo;
	/* Between homes, and between a home and itself: never what a client asks for. */
	int32_t *resume;       /* owned; the tokens that the answer has already: it goes on as if it had never stopped */
	size_t n_resume;
	uint64_t resume_bytes; /* of their text that were given out: pieces bring what comes after */
	/* no answer: resume's tokens are weighed against what this model would have chosen; pieces bring the evidence */
	bool weigh;
	bool background;       /* computed only while nothing else is, and without what others have computed of its beginning */
	bool with_ids;         /* pieces bring their tokens' ids, and come for every token */
} hth_request_input;

typedef struct hth_request_params {
	hth_sampling sampling;        /* logit_bias borrowed from bias[] below */
	hth_logit_bias *bias;         /* owned */
	int64_t max_tokens;           /* -1: until the context is full */
	char *stop[HTH_STOP_MAX];     /* owned; the answer ends before the first of these */
	size_t n_stop;
	int32_t top_logprobs;         /* -1: no logprobs; else 0 to HTH_TOP_LOGPROBS_MAX. They are the model's own: before biases,
	                               * penalties, temperature and a grammar's mask */
	bool ignore_eos;
	char *grammar;                /* owned; GBNF that binds the answer (a schema, a tool call); NULL: nothing. Where max_tokens, or what
	                               * the context has room for, suffices to end the sentence, it is ended in time, with
	                               * HTH_FINISH_STOP */
	bool grammar_made;            /* it was made of input's wishes for the model that answers: a copy of the request makes its own */
	char *grammar_trigger;        /* owned; the grammar begins right after this text appeared; NULL: with the answer */
	char *grammar_trigger_if;     /* owned; for prompts that do not end with this text (white space aside) the grammar begins with the
	                               * answer all the same: reasoning that the prompt opened must be closed first; and the answer does not
	                               * end before that. NULL: the trigger always counts, and may never come */
	bool special_text;            /* pieces show the text of special tokens (tool calls are marked with them), but never of an end */
	uint32_t context;             /* tokens that its model must be loaded for at least; 0: as the node is set */
	int64_t keep_alive_s;         /* how long its model stays loaded afterwards; -1: for ever; HTH_KEEP_ALIVE_DEFAULT */
} hth_request_params;

typedef struct hth_usage {
	uint32_t prompt_tokens, cached_tokens, answer_tokens;
	uint64_t queue_ns, prefill_ns, decode_ns; /* measured by the runner */
} hth_usage;

/* What speaks for and against a token that somebody else says it chose. */
typedef struct hth_token_evidence {
	float miss;    /* how far it was from being chosen here, 0 (it was) to 1 (engine/sampling/sampler.h) */
	float logprob; /* the model's own, before biases and cuts */
} hth_token_evidence;

/* What one step of an answer brings. text is whole UTF-8 characters and may be empty. Borrowed during the call. */
typedef struct hth_token_logprob {
	int32_t token;
	float logprob;
	const char *bytes; /* the token's own bytes */
	size_t n_bytes;
} hth_token_logprob;
/* What a piece is. A runner's pieces are text, which the API layer takes apart; an upstream has done so already. */
typedef enum hth_piece_kind { HTH_PIECE_TEXT = 0, HTH_PIECE_REASONING, HTH_PIECE_TOOL_CALL, HTH_PIECE_TOOL_ARGUMENTS } hth_piece_kind;
typedef struct hth_answer_piece {
	hth_piece_kind kind;
	const char *text;
	size_t len;
	uint32_t n_tokens;                 /* tokens that this piece took */
	/* input.with_ids: n_ids of them; text that may yet be a stop string's comes with a later piece */
	const int32_t *ids;
	size_t n_ids;
	const hth_token_evidence *evidence; /* input.weigh: of the next n_evidence tokens of input.resume */
	size_t n_evidence;
	const hth_token_logprob *logprobs; /* n_logprobs chosen tokens, or NULL */
	size_t n_logprobs;
	const hth_token_logprob *top;      /* n_logprobs rows of n_top, or NULL */
	size_t n_top;
	size_t tool_index;                 /* HTH_PIECE_TOOL_*: which call of this answer, from 0 */
	const char *tool_id, *tool_name;   /* HTH_PIECE_TOOL_CALL: a call begins */
} hth_answer_piece;

typedef struct hth_request hth_request;

/* Where the answer goes. The sink lives as long as the request. Called on the loop's thread, in this order:
 * started once, then pieces (or result), then ended exactly once. Any of them may be NULL. A request that ends before its
 * first result gets only `ended`. A callback may drop its reference, and may cancel the request. */
typedef struct hth_request_sink {
	void (*started)(void *ctx, hth_request *request);
	void (*piece)(void *ctx, hth_request *request, const hth_answer_piece *piece);
	void (*tokens)(void *ctx, hth_request *request, const int32_t *ids, size_t n); /* HTH_TOKENIZE */
	void (*embedding)(void *ctx, hth_request *request, const float *values, size_t n);
	void (*ended)(void *ctx, hth_request *request); /* state, finish_reason, usage, error are final */
} hth_request_sink;

struct hth_request {
	char id[40];      /* "req-" and 16 random hex digits: Hearth-Request-Id */
	hth_request_kind kind;
	hth_request_state state;
	hth_privacy_class privacy;
	char model[HTH_MODEL_NAME_MAX]; /* as asked; the router replaces an alias by the name that serves */
	char served_by[64];             /* "here", a neighbour's name, an upstream's name */
	char route_reason[128];         /* why there, for `hearth status` */
	hth_request_input input;
	hth_request_params params;
	int64_t created_unix;
	uint64_t created_ns, started_ns, ended_ns;
	hth_finish_reason finish_reason;
	char prompt_tail[HTH_PROMPT_TAIL_MAX]; /* of a chat: the end of the prompt that the template made (whole characters, wiped with the
	                                        * request), so that it is known before the first piece whether reasoning is open */
	char *stop_hit;                 /* owned; the stop string that ended it, or NULL */
	hth_usage usage;                /* final at the end; of a chat here, prompt_tokens is known before the first piece */
	hth_error error;                /* when FAILED */
	const hth_request_sink *sink;
	void *sink_ctx;
	/* Set by whoever runs it: how to stop it. Cleared at the end. */
	void (*cancel)(void *ctx, hth_request *request);
	void *cancel_ctx;
	unsigned refs;
};

HTH_MUST_USE hth_status hth_request_create(hth_request **ret_request, hth_request_kind kind, hth_error *err);
hth_request *hth_request_ref(hth_request *request);
void hth_request_unref(hth_request *request); /* frees at zero; prompt and answer bytes are wiped */
/* Wipe and free what they own, and leave them zeroed: for whoever holds these without a request (a runner). */
void hth_request_input_finish(hth_request_input *input);
void hth_request_params_finish(hth_request_params *params);
const char *hth_request_state_name(hth_request_state state);
bool hth_request_has_ended(const hth_request *request);

/* The forward steps. */
HTH_MUST_USE hth_status hth_request_admit(hth_request *request, hth_error *err);
HTH_MUST_USE hth_status hth_request_classify(hth_request *request, hth_privacy_class privacy, hth_error *err);
HTH_MUST_USE hth_status hth_request_route(hth_request *request, const char *served_by, const char *reason, hth_error *err);
HTH_MUST_USE hth_status hth_request_run(hth_request *request, hth_error *err);
/* The first result: RUNNING -> STREAMING and sink->started. Later calls do nothing; before RUNNING it is refused. The results
 * below and hth_request_done call it themselves, so a runner need not. */
HTH_MUST_USE hth_status hth_request_start(hth_request *request, hth_error *err);
void hth_request_piece(hth_request *request, const hth_answer_piece *piece);
void hth_request_tokens(hth_request *request, const int32_t *ids, size_t n);
void hth_request_embedding(hth_request *request, const float *values, size_t n);
/* The one end. The first of these wins; later ones do nothing. cancel tells whoever runs it. done belongs to a request that
 * runs: before RUNNING nobody can have done it, and it fails with HTH_INTERNAL instead. usage may be NULL (zeros). */
void hth_request_done(hth_request *request, hth_finish_reason reason, const hth_usage *usage);
void hth_request_fail(hth_request *request, const hth_error *error);
void hth_request_cancel(hth_request *request);

#endif
