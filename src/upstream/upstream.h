/* upstream.h - OpenAI-compatible servers that the owner already runs (llama-server, Ollama, vLLM, another Hearth) as backends.
 *
 * An upstream NAME with a model M serves requests for "NAME/M". Each request runs on a thread that speaks HTTP and posts what
 * comes to the loop; a request that is cancelled closes its connection within a tenth of a second. Upstreams are asked for their models
 * when the node starts and then every now and then: one that does not answer is refused at once instead of waited for. A request goes to an
 * upstream only with a permit (privacy.h) for the class that its owner gave it; every connection is in the egress log. Everything here is
 * called on the loop's thread.
 */
#ifndef HTH_UPSTREAM_UPSTREAM_H
#define HTH_UPSTREAM_UPSTREAM_H

#include "loop/loop.h"
#include "privacy/privacy.h"

enum { HTH_UPSTREAMS_MAX = 16, HTH_UPSTREAM_MODELS_MAX = 512, HTH_UPSTREAM_CALLS_MAX = 256 };

typedef struct hth_upstreams hth_upstreams;

typedef struct hth_upstream_options {
	const char *name;            /* [a-z0-9-]+, the models' prefix */
	const char *url;             /* http(s)://HOST[:PORT][/PATH], with or without /v1 at its end */
	const char *key;             /* "" : none */
	hth_privacy_class privacy;   /* the widest reader it counts as: HTH_PRIVATE serves all requests, HTH_PUBLIC only public ones */
} hth_upstream_options;

/* All strings are copied. check_ms: between looks at an upstream that answers; 0: 15000. One that does not is looked at after a fifteenth
 * of that, then ever more seldom, up to eight times it; a request for it has it looked at within two seconds. */
HTH_MUST_USE hth_status hth_upstreams_create(hth_upstreams **ret_upstreams, hth_loop *loop, const char *home,
                                             const hth_upstream_options *options, size_t n, unsigned check_ms, hth_error *err);
/* Ends all calls (their requests fail with HTH_BUSY) and threads. */
void hth_upstreams_destroy(hth_upstreams *upstreams);

/* Whether the model's name is one of an upstream's ("NAME/..."), answering or not. */
bool hth_upstreams_match(const hth_upstreams *upstreams, const char *model);
/* The class of the upstream that serves it; only when it matches. */
hth_privacy_class hth_upstreams_audience(const hth_upstreams *upstreams, const char *model);
/* Runs a CLASSIFIED request: moves it to ROUTED and RUNNING and sees to its end. On failure the request is untouched.
 * HTH_BUSY: it does not answer, or has too many; HTH_UNSUPPORTED: what is asked cannot be asked of another server. permit must be for this
 * request and audience; it stays the caller's. */
HTH_MUST_USE hth_status hth_upstreams_submit(hth_upstreams *upstreams, hth_request *request, const hth_sealed_permit *permit,
                                             hth_error *err);

typedef struct hth_upstream_model {
	const char *name; /* "NAME/M" */
	const char *upstream;
} hth_upstream_model;
/* Every model of every upstream that answers, by name. */
void hth_upstreams_each(const hth_upstreams *upstreams, void (*fn)(void *ctx, const hth_upstream_model *model), void *ctx);

typedef struct hth_upstream_state {
	const char *name, *url, *error; /* error: "" when it answers */
	bool checked, answers;
	size_t models, active;
	hth_privacy_class privacy;
	int64_t since_unix; /* that this is so; 0 until it was checked */
} hth_upstream_state;
void hth_upstreams_states(const hth_upstreams *upstreams, void (*fn)(void *ctx, const hth_upstream_state *state), void *ctx);

#endif
