/* responses-out.c - the answer to POST /v1/responses, whole or as a stream of events.
 *
 * The official client builds the response from the events and throws when one is missing or early: response.created first, an item
 * added before its parts, a part before its deltas, everything closed by its "done", response.completed (or incomplete, failed) last,
 * with numbers that count up; there is no [DONE]. Thread: the loop's.
 */
#include "api/families.h"
#include "api/response-store.h"
#include "api/responses.h"
#include "api/wire.h"

#include <stdio.h>

/* --- pieces of JSON --- */

static void write_text(hth_buf *out, const hth_buf *text)
{
	hth_json_write_string(text->data != NULL ? text->data : "", text->len, out);
}

/* Citations are told with the last text of an answer. */
static bool write_annotations(hth_buf *out, const hth_api_job *job, const hth_response_item *item)
{
	const hth_response_state *state = job->state;
	for (size_t i = state->n_items; i-- > 0 && &state->items[i] != item;)
		if (!state->items[i].file_search && state->items[i].kind == HTH_EVENT_CONTENT)
			return false;
	return hth_api_write_citations(job, 0, "annotations", HTH_CITE_OPENAI, out);
}

/* The one part of a message or of reasoning, as it stands. */
static void write_part(hth_buf *out, const hth_api_job *job, const hth_response_item *item)
{
	if (item->kind == HTH_EVENT_REASONING) {
		hth_buf_append_str(out, "{\"type\":\"reasoning_text\",\"text\":");
	} else {
		hth_buf_append_str(out, "{\"type\":\"output_text\"");
		if (!write_annotations(out, job, item))
			hth_buf_append_str(out, ",\"annotations\":[]");
		hth_buf_append_str(out, ",\"logprobs\":[");
		hth_buf_append(out, item->logprobs.data != NULL ? item->logprobs.data : "", item->logprobs.len);
		hth_buf_append_str(out, "],\"text\":");
	}
	write_text(out, &item->text);
	hth_buf_append_char(out, '}');
}

/* An item as it stands; `open`: as it is announced, before its content. */
static void write_item(hth_buf *out, const hth_api_job *job, const hth_response_item *item, bool open)
{
	const char *status = open ? "in_progress" : item->cut ? "incomplete" : "completed";
	if (item->file_search) {
		hth_file_search_write_item(out, job->state, item->id, open);
		return;
	}
	switch (item->kind) {
	case HTH_EVENT_REASONING:
		hth_buf_appendf(out, "{\"id\":\"%s\",\"type\":\"reasoning\",\"summary\":[],\"content\":[", item->id);
		if (!open)
			write_part(out, job, item);
		hth_buf_appendf(out, "],\"status\":\"%s\"}", status);
		break;
	case HTH_EVENT_TOOL_CALL:
		hth_buf_appendf(out, "{\"id\":\"%s\",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":", item->id, status);
		hth_wire_string(out, item->call_id);
		hth_buf_append_str(out, ",\"name\":");
		hth_wire_string(out, item->name);
		hth_buf_append_str(out, ",\"arguments\":");
		if (open)
			hth_buf_append_str(out, "\"\"");
		else
			write_text(out, &item->text);
		hth_buf_append_char(out, '}');
		break;
	default:
		hth_buf_appendf(out, "{\"id\":\"%s\",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[", item->id,
		                status);
		if (!open)
			write_part(out, job, item);
		hth_buf_append_str(out, "]}");
		break;
	}
}

/* The response object. status "in_progress" has no output and no usage yet. */
static void write_response(hth_buf *out, hth_api_job *job, const char *status, const hth_error *error)
{
	const hth_response_state *state = job->state;
	const hth_request *r = job->requests[0];
	bool in_progress = strcmp(status, "in_progress") == 0;
	hth_buf_appendf(out, "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\",\"model\":", job->id,
	                (long long)job->created_unix, status);
	hth_wire_string(out, r->model);
	hth_buf_append_str(out, ",\"error\":");
	if (error != NULL) {
		hth_buf_appendf(out, "{\"code\":\"%s\",\"message\":", error->status == HTH_INVALID ? "invalid_prompt" : "server_error");
		hth_wire_string(out, error->message);
		hth_buf_append_char(out, '}');
	} else {
		hth_buf_append_str(out, "null");
	}
	hth_buf_append_str(out, strcmp(status, "incomplete") == 0 ? ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}"
	                                                          : ",\"incomplete_details\":null");
	hth_buf_append_str(out, ",\"output\":[");
	for (size_t i = 0; i < state->n_items && !in_progress; i++) {
		hth_buf_append_str(out, i > 0 ? "," : "");
		write_item(out, job, &state->items[i], false);
	}
	hth_buf_append_str(out, "],\"previous_response_id\":");
	if (state->previous_id != NULL)
		hth_wire_string(out, state->previous_id);
	else
		hth_buf_append_str(out, "null");
	hth_buf_appendf(out, ",\"store\":%s,", state->store ? "true" : "false");
	hth_buf_append_str(out, state->echo);
	if (in_progress || error != NULL) {
		hth_buf_append_str(out, ",\"usage\":null}");
		return;
	}
	hth_buf_appendf(out,
	                ",\"usage\":{\"input_tokens\":%u,\"input_tokens_details\":{\"cached_tokens\":%u},\"output_tokens\":%u,"
	                "\"output_tokens_details\":{\"reasoning_tokens\":%u},\"total_tokens\":%u}}",
	                r->usage.prompt_tokens, r->usage.cached_tokens, r->usage.answer_tokens, hth_api_reasoning_tokens(job, 0),
	                r->usage.prompt_tokens + r->usage.answer_tokens);
}

