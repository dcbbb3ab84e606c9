/* test-request.c - every legal and illegal step of a request, its one end, and callbacks that pull the rug. */
#include "harness.h"
#include "request/request.h"

typedef struct log_of_calls {
	int started, pieces, tokens, embeddings, ended, cancels;
	bool cancel_in_started, cancel_in_piece, unref_in_ended;
	hth_request_state state_at_end;
} log_of_calls;

static void on_started(void *ctx, hth_request *request)
{
	log_of_calls *l = ctx;
	l->started++;
	if (l->cancel_in_started)
		hth_request_cancel(request);
}
static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	log_of_calls *l = ctx;
	l->pieces++;
	if (l->cancel_in_piece)
		hth_request_cancel(request);
}
static void on_tokens(void *ctx, hth_request *request, const int32_t *ids, size_t n) { ((log_of_calls *)ctx)->tokens++; }
static void on_embedding(void *ctx, hth_request *request, const float *v, size_t n) { ((log_of_calls *)ctx)->embeddings++; }
static void on_ended(void *ctx, hth_request *request)
{
	log_of_calls *l = ctx;
	l->ended++;
	l->state_at_end = request->state;
	if (l->unref_in_ended)
		hth_request_unref(request);
}
static void on_cancel(void *ctx, hth_request *request)
{
	((log_of_calls *)ctx)->cancels++;
	/* A runner that is told to stop may report an end of its own; it must not count. */
	hth_request_done(request, HTH_FINISH_STOP, NULL);
}
static const hth_request_sink sink = {on_started, on_piece, on_tokens, on_embedding, on_ended};

static hth_request *in_state(hth_request_state state, log_of_calls *log)
{
	hth_error err;
	hth_request *r = NULL;
	if (hth_request_create(&r, HTH_CHAT, &err) != HTH_OK)
		abort();
	r->sink = &sink;
	r->sink_ctx = log;
	hth_status s = HTH_OK;
	if (state >= HTH_REQUEST_ADMITTED)
		s |= hth_request_admit(r, &err);
	if (state >= HTH_REQUEST_CLASSIFIED)
		s |= hth_request_classify(r, HTH_PRIVATE, &err);
	if (state >= HTH_REQUEST_ROUTED)
		s |= hth_request_route(r, "here", "the only place", &err);
	if (state >= HTH_REQUEST_RUNNING)
		s |= hth_request_run(r, &err);
	r->cancel = on_cancel;
	r->cancel_ctx = log;
	if (state >= HTH_REQUEST_STREAMING)
		s |= hth_request_start(r, &err);
	if (state == HTH_REQUEST_DONE)
		hth_request_done(r, HTH_FINISH_STOP, NULL);
	if (state == HTH_REQUEST_CANCELLED)
		hth_request_cancel(r);
	if (state == HTH_REQUEST_FAILED)
		hth_request_fail(r, &(hth_error){.status = HTH_GONE, .message = "gone"});
	if (s != HTH_OK || r->state != state)
		test_fail(__FILE__, __LINE__, "state %d was not reached", state);
	return r;
}

static hth_status forward(hth_request *r, hth_request_state to, hth_error *err)
{
	switch (to) {
	case HTH_REQUEST_ADMITTED:
		return hth_request_admit(r, err);
	case HTH_REQUEST_CLASSIFIED:
		return hth_request_classify(r, HTH_PUBLIC, err);
	case HTH_REQUEST_ROUTED:
		return hth_request_route(r, "x", "y", err);
	case HTH_REQUEST_RUNNING:
		return hth_request_run(r, err);
	default:
		return hth_request_start(r, err);
	}
}

