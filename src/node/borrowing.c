/* borrowing.c - this home's requests that neighbours answer, and those that come home again.
 *
 * A request that may leave (its class, what it asks for) is compared: where would it end sooner? If next door, what the model's template
 * decides is settled from what is known of the model here or was described, the words are sealed into a permit, and the machine asks. What
 * comes back are the request's own pieces; its client cannot tell. Where a neighbour is late and this home is free, a copy begins here
 * beside it, and the first that has something goes on. When the machine gives a request back, a copy of it with the tokens that are there
 * goes through the router like any other, and what that makes goes on in the first one's stream.
 * Every time that words leave there is a line in the egress log first; without it they do not leave. Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "privacy/privacy.h"
#include "privacy/travel.h"

#include <stdio.h>

enum { USUAL_ANSWER = 256, BYTES_PER_TOKEN = 4, TEMPLATE_TOKENS = 4096 };

struct hth_borrowed {
	hth_neighbours *nb;
	hth_request *request; /* a reference */
	hth_request *at_home; /* the copy that goes on here; a reference; NULL: it is abroad */
	hth_request *beside;  /* the copy that was begun here, while it is abroad; a reference */
	uint64_t ask;
	hth_home_id peer;
	bool has_peer;
	hth_answer_part parts[HTH_PARTS_MAX]; /* who made what of it */
	size_t n_parts;                       /* more than there is room for: it is not checked */
	int32_t *ids;
	size_t n, cap;
	hth_buf text;
	struct hth_borrowed *next;
};

static hth_borrowed *find(const hth_neighbours *nb, uint64_t ask)
{
	hth_borrowed *b = nb->borrowed;
	while (b != NULL && (b->ask != ask || b->at_home != NULL))
		b = b->next;
	return b;
}

/* What was begun here beside a neighbour is not wanted. */
static void stop_beside(hth_borrowed *b)
{
	hth_request *copy = b->beside;
	if (copy == NULL)
		return;
	b->beside = NULL;
	copy->sink = NULL;
	hth_request_cancel(copy);
	hth_request_unref(copy);
}

static void drop(hth_borrowed *b)
{
	hth_neighbours *nb = b->nb;
	hth_borrowed **at = &nb->borrowed;
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	stop_beside(b);
	nb->n_abroad -= b->at_home == NULL;
	b->request->cancel = NULL;
	b->request->cancel_ctx = NULL;
	if (b->ids != NULL)
		explicit_bzero(b->ids, b->cap * sizeof *b->ids);
	free(b->ids);
	if (b->text.data != NULL)
		explicit_bzero(b->text.data, b->text.cap);
	hth_buf_finish(&b->text);
	hth_request_unref(b->at_home);
	hth_request_unref(b->request);
	free(b);
}

/* Nobody wants it any more. */
static void on_cancel(void *ctx, hth_request *request)
{
	hth_borrowed *b = ctx;
	hth_neighbours *nb = b->nb;
	(void)request;
	if (b->at_home != NULL) {
		hth_request *copy = hth_request_ref(b->at_home);
		copy->sink = NULL;
		drop(b);
		hth_request_cancel(copy);
		hth_request_unref(copy);
		return;
	}
	hth_pool_cancel(nb->pool, b->ask, hth_neighbours_now_ms(nb));
	drop(b);
	hth_neighbours_settle(nb);
}

/* ---- leaving ---- */

/* What comes from here on is this home's. */
static void add_part(hth_borrowed *b, const hth_home_id *by)
{
	if (b->n_parts > 0 && b->n_parts <= HTH_PARTS_MAX && b->parts[b->n_parts - 1].from == b->n &&
	    b->parts[b->n_parts - 1].text_from == b->text.len)
		b->n_parts--; /* who was left had made nothing */
	if (b->n_parts < HTH_PARTS_MAX)
		b->parts[b->n_parts] = (hth_answer_part){*by, b->n, b->text.len};
	b->n_parts += b->n_parts <= HTH_PARTS_MAX;
}

