/* responses.h - what responses.c (from body to request) and responses-out.c (from results to bytes) share. */
#ifndef HTH_API_RESPONSES_H
#define HTH_API_RESPONSES_H

#include "api/api.h"

/* One item of an answer's output. */
typedef struct hth_response_item {
	hth_api_event_kind kind; /* HTH_EVENT_TOOL_CALL: a function call */
	char id[40];
	char *name, *call_id;    /* of a function call; owned */
	hth_buf text;            /* content, reasoning or arguments */
	bool cut;                /* the answer broke off in it */
	hth_buf logprobs;        /* of content: JSON objects, comma-separated */
} hth_response_item;

typedef struct hth_response_state {
	bool store, logprobs, instructed;
	char *previous_id;       /* owned; NULL: none */
	char *echo;              /* owned: members of the request that the response repeats, as JSON without braces */
	hth_response_item *items;
	size_t n_items;
	bool item_open;
	bool failed;             /* no memory, or an answer over its limit */
	uint64_t sequence;       /* of the next event */
} hth_response_state;

extern const hth_api_writer hth_responses_writer;

#endif
