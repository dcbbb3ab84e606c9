/* writer-lock.c - see writer-lock.h.
 */
#include "index/writer-lock.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 2000, STEP_MS = 10 };

static hth_status take(int fd, const char *folder, const char *what, hth_error *err)
{
	const uint64_t until = hth_clock_ms() + WAIT_MS;
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return hth_fail_errno(err, HTH_IO, errno, "cannot lock %s/lock", folder);
		if (hth_clock_ms() >= until)
			return hth_fail(err, HTH_BUSY, "another process writes the %s in %s: is a node running on this home?", what, folder);
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
	}
	return HTH_OK;
}

hth_status writer_lock(int *ret_fd, const char *folder, const char *what, hth_error *err)
{
	char path[4200];
	*ret_fd = -1;
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", folder);
	if ((size_t)snprintf(path, sizeof path, "%s/lock", folder) >= sizeof path)
		return hth_fail(err, HTH_INVALID, "the path of the %s is too long", what);
	const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	const hth_status status = take(fd, folder, what, err);
	if (status != HTH_OK)
		close(fd);
	else
		*ret_fd = fd;
	return status;
}
