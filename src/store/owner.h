/* owner.h - one node for a home, and the key by which the home's owner comes in.
 *
 * $HEARTH_HOME/node.lock (mode 0600) is held under flock as long as a node runs on the home, so that no second one writes beside it; it
 * ends with the process, however that ends. In it stand the node's port and a key, new at each start: whoever can read the file owns the
 * home and may do everything, so the command line works without settings also where `hearth key add` has closed the door to others.
 */
#ifndef HTH_STORE_OWNER_H
#define HTH_STORE_OWNER_H

#include "base/status.h"

enum { HTH_OWNER_KEY_MAX = 64 };

/* The home must be there. *ret_fd stays open while the home is held. HTH_CONFLICT: another node has it. */
HTH_MUST_USE hth_status hth_owner_hold(const char *home, int *ret_fd, hth_error *err);
/* Makes the key and writes it down, once the port is known. */
void hth_owner_welcome(int fd, unsigned port, char ret_key[HTH_OWNER_KEY_MAX]);
/* Takes the key out again and closes fd (-1: nothing to do). */
void hth_owner_release(int fd);
/* The key of the node that runs on the home at that port, "" where none does or this user may not know: another program on another port
 * is not told. */
void hth_owner_key(const char *home, unsigned port, char ret_key[HTH_OWNER_KEY_MAX]);

#endif
