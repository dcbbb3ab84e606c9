/* api.h - the wire formats: from the body of an HTTP call to requests, and from what the requests bring to bytes.
 *
 * A *job* is one HTTP call in progress. An *endpoint* is one row of a family's table (openai-chat.c, ...): how its body becomes
 * requests (`parse`) and how results become bytes (`writer`). One call may make several requests (n answers, a list of texts to
 * embed); they are numbered 0 to n_requests - 1 in the order of the answer. The node submits them (src/node/verbs.c) and feeds
 * their results back in through hth_api_*; the writer sees text as events (content, reasoning, tool calls), so that a family is
 * only the shape of its bytes.
 *
 * Nothing here knows sockets, models or runners: bytes leave through hth_api_out and questions about the node go through
 * hth_api_host, both given by the node. Everything is on the loop's thread.
 */
#ifndef HTH_API_API_H
#define HTH_API_API_H

#include "api/context.h"
#include "json/json.h"
#include "request/request.h"
#include "runner/runner.h"

enum {
	HTH_API_REQUESTS_MAX = 2048,          /* of one call */
	HTH_API_ANSWER_MAX = 64 * 1024 * 1024 /* bytes of an answer that is not streamed */
};

/* Where a job's bytes go. After reply or finish nothing more comes. */
typedef struct hth_api_out {
	void *ctx;
	void (*header)(void *ctx, const char *name, const char *value);
	void (*reply)(void *ctx, int status, const char *content_type, const void *body, size_t len);
	void (*begin)(void *ctx, int status, const char *content_type);
	void (*send)(void *ctx, const void *data, size_t len);
	void (*finish)(void *ctx);
} hth_api_out;

/* A model of this home, as listings show it. Borrowed during the call. */
typedef struct hth_api_model {
	const char *name;
	uint64_t bytes;
	int64_t modified_unix;
	const hth_runner_info *info; /* NULL unless loaded */
	uint64_t loaded_bytes;       /* 0 unless loaded */
	int64_t expires_unix;        /* when it unloads if nobody asks; 0: never, or not loaded */
	const json_t *record;        /* what is kept about it (catalog/record.h); NULL: nothing */
	const char *sha256;          /* of its bytes, in hex; NULL: not known yet */
	const char *owner;           /* the neighbour whose it is; NULL: it is this home's, or an upstream's */
	const char *privacy;         /* of such a model: the tightest class of requests that may go there */
	const json_t *facts;         /* what `hearth show --json --metadata` says of its file; NULL: not known (see needs_facts) */
} hth_api_model;
typedef void (*hth_api_model_fn)(void *ctx, const hth_api_model *model);

/* What the wire formats ask of the node. */
typedef struct hth_api_host {
	void *ctx;
	const char *default_model; /* answers when a request names none */
	struct hth_response_store *responses; /* conversations to go on with; NULL: none are kept */
	struct hth_binding_cache *bindings;   /* grammars of earlier requests; NULL: none are kept */
	/* Calls fn for every model on disk, sorted by name. */
	hth_status (*each_model)(void *ctx, hth_api_model_fn fn, void *fn_ctx, hth_error *err);
	/* As above for one model, by any of its names. HTH_NOT_FOUND. */
	hth_status (*find_model)(void *ctx, const char *name, hth_api_model_fn fn, void *fn_ctx, hth_error *err);
	/* Deletes a model's files: HTH_NOT_FOUND; HTH_DENIED when they are not this home's own. */
	hth_status (*delete_model)(void *ctx, const char *name, hth_error *err);
	/* Gives a new request what its model was made with, before the sender's own wishes are read; may be NULL. */
	void (*prepare_request)(void *ctx, hth_request *request);
	/* Makes a second name for a model: HTH_NOT_FOUND, HTH_INVALID (name), HTH_CONFLICT (there is one). */
	hth_status (*copy_model)(void *ctx, const char *from, const char *to, hth_error *err);
} hth_api_host;

typedef struct hth_api_job hth_api_job;
typedef struct hth_api_endpoint hth_api_endpoint;

/* One step of an answer, told apart. */
typedef enum hth_api_event_kind { HTH_EVENT_CONTENT, HTH_EVENT_REASONING, HTH_EVENT_TOOL_CALL,
                                  HTH_EVENT_TOOL_ARGUMENTS } hth_api_event_kind;
