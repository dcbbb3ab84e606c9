/* wire.c - collecting an answer, and shared pieces of JSON. Everything collected is capped and wiped. Thread: the loop's. */
#include "api/wire.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

void hth_wire_answer_init(hth_wire_answer *answer)
{
	*answer = (hth_wire_answer){.content = HTH_BUF_INIT(HTH_API_ANSWER_MAX),
	                       .reasoning = HTH_BUF_INIT(HTH_API_ANSWER_MAX),
	                       .logprobs = HTH_BUF_INIT(HTH_API_ANSWER_MAX)};
}

static void wipe(hth_buf *buf)
{
	if (buf->data != NULL)
		explicit_bzero(buf->data, buf->cap);
	hth_buf_finish(buf);
}

void hth_wire_answer_finish(hth_wire_answer *answer)
{
	wipe(&answer->content);
	wipe(&answer->reasoning);
	wipe(&answer->logprobs);
	for (size_t i = 0; i < answer->n_tool_calls; i++) {
		free(answer->tool_calls[i].id);
		free(answer->tool_calls[i].name);
		wipe(&answer->tool_calls[i].arguments);
	}
	free(answer->tool_calls);
	*answer = (hth_wire_answer){0};
}

static bool begin_tool_call(hth_wire_answer *answer, const hth_api_event *event)
{
	if (answer->n_tool_calls == HTH_WIRE_TOOL_CALLS_MAX)
		return false;
	hth_wire_tool_call *grown = realloc(answer->tool_calls, (answer->n_tool_calls + 1) * sizeof *grown);
	if (grown == NULL)
		return false;
	answer->tool_calls = grown;
	hth_wire_tool_call *call = &grown[answer->n_tool_calls++];
	*call = (hth_wire_tool_call){.id = strdup(event->tool_id),
	                               .name = strdup(event->tool_name),
	                               .arguments = HTH_BUF_INIT(HTH_API_ANSWER_MAX)};
	return call->id != NULL && call->name != NULL;
}

void hth_wire_answer_add(hth_wire_answer *answer, const hth_api_event *event)
{
	bool ok = true;
	switch (event->kind) {
	case HTH_EVENT_CONTENT:
		ok = hth_buf_append(&answer->content, event->text, event->len);
		break;
	case HTH_EVENT_REASONING:
		ok = hth_buf_append(&answer->reasoning, event->text, event->len);
		break;
	case HTH_EVENT_TOOL_CALL:
		ok = begin_tool_call(answer, event);
		break;
	case HTH_EVENT_TOOL_ARGUMENTS:
		ok = event->tool_index < answer->n_tool_calls &&
		     hth_buf_append(&answer->tool_calls[event->tool_index].arguments, event->text, event->len);
		break;
	}
	if (event->piece != NULL && event->piece->n_logprobs > 0) {
		if (answer->logprobs.len > 0)
			hth_buf_append_char(&answer->logprobs, ',');
		hth_wire_logprobs(&answer->logprobs, event->piece);
		ok &= !answer->logprobs.failed;
	}
	answer->failed |= !ok;
}

void hth_wire_string(hth_buf *out, const char *s) { hth_json_write_string(s, strlen(s), out); }

/* JSON has no infinity; a token that cannot happen has the smallest number that OpenAI uses. */
static double capped(float logprob) { return isfinite(logprob) ? (double)logprob : -9999.0; }

static void write_token(hth_buf *out, const hth_token_logprob *t)
{
	hth_buf_append_str(out, "{\"token\":");
	hth_json_write_string(t->bytes, t->n_bytes, out);
	hth_buf_appendf(out, ",\"logprob\":%.7g,\"bytes\":[", capped(t->logprob));
	for (size_t i = 0; i < t->n_bytes; i++)
		hth_buf_appendf(out, i > 0 ? ",%u" : "%u", (unsigned char)t->bytes[i]);
	hth_buf_append_char(out, ']');
}

void hth_wire_logprobs(hth_buf *out, const hth_answer_piece *piece)
{
	for (size_t i = 0; i < piece->n_logprobs; i++) {
		if (i > 0)
			hth_buf_append_char(out, ',');
		write_token(out, &piece->logprobs[i]);
		hth_buf_append_str(out, ",\"top_logprobs\":[");
		for (size_t k = 0; k < piece->n_top && piece->top != NULL; k++) {
			if (k > 0)
				hth_buf_append_char(out, ',');
			write_token(out, &piece->top[i * piece->n_top + k]);
			hth_buf_append_char(out, '}');
		}
		hth_buf_append_str(out, "]}");
	}
}

void hth_wire_openai_usage(hth_buf *out, const hth_api_job *job, size_t answers_per_prompt)
{
	uint64_t prompt = 0, cached = 0, answer = 0, reasoning = 0;
	for (size_t i = 0; i < job->n_requests; i++) {
		const hth_usage *u = &job->requests[i]->usage;
		answer += u->answer_tokens;
		reasoning += hth_api_reasoning_tokens(job, i);
		if (i % answers_per_prompt == 0) {
			prompt += u->prompt_tokens;
			cached += u->cached_tokens;
		}
	}
	hth_buf_appendf(out,
	                "{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
	                "\"prompt_tokens_details\":{\"cached_tokens\":%llu},\"completion_tokens_details\":{\"reasoning_tokens\":%llu}}",
	                (unsigned long long)prompt, (unsigned long long)answer, (unsigned long long)prompt + answer,
	                (unsigned long long)cached, (unsigned long long)reasoning);
}

static void write_timespec(hth_buf *out, struct timespec t)
{
	struct tm tm;
	gmtime_r(&t.tv_sec, &tm);
	hth_buf_appendf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ\"", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	                tm.tm_min, tm.tm_sec, t.tv_nsec);
}

void hth_wire_now(hth_buf *out)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	write_timespec(out, t);
}

void hth_wire_time(hth_buf *out, int64_t unix_s) { write_timespec(out, (struct timespec){.tv_sec = (time_t)unix_s}); }

const char *hth_wire_finish_reason(const hth_request *request)
{
	return request->finish_reason == HTH_FINISH_LENGTH ? "length" : "stop";
}

void hth_wire_make_id(hth_api_job *job, const char *prefix)
{
	/* "req-0123456789abcdef" without its own prefix */
	snprintf(job->id, sizeof job->id, "%s%s", prefix, job->requests[0]->id + 4);
}

void hth_wire_openai_broken(hth_api_job *job, const hth_error *error)
{
	hth_buf *out = &job->scratch;
	unsigned retry_s;
	hth_buf_clear(out);
	hth_buf_append_str(out, "data: ");
	hth_api_write_error(job->endpoint, error, out, &retry_s);
	hth_buf_append_str(out, "\n\n");
	hth_api_send(job, out);
}
