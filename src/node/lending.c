/* lending.c - neighbours' work on this home: a request from their words, which runs as background work, and what it makes, sent back.
 *
 * A work's request is like any other (it is admitted, has the class that its asker gave it, is routed and run), but it comes from no call:
 * its sink sends. It may use a model only where that pushes out none of the owner's. It rests while the home's own requests run in the same
 * runner (the scheduler sees to that); where they take longer than a moment, or run in another, its place is given back and the asking home
 * goes elsewhere. Who is next is decided by credit and patience (placement.h). Refuses words that are none, and ends works whose answers do
 * not follow from them. Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/clock.h"
#include "base/energy.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/json.h"
#include "privacy/travel.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Tokens that come faster than this are sent together; it is shorter than anybody notices. */
enum { SEND_EVERY_MS = 20, OWN_PATIENCE_MS = 1000, UNSENT_IDS_MAX = 512, UNSENT_TEXT_MAX = 32 << 10, METER_EVERY_MS = 500 };

struct hth_lent {
	hth_neighbours *nb;
	uint64_t work;
	hth_home_id from;
	hth_request *request; /* a reference */
	bool running, held, ended, told_prompt, stopped;
	uint64_t since_ms, sent_ms;
	uint32_t made;
	/* what it takes */
	pid_t runner;
	hth_energy_meter meter;
	double cpu_s;
	uint64_t metered_ms;
	/* not sent yet */
	int32_t ids[UNSENT_IDS_MAX];
	size_t n;
	hth_buf text;
	struct hth_lent *next;
};

static hth_lent *find(const hth_neighbours *nb, uint64_t work)
{
	hth_lent *l = nb->lent;
	while (l != NULL && l->work != work)
		l = l->next;
	return l;
}

static void drop(hth_lent *l)
{
	hth_neighbours *nb = l->nb;
	hth_lent **at = &nb->lent;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	nb->n_lent--;
	nb->n_lent_running -= l->running;
	if (l->text.data != NULL)
		explicit_bzero(l->text.data, l->text.cap);
	hth_buf_finish(&l->text);
	hth_request_unref(l->request);
	free(l);
}

/* Whoever asked knows, or is told by the caller; nothing more is made. */
static void end_quietly(hth_lent *l)
{
	l->stopped = true;
	if (l->request != NULL && l->running && !hth_request_has_ended(l->request)) {
		hth_request_cancel(l->request); /* its end drops l */
		return;
	}
	drop(l);
}

static void cannot(hth_lent *l, const hth_error *why)
{
	hth_neighbours *nb = l->nb;
	/* what this home keeps for itself stays; nothing is broken */
	bool no_room = why->status == HTH_BUSY || why->status == HTH_NO_MEMORY;
	hth_log(HTH_LOG_INFO, "%s for %s cannot be done: %s", l->request != NULL ? l->request->id : "a request",
	        hth_neighbours_name(nb, &l->from), hth_status_name(why->status));
	if (no_room)
		hth_pool_yield(nb->pool, l->work, hth_neighbours_now_ms(nb));
	else
		hth_pool_cannot(nb->pool, l->work, hth_neighbours_now_ms(nb));
	end_quietly(l);
	hth_neighbours_settle(nb);
}

/* ---- what it takes ---- */

static double cpu_seconds(pid_t pid)
{
	clockid_t clock;
	struct timespec t;
	return pid > 0 && clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &t) == 0
	    ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}

static void begin_meter(hth_lent *l, const hth_runner *runner)
{
	l->runner = hth_runner_pid(runner);
	l->cpu_s = cpu_seconds(l->runner);
	l->metered_ms = hth_clock_ms();
	hth_energy_open(&l->meter, getenv("HEARTH_TEST_POWERCAP"), l->metered_ms, l->cpu_s, 0);
	if (l->meter.n > 0)
		l->meter.last_busy = hth_energy_busy_now();
}

/* Milliwatt-seconds since it was asked last: its runner's, shared with the others that it worked for. What the runner did while this rested
 * for the home's own work is the home's. 0: not known. */
