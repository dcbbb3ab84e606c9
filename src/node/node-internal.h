/* node-internal.h - what the files of this folder share: the node, and one call being served. All on the loop's thread. */
#ifndef HTH_NODE_NODE_INTERNAL_H
#define HTH_NODE_NODE_INTERNAL_H

#include "api/api.h"
#include "api/binding-cache.h"
#include "api/ollama-create.h"
#include "api/response-store.h"
#include "fetch/fetch.h"
#include "http/http.h"
#include "node/node.h"
#include "node/signed-links.h"
#include "pull/pull.h"
#include "route/route.h"
#include "street/street-owner.h"
#include "upstream/upstream.h"

/* Upper bounds, in seconds, of the histograms in /metrics; one more bucket takes the rest. */
enum { HTH_HISTOGRAM_BUCKETS = 12 };
typedef struct hth_histogram {
	uint64_t counts[HTH_HISTOGRAM_BUCKETS + 1], total;
	double sum;
} hth_histogram;

typedef struct hth_metrics {
	uint64_t done, failed, cancelled, refused;              /* requests, by their end */
	uint64_t active;                                        /* requests between admitting and end */
	uint64_t prompt_tokens, cached_tokens, answer_tokens;
	uint64_t denied;                                        /* HTTP calls turned away: host, origin, key */
	hth_histogram first_result, duration;                   /* of requests, from admitting */
} hth_metrics;

/* Where a request was answered, and why there: for `hearth status`. */
enum { HTH_ROUTED_KEPT = 16 };
typedef struct hth_routed {
	char id[40], model[HTH_MODEL_NAME_MAX], served_by[64], reason[128];
	int64_t at_unix;
} hth_routed;

typedef struct hth_inspector hth_inspector;
typedef struct hth_keys hth_keys;
typedef struct hth_tasks hth_tasks;
typedef struct hth_documents hth_documents;
typedef struct hth_document_pages hth_document_pages;
typedef struct hth_embedder hth_embedder;
typedef struct hth_stores hth_stores;
typedef struct hth_settings hth_settings;
typedef struct hth_digests hth_digests;
typedef struct hth_next_door hth_next_door;
typedef struct hth_next_door_asks hth_next_door_asks;

/* First member of whatever is an exchange's user: what to do when its client has left. */
typedef struct hth_holder {
	void (*gone)(struct hth_holder *holder);
} hth_holder;

/* Who makes a call, as far as its key tells. */
typedef struct hth_caller {
	hth_privacy_class privacy; /* of requests that do not say theirs */
	bool has_key;              /* and that is its class */
	unsigned retry_s;          /* > 0: refused because it asked too often */
	bool documents;            /* may know what the household's documents say */
	bool context;              /* its chats are given passages of them, unless they say otherwise */
} hth_caller;

typedef struct hth_node {
	const hth_config *config;
	const hth_node_callbacks *callbacks;
	hth_loop *loop;
	hth_http *http;
	hth_router *router;
	hth_inspector *inspector;
	hth_keys *keys;
	hth_tasks *tasks;
	hth_documents *documents;
	hth_stores *stores;
	hth_document_pages *document_pages;
	hth_settings *settings;
	hth_digests *digests;
	hth_next_door *next_door; /* models to and from neighbours */
	hth_next_door_asks *next_door_asks;
	unsigned n_uploads; /* blobs.c */
	hth_upstreams *upstreams;
	hth_binding_cache *bindings;   /* grammars of earlier requests */
	hth_response_store *responses; /* conversations that clients may go on with */
	struct hth_neighbours *neighbours; /* neighbours.c */
	hth_street *street;            /* street-api.c: the neighbourhood */
	/* who hears of it; letters of the kind POOL go to the first, BLOCKS to the second */
	hth_street_events lending_events, sharing_events;
	/* what a member (NULL: this home) offers: names, a new array; may be NULL */
	json_t *(*member_models)(struct hth_node *node, const hth_home_id *id);
	hth_api_host api_host;
	hth_metrics metrics;
	hth_routed routed[HTH_ROUTED_KEPT]; /* the newest, around a ring */
	size_t n_routed;                    /* since the start */
	struct hth_call *calls; /* being served */
	hth_signal *sigterm, *sigint, *sighup; /* sighup: NULL where it was ignored from the start (nohup) */
	hth_timer *stop_timer;
	bool stopping;
	int64_t started_unix;
	uint64_t started_ms;
	char address[80];                 /* as bound */
	unsigned char key_salt[32], key_hash[32]; /* of the API key; has_key */
	bool has_key;
	unsigned char owner_hash[32];     /* of the key in the home's node.lock */
	unsigned char link_key[HTH_LINK_KEY_BYTES];
	int home_fd;                      /* which holds it */
} hth_node;

