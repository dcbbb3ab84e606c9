/* disk.c - see disk.h. Threads: any; nothing is shared. */
#include "index/disk.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
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

hth_status disk_put(const disk *d, const char *path, hth_buf *bytes, hth_error *err)
{
	uint64_t sum = disk_checksum(bytes->data, bytes->len);
	hth_buf_append(bytes, &sum, sizeof sum);
	HTH_TRY(hth_buf_check(bytes, path, err));
	HTH_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot make %s", path);
	hth_status status = disk_write(d, fd, path, bytes->data, bytes->len, err);
	if (status == HTH_OK)
		status = disk_sync(d, fd, path, err);
	if (status != HTH_OK)
		disk_remove(d, path);
	return status;
}

hth_status disk_get(const char *path, hth_buf *bytes, uint64_t *ret_sum, hth_error *err)
{
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hth_fail_errno(err, errno == ENOENT ? HTH_NOT_FOUND : HTH_IO, errno, "cannot open %s", path);
	for (ssize_t n = 1; n > 0; bytes->len += (size_t)n) {
		char *room = hth_buf_reserve(bytes, 65536);
		if (room == NULL)
			return hth_fail(err, HTH_BAD_FORMAT, "%s is too large", path);
		n = read(fd, room, 65536);
		if (n < 0)
			return hth_fail_errno(err, HTH_IO, errno, "cannot read %s", path);
	}
	uint64_t sum;
	if (bytes->len < sizeof sum)
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged", path);
	bytes->len -= sizeof sum;
	memcpy(&sum, bytes->data + bytes->len, sizeof sum);
	if (sum != disk_checksum(bytes->data, bytes->len))
		return hth_fail(err, HTH_BAD_FORMAT, "%s is damaged", path);
	if (ret_sum != NULL)
		*ret_sum = sum;
	return HTH_OK;
}

hth_status disk_put_manifest(const disk *d, const char *folder, hth_buf *bytes, hth_error *err)
{
	char path[PATH_MAX], fresh[PATH_MAX + 4];
	if ((size_t)snprintf(path, sizeof path, "%s/MANIFEST", folder) >= sizeof path)
		return hth_fail(err, HTH_INVALID, "the name %s is too long", folder);
	snprintf(fresh, sizeof fresh, "%s.new", path);
	HTH_TRY(disk_sync_folder(d, folder, err)); /* the names of the new files, before they are named here */
	HTH_TRY(disk_put(d, fresh, bytes, err));
	HTH_TRY(disk_rename(d, fresh, path, err));
	/* A failure now leaves it open whether the old or the new one is there after a power cut; both are whole, and
	 * the old one's files are removed only after the next commit. */
	return disk_sync_folder(d, folder, err);
}

hth_status disk_sweep(const disk *d, const char *folder, bool (*drop)(const void *ctx, const char *name), const void *ctx, hth_error *err)
{
	DIR *dir = opendir(folder);
	if (dir == NULL)
		return errno == ENOENT ? HTH_OK : hth_fail_errno(err, HTH_IO, errno, "cannot read %s", folder);
	hth_status status = HTH_OK;
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		if (drop(ctx, e->d_name) && (!may(d, "remove") || unlinkat(dirfd(dir), e->d_name, 0) != 0))
			status = hth_fail_errno(err, HTH_IO, errno, "cannot remove %s/%s", folder, e->d_name);
	closedir(dir);
	return status;
}
