/* writer-lock.h - one process writes a folder of the index; the others read it.
 */
#ifndef HTH_INDEX_WRITER_LOCK_H
#define HTH_INDEX_WRITER_LOCK_H

#include "base/status.h"

/* Makes `folder` (0700) and takes the lock of its writer (base/file-lock.h) on the file `lock` in it.
 * what: "index" or "vectors", for the error. ret_fd: the caller's, to be closed; -1 on failure.
 * HTH_BUSY: another process writes here. */
hth_status writer_lock(int *ret_fd, const char *folder, const char *what, hth_error *err);

#endif