/* verbs.c: the story of a request. */
void hth_verbs_handle(void *node, hth_exchange *exchange);
void hth_verbs_gone(void *node, hth_exchange *exchange);
/* Ends every call now, with an error that says why. */
void hth_verbs_cancel_all(hth_node *node, const hth_error *why);
/* Called whenever a call has ended, so that a stopping node can leave. */
void hth_node_call_ended(hth_node *node);

/* tasks.c: what takes a thread and no model. */
HTH_MUST_USE hth_status hth_tasks_create(hth_tasks **ret_tasks, hth_node *node, hth_error *err);
void hth_tasks_destroy(hth_tasks *tasks);
void hth_tasks_make(hth_node *node, hth_exchange *exchange);  /* POST /api/create */
void hth_tasks_pull(hth_node *node, hth_exchange *exchange);  /* POST /api/pull, as Ollama has it */
/* A page for a model. fn is called once, later: page or why_not; with HTH_CANCELLED after a cancel, or when the node stops. */
typedef struct hth_task hth_task;
typedef void (*hth_page_fn)(void *ctx, const hth_fetch_result *page, const hth_error *why_not);
HTH_MUST_USE hth_status hth_tasks_page(hth_node *node, const char *url, const char *reason, hth_page_fn fn, void *ctx, hth_task **ret_task,
                                       hth_error *err);
void hth_tasks_cancel(hth_task *task);
void hth_tasks_fetch(hth_node *node, hth_exchange *exchange); /* POST /hearth/fetch */

/* documents.c: the household's documents. */
HTH_MUST_USE hth_status hth_documents_create(hth_documents **ret_documents, hth_node *node, hth_error *err);
void hth_documents_destroy(hth_documents *documents);
/* The best passages for a model; fn is called once, later, unless it is cancelled before. hits: borrowed, NULL with why_not. */
typedef struct document_call hth_document_call;
struct hth_index_hits;
typedef void (*hth_passages_fn)(void *ctx, const struct hth_index_hits *hits, const hth_error *why_not);
/* least: per cent of what was asked that a passage must have; marked_only: from folders that their owner marked for neighbours. */
HTH_MUST_USE hth_status hth_documents_passages(hth_node *node, const char *query, unsigned least, bool marked_only, hth_passages_fn fn,
                                               void *ctx, hth_document_call **ret_call, hth_error *err);
void hth_documents_cancel(hth_document_call *call); /* fn is not called any more */
void hth_documents_wake(hth_node *node); /* there are other folders */
/* As hth_embedder_query and hth_embedder_forget, without the signs of a search's language. */
typedef void (*hth_embedded_fn)(void *ctx, const float *values, size_t n, const uint8_t *key);
void hth_documents_vector(hth_node *node, const char *query, hth_embedded_fn fn, void *ctx);
void hth_documents_forget_vector(hth_node *node, void *ctx);
void hth_documents_rest(hth_node *node); /* called whenever metrics.active has changed */
void hth_documents_search(hth_node *node, hth_exchange *exchange); /* GET /search */
void hth_documents_status(hth_node *node, hth_exchange *exchange); /* GET /hearth/index */
void hth_documents_change(hth_node *node, hth_exchange *exchange); /* POST /hearth/index */

