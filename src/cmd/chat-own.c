/* chat-own.c - an answer without a node: this process starts the model's runner itself and turns a small loop of its own.
 *
 * The same sandboxed runner serves as under the node, so a model file is as far from everything here as there. The loop turns only while
 * somebody waits for an answer; a timer looks at `cancel`, since a signal's handler may only set it.
 */
#include "api/answer-reader.h"
#include "api/made.h"
#include "base/clock.h"
#include "base/mem.h"
#include "catalog/record.h"
#include "cmd/chat.h"
#include "loop/loop.h"
#include "runner/runner.h"

#include <string.h>

typedef struct own_chat {
	hth_loop *loop;
	hth_timer *timer;
	hth_runner *runner;
	json_t *record; /* what a made model brings; NULL: nothing */
	const volatile sig_atomic_t *cancel;
	bool ready, exited, progress_shown;
	hth_error exit_reason;
	/* The answer that runs. */
	hth_request *request; /* NULL: none */
	hth_answer_reader *reader; /* of a chat; NULL for text that goes on */
	bool ended;
	hth_chat_text_fn fn;
	void *ctx;
	uint64_t asked_ns, first_ns, last_ns;
} own_chat;

static void on_ready(void *ctx, hth_runner *runner) { ((own_chat *)ctx)->ready = true; }
static void on_progress(void *ctx, hth_runner *runner, float fraction)
{
	own_chat *chat = ctx;
	if (!hth_cmd_is_terminal(2))
		return;
	chat->progress_shown = true;
	fprintf(stderr, "\r\033[Kloading %s: %.0f%%", hth_runner_name(runner), (double)fraction * 100);
}
static void on_exited(void *ctx, hth_runner *runner, const hth_error *reason)
{
	own_chat *chat = ctx;
	chat->exited = true;
	chat->exit_reason = *reason;
}
static void on_tick(void *ctx)
{
	own_chat *chat = ctx;
	if (chat->cancel != NULL && *chat->cancel && chat->request != NULL)
		hth_request_cancel(chat->request);
}

static void on_event(void *ctx, size_t i, const hth_api_event *event)
{
	own_chat *chat = ctx;
	if (event->len > 0)
		chat->fn(chat->ctx, event->text, event->len, event->kind == HTH_EVENT_REASONING);
}

static void on_piece(void *ctx, hth_request *request, const hth_answer_piece *piece)
{
	own_chat *chat = ctx;
	hth_error err;
	if (piece->len == 0)
		return;
	chat->last_ns = hth_clock_ns();
	if (chat->first_ns == 0)
		chat->first_ns = chat->last_ns;
	if (chat->reader == NULL)
		chat->fn(chat->ctx, piece->text, piece->len, false);
	else if (hth_answer_reader_piece(chat->reader, piece, &err) != HTH_OK)
		hth_request_fail(request, &err);
}
static void on_ended(void *ctx, hth_request *request)
{
	own_chat *chat = ctx;
	chat->ended = true;
	if (chat->reader != NULL)
		hth_answer_reader_end(chat->reader, request->state == HTH_REQUEST_DONE && request->finish_reason == HTH_FINISH_STOP);
}
static void on_started(void *ctx, hth_request *request) {}
static const hth_request_sink sink = {.started = on_started, .piece = on_piece, .ended = on_ended};

static hth_status fill(const own_chat *chat, hth_request *request, const json_t *messages, const hth_chat_params *p, hth_error *err)
{
	hth_sampling *s = &request->params.sampling;
	*s = hth_sampling_defaults();
	hth_made_params(chat->record, &request->params);
	if (p->max_tokens >= 0)
		request->params.max_tokens = p->max_tokens;
	request->params.top_logprobs = -1;
	if (p->temperature_given)
		s->temperature = (float)p->temperature;
	if (p->top_p_given)
		s->top_p = (float)p->top_p;
	if (p->min_p_given)
		s->min_p = (float)p->min_p;
	if (p->top_k_given)
		s->top_k = (int32_t)p->top_k;
	if (p->repeat_given)
		s->repeat_penalty = (float)p->repeat_penalty;
	if (p->seed_given || !s->seed_given)
		s->seed = p->seed_given ? (uint64_t)p->seed : hth_clock_ns();
	s->seed_given = true;
	HTH_TRY(hth_sampling_check(s, err));
	if (p->raw) {
		request->input.text = strdup(json_string_value(messages));
		request->input.text_len = json_string_length(messages);
		request->input.add_special = true;
		return request->input.text != NULL ? HTH_OK : hth_fail(err, HTH_NO_MEMORY, "no memory for a request");
	}
	request->input.settings_json = hth_made_conversation(chat->record);
	hth_buf text = HTH_BUF_INIT(HTH_CLIENT_BODY_MAX);
	if (!hth_json_write(messages, &text)) {
		hth_buf_finish(&text);
		return hth_fail(err, HTH_TOO_LARGE, "the conversation is over %d bytes", HTH_CLIENT_BODY_MAX);
	}
	request->input.messages_json = hth_buf_steal(&text, NULL);
	return HTH_OK;
}