typedef struct hth_api_event {
	hth_api_event_kind kind;
	const char *text; /* content, reasoning, or the next part of a tool call's arguments (JSON text); may be empty */
	size_t len;
	size_t tool_index;                /* HTH_EVENT_TOOL_*: which call of this answer, from 0 */
	const char *tool_id, *tool_name;  /* HTH_EVENT_TOOL_CALL: a call begins */
	const hth_answer_piece *piece;    /* the tokens behind it (log probabilities); NULL: none */
} hth_api_event;

/* How results become bytes; i is the request's number. Any may be NULL. */
typedef struct hth_api_writer {
	void (*started)(hth_api_job *job, size_t i);
	void (*event)(hth_api_job *job, size_t i, const hth_api_event *event);
	void (*tokens)(hth_api_job *job, size_t i, const int32_t *ids, size_t n);
	void (*embedding)(hth_api_job *job, size_t i, const float *values, size_t n);
	void (*ended)(hth_api_job *job, size_t i); /* request i is DONE */
	void (*finished)(hth_api_job *job);        /* all are: writes the answer, or its last bytes */
	/* What has begun breaks off: the last bytes of a stream (an answer that has not begun gets a plain error instead). */
	void (*broken)(hth_api_job *job, const hth_error *error);
} hth_api_writer;

struct hth_api_endpoint {
	const char *method;
	const char *path; /* whole; or ending in '*': the rest is job->path_rest */
	/* NULL: the node answers this path itself; the row has the shape of its errors.
	 * Fills job->requests through hth_api_add_request, or answers at once through hth_api_reply. body is NULL unless method is
	 * POST, PUT or DELETE and there was one; it is an object. */
	hth_status (*parse)(hth_api_job *job, const json_t *body, hth_error *err);
	const hth_api_writer *writer;
	bool no_body;     /* a method that usually has a body, without one */
	bool needs_facts; /* parse is called when what the models' files say of themselves is known */
	/* An error as a whole body of this family. */
	void (*write_error)(hth_buf *out, int http_status, const char *type, const char *code, const hth_error *error);
};

struct hth_api_job {
	const hth_api_endpoint *endpoint;
	const hth_api_host *host;
	hth_api_out out;
	const char *path_rest;
	hth_request **requests; /* owned references */
	size_t n_requests;
	struct hth_own_tool *own_tool; /* offered to the model of request 0 (own-tool.h); NULL: none */
	hth_context *context;    /* passages that its models answer from; NULL: none */
	char *plain_messages;    /* the conversation without them, owned; NULL: there are none, or several answers */
	hth_citer **citers;      /* one per request, NULL for answers that are bound to a shape: what they cite cannot be told */
	/* one per request once one of them is placed; NULL for those served elsewhere, or that are no chats */
	struct hth_answer_reader **readers;
	bool stream;            /* the client wants the answer as it comes */
	bool begun;             /* out->begin was called */
	bool finished;          /* the answer is complete: nothing more goes out */
	char id[48];            /* of the answer: "chatcmpl-..." */
	int64_t created_unix;
	void *state;            /* the family's, freed by free_state */
	void (*free_state)(hth_api_job *job);
	size_t n_ended;
	hth_buf scratch;        /* for building one chunk */
};

/* The endpoint for a method and path. NULL with *ret_allow NULL: no such path; NULL with *ret_allow set ("GET, POST"): the path
 * exists with these methods. HEAD counts as GET. */
const hth_api_endpoint *hth_api_find(const char *method, const char *path, const char **ret_allow);

/* Parses the call. On success the job has requests to submit, or is finished already. On failure no job is made: answer with
 * hth_api_write_error. body may be empty. out, host and path are borrowed: out.ctx and host must outlive the job. */
HTH_MUST_USE hth_status hth_api_parse(hth_api_job **ret_job, const hth_api_endpoint *endpoint, const hth_api_host *host,
                                      const hth_api_out *out, const char *path, const char *body, size_t len, hth_error *err);
/* Frees; its requests must have ended or never been submitted. */
void hth_api_job_destroy(hth_api_job *job);

/* Request i will be served by this model of this home: what its body left open until the model is known is settled here (the notation of
 * its tool calls, special tokens' text), before it is submitted. From now on its pieces are told apart; pieces of requests that were never
 * placed are told apart already. HTH_UNSUPPORTED, HTH_INVALID: what the body asks for cannot be done with this model. */
HTH_MUST_USE hth_status hth_api_placed(hth_api_job *job, size_t i, const hth_runner_info *info, hth_error *err);

