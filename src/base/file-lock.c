/* file-lock.c - see file-lock.h. flock has no time limit of its own, and an alarm would be the whole process's: so it asks again and
 * again. */
#include "base/file-lock.h"

#include "base/clock.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

enum { WAIT_MS = 2000, STEP_MS = 10 };

int hth_file_lock(int fd)
{
	const uint64_t until = hth_clock_ms() + WAIT_MS;
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || hth_clock_ms() >= until)
			return errno;
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
	}
	return 0;
}