/* The same steps that the node's verbs take, with nobody else to think of. */
static hth_status start(own_chat *chat, hth_request *request, hth_error *err)
{
	HTH_TRY(hth_request_admit(request, err));
	HTH_TRY(hth_request_classify(request, HTH_PRIVATE, err));
	HTH_TRY(hth_request_route(request, "here", "no node runs", err));
	return hth_runner_submit(chat->runner, request, err);
}

static hth_status ask(void *state, const json_t *messages, const hth_chat_params *params, hth_chat_text_fn fn, void *ctx,
                      hth_chat_stats *stats, hth_error *err)
{
	own_chat *chat = state;
	hth_request *request;
	if (chat->exited)
		return hth_fail(err, HTH_GONE, "the model's process is gone: %s", chat->exit_reason.message);
	HTH_TRY(hth_request_create(&request, params->raw ? HTH_COMPLETION : HTH_CHAT, err));
	request->sink = &sink;
	request->sink_ctx = chat;
	chat->fn = fn;
	chat->ctx = ctx;
	chat->ended = false;
	chat->first_ns = chat->last_ns = 0;
	chat->asked_ns = hth_clock_ns();
	hth_status status = fill(chat, request, messages, params, err);
	if (status == HTH_OK && !params->raw)
		status = hth_answer_reader_create(&chat->reader, request, 0, hth_runner_get_info(chat->runner), NULL, on_event, chat, err);
	if (status == HTH_OK)
		status = start(chat, request, err);
	if (status == HTH_OK) {
		chat->request = request;
		while (!chat->ended && hth_loop_run_once(chat->loop, true))
			;
		chat->request = NULL;
		stats->prompt_tokens = request->usage.prompt_tokens;
		stats->cached_tokens = request->usage.cached_tokens;
		stats->answer_tokens = request->usage.answer_tokens;
		stats->cut = request->finish_reason == HTH_FINISH_LENGTH;
		if (chat->first_ns != 0) {
			stats->first_s = (double)(chat->first_ns - chat->asked_ns) * 1e-9;
			stats->answer_s = (double)(chat->last_ns - chat->first_ns) * 1e-9;
		}
		if (request->state == HTH_REQUEST_CANCELLED)
			status = hth_fail(err, HTH_CANCELLED, "stopped");
		else if (request->state == HTH_REQUEST_FAILED) {
			status = request->error.status;
			if (err != NULL)
				*err = request->error;
		} else if (request->state != HTH_REQUEST_DONE)
			status = hth_fail(err, HTH_GONE, "the model's process is gone");
	} else if (!hth_request_has_ended(request)) {
		hth_request_cancel(request);
	}
	hth_answer_reader_destroy(chat->reader);
	chat->reader = NULL;
	hth_request_unref(request);
	return status;
}

static void close_chat(void *state)
{
	own_chat *chat = state;
	hth_runner_destroy(chat->runner);
	json_decref(chat->record);
	hth_timer_close(chat->timer);
	if (chat->loop != NULL && !hth_loop_destroy(chat->loop))
		fprintf(stderr, "hearth: the loop was left with open handles; please report this\n");
	free(chat);
}

static const hth_chat_way way = {close_chat, ask};
static const hth_runner_events events = {.ready = on_ready, .progress = on_progress, .exited = on_exited};

hth_status hth_chat_own_open(const hth_invocation *in, const hth_catalog_model *model, const volatile sig_atomic_t *cancel,
                             const hth_chat_way **ret_way, void **ret_state, hth_error *err)
{
	own_chat *chat = hth_alloc_array(1, sizeof *chat);
	if (chat == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory for a chat");
	chat->cancel = cancel;
	chat->record = hth_record_of(in->config.home, model);
	hth_request_params made = {.context = in->config.context};
	hth_made_params(chat->record, &made);
	while (made.n_stop > 0)
		free(made.stop[--made.n_stop]);
	hth_runner_options options = {.name = model->name, .files = (const char *const *)model->files, .n_files = model->n_files,
	                              .n_slots = 1,
	                              .n_ctx = made.context, .n_threads = in->config.threads, .memory_bytes = in->config.memory};
	hth_status status = hth_loop_create(&chat->loop, err);
	if (status == HTH_OK)
		status = hth_timer_open(&chat->timer, chat->loop, on_tick, chat, err);
	if (status == HTH_OK) {
		hth_timer_start(chat->timer, 50, 50);
		status = hth_runner_start(&chat->runner, chat->loop, &options, &events, chat, err);
	}
	while (status == HTH_OK && !chat->ready && !chat->exited) {
		hth_loop_run_once(chat->loop, true);
		if (cancel != NULL && *cancel)
			status = hth_fail(err, HTH_CANCELLED, "stopped while the model was loading");
	}
	if (chat->progress_shown)
		fprintf(stderr, "\r\033[K");
	if (status == HTH_OK && chat->exited)
		status = hth_fail(err, chat->exit_reason.status, "%s", chat->exit_reason.message);
	if (status != HTH_OK) {
		close_chat(chat);
		return status;
	}
	*ret_way = &way;
	*ret_state = chat;
	return HTH_OK;
}
