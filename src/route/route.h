/* route.h - who serves a request: finds its model, loads it when it is not loaded, keeps all models within the memory budget.
 *
 * There is one runner per model; names for the same weights (`create`, `copy`) share it, unless one needs a longer context. A request whose
 * model is loaded is placed at once; one whose model is not waits here while it loads, at most load_timeout_s (the loading goes on without
 * it). Idle models unload after their keep-alive, and sooner, least recently used first, when another model needs their room. A runner that
 * died is replaced when the next request comes; one that keeps dying is given pauses that double, in which requests are refused at once
 * with the reason. Everything is on the loop's thread.
 */
#ifndef HTH_ROUTE_ROUTE_H
#define HTH_ROUTE_ROUTE_H

#include "catalog/catalog.h"
#include "runner/runner.h"

typedef struct hth_router hth_router;

typedef struct hth_router_options {
	const char *home;          /* where the catalog looks */
	const char *program;       /* as in hth_runner_options */
	const char *default_model; /* a name, or a path to a model file, which is then served under its file's name */
	uint32_t n_threads, parallel, context; /* as in hth_config */
	uint64_t memory_bytes;     /* budget for all models; 0: 80% of the machine's */
	/* The smaller model that guesses ahead for one; NULL: none. The name is borrowed. */
	const char *(*draft_of)(void *ctx, const char *model);
	void *draft_ctx;           /* draft_of may be NULL */
	uint64_t spill_bytes;      /* of each loaded model's KV cache on disk, in a nameless file in home; 0: none */
	uint32_t keep_alive_s;     /* 0: unload at once; UINT32_MAX: never */
	uint32_t queue;            /* requests of one model that may wait beyond its slots */
	uint32_t load_timeout_s;
} hth_router_options;

/* HTH_NOT_FOUND when default_model is a path to no file. All strings are copied. */
HTH_MUST_USE hth_status hth_router_create(hth_router **ret_router, hth_loop *loop, const hth_router_options *options,
                                          hth_error *err);
/* Kills every runner. Requests that wait are failed with HTH_BUSY. */
void hth_router_destroy(hth_router *router);

/* The name under which requests that name no model are served. */
const char *hth_router_default_model(const hth_router *router);

/* runner not NULL: it is ready; submit the request to it now. reason says why there, for a person. runner NULL: err says why not. */
typedef void (*hth_router_fn)(void *ctx, hth_request *request, hth_runner *runner, const char *reason, const hth_error *err);
/* Finds the runner for request->model (which becomes the catalog's name for it) and calls fn exactly once, maybe before this returns; never
 * when the request is cancelled first (while it waits here, request->cancel is the router's). Takes a reference until then.
 * Failures: HTH_NOT_FOUND (no such model), HTH_BUSY (too many wait, or the wait took too long), HTH_NO_MEMORY (cannot fit),
 * or what the model's loading failed with. */
void hth_router_place(hth_router *router, hth_request *request, hth_router_fn fn, void *ctx);

typedef enum hth_router_state { HTH_MODEL_WAITS_FOR_ROOM, HTH_MODEL_LOADING, HTH_MODEL_READY, HTH_MODEL_STOPPING } hth_router_state;
const char *hth_router_state_name(hth_router_state state); /* "waiting", "loading", "ready", "stopping" */
/* One model that is loaded, loading or waited for. */
typedef struct hth_router_model {
	const char *name;
	const hth_catalog_model *model;
	hth_router_state state;
	const hth_runner *runner;     /* NULL while it waits for room */
	const hth_runner_info *info;  /* NULL until ready */
	size_t waiting;               /* requests that wait for it to load */
	size_t active;                /* requests that it has */
	uint64_t planned_bytes;       /* counted against the budget */
	int64_t loaded_unix;          /* 0 until ready */
	int64_t idle_s;               /* -1: busy */
	int64_t unload_in_s;          /* -1: never, or busy */
	float progress;               /* of loading, 0 to 1 */
	int64_t eta_s;                /* until it is loaded; -1: it is not loading */
} hth_router_model;
typedef void (*hth_router_model_fn)(void *ctx, const hth_router_model *model);
void hth_router_each(const hth_router *router, hth_router_model_fn fn, void *ctx);
/* Whether this is what answers for a model of the catalog: names that share their weights share a runner. */
bool hth_router_serves(const hth_router_model *loaded, const hth_catalog_model *model);
uint64_t hth_router_budget(const hth_router *router);

/* The catalog as it is on disk now, with the default model's file when that is a path. Finish it. */
HTH_MUST_USE hth_status hth_router_catalog(hth_router *router, hth_catalog *ret_catalog, hth_error *err);

/* Unloads a model: when its requests have ended, or now (they are cancelled). HTH_NOT_FOUND when it is not loaded. */
HTH_MUST_USE hth_status hth_router_stop(hth_router *router, const char *name, bool now, hth_error *err);
/* A model of exactly this name unloads when its requests have ended, if it is loaded: its files are going or have changed. */
void hth_router_let_go(hth_router *router, const char *name);

#endif
