/* cmd-next-door.h - asks the running node, which asks the neighbours: what a pull in a process of its own needs of them. */
#ifndef HTH_CMD_CMD_NEXT_DOOR_H
#define HTH_CMD_CMD_NEXT_DOOR_H

#include "cmd/cmd.h"
#include "pull/pull.h"

typedef struct hth_cmd_next_door {
	const hth_invocation *in;
	const volatile sig_atomic_t *cancel;
	hth_pull_neighbours neighbours; /* for hth_pull_options; ctx is this */
	char reference[HTH_PULL_REFERENCE_MAX]; /* that was asked for last, and the answer: it is asked once */
	struct json_t *offers;
} hth_cmd_next_door;
void hth_cmd_next_door_init(hth_cmd_next_door *door, const hth_invocation *in, const volatile sig_atomic_t *cancel);
void hth_cmd_next_door_finish(hth_cmd_next_door *door);

#endif