/* --- events --- */

static hth_buf *open_event(hth_api_job *job, const char *name)
{
	hth_response_state *state = job->state;
	hth_buf *out = &job->scratch;
	hth_buf_clear(out);
	hth_buf_appendf(out, "event: response.%s\ndata: {\"type\":\"response.%s\",\"sequence_number\":%llu", name, name,
	                (unsigned long long)state->sequence++);
	return out;
}

static void close_event(hth_api_job *job)
{
	hth_buf_append_str(&job->scratch, "}\n\n");
	hth_api_send(job, &job->scratch);
}

static void send_response_event(hth_api_job *job, const char *name, const char *status, const hth_error *error)
{
	hth_buf *out = open_event(job, name);
	hth_buf_append_str(out, ",\"response\":");
	write_response(out, job, status, error);
	close_event(job);
}

/* An event about the last item: ,"item_id":..,"output_index":..[,"content_index":0] */
static hth_buf *open_item_event(hth_api_job *job, const char *name, bool part)
{
	hth_response_state *state = job->state;
	hth_buf *out = open_event(job, name);
	hth_buf_appendf(out, ",\"item_id\":\"%s\",\"output_index\":%zu%s", state->items[state->n_items - 1].id, state->n_items - 1,
	                part ? ",\"content_index\":0" : "");
	return out;
}

static void send_annotations(hth_api_job *job, const hth_response_item *item)
{
	HTH_CLEANUP(hth_buf_finish) hth_buf all = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	HTH_AUTO_JSON json_t *list = NULL;
	const json_t *annotation;
	size_t k, skip = strlen(",\"annotations\":");
	if (!write_annotations(&all, job, item) || hth_json_parse(&list, all.data + skip, all.len - skip, NULL) != HTH_OK)
		return;
	json_array_foreach (list, k, annotation) {
		hth_buf *out = open_item_event(job, "output_text.annotation.added", true);
		hth_buf_appendf(out, ",\"annotation_index\":%zu,\"annotation\":", k);
		hth_json_write(annotation, out);
		close_event(job);
	}
}

static void close_item(hth_api_job *job)
{
	hth_response_state *state = job->state;
	if (!state->item_open)
		return;
	state->item_open = false;
	if (!job->stream)
		return;
	const hth_response_item *item = &state->items[state->n_items - 1];
	hth_buf *out;
	if (item->kind == HTH_EVENT_TOOL_CALL) {
		out = open_item_event(job, "function_call_arguments.done", false);
		hth_buf_append_str(out, ",\"name\":");
		hth_wire_string(out, item->name);
		hth_buf_append_str(out, ",\"arguments\":");
		write_text(out, &item->text);
		close_event(job);
	} else {
		bool content = item->kind == HTH_EVENT_CONTENT;
		if (content)
			send_annotations(job, item);
		out = open_item_event(job, content ? "output_text.done" : "reasoning_text.done", true);
		hth_buf_append_str(out, content ? ",\"logprobs\":[],\"text\":" : ",\"text\":");
		write_text(out, &item->text);
		close_event(job);
		out = open_item_event(job, "content_part.done", true);
		hth_buf_append_str(out, ",\"part\":");
		write_part(out, job, item);
		close_event(job);
	}
	out = open_event(job, "output_item.done");
	hth_buf_appendf(out, ",\"output_index\":%zu,\"item\":", state->n_items - 1);
	write_item(out, job, item, false);
	close_event(job);
}