bool hth_borrowing_leaves(hth_neighbours *nb, uint64_t ask, const hth_home_id *to, size_t words_len, const char *why, bool also)
{
	hth_borrowed *b = find(nb, ask);
	hth_error err;
	char id[HTH_HOME_ID_TEXT], name[HTH_MEMBER_NAME_MAX];
	if (b == NULL)
		return false;
	hth_request *r = b->request;
	hth_home_id_text(to, id);
	snprintf(name, sizeof name, "%s", hth_neighbours_name(nb, to));
	hth_egress e = {.at_unix = hth_clock_unix(), .kind = "neighbour", .sent_bytes = words_len, .allowed = true};
	snprintf(e.host, sizeof e.host, "%s (%s)", name, id);
	snprintf(e.reason, sizeof e.reason, "%s, model %.100s%s", r->id, r->model, b->n > 0 ? ", the rest of its answer" : "");
	snprintf(e.privacy, sizeof e.privacy, "%s", hth_privacy_name(r->privacy));
	if (hth_store_egress_add(nb->store, &e, &err) != HTH_OK) {
		nb->counts.refused_record++;
		hth_log(HTH_LOG_ERROR, "%s stays home: the egress log cannot be written: %s", r->id, err.message);
		return false;
	}
	if (nb->node->street != NULL)
		hth_street_told(nb->node->street, words_len, 0);
	if (also) {
		hth_log(HTH_LOG_INFO, "%s is late at %s: %s is asked for it, too", r->id, hth_neighbours_name(nb, &b->peer), name);
		return true;
	}
	if (b->has_peer)
		hth_log(HTH_LOG_INFO, "%s leaves %s and goes on at %s after %zu tokens: %s", r->id, hth_neighbours_name(nb, &b->peer), name,
		        b->n, why != NULL ? why : "?");
	b->peer = *to;
	b->has_peer = true;
	add_part(b, to);
	if (r->served_by[0] != '\0') { /* else it is told when it is routed */
		snprintf(r->served_by, sizeof r->served_by, "%.63s", name);
		snprintf(r->route_reason, sizeof r->route_reason, "%.60s next door, after another home was left", name);
	}
	return true;
}

void hth_borrowing_now_by(hth_neighbours *nb, uint64_t ask, const hth_home_id *by)
{
	hth_borrowed *b = find(nb, ask);
	if (b == NULL)
		return;
	hth_request *r = b->request;
	const char *name = hth_neighbours_name(nb, by);
	hth_log(HTH_LOG_INFO, "%s goes on at %s after %zu tokens: it was faster", r->id, name, b->n);
	b->peer = *by;
	add_part(b, by);
	snprintf(r->served_by, sizeof r->served_by, "%.63s", name);
	snprintf(r->route_reason, sizeof r->route_reason, "%.60s next door, where it came sooner than from the first", name);
}

static bool append_ids(hth_borrowed *b, const int32_t *ids, size_t n)
{
	if (b->n + n > b->cap) {
		size_t cap = HTH_MAX(b->cap * 2, b->n + n + 64);
		int32_t *grown = realloc(b->ids, cap * sizeof *grown);
		if (grown == NULL)
			return false;
		b->ids = grown;
		b->cap = cap;
	}
	if (n > 0)
		memcpy(b->ids + b->n, ids, n * sizeof *ids);
	b->n += n;
	return true;
}

static hth_pool_ask_options options_for(const hth_neighbours *nb, const hth_request *r, const unsigned char *hash, size_t words)
{
	int64_t most = r->params.max_tokens;
	uint32_t guess = (uint32_t)(words / BYTES_PER_TOKEN) + 16;
	return (hth_pool_ask_options){.ask = nb->next_ask,
	                              .model = hash,
	                              .prompt_tokens = guess,
	                              .max_tokens = most < 0 || most > HTH_POOL_PREFIX_MAX ? HTH_POOL_PREFIX_MAX : (uint32_t)most,
	                              .expected_tokens = most < 0 || most > USUAL_ANSWER ? USUAL_ANSWER : (uint32_t)most,
	                              .most_prompt_tokens = (uint32_t)words + TEMPLATE_TOKENS,
	                              .seed = r->params.sampling.seed,
	                              .sampler = hth_travel_sampler(r)};
}

