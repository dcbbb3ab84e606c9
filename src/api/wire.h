/* wire.h - an answer collected from events, for replies that are not streamed; and the pieces of JSON that the OpenAI-like
 * families share. */
#ifndef HTH_API_WIRE_H
#define HTH_API_WIRE_H

#include "api/api.h"

enum { HTH_WIRE_TOOL_CALLS_MAX = 64 };

typedef struct hth_wire_tool_call {
	char *id, *name; /* owned */
	hth_buf arguments;
} hth_wire_tool_call;

typedef struct hth_wire_answer {
	hth_buf content, reasoning;
	hth_buf logprobs; /* JSON objects, comma-separated, as chat's logprobs.content has them */
	hth_wire_tool_call *tool_calls;
	size_t n_tool_calls;
	bool failed; /* no memory, or over HTH_API_ANSWER_MAX */
} hth_wire_answer;

void hth_wire_answer_init(hth_wire_answer *answer);
void hth_wire_answer_finish(hth_wire_answer *answer); /* wipes and frees */
void hth_wire_answer_add(hth_wire_answer *answer, const hth_api_event *event);

/* `"key":` is the caller's; these append a value. */
void hth_wire_string(hth_buf *out, const char *s);
void hth_wire_logprobs(hth_buf *out, const hth_answer_piece *piece); /* objects, comma-separated, no brackets */
/* {"prompt_tokens":..,"completion_tokens":..,"total_tokens":..,"prompt_tokens_details":{"cached_tokens":..},
 * "completion_tokens_details":{"reasoning_tokens":..}}: the answers' tokens of all requests; prompts are counted once per
 * group of `answers_per_prompt` requests. */
void hth_wire_openai_usage(hth_buf *out, const hth_api_job *job, size_t answers_per_prompt);
/* An error in a stream that has begun: its last event. (hth_api_writer.broken) */
void hth_wire_openai_broken(hth_api_job *job, const hth_error *error);
/* A time as a JSON string, RFC 3339 in UTC, with nanoseconds. */
void hth_wire_time(hth_buf *out, int64_t unix_s);
void hth_wire_now(hth_buf *out);
/* "stop" or "length" */
const char *hth_wire_finish_reason(const hth_request *request);
/* An id with the given prefix, from the job's first request. */
void hth_wire_make_id(hth_api_job *job, const char *prefix);

#define HTH_WIRE_FINGERPRINT "hearth-" HEARTH_VERSION

#endif
