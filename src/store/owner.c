/* owner.c - the file that says whose home this is: a lock and a key. A file system without locks costs the lock, not the node. */
#include "store/owner.h"

#include "base/file-lock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

enum { KEY_BYTES = 32, LINE_MAX_BYTES = HTH_OWNER_KEY_MAX + 16 };

static bool path_of(const char *home, char out[PATH_MAX])
{
	return (size_t)snprintf(out, PATH_MAX, "%s/node.lock", home) < PATH_MAX;
}

hth_status hth_owner_hold(const char *home, int *ret_fd, hth_error *err)
{
	char path[PATH_MAX];
	if (!path_of(home, path))
		return hth_fail(err, HTH_INVALID, "the path of the home is too long: %s", home);
	HTH_AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hth_fail_errno(err, HTH_IO, errno, "cannot open %s", path);
	const int e = hth_file_lock(fd);
	if (e != 0) {
		if (e == EWOULDBLOCK)
			return hth_fail(err, HTH_CONFLICT, "another node runs on the home %s; stop it, or give this one a folder of its "
			                                   "own (HEARTH_HOME or --home)", home);
		hth_log(HTH_LOG_WARN, "%s cannot be locked (%s): make sure that no second node runs on this home", path, strerror(e));
	}
	*ret_fd = hth_take_fd(&fd);
	return HTH_OK;
}

void hth_owner_welcome(int fd, unsigned port, char ret_key[HTH_OWNER_KEY_MAX])
{
	unsigned char random[KEY_BYTES];
	char line[LINE_MAX_BYTES];
	randombytes_buf(random, sizeof random);
	snprintf(ret_key, HTH_OWNER_KEY_MAX, "own-");
	sodium_bin2base64(ret_key + 4, HTH_OWNER_KEY_MAX - 4, random, sizeof random, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	ssize_t len = snprintf(line, sizeof line, "%u %s\n", port, ret_key);
	/* A home on a full disk still has its node: its owner's commands are then asked for a key like anybody's. */
	if (fchmod(fd, 0600) != 0 || ftruncate(fd, 0) != 0 || pwrite(fd, line, (size_t)len, 0) != len)
		hth_log(HTH_LOG_WARN, "cannot write node.lock: %s", strerror(errno));
	sodium_memzero(random, sizeof random);
	sodium_memzero(line, sizeof line);
}

void hth_owner_release(int fd)
{
	if (fd < 0)
		return;
	(void)!ftruncate(fd, 0);
	close(fd);
}

void hth_owner_key(const char *home, unsigned port, char ret_key[HTH_OWNER_KEY_MAX])
{
	char path[PATH_MAX], line[LINE_MAX_BYTES] = "";
	ret_key[0] = '\0';
	if (!path_of(home, path))
		return;
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char *key, *end;
	if (fd >= 0 && read(fd, line, sizeof line - 1) > 0 && strtoul(line, &key, 10) == port && *key == ' ' &&
	    (end = strchr(++key, '\n')) != NULL && end - key < HTH_OWNER_KEY_MAX) {
		memcpy(ret_key, key, (size_t)(end - key));
		ret_key[end - key] = '\0';
	}
	sodium_memzero(line, sizeof line);
}