static size_t words_of(const hth_request *r)
{
	const hth_request_input *in = &r->input;
	const char *const all[] = {in->messages_json, in->tools_json, in->template_json, in->settings_json};
	size_t n = in->text_len;
	for (size_t i = 0; i < HTH_COUNT(all); i++)
		n += all[i] != NULL ? strlen(all[i]) : 0;
	return n;
}

static hth_status begin(hth_neighbours *nb, hth_request *request, const unsigned char *hash, hth_error *err)
{
	hth_neighbour_permit *permit = NULL;
	HTH_TRY(hth_privacy_permit_neighbours(request, &permit, err));
	hth_borrowed *b = calloc(1, sizeof *b);
	if (b == NULL) {
		hth_permit_destroy(permit);
		return hth_fail(err, HTH_NO_MEMORY, "no memory for the request");
	}
	*b = (hth_borrowed){.nb = nb, .request = hth_request_ref(request), .ask = ++nb->next_ask,
	                    .text = HTH_BUF_INIT(HTH_POOL_ANSWER_TEXT_MAX), .next = nb->borrowed};
	nb->borrowed = b;
	nb->n_abroad++;
	request->cancel = on_cancel;
	request->cancel_ctx = b;
	hth_pool_ask_options o = options_for(nb, request, hash, words_of(request));
	hth_status status = hth_pool_ask(nb->pool, permit, &o, hth_neighbours_now_ms(nb), err);
	if (status != HTH_OK) {
		drop(b);
		return status;
	}
	char why[128];
	const char *name = b->has_peer ? hth_neighbours_name(nb, &b->peer) : "next door";
	snprintf(why, sizeof why, b->has_peer ? "%.60s next door, where it ends sooner" : "%s, as soon as somebody can", name);
	status = hth_request_route(request, name, why, err);
	if (status == HTH_OK)
		status = hth_request_run(request, err);
	if (status != HTH_OK) {
		hth_pool_cancel(nb->pool, b->ask, hth_neighbours_now_ms(nb));
		drop(b);
		return status;
	}
	hth_log(HTH_LOG_INFO, "%s goes to %s: class %s", request->id, name, hth_privacy_name(request->privacy));
	return HTH_OK;
}

/* As it was before it was settled what its answer looks like. */
static void forget_placed(hth_request *request)
{
	hth_request_params *params = &request->params;
	if (params->grammar_made) {
		free(params->grammar);
		params->grammar = NULL;
		params->grammar_made = false;
	}
	free(params->grammar_trigger);
	free(params->grammar_trigger_if);
	params->grammar_trigger = params->grammar_trigger_if = NULL;
}