/* vector-stores.c: what vector stores say of a question, for a model. tool: file_search's members (api/file-search.c). fn is called once,
 * later, unless it is cancelled before; results: as a store's search has them in `data`, borrowed, NULL with why_not. HTH_INVALID: the tool
 * says what it cannot. */
typedef struct store_call hth_store_call;
typedef void (*hth_found_fn)(void *ctx, const json_t *results, const hth_error *why_not);
HTH_MUST_USE hth_status hth_stores_find(hth_node *node, const json_t *tool, const char *question, double least, hth_found_fn fn, void *ctx,
                                        hth_store_call **ret_call, hth_error *err);
void hth_stores_cancel(hth_store_call *call); /* fn is not called any more */

/* document-pages.c: a place of a document, for people. */
HTH_MUST_USE hth_status hth_document_pages_create(hth_document_pages **ret_pages, hth_node *node, hth_error *err);
void hth_document_pages_destroy(hth_document_pages *pages);
bool hth_document_pages_handle(hth_node *node, hth_exchange *exchange); /* GET /documents/...; false: another path */

/* embedder.c: vectors of passages and queries, by the embedding model that is here. */
struct hth_index;
struct hth_index_batch;
HTH_MUST_USE hth_status hth_embedder_create(hth_embedder **ret_embedder, hth_node *node, hth_error *err);
/* After the index was stopped. No callback follows. */
void hth_embedder_destroy(hth_embedder *embedder);
void hth_embedder_attach(hth_embedder *embedder, struct hth_index *index); /* whose passages are to get vectors; NULL: nobody's */
void hth_embedder_on_batch(void *embedder, struct hth_index_batch *batch); /* the index's thread */
void hth_embedder_rest(hth_embedder *embedder, bool rest); /* somebody waits for an answer */
/* The vector of what is asked; fn is called once, maybe before this returns. values NULL: there is none (no model, or not in time).
 * Borrowed for the call. */
void hth_embedder_query(hth_embedder *embedder, const char *text, hth_embedded_fn fn, void *ctx);
void hth_embedder_forget(hth_embedder *embedder, void *ctx); /* its fn is not called any more */

/* neighbours.c, lending.c, borrowing.c: what neighbours do for this home, and it for them (neighbours.h). */
HTH_MUST_USE hth_status hth_neighbours_create(struct hth_neighbours **ret_neighbours, hth_node *node, hth_error *err);
void hth_neighbours_destroy(struct hth_neighbours *neighbours); /* their work here ends; whoever asked goes elsewhere */
/* Every model that only a neighbour has, of those that a request could go to now. */
void hth_neighbours_each_model(hth_node *node, hth_api_model_fn fn, void *ctx);
void hth_neighbours_write_metrics(hth_node *node, hth_buf *out);
void hth_neighbours_write_status(hth_node *node, hth_buf *out); /* a JSON value */
/* This home's own request begins here, and has ended (wherever it was). */
/* why it is not asked any more; NULL: it is believed. Borrowed until the next call */
const char *hth_neighbours_not_believed(hth_node *node, const hth_home_id *id);
void hth_neighbours_forgive(hth_node *node, const hth_home_id *id);            /* the owner's word */
void hth_neighbours_own_began(hth_node *node, const hth_request *request);
void hth_neighbours_own_ended(hth_node *node, const hth_request *request);
void hth_neighbours_own_still(void *node); /* a timer's */
/* A CLASSIFIED request goes next door if that is better, or if only a neighbour has its model: HTH_OK, and it is ROUTED and RUNNING and
 * sees to its own end. placed is called before its words are made, as the router would: what its answer will look like is settled.
 * HTH_CONFLICT, HTH_NOT_FOUND: it stays home, as it was; else it cannot be answered at all. */
typedef hth_status (*hth_placed_fn)(void *ctx, hth_request *request, const hth_runner_info *info, hth_error *err);
HTH_MUST_USE hth_status hth_borrowing_take(hth_node *node, hth_request *request, hth_placed_fn placed, void *ctx, hth_error *err);