static hth_response_item *grow_items(hth_response_state *state)
{
	hth_response_item *grown = realloc(state->items, (state->n_items + 1) * sizeof *grown);
	if (grown != NULL)
		state->items = grown;
	return grown != NULL ? &grown[state->n_items] : NULL;
}

static bool open_item(hth_api_job *job, hth_api_event_kind kind, const hth_api_event *event)
{
	hth_response_state *state = job->state;
	close_item(job);
	hth_response_item *item = grow_items(state);
	if (item == NULL)
		return false;
	*item = (hth_response_item){.kind = kind, .text = HTH_BUF_INIT(HTH_API_ANSWER_MAX), .logprobs = HTH_BUF_INIT(HTH_API_ANSWER_MAX)};
	snprintf(item->id, sizeof item->id, "%s_%s%zu", kind == HTH_EVENT_TOOL_CALL ? "fc" : kind == HTH_EVENT_REASONING ? "rs" : "msg",
	         job->id + 5, state->n_items);
	if (kind == HTH_EVENT_TOOL_CALL) {
		item->name = strdup(event->tool_name);
		item->call_id = strdup(event->tool_id);
		if (item->name == NULL || item->call_id == NULL) {
			free(item->name);
			free(item->call_id);
			return false;
		}
	}
	state->n_items++;
	state->item_open = true;
	if (!job->stream)
		return true;
	hth_buf *out = open_event(job, "output_item.added");
	hth_buf_appendf(out, ",\"output_index\":%zu,\"item\":", state->n_items - 1);
	write_item(out, job, item, true);
	close_event(job);
	if (kind != HTH_EVENT_TOOL_CALL) {
		out = open_item_event(job, "content_part.added", true);
		hth_buf_append_str(out, ",\"part\":");
		write_part(out, job, item);
		close_event(job);
	}
	return true;
}

/* --- the writer --- */

/* What was searched is the answer's first item. */
static void show_search(hth_api_job *job)
{
	static const char *const steps[] = {"file_search_call.in_progress", "file_search_call.searching", "file_search_call.completed"};
	hth_response_state *state = job->state;
	hth_response_item *item = state->searched_for != NULL && state->n_items == 0 ? grow_items(state) : NULL;
	if (item == NULL)
		return;
	*item = (hth_response_item){.file_search = true, .kind = HTH_EVENT_REASONING};
	snprintf(item->id, sizeof item->id, "fs_%s", job->id + 5);
	state->n_items++;
	if (!job->stream)
		return;
	hth_buf *out = open_event(job, "output_item.added");
	hth_buf_append_str(out, ",\"output_index\":0,\"item\":");
	write_item(out, job, item, true);
	close_event(job);
	for (size_t k = 0; k < HTH_COUNT(steps); k++) {
		(void)open_item_event(job, steps[k], false);
		close_event(job);
	}
	out = open_event(job, "output_item.done");
	hth_buf_append_str(out, ",\"output_index\":0,\"item\":");
	write_item(out, job, item, false);
	close_event(job);
}

static void on_started(hth_api_job *job, size_t i)
{
	(void)i;
	if (!job->stream) {
		show_search(job);
		return;
	}
	hth_api_begin(job, "text/event-stream");
	send_response_event(job, "created", "in_progress", NULL);
	send_response_event(job, "in_progress", "in_progress", NULL);
	show_search(job);
}