hth_status hth_borrowing_take(hth_node *node, hth_request *request, hth_placed_fn placed, void *ctx, hth_error *err)
{
	hth_neighbours *nb = node->neighbours;
	if (nb == NULL || nb->n_members <= 1 || (request->kind != HTH_CHAT && request->kind != HTH_COMPLETION))
		return hth_fail(err, HTH_CONFLICT, "it stays home");
	hth_capacity_refresh(nb, false); /* also what a runner that was started just now said of its model */
	const hth_own_model *own = hth_capacity_find(nb, request->model);
	const hth_far_model *far = own == NULL ? hth_neighbours_far_model(nb, request->model, NULL)
	                                       : hth_neighbours_far_model(nb, NULL, own->hash);
	if (own == NULL && far == NULL)
		return hth_fail(err, HTH_CONFLICT, "no neighbour is known to have it");
	if (request->privacy == HTH_PRIVATE)
		return own != NULL ? hth_fail(err, HTH_CONFLICT, "it stays home")
		                   : hth_fail_param(err, HTH_DENIED, "model",
		                                    "the model %.100s is next door, at %s, and this request is private: it stays home "
		                                    "(Hearth-Privacy: neighbours lets trusted neighbours read it, unless its words speak "
		                                    "against that: `hearth privacy explain`)", request->model,
		                                    hth_neighbours_name(nb, &far->from));
	hth_status travels = hth_travel_check(request, err);
	if (travels != HTH_OK)
		return own != NULL ? hth_fail(err, HTH_CONFLICT, "home: %.200s", err->message) : travels;
	unsigned char hash[HTH_HASH_BYTES];
	memcpy(hash, own != NULL ? own->hash : far->hash, HTH_HASH_BYTES);
	const hth_runner_info *info = own != NULL && own->info != NULL ? own->info : far != NULL ? &far->info : NULL;
	if (info == NULL && request->kind == HTH_CHAT)
		return hth_fail(err, HTH_CONFLICT, "its template is not known yet");
	hth_pool_ask_options o = options_for(nb, request, hash, words_of(request));
	hth_capacity_tell(nb, own);
	if (!hth_pool_would_leave(nb->pool, (hth_audience)request->privacy, &o, hth_neighbours_now_ms(nb)))
		return own != NULL ? hth_fail(err, HTH_CONFLICT, "home is best")
		                   : hth_fail_param(err, HTH_BUSY, "model",
		                                    "no neighbour takes a request of class %s for the model %.100s now; try again in a "
		                                    "moment", hth_privacy_name(request->privacy), request->model);
	/* From here on it is settled what the answer will look like; if nobody takes it after all, it goes home from where it stands. */
	HTH_TRY(placed(ctx, request, info, err));
	hth_status status = begin(nb, request, hash, err);
	if (status != HTH_OK && own != NULL) {
		forget_placed(request);
		hth_error no = *err;
		status = hth_fail(err, HTH_NOT_FOUND, "home: %.400s", no.message);
	}
	if (own == NULL && (status == HTH_CONFLICT || status == HTH_IO))
		status = hth_fail_param(err, HTH_BUSY, "model", "no neighbour could be asked for the model %.100s; try again in a moment",
		                        request->model);
	hth_neighbours_settle(nb);
	return status;
}

/* ---- what comes back ---- */

void hth_borrowing_tokens(hth_neighbours *nb, uint64_t ask, const hth_pool_run *run)
{
	hth_borrowed *b = find(nb, ask);
	if (b == NULL)
		return;
	hth_request *r = b->request;
	if (run->has_prompt && r->state == HTH_REQUEST_RUNNING) {
		r->usage.prompt_tokens = run->prompt_tokens;
		memcpy(r->prompt_tail, run->tail, HTH_MIN(run->tail_len, sizeof r->prompt_tail - 1));
		r->prompt_tail[HTH_MIN(run->tail_len, sizeof r->prompt_tail - 1)] = '\0';
	}
	if (!append_ids(b, run->ids, run->n) || !hth_buf_append(&b->text, run->text, run->text_len)) {
		hth_error err;
		hth_fail(&err, HTH_NO_MEMORY, "no memory for an answer from next door");
		hth_request_ref(r);
		hth_pool_cancel(nb->pool, ask, hth_neighbours_now_ms(nb));
		drop(b);
		hth_request_fail(r, &err);
		hth_request_unref(r);
		return;
	}
	nb->counts.borrowed_tokens += run->n;
	hth_request_piece(r, &(hth_answer_piece){.text = run->text, .len = run->text_len, .n_tokens = (uint32_t)run->n});
}

/* A neighbour answers for what it made also when another ended the answer: else who breaks off before the end would never be weighed, and
 * its successor would be in its place. */
static void check_parts(const hth_borrowed *b, bool check, bool whole)
{
	hth_neighbours *nb = b->nb;
	if (b->n_parts == 0 || b->n_parts > HTH_PARTS_MAX)
		return;
	for (size_t i = 0; i + (whole ? 1 : 0) < b->n_parts; i++)
		check |= hth_pool_wants_check(nb->pool, &b->parts[i].by);
	if (check)
		hth_spot_check_begin(nb, b->request, &(hth_answer_given){.parts = b->parts, .n_parts = b->n_parts, .ids = b->ids, .n = b->n,
		                                                         .text = b->text.data,
		                     .text_len = b->text.len, .prompt_tokens = b->request->usage.prompt_tokens, .whole = whole});
}