TEST(a_forward_step_works_from_the_state_before_and_from_no_other)
{
	for (int from = HTH_REQUEST_NEW; from <= HTH_REQUEST_FAILED; from++) {
		for (int to = HTH_REQUEST_ADMITTED; to <= HTH_REQUEST_STREAMING; to++) {
			log_of_calls log = {0};
			hth_error err = HTH_ERROR_INIT;
			hth_request *r = in_state((hth_request_state)from, &log);
			hth_status s = forward(r, (hth_request_state)to, &err);
			bool legal = to == from + 1 && from < HTH_REQUEST_STREAMING;
			/* Starting again, or after the end, does nothing and is no error. */
			bool ignored = to == HTH_REQUEST_STREAMING && from >= HTH_REQUEST_STREAMING;
			if (s != (legal || ignored ? HTH_OK : HTH_CONFLICT))
				test_fail(__FILE__, __LINE__, "%s -> %s gave %s", hth_request_state_name((hth_request_state)from),
				          hth_request_state_name((hth_request_state)to), hth_status_name(s));
			CHECK_INT(r->state, legal ? to : from);
			if (!legal && !ignored) {
				CHECK(strstr(err.message, r->id) != NULL);
				CHECK(strstr(err.message, hth_request_state_name((hth_request_state)from)) != NULL);
				CHECK_INT(r->privacy, HTH_PRIVATE);
			}
			hth_request_unref(r);
		}
	}
}

TEST(any_state_may_be_cancelled_or_fail_and_the_end_comes_once)
{
	for (int from = HTH_REQUEST_NEW; from <= HTH_REQUEST_FAILED; from++) {
		for (int how = 0; how < 2; how++) {
			log_of_calls log = {0};
			hth_request *r = in_state((hth_request_state)from, &log);
			if (how == 0)
				hth_request_cancel(r);
			else
				hth_request_fail(r, &(hth_error){.status = HTH_IO, .message = "disk"});
			int want = from >= HTH_REQUEST_DONE ? from : how == 0 ? HTH_REQUEST_CANCELLED : HTH_REQUEST_FAILED;
			CHECK_INT(r->state, want);
			CHECK_INT(log.ended, 1);
			CHECK_INT(log.state_at_end, want);
			CHECK_INT(log.cancels, want == HTH_REQUEST_CANCELLED);
			CHECK(r->cancel == NULL);
			CHECK(r->ended_ns >= r->created_ns);
			/* Nothing after the end changes anything. */
			hth_usage usage = {.answer_tokens = 7};
			hth_request_done(r, HTH_FINISH_LENGTH, &usage);
			hth_request_cancel(r);
			hth_request_fail(r, NULL);
			hth_request_piece(r, &(hth_answer_piece){.text = "x", .len = 1});
			CHECK_INT(r->state, want);
			CHECK_INT(log.ended, 1);
			CHECK_INT(log.pieces, 0);
			CHECK_INT(r->usage.answer_tokens, 0);
			hth_request_unref(r);
		}
	}
}

TEST(done_belongs_to_a_request_that_runs)
{
	for (int from = HTH_REQUEST_NEW; from <= HTH_REQUEST_STREAMING; from++) {
		log_of_calls log = {0};
		hth_request *r = in_state((hth_request_state)from, &log);
		hth_usage usage = {.prompt_tokens = 3, .answer_tokens = 5};
		hth_request_done(r, HTH_FINISH_LENGTH, &usage);
		bool ran = from >= HTH_REQUEST_RUNNING;
		CHECK_INT(r->state, ran ? HTH_REQUEST_DONE : HTH_REQUEST_FAILED);
		CHECK_INT(log.ended, 1);
		CHECK_INT(log.started, ran);
		CHECK_INT(r->usage.answer_tokens, ran ? 5 : 0);
		CHECK_INT(r->error.status, ran ? HTH_OK : HTH_INTERNAL);
		hth_request_unref(r);
	}
}

TEST(the_first_result_starts_the_stream_and_early_results_are_dropped)
{
	log_of_calls log = {0};
	hth_request *r = in_state(HTH_REQUEST_ROUTED, &log);
	hth_error err;
	hth_request_piece(r, &(hth_answer_piece){.text = "early", .len = 5});
	hth_request_tokens(r, (int32_t[]){1}, 1);
	CHECK_INT(log.started + log.pieces + log.tokens, 0);
	CHECK_OK(hth_request_run(r, &err));
	hth_request_tokens(r, (int32_t[]){1, 2}, 2);
	hth_request_embedding(r, (float[]){1}, 1);
	hth_request_piece(r, &(hth_answer_piece){.text = "a", .len = 1});
	CHECK_INT(r->state, HTH_REQUEST_STREAMING);
	CHECK_INT(log.started, 1);
	CHECK_INT(log.tokens, 1);
	CHECK_INT(log.embeddings, 1);
	CHECK_INT(log.pieces, 1);
	CHECK(r->started_ns >= r->created_ns);
	hth_request_unref(r);
}