/* What request i brings. */
void hth_api_started(hth_api_job *job, size_t i);
void hth_api_piece(hth_api_job *job, size_t i, const hth_answer_piece *piece);
void hth_api_tokens(hth_api_job *job, size_t i, const int32_t *ids, size_t n);
void hth_api_embedding(hth_api_job *job, size_t i, const float *values, size_t n);
void hth_api_done(hth_api_job *job, size_t i);

/* --- the node's own tools, web_fetch and search_documents (own-tool.h) --- */
typedef enum hth_own_tool_kind { HTH_OWN_TOOL_FETCH, HTH_OWN_TOOL_DOCUMENTS } hth_own_tool_kind;
/* Offers it to the job's model, once it is parsed. HTH_INVALID: the call asks for several answers, or for none of a model's. */
HTH_MUST_USE hth_status hth_api_offer_tool(hth_api_job *job, hth_own_tool_kind kind, const char *detail, hth_error *err);
hth_own_tool_kind hth_api_own_tool(const hth_api_job *job); /* of one that was offered */
/* After hth_api_done: the answer has not ended, its model waits for a page. */
bool hth_api_waits_for_page(const hth_api_job *job);
/* Which one (a URL, or words to search for); HTH_INVALID with words that are to go to the model instead. Borrowed. */
HTH_MUST_USE hth_status hth_api_page_url(hth_api_job *job, const char **ret_url, hth_error *err);
/* What came of it; request 0 is a new one then, to be admitted. */
HTH_MUST_USE hth_status hth_api_give_page(hth_api_job *job, const char *text, size_t len, hth_error *err);

/* --- the household's documents as context (context.h, documents-in.c) --- */
/* From now on its answers may cite passages: marks of what was cited are kept, others taken out, and the answer ends with a list of them.
 * Once it is parsed. HTH_INVALID: the call asks no model for a chat's answer. */
HTH_MUST_USE hth_status hth_api_use_documents(hth_api_job *job, hth_error *err);
/* What the conversation asks: its last words of the user; with_before: with those that the user said before ("and when is it due?" alone
 * says little). The caller's, wiped and freed by it; NULL: none (or no memory). */
char *hth_api_question(const hth_api_job *job, bool with_before);
/* One more passage of job->context is hth_context_add. This puts all of them before the user's last words, in every request; before they
 * are admitted. */
HTH_MUST_USE hth_status hth_api_put_passages(hth_api_job *job, hth_error *err);
/* Request 0 was refused as too long: half of the passages may fit. True: it is a new one with them, to be admitted. */
bool hth_api_fewer_passages(hth_api_job *job);
/* For the families: `,"key":[citations]` when answer i cites anything. */
bool hth_api_write_citations(const hth_api_job *job, size_t i, const char *key, hth_citation_style style, hth_buf *out);

/* --- file_search of /v1/responses (file-search.c) --- */
/* The tool, for what is to be searched before the job's request is admitted: vector_store_ids, max_num_results, filters, ranking_options.
 * NULL: nothing. Borrowed. */
const json_t *hth_api_file_search(const hth_api_job *job);
/* What came of it: results as the search of a vector store has them, in its `data`. Before the job's request is admitted. */
HTH_MUST_USE hth_status hth_api_file_search_done(hth_api_job *job, const char *query, const json_t *results, hth_error *err);

/* The whole call has failed; the first failure counts. The caller cancels the other requests. */
void hth_api_fail(hth_api_job *job, const hth_error *error);

/* Tokens of request i's answer that were reasoning. */
uint32_t hth_api_reasoning_tokens(const hth_api_job *job, size_t i);

/* The body of an error in the endpoint's family (NULL: OpenAI's shape) and its HTTP status: hth_status_http, except that a prompt that does
 * not fit its model is 400. Replies that ask to come back later need a Retry-After header: *ret_retry_s > 0. */
int hth_api_write_error(const hth_api_endpoint *endpoint, const hth_error *error, hth_buf *out, unsigned *ret_retry_s);

/* --- for the families --- */
/* A new request of the job with the sampling defaults; the job owns it. */
HTH_MUST_USE hth_status hth_api_add_request(hth_api_job *job, hth_request_kind kind, const char *model,
                                            hth_request **ret_request, hth_error *err);
void hth_api_begin(hth_api_job *job, const char *content_type); /* 200, streamed; with the Hearth headers of request 0 */
void hth_api_send(hth_api_job *job, hth_buf *chunk);            /* sends and clears it */
void hth_api_finish(hth_api_job *job);
void hth_api_reply(hth_api_job *job, const char *content_type, const hth_buf *body); /* 200, whole */

#endif
