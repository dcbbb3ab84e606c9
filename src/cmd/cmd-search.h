/* cmd-search.h - what `hearth search` and `hearth ask` share: the search, by the node or here, and how hits look. */
#ifndef HTH_CMD_CMD_SEARCH_H
#define HTH_CMD_CMD_SEARCH_H

#include "client/client.h"
#include "cmd/cmd.h"
#include "json/json.h"

/* Strings may be NULL. */
typedef struct hth_search_ask {
	const char *query, *folder, *type, *from;
	int64_t k, after, before, least; /* least: per cent of what was asked that a passage must have */
	bool with_text;
} hth_search_ask;

/* The JSON of index-json.h. *ret_client is kept open when the node answered, else NULL: then it was searched here. */
HTH_MUST_USE hth_status hth_search_run(const hth_invocation *in, const hth_search_ask *ask, json_t **ret_json, hth_client **ret_client,
                                       hth_error *err);
/* What stands in documents may hold anything; a terminal obeys control characters. These print none but line ends. */
void hth_search_print_plain(const char *text);
void hth_search_print_name(const char *name); /* a file's: no line ends either, or one name would look like two */
void hth_search_print_place(const json_t *hit); /* "FILE (PART), page 3" */
void hth_search_print_hits(const json_t *hits); /* places, each with its snippet below */
int hth_search_print_json(const hth_invocation *in, const json_t *json);

#endif
