/* node.h - the daemon: puts http, api, request, privacy, route and runner together on one loop.
 *
 * hth_node_run is `hearth serve`. It owns the process until it returns: it handles SIGTERM and SIGINT (running answers may
 * finish within config.shutdown_s, then they are cancelled; a second signal cancels at once), ignores SIGPIPE, and closes every
 * handle before it returns, when SIGTERM and SIGINT are ignored: the caller is expected to exit. One node per process. verbs.c is the story
 * of one request, top to bottom.
 *
 * Beside the public APIs (src/api) the node answers these, which the command line uses. They follow the same rules (Host, Origin,
 * API key: `Authorization: Bearer KEY`), answer JSON, and fail with {"error":{"message","type","param","code"}}.
 *
 *   GET /hearth/status
 *     {"version":"0.1.0","pid":n,"address":"127.0.0.1:4327","started_unix":n,"uptime_s":n,"home":"...","default_model":"starter",
 *      "stopping":false,
 *      "memory":{"budget_bytes":n,"used_bytes":n},               used: what loaded models were given
 *      "requests":{"active":n,"waiting":n,"done":n,"failed":n,"cancelled":n,"refused":n},
 *      "tokens":{"prompt":n,"cached":n,"answer":n},
 *      "connections":n,
 *      "runners":[{"model":"starter","state":"loading|ready|stopping","pid":n,"active":n,"waiting":n,"slots":n,"context":n,
 *                  "memory_bytes":n,                             resident, from the system
 *                  "planned_bytes":n,                            counted against the budget
 *                  "architecture":"llama","type":"Q8_0","parameters":n,"loaded_unix":n,
 *                  "progress":0.5,"eta_s":n|null,                of loading, 0 to 1; seconds left, null: it is not loading
 *                  "idle_s":n|null,                              null: busy
 *                  "unload_in_s":n|null,                         null: never, or busy
 *                  "landlock_abi":n,"kernels":"avx2"}],
 *      "upstreams":[{"name":"den","url":"http://.../v1","privacy":"private|neighbours|public","state":"answers|silent|unknown",
 *                    "error":"","since_unix":n,"models":n,"active":n}],
 *      "routes":[{"at_unix":n,"id":"req-...","model":"starter","by":"here",
 *                 "why":"this home, where the model is loaded"}], the last 16 that ended, newest first
 *      "neighbours":null|{"asked":n,"serving":n,"lends":true,    requests that are out; works of others that are here
 *                    "homes":[{"name":"ben","heard":true,"trusted":true,"lends":true,"slots":n,"free_slots":n,"models":n,"rtt_ms":x,
 *                              "speed":x,                        measured over claimed; 0: not measured
 *                              "caught":false,"why":null}]}}     caught: it is not asked any more, and why
 *     "waiting" of a runner counts requests that wait for its model to load; those that wait for a slot are "active".
 *   POST /hearth/stop {"model":"starter"}
 *     Unloads the model once its running answers have ended ("now":true cancels them). {"stopped":true} when the runner has been told;
 *     404 when the model is not loaded.
 *   A chat call of any family with the header `Hearth-Tools: web_fetch` offers the model the node's own tool of that name: the pages it
 *     asks for are fetched by the same rules and given to it, at most five, and the client sees one answer. 403 when it is off.
 *   The header `Hearth-Tools: search_documents` does the same with the household's documents: needs the scope documents, and makes the call
 *     private.
 *   GET /hearth/index, POST /hearth/index {"add":"/path","shared":false} or {"remove":"/path"}
 *     The indexed folders and how far they are read (index/index-json.h), and changing which they are. Needs the scope admin.
 *   GET /search?q=&k=[&folder=&type=&from=&after=&before=&least=&text=1]
 *     What the household's documents say, as `hearth search --json` answers; least: a share of 0 to 100 that a hit must have. Needs the
 *     scope documents.
 *   POST /hearth/fetch {"url":"https://..."}
 *     A page for a model's tool (fetch.h), when the setting fetch_hosts allows:
 *     {"status":200,"type":"text/html","url":"...","title":"...","links":[{"url":"...","text":"..."}],"text":"...","cut":false}.
 *     403 when it is off or not allowed; 400 when there is no text there.
 */
#ifndef HTH_NODE_NODE_H
#define HTH_NODE_NODE_H

#include "config/config.h"

typedef struct hth_node_callbacks {
	/* The node listens: "127.0.0.1:4327" or "[::1]:4327", with the port that was bound. May be NULL. */
	void (*ready)(void *ctx, const char *address);
	void *ctx;
	/* for tests: as in fetch.h; NULL: addresses of the public Internet only */
	bool (*fetch_address_ok)(void *ctx, const char *address);
	const char *program; /* the binary that has `__runner` as its first argument; NULL: /proc/self/exe */
} hth_node_callbacks;

/* Runs until a signal ends it. HTH_OK after an orderly stop; otherwise what could not be done (the address is taken, no API key
 * beyond loopback, a handle was left open). config is borrowed for the call; callbacks may be NULL. */
HTH_MUST_USE hth_status hth_node_run(const hth_config *config, const hth_node_callbacks *callbacks, hth_error *err);

#endif