static uint64_t meter(hth_lent *l, bool now)
{
	hth_neighbours *nb = l->nb;
	uint64_t ms = hth_clock_ms();
	double watts = nb->node->config->pool_watts, joules = 0, cpu = cpu_seconds(l->runner);
	if (l->runner <= 0 || (l->meter.n == 0 && watts == 0) || (!now && ms < l->metered_ms + METER_EVERY_MS))
		return 0;
	if (l->meter.n == 0 || !hth_energy_look(&l->meter, ms, cpu, hth_energy_busy_now(), &joules))
		joules = (cpu - l->cpu_s) * watts;
	l->cpu_s = cpu;
	l->metered_ms = ms;
	size_t n = 0;
	for (const hth_lent *other = nb->lent; other != NULL; other = other->next)
		n += other == l || (other->runner == l->runner && !other->ended);
	return joules > 0 && hth_capacity_own_active(nb) == 0 ? (uint64_t)(joules * 1000 / (double)n) : 0;
}

/* ---- sending ---- */

static void send_run(hth_lent *l, bool final)
{
	hth_neighbours *nb = l->nb;
	const hth_request *r = l->request;
	if (l->held || (l->n == 0 && l->text.len == 0 && !final))
		return;
	hth_pool_run run = {.ids = l->ids, .n = l->n, .text = l->text.data != NULL ? l->text.data : "", .text_len = l->text.len,
	                    .has_prompt = !l->told_prompt,
	                    .prompt_tokens = r->usage.prompt_tokens, .tail = r->prompt_tail, .tail_len = strlen(r->prompt_tail),
	                    .final = final};
	if (final) {
		run.finish = r->finish_reason == HTH_FINISH_LENGTH ? HTH_FINISH_LENGTH : HTH_FINISH_STOP;
		for (size_t i = 0; i < r->params.n_stop && r->stop_hit != NULL && run.stop == 0; i++)
			run.stop = strcmp(r->params.stop[i], r->stop_hit) == 0 ? (uint8_t)(i + 1) : 0;
	}
	l->told_prompt = true;
	l->sent_ms = hth_clock_ms();
	uint64_t work = l->work;
	nb->counts.lent_tokens += l->n;
	nb->lent_tokens += l->n;
	hth_pool_served(nb->pool, work, &run, meter(l, final), hth_neighbours_now_ms(nb));
	l->n = 0;
	hth_buf_clear(&l->text);
}

void hth_lending_send_due(void *ctx)
{
	hth_neighbours *nb = ctx;
	for (hth_lent *l = nb->lent; l != NULL; l = l->next)
		if (l->running && !l->ended)
			send_run(l, false);
	hth_neighbours_settle(nb);
}

static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	hth_lent *l = ctx;
	(void)request;
	if (l->stopped)
		return;
	if (l->n + piece->n_ids > UNSENT_IDS_MAX || l->text.len + piece->len > UNSENT_TEXT_MAX)
		send_run(l, false);
	if (l->n + piece->n_ids > UNSENT_IDS_MAX || !hth_buf_append(&l->text, piece->text, piece->len)) {
		/* Held, and nobody acknowledges what was made: it is not made any further. */
		hth_error err;
		hth_fail(&err, HTH_BUSY, "what was made for it is not acknowledged");
		cannot(l, &err);
		return;
	}
	if (piece->n_ids > 0)
		memcpy(l->ids + l->n, piece->ids, piece->n_ids * sizeof *l->ids);
	l->n += piece->n_ids;
	l->made += (uint32_t)piece->n_ids;
	if (hth_clock_ms() >= l->sent_ms + SEND_EVERY_MS) {
		send_run(l, false);
		hth_neighbours_settle(l->nb);
	} else {
		hth_timer_start(l->nb->send_timer, SEND_EVERY_MS, 0);
	}
}

static void on_ended(void *ctx, hth_request *request)
{
	hth_lent *l = ctx;
	hth_neighbours *nb = l->nb;
	l->ended = true;
	if (l->stopped) {
		drop(l);
	} else if (request->state == HTH_REQUEST_DONE) {
		if (request->input.n_resume == 0)
			hth_capacity_measured(nb, request->model, &request->usage);
		hth_log(HTH_LOG_INFO, "%s for %s done: privacy=%u model=%s prompt=%u answer=%u", request->id,
		        hth_neighbours_name(nb, &l->from), (unsigned)request->privacy, request->model, request->usage.prompt_tokens,
		        l->made);
		if (!l->held) { /* else it goes out when it is let go */
			send_run(l, true);
			drop(l);
		}
	} else {
		cannot(l, &request->error);
	}
	hth_lending_start_waiting(nb);
	hth_neighbours_settle(nb);
}