void hth_borrowing_ended(hth_neighbours *nb, uint64_t ask, const hth_home_id *by, bool check, uint8_t finish, uint8_t stop)
{
	hth_borrowed *b = find(nb, ask);
	if (b == NULL)
		return;
	hth_request *r = hth_request_ref(b->request);
	uint64_t now = hth_clock_ns();
	hth_usage usage = {.prompt_tokens = r->usage.prompt_tokens, .answer_tokens = (uint32_t)b->n};
	if (r->started_ns > 0) {
		usage.prefill_ns = r->started_ns - r->created_ns;
		usage.decode_ns = now - r->started_ns;
	}
	if (stop > 0 && stop <= r->params.n_stop)
		r->stop_hit = strdup(r->params.stop[stop - 1]);
	nb->counts.borrowed++;
	(void)by; /* the last of the parts */
	check_parts(b, check, true);
	drop(b);
	hth_request_done(r, finish == HTH_FINISH_LENGTH ? HTH_FINISH_LENGTH : HTH_FINISH_STOP, &usage);
	hth_request_unref(r);
}

void hth_borrowing_failed(hth_neighbours *nb, uint64_t ask)
{
	hth_borrowed *b = find(nb, ask);
	hth_error err;
	if (b == NULL)
		return;
	hth_request *r = hth_request_ref(b->request);
	drop(b);
	hth_fail(&err, HTH_GONE, "no neighbour that has the model %.100s could finish the answer, and this home has not; try again later",
	         r->model);
	hth_request_fail(r, &err);
	hth_request_unref(r);
}

/* ---- coming home ---- */

/* The copy is the answer from now on. */
static void adopt(hth_borrowed *b, const char *why)
{
	hth_neighbours *nb = b->nb;
	hth_request *r = b->request;
	const char *name = b->has_peer ? hth_neighbours_name(nb, &b->peer) : "next door";
	hth_log(HTH_LOG_INFO, "%s comes home from %s after %zu tokens: %s", r->id, name, b->n, why);
	snprintf(r->served_by, sizeof r->served_by, "here");
	snprintf(r->route_reason, sizeof r->route_reason, "this home, after %.48s was left: %.48s", name, why);
	check_parts(b, false, false);
	b->at_home = b->beside;
	b->beside = NULL;
	nb->n_abroad--;
	nb->counts.came_home++;
}

/* Whether what the copy has is the answer: it may have been begun beside a neighbour, who may have been faster. */
static bool is_answer(hth_borrowed *b, const hth_request *copy)
{
	if (b->at_home == copy)
		return true;
	if (b->beside != copy || !hth_pool_home_delivers(b->nb->pool, b->ask, hth_neighbours_now_ms(b->nb)))
		return false;
	adopt(b, "this home was faster");
	return true;
}

static void home_piece(void *ctx, hth_request *copy, const hth_answer_piece *piece)
{
	hth_borrowed *b = ctx;
	hth_neighbours *nb = b->nb;
	hth_request *r = b->request;
	if (!is_answer(b, copy))
		return;
	if (r->state == HTH_REQUEST_RUNNING) {
		memcpy(r->prompt_tail, copy->prompt_tail, sizeof r->prompt_tail);
		r->usage.prompt_tokens = copy->usage.prompt_tokens;
	}
	hth_request_piece(r, piece);
	hth_neighbours_settle(nb);
}

static void home_ended(void *ctx, hth_request *copy)
{
	hth_borrowed *b = ctx;
	hth_neighbours *nb = b->nb;
	/* the neighbour has it, and what happened here changes nothing */
	if (copy->state == HTH_REQUEST_DONE ? !is_answer(b, copy) : b->beside == copy) {
		if (b->beside == copy) {
			b->beside = NULL;
			hth_request_unref(copy);
		}
		return;
	}
	hth_request *r = hth_request_ref(b->request);
	hth_request_ref(copy);
	drop(b);
	if (copy->state == HTH_REQUEST_DONE) {
		r->stop_hit = copy->stop_hit;
		copy->stop_hit = NULL;
		hth_request_done(r, copy->finish_reason, &copy->usage);
	} else if (copy->state == HTH_REQUEST_FAILED) {
		hth_request_fail(r, &copy->error);
	} else {
		hth_request_cancel(r);
	}
	hth_request_unref(copy);
	hth_request_unref(r);
	hth_neighbours_settle(nb);
}

