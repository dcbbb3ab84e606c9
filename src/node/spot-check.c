/* spot-check.c - weighing what neighbours made: the runner goes over prompt and answer once more, with the seed that was published, and says of each
 * token how far it was from being chosen here (runner: input.weigh). It is background work, one check at a time, the newest few kept waiting.
 *
 * Counted as misses: tokens further away than HTH_MISS_TOLERANCE, all of them where the text is not what they spell or the prompt was counted otherwise. The machine's
 * standing decides what so many misses mean (pool/standing.h). A check that this home cannot make (no such model, an answer of another shape) says nothing.
 * Thread: the loop's.
 */
#include "node/neighbours.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

enum { WAITING_MAX = 8 };

struct hth_spot_check {
	hth_neighbours *nb;
	hth_home_id by;
	hth_request *request; /* a reference */
	char *text;           /* what the neighbour said */
	size_t text_len, said_len, /* of what the tokens say */
	     n_ids, n_seen, n_misses;
	uint32_t prompt_tokens;
	bool running, other_text;
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

static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	hth_spot_check *c = ctx;
	(void)request;
	for (size_t i = 0; i < piece->n_evidence; i++)
		c->n_misses += piece->evidence[i].miss > HTH_MISS_TOLERANCE;
	c->n_seen += piece->n_evidence;
	if (c->said_len + piece->len > c->text_len || (piece->len > 0 && memcmp(c->text + c->said_len, piece->text, piece->len) != 0))
		c->other_text = true;
	c->said_len += piece->len;
}

static void on_ended(void *ctx, hth_request *request)
{
	hth_spot_check *c = ctx;
	hth_neighbours *nb = c->nb;
	/* What a stop string cut off is text that was not given; what ended an answer early here did not end it there. */
	bool shorter = c->said_len != c->text_len && request->stop_hit == NULL;
	if (request->state == HTH_REQUEST_DONE) {
		bool all = c->other_text || shorter || request->usage.prompt_tokens != c->prompt_tokens;
		size_t misses = all ? c->n_ids : c->n_misses + (c->n_ids - HTH_MIN(c->n_seen, c->n_ids));
		nb->counts.checks++;
		nb->counts.checked_tokens += c->n_ids;
		nb->counts.misses += misses;
		hth_log(misses * 8 > c->n_ids ? HTH_LOG_WARN : HTH_LOG_INFO, "%zu of %zu tokens that %s made are not what this home would have chosen%s", misses, c->n_ids,
		        hth_neighbours_name(nb, &c->by), all ? c->other_text || shorter ? ": its text is another" : ": its prompt was another" : "");
		hth_pool_weighed(nb->pool, &c->by, (uint32_t)c->n_ids, (uint32_t)misses);
	} else if (request->state == HTH_REQUEST_FAILED) {
		hth_log(HTH_LOG_INFO, "an answer of %s could not be weighed: %s", hth_neighbours_name(nb, &c->by), request->error.message);
	}
	drop(c);
	start_next(nb);
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

void hth_spot_check_begin(hth_neighbours *nb, const hth_request *request, const hth_home_id *by, const int32_t *ids, size_t n, const char *text, size_t text_len,
                          uint32_t prompt_tokens)
{
	size_t waiting = 0;
	for (const hth_spot_check *c = nb->checks; c != NULL; c = c->next)
		waiting++;
	const hth_own_model *own = hth_capacity_find(nb, request->model);
	if (n == 0 || waiting >= WAITING_MAX || own == NULL || !own->room)
		return;
	hth_spot_check *c = calloc(1, sizeof *c);
	if (c == NULL)
		return;
	*c = (hth_spot_check){.nb = nb, .by = *by, .request = hth_neighbours_copy_request(request), .text_len = text_len, .n_ids = n, .prompt_tokens = prompt_tokens,
	                      .text = malloc(text_len + 1)};
	hth_spot_check **at = &nb->checks;
	while (*at != NULL)
		at = &(*at)->next;
	*at = c;
	if (c->request != NULL)
		c->request->input.resume = hth_alloc_array(n, sizeof *ids);
	if (c->text == NULL || c->request == NULL || c->request->input.resume == NULL) {
		drop(c);
		return;
	}
	if (text_len > 0)
		memcpy(c->text, text, text_len);
	memcpy(c->request->input.resume, ids, n * sizeof *ids);
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