static const hth_request_sink sink = {.piece = on_piece, .ended = on_ended};

/* ---- running ---- */

static void on_placed(void *ctx, hth_request *request, hth_runner *runner, const char *reason, const hth_error *why_not)
{
	hth_lent *l = ctx;
	hth_error err;
	char why[128];
	(void)reason;
	snprintf(why, sizeof why, "for %.60s next door", hth_neighbours_name(l->nb, &l->from));
	if (runner == NULL)
		hth_request_fail(request, why_not);
	else if (hth_request_route(request, "here", why, &err) != HTH_OK ||
	         (begin_meter(l, runner), hth_runner_submit(runner, request, &err)) != HTH_OK)
		hth_request_fail(request, &err);
}

static void start(hth_lent *l)
{
	hth_error err;
	hth_neighbours *nb = l->nb;
	l->running = true;
	nb->n_lent_running++;
	l->request->sink = &sink;
	l->request->sink_ctx = l;
	hth_privacy_class class = l->request->privacy;
	hth_request *request = hth_request_ref(l->request);
	if (hth_request_admit(request, &err) != HTH_OK || hth_request_classify(request, class, &err) != HTH_OK)
		hth_request_fail(request, &err);
	else
		hth_router_place(nb->node->router, request, on_placed, l);
	hth_request_unref(request);
}

static size_t slots(const hth_neighbours *nb)
{
	size_t n = 1;
	for (size_t i = 0; i < nb->n_models; i++)
		n = HTH_MAX(n, (size_t)HTH_MIN(nb->models[i].slots, (uint32_t)HTH_LEND_SLOTS_MAX));
	return n;
}

void hth_lending_start_waiting(hth_neighbours *nb)
{
	while (!nb->own_first && !nb->closing && nb->n_lent_running < slots(nb)) {
		hth_waiting waiting[HTH_POOL_WORKS_MAX];
		hth_lent *who[HTH_POOL_WORKS_MAX];
		size_t n = 0;
		uint64_t now = hth_neighbours_now_ms(nb);
		for (hth_lent *l = nb->lent; l != NULL && n < HTH_POOL_WORKS_MAX; l = l->next) {
			if (l->running || l->stopped)
				continue;
			waiting[n] = (hth_waiting){.standing = hth_pool_work_standing(nb->pool, l->work, now), .since_ms = l->since_ms};
			who[n++] = l;
		}
		int next = hth_queue_next(waiting, n, now);
		if (next < 0)
			return;
		start(who[next]);
	}
}

/* ---- being asked ---- */

static hth_status check_json(const char *text, bool array, hth_error *err)
{
	HTH_AUTO_JSON json_t *json = NULL;
	if (text == NULL)
		return HTH_OK;
	HTH_TRY(hth_json_parse(&json, text, strlen(text), err));
	bool good = array ? json_is_array(json) : json_is_object(json);
	for (size_t i = 0; good && array && i < json_array_size(json); i++)
		good = json_is_object(json_array_get(json, i));
	return good ? HTH_OK : hth_fail(err, HTH_BAD_FORMAT, "a neighbour's request holds JSON of another shape");
}