/* street-api.c: the neighbourhood. */
HTH_MUST_USE hth_status hth_street_api_start(hth_node *node, hth_error *err);
void hth_street_api_stop(hth_node *node);
void hth_street_api_status(hth_node *node, hth_exchange *exchange); /* GET /hearth/pool */
void hth_street_api_change(hth_node *node, hth_exchange *exchange); /* POST /hearth/pool */

/* vector-stores.c: files that programs send, and what they are put into. */
HTH_MUST_USE hth_status hth_stores_open(hth_stores **ret_stores, hth_node *node, hth_error *err);
void hth_stores_close(hth_stores *stores); /* before the documents */
bool hth_stores_headers(hth_node *node, hth_exchange *exchange); /* an upload begins; false: it is none */
bool hth_stores_end(hth_node *node, hth_exchange *exchange);     /* its body is whole; false: it is none */
bool hth_stores_handle(hth_node *node, hth_exchange *exchange);  /* any other call; false: none of its paths */

/* keys.c: named keys. */
HTH_MUST_USE hth_status hth_keys_create(hth_keys **ret_keys, const char *home, hth_error *err);
void hth_keys_destroy(hth_keys *keys);
bool hth_keys_any(hth_keys *keys);
/* HTH_UNAUTHORIZED: no such key; HTH_DENIED: not for this; HTH_BUSY with retry_s: too often. */
HTH_MUST_USE hth_status hth_keys_check(hth_keys *keys, hth_exchange *exchange, const char *text, hth_caller *ret_caller, hth_error *err);
/* Answers a refused call in its family's shape (endpoint NULL: unknown path). */
void hth_keys_refuse(hth_exchange *exchange, const hth_api_endpoint *endpoint, const hth_caller *caller, const hth_error *error);

/* guard.c: who may ask at all. */
HTH_MUST_USE hth_status hth_guard_init(hth_node *node, hth_error *err); /* refuses to listen beyond loopback without a key */
void hth_guard_welcome_owner(hth_node *node); /* once the port is known */
/* Host, Origin and key. Adds the CORS headers for an allowed foreign origin. HTH_DENIED, HTH_UNAUTHORIZED. */
/* The class of requests whose caller has no key and says none: their model's, or the home's; the tightest of all of them. */
hth_privacy_class hth_guard_default_class(hth_node *node, const hth_api_job *job);
HTH_MUST_USE hth_status hth_guard_check(hth_node *node, hth_exchange *exchange, hth_caller *ret_caller, hth_error *err);
bool hth_guard_is_loopback_url(const char *url); /* of this machine */
/* Appends a signature (signed-links.h) to a link of this document, where this node asks for keys. For who may know what it says. */
void hth_guard_sign_link(const hth_node *node, const char *document, hth_buf *out);
bool hth_guard_asks_for_keys(const hth_node *node);
void hth_guard_preflight(hth_exchange *exchange); /* answers OPTIONS, once checked */

/* pages.c: what the node answers itself. False: not one of them. */
bool hth_pages_handle(hth_node *node, hth_exchange *exchange);
void hth_pages_error(hth_exchange *exchange, const hth_api_endpoint *endpoint, const hth_error *error);
void hth_pages_wrong_method(hth_exchange *exchange, const char *allow); /* 405 */

/* models.c: the models on disk, as the APIs list and change them. */
void hth_models_init(hth_node *node); /* fills api_host */

/* create.c: models made of others. Members of api_host. */
/* Makes the model that wish asks for: of `from` (a model that is here; NULL: of the wish's blobs), or where made is not NULL of that file,
 * which it takes. HTH_NOT_FOUND, HTH_INVALID (name), HTH_CONFLICT (the name has weights of its own). */
