/* spot-check.c - weighing what neighbours made: the runner goes over prompt and answer once more, with the seed that was published, and
 * says of each token how far it was from being chosen here (runner: input.weigh). It is background work, one check at a time, the newest
 * few kept waiting.
 *
 * Counted as misses: tokens further away than HTH_MISS_TOLERANCE, all of them where the text is not what they spell or the prompt was
 * counted otherwise. Where several homes made an answer, each answers for its part. The machine's standing decides what so many misses mean
 * (pool/standing.h). A check that this home cannot make (no such model, an answer of another shape) says nothing. Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

enum { WAITING_MAX = 8 };

struct hth_spot_check {
	hth_neighbours *nb;
	hth_answer_part parts[HTH_PARTS_MAX];
	size_t n_parts, n_misses[HTH_PARTS_MAX];
	bool other_text[HTH_PARTS_MAX];
	hth_request *request; /* a reference */
	char *text;           /* what the neighbours said */
	size_t text_len, said_len, /* of what the tokens say */
	     n_ids, n_seen;
	uint32_t prompt_tokens;
	bool running, whole;
	struct hth_spot_check *next;
};

static void start_next(hth_neighbours *nb);

static void drop(hth_spot_check *c)
{
	hth_spot_check **at = &c->nb->checks;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (c->text != NULL)
		explicit_bzero(c->text, c->text_len);
	free(c->text);
	hth_request_unref(c->request);
	free(c);
}

static size_t part_of_token(const hth_spot_check *c, size_t at)
{
	size_t p = c->n_parts - 1;
	while (p > 0 && c->parts[p].from > at)
		p--;
	return p;
}

static size_t part_of_text(const hth_spot_check *c, size_t at)
{
	size_t p = c->n_parts - 1;
	while (p > 0 && c->parts[p].text_from > at)
		p--;
	return p;
}

static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	hth_spot_check *c = ctx;
	(void)request;
	for (size_t i = 0; i < piece->n_evidence; i++)
		c->n_misses[part_of_token(c, c->n_seen + i)] += piece->evidence[i].miss > HTH_MISS_TOLERANCE;
	c->n_seen += piece->n_evidence;
	for (size_t i = 0; i < piece->len; i++) {
		size_t at = c->said_len + i;
		if (at >= c->text_len && !c->whole)
			break; /* it was held back where the answer was broken off */
		if (at >= c->text_len || c->text[at] != piece->text[i]) {
			c->other_text[part_of_text(c, at)] = true;
			break;
		}
	}
	c->said_len += piece->len;
}

static void weighed(hth_spot_check *c)
{
	hth_neighbours *nb = c->nb;
	/* What a stop string cut off is text that was not given; what ended an answer early here did not end it there. */
	if (c->said_len < c->text_len && c->request->stop_hit == NULL)
		c->other_text[part_of_text(c, c->said_len)] = true;
	nb->counts.checks++;
	for (size_t p = 0; p < c->n_parts; p++) {
		size_t from = c->parts[p].from, to = p + 1 < c->n_parts ? c->parts[p + 1].from : c->n_ids, n = to - from;
		size_t unseen = to - HTH_MAX(from, HTH_MIN(c->n_seen, to));
		bool other_prompt = p == 0 && c->request->usage.prompt_tokens != c->prompt_tokens;
		size_t misses = c->other_text[p] || other_prompt ? n : c->n_misses[p] + unseen;
		if (n == 0)
			continue;
		nb->counts.checked_tokens += n;
		nb->counts.misses += misses;
		hth_standings_weighed(nb, &c->parts[p].by, n, misses,
		                      c->other_text[p] ? ": its text is another" : other_prompt ? ": its prompt was another" : "");
	}
}

static void on_ended(void *ctx, hth_request *request)
{
	hth_spot_check *c = ctx;
	hth_neighbours *nb = c->nb;
	if (request->state == HTH_REQUEST_DONE)
		weighed(c);
	else if (request->state == HTH_REQUEST_FAILED)
		hth_log(HTH_LOG_INFO, "an answer of %s could not be weighed: %s", hth_neighbours_name(nb, &c->parts[c->n_parts - 1].by),
		        request->error.message);
	drop(c);
	start_next(nb);
	hth_neighbours_settle(nb); /* who is caught is left */
}

static const hth_request_sink sink = {.piece = on_piece, .ended = on_ended};

static void on_placed(void *ctx, hth_request *request, hth_runner *runner, const char *reason, const hth_error *why_not)
{
	hth_error err;
	(void)ctx;
	if (runner == NULL)
		hth_request_fail(request, why_not);
	else if (hth_request_route(request, "here", reason, &err) != HTH_OK || hth_runner_submit(runner, request, &err) != HTH_OK)
		hth_request_fail(request, &err);
}

static void start_next(hth_neighbours *nb)
{
	hth_spot_check *c = nb->checks;
	hth_error err;
	if (c == NULL || c->running || nb->closing)
		return;
	c->running = true;
	hth_privacy_class class = c->request->privacy;
	hth_request *request = hth_request_ref(c->request);
	if (hth_request_admit(request, &err) != HTH_OK || hth_request_classify(request, class, &err) != HTH_OK)
		hth_request_fail(request, &err);
	else
		hth_router_place(nb->node->router, request, on_placed, c);
	hth_request_unref(request);
}

void hth_spot_check_begin(hth_neighbours *nb, const hth_request *request, const hth_answer_given *given)
{
	size_t waiting = 0, n = given->n;
	for (const hth_spot_check *c = nb->checks; c != NULL; c = c->next)
		waiting++;
	const hth_own_model *own = hth_capacity_find(nb, request->model);
	if (n == 0 || given->n_parts == 0 || given->n_parts > HTH_PARTS_MAX || waiting >= WAITING_MAX || own == NULL || !own->room)
		return;
	hth_spot_check *c = calloc(1, sizeof *c);
	if (c == NULL)
		return;
	*c = (hth_spot_check){.nb = nb, .n_parts = given->n_parts, .request = hth_neighbours_copy_request(request),
	                      .text_len = given->text_len, .n_ids = n,
	                      .prompt_tokens = given->prompt_tokens, .whole = given->whole, .text = malloc(given->text_len + 1)};
	memcpy(c->parts, given->parts, given->n_parts * sizeof *c->parts);
	hth_spot_check **at = &nb->checks;
	while (*at != NULL)
		at = &(*at)->next;
	*at = c;
	if (c->request != NULL)
		c->request->input.resume = hth_alloc_array(n, sizeof *given->ids);
	if (c->text == NULL || c->request == NULL || c->request->input.resume == NULL) {
		drop(c);
		return;
	}
	if (given->text_len > 0)
		memcpy(c->text, given->text, given->text_len);
	memcpy(c->request->input.resume, given->ids, n * sizeof *given->ids);
	c->request->input.n_resume = n;
	c->request->input.weigh = c->request->input.background = true;
	c->request->sink = &sink;
	c->request->sink_ctx = c;
	start_next(nb);
}

void hth_spot_check_finish(hth_neighbours *nb)
{
	while (nb->checks != NULL) {
		hth_spot_check *c = nb->checks;
		if (c->running && !hth_request_has_ended(c->request))
			hth_request_cancel(c->request);
		else
			drop(c);
	}
}