static void on_event(hth_api_job *job, size_t i, const hth_api_event *event)
{
	(void)i;
	hth_response_state *state = job->state;
	hth_api_event_kind kind = event->kind == HTH_EVENT_TOOL_ARGUMENTS ? HTH_EVENT_TOOL_CALL : event->kind;
	bool has_logprobs = state->logprobs && event->piece != NULL && event->piece->n_logprobs > 0;
	if (event->kind != HTH_EVENT_TOOL_CALL && event->len == 0 && !has_logprobs)
		return;
	bool fits = state->item_open && state->items[state->n_items - 1].kind == kind && event->kind != HTH_EVENT_TOOL_CALL;
	/* Arguments without a call before them belong to nothing. */
	if (!fits && event->kind == HTH_EVENT_TOOL_ARGUMENTS)
		return;
	if (!fits && !open_item(job, kind, event)) {
		state->failed = true;
		return;
	}
	if (event->kind == HTH_EVENT_TOOL_CALL)
		return;
	hth_response_item *item = &state->items[state->n_items - 1];
	if (!hth_buf_append(&item->text, event->text, event->len))
		state->failed = true;
	if (has_logprobs) {
		hth_buf_append_str(&item->logprobs, item->logprobs.len > 0 ? "," : "");
		hth_wire_logprobs(&item->logprobs, event->piece);
	}
	if (!job->stream)
		return;
	hth_buf *out = open_item_event(job, kind == HTH_EVENT_TOOL_CALL   ? "function_call_arguments.delta"
	                                    : kind == HTH_EVENT_REASONING ? "reasoning_text.delta"
	                                                                  : "output_text.delta", kind != HTH_EVENT_TOOL_CALL);
	hth_buf_append_str(out, ",\"delta\":");
	hth_json_write_string(event->text, event->len, out);
	if (kind == HTH_EVENT_CONTENT) {
		hth_buf_append_str(out, ",\"logprobs\":[");
		if (has_logprobs)
			hth_wire_logprobs(out, event->piece);
		hth_buf_append_char(out, ']');
	}
	close_event(job);
}

/* The conversation with this answer in it, as the next request will see it. */
static char *whole_conversation(const hth_api_job *job)
{
	const hth_response_state *state = job->state;
	const char *before = job->requests[0]->input.messages_json;
	HTH_AUTO_JSON json_t *messages = NULL;
	if (hth_json_parse(&messages, before, strlen(before), NULL) != HTH_OK)
		return NULL;
	/* Instructions are of one request only: its first message. */
	if (state->instructed)
		json_array_remove(messages, 0);
	HTH_AUTO_JSON json_t *calls = json_array();
	HTH_CLEANUP(hth_buf_finish) hth_buf text = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	for (size_t i = 0; i < state->n_items; i++) {
		const hth_response_item *item = &state->items[i];
		if (item->file_search)
			continue;
		if (item->kind == HTH_EVENT_CONTENT)
			hth_buf_append(&text, item->text.data != NULL ? item->text.data : "", item->text.len);
		else if (item->kind == HTH_EVENT_TOOL_CALL)
			json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", item->call_id, "type", "function",
			                                       "function", "name", item->name,
			                                       "arguments", item->text.data != NULL ? item->text.data : ""));
	}
	json_t *message = json_pack("{s:s, s:s%}", "role", "assistant", "content", text.data != NULL ? text.data : "", text.len);
	if (message == NULL)
		return NULL;
	if (json_array_size(calls) > 0)
		json_object_set(message, "tool_calls", calls);
	json_array_append_new(messages, message);
	hth_buf out = HTH_BUF_INIT((size_t)256 << 20);
	if (!hth_json_write(messages, &out)) {
		hth_buf_finish(&out);
		return NULL;
	}
	return hth_buf_steal(&out, NULL);
}

static void on_finished(hth_api_job *job)
{
	hth_response_state *state = job->state;
	if (state->n_items == (state->searched_for != NULL) && !open_item(job, HTH_EVENT_CONTENT, NULL)) /* an empty answer is an answer */
		state->failed = true;
	bool cut = job->requests[0]->finish_reason == HTH_FINISH_LENGTH;
	if (cut && state->item_open)
		state->items[state->n_items - 1].cut = true;
	close_item(job);
	const char *status = cut ? "incomplete" : "completed";
	HTH_CLEANUP(hth_buf_finish) hth_buf response = HTH_BUF_INIT(HTH_API_ANSWER_MAX);
	write_response(&response, job, status, NULL);
	response.failed |= state->failed;
	if (state->store && job->host->responses != NULL && !response.failed) {
		HTH_AUTO_FREE char *messages = whole_conversation(job);
		if (messages != NULL) {
			hth_response_store_put(job->host->responses, job->id, messages, response.data);
			explicit_bzero(messages, strlen(messages));
		}
	}
	if (!job->stream) {
		hth_api_reply(job, "application/json", &response);
		return;
	}
	hth_buf *out = open_event(job, status);
	hth_buf_append_str(out, ",\"response\":");
	hth_buf_append(out, response.data != NULL ? response.data : "null", response.data != NULL ? response.len : 4);
	close_event(job);
	hth_api_finish(job);
}

static void on_broken(hth_api_job *job, const hth_error *error)
{
	send_response_event(job, "failed", "failed", error);
}

const hth_api_writer hth_responses_writer = {.started = on_started, .event = on_event, .finished = on_finished, .broken = on_broken};
