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
	bool file_search;        /* no words of the model: what was searched for it (file-search.c); kind says nothing */
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
	/* What is searched before the model answers; owned. */
	json_t *search;          /* the tool; NULL: nothing */
	bool show_results;
	char *searched_for;      /* NULL: it was not searched */
	json_t *found;           /* an array of {"file_id","filename","score","attributes","text"} */
} hth_response_state;

/* file-search.c */
/* Takes the tool at tools[i]; HTH_INVALID names what is wrong with it. */
HTH_MUST_USE hth_status hth_file_search_take(hth_response_state *state, const json_t *tool, size_t i, hth_error *err);
/* The tool_choice for the other tools; borrowed. */
const json_t *hth_file_search_choice(hth_response_state *state, const json_t *choice, size_t n_functions);
void hth_file_search_finish(hth_response_state *state);
void hth_file_search_write_item(hth_buf *out, const hth_response_state *state, const char *id, bool open);

extern const hth_api_writer hth_responses_writer;

#endif
