/* file-lock.h - a file's lock, taken from a process that is just going.
 */
#ifndef HTH_BASE_FILE_LOCK_H
#define HTH_BASE_FILE_LOCK_H

/* flock(2), exclusive, on the whole of the open file `fd`; it goes with the descriptor. A process that was killed holds its locks until the
 * system has taken it down, and a child that it had just forked holds them until that child's exec: for these moments the lock is waited
 * for, two seconds at most, which block the caller. Returns 0 or an errno: EWOULDBLOCK where somebody else keeps it, ENOLCK, EOPNOTSUPP and
 * the like where the file system has no locks. */
int hth_file_lock(int fd);

#endif