TEST(a_request_cancelled_by_its_own_sink_gets_nothing_more)
{
	log_of_calls log = {.cancel_in_started = true};
	hth_request *r = in_state(HTH_REQUEST_RUNNING, &log);
	hth_request_piece(r, &(hth_answer_piece){.text = "a", .len = 1});
	CHECK_INT(log.pieces, 0);
	CHECK_INT(r->state, HTH_REQUEST_CANCELLED);
	hth_request_unref(r);

	log = (log_of_calls){.cancel_in_started = true};
	r = in_state(HTH_REQUEST_RUNNING, &log);
	hth_request_done(r, HTH_FINISH_STOP, NULL);
	CHECK_INT(r->state, HTH_REQUEST_CANCELLED);
	CHECK_INT(log.ended, 1);
	hth_request_unref(r);

	log = (log_of_calls){.cancel_in_piece = true};
	r = in_state(HTH_REQUEST_STREAMING, &log);
	hth_request_piece(r, &(hth_answer_piece){.text = "a", .len = 1});
	hth_request_piece(r, &(hth_answer_piece){.text = "b", .len = 1});
	CHECK_INT(log.pieces, 1);
	CHECK_INT(log.cancels, 1);
	hth_request_unref(r);
}

TEST(the_last_reference_may_go_inside_ended)
{
	for (int how = 0; how < 3; how++) {
		log_of_calls log = {.unref_in_ended = true};
		hth_request *r = in_state(HTH_REQUEST_STREAMING, &log);
		r->input.text = strdup("secret");
		r->input.text_len = 6;
		if (how == 0)
			hth_request_done(r, HTH_FINISH_STOP, NULL);
		else if (how == 1)
			hth_request_cancel(r);
		else
			hth_request_fail(r, NULL);
		CHECK_INT(log.ended, 1); /* the sanitizer says whether r was touched after it was freed */
	}
}

TEST(a_failure_without_a_reason_says_so)
{
	log_of_calls log = {0};
	hth_request *r = in_state(HTH_REQUEST_RUNNING, &log);
	hth_request_fail(r, NULL);
	CHECK_INT(r->error.status, HTH_INTERNAL);
	CHECK(r->error.message[0] != '\0');
	hth_request_unref(r);
}

TEST(ids_and_seeds_differ_and_everything_owned_is_freed)
{
	hth_error err;
	hth_request *a = NULL, *b = NULL;
	REQUIRE_OK(hth_request_create(&a, HTH_COMPLETION, &err));
	REQUIRE_OK(hth_request_create(&b, HTH_EMBEDDING, &err));
	CHECK_INT(strlen(a->id), 20);
	CHECK_INT(strncmp(a->id, "req-", 4), 0);
	CHECK(strcmp(a->id, b->id) != 0);
	CHECK(a->params.sampling.seed != b->params.sampling.seed);
	CHECK_INT(a->params.max_tokens, -1);
	CHECK_INT(a->params.top_logprobs, -1);
	a->input.messages_json = strdup("[]");
	a->input.tools_json = strdup("[]");
	a->input.template_json = strdup("{}");
	a->input.tokens = calloc(3, sizeof(int32_t));
	a->input.n_tokens = 3;
	a->params.bias = calloc(2, sizeof(hth_logit_bias));
	a->params.stop[0] = strdup("END");
	a->params.n_stop = 1;
	a->params.grammar = strdup("{}");
	a->stop_hit = strdup("END");
	hth_request_ref(a);
	hth_request_unref(a);
	CHECK_STR(a->input.messages_json, "[]");
	hth_request_unref(a);
	hth_request_unref(b);
	hth_request_unref(NULL);
}

TEST_MAIN()