HTH_MUST_USE hth_status hth_create_model(hth_node *node, const hth_create_wish *wish, const char *from, const char *made, hth_error *err);
/* Whether a model may be made under that name, before work is put into it. */
HTH_MUST_USE hth_status hth_create_check(hth_node *node, const char *to, hth_error *err);
/* The path of a blob that is here and is GGUF. */
HTH_MUST_USE hth_status hth_create_blob(const hth_node *node, const char *digest, char *out, size_t room, hth_error *err);

/* --- create-task.c --- */
/* What POST /api/create needs a thread for: pulling what it is made from, quantising. */
typedef struct hth_create_task hth_create_task;
/* Reads a body. *ret_work: whether hth_create_work is to be called before hth_create_finish. */
HTH_MUST_USE hth_status hth_create_begin(hth_create_task **ret_task, hth_node *node, hth_exchange *exchange, bool *ret_work,
                                         hth_error *err);
bool hth_create_streams(const hth_create_task *task);
/* On a thread, with pull's options; tell says what it is about to do. */
HTH_MUST_USE hth_status hth_create_work(hth_create_task *task, const hth_pull_options *options, void (*tell)(void *ctx, const char *status),
                                        hth_error *err);
/* On the loop's thread: makes the model, and appends the answer's last lines (or its body). */
HTH_MUST_USE hth_status hth_create_end(hth_create_task *task, hth_buf *out, hth_error *err);
void hth_create_destroy(hth_create_task *task);

hth_status hth_create_copy(void *node, const char *from, const char *to, hth_error *err);

/* blobs.c: weights that a client sends along. */
void hth_blobs_headers(void *node, hth_exchange *exchange);    /* hth_http_handler's */
bool hth_blobs_end(hth_node *node, hth_exchange *exchange);    /* the body is whole; false: it is none of ours */
bool hth_blobs_look(hth_node *node, hth_exchange *exchange);   /* HEAD; false: no such path */
/* Where the blob "sha256:HEX" is or would be; false: it is no digest. */
bool hth_blobs_path(const hth_node *node, const char *digest, char *out, size_t out_len);
void hth_blobs_clean(const hth_node *node); /* what nobody took */

/* settings.c: what a made model brings to its requests. */
HTH_MUST_USE hth_status hth_settings_create(hth_settings **ret_settings, hth_node *node, hth_error *err);
void hth_settings_destroy(hth_settings *settings);
void hth_settings_prepare(void *node, hth_request *request); /* member of api_host */
const json_t *hth_settings_record(hth_node *node, const char *name); /* borrowed until the next call; NULL: none */

/* digests.c: SHA-256 of models, computed in the background. */
HTH_MUST_USE hth_status hth_digests_create(hth_digests **ret_digests, hth_node *node, hth_error *err);
void hth_digests_destroy(hth_digests *digests);
const char *hth_digests_get(hth_digests *digests, const hth_catalog_model *model); /* borrowed until the next call; NULL: not known yet */
const char *hth_digests_file(hth_digests *digests, const char *path); /* of one of its files */

/* inspect.c: what the models' files say of themselves. */
HTH_MUST_USE hth_status hth_inspector_create(hth_inspector **ret_inspector, hth_node *node, hth_error *err);
void hth_inspector_destroy(hth_inspector *inspector);
typedef void (*hth_inspect_fn)(void *ctx);
/* Calls fn once when every model on disk is described (maybe before this returns), unless ctx is forgotten first. */
void hth_inspector_refresh(hth_inspector *inspector, hth_inspect_fn fn, void *ctx);
void hth_inspector_forget(hth_inspector *inspector, void *ctx);
/* The JSON of `hearth show`; an empty object when the file could not be described; NULL: not looked at yet. Borrowed. */
const json_t *hth_inspector_facts(const hth_inspector *inspector, const hth_catalog_model *model);

/* metrics.c */
void hth_histogram_add(hth_histogram *histogram, double seconds);
void hth_metrics_write(hth_node *node, hth_buf *out); /* Prometheus text */
void hth_status_write(hth_node *node, hth_buf *out);  /* JSON of GET /hearth/status */

#endif