static const hth_request_sink home_sink = {.piece = home_piece, .ended = home_ended};

static void home_placed(void *ctx, hth_request *copy, hth_runner *runner, const char *reason, const hth_error *why_not)
{
	hth_error err;
	(void)ctx;
	if (runner == NULL)
		hth_request_fail(copy, why_not);
	else if (hth_request_route(copy, "here", reason, &err) != HTH_OK || hth_runner_submit(runner, copy, &err) != HTH_OK)
		hth_request_fail(copy, &err);
}

/* Begins with the rest of it here, as `beside`. False: no memory. */
static bool begin_at_home(hth_borrowed *b)
{
	hth_error err = HTH_ERROR_INIT;
	hth_request *r = b->request, *copy = hth_neighbours_copy_request(r);
	int32_t *ids = hth_alloc_array(b->n + 1, sizeof *ids);
	if (copy == NULL || ids == NULL) {
		hth_request_unref(copy);
		free(ids);
		return false;
	}
	if (b->n > 0)
		memcpy(ids, b->ids, b->n * sizeof *ids);
	copy->input.resume = ids;
	copy->input.n_resume = b->n;
	copy->input.resume_bytes = b->text.len;
	copy->sink = &home_sink;
	copy->sink_ctx = b;
	b->beside = copy;
	return hth_request_admit(copy, &err) == HTH_OK && hth_request_classify(copy, r->privacy, &err) == HTH_OK;
}

static void place_at_home(hth_borrowed *b, hth_request *copy)
{
	hth_neighbours *nb = b->nb;
	hth_request_ref(copy);
	hth_neighbours_own_began(nb->node, copy);
	hth_router_place(nb->node->router, copy, home_placed, b);
	hth_request_unref(copy);
}

void hth_borrowing_go_home(hth_neighbours *nb, uint64_t ask, const char *why)
{
	hth_borrowed *b = find(nb, ask);
	hth_error err = HTH_ERROR_INIT;
	if (b == NULL)
		return;
	bool begun = b->beside != NULL;
	if (!begun && !begin_at_home(b)) {
		hth_request *r = hth_request_ref(b->request);
		hth_fail(&err, HTH_NO_MEMORY, "no memory for a request that comes home");
		drop(b);
		hth_request_fail(r, &err);
		hth_request_unref(r);
		return;
	}
	adopt(b, why);
	if (!begun)
		place_at_home(b, b->at_home);
}

bool hth_borrowing_may_begin(hth_neighbours *nb, uint64_t ask)
{
	const hth_borrowed *b = find(nb, ask);
	const hth_own_model *own = b != NULL && b->beside == NULL ? hth_capacity_find(nb, b->request->model) : NULL;
	return own != NULL && own->ready && own->active < own->slots + (uint32_t)nb->n_lent_running;
}

void hth_borrowing_also_home(hth_neighbours *nb, uint64_t ask)
{
	hth_borrowed *b = find(nb, ask);
	if (b == NULL || b->beside != NULL)
		return;
	if (!begin_at_home(b)) {
		stop_beside(b);
		return;
	}
	hth_log(HTH_LOG_INFO, "%s is late at %s: this home begins with it, too", b->request->id, hth_neighbours_name(nb, &b->peer));
	place_at_home(b, b->beside);
}

void hth_borrowing_home_stops(hth_neighbours *nb, uint64_t ask)
{
	hth_borrowed *b = find(nb, ask);
	if (b != NULL)
		stop_beside(b);
}

void hth_borrowing_finish(hth_neighbours *nb)
{
	while (nb->borrowed != NULL)
		hth_request_cancel(nb->borrowed->request);
}
