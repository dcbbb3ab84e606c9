/* request.c - the state machine of a request, and the wiping of what it held.
 *
 * Owns: which step may follow which, that the end happens once, and that prompt bytes do not stay in freed memory. Refuses
 * steps out of order; results that come after the end (a runner may have sent them before it heard of the cancelling) are
 * dropped silently. Every function that calls out holds a reference meanwhile, since the one called may drop the last one.
 * Thread: the loop's.
 */
#include "request/request.h"

#include "base/clock.h"
#include "base/mem.h"

#include <sodium.h>
#include <stdio.h>

hth_status hth_request_create(hth_request **ret_request, hth_request_kind kind, hth_error *err)
{
	if (sodium_init() < 0)
		return hth_fail(err, HTH_IO, "the system gives no random numbers");
	hth_request *request = calloc(1, sizeof *request);
	if (request == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a request");
	uint64_t random[2];
	randombytes_buf(random, sizeof random);
	snprintf(request->id, sizeof request->id, "req-%016llx", (unsigned long long)random[0]);
	request->kind = kind;
	request->refs = 1;
	request->privacy = HTH_PRIVATE;
	request->params.sampling = hth_sampling_defaults();
	/* Without a seed of the sender's, each request draws its own. */
	request->params.sampling.seed = random[1];
	request->params.max_tokens = -1;
	request->params.top_logprobs = -1;
	request->params.keep_alive_s = HTH_KEEP_ALIVE_DEFAULT;
	request->input.add_special = true;
	request->created_unix = hth_clock_unix();
	request->created_ns = hth_clock_ns();
	*ret_request = request;
	return HTH_OK;
}

hth_request *hth_request_ref(hth_request *request)
{
	request->refs++;
	return request;
}

static void wipe(void *data, size_t len)
{
	if (data != NULL)
		sodium_memzero(data, len);
	free(data);
}
static void wipe_string(char *s) { wipe(s, s == NULL ? 0 : strlen(s)); }

void hth_request_input_finish(hth_request_input *input)
{
	wipe_string(input->messages_json);
	wipe_string(input->tools_json);
	wipe_string(input->template_json);
	wipe_string(input->settings_json);
	wipe_string(input->must_call_name);
	wipe_string(input->format_json);
	wipe(input->text, input->text_len);
	wipe(input->tokens, input->n_tokens * sizeof *input->tokens);
	wipe(input->resume, input->n_resume * sizeof *input->resume);
	*input = (hth_request_input){0};
}

void hth_request_params_finish(hth_request_params *params)
{
	free(params->bias);
	for (size_t i = 0; i < params->n_stop; i++)
		wipe_string(params->stop[i]);
	wipe_string(params->grammar);
	wipe_string(params->grammar_trigger);
	wipe_string(params->grammar_trigger_if);
	*params = (hth_request_params){0};
}

void hth_request_unref(hth_request *request)
{
	if (request == NULL || --request->refs > 0)
		return;
	hth_request_input_finish(&request->input);
	hth_request_params_finish(&request->params);
	wipe_string(request->stop_hit);
	sodium_memzero(request, sizeof *request);
	free(request);
}

const char *hth_request_state_name(hth_request_state state)
{
	static const char *const names[] = {"new",       "admitted", "classified", "routed", "running",
	                                    "streaming", "done",     "cancelled",  "failed"};
	return (unsigned)state < HTH_COUNT(names) ? names[state] : "?";
}

bool hth_request_has_ended(const hth_request *request) { return request->state >= HTH_REQUEST_DONE; }

static hth_status step(hth_request *request, hth_request_state from, hth_request_state to, hth_error *err)
{
	if (request->state != from)
		return hth_fail(err, HTH_CONFLICT, "request %s is %s and cannot become %s", request->id,
		                hth_request_state_name(request->state), hth_request_state_name(to));
	request->state = to;
	return HTH_OK;
}

hth_status hth_request_admit(hth_request *request, hth_error *err)
{
	return step(request, HTH_REQUEST_NEW, HTH_REQUEST_ADMITTED, err);
}

hth_status hth_request_classify(hth_request *request, hth_privacy_class privacy, hth_error *err)
{
	HTH_TRY(step(request, HTH_REQUEST_ADMITTED, HTH_REQUEST_CLASSIFIED, err));
	request->privacy = privacy;
	return HTH_OK;
}

hth_status hth_request_route(hth_request *request, const char *served_by, const char *reason, hth_error *err)
{
	HTH_TRY(step(request, HTH_REQUEST_CLASSIFIED, HTH_REQUEST_ROUTED, err));
	snprintf(request->served_by, sizeof request->served_by, "%s", served_by);
	snprintf(request->route_reason, sizeof request->route_reason, "%s", reason);
	return HTH_OK;
}

hth_status hth_request_run(hth_request *request, hth_error *err)
{
	return step(request, HTH_REQUEST_ROUTED, HTH_REQUEST_RUNNING, err);
}

hth_status hth_request_start(hth_request *request, hth_error *err)
{
	if (request->state == HTH_REQUEST_STREAMING || hth_request_has_ended(request))
		return HTH_OK;
	HTH_TRY(step(request, HTH_REQUEST_RUNNING, HTH_REQUEST_STREAMING, err));
	request->started_ns = hth_clock_ns();
	if (request->sink != NULL && request->sink->started != NULL) {
		hth_request_ref(request);
		request->sink->started(request->sink_ctx, request);
		hth_request_unref(request);
	}
	return HTH_OK;
}

/* Whether a result may be passed on; starts the stream when it is the first one. */
static bool open_for_results(hth_request *request)
{
	if (request->state == HTH_REQUEST_RUNNING && hth_request_start(request, NULL) != HTH_OK)
		return false;
	return request->state == HTH_REQUEST_STREAMING && request->sink != NULL;
}

void hth_request_piece(hth_request *request, const hth_answer_piece *piece)
{
	hth_request_ref(request);
	if (open_for_results(request) && request->sink->piece != NULL)
		request->sink->piece(request->sink_ctx, request, piece);
	hth_request_unref(request);
}

void hth_request_tokens(hth_request *request, const int32_t *ids, size_t n)
{
	hth_request_ref(request);
	if (open_for_results(request) && request->sink->tokens != NULL)
		request->sink->tokens(request->sink_ctx, request, ids, n);
	hth_request_unref(request);
}

void hth_request_embedding(hth_request *request, const float *values, size_t n)
{
	hth_request_ref(request);
	if (open_for_results(request) && request->sink->embedding != NULL)
		request->sink->embedding(request->sink_ctx, request, values, n);
	hth_request_unref(request);
}

static void end(hth_request *request, hth_request_state state)
{
	request->state = state;
	request->ended_ns = hth_clock_ns();
	request->cancel = NULL;
	request->cancel_ctx = NULL;
	if (request->sink != NULL && request->sink->ended != NULL)
		request->sink->ended(request->sink_ctx, request);
}

void hth_request_done(hth_request *request, hth_finish_reason reason, const hth_usage *usage)
{
	if (hth_request_has_ended(request))
		return;
	if (request->state < HTH_REQUEST_RUNNING) {
		hth_error err;
		hth_fail(&err, HTH_INTERNAL, "request %s was reported done while it was %s", request->id,
		         hth_request_state_name(request->state));
		hth_request_fail(request, &err);
		return;
	}
	hth_request_ref(request);
	if (hth_request_start(request, NULL) == HTH_OK && !hth_request_has_ended(request)) {
		request->finish_reason = reason;
		if (usage != NULL)
			request->usage = *usage;
		end(request, HTH_REQUEST_DONE);
	}
	hth_request_unref(request);
}

void hth_request_fail(hth_request *request, const hth_error *error)
{
	if (hth_request_has_ended(request))
		return;
	hth_request_ref(request);
	if (error != NULL && error->status != HTH_OK)
		request->error = *error;
	else
		hth_fail(&request->error, HTH_INTERNAL, "the request failed, and nobody said why");
	end(request, HTH_REQUEST_FAILED);
	hth_request_unref(request);
}

void hth_request_cancel(hth_request *request)
{
	if (hth_request_has_ended(request))
		return;
	hth_request_ref(request);
	/* The state first: whoever is told to stop may call back into this request. */
	void (*cancel)(void *, hth_request *) = request->cancel;
	void *cancel_ctx = request->cancel_ctx;
	request->state = HTH_REQUEST_CANCELLED;
	request->cancel = NULL;
	if (cancel != NULL)
		cancel(cancel_ctx, request);
	hth_fail(&request->error, HTH_CANCELLED, "the request was cancelled");
	end(request, HTH_REQUEST_CANCELLED);
	hth_request_unref(request);
}
