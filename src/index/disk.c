/* disk.c - the steps that change the disk: written whole, synced, renamed; and where tests make them fail. */
#include "index/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static bool may(const disk *d, const char *step)
{
	if (d->step == NULL || d->step(d->ctx, step))
		return true;
	errno = ENOSPC;
	return false;
}

hth_status disk_write(const disk *d, int fd, const char *path, const void *bytes, size_t len, hth_error *err)
{
	if (!may(d, "write"))
		return hth_fail_errno(err, HTH_IO, errno, "cannot write %s", path);
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, (const char *)bytes + at, len - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return hth_fail_errno(err, HTH_IO, n < 0 ? errno : EIO, "cannot write %s", path);
		at += (size_t)n;
	}
	return HTH_OK;
}

hth_status disk_sync(const disk *d, int fd, const char *path, hth_error *err)
{
	if (!may(d, "sync") || fdatasync(fd) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot sync %s", path);
	return HTH_OK;
}

hth_status disk_sync_folder(const disk *d, const char *folder, hth_error *err)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !may(d, "sync") || (fsync(fd) != 0 && errno != EINVAL)) {
		int e = errno;
		if (fd >= 0)
			close(fd);
		return hth_fail_errno(err, HTH_IO, e, "cannot sync %s", folder);
	}
	close(fd);
	return HTH_OK;
}

hth_status disk_rename(const disk *d, const char *from, const char *to, hth_error *err)
{
	if (!may(d, "rename") || rename(from, to) != 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot rename %s", from);
	return HTH_OK;
}

void disk_remove(const disk *d, const char *path)
{
	if (may(d, "remove"))
		(void)unlink(path);
}

uint64_t disk_checksum(const void *bytes, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
	return hash;
}
