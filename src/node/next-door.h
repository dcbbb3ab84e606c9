/* next-door.h - models from next door, in the node: the machine of blocks/ over sealed letters, this home's disk, and whoever pulls.
 *
 * What is given, and to whom (the setting pool_share): every member may have models that anybody could download (they came from a registry,
 * Hugging Face or a URL, or with the program); a member that this home's owner trusts may have the others, too, but for those made by
 * `create`, whose settings are somebody's words. A file is only given under its SHA-256. What leaves is in the egress log: a row per
 * neighbour, when it has been quiet for a while, with bytes and no words. All on the loop's thread, but for hth_next_door_pull's functions.
 */
#ifndef HTH_NODE_NEXT_DOOR_H
#define HTH_NODE_NEXT_DOOR_H

#include "blocks/model-blocks.h"
#include "http/http.h"
#include "json/json.h"
#include "pull/pull.h"
#include "street/street.h"

struct hth_node;
typedef struct hth_next_door hth_next_door;

HTH_MUST_USE hth_status hth_next_door_create(hth_next_door **ret_door, struct hth_node *node, hth_error *err);
void hth_next_door_destroy(hth_next_door *door);

/* ---- what the street tells ---- */
/* Who is there, online or trusted has changed. street NULL: there is no neighbourhood. */
void hth_next_door_members(hth_next_door *door, hth_street *street);
void hth_next_door_letter(hth_next_door *door, const hth_home_id *from, const void *bytes, size_t len);
void hth_next_door_rest(struct hth_node *node); /* called whenever metrics.active has changed */

/* ---- asking, on the loop ---- */
typedef struct hth_next_door_state {
	uint64_t bytes;    /* that are here */
	char from[256];    /* names of the homes that give just now: "Elm, Oak" */
	bool over, whole;
	uint64_t prefix;   /* over, but not whole: bytes of the beginning that is right, and that it was cut to; 0: it is as it was */
	const char *error; /* over: this home's own disk or the like failed; NULL: nobody has it (any more) */
} hth_next_door_state;
typedef void (*hth_next_door_found_fn)(void *ctx, const json_t *offers); /* borrowed; once */
typedef void (*hth_next_door_state_fn)(void *ctx, const hth_next_door_state *state); /* now and then; the last one is over */

/* offers: [{"home":NAME,"id":HEX,"trusted":BOOL,"files":[{"bytes","sha256"}],"extras":{...}}]. HTH_NOT_FOUND: nobody is there to be
 * asked. */
HTH_MUST_USE hth_status hth_next_door_find(hth_next_door *door, const char *reference, const char *name, hth_next_door_found_fn fn,
                                           void *ctx, uint64_t *ret_call, hth_error *err);
/* Into models/.pull/FILE.blocks. file: a plain file name. */
HTH_MUST_USE hth_status hth_next_door_fetch(hth_next_door *door, const char *file, uint64_t bytes, const char *sha256,
                                            hth_next_door_state_fn fn, void *ctx, uint64_t *ret_call, hth_error *err);
void hth_next_door_cancel(hth_next_door *door, uint64_t call); /* fn is not called any more; what has come stays */

/* ---- next-door-lists.c ---- */
/* Where the list of chunks of the file of this SHA-256 (64 hex digits) is kept. */
void hth_next_door_list_path(const struct hth_node *node, const char *sha256, char *out, size_t size);
void hth_next_door_clean_lists(struct hth_node *node, bool at_start); /* at_start: also those whose file is gone */
void hth_next_door_clean_abandoned(const struct hth_node *node);     /* at start */

/* ---- next-door-calls.c ---- */
typedef struct hth_next_door_asks hth_next_door_asks; /* of threads */
HTH_MUST_USE hth_status hth_next_door_asks_create(hth_next_door_asks **ret_asks, struct hth_node *node, hth_error *err);
void hth_next_door_asks_destroy(hth_next_door_asks *asks); /* once no thread asks any more */
/* For a pull on a thread of the node's. Valid while node is. */
void hth_next_door_pull(struct hth_node *node, hth_pull_neighbours *ret_neighbours);
void hth_next_door_find_call(struct hth_node *node, hth_exchange *exchange);  /* POST /hearth/next-door/find {"reference","name"} */
/* POST /hearth/next-door/fetch {"file","bytes","sha256"}: lines of JSON */
void hth_next_door_fetch_call(struct hth_node *node, hth_exchange *exchange);

#endif
