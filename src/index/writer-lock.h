/* writer-lock.h - one process writes a folder of the index; the others read it.
 */
#pragma once

#include "base/status.h"

/* Makes `folder` (0700) and takes the lock of its writer, a flock(2) on the file `lock` in it that goes with the descriptor.
 * A writer that was killed holds its lock until the system has taken it down, and a child that it had just forked until that
 * child's exec: for these moments the lock is waited for, two seconds at most. Blocks the caller meanwhile.
 * what: "index" or "vectors", for the error. ret_fd: the caller's, to be closed; -1 on failure.
 * HTH_BUSY: another process writes here. */
hth_status writer_lock(int *ret_fd, const char *folder, const char *what, hth_error *err);