static hth_status make_request(hth_lent *l, const hth_pool_work *work, hth_error *err)
{
	const hth_own_model *model = hth_capacity_find_hash(l->nb, work->model);
	HTH_TRY(hth_travel_get(work->words, work->words_len, &l->request, err));
	hth_request *r = l->request;
	HTH_TRY(check_json(r->input.messages_json, true, err));
	HTH_TRY(check_json(r->input.tools_json, true, err));
	HTH_TRY(check_json(r->input.template_json, false, err));
	HTH_TRY(check_json(r->input.settings_json, false, err));
	if (model == NULL || !model->room)
		return hth_fail(err, HTH_BUSY, "its model is not loaded, and has no room beside the home's own");
	if (hth_travel_sampler(r) != work->sampler || r->params.sampling.seed != work->seed)
		return hth_fail(err, HTH_BAD_FORMAT, "its words and its letter do not name the same sampler and seed");
	snprintf(r->model, sizeof r->model, "%s", model->name);
	r->privacy = (hth_privacy_class)work->audience;
	if (r->params.max_tokens < 0 || r->params.max_tokens > work->max_tokens)
		r->params.max_tokens = work->max_tokens;
	r->input.background = r->input.with_ids = true;
	r->input.resume_bytes = work->text_bytes;
	if (work->n_prefix > 0) {
		r->input.resume = hth_alloc_array(work->n_prefix, sizeof *r->input.resume);
		if (r->input.resume == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory for a neighbour's request");
		memcpy(r->input.resume, work->prefix, work->n_prefix * sizeof *r->input.resume);
		r->input.n_resume = work->n_prefix;
	}
	return HTH_OK;
}

void hth_lending_serve(hth_neighbours *nb, const hth_pool_work *work)
{
	hth_error err = HTH_ERROR_INIT;
	hth_lent *l = calloc(1, sizeof *l);
	if (l == NULL) {
		hth_pool_cannot(nb->pool, work->work, hth_neighbours_now_ms(nb));
		return;
	}
	*l = (hth_lent){.nb = nb, .work = work->work, .from = work->from, .since_ms = hth_neighbours_now_ms(nb),
	                .text = HTH_BUF_INIT(2 * UNSENT_TEXT_MAX)};
	l->next = nb->lent;
	nb->lent = l;
	nb->n_lent++;
	nb->counts.lent++;
	if (make_request(l, work, &err) != HTH_OK) {
		cannot(l, &err);
		return;
	}
	hth_lending_start_waiting(nb);
}

void hth_lending_stop(hth_neighbours *nb, uint64_t work)
{
	hth_lent *l = find(nb, work);
	if (l != NULL)
		end_quietly(l);
	hth_lending_start_waiting(nb);
}

void hth_lending_hold(hth_neighbours *nb, uint64_t work, bool held)
{
	hth_lent *l = find(nb, work);
	if (l == NULL)
		return;
	l->held = held;
	if (held || !l->running)
		return;
	bool final = l->ended;
	send_run(l, final);
	if (final)
		drop(l);
}

/* ---- the home's own come first ---- */

void hth_lending_yield_all(hth_neighbours *nb, const char *except_model)
{
	for (hth_lent *l = nb->lent; l != NULL;) {
		if (l->stopped || l->ended || (except_model != NULL && strcmp(l->request->model, except_model) == 0)) {
			l = l->next;
			continue;
		}
		hth_pool_yield(nb->pool, l->work, hth_neighbours_now_ms(nb));
		end_quietly(l);
		l = nb->lent; /* the end of one may have been that of others */
	}
}

void hth_neighbours_own_began(hth_node *node, const hth_request *request)
{
	hth_neighbours *nb = node->neighbours;
	if (nb == NULL || nb->n_lent == 0)
		return;
	hth_lending_yield_all(nb, request->model);
	if (nb->n_lent > 0 && !nb->own_first)
		hth_timer_start(nb->yield_timer, OWN_PATIENCE_MS, 0);
	hth_neighbours_settle(nb);
}

void hth_neighbours_own_still(void *ctx)
{
	hth_neighbours *nb = ((hth_node *)ctx)->neighbours;
	if (hth_capacity_own_active(nb) == 0)
		return;
	nb->own_first = true;
	hth_lending_yield_all(nb, NULL);
	hth_capacity_tell(nb, NULL);
	hth_neighbours_settle(nb);
}

void hth_neighbours_own_ended(hth_node *node, const hth_request *request)
{
	hth_neighbours *nb = node->neighbours;
	if (nb == NULL)
		return;
	if (request->state == HTH_REQUEST_DONE && strcmp(request->served_by, "here") == 0 && request->input.n_resume == 0)
		hth_capacity_measured(nb, request->model, &request->usage);
	if (nb->own_first && hth_capacity_own_active(nb) == 0) {
		nb->own_first = false;
		hth_capacity_tell(nb, NULL);
		hth_lending_start_waiting(nb);
		hth_neighbours_settle(nb);
	}
}

void hth_lending_finish(hth_neighbours *nb)
{
	while (nb->lent != NULL) {
		hth_pool_yield(nb->pool, nb->lent->work, hth_neighbours_now_ms(nb));
		end_quietly(nb->lent);
	}
}
