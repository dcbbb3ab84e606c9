/* writer-lock.c - see writer-lock.h.
 */
#include "index/writer-lock.h"

#include "base/file-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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
	const int e = hth_file_lock(fd);
	if (e == 0) {
		*ret_fd = fd;
		return HTH_OK;
	}
	close(fd);
	return e == EWOULDBLOCK ? hth_fail(err, HTH_BUSY, "another process writes the %s in %s: is a node running on this home?", what,
	                                   folder)
	                        : hth_fail_errno(err, HTH_IO, e, "cannot lock %s", path);
}
